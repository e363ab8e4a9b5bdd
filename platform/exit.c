/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two exit ports of platform.h, and the ends that other devices bring about. A guest's status
 * is latched in vm->exit_code first and becomes the code of an orderly power-off.
 */
#include "platform/exit.h"

#include "core/vm.h"
#include "platform/devices.h"
#include "platform/platform.h"

static void guest_exit(struct vm *vm, enum ending ending, u32 code)
{
	struct platform *platform = vm->platform;

	uart_flush(&platform->uart);
	vm_end(vm, ending, code);
}

void guest_exit_poweroff(struct vm *vm)
{
	guest_exit(vm, ENDED_POWEROFF, atomic32_read(&vm->exit_code));
}

void guest_exit_reset(struct vm *vm)
{
	guest_exit(vm, ENDED_RESET, 0);
}

static u64 guest_exit_read_status(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                                  __unused u32 size)
{
	struct vm *vm = device;

	return atomic32_read(&vm->exit_code) & 0xff;
}

static void guest_exit_write_status(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                                    __unused u32 size, u64 value)
{
	struct vm *vm = device;

	atomic32_set(&vm->exit_code, value & 0xff);
}

static u64 guest_exit_read_debug(__unused void *device, __unused struct vcpu *vcpu,
                                 __unused u64 offset, __unused u32 size)
{
	return 0;
}

static void guest_exit_write_debug(void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                                   u32 size, u64 value)
{
	u32 written = (u32)(value & (BIT64(8 * size) - 1));

	guest_exit(device, ENDED_DEBUG_EXIT, written << 1 | 1);
}

static const struct bus_ops guest_exit_status_ops = {guest_exit_read_status,
                                                     guest_exit_write_status};
static const struct bus_ops guest_exit_debug_ops = {guest_exit_read_debug, guest_exit_write_debug};

void guest_exit_init(struct vm *vm)
{
	bus_register(&vm->io, PLATFORM_STATUS_PORT, 1, &guest_exit_status_ops, vm);
	bus_register(&vm->io, PLATFORM_DEBUG_EXIT_PORT, 4, &guest_exit_debug_ops, vm);
}
