#!/bin/bash
# SPDX-License-Identifier: MIT
# A whole Rushes on one machine, in the background: make up, make down.
#
#   stack.sh up       start it, or say that it runs already
#   stack.sh down     stop all of it, also what a failed "up" left
#   stack.sh status   what runs; exit 0 if all of it does
#
# STACK_DIR (build/stack) holds everything: env (shell assignments for those
# who use the stack), logs/, run/ (sockets, pids), store/ (media; stays when
# the stack goes), pg/ (a new database each time). PORT is nginx's port; a
# free one is taken by default. Settings of the environment (STORE_URL=,
# POLLER_PERIOD_S=, ...) reach the programs; only the database is always the
# stack's own. SIMULATOR_ARGS are more arguments for the simulator,
# POSTGRES_SETTINGS (NAME=VALUE ...) more settings for the database server.
# DATABASE_TCP is where both programs reach it by TCP, if it is to listen there.
# RESTART_TIRED_MS (1000) is the pause after a program that ended within a second.
#
# Several stacks with different STACK_DIRs do not disturb each other.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../..")
build=$(realpath -m "${BUILD:-$root/build}")
dir=$(realpath -m "${STACK_DIR:-$root/build/stack}")
umask 022

# ---- small tools ---------------------------------------------------------

say() {
	echo "stack: $*" >&2
}

# die LOG SENTENCE...: the end of the log that matters, then the sentence
die() {
	local log=$1
	shift
	if [ -n "$log" ] && [ -s "$log" ]; then
		echo "---- the end of $log" >&2
		tail -n 25 "$log" >&2
		echo "----" >&2
	fi
	say "$*"
	exit 1
}

# A process that is there and is not a zombie.
alive() {
	[ -r "/proc/$1/stat" ] || return 1
	case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in
	Z* | X* | "") return 1 ;;
	esac
}

# pid_of NAME: the pid in run/NAME.pid if that process is (still) this stack's,
# so that a number that was used again is never signalled.
pid_of() {
	local pid
	pid=$(head -n 1 "$dir/run/$1.pid" 2>/dev/null) || return 1
	[ -n "$pid" ] && alive "$pid" || return 1
	tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "${2:-$1}" ||
		return 1
	echo "$pid"
}

# end NAME SIGNAL SECONDS [WORD]: signal it, wait, kill it if it will not go
end() {
	local pid
	pid=$(pid_of "$1" "${4:-$1}") || {
		rm -f "$dir/run/$1.pid"
		return 0
	}
	kill "-$2" "$pid" 2>/dev/null || :
	for ((i = 0; i < $3 * 20; i++)); do
		alive "$pid" || break
		sleep 0.05
	done
	if alive "$pid"; then
		say "$1 ($pid) does not end: SIGKILL"
		kill -KILL "$pid" 2>/dev/null || :
	fi
	rm -f "$dir/run/$1.pid"
}

