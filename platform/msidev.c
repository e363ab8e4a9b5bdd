/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI test device. docs/testdev.md describes its registers; the rules that matter here:
 *
 *  - An event takes the next payload number, and everything that shows the number (LAST, the DMA
 *    write) is stored before its interrupt is raised. So whoever is interrupted and then looks finds
 *    that number or a later one, and after the last interrupt has been served the last number has been
 *    seen, however many interrupts became one on the way.
 *  - With MSI enabled an event is a message (held while masked: platform/pci.c), otherwise it asserts
 *    the pin until the guest acknowledges it in STATUS. Events that come while it is asserted need
 *    nothing more.
 *  - Events at the rate that the guest asks for are bounded: no period is shorter than
 *    MSIDEV_MIN_PERIOD_NS, no period has more than MSIDEV_MAX_BURST events, and periods that passed
 *    unseen, because the processor was late, are counted and not made up for.
 *
 * The lock is held across the PCI bus's calls (platform/pci.h), which keeps the numbers in order.
 */
#include "platform/msidev.h"

#include "core/vm.h"
#include "platform/layout.h"
#include "platform/pci.h"
#include "postern/port.h"

#define ELCR2         0x4d1
#define ELCR2_PCI     (BIT(LAYOUT_PCI_IRQ - 8) | BIT(LAYOUT_PCI_IRQ - 8 + 1))
#define CONTROL_VALID (MSIDEV_CONTROL_RUN | MSIDEV_CONTROL_DMA)
#define VERSION       1

/* --- events; lock held --- */

static void msidev_assert(struct msidev *msidev)
{
	if (msidev->status & MSIDEV_STATUS_INTERRUPT) {
		msidev->merged++;
		return;
	}
	msidev->status |= MSIDEV_STATUS_INTERRUPT;
	msidev->asserted++;
	pci_set_pin(msidev->function, true);
}

static void msidev_dma(struct msidev *msidev)
{
	if (pci_dma_write32(msidev->function, msidev->dma, msidev->last) == PCI_DMA_DONE)
		return;
	msidev->status |= MSIDEV_STATUS_DMA_ERROR;
	msidev->dma_errors++;
}

static void msidev_event(struct msidev *msidev)
{
	msidev->last = msidev->next++;
	msidev->events++;
	if (msidev->control & MSIDEV_CONTROL_DMA)
		msidev_dma(msidev);
	switch (pci_send_message(msidev->function)) {
	case PCI_MSI_SENT:
		break;
	case PCI_MSI_HELD:
		msidev->held++;
		break;
	default:
		msidev_assert(msidev);
	}
}

/* --- time; lock held --- */

static void msidev_stop(struct msidev *msidev)
{
	msidev->control &= ~MSIDEV_CONTROL_RUN;
	msidev->deadline = TSC_NEVER;
	timer_cancel(&msidev->timer);
}

static u64 msidev_period(const struct msidev *msidev)
{
	return max_u64(timer_ns_to_tsc(msidev->period_ns), 1);
}

/* The next period from now on; those in between are missed. */
static void msidev_rearm(struct msidev *msidev, u64 tsc)
{
	u64 period = msidev_period(msidev);

	msidev->deadline += period;
	if (msidev->deadline <= tsc) {
		u64 late = (tsc - msidev->deadline) / period + 1;

		msidev->missed += (u32)late;
		msidev->deadline += late * period;
	}
	timer_arm(&msidev->timer, msidev->deadline);
}

static void msidev_expire(struct msidev *msidev, u64 tsc)
{
	for (u32 i = 0; i < msidev->burst; i++) {
		msidev_event(msidev);
		if (msidev->counted && --msidev->left == 0) {
			msidev_stop(msidev);
			return;
		}
	}
	msidev_rearm(msidev, tsc);
}

static void msidev_fire(struct timer *timer)
{
	struct msidev *msidev = container_of(timer, struct msidev, timer);
	u64 tsc = port_tsc();

	spin_lock(&msidev->lock);
	/* Re-armed or stopped in the meantime: this expiry is nobody's. */
	if (msidev->deadline <= tsc) {
		if (vm_has_ended(msidev->vm))
			msidev_stop(msidev);
		else
			msidev_expire(msidev, tsc);
	}
	spin_unlock(&msidev->lock);
}

/* --- registers --- */

static void msidev_write_control(struct msidev *msidev, u32 value)
{
	bool runs = msidev->control & MSIDEV_CONTROL_RUN;

	msidev->control = value & CONTROL_VALID;
	if (runs && !(value & MSIDEV_CONTROL_RUN)) {
		msidev_stop(msidev);
	} else if (!runs && (value & MSIDEV_CONTROL_RUN)) {
		msidev->counted = msidev->left != 0;
		msidev->deadline = port_tsc() + msidev_period(msidev);
		timer_arm(&msidev->timer, msidev->deadline);
	}
}

/* Ones acknowledge. */
static void msidev_write_status(struct msidev *msidev, u32 value)
{
	bool was = msidev->status & MSIDEV_STATUS_INTERRUPT;

	msidev->status &= ~value;
	if (was && !(msidev->status & MSIDEV_STATUS_INTERRUPT))
		pci_set_pin(msidev->function, false);
}

static void msidev_write_count(struct msidev *msidev, u32 value)
{
	msidev->left = value;
	msidev->counted = value != 0;
}

static void msidev_trigger(struct msidev *msidev, u32 value)
{
	for (u32 i = 0; i < value && i < MSIDEV_MAX_BURST; i++)
		msidev_event(msidev);
}

