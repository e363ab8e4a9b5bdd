/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The files of a run, in its directory under names of their own: links to what is the user's, and what is
 * written here. Everything that is wrong with them is found before the emulator is started; what only the
 * image can know, it refuses itself.
 */
#include "cli/inputs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cpio.h"
#include "cli/emulator.h"
#include "cli/say.h"

/* Boot files lie below 4 GiB, beside what else lies there. */
#define MAX_FILES (2ull << 30)

#define FIRMWARE_MAX  (16ull << 20)
#define FIRMWARE_PAGE 4096

/* What the hypervisor itself needs beside the guests' memory and the boot files. */
#define OVERHEAD    (96ull << 20)
#define OVERHEAD_VM (8ull << 20) /* and for each VM but the first */

static const char *const setting_keys[] = {
#define X(id, key, type, def, min, max, what) [SETTING_##id] = key,
        SETTINGS(X)
#undef X
};

/* `name` beside the running executable. */
static bool path_beside(char path[PATH_MAX], const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return false;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (slash)
		slash[1] = 0;
	return snprintf(path, PATH_MAX, "%s%s", self, name) < PATH_MAX;
}

/*
 * Link `name` in the directory to a file that must be there: the one given, or `usual` beside the
 * executable. `hint` tells what to do when the usual one is missing.
 */
static enum status link_input(const char *dir, const char *name, const char *what,
                              const char *given, const char *usual, const char *hint)
{
	char path[PATH_MAX], real[PATH_MAX], link[PATH_MAX + 16];
	struct stat st;

	if (given)
		snprintf(path, sizeof(path), "%s", given);
	else if (!path_beside(path, usual))
		return emulator_fail("find the executable's directory");
	if (!realpath(path, real) || access(real, R_OK) != 0) {
		say("%s %s: %s%s", what, path, strerror(errno), given ? "" : hint);
		return STATUS_NO_INPUT;
	}
	if (stat(real, &st) != 0 || !S_ISREG(st.st_mode)) {
		say("%s %s: not a regular file", what, path);
		return STATUS_NO_INPUT;
	}
	if (st.st_size == 0) {
		say("%s %s: the file is empty", what, path);
		return STATUS_NO_INPUT;
	}
	snprintf(link, sizeof(link), "%s/%s", dir, name);
	return symlink(real, link) == 0 ? STATUS_OK : emulator_fail("make a temporary link");
}

static FILE *create(const char *dir, const char *name)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "wxe");
}

