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

static bool add_guest(cJSON *root, const struct outcome *outcome)
{
	cJSON *guest = cJSON_AddObjectToObject(root, "guest");

	return guest && cJSON_AddStringToObject(guest, "ended", outcome->ended) &&
	       cJSON_AddNumberToObject(guest, "code", outcome->code);
}

static bool add_vcpu(cJSON *array, u32 index, const struct account *account)
{
	cJSON *vcpu = cJSON_CreateObject();

	if (!vcpu)
		return false;
	if (!cJSON_AddItemToArray(array, vcpu)) {
		cJSON_Delete(vcpu);
		return false;
	}
	return add_count(vcpu, "index", index) && add_count(vcpu, "exits", report_exits(account)) &&
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

static bool add_vcpus(cJSON *root, const struct outcome *outcome, u32 vcpus)
{
	cJSON *array = cJSON_AddArrayToObject(root, "vcpu");
	bool ok = array != NULL;

	for (u32 v = 0; ok && v < vcpus; v++)
		ok = add_vcpu(array, v, &outcome->report->vcpu[v]);
	return ok;
}

static bool fill_root(cJSON *root, const struct outcome *outcome)
{
	u32 vcpus = outcome_vcpus(outcome);
	struct account total;

	report_total(outcome->report, vcpus, &total);
	return cJSON_AddStringToObject(root, "schema", JSON_SCHEMA) &&
	       cJSON_AddStringToObject(root, "cpu", outcome->options->cpu) &&
	       add_count(root, "vcpus", vcpus) &&
	       add_count(root, "pcpus", outcome->options->pcpus) && add_guest(root, outcome) &&
	       add_count(root, "elapsed_ns", outcome->elapsed_ns) &&
	       add_exits(root, "exits", &total) &&
	       add_count(root, "model_overhead_exits", total.model_overhead) &&
	       add_group(root, "injected", &total, report_counter_is_route) &&
	       add_group(root, "ipi", &total, report_counter_is_ipi) &&
	       add_counters(root, &total) && add_vcpus(root, outcome, vcpus);
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

static bool fail(const struct json_file *file, const char *what)
{
	say("--json %s: cannot %s: %s", file->name, what, strerror(errno));
	return false;
}

static bool open_temporary(struct json_file *file)
{
	mode_t mask = umask(0);

	umask(mask);
	if (asprintf(&file->temporary, "%s.XXXXXX", file->target) < 0) {
		file->temporary = NULL;
		return fail(file, "write");
	}
	file->fd = mkostemp(file->temporary, O_CLOEXEC);
	if (file->fd < 0) {
		free(file->temporary);
		file->temporary = NULL;
		return fail(file, "write");
	}
	/* mkostemp() makes it private; a report is an ordinary file. */
	if (fchmod(file->fd, 0666 & ~mask) != 0)
		return fail(file, "write");
	return true;
}

bool json_open(struct json_file *file, const char *name)
{
	struct stat st;

	*file = (struct json_file){.name = name, .fd = -1};
	if (!name)
		return true;
	file->target = realpath(name, NULL);
	if (!file->target)
		file->target = strdup(name);
	if (!file->target)
		return fail(file, "write");
	if (stat(file->target, &st) == 0 && S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return fail(file, "write");
	}
	if (stat(file->target, &st) == 0 && !S_ISREG(st.st_mode)) {
		/* by the given name: what a link below /proc leads to need not have one */
		file->fd = open(name, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return file->fd >= 0 || fail(file, "write");
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

bool json_commit(struct json_file *file, const struct outcome *outcome)
{
	char *text;
	bool ok;

	if (!file->name)
		return true;
	text = json_text(outcome);
	if (!text)
		return fail(file, "write");
	ok = write_all(file->fd, text, strlen(text)) && write_all(file->fd, "\n", 1);
	free(text);
	if (ok && file->temporary)
		ok = fsync(file->fd) == 0 && rename(file->temporary, file->target) == 0;
	if (!ok)
		return fail(file, "write");
	if (file->temporary)
		sync_directory(file->target);
	free(file->temporary);
	file->temporary = NULL;
	return true;
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
