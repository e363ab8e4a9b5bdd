/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long an interrupt takes that goes through a window while another reason keeps acceleration off, against the
 * same with acceleration disabled: times, so ratios from one run, with their spread, and nothing that is asserted
 * but that all have gone through windows, which were counted.
 *
 * The whole hypervisor over the processor model, a thread for each of two processors, two VMs of 16 vCPUs. A guest's
 * vCPU sends itself an interrupt while it takes none: exit, window, exit where it could take it, injection,
 * handler, a port with its exit, EOI with its. What opens and closes windows is irq/irq_window.c, or one of the two
 * other ways (tests/race/irq_window_variants.h); all vCPUs meet, and then it is the next one's turn, so that each
 * is compared with what was just before or behind it.
 *
 * Output: lines "irqwin NAME VALUE UNIT".
 */
#include "tests/model/harness.h"

#include <sched.h>
#include <time.h>

#include "core/machine.h"
#include "irq/inhibit.h"
#include "irq/irq_window.h"
#include "platform/longmode.h"
#include "platform/platform.h"
#include "tests/race/irq_window_variants.h"

#define CPUS    2
#define VCPUS   16
#define ALL     (2 * VCPUS)
#define ROUNDS  41
#define WINDOWS 100 /* of each vCPU in a turn */
#define VECTOR  0x61
#define SLICE   (POSIX_TSC_KHZ / 20) /* a twentieth of a millisecond: who waits, waits with PAUSE */
#define PORT    0x80                 /* nobody's */

/* irq/irq_window.c, compiled with these names. */
void irq_window_right_open(struct vcpu *vcpu);
void irq_window_right_close(struct vcpu *vcpu);

static const struct code {
	const char *name;
	void (*open)(struct vcpu *vcpu);
	void (*close)(struct vcpu *vcpu);
	bool disabled;
} codes[] = {
        {"disabled", irq_window_right_open, irq_window_right_close, true},
        {"right", irq_window_right_open, irq_window_right_close, false},
        {"naive", irq_window_naive_open, irq_window_naive_close, false},
        {"sketch", irq_window_sketch_open, irq_window_sketch_close, false},
};
#define CODES ARRAY_SIZE(codes)

static const struct code *running;
static struct vm *other;
static u32 arrived, released;
static double begin, ns[ROUNDS][CODES];

void irq_window_open(struct vcpu *vcpu)
{
	running->open(vcpu);
}

void irq_window_close(struct vcpu *vcpu)
{
	running->close(vcpu);
}

/* In place of the stepper's: who waits lets others run. */
void race_hook_relax(void)
{
	sched_yield();
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* --- the guests --- */

/* As a driver's: it asks its device. That exit goes all the way, and closes the window that was counted. */
static void on_interrupt(u8 vector __unused, u32 error __unused)
{
	g_in(PORT, 1);
	g_apic_eoi();
}

/* Where a VM has no modes, no window counts: as one that has been created so. */
static void begin_turn(const struct code *code)
{
	u32 modes = code->disabled ? 0 : ACCEL_MODE(ACCEL_XAPIC) | ACCEL_MODE(ACCEL_X2APIC);

	running = code;
	__atomic_store_n(&harness_vm->accel.modes, modes, __ATOMIC_RELAXED);
	__atomic_store_n(&other->accel.modes, modes, __ATOMIC_RELAXED);
	begin = now_ns();
}

/* All vCPUs of both VMs are there, with no interrupt and no window: `turn` begins. */
static void meet(u32 turn)
{
	if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) == ALL * (turn + 1)) {
		if (turn)
			ns[(turn - 1) / CODES][(turn - 1) % CODES] =
			        (now_ns() - begin) / (ALL * WINDOWS);
		begin_turn(&codes[turn % CODES]);
		__atomic_store_n(&released, turn + 1, __ATOMIC_SEQ_CST);
	}
	while (__atomic_load_n(&released, __ATOMIC_SEQ_CST) <= turn)
		g_pause();
}

