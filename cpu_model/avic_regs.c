/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC's register access: which guest accesses of the APIC complete, which exit behind the
 * instruction, which before it. APM volume 2, "Advanced Virtual Interrupt Controller": the table of
 * "Virtual APIC Register Accesses", "x2AVIC", "AVIC Access to un-accelerated vAPIC register".
 *
 *  - Allowed: the page is read or written. Trap: the page is written, then exit 402h. Fault: exit 402h
 *    and nothing has happened.
 *  - This holds for aligned accesses of up to four bytes in the first dword of a register's sixteen
 *    bytes. All others are faults here (the manual leaves them undefined).
 *  - x2AVIC: the MSRs' own rules come first: #GP for a register that is not there, a write of a
 *    read-only one, a read of a write-only one, a reserved bit. What remains goes by the same table.
 *  - TPR, EOI, ICR and SELF IPI do what they do on an APIC.
 */
#include "cpu_model/avic.h"
#include "x86/msr.h"

#define STRIDE    16u
#define REGISTERS (0x540 / STRIDE)

enum avic_class {
	FAULT, /* also all that the table below does not name, unless it is plain memory */
	ALLOW,
	TRAP,
	SPECIAL, /* allowed, with an effect of its own */
};

/* Is it there as an MSR? */
enum {
	MSR_NONE,
	MSR_RO,
	MSR_WO,
	MSR_RW
};

struct avic_reg {
	u8 read, write; /* enum avic_class */
	u8 msr;
	u32 mask; /* as an MSR: bits that are not reserved */
};

#define LVT_VECTOR (0xffu | APIC_LVT_MASKED | APIC_LVT_BUSY)
#define LVT_DM     (LVT_VECTOR | APIC_DM_MASK)
#define LVT_PIN    (LVT_DM | APIC_LVT_POLARITY | APIC_LVT_LEVEL | APIC_LVT_REMOTE_IRR)
#define LVT_TIMER  (LVT_VECTOR | APIC_LVTT_MODE)
#define SVR_BITS   (0xffu | APIC_SVR_ENABLE | APIC_SVR_FOCUS | APIC_SVR_NO_BROADCAST)
#define ICR_BITS                                                                                   \
	(0x7ffu | APIC_DEST_LOGICAL | APIC_ICR_BUSY | APIC_LEVEL_ASSERT | APIC_TRIGGER_LEVEL |     \
	 APIC_DEST_SHORTHAND)
#define AT(offset)         [(offset) / STRIDE]
#define RANGE(first, last) [(first) / STRIDE...(last) / STRIDE]

/*
 * "Virtual APIC Register Accesses", the table of register access behavior: one for both modes. Which
 * of the MSRs there are, and what can be done to them: "x2APIC Register Address Space" and "Reserved
 * Bit Checking in x2APIC Mode"; the extended ones' bits are for the hypervisor to check, since all of
 * their accesses are faults.
 */
