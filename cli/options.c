/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command-line parsing. Everything is checked here, before anything is started: each refusal is one
 * line that names the option, the value and what would be right.
 */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cli/say.h"

enum setting_type {
	BOOL,
	NUMBER,
	CHOICE
};

struct setting {
	const char *key;
	enum setting_type type;
	u64 min;
	u64 max;
};

static const struct setting settings[] = {
#define X(id, key, type, def, min, max, what) [SETTING_##id] = {key, type, min, max},
        SETTINGS(X)
#undef X
};

static const char apic_ids_key[] =
#define X(key, what) key
        SETTING_APIC_IDS(X)
#undef X
        ;

static const struct {
	const char *name, *vendor;
} cpu_models[] = {
#define X(name, vendor, accel, what) {name, vendor},
        CPU_MODELS(X)
#undef X
};

enum {
	OPT_PCPUS = 256,
	OPT_MULTIBOOT,
	OPT_FIRMWARE,
	OPT_CPU,
	OPT_SET,
	OPT_TIMEOUT,
	OPT_JSON,
	OPT_CONTROL,
	OPT_ICOUNT,
	OPT_QUIET,
	OPT_VERBOSE,
	OPT_GDB,
	OPT_GDB_WAIT,
	OPT_VM
};

static const struct option long_options[] = {
        {"multiboot", required_argument, NULL, OPT_MULTIBOOT},
        {"firmware", required_argument, NULL, OPT_FIRMWARE},
        {"pcpus", required_argument, NULL, OPT_PCPUS},
        {"cpu", required_argument, NULL, OPT_CPU},
        {"set", required_argument, NULL, OPT_SET},
        {"timeout", required_argument, NULL, OPT_TIMEOUT},
        {"json", required_argument, NULL, OPT_JSON},
        {"control", required_argument, NULL, OPT_CONTROL},
        {"icount", optional_argument, NULL, OPT_ICOUNT},
        {"quiet", no_argument, NULL, OPT_QUIET},
        {"verbose", no_argument, NULL, OPT_VERBOSE},
        {"gdb", required_argument, NULL, OPT_GDB},
        {"gdb-wait", no_argument, NULL, OPT_GDB_WAIT},
        {"vm", no_argument, NULL, OPT_VM},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
};

/* Decimal digits only: strtoull() alone would take signs, blanks and "0x". */
static bool parse_number(const char *text, const char **end, u64 *value)
{
	char *stop;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*value = strtoull(text, &stop, 10);
	*end = stop;
	return errno == 0;
}

bool options_parse_size(const char *text, u64 *bytes)
{
	const char *end;
	u64 value;
	int shift;

	if (!parse_number(text, &end, &value))
		return false;
	switch (*end) {
	case 'M':
	case 'm':
		shift = 20;
		break;
	case 'G':
	case 'g':
		shift = 30;
		break;
	default:
		return false;
	}
	if (end[1] != 0 || value > UINT64_MAX >> shift)
		return false;
	*bytes = value << shift;
	return true;
}

bool options_parse_seconds(const char *text, u64 *ns)
{
	u64 fraction = 0;
	u64 unit = 100000000; /* nanoseconds of the next decimal place */
	const char *end;
	u64 seconds;

	if (!parse_number(text, &end, &seconds) || seconds > OPTIONS_MAX_SECONDS)
		return false;
	if (*end == '.') {
		for (end++; isdigit((unsigned char)*end); end++, unit /= 10)
			fraction += (u64)(*end - '0') * unit;
	}
	*ns = seconds * 1000000000 + fraction;
	return *end == 0 && *ns > 0 && *ns <= OPTIONS_MAX_SECONDS * 1000000000ull;
}

static bool parse_count(const char *option, const char *text, u32 max, u32 *count)
{
	const char *end;
	u64 value;

	if (!parse_number(text, &end, &value) || *end != 0 || value < 1 || value > max) {
		say("%s %s: not a number from 1 to %u", option, text, max);
		return false;
	}
	*count = (u32)value;
	return true;
}

