/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The JSON report. Numbers are written as exact integers: a cJSON number is a double, which would
 * round counts above 2^53, so they go in as raw text. Every member is always there, zeros too;
 * readers need no special cases.
 *
 * A file is written beside its target, synced, and renamed over it, so that a reader sees the old
 * report or the new one and never half of one. A target that is not a regular file is written
 * directly: renaming over a device or a pipe would replace it.
 */
#include "cli/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/say.h"

static bool add_count(cJSON *object, const char *name, u64 value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return cJSON_AddRawToObject(object, name, text) != NULL;
}

static bool add_exits(cJSON *object, const char *name, const struct account *account)
{
	cJSON *exits = cJSON_AddObjectToObject(object, name);
	bool ok = exits != NULL;

	for (u32 i = 0; ok && i < EXIT_KIND_COUNT; i++)
		ok = add_count(exits, report_exit_name(i), account->exits[i]);
	return ok;
}

/* A group's members are named without the group's prefix. */
static bool add_group(cJSON *object, const char *name, const struct account *account,
                      bool (*in_group)(u32))
{
	cJSON *group = cJSON_AddObjectToObject(object, name);
	bool ok = group != NULL;

	for (u32 i = 0; ok && i < COUNTER_COUNT; i++) {
		if (in_group(i))
			ok = add_count(group, report_counter_name(i) + 4, account->counters[i]);
	}
	return ok;
}

static bool add_counters(cJSON *object, const struct account *account)
{
	cJSON *counters = cJSON_AddObjectToObject(object, "counters");
	bool ok = counters != NULL;

	for (u32 i = 0; ok && i < COUNTER_COUNT; i++)
		ok = add_count(counters, report_counter_name(i), account->counters[i]);
	return ok;
}

static bool add_guest(cJSON *object, const struct outcome_vm *vm)
{
	cJSON *guest = cJSON_AddObjectToObject(object, "guest");

	return guest && cJSON_AddStringToObject(guest, "ended", vm->ended) &&
	       cJSON_AddNumberToObject(guest, "code", vm->code);
}

/* A new object at the end of the array, NULL: out of memory. */
static cJSON *add_object(cJSON *array)
{
	cJSON *object = cJSON_CreateObject();

	if (object && !cJSON_AddItemToArray(array, object)) {
		cJSON_Delete(object);
		return NULL;
	}
	return object;
}

static bool add_vcpu(cJSON *array, u32 index, const struct account *account)
{
	cJSON *vcpu = add_object(array);

	return vcpu && add_count(vcpu, "index", index) &&
	       add_count(vcpu, "exits", report_exits(account)) &&
	       add_exits(vcpu, "exits_by_cause", account) &&
	       add_count(vcpu, "model_overhead_exits", account->model_overhead) &&
	       add_count(vcpu, "injected", report_injected(account)) &&
	       add_count(vcpu, "ipi_sent", report_ipis_sent(account)) &&
	       add_count(vcpu, "ipi_received", account->counters[COUNTER_IPI_RECEIVED]) &&
	       add_count(vcpu, "hlt_ns", account->counters[COUNTER_HLT_NS]) &&
	       add_count(vcpu, "run_ns", account->counters[COUNTER_RUN_NS]) &&
	       add_count(vcpu, "wait_ns", account->counters[COUNTER_WAIT_NS]) &&
	       add_counters(vcpu, account);
}

static bool add_vcpus(cJSON *object, const struct report_vm *vm, u32 vcpus)
{
	cJSON *array = cJSON_AddArrayToObject(object, "vcpu");
	bool ok = array != NULL;

	for (u32 v = 0; ok && v < vcpus; v++)
		ok = add_vcpu(array, v, &vm->vcpu[v]);
	return ok;
}

/* Who set a reason last: null if nobody ever did. */
static bool add_by(cJSON *object, const struct report_inhibit *inhibit)
{
	bool by_host = inhibit->vcpu == INHIBIT_BY_HOST;
	cJSON *by;

	if (!inhibit->sets)
		return cJSON_AddNullToObject(object, "by") != NULL;
	by = cJSON_AddObjectToObject(object, "by");
	if (by_host)
		return by && cJSON_AddNullToObject(by, "vcpu") &&
		       cJSON_AddNullToObject(by, "rip") &&
		       cJSON_AddStringToObject(by, "option",
		                               report_inhibit_set_by(inhibit->reason));
	return by && add_count(by, "vcpu", inhibit->vcpu) && add_count(by, "rip", inhibit->rip) &&
	       cJSON_AddNullToObject(by, "option");
}

