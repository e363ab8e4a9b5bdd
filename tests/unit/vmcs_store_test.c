/* SPDX-License-Identifier: BSD-2-Clause */
/* VMREAD and VMWRITE over a VMCS's region: which fields there are, their widths, and what may be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu_model/model.h"
#include "cpu_model/vmcs_store.h"
#include "postern/port.h"

/* With MODEL_APICV read-only fields can be written. */
#define ALL    (MODEL_INTEL | MODEL_APICV | MODEL_PREEMPTION_TIMER | MODEL_POSTED | MODEL_IPIV)
#define STRICT (MODEL_INTEL | MODEL_PREEMPTION_TIMER)

static struct model_vmcs vmcs;

void port_panic(const char *fmt, ...)
{
	(void)fmt;
	abort();
}

static const u32 fields[] = {
#define X(name, encoding) encoding,
        VMCS_FIELDS(X)
#undef X
};

static u64 width_mask(u32 encoding)
{
	static const u64 masks[] = {[VMCS_WIDTH_16] = 0xffff,
	                            [VMCS_WIDTH_64] = ~0ull,
	                            [VMCS_WIDTH_32] = 0xffffffff,
	                            [VMCS_WIDTH_NATURAL] = ~0ull};

	return masks[VMCS_WIDTH(encoding)];
}

/* Fields of features that no processor here has. */
static bool is_absent(u32 encoding)
{
	switch (encoding) {
	case VMCS_XSS_EXITING:
	case VMCS_PLE_GAP:
	case VMCS_PLE_WINDOW:
		return true;
	default:
		return false;
	}
}

static void test_every_field_has_its_own_place_and_width(void **state __unused)
{
	u64 value;

	memset(&vmcs, 0, sizeof(vmcs));
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++) {
		u32 error = vmcs_store_write(&vmcs, ALL, fields[i], ~0ull - i);

		assert_int_equal(error, is_absent(fields[i]) ? VMX_ERROR_FIELD : 0);
	}
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++) {
		if (is_absent(fields[i])) {
			assert_int_equal(vmcs_store_read(&vmcs, ALL, fields[i], &value),
			                 VMX_ERROR_FIELD);
			continue;
		}
		assert_int_equal(vmcs_store_read(&vmcs, ALL, fields[i], &value), 0);
		assert_true(value == ((~0ull - i) & width_mask(fields[i])));
	}
}

static void test_read_only_fields_keep_their_value(void **state __unused)
{
	u64 value;

	memset(&vmcs, 0, sizeof(vmcs));
	vmcs_store_set(&vmcs, VMCS_EXIT_REASON, VMX_EXIT_HLT);
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
		if (VMCS_TYPE(fields[i]) == VMCS_TYPE_READ_ONLY)
			assert_int_equal(vmcs_store_write(&vmcs, STRICT, fields[i], 1),
			                 VMX_ERROR_READ_ONLY);
	assert_int_equal(vmcs_store_read(&vmcs, STRICT, VMCS_EXIT_REASON, &value), 0);
	assert_int_equal(value, VMX_EXIT_HLT);
}

/* IA32_VMX_MISC bit 29 */
static void test_read_only_fields_of_newer_processors(void **state __unused)
{
	u64 value;

	memset(&vmcs, 0, sizeof(vmcs));
	assert_int_equal(vmcs_store_write(&vmcs, ALL, VMCS_EXIT_REASON, VMX_EXIT_HLT), 0);
	assert_int_equal(vmcs_store_read(&vmcs, ALL, VMCS_EXIT_REASON, &value), 0);
	assert_int_equal(value, VMX_EXIT_HLT);
}

