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
 *
 * A fixed IPI to one APIC ID, the commonest by far, takes a short way of its own (to_one): a send costs
 * its touches of memory and little more (bench/avic.c).
 */
#include "cpu_model/avic.h"
#include "postern/port.h"

#define STRIDE       16
#define FIRST_VECTOR 16
#define ALL          0xffffffffu
#define ALL_XAPIC    0xffu
#define NO_INDEX     0u
#define COMPLETE     (~0u) /* what became of a target or of an IPI; else an AVIC_IPI_* */

/* An IPI under way to any number of targets. */
struct send {
	struct avic *avic;
	u32 icr, dest;
	u32 cause, index; /* COMPLETE, or why not, and of whom */
	bool check_only;  /* look at all targets first: AVIC_CHECK_FIRST */
};

static __noinline __attribute__((cold)) struct avic_result incomplete(const struct avic *avic,
                                                                      u32 icr, u32 dest, u32 cause,
                                                                      u32 index)
{
	u32 bits = avic_is(avic, AVIC_INDEX_12) || avic->max_index > AVIC_X2APIC_MAX ? 12
	           : avic->x2                                                        ? 9
	                                                                             : 8;
	u32 high = avic->x2 ? dest : dest << 24;

	return (struct avic_result){.action = AVIC_AFTER,
	                            .exit_code = SVM_EXIT_AVIC_INCOMPLETE_IPI,
	                            .info_1 = (u64)high << 32 | icr,
	                            .info_2 = (u64)cause << 32 | (index & (BIT(bits) - 1))};
}

/* --- one target --- */

/* Memory is of whole pages, so where a page begins says it all. */
static bool page_is_memory(const struct avic *avic, u64 entry)
{
	u64 page = entry & AVIC_PHYSICAL_PAGE;

	return page >= avic->memory.start && page < avic->memory.end;
}

/* COMPLETE: it is there and has a page. */
static inline u32 find(const struct avic *avic, u32 index, u64 *entry)
{
	if (index > avic->max_index)
		return AVIC_IPI_INVALID_TARGET;
	*entry = atomic64_read(&avic->ids[index]);
	if (!(*entry & AVIC_PHYSICAL_VALID))
		return AVIC_IPI_INVALID_TARGET;
	return page_is_memory(avic, *entry) ? COMPLETE : AVIC_IPI_INVALID_PAGE;
}

/* An edge-triggered request in the page of a target. */
static inline void set_request(struct avic *avic, u8 *page, u32 vector)
{
	u8 *first = page + vector / 32 * STRIDE;
	struct atomic32 *tmr = avic_word(first, APIC_TMR), *irr = avic_word(first, APIC_IRR);
	u32 bit = BIT(vector % 32);

	if ((atomic32_read_relaxed(tmr) >> vector % 32 & 1) && !avic_is(avic, AVIC_IPI_KEEPS_TMR))
		atomic32_fetch_and(tmr, ~bit);
	if (atomic32_fetch_or(irr, bit) & bit)
		avic->counts[HW_COALESCED]++;
	avic->counts[HW_REQUESTS]++;
}

static u8 *page_of(u64 entry)
{
	return hpa_to_ptr(HPA(entry & AVIC_PHYSICAL_PAGE));
}

/* The request is in the page; as the entry says, its processor is told. COMPLETE, or there is none. */
static inline u32 tell(struct avic *avic, u64 entry, const u8 *page)
{
	if (!(entry & AVIC_PHYSICAL_RUNNING))
		return AVIC_IPI_NOT_RUNNING;
	if (page == avic->page) {
		avic_evaluate(avic);
		return COMPLETE;
	}
	avic->counts[HW_DOORBELLS]++;
	avic->doorbell(avic->context, (u32)(entry & AVIC_PHYSICAL_HOST_ID));
	return COMPLETE;
}

/* Is this a fixed IPI to one physical APIC ID? */
static inline bool names_one(const struct avic *avic, u32 icr, u32 dest)
{
	return dest < avic->short_way &&
	       !(icr &
	         (APIC_DM_MASK | APIC_TRIGGER_LEVEL | APIC_DEST_SHORTHAND | APIC_DEST_LOGICAL)) &&
	       (icr & 0xff) >= FIRST_VECTOR;
}

/* COMPLETE, or why not. `place`: of its entry, in the table. */
static inline u32 to_one(struct avic *avic, u32 icr, const struct atomic64 *place)
{
	u64 entry = atomic64_read(place);
	u8 *page;

	if (!(entry & AVIC_PHYSICAL_VALID))
		return AVIC_IPI_INVALID_TARGET;
	if (!page_is_memory(avic, entry))
		return AVIC_IPI_INVALID_PAGE;
	page = page_of(entry);
	set_request(avic, page, icr & 0xff);
	return tell(avic, atomic64_read(place), page);
}

/* --- several: each function returns false if a target ends the IPI --- */

static u32 deliver(struct avic *avic, u32 index, u64 entry, u32 vector)
{
	u8 *page = page_of(entry);

	set_request(avic, page, vector);
	if (!avic_is(avic, AVIC_STALE_RUNNING))
		entry = atomic64_read(&avic->ids[index]);
	return tell(avic, entry, page);
}