static bool add_history(cJSON *object, const struct report_inhibit *inhibit)
{
	return cJSON_AddBoolToObject(object, "stands", inhibit->stands) &&
	       add_count(object, "sets", inhibit->sets) &&
	       add_count(object, "clears", inhibit->clears) &&
	       add_count(object, "held_ns", inhibit->held_ns) && add_by(object, inhibit);
}

/* Each vCPU's own, of a reason that is theirs. */
static bool add_vcpu_histories(cJSON *object, const struct report_vm *vm, u32 vcpus, u32 reason)
{
	cJSON *array = cJSON_AddArrayToObject(object, "vcpu"), *vcpu;
	bool ok = array != NULL;

	for (u32 v = 0; ok && report_inhibit_is_vcpus(reason) && v < vcpus; v++) {
		vcpu = add_object(array);
		ok = vcpu && add_count(vcpu, "index", v) &&
		     add_history(vcpu, &vm->vcpu_inhibit[v][reason]);
	}
	return ok;
}

static bool add_inhibit(cJSON *array, const struct report_vm *vm, u32 vcpus, u32 reason)
{
	struct report_inhibit total = report_inhibit_total(vm, vcpus, reason);
	cJSON *object = add_object(array);

	return object && cJSON_AddStringToObject(object, "reason", report_inhibit_name(reason)) &&
	       cJSON_AddStringToObject(object, "scope",
	                               report_inhibit_is_vcpus(reason) ? "vcpu" : "vm") &&
	       add_history(object, &total) && add_vcpu_histories(object, vm, vcpus, reason);
}

static bool add_inhibits(cJSON *object, const struct report_vm *vm, u32 vcpus)
{
	cJSON *array = cJSON_AddArrayToObject(object, "inhibits");
	bool ok = array != NULL;

	for (u32 i = 0; ok && i < INHIBIT_COUNT; i++)
		ok = add_inhibit(array, vm, vcpus, i);
	return ok;
}

/* An object of two counts. */
static bool add_pair(cJSON *object, const char *name, const char *first, u64 first_value,
                     const char *second, u64 second_value)
{
	cJSON *pair = cJSON_AddObjectToObject(object, name);

	return pair && add_count(pair, first, first_value) && add_count(pair, second, second_value);
}

static bool add_apicv(cJSON *object, const struct report_vm *vm, u32 vcpus,
                      const struct account *total)
{
	const struct report_apicv *apicv = &vm->apicv;
	cJSON *in = cJSON_AddObjectToObject(object, "apicv");

	return in && cJSON_AddBoolToObject(in, "able", apicv->able) &&
	       cJSON_AddBoolToObject(in, "hw_counted", apicv->hw_counted == REPORT_HW_ALL) &&
	       cJSON_AddBoolToObject(in, "hw_sends_counted", apicv->hw_counted) &&
	       add_count(in, "active_ns", apicv->active_ns) && add_inhibits(in, vm, vcpus) &&
	       add_pair(in, "lock", "shared", apicv->lock_shared, "exclusive",
	                apicv->lock_exclusive) &&
	       add_pair(in, "updates", "rounds", apicv->rounds, "kicked", apicv->kicked) &&
	       add_count(in, "mismatches", total->counters[COUNTER_ACCEL_MISMATCHES]) &&
	       add_count(in, "zaps", apicv->zaps) &&
	       add_count(in, "tlb_flushes", apicv->tlb_flushes) &&
	       add_count(in, "fault_retries", apicv->fault_retries) &&
	       add_count(in, "irq_windows", total->counters[COUNTER_IRQ_WINDOWS]);
}

