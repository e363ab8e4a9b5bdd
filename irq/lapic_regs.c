/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the guest reaches the local APIC's registers: the page (xAPIC), the MSRs 800h..8FFh (x2APIC),
 * and APIC_BASE, which chooses between them.
 *
 * The rules (SDM volume 3 "Local APIC", "Extended XAPIC (x2APIC)"; APM volume 2, same titles):
 *  - The page takes aligned 32-bit accesses. What else happens there is not architecture: a read of
 *    a part of a register gives that part, any other read gives 0, any other write is dropped. An
 *    access of a register that is not there, or a write of a read-only one, sets bit 7 of ESR.
 *  - The MSRs answer in x2APIC mode only. #GP for a register that is not there, a write of a
 *    read-only one, a read of a write-only one, and a reserved bit that is not zero.
 *  - Modes change along: disabled - xAPIC - x2APIC - disabled. All else is #GP.
 */
#include "irq/lapic_priv.h"

#include "core/cpuid.h"
#include "core/vm.h"
#include "irq/eoi_exit.h"
#include "irq/extint.h"

#define LAPIC_REGISTERS (0x400 / LAPIC_STRIDE)

enum {
	PAGE_READ = BIT(0),
	PAGE_WRITE = BIT(1),
	MSR_READ = BIT(2),
	MSR_WRITE = BIT(3),
	READ = PAGE_READ | MSR_READ,
	WRITE = PAGE_WRITE | MSR_WRITE,
};

struct lapic_reg {
	u8 access;
	u32 mask;    /* bits that a write changes; the others keep their reset value */
	u32 ignored; /* bits that WRMSR may set to no effect: read-only, not reserved */
	/* NULL: the word of the page. */
	u32 (*read)(struct lapic *lapic);
	/* Gets value & mask. NULL: store that. */
	void (*write)(struct lapic *lapic, u32 offset, u32 value);
};

/* ---- writes with consequences ---- */

void lapic_changed(struct lapic *lapic)
{
	accel_local_changed(lapic->vcpu);
	apic_map_rebuild(lapic->vcpu->vm);
}

/* What a sender's processor has posted until its table said otherwise belongs to what was before. */
void lapic_changed_by_reset(struct lapic *lapic)
{
	lapic_changed(lapic);
	if (lapic->by & LAPIC_BY_OWNER)
		lapic_forget_posted(lapic);
}

/* ID, LDR, DFR: who is reached by what. */
static void write_mapped(struct lapic *lapic, u32 offset, u32 value)
{
	u32 reset_ones = offset == APIC_DFR ? 0x0fffffff : 0;

	value |= reset_ones;
	if (lapic_get(lapic, offset) == value)
		return;
	lapic_set(lapic, offset, value);
	apic_map_rebuild(lapic->vcpu->vm);
}

static void write_tpr(struct lapic *lapic, u32 offset, u32 value)
{
	(void)offset;
	lapic_set_tpr(lapic, (u8)value);
}

static void write_eoi(struct lapic *lapic, u32 offset, u32 value)
{
	(void)offset;
	(void)value;
	lapic_eoi(lapic);
}

static void write_svr(struct lapic *lapic, u32 offset, u32 value)
{
	static const u16 lvts[] = {APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC,
	                           APIC_LVT0, APIC_LVT1,    APIC_LVTERR};
	u32 old = lapic_get(lapic, offset);

	lapic_set(lapic, offset, value);
	if (!((old ^ value) & APIC_SVR_ENABLE))
		return;
	/* Disabling masks the whole LVT, and enabling does not undo that. */
	for (u32 i = 0; !(value & APIC_SVR_ENABLE) && i < ARRAY_SIZE(lvts); i++)
		atomic32_fetch_or(lapic_word(lapic, lvts[i]), APIC_LVT_MASKED);
	lapic_changed(lapic);
}

/* The errors so far become readable, and the first of the next ones raises the LVT entry again. */
static void write_esr(struct lapic *lapic, u32 offset, u32 value)
{
	(void)value;
	lapic_set(lapic, offset, atomic32_xchg(&lapic->esr_pending, 0));
}

