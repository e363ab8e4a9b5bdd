/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device that is assigned: the IOMMU posts its messages to a vCPU that runs, waits for a processor or sleeps, and
 * vCPUs that sleep are found although no IPI is virtualized. What cannot be posted, or is not to be, goes by way of the
 * host. Meanwhile the guest programs the device anew, acceleration comes and goes, and the device is assigned and taken
 * away.
 */
#include "platform/platform.h"
#include "tests/model/posted_guest.h"

#include "core/bus.h"
#include "platform/devices.h"
#include "platform/layout.h"

#define DEVICES  3
#define MSI_MASK 16

/* --- the device's side, on processor 0 --- */

static u32 fire_wanted[DEVICES], fired[DEVICES];
static u32 assign_wanted, assign_done; /* times */
static bool inhibited, inhibit_done;

static struct pci_function *function(u32 device)
{
	return ((struct platform *)harness_vm->platform)->msidev[device].function;
}

static void one_step(void)
{
	for (u32 i = 0; i < DEVICES; i++) {
		if (fired[i] == fire_wanted[i])
			continue;
		bus_write(&harness_vm->memory, vcpu(0),
		          LAYOUT_MSIDEV + i * MSIDEV_SIZE + MSIDEV_TRIGGER, 4, 1);
		fired[i]++;
	}
	if (assign_done != assign_wanted) {
		if (function(0)->is_assigned)
			pci_unassign(function(0));
		else if (!pci_assign(function(0)))
			posix_fail("the device cannot be assigned");
		assign_done++;
	}
	if (inhibit_done != inhibited) {
		inhibit_change(harness_vm, INHIBIT_BIT(STORM), inhibited ? ~0u : 0);
		inhibit_done = inhibited;
	}
}

static void device_side(void)
{
	for (; !vm_has_ended(harness_vm); race_relax())
		one_step();
}

/* --- the guest's --- */

static void fire(u32 device)
{
	fire_wanted[device]++;
}

static void await_fired(u32 device)
{
	while (fired[device] != fire_wanted[device])
		g_pause();
}

static void assign_or_not(void)
{
	assign_wanted++;
	while (assign_done != assign_wanted)
		g_pause();
}

static void inhibit(bool off)
{
	inhibited = off;
	while (inhibit_done != inhibited)
		g_pause();
}

static void config(u32 device, u32 reg, u32 size, u32 value)
{
	g_out(0xcf8, 0x80000000u | (MSIDEV_SLOT + device) << 11 | (reg & 0xfc), 4);
	g_out((u16)(0xcfc + reg % 4), value, size);
}

static void program(u32 device, u32 address, u32 data)
{
	config(device, MSIDEV_MSI + MSI_MASK, 4, 1);
	config(device, MSIDEV_MSI + 4, 4, address);
	config(device, MSIDEV_MSI + 12, 2, data);
	config(device, 4, 2, 0x0006);
	config(device, MSIDEV_MSI + 2, 2, 1);
	config(device, MSIDEV_MSI + MSI_MASK, 4, 0);
}

static void aim(u32 device, u32 v)
{
	program(device, 0xfee00000u | v << 12, VECTOR + v);
}

static void hit(u32 device, u32 v)
{
	u32 before = taken[v];

	fire(device);
	await_taken(v, before + 1);
}

static u64 count_of(enum vtd_count which)
{
	return model()->vtd.counts[which];
}

static bool is_posted(u32 device)
{
	return function(device)->assigned.present && function(device)->assigned.to;
}

/* --- a run --- */

static void forget(void)
{
	memset(fire_wanted, 0, sizeof(fire_wanted));
	memset(fired, 0, sizeof(fired));
	assign_wanted = assign_done = 0;
	inhibited = inhibit_done = false;
}

static void run_assigned(struct harness one, void (*script)(void))
{
	if (!one.processor)
		one.processor = "broadwell";
	one.device = device_side;
	if (!one.msidevs)
		one.msidevs = DEVICES;
	for (u32 xapic = 0; xapic < 2; xapic++) {
		forget();
		create(&one, xapic, script);
		harness_run();
	}
}

/* --- to one that runs --- */

