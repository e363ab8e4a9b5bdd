/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the power-on self-test of a PC leaves behind. Intel MultiProcessor Specification, "Virtual
 * Wire Mode": LINT0 of the boot processor's local APIC takes ExtINT, LINT1 NMI. IBM PC AT Technical
 * Reference, "ROM BIOS": vectors 08h-0Fh and 70h-77h for the 8259 pair, counter 0 of the 8254 at its
 * longest period, the tick count at 40:6C. Vectors that nobody owns return at once.
 *
 * The chips are programmed as firmware would: by their ports and registers.
 */
#include "platform/post.h"

#include "core/vm.h"
#include "platform/irqchip.h"
#include "platform/layout.h"

#define VECTORS       256
#define VECTOR_MASTER 0x08
#define VECTOR_SLAVE  0x70

#define SEGMENT (LAYOUT_POST_CODE >> 4)

/* Interrupt handlers, 16-bit code. */
static const u8 handler_none[] = {
        0xcf, /* iret */
};
static const u8 handler_master[] = {
        0x50,       /* push ax */
        0xb0, 0x20, /* mov al, 20h: non-specific EOI */
        0xe6, 0x20, /* out 20h, al */
        0x58,       /* pop ax */
        0xcf,       /* iret */
};
static const u8 handler_slave[] = {
        0x50,       /* push ax */
        0xb0, 0x20, /* mov al, 20h */
        0xe6, 0xa0, /* out a0h, al */
        0xe6, 0x20, /* out 20h, al */
        0x58,       /* pop ax */
        0xcf,       /* iret */
};
static const u8 handler_tick[] = {
        0x50,                         /* push ax */
        0x1e,                         /* push ds */
        0x31, 0xc0,                   /* xor ax, ax */
        0x8e, 0xd8,                   /* mov ds, ax */
        0x66, 0xff, 0x06, 0x6c, 0x04, /* inc dword [46ch] */
        0x1f,                         /* pop ds */
        0xb0, 0x20,                   /* mov al, 20h */
        0xe6, 0x20,                   /* out 20h, al */
        0x58,                         /* pop ax */
        0xcf,                         /* iret */
};

/* Offsets of the handlers in their segment. */
#define AT_NONE   0x00
#define AT_MASTER 0x10
#define AT_SLAVE  0x20
#define AT_TICK   0x30

static bool put_code(struct vm *vm, u32 offset, const u8 *code, u32 size)
{
	return vm_write(vm, GPA(LAYOUT_POST_CODE + offset), code, size);
}

static u32 handler_of(u32 vector)
{
	if (vector == VECTOR_MASTER)
		return AT_TICK;
	if (vector - VECTOR_MASTER < 8)
		return AT_MASTER;
	return vector - VECTOR_SLAVE < 8 ? AT_SLAVE : AT_NONE;
}

static bool write_vectors(struct vm *vm)
{
	u32 table[VECTORS];

	for (u32 i = 0; i < VECTORS; i++)
		table[i] = (u32)SEGMENT << 16 | handler_of(i);
	return put_code(vm, AT_NONE, handler_none, sizeof(handler_none)) &&
	       put_code(vm, AT_MASTER, handler_master, sizeof(handler_master)) &&
	       put_code(vm, AT_SLAVE, handler_slave, sizeof(handler_slave)) &&
	       put_code(vm, AT_TICK, handler_tick, sizeof(handler_tick)) &&
	       vm_write(vm, GPA(0), table, sizeof(table));
}

static void program_chips(struct vm *vm)
{
	static const struct {
		u16 port;
		u8 value;
	} writes[] = {
	        /* 8259: ICW1 to ICW4, then the masks: the tick and the cascade. */
	        {0x20, 0x11},
	        {0x21, VECTOR_MASTER},
	        {0x21, 0x04},
	        {0x21, 0x01},
	        {0xa0, 0x11},
	        {0xa1, VECTOR_SLAVE},
	        {0xa1, 0x02},
	        {0xa1, 0x01},
	        {0x21, 0xfa},
	        {0xa1, 0xff},
	        /* 8254: counter 0, both bytes, mode 2, 65536. */
	        {0x43, 0x34},
	        {0x40, 0x00},
	        {0x40, 0x00},
	};

	for (u32 i = 0; i < ARRAY_SIZE(writes); i++)
		bus_write(&vm->io, vm->vcpu[0], writes[i].port, 1, writes[i].value);
}

bool post_leave_state(struct vm *vm)
{
	if (!write_vectors(vm))
		return false;
	program_chips(vm);
	irqchip_virtual_wire(vm);
	irqchip_hand_over(vm);
	return true;
}
