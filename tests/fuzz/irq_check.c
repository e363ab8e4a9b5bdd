/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What holds after each operation, whatever the guest did. Two kinds: the state is consistent in
 * itself (summaries, PPR, the map, levels of lines, timers), and it has changed in no other way than
 * the operation may change it (who may clear a request, end a vector, clear remote IRR).
 *
 * Everything runs in one thread here, so what is only eventually true among processors (a summary
 * bit over an empty word) has to be exact.
 */
#include "tests/fuzz/irq_fuzz.h"

#include "irq/extint.h"
#include "irq/pit.h"
#include "x86/apic.h"

/* A vCPU's local APIC as it was before the operation. */
struct before {
	struct model_vectors irr, isr, tmr;
	u64 base;
	u32 svr, lvt0, resets;
	int deliverable;
};

/* A pin since its remote IRR was last set. */
struct pin {
	u8 vector;
	bool excused; /* remote IRR need not be backed by a vector that somebody holds */
	bool remote_irr, wanting;
};

/* The 8254's channel 0 and its ticks: shown, waiting, given up. */
struct ticks {
	u64 start, rises, load_at, all;
	u32 count;
	bool loaded;
};

static struct before before[VCPUS];
static struct ticks ticks;
static struct pin pin[IOAPIC_PINS];
static const struct op *current;
static u64 checked_map[VCPUS][4], checked_generation;
static u32 map_turn;

#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "after %s (vCPU %u): ", current->name, current->cpu);      \
			FUZZ_FAIL(__VA_ARGS__);                                                    \
		}                                                                                  \
	} while (0)

static u32 word_summary(const struct model_vectors *set)
{
	u32 summary = 0;

	for (u32 i = 0; i < 8; i++)
		summary |= set->word[i] ? BIT(i) : 0;
	return summary;
}

static void load(u32 i, struct before *b)
{
	model_load(&b->irr, i, APIC_IRR);
	model_load(&b->isr, i, APIC_ISR);
	model_load(&b->tmr, i, APIC_TMR);
	b->base = atomic64_read_relaxed(&apic(i)->base);
	b->svr = apic_reg(i, APIC_SVR);
	b->lvt0 = apic_reg(i, APIC_LVT0);
	b->resets = guest[i].resets;
	b->deliverable = model_deliverable(apic_reg(i, APIC_TPR), &b->irr, &b->isr);
}

/* ---- one local APIC ---- */

static void check_vectors(u32 i, const struct before *now)
{
	u32 tpr = apic_reg(i, APIC_TPR);
	int request = model_highest(&now->irr);

	CHECK(atomic32_read(&apic(i)->irr_summary) == word_summary(&now->irr),
	      "summary of IRR %x, words %x", atomic32_read(&apic(i)->irr_summary),
	      word_summary(&now->irr));
	CHECK(apic(i)->isr_summary == word_summary(&now->isr), "summary of ISR");
	CHECK(!((now->irr.word[0] | now->isr.word[0]) & 0xffff), "a vector below 16");
	CHECK(apic_reg(i, APIC_PPR) == model_ppr(tpr, &now->isr), "PPR is %x, not %x",
	      apic_reg(i, APIC_PPR), model_ppr(tpr, &now->isr));
	for (u32 word = 0; word < 8; word++) {
		u32 low = now->isr.word[word] & 0xffff, high = now->isr.word[word] >> 16;

		CHECK(!(low & (low - 1)) && !(high & (high - 1)), "two of one class in service");
	}
	CHECK(lapic_deliverable(cpu(i)) == now->deliverable, "deliverable %d, not %d",
	      lapic_deliverable(cpu(i)), now->deliverable);
	CHECK(lapic_waits_for_tpr(cpu(i)) == (request >= 0 && now->deliverable < 0 &&
	                                      model_deliverable(0, &now->irr, &now->isr) >= 0),
	      "waits for TPR");
	CHECK(lapic_cr8(cpu(i)) == tpr >> 4, "CR8");
	if (!(now->base & APIC_BASE_EN))
		CHECK(!word_summary(&now->irr) && !word_summary(&now->isr) &&
		              !word_summary(&now->tmr),
		      "vectors in an APIC that is off");
}

