/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a run went: what ended it, which status that is, and what there is to say about it. By the records that have
 * come and by the emulator's own end, once nothing more can come (cli/run.c).
 */
#include "cli/run_priv.h"

#include <string.h>
#include <sys/wait.h>

#include "cli/say.h"

static const char error_prefix[] = "error: ";

bool judge_is_error(const char *text)
{
	return strncmp(text, error_prefix, strlen(error_prefix)) == 0;
}

static enum status status_of_code(s32 code)
{
	return (enum status)(code >= 0 && code <= 255 ? code : 255);
}

static enum status status_of_ending(enum ending ending, s32 code)
{
	switch (ending) {
	case ENDED_RESET:
		return STATUS_RESET;
	case ENDED_TRIPLE_FAULT:
		return STATUS_TRIPLE_FAULT;
	case ENDED_TIMEOUT:
		return STATUS_TIMEOUT;
	case ENDED_INTERRUPTED:
		return STATUS_INTERRUPTED;
	case ENDED_PANIC:
		return STATUS_PANIC;
	default:
		return status_of_code(code);
	}
}

/* The image's last line of log, which gives the reason for an end. */
static const char *reason(const struct run *run)
{
	const char *text = run->last_log;

	if (judge_is_error(text))
		text += strlen(error_prefix);
	return *text ? text : "it gave no reason";
}

/* "VM 1: " and what follows. Without it VM 0 is meant. */
static u32 skip_vm(const char **text)
{
	unsigned int vm;
	int len = 0;

	if (sscanf(*text, "VM %u: %n", &vm, &len) != 1 || !len || vm >= MAX_VMS)
		return 0;
	*text += len;
	return vm;
}

/* "kernel: what is wrong with it", by the name that the user gave the file. */
static void say_file(const struct run *run, const char *text)
{
	const char *rest = text;
	u32 id = skip_vm(&rest);
	const struct options_vm *vm = &run->options->vm[id];
	const struct {
		const char *what, *name;
	} files[] = {{"kernel", vm->kernel}, {"initrd", vm->initrd}, {"firmware", vm->firmware}};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		size_t len = strlen(files[i].what);

		if (!files[i].name || strncmp(rest, files[i].what, len) != 0 ||
		    strncmp(rest + len, ": ", 2) != 0)
			continue;
		say("%.*s%s %s%s", (int)(rest - text), text, files[i].what, files[i].name,
		    rest + len);
		return;
	}
	say("%s", text);
}

/* The image has started no guest. */
static enum status explain_refusal(const struct run *run, s32 refusal)
{
	switch (refusal) {
	case REPORT_REFUSED_PROCESSOR:
		say("cannot run here: %s", reason(run));
		return STATUS_NO_PROCESSOR;
	case REPORT_REFUSED_FILE:
		say_file(run, reason(run));
		return STATUS_BAD_INPUT;
	case REPORT_REFUSED_ROOM:
		say_file(run, reason(run));
		return STATUS_NO_ROOM;
	default:
		say("the image refuses: %s", reason(run));
		return STATUS_CONFIG;
	}
}

/* The emulator ended and neither the image nor the user has said why. Says so in one line. */
static enum status explain_loss(struct run *run)
{
	int status = run->emulator.wait_status;
	const char *name = run->emulator.kind->name;
	const char *error = emulator_last_error(&run->emulator);

	/* The image could say it by the exit device only. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2 * REPORT_EXIT_REFUSED + 1)
		return explain_refusal(run, REPORT_REFUSED_CONFIG);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2 * REPORT_EXIT_PANIC + 1) {
		say("the hypervisor stopped with a panic: %s", reason(run));
		return STATUS_PANIC;
	}
	if (WIFSIGNALED(status)) {
		say("%s was killed by signal %d (%s)%s%s%s", name, WTERMSIG(status),
		    strsignal(WTERMSIG(status)),
		    run->report.has_hello ? "" : " before the image ran", *error ? ": " : "",
		    error);
		return run->report.has_hello ? STATUS_LOST : STATUS_NO_QEMU;
	}
	say("%s ended with status %d%s: %s", name, WEXITSTATUS(status),
	    run->report.has_hello ? "" : " before the image ran",
	    *error ? error : "it gave no reason");
	return run->report.has_hello ? STATUS_LOST : STATUS_NO_QEMU;
}

/* The image has started no guest; `refusal` is its kind. */
bool judge_is_refused(const struct run *run, s32 *refusal)
{
	for (u32 i = 0; i < run->options->vms; i++) {
		const struct report_vm *vm = &run->report.vm[i];

		if (!vm->ended || vm->ending != ENDED_REFUSED)
			continue;
		*refusal = vm->code;
		return true;
	}
	return false;
}

/* How one VM ended. Its status counts where the others' are 0. */
static enum status judge_vm(const struct run *run, u32 vm, struct outcome_vm *outcome)
{
	const struct report_vm *report = &run->report.vm[vm];
	enum ending ending;
	s32 refusal;

	*outcome = (struct outcome_vm){.ended = OUTCOME_LOST, .elapsed_ns = report->elapsed_ns};
	if (report->ended)
		ending = report->ending;
	else if (judge_is_refused(run, &refusal))
		ending = ENDED_REFUSED; /* with the one that was */
	else if (run->report.panicked || run->report.ended)
		ending = ENDED_PANIC;
	else if (run->asked)
		ending = run->asked == REPORT_CMD_TIMEOUT ? ENDED_TIMEOUT : ENDED_INTERRUPTED;
	else
		return STATUS_LOST;
	outcome->ended = report_ending_name(ending);
	outcome->code = ending == ENDED_REFUSED ? 0 : report->code;
	return status_of_ending(ending, report->code);
}

/* The image has ended a VM. */
static bool was_ended(const struct run *run)
{
	for (u32 i = 0; i < run->options->vms; i++)
		if (run->report.vm[i].ended && run->report.vm[i].ending == ENDED_PANIC)
			return !run->report.panicked;
	return false;
}

void judge_run(struct run *run, struct outcome *outcome)
{
	const struct report *report = &run->report;
	s32 refusal;

	*outcome = (struct outcome){.options = run->options, .report = report};
	for (u32 i = 0; i < run->options->vms; i++) {
		enum status status = judge_vm(run, i, &outcome->vm[i]);

		if (outcome->status == STATUS_OK)
			outcome->status = status;
	}
	if (report->foreign) {
		say("the hypervisor image and this command are of different builds");
		outcome->status = STATUS_NO_QEMU;
	} else if (judge_is_refused(run, &refusal)) {
		outcome->status = explain_refusal(run, refusal);
	} else if (was_ended(run)) {
		say("the hypervisor ended the guest: %s", reason(run));
	} else if (!report->ended && !report->panicked && !run->asked) {
		outcome->status = explain_loss(run);
	}
	if (run->out_failed) {
		say("cannot write the standard output: %s", strerror(run->out_errno));
		outcome->status = status_of_write(run->out_errno, STATUS_NO_OUTPUT);
	}
	/* There is nowhere left to say it. */
	if (run->log_errno)
		outcome->status = status_of_write(run->log_errno, STATUS_NO_OUTPUT);
}
