// Package login signs people in with a user name and a password, or a passkey, and out
// again.
//
// The request is the state: the page is at /login?<query of /authorize>, its form
// posts back to the same URL, and success leads to /authorize?<the same query>, to
// /device?<the same query> if that is a user code alone, or without a query to
// /account. No parameter can name another place, so there is
// no open redirect to guard against (OAuth 2.1 §7.12). Nothing is stored and no
// cookie set before somebody has signed in.
//
// Forged posts from other sites are refused by their origin (Sec-Fetch-Site, else
// Origin) rather than by a token in the form, so that a program may post the two
// fields without reading the page.
//
// Guessing is slowed by counting failures, never honest sign-ins. A stranger's
// failures count against the pair of user and address, against the address, and
// against the user. A device on which the user signed in before has a count of
// its own: no stranger can lock its owner out.
//
// A failed sign-in is a 401 without a challenge: no HTTP authentication scheme
// would help, and a challenge could make browsers ask in a dialog of their own.
package login
