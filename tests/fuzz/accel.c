/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware delivery as a whole: irq/'s local APICs with accel.c and lapic_accel.c, svm/avic.c and
 * svm/avic_exit.c as the back end, and AVIC's microcode as the processor, for three vCPUs on a
 * processor each. Guests change IDs, logical IDs, modes and enables, send, end and sleep; processors
 * with any of the switches; devices send; acceleration comes and goes. An input: one byte of what the
 * VM and the processor are, the switches, then operations.
 *
 * What has to hold after each operation is in accel_check.c; FUZZ_TRACE=1 names them.
 */
#include "tests/fuzz/accel_fuzz.h"

#include "core/sched.h"
#include "insn.h"
#include "irq/accel_check.h"
#include "irq/apic_page.h"
#include "irq/irq_window.h"
#include "mmu/mmu.h"
#include "postern/backend.h"
#include "postern/port.h"

#define MOST_OPERATIONS 40

struct seat seat[VCPUS];
struct svm_vm svm_vm;
struct svm_features svm_features;
const char *operation;
bool mapped;
static u64 instructions; /* that any vCPU has begun */

static struct fuzz_input in;
static u32 acting; /* index of the present processor */
static u32 zaps;

/* --- around the files under test --- */

void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)hpa.v;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA((uintptr_t)p);
}

struct cpu *this_cpu(void)
{
	return &fake.machine->cpu[acting];
}

void vcpu_request(struct vcpu *vcpu, u32 requests)
{
	fake.requests[vcpu->index] |= requests;
	seat[vcpu->index].kicked = true;
	seat[vcpu->index].asleep = false;
}

bool sched_wake(struct vcpu *vcpu)
{
	bool was = seat[vcpu->index].asleep;

	seat[vcpu->index].asleep = false;
	return was;
}

u32 mmu_invalidate_seq(const struct vm *vm)
{
	(void)vm;
	return zaps;
}

bool mmu_install(struct vm *vm, gpa_t gpa, hpa_t hpa, u32 access, u32 seq)
{
	FUZZ_CHECK(gpa.v == APIC_BASE_DEFAULT && hpa.v == ptr_to_hpa(vm->accel.page).v &&
	                   access == (MMU_READ | MMU_WRITE) && seq == zaps,
	           "%s: maps %llx", operation, (unsigned long long)gpa.v);
	mapped = true;
	return true;
}

bool mmu_zap(struct vm *vm, gpa_t gpa, u64 size)
{
	(void)vm;
	FUZZ_CHECK(gpa.v == APIC_BASE_DEFAULT && size == PAGE_SIZE, "%s: zaps %llx", operation,
	           (unsigned long long)gpa.v);
	mapped = false;
	zaps++;
	return true;
}

hpa_t mmu_root(struct vm *vm)
{
	(void)vm;
	return HPA(PAGE_SIZE);
}

hpa_t mmu_root_without_apic(struct vm *vm)
{
	(void)vm;
	return HPA(2 * PAGE_SIZE);
}

