/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QEMU documentation, "isa-debugcon": bytes written to the port are text; reading it gives E9h, by which
 * firmware knows that somebody listens. Whole lines go to the log. The text is a guest's: what is not
 * printable is replaced, since the log may end on a terminal, and a line that does not end is cut.
 */
#include "platform/debugcon.h"

#include "core/vm.h"
#include "platform/bytes.h"
#include "postern/port.h"

#define DEBUGCON_PORT    0x402
#define DEBUGCON_PRESENT 0xe9

/* Lock held. */
static void end_line(struct debugcon *debugcon)
{
	debugcon->text[debugcon->length] = 0;
	debugcon->length = 0;
	if (debugcon->text[0])
		port_log("vm %u: firmware: %s", debugcon->vm->id, debugcon->text);
}

static u64 debugcon_read(__unused void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                         __unused u32 size)
{
	return DEBUGCON_PRESENT;
}

static void debugcon_write(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                           __unused u32 size, u64 value)
{
	struct debugcon *debugcon = device;
	char c = (char)value;

	spin_lock(&debugcon->lock);
	if (c == '\n' || debugcon->length == DEBUGCON_LINE)
		end_line(debugcon);
	if (c != '\n' && c != '\r')
		debugcon->text[debugcon->length++] = c >= ' ' && c <= '~' ? c : '.';
	spin_unlock(&debugcon->lock);
}

static const struct bus_ops debugcon_ops = {debugcon_read, debugcon_write};

void debugcon_init(struct debugcon *debugcon, struct vm *vm)
{
	debugcon->vm = vm;
	bus_register(&vm->io, DEBUGCON_PORT, 1, &debugcon_ops, debugcon);
}
