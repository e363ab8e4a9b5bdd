/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The synthetic interrupt controller. The rules (TLFS "Inter-Partition Communication"):
 *
 *  - A message is delivered when the type in its slot is 0 (HvMessageTypeNone). Until then it waits,
 *    messages of one SINT in their order. What waits is tried again when another one is queued, at an
 *    EOI, and when the guest writes EOM. MessagePending in the slot says that EOM is called for.
 *  - With SCONTROL or SIMP off nothing is queued: whoever posts is told, a timer's message is lost.
 *  - A message, or an event flag that was clear, makes an edge-triggered interrupt of the SINT's
 *    vector. Masked, or with the APIC disabled, the interrupt is lost, not the message; with Polling
 *    there is none.
 *  - AutoEOI, while not masked nor polled: interrupts of that vector, wherever they come from, end
 *    when they are delivered (irq/lapic.c). No processor does that by itself, so HYPERV inhibits
 *    acceleration while any vCPU has such a SINT, and not for the rest of SynIC (requirement S2.6).
 *  - A vector below 16 is #GP, unless the SINT is masked: it has vector 0 when it comes out of reset.
 *  - RsvdP bits are kept as written; an RsvdZ bit (EOM) that is set is #GP.
 *  - The pages are the guest's memory at the address in SIMP and SIEFP, zeroed when they are put there.
 *    Where there is no memory the register takes the value, and the page is not accessible to anybody.
 *
 * The slot is in memory that the guest writes at any time:
 *
 *      guest                             deliver_to()
 *      -----                             ------------
 *      1 type = 0                        a type? not 0:
 *      2 full barrier                    b MessagePending = 1
 *      3 MessagePending? then EOM        c full barrier
 *                                        d type? 0 now: deliver after all
 *
 * 3 before b: then 1 is before d, which delivers. Otherwise 3 sees the flag.
 */
#include "irq/synic.h"

#include "core/hv.h"
#include "core/vm.h"
#include "irq/inhibit.h"
#include "irq/lapic.h"
#include "postern/string.h"

#define FIRST_LEGAL_VECTOR 16
#define PAGE_ADDRESS(msr)  ((msr)&PAGE_MASK)

static struct synic *synic_of(struct vcpu *vcpu)
{
	return &vcpu->hv->synic;
}

/* ---- interrupts ---- */

static bool is_masked(u64 sint)
{
	return sint & HV_SINT_MASKED;
}

static void raise(struct synic *synic, u32 sint)
{
	u64 value = synic->sint[sint];

	if (!is_masked(value) && !(value & HV_SINT_POLLING))
		lapic_accept(&synic->vcpu->lapic, (u8)value, false, IRQ_SOURCE_SYNIC);
}

/* ---- messages; all of these with the lock held ---- */

static struct atomic32 *slot_word(const struct synic *synic, u32 sint, u64 offset)
{
	return (struct atomic32 *)(void *)(synic->messages + sint * HV_MESSAGE_SIZE + offset);
}

static struct synic_buffer *oldest(struct synic *synic, u32 sint)
{
	struct synic_buffer *found = NULL;

	for (u32 i = 0; i < SYNIC_BUFFERS; i++) {
		struct synic_buffer *buffer = &synic->buffer[i];

		if (buffer->queued && buffer->sint == sint &&
		    (!found || buffer->order < found->order))
			found = buffer;
	}
	return found;
}

static void set_queued(struct synic *synic, struct synic_buffer *buffer, bool queued)
{
	buffer->queued = queued;
	if (queued)
		atomic32_fetch_add(&synic->vcpu->lapic.messages_wait, 1);
	else
		atomic32_fetch_sub(&synic->vcpu->lapic.messages_wait, 1);
}

