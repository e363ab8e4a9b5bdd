#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs on Bochs from the host command's side, against a stand-in for it: bochs_test.sh POSTERN FAKE_QEMU.
# The CD is made by the real tools. Prints "ok" and "not ok" lines; fails if any is "not ok".

. "$(dirname "$0")/lib.sh"
# A program of its own: run_test.sh, beside this, looks for processes of the other.
POSTERN_BOCHS=$work/fake_bochs
cp "$POSTERN_QEMU" "$POSTERN_BOCHS" || exit 2
POSTERN_QEMU=/nonexistent/qemu
export POSTERN_BOCHS

# bochs MODE ARGUMENT...: as run, on the processor that means Bochs
bochs() {
	mode=$1
	shift
	run "$mode" --cpu westmere "$@"
}
# refused_run NAME STATUS PATTERN ARGUMENT...
refused_run() {
	name=$1 want=$2 pattern=$3
	shift 3
	refused "$name" "$want" "$pattern" run -k "$dir/kernel" --cpu westmere "$@"
}

# --- courses of a run
bochs normal
clean_end "power-off" 0
check "power-off: guest's console shown" out "guest speaking"
check "power-off: account" out "^  cpuid  *100  *200  *300$"
check "power-off: named" out "^postern: westmere, 2 vCPUs on 2 CPUs; ended: poweroff"
check "power-off: nothing of Bochs's own words" silent_err
bochs normal --verbose
check "--verbose: log on standard error" err '^postern: a line of the log'
FAKE_CODE=7 bochs normal
clean_end "guest's status" 7
bochs triple
clean_end "triple fault" 76
bochs linger
clean_end "stays after the end" 0

# --- what is typed, before Bochs has opened its end
printf 'typed early\003\004\021\023 q' >"$work/typed"
FAKE_MODE=echo timeout 20 "$postern" run -k "$dir/kernel" --cpu westmere \
	<"$work/typed" >"$dir/out/out" 2>"$dir/out/err"
status=$?
clean_end "typed" 0
check "typed: every byte arrives as it is" grep -qF "$(cat "$work/typed")" "$dir/out/out"

# --- ends from outside
bochs hang --timeout 1 --json "$dir/out/report.json"
clean_end "timeout" 124
check "timeout: the report has the word" grep -q '"timeout"' "$dir/out/report.json"
check "timeout: account" out "^  cpuid  *100  *200  *300$"
# a process and its child by their numbers; TMPDIR shows when it is under way
begin() { # MODE
	: >"$dir/out/out" # not what the last run has shown
	# Under nohup SIGHUP would be ignored, as it should be.
	FAKE_MODE=$1 env --default-signal=HUP "$postern" run -k "$dir/kernel" --cpu westmere \
		</dev/null >"$dir/out/out" 2>"$dir/out/err" &
	job=$!
	for _ in $(seq 100); do
		grep -q "guest speaking" "$dir/out/out" && break
		sleep 0.1
	done
	child=$(pgrep -P "$job")
	check "$1: under way" [ -n "$child" ]
}
gone() { # up to 5 s
	for _ in $(seq 50); do
		kill -0 "$child" 2>/dev/null || return 0
		sleep 0.1
	done
	return 1
}
for signal in TERM HUP; do
	begin hang
	kill -$signal "$job"
	wait "$job"
	status=$?
	clean_end "SIG$signal" 130
	check "SIG$signal: no process is left" gone
	check "SIG$signal: account" out "^  cpuid  *100  *200  *300$"
done
begin deaf
kill -TERM "$job"
sleep 0.5
kill -TERM "$job"
wait "$job"
status=$?
clean_end "second signal" 130
check "second signal: no process is left" gone
begin deaf
kill -KILL "$job"
wait "$job" 2>/dev/null
check "killed itself: Bochs dies with it" gone
rm -rf "$TMPDIR"
mkdir "$TMPDIR"
bochs die
clean_end "killed" 74
check "killed: says by what" err "^postern: Bochs was killed by signal 9"
check "killed: account so far" out "^  cpuid  *100  *200  *300$"
bochs bochs-refuse
clean_end "refuses" 69
check "refuses: its reason in one line" err "^postern: Bochs ended with status 1 before the image ran: boom$"
check "refuses: one line" one_line
bochs vanish
clean_end "ends at once without a word" 69
check "ends at once without a word: one line" one_line
FAKE_CODE=1 FAKE_LINE="error: configuration: x" bochs refusal
clean_end "image refuses" 78
check "image refuses: why" err "^postern: the image refuses: configuration: x$"

# --- what it is given
bochs inputs -c 3 --pcpus 3 -m 64M --vm --cpu westmere -m 128M --multiboot "$dir/kernel"
clean_end "inputs" 0
check "inputs: model and processors" out "^cpu: model=tigerlake, count=3,"
check "inputs: memory for all, the host's too" out "^memory: guest=304, host=304$"
check "inputs: configuration" out "^cpu=westmere$"
check "inputs: lines" out "^multiboot2 /postern.elf input=com3$"
check "inputs: files" out "^module2 /kernel1 multiboot1$"
check "inputs: one host thread, no processor in reserve" out "^reserve-boot-cpu=0$"

# --- refusals
refused_run "instructions counted" 64 "--icount: QEMU counts instructions, and --cpu westmere runs on Bochs" \
	--icount
refused_run "two vendors" 64 "not both westmere and rome" --vm --cpu rome
refused_run "more processors than Bochs has" 64 "--pcpus 9: at most 8 on Bochs" --pcpus 9
refused_run "more memory than Bochs has" 64 "-m: 2048M are too much for Bochs" -m 2G
refused_run "no room for Postern" 64 "-m: with Postern and its files it takes" -m 1980M
POSTERN_BOCHS=/nonexistent/bochs \
	refused_run "no Bochs" 69 "cannot start Bochs (/nonexistent/bochs): .*Debian's packages are bochs, bochs-term"
tools="$work/bin"
mkdir "$tools"
for tool in timeout wc grep ls sed head chmod ln; do
	ln -s "$(command -v $tool)" "$tools/$tool"
done
usual=$PATH
PATH=$tools
POSTERN_BOCHS='' refused_run "no Bochs on the path" 69 "cannot start Bochs (bochs): No such file"
refused_run "no grub-mkrescue" 69 "grub-mkrescue is missing; Debian's packages are "
printf '#!/bin/sh\necho first; echo "no space on planet" >&2; exit 3\n' >"$tools/grub-mkrescue"
chmod +x "$tools/grub-mkrescue"
refused_run "no xorriso" 69 "xorriso is missing"
ln -s /bin/true "$tools/xorriso"
refused_run "CD cannot be made" 71 "grub-mkrescue: no space on planet"
PATH=$usual
FAKE_HELP="I am somebody else" refused_run "no Bochs but something else" 69 "its --help is not Bochs's"
FAKE_HELP="Usage: bochs [flags] [bochsrc options]" \
	refused_run "Bochs without its debugger" 68 "is built without its debugger"
BXSHARE=/nonexistent refused_run "no firmware" 69 "/nonexistent/BIOS-bochs-latest is missing; Debian's packages"
LTDL_LIBRARY_PATH=$work refused_run "no screen" 69 "$work/libbx_term_gui.so is missing; Debian's packages .*bochs-term"

echo "# host command on Bochs: $passed passed, $failed failed"
[ "$failed" = 0 ]
