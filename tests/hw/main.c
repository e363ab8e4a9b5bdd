/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test's course: what port/metal calls when the machine is up, in the place of core/main.c. Options on the
 * command line: "checks".
 */
#include "tests/hw/hw.h"

#include "core/main.h"
#include "metal.h"

#define LINE_MAX 512

void hw_say(const char *fmt, ...)
{
	char line[LINE_MAX];
	va_list args;
	u32 n;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line) - 2, fmt, args);
	va_end(args);
	n = (u32)strlen(line);
	line[n++] = '\r';
	line[n++] = '\n';
	port_console_write(0, (const u8 *)line, n);
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
	ok = multiboot_has_option("checks") && hw_checks();
	hw_say("hwtest: %s", ok ? "ok" : "failed");
	return ok ? MAIN_OK : MAIN_REFUSED;
}