static void script_running(void)
{
	aim(0, 1);
	G_CHECK(is_posted(0));
	note();
	for (u32 i = 0; i < ROUNDS; i++)
		hit(0, 1);
	expect_exits(0, 0);
	expect_exits(1, 0);
	G_CHECK_EQUAL(count_of(VTD_POSTED), ROUNDS);
	G_CHECK_EQUAL(count_of(VTD_NOTIFIED), ROUNDS);
	G_CHECK_EQUAL(count_of(VTD_REMAPPED) + count_of(VTD_REFUSED), 0);
	G_CHECK_EQUAL(harness_counter(COUNTER_DOORBELLS) + harness_counter(COUNTER_ACCEPTED), 0);
}

static void test_running_target_does_not_exit(void **state __unused)
{
	sleeps = false;
	run_assigned((struct harness){.assigned = true}, script_running);
	run_assigned((struct harness){.assigned = true, .features = MODEL_XAPIC}, script_running);
	run_assigned((struct harness){.assigned = true, .processor = "sapphire-rapids"},
	             script_running);
}

/* --- to one that sleeps: without IPI virtualization it is for the device alone that it can be found --- */

static void expect_armed(u32 v, bool armed)
{
	u64 control = atomic64_read(&desc(v)->control);

	G_CHECK_EQUAL(PI_NV(control), armed ? CPU_VECTOR_WAKEUP : CPU_VECTOR_NOTIFY);
	G_CHECK_EQUAL(!(control & PI_SN), armed);
}

static void script_sleeping(void)
{
	u64 woken, posted;

	aim(0, 1);
	await_asleep(1);
	woken = counter_of(1, COUNTER_WAKEUPS);
	posted = counter_of(1, COUNTER_POSTED_WAKEUPS);
	note();
	for (u32 i = 0; i < ROUNDS; i++) {
		await_asleep(1);
		expect_armed(1, true);
		hit(0, 1);
	}
	await_asleep(1);
	expect_exits(1, ROUNDS); /* HLT */
	expect_exits(0, 0);
	G_CHECK_EQUAL(counter_of(1, COUNTER_WAKEUPS) - woken, ROUNDS);
	G_CHECK_EQUAL(counter_of(1, COUNTER_POSTED_WAKEUPS) - posted, ROUNDS);
	G_CHECK_EQUAL(count_of(VTD_NOTIFIED), ROUNDS);
}

static void test_sleeping_target(void **state __unused)
{
	sleeps = true;
	run_assigned((struct harness){.assigned = true}, script_sleeping);
	run_assigned((struct harness){.assigned = true, .features = MODEL_XAPIC}, script_sleeping);
}

/* At any instant on the way to sleep and back. */
static void script_any_instant(void)
{
	for (u32 device = 0; device < DEVICES; device++)
		aim(device, 1 + device);
	for (u32 i = 0; i < 4 * ROUNDS; i++) {
		hit(i % DEVICES, 1 + i % DEVICES);
		for (u32 wait = 0; wait < i; wait++)
			g_nop();
	}
	G_CHECK_EQUAL(count_of(VTD_POSTED), 4 * ROUNDS);
}

static void test_on_the_way_to_sleep(void **state __unused)
{
	struct harness one = {.assigned = true, .vcpus = 1 + DEVICES};

	sleeps = true;
	for (one.cpus = 2; one.cpus <= 5; one.cpus++) {
		for (one.seed = 0; one.seed < 4; one.seed++) {
			one.switch_ppm = one.seed ? 50000 : 0;
			run_assigned(one, script_any_instant);
		}
	}
}

/* --- to one that waits for a processor: suppressed, and found when its turn begins --- */

static void script_preempted(void)
{
	for (u32 device = 0; device < DEVICES; device++)
		aim(device, 1 + device);
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 before[DEVICES];

		for (u32 device = 0; device < DEVICES; device++) {
			before[device] = taken[1 + device];
			fire(device);
		}
		for (u32 device = 0; device < DEVICES; device++)
			await_taken(1 + device, before[device] + 1);
	}
	G_CHECK_EQUAL(count_of(VTD_POSTED), DEVICES * ROUNDS);
	G_CHECK(count_of(VTD_NOTIFIED) < DEVICES * ROUNDS);
	G_CHECK(harness_counter(COUNTER_PREEMPTED) > 0);
}

static void test_preempted_target(void **state __unused)
{
	struct harness one = {.assigned = true, .vcpus = 1 + DEVICES};

	sleeps = false;
	for (one.cpus = 2; one.cpus < 4; one.cpus++)
		run_assigned(one, script_preempted);
}

/* --- without posting --- */

