# SPDX-License-Identifier: BSD-2-Clause
# From `nm -n` of the linked image to the assembly source of the table that symbols.c searches.
BEGIN {
	n = 0
	at = 0
}
$2 ~ /^[Tt]$/ && $3 !~ /^(image|text)_(start|end)$/ && $3 !~ /^\./ {
	address[n] = $1
	name[n++] = $3
}
END {
	print "\t.section .symbols, \"a\""
	print "\t.globl symbols_count, symbols_table, symbols_names"
	print "\t.balign 8"
	printf "symbols_count:\n\t.long %d\n\t.balign 8\nsymbols_table:\n", n
	for (i = 0; i < n; i++) {
		printf "\t.long 0x%s, %d\n", address[i], at
		at += length(name[i]) + 1
	}
	print "symbols_names:"
	for (i = 0; i < n; i++)
		printf "\t.asciz \"%s\"\n", name[i]
	print "\t.byte 0"
	print "\t.section .note.GNU-stack, \"\", @progbits"
}