/* The members that tell about one VM. */
static bool add_vm(cJSON *object, const struct outcome *outcome, u32 vm)
{
	const struct report_vm *report = &outcome->report->vm[vm];
	u32 vcpus = outcome_vcpus(outcome, vm);
	struct account total;

	report_total(report, vcpus, &total);
	return cJSON_AddStringToObject(object, "cpu", outcome->options->vm[vm].cpu) &&
	       add_count(object, "vcpus", vcpus) &&
	       add_count(object, "pcpus", outcome->options->pcpus) &&
	       add_guest(object, &outcome->vm[vm]) &&
	       add_count(object, "elapsed_ns", outcome->vm[vm].elapsed_ns) &&
	       add_exits(object, "exits", &total) &&
	       add_count(object, "model_overhead_exits", total.model_overhead) &&
	       add_group(object, "injected", &total, report_counter_is_route) &&
	       add_group(object, "ipi", &total, report_counter_is_ipi) &&
	       add_counters(object, &total) && add_apicv(object, report, vcpus, &total) &&
	       add_vcpus(object, report, vcpus);
}

static bool fill_root(cJSON *root, const struct outcome *outcome)
{
	cJSON *array, *object;
	bool ok = cJSON_AddStringToObject(root, "schema", JSON_SCHEMA) && add_vm(root, outcome, 0);

	array = ok ? cJSON_AddArrayToObject(root, "vm") : NULL;
	for (u32 vm = 0; array && vm < outcome->options->vms; vm++) {
		object = add_object(array);
		if (!object || !add_count(object, "index", vm) || !add_vm(object, outcome, vm))
			return false;
	}
	return array != NULL;
}

char *json_text(const struct outcome *outcome)
{
	cJSON *root = cJSON_CreateObject();
	char *text = NULL;

	if (root && fill_root(root, outcome))
		text = cJSON_Print(root);
	cJSON_Delete(root);
	return text;
}

static enum status fail(const struct json_file *file)
{
	int error = errno;

	say("--json %s: cannot write: %s", file->name, strerror(error));
	return status_of_write(error, STATUS_NO_OUTPUT);
}

static enum status open_temporary(struct json_file *file)
{
	mode_t mask = umask(0);

	umask(mask);
	if (asprintf(&file->temporary, "%s.XXXXXX", file->target) < 0) {
		file->temporary = NULL;
		return fail(file);
	}
	file->fd = mkostemp(file->temporary, O_CLOEXEC);
	if (file->fd < 0) {
		free(file->temporary);
		file->temporary = NULL;
		return fail(file);
	}
	/* mkostemp() makes it private; a report is an ordinary file. */
	if (fchmod(file->fd, 0666 & ~mask) != 0)
		return fail(file);
	return STATUS_OK;
}

enum status json_open(struct json_file *file, const char *name)
{
	struct stat st;

	*file = (struct json_file){.name = name, .fd = -1};
	if (!name)
		return STATUS_OK;
	file->target = realpath(name, NULL);
	if (!file->target)
		file->target = strdup(name);
	if (!file->target)
		return fail(file);
	if (stat(file->target, &st) == 0 && S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return fail(file);
	}
	if (stat(file->target, &st) == 0 && !S_ISREG(st.st_mode)) {
		/* by the given name: what a link below /proc leads to need not have one */
		file->fd = open(name, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return file->fd >= 0 ? STATUS_OK : fail(file);
	}
	return open_temporary(file);
}

static bool write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* Make the rename itself last; best effort, since some file systems cannot sync a directory. */
static void sync_directory(const char *target)
{
	char *copy = strdup(target);
	int fd;

	if (!copy)
		return;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(copy);
}

enum status json_commit(struct json_file *file, const struct outcome *outcome)
{
	char *text;
	bool ok;

	if (!file->name)
		return STATUS_OK;
	text = json_text(outcome);
	if (!text)
		return fail(file);
	ok = write_all(file->fd, text, strlen(text)) && write_all(file->fd, "\n", 1);
	free(text);
	if (ok && file->temporary)
		ok = fsync(file->fd) == 0 && rename(file->temporary, file->target) == 0;
	if (!ok)
		return fail(file);
	if (file->temporary)
		sync_directory(file->target);
	free(file->temporary);
	file->temporary = NULL;
	return STATUS_OK;
}

void json_discard(struct json_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	if (file->temporary)
		unlink(file->temporary);
	free(file->temporary);
	free(file->target);
	*file = (struct json_file){.fd = -1};
}