/*
 * Where the page has ICR's upper half. In x2APIC mode it is the MSR's: AMD's interrupt virtualization finds it in the
 * register beside, Intel's IPI virtualization has eight bytes at 300h.
 */
static u32 icr_high_offset(const struct lapic *lapic)
{
	return lapic_in_x2apic(lapic) && lapic->icr_in_one ? APIC_ICR + 4 : APIC_ICR2;
}

static u32 icr_dest(const struct lapic *lapic)
{
	u32 high = lapic_get(lapic, icr_high_offset(lapic));

	return lapic_in_x2apic(lapic) ? high : high >> 24;
}

static void write_icr(struct lapic *lapic, u32 offset, u32 value)
{
	lapic_set(lapic, offset, value);
	lapic_send(lapic, value, icr_dest(lapic));
}

static void write_self(struct lapic *lapic, u32 offset, u32 value)
{
	(void)offset;
	lapic_send_self(lapic, (u8)value);
}

static u32 lvt_forced(const struct lapic *lapic, u32 value)
{
	return lapic_software_enabled(lapic) ? value : value | APIC_LVT_MASKED;
}

static void write_lvt(struct lapic *lapic, u32 offset, u32 value)
{
	lapic_set(lapic, offset, lvt_forced(lapic, value));
}

static bool looks_at_level(u32 lvt)
{
	return (lvt & APIC_LVT_LEVEL) || (lvt & APIC_DM_MASK) == APIC_DM_EXTINT;
}

/* Another processor may set LVT0's remote IRR meanwhile; switching to edge clears it. */
static void write_lint(struct lapic *lapic, u32 offset, u32 value)
{
	struct atomic32 *word = lapic_word(lapic, offset);
	u32 keep = value & APIC_LVT_LEVEL ? APIC_LVT_REMOTE_IRR : 0;
	u32 old;

	do {
		old = atomic32_read(word);
	} while (!atomic32_cmpxchg(word, old, lvt_forced(lapic, value) | (old & keep)));
	if (offset == APIC_LVT0 && ((old | value) & APIC_LVT_LEVEL))
		eoi_exit_local_changed(lapic->vcpu);
	/* To an entry that looks at the level, an INTR that is up already is a request. */
	if (offset == APIC_LVT0 && looks_at_level(value) && extint_has(lapic->vcpu->vm))
		lapic_local_interrupt(lapic->vcpu, APIC_LVT0);
}

static void write_lvtt(struct lapic *lapic, u32 offset, u32 value)
{
	(void)offset;
	if (!lapic->vcpu->vm->config.tsc_deadline)
		value &= ~APIC_LVTT_DEADLINE;
	lapic_timer_write_lvt(lapic, lvt_forced(lapic, value));
}

static void write_initial_count(struct lapic *lapic, u32 offset, u32 value)
{
	(void)offset;
	lapic_timer_write_initial_count(lapic, value);
}

static void write_divide(struct lapic *lapic, u32 offset, u32 value)
{
	(void)offset;
	lapic_timer_write_divide(lapic, value);
}

/* ---- the table ---- */

#define LVT_VECTOR    (0xffu | APIC_LVT_MASKED)
#define LVT_DM        (LVT_VECTOR | APIC_DM_MASK)
#define LVT_PIN       (LVT_DM | APIC_LVT_POLARITY | APIC_LVT_LEVEL)
#define LVT_TIMER     (LVT_VECTOR | APIC_LVTT_MODE)
#define LVT_READ_ONLY APIC_LVT_BUSY
#define PIN_READ_ONLY (APIC_LVT_BUSY | APIC_LVT_REMOTE_IRR)
#define SVR_MASK      (0xffu | APIC_SVR_ENABLE | APIC_SVR_FOCUS | APIC_SVR_NO_BROADCAST)
#define ICR_MASK                                                                                   \
	(0x7ffu | APIC_DEST_LOGICAL | APIC_LEVEL_ASSERT | APIC_TRIGGER_LEVEL | APIC_DEST_SHORTHAND)
#define AT(offset)  [(offset) / LAPIC_STRIDE]
#define AT8(offset) [(offset) / LAPIC_STRIDE...(offset) / LAPIC_STRIDE + 7]

