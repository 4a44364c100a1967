#!/bin/bash
# SPDX-License-Identifier: MIT
# A real S3 server on loopback, for tests: the Ceph RADOS Gateway on top of
# one monitor and one storage daemon that keeps objects in memory.
#
#   s3-server.sh start DIR PORT ACCESS_KEY SECRET_KEY
#   s3-server.sh tls DIR PORT
#   s3-server.sh empty DIR BUCKET
#   s3-server.sh stop DIR
#
# start returns when the gateway answers (about 12 s) and also uses PORT+1.
# tls adds a second gateway to the same objects, https at PORT+2, its
# certificate in DIR/ca.pem. empty removes a bucket and gives its memory back.
# Both signature versions are checked, for real. Objects live until stop,
# which removes DIR as well. Needs ceph-mon, ceph-osd, radosgw, ceph-common.
set -euo pipefail

usage() {
	echo "usage: s3-server.sh start DIR PORT ACCESS_KEY SECRET_KEY |" \
		"tls DIR PORT | empty DIR BUCKET | stop DIR" >&2
	exit 2
}

# Its daemons, by what they wrote themselves; nothing has to be flushed.
kill_daemons() {
	local file pid
	for file in "$dir"/run/*.pid; do
		[ -e "$file" ] || continue
		pid=$(cat "$file")
		if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null |
			grep -qF "$dir/ceph.conf"; then
			kill -KILL "$pid"
		fi
	done
}

write_conf() {
	cat >"$dir/ceph.conf" <<-CONF
	[global]
	fsid = $fsid
	run dir = $dir/run
	pid file = $dir/run/\$name.pid
	admin socket = $dir/run/\$name.sock
	log file = $dir/log/\$name.log
	mon cluster log file = $dir/log/cluster.log
	keyring = $dir/keyring

	# loopback only, IPv4 only
	mon host = v2:127.0.0.1:$((port + 1))
	public addr = 127.0.0.1
	cluster addr = 127.0.0.1
	ms bind ipv6 = false
	auth allow insecure global id reclaim = false

	# one of each, and one copy of everything, in memory
	mon data = $dir/mon
	mon data avail crit = 1
	mon allow pool size one = true
	osd data = $dir/osd
	osd objectstore = memstore
	memstore device bytes = 4294967296
	osd pool default size = 1
	osd pool default min size = 1
	osd pool default pg num = 1
	osd crush chooseleaf type = 0

	rgw frontends = beast endpoint=127.0.0.1:$port
	CONF
}

start_monitor() {
	local keys=$dir/keyring
	ceph-authtool -C "$keys" --gen-key -n mon. --cap mon 'allow *'
	ceph-authtool "$keys" --gen-key -n client.admin --cap mon 'allow *' \
		--cap osd 'allow *' --cap mgr 'allow *'
	ceph-authtool "$keys" --gen-key -n osd.0 --cap mon 'allow profile osd' \
		--cap osd 'allow *'
	monmaptool --create --clobber --fsid "$fsid" \
		--addv a "v2:127.0.0.1:$((port + 1))" "$dir/monmap"
	ceph-mon -c "$dir/ceph.conf" -i a --mkfs --monmap "$dir/monmap" \
		--keyring "$keys"
	ceph-mon -c "$dir/ceph.conf" -i a
	ceph -c "$dir/ceph.conf" --connect-timeout 20 auth import -i "$keys"
}

start_storage() {
	local osd
	osd=$(uuidgen)
	ceph -c "$dir/ceph.conf" --connect-timeout 20 osd new "$osd"
	ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$osd"
	ceph-osd -c "$dir/ceph.conf" -i 0
}

start_gateway() {
	timeout 60 radosgw-admin -c "$dir/ceph.conf" user create --uid rushes \
		--display-name rushes --access-key "$1" --secret-key "$2"
	radosgw -c "$dir/ceph.conf" -n client.admin
	await "http://127.0.0.1:$port/"
}

# Stopped with the others: its pid file is in the same folder.
start_tls_gateway() {
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
		-addext subjectAltName=IP:127.0.0.1,DNS:localhost \
		-keyout "$dir/key.pem" -out "$dir/ca.pem"
	radosgw -c "$dir/ceph.conf" -n client.admin \
		--pid-file "$dir/run/tls.pid" \
		--admin-socket "$dir/run/tls.sock" \
		--log-file "$dir/log/tls.log" --rgw-frontends="beast \
		ssl_endpoint=127.0.0.1:$((port + 2)) \
		ssl_certificate=$dir/ca.pem ssl_private_key=$dir/key.pem"
	await "https://127.0.0.1:$((port + 2))/" --cacert "$dir/ca.pem"
}

await() {
	for ((i = 0; i < 150; i++)); do
		! curl -fs -m 1 -o /dev/null "$@" || return 0
		sleep 0.2
	done
	return 1
}

verb=${1:-}
dir=$(realpath -m "${2:-.}")
case $verb:$# in
stop:2)
	kill_daemons
	rm -rf "$dir"
	;;
start:5)
	port=$3 fsid=$(uuidgen)
	[ ! -e "$dir/ceph.conf" ] || { echo "$dir is in use" >&2; exit 2; }
	mkdir -p "$dir"/{mon,osd,run,log}
	chmod 700 "$dir"
	trap 'tail -n 20 "$dir/log/start.log" >&2; kill_daemons' ERR
	set -E
	write_conf
	{
		start_monitor
		start_storage
		start_gateway "$4" "$5"
	} >"$dir/log/start.log" 2>&1 </dev/null
	;;
tls:3)
	port=$3
	trap 'tail -n 20 "$dir/log/tls-start.log" >&2' ERR
	set -E
	start_tls_gateway >"$dir/log/tls-start.log" 2>&1 </dev/null
	;;
empty:3)
	{
		radosgw-admin -c "$dir/ceph.conf" bucket rm --bucket "$3" \
			--purge-objects --bypass-gc
		# What was written over waits for hours to be collected.
		radosgw-admin -c "$dir/ceph.conf" gc process --include-all
	} >"$dir/log/empty.log" 2>&1 </dev/null
	;;
*) usage ;;
esac
