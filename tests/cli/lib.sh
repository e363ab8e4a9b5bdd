# SPDX-License-Identifier: BSD-2-Clause
# What the shell tests of the host command share: a place with awkward names, runs against the stand-in, and
# what is expected of them. Sourced with the script's own arguments: POSTERN FAKE_QEMU.
# shellcheck shell=sh
# shellcheck disable=SC2034 # the variables are for who sources this
# shellcheck disable=SC2089,SC2090 # the quotes in names are meant to be there

postern=$(realpath "$1") || exit 2
POSTERN_QEMU=$(realpath "$2") || exit 2
export POSTERN_QEMU

# Blanks, commas and quotes in every path: they must not meet QEMU's option syntax.
work=$(mktemp -d) || exit 2
dir="$work/a dir, with 'marks'"
TMPDIR="$dir/tmp"
mkdir -p "$TMPDIR" "$dir/out"
export TMPDIR
trap 'rm -rf "$work"' EXIT
echo image >"$dir/postern.elf"
echo kernel >"$dir/kernel"
POSTERN_IMAGE="$dir/postern.elf"
export POSTERN_IMAGE
mkdir "$dir/root"
echo content >"$dir/root/file"
(cd "$dir/root" && find . | cpio -o -H newc 2>/dev/null) >"$dir/initrd"

output=$dir/out
subject=
. "$(dirname "$0")/check.sh"

# run MODE ARGUMENT...: sets $status; output in out/out and out/err
run() {
	FAKE_MODE=$1
	export FAKE_MODE
	shift
	timeout 20 "$postern" run -k "$dir/kernel" "$@" >"$dir/out/out" 2>"$dir/out/err" </dev/null
	status=$?
}
out() { grep -q -- "$1" "$dir/out/out"; }
lacks() { ! out "$1"; }
err() { grep -q -- "$1" "$dir/out/err"; }
silent_err() { [ ! -s "$dir/out/err" ]; }
one_line() { [ "$(wc -l <"$dir/out/err")" = 1 ] && err "^postern: "; }
is() { [ "$1" = "$2" ]; }
seen= # statuses that some test has shown
clean() { [ -z "$(ls -A "$TMPDIR")" ]; }
# clean_end NAME STATUS: the status, no trace in the temporary directory
clean_end() {
	seen="$seen $status"
	check "$1: status $2 (is $status)" is "$status" "$2"
	check "$1: nothing left behind" clean
}
# refused NAME STATUS PATTERN ARGUMENT...: refused before anything starts, in one line
refused() {
	case=$1 want=$2 pattern=$3
	shift 3
	timeout 20 "$postern" "$@" >"$dir/out/out" 2>"$dir/out/err" </dev/null
	status=$?
	seen="$seen $status"
	check "$case: status $want (is $status)" is "$status" "$want"
	check "$case: says so in one line" one_line
	check "$case: names it" err "$pattern"
	check "$case: nothing left behind" clean
}
