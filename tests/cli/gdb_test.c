/* SPDX-License-Identifier: BSD-2-Clause */
/* gdb's protocol by itself: packets as gdb sends them and as it does not, against an image made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gdb_regs.h"
#include "cli/gdb_rsp.h"
#include "postern/account.h"
#include "x86/regs.h"

#define VCPUS 3

static struct rsp rsp;
static struct debug_request asked; /* the last */
static u8 asked_data[DEBUG_MAX_DATA];
static unsigned int requests, kills;
static struct debug_regs regs;
static char said[RSP_OUT + 1];

static void on_request(__unused void *context, const struct debug_request *request,
                       const void *data)
{
	asked = *request;
	assert_true(request->length <= sizeof(asked_data));
	if (request->length)
		memcpy(asked_data, data, request->length);
	requests++;
}

static void on_kill(__unused void *context)
{
	kills++;
}

/* What has been written for gdb since it was last asked. */
static const char *take_out(void)
{
	memcpy(said, rsp.out, rsp.out_len);
	said[rsp.out_len] = 0;
	rsp.out_len = 0;
	return said;
}

static void feed(const void *data, size_t len)
{
	rsp_feed(&rsp, data, len);
}

static void send_packet(const char *text)
{
	char packet[3 * RSP_PACKET];
	u8 sum = 0;

	for (const char *c = text; *c; c++)
		sum = (u8)(sum + (u8)*c);
	feed(packet, (size_t)snprintf(packet, sizeof(packet), "$%s#%02x", text, sum));
}

/* The reply to a packet, which is acknowledged; without its frame. */
static const char *ask(const char *text)
{
	const char *out;
	char *end;

	send_packet(text);
	out = take_out();
	if (!strcmp(out, "+"))
		return "(held)";
	assert_true(out[0] == '+' && out[1] == '$');
	end = strchr(said, '#');
	assert_non_null(end);
	*end = 0;
	return out + 2;
}

static const char *unframed(void)
{
	const char *out = take_out();

	if (*out != '$')
		return out;
	*strchr(said, '#') = 0;
	return out + 1;
}

static void record(enum debug_op op, enum debug_result result, const void *data, size_t len)
{
	struct report_debug head = {
	        .op = (u8)op, .result = (u8)result, .vcpu = asked.vcpu, .sequence = asked.sequence};

	rsp_record(&rsp, &head, data, len);
}

static void stopped(u8 vcpu, enum debug_reason reason)
{
	rsp_record(&rsp,
	           &(struct report_debug){.op = DEBUG_STOPPED, .vcpu = vcpu, .reason = (u8)reason},
	           NULL, 0);
}

static void ended(enum ending ending, s32 code)
{
	rsp_record(&rsp,
	           &(struct report_debug){.op = DEBUG_ENDED, .reason = (u8)ending, .detail = code},
	           NULL, 0);
}

static int setup(__unused void **state)
{
	requests = kills = 0;
	memset(&regs, 0, sizeof(regs));
	for (int i = 0; i < 16; i++)
		regs.gpr[i] = 0x1100u + (unsigned int)i;
	regs.rip = 0xffffffff81000000;
	regs.rflags = 0x246;
	rsp_init(&rsp, VCPUS, &(struct rsp_user){on_request, on_kill, NULL});
	rsp_open(&rsp, true);
	assert_int_equal(asked.op, DEBUG_STOP);
	stopped(0, DEBUG_REASON_STOP);
	take_out();
	return 0;
}

static void test_gdb_greeting(__unused void **state)
{
	assert_non_null(strstr(ask("qSupported:multiprocess+;swbreak+"), "PacketSize=810;"));
	assert_string_equal(ask("?"), "T02thread:1;");
	assert_string_equal(ask("qfThreadInfo"), "m1,2,3");
	assert_string_equal(ask("qsThreadInfo"), "l");
	assert_string_equal(ask("qC"), "QC1");
	assert_string_equal(ask("qAttached"), "1");
	assert_string_equal(ask("Hg2"), "OK");
	assert_string_equal(ask("Hc-1"), "OK");
	assert_string_equal(ask("T3"), "OK");
	assert_string_equal(ask("vCont?"), "vCont;c;C;s;S");
	assert_string_equal(ask("vMustReplyEmpty"), "");
	assert_string_equal(ask("QStartNoAckMode"), "OK");
	send_packet("qC");
	assert_string_equal(unframed(), "QC1"); /* no acknowledgement any more */
}

