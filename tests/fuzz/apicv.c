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

/* Not one that makes requests. */
static void any_register(u32 i)
{
	u32 offset = any_offset();

	operation = "write of a register";
	if (offset != APIC_ICR && offset != APIC_SELF && offset != APIC_LVTERR)
		hw_write(i, offset, any_value());
}

static void task_priority(u32 i)
{
	u8 value = fuzz_u8(&in) & 0x3f;

	operation = "CR8";
	if (hw[i].vapic.vid) {
		vapic_write_cr8(&hw[i].vapic, value >> 2);
		return;
	}
	/* The run loop sees to it behind the exit of a vCPU that is not accelerated. */
	lapic_set_cr8(cpu(i), value >> 2);
	leave(i);
}

static void take(u32 i)
{
	operation = "delivery";
	if (hw[i].vapic.vid && vapic_can_deliver(&hw[i].vapic, true))
		took(i, vapic_deliver(&hw[i].vapic));
}

/* Of somebody who knows the vCPU. Nobody is told twice. */
static void device_message(void)
{
	u32 i = fuzz_u8(&in) % VCPUS, before = sent;
	bool was_on = desc_of(i)->control.v & PI_ON;
	u8 vector = any_vector();

	operation = "message";
	acting = DEVICES;
	intrude_no_more();
	if (lapic_accept(apic(i), vector, false, IRQ_SOURCE_MSI))
		want(i, vector);
	FUZZ_CHECK(!was_on || sent == before, "%s: vCPU %u was told again", operation, i);
}

static void idle(void)
{
	operation = "physical interrupts";
	let_interrupts_in(fuzz_u8(&in) % CPUS);
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

static void begin(void)
{
	u8 choice = fuzz_u8(&in), apics = fuzz_u8(&in);
	/* A processor that notifies nobody of what it finds in PIR already: with that no hypervisor can live. */
	u32 switches = fuzz_u16(&in) & (BIT(VAPIC_SWITCH_COUNT) - 1) & ~VAPIC_COALESCED_SILENT;

	apicv_begin(choice, switches);
	program(!(apics & 1), apics & 2);
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
	case 0 ... 4:
		send(i, APIC_DM_FIXED);
		break;
	case 5:
		send(i, APIC_DM_NMI);
		break;
	case 6 ... 8:
		take(i);
		break;
	case 9 ... 10:
		end_of_interrupt(i);
		break;
	case 11 ... 12:
		identity(i);
		break;
	case 13:
		apic_base(i);
		lost += unaccounted();
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
		lost += unaccounted();
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
		preempt(i);
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
	apicv_end();
	return 0;
}
