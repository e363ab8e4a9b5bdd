/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of port/metal share among themselves. Nothing outside port/metal includes it.
 *
 * State here is either constant after boot (marked) or guarded by the lock beside it.
 */
#ifndef METAL_METAL_H
#define METAL_METAL_H

#include "core/cpu.h"
#include "insn.h"
#include "postern/port.h"
#include "postern/string.h"

/* I/O ports */
static inline void out8(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline u8 in8(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline u32 in32(u16 port)
{
	u32 v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline void out8_string(u16 port, const void *data, u64 n)
{
	__asm__ volatile("rep outsb" : "+S"(data), "+c"(n) : "d"(port) : "memory");
}

/* Control registers */
#define METAL_CONTROL_REGISTER(n)                                                                  \
	static inline u64 read_cr##n(void)                                                         \
	{                                                                                          \
		u64 v;                                                                             \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v));                                  \
		return v;                                                                          \
	}                                                                                          \
	static inline void write_cr##n(u64 v)                                                      \
	{                                                                                          \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory");                         \
	}
METAL_CONTROL_REGISTER(0)
METAL_CONTROL_REGISTER(2)
METAL_CONTROL_REGISTER(3)
METAL_CONTROL_REGISTER(4)

/* The image, from image.ld. */
extern u8 image_start[], image_end[];
extern u8 text_start[], text_end[], rodata_end[], stacks_start[], stacks_end[];

/* What the boot loader told us, copied out of its memory by multiboot.c; constant after boot. */
#define BOOT_RANGES  256
#define BOOT_FILES   16
#define BOOT_CMDLINE 1024

struct boot_range {
	u64 start, end;
	bool usable;
};

struct boot_file {
	u64 start, size;
	char name[64];
};

/* A screen in text mode: two bytes for each character. */
struct boot_text {
	u64 address; /* 0: there is none */
	u32 columns, rows;
	u32 pitch; /* bytes from one row to the next */
};

struct boot_info {
	struct boot_range range[BOOT_RANGES];
	u32 range_count;
	struct boot_file file[BOOT_FILES];
	u32 file_count;
	char cmdline[BOOT_CMDLINE];
	u8 rsdp[36]; /* ACPI's root pointer, if the loader supplies it */
	bool has_rsdp;
	struct boot_text text;
};

extern struct boot_info boot_info;
void multiboot_parse(u32 magic, u64 info);
/* Whether `word` is one of the words of the command line. */
bool multiboot_has_option(const char *word);

/* memory.c: memory_add() frees usable memory of [start, end); needs it mapped. */
void memory_add(u64 start, u64 end);

/* paging.c */
u64 paging_top(void);
void paging_init(void);
/* Whether `address` is in one of the pages below the stacks that are never mapped. */
bool paging_is_guard(u64 address);
void paging_set_executable(u64 page, bool executable);
void paging_set_uncached(u64 address);

/* acpi.c: what boot needs of the tables; constant after acpi_init(). */
struct acpi_info {
	u32 cpu_apic_id[MAX_CPUS];
	u32 cpu_count;
	u32 cpus_left_out; /* more than MAX_CPUS, or out of the APIC's reach */
	u64 ioapic[8];
	u32 ioapic_count;
	u32 pm_timer_port; /* 0: none */
};
extern struct acpi_info acpi_info;
void acpi_find_root(void);
void acpi_init(void);

/* chips.c: the 8259s and I/O APICs are the guests' only in their emulated form. */
void chips_mask_pics(void);
void chips_mask_ioapics(void);
/* On an emulator that loses interrupts: one to all processors, now and then. They take interrupts. */
void chips_start_tick(void);

#define PIT_COMMAND 0x43 /* of the 8254: channel 0 is chips.c's, channel 2 clock.c's */

/* clock.c */
/* CPUID's first leaf of the hypervisor or emulator that this runs on. false: there is none. */
bool clock_hypervisor(struct cpuid_regs *r);
void clock_init(void);
void clock_wait_us(u64 us);
u64 clock_median(u64 *v, u32 n);

/* apic.c */
void apic_init_boot(void);
void apic_init_cpu(void);
void apic_init_timer(void);
bool apic_is_x2apic(void);
bool apic_has_deadline(void);

/* trap.c: the frame that traps.S builds. The first two members form a frame-pointer record. */
struct trap_frame {
	u64 link_rbp, link_rip;
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};
_Static_assert(offsetof(struct trap_frame, r15) == 2 * 8, "traps.S");
_Static_assert(offsetof(struct trap_frame, rax) == 16 * 8, "traps.S");
_Static_assert(offsetof(struct trap_frame, rip) == 19 * 8, "traps.S");
_Static_assert(offsetof(struct trap_frame, rflags) == 21 * 8, "traps.S");
_Static_assert(offsetof(struct trap_frame, rsp) == 22 * 8, "traps.S");

struct tss {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7];
	u64 reserved2;
	u16 reserved3;
	u16 iomap;
} __packed;
_Static_assert(sizeof(struct tss) == 104, "64-bit task state segment");

/* A processor's stacks, each below a page that is not mapped. */
struct cpu_stacks {
	u8 guard0[PAGE_SIZE];
	u8 main[4 * PAGE_SIZE];
	u8 guard1[PAGE_SIZE];
	u8 fault[2 * PAGE_SIZE]; /* double faults and machine checks */
	u8 guard2[PAGE_SIZE];
	u8 nmi[2 * PAGE_SIZE];
} __aligned(PAGE_SIZE);
_Static_assert(offsetof(struct cpu_stacks, guard1) == 0x5000, "boot.S");
_Static_assert(sizeof(struct cpu_stacks) == 0xb000 && MAX_CPUS == 17, "boot.S");
extern struct cpu_stacks cpu_stacks[MAX_CPUS];

/* struct cpu's ->port */
struct cpu_port {
	u64 gdt[5];
	struct tss tss;
	u64 nmis;               /* [o] ignored */
	u64 strays;             /* [o] interrupts on vectors that nobody uses, ignored */
	struct atomic32 parked; /* [a] initialised, waits for port_release_cpus() */
};

void trap_init_cpu(struct cpu *cpu);

/* smp.c */
void smp_init_boot(void);
void smp_start(void);
/* Called from boot.S on each application processor. */
void smp_main(struct cpu *cpu);

/* serial.c */
void serial_init(void);
bool serial_has_reports(void);
void serial_set_log(bool to_console);
/* The log and VM 0's console appear on the screen, too. */
void serial_use_screen(void);
/* What is typed for VM 0 comes by the third port, if there is one. */
void serial_take_input_apart(void);
/* Port E9h is an emulator's: no real machine answers like that. */
bool serial_has_debugcon(void);
/* Until all that was written has gone out. */
void serial_drain(void);
/* For panics: no locks. */
void serial_panic_line(const char *text);
void serial_panic_record(const void *data, u32 len);

/* screen.c; false: there is no screen in text mode. Callers of screen_write() take turns. */
bool screen_start(void);
void screen_write(const u8 *data, u32 len);

/* panic.c */
void panic_exception(struct trap_frame *frame) __noreturn;
bool panic_is_on(void);
void panic_halt(void) __noreturn;
/* symbols.c: function that contains `rip`, and the distance from its start; NULL: none. */
const char *symbol_find(u64 rip, u64 *offset);

/*
 * main.c: end the run with REPORT_EXIT_* for QEMU's isa-debug-exit, by Bochs's shutdown port, or halt where
 * there is neither.
 */
#define METAL_EXIT_PORT     0x501
#define METAL_SHUTDOWN_PORT 0x8900
void metal_exit(u8 code) __noreturn;
void metal_main(u32 magic, u64 info) __noreturn;

#endif
