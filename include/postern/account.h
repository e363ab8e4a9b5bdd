/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is counted, in one list, compiled into the image and into the host command alike: exit
 * causes, and named events. Each vCPU has one struct account with a single writer, whoever runs the
 * vCPU (COALESCED and KICKS are counted by whoever sends, atomically); readers may look at any time.
 * X(ENUM, "name-in-reports", "what it counts").
 */
#ifndef POSTERN_ACCOUNT_H
#define POSTERN_ACCOUNT_H

#include "postern/types.h"

/* Neutral exit kinds: what a back end decodes its vendor's exit codes into. */
#define EXIT_KINDS(X)                                                                              \
	X(INTR, "external-interrupt", "a physical interrupt arrived while the guest ran")          \
	X(TIMER, "preemption-timer",                                                               \
	  "the processor's timer for a guest: a deadline of the guest's own has come")             \
	X(NMI, "nmi", "a physical NMI arrived while the guest ran")                                \
	X(INTR_WINDOW, "interrupt-window", "the guest can take an interrupt now")                  \
	X(TPR, "tpr-below-threshold",                                                              \
	  "the guest has lowered its task priority, which an interrupt waits for")                 \
	X(NMI_WINDOW, "nmi-window", "the guest ends its NMI handler (IRET)")                       \
	X(EXCEPTION, "exception", "an intercepted exception")                                      \
	X(CPUID, "cpuid", "CPUID")                                                                 \
	X(HLT, "hlt", "HLT")                                                                       \
	X(PAUSE, "pause", "PAUSE in a spin loop, intercepted while others wait for the processor") \
	X(IO, "io", "IN, OUT, INS, OUTS")                                                          \
	X(RDMSR, "rdmsr", "RDMSR of an intercepted register")                                      \
	X(WRMSR, "wrmsr", "WRMSR of an intercepted register")                                      \
	X(MEMORY, "memory", "nested page fault: device memory or nothing at all")                  \
	X(VMCALL, "vmcall", "the vendor's hypercall instruction")                                  \
	X(XSETBV, "xsetbv", "XSETBV")                                                              \
	X(CR, "cr", "an intercepted control-register access")                                      \
	X(DR, "dr", "a debug-register access")                                                     \
	X(INVALIDATE, "invd-wbinvd", "INVD or WBINVD")                                             \
	X(VIRT_INSN, "virtualization-insn", "an instruction of SVM or VMX in the guest (#UD)")     \
	X(RDPMC, "rdpmc", "RDPMC: there are no performance counters (#GP)")                        \
	X(SHUTDOWN, "shutdown", "triple fault")                                                    \
	X(INIT, "init", "INIT signal")                                                             \
	X(TASK_SWITCH, "task-switch", "hardware task switch")                                      \
	X(EOI, "virtualized-eoi",                                                                  \
	  "accelerated APIC: an interrupt has ended whose end somebody waits for")                 \
	X(APIC_WRITE, "apic-write",                                                                \
	  "accelerated APIC: a register was written that needs software")                          \
	X(APIC_ACCESS, "apic-access", "accelerated APIC: an access that is not accelerated")       \
	X(IPI_INCOMPLETE, "ipi-incomplete",                                                        \
	  "accelerated APIC: an IPI that the processor could not finish")                          \
	X(SOFTWARE_INT, "software-interrupt",                                                      \
	  "INT n, or INT3 where it exits as that; intercepted for a debugger only")                \
	X(NESTED, "nested", "a guest of the guest did what its hypervisor intercepts")             \
	X(INVALID, "invalid", "the processor refused the guest state")                             \
	X(UNKNOWN, "unknown", "an exit that no handler knows")

enum exit_kind {
#define X(id, name, what) EXIT_##id,
	EXIT_KINDS(X)
#undef X
	EXIT_KIND_COUNT
};

/*
 * What a processor with acceleration did for a vCPU without an exit. Only a modelled one tells
 * (port_hw_counts()); of a real one these remain 0.
 */
