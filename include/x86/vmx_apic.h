/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What APIC virtualization keeps in memory beside the virtual-APIC page: posted-interrupt
 * descriptors and the table that finds them. SDM volume 3, "APIC Virtualization and Virtual
 * Interrupts": "Posted-Interrupt Processing", "IPI Virtualization". Names of the descriptor's
 * fields beyond ON are those of Intel's specification of directed I/O, "Posted Interrupt
 * Descriptor". Included by vmx/ and cpu_model/ only.
 */
#ifndef X86_VMX_APIC_H
#define X86_VMX_APIC_H

#include "postern/sync.h"

/* Guest interrupt status (VMCS_GUEST_INTR_STATUS): what is requested, and what is in service. */
#define VMX_RVI(status)              ((u32)(status)&0xff)
#define VMX_SVI(status)              ((u32)(status) >> 8 & 0xff)
#define VMX_INTR_STATUS(rvi, svi)    ((u32)(svi) << 8 | (u32)(rvi))
#define VMX_APIC_QUALIFICATION(o, k) ((u64)(k) << 12 | (o)) /* offset; VMX_APIC_READ and so on */

/*
 * Posted-interrupt descriptor. Whoever changes it while a processor may use it does so by one
 * locked operation on one of its words.
 */
#define PI_DESC_SIZE 64
struct pi_desc {
	struct atomic64 pir[4];  /* [a] posted-interrupt requests, a bit for each vector */
	struct atomic64 control; /* [a] */
	u64 reserved[3];
} __aligned(PI_DESC_SIZE);
_Static_assert(sizeof(struct pi_desc) == PI_DESC_SIZE, "posted-interrupt descriptor");
_Static_assert(offsetof(struct pi_desc, control) == 256 / 8, "ON is bit 256");

#define PI_ON             BIT64(0) /* outstanding notification */
#define PI_SN             BIT64(1) /* suppress notification */
#define PI_NV(control)    ((u8)((control) >> 16))
#define PI_NDST(control)  ((u32)((control) >> 32)) /* notification destination, as the host's mode */
#define PI_TO(vector, id) ((u64)(id) << 32 | (u64)(u8)(vector) << 16) /* NV and NDST */
#define PI_XAPIC_ID(id)   ((u32)(id) << 8) /* NDST of a host in xAPIC mode has it in 15:8 */

/* PID-pointer table: entries of 8 bytes, by APIC ID. */
#define PI_ENTRY_VALID   BIT64(0)
#define PI_ENTRY_POINTER (~63ull)
#define PI_LAST_INDEX    0xffffu /* largest value of VMCS_LAST_PI_INDEX */

#endif
