/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions that exit: fetch, decode, execute, advance.
 *
 * Rules this file lives by:
 * - An instruction either completes (RIP advances, RFLAGS.RF is cleared, a single step that was due
 *   is queued) or queues an exception and leaves RIP. A REP form may stop in between, as the manual
 *   lets an interrupt do (APM volume 3, "Repeat Prefixes"): registers count the iterations done
 *   and RIP stays.
 * - The bytes are what memory holds now, not what the processor executed: another vCPU may have
 *   changed them. So what is decoded is never trusted to be what exited; in particular nothing is
 *   executed here that the processor would have checked for privilege, unless this is what exited.
 * - The second page of an instruction that crosses pages is touched only if its bytes are needed.
 * - The interrupt shadow is the back end's: it ends with any instruction that exits and completes.
 */
#include "core/cr.h"
#include "core/emulate_priv.h"

#include "core/vm.h"
#include "postern/backend.h"

#define DR6_BS BIT64(14)

#define OPCODE_TWO_BYTES 0x0f
#define OPCODE_HLT       0xf4

static u32 code_mode(const struct vcpu_state *state)
{
	u16 cs = state->seg[SEG_CS].attr;

	if (state->efer & EFER_LMA && cs & SEG_ATTR_L)
		return 8;
	return cs & SEG_ATTR_DB ? 4 : 2;
}

u32 emulate_code_mode(struct vcpu *vcpu)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	return code_mode(&state);
}

static void emulation_init(struct emulation *e, struct vcpu *vcpu)
{
	e->vcpu = vcpu;
	e->page = NULL;
	backend_op(get_state)(vcpu, &e->state);
	mmu_view_init(&e->view, vcpu, &e->state);
	e->mode = code_mode(&e->state);
}

void emulate_undecoded(struct vcpu *vcpu)
{
	vcpu_count(vcpu, COUNTER_UNDECODED);
	vcpu_inject_ud(vcpu);
}

void emulate_fault(struct emulation *e, const struct mmu_fault *fault, u8 segment)
{
	struct vcpu *vcpu = e->vcpu;

	if (fault->error != MMU_ERROR_NONCANONICAL) {
		/* State anew: a device may have changed it since the exit. */
		backend_op(get_state)(vcpu, &e->state);
		e->state.cr2 = fault->gva.v;
		backend_op(set_state)(vcpu, &e->state);
		vcpu_inject_exception(vcpu, VECTOR_PF, true, fault->error);
	} else if (segment == SEG_SS) {
		vcpu_inject_exception(vcpu, VECTOR_SS, true, 0);
	} else {
		vcpu_inject_gp(vcpu);
	}
}

/* RFLAGS.TF was set while the instruction ran: its trap is due. */
static void single_step(struct vcpu *vcpu)
{
	struct vcpu_state state;

	if (!(vcpu->regs.rflags & RFLAGS_TF))
		return;
	backend_op(get_state)(vcpu, &state);
	state.dr6 |= DR6_BS;
	backend_op(set_state)(vcpu, &state);
	vcpu_inject_exception(vcpu, VECTOR_DB, false, 0);
}

static void advance(struct vcpu *vcpu, u64 next_rip)
{
	vcpu->regs.rip = next_rip;
	vcpu->regs.rflags &= ~RFLAGS_RF;
	single_step(vcpu);
}

/* EIP of 16- and 32-bit code wraps at 4 GiB; the limit of CS catches 16-bit code before that. */
static u64 rip_after(const struct vcpu *vcpu, u32 mode, u32 length)
{
	u64 next = vcpu->regs.rip + length;

	return mode == 8 ? next : next & 0xffffffff;
}

void emulate_finish(struct emulation *e)
{
	advance(e->vcpu, rip_after(e->vcpu, e->mode, e->insn.length));
}

void emulate_pause(struct emulation *e)
{
	single_step(e->vcpu);
}

/* ---- fetch ---- */

static gva_t code_address(const struct emulation *e, u32 offset)
{
	u64 rip = e->vcpu->regs.rip;

	if (e->mode == 8)
		return GVA(rip + offset);
	return GVA((e->state.seg[SEG_CS].base + (u32)rip + offset) & 0xffffffff);
}

