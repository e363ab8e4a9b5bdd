/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A witness's script for several vCPUs: IPIs of all kinds between them, while IDs, modes and
 * priorities change. One vCPU acts at a time, by the first one's order; all others sleep or spin with
 * interrupts on.
 *
 *      vCPU 0                     who acts                      all others
 *      ------                     --------                      ----------
 *      order, wake-up IPI ->      its handler, then what was
 *                                 ordered: an IPI ->            its handlers
 *                                 then a fence to each ->       its handler counts
 *      waits until it is done  <- waits for all fences
 *
 * The fence is a fixed IPI of a class below all others, which comes behind whatever the same sender has
 * sent before, so each handler has its place in its vCPU's trace. A vCPU that is to receive several at
 * once has interrupts off and looks at IRR until the fence is there.
 */
#include "tests/model/witness.h"

#define WAKE   0x22
#define FENCE  0x21
#define LOWEST 0x30 /* of the vectors under test */
#define BURST  4

enum order {
	SEND,
	SEND_BURST,    /* to a vCPU that does RECEIVE_BURST */
	RECEIVE_BURST, /* with interrupts off, or a task priority */
	CHANGE_LOGICAL,
	CHANGE_ID,
	CHANGE_MODE,
	BE_OFF, /* disabled by software, until told */
	LOOK,
};

struct command {
	enum order order;
	u32 dest, low;
	u32 target;      /* vCPU; SEND: of an NMI, else WITNESS_VCPUS */
	u8 burst[BURST]; /* vectors */
	u32 count, priority;
};

static struct {
	struct command command[WITNESS_VCPUS];
	u32 issued[WITNESS_VCPUS], done[WITNESS_VCPUS];
	u32 woken[WITNESS_VCPUS], fences[WITNESS_VCPUS], nmis[WITNESS_VCPUS];
	u32 boots[WITNESS_VCPUS];
	u32 id[WITNESS_VCPUS]; /* as destinations have it */
	bool x2apic[WITNESS_VCPUS];
	bool off[WITNESS_VCPUS]; /* takes no fence */
	bool ready[WITNESS_VCPUS], go[WITNESS_VCPUS];
	bool sleeps[WITNESS_VCPUS];
	bool usual_logical; /* LDR and DFR are as at first, everywhere */
} many;

/* --- handlers --- */

static void count_fence(u8 vector, u32 error __unused)
{
	w_interrupt(vector);
	w_raw_write(APIC_EOI, 0);
	many.fences[g_index()]++;
}

static void count_wake(u8 vector, u32 error __unused)
{
	w_interrupt(vector);
	w_raw_write(APIC_EOI, 0);
	many.woken[g_index()]++;
}

static void count_nmi(u8 vector, u32 error __unused)
{
	w_interrupt(vector);
	many.nmis[g_index()]++;
}

/* IRR may have a fence by now, or not: not to be noted. */
static void handler(u8 vector, u32 error __unused)
{
	w_interrupt(vector);
	for (u32 word = 0; word < 8; word++)
		w_read(APIC_ISR + word * 16);
	w_read(APIC_TMR + vector / 32 * 16u);
	w_read(APIC_TPR);
	w_read(APIC_PPR);
	w_read_cr8();
	w_write(APIC_EOI, 0);
	w_read(APIC_PPR);
}

void witness_many_prepare(void)
{
	memset(&many, 0, sizeof(many));
	many.usual_logical = true;
	for (u32 i = 0; i < harness.vcpus; i++)
		many.id[i] = i;
	g_set_handler(VECTOR_NMI, count_nmi);
	for (u32 vector = LOWEST; vector < 256; vector++)
		g_set_handler((u8)vector, handler);
	g_set_handler(FENCE, count_fence);
	g_set_handler(WAKE, count_wake);
}

/* --- what any of them does by order --- */

static void wait_a_little(bool sleeping)
{
	g_sti();
	if (sleeping)
		g_hlt();
	else
		g_pause();
	g_cli();
}

/* Behind everything that this vCPU has sent. */
static void fence_all(void)
{
	u32 me = g_index();

	w_window();
	for (u32 i = 0; i < harness.vcpus; i++) {
		u32 before = many.fences[i];

		if (i == me || many.off[i])
			continue;
		w_raw_icr(many.id[i], APIC_LEVEL_ASSERT | FENCE);
		while (many.fences[i] == before)
			wait_a_little(false);
	}
}

static void errors(void)
{
	w_write(APIC_ESR, 0);
	w_read(APIC_ESR);
}

