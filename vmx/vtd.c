/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IOMMU's part in the interrupts of assigned devices (irq/assigned.h). Intel's specification of directed I/O:
 * "Interrupt Remapping", "Interrupt Posting", "Queued Invalidation Interface", "Programming in Remappable Format".
 *
 *  - One table for the machine, of one page; a device has one entry, whose index is its slot. What it sends says that
 *    index, whatever the guest has programmed into it.
 *  - A posted entry has the guest's vector and the address of the vCPU's descriptor; whom the descriptor's notifications
 *    go to is vmx/posted.c's. It is not urgent: a vCPU that waits for its processor need not be told.
 *  - A remapped one has the slot's physical vector, and a processor of the host.
 *  - Of either, only the device itself may use it: its source ID is compared.
 *  - Entries are read and written as 128 bits, so that nobody meets half of one; and the IOMMU may keep what it has read
 *    until it is told, by a descriptor of the invalidation queue. A second one behind it says when that has been done, and
 *    with it every message that went by the old entry.
 *
 * Table and queue exist while there is a device that is assigned.
 */
#include "core/machine.h"
#include "insn.h"
#include "postern/port.h"
#include "vmx/vmx.h"
#include "x86/msr.h"
#include "x86/vtd.h"

#define TABLE_SIZE_LOG 7 /* 256 entries, one page */

_Static_assert((2u << TABLE_SIZE_LOG) * sizeof(struct atomic128) == PAGE_SIZE, "one page");
_Static_assert(ASSIGNED_MAX <= (2u << TABLE_SIZE_LOG), "a device's slot is its index");
_Static_assert(ASSIGNED_MAX == CPU_VECTOR_DEVICE_LAST - CPU_VECTOR_DEVICE + 1, "and its vector");

/* All but `table` [machine->iommu_lock]. */
struct vmx_vtd {
	struct atomic128 *table; /* [a] */
	u64 *queue;
	u32 tail; /* of it, in bytes */
	u32 used; /* slots */
	bool x2apic;
	u32 turn;             /* what the queue writes into `done` next */
	struct atomic32 done; /* [a] written by the IOMMU */
};

bool vmx_vtd_can_post(void)
{
	return port_machine()->iommu_posting && vmx_features.iommu & VTD_CAP_PI &&
	       vmx_posted_usable();
}

/* --- on and off; machine->iommu_lock held --- */

static void stop(struct machine *machine)
{
	struct vmx_vtd *vtd = machine->iommu;

	insn_iommu_write(VTD_GCMD, 0);
	if (vtd->queue)
		port_free(vtd->queue, PAGE_SIZE);
	if (vtd->table)
		port_free(vtd->table, PAGE_SIZE);
	port_free(vtd, sizeof(*vtd));
	machine->iommu = NULL;
}

static bool start(struct machine *machine)
{
	const u64 needed = VTD_ECAP_QI | VTD_ECAP_IR;
	struct vmx_vtd *vtd;
	u64 table;

	if ((vmx_features.iommu_more & needed) != needed)
		return false;
	vtd = port_alloc(sizeof(*vtd), CACHE_LINE);
	if (!vtd)
		return false;
	machine->iommu = vtd;
	vtd->table = port_alloc(PAGE_SIZE, PAGE_SIZE);
	vtd->queue = port_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!vtd->table || !vtd->queue) {
		stop(machine);
		return false;
	}
	/* As descriptors name processors, vmx/posted.c. */
	vtd->x2apic = insn_rdmsr(MSR_APIC_BASE) & APIC_BASE_EXTD &&
	              vmx_features.iommu_more & VTD_ECAP_EIM;
	table = ptr_to_hpa(vtd->table).v | VTD_IRTA_SIZE(TABLE_SIZE_LOG);
	insn_iommu_write(VTD_IRTA, table | (vtd->x2apic ? VTD_IRTA_EIME : 0));
	insn_iommu_write(VTD_GCMD, VTD_SIRTP);
	wait_until(insn_iommu_read(VTD_GSTS) & VTD_SIRTP);
	insn_iommu_write(VTD_IQA, ptr_to_hpa(vtd->queue).v);
	insn_iommu_write(VTD_GCMD, VTD_QIE);
	wait_until(insn_iommu_read(VTD_GSTS) & VTD_QIE);
	insn_iommu_write(VTD_GCMD, VTD_QIE | VTD_IRE);
	wait_until(insn_iommu_read(VTD_GSTS) & VTD_IRE);
	return true;
}

