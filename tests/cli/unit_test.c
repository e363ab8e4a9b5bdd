/* SPDX-License-Identifier: BSD-2-Clause */
/* Parts of the host command by themselves: record parser, sizes, keys, archives, JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/channel.h"
#include "cli/console.h"
#include "cli/cpio.h"
#include "cli/json.h"
#include "cli/lines.h"
#include "cli/options.h"
#include "cli/report.h"
#include "tests/cli/stream.h"

static void stream_account(struct stream *s, u16 vcpu, u16 index, u64 value)
{
	struct {
		struct report_account head;
		struct report_item item;
	} __packed a = {.head = {.vcpu = vcpu, .count = 1, .elapsed_ns = 9},
	                .item = {index, value}};

	stream_record(s, REPORT_ACCOUNT, &a, sizeof(a));
}

static struct stream stream;
static struct channel channel;
static struct report report;
static char texts[4096];

static void on_text(void *context, enum report_type type, const char *text)
{
	assert_ptr_equal(context, &report);
	assert_true(type == REPORT_LOG || type == REPORT_PANIC);
	if (strlen(texts) + strlen(text) + 2 < sizeof(texts)) {
		strcat(texts, text);
		strcat(texts, "\n");
	}
}

static int setup(__unused void **state)
{
	memset(&stream, 0, sizeof(stream));
	texts[0] = 0;
	report_init(&report, on_text, &report);
	channel_init(&channel, report_take, &report);
	return 0;
}

/* --- records */

static void test_channel_any_split(__unused void **state)
{
	stream_record(&stream, REPORT_LOG, "hello", 5);
	stream_account(&stream, 1, EXIT_CPUID, 42);
	stream_record(&stream, REPORT_LOG, "", 0);
	stream_end(&stream, ENDED_POWEROFF, 3);
	for (size_t piece = 1; piece <= stream.len; piece++) {
		report_init(&report, on_text, &report);
		channel_init(&channel, report_take, &report);
		texts[0] = 0;
		for (size_t at = 0; at < stream.len; at += piece)
			channel_feed(&channel, stream.bytes + at, min_u64(piece, stream.len - at));
		assert_string_equal(texts, "hello\n\n");
		assert_int_equal(report.vm->vcpu[1].exits[EXIT_CPUID], 42);
		assert_true(report.ended);
		assert_int_equal(report.vm->code, 3);
		assert_int_equal(report.vm->elapsed_ns, 77);
		assert_int_equal(channel.skipped, 0);
	}
}

static void test_channel_finds_record_behind_garbage(__unused void **state)
{
	stream_raw(&stream, "PRP", 3);
	stream_raw(&stream, "\x50\x52\xff\0\0\0", 6);
	stream_end(&stream, ENDED_RESET, 0);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_true(report.ended);
	assert_int_equal(report.vm->ending, ENDED_RESET);
	assert_int_equal(channel.skipped, 9);
}

/* A false ACCOUNT header claims the true record as its payload; its contents give it away. */
static void test_channel_false_header_hides_nothing(__unused void **state)
{
	struct report_header false_header = {.magic = REPORT_MAGIC, .type = REPORT_ACCOUNT};

	false_header.len = sizeof(struct report_account) + sizeof(struct report_item);
	stream_raw(&stream, &false_header, sizeof(false_header));
	stream_end(&stream, ENDED_POWEROFF, 0);
	stream_record(&stream, REPORT_LOG, "after", 5);
	channel_feed(&channel, stream.bytes, stream.len);
	channel_end(&channel);
	assert_true(report.ended);
	assert_string_equal(texts, "after\n");
}

static void test_channel_end_looks_behind_incomplete(__unused void **state)
{
	struct report_header promise = {
	        .magic = REPORT_MAGIC, .type = REPORT_LOG, .len = REPORT_MAX_LEN};

	stream_raw(&stream, &promise, sizeof(promise));
	stream_end(&stream, ENDED_POWEROFF, 0);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_false(report.ended);
	channel_end(&channel);
	assert_true(report.ended);
}

