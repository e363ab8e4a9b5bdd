/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processors of the apicv fuzzer: VMCSs, physical interrupts, entries and exits, the guest's accesses, and requests
 * that come in the middle of something.
 */
#include "insn.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "tests/fuzz/apicv_fuzz.h"
#include "x86/msr.h"

struct processor processor[CPUS];
struct hw hw[VCPUS];
struct vmx_vm *vmx_vm;
struct vmx_features vmx_features;
u64 lost;
u32 sent;

static bool host_x2, ends_exit;

/* --- a request from elsewhere, in the middle of something --- */

static struct {
	bool armed;
	u32 after; /* accesses, before it comes */
	u8 how;
} intrusion;

/* The microcode of a processor whose guest sends, or software on a processor of its own. */
void intrude(u32 how)
{
	u32 target = (how >> 3 & 3) % VCPUS, from = (target + 1 + (how >> 6 & 1)) % VCPUS;
	struct vapic *vapic = &hw[from].vapic;
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

/* --- around the files under test --- */

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

bool vmx_vtd_can_post(void)
{
	return false;
}

/* --- the VMCS of whose turn it is --- */

static u64 *field_of(u32 i, u32 name)
{
	u32 n = 0;

	while (n < FIELDS && hw[i].field[n].name && hw[i].field[n].name != name)
		n++;
	FUZZ_CHECK(n < FIELDS, "%s: VMCS field %x", operation, name);
	hw[i].field[n].name = name;
	return &hw[i].field[n].value;
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

/* --- entering and leaving the guest --- */

static void load_vapic(u32 i)
{
	const struct vmx_controls *control = &hw[i].vmx.own.want;
	u32 secondary = control->secondary;
	struct vapic *vapic = &hw[i].vapic;

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
	FUZZ_CHECK(vapic->vid == accel_is_on(&cpu(i)->accel) &&
	                   vapic->x2apic == (vapic->vid && is_x2apic(i)) &&
	                   !!vapic->pi_desc == (vapic->vid && vmx_posted_usable()) &&
	                   vapic->ipiv == (vapic->vid && vmx_ipiv_usable()),
	           "entry of vCPU %u: acceleration %u, secondary controls %x", i,
	           cpu(i)->accel.mode.v, secondary);
}

bool hw_enter(u32 i)
{
	vmx_apicv_sync(cpu(i));
	load_vapic(i);
	vapic_enter(&hw[i].vapic, (u16)*field_of(i, VMCS_GUEST_INTR_STATUS));
	return hw[i].vapic.vid;
}

void hw_leave(u32 i)
{
	u16 status = vapic_leave(&hw[i].vapic);

	if (hw[i].vapic.vid)
		*field_of(i, VMCS_GUEST_INTR_STATUS) = status;
}

const u64 *hw_counts(u32 i)
{
	return hw[i].vapic.counts;
}

bool hw_knows(u32 i, u8 vector)
{
	const struct vapic *vapic = &hw[i].vapic;

	return vapic->vid && vapic->recognized && vapic->rvi == vector;
}

/* --- physical interrupts --- */

/* In the guest posted ones are processed; any other, and one that comes outside, is core/run.c's. */
static void take_interrupt(bool *pending, u8 vector)
{
	u32 i = vcpu_on(acting);

	if (!*pending)
		return;
	*pending = false;
	if (i != NOBODY && seat[i].inside) {
		if (vapic_process_posted(&hw[i].vapic, vector))
			return;
		leave(i);
	}
	if (vector == CPU_VECTOR_WAKEUP)
		atomic32_set_relaxed(&this_cpu()->wakeups, 1);
}

/* And the chores, if no guest goes on. */
void hw_take_interrupts(void)
{
	struct processor *p = &processor[acting];
	u32 i;

	take_interrupt(&p->notified, CPU_VECTOR_NOTIFY);
	take_interrupt(&p->woken, CPU_VECTOR_WAKEUP);
	take_interrupt(&p->kicked, CPU_VECTOR_KICK);
	i = vcpu_on(acting);
	if (!(i != NOBODY && seat[i].inside) && atomic32_read_relaxed(&this_cpu()->wakeups))
		accel_wake(this_cpu());
}

bool hw_is_interrupted(u32 p)
{
	return processor[p].notified || processor[p].woken || processor[p].kicked;
}

/* --- the guest's accesses --- */

static void handle(u32 i, struct vapic_result result, u32 offset, u64 value)
{
	if (result.action == VAPIC_DONE || result.action == VAPIC_GP)
		return;
	FUZZ_CHECK(result.action != VAPIC_ORDINARY, "%s: the guest reaches the host's APIC",
	           operation);
	leave(i);
	switch (result.reason) {
	case VMX_EXIT_APIC_ACCESS:
		vmx_apicv_access_exit(cpu(i), result.qualification);
		break;
	case VMX_EXIT_APIC_WRITE:
		vmx_apicv_write_exit(cpu(i), result.qualification);
		break;
	case VMX_EXIT_EOI:
		vmx_apicv_eoi_exit(cpu(i), result.qualification);
		break;
	default:
		FUZZ_FAIL("%s: exit %u", operation, result.reason);
	}
	handle_exit(i, offset, value);
}

static bool exits(u32 i, u32 msr)
{
	const u8 *map = hpa_to_ptr(HPA(*field_of(i, VMCS_MSR_BITMAP)));
	u32 bit = (u32)vmx_msr_bit(msr, true);

	return map[bit / 8] >> bit % 8 & 1;
}

void hw_write(u32 i, u32 offset, u64 value)
{
	struct vapic *vapic = &hw[i].vapic;
	u32 msr = MSR_X2APIC_FIRST + offset / 16;
	struct vapic_result result;

	if (vapic->x2apic && !exits(i, msr)) {
		handle(i, vapic_msr_write(vapic, msr, value), offset, value);
		return;
	}
	if (vapic->vid && !vapic->x2apic) {
		result = vapic_page_write(vapic, VAPIC_DATA, offset, 4, value);
		if (result.action == VAPIC_DONE)
			result = vapic_emulate_write(vapic);
		handle(i, result, offset, value);
		return;
	}
	leave(i);
	if (is_x2apic(i))
		lapic_msr_write(cpu(i), msr, value);
	else
		lapic_mmio_write(cpu(i), offset, 4, value);
}

/* --- the machine --- */

static void make_hw(u32 i, u32 switches)
{
	struct hw *h = &hw[i];

	*h = (struct hw){0};
	h->vmx.vmcs = &h->vmx.own;
	h->vapic = (struct vapic){.switches = switches,
	                          .host_x2 = host_x2,
	                          .width = 52,
	                          .memory_start = PAGE_SIZE,
	                          .memory_end = 1ull << 47,
	                          .notify = on_notify,
	                          .eoi = on_eoi};
	cpu(i)->arch = &h->vmx;
}

static void make_processor(u32 p)
{
	struct cpu *cpu = &fake.machine->cpu[p];

	processor[p] = (struct processor){0};
	cpu->arch = &processor[p].vmx;
	vmx_posted_cpu_init(cpu);
}

static void make_host(u8 choice)
{
	bool posted = choice & 3, ipiv = choice & 2;

	vmx_features = (struct vmx_features){
	        .secondary = {0, ~0u},
	        .pin = {0, posted ? ~0u : ~VMX_PIN_POSTED},
	        .exit = {0, ~0u},
	        .tertiary = ipiv ? VMX_PROC3_IPIV : 0,
	};
	host_x2 = choice & 4;
	ends_exit = choice & 8;
	backend_table.accel = &vmx_apicv_ops;
	fake.machine->posted = fake.machine->ipiv = true;
	for (u32 p = 0; p < CPUS; p++)
		make_processor(p);
}

void apicv_begin(u8 choice, u32 switches)
{
	static const u32 apic_ids[4][VCPUS] = {{0, 1, 2}, {0, 17, 40}, {0, 1, 255}, {0, 300, 600}};
	static struct backend backend = {.accel = &vmx_apicv_ops};

	intrusion.armed = false;
	lost = 0;
	machine_begin(apic_ids[choice >> 4 & 3], &backend,
	              INHIBIT_BIT(STORM) | INHIBIT_BIT(APIC_ID_MODIFIED) |
	                      INHIBIT_BIT(PHYSICAL_ID_ALIASED) | INHIBIT_BIT(APIC_BASE_MODIFIED) |
	                      INHIBIT_BIT(APIC_DISABLED));
	make_host(choice);
	for (u32 i = 0; i < VCPUS; i++)
		make_hw(i, switches);
	FUZZ_CHECK(vmx_vm_init(fake.vm), "no VM");
	vmx_vm = fake.vm->arch;
	machine_accelerate();
	for (u32 i = 0; i < VCPUS; i++)
		accel_eoi_exits(cpu(i));
}

void apicv_end(void)
{
	accel_destroy(fake.vm);
	vmx_vm_exit(fake.vm);
	fake_destroy();
}
