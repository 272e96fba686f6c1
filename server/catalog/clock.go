package catalog

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Clock is the machine's clock, corrected by how far it is from the database's,
// so that replicas with clocks of their own agree on what has expired.
type Clock struct {
	offset atomic.Int64 // nanoseconds to add

	mu      sync.Mutex
	samples []sample // the newest last
}

type sample struct {
	offset    time.Duration
	roundTrip time.Duration
}

// keptSamples is how many readings an offset is chosen from: the one with the
// shortest round trip is the surest.
const keptSamples = 8

// Now is the corrected time, in UTC.
func (c *Clock) Now() time.Time {
	return time.Now().Add(time.Duration(c.offset.Load())).UTC()
}

// observe takes one reading of the database's clock, made between asked and
// answered.
func (c *Clock) observe(databaseTime, asked, answered time.Time) {
	roundTrip := answered.Sub(asked)
	middle := asked.Add(roundTrip / 2)
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := sample{offset: databaseTime.Sub(middle), roundTrip: roundTrip}
	// A difference that the round trips cannot explain means that one of the two
	// clocks was set: what was read before tells nothing any more.
	c.samples = slices.DeleteFunc(c.samples, func(s sample) bool {
		return (s.offset - newest.offset).Abs() > (s.roundTrip+newest.roundTrip)/2+time.Millisecond
	})
	c.samples = append(c.samples, newest)
	if len(c.samples) > keptSamples {
		c.samples = c.samples[1:]
	}
	best := c.samples[0]
	for _, s := range c.samples[1:] {
		if s.roundTrip <= best.roundTrip {
			best = s
		}
	}
	// An offset that the round trip could explain is none.
	if best.offset.Abs() <= best.roundTrip/2+time.Millisecond {
		best.offset = 0
	}
	c.offset.Store(int64(best.offset))
}
