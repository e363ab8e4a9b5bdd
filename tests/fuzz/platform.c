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

#include "irq/inhibit.h"
#include "irq/notify.h"
#include "irq/pit.h"
#include "postern/port.h"

#define MOST_OPERATIONS 48
#define MSIDEVS         3 /* the first and the last share a line */

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

/* No vCPU runs by them here. */
void inhibit_set(struct vm *vm, enum inhibit_reason reason)
{
	vm->inhibit.mask.v |= BIT(reason);
}

void inhibit_clear(struct vm *vm, enum inhibit_reason reason)
{
	vm->inhibit.mask.v &= ~BIT(reason);
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

static void write_config(u8 devfn, u8 reg, u8 value)
{
	bus_write(&fake->vm.io, &fake->vcpu[0], PCI_PORT, 4,
	          BIT(31) | (u32)devfn << 8 | (reg & 0xfc));
	bus_write(&fake->vm.io, &fake->vcpu[0], PCI_PORT + 4 + (reg & 3), 1, value);
}

static void make(void)
{
	struct platform *platform;

	fake_setup_bare(NULL);
	fake->vm.config.testdev = true;
	fake->vm.config.msidevs = MSIDEVS;
	FUZZ_CHECK(platform_create(&fake->vm), "no platform");
	pit_init(&fake->vm);
	/* As a driver leaves it: memory, bus master, MSI. The others are for their pins. */
	write_config(PCI_DEVFN(MSIDEV_SLOT, 0), 0x04, 6);
	write_config(PCI_DEVFN(MSIDEV_SLOT, 0), MSIDEV_MSI + 2, 1);
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
	static const u8 own[] = {0,
	                         LAYOUT_UART_IRQ,
	                         LAYOUT_RTC_IRQ,
	                         LAYOUT_SCI_IRQ,
	                         LAYOUT_PCI_IRQ,
	                         LAYOUT_PCI_IRQ + 1};

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

/* A register that does something, of a function that is there. */
static void pci_config(void)
{
	static const u8 registers[] = {
	        0x04,           0x05, 0x10, 0x3c, MSIDEV_MSI + 2, MSIDEV_MSI + 4, MSIDEV_MSI + 16,
	        MSIDEV_MSI + 16};
	const struct platform *platform = fake->vm.platform;
	const struct pci *pci = &platform->pci;
	u8 choice = fuzz_u8(&in), value = fuzz_u8(&in);
	u8 devfn = pci->function[(choice >> 3 & 3) % pci->count].devfn;
	u64 read;

	write_config(devfn, registers[choice & 7], value);
	if (choice & 0x80)
		bus_read(&fake->vm.io, &fake->vcpu[0], PCI_PORT + 4, fuzz_size(value % 3), &read);
}

static void msidev_access(void)
{
	static const u8 registers[] = {MSIDEV_CONTROL,  MSIDEV_STATUS,  MSIDEV_TRIGGER,
	                               MSIDEV_PERIOD,   MSIDEV_BURST,   MSIDEV_COUNT,
	                               MSIDEV_DMA_HIGH, MSIDEV_DMA_LOW, MSIDEV_CONTROL,
	                               MSIDEV_STATUS,   MSIDEV_TRIGGER, MSIDEV_TRIGGER};
	u8 choice = fuzz_u8(&in), what = fuzz_u8(&in), value = fuzz_u8(&in);
	u32 reg = what < 0xc0 ? registers[what % ARRAY_SIZE(registers)] : 4 * (what & 0x3f);
	u64 at = LAYOUT_MSIDEV + choice % MSIDEVS * MSIDEV_SIZE + reg, read;
	u32 size = choice < 0xe0 ? 4 : fuzz_size(choice);

	if (choice & 0x10 && choice < 0xe0)
		bus_read(&fake->vm.memory, &fake->vcpu[0], at, size, &read);
	else
		bus_write(&fake->vm.memory, &fake->vcpu[0], at, size,
		          (u64)value << (what & 0x20 ? 16 : 0));
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

/*
 * As many timers as bytes could be: UART none, RTC 8192 a second, 8254 one in 100 us and its fall, PCI
 * test devices one in 100 us each.
 */
static void time_passes(void)
{
	u8 choice = fuzz_u8(&in);
	u64 ns = (u64)(1 + (choice & 15)) << (8 + (choice >> 4));
	u64 before = fake->fires;

	fake_advance(ns);
	FUZZ_CHECK(fake->fires - before <= 64 + ns / 15000, "timers fire without end");
}

static void long_time_passes(void)
{
	struct platform *platform = fake->vm.platform;
	bool periodic = platform->rtc.timer.deadline != TSC_NEVER ||
	                fake->vm.pit.timer.deadline != TSC_NEVER;
	u8 choice = fuzz_u8(&in);

	/* Only where nothing is periodic: what fires in an hour would take long to fire. */
	for (u32 i = 0; i < MSIDEVS; i++)
		periodic |= platform->msidev[i].deadline != TSC_NEVER;
	if (!periodic)
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
	u8 choice = fuzz_u8(&in) % 20;

	switch (choice) {
	case 16:
	case 17:
		pci_config();
		break;
	case 18:
	case 19:
		msidev_access();
		break;
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
	FUZZ_CHECK(!(p->pci.address & 0x7f000003) && p->pci.count == 1 + MSIDEVS, "PCI: address");
	FUZZ_CHECK(fake->vm.pit.line == fake->line[0], "8254: line");
	FUZZ_CHECK(!fake->vm.pit.owed || fake->vm.pit.waits ||
	                   fake->vm.pit.timer.deadline != TSC_NEVER,
	           "8254: a tick that never comes");
}

/* A function's pin and messages are what its registers and its device say. */
static void check_function(const struct pci_function *f)
{
	bool master = f->config[4] & 4, intx_disabled = f->config[5] & 4;
	bool msi = f->msi && (f->config[f->msi + 2] & 1);
	bool masked = f->msi && (f->config[f->msi + 16] & 1);

	FUZZ_CHECK(f->asserted == (f->intx && !intx_disabled && !msi), "PCI %x: pin", f->devfn);
	FUZZ_CHECK(!f->msi_held || (msi && (masked || !master)), "PCI %x: a message is held",
	           f->devfn);
	FUZZ_CHECK(!f->msi || f->msi_held == (f->config[f->msi + 20] & 1), "PCI %x: pending bit",
	           f->devfn);
}

/* Of each test device, before the operation: messages that left, events that sent one at once. */
static struct {
	u32 messages, sent;
	bool held;
} before[MSIDEVS];

/* Each event is sent, held or asserts; what is held is sent once or, with MSI disabled, never. */
static void check_messages(u32 i, const struct msidev *m)
{
	const struct pci_function *f = m->function;
	u32 sent = m->events - m->held - m->asserted - m->merged;
	bool released = before[i].held && !f->msi_held && (f->config[f->msi + 2] & 1);

	FUZZ_CHECK(f->messages - before[i].messages == sent - before[i].sent + released,
	           "PCI test device: %u messages for %u events", f->messages - before[i].messages,
	           sent - before[i].sent);
	before[i].messages = f->messages;
	before[i].sent = sent;
	before[i].held = f->msi_held;
}

static void check_msidev(const struct msidev *m)
{
	FUZZ_CHECK(m->function->intx == (m->status & MSIDEV_STATUS_INTERRUPT), "msidev: pin");
	FUZZ_CHECK(m->timer.deadline == m->deadline, "msidev: timer");
	FUZZ_CHECK((m->deadline != TSC_NEVER) == (m->control & MSIDEV_CONTROL_RUN), "msidev: runs");
	FUZZ_CHECK(m->period_ns >= MSIDEV_MIN_PERIOD_NS && m->burst >= 1 &&
	                   m->burst <= MSIDEV_MAX_BURST,
	           "msidev: rate");
}

static void check_pci(const struct platform *p)
{
	bool line[2] = {false};

	for (u32 i = 0; i < p->pci.count; i++) {
		const struct pci_function *f = &p->pci.function[i];

		check_function(f);
		if (f->asserted)
			line[f->gsi - LAYOUT_PCI_IRQ] = true;
	}
	for (u32 i = 0; i < 2; i++)
		FUZZ_CHECK(fake->line[LAYOUT_PCI_IRQ + i] == line[i], "PCI: line %u",
		           LAYOUT_PCI_IRQ + i);
	for (u32 i = 0; i < MSIDEVS; i++) {
		check_lock(&p->msidev[i].lock, "PCI test device");
		check_messages(i, &p->msidev[i]);
		check_msidev(&p->msidev[i]);
	}
}

static void check(void)
{
	const struct platform *p = fake->vm.platform;

	check_locks(p);
	check_line(&p->uart.line, "UART");
	check_line(&p->rtc.line, "RTC");
	check_line(&p->pm.line, "PM");
	check_devices(p);
	check_pci(p);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	put_back();
	memset(before, 0, sizeof(before));
	in = (struct fuzz_input){data, data + size};
	for (u32 n = 0; fuzz_left(&in) && n < MOST_OPERATIONS; n++) {
		one_operation();
		fake->in_set_line = NULL;
		fake->out_count = 0;
		check();
	}
	return 0;
}