static void test_channel_longest_record(__unused void **state)
{
	char text[REPORT_MAX_LEN + 1];

	memset(text, 'x', sizeof(text));
	stream_record(&stream, REPORT_LOG, text, REPORT_MAX_LEN);
	stream_record(&stream, REPORT_LOG, text, REPORT_MAX_LEN + 1);
	stream_end(&stream, ENDED_POWEROFF, 0);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_int_equal(strlen(texts), REPORT_MAX_LEN + 1);
	assert_true(report.ended);
}

/* Noise with the magic sprinkled in: nothing out of bounds, and the END behind it is found. */
static void test_channel_survives_noise(__unused void **state)
{
	static const u8 zeros[100];
	u32 seed = 1;

	for (int round = 0; round < 300; round++) {
		setup(NULL);
		for (int i = 0; i < 3000; i++) {
			u8 byte = (u8)((seed = seed * 1664525 + 1013904223) >> 24);
			struct report_header h = {
			        .magic = REPORT_MAGIC, .type = byte % 12, .len = byte};

			if (byte < 40)
				stream_raw(&stream, &h, sizeof(h));
			else
				stream_raw(&stream, &byte, 1);
		}
		stream_raw(&stream, zeros, sizeof(zeros)); /* ends whatever was promised */
		stream_end(&stream, ENDED_PANIC, -1);
		for (size_t at = 0; at < stream.len; at += 100)
			channel_feed(&channel, stream.bytes + at, min_u64(100, stream.len - at));
		channel_end(&channel);
		assert_true(report.ended);
		assert_int_equal(report.vm->code, -1);
		assert_true(channel.fill == 0);
	}
}

static void refused(u8 type, const void *payload, u16 len)
{
	struct report_header h = {.magic = REPORT_MAGIC, .type = type, .len = len};
	struct report before = report;

	assert_false(report_take(&report, &h, payload));
	assert_memory_equal(&before, &report, sizeof(report));
}

static void test_report_refuses_what_does_not_hold(__unused void **state)
{
	struct report_end end = {.ended = ENDING_COUNT};
	struct report_status status = {.phase = REPORT_PHASE_ENDING + 1};
	struct report_hello hello = {.version = REPORT_VERSION};
	struct {
		struct report_account head;
		struct report_item item;
	} __packed account = {.head = {.count = 1}};

	refused(REPORT_END, &end, sizeof(end));
	end.ended = ENDED_RUNNING;
	refused(REPORT_END, &end, sizeof(end));
	refused(REPORT_STATUS, &status, sizeof(status));
	memset(hello.cpu, 'x', sizeof(hello.cpu));
	refused(REPORT_HELLO, &hello, sizeof(hello));
	account.head.vcpu = REPORT_MAX_VCPUS;
	refused(REPORT_ACCOUNT, &account, sizeof(account));
	account.head.vcpu = 0;
	account.head.count = 2;
	refused(REPORT_ACCOUNT, &account, sizeof(account));
	account.head.count = 1;
	account.item.index = EXIT_KIND_COUNT + COUNTER_COUNT + 1;
	refused(REPORT_ACCOUNT, &account, sizeof(account));
}

static void test_report_account_replaces_the_one_before(__unused void **state)
{
	stream_account(&stream, 0, EXIT_HLT, 5);
	stream_account(&stream, 0, EXIT_KIND_COUNT + COUNTER_EOI, 6);
	stream_account(&stream, 63, EXIT_KIND_COUNT + COUNTER_COUNT, 7);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_int_equal(report.vm->vcpu[0].exits[EXIT_HLT], 0);
	assert_int_equal(report.vm->vcpu[0].counters[COUNTER_EOI], 6);
	assert_int_equal(report.vm->vcpu[63].model_overhead, 7);
	assert_int_equal(report.vm->vcpus_seen, 64);
}

