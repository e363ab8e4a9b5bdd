/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Message-signalled interrupts, compatibility format. SDM volume 3 "Message Signalled Interrupts".
 *
 * address  31:20 FEEh, 19:12 destination, 3 redirection hint, 2 destination mode (1: logical)
 * data     15 trigger mode (1: level), 14 level (1: assert), 10:8 delivery mode, 7:0 vector
 *
 * The rest is reserved and ignored: the guest is not offered interrupt remapping (address bit 4). If
 * it has large APIC IDs it is offered the extended destination field, which names what 8 bits cannot:
 * address 11:5 are bits 14:8 of the destination (Linux Documentation/virt/kvm/x86/cpuid.rst,
 * KVM_FEATURE_MSI_EXT_DEST_ID). With these bits 0 all is as without. The destination mode is honoured without the
 * redirection hint too: that is what processors do and operating systems use.
 */
#include "irq/eoi_exit.h"
#include "irq/route.h"

#include "core/vm.h"
#include "x86/apic.h"

#define MSI_ADDRESS_BASE       0xfee00000ull
#define MSI_ADDRESS_BASE_MASK  0xfffffffffff00000ull
#define MSI_ADDRESS_DEST_SHIFT 12
#define MSI_ADDRESS_EXT_SHIFT  5
#define MSI_ADDRESS_REDIRECT   BIT(3)
#define MSI_ADDRESS_LOGICAL    BIT(2)

bool msi_decode(const struct vm *vm, u64 address, u32 data, struct irq_message *message)
{
	*message = (struct irq_message){
	        .dest = (address >> MSI_ADDRESS_DEST_SHIFT) & 0xff,
	        .delivery = data & APIC_DM_MASK,
	        .shorthand = APIC_DEST_FIELD,
	        .vector = data & 0xff,
	        .logical = address & MSI_ADDRESS_LOGICAL,
	        .assert = true,
	        .source = IRQ_SOURCE_MSI,
	};

	/* Elsewhere it is a write to memory, which no device here does by this path. */
	if ((address & MSI_ADDRESS_BASE_MASK) != MSI_ADDRESS_BASE)
		return false;
	if (vm->large_ids)
		irq_extend_destination(message, address >> MSI_ADDRESS_EXT_SHIFT & 0x7f);
	switch (message->delivery) {
	case APIC_DM_FIXED:
		if (address & MSI_ADDRESS_REDIRECT)
			message->delivery = APIC_DM_LOWEST;
		message->level = data & APIC_TRIGGER_LEVEL;
		break;
	case APIC_DM_LOWEST:
		message->level = data & APIC_TRIGGER_LEVEL;
		break;
	case APIC_DM_SMI:
	case APIC_DM_NMI:
	case APIC_DM_INIT:
	case APIC_DM_EXTINT:
		break; /* edges, whatever the trigger mode says */
	default:
		return false; /* reserved */
	}
	/* The end of a level: a local APIC keeps no line state, so there is nothing to take back.
	 */
	return !message->level || (data & APIC_LEVEL_ASSERT);
}

void msi_deliver(struct vm *vm, u64 address, u32 data)
{
	struct irq_message message;

	if (!msi_decode(vm, address, data, &message))
		return;
	if (message.level)
		eoi_exit_note_level_msi(vm, message.vector);
	irq_deliver(vm, &message);
}
