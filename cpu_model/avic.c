/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC's core: checks, priorities, delivery, end of interrupt. APM volume 2, "Advanced Virtual
 * Interrupt Controller": "Virtual APIC Register Accesses", "VMCB Virtual Interrupt Control Word",
 * "Physical Address Pointer Restrictions", "Additional VMRUN Handling".
 *
 *  - The processor keeps PPR in the page, as it follows from TPR and the highest vector in service.
 *  - It does not watch the page. It evaluates, that is, looks for the highest requested vector above
 *    PPR, at VMRUN, when a doorbell comes, when TPR or PPR fall (TPR write, EOI), and after an IPI to
 *    itself. What others put into IRR without a doorbell waits for the next of these.
 *  - Delivery then depends on RFLAGS.IF, GIF and the interrupt shadow, at an instruction boundary.
 *  - A write of CR8 writes the page's TPR, and one of TPR writes V_TPR, whatever V_INTR_MASKING says.
 */
#include "cpu_model/avic.h"
#include "postern/port.h"

#define VECTOR_WORDS 8
#define STRIDE       16
#define CLASS        0xf0u

/* Highest set bit of 256, or -1. */
static int highest(const struct avic *avic, u32 offset)
{
	for (u32 i = VECTOR_WORDS; i--;) {
		u32 word = atomic32_read_acquire(avic_word(avic->page, offset + i * STRIDE));

		if (word)
			return (int)(i * 32 + 31 - (u32)__builtin_clz(word));
	}
	return -1;
}

static struct atomic32 *vector_word(struct avic *avic, u32 offset, u32 vector)
{
	return avic_word(avic->page, offset + vector / 32 * STRIDE);
}

/* "Task Priority": the larger class wins; where they are equal, TPR with its subclass. */
static void update_ppr(struct avic *avic)
{
	u32 tpr = avic_get(avic, APIC_TPR) & 0xff;
	int vector = highest(avic, APIC_ISR);
	u32 service = vector < 0 ? 0 : (u32)vector & CLASS;

	avic_set(avic, APIC_PPR, (tpr & CLASS) >= service ? tpr : service);
}

void avic_evaluate(struct avic *avic)
{
	int vector = highest(avic, APIC_IRR);

	if (vector >= 0 && ((u32)vector & CLASS) <= (avic_get(avic, APIC_PPR) & CLASS))
		vector = -1;
	avic->pending = vector;
}

bool avic_waits_for_tpr(const struct avic *avic)
{
	int requested = highest(avic, APIC_IRR), served = highest(avic, APIC_ISR);

	return requested >= 0 &&
	       ((u32)requested & CLASS) > (served < 0 ? 0 : (u32)served & CLASS) &&
	       ((u32)requested & CLASS) <= (avic_get(avic, APIC_TPR) & CLASS);
}

bool avic_has_subclass(const struct avic *avic)
{
	return avic_get(avic, APIC_TPR) & 0xf;
}

int avic_take(struct avic *avic)
{
	int vector;
	u32 bit;

	/* Others only add to IRR, so the highest is at least what was found. */
	avic_evaluate(avic);
	vector = avic->pending;
	if (vector < 0)
		return -1;
	bit = BIT(vector % 32);
	atomic32_fetch_and(vector_word(avic, APIC_IRR, (u32)vector), ~bit);
	atomic32_fetch_or(vector_word(avic, APIC_ISR, (u32)vector), bit);
	update_ppr(avic);
	avic_evaluate(avic);
	avic->counts[HW_DELIVERED]++;
	return vector;
}

void avic_untake(struct avic *avic, u8 vector)
{
	u32 bit = BIT(vector % 32);

	atomic32_fetch_and(vector_word(avic, APIC_ISR, vector), ~bit);
	if (atomic32_fetch_or(vector_word(avic, APIC_IRR, vector), bit) & bit)
		avic->counts[HW_COALESCED]++;
	update_ppr(avic);
	avic_evaluate(avic);
	avic->counts[HW_DELIVERED]--;
}

void avic_set_tpr(struct avic *avic, u8 tpr)
{
	avic_set(avic, APIC_TPR, tpr);
	update_ppr(avic);
	avic_evaluate(avic);
	avic->counts[HW_TPR]++;
}

