/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory around APIC virtualization's microcode: a virtual-APIC page, a posted-interrupt descriptor
 * for each of some virtual processors, the table that finds them, and a list of what the physical
 * APICs were asked to do. Virtual processor i has APIC ID i and is on the physical processor
 * FAKE_HOST + i; the microcode under test is that of processor 0. What a test has not changed is
 * expected to be as it was: vapic_fake_is_untouched().
 */
#ifndef TESTS_UNIT_VAPIC_FAKE_H
#define TESTS_UNIT_VAPIC_FAKE_H

#include "cpu_model/vapic.h"

#define FAKE_VCPUS   4
#define FAKE_HOST    0x20u
#define FAKE_NV      0xf2
#define FAKE_NOTICES 8
#define FAKE_SHADOW  BIT(0) /* what vapic_fake_create() turns on: TPR shadow, */
#define FAKE_VID     BIT(1) /* virtual-interrupt delivery, */
#define FAKE_REGS    BIT(2) /* APIC-register virtualization, */
#define FAKE_X2      BIT(3) /* x2APIC virtualization, */
#define FAKE_IPIV    BIT(4) /* IPI virtualization, */
#define FAKE_POSTED  BIT(5) /* posted interrupts */

struct vapic_fake {
	struct vapic vapic;
	struct pi_desc *desc; /* FAKE_VCPUS of them */
	struct atomic64 *table;
	u32 notices;
	struct {
		u32 host_id;
		u8 vector;
	} notice[FAKE_NOTICES];
	u32 eois;
	u64 eoi_control, eoi_pir; /* of descriptor 0, when the physical EOI came */
};
extern struct vapic_fake fake;

/*
 * VM entry with these controls, nothing in the page, guest interrupt status 0, switches as by
 * default.
 */
void vapic_fake_create(u32 controls);
/* Another VM entry, with another status; what the page has is the test's. */
void vapic_fake_enter(u8 rvi, u8 svi);
/* The address of a descriptor, and one that is in no memory. */
u64 vapic_fake_address(u32 vcpu);
u64 vapic_fake_nowhere(void);

u32 vapic_fake_get(u32 offset);
void vapic_fake_set(u32 offset, u32 value);
/* A bit of VIRR or VISR. */
bool vapic_fake_has(u32 offset, u8 vector);
void vapic_fake_put(u32 offset, u8 vector);
/* A bit of a descriptor's PIR. */
bool vapic_fake_is_posted(u32 vcpu, u8 vector);
void vapic_fake_post(u32 vcpu, u8 vector);

/* From now on, no byte of memory is to change; then: none has. */
void vapic_fake_remember(void);
bool vapic_fake_is_untouched(void);

#endif
