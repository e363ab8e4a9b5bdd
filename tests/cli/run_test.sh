#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The host command from end to end, against a stand-in for QEMU: run_test.sh POSTERN FAKE_QEMU.
# Prints "ok" and "not ok" lines; fails if any is "not ok".
# shellcheck disable=SC2089,SC2090 # the quotes in names are meant to be there

. "$(dirname "$0")/lib.sh"

# --- courses of a run
run normal
clean_end "power-off" 0
check "power-off: guest's console shown" out "guest speaking"
check "power-off: exits of both vCPUs and their sum" out "^  cpuid  *100  *200  *300$"
check "power-off: all exits" out "^  all  *110  *210  *320$"
check "power-off: HLT time" out "^  asleep in HLT  *1\.500  *1\.500  *3\.000$"
check "power-off: exact large counts" out "^  eoi  *1152921504606846977  *1152921504606846977 "
check "power-off: model overhead apart" out "^  model overhead (apart)  *3  *3  *6$"
check "power-off: zero rows left out" lacks "rdmsr\|ipi-nmi"
check "power-off: no log unless asked for" silent_err

run normal --verbose
check "--verbose: log on standard error, control characters replaced" \
	err '^postern: a line of the log?\[2J$'

run normal --quiet
check "--quiet: the guest's console and nothing else" \
	is "$(tr -d '\r' <"$dir/out/out")" "guest speaking"

run normal -c 16
check "16 vCPUs: smallest, largest, total" out "^  cpuid  *100  *1600  *13600$"

FAKE_CODE=7 run normal
clean_end "guest's status" 7
FAKE_CODE=9 run debug-exit
clean_end "debug exit" 9
run reset
clean_end "reset" 75
run triple
clean_end "triple fault" 76
check "triple fault: account printed" out "ended: triple-fault; elapsed: 3.000 s"
run garbage
clean_end "garbage among the records" 0
check "garbage among the records: account whole" out "^  cpuid  *100  *200  *300$"
run linger
clean_end "QEMU stays after END" 0

run die
clean_end "QEMU killed" 74
check "QEMU killed: one line" one_line
check "QEMU killed: says by what" err "killed by signal 9"
check "QEMU killed: account so far" out "^  cpuid  *100  *200  *300$"
run refuse
clean_end "QEMU refuses" 69
check "QEMU refuses: one line with its reason" err "before the image ran: -accel x: boom$"
check "QEMU refuses: one line" one_line
check "QEMU refuses: no report of a run" lacks "ended: poweroff"
run crash
clean_end "QEMU crashes at once" 69
check "QEMU crashes at once: one line with its reason" err "killed by signal 9 .* before the image ran"
check "QEMU crashes at once: one line" one_line
run vanish
clean_end "QEMU ends at once without a word" 69
check "QEMU ends at once without a word: one line" one_line
# image_refuses NAME KIND LINE STATUS MESSAGE ARGUMENT...
image_refuses() {
	case=$1 kind=$2 line=$3 want=$4 message=$5
	shift 5
	FAKE_CODE=$kind FAKE_LINE=$line run refusal --json "$dir/out/report.json" "$@"
	clean_end "$case" "$want"
	check "$case: one line" one_line
	check "$case: what and why" is "$(cat "$dir/out/err")" "postern: $message"
	check "$case: no account" is "$(wc -c <"$dir/out/out")" 0
	check "$case: the report has the word" grep -q '"refused"' "$dir/out/report.json"
}
image_refuses "image refuses" 1 "error: configuration: vcpus=0: no number" 78 \
	"the image refuses: configuration: vcpus=0: no number"
image_refuses "processor without nested paging" 2 "error: the processor has no nested paging" 77 \
	"cannot run here: the processor has no nested paging"
image_refuses "kernel of no known kind" 3 "error: kernel: not a bzImage" 65 \
	"kernel $dir/kernel: not a bzImage"
image_refuses "kernel that does not fit" 4 "error: kernel: too large" 67 \
	"kernel $dir/kernel: too large"
image_refuses "initrd that does not fit" 4 "error: initrd: too large" 67 \
	"initrd $dir/initrd: too large" -i "$dir/initrd"
image_refuses "refusal of a kind that is not known" 99 "error: no" 78 "the image refuses: no"
run config
clean_end "image refuses without a record of its end" 78
check "image refuses without a record of its end: its reason" err "unknown key 'x'"
run silent-panic
clean_end "panic without a record" 70
check "panic without a record: one line" one_line
run ended-guest
clean_end "guest ended by the hypervisor" 70
check "guest ended by the hypervisor: one line" one_line
check "guest ended by the hypervisor: why" err "ended the guest: vm 0: vCPU 0: exit invalid-state"
run panic
clean_end "panic" 70
check "panic: all lines shown, and none else" is "$(cat "$dir/out/err")" "postern: panic: it broke
postern: rip 1234"
FAKE_MODE=panic timeout 20 "$postern" run -k "$dir/kernel" >"$dir/out/out" 2>&1 </dev/null
check "panic in the guest's line, in one file: on lines of its own" out "^postern: panic: it broke$"
check "panic: account so far" out "ended: hypervisor-panic"
run foreign
clean_end "image of another build" 69
check "image of another build: says so" err "different builds"

