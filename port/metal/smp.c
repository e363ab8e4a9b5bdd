/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other processors: woken by INIT and start-up IPIs, initialised, parked in HLT until
 * port_release_cpus(). Intel SDM volume 3, "Multiple-Processor (MP) Initialization".
 *
 * They are started one after the other, so that one trampoline, one smp_boot_stack and one
 * smp_boot_cpu serve all. One that does not answer in time is sent back to its wait by another INIT
 * before the next is started, so that it cannot come up late with the next one's stack.
 */
#include "core/machine.h"
#include "core/main.h"
#include "metal.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define CPUID_1_ECX_XSAVE  BIT(26)
#define CPUID_7_EBX_SMEP   BIT(7)
#define CPUID_7_EBX_SMAP   BIT(20)
#define LOW_MEMORY_END     0xa0000
#define TRAMPOLINE_DEFAULT 0x8000

#define INIT_WAIT_US  10000
#define SIPI_WAIT_US  300
#define START_WAIT_US 1000000

extern u8 trampoline_start[], trampoline_end[]; /* boot.S */

/* Read by boot.S on the processor that starts. */
extern u64 smp_boot_stack;
extern struct cpu *smp_boot_cpu;
u64 smp_boot_stack;
struct cpu *smp_boot_cpu;

static struct machine smp_machine;
static struct cpu_port smp_port[MAX_CPUS];
static struct atomic32 smp_released; /* [a] */

struct machine *port_machine(void)
{
	return &smp_machine;
}

/*
 * Control registers and FPU as the hypervisor and its guests' state need them. The hypervisor uses
 * no FPU itself, but saves and restores the guests' there.
 */
static void init_registers(void)
{
	u64 cr0 = read_cr0(), cr4 = read_cr4();
	struct cpuid_regs r;

	insn_cpuid(1, 0, &r);
	cr0 &= ~(CR0_EM | CR0_TS | CR0_CD | CR0_NW);
	cr0 |= CR0_MP | CR0_NE | CR0_WP;
	cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_MCE;
	if (r.ecx & CPUID_1_ECX_XSAVE)
		cr4 |= CR4_OSXSAVE;
	/*
	 * What guests have set too: an emulator flushes its TLB once more at each entry and exit
	 * for every difference. There are no user pages, so SMEP and SMAP cost nothing.
	 */
	cr4 |= CR4_PSE | CR4_PGE;
	insn_cpuid(0, 0, &r);
	if (r.eax >= 7)
		insn_cpuid(7, 0, &r);
	else
		r.ebx = 0;
	if (r.ebx & CPUID_7_EBX_SMEP)
		cr4 |= CR4_SMEP;
	if (r.ebx & CPUID_7_EBX_SMAP)
		cr4 |= CR4_SMAP;
	write_cr0(cr0);
	write_cr4(cr4);
	/* As after reset: nested pages select memory types from it (mmu/nested.c). */
	insn_wrmsr(MSR_PAT, PAT_RESET);
	__asm__ volatile("fninit");
}

static struct cpu *add_cpu(u32 apic_id)
{
	u32 index = smp_machine.cpu_count++;
	struct cpu *cpu = &smp_machine.cpu[index];

	cpu->self = cpu;
	cpu->index = index;
	cpu->apic_id = apic_id;
	cpu->port = &smp_port[index];
	return cpu;
}

/* The boot processor, before anything can fail: panics want this_cpu() and an IDT. */
void smp_init_boot(void)
{
	init_registers();
	trap_init_cpu(add_cpu(0));
}

void smp_main(struct cpu *cpu)
{
	struct cpu_port *port = cpu->port;

	init_registers();
	trap_init_cpu(cpu);
	apic_init_cpu();
	atomic32_set_release(&port->parked, 1);

	port_irqs_block();
	while (!atomic32_read_acquire(&smp_released)) {
		port_idle();
		port_irqs_block();
	}
	port_irqs_unblock();
	cpu_main(cpu);
	panic_halt();
}

void port_release_cpus(void)
{
	atomic32_set_release(&smp_released, 1);
	for (u32 i = 1; i < smp_machine.cpu_count; i++)
		port_send_ipi(smp_machine.cpu[i].apic_id, CPU_VECTOR_KICK);
}

/* A boot file lies there: GRUB puts small ones below 640 KiB when it is started by UEFI. */
static bool holds_file(u64 page)
{
	for (u32 i = 0; i < boot_info.file_count; i++) {
		const struct boot_file *file = &boot_info.file[i];

		if (file->start < page + PAGE_SIZE && page < file->start + file->size)
			return true;
	}
	return false;
}

/* A free page below 640 KiB that the memory map calls usable; not the first. */
static u64 find_trampoline_page(void)
{
	for (u32 i = 0; i < boot_info.range_count; i++) {
		u64 start = max_u64(boot_info.range[i].start, PAGE_SIZE);
		u64 end = ALIGN_DOWN(min_u64(boot_info.range[i].end, LOW_MEMORY_END), PAGE_SIZE);

		if (!boot_info.range[i].usable)
			continue;
		for (; end >= start + PAGE_SIZE; end -= PAGE_SIZE)
			if (!holds_file(end - PAGE_SIZE))
				return end - PAGE_SIZE;
	}
	return TRAMPOLINE_DEFAULT;
}

static bool wait_for_parked(struct cpu_port *port, u64 us)
{
	u64 start = port_tsc(), ticks = us * port_tsc_khz() / 1000;

	wait_until(atomic32_read_acquire(&port->parked) || port_tsc() - start >= ticks);
	return atomic32_read_acquire(&port->parked);
}

static bool start_cpu(struct cpu *cpu, u64 page)
{
	struct cpu_stacks *stacks = &cpu_stacks[cpu->index];
	u32 sipi = APIC_DM_SIPI | APIC_LEVEL_ASSERT | (u32)(page / PAGE_SIZE);

	smp_boot_stack = (uintptr_t)(stacks->main + sizeof(stacks->main));
	smp_boot_cpu = cpu;
	smp_mb();
	insn_apic_send(cpu->apic_id, sipi);
	if (wait_for_parked(cpu->port, SIPI_WAIT_US))
		return true;
	insn_apic_send(cpu->apic_id, sipi);
	if (wait_for_parked(cpu->port, START_WAIT_US))
		return true;
	insn_apic_send(cpu->apic_id, APIC_DM_INIT | APIC_LEVEL_ASSERT);
	return false;
}

void smp_start(void)
{
	u64 page = find_trampoline_page();
	u32 failed = 0;

	paging_set_executable(page, true);
	memcpy(hpa_to_ptr(HPA(page)), trampoline_start, (u64)(trampoline_end - trampoline_start));
	for (u32 i = 1; i < acpi_info.cpu_count; i++)
		insn_apic_send(acpi_info.cpu_apic_id[i], APIC_DM_INIT | APIC_LEVEL_ASSERT);
	if (acpi_info.cpu_count > 1)
		clock_wait_us(INIT_WAIT_US);
	for (u32 i = 1; i < acpi_info.cpu_count; i++) {
		if (start_cpu(add_cpu(acpi_info.cpu_apic_id[i]), page))
			continue;
		port_log("processor with APIC ID %u does not start", acpi_info.cpu_apic_id[i]);
		smp_machine.cpu_count--;
		failed++;
	}
	paging_set_executable(page, false);
	port_log("processors: %u, %s, timer by %s%s", smp_machine.cpu_count,
	         apic_is_x2apic() ? "x2APIC" : "xAPIC",
	         apic_has_deadline() ? "TSC deadline" : "APIC counter",
	         failed || acpi_info.cpus_left_out ? "; others left out" : "");
}