const u64 *port_hw_counts(void)
{
	return seat[acting].avic.counts;
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

/* What is injected is delivered at once here: nothing is in the slot. */
void intr_before_switch(struct vcpu *vcpu)
{
	(void)vcpu;
}

/* A doorbell: heard by a guest under AVIC only. */
static void on_ring(void *context, u32 host_id)
{
	u32 i = host_id - HOST_ID;

	(void)context;
	FUZZ_CHECK(i < VCPUS, "%s: doorbell to %x", operation, host_id);
	if (seat[i].inside && seat[i].avic.enabled)
		avic_evaluate(&seat[i].avic);
}

static void on_doorbell(u64 value)
{
	on_ring(NULL, (u32)value);
}

struct insn_slots insn_slots = {.doorbell = on_doorbell};

/* --- entering and leaving the guest --- */

static void leave(u32 i)
{
	seat[i].inside = false;
	atomic32_set(&cpu(i)->mode, VCPU_OUTSIDE);
}

u32 vcpu_request_all(struct vm *vm, u32 requests)
{
	(void)vm;
	for (u32 i = 0; i < VCPUS; i++) {
		fake.requests[i] |= requests;
		leave(i);
		seat[i].kicked = true;
	}
	return VCPUS;
}

static void end_turn(u32 i)
{
	leave(i);
	if (seat[i].turn)
		accel_running(cpu(i), NULL);
	seat[i].turn = false;
}

/* By the registers and the mask alone. */
static bool should_be_on(u32 i)
{
	enum accel_mode mode = is_x2apic(i) ? ACCEL_X2APIC : ACCEL_XAPIC;

	return !fake.vm->inhibit.mask.v && model_software_enabled() & BIT64(i) &&
	       fake.vm->accel.modes & ACCEL_MODE(mode);
}

static void enter(u32 i)
{
	struct seat *s = &seat[i];
	u32 requests;
	int vector;

	leave(i);
	s->asleep = false;
	if (!s->turn) {
		s->turn = true;
		accel_running(cpu(i), cpu(i)->cpu);
	}
	s->kicked = false;
	while ((requests = fake_take_requests(cpu(i)) | atomic32_xchg(&cpu(i)->requests, 0))) {
		if (requests & VCPU_REQUEST_SIGNAL)
			lapic_take_signals(cpu(i));
		if (requests & VCPU_REQUEST_ACCEL)
			accel_update(cpu(i));
	}
	FUZZ_CHECK(!accel_is_wrong(cpu(i)) && cpu(i)->accel.mode.v == accel_demanded(cpu(i)),
	           "entry: acceleration is %u, not %u", cpu(i)->accel.mode.v,
	           accel_demanded(cpu(i)));
	FUZZ_CHECK(accel_is_on(&cpu(i)->accel) == should_be_on(i), "entry: acceleration is %u",
	           cpu(i)->accel.mode.v);
	/* Another instruction each time, also behind a start-up, which sets RIP back. */
	cpu(i)->regs.rip = ++instructions;
	if (cpu(i)->accel.mode.v == ACCEL_XAPIC)
		FUZZ_CHECK(apic_page_fault(cpu(i), GPA(APIC_BASE_DEFAULT)) && mapped,
		           "the fault of an accelerated vCPU does not map the page");
	s->avic.enabled = false;
	if (accel_is_on(&cpu(i)->accel)) {
		const char *refused =
		        avic_check(&s->vmcb.control, &s->avic.memory, AVIC_X2APIC_MAX);

		FUZZ_CHECK(!refused, "VMRUN: %s", refused);
		avic_enter(&s->avic, &s->vmcb.control);
	} else {
		vector = lapic_deliverable(cpu(i));
		FUZZ_CHECK(vector == deliverable(i), "entry: %d is deliverable, not %d", vector,
		           deliverable(i));
		if (vector >= 0)
			lapic_ack(cpu(i), (u8)vector);
	}
	s->inside = true;
	atomic32_set(&cpu(i)->mode, VCPU_IN_GUEST);
}

/* The vCPU executes something. */
static void act(u32 i)
{
	acting = i;
	if (!seat[i].inside || seat[i].kicked)
		enter(i);
}

/* --- the guest's accesses, and the exits that they cause --- */

static void handle(u32 i, struct avic_result result, u32 offset, u32 size, u64 value)
{
	struct vcpu *vcpu = cpu(i);
	struct vmcb_control *control = &seat[i].vmcb.control;

	if (result.action == AVIC_DONE || result.action == AVIC_GP)
		return;
	leave(i);
	seat[i].kicked = true; /* it enters anew before it executes the next instruction */
	control->exit_info_1 = result.info_1;
	control->exit_info_2 = result.info_2;
	if (result.exit_code == SVM_EXIT_AVIC_INCOMPLETE_IPI)
		svm_avic_ipi_exit(vcpu);
	else
		svm_avic_noaccel_exit(vcpu);
	switch (vcpu->exit.kind) {
	case EXIT_IPI_INCOMPLETE:
		lapic_ipi_incomplete(vcpu, vcpu->exit.apic.icr, vcpu->exit.apic.dest,
		                     vcpu->exit.apic.posted);
		break;
	case EXIT_APIC_WRITE:
		if (vcpu->exit.apic.offset == APIC_EOI)
			lapic_eoi_written(vcpu, vcpu->exit.apic.vector);
		else
			lapic_written(vcpu, vcpu->exit.apic.offset);
		break;
	case EXIT_APIC_ACCESS:
		FUZZ_CHECK(vcpu->exit.memory.write &&
		                   vcpu->exit.memory.gpa.v ==
		                           APIC_BASE_DEFAULT + ALIGN_DOWN(offset, 16u),
		           "%s: exit for another access", operation);
		lapic_mmio_write(vcpu, offset, size, value);
		break;
	case EXIT_WRMSR:
		lapic_msr_write(vcpu, MSR_X2APIC_FIRST + offset / 16, value);
		break;
	default:
		FUZZ_FAIL("%s: exit %u", operation, vcpu->exit.kind);
	}
}

/* Of the register, by the page or by MSR as the mode is; elsewhere by the page, which nobody answers. */
static void write_register(u32 i, u32 offset, u64 value)
{
	struct avic *avic = &seat[i].avic;
	u32 msr = MSR_X2APIC_FIRST + offset / 16;

	if (avic->enabled && avic->x2) {
		handle(i, avic_msr_write(avic, msr, value), offset, 8, value);
		return;
	}
	if (avic->enabled) {
		handle(i, avic_page_write(avic, offset, 4, value), offset, 4, value);
		return;
	}
	leave(i);
	seat[i].kicked = true;
	if (is_x2apic(i))
		lapic_msr_write(cpu(i), msr, value);
	else
		lapic_mmio_write(cpu(i), offset, 4, value);
}

static u32 any_value(void)
{
	u8 choice = fuzz_u8(&in);

	if (choice < 0x80)
		return choice & 1 ? (u32)choice << 1 : 0x1ff;
	return choice < 0xc0 ? (u32)choice << 24 : fuzz_u32(&in);
}

static void any_register(u32 i)
{
	u32 offset = (fuzz_u8(&in) & 0x3f) << 4;

	operation = "write of a register";
	write_register(i, offset, any_value());
}

/* Who is reached by what: the registers that the tables follow. */
static void identity(u32 i)
{
	static const u32 dfr[] = {0xffffffff, 0x0fffffff, 0xffffffff, 0x5fffffff};
	u8 choice = fuzz_u8(&in), value = fuzz_u8(&in);

	switch (choice & 7) {
	case 0:
		operation = "write of ID";
		write_register(i, APIC_ID, (value & 1 ? cpu(i)->apic_id : (u32)value & 3) << 24);
		break;
	case 1:
		operation = "write of DFR";
		write_register(i, APIC_DFR, dfr[value & 3]);
		break;
	case 2:
		operation = "write of SVR";
		write_register(i, APIC_SVR, value & 3 ? APIC_SVR_ENABLE | value : value);
		break;
	case 3:
		operation = "DFR of all";
		for (u32 n = 0; n < VCPUS; n++) {
			act(n);
			write_register(n, APIC_DFR, dfr[value & 1]);
		}
		break;
	default:
		operation = "write of LDR";
		write_register(i, APIC_LDR,
		               (choice & 8 ? (u32)value : BIT(value & 3) | (value & 0xf0)) << 24);
		break;
	}
}

static void apic_base(u32 i)
{
	u8 choice = fuzz_u8(&in);
	u64 value = choice & 0x80 ? (u64)choice << 12 : APIC_BASE_DEFAULT;

	operation = "WRMSR APIC_BASE";
	leave(i);
	seat[i].kicked = true;
	lapic_msr_write(cpu(i), MSR_APIC_BASE, value | (choice & 3) * APIC_BASE_EXTD);
}

static void task_priority(u32 i)
{
	u8 value = fuzz_u8(&in) & 0x3f;

	operation = "CR8";
	if (seat[i].avic.enabled)
		avic_write_cr8(&seat[i].avic, value >> 2);
	else
		lapic_set_cr8(cpu(i), value >> 2);
}

static void end_of_interrupt(u32 i)
{
	operation = "EOI";
	write_register(i, APIC_EOI, 0);
}

static void take(u32 i)
{
	int vector;

	operation = "delivery";
	if (!seat[i].avic.enabled)
		return;
	vector = deliverable(i);
	/* What has been posted and not been seen makes it leave the guest first. */
	if (vector >= 0 && seat[i].avic.pending != vector)
		FUZZ_CHECK(seat[i].kicked, "%s: %d is pending, not %d", operation,
		           seat[i].avic.pending, vector);
	FUZZ_CHECK(avic_take(&seat[i].avic) == vector, "%s: not %d", operation, vector);
}

/* --- IPIs and messages --- */

static u8 any_vector(void)
{
	return (u8)(0x10 + (fuzz_u8(&in) & 7) * 0x1f);
}

static u32 any_dest(u32 i, bool logical)
{
	u8 choice = fuzz_u8(&in);

	if (choice >= 0xf0)
		return is_x2apic(i) ? ~0u : 0xff;
	if (choice & 0x80)
		return fuzz_u8(&in) | (choice & 0x40 ? fuzz_u16(&in) << 8 : 0);
	if (!logical)
		return cpu(choice % VCPUS)->apic_id;
	return is_x2apic(i) ? apic_reg(choice % VCPUS, APIC_LDR)
	                    : apic_reg(choice % VCPUS, APIC_LDR) >> 24;
}

static void send(u32 i)
{
	struct model_vectors before[VCPUS];
	u8 how = fuzz_u8(&in);
	struct irq_message message = {.sender = cpu(i),
	                              .vector = any_vector(),
	                              .shorthand = (u32)(how & 3) << 18,
	                              .logical = how & 4,
	                              .x2apic_format = is_x2apic(i)};
	u32 dest = any_dest(i, message.logical), icr;
	bool fixed = (how & 0xe0) != 0xe0 || how == 0xff;
	u64 reached;

	operation = "IPI";
	if (!is_xapic(i) && !is_x2apic(i))
		return;
	if (!is_x2apic(i))
		dest &= 0xff;
	message.dest = dest;
	icr = message.vector | message.shorthand | (message.logical ? APIC_DEST_LOGICAL : 0) |
	      APIC_LEVEL_ASSERT | (fixed ? 0 : (u32)(how >> 2 & 7) << 8);
	fixed = !(icr & APIC_DM_MASK);
	reached = model_accepting(model_destinations(&message), message.vector);
	load_requests(before);
	if (is_x2apic(i)) {
		write_register(i, APIC_ICR, (u64)dest << 32 | icr);
	} else {
		write_register(i, APIC_ICR2, dest << 24);
		act(i);
		load_requests(before);
		write_register(i, APIC_ICR, icr);
	}
	if (fixed)
		check_reached(before, reached, message.vector);
}

static void device_message(void)
{
	struct model_vectors before[VCPUS];
	u8 how = fuzz_u8(&in);
	struct irq_message message = {.vector = any_vector(),
	                              .logical = how & 1,
	                              .level = how & 2,
	                              .assert = true,
	                              .dest = fuzz_u8(&in) & (how & 4 ? 3 : 0xff)};

	operation = "message";
	acting = VCPUS; /* a processor of its own */
	load_requests(before);
	irq_deliver(fake.vm, &message);
	check_reached(before, model_accepting(model_destinations(&message), message.vector),
	              message.vector);
}

/* --- what vCPUs go through --- */

static void sleep_until_woken(u32 i)
{
	operation = "HLT";
	end_turn(i);
	/* As the scheduler: IsRunning is clear, and then it looks once more. */
	seat[i].asleep = deliverable(i) < 0 && !fake.requests[i];
}

/* Reasons why acceleration is not wanted come and go. */
static void inhibit(u32 i)
{
	u8 choice = fuzz_u8(&in);

	operation = "inhibit";
	leave(i);
	seat[i].kicked = true;
	if (choice & 1)
		irq_window_open(cpu(i));
	else
		irq_window_close(cpu(i));
	if (choice & 2)
		inhibit_change(fake.vm, INHIBIT_BIT(STORM), choice & 4 ? ~0u : 0);
}

static void reset(u32 i)
{
	operation = "reset";
	leave(i);
	seat[i].kicked = true;
	lapic_reset(cpu(i), fuzz_u8(&in) & 1);
}

/* --- an input --- */

static void make_vcpu(u32 i, u32 switches)
{
	struct seat *s = &seat[i];

	memset(&s->svm, 0, sizeof(*s) - offsetof(struct seat, svm));
	memset(&s->vmcb.control, 0, sizeof(s->vmcb.control));
	s->vmcb.control.np_control = SVM_NP_ENABLE;
	s->svm.vmcb = &s->vmcb;
	s->avic.switches = switches;
	s->avic.memory = (struct avic_memory){PAGE_SIZE, 1ull << 47};
	s->avic.doorbell = on_ring;
	cpu(i)->arch = &s->svm;
	cpu(i)->cpu = &fake.machine->cpu[i];
	cpu(i)->cpu->apic_id = HOST_ID + i;
	cpu(i)->activity = VCPU_ACTIVE;
}

static void begin(void)
{
	static const u32 apic_ids[] = {0, 1, 2}, sparse[] = {0, 17, 40};
	static struct backend backend = {.accel = &svm_avic_ops};
	u8 choice = fuzz_u8(&in);
	u32 switches = fuzz_u16(&in) & (BIT(AVIC_SWITCH_COUNT) - 1);

	operation = "creation";
	acting = 0;
	mapped = false;
	zaps = 0;
	svm_vm = (struct svm_vm){.msrpm = (u8 *)&svm_vm};
	svm_features = (struct svm_features){
	        .edx = SVM_CPUID_AVIC | (choice & 1 ? 0 : SVM_CPUID_X2AVIC),
	        .stale_running = choice & 2,
	};
	fake_create_with_ids(VCPUS, choice & 4 ? sparse : apic_ids);
	fake.machine->backend = &backend;
	fake.vm->inhibit.needed = ~0u;
	fake.vm->arch = &svm_vm;
	for (u32 i = 0; i < VCPUS; i++)
		make_vcpu(i, switches);
	FUZZ_CHECK(accel_create(fake.vm, ACCEL_MODE(ACCEL_XAPIC) | ACCEL_MODE(ACCEL_X2APIC)),
	           "no acceleration");
	for (u32 i = 0; i < VCPUS; i++) {
		if (choice & 8)
			continue;
		act(i);
		write_register(i, APIC_SVR, APIC_SVR_ENABLE | 0xff);
		write_register(i, APIC_LDR, BIT(i) << 24);
		leave(i);
		if (choice & 0x10)
			lapic_msr_write(cpu(i), MSR_APIC_BASE,
			                atomic64_read(&apic(i)->base) | APIC_BASE_EXTD);
	}
}

static void operate(void)
{
	u8 choice = fuzz_u8(&in);
	u32 i = (choice >> 5) % VCPUS;

	act(i);
	switch (choice & 0x1f) {
	case 0 ... 8:
		send(i);
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
		sleep_until_woken(i);
		break;
	case 26:
		operation = "preemption";
		end_turn(i);
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
