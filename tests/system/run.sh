#!/bin/bash
# SPDX-License-Identifier: MIT
# The black-box tests: real nginx, PostgreSQL and programs, a stack for each
# file. TAP on standard output.
#
#   run.sh                   all of them
#   run.sh FILE...           those (names in this folder will do)
#   QUICK=1 run.sh           the essential flows alone, under a minute
#   FILES_AT_ONCE=2          how many files run side by side
#   PATIENCE=4               every wait is so many times longer
#   BUILD=build-asan         the programs to test
#
# Logs of a stack whose tests failed stay in $BUILD/tests/system.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
cd "$here/../.."
export BUILD=${BUILD:-build}

# Sanitizers cost time.
case $BUILD in
*asan* | *tsan*) export PATIENCE=${PATIENCE:-4} ;;
esac

files=()
for file in "$@"; do
	[ -e "$file" ] || file=$here/$file
	files+=("$file")
done
if [ ${#files[@]} = 0 ] && [ -n "${QUICK:-}" ]; then
	files=("$here/main.test.mjs")
elif [ ${#files[@]} = 0 ]; then
	files=("$here"/*.test.mjs)
fi

. tests/support/npm.sh
. tests/support/stacks.sh

# Debian 12's node 18.20 and newer ones know these words.
node --import ./tests/system/contract.mjs --test --test-reporter=tap \
	--test-concurrency="${FILES_AT_ONCE:-2}" "${files[@]}"