void avic_write_cr8(struct avic *avic, u64 value)
{
	avic_set_tpr(avic, (u8)(value << 4));
}

u64 avic_read_cr8(const struct avic *avic)
{
	return avic_get(avic, APIC_TPR) >> 4 & 0xf;
}

bool avic_eoi(struct avic *avic, u8 *vector)
{
	int served = highest(avic, APIC_ISR);
	bool level;

	if (served < 0)
		return false;
	*vector = (u8)served;
	level = atomic32_read_relaxed(vector_word(avic, APIC_TMR, (u32)served)) & BIT(served % 32);
	avic->counts[HW_EOI] += !level;
	if (!level || avic_is(avic, AVIC_LEVEL_EOI_CLEARS)) {
		atomic32_fetch_and(vector_word(avic, APIC_ISR, (u32)served), ~BIT(served % 32));
		update_ppr(avic);
		avic_evaluate(avic);
	}
	return level;
}

/* --- VMRUN --- */

static u32 max_index_of(const struct vmcb_control *control)
{
	return (u32)(control->avic_physical_table & AVIC_MAX_INDEX);
}

const char *avic_check(const struct vmcb_control *control, const struct avic_memory *memory,
                       u32 max_index)
{
	bool x2 = control->int_ctl & SVM_X2AVIC_ENABLE;
	u32 index = max_index_of(control);
	u64 table = (u64)(index / AVIC_PHYSICAL_PER_PAGE + 1) * PAGE_SIZE;

	if (x2 && !(control->int_ctl & SVM_AVIC_ENABLE))
		return "x2AVIC enabled without AVIC";
	if (x2 && !max_index)
		return "x2AVIC on a processor without";
	if (!(control->np_control & SVM_NP_ENABLE))
		return "AVIC without nested paging";
	if (index > (x2 ? max_index : AVIC_XAPIC_MAX_INDEX))
		return "AVIC_PHYSICAL_MAX_INDEX beyond the mode's largest";
	if (!avic_is_memory(memory, control->avic_backing_page & AVIC_POINTER, PAGE_SIZE))
		return "AVIC_BACKING_PAGE is not memory";
	if (!avic_is_memory(memory, control->avic_physical_table & AVIC_POINTER, table))
		return "AVIC_PHYSICAL_TABLE is not memory";
	if (!x2 && !avic_is_memory(memory, control->avic_logical_table & AVIC_POINTER, PAGE_SIZE))
		return "AVIC_LOGICAL_TABLE is not memory";
	return NULL;
}

u64 avic_enter(struct avic *avic, const struct vmcb_control *control)
{
	u64 v_tpr = control->int_ctl & SVM_V_TPR;

	avic->enabled = control->int_ctl & SVM_AVIC_ENABLE;
	avic->x2 = control->int_ctl & SVM_X2AVIC_ENABLE;
	avic->pending = -1;
	if (!avic->enabled)
		return v_tpr;
	avic->page = hpa_to_ptr(HPA(control->avic_backing_page & AVIC_POINTER));
	avic->ids = hpa_to_ptr(HPA(control->avic_physical_table & AVIC_POINTER));
	avic->max_index = max_index_of(control);
	if (!avic->x2 && avic->max_index >= AVIC_XAPIC_MAX_INDEX)
		avic->max_index = AVIC_XAPIC_MAX_INDEX - 1; /* the last one is reserved */
	/* With the erratum its steps are in another order. */
	avic->short_way = avic_is(avic, AVIC_STALE_RUNNING) ? 0 : avic->max_index + 1;
	avic->logical = NULL;
	if (!avic->x2)
		avic->logical = hpa_to_ptr(HPA(control->avic_logical_table & AVIC_POINTER));
	avic->bar = control->avic_apic_bar & AVIC_POINTER;
	if (avic_is(avic, AVIC_TAKES_V_TPR) && v_tpr != avic_read_cr8(avic))
		avic_set(avic, APIC_TPR, (u32)v_tpr << 4);
	update_ppr(avic);
	avic_evaluate(avic);
	return avic_read_cr8(avic);
}
