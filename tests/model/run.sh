#!/bin/bash
# SPDX-License-Identifier: MIT
# The model of the race for one job, verified; each broken variant of it,
# caught; and its rules, compared with the program's. TAP on standard output.
#
#   tests/model/run.sh             the tests
#   FULL=1 tests/model/run.sh      and once more without forgetting anything
#   tests/model/run.sh NO_FENCE    tell how a broken variant goes wrong
set -uo pipefail

here=$(realpath "$(dirname "$0")")
build=$(realpath "${BUILD:-$here/../../build}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
cp "$here"/*.pml "$scratch"
cd "$scratch" || exit 2
number=0
failed=0

# check NAME COMMAND...
check() {
	local name=$1 result=ok
	shift
	number=$((number + 1))
	if ! "$@" >said 2>&1; then
		result="not ok"
		failed=$((failed + 1))
		sed 's/^/# /' said
	fi
	echo "$result $number - $name"
}

# compile NAME COMPILER-FLAGS [SPIN-FLAGS]: the verifier, as ./NAME
compile() {
	# shellcheck disable=SC2086 # lists of flags
	if ! { spin ${3:-} -a job.pml && gcc -w -DSAFETY $2 -o "$1" pan.c; } \
		>compiled 2>&1; then
		cat compiled
		return 1
	fi
}

# search PROGRAM FLAG...: in less than 4 GiB
search() (
	ulimit -v 4194304
	"./$1" -m20000 "${@:2}" >verdict 2>&1
)

# story SPIN-FLAGS: what happened on the way to the error that was found
story() {
	# shellcheck disable=SC2086 # a list of flags
	spin $1 -T -t job.pml | sed -n '/^spin: trail ends/q; p'
}

# ---- the rules -------------------------------------------------------------

sed -n 's/^RULE(\([a-z_]*\), \([a-z_]*\), \([a-z_]*\))$/\1 \2 \3/p' \
	rules.pml >modelled
sed -n 's/^\([a-z_]* [a-z_]* [a-z_]*\): ..*/\1/p' \
	"$here/excluded.txt" >excluded

# rules_agree TABLE: it is what the model has and what is excluded
rules_agree() {
	awk '{ print $1, $2, $3 }' "$1" | sort >table
	sort modelled excluded >ours
	comm -23 table ours | sed 's/$/: neither in the model nor excluded/'
	comm -13 table ours | sed 's/$/: no rule of the program/'
	uniq -d ours | sed 's/$/: twice/'
	cmp -s table ours
}

# A check that sees nothing is none: the same, after a change of one rule.
rules_are_compared() {
	local change
	for change in '1d' 's/^\(starting *start_lost *\)start_unknown/\1queued/' \
		'1a start_unknown not_started queued again' \
		's/^\(queued *\)start /\1begin /'; do
		sed "$change" program >changed
		if cmp -s program changed; then
			echo "changes nothing: $change"
			return 1
		elif rules_agree changed >/dev/null; then
			echo "not noticed: $change"
			return 1
		fi
	done
}

# ---- the model ---------------------------------------------------------------

# figures: of the search that was just made
figures() {
	awk '/states, stored/ { states = $1 }
		/ transitions / { transitions = $1 }
		/total actual memory usage/ { mib = $1 }
		/^State-vector/ { depth = $6 }
		END { printf "# %d states, %d transitions, %d steps deep, %d MB\n",
			states, transitions, depth, mib }' verdict
}

# exhaustive FILE: it says that the search was complete, without an error, and
# that the model has no statement that is never reached
exhaustive() {
	if grep -q 'errors: 0$' "$1" && grep -q 'states, stored' "$1" &&
		! grep -qE 'not completed|too small|truncated' "$1" &&
		! grep '\.pml:[0-9]*, state' "$1" | grep -v '"-end-"'; then
		return 0
	fi
	grep -vE '^$|^Depth|^taken' "$1"
	return 1
}

verified() {
	compile pan -O2 -DCOUNT || return 1
	search pan -w24
	exhaustive verdict && return 0
	[ ! -e job.pml.trail ] || tell ''
	return 1
}

# In the search that was just made.
rules_are_taken() {
	local line rule missing=0
	while IFS=: read -r line rule; do
		grep -q "^taken: $line " verdict || {
			echo "never taken: $rule"
			missing=1
		}
	done < <(grep -n '^RULE(' rules.pml)
	[ -s verdict ] && [ "$missing" = 0 ]
}

verified_whole() {
	compile pan '-O2 -DCOLLAPSE' -DEVERYTHING || return 1
	search pan -w26
	exhaustive verdict
}

# find SPIN-FLAGS: the shortest way to an error
find_error() {
	compile breadth '-O1 -DBFS -DCOLLAPSE' "$1" || return 1
	rm -f job.pml.trail
	search breadth -w22
	[ -e job.pml.trail ]
}

tell() {
	if ! find_error "$1"; then
		cat verdict
		return 1
	fi
	story "$1"
}

# caught VARIANT TEXT: an assertion with that text fails
caught() {
	: >told
	find_error "-D$1" && story "-D$1" >told &&
		grep 'text of failed assertion' told | grep -qF "$2" && return 0
	cat verdict told
	return 1
}

if [ $# -gt 0 ]; then
	tell "-D$1"
	exit
fi

"$build/rushes-poller" --rules >program || exit 2
check "the rules are the program's" rules_agree program
check "a changed rule is noticed" rules_are_compared
check "no double start, no lost or doubled completion, whatever happens" \
	verified
figures
check "every rule is taken" rules_are_taken
if [ -n "${FULL:-}" ]; then
	check "the same without forgetting anything" verified_whole
	figures
fi
check "caught: claims not compared" caught NO_FENCE '!(blind)'
check "caught: a start without an answer is sent again" \
	caught REPOST '!(blind)'
check "caught: an outsider leaves the claim" \
	caught KEEP_CLAIM 'provider_cancelled)||to_cancel'
check "caught: a start after the cancel" \
	caught START_CANCELLED 'assert(!(to_cancel))'
check "caught: a retry ended by its old start" \
	caught RETRY_ENDED 'provider_cancelled)||to_cancel'
check "caught: progress after the end" \
	caught LATE_PROGRESS 'provider_cancelled)||to_cancel'
check "caught: nobody takes over a dead poller's start" \
	caught NO_RECLAIM '(status==completed)||(status==failed)'
echo "1..$number"
[ "$failed" = 0 ]
