/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptor tables, and what becomes of each vector: CPU_VECTOR_* go to core/, NMIs and interrupts
 * that nobody asked for are counted and ignored, every other exception is a panic.
 *
 * APM volume 2, "Exceptions and Interrupts"; "Long-Mode Interrupt Control Transfers" for the
 * interrupt stack table. Double faults, machine checks and NMIs have stacks of their own, since
 * they may find the current one unusable.
 */
#include "metal.h"
#include "x86/msr.h"

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18

#define IST_FAULT 1
#define IST_NMI   2

#define ENTRY_SIZE 16 /* traps.S */

struct idt_gate {
	u16 offset_low;
	u16 selector;
	u8 ist;
	u8 type;
	u16 offset_mid;
	u32 offset_high;
	u32 reserved;
} __packed;
#define GATE_INTERRUPT 0x8e /* present, blocks interrupts */

struct table_register {
	u16 limit;
	u64 base;
} __packed;

extern u8 trap_entry[];
void trap_handle(struct trap_frame *frame); /* traps.S */

static struct idt_gate trap_idt[256]; /* constant after boot */

struct cpu *this_cpu(void)
{
	struct cpu *cpu;

	__asm__ volatile("mov %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

static u8 ist_of(u32 vector)
{
	if (vector == VECTOR_DF || vector == VECTOR_MC)
		return IST_FAULT;
	return vector == VECTOR_NMI ? IST_NMI : 0;
}

static void fill_idt(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(trap_idt); i++) {
		u64 entry = (uintptr_t)trap_entry + (u64)i * ENTRY_SIZE;

		trap_idt[i] = (struct idt_gate){
		        .offset_low = (u16)entry,
		        .selector = SELECTOR_CODE,
		        .ist = ist_of(i),
		        .type = GATE_INTERRUPT,
		        .offset_mid = (u16)(entry >> 16),
		        .offset_high = (u32)(entry >> 32),
		};
	}
}

static void fill_gdt(struct cpu_port *port)
{
	u64 base = (uintptr_t)&port->tss, limit = sizeof(port->tss) - 1;

	port->gdt[SELECTOR_CODE / 8] = 0x00af9b000000ffff; /* 64-bit code, ring 0 */
	port->gdt[SELECTOR_DATA / 8] = 0x00cf93000000ffff;
	port->gdt[SELECTOR_TSS / 8] =
	        limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	port->gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
}

/* Tables and GS of the calling processor. cpu->port is set. */
void trap_init_cpu(struct cpu *cpu)
{
	struct cpu_port *port = cpu->port;
	struct cpu_stacks *stacks = &cpu_stacks[cpu->index];
	struct table_register gdtr = {sizeof(port->gdt) - 1, (uintptr_t)port->gdt};
	struct table_register idtr = {sizeof(trap_idt) - 1, (uintptr_t)trap_idt};

	if (!cpu->index)
		fill_idt();
	fill_gdt(port);
	port->tss.ist[IST_FAULT - 1] = (uintptr_t)(stacks->fault + sizeof(stacks->fault));
	port->tss.ist[IST_NMI - 1] = (uintptr_t)(stacks->nmi + sizeof(stacks->nmi));
	port->tss.iomap = sizeof(port->tss);

	/* The selectors mean what they meant in the boot table, so none has to be loaded again. */
	__asm__ volatile("lgdt %0" : : "m"(gdtr));
	__asm__ volatile("lidt %0" : : "m"(idtr));
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
	insn_wrmsr(MSR_GS_BASE, (uintptr_t)cpu);
}

/* The physical APIC has delivered it. Interrupts blocked. */
static __inlined void take_interrupt(struct cpu *cpu, u8 vector)
{
	struct cpu_port *port = cpu->port;

	switch (vector) {
	case CPU_VECTOR_DEVICE ... CPU_VECTOR_DEVICE_LAST:
	case CPU_VECTOR_TIMER:
	case CPU_VECTOR_KICK:
	case CPU_VECTOR_FORCE:
	case CPU_VECTOR_DOORBELL:
	case CPU_VECTOR_NOTIFY:
	case CPU_VECTOR_WAKEUP:
		insn_apic_eoi();
		cpu_handle_interrupt(cpu, vector);
		break;
	case CPU_VECTOR_SPURIOUS: /* not in service: no EOI */
		cpu_handle_interrupt(cpu, vector);
		break;
	default:
		/* Something that firmware left switched on, or a spurious one of the 8259s. */
		port->strays++;
		insn_apic_eoi();
		break;
	}
}

void insn_take_interrupt(u8 vector)
{
	take_interrupt(this_cpu(), vector);
}

void trap_handle(struct trap_frame *frame)
{
	u8 vector = (u8)frame->vector;
	struct cpu *cpu;
	struct cpu_port *port;

	if (vector < 32 && vector != VECTOR_NMI)
		panic_exception(frame);
	if (vector == VECTOR_NMI && panic_is_on())
		panic_halt();

	cpu = this_cpu();
	if (vector != VECTOR_NMI) {
		take_interrupt(cpu, vector);
		return;
	}
	port = cpu->port;
	port->nmis++;
}

void port_irqs_block(void)
{
	__asm__ volatile("cli" : : : "memory");
}

void port_irqs_unblock(void)
{
	__asm__ volatile("sti" : : : "memory");
}

void port_idle(void)
{
	/* STI takes effect after the next instruction, so nothing is taken before HLT. */
	__asm__ volatile("sti; hlt" : : : "memory");
}
