/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PID-pointer table (vmx/ipiv.c) changes while a sender's processor walks it: two actors, the owner of the target,
 * who changes what its APIC is, and the sender, in a turn of its own.
 *
 *   entry  the target's APIC is switched off and on by software. What a sender's processor reads is an entry or none,
 *          and never another address; what it has posted stays, and is looked at.
 *   ID     the target, in xAPIC mode, gives itself another APIC ID, and takes it back. Behind the write nothing that is
 *          sent to the old one comes: the table still has it there, so acceleration has gone.
 */
#include "tests/race/posted.h"
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "irq/lapic_priv.h"
#include "posix.h"
#include "vmx/vmx.h"

#define OTHER_ID 9u

static struct atomic32 moved; /* a step like those of the hypervisor: the write is over */
static bool was_moved;        /* ... before the IPI was sent */
static bool by_processor;

static void begin(void)
{
	posted_stage_begin();
	atomic32_set(&moved, 0);
	was_moved = by_processor = false;
}

/* --- entries --- */

static struct atomic64 *target_entry(void)
{
	const struct vmx_vm *vmx = posted_vm->arch;

	return &vmx->pi_table[posted_target->apic_id];
}

/* What it is while the target's APIC is enabled. */
static u64 right_entry(void)
{
	return ptr_to_hpa(posted_desc(posted_target)).v | PI_ENTRY_VALID;
}

static void setup(void)
{
	posted_stage_create(&(struct posted_stage){0});
	stage_run_on(posted_target, 0);
	ASSERT(atomic64_read(target_entry()) == right_entry());
}

/* It is stored in two parts, one half of the address behind the other: the memory here ends below 4 GiB. */
static void identify_in_halves(struct vm *vm __unused)
{
	struct atomic64 *entry = target_entry();
	u64 old = atomic64_read(entry), new;

	posted_right->identify(posted_vm);
	new = atomic64_read(entry);
	atomic64_set(entry, (old & ~0xffffull) | (u16) new);
	atomic64_set(entry, new);
}

static void setup_halves(void)
{
	setup();
	stage_accel_ops()->identify = identify_in_halves;
}

static void write_svr(u32 value)
{
	if (!lapic_msr_write(posted_target, MSR_X2APIC_FIRST + APIC_SVR / 16, value))
		posix_fail("SVR was refused");
}

static void owner(void)
{
	write_svr(0xff);
	write_svr(APIC_SVR_ENABLE | 0xff);
}

/* What the processor that walks the table will do with it is right. */
static void judge_entry(void)
{
	u64 entry = atomic64_read(target_entry());

	if (entry && entry != right_entry())
		posix_fail("an entry leads to what is no descriptor");
}

static void sender(void)
{
	by_processor = posted_send_in_turn(posted_target->apic_id, judge_entry);
}

static bool has_it(void)
{
	return lapic_holds(&posted_target->lapic, POSTED_VECTOR);
}

/* What a processor has posted stays, whatever becomes of the entry. */
static const char *check_posted(void)
{
	return by_processor && !has_it() ? "what was posted is gone" : NULL;
}

static const char *check_entry(void)
{
	if (atomic64_read(target_entry()) != right_entry())
		return "the entry is not valid again";
	if (!by_processor || !has_it())
		return check_posted(); /* by software: as it found the APIC */
	if (!lapic_has_posted(&posted_target->lapic) &&
	    !(atomic64_read(&posted_desc(posted_target)->control) & PI_SN))
		return "it is posted, and nobody looks";
	return NULL;
}

/* --- IDs --- */

static void setup_xapic(void)
{
	posted_stage_create(&(struct posted_stage){.xapic = true});
	stage_run_on(posted_target, 0);
}

/* A back end that does not name the reason. */
static void setup_no_reason(void)
{
	setup_xapic();
	posted_vm->inhibit.needed &= ~INHIBIT_BIT(APIC_ID_MODIFIED);
}

static void write_id(u32 id)
{
	lapic_mmio_write(posted_target, APIC_ID, 4, id << 24);
}

static void renames(void)
{
	write_id(OTHER_ID);
	atomic32_set(&moved, 1);
}

static void renames_and_back(void)
{
	write_id(OTHER_ID);
	write_id(posted_target->apic_id);
}

static void look_at_moved(void)
{
	was_moved = atomic32_read(&moved);
}

static void sender_to_id(void)
{
	by_processor = posted_send_in_turn(posted_target->apic_id, look_at_moved);
}

static const char *check_renamed(void)
{
	if (!inhibit_stands(posted_vm, INHIBIT_APIC_ID_MODIFIED) &&
	    posted_vm->inhibit.needed & INHIBIT_BIT(APIC_ID_MODIFIED))
		return "the mask is not what stands";
	if (was_moved && has_it())
		return "an IPI has come to an ID that is nobody's";
	return check_posted();
}

static const char *check_back(void)
{
	if (atomic32_read(&posted_vm->inhibit.mask))
		return "the mask is not what stands";
	return check_posted();
}

#define SCENARIO(id, what, bound, prepare, judge, ...)                                             \
	const struct race_scenario id = {                                                          \
	        .name = "IPI virtualization: " what,                                               \
	        .setup = prepare,                                                                  \
	        .begin = begin,                                                                    \
	        .actor = {__VA_ARGS__},                                                            \
	        .cpu = {0, POSTED_SENDER_CPU},                                                     \
	        .preemptions = bound,                                                              \
	        .check = judge,                                                                    \
	}

SCENARIO(race_table_entry, "an IPI meets an APIC that is switched off and on", 0, setup,
         check_entry, owner, sender);
SCENARIO(race_table_halves, "an entry stored by halves", 0, setup_halves, check_entry, owner,
         sender);
SCENARIO(race_table_id, "an IPI meets a change of APIC ID", 0, setup_xapic, check_renamed, renames,
         sender_to_id);
SCENARIO(race_table_id_back, "an IPI meets a change of APIC ID and back", 3, setup_xapic,
         check_back, renames_and_back, sender_to_id);
SCENARIO(race_table_no_reason, "a changed APIC ID inhibits nothing", 0, setup_no_reason,
         check_renamed, renames, sender_to_id);
