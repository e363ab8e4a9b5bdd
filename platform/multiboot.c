/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loader for flat test kernels. Multiboot Specification version 0.6.96: "The layout of Multiboot
 * header" (in the first 8192 bytes, longword-aligned), "Machine state" (32-bit protected mode, flat
 * segments, paging off, EAX and EBX), "Boot information format". ELF32 images go by their program
 * headers; others by the header's address fields ("The address fields of Multiboot header"). The
 * file is not trusted.
 *
 * The machine is as firmware leaves it (platform/post.c). What the information block holds goes to LAYOUT_MULTIBOOT; an initrd becomes the one module, as
 * high below 4 GiB as there is memory.
 */
#include "core/vm.h"
#include "platform/layout.h"
#include "platform/platform.h"
#include "platform/post.h"
#include "postern/backend.h"
#include "postern/string.h"

#define HEADER_MAGIC  0x1badb002u
#define HEADER_SEARCH 8192u
#define LOADER_MAGIC  0x2badb002u

#define FLAG_ADDRESSES BIT(16)
/* Page-aligned modules and memory information we give anyhow; no other requirement is known. */
#define FLAGS_UNKNOWN 0xfffcu

#define INFO_MEMORY  BIT(0)
#define INFO_CMDLINE BIT(2)
#define INFO_MODULES BIT(3)
#define INFO_MAP     BIT(6)
#define INFO_LOADER  BIT(9)

struct multiboot_header {
	u32 magic, flags, checksum;
	u32 header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
} __packed;

struct multiboot_info {
	u32 flags;
	u32 mem_lower, mem_upper; /* KiB */
	u32 boot_device;
	u32 cmdline;
	u32 mods_count, mods_addr;
	u32 syms[4];
	u32 mmap_length, mmap_addr;
	u32 drives_length, drives_addr;
	u32 config_table;
	u32 boot_loader_name;
	u32 apm_table;
} __packed;

struct multiboot_module {
	u32 start, end, string, reserved;
} __packed;

struct multiboot_map_entry {
	u32 size; /* of what follows */
	struct layout_range range;
} __packed;

/* Everything at LAYOUT_MULTIBOOT. */
struct multiboot_block {
	struct multiboot_info info;
	struct multiboot_module module;
	struct multiboot_map_entry map[LAYOUT_RANGES];
	char loader[16];
	char cmdline[];
};

struct elf32_header {
	u8 magic[4];
	u8 class, data, version, abi;
	u8 pad[8];
	u16 type, machine;
	u32 version2;
	u32 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
} __packed;

struct elf32_segment {
	u32 type, offset, vaddr, paddr, filesz, memsz, flags, align;
} __packed;

#define ELF_CLASS32 1
#define ELF_LITTLE  1
#define ELF_EXEC    2
#define ELF_386     3
#define ELF_LOAD    1

struct image {
	struct vm *vm;
	const u8 *file;
	u64 size;
	u64 header_at; /* offset of the header in the file */
	struct multiboot_header header;
	u32 entry;
	u64 end; /* guest-physical end of what was loaded */
	struct refusal *refusal;
};

static bool refuse(struct image *image, const char *why)
{
	*image->refusal = REFUSED(FILE, why);
	return false;
}

static bool refuse_room(struct image *image, const char *why)
{
	*image->refusal = REFUSED(ROOM, why);
	return false;
}

static bool refuse_config(struct image *image, const char *why)
{
	*image->refusal = REFUSED(CONFIG, why);
	return false;
}

static bool find_header(struct image *image)
{
	u64 limit = min_u64(image->size, HEADER_SEARCH);
	struct multiboot_header *h = &image->header;

	for (u64 at = 0; at + 12 <= limit; at += 4) {
		*h = (struct multiboot_header){0};
		memcpy(h, image->file + at, min_u64(sizeof(*h), image->size - at));
		if (h->magic != HEADER_MAGIC || h->magic + h->flags + h->checksum != 0)
			continue;
		image->header_at = at;
		if (h->flags & FLAGS_UNKNOWN)
			return refuse(image,
			              "kernel: its Multiboot header asks for something unknown");
		if (h->flags & FLAG_ADDRESSES && at + sizeof(*h) > image->size)
			return refuse(image, "kernel: its Multiboot header is cut off");
		return true;
	}
	return refuse(image, "kernel: no Multiboot header in the first 8192 bytes");
}

