/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine with one VM and scripted guests, around the real hypervisor. Use:
 *
 *	harness_create(&(struct harness){.vcpus = 2, .cpus = 1});
 *	guest_bind(HARNESS_BSP, script, NULL);
 *	harness_run();
 *
 * harness_run() fails the test unless the VM ended through g_exit(0). Everything is freed then, and
 * whatever the hypervisor has not given back fails the test too.
 *
 * POSTERN_TEST_INHIBIT=inhibited: acceleration is inhibited for the VM throughout. =toggled: between any two
 * instructions of any vCPU it is switched off or on again; =toggled/N: between each N-th. What guests see has to
 * be the same (requirement S3.5); what is counted is not.
 */
#ifndef TESTS_MODEL_HARNESS_H
#define TESTS_MODEL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vm.h"
#include "cpu_model/assist.h"
#include "cpu_model/guest.h"
#include "cpu_model/model.h"
#include "posix.h"
#include "postern/port.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define HARNESS_BSP          0x30000u /* vCPU 0's first instruction */
#define HARNESS_SIPI         0x40u    /* start-up vector of the others */
#define HARNESS_AP           (HARNESS_SIPI << 12)
#define HARNESS_SHARED       0x200000u /* guest memory for scripts to meet in */
#define HARNESS_TICKS_MS(ms) ((u64)(ms)*POSIX_TSC_KHZ)

struct harness {
	u32 vcpus, cpus; /* 0: 1 */
	u32 features;    /* enum model_feature */
	const char
	        *processor; /* "barcelona", "milan", "assist-milan" ...; NULL: the run's choice */
	u64 seed;
	u32 switch_ppm;
	u64 max_steps;
	bool no_x2apic, no_tsc_deadline; /* not offered to the guest */
	bool no_accel;                   /* the processor's acceleration, if any, is not used */
	bool no_avic;                    /* nor AVIC, if that is what it has */
	bool no_posted, no_ipiv;         /* --set posted=off, ipiv=off */
	u32 toggled; /* as POSTERN_TEST_INHIBIT, every so many instructions; 0: as that says */
	bool xapic;  /* the guest's choice, for g_apic_*() */
	bool threads;
	bool split, reinject;  /* irqchip=split, pit.reinject=on */
	u32 msidevs;           /* PCI test devices */
	bool assigned;         /* msidev.assigned=on */
	bool no_iommu_posting; /* iommu.posting=off */
	/* What processor 0 does in the place of running vCPUs, until it returns: a device's side. */
	void (*device)(void);
	bool testdev; /* interrupt lines that the guest drives itself */
	struct apic_ids apic_ids;
	bool hyperv, hv_autoeoi, kvm_clock; /* the settings of these names */
	const void *firmware;               /* ROM; the script starts as ever */
	u64 firmware_size;
	bool by_hand; /* the test enters by itself: POSTERN_TEST_INHIBIT is not for it */
};

/* check-full runs: more orders, more seeds, rows that are nobody's alone. */
bool harness_full(void);

/* State of the test that runs. */
extern struct harness harness;
extern struct vm *harness_vm;

void harness_create(const struct harness *config);
void harness_run(void);
/* As harness_run(), for a VM that ends in another way. Leaves it to harness_destroy(). */
void harness_run_to_end(enum ending ending);
void harness_destroy(void);
/* Sum of a counter, or of an exit kind, over all vCPUs. */
u64 harness_counter(enum counter_id id);
/* What software did and the processor did by itself, together: `id` and its HW_ counterpart. */
u64 harness_both(enum counter_id id, enum counter_id by_processor);
u64 harness_exits(enum exit_kind kind);
/* Native exits that the assist kept to itself. */
u64 harness_overhead(void);

/* --- on the guest's side --- */

/* End the VM with this status; not 0 fails the test. */
void g_exit(u32 code) __noreturn;
/* Local APIC registers in the mode of this test: harness.xapic chooses MMIO or MSRs. */
void g_apic_enable(void);
u32 g_apic_read(u32 reg);
void g_apic_write(u32 reg, u32 value);
void g_apic_eoi(void);
void g_apic_icr(u32 dest, u32 low);
/* INIT, then start-up at HARNESS_AP, to everybody else. */
void g_start_aps(void);
/* Shared counters in guest memory. */
u64 g_shared(u32 index);
void g_set_shared(u32 index, u64 value);
/* Wait for g_shared(index) >= value. */
void g_await(u32 index, u64 value);

#endif
