# SPDX-License-Identifier: BSD-2-Clause
# `make check` and its parts. Every test prints one line, "ok NAME" or "not ok NAME"; the last line
# of `make check` is "N passed, N failed".
#   make check-unit    one source file each, over fakes           (ASan, UBSan)
#   make check-model   the hypervisor over the processor model    (ASan, UBSan)
#   make check-model-avic  the same on processors with AVIC
#   make check-model-vmx   the same on processors with VMX
#   make check-model-inhibit  what guests see while acceleration is switched off and on
#   make check-tsan    the same with a thread for each processor  (TSan)
#   make check-soak    interrupts between threads by the hundred thousand, each accounted for
#   make check-race    all interleavings of small scenarios
#   make check-fuzz    inputs at random, with invariants checked  (libFuzzer, ASan, UBSan)
#   make check-clang   everything built by clang; in check-full unit and model tests with it
#   make check-bench   what exits and IPIs cost, in instructions, against limits (also: make bench)
#   make check-full    all of `make check`, longer; RESUME=1 goes on where the last one was interrupted

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_CFLAGS := $(COMMON_CFLAGS) -Iport/posix -pthread -fno-omit-frame-pointer
HOST_SRC := $(CORE_SRC) $(sort $(wildcard port/posix/*.c cpu_model/*.c))
TAP := tests/tap

# --- the host library: the hypervisor's own sources, the processor model, the host port ---

HOST := $(BUILD)/host
HOST_OBJ := $(HOST_SRC:%.c=$(HOST)/%.o)

$(HOST)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) $(SANITIZE) -c -o $@ $<

$(HOST)/libpostern.a: $(HOST_OBJ)
	@rm -f $@
	ar rcs $@ $^

# --- unit tests: the sources that each is linked with; everything else is a fake of its own ---

IRQ_FAKE := tests/unit/irq_fake.c
LAPIC_TEST_SRC := $(IRQ_FAKE) $(sort $(wildcard irq/lapic*.c)) irq/apic_map.c irq/deliver.c
ACCEL_SRC := irq/accel.c irq/inhibit.c irq/irq_window.c irq/apic_page.c
# All interrupt controllers, wired up.
IRQ_ALL_SRC := $(IRQ_FAKE) $(filter-out irq/intr.c irq/assigned.c $(ACCEL_SRC) irq/synic.c irq/stimer.c,$(sort $(wildcard irq/*.c))) \
	platform/irqchip.c core/bus.c
UNIT_acpi := $(PLATFORM_TEST_SRC)
AVIC_TEST_SRC := tests/unit/avic_fake.c cpu_model/avic.c cpu_model/avic_ipi.c cpu_model/avic_regs.c
UNIT_avic := $(AVIC_TEST_SRC)
UNIT_avic_ipi := $(AVIC_TEST_SRC)
UNIT_avic_regs := $(AVIC_TEST_SRC)
VAPIC_TEST_SRC := tests/unit/vapic_fake.c cpu_model/vapic.c cpu_model/vapic_ipi.c cpu_model/vapic_regs.c
UNIT_vapic := $(VAPIC_TEST_SRC)
UNIT_vapic_ipi := $(VAPIC_TEST_SRC)
UNIT_vapic_msr := $(VAPIC_TEST_SRC)
UNIT_vapic_regs := $(VAPIC_TEST_SRC)
UNIT_bzimage := $(PLATFORM_TEST_SRC)
UNIT_firmware := $(PLATFORM_TEST_SRC)
UNIT_fw_cfg := $(PLATFORM_TEST_SRC)
UNIT_msidev := $(PLATFORM_TEST_SRC)
UNIT_multiboot := $(PLATFORM_TEST_SRC)
UNIT_pci := $(PLATFORM_TEST_SRC)
UNIT_pci_device := $(PLATFORM_TEST_SRC)
UNIT_pm := $(PLATFORM_TEST_SRC)
UNIT_route := $(IRQ_FAKE) irq/msi.c irq/route.c
UNIT_rtc := $(PLATFORM_TEST_SRC)
UNIT_testdev := $(PLATFORM_TEST_SRC)
UNIT_uart := $(PLATFORM_TEST_SRC)
UNIT_apic_map := $(LAPIC_TEST_SRC)
UNIT_bus := core/bus.c
UNIT_command := core/command.c core/config.c
UNIT_config := core/config.c
UNIT_decode := core/decode.c tests/unit/decode_oracle.c
UNIT_eoi_exit := $(IRQ_ALL_SRC)
UNIT_emulate := tests/unit/emulate_fake.c $(wildcard core/emulate*.c) core/decode.c core/bus.c \
	mmu/nested.c mmu/memory_type.c mmu/walk.c
UNIT_emulate_string := $(UNIT_emulate)
HV_TEST_SRC := tests/unit/hv_fake.c $(LAPIC_TEST_SRC) irq/synic.c irq/stimer.c $(wildcard core/hv*.c)
UNIT_hv := $(HV_TEST_SRC)
UNIT_stimer := $(HV_TEST_SRC)
UNIT_synic := $(HV_TEST_SRC)
UNIT_intr := $(LAPIC_TEST_SRC) irq/intr.c
UNIT_lapic_apart := $(LAPIC_TEST_SRC)
UNIT_ioapic := $(IRQ_FAKE) irq/ioapic.c core/bus.c
UNIT_irqchip := $(IRQ_ALL_SRC)
UNIT_l2 := $(LAPIC_TEST_SRC) $(ACCEL_SRC) irq/intr.c core/nested.c
UNIT_lapic := $(LAPIC_TEST_SRC)
UNIT_lapic_icr := $(LAPIC_TEST_SRC)
UNIT_lapic_timer := $(LAPIC_TEST_SRC)
UNIT_msi := $(IRQ_FAKE) irq/msi.c irq/route.c
UNIT_memory_type := mmu/memory_type.c mmu/nested.c
UNIT_nested := mmu/nested.c mmu/memory_type.c
UNIT_pic := $(IRQ_FAKE) irq/pic.c irq/extint.c platform/irqchip.c core/bus.c
UNIT_pit := $(IRQ_FAKE) irq/pit.c core/bus.c
UNIT_pit_reinject := $(UNIT_pit)
UNIT_svm_avic := $(LAPIC_TEST_SRC) $(ACCEL_SRC) svm/avic.c svm/avic_exit.c
UNIT_vmcs_store := cpu_model/vmcs_store.c
UNIT_vtd := cpu_model/vtd.c
UNIT_walk := mmu/walk.c
UNIT_LIBS_decode := -lZydis

UNIT_NAMES := $(patsubst tests/unit/%_test.c,%,$(sort $(wildcard tests/unit/*_test.c)))
UNIT_TESTS := $(UNIT_NAMES:%=$(HOST)/tests/unit/%_test)

.SECONDEXPANSION:
$(UNIT_TESTS): $(HOST)/tests/unit/%_test: $(HOST)/tests/unit/%_test.o $$(addprefix $(HOST)/,$$(UNIT_$$*:.c=.o))
	$(CC) $(SANITIZE) -pthread -o $@ $^ $(UNIT_LIBS_$*) -lcmocka

# --- model tests: scripted guests on the whole hypervisor ---

MODEL_NAMES := $(patsubst tests/model/%_test.c,%,$(sort $(wildcard tests/model/*_test.c)))
# The longest first, so that no processor waits for it at the end.
MODEL_TESTS := $(patsubst %,$(HOST)/tests/model/%_test,witness $(filter-out witness,$(MODEL_NAMES)))

$(MODEL_TESTS): %: %.o $(HOST)/tests/model/harness.o $(HOST)/libpostern.a
	$(CC) $(SANITIZE) -pthread -o $@ $(filter %.o,$^) -Wl,--whole-archive \
		$(HOST)/libpostern.a -Wl,--no-whole-archive -lcmocka

# The rules of docs/rules.md: scripts that are compiled into micro guests, too.
RULES_OBJ := $(HOST)/tests/model/rules_run.o
$(filter $(HOST)/tests/model/rules_%,$(MODEL_TESTS)): $(RULES_OBJ)
$(HOST)/tests/model/rules_%.o $(HOST)/tests/model/apicv_exits_test.o: HOST_CFLAGS += -Itests/model/guest

# Scripts whose traces are compared between processors.
WITNESS_OBJ := $(patsubst %,$(HOST)/tests/model/%.o,witness witness_one witness_many witness_known)
$(HOST)/tests/model/witness_test: $(WITNESS_OBJ)

# The other end of the debug channel.
DEBUGGER_OBJ := $(HOST)/tests/model/debugger.o
$(HOST)/tests/model/debugger_test: $(DEBUGGER_OBJ)

# --- the same under ThreadSanitizer, one thread for each processor ---
# Scripts and what switches to them are not instrumented: see cpu_model/guest.c.

TSAN := $(BUILD)/tsan
TSAN_PLAIN := cpu_model/guest.c cpu_model/guest_ops.c port/posix/coro.c tests/model/harness.c \
	tests/model/threads.c tests/model/soak.c
TSAN_LIB := $(patsubst %.c,$(TSAN)/%.o,$(HOST_SRC) tests/model/harness.c)
TSAN_OBJ := $(TSAN_LIB) $(TSAN)/tests/model/threads.o $(TSAN)/tests/model/soak.o
$(TSAN_PLAIN:%.c=$(TSAN)/%.o): THREAD_SANITIZE :=
# A fence on its own is beyond ThreadSanitizer (gcc says so); ours order atomic accesses anyway.
THREAD_SANITIZE := -fsanitize=thread $(if $(findstring clang,$(CC)),,-Wno-tsan)

$(TSAN)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) $(THREAD_SANITIZE) -c -o $@ $<

$(TSAN)/threads $(TSAN)/soak: $(TSAN)/%: $(TSAN_LIB) $(TSAN)/tests/model/%.o
	$(CC) -fsanitize=thread -pthread -o $@ $^ -lcmocka

# --- the race explorer: not sanitized, since it runs scenarios by the hundred thousand ---

RACE := $(BUILD)/race
RACE_SRC := $(sort $(wildcard tests/race/*.c))
RACE_OBJ := $(patsubst %.c,$(RACE)/%.o,$(HOST_SRC) $(RACE_SRC))
# Without race.c, whose hooks at each atomic access would be counted too.
BENCH_OBJ := $(patsubst %.c,$(RACE)/%.o,$(filter-out port/posix/race.c,$(HOST_SRC)) \
	tests/model/harness.c bench/lookup.c)

$(RACE)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -c -o $@ $<

$(RACE)/explorer: $(RACE_OBJ)
	$(CC) -pthread -o $@ $^

# --- the soak: as fast as can be, for the sake of numbers; under ThreadSanitizer see above ---

SOAK_OBJ := $(patsubst %.c,$(RACE)/%.o,$(HOST_SRC) tests/model/harness.c tests/model/soak.c)

$(RACE)/soak: $(SOAK_OBJ)
	$(CC) -pthread -o $@ $^ -lcmocka

# --- figures: see bench/; not sanitized, since instructions are counted ---

BENCH_LOOKUP := $(HOST)/bench/lookup

$(BENCH_LOOKUP): $(BENCH_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -lcmocka

# What is counted, as it is in the image: without the explorer's hooks.
BENCH_AVIC := $(HOST)/bench/avic
BENCH_PLAIN := $(patsubst %,$(BUILD)/bench/%.o,bench/avic cpu_model/avic cpu_model/avic_ipi \
	cpu_model/avic_regs)
BENCH_AVIC_OBJ := $(BENCH_PLAIN) $(patsubst %.c,$(RACE)/%.o,$(LAPIC_TEST_SRC) svm/avic.c \
	bench/avic_memory.c)

$(BENCH_PLAIN): $(BUILD)/bench/%.o: %.c
	@mkdir -p $(@D)
	$(CC) -Iport/metal $(COMMON_CFLAGS) -c -o $@ $<

$(BENCH_AVIC): $(BENCH_AVIC_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^

BENCH_VAPIC := $(HOST)/bench/vapic
BENCH_VAPIC_PLAIN := $(patsubst %,$(BUILD)/bench/%.o,bench/vapic cpu_model/vapic cpu_model/vapic_ipi \
	cpu_model/vapic_regs core/sched irq/accel irq/lapic_accel vmx/posted vmx/ipiv vmx/maps)
BENCH_VAPIC_OBJ := $(BENCH_VAPIC_PLAIN) $(patsubst %.c,$(RACE)/%.o,$(filter-out irq/lapic_accel.c,$(LAPIC_TEST_SRC)) \
	bench/vapic_memory.c)

$(BENCH_VAPIC_PLAIN): $(BUILD)/bench/%.o: %.c
	@mkdir -p $(@D)
	$(CC) -Iport/metal $(COMMON_CFLAGS) -c -o $@ $<

$(BENCH_VAPIC): $(BENCH_VAPIC_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^

# The same for windows and the look at each entry; processors are threads.
BENCH_IRQWIN := $(HOST)/bench/irqwin
BENCH_IRQWIN_OBJ := $(patsubst %,$(BUILD)/bench/%.o,bench/irqwin irq/irq_window irq/inhibit \
	tests/race/irq_window_naive tests/race/irq_window_sketch)
$(filter-out $(BENCH_PLAIN),$(BENCH_IRQWIN_OBJ)): $(BUILD)/bench/%.o: %.c
	@mkdir -p $(@D)
	$(CC) -Ibench/threads -Iport/metal $(COMMON_CFLAGS) -pthread -c -o $@ $<

$(BENCH_IRQWIN): $(BENCH_IRQWIN_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^

# On the explorer's stage, with threads in the explorer's place.
BENCH_ACTIVATION := $(HOST)/bench/activation
BENCH_ACTIVATION_OBJ := $(patsubst %.c,$(RACE)/%.o,$(filter-out port/posix/race.c,$(HOST_SRC)) \
	tests/race/stage.c tests/race/inhibit_stage.c bench/activation.c)
$(BENCH_ACTIVATION): $(BENCH_ACTIVATION_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^

# The whole hypervisor, with a choice of who counts windows in the place of irq/irq_window.c.
BENCH_PATH := $(HOST)/bench/irqwin_path
BENCH_PATH_WINDOW := $(BUILD)/bench/renamed/irq_window.o
BENCH_PATH_OBJ := $(patsubst %.c,$(RACE)/%.o,$(filter-out port/posix/race.c irq/irq_window.c,$(HOST_SRC)) \
	tests/model/harness.c tests/race/irq_window_naive.c tests/race/irq_window_sketch.c bench/irqwin_path.c)
$(BENCH_PATH_WINDOW): irq/irq_window.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -Dirq_window_open=irq_window_right_open -Dirq_window_close=irq_window_right_close \
		-c -o $@ $<

$(BENCH_PATH): $(BENCH_PATH_OBJ) $(BENCH_PATH_WINDOW)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -lcmocka

BENCH_PROGRAMS := $(BENCH_PATH) $(BENCH_LOOKUP) $(BENCH_AVIC) $(BENCH_VAPIC) $(BENCH_IRQWIN) $(BENCH_ACTIVATION)

# Processors on Bochs to count on, besides QEMU's: make bench BENCH_CPUS='westmere broadwell'
BENCH_CPUS := westmere

.PHONY: bench check-bench
bench:
	@scripts/deps build run check
	@$(MAKE) --no-print-directory check-bench

# --- running ---

# $(call run,PROGRAMS,SECONDS): each of them, even if one fails; as many at a time as there are
# processors.
run = @printf '%s\n' $(1) | xargs -P "$$(nproc)" -I PROGRAM sh -c '$(TAP) "$$(basename PROGRAM)" $(2) PROGRAM'

.PHONY: check check-full check-build check-unit check-model check-model-avic check-model-vmx check-model-inhibit check-tsan \
	check-soak check-race check-clang host-tests
host-tests: $(UNIT_TESTS) $(MODEL_TESTS)

check-build: all guest
	@echo "ok build"

check-unit: export POSTERN_TEST_KERNEL := $(wildcard $(GUEST)/vmlinuz)
check-unit: $(UNIT_TESTS)
	$(call run,$(UNIT_TESTS),300)

check-model: $(MODEL_TESTS)
	$(call run,$(MODEL_TESTS),$(if $(POSTERN_TEST_FULL),3600,600))

# Tests that look at nothing but what a guest sees of its interrupts.
INTERRUPT_TESTS := $(filter $(addprefix %/,$(addsuffix _test,$(filter rules_%,$(MODEL_NAMES)) apic basic \
	extint msi nmi)),$(MODEL_TESTS))
# Those that name their processors by themselves.
NAMED_TESTS := $(patsubst %,$(HOST)/tests/model/%_test,apicv apicv_exits assigned assigned_msi assist_vmx avic entry_timer inhibit \
	inhibit_apic ipiv nested_vmx posted vmx vmx_apic vmx_backend vmx_fast vmx_ipiv vmx_posted vmx_posting vmx_replay vmx_rules vmx_vid \
	witness)

# The same scripts on processors with AVIC, native to the model and by the assist: what they see must be
# the same. All of these in check-full.
MODEL_CPUS := $(if $(POSTERN_TEST_FULL),rome milan genoa assist-rome assist-milan) assist-genoa
AVIC_TESTS := $(filter-out $(NAMED_TESTS),$(MODEL_TESTS))
check-model-avic: $(MODEL_TESTS)
	@for cpu in $(MODEL_CPUS); do for test in $(AVIC_TESTS); do \
		echo "$$cpu $(TAP) $$cpu-$$(basename $$test) 1200 $$test"; \
	done; done | xargs -P "$$(nproc)" -L 1 sh -c 'cpu=$$0; POSTERN_TEST_CPU=$$cpu exec "$$@"'

# The same scripts on the VMX back end. Left out besides: those about AVIC.
VMX_TESTS := $(filter-out $(NAMED_TESTS) %/hv_test %/model_test,$(MODEL_TESTS))
# With APICv: those about interrupts, all of them in check-full.
APICV_CPUS := broadwell broadwell-unposted sapphire-rapids $(if $(POSTERN_TEST_FULL),assist-broadwell) assist-sapphire-rapids
APICV_TESTS := $(if $(POSTERN_TEST_FULL),$(VMX_TESTS),$(INTERRUPT_TESTS))
# Without a preemption timer: those about interrupts, all of them in check-full.
UNTIMED_TESTS := $(if $(POSTERN_TEST_FULL),$(VMX_TESTS),$(filter %/nmi_test %/rules_timer_test,$(VMX_TESTS)))
check-model-vmx: $(VMX_TESTS)
	@{ for test in $(VMX_TESTS); do echo "westmere $(TAP) westmere-$$(basename $$test) 1200 $$test"; done; \
	for cpu in $(APICV_CPUS); do for test in $(APICV_TESTS); do \
		echo "$$cpu $(TAP) $$cpu-$$(basename $$test) 1200 $$test"; \
	done; done; \
	for test in $(UNTIMED_TESTS); do \
		echo "westmere-untimed $(TAP) westmere-untimed-$$(basename $$test) 1200 $$test"; \
	done; } | xargs -P "$$(nproc)" -L 1 sh -c 'cpu=$$0; POSTERN_TEST_CPU=$$cpu exec "$$@"'

# The same with acceleration inhibited throughout, and switched between any two instructions. All processors
# in check-full; by the assist, which differs in who does the hardware's part, not in what may come between, with as many
# interleavings as in `make check`.
INHIBIT_RUNS := genoa/toggled milan/toggled broadwell/toggled genoa/inhibited $(if $(POSTERN_TEST_FULL),rome/toggled \
	rome/inhibited milan/inhibited broadwell/inhibited broadwell-unposted/toggled broadwell-unposted/inhibited \
	sapphire-rapids/toggled sapphire-rapids/inhibited $(foreach cpu,rome milan genoa broadwell sapphire-rapids, \
	assist-$(cpu)/toggled assist-$(cpu)/inhibited))
check-model-inhibit: $(INTERRUPT_TESTS)
	@for run in $(INHIBIT_RUNS); do for test in $(INTERRUPT_TESTS); do \
		echo "$$run $(TAP) $$(echo $$run | tr / -)-$$(basename $$test) 1200 $$test"; \
	done; done | xargs -P "$$(nproc)" -L 1 sh -c 'run=$$0; case $$run in assist-*) unset POSTERN_TEST_FULL ;; esac; \
		POSTERN_TEST_CPU=$${run%/*} POSTERN_TEST_INHIBIT=$${run#*/} exec "$$@"'

check-tsan: export TSAN_OPTIONS := halt_on_error=1 second_deadlock_stack=1
check-tsan: $(TSAN)/threads $(TSAN)/soak
	@$(TAP) tsan-threads 1800 $(TSAN)/threads
	@POSTERN_TEST_CPU=westmere $(TAP) tsan-threads-westmere 1800 $(TSAN)/threads
	@POSTERN_TEST_CPU=broadwell $(TAP) tsan-threads-broadwell 1800 $(TSAN)/threads
	@$(TAP) tsan-soak 1800 $(TSAN)/soak $(if $(POSTERN_TEST_FULL),1000000,90000)

check-soak: $(RACE)/soak
	@$(TAP) soak 7200 $(RACE)/soak $(if $(POSTERN_TEST_FULL),100000000,900000) others
	@$(TAP) soak-posted 7200 $(RACE)/soak $(if $(POSTERN_TEST_FULL),100000000,600000) posted

check-race: $(RACE)/explorer
	@$(TAP) explorer $(if $(POSTERN_TEST_FULL),3600,900) $(RACE)/explorer

check-bench: $(BENCH_PROGRAMS) all micro
	@BUILD=$(BUILD) bench/run $(BENCH_CPUS)

# A second build directory, so that both compilers' objects stay. What clang has built is run, and with the
# sanitizers, in check-full.
CLANG := CC=clang BUILD=$(BUILD)/clang$(if $(POSTERN_TEST_FULL),, SANITIZE=)
check-clang:
	@$(MAKE) --no-print-directory $(CLANG) all host-tests
	@echo "ok clang: build"
	@$(if $(POSTERN_TEST_FULL),env -u POSTERN_TEST_FULL $(MAKE) --no-print-directory -k $(CLANG) check-unit check-model)

CHECK_TARGETS := check-build check-rules check-unit check-model check-model-avic check-model-vmx check-model-inhibit \
	check-race+check-tsan+check-soak check-fuzz check-cli+check-bench check-clang check-system
check:
	@scripts/deps build run check
	@MAKE="$(MAKE)" tests/check $(BUILD) $(CHECK_TARGETS)

# The soak, the explorer and the fuzzers go on for longer, the model and system tests run the whole matrix, which comes first.
# Hours; RESUME=1 goes on after the last part that came to its end (tests/check).
FULL_TARGETS := check-build check-rules check-unit check-model check-model-avic check-model-vmx check-system-full-qemu \
	check-system-full-bochs check-model-inhibit check-clang check-cli+check-bench check-fuzz-full \
	check-race+check-tsan+check-soak
check-full:
	@scripts/deps build run check
	@MAKE="$(MAKE)" POSTERN_TEST_FULL=1 RESUME=$(RESUME) tests/check $(BUILD) $(FULL_TARGETS); \
		status=$$?; scripts/matrix $(BUILD)/check/log docs/conformance.md; exit $$status

.SECONDARY: $(HOST_OBJ) $(TSAN_OBJ) $(RACE_OBJ) $(SOAK_OBJ) $(BENCH_OBJ) $(BENCH_AVIC_OBJ) $(BENCH_VAPIC_OBJ) $(BENCH_IRQWIN_OBJ) \
	$(BENCH_ACTIVATION_OBJ) $(BENCH_PATH_OBJ) $(BENCH_PATH_WINDOW) $(UNIT_NAMES:%=$(HOST)/tests/unit/%_test.o) \
	$(MODEL_NAMES:%=$(HOST)/tests/model/%_test.o) $(HOST)/tests/model/harness.o \
	$(RULES_OBJ) $(DEBUGGER_OBJ) $(HOST)/tests/unit/irq_fake.o $(HOST)/tests/unit/platform_fake.o
include tests/fuzz/fuzz.mk
include tests/hw/hw.mk

-include $(HOST_OBJ:.o=.d) $(TSAN_OBJ:.o=.d) $(RACE_OBJ:.o=.d) $(SOAK_OBJ:.o=.d) $(BENCH_OBJ:.o=.d) \
	$(BENCH_AVIC_OBJ:.o=.d) $(BENCH_VAPIC_OBJ:.o=.d) $(BENCH_IRQWIN_OBJ:.o=.d) $(BENCH_ACTIVATION_OBJ:.o=.d) \
	$(BENCH_PATH_OBJ:.o=.d) $(BENCH_PATH_WINDOW:.o=.d) \
	$(wildcard $(HOST)/tests/unit/*.d $(HOST)/tests/model/*.d)
