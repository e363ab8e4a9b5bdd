/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See inhibit_wrong.h. Each is inhibit_change_locked(), apic_page_fault() or a part of irq/irq_window.c in
 * another order or with something left out, over the same primitives; the rest is the right code.
 */
#include "tests/race/inhibit_wrong.h"

#include "core/machine.h"
#include "core/nested.h"
#include "irq/apic_page.h"
#include "irq/irq_window.h"
#include "postern/port.h"
#include "tests/race/irq_window_variants.h"
#include "x86/msr.h"

#define CODE(id, what, change_, open, close, fault_, handed_over_)                                 \
	const struct inhibit_code id = {                                                           \
	        .name = what,                                                                      \
	        .change = change_,                                                                 \
	        .window_open = open,                                                               \
	        .window_close = close,                                                             \
	        .nested_enter = nested_enter,                                                      \
	        .fault = fault_,                                                                   \
	        .handed_over = handed_over_,                                                       \
	}
#define CHANGE(id, what, change)                                                                   \
	CODE(id, what, change, irq_window_open, irq_window_close, apic_page_fault, NULL)
#define FAULT(id, what, fault)                                                                     \
	CODE(id, what, inhibit_change, irq_window_open, irq_window_close, fault, NULL)
#define WINDOWS(id, what, open, close)                                                             \
	CODE(id, what, inhibit_change, open, close, apic_page_fault, NULL)
#define HAND_OVER(id, what, handed_over)                                                           \
	CODE(id, what, inhibit_change, irq_window_open, irq_window_close, apic_page_fault,         \
	     handed_over)

/* --- changes --- */

/* As far as the right one goes before it does anything; false: there is nothing to do. */
static bool next_mask(struct vm *vm, u32 reasons, u32 stand, u32 *old, u32 *new)
{
	*old = atomic32_read(&vm->inhibit.mask);
	*new = (*old & ~reasons & ~INHIBIT_BIT(IRQWIN)) | stand;
	if (atomic32_read(&vm->inhibit.windows))
		*new |= INHIBIT_BIT(IRQWIN);
	return *old != *new;
}

/* The mask is stored, and then the vCPUs are made to look at it: as all other requests are. */
static void change_mask_first(struct vm *vm, u32 reasons, u32 stand)
{
	u32 old, new;

	inhibit_lock(vm);
	if (next_mask(vm, reasons, stand, &old, &new)) {
		atomic32_set(&vm->inhibit.mask, new);
		if (!old != !new)
			vcpu_request_all(vm, VCPU_REQUEST_ACCEL);
		if (!old)
			apic_page_zap(vm);
	}
	inhibit_unlock(vm);
}

/* A fault after the zap decides by the old mask, and maps the page again. */
static void change_mask_after_zap(struct vm *vm, u32 reasons, u32 stand)
{
	u32 old, new;

	inhibit_lock(vm);
	if (next_mask(vm, reasons, stand, &old, &new)) {
		if (!old != !new)
			vcpu_request_all(vm, VCPU_REQUEST_ACCEL);
		if (!old)
			apic_page_zap(vm);
		atomic32_set(&vm->inhibit.mask, new);
	}
	inhibit_unlock(vm);
}

/* The right order with another zap. */
static void change_with(struct vm *vm, u32 reasons, u32 stand, void (*zap)(struct vm *vm))
{
	u32 old, new;

	inhibit_lock(vm);
	if (next_mask(vm, reasons, stand, &old, &new)) {
		if (!old != !new)
			vcpu_request_all(vm, VCPU_REQUEST_ACCEL);
		atomic32_set(&vm->inhibit.mask, new);
		if (!old)
			zap(vm);
	}
	inhibit_unlock(vm);
}

static void change_without_sequence(struct vm *vm, u32 reasons, u32 stand)
{
	change_with(vm, reasons, stand, zap_without_sequence);
}

static void change_without_flush(struct vm *vm, u32 reasons, u32 stand)
{
	change_with(vm, reasons, stand, zap_without_flush);
}

static void change_zap_shared(struct vm *vm, u32 reasons, u32 stand)
{
	change_with(vm, reasons, stand, zap_shared);
}

/* Waits until each other vCPU has taken its request: it may wait for the lock that is held here. */
static void change_waits_until_taken(struct vm *vm, u32 reasons, u32 stand)
{
	struct vcpu *vcpu;
	u32 old, new;

	inhibit_lock(vm);
	if (next_mask(vm, reasons, stand, &old, &new)) {
		if (!old != !new) {
			vcpu_request_all(vm, VCPU_REQUEST_ACCEL);
			for_each_vcpu (vcpu, vm)
				wait_until(vcpu->cpu == this_cpu() ||
				           !(atomic32_read(&vcpu->requests) & VCPU_REQUEST_ACCEL));
		}
		atomic32_set(&vm->inhibit.mask, new);
		if (!old)
			apic_page_zap(vm);
	}
	inhibit_unlock(vm);
}

CHANGE(inhibit_mask_first, "mask stored before the requests", change_mask_first);
CHANGE(inhibit_mask_after_zap, "mask stored after the zap", change_mask_after_zap);
CHANGE(inhibit_zap_without_sequence, "zap without sequence", change_without_sequence);
CHANGE(inhibit_zap_without_flush, "zap without flush", change_without_flush);
CHANGE(inhibit_zap_shared, "zap under the shared lock", change_zap_shared);
CHANGE(inhibit_waits_until_taken, "waits until the requests are taken", change_waits_until_taken);

