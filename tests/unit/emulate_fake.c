/* SPDX-License-Identifier: BSD-2-Clause */
/* See emulate_fake.h. */
#include "tests/unit/emulate_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cr.h"
#include "postern/backend.h"
#include "postern/port.h"

struct backend backend_table = {.mmu_format = &mmu_format_long_mode};

u8 *ram;
struct vm *vm;
struct vcpu *vcpu;
struct vcpu_state state;
u8 device[0x1000];
u8 delivered[16];
u32 delivered_count;
struct fake_injected injected;
struct fake_apic apic;
struct fake_port port;

/* ---- what surrounds the emulator ---- */

void port_panic(const char *fmt, ...)
{
	fail_msg("panic: %s", fmt);
	abort();
}

void *port_alloc(u64 size, u64 align)
{
	void *p = aligned_alloc(align, size);

	memset(p, 0, size);
	return p;
}

void port_free(void *p, u64 size)
{
	(void)size;
	free(p);
}

void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)hpa.v;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA(p);
}

void *vm_memory(struct vm *of, gpa_t gpa, u64 len)
{
	assert_ptr_equal(of, vm);
	return gpa.v < RAM_SIZE && len <= RAM_SIZE - gpa.v ? ram + gpa.v : NULL;
}

bool vm_read(struct vm *of, gpa_t gpa, void *to, u64 len)
{
	void *from = vm_memory(of, gpa, len);

	if (from)
		memcpy(to, from, len);
	return from;
}

/* Weak: the fuzzer looks at what is written. */
__attribute__((weak)) bool vm_write(struct vm *of, gpa_t gpa, const void *from, u64 len)
{
	void *to = vm_memory(of, gpa, len);

	if (to)
		memcpy(to, from, len);
	return to;
}

void vcpu_inject_exception(struct vcpu *to, u8 vector, bool has_error, u32 error)
{
	assert_ptr_equal(to, vcpu);
	injected.count++;
	injected.vector = vector;
	injected.error = has_error ? error : 0xffffffff;
}

void vcpu_inject_gp(struct vcpu *to)
{
	vcpu_inject_exception(to, VECTOR_GP, true, 0);
}

void vcpu_inject_ud(struct vcpu *to)
{
	vcpu_inject_exception(to, VECTOR_UD, false, 0);
}

bool lapic_xapic_base(struct vcpu *of, gpa_t *base)
{
	assert_ptr_equal(of, vcpu);
	*base = GPA(APIC_PAGE);
	return true;
}

u64 lapic_mmio_read(struct vcpu *of, u32 offset, u32 size)
{
	assert_ptr_equal(of, vcpu);
	apic.reads++;
	apic.offset = offset;
	apic.size = size;
	return 0x1122334455667788ull;
}

void lapic_mmio_write(struct vcpu *of, u32 offset, u32 size, u64 value)
{
	assert_ptr_equal(of, vcpu);
	apic.writes++;
	apic.offset = offset;
	apic.size = size;
	apic.value = value;
}

bool cr_write(struct vcpu *of, u32 reg, u64 value)
{
	assert_ptr_equal(of, vcpu);
	assert_int_equal(reg, vcpu->exit.cr.reg);
	if (value > 0xf)
		return false;
	apic.value = value;
	vcpu->regs.cr8 = value;
	return true;
}

static void get_state(struct vcpu *of, struct vcpu_state *to)
{
	assert_ptr_equal(of, vcpu);
	*to = state;
}

static void set_state(struct vcpu *of, const struct vcpu_state *from)
{
	assert_ptr_equal(of, vcpu);
	state = *from;
}

static u32 insn_bytes(struct vcpu *of, const u8 **bytes)
{
	assert_ptr_equal(of, vcpu);
	*bytes = delivered;
	return delivered_count;
}

static u64 device_read(void *opaque, struct vcpu *of, u64 offset, u32 size)
{
	u64 value = 0;

	assert_ptr_equal(of, vcpu);
	memcpy(&value, (u8 *)opaque + offset, size);
	return value;
}

static void device_write(void *opaque, struct vcpu *of, u64 offset, u32 size, u64 value)
{
	assert_ptr_equal(of, vcpu);
	memcpy((u8 *)opaque + offset, &value, size);
}

static u64 port_read(void *opaque __unused, struct vcpu *of __unused, u64 offset __unused,
                     u32 size __unused)
{
	return 0x01010101u * ++port.in_count;
}

static void port_write(void *opaque __unused, struct vcpu *of __unused, u64 offset __unused,
                       u32 size, u64 value)
{
	memcpy(port.out + port.out_count, &value, size);
	port.out_count += size;
}

