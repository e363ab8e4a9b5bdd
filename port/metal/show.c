/* SPDX-License-Identifier: BSD-2-Clause */
/* The processor that --cpu names, where this one lacks something of it: with the assist's help. */
#include "metal.h"

#include "cpu_model/assist.h"
#include "insn.h"
#include "postern/port.h"

static bool is_native(const struct assist_processor *named)
{
	struct cpuid_regs r;

	insn_cpuid(CPUID_SVM, 0, &r);
	return (r.edx & named->svm_edx) == named->svm_edx;
}

bool port_show_processor(const char *name)
{
	struct assist_processor named;

	if (!assist_find(name, &named) || is_native(&named))
		return true;
	/* Not the first page, which no table is in: so that a pointer of zero is none. */
	named.memory = (struct avic_memory){PAGE_SIZE, paging_top()};
	port_log("modelled: %s", name);
	return assist_start(&named);
}

const u64 *port_hw_counts(void)
{
	return assist_counts();
}
