/* SPDX-License-Identifier: BSD-2-Clause */
/* See avic_fake.h. */
#include "tests/unit/avic_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "postern/port.h"

#define BASE  0x10000000ull
#define PAGES (FAKE_VCPUS + 3) /* two for physical entries, one for logical ones */

struct avic_fake fake;
static u8 memory[PAGES][PAGE_SIZE] __attribute__((aligned(4096)));

void *hpa_to_ptr(hpa_t hpa)
{
	assert_in_range(hpa.v, BASE, BASE + sizeof(memory) - 1);
	return &memory[0][0] + (hpa.v - BASE);
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA((u64)((const u8 *)p - &memory[0][0]) + BASE);
}

static void on_ring(void *context, u32 host_id)
{
	struct avic_fake *f = context;

	assert_true(f->rings < FAKE_RINGS);
	f->ring[f->rings++] = host_id;
}

void avic_fake_create(bool x2)
{
	memset(memory, 0, sizeof(memory));
	memset(&fake, 0, sizeof(fake));
	fake.ids = (void *)memory[FAKE_VCPUS];
	fake.logical = (void *)memory[FAKE_VCPUS + 2];
	for (u32 i = 0; i < FAKE_VCPUS; i++) {
		fake.page[i] = memory[i];
		avic_fake_set(i, APIC_ID, x2 ? i : i << 24);
		avic_fake_set(i, APIC_DFR, ~0u);
		fake.ids[i].v = AVIC_PHYSICAL_VALID | AVIC_PHYSICAL_RUNNING |
		                ptr_to_hpa(memory[i]).v | (FAKE_HOST + i);
	}
	for (u32 i = 0; i < AVIC_LOGICAL_FLAT; i++)
		fake.logical[i].v = AVIC_LOGICAL_VALID | i;
	fake.control.int_ctl = SVM_AVIC_ENABLE | (x2 ? SVM_X2AVIC_ENABLE : 0);
	fake.control.np_control = SVM_NP_ENABLE;
	fake.control.avic_apic_bar = FAKE_BAR;
	fake.control.avic_backing_page = ptr_to_hpa(memory[0]).v;
	fake.control.avic_physical_table = ptr_to_hpa(fake.ids).v | (FAKE_VCPUS - 1);
	fake.control.avic_logical_table = ptr_to_hpa(fake.logical).v;
	fake.avic.switches = AVIC_SWITCH_DEFAULTS;
	fake.avic.memory = (struct avic_memory){BASE, BASE + sizeof(memory)};
	fake.avic.doorbell = on_ring;
	fake.avic.context = &fake;
	avic_fake_enter();
}

void avic_fake_enter(void)
{
	avic_enter(&fake.avic, &fake.control);
}

u64 avic_fake_nowhere(void)
{
	return BASE + sizeof(memory);
}

u32 avic_fake_get(u32 vcpu, u32 offset)
{
	return *(const u32 *)(const void *)(fake.page[vcpu] + offset);
}

void avic_fake_set(u32 vcpu, u32 offset, u32 value)
{
	*(u32 *)(void *)(fake.page[vcpu] + offset) = value;
}

bool avic_fake_has(u32 vcpu, u32 offset, u8 vector)
{
	return avic_fake_get(vcpu, offset + vector / 32 * 16) >> vector % 32 & 1;
}

void avic_fake_put(u32 vcpu, u32 offset, u8 vector)
{
	u32 at = offset + vector / 32 * 16;

	avic_fake_set(vcpu, at, avic_fake_get(vcpu, at) | BIT(vector % 32));
}

void avic_fake_running(u32 vcpu, bool running)
{
	fake.ids[vcpu].v &= ~AVIC_PHYSICAL_RUNNING;
	if (running)
		fake.ids[vcpu].v |= AVIC_PHYSICAL_RUNNING;
}

void avic_fake_cluster(void)
{
	for (u32 i = 0; i < FAKE_VCPUS; i++)
		avic_fake_set(i, APIC_DFR, 0x0fffffff);
	for (u32 i = 0; i < AVIC_LOGICAL_CLUSTER; i++)
		fake.logical[i].v = AVIC_LOGICAL_VALID | i;
}
