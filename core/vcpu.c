/* SPDX-License-Identifier: BSD-2-Clause */
/* vCPU: requests, exceptions, reset. The kick handshake is drawn in core/vcpu.h. */
#include "core/vcpu.h"
#include "core/hv.h"
#include "core/machine.h"
#include "core/nested.h"
#include "core/sched.h"
#include "core/vm.h"
#include "postern/port.h"
#include "x86/msr.h"

/* true: a physical interrupt is under way to it. */
static __inlined bool kick_if_in_guest(struct vcpu *vcpu)
{
	struct cpu *cpu;

	if (atomic32_read(&vcpu->mode) != VCPU_IN_GUEST)
		return false;
	cpu = ptr_read(&vcpu->cpu);
	if (cpu == this_cpu())
		return false;
	cpu_kick(cpu);
	counter_add_shared(&vcpu->account.counters[COUNTER_KICKS], 1);
	return true;
}

void vcpu_request(struct vcpu *vcpu, u32 requests)
{
	atomic32_fetch_or(&vcpu->requests, requests);
	if (sched_wake(vcpu))
		return;
	smp_mb();
	kick_if_in_guest(vcpu);
}

void vcpu_request_quietly(struct vcpu *vcpu, u32 requests)
{
	atomic32_fetch_or(&vcpu->requests, requests);
	smp_mb();
	kick_if_in_guest(vcpu);
}

u32 vcpu_request_all(struct vm *vm, u32 requests)
{
	struct vcpu *vcpu;
	u64 awaited = 0;
	u32 kicked = 0;

	for_each_vcpu (vcpu, vm)
		atomic32_fetch_or(&vcpu->requests, requests);
	smp_mb();
	for_each_vcpu (vcpu, vm) {
		if (!kick_if_in_guest(vcpu))
			continue;
		awaited |= BIT64(vcpu->index);
		kicked++;
	}
	/* One that has left and come back, or is about to, has taken the requests on its way. */
	for (u64 left = awaited; left; left &= left - 1) {
		vcpu = vm->vcpu[__builtin_ctzll(left)];
		wait_until(atomic32_read(&vcpu->mode) != VCPU_IN_GUEST ||
		           !(atomic32_read(&vcpu->requests) & requests));
	}
	return kicked;
}

#define RARE_REQUESTS                                                                              \
	(VCPU_REQUEST_SIGNAL | VCPU_REQUEST_DEBUG | VCPU_REQUEST_STIMER | VCPU_REQUEST_FLUSH |     \
	 VCPU_REQUEST_ACCEL | VCPU_REQUEST_EOI_EXIT)

static __noinline void handle_rare(struct vcpu *vcpu, u32 requests)
{
	if (requests & VCPU_REQUEST_DEBUG)
		debugger_attend(vcpu);
	if (requests & VCPU_REQUEST_SIGNAL &&
	    (vcpu->activity != VCPU_STOPPED || !debugger_defers(vcpu, VCPU_REQUEST_SIGNAL)))
		lapic_take_signals(vcpu);
	if (requests & VCPU_REQUEST_STIMER)
		stimer_expired(vcpu);
	if (requests & VCPU_REQUEST_FLUSH)
		backend_op(flush)(vcpu);
	if (requests & VCPU_REQUEST_ACCEL)
		accel_update(vcpu);
	if (requests & VCPU_REQUEST_EOI_EXIT)
		accel_eoi_exits(vcpu);
}

void vcpu_handle_requests(struct vcpu *vcpu)
{
	u32 requests = atomic32_read_relaxed(&vcpu->requests);

	if (!requests)
		return;
	/*
	 * Cleared before they are acted on, so that one that comes meanwhile is seen next time. STOP
	 * needs nothing: the run loop leaves on vm_has_ended(), which was stored before the request.
	 */
	requests = atomic32_xchg(&vcpu->requests, 0);
	if (requests & RARE_REQUESTS)
		handle_rare(vcpu, requests);
	if (requests & VCPU_REQUEST_TIMER &&
	    (vcpu->activity != VCPU_STOPPED || !debugger_defers(vcpu, VCPU_REQUEST_TIMER)))
		lapic_timer_expired(vcpu);
	/*
	 * EVENT needs nothing: intr_prepare_entry() runs before every entry, and after this. What the
	 * lines above have asked of this vCPU itself is not worth another turn.
	 */
	if (atomic32_read_relaxed(&vcpu->requests) & VCPU_REQUEST_EVENT)
		atomic32_fetch_and(&vcpu->requests, ~(u32)VCPU_REQUEST_EVENT);
}

