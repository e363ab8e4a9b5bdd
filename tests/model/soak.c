/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Soak of the interrupt path, accelerated and not: eight vCPUs on threads interrupt each other by all forms of
 * IPI that AVIC carries out, sleep at random, share processors and move between them; on some rows acceleration
 * comes and goes meanwhile. The guest's protocol makes each interrupt count:
 *
 *  - PING: a sender writes a number for each target and sends to all with one write of ICR; it goes on
 *    when each has answered. The handler must find exactly the next number: an interrupt that came
 *    twice, or for nothing, fails at once. One that is lost leaves the sender waiting.
 *  - ACK: the answer, an IPI back. Everybody mostly waits in HLT, so a wake-up that is lost stays
 *    lost; with few senders nothing else happens that could repair it. Where each vCPU has a
 *    processor, some spin in the guest until an interrupt comes: that does not exit, and a doorbell
 *    that is lost stays lost.
 *  - NOISE: sent without waiting, so that requests meet their vector's delivery and coalesce.
 *
 * At the end an interrupt of the lowest class goes to all: nothing that was sent before can be on its
 * way when it has been handled. Then, by the guest's own count and by the accounts: each request of a form that
 * the processor carries out was put into a page by it, and all others were software's; 0->1 transitions ==
 * deliveries == handlers that ran; and nothing is left pending. Where processors post by themselves, the sleepers that
 * they wake are woken by the wakeup vector alone, and nobody else's are.
 *
 * A thread that only watches ends the program when nobody has handled an interrupt for a while, and
 * says where everybody stands.
 *
 * Usage: soak [INTERRUPTS [posted | others]]: in total, and of which rows, those of processors with posted interrupts
 * or the others; else of all. Not instrumented by ThreadSanitizer: it is a script.
 */
#include "tests/model/harness.h"

#include "core/sched.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#define VCPUS      8
#define CHUNK      200000u /* interrupts from one creation of a VM to its end */
#define TOTAL      1200000u
#define WATCH_S    25
#define SLICE_TSC  (POSIX_TSC_KHZ / 10) /* a tenth of a millisecond */
#define BROADCAST  0xffu
#define EVERYBODY  (BIT(VCPUS) - 1)
#define BIG_BURSTS 4    /* one in so many goes to more than one target */
#define TOGGLED    3000 /* instructions from one change of acceleration to the next */

enum {
	VECTOR_QUIET = 0x21,
	VECTOR_PING = 0x30, /* and 10h for each sender: a class of its own */
	VECTOR_ACK = 0x38,  /* the same for each that answers */
	VECTOR_NOISE = 0xb0,
	NOISES = 4,
};

/* Of one request, how it is sent. */
enum form {
	FORM_SELF, /* to itself: SELF IPI; in xAPIC mode, which has no such register, ICR's shorthand */
	FORM_SELF_ICR, /* that shorthand in x2APIC mode */
	FORM_ONE,      /* by an ID, which may be the own one */
	FORM_SEVERAL,  /* and everything else */
	FORMS
};

/* What processors do about them without software. */
#define BY_NOBODY 0
#define BY_AVIC   (BIT(FORMS) - 1)
#define BY_APICV  BIT(FORM_SELF)
#define BY_IPIV   (BIT(FORM_SELF) | BIT(FORM_ONE))

#define UNPOSTED (MODEL_BROADWELL & ~MODEL_POSTED)