static void msidev_write_register(struct msidev *msidev, u64 offset, u32 value)
{
	switch (offset) {
	case MSIDEV_CONTROL:
		msidev_write_control(msidev, value);
		break;
	case MSIDEV_STATUS:
		msidev_write_status(msidev, value);
		break;
	case MSIDEV_PERIOD:
		msidev->period_ns = value < MSIDEV_MIN_PERIOD_NS ? MSIDEV_MIN_PERIOD_NS : value;
		break;
	case MSIDEV_BURST:
		msidev->burst = (u32)min_u64(max_u64(value, 1), MSIDEV_MAX_BURST);
		break;
	case MSIDEV_COUNT:
		msidev_write_count(msidev, value);
		break;
	case MSIDEV_NEXT:
		msidev->next = value;
		break;
	case MSIDEV_DMA_LOW:
		msidev->dma = (msidev->dma & ~0xffffffffull) | (value & ~3u);
		break;
	case MSIDEV_DMA_HIGH:
		msidev->dma = (msidev->dma & 0xffffffffull) | (u64)value << 32;
		break;
	case MSIDEV_TRIGGER:
		msidev_trigger(msidev, value);
		break;
	default: /* nothing, or only to be read */
		break;
	}
}

static u32 msidev_read_register(struct msidev *msidev, u64 offset)
{
	switch (offset) {
	case MSIDEV_ID:
		return MSIDEV_ID_VALUE;
	case MSIDEV_VERSION:
		return VERSION;
	case MSIDEV_CONTROL:
		return msidev->control;
	case MSIDEV_STATUS:
		return msidev->status;
	case MSIDEV_PERIOD:
		return msidev->period_ns;
	case MSIDEV_BURST:
		return msidev->burst;
	case MSIDEV_COUNT:
		return msidev->left;
	case MSIDEV_NEXT:
		return msidev->next;
	case MSIDEV_LAST:
		return msidev->last;
	case MSIDEV_DMA_LOW:
		return (u32)msidev->dma;
	case MSIDEV_DMA_HIGH:
		return (u32)(msidev->dma >> 32);
	case MSIDEV_EVENTS:
		return msidev->events;
	case MSIDEV_MESSAGES:
		return pci_messages_sent(msidev->function);
	case MSIDEV_HELD:
		return msidev->held;
	case MSIDEV_ASSERTED:
		return msidev->asserted;
	case MSIDEV_MERGED:
		return msidev->merged;
	case MSIDEV_MISSED:
		return msidev->missed;
	case MSIDEV_DMA_ERRORS:
		return msidev->dma_errors;
	default:
		return 0;
	}
}

static bool is_dword(u64 offset, u32 size)
{
	return size == 4 && offset % 4 == 0;
}

static u64 msidev_read(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct msidev *msidev = device;
	u32 value;

	if (!is_dword(offset, size))
		return ~0ull;
	spin_lock(&msidev->lock);
	value = msidev_read_register(msidev, offset);
	spin_unlock(&msidev->lock);
	return value;
}

static void msidev_write(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct msidev *msidev = device;

	if (!is_dword(offset, size))
		return;
	spin_lock(&msidev->lock);
	msidev_write_register(msidev, offset, (u32)value);
	spin_unlock(&msidev->lock);
}

static const struct bus_ops msidev_ops = {msidev_read, msidev_write};

/* --- life --- */

static void msidev_init(struct msidev *msidev, struct vm *vm, struct pci_function *function,
                        u32 index)
{
	msidev->vm = vm;
	msidev->function = function;
	msidev->deadline = TSC_NEVER;
	msidev->period_ns = MSIDEV_MIN_PERIOD_NS;
	msidev->burst = 1;
	msidev->next = 1;
	timer_init(&msidev->timer, msidev_fire);
	pci_add_memory(function, 0, MSIDEV_SIZE, LAYOUT_MSIDEV + index * MSIDEV_SIZE, &msidev_ops,
	               msidev);
	pci_add_pin(function, (u8)(LAYOUT_PCI_IRQ + (MSIDEV_SLOT + index) % 2));
	pci_add_msi(function, MSIDEV_MSI, true);
	if (vm->config.msidev_assigned && !pci_assign(function))
		port_log("vm %u: device %u: no IOMMU to assign it by: it is emulated", vm->id,
		         index);
}

bool msidev_create(struct msidev msidev[MSIDEV_MAX], struct vm *vm, struct pci *pci)
{
	u32 count = vm->config.msidevs;

	if (count > MSIDEV_MAX)
		return false;
	for (u32 i = 0; i < count; i++) {
		struct pci_function *function = pci_add(pci, PCI_DEVFN(MSIDEV_SLOT + i, 0),
		                                        MSIDEV_VENDOR, MSIDEV_DEVICE, MSIDEV_CLASS);

		if (!function)
			return false;
		msidev_init(&msidev[i], vm, function, i);
	}
	/* As firmware leaves it: PCI interrupts are level-triggered at the 8259s, too. */
	if (count)
		bus_write(&vm->io, vm->vcpu[0], ELCR2, 1, ELCR2_PCI);
	return true;
}

void msidev_destroy(struct msidev msidev[MSIDEV_MAX])
{
	for (u32 i = 0; i < MSIDEV_MAX; i++) {
		if (!msidev[i].vm)
			continue;
		spin_lock(&msidev[i].lock);
		msidev_stop(&msidev[i]);
		spin_unlock(&msidev[i].lock);
		pci_unassign(msidev[i].function);
	}
}
