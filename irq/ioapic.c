/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The I/O APIC. 82093AA datasheet, "I/O Redirection Table Registers" and "Interrupt Delivery"; the
 * EOI register as in the I/O Controller Hubs' datasheets, "EOI Register" (version 20h and later).
 *
 * The rules that this file lives by:
 *
 * - A pin has one bit of state besides its entry: the level of its input. An edge pin sends on a
 *   rise, if unmasked at that moment; an edge that comes while the entry is masked is ignored, as
 *   the datasheet has it ("Interrupt Mask"), and is not sent upon unmasking.
 * - A level pin sends while its input is high, the entry unmasked and remote IRR clear. Remote IRR
 *   is set when a local APIC accepted the message and cleared by an EOI for the entry's vector; a
 *   line that is still high then makes the pin send again.
 * - Switching an entry to edge clears remote IRR. Operating systems rely on it to get rid of a
 *   stale one where there is no EOI register.
 * - The trigger mode counts for fixed and lowest-priority delivery only. SMI, NMI, INIT and ExtINT
 *   are edges whatever the entry says: nobody would ever send an EOI for them.
 * - Polarity is stored and otherwise ignored, as in KVM: ioapic_set_line() takes the *logical*
 *   state of the line (true: the device wants service), so how the wire would have carried it is
 *   moot.
 * - A level message that no local APIC accepts leaves remote IRR clear; it is sent again at the
 *   next EOI for its vector, write of its entry or rise of its line. (The chip retries without end;
 *   a guest could make that cost a processor.)
 *
 * Livelock guard: a guest that sends EOIs without serving the device would be interrupted forever,
 * each time right after its EOI, and never run the code that serves it. After
 * IOAPIC_STORM_LIMIT re-deliveries in a row a pin's next one comes IOAPIC_STORM_DELAY_NS later.
 *
 * irq_deliver() is called with the lock held: that keeps the remote IRR of a message and an EOI
 * that answers it in order.
 *
 *      CPU A: ioapic_set_line()              CPU B: the target vCPU's
 *      lock
 *      irq_deliver(): IRR bit, request  ---> takes the interrupt
 *      remote IRR = 1                        EOI -> ioapic_eoi(): waits for the lock
 *      unlock                                remote IRR = 0
 */
#include "irq/ioapic.h"

#include "core/bus.h"
#include "core/vm.h"
#include "irq/eoi_exit.h"
#include "irq/notify.h"
#include "irq/route.h"
#include "postern/port.h"
#include "x86/apic.h"

/* Offsets in the page, and indirect registers. */
#define IOAPIC_IOREGSEL 0x00
#define IOAPIC_IOWIN    0x10
#define IOAPIC_EOI      0x40

#define IOAPIC_REG_ID    0x00
#define IOAPIC_REG_VER   0x01
#define IOAPIC_REG_ARB   0x02
#define IOAPIC_REG_TABLE 0x10

#define IOAPIC_VER_MAX_ENTRY_SHIFT 16
#define IOAPIC_ID_SHIFT            24

/* What a guest may write: not delivery status and remote IRR, not the reserved bits. */
#define IOAPIC_RTE_WRITABLE                                                                        \
	((0xffull << IOAPIC_RTE_DEST_SHIFT) | IOAPIC_RTE_MASKED | IOAPIC_RTE_LEVEL |               \
	 IOAPIC_RTE_POLARITY | IOAPIC_RTE_LOGICAL | APIC_DM_MASK | IOAPIC_RTE_VECTOR)

/* Bits 14:8 of the destination, of a VM with large IDs; elsewhere reserved: see irq/msi.c. */
#define IOAPIC_RTE_EXT_SHIFT 49
#define IOAPIC_RTE_EXT       0x7full

#define IOAPIC_STORM_LIMIT    10000
#define IOAPIC_STORM_DELAY_NS 10000000ull

static bool rte_is_level(u64 rte)
{
	u32 delivery = rte & APIC_DM_MASK;

	return (rte & IOAPIC_RTE_LEVEL) &&
	       (delivery == APIC_DM_FIXED || delivery == APIC_DM_LOWEST);
}

/* The table knows no start-up message, and encoding 3 is reserved. */
static bool rte_is_valid(u64 rte)
{
	u32 delivery = rte & APIC_DM_MASK;

	return delivery != APIC_DM_SIPI && delivery != (3u << 8);
}

