/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The account as text. Rows come from the lists of postern/account.h, so that a new counter shows
 * up by itself; rows that are zero for every vCPU are left out, and sections without rows too.
 */
#include "cli/outcome.h"

#include <string.h>

#define ACCOUNT_MAX_COLUMNS 8
#define LABEL_WIDTH         24

enum unit {
	COUNT,
	NANOSECONDS
};

struct table {
	FILE *out;
	const struct account *vcpu;
	u32 vcpus;
	int width;         /* of a number's column */
	const char *title; /* of the section, until its first row is printed */
};

typedef u64 (*value_fn)(const struct account *account, u32 index);

static u64 value_exit(const struct account *account, u32 index)
{
	return account->exits[index];
}

static u64 value_counter(const struct account *account, u32 index)
{
	return account->counters[index];
}

static u64 value_exits(const struct account *account, __unused u32 index)
{
	return report_exits(account);
}

static u64 value_injected(const struct account *account, __unused u32 index)
{
	return report_injected(account);
}

static u64 value_ipis_sent(const struct account *account, __unused u32 index)
{
	return report_ipis_sent(account);
}

static u64 value_overhead(const struct account *account, __unused u32 index)
{
	return account->model_overhead;
}

u32 outcome_vcpus(const struct outcome *outcome, u32 vm)
{
	u64 vcpus = max_u64(outcome->options->vm[vm].vcpus, outcome->report->vm[vm].vcpus_seen);

	return (u32)min_u64(vcpus, REPORT_MAX_VCPUS);
}

static void print_value(const struct table *table, u64 value, enum unit unit)
{
	if (unit == NANOSECONDS)
		fprintf(table->out, "%*llu.%03llu", table->width - 4,
		        (unsigned long long)(value / 1000000000),
		        (unsigned long long)(value / 1000000 % 1000));
	else
		fprintf(table->out, "%*llu", table->width, (unsigned long long)value);
}

static void print_heads(const struct table *table)
{
	char head[16];

	fprintf(table->out, "%*s", LABEL_WIDTH, "");
	if (table->vcpus > ACCOUNT_MAX_COLUMNS) {
		fprintf(table->out, "%*s%*s", table->width, "smallest", table->width, "largest");
	} else {
		for (u32 v = 0; v < table->vcpus; v++) {
			snprintf(head, sizeof(head), "vcpu%u", v);
			fprintf(table->out, "%*s", table->width, head);
		}
	}
	fprintf(table->out, "%*s\n", table->width, "total");
}

static void print_row(struct table *table, const char *label, value_fn value, u32 index,
                      enum unit unit)
{
	u64 total = 0, smallest = UINT64_MAX, largest = 0;

	for (u32 v = 0; v < table->vcpus; v++) {
		u64 one = value(&table->vcpu[v], index);

		total += one;
		smallest = min_u64(smallest, one);
		largest = max_u64(largest, one);
	}
	if (total == 0)
		return;
	if (table->title) {
		fprintf(table->out, "%s\n", table->title);
		table->title = NULL;
	}
	fprintf(table->out, "  %-*s", LABEL_WIDTH - 2, label);
	if (table->vcpus > ACCOUNT_MAX_COLUMNS) {
		print_value(table, smallest, unit);
		print_value(table, largest, unit);
	} else {
		for (u32 v = 0; v < table->vcpus; v++)
			print_value(table, value(&table->vcpu[v], index), unit);
	}
	print_value(table, total, unit);
	fputc('\n', table->out);
}

static void print_exits(struct table *table)
{
	table->title = "exits, by cause";
	for (u32 i = 0; i < EXIT_KIND_COUNT; i++)
		print_row(table, report_exit_name(i), value_exit, i, COUNT);
	print_row(table, "all", value_exits, 0, COUNT);
	print_row(table, "model overhead (apart)", value_overhead, 0, COUNT);
}

