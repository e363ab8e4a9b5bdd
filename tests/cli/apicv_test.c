/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The account of acceleration on the host's side: its records, whole, hostile and cut off, and what becomes
 * of them as text and as JSON.
 */
#include <cjson/cJSON.h>
#include <stdlib.h>

#include "cli/channel.h"
#include "cli/json.h"
#include "tests/cli/stream.h"

static struct stream stream;
static struct channel channel;
static struct report report;

static int setup(__unused void **state)
{
	memset(&stream, 0, sizeof(stream));
	report_init(&report, NULL, NULL);
	channel_init(&channel, report_take, &report);
	return 0;
}

/* --- records */

static const struct report_apicv some_apicv = {.able = 1,
                                               .hw_counted = 1,
                                               .active_ns = 1500000000,
                                               .lock_shared = 11,
                                               .lock_exclusive = 7,
                                               .rounds = 5,
                                               .kicked = 4,
                                               .zaps = 3,
                                               .tlb_flushes = 2,
                                               .fault_retries = 1};

struct inhibits_record {
	struct report_inhibits head;
	struct report_inhibit item[2];
} __packed;

/* Of the VM: who created it set one, and a guest another. */
static const struct inhibits_record vm_inhibits = {.head = {REPORT_OF_VM, INHIBIT_COUNT, 2},
                                                   .item = {{.reason = INHIBIT_ABSENT,
                                                             .vcpu = INHIBIT_BY_HOST,
                                                             .sets = 1,
                                                             .clears = 1,
                                                             .held_ns = 5},
                                                            {.reason = INHIBIT_APIC_ID_MODIFIED,
                                                             .stands = 1,
                                                             .vcpu = 1,
                                                             .rip = 0xffffffff81000000,
                                                             .sets = 9,
                                                             .clears = 8,
                                                             .held_ns = 2000000000}}};

static struct inhibits_record vcpu_inhibits(u16 vcpu, u64 held_ns)
{
	return (struct inhibits_record){.head = {vcpu, INHIBIT_COUNT, 1},
	                                .item = {{.reason = INHIBIT_APIC_DISABLED,
	                                          .vcpu = vcpu,
	                                          .rip = 0x1000 + vcpu,
	                                          .sets = 3,
	                                          .clears = 3,
	                                          .held_ns = held_ns}}};
}

static void stream_inhibits(struct stream *s, const struct inhibits_record *record)
{
	stream_record(s, REPORT_INHIBITS, record,
	              sizeof(record->head) + record->head.count * sizeof(record->item[0]));
}

static void stream_apicv(struct stream *s)
{
	struct inhibits_record first = vcpu_inhibits(0, 70), second = vcpu_inhibits(1, 80);

	stream_record(s, REPORT_APICV, &some_apicv, sizeof(some_apicv));
	stream_inhibits(s, &vm_inhibits);
	stream_inhibits(s, &first);
	stream_inhibits(s, &second);
}

static void refused(u8 type, const void *payload, u16 len)
{
	struct report_header h = {.magic = REPORT_MAGIC, .type = type, .len = len};
	struct report before = report;

	assert_false(report_take(&report, &h, payload));
	assert_memory_equal(&before, &report, sizeof(report));
}

static void test_report_takes_apicv(__unused void **state)
{
	struct inhibits_record none = {.head = {1, INHIBIT_COUNT, 0}};
	struct report_inhibit total;

	stream_apicv(&stream);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_int_equal(channel.skipped, 0);
	assert_memory_equal(&report.vm->apicv, &some_apicv, sizeof(some_apicv));
	assert_int_equal(report.vm->inhibit[INHIBIT_ABSENT].clears, 1);
	total = report_inhibit_total(report.vm, 2, INHIBIT_APIC_ID_MODIFIED);
	assert_memory_equal(&total, &vm_inhibits.item[1], sizeof(total));
	/* Over the vCPUs; who: of the one that held it longest. */
	total = report_inhibit_total(report.vm, 2, INHIBIT_APIC_DISABLED);
	assert_int_equal(total.sets, 6);
	assert_int_equal(total.held_ns, 150);
	assert_int_equal(total.vcpu, 1);
	assert_int_equal(total.rip, 0x1001);
	assert_int_equal(report_inhibit_total(report.vm, 2, INHIBIT_NESTED).sets, 0);
	/* The last one counts, also if it has nothing to say. */
	stream.len = 0;
	stream_inhibits(&stream, &none);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_int_equal(report_inhibit_total(report.vm, 2, INHIBIT_APIC_DISABLED).sets, 3);
}