static void send(const struct command *c)
{
	u32 before = c->target < WITNESS_VCPUS ? many.nmis[c->target] : 0;

	w_icr(c->dest, c->low);
	w_read(APIC_ICR);
	while (c->target < WITNESS_VCPUS && many.nmis[c->target] == before)
		wait_a_little(false);
	fence_all();
	errors();
}

static void send_burst(const struct command *c)
{
	for (u32 i = 0; i < c->count; i++)
		w_icr(many.id[c->target], APIC_LEVEL_ASSERT | c->burst[i]);
	w_raw_icr(many.id[c->target], APIC_LEVEL_ASSERT | FENCE);
}

/* The fence's class is below the priority, too: it waits in IRR. */
static void receive_burst(const struct command *c)
{
	u32 me = g_index();

	w_write(APIC_TPR, c->priority);
	many.ready[me] = true;
	while (!w_raw_bit(APIC_IRR, FENCE)) {
		if (c->priority)
			wait_a_little(false);
		else
			g_pause();
	}
	/* What the priority lets through has been sent before the fence, and goes first. */
	if (c->priority)
		w_window();
	for (u32 word = 0; word < 8; word++) {
		w_read(APIC_IRR + word * 16);
		w_read(APIC_ISR + word * 16);
	}
	w_read(APIC_PPR);
	if (c->priority & 1)
		w_write_cr8(0);
	else
		w_write(APIC_TPR, 0);
	w_read(APIC_PPR);
	w_window();
	many.ready[me] = false;
}

static void read_identity(void)
{
	w_read(APIC_ID);
	w_read(APIC_LDR);
	if (!w_in_x2apic())
		w_read(APIC_DFR);
}

static void change_logical(const struct command *c)
{
	if (c->count) {
		w_logical();
	} else {
		w_write(APIC_LDR, c->dest);
		if (!w_in_x2apic())
			w_write(APIC_DFR, c->low);
	}
	read_identity();
}

static void change_id(const struct command *c)
{
	w_write(APIC_ID, c->dest << 24);
	many.id[g_index()] = w_raw_id();
	read_identity();
}

static void change_mode(void)
{
	u32 me = g_index();

	w_dump();
	if (!w_in_x2apic())
		w_switch();
	many.id[me] = w_raw_id();
	many.x2apic[me] = true;
	w_dump();
}

static void be_off(void)
{
	u32 me = g_index();

	w_write(APIC_SVR, 0xff);
	many.off[me] = many.ready[me] = true;
	while (!many.go[me])
		wait_a_little(false);
	w_dump();
	w_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	w_window();
	w_dump();
	many.go[me] = many.off[me] = many.ready[me] = false;
}

static void act(const struct command *c)
{
	switch (c->order) {
	case SEND:
		send(c);
		break;
	case SEND_BURST:
		send_burst(c);
		break;
	case RECEIVE_BURST:
		receive_burst(c);
		break;
	case CHANGE_LOGICAL:
		change_logical(c);
		break;
	case CHANGE_ID:
		change_id(c);
		break;
	case CHANGE_MODE:
		change_mode();
		break;
	case BE_OFF:
		be_off();
		break;
	case LOOK:
		w_dump();
		errors();
		break;
	}
}

static const char *const order_names[] = {
        [SEND] = "an IPI",
        [SEND_BURST] = "IPIs to one that looks",
        [RECEIVE_BURST] = "several at once",
        [CHANGE_LOGICAL] = "LDR, DFR",
        [CHANGE_ID] = "ID",
        [CHANGE_MODE] = "to x2APIC mode",
        [BE_OFF] = "software disable",
        [LOOK] = "all registers",
};

void witness_many_ap(void *arg __unused)
{
	u32 me = g_index();

	w_begin();
	many.id[me] = w_raw_id();
	many.x2apic[me] = w_in_x2apic();
	many.done[me] = many.issued[me] = many.woken[me];
	many.boots[me]++;
	for (;;) {
		while (many.woken[me] == many.done[me])
			wait_a_little(many.sleeps[me]);
		w_step(order_names[many.command[me].order], many.done[me]);
		act(&many.command[me]);
		many.done[me]++;
	}
}

/* --- the first vCPU's --- */

static void issue(u32 vcpu, const struct command *c)
{
	if (!vcpu) {
		act(c);
		return;
	}
	many.command[vcpu] = *c;
	many.sleeps[vcpu] = w_random(2);
	many.issued[vcpu]++;
	w_raw_icr(many.id[vcpu], APIC_LEVEL_ASSERT | WAKE);
}

