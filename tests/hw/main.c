/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test's course: what port/metal calls when the machine is up, in the place of core/main.c. Options on the
 * command line: "checks", or "apicv" with "ops=N", "seed=N", "ways=N" (of so many operations it is asked which of
 * the differences in docs/model-vs-bochs.md they show) and "manual=1" (nothing is to differ).
 */
#include "tests/hw/hw.h"

#include "core/main.h"
#include "metal.h"

#define LINE_MAX 512
#define DEBUGCON 0xe9

void hw_say(const char *fmt, ...)
{
	char line[LINE_MAX];
	va_list args;
	u32 n;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line) - 2, fmt, args);
	va_end(args);
	n = (u32)strlen(line);
	line[n++] = '\n';
	/* An emulator takes its time for what goes through a serial line. */
	if (serial_has_debugcon())
		out8_string(DEBUGCON, line, n);
	else
		port_console_write(0, (const u8 *)line, n);
}

u64 hw_option(const char *name, u64 otherwise)
{
	u64 length = strlen(name);

	for (const char *at = boot_info.cmdline; *at; at++) {
		u64 value = 0;

		if ((at != boot_info.cmdline && at[-1] != ' ') || strncmp(at, name, length) ||
		    at[length] != '=')
			continue;
		for (at += length + 1; *at >= '0' && *at <= '9'; at++)
			value = value * 10 + (u64)(*at - '0');
		return value;
	}
	return otherwise;
}

/* No VM runs that would want any. */
void main_housekeeping(u64 now __unused)
{
}

u64 main_housekeeping_due(void)
{
	return TSC_NEVER;
}

enum main_result postern_main(void)
{
	bool ok;

	port_irqs_block();
	hw_say("\nhwtest: begin");
	if (multiboot_has_option("checks"))
		ok = hw_checks();
	else
		ok = hw_apicv(hw_option("ops", 20000), hw_option("seed", 1));
	hw_say("hwtest: %s", ok ? "ok" : "failed");
	return ok ? MAIN_OK : MAIN_REFUSED;
}