static void test_report_refuses_apicv(__unused void **state)
{
	struct report_apicv apicv = {.able = 2};
	struct inhibits_record bad = vm_inhibits;

	refused(REPORT_APICV, &apicv, sizeof(apicv));
	apicv = (struct report_apicv){.able = 0, .hw_counted = 1};
	refused(REPORT_APICV, &apicv, sizeof(apicv));
	apicv = (struct report_apicv){.able = 1, .hw_counted = REPORT_HW_COUNT};
	refused(REPORT_APICV, &apicv, sizeof(apicv));
	bad.item[1].reason = INHIBIT_COUNT;
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
	bad.item[1].reason = INHIBIT_ABSENT; /* again */
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
	bad.item[1].reason = INHIBIT_X2APIC; /* a vCPU's */
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
	bad = vm_inhibits;
	bad.head.vcpu = 0; /* and these are the VM's */
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
	bad = vcpu_inhibits(0, 1);
	bad.head.vcpu = REPORT_MAX_VCPUS;
	refused(REPORT_INHIBITS, &bad, sizeof(bad.head) + sizeof(bad.item[0]));
	bad = vm_inhibits;
	bad.item[0].vcpu = REPORT_MAX_VCPUS;
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
	bad = vm_inhibits;
	bad.item[0].stands = 2;
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
	bad = vm_inhibits;
	bad.item[0].sets = 0;
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
	bad = vm_inhibits;
	refused(REPORT_INHIBITS, &bad, sizeof(bad.head) + sizeof(bad.item[0]));
	bad.head.count = 1;
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
	bad.head.count = 0xff;
	refused(REPORT_INHIBITS, &bad, sizeof(bad));
}

/* Another list of reasons: a record, and nothing is made of it. */
static void test_report_skips_foreign_reasons(__unused void **state)
{
	struct inhibits_record other = vm_inhibits;

	other.head.reasons++;
	stream_inhibits(&stream, &other);
	stream_end(&stream, ENDED_POWEROFF, 0);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_int_equal(channel.skipped, 0);
	assert_int_equal(report.vm->inhibit[INHIBIT_ABSENT].sets, 0);
	assert_true(report.ended);
}

/*
 * Cut off, or of a length that no such record has: nothing, and what follows is found. (Cut off by no more
 * than what follows it swallows that: a record has no check sum.)
 */
static void test_channel_truncated_apicv(__unused void **state)
{
	size_t whole, end;

	stream_inhibits(&stream, &vm_inhibits);
	whole = stream.len;
	stream_end(&stream, ENDED_POWEROFF, 0);
	end = stream.len - whole;
	for (size_t len = 1; len < whole - end; len++) {
		setup(NULL);
		stream_inhibits(&stream, &vm_inhibits);
		stream.len = len;
		stream_end(&stream, ENDED_POWEROFF, 0);
		channel_feed(&channel, stream.bytes, stream.len);
		channel_end(&channel);
		assert_int_equal(report.vm->inhibit[INHIBIT_ABSENT].sets, 0);
		assert_true(report.ended);
	}
	setup(NULL);
	stream_record(&stream, REPORT_APICV, &some_apicv, sizeof(some_apicv) - 1);
	stream_record(&stream, REPORT_INHIBITS, &vm_inhibits, sizeof(vm_inhibits) - 1);
	stream_end(&stream, ENDED_POWEROFF, 0);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_int_equal(report.vm->apicv.rounds, 0);
	assert_int_equal(report.vm->inhibit[INHIBIT_ABSENT].sets, 0);
	assert_true(report.ended);
}

/* --- JSON and text */

static u64 member(const cJSON *object, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	assert_true(cJSON_IsNumber(item));
	return (u64)cJSON_GetNumberValue(item);
}

