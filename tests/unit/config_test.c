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
	assert_false(config.vm.irqchip_split);
	assert_false(config.vm.pit_reinject);
	assert_true(config.vm.x2apic);
}

static void test_config_choice_by_name(void **state)
{
	(void)state;
	assert_true(parse("set.irqchip=split\nset.pit.reinject=on\n"));
	assert_true(config.vm.irqchip_split);
	assert_true(config.vm.pit_reinject);
	assert_true(parse("set.irqchip=split\nset.irqchip=full"));
	assert_false(config.vm.irqchip_split);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_defaults),
	        cmocka_unit_test(test_config_choice_by_name),
	        cmocka_unit_test(test_config_not_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
