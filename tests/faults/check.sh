#!/bin/bash
# SPDX-License-Identifier: MIT
# make check-faults: faults injected for real, and judged by the ledgers. TAP
# on standard output; the last line is "N passed, N failed".
#
#   check.sh                 all runs
#   check.sh kills           those (names of this folder's *.test.mjs)
#   QUICK=1                  100 kills rather than 2,000, and so on; minutes
#   TESTS=PATTERN            those of its tests whose names match
#   SEED=N                   repeat what chance decided; every run prints it
#                            (without it or TESTS, those in "seeds" follow)
#   FILES_AT_ONCE=3          how many runs side by side (1; QUICK: 3)
#   BUILD=build PATIENCE=4   as for tests/system/run.sh
#
# Each run has a whole stack of its own. judge.mjs compares the simulator's
# ledger, the store and the database when all is quiet, and fails a run whose
# faults did not happen; the run "judge" shows that it sees each lie. kills:
# kill -9 of API and pollers. webhooks: doubled, reordered, late, early, forged
# and lost. postgres: restarts, backends ended and killed, a foreign
# transaction, no connection free. zombies: pollers stopped past their lease.
# provider: starts and looks that go wrong. herd: everybody wants a provider
# at once after its outage; Retry-After in each form. cuts: a connection to
# PostgreSQL cut after each byte. conflicts: serialization failures and
# deadlocks, raised in each table and at commit. returns: how soon work goes on
# when PostgreSQL is back. silence: a network that loses everything and says
# nothing. clocks: set by 30 days, ours and the database's. names: name servers
# that fail, and names that lead where nobody may go. store: an S3 store that
# misbehaves. disk: a file system that hangs for a while (as root). points: a
# crash before and after each single call with which poller and API touch the
# world (shim.c). exhaustion: each allocation fails, the kernel kills for memory
# (where a memory cgroup can be made), no descriptors, files that may not grow,
# a full disk (as root).
#
# Logs of a stack whose run failed stay in $BUILD/tests/system.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
cd "$here/../.."
export BUILD=${BUILD:-build}
case $BUILD in
*asan* | *tsan*) export PATIENCE=${PATIENCE:-4} ;;
esac

at_once=${FILES_AT_ONCE:-$([ -z "${QUICK:-}" ] && echo 1 || echo 3)}

files=()
for name in "$@"; do
	files+=("$here/$name.test.mjs")
done
[ $# != 0 ] || files=("$here"/*.test.mjs)

. tests/support/stacks.sh

code=0
node --test --test-reporter=tap --test-concurrency="$at_once" \
	${TESTS:+--test-name-pattern="$TESTS"} \
	"${files[@]}" </dev/null | tee "$SYSTEM_TMP/tap" || code=$?

# Seeds that once failed, unless one was given.
wanted() {
	local file
	for file in "${files[@]}"; do
		[ "$file" != "$here/$1.test.mjs" ] || return 0
	done
	return 1
}
while [ -z "${SEED:-}${TESTS:-}" ] && read -r name seed why; do
	case $name in "" | "#"*) continue ;; esac
	wanted "$name" || continue
	echo "# $name again with SEED=$seed: $why"
	SEED=$seed node --test --test-reporter=tap "$here/$name.test.mjs" \
		</dev/null | tee -a "$SYSTEM_TMP/tap" || code=$?
done <"$here/seeds"

awk -v code="$code" -f tests/support/count-tap.awk "$SYSTEM_TMP/tap"
