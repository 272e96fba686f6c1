package main

import "runtime"

// fewestProcessors is how many of Go's processors there are where nothing forbids it.
const fewestProcessors = 4

// settleProcessors is called when the server has started. On a machine of few cores
// PostgreSQL or another program takes the core from one of Go's threads now and then, and
// what is queued behind it waits for milliseconds: with more of them than cores, the
// others take it over (docs/adr/0040).
func settleProcessors(getenv func(string) string) {
	is := runtime.GOMAXPROCS(0)
	if n := processors(is, runtime.NumCPU(), getenv("GOMAXPROCS")); n != is {
		runtime.GOMAXPROCS(n)
	}
}

// processors returns how many there should be where Go has made it so many; chosen is
// the operator's choice. Fewer than cores means a quota of CPU time, which more of them
// would only use up sooner. Go makes no fewer than two of a quota, so on two cores it is
// not seen, nor does it matter: they are all that run at once.
func processors(is, cores int, chosen string) int {
	if is < cores || chosen != "" {
		return is
	}
	return max(is, fewestProcessors)
}
