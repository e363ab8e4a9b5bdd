/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Delivery of one interrupt message to its destination set. Any processor; takes no lock, allocates
 * nothing; a message to one vCPU costs the same however many there are.
 *
 * The rules (SDM volume 3 "Delivery Mode" of the ICR and of messages; 82093AA datasheet):
 *  - Fixed: to every destination. Lowest priority: to one of them. NMI, INIT, SIPI, ExtINT pass by
 *    IRR. SMI would be for system management mode, which no guest of Postern has.
 *  - How lowest priority picks is the chipset's business. Here it is the n-th candidate, n = vector
 *    modulo the number of candidates: spread over the processors, yet constant for each vector, so
 *    that a device's interrupts stay on one cache. Candidates are the destinations that are enabled
 *    by software.
 */
#include "core/vm.h"
#include "irq/route.h"
#include "x86/apic.h"

static u32 members(u64 set)
{
	u32 n = 0;

	for (; set; set &= set - 1)
		n++;
	return n;
}

static u64 lowest_priority(struct vm *vm, u64 set, u8 vector)
{
	u64 candidates = set & apic_map_software_enabled(vm);

	if (!candidates)
		return 0;
	for (u32 n = vector % members(candidates); n; n--)
		candidates &= candidates - 1;
	return candidates & -candidates;
}

/* One message to one local APIC. true: it took it. */
static bool deliver_to(struct vcpu *vcpu, const struct irq_message *message)
{
	struct lapic *lapic = &vcpu->lapic;

	switch (message->delivery) {
	case APIC_DM_FIXED:
	case APIC_DM_LOWEST:
		return lapic_accept(lapic, message->vector, message->level, message->source);
	case APIC_DM_NMI:
		lapic_signal_nmi(lapic);
		return true;
	case APIC_DM_INIT:
		lapic_signal_init(lapic);
		return true;
	case APIC_DM_SIPI:
		lapic_signal_sipi(lapic, message->vector);
		return true;
	case APIC_DM_EXTINT:
		lapic_signal_extint(lapic);
		return true;
	default: /* SMI and reserved */
		return false;
	}
}

static enum counter_id sent_fixed(const struct vcpu *sender, u64 set)
{
	if (set == BIT64(sender->index))
		return COUNTER_IPI_SENT_SELF;
	return set & (set - 1) ? COUNTER_IPI_SENT_MULTI : COUNTER_IPI_SENT_UNICAST;
}

/* In the sender's account, which its own processor writes: the one that runs this. */
static void count_sent(const struct irq_message *message, u64 set)
{
	enum counter_id id = COUNTER_IPI_SENT_OTHER;

	if (set) {
		switch (message->delivery) {
		case APIC_DM_FIXED:
			id = sent_fixed(message->sender, set);
			break;
		case APIC_DM_LOWEST:
			id = COUNTER_IPI_SENT_LOWEST;
			break;
		case APIC_DM_NMI:
			id = COUNTER_IPI_SENT_NMI;
			break;
		case APIC_DM_INIT:
			id = COUNTER_IPI_SENT_INIT;
			break;
		case APIC_DM_SIPI:
			id = COUNTER_IPI_SENT_SIPI;
			break;
		default:
			break;
		}
	}
	vcpu_count(message->sender, id);
}

u32 irq_deliver(struct vm *vm, const struct irq_message *message)
{
	u64 set = apic_map_destinations(vm, message);
	u32 accepted = 0;

	if (message->delivery == APIC_DM_LOWEST)
		set = lowest_priority(vm, set, message->vector);
	if (message->sender)
		count_sent(message, set);
	for (u64 rest = set; rest; rest &= rest - 1)
		accepted += deliver_to(vm->vcpu[__builtin_ctzll(rest)], message);
	return accepted;
}
