#!/bin/sh
# SPDX-License-Identifier: MIT
# The providers' own SDKs against the simulator; TAP on standard output.
# SIMULATOR=program tests another build, NODE=program another node.
set -eu
cd "$(dirname "$0")"

node=${NODE:-node}
if ! command -v "$node" >/dev/null; then
	echo "Bail out! no node here: make deps-check installs it"
	exit 1
fi
simulator=${SIMULATOR:-../../build/rushes-simulator}
if [ ! -x "$simulator" ]; then
	echo "Bail out! $simulator is not built: run make"
	exit 1
fi
SIMULATOR=$(realpath "$simulator")
export SIMULATOR

# The stamp is newer than the lock file: what is installed is what it names.
if [ ! -e node_modules/.package-lock.json ] ||
	[ package-lock.json -nt node_modules/.package-lock.json ]; then
	if ! npm ci >npm.log 2>&1; then
		sed 's/^/# /' npm.log
		echo "Bail out! npm ci failed; it needs the package registry once"
		exit 1
	fi
	rm -f npm.log
fi
exec "$node" --test --test-reporter=tap "$@" \
	replicate.test.mjs fal.test.mjs google.test.mjs mischief.test.mjs
