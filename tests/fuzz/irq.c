/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on the interrupt controllers: what guests, devices, other vCPUs and time can do
 * to them, in any order. An input: one byte of WORLD_*, then operations, each a byte that chooses it
 * and what it takes. What has to hold after each is in irq_check.c; FUZZ_TRACE=1 names them.
 */
#include "tests/fuzz/irq_fuzz.h"

#include "irq/pit.h"
#include "x86/apic.h"

#define MOST_OPERATIONS 40

static struct op op;
static struct fuzz_input in;

/* A vCPU, which acts: what its slot holds has been delivered by then. */
static u32 acting_vcpu(void)
{
	u32 i = fuzz_u8(&in) % VCPUS;

	op.cpu = i;
	world_guest_acts(i);
	return i;
}

static u32 value32(void)
{
	static const u32 interesting[] = {0, 1, 0x1ff, 0x10030, 0x8700, 0xffffffff, 0x700, 0x20040};
	u8 choice = fuzz_u8(&in);

	if (choice < ARRAY_SIZE(interesting))
		return interesting[choice];
	return choice & 0x80 ? fuzz_u32(&in) : fuzz_u16(&in);
}

static bool in_mode(u32 i, bool x2apic)
{
	u64 base = atomic64_read_relaxed(&apic(i)->base);

	return (base & APIC_BASE_EN) && !(base & APIC_BASE_EXTD) == !x2apic;
}

/* ---- the local APIC ---- */

/* Mostly the beginning of a register. */
static u32 page_offset(void)
{
	u32 choice = fuzz_u8(&in);

	return choice < 0xc0 ? (choice & 0x3f) << 4 : fuzz_u16(&in) & 0xfff;
}

static void mmio_write(void)
{
	u32 i = acting_vcpu(), offset = page_offset(), value = value32();
	u32 size = fuzz_size(fuzz_u8(&in) ^ 2);

	op.name = "write of the page";
	op.ends = in_mode(i, false) && offset == APIC_EOI && size == 4;
	if (offset + size <= PAGE_SIZE)
		lapic_mmio_write(cpu(i), offset, size, value);
}

static void mmio_read(void)
{
	u32 i = acting_vcpu(), offset = page_offset();
	u32 size = fuzz_size(fuzz_u8(&in) ^ 2);

	op.name = "read of the page";
	if (offset + size <= PAGE_SIZE)
		lapic_mmio_read(cpu(i), offset, size);
}

static void msr_write(void)
{
	u32 i = acting_vcpu(), msr = fuzz_u8(&in);
	u64 value = value32();

	op.name = "WRMSR";
	msr = MSR_X2APIC_FIRST + (msr < 0xe0 ? msr & 0x3f : msr);
	if (msr == MSR_X2APIC_FIRST + APIC_SELF / 16)
		value &= 0xff;
	if (msr == MSR_X2APIC_FIRST + APIC_ICR / 16)
		value |= (u64)fuzz_u16(&in) << 32;
	op.ends = in_mode(i, true) && msr == MSR_X2APIC_FIRST + APIC_EOI / 16 && !value;
	lapic_msr_write(cpu(i), msr, value);
}

static void msr_read(void)
{
	u32 i = acting_vcpu();
	u64 value = 0;

	op.name = "RDMSR";
	op.quiet = true;
	lapic_msr_read(cpu(i), MSR_X2APIC_FIRST + fuzz_u8(&in), &value);
}

static void base_write(void)
{
	u32 i = acting_vcpu();
	u8 choice = fuzz_u8(&in);
	u64 value = choice & 0x20 ? 0xfee00000 : (u64)fuzz_u32(&in) << 12;

	op.name = "WRMSR APIC_BASE";
	value |= (choice & 3) * APIC_BASE_EXTD | (choice & 4 ? APIC_BASE_BSP : 0);
	if (choice & 0x40) /* nothing reserved */
		value &= 0xfffffffffull;
	lapic_msr_write(cpu(i), MSR_APIC_BASE, value);
}

static void deadline(void)
{
	u32 i = acting_vcpu();
	u8 choice = fuzz_u8(&in);
	u64 now = fake.tsc + cpu(i)->tsc_offset, value = 0;

	op.name = "WRMSR TSC_DEADLINE";
	if (choice & 1)
		value = now + fuzz_u16(&in) * 16;
	else if (choice & 2)
		value = fuzz_u64(&in);
	if (choice & 4)
		lapic_msr_read(cpu(i), MSR_TSC_DEADLINE, &value);
	else
		lapic_msr_write(cpu(i), MSR_TSC_DEADLINE, value);
}

