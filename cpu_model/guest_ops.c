/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The operations that scripts issue, each with the encoding that a compiler would choose in 64-bit
 * code. Operands go through the guest's registers, since that is where a hypervisor that emulates
 * the instruction takes them from and puts them.
 */
#include "cpu_model/guest.h"
#include "cpu_model/virt.h"
#include "postern/port.h"
#include "x86/msr.h"

#include <string.h>

#define INSN(name, o, ...)                                                                         \
	struct guest_insn name = {                                                                 \
	        .op = (o), .bytes = {__VA_ARGS__}, .length = sizeof((u8[]){__VA_ARGS__})}

static u64 *gpr(struct model_guest *g)
{
	return g->cpu->regs.gpr;
}

static void plain(struct guest_insn *insn)
{
	guest_execute(guest_self(), insn);
}

void g_cpuid(u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_CPUID, 0x0f, 0xa2);

	gpr(g)[GPR_RAX] = leaf;
	gpr(g)[GPR_RCX] = subleaf;
	guest_execute(g, &insn);
	*r = (struct cpuid_regs){(u32)gpr(g)[GPR_RAX], (u32)gpr(g)[GPR_RBX], (u32)gpr(g)[GPR_RCX],
	                         (u32)gpr(g)[GPR_RDX]};
}

static u8 rdmsr(u32 msr, u64 *value, bool safe)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_RDMSR, 0x0f, 0x32);

	insn.catch_faults = safe;
	gpr(g)[GPR_RCX] = msr;
	guest_execute(g, &insn);
	*value = gpr(g)[GPR_RDX] << 32 | (u32)gpr(g)[GPR_RAX];
	return insn.fault;
}

u64 g_rdmsr(u32 msr)
{
	u64 value;

	rdmsr(msr, &value, false);
	return value;
}

u8 g_rdmsr_safe(u32 msr, u64 *value)
{
	return rdmsr(msr, value, true);
}

static u8 wrmsr(u32 msr, u64 value, bool safe)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_WRMSR, 0x0f, 0x30);

	insn.catch_faults = safe;
	gpr(g)[GPR_RCX] = msr;
	gpr(g)[GPR_RAX] = (u32)value;
	gpr(g)[GPR_RDX] = value >> 32;
	guest_execute(g, &insn);
	return insn.fault;
}

void g_wrmsr(u32 msr, u64 value)
{
	wrmsr(msr, value, false);
}

u8 g_wrmsr_safe(u32 msr, u64 value)
{
	return wrmsr(msr, value, true);
}

/* MOV between RAX (AL, AX, EAX) and [RBX], of each operand size. */
static void set_mov(struct guest_insn *insn, u8 opcode, u32 size)
{
	u8 *p = insn->bytes;

	if (size == 2)
		*p++ = 0x66;
	if (size == 8)
		*p++ = 0x48;
	*p++ = size == 1 ? opcode & 0xfe : opcode;
	*p++ = 0x03; /* mod 0, RAX, [RBX] */
	insn->length = (u8)(p - insn->bytes);
	insn->size = (u8)size;
}

u64 g_read(u64 gpa, u32 size)
{
	struct model_guest *g = guest_self();
	struct guest_insn insn = {.op = OP_LOAD};

	set_mov(&insn, 0x8b, size);
	gpr(g)[GPR_RAX] = 0;
	gpr(g)[GPR_RBX] = gpa;
	guest_execute(g, &insn);
	return gpr(g)[GPR_RAX];
}

void g_write(u64 gpa, u64 value, u32 size)
{
	struct model_guest *g = guest_self();
	struct guest_insn insn = {.op = OP_STORE};

	set_mov(&insn, 0x89, size);
	gpr(g)[GPR_RAX] = value;
	gpr(g)[GPR_RBX] = gpa;
	guest_execute(g, &insn);
}

u32 g_mmio_read(u64 gpa)
{
	return (u32)g_read(gpa, 4);
}

void g_mmio_write(u64 gpa, u32 value)
{
	g_write(gpa, value, 4);
}

static void set_io(struct guest_insn *insn, u8 opcode, u32 size)
{
	u8 *p = insn->bytes;

	if (size == 2)
		*p++ = 0x66;
	*p++ = size == 1 ? opcode : opcode + 1;
	insn->length = (u8)(p - insn->bytes);
	insn->size = (u8)size;
}

