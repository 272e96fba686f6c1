package templates

// NewFrom is New over other files, for tests of what New refuses.
var NewFrom = newSet