/* The type last: the guest takes the rest for complete when it sees it. */
static void fill_slot(struct synic *synic, u32 sint, const struct hv_message *message, bool more)
{
	u8 *slot = synic->messages + sint * HV_MESSAGE_SIZE;

	memcpy(slot + offsetof(struct hv_message, origin), &message->origin,
	       HV_MESSAGE_SIZE - offsetof(struct hv_message, origin));
	atomic32_set(slot_word(synic, sint, offsetof(struct hv_message, size_flags)),
	             message->size_flags | (more ? HV_MESSAGE_PENDING : 0));
	atomic32_set(slot_word(synic, sint, offsetof(struct hv_message, type)), message->type);
}

/* The race: at the top. */
static bool slot_is_empty(struct synic *synic, u32 sint)
{
	struct atomic32 *type = slot_word(synic, sint, offsetof(struct hv_message, type));

	if (atomic32_read(type) == HV_MESSAGE_NONE)
		return true;
	atomic32_fetch_or(slot_word(synic, sint, offsetof(struct hv_message, size_flags)),
	                  HV_MESSAGE_PENDING);
	smp_mb();
	return atomic32_read(type) == HV_MESSAGE_NONE;
}

static void deliver_to(struct synic *synic, u32 sint)
{
	struct synic_buffer *buffer = oldest(synic, sint);

	if (!buffer || !slot_is_empty(synic, sint))
		return;
	set_queued(synic, buffer, false);
	fill_slot(synic, sint, &buffer->message, oldest(synic, sint));
	counter_add_shared(&synic->vcpu->account.counters[COUNTER_SYNIC_MESSAGES], 1);
	raise(synic, sint);
}

static bool takes_messages(const struct synic *synic)
{
	return synic->control & HV_SCONTROL_ENABLE && synic->messages_msr & HV_PAGE_ENABLE;
}

/* One for each SINT at most: its slot is full then, unless the guest empties it at once. */
static void deliver(struct synic *synic)
{
	if (!takes_messages(synic) || !synic->messages)
		return;
	for (u32 i = 0; i < HV_SINTS; i++)
		deliver_to(synic, i);
}

static void queue(struct synic *synic, struct synic_buffer *buffer, u8 sint)
{
	buffer->sint = sint;
	buffer->order = synic->order++;
	set_queued(synic, buffer, true);
	deliver(synic);
}

void synic_scan(struct vcpu *vcpu)
{
	struct synic *synic = synic_of(vcpu);

	spin_lock(&synic->lock);
	deliver(synic);
	spin_unlock(&synic->lock);
}

static void fill_buffer(struct synic_buffer *buffer, u32 type, u64 origin, const void *payload,
                        u32 size)
{
	buffer->message = (struct hv_message){.type = type, .size_flags = size, .origin = origin};
	memcpy(buffer->message.payload, payload, size);
}

bool synic_post_timer(struct vcpu *vcpu, u32 timer, u8 sint, const struct hv_timer_payload *payload)
{
	struct synic *synic = synic_of(vcpu);
	struct synic_buffer *buffer = &synic->buffer[timer];
	bool room;

	spin_lock(&synic->lock);
	room = takes_messages(synic) && !buffer->queued;
	if (room) {
		fill_buffer(buffer, HV_MESSAGE_TIMER_EXPIRED, 0, payload, sizeof(*payload));
		queue(synic, buffer, sint);
	}
	spin_unlock(&synic->lock);
	return room;
}

static struct synic_buffer *free_buffer(struct synic *synic)
{
	for (u32 i = HV_STIMERS; i < SYNIC_BUFFERS; i++)
		if (!synic->buffer[i].queued)
			return &synic->buffer[i];
	return NULL;
}

enum hv_status synic_post(struct vcpu *target, u8 sint, u32 type, u64 port, const void *payload,
                          u32 size)
{
	struct synic *synic = synic_of(target);
	enum hv_status status = HV_STATUS_SUCCESS;
	struct synic_buffer *buffer;

	spin_lock(&synic->lock);
	buffer = free_buffer(synic);
	if (!takes_messages(synic)) {
		status = HV_STATUS_INVALID_SYNIC_STATE;
	} else if (!buffer) {
		status = HV_STATUS_INSUFFICIENT_BUFFERS;
	} else {
		fill_buffer(buffer, type, port, payload, size);
		queue(synic, buffer, sint);
	}
	spin_unlock(&synic->lock);
	return status;
}

