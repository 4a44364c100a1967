# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced, from the root of the tree, by runners whose tests have stacks: these
# live below one folder, $SYSTEM_TMP, so that what a run that was killed has
# left is found and stopped.

SYSTEM_TMP=$(mktemp -d "${TMPDIR:-/tmp}/rushes-XXXXXX")
export SYSTEM_TMP
chmod 711 "$SYSTEM_TMP"

stop_stacks() {
	local stack pid store
	for stack in "$SYSTEM_TMP"/*/stack; do
		[ ! -d "$stack" ] ||
			STACK_DIR=$stack tests/stack/stack.sh down || :
	done
	for store in "$SYSTEM_TMP"/*/rgw; do
		[ ! -d "$store" ] ||
			tests/support/s3-server.sh stop "$store" || :
	done
	for pid in "$SYSTEM_TMP"/*.pid; do
		[ ! -s "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || :
	done
	rm -rf "$SYSTEM_TMP"
}
# The trap is not run if the shell is replaced: no exec after this.
trap stop_stacks EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
