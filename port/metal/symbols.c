/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of functions, for the panic's stack. The table is made by symbols.awk from the linked
 * image. */
#include "metal.h"

struct symbol {
	u32 address; /* ascending */
	u32 name;    /* offset into symbols_names */
};

extern const u32 symbols_count;
extern const struct symbol symbols_table[];
extern const char symbols_names[];

const char *symbol_find(u64 rip, u64 *offset)
{
	u32 low = 0, high = symbols_count;

	if (rip < (uintptr_t)text_start || rip >= (uintptr_t)text_end)
		return NULL;
	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (symbols_table[middle].address <= rip)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	*offset = rip - symbols_table[low - 1].address;
	return symbols_names + symbols_table[low - 1].name;
}