/* ---- event flags ---- */

static bool takes_events(const struct synic *synic, u8 sint)
{
	return synic->control & HV_SCONTROL_ENABLE && synic->flags && !is_masked(synic->sint[sint]);
}

/* Lock held. */
static void set_flag(struct synic *synic, u8 sint, u32 flag)
{
	u8 *word = synic->flags + sint * HV_EVENT_FLAGS_BYTES + flag / 32 * sizeof(u32);
	u32 bit = BIT(flag % 32);

	if (!(atomic32_fetch_or((struct atomic32 *)(void *)word, bit) & bit))
		raise(synic, sint);
}

enum hv_status synic_signal(struct vcpu *target, u8 sint, u32 flag)
{
	struct synic *synic = synic_of(target);
	enum hv_status status = HV_STATUS_SUCCESS;

	if (flag >= HV_EVENT_FLAGS)
		return HV_STATUS_INVALID_PARAMETER;
	spin_lock(&synic->lock);
	if (takes_events(synic, sint))
		set_flag(synic, sint, flag);
	else
		status = HV_STATUS_INVALID_SYNIC_STATE;
	spin_unlock(&synic->lock);
	return status;
}

/* ---- AutoEOI: the VM's use count ---- */

static bool uses_auto_eoi(u64 sint)
{
	return (sint & (HV_SINT_AUTO_EOI | HV_SINT_MASKED | HV_SINT_POLLING)) == HV_SINT_AUTO_EOI;
}

/*
 * The inhibit follows the count. Setting and clearing take their time, and the last user may go while
 * another one comes:
 *
 *      vCPU 0: last user                 vCPU 1: first user
 *      -----------------                 ------------------
 *      count 1 -> 0
 *                                        count 0 -> 1
 *                                        inhibit_set(): stands already
 *      inhibit_clear()                   enters, accelerated
 *
 * So who changes the inhibit owns `auto_eoi_lock` and looks at the count in it. Whoever needs the
 * inhibit waits for that; whoever does not need it any more leaves it to an owner that is there, who
 * looks again afterwards: this may be an INIT, in vcpu_handle_requests(), where nobody waits for
 * somebody else's inhibit_set().
 */
static void follow_count(struct vm *vm, bool wait)
{
	struct hv_vm *hv = &vm->hv;
	bool wanted;

	do {
		if (wait)
			spin_lock(&hv->auto_eoi_lock);
		else if (!spin_trylock(&hv->auto_eoi_lock))
			return;
		wanted = atomic32_read(&hv->auto_eoi_users);
		if (wanted)
			inhibit_set(vm, INHIBIT_HYPERV);
		else
			inhibit_clear(vm, INHIBIT_HYPERV);
		spin_unlock(&hv->auto_eoi_lock);
		smp_mb();
	} while (!!atomic32_read(&hv->auto_eoi_users) != wanted);
}

static void set_user(struct synic *synic, bool user)
{
	struct vm *vm = synic->vcpu->vm;

	if (synic->counts_as_user == user)
		return;
	synic->counts_as_user = user;
	if (user) {
		/* Whoever was first may still be waiting: not until one has looked is it safe. */
		atomic32_fetch_add(&vm->hv.auto_eoi_users, 1);
		follow_count(vm, true);
	} else if (atomic32_fetch_sub(&vm->hv.auto_eoi_users, 1) == 1) {
		follow_count(vm, false);
	}
}

/*
 * A SINT has changed. The vCPU is outside of the guest: its next entry is the first for which any of
 * this counts. The vectors are in force only while the inhibit stands.
 */
