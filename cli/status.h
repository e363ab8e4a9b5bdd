/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exit statuses of the host command, in one list that the code, --help and the tests share. Values
 * follow <sysexits.h> and timeout(1) where those have a word for it. A status that the guest itself
 * chose (0 to 255) is passed through; the JSON report tells the two apart.
 */
#ifndef CLI_STATUS_H
#define CLI_STATUS_H

#include <errno.h>

/* X(ENUM, value, "when") */
#define STATUSES(X)                                                                                \
	X(OK, 0, "the guest powered off by itself and gave no status")                             \
	X(USAGE, 64, "wrong usage: an option, value or combination that makes no sense")           \
	X(BAD_INPUT, 65,                                                                           \
	  "the kernel or the firmware is damaged, cut off, or of no kind that can be booted")      \
	X(NO_INPUT, 66, "the kernel, the initrd, the firmware or the image cannot be read")        \
	X(NO_ROOM, 67, "the kernel or the initrd does not fit into the guest's memory")            \
	X(OLD_QEMU, 68, "QEMU is too old, or Bochs is built without what is needed")               \
	X(NO_QEMU, 69, "the emulator cannot be started, or does not start the image")              \
	X(PANIC, 70, "the hypervisor stopped with a panic")                                        \
	X(SYSTEM, 71, "the host refused a temporary file, a process or memory")                    \
	X(DISK_FULL, 72, "no space is left for a file or the standard output")                     \
	X(NO_OUTPUT, 73,                                                                           \
	  "the JSON report, the control socket or the standard output cannot be written")          \
	X(LOST, 74, "the emulator ended in the middle of the run")                                 \
	X(RESET, 75, "the guest reset the machine")                                                \
	X(TRIPLE_FAULT, 76, "the guest's processor shut down (triple fault)")                      \
	X(NO_PROCESSOR, 77, "the processor lacks SVM, nested paging or another requirement")       \
	X(CONFIG, 78, "the image refused its configuration: its message says why")                 \
	X(TIMEOUT, 124, "the time given with --timeout was up")                                    \
	X(INTERRUPTED, 130, "ended by a signal or by Ctrl-A X")

enum status {
#define X(id, value, when) STATUS_##id = value,
	STATUSES(X)
#undef X
};

/* For something that could not be written because of `error`: a full disk, or else `other`. */
static inline enum status status_of_write(int error, enum status other)
{
	return error == ENOSPC || error == EDQUOT || error == EFBIG ? STATUS_DISK_FULL : other;
}

#endif