run hang --timeout 0.3
clean_end "timeout" 124
check "timeout: final account" out "ended: timeout; elapsed: 3.000 s"
run deaf --timeout 0.3
clean_end "timeout, image does not answer" 124
check "timeout, image does not answer: account so far" out "ended: timeout; elapsed: 2.500 s"

# By timeout(1): a script's background jobs ignore SIGINT.
signalled() {
	FAKE_MODE=$1
	export FAKE_MODE
	timeout --preserve-status -s "$2" 1 "$postern" run -k "$dir/kernel" >"$dir/out/out" \
		2>"$dir/out/err" </dev/null
	status=$?
}
signalled hang INT
clean_end "SIGINT" 130
check "SIGINT: final account" out "ended: interrupted; elapsed: 3.000 s"
signalled hang TERM
clean_end "SIGTERM" 130
FAKE_VERSION=never signalled hang INT
clean_end "SIGINT, QEMU does not tell its version" 130
no_fake() { ! find /proc/[0-9]*/exe -maxdepth 0 -lname "$POSTERN_QEMU" 2>/dev/null | grep -q .; }
sleep 0.3
check "SIGINT, QEMU does not tell its version: no process is left" no_fake
signalled deaf INT
clean_end "SIGINT, image does not answer" 130
check "SIGINT, image does not answer: account so far" out "ended: interrupted; elapsed: 2.500 s"

# A killed postern takes its QEMU with it.
FAKE_MODE=deaf "$postern" run -k "$dir/kernel" >"$dir/out/out" 2>"$dir/out/err" </dev/null &
parent=$!
child=
tries=0
while [ -z "$child" ] && [ $tries -lt 50 ]; do
	sleep 0.1
	child=$(tr -d ' ' <"/proc/$parent/task/$parent/children" 2>/dev/null)
	tries=$((tries + 1))
done
sleep 0.2
kill -KILL "$parent"
wait "$parent" 2>/dev/null
sleep 0.3
check "SIGKILL: QEMU was running" [ -n "$child" ]
gone() { [ ! -d "/proc/$1" ] || grep -q '^State:.*[ZX]' "/proc/$1/status"; }
check "SIGKILL: QEMU is gone" gone "$child"
rm -rf "$TMPDIR"/postern.*

# --- standard streams
printf 'one\ntwo q\n' | FAKE_MODE='echo' timeout 20 "$postern" run -k "$dir/kernel" --quiet \
	>"$dir/out/out" 2>"$dir/out/err"
check "piped input reaches the guest" out "^two q"
printf 'q' >"$dir/out/typed"
FAKE_MODE='echo' timeout 20 "$postern" run -k "$dir/kernel" --quiet <"$dir/out/typed" \
	>"$dir/out/out" 2>"$dir/out/err"
check "input from a file reaches the guest" out "^q"
run normal
FAKE_MODE=normal timeout 20 "$postern" run -k "$dir/kernel" >/dev/full 2>"$dir/out/err" </dev/null
status=$?
clean_end "standard output full" 72
check "standard output full: one line" one_line
FAKE_MODE=normal timeout 20 "$postern" run -k "$dir/kernel" --verbose >"$dir/out/out" 2>/dev/full \
	</dev/null
status=$?
clean_end "log full" 72
FAKE_MODE=normal timeout 20 "$postern" run -k "$dir/kernel" >"$dir/out/out" 2>/dev/full </dev/null
status=$?
clean_end "standard error full, nothing to say" 0
# A pipe whose reader has gone before anything is written.
mkfifo "$work/pipe"
# shellcheck disable=SC2094 # both ends are meant
exec 3<>"$work/pipe" 4>"$work/pipe" 3>&-
FAKE_MODE=normal timeout 20 "$postern" run -k "$dir/kernel" >&4 2>"$dir/out/err" </dev/null 4>&-
status=$?
exec 4>&-
clean_end "broken pipe" 73
check "broken pipe: one line" one_line
check "broken pipe: why" err "standard output: Broken pipe"
FAKE_MODE=normal timeout 20 "$postern" run -k "$dir/kernel" <&- >&- 2>&-
status=$?
clean_end "all standard streams closed, as with /dev/null" 0

# --- what the image is given
FAKE_COPY="$work/copy" run inputs -i "$dir/initrd" -c 3 -m 1G --set x2apic=off --set irqchip=split --set slice-us=500 \
	-a "console=ttyS0 x=a,b" -- echo "it's" 'a "word"'
