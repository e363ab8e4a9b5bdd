/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See vmcs_store.h. SDM volume 3, appendix "Field Encoding in VMCS", and volume 2, "VMREAD", "VMWRITE":
 *
 *  - a 64-bit field has a second encoding, for its high half; no other field has one;
 *  - a write loses the bits above the field's width, and a read has zeros there;
 *  - a field that the processor does not have fails with error 12, a write of a read-only one with 13 where
 *    IA32_VMX_MISC bit 29 is 0: processors with APIC virtualization have it;
 *  - a field exists if the processor may set a control that needs it.
 */
#include "cpu_model/vmcs_store.h"
#include "cpu_model/model.h"
#include "postern/port.h"

#define ENCODING_RESERVED (~0x7fffu | BIT(12))

/* 1 + the slot, by encoding without the bit for high halves. */
static const u8 slots[] = {
#define X(name, encoding) [(encoding) >> 1] = VMCS_SLOT_##name + 1,
        VMCS_FIELDS(X)
#undef X
};
_Static_assert(VMCS_SLOT_COUNT < 255, "slots[] has bytes");

/* Fields that not every processor with VMX has: those of a feature. */
static const struct {
	u32 encoding;
	u32 feature;
} optional[] = {
        {VMCS_APIC_ACCESS, MODEL_APICV},
        {VMCS_GUEST_INTR_STATUS, MODEL_APICV},
        {VMCS_EOI_EXIT_0, MODEL_APICV},
        {VMCS_EOI_EXIT_1, MODEL_APICV},
        {VMCS_EOI_EXIT_2, MODEL_APICV},
        {VMCS_EOI_EXIT_3, MODEL_APICV},
        {VMCS_PREEMPTION_TIMER, MODEL_PREEMPTION_TIMER},
        {VMCS_PI_VECTOR, MODEL_POSTED},
        {VMCS_PI_DESC, MODEL_POSTED},
        {VMCS_LAST_PI_INDEX, MODEL_IPIV},
        {VMCS_PI_TABLE, MODEL_IPIV},
        {VMCS_TERTIARY, MODEL_IPIV},
        /* Of features that no processor of this model has yet. */
        {VMCS_XSS_EXITING, 0},
        {VMCS_PLE_GAP, 0},
        {VMCS_PLE_WINDOW, 0},
};

static u32 slot(u32 encoding)
{
	u32 at = encoding >> 1;

	return encoding & ENCODING_RESERVED || at >= ARRAY_SIZE(slots) ? 0 : slots[at];
}

u64 vmcs_store_get(const struct model_vmcs *vmcs, u32 encoding)
{
	ASSERT(slot(encoding));
	return vmcs->field[slot(encoding) - 1];
}

void vmcs_store_set(struct model_vmcs *vmcs, u32 encoding, u64 value)
{
	ASSERT(slot(encoding));
	vmcs->field[slot(encoding) - 1] = value;
}

static bool exists(u32 features, u32 encoding)
{
	if (!slot(encoding))
		return false;
	if (VMCS_HIGH(encoding) && VMCS_WIDTH(encoding) != VMCS_WIDTH_64)
		return false;
	for (u32 i = 0; i < ARRAY_SIZE(optional); i++)
		if (optional[i].encoding == (encoding & ~1u))
			return features & optional[i].feature;
	return true;
}

static u64 mask(u32 encoding)
{
	switch (VMCS_WIDTH(encoding)) {
	case VMCS_WIDTH_16:
		return 0xffff;
	case VMCS_WIDTH_32:
		return 0xffffffff;
	default:
		return ~0ull;
	}
}

u32 vmcs_store_read(const struct model_vmcs *vmcs, u32 features, u32 encoding, u64 *value)
{
	if (!exists(features, encoding))
		return VMX_ERROR_FIELD;
	*value = vmcs_store_get(vmcs, encoding & ~1u);
	if (VMCS_HIGH(encoding))
		*value >>= 32;
	return 0;
}

u32 vmcs_store_write(struct model_vmcs *vmcs, u32 features, u32 encoding, u64 value)
{
	u64 old;

	if (!exists(features, encoding))
		return VMX_ERROR_FIELD;
	if (VMCS_TYPE(encoding) == VMCS_TYPE_READ_ONLY && !(features & MODEL_APICV))
		return VMX_ERROR_READ_ONLY;
	if (VMCS_HIGH(encoding)) {
		old = vmcs_store_get(vmcs, encoding & ~1u);
		vmcs_store_set(vmcs, encoding & ~1u, (old & 0xffffffff) | value << 32);
		return 0;
	}
	vmcs_store_set(vmcs, encoding, value & mask(encoding));
	return 0;
}
