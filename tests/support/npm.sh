# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Sourced, from the root of the tree, by runners whose tests need packages of
# npm: installs those of tests/package-lock.json, or ends the run.

# npm's own stamp is newer than the lock file, or it is time to install.
npm_stamp=tests/node_modules/.package-lock.json
if [ ! -e "$npm_stamp" ] ||
	[ -n "$(find tests/package-lock.json -newer "$npm_stamp")" ]; then
	if ! npm --prefix tests ci >tests/npm.log 2>&1; then
		sed 's/^/# /' tests/npm.log
		echo "Bail out! npm ci failed; it needs the package registry once"
		exit 1
	fi
	rm -f tests/npm.log
fi
