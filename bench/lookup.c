/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What it costs to find an interrupt's destination and have it accepted there, in instructions, by
 * the number of vCPUs: unicast shall not depend on it, broadcast shall follow it.
 *
 * The hypervisor's own sources run over the processor model with one processor. All vCPUs are up and
 * runnable; vCPU 0 executes irq_deliver() under the trap flag (SDM volume 3 "Single-Step Exception
 * Condition"): each instruction is a SIGTRAP, and those are counted. So figures are exact and
 * repeat, and nothing besides the compiler changes them.
 *
 * Output: one line "lookup KIND VCPUS INSTRUCTIONS" each.
 */
#include <signal.h>

#include "irq/route.h"
#include "tests/model/harness.h"

#define RFLAGS_TRAP "0x100"
#define VECTOR      0x60
#define ALT_STACK   (64u << 10)

enum kind {
	KIND_UNICAST,
	KIND_LOGICAL,
	KIND_BROADCAST,
	KIND_COUNT
};

static const char *const names[KIND_COUNT] = {"unicast", "unicast-logical", "broadcast"};

static volatile u64 steps;
static u64 figures[KIND_COUNT];

static void on_trap(int signal __unused)
{
	steps++;
}

/* Always a call, so that what surrounds the measured instructions is the same for all. */
static __attribute__((noinline)) u64 count(struct vm *vm, const struct irq_message *message)
{
	steps = 0;
	__asm__ volatile("pushfq; orq $" RFLAGS_TRAP ", (%%rsp); popfq" ::: "cc", "memory");
	if (message)
		irq_deliver(vm, message);
	__asm__ volatile("pushfq; andq $~" RFLAGS_TRAP ", (%%rsp); popfq" ::: "cc", "memory");
	return steps;
}

/* To the last vCPU, or to all; each with a vector of its own, so that each is a new one. */
static struct irq_message message_of(enum kind kind)
{
	struct irq_message message = {.source = IRQ_SOURCE_IPI,
	                              .delivery = APIC_DM_FIXED,
	                              .sender = harness_vm->vcpu[0],
	                              .x2apic_format = true,
	                              .vector = (u8)(VECTOR + kind)};
	u32 last = harness.vcpus - 1;

	switch (kind) {
	case KIND_LOGICAL: /* x2APIC: cluster in the upper half, a bit for each of its 16 in the lower */
		message.logical = true;
		message.dest = (last >> 4) << 16 | BIT(last & 15);
		break;
	case KIND_BROADCAST:
		message.shorthand = APIC_DEST_ALL;
		break;
	default:
		message.dest = last;
		break;
	}
	return message;
}

static bool is_pending(const struct vcpu *vcpu, u8 vector)
{
	const struct atomic32 *word =
	        (const void *)(vcpu->lapic.page + APIC_IRR + vector / 32 * 16);

	return atomic32_read(word) & BIT(vector % 32);
}

static void script_ap(void *arg __unused)
{
	g_apic_enable();
	g_set_shared(g_apic_read(APIC_ID), 1);
	for (;;)
		g_pause();
}

static void script_bsp(void *arg __unused)
{
	u64 around = count(harness_vm, NULL);

	g_apic_enable();
	g_start_aps();
	for (u32 i = 1; i < harness.vcpus; i++)
		g_await(i, 1);
	for (u32 kind = 0; kind < KIND_COUNT; kind++) {
		struct irq_message message = message_of(kind);

		figures[kind] = count(harness_vm, &message) - around;
	}
	/* What has been counted is what was meant: each is pending where it was sent. */
	for (u32 kind = 0; kind < KIND_COUNT; kind++) {
		u32 first = kind == KIND_BROADCAST ? 0 : harness.vcpus - 1;

		for (u32 i = first; i < harness.vcpus; i++)
			G_CHECK(is_pending(harness_vm->vcpu[i], (u8)(VECTOR + kind)));
	}
	g_exit(0);
}

static void measure(u32 vcpus)
{
	harness_create(&(struct harness){.vcpus = vcpus});
	guest_bind(HARNESS_BSP, script_bsp, NULL);
	guest_bind(HARNESS_AP, script_ap, NULL);
	harness_run();
	for (u32 kind = 0; kind < KIND_COUNT; kind++)
		printf("lookup %s %u %llu\n", names[kind], vcpus,
		       (unsigned long long)figures[kind]);
}

int main(void)
{
	static char stack[ALT_STACK];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = on_trap, .sa_flags = SA_ONSTACK};

	if (sigaltstack(&alternate, NULL) || sigaction(SIGTRAP, &action, NULL)) {
		perror("lookup");
		return 1;
	}
	for (u32 vcpus = 2; vcpus <= MAX_VCPUS; vcpus *= 2)
		measure(vcpus);
	return 0;
}
