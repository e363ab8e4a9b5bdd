/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines KEY=VALUE; a line that is not understood is an error, never ignored. */
#include "core/config.h"
#include "irq/accel.h"
#include "postern/port.h"
#include "postern/string.h"

#define LINE_MAX       1024 /* a list of 64 APIC IDs fits */
#define SHOWN_MAX      120  /* of a line, in the message about it */
#define DEFAULT_VCPUS  2
#define DEFAULT_MEMORY (512ull << 20)

enum setting_type {
	BOOL,
	NUMBER,
	CHOICE
};

struct setting {
	const char *key;
	enum setting_type type;
	u64 initial, minimum, maximum;
};

static const struct setting settings[SETTING_COUNT] = {
#define X(id, key, type, def, min, max, what) [SETTING_##id] = {key, type, def, min, max},
        SETTINGS(X)
#undef X
};

static bool parse_number(const char *text, u64 *value)
{
	*value = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || *value > (~0ull - 9) / 10)
			return false;
		*value = *value * 10 + (u64)(*text - '0');
	}
	return true;
}

static bool parse_bool(const char *text, u64 *value)
{
	if (!strcmp(text, "on") || !strcmp(text, "1"))
		*value = 1;
	else if (!strcmp(text, "off") || !strcmp(text, "0"))
		*value = 0;
	else
		return false;
	return true;
}

static bool parse_choice(enum setting_id id, const char *text, u64 *value)
{
	static const struct {
		enum setting_id id;
		u64 value;
		const char *name;
	} choices[] = {
#define X(setting, value, name) {SETTING_##setting, value, name},
	        SETTING_CHOICES(X)
#undef X
	};

	for (u32 i = 0; i < ARRAY_SIZE(choices); i++) {
		if (choices[i].id != id || strcmp(choices[i].name, text))
			continue;
		*value = choices[i].value;
		return true;
	}
	return false;
}

static bool parse_value(enum setting_id id, const char *text, u64 *value)
{
	switch (settings[id].type) {
	case BOOL:
		return parse_bool(text, value);
	case CHOICE:
		return parse_choice(id, text, value);
	default:
		return parse_number(text, value);
	}
}

static bool is_machine_setting(u32 id)
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

static const char apic_ids_key[] =
#define X(key, what) key
        SETTING_APIC_IDS(X)
#undef X
        ;

/* The parsers of a line's value return what is wrong with it, NULL if nothing is. */
const char *config_value(const char *key, const char *text, enum setting_id *id, u64 *value)
{
	for (u32 i = 0; i < SETTING_COUNT; i++) {
		const struct setting *setting = &settings[i];

		if (strcmp(key, setting->key))
			continue;
		*id = (enum setting_id)i;
		if (!parse_value(*id, text, value))
			return "not a value of this setting";
		if (*value < setting->minimum || *value > setting->maximum)
			return "out of this setting's range";
		return NULL;
	}
	return "no such setting";
}

static const char *parse_setting(struct config *config, const char *key, const char *text)
{
	enum setting_id id;
	const char *wrong;
	u64 value;

	if (!strcmp(key, apic_ids_key))
		return apic_ids_parse(&config->vm[config->vm_count - 1].apic_ids, text);
	wrong = config_value(key, text, &id, &value);
	if (wrong)
		return wrong;
	if (config->vm_count > 1 && is_machine_setting(id))
		return "a setting of the machine, not of one VM";
	config->setting[id] = value;
	return NULL;
}

static u32 accel_modes(enum cpu_acceleration acceleration)
{
	switch (acceleration) {
	case CPU_ACCEL_AVIC:
		return ACCEL_MODE(ACCEL_XAPIC);
	case CPU_ACCEL_X2AVIC:
	case CPU_ACCEL_APICV:
	case CPU_ACCEL_IPIV:
		return ACCEL_MODE(ACCEL_XAPIC) | ACCEL_MODE(ACCEL_X2APIC);
	default:
		return 0;
	}
}

static const struct {
	const char *name, *vendor;
	enum cpu_acceleration acceleration;
} models[] = {
#define X(name, vendor, accel, what) {name, vendor, CPU_ACCEL_##accel},
        CPU_MODELS(X)
#undef X
};

/* `name`, or the first one if it is "", is a processor of `vendor`. */
static bool is_model_of(u32 i, const char *name, const char *vendor)
{
	return !strcmp(models[i].vendor, vendor) && (!*name || !strcmp(models[i].name, name));
}

static void name_processor(struct config *config, u32 vm, const char *name)
{
	memcpy(config->cpu[vm], name, strlen(name) + 1);
}

bool config_settle_processors(struct config *config, const char *vendor, const char **wrong)
{
	for (u32 vm = 0; vm < config->vm_count; vm++) {
		u32 i = 0;

		while (i < ARRAY_SIZE(models) && !is_model_of(i, config->cpu[vm], vendor))
			i++;
		if (i == ARRAY_SIZE(models)) {
			*wrong = config->cpu[vm];
			return false;
		}
		name_processor(config, vm, models[i].name);
	}
	return true;
}

static const char *parse_cpu(struct config *config, const char *text)
{
	for (u32 i = 0; i < ARRAY_SIZE(models); i++) {
		if (strcmp(models[i].name, text))
			continue;
		name_processor(config, config->vm_count - 1, text);
		config->vm[config->vm_count - 1].accel_modes = accel_modes(models[i].acceleration);
		return NULL;
	}
	return "no such processor";
}