clean_end "inputs" 0
check "inputs: configuration" out "^memory=1073741824"
check "inputs: vcpus" out "^vcpus=3"
check "inputs: settings in numbers" out "^set.x2apic=0"
check "inputs: settings in numbers" out "^set.slice-us=500"
check "inputs: choices by name" out "^set.irqchip=split"
check "inputs: command line" out "^console=ttyS0 x=a,b$"
check "inputs: two processors at most by default" out "^2$"
check "inputs: memory for guest and hypervisor" out "^1136M$"
run inputs -c 4 --set apic-ids=0,256-257,4294967294 --vm -k "$dir/kernel" -c 2 --set x2apic=off --set apic-ids=7,254
check "inputs: APIC IDs, one by one" out "^set.apic-ids=0,256,257,4294967294"
check "inputs: APIC IDs of each VM" out "^set.apic-ids=7,254"
run inputs -c 64 --set apic-ids=4294967231-4294967294
check "inputs: 64 APIC IDs of ten digits" out "^set.apic-ids=\(429496[0-9]*,\)\{63\}4294967294"
run inputs -m 4G
check "inputs: memory above 4 GiB in one piece" out "^7168M$"
mkdir "$work/unpacked"
names=$(cpio -t <"$work/copy" 2>/dev/null | tr '\n' ' ')
check "command: the initrd itself is first" is "$names" ". file "
size=$(($(wc -c <"$dir/initrd") / 512)) # cpio(1) pads to blocks of 512
dd if="$work/copy" bs=512 skip=$size of="$work/second" 2>/dev/null
names=$(cpio -t <"$work/second" 2>/dev/null | tr '\n' ' ')
check "command: then an archive with the command" is "$names" "postern postern/command "
(cd "$work/unpacked" && cpio -i --quiet 2>/dev/null <"$work/second")
check "command: executable" [ -x "$work/unpacked/postern/command" ]
check "command: words arrive unchanged" \
	is "$("$work/unpacked/postern/command")" "it's a \"word\""
run inputs
check "no --icount: time is counted" is "$(grep -c icount "$dir/out/out")" 0
run inputs --icount
check "--icount: an instruction is a nanosecond" out "^shift=0,sleep=off$"
run inputs --icount=10
check "--icount=10: an instruction is 2^10 ns" out "^shift=10,sleep=off$"
check "--icount: one processor" out "^1$"

# --- several VMs
FAKE_ENDS="1:0 1:0"
export FAKE_ENDS
run inputs -c 3 -m 1G --set x2apic=off --set slice-us=500 -a zero --vm -k "$dir/initrd" -i "$dir/initrd" \
	-c 4 -m 256M --set irqchip=split -a one --vm --multiboot "$dir/kernel" -a two
clean_end "VMs: inputs" 0
config=$(tr -d '\r' <"$dir/out/out" | sed -n '/^reserve-boot-cpu/,/^$/p' | tr '\n' ' ')
check "VMs: a section for each" is "$config" "reserve-boot-cpu=0 cpu=barcelona vcpus=3 \
memory=1073741824 set.x2apic=0 set.slice-us=500 vm=1 cpu=barcelona vcpus=4 memory=268435456 \
set.irqchip=split vm=2 cpu=barcelona vcpus=2 memory=536870912 set.testdev=1  "
check "VMs: files of each" out \
	"^config,kernel0,cmdline0,kernel1,cmdline1,initrd1,kernel2 multiboot2,cmdline2$"
check "VMs: command lines: VM 0" out "^zero$"
check "VMs: command lines: VM 1" out "^one$"
check "VMs: command lines: VM 2, by multiboot" out "^kernel two$"
check "VMs: memory for all of them" out "^1920M$"
truncate -s 8192 "$work/rom"
run inputs --vm --firmware "$work/rom" -c 1
clean_end "firmware: inputs" 0
check "firmware: it is its VM's only file" out "^config,kernel0,cmdline0,firmware1$"
run inputs -m 2G --vm -k "$dir/kernel" -m 2G
check "VMs: memory in two pieces, below 4 GiB and above" out "^5120M$"
run inputs -m 4G
check "memory in one piece above 4 GiB" out "^7168M$"

endings() { # STATUS ENDS WORDS
	FAKE_ENDS=$2
	run ends --vm -k "$dir/kernel" --vm -k "$dir/kernel" -c 1
	clean_end "VMs: $3" "$1"
}
# ENDED_POWEROFF 1, _DEBUG_EXIT 2, _RESET 3, _TRIPLE_FAULT 4, _TIMEOUT 5
endings 0 "1:0 1:0 1:0" "all well"
check "VMs: a table for each: VM 0" out "^postern: vm0: .*2 vCPUs on 2 CPUs; ended: poweroff; elapsed: 3.000 s"
check "VMs: a table for each: VM 2" out "^postern: vm2: .*1 vCPU on 2 CPUs; ended: poweroff; elapsed: 5.000 s"
check "VMs: accounts apart: VM 0" out "^  cpuid  *100  *200  *300$"
check "VMs: accounts apart: VM 1" out "^  cpuid  *1100  *1200  *2300$"
check "VMs: accounts apart: VM 2" out "^  cpuid  *2100  *2100$"
endings 7 "1:0 1:7 4:0" "the first status that is not 0"
endings 76 "4:0 1:7 1:0" "the first status that is not 0, by its place"
endings 75 "1:0 1:0 3:0" "the last one's status"
endings 124 "1:0 5:0 1:0" "one of them at the timeout"
run hang --timeout 0.3 --vm -k "$dir/kernel"
clean_end "VMs: timeout" 124
image_refuses "VMs: image refuses" 1 "error: VM 1: no" 78 "the image refuses: VM 1: no" --vm -k "$dir/kernel"
image_refuses "VMs: image refuses the other's kernel" 3 "error: VM 1: kernel: no" 65 \
	"VM 1: kernel $dir/kernel: no" --vm -k "$dir/kernel"
