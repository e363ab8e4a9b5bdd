# SPDX-License-Identifier: BSD-2-Clause
# Fuzzers: see tests/fuzz/fuzz.h. Always built by clang.
#   make check-fuzz       a fixed number of executions each, and the mutants that must be found
#   make check-fuzz-full  ten million each, in parts that begin from different seeds

FUZZ := $(BUILD)/fuzz
FUZZ_O := $(FUZZ)/obj
FUZZ_CC ?= clang
FUZZ_RUNS := 100000
FUZZ_RUNS_MUTANT := 1000000
FUZZ_RUNS_FULL := 2500000
FUZZ_SEEDS_FULL := 1 2 3 4
FUZZ_CFLAGS := $(HOST_CFLAGS) -Wno-unknown-warning-option
FUZZ_SANITIZE := $(SANITIZE)
# The hypervisor is instrumented for coverage, what drives it is not: the fuzzer looks for new paths
# where they count. Comparisons are not traced, which takes more time than it finds: inputs are
# choices, not magic numbers.
FUZZ_COVERAGE := -fsanitize-coverage=inline-8bit-counters,pc-table
# For each of the mutants the sanitizers' libraries are linked again: by lld in a fifth of the time.
FUZZ_LINK := $(FUZZ_CC) $(SANITIZE) -fsanitize=fuzzer -pthread -fuse-ld=lld

# The slowest first.
FUZZ_NAMES := irq apicv accel avic vapic hv platform emulate decode
FUZZ_DELIVERY := $(patsubst %,tests/fuzz/%.c,delivery_world delivery_guest delivery_check irq_model) $(LAPIC_TEST_SRC) $(ACCEL_SRC)
FUZZ_SRC_accel := tests/fuzz/accel_check.c $(FUZZ_DELIVERY) svm/avic.c svm/avic_exit.c \
	cpu_model/avic.c cpu_model/avic_ipi.c cpu_model/avic_regs.c
FUZZ_SRC_apicv := tests/fuzz/apicv_world.c tests/fuzz/apicv_check.c $(FUZZ_DELIVERY) \
	$(patsubst %,vmx/%.c,apicv apicv_exit posted ipiv maps) $(patsubst %,cpu_model/%.c,vapic vapic_ipi vapic_regs)
FUZZ_SRC_avic := tests/fuzz/avic_ref.c cpu_model/avic.c cpu_model/avic_ipi.c cpu_model/avic_regs.c
FUZZ_SRC_vapic := tests/fuzz/vapic_ref.c cpu_model/vapic.c cpu_model/vapic_ipi.c cpu_model/vapic_regs.c
FUZZ_SRC_decode := core/decode.c tests/unit/decode_oracle.c
FUZZ_LIBS_decode := -lZydis
FUZZ_SRC_hv := $(HV_TEST_SRC)
FUZZ_SRC_irq := $(patsubst %,tests/fuzz/irq_%.c,world model check) $(IRQ_ALL_SRC) irq/intr.c
FUZZ_SRC_platform := $(PLATFORM_TEST_SRC) irq/pit.c core/bus.c
FUZZ_SRC_emulate := $(UNIT_emulate)

FUZZ_PROGRAMS := $(FUZZ_NAMES:%=$(FUZZ)/%)
FUZZ_OBJ = $(addprefix $(FUZZ_O)/,$(patsubst %.c,%.o,tests/fuzz/$(1).c $(FUZZ_SRC_$(1))))

$(FUZZ_O)/tests/%.o: FUZZ_COVERAGE :=
# Pure, run after every operation, and most of the time that an execution takes.
FUZZ_PURE := irq_check irq_model avic_ref vapic_ref accel_check apicv_check delivery_check
$(FUZZ_PURE:%=$(FUZZ_O)/tests/fuzz/%.o): FUZZ_SANITIZE :=

$(FUZZ_O)/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) $(FUZZ_SANITIZE) $(FUZZ_COVERAGE) -c -o $@ $<

