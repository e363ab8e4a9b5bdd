#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What scripts/conformance makes of the images' output, with a stand-in for `postern run` that prints
# what the test wants. Prints "ok" and "not ok" lines; fails if any is "not ok".

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
script=$(realpath "$(dirname "$0")/../../scripts/conformance") || exit 2
output=$work
subject="conformance: "
. "$(dirname "$0")/check.sh"
mkdir -p "$work/suite/x86" "$work/empty"
touch "$work/suite/x86/apic.flat" "$work/suite/x86/eventinj.flat" "$work/suite/x86/msr.flat"
export BUILD=$work POSTERN=$work/postern

cat >"$POSTERN" <<'END'
#!/bin/bash
printf '%s\n' "$*" >>"$0.calls"
for ((i = 0; i < FAKE_PASSES; i++)); do
	printf 'PASS: %d\r\n' "$i"
done
[ -z "$FAKE_LINE" ] || printf '%s\r\n' "$FAKE_LINE"
exit "$FAKE_STATUS"
END
chmod +x "$POSTERN"

# run PASSES LINE STATUS ARGUMENT...: the stand-in's output and status; then the script
run() {
	export FAKE_PASSES=$1 FAKE_LINE=$2 FAKE_STATUS=$3
	shift 3
	rm -f "$POSTERN.calls"
	"$script" "$@" >"$work/out" 2>"$work/err"
	status=$?
}
ends() { [ "$status" = "$1" ]; }
out() { grep -qF -- "$1" "$work/out"; }
one_line() { [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" = 1 ] && grep -q "$1" "$work/err"; }
calls() { [ "$(wc -l <"$POSTERN.calls")" = "$1" ]; }

run 13 '' 1 "$work/suite" eventinj
check "all of it: success" ends 0
check "all of it: the counts" out "ok eventinj # PASS 13 of 13, FAIL 0, SKIP 0"
check "only what was asked for has run" calls 1

check "the processor is barcelona" grep -q -- '--cpu barcelona ' "$POSTERN.calls"

run 13 '' 1 --cpu genoa "$work/suite" eventinj
check "another processor: success" ends 0
check "another processor is the one that runs" grep -q -- '--cpu genoa ' "$POSTERN.calls"

run 13 'SKIP: a' 1 "$work/suite/x86" eventinj
check "the directory of the images itself, a SKIP" out "ok eventinj # PASS 13 of 13, FAIL 0, SKIP 1"

run 12 '' 1 "$work/suite" eventinj
check "one PASS less: failure" ends 1
check "one PASS less: says so" out "12 PASS, at least 13 are expected"

run 13 'FAIL: out of the blue' 3 "$work/suite" eventinj
check "a FAIL that is not listed: failure" ends 1
check "a FAIL that is not listed: named" out "FAIL: out of the blue"

listed='Expected #GP on WRMSR(MSR_FS_BASE, 0xaaaaaaaaaaaaaaaa), got vector 0'
run 7 "FAIL: $listed" 76 "$work/suite" msr
check "a listed FAIL: success" ends 0
check "a listed FAIL: named all the same" out "listed FAIL: $listed"
run 13 "FAIL: $listed" 3 "$work/suite" eventinj
check "listed for another test: failure" ends 1
run 7 "FAIL: $listed, nearly" 76 "$work/suite" msr
check "nearly a listed FAIL: failure" ends 1

run 13 '' 124 "$work/suite" eventinj
check "still running: failure" ends 1
check "still running: says so" out "still running after"
run 13 '' 76 "$work/suite" eventinj
check "all PASS, then a triple fault: failure" ends 1
run 13 '' 3 "$work/suite" eventinj
check "a failure that no line names: failure" ends 1

run 30 '' 1 "$work/suite" ioapic
check "an image that is not there: failure" ends 1
check "an image that is not there: named" out "no ioapic.flat"

run 0 '' 1 "$work/empty"
check "no images: refused in one line" one_line 'empty: no kvm-unit-tests'
check "no images: status" ends 2
run 0 '' 1
check "no directory: refused in one line" one_line usage
run 0 '' 1 "$work/suite" nothing-like-it
check "no such test: refused in one line" one_line nothing-like-it
POSTERN=$work/missing run 0 '' 1 "$work/suite"
check "no postern: refused in one line" one_line 'missing: cannot be run'

echo "# conformance: $passed passed, $failed failed"
[ "$failed" = 0 ]
