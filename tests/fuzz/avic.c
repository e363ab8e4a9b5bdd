/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC's microcode (cpu_model/avic.c, avic_regs.c, avic_ipi.c): what guests do to their APICs and what
 * a hypervisor, or one gone wrong, has in the tables. An input: mode, size of the physical table, the
 * switches of AVIC_SWITCHES, then operations, each a byte that chooses it and what it takes.
 *
 * After each operation the result, what is pending, the doorbells, the counts and every register of
 * every page are those of the reference (avic_ref.c); at the end the tables too. Beside that: PPR is
 * what TPR and ISR make it, what is pending is above it and requested, and as long as only deliveries
 * set ISR bits there are no two of one class.
 */
#include <sanitizer/asan_interface.h>

#include "postern/port.h"
#include "tests/fuzz/avic_fuzz.h"
#include "x86/msr.h"

#define MOST_OPERATIONS 40
#define HOST_ID         0x120u

static u8 memory[MEMORY_PAGES][PAGE_SIZE] __attribute__((aligned(4096)));
static struct avic avic[CPUS];
static u32 rings, ring[INDICES];
static u32 table_limit, readable; /* largest index of the VM; of what is not poisoned */
static bool isr_tampered;
static const char *operation;
static struct fuzz_input in;

/* --- memory --- */

void *hpa_to_ptr(hpa_t hpa)
{
	FUZZ_CHECK(hpa.v >= MEMORY_BASE && hpa.v < MEMORY_END, "%s: touches %llx, no memory",
	           operation, (unsigned long long)hpa.v);
	return &memory[0][0] + (hpa.v - MEMORY_BASE);
}

static void on_ring(void *context, u32 host_id)
{
	FUZZ_CHECK(context == avic && rings < INDICES, "%s: doorbell", operation);
	ring[rings++] = host_id;
}

static struct atomic64 *ids(void)
{
	return (void *)memory[TABLE_PAGE];
}

static struct atomic32 *logical(void)
{
	return (void *)memory[LOGICAL_PAGE];
}

/* The microcode may read entries up to this one. */
static void let_read(u32 max_index)
{
	if (readable == max_index)
		return;
	ASAN_UNPOISON_MEMORY_REGION(memory[TABLE_PAGE], TABLE_PAGES * PAGE_SIZE);
	ASAN_POISON_MEMORY_REGION(&ids()[max_index + 1], (INDICES - 1 - max_index) * 8);
	readable = max_index;
}

static void set_word(u32 page, u32 offset, u32 value)
{
	*(u32 *)(void *)(memory[page] + offset) = value;
	ref.word[page][offset / 4] = value;
}

static void set_id(u32 index, u64 entry)
{
	let_read(INDICES - 1);
	ids()[index].v = ref.ids[index] = entry;
}

static void set_logical(u32 slot, u32 entry)
{
	logical()[slot].v = ref.logical[slot] = entry;
}

/* --- what is compared --- */

static void check_cpu(u32 c)
{
	const u32 *page = (const void *)avic[c].page;
	int pending = avic[c].pending;

	FUZZ_CHECK(page[APIC_PPR / 4] == ref_ppr(page), "%s: processor %u: PPR is %x, not %x",
	           operation, c, page[APIC_PPR / 4], ref_ppr(page));
	FUZZ_CHECK(pending == ref.cpu[c].pending, "%s: processor %u: %d pending, not %d", operation,
	           c, pending, ref.cpu[c].pending);
	FUZZ_CHECK(avic_waits_for_tpr(&avic[c]) == ref_waits_for_tpr(c),
	           "%s: processor %u: waits for TPR or not", operation, c);
	FUZZ_CHECK(!memcmp(avic[c].counts, ref.cpu[c].counts, sizeof(avic[c].counts)),
	           "%s: processor %u: counts", operation, c);
	for (u32 class = 1; !isr_tampered && class < 16; class ++) {
		u32 word = page[(APIC_ISR + class / 2 * 16) / 4] >> (class % 2 * 16) & 0xffff;

		FUZZ_CHECK(!(word & (word - 1)), "%s: processor %u: two of class %u in service",
		           operation, c, class);
	}
}

