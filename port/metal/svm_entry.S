/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * void insn_svm_run(hpa_t vmcb, u64 *gpr, hpa_t host): see insn.h.
 *
 * VMRUN and #VMEXIT move RAX, RSP, RIP, RFLAGS, CS, SS, DS, ES, GDTR, IDTR and the control
 * registers; VMLOAD and VMSAVE move FS, GS, TR, LDTR and the system-call registers; all other
 * general registers are moved here. RAX is the VMCB's address before VMRUN and again after #VMEXIT.
 *
 * GIF is clear on both sides, so that nothing, NMIs included, is taken while the guest's GS and TR
 * are loaded. RFLAGS.IF as VMRUN finds it decides whether physical interrupts reach the processor
 * in the guest (APM volume 2, "Virtualizing INTR"), and it is what #VMEXIT restores.
 */
	.text
	.code64
	.balign 16
	.globl insn_svm_run
	.type insn_svm_run, @function
insn_svm_run:
	push	%rbp
	mov	%rsp, %rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdx
	push	%rsi

	/* GIF is clear, so nothing comes through; here, so that STI's shadow is over by VMRUN. */
	sti
	mov	%rdi, %rax
	vmload	%rax
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
	vmrun	%rax

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
	vmsave	%rax
	pop	%rsi
	pop	%rax
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
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret
	.size insn_svm_run, . - insn_svm_run
	.section .note.GNU-stack, "", @progbits
