/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why hardware delivery of interrupts is off: every reason, in one list, compiled into the image and
 * the host command alike, and the source of docs/inhibits.md. Names are KVM's where KVM has the reason.
 *
 * X(ENUM, "NAME", scope, back ends that need it, "what it means and why", "who sets it", "what clears it",
 *   "the test that shows it, FILE: FUNCTION")
 *
 * Scope VM: acceleration is off for the whole VM, by the mask of irq/inhibit.h. Scope VCPU: for one
 * vCPU, which then runs on nested page tables without the APIC's page (irq/apic_page.h).
 */
#ifndef POSTERN_INHIBITS_H
#define POSTERN_INHIBITS_H

#include "postern/types.h"

/* In place of a vCPU that has set a reason. */
#define INHIBIT_BY_HOST (~0u)

enum inhibit_scope {
	INHIBIT_SCOPE_VM,
	INHIBIT_SCOPE_VCPU,
};

#define INHIBIT_ON_SVM BIT(0)
#define INHIBIT_ON_VMX BIT(1)
#define INHIBIT_ON_ALL (INHIBIT_ON_SVM | INHIBIT_ON_VMX)

#define INHIBITS(X)                                                                                \
	X(DISABLED, "DISABLED", VM, ALL,                                                           \
	  "the processor has no acceleration, or the run was started without it",                  \
	  "creation of the VM: --cpu, --set apicv=off", "nothing",                                 \
	  "tests/model/inhibit_test.c: test_disabled_for_good")                                    \
	X(HYPERV, "HYPERV", VM, ALL,                                                               \
	  "a SINT is configured with AutoEOI: its interrupts end when they are delivered, which "  \
	  "no processor does by itself",                                                           \
	  "the guest: a SINT register with AutoEOI", "the last such SINT is gone",                 \
	  "tests/model/inhibit_test.c: test_auto_eoi")                                             \
	X(ABSENT, "ABSENT", VM, ALL, "the VM has no interrupt controllers yet",                    \
	  "creation of the VM", "the controllers are in place",                                    \
	  "tests/model/inhibit_test.c: test_absent_until_created")                                 \
	X(BLOCKIRQ, "BLOCKIRQ", VM, ALL,                                                           \
	  "a debugger keeps interrupts from a vCPU while it steps: the processor would deliver "   \
	  "them",                                                                                  \
	  "the debugger (--gdb)", "no vCPU is stepped with interrupts kept back",                  \
	  "tests/model/debugger_test.c: test_step_keeps_interrupts_back")                          \
	X(NESTED, "NESTED", VCPU, ALL,                                                             \
	  "the vCPU runs a guest of its guest, whose nested page tables know no APIC page",        \
	  "entry to that guest", "return from it",                                                 \
	  "tests/model/nested_test.c: test_l1_intercepts")                                         \
	X(IRQWIN, "IRQWIN", VM, SVM,                                                               \
	  "a vCPU waits for an interrupt window: V_IRQ, which it is made of, is ignored by a "     \
	  "processor whose AVIC is active",                                                        \
	  "a vCPU with an ExtINT, or with a window left open", "the last window is closed",        \
	  "tests/model/inhibit_test.c: test_irq_window")                                           \
	X(PIT_REINJ, "PIT_REINJ", VM, SVM,                                                         \
	  "ticks of the 8254 wait for the end of the one before, which AVIC does not tell",        \
	  "--set pit.reinject=on", "reinjection is switched off",                                  \
	  "tests/model/inhibit_test.c: test_pit_reinjection")                                      \
	X(PHYSICAL_ID_ALIASED, "PHYSICAL_ID_ALIASED", VM, ALL,                                     \
	  "two APICs have one ID: the table has one entry for it",                                 \
	  "the guest: a write of an ID, or a change of mode", "all IDs differ again",              \
	  "tests/model/inhibit_apic_test.c: test_physical_id_aliased")                             \
	X(APIC_ID_MODIFIED, "APIC_ID_MODIFIED", VM, ALL,                                           \
	  "an APIC has another ID than it was created with: the tables go by the first one",       \
	  "the guest: a write of the ID register", "all APICs have their own IDs again",           \
	  "tests/model/inhibit_apic_test.c: test_apic_id_modified")                                \
	X(APIC_BASE_MODIFIED, "APIC_BASE_MODIFIED", VM, ALL,                                       \
	  "an APIC in xAPIC mode is not at FEE0_0000, where the page is mapped",                   \
	  "the guest: a write of APIC_BASE", "all are there again",                                \
	  "tests/model/inhibit_apic_test.c: test_apic_base_modified")                              \
	X(X2APIC, "X2APIC", VCPU, SVM,                                                             \
	  "the vCPU's APIC is in x2APIC mode, and the processor accelerates xAPIC mode only",      \
	  "the guest: x2APIC mode", "another mode",                                                \
	  "tests/model/inhibit_apic_test.c: test_x2apic_without_x2avic")                           \
	X(LOGICAL_ID_ALIASED, "LOGICAL_ID_ALIASED", VM, SVM,                                       \
	  "two APICs have one logical ID, or they differ in what a logical ID means: the table "   \
	  "has one entry for each",                                                                \
	  "the guest: a write of LDR or DFR, or a change of mode", "logical IDs are unique again", \
	  "tests/model/inhibit_apic_test.c: test_logical_id_aliased")                              \
	X(PHYSICAL_ID_TOO_BIG, "PHYSICAL_ID_TOO_BIG", VM, SVM,                                     \
	  "an APIC's ID is beyond the largest table that the processor takes",                     \
	  "creation of the VM: --set apic-ids", "nothing",                                         \
	  "tests/model/apic_ids_test.c: test_ipis_reach_whom_they_name")                           \
	X(APIC_DISABLED, "APIC_DISABLED", VCPU, ALL,                                               \
	  "the vCPU's APIC is disabled, by APIC_BASE or by its spurious-interrupt register: it "   \
	  "accepts nothing, of which the processor knows nothing",                                 \
	  "reset, INIT, the guest", "the guest enables it",                                        \
	  "tests/model/inhibit_apic_test.c: test_apic_disabled")                                   \
	X(STORM, "STORM", VM, ALL, "none: set and cleared all the time, to show that it may be",   \
	  "--set inhibit-storm", "the same", "tests/model/inhibit_test.c: test_storm")

enum inhibit_reason {
#define X(id, name, scope, needs, what, set_by, cleared_by, test) INHIBIT_##id,
	INHIBITS(X)
#undef X
	INHIBIT_COUNT
};

#define INHIBIT_BIT(id) BIT(INHIBIT_##id)

/* Set by whoever runs the VM, not by what a vCPU does, whichever vCPU's turn it is meanwhile. */
#define INHIBITS_OF_HOST                                                                           \
	(INHIBIT_BIT(DISABLED) | INHIBIT_BIT(ABSENT) | INHIBIT_BIT(BLOCKIRQ) |                     \
	 INHIBIT_BIT(PIT_REINJ) | INHIBIT_BIT(PHYSICAL_ID_TOO_BIG) | INHIBIT_BIT(STORM))

#endif
