#!/bin/bash
# SPDX-License-Identifier: MIT
# That the judge of "make soak" sees what it is there for. TAP on standard
# output.
set -euo pipefail

cd "$(dirname "$0")"
node --test --test-reporter=tap line.test.mjs