/* Copy `file_size` bytes of the file at `offset`, zero up to `size`. */
static bool load_part(struct image *image, u64 paddr, u64 offset, u64 file_size, u64 size)
{
	u8 *memory;

	if (offset > image->size || file_size > image->size - offset || file_size > size)
		return refuse(image, "kernel: a segment lies outside the file");
	if (paddr < LAYOUT_MULTIBOOT_END && paddr + size > LAYOUT_MULTIBOOT)
		return refuse(image, "kernel: a segment overlaps the Multiboot information");
	if (paddr < LAYOUT_FIRMWARE_END && paddr + size > LAYOUT_FIRMWARE)
		return refuse(image, "kernel: a segment overlaps the firmware area");
	memory = vm_memory(image->vm, GPA(paddr), size);
	if (!memory)
		return refuse_room(image, "kernel: a segment lies outside the guest's memory");
	memcpy(memory, image->file + offset, file_size);
	memset(memory + file_size, 0, size - file_size);
	image->end = max_u64(image->end, paddr + size);
	return true;
}

static bool load_elf32(struct image *image)
{
	struct elf32_header header;
	u32 loaded = 0;

	memcpy(&header, image->file, sizeof(header));
	if (header.class != ELF_CLASS32 || header.data != ELF_LITTLE || header.type != ELF_EXEC ||
	    header.machine != ELF_386)
		return refuse(image, "kernel: not a static 32-bit x86 executable");
	if (header.phentsize != sizeof(struct elf32_segment) || header.phoff > image->size ||
	    header.phnum * sizeof(struct elf32_segment) > image->size - header.phoff)
		return refuse(image, "kernel: program headers lie outside the file");
	for (u32 i = 0; i < header.phnum; i++) {
		struct elf32_segment segment;

		memcpy(&segment, image->file + header.phoff + i * sizeof(segment), sizeof(segment));
		if (segment.type != ELF_LOAD || !segment.memsz)
			continue;
		if (!load_part(image, segment.paddr, segment.offset, segment.filesz, segment.memsz))
			return false;
		loaded++;
	}
	image->entry = header.entry;
	return loaded || refuse(image, "kernel: nothing to load");
}

/* load_end_addr 0: to the end of the file; bss_end_addr 0: no bss. */
static bool load_flat(struct image *image)
{
	const struct multiboot_header *h = &image->header;
	u64 before = (u64)h->header_addr - h->load_addr;
	u64 in_file, size;

	if (h->header_addr < h->load_addr || before > image->header_at)
		return refuse(image, "kernel: its Multiboot header gives impossible addresses");
	in_file = image->size - (image->header_at - before);
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr)
			return refuse(image,
			              "kernel: its Multiboot header gives impossible addresses");
		in_file = h->load_end_addr - h->load_addr;
	}
	size = in_file;
	if (h->bss_end_addr && h->bss_end_addr > h->load_addr)
		size = max_u64(size, h->bss_end_addr - h->load_addr);
	if (!size)
		return refuse(image, "kernel: nothing to load");
	image->entry = h->entry_addr;
	return load_part(image, h->load_addr, image->header_at - before, in_file, size);
}

static bool load_image(struct image *image)
{
	if (image->header.flags & FLAG_ADDRESSES)
		return load_flat(image);
	if (image->size < sizeof(struct elf32_header) || memcmp(image->file, "\177ELF", 4))
		return refuse(image, "kernel: neither an ELF file nor one with load addresses");
	return load_elf32(image);
}

static bool put_module(struct image *image, struct multiboot_block *block, const void *initrd,
                       u64 size)
{
	u64 end = layout_low_ram_end(image->vm);
	u64 at;

	if (!initrd || !size)
		return true;
	at = size < end ? ALIGN_DOWN(end - size, PAGE_SIZE) : 0;
	if (at < image->end || at < LAYOUT_HIGH_RAM || !vm_write(image->vm, GPA(at), initrd, size))
		return refuse_room(image, "initrd: too large for the guest's memory");
	block->module.start = (u32)at;
	block->module.end = (u32)(at + size);
	block->info.flags |= INFO_MODULES;
	block->info.mods_count = 1;
	block->info.mods_addr = LAYOUT_MULTIBOOT + offsetof(struct multiboot_block, module);
	return true;
}

