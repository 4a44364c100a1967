#!/bin/sh
# SPDX-License-Identifier: MIT
# The providers' own SDKs against the simulator; TAP on standard output.
# SIMULATOR=program tests another build, NODE=program another node.
set -eu
root=$(realpath "$(dirname "$0")/../..")
cd "$root"
build=$(realpath "${BUILD:-build}")
cd tests/sdk

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

# npm's own stamp is newer than the lock file, or it is time to install.
stamp=node_modules/.package-lock.json
if [ ! -e "$stamp" ] ||
	[ -n "$(find package-lock.json -newer "$stamp")" ]; then
	if ! npm ci >npm.log 2>&1; then
		sed 's/^/# /' npm.log
		echo "Bail out! npm ci failed; it needs the package registry once"
		exit 1
	fi
	rm -f npm.log
fi
exec "$node" --test --test-reporter=tap "$@" \
	replicate.test.mjs fal.test.mjs google.test.mjs mischief.test.mjs
