/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exit dispatch by neutral kind: one small handler each, in one table. A handler completes the
 * guest's instruction, or queues the exception that it gets.
 */
#include "core/exit.h"
#include "core/cpuid.h"
#include "core/emulate.h"
#include "core/hv_call.h"
#include "core/hypercall.h"
#include "core/machine.h"
#include "core/msr.h"
#include "core/nested.h"
#include "host/host.h"
#include "irq/apic_page.h"
#include "postern/port.h"
#include "x86/apic.h"

const char *exit_kind_name(enum exit_kind kind)
{
	static const char *const names[] = {
#define X(id, name, what) name,
	        EXIT_KINDS(X)
#undef X
	};

	return (u32)kind < EXIT_KIND_COUNT ? names[kind] : "?";
}

/* Nothing to do: what caused the exit is handled by the run loop or the physical interrupt. */
static enum exit_action resume(struct vcpu *vcpu __unused)
{
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_cpuid(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr;
	struct cpuid_regs r;

	if (!emulate_skip(vcpu, 2))
		return EXIT_ACTION_RESUME;
	cpuid_guest(vcpu, (u32)gpr[GPR_RAX], (u32)gpr[GPR_RCX], &r);
	gpr[GPR_RAX] = r.eax;
	gpr[GPR_RBX] = r.ebx;
	gpr[GPR_RCX] = r.ecx;
	gpr[GPR_RDX] = r.edx;
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_hlt(struct vcpu *vcpu)
{
	if (emulate_skip(vcpu, 1))
		vcpu->activity = VCPU_HALTED;
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_pause(struct vcpu *vcpu)
{
	emulate_skip(vcpu, 2);
	return EXIT_ACTION_YIELD;
}

static enum exit_action handle_rdmsr(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr;
	u64 value;

	if (!msr_read(vcpu, (u32)gpr[GPR_RCX], &value)) {
		vcpu_inject_gp(vcpu);
		return EXIT_ACTION_RESUME;
	}
	if (emulate_skip(vcpu, 2)) {
		gpr[GPR_RAX] = (u32)value;
		gpr[GPR_RDX] = value >> 32;
	}
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_wrmsr(struct vcpu *vcpu)
{
	const u64 *gpr = vcpu->regs.gpr;
	u64 value = gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX];

	if (!msr_write(vcpu, (u32)gpr[GPR_RCX], value))
		vcpu_inject_gp(vcpu);
	else
		emulate_skip(vcpu, 2);
	return EXIT_ACTION_RESUME;
}

static u64 size_mask(u32 size)
{
	return size == 8 ? ~0ull : (1ull << size * 8) - 1;
}

static void io_in(struct vcpu *vcpu, const struct exit_io *io)
{
	u64 *rax = &vcpu->regs.gpr[GPR_RAX];
	u64 mask = size_mask(io->size);
	u64 value;

	if (!bus_read(&vcpu->vm->io, vcpu, io->port, io->size, &value))
		vcpu_count(vcpu, COUNTER_PORT_UNKNOWN);
	/* A 32-bit destination clears the upper half; 8 and 16 bits merge. */
	*rax = io->size == 4 ? (value & mask) : (*rax & ~mask) | (value & mask);
}

static enum exit_action handle_io(struct vcpu *vcpu)
{
	struct exit_io io = vcpu->exit.io;

	if (io.string) {
		emulate_string_io(vcpu);
		return EXIT_ACTION_RESUME;
	}
	/* The opcode is one byte (DX) or two (immediate port). */
	if (!emulate_skip(vcpu, 1))
		return EXIT_ACTION_RESUME;
	if (io.in)
		io_in(vcpu, &io);
	else if (!bus_write(&vcpu->vm->io, vcpu, io.port, io.size,
	                    vcpu->regs.gpr[GPR_RAX] & size_mask(io.size)))
		vcpu_count(vcpu, COUNTER_PORT_UNKNOWN);
	return EXIT_ACTION_RESUME;
}

/* Mapped now, or already, or a zap was faster: the guest tries again. */
static bool comes_back(struct vcpu *vcpu)
{
	const struct exit_memory *memory = &vcpu->exit.memory;
	u32 access = memory->fetch ? MMU_EXEC : memory->write ? MMU_WRITE : MMU_READ;

	return vcpu->exit.kind == EXIT_MEMORY && !memory->present &&
	       mmu_fault(vcpu->vm, memory->gpa, access);
}

static enum exit_action handle_memory(struct vcpu *vcpu)
{
	if (comes_back(vcpu))
		return EXIT_ACTION_RESUME;
	/*
	 * The processor was delivering an event and its stack or descriptor table is not memory.
	 * There is no instruction to emulate; real hardware would fetch all ones and shut down.
	 */
	if (vcpu->exit.delivering) {
		vm_end(vcpu->vm, ENDED_TRIPLE_FAULT, 0);
		return EXIT_ACTION_RESUME;
	}
	if (vcpu->exit.kind == EXIT_MEMORY && apic_page_fault(vcpu, vcpu->exit.memory.gpa))
		return EXIT_ACTION_RESUME;
	if (vcpu->exit.kind == EXIT_MEMORY)
		backend_op(emulating)(vcpu);
	emulate_memory(vcpu);
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_apic_write(struct vcpu *vcpu)
{
	if (vcpu->exit.apic.offset == APIC_EOI)
		lapic_eoi_written(vcpu, vcpu->exit.apic.vector);
	else
		lapic_written(vcpu, vcpu->exit.apic.offset);
	return EXIT_ACTION_RESUME;
}

/* Some processors tell the end of a vector so, others by the register: above. */
static enum exit_action handle_eoi(struct vcpu *vcpu)
{
	lapic_eoi_written(vcpu, vcpu->exit.apic.vector);
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_ipi_incomplete(struct vcpu *vcpu)
{
	const struct exit_apic *apic = &vcpu->exit.apic;

	lapic_ipi_incomplete(vcpu, apic->icr, apic->dest, apic->posted);
	return EXIT_ACTION_RESUME;
}

/* Once the guest has a hypercall page, what it calls is what that page calls. */
static enum exit_action handle_vmcall(struct vcpu *vcpu)
{
	bool hv = hv_call_enabled(vcpu->vm);

	if (hv && !hv_call_permitted(vcpu))
		vcpu_inject_ud(vcpu);
	else if (emulate_skip(vcpu, 3))
		hv ? hv_call_handle(vcpu) : hypercall_handle(vcpu);
	return EXIT_ACTION_RESUME;
}

/* APM "XSETBV": #GP for another register than 0, for reserved bits, for AVX without SSE. */
static bool xcr0_is_valid(struct machine *machine, u32 reg, u64 value)
{
	if (reg || !(value & XCR0_X87) || value & ~machine->xcr0_supported)
		return false;
	return !(value & XCR0_AVX) || value & XCR0_SSE;
}

static enum exit_action handle_xsetbv(struct vcpu *vcpu)
{
	const u64 *gpr = vcpu->regs.gpr;
	u64 value = gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX];

	if (!xcr0_is_valid(vcpu->vm->machine, (u32)gpr[GPR_RCX], value))
		vcpu_inject_gp(vcpu);
	else if (emulate_skip(vcpu, 3))
		host_set_xcr0(vcpu, value);
	return EXIT_ACTION_RESUME;
}

/* Intercepted for a debugger. */
static enum exit_action handle_software_int(struct vcpu *vcpu)
{
	debugger_software_int(vcpu);
	return EXIT_ACTION_RESUME;
}

/* Intercepted so that a guest cannot hold the processor in an endless delivery loop: reflect. */
static enum exit_action handle_exception(struct vcpu *vcpu)
{
	const struct exit_exception *e = &vcpu->exit.exception;

	if (e->vector == VECTOR_MC)
		port_panic("machine check while vCPU %u ran", vcpu->index);
	if (e->vector == VECTOR_BP)
		return handle_software_int(vcpu);
	vcpu_inject_exception(vcpu, e->vector, e->has_error, e->error);
	return EXIT_ACTION_RESUME;
}

/* MOV to CR4, and to CR8 while an interrupt waits for the task priority to drop. */
static enum exit_action handle_cr(struct vcpu *vcpu)
{
	emulate_mov_to_cr(vcpu);
	return EXIT_ACTION_RESUME;
}

/*
 * INVD must not drop the hypervisor's dirty lines, WBINVD has nothing to do: memory is coherent, whatever types
 * the guest gives it (mmu/memory_type.c).
 */
static enum exit_action handle_invalidate(struct vcpu *vcpu)
{
	emulate_skip(vcpu, 2);
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_undefined(struct vcpu *vcpu)
{
	vcpu_inject_ud(vcpu);
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_privileged(struct vcpu *vcpu)
{
	vcpu_inject_gp(vcpu);
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_nested(struct vcpu *vcpu)
{
	nested_leave(vcpu, NESTED_EXIT);
	return EXIT_ACTION_RESUME;
}

static enum exit_action handle_shutdown(struct vcpu *vcpu)
{
	port_log("vm %u: vCPU %u: triple fault at rip %llx", vcpu->vm->id, vcpu->index,
	         (unsigned long long)vcpu->regs.rip);
	vm_end(vcpu->vm, ENDED_TRIPLE_FAULT, 0);
	return EXIT_ACTION_RESUME;
}

/* A state that the processor refuses, or an exit we did not ask for: ours, or the guest's fault? */
static enum exit_action handle_unexpected(struct vcpu *vcpu)
{
	const u64 *raw = vcpu->exit.raw;

	port_log("error: vm %u: vCPU %u: exit %s code %llx info %llx %llx at rip %llx: the VM ends",
	         vcpu->vm->id, vcpu->index, exit_kind_name(vcpu->exit.kind),
	         (unsigned long long)raw[0], (unsigned long long)raw[1], (unsigned long long)raw[2],
	         (unsigned long long)vcpu->regs.rip);
	vm_end(vcpu->vm, ENDED_PANIC, 0);
	return EXIT_ACTION_RESUME;
}

static enum exit_action (*const handlers[EXIT_KIND_COUNT])(struct vcpu *) = {
        [EXIT_INTR] = resume,
        [EXIT_NMI] = resume,
        [EXIT_INTR_WINDOW] = resume,
        [EXIT_TPR] = resume,
        [EXIT_NMI_WINDOW] = resume,
        [EXIT_EXCEPTION] = handle_exception,
        [EXIT_CPUID] = handle_cpuid,
        [EXIT_HLT] = handle_hlt,
        [EXIT_PAUSE] = handle_pause,
        [EXIT_IO] = handle_io,
        [EXIT_RDMSR] = handle_rdmsr,
        [EXIT_WRMSR] = handle_wrmsr,
        [EXIT_MEMORY] = handle_memory,
        [EXIT_EOI] = handle_eoi,
        [EXIT_APIC_WRITE] = handle_apic_write,
        [EXIT_APIC_ACCESS] = handle_memory,
        [EXIT_IPI_INCOMPLETE] = handle_ipi_incomplete,
        [EXIT_VMCALL] = handle_vmcall,
        [EXIT_XSETBV] = handle_xsetbv,
        [EXIT_CR] = handle_cr,
        [EXIT_DR] = handle_unexpected,
        [EXIT_INVALIDATE] = handle_invalidate,
        [EXIT_VIRT_INSN] = handle_undefined,
        [EXIT_RDPMC] = handle_privileged,
        [EXIT_SHUTDOWN] = handle_shutdown,
        [EXIT_INIT] = resume,
        [EXIT_TASK_SWITCH] = handle_unexpected,
        [EXIT_SOFTWARE_INT] = handle_software_int,
        [EXIT_NESTED] = handle_nested,
        [EXIT_INVALID] = handle_unexpected,
        [EXIT_UNKNOWN] = handle_unexpected,
};

enum exit_action exit_handle(struct vcpu *vcpu)
{
	enum exit_kind kind = vcpu->exit.kind;

	counter_add(&vcpu->account.exits[kind], 1);
	if (vcpu->exit.cache_disabled != vcpu->cache_disabled)
		memory_type_cache_disabled(vcpu, vcpu->exit.cache_disabled);
	return handlers[kind](vcpu);
}