/* Read code bytes [*count, wanted). false: an exception is queued. */
static bool fetch(struct emulation *e, u8 *bytes, u32 *count, u32 wanted)
{
	u32 access = PF_FETCH | (e->state.cpl == 3 ? PF_USER : 0);
	struct mmu_fault fault;

	if (!mmu_view_read(&e->view, code_address(e, *count), access, bytes + *count,
	                   wanted - *count, &fault)) {
		emulate_fault(e, &fault, SEG_CS);
		return false;
	}
	*count = wanted;
	return true;
}

/* Decode the instruction at RIP. false: an exception is queued. */
static bool decode(struct emulation *e)
{
	enum decode_result result = DECODE_SHORT;
	u8 bytes[INSN_MAX_LENGTH];
	const u8 *delivered;
	u32 count = backend_op(insn_bytes)(e->vcpu, &delivered);

	if (count)
		result = insn_decode(delivered, count, e->mode, &e->insn);
	if (result == DECODE_SHORT) {
		u64 to_page_end = PAGE_SIZE - (code_address(e, 0).v & ~PAGE_MASK);

		count = 0;
		if (!fetch(e, bytes, &count, (u32)min_u64(to_page_end, INSN_MAX_LENGTH)))
			return false;
		result = insn_decode(bytes, count, e->mode, &e->insn);
		if (result == DECODE_SHORT) {
			if (!fetch(e, bytes, &count, INSN_MAX_LENGTH))
				return false;
			result = insn_decode(bytes, count, e->mode, &e->insn);
		}
	}
	if (result == DECODE_OK)
		return true;
	emulate_undecoded(e->vcpu);
	return false;
}

/* ---- skip ---- */

static bool is_prefix(u8 byte, u32 mode)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64:
	case 0x65:
	case 0x66:
	case 0x67:
	case 0xf0:
	case 0xf2:
	case 0xf3:
		return true;
	default:
		return mode == 8 && (byte & 0xf0) == 0x40;
	}
}

/*
 * The first byte of the instruction that exited, from the page where the last one was found,
 * without a walk of the guest's tables. The guest may have changed them meanwhile, so the byte is
 * believed only if it is the first of an opcode that exits and that no prefix precedes; a guest
 * that maps two such pages at one address in turn can mislead this as it can mislead a stale TLB
 * entry: into skipping the wrong number of bytes of its own code. false: no hint, or not believed.
 */
static bool hinted_opcode(const struct emulation *e)
{
	const struct vcpu_fetch_hint *hint = &e->vcpu->fetch_hint;
	u64 address = code_address(e, 0).v;
	u8 first;

	if (!hint->host || hint->page != (address & PAGE_MASK) || hint->cr3 != e->state.cr3 ||
	    hint->cr0 != e->state.cr0 || hint->cr4 != e->state.cr4)
		return false;
	first = __atomic_load_n(hint->host + (address & ~PAGE_MASK), __ATOMIC_RELAXED);
	return first == OPCODE_TWO_BYTES || first == OPCODE_HLT;
}

static void remember_hint(struct emulation *e)
{
	struct vcpu_fetch_hint *hint = &e->vcpu->fetch_hint;
	u32 access = PF_FETCH | (e->state.cpl == 3 ? PF_USER : 0);
	gva_t page = GVA(code_address(e, 0).v & PAGE_MASK);
	gpa_t gpa;
	u32 error;

	*hint = (struct vcpu_fetch_hint){0};
	if (mmu_view_walk(&e->view, page, access, &gpa, &error) != MMU_WALK_OK)
		return;
	hint->host = vm_memory(e->vcpu->vm, gpa, PAGE_SIZE);
	if (!hint->host)
		return;
	hint->page = page.v;
	hint->cs_attr = e->mode == 8 ? e->state.seg[SEG_CS].attr : 0;
	hint->cr0 = e->state.cr0;
	hint->cr3 = e->state.cr3;
	hint->cr4 = e->state.cr4;
}