static const struct soak {
	const char *name;
	u32 features;
	u32 forms; /* that the processor carries out, once its vCPU is accelerated */
	u32 cpus;
	bool xapic, cluster;
	bool toggled; /* acceleration comes and goes */
} soaks[] = {
        {"rome xAPIC, flat, 8 processors", MODEL_ROME, BY_AVIC, 8, true, false, false},
        {"rome xAPIC, cluster, 3 processors", MODEL_ROME, BY_AVIC, 3, true, true, false},
        {"milan xAPIC, cluster, 8 processors", MODEL_MILAN, BY_AVIC, 8, true, true, false},
        {"milan xAPIC, flat, 3 processors", MODEL_MILAN, BY_AVIC, 3, true, false, false},
        {"genoa xAPIC, flat, 2 processors", MODEL_GENOA, BY_AVIC, 2, true, false, false},
        {"genoa x2APIC, 8 processors", MODEL_GENOA, BY_AVIC, 8, false, false, false},
        {"genoa x2APIC, 3 processors", MODEL_GENOA, BY_AVIC, 3, false, false, false},
        {"broadwell unposted x2APIC, 3 processors", UNPOSTED, BY_APICV, 3, false, false, false},
        {"broadwell xAPIC, flat, 8 processors", MODEL_BROADWELL, BY_APICV, 8, true, false, false},
        {"broadwell xAPIC, cluster, 3 processors", MODEL_BROADWELL, BY_APICV, 3, true, true, false},
        {"broadwell x2APIC, 8 processors", MODEL_BROADWELL, BY_APICV, 8, false, false, false},
        {"broadwell x2APIC, 2 processors", MODEL_BROADWELL, BY_APICV, 2, false, false, false},
        {"broadwell x2APIC, 3 processors, toggled", MODEL_BROADWELL, BY_APICV, 3, false, false,
         true},
        {"sapphire-rapids xAPIC, flat, 8 processors", MODEL_SAPPHIRE_RAPIDS, BY_IPIV, 8, true,
         false, false},
        {"sapphire-rapids xAPIC, cluster, 3 processors, toggled", MODEL_SAPPHIRE_RAPIDS, BY_IPIV, 3,
         true, true, true},
        {"sapphire-rapids x2APIC, 8 processors", MODEL_SAPPHIRE_RAPIDS, BY_IPIV, 8, false, false,
         false},
        {"sapphire-rapids x2APIC, 3 processors", MODEL_SAPPHIRE_RAPIDS, BY_IPIV, 3, false, false,
         false},
        {"sapphire-rapids x2APIC, 2 processors, toggled", MODEL_SAPPHIRE_RAPIDS, BY_IPIV, 2, false,
         false, true},
        {"westmere x2APIC, 3 processors", MODEL_WESTMERE, BY_NOBODY, 3, false, false, false},
};

/* Of one vCPU, and only its script touches it, but for what is atomic. */
struct person {
	u32 number[VCPUS];         /* atomic: of the last ping, by target */
	u32 seen[VCPUS];           /* by sender */
	u32 waiting;               /* targets that have not answered */
	u32 random;                /* state */
	u32 id;                    /* APIC ID */
	u32 quiet;                 /* atomic */
	u64 sent, pings;           /* requests, one for each target; pings among them */
	u64 by_form[FORMS];        /* of `sent`; FORM_SEVERAL is the rest */
	u64 handled __aligned(64); /* atomic: the watchdog looks */
} __aligned(64);

static u64 total = TOTAL;
static u32 rows; /* that are run */
static struct {
	const struct soak *soak;
	u32 senders;
	u64 quota; /* requests of each sender */
	u32 up, done;
	u32 id[VCPUS]; /* by g_index(), of each script its own */
	struct person person[VCPUS];
} run;

static u32 by_chance(struct person *me, u32 n)
{
	me->random = me->random * 1664525u + 1013904223u;
	return (u32)((u64)me->random * n >> 32);
}

static u32 load(const u32 *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

/* Scripts are numbered as they start, people by APIC ID. */
static struct person *self(void)
{
	return &run.person[run.id[g_index()]];
}

static void find_self(void)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	run.id[g_index()] = r.ebx >> 24;
	self()->id = r.ebx >> 24;
}

/* --- the forms of an IPI. Interrupts are off: ICR is two registers in xAPIC mode --- */

static void put_icr(u32 dest, u32 low)
{
	g_apic_icr(dest, APIC_LEVEL_ASSERT | low);
}

static void send_unicast(struct person *me, u32 target, u32 vector)
{
	enum form form = FORM_ONE;

	if (target == me->id && by_chance(me, 2))
		form = !run.soak->xapic && by_chance(me, 2) ? FORM_SELF_ICR : FORM_SELF;
	me->by_form[form]++;
	if (form == FORM_ONE)
		put_icr(target, vector);
	else if (form == FORM_SELF && !run.soak->xapic)
		g_wrmsr(MSR_X2APIC_FIRST + APIC_SELF / 16, vector);
	else
		put_icr(0, APIC_DEST_SELF | vector);
}

