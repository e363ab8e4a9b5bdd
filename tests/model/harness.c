/* SPDX-License-Identifier: BSD-2-Clause */
/* See harness.h. */
#include "tests/model/harness.h"

#include "core/machine.h"
#include "core/main.h"
#include "irq/inhibit.h"
#include "platform/longmode.h"
#include "platform/platform.h"

#define HARNESS_MEMORY  (16ull << 20)
#define SPURIOUS_VECTOR 0xff
/*
 * A turn, a tenth of the usual one: guests that wait for one whose turn it is not execute so much less until then, and
 * turns end at more places.
 */
#define SLICE_TICKS (POSIX_TSC_KHZ / 5)

struct harness harness;
struct vm *harness_vm;
static u64 live_before;

static void run_device(void)
{
	port_release_cpus();
	harness.device();
	cpu_main(&port_machine()->cpu[0]);
}

/* What a processor of this name is made from by the assist. */
static u32 assisted_features(const char *name)
{
	bool intel = !strcmp(name, "broadwell") || !strcmp(name, "sapphire-rapids");

	return intel ? MODEL_WESTMERE | MODEL_APICV : MODEL_BARCELONA;
}

/*
 * The processor that the hypervisor finds: the model with its features, or, with "assist-" before the
 * name, one without them, shown as that one by the assist. Unless the test names one, the variable
 * POSTERN_TEST_CPU does: the same tests on another processor.
 */
static u32 processor(const char **assisted)
{
	static const struct {
		const char *name;
		u32 features;
	} processors[] = {{"barcelona", MODEL_BARCELONA},
	                  {"rome", MODEL_ROME},
	                  {"milan", MODEL_MILAN},
	                  {"genoa", MODEL_GENOA},
	                  {"westmere", MODEL_WESTMERE},
	                  {"broadwell", MODEL_BROADWELL},
	                  {"broadwell-unposted", MODEL_BROADWELL & ~MODEL_POSTED},
	                  {"sapphire-rapids", MODEL_SAPPHIRE_RAPIDS},
	                  /* A host without a usable preemption timer: requirement S4.5. */
	                  {"westmere-untimed", MODEL_WESTMERE & ~MODEL_PREEMPTION_TIMER}};
	static const char prefix[] = "assist-";
	const char *name = harness.processor ? harness.processor : getenv("POSTERN_TEST_CPU");

	*assisted = NULL;
	if (!name)
		return MODEL_BARCELONA;
	if (!strncmp(name, prefix, strlen(prefix))) {
		*assisted = name + strlen(prefix);
		return assisted_features(*assisted);
	}
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++)
		if (!strcmp(name, processors[i].name))
			return processors[i].features;
	fail_msg("%s: no such processor", name);
	return 0;
}

/* POSTERN_TEST_AVIC: with this one of AVIC's switches the other way round. */
static u32 turned_switch(void)
{
	const char *key = getenv("POSTERN_TEST_AVIC");

	if (!key)
		return 0;
#define X(name, key_, def, what)                                                                   \
	if (!strcmp(key, key_))                                                                    \
		return AVIC_##name;
	AVIC_SWITCHES(X)
#undef X
	fail_msg("POSTERN_TEST_AVIC=%s: no such switch", key);
	return 0;
}

/* POSTERN_TEST_VAPIC: the same of APIC virtualization. */
static u32 turned_vapic_switch(void)
{
	const char *key = getenv("POSTERN_TEST_VAPIC");

	if (!key)
		return 0;
#define X(name, key_, def, what)                                                                   \
	if (!strcmp(key, key_))                                                                    \
		return VAPIC_##name;
	VAPIC_SWITCHES(X)
#undef X
	fail_msg("POSTERN_TEST_VAPIC=%s: no such switch", key);
	return 0;
}

static void show(const char *assisted)
{
	struct assist_processor shown;

	if (!assisted)
		return;
	assert_true(assist_find(assisted, &shown));
	shown.switches ^= model_has(MODEL_INTEL) ? turned_vapic_switch() : turned_switch();
	shown.memory = model_memory();
	assert_true(assist_start(&shown));
}

/* --- acceleration that comes and goes: POSTERN_TEST_INHIBIT --- */

static struct timer toggles[MAX_CPUS];
static struct spinlock toggle_lock;
static u32 toggle_every, toggle_count;

