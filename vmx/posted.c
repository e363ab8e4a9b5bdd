/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Posted interrupts as a user: whom a descriptor's notifications go to, and when to nobody. SDM volume 3,
 * "Posted-Interrupt Processing", and Intel's specification of directed I/O, "Posted Interrupt Descriptor", for the
 * fields beyond ON.
 *
 *  - The descriptor is the vCPU's requests apart from the page (irq/accel.h) and stays where it is for the VM's life.
 *    Whoever posts sets a bit in PIR, then ON; who has set it notifies. Software (irq/accel.c) knows where the vCPU
 *    is. Processors (vmx/ipiv.c) and devices go by the rest of the control word: by a physical interrupt with vector NV
 *    to the processor NDST, and with SN set they leave ON alone and notify nobody.
 *  - The notification vector makes a processor in the guest of an accelerated vCPU collect PIR, without an exit. That
 *    it does so needs interrupts that are acknowledged by exits. Anywhere else it is an interrupt like any other
 *    whose handler does nothing: ON stays set, and is looked at before each entry. So a vCPU that is not accelerated
 *    for a reason of its own, or runs a guest of its guest, stays a target: it exits.
 *  - NV, NDST and SN change with the vCPU's turn, for all vCPUs of a VM that may be accelerated:
 *
 *      a turn                       NV        NDST             SN
 *      begins                       notify    this processor   0, and ON if PIR has something
 *      ends, others wait            notify    as it was        1: found when its next turn begins
 *      ends, to sleep, nobody posts notify    as it was        1
 *      ends, to sleep               wakeup    as it was        0, and on this processor's list of sleepers
 *
 *      who posts                              a vCPU that goes to sleep
 *      ---------                              -------------------------
 *      1 PIR |= bit                           a on the list
 *      2 ON and SN clear? ON = 1,             b NV = wakeup, SN = 0
 *        notify by NV and NDST                c BLOCKED
 *      3 wakeup? who on the list has ON,      d ON? then BLOCKED to RUNNING, and decide anew
 *        BLOCKED to RUNNABLE
 *
 *    2 before b: it is seen at d. 2 behind b: 3 finds it on the list, and either it is BLOCKED, or c is still to come,
 *    and with it d.
 *
 * The list's lock is taken with interrupts open and never by a handler, which only notes that there is something to
 * do. A vCPU leaves the list when its next turn begins, on whichever processor.
 */
#include "core/sched.h"
#include "core/vm.h"
#include "insn.h"
#include "postern/port.h"
#include "vmx/vmx.h"
#include "x86/msr.h"

static struct pi_desc *desc_of(struct vcpu *vcpu)
{
	return (struct pi_desc *)(void *)&vcpu->accel.apart;
}

/* --- processors --- */

void vmx_posted_cpu_init(struct cpu *cpu)
{
	struct vmx_cpu *vmx = cpu->arch;

	if (!vmx_posted_usable())
		return;
	vmx->ndst = cpu->apic_id;
	if (!(insn_rdmsr(MSR_APIC_BASE) & APIC_BASE_EXTD))
		vmx->ndst = PI_XAPIC_ID(cpu->apic_id);
}

/* --- turns --- */

/*
 * Does a sleeping vCPU have to be found by who posts without software? Acceleration is asked for first: without it
 * nobody does. The VM's, as one that is not accelerated by itself is a target, too. Then IPI virtualization, and last
 * whether a device is assigned and the IOMMU can post.
 */
static bool needs_wakeup(const struct vcpu *vcpu)
{
	return !atomic32_read(&vcpu->vm->inhibit.mask) &&
	       (vmx_ipiv_usable() || vmx_vtd_posts_for(vcpu->vm));
}

/* SN, NV and NDST. Returns what was there. */
static u64 change(struct pi_desc *desc, u64 to)
{
	u64 old;

	do {
		old = atomic64_read(&desc->control);
	} while (!atomic64_cmpxchg(&desc->control, old, (old & PI_ON) | to));
	return old;
}

static void suppress(struct pi_desc *desc)
{
	atomic64_fetch_or(&desc->control, PI_SN);
}

