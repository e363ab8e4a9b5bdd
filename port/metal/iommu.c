/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IOMMU: a modelled one (cpu_model/vtd.c), whatever the machine has. The devices whose messages go through it are
 * Postern's own (platform/msidev.c), which no real one would see; and none of the machines that this image has been run on
 * has a unit that posts.
 */
#include "cpu_model/vtd.h"
#include "insn.h"
#include "metal.h"
#include "postern/port.h"

#define WIDTH 52

static struct {
	struct spinlock lock;
	bool there; /* [lock] */
	struct vtd vtd;
} iommu;

/* Fixed and physical: entries say nothing else, vmx/vtd.c. */
static void deliver(void *context __unused, const struct vtd_interrupt *interrupt)
{
	port_send_ipi(interrupt->dest, interrupt->vector);
}

static struct vtd *unit(void)
{
	struct vtd *vtd = &iommu.vtd;

	spin_lock(&iommu.lock);
	if (!iommu.there) {
		vtd_reset(vtd);
		vtd->width = WIDTH;
		vtd->memory_end = ~0ull;
		vtd->deliver = deliver;
		iommu.there = true;
	}
	spin_unlock(&iommu.lock);
	return vtd;
}

u64 insn_iommu_read(u32 reg)
{
	return vtd_read(unit(), reg);
}

void insn_iommu_write(u32 reg, u64 value)
{
	vtd_write(unit(), reg, value);
	if (reg == VTD_GCMD && value & VTD_SIRTP)
		port_log("iommu: modelled, for the devices that are assigned");
}

void port_device_message(u16 source, u64 address, u32 data)
{
	vtd_message(unit(), source, address, data);
}