bool vcpu_has_work(struct vcpu *vcpu)
{
	if (atomic32_read(&vcpu->requests))
		return true;
	return vcpu->activity == VCPU_HALTED && intr_has_deliverable(vcpu);
}

/* Exceptions that make a double fault of a second one: APM "Exceptions", "Double Fault". */
static bool is_contributory(u8 vector)
{
	return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/*
 * SDM volume 3, "Exception Classifications" and "Debug Exceptions" (RF): the flags that a fault saves
 * have RF set, so that the instruction, started again, does not hit its breakpoint again. Traps and
 * aborts have not; #DB says by itself.
 */
static bool is_fault(u8 vector)
{
	return !(BIT(vector & 31) & (BIT(VECTOR_DB) | BIT(VECTOR_NMI) | BIT(VECTOR_BP) |
	                             BIT(VECTOR_OF) | BIT(VECTOR_DF) | BIT(VECTOR_MC)));
}

void vcpu_inject_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error)
{
	struct intr_event *pending = &vcpu->intr.exception;

	if (pending->valid) {
		u8 first = pending->vector;

		if (first == VECTOR_DF) {
			vm_end(vcpu->vm, ENDED_TRIPLE_FAULT, 0);
			return;
		}
		if ((is_contributory(first) && is_contributory(vector)) ||
		    (first == VECTOR_PF && (vector == VECTOR_PF || is_contributory(vector)))) {
			vector = VECTOR_DF;
			has_error = true;
			error = 0;
		}
	}
	if (is_fault(vector))
		vcpu->regs.rflags |= RFLAGS_RF;
	*pending = (struct intr_event){
	        .vector = vector,
	        .type = INTR_TYPE_EXCEPTION,
	        .valid = true,
	        .has_error = has_error,
	        .error = error,
	};
}

void vcpu_inject_gp(struct vcpu *vcpu)
{
	vcpu_count(vcpu, COUNTER_GP_INJECTED);
	vcpu_inject_exception(vcpu, VECTOR_GP, true, 0);
}

void vcpu_inject_ud(struct vcpu *vcpu)
{
	vcpu_count(vcpu, COUNTER_UD_INJECTED);
	vcpu_inject_exception(vcpu, VECTOR_UD, false, 0);
}

static void reset_msrs(struct vcpu *vcpu)
{
	vcpu->msrs = (struct vcpu_msrs){
	        .mtrr.deftype = memory_type_first_deftype(vcpu->vm),
	        .misc_enable = MISC_ENABLE_RESET,
	};
}

/* Firmware has cleared CR0.CD of all processors, and INIT leaves it so. */
static void enable_cache(struct vcpu *vcpu)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	state.cr0 &= ~(CR0_CD | CR0_NW);
	backend_op(set_state)(vcpu, &state);
}

/*
 * APM "Processor Initialization State": power-on and INIT differ in what they keep; INIT keeps the
 * FPU, most MSRs (MTRRs, TSC) and the local APIC's mode, base and ID.
 */
void vcpu_reset(struct vcpu *vcpu, bool init)
{
	if (vcpu->guest_mode)
		nested_leave(vcpu, NESTED_INIT);
	for (u32 i = 0; i < GPR_COUNT; i++)
		vcpu->regs.gpr[i] = 0;
	vcpu->regs.gpr[GPR_RDX] = 0x600; /* processor signature: family; software ignores it */
	vcpu->regs.rip = 0xfff0;
	vcpu->regs.rflags = RFLAGS_RES1;
	vcpu->regs.cr8 = 0;
	vcpu->fetch_hint = (struct vcpu_fetch_hint){0};
	vcpu_forget_cpuid(vcpu);
	if (!init) {
		reset_msrs(vcpu);
		vcpu->xcr0 = XCR0_X87;
	}
	vcpu->activity = VCPU_ACTIVE;
	intr_reset(vcpu);
	lapic_reset(vcpu, init);
	hv_reset(vcpu);
	backend_op(reset)(vcpu, init);
	if (!init && !vcpu->vm->config.firmware)
		enable_cache(vcpu);
}
