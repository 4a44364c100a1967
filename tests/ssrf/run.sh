#!/bin/bash
# SPDX-License-Identifier: MIT
# Forged addresses, in a network of their own where every address there is
# leads to this machine: what our filter lets through is connected, and seen.
# TAP on standard output.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin

# Namespaces of our own: no root is needed where the kernel lets users have
# them, which Debian 12's does.
if [ -z "${SSRF_INSIDE:-}" ]; then
	user=()
	[ "$(id -u)" = 0 ] || user=(--user --map-root-user)
	export SSRF_INSIDE=1
	exec unshare "${user[@]}" --net --mount "$0" "$@"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export SSRF_FOLDER=$folder

ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo
# A public address that nothing answers at.
ip route add unreachable 9.9.9.9/32 table local

# Names, and whom to believe, are ours to say.
printf 'nameserver 127.0.0.1\noptions timeout:2 attempts:1\n' >"$folder/resolv"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$folder/hosts"
printf 'hosts: files dns\n' >"$folder/nsswitch"
node "$here/forms.mjs" >"$folder/names"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
	-days 2 -subj /CN=ssrf -keyout "$folder/key.pem" \
	-out "$folder/cert.pem" -addext "subjectAltName=$(cat "$folder/names")" \
	2>"$folder/log" || { cat "$folder/log"; exit 1; }
mount --bind "$folder/resolv" /etc/resolv.conf
mount --bind "$folder/hosts" /etc/hosts
mount --bind "$folder/nsswitch" /etc/nsswitch.conf
mount --bind "$folder/cert.pem" /etc/ssl/certs/ca-certificates.crt

BUILD=$(realpath "${BUILD:-build}")
export BUILD
node --test --test-reporter=tap "$here/ssrf.test.mjs"
