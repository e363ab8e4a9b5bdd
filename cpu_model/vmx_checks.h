/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a processor with VMX can do, and what its VM entries check, over nothing but a VMCS: for the processor model,
 * and for tests of processors that others have made.
 */
#ifndef CPU_MODEL_VMX_CHECKS_H
#define CPU_MODEL_VMX_CHECKS_H

#include "cpu_model/vmcs_store.h"

#define VMX_ADDRESS_BITS 40 /* of a physical address on these processors */

/* --- vmx_caps.c: the capability registers, by features --- */

struct vmx_caps {
	u64 basic, pin, primary, exit, entry, secondary, misc, ept_vpid;
	u64 tertiary; /* bits that may be 1 */
	u64 cr0_must, cr0_may, cr4_must, cr4_may;
	u32 switches; /* enum vapic_switch: those about entry checks */
};
struct vmx_caps vmx_caps(u32 features);
/* false: no such register. */
bool vmx_caps_msr(u32 features, u32 msr, u64 *value);

/* --- vmx_checks.c: pure --- */

enum vmx_area {
	VMX_AREA_CONTROLS,
	VMX_AREA_HOST,
	VMX_AREA_GUEST,
};
struct vmx_rule {
	const char *name;
	enum vmx_area area;
};
extern const struct vmx_rule vmx_rules[];
extern const u32 vmx_rule_count;
/* The first rule of the area that the VMCS breaks, NULL: none. */
const struct vmx_rule *vmx_check(const struct model_vmcs *vmcs, const struct vmx_caps *caps,
                                 enum vmx_area area);

#endif
