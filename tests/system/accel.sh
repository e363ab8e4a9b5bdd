# SPDX-License-Identifier: BSD-2-Clause
# Part of tests/system/run: guests on processors that deliver interrupts by themselves.

# expect_no_loss PENDING: what was delivered by the processor or by injection has been ended by either;
# and each request that found its bit clear has been delivered, but for those that the end came before.
expect_no_loss() {
	local delivered ended pending
	delivered=$(awk '/^  all interrupts/ { print $NF }' "$log")
	delivered=$((${delivered:-0} + $(number hw-delivered)))
	ended=$(($(number hw-eoi) + $(number eoi)))
	[ $delivered = $ended ] || wrong "$delivered delivered, $ended ended"
	pending=$(($(number accepted) + $(number hw-requests) - $(number coalesced) -
		$(number hw-coalesced) - delivered))
	[ $pending -ge 0 ] && [ $pending -le "$1" ] || wrong "$pending requests were not delivered"
}

# An IPI exits at its sender only, once, and only if a target does not run or software has to send it; no
# processor is made to exit for one. On rome each is such: the workaround for its erratum.
expect_ipi_exits() {
	local exits
	exits=$(($(number target-stopped) + $(number incomplete-emulated)))
	[ "$(number ipi-incomplete)" = $exits ] ||
		wrong "$(number ipi-incomplete) exits for IPIs, not $exits"
	[ "$1" != rome ] || [ "$(number accelerated)" = 0 ] ||
		wrong "$(number accelerated) IPIs without an exit in spite of the erratum"
}

# inhibit REASON COLUMN: of the account: 2 scope, 3 sets, 4 clears, 5 seconds, 6 stands. Empty: never set.
inhibit() {
	awk -v row="$1" -v column="$2" \
		'/^inhibits / { on = 1 } on && $1 == row { print $column; exit }' "$log"
}

# expect_inhibit REASON SCOPE [TIMES]: it was set and cleared, each so often at least.
expect_inhibit() {
	[ "$(inhibit "$1" 2)" = "$2" ] || wrong "$1 has scope '$(inhibit "$1" 2)', not $2"
	[ "$(inhibit "$1" 3)" -ge "${3:-1}" ] 2>/dev/null || wrong "$1 was set '$(inhibit "$1" 3)' times"
	[ "$(inhibit "$1" 4)" -ge "${3:-1}" ] 2>/dev/null || wrong "$1 was cleared '$(inhibit "$1" 4)' times"
}

# Each update of all is a change of the VM's reasons between none and some, so there are no more than
# changes, an even number if none stands now, and a zap for every second one but that of the creation.
expect_updates() {
	local changes standing rounds zaps
	changes=$(awk '/^inhibits / { on = 1 } on && $2 == "vm" { n += $3 + $4 } END { print n + 0 }' "$log")
	standing=$(awk '/^inhibits / { on = 1 } on && $2 == "vm" && $6 == "yes" { n = 1 } END { print n + 0 }' "$log")
	rounds=$(account update-rounds)
	zaps=$(account zaps)
	[ "$(account mismatches)" = 0 ] || wrong "mismatches: '$(account mismatches)'"
	[ "${rounds:-0}" -gt 0 ] && [ $rounds -le $changes ] && [ $((rounds % 2)) = $standing ] ||
		wrong "'$rounds' updates of all for $changes changes, of which $standing stands"
	[ "${zaps:-0}" -ge $(((${rounds:-0} + 1) / 2 - 1)) ] || wrong "'$zaps' zaps for '$rounds' updates"
	[ "$(report rounds)-$(report zaps)" = "$rounds-$zaps" ] ||
		wrong "the report has $(report rounds) updates and $(report zaps) zaps"
}

