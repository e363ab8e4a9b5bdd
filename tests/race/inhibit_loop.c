/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The whole run loop of a vCPU whose acceleration is switched off and on meanwhile, with VMRUN as the model
 * processor has it:
 *
 *   reader     its guest reads the APIC's page in xAPIC mode: never anything but what the register holds
 *   window     its guest keeps interrupts off while the 8259 has one for it, takes it, and goes on: irq/intr.c
 *              opens and closes the window that counts
 *   ExtINT     its guest waits for one with interrupts on
 *   hand-over  its guest waits for interrupts, or sleeps: IPIs by another processor's microcode, a device's
 *              messages, and a level-triggered line that stays high beyond the first EOI, so that what comes
 *              next is the I/O APIC's answer to that EOI
 *
 * Whatever is lost leaves all standing still: a deadlock to the explorer. What comes twice is counted.
 */
#include "tests/race/avic.h"
#include "tests/race/inhibit.h"
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/sched.h"
#include "cpu_model/model.h"
#include "postern/port.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define LINE         16 /* an input of the I/O APIC that nothing else has */
#define LINE_VECTOR  0x61
#define LINE_PORT    0xe00 /* a device that lowers it when it is written to; to read it is an exit */
#define IOAPIC_ENTRY (0x10 + 2 * LINE)
#define IOAPIC_LEVEL BIT(15)
#define REMOTE_IRR   BIT(14)
#define READS        3
#define PIC_PORT     0x20
#define PIC_EOI      0x20
#define PIC_VECTOR   0x30
#define PIC_LINE     5

/* What the guest is to get, and has got. */
static struct got {
	u32 ipis, posts, levels, extints;
} wanted, got;

static void begin(void)
{
	inhibit_stage_begin();
	got = (struct got){0};
}

static void begin_avic(void)
{
	begin();
	avic_stage_begin();
}

static void lower_line(void *device __unused, struct vcpu *vcpu, u64 offset __unused,
                       u32 size __unused, u64 value __unused)
{
	irq_set_line(vcpu->vm, LINE, false);
}

static u64 read_line(void *device __unused, struct vcpu *vcpu __unused, u64 offset __unused,
                     u32 size __unused)
{
	return 0;
}

static const struct bus_ops line_port = {.read = read_line, .write = lower_line};

/* --- the reader --- */

static void read_page(void *arg __unused)
{
	u32 version = lapic_register(&inhibit_vm->vcpu[0]->lapic, APIC_VERSION);

	for (u32 i = 0; i < READS; i++)
		G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_VERSION), version);
	stage_finish();
}

