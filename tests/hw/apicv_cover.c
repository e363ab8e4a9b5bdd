/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See apicv.h: which combinations of register, control and exit have been seen, and why those that have not cannot
 * be. The reasons are written from SDM volume 3, "Virtualizing Memory-Mapped APIC Accesses", "Virtualizing MSR-Based
 * APIC Accesses", and not from the microcode, so that a combination which ought not to be is found, too.
 */
#include "tests/hw/apicv.h"
#include "tests/hw/hw.h"
#include "x86/msr.h"

#define REGISTERS 65 /* the last: all behind 3F0h */
#define REASONS   64
#define TEXT      160

enum table {
	TABLE_READ,
	TABLE_WRITE,
	TABLE_RDMSR,
	TABLE_WRMSR,
	TABLE_FROM_CR8,
	TABLE_TO_CR8,
	TABLES,
};
static const char *const table_names[TABLES] = {"memory, read", "memory, write", "RDMSR",
                                                "WRMSR",        "MOV from CR8",  "MOV to CR8"};
static u32 counts[TABLES][REGISTERS][AV_SETS][AV_OUTCOMES];
static u32 exits[VMX_EXIT_TPAUSE + 1][AV_SETS];

static bool covers = true;

static const char letters[AV_OUTCOMES] = {'d', 'p', 't', 'a', 'e', 'w', 'g', 'i'};
static const char *const set_names[AV_SETS] = {"-",   "A",   "T",    "TR", "TV",  "TRV", "TA",
                                               "TAR", "TAV", "TARV", "TX", "TXR", "TXV", "TXRV"};

static enum table table_of(u32 kind)
{
	switch (kind) {
	case AV_READ:
		return TABLE_READ;
	case AV_RDMSR:
		return TABLE_RDMSR;
	case AV_WRMSR:
		return TABLE_WRMSR;
	case AV_FROM_CR8:
		return TABLE_FROM_CR8;
	case AV_TO_CR8:
		return TABLE_TO_CR8;
	default:
		return TABLE_WRITE;
	}
}

void av_cover_switch(bool on)
{
	covers = on;
}

void av_cover(u32 kind, u32 reg, u32 set, enum av_outcome outcome)
{
	if (!covers)
		return;
	counts[table_of(kind)][reg][set][outcome]++;
}

void av_cover_exit(u32 set, u32 reason)
{
	if (covers && reason < ARRAY_SIZE(exits))
		exits[reason][set]++;
}

/* --- why not --- */

static bool is_writable(u32 offset)
{
	return offset == APIC_ID || offset == APIC_TPR || offset == APIC_EOI ||
	       (offset >= APIC_LDR && offset <= APIC_SVR) || offset == APIC_ESR ||
	       offset == APIC_ICR || offset == APIC_ICR2 ||
	       (offset >= APIC_LVTT && offset <= APIC_TMICT) || offset == APIC_TDCR;
}

static bool is_readable(u32 offset)
{
	return is_writable(offset) || offset == APIC_VERSION ||
	       (offset >= APIC_ISR && offset < APIC_ESR);
}

static const char *why_not_read(u32 controls, u32 offset, enum av_outcome outcome)
{
	if (outcome != AV_DONE)
		return "a read has no effect that could exit";
	if (controls & AV_REGS ? is_readable(offset) : offset == APIC_TPR)
		return NULL;
	return "register is not virtualized for reads with these controls";
}

static const char *why_not_write(u32 controls, u32 offset, enum av_outcome outcome)
{
	bool vid = controls & AV_VID, regs = controls & AV_REGS;
	bool virtualized =
	        regs ? is_writable(offset)
	             : offset == APIC_TPR || (vid && (offset == APIC_EOI || offset == APIC_ICR));

	if (!virtualized)
		return "register is not virtualized for writes with these controls";
	switch (outcome) {
	case AV_DONE:
		if (offset == APIC_TPR || offset == APIC_ICR2 ||
		    (vid && (offset == APIC_EOI || offset == APIC_ICR)))
			return NULL;
		return "each write of the register that is virtualized exits";
	case AV_EXIT_TPR:
		if (vid)
			return "no threshold with virtual-interrupt delivery";
		return offset == APIC_TPR ? NULL : "only TPR has a threshold";
	case AV_EXIT_EOI:
		if (!vid)
			return "no EOI virtualization without virtual-interrupt delivery";
		return offset == APIC_EOI ? NULL : "only EOI ends interrupts";
	default:
		if (offset == APIC_ICR2)
			return "the high half of ICR never exits when written";
		if (offset == APIC_TPR && !regs)
			return "only TPR's own offset is virtualized, whose writes do not exit so";
		return NULL;
	}
}

