/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two VMs on one machine: no page in common, neither in their nested page tables nor as their guests
 * see it; accounts apart; the end of one is none of the other's. The harness makes VM 0, and each
 * script runs in both VMs.
 */
#include "tests/model/harness.h"

#include "core/machine.h"
#include "platform/longmode.h"
#include "platform/platform.h"

#define MEMORY      (16ull << 20)
#define VECTOR      0x41
#define WORD_UP     0x00
#define WORD_COUNT  0x40
#define WORD_DONE   0x80
#define WORD_ID     0xc0 /* which VM this is; never told to a guest otherwise */
#define WORD_OTHER  0xc1 /* where the other's memory lies in the host */
#define WORD_ROUNDS 0xc2

static struct vm *other;

static void set_word(struct vm *vm, u32 word, u64 value)
{
	assert_true(vm_write(vm, GPA(HARNESS_SHARED + word * 8), &value, sizeof(value)));
}

static void tell(struct vm *vm, u64 id, const struct vm *the_other, u64 rounds)
{
	set_word(vm, WORD_ID, id);
	set_word(vm, WORD_OTHER, ptr_to_hpa(the_other->region[0].host).v);
	set_word(vm, WORD_ROUNDS, rounds);
}

static void create_two(const struct harness *config, u32 vcpus)
{
	struct vm_config vm_config = {.vcpus = vcpus,
	                              .memory = MEMORY,
	                              .cpu = "barcelona",
	                              .x2apic = true,
	                              .tsc_deadline = true,
	                              .accel_modes = ~0u};

	harness_create(config);
	other = vm_create(port_machine(), &vm_config);
	assert_non_null(other);
	assert_true(platform_create(other));
	assert_true(longmode_start(other, HARNESS_BSP));
	tell(harness_vm, 0, other, 20);
	tell(other, 1, harness_vm, 50);
}

static void run_two(enum ending ending, enum ending other_ending)
{
	vm_start(other);
	harness_run_to_end(ending);
	assert_int_equal(atomic32_read(&other->ended), other_ending);
	assert_int_equal(atomic32_read(&other->live_vcpus), 0);
}

static void destroy_two(void)
{
	platform_destroy(other);
	vm_destroy(other);
	other = NULL;
	harness_destroy();
}

static u64 count(struct vm *vm, enum counter_id id)
{
	struct vcpu *vcpu;
	u64 sum = 0;

	for_each_vcpu (vcpu, vm)
		sum += counter_read(&vcpu->account.counters[id]);
	return sum;
}

/* --- the nested page tables --- */

/* For each frame of host memory below 4 GiB, who may reach it: a bit for each VM, and a table's. */
#define FRAMES      (1u << 20)
#define FRAME_TABLE BIT(7)
static u8 frames[FRAMES];
static u64 leaf_pages;

static void mark(u64 hpa, u64 size, u8 bit)
{
	assert_true(hpa + size <= (u64)FRAMES << 12);
	for (u64 frame = hpa >> 12; frame < (hpa + size) >> 12; frame++)
		frames[frame] |= bit;
}

/* All that the table at `hpa`, of level `level`, translates, and itself. */
static void walk(u64 hpa, u32 level, u8 bit)
{
	const u64 *table = hpa_to_ptr(HPA(hpa));
	u64 span = 1ull << (12 + 9 * (level - 1));

	mark(hpa, PAGE_SIZE, FRAME_TABLE);
	for (u32 i = 0; i < 512; i++) {
		if (!(table[i] & PTE_P))
			continue;
		if (level == 1 || table[i] & PTE_PS) {
			mark(table[i] & PTE_ADDR & ~(span - 1), span, bit);
			leaf_pages += span >> 12;
		} else {
			walk(table[i] & PTE_ADDR, level - 1, bit);
		}
	}
}

static void walk_both(void)
{
	memset(frames, 0, sizeof(frames));
	leaf_pages = 0;
	walk(mmu_root(harness_vm).v, 4, BIT(0));
	walk(mmu_root(other).v, 4, BIT(1));
}

static u32 frames_with(u8 bits)
{
	u32 n = 0;

	for (u32 i = 0; i < FRAMES; i++)
		n += (frames[i] & bits) == bits;
	return n;
}

static u8 frame_of(const void *p)
{
	return frames[ptr_to_hpa(p).v >> 12];
}

/* What a guest must not reach: everything that the hypervisor keeps, of either VM. */
static void expect_unreachable(struct vm *vm)
{
	struct vcpu *vcpu;

	assert_int_equal(frame_of(vm) & 3, 0);
	assert_int_equal(frame_of(vm->platform) & 3, 0);
	assert_int_equal(frame_of(vm->arch) & 3, 0);
	for_each_vcpu (vcpu, vm) {
		assert_int_equal(frame_of(vcpu) & 3, 0);
		assert_int_equal(frame_of(vcpu->arch) & 3, 0);
		assert_int_equal(frame_of(vcpu->fpu) & 3, 0);
		assert_int_equal(frame_of(vcpu->lapic.page) & 3, 0);
	}
	assert_int_equal(frame_of(port_machine()) & 3, 0);
}

