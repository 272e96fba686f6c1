// Package password turns passwords into Argon2id hashes (RFC 9106) in PHC form
// and compares them.
//
// Each hash costs 19 MiB and some 25 ms of one processor, so a flood of sign-ins
// could take the machine. A Hasher therefore lets only so many run at once, keeps
// a short queue, and refuses what does not fit (ErrBusy).
//
// A password is the text, not its bytes: it is brought into Unicode normalization
// form NFC first, so that a letter typed as one code point and the same letter
// typed as two (as some systems do) are the same password. Nothing else is
// folded: case, width and white space matter, and every byte counts, there is no
// length at which the rest is ignored.
package password