/* clang-format off */
static const struct avic_reg registers[REGISTERS] = {
	/* Plain memory, where no register is. */
	RANGE(0x000, 0x010) = {ALLOW, ALLOW,   MSR_NONE, 0},
	RANGE(0x040, 0x070) = {ALLOW, ALLOW,   MSR_NONE, 0},
	RANGE(0x290, 0x2f0) = {ALLOW, ALLOW,   MSR_NONE, 0},
	RANGE(0x3a0, 0x3d0) = {ALLOW, ALLOW,   MSR_NONE, 0},
	RANGE(0x430, 0x470) = {ALLOW, ALLOW,   MSR_NONE, 0},

	AT(APIC_ID)         = {ALLOW, TRAP,    MSR_RO, 0},
	AT(APIC_VERSION)    = {ALLOW, FAULT,   MSR_RO, 0},
	AT(APIC_TPR)        = {ALLOW, SPECIAL, MSR_RW, 0xff},
	AT(APIC_APR)        = {FAULT, FAULT,   MSR_RO, 0},
	AT(APIC_PPR)        = {ALLOW, FAULT,   MSR_RO, 0},
	AT(APIC_EOI)        = {ALLOW, SPECIAL, MSR_WO, 0},
	AT(APIC_RRD)        = {ALLOW, TRAP,    MSR_NONE, 0},
	AT(APIC_LDR)        = {ALLOW, TRAP,    MSR_RO, 0},
	AT(APIC_DFR)        = {ALLOW, TRAP,    MSR_NONE, 0},
	AT(APIC_SVR)        = {ALLOW, TRAP,    MSR_RW, SVR_BITS},
	RANGE(0x100, 0x270) = {ALLOW, FAULT,   MSR_RO, 0}, /* ISR, TMR, IRR */
	AT(APIC_ESR)        = {ALLOW, TRAP,    MSR_RW, 0},
	AT(APIC_ICR)        = {ALLOW, SPECIAL, MSR_RW, ICR_BITS},
	AT(APIC_ICR2)       = {ALLOW, ALLOW,   MSR_NONE, 0},
	AT(APIC_LVTT)       = {ALLOW, TRAP,    MSR_RW, LVT_TIMER},
	AT(APIC_LVTTHMR)    = {ALLOW, TRAP,    MSR_RW, LVT_DM},
	AT(APIC_LVTPC)      = {ALLOW, TRAP,    MSR_RW, LVT_DM},
	AT(APIC_LVT0)       = {ALLOW, TRAP,    MSR_RW, LVT_PIN},
	AT(APIC_LVT1)       = {ALLOW, TRAP,    MSR_RW, LVT_PIN},
	AT(APIC_LVTERR)     = {ALLOW, TRAP,    MSR_RW, LVT_VECTOR},
	AT(APIC_TMICT)      = {ALLOW, TRAP,    MSR_RW, 0xffffffff},
	AT(APIC_TMCCT)      = {FAULT, FAULT,   MSR_RO, 0},
	AT(APIC_TDCR)       = {ALLOW, TRAP,    MSR_RW, 0xb},
	AT(APIC_SELF)       = {ALLOW, SPECIAL, MSR_WO, 0xff},
	/* AMD's extended registers: feature, control, specific EOI, interrupt enable, LVT. */
	AT(0x400)           = {FAULT, FAULT,   MSR_RO, 0},
	AT(0x410)           = {FAULT, FAULT,   MSR_RW, 0xffffffff},
	AT(0x420)           = {FAULT, FAULT,   MSR_RW, 0xffffffff},
	RANGE(0x480, 0x4f0) = {FAULT, FAULT,   MSR_RW, 0xffffffff},
	RANGE(0x500, 0x530) = {FAULT, FAULT,   MSR_RW, 0xffffffff},
	/* Above: faults in the page, and no MSRs. */
};
/* clang-format on */

static const struct avic_reg outside = {FAULT, FAULT, MSR_NONE, 0};

static const struct avic_reg *reg_at(u32 offset)
{
	return offset / STRIDE < REGISTERS ? &registers[offset / STRIDE] : &outside;
}

static struct avic_result leave(enum avic_action action, u32 offset, bool write, u32 info_2)
{
	return (struct avic_result){.action = action,
	                            .exit_code = SVM_EXIT_AVIC_NOACCEL,
	                            .info_1 = (offset & AVIC_NOACCEL_OFFSET) |
	                                      (write ? AVIC_NOACCEL_WRITE : 0),
	                            .info_2 = info_2};
}

static struct avic_result refuse(void)
{
	return (struct avic_result){.action = AVIC_GP};
}

/* --- registers with an effect --- */

static struct avic_result write_eoi(struct avic *avic)
{
	u8 vector = 0;

	return avic_eoi(avic, &vector) ? leave(AVIC_AFTER, APIC_EOI, true, vector) : avic_done();
}

static struct avic_result write_icr(struct avic *avic, u32 icr)
{
	struct avic_result result;

	avic_set(avic, APIC_ICR, icr & ~APIC_ICR_BUSY);
	result = avic_send(avic, icr, avic_get(avic, APIC_ICR2) >> 24);
	if (result.action == AVIC_AFTER && avic_is(avic, AVIC_BUSY_ON_EXIT)) {
		avic_set(avic, APIC_ICR, icr | APIC_ICR_BUSY);
		result.info_1 |= APIC_ICR_BUSY;
	}
	return result;
}

