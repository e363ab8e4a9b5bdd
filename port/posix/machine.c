/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine on the host: creation, current processor, what the hypervisor asks of its port
 * (postern/port.h) except memory, and failure.
 */
#include "posix.h"
#include "core/main.h"
#include "cpu_model/assist.h"
#include "cpu_model/guest.h"
#include "cpu_model/virt.h"
#include "postern/port.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TSC_START     1000000ull
#define TSC_READ_COST 20 /* virtual ticks: a loop that watches the clock makes progress */
#define WALLCLOCK     1700000000ull
#define RECORDS_SIZE  (1u << 20)

struct posix_machine posix;

/* Outside of the arena: what only the test looks at. */
static struct {
	pthread_mutex_t lock;
	char console[POSIX_CONSOLE];
	u32 console_len;
	const char *input;
	u8 records[RECORDS_SIZE];
	u32 records_len;
	const struct posix_channel *channel;
	struct {
		const char *name;
		const void *data;
		u64 size;
	} file[POSIX_FILES];
	u32 files;
	struct model *model;
	struct guest_engine *engine;
} host = {.lock = PTHREAD_MUTEX_INITIALIZER};

static __thread struct model_cpu *current;

void posix_set_current(struct model_cpu *cpu)
{
	current = cpu;
}

__attribute__((noinline)) struct model_cpu *posix_current(void)
{
	return current;
}

struct model *model(void)
{
	return host.model;
}

struct guest_engine *guest_engine(void)
{
	return host.engine;
}

struct model_cpu *model_current(void)
{
	return posix_current();
}

struct cpu *this_cpu(void)
{
	return posix_current()->cpu;
}

u32 posix_random(void)
{
	/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" */
	posix.random ^= posix.random >> 12;
	posix.random ^= posix.random << 25;
	posix.random ^= posix.random >> 27;
	return (u32)(posix.random * 0x2545f4914f6cdd1dull >> 32);
}

void posix_machine_reset(const struct posix_config *config, u32 features)
{
	struct machine *machine;

	assist_stop();
	arena_reset();
	memset(&posix, 0, sizeof(posix));
	posix.config = *config;
	if (!posix.config.max_steps)
		posix.config.max_steps = 5000000;
	posix.random = config->seed * 2 + 1;
	posix.tsc = TSC_START;
	host.console_len = host.records_len = host.files = 0;
	host.input = NULL;
	host.channel = NULL;
	host.model = port_alloc(sizeof(*host.model), CACHE_LINE);
	host.engine = port_alloc(sizeof(*host.engine), CACHE_LINE);
	if (!host.model || !host.engine || config->cpus > POSIX_MAX_CPUS)
		abort();
	host.model->features = features;
	host.model->virt = features & MODEL_INTEL ? &model_vmx : &model_svm;
	host.model->avic_switches =
	        AVIC_SWITCH_DEFAULTS | (features & MODEL_FAMILY_17H ? AVIC_STALE_RUNNING : 0);
	host.model->vapic_switches = VAPIC_SWITCH_DEFAULTS;
	host.model->cpu_count = config->cpus;
	machine = port_machine();
	machine->cpu_count = config->cpus;
	for (u32 i = 0; i < config->cpus; i++) {
		struct cpu *cpu = &machine->cpu[i];

		cpu->self = cpu;
		cpu->index = cpu->apic_id = i;
		cpu->port = &host.model->cpu[i];
		model_cpu_init(&host.model->cpu[i], cpu, i);
	}
	posix_set_current(&host.model->cpu[0]);
}

/* --- time --- */

u64 model_time(void)
{
	return posix.mode == POSIX_THREADS ? posix_real_tsc() : posix.tsc;
}

struct avic_memory model_memory(void)
{
	struct avic_memory memory;

	arena_range(&memory.start, &memory.end);
	return memory;
}

u64 port_tsc(void)
{
	if (posix.mode != POSIX_THREADS)
		posix.tsc += TSC_READ_COST;
	return model_time();
}

u64 port_tsc_khz(void)
{
	return POSIX_TSC_KHZ;
}

u64 port_wallclock(void)
{
	return WALLCLOCK + model_time() / (POSIX_TSC_KHZ * 1000);
}

/* --- interrupts --- */

void port_send_ipi(u32 apic_id, u8 vector)
{
	ASSERT(apic_id < model()->cpu_count);
	model_apic_raise(&model()->cpu[apic_id], vector);
}

/* Tests choose the model's features themselves, or start the assist. */
bool port_show_processor(const char *name __unused)
{
	return true;
}

/* What the processor does by itself, and what the assist adds to that. */
static const u64 *vapic_counts(void)
{
	static __thread u64 sum[HW_COUNT];
	const u64 *own = model_current()->vapic.counts, *assisted = assist_counts();

	for (u32 i = 0; assisted && i < HW_COUNT; i++)
		sum[i] = own[i] + assisted[i];
	return assisted ? sum : own;
}

const u64 *port_hw_counts(void)
{
	if (model_has(MODEL_APICV))
		return vapic_counts();
	return model_has(MODEL_AVIC) ? model_current()->avic.counts : assist_counts();
}

bool port_hw_counts_all(void)
{
	return true;
}

void port_timer_arm(u64 deadline)
{
	model_current()->timer_deadline = deadline;
	race_point(NULL, RACE_FENCE); /* it may expire before anything else happens */
}

void port_irqs_block(void)
{
	race_point(NULL, RACE_FENCE); /* the last chance of a pending interrupt */
	model_current()->intr_flag = false;
}

