/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware delivery of interrupts (AVIC, x2AVIC): for whom it is on, and how a local APIC whose page
 * the processor reads and writes goes together with the software that shares it.
 *
 * Whether a vCPU runs accelerated is decided on its own processor, outside of the guest, before an
 * entry (accel_update): by the mode of its APIC, by what its VM may use, and by ExtINT, which no
 * processor delivers by itself. A vCPU that is not accelerated remains a target of those that are: its
 * entry in the tables stays valid and says that it does not run, so the sender exits and the request
 * bit, which is in the page already, is brought to its attention here.
 *
 * The guest's APIC page is mapped, so that accesses need not exit, while every vCPU of the VM that has
 * run is accelerated in xAPIC mode. Any other vCPU must not find a page there. Taking it away needs no
 * waiting: who still has a translation is accelerated, and served by it as before.
 *
 * Tags as in core/vcpu.h.
 */
#ifndef IRQ_ACCEL_H
#define IRQ_ACCEL_H

#include "postern/account.h"
#include "postern/sync.h"

struct cpu;
struct vcpu;
struct vm;

enum accel_mode {
	ACCEL_OFF,
	ACCEL_XAPIC,
	ACCEL_X2APIC,
};
#define ACCEL_MODE(mode) BIT(mode)

/*
 * The second, small table of the back-end seam; NULL in a back end that has none. All own processor
 * and vCPU outside of the guest unless said otherwise.
 *
 * modes      bit mask of the modes that the processor has. Any processor, after probe
 * vm_init    allocate tables for the vCPUs, which exist. false: out of memory
 * vm_exit    free them
 * set        the vCPU's next entries are in this mode. Changing it flushes translations
 * running    the vCPU's turn begins on `cpu`, or ends (NULL): senders look at this
 * notify     make `cpu`, which runs an accelerated vCPU, look at its page. Any processor
 * identify   IDs, logical IDs, modes or enables have changed: bring the tables up to date. Any
 *            processor, the APIC-ID map's build lock held
 */
#define ACCEL_OPS(X)                                                                               \
	X(u32, modes, (void))                                                                      \
	X(bool, vm_init, (struct vm * vm))                                                         \
	X(void, vm_exit, (struct vm * vm))                                                         \
	X(void, set, (struct vcpu * vcpu, enum accel_mode mode))                                   \
	X(void, running, (struct vcpu * vcpu, struct cpu * cpu))                                   \
	X(void, notify, (struct cpu * cpu))                                                        \
	X(void, identify, (struct vm * vm))

struct accel_ops {
#define X(ret, op, params) ret(*op) params;
	ACCEL_OPS(X)
#undef X
};

/* Of a VM. */
struct accel_vm {
	u32 modes; /* (i) what may be used; 0: no acceleration, and nothing below is used */
	u8 *page;  /* (i) what the guest's APIC page is mapped to: never read */
	struct atomic32 unknown_id; /* [a] not 0: no acceleration, see accel_set_unknown_id() */
	struct spinlock lock;       /* protects `blockers`, and that the mapping follows it */
	u32 blockers;               /* [lock] vCPUs that have run and are not in ACCEL_XAPIC */
};

/* Of a vCPU. */
struct accel_vcpu {
	struct atomic32 mode; /* [a] enum accel_mode: owner writes, senders read */
	bool decided;         /* [o] it has run */
	bool blocks;          /* [o] it is one of the VM's blockers */
	u64 counted
	        [HW_COUNT]; /* [o] its processor's counts when they were last added to the account */
};

/* Own processor. */
static inline bool accel_is_on(const struct accel_vcpu *accel)
{
	return atomic32_read_relaxed(&accel->mode) != ACCEL_OFF;
}

/* With the vCPUs in place. `modes`: what the VM is to use, at most. false: out of memory. */
bool accel_create(struct vm *vm, u32 modes);
void accel_destroy(struct vm *vm);

/*
 * Decide anew. Before each entry, if its VM uses any mode at all; own processor, interrupts open, nothing injected in this round. true:
 * the change waits for what is in the injection slot to be delivered, so leave again at once.
 */
bool accel_update(struct vcpu *vcpu);

/* The vCPU's turn begins or ends. Own processor. Ends before it can be found asleep. */
void accel_running(struct vcpu *vcpu, struct cpu *cpu);

/*
 * Some APIC is known to others by another ID, logical ID or mode than the tables can say: nobody may send
 * by them.
 */
void accel_set_unknown_id(struct vm *vm, bool unknown);

/* lapic_posted() for one whose mode was seen to be on. */
void accel_posted(struct vcpu *vcpu);

/* From apic_map_rebuild(), its build lock held. */
void accel_identify(struct vm *vm);

#endif
