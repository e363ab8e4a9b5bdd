/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world of the irq fuzzer. A VM is made once for each way to make one; copies of all its memory,
 * as made and as programmed, are taken and copied back before each input, which costs a few
 * microseconds.
 */
#include "tests/fuzz/irq_fuzz.h"

#include "irq/pit.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "x86/apic.h"

#define MADE_DIFFERENTLY (WORLD_SPLIT | WORLD_LARGE_IDS)
#define PIECES           40
#define TIMERS           8

#define PROGRAMS 8 /* ways to program it: no_x2apic, programmed, x2apic */

struct piece {
	void *memory, *copy[PROGRAMS];
	size_t size;
};

struct world {
	struct piece piece[PIECES];
	u32 pieces;
	struct timer *timer[TIMERS];
	u32 timers;
	struct irqchip irqchip;
	bool made, saved[PROGRAMS];
};

static struct world worlds[MADE_DIFFERENTLY + 1];
static struct world *world; /* the present one */
struct guest guest[VCPUS];

/* ---- strong in place of irq_fake.c's ---- */

static void add_piece(void *memory, size_t size)
{
	FUZZ_CHECK(world->pieces < PIECES, "too many pieces of memory");
	world->piece[world->pieces++] = (struct piece){.memory = memory, .size = size};
}

void *port_alloc(u64 size, u64 align)
{
	void *p = aligned_alloc(align, ALIGN_UP(size, align));

	if (!p)
		abort();
	memset(p, 0, size);
	/* Of a local APIC's page the registers, which are the first quarter. */
	add_piece(p, align == PAGE_SIZE ? 0x400 : size);
	return p;
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
	FUZZ_CHECK(world->timers < TIMERS, "too many timers");
	*timer = (struct timer){.deadline = TSC_NEVER, .fire = fire};
	world->timer[world->timers++] = timer;
}

void timer_arm(struct timer *timer, u64 deadline)
{
	timer->deadline = deadline;
}

void timer_cancel(struct timer *timer)
{
	timer->deadline = TSC_NEVER;
}

static struct timer *first_timer(void)
{
	struct timer *first = world->timer[0];

	for (u32 i = 1; i < world->timers; i++) {
		if (world->timer[i]->deadline < first->deadline)
			first = world->timer[i];
	}
	return first;
}

/*
 * No guest may keep its host busy with timers: what fires on the way is bounded by what the 8254
 * (one edge in 100 us, with a fall in between) and the local timers (each asks once, and again only
 * after its vCPU has looked) may cost.
 */
void world_advance(u64 ns)
{
	u64 end = fake.tsc + FAKE_TICKS(ns);
	u64 bound = 64 + ns / 20000;
	struct timer *timer;

	while ((timer = first_timer())->deadline <= end) {
		fake.tsc = max_u64(fake.tsc, timer->deadline);
		timer_cancel(timer);
		timer->fire(timer);
		FUZZ_CHECK(bound-- > 0, "timers fire without end");
	}
	fake.tsc = end;
}

void vcpu_reset(struct vcpu *vcpu, bool init)
{
	struct guest *g = &guest[vcpu->index];

	*g = (struct guest){.resets = g->resets + 1};
	vcpu->activity = VCPU_ACTIVE;
	intr_reset(vcpu);
	lapic_reset(vcpu, init);
}

/* ---- the back end ---- */

static enum intr_block blocked(struct vcpu *vcpu, enum intr_class class)
{
	const struct guest *g = &guest[vcpu->index];

	if (g->slot.valid)
		return INTR_BLOCK_SLOT;
	if (class == INTR_CLASS_NMI)
		return g->in_nmi ? INTR_BLOCK_NMI : INTR_BLOCK_NONE;
	if (class == INTR_CLASS_EXTERNAL && !g->open)
		return INTR_BLOCK_IF;
	return class == INTR_CLASS_EXTERNAL && g->shadow ? INTR_BLOCK_SHADOW : INTR_BLOCK_NONE;
}

static void inject(struct vcpu *vcpu, const struct intr_event *event)
{
	struct guest *g = &guest[vcpu->index];

	FUZZ_CHECK(!g->slot.valid, "injected into a slot that is taken");
	FUZZ_CHECK(event->valid, "injected nothing");
	g->slot = *event;
}

static bool retract(struct vcpu *vcpu)
{
	struct guest *g = &guest[vcpu->index];
	bool left = g->slot.valid;

	g->slot.valid = false;
	return left;
}

static void window(struct vcpu *vcpu, enum intr_class class, bool open)
{
	struct guest *g = &guest[vcpu->index];

	*(class == INTR_CLASS_NMI ? &g->nmi_window : &g->window) = open;
}

static bool force(struct vcpu *vcpu, enum intr_class class)
{
	(void)vcpu;
	return class == INTR_CLASS_NMI;
}

static void tpr_exit(struct vcpu *vcpu, bool on)
{
	guest[vcpu->index].tpr_exit = on;
}

static void deliver_slot(struct guest *g)
{
	if (!g->slot.valid)
		return;
	g->slot.valid = false;
	if (g->slot.type == INTR_TYPE_NMI)
		g->in_nmi = true;
	else if (g->slot.type == INTR_TYPE_EXTERNAL)
		g->open = false;
}

void world_guest_acts(u32 i)
{
	deliver_slot(&guest[i]);
	guest[i].shadow = false;
}