static void join_list(struct vcpu *vcpu, struct vmx_cpu *on)
{
	struct vmx_sleeper *sleeper = &vmx_of(vcpu)->sleeper;

	spin_lock(&on->sleepers_lock);
	sleeper->next = on->sleepers;
	sleeper->link = &on->sleepers;
	if (sleeper->next)
		vmx_of(sleeper->next)->sleeper.link = &sleeper->next;
	on->sleepers = vcpu;
	spin_unlock(&on->sleepers_lock);
	sleeper->on = on;
}

static void leave_list(struct vcpu *vcpu)
{
	struct vmx_sleeper *sleeper = &vmx_of(vcpu)->sleeper;

	if (!sleeper->on)
		return;
	spin_lock(&sleeper->on->sleepers_lock);
	*sleeper->link = sleeper->next;
	if (sleeper->next)
		vmx_of(sleeper->next)->sleeper.link = sleeper->link;
	spin_unlock(&sleeper->on->sleepers_lock);
	sleeper->on = NULL;
}

static bool has_requests(const struct pi_desc *desc)
{
	u64 found = 0;

	for (u32 i = 0; i < ARRAY_SIZE(desc->pir); i++)
		found |= atomic64_read(&desc->pir[i]);
	return found;
}

static void begin(struct vcpu *vcpu, const struct vmx_cpu *on)
{
	struct pi_desc *desc = desc_of(vcpu);

	leave_list(vcpu);
	/* A full barrier: what was posted in silence is in PIR by now, or finds that it is to notify. */
	if (change(desc, PI_TO(CPU_VECTOR_NOTIFY, on->ndst)) & PI_SN && has_requests(desc))
		atomic64_fetch_or(&desc->control, PI_ON);
}

static void sleep(struct vcpu *vcpu, struct vmx_cpu *on)
{
	join_list(vcpu, on);
	change(desc_of(vcpu), PI_TO(CPU_VECTOR_WAKEUP, on->ndst));
}

void vmx_posted_running(struct vcpu *vcpu, struct cpu *cpu, bool sleeps)
{
	if (!vmx_posted_usable())
		return;
	if (cpu)
		begin(vcpu, cpu->arch);
	else if (sleeps && needs_wakeup(vcpu))
		sleep(vcpu, ptr_read(&vcpu->cpu)->arch);
	else
		suppress(desc_of(vcpu));
}

static void kick(struct vcpu *vcpu, struct cpu *cpu)
{
	counter_add_shared(&vcpu->account.counters[COUNTER_KICKS], 1);
	cpu_kick(cpu);
}

void vmx_posted_vm_init(struct vm *vm)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm)
		suppress(desc_of(vcpu));
	if (!vmx_posted_usable())
		vm->accel.notify = kick;
}

void vmx_posted_wake(struct cpu *cpu)
{
	struct vmx_cpu *vmx = cpu->arch;
	struct vcpu *vcpu;

	spin_lock(&vmx->sleepers_lock);
	for (vcpu = vmx->sleepers; vcpu; vcpu = vmx_of(vcpu)->sleeper.next)
		if (atomic64_read(&desc_of(vcpu)->control) & PI_ON && sched_wake(vcpu))
			counter_add_shared(&vcpu->account.counters[COUNTER_POSTED_WAKEUPS], 1);
	spin_unlock(&vmx->sleepers_lock);
}

/* --- what software posts --- */

void vmx_posted_notify(struct vcpu *vcpu, struct cpu *cpu)
{
	/* By a mode that is no longer right it is told all the same, by an exit too many or too few. */
	if (atomic32_read(&vcpu->accel.mode) == ACCEL_OFF) {
		kick(vcpu, cpu);
		return;
	}
	counter_add_shared(&vcpu->account.counters[COUNTER_DOORBELLS], 1);
	port_send_ipi(cpu->apic_id, CPU_VECTOR_NOTIFY);
}

/* --- what the processor is told --- */

u32 vmx_posted_pin(enum accel_mode mode)
{
	return mode != ACCEL_OFF && vmx_posted_usable() ? VMX_PIN_POSTED : 0;
}

void vmx_posted_store(struct vcpu *vcpu)
{
	if (!vmx_posted_usable())
		return;
	vmcs_write(VMCS_PI_VECTOR, CPU_VECTOR_NOTIFY);
	vmcs_write(VMCS_PI_DESC, ptr_to_hpa(&vcpu->accel.apart).v);
}