static void test_gdb_description(__unused void **state)
{
	char text[16384] = "", query[80];
	const char *part;
	size_t bytes = 0;

	do {
		snprintf(query, sizeof(query), "qXfer:features:read:target.xml:%zx,7b",
		         strlen(text));
		part = ask(query);
		strcat(text, part + 1);
	} while (*part == 'm');
	assert_int_equal(*part, 'l');
	assert_string_equal(text, gdb_regs_xml());
	for (unsigned int i = 0; i < GDB_REGS; i++)
		bytes += gdb_reg_size(i);
	assert_int_equal(bytes, 16 * 8 + 8 + 4 + 6 * 4 + 8 * 10 + 8 * 4 + 16 * 16 + 4 + 12 * 8);
	assert_string_equal(ask("qXfer:features:read:target.xml:fffff,1"), "E16");
	assert_string_equal(ask("qXfer:features:read:target.xml:0"), "E16");
}

/* Asked once: until the guest goes on they are remembered. */
static void test_gdb_registers(__unused void **state)
{
	assert_string_equal(ask("p10"), "(held)");
	assert_int_equal(asked.op, DEBUG_READ_REGS);
	record(DEBUG_READ_REGS, DEBUG_OK, &regs, sizeof(regs));
	assert_string_equal(unframed(), "00000081ffffffff");
	requests = 0;
	assert_string_equal(ask("p1"), "0311000000000000"); /* RBX */
	assert_string_equal(ask("p11"), "46020000");
	assert_int_equal(strlen(ask("g")), 2 * 632);
	assert_int_equal(requests, 0);
	assert_string_equal(ask("P0=8877665544332211"), "(held)");
	assert_int_equal(asked.op, DEBUG_WRITE_REGS);
	memcpy(&regs, asked_data, sizeof(regs));
	assert_int_equal(regs.gpr[GPR_RAX], 0x1122334455667788);
	record(DEBUG_WRITE_REGS, DEBUG_OK, NULL, 0);
	assert_string_equal(unframed(), "OK");
	assert_string_equal(ask("p0"), "(held)"); /* who knows what became of it */
	record(DEBUG_READ_REGS, DEBUG_OK, &regs, sizeof(regs));
	assert_string_equal(unframed(), "8877665544332211");
	/* CS: as it is, or not at all. */
	assert_string_equal(ask("P12=10000000"), "E01");
	assert_string_equal(ask("p45"), "E16");
	assert_string_equal(ask("p"), "E16");
	assert_string_equal(ask("P0=88"), "E16");
	assert_string_equal(ask("P0=887766554433221100"), "E16");
	assert_string_equal(ask("Pffffffffffffffff=00"), "E16");
	assert_string_equal(ask("G00"), "E16");
}

static void test_gdb_all_registers_written(__unused void **state)
{
	char all[2 * 632 + 2] = "G";

	ask("g");
	record(DEBUG_READ_REGS, DEBUG_OK, &regs, sizeof(regs));
	strcpy(all + 1, unframed());
	memcpy(all + 1, "efbeadde", 8);
	assert_string_equal(ask(all), "(held)");
	assert_int_equal(asked.op, DEBUG_WRITE_REGS);
	memcpy(&regs, asked_data, sizeof(regs));
	assert_int_equal((u32)regs.gpr[GPR_RAX], 0xdeadbeef);
	assert_int_equal(regs.gpr[GPR_R15], 0x110f);
	record(DEBUG_WRITE_REGS, DEBUG_OK, NULL, 0);
	assert_string_equal(unframed(), "OK");
}

/* FSAVE's tags of what FXSAVE has, and back. */
static void test_gdb_tag_word(__unused void **state)
{
	u8 bytes[GDB_REG_BYTES];

	regs.fx[3] = 6 << 3;    /* top: ST0 is register 6 */
	regs.fx[4] = 3 << 6;    /* registers 6 and 7 are in use */
	regs.fx[32 + 7] = 0x80; /* ST0: 1.0 */
	regs.fx[32 + 8] = 0xff;
	regs.fx[32 + 9] = 0x3f;
	gdb_reg_get(&regs, 34, bytes); /* ST1: zero */
	assert_int_equal(bytes[0] | bytes[1] << 8, 0x4fff);
	bytes[0] = 0xfc;
	assert_true(gdb_reg_set(&regs, 34, bytes));
	assert_int_equal(regs.fx[4], 0xc1);
}

