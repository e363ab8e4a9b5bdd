# SPDX-License-Identifier: BSD-2-Clause
# What the system tests share: running build/postern with a time limit and logs, reading its report,
# and saying what is not right. Sourced by bash.

BUILD=${BUILD:-build}
POSTERN=$BUILD/postern
GUEST=$BUILD/guest
case $BUILD in
/*) OUT=$BUILD/check/system ;;
*) OUT=$PWD/$BUILD/check/system ;;
esac

# As many tests at a time as there are processors: each is a shell of its own.
TEST_JOBS=${TEST_JOBS:-$(nproc)}
tests=0
rm -rf "$OUT/results"
mkdir -p "$OUT/results"

# check NAME FUNCTION [ARGUMENT...]: one test. FUNCTION calls wrong() for each thing that is not
# right, and note() for figures worth printing.
check() {
	[[ $1 == $pattern ]] || return 0
	while [ "$(jobs -rp | wc -l)" -ge "$TEST_JOBS" ]; do
		wait -n
	done
	tests=$((tests + 1))
	{
		run_test "$@" >"$OUT/results/$1"
		# In one write, so that two tests' lines do not mix.
		printf '%s\n' "$(cat "$OUT/results/$1")"
	} &
}

# All have ended: false if one is not ok, or has not said so.
finish_tests() {
	local passed
	wait
	passed=$(cat "$OUT"/results/* 2>/dev/null | grep -c '^ok ')
	echo "# system tests: $passed passed, $((tests - passed)) failed"
	[ "$passed" -eq "$tests" ]
}

run_test() {
	local name=$1 reason started=$SECONDS
	shift
	reasons=()
	notes=()
	log=$OUT/$name.log
	err=$OUT/$name.err
	json=$OUT/$name.json
	tmp=$OUT/tmp.$name # TMPDIR of those that look at what is left there
	cut=$OUT/$name.cut
	gdb_port=$((20000 + ($$ * 64 + tests) % 20000))
	rm -f "$log" "$err" "$json"
	"$@"
	notes+=("$((SECONDS - started)) s")
	if [ ${#reasons[@]} -eq 0 ]; then
		echo "ok $name # ${notes[*]}"
	else
		echo "not ok $name"
		for reason in "${reasons[@]}"; do
			echo "#   $reason"
		done
		echo "#   logs: $log $err $json"
	fi
}

wrong() {
	reasons+=("$*")
}

note() {
	notes+=("$*")
}

# boot SECONDS ARGUMENT...: `postern run`, ended by itself after SECONDS, and by force a little later.
# Leaves the guest's console in $log, all else in $err, the report in $json, the exit in $status.
boot() {
	local seconds=$1
	shift
	status=0
	timeout -k 10 $((seconds + 30)) "$POSTERN" run --timeout "$seconds" --json "$json" "$@" \
		</dev/null >"$log" 2>"$err" || status=$?
}

# The string or number of a member of the report. Names are unique but for the vCPUs' own.
report() {
	[ -f "$json" ] || return 0
	tr -d '\n\t' <"$json" | grep -oE "\"$1\" *: *(\"[^\"]*\"|-?[0-9.]+)" | head -n 1 |
		sed 's/^"[^"]*" *: *//; s/"//g'
}

# reported REASON MEMBER: of an inhibit of scope VM in the report, and `option` of what set it last.
reported() {
	[ -f "$json" ] || return 0
	tr -d '\n\t' <"$json" | grep -oE "\"reason\" *: *\"$1\"[^]]*" | head -n 1 |
		grep -oE "\"$2\" *: *(\"[^\"]*\"|[a-z0-9]+)" | head -n 1 | sed 's/^"[^"]*" *: *//; s/"//g'
}

# expect_held_throughout REASON OPTION: from before the first instruction to the end acceleration was off
# for this reason.
expect_held_throughout() {
	local history
	history="$(reported "$1" sets) $(reported "$1" clears) $(reported "$1" stands)"
	[ "$history" = "1 0 true" ] || wrong "$1 sets, clears, stands: $history"
	[ "$(reported "$1" option)" = "$2" ] || wrong "$1 was set by '$(reported "$1" option)'"
	[ "$(reported "$1" held_ns)" -ge "$(report elapsed_ns)" ] ||
		wrong "$1 was held for $(reported "$1" held_ns) ns of $(report elapsed_ns)"
	[ "$(report active_ns)" = 0 ] || wrong "active for $(report active_ns) ns"
	[ "$(report mismatches)" = 0 ] || wrong "mismatches: $(report mismatches)"
}

# With several VMs: the one that console() and account(), and what uses them, look at.
vm=

# The guest's console alone, without the account that follows it.
console() {
	awk '/^postern: .* ended: / { exit } { print }' "$log" | tr -d '\r' |
		case $vm in
		'') cat ;;
		0) grep -av '^\[vm[1-9]\] ' ;;
		*) sed -n "s/^\[vm$vm\] //p" ;;
		esac
}

