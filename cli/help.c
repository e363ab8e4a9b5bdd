/* SPDX-License-Identifier: BSD-2-Clause */
/* What the command says about itself, made from the lists that it works by. */
#include <string.h>

#include "cli/options.h"
#include "cli/status.h"

void options_help(FILE *out)
{
	fputs("Postern, a hypervisor for x86: boots a guest under Postern on QEMU or Bochs.\n"
	      "\n"
	      "usage: postern run [OPTION]... [--vm [OPTION]...]... [-- COMMAND...]\n"
	      "       postern control PATH COMMAND\n"
	      "       postern cpus\n"
	      "       postern --help | --version\n"
	      "\n"
	      "  run    boot a guest, show its console, end with the account of its exits,\n"
	      "         interrupts and IPIs; 'postern run --help' lists the options\n"
	      "  control\n"
	      "         ask something of a run that has --control PATH: 'account' prints its account\n"
	      "         of now, 'set KEY=VALUE [vm=N]' changes",
	      out);
	for (u32 i = 0; i < SETTING_COUNT; i++)
		if (options_is_runtime_setting(i))
			fprintf(out, " %s", options_key(i));
	fputs("\n"
	      "  cpus   list the processors that 'run --cpu' can stand for\n"
	      "\n"
	      "Without options, 'postern run' boots the demonstration guest.\n",
	      out);
}

static void help_choice(FILE *out, enum setting_id id, u64 def, u64 min, u64 max)
{
	for (u64 value = min; value <= max; value++)
		fprintf(out, "%s%s", value == min ? " (" : " or ", options_choice(id, value));
	fprintf(out, "; %s)\n", options_choice(id, def));
}

