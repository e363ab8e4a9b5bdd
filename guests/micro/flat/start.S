/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry of the flat guest. Multiboot Specification 0.6.96, "Machine state": 32-bit protected mode
 * without paging, EAX and EBX; the descriptor tables are the guest's to bring. The other processors
 * begin in real mode at flat_trampoline, which is copied to FLAT_AP_CODE, and join in 32-bit code.
 */
#include "flat.h"

#define MAGIC      0x1badb002
#define STACK_SIZE 4096

	.section .text.start, "ax"
	.balign	4
	.long	MAGIC, 0, -MAGIC

	.globl	flat_start
flat_start:
	mov	$stacks + STACK_SIZE, %esp
	lgdt	gdt_pointer
	ljmp	$0x08, $1f
1:	mov	$0x10, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	mov	%ecx, %ss
	push	%ebx
	push	%eax
	call	flat_main
2:	cli
	hlt
	jmp	2b

/* Real mode; CS is FLAT_AP_CODE / 16 and offsets count from there. */
	.code16
	.globl	flat_trampoline, flat_trampoline_end
flat_trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	mov	%ax, flat_trampoline_cs - flat_trampoline
	mov	%cr0, %eax
	mov	%eax, flat_trampoline_cr0 - flat_trampoline
	lgdtl	trampoline_gdt - flat_trampoline
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$0x08, $ap_start
	.balign	4
trampoline_gdt:
	.word	gdt_end - gdt - 1
	.long	gdt
	.globl	flat_trampoline_cs, flat_trampoline_cr0
	.balign	4
flat_trampoline_cs:
	.long	0xffffffff
flat_trampoline_cr0:
	.long	0xffffffff
flat_trampoline_end:

	.code32
ap_start:
	mov	$0x10, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	mov	%ecx, %ss
	mov	$1, %eax
	lock xadd %eax, claimed
	cmp	$FLAT_MAX_CPUS, %eax
	jae	2b
	imul	$STACK_SIZE, %eax, %esp
	add	$stacks + STACK_SIZE, %esp
	call	flat_ap
	jmp	2b

	.data
	.balign	4
claimed:
	.long	1			/* the first stack is the boot processor's */

	.section .rodata
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* 08h: flat 32-bit code */
	.quad	0x00cf93000000ffff	/* 10h: flat data */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.bss
	.balign	16
stacks:
	.skip	STACK_SIZE * FLAT_MAX_CPUS

	.section .note.GNU-stack, "", @progbits