static const struct bus_ops device_ops = {device_read, device_write};
static const struct bus_ops port_ops = {port_read, port_write};

static void set64(u64 gpa, u64 value)
{
	memcpy(ram + gpa, &value, 8);
}

void build_tables(void)
{
	static const u64 frames[] = {
	        DEVICE | FULL,
	        LINEAR_RAM_GPA | FULL,
	        APIC_PAGE | FULL,
	        HOLE | FULL,
	        0,
	        DEVICE | PTE_P | PTE_U,
	        DEVICE | PTE_P | PTE_W,
	        LINEAR_CODE_GPA | FULL,
	};
	u32 i;

	set64(0x1000, 0x2000 | FULL);
	set64(0x2000, 0x3000 | FULL);
	set64(0x3000, 0 | FULL | PTE_PS);
	set64(0x3008, 0x4000 | FULL);
	for (i = 0; i < ARRAY_SIZE(frames); i++)
		set64(0x4000 + 8 * i, frames[i]);
}

void use_long_mode(void)
{
	state.cr0 = CR0_PE | CR0_PG | CR0_WP;
	state.cr4 = CR4_PAE;
	state.efer = EFER_LME | EFER_LMA | EFER_NXE;
	state.cr3 = 0x1000;
	state.seg[SEG_CS].attr = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_L | 0xb;
}

void use_protected_mode(bool wide)
{
	u32 i;

	state.cr0 = CR0_PE;
	state.cr4 = 0;
	state.efer = 0;
	for (i = 0; i <= SEG_GS; i++) {
		state.seg[i].attr = SEG_ATTR_P | SEG_ATTR_S | (i == SEG_CS ? 0xb : 3) |
		                    (wide ? SEG_ATTR_DB : 0);
		state.seg[i].limit = wide ? 0xffffffff : 0xffff;
		state.seg[i].base = 0;
	}
}

int setup(void **unused)
{
	(void)unused;
	backend_table.get_state = get_state;
	backend_table.set_state = set_state;
	backend_table.insn_bytes = insn_bytes;
	ram = port_alloc(RAM_SIZE, 4096);
	vm = port_alloc(ALIGN_UP(sizeof(*vm), 64), 64);
	vcpu = port_alloc(ALIGN_UP(sizeof(*vcpu), 64), 64);
	memset(&state, 0, sizeof(state));
	memset(&injected, 0, sizeof(injected));
	memset(&apic, 0, sizeof(apic));
	memset(&port, 0, sizeof(port));
	memset(device, 0, sizeof(device));
	delivered_count = 0;
	vcpu->vm = vm;
	vcpu->regs.rip = CODE;
	vcpu->regs.rflags = RFLAGS_RES1;
	vm->config.memory = 16 << 20;
	assert_true(mmu_create(vm));
	assert_true(mmu_map(vm, GPA(0), HPA(0x1000000), ROM, MMU_READ | MMU_WRITE | MMU_EXEC));
	assert_true(mmu_map(vm, GPA(ROM), HPA(0x2000000), RAM_SIZE - ROM, MMU_READ | MMU_EXEC));
	bus_register(&vm->memory, DEVICE, sizeof(device), &device_ops, device);
	bus_register(&vm->io, 0x1f0, 8, &port_ops, NULL);
	build_tables();
	use_long_mode();
	return 0;
}

int teardown(void **unused)
{
	(void)unused;
	mmu_destroy(vm);
	free(vcpu);
	free(vm);
	free(ram);
	return 0;
}

void put_code(const u8 *bytes, u32 count)
{
	memcpy(ram + CODE, bytes, count);
	vcpu->regs.rip = CODE;
	injected.count = 0;
}

u64 counter(enum counter_id id)
{
	return vcpu->account.counters[id];
}

u64 *gpr(enum x86_gpr reg)
{
	return &vcpu->regs.gpr[reg];
}

void expect_done(u32 length)
{
	assert_int_equal(injected.count, 0);
	assert_int_equal(vcpu->regs.rip, CODE + length);
}

void expect_exception(u8 vector, u32 error)
{
	assert_int_equal(injected.count, 1);
	assert_int_equal(injected.vector, vector);
	assert_int_equal(injected.error, error);
	assert_int_equal(vcpu->regs.rip, CODE);
}

static u64 random_state = 0x853c49e6748fea9bull;

u64 next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

u32 vcpu_request_all(struct vm *which, u32 requests)
{
	(void)which;
	(void)requests;
	return 0;
}