static void create_xapic(guest_script script)
{
	const struct vm_config config = {
	        .vcpus = 1, .memory = 16ull << 20, .accel_modes = ACCEL_MODE(ACCEL_XAPIC)};

	inhibit_vm = stage_vm(3, MODEL_MILAN, &config);
	stage_guest(inhibit_vm, script);
	inhibit_stage_hook();
	lapic_mmio_write(inhibit_vm->vcpu[0], APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
	bus_register(&inhibit_vm->io, LINE_PORT, 1, &line_port, NULL);
	vm_start(inhibit_vm);
}

static void setup_reader(void)
{
	create_xapic(read_page);
}

/* --- a window --- */

static void on_extint(u8 vector __unused, u32 error __unused)
{
	got.extints++;
	g_in(LINE_PORT, 1);
	g_out(PIC_PORT, PIC_EOI, 1);
}

static void keep_off(void *arg __unused)
{
	for (u32 i = 0; i < 2; i++)
		g_in(LINE_PORT, 1);
	g_sti();
	for (u32 i = 0; i < 2; i++)
		g_in(LINE_PORT, 1);
	stage_finish();
}

static void out(u16 port, u8 value)
{
	ASSERT(bus_write(&inhibit_vm->io, inhibit_vm->vcpu[0], port, 1, value));
}

/* The 8259's one line passes through the APIC. */
static void create_pic(guest_script script, guest_handler handler)
{
	static const u8 words[] = {PIC_VECTOR, BIT(2), 1, (u8)~BIT(PIC_LINE)};

	create_xapic(script);
	g_set_handler(PIC_VECTOR + PIC_LINE, handler);
	lapic_mmio_write(inhibit_vm->vcpu[0], APIC_LVT0, 4, APIC_DM_EXTINT);
	out(PIC_PORT, 0x11);
	for (u32 i = 0; i < ARRAY_SIZE(words); i++)
		out(PIC_PORT + 1, words[i]);
}

static void raise_line(void)
{
	irq_set_line(inhibit_vm, PIC_LINE, true);
}

static void setup_window(void)
{
	create_pic(keep_off, on_extint);
	raise_line();
}

static void on_last_extint(u8 vector, u32 error)
{
	on_extint(vector, error);
	stage_finish();
}

static void setup_extint(void)
{
	create_pic(stage_spin, on_last_extint);
}

/* --- hand-over --- */

static void have_all(void)
{
	if (got.ipis >= wanted.ipis && got.posts >= wanted.posts && got.levels >= wanted.levels)
		stage_finish();
}

/* Behind an exit, at which the mode may change with the interrupt in service. */
static void eoi(void)
{
	g_in(LINE_PORT, 1);
	g_wrmsr(MSR_X2APIC_FIRST + APIC_EOI / 16, 0);
}

static void on_ipi(u8 vector __unused, u32 error __unused)
{
	got.ipis++;
	eoi();
	have_all();
}

static void on_post(u8 vector __unused, u32 error __unused)
{
	got.posts++;
	eoi();
	have_all();
}

static void on_level(u8 vector __unused, u32 error __unused)
{
	if (++got.levels == 2)
		g_out(LINE_PORT, 0, 1);
	eoi();
	have_all();
}

static void ioapic_register(u32 index, u32 value)
{
	ioapic_write(avic_vm, 0, 4, index);
	ioapic_write(avic_vm, 0x10, 4, value);
}

static u32 line_entry(void)
{
	ioapic_write(avic_vm, 0, 4, IOAPIC_ENTRY);
	return (u32)ioapic_read(avic_vm, 0x10, 4);
}

/* vCPU 0 waits in processor 0's queue, accelerated. */
static void create(struct got what, guest_script script)
{
	wanted = what;
	avic_stage_create(&(struct avic_stage){0});
	inhibit_vm = avic_vm;
	stage_guest(avic_vm, script);
	inhibit_stage_hook();
	bus_register(&avic_vm->io, LINE_PORT, 1, &line_port, NULL);
	ioapic_register(IOAPIC_ENTRY + 1, avic_target->apic_id << 24);
	ioapic_register(IOAPIC_ENTRY, IOAPIC_LEVEL | LINE_VECTOR);
	g_set_handler(AVIC_VECTOR, on_ipi);
	g_set_handler(AVIC_VECTOR_POST, on_post);
	g_set_handler(LINE_VECTOR, on_level);
	/* vCPU 1 never starts: its processor is the sender. */
	atomic32_set(&avic_vm->live_vcpus, avic_vm->vcpu_count);
	vcpu_handle_requests(avic_target);
	ASSERT(accel_is_on(&avic_target->accel));
	accel_running(avic_target, NULL);
	if (what.levels)
		irq_set_line(avic_vm, LINE, true);
	sched_wake(avic_target);
}

static void setup_ipi(void)
{
	create((struct got){.ipis = 1}, stage_spin);
}

static void setup_ipi_sleep(void)
{
	create((struct got){.ipis = 1}, stage_sleep);
}

static void setup_post(void)
{
	create((struct got){.posts = 1}, stage_spin);
}

static void setup_level(void)
{
	create((struct got){.levels = 2}, stage_spin);
}

static void setup_level_sleep(void)
{
	create((struct got){.levels = 2}, stage_sleep);
}

static void setup_all(void)
{
	create((struct got){.ipis = 1, .levels = 2}, stage_spin);
}

/* --- actors --- */

static void off(void)
{
	inhibit_stand(INHIBIT_STORM, true);
}

static void off_and_on(void)
{
	inhibit_stand(INHIBIT_STORM, true);
	inhibit_stand(INHIBIT_STORM, false);
}

/* --- the end --- */

static const char *check_window(u32 mask)
{
	if (got.extints != 1)
		return "the 8259's interrupt has not come once";
	if (!counter_read(&inhibit_vm->vcpu[0]->account.counters[COUNTER_IRQ_WINDOWS]))
		return "no window was counted";
	if (inhibit_vm->vcpu[0]->accel.window || atomic32_read(&inhibit_vm->inhibit.windows))
		return "a window has stayed open";
	if (atomic32_read(&inhibit_vm->inhibit.mask) != mask)
		return "the mask is not what stands";
	return stage_check_ended();
}

static const char *check_extint(void)
{
	const struct vcpu *vcpu = inhibit_vm->vcpu[0];

	if (got.extints != 1)
		return "the 8259's interrupt has not come once";
	if (vcpu->accel.window != atomic32_read(&inhibit_vm->inhibit.windows))
		return "the count of windows is not the number of flags";
	return stage_check_ended();
}

static const char *check_window_off(void)
{
	return check_window(INHIBIT_BIT(STORM) |
	                    (atomic32_read(&inhibit_vm->inhibit.mask) & INHIBIT_BIT(IRQWIN)));
}

static const char *check_window_on(void)
{
	return check_window(0);
}

static const char *check_hand_over(void)
{
	if (got.ipis != wanted.ipis || got.posts != wanted.posts || got.levels != wanted.levels)
		return "an interrupt has come twice";
	if (line_entry() & REMOTE_IRR)
		return "the I/O APIC waits for an EOI that has been";
	return stage_check_ended();
}

#define LOOP(id, what, bound, prepare, start, judge, ...)                                          \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = start,                                                                    \
	        .actor = {__VA_ARGS__},                                                            \
	        .cpu = {0, 1, AVIC_SENDER_CPU},                                                    \
	        .preemptions = bound,                                                              \
	        .check = judge,                                                                    \
	}