static void start_timer(void)
{
	static const u32 mode[4] = {APIC_LVTT_ONESHOT, APIC_LVTT_PERIODIC, APIC_LVTT_DEADLINE,
	                            APIC_LVTT_MODE};
	u32 i = acting_vcpu();
	u8 choice = fuzz_u8(&in);
	u32 lvtt = mode[choice & 3] | fuzz_u8(&in), count = fuzz_u16(&in);

	op.name = "start of the timer";
	if (in_mode(i, true)) {
		lapic_msr_write(cpu(i), MSR_X2APIC_FIRST + APIC_LVTT / 16, lvtt);
		lapic_msr_write(cpu(i), MSR_X2APIC_FIRST + APIC_TMICT / 16, count);
	} else {
		lapic_mmio_write(cpu(i), APIC_LVTT, 4, lvtt);
		lapic_mmio_write(cpu(i), APIC_TDCR, 4, choice >> 4);
		lapic_mmio_write(cpu(i), APIC_TMICT, 4, count);
	}
}

/* One entry of the local vector table, as programs write them. */
static void local_vector(void)
{
	static const u16 offsets[8] = {APIC_LVT0,   APIC_LVT1,  APIC_LVT0,    APIC_LVTERR,
	                               APIC_LVTERR, APIC_LVTPC, APIC_LVTTHMR, APIC_LVT0};
	u32 i = acting_vcpu();
	u8 choice = fuzz_u8(&in), how = fuzz_u8(&in);
	u32 offset = offsets[choice & 7], value = fuzz_u8(&in) | (how & 7) << 8;

	op.name = "entry of the LVT";
	value |= how & 8 ? APIC_LVT_LEVEL : 0;
	value |= (how & 0xf0) == 0x10 ? APIC_LVT_MASKED : 0;
	if (in_mode(i, true))
		lapic_msr_write(cpu(i), MSR_X2APIC_FIRST + offset / 16, value);
	else
		lapic_mmio_write(cpu(i), offset, 4, value);
}

static void end_of_interrupt(void)
{
	u32 i = acting_vcpu();

	op.name = "EOI";
	op.ends = in_mode(i, true) || in_mode(i, false);
	if (in_mode(i, true))
		lapic_msr_write(cpu(i), MSR_X2APIC_FIRST + APIC_EOI / 16, 0);
	else
		lapic_mmio_write(cpu(i), APIC_EOI, 4, 0);
}

static void fast_paths(void)
{
	u32 i = acting_vcpu();
	u8 choice = fuzz_u8(&in);

	if (choice & 1) {
		u8 vector = fuzz_u8(&in);
		bool taken;

		op.name = "fast self-IPI";
		taken = lapic_fast_self_ipi(cpu(i), vector);
		op.delivers = taken;
		op.message = (struct irq_message){
		        .shorthand = APIC_DEST_SELF, .vector = vector, .sender = cpu(i)};
		op.quiet = !taken;
	} else {
		op.name = "fast EOI";
		op.ends = lapic_fast_eoi(cpu(i));
		op.quiet = true;
	}
}

/* An interrupt command in the form of the present mode. */
static void command(void)
{
	u32 i = acting_vcpu();
	u8 vector = fuzz_u8(&in), choice = fuzz_u8(&in);
	u32 dest = fuzz_u8(&in), low = vector | (choice & 7) << 8;

	op.name = "interrupt command";
	low |= (choice & 8 ? APIC_DEST_LOGICAL : 0) | (u32)(choice >> 6) << 18 | APIC_LEVEL_ASSERT;
	low |= choice & 0x10 ? APIC_TRIGGER_LEVEL : 0;
	if (choice & 0x20 && in_mode(i, true))
		dest = dest >> 4 << 16 | (dest & 15) << 4 | (dest & 15);
	op.message = (struct irq_message){.dest = dest,
	                                  .delivery = low & APIC_DM_MASK,
	                                  .shorthand = low & APIC_DEST_SHORTHAND,
	                                  .vector = vector,
	                                  .logical = low & APIC_DEST_LOGICAL,
	                                  .x2apic_format = in_mode(i, true),
	                                  .sender = cpu(i)};
	op.delivers = vector >= 16 && (in_mode(i, true) || in_mode(i, false)) &&
	              (op.message.delivery == APIC_DM_FIXED ||
	               (op.message.delivery == APIC_DM_LOWEST &&
	                (op.message.shorthand == APIC_DEST_FIELD ||
	                 op.message.shorthand == APIC_DEST_OTHERS)));
	if (in_mode(i, true)) {
		lapic_msr_write(cpu(i), MSR_X2APIC_FIRST + APIC_ICR / 16, (u64)dest << 32 | low);
		return;
	}
	lapic_mmio_write(cpu(i), APIC_ICR2, 4, dest << 24);
	lapic_mmio_write(cpu(i), APIC_ICR, 4, low);
}