/* The last one counts; one that is too long is no record, nor is one without a sequence number. */
static void test_report_answer(__unused void **state)
{
	static const u8 bad[] = {1, 0, 'n', 'o', '\n', 0x1b, 0x80};
	static u8 large[sizeof(struct report_answer) + REPORT_ASK_TEXT + 1];

	stream_record(&stream, REPORT_ANSWER, bad, sizeof(bad));
	channel_feed(&channel, stream.bytes, stream.len);
	assert_true(report.answered);
	assert_int_equal(report.answer_sequence, 1);
	assert_string_equal(report.answer, "no???");
	stream.len = 0;
	memset(large, 'x', sizeof(large));
	large[0] = 2;
	large[1] = 1;
	stream_record(&stream, REPORT_ANSWER, large, sizeof(large) - 1);
	stream_record(&stream, REPORT_ANSWER, large, sizeof(large));
	stream_record(&stream, REPORT_ANSWER, "\1", 1);
	channel_feed(&channel, stream.bytes, stream.len);
	channel_end(&channel);
	assert_int_equal(report.answer_sequence, 0x102);
	assert_int_equal(strlen(report.answer), REPORT_ASK_TEXT);
	assert_int_equal(channel.skipped, 2 * sizeof(struct report_header) + sizeof(large) + 1);
	stream.len = 0;
	stream_record(&stream, REPORT_ANSWER, "\3\0", 2);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_int_equal(report.answer_sequence, 3);
	assert_string_equal(report.answer, "");
}

/* Every VM has its own; what is none of a VM's that there can be is no record. */
static void test_report_vms_apart(__unused void **state)
{
	struct report_end end = {.ended = ENDED_RESET, .code = 4, .elapsed_ns = 5};
	struct report_header h = {
	        .magic = REPORT_MAGIC, .type = REPORT_END, .vm = MAX_VMS, .len = sizeof(end)};

	assert_false(report_take(&report, &h, (const u8 *)&end));
	stream_account(&stream, 0, EXIT_HLT, 5);
	stream.bytes[offsetof(struct report_header, vm)] = 2;
	channel_feed(&channel, stream.bytes, stream.len);
	h.vm = 3;
	assert_true(report_take(&report, &h, (const u8 *)&end));
	assert_true(report.ended);
	for (u32 vm = 0; vm < MAX_VMS; vm++) {
		assert_int_equal(report.vm[vm].vcpu[0].exits[EXIT_HLT], vm == 2 ? 5 : 0);
		assert_int_equal(report.vm[vm].vcpus_seen, vm == 2 ? 1 : 0);
		assert_int_equal(report.vm[vm].ended, vm == 3);
		assert_int_equal(report.vm[vm].code, vm == 3 ? 4 : 0);
	}
}

/* A console record that is cut short ends the search: what it holds are a guest's words. */
static void test_channel_console_forges_nothing(__unused void **state)
{
	struct report_header console = {
	        .magic = REPORT_MAGIC, .type = REPORT_CONSOLE, .vm = 1, .len = REPORT_MAX_LEN};

	stream_raw(&stream, &console, sizeof(console));
	stream_end(&stream, ENDED_POWEROFF, 0);
	channel_feed(&channel, stream.bytes, stream.len);
	channel_end(&channel);
	assert_false(report.ended);
	/* VM 0 has no console here: such a header is none. */
	setup(NULL);
	console.vm = 0;
	stream_raw(&stream, &console, sizeof(console));
	stream_end(&stream, ENDED_POWEROFF, 0);
	channel_feed(&channel, stream.bytes, stream.len);
	assert_true(report.ended);
}

/* Each counter is in one group at most, and the sums take what they say. */
static void test_report_groups(__unused void **state)
{
	struct account account = {0};

	for (u32 i = 0; i < COUNTER_COUNT; i++) {
		assert_false(report_counter_is_route(i) && report_counter_is_ipi(i));
		account.counters[i] = 1;
	}
	assert_int_equal(report_injected(&account), COUNTER_INJ_AGAIN - COUNTER_INJ_IPI + 1 - 2);
	assert_int_equal(report_ipis_sent(&account),
	                 COUNTER_IPI_SENT_OTHER - COUNTER_IPI_SENT_UNICAST + 1 +
	                         3 /* by the processor, to itself, to one that did not run */);
}

/* --- options */

