/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the instruction that exited ends, on processors without next-RIP save (APM volume 2, "State
 * Saved on Exit"): from its first two bytes, looked at through the page of the last skipped
 * instruction. What such a look is worth, and when it is wrong: core/emulate.c, hinted_opcode().
 */
#ifndef SVM_NEXT_RIP_H
#define SVM_NEXT_RIP_H

#include "svm/svm.h"

/* The two bytes at RIP, the first in 7:0. 0: no hint. */
static inline u32 next_rip_bytes(const struct vcpu *vcpu, const struct vmcb_save *save)
{
	const struct vcpu_fetch_hint *hint = &vcpu->fetch_hint;
	u64 offset = save->rip - hint->page;

	if (offset >= PAGE_SIZE - 1 || hint->cr3 != save->cr3 || hint->cs_attr != save->cs.attr)
		return 0;
	return __atomic_load_n((const u16 *)(const void *)(hint->host + offset), __ATOMIC_RELAXED);
}

/* Length of an instruction without prefixes that exits, by its first two bytes. 0: not one. */
static inline u32 next_rip_length(u32 bytes)
{
	switch (bytes) {
	case 0x300f: /* WRMSR */
	case 0x320f: /* RDMSR */
	case 0xa20f: /* CPUID */
	case 0x080f: /* INVD */
	case 0x090f: /* WBINVD */
	case 0x90f3: /* PAUSE */
		return 2;
	case 0x010f: /* VMMCALL, XSETBV */
		return 3;
	default:
		return (bytes & 0xff) == 0xf4; /* HLT */
	}
}

#endif
