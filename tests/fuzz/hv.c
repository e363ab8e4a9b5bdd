/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random guests of Hyper-V's interface on two vCPUs: any of its MSRs with any value, pages anywhere,
 * hypercalls with any input, writes into the message page at any time, EOI, INIT, time. Over the fakes
 * of the unit tests and the real local APIC.
 *
 * After each operation: locks are free; HYPERV stands if and only if a SINT has AutoEOI in force, and
 * the local APIC knows its vectors; no such vector is in service but what was so before; what waits is
 * counted; timers are armed for what their registers say. Memory outside of the guest's pages is
 * AddressSanitizer's.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/hv_guest.h"

#include "irq/inhibit.h"

#define MOST_OPERATIONS 48
#define VCPUS           2

static struct fuzz_input in;

/* ---- operations ---- */

static u64 some_page(void)
{
	static const u64 pages[] = {MESSAGES(0),
	                            MESSAGES(1),
	                            FLAGS(0),
	                            OTHER_PAGE,
	                            NO_RAM,
	                            HV_RAM + HV_RAM_SIZE - PAGE_SIZE,
	                            HV_RAM + HV_RAM_SIZE,
	                            0};

	return pages[fuzz_u8(&in) % ARRAY_SIZE(pages)];
}

static u64 some_value(void)
{
	u8 how = fuzz_u8(&in);

	switch (how % 8) {
	case 0:
		return some_page() | (how >> 3 & 3);
	case 1: /* a SINT */
		return fuzz_u8(&in) | (u64)(how >> 3 & 7) << 16;
	case 2: /* a timer's configuration */
		return (how >> 3 & 31) | (u64)fuzz_u8(&in) << 4 | (u64)(fuzz_u8(&in) & 15) << 16;
	case 3: /* a time soon, or a period */
		return hv_rd(0, MSR_HV_TIME_REF) * (how >> 7) + fuzz_u16(&in);
	case 4:
		return how >> 3;
	case 5:
		return ~(u64)fuzz_u8(&in);
	default:
		return fuzz_u64(&in);
	}
}

static u32 some_msr(void)
{
	return MSR_HV_FIRST + fuzz_u8(&in);
}

static void do_call(u32 i)
{
	u64 *gpr = cpu(i)->regs.gpr;
	struct hv_post_message *message = hv_ram(OTHER_PAGE);
	u8 how = fuzz_u8(&in);

	message->connection = 0x010000u | (how & 1) << 8 | SINT;
	message->type = how & 2 ? fuzz_u32(&in) : 1;
	message->size = how & 4 ? fuzz_u32(&in) : 16;
	hv_fake.code_mode = how & 8 ? 4 : 8;
	gpr[GPR_RCX] = (how & 16 ? HV_CALL_POST_MESSAGE : HV_CALL_SIGNAL_EVENT) |
	               (how & 32 ? HV_CALL_FAST : 0);
	gpr[GPR_RDX] = how & 64 ? fuzz_u64(&in) : OTHER_PAGE;
	if (how & 32)
		gpr[GPR_RDX] = 0x020000u | (how & 1) << 8 | SINT | (u64)fuzz_u16(&in) << 32;
	if (how & 128)
		gpr[GPR_RCX] ^= fuzz_u64(&in);
	hv_call_handle(cpu(i));
}

static void take_interrupts(u32 i)
{
	if (hv_take(i) >= 0 && fuzz_u8(&in) & 1)
		wr(i, APIC_EOI, 0);
}

static void one_operation(void)
{
	u8 op = fuzz_u8(&in);
	u32 i = op >> 7;
	u64 value;
	u32 msr;

	switch (op % 10) {
	case 0 ... 2:
		msr = some_msr();
		hv_msr_write(cpu(i), msr, some_value());
		break;
	case 3:
		hv_msr_read(cpu(i), some_msr(), &value);
		break;
	case 4:
		do_call(i);
		break;
	case 5: /* the guest's memory, wherever its pages are */
		hv_fake.ram[fuzz_u16(&in) % HV_RAM_SIZE] = op >> 6 & 1 ? fuzz_u8(&in) : 0;
		break;
	case 6:
		take_interrupts(i);
		break;
	case 7:
		hv_advance((u64)fuzz_u16(&in) << (op >> 4 & 7));
		break;
	case 8: /* SynIC as most tests have it, or gone */
		if (op >> 6 & 1)
			hv_reset(cpu(i));
		else
			hv_synic_on(i);
		break;
	default:
		accept(i, fuzz_u8(&in) | 16, op >> 6 & 1);
		break;
	}
	hv_requests(1);
}

/* ---- what holds after each ---- */

static void check_lock(const struct spinlock *lock, const char *whose)
{
	FUZZ_CHECK(lock->next.v == lock->owner.v, "%s: a lock is held", whose);
}