run die --vm -k "$dir/kernel"
clean_end "VMs: QEMU killed" 74
check "VMs: QEMU killed: one line" one_line
check "VMs: QEMU killed: both accounts so far" is "$(grep -c '^  cpuid' "$dir/out/out")" 2

FAKE_COPY="$dir/out/out" run talk --quiet --vm -k "$dir/kernel" --vm -k "$dir/kernel" --vm -k "$dir/kernel"
clean_end "VMs: consoles" 0
x500=$(printf '%500s' '' | tr ' ' x)
printf '%s\n' "[vm1] first" "[vm1] second?[2Jover" "[vm2] " "[vm2] $(printf '\t')third" \
	"[vm3] $x500$x500" "[vm3] $x500" >"$dir/out/want"
check "VMs: consoles: whole lines, control characters replaced" \
	is "$(grep '^\[vm' "$dir/out/out")" "$(cat "$dir/out/want")"
check "VMs: consoles: VM 0's as it came, but for a line that hung" \
	is "$(tr -d '\r' <"$dir/out/out" | grep -v '^\[vm')" "$(printf 'guest speaking\nzero hangs\n and ends')"
run flood --quiet --vm -k "$dir/kernel"
clean_end "VMs: a flood and a forged end" 74
check "VMs: a flood: every line" is "$(grep -c '^\[vm1\] [0-9]*$' "$dir/out/out")" 50000
check "VMs: a flood: in order" is "$(sed -n 's/^\[vm1\] \([0-9]\)/\1/p' "$dir/out/out" | sort -nc && echo ok)" ok

kernel="$dir/kernel"
# shellcheck disable=SC2086 # words
for option in "--pcpus 2" "--timeout 1" "--json x" --icount --quiet --verbose "--gdb 1234" --gdb-wait; do
	refused "VMs: $option behind --vm" 64 "^postern: ${option%% *}: .* before the first --vm" \
		run -k "$kernel" --vm -k "$kernel" $option
done
for setting in slice-us=500 floor=on pause-yield=off preemption-timer=off stale-vectoring=on; do
	refused "VMs: $setting behind --vm" 64 "^postern: --set ${setting%%=*}: .* before the first --vm" \
		run -k "$kernel" --vm -k "$kernel" --set $setting
done
refused "VMs: five" 64 "more VMs than 4" run --vm --vm --vm --vm
refused "VMs: more memory together than there may be" 64 "together is 81920M, more than 64G" \
	run -k "$kernel" -m 40G --vm -k "$kernel" -m 40G
refused "VMs: bad option of the second" 64 "from 1 to 64" run --vm -c 65
refused "VMs: a value for --vm" 64 "takes no value" run --vm=2
refused "VMs: the second's kernel missing" 66 "No such file" run -k "$kernel" --vm -k "$dir/none"
refused "VMs: --icount on two CPUs" 64 "on one processor" run --icount --pcpus 2 --vm

# --- JSON
json="$dir/out/report.json"
FAKE_CODE=5 run normal --quiet --json "$json"
clean_end "--json" 5
has() { tr -d ' \t\n' <"$json" | grep -q -- "$1"; }
check "--json: schema" has '^{"schema":"postern.report/1","cpu":"barcelona","vcpus":2,"pcpus":2,'
check "--json: ending" has '"guest":{"ended":"poweroff","code":5},"elapsed_ns":3000000000,'
check "--json: totals" has '"cpuid":300,'
check "--json: exact large counts" has '"eoi":1152921504606846977'
check "--json: routes" has '"injected":{"ipi":0,"msi":0,"ioapic":0,"timer":100,'
check "--json: IPIs" has '"ipi":{"unicast":14,'
check "--json: vCPUs" has '"vcpu":\[{"index":0,"exits":110,'
check "--json: no temporary file left" is "$(echo "$dir"/out/report.json*)" "$json"
FAKE_ENDS="1:0 2:3" run ends --quiet --json "$json" --vm -k "$dir/kernel" -c 1
clean_end "--json of two VMs" 3
check "--json of two VMs: VM 0 above" \
	has '^{"schema":"postern.report/1","cpu":"barcelona","vcpus":2,"pcpus":2,"guest":{"ended":"poweroff","code":0},"elapsed_ns":3000000000,.*"cpuid":300,.*"vm":\['