/* `name`: what EXITINFO2 calls it, by the table that the destination was looked up in. */
static bool to_target(struct send *send, u32 index, u32 name)
{
	u64 entry;
	u32 cause = find(send->avic, index, &entry);

	if (cause == COMPLETE && !send->check_only)
		cause = deliver(send->avic, index, entry, send->icr & 0xff);
	if (cause != COMPLETE) {
		send->cause = cause;
		send->index = name;
	}
	return cause == COMPLETE || cause == AVIC_IPI_NOT_RUNNING;
}

static bool to_index(struct send *send, u32 index)
{
	return to_target(send, index, index);
}

static bool is_not_there(struct send *send, u32 index)
{
	send->cause = AVIC_IPI_INVALID_TARGET;
	send->index = index;
	return false;
}

static bool to_everyone(struct send *send, bool others_only)
{
	struct avic *avic = send->avic;

	for (u32 index = 0; index <= avic->max_index; index++) {
		u64 entry = atomic64_read(&avic->ids[index]);

		if (!(entry & AVIC_PHYSICAL_VALID))
			continue;
		if (others_only && page_is_memory(avic, entry) && page_of(entry) == avic->page)
			continue;
		if (!to_index(send, index))
			return false;
	}
	return true;
}

static bool to_logical_entry(struct send *send, u32 slot)
{
	u32 entry = atomic32_read(&send->avic->logical[slot]), index = entry & AVIC_LOGICAL_ID;

	if (!(entry & AVIC_LOGICAL_VALID))
		return is_not_there(send, slot);
	return to_target(send, index, avic_is(send->avic, AVIC_INDEX_PHYSICAL) ? index : slot);
}

static bool is_cluster(const struct send *send)
{
	return avic_get(send->avic, APIC_DFR) >> 28 == 0;
}

/* DFR 31:28: all ones flat, zero cluster. Cluster 15 has no entries: it is left to the hypervisor. */
static bool to_logical(struct send *send)
{
	bool cluster = is_cluster(send);
	u32 members = cluster ? send->dest & 0xf : send->dest;
	u32 base = cluster ? (send->dest >> 4) * 4 : 0;
	bool all = true;

	if (cluster && base >= AVIC_LOGICAL_CLUSTER)
		return is_not_there(send, base);
	for (; members && all; members &= members - 1)
		all = to_logical_entry(send, base + (u32)__builtin_ctz(members));
	return all;
}

static bool to_x2_logical(struct send *send)
{
	u32 base = (send->dest >> 16) << 4;
	bool all = true;

	for (u32 bits = send->dest & 0xffff; bits && all; bits &= bits - 1)
		all = to_index(send, base + (u32)__builtin_ctz(bits));
	return all;
}

static bool is_broadcast(const struct send *send)
{
	const struct avic *avic = send->avic;

	if (!avic->x2)
		return send->dest == ALL_XAPIC &&
		       !((send->icr & APIC_DEST_LOGICAL) && avic_is(avic, AVIC_LOGICAL_FF_LOOKUP));
	return send->dest == ALL && !avic_is(avic, AVIC_X2_BROADCAST_INDEX);
}

static bool to_targets(struct send *send)
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

/* `cold`: the compiler is to lay out avic_send() for the short way. */
static __noinline __attribute__((cold)) struct avic_result to_several(struct avic *avic, u32 icr,
                                                                      u32 dest)
{
	struct send send = {.avic = avic, .icr = icr, .dest = dest, .cause = COMPLETE};
	bool all = true;

	if (avic_is(avic, AVIC_CHECK_FIRST) && names_several(&send)) {
		send.check_only = true;
		all = to_targets(&send);
		send.check_only = false;
	}
	if (all)
		to_targets(&send);
	if (send.cause != COMPLETE)
		return incomplete(avic, icr, dest, send.cause, send.index);
	avic->counts[HW_IPI]++;
	return avic_done();
}

struct avic_result avic_send(struct avic *avic, u32 icr, u32 dest)
{
	if (names_one(avic, icr, dest)) {
		u32 cause = to_one(avic, icr, &avic->ids[dest]);

		if (cause != COMPLETE)
			return incomplete(avic, icr, dest, cause, dest);
		avic->counts[HW_IPI]++;
		return avic_done();
	}
	if ((icr & APIC_DM_MASK) != APIC_DM_FIXED || icr & APIC_TRIGGER_LEVEL)
		return incomplete(avic, icr, dest, AVIC_IPI_INVALID_TYPE, NO_INDEX);
	if ((icr & 0xff) < FIRST_VECTOR)
		return incomplete(avic, icr, dest,
		                  avic_is(avic, AVIC_LOW_VECTOR_TYPE) ? AVIC_IPI_INVALID_TYPE
		                                                      : AVIC_IPI_INVALID_VECTOR,
		                  NO_INDEX);
	if ((icr & APIC_DEST_SHORTHAND) == APIC_DEST_SELF) {
		set_request(avic, avic->page, icr & 0xff);
		avic_evaluate(avic);
		avic->counts[HW_IPI_SELF]++;
		return avic_done();
	}
	return to_several(avic, icr, dest);
}
