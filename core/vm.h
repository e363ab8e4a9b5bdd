/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual machine: memory, vCPUs, interrupt controllers, buses. Tags as in core/vcpu.h.
 */
#ifndef CORE_VM_H
#define CORE_VM_H

#include "core/bus.h"
#include "core/hv.h"
#include "core/storm.h"
#include "core/vcpu.h"
#include "irq/assigned.h"
#include "irq/eoi_exit.h"
#include "irq/extint.h"
#include "irq/ioapic.h"
#include "irq/notify.h"
#include "irq/pic.h"
#include "irq/pit.h"
#include "irq/route.h"
#include "mmu/mmu.h"
#include "postern/apic_ids.h"
#include "postern/settings.h"
#include "postern/sync.h"

struct machine;

#define VM_REGIONS     8
#define VM_LOW_RAM_END 0xc0000000ull /* RAM beyond this continues at 4 GiB */

/* With firmware, what is seen here changes while the VM runs: platform/firmware.h. */
#define VM_SHADOW      0xc0000ull
#define VM_SHADOW_END  0x100000ull
#define VM_SHADOW_SIZE (VM_SHADOW_END - VM_SHADOW)

#define VM_ROM_END (4ull << 30) /* firmware ends here */
#define VM_ROM_MAX (16ull << 20)

/* Guest RAM, physically contiguous in the host. */
struct vm_region {
	gpa_t gpa;
	u64 size;
	u8 *host;
};

struct vm_config {
	u32 vcpus;            /* 1 .. MAX_VCPUS */
	u64 memory;           /* bytes, multiple of 2 MiB, at least 16 MiB */
	bool x2apic;          /* offer x2APIC in CPUID */
	bool tsc_deadline;    /* offer TSC-deadline mode in CPUID */
	bool kvm_clock;       /* offer the paravirtual clock */
	bool hyperv;          /* offer the interface "Hv#1": core/hv.h */
	bool hv_autoeoi;      /* do not recommend against AutoEOI */
	bool testdev;         /* give it the test device */
	u32 msidevs;          /* PCI test devices: platform/msidev.h, */
	bool msidev_assigned; /* whose messages go through the IOMMU */
	bool irqchip_split;   /* the platform owns the 8259 pair, not the core */
	bool pit_reinject;    /* no tick of the 8254 is lost: each waits for the one before it */
	u32 inhibit_storm;    /* the debug reason STORM is set and cleared that often in a second */
	u32 accel_modes;      /* ACCEL_MODE() bits: what hardware delivery it may use */
	const char *cpu;      /* name of the processor model */
	/* What the vCPUs' initial APIC IDs are; count 0: their numbers. */
	struct apic_ids apic_ids;
	const void *firmware; /* ROM that vCPU 0 starts in, copied; NULL: none */
	u64 firmware_size;    /* whole pages, at most VM_ROM_MAX */
};
/*
 * What whoever embeds the core gets unless it says otherwise; vcpus, memory, cpu and accel_modes are for it
 * to say. With the 8254 in the core its ticks are reinjected, as elsewhere in the field, which is an
 * inhibit; the run's settings have it off by default (postern/settings.h).
 */
#define VM_CONFIG_DEFAULT                                                                          \
	((struct vm_config){                                                                       \
	        .x2apic = true, .tsc_deadline = true, .kvm_clock = true, .pit_reinject = true})

_Static_assert(APIC_IDS_MAX == MAX_VCPUS, "a list has room for all");

