/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loader for flat 64-bit test guests: static ELF64 executables whose segments go to their physical
 * addresses. System V ABI, "Object Files", "Program Loading". The file is not trusted; segments may
 * not touch the loader's own tables or the firmware area.
 */
#include "core/vm.h"
#include "platform/layout.h"
#include "platform/longmode.h"
#include "platform/platform.h"
#include "postern/string.h"

#define ELF_CLASS64    2
#define ELF_LITTLE     1
#define ELF_EXECUTABLE 2
#define ELF_X86_64     62
#define ELF_LOAD       1
#define ELF_LIMIT      (1ull << 32)

struct elf_header {
	u8 magic[4];
	u8 class, data, version, abi;
	u8 pad[8];
	u16 type, machine;
	u32 version2;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
} __packed;

struct elf_segment {
	u32 type, flags;
	u64 offset, vaddr, paddr, filesz, memsz, align;
} __packed;

static bool elf_check_header(const struct elf_header *header, u64 size, struct refusal *refusal)
{
	if (memcmp(header->magic, "\177ELF", 4)) {
		*refusal = REFUSED(FILE, "kernel: not an ELF file");
		return false;
	}
	if (header->class != ELF_CLASS64 || header->data != ELF_LITTLE ||
	    header->machine != ELF_X86_64 || header->type != ELF_EXECUTABLE) {
		*refusal = REFUSED(FILE, "kernel: not a static x86-64 executable");
		return false;
	}
	if (header->phentsize != sizeof(struct elf_segment) || header->phoff > size ||
	    header->phnum * sizeof(struct elf_segment) > size - header->phoff) {
		*refusal = REFUSED(FILE, "kernel: program headers lie outside the file");
		return false;
	}
	return true;
}

static bool elf_overlaps(const struct elf_segment *segment, u64 from, u64 to)
{
	return segment->paddr < to && segment->paddr + segment->memsz > from;
}

static bool elf_load_segment(struct vm *vm, const u8 *image, u64 size,
                             const struct elf_segment *segment, struct refusal *refusal)
{
	u8 *memory;

	if (segment->offset > size || segment->filesz > size - segment->offset ||
	    segment->filesz > segment->memsz) {
		*refusal = REFUSED(FILE, "kernel: a segment lies outside the file");
		return false;
	}
	if (segment->memsz > ELF_LIMIT || segment->paddr > ELF_LIMIT - segment->memsz) {
		*refusal = REFUSED(FILE, "kernel: a segment lies above 4 GiB");
		return false;
	}
	if (elf_overlaps(segment, 0, LAYOUT_TABLES_END) ||
	    elf_overlaps(segment, LAYOUT_FIRMWARE, LAYOUT_FIRMWARE_END)) {
		*refusal = REFUSED(
		        FILE,
		        "kernel: a segment overlaps the loader's tables or the firmware area");
		return false;
	}
	memory = vm_memory(vm, GPA(segment->paddr), segment->memsz);
	if (!memory) {
		*refusal = REFUSED(ROOM, "kernel: a segment lies outside the guest's memory");
		return false;
	}
	memcpy(memory, image + segment->offset, segment->filesz);
	memset(memory + segment->filesz, 0, segment->memsz - segment->filesz);
	return true;
}

bool elf_load(struct vm *vm, const void *image, u64 size, struct refusal *refusal)
{
	struct elf_header header;
	struct vcpu *vcpu = vm->vcpu[0];
	u32 loaded = 0;

	*refusal = REFUSED(FILE, "kernel: the file is too short to be an ELF file");
	if (size < sizeof(header))
		return false;
	memcpy(&header, image, sizeof(header));
	if (!elf_check_header(&header, size, refusal))
		return false;
	for (u32 i = 0; i < header.phnum; i++) {
		struct elf_segment segment;

		memcpy(&segment, (const u8 *)image + header.phoff + i * sizeof(segment),
		       sizeof(segment));
		if (segment.type != ELF_LOAD || !segment.memsz)
			continue;
		if (!elf_load_segment(vm, image, size, &segment, refusal))
			return false;
		loaded++;
	}
	*refusal = REFUSED(FILE, "kernel: nothing to load, or the entry point is above 4 GiB");
	if (!loaded || header.entry >= ELF_LIMIT)
		return false;
	*refusal = REFUSED(ROOM, "guest memory: none where the loader's tables go");
	if (!longmode_start(vm, header.entry))
		return false;
	vcpu->regs.gpr[GPR_RSP] = LAYOUT_STACK_TOP;
	vcpu->regs.gpr[GPR_RDI] = vm->vcpu_count;
	*refusal = (struct refusal){0};
	return true;
}
