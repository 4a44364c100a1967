#!/bin/sh
# SPDX-License-Identifier: MIT
# A private PostgreSQL cluster, reached by a unix socket only.
#
#   postgres.sh start DIR [NAME=VALUE...]   settings of postgresql.conf, for a
#                                           cluster that is made now
#   postgres.sh stop DIR
#   postgres.sh restart DIR [fast|immediate]
#
# DIR is absent, empty, or a cluster that start made earlier and that does not
# run; its path may have 80 characters. Afterwards
# it holds data/, log, and the socket: host=DIR user=postgres dbname=rushes.
# Nobody else can enter DIR, so connections inside it are trusted.
# PostgreSQL refuses to run as root; then it runs as an unprivileged user that
# exists already, and DIR must be in a place that user can reach.
set -eu

usage() {
	echo "usage: postgres.sh start DIR [NAME=VALUE...] | stop DIR |" \
		"restart DIR [fast|immediate]" >&2
	exit 2
}

# Run as the user PostgreSQL runs as.
as_user() {
	if [ "$(id -u)" = 0 ]; then
		user=postgres
		id -u postgres >/dev/null 2>&1 || user=nobody
		HOME=/ setpriv --reuid="$user" --regid="$(id -g "$user")" \
			--clear-groups "$@"
	else
		"$@"
	fi
}

start() {
	if [ -e "$dir/data/PG_VERSION" ]; then
		control -l "$dir/log" start
		return
	fi
	[ -z "$(ls -A "$dir")" ] || { echo "$dir is not empty" >&2; exit 2; }
	chmod 700 "$dir"
	if [ "$(id -u)" = 0 ]; then
		owner=$(id -u postgres 2>/dev/null || id -u nobody)
		chown "$owner" "$dir"
	fi
	cd /
	as_user test -w "$dir" || {
		echo "$dir is out of reach for the user PostgreSQL runs as" >&2
		exit 1
	}
	as_user "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 \
		--locale=C -N >/dev/null
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$dir'"
		echo "max_connections = 120"
		echo "shared_buffers = 64MB"
		echo "wal_level = minimal"
		echo "max_wal_senders = 0"
		echo "log_line_prefix = '%m [%p] %u '"
		for setting in "$@"; do
			echo "${setting%%=*} = ${setting#*=}"
		done
	} >>"$dir/data/postgresql.conf"
	control -l "$dir/log" start
	psql -q -X -h "$dir" -U postgres -d postgres \
		-c 'CREATE DATABASE rushes'
}

control() {
	cd /
	as_user "$bin/pg_ctl" -D "$dir/data" -w -t 60 -s "$@" </dev/null \
		>/dev/null 2>&1 || {
		echo "pg_ctl $* failed; the end of its log:" >&2
		tail -n 20 "$dir/log" >&2 || :
		return 1
	}
}

verb=${1:-}
[ $# -ge 2 ] || usage
mkdir -p "$2"
dir=$(realpath "$2")
shift 2
bin=$(pg_config --bindir)
PATH=$bin:$PATH

case $verb in
start) start "$@" ;;
stop)
	[ -e "$dir/data/postmaster.pid" ] || exit 0
	control -m fast stop || control -m immediate stop
	;;
restart) control -l "$dir/log" -m "${1:-fast}" restart ;;
*) usage ;;
esac
