/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See command.h. Nothing that comes is trusted: a frame has a length at most, adds up or is dropped, and
 * names a VM, a key and a value that are checked like those of the configuration.
 *
 * A frame that is cut off swallows the bytes behind it until it is complete, and then does not add up. The
 * host command repeats what it does not see obeyed.
 */
#include "core/command.h"

#include "core/config.h"
#include "core/machine.h"
#include "core/report.h"
#include "core/storm.h"
#include "irq/pit.h"
#include "postern/string.h"

static void apply_PIT_REINJECT(struct vm *vm, u64 value)
{
	pit_set_reinject(vm, value);
}

static void apply_INHIBIT_STORM(struct vm *vm, u64 value)
{
	storm_set(vm, (u32)value);
}

/* NULL, or what is wrong with it. */
static const char *change(struct vm *vm, enum setting_id id, u64 value)
{
	if (vm_has_ended(vm))
		return "the VM has ended";
	switch (id) {
#define X(setting)                                                                                 \
	case SETTING_##setting:                                                                    \
		apply_##setting(vm, value);                                                        \
		return NULL;
		RUNTIME_SETTINGS(X)
#undef X
	default:
		return "this setting cannot be changed while the guest runs";
	}
}

static const char *change_by_text(struct vm *vm, char *text)
{
	char *equals = text;
	enum setting_id id;
	const char *wrong;
	u64 value;

	while (*equals && *equals != '=')
		equals++;
	if (!*equals)
		return "not of the form KEY=VALUE";
	*equals = 0;
	wrong = config_value(text, equals + 1, &id, &value);
	return wrong ? wrong : change(vm, id, value);
}

static void report_accounts(struct machine *machine)
{
	for (u32 i = 0; i < machine->vm_count; i++)
		report_account(machine->vm[i]);
}

static void obey(struct machine *machine, const struct report_ask *ask, const u8 *bytes)
{
	char text[REPORT_ASK_TEXT + 1];
	const char *wrong = NULL;

	memcpy(text, bytes, ask->length);
	text[ask->length] = 0;
	if (ask->vm >= machine->vm_count)
		wrong = "no such VM";
	else if (ask->length)
		wrong = change_by_text(machine->vm[ask->vm], text);
	else
		report_accounts(machine);
	report_answer(ask->sequence, wrong ? wrong : "");
}

bool command_take(struct machine *machine, u8 byte)
{
	struct command_frame *command = &machine->command;
	struct report_ask ask;

	if (!command->open) {
		if (byte != REPORT_CMD_ASK)
			return false;
		*command = (struct command_frame){.open = true, .sum = byte};
		return true;
	}
	command->byte[command->have++] = byte;
	command->sum = (u8)(command->sum + byte);
	if (command->have < sizeof(ask))
		return true;
	memcpy(&ask, command->byte, sizeof(ask));
	if (ask.length > REPORT_ASK_TEXT) {
		command->open = false;
	} else if (command->have == sizeof(ask) + ask.length + 1) {
		command->open = false;
		if (!command->sum)
			obey(machine, &ask, command->byte + sizeof(ask));
	}
	return true;
}