static void script_remapped(void)
{
	aim(0, 1);
	G_CHECK(function(0)->is_assigned && !is_posted(0));
	for (u32 i = 0; i < ROUNDS; i++) {
		if (sleeps) {
			await_asleep(1);
			/* Nobody is to find it but software. */
			G_CHECK(PI_NV(atomic64_read(&desc(1)->control)) != CPU_VECTOR_WAKEUP);
		}
		hit(0, 1);
	}
	G_CHECK_EQUAL(count_of(VTD_REMAPPED), ROUNDS);
	G_CHECK_EQUAL(count_of(VTD_POSTED) + count_of(VTD_REFUSED), 0);
	G_CHECK_EQUAL(function(0)->assigned.delivered, ROUNDS);
	G_CHECK_EQUAL(counter_of(1, COUNTER_POSTED_WAKEUPS), 0);
}

static void test_without_posting(void **state __unused)
{
	for (u32 i = 0; i < 2; i++) {
		sleeps = i;
		run_assigned((struct harness){.assigned = true, .no_iommu_posting = true},
		             script_remapped);
		run_assigned((struct harness){.assigned = true,
		                              .no_iommu_posting = true,
		                              .features = MODEL_XAPIC},
		             script_remapped);
		run_assigned((struct harness){.assigned = true, .no_posted = true},
		             script_remapped);
		run_assigned((struct harness){.assigned = true, .processor = "broadwell-unposted"},
		             script_remapped);
		run_assigned((struct harness){.assigned = true, .processor = "westmere"},
		             script_remapped);
	}
}

/* No IOMMU for such processors: the device is emulated, and the guest none the wiser. */
static void script_no_iommu(void)
{
	aim(0, 1);
	G_CHECK(!function(0)->is_assigned);
	for (u32 i = 0; i < ROUNDS; i++)
		hit(0, 1);
	G_CHECK_EQUAL(count_of(VTD_REMAPPED) + count_of(VTD_POSTED), 0);
}

static void test_without_iommu(void **state __unused)
{
	sleeps = true;
	run_assigned((struct harness){.assigned = true, .processor = "genoa"}, script_no_iommu);
}

/* --- what a descriptor cannot say --- */

static void script_others(void)
{
	aim(0, 1);
	G_CHECK(is_posted(0));
	/* Everybody. */
	program(0, 0xfee00000u | 0xffu << 12, VECTOR + 1);
	G_CHECK(!is_posted(0));
	/* Nobody. */
	program(0, 0xfee00000u | 0x77 << 12, VECTOR + 1);
	G_CHECK(!is_posted(0));
	/* NMI; a vector that no interrupt has; level-triggered; not to a processor. */
	program(0, 0xfee01000u, APIC_DM_NMI);
	G_CHECK(!is_posted(0));
	program(0, 0xfee01000u, 15);
	G_CHECK(!is_posted(0));
	program(0, 0xfee01000u, 0xc000 | (VECTOR + 1));
	G_CHECK(!is_posted(0));
	program(0, 0xfed01000u, VECTOR + 1);
	G_CHECK(!is_posted(0));
	/* The lowest priority of one is that one. */
	program(0, 0xfee01008u, VECTOR + 1);
	G_CHECK(is_posted(0));
	hit(0, 1);
	/* Off: nothing comes, from no entry. */
	config(0, MSIDEV_MSI + 2, 2, 0);
	G_CHECK(!function(0)->assigned.present);
	aim(0, 1);
	hit(0, 1);
	G_CHECK_EQUAL(count_of(VTD_POSTED), 2);
}

static void script_to_all(void)
{
	program(0, 0xfee00000u | 0xffu << 12, VECTOR + 1);
	fire(0);
	g_sti();
	await_taken(1, 2); /* both have the handler */
	g_cli();
	G_CHECK_EQUAL(count_of(VTD_REMAPPED), 1);
}

static void test_what_is_not_posted(void **state __unused)
{
	sleeps = true;
	run_assigned((struct harness){.assigned = true}, script_others);
	run_assigned((struct harness){.assigned = true}, script_to_all);
}

/* Its APIC takes nothing: nothing is posted to it, and then again. */
static void disable(void)
{
	g_apic_write(APIC_SVR, 0xff);
}

static void enable(void)
{
	g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
}

static void script_disabled(void)
{
	aim(0, 1);
	hit(0, 1);
	do_on(1, disable);
	G_CHECK(!is_posted(0));
	fire(0);
	await_fired(0);
	do_on(1, enable);
	G_CHECK(is_posted(0));
	hit(0, 1);
	G_CHECK_EQUAL(taken[1], 2);
}

