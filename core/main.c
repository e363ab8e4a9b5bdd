/* SPDX-License-Identifier: BSD-2-Clause */
/* From configuration to the final report, on the boot processor. */
#include "core/main.h"
#include "core/command.h"
#include "core/config.h"
#include "core/debug.h"
#include "core/machine.h"
#include "core/report.h"
#include "platform/firmware.h"
#include "platform/platform.h"
#include "postern/port.h"
#include "postern/report.h"
#include "postern/string.h"

#define HOUSEKEEPING_NS 10000000ull /* console and commands */
#define DEBUGGER_NS     200000ull   /* the same, while a debugger waits */
#define STATUS_NS       250000000ull
#define ACCOUNT_NS      1000000000ull
#define CMDLINE_MAX     2048

static const char elf_magic[] = "\177ELF";

/* --- loading --- */

/* Boot file NAME0 .. NAME3 of a VM. */
static const void *vm_file(u32 id, const char *name, u64 *size)
{
	char full[16];
	u64 length = strlen(name);

	memcpy(full, name, length);
	full[length] = (char)('0' + id);
	full[length + 1] = 0;
	return port_file(full, size);
}

static void copy_cmdline(struct vm *vm, char *cmdline)
{
	u64 size = 0;
	const char *text = vm_file(vm->id, "cmdline", &size);

	if (!text)
		size = 0;
	size = min_u64(size, CMDLINE_MAX - 1);
	if (size)
		memcpy(cmdline, text, size);
	while (size && (cmdline[size - 1] == '\n' || cmdline[size - 1] == '\r'))
		size--;
	cmdline[size] = 0;
}

static bool load_guest(struct vm *vm, struct refusal *refusal)
{
	u64 kernel_size, multiboot_size, initrd_size = 0;
	const void *kernel = vm_file(vm->id, "kernel", &kernel_size);
	const void *multiboot = vm_file(vm->id, "multiboot", &multiboot_size);
	const void *initrd = vm_file(vm->id, "initrd", &initrd_size);
	char cmdline[CMDLINE_MAX];

	if (vm->rom.size)
		return true; /* vCPU 0 starts there */
	copy_cmdline(vm, cmdline);
	if (multiboot)
		return multiboot_load(vm, multiboot, multiboot_size, initrd, initrd_size, cmdline,
		                      refusal);
	if (!kernel) {
		*refusal = REFUSED(CONFIG, "no kernel was handed over at boot");
		return false;
	}
	if (kernel_size > 4 && !memcmp(kernel, elf_magic, 4))
		return elf_load(vm, kernel, kernel_size, refusal);
	return linux_load(vm, kernel, kernel_size, initrd, initrd_size, cmdline, refusal);
}

/* The reason has been logged. */
static enum main_result refused(enum report_refusal kind)
{
	report_end_early(ENDED_REFUSED, (s32)kind);
	return MAIN_REFUSED;
}

static enum main_result refuse(enum report_refusal kind, const char *why)
{
	port_log("error: %s", why);
	return refused(kind);
}

/* As refuse(); of several VMs, those behind the first are named. */
static enum main_result refuse_vm(u32 id, enum report_refusal kind, const char *why)
{
	char text[160];

	if (!id)
		return refuse(kind, why);
	snprintf(text, sizeof(text), "VM %u: %s", id, why);
	return refuse(kind, text);
}

/* The boot file of the VM that comes next, if there is firmware. */
static bool find_firmware(const struct machine *machine, struct vm_config *config,
                          struct refusal *refusal)
{
	u64 size;

	config->firmware = vm_file(machine->vm_count, "firmware", &config->firmware_size);
	if (!config->firmware)
		return true;
	if (vm_file(machine->vm_count, "kernel", &size) ||
	    vm_file(machine->vm_count, "multiboot", &size)) {
		*refusal = REFUSED(CONFIG, "both firmware and a kernel were handed over at boot");
		return false;
	}
	return firmware_accept(config->firmware_size, refusal);
}

static enum main_result create_guest(struct machine *machine, const struct vm_config *given)
{
	struct vm_config config = *given;
	struct refusal refusal = {0};
	struct vm *vm;

	if (!find_firmware(machine, &config, &refusal))
		return refuse_vm(machine->vm_count, refusal.kind, refusal.why);
	vm = vm_create(machine, &config);
	if (!vm) /* which has said why */
		return refused(REPORT_REFUSED_CONFIG);
	if (!platform_create(vm))
		return refuse_vm(vm->id, REPORT_REFUSED_CONFIG,
		                 "not enough memory for the platform's devices");
	if (!load_guest(vm, &refusal))
		return refuse_vm(vm->id, refusal.kind, refusal.why);
	return MAIN_OK;
}

