/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization's microcode (cpu_model/vapic.c, vapic_regs.c, vapic_ipi.c): what guests do to
 * their APICs, what devices post, and what a hypervisor, or one gone wrong, has in memory and in
 * guest interrupt status. An input: for each of two virtual processors controls and the switches of
 * VAPIC_SWITCHES, then operations, each a byte that chooses it and what it takes.
 *
 * After each operation the result, guest interrupt status, what is recognized, the write that waits
 * for emulation, notifications, physical EOIs, counts, both pages and all descriptors are those of
 * the reference (vapic_ref.c); at the end the table too. Beside that: nothing is recognized behind a
 * delivery, and as long as the hypervisor keeps status and page in step, RVI and SVI are the highest
 * of VIRR and VISR, and no two of one class are in service.
 */
#include <sanitizer/asan_interface.h>

#include "postern/port.h"
#include "tests/fuzz/vapic_fuzz.h"
#include "x86/msr.h"

#define MOST_OPERATIONS 40
#define NV              0xf2
#define WIDTH           46

static u8 memory[PAGE_SIZE] __attribute__((aligned(4096))); /* descriptors */
static u8 apic_page[CPUS][PAGE_SIZE] __attribute__((aligned(4096)));
static struct atomic64 table[ENTRIES];
static struct vapic vapic[CPUS];
static struct notice notice[NOTICES];
static u32 notices, eois;
static u32 changed_entry;  /* the last */
static bool in_step[CPUS]; /* the hypervisor has kept guest interrupt status as VIRR and VISR are */
static const char *operation;
static struct fuzz_input in;

/* --- memory --- */

void *hpa_to_ptr(hpa_t hpa)
{
	FUZZ_CHECK(hpa.v >= MEMORY_BASE && hpa.v < MEMORY_END, "%s: touches %llx, no memory",
	           operation, (unsigned long long)hpa.v);
	return memory + (hpa.v - MEMORY_BASE);
}

static struct pi_desc *desc_at(u32 desc)
{
	return (struct pi_desc *)(void *)memory + desc;
}

static void on_notify(void *context, u32 host_id, u8 vector)
{
	FUZZ_CHECK(context == vapic && notices < NOTICES, "%s: notification", operation);
	notice[notices++] = (struct notice){host_id, vector};
}

static void on_eoi(void *context)
{
	FUZZ_CHECK(context == vapic, "%s: physical EOI", operation);
	eois++;
}

/* Entries up to the last index of whoever sends now. */
static void let_read(u32 last_index)
{
	ASAN_UNPOISON_MEMORY_REGION(table, sizeof(table));
	if (last_index < ENTRIES - 1)
		ASAN_POISON_MEMORY_REGION(&table[last_index + 1],
		                          (ENTRIES - 1 - last_index) * sizeof(table[0]));
}

static void set_entry(u32 index, u64 entry)
{
	let_read(ENTRIES - 1);
	table[index].v = ref.table[index] = entry;
}

static void set_page(u32 c, u32 offset, u32 value)
{
	*(u32 *)(void *)(apic_page[c] + offset) = value;
	memcpy(ref.cpu[c].page + offset, &value, sizeof(value));
}

static void post(u32 desc, u32 vector)
{
	desc_at(desc)->pir[vector / 64].v |= BIT64(vector % 64);
	ref_post(&ref.desc[desc], vector, true);
}

static void set_control(u32 desc, u64 control)
{
	desc_at(desc)->control.v = control;
	ref_set_control(&ref.desc[desc], control);
}

/* --- what is compared --- */

static u32 highest(u32 c, u32 offset)
{
	u32 vector = VECTORS - 1;

	while (vector && !ref_has(c, offset, vector))
		vector--;
	return vector;
}

static void check_in_step(u32 c)
{
	for (u32 class = 1; class < 16; class ++) {
		u32 word = *(const u32 *)(const void *)(apic_page[c] + APIC_ISR + class / 2 * 16);

		word = word >> class % 2 * 16 & 0xffff;
		FUZZ_CHECK(!(word & (word - 1)), "%s: processor %u: two of class %u in service",
		           operation, c, class);
	}
	FUZZ_CHECK(vapic[c].rvi == highest(c, APIC_IRR) && vapic[c].svi == highest(c, APIC_ISR),
	           "%s: processor %u: RVI %x, SVI %x are not the highest", operation, c,
	           vapic[c].rvi, vapic[c].svi);
}

