/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC and x2AVIC as a user: tables, modes of a vCPU, IsRunning, doorbells. APM volume 2, "Advanced
 * Virtual Interrupt Controller": "AVIC Backing Page", "Physical APIC ID Table", "Logical APIC ID
 * Table", "Physical Address Pointer Restrictions", "x2AVIC".
 *
 *  - The backing page is the page of irq/lapic.c, which has the architectural layout.
 *  - A vCPU has one entry in the physical table, at its initial APIC ID, for as long as the VM lives. With
 *    an ID beyond what the processor's table can have it has none, and AVIC is inhibited for the VM: nobody
 *    could send to it, and the broadcast forms would leave it out.
 *    It is valid while the APIC accepts fixed interrupts: a sender exits for another one, and the
 *    broadcast forms leave it out, which is what they do on an APIC.
 *  - The logical table is for xAPIC guests, and holds logical IDs of one bit that one APIC has. All
 *    others are left invalid, so that a sender exits.
 *  - IsRunning is set for a vCPU's turn. With the erratum (svm_features.stale_running) the tables never
 *    say it: the processor might miss that it has been taken back, and the target sleep on.
 *  - A change of root changes what the page's address means: with a new ASID.
 */
#include "core/vm.h"
#include "insn.h"
#include "irq/inhibit.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"
#include "postern/string.h"
#include "svm/svm.h"
#include "x86/avic.h"
#include "x86/msr.h"

#define RUNNING_BITS (AVIC_PHYSICAL_RUNNING | AVIC_PHYSICAL_HOST_ID)

static struct svm_avic *avic_of(const struct vm *vm)
{
	const struct svm_vm *svm = vm->arch;

	return svm->avic;
}

static u32 modes(void)
{
	if (!svm_has(SVM_CPUID_AVIC))
		return 0;
	return ACCEL_MODE(ACCEL_XAPIC) | (svm_has(SVM_CPUID_X2AVIC) ? ACCEL_MODE(ACCEL_X2APIC) : 0);
}

/* --- creation --- */

/* The table has an entry for it. */
static bool has_entry(const struct svm_avic *avic, const struct vcpu *vcpu)
{
	return vcpu->apic_id <= avic->max_index;
}

/* The largest index that the processor takes; in xAPIC mode the last entry stands for the broadcast ID. */
static u32 largest_index(enum accel_mode mode)
{
	if (mode == ACCEL_XAPIC)
		return AVIC_XAPIC_MAX_INDEX - 1;
	return svm_features.ecx & SVM_CPUID_X2AVIC_EXT ? AVIC_X2APIC_EXT_MAX : AVIC_X2APIC_MAX;
}

/* The largest ID that has an entry. */
static u32 find_max_index(const struct vm *vm)
{
	bool x2 = modes() & ACCEL_MODE(ACCEL_X2APIC);
	u32 limit = largest_index(x2 ? ACCEL_X2APIC : ACCEL_XAPIC);
	u32 largest = 0;

	for (u32 i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpu[i]->apic_id <= limit && vm->vcpu[i]->apic_id > largest)
			largest = vm->vcpu[i]->apic_id;
	return largest;
}

/* false: the vCPU's ID is too big to have one. */
static bool fill_entry(struct svm_avic *avic, const struct vcpu *vcpu)
{
	if (!has_entry(avic, vcpu))
		return false;
	atomic64_set_relaxed(&avic->ids[vcpu->apic_id], ptr_to_hpa(vcpu->lapic.page).v);
	return true;
}

static bool vm_init(struct vm *vm)
{
	struct svm_avic *avic = port_alloc(sizeof(*avic), CACHE_LINE);
	struct svm_vm *svm = vm->arch;

	if (!avic)
		return false;
	svm->avic = avic;
	avic->max_index = find_max_index(vm);
	avic->table_size = (avic->max_index / AVIC_PHYSICAL_PER_PAGE + 1) * PAGE_SIZE;
	avic->ids = port_alloc(avic->table_size, PAGE_SIZE);
	avic->logical = port_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!avic->ids || !avic->logical)
		return false;
	for (u32 i = 0; i < vm->vcpu_count; i++)
		if (!fill_entry(avic, vm->vcpu[i]))
			inhibit_set(vm, INHIBIT_PHYSICAL_ID_TOO_BIG);
	return true;
}

void svm_avic_vm_exit(struct svm_vm *svm)
{
	struct svm_avic *avic = svm->avic;

	if (!avic)
		return;
	if (avic->ids)
		port_free(avic->ids, avic->table_size);
	if (avic->logical)
		port_free(avic->logical, PAGE_SIZE);
	port_free(avic, sizeof(*avic));
	svm->avic = NULL;
}

/* --- tables --- */

static bool accepts_fixed(const struct lapic *lapic)
{
	return lapic_hardware_enabled(lapic) && lapic_software_enabled(lapic);
}

static void identify_physical(struct vm *vm, struct svm_avic *avic)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm) {
		struct atomic64 *entry = &avic->ids[vcpu->apic_id];

		if (!has_entry(avic, vcpu))
			continue;
		if (accepts_fixed(&vcpu->lapic))
			atomic64_fetch_or(entry, AVIC_PHYSICAL_VALID);
		else
			atomic64_fetch_and(entry, ~AVIC_PHYSICAL_VALID);
	}
}

