/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * svm/avic.c, svm/avic_exit.c and irq/accel.c over the local APICs: what the logical table says, which
 * exits are traps, and when the mode changes. APM volume 2, "Logical APIC ID Table", "AVIC Access to
 * un-accelerated vAPIC register".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/sched.h"
#include "insn.h"
#include "irq/accel.h"
#include "irq/apic_page.h"
#include "irq/inhibit.h"
#include "irq/lapic_priv.h"
#include "mmu/mmu.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "tests/unit/irq_fake.h"
#include "x86/avic.h"

#define VCPUS        3
#define SEQ          7
#define WITH_PAGE    0x1000
#define WITHOUT_PAGE 0x2000

struct svm_features svm_features = {.edx = SVM_CPUID_AVIC | SVM_CPUID_X2AVIC};
static struct backend backend = {.accel = &svm_avic_ops};
static struct svm_vm svm_vm;
static struct svm_vcpu svm_vcpu[VCPUS];
static struct vmcb vmcb[VCPUS];
static u32 zaps, installs, switches, moves_to_event;

/* --- around them --- */

void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)hpa.v;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA((uintptr_t)p);
}

bool sched_wake(struct vcpu *vcpu __unused)
{
	return false;
}

bool mmu_zap(struct vm *vm __unused, gpa_t gpa, u64 size)
{
	assert_int_equal(gpa.v, APIC_BASE_DEFAULT);
	assert_int_equal(size, PAGE_SIZE);
	zaps++;
	return true;
}

u32 mmu_invalidate_seq(const struct vm *vm __unused)
{
	return SEQ;
}

bool mmu_install(struct vm *vm, gpa_t gpa, hpa_t hpa, u32 access, u32 seq)
{
	assert_int_equal(gpa.v, APIC_BASE_DEFAULT);
	assert_int_equal(hpa.v, ptr_to_hpa(vm->accel.page).v);
	assert_int_equal(access, MMU_READ | MMU_WRITE);
	assert_int_equal(seq, SEQ);
	installs++;
	return true;
}

hpa_t mmu_root(struct vm *vm __unused)
{
	return HPA(WITH_PAGE);
}

hpa_t mmu_root_without_apic(struct vm *vm __unused)
{
	return HPA(WITHOUT_PAGE);
}

void intr_before_switch(struct vcpu *vcpu __unused)
{
	switches++;
}

void svm_intr_virq_to_event(struct vcpu *vcpu __unused)
{
	moves_to_event++;
}

const u64 *port_hw_counts(void)
{
	return NULL;
}

static void on_doorbell(u64 value __unused)
{
}

struct insn_slots insn_slots = {.doorbell = on_doorbell};

void svm_flush(struct vcpu *vcpu __unused)
{
}

void svm_intr_insn_exit(struct vcpu *vcpu __unused)
{
}

void svm_intr_apply_avic(struct vcpu *vcpu)
{
	svm_vmcb(vcpu)->control.int_ctl = svm_of(vcpu)->avic_bits;
}

static struct vcpu *vcpu(u32 i)
{
	return fake.vm->vcpu[i];
}