static bool parse_icount(struct options *options, const char *text)
{
	const char *end;
	u64 shift = 0;

	if (text && (!parse_number(text, &end, &shift) || *end != 0 || shift > OPTIONS_MAX_SHIFT)) {
		say("--icount=%s: not a number from 0 to %u", text, OPTIONS_MAX_SHIFT);
		return false;
	}
	options->icount = true;
	options->icount_shift = (u32)shift;
	return true;
}

static bool parse_memory(const char *text, u64 *memory)
{
	if (!options_parse_size(text, memory)) {
		say("-m %s: not a size; give a number with M or G, as in 512M or 1G", text);
		return false;
	}
	if (*memory < OPTIONS_MIN_MEMORY || *memory > OPTIONS_MAX_MEMORY) {
		say("-m %s: the guest's memory must be from %lluM to %lluG", text,
		    OPTIONS_MIN_MEMORY >> 20, OPTIONS_MAX_MEMORY >> 30);
		return false;
	}
	if (*memory % PAGE_SIZE_2M != 0) {
		say("-m %s: the guest's memory must be a multiple of 2M", text);
		return false;
	}
	return true;
}

static bool parse_cpu(const char *text, const char **cpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(cpu_models); i++) {
		if (strcmp(text, cpu_models[i].name) != 0)
			continue;
		*cpu = cpu_models[i].name;
		return true;
	}
	say("--cpu %s: no such processor; 'postern cpus' lists them", text);
	return false;
}

static bool parse_bool(const char *text, u64 *value)
{
	static const char *const words[2][4] = {
	        {"0", "off", "no", "false"},
	        {"1", "on", "yes", "true"},
	};

	for (u64 v = 0; v < 2; v++) {
		for (size_t i = 0; i < ARRAY_SIZE(words[v]); i++) {
			if (strcmp(text, words[v][i]) == 0) {
				*value = v;
				return true;
			}
		}
	}
	return false;
}

const char *options_choice(enum setting_id id, u64 value)
{
	static const struct {
		enum setting_id id;
		u64 value;
		const char *name;
	} choices[] = {
#define X(setting, choice, name) {SETTING_##setting, choice, name},
	        SETTING_CHOICES(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		if (choices[i].id == id && choices[i].value == value)
			return choices[i].name;
	}
	return NULL;
}

static bool parse_choice(enum setting_id id, const char *text, u64 *value)
{
	char names[80] = "";

	for (*value = settings[id].min; *value <= settings[id].max; (*value)++) {
		const char *name = options_choice(id, *value);

		if (strcmp(text, name) == 0)
			return true;
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
		         *names ? " or " : "", name);
	}
	say("--set %s=%s: not %s", settings[id].key, text, names);
	return false;
}

static bool parse_value(const struct setting *setting, const char *text, u64 *value)
{
	const char *end;

	if (setting->type == CHOICE)
		return parse_choice((enum setting_id)(setting - settings), text, value);
	if (setting->type == BOOL) {
		if (parse_bool(text, value))
			return true;
		say("--set %s=%s: not on or off", setting->key, text);
		return false;
	}
	if (parse_number(text, &end, value) && *end == 0 && *value >= setting->min &&
	    *value <= setting->max)
		return true;
	say("--set %s=%s: not a number from %llu to %llu", setting->key, text,
	    (unsigned long long)setting->min, (unsigned long long)setting->max);
	return false;
}

bool options_is_machine_setting(u32 id)
{
	switch (id) {
#define X(setting) case SETTING_##setting:
		MACHINE_SETTINGS(X)
#undef X
		return true;
	default:
		return false;
	}
}

bool options_is_runtime_setting(u32 id)
{
	switch (id) {
#define X(setting) case SETTING_##setting:
		RUNTIME_SETTINGS(X)
#undef X
		return true;
	default:
		return false;
	}
}

