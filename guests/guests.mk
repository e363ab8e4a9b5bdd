# SPDX-License-Identifier: BSD-2-Clause
# The guests that Postern is shown and tested with, and the commands that run them.
#   make guest   the demonstration guest: Debian's cloud kernel and an initial file system
#   make micro   the freestanding micro guests of guests/micro/
#   make iso     an image for a CD or a USB stick that boots the demonstration guest by GRUB
#   make run     install what is missing, build everything, boot the demonstration guest
#   make run-intel   the same on a processor of Intel: on Bochs, which takes minutes
#   make deps    install everything that building, running and checking need

GUEST := $(BUILD)/guest
# Kernel versions in Debian 12. The demonstration runs the newer one, or the other where apt's
# sources lack it.
GUEST_KERNELS := 6.1 6.12

GUEST_VCPUS ?= 4
GUEST_PCPUS ?= 2
# Bochs executes some ten million instructions in a second, of all processors together.
INTEL_VCPUS ?= 2
INTEL_PCPUS ?= 2

GUEST_CFLAGS := -std=gnu11 -O2 $(WARNINGS) -static -s -pthread

$(GUEST)/vmlinuz-%: scripts/fetch-kernel
	scripts/fetch-kernel $* $(BUILD)/download $@

$(GUEST)/vmlinuz: scripts/fetch-kernel
	scripts/fetch-kernel 6.12 $(BUILD)/download $@ || scripts/fetch-kernel 6.1 $(BUILD)/download $@

$(GUEST)/workload: guests/linux/workload.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) -o $@ $<

$(GUEST)/initrd.img: scripts/make-initrd guests/linux/init $(GUEST)/workload
	scripts/make-initrd $@ guests/linux/init $(GUEST)/workload

# Micro guests: one C file each, linked with a common start into an ELF64 executable at 1 MiB.
MICRO_CFLAGS := -std=gnu11 -O2 -g $(WARNINGS) -Iguests/micro -MMD -MP -ffreestanding -fno-pic \
	-fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
	-mno-red-zone -mgeneral-regs-only \
	$(if $(findstring clang,$(CC)),-Wno-interrupt-service-routine)
MICRO_LDFLAGS := -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack \
	-Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments -T guests/micro/micro.ld