struct vm {
	struct machine *machine; /* (i) */
	u32 id;                  /* (i) */
	struct vm_config config; /* (i) */
	/*
	 * (i) Some initial APIC ID is beyond those that xAPIC mode can name: the guest finds all APICs in
	 * x2APIC mode, and messages may have destinations of 15 bits (irq/msi.c).
	 */
	bool large_ids;
	u64 tsc_base;   /* (i) guest TSC = TSC + tsc_base, unless a vCPU has written its own */
	u32 vcpu_count; /* (i) */
	struct vcpu *vcpu[MAX_VCPUS];        /* (i) */
	struct vm_region region[VM_REGIONS]; /* (i) */
	u32 region_count;                    /* (i) */
	struct vm_region rom;                /* (i) the firmware, mapped read-only; size 0: none */
	u8 *shadow; /* (i) RAM at VM_SHADOW, which then is in no region; NULL: it is as any other */
	struct mmu mmu;
	struct memory_types types;     /* mmu/memory_type.h */
	struct bus io;                 /* (i) after creation */
	struct bus memory;             /* (i) after creation */
	struct apic_map_slot apic_map; /* published map: irq/apic_map.c */
	struct ioapic ioapic;
	struct pic pic; /* unused where the pair is the platform's */
	struct pit pit;
	struct route_slot routes;    /* published table: irq/route.c */
	struct extint extint;        /* where ExtINT comes from: irq/extint.h */
	struct irq_notify notify;    /* who listens to the end of which interrupt */
	struct eoi_exit_vm eoi_exit; /* irq/eoi_exit.h */
	struct accel_vm accel;       /* irq/accel.h */
	struct assigned_vm assigned; /* irq/assigned.h */
	struct inhibit_vm inhibit;   /* irq/inhibit.h */
	struct storm storm;          /* core/storm.h */
	struct hv_vm hv;             /* core/hv.h */
	void *platform;              /* (i) platform/'s devices */
	void *arch;                  /* (i) the back end's: permission maps and the like */

	struct atomic32 ended;       /* [a] enum ending; the first writer wins */
	struct atomic32 exit_code;   /* [a] status that the guest gave */
	struct atomic32 live_vcpus;  /* [a] vCPUs not yet VCPU_DEAD */
	struct atomic64 first_entry; /* [a] TSC of the first VM entry, 0: not yet */
	struct atomic64 end_time;    /* [a] TSC of the end */
	struct debugger debugger;    /* core/debugger.h */
	bool quiet; /* boot processor only: what outlived the vCPUs has been stopped */
};

#define for_each_vcpu(vcpu, vm)                                                                    \
	for (u32 vcpu##_i = 0;                                                                     \
	     vcpu##_i < (vm)->vcpu_count && ((vcpu) = (vm)->vcpu[vcpu##_i], true); vcpu##_i++)

/* The largest initial APIC ID. Any processor, with the vCPUs in place. */
static inline u32 vm_largest_apic_id(const struct vm *vm)
{
	u32 largest = 0;

	for (u32 i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpu[i]->apic_id > largest)
			largest = vm->vcpu[i]->apic_id;
	return largest;
}

/*
 * Create a VM with its memory, nested page tables, interrupt controllers and vCPUs (all reset; vCPU
 * 0 active, the others waiting for SIPI). The platform's devices and the guest's files are added by
 * platform_create() and the loaders before vm_start(). NULL and one line of log when memory is
 * short or the configuration is out of range. Boot processor only, before vm_start().
 */
struct vm *vm_create(struct machine *machine, const struct vm_config *config);
/* Only while none of its vCPUs runs and no processor serves its timers. */
void vm_destroy(struct vm *vm);

/* Put the vCPUs on run queues. */
void vm_start(struct vm *vm);

/*
 * End the VM: remember how, stop all its vCPUs. The first ending wins. Any processor, returns at
 * once; vm->live_vcpus reaches 0 when all have left.
 */
void vm_end(struct vm *vm, enum ending ending, u32 code);
bool vm_has_ended(struct vm *vm);

/*
 * Host pointer to `len` bytes of guest RAM at `gpa`, NULL unless all of it lies in one region.
 * Guest memory may change under the reader at any time: copy first, check the copy.
 */
void *vm_memory(struct vm *vm, gpa_t gpa, u64 len);
bool vm_read(struct vm *vm, gpa_t gpa, void *to, u64 len);
bool vm_write(struct vm *vm, gpa_t gpa, const void *from, u64 len);

/* Nanoseconds of the guest's life: first entry to now, or to the end. */
u64 vm_elapsed_ns(struct vm *vm);

#endif