/* A logical destination that names several; returns whom it reaches. */
static u32 logical(struct person *me, u32 *dest)
{
	u32 mask = 1 + by_chance(me, EVERYBODY);
	u32 half;

	if (!run.soak->cluster) {
		/* Flat, FFh would be everybody too; x2APIC: cluster 0 has sixteen places. */
		*dest = mask;
		return mask;
	}
	half = by_chance(me, 2);
	mask = mask % 15 + 1;
	*dest = half << 4 | mask;
	return mask << 4 * half;
}

/* To `form`'s targets; `told` is called with them before the interrupt is sent. */
static void send_some(struct person *me, u32 vector, void (*told)(struct person *me, u32 mask))
{
	u32 mask, dest;

	switch (by_chance(me, 4 * BIG_BURSTS)) {
	case 0:
		mask = logical(me, &dest);
		told(me, mask);
		put_icr(dest, APIC_DEST_LOGICAL | vector);
		break;
	case 1:
		told(me, EVERYBODY & ~BIT(me->id));
		put_icr(0, APIC_DEST_OTHERS | vector);
		break;
	case 2:
		told(me, EVERYBODY);
		put_icr(0, APIC_DEST_ALL | vector);
		break;
	case 3:
		told(me, EVERYBODY);
		put_icr(run.soak->xapic ? BROADCAST : ~0u, vector);
		break;
	default:
		dest = by_chance(me, VCPUS);
		told(me, BIT(dest));
		send_unicast(me, dest, vector);
	}
}

/* --- handlers --- */

static void count_handled(struct person *me)
{
	__atomic_store_n(&me->handled, me->handled + 1, __ATOMIC_RELAXED);
}

/* Sometimes open to higher classes, before or behind EOI. */
static void end(struct person *me)
{
	if (by_chance(me, 16) == 0) {
		g_sti();
		g_nop();
		g_cli();
	}
	g_apic_eoi();
}

static void on_ping(u8 vector, u32 error __unused)
{
	struct person *me = self();
	u32 from = (vector - VECTOR_PING) / 16u;
	u32 number = load(&run.person[from].number[me->id]);

	G_CHECK_EQUAL(number, me->seen[from] + 1);
	me->seen[from] = number;
	me->sent++;
	count_handled(me);
	send_unicast(me, from, VECTOR_ACK + 16 * me->id);
	end(me);
}

static void on_ack(u8 vector, u32 error __unused)
{
	struct person *me = self();
	u32 bit = BIT((vector - VECTOR_ACK) / 16u);

	G_CHECK(me->waiting & bit);
	me->waiting &= ~bit;
	count_handled(me);
	end(me);
}

static void on_noise(u8 vector __unused, u32 error __unused)
{
	struct person *me = self();

	count_handled(me);
	end(me);
}

static void on_quiet(u8 vector __unused, u32 error __unused)
{
	struct person *me = self();

	count_handled(me);
	__atomic_store_n(&me->quiet, 1, __ATOMIC_SEQ_CST);
	g_apic_eoi();
}

/* --- the course --- */

/* Until an interrupt comes. The thread is polite, the guest has no part in that. */
static void spin(struct person *me)
{
	u64 before = me->handled;

	g_sti();
	do {
		g_pause();
		sched_yield();
	} while (*(volatile u64 *)&me->handled == before);
}

/* Interrupts are off, and are let in. */
static void let_in(struct person *me)
{
	if (run.soak->cpus >= VCPUS && by_chance(me, 32) == 0) {
		spin(me);
		g_cli();
		return;
	}
	switch (by_chance(me, 16)) {
	case 0:
		g_sti();
		for (u32 i = by_chance(me, 8); i; i--)
			g_pause();
		g_nop();
		break;
	case 1:
		g_sti();
		g_write_cr8(by_chance(me, 12));
		g_write_cr8(0);
		break;
	default:
		g_sti();
		g_hlt();
		break;
	}
	g_cli();
}

static void note_ping(struct person *me, u32 mask)
{
	me->waiting = mask;
	for (; mask; mask &= mask - 1) {
		u32 *number = &me->number[__builtin_ctz(mask)];

		__atomic_store_n(number, *number + 1, __ATOMIC_SEQ_CST);
		me->sent++;
		me->pings++;
	}
}

static void note_noise(struct person *me, u32 mask)
{
	me->sent += (u32)__builtin_popcount(mask);
}

