/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that change their memory types, by MTRRs and by CR0.CD: each change that has an effect zaps all memory
 * once, and no other does; memory is what it was, comes back by faults, and other vCPUs go on using it.
 *
 * Scripts run on the stepper, in one thread with the hypervisor, and so look at its state between two
 * operations.
 */
#include "tests/model/harness.h"

#define MIB (1ull << 20)

#define DEFTYPE MSR_MTRR_DEFTYPE
#define BASE(n) (MSR_MTRR_PHYSBASE0 + 2 * (n))
#define MASK(n) (BASE(n) + 1)
#define VALID   MTRR_MASK_VALID
#define ON      MTRR_DEFTYPE_ENABLE
#define FIXED   MTRR_DEFTYPE_FIXED
#define WIDTH   0xfffffff000ull /* 40 bits, which every processor has */
#define SIZE(n) (WIDTH & ~((n)-1))

#define WORD   0x600000u /* in no page that scripts use for anything else */
#define SOFAR  0x660000u
#define VALUE  0x12345678u
#define MEMORY (16 * MIB)

static u64 cr0;

static void set_cd(bool set)
{
	g_write_cr0(set ? cr0 | CR0_CD : cr0);
	g_wbinvd();
}

static struct mmu_counts counts(void)
{
	return harness_vm->mmu.counts;
}

/* --- one change after the other --- */

struct change {
	u32 msr; /* 0: CR0.CD */
	u64 value;
	u32 zaps;
};

static const struct change changes[] = {
        {DEFTYPE, ON | 6, 0},  /* as it is found */
        {BASE(0), 4 * MIB, 0}, /* no range yet */
        {MASK(0), SIZE(4 * MIB) | VALID, 1},
        {MASK(0), SIZE(4 * MIB) | VALID, 0},
        {BASE(0), 4 * MIB | 4, 1},
        {BASE(1), 6 * MIB | 1, 0},
        {MASK(0), SIZE(4 * MIB), 1},
        {MSR_MTRR_FIX64K, 0x0606060606060606, 0}, /* fixed ranges are off */
        {DEFTYPE, ON | FIXED | 6, 1},
        {MSR_MTRR_FIX64K, 0x0606060606060600, 1},
        {MSR_MTRR_FIX64K, 0x0606060606060600, 0},
        {0, 1, 1},
        {0, 1, 0},
        {MSR_MTRR_FIX4K_C0, 0x0606060606060606, 0}, /* all is UC, whatever they say */
        {DEFTYPE, 0, 0},
        {0, 0, 0}, /* nor does this change it: they are off */
        {BASE(2), 6 * MIB | 6, 0},
        {0, 1, 0},
        {DEFTYPE, ON | 6, 0},
        {0, 0, 1},
        {DEFTYPE, 0, 1},
        {DEFTYPE, ON, 1},
        {DEFTYPE, ON | 6, 1},
};

static void make(const struct change *change)
{
	if (change->msr)
		g_wrmsr(change->msr, change->value);
	else
		set_cd(change->value);
}

static void script_changes(void *arg __unused)
{
	u64 exits;

	cr0 = g_read_cr0();
	G_CHECK(!(cr0 & (CR0_CD | CR0_NW)));
	g_write(WORD, VALUE, 4);
	for (u32 i = 0; i < ARRAY_SIZE(changes); i++) {
		struct mmu_counts before = counts();

		make(&changes[i]);
		if (counts().zaps - before.zaps != changes[i].zaps)
			g_fail(__FILE__, (int)i, "number of zaps after this change");
		G_CHECK_EQUAL(counts().remote_flushes - before.remote_flushes, changes[i].zaps);
		G_CHECK_EQUAL(counts().installs, before.installs);
		/* One fault each, if that, and not the second time. */
		exits = harness_exits(EXIT_MEMORY);
		G_CHECK_EQUAL(g_read(WORD, 4), VALUE);
		g_write(WORD + 8, i, 4);
		G_CHECK_EQUAL(g_read(WORD + 8, 4), i);
		G_CHECK_EQUAL(harness_exits(EXIT_MEMORY) - exits, changes[i].zaps);
	}
	G_CHECK_EQUAL(harness_exits(EXIT_MEMORY), counts().zaps);
	G_CHECK_EQUAL(counts().fault_retries, 0);
	g_exit(0);
}

