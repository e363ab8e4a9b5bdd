/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Record contents. Every index and count is checked against this build's lists; a record that does
 * not hold together is refused whole, and the state stays as it was. Accounts are absolute, not
 * increments: each replaces the one before, so that a lost record costs freshness only.
 */
#include "cli/report.h"

#include <string.h>

static const char *const exit_names[] = {
#define X(id, name, what) [EXIT_##id] = name,
        EXIT_KINDS(X)
#undef X
};

static const char *const counter_names[] = {
#define X(id, name, what) [COUNTER_##id] = name,
        COUNTERS(X)
#undef X
};

static const char *const ending_names[] = {
#define X(id, name) [ENDED_##id] = name,
        ENDINGS(X)
#undef X
};

static const struct {
	const char *name;
	bool of_vcpu;
	const char *set_by;
} inhibits[] = {
#define X(id, name, scope, needs, what, set_by, cleared_by, test)                                  \
	[INHIBIT_##id] = {name, INHIBIT_SCOPE_##scope == INHIBIT_SCOPE_VCPU, set_by},
        INHIBITS(X)
#undef X
};

const char *report_exit_name(u32 kind)
{
	return exit_names[kind];
}

const char *report_counter_name(u32 counter)
{
	return counter_names[counter];
}

const char *report_ending_name(u32 ending)
{
	return ending_names[ending];
}

const char *report_inhibit_name(u32 reason)
{
	return inhibits[reason].name;
}

bool report_inhibit_is_vcpus(u32 reason)
{
	return inhibits[reason].of_vcpu;
}

const char *report_inhibit_set_by(u32 reason)
{
	return inhibits[reason].set_by;
}

bool report_counter_is_route(u32 counter)
{
	return strncmp(counter_names[counter], "inj-", 4) == 0;
}

bool report_counter_is_ipi(u32 counter)
{
	return counter != COUNTER_IPI_RECEIVED && strncmp(counter_names[counter], "ipi-", 4) == 0;
}

u64 report_exits(const struct account *account)
{
	u64 sum = 0;

	for (u32 i = 0; i < EXIT_KIND_COUNT; i++)
		sum += account->exits[i];
	return sum;
}

u64 report_injected(const struct account *account)
{
	u64 sum = 0;

	for (u32 i = 0; i < COUNTER_COUNT; i++) {
		if (report_counter_is_route(i) && i != COUNTER_INJ_EXCEPTION &&
		    i != COUNTER_INJ_AGAIN)
			sum += account->counters[i];
	}
	return sum;
}

u64 report_ipis_sent(const struct account *account)
{
	u64 sum = 0;

	for (u32 i = 0; i < COUNTER_COUNT; i++) {
		if (report_counter_is_ipi(i))
			sum += account->counters[i];
	}
	return sum;
}

void report_total(const struct report_vm *vm, u32 vcpus, struct account *total)
{
	memset(total, 0, sizeof(*total));
	for (u32 v = 0; v < vcpus && v < REPORT_MAX_VCPUS; v++) {
		const struct account *account = &vm->vcpu[v];

		for (u32 i = 0; i < EXIT_KIND_COUNT; i++)
			total->exits[i] += account->exits[i];
		for (u32 i = 0; i < COUNTER_COUNT; i++)
			total->counters[i] += account->counters[i];
		total->model_overhead += account->model_overhead;
	}
}

struct report_inhibit report_inhibit_total(const struct report_vm *vm, u32 vcpus, u32 reason)
{
	struct report_inhibit total = {.reason = (u8)reason};
	u64 longest = 0;

	if (!report_inhibit_is_vcpus(reason))
		return vm->inhibit[reason];
	for (u32 v = 0; v < vcpus && v < REPORT_MAX_VCPUS; v++) {
		const struct report_inhibit *one = &vm->vcpu_inhibit[v][reason];

		if (one->sets && (!total.sets || one->held_ns > longest)) {
			longest = one->held_ns;
			total.vcpu = one->vcpu;
			total.rip = one->rip;
		}
		total.sets += one->sets;
		total.clears += one->clears;
		total.held_ns += one->held_ns;
		total.stands |= one->stands;
	}
	return total;
}

void report_init(struct report *report, report_text_fn on_text, void *context)
{
	memset(report, 0, sizeof(*report));
	report->on_text = on_text;
	report->context = context;
}

static bool take_hello(struct report *report, const u8 *payload)
{
	struct report_hello hello;

	memcpy(&hello, payload, sizeof(hello));
	if (!memchr(hello.cpu, 0, sizeof(hello.cpu)) ||
	    !memchr(hello.backend, 0, sizeof(hello.backend)))
		return false;
	report->has_hello = true;
	report->hello = hello;
	report->foreign = hello.version != REPORT_VERSION || hello.exit_kinds != EXIT_KIND_COUNT ||
	                  hello.counters != COUNTER_COUNT;
	return true;
}

static bool take_text(struct report *report, const struct report_header *h, const u8 *payload)
{
	char text[REPORT_MAX_LEN + 1];

	for (u32 i = 0; i < h->len; i++)
		text[i] = payload[i] < ' ' || payload[i] == 0x7f ? '?' : (char)payload[i];
	text[h->len] = 0;
	if (h->type == REPORT_PANIC)
		report->panicked = true;
	if (report->on_text)
		report->on_text(report->context, h->type, text);
	return true;
}

static bool take_status(struct report_vm *vm, const u8 *payload)
{
	struct report_status status;

	memcpy(&status, payload, sizeof(status));
	if (status.phase > REPORT_PHASE_ENDING)
		return false;
	vm->status = status;
	vm->elapsed_ns = max_u64(vm->elapsed_ns, status.elapsed_ns);
	return true;
}

static void account_put(struct account *account, u32 index, u64 value)
{
	if (index < EXIT_KIND_COUNT)
		account->exits[index] = value;
	else if (index < EXIT_KIND_COUNT + COUNTER_COUNT)
		account->counters[index - EXIT_KIND_COUNT] = value;
	else
		account->model_overhead = value;
}

static bool take_account(struct report *report, const struct report_header *h, const u8 *payload)
{
	struct report_vm *vm = &report->vm[h->vm];
	struct report_account head;
	struct report_item item;
	struct account account = {0};

	memcpy(&head, payload, sizeof(head));
	payload += sizeof(head);
	if (head.vcpu >= REPORT_MAX_VCPUS ||
	    h->len != sizeof(head) + (u32)head.count * sizeof(struct report_item))
		return false;
	for (u32 i = 0; i < head.count; i++) {
		memcpy(&item, payload + i * sizeof(item), sizeof(item));
		if (!report->foreign && item.index > EXIT_KIND_COUNT + COUNTER_COUNT)
			return false;
		account_put(&account, item.index, item.value);
	}
	if (report->foreign)
		return true; /* a record, but its indices mean something else */
	vm->vcpu[head.vcpu] = account;
	vm->vcpus_seen = (u32)max_u64(vm->vcpus_seen, head.vcpu + 1u);
	vm->elapsed_ns = max_u64(vm->elapsed_ns, head.elapsed_ns);
	return true;
}

static bool take_answer(struct report *report, const struct report_header *h, const u8 *payload)
{
	struct report_answer answer;
	u32 len = h->len - (u32)sizeof(answer);

	memcpy(&answer, payload, sizeof(answer));
	payload += sizeof(answer);
	report->answered = true;
	report->answer_sequence = answer.sequence;
	for (u32 i = 0; i < len; i++)
		report->answer[i] = payload[i] < ' ' || payload[i] >= 0x7f ? '?' : (char)payload[i];
	report->answer[len] = 0;
	return true;
}

static bool take_apicv(struct report_vm *vm, const u8 *payload)
{
	struct report_apicv apicv;

	memcpy(&apicv, payload, sizeof(apicv));
	if (apicv.able > 1 || apicv.hw_counted >= REPORT_HW_COUNT ||
	    (apicv.hw_counted && !apicv.able))
		return false;
	vm->apicv = apicv;
	return true;
}

/* A reason once, and where it belongs; set by somebody who can be. Counts may have been changing. */
static bool inhibit_holds(const struct report_inhibit *item, const struct report_inhibit *before,
                          bool of_vcpu)
{
	return item->reason < INHIBIT_COUNT && !before[item->reason].sets && item->sets &&
	       item->stands <= 1 && inhibits[item->reason].of_vcpu == of_vcpu &&
	       (item->vcpu < REPORT_MAX_VCPUS || item->vcpu == INHIBIT_BY_HOST);
}

static bool take_inhibits(struct report *report, const struct report_header *h, const u8 *payload)
{
	struct report_vm *vm = &report->vm[h->vm];
	struct report_inhibit item, taken[INHIBIT_COUNT] = {0};
	struct report_inhibits head;
	bool of_vcpu;

	memcpy(&head, payload, sizeof(head));
	payload += sizeof(head);
	of_vcpu = head.vcpu != REPORT_OF_VM;
	if ((of_vcpu && head.vcpu >= REPORT_MAX_VCPUS) || head.count > head.reasons ||
	    h->len != sizeof(head) + (u32)head.count * sizeof(item))
		return false;
	if (report->foreign || head.reasons != INHIBIT_COUNT)
		return true; /* a record, but its reasons mean something else */
	for (u32 i = 0; i < head.count; i++) {
		memcpy(&item, payload + i * sizeof(item), sizeof(item));
		if (!inhibit_holds(&item, taken, of_vcpu))
			return false;
		taken[item.reason] = item;
	}
	memcpy(of_vcpu ? vm->vcpu_inhibit[head.vcpu] : vm->inhibit, taken, sizeof(taken));
	return true;
}

static bool take_end(struct report *report, struct report_vm *vm, const u8 *payload)
{
	struct report_end end;

	memcpy(&end, payload, sizeof(end));
	if (end.ended == ENDED_RUNNING || end.ended >= ENDING_COUNT)
		return false;
	report->ended = true;
	vm->ended = true;
	vm->ending = end.ended;
	vm->code = end.code;
	vm->elapsed_ns = end.elapsed_ns;
	return true;
}

static bool take_console(struct report *report, const struct report_header *h, const u8 *payload)
{
	if (report->on_console)
		report->on_console(report->context, h->vm, payload, h->len);
	return true;
}

static bool take_debug(struct report *report, const struct report_header *h, const u8 *payload)
{
	struct report_debug head;

	memcpy(&head, payload, sizeof(head));
	if (report->on_debug)
		report->on_debug(report->context, &head, payload + sizeof(head),
		                 h->len - sizeof(head));
	return true;
}

bool report_take(void *context, const struct report_header *h, const u8 *payload)
{
	struct report *report = context;

	if (h->vm >= MAX_VMS)
		return false;
	switch (h->type) {
	case REPORT_HELLO:
		return take_hello(report, payload);
	case REPORT_LOG:
	case REPORT_PANIC:
		return take_text(report, h, payload);
	case REPORT_STATUS:
		return take_status(&report->vm[h->vm], payload);
	case REPORT_ACCOUNT:
		return take_account(report, h, payload);
	case REPORT_APICV:
		return take_apicv(&report->vm[h->vm], payload);
	case REPORT_INHIBITS:
		return take_inhibits(report, h, payload);
	case REPORT_END:
		return take_end(report, &report->vm[h->vm], payload);
	case REPORT_ANSWER:
		return take_answer(report, h, payload);
	case REPORT_CONSOLE:
		return take_console(report, h, payload);
	case REPORT_DEBUG:
		return take_debug(report, h, payload);
	default:
		return false;
	}
}
