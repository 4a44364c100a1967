#!/bin/bash
# SPDX-License-Identifier: MIT
# make check-systemd: Rushes on a real host, as docs/ASYNC_SETUP_GUIDE.md sets
# it up. TAP on standard output; the last line is "N passed, N failed".
#
# The host is this machine's own file system, copied on write into memory, and
# booted as a container with its own systemd, journald, nginx and PostgreSQL.
# Its clients and the providers (the simulator) are outside of it, on the same
# private loopback network, so they outlive its reboots. Mounts, processes and
# network are namespaces of this script: they end with it, however it ends,
# and nothing reaches the machine. Logs of a failure stay in
# $BUILD/tests/systemd.
#
#   TESTS='restart|reload' check.sh    the set-up, and tests named like that
#   BUILD=build                        the programs to install
#
# Needs root, Debian's systemd-container, and /usr, /etc and /var on the root
# file system; about 3 GiB of memory.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
root=$(realpath "$here/../..")
export BUILD=${BUILD:-build}
case $BUILD in
/*) kept=$BUILD/tests/systemd ;;
*) kept=$root/$BUILD/tests/systemd ;;
esac

if [ "$(id -u)" != 0 ]; then
	exec sudo env BUILD="$BUILD" TESTS="${TESTS:-}" CC="${CC:-}" \
		CFLAGS="${CFLAGS:-}" DEVELOPER="${DEVELOPER:-}" "$0" "$@"
fi

# ---- namespaces ----------------------------------------------------------

# A systemd of this machine must not take our processes for its own.
if [ -z "${CHECK_SYSTEMD_INSIDE:-}" ]; then
	export CHECK_SYSTEMD_INSIDE=1
	scope=()
	[ ! -d /run/systemd/system ] || scope=(systemd-run --quiet --scope
		--collect --property=Delegate=yes --)
	exec "${scope[@]}" unshare --mount --net --pid --fork --mount-proc \
		--kill-child --propagation private -- "$0" "$@"
fi

# Where no systemd is, nobody has made us a group of our own; without one, two
# runs would share theirs.
groups=()
make_groups() {
	local place
	for place in /sys/fs/cgroup{/systemd,/unified,}; do
		[ -w "$place/cgroup.procs" ] || continue
		groups+=("$place/rushes-check-$1")
		mkdir "$place/rushes-check-$1"
		echo $$ >"$place/rushes-check-$1/cgroup.procs"
	done
}

remove_groups() {
	local group
	for group in "${groups[@]}"; do
		echo $$ >"$(dirname "$group")/cgroup.procs"
		find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || :
	done
}

die() {
	echo "check-systemd: $*" >&2
	echo "0 passed, 1 failed"
	exit 2
}

for folder in /usr /etc /var; do
	! mountpoint -q "$folder" ||
		die "$folder is a file system of its own: not in the copy"
done

# ---- the host's file system ----------------------------------------------

rm -rf "$kept"
mkdir -p "$kept"
memory=$(mktemp -d /tmp/rushes-host-XXXXXX)
clean() {
	umount --lazy --recursive "$memory" 2>/dev/null || :
	rmdir "$memory"
	remove_groups
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ -d /run/systemd/system ] || make_groups "${memory##*-}"
mount -t tmpfs -o mode=755 rushes "$memory"
host=$memory/root
mkdir "$memory/upper" "$memory/work" "$host"
mount -t overlay rushes "$host" -o \
	"lowerdir=/,upperdir=$memory/upper,workdir=$memory/work"

# What this machine has of its own is not wanted there: as after installing
# Debian's packages, nginx and PostgreSQL are enabled, and there is no
# database cluster, no site of anybody's, and no Rushes.
clear_host() {
	rm -rf "$host"/etc/systemd/system/* "$host"/var/log/journal \
		"$host"/etc/postgresql/* "$host"/var/lib/postgresql/* \
		"$host"/var/log/postgresql/* "$host"/var/log/nginx/* \
		"$host"/etc/nginx/conf.d/* "$host"/etc/rushes \
		"$host"/var/lib/rushes "$host"/usr/local/lib/systemd/system/rushes*
	find "$host/etc/nginx/sites-enabled" -mindepth 1 ! -name default -delete
	rm -f "$host/etc/machine-id" "$host/etc/nginx/sites-available/rushes.conf"
	: >"$host/etc/fstab"
	mkdir -p "$host/var/log/journal" "$host/usr/src/rushes" \
		"$host/etc/systemd/system/multi-user.target.wants"
	ln -s /lib/systemd/system/nginx.service \
		/lib/systemd/system/postgresql.service \
		"$host/etc/systemd/system/multi-user.target.wants/"
	systemd-machine-id-setup --root="$host" >/dev/null 2>&1
}

# Its public name and a certificate, made by itself: all who are in the
# private network know both.
make_public() {
	local tls=$host/etc/ssl/rushes
	mkdir -p "$tls"
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 \
		-subj /CN=rushes.example.com \
		-addext subjectAltName=DNS:rushes.example.com \
		-keyout "$tls/privkey.pem" -out "$tls/fullchain.pem" 2>/dev/null
	chmod 600 "$tls/privkey.pem"
	cat "$tls/fullchain.pem" >>"$host/etc/ssl/certs/ca-certificates.crt"
	printf '127.0.0.1 localhost rushes.example.com\n' >"$host/etc/hosts"
	mount --bind "$host/etc/hosts" /etc/hosts
	mount --bind "$host/etc/ssl/certs/ca-certificates.crt" \
		/etc/ssl/certs/ca-certificates.crt
	export NODE_EXTRA_CA_CERTS=$tls/fullchain.pem
}

# The guide speaks of sudo, of an editor, and of packages that are there
# already (and in there is no network to ask for them).
make_tools() {
	local bin=$host/opt/guide
	mkdir -p "$bin"
	cat >"$bin/sudo" <<-'SUDO'
	#!/bin/sh
	[ "$1" = -u ] || exec "$@"
	user=$2
	shift 2
	exec runuser -u "$user" -- "$@"
	SUDO
	printf '#!/bin/sh\nexec sed -i -f /opt/guide/edit.sed "$@"\n' \
		>"$bin/sudoedit"
	printf '#!/bin/sh\necho "left out: apt-get $*"\n' >"$bin/apt-get"
	chmod 755 "$bin"/*
}

ip link set lo up
clear_host
make_public
make_tools

# ---- the tests -----------------------------------------------------------

# Not exec: somebody has to be there for processes whose parents end.
code=0
HOST_ROOT=$host HOST_LOGS=$kept node --test-reporter=tap \
	--test-name-pattern="^(set-up: |.*(${TESTS:-}))" \
	"$here/all.mjs" </dev/null | tee "$kept/tap" || code=$?

awk -v code="$code" -f "$here/../support/count-tap.awk" "$kept/tap"