static void check_mode(u32 i, const struct before *now)
{
	static const u16 lvts[] = {APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC,
	                           APIC_LVT0, APIC_LVT1,    APIC_LVTERR};
	u32 id = cpu(i)->apic_id;

	CHECK((now->base & APIC_BASE_EN) || !(now->base & APIC_BASE_EXTD), "EXTD without EN");
	CHECK(!(now->base & APIC_BASE_BSP) == (i != 0), "the boot processor is another one");
	if (now->base & APIC_BASE_EXTD) {
		CHECK(apic_reg(i, APIC_ID) == id, "ID in x2APIC mode");
		CHECK(apic_reg(i, APIC_LDR) == (id >> 4 << 16 | BIT(id & 15)),
		      "LDR in x2APIC mode");
	} else {
		CHECK(!((apic_reg(i, APIC_ID) | apic_reg(i, APIC_LDR)) & 0xffffff),
		      "reserved bits of ID");
	}
	CHECK((apic_reg(i, APIC_DFR) & 0xfffffff) == 0xfffffff, "DFR");
	CHECK(apic_reg(i, APIC_VERSION) == LAPIC_VERSION, "version");
	for (u32 n = 0; n < ARRAY_SIZE(lvts) && !(now->svr & APIC_SVR_ENABLE); n++)
		CHECK(apic_reg(i, lvts[n]) & APIC_LVT_MASKED, "LVT %x open in a disabled APIC",
		      lvts[n]);
	CHECK(!(apic_reg(i, APIC_LVT0) & APIC_LVT_REMOTE_IRR) ||
	              (apic_reg(i, APIC_LVT0) & APIC_LVT_LEVEL),
	      "remote IRR of an edge");
	CHECK(!(apic_reg(i, APIC_LVT1) & APIC_LVT_REMOTE_IRR), "remote IRR of LVT1");
}

static void check_timer(u32 i)
{
	const struct lapic *a = apic(i);
	u32 mode = apic_reg(i, APIC_LVTT) & APIC_LVTT_MODE;
	u32 count = lapic_timer_current_count(apic(i));

	if (a->timer_deadline == TSC_NEVER)
		CHECK(!a->timer_period && !a->tsc_deadline, "a timer that counts and never ends");
	else
		CHECK(a->timer.deadline == a->timer_deadline ||
		              (fake.requests[i] & VCPU_REQUEST_TIMER),
		      "a deadline that nobody waits for");
	if (mode == APIC_LVTT_DEADLINE)
		CHECK(!a->timer_period && !apic_reg(i, APIC_TMICT) && !count,
		      "a count in deadline mode");
	else
		CHECK(!a->tsc_deadline, "a deadline outside deadline mode");
	CHECK(count <= apic_reg(i, APIC_TMICT), "TMCCT %x above TMICT %x", count,
	      apic_reg(i, APIC_TMICT));
}

/* ---- what may have changed in it ---- */

static bool was_reset(u32 i, const struct before *now)
{
	return now->resets != before[i].resets || ((now->base ^ before[i].base) & APIC_BASE_EN);
}

static void check_transition(u32 i, const struct before *now)
{
	struct model_vectors service = before[i].isr;
	int ended = current->ends && current->cpu == i ? model_highest(&service) : -1;

	if (was_reset(i, now) || (current->enters && current->cpu == i))
		return;
	if (ended >= 0)
		service.word[ended / 32] &= ~BIT(ended % 32);
	CHECK(!memcmp(&service, &now->isr, sizeof(service)), "ISR of vCPU %u", i);
	for (u32 word = 0; word < 8; word++) {
		u32 old = before[i].irr.word[word], new = now->irr.word[word];

		CHECK(!(old & ~new), "a request of vCPU %u is gone", i);
		CHECK(!current->quiet || new == old, "a request of vCPU %u from nowhere", i);
	}
	/* Others may have made something deliverable: then the vCPU has to be told. */
	if (current->cpu != i && now->deliverable > before[i].deliverable)
		CHECK(fake.requests[i] & VCPU_REQUEST_EVENT, "vCPU %u has not been told", i);
}

/*
 * LVT0 as a level: INTR that is up and open has been sent, once, until the vCPU ends it. Like an I/O
 * APIC's pin, but that an EOI's broadcast has no say.
 */