static void check(void)
{
	FUZZ_CHECK(rings == ref.rings && !memcmp(ring, ref.ring, rings * sizeof(ring[0])),
	           "%s: %u doorbells, not %u, or others", operation, rings, ref.rings);
	for (u32 page = 0; page < PAGES; page++)
		for (u32 offset = 0;
		     memcmp(memory[page], ref.word[page], REGISTERS) && offset < REGISTERS;
		     offset += 4) {
			u32 value = *(const u32 *)(const void *)(memory[page] + offset);

			FUZZ_CHECK(value == ref.word[page][offset / 4],
			           "%s: page %u: %03x is %x, not %x", operation, page, offset,
			           value, ref.word[page][offset / 4]);
		}
	for (u32 c = 0; c < CPUS; c++)
		check_cpu(c);
}

static void check_tables(void)
{
	let_read(INDICES - 1);
	FUZZ_CHECK(!memcmp(ids(), ref.ids, sizeof(ref.ids)), "the physical table was written");
	FUZZ_CHECK(!memcmp(logical(), ref.logical, sizeof(ref.logical)),
	           "the logical table was written");
}

static void check_result(struct avic_result is, struct avic_result should)
{
	FUZZ_CHECK(is.action == should.action && is.exit_code == should.exit_code &&
	                   is.info_1 == should.info_1 && is.info_2 == should.info_2,
	           "%s: action %u exit %x %llx %llx, not %u %x %llx %llx", operation, is.action,
	           is.exit_code, (unsigned long long)is.info_1, (unsigned long long)is.info_2,
	           should.action, should.exit_code, (unsigned long long)should.info_1,
	           (unsigned long long)should.info_2);
}

/* --- VMRUN --- */

/* Pointers have ones where the architecture ignores them. */
static void enter(u32 c, u32 junk)
{
	struct ref_cpu *cpu = &ref.cpu[c];
	u32 max_index = cpu->x2 ? table_limit : (u32)min_u64(table_limit, AVIC_XAPIC_MAX_INDEX);
	u64 low = junk & 0xfff, high = (u64)(junk >> 12 & 0xfff) << 52, v_tpr = junk & 0xf;
	struct vmcb_control control = {
	        .int_ctl = v_tpr | SVM_AVIC_ENABLE | (cpu->x2 ? SVM_X2AVIC_ENABLE : 0),
	        .np_control = SVM_NP_ENABLE,
	        .avic_apic_bar = 0xfee00000 | low | high,
	        .avic_backing_page = page_address(cpu->page) | low | high,
	        .avic_physical_table = page_address(TABLE_PAGE) | max_index | high,
	        .avic_logical_table = page_address(LOGICAL_PAGE) | low | high,
	};
	const char *refused = avic_check(&control, &avic[c].memory, AVIC_X2APIC_EXT_MAX);

	FUZZ_CHECK(!refused, "VMRUN: %s", refused);
	/* xAVIC: 255 is a destination that means everybody, and its entry reserved. */
	cpu->max_index = cpu->x2 ? max_index : (u32)min_u64(max_index, 254);
	let_read(cpu->max_index);
	FUZZ_CHECK(avic_enter(&avic[c], &control) == ref_enter(c, v_tpr), "VMRUN: V_TPR");
	FUZZ_CHECK(avic[c].bar == 0xfee00000, "VMRUN: BAR");
}

static void vmrun(u32 c)
{
	u32 how = fuzz_u16(&in);

	operation = "VMRUN";
	ref.cpu[c].x2 = how & 1;
	ref.cpu[c].page = c + (how & 2 ? CPUS : 0);
	enter(c, how << 8 | how >> 2);
}

static u64 any_pointer(void)
{
	u8 choice = fuzz_u8(&in);

	switch (choice >> 5) {
	case 0:
		return MEMORY_END;
	case 1:
		return MEMORY_BASE - PAGE_SIZE;
	case 2:
		return choice & 1 ? ~0ull : 0;
	case 3:
		return fuzz_u64(&in);
	default:
		return page_address(choice % MEMORY_PAGES) | (u64)(choice & 0x60) << 50;
	}
}

static void vmrun_check(u32 c)
{
	static const u32 largest[] = {0, AVIC_X2APIC_MAX, AVIC_X2APIC_EXT_MAX, AVIC_X2APIC_EXT_MAX};
	u32 how = fuzz_u16(&in), max_index = largest[how & 3];
	struct vmcb_control control = {.np_control = (how & 0x84) == 0x84 ? 0 : SVM_NP_ENABLE};
	bool should;

	operation = "checks of VMRUN";
	control.int_ctl =
	        ((how & 0x48) == 0x48 ? 0 : SVM_AVIC_ENABLE) | (how & 0x10 ? SVM_X2AVIC_ENABLE : 0);
	control.avic_backing_page = any_pointer() + (how & 0xfff);
	control.avic_logical_table = any_pointer();
	control.avic_physical_table = any_pointer();
	if (how & 0x20)
		control.avic_physical_table = (control.avic_physical_table & ~0xfffull) | how >> 4;
	if (!control.int_ctl)
		return; /* without AVIC there is nothing to check */
	should = ref_check(&control, max_index);
	FUZZ_CHECK(!avic_check(&control, &avic[c].memory, max_index) == should,
	           "VMRUN: the reference %s it", should ? "takes" : "refuses");
}

