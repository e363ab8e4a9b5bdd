/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The few facts that boot needs from ACPI: processors and I/O APICs (MADT), the PM timer's port
 * (FADT). ACPI Specification, "ACPI Software Programming Model": "Root System Description Pointer",
 * "Multiple APIC Description Table", "Fixed ACPI Description Table".
 *
 * The firmware is trusted, but every length is checked: a wrong table should be left out, not read
 * past its end.
 */
#include "metal.h"

struct acpi_header {
	char signature[4];
	u32 length;
	u8 revision;
	u8 checksum;
	u8 rest[28 - 2];
} __packed;
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI table header");

struct acpi_rsdp {
	char signature[8];
	u8 checksum;
	char oem[6];
	u8 revision;
	u32 rsdt;
	/* revision 2 */
	u32 length;
	u64 xsdt;
	u8 extended_checksum;
	u8 reserved[3];
} __packed;
_Static_assert(sizeof(struct acpi_rsdp) == sizeof(boot_info.rsdp), "root pointer");
#define RSDP_OLD_SIZE 20

enum madt_type {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_X2APIC = 9,
};
#define MADT_ENABLED BIT(0)

#define MADT_FIRST_ENTRY 44
#define FADT_PM_TIMER    76

struct acpi_info acpi_info;

static bool sum_is_zero(const u8 *p, u64 n)
{
	u8 sum = 0;

	while (n--)
		sum = (u8)(sum + *p++);
	return !sum;
}

/* A table that is mapped and whole, or NULL. */
static const struct acpi_header *table_at(u64 address)
{
	const struct acpi_header *table = hpa_to_ptr(HPA(address));
	u64 top = paging_top();

	if (address < PAGE_SIZE || address > top - sizeof(*table))
		return NULL;
	if (table->length < sizeof(*table) || table->length > top - address)
		return NULL;
	return sum_is_zero((const u8 *)table, table->length) ? table : NULL;
}

static bool scan_for_root(u64 start, u64 end)
{
	for (u64 at = start; at + sizeof(struct acpi_rsdp) <= end; at += 16) {
		const u8 *p = hpa_to_ptr(HPA(at));

		if (memcmp(p, "RSD PTR ", 8) || !sum_is_zero(p, RSDP_OLD_SIZE))
			continue;
		memcpy(boot_info.rsdp, p, sizeof(boot_info.rsdp));
		boot_info.has_rsdp = true;
		return true;
	}
	return false;
}

/* Before paging_init(): the pointer to the extended BIOS data area is in page 0. */
void acpi_find_root(void)
{
	u16 segment;

	if (boot_info.has_rsdp)
		return;
	memcpy(&segment, hpa_to_ptr(HPA(0x40e)), sizeof(segment));
	if (segment >= 0x8000 && segment < 0xa000 &&
	    scan_for_root((u64)segment << 4, ((u64)segment << 4) + 1024))
		return;
	scan_for_root(0xe0000, 0x100000);
}

static void add_cpu(u32 apic_id, u32 flags)
{
	if (!(flags & MADT_ENABLED))
		return;
	for (u32 i = 0; i < acpi_info.cpu_count; i++)
		if (acpi_info.cpu_apic_id[i] == apic_id)
			return;
	if (acpi_info.cpu_count == MAX_CPUS || (apic_id >= 0xff && !apic_is_x2apic())) {
		acpi_info.cpus_left_out++;
		return;
	}
	acpi_info.cpu_apic_id[acpi_info.cpu_count++] = apic_id;
}

static void parse_madt(const struct acpi_header *table)
{
	const u8 *p = (const u8 *)table;
	u32 at = MADT_FIRST_ENTRY, id, flags;

	while (at + 2 <= table->length && p[at + 1] >= 2 && at + p[at + 1] <= table->length) {
		const u8 *entry = p + at;
		u8 length = entry[1];

		if (entry[0] == MADT_LAPIC && length >= 8) {
			memcpy(&flags, entry + 4, 4);
			add_cpu(entry[3], flags);
		} else if (entry[0] == MADT_X2APIC && length >= 16) {
			memcpy(&id, entry + 4, 4);
			memcpy(&flags, entry + 8, 4);
			add_cpu(id, flags);
		} else if (entry[0] == MADT_IOAPIC && length >= 12 &&
		           acpi_info.ioapic_count < ARRAY_SIZE(acpi_info.ioapic)) {
			memcpy(&id, entry + 4, 4);
			acpi_info.ioapic[acpi_info.ioapic_count++] = id;
		}
		at += length;
	}
}

static void parse_fadt(const struct acpi_header *table)
{
	if (table->length >= FADT_PM_TIMER + 4)
		memcpy(&acpi_info.pm_timer_port, (const u8 *)table + FADT_PM_TIMER, 4);
}

static void parse_root(const struct acpi_header *root, u32 entry_size)
{
	u32 count = (root->length - (u32)sizeof(*root)) / entry_size;

	for (u32 i = 0; i < count; i++) {
		const struct acpi_header *table;
		u64 address = 0;

		memcpy(&address, (const u8 *)(root + 1) + i * entry_size, entry_size);
		table = table_at(address);
		if (!table)
			continue;
		if (!memcmp(table->signature, "APIC", 4))
			parse_madt(table);
		else if (!memcmp(table->signature, "FACP", 4))
			parse_fadt(table);
	}
}

void acpi_init(void)
{
	struct acpi_rsdp rsdp;
	const struct acpi_header *root;

	/* The boot processor is there whatever the tables say, and is number 0. */
	add_cpu(insn_apic_id(), MADT_ENABLED);
	if (!boot_info.has_rsdp) {
		port_log("no ACPI tables: one processor");
		return;
	}
	memcpy(&rsdp, boot_info.rsdp, sizeof(rsdp));
	root = rsdp.revision >= 2 && rsdp.xsdt ? table_at(rsdp.xsdt) : NULL;
	if (root && !memcmp(root->signature, "XSDT", 4)) {
		parse_root(root, 8);
		return;
	}
	root = table_at(rsdp.rsdt);
	if (root && !memcmp(root->signature, "RSDT", 4))
		parse_root(root, 4);
	else
		port_log("no valid ACPI root table: one processor");
}
