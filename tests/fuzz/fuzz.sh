#!/bin/bash
# SPDX-License-Identifier: MIT
# Look for inputs that break a contract: "make fuzz" builds the targets with
# libFuzzer and sanitizers, this runs each for TIME seconds, or FUZZ= only.
# What it learns stays in build/fuzz/NAME/corpus and is where the next run
# goes on; an input that breaks something is left beside it.
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 2
programs=${BUILD:-build-fuzz}/tests/fuzz
export LSAN_OPTIONS="suppressions=$PWD/tests/fuzz/lsan.supp"
export ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"

failed=0
found=0
for source in tests/fuzz/*.c; do
	name=$(basename "$source" .c)
	[ "$name" != replay ] || continue
	[ "${FUZZ:-$name}" = "$name" ] || continue
	found=1
	work=build/fuzz/$name
	mkdir -p "$work/corpus"
	if "$programs/$name" -max_total_time="${TIME:-60}" -timeout=60 \
		-rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
		-artifact_prefix="$work/" "$work/corpus" \
		"tests/fuzz/corpus/$name" >"$work/log" 2>&1; then
		awk -v name="$name" '
			/^stat::number_of_executed_units/ { units = $2 }
			/ cov: [0-9]+ / {
				for (i = 1; i < NF; i++)
					if ($i == "cov:") cov = $(i + 1)
			}
			END {
				printf "ok   %-12s %10d executions, %d edges\n",
					name, units, cov
			}' "$work/log"
	else
		failed=1
		grep -vE '^#[0-9]+[[:space:]]' "$work/log" | tail -n 60
		echo "FAIL $name: $(sed -n 's/.*Test unit written to //p' \
			"$work/log" | tail -n 1)"
	fi
done
[ "$found" = 1 ] || { echo "no target ${FUZZ:-}" >&2; exit 2; }
exit "$failed"
