/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has to hold while APIC virtualization delivers, besides delivery_check.c:
 *  - what was accepted is what was coalesced, what was delivered, what is pending and what a reset has ended;
 *  - the table is what the APICs' registers say;
 *  - descriptors: SN, NV and NDST are those of where the vCPU is; nothing is in PIR without ON, unless SN is set;
 *  - whoever has set ON has told the vCPU: it looks at ON by itself before its next entry, or an interrupt is on
 *    its way to the processor where it runs, or on whose list it sleeps;
 *  - RVI and SVI are the highest of the page in a guest.
 */
#include "tests/fuzz/apicv_fuzz.h"

#include "postern/port.h"

/* --- requests --- */

static u32 count_apart(u32 i)
{
	u32 count = 0;

	for (u32 n = 0; n < 4; n++)
		count += (u32)__builtin_popcountll(desc_of(i)->pir[n].v);
	return count;
}

/* One in the page and one apart from it are two. */
static u32 count_requests(u32 i)
{
	struct model_vectors page;
	u32 count = count_apart(i);

	load_page(&page, i);
	for (u32 word = 0; word < 8; word++)
		count += (u32)__builtin_popcount(page.word[word]);
	return count;
}

u64 unaccounted(void)
{
	u64 accepted = 0, coalesced = 0, pending = 0;

	for (u32 i = 0; i < VCPUS; i++) {
		const u64 *counters = cpu(i)->account.counters, *counts = hw[i].vapic.counts;

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

/* --- the table --- */

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

/* Asleep: the wakeup vector has come, or is about to, to where it is on the list. */
bool hw_is_about_to_wake(u32 i)
{
	for (u32 p = 0; p < CPUS; p++)
		if (is_listed(i, p) && (processor[p].woken || fake.machine->cpu[p].wakeups.v) &&
		    desc_of(i)->control.v & PI_ON)
			return true;
	return false;
}

static void check_notified(u32 i)
{
	u64 control = desc_of(i)->control.v;
	bool apart = count_apart(i);

	FUZZ_CHECK(!apart || control & (PI_ON | PI_SN), "%s: vCPU %u: PIR, and control %llx",
	           operation, i, (unsigned long long)control);
	FUZZ_CHECK(!apart || !seat[i].turn || control & PI_ON,
	           "%s: vCPU %u runs: PIR, and control %llx", operation, i,
	           (unsigned long long)control);
	if (control & PI_ON)
		FUZZ_CHECK(is_told(i), "%s: vCPU %u: ON, and it was not told", operation, i);
}

static void check_vapic(u32 i)
{
	const struct vapic *vapic = &hw[i].vapic;
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

void apicv_check(u32 i)
{
	delivery_check(i, 0);
	check_table();
	check_account();
	for (i = 0; i < VCPUS; i++) {
		check_turn(i);
		check_notified(i);
		check_vapic(i);
	}
}
