#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What scripts/matrix makes of a log of `make check`. Prints "ok" and "not ok" lines; fails if any is "not ok".

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
script=$(realpath "$(dirname "$0")/../../scripts/matrix") || exit 2
output=$work
subject="matrix: "
. "$(dirname "$0")/check.sh"
cd "$work" || exit 2

cat >log <<'END'
# --- check-unit
ok msi_test: of a unit
# --- check-unit: 1 s
# --- check-model
ok msi_test: one
ok msi_test: two
ok vmx_test: chooses for itself
# --- check-model: 1 s
# --- check-model-avic
ok assist-genoa-msi_test: one
not ok assist-genoa-msi_test: two
# --- check-model-vmx
ok sapphire-rapids-msi_test: one
ok westmere-untimed-msi_test: one
# --- check-model-inhibit
ok genoa-toggled-msi_test: one
# --- check-system-full-qemu
ok demonstration # 812 ms 2 s
not ok accelerated-genoa-4v2p
# --- check-system-full-qemu: 9 s
# --- check-system-full-bochs
ok bochs-linux-broadwell-4v2p # 3 s
ok bochs-linux-4v2p # 3 s
ok bochs-entry-checks # 1 s
# --- check-cli
ok no xorriso: one clear line
END

cat >expected <<'END'
| tests | barcelona | rome | milan | genoa | westmere | broadwell | sapphire-rapids | all |
|---|---|---|---|---|---|---|---|---|
| `accelerated-*-4v2p` |  |  |  | 0/1 |  |  |  | 0/1 |
| `bochs-entry-checks` |  |  |  |  |  |  |  | 1 |
| `bochs-linux-*-4v2p` |  |  |  |  |  | 1 |  | 1 |
| `bochs-linux-4v2p` |  |  |  |  | 1 |  |  | 1 |
| `demonstration` | 1 |  |  |  |  |  |  | 1 |
| `msi_test, by the assist` |  |  |  | 1/1 |  |  |  | 1/1 |
| `msi_test, no preemption timer` |  |  |  |  | 1 |  |  | 1 |
| `msi_test, switched off and on` |  |  |  | 1 |  |  |  | 1 |
| `msi_test` | 2 |  |  |  |  |  | 1 | 3 |
| `vmx_test` |  |  |  |  |  |  |  | 1 |
| together | 3 | 0 | 0 | 2/2 | 2 | 1 | 1 | 11/2 |
END

printf '%s\n' before '<!-- matrix -->' old '<!-- /matrix -->' behind >document
printf '%s\n' before '<!-- matrix -->' "$(cat expected)" '<!-- /matrix -->' behind >wanted

prints_table() {
	diff expected <("$script" log) >&2
}
replaces_table() {
	"$script" log document && diff wanted document >&2
}
# COMMAND...: status 2, one line, and the document as it was.
refuses() {
	local status
	cp document kept
	"$@" >out 2>err
	status=$?
	[ $status -eq 2 ] && [ ! -s out ] && [ "$(wc -l <err)" -eq 1 ] && cmp -s kept document
}

check "each processor has its column, each program its row" prints_table
check "the table in a document is replaced, and nothing else" replaces_table
check "no log" refuses "$script" missing document
check "a document without a place for it" refuses "$script" log expected
check "no argument" refuses "$script"

[ "$failed" -eq 0 ]
