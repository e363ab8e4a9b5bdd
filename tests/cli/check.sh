# SPDX-License-Identifier: BSD-2-Clause
# What all shell tests of the host's commands share. Sourced with $output set, the directory of `out` and `err`, which the
# command under test has written, and $subject, what stands before each test's name.
# shellcheck shell=sh
# shellcheck disable=SC2154 # who sources this sets them

passed=0
failed=0
check() { # NAME CONDITION...: the condition is a command
	name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
		echo "ok $subject$name"
	else
		failed=$((failed + 1))
		echo "not ok $subject$name"
		for stream in out err; do
			[ ! -e "$output/$stream" ] || sed "s/^/# $stream: /" "$output/$stream" | head -n 20
		done
	fi
}
