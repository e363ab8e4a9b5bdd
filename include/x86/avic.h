/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC and x2AVIC: table entries and exit information. APM volume 2, "AVIC Backing Page", "Physical
 * APIC ID Table", "Logical APIC ID Table", "AVIC IPI Delivery Not Completed", "AVIC Access to
 * un-accelerated vAPIC register". Included by svm/ and cpu_model/ only.
 */
#ifndef X86_AVIC_H
#define X86_AVIC_H

#include "postern/types.h"

/* VMCB fields that are pointers, with something below: "AVIC VMCB Fields". */
#define AVIC_POINTER         0x000ffffffffff000ull
#define AVIC_MAX_INDEX       0xfffull /* of avic_physical_table: the largest index */
#define AVIC_XAPIC_MAX_INDEX 255u     /* its entry is reserved: the destination FFh is broadcast */
#define AVIC_X2APIC_MAX      511u
#define AVIC_X2APIC_EXT_MAX  4095u /* CPUID 8000_000A ECX bit 6 */

/* "Physical APIC ID Table": entries of 8 bytes. */
#define AVIC_PHYSICAL_VALID    BIT64(63)
#define AVIC_PHYSICAL_RUNNING  BIT64(62)
#define AVIC_PHYSICAL_PAGE     AVIC_POINTER
#define AVIC_PHYSICAL_HOST_ID  0xfffull
#define AVIC_PHYSICAL_PER_PAGE 512u

/* "Logical APIC ID Table": entries of 4 bytes; 8 used in flat mode, 60 in cluster mode. */
#define AVIC_LOGICAL_VALID   BIT(31)
#define AVIC_LOGICAL_ID      0xffu
#define AVIC_LOGICAL_FLAT    8u
#define AVIC_LOGICAL_CLUSTER 60u

/*
 * "AVIC IPI Delivery Not Completed", exit 401h: EXITINFO1 is the ICR; EXITINFO2 63:32 why, 11:0 the
 * index of the target.
 */
#define AVIC_IPI_INVALID_TYPE   0u
#define AVIC_IPI_NOT_RUNNING    1u
#define AVIC_IPI_INVALID_TARGET 2u
#define AVIC_IPI_INVALID_PAGE   3u
#define AVIC_IPI_INVALID_VECTOR 4u

/*
 * "AVIC Access to Un-accelerated vAPIC register", exit 402h: EXITINFO1 11:4 the register, 32 set for a
 * write; EXITINFO2 7:0 the vector of an EOI.
 */
#define AVIC_NOACCEL_OFFSET 0xff0ull
#define AVIC_NOACCEL_WRITE  BIT64(32)

#endif
