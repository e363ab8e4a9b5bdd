/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/emulate*.c with guest state at random: registers, segments, paging, page tables, the bytes of
 * the instruction, kind of exit. Over the fakes of tests/unit/emulate_fake.c.
 *
 * Guest RAM is a buffer of its own, so that an access outside is AddressSanitizer's. Besides: RAM
 * that is mapped read-only keeps its bytes, an instruction either completes (RIP advances by its
 * length) or stays with an exception or for the rest of a repetition, at most one exception is
 * queued, and no more registers change than an instruction has.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/emulate_fake.h"

#include "core/decode.h"
#include "core/emulate.h"
#include "core/exit.h"
#include "postern/port.h"

#define JOURNAL 1200

static struct fuzz_input in;

/* ---- what guests write, undone after each input ---- */

static struct {
	u64 at;
	u8 size, old[8];
} journal[JOURNAL];
static u32 journal_count;

static void note(u64 at, u32 size)
{
	FUZZ_CHECK(journal_count < JOURNAL && size <= 8, "too many writes");
	journal[journal_count].at = at;
	journal[journal_count].size = (u8)size;
	memcpy(journal[journal_count++].old, ram + at, size);
}

static void undo(void)
{
	while (journal_count--)
		memcpy(ram + journal[journal_count].at, journal[journal_count].old,
		       journal[journal_count].size);
	journal_count = 0;
}

bool vm_write(struct vm *of, gpa_t gpa, const void *from, u64 len)
{
	void *to = vm_memory(of, gpa, len);

	if (!to)
		return false;
	FUZZ_CHECK(gpa.v + len <= ROM, "a write of read-only memory at %llx",
	           (unsigned long long)gpa.v);
	note(gpa.v, (u32)len);
	memcpy(to, from, len);
	return true;
}

/* ---- the guest ---- */

/* Addresses around which something begins or ends. */
static u64 some_address(void)
{
	static const u64 places[] = {
	        CODE,
	        DATA,
	        ROM,
	        DEVICE,
	        APIC_PAGE,
	        HOLE,
	        LINEAR_DEVICE,
	        LINEAR_RAM,
	        LINEAR_APIC,
	        LINEAR_HOLE,
	        LINEAR_ABSENT,
	        LINEAR_CODE,
	        LINEAR(8),
	        LINEAR_READ_ONLY,
	        LINEAR_SUPERVISOR,
	        RAM_SIZE,
	        0,
	        1ull << 47,
	        ~0ull << 47,
	        1ull << 32,
	};
	u8 choice = fuzz_u8(&in);

	if (choice & 0x80)
		return choice & 0x40 ? fuzz_u64(&in) : choice & 0x3f;
	return places[choice % ARRAY_SIZE(places)] + (u64)(s64)(signed char)fuzz_u8(&in);
}

static void random_segments(void)
{
	for (u32 choice = fuzz_u8(&in); choice; choice &= choice - 1) {
		struct x86_segment *s = &state.seg[(u32)__builtin_ctz(choice) % (SEG_GS + 1)];
		u8 what = fuzz_u8(&in);

		if (what & 1)
			s->base = some_address();
		if (what & 2)
			s->limit = what & 4 ? fuzz_u16(&in) : fuzz_u32(&in);
		if (what & 8)
			s->attr = (u16)fuzz_u16(&in);
	}
}

static void random_tables(void)
{
	for (u32 n = fuzz_u8(&in) % 4; n; n--) {
		u64 at = 0x1000 + (u64)(fuzz_u8(&in) % 4) * 0x1000 + fuzz_u8(&in) % 16 * 8;
		u64 value = some_address();

		value = (value & ~0xfffull) | fuzz_u16(&in);
		note(at, 8);
		memcpy(ram + at, &value, 8);
	}
}