static void test_options_size(__unused void **state)
{
	static const char *const bad[] = {"",     "M",    "512", "512K",
	                                  "-1M",  "+1M",  " 1M", "1MB",
	                                  "0x1M", "1.5G", "1 M", "18446744073709551615M"};
	u64 bytes;

	assert_true(options_parse_size("512M", &bytes));
	assert_int_equal(bytes, 512ull << 20);
	assert_true(options_parse_size("3g", &bytes));
	assert_int_equal(bytes, 3ull << 30);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(options_parse_size(bad[i], &bytes));
}

static void test_options_seconds(__unused void **state)
{
	static const char *const bad[] = {"",   "0",       "0.0",       "-1",  "1s",          "1e3",
	                                  ".5", "1000001", "1000000.1", "nan", "0.0000000001"};
	u64 ns;

	assert_true(options_parse_seconds("90", &ns));
	assert_int_equal(ns, 90000000000);
	assert_true(options_parse_seconds("0.25", &ns));
	assert_int_equal(ns, 250000000);
	assert_true(options_parse_seconds("1.0000000019", &ns));
	assert_int_equal(ns, 1000000001);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(options_parse_seconds(bad[i], &ns));
}

static enum options_result parse(struct options *options, const char *const *argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	return options_parse(options, argc, (char *const *)argv);
}

static void test_options_defaults(__unused void **state)
{
	static const char *const none[] = {"run", NULL};
	static const char *const one[] = {"run", "-c", "1", NULL};
	struct options options;

	assert_int_equal(parse(&options, none), OPTIONS_OK);
	assert_int_equal(options.vm->vcpus, 2);
	assert_int_equal(options.pcpus, 2);
	assert_int_equal(options.vm->memory, 512 << 20);
	assert_string_equal(options.vm->cpu, "barcelona");
	assert_true(options_wants_demo_initrd(options.vm));
	assert_int_equal(parse(&options, one), OPTIONS_OK);
	assert_int_equal(options.pcpus, 1);
}

static void test_options_command(__unused void **state)
{
	static const char *const argv[] = {"run", "-k", "K", "--", "ls", "--", "-l", NULL};
	static const char *const plain[] = {"run", "-k", "K", NULL};
	struct options options;

	assert_int_equal(parse(&options, argv), OPTIONS_OK);
	assert_int_equal(options.vm->command_words, 3);
	assert_string_equal(options.vm->command[0], "ls");
	assert_string_equal(options.vm->command[1], "--");
	assert_string_equal(options.vm->command[2], "-l");
	assert_true(options_wants_demo_initrd(options.vm));
	assert_int_equal(parse(&options, plain), OPTIONS_OK);
	assert_false(options_wants_demo_initrd(options.vm));
}

/* Firmware is a VM's all, and brings no initrd of ours with it. */
static void test_options_firmware(__unused void **state)
{
	static const char *const alone[] = {"run", "--firmware", "F", "-c", "3", "--vm", NULL};
	static const char *const with_kernel[] = {"run", "-k", "K", "--firmware", "F", NULL};
	static const char *const with_multiboot[] = {"run",         "--firmware", "F",
	                                             "--multiboot", "K",          NULL};
	static const char *const with_initrd[] = {"run", "-i", "I", "--firmware", "F", NULL};
	static const char *const with_cmdline[] = {"run", "--firmware", "F", "-a", "", NULL};
	static const char *const with_command[] = {"run", "--firmware", "F", "--", "true", NULL};
	struct options options;

	assert_int_equal(parse(&options, alone), OPTIONS_OK);
	assert_string_equal(options.vm[0].firmware, "F");
	assert_null(options.vm[0].kernel);
	assert_false(options_wants_demo_initrd(&options.vm[0]));
	assert_null(options.vm[1].firmware);
	assert_true(options_wants_demo_initrd(&options.vm[1]));
	assert_int_equal(parse(&options, with_kernel), OPTIONS_BAD);
	assert_int_equal(parse(&options, with_multiboot), OPTIONS_BAD);
	assert_int_equal(parse(&options, with_initrd), OPTIONS_BAD);
	assert_int_equal(parse(&options, with_cmdline), OPTIONS_BAD);
	assert_int_equal(parse(&options, with_command), OPTIONS_BAD);
}

