# SPDX-License-Identifier: BSD-2-Clause
# Part of tests/system/run: guests on Bochs, by --cpu westmere or broadwell. It is some fifty times slower than QEMU.

# As test_micro of tests/system/run.
test_bochs_micro() {
	boot "$4" --cpu westmere -k "$GUEST/micro/$1.elf" -c 1 -m 64M
	expect_ended "$2"
	expect_status "$3"
	expect_no_console '^not ok|unexpected exception'
	expect_account
}

test_bochs_micro_says() {
	local words=$1
	shift
	test_bochs_micro "$@"
	expect_console "$words"
}

# The guest says how often each kind of exit is due; the account has exactly that.
test_bochs_exits() {
	local cpu=$1 name expected counted compared=0
	boot 400 --cpu "$cpu" -k "$GUEST/micro/apicv.elf" -c 1 -m 64M --set testdev=on
	expect_status 0
	expect_ended poweroff
	expect_console '^ok every interrupt was taken'
	expect_no_console '^not ok|unexpected exception'
	while read -r name expected; do
		counted=$(account "$name")
		[ "${counted:-0}" -eq "$expected" ] || wrong "$name: ${counted:-0} exits, not $expected"
		compared=$((compared + 1))
		[ "$expected" -eq 0 ] || note "$name $expected"
	done < <(console | sed -n "s/^count $cpu\.\([a-z-]*\) \([0-9]*\)\$/\1 \2/p")
	[ "$compared" -ge 9 ] || wrong "only $compared kinds of exit were compared"
}

# As test_msi of tests/system/run, through the IOMMU: several may meet on the way. By posted interrupts they reach the guest
# without software but those to several vCPUs, and a vCPU that sleeps by the wakeup vector; otherwise each is an interrupt
# of the host.
test_bochs_assigned() {
	local merged software
	boot 300 --cpu "$1" -k "$GUEST/micro/msi.elf" -c 2 --pcpus 2 --verbose --set msidev=4 \
		--set msidev.assigned=on
	expect_status 0
	expect_ended poweroff
	expect_no_console '^not ok|unexpected exception'
	grep -q 'iommu: modelled' "$err" || wrong "the log does not name the IOMMU"
	[ "$(count_of messages)" -ge 300 ] || wrong "only $(count_of messages) messages"
	if [ "$1" = westmere ]; then
		expect_sum "messages handled" "$(count_of handled)" "$(account msi)"
	else
		software=$(($(account accepted) - $(count_of handled-pin)))
		[ "$((10 * software))" -lt "$(count_of handled)" ] || wrong "$software messages were accepted by software"
		[ "$(number posted-wakeups)" -ge 100 ] || wrong "only $(number posted-wakeups) posted-wakeups"
	fi
	merged=$(($(count_of messages) - $(count_of handled) - $(number coalesced) - $(count_of lost)))
	[ "$merged" -ge 0 ] || wrong "$((-merged)) interrupts too many"
	note "$(count_of messages) messages, $merged of them met another on the way"
}

# The guest sleeps: its time goes by faster than the host's.
test_bochs_timeout() {
	boot 90 --cpu westmere -k "$GUEST/micro/halt.elf" -c 1 -m 64M
	expect_status 124
	expect_ended timeout
	expect_console halting
	expect_account
}

# A guest that spins with interrupts off, from its entry on: Bochs itself would not get it off its processor.
test_bochs_spin() {
	boot 90 --cpu westmere -k "$GUEST/micro/spin.elf" -c 1 -m 64M
	expect_status 124
	expect_ended timeout
	expect_console spinning
	[ "$(number external-interrupt)" -gt 0 ] || wrong "no physical interrupt got through"
	note "external-interrupt $(number external-interrupt)"
}

# test_bochs_deadline SETTING AWAKE OTHER: deadlines that come while the guest runs exit by AWAKE alone.
test_bochs_deadline() {
	boot 90 --cpu westmere -k "$GUEST/micro/deadline.elf" -c 1 -m 64M --set "preemption-timer=$1"
	expect_ended poweroff
	expect_status 0
	expect_no_console '^not ok|unexpected exception'
	expect_console '^count deadlines 400'
	[ "$(number "$2")" -ge 200 ] || wrong "only $(number "$2") exits $2 for 200 deadlines"
	[ "$(number "$3")" -lt 20 ] || wrong "$(number "$3") exits $3"
	[ "$(number timer-ticks)" = 400 ] || wrong "$(number timer-ticks) timer-ticks, not 400"
	note "$2 $(number "$2"), $3 $(number "$3"), $(console | sed -n 's/^count \(late-awake .*\)/\1/p')"
}

