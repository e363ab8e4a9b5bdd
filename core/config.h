/* SPDX-License-Identifier: BSD-2-Clause */
/* The run's configuration, from the boot file "config" (format: postern/settings.h). */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "core/vm.h"
#include "postern/settings.h"

struct config {
	struct vm_config vm[MAX_VMS];
	u32 vm_count;
	char cpu[MAX_VMS][32];      /* what vm[].cpu points to; "": the vendor's first */
	bool reserve_boot_cpu;      /* the boot processor runs no vCPU */
	bool debugger_wait;         /* VM 0 starts when a debugger says so */
	u64 setting[SETTING_COUNT]; /* afterwards only the machine's count: vm[] has its own */
};

/* Defaults, then `text` of `size` bytes (NULL: defaults only). false: one line has been logged. */
bool config_parse(struct config *config, const char *text, u64 size);

/*
 * Give the VMs that name no processor the first one of `vendor` (CPU_MODELS). false: *wrong is one that was
 * named and is not of that vendor.
 */
bool config_settle_processors(struct config *config, const char *vendor, const char **wrong);

/* One setting by its key and value, as in a line. NULL, or what is wrong with it. */
const char *config_value(const char *key, const char *text, enum setting_id *id, u64 *value);

#endif
