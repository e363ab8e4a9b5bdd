/* SPDX-License-Identifier: BSD-2-Clause */
/* See hv_guest.h. */
#include "tests/unit/hv_guest.h"

#include "core/emulate.h"
#include "irq/inhibit.h"

struct hv_fake hv_fake;

static const struct backend backend = {.hypercall = {0x0f, 0x01, 0xd9}};

void inhibit_set(struct vm *vm, enum inhibit_reason reason)
{
	(void)vm;
	if (!(hv_fake.standing & BIT(reason)))
		hv_fake.sets++;
	hv_fake.standing |= BIT(reason);
}

void inhibit_clear(struct vm *vm, enum inhibit_reason reason)
{
	(void)vm;
	if (hv_fake.standing & BIT(reason))
		hv_fake.clears++;
	hv_fake.standing &= ~BIT(reason);
}

void vm_end(struct vm *vm, enum ending ending, u32 code)
{
	(void)vm;
	(void)code;
	hv_fake.ended = ending;
}

void *vm_memory(struct vm *vm, gpa_t gpa, u64 len)
{
	u64 offset = gpa.v - HV_RAM;

	(void)vm;
	return offset < HV_RAM_SIZE && len <= HV_RAM_SIZE - offset ? hv_fake.ram + offset : NULL;
}

bool vm_read(struct vm *vm, gpa_t gpa, void *to, u64 len)
{
	const void *from = vm_memory(vm, gpa, len);

	if (from)
		memcpy(to, from, len);
	return from != NULL;
}

u32 emulate_code_mode(struct vcpu *vcpu)
{
	(void)vcpu;
	return hv_fake.code_mode;
}

void hv_fake_create(u32 vcpus)
{
	memset(&hv_fake, 0, sizeof(hv_fake));
	hv_fake.code_mode = 8;
	fake_create(vcpus);
	fake.machine->backend = &backend;
	fake.vm->config.hyperv = true;
	/* It has been running for a while before the VM was created. */
	fake.vm->tsc_base = (u64)0 - fake.tsc;
	hv_create(fake.vm);
	for (u32 i = 0; i < vcpus; i++) {
		cpu(i)->tsc_offset = fake.vm->tsc_base;
		assert_true(hv_create_vcpu(cpu(i)));
		hv_reset(cpu(i));
	}
	enable_all();
}

void hv_fake_destroy(void)
{
	for (u32 i = 0; i < fake.vm->vcpu_count; i++)
		hv_destroy_vcpu(cpu(i));
	fake_destroy();
}
