/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a run by a bug of Postern's own: registers, message and stack go to the console and,
 * as REPORT_PANIC records, to the host command; then the machine ends with a failure code.
 *
 * Here no lock is taken (its holder may be stopped), no memory is allocated, and the first panic is
 * the one that counts: a second one on the same processor ends the run at once, those of other
 * processors wait for the end.
 */
#include "core/machine.h"
#include "metal.h"
#include "postern/report.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define LINE_MAX  240
#define STACK_MAX 24

/* traps.S */
extern u32 panic_taken;
extern struct trap_frame panic_frame;
void panic_again(void) __noreturn;
void panic_print(const char *fmt, ...) __noreturn __printf(1, 2);

u32 panic_taken; /* [a] bit 0: somebody panics */
struct trap_frame panic_frame;
static u32 panic_apic_id = ~0u; /* whose panic it is */

bool panic_is_on(void)
{
	return __atomic_load_n(&panic_taken, __ATOMIC_ACQUIRE);
}

void panic_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

void panic_again(void)
{
	if (insn_apic_id() == __atomic_load_n(&panic_apic_id, __ATOMIC_ACQUIRE))
		metal_exit(REPORT_EXIT_PANIC);
	panic_halt();
}

static void __printf(1, 0) vline(const char *fmt, va_list args)
{
	struct {
		struct report_header header;
		char text[LINE_MAX];
	} __packed record;
	u32 n;

	vsnprintf(record.text, sizeof(record.text), fmt, args);
	n = (u32)strlen(record.text);
	record.header = (struct report_header){REPORT_MAGIC, REPORT_PANIC, 0, (u16)n};
	serial_panic_record(&record, (u32)sizeof(record.header) + n);
	serial_panic_line("postern: ");
	serial_panic_line(record.text);
	serial_panic_line("\r\n");
}

static void __printf(1, 2) line(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vline(fmt, args);
	va_end(args);
}

/* By the APIC: GS may be a guest's if the bug is in the entry code. */
static void print_cpu(void)
{
	const struct machine *machine = port_machine();
	u32 apic_id = insn_apic_id(), i;

	for (i = 0; i + 1 < machine->cpu_count && machine->cpu[i].apic_id != apic_id; i++)
		;
	line("panic on CPU %u (APIC ID %u)", i, apic_id);
}

static void print_registers(const struct trap_frame *f)
{
	line("rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
	line("rsi %016lx rdi %016lx rbp %016lx rsp %016lx", f->rsi, f->rdi, f->rbp, f->rsp);
	line("r8  %016lx r9  %016lx r10 %016lx r11 %016lx", f->r8, f->r9, f->r10, f->r11);
	line("r12 %016lx r13 %016lx r14 %016lx r15 %016lx", f->r12, f->r13, f->r14, f->r15);
	line("rip %016lx rflags %08lx cr0 %08lx cr2 %016lx cr3 %08lx cr4 %08lx efer %04lx", f->rip,
	     f->rflags, read_cr0(), read_cr2(), read_cr3(), read_cr4(), insn_rdmsr(MSR_EFER));
}

/* `back`: a return address. It is found by the call before it, which may be the last of its function. */
static void print_location(u64 rip, u32 back)
{
	u64 offset = 0;
	const char *name = symbol_find(rip - back, &offset);

	if (name)
		line("  %016lx %s+0x%lx", rip, name, offset + back);
	else
		line("  %016lx", rip);
}

static bool is_on_a_stack(u64 rbp)
{
	/* The record must not reach into the next page, which may be a guard. */
	return !(rbp & 15) && rbp >= (uintptr_t)stacks_start && rbp < (uintptr_t)stacks_end &&
	       !paging_is_guard(rbp);
}

/* Frame-pointer records, on the stacks only: a damaged chain ends, or runs into the limit. */
static void print_stack(const struct trap_frame *f)
{
	u64 rbp = f->rbp;

	line("stack:");
	print_location(f->rip, f == &panic_frame);
	for (u32 i = 0; i < STACK_MAX && is_on_a_stack(rbp); i++) {
		const u64 *record = hpa_to_ptr(HPA(rbp));

		if (!record[1])
			break;
		print_location(record[1], 1);
		rbp = record[0];
	}
}

static void stop_others(void)
{
	__atomic_store_n(&panic_apic_id, insn_apic_id(), __ATOMIC_RELEASE);
	if (port_machine()->cpu_count > 1)
		insn_apic_send(0, APIC_DM_NMI | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS);
}

static void __noreturn finish(const struct trap_frame *frame)
{
	struct {
		struct report_header header;
		struct report_end end;
	} __packed record = {
	        .header = {REPORT_MAGIC, REPORT_END, 0, sizeof(struct report_end)},
	        .end = {.ended = ENDED_PANIC},
	};

	print_registers(frame);
	print_stack(frame);
	for (u32 i = 0; i == 0 || i < port_machine()->vm_count; i++) {
		record.header.vm = (u8)i;
		serial_panic_record(&record, sizeof(record));
	}
	metal_exit(REPORT_EXIT_PANIC);
}

void panic_print(const char *fmt, ...)
{
	va_list args;

	stop_others();
	print_cpu();
	va_start(args, fmt);
	vline(fmt, args);
	va_end(args);
	finish(&panic_frame);
}

void panic_exception(struct trap_frame *frame)
{
	static const char *const names[32] = {
	        [VECTOR_DE] = "divide error",
	        [VECTOR_DB] = "debug",
	        [VECTOR_BP] = "breakpoint",
	        [VECTOR_OF] = "overflow",
	        [VECTOR_BR] = "bound range",
	        [VECTOR_UD] = "invalid opcode",
	        [VECTOR_NM] = "device not available",
	        [VECTOR_DF] = "double fault",
	        [VECTOR_TS] = "invalid TSS",
	        [VECTOR_NP] = "segment not present",
	        [VECTOR_SS] = "stack",
	        [VECTOR_GP] = "general protection",
	        [VECTOR_PF] = "page fault",
	        [VECTOR_MF] = "x87 floating point",
	        [VECTOR_AC] = "alignment check",
	        [VECTOR_MC] = "machine check",
	        [VECTOR_XM] = "SIMD floating point",
	};
	const char *name = names[frame->vector & 31];

	if (__atomic_fetch_or(&panic_taken, 1, __ATOMIC_SEQ_CST) & 1)
		panic_again();
	stop_others();
	print_cpu();
	line("exception %lu (%s), error code %lx", frame->vector, name ? name : "reserved",
	     frame->error);
	finish(frame);
}