/* --- entries; machine->iommu_lock held --- */

static void put(struct vmx_vtd *vtd, u64 low, u64 high)
{
	vtd->queue[vtd->tail / sizeof(u64)] = low;
	vtd->queue[vtd->tail / sizeof(u64) + 1] = high;
	vtd->tail = (vtd->tail + 16) % PAGE_SIZE;
}

/* Nothing goes by what the entry said before. */
static void invalidate(struct vmx_vtd *vtd, u32 index)
{
	u32 turn = ++vtd->turn;

	put(vtd, VTD_INV_IEC | VTD_IEC_INDEX | VTD_IEC_OF(index), 0);
	put(vtd, VTD_INV_WAIT | VTD_WAIT_WRITE | VTD_WAIT_VALUE(turn), ptr_to_hpa(&vtd->done).v);
	insn_iommu_write(VTD_IQT, vtd->tail);
	wait_until(atomic32_read(&vtd->done) == turn);
}

/* Spread over the processors that run vCPUs, from the last one: the boot processor has other things to do. */
static u32 host_of(const struct machine *machine, const struct vmx_vtd *vtd, u32 slot)
{
	u32 cpus = machine->cpu_count - machine->first_cpu;
	u32 id = machine->cpu[machine->cpu_count - 1 - slot % cpus].apic_id;

	return vtd->x2apic ? id : PI_XAPIC_ID(id);
}

static void write_entry(struct machine *machine, const struct assigned *device)
{
	struct vmx_vtd *vtd = machine->iommu;
	u64 high = VTD_IRTE_VERIFY_ID | VTD_IRTE_SOURCE(device->source), low = 0;

	if (!device->present) {
		high = 0;
	} else if (device->to) {
		u64 desc = ptr_to_hpa(&device->to->accel.apart).v;

		low = VTD_IRTE_PRESENT | VTD_IRTE_POSTED | VTD_IRTE_VECTOR(device->vector) |
		      VTD_IRTE_DESC_LOW(desc);
		high |= VTD_IRTE_DESC_HIGH(desc);
	} else {
		low = VTD_IRTE_PRESENT | VTD_IRTE_VECTOR(CPU_VECTOR_DEVICE + device->slot) |
		      VTD_IRTE_DEST(host_of(machine, vtd, device->slot));
	}
	atomic128_set(&vtd->table[device->slot], low, high);
	invalidate(vtd, device->slot);
}

/* --- what irq/ asks for --- */

static bool vtd_attach(struct assigned *device)
{
	struct machine *machine = device->vm->machine;
	struct vmx_vtd *vtd;
	bool found = false;

	spin_lock(&machine->iommu_lock);
	if (machine->iommu || start(machine)) {
		vtd = machine->iommu;
		for (u32 slot = 0; slot < ASSIGNED_MAX && !found; slot++) {
			found = !(vtd->used & BIT(slot));
			device->slot = slot;
		}
		if (found)
			vtd->used |= BIT(device->slot);
	}
	spin_unlock(&machine->iommu_lock);
	device->host_address = VTD_MESSAGE_ADDRESS(device->slot);
	device->host_data = 0;
	return found;
}

static void vtd_aim(struct assigned *device)
{
	struct machine *machine = device->vm->machine;

	spin_lock(&machine->iommu_lock);
	write_entry(machine, device);
	spin_unlock(&machine->iommu_lock);
}

static void vtd_detach(struct assigned *device)
{
	struct machine *machine = device->vm->machine;
	struct vmx_vtd *vtd;

	spin_lock(&machine->iommu_lock);
	vtd = machine->iommu;
	vtd->used &= ~BIT(device->slot);
	if (!vtd->used)
		stop(machine);
	spin_unlock(&machine->iommu_lock);
}

const struct assigned_ops vmx_vtd_ops = {
        .attach = vtd_attach,
        .aim = vtd_aim,
        .detach = vtd_detach,
        .posts = vmx_vtd_can_post,
};