# The number of a row of the account, its last column (the total); empty if the row is not there.
account() {
	awk -v row="$1" -v title="^postern: ${vm:+vm$vm: }.* ended: " \
		'/^postern: .* ended: / { on = $0 ~ title } on && $1 == row { print $NF; exit }' "$log"
}

# The same, 0 if it is not there.
number() {
	local value
	value=$(account "$1")
	echo "${value:-0}"
}

# How VM $vm ended.
expect_vm_ended() {
	local ended
	ended=$(sed -n "s/^postern: vm$vm: .* ended: \([a-z-]*\).*/\1/p" "$log")
	[ "$ended" = "$1" ] || wrong "VM $vm ended '$ended', not '$1'"
}

# Each interrupt that the guest was given has been ended by it. Not for guests that are given NMIs or
# ExtINT, which have no EOI.
expect_every_eoi() {
	local injected eoi
	injected=$(awk -v title="^postern: ${vm:+vm$vm: }.* ended: " \
		'/^postern: .* ended: / { on = $0 ~ title } on && /^  all interrupts/ { print $NF }' "$log")
	eoi=$(account eoi)
	[ "${injected:-0}" -gt 0 ] || wrong "${vm:+VM $vm: }no interrupts were injected"
	[ "${injected:-0}" = "${eoi:-0}" ] ||
		wrong "${vm:+VM $vm: }${injected:-0} interrupts injected, ${eoi:-0} ended"
	note "${vm:+vm$vm: }injected ${injected:-0}, EOI ${eoi:-0}"
}

expect_ended() {
	local ended
	ended=$(report ended)
	[ "$ended" = "$1" ] || wrong "ended '$ended', not '$1'"
}

expect_status() {
	[ "$status" -eq "$1" ] || wrong "exit status $status, not $1"
}

expect_console() {
	console | grep -aE "$1" >/dev/null || wrong "the console does not show: $1"
}

expect_no_console() {
	local line
	while IFS= read -r line; do
		wrong "console: $line"
	done < <(console | grep -anE "$1" | head -n 5)
}

expect_account() {
	local exits
	exits=$(account all)
	[ "${exits:-0}" -gt 0 ] || wrong "no account was printed"
}

# What Linux says when interrupts or timers do not behave as on a real machine.
complaints='soft lockup|hard LOCKUP|rcu: INFO|rcu:.*detected stalls|[Ss]purious|(^|[^a-z])lost([^a-z]|$)'
complaints+='|MP-BIOS bug|\.\.no vectors|[Nn]o irq handler|APIC error|timer not connected|WARNING:|BUG:'
complaints+='|unchecked MSR|nobody cared|Kernel panic'
complaints+='|workload: .*INCOMPLETE|workload: .*stuck'

expect_no_complaints() {
	expect_no_console "$complaints"
	[ -z "$(account spurious)" ] || wrong "spurious vectors: $(account spurious)"
}

# The workload's own counts: present, and complete.
expect_workload() {
	local name have want
	expect_console 'workload: .* complete'
	while read -r name have want; do
		[ "$have" -eq "$want" ] || wrong "workload: $name $have of $want"
	done < <(console | sed -n 's,^workload: \([a-z-]*\) \([0-9]*\)/\([0-9]*\)$,\1 \2 \3,p')
}

# start ARGUMENT...: `postern run` in the background, as a job with a process group of its own. It ends
# after $limit seconds, 120 if not set. What is typed comes from $input, nothing if not set.
start() {
	rm -rf "$tmp"
	mkdir -p "$tmp"
	set -m
	# The tests themselves may run in the background, which ignores interrupts; this is about them.
	TMPDIR=$tmp env --default-signal=INT,QUIT "$POSTERN" run --timeout "${limit:-120}" \
		--json "$json" "$@" <"${input:-/dev/null}" >"$log" 2>"$err" &
	job=$!
	set +m
}

# await SECONDS FILE PATTERN: for a line that the run in the background writes.
await() {
	local i
	for ((i = 0; i < $1 * 10; i++)); do
		grep -aqE "$3" "$2" && return 0
		kill -0 "$job" 2>/dev/null || break
		sleep 0.1
	done
	return 1
}

# Wait up to $patience seconds, 60 if not set, for a line on the console of the run in the background.
await_console() {
	await "${patience:-60}" "$log" "$1" || wrong "the console never showed: $1"
}

# Wait as long as the run may last for a line of the hypervisor's log; it needs --verbose.
await_log() {
	await "${limit:-120}" "$err" "$1" || wrong "the log never showed: $1"
}

# Wait for the run in the background to end by itself, with nothing left of it: no process, no file.
await_end() {
	local i child
	for ((i = 0; i < 300; i++)); do
		kill -0 "$job" 2>/dev/null || break
		sleep 0.1
	done
	if kill -0 "$job" 2>/dev/null; then
		wrong "postern did not end"
		kill -KILL -- "-$job"
	fi
	status=0
	wait "$job" || status=$?
	for child in $children; do
		! kill -0 "$child" 2>/dev/null || wrong "process $child is left"
	done
	[ -z "$(ls -A "$tmp")" ] || wrong "temporary files are left: $(ls -A "$tmp")"
}
