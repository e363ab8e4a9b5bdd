/* SPDX-License-Identifier: BSD-2-Clause */
/* The platform's own 8259 pair. The chips are those of irq/pic.c; who owns them is all that differs. */
#include "platform/irqchip.h"

#include "core/vm.h"
#include "x86/apic.h"
#include "x86/msr.h"

static bool irqchip_has(void *source)
{
	const struct irqchip *irqchip = source;

	return pic_has_interrupt(&irqchip->pic);
}

static u8 irqchip_ack(void *source)
{
	struct irqchip *irqchip = source;

	atomic32_fetch_add(&irqchip->acks, 1);
	return pic_ack(&irqchip->pic);
}

static void irqchip_set_line(void *source, u32 input, bool level)
{
	struct irqchip *irqchip = source;

	atomic32_fetch_add(&irqchip->lines, 1);
	pic_set_line(&irqchip->pic, input, level);
}

static void irqchip_pulse_line(void *source, u32 input)
{
	struct irqchip *irqchip = source;

	atomic32_fetch_add(&irqchip->lines, 1);
	pic_pulse_line(&irqchip->pic, input);
}

static u32 irqchip_state(void *source, u32 input)
{
	struct irqchip *irqchip = source;

	return pic_state(&irqchip->pic, input);
}

static const struct extint_ops irqchip_ops = {
        .has = irqchip_has,
        .ack = irqchip_ack,
        .set_line = irqchip_set_line,
        .pulse_line = irqchip_pulse_line,
        .state = irqchip_state,
};

void irqchip_init(struct irqchip *irqchip, struct vm *vm)
{
	pic_init(&irqchip->pic, vm);
	extint_attach(vm, &irqchip_ops, irqchip);
}

/* "MultiProcessor Specification", "Virtual Wire Mode via Local APIC". */
void irqchip_virtual_wire(struct vm *vm)
{
	struct vcpu *vcpu = vm->vcpu[0];

	lapic_mmio_write(vcpu, APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
	lapic_mmio_write(vcpu, APIC_LVT0, 4, APIC_DM_EXTINT);
	lapic_mmio_write(vcpu, APIC_LVT1, 4, APIC_DM_NMI);
}

void irqchip_hand_over(struct vm *vm)
{
	struct vcpu *vcpu;
	u64 base;

	if (!vm->large_ids)
		return;
	for_each_vcpu (vcpu, vm)
		if (lapic_msr_read(vcpu, MSR_APIC_BASE, &base))
			lapic_msr_write(vcpu, MSR_APIC_BASE, base | APIC_BASE_EXTD);
}
