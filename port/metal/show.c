/* SPDX-License-Identifier: BSD-2-Clause */
/* The processor that --cpu names, where this one lacks something of it: with the assist's help. */
#include "metal.h"

#include "cpu_model/assist.h"
#include "postern/port.h"

bool port_show_processor(const char *name)
{
	struct assist_processor named;
	const char *models;

	if (!assist_find(name, &named))
		return true;
	models = assist_models(&named);
	if (models)
		port_log("modelled, for %s: %s", name, models);
	/* Not the first page, which no table is in: so that a pointer of zero is none. */
	named.memory = (struct avic_memory){PAGE_SIZE, paging_top()};
	return assist_start(&named);
}

const u64 *port_hw_counts(void)
{
	return assist_counts();
}

bool port_hw_counts_all(void)
{
	return assist_counts_all();
}