$(FUZZ_PROGRAMS): $(FUZZ)/%: $$(call FUZZ_OBJ,%)
	$(FUZZ_LINK) -o $@ $^ $(FUZZ_LIBS_$*) -lcmocka

# --- mutants: one line of one file made wrong by sed, the rest as it is ---

# UndefinedBehaviorSanitizer takes half of a file's time to compile, and what a mutant breaks is for the checks to find.
FUZZ_MUTANT_CFLAGS := $(FUZZ_CFLAGS) -g0 -w $(if $(FUZZ_SANITIZE),-fsanitize=address) $(FUZZ_COVERAGE)

# NAME:FUZZER:FILE
FUZZ_MUTANTS := $(shell awk '!/^\#/ && NF { print $$1 ":" $$2 ":" $$3 }' tests/fuzz/mutants)

# $(call mutant_rule,NAME,FUZZER,FILE)
define mutant_rule
FUZZ_MUTANT_PROGRAMS += $(FUZZ)/mutant/$(1)/$(2)
$(FUZZ)/mutant/$(1)/$(2): $(3) tests/fuzz/mutants $(call FUZZ_OBJ,$(2))
	@mkdir -p $$(@D)
	awk '$$$$1 == "$(1)" { sub(/^[^ ]+ [^ ]+ [^ ]+ /, ""); print }' tests/fuzz/mutants \
		>$$(@D)/expression
	sed -f $$(@D)/expression $(3) >$$(@D)/mutant.c
	! cmp -s $(3) $$(@D)/mutant.c || { echo "not ok fuzz: $(1) changes nothing"; exit 1; }
	$(FUZZ_CC) $(FUZZ_MUTANT_CFLAGS) -c -o $$(@D)/mutant.o $$(@D)/mutant.c
	$(FUZZ_LINK) -o $$@ $$(@D)/mutant.o \
		$(filter-out $(FUZZ_O)/$(3:.c=.o),$(call FUZZ_OBJ,$(2))) $(FUZZ_LIBS_$(2)) -lcmocka
endef
mutant_word = $(word $(1),$(subst :, ,$(2)))
$(foreach m,$(FUZZ_MUTANTS),$(eval $(call mutant_rule,$(call mutant_word,1,$(m)),$(call \
	mutant_word,2,$(m)),$(call mutant_word,3,$(m)))))

# --- running ---

# $(call fuzz,EXECUTIONS,SEEDS): each fuzzer from each seed, then each mutant, which begins with what its fuzzer has found
# from seed 1; even if one fails; as many at a time as there are processors.
fuzz_parallel = xargs -L 1 -P "$$(nproc)" tests/fuzz/run $(BUILD)
fuzz = @{ $(foreach f,$(FUZZ_NAMES),$(foreach s,$(2),echo $(1) $(s) $(f);)) } | $(fuzz_parallel); \
	status=$$?; \
	{ $(foreach m,$(FUZZ_MUTANT_PROGRAMS:$(FUZZ)/mutant/%=%),echo $(FUZZ_RUNS_MUTANT) 1 $(notdir \
	$(m)) $(patsubst %/,%,$(dir $(m)));) } | $(fuzz_parallel) && exit $$status

.PHONY: check-fuzz check-fuzz-full
check-fuzz: $(FUZZ_PROGRAMS) $(FUZZ_MUTANT_PROGRAMS)
	$(call fuzz,$(FUZZ_RUNS),1)

check-fuzz-full: $(FUZZ_PROGRAMS) $(FUZZ_MUTANT_PROGRAMS)
	$(call fuzz,$(FUZZ_RUNS_FULL),$(FUZZ_SEEDS_FULL))

.SECONDARY: $(foreach f,$(FUZZ_NAMES),$(call FUZZ_OBJ,$(f)))
-include $(wildcard $(FUZZ_O)/*/*.d $(FUZZ_O)/tests/*/*.d)
