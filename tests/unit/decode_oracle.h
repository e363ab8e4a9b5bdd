/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The decoder against an independent one (Zydis), in both directions:
 * - what insn_decode() accepts, Zydis accepts too and describes in the same way: length, operation,
 *   sizes, registers, memory operand, immediate, prefixes;
 * - what Zydis decodes as one of the listed instructions with a memory operand, insn_decode()
 *   accepts;
 * - of each proper beginning of what it accepts it says that bytes are missing.
 */
#ifndef TESTS_UNIT_DECODE_ORACLE_H
#define TESTS_UNIT_DECODE_ORACLE_H

#include "core/decode.h"

/*
 * NULL if the two agree on the first instruction of these bytes, else which property differs.
 * *accepted: insn_decode() has decoded it.
 */
const char *decode_oracle_check(u32 mode, const u8 *bytes, u32 count, bool *accepted);

#endif
