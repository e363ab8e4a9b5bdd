/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices that are assigned to a VM: a message of theirs goes through the IOMMU. Where that can post, it reaches the
 * vCPU that it is for without software; otherwise it is an interrupt of the host, which becomes one of the guest by
 * msi_deliver().
 *
 * What the IOMMU knows of a device is an entry in a table, and the back end's to write (struct assigned_ops). Which of
 * the two ways it says is decided here, anew whenever something changes on which it depends: what the guest has
 * programmed into the device; the APIC-ID map; whether acceleration is on. For as long as acceleration is off nothing is
 * posted by the IOMMU: who falls asleep then is found by software alone (requirement S1.7).
 *
 *      a device is assigned                   1 it is counted, 2 all are woken by a request, 3 its entry
 *      acceleration goes off                  1 ACCEL is requested of all, 2 the mask, 3 entries, 4 unlock
 *      acceleration comes back                1 ACCEL is requested of all, 2 the mask, 3 all who sleep are woken,
 *                                             4 entries, 5 unlock
 *
 * Who falls asleep behind 2 of the first asks for the count, or finds the request. Of the others nobody falls asleep
 * between 1 and the unlocking: he has the request, or waits for the lock. So while an entry says that messages are posted,
 * whoever sleeps has fallen asleep when the mask was 0, or is about to be woken; and a vCPU that begins a turn finds
 * what was posted in silence.
 *
 * When a change of an entry is done nothing goes by what it said before: so a device's entry is gone before its VM's
 * memory is.
 */
#ifndef IRQ_ASSIGNED_H
#define IRQ_ASSIGNED_H

#include "postern/sync.h"

struct cpu;
struct machine;
struct vcpu;
struct vm;

#define ASSIGNED_MAX 16 /* devices of all VMs: each has a physical vector of its own, core/cpu.h */

/* A device, or one of its messages. Belongs to whoever drives it. */
struct assigned {
	struct vm *vm;         /* (i) NULL: it is not assigned */
	u16 source;            /* (i) what the IOMMU knows it by: bus, device, function */
	u32 slot;              /* (i) of the machine's ASSIGNED_MAX, and so its vector */
	u64 host_address;      /* (i) what the device itself has been programmed with */
	u32 host_data;         /* (i) */
	struct assigned *next; /* [vm->assigned.lock] */
	bool on;               /* [vm->assigned.lock] the guest wants messages */
	u64 address;           /* [vm->assigned.lock] and has programmed this */
	u32 data;              /* [vm->assigned.lock] */
	bool present;          /* [vm->assigned.lock] what the entry says: something; */
	struct vcpu *to;       /* [vm->assigned.lock] posted to this one, NULL: to the host */
	u8 vector;             /* [vm->assigned.lock] and that one's vector */
	u64 delivered;         /* [machine->assigned_lock] by software */
};

/* Of a VM. */
struct assigned_vm {
	struct spinlock lock;
	struct assigned *list; /* [lock] */
	struct atomic32 count; /* [a] how many */
};

/*
 * Of a back end whose processors have an IOMMU that remaps.
 *
 * attach   an entry for the device: fills in `slot`, `host_address`, `host_data`; nothing comes by it yet. false: there
 *          is no such unit, or no memory, or no entry left. No locks held
 * aim      from now on its messages are posted to `to`, or, without, go to the host by the slot's vector; not
 *          `present`: they come to nothing. vm->assigned.lock held
 * detach   the entry is free. It is not present. No locks held
 * posts    the IOMMU can post, and the processors can take it. Constant
 */
struct assigned_ops {
	bool (*attach)(struct assigned *device);
	void (*aim)(struct assigned *device);
	void (*detach)(struct assigned *device);
	bool (*posts)(void);
};

/*
 * Assign a device whose messages the IOMMU sees as `source`'s. The guest's message is off. false: it cannot be, and
 * is not. Any processor, outside of any guest, interrupts open, no locks held.
 */
bool assigned_add(struct assigned *device, struct vm *vm, u16 source);
/* Its messages come to nothing from now on, and it is nobody's. As assigned_add(); nothing for one that is not assigned. */
void assigned_remove(struct assigned *device);

/*
 * The guest has programmed the device: messages are on or off, and this is one. Any processor, outside of any guest;
 * the device's lock may be held.
 */
void assigned_program(struct assigned *device, bool on, u64 address, u32 data);

/* CPU_VECTOR_DEVICE and the next ones have come. Own processor, interrupts open, no locks held. */
void assigned_deliver(struct cpu *cpu);

/* --- what changes under the devices --- */

/*
 * The APIC-ID map is another one, its build lock held; or acceleration has gone off, or come back and all who slept have
 * been woken, the activation lock held exclusively.
 */
void assigned_follow(struct vm *vm);

#endif
