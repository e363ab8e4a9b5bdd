/* SPDX-License-Identifier: BSD-2-Clause */
/* Accounts into records. Records are built on the stack and written whole. */
#include "core/report.h"
#include "core/machine.h"
#include "irq/inhibit.h"
#include "postern/port.h"
#include "postern/report.h"
#include "postern/string.h"

#define ITEM_COUNT (EXIT_KIND_COUNT + COUNTER_COUNT + 1)

struct account_record {
	struct report_header header;
	struct report_account account;
	struct report_item item[ITEM_COUNT];
} __packed;
_Static_assert(sizeof(struct account_record) - sizeof(struct report_header) <= REPORT_MAX_LEN,
               "a vCPU's account fits one record");

struct inhibits_record {
	struct report_header header;
	struct report_inhibits inhibits;
	struct report_inhibit item[INHIBIT_COUNT];
} __packed;
_Static_assert(sizeof(struct inhibits_record) - sizeof(struct report_header) <= REPORT_MAX_LEN,
               "all reasons fit one record");

static struct report_header header(enum report_type type, u32 vm, u64 len)
{
	return (struct report_header){
	        .magic = REPORT_MAGIC, .type = (u8)type, .vm = (u8)vm, .len = (u16)len};
}

static void copy_name(char *to, u32 size, const char *from)
{
	u64 length = min_u64(strlen(from), size - 1);

	memset(to, 0, size);
	memcpy(to, from, length);
}

void report_hello(struct machine *machine, const char *cpu)
{
	struct {
		struct report_header header;
		struct report_hello hello;
	} __packed record = {.header = header(REPORT_HELLO, 0, sizeof(record.hello))};

	record.hello.version = REPORT_VERSION;
	record.hello.pcpus = (u8)(machine->cpu_count - machine->first_cpu);
	record.hello.vms = (u8)machine->vm_count;
	record.hello.vcpus = machine->vm_count ? (u8)machine->vm[0]->vcpu_count : 0;
	record.hello.tsc_khz = port_tsc_khz();
	record.hello.exit_kinds = EXIT_KIND_COUNT;
	record.hello.counters = COUNTER_COUNT;
	copy_name(record.hello.cpu, sizeof(record.hello.cpu), cpu);
	copy_name(record.hello.backend, sizeof(record.hello.backend), machine->backend->name);
	port_report_write(&record, sizeof(record));
}

u64 report_injected(const struct account *account)
{
	u64 sum = 0;

	for (u32 i = COUNTER_INJ_IPI; i <= COUNTER_INJ_NMI; i++)
		sum += counter_read(&account->counters[i]);
	return sum;
}

static u64 total_exits(const struct account *account)
{
	u64 sum = 0;

	for (u32 i = 0; i < EXIT_KIND_COUNT; i++)
		sum += counter_read(&account->exits[i]);
	return sum;
}

void report_status(struct vm *vm, u8 phase)
{
	struct {
		struct report_header header;
		struct report_status status;
	} __packed record = {.header = header(REPORT_STATUS, vm->id, sizeof(record.status))};
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm) {
		record.status.exits += total_exits(&vcpu->account);
		record.status.injected += report_injected(&vcpu->account);
		if (counter_read(&vcpu->account.counters[COUNTER_ENTRIES]))
			record.status.vcpus_online++;
	}
	record.status.elapsed_ns = vm_elapsed_ns(vm);
	record.status.phase = phase;
	port_report_write(&record, sizeof(record));
}

static u64 account_value(const struct account *account, u32 index)
{
	if (index < EXIT_KIND_COUNT)
		return counter_read(&account->exits[index]);
	if (index < EXIT_KIND_COUNT + COUNTER_COUNT)
		return counter_read(&account->counters[index - EXIT_KIND_COUNT]);
	return counter_read(&account->model_overhead);
}

static void report_vcpu(struct vm *vm, struct vcpu *vcpu)
{
	struct account_record record;
	u16 count = 0;
	u64 len;

	for (u32 i = 0; i < ITEM_COUNT; i++) {
		u64 value = account_value(&vcpu->account, i);

		if (value)
			record.item[count++] = (struct report_item){(u16)i, value};
	}
	len = sizeof(record.account) + count * sizeof(record.item[0]);
	record.account = (struct report_account){(u16)vcpu->index, count, vm_elapsed_ns(vm)};
	record.header = header(REPORT_ACCOUNT, vm->id, len);
	port_report_write(&record, (u32)(sizeof(record.header) + len));
}