static enum main_result create_guests(struct machine *machine, const struct config *config)
{
	enum main_result result = MAIN_OK;

	for (u32 i = 0; i < config->vm_count && result == MAIN_OK; i++)
		result = create_guest(machine, &config->vm[i]);
	return result;
}

/* --- housekeeping --- */

static void end_all(struct machine *machine, enum ending ending)
{
	for (u32 i = 0; i < machine->vm_count; i++)
		vm_end(machine->vm[i], ending, 0);
}

static void read_commands(struct machine *machine)
{
	struct vm *vm = machine->vm[0]; /* the one that a debugger sees */
	int byte;

	while (debugger_is_ready(vm) && (byte = port_report_read()) >= 0) {
		if (debugger_wants(vm))
			debugger_feed(vm, (u8)byte);
		else if (command_take(machine, (u8)byte))
			continue;
		else if (byte == REPORT_CMD_DEBUG)
			debugger_begin(vm);
		else if (byte == REPORT_CMD_TIMEOUT)
			end_all(machine, ENDED_TIMEOUT);
		else if (byte == REPORT_CMD_INTERRUPT)
			end_all(machine, ENDED_INTERRUPTED);
		else if (byte == REPORT_CMD_ACCOUNT)
			machine->account_due = 0;
	}
}

static u8 phase_of(struct vm *vm)
{
	if (vm_has_ended(vm))
		return REPORT_PHASE_ENDING;
	return atomic64_read_relaxed(&vm->first_entry) ? REPORT_PHASE_RUNNING : REPORT_PHASE_BOOT;
}

/* The VM has ended and none of its vCPUs is left on a processor. */
static bool is_over(struct vm *vm)
{
	return vm_has_ended(vm) && !atomic32_read(&vm->live_vcpus);
}

static bool all_over(struct machine *machine)
{
	for (u32 i = 0; i < machine->vm_count; i++)
		if (!is_over(machine->vm[i]))
			return false;
	return true;
}

/* What goes on by itself would take time from the other VMs for ever. */
static void quieten(struct vm *vm)
{
	static const char *const names[ENDING_COUNT] = {
#define X(id, name) [ENDED_##id] = name,
	        ENDINGS(X)
#undef X
	};
	u32 ending = atomic32_read(&vm->ended);

	if (vm->quiet || !is_over(vm))
		return;
	pit_reset(vm);
	storm_set(vm, 0);
	vm->quiet = true;
	/* A VM that had to be ended has had its line of log, which says why. */
	if (vm->machine->vm_count > 1 && ending != ENDED_PANIC)
		port_log("vm %u: ended: %s", vm->id, names[ending]);
}

static void break_on_request(struct machine *machine)
{
	if (machine->debug_panic && atomic64_read_relaxed(&machine->vm[0]->first_entry))
		debug_panic(machine->debug_panic);
}

static void stop_machine(struct machine *machine)
{
	atomic32_set(&machine->stopping, 1);
	for (u32 i = 1; i < machine->cpu_count; i++)
		cpu_kick(&machine->cpu[i]);
}

u64 main_housekeeping_due(void)
{
	struct machine *machine = port_machine();

	return all_over(machine) ? 0 : machine->housekeeping_due;
}

void main_housekeeping(u64 now)
{
	struct machine *machine = port_machine();
	bool status = now >= machine->status_due;

	read_commands(machine);
	debugger_poll(machine->vm[0]);
	trace_log();
	machine->housekeeping_due =
	        now +
	        timer_ns_to_tsc(debugger_is_busy(machine->vm[0]) ? DEBUGGER_NS : HOUSEKEEPING_NS);
	for (u32 i = 0; i < machine->vm_count; i++) {
		platform_poll(machine->vm[i]);
		quieten(machine->vm[i]);
		if (status)
			report_status(machine->vm[i], phase_of(machine->vm[i]));
		if (now >= machine->account_due)
			report_account(machine->vm[i]);
	}
	if (status)
		machine->status_due = now + timer_ns_to_tsc(STATUS_NS);
	if (now >= machine->account_due)
		machine->account_due = now + timer_ns_to_tsc(ACCOUNT_NS);
	break_on_request(machine);
	if (all_over(machine))
		stop_machine(machine);
}

/* --- the course --- */

static void wait_for_others(struct machine *machine)
{
	for (u32 i = 1; i < machine->cpu_count; i++)
		wait_until(!atomic32_read(&machine->cpu[i].online));
}

