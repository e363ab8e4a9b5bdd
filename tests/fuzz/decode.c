/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/decode.c against Zydis (tests/unit/decode_oracle.h). An input: the mode, then the bytes of
 * one instruction. They are decoded as they are (fewer than 15 may be too few) and padded with zeros
 * to 15, in a buffer of exactly their size, so that a read beyond them is found.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/decode_oracle.h"

/*
 * The decoder goes by tables, so that most opcodes take the same path: each one that is accepted
 * counts as a path of its own, for libFuzzer looks here too. By mode (3), 0Fh, opcode.
 */
static u8 accepted_opcodes[3][2][256] __attribute__((used, section("__libfuzzer_extra_counters")));

static bool is_prefix(u32 mode, u8 byte)
{
	return byte == 0x66 || byte == 0x67 || (byte & 0xfe) == 0xf2 || byte == 0xf0 ||
	       (byte & 0xe7) == 0x26 || byte == 0x64 || byte == 0x65 ||
	       (mode == 8 && (byte & 0xf0) == 0x40);
}

static void note_opcode(u32 mode, const u8 *bytes)
{
	u32 map = 0;

	while (is_prefix(mode, *bytes))
		bytes++;
	if (*bytes == 0x0f) {
		map = 1;
		bytes++;
	}
	accepted_opcodes[mode / 4][map][*bytes] = 1;
}

static void check(u32 mode, const u8 *bytes, u32 count)
{
	bool accepted;
	const char *difference = decode_oracle_check(mode, bytes, count, &accepted);

	if (!difference && accepted)
		note_opcode(mode, bytes);
	if (!difference)
		return;
	fprintf(stderr, "mode %u:", mode);
	for (u32 i = 0; i < count; i++)
		fprintf(stderr, " %02x", bytes[i]);
	fprintf(stderr, "\n");
	FUZZ_FAIL("%s", difference);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u32 modes[] = {2, 4, 8};
	u8 padded[INSN_MAX_LENGTH] = {0};
	u32 mode, count;

	if (!size)
		return 0;
	mode = modes[data[0] % ARRAY_SIZE(modes)];
	count = (u32)min_u64(size - 1, INSN_MAX_LENGTH);
	memcpy(padded, data + 1, count);
	check(mode, padded, INSN_MAX_LENGTH);
	if (count < INSN_MAX_LENGTH) /* libFuzzer's buffer ends where its data does */
		check(mode, data + 1, count);
	return 0;
}