static void map_apic_page(struct vm *vm)
{
	assert_true(mmu_install(vm, GPA(APIC_BASE_DEFAULT), ptr_to_hpa(vm->accel.page),
	                        MMU_READ | MMU_WRITE, mmu_invalidate_seq(vm)));
}

static void test_vms_share_no_host_page(void **state __unused)
{
	/* All RAM but the 32 pages of the video memory's hole. */
	u64 pages = (MEMORY >> 12) - 32;

	create_two(&(struct harness){.vcpus = 4, .cpus = 2}, 4);
	/* And what a fault maps the APIC's page to, for the processor to find. */
	if (harness_vm->accel.page) {
		map_apic_page(harness_vm);
		map_apic_page(other);
		pages++;
	}
	walk_both();
	assert_int_equal(leaf_pages, 2 * pages);
	assert_int_equal(frames_with(BIT(0)), pages);
	assert_int_equal(frames_with(BIT(1)), pages);
	assert_int_equal(frames_with(BIT(0) | BIT(1)), 0);
	assert_int_equal(frames_with(BIT(0) | FRAME_TABLE), 0);
	assert_int_equal(frames_with(BIT(1) | FRAME_TABLE), 0);
	for (u64 at = 0; at < MEMORY; at += PAGE_SIZE) {
		const u8 *mine = vm_memory(harness_vm, GPA(at), PAGE_SIZE);
		const u8 *its = vm_memory(other, GPA(at), PAGE_SIZE);

		assert_int_equal(!mine, at >= 0xa0000 && at < 0xc0000);
		assert_int_equal(!its, !mine);
		if (mine) {
			assert_int_equal(frame_of(mine), BIT(0));
			assert_int_equal(frame_of(its), BIT(1));
		}
	}
	expect_unreachable(harness_vm);
	expect_unreachable(other);
	destroy_two();
}

/* The walk above finds a page in common, and a table within reach, if there is one. */
static void test_vms_walk_finds_what_is_shared(void **state __unused)
{
	hpa_t page, table;

	create_two(&(struct harness){.vcpus = 1}, 1);
	page = ptr_to_hpa(vm_memory(other, GPA(0x700000), PAGE_SIZE));
	table = mmu_root(other);
	assert_true(mmu_map(harness_vm, GPA(0xa0000), page, PAGE_SIZE, MMU_READ));
	assert_true(mmu_map(harness_vm, GPA(0xa1000), table, PAGE_SIZE, MMU_READ));
	walk_both();
	assert_int_equal(frames_with(BIT(0) | BIT(1)), 1);
	assert_int_equal(frames_with(BIT(0) | FRAME_TABLE), 1);
	assert_int_equal(frames[page.v >> 12], BIT(0) | BIT(1));
	destroy_two();
}

/* --- what their guests see of each other --- */

#define FILL_START 0x800000ull
#define FILL_PAGES ((MEMORY - FILL_START) / PAGE_SIZE)
#define PROBE_END  0xfe000000ull /* then there are devices */

static u64 pattern(u64 gpa)
{
	return (g_shared(WORD_ID) + 0xa5) << 56 | gpa;
}

static u32 apic_id(void)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	return r.ebx >> 24;
}

static void probe(u64 gpa)
{
	G_CHECK_EQUAL(g_read(gpa, 8), ~0ull);
	g_write(gpa, pattern(gpa), 8);
	G_CHECK_EQUAL(g_read(gpa, 8), ~0ull);
}

/* The share of vCPU `id`: its pages hold its pattern whatever is tried in between. */
static void try(u32 id)
{
	u64 there = g_shared(WORD_OTHER);
	u32 n = harness.vcpus;

	for (u64 i = id; i < FILL_PAGES; i += n)
		g_write(FILL_START + i * PAGE_SIZE, pattern(FILL_START + i * PAGE_SIZE), 8);
	for (u64 at = MEMORY + id * PAGE_SIZE_2M * 8; at < PROBE_END; at += n * PAGE_SIZE_2M * 8)
		probe(at);
	/* Where the other's memory is, in the host. */
	for (u64 at = id * PAGE_SIZE; at < MEMORY; at += 64 * PAGE_SIZE)
		probe(there + at);
	probe(0xa0000 + id * PAGE_SIZE);
	for (u64 i = id; i < FILL_PAGES; i += n) {
		u64 gpa = FILL_START + i * PAGE_SIZE;

		G_CHECK_EQUAL(g_read(gpa, 8), pattern(gpa));
	}
	g_set_shared(WORD_DONE + id, 1);
}