/* Options behind --vm are that VM's, and begin with the defaults. */
static void test_options_vms(__unused void **state)
{
	static const char *const argv[] = {
	        "run",   "-k",           "A",     "-c",         "5",    "-m",          "1G",
	        "--set", "slice-us=300", "--set", "x2apic=off", "--vm", "--multiboot", "B",
	        "--vm",  "-c",           "1",     "--",         "true", NULL};
	static const char *const small[] = {"run", "-c", "1", "--vm", "-c", "1", NULL};
	struct options options;

	assert_int_equal(parse(&options, argv), OPTIONS_OK);
	assert_int_equal(options.vms, 3);
	assert_int_equal(options_vcpus(&options), 8);
	assert_int_equal(options_memory(&options), 2048ull << 20);
	assert_int_equal(options.pcpus, 2);
	assert_string_equal(options.vm[0].kernel, "A");
	assert_true(options.vm[0].has_setting[SETTING_X2APIC]);
	assert_int_equal(options.vm[0].command_words, 0);
	assert_false(options_wants_demo_initrd(&options.vm[0]));
	assert_string_equal(options.vm[1].kernel, "B");
	assert_true(options.vm[1].multiboot);
	assert_string_equal(options.vm[1].cmdline, "");
	assert_int_equal(options.vm[1].vcpus, 2);
	assert_false(options.vm[1].has_setting[SETTING_X2APIC]);
	assert_true(options.vm[1].has_setting[SETTING_TESTDEV]);
	assert_null(options.vm[2].kernel);
	assert_string_equal(options.vm[2].cmdline, OPTIONS_CMDLINE);
	assert_false(options.vm[2].has_setting[SETTING_TESTDEV]);
	assert_string_equal(options.vm[2].command[0], "true");
	assert_true(options_wants_demo_initrd(&options.vm[2]));
	assert_int_equal(parse(&options, small), OPTIONS_OK);
	assert_int_equal(options.pcpus, 2);
}

/* --- keys */

static void test_console_filter(__unused void **state)
{
	struct console console = {.escapes = true};
	u8 out[16];
	size_t n;

	assert_false(console_filter(&console, (const u8 *)"a\x01\x01z\x03", 5, out, &n));
	assert_int_equal(n, 4);
	assert_memory_equal(out, "a\x01z\x03", 4);
	assert_false(console_filter(&console, (const u8 *)"b\x01", 2, out, &n));
	assert_int_equal(n, 1);
	assert_true(console_filter(&console, (const u8 *)"xyz", 3, out, &n));
	assert_int_equal(n, 0);
	assert_false(console_filter(&console, (const u8 *)"\x01qx", 3, out, &n));
	assert_int_equal(n, 1);
	assert_int_equal(out[0], 'x');
	console.escapes = false;
	assert_false(console_filter(&console, (const u8 *)"\x01x", 2, out, &n));
	assert_int_equal(n, 2);
}

/* --- the command's archive */

static void test_cpio_script(__unused void **state)
{
	char line[] = "ls | wc -l", echo[] = "echo", word[] = "it's $HOME", empty[] = "";
	char *const one[] = {line};
	char *const several[] = {echo, word, empty};
	char *script = cpio_command_script(one, 1);

	assert_string_equal(script, "#!/bin/sh\nls | wc -l\n");
	free(script);
	script = cpio_command_script(several, 3);
	assert_string_equal(script, "#!/bin/sh\n'echo' 'it'\\''s $HOME' ''\n");
	free(script);
}

/* Behind an initrd of any length the archive starts at a multiple of four, after zeros. */
static void test_cpio_alignment(__unused void **state)
{
	for (size_t len = 1; len <= 8; len++) {
		char *text = NULL;
		size_t size = 0;
		FILE *out = open_memstream(&text, &size);
		FILE *base = fmemopen((char[]){"12345678"}, len, "r");
		size_t at = (len + 3) / 4 * 4;

		assert_true(cpio_copy_padded(out, base));
		assert_true(cpio_write_command(out, "#!/bin/sh\ntrue\n"));
		fclose(out);
		fclose(base);
		assert_int_equal(size % 4, 0);
		for (size_t i = len; i < at; i++)
			assert_int_equal(text[i], 0);
		assert_memory_equal(text + at, "07070100000001000041ED", 22);
		assert_non_null(memmem(text, size, "TRAILER!!!", 10));
		free(text);
	}
}

