/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a run can be configured with; one list for the host command (which checks and documents) and
 * the image (which obeys). The host command hands it over as the boot file "config", lines of
 * KEY=VALUE: cpu=MODEL, vcpus=N, memory=BYTES, set.KEY=VALUE for --set, and reserve-boot-cpu=1 if
 * the boot processor runs no vCPU (docs/emulators.md says why QEMU needs that), and debugger-wait=1 if
 * VM 0 is to start when a debugger says so. All this is VM 0's
 * or the whole machine's; a line vm=1 begins VM 1's own lines, vm=2 the next one's. The guest's
 * files are boot files "kernel0" (or "multiboot0"), "initrd0", "cmdline0" (text), or "firmware0" alone,
 * for VM 0, and so on.
 */
#ifndef POSTERN_SETTINGS_H
#define POSTERN_SETTINGS_H

/* X(ENUM, "key", type BOOL, NUMBER or CHOICE, default, minimum, maximum, "what it does") */
#define SETTINGS(X)                                                                                \
	X(X2APIC, "x2apic", BOOL, 1, 0, 1, "offer x2APIC to the guest")                            \
	X(APICV, "apicv", BOOL, 1, 0, 1,                                                           \
	  "let the processor deliver interrupts by itself, if it can")                             \
	X(TSC_DEADLINE, "tsc-deadline", BOOL, 1, 0, 1, "offer the TSC-deadline timer")             \
	X(KVM_CLOCK, "kvm-clock", BOOL, 1, 0, 1, "offer the paravirtual clock")                    \
	X(HYPERV, "hyperv", BOOL, 0, 0, 1, "offer Hyper-V's interface: SynIC, timers, clock")      \
	X(HYPERV_AUTOEOI, "hyperv.autoeoi", BOOL, 0, 0, 1,                                         \
	  "do not recommend against AutoEOI, which needs acceleration off")                        \
	X(FLOOR, "floor", BOOL, 0, 0, 1,                                                           \
	  "log what bare world switches cost before the guest starts")                             \
	X(TESTDEV, "testdev", BOOL, 0, 0, 1, "add the test device of QEMU's pc machine")           \
	X(MSIDEV, "msidev", NUMBER, 0, 0, 4, "add that many PCI test devices with MSI")            \
	X(MSIDEV_ASSIGNED, "msidev.assigned", BOOL, 0, 0, 1,                                       \
	  "let their messages go through the IOMMU, as those of assigned devices")                 \
	X(SLICE_US, "slice-us", NUMBER, 2000, 100, 100000,                                         \
	  "microseconds of a turn when vCPUs share a processor")                                   \
	X(PAUSE_YIELD, "pause-yield", BOOL, 1, 0, 1,                                               \
	  "let a spinning vCPU give up its turn while others wait")                                \
	X(PREEMPTION_TIMER, "preemption-timer", BOOL, 1, 0, 1,                                     \
	  "use the processor's preemption timer, if it has one")                                   \
	X(POSTED, "posted", BOOL, 1, 0, 1, "use posted interrupts, if the processor has them")     \
	X(IPIV, "ipiv", BOOL, 1, 0, 1,                                                             \
	  "use IPI virtualization, if the processor has it and posted interrupts")                 \
	X(IOMMU_POSTING, "iommu.posting", BOOL, 1, 0, 1,                                           \
	  "let the IOMMU post assigned devices' messages, if it can")                              \
	X(STALE_VECTORING, "stale-vectoring", BOOL, 0, 0, 1,                                       \
	  "the processor says wrongly which virtual interrupt an exit has cut short, as Bochs")    \
	X(PIT_REINJECT, "pit.reinject", BOOL, 0, 0, 1,                                             \
	  "hold back ticks of the 8254 until the guest has taken the one before")                  \
	X(IRQCHIP, "irqchip", CHOICE, 0, 0, 1,                                                     \
	  "where the 8259 pair lives: in the core, or outside it, with the platform")              \
	X(INHIBIT_STORM, "inhibit-storm", NUMBER, 0, 0, 1000,                                      \
	  "times a second that the debug inhibit STORM is set and cleared")                        \
	X(TRACE_ENTRIES, "trace.entries", NUMBER, 0, 0, 1000000,                                   \
	  "log that many VM entries from the start, as KVM traces them")                           \
	X(DEBUG_PANIC, "debug.panic", CHOICE, 0, 0, 3,                                             \
	  "break the hypervisor once the guest runs, to see what it says")                         \
	X(DEBUG_LOSE_TICKS, "debug.lose-ticks", NUMBER, 0, 0, 1000000,                             \
	  "lose each that-many-th timer interrupt of a processor, as emulators do; 0: none")