static void check_lint0(u32 i, const struct before *now)
{
	u32 lvt0 = now->lvt0, was = before[i].lvt0;
	u8 vector = (u8)lvt0;
	bool level = (lvt0 & APIC_LVT_LEVEL) && (lvt0 & APIC_DM_MASK) == APIC_DM_FIXED;
	bool ended = current->ends && current->cpu == i && model_highest(&before[i].isr) == vector;
	/* Not TMR: an edge of the same vector may have followed in the same operation. */
	bool held = model_test(&now->irr, vector) || model_test(&now->isr, vector);

	if (level && !(lvt0 & (APIC_LVT_MASKED | APIC_LVT_REMOTE_IRR)) && vector >= 16)
		CHECK(!extint_has(fake.vm), "LVT0 is open, INTR is high and has not been sent");
	if (was_reset(i, now) || !(lvt0 & APIC_LVT_LEVEL))
		return;
	if (!(was & APIC_LVT_REMOTE_IRR))
		CHECK(!(lvt0 & APIC_LVT_REMOTE_IRR) || held, "LVT0: remote IRR of nothing");
	else if (!(lvt0 & APIC_LVT_REMOTE_IRR))
		CHECK(ended, "LVT0: remote IRR is gone");
	else if (ended && model_test(&before[i].tmr, vector))
		CHECK(held, "LVT0: remote IRR stands, and vector %x has been ended", vector);
}

static bool has_changed(u32 i, const struct before *now, u8 vector)
{
	return model_test(&now[i].irr, vector) && !model_test(&before[i].irr, vector);
}

/* The operation sends exactly this message. */
static void check_delivery(const struct before *now)
{
	const struct irq_message *m = &current->message;
	bool lowest = m->delivery == APIC_DM_LOWEST;
	u64 to = model_accepting(model_destinations(m), m->vector);
	u32 holders = 0;

	for (u32 i = 0; i < VCPUS; i++) {
		bool holds = model_test(&now[i].irr, m->vector);

		if (!(to & BIT64(i))) {
			CHECK(!has_changed(i, now, m->vector), "vCPU %u is no destination", i);
			continue;
		}
		CHECK(lowest || holds, "vector %x has not reached vCPU %u", m->vector, i);
		CHECK(lowest || model_test(&now[i].tmr, m->vector) == m->level, "TMR");
		holders += holds;
	}
	CHECK(!lowest || !to || holders, "lowest priority has reached nobody");
}

/* ---- the published map ---- */

/* The map is a function of these. */
static bool map_is_checked(void)
{
	u64 key[VCPUS][4];
	bool same;

	for (u32 i = 0; i < VCPUS; i++) {
		key[i][0] = atomic64_read_relaxed(&apic(i)->base);
		key[i][1] = apic_reg(i, APIC_ID) | (u64)apic_reg(i, APIC_LDR) << 32;
		key[i][2] = apic_reg(i, APIC_DFR);
		key[i][3] = apic_reg(i, APIC_SVR);
	}
	same = !memcmp(key, checked_map, sizeof(key)) &&
	       checked_generation == atomic32_read(&fake.vm->apic_map.publish.current);
	memcpy(checked_map, key, sizeof(key));
	checked_generation = atomic32_read(&fake.vm->apic_map.publish.current);
	return same;
}

static void check_destinations(u32 dest)
{
	struct irq_message m = {.delivery = APIC_DM_FIXED, .dest = dest};

	for (u32 form = 0; form < 4; form++) {
		m.logical = form & 1;
		m.x2apic_format = form & 2;
		CHECK(apic_map_destinations(fake.vm, &m) == model_destinations(&m),
		      "destination %x %s %s: map %llx, registers %llx", dest,
		      m.logical ? "logical" : "physical", m.x2apic_format ? "x2APIC" : "xAPIC",
		      (unsigned long long)apic_map_destinations(fake.vm, &m),
		      (unsigned long long)model_destinations(&m));
	}
}