static void check_cpu(u32 c)
{
	const struct ref_cpu *cpu = &ref.cpu[c];

	FUZZ_CHECK(vapic[c].rvi == cpu->rvi && vapic[c].svi == cpu->svi,
	           "%s: processor %u: RVI %x, SVI %x, not %x, %x", operation, c, vapic[c].rvi,
	           vapic[c].svi, cpu->rvi, cpu->svi);
	FUZZ_CHECK(vapic[c].recognized == cpu->recognized, "%s: processor %u: recognized or not",
	           operation, c);
	FUZZ_CHECK(vapic[c].written == cpu->wrote &&
	                   (!cpu->wrote || (vapic[c].write_offset == cpu->at &&
	                                    vapic[c].write_size == cpu->length)),
	           "%s: processor %u: the write that waits", operation, c);
	FUZZ_CHECK(!memcmp(vapic[c].counts, cpu->counts, sizeof(cpu->counts)),
	           "%s: processor %u: counts", operation, c);
	FUZZ_CHECK(vapic_is_below_threshold(&vapic[c]) == ref_is_below(c),
	           "%s: processor %u: below the threshold or not", operation, c);
	for (u32 i = 0; memcmp(apic_page[c], cpu->page, PAGE_SIZE) && i < PAGE_SIZE; i++)
		FUZZ_CHECK(apic_page[c][i] == cpu->page[i],
		           "%s: processor %u: byte %03x is %x, not %x", operation, c, i,
		           apic_page[c][i], cpu->page[i]);
	if (in_step[c])
		check_in_step(c);
}

static void check_desc(u32 desc)
{
	const struct ref_desc *should = &ref.desc[desc];
	const struct pi_desc *d = desc_at(desc);

	FUZZ_CHECK(!memcmp(d->pir, should->pir, sizeof(should->pir)), "%s: descriptor %u: PIR",
	           operation, desc);
	FUZZ_CHECK(d->control.v == ref_control(should), "%s: descriptor %u: %llx, not %llx",
	           operation, desc, (unsigned long long)d->control.v,
	           (unsigned long long)ref_control(should));
	FUZZ_CHECK(!memcmp(d->reserved, should->reserved, sizeof(d->reserved)),
	           "%s: descriptor %u: reserved words", operation, desc);
}

static void check(void)
{
	FUZZ_CHECK(notices == ref.notices &&
	                   !memcmp(notice, ref.notice, notices * sizeof(notice[0])),
	           "%s: %u notifications, not %u, or others", operation, notices, ref.notices);
	FUZZ_CHECK(eois == ref.eois, "%s: %u physical EOIs, not %u", operation, eois, ref.eois);
	for (u32 c = 0; c < CPUS; c++)
		check_cpu(c);
	for (u32 desc = 0; desc < DESCS; desc++)
		check_desc(desc);
}

static void check_result(struct vapic_result is, struct vapic_result should)
{
	FUZZ_CHECK(is.action == should.action && is.reason == should.reason &&
	                   is.qualification == should.qualification,
	           "%s: action %u exit %u %llx, not %u %u %llx", operation, is.action, is.reason,
	           (unsigned long long)is.qualification, should.action, should.reason,
	           (unsigned long long)should.qualification);
}

static void check_value(u64 value, u64 expected)
{
	FUZZ_CHECK(value == expected, "%s: %llx, not %llx", operation, (unsigned long long)value,
	           (unsigned long long)expected);
}

/* --- choices --- */

static u32 any_offset(void)
{
	static const u16 busy[] = {APIC_TPR, APIC_EOI, APIC_ICR, APIC_ICR2, APIC_SELF, APIC_EOI,
	                           APIC_LDR, APIC_TPR, APIC_ID,  APIC_PPR,  APIC_IRR,  APIC_SVR};
	u8 choice = fuzz_u8(&in);

	if (choice < 0x60)
		return busy[choice % ARRAY_SIZE(busy)];
	if (choice < 0xc0)
		return (u32)(choice - 0x60) % 0x48 << 4;
	if (choice < 0xe0)
		return busy[choice % ARRAY_SIZE(busy)] + (choice >> 2 & 3);
	return fuzz_u16(&in) & 0xfff;
}

static u32 any_value(void)
{
	u8 choice = fuzz_u8(&in);

	if (choice < 0x60)
		return (u32)choice * 3;
	if (choice < 0x70)
		return choice & 1 ? 0 : 0xffffffff;
	return choice < 0xa0 ? (u32)choice << 24 | choice : fuzz_u32(&in);
}