void port_irqs_unblock(void)
{
	struct model_cpu *cpu = model_current();

	cpu->intr_flag = true;
	model_take_interrupts(cpu);
}

/*
 * Until a physical interrupt is pending. The look at IRR is a step like any other: the sender's
 * write comes before or after it.
 */
static void explorer_idle(struct model_cpu *cpu)
{
	for (;;) {
		posix.explorer_point(&cpu->irr[CPU_VECTOR_KICK / 64], RACE_READ);
		if (model_apic_pending(cpu) >= 0)
			return;
		posix.explorer_relax();
	}
}

static bool explorer_is_rung(const struct model_cpu *cpu)
{
	return __atomic_load_n(&cpu->doorbell.v, __ATOMIC_RELAXED);
}

/* The same with a doorbell as well. A look at two places: it depends on every other step. */
static void explorer_idle_avic(struct model_cpu *cpu)
{
	if (cpu->avic.pending >= 0)
		return;
	posix.explorer_point(NULL, RACE_READ);
	while (model_apic_pending(cpu) < 0 && !explorer_is_rung(cpu))
		posix.explorer_relax();
}

void posix_explorer_elapse(struct model_cpu *cpu)
{
	/* PAUSE stands for a guest that does nothing more until its processor interrupts it; HLT is one. */
	if (cpu->guest->insn->op != OP_PAUSE && !cpu->halted)
		return;
	if (cpu->avic.enabled)
		explorer_idle_avic(cpu);
	else if (!model_virt()->is_due(cpu))
		explorer_idle(cpu);
}

void model_look(const volatile void *addr)
{
	if (posix.mode == POSIX_EXPLORER)
		posix.explorer_point(addr, RACE_READ);
}

void port_idle(void)
{
	struct model_cpu *cpu = model_current();

	ASSERT(!cpu->intr_flag && cpu->gif);
	if (posix.mode == POSIX_THREADS)
		posix_threads_idle(cpu);
	else if (posix.mode == POSIX_STEPPER)
		posix_stepper_idle(cpu);
	else
		explorer_idle(cpu);
	cpu->intr_flag = true;
	model_take_interrupts(cpu);
}

void model_wake(struct model_cpu *target)
{
	if (posix.mode == POSIX_THREADS)
		posix_threads_wake(target);
}

void port_release_cpus(void)
{
	posix.released = true;
	if (posix.mode == POSIX_THREADS)
		posix_threads_release();
}

/* --- console, records, files --- */

void port_console_write(u32 vm, const u8 *data, u32 len)
{
	(void)vm;
	pthread_mutex_lock(&host.lock);
	len = (u32)min_u64(len, sizeof(host.console) - 1 - host.console_len);
	memcpy(host.console + host.console_len, data, len);
	host.console_len += len;
	host.console[host.console_len] = 0;
	pthread_mutex_unlock(&host.lock);
}

int port_console_read(u32 vm)
{
	int c = -1;

	if (vm != 0)
		return -1;
	pthread_mutex_lock(&host.lock);
	if (host.input && *host.input)
		c = (u8)*host.input++;
	pthread_mutex_unlock(&host.lock);
	return c;
}

const char *posix_console(u32 *len)
{
	*len = host.console_len;
	return host.console;
}

void posix_console_input(const char *text)
{
	host.input = text;
}

void port_report_write(const void *data, u32 len)
{
	if (host.channel)
		host.channel->write(data, len);
	pthread_mutex_lock(&host.lock);
	if (len <= sizeof(host.records) - host.records_len) {
		memcpy(host.records + host.records_len, data, len);
		host.records_len += len;
	}
	pthread_mutex_unlock(&host.lock);
}

const u8 *posix_records(u32 *len)
{
	*len = host.records_len;
	return host.records;
}

void posix_set_channel(const struct posix_channel *channel)
{
	host.channel = channel;
}

int port_report_read(void)
{
	return host.channel ? host.channel->read() : -1;
}

void posix_add_file(const char *name, const void *data, u64 size)
{
	if (host.files == POSIX_FILES)
		abort();
	host.file[host.files].name = name;
	host.file[host.files].data = data;
	host.file[host.files++].size = size;
}

const void *port_file(const char *name, u64 *size)
{
	for (u32 i = 0; i < host.files; i++) {
		if (strcmp(host.file[i].name, name) != 0)
			continue;
		*size = host.file[i].size;
		return host.file[i].data;
	}
	return NULL;
}

/* --- log and failure --- */

void port_log(const char *fmt, ...)
{
	char line[256];
	va_list args;

	if (posix.log) {
		va_start(args, fmt);
		vsnprintf(line, sizeof(line), fmt, args);
		va_end(args);
		posix.log(line);
	}
	if (!getenv("POSTERN_VERBOSE"))
		return;
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static void __noreturn fail(const char *fmt, va_list args)
{
	vsnprintf(posix.failure, sizeof(posix.failure), fmt, args);
	posix.failed = true;
	if (posix.mode == POSIX_STEPPER) {
		/* Back to the test; whoever failed is never continued. */
		coro_switch(posix.main);
	} else if (posix.mode == POSIX_EXPLORER) {
		posix.explorer_fail();
	}
	fprintf(stderr, "%s\n", posix.failure);
	abort();
}

void posix_fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fail(fmt, args);
}

void port_panic(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fail(fmt, args);
}

const char *posix_failure(void)
{
	return posix.failed ? posix.failure : NULL;
}