static struct avic_result write_special(struct avic *avic, u32 offset, u32 value)
{
	switch (offset) {
	case APIC_TPR:
		avic_set_tpr(avic, (u8)value);
		return avic_done();
	case APIC_EOI:
		return write_eoi(avic);
	case APIC_ICR:
		return write_icr(avic, value);
	default:
		/* SELF IPI is a register of x2APIC only; in the page it is plain memory. */
		if (!avic->x2) {
			avic_set(avic, offset, value);
			return avic_done();
		}
		return avic_send(avic, APIC_DEST_SELF | APIC_LEVEL_ASSERT | (value & 0xff), 0);
	}
}

static struct avic_result write_reg(struct avic *avic, u32 offset, u32 value)
{
	const struct avic_reg *reg = reg_at(offset);

	switch (reg->write) {
	case ALLOW:
		avic_set(avic, offset, value);
		return avic_done();
	case TRAP:
		avic_set(avic, offset, value);
		return leave(AVIC_AFTER, offset, true, 0);
	case SPECIAL:
		return write_special(avic, offset, value);
	default:
		return leave(AVIC_BEFORE, offset, true, 0);
	}
}

/* --- the page --- */

static bool is_regular(u32 offset, u32 size)
{
	return (size == 1 || size == 2 || size == 4) && !(offset & (size - 1)) &&
	       offset % STRIDE + size <= 4;
}

struct avic_result avic_page_read(struct avic *avic, u32 offset, u32 size, u64 *value)
{
	u32 base = ALIGN_DOWN(offset, STRIDE);
	u32 word;

	if (!is_regular(offset, size) || reg_at(base)->read == FAULT)
		return leave(AVIC_BEFORE, base, false, 0);
	word = avic_get(avic, base) >> (offset % STRIDE * 8);
	*value = size < 4 ? word & (BIT(size * 8) - 1) : word;
	return avic_done();
}

/* A write of less than the register, with what the page has in the rest. */
static u32 merge(u32 old, u32 offset, u32 size, u64 value)
{
	u32 shift = offset % STRIDE * 8;
	u32 mask = size < 4 ? (BIT(size * 8) - 1) << shift : ~0u;

	return (old & ~mask) | ((u32)value << shift & mask);
}

struct avic_result avic_page_write(struct avic *avic, u32 offset, u32 size, u64 value)
{
	u32 base = ALIGN_DOWN(offset, STRIDE);

	if (!is_regular(offset, size) || reg_at(base)->write == FAULT)
		return leave(AVIC_BEFORE, base, true, 0);
	return write_reg(avic, base, merge(avic_get(avic, base), offset, size, value));
}

/* --- the MSRs --- */

struct avic_result avic_msr_read(struct avic *avic, u32 msr, u64 *value)
{
	u32 offset = (msr - MSR_X2APIC_FIRST) * STRIDE;
	const struct avic_reg *reg = reg_at(offset);

	if (reg->msr == MSR_NONE || reg->msr == MSR_WO)
		return refuse();
	if (reg->read == FAULT)
		return leave(AVIC_BEFORE, offset, false, 0);
	*value = avic_get(avic, offset);
	/* The 64-bit ICR is kept as xAPIC has it, in two registers. */
	if (offset == APIC_ICR)
		*value |= (u64)avic_get(avic, APIC_ICR2) << 32;
	return avic_done();
}

struct avic_result avic_msr_write(struct avic *avic, u32 msr, u64 value)
{
	u32 offset = (msr - MSR_X2APIC_FIRST) * STRIDE;
	const struct avic_reg *reg = reg_at(offset);
	u32 high = (u32)(value >> 32);

	if (reg->msr == MSR_RO && avic_is(avic, AVIC_X2_READ_ONLY_EXITS))
		return write_reg(avic, offset, (u32)value);
	if (reg->msr == MSR_NONE || reg->msr == MSR_RO || (u32)value & ~reg->mask)
		return refuse();
	if (offset == APIC_ICR) {
		if ((value & APIC_ICR_BUSY) && !avic_is(avic, AVIC_X2_BUSY_IGNORED))
			return refuse();
		avic_set(avic, APIC_ICR2, high);
		avic_set(avic, APIC_ICR, (u32)value & ~APIC_ICR_BUSY);
		return avic_send(avic, (u32)value & ~APIC_ICR_BUSY, high);
	}
	if (high)
		return refuse();
	return write_reg(avic, offset, (u32)value);
}
