/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The APIC's page: faults that map it against switching off (irq/apic_page.h, mmu/nested.c). A vCPU's
 * guest reads the page, through the model processor's translation cache and its walk of the real tables;
 * a fault brings it out, and is handled as one.
 *
 * An access that does not fault, and that no processor takes since the vCPU is not accelerated, goes past
 * everybody; so does one of anybody's behind inhibit_set(), on whichever ground.
 *
 * And a range of RAM that is zapped, for which nobody has to decide anything: whoever zaps waits for those in
 * the guest, and not for those who have come back.
 */
#include "tests/race/inhibit.h"
#include "tests/race/scenarios.h"

#include "cpu_model/model.h"
#include "posix.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define ACCESSES 3
#define PAGE     GPA(APIC_BASE_DEFAULT)
#define RAM      GPA(PAGE_SIZE_2M)

static struct atomic32
        returned;    /* inhibit_set() has, and nobody has cleared since; mmu_zap() has */
static bool faulted; /* the guest has left by a fault; used between two steps */

static void begin(void)
{
	inhibit_stage_begin();
	atomic32_set(&returned, 0);
}

static const char *access_page(struct vcpu *vcpu)
{
	struct model_cpu *cpu = inhibit_stage_load(vcpu);
	bool late = atomic32_read(&returned);

	faulted = !model_translate(cpu, PAGE, MODEL_READ);
	if (faulted)
		return NULL;
	if (!accel_is_on(&vcpu->accel))
		return "an access to the APIC's page is not intercepted, and no processor takes it";
	return late ? "an access is not intercepted behind inhibit_set()" : NULL;
}

/* One instruction's turn: the next one's if it has had what it wanted, or that is emulated. */
static void try_access(struct vcpu *vcpu)
{
	inhibit_turn(vcpu, access_page);
	if (!faulted || !inhibit_code->fault(vcpu, PAGE))
		vcpu->regs.rip++;
}

static void guest(void)
{
	for (u32 i = 0; i < ACCESSES; i++)
		try_access(inhibit_own());
}

static void switch_off(void)
{
	inhibit_stand(INHIBIT_STORM, true);
	atomic32_set(&returned, 1);
}

static void switch_on(void)
{
	atomic32_set(&returned, 0);
	inhibit_stand(INHIBIT_STORM, false);
}

static void off(void)
{
	switch_off();
}

static void off_and_on(void)
{
	switch_off();
	switch_on();
}

static void off_on_off(void)
{
	switch_off();
	switch_on();
	switch_off();
}

/* A vCPU that has the page mapped, switches off and goes on. */
static void caller(void)
{
	struct vcpu *vcpu = inhibit_own();

	try_access(vcpu);
	switch_off();
	inhibit_turn(vcpu, access_page);
}

/*
 * A vCPU that has a reason of its own for a while: it finds no page, whatever the others map, and its accesses
 * are emulated.
 */
static void leaver(void)
{
	struct vcpu *vcpu = inhibit_own();

	try_access(vcpu);
	lapic_mmio_write(vcpu, APIC_SVR, 4, 0xff);
	vcpu->regs.rip++;
	inhibit_turn(vcpu, access_page);
	if (!faulted || inhibit_code->fault(vcpu, PAGE))
		posix_fail("an access of a vCPU with a reason of its own is not emulated");
	lapic_mmio_write(vcpu, APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
	vcpu->regs.rip++;
	inhibit_turn(vcpu, access_page);
}

/* --- RAM --- */

static const char *access_ram(struct vcpu *vcpu)
{
	struct model_cpu *cpu = inhibit_stage_load(vcpu);
	bool late = atomic32_read(&returned);

	return model_translate(cpu, RAM, MODEL_READ) && late
	               ? "a translation is used behind the zap of its range"
	               : NULL;
}

/* The first may bring the translation into the cache, the second use it. */
static const char *access_and_wait(struct vcpu *vcpu)
{
	const char *wrong = access_ram(vcpu);

	wrong = wrong ? wrong : access_ram(vcpu);
	return wrong ? wrong : inhibit_wait(vcpu);
}

static void runner(void)
{
	struct vcpu *vcpu = inhibit_own();

	do {
		inhibit_turn(vcpu, access_and_wait);
	} while (atomic32_read(&inhibit_over) != inhibit_expected);
	inhibit_turn(vcpu, access_ram);
}

static void zapper(void)
{
	if (!mmu_zap(inhibit_vm, RAM, PAGE_SIZE_2M))
		posix_fail("the zap was refused");
	atomic32_set(&returned, 1);
	inhibit_done();
}

/* --- */

static void setup(void)
{
	inhibit_stage_create();
}

/* Somebody has mapped it, and vCPU 0 has it in its cache. */
static void setup_mapped(void)
{
	struct vcpu *vcpu;

	setup();
	begin();
	vcpu = inhibit_vm->vcpu[0];
	ASSERT(!access_page(vcpu) && faulted && inhibit_right.fault(vcpu, PAGE));
	ASSERT(!access_page(vcpu) && !faulted);
	vcpu->regs.rip++;
}

/* Everybody once more; then the tables. */
static const char *check(u32 mask)
{
	const char *wrong = inhibit_check(mask);
	struct vcpu *vcpu;
	u32 access;
	hpa_t hpa;

	for_each_vcpu (vcpu, inhibit_vm) {
		posix_set_current(&model()->cpu[vcpu->index]);
		wrong = wrong ? wrong : access_page(vcpu);
	}
	if (!wrong && mask && mmu_lookup(inhibit_vm, PAGE, &hpa, &access))
		return "acceleration is off, and the APIC's page is mapped";
	return wrong;
}

static const char *check_off(void)
{
	return check(INHIBIT_BIT(STORM));
}

static const char *check_ram(void)
{
	const char *wrong = inhibit_check(0);

	posix_set_current(&model()->cpu[0]);
	return wrong ? wrong : access_ram(inhibit_vm->vcpu[0]);
}

static const char *check_on(void)
{
	return check(0);
}

#define ZAP(id, what, bound, prepare, judge, last_cpu, ...)                                        \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = begin,                                                                    \
	        .actor = {__VA_ARGS__},                                                            \
	        .cpu = {0, last_cpu, INHIBIT_OTHER_CPU},                                           \
	        .preemptions = bound,                                                              \
	        .check = judge,                                                                    \
	}

ZAP(race_page_fault, "APIC page: a fault meets switching off", 3, setup, check_off,
    INHIBIT_OTHER_CPU, guest, off);
ZAP(race_page_mapped, "APIC page: an access meets switching off", 0, setup_mapped, check_off,
    INHIBIT_OTHER_CPU, guest, off);
ZAP(race_page_again, "APIC page: a fault meets switching off and on", 2, setup_mapped, check_on,
    INHIBIT_OTHER_CPU, guest, off_and_on);
ZAP(race_page_off_on_off, "APIC page: a fault meets switching off, on and off", 2, setup_mapped,
    check_off, INHIBIT_OTHER_CPU, guest, off_on_off);
ZAP(race_page_caller, "APIC page: a fault meets a vCPU that switches off", 2, setup, check_off, 1,
    guest, caller);
ZAP(race_page_two, "APIC page: two vCPUs' faults meet switching off", 1, setup, check_off, 1, guest,
    guest, off);
ZAP(race_page_local, "APIC page: a fault meets a vCPU with a reason of its own", 0, setup, check_on,
    1, guest, leaver);
ZAP(race_page_ram, "nested pages: an access meets the zap of its range", 0, setup, check_ram,
    INHIBIT_OTHER_CPU, runner, zapper);
