#!/bin/bash
# SPDX-License-Identifier: MIT
# Tests of the build's own tools: the generators, the layers' guard, the test
# runner. TAP on standard output.
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
number=0
failed=0

# check NAME COMMAND...
check() {
	local name=$1 result=ok
	shift
	number=$((number + 1))
	if ! "$@" >"$scratch/said" 2>&1; then
		result="not ok"
		failed=$((failed + 1))
		sed 's/^/# /' "$scratch/said"
	fi
	echo "$result $number - $name"
}

# says TEXT COMMAND...: the command fails and says why
refuses() {
	local text=$1
	shift
	! "$@" >"$scratch/refusal" 2>&1 && grep -qF -- "$text" "$scratch/refusal"
}

# prints TEXT COMMAND...
prints() {
	local text=$1
	shift
	[ "$("$@")" = "$text" ]
}

# ---- sql/gen.awk, sql/gen-migrations.awk ---------------------------------

query() { # TEXT
	printf '%s\n' "$1" >"$scratch/query.sql"
	awk -f sql/gen.awk "$scratch/query.sql" | tail -n +2
}

check "a statement becomes a row" prints \
	$'QUERY(job_read, 1,\n\t"SELECT 1\\n"\n\t" WHERE id = $1\\n"\n)' \
	query $'-- name: job_read\n-- params: id uuid\n-- why\nSELECT 1\n WHERE id = $1;'
check "quotes and backslashes survive" prints \
	$'QUERY(a, 0,\n\t"SELECT \\"x\\", E\'\\\\n\'\\n"\n)' \
	query $'-- name: a\nSELECT "x", E\'\\n\';'
check "a parameter too many" refuses "declares 1 parameters, uses \$2" \
	query $'-- name: a\n-- params: id uuid\nSELECT $1, $2;'
check "a parameter too few" refuses "declares 2 parameters, uses \$1" \
	query $'-- name: a\n-- params: id uuid, n int\nSELECT $1;'
check "no end" refuses "has no ';'" query $'-- name: a\nSELECT 1'
check "no end before the next" refuses "has no ';'" \
	query $'-- name: a\nSELECT 1\n-- name: b\nSELECT 2;'
check "one name twice" refuses "a second statement named a" \
	query $'-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;'
check "a name that C cannot have" refuses "is no name" \
	query $'-- name: a-b\nSELECT 1;'
check "text that belongs to no statement" refuses "outside a named" \
	query $'SELECT 1;'

parts=$'-- name: a\n-- params: n int, m int\n-- short: b without x\n-- short: c without y\nSELECT $1\n-- { x\n, $2\n-- { y\n, 4\n-- }\n-- }\n, 3;'
check "short forms are the text without their parts" prints \
	$'QUERY(a, 2,\n\t"SELECT $1\\n"\n\t", $2\\n"\n\t", 4\\n"\n\t", 3\\n"\n)\nQUERY(b, 1,\n\t"SELECT $1\\n"\n\t", 3\\n"\n)\nQUERY(c, 2,\n\t"SELECT $1\\n"\n\t", $2\\n"\n\t", 3\\n"\n)' \
	query "$parts"
check "a short form of a name that is taken" refuses \
	"a second statement named a" query "${parts/short: b/short: a}"
check "a part that does not end" refuses '"-- { x" has no end' \
	query "${parts/$'-- }\n-- }'/-- \}}"
check "an end too many" refuses '"-- }" too many' \
	query "${parts/$'-- { y\n'/}"
check "a part that is in every form" refuses "no statement is without 'z'" \
	query "${parts/{ y/{ z}"