static struct irq_message rte_message(const struct ioapic *ioapic, u64 rte)
{
	struct irq_message message = {
	        .dest = rte >> IOAPIC_RTE_DEST_SHIFT,
	        .delivery = rte & APIC_DM_MASK,
	        .shorthand = APIC_DEST_FIELD,
	        .vector = rte & IOAPIC_RTE_VECTOR,
	        .logical = rte & IOAPIC_RTE_LOGICAL,
	        .level = rte_is_level(rte),
	        .assert = true,
	        .source = IRQ_SOURCE_IOAPIC,
	};

	if (ioapic->vm->large_ids)
		irq_extend_destination(&message, rte >> IOAPIC_RTE_EXT_SHIFT & IOAPIC_RTE_EXT);
	return message;
}

/* Send the message of `rte`. true: a local APIC accepted it. */
static bool ioapic_send(struct ioapic *ioapic, u64 rte)
{
	struct irq_message message = rte_message(ioapic, rte);

	return rte_is_valid(rte) && irq_deliver(ioapic->vm, &message) > 0;
}

/* The pin wants service: send, unless masked or (level) already sent and not yet served. */
static void ioapic_service_locked(struct ioapic *ioapic, u32 pin)
{
	u64 *rte = &ioapic->rte[pin];

	if (*rte & (IOAPIC_RTE_MASKED | IOAPIC_RTE_REMOTE_IRR))
		return;
	if (ioapic_send(ioapic, *rte) && rte_is_level(*rte))
		*rte |= IOAPIC_RTE_REMOTE_IRR;
}

/* A level pin's condition may have changed for another reason than its line. */
static void ioapic_recheck_locked(struct ioapic *ioapic, u32 pin)
{
	if (rte_is_level(ioapic->rte[pin]) && (ioapic->lines & BIT(pin)))
		ioapic_service_locked(ioapic, pin);
}

void ioapic_set_line(struct vm *vm, u32 pin, bool level)
{
	struct ioapic *ioapic = &vm->ioapic;

	if (pin >= IOAPIC_PINS)
		return;
	spin_lock(&ioapic->lock);
	if (!level) {
		ioapic->lines &= ~BIT(pin);
	} else if (!(ioapic->lines & BIT(pin))) {
		ioapic->lines |= BIT(pin);
		ioapic_service_locked(ioapic, pin);
	}
	spin_unlock(&ioapic->lock);
}

/* --- end of interrupt, livelock guard --- */

/* Count a re-delivery. true: this one has to wait. */
static bool ioapic_storms_locked(struct ioapic *ioapic, u32 pin)
{
	if (++ioapic->eoi_again[pin] < IOAPIC_STORM_LIMIT)
		return false;
	ioapic->eoi_again[pin] = 0;
	ioapic->storms++;
	/* A pin that joins others shares their deadline: two storms cannot push it away forever. */
	if (!ioapic->delayed)
		timer_arm(&ioapic->storm, port_tsc() + timer_ns_to_tsc(IOAPIC_STORM_DELAY_NS));
	ioapic->delayed |= BIT(pin);
	return true;
}

static void ioapic_eoi_pin_locked(struct ioapic *ioapic, u32 pin)
{
	ioapic->rte[pin] &= ~IOAPIC_RTE_REMOTE_IRR;
	if (!(ioapic->lines & BIT(pin)) || (ioapic->rte[pin] & IOAPIC_RTE_MASKED))
		ioapic->eoi_again[pin] = 0;
	else if (!ioapic_storms_locked(ioapic, pin))
		ioapic_service_locked(ioapic, pin);
}

/*
 * Tell who listens to a pin of the vector. Before remote IRR is cleared: a device that lets go of its
 * line for this, and raises it again only if it wants more, is not delivered once too often.
 */
static void ioapic_notify(struct vm *vm, u8 vector)
{
	struct ioapic *ioapic = &vm->ioapic;
	u32 pins = irq_notify_pins(vm);
	u32 ended = 0;

	spin_lock(&ioapic->lock);
	for (u32 rest = pins; rest; rest &= rest - 1) {
		u32 pin = (u32)__builtin_ctz(rest);

		if ((ioapic->rte[pin] & IOAPIC_RTE_VECTOR) == vector)
			ended |= BIT(pin);
	}
	spin_unlock(&ioapic->lock);
	if (ended)
		irq_notify_ended_pins(vm, ended);
}