static u32 any_size(void)
{
	u8 choice = fuzz_u8(&in);

	if (choice < 0xa0)
		return 4;
	return choice < 0xe0 ? fuzz_size(choice) : choice & 0x1f;
}

/* Few vectors, so that they meet. */
static u32 any_vector(void)
{
	u8 choice = fuzz_u8(&in);

	return choice < 0xe0 ? 0x10 + (choice & 0xf) * 0xf : choice & 0x1f;
}

static u32 any_icr(void)
{
	u32 icr = any_vector(), how = fuzz_u8(&in);

	if (how & 0x80)
		icr |= (how & 3) << 18 | (how & 4 ? APIC_DEST_LOGICAL : 0);
	else
		icr |= how & 1 ? APIC_DEST_SELF : 0;
	icr |= how & 8 ? APIC_LEVEL_ASSERT : 0;
	return (how & 0x70) == 0x70 ? icr | BIT(8 + (fuzz_u8(&in) & 31) % 24) : icr;
}

/* Often the entry that was changed last, or its index with a bit too many. */
static u32 any_dest(void)
{
	u8 choice = fuzz_u8(&in);

	if (choice < 0xb0)
		return choice % (ENTRIES + 4);
	if (choice < 0xd0)
		return changed_entry;
	if (choice < 0xe0)
		return changed_entry | BIT(8 + fuzz_u8(&in) % 24);
	return choice & 1 ? 0xffffffff : fuzz_u32(&in);
}

/* --- entry and exit --- */

static void choose_controls(u32 c)
{
	u32 how = fuzz_u16(&in), more = fuzz_u8(&in);
	struct vapic *v = &vapic[c];

	/* Mostly what a hypervisor would choose. */
	v->tpr_shadow = (how & 7) != 7;
	v->vid = v->tpr_shadow && (how & 0x18);
	v->apic_registers = v->tpr_shadow && (how & 0x20);
	v->x2apic = v->tpr_shadow && (how & 0x40);
	v->ipiv = v->tpr_shadow && (how & 0x80);
	v->intr_window = (how & 0x700) == 0x700;
	v->pi_desc = v->vid && (how & 0x1800) ? desc_at(c) : NULL;
	v->host_x2 = how & 0x2000;
	v->threshold = (u8)(how >> 8 & 0xf);
	v->last_index = (u16)(more & 0x80 ? more & (ENTRIES - 1) : DESCS - 1);
	for (u32 i = 0; i < 4; i++)
		v->eoi_exit[i] = more & 0x40 ? 0 : 0x0040100401001000ull << (more & 0xf) * i;
}

/* The hypervisor changes registers, and guest interrupt status with them or not. */
static void turn(u32 c)
{
	u8 how = fuzz_u8(&in);
	u32 status;

	operation = "VM exit";
	status = vapic_leave(&vapic[c]);
	FUZZ_CHECK(status == ref_leave(c), "VM exit: guest interrupt status");
	check();
	operation = "VM entry";
	if (how & 1)
		choose_controls(c);
	if (how & 2) {
		u32 offset = any_offset() & 0xffc;

		set_page(c, offset, any_value());
		in_step[c] = in_step[c] && (offset < APIC_ISR || offset > APIC_IRR + 0x70);
	}
	if (how & 4) {
		u32 vector = any_vector(), at = APIC_IRR + vector / 32 * 16;

		set_page(c, at, *(u32 *)(void *)(apic_page[c] + at) | BIT(vector % 32));
	}
	if ((how & 0xe0) == 0xe0) {
		status = fuzz_u16(&in);
		in_step[c] = false;
	} else if (!(how & 8)) {
		status = VMX_INTR_STATUS(highest(c, APIC_IRR), highest(c, APIC_ISR));
	} else if (how & 4) {
		in_step[c] = false;
	}
	in_step[c] = in_step[c] && vapic[c].vid;
	vapic_enter(&vapic[c], (u16)status);
	ref_enter(c, status & 0xffff);
}

/* --- the guest --- */

static void emulate(u32 c)
{
	operation = "APIC-write emulation";
	check_result(vapic_emulate_write(&vapic[c]), ref_emulate(c));
}

static void access_once(u32 c)
{
	u32 offset = any_offset(), size = any_size();
	u8 choice = fuzz_u8(&in);
	enum vapic_access how = choice < 0xc0 ? VAPIC_DATA : choice & 3;
	u64 value = 0, expected = 0;

	if (choice & 4) {
		value = any_value() | (u64)offset << 40;
		operation = "write of the page";
		check_result(vapic_page_write(&vapic[c], how, offset, size, value),
		             ref_page_write(c, how, offset, size, value));
		return;
	}
	operation = "read of the page";
	check_result(vapic_page_read(&vapic[c], how, offset, size, &value),
	             ref_page_read(c, how, offset, size, &expected));
	check_value(value, expected);
}