static void test_memory_type_changes_zap_once(void **state __unused)
{
	static const char *const processors[] = {"barcelona", "milan", "genoa", "assist-genoa"};

	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		harness_create(&(struct harness){.processor = processors[i], .by_hand = true});
		guest_bind(HARNESS_BSP, script_changes, NULL);
		harness_run();
	}
}

/* --- #GP --- */

static void script_reserved(void *arg __unused)
{
	static const struct {
		u32 msr;
		u64 value;
		bool good;
	} writes[] = {
	        {DEFTYPE, ON | FIXED | 5, true},
	        {DEFTYPE, ON | 2, false},
	        {DEFTYPE, ON | 3, false},
	        {DEFTYPE, ON | 7, false},
	        {DEFTYPE, ON | BIT64(8) | 6, false},
	        {DEFTYPE, ON | BIT64(12) | 6, false},
	        {DEFTYPE, BIT64(63), false},
	        {BASE(0), 4 * MIB | 1, true},
	        {BASE(0), 4 * MIB | 2, false},
	        {BASE(0), 4 * MIB | 7, false},
	        {BASE(7), 4 * MIB | BIT64(8), false},
	        {BASE(7), BIT64(63), false},
	        {MASK(7), SIZE(4 * MIB), true},
	        {MASK(7), SIZE(4 * MIB) | BIT64(10), false},
	        {MASK(7), SIZE(4 * MIB) | 1, false},
	        {MASK(7), ~0ull & PAGE_MASK, false},
	        {MSR_MTRR_FIX16K_A0, 0x0006050401000000, true},
	        {MSR_MTRR_FIX16K_A0, 0x0600000000000007, false},
	        {MSR_MTRR_FIX4K_F8, 0x0200000000000000, false},
	        {MSR_MTRR_FIX64K, 0x1e1e1e1e1e1e1e1e, false}, /* RdMem, WrMem */
	        {MSR_MTRRCAP, 0x508, false},
	};

	for (u32 i = 0; i < ARRAY_SIZE(writes); i++) {
		u64 before = g_rdmsr(writes[i].msr);
		u8 vector = g_wrmsr_safe(writes[i].msr, writes[i].value);

		if (vector != (writes[i].good ? 0 : VECTOR_GP))
			g_fail(__FILE__, (int)i, "the answer to this write");
		G_CHECK_EQUAL(g_rdmsr(writes[i].msr), writes[i].good ? writes[i].value : before);
	}
	G_CHECK_EQUAL(g_rdmsr(MSR_MTRRCAP), 0x508);
	g_exit(0);
}

static void test_memory_type_reserved_bits_fault(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_reserved, NULL);
	harness_run();
}

/* --- several vCPUs --- */

#define WORD_DONE 0
#define WORD_TURN 8 /* and the number */
#define VCPUS     3
#define CHANGES   40

/* Words in pages of its own, far from each other; not all are used often. */
static u64 own(u32 who, u32 i)
{
	return SOFAR + (i % 4) * 2 * MIB + who * PAGE_SIZE;
}

static void count_up(u32 who, u32 i)
{
	u64 word = own(who, i);

	G_CHECK_EQUAL(g_read(word, 8), i / 4);
	g_write(word, i / 4 + 1, 8);
}

/* Repeats what is so already, as systems do on all their processors: nothing happens. */
static void other_uses(void *arg __unused)
{
	u32 me = g_index();

	for (u32 i = 0; !g_shared(WORD_DONE); i++) {
		count_up(me, i);
		g_wrmsr(MASK(3), SIZE(MIB << i % 4) | VALID);
		g_set_shared(WORD_TURN + me, i + 1);
	}
	for (;;)
		g_hlt();
}

