/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ISA test device of QEMU's pc machine, as flat test kernels use it: they raise interrupt lines
 * with it, read back what they wrote, have device memory to access, and have a page's mapping
 * taken away, so that the next access of it faults in the nested tables.
 *
 * RAM is mapped when a VM is created and stays so; what "unmapped and mapped again" leaves behind
 * is that no processor has the old translation: a flush.
 */
#include "platform/testdev.h"

#include "core/vm.h"
#include "platform/bytes.h"
#include "postern/backend.h"
#include "postern/port.h"

static u8 testdev_read_echo8(void *device, u32 offset)
{
	struct testdev *testdev = device;

	return testdev->echo[offset];
}

static void testdev_write_echo8(void *device, u32 offset, u8 value)
{
	struct testdev *testdev = device;

	testdev->echo[offset] = value;
}

static u8 testdev_read_memory8(void *device, u32 offset)
{
	struct testdev *testdev = device;

	return testdev->memory[offset];
}

static void testdev_write_memory8(void *device, u32 offset, u8 value)
{
	struct testdev *testdev = device;

	testdev->memory[offset] = value;
}

static u64 testdev_read_echo(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct testdev *testdev = device;
	u64 value;

	spin_lock(&testdev->lock);
	value = bytes_read(testdev_read_echo8, device, offset, size);
	spin_unlock(&testdev->lock);
	return value;
}

static void testdev_write_echo(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size,
                               u64 value)
{
	struct testdev *testdev = device;

	spin_lock(&testdev->lock);
	bytes_write(testdev_write_echo8, device, offset, size, value);
	spin_unlock(&testdev->lock);
}

static u64 testdev_read_memory(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct testdev *testdev = device;
	u64 value;

	spin_lock(&testdev->lock);
	value = bytes_read(testdev_read_memory8, device, offset, size);
	spin_unlock(&testdev->lock);
	return value;
}

static void testdev_write_memory(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size,
                                 u64 value)
{
	struct testdev *testdev = device;

	spin_lock(&testdev->lock);
	bytes_write(testdev_write_memory8, device, offset, size, value);
	spin_unlock(&testdev->lock);
}

static u64 testdev_read_flush(__unused void *device, __unused struct vcpu *vcpu,
                              __unused u64 offset, __unused u32 size)
{
	return 0;
}

static void testdev_write_flush(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size,
                                __unused u64 value)
{
	struct testdev *testdev = device;

	if (offset == 0 && size == 4)
		vcpu_request_all(testdev->vm, VCPU_REQUEST_FLUSH);
}

static u64 testdev_read_lines(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct testdev *testdev = device;
	u64 value = 0;

	spin_lock(&testdev->lock);
	if (size == 1)
		value = testdev->line_state >> offset & 1;
	spin_unlock(&testdev->lock);
	return value;
}

/* The lock is held across irq_set_line(), which keeps the changes of a line in order. */
static void testdev_write_lines(void *device, __unused struct vcpu *vcpu, u64 offset,
                                __unused u32 size, u64 value)
{
	struct testdev *testdev = device;
	u32 bit = BIT((u32)offset);

	spin_lock(&testdev->lock);
	testdev->line_state = value & 1 ? testdev->line_state | bit : testdev->line_state & ~bit;
	irq_set_line(testdev->vm, (u32)offset, value & 1);
	spin_unlock(&testdev->lock);
}

static const struct bus_ops testdev_echo_ops = {testdev_read_echo, testdev_write_echo};
static const struct bus_ops testdev_memory_ops = {testdev_read_memory, testdev_write_memory};
static const struct bus_ops testdev_flush_ops = {testdev_read_flush, testdev_write_flush};
static const struct bus_ops testdev_line_ops = {testdev_read_lines, testdev_write_lines};

bool testdev_init(struct testdev *testdev, struct vm *vm)
{
	testdev->memory = port_alloc(TESTDEV_MEMORY_SIZE, PAGE_SIZE);
	if (!testdev->memory)
		return false;
	testdev->vm = vm;
	bus_register(&vm->io, TESTDEV_ECHO_PORT, sizeof(testdev->echo), &testdev_echo_ops, testdev);
	bus_register(&vm->io, TESTDEV_FLUSH_PORT, 4, &testdev_flush_ops, testdev);
	bus_register(&vm->io, TESTDEV_LINES_PORT, TESTDEV_LINES, &testdev_line_ops, testdev);
	bus_register(&vm->memory, TESTDEV_MEMORY, TESTDEV_MEMORY_SIZE, &testdev_memory_ops,
	             testdev);
	return true;
}

void testdev_destroy(struct testdev *testdev)
{
	if (testdev->memory)
		port_free(testdev->memory, TESTDEV_MEMORY_SIZE);
	testdev->memory = NULL;
}
