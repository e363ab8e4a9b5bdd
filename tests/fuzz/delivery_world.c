/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine on which hardware delivery is fuzzed: vCPUs' turns, sleep, entries and exits as core/run.c and core/sched.c
 * make them, on processors whose interrupts take their time, and the account of what each vCPU has to have requested.
 * What is not linked in is here.
 */
#include "core/sched.h"
#include "irq/accel_check.h"
#include "irq/apic_page.h"
#include "mmu/mmu.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "tests/fuzz/delivery_fuzz.h"

struct seat seat[VCPUS];
struct fuzz_input in;
const char *operation;
bool mapped;
u32 acting;
u64 delivered;

static u32 zaps;
static u64 instructions; /* that any vCPU has begun */

/* --- around the files under test --- */

void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)hpa.v;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA((uintptr_t)p);
}

struct cpu *this_cpu(void)
{
	return &fake.machine->cpu[acting];
}

bool sched_wake(struct vcpu *vcpu)
{
	return atomic32_cmpxchg(&vcpu->sched_state, VCPU_BLOCKED, VCPU_RUNNABLE);
}

void vcpu_request(struct vcpu *vcpu, u32 requests)
{
	atomic32_fetch_or(&vcpu->requests, requests);
	if (!sched_wake(vcpu) && atomic32_read(&vcpu->mode) == VCPU_IN_GUEST)
		cpu_kick(vcpu->cpu);
}

u32 vcpu_request_all(struct vm *vm, u32 requests)
{
	(void)vm;
	for (u32 i = 0; i < VCPUS; i++) {
		atomic32_fetch_or(&cpu(i)->requests, requests);
		leave(i);
	}
	return VCPUS;
}

/* No device is assigned. */
void assigned_follow(struct vm *vm __unused)
{
}

u32 mmu_invalidate_seq(const struct vm *vm)
{
	(void)vm;
	return zaps;
}

bool mmu_install(struct vm *vm, gpa_t gpa, hpa_t hpa, u32 access, u32 seq)
{
	FUZZ_CHECK(gpa.v == APIC_BASE_DEFAULT && hpa.v == ptr_to_hpa(vm->accel.page).v &&
	                   access == (MMU_READ | MMU_WRITE) && seq == zaps,
	           "%s: maps %llx", operation, (unsigned long long)gpa.v);
	mapped = true;
	return true;
}

bool mmu_zap(struct vm *vm, gpa_t gpa, u64 size)
{
	(void)vm;
	FUZZ_CHECK(gpa.v == APIC_BASE_DEFAULT && size == PAGE_SIZE, "%s: zaps %llx", operation,
	           (unsigned long long)gpa.v);
	mapped = false;
	zaps++;
	return true;
}

hpa_t mmu_root(struct vm *vm)
{
	(void)vm;
	return HPA(PAGE_SIZE);
}

hpa_t mmu_root_without_apic(struct vm *vm)
{
	(void)vm;
	return HPA(2 * PAGE_SIZE);
}

const u64 *port_hw_counts(void)
{
	return hw_counts(vcpu_on(acting));
}

/* What is injected is delivered at once here: nothing is in the slot. */
void intr_before_switch(struct vcpu *vcpu)
{
	(void)vcpu;
}

/* --- requests: what was asked for, and not yet delivered --- */

void want(u32 i, u8 vector)
{
	seat[i].wanted.word[vector / 32] |= BIT(vector % 32);
}

void want_all(u64 reached, u8 vector)
{
	for (u32 i = 0; i < VCPUS; i++)
		if (reached >> i & 1)
			want(i, vector);
}

void took(u32 i, u8 vector)
{
	seat[i].wanted.word[vector / 32] &= ~BIT(vector % 32);
	/* The same may have come apart from the page meanwhile. */
	if (cpu(i)->accel.apart.word[vector / 64].v >> vector % 64 & 1)
		want(i, vector);
	delivered++;
}

void forget_requests(u32 i)
{
	load_requests(&seat[i].wanted, i);
}

/* --- turns --- */

u32 vcpu_on(u32 p)
{
	for (u32 i = 0; i < VCPUS; i++)
		if (seat[i].turn && seat[i].on == p)
			return i;
	return NOBODY;
}

void end_turn(u32 i)
{
	u32 was_acting = acting;

	if (!seat[i].turn)
		return;
	acting = seat[i].on;
	leave(i);
	accel_running(cpu(i), NULL);
	atomic32_set(&cpu(i)->sched_state, VCPU_RUNNABLE);
	seat[i].turn = false;
	acting = was_acting;
}

void begin_turn(u32 i)
{
	u32 other = vcpu_on(seat[i].on);

	if (seat[i].turn)
		return;
	if (other != NOBODY)
		end_turn(other);
	ptr_set(&cpu(i)->cpu, &fake.machine->cpu[seat[i].on]);
	seat[i].turn = true;
	atomic32_set(&cpu(i)->sched_state, VCPU_RUNNING);
	accel_running(cpu(i), cpu(i)->cpu);
}

static bool has_work(u32 i)
{
	return atomic32_read(&cpu(i)->requests) || lapic_deliverable(cpu(i)) >= 0;
}

void halt(u32 i)
{
	operation = "HLT";
	leave(i);
	if (has_work(i))
		return;
	accel_sleeps(cpu(i));
	seat[i].turn = false;
	atomic32_xchg(&cpu(i)->sched_state, VCPU_BLOCKED);
	if (has_work(i) && atomic32_cmpxchg(&cpu(i)->sched_state, VCPU_BLOCKED, VCPU_RUNNING)) {
		seat[i].turn = true;
		accel_running(cpu(i), cpu(i)->cpu);
	}
}

