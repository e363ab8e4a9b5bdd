#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What tests/check counts, and what it does not make again with RESUME=1. Prints "ok" and "not ok" lines; fails if any is
# "not ok".

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
root=$(realpath "$(dirname "$0")/../..") || exit 2
output=$work/build
subject="tests/check: "
. "$(dirname "$0")/check.sh"
mkdir -p "$work/tests" "$work/scripts" && cp "$root/tests/check" "$work/tests" &&
	cp "$root/scripts/sources" "$work/scripts" && cd "$work" || exit 2
unset MAKEFLAGS MAKELEVEL MAKE POSTERN_TEST_FULL

# Each target says in `made` that it was made.
cat >Makefile <<'END'
good other:
	@echo $@ >>build/made
	@echo "ok $@"
bad:
	@echo $@ >>build/made
	@echo "ok bad: one" && echo "not ok bad: two" && [ -e build/mended ]
silent:
	@exit 1
END

# run STATUS SITTING LAST MADE TARGET...: ends so, with that last line, and has made those targets, in any order.
run() {
	local want=$1 sitting=$2 last=$3 made=$4 status
	shift 4
	mkdir -p build && : >build/made
	RESUME=$sitting tests/check build "$@" >build/out 2>build/err
	status=$?
	[ $status -eq "$want" ] && [ "$(tail -n 1 build/out)" = "$last" ] && [ "$(sort build/made | tr '\n' ' ')" = "$made" ]
}

check "all that passes is counted" run 0 '' "2 passed, 0 failed" "good other " good other
check "without RESUME all is made again" run 0 '' "2 passed, 0 failed" "good other " good other
check "with it nothing is made twice, and still counted" run 0 1 "2 passed, 0 failed" "" good other
check "a target more" run 1 1 "3 passed, 1 failed" "bad " good bad other
check "what failed is made again, and counted once" run 1 1 "3 passed, 1 failed" "bad " good bad other
check "a failure without a word counts as one" run 1 1 "1 passed, 1 failed" "" good silent
check "targets side by side" run 0 1 "3 passed, 0 failed" "good other " good good+other
check "and not again" run 0 1 "3 passed, 0 failed" "" good good+other
sed -i '/^# --- good+other: /d' build/check/log
check "what did not come to its end is made again" run 0 1 "3 passed, 0 failed" "good other " good good+other
echo '# changed' >>Makefile
check "other sources: all of it again" run 0 1 "3 passed, 0 failed" "good good other " good good+other
check "which is said" grep -q '^# RESUME: the sources, or how long they are tested, are others ' build/out
mkdir docs && echo table >docs/conformance.md
check "but the table that it writes is none" run 0 1 "3 passed, 0 failed" "" good good+other
sed -i 's/^ok good$/not &/' build/check/log
check "a log with a failure in it is not believed" run 0 1 "3 passed, 0 failed" "good good other " good good+other
POSTERN_TEST_FULL=1 check "nothing of make check is kept for check-full" run 0 1 "2 passed, 0 failed" "good other " good other
POSTERN_TEST_FULL=1 check "but what check-full has seen" run 0 1 "2 passed, 0 failed" "" good other
check "which is not kept for make check" run 0 1 "2 passed, 0 failed" "good other " good other
check "no target" run 1 '' "0 passed, 0 failed" ""

[ "$failed" -eq 0 ]
