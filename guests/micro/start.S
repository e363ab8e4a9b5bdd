/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry of a micro guest. The loader gives long mode, the first 4 GiB identity-mapped, RSP at 7000h
 * and the number of vCPUs in RDI. It promises no descriptor tables in guest memory, and delivering
 * an exception reloads CS from the GDT, so the guest brings a GDT and an IDT of its own.
 */
	.section .text.start, "ax"
	.globl	micro_start
micro_start:
	mov	%rdi, %rbx
	lgdt	gdt_pointer(%rip)
	pushq	$0x08
	lea	1f(%rip), %rax
	pushq	%rax
	lretq
1:	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	call	micro_set_up
	mov	%ebx, %edi
	call	micro_main
	mov	%eax, %edi
	call	micro_power_off

/*
 * One stub for each exception, 16 bytes apart. Those without an error code push a zero, so that
 * every frame looks the same: registers, vector, error code, and what the processor pushed.
 */
	.set	HAS_ERROR_CODE, (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17) | (1 << 21)
	.balign	16
	.globl	micro_stubs
micro_stubs:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	!(HAS_ERROR_CODE & (1 << vector))
	pushq	$0
	.endif
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
	lea	72(%rsp), %rdi
	call	micro_exception
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

	.section .rodata
	.balign	16
gdt:
	.quad	0
	.quad	0x00209a0000000000	/* 08h: 64-bit code */
	.quad	0x0000920000000000	/* 10h: data */
gdt_pointer:
	.word	. - gdt - 1
	.quad	gdt

	.section .note.GNU-stack, "", @progbits