static void send_all(struct person *me)
{
	while (me->sent < run.quota) {
		send_some(me, VECTOR_PING + 16 * me->id, note_ping);
		for (u32 i = by_chance(me, 4) ? 0 : 1 + by_chance(me, 3); i; i--)
			send_some(me, VECTOR_NOISE + by_chance(me, NOISES), note_noise);
		while (me->waiting)
			let_in(me);
	}
}

static void enable_apic(u32 id)
{
	g_apic_enable();
	if (!run.soak->xapic)
		return;
	g_apic_write(APIC_DFR, run.soak->cluster ? 0x0fffffff : 0xffffffff);
	g_apic_write(APIC_LDR,
	             run.soak->cluster ? (id / 4 << 4 | BIT(id % 4)) << 24 : BIT(id) << 24);
}

static void part(struct person *me)
{
	if (me->id < run.senders)
		send_all(me);
	me->sent++;
	__atomic_fetch_add(&run.done, 1, __ATOMIC_SEQ_CST);
	send_unicast(me, 0, VECTOR_NOISE);
}

static void ap(void *arg __unused)
{
	struct person *me;

	find_self();
	me = self();
	enable_apic(me->id);
	__atomic_fetch_add(&run.up, 1, __ATOMIC_SEQ_CST);
	/* The first interrupt says that all are there. */
	while (load(&run.up) <= VCPUS)
		let_in(me);
	part(me);
	for (;;)
		let_in(me);
}

static void bsp(void *arg __unused)
{
	struct person *me;

	for (u32 i = 0; i < VCPUS; i++) {
		g_set_handler((u8)(VECTOR_PING + 16 * i), on_ping);
		g_set_handler((u8)(VECTOR_ACK + 16 * i), on_ack);
	}
	for (u32 i = 0; i < NOISES; i++)
		g_set_handler((u8)(VECTOR_NOISE + i), on_noise);
	g_set_handler(VECTOR_QUIET, on_quiet);
	find_self();
	me = self();
	enable_apic(me->id);
	g_start_aps();
	while (load(&run.up) < VCPUS - 1)
		g_pause();
	/* Beyond the last of them, so that who wakes early goes on waiting. */
	__atomic_store_n(&run.up, 2 * VCPUS, __ATOMIC_SEQ_CST);
	note_noise(me, EVERYBODY);
	put_icr(0, APIC_DEST_ALL | VECTOR_NOISE);
	part(me);
	while (load(&run.done) < VCPUS)
		let_in(me);
	note_noise(me, EVERYBODY);
	put_icr(0, APIC_DEST_ALL | VECTOR_QUIET);
	/* Nobody says any more that he is through. */
	g_sti();
	for (u32 i = 0; i < VCPUS; i++)
		while (!load(&run.person[i].quiet))
			g_pause();
	g_exit(0);
}

/* --- the watchdog --- */

static u64 handled(void)
{
	u64 sum = 0;

	for (u32 i = 0; i < VCPUS; i++)
		sum += __atomic_load_n(&run.person[i].handled, __ATOMIC_RELAXED);
	return sum;
}

static void say_where(void)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, harness_vm) {
		printf("# vCPU %u: waits for %x, state %u, mode %u, acceleration %u, IRR",
		       vcpu->index, run.person[vcpu->index].waiting,
		       atomic32_read(&vcpu->sched_state), atomic32_read(&vcpu->mode),
		       atomic32_read(&vcpu->accel.mode));
		for (u32 i = 8; i--;)
			printf(" %08x", lapic_register(&vcpu->lapic, APIC_IRR + i * 16));
		printf(", apart");
		for (u32 i = ARRAY_SIZE(vcpu->accel.apart.word); i--;)
			printf(" %016llx",
			       (unsigned long long)atomic64_read(&vcpu->accel.apart.word[i]));
		printf(", control %llx\n",
		       (unsigned long long)atomic64_read(&vcpu->accel.apart.control));
	}
}

static u32 over; /* atomic */

static void *watch(void *arg __unused)
{
	u64 last = ~0ull;
	u32 still = 0;

	while (!load(&over)) {
		u64 now = handled();

		still = now == last ? still + 1 : 0;
		last = now;
		if (still > WATCH_S * 10) {
			printf("# nobody has handled an interrupt for %u seconds\n", WATCH_S);
			say_where();
			fflush(stdout);
			abort();
		}
		usleep(100000);
	}
	return NULL;
}

