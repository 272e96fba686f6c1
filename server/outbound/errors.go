package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"
)

// unfetched is what everybody may know, whatever went wrong.
const unfetched = "the document could not be fetched"

// The kinds of errors. ErrRefused and ErrFetch have one text on purpose: a
// stranger must not learn from it which addresses exist or are forbidden.
var (
	// ErrRefused: policy forbids the URL, its host or every address of the host.
	ErrRefused = errors.New(unfetched)
	// ErrFetch: the host was asked, or should have been, and brought no good document.
	ErrFetch = errors.New(unfetched)
	// ErrBusy: a limit is reached; the answer is 429 with Error.RetryAfter.
	ErrBusy = errors.New("too many documents are being fetched; try again later")
)

// Error is why there is no document. Its text is the same for every cause. For
// errors.Is it is ErrRefused, ErrFetch or ErrBusy.
type Error struct {
	// Reason is for the log and the audit only. It is made of fixed words, numbers
	// and addresses, and never quotes what a stranger sent.
	Reason string
	// RetryAfter is when to try again after ErrBusy, else 0.
	RetryAfter time.Duration

	kind error
}

// Error returns the text for everybody.
func (e *Error) Error() string { return e.kind.Error() }

// Unwrap returns ErrRefused, ErrFetch or ErrBusy.
func (e *Error) Unwrap() error { return e.kind }

// LogValue gives the log the reason.
func (e *Error) LogValue() slog.Value { return slog.StringValue(e.Reason) }

func refused(reason string) *Error { return &Error{kind: ErrRefused, Reason: reason} }
func failed(reason string) *Error  { return &Error{kind: ErrFetch, Reason: reason} }

// failedAt makes an *Error of a network error. step is what was being done. The
// texts of such errors quote names out of certificates and DNS answers, which
// strangers write: what they mean is told in words of ours.
func failedAt(step string, err error) *Error {
	if already, ok := errors.AsType[*Error](err); ok {
		return already
	}
	return failed(step + ": " + meaning(err))
}

func meaning(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "no such host"
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "timed out"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "the certificate has expired or is not valid yet"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate comes from an unknown authority"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate is for another name"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate is invalid"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timed out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	}
	return "failed"
}