void migrate(u32 i)
{
	operation = "migration";
	end_turn(i);
	acting = seat[i].on = fuzz_u8(&in) % CPUS;
	begin_turn(i);
}

void preempt(u32 i)
{
	operation = "preemption";
	end_turn(i);
}

/* --- entering and leaving the guest --- */

void leave(u32 i)
{
	if (!seat[i].inside)
		return;
	seat[i].inside = false;
	hw_leave(i);
	atomic32_set(&cpu(i)->mode, VCPU_OUTSIDE);
}

static void handle_requests(u32 i)
{
	u32 requests = atomic32_xchg(&cpu(i)->requests, 0);

	if (requests & VCPU_REQUEST_SIGNAL) {
		lapic_take_signals(cpu(i));
		forget_requests(i);
	}
	if (requests & VCPU_REQUEST_ACCEL)
		accel_update(cpu(i));
	if (requests & VCPU_REQUEST_EOI_EXIT)
		accel_eoi_exits(cpu(i));
}

/* The hypervisor's part of an entry. false: something has come, and it begins anew. */
static bool prepare(u32 i, int *vector)
{
	handle_requests(i);
	*vector = -1;
	if (!accel_is_on(&cpu(i)->accel) && atomic32_read(&apic(i)->irr_summary))
		*vector = lapic_deliverable(cpu(i));
	atomic32_set(&cpu(i)->mode, VCPU_IN_GUEST);
	smp_mb();
	if (!atomic32_read(&cpu(i)->requests) &&
	    !(accel_is_wrong(cpu(i)) && accel_last_look(cpu(i))))
		return true;
	atomic32_set(&cpu(i)->mode, VCPU_OUTSIDE);
	return false;
}

/* By the registers and the mask alone. */
static bool should_be_on(u32 i)
{
	enum accel_mode mode = is_x2apic(i) ? ACCEL_X2APIC : ACCEL_XAPIC;

	return !fake.vm->inhibit.mask.v && model_software_enabled() & BIT64(i) &&
	       fake.vm->accel.modes & ACCEL_MODE(mode);
}

static void check_mode(u32 i)
{
	const struct accel_vcpu *accel = &cpu(i)->accel;

	FUZZ_CHECK(accel->mode.v == accel_demanded(cpu(i)) &&
	                   accel_is_on(accel) == should_be_on(i) &&
	                   accel_is_wrong(cpu(i)) == (accel->looks && !accel_is_on(accel)),
	           "entry of vCPU %u: acceleration is %u, not %u", i, accel->mode.v,
	           accel_demanded(cpu(i)));
}

static void enter(u32 i)
{
	struct model_vectors page;
	int vector;

	begin_turn(i);
	while (!prepare(i, &vector))
		;
	check_mode(i);
	/* Another instruction each time, also behind a start-up, which sets RIP back. */
	cpu(i)->regs.rip = ++instructions;
	if (cpu(i)->accel.mode.v == ACCEL_XAPIC)
		FUZZ_CHECK(apic_page_fault(cpu(i), GPA(APIC_BASE_DEFAULT)) && mapped,
		           "the fault of an accelerated vCPU does not map the page");
	/* What comes from here on is in the page at the entry, too, and so is an interrupt that ends it at once. */
	load_page(&page, i);
	seat[i].inside = true;
	if (hw_enter(i))
		return;
	FUZZ_CHECK(vector == deliverable(i, &page), "entry of vCPU %u: %d is deliverable, not %d",
	           i, vector, deliverable(i, &page));
	if (vector < 0)
		return;
	lapic_ack(cpu(i), (u8)vector);
	took(i, (u8)vector);
}

void let_interrupts_in(u32 p)
{
	acting = p;
	hw_take_interrupts();
}

void act(u32 i)
{
	let_interrupts_in(seat[i].on);
	if (!seat[i].turn && is_asleep(i))
		vcpu_request(cpu(i), VCPU_REQUEST_EVENT);
	if (!seat[i].inside)
		enter(i);
}

/* --- the machine --- */

void machine_begin(const u32 *apic_ids, struct backend *backend, u32 inhibits)
{
	acting = 0;
	mapped = false;
	zaps = 0;
	delivered = 0;
	operation = "creation";
	fake_create_with_ids(VCPUS, apic_ids);
	fake.machine->backend = backend;
	fake.machine->cpu_count = CPUS + 1;
	fake.vm->live_vcpus.v = VCPUS;
	fake.vm->inhibit.needed = inhibits;
	for (u32 p = 0; p <= DEVICES; p++) {
		fake.machine->cpu[p].apic_id = HOST_ID + p;
		fake.machine->cpu[p].index = p;
	}
	for (u32 i = 0; i < VCPUS; i++) {
		seat[i] = (struct seat){.on = i};
		cpu(i)->cpu = &fake.machine->cpu[i];
		cpu(i)->activity = VCPU_ACTIVE;
		cpu(i)->sched_state.v = VCPU_RUNNABLE;
	}
}

void machine_accelerate(void)
{
	FUZZ_CHECK(accel_create(fake.vm, ACCEL_MODE(ACCEL_XAPIC) | ACCEL_MODE(ACCEL_X2APIC)),
	           "no acceleration");
}
