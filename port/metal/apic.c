/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical local APIC, as a page of registers (xAPIC) or as MSRs (x2APIC, whenever the
 * processor has it), and its timer: TSC-deadline mode where there is one, else the counter.
 *
 * Rules this file lives by (SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)"):
 *  - In xAPIC mode a write of ICR's low half sends, so the destination goes first, and one waits
 *    until the last one is gone. Interrupt handlers send nothing, so no other write of the same
 *    processor can come between.
 *  - WRMSR to an x2APIC register or to TSC_DEADLINE does not order earlier stores: MFENCE + LFENCE
 *    does ("MSR Access in x2APIC Mode").
 *  - A TSC deadline in the past fires at once; 0 disarms.
 */
#include "metal.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define CPUID_1_ECX_X2APIC   BIT(21)
#define CPUID_1_ECX_DEADLINE BIT(24)

#define TIMER_DIVIDE_BY_1 0xb
#define TIMER_LONGEST                                                                              \
	0x7fffffffu /* counts; a later deadline is armed again when this one fires                 \
	             */
#define TIMER_RUNS   5
#define TIMER_RUN_US 5000

/* Constant after boot, as the other three. A panic may need it before apic_init_boot(). */
static volatile u8 *apic_page = (volatile u8 *)APIC_BASE_DEFAULT;
static bool apic_x2apic;
static bool apic_deadline;
static u64 apic_counts_per_tsc; /* 0.32 fixed point */

bool apic_is_x2apic(void)
{
	return apic_x2apic;
}

bool apic_has_deadline(void)
{
	return apic_deadline;
}

static u32 apic_read(u32 reg)
{
	if (apic_x2apic)
		return (u32)insn_rdmsr(MSR_X2APIC_FIRST + reg / 16);
	return *(volatile u32 *)(apic_page + reg);
}

static void apic_write(u32 reg, u32 value)
{
	if (apic_x2apic)
		insn_wrmsr(MSR_X2APIC_FIRST + reg / 16, value);
	else
		*(volatile u32 *)(apic_page + reg) = value;
}

static void order_before_msr(void)
{
	__asm__ volatile("mfence; lfence" : : : "memory");
}

void insn_apic_send(u32 dest, u32 icr_low)
{
	if (apic_x2apic) {
		order_before_msr();
		insn_wrmsr(MSR_X2APIC_FIRST + APIC_ICR / 16, (u64)dest << 32 | icr_low);
		return;
	}
	wait_until(!(apic_read(APIC_ICR) & APIC_ICR_BUSY));
	apic_write(APIC_ICR2, dest << 24);
	apic_write(APIC_ICR, icr_low);
}

bool insn_apic_pending(u8 vector)
{
	return apic_read(APIC_IRR + vector / 32 * 16) >> (vector % 32) & 1;
}

void insn_apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

u32 insn_apic_id(void)
{
	return apic_x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void port_send_ipi(u32 apic_id, u8 vector)
{
	insn_apic_send(apic_id, APIC_DM_FIXED | APIC_LEVEL_ASSERT | vector);
}

/* What this processor has. The mode chosen here holds for all of them. */
void apic_init_boot(void)
{
	struct cpuid_regs r;

	insn_cpuid(1, 0, &r);
	apic_x2apic = r.ecx & CPUID_1_ECX_X2APIC;
	apic_deadline = r.ecx & CPUID_1_ECX_DEADLINE;
	apic_page = hpa_to_ptr(HPA(insn_rdmsr(MSR_APIC_BASE) & PTE_ADDR));
	if (!apic_x2apic)
		paging_set_uncached((uintptr_t)apic_page);
	apic_init_cpu();
}

void apic_init_cpu(void)
{
	u64 base = insn_rdmsr(MSR_APIC_BASE) | APIC_BASE_EN;
	u32 last_lvt;

	/* From disabled to x2APIC there is no direct way: enabled first. */
	insn_wrmsr(MSR_APIC_BASE, base);
	if (apic_x2apic)
		insn_wrmsr(MSR_APIC_BASE, base | APIC_BASE_EXTD);

	apic_write(APIC_SVR, APIC_SVR_ENABLE | CPU_VECTOR_SPURIOUS);
	apic_write(APIC_TPR, 0);
	last_lvt = apic_read(APIC_VERSION) >> 16 & 0xff;
	apic_write(APIC_LVT0, APIC_LVT_MASKED);
	apic_write(APIC_LVT1, APIC_LVT_MASKED);
	apic_write(APIC_LVTERR, APIC_LVT_MASKED | CPU_VECTOR_SPURIOUS);
	if (last_lvt >= 4)
		apic_write(APIC_LVTPC, APIC_LVT_MASKED);
	if (last_lvt >= 5)
		apic_write(APIC_LVTTHMR, APIC_LVT_MASKED);

	apic_write(APIC_TDCR, TIMER_DIVIDE_BY_1);
	apic_write(APIC_TMICT, 0);
	apic_write(APIC_LVTT,
	           CPU_VECTOR_TIMER | (apic_deadline ? APIC_LVTT_DEADLINE : APIC_LVTT_ONESHOT));
	/* An xAPIC's LVT is memory, the deadline an MSR: see "TSC-Deadline Mode". */
	order_before_msr();
}

/* One run: counts per TSC tick, 0.32 fixed point. */
static u64 measure_timer(void)
{
	u64 start, stop;
	u32 counted;

	start = insn_rdtsc();
	apic_write(APIC_TMICT, ~0u);
	clock_wait_us(TIMER_RUN_US);
	counted = ~apic_read(APIC_TMCCT);
	stop = insn_rdtsc();
	apic_write(APIC_TMICT, 0);
	return ((u64)counted << 32) / (stop - start);
}

void apic_init_timer(void)
{
	u64 rate[TIMER_RUNS];

	if (apic_deadline)
		return;
	apic_write(APIC_LVTT, CPU_VECTOR_TIMER | APIC_LVTT_ONESHOT | APIC_LVT_MASKED);
	for (u32 i = 0; i < TIMER_RUNS; i++)
		rate[i] = measure_timer();
	apic_counts_per_tsc = clock_median(rate, TIMER_RUNS);
	apic_write(APIC_LVTT, CPU_VECTOR_TIMER | APIC_LVTT_ONESHOT);
	if (!apic_counts_per_tsc)
		port_panic("the local APIC's timer stands still");
}

static u32 counts_until(u64 deadline)
{
	u64 now = insn_rdtsc(), counts;

	if (deadline <= now)
		return 1;
	/* 96 bits of product, of which those above 2^32 only say "longer than any". */
	if ((deadline - now) >> 33)
		return TIMER_LONGEST;
	counts = ((deadline - now) >> 16) * apic_counts_per_tsc >> 16;
	counts += ((deadline - now) & 0xffff) * apic_counts_per_tsc >> 32;
	/* Rounded up: a timer that fires a moment early only has to be armed again. */
	return counts < TIMER_LONGEST ? (u32)counts + 1 : TIMER_LONGEST;
}

void port_timer_arm(u64 deadline)
{
	if (apic_deadline)
		insn_wrmsr(MSR_TSC_DEADLINE, deadline == TSC_NEVER ? 0 : max_u64(deadline, 1));
	else
		apic_write(APIC_TMICT, deadline == TSC_NEVER ? 0 : counts_until(deadline));
}