/*
 * Not there: CMCI (see LAPIC_VERSION). ICR as an MSR has 64 bits and a path of its own. AMD ignores
 * or refuses bit 12 (delivery status) of ICR depending on the generation, Intel ignores it; so do
 * we.
 */
/* clang-format off */
static const struct lapic_reg registers[LAPIC_REGISTERS] = {
	AT(APIC_ID)      = {READ | PAGE_WRITE, 0xff000000, 0, NULL, write_mapped},
	AT(APIC_VERSION) = {READ, 0, 0, NULL, NULL},
	AT(APIC_TPR)     = {READ | WRITE, 0xff, 0, NULL, write_tpr},
	AT(APIC_APR)     = {PAGE_READ, 0, 0, NULL, NULL},
	AT(APIC_PPR)     = {READ, 0, 0, NULL, NULL},
	AT(APIC_EOI)     = {WRITE, 0, 0, NULL, write_eoi},
	AT(APIC_RRD)     = {PAGE_READ, 0, 0, NULL, NULL},
	AT(APIC_LDR)     = {READ | PAGE_WRITE, 0xff000000, 0, NULL, write_mapped},
	AT(APIC_DFR)     = {PAGE_READ | PAGE_WRITE, 0xf0000000, 0, NULL, write_mapped},
	AT(APIC_SVR)     = {READ | WRITE, SVR_MASK, 0, NULL, write_svr},
	AT8(APIC_ISR)    = {READ, 0, 0, NULL, NULL},
	AT8(APIC_TMR)    = {READ, 0, 0, NULL, NULL},
	AT8(APIC_IRR)    = {READ, 0, 0, NULL, NULL},
	AT(APIC_ESR)     = {READ | WRITE, 0, 0, NULL, write_esr},
	AT(APIC_ICR)     = {READ | WRITE, ICR_MASK, APIC_ICR_BUSY, NULL, write_icr},
	AT(APIC_ICR2)    = {PAGE_READ | PAGE_WRITE, 0xff000000, 0, NULL, NULL},
	AT(APIC_LVTT)    = {READ | WRITE, LVT_TIMER, LVT_READ_ONLY, NULL, write_lvtt},
	AT(APIC_LVTTHMR) = {READ | WRITE, LVT_DM, LVT_READ_ONLY, NULL, write_lvt},
	AT(APIC_LVTPC)   = {READ | WRITE, LVT_DM, LVT_READ_ONLY, NULL, write_lvt},
	AT(APIC_LVT0)    = {READ | WRITE, LVT_PIN, PIN_READ_ONLY, NULL, write_lint},
	AT(APIC_LVT1)    = {READ | WRITE, LVT_PIN, PIN_READ_ONLY, NULL, write_lint},
	AT(APIC_LVTERR)  = {READ | WRITE, LVT_VECTOR, LVT_READ_ONLY, NULL, write_lvt},
	AT(APIC_TMICT)   = {READ | WRITE, 0xffffffff, 0, NULL, write_initial_count},
	AT(APIC_TMCCT)   = {READ, 0, 0, lapic_timer_current_count, NULL},
	AT(APIC_TDCR)    = {READ | WRITE, 0xb, 0, NULL, write_divide},
	AT(APIC_SELF)    = {MSR_WRITE, 0xff, 0, NULL, write_self},
};
/* clang-format on */

static const struct lapic_reg *find_register(u32 offset)
{
	return offset / LAPIC_STRIDE < LAPIC_REGISTERS ? &registers[offset / LAPIC_STRIDE] : NULL;
}

static u32 read_register(struct lapic *lapic, const struct lapic_reg *reg, u32 offset)
{
	return reg->read ? reg->read(lapic) : lapic_get(lapic, offset);
}

static void write_register(struct lapic *lapic, const struct lapic_reg *reg, u32 offset, u32 value)
{
	if (reg->write)
		reg->write(lapic, offset, value & reg->mask);
	else
		lapic_set(lapic, offset, value & reg->mask);
}

/* ---- the page ---- */

/* In the other modes the page is not decoded: as an address that nobody answers. */
static bool is_decoded(struct vcpu *vcpu)
{
	gpa_t base;

	return lapic_xapic_base(vcpu, &base);
}