static const char *why_not_memory(enum table table, u32 controls, u32 offset,
                                  enum av_outcome outcome)
{
	if (outcome == AV_GP || outcome == AV_INTERCEPTED)
		return "of MSRs and CR8 only";
	if (!(controls & AV_ACCESS))
		return outcome == AV_PLAIN ? NULL : "APIC accesses are not virtualized";
	if (outcome == AV_PLAIN)
		return "APIC accesses are virtualized";
	if (outcome == AV_EXIT_ACCESS) /* eight bytes, at least */
		return NULL;
	if (!(controls & AV_SHADOW))
		return "no TPR shadow: all accesses exit";
	return table == TABLE_READ ? why_not_read(controls, offset, outcome)
	                           : why_not_write(controls, offset, outcome);
}

static const char *why_not_wrmsr(u32 controls, u32 offset, enum av_outcome outcome)
{
	bool vid = controls & AV_VID;

	if (offset != APIC_TPR && !(vid && (offset == APIC_EOI || offset == APIC_SELF)))
		return "MSR is not virtualized for writes with these controls";
	if (outcome == AV_EXIT_TPR && offset == APIC_TPR)
		return vid ? "no threshold with virtual-interrupt delivery" : NULL;
	if (outcome == AV_DONE || outcome == AV_GP ||
	    (outcome == AV_EXIT_EOI && offset == APIC_EOI) ||
	    (outcome == AV_EXIT_WRITE && offset == APIC_SELF))
		return NULL;
	return "an exit of another register's";
}

static const char *why_not_msr(enum table table, u32 controls, u32 offset, enum av_outcome outcome)
{
	if (outcome == AV_PLAIN || outcome == AV_EXIT_ACCESS)
		return "of memory only";
	if (outcome == AV_INTERCEPTED)
		return NULL;
	if (!(controls & AV_X2))
		return "x2APIC mode is not virtualized: all its MSRs exit";
	if (table == TABLE_WRMSR)
		return why_not_wrmsr(controls, offset, outcome);
	if (outcome != AV_DONE)
		return "a read has no effect that could exit";
	return controls & AV_REGS || offset == APIC_TPR
	               ? NULL
	               : "MSR is not virtualized for reads with these controls";
}

static const char *why_not_cr8(enum table table, u32 controls, enum av_outcome outcome)
{
	if (outcome == AV_INTERCEPTED)
		return NULL;
	if (!(controls & AV_SHADOW))
		return "no TPR shadow: CR8 exits";
	if (outcome == AV_DONE || (outcome == AV_GP && table == TABLE_TO_CR8))
		return NULL;
	if (outcome == AV_EXIT_TPR && table == TABLE_TO_CR8)
		return controls & AV_VID ? "no threshold with virtual-interrupt delivery" : NULL;
	return "no exit of CR8's";
}

/* NULL: it can be. */
static const char *why_not(enum table table, u32 reg, u32 set, enum av_outcome outcome)
{
	if (table <= TABLE_WRITE)
		return why_not_memory(table, av_sets[set], reg * VAPIC_STRIDE, outcome);
	if (table <= TABLE_WRMSR)
		return why_not_msr(table, av_sets[set], reg * VAPIC_STRIDE, outcome);
	return why_not_cr8(table, av_sets[set], outcome);
}

bool av_cover_has(const struct av_aim *aim)
{
	return counts[aim->table][aim->reg][aim->set][aim->outcome];
}

/* The last digit counts fastest. False: that was the last combination. */
static bool advance(struct av_aim *aim)
{
	u32 registers = aim->table < TABLE_FROM_CR8 ? REGISTERS : 1;

	if (++aim->outcome < AV_OUTCOMES)
		return true;
	aim->outcome = 0;
	if (++aim->set < AV_SETS)
		return true;
	aim->set = 0;
	if (++aim->reg < registers)
		return true;
	aim->reg = 0;
	return ++aim->table < TABLES;
}

bool av_cover_missing(struct av_aim *aim)
{
	static const u8 kinds[TABLES] = {AV_READ,  AV_WRITE,    AV_RDMSR,
	                                 AV_WRMSR, AV_FROM_CR8, AV_TO_CR8};

	do {
		if (av_cover_has(aim) || why_not((enum table)aim->table, aim->reg, aim->set,
		                                 (enum av_outcome)aim->outcome))
			continue;
		aim->kind = kinds[aim->table];
		aim->at = (u16)(aim->table <= TABLE_WRITE ? aim->reg * VAPIC_STRIDE
		                                          : MSR_X2APIC_FIRST + aim->reg);
		return true;
	} while (advance(aim));
	return false;
}

