// Package factor knows what people prove besides a password: the codes of
// authenticator apps (TOTP, RFC 6238), recovery codes, and passkeys (WebAuthn). The
// library for the last is used in this room alone.
//
// It decides whether a code or a signature is right and keeps what must be kept. How often somebody
// may try, and what a right code is worth, is for its callers to say.
package factor
