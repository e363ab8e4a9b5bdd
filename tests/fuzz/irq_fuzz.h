/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The irq fuzzer: all of irq/ wired up as in a VM of three vCPUs, over the fakes of
 * tests/unit/irq_fake.c.
 *
 * irq.c        the operations that an input consists of
 * irq_world.c  the VM and how it is put back, time, the pseudo-processors that take interrupts
 * irq_check.c  what has to hold after each operation
 * irq_model.c  the same things computed anew from the registers, slowly and without the code under
 *              test: destinations, priorities, the 8259s' requests
 */
#ifndef TESTS_FUZZ_IRQ_FUZZ_H
#define TESTS_FUZZ_IRQ_FUZZ_H

#include "irq/lapic_priv.h"
#include "platform/irqchip.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/irq_fake.h"

#define VCPUS 3

static inline struct vcpu *cpu(u32 i)
{
	return fake.vm->vcpu[i];
}

static inline struct lapic *apic(u32 i)
{
	return &cpu(i)->lapic;
}

/* A register of the page, read as the memory that it is. */
static inline u32 apic_reg(u32 i, u32 offset)
{
	u32 value;

	memcpy(&value, apic(i)->page + offset, sizeof(value));
	return value;
}

/* --- irq_world.c --- */

/* What the world is made as: two bits, then what is only set. */
#define WORLD_SPLIT        BIT(0) /* the 8259 pair is the platform's */
#define WORLD_LARGE_IDS    BIT(1) /* APIC IDs that xAPIC mode cannot show */
#define WORLD_NO_X2APIC    BIT(2)
#define WORLD_NO_DEADLINE  BIT(3)
#define WORLD_REINJECT     BIT(4)
#define WORLD_PROGRAMMED   BIT(5) /* APICs enabled, 8259s initialised, entries open */
#define WORLD_X2APIC       BIT(6) /* and in x2APIC mode */
#define WORLD_EOI_REQUIRED BIT(7)

/* The processor that a vCPU runs on, as far as irq/intr.c knows it. */
struct __aligned(8) guest
{
	struct intr_event slot; /* .valid: injected and not yet delivered */
	bool open, shadow;      /* RFLAGS.IF, interrupt shadow */
	bool in_nmi;
	bool window, nmi_window, tpr_exit;
	u32 resets;
};
extern struct guest guest[VCPUS];

void world_begin(u8 choices);
struct pic *world_pic(void);
void world_advance(u64 ns);
/* The vCPU executes an instruction: what the slot holds has been delivered before it. */
void world_guest_acts(u32 i);
/* Handle requests and prepare an entry; `deliver`: it gets as far as the guest. */
void world_enter(u32 i, bool deliver);

/* --- irq_model.c --- */

struct model_vectors {
	u32 word[8];
};
bool model_test(const struct model_vectors *set, u32 vector);
void model_load(struct model_vectors *set, u32 i, u32 reg);
/* -1: empty. */
int model_highest(const struct model_vectors *set);
u32 model_ppr(u32 tpr, const struct model_vectors *service);
/* What may be delivered of these, -1: nothing. */
int model_deliverable(u32 tpr, const struct model_vectors *request,
                      const struct model_vectors *service);
u64 model_destinations(const struct irq_message *message);
/* Those that accept a fixed message, of a set. */
u64 model_accepting(u64 set, u8 vector);
u64 model_software_enabled(void);
bool model_pic_output(const struct pic *pic);
bool model_pic_slave_output(const struct pic *pic);

/* --- irq_check.c --- */

/* What an operation is known to do, beyond its name; set before it is done. */
struct op {
	const char *name;
	bool ends;          /* an EOI of `cpu`'s highest vector in service */
	u32 cpu;            /* whose */
	bool ioapic_end;    /* a write of the I/O APIC's EOI register */
	u8 ioapic_vector;   /* with this vector */
	bool ioapic_reset;  /* remote IRR may go */
	bool programs_8254; /* ticks that wait may go */
	bool enters;        /* world_enter() of `cpu` */
	bool quiet;         /* nobody's request is delivered by it */
	bool delivers;      /* exactly this message, fixed or lowest priority */
	struct irq_message message;
};

/* Before the first operation of an input. */
void check_begin(void);
/* Around each; what `op` says is read after it. */
void check_before(const struct op *op);
void check_after(void);
/* For world_enter(): requests have been handled; before and after intr_prepare_entry(). */
void check_before_prepare(u32 i);
void check_after_prepare(u32 i, bool force);

#endif
