/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One instruction of the guest: it leaves, or the instruction is executed. The order of checks is APM volume
 * 2's, "Instruction Intercepts", and SDM volume 3's, "Relative Priority of Faults and VM Exits": exceptions of
 * the instruction's own privilege and encoding first, then the exit, then the instruction.
 */
#include "cpu_model/virt.h"
#include "postern/port.h"

#include <string.h>

static bool leaves(struct model_cpu *cpu, const struct guest_insn *insn, enum model_cause why)
{
	return model_virt()->leaves(cpu, insn, why);
}

static enum model_result raise(struct model_cpu *cpu, u8 vector, bool has_error)
{
	return model_raise(cpu, vector, has_error, 0) ? MODEL_RESTART : MODEL_EXIT;
}

static enum model_result do_msr(struct model_cpu *cpu, const struct guest_insn *insn, bool write)
{
	u64 *gpr = cpu->regs.gpr;
	u32 msr = (u32)gpr[GPR_RCX];
	u64 value;

	if (leaves(cpu, insn, write ? MODEL_ON_WRMSR : MODEL_ON_RDMSR))
		return MODEL_EXIT;
	if (model_virt()->has_apic_msr(cpu, msr, write))
		return model_virt()->apic_msr(cpu, insn, msr, write);
	if (write) {
		value = gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX];
		return model_guest_wrmsr(cpu, msr, value) ? MODEL_DONE
		                                          : raise(cpu, VECTOR_GP, true);
	}
	if (!model_guest_rdmsr(cpu, msr, &value))
		return raise(cpu, VECTOR_GP, true);
	gpr[GPR_RAX] = (u32)value;
	gpr[GPR_RDX] = value >> 32;
	return MODEL_DONE;
}

static enum model_result do_io(struct model_cpu *cpu, const struct guest_insn *insn, bool in)
{
	if (!leaves(cpu, insn, in ? MODEL_ON_IN : MODEL_ON_OUT))
		port_panic("guest reaches the host's I/O port %x", (u16)cpu->regs.gpr[GPR_RDX]);
	return MODEL_EXIT;
}

/* Guest memory is shared between processors: one access, not a copy by bytes. */
static u64 load(const u8 *p, u32 size)
{
	switch (size) {
	case 1:
		return __atomic_load_n(p, __ATOMIC_SEQ_CST);
	case 2:
		return __atomic_load_n((const u16 *)(const void *)p, __ATOMIC_SEQ_CST);
	case 4:
		return __atomic_load_n((const u32 *)(const void *)p, __ATOMIC_SEQ_CST);
	default:
		return __atomic_load_n((const u64 *)(const void *)p, __ATOMIC_SEQ_CST);
	}
}

static void store(u8 *p, u64 value, u32 size)
{
	switch (size) {
	case 1:
		__atomic_store_n(p, (u8)value, __ATOMIC_SEQ_CST);
		break;
	case 2:
		__atomic_store_n((u16 *)(void *)p, (u16)value, __ATOMIC_SEQ_CST);
		break;
	case 4:
		__atomic_store_n((u32 *)(void *)p, (u32)value, __ATOMIC_SEQ_CST);
		break;
	default:
		__atomic_store_n((u64 *)(void *)p, value, __ATOMIC_SEQ_CST);
		break;
	}
}

/* A 32-bit destination clears the upper half, narrower ones leave the rest. */
void model_set_rax(u64 *gpr, u64 value, u32 size)
{
	if (size >= 4)
		gpr[GPR_RAX] = value;
	else
		memcpy(&gpr[GPR_RAX], &value, size);
}

static enum model_result do_memory(struct model_cpu *cpu, const struct guest_insn *insn, bool write)
{
	u64 *gpr = cpu->regs.gpr;
	gpa_t gpa = GPA(gpr[GPR_RBX]);
	u8 *p;