/* A few destinations of those that matter, others each time. */
static void check_map(void)
{
	static const u32 special[] = {0,      1,        2,        3,         0x103,   0x11f,
	                              0xff,   0xf1,     0x12,     0x1ff,     0x1ffff, 0x100008,
	                              0x8000, 0x110000, 0x118000, 0xffffffff};
	static const u32 turns = ARRAY_SIZE(special) / 4;

	CHECK(apic_map_software_enabled(fake.vm) == model_software_enabled(), "software enabled");
	if (map_is_checked())
		return;
	map_turn++;
	for (u32 i = 0; i < 4; i++)
		check_destinations(special[map_turn % turns * 4 + i]);
	for (u32 i = 0; i < VCPUS; i++) {
		u32 id = apic_reg(i, APIC_ID), ldr = apic_reg(i, APIC_LDR);

		check_destinations(id >> 24);
		check_destinations(id);
		check_destinations(ldr >> 24);
		check_destinations(ldr);
		check_destinations(ldr >> 24 ^ BIT(map_turn % 8));
	}
}

/* ---- the I/O APIC ---- */

static bool held_as_level(const struct before *now, u8 vector)
{
	for (u32 i = 0; i < VCPUS; i++) {
		if (model_test(&now[i].tmr, vector) &&
		    (model_test(&now[i].irr, vector) || model_test(&now[i].isr, vector)))
			return true;
	}
	return false;
}

/*
 * Why a remote IRR may stand though nobody holds the vector as a level (any more): its holder was
 * reset, ended it without a broadcast, or took an edge of the same vector meanwhile, which makes
 * its TMR bit 0.
 */
static bool has_excuse(const struct before *now, u8 vector)
{
	for (u32 i = 0; i < VCPUS; i++) {
		bool held =
		        model_test(&before[i].irr, vector) || model_test(&before[i].isr, vector);

		if (held && was_reset(i, &now[i]))
			return true;
		if (held && current->ends && current->cpu == i &&
		    (before[i].svr & APIC_SVR_NO_BROADCAST))
			return true;
		if (held && !model_test(&now[i].tmr, vector))
			return true;
	}
	return false;
}

static void check_remote_irr(u32 n, const struct before *now)
{
	u64 rte = fake.vm->ioapic.rte[n];
	u8 vector = rte & IOAPIC_RTE_VECTOR;
	u32 delivery = rte & APIC_DM_MASK;
	bool level = (rte & IOAPIC_RTE_LEVEL) &&
	             (delivery == APIC_DM_FIXED || delivery == APIC_DM_LOWEST);
	bool remote_irr = rte & IOAPIC_RTE_REMOTE_IRR;
	struct pin *p = &pin[n];
	int ended = current->ends ? model_highest(&before[current->cpu].isr) : -1;

	CHECK(!remote_irr || level, "pin %u: remote IRR of an edge", n);
	if (!remote_irr) {
		CHECK(!p->remote_irr || !level || current->ioapic_reset ||
		              (current->ioapic_end && current->ioapic_vector == vector) ||
		              ended == vector,
		      "pin %u: remote IRR is gone", n);
	} else if (!p->remote_irr) {
		*p = (struct pin){.vector = vector};
		CHECK(held_as_level(now, vector), "pin %u: remote IRR, but nobody has it", n);
	} else {
		p->excused |= vector != p->vector || has_excuse(now, p->vector);
		if (held_as_level(now, vector) && vector == p->vector && (u32)ended == vector)
			p->excused = false; /* ended and sent again */
		CHECK(p->excused || held_as_level(now, vector),
		      "pin %u: remote IRR stands, and vector %x has been ended", n, vector);
	}
	p->remote_irr = remote_irr;
}

/* A level that waits to be sent though nothing is in its way: nobody accepted it. */
static void check_wanting(u32 n)
{
	const struct ioapic *ioapic = &fake.vm->ioapic;
	u64 rte = ioapic->rte[n];
	struct irq_message m = {
	        .dest = rte >> IOAPIC_RTE_DEST_SHIFT,
	        .logical = rte & IOAPIC_RTE_LOGICAL,
	        .delivery = rte & APIC_DM_MASK,
	};
	bool wanting =
	        (ioapic->lines & BIT(n)) && (rte & IOAPIC_RTE_LEVEL) && m.delivery <= 0x100 &&
	        !(rte & (IOAPIC_RTE_MASKED | IOAPIC_RTE_REMOTE_IRR)) && !(ioapic->delayed & BIT(n));

	if (wanting && !pin[n].wanting)
		CHECK(!model_accepting(model_destinations(&m), rte & IOAPIC_RTE_VECTOR),
		      "pin %u is high, open, and has not been sent", n);
	pin[n].wanting = wanting;
}

