/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the boot loader to C. Both multiboot standards enter here in 32-bit protected mode without
 * paging, EAX = magic, EBX = address of the boot information. Application processors enter through
 * the real-mode trampoline at the end, which is copied to a page below 1 MiB.
 *
 * Sources: "Multiboot Specification" 0.6.96, "Multiboot2 Specification" 2.0; APM volume 2,
 * "Processor Initialization and Long Mode Activation".
 */
#define MB1_MAGIC 0x1badb002
#define MB1_FLAGS 3 /* modules on page boundaries, memory map wanted */
#define MB2_MAGIC 0xe85250d6

#define CR0_PE  0x00000001
#define CR0_WP  0x00010000
#define CR0_PG  0x80000000
#define CR4_PAE 0x00000020
#define MSR_EFER 0xc0000080
#define EFER_LME 0x00000100
#define EFER_NXE 0x00000800
#define PAGE_TABLE 3    /* present, writable */
#define PAGE_LARGE 0x83 /* the same, 2 MiB */

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10

	.section .multiboot, "ax"
	.balign 8
	.long MB1_MAGIC
	.long MB1_FLAGS
	.long -(MB1_MAGIC + MB1_FLAGS)
	.balign 8
2:
	.long MB2_MAGIC
	.long 0 /* i386 */
	.long 3f - 2b
	.long -(MB2_MAGIC + (3f - 2b))
	.short 6, 0 /* modules on page boundaries */
	.long 8
	.short 0, 0
	.long 8
3:

	.text
	.code32
	.globl boot_start
boot_start:
	cli
	cld
	mov	$boot_stack, %esp
	mov	%eax, %ebp		/* CPUID overwrites both */
	mov	%ebx, %esi

	mov	$0x80000000, %eax
	cpuid
	cmp	$0x80000001, %eax
	jb	no_long_mode
	mov	$0x80000001, %eax
	cpuid
	bt	$29, %edx
	jnc	no_long_mode
	bt	$20, %edx		/* no-execute: every processor with SVM or VMX has it */
	jnc	no_long_mode

	/* The first 4 GiB by 2 MiB pages; paging.c refines and extends. */
	movl	$(paging_pdpt + PAGE_TABLE), paging_pml4
	mov	$paging_pdpt, %edi
	mov	$(paging_pd + PAGE_TABLE), %eax
	mov	$4, %ecx
1:	mov	%eax, (%edi)
	add	$4096, %eax
	add	$8, %edi
	loop	1b
	mov	$paging_pd, %edi
	mov	$PAGE_LARGE, %eax
	mov	$2048, %ecx
2:	mov	%eax, (%edi)
	add	$0x200000, %eax
	add	$8, %edi
	loop	2b

	mov	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$paging_pml4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	mov	$(EFER_LME | EFER_NXE), %eax
	xor	%edx, %edx
	wrmsr
	mov	$(CR0_PE | CR0_WP | CR0_PG), %eax
	mov	%eax, %cr0
	lgdt	boot_gdtr
	ljmp	$SELECTOR_CODE, $boot_start64

no_long_mode:
	mov	$no_long_mode_text, %esi
1:	mov	$0x3fd, %dx		/* wait for the first serial port, then one character */
	inb	%dx, %al
	test	$0x20, %al
	jz	1b
	mov	$0x3f8, %dx
	lodsb
	test	%al, %al
	jz	2f
	outb	%al, %dx
	jmp	1b
2:	hlt
	jmp	2b

	.code64
boot_start64:
	mov	$SELECTOR_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$boot_stack, %rsp
	mov	%ebp, %edi		/* magic, information: arguments of metal_main() */
	mov	%esi, %esi
	xor	%ebp, %ebp		/* end of the frame-pointer chain */
	call	metal_main
	ud2

	/* Application processors in long mode: smp.c has left one stack and one struct cpu. */
smp_start64:
	mov	$SELECTOR_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	smp_boot_stack(%rip), %rsp
	mov	smp_boot_cpu(%rip), %rdi
	xor	%ebp, %ebp
	call	smp_main
	ud2

	/*
	 * The trampoline. A start-up IPI enters it at offset 0 of its page in real mode. It goes from
	 * real mode to long mode in one step: PE and PG may be set together once PAE, LME and CR3 are.
	 */
	.section .rodata
	.globl trampoline_start, trampoline_end
	.code16
trampoline_start:
	cli
	cld
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	trampoline_gdtr - trampoline_start
	mov	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$paging_pml4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	mov	$(EFER_LME | EFER_NXE), %eax
	xor	%edx, %edx
	wrmsr
	mov	$(CR0_PE | CR0_WP | CR0_PG), %eax
	mov	%eax, %cr0
	ljmpl	$SELECTOR_CODE, $smp_start64
	.balign 4
trampoline_gdtr:
	.short boot_gdt_end - boot_gdt - 1
	.long boot_gdt
trampoline_end:
	.code64

no_long_mode_text:
	.asciz "postern: this processor has no long mode with no-execute pages\r\n"

	.section .data
	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 64-bit code */
	.quad 0x00cf93000000ffff	/* data */
boot_gdt_end:
boot_gdtr:
	.short boot_gdt_end - boot_gdt - 1
	.quad boot_gdt

	/* The boot processor's main stack is the first of cpu_stacks[]. */
	.section .stacks, "aw", @nobits
	.balign 4096
	.globl cpu_stacks
cpu_stacks:
	.skip 0x5000
boot_stack:
	.skip 17 * 0xb000 - 0x5000
	.section .note.GNU-stack, "", @progbits
