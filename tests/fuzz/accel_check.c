/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has to hold while hardware delivers, computed from the APICs' registers:
 *  - both ID tables are what a rebuild from the APICs' registers says, and so are IsRunning and the
 *    inhibits; the count of windows is that of the vCPUs' flags; the APIC's page is not mapped while
 *    anything stands;
 *  - what is deliverable is known to whom it is for: evaluated by the processor, or a request that
 *    makes it leave the guest; nobody sleeps with it; summaries do not lack it;
 *  - an IPI has set the request bit of all its destinations and of nobody else;
 *  - PPR is what TPR and ISR make it, and VMRUN takes the control block.
 */
#include "tests/fuzz/accel_fuzz.h"

#include "postern/port.h"
#include "x86/avic.h"

bool is_xapic(u32 i)
{
	u64 base = atomic64_read_relaxed(&apic(i)->base);

	return base & APIC_BASE_EN && !(base & APIC_BASE_EXTD);
}

bool is_x2apic(u32 i)
{
	return atomic64_read_relaxed(&apic(i)->base) & APIC_BASE_EXTD;
}

int deliverable(u32 i)
{
	struct model_vectors request, service;

	if (!(atomic64_read_relaxed(&apic(i)->base) & APIC_BASE_EN))
		return -1;
	model_load(&request, i, APIC_IRR);
	model_load(&service, i, APIC_ISR);
	return model_deliverable(apic_reg(i, APIC_TPR) & 0xff, &request, &service);
}

/* --- requests --- */

void load_requests(struct model_vectors *request)
{
	for (u32 i = 0; i < VCPUS; i++)
		model_load(&request[i], i, APIC_IRR);
}

void check_reached(const struct model_vectors *before, u64 reached, u8 vector)
{
	struct model_vectors expected, request;

	for (u32 i = 0; i < VCPUS; i++) {
		expected = before[i];
		if (reached >> i & 1)
			expected.word[vector / 32] |= BIT(vector % 32);
		model_load(&request, i, APIC_IRR);
		FUZZ_CHECK(!memcmp(&expected, &request, sizeof(request)),
		           "%s: vector %x %s vCPU %u", operation, vector,
		           reached >> i & 1 ? "has not reached" : "has reached, or others have,",
		           i);
	}
}

/* --- tables --- */

/* Inhibits that follow from IDs. */
static u32 check_physical(void)
{
	u64 expected[AVIC_PHYSICAL_PER_PAGE] = {0};
	u32 found = 0;

	for (u32 i = 0; i < VCPUS; i++) {
		u64 *entry = &expected[cpu(i)->apic_id];
		u32 id = is_x2apic(i) ? apic_reg(i, APIC_ID) : apic_reg(i, APIC_ID) >> 24;

		*entry = ptr_to_hpa(apic(i)->page).v;
		if (model_software_enabled() & BIT64(i))
			*entry |= AVIC_PHYSICAL_VALID;
		if (seat[i].turn && accel_is_on(&cpu(i)->accel))
			*entry |= cpu(i)->cpu->apic_id |
			          (svm_features.stale_running ? 0 : AVIC_PHYSICAL_RUNNING);
		if (!is_xapic(i) && !is_x2apic(i))
			continue;
		found |= id != cpu(i)->apic_id ? INHIBIT_BIT(APIC_ID_MODIFIED) : 0;
		if (is_xapic(i) && (apic(i)->base.v & PAGE_MASK) != APIC_BASE_DEFAULT)
			found |= INHIBIT_BIT(APIC_BASE_MODIFIED);
		for (u32 k = 0; k < i; k++)
			if ((is_x2apic(k) && apic_reg(k, APIC_ID) == id) ||
			    (is_xapic(k) && apic_reg(k, APIC_ID) >> 24 == id))
				found |= INHIBIT_BIT(PHYSICAL_ID_ALIASED);
	}
	for (u32 n = 0; n <= svm_vm.avic->max_index; n++)
		FUZZ_CHECK(svm_vm.avic->ids[n].v == expected[n],
		           "%s: physical entry %u is %llx, not %llx", operation, n,
		           (unsigned long long)svm_vm.avic->ids[n].v,
		           (unsigned long long)expected[n]);
	return found;
}

