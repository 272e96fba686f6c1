package web

import "errors"

// ErrUnattended: who a client is may be found out only for somebody who has signed
// in.
var ErrUnattended = errors.New("nobody has signed in")