/* --- the account --- */

struct sum {
	u64 sent, pings, handled, delivered, by_hardware, coalesced;
	u64 wakeups, migrations, preempted, stopped, doorbells;
	u64 posted, posted_wakeups, changes;
};

static void check_lapic(const struct vcpu *vcpu)
{
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(lapic_register(&vcpu->lapic, APIC_IRR + i * 16), 0);
	for (u32 i = 0; i < ARRAY_SIZE(vcpu->accel.apart.word); i++)
		assert_int_equal(atomic64_read(&vcpu->accel.apart.word[i]), 0);
}

/* What a processor does by itself, and what it leaves to software. */
static void check_shares(u64 sent, u64 by_form[FORMS])
{
	const struct soak *soak = run.soak;
	bool accelerated = harness_vm->accel.modes;
	bool avic = accelerated && soak->forms == BY_AVIC;
	u64 carried = 0;

	assert_int_equal(accelerated, soak->forms != BY_NOBODY);
	by_form[FORM_SEVERAL] =
	        sent - by_form[FORM_SELF] - by_form[FORM_SELF_ICR] - by_form[FORM_ONE];
	for (u32 i = 0; i < FORMS; i++)
		carried += soak->forms >> i & 1 ? by_form[i] : 0;
	/*
	 * AVIC: left to software are INIT and start-up, and, while some are in the flat model and some in the
	 * cluster model, those few. On VMX there is no such time, and all that is taken the processor delivers; unless
	 * acceleration is off at times.
	 */
	assert_int_equal(harness_counter(COUNTER_IPI_EMULATED), avic ? 2 : 0);
	assert_in_range(carried - harness_counter(COUNTER_HW_REQUESTS), 0,
	                soak->toggled           ? carried
	                : avic && soak->cluster ? sent / 2
	                                        : 0);
	assert_int_equal(harness_both(COUNTER_HW_REQUESTS, COUNTER_ACCEPTED),
	                 accelerated ? sent : 0);
	if (!accelerated)
		assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), 0);
	else if (!avic && !soak->toggled)
		assert_int_equal(harness_counter(COUNTER_INJ_IPI), 0);
}

/* Who is woken by the wakeup vector had its notification sent by a processor. */
static void check_posting(void)
{
	u64 woken = harness_counter(COUNTER_POSTED_WAKEUPS);

	assert_in_range(
	        woken, 0,
	        min_u64(harness_counter(COUNTER_WAKEUPS), harness_counter(COUNTER_HW_DOORBELLS)));
	if (!(run.soak->features & MODEL_IPIV))
		assert_int_equal(woken, 0);
}

static void account(struct sum *sum)
{
	u64 coalesced = harness_both(COUNTER_COALESCED, COUNTER_HW_COALESCED);
	u64 by_hardware = harness_counter(COUNTER_HW_DELIVERED);
	u64 delivered = by_hardware + harness_counter(COUNTER_INJ_IPI);
	u64 sent = 0, by_form[FORMS] = {0};
	struct vcpu *vcpu;

	for (u32 i = 0; i < VCPUS; i++) {
		const struct person *person = &run.person[i];

		for (u32 form = 0; form < FORMS; form++)
			by_form[form] += person->by_form[form];

		for (u32 from = 0; from < VCPUS; from++)
			assert_int_equal(person->seen[from], run.person[from].number[i]);
		sent += person->sent;
		sum->pings += person->pings;
	}
	for_each_vcpu (vcpu, harness_vm)
		check_lapic(vcpu);
	check_shares(sent, by_form);
	check_posting();
	assert_int_equal(sent - coalesced, delivered);
	assert_int_equal(handled(), delivered);
	sum->sent += sent;
	sum->handled += handled();
	sum->delivered += delivered;
	sum->by_hardware += by_hardware;
	sum->coalesced += coalesced;
	sum->wakeups += harness_counter(COUNTER_WAKEUPS);
	sum->migrations += harness_counter(COUNTER_MIGRATIONS);
	sum->preempted += harness_counter(COUNTER_PREEMPTED);
	sum->stopped += harness_counter(COUNTER_IPI_STOPPED);
	sum->doorbells += harness_both(COUNTER_DOORBELLS, COUNTER_HW_DOORBELLS);
	sum->posted += harness_counter(COUNTER_HW_IPI);
	sum->posted_wakeups += harness_counter(COUNTER_POSTED_WAKEUPS);
	sum->changes += harness_counter(COUNTER_ACCEL_CHANGES);
}