static void test_gdb_memory(__unused void **state)
{
	static const u8 bytes[] = {1, 0xab};

	ask("Hg3");
	assert_string_equal(ask("mffff800000000000,4"), "(held)");
	assert_int_equal(asked.op, DEBUG_READ);
	assert_int_equal(asked.vcpu, 2);
	assert_int_equal(asked.address, 0xffff800000000000);
	assert_int_equal(asked.count, 4);
	record(DEBUG_READ, DEBUG_OK, bytes, sizeof(bytes));
	assert_string_equal(unframed(), "01ab");
	ask("m0,1");
	record(DEBUG_READ, DEBUG_FAULT, NULL, 0);
	assert_string_equal(unframed(), "E0e");
	ask("m0,ffffffffffffffff");
	assert_int_equal(asked.count, DEBUG_MAX_DATA);
	record(DEBUG_READ, DEBUG_OK, bytes, sizeof(bytes));
	take_out();
	assert_string_equal(ask("M1000,2:55aa"), "(held)");
	assert_int_equal(asked.op, DEBUG_WRITE);
	assert_int_equal(asked.length, 2);
	assert_memory_equal(asked_data, "\x55\xaa", 2);
	record(DEBUG_WRITE, DEBUG_OK, NULL, 0);
	assert_string_equal(unframed(), "OK");
	requests = 0;
	assert_string_equal(ask("M1000,2:55a"), "E16");
	assert_string_equal(ask("M1000,2:55aabb"), "E16");
	assert_string_equal(ask("M1000,2:5xaa"), "E16");
	assert_string_equal(ask("M1000,ffff:00"), "E16");
	assert_string_equal(ask("M1000,2"), "E16");
	assert_string_equal(ask("m"), "E16");
	assert_string_equal(ask("m1"), "E16");
	assert_string_equal(ask("m1,"), "E16");
	assert_string_equal(ask("m11111111111111111,1"), "E16");
	assert_string_equal(ask("m-1,1"), "E16");
	assert_int_equal(requests, 0);
}

static void test_gdb_breakpoints(__unused void **state)
{
	assert_string_equal(ask("Z0,401000,1"), "(held)");
	assert_int_equal(asked.op, DEBUG_PLANT);
	assert_int_equal(asked.address, 0x401000);
	record(DEBUG_PLANT, DEBUG_FULL, NULL, 0);
	assert_string_equal(unframed(), "E1c");
	assert_string_equal(ask("z0,401000,1"), "(held)");
	assert_int_equal(asked.op, DEBUG_UNPLANT);
	record(DEBUG_UNPLANT, DEBUG_OK, NULL, 0);
	assert_string_equal(unframed(), "OK");
	/* Not offered. */
	for (char kind = '1'; kind <= '4'; kind++) {
		char text[] = "Z_,401000,1";

		text[1] = kind;
		assert_string_equal(ask(text), "");
	}
	assert_string_equal(ask("Z0,401000"), "E16");
	assert_string_equal(ask("Z0,,1"), "E16");
	assert_string_equal(ask("Z0"), "E16");
	assert_string_equal(ask("Z"), "");
}

