/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware delivery as a whole: irq/'s local APICs with accel.c and lapic_accel.c, svm/avic.c and
 * svm/avic_exit.c as the back end, and AVIC's microcode as the processor, for three vCPUs on
 * three processors. vCPUs run, sleep, are preempted and move; guests change IDs, logical IDs, modes and enables, send and
 * end; processors with any of the switches; devices send; acceleration comes and goes. An input: one byte of what the
 * VM and the processor are, the switches, then operations.
 *
 * What has to hold after each operation is in accel_check.c; FUZZ_TRACE=1 names them.
 */
#include "tests/fuzz/accel_fuzz.h"

#include "core/cpu.h"
#include "insn.h"
#include "irq/irq_window.h"
#include "postern/backend.h"
#include "x86/msr.h"

struct hw hw[VCPUS];
struct svm_vm svm_vm;
struct svm_features svm_features;
static bool kicked[CPUS]; /* a processor's guest has to leave */

/* --- around the files under test --- */

void cpu_kick(struct cpu *cpu)
{
	kicked[cpu->index] = true;
}

void svm_flush(struct vcpu *vcpu)
{
	svm_of(vcpu)->flush = true;
}

void svm_intr_insn_exit(struct vcpu *vcpu)
{
	(void)vcpu;
}

void svm_intr_apply_avic(struct vcpu *vcpu)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	control->int_ctl &= ~(SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE);
	control->int_ctl |= svm_of(vcpu)->avic_bits;
}

void svm_intr_virq_to_event(struct vcpu *vcpu)
{
	(void)vcpu;
}

/* A doorbell: heard by a guest under AVIC only. */
static void on_ring(void *context, u32 host_id)
{
	u32 p = host_id - HOST_ID, i = vcpu_on(p);

	(void)context;
	FUZZ_CHECK(p < CPUS, "%s: doorbell to %x", operation, host_id);
	if (i != NOBODY && seat[i].inside && hw[i].avic.enabled)
		avic_evaluate(&hw[i].avic);
}

static void on_doorbell(u64 value)
{
	on_ring(NULL, (u32)value);
}

struct insn_slots insn_slots = {.doorbell = on_doorbell};

/* --- the processor --- */

bool hw_enter(u32 i)
{
	struct avic *avic = &hw[i].avic;
	const char *refused;

	avic->enabled = false;
	if (!accel_is_on(&cpu(i)->accel))
		return false;
	refused = avic_check(&hw[i].vmcb.control, &avic->memory, AVIC_X2APIC_MAX);
	FUZZ_CHECK(!refused, "VMRUN: %s", refused);
	avic_enter(avic, &hw[i].vmcb.control);
	return true;
}

void hw_leave(u32 i)
{
	(void)i;
}

void hw_take_interrupts(void)
{
	u32 i = vcpu_on(acting);

	if (kicked[acting] && i != NOBODY)
		leave(i);
	kicked[acting] = false;
}

bool hw_is_interrupted(u32 p)
{
	return kicked[p];
}

/* A sender's processor that finds it not running exits, and software wakes it at once. */
bool hw_is_about_to_wake(u32 i)
{
	(void)i;
	return false;
}

const u64 *hw_counts(u32 i)
{
	return hw[i].avic.counts;
}

bool hw_knows(u32 i, u8 vector)
{
	return hw[i].avic.enabled && hw[i].avic.pending == vector;
}

static void handle(u32 i, struct avic_result result, u32 offset, u64 value)
{
	struct vmcb_control *control = &hw[i].vmcb.control;

	if (result.action == AVIC_DONE || result.action == AVIC_GP)
		return;
	leave(i);
	control->exit_info_1 = result.info_1;
	control->exit_info_2 = result.info_2;
	if (result.exit_code == SVM_EXIT_AVIC_INCOMPLETE_IPI)
		svm_avic_ipi_exit(cpu(i));
	else
		svm_avic_noaccel_exit(cpu(i));
	handle_exit(i, offset, value);
}

/* By the page or by MSR as the mode is; elsewhere by the page, which nobody answers. */
void hw_write(u32 i, u32 offset, u64 value)
{
	struct avic *avic = &hw[i].avic;
	u32 msr = MSR_X2APIC_FIRST + offset / 16;

	if (avic->enabled && avic->x2) {
		handle(i, avic_msr_write(avic, msr, value), offset, value);
		return;
	}
	if (avic->enabled) {
		handle(i, avic_page_write(avic, offset, 4, value), offset, value);
		return;
	}
	leave(i);
	if (is_x2apic(i))
		lapic_msr_write(cpu(i), msr, value);
	else
		lapic_mmio_write(cpu(i), offset, 4, value);
}

/* --- what only this fuzzer does --- */

/* Of what is sent so, nobody keeps account: an interrupt command of any kind, an error. */
static void forget_all(void)
{
	for (u32 i = 0; i < VCPUS; i++)
		forget_requests(i);
}