/* X(SETTING, value, "name"): the names of a CHOICE's values, from its minimum to its maximum. */
#define SETTING_CHOICES(X)                                                                         \
	X(IRQCHIP, IRQCHIP_FULL, "full")                                                           \
	X(IRQCHIP, IRQCHIP_SPLIT, "split")                                                         \
	X(DEBUG_PANIC, DEBUG_PANIC_OFF, "off")                                                     \
	X(DEBUG_PANIC, DEBUG_PANIC_ASSERTION, "assertion")                                         \
	X(DEBUG_PANIC, DEBUG_PANIC_FAULT, "fault")                                                 \
	X(DEBUG_PANIC, DEBUG_PANIC_STACK, "stack")

/* X("key", "what it does"): the one setting that is a list, postern/apic_ids.h; a VM's. */
#define SETTING_APIC_IDS(X)                                                                        \
	X("apic-ids", "the vCPUs' initial APIC IDs, as in 0,1,300,600 or 0-3,256-259")

enum setting_irqchip {
	IRQCHIP_FULL,
	IRQCHIP_SPLIT
};

/* A failed check, an exception, an exception for want of stack. */
enum setting_debug_panic {
	DEBUG_PANIC_OFF,
	DEBUG_PANIC_ASSERTION,
	DEBUG_PANIC_FAULT,
	DEBUG_PANIC_STACK
};

enum setting_id {
#define X(id, key, type, def, min, max, what) SETTING_##id,
	SETTINGS(X)
#undef X
	SETTING_COUNT
};

/* X(ENUM): the settings that can be changed while the guest runs; each is one VM's (core/command.c). */
#define RUNTIME_SETTINGS(X)                                                                        \
	X(PIT_REINJECT)                                                                            \
	X(INHIBIT_STORM)

/* X(ENUM): the settings that are the whole machine's, not one VM's. */
#define MACHINE_SETTINGS(X)                                                                        \
	X(FLOOR)                                                                                   \
	X(SLICE_US)                                                                                \
	X(PAUSE_YIELD)                                                                             \
	X(PREEMPTION_TIMER)                                                                        \
	X(POSTED)                                                                                  \
	X(IPIV)                                                                                    \
	X(IOMMU_POSTING)                                                                           \
	X(STALE_VECTORING)                                                                         \
	X(TRACE_ENTRIES)                                                                           \
	X(DEBUG_PANIC)                                                                             \
	X(DEBUG_LOSE_TICKS)

#define MAX_VMS 4

/*
 * X("name", "vendor", what accelerates interrupts, "what it stands for")
 * What the processor itself has is used natively, what it lacks is modelled (cpu_model/assist.h), what
 * it has beyond the named one is hidden.
 */
enum cpu_acceleration {
	CPU_ACCEL_NONE,
	CPU_ACCEL_AVIC,   /* guests in xAPIC mode */
	CPU_ACCEL_X2AVIC, /* in both modes */
	CPU_ACCEL_APICV,  /* Intel's, in both modes, with posted interrupts */
	CPU_ACCEL_IPIV,   /* the same, and IPI virtualization */
};
#define CPU_MODELS(X)                                                                              \
	X("barcelona", "AMD", NONE, "AMD with nested paging, no interrupt acceleration")           \
	X("rome", "AMD", AVIC, "AMD family 17h, AVIC with its erratum")                            \
	X("milan", "AMD", AVIC, "AMD Zen 3, AVIC")                                                 \
	X("genoa", "AMD", X2AVIC, "AMD Zen 4, AVIC and x2AVIC")                                    \
	X("westmere", "Intel", NONE, "Intel before APICv")                                         \
	X("broadwell", "Intel", APICV, "Intel with APICv and posted interrupts")                   \
	X("sapphire-rapids", "Intel", IPIV,                                                        \
	  "Intel with APICv, posted interrupts, IPI virtualization")

#endif
