/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operands of emulated instructions: registers, and memory from segment:offset down to the device.
 *
 * Rules this file lives by:
 * - Memory is translated completely before the first byte is read or written, so that an
 *   instruction that faults has had no effect on a device.
 * - Guest-physical addresses come from a walk of the guest's tables, not from the exit: of an
 *   operand that crosses pages, or of a string instruction, the exit names one page only. For all
 *   others the walk finds the page of the exit, unless the guest changed its tables meanwhile.
 * - Who answers at a guest-physical address: the local APIC page, a device, RAM, nobody - in this
 *   order. RAM that is mapped read-only keeps what it holds.
 * - An operand that crosses pages reaches devices byte by byte.
 * - Outside 64-bit code the segment's type and limit count for every element of a string, since
 *   the processor has checked only the first (APM volume 2, "Segment Limit Checks" and "Type
 *   Checks"). In 64-bit code only FS and GS have a base. #AC is not raised.
 */
#include "core/emulate_priv.h"

#include "core/vm.h"
#include "postern/string.h"

#define SEG_TYPE_CODE        BIT(3)
#define SEG_TYPE_EXPAND_DOWN BIT(2) /* of data */
#define SEG_TYPE_WRITABLE    BIT(1) /* of data */
#define SEG_TYPE_READABLE    BIT(1) /* of code */

u64 emulate_read_reg(const struct vcpu *vcpu, u8 reg, u32 size, bool high_byte)
{
	u64 value = vcpu->regs.gpr[reg];

	return (high_byte ? value >> 8 : value) & emulate_mask(size);
}

void emulate_write_reg(struct vcpu *vcpu, u8 reg, u32 size, bool high_byte, u64 value)
{
	u64 mask = emulate_mask(size);
	u64 *gpr = &vcpu->regs.gpr[reg];

	value &= mask;
	if (size == 4) {
		*gpr = value;
		return;
	}
	if (high_byte) {
		mask <<= 8;
		value <<= 8;
	}
	*gpr = (*gpr & ~mask) | value;
}

/* ---- segment:offset to linear ---- */

static bool type_permits(const struct emulation *e, const struct x86_segment *s, bool write)
{
	bool code = s->attr & SEG_TYPE_CODE;

	/* Real mode and virtual-8086 mode know no types. */
	if (!(e->state.cr0 & CR0_PE) || e->vcpu->regs.rflags & RFLAGS_VM)
		return true;
	if (write)
		return !code && s->attr & SEG_TYPE_WRITABLE;
	return !code || s->attr & SEG_TYPE_READABLE;
}

static bool limit_permits(const struct x86_segment *s, u64 offset, u32 size)
{
	u64 last = offset + size - 1;

	if (s->attr & SEG_TYPE_CODE || !(s->attr & SEG_TYPE_EXPAND_DOWN))
		return last <= s->limit;
	return offset > s->limit && last <= (s->attr & SEG_ATTR_DB ? 0xffffffff : 0xffff);
}

/* false: an exception is queued. */
static bool to_linear(struct emulation *e, u8 segment, u64 offset, u32 size, bool write,
                      gva_t *linear)
{
	const struct x86_segment *s = &e->state.seg[segment];

	if (e->mode == 8) {
		*linear = GVA(offset + (segment >= SEG_FS ? s->base : 0));
		return true;
	}
	if (!type_permits(e, s, write) || !limit_permits(s, offset, size)) {
		if (segment == SEG_SS)
			vcpu_inject_exception(e->vcpu, VECTOR_SS, true, 0);
		else
			vcpu_inject_gp(e->vcpu);
		return false;
	}
	*linear = GVA((s->base + offset) & 0xffffffff);
	return true;
}

bool emulate_translate(struct emulation *e, u8 segment, u64 offset, u32 size, bool write,
                       struct emulate_span *span)
{
	u32 access = (write ? PF_WRITE : 0) | (e->state.cpl == 3 ? PF_USER : 0);
	u32 done = 0, i;
	gva_t linear;

	if (!to_linear(e, segment, offset, size, write, &linear))
		return false;
	for (i = 0; i < ARRAY_SIZE(span->len); i++) {
		u64 page_left = PAGE_SIZE - (linear.v & ~PAGE_MASK);
		struct mmu_fault fault = {.gva = linear};

		span->len[i] = (u32)min_u64(size - done, page_left);
		if (!span->len[i])
			break;
		if (mmu_view_walk(&e->view, linear, access, &span->gpa[i], &fault.error) !=
		    MMU_WALK_OK) {
			emulate_fault(e, &fault, segment);
			return false;
		}
		done += span->len[i];
		linear.v += span->len[i];
		if (e->mode != 8)
			linear.v &= 0xffffffff;
	}
	return true;
}

/* ---- guest-physical memory ---- */

static bool in_lapic_page(struct vcpu *vcpu, gpa_t gpa)
{
	gpa_t base;

	return lapic_xapic_base(vcpu, &base) && (gpa.v & PAGE_MASK) == (base.v & PAGE_MASK);
}

static u64 read_physical(struct emulation *e, gpa_t gpa, u32 size)
{
	struct vcpu *vcpu = e->vcpu;
	hpa_t hpa __unused;
	u32 access;
	u64 value;

	if (in_lapic_page(vcpu, gpa) && e->page)
		return e->page->read(e->page->context, gpa.v & ~PAGE_MASK, size);
	if (in_lapic_page(vcpu, gpa))
		return lapic_mmio_read(vcpu, gpa.v & ~PAGE_MASK, size) & emulate_mask(size);
	if (bus_read(&vcpu->vm->memory, vcpu, gpa.v, size, &value))
		return value;
	value = 0;
	if (mmu_lookup(vcpu->vm, gpa, &hpa, &access) && vm_read(vcpu->vm, gpa, &value, size))
		return value;
	vcpu_count(vcpu, COUNTER_MEMORY_UNKNOWN);
	return emulate_mask(size);
}

static void write_physical(struct emulation *e, gpa_t gpa, u32 size, u64 value)
{
	struct vcpu *vcpu = e->vcpu;
	hpa_t hpa __unused;
	u32 access;

	if (in_lapic_page(vcpu, gpa) && e->page) {
		e->page->write(e->page->context, gpa.v & ~PAGE_MASK, size,
		               value & emulate_mask(size));
		return;
	}
	if (in_lapic_page(vcpu, gpa)) {
		lapic_mmio_write(vcpu, gpa.v & ~PAGE_MASK, size, value & emulate_mask(size));
		return;
	}
	if (bus_write(&vcpu->vm->memory, vcpu, gpa.v, size, value))
		return;
	if (mmu_lookup(vcpu->vm, gpa, &hpa, &access) && access & MMU_WRITE &&
	    vm_write(vcpu->vm, gpa, &value, size))
		return;
	vcpu_count(vcpu, COUNTER_MEMORY_UNKNOWN);
}

u64 emulate_read_span(struct emulation *e, const struct emulate_span *span)
{
	u64 value = 0;
	u32 part, i, shift = 0;

	if (!span->len[1])
		return read_physical(e, span->gpa[0], span->len[0]);
	for (part = 0; part < ARRAY_SIZE(span->len); part++) {
		for (i = 0; i < span->len[part]; i++, shift += 8)
			value |= read_physical(e, GPA(span->gpa[part].v + i), 1) << shift;
	}
	return value;
}

void emulate_write_span(struct emulation *e, const struct emulate_span *span, u64 value)
{
	u32 part, i, shift = 0;

	if (!span->len[1]) {
		write_physical(e, span->gpa[0], span->len[0], value);
		return;
	}
	for (part = 0; part < ARRAY_SIZE(span->len); part++) {
		for (i = 0; i < span->len[part]; i++, shift += 8)
			write_physical(e, GPA(span->gpa[part].v + i), 1, value >> shift & 0xff);
	}
}
