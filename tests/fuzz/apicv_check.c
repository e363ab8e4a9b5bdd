/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has to hold while APIC virtualization delivers, computed from the APICs' registers and from who is where:
 *  - requests: in each page or apart from it are those that were made and not taken, and no others; what was
 *    accepted is what was coalesced, what was delivered, what is pending and what a reset has ended;
 *  - the table is what the APICs' registers say, and so are the inhibits; the APIC's page is not mapped while any stands;
 *  - descriptors: SN, NV and NDST are those of where the vCPU is; nothing is in PIR without ON, unless SN is set;
 *  - whoever has set ON has told the vCPU: it looks at ON by itself before its next entry, or an interrupt is on
 *    its way to the processor where it runs, or on whose list it sleeps;
 *  - what is deliverable is recognized, or told in that way; nobody sleeps with it; RVI and SVI are the highest of
 *    the page in a guest; PPR is what TPR and ISR make it.
 */
#include "tests/fuzz/apicv_fuzz.h"

#include "postern/port.h"

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

static u32 apart_word(u32 i, u32 word)
{
	return (u32)(desc_of(i)->pir[word / 2].v >> word % 2 * 32);
}

void load_requests(struct model_vectors *request, u32 i)
{
	load_page(request, i);
	for (u32 word = 0; word < 8; word++)
		request->word[word] |= apart_word(i, word);
}

static u32 count_requests(u32 i)
{
	u32 count = 0;

	for (u32 word = 0; word < 8; word++)
		count += (u32)__builtin_popcount(apic_reg(i, APIC_IRR + word * 16)) +
		         (u32)__builtin_popcount(apart_word(i, word));
	return count;
}

int deliverable(u32 i, const struct model_vectors *request)
{
	struct model_vectors service;

	if (!(apic(i)->base.v & APIC_BASE_EN))
		return -1;
	model_load(&service, i, APIC_ISR);
	return model_deliverable(apic_reg(i, APIC_TPR) & 0xff, request, &service);
}

static void check_wanted(u32 i)
{
	struct model_vectors request;

	load_requests(&request, i);
	for (u32 word = 0; word < 8; word++)
		FUZZ_CHECK(request.word[word] == seat[i].wanted.word[word],
		           "%s: vCPU %u: requests %x of word %u, not %x", operation, i,
		           request.word[word], word, seat[i].wanted.word[word]);
}

u64 unaccounted(void)
{
	u64 accepted = 0, coalesced = 0, pending = 0;

	for (u32 i = 0; i < VCPUS; i++) {
		const u64 *counters = cpu(i)->account.counters, *counts = seat[i].vapic.counts;

		accepted += counters[COUNTER_ACCEPTED] + counts[HW_REQUESTS];
		coalesced += counters[COUNTER_COALESCED] + counts[HW_COALESCED];
		pending += count_requests(i);
	}
	return accepted - coalesced - delivered - pending - lost;
}

static void check_account(void)
{
	FUZZ_CHECK(!unaccounted(), "%s: %lld requests too many were accepted", operation,
	           (long long)unaccounted());
}

/* --- the table, and what inhibits --- */

static bool has_xapic(void)
{
	bool found = false;

	for (u32 i = 0; i < VCPUS; i++)
		found |= is_xapic(i);
	return found;
}

static void check_table(void)
{
	for (u32 i = 0; vmx_vm->pi_table && i < VCPUS; i++) {
		u32 id = cpu(i)->apic_id;
		u64 expected = 0, entry = vmx_vm->pi_table[id].v;

		if (model_software_enabled() & BIT64(i) && !(id == 0xff && has_xapic()))
			expected = ptr_to_hpa(desc_of(i)).v | PI_ENTRY_VALID;
		FUZZ_CHECK(entry == expected, "%s: entry %u is %llx, not %llx", operation, id,
		           (unsigned long long)entry, (unsigned long long)expected);
	}
}

static u32 id_of(u32 i)
{
	return is_x2apic(i) ? apic_reg(i, APIC_ID) : apic_reg(i, APIC_ID) >> 24;
}

/* STORM comes and goes by itself. */
static void check_inhibits(void)
{
	u32 mask = fake.vm->inhibit.mask.v, expected = mask & INHIBIT_BIT(STORM);

	for (u32 i = 0; i < VCPUS; i++) {
		if (!is_xapic(i) && !is_x2apic(i))
			continue;
		if (is_xapic(i) && id_of(i) != (cpu(i)->apic_id & 0xff))
			expected |= INHIBIT_BIT(APIC_ID_MODIFIED);
		if (is_xapic(i) && (apic(i)->base.v & PAGE_MASK) != APIC_BASE_DEFAULT)
			expected |= INHIBIT_BIT(APIC_BASE_MODIFIED);
		for (u32 k = 0; k < i; k++)
			if ((is_xapic(k) || is_x2apic(k)) && id_of(k) == id_of(i))
				expected |= INHIBIT_BIT(PHYSICAL_ID_ALIASED);
	}
	FUZZ_CHECK(mask == expected, "%s: inhibits are %x, not %x", operation, mask, expected);
	FUZZ_CHECK(!mask || !mapped, "%s: the APIC's page is mapped", operation);
}

/* --- descriptors --- */

static bool is_listed(u32 i, u32 p)
{
	for (const struct vcpu *at = processor[p].vmx.sleepers; at;
	     at = vmx_of((struct vcpu *)at)->sleeper.next)
		if (at == cpu(i))
			return true;
	return false;
}

