/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI tables, as of ACPI 5.0. ACPI, "ACPI Software Programming Model". What the guest learns here
 * and nowhere else: its processors and I/O APIC (MADT), that IRQ 0 arrives at pin 2 and that the
 * SCI is level-triggered, active high; the fixed registers of platform/pm.c, and that CF9h resets.
 *
 *  - All tables lie in the firmware area below 1 MiB, which the memory map reserves.
 *  - The 8042 flag stays clear: the controller is there for its reset line, and no driver should
 *    spend time looking for a keyboard.
 */
#include "platform/acpi.h"

#include "core/vm.h"
#include "platform/layout.h"
#include "platform/pm.h"
#include "postern/string.h"
#include "x86/msr.h"

struct acpi_header {
	char signature[4];
	u32 length;
	u8 revision;
	u8 checksum;
	char oem_id[6];
	char oem_table_id[8];
	u32 oem_revision;
	char creator_id[4];
	u32 creator_revision;
} __packed;

struct acpi_rsdp {
	char signature[8];
	u8 checksum; /* of the first 20 bytes */
	char oem_id[6];
	u8 revision;
	u32 rsdt;
	u32 length;
	u64 xsdt;
	u8 checksum_all;
	u8 reserved[3];
} __packed;

/* Generic address structure. */
struct acpi_address {
	u8 space; /* 1: system I/O */
	u8 bit_width;
	u8 bit_offset;
	u8 access_size; /* 1 byte, 2 word, 3 dword */
	u64 address;
} __packed;

struct acpi_fadt {
	struct acpi_header header;
	u32 firmware_ctrl;
	u32 dsdt;
	u8 reserved_44;
	u8 preferred_profile;
	u16 sci_int;
	u32 smi_cmd;
	u8 acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	u32 pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	u8 pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base;
	u8 cst_cnt;
	u16 c2_latency, c3_latency;
	u16 flush_size, flush_stride;
	u8 duty_offset, duty_width, day_alarm, month_alarm, century;
	u16 boot_arch;
	u8 reserved_111;
	u32 flags;
	struct acpi_address reset_reg;
	u8 reset_value;
	u16 arm_boot_arch;
	u8 minor_revision;
	u64 x_firmware_ctrl, x_dsdt;
	struct acpi_address x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr;
	struct acpi_address x_gpe0, x_gpe1;
	struct acpi_address sleep_control, sleep_status;
} __packed;
_Static_assert(sizeof(struct acpi_fadt) == 268, "FADT of ACPI 5.0");
_Static_assert(offsetof(struct acpi_fadt, boot_arch) == 109, "FADT layout");
_Static_assert(offsetof(struct acpi_fadt, x_pm_tmr) == 208, "FADT layout");

#define FADT_LEGACY_DEVICES BIT(0) /* boot_arch */
#define FADT_NO_VGA         BIT(2)
#define FADT_NO_ASPM        BIT(4)

#define FADT_WBINVD        BIT(0) /* flags */
#define FADT_PROC_C1       BIT(2)
#define FADT_NO_PWR_BUTTON BIT(4) /* no fixed-hardware button of this kind */
#define FADT_NO_SLP_BUTTON BIT(5)
#define FADT_NO_FIXED_RTC  BIT(6)
#define FADT_TIMER_32      BIT(8)
#define FADT_RESET_REG     BIT(10)

#define LATENCY_NONE  0xffff /* larger than the limits of C2 and C3: not supported */
#define CENTURY_INDEX 0x32
#define RESET_PORT    0xcf9
#define RESET_VALUE   0x06

struct acpi_facs {
	char signature[4];
	u32 length;
	u32 hardware_signature;
	u32 waking_vector;
	u32 global_lock;
	u32 flags;
	u64 x_waking_vector;
	u8 version;
	u8 reserved[31];
} __packed;
_Static_assert(sizeof(struct acpi_facs) == 64, "FACS layout");
_Static_assert(LAYOUT_FACS >= LAYOUT_RSDP + sizeof(struct acpi_rsdp), "firmware area");
_Static_assert(LAYOUT_ACPI_TABLES >= LAYOUT_FACS + sizeof(struct acpi_facs), "firmware area");