u32 g_in(u16 port, u32 size)
{
	struct model_guest *g = guest_self();
	struct guest_insn insn = {.op = OP_IN};
	u64 mask = size == 4 ? 0xffffffff : (1ull << size * 8) - 1;

	set_io(&insn, 0xec, size);
	gpr(g)[GPR_RDX] = port;
	gpr(g)[GPR_RAX] = 0;
	guest_execute(g, &insn);
	return (u32)(gpr(g)[GPR_RAX] & mask);
}

void g_out(u16 port, u32 value, u32 size)
{
	struct model_guest *g = guest_self();
	struct guest_insn insn = {.op = OP_OUT};

	set_io(&insn, 0xee, size);
	gpr(g)[GPR_RDX] = port;
	gpr(g)[GPR_RAX] = value;
	guest_execute(g, &insn);
}

#define PLAIN_OPERATION(name, op, ...)                                                             \
	void name(void)                                                                            \
	{                                                                                          \
		INSN(insn, op, __VA_ARGS__);                                                       \
		plain(&insn);                                                                      \
	}
PLAIN_OPERATION(g_cli, OP_CLI, 0xfa)
PLAIN_OPERATION(g_sti, OP_STI, 0xfb)
PLAIN_OPERATION(g_hlt, OP_HLT, 0xf4)
PLAIN_OPERATION(g_pause, OP_PAUSE, 0xf3, 0x90)
PLAIN_OPERATION(g_nop, OP_NOP, 0x90)
PLAIN_OPERATION(g_int3, OP_INT3, 0xcc)
PLAIN_OPERATION(g_wbinvd, OP_WBINVD, 0x0f, 0x09)

#define SAFE_OPERATION(name, op, ...)                                                              \
	u8 name(void)                                                                              \
	{                                                                                          \
		INSN(insn, op, __VA_ARGS__);                                                       \
		insn.catch_faults = true;                                                          \
		plain(&insn);                                                                      \
		return insn.fault;                                                                 \
	}
SAFE_OPERATION(g_vmrun_safe, OP_VMRUN, 0x0f, 0x01, 0xd8)
SAFE_OPERATION(g_ud2_safe, OP_UD2, 0x0f, 0x0b)

/* VMMCALL or VMCALL, as the processor has it. */
static struct guest_insn hypercall(void)
{
	struct guest_insn insn = {.op = OP_VMMCALL, .length = sizeof(model_virt()->hypercall)};

	memcpy(insn.bytes, model_virt()->hypercall, insn.length);
	return insn;
}

void g_vmmcall(void)
{
	struct guest_insn insn = hypercall();

	plain(&insn);
}

u8 g_vmmcall_safe(void)
{
	struct guest_insn insn = hypercall();

	insn.catch_faults = true;
	plain(&insn);
	return insn.fault;
}

void g_triple_fault(void)
{
	INSN(insn, OP_TRIPLE_FAULT, 0xcc);

	plain(&insn);
	port_panic("script: went on after a triple fault");
}

u64 g_hypercall(u64 number, u64 a0, u64 a1, u64 a2, u64 a3)
{
	struct model_guest *g = guest_self();
	struct guest_insn insn = hypercall();

	gpr(g)[GPR_RAX] = number;
	gpr(g)[GPR_RBX] = a0;
	gpr(g)[GPR_RCX] = a1;
	gpr(g)[GPR_RDX] = a2;
	gpr(g)[GPR_RSI] = a3;
	guest_execute(g, &insn);
	return gpr(g)[GPR_RAX];
}

u64 g_rdtsc(void)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_RDTSC, 0x0f, 0x31);

	guest_execute(g, &insn);
	return gpr(g)[GPR_RDX] << 32 | (u32)gpr(g)[GPR_RAX];
}

/* MOV RAX, CRn and MOV CRn, RAX; CR8 needs REX.R. */
static void set_cr(struct guest_insn *insn, u8 opcode, u8 reg)
{
	u8 *p = insn->bytes;

	if (reg == 8)
		*p++ = 0x44;
	*p++ = 0x0f;
	*p++ = opcode;
	*p++ = (u8)(0xc0 | (reg & 7) << 3);
	insn->length = (u8)(p - insn->bytes);
	insn->reg = reg;
}

static u64 read_cr(u8 reg)
{
	struct model_guest *g = guest_self();
	struct guest_insn insn = {.op = OP_READ_CR};

	set_cr(&insn, 0x20, reg);
	guest_execute(g, &insn);
	return gpr(g)[GPR_RAX];
}

static void write_cr(u8 reg, u64 value)
{
	struct model_guest *g = guest_self();
	struct guest_insn insn = {.op = OP_WRITE_CR};

	set_cr(&insn, 0x22, reg);
	gpr(g)[GPR_RAX] = value;
	guest_execute(g, &insn);
}

