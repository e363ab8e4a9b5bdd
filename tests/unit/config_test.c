/* SPDX-License-Identifier: BSD-2-Clause */
/* The image's side of the settings: what the host command has checked is checked again. */
#include "core/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "postern/port.h"

static char line[200];

void port_log(const char *fmt, ...)
{
	va_list args;

	function_called();
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
}

static struct config config;

static bool parse(const char *text)
{
	return config_parse(&config, text, strlen(text));
}

static void refused(const char *text)
{
	expect_function_call(port_log);
	assert_false(parse(text));
}

static void test_config_defaults(void **state)
{
	(void)state;
	assert_true(config_parse(&config, NULL, 0));
	assert_false(config.vm->irqchip_split);
	assert_false(config.vm->pit_reinject);
	assert_true(config.vm->x2apic);
}

/* Off for the VM that says so, before or behind its processor's name, and for no other. */
static void test_config_apicv(void **state)
{
	(void)state;
	assert_true(parse("cpu=genoa\nvm=1\nset.apicv=off\ncpu=genoa\nvm=2\ncpu=milan\n"
	                  "set.apicv=0\nvm=3\ncpu=milan\nset.apicv=on\n"));
	assert_int_equal(config.vm[0].accel_modes,
	                 ACCEL_MODE(ACCEL_XAPIC) | ACCEL_MODE(ACCEL_X2APIC));
	assert_int_equal(config.vm[1].accel_modes, 0);
	assert_string_equal(config.vm[1].cpu, "genoa");
	assert_int_equal(config.vm[2].accel_modes, 0);
	assert_int_equal(config.vm[3].accel_modes, ACCEL_MODE(ACCEL_XAPIC));
	/* It gives a processor nothing that it has not. */
	assert_true(parse("cpu=barcelona\nset.apicv=on\n"));
	assert_int_equal(config.vm[0].accel_modes, 0);
	refused("set.apicv=auto\n");
	refused("set.apicv=2\n");
	refused("set.apicv=\n");
}

static void test_config_choice_by_name(void **state)
{
	(void)state;
	assert_true(parse("set.irqchip=split\nset.pit.reinject=on\n"));
	assert_true(config.vm->irqchip_split);
	assert_true(config.vm->pit_reinject);
	assert_true(parse("set.irqchip=split\nset.irqchip=full"));
	assert_false(config.vm->irqchip_split);
	refused("set.irqchip=half\n");
	refused("set.irqchip=1\n");
	refused("set.irqchip=\n");
	/* The name of a choice is none for another setting. */
	refused("set.x2apic=split\n");
	refused("set.slice-us=full\n");
}

/* The line that is wrong, whole, and what is wrong with it. */
static void test_config_says_why(void **state)
{
	static const struct {
		const char *text, *said;
	} bad[] = {
	        {"vcpus=2\nset.fly=on\n", "error: configuration: set.fly=on: no such setting"},
	        {"set.x2apic=maybe",
	         "error: configuration: set.x2apic=maybe: not a value of this setting"},
	        {"set.slice-us=99",
	         "error: configuration: set.slice-us=99: out of this setting's range"},
	        {"vcpus=0",
	         "error: configuration: vcpus=0: not a number of vCPUs that a VM can have"},
	        {"vcpus=65",
	         "error: configuration: vcpus=65: not a number of vCPUs that a VM can have"},
	        {"vcpus=",
	         "error: configuration: vcpus=: not a number of vCPUs that a VM can have"},
	        {"memory=1",
	         "error: configuration: memory=1: not a number of bytes, or no multiple of 2 MiB"},
	        {"memory=0",
	         "error: configuration: memory=0: not a number of bytes, or no multiple of 2 MiB"},
	        {"cpu=8086", "error: configuration: cpu=8086: no such processor"},
	        {"cpu=broadwell",
	         "error: configuration: cpu=broadwell: this version does not have that processor"},
	        {"fly=1", "error: configuration: fly=1: no such key"},
	        {"memory", "error: configuration: memory: not of the form KEY=VALUE"},
	        {"reserve-boot-cpu=2", "error: configuration: reserve-boot-cpu=2: neither 0 nor 1"},
	};
	char text[200];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		refused(bad[i].text);
		assert_string_equal(line, bad[i].said);
	}
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	refused(text);
	assert_string_equal(line, "error: configuration: a line is longer than 127 characters");
}

static void test_config_not_understood(void **state)
{
	(void)state;
	refused("set.fly=on\n");
	refused("set.x2apic=maybe\n");
	refused("set.slice-us=99\n");
	refused("set.slice-us=99999999999999999999999\n");
	refused("vcpus=0\n");
	refused("memory\n");
}

/* Each VM begins with the defaults; what is the machine's comes before the second one. */
static void test_config_several_vms(void **state)
{
	(void)state;
	assert_true(parse("vcpus=4\nmemory=33554432\nset.x2apic=off\nset.slice-us=500\n"
	                  "reserve-boot-cpu=1\nvm=1\nvcpus=3\nset.irqchip=split\nvm=2\n"
	                  "memory=67108864\n"));
	assert_int_equal(config.vm_count, 3);
	assert_int_equal(config.vm[0].vcpus, 4);
	assert_int_equal(config.vm[0].memory, 32 << 20);
	assert_false(config.vm[0].x2apic);
	assert_false(config.vm[0].irqchip_split);
	assert_int_equal(config.vm[1].vcpus, 3);
	assert_int_equal(config.vm[1].memory, 512 << 20);
	assert_true(config.vm[1].x2apic);
	assert_true(config.vm[1].irqchip_split);
	assert_int_equal(config.vm[2].vcpus, 2);
	assert_int_equal(config.vm[2].memory, 64 << 20);
	assert_false(config.vm[2].irqchip_split);
	for (u32 i = 0; i < config.vm_count; i++) {
		assert_string_equal(config.vm[i].cpu, "barcelona");
		assert_ptr_equal(config.vm[i].cpu, config.cpu[i]);
	}
	assert_true(config.reserve_boot_cpu);
	assert_int_equal(config.setting[SETTING_SLICE_US], 500);
	assert_true(parse("vm=1\nvm=2\nvm=3\n"));
	assert_int_equal(config.vm_count, MAX_VMS);
}

static void test_config_several_vms_refused(void **state)
{
	(void)state;
	refused("vm=0\n");
	refused("vm=2\n");
	refused("vm=1\nvm=1\n");
	refused("vm=1\nvm=2\nvm=3\nvm=4\n");
	refused("vm=\n");
	/* The machine's own, among a VM's. */
	refused("vm=1\nset.slice-us=500\n");
	refused("vm=1\nset.floor=on\n");
	refused("vm=1\nset.pause-yield=off\n");
	refused("vm=1\nreserve-boot-cpu=1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_defaults),
	        cmocka_unit_test(test_config_apicv),
	        cmocka_unit_test(test_config_choice_by_name),
	        cmocka_unit_test(test_config_says_why),
	        cmocka_unit_test(test_config_not_understood),
	        cmocka_unit_test(test_config_several_vms),
	        cmocka_unit_test(test_config_several_vms_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
