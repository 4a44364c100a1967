# SPDX-License-Identifier: MIT
# sql/gen.awk - turn sql/queries/*.sql into a C table of named statements.
#
# A statement starts at "-- name: x", may have "-- params: a type, b type",
# and ends at the line that ends with ";". Other comment lines that start in
# the first column are dropped. Parts of the text may stand between lines
# "-- { part" and "-- }", one in another if need be; "-- short: y without part"
# (one part or more) makes a statement y of the text without them. It has as
# many parameters as it still uses. A row of the result is
#	QUERY(name, number of parameters, "text")
# The highest $n in the text must be the number of parameters declared: a
# statement that would be refused at connect time does not even compile.

function fail(why)
{
	print FILENAME ":" FNR ": " why > "/dev/stderr"
	bad = 1
	exit 1
}

function highest(rest,    n, most)
{
	most = 0
	while (match(rest, /\$[0-9]+/)) {
		n = substr(rest, RSTART + 1, RLENGTH - 1) + 0
		if (n > most)
			most = n
		rest = substr(rest, RSTART + RLENGTH)
	}
	return most
}

function finish(    i)
{
	if (highest(text[0]) != params)
		fail(name[0] ": declares " params " parameters, uses $" \
		     highest(text[0]))
	if (depth > 0)
		fail(name[0] ": \"-- { " part[depth] "\" has no end")
	for (i = 0; i <= shorts; i++)
		printf "QUERY(%s, %d,\n%s)\n", name[i], highest(text[i]),
			text[i]
	open = 0
}

function new_name(i, word)
{
	if (word !~ /^[a-z][a-z0-9_]*$/)
		fail("'" word "' is no name for a statement")
	if (word in seen)
		fail("a second statement named " word)
	seen[word] = 1
	name[i] = word
	text[i] = ""
}

# Does the line that is read belong to statement i?
function has_line(i,    d)
{
	for (d = 1; d <= depth; d++)
		if (i > 0 && (i, part[d]) in without)
			return 0
	return 1
}

BEGIN { print "/* Made by sql/gen.awk from sql/queries/; do not edit. */" }

FNR == 1 && open { fail("statement " name[0] " has no ';'") }

/^-- name: / {
	if (open)
		fail("statement " name[0] " has no ';'")
	new_name(0, $3)
	params = shorts = depth = 0
	open = 1
	split("", without)
	split("", known)
	next
}
/^-- short: [^ ]+ without / {
	new_name(++shorts, $3)
	for (i = 5; i <= NF; i++) {
		without[shorts, $i] = 1
		known[$i] = 1
	}
	next
}
/^-- [{] / {
	if (!($3 in known))
		fail(name[0] ": no statement is without '" $3 "'")
	part[++depth] = $3
	next
}
/^-- [}]$/ {
	if (depth-- == 0)
		fail(name[0] ": a \"-- }\" too many")
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
	for (i = 0; i <= shorts; i++)
		if (has_line(i))
			text[i] = text[i] "\t\"" line "\\n\"\n"
	if (done)
		finish()
}

END {
	if (open && !bad) {
		print name[0] " has no ';'" > "/dev/stderr"
		exit 1
	}
}
