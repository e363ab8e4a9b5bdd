/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Remapping hardware for interrupts, as far as Postern uses it. Intel's specification of directed I/O: "Register
 * Descriptions"; "Interrupt Remap Table Entry (IRTE) for Remapped Interrupts", "... for Posted Interrupts";
 * "Interrupt Requests in Remappable Format"; "Queued Invalidation Interface". Included by vmx/ and cpu_model/ only.
 */
#ifndef X86_VTD_H
#define X86_VTD_H

#include "postern/sync.h"

/* Registers, by their offsets. GCMD and GSTS are 32 bits wide, as FSTS; the others 64. */
#define VTD_CAP  0x008u
#define VTD_ECAP 0x010u
#define VTD_GCMD 0x018u
#define VTD_GSTS 0x01cu
#define VTD_FSTS 0x034u
#define VTD_IQH  0x080u
#define VTD_IQT  0x088u
#define VTD_IQA  0x090u
#define VTD_IRTA 0x0b8u
/* The fault recording register is where CAP says; two words. */
#define VTD_FAULT_OFFSET(cap) ((u32)((cap) >> 24 & 0x3ff) * 16)

#define VTD_CAP_PI       BIT64(59)
#define VTD_CAP_FRO(reg) ((u64)(reg) / 16 << 24)
#define VTD_ECAP_QI      BIT64(1)
#define VTD_ECAP_IR      BIT64(3)
#define VTD_ECAP_EIM     BIT64(4)

/* GCMD, and what GSTS then says: the same bits. SIRTP is done once, the others stay. */
#define VTD_CFI   BIT(23) /* compatibility format passes */
#define VTD_SIRTP BIT(24) /* take IRTA over */
#define VTD_IRE   BIT(25) /* interrupts are remapped */
#define VTD_QIE   BIT(26) /* the invalidation queue is on */

#define VTD_FSTS_OVERFLOW BIT(0)
#define VTD_FSTS_PENDING  BIT(1) /* the fault recording register has one */
#define VTD_FSTS_QUEUE    BIT(4) /* invalidation queue error */

#define VTD_IRTA_EIME    BIT64(11)  /* APIC IDs of 32 bits */
#define VTD_IRTA_SIZE(s) ((u64)(s)) /* 2^(s + 1) entries */

/* A descriptor of the queue: 16 bytes; IQH and IQT are offsets of them. */
#define VTD_QUEUE_ENTRIES 256u /* of a page */
#define VTD_INV_TYPE      0xfull
#define VTD_INV_IEC       4ull     /* interrupt-entry cache: all of it, or */
#define VTD_IEC_INDEX     BIT64(4) /* this one */
#define VTD_IEC_OF(index) ((u64)(index) << 32)
#define VTD_INV_WAIT      5ull
#define VTD_WAIT_WRITE    BIT64(5) /* bits 63:32 to the dword that the second word names */
#define VTD_WAIT_VALUE(v) ((u64)(v) << 32)

/* Faults: "Interrupt Remapping Fault Conditions". */
enum vtd_fault {
	VTD_FAULT_NONE = 0,
	VTD_FAULT_REQUEST = 0x20,    /* reserved bits in the message */
	VTD_FAULT_INDEX = 0x21,      /* beyond the table */
	VTD_FAULT_PRESENT = 0x22,    /* the entry is not */
	VTD_FAULT_TABLE = 0x23,      /* no memory there */
	VTD_FAULT_ENTRY = 0x24,      /* reserved bits in it */
	VTD_FAULT_BLOCKED = 0x25,    /* compatibility format */
	VTD_FAULT_SOURCE = 0x26,     /* the message is somebody else's */
	VTD_FAULT_DESCRIPTOR = 0x27, /* no memory there */
	VTD_FAULT_RESERVED = 0x28,   /* reserved bits in the descriptor */
};
/* The second word of the fault recording register; the first has the index in 63:48. */
#define VTD_FAULT_VALID        BIT64(63)
#define VTD_FAULT_REASON(w)    ((u32)((w) >> 32 & 0xff))
#define VTD_FAULT_SOURCE_ID(w) ((u16)(w))

/* Interrupt remap table entries: 128 bits, which software changes at once. The low word: */
#define VTD_IRTE_PRESENT BIT64(0)
#define VTD_IRTE_FPD     BIT64(1) /* its faults are not recorded */
#define VTD_IRTE_POSTED  BIT64(15)
/* of a remapped interrupt */
#define VTD_IRTE_LOGICAL   BIT64(2)
#define VTD_IRTE_REDIRECT  BIT64(3)
#define VTD_IRTE_LEVEL     BIT64(4)
#define VTD_IRTE_MODE(e)   ((u32)((e) >> 5 & 7)) /* delivery mode */
#define VTD_IRTE_VECTOR(v) ((u64)(u8)(v) << 16)  /* also the posted one's */
#define VTD_IRTE_DEST(id)  ((u64)(id) << 32)     /* without EIME the ID is in bits 15:8 of it */
/* of a posted one */
#define VTD_IRTE_URGENT             BIT64(14)
#define VTD_IRTE_DESC_LOW(address)  ((u64)(address) << 32 & 0xffffffc000000000ull)
#define VTD_IRTE_DESC_HIGH(address) ((u64)(address)&0xffffffff00000000ull)
/* The high word of both: whose messages it is for. */
#define VTD_IRTE_SOURCE(id)  ((u64)(u16)(id))
#define VTD_IRTE_QUALIFY(q)  ((u64)(q) << 16) /* bits of the function number that are not compared */
#define VTD_IRTE_VERIFY_ID   (1ull << 18)
#define VTD_IRTE_VERIFY_BUS  (2ull << 18)
#define VTD_IRTE_VERIFY_NONE 0ull

/* A message in remappable format: address, and the subhandle in its data if the address says so. */
#define VTD_MESSAGE_BASE   0xfee00000u
#define VTD_MESSAGE_FORMAT BIT(4)
#define VTD_MESSAGE_SHV    BIT(3)
#define VTD_MESSAGE_ADDRESS(handle)                                                                \
	(VTD_MESSAGE_BASE | VTD_MESSAGE_FORMAT | ((u32)(handle)&0x7fff) << 5 |                     \
	 ((u32)(handle) >> 15 & 1) << 2)

#endif