static void local_pin(void)
{
	u32 i = fuzz_u8(&in) % VCPUS;

	op.name = "NMI button";
	lapic_local_interrupt(cpu(i), APIC_LVT1);
}

static void tsc_moves(void)
{
	u32 i = acting_vcpu();

	op.name = "write of the TSC";
	cpu(i)->tsc_offset = fuzz_u8(&in) & 1 ? fuzz_u64(&in) : fuzz_u32(&in);
	lapic_timer_tsc_moved(cpu(i));
}

/* ---- the processor ---- */

static void enter(void)
{
	u8 choice = fuzz_u8(&in);

	op.name = choice & 0x80 ? "entry that exits first" : "entry";
	op.cpu = choice % VCPUS;
	op.enters = true;
	world_enter(op.cpu, !(choice & 0x80));
}

/* An exit in the midst of a delivery: the event goes again. */
static void cut_short(void)
{
	u32 i = fuzz_u8(&in) % VCPUS;

	op.name = "delivery cut short";
	op.cpu = i;
	op.quiet = true;
	if (!guest[i].slot.valid || cpu(i)->intr.again.valid)
		return;
	cpu(i)->intr.again = guest[i].slot;
	guest[i].slot.valid = false;
}

static void processor_flags(void)
{
	u32 i = acting_vcpu();
	u8 choice = fuzz_u8(&in);

	op.name = "flags of the processor";
	op.quiet = true;
	guest[i].shadow = (choice & 1) && !guest[i].open; /* STI */
	guest[i].open = choice & 1;
	if (choice & 2)
		guest[i].in_nmi = false; /* IRET */
	if (choice & 4)
		lapic_set_cr8(cpu(i), choice >> 4);
	if ((choice & 8) && !cpu(i)->intr.exception.valid)
		cpu(i)->intr.exception = (struct intr_event){.vector = 13,
		                                             .type = INTR_TYPE_EXCEPTION,
		                                             .valid = true,
		                                             .has_error = true};
}

static void ask(void)
{
	u32 i = fuzz_u8(&in) % VCPUS;
	u64 bitmap[EOI_EXIT_WORDS];

	op.name = "questions";
	op.quiet = true;
	intr_has_deliverable(cpu(i));
	lapic_has_signal(cpu(i));
	irq_is_unserved(fake.vm, fuzz_u8(&in));
	eoi_exit_bitmap(cpu(i), bitmap);
}

/* ---- lines and messages ---- */

/* Any line but the 8254's, which drives its own. */
static u32 some_gsi(void)
{
	u8 choice = fuzz_u8(&in);
	u32 gsi = choice & 0x80 ? choice : choice % IOAPIC_PINS;

	return gsi ? gsi : 1;
}

static void line(void)
{
	u32 gsi = some_gsi();
	u8 choice = fuzz_u8(&in);

	op.name = "line";
	op.cpu = VCPUS; /* nobody's own doing */
	if (choice & 2)
		irq_pulse_line(fake.vm, gsi);
	else
		irq_set_line(fake.vm, gsi, choice & 1);
}

static void msi(void)
{
	u8 flags = fuzz_u8(&in), dest = fuzz_u8(&in), vector = fuzz_u8(&in);
	u64 address = 0xfee00000ull | (u32)dest << 12 | (flags & 3) << 2;
	u32 data = vector | (flags >> 2 & 7) << 8 | (flags & 0x20 ? 0xc000 : 0);

	op.name = "MSI";
	op.cpu = VCPUS;
	if (flags & 0x40)
		address ^= (u64)fuzz_u32(&in) << 4;
	if (flags & 0x80)
		data ^= (u32)fuzz_u16(&in) << 8;
	op.delivers = msi_decode(fake.vm, address, data, &op.message) && vector >= 16 &&
	              op.message.delivery <= APIC_DM_LOWEST;
	msi_deliver(fake.vm, address, data);
}

