/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls from user mode and back by SYSCALL and SYSRET, with a mask of flags as operating systems have it:
 * for who steps over them from outside. No flag may appear at either end that nobody here has set, TF above
 * all, and none be lost. APM volume 3, SYSCALL and SYSRET; volume 2, "SYSCALL and SYSRET MSRs".
 * Ends: poweroff, status 0.
 */
#include "micro.h"

#define MSR_EFER  0xc0000080
#define MSR_STAR  0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_FMASK 0xc0000084

#define EFER_SCE  1
#define FLAGS_TF  0x100
#define FLAGS_IF  0x200
#define FLAGS_DF  0x400
#define FLAGS_AC  0x40000
#define MASK      (FLAGS_TF | FLAGS_IF | FLAGS_DF | FLAGS_AC)
#define KERNEL_CS 0x08 /* SS is the next one, as start.S has it */
#define USER_BASE                                                                                  \
	0x1bul /* SS is the next one, CS the one behind; both of the processor's own making */

#define PAGE_PRESENT 0x01ul
#define PAGE_USER    0x04ul
#define PAGE_LARGE   0x80ul
#define PAGE_FRAME   0x000ffffffffff000ul

#define CALLS      40
#define CALLS_TEXT "40"

extern const uint8_t syscall_entry[], user_begin[];

/* Of all calls together: RFLAGS at the entry, in R11, and after the return. */
uint64_t entry_flags, kept_flags, user_flags, calls;

void finish(void) __attribute__((noreturn));

/* RAX of a call: 0 to return from it, else to end here. DF is set in user mode, and only there. */
__asm__(".text\n"
        "syscall_entry:\n"
        "	pushfq\n"
        "	popq	%rdx\n"
        "	orq	%rdx, entry_flags\n"
        "	orq	%r11, kept_flags\n"
        "	incq	calls\n"
        "	testq	%rax, %rax\n"
        "	jnz	1f\n"
        ".globl syscall_return\n"
        "syscall_return:\n"
        "	sysretq\n"
        "1:	cld\n"
        "	andq	$-16, %rsp\n"
        "	call	finish\n"
        "user_begin:\n"
        "	movl	$" CALLS_TEXT ", %ebx\n"
        "1:	xorl	%eax, %eax\n"
        "	std\n"
        ".globl user_call\n"
        "user_call:\n"
        "	syscall\n"
        ".globl user_after\n"
        "user_after:\n"
        "	pushfq\n"
        "	popq	%rdx\n"
        "	orq	%rdx, user_flags\n"
        "	decl	%ebx\n"
        "	jnz	1b\n"
        "	movl	$1, %eax\n"
        "	syscall\n");

void finish(void)
{
	micro_check(calls == CALLS + 1, "all calls came");
	micro_check(!(entry_flags & MASK), "they began without the flags of the mask");
	micro_check(kept_flags & FLAGS_DF, "but their caller's were kept");
	micro_check(user_flags & FLAGS_DF, "and given back");
	micro_check(!((kept_flags | user_flags) & FLAGS_TF), "nobody saw TF");
	micro_power_off(micro_failures() ? 1 : 0);
}

/* User mode may use all that there is, at every level of the page tables. */
static void open_pages(uint64_t *table, unsigned int level)
{
	for (unsigned int i = 0; i < 512; i++) {
		if (!(table[i] & PAGE_PRESENT))
			continue;
		table[i] |= PAGE_USER;
		if (level > 1 && !(table[i] & PAGE_LARGE))
			open_pages((uint64_t *)(table[i] & PAGE_FRAME), level - 1);
	}
}

int micro_main(unsigned int vcpus)
{
	uint64_t cr3;

	(void)vcpus;
	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	open_pages((uint64_t *)(cr3 & PAGE_FRAME), 4);
	__asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
	micro_wrmsr(MSR_EFER, micro_rdmsr(MSR_EFER) | EFER_SCE);
	micro_wrmsr(MSR_STAR, USER_BASE << 48 | (uint64_t)KERNEL_CS << 32);
	micro_wrmsr(MSR_LSTAR, (uintptr_t)syscall_entry);
	micro_wrmsr(MSR_FMASK, MASK);
	__asm__ volatile("movl $2, %%r11d; sysretq" : : "c"(user_begin) : "r11", "memory");
	__builtin_unreachable();
}
