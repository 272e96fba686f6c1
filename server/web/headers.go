package web

import "net/http"

// FormPolicy says where the forms of a page may lead.
type FormPolicy int

const (
	// OwnForms: the page's forms lead to grantd itself and stay there.
	OwnForms FormPolicy = iota
	// AnyForm: no form-action. Browsers apply form-action to every redirect that
	// follows a post, so a consent page with one never reaches the client.
	AnyForm
	// SecretAddress is OwnForms for a page whose own address is a secret: not even
	// grantd's files are told it in a Referer, where a proxy would log it.
	SecretAddress
	// PasskeyForms is OwnForms for a page that has passkeys made or used, which needs
	// grantd's one script and the browser's leave.
	PasskeyForms
	// SecretPasskeyForms is both SecretAddress and PasskeyForms.
	SecretPasskeyForms
)

func (f FormPolicy) passkeys() bool { return f == PasskeyForms || f == SecretPasskeyForms }

// secret is f for a page whose own address is a secret.
func (f FormPolicy) secret() bool { return f == SecretAddress || f == SecretPasskeyForms }

const contentSecurityPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"

// pageHeaders sets the headers of a page. Referrer-Policy is same-origin rather
// than no-referrer: the latter makes browsers send "Origin: null" with our own
// forms.
func pageHeaders(h http.Header, forms FormPolicy, secure bool) {
	policy := contentSecurityPolicy
	if forms != AnyForm {
		policy += "; form-action 'self'"
	}
	allowed := "()"
	if forms.passkeys() {
		policy += "; script-src 'self'"
		allowed = "(self)"
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	if forms.secret() {
		h.Set("Referrer-Policy", "strict-origin")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), publickey-credentials-get="+allowed+", publickey-credentials-create="+allowed)
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Language")
	if secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// AllowAnyOrigin lets browser programs of any origin call an endpoint that uses
// no cookie (OAuth 2.1 §3.2), and answers their preflight. Credentials are never
// allowed, so a wildcard gives nothing away.
func AllowAnyOrigin(methods string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After, DPoP-Nonce")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", methods)
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, MCP-Protocol-Version, DPoP")
			h.Set("Access-Control-Max-Age", "7200")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