static void check_inhibit(const cJSON *inhibit, const char *reason, const char *scope, u64 sets)
{
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(inhibit, "reason")), reason);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(inhibit, "scope")), scope);
	assert_int_equal(member(inhibit, "sets"), sets);
}

static void check_json_inhibits(const cJSON *inhibits)
{
	const cJSON *item, *by;

	assert_int_equal(cJSON_GetArraySize(inhibits), INHIBIT_COUNT);
	item = cJSON_GetArrayItem(inhibits, INHIBIT_ABSENT);
	check_inhibit(item, "ABSENT", "vm", 1);
	by = cJSON_GetObjectItem(item, "by");
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(by, "vcpu")));
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(by, "option")),
	                    "creation of the VM");
	item = cJSON_GetArrayItem(inhibits, INHIBIT_APIC_ID_MODIFIED);
	check_inhibit(item, "APIC_ID_MODIFIED", "vm", 9);
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(item, "stands")));
	assert_int_equal(member(item, "clears"), 8);
	assert_int_equal(member(item, "held_ns"), 2000000000);
	by = cJSON_GetObjectItem(item, "by");
	assert_int_equal(member(by, "vcpu"), 1);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(by, "option")));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(item, "vcpu")), 0);
	item = cJSON_GetArrayItem(inhibits, INHIBIT_APIC_DISABLED);
	check_inhibit(item, "APIC_DISABLED", "vcpu", 6);
	item = cJSON_GetArrayItem(cJSON_GetObjectItem(item, "vcpu"), 1);
	assert_int_equal(member(item, "index"), 1);
	assert_int_equal(member(item, "held_ns"), 80);
	item = cJSON_GetArrayItem(inhibits, INHIBIT_NESTED);
	check_inhibit(item, "NESTED", "vcpu", 0);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(item, "by")));
}

static void test_json_apicv(__unused void **state)
{
	struct options options = {.vm = {{.cpu = "genoa", .vcpus = 2}}, .vms = 1, .pcpus = 2};
	struct outcome outcome = {
	        .vm = {{.ended = "poweroff"}}, .options = &options, .report = &report};
	const cJSON *apicv;
	cJSON *root;
	char *text;

	stream_apicv(&stream);
	channel_feed(&channel, stream.bytes, stream.len);
	report.vm->vcpu[1].counters[COUNTER_ACCEL_MISMATCHES] = 12;
	report.vm->vcpu[0].counters[COUNTER_IRQ_WINDOWS] = 13;
	text = json_text(&outcome);
	assert_non_null(strstr(text, "18446744071578845184")); /* a RIP, to the last digit */
	root = cJSON_Parse(text);
	apicv = cJSON_GetObjectItem(root, "apicv");
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(apicv, "able")));
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(apicv, "hw_counted")));
	assert_int_equal(member(apicv, "active_ns"), 1500000000);
	assert_int_equal(member(cJSON_GetObjectItem(apicv, "lock"), "shared"), 11);
	assert_int_equal(member(cJSON_GetObjectItem(apicv, "lock"), "exclusive"), 7);
	assert_int_equal(member(cJSON_GetObjectItem(apicv, "updates"), "rounds"), 5);
	assert_int_equal(member(cJSON_GetObjectItem(apicv, "updates"), "kicked"), 4);
	assert_int_equal(member(apicv, "mismatches"), 12);
	assert_int_equal(member(apicv, "zaps"), 3);
	assert_int_equal(member(apicv, "tlb_flushes"), 2);
	assert_int_equal(member(apicv, "fault_retries"), 1);
	assert_int_equal(member(apicv, "irq_windows"), 13);
	check_json_inhibits(cJSON_GetObjectItem(apicv, "inhibits"));
	cJSON_Delete(root);
	free(text);
}

/* The account's text, to be freed. */
static char *account_text_of(const char *cpu)
{
	struct options options = {.vm = {{.cpu = cpu, .vcpus = 2}}, .vms = 1, .pcpus = 2};
	struct outcome outcome = {
	        .vm = {{.ended = "poweroff"}}, .options = &options, .report = &report};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	report.vm->vcpus_seen = 2;
	account_print(out, &outcome);
	fclose(out);
	return text;
}