static void random_mode(void)
{
	u8 choice = fuzz_u8(&in);

	memset(&state, 0, sizeof(state));
	switch (choice & 7) {
	case 0:
		use_protected_mode(true);
		break;
	case 1:
		use_protected_mode(false);
		break;
	case 2: /* real mode */
		use_protected_mode(false);
		state.cr0 = 0;
		break;
	case 3: /* 32-bit code in long mode */
		use_protected_mode(true);
		state.cr0 = CR0_PE | CR0_PG | CR0_WP;
		state.cr4 = CR4_PAE;
		state.efer = EFER_LME | EFER_LMA | EFER_NXE;
		state.cr3 = 0x1000;
		break;
	case 4: /* PAE or 32-bit paging, by whatever is there */
		use_protected_mode(true);
		state.cr0 = CR0_PE | CR0_PG;
		state.cr4 = choice & 0x80 ? CR4_PAE : CR4_PSE;
		state.cr3 = choice & 0x40 ? 0x2000 : 0x4000;
		break;
	default:
		use_long_mode();
		break;
	}
	state.cpl = choice & 8 ? 3 : 0;
	if (choice & 0x10)
		random_segments();
	if (choice & 0x20)
		random_tables();
	if (choice & 0x40)
		state.cr3 ^= (u64)fuzz_u8(&in) << 5;
}

static void random_registers(void)
{
	static const u8 often[] = {GPR_RDI, GPR_RSI, GPR_RCX, GPR_RAX, GPR_RBX, GPR_RBP};
	u8 flags = fuzz_u8(&in);

	memset(&vcpu->regs, 0, sizeof(vcpu->regs));
	for (u32 i = 0; i < GPR_COUNT; i++)
		vcpu->regs.gpr[i] = DATA + 0x100 * i;
	for (u32 i = 0; i < 3; i++)
		vcpu->regs.gpr[often[(fuzz_u8(&in)) % ARRAY_SIZE(often)]] = some_address();
	vcpu->regs.rflags = RFLAGS_RES1 | (flags & 1 ? RFLAGS_DF : 0) |
	                    (flags & 2 ? RFLAGS_TF : 0) | (flags & 4 ? RFLAGS_VM : 0);
	vcpu->regs.rip = flags & 8 ? some_address() : CODE;
}

/* A prefix, or none, and an opcode of those that core/decode.h lists. */
static u32 listed_opcode(u8 *code)
{
	static const u8 prefixes[] = {0, 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x41};
	static const u16 opcodes[] = {
	        /* 100h: behind 0Fh */
	        0x00,  0x01,  0x02,  0x03,  0x08,  0x09,  0x0a,  0x0b,  0x20,  0x21,  0x22,
	        0x23,  0x28,  0x29,  0x2a,  0x2b,  0x30,  0x31,  0x32,  0x33,  0x38,  0x39,
	        0x3a,  0x3b,  0x63,  0x6c,  0x6d,  0x6e,  0x6f,  0x80,  0x81,  0x83,  0x84,
	        0x85,  0x86,  0x87,  0x88,  0x89,  0x8a,  0x8b,  0xa0,  0xa1,  0xa2,  0xa3,
	        0xa4,  0xa5,  0xaa,  0xab,  0xc6,  0xc7,  0xf4,  0xf6,  0xf7,  0xec,  0xed,
	        0xcf,  0x90,  0xe4,  0xe5,  0xee,  0x101, 0x108, 0x109, 0x120, 0x122, 0x123,
	        0x130, 0x132, 0x1a2, 0x1b0, 0x1b1, 0x1b6, 0x1b7, 0x1be, 0x1bf,
	};
	u8 prefix = prefixes[fuzz_u8(&in) % ARRAY_SIZE(prefixes)];
	u16 opcode = opcodes[fuzz_u8(&in) % ARRAY_SIZE(opcodes)];
	u32 count = 0;

	if (prefix)
		code[count++] = prefix;
	if (opcode & 0x100)
		code[count++] = 0x0f;
	code[count++] = (u8)opcode;
	return count;
}