# start_bochs ARGUMENT...: a guest that sleeps for ever
start_bochs() {
	local patience=300 limit=600
	start --cpu westmere -k "$GUEST/micro/halt.elf" -c 1 -m 64M "$@"
	await_console halting
	children=$(pgrep -P "$job")
	[ -n "$children" ] || wrong "no emulator is running"
}

# test_bochs_interrupt TARGET SIGNAL: as test_interrupt
test_bochs_interrupt() {
	start_bochs
	if [ "$1" = group ]; then
		kill "-$2" -- "-$job"
	else
		kill "-$2" "$job"
	fi
	await_end
	expect_status 130
	expect_ended interrupted
	expect_account
}

test_bochs_killed() {
	local socket=$tmp.sock
	start_bochs --control "$socket"
	"$POSTERN" control "$socket" account >"$cut" 2>&1 || wrong "no account: $(cat "$cut")"
	# shellcheck disable=SC2086 # a list of process numbers
	kill -KILL $children
	await_end
	expect_status 74
	expect_account
	grep -q '^postern: Bochs was killed by signal 9' "$err" || wrong "said: $(cat "$err")"
}

# The command's own death is Bochs's, too. What it had in its directory stays.
test_bochs_orphan() {
	local child i
	start_bochs
	kill -KILL "$job"
	wait "$job" 2>/dev/null
	for ((i = 0; i < 50; i++)); do
		# shellcheck disable=SC2086 # a list of process numbers
		kill -0 $children 2>/dev/null || break
		sleep 0.1
	done
	for child in $children; do
		! kill -0 "$child" 2>/dev/null || wrong "process $child is left"
	done
	rm -rf "$tmp"
}

# Questions and their answers, by the second serial line.
test_bochs_control() {
	local socket=$tmp.sock
	start_bochs --control "$socket"
	"$POSTERN" control "$socket" account >"$cut" 2>&1 || wrong "no account: $(cat "$cut")"
	grep -q '^postern: westmere, 1 vCPU on 1 CPU; running' "$cut" || wrong "said: $(head -n 1 "$cut")"
	"$POSTERN" control "$socket" set pit.reinject=on >"$cut" 2>&1 || wrong "not set: $(cat "$cut")"
	! "$POSTERN" control "$socket" set pit.reinject=2 >"$cut" 2>&1 || wrong "set: $(cat "$cut")"
	kill -TERM "$job"
	await_end
	expect_status 130
}

# What is typed when the guest asks for it; nothing if it ends before.
type_when_asked() {
	local i
	for ((i = 0; i < 8000; i++)); do
		if grep -aq '^asking' "$log" 2>/dev/null; then
			echo "typed late"
			return
		fi
		[ ! -s "$json" ] || return
		sleep 0.1
	done
}

# What APICv is for: no exit for an IPI to itself, an end of interrupt, a task priority that drops; without it one
# for each. The few others are the APIC's set-up.
test_bochs_self_ipi() {
	local ipis=2000 drops=1000 writes
	boot 90 --cpu "$1" -k "$GUEST/micro/self-ipi.elf" -c 1 -m 64M
	expect_ended poweroff
	expect_status 0
	expect_no_console '^not ok|unexpected exception'
	expect_console "count self-ipis $ipis"
	expect_console "count ends $ipis"
	expect_console "count drops $drops"
	writes=$(number wrmsr)
	if [ "$1" != westmere ]; then
		[ "$writes" -le 10 ] || wrong "$writes exits for MSRs"
		[ -z "$(account tpr-below-threshold)$(account eoi)$(account virtualized-eoi)$(account apic-write)" ] ||
			wrong "exits that there is no need of"
		grep -q '"hw_counted":[[:space:]]*false' "$json" || wrong "the report takes what it does not know for known"
		grep -q '"hw_sends_counted":[[:space:]]*true' "$json" || wrong "the report does not know what is modelled"
	else
		[ "$writes" -ge $((2 * ipis)) ] || wrong "$writes exits for MSRs"
		[ "$(account tpr-below-threshold)" = $drops ] ||
			wrong "$(account tpr-below-threshold) exits for the task priority"
	fi
	note "wrmsr $(number wrmsr), tpr-below-threshold $(number tpr-below-threshold)"
}