const char *options_key(u32 id)
{
	return settings[id].key;
}

static bool is_key(const char *key, const char *text, const char *end)
{
	return strlen(key) == (size_t)(end - text) && strncmp(text, key, strlen(key)) == 0;
}

static bool parse_apic_ids(struct apic_ids *ids, const char *text)
{
	const char *wrong = apic_ids_parse(ids, text);

	if (wrong)
		say("--set %s=%s: %s", apic_ids_key, text, wrong);
	return !wrong;
}

/* `first`: the VM is VM 0, where the whole machine's settings stand too. */
static bool parse_setting(struct options_vm *vm, bool first, const char *text)
{
	const char *equals = strchr(text, '=');

	if (!equals) {
		say("--set %s: not of the form KEY=VALUE", text);
		return false;
	}
	if (is_key(apic_ids_key, text, equals))
		return parse_apic_ids(&vm->apic_ids, equals + 1);
	for (u32 i = 0; i < SETTING_COUNT; i++) {

		if (!is_key(settings[i].key, text, equals))
			continue;
		if (!first && options_is_machine_setting(i)) {
			say("--set %s: it is the whole machine's and goes before the first --vm",
			    settings[i].key);
			return false;
		}
		vm->has_setting[i] = true;
		return parse_value(&settings[i], equals + 1, &vm->setting[i]);
	}
	say("--set %s: no such setting; 'postern run --help' lists them", text);
	return false;
}

static bool parse_cmdline(const char *text, const char **cmdline)
{
	if (strlen(text) > OPTIONS_MAX_CMDLINE) {
		say("-a: the kernel command line is longer than %u characters",
		    OPTIONS_MAX_CMDLINE);
		return false;
	}
	*cmdline = text;
	return true;
}

static bool parse_timeout(const char *text, u64 *ns)
{
	if (options_parse_seconds(text, ns))
		return true;
	say("--timeout %s: not a number of seconds above 0 and up to %u", text,
	    OPTIONS_MAX_SECONDS);
	return false;
}

static bool parse_control(const char *text, const char **path)
{
	const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	if (!*text || strlen(text) > most) {
		say("--control %s: not the path of a socket: 1 to %zu characters", text, most);
		return false;
	}
	*path = text;
	return true;
}

/* One guest, one kernel: -k and --multiboot exclude each other, and the last -k counts. */
static bool parse_kernel(struct options_vm *vm, int option, const char *value)
{
	bool multiboot = option == OPT_MULTIBOOT;

	if (vm->kernel && vm->multiboot != multiboot) {
		say("-k and --multiboot: a guest has one kernel, give one of them");
		return false;
	}
	vm->kernel = value;
	vm->multiboot = multiboot;
	return true;
}

static void begin_vm(struct options *options)
{
	options->vm[options->vms++] = (struct options_vm){
	        .cpu = cpu_models[0].name,
	        .vcpus = 2,
	        .memory = 512ull << 20,
	};
}

static bool parse_vm(struct options *options)
{
	if (options->vms == MAX_VMS) {
		say("--vm: more VMs than %u", MAX_VMS);
		return false;
	}
	begin_vm(options);
	return true;
}

/* An option of the whole machine, behind a --vm. */
static bool is_misplaced(const struct options *options, int option)
{
	static const int machine[] = {OPT_PCPUS, OPT_TIMEOUT, OPT_JSON, OPT_CONTROL, OPT_ICOUNT,
	                              OPT_QUIET, OPT_VERBOSE, OPT_GDB,  OPT_GDB_WAIT};

	for (size_t i = 0; options->vms > 1 && i < ARRAY_SIZE(machine); i++)
		if (machine[i] == option)
			return true;
	return false;
}

static const char *long_name(int option)
{
	const struct option *at = long_options;

	while (at->val != option)
		at++;
	return at->name;
}

