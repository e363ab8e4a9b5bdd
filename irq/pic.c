/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8259A pair. Intel 8259A datasheet, "Interrupt Sequence", "Initialization Command Words",
 * "Operation Command Words"; 82371 (PIIX) datasheet for the edge/level control registers (ELCR).
 *
 * The rules that this file lives by:
 *
 * - An edge input latches its request on a rise, masked or not, and forgets it when the line falls
 *   or the processor acknowledges. A level input's request is its line.
 * - A chip raises INT for the request with the highest priority, if that is higher than the highest
 *   in service. The special fully nested mode lets a slave's input through while it is itself in
 *   service (the slave knows whether the new request is higher); the special mask mode lets a level
 *   in service that is masked block nobody.
 * - INTA moves the request to in-service, or (automatic end of interrupt) to nowhere. If there is
 *   no request any more the chip answers with its input 7 and puts nothing in service: the spurious
 *   IRQ 7 or 15. Devices and the vCPU that acknowledges race for this as on a board.
 * - The slave's INT is the master's input 2. It drops during INTA, so that the slave's next request
 *   makes a new edge there.
 *
 * Narrowed down to what a PC has: 8086 mode (ICW4 bit 0 is not looked at), the slave sits on input
 * 2 (ICW3 is taken and ignored), ELCR stands in for ICW1's LTIM bit as on the PIIX. A chip asks for
 * nothing before its initialisation is complete, since it has no vectors.
 *
 * INTR's level is published in pic->output, which is read without the lock; whoever changes it
 * tells so after the store, with the lock released (irq/extint.c).
 */
#include "irq/pic.h"

#include "core/bus.h"
#include "core/vm.h"
#include "irq/extint.h"
#include "irq/notify.h"

#define PIC_MASTER 0
#define PIC_SLAVE  1

#define PIC_INPUTS   8
#define PIC_CASCADE  2 /* the master's input that the slave is wired to */
#define PIC_SPURIOUS 7

#define PIC_MASTER_PORT 0x20
#define PIC_SLAVE_PORT  0xa0
#define PIC_ELCR_PORT   0x4d0

#define ICW1           BIT(4) /* A0 = 0: this bit begins the initialisation */
#define ICW1_ICW4      BIT(0)
#define ICW1_SINGLE    BIT(1)
#define ICW2_BASE      0xf8
#define ICW4_AUTO_EOI  BIT(1)
#define ICW4_SFNM      BIT(4)
#define OCW3           BIT(3) /* A0 = 0, not ICW1: this bit tells OCW3 from OCW2 */
#define OCW3_READ_ISR  BIT(0)
#define OCW3_READ      BIT(1)
#define OCW3_POLL      BIT(2)
#define OCW3_MASK_SET  BIT(5)
#define OCW3_MASK      BIT(6)
#define OCW2_LEVEL     7
#define OCW2_CMD_SHIFT 5
#define POLL_REQUEST   BIT(7)

/* OCW2 7:5. */
enum pic_ocw2 {
	OCW2_ROTATE_AUTO_CLEAR,
	OCW2_EOI,
	OCW2_NOP,
	OCW2_SPECIFIC_EOI,
	OCW2_ROTATE_AUTO_SET,
	OCW2_ROTATE_EOI,
	OCW2_SET_PRIORITY,
	OCW2_ROTATE_SPECIFIC_EOI,
};

/* --- one chip; all with the lock held --- */

/* 0: the highest. */
static u32 chip_rank(const struct pic_chip *chip, u32 irq)
{
	return (irq - chip->priority_add) % PIC_INPUTS;
}

/* The input with the highest priority in `set`, -1 if that is empty. */
static int chip_highest(const struct pic_chip *chip, u32 set)
{
	for (u32 rank = 0; rank < PIC_INPUTS; rank++) {
		u32 irq = (rank + chip->priority_add) % PIC_INPUTS;

		if (set & BIT(irq))
			return (int)irq;
	}
	return -1;
}

/* What blocks others, and what an unspecific EOI may end. */
static u32 chip_in_service(const struct pic_chip *chip)
{
	return chip->special_mask ? chip->isr & ~chip->imr : chip->isr;
}

/* The request for which INT is asserted, -1: it is not. */
static int chip_request(const struct pic_chip *chip)
{
	int request = chip_highest(chip, chip->irr & ~chip->imr);
	int service = chip_highest(chip, chip_in_service(chip));

	if (!chip->initialised || request < 0)
		return -1;
	if (service < 0 || chip_rank(chip, request) < chip_rank(chip, service))
		return request;
	if (request == service && chip->special_fully_nested && (chip->cascade & BIT(request)))
		return request;
	return -1;
}