/* --- consoles of several VMs */

static struct lines lines;

static void feed(u32 vm, const char *text)
{
	lines_feed(&lines, vm, (const u8 *)text, strlen(text));
}

static void taken(size_t size, const char *end, const char *want)
{
	u8 out[5000];
	size_t n = lines_take(&lines, out, size, end);

	assert_int_equal(n, strlen(want));
	assert_memory_equal(out, want, n);
}

static void test_lines_whole_and_named(__unused void **state)
{
	memset(&lines, 0, sizeof(lines));
	feed(1, "a");
	feed(2, "b\r\n");
	feed(1, "c\x1b\x7f\t\xc3\xa4");
	taken(100, "\n", "[vm2] b\n");
	feed(1, "\n\n");
	taken(100, "\r\n", "[vm1] ac??\t\xc3\xa4\r\n[vm1] \r\n");
	taken(100, "\n", "");
	feed(3, "no end");
	taken(100, "\n", "");
	lines_end(&lines);
	lines_end(&lines);
	taken(100, "\n", "[vm3] no end\n");
}

/* Only whole lines are taken, whatever the room. */
static void test_lines_as_many_as_fit(__unused void **state)
{
	memset(&lines, 0, sizeof(lines));
	feed(1, "12345\n6\n");
	taken(11, "\n", "");
	taken(12, "\r\n", "");
	taken(12 + 7, "\n", "[vm1] 12345\n");
	taken(8, "\n", "[vm1] 6\n");
	assert_int_equal(lines.len, 0);
}

/* What most lines can become is what lines_have_room() has said there is room for. */
static void test_lines_never_overflow(__unused void **state)
{
	static u8 worst[LINES_BUFFER];
	size_t most = 0, n;
	u8 out[4096];

	memset(worst, '\n', sizeof(worst));
	for (int begun = 0; begun < 2; begun++) {
		memset(&lines, 0, sizeof(lines));
		for (u32 vm = 0; begun && vm < MAX_VMS; vm++)
			for (u32 i = 0; i < LINES_MAX; i++)
				feed(vm, "x");
		while (lines_have_room(&lines, most + 1))
			most++;
		lines_feed(&lines, 1, worst, most);
		lines_end(&lines);
		assert_true(lines.len <= sizeof(lines.ready));
		assert_false(lines_have_room(&lines, most));
		while ((n = lines_take(&lines, out, sizeof(out), "\r\n")) > 0)
			assert_int_equal(out[n - 1], '\n');
		assert_int_equal(lines.len, 0);
		most = 0;
	}
}

/* --- JSON */

static u64 member(const cJSON *object, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	assert_true(cJSON_IsNumber(item));
	return (u64)cJSON_GetNumberValue(item);
}

