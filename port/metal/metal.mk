# SPDX-License-Identifier: BSD-2-Clause
# The image: build/postern.elf for boot loaders, build/postern.elf64 for gdb.
#
# Linked twice: the first link has an empty table of function names, nm of its result gives the real
# one, and since the table lies behind all code, functions are where they were. That is checked.

IMAGE_LIMIT := 524288
IMAGE_DIR := $(BUILD)/image
# Of the processor model the microcode, and what puts it between the back end and the processor.
IMAGE_MODEL := $(addprefix cpu_model/,assist.c assist_avic.c assist_vmx.c avic.c avic_ipi.c avic_regs.c slots.c vapic.c \
	vapic_ipi.c vapic_regs.c)
IMAGE_SRC := $(CORE_SRC) $(IMAGE_MODEL) $(sort $(wildcard port/metal/*.c))
IMAGE_ASM := $(sort $(wildcard port/metal/*.S))
IMAGE_OBJ := $(IMAGE_SRC:%.c=$(IMAGE_DIR)/%.o) $(IMAGE_ASM:%.S=$(IMAGE_DIR)/%.o)
IMAGE_CFLAGS := $(COMMON_CFLAGS) -Iport/metal -ffreestanding -mgeneral-regs-only -mno-red-zone \
	-fno-pic -fno-pie -fno-stack-protector -fno-omit-frame-pointer -fno-strict-aliasing \
	-fno-asynchronous-unwind-tables -fcf-protection=none -ffunction-sections
IMAGE_LINK := ld -m elf_x86_64 -nostdlib -static --no-warn-rwx-segments -T port/metal/image.ld

$(IMAGE_DIR)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(IMAGE_CFLAGS) -c -o $@ $<

$(IMAGE_DIR)/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(IMAGE_CFLAGS) -c -o $@ $<

$(IMAGE_DIR)/symbols0.s: port/metal/symbols.awk
	@mkdir -p $(@D)
	awk -f $< /dev/null > $@

$(IMAGE_DIR)/pass1.elf: $(IMAGE_OBJ) $(IMAGE_DIR)/symbols0.o port/metal/image.ld port/metal/hot.ld
	$(IMAGE_LINK) -o $@ $(IMAGE_OBJ) $(IMAGE_DIR)/symbols0.o

$(IMAGE_DIR)/symbols1.s: $(IMAGE_DIR)/pass1.elf port/metal/symbols.awk
	nm -n $< | awk -f port/metal/symbols.awk > $@

$(IMAGE_DIR)/symbols%.o: $(IMAGE_DIR)/symbols%.s
	$(CC) -c -o $@ $<

$(BUILD)/postern.elf64: $(IMAGE_OBJ) $(IMAGE_DIR)/symbols1.o port/metal/image.ld port/metal/hot.ld
	$(IMAGE_LINK) -o $@ $(IMAGE_OBJ) $(IMAGE_DIR)/symbols1.o
	@nm -n $@ | awk -f port/metal/symbols.awk | cmp - $(IMAGE_DIR)/symbols1.s
	@size $@ | awk -v limit=$(IMAGE_LIMIT) 'NR == 2 { \
		printf "%s: text + data %d bytes, limit %d\n", $$6, $$1 + $$2, limit; \
		exit $$1 + $$2 > limit }' || { rm -f $@; exit 1; }

$(BUILD)/postern.elf: $(BUILD)/postern.elf64
	objcopy -O elf32-i386 $< $@

-include $(IMAGE_OBJ:.o=.d)