# test_account_of_inhibits CPU APIC VCPUS: Linux boots, and the account says what kept its vCPUs from being
# accelerated meanwhile: creation, and each until its APIC was enabled.
test_account_of_inhibits() {
	local option=
	[ "$2" = x2apic ] || option=$2
	boot 300 --cpu "$1" -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c "$3" --pcpus 2 \
		-a "console=ttyS0 panic=-1 $option"
	expect_status 0
	expect_workload
	expect_inhibit ABSENT vm
	[ "$(inhibit ABSENT 3)$(inhibit ABSENT 4)$(inhibit ABSENT 6)" = 11no ] ||
		wrong "ABSENT: $(inhibit ABSENT 3) sets, $(inhibit ABSENT 4) clears, stands: $(inhibit ABSENT 6)"
	expect_inhibit APIC_DISABLED vcpu "$3"
	if [ "$1-$2" = milan-x2apic ]; then
		expect_inhibit X2APIC vcpu
	else
		[ -z "$(inhibit X2APIC 3)" ] || wrong "X2APIC was set"
	fi
	[ -z "$(inhibit DISABLED 3)" ] || wrong "DISABLED was set"
	tr -d '\n\t' <"$json" | grep -q '"apicv":{"able":true,' ||
		wrong "the report denies that there is acceleration"
	expect_updates
	note "updates $(account update-rounds), lock $(account lock-shared) shared," \
		"$(account lock-exclusive) exclusive; APIC_DISABLED $(inhibit APIC_DISABLED 3) times," \
		"$(inhibit APIC_DISABLED 5) s"
}

# test_accelerated CPU KERNEL VCPUS PCPUS APIC: Linux with its workload. Nearly every interrupt is
# delivered and ended without an exit, and none is lost.
test_accelerated() {
	local option= delivered least=1000
	[ "$5" = x2apic ] || option=$5
	[ "$3" -gt 1 ] || least=300 # no IPIs
	[ "$1-$5" = genoa-x2apic ] || [ "$5" = nox2apic ] || least=0 # AVIC alone, and a guest in x2APIC mode
	boot 300 --cpu "$1" -k "$GUEST/vmlinuz-$2" -i "$GUEST/initrd.img" -c "$3" --pcpus "$4" \
		-a "console=ttyS0 panic=-1 $option"
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_no_loss $((2 * $3))
	expect_ipi_exits "$1"
	expect_updates
	delivered=$(account hw-delivered)
	[ "${delivered:-0}" -ge $least ] || wrong "${delivered:-0} interrupts delivered without an exit"
	note "delivered ${delivered:-0}; requests $(number hw-requests), by software $(number accepted);" \
		"IPIs: $(number accelerated) without an exit, $(number target-stopped) to the stopped"
}

# The run does without what its processor has: nothing is delivered, ended or sent by it.
test_apicv_off() {
	local row
	boot 300 --cpu genoa --set apicv=off -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c 4 \
		--pcpus 2 -a "console=ttyS0 panic=-1"
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_every_eoi
	for row in hw-delivered hw-eoi hw-requests accelerated ipi-incomplete doorbells accel-changes; do
		[ "$(number $row)" = 0 ] || wrong "$row: $(number $row), not 0"
	done
}

# test_apic_ids CPU IDS HARDWARE: Linux brings up a vCPU for each ID and does its work with all of them;
# HARDWARE says whether the processor can deliver to such IDs.
test_apic_ids() {
	local ids delivered
	# shellcheck disable=SC2016 # for the guest's shell
	boot 300 --cpu "$1" --set apic-ids="$2" -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c 4 \
		--pcpus 2 -a "console=ttyS0 panic=-1" -- \
		'grep "^apicid" /proc/cpuinfo | sed "s/.*: /has ID /"; workload'
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_console 'guest: Linux 6\.12\.[^ ]*, CPUs 4,'
	ids=$(console | sed -n 's/^has ID \([0-9]*\)$/\1/p' | paste -sd ,)
	[ "$ids" = "$2" ] || wrong "the guest's processors have the IDs $ids, not $2"
	delivered=$(number hw-delivered)
	if [ "$3" = hardware ]; then
		expect_no_loss 8
		[ "$delivered" -ge 1000 ] || wrong "$delivered interrupts delivered without an exit"
	else
		expect_every_eoi
		[ "$delivered" = 0 ] || wrong "$delivered interrupts delivered by the processor"
	fi
	note "delivered without an exit: $delivered"
}