	/* Linear equals guest-physical: the page tables map one to one. */
	if (gpa.v & (insn->size - 1u))
		port_panic("script: access at %llx is not aligned", (unsigned long long)gpa.v);
	p = model_translate(cpu, gpa, write ? MODEL_WRITE : MODEL_READ);
	if (!p)
		return MODEL_EXIT;
	/* The page has to be mapped, and what it is mapped to does not matter. */
	if (model_virt()->has_apic_page(cpu, gpa))
		return model_virt()->apic_page(cpu, insn, gpa.v & ~PAGE_MASK, write);
	if (model()->apic_frame && (ptr_to_hpa(p).v & PAGE_MASK) == model()->apic_frame)
		port_panic("an access of the APIC's page went past the hypervisor");
	if (write) {
		store(p, gpr[GPR_RAX], insn->size);
		return MODEL_DONE;
	}
	model_set_rax(gpr, load(p, insn->size), insn->size);
	return MODEL_DONE;
}

static u64 *control_register(struct model_cpu *cpu, u8 reg)
{
	switch (reg) {
	case 0:
		return &cpu->regs.cr0;
	case 2:
		return &cpu->regs.cr2;
	case 3:
		return &cpu->regs.cr3;
	case 4:
		return &cpu->regs.cr4;
	default:
		port_panic("script: CR%u", reg);
	}
}

static enum model_result do_read_cr(struct model_cpu *cpu, const struct guest_insn *insn)
{
	u64 *rax = &cpu->regs.gpr[GPR_RAX];
	u64 mask, shadow;

	if (leaves(cpu, insn, MODEL_ON_READ_CR))
		return MODEL_EXIT;
	if (insn->reg == 8) {
		*rax = model_virt()->read_cr8(cpu);
		return MODEL_DONE;
	}
	mask = model_virt()->cr_mask(cpu, insn->reg, &shadow);
	*rax = (*control_register(cpu, insn->reg) & ~mask) | (shadow & mask);
	return MODEL_DONE;
}

static enum model_result do_write_cr(struct model_cpu *cpu, const struct guest_insn *insn)
{
	u64 value = cpu->regs.gpr[GPR_RAX];
	u64 mask, shadow, *reg;

	if (leaves(cpu, insn, MODEL_ON_WRITE_CR))
		return MODEL_EXIT;
	if (insn->reg == 8)
		return value & ~0xfull ? raise(cpu, VECTOR_GP, true)
		                       : model_virt()->write_cr8(cpu, value);
	reg = control_register(cpu, insn->reg);
	mask = model_virt()->cr_mask(cpu, insn->reg, &shadow);
	value = (value & ~mask) | (*reg & mask);
	if (insn->reg == 0) {
		if ((value & CR0_PG) && (cpu->regs.efer & EFER_LME))
			cpu->regs.efer |= EFER_LMA;
		else if (!(value & CR0_PG))
			cpu->regs.efer &= ~EFER_LMA;
		value |= CR0_ET;
	}
	*reg = value;
	return MODEL_DONE;
}

static struct x86_segment flat(u16 selector, u16 attr)
{
	return (struct x86_segment){.selector = selector, .attr = attr, .limit = ~0u};
}

/* To the script's own code; in long mode through a 64-bit code segment, flat data, a full IDT. */
static enum model_result do_far_jump(struct model_cpu *cpu)
{
	struct model_regs *regs = &cpu->regs;

	if (!(regs->efer & EFER_LMA)) {
		/* Hidden base beyond what a selector reaches, as it is right after reset. */
		regs->cs.base = cpu->guest->code;
		regs->rip = 0;
		return MODEL_JUMPED;
	}
	regs->cs = flat(0x08, 0xa9b);
	regs->ds = regs->es = regs->ss = flat(0x10, 0xc93);
	regs->idtr = (struct x86_segment){.limit = 0xfff, .base = GUEST_TABLES};
	regs->rip = cpu->guest->code;
	return MODEL_JUMPED;
}

static enum model_result do_iret(struct model_cpu *cpu, const struct guest_insn *insn)
{
	if (leaves(cpu, insn, MODEL_ON_IRET))
		return MODEL_EXIT;
	guest_pop_frame(cpu->guest);
	model_virt()->returned(cpu);
	return MODEL_JUMPED;
}

static enum model_result do_cpuid(struct model_cpu *cpu, const struct guest_insn *insn)
{
	u64 *gpr = cpu->regs.gpr;
	struct cpuid_regs r;