static void script_used(void *arg __unused)
{
	u64 seen = 0;

	g_apic_enable();
	cr0 = g_read_cr0();
	g_start_aps();
	g_await(WORD_TURN + 1, 2);
	g_await(WORD_TURN + 2, 2);
	for (u32 i = 0; i < CHANGES; i++) {
		u64 zaps = counts().zaps;

		if (i % 4 == 1)
			g_wrmsr(DEFTYPE, ON | 4);
		else if (i % 4 == 3)
			g_wrmsr(DEFTYPE, ON | 6);
		else
			set_cd(true);
		count_up(0, i);
		if (i % 2 == 0)
			set_cd(false);
		G_CHECK_EQUAL(counts().zaps, zaps + (i % 2 ? 1 : 2));
		if (i == CHANGES / 2)
			seen = g_shared(WORD_TURN + 1);
	}
	g_await(WORD_TURN + 1, seen + 3);
	g_await(WORD_TURN + 2, seen + 3);
	G_CHECK_EQUAL(counts().zaps, CHANGES * 3 / 2);
	g_set_shared(WORD_DONE, 1);
	g_exit(0);
}

static void test_memory_type_others_go_on(void **state __unused)
{
	for (u32 seed = 0; seed < 8; seed++) {
		harness_create(&(struct harness){.vcpus = VCPUS,
		                                 .cpus = 1 + seed % 3,
		                                 .seed = seed,
		                                 .switch_ppm = 20000,
		                                 .by_hand = true});
		guest_bind(HARNESS_BSP, script_used, NULL);
		guest_bind(HARNESS_AP, other_uses, NULL);
		harness_run();
	}
}

/* --- everybody at once, and ranges all over the place --- */

#define ROUNDS 60

static void toggle(u32 who)
{
	u64 on = cr0;

	for (u32 i = 0; i < ROUNDS; i++) {
		g_write_cr0(i % 2 ? on : on | CR0_CD);
		g_wrmsr(BASE(i % 8), (u64)(who * 37 + i * 5) << 12 | (i % 3 ? 4 : 0));
		g_wrmsr(MASK(i % 8), (SIZE(PAGE_SIZE << i % 5) & ~(u64)(i << 15)) | VALID);
		count_up(who, i);
	}
	g_write_cr0(on);
	g_wbinvd();
	g_set_shared(WORD_TURN + who, ROUNDS);
}

static void other_toggles(void *arg __unused)
{
	toggle(g_index());
	for (;;)
		g_hlt();
}

static void script_hostile(void *arg __unused)
{
	g_apic_enable();
	cr0 = g_read_cr0();
	g_start_aps();
	toggle(0);
	g_await(WORD_TURN + 1, ROUNDS);
	g_await(WORD_TURN + 2, ROUNDS);
	G_CHECK_EQUAL(atomic32_read(&harness_vm->types.uncached), 0);
	for (u32 i = 0; i < MTRR_VARIABLE; i++)
		g_wrmsr(MASK(i), 0);
	for (u32 who = 0; who < VCPUS; who++)
		for (u32 i = 0; i < 4; i++)
			G_CHECK_EQUAL(g_read(own(who, i), 8), ROUNDS / 4);
	/* Under one vCPU's CD the others' changes are none: how many that are is up to the schedule. */
	G_CHECK(counts().zaps > ROUNDS / 4);
	G_CHECK(harness_vm->mmu.splits <= 2 * MTRR_VARIABLE);
	g_exit(0);
}

static void test_memory_type_everybody_toggles(void **state __unused)
{
	for (u32 seed = 0; seed < 8; seed++) {
		harness_create(&(struct harness){.vcpus = VCPUS,
		                                 .cpus = 1 + seed % 3,
		                                 .seed = seed,
		                                 .switch_ppm = 50000,
		                                 .by_hand = true});
		guest_bind(HARNESS_BSP, script_hostile, NULL);
		guest_bind(HARNESS_AP, other_toggles, NULL);
		harness_run();
	}
}

