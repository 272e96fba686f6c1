package login_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

// LG-01, CS-18: a browser's word that another site sent the post.
func TestLG01LoginCSRF(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	for _, c := range []struct {
		name    string
		headers []change
		status  int
	}{
		{"cross-site", []change{header("Sec-Fetch-Site", "cross-site")}, 403},
		{"sibling site", []change{header("Sec-Fetch-Site", "same-site")}, 403},
		{"cross-site claiming our origin", []change{header("Sec-Fetch-Site", "cross-site"), header("Origin", h.URL)}, 403},
		{"foreign origin", []change{header("Origin", "https://evil.example")}, 403},
		{"foreign origin, same-origin", []change{header("Sec-Fetch-Site", "same-origin"), header("Origin", "https://evil.example")}, 403},
		{"null origin alone", []change{header("Origin", "null")}, 403},
		{"null origin, same-origin", []change{header("Sec-Fetch-Site", "same-origin"), header("Origin", "null")}, 303},
		{"browser", []change{header("Sec-Fetch-Site", "same-origin"), header("Origin", h.URL)}, 303},
		{"older browser", []change{header("Origin", h.URL)}, 303},
		{"program", nil, 303},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := h.signIn(t, "alice", right, c.headers...)
			a.want(t, c.status)
			if signedIn := len(a.Cookies()) > 0; signedIn != (c.status == 303) {
				t.Errorf("cookies: %v", a.Cookies())
			}
		})
	}
	if got := len(h.actions(t, "user.signed_in")); got != 4 {
		t.Errorf("%d sign-ins are audited, want 4", got)
	}
}

func TestLG02FixationOverHTTP(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	h.user(t, "mallory")
	planted := h.signIn(t, "mallory", right).cookie("grantd_session")
	fresh := h.signIn(t, "alice", right, with(planted)).cookie("grantd_session")
	if fresh == nil || fresh.Value == planted.Value {
		t.Fatalf("session cookie %v after %v", fresh, planted)
	}
	h.get(t, "/login", with(planted)).want(t, http.StatusOK) // asked: nobody is signed in
	h.get(t, "/login", with(fresh)).want(t, http.StatusSeeOther)
}

// LG-03: what is observable without a clock is the same.
func TestLG03NoUserEnumeration(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	h.user(t, "bobby", func(u *storage.User) { u.Disabled = true })
	h.user(t, "carol", func(u *storage.User) { u.PasswordHash = "" })
	type outcome struct {
		Status int
		Length int
		Header http.Header
	}
	look := func(a answer) outcome {
		a.Header.Del("Date")
		return outcome{a.StatusCode, len(a.body), a.Header}
	}
	want := look(h.signIn(t, "alice", "wrong"))
	if want.Status != http.StatusUnauthorized {
		t.Errorf("status %d", want.Status)
	}
	for name, a := range map[string]answer{
		"unknown user":                  h.signIn(t, "nobdy", "wrong"),
		"disabled user":                 h.signIn(t, "bobby", "wrong"),
		"disabled user, password right": h.signIn(t, "bobby", right),
		"user without a password":       h.signIn(t, "carol", "wrong"),
		"unlikely name":                 h.signIn(t, "ab\x01cd", "wrong"),
		"name that is not UTF-8":        h.signIn(t, "a\xffbcd", "wrong"),
	} {
		got := look(a)
		if strings.HasPrefix(name, "unlikely") || strings.HasPrefix(name, "name that") {
			got.Length = want.Length // such names are shown in other letters
			got.Header.Set("Content-Length", want.Header.Get("Content-Length"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-wrong password +this):\n%s", name, diff)
		}
	}
}

// LG-03: every failure costs one hash, no less and no more. Not parallel: it
// measures what the whole process allocates, and a hash is 19 MiB.
func TestLG03SameWork(t *testing.T) {
	h := newHouse(t, options{})
	h.user(t, "alice")
	h.user(t, "bobby", func(u *storage.User) { u.Disabled = true })
	h.user(t, "carol", func(u *storage.User) { u.PasswordHash = "" })
	h.signIn(t, "warms", "up") // connections and the like
	for _, username := range []string{"alice", "bobby", "carol", "nobdy", "ab\x01cd", strings.Repeat("x", 300)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h.signIn(t, username, "wrong").want(t, http.StatusUnauthorized)
		runtime.ReadMemStats(&after)
		if hashes := float64(after.TotalAlloc-before.TotalAlloc) / (19 << 20); hashes < 1 || hashes > 1.5 {
			t.Errorf("%.8q costs %.2f hashes", username, hashes)
		}
	}
}

func TestLG06PasswordSize(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	for _, c := range []struct {
		name, password string
		status         int
	}{
		{"1,024 bytes", strings.Repeat("x", 1024), 401},
		{"1,025 bytes", strings.Repeat("x", 1025), 400},
		{"1,025 bytes in fewer letters", strings.Repeat("é", 512) + "x", 400},
		{"1 MiB", strings.Repeat("x", 1<<20), 400},
		{"none", "", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.signIn(t, "alice", c.password).want(t, c.status)
		})
	}
	h.signIn(t, "", right).want(t, http.StatusBadRequest)
}

