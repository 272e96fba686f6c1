// Package oauth is the OAuth 2.1 engine room: /authorize, /token (authorization_code,
// refresh_token, client_credentials, device_code), /device_authorization and /device
// (RFC 8628), /par (RFC 9126), /revoke (RFC 7009) and /introspect (RFC 7662), with
// resource indicators (RFC 8707), issuer identification (RFC 9207) and JWT
// access tokens (RFC 9068).
//
// ory/fosite lives here and nowhere else in grantd: its pipelines build every
// authorize response and every token, through its own handlers where they can
// meet our rows and through ours where they cannot. The rest of the house speaks
// the nouns of package storage.
package oauth