static bool line_is_high(u32 gsi)
{
	return atomic32_read(&fake.vm->routes.level[gsi / 32]) & BIT(gsi % 32);
}

/* The inputs of both controllers have the levels of the lines that are routed to them. */
static void check_lines(void)
{
	const struct pic *pic = world_pic();
	u32 pins = extint_has(fake.vm) ? BIT(0) : 0;
	u32 inputs = model_pic_slave_output(pic) ? BIT(2) : 0;

	for (u32 word = 0; word < ROUTE_GSIS / 32; word++) {
		u32 high = atomic32_read(&fake.vm->routes.level[word]);

		for (; high; high &= high - 1) {
			u32 gsi = word * 32 + (u32)__builtin_ctz(high);
			struct route_entry entry;

			if (route_find(fake.vm, gsi, ROUTE_IOAPIC, &entry))
				pins |= BIT(entry.input);
			if (route_find(fake.vm, gsi, ROUTE_PIC, &entry))
				inputs |= BIT(entry.input);
		}
	}
	CHECK(fake.vm->ioapic.lines == pins, "I/O APIC pins %x, lines %x", fake.vm->ioapic.lines,
	      pins);
	CHECK((pic->chip[0].lines | pic->chip[1].lines << 8) == (int)inputs,
	      "8259 inputs %x, lines %x", pic->chip[0].lines | pic->chip[1].lines << 8, inputs);
}

static void check_ioapic(const struct before *now)
{
	const struct ioapic *ioapic = &fake.vm->ioapic;

	for (u32 n = 0; n < IOAPIC_PINS; n++) {
		CHECK(!(ioapic->rte[n] & 0x00fffffffffe1000ull), "reserved bits of pin %u", n);
		if (ioapic->rte[n] & IOAPIC_RTE_REMOTE_IRR || pin[n].remote_irr)
			check_remote_irr(n, now);
		if ((ioapic->lines & BIT(n)) || pin[n].wanting)
			check_wanting(n);
	}
	CHECK(!ioapic->delayed == (ioapic->storm.deadline == TSC_NEVER), "livelock guard's timer");
	CHECK(ioapic->id < 16, "ID of the I/O APIC");
}

/* ---- the 8259 pair, the 8254 ---- */

static void check_pic(void)
{
	const struct pic *pic = world_pic();

	CHECK(extint_has(fake.vm) == model_pic_output(pic), "INTR is %u, not %u",
	      extint_has(fake.vm), model_pic_output(pic));
	for (u32 i = 0; i < 2; i++) {
		const struct pic_chip *c = &pic->chip[i];

		CHECK((c->irr & c->elcr) == (c->lines & c->elcr), "chip %u: levels", i);
		CHECK(!(c->irr & ~c->lines), "chip %u: a request without a line", i);
		CHECK(!(c->elcr & ~c->elcr_mask), "chip %u: ELCR", i);
		CHECK(c->priority_add < 8 && !(c->vector_base & 7), "chip %u", i);
		CHECK(c->initialised || !(c->isr && model_pic_output(pic) && !i), "chip %u", i);
		CHECK(!c->auto_eoi || !c->isr, "chip %u: in service in spite of automatic EOI", i);
		CHECK(!c->ended, "chip %u: an end that was not told", i);
	}
}

static struct ticks load_ticks(void)
{
	const struct pit *pit = &fake.vm->pit;
	const struct pit_channel *ch = &pit->channel[0];

	return (struct ticks){
	        .start = ch->start,
	        .rises = ch->rises,
	        .load_at = ch->load_at,
	        .count = ch->count,
	        .loaded = ch->loaded,
	        .all = pit->owed + pit->skipped + atomic64_read_relaxed(&pit->ticks),
	};
}