# test_micro_apic_ids CPU IDS HARDWARE [ARGUMENT...]: as above, by a guest that sends to each ID from each,
# and counts. What the tables cannot hold takes acceleration away for good.
test_micro_apic_ids() {
	local ids
	boot 60 --cpu "$1" --set apic-ids="$2" -k "$GUEST/micro/apic-ids.elf" -c 4 --pcpus 2 "${@:4}"
	expect_status 0
	expect_ended poweroff
	expect_no_console '^not ok|unexpected exception'
	expect_console '^ok each IPI came to whom it names and nobody else'
	ids=$(console | sed -n 's/^id //p' | sort -n | paste -sd ,)
	[ "$ids" = "$(tr , '\n' <<<"$2" | sort -n | paste -sd ,)" ] || wrong "the guest has the IDs $ids"
	[ "$(count_of taken)" -ge 600 ] || wrong "only $(count_of taken) IPIs"
	expect_sum "IPIs taken" "$(count_of taken)" "$(number hw-delivered)" "$(number ipi)"
	if [ "$3" = hardware ]; then
		[ "$(reported PHYSICAL_ID_TOO_BIG sets)" = 0 ] || wrong "PHYSICAL_ID_TOO_BIG was set"
		[ "$(number ipi)" = 0 ] || wrong "$(number ipi) injected by software"
		expect_updates
	else
		expect_held_throughout PHYSICAL_ID_TOO_BIG 'creation of the VM: --set apic-ids'
		[ "$(number hw-delivered)" = 0 ] || wrong "$(number hw-delivered) delivered by the processor"
	fi
	note "$(count_of taken) IPIs, without an exit $(number hw-delivered)"
}

# Lines, each of which the UART has sent, as stty waits for, before the next one is written: it interrupts
# for each.
uart_lines=40
uart_command="for i in \$(seq $uart_lines); do echo \$i; stty -echo; done"

# All have come, in order, with as many interrupts.
expect_uart_interrupts() {
	local count
	console | grep -aE '^[0-9]+$' | cmp -s - <(seq $uart_lines) || wrong "not all lines have come"
	count=$(console | awk '/^ *4: .* ttyS0$/ { for (i = 2; i <= 5; i++) sum += $i } END { print sum + 0 }')
	[ "$count" -ge $uart_lines ] || wrong "only $count interrupts of the UART"
	note "UART $count;"
}

# test_inhibit_storm CPU RATE KERNEL-OPTION: acceleration is switched all the time and nothing gets lost.
test_inhibit_storm() {
	# shellcheck disable=SC2016 # for the guest's shell
	boot 400 --cpu "$1" --set inhibit-storm="$2" -k "$GUEST/vmlinuz-6.12" \
		-i "$GUEST/initrd.img" -c 4 --pcpus 2 -a "console=ttyS0 panic=-1 $3" -- \
		"$uart_command; workload; status=\$?; grep ttyS0 /proc/interrupts; exit \$status"
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_no_loss 8
	expect_updates
	expect_uart_interrupts
	[ "$(reported STORM option)" = '--set inhibit-storm' ] ||
		wrong "STORM was set by '$(reported STORM option)'"
	[ "$(number inhibit-storm)" -gt 0 ] || wrong "the inhibit was never set and cleared"
	[ "$(number hw-delivered)" -gt 0 ] || wrong "nothing was delivered without an exit"
	[ "$(number accel-changes)" -gt "$(number inhibit-storm)" ] ||
		wrong "only $(number accel-changes) switches in $(number inhibit-storm) storms"
	note "$(number inhibit-storm) times in $(report elapsed_ns | sed 's/......$//') ms;" \
		"switched $(number accel-changes) times; delivered without an exit $(number hw-delivered)"
}

# control WORD...: of the run in the background; the answer on standard output.
control() {
	"$POSTERN" control "$OUT/$name.socket" "$@" 2>>"$err" || wrong "control $*: status $?"
}

# A row of the account of now.
number_now() {
	control account | awk -v row="$1" '$1 == row { n = $NF } END { print n + 0 }'
}

# row_now REASON COLUMN: as inhibit(), of the account of now.
row_now() {
	control account | awk -v row="$1" -v column="$2" \
		'/^inhibits / { on = 1 } on && $1 == row { print $column; exit }'
}