/* The lines from here on are the next VM's, which begins with the defaults. */
static void begin_vm(struct config *config)
{
	u32 id = config->vm_count++;

	config->vm[id] = VM_CONFIG_DEFAULT;
	config->vm[id].vcpus = DEFAULT_VCPUS;
	config->vm[id].memory = DEFAULT_MEMORY;
	config->vm[id].cpu = config->cpu[id];
	config->cpu[id][0] = 0;
	for (u32 i = 0; i < SETTING_COUNT; i++)
		if (!id || !is_machine_setting(i))
			config->setting[i] = settings[i].initial;
}

/* What its lines say, together. NULL, or what is wrong with that. */
static const char *finish_vm(struct config *config)
{
	struct vm_config *vm = &config->vm[config->vm_count - 1];

	vm->x2apic = config->setting[SETTING_X2APIC];
	if (!config->setting[SETTING_APICV])
		vm->accel_modes = 0;
	vm->tsc_deadline = config->setting[SETTING_TSC_DEADLINE];
	vm->kvm_clock = config->setting[SETTING_KVM_CLOCK];
	vm->hyperv = config->setting[SETTING_HYPERV];
	vm->hv_autoeoi = config->setting[SETTING_HYPERV_AUTOEOI];
	vm->testdev = config->setting[SETTING_TESTDEV];
	vm->msidevs = (u32)config->setting[SETTING_MSIDEV];
	vm->msidev_assigned = config->setting[SETTING_MSIDEV_ASSIGNED];
	vm->irqchip_split = config->setting[SETTING_IRQCHIP] == IRQCHIP_SPLIT;
	vm->pit_reinject = config->setting[SETTING_PIT_REINJECT];
	vm->inhibit_storm = (u32)config->setting[SETTING_INHIBIT_STORM];
	return apic_ids_check(&vm->apic_ids, vm->vcpus, vm->x2apic);
}

/* The next VM's number. NULL, or what is wrong with it or with the VM that ends here. */
static const char *parse_vm(struct config *config, u64 value)
{
	const char *wrong = finish_vm(config);

	if (wrong)
		return wrong;
	if (value != config->vm_count || value >= MAX_VMS)
		return "not the number of the next VM";
	begin_vm(config);
	return NULL;
}

static const char *parse_pair(struct config *config, const char *key, const char *text)
{
	struct vm_config *vm = &config->vm[config->vm_count - 1];
	u64 value;

	if (!strcmp(key, "cpu"))
		return parse_cpu(config, text);
	if (!strncmp(key, "set.", 4))
		return parse_setting(config, key + 4, text);
	if (!parse_number(text, &value))
		value = ~0ull;
	if (!strcmp(key, "vcpus")) {
		if (value < 1 || value > MAX_VCPUS)
			return "not a number of vCPUs that a VM can have";
		vm->vcpus = (u32)value;
	} else if (!strcmp(key, "memory")) {
		if (!value || value % PAGE_SIZE_2M)
			return "not a number of bytes, or no multiple of 2 MiB";
		vm->memory = value;
	} else if (!strcmp(key, "reserve-boot-cpu")) {
		if (config->vm_count > 1)
			return "a setting of the machine, not of one VM";
		if (value > 1)
			return "neither 0 nor 1";
		config->reserve_boot_cpu = value;
	} else if (!strcmp(key, "debugger-wait")) {
		if (config->vm_count > 1)
			return "a setting of the machine, not of one VM";
		if (value > 1)
			return "neither 0 nor 1";
		config->debugger_wait = value;
	} else if (!strcmp(key, "vm")) {
		return parse_vm(config, value);
	} else {
		return "no such key";
	}
	return NULL;
}

/* The line and what is wrong with it; of a long line its beginning, so that the reason is seen. */
static void complain(const char *line, const char *wrong)
{
	char shown[SHOWN_MAX + 4];
	u64 length = strlen(line);

	memcpy(shown, line, min_u64(length + 1, SHOWN_MAX));
	if (length >= SHOWN_MAX)
		memcpy(shown + SHOWN_MAX, "...", 4);
	port_log("error: configuration: %s: %s", shown, wrong);
}

static bool parse_line(struct config *config, char *line)
{
	const char *wrong = "not of the form KEY=VALUE";
	char *equals = line;

	if (!*line || *line == '#')
		return true;
	while (*equals && *equals != '=')
		equals++;
	if (*equals) {
		*equals = 0;
		wrong = parse_pair(config, line, equals + 1);
		*equals = '=';
	}
	if (wrong)
		complain(line, wrong);
	return !wrong;
}

bool config_parse(struct config *config, const char *text, u64 size)
{
	char line[LINE_MAX];
	const char *wrong;
	u32 length = 0;

	memset(config, 0, sizeof(*config));
	begin_vm(config);
	for (u64 i = 0; text && i <= size; i++) {
		char c = i < size ? text[i] : '\n';

		if (c == '\r')
			continue;
		if (c != '\n') {
			if (length == LINE_MAX - 1) {
				port_log(
				        "error: configuration: a line is longer than %u characters",
				        LINE_MAX - 1);
				return false;
			}
			line[length++] = c;
			continue;
		}
		line[length] = 0;
		length = 0;
		if (!parse_line(config, line))
			return false;
	}
	wrong = finish_vm(config);
	if (wrong)
		complain("the last VM's lines", wrong);
	return !wrong;
}
