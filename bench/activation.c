/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What it takes to switch acceleration off and on, in rounds, zaps and flushes, and that faults on other pages go on
 * meanwhile: the hypervisor's own sources over the processor model, on the stage of tests/race/inhibit.h.
 *
 * Alone: windows and another reason come and go by turns, the APIC's page mapped by a fault each time that
 * acceleration is on. Every change is looked at by itself; one that costs something else fails this.
 *
 * Held: the same with a vCPU in the guest, by a thread that leaves only when told. Whoever switches has to wait for it, so
 * the change is under way for as long as we like:
 *
 *      the switch                       vCPU 1's processor          vCPU 0's, here
 *      ----------                       ------------------          --------------
 *      lock, request, kick                in the guest
 *      wait for vCPU 1                    ...                         the lock is held: faults on other
 *                                         ...                         frames, each has to succeed
 *                                         leave                       vCPU 1 may leave
 *      mask, zap, flush, unlock           wait for the lock           a fault that began before the zap
 *                                                                     and ends behind it: once more
 *
 * Output: lines "activation NAME VALUE UNIT", totals of all changes.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu_model/model.h"
#include "irq/apic_page.h"
#include "irq/irq_window.h"
#include "posix.h"
#include "postern/port.h"
#include "tests/race/inhibit.h"
#include "x86/msr.h"

#define CHANGES 1000
#define HOLDS   50
#define FRAMES  64
#define RAM     (4ull << 20)
#define FRAME   (RAM + FRAMES * PAGE_SIZE) /* one more, whose fault the zap overtakes */

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "activation: line %d: %s\n", __LINE__, #cond);             \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* In place of the explorer's: who waits lets others run. */
void race_hook_relax(void)
{
	sched_yield();
}

static const char *do_nothing(struct vcpu *vcpu __unused)
{
	return NULL;
}

static struct vcpu *vcpu_of(u32 index)
{
	posix_set_current(&model()->cpu[index]);
	return inhibit_vm->vcpu[index];
}

/* --- what changes have cost --- */

#define COSTS(X)                                                                                   \
	X(rounds, inhibit.rounds)                                                                  \
	X(kicked, inhibit.kicked)                                                                  \
	X(zaps, mmu.counts.zaps)                                                                   \
	X(flushes, mmu.counts.remote_flushes)                                                      \
	X(retries, mmu.counts.fault_retries)

struct costs {
#define X(name, where) u64 name;
	COSTS(X)
#undef X
};

static struct costs costs_now(void)
{
	return (struct costs){
#define X(name, where) .name = counter_read(&inhibit_vm->where),
	        COSTS(X)
#undef X
	};
}

/* Changes of one kind, and what they have cost together. */
struct tally {
	u64 changes;
	struct costs total;
};

/* What has been done since `before` belongs to `changes` of this kind. */
static struct costs take(struct tally *tally, u64 changes, const struct costs *before)
{
	struct costs now = costs_now(), cost;

#define X(name, where)                                                                             \
	cost.name = now.name - before->name;                                                       \
	tally->total.name += cost.name;
	COSTS(X)
#undef X
	tally->changes += changes;
	return cost;
}

