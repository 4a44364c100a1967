#!/bin/bash
# SPDX-License-Identifier: MIT
# make demo: one real pipeline of four jobs on a whole stack, watched live.
#
# An image on Replicate, from it a clip on fal and another on Vertex AI Veo,
# and a film that joins both. The providers are the simulator's, all else is
# what a host runs. Exit 0 only if every job completed and every byte that
# nginx serves is what the API promised and the provider sent.
#
# The stack is stopped again if the demo started it, unless KEEP=1; media and
# logs stay. DEMO_SECONDS (120) is the longest wait.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../..")
dir=$(realpath -m "${STACK_DIR:-$root/build/stack}")
stack=$root/tests/stack/stack.sh
scratch=$(mktemp -d)
started_it=
failures=0
umask 077

bold='' dim='' red='' green='' off=''
if [ -t 1 ]; then
	bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' off=$'\e[0m'
fi

leave() {
	local code=$?
	[ ! -t 1 ] || printf '\e[?25h' # the cursor, if we were drawing
	rm -rf "$scratch"
	if [ -n "$started_it" ] && [ -z "${KEEP:-}" ]; then
		"$stack" down || code=1
	fi
	exit "$code"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

title() {
	printf '\n%s%s%s\n' "$bold" "$*" "$off"
}

wrong() {
	failures=$((failures + 1))
	printf '%sWRONG: %s%s\n' "$red" "$*" "$off"
}

# api METHOD PATH [CURL ARGUMENTS...]: the body on stdout; fails unless 2xx.
# The key goes in by a file: arguments can be read by everybody.
api() {
	local method=$1 path=$2 code
	shift 2
	code=$(curl -sS -m 20 -X "$method" -K "$scratch/key" "$@" \
		-o "$scratch/answer" -w '%{http_code}' "$BASE_URL$path")
	case $code in
	2??) cat "$scratch/answer" ;;
	*)
		echo "$method $path was answered $code:" >&2
		cat "$scratch/answer" >&2
		return 1
		;;
	esac
}

# ---- the stack -----------------------------------------------------------

open_stack() {
	if ! "$stack" status >/dev/null 2>&1; then
		started_it=1
		# Slow enough to be watched, and asked for progress more often
		# than renders of minutes would be.
		for name in REPLICATE FAL VERTEX; do
			export "${name}_POLL_FIRST_MS=700"
			export "${name}_POLL_MOST_MS=1200"
		done
		SIMULATOR_ARGS="--delay-ms 4000 --quiet ${SIMULATOR_ARGS:-}" \
			"$stack" up
	fi
	# shellcheck source=/dev/null
	. "$dir/env"
	printf 'header = "Authorization: Bearer %s"\n' "$API_KEY" \
		>"$scratch/key"
}

# ---- watching ------------------------------------------------------------

# name, status, per cent and provider of each job, a line each
job_lines() {
	jq -r '
	def percent:
		if .status == "completed" then 100
		elif .status == "storing" then 95
		elif .status == "processing" then
			((.progress // 0) | if type == "number" then . else 0 end
			| if . <= 1 then . * 100 else . end) as $p
			| [15 + $p * 0.75, 90] | min | floor
		elif .status == "starting" or .status == "start_unknown" then 10
		elif .status == "queued" then 5
		else 0 end;
	.jobs[] | [.name, .status, percent, .provider] | @tsv' "$1"
}

bar() { # PER-CENT
	local full=$(($1 * 30 / 100)) empty
	empty=$((30 - full))
	printf '%*s' "$full" '' | tr ' ' '#'
	printf '%*s' "$empty" '' | tr ' ' '.'
}

# Bars that are drawn over again on a terminal; elsewhere a line per change.
declare -A last
draw() {
	local name status percent provider colour
	while IFS=$'\t' read -r name status percent provider; do
		if [ -t 1 ]; then
			case $status in
			completed) colour=$green ;;
			failed | cancelled | skipped) colour=$red ;;
			waiting) colour=$dim ;;
			*) colour=$bold ;;
			esac
			printf '\r\e[K  %-8s %-10s [%s%s%s] %3d%% %s\n' "$name" \
				"$provider" "$colour" "$(bar "$percent")" \
				"$off" "$percent" "$status"
		elif [ "${last[$name]:-}" != "$status $percent" ]; then
			last[$name]="$status $percent"
			printf '  %5.1f s  %-8s %-10s [%s] %3d%% %s\n' \
				"$(elapsed)" "$name" "$provider" \
				"$(bar "$percent")" "$percent" "$status"
		fi
	done < <(job_lines "$1")
}