static void test_target_is_disabled(void **state __unused)
{
	sleeps = false;
	run_assigned((struct harness){.assigned = true}, script_disabled);
}

/* --- assigned and taken away while the target sleeps --- */

static void script_late(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		u64 posted = count_of(VTD_POSTED);

		aim(0, 1);
		await_asleep(1);
		expect_armed(1, false);
		hit(0, 1);
		await_asleep(1);
		assign_or_not();
		/* It has been woken, and sleeps in another way. */
		while (PI_NV(atomic64_read(&desc(1)->control)) != CPU_VECTOR_WAKEUP)
			g_pause();
		await_asleep(1);
		expect_armed(1, true);
		hit(0, 1);
		G_CHECK_EQUAL(count_of(VTD_POSTED), posted + 1);
		assign_or_not();
		/* By software again, whichever way it sleeps. */
		hit(0, 1);
		G_CHECK_EQUAL(count_of(VTD_POSTED), posted + 1);
	}
}

static void test_assigned_while_target_sleeps(void **state __unused)
{
	struct harness one = {0};

	sleeps = true;
	for (one.seed = 0; one.seed < 6; one.seed++) {
		one.switch_ppm = one.seed ? 50000 : 0;
		run_assigned(one, script_late);
	}
}

/* --- acceleration goes and comes back: what is not accelerated is not posted to --- */

static void script_inhibited(void)
{
	aim(0, 1);
	for (u32 i = 0; i < ROUNDS; i++) {
		u64 posted = count_of(VTD_POSTED), remapped = count_of(VTD_REMAPPED);

		hit(0, 1);
		G_CHECK_EQUAL(count_of(VTD_POSTED), posted + 1);
		inhibit(true);
		G_CHECK(!is_posted(0));
		hit(0, 1);
		G_CHECK_EQUAL(count_of(VTD_REMAPPED), remapped + 1);
		inhibit(false);
		G_CHECK(is_posted(0));
		if (sleeps) {
			await_asleep(1);
			expect_armed(1, true);
		}
	}
}

/* Both at once, at any time. */
static void script_inhibited_meanwhile(void)
{
	aim(0, 1);
	for (u32 i = 0; i < 4 * ROUNDS; i++) {
		inhibited = i % 2;
		for (u32 wait = 0; wait < i; wait++)
			g_nop();
		hit(0, 1);
	}
}

static void test_inhibited(void **state __unused)
{
	struct harness one = {.assigned = true};

	for (u32 i = 0; i < 2; i++) {
		sleeps = i;
		for (one.seed = 0; one.seed < 5; one.seed++) {
			one.switch_ppm = one.seed ? 50000 : 0;
			run_assigned(one, script_inhibited);
			run_assigned(one, script_inhibited_meanwhile);
		}
	}
}

/* --- the end: no entry outlives the vCPU that it names --- */

static void script_end(void)
{
	aim(0, 1);
	hit(0, 1);
}

static void test_vm_ends(void **state __unused)
{
	const struct harness one = {
	        .assigned = true, .msidevs = 2, .processor = "broadwell", .device = device_side};
	struct assigned was;
	struct pi_desc before;

	forget();
	create(&one, false, script_end);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	was = function(0)->assigned;
	assert_ptr_equal(was.to, vcpu(1));
	pci_unassign(function(0));
	before = *desc(1);
	assert_int_equal(vtd_message(&model()->vtd, was.source, was.host_address, was.host_data),
	                 VTD_FAULT_PRESENT);
	assert_memory_equal(&before, desc(1), sizeof(before));
	/* The other's goes with the platform, and the table with that. */
	assert_true(vtd_read(&model()->vtd, VTD_GSTS) & VTD_IRE);
	harness_destroy();
	assert_int_equal(vtd_read(&model()->vtd, VTD_GSTS) & (VTD_IRE | VTD_QIE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_running_target_does_not_exit),
	        cmocka_unit_test(test_sleeping_target),
	        cmocka_unit_test(test_on_the_way_to_sleep),
	        cmocka_unit_test(test_preempted_target),
	        cmocka_unit_test(test_without_posting),
	        cmocka_unit_test(test_without_iommu),
	        cmocka_unit_test(test_what_is_not_posted),
	        cmocka_unit_test(test_target_is_disabled),
	        cmocka_unit_test(test_assigned_while_target_sleeps),
	        cmocka_unit_test(test_inhibited),
	        cmocka_unit_test(test_vm_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