static void help_settings(FILE *out)
{
	enum setting_id at;

#define SHOW_BOOL(def, min, max)   fprintf(out, " (on or off; %s)\n", (def) ? "on" : "off")
#define SHOW_NUMBER(def, min, max) fprintf(out, " (%d to %d; %d)\n", min, max, def)
#define SHOW_CHOICE(def, min, max) help_choice(out, at, def, min, max)
#define X(id, key, type, def, min, max, what)                                                      \
	at = SETTING_##id;                                                                         \
	fprintf(out, "  %-14s %s", key, what);                                                     \
	SHOW_##type(def, min, max);
	SETTINGS(X)
#undef X
#define X(key, what) fprintf(out, "  %-14s %s (default: 0, 1, 2 and so on)\n", key, what);
	SETTING_APIC_IDS(X)
#undef X
#undef SHOW_CHOICE
#undef SHOW_BOOL
#undef SHOW_NUMBER
	fputs("The whole machine's, before the first --vm:", out);
#define X(id, key, type, def, min, max, what)                                                      \
	if (options_is_machine_setting(SETTING_##id))                                              \
		fprintf(out, " %s", key);
	SETTINGS(X)
#undef X
	fputs(".\n", out);
}

static void help_statuses(FILE *out)
{
#define X(id, value, when) fprintf(out, "  %-5d %s\n", value, when);
	STATUSES(X)
#undef X
}

void options_help_run(FILE *out)
{
	fprintf(out,
	        "usage: postern run [OPTION]... [--vm [OPTION]...]... [-- COMMAND...]\n"
	        "\n"
	        "  -k KERNEL       Linux bzImage or 64-bit ELF test guest\n"
	        "                  (default: guest/vmlinuz beside the executable)\n"
	        "  --multiboot KERNEL\n"
	        "                  Multiboot 1 test kernel, on the conventions of QEMU's pc machine;\n"
	        "                  its command line is its name and CMDLINE (default: none); an\n"
	        "                  INITRD is its module\n"
	        "  --firmware FILE firmware, as SeaBIOS for QEMU's pc machine: a whole number of 4 KiB\n"
	        "                  pages, up to 16 MiB; starts by itself, without any of -k,\n"
	        "                  --multiboot, -i, -a and COMMAND\n"
	        "  -i INITRD       initial RAM file system (default: guest/initrd.img beside the\n"
	        "                  executable, if -k is absent or COMMAND is given)\n"
	        "  -a CMDLINE      the guest's whole kernel command line\n"
	        "                  (default: \"%s\")\n"
	        "  -c VCPUS        virtual CPUs, 1 to %u (default: 2)\n"
	        "  -m SIZE         guest memory, %lluM to %lluG, as in 512M or 1G (default: 512M)\n"
	        "  --pcpus N       physical CPUs, 1 to %u (default: VCPUS of all, but at most 2)\n"
	        "  --cpu MODEL     processor to stand for, see 'postern cpus' (default: barcelona);\n"
	        "                  QEMU runs those of AMD, Bochs those of Intel\n"
	        "  --set KEY=VALUE change a setting, see below; may be repeated\n"
	        "  --timeout S     end the run after S seconds of real time, as in 90 or 0.5\n"
	        "  --json FILE     write the report there (schema postern.report/1)\n"
	        "  --control PATH  listen there, at a UNIX socket, to 'postern control PATH ...'\n"
	        "  --icount[=N]    let the clock and the TSC count instructions, one in 2^N nanoseconds\n"
	        "                  (default: 0); one physical CPU; not on Bochs\n"
	        "  --quiet         no account and no status line\n"
	        "  --verbose       show the hypervisor's log on standard error\n"
	        "  --gdb PORT      let gdb debug VM 0: target remote 127.0.0.1:PORT (docs/debugging.md)\n"
	        "  --gdb-wait      VM 0 starts when gdb lets it\n"
	        "  --vm            begin another VM, up to %u in all: the -k, --multiboot, --firmware,\n"
	        "                  -i, -a, -c, -m, --cpu, --set and COMMAND behind it are that VM's; what\n"
	        "                  stands before the first --vm is VM 0's and the whole machine's\n"
	        "  -- COMMAND...   run this in the guest and return its exit status; one word is\n"
	        "                  shell text, several are a command and its arguments\n"
	        "\n"
	        "Keys, when standard input is a terminal: Ctrl-A X ends the run, Ctrl-A Ctrl-A\n"
	        "sends Ctrl-A; all others, Ctrl-C too, go to the guest.\n"
	        "\n"
	        "Settings:\n",
	        OPTIONS_CMDLINE, OPTIONS_MAX_VCPUS, OPTIONS_MIN_MEMORY >> 20,
	        OPTIONS_MAX_MEMORY >> 30, OPTIONS_MAX_PCPUS, MAX_VMS);
	help_settings(out);
	fputs("\nExit status: what the guest or COMMAND returned when it ended by itself, otherwise\n"
	      "one of these; of several VMs, the status of the first that is not 0:\n",
	      out);
	help_statuses(out);
	fputs("\nEnvironment: POSTERN_QEMU names QEMU (qemu-system-x86_64), POSTERN_BOCHS Bochs (bochs),\n"
	      "POSTERN_IMAGE the hypervisor's image (postern.elf beside the executable),\n"
	      "POSTERN_TCG=multi asks QEMU for one host thread for each processor (QEMU 7.2 is not safe\n"
	      "with that), TMPDIR the place for temporary files.\n",
	      out);
}

/* The features that make a difference, and the first acceleration that includes each. */
static const struct {
	const char *name;
	const char *vendor; /* NULL: both */
	enum cpu_acceleration since;
	bool native; /* the emulated processor has it */
} cpu_features[] = {
        {"svm", "AMD", CPU_ACCEL_NONE, true},
        {"vmx", "Intel", CPU_ACCEL_NONE, true},
        {"nested-paging", NULL, CPU_ACCEL_NONE, true},
        {"avic", "AMD", CPU_ACCEL_AVIC, false},
        {"x2avic", "AMD", CPU_ACCEL_X2AVIC, false},
        {"apicv", "Intel", CPU_ACCEL_APICV, true},
        {"posted-interrupts", "Intel", CPU_ACCEL_APICV, false},
        {"ipi-virtualization", "Intel", CPU_ACCEL_IPIV, false},
};

/*
 * On the emulated processor. QEMU's has what every model of AMD has and nothing beyond; Bochs's has APICv,
 * too, but neither of the two that came later.
 */
static const char *feature_state(u32 feature, const char *vendor,
                                 enum cpu_acceleration acceleration)
{
	enum cpu_acceleration since = cpu_features[feature].since;

	if (cpu_features[feature].vendor && strcmp(cpu_features[feature].vendor, vendor) != 0)
		return "-";
	if (acceleration < since)
		return "hidden";
	return cpu_features[feature].native ? "native" : "modelled";
}

#define FEATURE_WIDTH(name) (sizeof(name) > 11 ? (int)sizeof(name) - 1 : 10)

static void list_features(FILE *out)
{
	fprintf(out, "\n%-18s", "FEATURE");
#define X(name, vendor, accel, what) fprintf(out, " %*s", FEATURE_WIDTH(name), name);
	CPU_MODELS(X)
#undef X
	for (u32 i = 0; i < ARRAY_SIZE(cpu_features); i++) {
		fprintf(out, "\n%-18s", cpu_features[i].name);
#define X(name, vendor, accel, what)                                                               \
	fprintf(out, " %*s", FEATURE_WIDTH(name), feature_state(i, vendor, CPU_ACCEL_##accel));
		CPU_MODELS(X)
#undef X
	}
	fputc('\n', out);
}

void options_list_cpus(FILE *out)
{
	fprintf(out, "%-16s %-6s %s\n", "MODEL", "VENDOR", "STANDS FOR");
#define X(name, vendor, accel, what) fprintf(out, "%-16s %-6s %s\n", name, vendor, what);
	CPU_MODELS(X)
#undef X
	list_features(out);
	fputs("\nThat is on the emulated processor. What is modelled costs instructions that are counted\n"
	      "apart. On a real processor each feature that it has is native, unless hidden; the log\n"
	      "of a run (--verbose) says what it found and what it models.\n",
	      out);
}
