# SPDX-License-Identifier: BSD-2-Clause
# Postern. `make run` boots the demonstration guest, `make check` runs every test.
# Each part of the tree has its own fragment; this file holds what they share.

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
# Commands are shown with V=1.
ifndef V
MAKEFLAGS += --silent
endif

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wundef -Wmissing-prototypes -Wstrict-prototypes \
	-Wold-style-definition -Wpointer-arith -Wvla -Wwrite-strings -Wimplicit-fallthrough
# -mcx16: 16 bytes that change as one, postern/sync.h.
COMMON_CFLAGS := -std=gnu11 -O2 -g -mcx16 $(WARNINGS) -Iinclude -I. -MMD -MP

# The hypervisor proper: the same sources in the image, in host tests and under the explorer.
CORE_SRC := $(sort $(wildcard core/*.c irq/*.c mmu/*.c svm/*.c vmx/*.c host/*.c platform/*.c))

include platform/platform.mk
include port/metal/metal.mk
-include cli/cli.mk
-include guests/guests.mk
-include tests/tests.mk

.PHONY: all clean
all: $(BUILD)/postern.elf $(BUILD)/postern

clean:
	rm -rf $(BUILD)
