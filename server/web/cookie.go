package web

import (
	"net/http"
	"time"
)

// SetCookie sets a cookie with the attributes every grantd cookie has: HttpOnly,
// SameSite=Lax (a client's link into /authorize is a cross-site navigation),
// Path=/, no Domain, and with an https issuer Secure and the __Host- prefix, so
// that no sibling domain can plant it. maxAge 0 is a session cookie; below zero
// deletes it.
func (i Issuer) SetCookie(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	cookie := &http.Cookie{Name: i.CookieName(name), Value: value, Path: "/", Secure: i.Secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode} //nolint:gosec // not Secure only with a loopback http issuer, where browsers would drop it
	switch {
	case maxAge < 0:
		cookie.MaxAge = -1
	case maxAge > 0:
		cookie.MaxAge = int(maxAge / time.Second)
	}
	http.SetCookie(w, cookie)
}

// Cookie returns the value of the cookie, or "" when it is absent or was sent
// twice: two of one name mean that somebody else planted one.
func (i Issuer) Cookie(r *http.Request, name string) string {
	cookies := r.CookiesNamed(i.CookieName(name))
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

// CookieName is the full name of one of grantd's cookies.
func (i Issuer) CookieName(name string) string {
	if i.Secure() {
		return "__Host-" + name
	}
	return name
}