static bool parse_option(struct options *options, int option, const char *value)
{
	struct options_vm *vm = &options->vm[options->vms - 1];

	if (is_misplaced(options, option)) {
		say("--%s: it is for the whole machine and goes before the first --vm",
		    long_name(option));
		return false;
	}
	switch (option) {
	case 'k':
	case OPT_MULTIBOOT:
		return parse_kernel(vm, option, value);
	case OPT_FIRMWARE:
		vm->firmware = value;
		return true;
	case 'i':
		vm->initrd = value;
		return true;
	case 'a':
		return parse_cmdline(value, &vm->cmdline);
	case 'c':
		return parse_count("-c", value, OPTIONS_MAX_VCPUS, &vm->vcpus);
	case 'm':
		return parse_memory(value, &vm->memory);
	case OPT_VM:
		return parse_vm(options);
	case OPT_PCPUS:
		return parse_count("--pcpus", value, OPTIONS_MAX_PCPUS, &options->pcpus);
	case OPT_CPU:
		return parse_cpu(value, &vm->cpu);
	case OPT_SET:
		return parse_setting(vm, options->vms == 1, value);
	case OPT_TIMEOUT:
		return parse_timeout(value, &options->timeout_ns);
	case OPT_JSON:
		options->json = value;
		return true;
	case OPT_CONTROL:
		return parse_control(value, &options->control);
	case OPT_ICOUNT:
		return parse_icount(options, value);
	case OPT_QUIET:
		options->quiet = true;
		return true;
	case OPT_VERBOSE:
		options->verbose = true;
		return true;
	case OPT_GDB:
		return parse_count("--gdb", value, OPTIONS_MAX_PORT, &options->gdb_port);
	case OPT_GDB_WAIT:
		options->gdb_wait = true;
		return true;
	default:
		return false;
	}
}

/* `at`: the argument that getopt_long() was reading when it gave up. */
static void complain(int result, const char *at)
{
	if (result == 1)
		say("unexpected argument '%s'; a command for the guest goes behind --", optarg);
	else if (result == ':')
		say("option %s needs a value", at);
	else if (strncmp(at, "--", 2) != 0 && optopt)
		say("unknown option -%c; see 'postern run --help'", optopt);
	else if (optopt)
		say("option %s takes no value", at);
	else
		say("unknown or ambiguous option %s; see 'postern run --help'", at);
}

static const char *vendor_of(const struct options_vm *vm)
{
	for (size_t i = 0; i < ARRAY_SIZE(cpu_models); i++)
		if (strcmp(cpu_models[i].name, vm->cpu) == 0)
			return cpu_models[i].vendor;
	return "";
}

const char *options_vendor(const struct options *options)
{
	return vendor_of(&options->vm[0]);
}

static bool check_vendor(const struct options *options)
{
	const char *vendor = options_vendor(options);

	for (u32 i = 1; i < options->vms; i++) {
		if (strcmp(vendor_of(&options->vm[i]), vendor) == 0)
			continue;
		say("--cpu: the machine is of one vendor: not both %s and %s", options->vm[0].cpu,
		    options->vm[i].cpu);
		return false;
	}
	return true;
}

u32 options_vcpus(const struct options *options)
{
	u32 vcpus = 0;

	for (u32 i = 0; i < options->vms; i++)
		vcpus += options->vm[i].vcpus;
	return vcpus;
}

u64 options_memory(const struct options *options)
{
	u64 memory = 0;

	for (u32 i = 0; i < options->vms; i++)
		memory += options->vm[i].memory;
	return memory;
}

static bool check_apic_ids(const struct options_vm *vm)
{
	bool x2apic = !vm->has_setting[SETTING_X2APIC] || vm->setting[SETTING_X2APIC];
	const char *wrong = apic_ids_check(&vm->apic_ids, vm->vcpus, x2apic);

	if (wrong)
		say("--set %s: %s", apic_ids_key, wrong);
	return !wrong;
}

