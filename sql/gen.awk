# SPDX-License-Identifier: MIT
# sql/gen.awk - turn sql/queries/*.sql into a C table of named statements.
#
# A statement starts at "-- name: x", may have "-- params: a type, b type",
# and ends at the line that ends with ";". Other comment lines that start in
# the first column are dropped. A row of the result is
#	QUERY(name, number of parameters, "text")
# The highest $n in the text must be the number of parameters declared: a
# statement that would be refused at connect time does not even compile.

function fail(why)
{
	print FILENAME ":" FNR ": " why > "/dev/stderr"
	bad = 1
	exit 1
}

function finish(    rest, n, most)
{
	most = 0
	rest = text
	while (match(rest, /\$[0-9]+/)) {
		n = substr(rest, RSTART + 1, RLENGTH - 1) + 0
		if (n > most)
			most = n
		rest = substr(rest, RSTART + RLENGTH)
	}
	if (most != params)
		fail(name ": declares " params " parameters, uses $" most)
	printf "QUERY(%s, %d,\n%s)\n", name, params, text
	open = 0
}

BEGIN { print "/* Made by sql/gen.awk from sql/queries/; do not edit. */" }

FNR == 1 && open { fail("statement " name " has no ';'") }

/^-- name: / {
	if (open)
		fail("statement " name " has no ';'")
	name = $3
	if (name !~ /^[a-z][a-z0-9_]*$/)
		fail("'" name "' is no name for a statement")
	if (name in seen)
		fail("a second statement named " name)
	seen[name] = 1
	params = 0
	open = 1
	text = ""
	next
}
/^-- params: / { params = split($0, unused, ","); next }
/^--/ { next }
!open && /[^ \t]/ { fail("text outside a named statement") }
!open { next }
{
	line = $0
	done = sub(/;[ \t]*$/, "", line)
	gsub(/\\/, "&&", line)
	gsub(/"/, "\\\"", line)
	text = text "\t\"" line "\\n\"\n"
	if (done)
		finish()
}

END {
	if (open && !bad) {
		print name " has no ';'" > "/dev/stderr"
		exit 1
	}
}
