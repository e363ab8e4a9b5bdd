# SPDX-License-Identifier: BSD-2-Clause
# Part of tests/system/run: guests that use Hyper-V's interface.

# test_hyperv CPU [ARGUMENT...]: the micro guest, with AutoEOI and without. What it counted is what the
# account says, by whom it was delivered included: only with AutoEOI is that software, where the
# processor can.
test_hyperv() {
	local cpu=$1 delivered injected all
	shift
	boot 150 --cpu "$cpu" -k "$GUEST/micro/hyperv.elf" -c 4 --pcpus 2 --set hyperv=on \
		--set testdev=on "$@"
	expect_status 0
	expect_ended poweroff
	expect_no_console '^not ok|unexpected exception'
	expect_console '^ok messages from the processor before'
	delivered=$(number hw-delivered)
	injected=$(number synic)
	all=$(($(count_of ticks) + $(count_of auto-eoi) + $(count_of direct) + $(count_of posts)))
	[ "$all" -ge 560 ] || wrong "only $all interrupts"
	expect_sum "interrupts handled" "$all" "$delivered" "$injected"
	expect_sum "AutoEOI" "$(count_of auto-eoi)" "$(account auto-eoi)"
	expect_sum "messages" "$(number synic-messages)" "$(count_of ticks)" "$(count_of auto-eoi)" \
		"$(count_of posts)"
	if [ "$(number accel-changes)" -gt 0 ]; then
		expect_sum "injected by software" "$injected" "$(count_of auto-eoi)"
	else
		[ "$delivered" = 0 ] || wrong "$delivered delivered by the processor"
	fi
	note "ticks $(count_of ticks), with AutoEOI $(count_of auto-eoi), direct $(count_of direct)," \
		"posts $(count_of posts); by the processor $delivered, by software $injected"
}

# Not offered, it is not there.
test_hyperv_off() {
	boot 60 -k "$GUEST/micro/hyperv.elf" -c 2 --pcpus 1
	expect_status 1
	expect_ended poweroff
	expect_console '^not ok the interface is offered'
}

# test_linux_hyperv CPU KERNEL VCPUS: its clock and its timers are Hyper-V's.
test_linux_hyperv() {
	boot 300 --cpu "$1" -k "$GUEST/vmlinuz-$2" -i "$GUEST/initrd.img" -c "$3" --pcpus 2 \
		--set hyperv=on --set kvm-clock=off -a "console=ttyS0 panic=-1"
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_console 'Hypervisor detected: Microsoft Hyper-V'
	expect_console 'Switched to clocksource hyperv_clocksource_tsc_page'
	[ "$(number stimer-ticks)" -ge 100 ] || wrong "$(number stimer-ticks) expiries of synthetic timers"
	# On its way off Linux disables each local APIC with the timer armed: one more expiry finds it so.
	[ "$(number stimer-lost)" -le "$3" ] || wrong "$(number stimer-lost) of them were lost"
	note "synthetic timers: $(number stimer-ticks) expiries"
}

# Both interfaces: Linux takes KVM's, and is not confused by the other one.
test_linux_hyperv_and_kvm() {
	boot 300 -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c 2 --pcpus 1 --set hyperv=on \
		-a "console=ttyS0 panic=-1"
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_console 'Hypervisor detected: KVM'
	expect_console 'Switched to clocksource kvm-clock'
}

for cpu in barcelona milan genoa; do
	check hyperv-$cpu test_hyperv $cpu
	check hyperv-$cpu-no-x2apic test_hyperv $cpu --set x2apic=off
done
check hyperv-off test_hyperv_off
check hyperv-linux-barcelona test_linux_hyperv barcelona 6.12 2
check hyperv-linux-genoa test_linux_hyperv genoa 6.12 4
if $full; then
	check hyperv-linux-milan-6.1 test_linux_hyperv milan 6.1 4
	check hyperv-linux-and-kvm test_linux_hyperv_and_kvm
fi