static void any_register(u32 i)
{
	u32 offset = any_offset();

	operation = "write of a register";
	hw_write(i, offset, any_value());
	forget_all();
}

static void task_priority(u32 i)
{
	u8 value = fuzz_u8(&in) & 0x3f;

	operation = "CR8";
	if (hw[i].avic.enabled) {
		avic_write_cr8(&hw[i].avic, value >> 2);
		return;
	}
	lapic_set_cr8(cpu(i), value >> 2);
	leave(i);
}

static void take(u32 i)
{
	struct model_vectors page;
	int vector;

	operation = "delivery";
	if (!hw[i].avic.enabled)
		return;
	load_page(&page, i);
	vector = deliverable(i, &page);
	FUZZ_CHECK(avic_take(&hw[i].avic) == vector, "%s: not %d", operation, vector);
	if (vector >= 0)
		took(i, (u8)vector);
}

static void send_any(u32 i)
{
	u32 delivery_mode = (u32)(fuzz_u8(&in) & 7) << 8;

	send(i, delivery_mode);
	if (delivery_mode != APIC_DM_FIXED)
		forget_all();
}

static void device_message(void)
{
	u8 how = fuzz_u8(&in);
	struct irq_message message = {.vector = any_vector(),
	                              .logical = how & 1,
	                              .level = how & 2,
	                              .assert = true,
	                              .dest = fuzz_u8(&in) & (how & 4 ? 3 : 0xff)};

	operation = "message";
	acting = DEVICES;
	want_all(model_accepting(model_destinations(&message), message.vector), message.vector);
	irq_deliver(fake.vm, &message);
}

/* Reasons why acceleration is not wanted come and go. */
static void inhibit(u32 i)
{
	u8 choice = fuzz_u8(&in);

	operation = "inhibit";
	leave(i);
	if (choice & 1)
		irq_window_open(cpu(i));
	else
		irq_window_close(cpu(i));
	if (choice & 2)
		inhibit_change(fake.vm, INHIBIT_BIT(STORM), choice & 4 ? ~0u : 0);
}

/* --- an input --- */

static void make_hw(u32 i, u32 switches)
{
	struct hw *h = &hw[i];

	memset(&h->vmcb.control, 0, sizeof(h->vmcb.control));
	h->vmcb.control.np_control = SVM_NP_ENABLE;
	h->svm = (struct svm_vcpu){.vmcb = &h->vmcb};
	h->avic = (struct avic){
	        .switches = switches, .memory = {PAGE_SIZE, 1ull << 47}, .doorbell = on_ring};
	cpu(i)->arch = &h->svm;
}

static void begin(void)
{
	static const u32 apic_ids[] = {0, 1, 2}, sparse[] = {0, 17, 40};
	static struct backend backend = {.accel = &svm_avic_ops};
	u8 choice = fuzz_u8(&in);
	u32 switches = fuzz_u16(&in) & (BIT(AVIC_SWITCH_COUNT) - 1);

	memset(kicked, 0, sizeof(kicked));
	svm_vm = (struct svm_vm){.msrpm = (u8 *)&svm_vm};
	svm_features = (struct svm_features){
	        .edx = SVM_CPUID_AVIC | (choice & 1 ? 0 : SVM_CPUID_X2AVIC),
	        .stale_running = choice & 2,
	};
	machine_begin(choice & 4 ? sparse : apic_ids, &backend, ~0u);
	fake.vm->arch = &svm_vm;
	for (u32 i = 0; i < VCPUS; i++)
		make_hw(i, switches);
	machine_accelerate();
	program(!(choice & 8), choice & 0x10);
}

static void operate(void)
{
	u8 choice = fuzz_u8(&in);
	u32 i = (choice >> 5) % VCPUS;

	operation = "entry";
	act(i);
	switch (choice & 0x1f) {
	case 0 ... 6:
		send(i, APIC_DM_FIXED);
		break;
	case 7:
		send_any(i);
		break;
	case 8:
		migrate(i);
		break;
	case 9 ... 11:
		device_message();
		break;
	case 12 ... 14:
		take(i);
		break;
	case 15 ... 16:
		end_of_interrupt(i);
		break;
	case 17 ... 20:
		identity(i);
		break;
	case 21:
		apic_base(i);
		break;
	case 22:
		task_priority(i);
		break;
	case 23 ... 25:
		halt(i);
		break;
	case 26:
		preempt(i);
		break;
	case 27:
		inhibit(i);
		break;
	case 28:
		reset(i);
		break;
	default:
		any_register(i);
		break;
	}
	accel_check(i);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	in = (struct fuzz_input){data, data + size};
	begin();
	accel_check(0);
	for (u32 i = 0; fuzz_left(&in) && i < MOST_OPERATIONS; i++)
		operate();
	accel_destroy(fake.vm);
	svm_avic_vm_exit(&svm_vm);
	fake_destroy();
	return 0;
}
