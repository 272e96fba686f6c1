// Package upstream signs people in with their organisation's identity providers
// (OpenID Connect Core 1.0, authorization code flow).
//
// /login/upstream/{id}?<query of /authorize> leads to the provider, whose answer comes
// to /login/upstream/{id}/callback and, if all is well, leads on as a password would.
// It makes a Session and nothing else: consent is asked by grantd before every code.
//
// Nothing is stored in between. What must be remembered travels sealed in state, for
// ten minutes: the provider, the query, the secret that the nonce and the PKCE
// verifier come from, and what sign-in was asked for. A cookie holds one mark for each
// sign-in under way and gives it up at the callback, so that an answer counts once and
// in the browser that asked for it (OAuth 2.0 Security BCP §4.7). Each provider has a
// redirect URI of its own, and an iss in the answer must be the provider's, so that no
// provider's answer is taken for another's (RFC 9207, BCP §4.4).
//
// Who somebody is, the ID token alone says: its issuer, audience, azp, expiry, nonce
// and signature are checked, the last by an asymmetric algorithm that the provider's
// metadata names. The userinfo endpoint may only add a name, an address and groups.
package upstream
