#!/bin/bash
# SPDX-License-Identifier: MIT
# The benchmarks: what Rushes exists for, each beside the limit of this machine
# measured in the same run. Prints tables and writes $BUILD/bench/CASE.json.
#
#   bench.sh [CASE...]    all cases, or those; the names are those of case/
#   FULL=1                the largest ones too (20 GB of disk, given back)
#   RUNS=3                how often ours and the limit take turns
#   PROFILE=1             also print which statements cost most
#
# Only ratios of one run can be compared: machines differ, and so do days.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
cd "$here/../.."
export BUILD=${BUILD:-build}

# All that a run makes lies below one folder, so that one that was killed
# leaves nothing running.
SYSTEM_TMP=$(mktemp -d "${TMPDIR:-/tmp}/rushes-XXXXXX")
export SYSTEM_TMP
chmod 711 "$SYSTEM_TMP"
clean() {
	for stack in "$SYSTEM_TMP"/*/stack; do
		[ ! -d "$stack" ] ||
			STACK_DIR=$stack tests/stack/stack.sh down || :
	done
	for pid in "$SYSTEM_TMP"/hello-*.pid; do
		[ ! -s "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || :
	done
	rm -rf "$SYSTEM_TMP"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Not under exec: the trap has to run.
node "$here/bench.mjs" "$@"
