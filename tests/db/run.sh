#!/bin/sh
# SPDX-License-Identifier: MIT
# Database tests: a scratch cluster, the real migrations, then each test
# program on a database of its own, so that none sees what another left.
set -eu

root=$(realpath "$(dirname "$0")/../..")
build=$(realpath "${BUILD:-$root/build}")
cd "$root"
PATH=$(pg_config --bindir):$PATH

set -- "$build"/tests/db/*_test
[ -x "$1" ] || { echo "no database tests in $build/tests/db" >&2; exit 1; }

dir=$(mktemp -d)
chmod 711 "$dir"
trap 'tests/support/postgres.sh stop "$dir/pg"; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
tests/support/postgres.sh start "$dir/pg" fsync=off

# TESTS=name,name runs some of them.
failed=0
for program in "$@"; do
	name=$(basename "$program")
	case ",${TESTS:-$name}," in *",$name,"*) ;; *) continue ;; esac
	psql -q -X -h "$dir/pg" -U postgres -d postgres \
		-c "CREATE DATABASE $name"
	DATABASE_URL="postgresql:///$name?host=$dir/pg&user=postgres"
	export DATABASE_URL DATABASE_ADMIN_URL="$DATABASE_URL"
	"$build/rushes-poller" --migrate
	[ ! -e sql/roles.sql ] ||
		psql -q -X -v ON_ERROR_STOP=1 -d "$DATABASE_URL" \
			-f sql/roles.sql >/dev/null
	echo "== $name"
	"$program" || { echo "== $name: exit status $?"; failed=1; }
done
[ "$failed" = 0 ] || tail -n 40 "$dir/pg/log"
exit "$failed"