check "--json of two VMs: VM 0 in the list" \
	has '"vm":\[{"index":0,"cpu":"barcelona","vcpus":2,"pcpus":2,"guest":{"ended":"poweroff","code":0},'
check "--json of two VMs: VM 1" \
	has '{"index":1,"cpu":"barcelona","vcpus":1,"pcpus":2,"guest":{"ended":"debug-exit","code":3},"elapsed_ns":4000000000,.*"cpuid":1100,.*"vcpu":\[{"index":0,"exits":1110,[^]]*\]}\]}$'
run die --json "$json"
check "--json: also when QEMU dies" has '"guest":{"ended":"emulator-ended","code":0}'
echo old >"$json"
ln -s report.json "$dir/out/link.json"
run normal --json "$dir/out/link.json"
check "--json: a symbolic link stays one" [ -L "$dir/out/link.json" ]
check "--json: and leads to the report" has '"schema"'
run normal --quiet --json /dev/null
clean_end "--json /dev/null" 0
check "--json /dev/null: is still a device" [ -c /dev/null ]
run normal --quiet --json /dev/full
clean_end "--json /dev/full" 72
check "--json /dev/full: one line" one_line
check "--json /dev/full: names it" err "json /dev/full: cannot write: No space left"
# A limit on the size of files stands in for a disk that is full: the report is longer than a block.
echo old >"$json"
(
	ulimit -f 1
	run normal --quiet --json "$json"
	exit "$status"
)
status=$?
clean_end "--json on a full disk" 72
check "--json on a full disk: one line" one_line
check "--json on a full disk: the old report stays" is "$(cat "$json")" old
check "--json on a full disk: no temporary file left" is "$(echo "$dir"/out/report.json*)" "$json"
dd if=/dev/zero of="$work/base" bs=1024 count=64 2>/dev/null
(
	ulimit -f 16
	run normal -i "$work/base" -- true
	exit "$status"
)
status=$?
clean_end "temporary files on a full disk" 72
check "temporary files on a full disk: one line" one_line
refused "--json unwritable" 73 "No such file" run -k "$dir/kernel" --json "$dir/none/r.json"
refused "--json directory" 73 "Is a directory" run -k "$dir/kernel" --json "$dir"

# --- refusals
refused "no command" 64 "no command"
refused "unknown command" 64 "unknown command 'fly'" fly
refused "unknown option" 64 "unknown or ambiguous option --fly" run --fly
refused "unknown letter" 64 "unknown option -z" run -z
refused "missing value" 64 "option --timeout needs a value" run --timeout
refused "missing letter's value" 64 "option -k needs a value" run -k
refused "needless value" 64 "option --quiet=1 takes no value" run --quiet=1
refused "stray word" 64 "unexpected argument 'word'" run word
refused "empty command" 64 "nothing behind --" run --
refused "unknown processor" 64 "no such processor" run --cpu 8086
# --- the control socket
control="$dir/c"
listening() { # up to 10 s
	for _ in $(seq 100); do
		[ -S "$control" ] && return 0
		sleep 0.1
	done
	return 1
}
# ask STATUS ARGUMENT...: output as of refused()
ask() {
	want=$1
	shift
	timeout 40 "$postern" control "$@" >"$dir/out/out" 2>"$dir/out/err" </dev/null
	status=$?
	check "control $2 $3: status $want (is $status)" is "$status" "$want"
}
FAKE_MODE=converse timeout 60 "$postern" run -k "$dir/kernel" --control "$control" --vm -k "$dir/kernel" \
	</dev/null >"$work/run" 2>&1 &
runs=$!
check "control: listens" listening
check "control: the user's alone" is "$(stat -c %a "$control")" 600
ask 0 "$control" set pit.reinject=on
check "control set: says so" is "$(cat "$dir/out/out")" ok
ask 0 "$control" set inhibit-storm=5 vm=1
ask 0 "$control" account
check "control account: of each VM, which runs" out "^postern: vm1: barcelona.*; running; elapsed: 2.500 s"
check "control account: counts" out "^  cpuid  *100  *200  *300$"
check "control account: no more than that" lacks "^ok"
ask 64 "$control" set pit.reinject=bad
check "control set: what the image says" err "^postern: control: not a value of this setting"
ask 64 "$control" set x2apic=off
check "control set: not while the guest runs" err "cannot be changed\|can be changed while"
ask 64 "$control" set inhibit-storm=5 vm=2
check "control set: no such VM" err "no such VM"
ask 64 "$control" fly
check "control: no such command" err "no such command"
ask 64 "$control" account "
account"
ask 64 "$control"
check "control: nothing to do" err "give the socket's PATH and a command"
timeout 20 "$postern" run -k "$dir/kernel" --control "$control" >"$dir/out/out" 2>"$dir/out/err" </dev/null
check "control socket of another run: status 73" is "$?" 73
check "control socket of another run: says so in one line" one_line
check "control socket of another run: names it" err "another run listens there"
kill "$runs"
wait "$runs"
check "control: the run ends (is $?)" grep -q "^postern: vm0: .* ended: interrupted" "$work/run"
check "control: the image was asked" grep -q "asked vm1: inhibit-storm=5" "$work/run"
check "control: nor for what is wrong" is "$(grep -c 'asked.*x2apic\|asked vm2' "$work/run")" 0
check "control: the socket is gone" [ ! -e "$control" ]
ask 66 "$control" account
check "control: nobody there" err "No such file"
ask 66 "$dir/kernel" account
ask 64 "" account
ask 64 "$dir/$(printf '%0120d' 0)" account
check "control: path too long" err "1 to 107 characters"
refused "control path too long" 64 "1 to 107 characters" run --control "$dir/$(printf '%0120d' 0)"
refused "control path empty" 64 "1 to 107 characters" run --control ""
refused "control path is a file" 73 "is no socket" run -k "$dir/kernel" --control "$dir/kernel"
check "control path is a file: which stays" [ -s "$dir/kernel" ]
refused "control path without directory" 73 "No such file" run -k "$dir/kernel" --control "$dir/none/c"
refused "control behind --vm" 64 "before the first --vm" run --vm --control "$control"

