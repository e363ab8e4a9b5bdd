/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine of the apicv fuzzer: three processors with their VMCSs, physical interrupts, vCPUs' turns, entries and
 * exits as core/ makes them, and requests that come in the middle of something. What is not linked in is here.
 */
#include "core/sched.h"
#include "insn.h"
#include "irq/accel_check.h"
#include "irq/apic_page.h"
#include "mmu/mmu.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "tests/fuzz/apicv_fuzz.h"
#include "x86/msr.h"

#define DEVICES CPUS /* the processor that runs them */

struct processor processor[CPUS];
struct seat seat[VCPUS];
struct vmx_vm *vmx_vm;
struct vmx_features vmx_features;
const char *operation;
bool mapped;
u64 lost, delivered;
u32 sent;

static u32 acting; /* index of the present processor */
static u32 zaps;
static u64 instructions;
static bool host_x2, ends_exit;

/* --- a request from elsewhere, in the middle of something --- */

static struct {
	bool armed;
	u32 after; /* accesses, before it comes */
	u8 how;
} intrusion;

void want(u32 i, u8 vector)
{
	seat[i].wanted.word[vector / 32] |= BIT(vector % 32);
}

u8 vector_of(u8 choice)
{
	return (u8)(0x10 + (choice & 7) * 0x1f);
}

/* The microcode of a processor whose guest sends, or software on a processor of its own. */
void intrude(u32 how)
{
	u32 target = (how >> 3 & 3) % VCPUS, from = (target + 1 + (how >> 6 & 1)) % VCPUS;
	struct vapic *vapic = &seat[from].vapic;
	u32 was_acting = acting;
	u8 vector = vector_of((u8)how);

	acting = DEVICES;
	if (how & 0x20 && seat[from].inside && vapic->ipiv && seat[from].on != was_acting) {
		if (vapic_send(vapic, cpu(target)->apic_id, vector).action == VAPIC_DONE)
			want(target, vector);
	} else if (lapic_accept(apic(target), vector, false, IRQ_SOURCE_MSI)) {
		want(target, vector);
	}
	acting = was_acting;
}

void race_hook_point(const volatile void *addr, enum race_kind kind)
{
	(void)addr;
	(void)kind;
	if (!intrusion.armed || intrusion.after--)
		return;
	intrusion.armed = false;
	intrude(intrusion.how);
}

void intrude_after(u32 accesses, u8 how)
{
	intrusion.armed = true;
	intrusion.after = accesses;
	intrusion.how = how;
}

void intrude_no_more(void)
{
	intrusion.armed = false;
}

void act_as_devices(void)
{
	acting = DEVICES;
}

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

static void interrupt(u32 host_id, u8 vector)
{
	u32 p = host_id - HOST_ID;

	FUZZ_CHECK(p < CPUS, "%s: vector %x to %x", operation, vector, host_id);
	switch (vector) {
	case CPU_VECTOR_NOTIFY:
		processor[p].notified = true;
		break;
	case CPU_VECTOR_WAKEUP:
		processor[p].woken = true;
		break;
	case CPU_VECTOR_KICK:
		processor[p].kicked = true;
		break;
	default:
		FUZZ_FAIL("%s: vector %x", operation, vector);
	}
}

void port_send_ipi(u32 apic_id, u8 vector)
{
	sent++;
	interrupt(apic_id, vector);
}

static void on_notify(void *context, u32 host_id, u8 vector)
{
	(void)context;
	interrupt(host_id, vector);
}

static void on_eoi(void *context)
{
	(void)context;
}