u64 g_read_cr8(void)
{
	return read_cr(8);
}

void g_write_cr8(u64 value)
{
	write_cr(8, value);
}

u64 g_read_cr0(void)
{
	return read_cr(0);
}

void g_write_cr0(u64 value)
{
	write_cr(0, value);
}

void g_write_cr3(u64 value)
{
	write_cr(3, value);
}

void g_write_cr4(u64 value)
{
	write_cr(4, value);
}

u8 g_write_cr4_safe(u64 value)
{
	struct model_guest *g = guest_self();
	struct guest_insn insn = {.op = OP_WRITE_CR, .catch_faults = true};

	set_cr(&insn, 0x22, 4);
	gpr(g)[GPR_RAX] = value;
	guest_execute(g, &insn);
	return insn.fault;
}

u8 g_xsetbv_safe(u32 reg, u64 value)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_XSETBV, 0x0f, 0x01, 0xd1);

	insn.catch_faults = true;
	gpr(g)[GPR_RCX] = reg;
	gpr(g)[GPR_RAX] = (u32)value;
	gpr(g)[GPR_RDX] = value >> 32;
	guest_execute(g, &insn);
	return insn.fault;
}

u64 g_read_fpu(void)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_READ_FPU, 0x0f, 0xae, 0x00);

	guest_execute(g, &insn);
	return gpr(g)[GPR_RAX];
}

void g_write_fpu(u64 value)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_WRITE_FPU, 0x0f, 0xae, 0x08);

	gpr(g)[GPR_RAX] = value;
	guest_execute(g, &insn);
}

/* The top of a stack in the script's own area, behind its handlers' code. */
static u64 stack_top(const struct model_guest *g)
{
	return g->code + GUEST_CODE_SIZE - 64;
}

/* Instructions are laid when they execute. Here is who steps to know what comes next. */
static void announce(const struct guest_insn *next)
{
	struct guest_insn nop = {.op = OP_NOP, .bytes = {0x90}, .length = 1};

	nop.ahead = next->length;
	memcpy(nop.bytes + 1, next->bytes, next->length);
	plain(&nop);
}

u64 g_pushf(void)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_PUSHF, 0x9c);

	announce(&insn);
	gpr(g)[GPR_RSP] = stack_top(g);
	guest_execute(g, &insn);
	return g_read(stack_top(g) - 8, 8);
}

void g_popf(u64 value)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_POPF, 0x9d);

	g_write(stack_top(g), value, 8);
	announce(&insn);
	gpr(g)[GPR_RSP] = stack_top(g);
	guest_execute(g, &insn);
}

u64 g_syscall(void)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_SYSCALL, 0x0f, 0x05);

	announce(&insn);
	guest_execute(g, &insn);
	return gpr(g)[GPR_R11];
}

/* The registers are what they are before who steps looks at them. */
void g_sysret(u64 flags)
{
	struct model_guest *g = guest_self();
	INSN(insn, OP_SYSRET, 0x48, 0x0f, 0x07);

	gpr(g)[GPR_R11] = flags;
	gpr(g)[GPR_RCX] = (g->cpu->regs.rip & PAGE_MASK) + 0x400;
	announce(&insn);
	guest_execute(g, &insn);
}

bool g_interrupts_enabled(void)
{
	return guest_self()->cpu->regs.rflags & RFLAGS_IF;
}

void g_long_mode(void)
{
	INSN(jump, OP_FAR_JUMP, 0xff, 0x2b);

	g_write_cr4(CR4_PAE);
	g_write_cr3(GUEST_TABLES);
	g_wrmsr(MSR_EFER, EFER_LME);
	g_write_cr0(CR0_PE | CR0_NE | CR0_PG | CR0_ET);
	plain(&jump);
	/* The hypervisor's part of it, if it intercepts the writes: the mode is active now. */
	G_CHECK(guest_self()->cpu->regs.efer & EFER_LMA);
}

u64 g_saved_rflags(void)
{
	const struct model_guest *g = guest_self();

	ASSERT(g->depth);
	return g->frame[g->depth - 1].rflags;
}

u32 g_index(void)
{
	return guest_self()->index;
}

u32 g_depth(void)
{
	return guest_self()->depth;
}

void g_fail(const char *file, int line, const char *what)
{
	port_panic("%s:%d: script check failed: %s", file, line, what);
}

void g_check_equal(const char *file, int line, const char *what, u64 a, u64 b)
{
	if (a != b)
		port_panic("%s:%d: script check failed: %s (%llx, %llx)", file, line, what,
		           (unsigned long long)a, (unsigned long long)b);
}