static void report_apicv(struct vm *vm)
{
	const struct inhibit_vm *inhibit = &vm->inhibit;
	const struct mmu_counts *counts = &vm->mmu.counts;
	struct {
		struct report_header header;
		struct report_apicv apicv;
	} __packed record = {.header = header(REPORT_APICV, vm->id, sizeof(record.apicv))};

	record.apicv.able = vm->accel.modes != 0;
	if (record.apicv.able && port_hw_counts())
		record.apicv.hw_counted = port_hw_counts_all() ? REPORT_HW_ALL : REPORT_HW_SENDS;
	record.apicv.active_ns = inhibit_active_ns(vm);
	record.apicv.lock_shared = counter_read(&inhibit->shared);
	record.apicv.lock_exclusive = counter_read(&inhibit->exclusive);
	record.apicv.rounds = counter_read(&inhibit->rounds);
	record.apicv.kicked = counter_read(&inhibit->kicked);
	record.apicv.zaps = counter_read(&counts->zaps);
	record.apicv.tlb_flushes = counter_read(&counts->remote_flushes);
	record.apicv.fault_retries = counter_read(&counts->fault_retries);
	port_report_write(&record, sizeof(record));
}

static struct report_inhibit inhibit_item(u32 reason, const struct inhibit_account *account)
{
	return (struct report_inhibit){
	        .reason = (u8)reason,
	        .stands = counter_read(&account->since) != 0,
	        .vcpu = (u32)counter_read(&account->vcpu),
	        .rip = counter_read(&account->rip),
	        .sets = counter_read(&account->sets),
	        .clears = counter_read(&account->clears),
	        .held_ns = inhibit_held_ns(account),
	};
}

static void report_inhibits(struct vm *vm, u32 vcpu, const struct inhibit_account *account)
{
	struct inhibits_record record;
	u8 count = 0;
	u64 len;

	for (u32 i = 0; i < INHIBIT_COUNT; i++) {
		if (counter_read(&account[i].sets))
			record.item[count++] = inhibit_item(i, &account[i]);
	}
	len = sizeof(record.inhibits) + count * sizeof(record.item[0]);
	record.inhibits = (struct report_inhibits){(u16)vcpu, INHIBIT_COUNT, count};
	record.header = header(REPORT_INHIBITS, vm->id, len);
	port_report_write(&record, (u32)(sizeof(record.header) + len));
}

void report_account(struct vm *vm)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm)
		report_vcpu(vm, vcpu);
	report_apicv(vm);
	report_inhibits(vm, REPORT_OF_VM, vm->inhibit.account);
	for_each_vcpu (vcpu, vm)
		report_inhibits(vm, vcpu->index, vcpu->accel.account);
}

void report_answer(u16 sequence, const char *wrong)
{
	struct {
		struct report_header header;
		struct report_answer answer;
		char text[REPORT_ASK_TEXT];
	} __packed record;
	u64 length = min_u64(strlen(wrong), sizeof(record.text));

	record.header = header(REPORT_ANSWER, 0, sizeof(record.answer) + length);
	record.answer.sequence = sequence;
	memcpy(record.text, wrong, length);
	port_report_write(&record, (u32)(sizeof(record.header) + sizeof(record.answer) + length));
}

static void write_end(u32 vm, enum ending ending, s32 code, u64 elapsed_ns)
{
	struct {
		struct report_header header;
		struct report_end end;
	} __packed record = {.header = header(REPORT_END, vm, sizeof(record.end)),
	                     .end = {(u8)ending, code, elapsed_ns}};

	port_report_write(&record, sizeof(record));
}

void report_end(struct vm *vm)
{
	write_end(vm->id, atomic32_read(&vm->ended), (s32)atomic32_read(&vm->exit_code),
	          vm_elapsed_ns(vm));
}

void report_end_early(enum ending ending, s32 code)
{
	write_end(0, ending, code, 0);
}