u64 lapic_mmio_read(struct vcpu *vcpu, u32 offset, u32 size)
{
	struct lapic *lapic = &vcpu->lapic;
	u32 base = ALIGN_DOWN(offset, (u32)LAPIC_STRIDE);
	u32 byte = offset - base;
	const struct lapic_reg *reg = find_register(base);
	u32 value;

	if (!is_decoded(vcpu))
		return ~0ull;
	if (byte >= 4 || size > 4 - byte)
		return 0;
	if (!reg || !(reg->access & (PAGE_READ | PAGE_WRITE))) {
		lapic_error(lapic, APIC_ESR_ILLEGAL_REG);
		return 0;
	}
	if (!(reg->access & PAGE_READ))
		return 0;
	value = read_register(lapic, reg, base) >> (byte * 8);
	return size < 4 ? value & (BIT(size * 8) - 1) : value;
}

void lapic_mmio_write(struct vcpu *vcpu, u32 offset, u32 size, u64 value)
{
	struct lapic *lapic = &vcpu->lapic;
	const struct lapic_reg *reg = find_register(offset);

	if (!is_decoded(vcpu) || size != 4 || offset % LAPIC_STRIDE)
		return;
	if (!reg || !(reg->access & PAGE_WRITE)) {
		lapic_error(lapic, APIC_ESR_ILLEGAL_REG);
		return;
	}
	write_register(lapic, reg, offset, (u32)value);
	if (lapic_is_accelerated(lapic))
		lapic_keep(lapic);
}

void lapic_write_again(struct lapic *lapic, u32 offset, u32 value)
{
	const struct lapic_reg *reg = find_register(offset);

	if (lapic_in_x2apic(lapic)) {
		/* A processor that lets WRMSR of a read-only register trap: it stays as it was. */
		if (reg && reg->access & MSR_WRITE)
			write_register(lapic, reg, offset, value);
		return;
	}
	if (reg && reg->access & PAGE_WRITE)
		write_register(lapic, reg, offset, value);
	else
		lapic_error(lapic, APIC_ESR_ILLEGAL_REG);
}

/* ---- the MSRs ---- */

static bool x2apic_read(struct lapic *lapic, u32 offset, u64 *value)
{
	const struct lapic_reg *reg = find_register(offset);

	if (!lapic_in_x2apic(lapic) || !reg || !(reg->access & MSR_READ))
		return false;
	*value = read_register(lapic, reg, offset);
	if (offset == APIC_ICR)
		*value |= (u64)lapic_get(lapic, icr_high_offset(lapic)) << 32;
	return true;
}

static bool x2apic_write(struct lapic *lapic, u32 offset, u64 value)
{
	const struct lapic_reg *reg = find_register(offset);
	u32 allowed, high = (u32)(value >> 32);

	if (!lapic_in_x2apic(lapic) || !reg || !(reg->access & MSR_WRITE))
		return false;
	allowed = reg->mask | reg->ignored;
	if (offset == APIC_LVTT && !lapic->vcpu->vm->config.tsc_deadline)
		allowed &= ~APIC_LVTT_DEADLINE;
	if ((u32)value & ~allowed)
		return false;
	if (offset == APIC_ICR) {
		lapic_set(lapic, icr_high_offset(lapic), high);
		write_icr(lapic, APIC_ICR, (u32)value & reg->mask);
		return true;
	}
	if (high)
		return false;
	write_register(lapic, reg, offset, (u32)value);
	return true;
}

/* ---- APIC_BASE: "Local APIC Status and Location", "x2APIC State Transitions" ---- */

enum lapic_mode {
	MODE_DISABLED,
	MODE_INVALID,
	MODE_XAPIC,
	MODE_X2APIC
}; /* EN, EXTD */

static enum lapic_mode base_mode(u64 base)
{
	return (enum lapic_mode)((base & (APIC_BASE_EN | APIC_BASE_EXTD)) / APIC_BASE_EXTD);
}

static u64 base_reserved(struct vcpu *vcpu)
{
	struct cpuid_regs r;
	u64 low = BIT64(8) | BIT64(10) | BIT64(11);

	cpuid_guest(vcpu, 0x80000008, 0, &r);
	if (!vcpu->vm->config.x2apic)
		low &= ~APIC_BASE_EXTD;
	return ~(low | ((BIT64(r.eax & 0x3f) - 1) & PAGE_MASK));
}

