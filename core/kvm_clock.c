/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linux Documentation/virt/kvm/x86/msr.rst, "MSR_KVM_SYSTEM_TIME_NEW". All vCPUs of a VM have one
 * TSC and one epoch (guest TSC 0 = system time 0 = the VM's creation), so the structure is written
 * once per registration and stays valid; the STABLE flag tells the guest so.
 *
 * system_time(tsc) = ((tsc - tsc_timestamp) shifted by tsc_shift) * tsc_to_system_mul >> 32
 */
#include "core/kvm_clock.h"
#include "core/vm.h"
#include "postern/port.h"
#include "postern/string.h"

struct system_time {
	u32 version; /* odd while being written */
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 tsc_to_system_mul;
	u8 tsc_shift; /* signed */
	u8 flags;
	u8 pad[2];
};
_Static_assert(sizeof(struct system_time) == 32, "interface");

struct wall_clock {
	u32 version;
	u32 sec;
	u32 nsec;
} __packed;

#define SYSTEM_TIME_ENABLE     BIT64(0)
#define SYSTEM_TIME_TSC_STABLE BIT(0)

/*
 * ns = (ticks << shift) * mul >> 32, so mul = 10^6 * 2^32 / (khz << shift), kept in [2^31, 2^32)
 * for precision. A negative shift doubles the numerator instead, so that no bit of khz is lost.
 */
static void scale(u64 khz, u32 *mul, s32 *shift)
{
	u64 numerator = 1000000ull << 32;
	s32 s = 0;

	while (khz <= 1000000) {
		khz <<= 1;
		s++;
	}
	while (numerator / khz < BIT64(31)) {
		numerator <<= 1;
		s--;
	}
	*mul = (u32)(numerator / khz);
	*shift = s;
}

void kvm_clock_update(struct vcpu *vcpu)
{
	gpa_t gpa = GPA(vcpu->msrs.kvm_system_time & ~SYSTEM_TIME_ENABLE);
	u8 *shared = vm_memory(vcpu->vm, gpa, sizeof(struct system_time));
	struct system_time time = {.flags = SYSTEM_TIME_TSC_STABLE};
	u32 *version = (u32 *)shared;
	s32 shift;

	if (!(vcpu->msrs.kvm_system_time & SYSTEM_TIME_ENABLE) || !shared)
		return;
	scale(port_tsc_khz(), &time.tsc_to_system_mul, &shift);
	time.tsc_shift = (u8)shift;
	/* The guest's TSC at the epoch: zero, but for a vCPU that has written its TSC. */
	time.tsc_timestamp = vcpu->tsc_offset - vcpu->vm->tsc_base;
	/* Odd while the rest changes; the guest's memory, so only ever written from here. */
	time.version = (__atomic_load_n(version, __ATOMIC_RELAXED) & ~1u) + 1;
	__atomic_store_n(version, time.version, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(shared + sizeof(u32), (u8 *)&time + sizeof(u32), sizeof(time) - sizeof(u32));
	__atomic_store_n(version, time.version + 1, __ATOMIC_RELEASE);
}

bool kvm_clock_write_system_time(struct vcpu *vcpu, u64 value)
{
	/* Bit 0 enables; the address is aligned to 4 bytes. */
	if (!vcpu->vm->config.kvm_clock || value & 2)
		return false;
	vcpu->msrs.kvm_system_time = value;
	kvm_clock_update(vcpu);
	return true;
}

bool kvm_clock_write_wall_clock(struct vcpu *vcpu, u64 value)
{
	struct wall_clock clock = {.version = 2};

	if (!vcpu->vm->config.kvm_clock)
		return false;
	/* The wall clock at the epoch; the guest adds system time. */
	clock.sec = (u32)(port_wallclock() -
	                  timer_tsc_to_ns(port_tsc() + vcpu->vm->tsc_base) / 1000000000);
	vm_write(vcpu->vm, GPA(value), &clock, sizeof(clock));
	return true;
}
