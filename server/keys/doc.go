// Package keys holds the two kinds of keys grantd lives by.
//
// Root keys are configured (--root-key). They seal what grantd hands out and
// takes back (consent pages, steps of a sign-in, signing keys at rest) and
// authenticate authorization codes and refresh tokens. The id of the root key is
// in everything it makes, so a value of an unknown key is told apart from a
// forged one: the first is a mistake of the operator (503), the second of the
// caller.
//
// Signing keys sign access tokens (RFC 9068). They live in the database, their
// private part sealed by the root key, and are published as a JWK set (RFC 7517).
package keys