static void report_all(struct machine *machine)
{
	for (u32 i = 0; i < machine->vm_count; i++) {
		platform_poll(machine->vm[i]);
		report_account(machine->vm[i]);
		report_end(machine->vm[i]);
	}
}

static void log_features(const struct machine *machine)
{
	char text[200];

	backend_op(features)(text, sizeof(text));
	port_log("%s: %u processors, TSC %llu kHz, %s", machine->backend->name, machine->cpu_count,
	         (unsigned long long)port_tsc_khz(), text);
}

static void run_all(struct machine *machine)
{
	u64 now = port_tsc();

	machine->housekeeping_due = now;
	machine->status_due = now;
	machine->account_due = now + timer_ns_to_tsc(ACCOUNT_NS);
	if (machine->debugger_wait)
		debugger_stop_at_start(machine->vm[0]);
	for (u32 i = 0; i < machine->vm_count; i++) {
		vm_start(machine->vm[i]);
		storm_set(machine->vm[i], machine->vm[i]->config.inhibit_storm);
	}
	port_release_cpus();
	cpu_main(&machine->cpu[0]);
	wait_for_others(machine);
	trace_end();
	report_all(machine);
}

/* The machine has one kind of processor: VMs may do without its acceleration, not name another's. */
static bool choose_processor(const struct config *config, const char **name)
{
	const char *accelerated = NULL;

	for (u32 i = 0; i < config->vm_count; i++) {
		if (!config->vm[i].accel_modes)
			continue;
		if (accelerated && strcmp(accelerated, config->cpu[i]))
			return false;
		accelerated = config->cpu[i];
	}
	*name = accelerated ? accelerated : config->cpu[0];
	return true;
}

/* The processor is of the vendor whose models the VMs name, if they name any. */
static enum main_result settle_processors(const struct machine *machine, struct config *config)
{
	const char *vendor = machine->backend->vendor;
	const char *wrong;
	char text[120];

	if (config_settle_processors(config, vendor, &wrong))
		return MAIN_OK;
	snprintf(text, sizeof(text), "the processor is of %s, and cannot stand for a %s", vendor,
	         wrong);
	return refuse(REPORT_REFUSED_PROCESSOR, text);
}

enum main_result postern_main(void)
{
	struct machine *machine = port_machine();
	struct config config;
	const char *why = "", *processor;
	const char *text;
	u64 size = 0;
	enum main_result result;

	text = port_file("config", &size);
	if (!config_parse(&config, text, size))
		return refused(REPORT_REFUSED_CONFIG);
	if (!choose_processor(&config, &processor))
		return refuse(REPORT_REFUSED_CONFIG,
		              "the VMs name different processors with acceleration");
	if (!port_show_processor(processor))
		return refuse(REPORT_REFUSED_CONFIG, "not enough memory to model a processor");
	if (!machine_init(machine, &why))
		return refuse(REPORT_REFUSED_PROCESSOR, why);
	result = settle_processors(machine, &config);
	if (result != MAIN_OK)
		return result;
	machine->first_cpu = config.reserve_boot_cpu;
	if (machine->first_cpu >= machine->cpu_count)
		return refuse(REPORT_REFUSED_CONFIG,
		              "the boot processor is reserved and there is no other");
	machine->slice_tsc = timer_ns_to_tsc(config.setting[SETTING_SLICE_US] * 1000);
	machine->debugger_wait = config.debugger_wait;
	machine->floor = config.setting[SETTING_FLOOR];
	machine->debug_panic = (u8)config.setting[SETTING_DEBUG_PANIC];
	machine->debug_lose_ticks = (u32)config.setting[SETTING_DEBUG_LOSE_TICKS];
	machine->pause_yield = config.setting[SETTING_PAUSE_YIELD];
	machine->posted = config.setting[SETTING_POSTED];
	machine->ipiv = config.setting[SETTING_IPIV];
	machine->stale_vectoring = config.setting[SETTING_STALE_VECTORING];
	if (!config.setting[SETTING_PREEMPTION_TIMER])
		machine_use_entry_timer(machine, false);
	log_features(machine);
	result = create_guests(machine, &config);
	if (result != MAIN_OK)
		return result;
	if (!trace_start(config.setting[SETTING_TRACE_ENTRIES]))
		return refuse(REPORT_REFUSED_CONFIG,
		              "not enough memory to trace that many entries");
	report_hello(machine, config.cpu[0]);
	run_all(machine);
	return MAIN_OK;
}