void ioapic_eoi_edge(struct vm *vm, u8 vector)
{
	if (irq_notify_active(vm))
		ioapic_notify(vm, vector);
}

void ioapic_eoi(struct vm *vm, u8 vector)
{
	struct ioapic *ioapic = &vm->ioapic;

	if (irq_notify_active(vm))
		ioapic_notify(vm, vector);
	spin_lock(&ioapic->lock);
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 rte = ioapic->rte[pin];

		if (rte_is_level(rte) && (rte & IOAPIC_RTE_VECTOR) == vector)
			ioapic_eoi_pin_locked(ioapic, pin);
	}
	spin_unlock(&ioapic->lock);
}

/* The delay is over. A pin that was sent, lowered or masked meanwhile has nothing left to do. */
static void ioapic_storm_fire(struct timer *timer)
{
	struct ioapic *ioapic = container_of(timer, struct ioapic, storm);
	u32 delayed;

	spin_lock(&ioapic->lock);
	delayed = ioapic->delayed;
	ioapic->delayed = 0;
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		if (delayed & BIT(pin))
			ioapic_recheck_locked(ioapic, pin);
	}
	spin_unlock(&ioapic->lock);
}

/* --- what others ask --- */

bool ioapic_is_unserved(struct vm *vm, u32 pin)
{
	struct ioapic *ioapic = &vm->ioapic;
	struct vcpu *vcpu;
	u64 rte;

	spin_lock(&ioapic->lock);
	rte = ioapic->rte[pin];
	spin_unlock(&ioapic->lock);
	if (rte & IOAPIC_RTE_REMOTE_IRR)
		return true;
	if ((rte & APIC_DM_MASK) != APIC_DM_FIXED && (rte & APIC_DM_MASK) != APIC_DM_LOWEST)
		return false;
	for_each_vcpu (vcpu, vm) {
		if (lapic_holds(&vcpu->lapic, rte & IOAPIC_RTE_VECTOR))
			return true;
	}
	return false;
}

/*
 * Masked entries too, if they have sent something that has not been ended: then remote IRR is set.
 * Without that, unmasking is a change of the table.
 */
void ioapic_watched_vectors(struct vcpu *vcpu, u32 pins, u64 set[4])
{
	struct ioapic *ioapic = &vcpu->vm->ioapic;
	u64 rte[IOAPIC_PINS];

	spin_lock(&ioapic->lock);
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++)
		rte[pin] = ioapic->rte[pin];
	spin_unlock(&ioapic->lock);
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		u32 vector = rte[pin] & IOAPIC_RTE_VECTOR;
		struct irq_message message = rte_message(ioapic, rte[pin]);

		if ((rte[pin] & IOAPIC_RTE_MASKED) && !(rte[pin] & IOAPIC_RTE_REMOTE_IRR) &&
		    !(pins & BIT(pin)))
			continue;
		if (!message.level && !(pins & BIT(pin)))
			continue;
		/* An edge leaves no trace in the entry: what came before it was rewritten. */
		if ((apic_map_destinations(vcpu->vm, &message) & BIT64(vcpu->index)) ||
		    ((pins & BIT(pin)) && lapic_holds(&vcpu->lapic, (u8)vector)))
			set[vector / 64] |= BIT64(vector % 64);
	}
}

/* --- registers --- */

static u32 ioapic_read_register_locked(const struct ioapic *ioapic)
{
	u32 index = ioapic->select;
	u32 pin = (index - IOAPIC_REG_TABLE) / 2;

	if (index == IOAPIC_REG_ID || index == IOAPIC_REG_ARB)
		return (u32)ioapic->id << IOAPIC_ID_SHIFT; /* writing the ID loads both */
	if (index == IOAPIC_REG_VER)
		return ioapic->version | (IOAPIC_PINS - 1) << IOAPIC_VER_MAX_ENTRY_SHIFT;
	if (index < IOAPIC_REG_TABLE)
		return 0;
	if (pin >= IOAPIC_PINS)
		return ~0u;
	return ioapic->rte[pin] >> (index & 1 ? 32 : 0);
}

