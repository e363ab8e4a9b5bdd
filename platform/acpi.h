/* SPDX-License-Identifier: BSD-2-Clause */
/* The ACPI tables in the guest's firmware area. */
#ifndef PLATFORM_ACPI_H
#define PLATFORM_ACPI_H

#include "postern/types.h"

struct vm;

/* Write the tables for vm's vCPUs; the RSDP is at LAYOUT_RSDP. false: no room for them. */
bool acpi_build(struct vm *vm);

/* The compiled platform/dsdt.asl, generated when Postern is built. */
extern const u8 acpi_dsdt[];
extern const u32 acpi_dsdt_size;

#endif
