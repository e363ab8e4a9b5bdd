/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An accelerated vCPU's turn ends on one processor and begins on another, and somebody sends to it
 * meanwhile: the doorbell may go to the processor that it has left, or to the one where it is about to
 * enter. Three actors: who gives it away, who takes it and enters, who sends. The queue between the
 * first two is left out, and entering is the microcode's part of VMRUN, and waiting for the doorbell:
 * so all orders can be explored. avic_loop.c has the same with the whole run loop, up to a bound.
 *
 * And an APIC that is switched off and on while its vCPU's turns begin and end: both change one entry
 * of the physical table.
 */
#include "tests/race/avic.h"
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "cpu_model/model.h"
#include "posix.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "x86/apic.h"
#include "x86/avic.h"
#include "x86/msr.h"

#define OLD_CPU 1

static u32 taken;
static struct avic receiver;

static void away(const struct avic_stage *stage)
{
	avic_stage_create(stage);
	ASSERT(backend_op(cpu_init)(&port_machine()->cpu[0]));
	stage_run_on(avic_target, OLD_CPU);
}

static void setup(void)
{
	away(&(struct avic_stage){0});
}

static void setup_erratum(void)
{
	away(&(struct avic_stage){.erratum = true});
}

static void setup_workaround(void)
{
	away(&(struct avic_stage){.erratum = true, .workaround = true});
}

static void begin(void)
{
	avic_stage_begin();
	taken = 0;
	receiver = (struct avic){.switches = model()->avic_switches, .memory = model_memory()};
}

static void giver(void)
{
	stage_give(avic_target);
}

/* Until the interrupt is there: the guest does nothing else. */
static void guest(struct model_cpu *cpu)
{
	atomic32_set(&cpu->doorbell, 0);
	avic_enter(&receiver, &svm_vmcb(avic_target)->control);
	while (avic_take(&receiver) < 0) {
		wait_until(atomic32_read(&cpu->doorbell));
		atomic32_set(&cpu->doorbell, 0);
	}
	taken++;
}

static void taker(void)
{
	stage_take(avic_target);
	atomic32_set(&avic_target->mode, VCPU_IN_GUEST);
	smp_mb();
	ASSERT(!atomic32_read(&avic_target->requests));
	guest(model_current());
}

static const char *check(void)
{
	if (taken != 1 || receiver.pending >= 0)
		return "the guest has not taken it once";
	if (ptr_read(&avic_target->cpu) != &port_machine()->cpu[0])
		return "the vCPU has not moved";
	return NULL;
}

#define MOVE(id, what, prepare, sender)                                                            \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = begin,                                                                    \
	        .actor = {taker, sender, giver},                                                   \
	        .cpu = {0, AVIC_SENDER_CPU, OLD_CPU},                                              \
	        .check = check,                                                                    \
	}

MOVE(race_avic_move, "AVIC: IPI meets a move to another processor", setup, avic_send_ipi);
MOVE(race_avic_move_post, "AVIC: a device's interrupt meets a move to another processor", setup,
     avic_post);
MOVE(race_avic_move_erratum, "AVIC: IPI meets a move to another processor, erratum, no workaround",
     setup_erratum, avic_send_ipi);
MOVE(race_avic_move_workaround,
     "AVIC: IPI meets a move to another processor, erratum and workaround", setup_workaround,
     avic_send_ipi);

/* --- one entry, two writers --- */

static void identifier(void)
{
	const u32 svr = MSR_X2APIC_FIRST + APIC_SVR / 16;

	/* Of another APIC, whose processor this is: all entries are written anew. */
	if (!lapic_msr_write(avic_vm->vcpu[1], svr, 0xff) ||
	    !lapic_msr_write(avic_vm->vcpu[1], svr, APIC_SVR_ENABLE | 0xff))
		posix_fail("SVR was refused");
}

static void turns(void)
{
	struct cpu *cpu = this_cpu();

	accel_running(avic_target, NULL);
	accel_running(avic_target, cpu);
}

static const char *check_entry(void)
{
	const struct svm_vm *svm = avic_vm->arch;
	u64 flags = AVIC_PHYSICAL_VALID | AVIC_PHYSICAL_RUNNING;
	u64 target = atomic64_read(&svm->avic->ids[avic_target->apic_id]);
	u64 other = atomic64_read(&svm->avic->ids[avic_vm->vcpu[1]->apic_id]);

	if ((target & flags) != flags || (target & AVIC_PHYSICAL_HOST_ID) != OLD_CPU)
		return "the entry does not say where the vCPU runs";
	return other & AVIC_PHYSICAL_VALID ? NULL : "the other entry is not valid again";
}

const struct race_scenario race_avic_entry_writers = {
        .name = "AVIC: an APIC is switched off and on while another's turns end and begin",
        .setup = setup,
        .begin = begin,
        .actor = {turns, identifier},
        .cpu = {OLD_CPU, AVIC_SENDER_CPU},
        .check = check_entry,
};