static void ap_tries(void *arg __unused)
{
	try(apic_id());
}

static void script_tries(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	try(0);
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_DONE + id, 1);
	g_exit(0);
}

static void expect_pattern(struct vm *vm, u64 id)
{
	for (u64 at = FILL_START; at < MEMORY; at += PAGE_SIZE) {
		u64 value;

		assert_true(vm_read(vm, GPA(at), &value, sizeof(value)));
		assert_int_equal(value, (id + 0xa5) << 56 | at);
	}
}

static void test_vms_guests_cannot_reach_each_other(void **state __unused)
{
	for (u64 seed = 0; seed < 3; seed++) {
		create_two(&(struct harness){.vcpus = 4,
		                             .cpus = 2,
		                             .seed = seed,
		                             .switch_ppm = seed ? 2000 : 0,
		                             .max_steps = 50000000},
		           4);
		assert_true(ptr_to_hpa(harness_vm->region[0].host).v >= MEMORY);
		assert_true(ptr_to_hpa(other->region[0].host).v + MEMORY <= PROBE_END);
		guest_bind(HARNESS_BSP, script_tries, NULL);
		guest_bind(HARNESS_AP, ap_tries, NULL);
		run_two(ENDED_DEBUG_EXIT, ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		assert_int_equal(atomic32_read(&other->exit_code), 1);
		expect_pattern(harness_vm, 0);
		expect_pattern(other, 1);
		walk_both();
		assert_int_equal(frames_with(BIT(0) | BIT(1)), 0);
		assert_true(count(harness_vm, COUNTER_MEMORY_UNKNOWN) > 1000);
		assert_int_equal(count(harness_vm, COUNTER_MEMORY_UNKNOWN),
		                 count(other, COUNTER_MEMORY_UNKNOWN));
		destroy_two();
	}
}

/* --- accounts --- */

static void count_and_eoi(u8 vector __unused, u32 error __unused)
{
	u32 id = apic_id();

	g_set_shared(WORD_COUNT + id, g_shared(WORD_COUNT + id) + 1);
	g_apic_eoi();
}

static void ap_takes(void *arg __unused)
{
	u32 id = apic_id();

	g_apic_enable();
	g_set_shared(WORD_UP + id, 1);
	for (;;) {
		g_sti();
		g_hlt();
		g_cli();
	}
}

/* As many IPIs to each as this VM has rounds: APIC IDs and vectors are the same in both. */
static void script_sends(void *arg __unused)
{
	u64 rounds = g_shared(WORD_ROUNDS);

	g_set_handler(VECTOR, count_and_eoi);
	g_apic_enable();
	g_start_aps();
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_UP + id, 1);
	for (u64 round = 1; round <= rounds; round++) {
		for (u32 id = 1; id < harness.vcpus; id++) {
			g_apic_icr(id, VECTOR | APIC_LEVEL_ASSERT);
			g_await(WORD_COUNT + id, round);
		}
	}
	g_exit(0);
}

static void expect_account(struct vm *vm, u64 rounds)
{
	assert_int_equal(count(vm, COUNTER_IPI_SENT_UNICAST) + count(vm, COUNTER_HW_IPI) +
	                         count(vm, COUNTER_IPI_STOPPED),
	                 3 * rounds);
	assert_int_equal(count(vm, COUNTER_IPI_RECEIVED) + count(vm, COUNTER_HW_DELIVERED),
	                 3 * rounds);
	assert_int_equal(count(vm, COUNTER_INJ_IPI) + count(vm, COUNTER_HW_DELIVERED), 3 * rounds);
	/* The last EOI may be the one that the end of the VM cut off. */
	assert_in_range(count(vm, COUNTER_EOI) + count(vm, COUNTER_HW_EOI), 3 * rounds - 1,
	                3 * rounds);
	for (u32 i = 1; i < 4; i++) {
		const struct account *account = &vm->vcpu[i]->account;

		assert_int_equal(counter_read(&account->counters[COUNTER_INJ_IPI]) +
		                         counter_read(&account->counters[COUNTER_HW_DELIVERED]),
		                 rounds);
	}
}

static void test_vms_accounts_are_apart(void **state __unused)
{
	for (u64 seed = 0; seed < 6; seed++) {
		create_two(&(struct harness){.vcpus = 4,
		                             .cpus = 2,
		                             .seed = seed,
		                             .switch_ppm = 2000 * (u32)seed,
		                             .max_steps = 50000000},
		           4);
		guest_bind(HARNESS_BSP, script_sends, NULL);
		guest_bind(HARNESS_AP, ap_takes, NULL);
		run_two(ENDED_DEBUG_EXIT, ENDED_DEBUG_EXIT);
		expect_account(harness_vm, 20);
		expect_account(other, 50);
		destroy_two();
	}
}