# await_row ROW OPERATOR VALUE: until the account of now has it so.
await_row() {
	local i
	for ((i = 0; i < 150; i++)); do
		[ "$(number_now "$1")" "$2" "$3" ] && return
		sleep 0.2
	done
	wrong "$1 was never $2 $3"
}

# expect_refused WORDS KEY=VALUE: that it is not changed, and why not.
expect_refused() {
	local said
	said=$("$POSTERN" control "$OUT/$name.socket" set "$2" 2>&1) && wrong "$2 was not refused"
	grep -qF "$1" <<<"$said" || wrong "$2: said '$said', not: $1"
}

# Off: what the processor delivers stands still, though the guest goes on.
expect_software_only() {
	local before i
	for ((i = 0; i < 20; i++)); do
		before=$(number_now hw-delivered)
		await_row accepted -gt "$(number_now accepted)"
		[ "$(number_now hw-delivered)" != "$before" ] || return
	done
	wrong "the processor delivers in spite of pit.reinject=on"
}

# While Linux works: reinjection and a storm come and go, and acceleration with them.
test_control() {
	local limit=300 input=$OUT/$name.input before
	rm -f "$input"
	mkfifo "$input"
	exec {typed}<>"$input"
	# It ends when it is told to, by itself: so every interrupt is over then.
	start --control "$OUT/$name.socket" --cpu genoa -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" \
		-c 4 --pcpus 2 -a "console=ttyS0 panic=-1" -- \
		'(while :; do usleep 1000; done) & workload && echo "work is done" && read -r line; kill $!'
	children=$(pgrep -P "$job")
	await_console '^guest: Linux'
	[ "$(stat -c %a "$OUT/$name.socket")" = 600 ] || wrong "the socket is not the user's alone"
	await_row hw-delivered -gt "$(number_now hw-delivered)"
	[ "$(control set pit.reinject=on)" = ok ] || wrong "no ok"
	expect_software_only
	[ "$(row_now PIT_REINJ 6)" = yes ] || wrong "PIT_REINJ does not stand"
	before=$(number_now hw-delivered)
	control set pit.reinject=off >/dev/null
	await_row hw-delivered -gt "$before"
	[ "$(number_now inhibit-storm)" = 0 ] || wrong "a storm that nobody asked for"
	control set inhibit-storm=500 >/dev/null
	await_row inhibit-storm -gt 100
	control set inhibit-storm=0 >/dev/null
	before=$(number_now inhibit-storm)
	expect_refused "out of this setting's range" inhibit-storm=1001
	expect_refused 'no setting that can be changed while the guest runs' apicv=off
	expect_refused 'no setting that can be changed while the guest runs' x2apic=off
	expect_refused 'not a value of this setting' pit.reinject=2
	await_row accepted -gt "$(number_now accepted)"
	[ "$(number_now inhibit-storm)" = "$before" ] || wrong "the storm goes on"
	await_console '^work is done'
	echo >&"$typed"
	await_end
	exec {typed}>&-
	rm -f "$input"
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_no_loss 8
	expect_updates
	[ "$(reported PIT_REINJ sets) $(reported PIT_REINJ clears)" = "1 1" ] ||
		wrong "PIT_REINJ: $(reported PIT_REINJ sets) sets, $(reported PIT_REINJ clears) clears"
	[ ! -e "$OUT/$name.socket" ] || wrong "the socket is left"
	note "storms $(number inhibit-storm), switched $(number accel-changes) times"
}