static void put_map(struct image *image, struct multiboot_block *block)
{
	struct layout_range map[LAYOUT_RANGES];
	u32 count = layout_memory_map(image->vm, map);

	for (u32 i = 0; i < count; i++)
		block->map[i] = (struct multiboot_map_entry){sizeof(map[0]), map[i]};
	block->info.mmap_length = (u32)(count * sizeof(block->map[0]));
	block->info.mmap_addr = LAYOUT_MULTIBOOT + offsetof(struct multiboot_block, map);
	block->info.mem_lower = LAYOUT_EBDA >> 10;
	block->info.mem_upper = (u32)((layout_low_ram_end(image->vm) - LAYOUT_HIGH_RAM) >> 10);
	block->info.flags |= INFO_MEMORY | INFO_MAP;
}

static bool put_info(struct image *image, const char *cmdline, const void *initrd, u64 initrd_size)
{
	const u64 room = LAYOUT_MULTIBOOT_END - LAYOUT_MULTIBOOT;
	struct multiboot_block *block = vm_memory(image->vm, GPA(LAYOUT_MULTIBOOT), room);
	u64 length = strlen(cmdline);

	if (!block)
		return refuse_room(image,
		                   "guest memory: none where the Multiboot information goes");
	if (length >= room - sizeof(*block))
		return refuse_config(image, "command line: too long");
	memset(block, 0, room);
	memcpy(block->loader, "Postern", 8);
	memcpy(block->cmdline, cmdline, length);
	block->info.flags = INFO_CMDLINE | INFO_LOADER;
	block->info.cmdline = LAYOUT_MULTIBOOT + offsetof(struct multiboot_block, cmdline);
	block->info.boot_loader_name = LAYOUT_MULTIBOOT + offsetof(struct multiboot_block, loader);
	put_map(image, block);
	return put_module(image, block, initrd, initrd_size);
}

/* "Machine state". Selectors are arbitrary there; a guest has to load its own table before it loads
 * one. The table register describes nothing. */
static void start(struct image *image)
{
	struct vcpu *vcpu = image->vm->vcpu[0];
	const u16 flat = SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB | SEG_ATTR_G;
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	for (u32 i = SEG_ES; i <= SEG_GS; i++)
		state.seg[i] = (struct x86_segment){
		        .selector = 0x10, .attr = flat | 0x3, .limit = 0xffffffff};
	state.seg[SEG_CS] =
	        (struct x86_segment){.selector = 0x08, .attr = flat | 0xb, .limit = 0xffffffff};
	state.seg[SEG_LDTR] = (struct x86_segment){.attr = 0x2 | SEG_ATTR_P, .limit = 0xffff};
	state.seg[SEG_TR] = (struct x86_segment){.attr = 0xb | SEG_ATTR_P, .limit = 0xffff};
	state.gdt_base = state.idt_base = 0;
	state.gdt_limit = state.idt_limit = 0;
	state.cr0 = CR0_PE | CR0_ET;
	state.cr3 = state.cr4 = state.efer = 0;
	state.cpl = 0;
	backend_op(set_state)(vcpu, &state);
	memset(vcpu->regs.gpr, 0, sizeof(vcpu->regs.gpr));
	vcpu->regs.gpr[GPR_RAX] = LOADER_MAGIC;
	vcpu->regs.gpr[GPR_RBX] = LAYOUT_MULTIBOOT;
	vcpu->regs.rip = image->entry;
	vcpu->regs.rflags = RFLAGS_RES1;
}

bool multiboot_load(struct vm *vm, const void *file, u64 size, const void *initrd, u64 initrd_size,
                    const char *cmdline, struct refusal *refusal)
{
	struct image image = {.vm = vm, .file = file, .size = size, .refusal = refusal};

	*refusal = REFUSED(ROOM, "guest memory: none where the firmware's tables go");
	if (!post_leave_state(vm) || !find_header(&image) || !load_image(&image) ||
	    !put_info(&image, cmdline ? cmdline : "", initrd, initrd_size))
		return false;
	start(&image);
	*refusal = (struct refusal){0};
	return true;
}