static void update_auto_eoi(struct vcpu *vcpu)
{
	struct synic *synic = synic_of(vcpu);
	u32 vectors[LAPIC_VECTOR_WORDS] = {0};
	bool any = false;

	for (u32 i = 0; i < HV_SINTS; i++) {
		u8 vector = (u8)synic->sint[i];

		if (!uses_auto_eoi(synic->sint[i]))
			continue;
		vectors[vector / 32] |= BIT(vector % 32);
		any = true;
	}
	if (any)
		set_user(synic, true);
	lapic_set_auto_eoi(vcpu, vectors, any);
	if (!any)
		set_user(synic, false);
}

/* ---- registers ---- */

static bool write_sint(struct vcpu *vcpu, u32 sint, u64 value)
{
	struct synic *synic = synic_of(vcpu);

	if ((value & HV_SINT_VECTOR) < FIRST_LEGAL_VECTOR && !is_masked(value))
		return false;
	spin_lock(&synic->lock);
	synic->sint[sint] = value;
	spin_unlock(&synic->lock);
	update_auto_eoi(vcpu);
	return true;
}

/* The page that `value` names: a fresh one, unless it is there already. */
static void place_page(struct synic *synic, u64 *msr, u8 **page, u64 value)
{
	u8 *memory = NULL;

	if (value & HV_PAGE_ENABLE)
		memory = vm_memory(synic->vcpu->vm, GPA(PAGE_ADDRESS(value)), PAGE_SIZE);
	spin_lock(&synic->lock);
	if (memory && memory != *page)
		memset(memory, 0, PAGE_SIZE);
	*msr = value;
	*page = memory;
	spin_unlock(&synic->lock);
}

static bool write_eom(struct vcpu *vcpu, u64 value)
{
	if (value)
		return false;
	synic_scan(vcpu);
	return true;
}

bool synic_msr_write(struct vcpu *vcpu, u32 msr, u64 value)
{
	struct synic *synic = synic_of(vcpu);

	switch (msr) {
	case MSR_HV_SCONTROL:
		spin_lock(&synic->lock);
		synic->control = value;
		spin_unlock(&synic->lock);
		return true;
	case MSR_HV_SIEFP:
		place_page(synic, &synic->flags_msr, &synic->flags, value);
		return true;
	case MSR_HV_SIMP:
		place_page(synic, &synic->messages_msr, &synic->messages, value);
		return true;
	case MSR_HV_EOM:
		return write_eom(vcpu, value);
	case MSR_HV_SINT0 ... MSR_HV_SINT15:
		return write_sint(vcpu, msr - MSR_HV_SINT0, value);
	default: /* SVERSION is read-only */
		return false;
	}
}

bool synic_msr_read(struct vcpu *vcpu, u32 msr, u64 *value)
{
	const struct synic *synic = synic_of(vcpu);

	switch (msr) {
	case MSR_HV_SCONTROL:
		*value = synic->control;
		return true;
	case MSR_HV_SVERSION:
		*value = HV_SVERSION;
		return true;
	case MSR_HV_SIEFP:
		*value = synic->flags_msr;
		return true;
	case MSR_HV_SIMP:
		*value = synic->messages_msr;
		return true;
	case MSR_HV_EOM:
		*value = 0;
		return true;
	case MSR_HV_SINT0 ... MSR_HV_SINT15:
		*value = synic->sint[msr - MSR_HV_SINT0];
		return true;
	default:
		return false;
	}
}

/* ---- life ---- */

void synic_init(struct vcpu *vcpu)
{
	synic_of(vcpu)->vcpu = vcpu;
}

void synic_reset(struct vcpu *vcpu)
{
	struct synic *synic = synic_of(vcpu);

	spin_lock(&synic->lock);
	synic->control = synic->flags_msr = synic->messages_msr = 0;
	synic->flags = synic->messages = NULL;
	for (u32 i = 0; i < HV_SINTS; i++)
		synic->sint[i] = HV_SINT_RESET;
	for (u32 i = 0; i < SYNIC_BUFFERS; i++)
		if (synic->buffer[i].queued)
			set_queued(synic, &synic->buffer[i], false);
	spin_unlock(&synic->lock);
	update_auto_eoi(vcpu);
}
