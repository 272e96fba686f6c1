// Package e2e drives the real grantd binary from outside: with the official MCP
// SDK, with a real browser, and over both databases. It also keeps the plan of the
// house (house_test.go).
package e2e