static void routes(void)
{
	struct route_entry entries[8];
	u32 count = fuzz_u8(&in) % (ARRAY_SIZE(entries) + 1);

	op.name = "new routes";
	op.cpu = VCPUS;
	if (!count) {
		route_set_isa(fake.vm);
		return;
	}
	entries[0] = (struct route_entry){.gsi = 0, .kind = ROUTE_IOAPIC, .input = 2};
	for (u32 i = 1; i < count; i++) {
		u8 kind = fuzz_u8(&in);

		entries[i] = (struct route_entry){.gsi = some_gsi(), .kind = kind & 3};
		if ((kind & 3) == ROUTE_MSI) {
			entries[i].address = 0xfee00000ull | fuzz_u16(&in) << 4;
			entries[i].data = fuzz_u16(&in);
		} else {
			entries[i].input = fuzz_u8(&in) & 31;
		}
	}
	route_set(fake.vm, entries, count);
}

/* ---- the I/O APIC ---- */

static void ioapic_entry(void)
{
	u8 pin = fuzz_u8(&in), vector = fuzz_u8(&in), flags = fuzz_u8(&in);
	u32 low = vector | (flags & 7) << 8 | (flags & 8 ? APIC_DEST_LOGICAL : 0) |
	          (flags & 0x10 ? (u32)IOAPIC_RTE_LEVEL : 0) |
	          (flags & 0x20 ? (u32)IOAPIC_RTE_MASKED : 0);

	op.name = "entry of the I/O APIC";
	op.cpu = VCPUS;
	/* One half at a time: between the two a level may go out with the old one. */
	ioapic_write(fake.vm, 0x00, 4, 0x10 + 2 * (pin % IOAPIC_PINS) + (flags >> 7));
	ioapic_write(fake.vm, 0x10, 4, flags & 0x80 ? (u32)vector << 24 : low);
}

static void ioapic_access(void)
{
	static const u16 offsets[] = {0x00, 0x10, 0x40, 0x20};
	u8 choice = fuzz_u8(&in);
	u32 offset = choice & 0x80 ? fuzz_u16(&in) & 0xfff : offsets[choice & 3];
	u32 size = fuzz_size(choice >> 2), value = value32();

	op.name = "access of the I/O APIC";
	op.cpu = VCPUS;
	if (offset + size > IOAPIC_SIZE)
		return;
	if (choice & 0x40) {
		op.quiet = true;
		ioapic_read(fake.vm, offset, size);
		return;
	}
	op.ioapic_end = offset == 0x40;
	op.ioapic_vector = (u8)value;
	ioapic_write(fake.vm, offset, size, value);
}

/* ---- ports: 8259, ELCR, 8254, 61h ---- */

static u16 some_port(void)
{
	static const u16 ports[] = {0x20, 0x21,  0xa0,  0xa1, 0x40, 0x41, 0x42, 0x43,
	                            0x61, 0x4d0, 0x4d1, 0x1f, 0x20, 0x43, 0x40, 0xa0};

	return ports[fuzz_u8(&in) & 15];
}

static void port_write(void)
{
	u16 port = some_port();
	u8 size = fuzz_u8(&in);
	u32 i = acting_vcpu();

	op.name = "OUT";
	op.programs_8254 = true;
	bus_write(&fake.vm->io, cpu(i), port, size < 0xc0 ? 1 : size & 1 ? 2 : 4, fuzz_u32(&in));
}

static void port_byte(void)
{
	u16 port = some_port();

	op.name = "OUT of a byte";
	op.programs_8254 = true;
	op.cpu = VCPUS;
	bus_write(&fake.vm->io, cpu(0), port, 1, fuzz_u8(&in));
}

static void port_read(void)
{
	u16 port = some_port();
	u8 size = fuzz_u8(&in);
	u32 i = acting_vcpu();
	u64 value;

	op.name = "IN";
	bus_read(&fake.vm->io, cpu(i), port, size < 0xc0 ? 1 : size & 1 ? 2 : 4, &value);
}

