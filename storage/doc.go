// Package storage holds grantd's nouns, the rules that belong to them, and the
// contract every database keeps (Store).
//
// One noun, one type, one file. The two implementations, storage/postgres and
// storage/sqlite, are written natively and proved equal by storage/storagetest.
// Nothing here knows HTTP, SQL or the OAuth engine.
//
// Three conventions hold for every Store method:
//
//   - Time is a parameter. No method reads a clock for a business rule.
//   - "Not found" and "unavailable" are never confused: a method answers one of
//     the sentinels in errors.go, and anything that went wrong underneath is
//     ErrUnavailable.
//   - A method is atomic: it has happened whole and durably, or not at all. The
//     AuditEvent it takes is written in the same transaction as the act.
package storage
