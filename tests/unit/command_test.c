/* SPDX-License-Identifier: BSD-2-Clause */
/* core/command.c: frames of the host command, whole, cut off and wrong; what they change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/machine.h"
#include "core/report.h"
#include "postern/port.h"

static struct machine machine;
static struct vm vms[2];

/* What came of it: one line for each call. */
static char calls[1000];

static void note(const char *format, ...) __printf(1, 2);
static void note(const char *format, ...)
{
	size_t at = strlen(calls);
	va_list args;

	va_start(args, format);
	vsnprintf(calls + at, sizeof(calls) - at, format, args);
	va_end(args);
}

void port_log(const char *format __unused, ...)
{
	fail_msg("nothing is to be logged");
}

void pit_set_reinject(struct vm *vm, bool on)
{
	note("vm%u: reinject %d\n", vm->id, on);
}

void storm_set(struct vm *vm, u32 rate)
{
	note("vm%u: storm %u\n", vm->id, rate);
}

bool vm_has_ended(struct vm *vm)
{
	return vm->ended.v;
}

void report_account(struct vm *vm)
{
	note("vm%u: account\n", vm->id);
}

void report_answer(u16 sequence, const char *wrong)
{
	note("answer %u: %s\n", sequence, wrong);
}

static int setup(void **state)
{
	(void)state;
	memset(&machine, 0, sizeof(machine));
	memset(vms, 0, sizeof(vms));
	machine.vm_count = 2;
	for (u32 i = 0; i < 2; i++) {
		vms[i].id = i;
		machine.vm[i] = &vms[i];
	}
	calls[0] = 0;
	return 0;
}

struct frame {
	u8 byte[sizeof(struct report_ask) + 256 + 2];
	u32 length;
};

/* The frame as the host command makes it; `text` up to 255 bytes. */
static struct frame frame(u16 sequence, u8 vm, const char *text)
{
	struct report_ask ask = {sequence, vm, (u8)strlen(text)};
	struct frame f = {.byte = {REPORT_CMD_ASK}};
	u8 sum = 0;

	memcpy(f.byte + 1, &ask, sizeof(ask));
	memcpy(f.byte + 1 + sizeof(ask), text, ask.length);
	f.length = 1 + sizeof(ask) + ask.length;
	for (u32 i = 0; i < f.length; i++)
		sum = (u8)(sum + f.byte[i]);
	f.byte[f.length++] = (u8)-sum;
	return f;
}

static void send(const struct frame *f, u32 from, u32 to)
{
	for (u32 i = from; i < to; i++)
		assert_true(command_take(&machine, f->byte[i]));
}

static void ask(u16 sequence, u8 vm, const char *text, const char *expected)
{
	struct frame f = frame(sequence, vm, text);

	calls[0] = 0;
	send(&f, 0, f.length - 1);
	assert_string_equal(calls, ""); /* not before it is whole */
	send(&f, f.length - 1, f.length);
	assert_string_equal(calls, expected);
}

static void test_command_changes_a_setting(void **state)
{
	(void)state;
	ask(1, 0, "pit.reinject=on", "vm0: reinject 1\nanswer 1: \n");
	ask(65535, 1, "pit.reinject=off", "vm1: reinject 0\nanswer 65535: \n");
	ask(3, 1, "inhibit-storm=1000", "vm1: storm 1000\nanswer 3: \n");
	ask(4, 0, "inhibit-storm=0", "vm0: storm 0\nanswer 4: \n");
	ask(5, 0, "", "vm0: account\nvm1: account\nanswer 5: \n");
}

static void test_command_says_what_is_wrong(void **state)
{
	char longest[REPORT_ASK_TEXT + 1];

	(void)state;
	ask(1, 0, "fly=on", "answer 1: no such setting\n");
	ask(2, 0, "pit.reinject=maybe", "answer 2: not a value of this setting\n");
	ask(3, 0, "pit.reinject", "answer 3: not of the form KEY=VALUE\n");
	ask(4, 0, "inhibit-storm=1001", "answer 4: out of this setting's range\n");
	ask(5, 0, "x2apic=off", "answer 5: this setting cannot be changed while the guest runs\n");
	ask(6, 0, "debug.panic=fault",
	    "answer 6: this setting cannot be changed while the guest runs\n");
	ask(7, 2, "pit.reinject=on", "answer 7: no such VM\n");
	ask(8, 255, "", "answer 8: no such VM\n");
	ask(9, 0, "apic-ids=5,6", "answer 9: no such setting\n");
	memset(longest, 'x', REPORT_ASK_TEXT);
	longest[REPORT_ASK_TEXT] = 0;
	ask(10, 0, longest, "answer 10: not of the form KEY=VALUE\n");
	longest[0] = '=';
	ask(11, 0, longest, "answer 11: no such setting\n");
	vms[1].ended.v = ENDED_POWEROFF;
	ask(12, 1, "pit.reinject=on", "answer 12: the VM has ended\n");
	ask(13, 0, "pit.reinject=on", "vm0: reinject 1\nanswer 13: \n");
}

/* What belongs to no frame is for others; within one any byte may stand. */
static void test_command_leaves_single_bytes(void **state)
{
	(void)state;
	assert_false(command_take(&machine, REPORT_CMD_TIMEOUT));
	assert_false(command_take(&machine, 0));
	ask(REPORT_CMD_TIMEOUT | REPORT_CMD_ASK << 8, REPORT_CMD_INTERRUPT, "TIAQ",
	    "answer 20820: no such VM\n");
	assert_false(command_take(&machine, REPORT_CMD_ACCOUNT));
}

/* Each byte of a frame turned into another: it is dropped, or waits for more, and is never obeyed. */
static void test_command_drops_what_does_not_add_up(void **state)
{
	const struct frame good = frame(7, 0, "pit.reinject=on");

	(void)state;
	for (u32 i = 1; i < good.length; i++) {
		for (u32 bit = 0; bit < 8; bit++) {
			struct frame bad = good;

			setup(NULL);
			bad.byte[i] ^= (u8)BIT(bit);
			for (u32 j = 0; j < bad.length; j++)
				command_take(&machine, bad.byte[j]);
			assert_string_equal(calls, "");
		}
	}
}

/* Cut off at any byte: after as many bytes as a frame can have, frames are understood again. */
static void test_command_finds_its_way_back(void **state)
{
	const struct frame good = frame(7, 0, "inhibit-storm=5");

	(void)state;
	for (u32 cut = 1; cut < good.length; cut++) {
		setup(NULL);
		send(&good, 0, cut);
		for (u32 i = 0; i < 300 && command_take(&machine, 0); i++)
			;
		assert_false(machine.command.open);
		calls[0] = 0;
		ask(8, 0, "inhibit-storm=6", "vm0: storm 6\nanswer 8: \n");
	}
}

static void test_command_too_long(void **state)
{
	char text[256];
	struct frame f;

	(void)state;
	for (u32 length = REPORT_ASK_TEXT + 1; length < 256; length++) {
		memset(text, '=', length);
		text[length] = 0;
		f = frame(1, 0, text);
		send(&f, 0, 1 + sizeof(struct report_ask));
		assert_false(machine.command.open);
	}
	assert_string_equal(calls, "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(test_command_changes_a_setting, setup),
	        cmocka_unit_test_setup(test_command_says_what_is_wrong, setup),
	        cmocka_unit_test_setup(test_command_leaves_single_bytes, setup),
	        cmocka_unit_test_setup(test_command_drops_what_does_not_add_up, setup),
	        cmocka_unit_test_setup(test_command_finds_its_way_back, setup),
	        cmocka_unit_test_setup(test_command_too_long, setup),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