/* Of a vCPU; true: it has a SINT with AutoEOI in force. */
static bool check_sints(u32 i)
{
	const struct synic *synic = &cpu(i)->hv->synic;
	u32 vectors[LAPIC_VECTOR_WORDS] = {0};
	bool any = false;

	for (u32 n = 0; n < HV_SINTS; n++) {
		u64 sint = synic->sint[n];

		FUZZ_CHECK(sint & HV_SINT_MASKED || (sint & 0xff) >= 16, "SINT %u: %llx", n,
		           (unsigned long long)sint);
		if (!(sint & HV_SINT_AUTO_EOI) || sint & (HV_SINT_MASKED | HV_SINT_POLLING))
			continue;
		vectors[(u8)sint / 32] |= BIT(sint % 32);
		any = true;
	}
	FUZZ_CHECK(cpu(i)->lapic.auto_eoi == any, "vCPU %u: AutoEOI", i);
	FUZZ_CHECK(!memcmp(vectors, cpu(i)->lapic.auto_eoi_vectors, sizeof(vectors)),
	           "vCPU %u: vectors with AutoEOI", i);
	return any;
}

static void check_messages(u32 i)
{
	const struct synic *synic = &cpu(i)->hv->synic;
	u32 waiting = 0;

	for (u32 n = 0; n < SYNIC_BUFFERS; n++) {
		const struct synic_buffer *buffer = &synic->buffer[n];

		waiting += buffer->queued;
		if (buffer->queued)
			FUZZ_CHECK(buffer->sint < HV_SINTS && buffer->message.type &&
			                   (u8)buffer->message.size_flags <= HV_MESSAGE_PAYLOAD,
			           "vCPU %u: message %u", i, n);
	}
	FUZZ_CHECK(cpu(i)->lapic.messages_wait.v == waiting, "vCPU %u: %u wait, not %u", i, waiting,
	           cpu(i)->lapic.messages_wait.v);
	check_lock(&synic->lock, "SynIC");
}

static void check_timers(u32 i)
{
	for (u32 n = 0; n < HV_STIMERS; n++) {
		const struct stimer *stimer = &cpu(i)->hv->stimer[n];
		bool counts = stimer->due != TSC_NEVER;

		FUZZ_CHECK(!(stimer->config & ~HV_STIMER_VALID), "timer %u: reserved bits", n);
		if (!counts) {
			FUZZ_CHECK(fake_timer_deadline(&stimer->timer) == TSC_NEVER,
			           "timer %u: armed, and does not count", n);
			continue;
		}
		FUZZ_CHECK(stimer->config & HV_STIMER_ENABLED && stimer->count,
		           "timer %u: counts, disabled", n);
		FUZZ_CHECK(stimer->config & HV_STIMER_DIRECT ||
		                   stimer->config >> HV_STIMER_SINT_SHIFT & 15,
		           "timer %u: SINT 0", n);
		FUZZ_CHECK(fake_timer_deadline(&stimer->timer) ==
		                   hv_time_to_tsc(fake.vm, stimer->due),
		           "timer %u: armed for another time", n);
	}
}

static void check(void)
{
	u32 users = 0;

	for (u32 i = 0; i < VCPUS; i++) {
		users += check_sints(i);
		check_messages(i);
		check_timers(i);
	}
	FUZZ_CHECK(fake.vm->hv.auto_eoi_users.v == users, "%u users of AutoEOI, not %u", users,
	           fake.vm->hv.auto_eoi_users.v);
	FUZZ_CHECK(hv_fake.standing == (users ? INHIBIT_BIT(HYPERV) : 0), "inhibits: %x",
	           hv_fake.standing);
	check_lock(&fake.vm->hv.lock, "VM");
	check_lock(&fake.vm->hv.auto_eoi_lock, "AutoEOI");
}

/* An interrupt that ends when it is delivered is not in service afterwards. */
static void check_delivery(u32 i)
{
	int vector = lapic_deliverable(cpu(i));
	u32 before = rd(i, APIC_PPR);

	if (vector < 0 || !(cpu(i)->lapic.auto_eoi_vectors[vector / 32] & BIT(vector % 32)))
		return;
	lapic_ack(cpu(i), (u8)vector);
	FUZZ_CHECK(rd(i, APIC_PPR) == before, "PPR %x, not %x", rd(i, APIC_PPR), before);
	lapic_unack(cpu(i), (u8)vector);
	FUZZ_CHECK(vector_bit(i, APIC_IRR, (u8)vector), "vector %x: taken back and gone", vector);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	hv_fake_create(VCPUS);
	fake.vm->config.testdev = true;
	in = (struct fuzz_input){data, data + size};
	for (u32 n = 0; fuzz_left(&in) && n < MOST_OPERATIONS; n++) {
		one_operation();
		check();
		check_delivery(n % VCPUS);
	}
	hv_fake_destroy();
	return 0;
}
