/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VMCS in its region. SDM volume 3, "Format of the VMCS Region", "VMREAD, VMWRITE, and Encodings of VMCS
 * Fields": behind the revision identifier and the abort indicator the format is the processor's own business;
 * software reaches fields by their encodings, as far as the processor has them.
 */
#ifndef CPU_MODEL_VMCS_STORE_H
#define CPU_MODEL_VMCS_STORE_H

#include "postern/sync.h"
#include "x86/vmx.h"

#define VMCS_STORE_REVISION 0x1cull

enum vmcs_slot {
#define X(name, encoding) VMCS_SLOT_##name,
	VMCS_FIELDS(X)
#undef X
	VMCS_SLOT_COUNT
};

struct model_vmcs {
	u32 revision;
	u32 abort;
	struct atomic32 active; /* [a] 1 + the processor where it is active, 0: on none */
	u32 launched;
	u64 field[VMCS_SLOT_COUNT];
};
_Static_assert(sizeof(struct model_vmcs) <= VMX_REGION_SIZE, "the region has to hold all fields");

/* By encoding of a field that exists; no checks. */
u64 vmcs_store_get(const struct model_vmcs *vmcs, u32 encoding);
void vmcs_store_set(struct model_vmcs *vmcs, u32 encoding, u64 value);

/* As software reaches them. 0, or the VM-instruction error. `features`: enum model_feature. */
u32 vmcs_store_read(const struct model_vmcs *vmcs, u32 features, u32 encoding, u64 *value);
u32 vmcs_store_write(struct model_vmcs *vmcs, u32 features, u32 encoding, u64 value);

#endif
