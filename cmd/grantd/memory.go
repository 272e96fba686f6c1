package main

import "runtime/debug"

// ballastSize is address space that is never touched and so takes no memory. The
// collector counts it as live, and lets the few megabytes that grantd really
// keeps grow by as much before it works, instead of working every few
// milliseconds under load. What grows beyond it is collected as ever: a higher
// GOGC would multiply that too.
const ballastSize = 16 << 20

// settleMemory is called when the server has started: what only starting needed
// goes back to the system. The ballast it returns must be kept for as long as the
// server runs. An operator who has set GOGC or GOMEMLIMIT has decided otherwise:
// then there is none.
func settleMemory(getenv func(string) string) (ballast []byte) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return nil
	}
	debug.FreeOSMemory()
	return make([]byte, ballastSize)
}
