/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An 8042 that answers for itself and reports both of its device ports as dead, so that a driver
 * that probes it finishes at once. What guests really want of it is its output line that resets the
 * processor; port 92h has another such line. A20 is always open, whatever they write.
 */
#include "platform/kbd.h"

#include "core/vm.h"
#include "platform/exit.h"

#define KBD_DATA   0x60
#define KBD_STATUS 0x64
#define KBD_PORT_A 0x92

#define STATUS_OUTPUT_FULL BIT(0)
#define STATUS_SELF_TEST   BIT(2) /* passed */
#define STATUS_COMMAND     BIT(3) /* the last byte went to 64h */
#define STATUS_UNLOCKED    BIT(4)

#define CMD_READ_CONFIG  0x20
#define CMD_WRITE_CONFIG 0x60
#define CMD_AUX_OFF      0xa7
#define CMD_AUX_ON       0xa8
#define CMD_TEST_AUX     0xa9
#define CMD_SELF_TEST    0xaa
#define CMD_TEST_KBD     0xab
#define CMD_KBD_OFF      0xad
#define CMD_KBD_ON       0xae
#define CMD_READ_OUTPUT  0xd0
#define CMD_WRITE_OUTPUT 0xd1

#define CONFIG_KBD_OFF  0x10 /* its clock is held low */
#define CONFIG_AUX_OFF  0x20
#define CONFIG_POWER_ON (CONFIG_KBD_OFF | CONFIG_AUX_OFF)
#define SELF_TEST_OK    0x55
#define TEST_CLOCK_LOW  0x01   /* result of a port's test: nothing answers */
#define OUTPUT_NO_RESET BIT(0) /* low: the processor is held in reset */
#define OUTPUT_A20      BIT(1)
#define PORT_A_RESET    BIT(0)
#define PORT_A_A20      BIT(1)

static void kbd_answer(struct kbd *kbd, u8 byte)
{
	kbd->output = byte;
	kbd->full = true;
}

/* Returns true if the command resets the machine. */
static bool kbd_command(struct kbd *kbd, u8 command)
{
	kbd->command = 0;
	switch (command) {
	case CMD_READ_CONFIG:
		kbd_answer(kbd, kbd->config);
		break;
	case CMD_SELF_TEST:
		kbd->config = CONFIG_POWER_ON;
		kbd_answer(kbd, SELF_TEST_OK);
		break;
	case CMD_TEST_KBD:
	case CMD_TEST_AUX:
		kbd_answer(kbd, TEST_CLOCK_LOW);
		break;
	case CMD_AUX_OFF:
		kbd->config |= CONFIG_AUX_OFF;
		break;
	case CMD_AUX_ON:
		kbd->config &= (u8)~CONFIG_AUX_OFF;
		break;
	case CMD_KBD_OFF:
		kbd->config |= CONFIG_KBD_OFF;
		break;
	case CMD_KBD_ON:
		kbd->config &= (u8)~CONFIG_KBD_OFF;
		break;
	case CMD_READ_OUTPUT:
		kbd_answer(kbd, OUTPUT_NO_RESET | OUTPUT_A20);
		break;
	case CMD_WRITE_CONFIG:
	case CMD_WRITE_OUTPUT:
		kbd->command = command;
		break;
	default:
		/* F0h and up pulse the output lines whose bit is 0; bit 0 is the reset line. */
		return command >= 0xf0 && !(command & OUTPUT_NO_RESET);
	}
	return false;
}

/* A byte to port 60h: a command's parameter, or for the keyboard, where nobody is. */
static bool kbd_data(struct kbd *kbd, u8 value)
{
	u8 command = kbd->command;

	kbd->command = 0;
	if (command == CMD_WRITE_CONFIG)
		kbd->config = value;
	return command == CMD_WRITE_OUTPUT && !(value & OUTPUT_NO_RESET);
}

static u64 kbd_read_data(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                         __unused u32 size)
{
	struct kbd *kbd = device;
	u8 value;

	spin_lock(&kbd->lock);
	value = kbd->output;
	kbd->full = false;
	spin_unlock(&kbd->lock);
	return value;
}

static void kbd_write_data(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                           __unused u32 size, u64 value)
{
	struct kbd *kbd = device;
	bool reset;

	spin_lock(&kbd->lock);
	reset = kbd_data(kbd, (u8)value);
	spin_unlock(&kbd->lock);
	if (reset)
		guest_exit_reset(kbd->vm);
}

static u64 kbd_read_status(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                           __unused u32 size)
{
	struct kbd *kbd = device;
	u8 status = STATUS_SELF_TEST | STATUS_UNLOCKED;

	spin_lock(&kbd->lock);
	if (kbd->full)
		status |= STATUS_OUTPUT_FULL;
	if (kbd->command)
		status |= STATUS_COMMAND;
	spin_unlock(&kbd->lock);
	return status;
}

static void kbd_write_command(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                              __unused u32 size, u64 value)
{
	struct kbd *kbd = device;
	bool reset;

	spin_lock(&kbd->lock);
	reset = kbd_command(kbd, (u8)value);
	spin_unlock(&kbd->lock);
	if (reset)
		guest_exit_reset(kbd->vm);
}

static u64 kbd_read_port_a(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                           __unused u32 size)
{
	struct kbd *kbd = device;
	u8 value;

	spin_lock(&kbd->lock);
	value = kbd->port_a;
	spin_unlock(&kbd->lock);
	return value;
}

static void kbd_write_port_a(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                             __unused u32 size, u64 value)
{
	struct kbd *kbd = device;

	spin_lock(&kbd->lock);
	kbd->port_a = (u8)value & ~PORT_A_RESET;
	spin_unlock(&kbd->lock);
	if (value & PORT_A_RESET)
		guest_exit_reset(kbd->vm);
}

static const struct bus_ops kbd_data_ops = {kbd_read_data, kbd_write_data};
static const struct bus_ops kbd_status_ops = {kbd_read_status, kbd_write_command};
static const struct bus_ops kbd_port_a_ops = {kbd_read_port_a, kbd_write_port_a};

void kbd_init(struct kbd *kbd, struct vm *vm)
{
	kbd->vm = vm;
	kbd->config = CONFIG_POWER_ON;
	kbd->port_a = PORT_A_A20;
	bus_register(&vm->io, KBD_DATA, 1, &kbd_data_ops, kbd);
	bus_register(&vm->io, KBD_STATUS, 1, &kbd_status_ops, kbd);
	bus_register(&vm->io, KBD_PORT_A, 1, &kbd_port_a_ops, kbd);
}
