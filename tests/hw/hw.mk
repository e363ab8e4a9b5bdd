# SPDX-License-Identifier: BSD-2-Clause
# The image that tests the processor itself: tests/hw/hw.h. What boots the machine is the hypervisor's image's.

HWTEST_SRC := $(sort $(wildcard tests/hw/*.c)) cpu_model/vapic.c cpu_model/vapic_ipi.c cpu_model/vapic_regs.c \
	cpu_model/vmcs_store.c cpu_model/vmx_checks.c
# For what the compiler makes a call of; the hypervisor's image has none.
HWTEST_LIB = $(shell $(CC) -print-libgcc-file-name)
HWTEST_OBJ := $(sort $(HWTEST_SRC:%.c=$(IMAGE_DIR)/%.o) \
	$(filter-out $(IMAGE_DIR)/core/main.o,$(IMAGE_OBJ)))

$(BUILD)/hwtest.elf64: $(HWTEST_OBJ) $(IMAGE_DIR)/symbols0.o port/metal/image.ld port/metal/hot.ld
	$(IMAGE_LINK) -o $@ $(HWTEST_OBJ) $(IMAGE_DIR)/symbols0.o $(HWTEST_LIB)

$(BUILD)/hwtest.elf: $(BUILD)/hwtest.elf64
	objcopy -O elf32-i386 $< $@

# The same operations on the processor model.
REPLAY_OBJ := $(patsubst %,$(HOST)/tests/hw/%.o,apicv_code apicv_draw apicv_expect)
$(HOST)/tests/model/vmx_replay_test: $(REPLAY_OBJ)
.SECONDARY: $(REPLAY_OBJ)

# Built by each compiler that builds the host's tests; run by the system tests.
host-tests check-system check-system-full-bochs: $(BUILD)/hwtest.elf

-include $(REPLAY_OBJ:.o=.d) $(HWTEST_SRC:%.c=$(IMAGE_DIR)/%.d)