/*
 * An ID of several bits and an APIC that an entry's 8 bits cannot name are nobody's entry: who sends to them
 * exits.
 */
static void add_logical(u32 *entries, u32 dfr, u32 ldr, u32 apic_id)
{
	bool cluster = dfr >> 28 == 0;
	u32 members = cluster ? ldr >> 24 & 0xf : ldr >> 24;
	u32 first = cluster ? (ldr >> 28) * 4 : 0;

	if ((cluster && ldr >> 28 == 0xf) || (!cluster && dfr >> 28 != 0xf))
		return;
	if (members && !(members & (members - 1)) && apic_id < AVIC_XAPIC_MAX_INDEX)
		entries[first + (u32)__builtin_ctz(members)] = AVIC_LOGICAL_VALID | apic_id;
}

static void identify_logical(struct vm *vm, struct svm_avic *avic)
{
	u32 entries[AVIC_LOGICAL_CLUSTER] = {0};
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm) {
		const struct lapic *lapic = &vcpu->lapic;

		if (accepts_fixed(lapic) && !lapic_in_x2apic(lapic))
			add_logical(entries, lapic_get(lapic, APIC_DFR), lapic_get(lapic, APIC_LDR),
			            vcpu->apic_id);
	}
	for (u32 i = 0; i < AVIC_LOGICAL_CLUSTER; i++)
		if (atomic32_read_relaxed(&avic->logical[i]) != entries[i])
			atomic32_set(&avic->logical[i], entries[i]);
}

/*
 * What the tables cannot say, two APICs with one logical ID or a mixture of models, is inhibited by
 * irq/apic_map.c before it comes here: nobody sends by them then.
 */
static void identify(struct vm *vm)
{
	struct svm_avic *avic = avic_of(vm);

	identify_physical(vm, avic);
	identify_logical(vm, avic);
}

/* --- a vCPU --- */

static void set_root(struct vcpu *vcpu, bool with_page)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	svm->root = with_page ? mmu_root(vcpu->vm) : mmu_root_without_apic(vcpu->vm);
	if (svm->vmcb->control.n_cr3 == svm->root.v)
		return;
	svm->vmcb->control.n_cr3 = svm->root.v;
	svm_dirty(vcpu, SVM_CLEAN_NP);
	svm_flush(vcpu);
}

/*
 * Nothing is flushed for the mode itself: the APIC's page is mapped only while it is on, and zapped with a
 * flush when it goes off.
 */
static void set(struct vcpu *vcpu, enum accel_mode mode, bool with_page)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	const struct svm_avic *avic = avic_of(vcpu->vm);
	const struct svm_vm *svm = vcpu->vm->arch;
	/* In xAPIC mode the field is as wide as an ID. */
	u32 max_index = (u32)min_u64(avic->max_index, largest_index(mode));

	/* V_IRQ is ignored from here on; EVENTINJ is not. */
	if (mode != ACCEL_OFF)
		svm_intr_virq_to_event(vcpu);
	svm_of(vcpu)->avic_bits = (mode != ACCEL_OFF ? SVM_AVIC_ENABLE : 0) |
	                          (mode == ACCEL_X2APIC ? SVM_X2AVIC_ENABLE : 0);
	svm_intr_apply_avic(vcpu);
	control->msrpm_base = ptr_to_hpa(mode == ACCEL_X2APIC ? svm->msrpm_x2avic : svm->msrpm).v;
	control->avic_apic_bar = APIC_BASE_DEFAULT;
	control->avic_backing_page = ptr_to_hpa(vcpu->lapic.page).v;
	control->avic_logical_table = ptr_to_hpa(avic->logical).v;
	control->avic_physical_table = ptr_to_hpa(avic->ids).v | max_index;
	svm_dirty(vcpu, SVM_CLEAN_AVIC | SVM_CLEAN_PERM_MAPS);
	set_root(vcpu, with_page);
}

static void running(struct vcpu *vcpu, struct cpu *cpu, bool sleeps __unused)
{
	const struct svm_avic *avic = avic_of(vcpu->vm);
	struct atomic64 *entry = &avic->ids[vcpu->apic_id];
	u64 bits = 0, old;

	if (!has_entry(avic, vcpu))
		return;
	if (cpu)
		bits = (cpu->apic_id & AVIC_PHYSICAL_HOST_ID) |
		       (svm_features.stale_running ? 0 : AVIC_PHYSICAL_RUNNING);
	/* Others may make it valid or invalid meanwhile. */
	do {
		old = atomic64_read(entry);
	} while (!atomic64_cmpxchg(entry, old, (old & ~RUNNING_BITS) | bits));
}

static void notify(struct vcpu *vcpu, struct cpu *cpu)
{
	insn_doorbell(cpu->apic_id);
	counter_add_shared(&vcpu->account.counters[COUNTER_DOORBELLS], 1);
}

const struct accel_ops svm_avic_ops = {
        .modes = modes,
        .vm_init = vm_init,
        .set = set,
        .running = running,
        .notify = notify,
        .identify = identify,
};
