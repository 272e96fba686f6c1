// Package session is the link between a browser and its storage.Session.
//
// The browser holds 256 random bits in a cookie, the row their SHA-256, so a
// stolen copy of the database signs nobody in. The cookie is opaque: nothing in
// it is believed, and what does not look like one of ours never reaches the
// database (RFC 6265bis on cookies planted by a neighbouring host). A sign-in
// always makes a new token; a token that was there before it is never adopted.
//
// A second cookie marks the device as one on which a user has signed in before.
// It signs nobody in; it only lets that user past limits that strangers have
// used up.
package session
