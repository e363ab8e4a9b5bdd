/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPIs by AVIC: what a write of ICR does without the hypervisor. APM volume 2, "Advanced Virtual
 * Interrupt Controller": "Interprocessor Interrupts", "Physical APIC ID Table", "Logical APIC ID
 * Table", "AVIC IPI Delivery Not Completed".
 *
 *  - Fixed, edge-triggered, vector 16 and above; everything else exits as an invalid type (id 0) or
 *    vector (id 4).
 *  - A target is an entry of the physical table: by destination, by logical table (xAVIC: flat or
 *    cluster, as the sender's own DFR has it), by cluster and bit (x2AVIC). One that is named and not
 *    there exits (id 2), one whose page is no memory too (id 3); this is found out for all targets
 *    before the first gets anything. The shorthands and the broadcast destinations (xAVIC FFh,
 *    physical or logical; x2AVIC FFFFFFFFh) take those entries that are valid.
 *  - Each target gets its IRR bit first. Then, if it runs, its processor gets a doorbell; if any did
 *    not run, the sender exits (id 1), once, behind the last target. The index that is told is that
 *    of the last one which did not run; of the logical table, if xAVIC looked it up there.
 *
 * The order of the two steps is the whole of the wake-up protocol:
 *
 *      sender's processor                 target's hypervisor, about to sleep
 *      ------------------                 -----------------------------------
 *      1 IRR bit in target's page         a IsRunning = 0
 *      2 IsRunning? doorbell, else exit   b IRR empty? sleep
 *
 * Whoever comes second sees the other's store. The erratum (AVIC_STALE_RUNNING) is 2 before 1: then a
 * doorbell goes to a processor that has left the guest, and nobody wakes the target.
 */
#include "cpu_model/avic.h"
#include "postern/port.h"

#define STRIDE       16
#define FIRST_VECTOR 16
#define ALL          0xffffffffu
#define NO_INDEX     0u

struct send {
	struct avic *avic;
	u32 icr, dest;
	u32 stopped; /* index of a target that does not run; valid if any_stopped */
	bool any_stopped;
	bool check_only; /* look at all targets first: AVIC_CHECK_FIRST */
	bool by_slot;    /* the target was found in the logical table, here: */
	u32 slot;
};

static struct avic_result incomplete(const struct send *send, u32 id, u32 index)
{
	const struct avic *avic = send->avic;
	u32 bits = avic_is(avic, AVIC_INDEX_12) || avic->max_index > AVIC_X2APIC_MAX ? 12
	           : avic->x2                                                        ? 9
	                                                                             : 8;
	u32 high = avic->x2 ? send->dest : send->dest << 24;

	return (struct avic_result){.action = AVIC_AFTER,
	                            .exit_code = SVM_EXIT_AVIC_INCOMPLETE_IPI,
	                            .info_1 = (u64)high << 32 | send->icr,
	                            .info_2 = (u64)id << 32 | (index & (BIT(bits) - 1))};
}

/* An edge-triggered request in the page of a target. */
static void set_request(struct avic *avic, u8 *page, u32 vector)
{
	u32 at = vector / 32 * STRIDE;
	u32 bit = BIT(vector % 32);

	if (!avic_is(avic, AVIC_IPI_KEEPS_TMR) &&
	    atomic32_read_relaxed(avic_word(page, APIC_TMR + at)) & bit)
		atomic32_fetch_and(avic_word(page, APIC_TMR + at), ~bit);
	if (atomic32_fetch_or(avic_word(page, APIC_IRR + at), bit) & bit)
		avic->counts[HW_COALESCED]++;
	avic->counts[HW_REQUESTS]++;
}

static bool page_is_memory(const struct avic *avic, u64 entry)
{
	return avic_is_memory(&avic->memory, entry & AVIC_PHYSICAL_PAGE, PAGE_SIZE);
}

/* How EXITINFO2 calls a target: by the table that the destination was looked up in. */
static u32 name_of(const struct send *send, u32 index)
{
	return send->by_slot ? send->slot : index;
}

/* To the target whose entry this is: it is valid and has a page. */
static void deliver(struct send *send, u32 index, u64 entry)
{
	struct avic *avic = send->avic;
	u8 *page = hpa_to_ptr(HPA(entry & AVIC_PHYSICAL_PAGE));

	set_request(avic, page, send->icr & 0xff);
	if (!avic_is(avic, AVIC_STALE_RUNNING))
		entry = atomic64_read(&avic->ids[index]);
	if (!(entry & AVIC_PHYSICAL_RUNNING)) {
		send->any_stopped = true;
		send->stopped = name_of(send, index);
	} else if (page == avic->page) {
		avic_evaluate(avic);
	} else {
		avic->counts[HW_DOORBELLS]++;
		avic->doorbell(avic->context, (u32)(entry & AVIC_PHYSICAL_HOST_ID));
	}
}

/* AVIC_DONE, or the exit that the target causes. */
static struct avic_result to_index(struct send *send, u32 index)
{
	struct avic *avic = send->avic;
	u64 entry;

	if (index > avic->max_index)
		return incomplete(send, AVIC_IPI_INVALID_TARGET, name_of(send, index));
	entry = atomic64_read(&avic->ids[index]);
	if (!(entry & AVIC_PHYSICAL_VALID))
		return incomplete(send, AVIC_IPI_INVALID_TARGET, name_of(send, index));
	if (!page_is_memory(avic, entry))
		return incomplete(send, AVIC_IPI_INVALID_PAGE, name_of(send, index));
	if (!send->check_only)
		deliver(send, index, entry);
	return avic_done();
}

static struct avic_result to_everyone(struct send *send, bool others_only)
{
	struct avic *avic = send->avic;
	struct avic_result result;

	for (u32 index = 0; index <= avic->max_index; index++) {
		u64 entry = atomic64_read(&avic->ids[index]);

		if (!(entry & AVIC_PHYSICAL_VALID))
			continue;
		if (others_only && page_is_memory(avic, entry) &&
		    hpa_to_ptr(HPA(entry & AVIC_PHYSICAL_PAGE)) == avic->page)
			continue;
		result = to_index(send, index);
		if (result.action != AVIC_DONE)
			return result;
	}
	return avic_done();
}

static struct avic_result to_logical_entry(struct send *send, u32 slot)
{
	u32 entry = atomic32_read(&send->avic->logical[slot]);

	if (!(entry & AVIC_LOGICAL_VALID))
		return incomplete(send, AVIC_IPI_INVALID_TARGET, slot);
	send->by_slot = !avic_is(send->avic, AVIC_INDEX_PHYSICAL);
	send->slot = slot;
	return to_index(send, entry & AVIC_LOGICAL_ID);
}

static bool is_cluster(const struct send *send)
{
	return avic_get(send->avic, APIC_DFR) >> 28 == 0;
}

/* DFR 31:28: all ones flat, zero cluster. Cluster 15 has no entries: it is left to the hypervisor. */
static struct avic_result to_logical(struct send *send)
{
	bool cluster = is_cluster(send);
	u32 members = cluster ? send->dest & 0xf : send->dest;
	u32 base = cluster ? (send->dest >> 4) * 4 : 0;
	struct avic_result result = avic_done();

	if (cluster && base >= AVIC_LOGICAL_CLUSTER)
		return incomplete(send, AVIC_IPI_INVALID_TARGET, base);
	for (; members && result.action == AVIC_DONE; members &= members - 1)
		result = to_logical_entry(send, base + (u32)__builtin_ctz(members));
	return result;
}

static struct avic_result to_x2_logical(struct send *send)
{
	struct avic_result result = avic_done();
	u32 base = (send->dest >> 16) << 4;

	for (u32 bits = send->dest & 0xffff; bits && result.action == AVIC_DONE; bits &= bits - 1)
		result = to_index(send, base + (u32)__builtin_ctz(bits));
	return result;
}

static bool is_broadcast(const struct send *send)
{
	const struct avic *avic = send->avic;

	if (!avic->x2)
		return send->dest == 0xff &&
		       !((send->icr & APIC_DEST_LOGICAL) && avic_is(avic, AVIC_LOGICAL_FF_LOOKUP));
	return send->dest == ALL && !avic_is(avic, AVIC_X2_BROADCAST_INDEX);
}

static struct avic_result to_targets(struct send *send)
{
	switch (send->icr & APIC_DEST_SHORTHAND) {
	case APIC_DEST_ALL:
		return to_everyone(send, false);
	case APIC_DEST_OTHERS:
		return to_everyone(send, true);
	default:
		break;
	}
	if (is_broadcast(send))
		return to_everyone(send, false);
	if (!(send->icr & APIC_DEST_LOGICAL))
		return to_index(send, send->dest);
	return send->avic->x2 ? to_x2_logical(send) : to_logical(send);
}

/* Can there be more than one? Where there is not, looking at it first is what is done anyway. */
static bool names_several(const struct send *send)
{
	u32 members;

	if ((send->icr & APIC_DEST_SHORTHAND) || is_broadcast(send))
		return true;
	if (!(send->icr & APIC_DEST_LOGICAL))
		return false;
	if (send->avic->x2)
		members = send->dest & 0xffff;
	else
		members = is_cluster(send) ? send->dest & 0xf : send->dest;
	return members & (members - 1);
}

struct avic_result avic_send(struct avic *avic, u32 icr, u32 dest)
{
	struct send send = {.avic = avic, .icr = icr, .dest = dest};
	struct avic_result result;

	if ((icr & APIC_DM_MASK) != APIC_DM_FIXED || icr & APIC_TRIGGER_LEVEL)
		return incomplete(&send, AVIC_IPI_INVALID_TYPE, NO_INDEX);
	if ((icr & 0xff) < FIRST_VECTOR)
		return incomplete(&send,
		                  avic_is(avic, AVIC_LOW_VECTOR_TYPE) ? AVIC_IPI_INVALID_TYPE
		                                                      : AVIC_IPI_INVALID_VECTOR,
		                  NO_INDEX);
	if ((icr & APIC_DEST_SHORTHAND) == APIC_DEST_SELF) {
		set_request(avic, avic->page, icr & 0xff);
		avic_evaluate(avic);
		avic->counts[HW_IPI_SELF]++;
		return avic_done();
	}
	if (avic_is(avic, AVIC_CHECK_FIRST) && names_several(&send)) {
		send.check_only = true;
		result = to_targets(&send);
		if (result.action != AVIC_DONE)
			return result;
		send.check_only = false;
	}
	result = to_targets(&send);
	if (result.action == AVIC_DONE && send.any_stopped)
		return incomplete(&send, AVIC_IPI_NOT_RUNNING, send.stopped);
	avic->counts[HW_IPI] += result.action == AVIC_DONE;
	return result;
}