static void await(u32 vcpu)
{
	while (vcpu && many.done[vcpu] != many.issued[vcpu])
		wait_a_little(false);
}

static void order(u32 vcpu, const struct command *c)
{
	issue(vcpu, c);
	await(vcpu);
}

static u32 any_vcpu(void)
{
	return w_random(harness.vcpus);
}

static u32 any_but(u32 vcpu)
{
	return (vcpu + 1 + w_random(harness.vcpus - 1)) % harness.vcpus;
}

static u32 any_vector(void)
{
	return w_random(16) ? LOWEST + w_random(256 - LOWEST) : w_random(16);
}

/* All in one mode, so that logical destinations and broadcast mean something. */
static bool mixed(void)
{
	for (u32 i = 1; i < harness.vcpus; i++)
		if (many.x2apic[i] != many.x2apic[0])
			return true;
	return false;
}

static u32 any_logical(bool x2apic)
{
	if (x2apic)
		return w_random(harness.vcpus / 16 + 2) << 16 |
		       (1 + w_random(w_random(2) ? 15 : 0xffff));
	if (!many.usual_logical && w_random(2))
		return w_random(256);
	if (witness_plan.mode == WITNESS_CLUSTER)
		return (1 + w_random(harness.vcpus / 2 + 1)) << 4 | w_random(16);
	return w_random(16) | (w_random(8) ? 0 : w_random(16) << 4);
}

static void unicast(u32 sender, struct command *c)
{
	c->dest = many.id[w_random(4) ? any_but(sender) : sender];
	if (!w_random(6))
		c->low |= APIC_DM_LOWEST;
}

static u32 x2apic_logical(u32 id)
{
	return id / 16 << 16 | BIT(id % 16);
}

static void to_logical(struct command *c, bool x2apic)
{
	c->dest = any_logical(x2apic);
	c->low |= APIC_DEST_LOGICAL;
	/* Of several, which one is open; in the model of xAPIC mode a bit is one vCPU's at first. */
	if (w_random(3) || !many.usual_logical)
		return;
	if (x2apic)
		c->dest = x2apic_logical(any_vcpu());
	else if (witness_plan.mode == WITNESS_CLUSTER)
		c->dest = (1 + w_random(harness.vcpus / 2)) << 4 | BIT(w_random(2));
	else
		c->dest = BIT(any_vcpu());
	c->low |= APIC_DM_LOWEST;
}

static void to_nobody_or_all(struct command *c, bool x2apic)
{
	static const u32 x2apic_ids[] = {9, 0xff, 0x1234, 0xfffffffe, 0xffffffff};
	static const u32 xapic_ids[] = {9, 0x80, 0xfe, 0xff};

	if (x2apic)
		c->dest = x2apic_ids[w_random(ARRAY_SIZE(x2apic_ids))];
	else
		c->dest = xapic_ids[w_random(ARRAY_SIZE(xapic_ids))];
}

static void any_ipi(u32 sender, struct command *c)
{
	u32 kind = w_random(mixed() ? 6 : 10);

	*c = (struct command){
	        .order = SEND, .low = APIC_LEVEL_ASSERT | any_vector(), .target = WITNESS_VCPUS};
	if (kind < 3)
		unicast(sender, c);
	else if (kind < 6)
		c->low |= kind == 3 ? APIC_DEST_SELF : kind == 4 ? APIC_DEST_ALL : APIC_DEST_OTHERS;
	else if (kind < 9)
		to_logical(c, many.x2apic[sender]);
	else
		to_nobody_or_all(c, many.x2apic[sender]);
}

static void step_ipi(void)
{
	u32 sender = any_vcpu();
	struct command c;

	any_ipi(sender, &c);
	order(sender, &c);
}

static void step_nmi(void)
{
	u32 sender = any_vcpu(), target = any_but(sender);

	order(sender, &(struct command){.order = SEND,
	                                .dest = many.id[target],
	                                .low = APIC_LEVEL_ASSERT | APIC_DM_NMI,
	                                .target = target});
}

/*
 * With interrupts off anything may be sent; with a priority only one vector may be above it, since
 * several could be delivered in either order.
 */