/* The counters of one group, their names without the group's prefix. */
static void print_group(struct table *table, bool (*in_group)(u32))
{
	for (u32 i = 0; i < COUNTER_COUNT; i++) {
		if (in_group(i))
			print_row(table, report_counter_name(i) + 4, value_counter, i, COUNT);
	}
}

static void print_times(struct table *table)
{
	table->title = "time, in seconds";
	print_row(table, "asleep in HLT", value_counter, COUNTER_HLT_NS, NANOSECONDS);
	print_row(table, "on a processor", value_counter, COUNTER_RUN_NS, NANOSECONDS);
	print_row(table, "waiting for one", value_counter, COUNTER_WAIT_NS, NANOSECONDS);
}

static bool counter_is_shown_apart(u32 counter)
{
	return report_counter_is_route(counter) || report_counter_is_ipi(counter) ||
	       counter == COUNTER_IPI_RECEIVED || counter == COUNTER_HLT_NS ||
	       counter == COUNTER_RUN_NS || counter == COUNTER_WAIT_NS;
}

static void print_rest(struct table *table)
{
	table->title = "events";
	for (u32 i = 0; i < COUNTER_COUNT; i++) {
		if (!counter_is_shown_apart(i))
			print_row(table, report_counter_name(i), value_counter, i, COUNT);
	}
}

/* --- acceleration --- */

/* Worth telling of: the VM can have it, or would be without it for more than that it has none. */
static bool has_apicv(const struct report_vm *vm, u32 vcpus)
{
	for (u32 i = 0; i < INHIBIT_COUNT; i++) {
		if (i != INHIBIT_DISABLED && i != INHIBIT_ABSENT &&
		    report_inhibit_total(vm, vcpus, i).sets)
			return true;
	}
	return vm->apicv.able;
}

static void print_number(const struct table *table, const char *label, u64 value, enum unit unit)
{
	fprintf(table->out, "  %-*s", LABEL_WIDTH - 2, label);
	print_value(table, value, unit);
	fputc('\n', table->out);
}

static void print_by(FILE *out, const struct report_inhibit *inhibit)
{
	if (inhibit->vcpu == INHIBIT_BY_HOST)
		fprintf(out, "  %s\n", report_inhibit_set_by(inhibit->reason));
	else
		fprintf(out, "  vCPU %u at RIP %llx\n", inhibit->vcpu,
		        (unsigned long long)inhibit->rip);
}

/* Every reason that was ever set, whether it stands or not. */
static void print_inhibits(const struct table *table, const struct report_vm *vm)
{
	fprintf(table->out, "%-*s%*s%*s%*s%*s%*s  last set by\n", LABEL_WIDTH, "inhibits",
	        table->width, "scope", table->width, "sets", table->width, "clears", table->width,
	        "seconds", table->width, "stands");
	for (u32 i = 0; i < INHIBIT_COUNT; i++) {
		struct report_inhibit total = report_inhibit_total(vm, table->vcpus, i);

		if (!total.sets)
			continue;
		fprintf(table->out, "  %-*s%*s", LABEL_WIDTH - 2, report_inhibit_name(i),
		        table->width, report_inhibit_is_vcpus(i) ? "vcpu" : "vm");
		print_value(table, total.sets, COUNT);
		print_value(table, total.clears, COUNT);
		print_value(table, total.held_ns, NANOSECONDS);
		fprintf(table->out, "%*s", table->width, total.stands ? "yes" : "no");
		print_by(table->out, &total);
	}
}

/* What a row's absence does not say by itself. */
static void print_unknown(FILE *out, const struct report_apicv *apicv)
{
	if (apicv->able && apicv->hw_counted == REPORT_HW_NOTHING)
		fputs("  what the processor does by itself is not known: it does not tell\n", out);
	if (apicv->hw_counted == REPORT_HW_SENDS)
		fputs("  modelled: what it sends; what it delivers by itself is not known: it does not tell\n",
		      out);
}

