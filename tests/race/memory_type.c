/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that comes back by a fault against a change of its type (mmu/memory_type.c, mmu/nested.c). A vCPU's
 * guest reads a page, through the model processor's translation cache and its walk of the real tables; a
 * fault brings it out, and is handled as one. Somebody sets CR0.CD, after which all is UC.
 *
 * Once that has returned, no access may go by a translation of before, from whichever cache or table.
 */
#include "tests/race/inhibit.h"
#include "tests/race/scenarios.h"
#include "tests/race/zap_wrong.h"

#include "cpu_model/model.h"
#include "posix.h"
#include "postern/port.h"
#include "svm/svm.h"

#define ACCESSES 3
#define PAGE     GPA(PAGE_SIZE_2M)
#define UNCACHED (PTE_PCD | PTE_PWT)

static struct atomic32 uncached; /* a setting of CR0.CD has returned, and none has been undone */
static bool faulted;             /* the guest has left by a fault; used between two steps */
static bool (*fault)(struct vm *vm, gpa_t gpa, u32 access);
static void (*cache_disabled)(struct vcpu *vcpu, bool disabled);

static void begin_with(bool (*a)(struct vm *, gpa_t, u32), void (*b)(struct vcpu *, bool))
{
	inhibit_stage_begin();
	atomic32_set(&uncached, 0);
	fault = a;
	cache_disabled = b;
}

static u64 leaf_of(struct vm *vm)
{
	u64 *table = hpa_to_ptr(mmu_root(vm));

	for (u32 level = 3;; level--) {
		u64 entry =
		        __atomic_load_n(&table[PAGE.v >> (12 + 9 * level) & 511], __ATOMIC_RELAXED);

		if (!(entry & PTE_P) || entry & PTE_PS || !level)
			return entry;
		table = hpa_to_ptr(HPA(entry & PTE_ADDR));
	}
}

static const char *access_page(struct vcpu *vcpu)
{
	struct model_cpu *cpu = inhibit_stage_load(vcpu);
	bool late = atomic32_read(&uncached);
	u64 leaf;

	faulted = !model_translate(cpu, PAGE, MODEL_READ);
	if (faulted || !late)
		return NULL;
	leaf = leaf_of(vcpu->vm);
	if (!atomic32_read(&uncached))
		return NULL;
	if (!(leaf & PTE_P))
		return "a translation is used behind the zap of its range";
	return (leaf & UNCACHED) == UNCACHED ? NULL
	                                     : "memory is used by the type that it had before";
}

static void try_access(struct vcpu *vcpu)
{
	inhibit_turn(vcpu, access_page);
	if (faulted && !fault(vcpu->vm, PAGE, MMU_READ))
		posix_fail("memory does not come back");
}

static void guest(void)
{
	for (u32 i = 0; i < ACCESSES; i++)
		try_access(inhibit_own());
}

static void set(struct vcpu *vcpu)
{
	cache_disabled(vcpu, true);
	atomic32_set(&uncached, 1);
}

/* Of vCPU 1, whose processor this is or is not. */
static void change(void)
{
	set(inhibit_vm->vcpu[1]);
}

static void change_and_back(void)
{
	set(inhibit_vm->vcpu[1]);
	atomic32_set(&uncached, 0);
	cache_disabled(inhibit_vm->vcpu[1], false);
}

/* A vCPU that has it mapped, sets CD itself and goes on. */
static void caller(void)
{
	struct vcpu *vcpu = inhibit_own();

	try_access(vcpu);
	try_access(vcpu);
	set(vcpu);
	try_access(vcpu);
	try_access(vcpu);
}

/* --- */

static void setup(void)
{
	struct vm *vm;

	inhibit_stage_create();
	vm = inhibit_vm;
	/* Whatever is mapped comes back by faults. */
	memory_type_cache_disabled(vm->vcpu[1], true);
	memory_type_cache_disabled(vm->vcpu[1], false);
}

static const char *check(void)
{
	const char *wrong = inhibit_check(0);
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, inhibit_vm) {
		posix_set_current(&model()->cpu[vcpu->index]);
		vcpu_handle_requests(vcpu);
		wrong = wrong ? wrong : access_page(vcpu);
	}
	return wrong;
}

static const char *check_back(void)
{
	const char *wrong = check();
	u64 leaf = leaf_of(inhibit_vm);

	if (!wrong && leaf & PTE_P && leaf & UNCACHED)
		return "memory is used by the type that it had in between";
	return wrong;
}

/* Stored when everything has been zapped by the old types: that comes back at once. */
static void change_after_zap(struct vcpu *vcpu, bool disabled)
{
	mmu_zap_until_fault(vcpu->vm, GPA(0), 1ull << 48);
	atomic32_set(&vcpu->vm->types.uncached, disabled);
}

/* Whoever finds the types changed goes on, though the zap for it is not done. */
static void change_unlocked(struct vcpu *vcpu, bool disabled)
{
	if (atomic32_xchg(&vcpu->vm->types.uncached, disabled) != disabled)
		mmu_zap_until_fault(vcpu->vm, GPA(0), 1ull << 48);
}

#define TYPES(id, what, bound, fault_code, change_code, judge, last_cpu, ...)                      \
	static void begin_##id(void)                                                               \
	{                                                                                          \
		begin_with(fault_code, change_code);                                               \
	}                                                                                          \
	const struct race_scenario id = {                                                          \
	        .name = "memory types: " what,                                                     \
	        .setup = setup,                                                                    \
	        .begin = begin_##id,                                                               \
	        .actor = {__VA_ARGS__},                                                            \
	        .cpu = {0, last_cpu, INHIBIT_OTHER_CPU},                                           \
	        .preemptions = bound,                                                              \
	        .check = judge,                                                                    \
	}

TYPES(race_types_fault, "a fault meets a change", 2, mmu_fault, memory_type_cache_disabled, check,
      INHIBIT_OTHER_CPU, guest, change);
TYPES(race_types_back, "a fault meets a change and another one back", 2, mmu_fault,
      memory_type_cache_disabled, check_back, INHIBIT_OTHER_CPU, guest, change_and_back);
TYPES(race_types_callers, "two vCPUs make the same change", 1, mmu_fault,
      memory_type_cache_disabled, check, 1, caller, caller);
TYPES(race_types_two, "two vCPUs' faults meet a change", 1, mmu_fault, memory_type_cache_disabled,
      check, 1, guest, guest, change);
TYPES(race_types_first, "a fault looks at them before it takes the sequence", 2,
      zap_fault_types_first, memory_type_cache_disabled, check, INHIBIT_OTHER_CPU, guest, change);
TYPES(race_types_unchecked, "a fault does not look at the sequence again", 2, zap_fault_unchecked,
      memory_type_cache_disabled, check, INHIBIT_OTHER_CPU, guest, change);
TYPES(race_types_late, "they change after the zap", 2, mmu_fault, change_after_zap, check,
      INHIBIT_OTHER_CPU, guest, change);
TYPES(race_types_unlocked, "the second of two changes does not wait for the first's zap", 2,
      mmu_fault, change_unlocked, check, 1, caller, caller);
