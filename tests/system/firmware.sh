# SPDX-License-Identifier: BSD-2-Clause
# Part of tests/system/run: SeaBIOS (Debian's package) as guests' firmware, a ROM of our own, and a micro
# guest that goes through a boot as firmware does.

SEABIOS=/usr/share/seabios/bios-256k.bin

# What SeaBIOS shows of itself, of VM $vm: on the screen that is the console, and in the log.
expect_seabios() {
	expect_console 'SeaBIOS \(version [0-9.]+'
	expect_console 'No bootable device\.'
	grep -aq "^postern: vm ${vm:-0}: firmware: SeaBIOS (version" "$err" || wrong "the log lacks its banner"
	grep -aq "^postern: vm ${vm:-0}: firmware: Found $1 cpu(s)" "$err" || wrong "it has not found $1 vCPUs"
	grep -aq "^postern: vm ${vm:-0}: firmware: Using pmtimer" "$err" || wrong "it has not found the PM timer"
	[ "$(number extint)" -gt 0 ] || wrong "no ExtINT injected"
	[ "$(number windows-opened)" -gt 0 ] || wrong "no interrupt window opened"
	note "${vm:+vm$vm: }extint $(number extint), windows $(number windows-opened)"
}

# test_seabios CPU VCPUS PCPUS [ARGUMENT...]: to its prompt, where it goes on for ever.
test_seabios() {
	start --verbose --cpu "$1" --firmware $SEABIOS -c "$2" --pcpus "$3" "${@:4}"
	children=$(pgrep -P "$job")
	await_console 'No bootable device\.'
	kill -TERM "$job"
	await_end
	expect_status 130
	expect_ended interrupted
	expect_seabios "$2"
}

# Until a tick is not waiting just now: windows and with them IRQWIN come and go at each.
await_closed() {
	local i
	for ((i = 0; i < 40; i++)); do
		[ "$(row_now IRQWIN 6)" = no ] && return
		sleep 0.1
	done
	wrong "IRQWIN stands all the time"
}

# How long acceleration has been active, in milliseconds, of the account of now.
active_now() {
	control account | awk '/^  active, in seconds/ { sub(/\./, "", $NF); ms = $NF + 0 } END { print ms + 0 }'
}

await_active() {
	local i
	for ((i = 0; i < 40; i++)); do
		[ "$(active_now)" -gt "$1" ] && return
		sleep 0.1
	done
	wrong "acceleration has not returned after $1 ms"
}

# Its ticks come by the 8259: each takes acceleration away and gives it back.
test_seabios_windows() {
	local sets clears
	start --verbose --control "$OUT/$name.socket" --cpu genoa --firmware $SEABIOS -c 4 --pcpus 2 \
		--set pit.reinject=off
	children=$(pgrep -P "$job")
	await_console 'No bootable device\.'
	await_closed
	await_active "$(active_now)"
	kill -TERM "$job"
	await_end
	expect_status 130
	expect_ended interrupted
	expect_seabios 4
	expect_updates
	sets=$(reported IRQWIN sets)
	clears=$(reported IRQWIN clears)
	[ "${sets:-0}" -gt 0 ] || wrong "IRQWIN was never set"
	# The end may come while one is open.
	[ "$(reported IRQWIN stands)" = false ] || clears=$((clears + 1))
	[ "$sets" = "$clears" ] || wrong "IRQWIN was set $sets times and ended $clears times"
	[ "$(reported IRQWIN held_ns)" -gt 0 ] || wrong "IRQWIN took no time"
	[ "$(report irq_windows)" -ge "$sets" ] || wrong "$(report irq_windows) windows, IRQWIN $sets times"
	[ "$(report active_ns)" -gt 0 ] || wrong "never accelerated"
	[ "$(number accel-changes)" -gt "$sets" ] || wrong "only $(number accel-changes) switches"
	note "IRQWIN $sets times, $(reported IRQWIN held_ns) ns; active $(report active_ns) ns"
}

# The same with reinjection: acceleration is off for good, and windows, however many, change nothing.
test_seabios_reinjects() {
	test_seabios genoa 4 2 --set pit.reinject=on
	expect_held_throughout PIT_REINJ '--set pit.reinject=on'
	[ "$(reported IRQWIN sets)" = 0 ] || wrong "IRQWIN was looked at $(reported IRQWIN sets) times"
	[ "$(report irq_windows)" -gt 0 ] || wrong "no window was counted"
	# By the creation of the VM alone: ABSENT, PIT_REINJ, ABSENT no more.
	[ "$(report exclusive)" = 3 ] || wrong "$(report exclusive) exclusive acquisitions, not 3"
	[ "$(report rounds)" = 1 ] || wrong "$(report rounds) updates, not 1"
	note "PIT_REINJ held $(reported PIT_REINJ held_ns) ns of $(report elapsed_ns)"
}