/* An instruction, of several accesses at times; rarely it exits before its end. */
static void page_access(u32 c)
{
	u8 choice = fuzz_u8(&in);

	access_once(c);
	for (u32 i = 0; choice > 0xc0 && i < (choice & 3u); i++) {
		check();
		access_once(c);
	}
	check();
	if (choice != 0xff)
		emulate(c);
}

static void write_register(u32 c, u32 offset, u32 value)
{
	if (vapic[c].x2apic) {
		u32 msr = MSR_X2APIC_FIRST + offset / 16;

		operation = "WRMSR";
		check_result(vapic_msr_write(&vapic[c], msr, value), ref_msr_write(c, msr, value));
		return;
	}
	operation = "write of a register";
	check_result(vapic_page_write(&vapic[c], VAPIC_DATA, offset, 4, value),
	             ref_page_write(c, VAPIC_DATA, offset, 4, value));
	check();
	emulate(c);
}

static void msr_access(u32 c)
{
	u8 how = fuzz_u8(&in);
	u32 msr = MSR_X2APIC_FIRST + (any_offset() >> 4) - (how == 0x80) * 0x100;
	u64 value = 0, expected = 0;

	if (how & 3) {
		value = any_value() | (how & 0x70 ? 0 : (u64)any_value() << 32);
		operation = "WRMSR";
		check_result(vapic_msr_write(&vapic[c], msr, value), ref_msr_write(c, msr, value));
		return;
	}
	operation = "RDMSR";
	check_result(vapic_msr_read(&vapic[c], msr, &value), ref_msr_read(c, msr, &expected));
	check_value(value, expected);
}

static void cr8(u32 c)
{
	u8 choice = fuzz_u8(&in);
	u64 value = choice < 0xf0 ? choice & 0xf : (u64)choice << (choice & 7) * 7, read = 0,
	    expected = 0;

	operation = "CR8";
	check_result(vapic_write_cr8(&vapic[c], value), ref_write_cr8(c, value));
	check_result(vapic_read_cr8(&vapic[c], &read), ref_read_cr8(c, &expected));
	check_value(read, expected);
}

static void send(u32 c)
{
	u32 icr = any_icr(), dest = any_dest();
	u64 value = (u64)dest << 32 | icr;

	if (!vapic[c].x2apic) {
		write_register(c, APIC_ICR2, dest << 24);
		check();
		write_register(c, APIC_ICR, icr);
		return;
	}
	operation = "WRMSR of ICR";
	check_result(vapic_msr_write(&vapic[c], MSR_X2APIC_FIRST + APIC_ICR / 16, value),
	             ref_msr_write(c, MSR_X2APIC_FIRST + APIC_ICR / 16, value));
}

static void deliver(u32 c)
{
	bool open = fuzz_u8(&in) & 7;
	u32 vector;

	operation = "delivery";
	FUZZ_CHECK(vapic_can_deliver(&vapic[c], open) == ref_can_deliver(c, open),
	           "delivery: to be or not");
	if (!ref_can_deliver(c, open))
		return;
	vector = vapic_deliver(&vapic[c]);
	FUZZ_CHECK(vector == ref_deliver(c), "delivery: of %x", vector);
	FUZZ_CHECK(!vapic_can_deliver(&vapic[c], true), "delivery: one more at once");
}

/* --- from elsewhere --- */

static void physical_interrupt(u32 c)
{
	u8 choice = fuzz_u8(&in), vector = choice < 0xe0 ? NV : choice;

	operation = "physical interrupt";
	FUZZ_CHECK(vapic_process_posted(&vapic[c], vector) == ref_posted(c, vector),
	           "physical interrupt: a notification or not");
}

static void post_from_elsewhere(void)
{
	u32 desc = fuzz_u8(&in) % DESCS, vector = any_vector();

	operation = "request from elsewhere";
	post(desc, vector);
	if (!(ref.desc[desc].on || ref.desc[desc].sn))
		set_control(desc, ref_control(&ref.desc[desc]) | PI_ON);
}

