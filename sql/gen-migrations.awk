# SPDX-License-Identifier: MIT
# sql/gen-migrations.awk - turn sql/schema/NNNN_name.sql into a C table.
#
# A row of the result is MIGRATION(number, name, "text"), in the order the
# files are given. Numbers start at 1 and leave no gap: a gap would mean that
# a host may already have applied what comes after it.

function fail(why)
{
	print FILENAME ": " why > "/dev/stderr"
	bad = 1
	exit 1
}

BEGIN { print "/* Made by sql/gen-migrations.awk from sql/schema/. */" }

FNR == 1 {
	if (count)
		print ")"
	file = FILENAME
	sub(/.*\//, "", file)
	if (file !~ /^[0-9][0-9][0-9][0-9]_[a-z][a-z0-9_]*\.sql$/)
		fail("a migration is called NNNN_name.sql")
	count++
	if (substr(file, 1, 4) + 0 != count)
		fail("this should be number " count)
	printf "MIGRATION(%d, %s,\n", count, substr(file, 6, length(file) - 9)
}
{
	line = $0
	gsub(/\\/, "&&", line)
	gsub(/"/, "\\\"", line)
	print "\t\"" line "\\n\""
}

END {
	if (count && !bad)
		print ")"
}