static void test_high_halves_are_of_64_bit_fields_only(void **state __unused)
{
	u64 value;

	memset(&vmcs, 0, sizeof(vmcs));
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++) {
		u32 high = fields[i] | 1;
		u32 error = vmcs_store_read(&vmcs, ALL, high, &value);

		if (VMCS_WIDTH(fields[i]) != VMCS_WIDTH_64 || is_absent(fields[i]))
			assert_int_equal(error, VMX_ERROR_FIELD);
		else
			assert_int_equal(error, 0);
	}
	assert_int_equal(vmcs_store_write(&vmcs, ALL, VMCS_EPTP, 0x1122334455667788), 0);
	assert_int_equal(vmcs_store_read(&vmcs, ALL, VMCS_EPTP | 1, &value), 0);
	assert_int_equal(value, 0x11223344);
	assert_int_equal(vmcs_store_write(&vmcs, ALL, VMCS_EPTP | 1, 0xffffffff99aabbcc), 0);
	assert_int_equal(vmcs_store_read(&vmcs, ALL, VMCS_EPTP, &value), 0);
	assert_true(value == 0x99aabbcc55667788);
}

static void test_other_encodings_are_unsupported(void **state __unused)
{
	u64 value = 0x5555;

	memset(&vmcs, 0, sizeof(vmcs));
	for (u32 encoding = 0; encoding < 0x10000; encoding += 2) {
		bool known = false;

		for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
			known |= fields[i] == encoding;
		if (known)
			continue;
		assert_int_equal(vmcs_store_read(&vmcs, ALL, encoding, &value), VMX_ERROR_FIELD);
		assert_int_equal(vmcs_store_write(&vmcs, ALL, encoding, 1), VMX_ERROR_FIELD);
	}
	/* A reserved bit next to a good encoding. */
	assert_int_equal(vmcs_store_read(&vmcs, ALL, VMCS_EPTP | BIT(12), &value), VMX_ERROR_FIELD);
	assert_int_equal(vmcs_store_read(&vmcs, ALL, VMCS_EPTP | BIT(31), &value), VMX_ERROR_FIELD);
	assert_int_equal(value, 0x5555);
}

static void test_fields_come_with_their_features(void **state __unused)
{
	static const struct {
		u32 encoding, feature;
	} rows[] = {
	        {VMCS_APIC_ACCESS, MODEL_APICV},
	        {VMCS_GUEST_INTR_STATUS, MODEL_APICV},
	        {VMCS_EOI_EXIT_3, MODEL_APICV},
	        {VMCS_PI_VECTOR, MODEL_POSTED},
	        {VMCS_PI_DESC, MODEL_POSTED},
	        {VMCS_PI_DESC | 1, MODEL_POSTED},
	        {VMCS_LAST_PI_INDEX, MODEL_IPIV},
	        {VMCS_PI_TABLE, MODEL_IPIV},
	        {VMCS_TERTIARY, MODEL_IPIV},
	        {VMCS_TERTIARY | 1, MODEL_IPIV},
	        {VMCS_PREEMPTION_TIMER, MODEL_PREEMPTION_TIMER},
	};
	u64 value;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		u32 with = MODEL_INTEL | rows[i].feature;

		assert_int_equal(vmcs_store_write(&vmcs, MODEL_INTEL, rows[i].encoding, 1),
		                 VMX_ERROR_FIELD);
		assert_int_equal(vmcs_store_read(&vmcs, MODEL_INTEL, rows[i].encoding, &value),
		                 VMX_ERROR_FIELD);
		assert_int_equal(vmcs_store_write(&vmcs, with, rows[i].encoding, 1), 0);
		assert_int_equal(vmcs_store_read(&vmcs, with, rows[i].encoding, &value), 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_every_field_has_its_own_place_and_width),
	        cmocka_unit_test(test_read_only_fields_keep_their_value),
	        cmocka_unit_test(test_read_only_fields_of_newer_processors),
	        cmocka_unit_test(test_high_halves_are_of_64_bit_fields_only),
	        cmocka_unit_test(test_other_encodings_are_unsupported),
	        cmocka_unit_test(test_fields_come_with_their_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