/* --- ends --- */

static void script_works_or_breaks(void *arg)
{
	void (*breaks)(void) = (void (*)(void))arg;

	if (g_shared(WORD_ID))
		breaks();
	script_sends(NULL);
}

static void break_by_triple_fault(void)
{
	g_triple_fault();
}

/* Interrupts off, no exit: only the end of its turns lets others run. */
static void break_by_spinning(void)
{
	g_cli();
	for (u64 end = g_rdtsc() + HARNESS_TICKS_MS(400); g_rdtsc() < end;)
		g_nop();
	g_triple_fault();
}

static void break_by_flood(void)
{
	/* The fastest ticks that the 8254 has, and nobody takes them. */
	g_out(0x43, 0x34, 1);
	g_out(0x40, 2, 1);
	g_out(0x40, 0, 1);
	break_by_triple_fault();
}

static void run_beside(void (*breaks)(void), u32 cpus)
{
	create_two(&(struct harness){.vcpus = 4, .cpus = cpus, .max_steps = 50000000}, 4);
	guest_bind(HARNESS_BSP, script_works_or_breaks, (void *)breaks);
	guest_bind(HARNESS_AP, ap_takes, NULL);
	run_two(ENDED_DEBUG_EXIT, ENDED_TRIPLE_FAULT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	expect_account(harness_vm, 20);
	assert_int_equal(count(other, COUNTER_IPI_SENT_UNICAST), 0);
}

static void test_vm_triple_fault_is_its_own(void **state __unused)
{
	for (u32 cpus = 1; cpus <= 2; cpus++) {
		run_beside(break_by_triple_fault, cpus);
		assert_true(atomic64_read(&other->end_time) < atomic64_read(&harness_vm->end_time));
		destroy_two();
	}
}

static void test_vm_spinning_leaves_others_their_turns(void **state __unused)
{
	for (u32 cpus = 1; cpus <= 2; cpus++) {
		run_beside(break_by_spinning, cpus);
		assert_true(atomic64_read(&other->end_time) > atomic64_read(&harness_vm->end_time));
		destroy_two();
	}
}

/* What a VM leaves ticking ends with it. */
static void test_vm_end_stops_its_timers(void **state __unused)
{
	run_beside(break_by_flood, 1);
	assert_true(other->quiet);
	assert_null(ptr_read(&other->pit.timer.queue));
	destroy_two();
}

/* --- creation and destruction --- */

static void test_vm_destroy_gives_all_back(void **state __unused)
{
	struct machine *machine;
	struct vm_config config = {.vcpus = 3, .memory = MEMORY, .cpu = "barcelona"};
	struct vm *vm[MAX_VMS];
	const char *why = "";
	u64 before;

	posix_machine_reset(&(struct posix_config){.cpus = 2}, 0);
	machine = port_machine();
	assert_true(machine_init(machine, &why));
	before = arena_live_bytes();
	for (u32 i = 0; i < MAX_VMS; i++) {
		config.irqchip_split = i & 1;
		config.testdev = i & 2;
		vm[i] = vm_create(machine, &config);
		assert_non_null(vm[i]);
		assert_int_equal(vm[i]->id, i);
		assert_true(platform_create(vm[i]));
	}
	/* One more than there may be. */
	assert_null(vm_create(machine, &config));
	assert_int_equal(machine->vm_count, MAX_VMS);
	for (u32 i = MAX_VMS; i-- > 0;) {
		platform_destroy(vm[i]);
		vm_destroy(vm[i]);
		assert_int_equal(machine->vm_count, i);
	}
	assert_int_equal(arena_live_bytes(), before);
	/* More memory than there is: nothing is kept, and the place is still free. */
	config.memory = 2ull << 30;
	assert_null(vm_create(machine, &config));
	assert_int_equal(arena_live_bytes(), before);
	config.memory = MEMORY;
	vm[0] = vm_create(machine, &config);
	assert_non_null(vm[0]);
	assert_int_equal(vm[0]->id, 0);
	vm_destroy(vm[0]);
	assert_int_equal(arena_live_bytes(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_vms_share_no_host_page),
	        cmocka_unit_test(test_vms_walk_finds_what_is_shared),
	        cmocka_unit_test(test_vms_guests_cannot_reach_each_other),
	        cmocka_unit_test(test_vms_accounts_are_apart),
	        cmocka_unit_test(test_vm_triple_fault_is_its_own),
	        cmocka_unit_test(test_vm_spinning_leaves_others_their_turns),
	        cmocka_unit_test(test_vm_end_stops_its_timers),
	        cmocka_unit_test(test_vm_destroy_gives_all_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
