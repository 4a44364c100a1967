#!/bin/sh
# SPDX-License-Identifier: MIT
# The providers' own SDKs against the simulator; TAP on standard output.
# SIMULATOR=program tests another build, NODE=program another node.
set -eu
root=$(realpath "$(dirname "$0")/../..")
cd "$root"
build=$(realpath "${BUILD:-build}")

node=${NODE:-node}
if ! command -v "$node" >/dev/null; then
	echo "Bail out! no node here: make deps-check installs it"
	exit 1
fi
simulator=${SIMULATOR:-$build/rushes-simulator}
if [ ! -x "$simulator" ]; then
	echo "Bail out! $simulator is not built: run make"
	exit 1
fi
SIMULATOR=$(realpath "$simulator")
export SIMULATOR

. tests/support/npm.sh
cd tests/sdk
exec "$node" --test --test-reporter=tap "$@" \
	replicate.test.mjs fal.test.mjs google.test.mjs mischief.test.mjs