refused "no vCPU" 64 "from 1 to 64" run -c 0
refused "too many vCPUs" 64 "from 1 to 64" run -c 65
refused "not a number of vCPUs" 64 "from 1 to 64" run -c 2x
refused "too many CPUs" 64 "from 1 to 16" run --pcpus 17
refused "an instruction too long" 64 "from 0 to 10" run --icount=11
refused "not a number for an instruction" 64 "from 0 to 10" run --icount=
for port in 0 65536 -1 x 1234x '' 99999999999999999999; do
	refused "--gdb '$port'" 64 "not a number from 1 to 65535" run --gdb "$port"
done
refused "--gdb-wait alone" 64 "without --gdb" run --gdb-wait
refused "--icount on two CPUs" 64 "on one processor" run --icount --pcpus 2
refused "size without unit" 64 "give a number with M or G" run -m 512
refused "size too small" 64 "must be from 16M" run -m 1M
refused "size too large" 64 "must be from 16M" run -m 65G
refused "size that overflows" 64 "not a size" run -m 99999999999999999999G
refused "odd size" 64 "multiple of 2M" run -m 513M
refused "unknown setting" 64 "no such setting" run --set fly=on
refused "setting without value" 64 "KEY=VALUE" run --set x2apic
refused "setting not on or off" 64 "not on or off" run --set x2apic=2
refused "setting not of the choice" 64 "not full or split" run --set irqchip=half
refused "setting a choice by number" 64 "not full or split" run --set irqchip=1
refused "setting out of range" 64 "from 100 to 100000" run --set slice-us=99
refused "storm too fast" 64 "from 0 to 1000" run --set inhibit-storm=1001
refused "no APIC IDs" 64 "apic-ids=: not a list" run --set apic-ids=
refused "APIC IDs that are none" 64 "not a list" run --set apic-ids=0,x
refused "APIC IDs in hexadecimal" 64 "separated by commas" run --set apic-ids=0x1,2
refused "negative APIC ID" 64 "not a list" run --set apic-ids=-1,2
refused "APIC IDs with a comma at the end" 64 "not a list" run --set apic-ids=0,1,
refused "APIC IDs with a blank" 64 "not a list" run --set "apic-ids=0, 1"
refused "APIC ID that is broadcast" 64 "not a list" run --set apic-ids=0,4294967295
refused "APIC ID beyond 64 bits" 64 "not a list" run --set apic-ids=0,99999999999999999999999
refused "APIC IDs of a range backwards" 64 "ends before it begins" run --set apic-ids=1-0
refused "APIC IDs of a range without end" 64 "not a list" run --set apic-ids=1-
refused "APIC IDs of a range too long" 64 "more APIC IDs" run --set apic-ids=0-4294967294
refused "too few APIC IDs" 64 "not as many APIC IDs" run -c 3 --set apic-ids=0,1
refused "too many APIC IDs" 64 "not as many APIC IDs" run -c 1 --set apic-ids=0,1
refused "one APIC ID twice" 64 "one APIC ID" run -c 3 --set apic-ids=1,0,1
refused "APIC ID without x2APIC" 64 "needs x2APIC" run --set x2apic=off --set apic-ids=0,255
refused "no time" 64 "number of seconds" run --timeout 0
refused "negative time" 64 "number of seconds" run --timeout -1
refused "missing kernel" 66 "No such file" run -k "$dir/none"
refused "kernel is a directory" 66 "not a regular file" run -k "$dir"
: >"$dir/empty"
refused "empty kernel" 66 "empty" run -k "$dir/empty"
mkfifo "$work/fifo"
refused "kernel is a pipe" 66 "not a regular file" run -k "$work/fifo"
refused "kernel is a device" 66 "not a regular file" run -k /dev/zero
refused "kernel with an empty name" 66 "No such file" run -k ""
refused "kernel below a file" 66 "Not a directory" run -k "$dir/kernel/x"
ln -s loop "$work/loop"
refused "kernel is a link to itself" 66 "symbolic links" run -k "$work/loop"
refused "Multiboot kernel is missing" 66 "No such file" run --multiboot "$dir/none"
long=$(head -c 5000 /dev/zero | tr '\0' x)
refused "missing firmware" 66 "firmware $dir/none: No such file" run --firmware "$dir/none"
refused "empty firmware" 66 "firmware $dir/empty: the file is empty" run --firmware "$dir/empty"
refused "firmware is a directory" 66 "not a regular file" run --firmware "$dir"
printf '%4097s' '' >"$work/odd"
refused "firmware of no whole pages" 65 "firmware $work/odd: not a multiple of 4 KiB" \
	run --firmware "$work/odd"