elapsed() {
	local now
	now=$(date +%s%N)
	printf '%d.%d' $(((now - began) / 1000000000)) \
		$(((now - began) / 100000000 % 10))
}

watch() {
	local state first=1 limit=$((SECONDS + ${DEMO_SECONDS:-120})) jobs
	jobs=$(jq '.jobs | length' "$root/tests/demo/pipeline.json")
	[ ! -t 1 ] || printf '\e[?25l'
	while :; do
		api GET "/api/executions/$execution" >"$scratch/execution"
		[ ! -t 1 ] || [ -n "$first" ] || printf '\e[%dA' "$jobs"
		first=
		draw "$scratch/execution"
		state=$(jq -r .status "$scratch/execution")
		[ "$state" = running ] || break
		if [ $SECONDS -ge "$limit" ]; then
			wrong "not finished after ${DEMO_SECONDS:-120} s"
			break
		fi
		sleep 0.3
	done
	[ ! -t 1 ] || printf '\e[?25h'
	echo "  the execution is $state after $(elapsed) s"
	[ "$state" = completed ] || wrong "the execution is $state"
}

# ---- checking ------------------------------------------------------------

# starts_of JOB-ID: the ledger's entries of a job. A start without a webhook
# does not know our id, but we know the provider's.
starts_of() {
	jq -c --arg job "$1" \
		--arg id "$(jq -r '.provider_job_id // ""' "$scratch/job.$1")" \
		'.starts[] | .id as $start
		| select(.job == $job or ($id | endswith($start)))' \
		"$scratch/ledger"
}

