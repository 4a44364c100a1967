#!/bin/bash
# SPDX-License-Identifier: MIT
# The S3 stores against a real Ceph RADOS Gateway, on http and on https.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../..")
cd "$root"
scratch=$(mktemp -d)
gateway=$scratch/gateway
stop() {
	tests/support/s3-server.sh stop "$gateway" || true
	rm -rf "$scratch"
}
trap stop EXIT
trap 'exit 1' INT TERM HUP

# Three ports in a row. Somebody may take one between here and there; then
# another set is tried.
free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 10000))
		! ss -Hltn "sport >= :$port and sport <= :$((port + 2))" |
			grep -q . && break
	done
	echo "$port"
}

secret=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
for try in 1 2 3; do
	port=$(free_port)
	if tests/support/s3-server.sh start "$gateway" "$port" tester "$secret"; then
		break
	fi
	tests/support/s3-server.sh stop "$gateway" || true
	[ "$try" != 3 ] || exit 1
done

tests/support/s3-server.sh tls "$gateway" "$port"

# By a name it might be another machine, so what is sent there is signed.
S3_TEST_URL=http://127.0.0.1:$port \
	S3_TEST_NAMED_URL=http://s3.localhost:$port \
	S3_TEST_TLS_URL=https://127.0.0.1:$((port + 2)) \
	S3_TEST_CA_FILE=$gateway/ca.pem S3_TEST_SECRET=$secret \
	"${BUILD:-build}/tests/store/store_test"
