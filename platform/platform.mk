# SPDX-License-Identifier: BSD-2-Clause
# The platform's generated source: the DSDT, compiled by iasl into a C array. It joins CORE_SRC, so
# this fragment is included before those that use the list.

IASL ?= iasl
PLATFORM_DSDT_C := $(BUILD)/generated/dsdt.c
CORE_SRC += $(PLATFORM_DSDT_C)

$(BUILD)/generated/dsdt.aml: platform/dsdt.asl
	@mkdir -p $(@D)
	$(IASL) -p $(basename $@) -vs -we $< > $(basename $@).log || { cat $(basename $@).log; exit 1; }

$(PLATFORM_DSDT_C): $(BUILD)/generated/dsdt.aml
	{ echo '/* Generated from platform/dsdt.asl. */'; \
	  echo '#include "platform/acpi.h"'; \
	  echo 'const u8 acpi_dsdt[] = {'; \
	  od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; \
	  echo '};'; \
	  echo 'const u32 acpi_dsdt_size = sizeof(acpi_dsdt);'; } > $@.tmp
	mv $@.tmp $@

# The platform's unit tests: the real sources over the fakes of platform_fake.c.
PLATFORM_TESTS := uart_test rtc_test pm_test acpi_test pci_test bzimage_test
# irqchip.c goes with the interrupt controllers: pic_test has it.
PLATFORM_TEST_SRC := tests/unit/platform_fake.c $(PLATFORM_DSDT_C) \
	$(sort $(filter-out platform/irqchip.c,$(wildcard platform/*.c)))
