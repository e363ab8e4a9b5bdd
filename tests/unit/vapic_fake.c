/* SPDX-License-Identifier: BSD-2-Clause */
/* See vapic_fake.h. */
#include "tests/unit/vapic_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "postern/port.h"

#define BASE        0x10000000ull
#define TABLE_PAGES ((PI_LAST_INDEX + 1) * sizeof(struct atomic64) / PAGE_SIZE)
#define WIDTH       46

/* The virtual-APIC page, one with descriptors, the table; of that, the first page is compared. */
enum {
	APIC_PAGE,
	DESC_PAGE,
	TABLE_PAGE,
	COMPARED_PAGES,
	PAGES = TABLE_PAGE + TABLE_PAGES
};

struct vapic_fake fake;
static u8 memory[PAGES][PAGE_SIZE] __aligned(4096);
static u8 remembered[COMPARED_PAGES][PAGE_SIZE];

void *hpa_to_ptr(hpa_t hpa)
{
	assert_in_range(hpa.v, BASE, BASE + sizeof(memory) - 1);
	return &memory[0][0] + (hpa.v - BASE);
}

static void on_notify(void *context, u32 host_id, u8 vector)
{
	struct vapic_fake *f = context;

	assert_true(f->notices < FAKE_NOTICES);
	f->notice[f->notices].host_id = host_id;
	f->notice[f->notices++].vector = vector;
}

static void on_eoi(void *context)
{
	struct vapic_fake *f = context;

	f->eois++;
	f->eoi_control = f->desc[0].control.v;
	f->eoi_pir = f->desc[0].pir[0].v | f->desc[0].pir[1].v | f->desc[0].pir[2].v |
	             f->desc[0].pir[3].v;
}

void vapic_fake_create(u32 controls)
{
	memset(memory, 0, sizeof(memory));
	memset(&fake, 0, sizeof(fake));
	fake.desc = (void *)memory[DESC_PAGE];
	fake.table = (void *)memory[TABLE_PAGE];
	for (u32 i = 0; i < FAKE_VCPUS; i++) {
		fake.desc[i].control.v = PI_TO(FAKE_NV, FAKE_HOST + i);
		fake.table[i].v = vapic_fake_address(i) | PI_ENTRY_VALID;
	}
	fake.vapic = (struct vapic){
	        .page = memory[APIC_PAGE],
	        .tpr_shadow = controls & FAKE_SHADOW,
	        .vid = controls & FAKE_VID,
	        .apic_registers = controls & FAKE_REGS,
	        .x2apic = controls & FAKE_X2,
	        .ipiv = controls & FAKE_IPIV,
	        .pi_desc = controls & FAKE_POSTED ? fake.desc : NULL,
	        .pi_vector = FAKE_NV,
	        .pi_table = fake.table,
	        .last_index = FAKE_VCPUS - 1,
	        .host_x2 = true,
	        .width = WIDTH,
	        .switches = VAPIC_SWITCH_DEFAULTS,
	        .memory_start = BASE,
	        .memory_end = BASE + sizeof(memory),
	        .notify = on_notify,
	        .eoi = on_eoi,
	        .context = &fake,
	};
	vapic_fake_enter(0, 0);
}

void vapic_fake_enter(u8 rvi, u8 svi)
{
	vapic_enter(&fake.vapic, (u16)VMX_INTR_STATUS(rvi, svi));
}

u64 vapic_fake_address(u32 vcpu)
{
	return BASE + DESC_PAGE * PAGE_SIZE + vcpu * sizeof(struct pi_desc);
}

u64 vapic_fake_nowhere(void)
{
	return BASE + sizeof(memory);
}

u32 vapic_fake_get(u32 offset)
{
	return *(const u32 *)(const void *)(memory[APIC_PAGE] + offset);
}

void vapic_fake_set(u32 offset, u32 value)
{
	*(u32 *)(void *)(memory[APIC_PAGE] + offset) = value;
}

bool vapic_fake_has(u32 offset, u8 vector)
{
	return vapic_fake_get(offset + vector / 32 * 16) >> vector % 32 & 1;
}

void vapic_fake_put(u32 offset, u8 vector)
{
	u32 at = offset + vector / 32 * 16;

	vapic_fake_set(at, vapic_fake_get(at) | BIT(vector % 32));
}

bool vapic_fake_is_posted(u32 vcpu, u8 vector)
{
	return fake.desc[vcpu].pir[vector / 64].v >> vector % 64 & 1;
}

void vapic_fake_post(u32 vcpu, u8 vector)
{
	fake.desc[vcpu].pir[vector / 64].v |= BIT64(vector % 64);
}

void vapic_fake_remember(void)
{
	memcpy(remembered, memory, sizeof(remembered));
}

bool vapic_fake_is_untouched(void)
{
	return !memcmp(remembered, memory, sizeof(remembered));
}
