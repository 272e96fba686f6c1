package main

import "runtime/debug"

// ballastSize is address space that is never touched and so takes no memory. The
// collector counts it as live, and lets the few megabytes that grantd really
// keeps grow by as much before it works, instead of working every few
// milliseconds under load. What grows beyond it is collected as ever: a higher
// GOGC would multiply that too.
const ballastSize = 32 << 20

// ballast is kept for as long as the process lives.
var ballast []byte

// settleMemory is called when the server has started: what only starting needed
// goes back to the system. An operator who has set GOGC or GOMEMLIMIT has decided
// otherwise.
func settleMemory(getenv func(string) string) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.FreeOSMemory()
	ballast = make([]byte, ballastSize)
}
