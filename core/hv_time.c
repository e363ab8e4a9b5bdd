/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reference time and its page: time = (TSC * TscScale >> 64) + TscOffset. The VM's TSC starts at 0
 * when the counter does, so the offset is 0 and the scale never changes.
 *
 * TscSequence: 0 says that the counter has to be read by its MSR; any other value, that scale and
 * offset are good, as long as it is the same before and after. A page is written with its sequence
 * at 0 until the rest is there, and gets a number that it has not had. When a vCPU's TSC is not the
 * VM's any more, because its guest has written it, one scale and offset cannot be right for all of
 * them: then 0 it is, for good.
 */
#include "core/hv_time.h"

#include "core/hv.h"
#include "core/vm.h"
#include "postern/port.h"

#define UNITS_PER_MS HV_TIME_PER_MS
#define NO_SEQUENCE  0

/* 2^64 * UNITS_PER_MS / khz, by long division: no processor that this runs on is slower than 10 MHz. */
static u64 scale_of(u64 khz)
{
	u64 high, rest;

	ASSERT(khz > UNITS_PER_MS && khz < BIT64(32));
	high = ((u64)UNITS_PER_MS << 32) / khz;
	rest = ((u64)UNITS_PER_MS << 32) % khz;
	return high << 32 | (rest << 32) / khz;
}

void hv_time_create(struct vm *vm)
{
	vm->hv.tsc_scale = scale_of(port_tsc_khz());
}

u64 hv_time_now(const struct vm *vm)
{
	u64 tsc = port_tsc() + vm->tsc_base;

	return (u64)((unsigned __int128)tsc * vm->hv.tsc_scale >> 64);
}

/* The counter is rounded down twice, so two units more: it has surely come then. */
u64 hv_time_to_tsc(const struct vm *vm, u64 time)
{
	u64 khz = port_tsc_khz();
	u64 ticks, rest;

	if (__builtin_add_overflow(time, 2, &time) ||
	    __builtin_mul_overflow(time / UNITS_PER_MS, khz, &ticks))
		return TSC_NEVER;
	rest = time % UNITS_PER_MS * khz / UNITS_PER_MS;
	if (__builtin_add_overflow(ticks, rest, &ticks) ||
	    __builtin_add_overflow(ticks, (u64)0 - vm->tsc_base, &ticks))
		return TSC_NEVER;
	return ticks;
}

/* Lock held. */
static void publish(struct vm *vm)
{
	struct hv_vm *hv = &vm->hv;
	struct hv_reference_tsc *page = NULL;

	if (hv->reference_tsc & HV_PAGE_ENABLE)
		page = vm_memory(vm, GPA(hv->reference_tsc & PAGE_MASK), sizeof(*page));
	if (!page)
		return;
	atomic32_set((struct atomic32 *)(void *)&page->sequence, NO_SEQUENCE);
	if (hv->tsc_differs)
		return;
	atomic64_set((struct atomic64 *)(void *)&page->scale, hv->tsc_scale);
	atomic64_set((struct atomic64 *)(void *)&page->offset, 0);
	if (++hv->sequence == NO_SEQUENCE)
		hv->sequence++;
	atomic32_set((struct atomic32 *)(void *)&page->sequence, hv->sequence);
}

void hv_time_write_page(struct vm *vm, u64 value)
{
	spin_lock(&vm->hv.lock);
	vm->hv.reference_tsc = value;
	publish(vm);
	spin_unlock(&vm->hv.lock);
}

void hv_time_tsc_moved(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	if (!vcpu->hv || vcpu->tsc_offset == vm->tsc_base)
		return;
	spin_lock(&vm->hv.lock);
	vm->hv.tsc_differs = true;
	publish(vm);
	spin_unlock(&vm->hv.lock);
}