struct acpi_madt {
	struct acpi_header header;
	u32 lapic_address;
	u32 flags; /* 0: there are 8259s as well */
} __packed;

struct madt_lapic {
	u8 type, length;
	u8 processor, apic_id;
	u32 flags; /* 0 enabled */
} __packed;

struct madt_x2apic {
	u8 type, length;
	u16 reserved;
	u32 apic_id;
	u32 flags;
	u32 processor;
} __packed;

struct madt_ioapic {
	u8 type, length;
	u8 id, reserved;
	u32 address;
	u32 gsi_base;
} __packed;

struct madt_override {
	u8 type, length;
	u8 bus, irq;
	u32 gsi;
	u16 flags;
} __packed;

struct madt_lapic_nmi {
	u8 type, length;
	u8 processor;
	u16 flags;
	u8 lint;
} __packed;

struct madt_x2apic_nmi {
	u8 type, length;
	u16 flags;
	u32 processor;
	u8 lint;
	u8 reserved[3];
} __packed;

#define MADT_LAPIC      0
#define MADT_IOAPIC     1
#define MADT_OVERRIDE   2
#define MADT_LAPIC_NMI  4
#define MADT_X2APIC     9
#define MADT_X2APIC_NMI 10
#define MADT_ENABLED    BIT(0)
#define MADT_PCAT       BIT(0)
#define MADT_ALL        0xff
#define MADT_X2APIC_ALL 0xffffffff
#define MADT_LEVEL_HIGH 0x000d
#define MADT_XAPIC_IDS  255 /* larger IDs take the x2APIC structure */

/* The area that tables are laid down in, one after the other. */
struct builder {
	u8 *area; /* LAYOUT_FIRMWARE in host memory */
	u64 next; /* guest-physical */
	bool full;
};

static void *builder_at(struct builder *b, u64 gpa)
{
	return b->area + (gpa - LAYOUT_FIRMWARE);
}

/* `size` zeroed bytes behind what is there already. NULL, and b->full: no room. */
static void *builder_take(struct builder *b, u64 size)
{
	void *at = builder_at(b, b->next);

	if (b->full || size > LAYOUT_FIRMWARE_END - b->next) {
		b->full = true;
		return NULL;
	}
	memset(at, 0, size);
	b->next += size;
	return at;
}

static u8 acpi_checksum(const void *data, u64 size)
{
	const u8 *byte = data;
	u8 sum = 0;

	for (u64 i = 0; i < size; i++)
		sum += byte[i];
	return (u8)-sum;
}

static void acpi_fill_header(struct acpi_header *header, const char *signature, u8 revision)
{
	memcpy(header->signature, signature, 4);
	header->revision = revision;
	memcpy(header->oem_id, "PSTERN", 6);
	memcpy(header->oem_table_id, "POSTERN ", 8);
	header->oem_revision = 1;
	memcpy(header->creator_id, "PSTN", 4);
	header->creator_revision = 1;
}

/* Start a table on a 16-byte boundary; *gpa: where. */
static void *acpi_begin(struct builder *b, const char *signature, u8 revision, u64 size, u64 *gpa)
{
	void *table;

	b->next = ALIGN_UP(b->next, 16ull);
	*gpa = b->next;
	table = builder_take(b, size);
	if (table)
		acpi_fill_header(table, signature, revision);
	return table;
}

/* Everything from `gpa` to here is the table: length and checksum. */
static void acpi_end(struct builder *b, u64 gpa)
{
	struct acpi_header *header = builder_at(b, gpa);

	if (b->full)
		return;
	header->length = (u32)(b->next - gpa);
	header->checksum = acpi_checksum(header, header->length);
}

static struct acpi_address acpi_io(u32 port, u8 bytes)
{
	return (struct acpi_address){
	        .space = 1,
	        .bit_width = (u8)(bytes * 8),
	        .access_size = (u8)(bytes == 4 ? 3 : bytes),
	        .address = port,
	};
}