/* --- the fault --- */

/* Decides, and only then takes the sequence: a zap in between is not noticed. */
static bool fault_samples_late(struct vcpu *vcpu, gpa_t gpa)
{
	struct vm *vm = vcpu->vm;

	if ((gpa.v & PAGE_MASK) != APIC_BASE_DEFAULT)
		return false;
	if (atomic32_read(&vm->inhibit.mask) ||
	    atomic32_read_relaxed(&vcpu->accel.mode) != ACCEL_XAPIC)
		return false;
	mmu_install(vm, GPA(APIC_BASE_DEFAULT), ptr_to_hpa(vm->accel.page), MMU_READ | MMU_WRITE,
	            mmu_invalidate_seq(vm));
	return true;
}

FAULT(inhibit_fault_samples_late, "fault that decides before it takes the sequence",
      fault_samples_late);

/* --- windows --- */

/* The right count, and nothing that keeps the mask from changing between the look and the count. */
static void count_unlocked(struct vcpu *vcpu, u32 step)
{
	struct inhibit_vm *inhibit = &vcpu->vm->inhibit;

	vcpu->accel.window += step;
	if (atomic32_read(&inhibit->mask) & ~INHIBIT_BIT(IRQWIN)) {
		atomic32_fetch_add(&inhibit->windows, step);
		return;
	}
	inhibit_lock(vcpu->vm);
	atomic32_fetch_add(&inhibit->windows, step);
	inhibit_change_locked(vcpu->vm, 0, 0);
	inhibit_unlock(vcpu->vm);
}

static void open_unlocked(struct vcpu *vcpu)
{
	count_unlocked(vcpu, 1);
}

static void close_unlocked(struct vcpu *vcpu)
{
	count_unlocked(vcpu, ~0u);
}

/* Whoever closes takes IRQWIN away, whatever the count. */
static void close_clobbers(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	u32 old, new;

	vcpu->accel.window = 0;
	inhibit_lock(vm);
	atomic32_fetch_sub(&vm->inhibit.windows, 1);
	old = atomic32_read(&vm->inhibit.mask);
	new = old & ~INHIBIT_BIT(IRQWIN);
	if (!old != !new)
		vcpu_request_all(vm, VCPU_REQUEST_ACCEL);
	atomic32_set(&vm->inhibit.mask, new);
	inhibit_unlock(vm);
}

WINDOWS(inhibit_windows_naive, "the lock exclusively at each window", irq_window_naive_open,
        irq_window_naive_close);
WINDOWS(inhibit_windows_two_holds, "count and mask under two holds", irq_window_sketch_open,
        irq_window_sketch_close);
WINDOWS(inhibit_windows_unlocked, "window counted without the lock", open_unlocked, close_unlocked);
WINDOWS(inhibit_windows_clobber, "close that clears another vCPU's IRQWIN", irq_window_open,
        close_clobbers);

/* --- guests of guests --- */

/* A window is L1's, so it does not count while L2 runs; its close does not know. */
static bool enter_undoes_count(struct vcpu *vcpu, void *block)
{
	u32 window = vcpu->accel.window;

	if (window)
		irq_window_close(vcpu);
	vcpu->accel.window = window;
	return nested_enter(vcpu, block);
}

/* The same with a close that does: whoever closes in L2 has nothing to undo. */
static void close_skips(struct vcpu *vcpu)
{
	if (!vcpu->guest_mode)
		irq_window_close(vcpu);
}

/* L2 is told from L1 by a flag, and runs on what L1 runs on. */
static bool enter_is_flag(struct vcpu *vcpu, void *block)
{
	bool entered = nested_enter(vcpu, block);

	vcpu->accel.local = 0;
	vcpu->accel.local_mode = ACCEL_XAPIC;
	return entered;
}

#define NESTED(id, what, close, enter)                                                             \
	const struct inhibit_code id = {                                                           \
	        .name = what,                                                                      \
	        .change = inhibit_change,                                                          \
	        .window_open = irq_window_open,                                                    \
	        .window_close = close,                                                             \
	        .nested_enter = enter,                                                             \
	        .fault = apic_page_fault,                                                          \
	}

NESTED(inhibit_nested_undoes, "window undone at entry to L2 and at its close", irq_window_close,
       enter_undoes_count);
NESTED(inhibit_nested_skips, "window that is not closed in L2", close_skips, nested_enter);
NESTED(inhibit_nested_flag, "L2 that is a flag", irq_window_close, enter_is_flag);

/* --- hand-over --- */

/* What is in service is not summed up: to software its EOI ends nothing. */
static void drop_eoi(struct vcpu *vcpu, enum accel_mode mode)
{
	if (mode == ACCEL_OFF)
		vcpu->lapic.isr_summary = 0;
}

/* Nor is what is requested. */
static void drop_request(struct vcpu *vcpu, enum accel_mode mode)
{
	if (mode == ACCEL_OFF)
		atomic32_set(&vcpu->lapic.irr_summary, 0);
}

HAND_OVER(inhibit_drops_eoi, "hand-over that drops a pending EOI", drop_eoi);
HAND_OVER(inhibit_drops_request, "hand-over that drops a request", drop_request);