truncate -s $((16 * 1024 * 1024 + 4096)) "$work/long"
refused "firmware larger than it may be" 65 "firmware $work/long: larger than 16 MiB" \
	run --firmware "$work/long"
refused "firmware without a name" 64 "needs a value" run --firmware
for other in -k --multiboot -i -a; do
	refused "firmware and $other" 64 "firmware: $other does not go with it" \
		run --firmware "$work/rom" $other "$dir/kernel"
done
refused "firmware and a command" 64 "a command behind -- does not go with it" \
	run --firmware "$work/rom" -- true
refused "firmware and a kernel, of the second VM" 64 "does not go with it" \
	run -k "$dir/kernel" --vm -k "$dir/kernel" --firmware "$work/rom"
refused "kernel with too long a name" 66 "name too long" run -k "$long"
echo secret >"$work/unreadable"
chmod 000 "$work/unreadable"
# Root reads everything, unless it gives up the capability.
if [ "$(id -u)" = 0 ]; then
	postern_unprivileged="setpriv --bounding-set -dac_override,-dac_read_search $postern"
else
	postern_unprivileged=$postern
fi
# shellcheck disable=SC2086 # words
timeout 20 $postern_unprivileged run -k "$work/unreadable" >"$dir/out/out" 2>"$dir/out/err" </dev/null
status=$?
clean_end "unreadable kernel" 66
check "unreadable kernel: one line" one_line
check "unreadable kernel: why" err "kernel $work/unreadable: Permission denied"
# shellcheck disable=SC2086 # words
timeout 20 $postern_unprivileged run -k "$dir/kernel" -i "$work/unreadable" >"$dir/out/out" \
	2>"$dir/out/err" </dev/null
status=$?
clean_end "unreadable initrd" 66
check "unreadable initrd: why" err "initrd $work/unreadable: Permission denied"
mkdir -m 555 "$work/closed"
# shellcheck disable=SC2086 # words
timeout 20 $postern_unprivileged run -k "$dir/kernel" --json "$work/closed/r.json" >"$dir/out/out" \
	2>"$dir/out/err" </dev/null
status=$?
clean_end "--json in a directory that is not ours" 73
check "--json in a directory that is not ours: why" err "json $work/closed/r.json: .*Permission denied"
refused "--json with an empty name" 73 "cannot write" run -k "$dir/kernel" --json ""
# Sparse: nothing of it is ever read.
truncate -s 600M "$work/huge"
refused "initrd larger than the memory" 67 "initrd $work/huge: too large for the guest's memory" \
	run -k "$dir/kernel" -i "$work/huge"
refused "initrd larger than the memory, with a command" 67 "initrd $work/huge: too large" \
	run -k "$dir/kernel" -i "$work/huge" -- true
refused "kernel larger than the memory" 67 "kernel $work/huge: too large for the guest's memory" \
	run -k "$work/huge"
truncate -s 3G "$work/huge"
refused "initrd that cannot be handed over" 67 "too large for the emulator" \
	run -k "$dir/kernel" -m 8G -i "$work/huge"
refused "missing initrd" 66 "No such file" run -k "$dir/kernel" -i "$dir/none"
refused "no demonstration guest" 66 "make guest" run
POSTERN_IMAGE="$dir/none" refused "missing image" 66 "hypervisor image" run -k "$dir/kernel"
POSTERN_QEMU="$dir/none" refused "missing QEMU" 69 "cannot start QEMU" run -k "$dir/kernel"
POSTERN_QEMU=no-such-qemu refused "no QEMU in PATH" 69 "qemu-system-x86" run -k "$dir/kernel"
POSTERN_QEMU="$dir/kernel" refused "QEMU not executable" 69 "Permission denied" \
	run -k "$dir/kernel"
FAKE_VERSION="QEMU emulator version 6.2.0" refused "QEMU too old" 68 "version 6.2: 7.2 or later" \
	run -k "$dir/kernel"
FAKE_VERSION="QEMU PC emulator version 0.15.1, Copyright" refused "QEMU far too old" 68 \
	"version 0.15: 7.2" run -k "$dir/kernel"
