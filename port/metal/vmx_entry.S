/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * insn_vmx_run(gpr, launched, again, context), insn_vmx_floor(gpr, rounds): see insn.h.
 *
 * VM entries and exits move RSP, RIP, RFLAGS, the segment, descriptor-table and control registers; all other
 * general registers are moved here. An exit comes back at vmx_exit_point with the stack pointer that is put
 * into the VMCS here, and with RFLAGS.IF and DF clear. An entry that fails goes on behind VMLAUNCH or VMRESUME,
 * with the guest's general registers in the processor.
 */
	.set VMCS_GUEST_RIP, 0x681e
	.set VMCS_HOST_RSP, 0x6c14
	.set VMCS_HOST_RIP, 0x6c16

/* All but RSP, from the array at RDI; RDI last. Changes no flag. */
	.macro load_guest
	mov	0*8(%rdi), %rax
	mov	1*8(%rdi), %rcx
	mov	2*8(%rdi), %rdx
	mov	3*8(%rdi), %rbx
	mov	5*8(%rdi), %rbp
	mov	6*8(%rdi), %rsi
	mov	8*8(%rdi), %r8
	mov	9*8(%rdi), %r9
	mov	10*8(%rdi), %r10
	mov	11*8(%rdi), %r11
	mov	12*8(%rdi), %r12
	mov	13*8(%rdi), %r13
	mov	14*8(%rdi), %r14
	mov	15*8(%rdi), %r15
	mov	7*8(%rdi), %rdi
	.endm

/* Back to the array, whose address is at the top of the stack; leaves it in RDI. */
	.macro store_guest
	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rax, 0*8(%rdi)
	mov	%rcx, 1*8(%rdi)
	mov	%rdx, 2*8(%rdi)
	mov	%rbx, 3*8(%rdi)
	mov	%rbp, 5*8(%rdi)
	mov	%rsi, 6*8(%rdi)
	mov	%r8, 8*8(%rdi)
	mov	%r9, 9*8(%rdi)
	mov	%r10, 10*8(%rdi)
	mov	%r11, 11*8(%rdi)
	mov	%r12, 12*8(%rdi)
	mov	%r13, 13*8(%rdi)
	mov	%r14, 14*8(%rdi)
	mov	%r15, 15*8(%rdi)
	popq	7*8(%rdi)
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

/* No value of the guest's survives in a register that C may use before it writes it. RAX is the result. */
	.macro forget_guest
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	.endm

/* The stack below the saved registers. */
#define GPR     0
#define AGAIN   8
#define CONTEXT 16

	.section .text.insn_vmx_run, "ax"
	.code64
	.balign 16
	.globl insn_vmx_run
	.type insn_vmx_run, @function
insn_vmx_run:
	save_host
	push	%rcx
	push	%rdx
	push	%rdi
	mov	$VMCS_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	/* No instruction below until the entry changes the flags. */
	test	%sil, %sil
	load_guest
	jnz	1f
	vmlaunch
	jmp	2f
1:	vmresume
2:	/* Failed: the flags are not the caller's business, VM-instruction error is in the VMCS. */
	xor	%eax, %eax
	jmp	3f

	.globl vmx_exit_point
vmx_exit_point:
	store_guest
	mov	CONTEXT(%rsp), %rdi
	call	*AGAIN(%rsp)
	mov	GPR(%rsp), %rdi
	test	%al, %al
	jz	4f
	load_guest
	vmresume
	jmp	2b

4:	mov	$1, %eax
3:	forget_guest
	add	$24, %rsp
	restore_host
	ret
	.size insn_vmx_run, . - insn_vmx_run

#define ROUNDS       8
#define BEHIND_CPUID 2

	.section .text.insn_vmx_floor, "ax"
	.balign 16
	.globl insn_vmx_floor
	.type insn_vmx_floor, @function
insn_vmx_floor:
	save_host
	push	%rsi
	push	%rdi
	lea	1f(%rip), %rcx
	mov	$VMCS_HOST_RIP, %eax
	vmwrite	%rcx, %rax
	mov	$VMCS_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	load_guest
	vmlaunch
	jmp	2f
1:	store_guest
	mov	$BEHIND_CPUID, %ecx
	mov	$VMCS_GUEST_RIP, %eax
	vmwrite	%rcx, %rax
	decq	ROUNDS(%rsp)
	jz	3f
	load_guest
	vmresume
2:	xor	%eax, %eax
	jmp	4f
3:	mov	$1, %eax
4:	forget_guest
	add	$16, %rsp
	restore_host
	ret
	.size insn_vmx_floor, . - insn_vmx_floor
	.section .note.GNU-stack, "", @progbits
