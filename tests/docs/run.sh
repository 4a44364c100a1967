#!/bin/bash
# SPDX-License-Identifier: MIT
# What the documents say that a program can check. TAP on standard output.
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 2
poller=${BUILD:-build}/rushes-poller
pages=(README.md CONTRIBUTING.md SECURITY.md docs/*.md sql/README.md)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
number=0
failed=0

# check NAME COMMAND...: what the command prints is what is wrong
check() {
	local name=$1 result=ok
	shift
	number=$((number + 1))
	"$@" >"$scratch/wrong" 2>&1
	if [ -s "$scratch/wrong" ]; then
		result="not ok"
		failed=$((failed + 1))
		sed 's/^/# /' "$scratch/wrong"
	fi
	echo "$result $number - $name"
}

# The table in the page is the one the program prints.
rules() {
	sed -n '/^<!-- rules -->$/,$p' docs/JOB_ORCHESTRATION.md |
		awk '/^```/ { inside = !inside; if (!inside) exit; next }
			inside' >"$scratch/page"
	"$poller" --rules | diff "$scratch/page" -
}

links() {
	local page target
	for page in "${pages[@]}"; do
		while read -r target; do
			case $target in http*) continue ;; esac
			[ -e "$(dirname "$page")/${target%%#*}" ] ||
				echo "$page: $target does not exist"
		done < <(grep -oE '\]\([^)#][^)]*\)' "$page" | sed 's/^](//; s/)$//')
	done
}

targets() {
	local target
	while read -r target; do
		grep -qE "^$target:" Makefile || echo "make $target"
	done < <(grep -ohE '`(KEEP=1 )?make [a-z][a-z-]*' "${pages[@]}" |
		awk '{ print $NF }' | sort -u)
}

# Every setting that the guide names is one of the program's.
settings() {
	local name
	awk '/^  [A-Z]/ { print $1 }' "$scratch/help" >"$scratch/known"
	while read -r name; do
		grep -qx "$name" "$scratch/known" || echo "$name"
	done < <(grep -ohE '`[A-Z][A-Z0-9]*(_[A-Z0-9]+)+' \
		docs/ASYNC_SETUP_GUIDE.md docs/JOB_ORCHESTRATION.md |
		tr -d '`' | sort -u | grep -vE '^(RUSHES_|MESSAGE_ID)')
}

options() {
	local option
	while read -r option; do
		grep -qe "^  $option" "$scratch/help" || echo "$option"
	done < <(grep -ohE 'rushes-poller --[a-z-]+' "${pages[@]}" |
		awk '{ print $2 }' | sort -u | grep -vx -e --help)
}

# Every code of an error that is written into a job's row.
codes() {
	local code
	cat poller/*.c common/flow/*.c common/provider/*.c | tr '\n\t' '  ' |
		sed 's/\(db_row\|json\)_[a-z0-9_]*([^)]*)//g' |
		grep -oE '(\<(work_fail|work_postpone|put_off|again)\(| fail\(work|error_code = |_code\[\] = |\<codes\[\] = )[^;]*;' |
		grep -oE '"[a-z]+(_[a-z]+)+"' | tr -d '"' |
		sort -u >"$scratch/codes"
	[ "$(wc -l <"$scratch/codes")" -gt 20 ] ||
		echo "the code cannot be read"
	while read -r code; do
		grep -qE "^\| (.*, )?\`$code\` " docs/PROVIDERS.md ||
			echo "$code"
	done <"$scratch/codes"
}

"$poller" --help >"$scratch/help"
check "the table of rules is the program's" rules
check "every link leads somewhere" links
check "every make target exists" targets
check "every setting exists" settings
check "every option of the poller exists" options
check "every error code is explained" codes
echo "1..$number"
[ "$failed" = 0 ]
