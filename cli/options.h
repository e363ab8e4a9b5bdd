/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of `postern run`, checked. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdio.h>

#include "postern/apic_ids.h"
#include "postern/settings.h"
#include "postern/types.h"

#define OPTIONS_VERSION     "0.1.0"
#define OPTIONS_MAX_VCPUS   64u
#define OPTIONS_MAX_PCPUS   16u
#define OPTIONS_MIN_MEMORY  (16ull << 20)
#define OPTIONS_MAX_MEMORY  (64ull << 30)
#define OPTIONS_MAX_SECONDS 1000000u
#define OPTIONS_MAX_PORT    65535u
#define OPTIONS_MAX_SHIFT   10u /* what QEMU takes */
#define OPTIONS_CMDLINE     "console=ttyS0 quiet panic=-1"
#define OPTIONS_MAX_CMDLINE 2047u /* what Linux on x86 takes (COMMAND_LINE_SIZE less the NUL) */

/* What is given for each VM. */
struct options_vm {
	const char *kernel;   /* NULL: the demonstration guest's */
	bool multiboot;       /* `kernel` is a Multiboot kernel, to be loaded as one */
	const char *firmware; /* in the place of all files of a guest; NULL: none */
	const char *initrd;   /* NULL: see options_wants_demo_initrd() */
	const char *cmdline;  /* never NULL */
	const char *cpu;      /* a name of CPU_MODELS */
	u32 vcpus;
	u64 memory; /* bytes */
	bool has_setting[SETTING_COUNT];
	u64 setting[SETTING_COUNT]; /* the machine's are VM 0's */
	struct apic_ids apic_ids;
	char *const *command; /* the words after "--" */
	int command_words;    /* 0: none */
};

struct options {
	struct options_vm vm[MAX_VMS];
	u32 vms;             /* at least 1 */
	const char *json;    /* NULL: none */
	const char *control; /* NULL: none; otherwise it fits a socket's address */
	u32 pcpus;
	u64 timeout_ns; /* 0: none */
	bool quiet;
	bool icount;      /* count instructions instead of time: */
	u32 icount_shift; /* each is 2^this nanoseconds */
	bool verbose;
	u32 gdb_port;  /* 0: no debugger */
	bool gdb_wait; /* VM 0 starts when it says so */
};

enum options_result {
	OPTIONS_OK,
	OPTIONS_HELP, /* asked for, not yet printed */
	OPTIONS_BAD,  /* one line has been printed */
};

/* argv[0] is the subcommand's name. */
enum options_result options_parse(struct options *options, int argc, char *const argv[]);

/* The demonstration guest's initrd is meant: its kernel is, or COMMAND needs something to run it.
 */
bool options_wants_demo_initrd(const struct options_vm *vm);

/* "512M", "1G" to bytes. false: not of that form, or too large for 64 bits. */
bool options_parse_size(const char *text, u64 *bytes);
/* "90", "0.5" to nanoseconds; more than 0, at most OPTIONS_MAX_SECONDS. */
bool options_parse_seconds(const char *text, u64 *ns);

void options_help(FILE *out);     /* postern --help */
void options_help_run(FILE *out); /* postern run --help */
void options_list_cpus(FILE *out);

/* Of the processors that the VMs name, as in CPU_MODELS: it is the same for all. */
const char *options_vendor(const struct options *options);

/* Of all VMs together. */
u32 options_vcpus(const struct options *options);
u64 options_memory(const struct options *options);

/* The setting is the whole machine's, not one VM's. */
bool options_is_machine_setting(u32 id);

/* It may be changed while the guest runs. */
bool options_is_runtime_setting(u32 id);
const char *options_key(u32 id);

/* The name of a CHOICE setting's value, NULL if the setting is none or has no such value. */
const char *options_choice(enum setting_id id, u64 value);

#endif
