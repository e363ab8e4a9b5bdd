#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What scripts/compare makes of reports, with a stand-in for `postern run`. Prints "ok" and "not ok" lines; fails if any is
# "not ok".

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
script=$(realpath "$(dirname "$0")/../../scripts/compare") || exit 2
output=$work
subject="compare: "
. "$(dirname "$0")/check.sh"
cd "$work" || exit 2
mkdir reports
export CPUS="rome broadwell" POSTERN=$work/postern

# Its report has a number for each processor that it has been called for.
cat >"$POSTERN" <<'END'
#!/bin/bash
echo "$*" >>"${0%/*}/calls"
[ -z "$FAKE_STATUS" ] || exit "$FAKE_STATUS"
while [ $# -gt 0 ]; do
	case $1 in
	--cpu) cpu=$2 ;;
	--json) json=$2 ;;
	esac
	shift
done
n=1
[ "$cpu" = rome ] || n=2
cat >"$json" <<REPORT
{
	"schema":	1,
	"cpu":	"$cpu",
	"exits":	{
		"cpuid":	${n}234,
		"hlt":	0
	},
	"model_overhead_exits":	7,
	"injected":	{ "ipi": 5 },
	"ipi":	{ "unicast": $n, "accelerated": 1234567 },
	"counters":	{ "hw-doorbells": 3, "doorbells": 4, "kicks": 5, "wakeups": 6, "posted-wakeups": 0,
		"accel-mismatches": 0 },
	"apicv":	{ "active_ns": 8999999 },
	"vcpu":	[ { "exits": { "cpuid": 99 } } ]
}
REPORT
END
chmod +x "$POSTERN"

cat >expected <<'END'
| | rome | broadwell |
|---|---|---|
| exits: `cpuid` | 1,234 | 2,234 |
| of the model's own, apart | 7 | 7 |
| IPIs to one vCPU, by software | 1 | 2 |
| IPIs, by the processor | 1,234,567 | 1,234,567 |
| notifications and doorbells, by the processor | 3 | 3 |
| the same, by software | 4 | 4 |
| kicks | 5 | 5 |
| wake-ups | 6 | 6 |
| of these, by the wakeup vector | 0 | 0 |
| acceleration in a wrong state | 0 | 0 |
| acceleration on, in ms | 8 | 8 |
END

compares() {
	"$script" reports -c 4 >out 2>err && diff expected out >&2
}
was_called() {
	[ "$(wc -l <calls)" -eq 2 ] && grep -q -- '--cpu broadwell .*-c 4$' calls
}
keeps_reports() {
	rm -f calls
	compares && [ ! -e calls ]
}
# Status 2 and one line behind the names of the processors; no report is left of a run that failed.
refuses() {
	local status
	"$@" >out 2>err
	status=$?
	[ $status -eq 2 ] && [ ! -s out ] && [ "$(grep -vc '^compare: [a-z-]*$' err)" -eq 1 ]
}
failed_run() {
	FAKE_STATUS=74 refuses "$script" other && [ -z "$(ls other/*.json 2>/dev/null)" ]
}

check "each processor has its column" compares
check "each is run once, with the options" was_called
check "a report that is there is not made again" keeps_reports
check "a run that fails" failed_run
check "no directory" refuses "$script"

[ "$failed" -eq 0 ]