static u64 acpi_put_dsdt(struct builder *b)
{
	u64 gpa = b->next = ALIGN_UP(b->next, 16ull);
	void *table = builder_take(b, acpi_dsdt_size);

	/* iasl has filled in length and checksum. */
	if (table)
		memcpy(table, acpi_dsdt, acpi_dsdt_size);
	return gpa;
}

static u64 acpi_put_fadt(struct builder *b, u64 dsdt)
{
	u64 gpa;
	struct acpi_fadt *fadt = acpi_begin(b, "FACP", 5, sizeof(*fadt), &gpa);

	if (!fadt)
		return gpa;
	fadt->firmware_ctrl = LAYOUT_FACS;
	fadt->dsdt = (u32)dsdt;
	fadt->x_dsdt = dsdt;
	fadt->sci_int = LAYOUT_SCI_IRQ;
	fadt->pm1a_evt = LAYOUT_PM_BASE + PM_EVENT;
	fadt->pm1a_cnt = LAYOUT_PM_BASE + PM_CONTROL;
	fadt->pm_tmr = LAYOUT_PM_BASE + PM_TIMER;
	fadt->pm1_evt_len = 4;
	fadt->pm1_cnt_len = 2;
	fadt->pm_tmr_len = 4;
	fadt->x_pm1a_evt = acpi_io(LAYOUT_PM_BASE + PM_EVENT, 4);
	fadt->x_pm1a_evt.access_size = 2; /* two word registers */
	fadt->x_pm1a_cnt = acpi_io(LAYOUT_PM_BASE + PM_CONTROL, 2);
	fadt->x_pm_tmr = acpi_io(LAYOUT_PM_BASE + PM_TIMER, 4);
	fadt->c2_latency = LATENCY_NONE;
	fadt->c3_latency = LATENCY_NONE;
	fadt->century = CENTURY_INDEX;
	fadt->boot_arch = FADT_LEGACY_DEVICES | FADT_NO_VGA | FADT_NO_ASPM;
	fadt->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_PWR_BUTTON | FADT_NO_SLP_BUTTON |
	              FADT_NO_FIXED_RTC | FADT_TIMER_32 | FADT_RESET_REG;
	fadt->reset_reg = acpi_io(RESET_PORT, 1);
	fadt->reset_value = RESET_VALUE;
	acpi_end(b, gpa);
	return gpa;
}

/* One processor; IDs that do not fit the local APIC structure take the x2APIC one. */
static void acpi_put_processor(struct builder *b, const struct vcpu *vcpu)
{
	if (vcpu->apic_id < MADT_XAPIC_IDS && vcpu->index < MADT_ALL) {
		struct madt_lapic *lapic = builder_take(b, sizeof(*lapic));

		if (lapic)
			*lapic = (struct madt_lapic){MADT_LAPIC, sizeof(*lapic), (u8)vcpu->index,
			                             (u8)vcpu->apic_id, MADT_ENABLED};
	} else {
		struct madt_x2apic *x2apic = builder_take(b, sizeof(*x2apic));

		if (x2apic)
			*x2apic = (struct madt_x2apic){.type = MADT_X2APIC,
			                               .length = sizeof(*x2apic),
			                               .apic_id = vcpu->apic_id,
			                               .flags = MADT_ENABLED,
			                               .processor = vcpu->index};
	}
}

static void acpi_put_override(struct builder *b, u8 irq, u32 gsi, u16 flags)
{
	struct madt_override *override = builder_take(b, sizeof(*override));

	if (override)
		*override = (struct madt_override){MADT_OVERRIDE, sizeof(*override), 0, irq, gsi,
		                                   flags};
}