	if (leaves(cpu, insn, MODEL_ON_CPUID))
		return MODEL_EXIT;
	model_cpuid(cpu, (u32)gpr[GPR_RAX], (u32)gpr[GPR_RCX], &r);
	gpr[GPR_RAX] = r.eax;
	gpr[GPR_RBX] = r.ebx;
	gpr[GPR_RCX] = r.ecx;
	gpr[GPR_RDX] = r.edx;
	return MODEL_DONE;
}

static enum model_result do_rdtsc(struct model_cpu *cpu, const struct guest_insn *insn)
{
	u64 tsc = model_time() + model_virt()->tsc_offset(cpu);

	if (leaves(cpu, insn, MODEL_ON_RDTSC))
		return MODEL_EXIT;
	cpu->regs.gpr[GPR_RAX] = (u32)tsc;
	cpu->regs.gpr[GPR_RDX] = tsc >> 32;
	return MODEL_DONE;
}

/* Instructions that only matter because the guest leaves; otherwise they do nothing, or fault. */
static enum model_result do_simple(struct model_cpu *cpu, const struct guest_insn *insn,
                                   enum model_cause why, u8 otherwise)
{
	if (leaves(cpu, insn, why))
		return MODEL_EXIT;
	return otherwise ? raise(cpu, otherwise, false) : MODEL_DONE;
}

/* SDM volume 2, "XSETBV": #UD comes before any exit. */
static enum model_result do_xsetbv(struct model_cpu *cpu, const struct guest_insn *insn)
{
	if (!(cpu->regs.cr4 & CR4_OSXSAVE))
		return raise(cpu, VECTOR_UD, false);
	return do_simple(cpu, insn, MODEL_ON_XSETBV, VECTOR_UD);
}

static enum model_result do_flag(struct model_cpu *cpu, bool set)
{
	if (set && !(cpu->regs.rflags & RFLAGS_IF))
		cpu->sti_shadow = true;
	if (set)
		cpu->regs.rflags |= RFLAGS_IF;
	else
		cpu->regs.rflags &= ~RFLAGS_IF;
	return MODEL_DONE;
}

static enum model_result do_triple_fault(struct model_cpu *cpu)
{
	cpu->regs.idtr.limit = 0;
	return raise(cpu, VECTOR_BP, false);
}

static enum model_result do_fpu(struct model_cpu *cpu, bool write)
{
	if (write)
		memcpy(cpu->fpu, &cpu->regs.gpr[GPR_RAX], sizeof(u64));
	else
		memcpy(&cpu->regs.gpr[GPR_RAX], cpu->fpu, sizeof(u64));
	return MODEL_DONE;
}

/* RIP is the INT3's own if it makes the guest leave; delivered, it is behind. */
enum model_result model_int3(struct model_cpu *cpu, bool planted)
{
	if (leaves(cpu, cpu->guest->insn, MODEL_ON_INT3))
		return MODEL_EXIT;
	if (planted)
		port_panic("script: a breakpoint that nobody intercepts");
	cpu->regs.rip++;
	cpu->guest->insn->done = true;
	return model_deliver(cpu, VECTOR_BP, true, false, 0) ? MODEL_RESTART : MODEL_EXIT;
}

#define SYSRET_FLAGS 0x3c7fd5ull /* all but RF, VM and the reserved */
#define POPF_FLAGS   (RFLAGS_TF | RFLAGS_IF | RFLAGS_ZF | RFLAGS_CF | RFLAGS_AC)

static enum model_result do_flags(struct model_cpu *cpu, bool push)
{
	u64 *rsp = &cpu->regs.gpr[GPR_RSP];
	u8 *p = model_translate(cpu, GPA(push ? *rsp - 8 : *rsp), push ? MODEL_WRITE : MODEL_READ);

	if (!p)
		return MODEL_EXIT;
	if (model_virt()->has_apic_page(cpu, GPA(push ? *rsp - 8 : *rsp)))
		port_panic("script: its stack is in the APIC's page");
	if (push)
		store(p, cpu->regs.rflags, 8);
	else
		cpu->regs.rflags = (cpu->regs.rflags & ~POPF_FLAGS) | (load(p, 8) & POPF_FLAGS);
	*rsp += push ? -8ull : 8ull;
	return MODEL_DONE;
}