static void tell(const char *name, const struct tally *tally)
{
	double n = (double)tally->changes;

	printf("activation %s.changes %.0f changes\n", name, n);
#define X(what, where)                                                                             \
	printf("activation %s.%s %.3f each\n", name, #what, (double)tally->total.what / n);
	COSTS(X)
#undef X
}

/* All vCPUs take their requests; when acceleration is on, one of them finds the APIC's page not mapped. */
static void settle(bool on)
{
	hpa_t hpa;
	u32 access;

	for (u32 i = 0; i < inhibit_vm->vcpu_count; i++) {
		struct vcpu *vcpu = vcpu_of(i);

		inhibit_turn(vcpu, do_nothing);
		CHECK(accel_is_on(&vcpu->accel) == on);
	}
	CHECK(!mmu_lookup(inhibit_vm, GPA(APIC_BASE_DEFAULT), &hpa, &access));
	inhibit_vm->vcpu[1]->regs.rip++;
	CHECK(apic_page_fault(vcpu_of(1), GPA(APIC_BASE_DEFAULT)) == on);
	CHECK(mmu_lookup(inhibit_vm, GPA(APIC_BASE_DEFAULT), &hpa, &access) == on);
}

/* --- alone --- */

static struct tally off, on, neither;

/* One change of what stands, which switches acceleration off or on, or is none for the VM. */
static void check(const struct costs *cost, const struct tally *kind)
{
	CHECK(cost->rounds == (kind != &neither) && !cost->kicked && !cost->retries);
	CHECK(cost->zaps == (kind == &off) && cost->flushes == (kind == &off));
}

static void window(u32 vcpu, bool open, struct tally *kind)
{
	struct vcpu *own = vcpu_of(vcpu);
	struct costs before = costs_now(), cost;

	if (open)
		irq_window_open(own);
	else
		irq_window_close(own);
	cost = take(kind, 1, &before);
	check(&cost, kind);
}

static void reason(bool stands, struct tally *kind)
{
	struct costs before, cost;

	posix_set_current(&model()->cpu[INHIBIT_OTHER_CPU]);
	before = costs_now();
	inhibit_stand(INHIBIT_STORM, stands);
	cost = take(kind, 1, &before);
	check(&cost, kind);
}

/* By windows: the first to come and the last to go. By another reason, while a window comes and goes. */
static void measure_alone(void)
{
	settle(true);
	for (u32 i = 0; i < CHANGES / 2; i++) {
		window(0, true, &off);
		window(1, true, &neither);
		settle(false);
		window(0, false, &neither);
		window(1, false, &on);
		settle(true);

		reason(true, &off);
		window(0, true, &neither);
		window(0, false, &neither);
		settle(false);
		reason(false, &on);
		settle(true);
	}
	tell("switch-off", &off);
	tell("switch-on", &on);
	tell("no-switch", &neither);
}

/* --- held --- */

static struct atomic32 inside, may_leave, done;
static bool stands;

static const char *stay_inside(struct vcpu *vcpu __unused)
{
	atomic32_set(&inside, 1);
	wait_until(atomic32_read(&may_leave));
	return NULL;
}

static void *play_vcpu(void *arg __unused)
{
	struct vcpu *vcpu = vcpu_of(1);

	inhibit_turn(vcpu, stay_inside);
	/* Waits until the change is over, and goes on by the new mask. */
	inhibit_turn(vcpu, do_nothing);
	return NULL;
}

static void *play_switch(void *arg __unused)
{
	posix_set_current(&model()->cpu[INHIBIT_OTHER_CPU]);
	inhibit_stand(INHIBIT_STORM, stands);
	atomic32_set(&done, 1);
	return NULL;
}

static bool fault(u64 gpa, u32 seq)
{
	return mmu_install(inhibit_vm, GPA(gpa), ptr_to_hpa(inhibit_vm->region[0].host + gpa),
	                   MMU_READ | MMU_WRITE | MMU_EXEC, seq);
}

/* Nothing is mapped at FRAMES frames and the one behind. */
static void unmap_frames(void)
{
	CHECK(mmu_zap(inhibit_vm, GPA(RAM), FRAMES * PAGE_SIZE + PAGE_SIZE));
}

/* The switch has asked vCPU 1 to leave, which it has not: so it cannot be over. */
static bool is_under_way(void)
{
	return atomic32_read(&inhibit_vm->inhibit.lock.state) & RWLOCK_WRITER &&
	       atomic32_read(&inhibit_vm->vcpu[1]->requests) & VCPU_REQUEST_ACCEL;
}

static u64 fault_meanwhile(void)
{
	u32 mask = atomic32_read(&inhibit_vm->inhibit.mask);
	u64 mapped = 0;

	wait_until(is_under_way());
	for (u64 gpa = RAM; gpa < RAM + FRAMES * PAGE_SIZE; gpa += PAGE_SIZE)
		mapped += fault(gpa, mmu_invalidate_seq(inhibit_vm));
	CHECK(is_under_way() && !atomic32_read(&done));
	CHECK(atomic32_read(&inhibit_vm->inhibit.mask) == mask);
	return mapped;
}

/* Returns how many faults on other frames have succeeded meanwhile. */
static u64 hold(struct tally *kind)
{
	pthread_t vcpu, other;
	struct costs before;
	u64 mapped;
	u32 seq;

	unmap_frames();
	stands = !stands;
	atomic32_set(&inside, 0);
	atomic32_set(&may_leave, 0);
	atomic32_set(&done, 0);
	before = costs_now();
	CHECK(!pthread_create(&vcpu, NULL, play_vcpu, NULL));
	wait_until(atomic32_read(&inside));
	CHECK(!pthread_create(&other, NULL, play_switch, NULL));
	(void)vcpu_of(0);
	mapped = fault_meanwhile();
	seq = mmu_invalidate_seq(inhibit_vm);
	atomic32_set(&may_leave, 1);
	pthread_join(other, NULL);
	pthread_join(vcpu, NULL);
	/* Overtaken by the zap of another frame: tried again, once. */
	if (!fault(FRAME, seq))
		CHECK(fault(FRAME, mmu_invalidate_seq(inhibit_vm)));
	take(kind, 1, &before);
	settle(!stands);
	return mapped;
}

static void measure_held(void)
{
	static struct tally held_off, held_on;
	u64 while_off = 0, while_on = 0;

	for (u32 i = 0; i < HOLDS; i++) {
		while_off += hold(&held_off);
		while_on += hold(&held_on);
	}
	tell("held.switch-off", &held_off);
	tell("held.switch-on", &held_on);
	printf("activation held.faults-tried %u faults\n", 2 * HOLDS * FRAMES);
	printf("activation held.faults-meanwhile %llu faults\n",
	       (unsigned long long)(while_off + while_on));
}

int main(void)
{
	inhibit_stage_create();
	inhibit_stage_begin();
	measure_alone();
	measure_held();
	return 0;
}
