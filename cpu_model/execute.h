/* SPDX-License-Identifier: BSD-2-Clause */
/* Execution of one guest instruction. */
#ifndef CPU_MODEL_EXECUTE_H
#define CPU_MODEL_EXECUTE_H

#include "cpu_model/guest.h"

struct model_cpu;

enum model_result {
	MODEL_DONE,    /* executed: RIP advances by its length */
	MODEL_JUMPED,  /* executed, RIP is set */
	MODEL_RESTART, /* an exception is being delivered instead */
	MODEL_TRAP,    /* executed, then the guest leaves; RIP advances */
	MODEL_EXIT,    /* the guest leaves, nothing was changed */
};

enum model_result model_execute(struct model_cpu *cpu, const struct guest_insn *insn);
/* The script's own, or one that was `planted` in place of the script's instruction. */
enum model_result model_int3(struct model_cpu *cpu, bool planted);
/* What a load of `size` bytes makes of RAX. */
void model_set_rax(u64 *gpr, u64 value, u32 size);

#endif
