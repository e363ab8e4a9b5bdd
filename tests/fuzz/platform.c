/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random accesses of the platform's devices and of the 8254: any port that one of them has, and
 * those next to it, in any size; time; console input; another processor's access while a device
 * changes its line. Over the fakes of tests/unit/platform_fake.c and the real core/bus.c.
 *
 * After each operation: locks are free, a line has the level that its device wants and no other,
 * timers are armed for what the device says, nothing has left its bounds. The devices' bytes behind
 * their last one are AddressSanitizer's.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/platform_fake.h"

#include "irq/notify.h"
#include "irq/pit.h"
#include "postern/port.h"

#define MOST_OPERATIONS 48

/* ---- what the 8254 asks for and the fakes do not have ---- */

u64 port_tsc_khz(void)
{
	return 1000000; /* as the fakes' clock */
}

void irq_pulse_line(struct vm *vm, u32 gsi)
{
	irq_set_line(vm, gsi, false);
	irq_set_line(vm, gsi, true);
}

bool irq_is_unserved(struct vm *vm, u32 gsi)
{
	(void)vm;
	(void)gsi;
	return fake->tsc & 0x10000; /* now and then */
}

void irq_notify_add(struct vm *vm, struct irq_notifier *notifier)
{
	(void)vm;
	(void)notifier;
}

void irq_notify_listen(struct vm *vm, struct irq_notifier *notifier, bool on)
{
	(void)vm;
	(void)notifier;
	(void)on;
}

/* ---- the world, put back before each input ---- */

static struct {
	void *memory, *copy;
	size_t size;
} piece[4];
static u32 pieces;

static void add_piece(void *memory, size_t size)
{
	piece[pieces].memory = memory;
	piece[pieces].copy = malloc(size);
	piece[pieces].size = size;
	memcpy(piece[pieces++].copy, memory, size);
}

static void make(void)
{
	struct platform *platform;

	fake_setup_bare(NULL);
	fake->vm.config.testdev = true;
	FUZZ_CHECK(platform_create(&fake->vm), "no platform");
	pit_init(&fake->vm);
	platform = fake->vm.platform;
	/* Not the vCPUs, which no device touches. */
	add_piece(&fake->vm, sizeof(fake->vm));
	add_piece(&fake->memory, sizeof(*fake) - offsetof(struct fake, memory));
	add_piece(platform, sizeof(*platform));
	add_piece(platform->testdev.memory, 64);
}

static void put_back(void)
{
	if (!pieces)
		make();
	for (u32 i = 0; i < pieces; i++)
		memcpy(piece[i].memory, piece[i].copy, piece[i].size);
}

/* ---- operations ---- */

static struct fuzz_input in;
static struct {
	u16 port;
	u8 size;
	u32 value;
} meanwhile;

/* A device's own lines: the test device must not drive them. */
static bool is_own_line(u64 port, u32 size)
{
	static const u8 own[] = {0, LAYOUT_UART_IRQ, LAYOUT_RTC_IRQ, LAYOUT_SCI_IRQ};

	for (u32 i = 0; i < ARRAY_SIZE(own); i++) {
		if (port + size > TESTDEV_LINES_PORT + own[i] &&
		    port <= TESTDEV_LINES_PORT + own[i])
			return true;
	}
	return false;
}

static u16 some_port(void)
{
	const struct bus *io = &fake->vm.io;
	const struct bus_range *range = &io->range[fuzz_u8(&in) % io->count];
	u8 at = fuzz_u8(&in);

	/* One before the range to one behind it. */
	return (u16)(range->base + at % (range->size + 2) - 1);
}

static void port_access(bool write)
{
	u16 port = some_port();
	u8 choice = fuzz_u8(&in);
	u32 size = choice < 0xa0 ? 1 : fuzz_size(choice % 3);
	u32 value = size == 1 ? fuzz_u8(&in) : fuzz_u32(&in);
	u64 read;

	if (!write) {
		bus_read(&fake->vm.io, &fake->vcpu[0], port, size, &read);
		FUZZ_CHECK(size == 4 ? read <= 0xffffffff : read < BIT64(8 * size),
		           "port %x: %u bytes, %llx", port, size, (unsigned long long)read);
	} else if (!is_own_line(port, size)) {
		bus_write(&fake->vm.io, &fake->vcpu[0], port, size, value);
	}
}

