package storage

import "time"

// A dynamic Client that was used before is kept for ClientIdle after its last Grant
// has ended. The sweep notes once in ClientMark that a client has a Grant.
const (
	ClientIdle = 30 * 24 * time.Hour
	ClientMark = 24 * time.Hour
)

// Registration asks for a dynamic Client (RFC 7591).
type Registration struct {
	// Client is what is inserted, Secrets included. When the registration is
	// folded into a row that is there already, ID, ClientID and CreatedAt become
	// that row's.
	Client *Client
	// Digest is of everything the client says of itself. Registrations with the
	// same one share a row. Nil: this client gets a row of its own.
	Digest []byte
	// InitialAccessTokenHash is that of the InitialAccessToken which came with the
	// registration. Nil: none did.
	InitialAccessTokenHash []byte
	// MaxUnused is how many enabled dynamic clients may exist that never had a
	// Grant. A registration with an initial access token has its own limit and is
	// let in beyond it.
	MaxUnused int
}
