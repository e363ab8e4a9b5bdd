/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a posted interrupt costs, in instructions: of software, to a vCPU that is in the guest on another processor; and of
 * IPI virtualization's microcode, by the number of entries in the PID-pointer table. And what memory they take.
 *
 * The twin of bench/avic.c. Beside each is its bare sequence: what has to be done to memory and to another processor
 * for such an interrupt, with the tests without which it may not be done; no other mode, no switch, no exit, no account.
 *
 * Output: one line "vapic KIND ENTRIES FIGURE" each.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/trap.h"
#include "bench/vapic.h"
#include "core/machine.h"
#include "cpu_model/vapic.h"
#include "irq/accel.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"
#include "x86/msr.h"

#define VECTOR  0x61
#define HOST_ID 0x25u
#define NV      0xf4
#define ENTRIES 4096u
#define MSR_ICR (MSR_X2APIC_FIRST + APIC_ICR / 16)

enum kind {
	KIND_NOTHING, /* what the counting itself executes */
	KIND_BARE_POST,
	KIND_POST,
	KIND_BARE_SEND,
	KIND_SEND,
	KIND_WRMSR,
	KIND_COUNT
};

static const char *const names[KIND_COUNT] = {
        [KIND_BARE_POST] = "bare-post", [KIND_POST] = "post",   [KIND_BARE_SEND] = "bare-send",
        [KIND_SEND] = "send",           [KIND_WRMSR] = "wrmsr",
};

static struct atomic64 table[ENTRIES];
static u8 page[PAGE_SIZE] __aligned(4096);
static struct vapic vapic;
static struct vcpu *target;
static volatile u32 rung;

void bench_rung(u32 host_id, u8 vector)
{
	rung = host_id << 8 | vector;
}

static void on_notify(void *context __unused, u32 host_id, u8 vector)
{
	bench_rung(host_id, vector);
}

/* --- the sequences that the others are measured by --- */

static void bare_post(struct vcpu *vcpu, u8 vector)
{
	struct accel_requests *apart = &vcpu->accel.apart;

	atomic64_fetch_or(&apart->word[vector / 64], BIT64(vector % 64));
	if (atomic64_fetch_or(&apart->control, ACCEL_REQUESTS_ON) & ACCEL_REQUESTS_ON)
		return;
	if (atomic32_read(&vcpu->sched_state) == VCPU_BLOCKED)
		abort();
	smp_mb();
	if (atomic32_read(&vcpu->mode) == VCPU_IN_GUEST)
		port_send_ipi(ptr_read(&vcpu->cpu)->apic_id, NV);
}

static void bare_send(const struct vapic *v, u32 dest, u8 vector)
{
	u64 entry, address, control;
	struct pi_desc *desc;

	if (dest > v->last_index)
		return;
	entry = atomic64_read(&v->pi_table[dest]);
	address = entry & PI_ENTRY_POINTER;
	if (!(entry & PI_ENTRY_VALID) || address < v->memory_start || address >= v->memory_end)
		return;
	desc = hpa_to_ptr(HPA(address));
	atomic64_fetch_or(&desc->pir[vector / 64], BIT64(vector % 64));
	do {
		control = atomic64_read(&desc->control);
		if (control & (PI_ON | PI_SN))
			return;
	} while (!atomic64_cmpxchg(&desc->control, control, control | PI_ON));
	v->notify(v->context, PI_NDST(control), PI_NV(control));
}

/* As irq/lapic.c has it. */
static void post(struct vcpu *vcpu, u8 vector)
{
	if (lapic_post(&vcpu->lapic, vector))
		accel_posted(vcpu);
}

/* Called as what is compared with them: compiled for any arguments. */
static void (*volatile const bare_poster)(struct vcpu *vcpu, u8 vector) = bare_post;
static void (*volatile const poster)(struct vcpu *vcpu, u8 vector) = post;
static void (*volatile const bare_sender)(const struct vapic *v, u32 dest, u8 vector) = bare_send;

/* --- counting --- */

static void do_nothing(u32 index __unused)
{
}

static void do_bare_post(u32 index __unused)
{
	bare_poster(target, VECTOR);
}

static void do_post(u32 index __unused)
{
	poster(target, VECTOR);
}

static void do_bare_send(u32 index)
{
	bare_sender(&vapic, index, VECTOR);
}

static void do_send(u32 index)
{
	vapic_send(&vapic, index, VECTOR);
}

static void do_wrmsr(u32 index)
{
	vapic_msr_write(&vapic, MSR_ICR, (u64)index << 32 | VECTOR);
}

static void (*volatile const acts[KIND_COUNT])(u32 index) = {
        [KIND_NOTHING] = do_nothing,     [KIND_BARE_POST] = do_bare_post, [KIND_POST] = do_post,
        [KIND_BARE_SEND] = do_bare_send, [KIND_SEND] = do_send,           [KIND_WRMSR] = do_wrmsr,
};

static void set_up(u32 entries)
{
	struct accel_requests *apart = &target->accel.apart;

	*apart = (struct accel_requests){.control = {PI_TO(NV, HOST_ID)}};
	target->cpu->apic_id = HOST_ID;
	for (u32 i = 0; i < entries; i++)
		table[i].v = i == entries - 1 ? ptr_to_hpa(apart).v | PI_ENTRY_VALID : 0;
	vapic = (struct vapic){.page = page,
	                       .tpr_shadow = true,
	                       .x2apic = true,
	                       .apic_registers = true,
	                       .vid = true,
	                       .ipiv = true,
	                       .last_index = (u16)(entries - 1),
	                       .pi_table = table,
	                       .host_x2 = true,
	                       .width = 52,
	                       .switches = VAPIC_SWITCH_DEFAULTS,
	                       .memory_start = PAGE_SIZE,
	                       .memory_end = 1ull << 47,
	                       .notify = on_notify};
	vapic_enter(&vapic, 0);
}

/* To the last entry, for the first time; the request and the notification have to be there. */
static u64 measure(enum kind kind, u32 entries)
{
	u64 figure;

	set_up(entries);
	rung = 0;
	figure = trap_count(acts[kind], entries - 1);
	if (kind != KIND_NOTHING &&
	    (target->accel.apart.word[VECTOR / 64].v != BIT64(VECTOR % 64) ||
	     !(target->accel.apart.control.v & PI_ON) || rung != (HOST_ID << 8 | NV))) {
		fprintf(stderr, "vapic: %s did not arrive\n", names[kind]);
		exit(1);
	}
	return figure;
}

int main(void)
{
	if (!trap_begin()) {
		perror("vapic");
		return 1;
	}
	for (u32 entries = 2; entries <= ENTRIES; entries *= 2) {
		u64 bytes = bench_vapic_bytes(entries), around;

		target = bench_target();
		around = measure(KIND_NOTHING, entries);
		for (u32 kind = KIND_BARE_POST; kind < KIND_COUNT; kind++)
			printf("vapic %s %u %llu\n", names[kind], entries,
			       (unsigned long long)(measure(kind, entries) - around));
		printf("vapic bytes %u %llu\n", entries, (unsigned long long)bytes);
	}
	return 0;
}