static void start_8254(void)
{
	u8 choice = fuzz_u8(&in), low = fuzz_u8(&in);

	op.name = "start of the 8254";
	op.programs_8254 = true;
	op.cpu = VCPUS;
	bus_write(&fake.vm->io, cpu(0), 0x43, 1, 0x30 | (choice & 0xf));
	bus_write(&fake.vm->io, cpu(0), 0x40, 1, low);
	bus_write(&fake.vm->io, cpu(0), 0x40, 1, choice & 0x80 ? 4 : 0);
}

static void pic_end(void)
{
	u8 choice = fuzz_u8(&in);
	u32 i = acting_vcpu();

	op.name = "EOI of the 8259";
	if (choice & 1)
		bus_write(&fake.vm->io, cpu(i), 0xa0, 1, 0x20);
	bus_write(&fake.vm->io, cpu(i), 0x20, 1, 0x20);
}

/* Initialisation of one chip: ICW4 with special full nesting and automatic EOI, and its rotation. */
static void pic_start(void)
{
	u8 choice = fuzz_u8(&in), vector = fuzz_u8(&in);
	bool slave = choice & 1;
	u16 port = slave ? 0xa0 : 0x20;

	op.name = "start of an 8259";
	op.cpu = VCPUS;
	bus_write(&fake.vm->io, cpu(0), port, 1, 0x11 | (choice & 8));
	bus_write(&fake.vm->io, cpu(0), port + 1, 1, vector);
	bus_write(&fake.vm->io, cpu(0), port + 1, 1, slave ? 2 : 4);
	bus_write(&fake.vm->io, cpu(0), port + 1, 1, 1 | (choice & 2) | (choice & 0x10));
	if (choice & 4) /* rotate in automatic EOI */
		bus_write(&fake.vm->io, cpu(0), port, 1, 0x80);
}

/* As if each pin's level had been sent again nearly too often: no input is as long as that. */
static void nearly_a_storm(void)
{
	op.name = "many EOIs";
	op.cpu = VCPUS;
	op.quiet = true;
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++)
		fake.vm->ioapic.eoi_again[pin] = 9999;
}

/* ---- time, resets ---- */

static void time_passes(void)
{
	u8 choice = fuzz_u8(&in);

	op.name = "time";
	op.cpu = VCPUS;
	world_advance((u64)(1 + (choice & 15)) << (choice >> 4));
}

static void much_time_passes(void)
{
	op.name = "more time";
	op.cpu = VCPUS;
	world_advance((u64)fuzz_u8(&in) << 15);
}

static void reinject(void)
{
	op.name = "reinjection";
	op.cpu = VCPUS;
	pit_set_reinject(fake.vm, fuzz_u8(&in) & 1);
}

static void reset(void)
{
	u8 choice = fuzz_u8(&in);

	op.name = "reset";
	op.cpu = VCPUS;
	switch (choice & 3) {
	case 0:
		vcpu_reset(cpu(choice / 4 % VCPUS), false);
		break;
	case 1:
		op.ioapic_reset = true;
		ioapic_reset(fake.vm);
		break;
	case 2:
		pic_reset(world_pic());
		break;
	default:
		op.programs_8254 = true;
		pit_reset(fake.vm);
		break;
	}
}

/* Those that appear twice are more frequent. */
static void (*const operations[])(void) = {
        mmio_write,
        mmio_read,
        msr_write,
        msr_read,
        base_write,
        deadline,
        start_timer,
        enter,
        fast_paths,
        command,
        local_pin,
        tsc_moves,
        processor_flags,
        ask,
        line,
        msi,
        routes,
        ioapic_entry,
        ioapic_access,
        port_write,
        port_byte,
        port_read,
        time_passes,
        much_time_passes,
        reinject,
        reset,
        enter,
        enter,
        line,
        line,
        end_of_interrupt,
        end_of_interrupt,
        start_8254,
        pic_end,
        nearly_a_storm,
        enter,
        local_vector,
        cut_short,
        pic_start,
};

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static int trace = -1;

	if (trace < 0)
		trace = getenv("FUZZ_TRACE") != NULL;
	in = (struct fuzz_input){data, data + size};
	world_begin(fuzz_u8(&in));
	check_begin();
	for (u32 n = 0; fuzz_left(&in) && n < MOST_OPERATIONS; n++) {
		op = (struct op){0};
		check_before(&op);
		operations[fuzz_u8(&in) % ARRAY_SIZE(operations)]();
		if (trace)
			fprintf(stderr, "%u: %s (vCPU %u)\n", n, op.name, op.cpu);
		check_after();
	}
	return 0;
}
