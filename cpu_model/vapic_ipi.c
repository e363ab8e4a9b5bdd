/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPI virtualization: an IPI to one virtual processor, posted into its descriptor by the sender's
 * processor. SDM volume 3, "APIC Virtualization and Virtual Interrupts": "IPI Virtualization".
 *
 *  - Fixed, edge, by physical APIC ID, no shorthand, vector 16 and above. All else, and a target
 *    that the PID-pointer table does not have, is an APIC-write exit for offset 300h, as the write
 *    of ICR that it was: the page has the ICR already, and nobody anything.
 *  - A target's bit in PIR comes first, then ON, then the notification; neither its TPR nor whether
 *    it is running matters. SN or ON: no notification. Whether the bit was there already does not
 *    matter either.
 *  - An IPI to the sender's own ID takes the same way, by a notification to its own processor.
 *
 * The order is what wakes a target; who comes second sees the other's store:
 *
 *      sender's processor               target's hypervisor, about to sleep or to enter
 *      ------------------               -----------------------------------------------
 *      1 PIR |= bit                     a NV, NDST or SN changed
 *      2 ON and SN clear? ON = 1,       b PIR empty? sleep; else collect it
 *        notify by NV and NDST
 *
 * NV and NDST are read in the step that sets ON, so that nobody is notified by half of a change.
 */
#include "cpu_model/vapic.h"
#include "postern/port.h"

#define FIRST_VECTOR 16

static struct vapic_result not_virtualized(void)
{
	return vapic_exit(VAPIC_AFTER, VMX_EXIT_APIC_WRITE, APIC_ICR);
}

/* NULL: the table has none, or what it says is no descriptor's address. */
static struct pi_desc *find(const struct vapic *vapic, u32 dest)
{
	u64 entry, address;

	if (dest > vapic->last_index)
		return NULL;
	entry = atomic64_read(&vapic->pi_table[dest]);
	address = entry & PI_ENTRY_POINTER;
	if ((entry & ~PI_ENTRY_POINTER) != PI_ENTRY_VALID || address >> vapic->width)
		return NULL;
	if (address < vapic->memory_start || address >= vapic->memory_end)
		return NULL;
	return hpa_to_ptr(HPA(address));
}

/* One locked operation: ON, unless ON or SN is set. True: we are to notify, as `control` says. */
static bool claim(struct pi_desc *desc, u64 *control)
{
	do {
		*control = atomic64_read(&desc->control);
		if (*control & (PI_ON | PI_SN))
			return false;
	} while (!atomic64_cmpxchg(&desc->control, *control, *control | PI_ON));
	return true;
}

static void notify(struct vapic *vapic, u64 control)
{
	u32 to = PI_NDST(control);

	vapic->counts[HW_DOORBELLS]++;
	vapic->notify(vapic->context, vapic->host_x2 ? to : to >> 8 & 0xff, PI_NV(control));
}

struct vapic_result vapic_send(struct vapic *vapic, u32 dest, u8 vector)
{
	u64 bit = BIT64(vector % 64), control;
	struct pi_desc *desc;
	bool pending;

	if (vector < FIRST_VECTOR)
		return not_virtualized();
	desc = find(vapic, dest);
	if (!desc)
		return not_virtualized();
	pending = atomic64_fetch_or(&desc->pir[vector / 64], bit) & bit;
	vapic->counts[HW_COALESCED] += pending;
	vapic->counts[HW_REQUESTS]++;
	vapic->counts[HW_IPI]++;
	if (!(pending && vapic_is(vapic, VAPIC_COALESCED_SILENT)) && claim(desc, &control))
		notify(vapic, control);
	return vapic_done();
}
