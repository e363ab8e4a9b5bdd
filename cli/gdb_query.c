/* SPDX-License-Identifier: BSD-2-Clause */
/* gdb's questions, and what it chooses: see cli/gdb_rsp.c. */
#include <stdio.h>
#include <string.h>

#include "cli/gdb_priv.h"
#include "cli/gdb_regs.h"

void rsp_choose_thread(struct rsp *rsp, const char *text)
{
	char what = *text;
	u32 vcpu;

	if ((what != 'g' && what != 'c') || !(text++, rsp_take_thread(rsp, &text, &vcpu)) ||
	    *text) {
		rsp_reply_error(rsp, ERROR_BAD);
		return;
	}
	if (what == 'g')
		rsp->thread = vcpu == RSP_NONE ? rsp->stopped_by : vcpu;
	rsp_reply(rsp, "OK");
}

void rsp_is_alive(struct rsp *rsp, const char *text)
{
	u32 vcpu;

	if (rsp_take_thread(rsp, &text, &vcpu) && vcpu != RSP_NONE && !*text)
		rsp_reply(rsp, "OK");
	else
		rsp_reply_error(rsp, ERROR_BAD);
}

static void list_threads(struct rsp *rsp)
{
	char text[4 * DEBUG_MAX_VCPUS + 2] = "m";
	size_t at = 1;

	for (u32 i = 1; i <= rsp->vcpus; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%x", i > 1 ? "," : "", i);
	rsp_reply_bytes(rsp, text, at);
}

static void describe_thread(struct rsp *rsp, const char *text)
{
	static const char *const what[] = {"", " (halted)", " (waits for start-up)"};
	char words[64];
	u32 vcpu;

	if (!rsp_take_thread(rsp, &text, &vcpu) || vcpu == RSP_NONE || *text) {
		rsp_reply_error(rsp, ERROR_BAD);
		return;
	}
	rsp->thread = vcpu;
	if (!rsp_has_regs(rsp))
		return;
	snprintf(words, sizeof(words), "vCPU %u%s", vcpu,
	         rsp->regs.activity < 3 ? what[rsp->regs.activity] : "");
	rsp_reply_hex(rsp, (const u8 *)words, strlen(words));
}

static void read_description(struct rsp *rsp, const char *text)
{
	const char *xml = gdb_regs_xml();
	char part[RSP_PACKET];
	u64 offset, count, size = strlen(xml);

	if (!rsp_take_number(&text, &offset) || !rsp_take_char(&text, ',') ||
	    !rsp_take_number(&text, &count) || *text || offset > size) {
		rsp_reply_error(rsp, ERROR_BAD);
		return;
	}
	count = min_u64(min_u64(count, sizeof(part) - 1), size - offset);
	part[0] = offset + count < size ? 'm' : 'l';
	memcpy(part + 1, xml + offset, count);
	rsp_reply_bytes(rsp, part, count + 1);
}

/* As QEMU's stub has it, whose users know these. */
static void set_sstep(struct rsp *rsp, const char *text)
{
	u64 bits;

	if (!rsp_take_number(&text, &bits) || *text || bits & ~7ull || !(bits & RSP_SSTEP_ENABLE)) {
		rsp_reply_error(rsp, ERROR_BAD);
		return;
	}
	rsp->sstep = (u32)bits;
	rsp_reply(rsp, "OK");
}

void rsp_query(struct rsp *rsp, const char *text)
{
	const char *rest;

	if (rsp_behind(text, "qSupported")) {
		rsp->swbreak = strstr(text, "swbreak+") != NULL;
		rsp_reply(
		        rsp,
		        "PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak+",
		        RSP_PACKET);
	} else if (!strcmp(text, "QStartNoAckMode")) {
		rsp_reply(rsp, "OK");
		rsp->no_ack = true;
	} else if ((rest = rsp_behind(text, "qXfer:features:read:target.xml:"))) {
		read_description(rsp, rest);
	} else if (!strcmp(text, "qfThreadInfo")) {
		list_threads(rsp);
	} else if (!strcmp(text, "qsThreadInfo")) {
		rsp_reply(rsp, "l");
	} else if ((rest = rsp_behind(text, "qThreadExtraInfo,"))) {
		describe_thread(rsp, rest);
	} else if (!strcmp(text, "qC")) {
		rsp_reply(rsp, "QC%x", rsp->stopped_by + 1u);
	} else if (rsp_behind(text, "qAttached")) {
		rsp_reply(rsp, "1");
	} else if (!strcmp(text, "qqemu.sstepbits")) {
		rsp_reply(rsp, "ENABLE=%x,NOIRQ=%x,NOTIMER=%x", RSP_SSTEP_ENABLE, RSP_SSTEP_NOIRQ,
		          RSP_SSTEP_NOTIMER);
	} else if (!strcmp(text, "qqemu.sstep")) {
		rsp_reply(rsp, "0x%x", rsp->sstep);
	} else if ((rest = rsp_behind(text, "Qqemu.sstep="))) {
		set_sstep(rsp, rest);
	} else {
		rsp_reply_bytes(rsp, "", 0);
	}
}
