# SPDX-License-Identifier: BSD-2-Clause
# The host command `postern`, and its tests: `make check-cli`.

CLI_SRC := $(sort $(wildcard cli/*.c))
CLI_CFLAGS := $(COMMON_CFLAGS) -D_GNU_SOURCE
CLI_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
CLI_LIBS := -lcjson

CLI_OBJ := $(CLI_SRC:%.c=$(BUILD)/%.o)
# The tests run a second build, with sanitizers.
CLI_SAN_OBJ := $(CLI_SRC:%.c=$(BUILD)/san/%.o)
CLI_TEST_PARTS := $(filter-out %/main.o,$(CLI_SAN_OBJ))
CLI_TESTS := $(patsubst %,$(BUILD)/tests/cli/%_test,unit apicv control gdb terminal)

$(BUILD)/postern: $(CLI_OBJ)
	@mkdir -p $(@D)
	$(CC) -o $@ $(CLI_OBJ) $(CLI_LIBS)

$(BUILD)/cli/%.o: cli/%.c
	@mkdir -p $(@D)
	$(CC) $(CLI_CFLAGS) -c -o $@ $<

$(BUILD)/san/cli/%.o: cli/%.c
	@mkdir -p $(@D)
	$(CC) $(CLI_CFLAGS) $(CLI_SANITIZE) -c -o $@ $<

$(BUILD)/san/tests/cli/%.o: tests/cli/%.c
	@mkdir -p $(@D)
	$(CC) $(CLI_CFLAGS) $(CLI_SANITIZE) -c -o $@ $<

$(BUILD)/tests/cli/postern: $(CLI_SAN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CLI_SANITIZE) -o $@ $^ $(CLI_LIBS)

$(BUILD)/tests/cli/%_test: $(BUILD)/san/tests/cli/%_test.o $(CLI_TEST_PARTS)
	@mkdir -p $(@D)
	$(CC) $(CLI_SANITIZE) -o $@ $^ $(CLI_LIBS) -lcmocka -lutil

$(BUILD)/tests/cli/fake_qemu: $(BUILD)/san/tests/cli/fake_qemu.o
	@mkdir -p $(@D)
	$(CC) $(CLI_SANITIZE) -o $@ $^

.PHONY: check-cli
check-cli: $(CLI_TESTS) $(BUILD)/tests/cli/postern $(BUILD)/tests/cli/fake_qemu
	$(BUILD)/tests/cli/unit_test
	$(BUILD)/tests/cli/apicv_test
	$(BUILD)/tests/cli/control_test
	$(BUILD)/tests/cli/gdb_test
	$(BUILD)/tests/cli/terminal_test $(BUILD)/tests/cli/postern $(BUILD)/tests/cli/fake_qemu
	@# These two mostly wait: side by side.
	tests/cli/bochs_test.sh $(BUILD)/tests/cli/postern $(BUILD)/tests/cli/fake_qemu \
		>$(BUILD)/tests/cli/bochs.out 2>&1 & bochs=$$!; \
	tests/cli/run_test.sh $(BUILD)/tests/cli/postern $(BUILD)/tests/cli/fake_qemu; run=$$?; \
	wait $$bochs; status=$$?; cat $(BUILD)/tests/cli/bochs.out; exit $$((run | status))
	tests/cli/conformance_test.sh
	tests/cli/matrix_test.sh
	tests/cli/sitting_test.sh
	tests/cli/compare_test.sh

.SECONDARY: $(CLI_SAN_OBJ) $(patsubst tests/%.c,$(BUILD)/san/tests/%.o,$(wildcard tests/cli/*.c))
-include $(CLI_OBJ:.o=.d) $(CLI_SAN_OBJ:.o=.d) $(wildcard $(BUILD)/san/tests/cli/*.d)
