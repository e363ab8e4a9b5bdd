/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory around AVIC's microcode: a backing page for each of some virtual processors, the two ID
 * tables, a control block that points to them, and a list of the doorbells that were rung. Virtual
 * processor i has APIC ID i, runs, and is on the physical processor FAKE_HOST + i. The microcode under
 * test is that of processor 0.
 */
#ifndef TESTS_UNIT_AVIC_FAKE_H
#define TESTS_UNIT_AVIC_FAKE_H

#include "cpu_model/avic.h"

#define FAKE_VCPUS 72
#define FAKE_HOST  0x120u
#define FAKE_BAR   0xfee00000ull
#define FAKE_RINGS 128

struct avic_fake {
	struct avic avic;
	struct vmcb_control control;
	u8 *page[FAKE_VCPUS];
	struct atomic64 *ids;
	struct atomic32 *logical;
	u32 rings;
	u32 ring[FAKE_RINGS]; /* host APIC IDs */
};
extern struct avic_fake fake;

/* xAVIC or x2AVIC, flat logical IDs of one bit for processors 0 to 7, switches as by default. */
void avic_fake_create(bool x2);
/* VMRUN: the control block as the test has made it. */
void avic_fake_enter(void);
/* The host-physical address of a page that is not memory. */
u64 avic_fake_nowhere(void);

u32 avic_fake_get(u32 vcpu, u32 offset);
void avic_fake_set(u32 vcpu, u32 offset, u32 value);
/* A bit of IRR, ISR or TMR. */
bool avic_fake_has(u32 vcpu, u32 offset, u8 vector);
void avic_fake_put(u32 vcpu, u32 offset, u8 vector);
void avic_fake_running(u32 vcpu, bool running);
/* DFR's model and every LDR in cluster mode: four to a cluster. */
void avic_fake_cluster(void);

#endif
