# SPDX-License-Identifier: BSD-2-Clause
# Part of tests/system/run: gdb at guests, by postern run --gdb.


# gdb_batch FILE COMMAND...: what gdb says goes to $said. FILE: the guest's symbols, "" for none.
gdb_batch() {
	local file=$1 command options=()
	shift
	said=$OUT/$name.said
	for command in 'set pagination off' 'set confirm off' "target remote 127.0.0.1:$gdb_port" "$@"; do
		options+=(-ex "$command")
	done
	timeout 120 gdb -batch -nx "${options[@]}" ${file:+"$file"} >"$said" 2>&1 </dev/null ||
		wrong "gdb: status $?"
}

expect_said() {
	grep -aqE "$1" "$said" || wrong "gdb did not say: $1"
}

await_port() {
	await 30 /proc/net/tcp "0100007F:$(printf %04X $gdb_port) .* 0A " || wrong "nobody listens"
}

# From the first instruction to the end: a symbol, registers, steps over what exits, Ctrl-C's like.
test_gdb_micro() {
	local limit=120
	start -k "$GUEST/micro/hello.elf" -c 1 --pcpus 1 --gdb $gdb_port --gdb-wait
	children=
	await_port
	gdb_batch "$GUEST/micro/hello.elf" 'info threads' 'x/2i $pc' 'break micro_main' 'continue' \
		'info registers rip rsp cs cr3 efer' 'p vcpus' 'break micro_power_off' 'stepi' 'stepi' \
		'stepi' 'stepi' 'stepi' 'backtrace' 'hbreak micro_print' \
		'continue' 'delete 3' 'maintenance packet qqemu.sstepbits' 'continue' 'p status' \
		'continue'
	await_end
	expect_status 0
	expect_ended poweroff
	expect_console '^hello from a micro guest'
	expect_said '^\* 1 +Thread 1 \(vCPU 0\)'
	expect_said '=> 0x[0-9a-f]+ <micro_start>:'
	expect_said '^Breakpoint 1, micro_main'
	expect_said '^rip +0x[0-9a-f]+ +0x[0-9a-f]+ <micro_main>'
	expect_said '^efer +0x[0-9a-f]+ '
	expect_said '^\$1 = 1$'
	expect_said '^#0 +.*micro_print'
	expect_said '^#1 +.*micro_main'
	expect_said 'Cannot insert hardware breakpoint 3'
	expect_said 'ENABLE=1,NOIRQ=2,NOTIMER=4'
	expect_said '^Breakpoint 2, micro_power_off'
	expect_said '^\$2 = 0$'
	expect_said 'exited normally'
}

# Steps over SYSCALL and SYSRET, one by one and many: each is one instruction, and TF stays unseen, which the
# guest looks at, too.
test_gdb_syscall() {
	local limit=120 i
	local look='printf "at %d %d %d flags %x cpl %d kept %x\n", $pc == (long)&user_call,'
	look+=' $pc == (long)&syscall_entry, $pc == (long)&user_after, (int)$eflags & 0x500,'
	look+=' $cs & 3, $r11 & 0x500'
	start --cpu "$1" -k "$GUEST/micro/syscall.elf" -c 1 --pcpus 1 --gdb $gdb_port --gdb-wait
	children=
	await_port
	gdb_batch "$GUEST/micro/syscall.elf" 'break *user_call' 'break *syscall_return' 'continue' "$look" \
		'stepi' "$look" 'printf "back to %d\n", $rcx == (long)&user_after' 'stepi' 'stepi' \
		'printf "pushed %x\n", $rdx & 0x500' 'continue' "$look" 'stepi' "$look" 'delete' \
		'stepi 300' 'printf "calls %d\n", calls' 'break *syscall_entry' 'continue' "$look" 'stepi 2' \
		'printf "pushed %x\n", $rdx & 0x500' 'delete' 'continue'
	await_end
	expect_status 0
	expect_ended poweroff
	expect_console '^ok nobody saw TF'
	expect_no_console '^not ok|unexpected exception'
	# Before, in the handler, at its end, behind it; 300 steps are 300 instructions, in 18 calls more; and
	# again where a breakpoint is.
	i=$(grep -E '^(at|back|pushed|calls) ' "$said" | paste -sd ';')
	[[ $i =~ ^'at 1 0 0 flags 400 cpl 3 kept '[0-9a-f]+';at 0 1 0 flags 0 cpl 0 kept 400;back to 1;pushed 0;at 0 0 0 flags 0 cpl 0 kept 400;at 0 0 1 flags 400 cpl 3 kept 400;calls 19;at 0 1 0 flags 0 cpl 0 kept 400;pushed 0'$ ]] ||
		wrong "gdb showed $i"
	expect_said 'exited normally'
	if [ "$1" != barcelona ]; then
		[ "$(reported BLOCKIRQ sets)" -ge 300 ] || wrong "BLOCKIRQ was set $(reported BLOCKIRQ sets) times"
		[ "$(reported BLOCKIRQ sets)" = "$(reported BLOCKIRQ clears)" ] || wrong "BLOCKIRQ stands"
		[ "$(reported BLOCKIRQ option)" = 'the debugger (--gdb)' ] ||
			wrong "BLOCKIRQ was set by '$(reported BLOCKIRQ option)'"
	fi
}