FAKE_VERSION="GNU coreutils 9.1" refused "not a QEMU" 69 "no QEMU" run -k "$dir/kernel"
POSTERN_QEMU=true refused "not a QEMU, and silent" 69 "no QEMU" run -k "$dir/kernel"
FAKE_VERSION=never refused "QEMU that does not answer" 69 "no QEMU" run -k "$dir/kernel"
FAKE_VERSION="QEMU emulator version 10.0.0" run normal
clean_end "newer QEMU" 0
TMPDIR="$dir/none" "$postern" run -k "$dir/kernel" >"$dir/out/out" 2>"$dir/out/err" </dev/null
status=$?
clean_end "no temporary directory" 71
check "no temporary directory: one line" one_line

# --- what it says about itself
for words in "--help" "run --help" "cpus" "--version"; do
	# shellcheck disable=SC2086 # two words
	"$postern" $words >"$dir/out/out" 2>"$dir/out/err"
	status=$?
	check "postern $words: status 0" is "$status" 0
	check "postern $words: nothing on standard error" silent_err
done
"$postern" cpus >"$dir/out/out"
check "cpus: the first" out "^barcelona  *AMD  *AMD with "
check "cpus: the last" out "^sapphire-rapids  *Intel  *Intel with "
"$postern" cpus >"$dir/out/out"
check "cpus: what is modelled" out "^avic  *hidden  *modelled  *modelled  *modelled  *-  *-  *-$"
check "cpus: what is hidden" out "^x2avic  *hidden  *hidden  *hidden  *modelled  *-  *-  *-$"
check "cpus: what Bochs has and does not show" out "^apicv  *-  *-  *-  *-  *hidden  *native  *native$"
check "cpus: what is the processor's own" out "^nested-paging  *native  *native  *native  *native  *native  *native  *native$"
check "cpus: what Bochs lacks" out "^posted-interrupts  *-  *-  *-  *-  *hidden  *modelled  *modelled$"
check "cpus: what the last one has alone" out "^ipi-virtualization  *-  *-  *-  *-  *hidden  *hidden  *modelled$"
"$postern" run --help >"$dir/out/out"
check "run --help: statuses" out "^  124  *the time"
check "run --help: settings" out "^  slice-us .*(100 to 100000; 2000)"
check "run --help: choices" out "^  irqchip .*(full or split; full)"
"$postern" run --help >/dev/full 2>"$dir/out/err"
status=$?
check "--help to a full disk: status 72" is "$status" 72

# Every status of the list has been shown above; those of guests come from the guest.
"$postern" run --help >"$dir/out/out"
unseen() {
	# shellcheck disable=SC2013 # words
	for value in $(sed -n '/^Exit status/,/^$/s/^  \([0-9]*\)  *[a-zA-Z].*/\1/p' "$dir/out/out"); do
		case " $seen " in
		*" $value "*) ;;
		*) echo "status $value has no test" ;;
		esac
	done
}
unseen >"$dir/out/err"
check "every exit status was tested" silent_err

# --- what is written about it
docs=$(dirname "$0")/../../docs
: >"$dir/out/err"
documented() { # FILE FORMAT NAME...: each NAME, put into FORMAT, is in FILE
	file=$1 format=$2
	shift 2
	for word in "$@"; do
		# shellcheck disable=SC2059 # the format is one
		grep -qF -- "$(printf "$format" "$word")" "$file" || echo "$file lacks: $word"
	done >"$dir/out/err"
	silent_err
}
run normal --quiet --json "$json"
# shellcheck disable=SC2046 # words
check "report.md: every member" documented "$docs/report.md" '\140%s\140' \
	$(grep -o '"[a-z0-9_-]*":' "$json" | tr -d '":' | sort -u)
"$postern" run --help >"$dir/out/out"
# shellcheck disable=SC2046 # words
check "postern.1: every exit status" documented "$docs/postern.1" '.It %s' \
	$(sed -n 's/^  \([1-9][0-9]*\)  *[A-Za-z].*/\1/p' "$dir/out/out")
# shellcheck disable=SC2046 # words
check "postern.1: every setting" documented "$docs/postern.1" '.It Cm %s' \
	$(sed -n '/^Settings:/,/^$/s/^  \([a-z0-9.-]*\) .*/\1/p' "$dir/out/out")
# shellcheck disable=SC2046 # words
check "postern.1: every long option" documented "$docs/postern.1" '.It Fl Fl %s' \
	$(sed -n 's/^  --\([a-z]*\) .*/\1/p' "$dir/out/out")
if command -v mandoc >/dev/null; then
	mandoc -T lint "$docs/postern.1" 2>&1 | grep 'postern\.1:' >"$dir/out/err"
	check "postern.1: clean in mandoc -T lint" silent_err
else
	echo "ok postern.1: clean in mandoc -T lint # SKIP mandoc is not installed"
fi

echo "# host command: $passed passed, $failed failed"
[ "$failed" = 0 ]
