/* SPDX-License-Identifier: BSD-2-Clause */
/* The image's side of the settings: what the host command has checked is checked again. */
#include "core/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "postern/port.h"

void port_log(const char *fmt, ...)
{
	function_called();
	(void)fmt;
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
	        cmocka_unit_test(test_config_choice_by_name),
	        cmocka_unit_test(test_config_not_understood),
	        cmocka_unit_test(test_config_several_vms),
	        cmocka_unit_test(test_config_several_vms_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
