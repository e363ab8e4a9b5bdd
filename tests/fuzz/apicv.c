/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware delivery with requests apart from the page, as a whole: irq/'s local APICs with accel.c and lapic_accel.c,
 * vmx/apicv.c, posted.c and ipiv.c as the back end, and APIC virtualization's microcode as the processor, for three vCPUs
 * on three processors. vCPUs run, sleep, are preempted and move; guests change IDs, modes and enables, send and end;
 * devices send; acceleration comes and goes. Physical interrupts take their time: they are taken when their processor
 * does something. An input: a byte of what the machine is, one of the APICs, the processors' switches, then operations.
 *
 * An operation may be met by a request from elsewhere, of software or of a processor that posts: before any of the
 * hypervisor's accesses of memory that others use, too, as the input says.
 *
 * What has to hold after each operation is in apicv_check.c; FUZZ_TRACE=1 names them.
 */
#include "tests/fuzz/apicv_fuzz.h"

#include "postern/port.h"
#include "x86/msr.h"

#define MOST_OPERATIONS 40

static struct fuzz_input in;

/* --- the guest's accesses, and the exits that they cause --- */

static void handle(u32 i, struct vapic_result result, u32 offset, u64 value)
{
	struct vcpu *vcpu = cpu(i);

	if (result.action == VAPIC_DONE || result.action == VAPIC_GP)
		return;
	FUZZ_CHECK(result.action != VAPIC_ORDINARY, "%s: the guest reaches the host's APIC",
	           operation);
	leave(i);
	switch (result.reason) {
	case VMX_EXIT_APIC_ACCESS:
		vmx_apicv_access_exit(vcpu, result.qualification);
		FUZZ_CHECK(vcpu->exit.kind == EXIT_APIC_ACCESS && vcpu->exit.memory.write &&
		                   vcpu->exit.memory.gpa.v == APIC_BASE_DEFAULT + offset,
		           "%s: exit for another access", operation);
		lapic_mmio_write(vcpu, offset, 4, value);
		break;
	case VMX_EXIT_APIC_WRITE:
		vmx_apicv_write_exit(vcpu, result.qualification);
		FUZZ_CHECK(vcpu->exit.kind == EXIT_APIC_WRITE && vcpu->exit.apic.offset == offset,
		           "%s: exit for another write", operation);
		lapic_written(vcpu, vcpu->exit.apic.offset);
		break;
	case VMX_EXIT_EOI:
		vmx_apicv_eoi_exit(vcpu, result.qualification);
		lapic_eoi_written(vcpu, vcpu->exit.apic.vector);
		break;
	default:
		FUZZ_FAIL("%s: exit %u", operation, result.reason);
	}
}

static bool exits(u32 i, u32 msr)
{
	const u8 *map = hpa_to_ptr(HPA(*field_of(i, VMCS_MSR_BITMAP)));
	u32 bit = (u32)vmx_msr_bit(msr, true);

	return map[bit / 8] >> bit % 8 & 1;
}

