/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the registers say, by the manuals' words and not by the code under test. SDM volume 3
 * "Determining IPI Destination", "Interrupt, Task, and Processor Priority"; Intel 8259A datasheet.
 */
#include "tests/fuzz/irq_fuzz.h"

#include "x86/apic.h"

/* ---- vectors and priorities ---- */

bool model_test(const struct model_vectors *set, u32 vector)
{
	return set->word[vector / 32] >> (vector % 32) & 1;
}

void model_load(struct model_vectors *set, u32 i, u32 reg)
{
	for (u32 word = 0; word < 8; word++)
		set->word[word] = apic_reg(i, reg + word * 16);
}

int model_highest(const struct model_vectors *set)
{
	for (int word = 7; word >= 0; word--) {
		for (int bit = 31; set->word[word] && bit >= 0; bit--) {
			if (set->word[word] >> bit & 1)
				return word * 32 + bit;
		}
	}
	return -1;
}

u32 model_ppr(u32 tpr, const struct model_vectors *service)
{
	int vector = model_highest(service);
	u32 class = vector < 0 ? 0 : (u32)vector >> 4;

	return tpr >> 4 >= class ? tpr : class << 4;
}

int model_deliverable(u32 tpr, const struct model_vectors *request,
                      const struct model_vectors *service)
{
	int vector = model_highest(request);

	return vector >= 0 && vector >> 4 > (int)(model_ppr(tpr, service) >> 4) ? vector : -1;
}

/* ---- destinations ---- */

static bool matches_logical(u32 i, u32 dest, bool x2apic)
{
	u32 ldr = apic_reg(i, APIC_LDR);
	u32 model = apic_reg(i, APIC_DFR) >> 28;
	u32 mda = dest & 0xff;

	if (x2apic)
		return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
	ldr >>= 24;
	if (mda == 0xff)
		return true;
	if (model == 0xf)
		return mda & ldr;
	return model == 0 && mda >> 4 == ldr >> 4 && (mda & ldr & 0xf);
}

static bool matches(u32 i, const struct irq_message *message)
{
	u32 dest = message->x2apic_format ? message->dest : message->dest & 0xff;
	bool x2apic = atomic64_read_relaxed(&apic(i)->base) & APIC_BASE_EXTD;
	u32 id = apic_reg(i, APIC_ID);
	bool self = message->sender == cpu(i);

	switch (message->shorthand) {
	case APIC_DEST_SELF:
		return self;
	case APIC_DEST_ALL:
		return true;
	case APIC_DEST_OTHERS:
		return !self;
	}
	if (dest == (message->x2apic_format ? 0xffffffff : 0xff))
		return true;
	if (message->logical)
		return matches_logical(i, dest, x2apic);
	return x2apic ? id == dest : (dest & 0xff) == 0xff || id >> 24 == (dest & 0xff);
}

u64 model_destinations(const struct irq_message *message)
{
	u64 set = 0;

	for (u32 i = 0; i < VCPUS; i++) {
		if ((atomic64_read_relaxed(&apic(i)->base) & APIC_BASE_EN) && matches(i, message))
			set |= BIT64(i);
	}
	return set;
}

u64 model_software_enabled(void)
{
	u64 set = 0;

	for (u32 i = 0; i < VCPUS; i++) {
		if ((atomic64_read_relaxed(&apic(i)->base) & APIC_BASE_EN) &&
		    (apic_reg(i, APIC_SVR) & APIC_SVR_ENABLE))
			set |= BIT64(i);
	}
	return set;
}

u64 model_accepting(u64 set, u8 vector)
{
	return vector < 16 ? 0 : set & model_software_enabled();
}

/* ---- the 8259 pair ---- */

/* INT of one chip: a request above all in service, going down from the highest priority. */
static bool chip_output(const struct pic_chip *chip)
{
	if (!chip->initialised)
		return false;
	for (u32 n = 0; n < 8; n++) {
		u32 bit = BIT((chip->priority_add + n) % 8);
		bool serves = (chip->isr & bit) && !(chip->special_mask && (chip->imr & bit));
		bool nests = chip->special_fully_nested && (chip->cascade & bit);

		if ((chip->irr & bit) && !(chip->imr & bit) && (!serves || nests))
			return true;
		if (serves)
			return false;
	}
	return false;
}

bool model_pic_output(const struct pic *pic)
{
	return chip_output(&pic->chip[0]);
}

bool model_pic_slave_output(const struct pic *pic)
{
	return chip_output(&pic->chip[1]);
}