#define HW_COUNTERS(X)                                                                             \
	X(HW_DELIVERED, "hw-delivered", "interrupts that the processor delivered by itself")       \
	X(HW_EOI, "hw-eoi", "ends of interrupt without an exit")                                   \
	X(HW_TPR, "hw-tpr", "writes of the task priority without an exit")                         \
	X(HW_IPI, "ipi-accelerated", "IPIs to others that the processor sent by itself")           \
	X(HW_IPI_SELF, "ipi-accelerated-self",                                                     \
	  "IPIs to the sender that the processor sent by itself")                                  \
	X(HW_COALESCED, "hw-coalesced", "by the processor: the vector was pending already")        \
	X(HW_REQUESTS, "hw-requests", "requests that it put into pages, one for each target")      \
	X(HW_DOORBELLS, "hw-doorbells", "doorbells that it rang, notifications that it sent")

enum hw_count {
#define X(id, name, what) id,
	HW_COUNTERS(X)
#undef X
	HW_COUNT
};

/* Events, per vCPU. inj-*: interrupts injected, by route; ipi-*: sent, by kind. */
#define COUNTERS(X)                                                                                \
	X(INJ_IPI, "inj-ipi", "injected: interrupts that an IPI raised")                           \
	X(INJ_MSI, "inj-msi", "injected: message-signalled interrupts")                            \
	X(INJ_IOAPIC, "inj-ioapic", "injected: I/O APIC pins")                                     \
	X(INJ_TIMER, "inj-timer", "injected: the local APIC timer")                                \
	X(INJ_LOCAL, "inj-local", "injected: other local vector table entries")                    \
	X(INJ_SYNIC, "inj-synic", "injected: SINTs and synthetic timers of Hyper-V's interface")   \
	X(INJ_EXTINT, "inj-extint", "injected: ExtINT from the 8259 pair")                         \
	X(INJ_NMI, "inj-nmi", "injected: NMIs")                                                    \
	X(INJ_EXCEPTION, "inj-exception", "injected: exceptions")                                  \
	X(INJ_AGAIN, "inj-again", "injected once more: an exit came before or during delivery")    \
	X(IPI_SENT_UNICAST, "ipi-unicast", "fixed IPIs sent to one vCPU")                          \
	X(IPI_SENT_MULTI, "ipi-multicast", "fixed IPIs sent to several vCPUs")                     \
	X(IPI_SENT_SELF, "ipi-self", "fixed IPIs to the sender itself")                            \
	X(IPI_SENT_LOWEST, "ipi-lowest", "lowest-priority IPIs sent")                              \
	X(IPI_SENT_NMI, "ipi-nmi", "NMI IPIs sent")                                                \
	X(IPI_SENT_INIT, "ipi-init", "INIT IPIs sent")                                             \
	X(IPI_SENT_SIPI, "ipi-sipi", "start-up IPIs sent")                                         \
	X(IPI_SENT_OTHER, "ipi-other", "IPIs of other kinds, or to nobody")                        \
	X(IPI_RECEIVED, "ipi-received", "fixed IPIs accepted, counted when injected")              \
	X(COALESCED, "coalesced", "requests for a vector that was pending already")                \
	X(ACCEPTED, "accepted", "requests by software, where the processor makes some itself")     \
	HW_COUNTERS(X)                                                                             \
	X(IPI_STOPPED, "ipi-target-stopped", "accelerated IPIs to a vCPU that did not run")        \
	X(IPI_EMULATED, "incomplete-emulated", "IPIs that the processor left to software")         \
	X(IPI_BAD_TYPE, "incomplete-type", "of them: no fixed, edge-triggered interrupt")          \
	X(IPI_BAD_TARGET, "incomplete-target", "of them: a target that the tables do not have")    \
	X(IPI_BAD_PAGE, "incomplete-page", "of them: a target whose page is refused")              \
	X(IPI_BAD_VECTOR, "incomplete-vector", "of them: a vector that no interrupt has")          \
	X(DOORBELLS, "doorbells", "doorbells rung, notifications sent by software for this vCPU")  \
	X(ACCEL_CHANGES, "accel-changes", "times that acceleration was switched on or off")        \
	X(ACCEL_MISMATCHES, "accel-mismatches", "entries in a wrong state of acceleration: a bug") \
	X(IRQ_WINDOWS, "irq-windows", "windows that acceleration had to be off for")               \
	X(INHIBIT_STORMS, "inhibit-storm",                                                         \
	  "times that the debug inhibit was set and cleared (of the VM, at vCPU 0)")               \
	X(TIMER_TICKS, "timer-ticks", "expiries of the local APIC timer")                          \
	X(TIMER_LOST, "timer-masked", "expiries while the timer's LVT entry was masked")           \
	X(EOI, "eoi", "end-of-interrupt writes")                                                   \
	X(AUTO_EOI, "auto-eoi", "interrupts that ended when they were delivered: AutoEOI")         \
	X(SYNIC_MESSAGES, "synic-messages", "messages put into slots of SynIC")                    \
	X(STIMER_TICKS, "stimer-ticks", "expiries of synthetic timers")                            \
	X(STIMER_LOST, "stimer-lost", "of them: nobody was told, for the guest did not let it")    \
	X(SPURIOUS, "spurious", "spurious vectors delivered")                                      \
	X(WINDOWS, "windows-opened", "interrupt windows opened")                                   \
	X(NMI_WINDOWS, "nmi-windows-opened", "NMI windows opened")                                 \
	X(FORCED_EXITS, "forced-exits", "forced immediate exits")                                  \
	X(HLT_NS, "hlt-ns", "nanoseconds asleep in HLT")                                           \
	X(RUN_NS, "run-ns", "nanoseconds on a processor")                                          \
	X(WAIT_NS, "wait-ns", "nanoseconds runnable, waiting for a processor")                     \
	X(WAKEUPS, "wakeups", "wake-ups from HLT")                                                 \
	X(POSTED_WAKEUPS, "posted-wakeups",                                                        \
	  "of them: by the wakeup vector, without software on the sender's side")                  \
	X(PREEMPTED, "preempted", "times the slice ended with others waiting")                     \
	X(KICKS, "kicks", "physical IPIs sent to make this vCPU leave the guest")                  \
	X(MIGRATIONS, "migrations", "moves to another physical CPU")                               \
	X(ENTRIES, "entries", "VM entries")                                                        \
	X(TLB_FLUSHES, "tlb-flushes", "TLB flushes asked for at VM entry")                         \
	X(EMULATED, "emulated-insns", "memory instructions decoded and emulated")                  \
	X(UNDECODED, "undecoded-insns", "memory instructions not decodable: #UD in the guest")     \
	X(MSR_UNKNOWN, "msr-unknown", "accesses of MSRs that do not exist: #GP in the guest")      \
	X(PORT_UNKNOWN, "port-unknown", "accesses of I/O ports that nobody decodes")               \
	X(MEMORY_UNKNOWN, "memory-unknown", "accesses of guest-physical memory that is not there") \
	X(GP_INJECTED, "gp-injected", "#GP given to the guest")                                    \
	X(UD_INJECTED, "ud-injected", "#UD given to the guest")

enum counter_id {
#define X(id, name, what) COUNTER_##id,
	COUNTERS(X)
#undef X
	COUNTER_COUNT
};

struct account {
	u64 exits[EXIT_KIND_COUNT];
	u64 counters[COUNTER_COUNT];
	u64 model_overhead; /* exits that only the processor model's assist takes */
};

/* How a guest's run ended; also the "ended" member of the report. */
#define ENDINGS(X)                                                                                 \
	X(RUNNING, "running")                                                                      \
	X(POWEROFF, "poweroff")                                                                    \
	X(DEBUG_EXIT, "debug-exit")                                                                \
	X(RESET, "reset")                                                                          \
	X(TRIPLE_FAULT, "triple-fault")                                                            \
	X(TIMEOUT, "timeout")                                                                      \
	X(INTERRUPTED, "interrupted")                                                              \
	X(PANIC, "hypervisor-panic")                                                               \
	X(REFUSED, "refused")

enum ending {
#define X(id, name) ENDED_##id,
	ENDINGS(X)
#undef X
	ENDING_COUNT
};

#endif
