/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the rule guests need besides C: the way of a started vCPU from real mode to 64-bit code, and
 * a stub for each interrupt vector. The first part is copied to the page that a start-up IPI names,
 * so it finds its data by CS; page tables and GDT are those that the first vCPU uses.
 */
	.section .rodata
	.balign	16
	.globl	rules_ap_begin, rules_ap_data, rules_ap_end
	.code16
rules_ap_begin:
	cli
	xor	%ebp, %ebp
	mov	%cs, %bp
	mov	%bp, %ds
	shl	$4, %ebp
	lgdtl	gdt - rules_ap_begin
	mov	cr3 - rules_ap_begin, %eax
	mov	%eax, %cr3
	mov	$0x20, %eax		/* PAE */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	$0x80000031, %eax	/* PG, NE, ET, PE */
	mov	%eax, %cr0
	ljmpl	*(target - rules_ap_begin)
	.balign	8
target:
	.long	rules_ap_long
	.word	0x08
	.balign	8
rules_ap_data:				/* struct ap_data in rules_run.c */
script:	.quad	0
arg:	.quad	0
cr3:	.quad	0
gdt:	.fill	16, 1, 0
rules_ap_end:

	.text
	.code64
rules_ap_long:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	/* A stack for each initial APIC ID; a vCPU that starts again takes its own anew. */
	mov	$1, %eax
	cpuid
	shr	$24, %ebx
	inc	%ebx
	shl	$14, %ebx
	lea	rules_stacks(%rbx), %rsp
	lidt	rules_idtr
	mov	(script - rules_ap_begin)(%rbp), %rax
	mov	(arg - rules_ap_begin)(%rbp), %rdi
	call	*%rax
1:	cli
	hlt
	jmp	1b

/* 16 bytes each. No exception with an error code comes here. */
	.balign	16
	.globl	rules_stubs
rules_stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	pushq	$vector
	jmp	common
	.set	vector, vector + 1
	.endr

common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	cld
	mov	72(%rsp), %rdi
	call	rules_interrupt
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$8, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
