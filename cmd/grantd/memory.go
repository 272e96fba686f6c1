package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// headroom is about how many bytes may be allocated between two collections as long
// as less than that is live. The collector works for some ten milliseconds whatever it
// finds, on a core that requests wait for: with Go's own measure, as much again as
// the few megabytes that grantd keeps, it would do so ten times a second under load.
// More than this, and a row of password checks (19 MiB each, which a collection may find
// half done) would leave the budget of 120 MiB behind.
const headroom = 36 << 20

// settleMemory is called when the server has started: what only starting needed
// goes back to the system, and from then on collections are as far apart as
// headroom says. What grows beyond it is collected as ever; a higher GOGC would
// multiply that too, so it is set anew by what each collection has left. An
// operator who has set GOGC or GOMEMLIMIT has decided otherwise.
func settleMemory(getenv func(string) string) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.FreeOSMemory()
	p := &pace{percent: 100}
	p.afterCollection()
}

// pace is how far apart collections are. Nothing refers to it: so each collection
// finds it dead and calls afterCollection, which lives on by asking for that again.
type pace struct {
	percent int
	_       *byte // without a pointer it would share its memory with others, and live as long as they do
}

func (p *pace) afterCollection() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := gcPercent(live[0].Value.Uint64())
	// Setting it stops the server for a moment: small changes are not worth that.
	if percent > p.percent*9/8 || percent < p.percent*7/8 {
		debug.SetGCPercent(percent)
		p.percent = percent
	}
	runtime.SetFinalizer(p, (*pace).afterCollection)
}

// gcPercent returns the GOGC that leaves headroom above what is live, and at
// least Go's default. Go takes 4 MiB for live where less is.
func gcPercent(live uint64) int {
	return int(max(100, 100*headroom/max(live, 4<<20))) //nolint:gosec // at most 900
}
