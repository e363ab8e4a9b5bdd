/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Firmware's ROM and the RAM that it hides, switched by the host bridge's registers, on the processor
 * model, which keeps translations until they are flushed: what a processor reads is what the registers
 * say, also while another one changes them.
 */
#include "tests/model/harness.h"

#define ROM_SIZE (256u << 10)
#define ROM_BASE (0x100000000ull - ROM_SIZE)
#define IN_ROM   'R' /* every byte of it */
#define WORD_ROM 0x52525252u

#define AT   0xf1230u /* in the segment that is switched */
#define ELSE 0xf5670u /* likewise, on another page */

#define READ_ROM   0x00
#define READ_RAM   0x10
#define FILL_RAM   0x20
#define RAM        0x30
#define WORD_BEGIN 0 /* number of the switch that begins, that is done */
#define WORD_DONE  1
#define WORD_SEEN  2 /* how often the others have looked, each its own */
#define SWITCHES   60

static u8 rom[ROM_SIZE];

static void create(struct harness config)
{
	memset(rom, IN_ROM, sizeof(rom));
	config.firmware = rom;
	config.firmware_size = sizeof(rom);
	harness_create(&config);
}

static void finish(void)
{
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	for (u32 i = 0; i < ROM_SIZE; i++)
		assert_int_equal(harness_vm->rom.host[i], IN_ROM);
	harness_destroy();
}

static void set_pam0(u8 value)
{
	g_out(0xcf8, 0x80000058, 4);
	g_out(0xcfd, value, 1);
}

static void script_registers(void *arg __unused)
{
	G_CHECK_EQUAL(g_read(AT, 4), WORD_ROM);
	G_CHECK_EQUAL(g_read(ROM_BASE + 0x1230, 4), WORD_ROM);
	g_write(AT, 0x1111, 4); /* all of these go nowhere */
	g_write(ROM_BASE, 0x1111, 4);
	g_write(0xfffffff0, 0x1111, 4);
	G_CHECK_EQUAL(g_read(AT, 4), WORD_ROM);
	G_CHECK_EQUAL(g_read(0xfffffff0, 4), WORD_ROM);
	set_pam0(FILL_RAM);
	g_write(AT, 0x2222, 4);
	G_CHECK_EQUAL(g_read(AT, 4), WORD_ROM);
	set_pam0(READ_RAM);
	G_CHECK_EQUAL(g_read(AT, 4), 0x2222);
	g_write(AT, 0x3333, 4);
	G_CHECK_EQUAL(g_read(AT, 4), 0x2222);
	set_pam0(RAM);
	g_write(AT, 0x4444, 4);
	G_CHECK_EQUAL(g_read(AT, 4), 0x4444);
	set_pam0(READ_ROM);
	G_CHECK_EQUAL(g_read(AT, 4), WORD_ROM);
	/* Where there is neither. */
	G_CHECK_EQUAL(g_read(0xc8000, 4), 0xffffffff);
	g_write(0xc8000, 0x5555, 4);
	G_CHECK_EQUAL(g_read(0xc8000, 4), 0xffffffff);
	g_exit(0);
}

static void test_firmware_registers(void **state __unused)
{
	create((struct harness){0});
	guest_bind(HARNESS_BSP, script_registers, NULL);
	finish();
}

/*
 * Looks while the first one switches. An exit of its own between "it is done" and the look, and it sees
 * what it should; without one it may see the old page for a little longer.
 */
static void ap_reads(void *arg __unused)
{
	u32 mine = WORD_SEEN + g_index();

	for (u64 n = 1;; n++) {
		u64 done = g_shared(WORD_DONE);
		u64 value;
		u32 wanted = done % 2 ? 0x1111 : WORD_ROM;

		g_out(0x80, 0, 1);
		value = g_read(AT, 4);
		if (g_shared(WORD_BEGIN) == done)
			G_CHECK_EQUAL(value, wanted);
		else
			G_CHECK(value == 0x1111 || value == WORD_ROM);
		g_write(ELSE + 8 * g_index(), n, 4); /* to RAM or nowhere, never to ROM */
		g_set_shared(mine, n);
	}
}

static void script_switches(void *arg __unused)
{
	g_apic_enable();
	set_pam0(RAM);
	g_write(AT, 0x1111, 4);
	set_pam0(READ_ROM);
	g_start_aps();
	for (u64 n = 1; n <= SWITCHES; n++) {
		for (u32 i = 1; i < harness.vcpus; i++)
			g_await(WORD_SEEN + i, g_shared(WORD_SEEN + i) + 1);
		g_set_shared(WORD_BEGIN, n);
		set_pam0(n % 2 ? RAM : READ_ROM);
		g_set_shared(WORD_DONE, n);
		G_CHECK_EQUAL(g_read(AT, 4), n % 2 ? 0x1111 : WORD_ROM);
		if (n % 2)
			g_write(AT, 0x1111, 4);
	}
	g_exit(0);
}

static void test_firmware_switched_under_others(void **state __unused)
{
	for (u32 seed = 0; seed < 6; seed++) {
		create((struct harness){
		        .vcpus = 3, .cpus = 1 + seed % 3, .seed = seed, .switch_ppm = 20000});
		guest_bind(HARNESS_BSP, script_switches, NULL);
		guest_bind(HARNESS_AP, ap_reads, NULL);
		finish();
	}
}

/* Two that switch one segment each by registers of their own, and one register by halves. */
static void ap_switches(void *arg __unused)
{
	for (;;) {
		g_set_shared(WORD_SEEN, g_shared(WORD_SEEN) + 1);
		g_out(0xcfe, 0x33, 1); /* PAM1: C0000h to C7FFFh */
		g_out(0xcfe, 0x00, 1);
	}
}

static void script_switches_too(void *arg __unused)
{
	g_apic_enable();
	g_out(0xcf8, 0x80000058, 4); /* and nobody selects another register */
	g_start_aps();
	g_await(WORD_SEEN, 3);
	for (u32 n = 0; n < SWITCHES; n++) {
		g_out(0xcfd, RAM, 1);
		g_write(AT, n, 4);
		G_CHECK_EQUAL(g_read(AT, 4), n);
		g_out(0xcfd, READ_ROM, 1);
		G_CHECK_EQUAL(g_read(AT, 4), WORD_ROM);
	}
	g_exit(0);
}

static void test_firmware_two_switch(void **state __unused)
{
	for (u32 seed = 0; seed < 6; seed++) {
		create((struct harness){
		        .vcpus = 2, .cpus = 1 + seed % 2, .seed = seed, .switch_ppm = 20000});
		guest_bind(HARNESS_BSP, script_switches_too, NULL);
		guest_bind(HARNESS_AP, ap_switches, NULL);
		finish();
	}
}

/* What is no ROM is not made into a VM. */
static void test_firmware_of_bad_sizes(void **state __unused)
{
	struct vm_config config = {.vcpus = 1, .memory = 16 << 20, .cpu = "barcelona"};

	harness_create(&(struct harness){0});
	config.firmware = rom;
	for (u32 i = 0; i < 3; i++) {
		static const u64 sizes[] = {0, PAGE_SIZE + 1, VM_ROM_MAX + PAGE_SIZE};

		config.firmware_size = sizes[i];
		assert_null(vm_create(harness_vm->machine, &config));
	}
	harness_destroy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_firmware_registers),
	        cmocka_unit_test(test_firmware_switched_under_others),
	        cmocka_unit_test(test_firmware_two_switch),
	        cmocka_unit_test(test_firmware_of_bad_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