/* APM volume 3, SYSCALL and SYSRET: the flags that they leave decide whether they trap. */
static enum model_result do_syscall(struct model_cpu *cpu, const struct guest_insn *insn)
{
	struct model_regs *regs = &cpu->regs;
	u16 selector = (u16)(cpu->hidden.star >> 32) & 0xfffc;

	if (!(regs->efer & EFER_SCE))
		return raise(cpu, VECTOR_UD, false);
	regs->gpr[GPR_RCX] = regs->rip + insn->length;
	regs->gpr[GPR_R11] = regs->rflags & ~RFLAGS_RF;
	regs->rflags &= ~(cpu->hidden.sfmask | RFLAGS_RF);
	regs->rflags |= RFLAGS_RES1;
	regs->cs = flat(selector, 0xa9b);
	regs->ss = flat(selector + 8, 0xc93);
	regs->cpl = 0;
	regs->rip = cpu->hidden.lstar;
	return MODEL_JUMPED;
}

static enum model_result do_sysret(struct model_cpu *cpu)
{
	struct model_regs *regs = &cpu->regs;
	u16 selector = (u16)(cpu->hidden.star >> 48) | 3;

	if (!(regs->efer & EFER_SCE))
		return raise(cpu, VECTOR_UD, false);
	regs->rflags = (regs->gpr[GPR_R11] & SYSRET_FLAGS) | RFLAGS_RES1;
	regs->cs = flat(selector + 16, 0xafb);
	regs->ss = flat(selector + 8, 0xcf3);
	regs->cpl = 3;
	regs->rip = regs->gpr[GPR_RCX];
	return MODEL_JUMPED;
}

enum model_result model_execute(struct model_cpu *cpu, const struct guest_insn *insn)
{
	switch (insn->op) {
	case OP_CPUID:
		return do_cpuid(cpu, insn);
	case OP_RDMSR:
	case OP_WRMSR:
		return do_msr(cpu, insn, insn->op == OP_WRMSR);
	case OP_LOAD:
	case OP_STORE:
		return do_memory(cpu, insn, insn->op == OP_STORE);
	case OP_IN:
	case OP_OUT:
		return do_io(cpu, insn, insn->op == OP_IN);
	case OP_CLI:
	case OP_STI:
		return do_flag(cpu, insn->op == OP_STI);
	case OP_HLT:
		if (leaves(cpu, insn, MODEL_ON_HLT))
			return MODEL_EXIT;
		model_virt()->halt(cpu);
		return MODEL_DONE;
	case OP_PAUSE:
		return do_simple(cpu, insn, MODEL_ON_PAUSE, 0);
	case OP_RDTSC:
		return do_rdtsc(cpu, insn);
	case OP_VMMCALL:
		return do_simple(cpu, insn, MODEL_ON_HYPERCALL, VECTOR_UD);
	case OP_READ_CR:
		return do_read_cr(cpu, insn);
	case OP_WRITE_CR:
		return do_write_cr(cpu, insn);
	case OP_WBINVD:
		return do_simple(cpu, insn, MODEL_ON_WBINVD, 0);
	case OP_XSETBV:
		return do_xsetbv(cpu, insn);
	case OP_VMRUN:
		return do_simple(cpu, insn, MODEL_ON_VMRUN, VECTOR_UD);
	case OP_UD2:
		return raise(cpu, VECTOR_UD, false);
	case OP_IRET:
		return do_iret(cpu, insn);
	case OP_TRIPLE_FAULT:
		return do_triple_fault(cpu);
	case OP_FAR_JUMP:
		return do_far_jump(cpu);
	case OP_READ_FPU:
	case OP_WRITE_FPU:
		return do_fpu(cpu, insn->op == OP_WRITE_FPU);
	case OP_INT3:
		return model_int3(cpu, false);
	case OP_PUSHF:
	case OP_POPF:
		return do_flags(cpu, insn->op == OP_PUSHF);
	case OP_SYSCALL:
		return do_syscall(cpu, insn);
	case OP_SYSRET:
		return do_sysret(cpu);
	default:
		return MODEL_DONE;
	}
}