/* Firmware loads by itself what it finds, so that there is nothing to hand it over. */
static bool is_alone(const struct options_vm *vm)
{
	const char *other = NULL;

	if (vm->kernel)
		other = vm->multiboot ? "--multiboot" : "-k";
	else if (vm->initrd)
		other = "-i";
	else if (vm->cmdline)
		other = "-a";
	else if (vm->command_words > 0)
		other = "a command behind --";
	if (other)
		say("--firmware: %s does not go with it; firmware starts what it finds by itself",
		    other);
	return !other;
}

/* What the options of one VM leave open, and what they do not allow together. */
static bool finish_vm(struct options_vm *vm)
{
	if (vm->firmware && !is_alone(vm))
		return false;
	if (!vm->cmdline)
		vm->cmdline = vm->multiboot ? "" : OPTIONS_CMDLINE;
	if (vm->multiboot && vm->command_words > 0) {
		say("--multiboot: a command behind -- needs a Linux guest");
		return false;
	}
	if (vm->multiboot && !vm->has_setting[SETTING_TESTDEV]) {
		vm->has_setting[SETTING_TESTDEV] = true;
		vm->setting[SETTING_TESTDEV] = 1;
	}
	return check_apic_ids(vm);
}

/* The same for the whole machine. */
static bool finish(struct options *options)
{
	for (u32 i = 0; i < options->vms; i++)
		if (!finish_vm(&options->vm[i]))
			return false;
	if (!check_vendor(options))
		return false;
	if (options_memory(options) > OPTIONS_MAX_MEMORY) {
		say("-m: the memory of all VMs together is %lluM, more than %lluG",
		    (unsigned long long)options_memory(options) >> 20, OPTIONS_MAX_MEMORY >> 30);
		return false;
	}
	if (options->gdb_wait && !options->gdb_port) {
		say("--gdb-wait: there is nobody to wait for without --gdb PORT");
		return false;
	}
	if (options->icount && strcmp(options_vendor(options), "AMD") != 0) {
		say("--icount: QEMU counts instructions, and --cpu %s runs on Bochs",
		    options->vm[0].cpu);
		return false;
	}
	if (options->icount && options->pcpus > 1) {
		say("--icount: instructions are counted on one processor, not on %u",
		    options->pcpus);
		return false;
	}
	if (options->icount)
		options->pcpus = 1;
	if (options->pcpus == 0)
		options->pcpus = (u32)min_u64(options_vcpus(options), 2);
	return true;
}

enum options_result options_parse(struct options *options, int argc, char *const argv[])
{
	struct options_vm *last;
	int result;

	*options = (struct options){0};
	begin_vm(options);
	optind = 0; /* glibc: start afresh, also when called more than once */
	for (;;) {
		int at = optind > 0 ? optind : 1;

		result = getopt_long(argc, argv, "-:k:i:a:c:m:h", long_options, NULL);
		if (result == -1)
			break;
		if (result == 'h')
			return OPTIONS_HELP;
		if (result == '?' || result == ':' || result == 1) {
			complain(result, argv[at]);
			return OPTIONS_BAD;
		}
		if (!parse_option(options, result, optarg))
			return OPTIONS_BAD;
	}
	last = &options->vm[options->vms - 1];
	last->command = argv + optind;
	last->command_words = argc - optind;
	if (last->command_words == 0 && strcmp(argv[argc - 1], "--") == 0 && argc > 1) {
		say("nothing behind --: give the command for the guest");
		return OPTIONS_BAD;
	}
	return finish(options) ? OPTIONS_OK : OPTIONS_BAD;
}

bool options_wants_demo_initrd(const struct options_vm *vm)
{
	return !vm->initrd && !vm->firmware && (!vm->kernel || vm->command_words > 0);
}
