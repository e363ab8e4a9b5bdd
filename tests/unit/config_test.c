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
	assert_false(config.vm->hyperv);
	assert_false(config.vm->hv_autoeoi);
	assert_int_equal(config.vm->inhibit_storm, 0);
	/* Whoever embeds the core gets its ticks reinjected. */
	assert_true(VM_CONFIG_DEFAULT.pit_reinject);
}

static void test_config_storm(void **state)
{
	(void)state;
	assert_true(parse("set.inhibit-storm=1000\nvm=1\nvm=2\nset.inhibit-storm=1\n"));
	assert_int_equal(config.vm[0].inhibit_storm, 1000);
	assert_int_equal(config.vm[1].inhibit_storm, 0);
	assert_int_equal(config.vm[2].inhibit_storm, 1);
	refused("set.inhibit-storm=1001\n");
	refused("set.inhibit-storm=on\n");
	refused("set.inhibit-storm=-1\n");
	refused("set.inhibit-storm=\n");
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

/* Who names no processor gets one of the machine's vendor; who names one of another is told so. */
static void test_config_vendor(void **state)
{
	const char *wrong = NULL;

	(void)state;
	assert_true(parse("vm=1\ncpu=westmere\n"));
	assert_true(config_settle_processors(&config, "Intel", &wrong));
	assert_string_equal(config.vm[0].cpu, "westmere");
	assert_string_equal(config.vm[1].cpu, "westmere");
	assert_true(parse("vm=1\ncpu=genoa\n"));
	assert_true(config_settle_processors(&config, "AMD", &wrong));
	assert_string_equal(config.vm[0].cpu, "barcelona");
	assert_string_equal(config.vm[1].cpu, "genoa");
	assert_int_equal(config.vm[0].accel_modes, 0);
	assert_null(wrong);
	assert_true(parse("cpu=barcelona\nvm=1\ncpu=westmere\n"));
	assert_false(config_settle_processors(&config, "AMD", &wrong));
	assert_string_equal(wrong, "westmere");
	assert_false(config_settle_processors(&config, "Intel", &wrong));
	assert_string_equal(wrong, "barcelona");
}

static void expect_ids(const struct vm_config *vm, u32 count, const u32 *ids)
{
	assert_int_equal(vm->apic_ids.count, count);
	for (u32 i = 0; i < count; i++)
		assert_int_equal(vm->apic_ids.id[i], ids[i]);
}

static void test_config_apic_ids(void **state)
{
	static const u32 first[] = {0, 1, 300, 600}, second[] = {4294967294, 5, 6, 7, 0};
	char text[1200] = "vcpus=64\nset.apic-ids=4294967294";

	(void)state;
	assert_true(parse("set.apic-ids=0,1,300,600\nvcpus=4\nvm=1\nvcpus=5\n"
	                  "set.apic-ids=9\nset.apic-ids=4294967294,5-7,0\nvm=2\n"));
	expect_ids(&config.vm[0], ARRAY_SIZE(first), first);
	expect_ids(&config.vm[1], ARRAY_SIZE(second), second);
	assert_int_equal(config.vm[2].apic_ids.count, 0);
	assert_true(parse("vcpus=64\nset.x2apic=off\nset.apic-ids=0-9,10,191-200,203-245\n"));
	assert_true(parse("vcpus=1\nset.apic-ids=0-0"));
	/* As long as a list can be, one by one. */
	for (u32 i = 1; i < 64; i++)
		snprintf(text + strlen(text), 16, ",%u", APIC_ID_X2APIC_MAX - i);
	assert_true(parse(text));
	assert_int_equal(config.vm[0].apic_ids.count, 64);
	assert_int_equal(config.vm[0].apic_ids.id[63], 4294967231);
}

/* What the host command never writes is refused here, too. */
static void test_config_apic_ids_refused(void **state)
{
	static const struct {
		const char *text, *said;
	} bad[] = {
	        {"set.apic-ids=", "not a list of APIC IDs from 0 to 4294967294"},
	        {"set.apic-ids=,1", "not a list of APIC IDs from 0 to 4294967294"},
	        {"set.apic-ids=0,1,", "not a list of APIC IDs from 0 to 4294967294"},
	        {"set.apic-ids=0,-1", "not a list of APIC IDs from 0 to 4294967294"},
	        {"set.apic-ids=0-", "not a list of APIC IDs from 0 to 4294967294"},
	        {"set.apic-ids=0,4294967295", "not a list of APIC IDs from 0 to 4294967294"},
	        {"set.apic-ids=0,18446744073709551617",
	         "not a list of APIC IDs from 0 to 4294967294"},
	        {"set.apic-ids=0 1", "APIC IDs are separated by commas"},
	        {"set.apic-ids=0x10,1", "APIC IDs are separated by commas"},
	        {"set.apic-ids=0-1-2", "APIC IDs are separated by commas"},
	        {"set.apic-ids=1-0", "a range that ends before it begins"},
	        {"set.apic-ids=0-64", "more APIC IDs than a VM can have vCPUs"},
	        {"set.apic-ids=0-62,70,71", "more APIC IDs than a VM can have vCPUs"},
	        {"set.apic-ids=0-4294967294", "more APIC IDs than a VM can have vCPUs"},
	        {"set.apic-ids=0", "not as many APIC IDs as there are vCPUs"},
	        {"set.apic-ids=0,1,2", "not as many APIC IDs as there are vCPUs"},
	        {"set.apic-ids=0,1\nvcpus=4\nvm=1\nvcpus=2\n",
	         "not as many APIC IDs as there are vCPUs"},
	        {"set.apic-ids=300,300", "two vCPUs with one APIC ID"},
	        {"vcpus=3\nset.apic-ids=2,0-2", "not as many APIC IDs as there are vCPUs"},
	        {"vcpus=4\nset.apic-ids=2,0-2", "two vCPUs with one APIC ID"},
	        {"set.apic-ids=0,255\nset.x2apic=off", "an APIC ID above 254 needs x2APIC"},
	};
	char said[200];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		refused(bad[i].text);
		snprintf(said, sizeof(said), ": %s", bad[i].said);
		assert_non_null(strstr(line, said));
		assert_string_equal(strstr(line, said), said);
	}
}

