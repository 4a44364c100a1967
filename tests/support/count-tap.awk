# SPDX-License-Identifier: MIT
# Count what node's TAP sums up: "N passed, N failed". -v code=: how the run
# ended. A run that ended badly or ran no test has failed.

/^# pass / { passed += $3 }
/^# (fail|cancelled) / { failed += $3 }
END {
	if (passed + failed == 0 || (code != 0 && failed == 0))
		failed++
	printf "%d passed, %d failed\n", passed, failed
	exit failed != 0
}
