#!/bin/bash
# SPDX-License-Identifier: MIT
# Every fuzz target over the inputs in its corpus, as TAP: whatever a fuzzer
# has found once is tried for ever, without a fuzzer and with any compiler.
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 2
build=${BUILD:-build}
export LSAN_OPTIONS="suppressions=$PWD/tests/fuzz/lsan.supp"
output=$(mktemp)
trap 'rm -f "$output"' EXIT

count=0
failed=0
for source in tests/fuzz/*.c; do
	name=$(basename "$source" .c)
	[ "$name" != replay ] || continue
	count=$((count + 1))
	shopt -s nullglob
	inputs=("tests/fuzz/corpus/$name"/*)
	if [ ${#inputs[@]} = 0 ]; then
		echo "not ok $count - $name: its corpus is empty"
		failed=1
	elif timeout 120 "$build/tests/fuzz/$name" "${inputs[@]}" \
		>"$output" 2>&1; then
		echo "ok $count - $name ($(tail -n 1 "$output"))"
	else
		tail -n 40 "$output"
		echo "not ok $count - $name"
		failed=1
	fi
done
echo "1..$count"
exit "$failed"