/* Of a long line the beginning is shown, and always what is wrong. */
static void test_config_long_line(void **state)
{
	char text[600] = "set.apic-ids=";

	(void)state;
	memset(text + strlen(text), '9', sizeof(text) - strlen(text) - 1);
	refused(text);
	assert_int_equal(strlen(line), strlen("error: configuration: ") + 123 +
	                                       strlen(": not a list of APIC IDs from 0 to "
	                                              "4294967294"));
	assert_non_null(strstr(line, "999...: not a list"));
}

static void test_config_hyperv(void **state)
{
	(void)state;
	assert_true(parse("set.hyperv=on\n"));
	assert_true(config.vm->hyperv);
	assert_false(config.vm->hv_autoeoi);
	assert_true(parse("set.hyperv.autoeoi=on\nvm=1\nset.hyperv=on\n"));
	assert_true(config.vm[0].hv_autoeoi);
	assert_false(config.vm[0].hyperv);
	assert_true(config.vm[1].hyperv);
	assert_false(config.vm[1].hv_autoeoi);
	refused("set.hyperv=maybe\n");
	refused("set.hyperv.autoeoi=2\n");
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
	        {"fly=1", "error: configuration: fly=1: no such key"},
	        {"memory", "error: configuration: memory: not of the form KEY=VALUE"},
	        {"debugger-wait=2", "error: configuration: debugger-wait=2: neither 0 nor 1"},
	        {"reserve-boot-cpu=2", "error: configuration: reserve-boot-cpu=2: neither 0 nor 1"},
	};
	char text[1100];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		refused(bad[i].text);
		assert_string_equal(line, bad[i].said);
	}
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	refused(text);
	assert_string_equal(line, "error: configuration: a line is longer than 1023 characters");
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
		assert_string_equal(config.vm[i].cpu, "");
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
	refused("vm=1\nset.preemption-timer=off\n");
	refused("vm=1\nset.stale-vectoring=on\n");
	refused("vm=1\nset.trace.entries=1\n");
	refused("vm=1\nreserve-boot-cpu=1\n");
	refused("vm=1\ndebugger-wait=1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_defaults),
	        cmocka_unit_test(test_config_apicv),
	        cmocka_unit_test(test_config_vendor),
	        cmocka_unit_test(test_config_storm),
	        cmocka_unit_test(test_config_apic_ids),
	        cmocka_unit_test(test_config_apic_ids_refused),
	        cmocka_unit_test(test_config_long_line),
	        cmocka_unit_test(test_config_hyperv),
	        cmocka_unit_test(test_config_choice_by_name),
	        cmocka_unit_test(test_config_says_why),
	        cmocka_unit_test(test_config_not_understood),
	        cmocka_unit_test(test_config_several_vms),
	        cmocka_unit_test(test_config_several_vms_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
