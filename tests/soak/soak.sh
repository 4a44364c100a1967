#!/bin/bash
# SPDX-License-Identifier: MIT
# make soak: load of every kind on a whole stack for some minutes; fails if
# memory or descriptors of our programs grow, or anything is answered or logged
# that should not be.
#
#   MINUTES=3      how long
#   BUILD=build    the programs, which have to be built without sanitizers
#
# The samples go to $BUILD/soak.json; logs of a stack that failed stay in
# $BUILD/tests/system/soak.
set -euo pipefail

cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
# shellcheck source=tests/support/stacks.sh
. tests/support/stacks.sh

node tests/soak/soak.mjs "${MINUTES:-3}"