// LG-08: only the query as a whole goes on; no parameter names a place.
func TestLG08NoOpenRedirect(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	credentials := url.Values{"username": {"alice"}, "password": {right}}.Encode()
	for _, place := range []string{"//evil.example", "https:evil.example", `\evil.example`, `/\evil.example`, "https://evil.example/"} {
		fields := url.Values{}
		for _, name := range []string{"return_to", "next", "redirect", "redirect_uri", "continue", "url", "rd"} {
			fields.Set(name, place)
		}
		inBody := h.send(t, http.MethodPost, "/login", credentials+"&"+fields.Encode())
		if got := inBody.Header.Get("Location"); got != "/account" {
			t.Errorf("%s in the body leads to %s", place, got)
		}
		inQuery := h.send(t, http.MethodPost, "/login?"+fields.Encode(), credentials)
		if got := inQuery.Header.Get("Location"); got != "/authorize?"+fields.Encode() {
			t.Errorf("%s in the query leads to %s", place, got)
		}
		alone := h.send(t, http.MethodPost, "/login?"+url.PathEscape(place), credentials)
		if got := alone.Header.Get("Location"); got != "/authorize?"+url.PathEscape(place) {
			t.Errorf("%s as the query leads to %s", place, got)
		}
	}
}

// LG-08: a user code alone leads to /device (RFC 8628 section 3.3), and nothing that
// an authorization request can be does.
func TestLG08DevicePage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	credentials := url.Values{"username": {"alice"}, "password": {right}}.Encode()
	for query, want := range map[string]string{
		"user_code=":                              "/device?user_code=",
		"user_code=WDJB-MJHT":                     "/device?user_code=WDJB-MJHT",
		"user_code=%2F%2Fevil.example":            "/device?user_code=%2F%2Fevil.example",
		"user_code=//evil.example":                "/device?user_code=//evil.example",
		"user_code=WDJB-MJHT&client_id=x":         "/authorize?user_code=WDJB-MJHT&client_id=x",
		"user_code=WDJB-MJHT&user_code=WDJB-MJHT": "/authorize?user_code=WDJB-MJHT&user_code=WDJB-MJHT",
		"client_id=x&user_code=WDJB-MJHT":         "/authorize?client_id=x&user_code=WDJB-MJHT",
		"user_code":                               "/authorize?user_code",
	} {
		if got := h.send(t, http.MethodPost, "/login?"+query, credentials).Header.Get("Location"); got != want {
			t.Errorf("%s leads to %s, want %s", query, got, want)
		}
	}
}

// HT-05: what a link says is not shown.
func TestHT05NothingOfTheQueryIsShown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	for _, q := range []string{
		"error_description=<script>alert(1)</script>",
		`x="><script>alert(1)</script>`,
		"x=%22%3E%3Cscript%3E",
	} {
		r := h.get(t, "/login?"+strings.ReplaceAll(q, " ", "+"))
		r.want(t, http.StatusOK)
		if strings.Contains(r.body, "<script") {
			t.Errorf("%s is reflected", q)
		}
	}
	a := h.signIn(t, `"><script>alert(1)</script>`, "wrong")
	a.want(t, http.StatusUnauthorized)
	if strings.Contains(a.body, "<script") {
		t.Error("the user name is reflected unescaped")
	}
}

// LG-07 and HT-01: not parallel, it reads the process's log.
func TestLG07NoCredentialsInURLsOrLogs(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(before) })

	h := newHouse(t, options{})
	alice := h.user(t, "alice")
	const canary = "canary-4711"
	for _, target := range []string{
		"/login?username=alice&password=" + canary,
		"/login?user=&password=",
		"/login?" + query + "&password=" + canary,
		"/login?%zz&password=" + canary,
		"/login?p%61ssword=" + canary,
	} {
		a := h.get(t, target)
		a.want(t, http.StatusMethodNotAllowed)
		if got := a.Header.Get("Allow"); got != "POST" {
			t.Errorf("Allow: %q", got)
		}
		if strings.Contains(a.body, canary) {
			t.Error("the password is reflected")
		}
	}
	a := h.signIn(t, "alice", right)
	token, device := a.cookie("grantd_session").Value, a.cookie("grantd_device").Value
	h.signIn(t, canary, "wrong-"+canary) // typed into the wrong field
	h.signIn(t, "alice", "wrong-"+canary)
	h.signIn(t, canary+"\r\nlevel=ERROR \x1b[31m", "x")
	for range 12 {
		h.signIn(t, "alice", "wrong-"+canary)
	}
	h.send(t, http.MethodPost, "/logout", "", with(a.Cookies()...))

	text := log.String()
	for _, secret := range []string{canary, right, token, device} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %.12s…:\n%s", secret, text)
		}
	}
	if strings.Contains(text, "alice") || strings.Contains(text, alice.ID) {
		t.Error("the log names users")
	}
	failed := 0
	for line := range strings.Lines(text) { // HT-02: one event, one line
		var event struct{ Msg, Reason, Mark string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Errorf("not one event: %s", line)
		}
		if event.Msg == "sign-in failed" {
			failed++
		}
	}
	if failed != 12 { // two strangers and ten of alice's before she is blocked
		t.Errorf("%d failures are logged, want 12", failed)
	}
}