# The rules of docs/rules.md that one vCPU shows; those of the page that APICv keeps otherwise are left out.
test_bochs_rules() {
	boot 400 --cpu broadwell -k "$GUEST/micro/rules-$1.elf" -c 1 -m 64M --set testdev=on
	expect_status 0
	expect_ended poweroff
	expect_no_console '^not ok|unexpected exception'
	expect_console '^rules: [0-9]+ ok'
	[ "$(account mismatches)" = 0 ] || wrong "mismatches: '$(account mismatches)'"
}

# With APICv only those of level-triggered interrupts, of which these guests have none.
expect_eois() {
	if [ "$1" != westmere ]; then
		[ -z "$(account eoi)" ] || wrong "$(account eoi) ends of interrupts exited"
	else
		expect_every_eoi
	fi
}

# What Bochs lacks of the processor is modelled, and its exits are counted apart; with IPI virtualization IPIs to one vCPU
# are, but for those before acceleration begins.
expect_modelled() {
	local overhead
	overhead=$(awk '/^  model overhead/ { print $NF; exit }' "$log")
	[ "$1" = westmere ] || [ "${overhead:-0}" -gt 0 ] || wrong "nothing was modelled"
	[ "$1" != sapphire-rapids ] || [ "$(number accelerated)" -gt "$(number unicast)" ] ||
		wrong "$(number unicast) IPIs were sent by software, $(number accelerated) by the processor"
	note "model overhead ${overhead:-0}"
}

# Linux from start to power-off, with a line typed: test_bochs_linux VCPUS PCPUS [CPU]
test_bochs_linux() {
	status=0
	# shellcheck disable=SC2016 # for the guest's shell
	type_when_asked | timeout -k 10 830 "$POSTERN" run --timeout 800 --json "$json" --cpu "${3:-westmere}" \
		-k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c "$1" --pcpus "$2" -m 256M \
		-a "console=ttyS0 panic=-1" -- 'echo asking; read -r line; echo "read: $line"; exit 3' \
		>"$log" 2>"$err" || status=$?
	expect_status 3
	expect_ended poweroff
	expect_no_complaints
	expect_console "guest: Linux 6\.12\.[^ ]*, CPUs $1, x2APIC"
	expect_console '^read: typed late'
	expect_eois "${3:-westmere}"
	expect_modelled "${3:-westmere}"
	note "$(report elapsed_ns | sed 's/......$//') ms of the guest's"
}

# The demonstration, whose workload is of timers, IPIs and sleeps.
test_bochs_workload() {
	boot 1500 --cpu "${3:-westmere}" -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c "$1" --pcpus "$2" \
		-m 256M -a "console=ttyS0 panic=-1"
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_eois "${3:-westmere}"
}

# The same while acceleration is switched off and on a hundred times in a second: test_bochs_storm CPU VCPUS PCPUS
test_bochs_storm() {
	boot 1500 --cpu "$1" -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c "$2" --pcpus "$3" \
		-m 256M --set inhibit-storm=100 -a "console=ttyS0 panic=-1"
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	[ "$(account mismatches)" = 0 ] || wrong "mismatches: '$(account mismatches)'"
	[ "$(number accel-changes)" -ge 100 ] || wrong "only $(number accel-changes) changes of acceleration"
	note "accel-changes $(number accel-changes)"
}

# The processor itself, by an image of its own (tests/hw/run): hwtest SECONDS OPTION...
hwtest() {
	local seconds=$1
	shift
	status=0
	tests/hw/run "$tmp" "$seconds" "$@" >"$log" 2>"$err" || status=$?
	expect_status 0
	! grep -q '^not ok' "$log" || wrong "$(grep '^not ok' "$log" | head -n 5)"
	rm -f "$tmp/boot.iso"
}

# Where it differs from the model is what docs/model-vs-bochs.md has, no more and no less.
test_bochs_entry_checks() {
	local documented=$tmp.documented
	hwtest 300 checks
	sed -n 's/^differs //p' "$log" | sort >"$cut"
	awk '/^## / { on = /Entry checks/ } on' docs/model-vs-bochs.md |
		sed -nE 's/^(\| [^|]* \| (VMfail [78]|exit 33|entered|legal) \| [^|]* \|).*/\1/p' | sort >"$documented"
	cmp -s "$cut" "$documented" || wrong "not as documented: $(diff "$documented" "$cut")"
	[ "$(grep -c '^ok ' "$log")" -ge 100 ] || wrong "only $(grep -c '^ok ' "$log") rows are as the model says"
	note "$(sed -n 's/^# entry checks: //p' "$log")"
	rm -f "$documented"
}