/* Index and value at once, where a device has such a pair. */
static void indexed_access(void)
{
	u8 choice = fuzz_u8(&in), index = fuzz_u8(&in), value = fuzz_u8(&in);
	const struct bus *io = &fake->vm.io;
	struct vcpu *vcpu = &fake->vcpu[0];
	u64 read;

	switch (choice & 3) {
	case 0:
		bus_write(io, vcpu, RTC_PORT, 1, index);
		bus_write(io, vcpu, RTC_PORT + 1, 1, value);
		break;
	case 1:
		bus_write(io, vcpu, RTC_PORT, 1, index);
		bus_read(io, vcpu, RTC_PORT + 1, 1, &read);
		break;
	case 2:
		bus_write(io, vcpu, PCI_PORT, 4, BIT(31) | (u32)value << 8 | index);
		break;
	default:
		bus_write(io, vcpu, FW_CFG_PORT, 2, index % 0x24);
		break;
	}
}

static void memory_access(void)
{
	u32 size = fuzz_size(fuzz_u8(&in)), offset = fuzz_u8(&in);
	const struct bus *memory = &fake->vm.memory;
	u64 value = fuzz_u32(&in), read;

	/* The first bytes, which are put back, and reads across the end. */
	if (offset & 0x80) {
		bus_read(memory, &fake->vcpu[0],
		         TESTDEV_MEMORY + TESTDEV_MEMORY_SIZE - (offset & 0xf), size, &read);
		return;
	}
	offset %= 56;
	bus_write(memory, &fake->vcpu[0], TESTDEV_MEMORY + offset, size, value);
	bus_read(memory, &fake->vcpu[0], TESTDEV_MEMORY + offset, size, &read);
	FUZZ_CHECK(size >= 4 ? read == value : read == (value & (BIT(8 * size) - 1)), "memory");
}

/* Runs while a device tells its line: its lock is free then (not the 8254's, the test device's). */
static void other_processor(struct fake *f)
{
	bus_write(&f->vm.io, &f->vcpu[0], meanwhile.port, meanwhile.size, meanwhile.value);
}

static void arrange_meanwhile(void)
{
	static const u16 ports[] = {UART_PORT,          UART_PORT + 1, UART_PORT + 4,
	                            RTC_PORT,           RTC_PORT + 1,  LAYOUT_PM_BASE,
	                            LAYOUT_PM_BASE + 2, UART_PORT + 2};

	meanwhile.port = ports[fuzz_u8(&in) % ARRAY_SIZE(ports)];
	meanwhile.size = 1;
	meanwhile.value = fuzz_u8(&in);
	fake->in_set_line = other_processor;
}

/* As many timers as bytes could be: UART none, RTC 8192 a second, 8254 one in 100 us and its fall. */
static void time_passes(void)
{
	u8 choice = fuzz_u8(&in);
	u64 ns = (u64)(1 + (choice & 15)) << (8 + (choice >> 4));
	u64 before = fake->fires;

	fake_advance(ns);
	FUZZ_CHECK(fake->fires - before <= 64 + ns / 20000, "timers fire without end");
}

static void long_time_passes(void)
{
	struct platform *platform = fake->vm.platform;
	u8 choice = fuzz_u8(&in);

	/* Only where nothing is periodic: what fires in an hour would take long to fire. */
	if (platform->rtc.timer.deadline == TSC_NEVER && fake->vm.pit.timer.deadline == TSC_NEVER)
		fake_advance(FAKE_SECOND * (1u + choice) * 16);
	else
		fake_advance((u64)choice << 14);
}

static void console(void)
{
	static const char text[] = "The quick brown fox jumps over the lazy dog.";

	fake->in = text + fuzz_u8(&in) % sizeof(text);
}