static void step_burst(void)
{
	u32 receiver = 1 + w_random(harness.vcpus - 1), sender = any_but(receiver);
	struct command c = {.order = SEND_BURST, .target = receiver, .count = 1 + w_random(BURST)};
	struct command r = {.order = RECEIVE_BURST,
	                    .priority = w_random(2) ? 0 : 0x60 + w_random(32)};

	for (u32 i = 0; i < c.count; i++)
		c.burst[i] = (u8)(LOWEST + w_random(r.priority ? 0x60 - LOWEST : 256 - LOWEST));
	if (r.priority)
		c.burst[w_random(c.count)] = (u8)(0x80 + w_random(0x80));
	issue(receiver, &r);
	while (!many.ready[receiver])
		wait_a_little(false);
	order(sender, &c);
	await(receiver);
}

static void step_logical(void)
{
	static const u32 models[] = {0xffffffff, 0x0fffffff, 0x5fffffff};
	struct command c = {.order = CHANGE_LOGICAL, .count = w_random(2)};

	c.dest = (w_random(2) ? BIT(w_random(8)) : w_random(256)) << 24;
	c.low = models[w_random(ARRAY_SIZE(models))];
	/* In x2APIC mode LDR is read-only. */
	many.usual_logical = many.usual_logical && (c.count || many.x2apic[0]);
	order(any_vcpu(), &c);
}

/* As at first, everywhere. */
static void step_usual_logical(void)
{
	for (u32 i = 0; i < harness.vcpus; i++)
		order(i, &(struct command){.order = CHANGE_LOGICAL, .count = 1});
	many.usual_logical = true;
}

/* Nothing is accelerated while there is another ID: not for long. */
static void step_id(void)
{
	u32 vcpu = any_vcpu();

	if (many.x2apic[vcpu])
		return;
	order(vcpu, &(struct command){.order = CHANGE_ID, .dest = 0x81 + vcpu});
	for (u32 i = 0; i < 4; i++)
		step_ipi();
	if (w_random(4))
		order(vcpu, &(struct command){.order = CHANGE_ID, .dest = vcpu});
}

static void step_off(void)
{
	u32 vcpu = 1 + w_random(harness.vcpus - 1), sender = any_but(vcpu);
	struct command c;

	issue(vcpu, &(struct command){.order = BE_OFF});
	while (!many.ready[vcpu])
		wait_a_little(false);
	for (u32 i = 0; i < 3; i++) {
		any_ipi(sender, &c);
		if (i)
			c.dest = many.id[vcpu];
		order(sender, &c);
	}
	many.go[vcpu] = true;
	await(vcpu);
}

static void start(u32 vcpu)
{
	u32 before = many.boots[vcpu];

	w_icr(many.id[vcpu], APIC_DM_INIT | APIC_LEVEL_ASSERT);
	w_icr(many.id[vcpu], APIC_DM_SIPI | APIC_LEVEL_ASSERT | HARNESS_SIPI);
	while (many.boots[vcpu] == before)
		wait_a_little(false);
}

static void step_init(void)
{
	start(1 + w_random(harness.vcpus - 1));
}

static void step_look(void)
{
	order(any_vcpu(), &(struct command){.order = LOOK});
}

/* One after the other, and IPIs between those that have and those that have not. */
static void switch_modes(void)
{
	for (u32 i = 0; i < harness.vcpus; i++) {
		order((i + 2) % harness.vcpus, &(struct command){.order = CHANGE_MODE});
		for (u32 n = 0; n < 4; n++) {
			step_ipi();
			step_burst();
		}
		step_nmi();
	}
}

static const struct w_choice steps[] = {
        {"IPI", step_ipi, 24},
        {"NMI", step_nmi, 3},
        {"several at once", step_burst, 10},
        {"LDR, DFR", step_logical, 2},
        {"LDR, DFR as at first", step_usual_logical, 2},
        {"ID", step_id, 2},
        {"to one that is disabled", step_off, 2},
        {"INIT and start-up", step_init, 2},
        {"all registers", step_look, 2},
};

void witness_many(void *arg __unused)
{
	w_begin();
	many.x2apic[0] = w_in_x2apic();
	for (u32 i = 1; i < harness.vcpus; i++)
		start(i);
	for (u32 i = 1; i <= witness_plan.steps; i++) {
		const struct w_choice *step = w_pick(steps, ARRAY_SIZE(steps));

		w_step(step->name, i);
		step->act();
		if (witness_plan.mode == WITNESS_SWITCH && i == witness_plan.steps / 2) {
			w_step("all to x2APIC mode", i);
			switch_modes();
		}
	}
	for (u32 i = 0; i < harness.vcpus; i++)
		order(i, &(struct command){.order = LOOK});
	g_exit(0);
}
