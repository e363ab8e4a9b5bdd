# SPDX-License-Identifier: BSD-2-Clause
# System tests of what goes wrong: files, processors and machines that the image refuses, panics. The
# refusals that need no image are tests/cli's. Sourced by tests/system/run.

# expect_refusal STATUS LINE: status and message, one line and nothing else, nothing left behind.
# shellcheck disable=SC2154 # err, log and json are lib.sh's
expect_refusal() {
	local left
	expect_status "$1"
	[ "$(cat "$err")" = "postern: $2" ] || wrong "standard error: $(head -n 3 "$err")"
	[ ! -s "$log" ] || wrong "standard output: $(head -n 3 "$log")"
	expect_ended refused
	[ -z "$(ls -A "$tmp")" ] || wrong "temporary files are left: $(ls -A "$tmp")"
	# The emulator works in that directory, even if it has been removed.
	left=$(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$tmp/*" 2>/dev/null)
	[ -z "$left" ] || wrong "processes are left: $left"
}

# refused STATUS LINE ARGUMENT...: `postern run` must refuse.
refused() {
	local want=$1 line=$2
	shift 2
	rm -rf "$tmp" "$json"
	mkdir -p "$tmp"
	TMPDIR=$tmp boot 60 "$@"
	expect_refusal "$want" "$line"
}

# cut FILE BYTES: the beginning of a file, as $cut.
cut() {
	head -c "$2" "$1" >"$cut"
}

test_refuse_bzimage() {
	cut "$GUEST/vmlinuz" 100
	refused 65 "kernel $cut: the file is too short to be a bzImage" -k "$cut"
	cut "$GUEST/vmlinuz" 530 # within the header
	refused 65 "kernel $cut: the file is too short to be a bzImage" -k "$cut"
	cut "$GUEST/vmlinuz" 2048 # within the setup code
	refused 65 "kernel $cut: the file is truncated" -k "$cut"
	cut "$GUEST/vmlinuz" 1000000
	refused 65 "kernel $cut: the file is truncated" -k "$cut"
}

test_refuse_elf() {
	local elf=$GUEST/micro/hello.elf
	cut "$elf" 40 # within the header
	refused 65 "kernel $cut: the file is too short to be an ELF file" -k "$cut"
	cut "$elf" 100 # within the program headers
	refused 65 "kernel $cut: program headers lie outside the file" -k "$cut"
	cut "$elf" 4200
	refused 65 "kernel $cut: a segment lies outside the file" -k "$cut"
}

test_refuse_multiboot() {
	local elf=$GUEST/micro/flat.elf
	cut "$elf" 4100 # within the Multiboot header
	refused 65 "kernel $cut: no Multiboot header in the first 8192 bytes" --multiboot "$cut"
	cut "$elf" 4200
	refused 65 "kernel $cut: a segment lies outside the file" --multiboot "$cut"
	# Another kind of file, each way around.
	refused 65 "kernel $GUEST/vmlinuz: no Multiboot header in the first 8192 bytes" \
		--multiboot "$GUEST/vmlinuz"
	refused 65 "kernel $elf: not a static x86-64 executable" -k "$elf"
}

test_refuse_other_files() {
	refused 65 "kernel tests/system/run: not a bzImage" -k tests/system/run
	refused 65 "kernel $POSTERN: not a static x86-64 executable" -k "$POSTERN"
}

test_refuse_too_large() {
	refused 67 "kernel $GUEST/vmlinuz: too large for the guest's memory" -k "$GUEST/vmlinuz" -m 32M
	truncate -s 71M "$OUT/large"
	refused 67 "initrd $OUT/large: too large for the guest's memory" -k "$GUEST/vmlinuz" -m 96M \
		-i "$OUT/large"
	refused 67 "initrd $OUT/large: too large for the guest's memory" \
		--multiboot "$GUEST/micro/flat.elf" -m 72M -i "$OUT/large"
	rm -f "$OUT/large"
}

# test_refuse_processor FEATURE REASON: QEMU's processor without FEATURE.
test_refuse_processor() {
	local qemu=$OUT/qemu-without-$1
	{
		echo '#!/bin/sh'
		echo "exec '${POSTERN_QEMU:-qemu-system-x86_64}' \"\$@\" -cpu max,-$1"
	} >"$qemu"
	chmod +x "$qemu"
	POSTERN_QEMU=$qemu refused 77 "cannot run here: the processor has no $2" \
		-k "$GUEST/micro/hello.elf" -c 1
	rm -f "$qemu"
}

# test_panic KIND FIRST FUNCTION: a panic by --set debug.panic=KIND, seen in FUNCTION, while another
# processor runs a guest.
test_panic() {
	local register
	boot 60 -k "$GUEST/micro/spin.elf" -c 2 --pcpus 2 --set debug.panic="$1"
	expect_status 70
	expect_ended hypervisor-panic
	head -n 1 "$err" | grep -q '^postern: panic on CPU 0 (APIC ID 0)$' ||
		wrong "the panic begins: $(head -n 1 "$err")"
	sed -n 2p "$err" | grep -q "^postern: $2" || wrong "the reason is: $(sed -n 2p "$err")"
	for register in rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip cr2 cr3; do
		grep -qE "[: ]$register +[0-9a-f]{8}" "$err" || wrong "$register is not shown"
	done
	awk '/^postern: stack:$/ { getline; print; exit }' "$err" |
		grep -qE "^postern:   [0-9a-f]{16} $3(\.[a-z.0-9]+)?\+0x" ||
		wrong "the stack does not begin in $3"
	# The stack leads down to the entry, unless recursion fills what is shown of it.
	[ "$1" = stack ] || grep -q ' main_housekeeping+0x' "$err" || wrong "no main_housekeeping()"
	[ "$1" = stack ] || grep -q ' metal_main+0x' "$err" || wrong "the stack does not end in metal_main()"
	grep -q 'ended: hypervisor-panic' "$log" || wrong "no account was printed"
}

# From a CD by GRUB: Multiboot 2, no host command, records nowhere.
test_grub() {
	printf 'vcpus=1\nmemory=67108864\n%s' "$1" >"$OUT/$name.config"
	scripts/make-iso "$OUT/$name.iso" "$BUILD/postern.elf" log=console \
		config="$OUT/$name.config" kernel0="$GUEST/micro/hello.elf" 2>"$err" ||
		wrong "no CD image: $(tail -n 1 "$err")"
	status=0
	timeout -k 10 120 "${POSTERN_QEMU:-qemu-system-x86_64}" -accel tcg -machine pc -cpu max \
		-m 256M -vga std -display none -nodefaults -no-user-config -no-reboot \
		-cdrom "$OUT/$name.iso" -boot d -serial stdio \
		-device isa-debug-exit,iobase=0x501,iosize=2 </dev/null >"$log" 2>"$err" || status=$?
	expect_status "$2" # twice what the image writes to the exit device, and one
	expect_console "$3"
	rm -f "$OUT/$name.iso"
}

test_flat() {
	boot 60 --multiboot "$GUEST/micro/flat.elf" -a 'alpha beta' -c "$1" --pcpus "$2"
	expect_ended debug-exit
	expect_status 43 # (21 << 1) | 1, as QEMU's device
	expect_no_console '^not ok'
	expect_console '^command line: flat\.elf alpha beta$'
	expect_console "^CPUs: $1\$"
	expect_console '^ok another processor took the interrupt sent to it$'
	expect_account
}

check refuse-bzimage test_refuse_bzimage
check refuse-elf test_refuse_elf
check refuse-multiboot test_refuse_multiboot
check refuse-other-files test_refuse_other_files
check refuse-too-large test_refuse_too_large
check refuse-without-svm test_refuse_processor svm 'SVM (CPUID leaf 8000_000A is missing)'
check refuse-without-npt test_refuse_processor npt 'nested paging (CPUID 8000_000A EDX bit 0)'

check panic-assertion test_panic assertion 'asked for by debug.panic' debug_assertion
check panic-fault test_panic fault 'exception 14 (page fault), error code 0' debug_fault
check panic-stack test_panic stack 'exception 8 (double fault), error code 0' debug_stack

check grub test_grub '' 33 '^hello from a micro guest, vcpus 0*1'
check grub-refusal test_grub 'set.fly=on' 37 \
	'^postern: error: configuration: set.fly=on: no such setting'

check flat-2v1p test_flat 2 1
check flat-4v2p test_flat 4 2