# On its own time: the host command's limit ends it.
test_seabios_timeout() {
	boot 25 --firmware $SEABIOS -c 1 --pcpus 1 -m 16M
	expect_status 124
	expect_ended timeout
	expect_console 'No bootable device\.'
}

# As a second VM beside a kernel, and as a third one.
test_seabios_vms() {
	start --verbose --pcpus 2 -k "$GUEST/micro/spin.elf" -c 1 -m 64M \
		--vm --firmware $SEABIOS -c 2 -m 64M --vm --firmware $SEABIOS -c 3 -m 4G --cpu milan
	children=$(pgrep -P "$job")
	await_log 'vm 1: firmware: No bootable device'
	await_log 'vm 2: firmware: No bootable device'
	kill -TERM "$job"
	await_end
	expect_status 130
	vm=1 expect_seabios 2
	vm=2 expect_seabios 3
	vm=
}

# A page of ROM: at the reset vector the status 7, then power-off, by 16-bit code.
test_small_rom() {
	local rom=$OUT/$1.rom
	{
		head -c 4080 /dev/zero
		printf '\xba\x05\x05\xb0\x07\xee\xba\x04\xb0\xb8\x00\x34\xef\xf4\xf4\xf4'
	} >"$rom"
	boot 30 --firmware "$rom" -c 1 --pcpus 1
	expect_status 7
	expect_ended poweroff
	expect_account
}

# A megabyte that is no program at all: whatever the processor makes of it, the run ends as asked.
test_rom_of_noise() {
	local rom=$OUT/$1.rom
	awk 'BEGIN { srand(7); for (i = 0; i < 262144; i++) printf "%c", 1 + int(rand() * 127) }' \
		</dev/null | head -c 262144 >"$rom"
	boot 10 --firmware "$rom" -c 2 --pcpus 1
	case $(report ended) in
	timeout | triple-fault | reset | poweroff | debug-exit) ;;
	*) wrong "ended '$(report ended)'" ;;
	esac
	expect_account
	note "ended $(report ended)"
}

# test_virtual_wire CPU IRQCHIP: the guest itself counts what it was given. Each tick of the 8259 is an
# ExtINT injected, in spite of acceleration; the others' IPIs are delivered without an exit meanwhile.
test_virtual_wire() {
	boot 120 --cpu "$1" --set irqchip="$2" -k "$GUEST/micro/virtual-wire.elf" -c 4 --pcpus 2
	expect_status 0
	expect_ended poweroff
	expect_no_console '^not ok|unexpected exception'
	expect_console '^ok each call is answered once'
	expect_console '^ok no other interrupt came'
	expect_sum "ticks by the 8259" "$(count_of pic-ticks)" "$(number extint)"
	[ "$(number extint)" -ge 200 ] || wrong "only $(number extint) ExtINT injected"
	[ "$(number windows-opened)" -ge 50 ] || wrong "only $(number windows-opened) windows opened"
	[ "$1" = barcelona ] || [ "$(number hw-delivered)" -ge 500 ] ||
		wrong "$(number hw-delivered) interrupts delivered without an exit"
	note "extint $(number extint), windows $(number windows-opened)," \
		"without an exit $(number hw-delivered)"
}

# Two vCPUs are not enough for it, which it says.
test_virtual_wire_alone() {
	boot 30 -k "$GUEST/micro/virtual-wire.elf" -c 2 --pcpus 1
	expect_status 1
	expect_ended poweroff
	expect_console '^not ok three processors are there'
}

check firmware-seabios-barcelona test_seabios barcelona 2 1
check firmware-seabios-genoa test_seabios_windows
check firmware-seabios-genoa-reinject test_seabios_reinjects
check firmware-seabios-split test_seabios milan 2 2 --set irqchip=split --set pit.reinject=on
! $full || check firmware-seabios-timeout test_seabios_timeout
check firmware-seabios-vms test_seabios_vms
check firmware-small-rom test_small_rom small
check firmware-noise test_rom_of_noise noise
for cpu in barcelona genoa milan; do
	for irqchip in full split; do
		check virtual-wire-$cpu-$irqchip test_virtual_wire $cpu $irqchip
	done
done
check virtual-wire-alone test_virtual_wire_alone