void lapic_load_identity(struct lapic *lapic)
{
	u32 id = lapic->vcpu->apic_id;

	if (lapic_in_x2apic(lapic)) {
		lapic_set(lapic, APIC_ID, id);
		/* Cluster in 31:16, one bit of sixteen below: "Logical x2APIC ID". */
		lapic_set(lapic, APIC_LDR, id >> 4 << 16 | BIT(id & 0xf));
		return;
	}
	lapic_set(lapic, APIC_ID, id << 24);
}

static void change_mode(struct lapic *lapic, u64 old, u64 base)
{
	/* A disabled APIC loses its state. Both ways, for a request that crossed the disabling. */
	if ((old ^ base) & APIC_BASE_EN)
		lapic_reset_registers(lapic);
	if (base_mode(base) == MODE_X2APIC) {
		lapic_set(lapic, APIC_ICR, 0);
		lapic_set(lapic, icr_high_offset(lapic), 0);
	}
	lapic_load_identity(lapic);
	if ((old ^ base) & APIC_BASE_EN)
		lapic_changed_by_reset(lapic);
	else
		lapic_changed(lapic);
}

static bool write_base(struct lapic *lapic, u64 value)
{
	static const u8 allowed[] = {
	        [MODE_DISABLED] = BIT(MODE_DISABLED) | BIT(MODE_XAPIC),
	        [MODE_XAPIC] = BIT(MODE_DISABLED) | BIT(MODE_XAPIC) | BIT(MODE_X2APIC),
	        [MODE_X2APIC] = BIT(MODE_DISABLED) | BIT(MODE_X2APIC),
	};
	u64 old = atomic64_read_relaxed(&lapic->base);

	if (value & base_reserved(lapic->vcpu))
		return false;
	if (!(allowed[base_mode(old)] & BIT(base_mode(value))))
		return false;
	/* Which processor booted is not for software to say: read-only (APM), writes ignored. */
	value = (value & ~APIC_BASE_BSP) | (old & APIC_BASE_BSP);
	atomic64_set(&lapic->base, value);
	vcpu_forget_cpuid(lapic->vcpu);
	if (base_mode(old) != base_mode(value))
		change_mode(lapic, old, value);
	else if (old != value)
		lapic_changed(lapic);
	return true;
}

bool lapic_xapic_base(struct vcpu *vcpu, gpa_t *base)
{
	u64 value = atomic64_read_relaxed(&vcpu->lapic.base);

	*base = GPA(value & PAGE_MASK);
	return base_mode(value) == MODE_XAPIC;
}

bool lapic_is_x2apic(struct vcpu *vcpu)
{
	return lapic_in_x2apic(&vcpu->lapic);
}

/* ---- RDMSR, WRMSR ---- */

bool lapic_msr_read(struct vcpu *vcpu, u32 msr, u64 *value)
{
	struct lapic *lapic = &vcpu->lapic;

	switch (msr) {
	case MSR_APIC_BASE:
		*value = atomic64_read_relaxed(&lapic->base);
		return true;
	case MSR_TSC_DEADLINE:
		*value = lapic_timer_read_deadline(lapic);
		return vcpu->vm->config.tsc_deadline;
	case MSR_X2APIC_FIRST ... MSR_X2APIC_LAST:
		return x2apic_read(lapic, (msr - MSR_X2APIC_FIRST) * LAPIC_STRIDE, value);
	default:
		return false;
	}
}

bool lapic_msr_write(struct vcpu *vcpu, u32 msr, u64 value)
{
	struct lapic *lapic = &vcpu->lapic;

	switch (msr) {
	case MSR_APIC_BASE:
		return write_base(lapic, value);
	case MSR_TSC_DEADLINE:
		if (!vcpu->vm->config.tsc_deadline)
			return false;
		lapic_timer_write_deadline(lapic, value);
		return true;
	case MSR_X2APIC_FIRST ... MSR_X2APIC_LAST:
		return x2apic_write(lapic, (msr - MSR_X2APIC_FIRST) * LAPIC_STRIDE, value);
	default:
		return false;
	}
}
