/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loader for Linux bzImages by the 64-bit boot protocol. Linux Documentation/arch/x86/boot.rst:
 * "The Real-Mode Kernel Header", "64-bit Boot Protocol"; zero-page.rst.
 *
 *  - The file is (setup_sects + 1) sectors of real-mode code, not used here except for the header
 *    inside it, then the protected-mode kernel. Its 64-bit entry is 200h behind its start.
 *  - From its load address the kernel needs init_size bytes. It is loaded at pref_address: one that
 *    is loaded lower moves itself there, so lower addresses never save memory.
 *  - RSI points to the zero page: the header copied from the file, what the loader adds to it, and
 *    the memory map.
 *
 * The file is not trusted: every offset and size from it is checked before it is used.
 */
#include "core/vm.h"
#include "platform/irqchip.h"
#include "platform/layout.h"
#include "platform/longmode.h"
#include "platform/platform.h"
#include "postern/string.h"

#define SECTOR 512

/* Offsets in the file and in the zero page alike. */
#define HDR_START        0x1f1
#define HDR_SETUP_SECTS  0x1f1 /* u8 */
#define HDR_SYSSIZE      0x1f4 /* u32, units of 16 bytes */
#define HDR_BOOT_FLAG    0x1fe /* u16 */
#define HDR_JUMP         0x201 /* u8: the header ends this far behind 202h */
#define HDR_MAGIC        0x202
#define HDR_VERSION      0x206 /* u16 */
#define HDR_LOADER       0x210 /* u8 */
#define HDR_RAMDISK      0x218 /* u32 */
#define HDR_RAMDISK_SIZE 0x21c /* u32 */
#define HDR_CMDLINE      0x228 /* u32 */
#define HDR_INITRD_MAX   0x22c /* u32: highest address an initrd may occupy */
#define HDR_ALIGNMENT    0x230 /* u32 */
#define HDR_RELOCATABLE  0x234 /* u8 */
#define HDR_XLOADFLAGS   0x236 /* u16 */
#define HDR_CMDLINE_SIZE 0x238 /* u32, without the NUL */
#define HDR_PAYLOAD      0x248 /* u32, from the start of the protected-mode kernel */
#define HDR_PAYLOAD_SIZE 0x24c /* u32 */
#define HDR_PREF_ADDRESS 0x258 /* u64 */
#define HDR_INIT_SIZE    0x260 /* u32 */
#define HDR_NEEDED       0x264 /* end of the last field used */

/* Zero page only. */
#define ZP_RSDP         0x070 /* u64 */
#define ZP_E820_ENTRIES 0x1e8 /* u8 */
#define ZP_HDR_END      0x290 /* the header must not grow into what follows */
#define ZP_E820         0x2d0
#define ZP_E820_MAX     128

#define BOOT_FLAG      0xaa55
#define VERSION_64BIT  0x020c /* first with xloadflags */
#define XLF_KERNEL_64  BIT(0)
#define LOADER_UNKNOWN 0xff
#define ENTRY_64       0x200

struct linux_image {
	const u8 *file;
	u64 file_size;
	u64 setup_size; /* where the protected-mode kernel starts in the file */
	u64 size;       /* its bytes in the file */
	u64 load;       /* guest-physical */
	u64 end;        /* end of what it needs */
	u64 initrd_max; /* highest address of an initrd */
	u32 cmdline_max;
};

static u64 field(const struct linux_image *image, u32 offset, u32 size)
{
	u64 value = 0;

	memcpy(&value, image->file + offset, size);
	return value;
}

/* Is this a kernel, and one that we know how to start? */
static bool linux_check_header(struct linux_image *image, struct refusal *refusal)
{
	if (image->file_size < HDR_NEEDED) {
		*refusal = REFUSED(FILE, "kernel: the file is too short to be a bzImage");
		return false;
	}
	if (field(image, HDR_BOOT_FLAG, 2) != BOOT_FLAG ||
	    memcmp(image->file + HDR_MAGIC, "HdrS", 4)) {
		*refusal = REFUSED(FILE, "kernel: not a bzImage");
		return false;
	}
	if (field(image, HDR_VERSION, 2) < VERSION_64BIT) {
		*refusal = REFUSED(
		        FILE, "kernel: too old, needs boot protocol 2.12 (Linux 3.8) or later");
		return false;
	}
	if (!(field(image, HDR_XLOADFLAGS, 2) & XLF_KERNEL_64)) {
		*refusal = REFUSED(FILE, "kernel: has no 64-bit entry point (a 32-bit kernel?)");
		return false;
	}
	return true;
}

/* Sizes within the file. */
static bool linux_check_size(struct linux_image *image, struct refusal *refusal)
{
	u64 sectors = field(image, HDR_SETUP_SECTS, 1);
	u64 needed = field(image, HDR_SYSSIZE, 4) * 16;
	u64 payload = field(image, HDR_PAYLOAD, 4) + field(image, HDR_PAYLOAD_SIZE, 4);

	/* 0 means 4, for kernels older than the field. */
	image->setup_size = ((sectors ? sectors : 4) + 1) * SECTOR;
	*refusal = REFUSED(FILE, "kernel: the file is truncated");
	if (image->file_size <= image->setup_size)
		return false;
	image->size = image->file_size - image->setup_size;
	/* syssize is rounded up to 16 bytes. What follows it (signatures) is not the kernel's. */
	if (image->size + 15 < needed || payload > image->size || image->size <= ENTRY_64)
		return false;
	if (needed > ENTRY_64)
		image->size = min_u64(image->size, max_u64(needed, payload));
	return true;
}