static void write_register(u32 i, u32 offset, u64 value)
{
	struct vapic *vapic = &seat[i].vapic;
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

static u32 any_value(void)
{
	u8 choice = fuzz_u8(&in);

	if (choice < 0x80)
		return choice & 1 ? (u32)choice << 1 : 0x1ff;
	return choice < 0xc0 ? (u32)choice << 24 : fuzz_u32(&in);
}

/* Not one that makes requests. */
static void any_register(u32 i)
{
	u32 offset = (fuzz_u8(&in) & 0x3f) << 4;

	operation = "write of a register";
	if (offset != APIC_ICR && offset != APIC_SELF && offset != APIC_LVTERR)
		write_register(i, offset, any_value());
}

static void identity(u32 i)
{
	u8 choice = fuzz_u8(&in), value = fuzz_u8(&in);

	switch (choice & 3) {
	case 0:
		operation = "write of ID";
		write_register(i, APIC_ID, (value & 1 ? cpu(i)->apic_id : (u32)value & 3) << 24);
		break;
	case 1:
		operation = "write of LDR";
		write_register(i, APIC_LDR, (BIT(value & 3) | (value & 0xf0)) << 24);
		break;
	default:
		operation = "write of SVR";
		write_register(i, APIC_SVR, value & 3 ? APIC_SVR_ENABLE | value : value);
		break;
	}
}

/* The APIC begins anew, and with it what is requested of it. */
static void forget_requests(u32 i)
{
	load_requests(&seat[i].wanted, i);
	lost += unaccounted();
}

static void apic_base(u32 i)
{
	u8 choice = fuzz_u8(&in);
	u64 value = choice & 0x80 ? (u64)choice << 12 : APIC_BASE_DEFAULT;

	operation = "WRMSR APIC_BASE";
	leave(i);
	lapic_msr_write(cpu(i), MSR_APIC_BASE, value | (choice & 3) * APIC_BASE_EXTD);
	forget_requests(i);
}

/* Whatever comes meanwhile. */
static void reset(u32 i)
{
	static const struct model_vectors none;

	operation = "reset";
	leave(i);
	lapic_reset(cpu(i), fuzz_u8(&in) & 1);
	forget_requests(i);
	FUZZ_CHECK(!memcmp(&seat[i].wanted, &none, sizeof(none)), "%s: requests are left",
	           operation);
}

static void task_priority(u32 i)
{
	u8 value = fuzz_u8(&in) & 0x3f;

	operation = "CR8";
	if (seat[i].vapic.vid)
		vapic_write_cr8(&seat[i].vapic, value >> 2);
	else
		lapic_set_cr8(cpu(i), value >> 2);
	/* The run loop sees to it behind the exit of a vCPU that is not accelerated. */
	if (!seat[i].vapic.vid)
		leave(i);
}

static void take(u32 i)
{
	u8 vector;

	operation = "delivery";
	if (!seat[i].vapic.vid || !vapic_can_deliver(&seat[i].vapic, true))
		return;
	vector = vapic_deliver(&seat[i].vapic);
	seat[i].wanted.word[vector / 32] &= ~BIT(vector % 32);
	if (desc_of(i)->pir[vector / 64].v >> vector % 64 & 1)
		want(i, vector);
	delivered++;
}

/* --- IPIs and messages --- */

static u32 any_dest(u32 i, bool logical)
{
	u8 choice = fuzz_u8(&in);

	if (choice >= 0xf0)
		return is_x2apic(i) ? ~0u : 0xff;
	if (choice >= 0xe0)
		return fuzz_u8(&in) | (choice & 1 ? fuzz_u16(&in) << 8 : 0);
	if (!logical)
		return cpu(choice % VCPUS)->apic_id;
	return is_x2apic(i) ? apic_reg(choice % VCPUS, APIC_LDR)
	                    : apic_reg(choice % VCPUS, APIC_LDR) >> 24;
}

static void want_all(u64 reached, u8 vector)
{
	for (u32 i = 0; i < VCPUS; i++)
		if (reached >> i & 1)
			want(i, vector);
}

static void send(u32 i)
{
	u8 how = fuzz_u8(&in);
	struct irq_message message = {.sender = cpu(i),
	                              .vector = vector_of(fuzz_u8(&in)),
	                              .shorthand = how & 0x10 ? (u32)(how & 3) << 18 : 0,
	                              .logical = (how & 0xc) == 0xc,
	                              .x2apic_format = is_x2apic(i)};
	u32 dest = any_dest(i, message.logical), icr;
	bool nmi = how >= 0xf0;
	u64 reached;

	operation = "IPI";
	if (!is_xapic(i) && !is_x2apic(i))
		return;
	if (!is_x2apic(i))
		dest &= 0xff;
	message.dest = dest;
	icr = message.vector | message.shorthand | (message.logical ? APIC_DEST_LOGICAL : 0) |
	      APIC_LEVEL_ASSERT | (nmi ? APIC_DM_NMI : 0);
	reached = nmi ? 0 : model_accepting(model_destinations(&message), message.vector);
	if (is_x2apic(i)) {
		write_register(i, APIC_ICR, (u64)dest << 32 | icr);
	} else {
		write_register(i, APIC_ICR2, dest << 24);
		act(i);
		write_register(i, APIC_ICR, icr);
	}
	want_all(reached, message.vector);
}

/* Of somebody who knows the vCPU. Nobody is told twice. */
static void device_message(void)
{
	u8 how = fuzz_u8(&in);
	u32 i = how % VCPUS, before = sent;
	bool was_on = desc_of(i)->control.v & PI_ON;
	u8 vector = vector_of(fuzz_u8(&in));

	operation = "message";
	act_as_devices();
	intrude_no_more();
	if (lapic_accept(apic(i), vector, false, IRQ_SOURCE_MSI))
		want(i, vector);
	FUZZ_CHECK(!was_on || sent == before, "%s: vCPU %u was told again", operation, i);
}

/* --- what vCPUs go through --- */

/* As the run loop and the scheduler do it. */
static void halt(u32 i)
{
	operation = "HLT";
	leave(i);
	if (atomic32_read(&cpu(i)->requests) || lapic_deliverable(cpu(i)) >= 0)
		return;
	accel_sleeps(cpu(i));
	seat[i].turn = false;
	atomic32_xchg(&cpu(i)->sched_state, VCPU_BLOCKED);
	if ((atomic32_read(&cpu(i)->requests) || lapic_deliverable(cpu(i)) >= 0) &&
	    atomic32_cmpxchg(&cpu(i)->sched_state, VCPU_BLOCKED, VCPU_RUNNING)) {
		seat[i].turn = true;
		accel_running(cpu(i), cpu(i)->cpu);
	}
}

static void idle(void)
{
	operation = "physical interrupts";
	let_interrupts_in(fuzz_u8(&in) % CPUS);
}

static void migrate(u32 i)
{
	operation = "migration";
	end_turn(i);
	seat[i].on = fuzz_u8(&in) % CPUS;
	begin_turn(i);
}

static void inhibit(u32 i)
{
	u8 choice = fuzz_u8(&in);

	operation = "inhibit";
	leave(i);
	inhibit_change(fake.vm, INHIBIT_BIT(STORM), choice & 1 ? ~0u : 0);
	if (choice & 2)
		change_ends(choice & 4);
}

/* --- an input --- */

/* APICs are enabled, and in x2APIC mode. */
static void program(u8 choice)
{
	for (u32 i = 0; i < VCPUS && !(choice & 1); i++) {
		act(i);
		write_register(i, APIC_SVR, APIC_SVR_ENABLE | 0xff);
		write_register(i, APIC_LDR, BIT(i) << 24);
		leave(i);
		if (choice & 2)
			lapic_msr_write(cpu(i), MSR_APIC_BASE, apic(i)->base.v | APIC_BASE_EXTD);
	}
}

static void begin(void)
{
	u8 choice = fuzz_u8(&in), apics = fuzz_u8(&in);
	/* A processor that notifies nobody of what it finds in PIR already: with that no hypervisor can live. */
	u32 switches = fuzz_u16(&in) & (BIT(VAPIC_SWITCH_COUNT) - 1) & ~VAPIC_COALESCED_SILENT;

	operation = "creation";
	machine_begin(choice, switches);
	program(apics);
}

static void arm_intrusion(void)
{
	u8 when = fuzz_u8(&in);

	if (when & 0x80)
		intrude_after(when & 0x3f, fuzz_u8(&in));
}

static void operate(void)
{
	u8 choice = fuzz_u8(&in);
	u32 i = (choice >> 5) % VCPUS;

	operation = "entry";
	arm_intrusion();
	if ((choice & 0x1f) < 24)
		act(i);
	switch (choice & 0x1f) {
	case 0 ... 5:
		send(i);
		break;
	case 6 ... 8:
		take(i);
		break;
	case 9 ... 10:
		operation = "EOI";
		write_register(i, APIC_EOI, 0);
		break;
	case 11 ... 12:
		identity(i);
		break;
	case 13:
		apic_base(i);
		break;
	case 14:
		task_priority(i);
		break;
	case 15 ... 18:
		halt(i);
		break;
	case 19:
		migrate(i);
		break;
	case 20:
		inhibit(i);
		break;
	case 21:
		reset(i);
		break;
	case 22:
		break;
	case 23:
		any_register(i);
		break;
	case 24 ... 26:
		device_message();
		break;
	case 27 ... 28:
		operation = "preemption";
		end_turn(i);
		break;
	case 29:
		operation = "posting by a processor";
		intrude(0x20 | fuzz_u8(&in));
		break;
	default:
		idle();
		break;
	}
	intrude_no_more();
	apicv_check(i);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	in = (struct fuzz_input){data, data + size};
	begin();
	apicv_check(0);
	for (u32 i = 0; fuzz_left(&in) && i < MOST_OPERATIONS; i++)
		operate();
	machine_end();
	return 0;
}
