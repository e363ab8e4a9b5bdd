/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has to hold while hardware delivers, whichever processor does, computed from the APICs' registers and from who is
 * where:
 *  - requests: in each page or apart from it are those that were made and not taken, and no others;
 *  - the inhibits are those that follow from IDs, and the count of windows is that of the vCPUs' flags; the APIC's page is
 *    not mapped while anything stands;
 *  - what is deliverable is known to whom it is for: found by the processor, or an interrupt is on its way that makes the
 *    guest leave or look; nobody sleeps with it; summaries do not lack it; PPR is what TPR and ISR make it;
 *  - between its turns a vCPU's account has all that the processors have counted of it.
 */
#include "tests/fuzz/delivery_fuzz.h"

bool is_xapic(u32 i)
{
	u64 base = apic(i)->base.v;

	return base & APIC_BASE_EN && !(base & APIC_BASE_EXTD);
}

bool is_x2apic(u32 i)
{
	return apic(i)->base.v & APIC_BASE_EXTD;
}

/* --- requests --- */

void load_page(struct model_vectors *request, u32 i)
{
	model_load(request, i, APIC_IRR);
}

void load_requests(struct model_vectors *request, u32 i)
{
	load_page(request, i);
	for (u32 word = 0; word < 8; word++)
		request->word[word] |= (u32)(cpu(i)->accel.apart.word[word / 2].v >> word % 2 * 32);
}

int deliverable(u32 i, const struct model_vectors *request)
{
	struct model_vectors service;

	if (!(apic(i)->base.v & APIC_BASE_EN))
		return -1;
	model_load(&service, i, APIC_ISR);
	return model_deliverable(apic_reg(i, APIC_TPR) & 0xff, request, &service);
}

static void check_wanted(u32 i, const struct model_vectors *request)
{
	for (u32 word = 0; word < 8; word++)
		FUZZ_CHECK(request->word[word] == seat[i].wanted.word[word],
		           "%s: vCPU %u: requests %x of word %u, not %x", operation, i,
		           request->word[word], word, seat[i].wanted.word[word]);
}

/* --- inhibits --- */

static u32 id_of(u32 i)
{
	return is_x2apic(i) ? apic_reg(i, APIC_ID) : apic_reg(i, APIC_ID) >> 24;
}

static u32 inhibits_by_id(u32 i)
{
	u32 found = 0;

	if (is_xapic(i) && id_of(i) != (cpu(i)->apic_id & 0xff))
		found |= INHIBIT_BIT(APIC_ID_MODIFIED);
	if (is_xapic(i) && (apic(i)->base.v & PAGE_MASK) != APIC_BASE_DEFAULT)
		found |= INHIBIT_BIT(APIC_BASE_MODIFIED);
	for (u32 k = 0; k < i; k++)
		if ((is_xapic(k) || is_x2apic(k)) && id_of(k) == id_of(i))
			found |= INHIBIT_BIT(PHYSICAL_ID_ALIASED);
	return found;
}

/* STORM comes and goes by itself; IRQWIN may be old while others stand. */
static void check_inhibits(u32 expected)
{
	u32 mask = fake.vm->inhibit.mask.v, windows = 0;

	for (u32 i = 0; i < VCPUS; i++) {
		windows += cpu(i)->accel.window;
		if (is_xapic(i) || is_x2apic(i))
			expected |= inhibits_by_id(i);
	}
	FUZZ_CHECK(fake.vm->inhibit.windows.v == windows, "%s: %u windows are counted, not %u",
	           operation, fake.vm->inhibit.windows.v, windows);
	expected |= mask & INHIBIT_BIT(STORM);
	if (expected)
		expected |= mask & INHIBIT_BIT(IRQWIN);
	else if (windows)
		expected = INHIBIT_BIT(IRQWIN);
	FUZZ_CHECK(mask == expected, "%s: inhibits are %x, not %x", operation, mask, expected);
	FUZZ_CHECK(!mask || !mapped, "%s: the APIC's page is mapped", operation);
}

/* --- who has been told --- */

bool is_told(u32 i)
{
	if (is_asleep(i))
		return hw_is_about_to_wake(i);
	return !seat[i].inside || hw_is_interrupted(seat[i].on);
}

static void check_told(u32 i, const struct model_vectors *request)
{
	int vector = deliverable(i, request);

	FUZZ_CHECK(vector < 0 || is_told(i) || (seat[i].inside && hw_knows(i, (u8)vector)),
	           "%s: vCPU %u, %s, has not been told of %x: acceleration %u", operation, i,
	           is_asleep(i) ? "asleep" : "awake", vector, cpu(i)->accel.mode.v);
}

static void check_registers(u32 i)
{
	struct model_vectors service;

	model_load(&service, i, APIC_ISR);
	FUZZ_CHECK(!(is_xapic(i) || is_x2apic(i)) ||
	                   apic_reg(i, APIC_PPR) ==
	                           model_ppr(apic_reg(i, APIC_TPR) & 0xff, &service),
	           "%s: vCPU %u: PPR is %x", operation, i, apic_reg(i, APIC_PPR));
	for (u32 word = 0; !lapic_is_accelerated(apic(i)) && word < 8; word++)
		FUZZ_CHECK(!apic_reg(i, APIC_IRR + word * 16) || apic(i)->irr_summary.v >> word & 1,
		           "%s: vCPU %u: word %u is not in the summary", operation, i, word);
}

/* Between turns the account has all that the processors have counted. */
static void check_counts(u32 i)
{
	const u64 *account = &cpu(i)->account.counters[COUNTER_HW_DELIVERED];

	for (u32 n = 0; !seat[i].turn && n < HW_COUNT; n++)
		FUZZ_CHECK(account[n] == hw_counts(i)[n],
		           "%s: vCPU %u: count %u of the processor is %llu, not %llu", operation, i,
		           n, (unsigned long long)account[n], (unsigned long long)hw_counts(i)[n]);
}

void delivery_check(u32 i, u32 inhibits)
{
	struct model_vectors request;
	static int trace = -1;

	if (trace < 0)
		trace = getenv("FUZZ_TRACE") != NULL;
	if (trace)
		fprintf(stderr, "vCPU %u: %s\n", i, operation);
	check_inhibits(inhibits);
	for (i = 0; i < VCPUS; i++) {
		load_requests(&request, i);
		check_wanted(i, &request);
		check_registers(i);
		check_counts(i);
		check_told(i, &request);
	}
}
