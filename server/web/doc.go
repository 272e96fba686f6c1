// Package web holds what every room with an HTTP door shares: handlers that
// return errors and the three ways an error is shown (OAuth JSON, problem+json,
// a page), URLs built from the issuer, strict reading of forms, the headers of
// pages, the origin check, cookies, the client's address and failure limits.
//
// It decides nothing about OAuth. It is the only place that turns an error into
// a status code.
package web
