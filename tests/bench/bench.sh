#!/bin/bash
# SPDX-License-Identifier: MIT
# The benchmarks: what Rushes exists for, each beside the limit of this machine
# measured in the same run. Prints tables and writes $BUILD/bench/CASE.json.
#
#   bench.sh [CASE...]    all cases, or those; the names are those of case/
#   FULL=1                the largest ones too (20 GB of disk, given back)
#   RUNS=3                how often ours and the limit take turns
#   STORES="file,S3 v2"   of "transfer" these stores alone
#   PIPELINES="8 MiB"     of "pipeline" these alone
#   PROFILE=1             also print which statements cost most
#
# Only ratios of one run can be compared: machines differ, and so do days.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
cd "$here/../.."
export BUILD=${BUILD:-build}

. tests/support/stacks.sh

node "$here/bench.mjs" "$@"
