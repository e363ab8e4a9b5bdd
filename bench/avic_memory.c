/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What memory AVIC's tables take: allocated by the hypervisor's own code, tables by svm/avic.c and
 * backing pages by irq/lapic.c, over the unit tests' fakes, whose port counts the bytes.
 *
 * The size of the tables follows from the largest APIC ID, so two vCPUs stand for all.
 */
#include "bench/avic.h"

#include <stdlib.h>

#include "insn.h"
#include "irq/inhibit.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "tests/unit/irq_fake.h"

/* As on metal, where all of memory is where it is. */
void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)hpa.v;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA((uintptr_t)p);
}

/* What svm/avic.c calls for a vCPU that runs; none does. */
struct svm_features svm_features = {.edx = SVM_CPUID_AVIC | SVM_CPUID_X2AVIC,
                                    .ecx = SVM_CPUID_X2AVIC_EXT};
struct insn_slots insn_slots;

/* None of the IDs is too big. */
void inhibit_set(struct vm *vm __unused, enum inhibit_reason reason __unused)
{
	abort();
}

void svm_flush(struct vcpu *vcpu __unused)
{
	abort();
}

void svm_intr_apply_avic(struct vcpu *vcpu __unused)
{
	abort();
}

u64 bench_avic_bytes(u32 vcpus)
{
	const u32 apic_ids[] = {0, vcpus - 1};
	struct svm_vm svm = {0};
	u64 before, tables, page;
	struct vcpu *vcpu;

	fake_create_with_ids(ARRAY_SIZE(apic_ids), apic_ids);
	fake.vm->arch = &svm;
	before = fake.allocated;
	if (!svm_avic_ops.vm_init(fake.vm))
		abort();
	tables = fake.allocated - before;
	svm_avic_vm_exit(&svm);

	vcpu = fake.vm->vcpu[0];
	lapic_destroy(vcpu);
	before = fake.allocated;
	if (!lapic_create(vcpu))
		abort();
	page = fake.allocated - before;
	fake_destroy();
	return page + (tables + vcpus - 1) / vcpus;
}

/* --- of svm/, what the tables' creation does not call --- */

hpa_t mmu_root(struct vm *vm __unused)
{
	abort();
}

hpa_t mmu_root_without_apic(struct vm *vm __unused)
{
	abort();
}

void svm_intr_virq_to_event(struct vcpu *vcpu __unused)
{
	abort();
}
