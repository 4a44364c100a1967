# SPDX-License-Identifier: MIT
# .ci/layers.awk - who may include whom: awk -f .ci/layers.awk FILE...
#
# Our own layers look down only, and every library has its owners. A file is
# known by its folder and its name without the ending.

BEGIN {
	base = "common/base"
	model = base " common/model"
	provider = model " common/provider"
	may["common/base"] = base
	may["common/model"] = model
	may["common/provider"] = provider
	may["common/io"] = model " common/io"
	may["common/flow"] = provider " common/io common/flow"
	may["fcgi"] = may["common/flow"] " fcgi"
	may["poller"] = may["common/flow"] " poller"

	# Patterns of file names without their ending.
	owner["libpq-fe.h"] = "^common/io/db[a-z_]*$"
	owner["curl/curl.h"] = \
		"^common/io/(http_client|store_s3|transfer)[a-z0-9_]*$"
	owner["libs3.h"] = "^common/io/store_s3_v2[a-z_]*$"
	owner["fcgiapp.h"] = "^fcgi/accept[a-z_]*$"
	owner["jansson.h"] = "^(common/(model|provider|flow)|fcgi|poller)/"
	owner["openssl/"] = "^common/base/crypto$"
	owner["systemd/"] = "^(common/io|fcgi|poller)/"
}

function layer(path,    part)
{
	split(path, part, "/")
	return part[1] == "common" ? "common/" part[2] : part[1]
}

function complain(what)
{
	print FILENAME ":" FNR ": " what
	bad = 1
}

FNR == 1 {
	here = layer(FILENAME)
	stem = FILENAME
	sub(/\.[ch]$/, "", stem)
}

here in may && /^#[ \t]*include "/ {
	split($0, quoted, "\"")
	there = layer(quoted[2])
	if (quoted[2] ~ /^(queries|migrations)\.inc$/)
		there = "common/io"
	if (!index(" " may[here] " ", " " there " "))
		complain(here " may not include " there)
}

here in may && /^#[ \t]*include </ {
	split($0, angled, /[<>]/)
	for (library in owner)
		if (index(angled[2], library) == 1 && stem !~ owner[library])
			complain("<" angled[2] "> belongs to " owner[library])
}

END { exit bad }
