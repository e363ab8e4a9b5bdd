/* SPDX-License-Identifier: BSD-2-Clause */
/* All devices of one VM: what vm->platform points to. */
#ifndef PLATFORM_DEVICES_H
#define PLATFORM_DEVICES_H

#include "platform/debugcon.h"
#include "platform/firmware.h"
#include "platform/fw_cfg.h"
#include "platform/irqchip.h"
#include "platform/kbd.h"
#include "platform/legacy.h"
#include "platform/msidev.h"
#include "platform/pci.h"
#include "platform/pm.h"
#include "platform/rtc.h"
#include "platform/testdev.h"
#include "platform/uart.h"

struct platform {
	struct irqchip irqchip; /* irqchip=split only */
	struct uart uart;
	struct rtc rtc;
	struct pm pm;
	struct pci pci;
	struct kbd kbd;
	struct legacy legacy;
	struct fw_cfg fw_cfg;
	struct firmware firmware; /* with firmware only, as the next one */
	struct debugcon debugcon;
	struct testdev testdev;
	struct msidev msidev[MSIDEV_MAX];
};

#endif