static const char *why_no_exit(u32 controls, u32 reason)
{
	bool vid = controls & AV_VID;

	switch (reason) {
	case VMX_EXIT_EXCEPTION:
		return controls & AV_SHADOW ? NULL : "nothing virtualized that could give #GP";
	case VMX_EXIT_TPR_BELOW_THRESHOLD:
		return !(controls & AV_SHADOW) ? "no TPR shadow"
		       : vid                   ? "no threshold with virtual-interrupt delivery"
		                               : NULL;
	case VMX_EXIT_APIC_ACCESS:
		return controls & AV_ACCESS ? NULL : "APIC accesses are not virtualized";
	case VMX_EXIT_EOI:
		return !vid                             ? "no EOI virtualization"
		       : controls & (AV_ACCESS | AV_X2) ? NULL
		                                        : "no way to EOI but an intercepted one";
	case VMX_EXIT_APIC_WRITE:
		return controls & AV_ACCESS && controls & (AV_VID | AV_REGS) ? NULL
		       : controls & AV_X2 && vid                             ? NULL
		                                 : "no write is virtualized that could exit so";
	default:
		return NULL;
	}
}

/* --- what is printed --- */

static const char *seen_reasons[REASONS];
static u32 seen_cells[REASONS];
static u32 unexplained, impossible, filled;

static void because(const char *reason)
{
	for (u32 i = 0; i < REASONS; i++) {
		if (!seen_reasons[i])
			seen_reasons[i] = reason;
		if (strcmp(seen_reasons[i], reason))
			continue;
		seen_cells[i]++;
		return;
	}
}

static void judge(u32 count, const char *reason, const char *what, const char *name, char letter,
                  u32 set)
{
	filled += count != 0;
	if (count && reason) {
		impossible++;
		hw_say("not ok seen, but: %s: %s %s, %s, %c", reason, what, name, set_names[set],
		       letter);
	} else if (!count && reason) {
		because(reason);
	} else if (!count) {
		if (unexplained++ < 40)
			hw_say("# not seen: %s %s, %s, %c", what, name, set_names[set], letter);
	}
}

static char *put(char *at, const char *text, u32 width)
{
	u32 n = 0;

	for (; text[n]; n++)
		*at++ = text[n];
	while (n++ < width)
		*at++ = ' ';
	return at;
}

static void print_row(enum table table, u32 reg)
{
	char line[TEXT], cell[AV_OUTCOMES + 1], name[8], *at;

	snprintf(name, sizeof(name), reg < REGISTERS - 1 ? "%x" : "%x+", reg * VAPIC_STRIDE);
	at = put(line, name, 5);
	for (u32 set = 0; set < AV_SETS; set++) {
		u32 n = 0;

		for (u32 outcome = 0; outcome < AV_OUTCOMES; outcome++) {
			if (counts[table][reg][set][outcome])
				cell[n++] = letters[outcome];
			judge(counts[table][reg][set][outcome],
			      why_not(table, reg, set, (enum av_outcome)outcome),
			      table_names[table], name, letters[outcome], set);
		}
		cell[n] = 0;
		at = put(at, n ? cell : ".", 6);
	}
	*at = 0;
	hw_say("%s", line);
}

static void print_head(const char *title)
{
	char line[TEXT], *at = put(line, "", 5);

	hw_say("# %s", title);
	for (u32 set = 0; set < AV_SETS; set++)
		at = put(at, set_names[set], 6);
	*at = 0;
	hw_say("%s", line);
}

static void print_exits(void)
{
	static const struct {
		u32 reason;
		const char *name;
	} wanted[] = {
#define X(name, number) {number, #name},
	        VMX_EXITS(X)
#undef X
	};

	print_head("exits, by controls");
	for (u32 i = 0; i < ARRAY_SIZE(wanted); i++) {
		char line[TEXT], cell[16], *at;
		u32 any = 0;

		for (u32 set = 0; set < AV_SETS; set++)
			any |= exits[wanted[i].reason][set];
		if (!any)
			continue;
		snprintf(cell, sizeof(cell), "%u", wanted[i].reason);
		at = put(line, cell, 5);
		for (u32 set = 0; set < AV_SETS; set++) {
			u32 count = exits[wanted[i].reason][set];

			snprintf(cell, sizeof(cell), "%u", count);
			at = put(at, count ? cell : ".", 6);
			judge(count, why_no_exit(av_sets[set], wanted[i].reason), "exit",
			      wanted[i].name, 'x', set);
		}
		*at = 0;
		hw_say("%s %s", line, wanted[i].name);
	}
}

bool av_cover_print(void)
{
	hw_say("# controls: T TPR shadow, A APIC accesses, X x2APIC mode, R registers, V interrupt delivery");
	hw_say("# d done, p ordinary memory, t exit 43, a 44, e 45, w 56, g #GP, i intercepted");
	for (u32 table = 0; table < TABLES; table++) {
		print_head(table_names[table]);
		for (u32 reg = 0; reg < (table < TABLE_FROM_CR8 ? REGISTERS : 1); reg++)
			print_row((enum table)table, reg);
	}
	print_exits();
	hw_say("# combinations of register, access, controls and outcome: %u seen", filled);
	for (u32 i = 0; i < REASONS && seen_reasons[i]; i++)
		hw_say("# %u cannot be: %s", seen_cells[i], seen_reasons[i]);
	hw_say("# %u could be and were not seen, %u cannot be and were seen", unexplained,
	       impossible);
	return !impossible && !unexplained;
}
