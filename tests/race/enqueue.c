/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A processor that ran one vCPU alone has no end to its turn. Two others each queue one more on it at the same
 * time: it must be told, or both wait for ever. Two actors over core/sched.c's sched_enqueue().
 *
 * Wrong: who has appended looks at how many there are now, and tells if it is one. Each may find two.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "core/sched.h"
#include "cpu_model/model.h"
#include "postern/port.h"

#define VCPUS 3 /* the one that runs, and those that come */

static struct cpu *busy;
static struct vm *vm;

static void setup(void)
{
	const struct vm_config config = {.vcpus = VCPUS, .memory = 16ull << 20, .x2apic = true};

	vm = stage_vm(VCPUS, 0, &config);
	busy = &port_machine()->cpu[0];
	/* All have been there last, so that nobody looks for another place. */
	for (u32 i = 0; i < VCPUS; i++) {
		vm->vcpu[i]->cpu = busy;
		atomic32_set(&vm->vcpu[i]->on_cpu, 1);
		atomic32_set(&vm->vcpu[i]->sched_state, i ? VCPU_RUNNABLE : VCPU_RUNNING);
	}
	busy->current = busy->loaded = vm->vcpu[0];
}

static void first(void)
{
	sched_enqueue(vm->vcpu[1]);
}

static void second(void)
{
	sched_enqueue(vm->vcpu[2]);
}

static void enqueue_and_count(struct vcpu *vcpu)
{
	struct run_queue *rq = &busy->rq;

	spin_lock(&rq->lock);
	vcpu->rq_next = NULL;
	if (rq->tail)
		rq->tail->rq_next = vcpu;
	else
		rq->head = vcpu;
	rq->tail = vcpu;
	atomic32_fetch_add(&rq->length, 1);
	spin_unlock(&rq->lock);
	if (atomic32_read(&busy->idle) || atomic32_read(&rq->length) == 1)
		cpu_kick(busy);
}

static void first_counts(void)
{
	enqueue_and_count(vm->vcpu[1]);
}

static void second_counts(void)
{
	enqueue_and_count(vm->vcpu[2]);
}

static const char *check(void)
{
	if (atomic32_read(&busy->rq.length) != 2)
		return "not both are queued";
	return model_apic_pending(busy->port) == CPU_VECTOR_KICK ? NULL : "nobody tells it";
}

#define ENQUEUE(id, what, one, other)                                                              \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = setup,                                                                    \
	        .actor = {one, other},                                                             \
	        .cpu = {1, 2},                                                                     \
	        .check = check,                                                                    \
	}

ENQUEUE(race_enqueue, "two vCPUs are queued on a processor that ran one alone", first, second);
ENQUEUE(race_enqueue_wrong, "two vCPUs are queued, and each looks at the length behind its append",
        first_counts, second_counts);