/* --- the interrupt shadow --- */

#define VECTOR 0x51
#define LOW    0x60000u /* comes back with none of the pages that hold scripts */

static u32 taken;
static u64 seen;

static void on_vector(u8 vector __unused, u32 error __unused)
{
	taken++;
	seen = g_read(LOW, 4);
	g_apic_eoi();
}

/* The instruction behind STI faults and runs again: the interrupt is still behind it. */
static void script_shadow(void *arg __unused)
{
	u64 faults;

	g_apic_enable();
	g_set_handler(VECTOR, on_vector);
	taken = 0;
	for (u32 i = 1; i <= 4; i++) {
		g_cli();
		g_apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | VECTOR);
		g_wrmsr(DEFTYPE, i % 2 ? ON | 4 : ON | 6);
		g_read(LOW, 4);
		g_wrmsr(DEFTYPE, i % 2 ? ON | 6 : ON | 4);
		g_nop();
		faults = harness_exits(EXIT_MEMORY);
		g_sti();
		g_write(LOW, i, 4);
		g_nop();
		G_CHECK_EQUAL(taken, i);
		G_CHECK_EQUAL(seen, i);
		G_CHECK_EQUAL(harness_exits(EXIT_MEMORY) - faults, 1);
	}
	g_exit(0);
}

static void test_memory_type_fault_keeps_the_shadow(void **state __unused)
{
	static const char *const processors[] = {"barcelona", "milan", "genoa", "assist-milan"};

	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		harness_create(&(struct harness){.processor = processors[i], .by_hand = true});
		guest_bind(HARNESS_BSP, script_shadow, NULL);
		harness_run();
	}
}

/* --- with firmware: types as after reset, and what is no RAM --- */

#define ROM_SIZE (256u << 10)
#define ROM_BASE (0x100000000ull - ROM_SIZE)
#define IN_ROM   0x52525252u

static u8 rom[ROM_SIZE];

static void script_firmware(void *arg __unused)
{
	struct mmu_counts before = counts();

	cr0 = g_read_cr0();
	g_wbinvd();
	G_CHECK_EQUAL(g_rdmsr(DEFTYPE), 0);
	g_write(WORD, VALUE, 4);
	G_CHECK_EQUAL(counts().zaps, before.zaps);
	for (u32 i = 0; i < 4; i++) {
		g_wrmsr(DEFTYPE, i % 2 ? 0 : ON | 6);
		G_CHECK_EQUAL(counts().zaps, before.zaps + i + 1);
		G_CHECK_EQUAL(g_read(0xf1230, 4), IN_ROM);
		G_CHECK_EQUAL(g_read(ROM_BASE + 0x1230, 4), IN_ROM);
		g_write(0xf1230, i, 4); /* these go nowhere, mapped or not */
		g_write(ROM_BASE + 0x1230, i, 4);
		g_write(0xfffff000, i, 4);
		G_CHECK_EQUAL(g_read(0xf1230, 4), IN_ROM);
		G_CHECK_EQUAL(g_read(0xfffff000, 4), IN_ROM);
		G_CHECK_EQUAL(g_read(0xd0000000, 4), 0xffffffff);
		G_CHECK_EQUAL(g_read(WORD, 4), VALUE);
	}
	g_exit(0);
}

static void test_memory_type_rom_and_holes_stay(void **state __unused)
{
	memset(rom, IN_ROM & 0xff, sizeof(rom));
	harness_create(&(struct harness){.firmware = rom, .firmware_size = sizeof(rom)});
	guest_bind(HARNESS_BSP, script_firmware, NULL);
	harness_run();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_memory_type_changes_zap_once),
	        cmocka_unit_test(test_memory_type_reserved_bits_fault),
	        cmocka_unit_test(test_memory_type_others_go_on),
	        cmocka_unit_test(test_memory_type_everybody_toggles),
	        cmocka_unit_test(test_memory_type_fault_keeps_the_shadow),
	        cmocka_unit_test(test_memory_type_rom_and_holes_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