/*
 * Length of the instruction at RIP. Nearly always its first byte is the opcode's and the caller
 * knows the rest; only a prefix costs a decoding. false: an exception is queued.
 */
static bool find_length(struct emulation *e, u32 opcode_length, u32 *length)
{
	const u8 *delivered;
	u32 count = 0;
	u8 first;

	if (opcode_length) {
		if (hinted_opcode(e)) {
			*length = opcode_length;
			return true;
		}
		if (backend_op(insn_bytes)(e->vcpu, &delivered))
			first = delivered[0];
		else if (!fetch(e, &first, &count, 1))
			return false;
		remember_hint(e);
		if (!is_prefix(first, e->mode)) {
			*length = opcode_length;
			return true;
		}
	}
	if (!decode(e))
		return false;
	*length = e->insn.length;
	return true;
}

bool emulate_skip(struct vcpu *vcpu, u32 opcode_length)
{
	struct emulation e;
	u32 length;

	if (vcpu->exit.next_rip) {
		advance(vcpu, vcpu->exit.next_rip);
		return true;
	}
	emulation_init(&e, vcpu);
	if (!find_length(&e, opcode_length, &length))
		return false;
	advance(vcpu, rip_after(vcpu, e.mode, length));
	return true;
}

/* ---- what exits ---- */

void emulate_mov_to_cr(struct vcpu *vcpu)
{
	struct emulation e;
	u64 value;

	emulation_init(&e, vcpu);
	if (!decode(&e))
		return;
	if (e.insn.op != INSN_MOV_TO_CR || e.insn.control != vcpu->exit.cr.reg) {
		emulate_undecoded(vcpu);
		return;
	}
	value = emulate_read_reg(vcpu, e.insn.reg, e.mode == 8 ? 8 : 4, false);
	if (cr_write(vcpu, e.insn.control, value))
		emulate_finish(&e);
	else
		vcpu_inject_gp(vcpu);
}

void emulate_memory(struct vcpu *vcpu)
{
	struct emulation e;

	emulation_init(&e, vcpu);
	/* Code in device memory is not executed: what is not RAM fetches as ones, which is #UD. */
	if (vcpu->exit.memory.fetch)
		vcpu_count(vcpu, COUNTER_MEMORY_UNKNOWN);
	if (!decode(&e))
		return;
	if (emulate_execute_memory(&e))
		vcpu_count(vcpu, COUNTER_EMULATED);
	else
		emulate_undecoded(vcpu);
}

void emulate_page_access(struct vcpu *vcpu, const struct emulate_page *page)
{
	struct emulation e;

	emulation_init(&e, vcpu);
	e.page = page;
	if (decode(&e) && !emulate_execute_memory(&e))
		emulate_undecoded(vcpu);
}

/*
 * The instruction as the processor described it: no need to look at its bytes. false: it left
 * something out.
 */
static bool describe_string_io(struct emulation *e)
{
	const struct exit_info *exit = &e->vcpu->exit;
	const struct exit_io *io = &exit->io;
	u64 length = exit->next_rip - e->vcpu->regs.rip;

	if (!exit->next_rip || !io->address_size || (!io->in && io->segment > SEG_GS))
		return false;
	if (length == 0 || length > INSN_MAX_LENGTH)
		return false;
	e->insn = (struct insn){
	        .length = (u8)length,
	        .op = io->in ? INSN_INS : INSN_OUTS,
	        .size = io->size,
	        .rep = io->rep,
	        .segment = io->in ? SEG_ES : io->segment,
	        .address_size = io->address_size,
	};
	return true;
}

void emulate_string_io(struct vcpu *vcpu)
{
	const struct exit_io *io = &vcpu->exit.io;
	struct emulation e;

	emulation_init(&e, vcpu);
	if (!describe_string_io(&e)) {
		if (!decode(&e))
			return;
		if (e.insn.op != (io->in ? INSN_INS : INSN_OUTS) || e.insn.size != io->size) {
			emulate_undecoded(vcpu);
			return;
		}
	}
	emulate_execute_string_io(&e, io->port);
}