/* Every rise of OUT is a tick that is shown, waits or is counted as given up; none is two. */
static void check_ticks(void)
{
	struct ticks now = load_ticks();

	if (!current->programs_8254) {
		CHECK(now.all >= ticks.all, "ticks of the 8254 are gone");
		if (now.start == ticks.start && now.load_at == ticks.load_at &&
		    now.count == ticks.count && now.loaded == ticks.loaded)
			CHECK(now.all - ticks.all == now.rises - ticks.rises,
			      "%llu ticks for %llu rises of OUT",
			      (unsigned long long)(now.all - ticks.all),
			      (unsigned long long)(now.rises - ticks.rises));
	}
	ticks = now;
}

static void check_pit(void)
{
	const struct pit *pit = &fake.vm->pit;

	CHECK(line_is_high(0) == pit->line, "IRQ 0 is not what the 8254 says");
	CHECK(pit->timer.deadline != TSC_NEVER || pit->deadline == TSC_NEVER, "8254's timer");
	CHECK(!pit->owed || pit->waits || pit->deadline != TSC_NEVER, "a tick that never comes");
	CHECK(!pit->waits || pit->reinject, "waits without reinjection");
	for (u32 i = 0; i < 3; i++) {
		const struct pit_channel *ch = &pit->channel[i];

		CHECK(ch->mode <= 5 && ch->reload <= 0x10000 && ch->count <= 0x10000, "channel %u",
		      i);
		CHECK(!ch->loaded || ch->count, "channel %u counts from nothing", i);
	}
}

/* ---- EOI-exit bitmap: what is taken for current names every level that is held ---- */

static void check_eoi_exit(u32 i, const struct before *now)
{
	const struct eoi_exit_vcpu *own = &cpu(i)->eoi_exit;

	if (!own->valid || own->generation != atomic32_read(&fake.vm->eoi_exit.generation))
		return;
	for (u32 word = 0; word < 8; word++) {
		u32 held = (now->irr.word[word] | now->isr.word[word]) & now->tmr.word[word];
		u32 map = (u32)(own->bitmap[word / 2] >> (word % 2 * 32));

		CHECK(!(held & ~map), "vCPU %u holds a level that is not in its EOI-exit bitmap",
		      i);
	}
}

/* ---- preparing an entry ---- */

static struct {
	struct model_vectors irr, isr; /* with what is in the slot taken back */
	struct intr_event kept;        /* stays in the slot */
	struct intr_event again;
	u32 nmis;
	bool nmi, extint, exception;
	int vector;
} entry;

void check_before_prepare(u32 i)
{
	const struct intr_state *intr = &cpu(i)->intr;
	u32 signals = atomic32_read(&apic(i)->signals);

	model_load(&entry.irr, i, APIC_IRR);
	model_load(&entry.isr, i, APIC_ISR);
	entry.kept = guest[i].slot;
	if (intr->in_slot && guest[i].slot.valid) {
		CHECK(guest[i].slot.vector == intr->slot_vector, "another vector in the slot");
		entry.kept.valid = false;
		entry.isr.word[intr->slot_vector / 32] &= ~BIT(intr->slot_vector % 32);
		entry.irr.word[intr->slot_vector / 32] |= BIT(intr->slot_vector % 32);
	}
	entry.again = intr->again;
	entry.exception = intr->exception.valid;
	entry.nmis = intr->nmi_pending + !!(signals & LAPIC_SIGNAL_NMI) +
	             !!(signals & LAPIC_SIGNAL_NMI2);
	entry.nmi = intr->nmi_pending || (signals & (LAPIC_SIGNAL_NMI | LAPIC_SIGNAL_NMI2));
	entry.extint = extint_has(fake.vm) && lapic_accepts_extint(cpu(i));
	entry.vector = model_deliverable(apic_reg(i, APIC_TPR), &entry.irr, &entry.isr);
}

