/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has to hold while AVIC delivers, besides delivery_check.c: both ID tables are what a rebuild from the APICs'
 * registers says, with IsRunning and the host's ID in them from who runs where; logical IDs that they cannot say inhibit.
 */
#include "tests/fuzz/accel_fuzz.h"

#include "postern/port.h"
#include "x86/avic.h"

static void check_physical(void)
{
	u64 expected[AVIC_PHYSICAL_PER_PAGE] = {0};

	for (u32 i = 0; i < VCPUS; i++) {
		u64 *entry = &expected[cpu(i)->apic_id];

		*entry = ptr_to_hpa(apic(i)->page).v;
		if (model_software_enabled() & BIT64(i))
			*entry |= AVIC_PHYSICAL_VALID;
		if (seat[i].turn && accel_is_on(&cpu(i)->accel))
			*entry |= cpu(i)->cpu->apic_id |
			          (svm_features.stale_running ? 0 : AVIC_PHYSICAL_RUNNING);
	}
	for (u32 n = 0; n <= svm_vm.avic->max_index; n++)
		FUZZ_CHECK(svm_vm.avic->ids[n].v == expected[n],
		           "%s: physical entry %u is %llx, not %llx", operation, n,
		           (unsigned long long)svm_vm.avic->ids[n].v,
		           (unsigned long long)expected[n]);
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

void accel_check(u32 i)
{
	check_physical();
	delivery_check(i, check_logical());
}
