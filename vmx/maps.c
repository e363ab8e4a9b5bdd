/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MSR bitmap and the format of EPT entries. SDM volume 3, "MSR-Bitmap Address", "The Extended Page Table
 * Mechanism (EPT)".
 *
 * Four parts of 1 KiB: reads of 0000_0000 - 0000_1FFF, reads of C000_0000 - C000_1FFF, writes of the same
 * two; 1 exits, and so does any MSR that is in neither. Everything exits but what the VMCS switches or
 * vmx/vmcs.c moves with the vCPU, and, while x2APIC mode is virtualized, of the local APIC what its page answers
 * and what the processor does by itself (vmx/apicv.c, vmx/ipiv.c). Every port exits, without a bitmap.
 */
#include "postern/port.h"
#include "postern/string.h"
#include "vmx/vmx.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define PART_BITS  0x2000u
#define WRITE_BITS (2 * PART_BITS)

static const u32 guest_owned_msrs[] = {
        MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR,         MSR_LSTAR,
        MSR_CSTAR,   MSR_SFMASK,  MSR_SYSENTER_CS,    MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
};

/* "EPT and Memory Typing": the type is combined with what the guest's PAT says, as an MTRR's would be. */
const struct mmu_format vmx_mmu_format = {
        .table = EPT_READ | EPT_WRITE | EPT_EXEC,
        .read = EPT_READ,
        .write = EPT_WRITE,
        .execute_disable = 0,
        .execute_enable = EPT_EXEC,
        .type = {[MEMORY_TYPE_UC] = EPT_TYPE(MEMORY_TYPE_UC),
                 [MEMORY_TYPE_WC] = EPT_TYPE(MEMORY_TYPE_WC),
                 [MEMORY_TYPE_WT] = EPT_TYPE(MEMORY_TYPE_WT),
                 [MEMORY_TYPE_WP] = EPT_TYPE(MEMORY_TYPE_WP),
                 [MEMORY_TYPE_WB] = EPT_TYPE(MEMORY_TYPE_WB)},
        .large = EPT_LARGE,
};

static void set_bit(u8 *map, u32 bit, bool value)
{
	if (value)
		map[bit / 8] |= (u8)BIT(bit % 8);
	else
		map[bit / 8] &= (u8)~BIT(bit % 8);
}

s32 vmx_msr_bit(u32 msr, bool write)
{
	u32 bit = msr & (PART_BITS - 1);

	if (msr - bit != 0 && msr - bit != 0xc0000000)
		return -1;
	return (s32)(bit + (msr - bit ? PART_BITS : 0) + (write ? WRITE_BITS : 0));
}

static void intercept(u8 *map, u32 msr, bool read, bool write)
{
	s32 bit = vmx_msr_bit(msr, false);

	ASSERT(bit >= 0);
	set_bit(map, (u32)bit, read);
	set_bit(map, (u32)bit + WRITE_BITS, write);
}

void vmx_msr_intercept(struct vm *vm, u32 msr, bool read, bool write)
{
	struct vmx_vm *vmx = vm->arch;

	for (u32 i = 0; i < VMX_BITMAPS; i++)
		if (vmx->msr_bitmap[i])
			intercept(vmx->msr_bitmap[i], msr, read, write);
}

/*
 * Registers that are there and whose word in the page is the answer: not the current count, which only the
 * timer knows, not ICR, which has 64 bits, and none that is only written.
 */
static const u16 x2apic_reads[] = {
        APIC_ID,   APIC_VERSION, APIC_TPR,    APIC_PPR,     APIC_LDR,
        APIC_SVR,  APIC_ESR,     APIC_LVTT,   APIC_LVTTHMR, APIC_LVTPC,
        APIC_LVT0, APIC_LVT1,    APIC_LVTERR, APIC_TMICT,   APIC_TDCR,
};
/* Of eight registers each. */
static const u16 x2apic_vectors[] = {APIC_ISR, APIC_TMR, APIC_IRR};
static const u16 x2apic_writes[] = {APIC_TPR, APIC_EOI, APIC_SELF};

static u32 x2apic_msr(u32 offset)
{
	return MSR_X2APIC_FIRST + offset / 16;
}

/* A copy of the one before it. NULL: out of memory. */
static u8 *copy_bitmap(struct vm *vm, enum vmx_bitmap which)
{
	struct vmx_vm *vmx = vm->arch;
	u8 *map = port_alloc(VMX_BITMAP_SIZE, PAGE_SIZE);

	if (map)
		memcpy(map, vmx->msr_bitmap[which - 1], VMX_BITMAP_SIZE);
	vmx->msr_bitmap[which] = map;
	return map;
}

bool vmx_create_ipiv_bitmap(struct vm *vm)
{
	u8 *map = copy_bitmap(vm, VMX_BITMAP_IPIV);

	if (!map)
		return false;
	set_bit(map, x2apic_msr(APIC_ICR), false);
	set_bit(map, x2apic_msr(APIC_ICR) + WRITE_BITS, false);
	return true;
}

bool vmx_create_x2apic_bitmap(struct vm *vm)
{
	u8 *map = copy_bitmap(vm, VMX_BITMAP_X2APIC);

	if (!map)
		return false;
	for (u32 i = 0; i < ARRAY_SIZE(x2apic_reads); i++)
		set_bit(map, x2apic_msr(x2apic_reads[i]), false);
	for (u32 i = 0; i < ARRAY_SIZE(x2apic_vectors) * 8; i++)
		set_bit(map, x2apic_msr(x2apic_vectors[i / 8]) + i % 8, false);
	for (u32 i = 0; i < ARRAY_SIZE(x2apic_writes); i++)
		set_bit(map, x2apic_msr(x2apic_writes[i]) + WRITE_BITS, false);
	return true;
}

bool vmx_vm_init(struct vm *vm)
{
	struct vmx_vm *vmx = port_alloc(sizeof(*vmx), CACHE_LINE);

	if (!vmx)
		return false;
	vm->arch = vmx;
	vmx->msr_bitmap[VMX_BITMAP_PLAIN] = port_alloc(VMX_BITMAP_SIZE, PAGE_SIZE);
	if (!vmx->msr_bitmap[VMX_BITMAP_PLAIN])
		return false;
	memset(vmx->msr_bitmap[VMX_BITMAP_PLAIN], 0xff, VMX_BITMAP_SIZE);
	for (u32 i = 0; i < ARRAY_SIZE(guest_owned_msrs); i++)
		vmx_msr_intercept(vm, guest_owned_msrs[i], false, false);
	return true;
}

void vmx_vm_exit(struct vm *vm)
{
	struct vmx_vm *vmx = vm->arch;

	vmx_ipiv_vm_exit(vmx);
	for (u32 i = 0; i < VMX_BITMAPS; i++)
		if (vmx->msr_bitmap[i])
			port_free(vmx->msr_bitmap[i], VMX_BITMAP_SIZE);
	port_free(vmx, sizeof(*vmx));
	vm->arch = NULL;
}