/* Does an APIC's LDR, as its DFR is to be read, have what `slot` stands for? */
static bool holds_slot(u32 i, u32 slot)
{
	u32 ldr = apic_reg(i, APIC_LDR) >> 24, model = apic_reg(i, APIC_DFR) >> 28;

	if (model == 15)
		return slot < 8 && ldr >> slot & 1;
	return model == 0 && ldr >> 4 == slot / 4 && ldr >> slot % 4 & 1;
}

/* One bit, in a place that the table has. */
static bool is_one_hot(u32 i)
{
	u32 places = 0;

	for (u32 slot = 0; slot < AVIC_LOGICAL_CLUSTER; slot++)
		places += holds_slot(i, slot);
	return places == 1;
}

/*
 * Inhibits that follow from logical IDs: shared, or they mean one thing to some and another to others. What the
 * table says then does not matter.
 */
static u32 check_logical(void)
{
	u64 set = model_software_enabled();
	u32 models = 0, x2apic = 0;
	u32 expected[AVIC_LOGICAL_CLUSTER] = {0};
	bool differ, shared = false;

	for (u32 i = 0; i < VCPUS; i++) {
		x2apic |= set >> i & is_x2apic(i);
		if (!is_xapic(i))
			set &= ~BIT64(i);
		if (set >> i & 1)
			models |= BIT(apic_reg(i, APIC_DFR) >> 28);
	}
	differ = models & (models - 1) || (models && x2apic);
	for (u32 slot = 0; slot < AVIC_LOGICAL_CLUSTER; slot++) {
		u32 holders = 0;

		for (u32 i = 0; i < VCPUS; i++) {
			if (!(set >> i & 1) || !holds_slot(i, slot))
				continue;
			holders++;
			expected[slot] = is_one_hot(i) ? AVIC_LOGICAL_VALID | cpu(i)->apic_id : 0;
		}
		shared |= holders > 1;
	}
	if (differ || shared)
		return INHIBIT_BIT(LOGICAL_ID_ALIASED);
	for (u32 slot = 0; slot < AVIC_LOGICAL_CLUSTER; slot++)
		FUZZ_CHECK(svm_vm.avic->logical[slot].v == expected[slot],
		           "%s: logical entry %u is %x, not %x", operation, slot,
		           svm_vm.avic->logical[slot].v, expected[slot]);
	return 0;
}

/* STORM comes and goes by itself; IRQWIN may be old while others stand. */
static void check_inhibits(u32 expected)
{
	u32 mask = fake.vm->inhibit.mask.v, windows = 0;

	for (u32 i = 0; i < VCPUS; i++)
		windows += cpu(i)->accel.window;
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

static void check_told(u32 i)
{
	const struct seat *s = &seat[i];
	struct model_vectors service;
	int vector = deliverable(i);

	model_load(&service, i, APIC_ISR);
	FUZZ_CHECK(!(is_xapic(i) || is_x2apic(i)) ||
	                   apic_reg(i, APIC_PPR) ==
	                           model_ppr(apic_reg(i, APIC_TPR) & 0xff, &service),
	           "%s: vCPU %u: PPR is %x", operation, i, apic_reg(i, APIC_PPR));
	for (u32 word = 0; !lapic_is_accelerated(apic(i)) && word < 8; word++)
		FUZZ_CHECK(!apic_reg(i, APIC_IRR + word * 16) || apic(i)->irr_summary.v >> word & 1,
		           "%s: vCPU %u: word %u is not in the summary", operation, i, word);
	if (vector < 0)
		return;
	FUZZ_CHECK(!s->asleep, "%s: vCPU %u sleeps with %x", operation, i, vector);
	FUZZ_CHECK(!s->inside || s->kicked || (s->avic.enabled && s->avic.pending == vector),
	           "%s: vCPU %u has not been told of %x: acceleration %s, %d pending", operation, i,
	           vector, s->avic.enabled ? "on" : "off", s->avic.pending);
}

void accel_check(u32 i)
{
	static int trace = -1;
	u32 expected;

	if (trace < 0)
		trace = getenv("FUZZ_TRACE") != NULL;
	if (trace)
		fprintf(stderr, "vCPU %u: %s\n", i, operation);
	expected = check_physical();
	check_inhibits(expected | check_logical());
	for (i = 0; i < VCPUS; i++)
		check_told(i);
}