MICRO_COMMON := $(GUEST)/micro/start.o $(GUEST)/micro/micro.o $(GUEST)/micro/ap.o $(GUEST)/micro/smp.o
MICRO_NAMES := $(filter-out micro smp rules_run,$(basename $(notdir $(wildcard guests/micro/*.c))))
MICRO_ELFS := $(MICRO_NAMES:%=$(GUEST)/micro/%.elf)

$(GUEST)/micro/%.o: guests/micro/%.c
	@mkdir -p $(@D)
	$(CC) $(MICRO_CFLAGS) -c -o $@ $<

$(GUEST)/micro/%.o: guests/micro/%.S
	@mkdir -p $(@D)
	$(CC) $(MICRO_CFLAGS) -c -o $@ $<

$(GUEST)/micro/%.elf: $(GUEST)/micro/%.o $(MICRO_COMMON) guests/micro/micro.ld
	$(CC) $(MICRO_LDFLAGS) -o $@ $(filter %.o,$^)

# Those that show the rules of docs/rules.md: the scripts of tests/model/rules_*_test.c.
RULES_COMMON := $(GUEST)/micro/rules_run.o $(GUEST)/micro/rules_ap.o
$(filter $(GUEST)/micro/rules-%,$(MICRO_ELFS)): $(RULES_COMMON)
$(GUEST)/micro/rules%.o $(GUEST)/micro/apicv.o: MICRO_CFLAGS += -Iinclude -I.

# The flat guest: 32-bit, by the Multiboot standard, for postern run --multiboot.
FLAT_OBJ := $(GUEST)/micro/flat/start.o $(GUEST)/micro/flat/flat.o
FLAT_CFLAGS := $(filter-out -mno-red-zone,$(MICRO_CFLAGS)) -m32

$(GUEST)/micro/flat/%.o: guests/micro/flat/%.c
	@mkdir -p $(@D)
	$(CC) $(FLAT_CFLAGS) -c -o $@ $<

$(GUEST)/micro/flat/%.o: guests/micro/flat/%.S
	@mkdir -p $(@D)
	$(CC) $(FLAT_CFLAGS) -c -o $@ $<

$(GUEST)/micro/flat.elf: $(FLAT_OBJ) guests/micro/flat/flat.ld
	ld -m elf_i386 -nostdlib -static --build-id=none -z noexecstack -z max-page-size=4096 \
		--no-warn-rwx-segments -T guests/micro/flat/flat.ld -o $@ $(FLAT_OBJ)

.SECONDARY: $(FLAT_OBJ) $(MICRO_NAMES:%=$(GUEST)/micro/%.o) $(MICRO_COMMON) $(RULES_COMMON)
-include $(wildcard $(GUEST)/micro/*.d $(GUEST)/micro/flat/*.d)

.PHONY: guest guest-kernels micro iso run run-intel deps
guest: $(GUEST)/vmlinuz $(GUEST)/initrd.img
guest-kernels: $(GUEST_KERNELS:%=$(GUEST)/vmlinuz-%)
micro: $(MICRO_ELFS) $(GUEST)/micro/flat.elf

# Console and log appear at a serial port, and on the screen if it is in text mode: there is no host command
# to talk to.
ISO_MEMORY := 536870912
iso:
	@scripts/deps build run iso
	@$(MAKE) --no-print-directory all guest
	@printf 'vcpus=%s\nmemory=%s\n' $(GUEST_VCPUS) $(ISO_MEMORY) >$(GUEST)/iso.config
	@printf 'console=ttyS0 panic=-1' >$(GUEST)/iso.cmdline
	scripts/make-iso $(BUILD)/postern.iso $(BUILD)/postern.elf "log=console console=screen" \
		config=$(GUEST)/iso.config kernel0=$(GUEST)/vmlinuz \
		initrd0=$(GUEST)/initrd.img cmdline0=$(GUEST)/iso.cmdline

deps:
	@scripts/deps

# In steps, since nothing can be compiled, nor asked for its flags, before it is installed.
run:
	@scripts/deps build run
	@$(MAKE) --no-print-directory all guest
	$(BUILD)/postern run -c $(GUEST_VCPUS) --pcpus $(GUEST_PCPUS)

run-intel:
	@scripts/deps build run intel
	@$(MAKE) --no-print-directory all guest
	$(BUILD)/postern run --cpu westmere -c $(INTEL_VCPUS) --pcpus $(INTEL_PCPUS)

# Checks of the tree's own rules, and runs of the whole thing on an emulator. Each prints "ok NAME"
# or "not ok NAME" lines and fails when one of them is not ok.
.PHONY: check-style check-layers check-size check-headers check-rule-list check-model-doc check-inhibits \
	check-rules check-system \
	check-system-full-qemu check-system-full-bochs boot-ratio
check-style:
	@scripts/check-style
check-layers:
	@scripts/check-layers
check-size:
	@scripts/check-size
check-headers:
	@CC="$(CC)" scripts/check-headers
check-rule-list:
	@scripts/check-rule-list
check-model-doc:
	@scripts/check-model-doc
check-inhibits:
	@CC="$(CC)" scripts/inhibits-doc --check
check-rules: check-style check-layers check-size check-headers check-rule-list check-model-doc \
	check-inhibits

check-system: all guest guest-kernels micro
	@BUILD=$(BUILD) tests/system/run
check-system-full-qemu check-system-full-bochs: all guest guest-kernels micro
check-system-full-qemu:
	@BUILD=$(BUILD) tests/system/run --full '!(bochs-*)'
check-system-full-bochs:
	@BUILD=$(BUILD) tests/system/run --full 'bochs-*'

# Time of the demonstration under Postern against the same guest directly on the same QEMU.
boot-ratio: all guest
	@BUILD=$(BUILD) tests/system/boot-ratio
