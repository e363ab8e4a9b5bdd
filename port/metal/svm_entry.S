/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * insn_svm_run(vmcb, gpr, host, again, context), insn_svm_floor(vmcb, gpr, host, rounds): see insn.h.
 *
 * VMRUN and #VMEXIT move RAX, RSP, RIP, RFLAGS, CS, SS, DS, ES, GDTR, IDTR and the control
 * registers; VMLOAD and VMSAVE move FS, GS, TR, LDTR and the system-call registers; all other
 * general registers are moved here. RAX is the VMCB's address before VMRUN and again after #VMEXIT.
 *
 * GIF is clear on both sides, so that nothing, NMIs included, is taken while the guest's GS and TR
 * are loaded. RFLAGS.IF as VMRUN finds it decides whether physical interrupts reach the processor
 * in the guest (APM volume 2, "Virtualizing INTR"), and it is what #VMEXIT restores.
 */

/* All but RAX and RSP, from the array at RSI; RSI last. */
	.macro load_guest
	mov	1*8(%rsi), %rcx
	mov	2*8(%rsi), %rdx
	mov	3*8(%rsi), %rbx
	mov	5*8(%rsi), %rbp
	mov	7*8(%rsi), %rdi
	mov	8*8(%rsi), %r8
	mov	9*8(%rsi), %r9
	mov	10*8(%rsi), %r10
	mov	11*8(%rsi), %r11
	mov	12*8(%rsi), %r12
	mov	13*8(%rsi), %r13
	mov	14*8(%rsi), %r14
	mov	15*8(%rsi), %r15
	mov	6*8(%rsi), %rsi
	.endm

/* Back to the array, whose address is at the top of the stack; leaves it in RSI. */
	.macro store_guest
	push	%rsi
	mov	8(%rsp), %rsi
	mov	%rcx, 1*8(%rsi)
	mov	%rdx, 2*8(%rsi)
	mov	%rbx, 3*8(%rsi)
	mov	%rbp, 5*8(%rsi)
	mov	%rdi, 7*8(%rsi)
	mov	%r8, 8*8(%rsi)
	mov	%r9, 9*8(%rsi)
	mov	%r10, 10*8(%rsi)
	mov	%r11, 11*8(%rsi)
	mov	%r12, 12*8(%rsi)
	mov	%r13, 13*8(%rsi)
	mov	%r14, 14*8(%rsi)
	mov	%r15, 15*8(%rsi)
	popq	6*8(%rsi)
	.endm

	.macro save_host
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	.endm

	.macro restore_host
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	.endm

/* The stack below the saved registers. */
#define GPR     0
#define CONTEXT 8
#define AGAIN   16
#define HOST    24
#define VMCB    32

	.section .text.insn_svm_run, "ax"
	.code64
	.balign 16
	.globl insn_svm_run
	.type insn_svm_run, @function
insn_svm_run:
	save_host
	push	%rdi
	push	%rdx
	push	%rcx
	push	%r8
	push	%rsi

	/* GIF is clear, so nothing comes through; here, so that STI's shadow is over by VMRUN. */
	sti
	mov	%rdi, %rax
	vmload	%rax
1:	load_guest
	vmrun	%rax
	store_guest
	mov	CONTEXT(%rsp), %rdi
	call	*AGAIN(%rsp)
	test	%al, %al
	mov	GPR(%rsp), %rsi
	mov	VMCB(%rsp), %rax
	jnz	1b

	vmsave	%rax
	mov	HOST(%rsp), %rax
	vmload	%rax

	/* No value of the guest's survives in a register that C may use before it writes it. */
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	add	$40, %rsp
	restore_host
	ret
	.size insn_svm_run, . - insn_svm_run

/* offsetof(struct vmcb, save.rip), asserted in svm/floor.c. */
#define VMCB_RIP 0x578

	.section .text.insn_svm_floor, "ax"
	.balign 16
	.globl insn_svm_floor
	.type insn_svm_floor, @function
insn_svm_floor:
	save_host
	push	%rcx
	push	%rdx
	push	%rdi
	push	%rsi
	sti
	mov	%rdi, %rax
1:	vmload	%rax
	load_guest
	vmrun	%rax
	store_guest
	vmsave	%rax
	addq	$2, VMCB_RIP(%rax)
	mov	16(%rsp), %rax
	vmload	%rax
	mov	8(%rsp), %rax
	decq	24(%rsp)
	jnz	1b
	add	$32, %rsp
	restore_host
	ret
	.size insn_svm_floor, . - insn_svm_floor
	.section .note.GNU-stack, "", @progbits