migrations() { # FILE...
	mkdir -p "$scratch/schema"
	rm -f "$scratch"/schema/*
	local file
	for file in "$@"; do echo 'CREATE TABLE "t";' >"$scratch/schema/$file"; done
	awk -f sql/gen-migrations.awk "$scratch"/schema/* | tail -n +2
}

check "migrations become rows in order" prints \
	$'MIGRATION(1, one,\n\t"CREATE TABLE \\"t\\";\\n"\n)\nMIGRATION(2, two,\n\t"CREATE TABLE \\"t\\";\\n"\n)' \
	migrations 0001_one.sql 0002_two.sql
check "a gap between migrations" refuses "should be number 2" \
	migrations 0001_one.sql 0003_three.sql
check "two migrations of one number" refuses "should be number 2" \
	migrations 0001_a.sql 0001_b.sql
check "a migration of another name" refuses "NNNN_name.sql" \
	migrations 0001-one.sql

# ---- .ci/layers.awk ------------------------------------------------------

layers() { # PATH LINE
	mkdir -p "$scratch/tree/$(dirname "$1")"
	printf '%s\n' "$2" >"$scratch/tree/$1"
	local guard=$PWD/.ci/layers.awk
	(cd "$scratch/tree" && awk -f "$guard" "$1")
}

check "a look down" layers common/flow/x.c '#include "common/model/job.h"'
check "a look up" refuses "common/model may not include common/io" \
	layers common/model/x.c '#include "common/io/db.h"'
check "one program in the other" refuses "fcgi may not include poller" \
	layers fcgi/x.c '#include "poller/work.h"'
check "a library at its owner" layers common/io/db.c '#include <libpq-fe.h>'
check "a library elsewhere" refuses "<curl/curl.h> belongs to" \
	layers common/provider/fal.c '#include <curl/curl.h>'
check "libfcgi outside the accept loop" refuses "<fcgiapp.h> belongs to" \
	layers fcgi/post_execute.c '#include <fcgiapp.h>'

# ---- make hooks ----------------------------------------------------------

# commits TEXT: a file of that text, in a linked worktree after "make hooks"
commits() (
	# As if nobody had started us from a hook, nor set up his git.
	# shellcheck disable=SC2046 # words
	unset $(git rev-parse --local-env-vars)
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	rm -rf "$scratch/first" "$scratch/linked"
	mkdir "$scratch/first"
	cp -r Makefile .ci "$scratch/first" && cd "$scratch/first" &&
		git init -q && git config user.name nobody &&
		git config user.email nobody@example.com && git add . &&
		git commit -qm one && git worktree add -q ../linked &&
		cd ../linked && make hooks || exit 2
	printf '%s\n' "$1" >new && git add new && git commit -qm two
)

if command -v git >/dev/null; then
	check "the hook lets a commit in a linked worktree pass" commits good
	check "the hook refuses one with a blank too many" \
		refuses "trailing whitespace" commits 'bad '
fi

# ---- tests/run.sh --------------------------------------------------------

# runner SCRIPT: what it says of one suite that does so
runner() {
	local tree=$scratch/runner
	mkdir -p "$tree/tests/unit" "$tree/tests/suite"
	cp tests/run.sh "$tree/tests/run.sh"
	printf '#!/bin/sh\n%s\n' "$1" >"$tree/tests/suite/run.sh"
	chmod +x "$tree/tests/suite/run.sh"
	local code=0
	ONLY=suite VERBOSE='' "$tree/tests/run.sh" >"$scratch/runner.log" ||
		code=$?
	echo "$(tail -n 1 "$scratch/runner.log") $code"
}

check "cmocka's results are counted" prints "3 passed, 2 failed 1" runner \
	'echo "[  PASSED  ] 3 test(s)."; echo "[  FAILED  ] 2 test(s), listed below:"; exit 2'
check "node's results are counted" prints "4 passed, 0 failed 0" runner \
	'echo "ok 1 - x"; echo "# pass 4"; echo "# fail 0"'
check "what node cancelled has failed" prints "4 passed, 1 failed 1" runner \
	'echo "# pass 4"; echo "# fail 0"; echo "# cancelled 1"; exit 1'
check "TAP lines are counted" prints "1 passed, 1 failed 1" runner \
	'echo "ok 1 - a"; echo "not ok 2 - b"; exit 1'
check "a crash is a failure" prints "2 passed, 1 failed 1" runner \
	'echo "[  PASSED  ] 2 test(s)."; kill -SEGV $$'
check "no test at all is a failure" prints "0 passed, 1 failed 1" runner \
	'echo hello'

echo "1..$number"
[ "$failed" = 0 ]
