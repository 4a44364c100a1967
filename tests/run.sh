#!/bin/bash
# SPDX-License-Identifier: MIT
# Run every suite and count: the last line is "N passed, N failed".
#
# A suite is a unit test program in $BUILD/tests/unit, or a tests/*/run.sh.
# What counts as a test is read from what the runners print: cmocka's results,
# node's summary, TAP. A suite that ends badly or ran no test at all has
# failed once more, whatever it counted.
#
#   ONLY=unit,db,system   only suites of these names
#   VERBOSE=1             show all output as it comes
#   WRAP='valgrind -q'    run unit tests by this
set -uo pipefail

root=$(realpath "$(dirname "$0")/..")
cd "$root" || exit 2
export BUILD="${BUILD:-build}"
# Sizes that no memory has are asked for, and are to fail as they do elsewhere.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:allocator_may_return_null=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=0:exitcode=66:allocator_may_return_null=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"
export LSAN_OPTIONS="${LSAN_OPTIONS:-suppressions=$root/tests/support/lsan.supp}"
unset STACK_DIR PORT KEEP # a suite's stacks are its own

passed=0
failed=0
started=$SECONDS
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

# count FILE: "passed failed", from all the summaries in it.
# cmocka: "[  PASSED  ] 7 test(s)." and "[  FAILED  ] 2 test(s), listed below:"
# node:   "# pass 7", "# fail 2" (TAP), or the same after an "i" sign (spec)
# TAP:    "ok 1 - name", "not ok 2 - name", where there is no such summary
count() {
	sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
	/^\[  PASSED  \] [0-9]+ test/ { pass += $4; summed = 1 }
	/^\[  FAILED  \] [0-9]+ test/ { fail += $4; summed = 1 }
	/^(#|ℹ) pass [0-9]+$/ { pass += $3; summed = 1 }
	/^(#|ℹ) (fail|cancelled) [0-9]+$/ { fail += $3; summed = 1 }
	/^ok [0-9]+/ { tap_pass++ }
	/^not ok [0-9]+/ { tap_fail++ }
	END {
		if (!summed) { pass = tap_pass; fail = tap_fail }
		print pass + 0, fail + 0
	}'
}

# suite NAME COMMAND...
suite() {
	local name=$1 log=$scratch/log code=0 good bad begun=$SECONDS
	shift
	if [ -n "${VERBOSE:-}" ]; then
		"$@" </dev/null 2>&1 | tee "$log"
		code=${PIPESTATUS[0]}
	else
		"$@" </dev/null >"$log" 2>&1
		code=$?
	fi
	read -r good bad < <(count "$log")
	if [ "$code" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
		echo "exit status $code without a failed test" >>"$log"
	elif [ "$code" = 0 ] && [ $((good + bad)) = 0 ]; then
		bad=1
		echo "no test ran" >>"$log"
	fi
	passed=$((passed + good))
	failed=$((failed + bad))
	if [ "$bad" = 0 ]; then
		printf 'ok   %-50s %4d tests %4d s\n' "$name" "$good" \
			$((SECONDS - begun))
	else
		[ -n "${VERBOSE:-}" ] || sed 's/^/    /' "$log"
		printf 'FAIL %-50s %4d of %d failed\n' "$name" "$bad" \
			$((good + bad))
	fi
}

wanted() {
	case ",${ONLY:-$1}," in *",$1,"*) return 0 ;; esac
	return 1
}

if wanted unit; then
	while read -r source; do
		# shellcheck disable=SC2086 # a command and its options
		suite "${source%.c}" ${WRAP:-} "$BUILD/${source%.c}"
	done < <(find tests/unit -name '*_test.c' | LC_ALL=C sort)
fi
for run in tests/*/run.sh; do
	name=$(basename "$(dirname "$run")")
	! wanted "$name" || suite "$name" "$run"
done

printf 'in %d min %d s\n' $(((SECONDS - started) / 60)) \
	$(((SECONDS - started) % 60))
[ $((passed + failed)) != 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
