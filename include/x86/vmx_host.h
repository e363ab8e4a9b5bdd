/* SPDX-License-Identifier: BSD-2-Clause */
/* The processor's own state, as an exit of VMX restores it. SDM volume 3, "Host-State Area". */
#ifndef X86_VMX_HOST_H
#define X86_VMX_HOST_H

#include "postern/types.h"

struct vmx_host {
	u64 cr0, cr3, cr4, efer, pat;
	u64 fs_base, gs_base, tr_base, gdt_base, idt_base;
	u64 rip; /* where exits come back: insn_vmx_run()'s */
	u16 cs, ss, ds, es, tr;
};

#endif