static char *account_text(void)
{
	return account_text_of("genoa");
}

static void expect_line(const char *text, const char *line)
{
	char *copy = strdup(text), *rest = copy, *found = NULL, *at;

	while (!found && (at = strsep(&rest, "\n")))
		found = strcmp(at, line) == 0 ? at : NULL;
	if (!found)
		print_error("no line \"%s\" in:\n%s", line, text);
	assert_non_null(found);
	free(copy);
}

static void test_account_apicv(__unused void **state)
{
	char *text;

	stream_apicv(&stream);
	channel_feed(&channel, stream.bytes, stream.len);
	text = account_text();
	expect_line(text, "  active, in seconds         1.500");
	expect_line(text, "  update-rounds                  5");
	expect_line(text, "  mismatches                     0");
	expect_line(text,
	            "  ABSENT                        vm         1         1     0.000        no"
	            "  creation of the VM");
	expect_line(text,
	            "  APIC_ID_MODIFIED              vm         9         8     2.000       yes"
	            "  vCPU 1 at RIP ffffffff81000000");
	expect_line(text,
	            "  APIC_DISABLED               vcpu         6         6     0.000        no"
	            "  vCPU 1 at RIP 1001");
	assert_null(strstr(text, "IRQWIN"));
	assert_null(strstr(text, "not known"));
	free(text);
}

/* Real APICv does not tell what it does; what is modelled beside it does. */
static void test_account_of_real_apicv(__unused void **state)
{
	char *text;

	report.vm->apicv = some_apicv;
	report.vm->apicv.hw_counted = 0;
	text = account_text_of("broadwell");
	expect_line(text, "  what the processor does by itself is not known: it does not tell");
	free(text);
	report.vm->apicv.hw_counted = REPORT_HW_SENDS;
	text = account_text_of("broadwell");
	assert_null(strstr(text, "what the processor does"));
	expect_line(
	        text,
	        "  modelled: what it sends; what it delivers by itself is not known: it does not tell");
	free(text);
	/* Of one that has none there is nothing to say. */
	report.vm->apicv = (struct report_apicv){0};
	text = account_text_of("broadwell");
	assert_null(strstr(text, "not known"));
	free(text);
}

/* A VM that cannot have it: told only if more has come to pass than that. */
static void test_account_without_apicv(__unused void **state)
{
	struct report_inhibit *inhibit = report.vm->inhibit;
	char *text;

	inhibit[INHIBIT_DISABLED] = (struct report_inhibit){
	        .reason = INHIBIT_DISABLED, .vcpu = INHIBIT_BY_HOST, .sets = 1, .stands = 1};
	inhibit[INHIBIT_ABSENT] = (struct report_inhibit){
	        .reason = INHIBIT_ABSENT, .vcpu = INHIBIT_BY_HOST, .sets = 1, .clears = 1};
	text = account_text();
	assert_null(strstr(text, "acceleration"));
	free(text);
	inhibit[INHIBIT_IRQWIN] = (struct report_inhibit){
	        .reason = INHIBIT_IRQWIN, .vcpu = 1, .rip = 0x30, .sets = 1, .clears = 1};
	text = account_text();
	expect_line(text,
	            "  DISABLED                      vm         1         0     0.000       yes"
	            "  creation of the VM: --cpu, --set apicv=off");
	expect_line(text,
	            "  IRQWIN                        vm         1         1     0.000        no"
	            "  vCPU 1 at RIP 30");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(test_report_takes_apicv, setup),
	        cmocka_unit_test_setup(test_report_refuses_apicv, setup),
	        cmocka_unit_test_setup(test_report_skips_foreign_reasons, setup),
	        cmocka_unit_test_setup(test_channel_truncated_apicv, setup),
	        cmocka_unit_test_setup(test_json_apicv, setup),
	        cmocka_unit_test_setup(test_account_apicv, setup),
	        cmocka_unit_test_setup(test_account_of_real_apicv, setup),
	        cmocka_unit_test_setup(test_account_without_apicv, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