static void test_gdb_stop_and_go(__unused void **state)
{
	ask("qSupported:swbreak+");
	assert_string_equal(ask("vCont;s:2;c"), "(held)");
	assert_int_equal(asked.op, DEBUG_RESUME);
	assert_memory_equal(asked_data, "\x01\x0e\x01\x00", 4);
	stopped(1, DEBUG_REASON_STEP);
	assert_string_equal(unframed(), "T05thread:2;");
	ask("Qqemu.sstep=1");
	assert_string_equal(ask("qqemu.sstep"), "0x1");
	assert_string_equal(ask("qqemu.sstepbits"), "ENABLE=1,NOIRQ=2,NOTIMER=4");
	assert_string_equal(ask("Qqemu.sstep=2"), "E16");
	assert_string_equal(ask("Qqemu.sstep=9"), "E16");
	/* One alone; the others stay. */
	ask("vCont;S05:3");
	assert_memory_equal(asked_data, "\x00\x00\x02\x00", 4);
	stopped(2, DEBUG_REASON_BREAKPOINT);
	assert_string_equal(unframed(), "T05thread:3;swbreak:;");
	ask("c");
	requests = 0;
	feed("\x03", 1);
	feed("\x03", 1);
	assert_int_equal(requests, 1);
	assert_int_equal(asked.op, DEBUG_STOP);
	stopped(0, DEBUG_REASON_STOP);
	assert_string_equal(unframed(), "T02thread:1;");
	/* Meaningless while it stands still. */
	feed("\x03", 1);
	assert_int_equal(requests, 1);
	ask("s");
	assert_memory_equal(asked_data, "\x02\x01\x01", 3);
	record(DEBUG_RESUME, DEBUG_BAD, NULL, 0);
	assert_string_equal(unframed(), "E01");
	assert_string_equal(ask("vCont;x"), "E16");
	assert_string_equal(ask("vCont;s:4"), "E16");
	assert_string_equal(ask("vCont;s:"), "E16");
	assert_string_equal(ask("vCont"), "E16");
	assert_string_equal(ask("vCont;c;"), "E16");
	assert_string_equal(ask("c1000"), "E16");
}