# test_bochs_apicv SECONDS OPERATIONS WAYS: its APIC virtualization and the model's leave the same behind. Of the
# first WAYS operations is asked which of the documented differences they show: all of them, and no other.
test_bochs_apicv() {
	local documented=$tmp.documented
	hwtest "$1" apicv "ops=$2" "ways=$3"
	if [ "$3" -gt 0 ]; then
		sed -n 's/^differs \([a-z-]*\) .*/\1/p' "$log" | sort >"$cut"
		awk '/^## / { on = /APIC virtualization/ } on' docs/model-vs-bochs.md |
			sed -nE 's/^\| `([a-z-]+)` \|.*/\1/p' | sort >"$documented"
		cmp -s "$cut" "$documented" || wrong "not as documented: $(diff "$documented" "$cut")"
		rm -f "$documented"
	fi
	note "$(sed -n 's/^# APIC virtualization: //p' "$log")"
}

# The same by the manual's rules alone: the comparison sees what Bochs does otherwise.
test_bochs_apicv_manual() {
	hwtest 600 apicv ops=2000 manual=1
	[ "$status" -eq 1 ] && grep -q '^not ok operation' "$log" && reasons=() ||
		wrong "no operation is otherwise by the manual"
	note "$(sed -n 's/^# APIC virtualization: //p' "$log")"
}

# A micro guest to its end is in `make check` all the same: bench/run.
check bochs-linux test_bochs_linux 2 2
check bochs-terminate test_bochs_interrupt process TERM
check bochs-control test_bochs_control
check bochs-entry-checks test_bochs_entry_checks
check bochs-apicv-differential test_bochs_apicv 600 20000 0
check bochs-self-ipi-broadwell test_bochs_self_ipi broadwell
if $full; then
	check bochs-apicv-million test_bochs_apicv 7200 1000000 20000
	check bochs-apicv-manual test_bochs_apicv_manual
	check bochs-exits-westmere test_bochs_exits westmere
	check bochs-exits-broadwell test_bochs_exits broadwell
	check bochs-hello test_bochs_micro_says 'hello from a micro guest' hello poweroff 0 300
	check bochs-debug-exit test_bochs_micro debug-exit debug-exit 85 300
	check bochs-reset test_bochs_micro reset reset 75 300
	check bochs-triple-fault test_bochs_micro_says 'triple fault' triple-fault triple-fault 76 300
	check bochs-timeout test_bochs_timeout
	check bochs-spin test_bochs_spin
	check bochs-assigned-westmere test_bochs_assigned westmere
	check bochs-assigned-broadwell test_bochs_assigned broadwell
	check bochs-deadline test_bochs_deadline on preemption-timer external-interrupt
	check bochs-deadline-untimed test_bochs_deadline off external-interrupt preemption-timer
	check bochs-interrupt-group test_bochs_interrupt group INT
	check bochs-killed test_bochs_killed
	check bochs-orphan test_bochs_orphan
	check bochs-linux-1v1p test_bochs_linux 1 1
	check bochs-workload test_bochs_workload 2 2
	check bochs-self-ipi test_bochs_self_ipi westmere
	for group in base icr lapic timer ioapic pic; do
		check "bochs-rules-$group-broadwell" test_bochs_rules "$group"
	done
	check bochs-linux-broadwell test_bochs_linux 2 2 broadwell
	check bochs-linux-broadwell-4v2p test_bochs_linux 4 2 broadwell
	check bochs-linux-sapphire-rapids test_bochs_linux 2 2 sapphire-rapids
	check bochs-linux-sapphire-rapids-4v2p test_bochs_linux 4 2 sapphire-rapids
	check bochs-self-ipi-sapphire-rapids test_bochs_self_ipi sapphire-rapids
	check bochs-workload-broadwell test_bochs_workload 2 2 broadwell
	for cpu in broadwell sapphire-rapids; do
		for cpus in 1v1p 2v2p 3v2p 4v2p; do
			check "bochs-storm-$cpu-$cpus" test_bochs_storm "$cpu" "${cpus%v*}" "${cpus:2:1}"
		done
	done
fi