# check_media JOB-ID NAME INDEX: fetched through nginx as anybody would, and
# compared with the API's word, the ledger's and the file in the store.
check_media() {
	local url bytes sha type got_bytes got_sha file=$scratch/media path
	IFS=$'\t' read -r url bytes sha type < <(jq -r --argjson i "$3" \
		'.output.media[$i] | [.url, .bytes, .sha256, .content_type] | @tsv' \
		"$scratch/job.$1")
	if ! curl -fsS -m 60 -o "$file" -D "$scratch/headers" "$url"; then
		wrong "$url cannot be fetched"
		return
	fi
	got_bytes=$(stat -c %s "$file")
	got_sha=$(sha256sum "$file" | cut -d ' ' -f 1)
	[ "$got_bytes" = "$bytes" ] ||
		wrong "$2: $got_bytes bytes served, $bytes promised"
	[ "$got_sha" = "$sha" ] ||
		wrong "$2: SHA-256 $got_sha served, $sha promised"
	grep -qi "^content-type: $type" "$scratch/headers" ||
		wrong "$2: not served as $type"
	starts_of "$1" | jq -es --arg sha "$got_sha" \
		--argjson bytes "$got_bytes" '[.[].media[]?
		| select(.sha256 == $sha and .bytes == $bytes)] | length > 0' \
		>/dev/null ||
		wrong "$2: not what the provider's ledger says it served"

	path=-
	case $url in
	"$BASE_URL"/media/*)
		path=$STORE_DIR/${url#"$BASE_URL"/media/}
		cmp -s "$file" "$path" || wrong "$2: differs from $path"
		;;
	esac
	printf '  %-8s %-10s %-10s %9d bytes  %s\n' "$2" \
		"$(jq -r .status "$scratch/job.$1")" \
		"$(jq -r '.completed_via // "-"' "$scratch/job.$1")" \
		"$bytes" "$type"
	printf '%s           sha256 %s\n           %s\n           %s%s\n' "$dim" \
		"$sha" "$url" "$path" "$off"
}

check_job() {
	local status count starts
	api GET "/api/jobs/$1" >"$scratch/job.$1"
	status=$(jq -r .status "$scratch/job.$1")
	if [ "$status" != completed ]; then
		wrong "$2 is $status: $(jq -c .error "$scratch/job.$1")"
		return
	fi
	starts=$(starts_of "$1" | jq -s length)
	[ "$starts" = 1 ] || wrong "$2 was started (and paid) $starts times"
	count=$(jq '.output.media | length' "$scratch/job.$1")
	[ "$count" -gt 0 ] || wrong "$2 completed without media"
	for ((i = 0; i < count; i++)); do
		check_media "$1" "$2" "$i"
	done
}

timeline() {
	local id name
	while IFS=$'\t' read -r id name; do
		api GET "/api/jobs/$id/events" | jq --arg name "$name" -c \
			'.items[] | . + {name: $name}'
	done <"$scratch/jobs" | jq -rs '
	sort_by(.at)[] | [
		(.at | split("T")[1] | rtrimstr("Z")), .name,
		"\(.from // "") -> \(.to)",
		.why + (if .detail then " (\(.detail))" else "" end)
	] | @tsv' | while IFS=$'\t' read -r at name move why; do
		printf '  %s%s%s  %-8s %-24s %s\n' "$dim" "$at" "$off" \
			"$name" "$move" "$why"
	done
}

# ---- the demo ------------------------------------------------------------

title "Starting Rushes: nginx, PostgreSQL, both programs, the simulator"
open_stack

title "One pipeline of four jobs, submitted to $BASE_URL/api/execute"
jq -r '.jobs[] | "  \(.name): \(.model) on \(.provider)"' \
	"$root/tests/demo/pipeline.json"
began=$(date +%s%N)
api POST /api/execute -H 'Content-Type: application/json' \
	-H "Idempotency-Key: demo-$began" \
	--data-binary "@$root/tests/demo/pipeline.json" >"$scratch/submitted"
execution=$(jq -r .id "$scratch/submitted")
echo "  202 Accepted: execution $execution"
jq -r '.jobs[] | [.id, .name] | @tsv' "$scratch/submitted" >"$scratch/jobs"

title "Running"
watch

title "Results, each fetched through nginx and compared byte for byte"
curl -fsS -m 20 "$SIMULATOR_URL/_ledger" >"$scratch/ledger"
while IFS=$'\t' read -r id name; do
	check_job "$id" "$name"
done <"$scratch/jobs"

title "What happened"
timeline

title "Where to look next"
echo "  media     $STORE_DIR/$execution (stays when the stack stops)"
echo "  logs      $LOGS_DIR/{fcgi,poller,activator,simulator}.log"
if [ -n "$started_it" ] && [ -z "${KEEP:-}" ]; then
	echo "  API       KEEP=1 make demo leaves the stack running; make up starts one"
else
	echo "  API       . $dir/env"
	echo "            curl -H \"Authorization: Bearer \$API_KEY\" \$BASE_URL/api/executions/$execution"
	echo "  stop it   make down"
fi
echo "  docs      docs/ASYNC_SETUP_GUIDE.md to run it on a host,"
echo "            docs/JOB_ORCHESTRATION.md for the life of a job"

if [ "$failures" != 0 ]; then
	printf '\n%s%d things are wrong.%s\n' "$red" "$failures" "$off"
	exit 1
fi
printf '\n%sAll jobs completed, and every byte is as it should be.%s\n' \
	"$green" "$off"