static void chip_set_line(struct pic_chip *chip, u32 irq, bool level)
{
	u8 bit = BIT(irq);

	if (!level) {
		chip->irr &= ~bit;
		chip->lines &= ~bit;
		return;
	}
	if ((chip->elcr & bit) || !(chip->lines & bit))
		chip->irr |= bit;
	chip->lines |= bit;
}

static void chip_set_elcr(struct pic_chip *chip, u8 value)
{
	chip->elcr = value & chip->elcr_mask;
	/* A level input's request is its line; an edge input keeps what it has latched. */
	chip->irr = (chip->irr & ~chip->elcr) | (chip->lines & chip->elcr);
}

/* INTA, or the read that stands for it in poll mode. Returns the input, -1: no request (any more).
 */
static int chip_ack(struct pic_chip *chip)
{
	int request = chip_request(chip);

	if (request < 0)
		return -1;
	chip->irr &= ~(BIT(request) & ~chip->elcr);
	if (!chip->auto_eoi) {
		chip->isr |= BIT(request);
		return request;
	}
	chip->ended |= BIT(request);
	if (chip->rotate_on_auto_eoi)
		chip->priority_add = (request + 1) % PIC_INPUTS;
	return request;
}

/* The inputs of `set` are not in service any more. */
static void chip_end(struct pic_chip *chip, u8 set)
{
	chip->ended |= chip->isr & set;
	chip->isr &= ~set;
}

/* ICW1. The edge detectors want a new rise; automatic rotation and all of ICW4 go. */
static void chip_begin_init(struct pic_chip *chip, u8 icw1)
{
	chip->irr = chip->lines & chip->elcr;
	chip->imr = 0;
	chip_end(chip, 0xff);
	chip->priority_add = 0;
	chip->initialised = false;
	chip->single = icw1 & ICW1_SINGLE;
	chip->icw4 = icw1 & ICW1_ICW4;
	chip->auto_eoi = false;
	chip->rotate_on_auto_eoi = false;
	chip->special_fully_nested = false;
	chip->special_mask = false;
	chip->read_isr = false;
	chip->poll = false;
	chip->expects = PIC_EXPECTS_ICW2;
}

static void chip_continue_init(struct pic_chip *chip, u8 value)
{
	switch (chip->expects) {
	case PIC_EXPECTS_ICW2:
		chip->vector_base = value & ICW2_BASE;
		if (!chip->single) {
			chip->expects = PIC_EXPECTS_ICW3;
			return;
		}
		break;
	case PIC_EXPECTS_ICW3:
		break;
	case PIC_EXPECTS_ICW4:
		chip->auto_eoi = value & ICW4_AUTO_EOI;
		chip->special_fully_nested = value & ICW4_SFNM;
		chip->icw4 = false;
		break;
	}
	chip->initialised = !chip->icw4;
	chip->expects = chip->icw4 ? PIC_EXPECTS_ICW4 : PIC_EXPECTS_OCW1;
}

static void chip_write_ocw2(struct pic_chip *chip, u8 value)
{
	enum pic_ocw2 command = value >> OCW2_CMD_SHIFT;
	int irq = value & OCW2_LEVEL;

	switch (command) {
	case OCW2_ROTATE_AUTO_CLEAR:
	case OCW2_ROTATE_AUTO_SET:
		chip->rotate_on_auto_eoi = command == OCW2_ROTATE_AUTO_SET;
		return;
	case OCW2_NOP:
		return;
	case OCW2_SET_PRIORITY:
		break;
	case OCW2_EOI:
	case OCW2_ROTATE_EOI:
		irq = chip_highest(chip, chip_in_service(chip));
		if (irq < 0)
			return;
		chip_end(chip, BIT(irq));
		break;
	case OCW2_SPECIFIC_EOI:
	case OCW2_ROTATE_SPECIFIC_EOI:
		chip_end(chip, BIT(irq));
		break;
	}
	/* Rotation makes `irq` the lowest: the next one is the highest. */
	if (command != OCW2_EOI && command != OCW2_SPECIFIC_EOI)
		chip->priority_add = (irq + 1) % PIC_INPUTS;
}

static void chip_write_ocw3(struct pic_chip *chip, u8 value)
{
	chip->poll = value & OCW3_POLL;
	if (value & OCW3_READ)
		chip->read_isr = value & OCW3_READ_ISR;
	if (value & OCW3_MASK)
		chip->special_mask = value & OCW3_MASK_SET;
}

static void chip_write(struct pic_chip *chip, bool a0, u8 value)
{
	if (a0 && chip->expects != PIC_EXPECTS_OCW1)
		chip_continue_init(chip, value);
	else if (a0)
		chip->imr = value;
	else if (value & ICW1)
		chip_begin_init(chip, value);
	else if (value & OCW3)
		chip_write_ocw3(chip, value);
	else
		chip_write_ocw2(chip, value);
}