static void change_control(void)
{
	u32 desc = fuzz_u8(&in) % DESCS, how = fuzz_u8(&in);

	operation = "change of a descriptor";
	if (how & 0x80)
		set_control(desc, fuzz_u64(&in));
	else
		set_control(desc, (how & 3) | PI_TO(how & 4 ? NV : 0xf1, (how & 0x18) << 5 | how));
	desc_at(desc)->reserved[how % 3] = ref.desc[desc].reserved[how % 3] = how;
}

/* Memory changes while the guest runs: nothing follows from it until the next operation that asks. */
static void change_page(u32 c)
{
	u32 offset = fuzz_u8(&in) & 1 ? APIC_TPR : any_offset() & 0xffc;

	operation = "change of a page";
	if (offset == APIC_PPR || (offset >= APIC_ISR && offset <= APIC_IRR + 0x70))
		in_step[c] = false;
	set_page(c, offset, any_value());
}

static void change_entry(void)
{
	u32 index = fuzz_u8(&in) % ENTRIES, how = fuzz_u8(&in);
	u64 entry = desc_address(how % DESCS) | PI_ENTRY_VALID;

	operation = "change of the table";
	if ((how & 0xe0) == 0xe0) {
		static const u64 others[] = {MEMORY_END, MEMORY_BASE - 64, 0, ~0ull << 6};

		entry = others[how % 4] | PI_ENTRY_VALID;
	} else if ((how & 0xe0) == 0xc0) {
		entry ^= BIT64(how % 6);
	} else if ((how & 0xe0) == 0xa0) {
		entry |= BIT64(WIDTH + how % (64 - WIDTH));
	}
	set_entry(index, entry);
	changed_entry = index;
}

/* --- an input --- */

static void begin(void)
{
	let_read(ENTRIES - 1);
	memset(&ref, 0, sizeof(ref));
	memset(apic_page, 0, sizeof(apic_page));
	memset(memory, 0, DESCS * sizeof(struct pi_desc));
	notices = eois = changed_entry = 0;
	for (u32 i = 0; i < ENTRIES; i++)
		set_entry(i, i < DESCS ? desc_address(i) | PI_ENTRY_VALID : 0);
	for (u32 i = 0; i < DESCS; i++)
		set_control(i, PI_TO(NV, 0x2500 + i * 0x101));
	operation = "VM entry";
	for (u32 c = 0; c < CPUS; c++) {
		vapic[c] = (struct vapic){.page = apic_page[c],
		                          .pi_vector = NV,
		                          .pi_table = table,
		                          .width = WIDTH,
		                          .switches = fuzz_u16(&in) & (BIT(VAPIC_SWITCH_COUNT) - 1),
		                          .memory_start = MEMORY_BASE,
		                          .memory_end = MEMORY_END,
		                          .notify = on_notify,
		                          .eoi = on_eoi,
		                          .context = vapic};
		ref.cpu[c].set = &vapic[c];
		choose_controls(c);
		in_step[c] = vapic[c].vid;
		vapic_enter(&vapic[c], 0);
		ref_enter(c, 0);
	}
}

static void operate(void)
{
	u8 choice = fuzz_u8(&in);
	u32 c = (choice >> 5) % CPUS;

	notices = ref.notices = eois = ref.eois = 0;
	let_read(vapic[c].last_index);
	switch (choice & 0x1f) {
	case 0 ... 4:
		page_access(c);
		break;
	case 5 ... 7:
		msr_access(c);
		break;
	case 8 ... 11:
		send(c);
		break;
	case 12 ... 14:
		write_register(c, APIC_EOI, 0);
		break;
	case 15:
		write_register(c, APIC_TPR, any_value());
		break;
	case 16:
		cr8(c);
		break;
	case 17 ... 20:
		deliver(c);
		break;
	case 21 ... 23:
		physical_interrupt(c);
		break;
	case 24 ... 25:
		post_from_elsewhere();
		break;
	case 26:
		change_control();
		break;
	case 27:
		change_entry();
		break;
	case 28:
		change_page(c);
		break;
	default:
		turn(c);
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
	ASAN_POISON_MEMORY_REGION(memory + DESCS * sizeof(struct pi_desc),
	                          PAGE_SIZE - DESCS * sizeof(struct pi_desc));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	in = (struct fuzz_input){data, data + size};
	poison();
	begin();
	check();
	for (u32 i = 0; fuzz_left(&in) && i < MOST_OPERATIONS; i++)
		operate();
	let_read(ENTRIES - 1);
	FUZZ_CHECK(!memcmp(table, ref.table, sizeof(table)), "the table was written");
	return 0;
}