static void ioapic_write_entry_locked(struct ioapic *ioapic, u32 pin, bool high, u32 value)
{
	u32 shift = high ? 32 : 0;
	u64 known = IOAPIC_RTE_WRITABLE |
	            (ioapic->vm->large_ids ? IOAPIC_RTE_EXT << IOAPIC_RTE_EXT_SHIFT : 0);
	u64 writable = known & (0xffffffffull << shift);
	u64 rte = (ioapic->rte[pin] & ~writable) | (((u64)value << shift) & writable);

	if (!rte_is_level(rte))
		rte &= ~IOAPIC_RTE_REMOTE_IRR;
	if (ioapic->rte[pin] != rte) {
		ioapic->rte[pin] = rte;
		/* Before anything is sent by the new entry. */
		eoi_exit_changed(ioapic->vm);
	}
	ioapic_recheck_locked(ioapic, pin);
}

static void ioapic_write_register_locked(struct ioapic *ioapic, u32 value)
{
	u32 index = ioapic->select;
	u32 pin = (index - IOAPIC_REG_TABLE) / 2;

	if (index == IOAPIC_REG_ID)
		ioapic->id = (value >> IOAPIC_ID_SHIFT) & 0xf;
	else if (index >= IOAPIC_REG_TABLE && pin < IOAPIC_PINS)
		ioapic_write_entry_locked(ioapic, pin, index & 1, value);
}

/*
 * The chip is to be accessed by aligned 32-bit words. Others are defined here: a narrow read sees
 * the register's low bytes, a narrow write the rest as zeros, a wide access only 32 bits.
 */
u64 ioapic_read(struct vm *vm, u64 offset, u32 size)
{
	struct ioapic *ioapic = &vm->ioapic;
	u32 value = 0;

	spin_lock(&ioapic->lock);
	if (offset == IOAPIC_IOREGSEL)
		value = ioapic->select;
	else if (offset == IOAPIC_IOWIN)
		value = ioapic_read_register_locked(ioapic);
	spin_unlock(&ioapic->lock);
	return size < 4 ? value & (BIT(size * 8) - 1) : value;
}

void ioapic_write(struct vm *vm, u64 offset, u32 size, u64 value)
{
	struct ioapic *ioapic = &vm->ioapic;

	if (size < 4)
		value &= BIT(size * 8) - 1;
	if (offset == IOAPIC_EOI && ioapic->version >= IOAPIC_VERSION_EOI) {
		ioapic_eoi(vm, value & IOAPIC_RTE_VECTOR);
		return;
	}
	spin_lock(&ioapic->lock);
	if (offset == IOAPIC_IOREGSEL)
		ioapic->select = value;
	else if (offset == IOAPIC_IOWIN)
		ioapic_write_register_locked(ioapic, value);
	spin_unlock(&ioapic->lock);
}

static u64 ioapic_bus_read(void *device, struct vcpu *vcpu, u64 offset, u32 size)
{
	(void)vcpu;
	return ioapic_read(device, offset, size);
}

static void ioapic_bus_write(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	(void)vcpu;
	ioapic_write(device, offset, size, value);
}

static const struct bus_ops ioapic_bus_ops = {
        .read = ioapic_bus_read,
        .write = ioapic_bus_write,
};

/* --- life --- */

/* The lines belong to the devices: a reset of the chip does not change their level. */
void ioapic_reset(struct vm *vm)
{
	struct ioapic *ioapic = &vm->ioapic;

	spin_lock(&ioapic->lock);
	timer_cancel(&ioapic->storm);
	ioapic->select = 0;
	ioapic->id = 0;
	ioapic->delayed = 0;
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		ioapic->rte[pin] = IOAPIC_RTE_MASKED;
		ioapic->eoi_again[pin] = 0;
	}
	spin_unlock(&ioapic->lock);
	eoi_exit_changed(vm);
}

void ioapic_init(struct vm *vm)
{
	struct ioapic *ioapic = &vm->ioapic;

	*ioapic = (struct ioapic){.vm = vm, .version = IOAPIC_VERSION_EOI};
	timer_init(&ioapic->storm, ioapic_storm_fire);
	ioapic_reset(vm);
	bus_register(&vm->memory, IOAPIC_BASE, IOAPIC_SIZE, &ioapic_bus_ops, vm);
}
