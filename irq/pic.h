/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8259A pair with edge/level control registers. Intel 8259A datasheet; PIIX ELCR.
 *
 * The chips, wherever they live: the core's own pair is vm->pic (pic_attach()), another owner embeds
 * a struct pic of its own and puts his operations between it and the core (irq/extint.h).
 */
#ifndef IRQ_PIC_H
#define IRQ_PIC_H

#include "postern/sync.h"

struct vm;

/* What a write with A0 = 1 means next. */
enum pic_expects {
	PIC_EXPECTS_OCW1, /* no initialisation under way: the mask */
	PIC_EXPECTS_ICW2,
	PIC_EXPECTS_ICW3,
	PIC_EXPECTS_ICW4,
};

struct pic_chip {
	u8 irr, imr, isr;
	u8 lines;        /* level of each input */
	u8 elcr;         /* 1: level-triggered */
	u8 elcr_mask;    /* (i) inputs that may be level-triggered */
	u8 cascade;      /* (i) inputs that a slave is wired to */
	u8 priority_add; /* the input with the highest priority: rotates */
	u8 vector_base;
	u8 expects;        /* enum pic_expects */
	bool initialised;  /* the sequence that ICW1 begins is complete */
	bool single, icw4; /* ICW1: no ICW3 follows; an ICW4 follows */
	bool auto_eoi, rotate_on_auto_eoi, special_fully_nested, special_mask;
	bool read_isr, poll;
	u8 ended; /* inputs whose service has ended since this was last looked at */
};

struct pic {
	struct spinlock lock;
	struct vm *vm;           /* (i) */
	struct pic_chip chip[2]; /* [lock] master, slave */
	struct atomic32 output;  /* [a; lock to write] INTR of the master: asked without the lock */
};

void pic_init(struct pic *pic, struct vm *vm); /* registers ports 20/21, A0/A1, 4D0/4D1 on vm->io */
void pic_reset(struct pic *pic);
/* Make vm->pic, which has been initialised, the VM's ExtINT source. */
void pic_attach(struct vm *vm);
/*
 * Any processor; the caller may hold its device's lock, not the I/O APIC's. Changes of the output
 * are told by extint_changed(), ends of service by irq_notify_ended_inputs().
 */
void pic_set_line(struct pic *pic, u32 irq, bool level);
/* The line falls and rises at once: nobody sees the state between. Rules as pic_set_line(). */
void pic_pulse_line(struct pic *pic, u32 irq);
/* INTR is asserted. Pure, no lock. */
bool pic_has_interrupt(const struct pic *pic);
/* INTA cycle: the vector (spurious IRQ7/15 included). Own processor of the vCPU that takes it. */
u8 pic_ack(struct pic *pic);
/* What has become of the input's request: EXTINT_*. Any processor. */
u32 pic_state(struct pic *pic, u32 irq);

#endif