static bool close_written(FILE *file)
{
	bool ok = !ferror(file);

	return fclose(file) == 0 && ok;
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The name in the directory of a VM's file: "kernel0", "initrd1" and so on. */
struct vm_file {
	char name[24];
};

static struct vm_file vm_file(const char *what, u32 vm)
{
	struct vm_file file;

	snprintf(file.name, sizeof(file.name), "%s%u", what, vm);
	return file;
}

static void write_apic_ids(FILE *file, const struct apic_ids *ids)
{
#define X(key, what)                                                                               \
	if (ids->count)                                                                            \
		fprintf(file, "set.%s=", key);
	SETTING_APIC_IDS(X)
#undef X
	for (u32 i = 0; i < ids->count; i++)
		fprintf(file, "%u%c", ids->id[i], i + 1 < ids->count ? ',' : '\n');
}

static void write_vm_config(FILE *file, const struct options_vm *vm)
{
	fprintf(file, "cpu=%s\nvcpus=%u\nmemory=%llu\n", vm->cpu, vm->vcpus,
	        (unsigned long long)vm->memory);
	for (u32 i = 0; i < SETTING_COUNT; i++) {
		const char *choice = options_choice(i, vm->setting[i]);

		if (vm->has_setting[i] && choice)
			fprintf(file, "set.%s=%s\n", setting_keys[i], choice);
		else if (vm->has_setting[i])
			fprintf(file, "set.%s=%llu\n", setting_keys[i],
			        (unsigned long long)vm->setting[i]);
	}
	write_apic_ids(file, &vm->apic_ids);
}

static enum status write_config(const char *dir, const struct options *options,
                                const struct inputs_needs *needs)
{
	FILE *file = create(dir, "config");

	if (!file)
		return emulator_fail("write a temporary file");
	fprintf(file, "reserve-boot-cpu=%d\n", needs->reserve_boot_cpu);
	if (needs->stale_vectoring && !options->vm[0].has_setting[SETTING_STALE_VECTORING])
		fprintf(file, "set.%s=1\n", setting_keys[SETTING_STALE_VECTORING]);
	if (options->gdb_wait)
		fputs("debugger-wait=1\n", file);
	for (u32 i = 0; i < options->vms; i++) {
		if (i > 0)
			fprintf(file, "vm=%u\n", i);
		write_vm_config(file, &options->vm[i]);
	}
	return close_written(file) ? STATUS_OK : emulator_fail("write a temporary file");
}

static enum status write_cmdline(const char *dir, const struct options_vm *vm, u32 index)
{
	FILE *file = create(dir, vm_file("cmdline", index).name);

	if (!file)
		return emulator_fail("write a temporary file");
	/* A Multiboot kernel's command line begins with the kernel's name. */
	if (vm->multiboot)
		fprintf(file, "%s%s", file_name(vm->kernel), *vm->cmdline ? " " : "");
	fputs(vm->cmdline, file);
	return close_written(file) ? STATUS_OK : emulator_fail("write a temporary file");
}

/* The initrd becomes a file: what the link "base" leads to, and the archive with the command. */
static enum status write_command_initrd(const char *dir, const struct options_vm *vm, u32 index)
{
	char *script = cpio_command_script(vm->command, vm->command_words);
	FILE *out = create(dir, vm_file("initrd", index).name);
	char path[PATH_MAX + 16];
	FILE *base;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", dir, vm_file("base", index).name);
	base = fopen(path, "re");
	ok = script && out && base && cpio_copy_padded(out, base) &&
	     cpio_write_command(out, script);
	if (out)
		ok = close_written(out) && ok;
	if (base)
		fclose(base);
	free(script);
	return ok ? STATUS_OK : emulator_fail("write the initrd with the command");
}

static u64 file_size(const char *dir, const char *name)
{
	char path[PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0 ? (u64)st.st_size : 0;
}

/*
 * Files that could never fit are refused here: the emulator would first take as much memory for them. The
 * image knows exactly, and refuses the others.
 */
static enum status check_room(const char *dir, const struct options_vm *vm, u32 index, u64 *all)
{
	const char *const names[] = {"kernel", "initrd"};
	const char *const links[] = {"kernel", vm->command_words ? "base" : "initrd"};
	const char *const given[] = {vm->kernel, vm->initrd};
	u64 files = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		u64 size = file_size(dir, vm_file(links[i], index).name);

		files += size;
		*all += size;
		if (files <= vm->memory && *all <= MAX_FILES)
			continue;
		say("%s%s%s: too large for %s", names[i], given[i] ? " " : "",
		    given[i] ? given[i] : "",
		    files > vm->memory ? "the guest's memory (-m)" : "the emulator to hand over");
		return STATUS_NO_ROOM;
	}
	return STATUS_OK;
}

/* As the image would refuse it. */
static enum status prepare_firmware(const char *dir, const struct options_vm *vm, u32 index,
                                    u64 *all)
{
	struct vm_file name = vm_file("firmware", index);
	enum status status = link_input(dir, name.name, "firmware", vm->firmware, NULL, "");
	u64 size = file_size(dir, name.name);

	if (status != STATUS_OK)
		return status;
	*all += size;
	if (size > FIRMWARE_MAX) {
		say("firmware %s: larger than 16 MiB", vm->firmware);
		return STATUS_BAD_INPUT;
	}
	if (size % FIRMWARE_PAGE) {
		say("firmware %s: not a multiple of 4 KiB", vm->firmware);
		return STATUS_BAD_INPUT;
	}
	return STATUS_OK;
}

static enum status prepare_vm(const char *dir, const struct options_vm *vm, u32 index, u64 *all)
{
	static const char guest_hint[] = "; 'make guest' makes it";
	bool has_command = vm->command_words > 0;
	enum status status;

	if (vm->firmware)
		return prepare_firmware(dir, vm, index, all);
	status = link_input(dir, vm_file("kernel", index).name, "kernel", vm->kernel,
	                    "guest/vmlinuz", guest_hint);
	if (status == STATUS_OK && (vm->initrd || options_wants_demo_initrd(vm)))
		status = link_input(dir, vm_file(has_command ? "base" : "initrd", index).name,
		                    "initrd", vm->initrd, "guest/initrd.img", guest_hint);
	if (status == STATUS_OK)
		status = check_room(dir, vm, index, all);
	if (status == STATUS_OK && has_command)
		status = write_command_initrd(dir, vm, index);
	if (status == STATUS_OK)
		status = write_cmdline(dir, vm, index);
	return status;
}

enum status inputs_prepare(const char *dir, const struct options *options,
                           const struct inputs_needs *needs)
{
	const char *image = getenv("POSTERN_IMAGE");
	enum status status;
	u64 files = 0;

	status = link_input(dir, "postern.elf", "hypervisor image", image && *image ? image : NULL,
	                    "postern.elf", "; 'make' makes it");
	for (u32 i = 0; status == STATUS_OK && i < options->vms; i++)
		status = prepare_vm(dir, &options->vm[i], i, &files);
	if (status == STATUS_OK)
		status = write_config(dir, options, needs);
	return status;
}

u64 inputs_memory(const char *dir, const struct options *options, u64 first_piece)
{
	u64 low = OVERHEAD + (options->vms - 1) * OVERHEAD_VM;
	u64 high = 0;

	for (u32 i = 0; i < options->vms; i++)
		low += file_size(dir, vm_file("kernel", i).name) +
		       2 * file_size(dir, vm_file("firmware", i).name) + /* and a copy */
		       file_size(dir, vm_file("initrd", i).name);
	for (u32 i = 0; i < options->vms; i++) {
		if (low + options->vm[i].memory <= first_piece)
			low += options->vm[i].memory;
		else
			high += options->vm[i].memory;
	}
	return ALIGN_UP(high ? first_piece + high : low, 16ull << 20);
}

static u32 add(struct input *list, u32 count, struct vm_file file, struct vm_file name)
{
	snprintf(list[count].file, sizeof(list[count].file), "%s", file.name);
	snprintf(list[count].name, sizeof(list[count].name), "%s", name.name);
	return count + 1;
}

u32 inputs_list(struct input list[INPUTS_MAX], const char *dir, const struct options *options)
{
	u32 count = add(list, 0, (struct vm_file){"config"}, (struct vm_file){"config"});

	for (u32 i = 0; i < options->vms; i++) {
		const struct options_vm *vm = &options->vm[i];
		struct vm_file firmware = vm_file("firmware", i), initrd = vm_file("initrd", i),
		               cmdline = vm_file("cmdline", i);

		if (vm->firmware) {
			count = add(list, count, firmware, firmware);
			continue;
		}
		count = add(list, count, vm_file("kernel", i),
		            vm_file(vm->multiboot ? "multiboot" : "kernel", i));
		count = add(list, count, cmdline, cmdline);
		if (file_size(dir, initrd.name))
			count = add(list, count, initrd, initrd);
	}
	return count;
}
