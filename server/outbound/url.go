package outbound

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxURL is the longest URL, in bytes.
const maxURL = 2048

// target is a URL taken apart.
type target struct {
	raw    string
	url    *url.URL
	scheme string     // "https" or "http"
	host   string     // lower case, without brackets
	addr   netip.Addr // if host is an address, never IPv4-mapped
	port   uint16
}

// ValidateURL says whether raw has the shape of a URL that a stranger may name
// when the operator allows nothing beyond the public internet: https, a host
// name, a path without dot segments, no user, no fragment, at most 2,048 bytes
// (draft-ietf-oauth-client-id-metadata-document §3). Ports are 443 and those from
// 1024 on; a query is accepted. The error is an *Error of ErrRefused.
//
// The rules are on the raw string, because url.Parse forgives and forgets much of
// what they are about. See Fetcher.Check for what the operator allows.
func ValidateURL(raw string) error {
	t, err := parseTarget(raw)
	if err == nil {
		err = policy{}.judgeHost(t)
	}
	if err != nil {
		return err
	}
	return nil
}

// parseTarget takes raw apart if its shape is right, http and addresses included.
func parseTarget(raw string) (target, *Error) {
	if len(raw) > maxURL {
		return target{}, refused("URL: too long")
	}
	// First of all, because beyond ASCII there are letters whose lower case is ASCII.
	if strings.ContainsFunc(raw, func(r rune) bool { return r > unicode.MaxASCII }) {
		return target{}, refused("URL: not ASCII")
	}
	t := target{raw: raw, scheme: "https", port: 443}
	rest, ok := strings.CutPrefix(raw, "https://")
	if !ok {
		if rest, ok = strings.CutPrefix(raw, "http://"); !ok {
			return target{}, refused("URL: not https://")
		}
		t.scheme, t.port = "http", 80
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return target{}, refused("URL: no path")
	}
	if err := t.setAuthority(rest[:slash]); err != nil {
		return target{}, err
	}
	path, query, _ := strings.Cut(rest[slash:], "?")
	if !isEncoded(path, "/") || !isEncoded(query, "/?") {
		return target{}, refused("URL: a character that does not belong there")
	}
	if hasDotSegment(path) {
		return target{}, refused("URL: dot segments")
	}
	parsed, err := url.Parse(raw)
	if err != nil {
		return target{}, refused("URL: malformed")
	}
	t.url = parsed
	return t, nil
}

// setAuthority reads host and port.
func (t *target) setAuthority(authority string) *Error {
	end := 0 // of an address in brackets, whose colons are its own
	if strings.HasPrefix(authority, "[") {
		end = strings.IndexByte(authority, ']') + 1
	}
	host := authority
	if colon := strings.IndexByte(authority[end:], ':'); colon >= 0 {
		host = authority[:end+colon]
		port, ok := parsePort(authority[end+colon+1:])
		if !ok {
			return refused("URL: malformed port")
		}
		t.port = port
	}
	return t.setHost(strings.ToLower(host))
}

func (t *target) setHost(host string) *Error {
	inner, bracketed := strings.CutPrefix(host, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	addr, err := netip.ParseAddr(inner)
	switch {
	case err == nil && bracketed == addr.Is6() && closed == addr.Is6() && addr.Zone() == "":
		t.host, t.addr = inner, addr.Unmap()
	case isName(host):
		t.host = host
	default:
		return refused("URL: malformed host")
	}
	return nil
}

const nameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-_"

// isName: host is a lower-case DNS name, without a final dot, that no resolver
// takes for an address: some read 127.1, 0x7f000001 and 2130706433 as one.
func isName(host string) bool {
	if len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || !consistsOf(label, nameCharacters) {
			return false
		}
	}
	last := labels[len(labels)-1]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return !consistsOf(hex, "0123456789abcdef")
	}
	return !consistsOf(last, "0123456789")
}

func consistsOf(s, characters string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(characters, r) }) < 0
}

func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	// Only the usual spelling: no sign, no leading zeros.
	return uint16(n), err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

// isEncoded: s has only characters of a URL's path (RFC 3986 §3.3) and those in
// more, and each percent sign has its two digits. There are no control characters,
// backslashes, spaces, fragments or bytes beyond ASCII.
func isEncoded(s, more string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-._~!$&'()*+,;=:@", c) >= 0, strings.IndexByte(more, c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			i += 2
		default:
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func hasDotSegment(path string) bool {
	plain := strings.NewReplacer("%2e", ".", "%2E", ".").Replace(path)
	return slices.ContainsFunc(strings.Split(plain, "/"), func(segment string) bool {
		return segment == "." || segment == ".."
	})
}