# test_msi_accelerated CPU X2APIC VCPUS PCPUS [ARGUMENT...]: as test_msi. By whom a message was delivered is not in
# the account, so what was sent is held against what the guest has handled.
test_msi_accelerated() {
	local delivered least=100
	boot 120 --cpu "$1" -k "$GUEST/micro/msi.elf" -c "$3" --pcpus "$4" --set msidev=4 \
		--set x2apic="$2" "${@:5}"
	expect_status 0
	expect_ended poweroff
	expect_no_console '^not ok|unexpected exception'
	expect_console '^ok what was given up does not, either'
	[ "$(count_of messages)" -ge 300 ] || wrong "only $(count_of messages) messages"
	expect_sum "messages sent" "$(count_of messages)" "$(count_of handled)" "$(account coalesced)" \
		"$(account hw-coalesced)" "$(count_of lost)"
	[ "$(count_of handled-pin)" -ge "$(count_of assertions)" ] ||
		wrong "$(count_of handled-pin) interrupts for $(count_of assertions) assertions of a level"
	expect_no_loss 0
	delivered=$(account hw-delivered)
	# In a storm it is a matter of luck how many.
	[[ $* != *inhibit-storm* ]] || least=1
	[ "${delivered:-0}" -ge $least ] || wrong "${delivered:-0} interrupts delivered without an exit"
	note "$(count_of messages) messages: $(count_of handled) handled, $(account coalesced) coalesced;" \
		"$delivered delivered without an exit"
}

for cpu in rome milan genoa; do
	for vcpus in 1 2 4 8 16; do
		for pcpus in 1 2 4; do
			for apic in x2apic nox2apic; do
				case $full,$cpu-$vcpus-$pcpus-$apic in
				*,*-1-2-* | *,*-1-4-* | *,*-2-4-*) ;; # more processors than vCPUs
				true,* | *,genoa-4-2-x2apic)
					check "accelerated-$cpu-${vcpus}v${pcpus}p-$apic" test_accelerated \
						$cpu 6.12 $vcpus $pcpus $apic
					;;
				esac
			done
		done
	done
done

check apicv-off test_apicv_off
check apic-ids-genoa test_apic_ids genoa 0,1,256,300 hardware
if $full; then
	check apic-ids-barcelona test_apic_ids barcelona 0,1,256,300 software
	check apic-ids-genoa-too-big test_apic_ids genoa 600,1,256,300 software
fi
check micro-apic-ids-rome test_micro_apic_ids rome 0,1,256,300 software
check micro-apic-ids-milan test_micro_apic_ids milan 0,1,256,300 software
check micro-apic-ids-milan-xapic test_micro_apic_ids milan 254,0,128,7 hardware --set x2apic=off
check micro-apic-ids-genoa test_micro_apic_ids genoa 511,1,256,300 hardware
check micro-apic-ids-genoa-too-big test_micro_apic_ids genoa 0,1,512,300 software
check control test_control
for cpu in rome milan genoa; do
	for rate in 1 10 100 1000; do
		case $full,$cpu-$rate in
		true,* | *,milan-100 | *,genoa-1000)
			check inhibit-storm-$cpu-$rate test_inhibit_storm $cpu $rate \
				"$([ $cpu = genoa ] || echo nox2apic)"
			;;
		esac
	done
done
# Level-triggered pins, too, and each message and each assertion counted on both sides.
check inhibit-storm-msi test_msi_accelerated genoa on 4 2 --set inhibit-storm=1000
check account-inhibits-genoa test_account_of_inhibits genoa x2apic 4
check account-inhibits-milan test_account_of_inhibits milan x2apic 2
if $full; then
	check account-inhibits-genoa-xapic test_account_of_inhibits genoa nox2apic 4
	check account-inhibits-milan-xapic test_account_of_inhibits milan nox2apic 4
fi
check accelerated-msi-genoa test_msi_accelerated genoa on 4 2
check accelerated-msi-milan test_msi_accelerated milan off 4 2
check accelerated-msi-rome test_msi_accelerated rome off 3 1
if $full; then
	check accelerated-msi-genoa-xapic test_msi_accelerated genoa off 4 2
	check accelerated-msi-genoa-many test_msi_accelerated genoa on 16 2
	check accelerated-msi-milan-many test_msi_accelerated milan off 9 1
fi
for group in base dest icr ioapic lapic route timer; do
	for cpu in rome milan genoa; do
		case $full,$group-$cpu in
		true,* | *,icr-genoa | *,lapic-genoa) check rules-$group-$cpu test_rules $group cpu=$cpu ;;
		esac
		! $full || check rules-$group-$cpu-no-x2apic test_rules $group cpu=$cpu x2apic=off
	done
done