static void print_apicv(const struct table *table, const struct report_vm *vm,
                        const struct account *total)
{
	const struct report_apicv *apicv = &vm->apicv;

	if (!has_apicv(vm, table->vcpus))
		return;
	fputs("acceleration\n", table->out);
	print_unknown(table->out, apicv);
	print_number(table, "active, in seconds", apicv->active_ns, NANOSECONDS);
	print_number(table, "lock-shared", apicv->lock_shared, COUNT);
	print_number(table, "lock-exclusive", apicv->lock_exclusive, COUNT);
	print_number(table, "update-rounds", apicv->rounds, COUNT);
	print_number(table, "vcpus-kicked", apicv->kicked, COUNT);
	print_number(table, "mismatches", total->counters[COUNTER_ACCEL_MISMATCHES], COUNT);
	print_number(table, "zaps", apicv->zaps, COUNT);
	print_number(table, "remote-flushes", apicv->tlb_flushes, COUNT);
	print_number(table, "fault-retries", apicv->fault_retries, COUNT);
	print_inhibits(table, vm);
}

/* Wide enough for the largest number in any column and two blanks. */
static int column_width(const struct account *total, const struct report_apicv *apicv)
{
	u64 largest = max_u64(report_exits(total), report_injected(total));
	int width = 10;

	for (u32 i = 0; i < COUNTER_COUNT; i++) {
		if (i != COUNTER_HLT_NS && i != COUNTER_RUN_NS && i != COUNTER_WAIT_NS)
			largest = max_u64(largest, total->counters[i]);
	}
	largest = max_u64(largest, max_u64(apicv->lock_shared, apicv->lock_exclusive));
	for (u64 limit = 100000000; width < 22 && largest >= limit; limit *= 10) {
		width++;
		if (limit > UINT64_MAX / 10)
			break;
	}
	return width;
}

static void print_title(FILE *out, const struct outcome *outcome, u32 vm)
{
	const struct outcome_vm *end = &outcome->vm[vm];
	u32 vcpus = outcome_vcpus(outcome, vm);

	fputs("postern: ", out);
	if (outcome->options->vms > 1)
		fprintf(out, "vm%u: ", vm);
	fprintf(out, "%s, %u vCPU%s on %u CPU%s; %s%s", outcome->options->vm[vm].cpu, vcpus,
	        vcpus == 1 ? "" : "s", outcome->options->pcpus,
	        outcome->options->pcpus == 1 ? "" : "s", end->ended ? "ended: " : "",
	        end->ended ? end->ended : "running");
	if (end->code != 0)
		fprintf(out, ", code %d", end->code);
	fprintf(out, "; elapsed: %llu.%03llu s\n",
	        (unsigned long long)(end->elapsed_ns / 1000000000),
	        (unsigned long long)(end->elapsed_ns / 1000000 % 1000));
}

static void print_vm(FILE *out, const struct outcome *outcome, u32 vm)
{
	const struct report_vm *report = &outcome->report->vm[vm];
	struct table table = {
	        .out = out, .vcpu = report->vcpu, .vcpus = outcome_vcpus(outcome, vm)};
	struct account total;

	print_title(out, outcome, vm);
	if (report->vcpus_seen == 0) {
		fputs("postern: no account: the image has sent none\n", out);
		return;
	}
	report_total(report, table.vcpus, &total);
	table.width = column_width(&total, &report->apicv);
	print_heads(&table);
	print_exits(&table);
	table.title = "interrupts injected, by route";
	print_group(&table, report_counter_is_route);
	print_row(&table, "all interrupts", value_injected, 0, COUNT);
	table.title = "IPIs sent, by kind";
	print_group(&table, report_counter_is_ipi);
	print_row(&table, "all sent", value_ipis_sent, 0, COUNT);
	print_row(&table, "received", value_counter, COUNTER_IPI_RECEIVED, COUNT);
	print_times(&table);
	print_rest(&table);
	print_apicv(&table, report, &total);
}

void account_print(FILE *out, const struct outcome *outcome)
{
	for (u32 vm = 0; vm < outcome->options->vms; vm++)
		print_vm(out, outcome, vm);
}
