/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where application processors begin: copied to SMP_CODE, started there in real mode, on to long mode
 * by the page tables of the first processor, then to smp_enter() on a stack of their own.
 */
	.set	SMP_CODE, 0x8000	/* as in smp.c */
	.set	STACK_SIZE, 0x2000	/* the same */

	.section .rodata
	.globl	smp_code, smp_code_end, smp_code_cr3
	.code16
smp_code:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	SMP_CODE + pointer - smp_code
	movl	%cr4, %eax
	orl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	SMP_CODE + smp_code_cr3 - smp_code, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER */
	rdmsr
	orl	$0x100, %eax		/* LME */
	wrmsr
	movl	%cr0, %eax
	andl	$0x9fffffff, %eax	/* caches on */
	orl	$0x80000001, %eax	/* PG, PE */
	movl	%eax, %cr0
	ljmpl	$0x08, $(SMP_CODE + long_mode - smp_code)

	.code64
long_mode:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$1, %eax
	lock xaddl %eax, smp_stacks_used
	incl	%eax
	imull	$STACK_SIZE, %eax, %eax
	leaq	smp_stacks(%rax), %rsp
	movl	$smp_enter, %eax
	call	*%rax
1:	hlt
	jmp	1b

	.balign	8
smp_code_cr3:
	.long	0
pointer:
	.word	gdt_end - gdt - 1
	.long	SMP_CODE + gdt - smp_code
	.balign	8
gdt:
	.quad	0
	.quad	0x00209a0000000000	/* 08h: 64-bit code */
	.quad	0x0000920000000000	/* 10h: data */
gdt_end:
smp_code_end:

	.section .note.GNU-stack, "", @progbits