static void work(void)
{
	for (u32 turn = 0; turn < ROUNDS * CODES; turn++) {
		meet(turn);
		for (u32 i = 0; i < WINDOWS; i++) {
			g_cli();
			g_wrmsr(MSR_X2APIC_FIRST + APIC_SELF / 16, VECTOR);
			g_sti();
			g_nop();
		}
	}
	meet(ROUNDS * CODES);
}

static void script_ap(void *arg __unused)
{
	g_apic_enable();
	work();
	g_cli();
	for (;;)
		g_hlt();
}

static void script_bsp(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	work();
	g_exit(0);
}

/* --- the run --- */

static void create(void)
{
	struct vm_config config = {.vcpus = VCPUS,
	                           .memory = 16ull << 20,
	                           .cpu = "barcelona",
	                           .x2apic = true,
	                           .tsc_deadline = true,
	                           .accel_modes = ~0u};

	harness_create(&(struct harness){.vcpus = VCPUS,
	                                 .cpus = CPUS,
	                                 .processor = "genoa",
	                                 .threads = true,
	                                 .by_hand = true});
	other = vm_create(port_machine(), &config);
	assert_non_null(other);
	assert_true(platform_create(other));
	assert_true(longmode_start(other, HARNESS_BSP));
	port_machine()->slice_tsc = SLICE;
	inhibit_set(harness_vm, INHIBIT_STORM);
	inhibit_set(other, INHIBIT_STORM);
	g_set_handler(VECTOR, on_interrupt);
	guest_bind(HARNESS_BSP, script_bsp, NULL);
	guest_bind(HARNESS_AP, script_ap, NULL);
}

static u64 count(struct vm *vm, enum counter_id id)
{
	struct vcpu *vcpu;
	u64 total = 0;

	for_each_vcpu (vcpu, vm)
		total += counter_read(&vcpu->account.counters[id]);
	return total;
}

/*
 * All that was done has been done in this way, and counted but where acceleration was disabled; again where a vCPU
 * was preempted with its window open.
 */
static void check(struct vm *vm)
{
	u64 windows = count(vm, COUNTER_WINDOWS), counted = count(vm, COUNTER_IRQ_WINDOWS);
	u64 turn = VCPUS * WINDOWS * ROUNDS, injected = count(vm, COUNTER_INJ_IPI);

	if (windows >= CODES * turn && injected >= CODES * turn && counted >= (CODES - 1) * turn &&
	    windows - counted >= turn && !atomic32_read(&vm->inhibit.windows))
		return;
	fprintf(stderr, "irqwin_path: windows %llu, counted %llu, injected %llu\n",
	        (unsigned long long)windows, (unsigned long long)counted,
	        (unsigned long long)injected);
	exit(1);
}

static int by_size(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) -
	       (*(const double *)a < *(const double *)b);
}

/* The second and third of four quarters, since there are other programs; and all of it. */
static void report(u32 code)
{
	static double values[ROUNDS];
	const char *name = codes[code].name, *what = code ? "ratio" : "time";
	const char *unit = code ? "x-disabled" : "ns";

	for (u32 round = 0; round < ROUNDS; round++)
		values[round] = ns[round][code] / (code ? ns[round][0] : 1);
	qsort(values, ROUNDS, sizeof(double), by_size);
	printf("irqwin path.%s.%s.min %.3f %s\n", what, name, values[0], unit);
	printf("irqwin path.%s.%s.quarter %.3f %s\n", what, name, values[ROUNDS / 4], unit);
	printf("irqwin path.%s.%s.median %.3f %s\n", what, name, values[ROUNDS / 2], unit);
	printf("irqwin path.%s.%s.three-quarters %.3f %s\n", what, name, values[ROUNDS * 3 / 4],
	       unit);
	printf("irqwin path.%s.%s.max %.3f %s\n", what, name, values[ROUNDS - 1], unit);
}

int main(void)
{
	running = &codes[0];
	create();
	vm_start(other);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	check(harness_vm);
	check(other);
	platform_destroy(other);
	vm_destroy(other);
	harness_destroy();
	for (u32 code = 0; code < CODES; code++)
		report(code);
	return 0;
}
