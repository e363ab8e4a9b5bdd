/* SPDX-License-Identifier: BSD-2-Clause */
/* See inhibit.h. */
#include "tests/race/inhibit.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "core/nested.h"
#include "cpu_model/model.h"
#include "irq/accel_check.h"
#include "irq/apic_page.h"
#include "irq/irq_window.h"
#include "posix.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "x86/apic.h"

#define CPUS  3
#define VCPUS 2

const struct inhibit_code inhibit_right = {
        .name = "right",
        .change = inhibit_change,
        .window_open = irq_window_open,
        .window_close = irq_window_close,
        .nested_enter = nested_enter,
        .fault = apic_page_fault,
};
const struct inhibit_code *inhibit_code = &inhibit_right;

struct vm *inhibit_vm;
struct atomic32 inhibit_over;
u32 inhibit_expected;

/* --- creation --- */

static void (*real_set)(struct vcpu *vcpu, enum accel_mode mode, bool with_page);

static void set_and_more(struct vcpu *vcpu, enum accel_mode mode, bool with_page)
{
	real_set(vcpu, mode, with_page);
	if (inhibit_code->handed_over)
		inhibit_code->handed_over(vcpu, mode);
}

void inhibit_stage_hook(void)
{
	struct accel_ops *ops = stage_accel_ops();

	real_set = ops->set;
	ops->set = set_and_more;
}

void inhibit_stage_create(void)
{
	const struct vm_config config = {
	        .vcpus = VCPUS, .memory = 16ull << 20, .accel_modes = ACCEL_MODE(ACCEL_XAPIC)};
	struct vcpu *vcpu;

	inhibit_vm = stage_vm(CPUS, MODEL_MILAN, &config);
	inhibit_stage_hook();
	for_each_vcpu (vcpu, inhibit_vm)
		lapic_mmio_write(vcpu, APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
	for_each_vcpu (vcpu, inhibit_vm)
		stage_run_on(vcpu, vcpu->index);
	atomic32_set(&inhibit_vm->live_vcpus, VCPUS);
	inhibit_expected = 1;
}

void inhibit_stage_begin(void)
{
	atomic32_set(&inhibit_over, 0);
}

/* --- a vCPU's turn --- */

struct vcpu *inhibit_own(void)
{
	return this_cpu()->current;
}

static struct atomic64 *kicks(void)
{
	return &model_current()->irr[CPU_VECTOR_KICK / 64];
}

/* Two places: the look depends on every other step, and is one. */
static bool may_stay(void)
{
	u64 irr = __atomic_load_n(&kicks()->v, __ATOMIC_RELAXED);
	u32 over = __atomic_load_n(&inhibit_over.v, __ATOMIC_RELAXED);

	return !(irr & BIT64(CPU_VECTOR_KICK % 64)) && over != inhibit_expected;
}

static void stay(void)
{
	race_point(NULL, RACE_READ);
	while (may_stay())
		race_relax();
}

/* Behind the exit the host takes what has brought it about. */
static void leave(struct vcpu *vcpu)
{
	atomic32_set_release(&vcpu->mode, VCPU_OUTSIDE);
	atomic64_fetch_and(kicks(), ~BIT64(CPU_VECTOR_KICK % 64));
}

void inhibit_turn(struct vcpu *vcpu, const char *(*guest)(struct vcpu *vcpu))
{
	const char *wrong;

	do {
		vcpu_handle_requests(vcpu);
	} while (!stage_enter(vcpu));
	if (accel_is_wrong(vcpu))
		posix_fail("a vCPU enters in a state that the mask does not demand");
	wrong = guest(vcpu);
	if (wrong)
		posix_fail("%s", wrong);
	leave(vcpu);
}

const char *inhibit_look(struct vcpu *vcpu)
{
	return accel_is_wrong(vcpu) ? "a vCPU is in the guest by an old mask" : NULL;
}

const char *inhibit_wait(struct vcpu *vcpu)
{
	const char *wrong = inhibit_look(vcpu);

	if (!wrong)
		stay();
	return wrong;
}

/* --- requesters --- */

void inhibit_stand(enum inhibit_reason reason, bool stands)
{
	inhibit_code->change(inhibit_vm, BIT(reason), stands ? BIT(reason) : 0);
}

void inhibit_done(void)
{
	atomic32_fetch_add(&inhibit_over, 1);
}

/* --- the end --- */

const char *inhibit_check(u32 mask)
{
	struct vcpu *vcpu;
	u32 flags = 0;

	for_each_vcpu (vcpu, inhibit_vm)
		flags += vcpu->accel.window;
	if (atomic32_read(&inhibit_vm->inhibit.windows) != flags)
		return "the count of windows is not the number of flags";
	if (atomic32_read(&inhibit_vm->inhibit.mask) != mask)
		return "the mask is not what stands";
	for_each_vcpu (vcpu, inhibit_vm) {
		posix_set_current(&model()->cpu[vcpu->index]);
		vcpu_handle_requests(vcpu);
		if (accel_is_wrong(vcpu))
			return "a vCPU's state is not what the mask demands";
		if (!accel_is_on(&vcpu->accel) == !mask)
			return "a vCPU's state is not what the reasons demand";
	}
	return NULL;
}

struct model_cpu *inhibit_stage_load(struct vcpu *vcpu)
{
	struct model_cpu *cpu = model_current();
	struct svm_vcpu *svm = svm_of(vcpu);

	cpu->control = svm->vmcb->control;
	cpu->control.asid = 1 + vcpu->index;
	if (svm->flush)
		model_tlb_flush(cpu, cpu->control.asid);
	svm->flush = false;
	return cpu;
}