/* NMI is at LINT1 of all processors, and those of the x2APIC structure have one of their own for it. */
static void acpi_put_nmi(struct builder *b, const struct vm *vm)
{
	struct madt_lapic_nmi *nmi = builder_take(b, sizeof(*nmi));
	struct madt_x2apic_nmi *large;

	if (nmi)
		*nmi = (struct madt_lapic_nmi){MADT_LAPIC_NMI, sizeof(*nmi), MADT_ALL, 0, 1};
	if (!vm->large_ids)
		return;
	large = builder_take(b, sizeof(*large));
	if (large)
		*large = (struct madt_x2apic_nmi){
		        MADT_X2APIC_NMI, sizeof(*large), 0, MADT_X2APIC_ALL, 1, {0}};
}

static u64 acpi_put_madt(struct builder *b, struct vm *vm)
{
	u64 gpa;
	struct acpi_madt *madt = acpi_begin(b, "APIC", 3, sizeof(*madt), &gpa);
	struct madt_ioapic *ioapic;
	struct vcpu *vcpu;

	if (!madt)
		return gpa;
	madt->lapic_address = APIC_BASE_DEFAULT;
	madt->flags = MADT_PCAT;
	for_each_vcpu (vcpu, vm)
		acpi_put_processor(b, vcpu);
	ioapic = builder_take(b, sizeof(*ioapic));
	if (ioapic) /* ID 0, as its register has it after reset */
		*ioapic = (struct madt_ioapic){MADT_IOAPIC, sizeof(*ioapic), 0, 0, IOAPIC_BASE, 0};
	acpi_put_override(b, 0, 2, 0);
	acpi_put_override(b, LAYOUT_SCI_IRQ, LAYOUT_SCI_IRQ, MADT_LEVEL_HIGH);
	acpi_put_nmi(b, vm);
	acpi_end(b, gpa);
	return gpa;
}

/* RSDT or XSDT: a header and `width` bytes per table. */
static u64 acpi_put_root(struct builder *b, const char *signature, u32 width, const u64 *tables,
                         u32 count)
{
	u64 gpa;
	u8 *table = acpi_begin(b, signature, 1, sizeof(struct acpi_header), &gpa);

	for (u32 i = 0; table && i < count; i++) {
		u8 *entry = builder_take(b, width);

		if (entry)
			memcpy(entry, &tables[i], width);
	}
	acpi_end(b, gpa);
	return gpa;
}

static void acpi_put_facs(struct builder *b)
{
	struct acpi_facs *facs = builder_at(b, LAYOUT_FACS);

	*facs = (struct acpi_facs){.length = sizeof(*facs), .version = 2};
	memcpy(facs->signature, "FACS", 4);
}

static void acpi_put_rsdp(struct builder *b, u64 rsdt, u64 xsdt)
{
	struct acpi_rsdp *rsdp = builder_at(b, LAYOUT_RSDP);

	*rsdp = (struct acpi_rsdp){
	        .revision = 2, .rsdt = (u32)rsdt, .length = sizeof(*rsdp), .xsdt = xsdt};
	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem_id, "PSTERN", 6);
	rsdp->checksum = acpi_checksum(rsdp, 20);
	rsdp->checksum_all = acpi_checksum(rsdp, sizeof(*rsdp));
}

bool acpi_build(struct vm *vm)
{
	struct builder b = {.next = LAYOUT_ACPI_TABLES};
	u64 dsdt, rsdt, xsdt;
	u64 tables[2];

	b.area = vm_memory(vm, GPA(LAYOUT_FIRMWARE), LAYOUT_FIRMWARE_END - LAYOUT_FIRMWARE);
	if (!b.area)
		return false;
	dsdt = acpi_put_dsdt(&b);
	tables[0] = acpi_put_fadt(&b, dsdt);
	tables[1] = acpi_put_madt(&b, vm);
	rsdt = acpi_put_root(&b, "RSDT", 4, tables, ARRAY_SIZE(tables));
	xsdt = acpi_put_root(&b, "XSDT", 8, tables, ARRAY_SIZE(tables));
	acpi_put_facs(&b);
	acpi_put_rsdp(&b, rsdt, xsdt);
	return !b.full;
}