/* --- the guest's accesses --- */

static u32 any_offset(void)
{
	static const u16 busy[] = {APIC_TPR, APIC_EOI, APIC_ICR, APIC_ICR2, APIC_SELF, APIC_EOI,
	                           APIC_LDR, APIC_DFR, APIC_ID,  APIC_PPR,  APIC_IRR,  APIC_SVR};
	u8 choice = fuzz_u8(&in);

	if (choice < 0x60)
		return busy[choice % ARRAY_SIZE(busy)];
	if (choice < 0xe0)
		return (u32)(choice - 0x60) % 0x58 << 4;
	return choice < 0xfe ? fuzz_u16(&in) & 0xfff : fuzz_u32(&in);
}

static u32 any_value(void)
{
	u8 choice = fuzz_u8(&in);

	if (choice < 0x40)
		return (u32)choice << 2;
	if (choice < 0x60)
		return choice & 1 ? 0 : 0xffffffff;
	return choice < 0xa0 ? (u32)choice << 24 | choice : fuzz_u32(&in);
}

static u32 any_size(void)
{
	u8 choice = fuzz_u8(&in);

	if (choice < 0xa0)
		return 4;
	return choice < 0xf0 ? fuzz_size(choice) : choice & 0xf;
}

static void page_access(u32 c)
{
	u32 offset = any_offset(), size = any_size();
	u64 value = 0, expected = 0;

	if (ref.cpu[c].x2)
		return; /* no access of memory is the APIC's */
	if (fuzz_u8(&in) & 3) {
		value = any_value() | (u64)offset << 40;
		operation = "write of the page";
		check_result(avic_page_write(&avic[c], offset, size, value),
		             ref_page_write(c, offset, size, value));
		return;
	}
	operation = "read of the page";
	check_result(avic_page_read(&avic[c], offset, size, &value),
	             ref_page_read(c, offset, size, &expected));
	FUZZ_CHECK(value == expected, "%s: %llx, not %llx", operation, (unsigned long long)value,
	           (unsigned long long)expected);
}

static void msr_access(u32 c)
{
	u32 msr = MSR_X2APIC_FIRST + (any_offset() >> 4 & 0xff);
	u64 value = 0, expected = 0;
	u8 how = fuzz_u8(&in);

	if (!ref.cpu[c].x2)
		return;
	if (how & 3) {
		value = any_value() | (how & 0x60 ? 0 : (u64)any_value() << 32);
		operation = "WRMSR";
		check_result(avic_msr_write(&avic[c], msr, value), ref_msr_write(c, msr, value));
		return;
	}
	operation = "RDMSR";
	check_result(avic_msr_read(&avic[c], msr, &value), ref_msr_read(c, msr, &expected));
	FUZZ_CHECK(value == expected, "%s: %llx, not %llx", operation, (unsigned long long)value,
	           (unsigned long long)expected);
}

/* An end of interrupt, as guests do it: the commonest access. */
static void end_of_interrupt(u32 c)
{
	operation = "EOI";
	if (ref.cpu[c].x2)
		check_result(avic_msr_write(&avic[c], MSR_X2APIC_FIRST + APIC_EOI / 16, 0),
		             ref_msr_write(c, MSR_X2APIC_FIRST + APIC_EOI / 16, 0));
	else
		check_result(avic_page_write(&avic[c], APIC_EOI, 4, 0),
		             ref_page_write(c, APIC_EOI, 4, 0));
}

static void cr8(u32 c)
{
	u64 value = fuzz_u8(&in);

	operation = "CR8";
	avic_write_cr8(&avic[c], value);
	ref_write_cr8(c, value);
	FUZZ_CHECK(avic_read_cr8(&avic[c]) == (value & 0xf), "CR8 reads as %llx",
	           (unsigned long long)avic_read_cr8(&avic[c]));
}