# wait_for SECONDS COMMAND...
wait_for() {
	local tries=$(($1 * 20))
	shift
	for ((i = 0; i < tries; i++)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.05
	done
	return 1
}

answers() {
	curl -fsS -m 2 -o /dev/null "$1"
}

# ---- folders -------------------------------------------------------------

# A unix socket's path ends at 107 bytes, and root's PostgreSQL runs as a user
# who may not be able to enter our folder: then run/ and pg/ are links into a
# short folder that it can. So they are if ours has blanks in its path, which a
# database's address does not take.
reachable() {
	local as
	[ ${#dir} -le 80 ] || return 1
	case $dir in *[[:space:]]*) return 1 ;; esac
	[ "$(id -u)" = 0 ] || return 0
	as=$(id -u postgres 2>/dev/null || id -u nobody)
	setpriv --reuid="$as" --clear-groups test -x "$dir"
}

make_folders() {
	mkdir -p "$dir"/{logs,nginx,store}
	rm -f "$dir"/logs/*
	base=$dir
	if ! reachable; then
		base=$(mktemp -d /tmp/rushes-XXXXXX)
		chmod 711 "$base"
		ln -sfn "$base" "$dir/short"
		ln -sfn "$base/run" "$dir/run"
		ln -sfn "$base/pg" "$dir/pg"
	fi
	mkdir -p "$base/run"
	chmod 711 "$base/run"
	run=$base/run
}

remove_folders() {
	local short
	short=$(readlink "$dir/short" 2>/dev/null) || short=
	case $short in /tmp/rushes-??????) rm -rf "$short" ;; esac
	rm -rf "$dir/short" "$dir/run" "$dir/pg" "$dir/nginx" "$dir/env"
}

# ---- the parts, in the order they start ----------------------------------

start_postgres() {
	ln -sfn "$base/pg/log" "$dir/logs/postgres.log"
	# shellcheck disable=SC2086 # a list of words
	"$root/tests/support/postgres.sh" start "$base/pg" \
		${POSTGRES_SETTINGS:-} ||
		die "$dir/logs/postgres.log" "PostgreSQL does not start"
	database_admin_url="postgresql:///rushes?host=$base/pg&user=postgres"
	database_program_url="postgresql:///rushes?host=${DATABASE_TCP:-$base/pg}&user=postgres"
	database_fcgi_url=$database_program_url
	database_poller_url=$database_program_url
}

stop_postgres() {
	[ ! -e "$dir/pg" ] || "$root/tests/support/postgres.sh" stop "$dir/pg"
}

free_port() {
	local port
	for ((i = 0; i < 100; i++)); do
		port=$((20000 + RANDOM % 12000))
		(: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
		echo "$port"
		return
	done
	die "" "no free port"
}

nginx_conf() {
	local conf=$dir/nginx mime
	mime=$(nginx -V 2>&1 | sed -n 's/.*--conf-path=\([^ ]*\).*/\1/p')
	mime=$(dirname "${mime:-/etc/nginx/nginx.conf}")/mime.types
	mkdir -p "$conf/snippets"
	for file in http locations refused fastcgi; do
		sed -e "s,/run/rushes/fcgi.sock,$run/fcgi.sock,g" \
			-e "s,/var/lib/rushes/media/\$1,\"$store_dir/\$1\",g" \
			-e "s,/var/log/nginx/rushes.error.log,\"$dir/logs/nginx-error.log\",g" \
			"$root/nginx/rushes-$file.conf" \
			>"$conf/snippets/rushes-$file.conf"
	done
	# As root nginx would serve as nobody, who may not enter our folders.
	local user=
	[ "$(id -u)" != 0 ] || user="user root;"
	sed -e "s,@USER@,$user," -e "s,@MIME@,$mime," -e "s,@PORT@,$1,g" \
		-e "s,@DIR@/run,$run,g" -e "s,@DIR@,$dir,g" \
		"$root/nginx/stack.conf.in" >"$conf/nginx.conf"
}

# Somebody may take a port between our look and nginx's: then try another.
start_nginx() {
	local log=$dir/logs/nginx-error.log tries=5
	[ -z "${PORT:-}" ] || tries=1
	for ((n = 0; n < tries; n++)); do
		port=${PORT:-$(free_port)}
		nginx_conf "$port"
		if nginx -e "$log" -p "$dir/nginx/" -c "$dir/nginx/nginx.conf" \
			</dev/null >/dev/null 2>&1; then
			base_url=http://127.0.0.1:$port
			return
		fi
	done
	die "$log" "nginx does not start on port $port"
}

start_simulator() {
	local log=$dir/logs/simulator.log
	# shellcheck disable=SC2086 # a list of words
	setsid "$build/rushes-simulator" --port 0 \
		--port-file "$run/simulator.port" \
		--ledger "$dir/logs/ledger.jsonl" \
		--service-account "$run/service-account.json" \
		${SIMULATOR_ARGS:-} </dev/null >>"$log" 2>&1 &
	echo $! >"$run/simulator.pid"
	wait_for 10 test -s "$run/simulator.port" ||
		die "$log" "the simulator does not start"
	simulator_url=http://127.0.0.1:$(cat "$run/simulator.port")
}

# Whatever the environment has not set is what this stack needs.
settings() {
	local secret=whsec_cnVzaGVzLXNpbXVsYXRvci13ZWJob29rLWtleS0wMDE=
	local sim=$simulator_url
	export ALLOW_LOOPBACK=${ALLOW_LOOPBACK:-1}
	export API_BASE_URL=${API_BASE_URL:-$base_url}
	export STORE_URL=${STORE_URL:-file://$store_dir}
	export WAKE_SOCKET=${WAKE_SOCKET:-$run/wake.sock}
	export POLLER_PERIOD_S=${POLLER_PERIOD_S:-10}
	export REPLICATE_BASE_URL=${REPLICATE_BASE_URL:-$sim/replicate/v1}
	export REPLICATE_API_TOKEN=${REPLICATE_API_TOKEN-r8_simulated}
	export REPLICATE_WEBHOOK_SECRET=${REPLICATE_WEBHOOK_SECRET-$secret}
	export FAL_QUEUE_URL=${FAL_QUEUE_URL:-$sim/fal/queue}
	export FAL_API_URL=${FAL_API_URL:-$sim/fal/api/v1}
	export FAL_JWKS_URL=${FAL_JWKS_URL:-$sim/fal/rest/.well-known/jwks.json}
	export FAL_KEY=${FAL_KEY-simulated:key}
	export VERTEX_BASE_URL=${VERTEX_BASE_URL:-$sim/vertex/v1}
	export GCS_BASE_URL=${GCS_BASE_URL:-$sim/gcs}
	export VERTEX_STORAGE_URI=${VERTEX_STORAGE_URI-gs://simulated/veo}
	local account=$run/service-account.json
	export GOOGLE_APPLICATION_CREDENTIALS=${GOOGLE_APPLICATION_CREDENTIALS-$account}
	export WEBHOOK_TOKEN_KEY
	: "${WEBHOOK_TOKEN_KEY:=$(head -c 32 /dev/urandom | base64 -w 0)}"
	export DATABASE_URL=$database_admin_url
	export DATABASE_ADMIN_URL=$database_admin_url
	unset CREDENTIALS_DIRECTORY
}

# The schema, then the roles with least rights, then a key for the client.
prepare_database() {
	local log=$dir/logs/migrate.log
	"$build/rushes-poller" --migrate </dev/null >>"$log" 2>&1 ||
		die "$log" "the database could not be migrated"
	if [ -e "$root/sql/roles.sql" ]; then
		psql -X -q -v ON_ERROR_STOP=1 -d "$database_admin_url" \
			-f "$root/sql/roles.sql" >>"$log" 2>&1 ||
			die "$log" "sql/roles.sql could not be applied"
		database_fcgi_url=${database_program_url/user=postgres/user=rushes_fcgi}
		database_poller_url=${database_program_url/user=postgres/user=rushes_poller}
	fi
	api_key=$("$build/rushes-poller" --add-key demo 2>>"$log" </dev/null |
		awk 'NF { key = $NF } END { print key }') || api_key=
	[ -n "$api_key" ] || die "$log" "no API key could be made"
}

start_activator() {
	local log=$dir/logs/activator.log
	setsid "$build/rushes-activator" --run-dir "$run" \
		--log-dir "$dir/logs" --period "$POLLER_PERIOD_S" \
		--tired "${RESTART_TIRED_MS:-1000}" \
		--fcgi "$build/rushes-fcgi" --poller "$build/rushes-poller" \
		--fcgi-database "$database_fcgi_url" \
		--poller-database "$database_poller_url" \
		</dev/null >>"$log" 2>&1 &
	echo $! >"$run/activator.pid"
	wait_for 30 answers "$base_url/readyz" || {
		cat "$dir/logs/fcgi.log" "$dir/logs/poller.log" >>"$log" \
			2>/dev/null || :
		die "$log" "rushes-fcgi does not get ready"
	}
}

write_env() {
	{
		printf '%s=%q\n' BASE_URL "$base_url" API_KEY "$api_key" \
			DATABASE_URL "$database_admin_url" \
			STORE_DIR "$store_dir" SIMULATOR_URL "$simulator_url" \
			PIDS_DIR "$run" LOGS_DIR "$dir/logs" STACK_DIR "$dir"
	} >"$dir/env.new"
	chmod 600 "$dir/env.new"
	mv "$dir/env.new" "$dir/env"
}

# ---- verbs ---------------------------------------------------------------

runs() {
	[ -e "$dir/env" ] && pid_of activator rushes-activator >/dev/null &&
		pid_of simulator rushes-simulator >/dev/null &&
		pid_of nginx >/dev/null && [ -e "$dir/pg/data/postmaster.pid" ]
}

down() {
	end activator TERM 75 rushes-activator
	end fcgi TERM 5 rushes-fcgi
	end poller TERM 5 rushes-poller
	end nginx TERM 10
	end simulator TERM 10 rushes-simulator
	stop_postgres
	remove_folders
}

up() {
	if runs; then
		say "runs already: $(sed -n 's/^BASE_URL=//p' "$dir/env")"
		return
	fi
	down # what a run that was cut short may have left
	for program in rushes-fcgi rushes-poller rushes-simulator \
		rushes-activator; do
		[ -x "$build/$program" ] ||
			die "" "$build/$program is not built: make"
	done

	trap '[ $? = 0 ] || down' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	make_folders
	store_dir=$dir/store
	case ${STORE_URL:-} in file://*) store_dir=${STORE_URL#file://} ;; esac
	start_postgres
	start_nginx
	start_simulator
	settings
	prepare_database
	start_activator
	write_env
	say "runs: $base_url (. $dir/env for its settings)"
}

status() {
	for name in activator fcgi poller nginx simulator; do
		word=rushes-$name
		[ "$name" != nginx ] || word=nginx
		pid=$(pid_of "$name" "$word") || pid="not running"
		printf '%-10s %s\n' "$name" "$pid"
	done
	printf '%-10s %s\n' postgres \
		"$(head -n 1 "$dir/pg/data/postmaster.pid" 2>/dev/null ||
			echo "not running")"
	runs
}

PATH=$(pg_config --bindir):$PATH:/usr/local/sbin:/usr/sbin:/sbin
case ${1:-} in
up | down | status) "$1" ;;
*)
	echo "usage: stack.sh up | down | status" >&2
	exit 2
	;;
esac