/* From a processor's run loop, no locks held. */
static void toggle(struct timer *timer __unused)
{
	bool stands;

	spin_lock(&toggle_lock);
	stands = inhibit_stands(harness_vm, INHIBIT_STORM);
	inhibit_change(harness_vm, INHIBIT_BIT(STORM), stands ? 0 : INHIBIT_BIT(STORM));
	spin_unlock(&toggle_lock);
}

static void between(struct model_cpu *cpu)
{
	if (__atomic_add_fetch(&toggle_count, 1, __ATOMIC_RELAXED) % toggle_every)
		return;
	timer_arm(&toggles[cpu->index], 0);
	model_apic_raise(cpu, CPU_VECTOR_KICK);
}

static void begin_inhibits(void)
{
	const char *what = getenv("POSTERN_TEST_INHIBIT");

	if ((!what && !harness.toggled) || harness.by_hand || !harness_vm->accel.modes)
		return;
	if (!harness.toggled && !strcmp(what, "inhibited")) {
		inhibit_set(harness_vm, INHIBIT_STORM);
		return;
	}
	toggle_every = harness.toggled ? harness.toggled : 1;
	if (!harness.toggled && strcmp(what, "toggled") &&
	    (sscanf(what, "toggled/%u", &toggle_every) != 1 || !toggle_every))
		fail_msg("POSTERN_TEST_INHIBIT=%s: neither inhibited nor toggled", what);
	toggle_count = 0;
	toggle_lock = (struct spinlock){{0}, {0}};
	for (u32 i = 0; i < harness.cpus; i++)
		timer_init(&toggles[i], toggle);
	model()->between = between;
}

static void end_inhibits(void)
{
	if (!model()->between)
		return;
	model()->between = NULL;
	for (u32 i = 0; i < harness.cpus; i++)
		timer_cancel(&toggles[i]);
}

void harness_create(const struct harness *config)
{
	struct posix_config posix_config;
	const char *assisted;
	struct vm_config vm_config = {.memory = HARNESS_MEMORY, .cpu = "barcelona"};
	const char *why = "";

	harness = *config;
	if (!harness.vcpus)
		harness.vcpus = 1;
	if (!harness.cpus)
		harness.cpus = 1;
	posix_config = (struct posix_config){.cpus = harness.cpus,
	                                     .seed = harness.seed,
	                                     .switch_ppm = harness.switch_ppm,
	                                     .max_steps = harness.max_steps,
	                                     .boot = harness.device ? run_device : NULL};
	harness.features |= processor(&assisted);
	posix_machine_reset(&posix_config, harness.features);
	model()->avic_switches ^= turned_switch();
	model()->vapic_switches ^= turned_vapic_switch();
	show(assisted);
	vm_config.accel_modes = ~0u;
	if (harness.no_accel || (harness.no_avic && !model_has(MODEL_INTEL)))
		vm_config.accel_modes = 0;
	live_before = arena_live_bytes();
	vm_config.vcpus = harness.vcpus;
	vm_config.x2apic = !harness.no_x2apic;
	vm_config.irqchip_split = harness.split;
	vm_config.pit_reinject = harness.reinject;
	vm_config.msidevs = harness.msidevs;
	vm_config.msidev_assigned = harness.assigned;
	vm_config.apic_ids = harness.apic_ids;
	vm_config.testdev = harness.testdev;
	vm_config.hyperv = harness.hyperv;
	vm_config.hv_autoeoi = harness.hv_autoeoi;
	vm_config.kvm_clock = harness.kvm_clock;
	vm_config.firmware = harness.firmware;
	vm_config.firmware_size = harness.firmware_size;
	vm_config.tsc_deadline = !harness.no_tsc_deadline;
	if (!machine_init(port_machine(), &why))
		fail_msg("machine_init: %s", why);
	port_machine()->posted = !harness.no_posted;
	port_machine()->ipiv = !harness.no_ipiv;
	port_machine()->iommu_posting = !harness.no_iommu_posting;
	port_machine()->first_cpu = harness.device ? 1 : 0;
	port_machine()->slice_tsc = SLICE_TICKS;
	harness_vm = vm_create(port_machine(), &vm_config);
	assert_non_null(harness_vm);
	model()->apic_frame = harness_vm->accel.page ? ptr_to_hpa(harness_vm->accel.page).v : 0;
	begin_inhibits();
	assert_true(platform_create(harness_vm));
	assert_true(longmode_start(harness_vm, HARNESS_BSP));
}