static void test_json_round_trip(__unused void **state)
{
	struct options options = {.vm = {{.cpu = "barcelona", .vcpus = 3}}, .vms = 1, .pcpus = 2};
	struct outcome outcome = {.vm = {{.ended = "debug-exit", .code = -5, .elapsed_ns = 123}},
	                          .options = &options,
	                          .report = &report};
	cJSON *root;
	const cJSON *item;
	char *text;

	for (u32 v = 0; v < 3; v++) {
		for (u32 i = 0; i < EXIT_KIND_COUNT; i++)
			report.vm->vcpu[v].exits[i] = i + v;
		for (u32 i = 0; i < COUNTER_COUNT; i++)
			report.vm->vcpu[v].counters[i] = 1000 + i + v;
		report.vm->vcpu[v].model_overhead = v;
	}
	text = json_text(&outcome);
	root = cJSON_Parse(text);
	assert_non_null(root);
	item = cJSON_GetObjectItem(root, "schema");
	assert_string_equal(cJSON_GetStringValue(item), "postern.report/1");
	item = cJSON_GetObjectItem(root, "guest");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "ended")), "debug-exit");
	assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(item, "code")) == -5);
	assert_int_equal(member(root, "elapsed_ns"), 123);
	assert_int_equal(member(root, "model_overhead_exits"), 3);
	for (u32 i = 0; i < EXIT_KIND_COUNT; i++)
		assert_int_equal(member(cJSON_GetObjectItem(root, "exits"), report_exit_name(i)),
		                 3 * i + 3);
	for (u32 i = 0; i < COUNTER_COUNT; i++)
		assert_int_equal(
		        member(cJSON_GetObjectItem(root, "counters"), report_counter_name(i)),
		        3003 + 3 * i);
	assert_int_equal(member(cJSON_GetObjectItem(root, "ipi"), "self"),
	                 3003 + 3 * COUNTER_IPI_SENT_SELF);
	assert_int_equal(member(cJSON_GetObjectItem(root, "injected"), "extint"),
	                 3003 + 3 * COUNTER_INJ_EXTINT);
	item = cJSON_GetObjectItem(root, "vcpu");
	assert_int_equal(cJSON_GetArraySize(item), 3);
	item = cJSON_GetArrayItem(item, 2);
	assert_int_equal(member(item, "index"), 2);
	assert_int_equal(member(item, "exits"), report_exits(&report.vm->vcpu[2]));
	assert_int_equal(member(item, "injected"), report_injected(&report.vm->vcpu[2]));
	assert_int_equal(member(item, "ipi_sent"), report_ipis_sent(&report.vm->vcpu[2]));
	assert_int_equal(member(item, "ipi_received"), 1002 + COUNTER_IPI_RECEIVED);
	assert_int_equal(member(item, "hlt_ns"), 1002 + COUNTER_HLT_NS);
	cJSON_Delete(root);
	free(text);
}

/* The widest numbers there are: every column still holds them apart. */
static void test_account_wide_numbers(__unused void **state)
{
	struct options options = {.vm = {{.cpu = "barcelona", .vcpus = 2}}, .vms = 1, .pcpus = 1};
	struct outcome outcome = {
	        .vm = {{.ended = "poweroff"}}, .options = &options, .report = &report};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	report.vm->vcpus_seen = 2;
	report.vm->vcpu[0].counters[COUNTER_EOI] = 10000000000000000000ull;
	report.vm->vcpu[1].counters[COUNTER_EOI] = 8000000000000000000ull;
	account_print(out, &outcome);
	fclose(out);
	assert_non_null(strstr(text, " 10000000000000000000 "));
	assert_non_null(strstr(text, " 18000000000000000000\n"));
	assert_null(strstr(text, "exits, by cause"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(test_channel_any_split, setup),
	        cmocka_unit_test_setup(test_channel_finds_record_behind_garbage, setup),
	        cmocka_unit_test_setup(test_channel_false_header_hides_nothing, setup),
	        cmocka_unit_test_setup(test_channel_end_looks_behind_incomplete, setup),
	        cmocka_unit_test_setup(test_channel_longest_record, setup),
	        cmocka_unit_test_setup(test_channel_survives_noise, setup),
	        cmocka_unit_test_setup(test_report_refuses_what_does_not_hold, setup),
	        cmocka_unit_test_setup(test_report_account_replaces_the_one_before, setup),
	        cmocka_unit_test_setup(test_report_answer, setup),
	        cmocka_unit_test_setup(test_report_vms_apart, setup),
	        cmocka_unit_test_setup(test_channel_console_forges_nothing, setup),
	        cmocka_unit_test_setup(test_report_groups, setup),
	        cmocka_unit_test(test_options_size),
	        cmocka_unit_test(test_options_seconds),
	        cmocka_unit_test(test_options_defaults),
	        cmocka_unit_test(test_options_command),
	        cmocka_unit_test(test_options_firmware),
	        cmocka_unit_test(test_options_vms),
	        cmocka_unit_test(test_console_filter),
	        cmocka_unit_test(test_cpio_script),
	        cmocka_unit_test(test_cpio_alignment),
	        cmocka_unit_test(test_lines_whole_and_named),
	        cmocka_unit_test(test_lines_as_many_as_fit),
	        cmocka_unit_test(test_lines_never_overflow),
	        cmocka_unit_test_setup(test_json_round_trip, setup),
	        cmocka_unit_test_setup(test_account_wide_numbers, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