/* --- the pair --- */

/* Carry the slave's INT to the master. Returns the master's: INTR. */
static bool pic_settle_locked(struct pic *pic)
{
	chip_set_line(&pic->chip[PIC_MASTER], PIC_CASCADE,
	              chip_request(&pic->chip[PIC_SLAVE]) >= 0);
	return chip_request(&pic->chip[PIC_MASTER]) >= 0;
}

static u32 pic_take_ended_locked(struct pic *pic)
{
	u32 ended = pic->chip[PIC_MASTER].ended | pic->chip[PIC_SLAVE].ended << PIC_INPUTS;

	pic->chip[PIC_MASTER].ended = 0;
	pic->chip[PIC_SLAVE].ended = 0;
	return ended;
}

/*
 * Publish INTR, which was `before`, and release the lock; then tell of what has changed. Setting a
 * line ends nothing: so a device that holds its lock is not called back from here.
 */
static void pic_unlock(struct pic *pic, bool before)
{
	bool after = pic_settle_locked(pic);
	bool changed = after != before || after != atomic32_read_relaxed(&pic->output);
	u32 ended = pic_take_ended_locked(pic);

	atomic32_set(&pic->output, after);
	spin_unlock(&pic->lock);
	if (changed)
		extint_changed(pic->vm);
	if (ended && irq_notify_active(pic->vm))
		irq_notify_ended_inputs(pic->vm, ended);
}

/* Take the lock. Returns INTR as it is. */
static bool pic_lock(struct pic *pic)
{
	spin_lock(&pic->lock);
	return atomic32_read_relaxed(&pic->output);
}

/* Acknowledge on one chip. Its INT falls meanwhile, even if it rises again for the next request. */
static int pic_ack_chip_locked(struct pic *pic, u32 which)
{
	int irq = chip_ack(&pic->chip[which]);

	if (which == PIC_SLAVE)
		chip_set_line(&pic->chip[PIC_MASTER], PIC_CASCADE, false);
	return irq;
}

/* The chip of a line 0..15, NULL if no device can be on it. */
static struct pic_chip *pic_chip_of(struct pic *pic, u32 irq)
{
	if (irq >= 2 * PIC_INPUTS || irq == PIC_CASCADE)
		return NULL;
	return &pic->chip[irq / PIC_INPUTS];
}

void pic_set_line(struct pic *pic, u32 irq, bool level)
{
	struct pic_chip *chip = pic_chip_of(pic, irq);
	bool before;

	if (!chip)
		return;
	before = pic_lock(pic);
	chip_set_line(chip, irq % PIC_INPUTS, level);
	pic_unlock(pic, before);
}

void pic_pulse_line(struct pic *pic, u32 irq)
{
	struct pic_chip *chip = pic_chip_of(pic, irq);
	bool before;

	if (!chip)
		return;
	before = pic_lock(pic);
	chip_set_line(chip, irq % PIC_INPUTS, false);
	before = pic_settle_locked(pic) && before;
	chip_set_line(chip, irq % PIC_INPUTS, true);
	pic_unlock(pic, before);
}

bool pic_has_interrupt(const struct pic *pic)
{
	return atomic32_read(&pic->output);
}

u8 pic_ack(struct pic *pic)
{
	struct pic_chip *chip = &pic->chip[PIC_MASTER];
	int irq;

	pic_lock(pic);
	irq = pic_ack_chip_locked(pic, PIC_MASTER);
	if (irq == PIC_CASCADE) {
		chip = &pic->chip[PIC_SLAVE];
		irq = pic_ack_chip_locked(pic, PIC_SLAVE);
	}
	if (irq < 0)
		irq = PIC_SPURIOUS;
	irq += chip->vector_base;
	/* INTR has been low during INTA: if it is asserted now, that is a rise. */
	pic_unlock(pic, false);
	return irq;
}

u32 pic_state(struct pic *pic, u32 irq)
{
	const struct pic_chip *chip = pic_chip_of(pic, irq);
	u32 state = 0;

	if (!chip)
		return 0;
	irq %= PIC_INPUTS;
	spin_lock(&pic->lock);
	if (chip->initialised && (chip->irr & ~chip->imr & BIT(irq)))
		state |= EXTINT_REQUESTED;
	if (chip->isr & BIT(irq))
		state |= EXTINT_IN_SERVICE;
	/* What the slave asks for is not asked for while the master masks the slave. */
	if (chip == &pic->chip[PIC_SLAVE] && (pic->chip[PIC_MASTER].imr & BIT(PIC_CASCADE)))
		state &= ~EXTINT_REQUESTED;
	spin_unlock(&pic->lock);
	return state;
}

/* --- ports --- */