static void check_slot(u32 i)
{
	const struct guest *g = &guest[i];
	const struct intr_event *slot = &g->slot;
	bool may = g->open && !g->shadow;

	if (entry.kept.valid) {
		CHECK(!memcmp(&entry.kept, slot, sizeof(*slot)), "the slot was overwritten");
	} else if (entry.again.valid) {
		CHECK(!memcmp(&entry.again, slot, sizeof(*slot)), "not what was cut short");
	} else if (entry.exception) {
		CHECK(slot->valid && slot->type == INTR_TYPE_EXCEPTION, "not the exception");
	} else if (entry.nmi && !g->in_nmi) {
		CHECK(slot->valid && slot->type == INTR_TYPE_NMI, "not the NMI");
	} else if (entry.extint && may) {
		CHECK(slot->valid && slot->type == INTR_TYPE_EXTERNAL && !cpu(i)->intr.in_slot,
		      "not ExtINT");
	} else if (entry.vector >= 0 && may) {
		CHECK(slot->valid && slot->type == INTR_TYPE_EXTERNAL &&
		              slot->vector == entry.vector && cpu(i)->intr.in_slot,
		      "not vector %x", (u32)entry.vector);
	} else {
		CHECK(!slot->valid, "an event from nowhere");
	}
}

/* The processor holds two NMIs at most; the first is never lost, and none becomes two. */
static void check_nmis(u32 i)
{
	const struct intr_event *slot = &guest[i].slot;
	bool injected = slot->valid && slot->type == INTR_TYPE_NMI && !entry.kept.valid &&
	                !entry.again.valid;
	u32 now = cpu(i)->intr.nmi_pending + injected;

	CHECK(now <= min_u64(entry.nmis, 2) && now >= min_u64(entry.nmis, 1), "%u NMIs of %u", now,
	      entry.nmis);
}

void check_after_prepare(u32 i, bool force)
{
	const struct intr_state *intr = &cpu(i)->intr;
	const struct intr_event *slot = &guest[i].slot;
	bool inta = slot->valid && slot->type == INTR_TYPE_EXTERNAL && !intr->in_slot;
	struct model_vectors irr, isr;
	bool pending;

	check_slot(i);
	check_nmis(i);
	if (intr->in_slot) {
		entry.irr.word[intr->slot_vector / 32] &= ~BIT(intr->slot_vector % 32);
		entry.isr.word[intr->slot_vector / 32] |= BIT(intr->slot_vector % 32);
	}
	model_load(&irr, i, APIC_IRR);
	model_load(&isr, i, APIC_ISR);
	CHECK(!memcmp(&isr, &entry.isr, sizeof(isr)), "ISR after an entry");
	/* INTA may have made INTR rise again, and that another request by pin 0 or LVT0. */
	for (u32 word = 0; word < 8; word++)
		CHECK(!(entry.irr.word[word] & ~irr.word[word]) &&
		              (inta || irr.word[word] == entry.irr.word[word]),
		      "IRR after an entry");

	pending = model_deliverable(apic_reg(i, APIC_TPR), &irr, &isr) >= 0 ||
	          (extint_has(fake.vm) && lapic_accepts_extint(cpu(i)));
	CHECK(!pending || guest[i].window || force, "something waits, and there is no window");
	CHECK(!intr->nmi_pending || guest[i].nmi_window || force, "an NMI waits, no window");
	CHECK(guest[i].window == intr->window_open && guest[i].nmi_window == intr->nmi_window_open,
	      "windows");
	CHECK(guest[i].tpr_exit == (lapic_waits_for_tpr(cpu(i)) || apic_reg(i, APIC_TPR) & 0xf),
	      "exits of CR8");
}

/* ---- all of it ---- */

void check_begin(void)
{
	for (u32 n = 0; n < IOAPIC_PINS; n++)
		pin[n] = (struct pin){0};
	ticks = load_ticks();
	checked_generation = 0;
	map_turn = 0;
	for (u32 i = 0; i < VCPUS; i++)
		load(i, &before[i]);
}

void check_before(const struct op *op)
{
	current = op;
}

void check_after(void)
{
	struct before now[VCPUS];

	for (u32 i = 0; i < VCPUS; i++) {
		load(i, &now[i]);
		check_vectors(i, &now[i]);
		check_mode(i, &now[i]);
		check_timer(i);
		check_transition(i, &now[i]);
		check_lint0(i, &now[i]);
		check_eoi_exit(i, &now[i]);
	}
	if (current->delivers)
		check_delivery(now);
	check_map();
	check_lines();
	check_ioapic(now);
	check_pic();
	check_pit();
	check_ticks();
	memcpy(before, now, sizeof(before));
}