static void take(u32 c)
{
	int is, should;

	operation = "delivery";
	is = avic_take(&avic[c]);
	should = ref_take(c);
	FUZZ_CHECK(is == should, "%s: %d, not %d", operation, is, should);
	if (is < 0 || (fuzz_u8(&in) & 7) != 7)
		return;
	operation = "delivery taken back";
	if (fuzz_u8(&in) & 1) /* requested anew meanwhile */
		set_word(ref.cpu[c].page, APIC_IRR + (u32)is / 32 * 16,
		         ref.word[ref.cpu[c].page][(APIC_IRR + (u32)is / 32 * 16) / 4] |
		                 BIT(is % 32));
	avic_untake(&avic[c], (u8)is);
	ref_untake(c, (u32)is);
}

static void evaluate(u32 c)
{
	operation = "doorbell";
	avic_evaluate(&avic[c]);
	ref_evaluate(c);
}

/* --- IPIs --- */

/* Few vectors, so that they meet. */
static u32 any_vector(void)
{
	u8 choice = fuzz_u8(&in);

	return choice < 0xe0 ? 0x10 + (choice & 7) * 0x1f : choice & 0x1f;
}

static u32 any_dest(bool x2)
{
	u8 choice = fuzz_u8(&in);

	if (!x2)
		return choice;
	if (choice < 0x80)
		return choice & 0x1f;
	if (choice < 0xc0)
		return fuzz_u16(&in) | (choice & 1 ? 0 : (u32)(choice & 0x1e) << 15);
	return choice < 0xe0 ? 0xffffffff : fuzz_u32(&in);
}

static void send(u32 c)
{
	u32 icr = any_vector(), how = fuzz_u8(&in), dest = any_dest(ref.cpu[c].x2);

	icr |= (how & 3) << 18 | (how & 4 ? APIC_DEST_LOGICAL : 0) | (how & 8 ? BIT(14) : 0);
	if (how >> 5 == 7)
		icr |= fuzz_u32(&in) & ~0xc00ffu;
	operation = "IPI";
	if (how & 16) {
		check_result(avic_send(&avic[c], icr, dest), ref_send(c, icr, dest));
	} else if (ref.cpu[c].x2) {
		u64 value = (u64)dest << 32 | icr;

		check_result(avic_msr_write(&avic[c], MSR_X2APIC_FIRST + APIC_ICR / 16, value),
		             ref_msr_write(c, MSR_X2APIC_FIRST + APIC_ICR / 16, value));
	} else {
		check_result(avic_page_write(&avic[c], APIC_ICR2, 4, dest << 24),
		             ref_page_write(c, APIC_ICR2, 4, dest << 24));
		check_result(avic_page_write(&avic[c], APIC_ICR, 4, icr),
		             ref_page_write(c, APIC_ICR, 4, icr));
	}
}

/* --- the hypervisor, and who else writes to memory --- */

static u64 any_entry(void)
{
	u8 choice = fuzz_u8(&in);
	u64 entry = (u64)(choice & 0x80 ? 0 : AVIC_PHYSICAL_VALID) |
	            (choice & 0x40 ? 0 : AVIC_PHYSICAL_RUNNING) | (HOST_ID + (choice & 7));

	if ((choice & 0x38) == 0x30) /* what should be zero */
		entry |= (u64)fuzz_u16(&in) << 48 & ~AVIC_PHYSICAL_PAGE;
	if ((choice & 0x38) == 0x38) { /* a page that is none, or anything */
		u64 pointer = any_pointer();
		bool table = (pointer & AVIC_POINTER) >= page_address(PAGES) &&
		             (pointer & AVIC_POINTER) < MEMORY_END;

		return table ? 0 : (entry & ~AVIC_PHYSICAL_PAGE) | (pointer & AVIC_PHYSICAL_PAGE);
	}
	return entry | page_address(choice & 7);
}

static u32 any_index(void)
{
	u8 choice = fuzz_u8(&in);

	return (choice < 0xc0 ? choice & 0x1f : fuzz_u16(&in)) & (INDICES - 1);
}

static void change_physical(void)
{
	u32 index = any_index();
	u64 entry = any_entry();
	u32 count = fuzz_u8(&in);

	operation = "physical entry";
	count = count < 0xf0 ? 1 : 1u << (count & 0xf);
	for (u32 i = 0; i < count && index + i < INDICES; i++)
		set_id(index + i, entry);
}

static void change_logical(void)
{
	u8 slot = fuzz_u8(&in), how = fuzz_u8(&in);

	operation = "logical entry";
	set_logical(slot % SLOTS, how < 0x80 ? AVIC_LOGICAL_VALID | (how & 0xf) : fuzz_u32(&in));
}