/* Bytes of a wider access go to successive ports: these are 8-bit devices. */
static u8 pic_read_byte_locked(struct pic *pic, u32 which, bool a0)
{
	struct pic_chip *chip = &pic->chip[which];
	int irq;

	if (chip->poll) {
		chip->poll = false;
		irq = pic_ack_chip_locked(pic, which);
		return irq < 0 ? 0 : POLL_REQUEST | irq;
	}
	if (a0)
		return chip->imr;
	return chip->read_isr ? chip->isr : chip->irr;
}

static u64 pic_read(struct pic *pic, u32 which, u64 offset, u32 size)
{
	bool before = pic_lock(pic);
	u64 value = 0;

	for (u32 i = 0; i < size; i++)
		value |= (u64)pic_read_byte_locked(pic, which, offset + i) << (i * 8);
	pic_unlock(pic, before);
	return value;
}

static void pic_write(struct pic *pic, u32 which, u64 offset, u32 size, u64 value)
{
	bool before = pic_lock(pic);

	for (u32 i = 0; i < size; i++)
		chip_write(&pic->chip[which], offset + i, value >> (i * 8));
	pic_unlock(pic, before);
}

static u64 pic_master_read(void *device, struct vcpu *vcpu, u64 offset, u32 size)
{
	(void)vcpu;
	return pic_read(device, PIC_MASTER, offset, size);
}

static void pic_master_write(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	(void)vcpu;
	pic_write(device, PIC_MASTER, offset, size, value);
}

static u64 pic_slave_read(void *device, struct vcpu *vcpu, u64 offset, u32 size)
{
	(void)vcpu;
	return pic_read(device, PIC_SLAVE, offset, size);
}

static void pic_slave_write(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	(void)vcpu;
	pic_write(device, PIC_SLAVE, offset, size, value);
}

static u64 pic_elcr_read(void *device, struct vcpu *vcpu, u64 offset, u32 size)
{
	struct pic *pic = device;
	bool before = pic_lock(pic);
	u64 value = 0;

	(void)vcpu;
	for (u32 i = 0; i < size; i++)
		value |= (u64)pic->chip[offset + i].elcr << (i * 8);
	pic_unlock(pic, before);
	return value;
}

static void pic_elcr_write(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct pic *pic = device;
	bool before = pic_lock(pic);

	(void)vcpu;
	for (u32 i = 0; i < size; i++)
		chip_set_elcr(&pic->chip[offset + i], value >> (i * 8));
	pic_unlock(pic, before);
}

static const struct bus_ops pic_master_ops = {.read = pic_master_read, .write = pic_master_write};
static const struct bus_ops pic_slave_ops = {.read = pic_slave_read, .write = pic_slave_write};
static const struct bus_ops pic_elcr_ops = {.read = pic_elcr_read, .write = pic_elcr_write};

/* --- life --- */

/* The lines belong to the devices and stay as they are. */
void pic_reset(struct pic *pic)
{
	/* Timer, keyboard, cascade; the real-time clock and the coprocessor: always edges. */
	static const u8 elcr_mask[2] = {0xf8, 0xde};
	bool before = pic_lock(pic);

	for (u32 i = 0; i < ARRAY_SIZE(pic->chip); i++) {
		pic->chip[i] = (struct pic_chip){
		        .lines = pic->chip[i].lines,
		        .elcr_mask = elcr_mask[i],
		        .cascade = i == PIC_MASTER ? BIT(PIC_CASCADE) : 0,
		};
	}
	pic_unlock(pic, before);
}

void pic_init(struct pic *pic, struct vm *vm)
{
	*pic = (struct pic){.vm = vm};
	pic_reset(pic);
	bus_register(&vm->io, PIC_MASTER_PORT, 2, &pic_master_ops, pic);
	bus_register(&vm->io, PIC_SLAVE_PORT, 2, &pic_slave_ops, pic);
	bus_register(&vm->io, PIC_ELCR_PORT, 2, &pic_elcr_ops, pic);
}

/* --- the core's own pair as an ExtINT source --- */

static bool pic_extint_has(void *source)
{
	return pic_has_interrupt(source);
}

static u8 pic_extint_ack(void *source)
{
	return pic_ack(source);
}

static void pic_extint_set_line(void *source, u32 input, bool level)
{
	pic_set_line(source, input, level);
}

static void pic_extint_pulse_line(void *source, u32 input)
{
	pic_pulse_line(source, input);
}

static u32 pic_extint_state(void *source, u32 input)
{
	return pic_state(source, input);
}

static const struct extint_ops pic_extint_ops = {
        .has = pic_extint_has,
        .ack = pic_extint_ack,
        .set_line = pic_extint_set_line,
        .pulse_line = pic_extint_pulse_line,
        .state = pic_extint_state,
};

void pic_attach(struct vm *vm)
{
	extint_attach(vm, &pic_extint_ops, &vm->pic);
}