static void run_chunk(const struct soak *soak, u32 seed, u64 interrupts, struct sum *sum)
{
	memset(&run, 0, sizeof(run));
	run.soak = soak;
	run.senders = BIT(seed % 4);
	/* A sender's own are half of what it causes: each ping is answered. */
	run.quota = interrupts / 2 / run.senders;
	for (u32 i = 0; i < VCPUS; i++)
		run.person[i].random = seed * 977u + i * 0x9e3779b9u;
	harness_create(&(struct harness){.vcpus = VCPUS,
	                                 .cpus = soak->cpus,
	                                 .features = soak->features,
	                                 .xapic = soak->xapic,
	                                 .toggled = soak->toggled ? TOGGLED : 0,
	                                 .threads = true});
	port_machine()->slice_tsc = SLICE_TSC;
	guest_bind(HARNESS_BSP, bsp, NULL);
	guest_bind(HARNESS_AP, ap, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	account(sum);
	harness_destroy();
}

static void say(const struct soak *soak, const struct sum *sum, double seconds)
{
	printf("# %s: %llu requests, %llu coalesced, %llu delivered (%llu by hardware), %.0f "
	       "per second\n",
	       soak->name, (unsigned long long)sum->sent, (unsigned long long)sum->coalesced,
	       (unsigned long long)sum->delivered, (unsigned long long)sum->by_hardware,
	       (double)sum->delivered / seconds);
	printf("#   %llu doorbells, %llu IPIs to who did not run, %llu wake-ups, %llu migrations, "
	       "%llu preempted\n",
	       (unsigned long long)sum->doorbells, (unsigned long long)sum->stopped,
	       (unsigned long long)sum->wakeups, (unsigned long long)sum->migrations,
	       (unsigned long long)sum->preempted);
	if (soak->features & MODEL_POSTED)
		printf("#   %llu posted by processors, %llu of the wake-ups by their wakeup vector, %llu changes of "
		       "acceleration\n",
		       (unsigned long long)sum->posted, (unsigned long long)sum->posted_wakeups,
		       (unsigned long long)sum->changes);
	fflush(stdout);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_soak(void **state)
{
	const struct soak *soak = *state;
	u64 share = total / rows;
	u64 chunk = min_u64(CHUNK, share / 4 + 1);
	double start = seconds_now();
	struct sum sum = {0};
	pthread_t watchdog;

	__atomic_store_n(&over, 0, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_create(&watchdog, NULL, watch, NULL), 0);
	for (u32 seed = (u32)(soak - soaks) * 4; sum.delivered < share; seed++)
		run_chunk(soak, seed, chunk, &sum);
	__atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
	pthread_join(watchdog, NULL);
	assert_true(sum.coalesced > 0);
	assert_true(sum.wakeups > 0);
	assert_int_equal(sum.posted_wakeups > 0, !!(soak->features & MODEL_IPIV));
	/* By hardware and without it, then. */
	if (soak->toggled)
		assert_in_range(sum.by_hardware, 1, sum.delivered - 1);
	/* With a processor for each, how many there are is the host's affair. */
	assert_true(sum.migrations > 0 || soak->cpus >= VCPUS);
	say(soak, &sum, seconds_now() - start);
}

/* Is the row one of `which`? */
static bool is_wanted(const struct soak *soak, const char *which)
{
	if (!strcmp(which, "posted"))
		return soak->features & MODEL_POSTED;
	return strcmp(which, "others") || !(soak->features & MODEL_POSTED);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[ARRAY_SIZE(soaks)];
	const char *which = argc > 2 ? argv[2] : "";

	if (argc > 1)
		total = strtoull(argv[1], NULL, 0);
	for (u32 i = 0; i < ARRAY_SIZE(soaks); i++)
		if (is_wanted(&soaks[i], which))
			tests[rows++] = (struct CMUnitTest){
			        .name = soaks[i].name,
			        .test_func = test_soak,
			        .initial_state = (void *)(uintptr_t)&soaks[i],
			};
	return _cmocka_run_group_tests("tests", tests, rows, NULL, NULL);
}