void harness_destroy(void)
{
	u32 mismatches = (u32)harness_counter(COUNTER_ACCEL_MISMATCHES);

	end_inhibits();
	if (mismatches)
		fail_msg("%u entries in a wrong state of acceleration", mismatches);
	/* No vCPU keeps its window beyond its end. */
	assert_int_equal(atomic32_read(&harness_vm->inhibit.windows), 0);
	platform_destroy(harness_vm);
	vm_destroy(harness_vm);
	harness_vm = NULL;
	assert_int_equal(arena_live_bytes(), live_before);
}

bool harness_full(void)
{
	return getenv("POSTERN_TEST_FULL");
}

static void run(void)
{
	bool ok;

	vm_start(harness_vm);
	ok = harness.threads ? posix_run_threads(harness_full() ? 900000 : 300000)
	                     : posix_run_stepper();
	if (!ok)
		fail_msg("%s", posix_failure());
}

void harness_run_to_end(enum ending ending)
{
	run();
	assert_int_equal(atomic32_read(&harness_vm->ended), ending);
	assert_int_equal(atomic32_read(&harness_vm->live_vcpus), 0);
}

void harness_run(void)
{
	run();
	assert_int_equal(atomic32_read(&harness_vm->ended), ENDED_DEBUG_EXIT);
	/* The port adds a 1 bit, as the device of the same name elsewhere does. */
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	harness_destroy();
}

u64 harness_counter(enum counter_id id)
{
	struct vcpu *vcpu;
	u64 sum = 0;

	for_each_vcpu (vcpu, harness_vm)
		sum += counter_read(&vcpu->account.counters[id]);
	return sum;
}

u64 harness_both(enum counter_id id, enum counter_id by_processor)
{
	return harness_counter(id) + harness_counter(by_processor);
}

u64 harness_overhead(void)
{
	struct vcpu *vcpu;
	u64 sum = 0;

	for_each_vcpu (vcpu, harness_vm)
		sum += vcpu->account.model_overhead;
	return sum;
}

u64 harness_exits(enum exit_kind kind)
{
	struct vcpu *vcpu;
	u64 sum = 0;

	for_each_vcpu (vcpu, harness_vm)
		sum += counter_read(&vcpu->account.exits[kind]);
	return sum;
}

/* --- on the guest's side --- */

void g_exit(u32 code)
{
	g_out(PLATFORM_DEBUG_EXIT_PORT, code, 4);
	for (;;)
		g_pause();
}

void g_apic_enable(void)
{
	u64 base = g_rdmsr(MSR_APIC_BASE);

	G_CHECK(base & APIC_BASE_EN);
	if (!harness.xapic)
		g_wrmsr(MSR_APIC_BASE, base | APIC_BASE_EXTD);
	g_apic_write(APIC_SVR, APIC_SVR_ENABLE | SPURIOUS_VECTOR);
}

u32 g_apic_read(u32 reg)
{
	if (harness.xapic)
		return g_mmio_read(APIC_BASE_DEFAULT + reg);
	return (u32)g_rdmsr(MSR_X2APIC_FIRST + reg / 16);
}

void g_apic_write(u32 reg, u32 value)
{
	if (harness.xapic)
		g_mmio_write(APIC_BASE_DEFAULT + reg, value);
	else
		g_wrmsr(MSR_X2APIC_FIRST + reg / 16, value);
}

void g_apic_eoi(void)
{
	g_apic_write(APIC_EOI, 0);
}

void g_apic_icr(u32 dest, u32 low)
{
	if (harness.xapic) {
		g_apic_write(APIC_ICR2, dest << 24);
		g_apic_write(APIC_ICR, low);
	} else {
		g_wrmsr(MSR_X2APIC_FIRST + APIC_ICR / 16, (u64)dest << 32 | low);
	}
}

void g_start_aps(void)
{
	g_apic_icr(0, APIC_DM_INIT | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS);
	g_apic_icr(0, APIC_DM_SIPI | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS | HARNESS_SIPI);
}

u64 g_shared(u32 index)
{
	return g_read(HARNESS_SHARED + index * 8, 8);
}

void g_set_shared(u32 index, u64 value)
{
	g_write(HARNESS_SHARED + index * 8, value, 8);
}

void g_await(u32 index, u64 value)
{
	while (g_shared(index) < value)
		g_pause();
}
