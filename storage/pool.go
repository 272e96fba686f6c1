package storage

// Pool is how busy a Store's connections are at a moment.
type Pool struct {
	Max     int   // connections there may be
	Open    int   // connections there are
	InUse   int   // of them
	Calls   int   // calls under way, those that wait for a connection included
	Waits   int64 // how often a call found no free connection, since the start
	Refused int64 // calls that ErrBusy turned away, since the start
}