#define HAND_OVER(id, what, bound, prepare, ...)                                                   \
	LOOP(id, "hand-over: " what, bound, prepare, begin_avic, check_hand_over, stage_processor, \
	     __VA_ARGS__)

LOOP(race_loop_page, "APIC page: the run loop meets switching off", 2, setup_reader, begin,
     stage_check_ended, stage_processor, off);
LOOP(race_loop_page_again, "APIC page: the run loop meets switching off and on", 2, setup_reader,
     begin, stage_check_ended, stage_processor, off_and_on);
LOOP(race_loop_window, "windows: the run loop's meets a reason that comes", 2, setup_window, begin,
     check_window_off, stage_processor, off);
LOOP(race_loop_window_again, "windows: the run loop's meets a reason that comes and goes", 2,
     setup_window, begin, check_window_on, stage_processor, off_and_on);
LOOP(race_loop_extint, "windows: an ExtINT meets the run loop", 2, setup_extint, begin,
     check_extint, stage_processor, raise_line);
LOOP(race_loop_extint_again, "windows: an ExtINT meets switching off and on", 1, setup_extint,
     begin, check_extint, stage_processor, raise_line, off_and_on);
HAND_OVER(race_hand_over_level, "a level-triggered line meets switching off", 3, setup_level, off);
HAND_OVER(race_hand_over_level_again, "a level-triggered line meets switching off and on", 2,
          setup_level, off_and_on);
HAND_OVER(race_hand_over_level_sleep, "a level-triggered line, HLT, switching off and on", 2,
          setup_level_sleep, off_and_on);
HAND_OVER(race_hand_over_ipi, "an IPI meets switching off and on", 1, setup_ipi, off_and_on,
          avic_send_ipi);
HAND_OVER(race_hand_over_ipi_sleep, "an IPI meets HLT and switching off and on", 1, setup_ipi_sleep,
          off_and_on, avic_send_ipi);
HAND_OVER(race_hand_over_post, "a device's message meets switching off and on", 1, setup_post,
          off_and_on, avic_post);
HAND_OVER(race_hand_over_all, "a line and an IPI meet switching off and on", 1, setup_all,
          off_and_on, avic_send_ipi);