static void test_gdb_endings(__unused void **state)
{
	static const struct {
		enum ending ending;
		const char *reply;
	} cases[] = {{ENDED_POWEROFF, "W07"},     {ENDED_DEBUG_EXIT, "W07"},
	             {ENDED_TRIPLE_FAULT, "X06"}, {ENDED_RESET, "X06"},
	             {ENDED_TIMEOUT, "X0f"},      {ENDED_INTERRUPTED, "X0f"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setup(NULL);
		ask("c");
		ended(cases[i].ending, 7);
		assert_string_equal(unframed(), cases[i].reply);
		/* While it stood still, it is told when gdb looks. */
		setup(NULL);
		ended(cases[i].ending, 7);
		assert_int_equal(rsp.out_len, 0);
		assert_string_equal(ask("m0,1"), "E01");
		assert_string_equal(ask("vCont;c"), cases[i].reply);
		assert_string_equal(ask("?"), cases[i].reply);
		rsp_close(&rsp);
		assert_int_equal(rsp.state, RSP_CLOSED);
	}
}

static void test_gdb_goes(__unused void **state)
{
	assert_string_equal(ask("D"), "OK");
	assert_true(rsp.gone);
	rsp_close(&rsp);
	assert_int_equal(asked.op, DEBUG_DETACH);
	assert_int_equal(rsp.state, RSP_LEAVING);
	stopped(0, DEBUG_REASON_STOP); /* on its way when gdb went */
	record(DEBUG_DETACH, DEBUG_OK, NULL, 0);
	assert_int_equal(rsp.state, RSP_CLOSED);
	/* The next one, before the image listens. */
	requests = 0;
	rsp_open(&rsp, false);
	assert_string_equal(ask("qC"), "QC1");
	assert_string_equal(ask("?"), "(held)");
	assert_int_equal(requests, 0);
	rsp_ready(&rsp);
	assert_int_equal(asked.op, DEBUG_STOP);
	stopped(1, DEBUG_REASON_STOP);
	assert_string_equal(unframed(), "T02thread:2;");
	ask("k");
	assert_int_equal(kills, 1);
}

/* An answer that nobody awaits is nobody's: late, early, of another length. */
static void test_gdb_wrong_answers(__unused void **state)
{
	record(DEBUG_READ, DEBUG_OK, "abc", 3);
	assert_int_equal(rsp.out_len, 0);
	ask("m0,1");
	asked.sequence--;
	record(DEBUG_READ, DEBUG_OK, "abc", 3);
	assert_int_equal(rsp.out_len, 0);
	asked.sequence++;
	record(DEBUG_WRITE, DEBUG_OK, NULL, 0);
	assert_int_equal(rsp.out_len, 0);
	record(DEBUG_READ, DEBUG_OK, "abc", 3);
	assert_string_equal(unframed(), "616263");
	ask("g");
	record(DEBUG_READ_REGS, DEBUG_OK, "abc", 3);
	assert_string_equal(unframed(), "E01");
	ask("c");
	stopped(200, DEBUG_REASON_STEP);
	assert_string_equal(unframed(), "T05thread:1;");
}

/* Frames: sums, escapes, lengths, rubbish between. */
static void test_gdb_frames(__unused void **state)
{
	char *longest = malloc(3 * RSP_PACKET);

	feed("+++-xyz$qC#b4", 13);
	assert_string_equal(take_out(), "+$QC1#c5");
	feed("$qC#b5", 6);
	assert_string_equal(take_out(), "-");
	feed("$qC#zz", 6);
	assert_string_equal(take_out(), "-");
	feed("$}\x51"
	     "C#1f",
	     7); /* 'q' in disguise */
	take_out();
	feed("$#00", 4);
	assert_string_equal(take_out(), "+$#00");
	feed("$q\0C#b4", 7);
	assert_string_equal(take_out(), "+$E16#ac");
	memset(longest, 'm', 2 * RSP_PACKET);
	longest[2 * RSP_PACKET] = 0;
	assert_string_equal(ask(longest), "E16");
	assert_string_equal(ask("qC"), "QC1");
	free(longest);
}

/* Bytes at random, most of them of packets: whatever comes out, nothing breaks. */
static void test_gdb_random(__unused void **state)
{
	static const char *const words[] = {"$",
	                                    "#",
	                                    "}",
	                                    "g",
	                                    "G",
	                                    "p",
	                                    "P",
	                                    "m",
	                                    "M",
	                                    "Z0,",
	                                    "z0,",
	                                    "vCont",
	                                    ";c",
	                                    ";s:",
	                                    "qXfer:features:read:target.xml:",
	                                    "Hg",
	                                    "T",
	                                    "qThreadExtraInfo,",
	                                    ",",
	                                    ":",
	                                    "=",
	                                    "-1",
	                                    "0",
	                                    "1",
	                                    "3",
	                                    "ffffffff",
	                                    "\x03",
	                                    "Qqemu.sstep=",
	                                    "D",
	                                    "?"};
	unsigned int seed = 1;

	for (unsigned int i = 0; i < 300000; i++) {
		char text[200] = "";
		u8 raw[2];

		for (unsigned int n = 0; n < 6; n++) {
			seed = seed * 1103515245 + 12345;
			strcat(text, words[seed >> 16 & 31 & (n % 2 ? 31 : 15)
			                           ? (seed >> 16) % ARRAY_SIZE(words)
			                           : 0]);
		}
		if (i & 1)
			send_packet(text);
		else
			feed(text, strlen(text));
		raw[0] = (u8)(seed >> 8);
		raw[1] = (u8)(seed >> 24);
		feed(raw, 2);
		if (asked.op == DEBUG_READ_REGS)
			record(DEBUG_READ_REGS, (seed & 64) ? DEBUG_OK : DEBUG_FAULT, &regs,
			       sizeof(regs));
		else if (asked.op == DEBUG_READ)
			record(DEBUG_READ, DEBUG_OK, raw, asked.count < 2 ? asked.count : 2);
		else
			record(asked.op, DEBUG_OK, NULL, 0);
		stopped(raw[0], raw[1]);
		rsp.out_len = 0;
		if (rsp.gone) {
			rsp_close(&rsp);
			record(DEBUG_DETACH, DEBUG_OK, NULL, 0);
			rsp_open(&rsp, true);
		}
	}
	assert_true(requests > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(test_gdb_greeting, setup),
	        cmocka_unit_test_setup(test_gdb_description, setup),
	        cmocka_unit_test_setup(test_gdb_registers, setup),
	        cmocka_unit_test_setup(test_gdb_all_registers_written, setup),
	        cmocka_unit_test_setup(test_gdb_tag_word, setup),
	        cmocka_unit_test_setup(test_gdb_memory, setup),
	        cmocka_unit_test_setup(test_gdb_breakpoints, setup),
	        cmocka_unit_test_setup(test_gdb_stop_and_go, setup),
	        cmocka_unit_test_setup(test_gdb_endings, setup),
	        cmocka_unit_test_setup(test_gdb_goes, setup),
	        cmocka_unit_test_setup(test_gdb_wrong_answers, setup),
	        cmocka_unit_test_setup(test_gdb_frames, setup),
	        cmocka_unit_test_setup(test_gdb_random, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
