/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry points of all 256 vectors. Each pushes what the processor did not (an error code of 0) and
 * its number, then the common part completes struct trap_frame (metal.h) and calls trap_handle().
 *
 * The processor aligns the stack to 16 bytes before it pushes, and the frame is a multiple of 16,
 * so the call is aligned as the ABI wants it.
 */
	.text
	.code64
	.balign 16
	.globl trap_entry
trap_entry:
	.set vector, 0
	.rept 256
	.balign 16
	/* Vectors with an error code: 8, 10-14, 17, 21, 29, 30. */
	.if (vector >= 32) || (((0x60227d00 >> (vector & 31)) & 1) == 0)
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_common
	.set vector, vector + 1
	.endr

	.balign 16
trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	/* A frame-pointer record of the interrupted function, so that stack walks cross the trap. */
	pushq	136(%rsp)
	push	%rbp
	mov	%rsp, %rbp
	cld
	mov	%rsp, %rdi
	call	trap_handle
	add	$16, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

	/*
	 * port_panic(fmt, ...): note all registers as they are, then continue in C with the same
	 * arguments. Nothing is clobbered before panic_print() but flags. Only the first processor
	 * may write the frame; panic_again() decides what becomes of the others.
	 */
	.globl port_panic
port_panic:
	lock btsl $0, panic_taken(%rip)
	jc	panic_again
	pushfq
	cli
	popq	panic_frame + 21*8(%rip)
	mov	%rax, panic_frame + 16*8(%rip)
	mov	%rcx, panic_frame + 15*8(%rip)
	mov	%rdx, panic_frame + 14*8(%rip)
	mov	%rbx, panic_frame + 13*8(%rip)
	mov	%rbp, panic_frame + 12*8(%rip)
	mov	%rsi, panic_frame + 11*8(%rip)
	mov	%rdi, panic_frame + 10*8(%rip)
	mov	%r8, panic_frame + 9*8(%rip)
	mov	%r9, panic_frame + 8*8(%rip)
	mov	%r10, panic_frame + 7*8(%rip)
	mov	%r11, panic_frame + 6*8(%rip)
	mov	%r12, panic_frame + 5*8(%rip)
	mov	%r13, panic_frame + 4*8(%rip)
	mov	%r14, panic_frame + 3*8(%rip)
	mov	%r15, panic_frame + 2*8(%rip)
	mov	%rsp, panic_frame + 22*8(%rip)
	popq	panic_frame + 19*8(%rip)	/* the caller's address ... */
	pushq	panic_frame + 19*8(%rip)	/* ... stays the return address */
	jmp	panic_print
	.section .note.GNU-stack, "", @progbits
