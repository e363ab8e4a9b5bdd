/* SPDX-License-Identifier: BSD-2-Clause */
/* What a VMCS has of the calling processor. */
#include "metal.h"
#include "x86/msr.h"

extern u8 vmx_exit_point[]; /* vmx_entry.S */

struct table_register {
	u16 limit;
	u64 base;
} __packed;

static u16 selector(u32 n)
{
	u16 value = 0;

	if (n == SEG_CS)
		__asm__("mov %%cs, %0" : "=r"(value));
	else if (n == SEG_SS)
		__asm__("mov %%ss, %0" : "=r"(value));
	else if (n == SEG_DS)
		__asm__("mov %%ds, %0" : "=r"(value));
	else if (n == SEG_ES)
		__asm__("mov %%es, %0" : "=r"(value));
	else
		__asm__("str %0" : "=r"(value));
	return value;
}

void insn_vmx_host(struct vmx_host *host)
{
	struct cpu_port *port = this_cpu()->port;
	struct table_register gdtr, idtr;

	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	__asm__ volatile("sidt %0" : "=m"(idtr));
	*host = (struct vmx_host){
	        .cr0 = read_cr0(),
	        .cr3 = read_cr3(),
	        .cr4 = read_cr4(),
	        .efer = insn_rdmsr(MSR_EFER),
	        .pat = insn_rdmsr(MSR_PAT),
	        .fs_base = insn_rdmsr(MSR_FS_BASE),
	        .gs_base = insn_rdmsr(MSR_GS_BASE),
	        .tr_base = (uintptr_t)&port->tss,
	        .gdt_base = gdtr.base,
	        .idt_base = idtr.base,
	        .rip = (uintptr_t)vmx_exit_point,
	        .cs = selector(SEG_CS),
	        .ss = selector(SEG_SS),
	        .ds = selector(SEG_DS),
	        .es = selector(SEG_ES),
	        .tr = selector(SEG_TR),
	};
}