# A Linux that works, on 4 vCPUs: come, look, step each, go; twice. It never notices.
test_gdb_linux() {
	local limit=240 round
	start -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c 4 --pcpus 2 --gdb $gdb_port \
		-a "console=ttyS0 panic=-1" "$@"
	children=
	await_console 'Run /init|workload:'
	for round in 1 2; do
		gdb_batch '' 'info threads' 'stepi 20' 'thread 2' 'info registers rip cs eflags cr3' \
			'stepi 5' 'thread 4' 'stepi 5' 'x/4xb $pc' 'detach'
		[ "$(grep -ac '^[* ] *[1-4] *Thread' "$said")" -eq 4 ] || wrong "not 4 threads"
		expect_said '^rip +0xffffffff|^rip +0x[0-9a-f]+ '
		expect_said 'detached'
	done
	for round in $(seq 2000); do
		kill -0 "$job" 2>/dev/null || break
		sleep 0.1
	done
	await_end
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
}

# A breakpoint on a function of the kernel's, where all vCPUs come by again and again: hit, looked at, stepped
# from, passed many times, and taken away, while another vCPU is stepped, too. The guest tells the address,
# which without KASLR is the one that it was linked to; and then never notices.
test_gdb_linux_breakpoint() {
	local limit=240 option= at bytes i
	[ "$1" = genoa ] || option=nox2apic # the others accelerate xAPIC mode alone
	start --cpu "$1" -k "$GUEST/vmlinuz-6.12" -i "$GUEST/initrd.img" -c 4 --pcpus 2 --gdb $gdb_port \
		-a "console=ttyS0 panic=-1 nokaslr $option" -- \
		'(while :; do usleep 10000; done) & grep -m 1 " hrtimer_nanosleep$" /proc/kallsyms; workload'
	children=
	await_console ' hrtimer_nanosleep'
	at=$(console | sed -n 's/^\([0-9a-f]*\) [tT] hrtimer_nanosleep$/0x\1/p')
	[[ $at =~ ^0xffffffff8 ]] || wrong "hrtimer_nanosleep is at '$at'"
	gdb_batch '' 'set scheduler-locking step' "x/8xb $at" "break *$at" 'continue' 'printf "hit %lx\n", $rip' "x/8xb $at" \
		'info registers rsp cr3 cs' 'printf "frame %lx\n", *(unsigned long *)$rsp' 'stepi' 'stepi' 'stepi' \
		'printf "stepped %d\n", $rip > '"$at"' && $rip < '"$at"' + 64' 'ignore 1 20' 'continue' \
		'info breakpoints' 'thread 2' 'stepi 5' 'delete' 'thread 4' 'stepi 5' "x/8xb $at" 'detach'
	expect_said "^hit ${at#0x}\$"
	expect_said '^stepped 1$'
	expect_said '^frame ffffffff8[0-9a-f]*$'
	expect_said '^cs +0x10 '
	expect_said 'breakpoint already hit 22 times'
	expect_said 'detached'
	# The code as it is, before, beneath the breakpoint, and behind it.
	bytes=$(grep "^$at" "$said" | sort | uniq -c | awk '{ print $1 }' | paste -sd ,)
	[ "$bytes" = 3 ] || wrong "gdb shows the code at $at so often the same: $bytes"
	! grep "^$at" "$said" | grep -q 0xcc || wrong "gdb shows its INT3"
	for i in $(seq 2000); do
		kill -0 "$job" 2>/dev/null || break
		sleep 0.1
	done
	await_end
	expect_status 0
	expect_ended poweroff
	expect_workload
	expect_no_complaints
	expect_updates
	[ "$(reported BLOCKIRQ sets)" -ge 20 ] || wrong "BLOCKIRQ was set $(reported BLOCKIRQ sets) times"
	[ "$(reported BLOCKIRQ sets) false" = "$(reported BLOCKIRQ clears) $(reported BLOCKIRQ stands)" ] ||
		wrong "BLOCKIRQ: $(reported BLOCKIRQ sets) sets, $(reported BLOCKIRQ clears) clears"
	[ "$(number hw-delivered)" -ge 1000 ] || wrong "$(number hw-delivered) interrupts without an exit"
	note "BLOCKIRQ $(reported BLOCKIRQ sets) times, $(reported BLOCKIRQ held_ns) ns"
}

# It stands still for as long as nobody comes, and --timeout ends it.
test_gdb_timeout() {
	boot 6 -k "$GUEST/micro/hello.elf" -c 2 --gdb $gdb_port --gdb-wait
	expect_status 124
	expect_ended timeout
	expect_no_console hello
}

test_gdb_port_busy() {
	start -k "$GUEST/micro/spin.elf" -c 1 --pcpus 1 --gdb $gdb_port
	children=
	await_port
	"$POSTERN" run -k "$GUEST/micro/hello.elf" --gdb $gdb_port >"$OUT/$name.said" 2>&1 </dev/null
	[ $? -eq 71 ] || wrong "a port that is in use was not refused"
	grep -qx "postern: --gdb $gdb_port: cannot listen on 127.0.0.1: Address already in use" \
		"$OUT/$name.said" || wrong "said: $(head -n 3 "$OUT/$name.said")"
	kill -TERM "$job"
	await_end
	expect_status 130
}

check gdb-micro test_gdb_micro
check gdb-syscall test_gdb_syscall barcelona
! $full || check gdb-syscall-genoa test_gdb_syscall genoa
check gdb-linux test_gdb_linux
check gdb-linux-breakpoint test_gdb_linux_breakpoint genoa
if $full; then
	check gdb-linux-genoa test_gdb_linux --cpu genoa
	check gdb-linux-breakpoint-milan test_gdb_linux_breakpoint milan
fi
check gdb-timeout test_gdb_timeout
check gdb-port-busy test_gdb_port_busy