/* The instruction: where RIP is, or as the processor delivers it. */
static void random_code(void)
{
	u8 count = fuzz_u8(&in);
	u32 i = 0;
	u64 at = vcpu->regs.rip < RAM_SIZE - 16 ? vcpu->regs.rip : CODE;

	if (vcpu->regs.rip - LINEAR_CODE < PAGE_SIZE - 16)
		at = LINEAR_CODE_GPA + (vcpu->regs.rip - LINEAR_CODE);
	delivered_count = 0;
	note(at, 8);
	note(at + 8, 8);
	memset(ram + at, 0, 15);
	if (count & 0x80)
		i = listed_opcode(ram + at);
	for (; i < count % 16u; i++)
		ram[at + i] = fuzz_u8(&in);
	if (!(count & 0x40))
		return;
	delivered_count = count % 16u;
	memcpy(delivered, ram + at, delivered_count);
}

/* ---- the exit ---- */

static void exit_string_io(u8 choice)
{
	struct exit_io *io = &vcpu->exit.io;

	io->port = 0x1f0 + (choice & 7);
	io->size = (u8)fuzz_size((choice >> 3) % 3);
	io->in = choice & 0x20;
	io->string = true;
	if (choice & 0x40) { /* as a processor with all assists tells it */
		u8 more = fuzz_u8(&in);

		io->rep = more & 1;
		io->address_size = (u8)fuzz_size(more >> 1 & 3);
		if (io->address_size == 1)
			io->address_size = 0;
		io->segment = more >> 3 & 7;
		vcpu->exit.next_rip = vcpu->regs.rip + (more >> 6);
	}
	emulate_string_io(vcpu);
}

static void handle_exit(void)
{
	u8 choice = fuzz_u8(&in);

	vcpu->exit = (struct exit_info){0};
	if (choice < 0x80) {
		vcpu->exit.memory.gpa = GPA(DEVICE);
		vcpu->exit.memory.fetch = choice & 1;
		emulate_memory(vcpu);
	} else if (choice < 0xc0) {
		exit_string_io(fuzz_u8(&in));
	} else if (choice < 0xe0) {
		emulate_skip(vcpu, choice & 3);
	} else {
		vcpu->exit.cr.reg = choice & 15;
		vcpu->exit.cr.write = true;
		emulate_mov_to_cr(vcpu);
	}
}

/* ---- what holds after it ---- */

static void check(const struct vcpu_regs *before)
{
	const struct vcpu_regs *after = &vcpu->regs;
	u64 advanced = after->rip - before->rip;
	bool stepped = injected.count && injected.vector == VECTOR_DB;
	u32 changed = 0;

	/* EIP wraps. */
	if (emulate_code_mode(vcpu) != 8)
		advanced &= 0xffffffff;
	for (u32 i = 0; i < GPR_COUNT; i++)
		changed += after->gpr[i] != before->gpr[i];
	FUZZ_CHECK(injected.count <= 1, "%u exceptions", injected.count);
	FUZZ_CHECK(advanced <= INSN_MAX_LENGTH, "RIP moved by %llx", (unsigned long long)advanced);
	FUZZ_CHECK(!advanced || !injected.count || stepped, "an exception, and RIP moved");
	FUZZ_CHECK(!stepped || before->rflags & RFLAGS_TF, "a single step without TF");
	FUZZ_CHECK(changed <= 3, "%u registers have changed", changed);
	FUZZ_CHECK(!((after->rflags ^ before->rflags) & ~0x108d5ull), "flags %llx to %llx",
	           (unsigned long long)before->rflags, (unsigned long long)after->rflags);
	FUZZ_CHECK(port.out_count <= sizeof(port.out), "more than a bounded repetition");
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static bool made;
	struct vcpu_regs before;

	if (!made)
		setup(NULL);
	made = true;
	in = (struct fuzz_input){data, data + size};
	memset(&injected, 0, sizeof(injected));
	memset(&port, 0, sizeof(port));
	memset(device, 0, sizeof(device));
	vcpu->fetch_hint = (struct vcpu_fetch_hint){0};
	random_mode();
	random_registers();
	/* Twice: the second finds what the first remembers of the page. */
	for (u32 n = 0; n < 2 && (n == 0 || fuzz_left(&in)); n++) {
		random_code();
		before = vcpu->regs;
		injected.count = port.out_count = 0;
		handle_exit();
		check(&before);
	}
	undo();
	return 0;
}
