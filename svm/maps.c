/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Permission maps. APM volume 2, "MSR Intercepts" and "IOIO Intercepts".
 *
 * MSRPM: two bits per MSR, the even one for reads, the odd one for writes; 1 exits. Three regions
 * of 2 KiB: MSRs 0000_0000 - 0000_1FFF, C000_0000 - C000_1FFF, C001_0000 - C001_1FFF; any other MSR
 * always exits. Everything exits except what VMLOAD/VMSAVE or the VMCB switch with the guest.
 *
 * IOPM: one bit per port, 1 exits; all set. Three bits behind the last port cover accesses that
 * straddle it.
 */
#include "postern/port.h"
#include "postern/string.h"
#include "svm/svm.h"
#include "x86/msr.h"

static const u32 guest_owned_msrs[] = {
        MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR,         MSR_LSTAR,
        MSR_CSTAR,   MSR_SFMASK,  MSR_SYSENTER_CS,    MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
};

/*
 * In x2AVIC mode the processor answers these from the backing page, or exits by rules of its own. Of
 * the writes only those that complete without software are let through: the others exit either way,
 * and an exit for WRMSR comes before the instruction, so that reserved bits can still be #GP.
 */
static const u32 x2avic_reads[] = {
        0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f, 0x810, 0x811, 0x812, 0x813,
        0x814, 0x815, 0x816, 0x817, 0x818, 0x819, 0x81a, 0x81b, 0x81c, 0x81d,
        0x81e, 0x81f, 0x820, 0x821, 0x822, 0x823, 0x824, 0x825, 0x826, 0x827,
        0x828, 0x830, 0x832, 0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x83e,
};
static const u32 x2avic_writes[] = {0x808, 0x80b, 0x830, 0x83f}; /* TPR, EOI, ICR, SELF IPI */

s32 svm_msrpm_bit(u32 msr)
{
	static const u32 base[] = {0x00000000, 0xc0000000, 0xc0010000};

	for (u32 region = 0; region < ARRAY_SIZE(base); region++)
		if (msr - base[region] < 0x2000)
			return (s32)(region * 0x4000 + (msr - base[region]) * 2);
	return -1;
}

static void set_bit(u8 *map, u32 bit, bool value)
{
	if (value)
		map[bit / 8] |= (u8)BIT(bit % 8);
	else
		map[bit / 8] &= (u8)~BIT(bit % 8);
}

void svm_msr_intercept(struct vm *vm, u32 msr, bool read, bool write)
{
	struct svm_vm *svm = vm->arch;
	s32 bit = svm_msrpm_bit(msr);
	struct vcpu *vcpu;

	ASSERT(bit >= 0);
	set_bit(svm->msrpm, (u32)bit, read);
	set_bit(svm->msrpm, (u32)bit + 1, write);
	set_bit(svm->msrpm_x2avic, (u32)bit, read);
	set_bit(svm->msrpm_x2avic, (u32)bit + 1, write);
	for_each_vcpu (vcpu, vm)
		svm_dirty(vcpu, SVM_CLEAN_PERM_MAPS);
}

bool svm_vm_init(struct vm *vm)
{
	struct svm_vm *svm = port_alloc(sizeof(*svm), CACHE_LINE);

	if (!svm)
		return false;
	vm->arch = svm;
	svm->msrpm = port_alloc(SVM_MSRPM_SIZE, PAGE_SIZE);
	svm->msrpm_x2avic = port_alloc(SVM_MSRPM_SIZE, PAGE_SIZE);
	svm->iopm = port_alloc(SVM_IOPM_SIZE, PAGE_SIZE);
	if (!svm->msrpm || !svm->msrpm_x2avic || !svm->iopm)
		return false;
	memset(svm->msrpm, 0xff, SVM_MSRPM_SIZE);
	memset(svm->msrpm_x2avic, 0xff, SVM_MSRPM_SIZE);
	for (u32 i = 0; i < ARRAY_SIZE(x2avic_reads); i++)
		set_bit(svm->msrpm_x2avic, (u32)svm_msrpm_bit(x2avic_reads[i]), false);
	for (u32 i = 0; i < ARRAY_SIZE(x2avic_writes); i++)
		set_bit(svm->msrpm_x2avic, (u32)svm_msrpm_bit(x2avic_writes[i]) + 1, false);
	memset(svm->iopm, 0xff, SVM_IOPM_SIZE);
	for (u32 i = 0; i < ARRAY_SIZE(guest_owned_msrs); i++)
		svm_msr_intercept(vm, guest_owned_msrs[i], false, false);
	return true;
}

void svm_vm_exit(struct vm *vm)
{
	struct svm_vm *svm = vm->arch;

	svm_avic_vm_exit(svm);
	if (svm->msrpm_x2avic)
		port_free(svm->msrpm_x2avic, SVM_MSRPM_SIZE);
	if (svm->msrpm)
		port_free(svm->msrpm, SVM_MSRPM_SIZE);
	if (svm->iopm)
		port_free(svm->iopm, SVM_IOPM_SIZE);
	port_free(svm, sizeof(*svm));
	vm->arch = NULL;
}