void cpu_kick(struct cpu *cpu)
{
	port_send_ipi(cpu->apic_id, CPU_VECTOR_KICK);
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

/* The account of a processor is looked at where it is kept. */
const u64 *port_hw_counts(void)
{
	return NULL;
}

#define ENDS 0x8000800180018001ull

void eoi_exit_bitmap(struct vcpu *vcpu, u64 out[EOI_EXIT_WORDS])
{
	(void)vcpu;
	for (u32 i = 0; i < EOI_EXIT_WORDS; i++)
		out[i] = ends_exit ? ENDS : 0;
}

void change_ends(bool exit)
{
	ends_exit = exit;
	for (u32 i = 0; i < VCPUS; i++)
		vcpu_request(cpu(i), VCPU_REQUEST_EOI_EXIT);
}

/* What is injected is delivered at once here: nothing is in the slot. */
void intr_before_switch(struct vcpu *vcpu)
{
	(void)vcpu;
}

void vmx_emulating(struct vcpu *vcpu)
{
	(void)vcpu;
}

u64 insn_rdmsr(u32 msr)
{
	FUZZ_CHECK(msr == MSR_APIC_BASE, "%s: RDMSR %x", operation, msr);
	return APIC_BASE_EN | (host_x2 ? APIC_BASE_EXTD : 0);
}

void vmcs_fail(u32 field)
{
	FUZZ_FAIL("%s: VMCS field %x", operation, field);
}

/* --- the VMCS of whose turn it is --- */

u64 *field_of(u32 i, u32 name)
{
	u32 n = 0;

	while (n < FIELDS && seat[i].field[n].name && seat[i].field[n].name != name)
		n++;
	FUZZ_CHECK(n < FIELDS, "%s: VMCS field %x", operation, name);
	seat[i].field[n].name = name;
	return &seat[i].field[n].value;
}

u32 vcpu_on(u32 p)
{
	for (u32 i = 0; i < VCPUS; i++)
		if (seat[i].turn && seat[i].on == p)
			return i;
	return NOBODY;
}

bool insn_vmwrite(u32 field, u64 value)
{
	*field_of(vcpu_on(acting), field) = value;
	return true;
}

bool insn_vmread(u32 field, u64 *value)
{
	*value = *field_of(vcpu_on(acting), field);
	return true;
}

/* Fields that a processor may lack are written by another way. */
struct insn_slots insn_slots = {.vmread = insn_vmread, .vmwrite = insn_vmwrite};

/* --- entering and leaving the guest, turns --- */

void leave(u32 i)
{
	u16 status;

	if (!seat[i].inside)
		return;
	seat[i].inside = false;
	seat[i].due = true;
	status = vapic_leave(&seat[i].vapic);
	if (seat[i].vapic.vid)
		*field_of(i, VMCS_GUEST_INTR_STATUS) = status;
	atomic32_set(&cpu(i)->mode, VCPU_OUTSIDE);
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

/* As core/run.c has them handled. */
static void handle_interrupt(u32 p, u8 vector)
{
	if (vector == CPU_VECTOR_WAKEUP)
		atomic32_set_relaxed(&fake.machine->cpu[p].wakeups, 1);
}

static void take_interrupt(u32 p, bool *pending, u8 vector)
{
	u32 i = vcpu_on(p);

	if (!*pending)
		return;
	*pending = false;
	if (i != NOBODY && seat[i].inside) {
		if (vapic_process_posted(&seat[i].vapic, vector))
			return;
		leave(i);
	}
	handle_interrupt(p, vector);
}

/* What is on its way arrives. */
static void settle(u32 p)
{
	take_interrupt(p, &processor[p].notified, CPU_VECTOR_NOTIFY);
	take_interrupt(p, &processor[p].woken, CPU_VECTOR_WAKEUP);
	take_interrupt(p, &processor[p].kicked, CPU_VECTOR_KICK);
}

static void chores(u32 p)
{
	u32 i = vcpu_on(p);

	if (i != NOBODY && seat[i].inside)
		return;
	if (atomic32_read_relaxed(&fake.machine->cpu[p].wakeups))
		accel_wake(&fake.machine->cpu[p]);
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

static void handle_requests(u32 i)
{
	u32 requests = atomic32_xchg(&cpu(i)->requests, 0);

	if (requests & VCPU_REQUEST_SIGNAL)
		lapic_take_signals(cpu(i));
	if (requests & VCPU_REQUEST_ACCEL)
		accel_update(cpu(i));
	if (requests & VCPU_REQUEST_EOI_EXIT)
		accel_eoi_exits(cpu(i));
}

/* By the registers and the mask alone. */
static bool should_be_on(u32 i)
{
	return !fake.vm->inhibit.mask.v && model_software_enabled() & BIT64(i);
}

static void load_vapic(u32 i)
{
	const struct vmx_controls *control = &seat[i].vmx.own.want;
	u32 secondary = control->secondary;
	struct vapic *vapic = &seat[i].vapic;

	vapic->page = apic(i)->page;
	vapic->tpr_shadow = true;
	vapic->x2apic = secondary & VMX_PROC2_X2APIC;
	vapic->apic_registers = secondary & VMX_PROC2_APIC_REGISTER;
	vapic->vid = secondary & VMX_PROC2_VID;
	vapic->pi_desc = NULL;
	if (control->pin & VMX_PIN_POSTED) {
		vapic->pi_vector = (u8)*field_of(i, VMCS_PI_VECTOR);
		vapic->pi_desc = hpa_to_ptr(HPA(*field_of(i, VMCS_PI_DESC)));
	}
	vapic->ipiv = control->primary & VMX_PROC_TERTIARY &&
	              *field_of(i, VMCS_TERTIARY) & VMX_PROC3_IPIV;
	vapic->pi_table = hpa_to_ptr(HPA(*field_of(i, VMCS_PI_TABLE)));
	vapic->last_index = (u16)*field_of(i, VMCS_LAST_PI_INDEX);
	for (u32 n = 0; n < EOI_EXIT_WORDS; n++) {
		vapic->eoi_exit[n] = *field_of(i, (u32)VMCS_EOI_EXIT(n));
		/* The processor asks for bit 0 where nothing is in service. */
		FUZZ_CHECK(!vapic->vid || vapic->eoi_exit[n] ==
		                                  (ends_exit ? n ? ENDS : ENDS & ~0xffffull : 0),
		           "entry of vCPU %u: ends that exit: %llx", i,
		           (unsigned long long)vapic->eoi_exit[n]);
	}
	FUZZ_CHECK(vapic->vid == accel_is_on(&cpu(i)->accel) && vapic->vid == should_be_on(i) &&
	                   vapic->x2apic == (vapic->vid && is_x2apic(i)) &&
	                   !!vapic->pi_desc == (vapic->vid && vmx_posted_usable()) &&
	                   vapic->ipiv == (vapic->vid && vmx_ipiv_usable()),
	           "entry of vCPU %u: acceleration %u, secondary controls %x", i,
	           cpu(i)->accel.mode.v, secondary);
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

static void enter(u32 i)
{
	struct model_vectors page;
	int vector;

	begin_turn(i);
	while (!prepare(i, &vector))
		;
	/* Another instruction each time, also behind a start-up, which sets RIP back. */
	cpu(i)->regs.rip = ++instructions;
	if (cpu(i)->accel.mode.v == ACCEL_XAPIC)
		FUZZ_CHECK(apic_page_fault(cpu(i), GPA(APIC_BASE_DEFAULT)) && mapped,
		           "the fault of an accelerated vCPU does not map the page");
	/* What comes from here on is in the page at the entry, too, and so is an interrupt that ends it at once. */
	load_page(&page, i);
	vmx_apicv_sync(cpu(i));
	load_vapic(i);
	seat[i].inside = true;
	seat[i].due = false;
	vapic_enter(&seat[i].vapic, (u16)*field_of(i, VMCS_GUEST_INTR_STATUS));
	if (seat[i].vapic.vid)
		return;
	FUZZ_CHECK(vector == deliverable(i, &page), "entry of vCPU %u: %d is deliverable, not %d",
	           i, vector, deliverable(i, &page));
	if (vector < 0)
		return;
	lapic_ack(cpu(i), (u8)vector);
	seat[i].wanted.word[vector / 32] &= ~BIT(vector % 32);
	/* Something may have come apart meanwhile that is the same. */
	if (desc_of(i)->pir[vector / 64].v >> vector % 64 & 1)
		want(i, (u8)vector);
	delivered++;
}

void let_interrupts_in(u32 p)
{
	acting = p;
	settle(p);
	chores(p);
}

/* The vCPU executes something. What is on its way to its processor comes first. */
void act(u32 i)
{
	let_interrupts_in(seat[i].on);
	if (!seat[i].turn && is_asleep(i))
		vcpu_request(cpu(i), VCPU_REQUEST_EVENT);
	if (!seat[i].inside || seat[i].due)
		enter(i);
}

/* --- the machine --- */

static void make_vcpu(u32 i, u32 switches)
{
	struct seat *s = &seat[i];

	*s = (struct seat){.on = i};
	s->vmx.vmcs = &s->vmx.own;
	s->vapic = (struct vapic){.switches = switches,
	                          .host_x2 = host_x2,
	                          .width = 52,
	                          .memory_start = PAGE_SIZE,
	                          .memory_end = 1ull << 47,
	                          .notify = on_notify,
	                          .eoi = on_eoi,
	                          .context = s};
	cpu(i)->arch = &s->vmx;
	cpu(i)->cpu = &fake.machine->cpu[i];
	cpu(i)->activity = VCPU_ACTIVE;
	cpu(i)->sched_state.v = VCPU_RUNNABLE;
}

static void make_processor(u32 p)
{
	struct cpu *cpu = &fake.machine->cpu[p];

	cpu->apic_id = HOST_ID + p;
	cpu->index = p;
	if (p >= CPUS)
		return;
	processor[p] = (struct processor){0};
	cpu->arch = &processor[p].vmx;
	vmx_posted_cpu_init(cpu);
}

static void make_host(u8 choice)
{
	static const u32 apic_ids[4][VCPUS] = {{0, 1, 2}, {0, 17, 40}, {0, 1, 255}, {0, 300, 600}};
	static struct backend backend = {.accel = &vmx_apicv_ops};
	bool posted = choice & 3, ipiv = choice & 2;

	vmx_features = (struct vmx_features){
	        .secondary = {0, ~0u},
	        .pin = {0, posted ? ~0u : ~VMX_PIN_POSTED},
	        .exit = {0, ~0u},
	        .tertiary = ipiv ? VMX_PROC3_IPIV : 0,
	};
	host_x2 = choice & 4;
	ends_exit = choice & 8;
	fake_create_with_ids(VCPUS, apic_ids[choice >> 4 & 3]);
	fake.machine->backend = &backend;
	backend_table.accel = &vmx_apicv_ops;
	fake.machine->posted = fake.machine->ipiv = true;
	fake.machine->cpu_count = CPUS + 1;
	fake.vm->live_vcpus.v = VCPUS;
	fake.vm->inhibit.needed = INHIBIT_BIT(STORM) | INHIBIT_BIT(APIC_ID_MODIFIED) |
	                          INHIBIT_BIT(PHYSICAL_ID_ALIASED) |
	                          INHIBIT_BIT(APIC_BASE_MODIFIED) | INHIBIT_BIT(APIC_DISABLED);
	for (u32 p = 0; p <= CPUS; p++)
		make_processor(p);
}

/* No device is assigned. */
void assigned_follow(struct vm *vm __unused)
{
}

bool vmx_vtd_can_post(void)
{
	return false;
}

void machine_begin(u8 choice, u32 switches)
{
	acting = 0;
	intrusion.armed = mapped = false;
	zaps = 0;
	lost = delivered = 0;
	make_host(choice);
	for (u32 i = 0; i < VCPUS; i++)
		make_vcpu(i, switches);
	FUZZ_CHECK(vmx_vm_init(fake.vm) && accel_create(fake.vm, ACCEL_MODE(ACCEL_XAPIC) |
	                                                                 ACCEL_MODE(ACCEL_X2APIC)),
	           "no acceleration");
	vmx_vm = fake.vm->arch;
	for (u32 i = 0; i < VCPUS; i++)
		accel_eoi_exits(cpu(i));
}

void machine_end(void)
{
	accel_destroy(fake.vm);
	vmx_vm_exit(fake.vm);
	fake_destroy();
}