static void one_operation(void)
{
	u8 choice = fuzz_u8(&in) & 15;

	switch (choice) {
	case 0:
		console();
		break;
	case 1:
		platform_poll(&fake->vm);
		break;
	case 2:
	case 3:
		time_passes();
		break;
	case 4:
		long_time_passes();
		break;
	case 5:
		memory_access();
		break;
	case 6:
		arrange_meanwhile();
		break;
	case 7:
	case 8:
		indexed_access();
		break;
	case 9:
		pit_set_reinject(&fake->vm, fuzz_u8(&in) & 1);
		break;
	default:
		port_access(choice >= 12);
		break;
	}
}

/* ---- what holds after each ---- */

static void check_lock(const struct spinlock *lock, const char *whose)
{
	FUZZ_CHECK(atomic32_read(&lock->next) == atomic32_read(&lock->owner), "%s: lock is held",
	           whose);
}

static void check_line(const struct irq_line *line, const char *whose)
{
	FUZZ_CHECK(!line->busy, "%s: line is busy", whose);
	FUZZ_CHECK(line->applied == fake->line[line->gsi], "%s: line is not what was told", whose);
	FUZZ_CHECK(line->applied == line->wanted && !line->dropped, "%s: line is not as wanted",
	           whose);
}

static void check_locks(const struct platform *p)
{
	check_lock(&p->uart.lock, "UART");
	check_lock(&p->rtc.lock, "RTC");
	check_lock(&p->pm.lock, "PM");
	check_lock(&p->pci.lock, "PCI");
	check_lock(&p->kbd.lock, "keyboard");
	check_lock(&p->fw_cfg.lock, "fw_cfg");
	check_lock(&p->testdev.lock, "test device");
	check_lock(&fake->vm.pit.lock, "8254");
}

/* The interrupt that the UART's registers ask for. PC16550D datasheet, "Interrupt Enable Register". */
static bool uart_asks(const struct uart *uart)
{
	if ((uart->mcr & 0x18) != 0x08) /* OUT2, not looped back */
		return false;
	return ((uart->ier & 1) && uart->rx_count) || ((uart->ier & 2) && uart->thre_pending) ||
	       ((uart->ier & 4) && uart->lsr_errors) || ((uart->ier & 8) && uart->msr_delta);
}

static void check_devices(const struct platform *p)
{
	FUZZ_CHECK(p->uart.rx_count <= UART_FIFO_SIZE && p->uart.rx_head < UART_FIFO_SIZE &&
	                   p->uart.tx_count < UART_TX_SIZE,
	           "UART: FIFOs");
	FUZZ_CHECK(p->uart.line.wanted == uart_asks(&p->uart), "UART: interrupt");
	FUZZ_CHECK(p->rtc.index < RTC_SIZE, "RTC: index");
	FUZZ_CHECK(p->rtc.line.wanted == (p->rtc.reg[0xc] >> 7 & 1), "RTC: interrupt");
	FUZZ_CHECK(p->rtc.timer.deadline == p->rtc.deadline, "RTC: timer");
	FUZZ_CHECK(p->pm.timer.deadline == p->pm.deadline || p->pm.deadline <= fake->tsc,
	           "PM: timer");
	FUZZ_CHECK(p->fw_cfg.size <= FW_CFG_ITEM_SIZE && p->fw_cfg.offset <= p->fw_cfg.size,
	           "fw_cfg: %u of %u", p->fw_cfg.offset, p->fw_cfg.size);
	FUZZ_CHECK(!(p->pci.address & 0x7f000003) && p->pci.count == 1, "PCI: address");
	FUZZ_CHECK(fake->vm.pit.line == fake->line[0], "8254: line");
	FUZZ_CHECK(!fake->vm.pit.owed || fake->vm.pit.waits ||
	                   fake->vm.pit.timer.deadline != TSC_NEVER,
	           "8254: a tick that never comes");
}

static void check(void)
{
	const struct platform *p = fake->vm.platform;

	check_locks(p);
	check_line(&p->uart.line, "UART");
	check_line(&p->rtc.line, "RTC");
	check_line(&p->pm.line, "PM");
	check_devices(p);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	put_back();
	in = (struct fuzz_input){data, data + size};
	for (u32 n = 0; fuzz_left(&in) && n < MOST_OPERATIONS; n++) {
		one_operation();
		fake->in_set_line = NULL;
		fake->out_count = 0;
		check();
	}
	return 0;
}