void world_enter(u32 i, bool deliver)
{
	u32 requests = fake_take_requests(cpu(i));
	bool force_exit;

	if (requests & VCPU_REQUEST_SIGNAL)
		lapic_take_signals(cpu(i));
	if (requests & VCPU_REQUEST_TIMER)
		lapic_timer_expired(cpu(i));
	if (cpu(i)->activity == VCPU_WAIT_FOR_SIPI)
		return;
	check_before_prepare(i);
	force_exit = intr_prepare_entry(cpu(i));
	check_after_prepare(i, force_exit);
	if (deliver && !force_exit)
		world_guest_acts(i);
	else if (deliver) /* the slot is served, and nothing else */
		deliver_slot(&guest[i]);
}

/* ---- making it ---- */

static void make(u32 choices)
{
	static const u32 large[VCPUS] = {0, 0x103, 0x11f};

	fake_create_with_ids(VCPUS, choices & WORLD_LARGE_IDS ? large : NULL);
	if (!route_create(fake.vm))
		abort();
	ioapic_init(fake.vm);
	if (choices & WORLD_SPLIT) {
		irqchip_init(&world->irqchip, fake.vm);
	} else {
		pic_init(&fake.vm->pic, fake.vm);
		pic_attach(fake.vm);
	}
	pit_init(fake.vm);
	fake.vm->config.irqchip_split = choices & WORLD_SPLIT;
	fake.vm->config.x2apic = false; /* the first copy is of a world without */
	add_piece(&world->irqchip, sizeof(world->irqchip));
	add_piece(&fake, offsetof(struct fake, state) + VCPUS * sizeof(fake.state[0]));
	add_piece(guest, sizeof(guest));
	world->made = true;
}

/* memcpy() would have AddressSanitizer look at every byte. Pieces are whole words. */
__attribute__((no_sanitize("address", "undefined"), no_builtin("memcpy"))) static void copy_words(
        u64 *to, const u64 *from, size_t size)
{
	for (size_t i = 0; i < size / 8; i++)
		to[i] = from[i];
}

static void save(u32 n)
{
	for (u32 i = 0; i < world->pieces; i++) {
		struct piece *piece = &world->piece[i];

		FUZZ_CHECK(piece->size % 8 == 0, "a piece of %zu bytes", piece->size);
		piece->copy[n] = malloc(piece->size);
		memcpy(piece->copy[n], piece->memory, piece->size);
	}
	world->saved[n] = true;
}

static void restore(u32 n)
{
	for (u32 i = 0; i < world->pieces; i++)
		copy_words(world->piece[i].memory, world->piece[i].copy[n], world->piece[i].size);
}

static void out(u16 port, u8 value)
{
	bus_write(&fake.vm->io, cpu(0), port, 1, value);
}

/* As an operating system leaves it, so that an input need not begin with that. */
static void program(bool x2apic)
{
	static const u8 base[2] = {0x30, 0x38}, icw3[2] = {0x04, 0x02};

	for (u32 i = 0; i < VCPUS; i++) {
		lapic_mmio_write(cpu(i), APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
		lapic_mmio_write(cpu(i), APIC_LDR, 4, BIT(i) << 24);
		if (x2apic && fake.vm->config.x2apic)
			lapic_msr_write(cpu(i), MSR_APIC_BASE,
			                atomic64_read(&apic(i)->base) | APIC_BASE_EXTD);
		cpu(i)->activity = VCPU_ACTIVE;
		guest[i].open = true;
	}
	for (u32 i = 0; i < 2; i++) {
		u16 port = i ? 0xa0 : 0x20;

		out(port, 0x11);
		out(port + 1, base[i]);
		out(port + 1, icw3[i]);
		out(port + 1, 0x01);
	}
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		u32 low = (0x40 + 7 * pin) | (pin & 1 ? (u32)IOAPIC_RTE_LEVEL : 0);

		ioapic_write(fake.vm, 0x00, 4, 0x11 + 2 * pin);
		ioapic_write(fake.vm, 0x10, 4, (pin % VCPUS) << 24);
		ioapic_write(fake.vm, 0x00, 4, 0x10 + 2 * pin);
		ioapic_write(fake.vm, 0x10, 4, low);
	}
}

static void set_backend(void)
{
	backend_table.intr_blocked = blocked;
	backend_table.intr_inject = inject;
	backend_table.intr_retract = retract;
	backend_table.intr_window = window;
	backend_table.intr_force = force;
	backend_table.intr_tpr_exit = tpr_exit;
}

void world_begin(u8 choices)
{
	bool programmed = choices & WORLD_PROGRAMMED, x2apic = !(choices & WORLD_NO_X2APIC);
	u32 n = x2apic | programmed << 1 | (choices & WORLD_X2APIC ? 4 : 0);

	world = &worlds[choices & MADE_DIFFERENTLY];
	if (!world->made) {
		memset(guest, 0, sizeof(guest));
		make(choices);
		save(0);
	}
	restore(world->saved[n] ? n : 0);
	if (!world->saved[n]) {
		fake.vm->config.x2apic = x2apic;
		if (programmed)
			program(choices & WORLD_X2APIC);
		save(n);
	}
	set_backend();
	fake.vm->config.tsc_deadline = !(choices & WORLD_NO_DEADLINE);
	if (choices & WORLD_REINJECT)
		pit_set_reinject(fake.vm, true);
	if (choices & WORLD_PROGRAMMED)
		program(choices & WORLD_X2APIC);
	if (choices & WORLD_EOI_REQUIRED)
		eoi_exit_require(fake.vm);
}

struct pic *world_pic(void)
{
	return fake.vm->config.irqchip_split ? &world->irqchip.pic : &fake.vm->pic;
}