/* By any processor or device, at any time: a request, or its trigger mode. */
static void post(void)
{
	u8 page = fuzz_u8(&in) % PAGES;
	u32 vector = any_vector(), offset = vector / 32 * 16;
	u8 how = fuzz_u8(&in);

	operation = "request from elsewhere";
	if (how & 1)
		set_word(page, APIC_TMR + offset,
		         ref.word[page][(APIC_TMR + offset) / 4] | BIT(vector % 32));
	if (how & 6)
		set_word(page, APIC_IRR + offset,
		         ref.word[page][(APIC_IRR + offset) / 4] | BIT(vector % 32));
}

/* Outside of the guest: any register becomes anything; then VMRUN. */
static void tamper(u32 c)
{
	u32 offset = any_offset() & 0xff0, value = any_value();

	operation = "VMRUN with other registers";
	if (offset >= REGISTERS)
		return;
	isr_tampered |= offset >= APIC_ISR && offset < APIC_TMR;
	set_word(ref.cpu[c].page, offset, value);
	enter(c, ref.word[ref.cpu[c].page][APIC_TPR / 4] >> 4 & 0xf);
}

/* --- an input --- */

static void begin(void)
{
	static const u16 limits[] = {PAGES - 1, 0,   40,  AVIC_XAPIC_MAX_INDEX,
	                             511,       512, 600, AVIC_X2APIC_EXT_MAX};
	u8 choice = fuzz_u8(&in);

	memset(&ref, 0, offsetof(struct ref, ring));
	ref.switches = fuzz_u16(&in) & (BIT(AVIC_SWITCH_COUNT) - 1);
	table_limit = limits[choice >> 2 & 7];
	readable = 0;
	isr_tampered = false;
	rings = 0;
	let_read(INDICES - 1);
	memset(ids(), 0, sizeof(ref.ids));
	memset(logical(), 0, sizeof(ref.logical));
	for (u32 i = 0; i < PAGES; i++)
		memset(memory[i], 0, REGISTERS);
	for (u32 i = 0; i < PAGES; i++) {
		set_word(i, APIC_ID, choice & 1 ? i : i << 24);
		set_word(i, APIC_DFR, choice & 2 ? 0x0fffffff : ~0u);
		set_id(i, AVIC_PHYSICAL_VALID | AVIC_PHYSICAL_RUNNING | page_address(i) |
		                  (HOST_ID + i));
		set_logical(i, AVIC_LOGICAL_VALID | i);
	}
	operation = "VMRUN";
	for (u32 c = 0; c < CPUS; c++) {
		avic[c] = (struct avic){.switches = ref.switches,
		                        .memory = {MEMORY_BASE, MEMORY_END},
		                        .doorbell = on_ring,
		                        .context = avic};
		ref.cpu[c].x2 = choice & 1;
		ref.cpu[c].page = c;
		enter(c, 0);
	}
}

static void operate(void)
{
	u8 choice = fuzz_u8(&in);
	u32 c = (choice >> 5) % CPUS;

	rings = ref.rings = 0;
	let_read(ref.cpu[c].max_index);
	switch (choice & 0x1f) {
	case 0 ... 3:
		page_access(c);
		msr_access(c);
		break;
	case 4 ... 10:
		send(c);
		break;
	case 11 ... 13:
		end_of_interrupt(c);
		break;
	case 14 ... 17:
		take(c);
		break;
	case 18:
		evaluate(c);
		break;
	case 19:
		cr8(c);
		break;
	case 20 ... 21:
		vmrun(c);
		break;
	case 22:
		vmrun_check(c);
		break;
	case 23 ... 24:
		tamper(c);
		break;
	case 25 ... 27:
		change_physical();
		break;
	case 28 ... 29:
		change_logical();
		break;
	default:
		post();
		break;
	}
	check();
}

/* Once: what is never told to the microcode. */
static void poison(void)
{
	static bool poisoned;

	if (poisoned)
		return;
	poisoned = true;
	for (u32 i = 0; i < PAGES; i++)
		ASAN_POISON_MEMORY_REGION(memory[i] + REGISTERS, PAGE_SIZE - REGISTERS);
	ASAN_POISON_MEMORY_REGION(&logical()[SLOTS], PAGE_SIZE - SLOTS * 4);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	in = (struct fuzz_input){data, data + size};
	poison();
	begin();
	check();
	for (u32 i = 0; fuzz_left(&in) && i < MOST_OPERATIONS; i++)
		operate();
	check_tables();
	return 0;
}