/* Where it goes, and whether there is memory. */
static bool linux_place(struct linux_image *image, struct vm *vm, struct refusal *refusal)
{
	u64 pref = field(image, HDR_PREF_ADDRESS, 8);
	u64 init_size = max_u64(field(image, HDR_INIT_SIZE, 4), image->size);
	u64 alignment = field(image, HDR_ALIGNMENT, 4);
	u64 ram_end = layout_low_ram_end(vm);

	image->load = pref;
	if (pref < LAYOUT_HIGH_RAM && field(image, HDR_RELOCATABLE, 1) && alignment &&
	    !(alignment & (alignment - 1)))
		image->load = ALIGN_UP(LAYOUT_HIGH_RAM, alignment);
	if (image->load < LAYOUT_HIGH_RAM) {
		*refusal = REFUSED(FILE, "kernel: its header asks for a load address below 1 MiB");
		return false;
	}
	if (image->load > ram_end || init_size > ram_end - image->load) {
		*refusal = REFUSED(ROOM, "kernel: too large for the guest's memory");
		return false;
	}
	image->end = image->load + init_size;
	image->initrd_max = field(image, HDR_INITRD_MAX, 4);
	image->cmdline_max = (u32)field(image, HDR_CMDLINE_SIZE, 4);
	return true;
}

/* Copy the initrd as high as the kernel accepts it. */
static bool linux_put_initrd(const struct linux_image *image, struct vm *vm, const void *initrd,
                             u64 size, u64 *address, struct refusal *refusal)
{
	u64 end = min_u64(layout_low_ram_end(vm), image->initrd_max + 1);

	*address = 0;
	if (!initrd || !size)
		return true;
	*refusal = REFUSED(ROOM, "initrd: too large for the guest's memory");
	if (size > end)
		return false;
	*address = ALIGN_DOWN(end - size, PAGE_SIZE);
	return *address >= image->end && vm_write(vm, GPA(*address), initrd, size);
}

static bool linux_put_cmdline(const struct linux_image *image, struct vm *vm, const char *cmdline,
                              struct refusal *refusal)
{
	u64 length = strlen(cmdline);

	if (length > image->cmdline_max || length >= LAYOUT_CMDLINE_SIZE) {
		*refusal = REFUSED(CONFIG, "command line: longer than the kernel accepts");
		return false;
	}
	return vm_write(vm, GPA(LAYOUT_CMDLINE), cmdline, length + 1);
}

static void zp_set(u8 *zero_page, u32 offset, u32 size, u64 value)
{
	memcpy(zero_page + offset, &value, size);
}

static void linux_put_memory_map(struct vm *vm, u8 *zero_page)
{
	struct layout_range map[LAYOUT_RANGES];
	u32 count = layout_memory_map(vm, map);

	_Static_assert(LAYOUT_RANGES <= ZP_E820_MAX && sizeof(map[0]) == 20, "E820 entries");
	memcpy(zero_page + ZP_E820, map, count * sizeof(map[0]));
	zero_page[ZP_E820_ENTRIES] = (u8)count;
}

static bool linux_put_zero_page(const struct linux_image *image, struct vm *vm, u64 initrd,
                                u64 initrd_size)
{
	u8 *zero_page = vm_memory(vm, GPA(LAYOUT_BOOT_PARAMS), PAGE_SIZE);
	u64 header_end = HDR_MAGIC + field(image, HDR_JUMP, 1);

	if (!zero_page)
		return false;
	header_end = min_u64(header_end, min_u64(image->file_size, ZP_HDR_END));
	memset(zero_page, 0, PAGE_SIZE);
	memcpy(zero_page + HDR_START, image->file + HDR_START, header_end - HDR_START);
	zp_set(zero_page, HDR_LOADER, 1, LOADER_UNKNOWN);
	zp_set(zero_page, HDR_CMDLINE, 4, LAYOUT_CMDLINE);
	zp_set(zero_page, HDR_RAMDISK, 4, initrd);
	zp_set(zero_page, HDR_RAMDISK_SIZE, 4, initrd ? initrd_size : 0);
	zp_set(zero_page, ZP_RSDP, 8, LAYOUT_RSDP);
	linux_put_memory_map(vm, zero_page);
	return true;
}

bool linux_load(struct vm *vm, const void *kernel, u64 kernel_size, const void *initrd,
                u64 initrd_size, const char *cmdline, struct refusal *refusal)
{
	struct linux_image image = {.file = kernel, .file_size = kernel_size};
	u64 initrd_at;

	if (!linux_check_header(&image, refusal) || !linux_check_size(&image, refusal) ||
	    !linux_place(&image, vm, refusal) ||
	    !linux_put_initrd(&image, vm, initrd, initrd_size, &initrd_at, refusal) ||
	    !linux_put_cmdline(&image, vm, cmdline ? cmdline : "", refusal))
		return false;
	*refusal = REFUSED(ROOM, "guest memory: none where the kernel has to go");
	if (!vm_write(vm, GPA(image.load), image.file + image.setup_size, image.size) ||
	    !linux_put_zero_page(&image, vm, initrd_at, initrd_size))
		return false;
	irqchip_virtual_wire(vm);
	if (!longmode_start(vm, image.load + ENTRY_64))
		return false;
	vm->vcpu[0]->regs.gpr[GPR_RSI] = LAYOUT_BOOT_PARAMS;
	*refusal = (struct refusal){0};
	return true;
}
