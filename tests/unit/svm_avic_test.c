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
#include "irq/lapic_priv.h"
#include "mmu/mmu.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "tests/unit/irq_fake.h"
#include "x86/avic.h"

#define VCPUS 3

struct svm_features svm_features = {.edx = SVM_CPUID_AVIC | SVM_CPUID_X2AVIC};
static struct backend backend = {.accel = &svm_avic_ops};
static struct svm_vm svm_vm;
static struct svm_vcpu svm_vcpu[VCPUS];
static struct vmcb vmcb[VCPUS];
static enum intr_block slot;

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

bool mmu_map(struct vm *vm __unused, gpa_t gpa __unused, hpa_t hpa __unused, u64 size __unused,
             u32 access __unused)
{
	return true;
}

bool mmu_unmap(struct vm *vm __unused, gpa_t gpa __unused, u64 size __unused)
{
	return true;
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

static enum intr_block blocked(struct vcpu *vcpu __unused, enum intr_class class __unused)
{
	return slot;
}

static struct vcpu *vcpu(u32 i)
{
	return fake.vm->vcpu[i];
}

static void create(void)
{
	fake_create(VCPUS);
	backend_table.intr_blocked = blocked;
	slot = INTR_BLOCK_NONE;
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

static void destroy(void)
{
	accel_destroy(fake.vm);
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

static void test_a_bit_that_two_apics_have_has_no_entry(void **state __unused)
{
	create();
	set_ldr(0, 0x02);
	set_ldr(1, 0x02);
	assert_int_equal(entry(1), 0);
	set_ldr(0, 0x04);
	assert_int_equal(entry(1), AVIC_LOGICAL_VALID | 1);
	destroy();
}

static void test_a_bit_of_an_id_of_several_bits_has_no_entry(void **state __unused)
{
	static const u8 orders[][2] = {{0, 1}, {1, 0}};

	for (u32 i = 0; i < ARRAY_SIZE(orders); i++) {
		create();
		set_ldr(orders[i][0], 0x03);
		set_ldr(orders[i][1], 0x01);
		set_ldr(2, 0x04);
		/* An IPI to bit 0 is for both, of which an entry could name one. */
		assert_int_equal(entry(0), 0);
		assert_int_equal(entry(1), 0);
		assert_int_equal(entry(2), AVIC_LOGICAL_VALID | 2);
		destroy();
	}
}

static void test_flat_and_cluster_together_have_no_entries(void **state __unused)
{
	create();
	set_ldr(0, 0x01);
	set_ldr(1, 0x12);
	lapic_mmio_write(vcpu(1), APIC_DFR, 4, 0x0fffffff);
	for (u32 i = 0; i < AVIC_LOGICAL_CLUSTER; i++)
		assert_int_equal(entry(i), 0);
	destroy();
}

/* A sender in cluster mode names nobody by 10h, receivers in flat mode know their bit. */
static void test_flat_and_cluster_together_are_not_accelerated(void **state __unused)
{
	create();
	assert_false(accel_update(vcpu(0)));
	assert_true(accel_is_on(&vcpu(0)->accel));
	lapic_mmio_write(vcpu(1), APIC_DFR, 4, 0x0fffffff);
	assert_false(accel_update(vcpu(0)));
	assert_false(accel_is_on(&vcpu(0)->accel));
	/* One that accepts nothing does not matter. */
	lapic_mmio_write(vcpu(1), APIC_SVR, 4, 0xff);
	assert_false(accel_update(vcpu(0)));
	assert_true(accel_is_on(&vcpu(0)->accel));
	destroy();
}

static void test_xapic_and_x2apic_together_are_not_accelerated(void **state __unused)
{
	create();
	for (u32 i = 0; i < VCPUS; i++) {
		assert_true(lapic_msr_write(vcpu(i), MSR_APIC_BASE,
		                            atomic64_read(&vcpu(i)->lapic.base) | APIC_BASE_EXTD));
		assert_false(accel_update(vcpu(0)));
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
	assert_false(accel_update(vcpu(1)));
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

static void test_a_change_waits_for_the_injection_slot_and_no_longer(void **state __unused)
{
	create();
	assert_false(accel_update(vcpu(0)));
	assert_true(accel_is_on(&vcpu(0)->accel));
	/* Another APIC has an ID that the tables do not know, while an event is in the slot. */
	lapic_mmio_write(vcpu(1), APIC_ID, 4, 5u << 24);
	slot = INTR_BLOCK_SLOT;
	assert_true(accel_update(vcpu(0))); /* leave behind the event */
	assert_true(accel_is_on(&vcpu(0)->accel));
	slot = INTR_BLOCK_NONE;
	assert_false(accel_update(vcpu(0)));
	assert_false(accel_is_on(&vcpu(0)->accel));
	destroy();
}

static void test_no_change_does_not_ask_for_an_exit(void **state __unused)
{
	create();
	assert_false(accel_update(vcpu(0)));
	slot = INTR_BLOCK_SLOT;
	assert_false(accel_update(vcpu(0)));
	destroy();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_one_bit_of_one_apic_has_its_entry),
	        cmocka_unit_test(test_a_bit_that_two_apics_have_has_no_entry),
	        cmocka_unit_test(test_a_bit_of_an_id_of_several_bits_has_no_entry),
	        cmocka_unit_test(test_flat_and_cluster_together_have_no_entries),
	        cmocka_unit_test(test_flat_and_cluster_together_are_not_accelerated),
	        cmocka_unit_test(test_xapic_and_x2apic_together_are_not_accelerated),
	        cmocka_unit_test(test_an_ipi_by_tables_that_are_not_right_is_told_to_all),
	        cmocka_unit_test(test_cluster_15_has_no_entries),
	        cmocka_unit_test(test_a_write_of_a_register_is_a_trap_or_a_fault),
	        cmocka_unit_test(test_a_trap_of_a_read_only_register_puts_it_back),
	        cmocka_unit_test(test_a_change_waits_for_the_injection_slot_and_no_longer),
	        cmocka_unit_test(test_no_change_does_not_ask_for_an_exit),
	};

	return cmocka_run_group_tests_name("svm_avic", tests, NULL, NULL);
}
