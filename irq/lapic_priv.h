/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the local APIC share with each other and with nobody else. */
#ifndef IRQ_LAPIC_PRIV_H
#define IRQ_LAPIC_PRIV_H

#include "core/vcpu.h"
#include "irq/lapic.h"
#include "x86/apic.h"
#include "x86/msr.h"

/*
 * Integrated APIC, six LVT entries (no CMCI: AMD has none and the Intel models hide it), EOI
 * broadcast suppressible. Bit 31, AMD's extended register space, is clear: 400h and beyond are not
 * there.
 */
#define LAPIC_VERSION (0x14u | 5u << 16 | APIC_VERSION_DIRECTED_EOI)

/* Bytes between two registers of the page, and between words of IRR, ISR and TMR. */
#define LAPIC_STRIDE 16

static inline struct atomic32 *lapic_word(const struct lapic *lapic, u32 offset)
{
	return (struct atomic32 *)(void *)(lapic->page + offset);
}

static inline u32 lapic_get(const struct lapic *lapic, u32 offset)
{
	return atomic32_read_relaxed(lapic_word(lapic, offset));
}

static inline void lapic_set(struct lapic *lapic, u32 offset, u32 value)
{
	atomic32_set_relaxed(lapic_word(lapic, offset), value);
}

/* The word of a 256-bit register (APIC_IRR, APIC_ISR, APIC_TMR) that has `vector`'s bit. */
static inline struct atomic32 *lapic_vector_word(const struct lapic *lapic, u32 reg, u8 vector)
{
	return lapic_word(lapic, reg + vector / 32 * LAPIC_STRIDE);
}

static inline u32 lapic_vector_bit(u8 vector)
{
	return BIT(vector % 32);
}

static inline bool lapic_hardware_enabled(const struct lapic *lapic)
{
	return atomic64_read_relaxed(&lapic->base) & APIC_BASE_EN;
}

static inline bool lapic_in_x2apic(const struct lapic *lapic)
{
	return atomic64_read_relaxed(&lapic->base) & APIC_BASE_EXTD;
}

static inline bool lapic_software_enabled(const struct lapic *lapic)
{
	return lapic_get(lapic, APIC_SVR) & APIC_SVR_ENABLE;
}

static inline bool lapic_has_auto_eoi(const struct lapic *lapic, u8 vector)
{
	return lapic->auto_eoi && lapic->auto_eoi_vectors[vector / 32] & lapic_vector_bit(vector);
}

static inline bool lapic_is_accelerated(const struct lapic *lapic)
{
	return lapic->by & LAPIC_BY_PROCESSOR;
}

/*
 * A request has been set in the page of `vcpu`, by software or by a sender's processor: see that it is looked at. Any
 * processor; a device may hold its lock. The race: irq/accel.c. Of one apart from the page: accel_posted().
 */
static inline void lapic_posted(struct vcpu *vcpu)
{
	if (atomic32_read(&vcpu->accel.mode) == ACCEL_OFF)
		vcpu_request(vcpu, VCPU_REQUEST_EVENT);
	else
		accel_posted(vcpu);
}

/* lapic.c */
/* Note an error of ESR; the first since ESR was last written raises the LVT error entry. Any CPU.
 */
void lapic_error(struct lapic *lapic, u32 esr_bit);
/* Every register to its reset value, ID and LDR as the mode has them; nothing pending. */
void lapic_reset_registers(struct lapic *lapic);
void lapic_set_tpr(struct lapic *lapic, u8 tpr);
void lapic_eoi(struct lapic *lapic);

/* lapic_regs.c */
/* A write of the page's register, by the rules of the mode. */
void lapic_write_again(struct lapic *lapic, u32 offset, u32 value);
/* Mode, base or enables have changed: whoever has to know. */
void lapic_changed(struct lapic *lapic);
/* The same, the registers having been reset, in which the APIC is disabled by software. */
void lapic_changed_by_reset(struct lapic *lapic);
/* ID and LDR as they are on entering the present mode. */
void lapic_load_identity(struct lapic *lapic);

/* lapic_accel.c */
/*
 * Set a request apart from the page. Any processor. true: nobody else tells the vCPU, accel_posted() is to. Inline:
 * bench/vapic.c counts the way of an interrupt that software posts.
 */
static inline bool lapic_post(struct lapic *lapic, u8 vector)
{
	struct vcpu *vcpu = lapic->vcpu;
	struct accel_requests *apart = &vcpu->accel.apart;
	u64 bit = BIT64(vector % 64);

	if (atomic64_fetch_or(&apart->word[vector / 64], bit) & bit)
		counter_add_shared(&vcpu->account.counters[COUNTER_COALESCED], 1);
	return !(atomic64_fetch_or(&apart->control, ACCEL_REQUESTS_ON) & ACCEL_REQUESTS_ON);
}
/* Something may be apart that the owner has not seen. Any processor. */
static inline bool lapic_has_posted(const struct lapic *lapic)
{
	return atomic64_read(&lapic->vcpu->accel.apart.control) & ACCEL_REQUESTS_ON;
}
/* Move what is apart into the page, outside of the guest. Own processor. false: nothing was. */
bool lapic_harvest(struct lapic *lapic);
/* This vector's bit is set apart. A snapshot; any processor. */
bool lapic_is_posted(const struct lapic *lapic, u8 vector);
/* Nothing is apart any more. Own processor. */
void lapic_forget_posted(struct lapic *lapic);
/* The registers as software has left them, for when the processor writes them. */
void lapic_keep(struct lapic *lapic);

/* lapic_icr.c */
void lapic_send(struct lapic *lapic, u32 icr_low, u32 dest);
void lapic_send_self(struct lapic *lapic, u8 vector);

/* lapic_timer.c: writes of the timer's registers, their values already reduced to valid bits. */
void lapic_timer_init(struct lapic *lapic);
void lapic_timer_stop(struct lapic *lapic);
u32 lapic_timer_current_count(struct lapic *lapic);
void lapic_timer_write_initial_count(struct lapic *lapic, u32 count);
void lapic_timer_write_divide(struct lapic *lapic, u32 tdcr);
void lapic_timer_write_lvt(struct lapic *lapic, u32 lvtt);
u64 lapic_timer_read_deadline(struct lapic *lapic);
void lapic_timer_write_deadline(struct lapic *lapic, u64 guest_tsc);

#endif
