/* SPDX-License-Identifier: BSD-2-Clause */
/* The list of inhibits as a page (docs/inhibits.md), or its tests alone, for scripts/inhibits-doc. */
#include "postern/inhibits.h"

#include <stdio.h>
#include <string.h>

static const struct reason {
	const char *name, *what, *set_by, *cleared_by, *test;
	enum inhibit_scope scope;
	u32 needs;
} reasons[] = {
#define X(id, name, scope, needs, what, set_by, cleared_by, test)                                  \
	[INHIBIT_##id] = {                                                                         \
	        name, what, set_by, cleared_by, test, INHIBIT_SCOPE_##scope, INHIBIT_ON_##needs},
        INHIBITS(X)
#undef X
};

static const char page_head[] =
        "<!-- Printed by scripts/inhibits-doc from include/postern/inhibits.h: change that, not this. "
        "-->\n"
        "\n"
        "# Why acceleration is off\n"
        "\n"
        "Where the processor delivers interrupts to the guest by itself (AMD: AVIC and x2AVIC), each\n"
        "reason for which it must not do so is an *inhibit*. While one of scope VM stands, no vCPU of "
        "the VM\n"
        "is accelerated; one of scope vCPU concerns that vCPU only, and the others go on. Acceleration "
        "is on\n"
        "again when the last one is gone. How that is done while vCPUs run: irq/inhibit.h.\n"
        "\n"
        "Names are those that KVM prints, where KVM has the reason. A run's account tells of each how "
        "often\n"
        "and how long it stood and who set it last: docs/report.md, `apicv`.\n"
        "\n"
        "- *back ends*: those to which it matters; others ignore it.\n"
        "- *sticky*: whether it stays for as long as the VM exists, once it is set.\n"
        "- *shown by*: the test that sets it, sees acceleration go off for whom it should, and sees "
        "it\n"
        "  return, or stay.\n"
        "\n"
        "| reason | scope | back ends | what it means | set by | cleared by | sticky | shown by |\n"
        "|---|---|---|---|---|---|---|---|\n";

static const char *back_ends(u32 needs)
{
	if (needs == INHIBIT_ON_ALL)
		return "SVM, VMX";
	return needs == INHIBIT_ON_SVM ? "SVM" : "VMX";
}

/* "FILE: FUNCTION" as `FUNCTION` of FILE. */
static void print_test(const char *test)
{
	const char *colon = strchr(test, ':');

	if (colon)
		printf("%.*s, `%s`", (int)(colon - test), test, colon + 2);
	else
		printf("no test of its own");
}

static void print_row(const struct reason *reason)
{
	printf("| `%s` | %s | %s | %s | %s | %s | %s | ", reason->name,
	       reason->scope == INHIBIT_SCOPE_VM ? "VM" : "vCPU", back_ends(reason->needs),
	       reason->what, reason->set_by, reason->cleared_by,
	       strcmp(reason->cleared_by, "nothing") == 0 ? "yes" : "no");
	print_test(reason->test);
	printf(" |\n");
}

int main(int argc, char **argv)
{
	bool tests = argc == 2 && !strcmp(argv[1], "--tests");

	if (!tests)
		fputs(page_head, stdout);
	for (u32 i = 0; i < INHIBIT_COUNT; i++) {
		if (!tests)
			print_row(&reasons[i]);
		else if (reasons[i].test[0])
			printf("%s\n", reasons[i].test);
	}
	return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