static void check_turn(u32 i)
{
	u64 control = desc_of(i)->control.v, to = control >> 16;
	u32 ndst = processor[seat[i].on].vmx.ndst;

	if (!vmx_posted_usable()) {
		FUZZ_CHECK(!(control & ~(PI_ON | PI_SN)), "%s: vCPU %u: control %llx", operation, i,
		           (unsigned long long)control);
		return;
	}
	if (seat[i].turn)
		FUZZ_CHECK(!(control & PI_SN) && to == PI_TO(CPU_VECTOR_NOTIFY, ndst) >> 16,
		           "%s: vCPU %u runs on %u: control %llx", operation, i, seat[i].on,
		           (unsigned long long)control);
	for (u32 p = 0; seat[i].turn && p < CPUS; p++)
		FUZZ_CHECK(!is_listed(i, p), "%s: vCPU %u runs, and is on a list", operation, i);
	if (seat[i].turn || !is_asleep(i))
		return;
	if (fake.vm->inhibit.mask.v || !vmx_ipiv_usable())
		return;
	FUZZ_CHECK(!(control & PI_SN) && PI_NV(control) == CPU_VECTOR_WAKEUP,
	           "%s: vCPU %u sleeps: control %llx", operation, i, (unsigned long long)control);
	for (u32 p = 0; p < CPUS; p++)
		FUZZ_CHECK(is_listed(i, p) == (PI_NDST(control) == processor[p].vmx.ndst),
		           "%s: vCPU %u sleeps, and is %son the list of %u: control %llx",
		           operation, i, is_listed(i, p) ? "" : "not ", p,
		           (unsigned long long)control);
}

/* It will look at what it has before it executes anything. */
static bool is_told(u32 i)
{
	const struct processor *p = &processor[seat[i].on];

	if (!seat[i].turn)
		return !is_asleep(i);
	return !seat[i].inside || seat[i].due || p->notified || p->kicked || p->woken;
}

/* Asleep: the wakeup vector has come, or is about to, to where it is on the list. */
static bool is_about_to_wake(u32 i)
{
	for (u32 p = 0; p < CPUS; p++)
		if (is_listed(i, p) && (processor[p].woken || fake.machine->cpu[p].wakeups.v) &&
		    desc_of(i)->control.v & PI_ON)
			return true;
	return false;
}

static void check_notified(u32 i)
{
	u64 control = desc_of(i)->control.v, apart = 0;

	for (u32 n = 0; n < 4; n++)
		apart |= desc_of(i)->pir[n].v;
	FUZZ_CHECK(!apart || control & (PI_ON | PI_SN), "%s: vCPU %u: PIR, and control %llx",
	           operation, i, (unsigned long long)control);
	FUZZ_CHECK(!apart || !seat[i].turn || control & PI_ON,
	           "%s: vCPU %u runs: PIR, and control %llx", operation, i,
	           (unsigned long long)control);
	if (control & PI_ON)
		FUZZ_CHECK(is_told(i) || is_about_to_wake(i),
		           "%s: vCPU %u: ON, and it was not told", operation, i);
}

static void check_vapic(u32 i)
{
	const struct vapic *vapic = &seat[i].vapic;
	struct model_vectors page, service;

	if (!seat[i].inside || !vapic->vid)
		return;
	load_page(&page, i);
	model_load(&service, i, APIC_ISR);
	FUZZ_CHECK(vapic->rvi == (model_highest(&page) < 0 ? 0 : model_highest(&page)) &&
	                   vapic->svi ==
	                           (model_highest(&service) < 0 ? 0 : model_highest(&service)),
	           "%s: vCPU %u: RVI %x, SVI %x; highest are %d, %d", operation, i, vapic->rvi,
	           vapic->svi, model_highest(&page), model_highest(&service));
}

static void check_told(u32 i)
{
	struct model_vectors request, service;
	int vector;

	model_load(&service, i, APIC_ISR);
	/* Behind a delivery the processor's is the vector's class, whatever TPR was: the same, for it was deliverable. */
	FUZZ_CHECK(!(is_xapic(i) || is_x2apic(i)) || seat[i].due ||
	                   apic_reg(i, APIC_PPR) ==
	                           model_ppr(apic_reg(i, APIC_TPR) & 0xff, &service),
	           "%s: vCPU %u: PPR is %x", operation, i, apic_reg(i, APIC_PPR));
	load_requests(&request, i);
	vector = deliverable(i, &request);
	if (vector < 0)
		return;
	FUZZ_CHECK(!is_asleep(i) || is_about_to_wake(i), "%s: vCPU %u sleeps with %x", operation, i,
	           vector);
	FUZZ_CHECK(is_told(i) || is_asleep(i) ||
	                   (seat[i].vapic.vid && seat[i].vapic.recognized &&
	                    seat[i].vapic.rvi == vector),
	           "%s: vCPU %u has not been told of %x: acceleration %s, RVI %x", operation, i,
	           vector, seat[i].vapic.vid ? "on" : "off", seat[i].vapic.rvi);
}

void apicv_check(u32 i)
{
	static int trace = -1;

	if (trace < 0)
		trace = getenv("FUZZ_TRACE") != NULL;
	if (trace)
		fprintf(stderr, "vCPU %u: %s\n", i, operation);
	check_table();
	check_inhibits();
	check_account();
	for (i = 0; i < VCPUS; i++) {
		check_wanted(i);
		check_turn(i);
		check_notified(i);
		check_vapic(i);
		check_told(i);
	}
}