static void create_with_ids(const u32 *ids)
{
	fake_create_with_ids(VCPUS, ids);
	zaps = installs = switches = moves_to_event = 0;
	fake.vm->inhibit.needed = ~0u;
	fake.machine->backend = &backend;
	fake.vm->arch = &svm_vm;
	for (u32 i = 0; i < VCPUS; i++) {
		svm_vcpu[i] = (struct svm_vcpu){.vmcb = &vmcb[i]};
		vcpu(i)->arch = &svm_vcpu[i];
	}
	assert_true(accel_create(fake.vm, ACCEL_MODE(ACCEL_XAPIC) | ACCEL_MODE(ACCEL_X2APIC)));
	for (u32 i = 0; i < VCPUS; i++)
		lapic_mmio_write(vcpu(i), APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
}

static void create(void)
{
	create_with_ids(NULL);
}

static void destroy(void)
{
	accel_destroy(fake.vm);
	svm_avic_vm_exit(&svm_vm);
	fake_destroy();
}

static void set_ldr(u32 i, u8 id)
{
	lapic_mmio_write(vcpu(i), APIC_LDR, 4, (u32)id << 24);
}

static u32 entry(u32 place)
{
	return svm_vm.avic->logical[place].v;
}

/* --- the logical table --- */

static void test_one_bit_of_one_apic_has_its_entry(void **state __unused)
{
	create();
	set_ldr(0, 0x01);
	set_ldr(1, 0x80);
	assert_int_equal(entry(0), AVIC_LOGICAL_VALID | 0);
	assert_int_equal(entry(7), AVIC_LOGICAL_VALID | 1);
	assert_int_equal(entry(1), 0);
	destroy();
}

static bool is_aliased(void)
{
	return inhibit_stands(fake.vm, INHIBIT_LOGICAL_ID_ALIASED);
}

/* An entry could name one of them: nobody sends by the table. */
static void test_a_bit_that_two_apics_have_is_not_accelerated(void **state __unused)
{
	create();
	set_ldr(0, 0x02);
	set_ldr(1, 0x02);
	assert_true(is_aliased());
	set_ldr(0, 0x04);
	assert_false(is_aliased());
	assert_int_equal(entry(1), AVIC_LOGICAL_VALID | 1);
	destroy();
}

static void test_a_bit_of_an_id_of_several_bits_has_no_entry(void **state __unused)
{
	create();
	set_ldr(0, 0x03);
	set_ldr(2, 0x04);
	assert_false(is_aliased());
	assert_int_equal(entry(0), 0);
	assert_int_equal(entry(1), 0);
	assert_int_equal(entry(2), AVIC_LOGICAL_VALID | 2);
	set_ldr(1, 0x01);
	assert_true(is_aliased());
	destroy();
}

/* A sender in cluster mode names nobody by 10h, receivers in flat mode know their bit. */
static void test_flat_and_cluster_together_are_not_accelerated(void **state __unused)
{
	create();
	accel_update(vcpu(0));
	assert_true(accel_is_on(&vcpu(0)->accel));
	lapic_mmio_write(vcpu(1), APIC_DFR, 4, 0x0fffffff);
	accel_update(vcpu(0));
	assert_false(accel_is_on(&vcpu(0)->accel));
	/* One that accepts nothing does not matter. */
	lapic_mmio_write(vcpu(1), APIC_SVR, 4, 0xff);
	accel_update(vcpu(0));
	assert_true(accel_is_on(&vcpu(0)->accel));
	destroy();
}

static void test_xapic_and_x2apic_together_are_not_accelerated(void **state __unused)
{
	create();
	for (u32 i = 0; i < VCPUS; i++) {
		assert_true(lapic_msr_write(vcpu(i), MSR_APIC_BASE,
		                            atomic64_read(&vcpu(i)->lapic.base) | APIC_BASE_EXTD));
		accel_update(vcpu(0));
		assert_int_equal(accel_is_on(&vcpu(0)->accel), i == VCPUS - 1);
	}
	destroy();
}

/* What was sent meanwhile by tables that are no longer right may be with anybody. */
static void test_an_ipi_by_tables_that_are_not_right_is_told_to_all(void **state __unused)
{
	create();
	lapic_mmio_write(vcpu(1), APIC_ID, 4, 5u << 24);
	for (u32 i = 0; i < VCPUS; i++)
		fake_take_requests(vcpu(i));
	lapic_ipi_incomplete(vcpu(0), APIC_LEVEL_ASSERT | 0x61, 1, true);
	for (u32 i = 0; i < VCPUS; i++) {
		/* The sender looks by itself. */
		assert_int_equal(fake_take_requests(vcpu(i)), i ? VCPU_REQUEST_EVENT : 0);
		assert_true(vcpu(i)->lapic.irr_summary.v & BIT(0x61 / 32));
	}
	destroy();
}

static void test_cluster_15_has_no_entries(void **state __unused)
{
	create();
	for (u32 i = 0; i < VCPUS; i++)
		lapic_mmio_write(vcpu(i), APIC_DFR, 4, 0x0fffffff);
	set_ldr(0, 0xf1);
	set_ldr(1, 0xe8);
	for (u32 i = 0; i < AVIC_LOGICAL_CLUSTER; i++)
		assert_int_equal(entry(i), i == 59 ? AVIC_LOGICAL_VALID | 1 : 0);
	destroy();
}

/* --- IDs beyond the table --- */

static void all_to_x2apic(void)
{
	for (u32 i = 0; i < VCPUS; i++) {
		lapic_msr_write(vcpu(i), MSR_APIC_BASE,
		                atomic64_read(&vcpu(i)->lapic.base) | APIC_BASE_EXTD);
		lapic_msr_write(vcpu(i), MSR_X2APIC_FIRST + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff);
	}
}

/* Only those with an entry are in the table: nothing is written anywhere else (ASan). */
static void expect_table(u32 max_index, u32 pages, u32 too_big)
{
	struct svm_avic *avic = svm_vm.avic;
	u32 found = 0;

	assert_int_equal(avic->max_index, max_index);
	assert_int_equal(avic->table_size, pages * PAGE_SIZE);
	assert_int_equal(fake.vm->inhibit.mask.v & INHIBIT_BIT(PHYSICAL_ID_TOO_BIG),
	                 too_big ? INHIBIT_BIT(PHYSICAL_ID_TOO_BIG) : 0);
	all_to_x2apic();
	for (u32 i = 0; i < VCPUS; i++) {
		svm_avic_ops.running(vcpu(i), &fake.machine->cpu[0], false);
		svm_avic_ops.running(vcpu(i), NULL, false);
	}
	for (u32 i = 0; i < avic->table_size / 8; i++)
		found += avic->ids[i].v != 0;
	assert_int_equal(found, VCPUS - too_big);
	for (u32 i = 0; i < VCPUS; i++) {
		u64 page = ptr_to_hpa(vcpu(i)->lapic.page).v;

		if (vcpu(i)->apic_id <= max_index)
			assert_int_equal(avic->ids[vcpu(i)->apic_id].v, page | AVIC_PHYSICAL_VALID);
	}
}

static void test_ids_beyond_the_table_have_no_entry(void **state __unused)
{
	static const u32 fits[VCPUS] = {0, 300, 511}, beyond[VCPUS] = {512, 1, 0xfffffffe},
	                 all[VCPUS] = {512, 513, 0xfffffffe};

	create_with_ids(fits);
	expect_table(511, 1, 0);
	destroy();
	create_with_ids(beyond);
	expect_table(1, 1, 2);
	destroy();
	create_with_ids(all);
	expect_table(0, 1, 3);
	destroy();
}

/* With CPUID 8000_000A ECX bit 6 the table has up to eight pages. */
static void test_ids_of_the_large_table(void **state __unused)
{
	static const u32 ids[VCPUS] = {0, 512, 4095}, beyond[VCPUS] = {4096, 511, 512};

	svm_features.ecx = SVM_CPUID_X2AVIC_EXT;
	create_with_ids(ids);
	expect_table(4095, 8, 0);
	svm_avic_ops.set(vcpu(0), ACCEL_X2APIC, true);
	assert_int_equal(vmcb[0].control.avic_physical_table & AVIC_MAX_INDEX, 4095);
	destroy();
	create_with_ids(beyond);
	expect_table(512, 2, 1);
	destroy();
	svm_features.ecx = 0;
}

/* Without x2AVIC the last entry is the broadcast's. */
static void test_ids_beyond_the_small_table_have_no_entry(void **state __unused)
{
	static const u32 fits[VCPUS] = {0, 253, 254}, beyond[VCPUS] = {0, 255, 256};

	svm_features.edx = SVM_CPUID_AVIC;
	create_with_ids(fits);
	expect_table(254, 1, 0);
	destroy();
	create_with_ids(beyond);
	expect_table(0, 1, 2);
	destroy();
	svm_features.edx = SVM_CPUID_AVIC | SVM_CPUID_X2AVIC;
}

/* In xAPIC mode the field has 8 bits, and no entry has a larger ID. */
static void test_ids_that_xapic_mode_cannot_name(void **state __unused)
{
	static const u32 ids[VCPUS] = {0, 300, 0x80000001};

	create_with_ids(ids);
	for (u32 i = 0; i < VCPUS; i++)
		set_ldr(i, (u8)(1 << i));
	for (u32 i = 0; i < AVIC_LOGICAL_CLUSTER; i++)
		assert_int_equal(entry(i), i ? 0 : AVIC_LOGICAL_VALID);
	svm_avic_ops.set(vcpu(0), ACCEL_XAPIC, true);
	assert_int_equal(vmcb[0].control.avic_physical_table & AVIC_MAX_INDEX, 254);
	svm_avic_ops.set(vcpu(0), ACCEL_X2APIC, true);
	assert_int_equal(vmcb[0].control.avic_physical_table & AVIC_MAX_INDEX, 300);
	/* Nor do they go by IDs that are cut off. */
	accel_update(vcpu(0));
	assert_false(accel_is_on(&vcpu(0)->accel));
	destroy();
}

/* --- exits --- */

static enum exit_kind exit_of_write(u32 offset, bool x2)
{
	vmcb[0].control.int_ctl = SVM_AVIC_ENABLE | (x2 ? SVM_X2AVIC_ENABLE : 0);
	vmcb[0].control.exit_info_1 = AVIC_NOACCEL_WRITE | offset;
	svm_avic_noaccel_exit(vcpu(0));
	return vcpu(0)->exit.kind;
}

static void test_a_write_of_a_register_is_a_trap_or_a_fault(void **state __unused)
{
	create();
	assert_int_equal(exit_of_write(APIC_LDR, false), EXIT_APIC_WRITE);
	assert_int_equal(exit_of_write(APIC_SVR, true), EXIT_APIC_WRITE);
	assert_int_equal(exit_of_write(APIC_VERSION, true), EXIT_WRMSR);
	assert_int_equal(exit_of_write(APIC_VERSION, false), EXIT_APIC_ACCESS);
	destroy();
}

/* By the access table such a WRMSR traps, and the page has the guest's value. */
static void test_a_trap_of_a_read_only_register_puts_it_back(void **state __unused)
{
	static const u16 offsets[] = {APIC_ID, APIC_LDR};
	struct lapic *lapic;

	create();
	lapic = &vcpu(1)->lapic;
	for (u32 i = 0; i < VCPUS; i++)
		lapic_msr_write(vcpu(i), MSR_APIC_BASE,
		                atomic64_read(&vcpu(i)->lapic.base) | APIC_BASE_EXTD);
	accel_update(vcpu(1));
	for (u32 i = 0; i < ARRAY_SIZE(offsets); i++) {
		u32 before = lapic_get(lapic, offsets[i]);

		assert_int_not_equal(before, 0);
		lapic_set(lapic, offsets[i], 0x12345678);
		lapic_written(vcpu(1), offsets[i]);
		assert_int_equal(lapic_get(lapic, offsets[i]), before);
	}
	destroy();
}

/* --- changes of mode --- */

static void test_what_is_injected_goes_along(void **state __unused)
{
	create();
	accel_update(vcpu(0));
	assert_int_equal(switches, 1);
	assert_int_equal(moves_to_event, 1);
	accel_update(vcpu(0)); /* no change */
	assert_int_equal(switches, 1);
	/* Switched off, V_IRQ is as good as EVENTINJ. */
	lapic_mmio_write(vcpu(1), APIC_ID, 4, 5u << 24);
	accel_update(vcpu(0));
	assert_int_equal(switches, 2);
	assert_int_equal(moves_to_event, 1);
	destroy();
}

/* By the VM's reasons it stays on the root that all share, by its own it leaves that. */
static void test_the_root_follows_reasons_of_its_own(void **state __unused)
{
	create();
	accel_update(vcpu(0));
	assert_int_equal(vmcb[0].control.n_cr3, WITH_PAGE);
	inhibit_set(fake.vm, INHIBIT_STORM);
	assert_int_equal(zaps, 1);
	accel_update(vcpu(0));
	assert_false(accel_is_on(&vcpu(0)->accel));
	assert_int_equal(vmcb[0].control.n_cr3, WITH_PAGE);
	inhibit_clear(fake.vm, INHIBIT_STORM);
	assert_int_equal(zaps, 1);
	lapic_mmio_write(vcpu(0), APIC_SVR, 4, 0xff);
	accel_update(vcpu(0));
	assert_false(accel_is_on(&vcpu(0)->accel));
	assert_int_equal(vcpu(0)->accel.local, INHIBIT_BIT(APIC_DISABLED));
	assert_int_equal(vmcb[0].control.n_cr3, WITHOUT_PAGE);
	assert_int_equal(zaps, 1);
	destroy();
}

static void test_the_page_is_mapped_by_a_fault_while_it_is_accelerated(void **state __unused)
{
	create();
	assert_false(apic_page_fault(vcpu(0), GPA(APIC_BASE_DEFAULT))); /* not yet on */
	vcpu(0)->regs.rip = 0x1234;
	accel_update(vcpu(0));
	assert_false(apic_page_fault(vcpu(0), GPA(APIC_BASE_DEFAULT + PAGE_SIZE)));
	assert_false(apic_page_fault(vcpu(0), GPA(APIC_BASE_DEFAULT - 1)));
	assert_int_equal(installs, 0);
	assert_true(apic_page_fault(vcpu(0), GPA(APIC_BASE_DEFAULT + 0x80)));
	assert_int_equal(installs, 1);
	/* The same instruction again: emulated, so that it comes to an end however often the page goes. */
	assert_false(apic_page_fault(vcpu(0), GPA(APIC_BASE_DEFAULT + 0x80)));
	assert_int_equal(installs, 1);
	assert_true(apic_page_fault(vcpu(0), GPA(APIC_BASE_DEFAULT + 0x80)));
	assert_int_equal(installs, 2);
	inhibit_set(fake.vm, INHIBIT_STORM);
	assert_false(apic_page_fault(vcpu(0), GPA(APIC_BASE_DEFAULT + 0x80)));
	assert_int_equal(installs, 2);
	destroy();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_one_bit_of_one_apic_has_its_entry),
	        cmocka_unit_test(test_a_bit_that_two_apics_have_is_not_accelerated),
	        cmocka_unit_test(test_a_bit_of_an_id_of_several_bits_has_no_entry),
	        cmocka_unit_test(test_flat_and_cluster_together_are_not_accelerated),
	        cmocka_unit_test(test_xapic_and_x2apic_together_are_not_accelerated),
	        cmocka_unit_test(test_an_ipi_by_tables_that_are_not_right_is_told_to_all),
	        cmocka_unit_test(test_cluster_15_has_no_entries),
	        cmocka_unit_test(test_ids_beyond_the_table_have_no_entry),
	        cmocka_unit_test(test_ids_beyond_the_small_table_have_no_entry),
	        cmocka_unit_test(test_ids_of_the_large_table),
	        cmocka_unit_test(test_ids_that_xapic_mode_cannot_name),
	        cmocka_unit_test(test_a_write_of_a_register_is_a_trap_or_a_fault),
	        cmocka_unit_test(test_a_trap_of_a_read_only_register_puts_it_back),
	        cmocka_unit_test(test_what_is_injected_goes_along),
	        cmocka_unit_test(test_the_root_follows_reasons_of_its_own),
	        cmocka_unit_test(test_the_page_is_mapped_by_a_fault_while_it_is_accelerated),
	};

	return cmocka_run_group_tests_name("svm_avic", tests, NULL, NULL);
}
