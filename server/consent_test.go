package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grantd/server/servertest"
)

// approval is the form of a consent page with Allow pressed, changed by pairs.
func approval(page *servertest.Page, pairs ...string) url.Values {
	return changed(changed(page.Fields(), "decision", "approve"), pairs...)
}

// wantCode returns the code with which a browser was sent to the client.
func wantCode(t testing.TB, page *servertest.Page) string {
	t.Helper()
	if page.Left == nil || page.Left.Query().Get("code") == "" {
		t.Fatalf("no code: %d at %s, left for %v\n%s", page.Status, page.URL, page.Left, page.Body)
	}
	return page.Left.Query().Get("code")
}

// wantAsked checks that nothing was approved and the person is asked (again).
func wantAsked(t testing.TB, page *servertest.Page) {
	t.Helper()
	if !page.IsConsent() || page.Status != http.StatusOK {
		t.Errorf("no consent page: %d at %s, left for %v\n%s", page.Status, page.URL, page.Left, page.Body)
	}
}

func wantStatus(t testing.TB, page *servertest.Page, status int) {
	t.Helper()
	if page.Status != status || page.Left != nil || page.Header.Get("Location") != "" {
		t.Errorf("the answer is %d, left for %v; want %d\n%s", page.Status, page.Left, status, page.Body)
	}
}

// granted are the scopes of the only Grant.
func (f *front) granted(t testing.TB) []string {
	t.Helper()
	grants := f.list(t, "/grants")
	if len(grants) != 1 {
		t.Fatalf("there are %d Grants", len(grants))
	}
	var scopes []string
	for _, scope := range grants[0]["scopes"].([]any) {
		scopes = append(scopes, scope.(string))
	}
	return scopes
}

func TestConsentBelongsToOneSessionAndRequest(t *testing.T) {
	f := newFront(t)
	f.User("mallory")
	mallory := f.SignedIn("mallory")
	page := f.alice.Authorize(f.ask())
	seal := page.Fields().Get("approval")
	foreign, another := mallory.Authorize(f.ask()), f.SignedIn("alice")
	f.quiet(t, func() {
		t.Run("CS-01 without the seal", func(t *testing.T) {
			wantStatus(t, f.alice.Post(page.Action(), approval(page, "approval", "")), http.StatusForbidden)
		})
		t.Run("CS-01 with a changed seal", func(t *testing.T) {
			wantStatus(t, f.alice.Post(page.Action(), approval(page, "approval", forged(seal))), http.StatusForbidden)
		})
		t.Run("CS-01 with half a seal", func(t *testing.T) {
			wantStatus(t, f.alice.Post(page.Action(), approval(page, "approval", seal[:len(seal)/2])), http.StatusForbidden)
		})
		t.Run("CS-02 with the seal of the attacker's own session", func(t *testing.T) {
			wantStatus(t, f.alice.Post(page.Action(), approval(page, "approval", foreign.Fields().Get("approval"))), http.StatusForbidden)
		})
		t.Run("CS-02 the attacker with the victim's page", func(t *testing.T) {
			wantStatus(t, mallory.Post(page.Action(), approval(page)), http.StatusForbidden)
		})
		t.Run("CS-01 of the same person's other session", func(t *testing.T) {
			wantStatus(t, another.Post(page.Action(), approval(page)), http.StatusForbidden)
		})
		t.Run("CS-01 nobody is signed in", func(t *testing.T) {
			if got := f.Browser().Post(page.Action(), approval(page)); !got.IsLogin() {
				t.Errorf("%d at %s", got.Status, got.URL)
			}
		})
		t.Run("CS-01 with the seal of another request", func(t *testing.T) {
			other := f.alice.Authorize(f.ask("scope", "notes:read"))
			wantAsked(t, f.alice.Post(page.Action(), approval(page, "approval", other.Fields().Get("approval"))))
		})
		t.Run("CS-01 denying takes the seal too", func(t *testing.T) {
			wantStatus(t, f.alice.Post(page.Action(), approval(page, "decision", "deny", "approval", forged(seal))), http.StatusForbidden)
		})
	})
	wantCode(t, f.alice.Approve(page)) // after all of that
}

func TestConsentRequestIsTheOneShown(t *testing.T) {
	f := newFront(t)
	f.Resource("https://files.example.com/mcp", nil, "files:read", "notes:read")
	other := f.Must(http.MethodPost, "/clients", servertest.Object{
		"client_name": "Evil", "redirect_uris": []string{"https://evil.example/cb", webCallback}, "token_endpoint_auth_method": "none",
	}).String("client_id")
	page := f.alice.Authorize(f.ask("scope", "notes:read"))
	f.quiet(t, func() {
		for name, pairs := range map[string][]string{
			"scope":               {"scope", "notes:read notes:write"},
			"resource":            {"resource", "https://files.example.com/mcp"},
			"client and redirect": {"client_id", other, "redirect_uri", "https://evil.example/cb"},
			"client":              {"client_id", other},
			"code_challenge":      {"code_challenge", servertest.ChallengeOf(strings.Repeat("x", 43))},
			"state":               {"state", "attacker's"},
			"one more parameter":  {"nonce", "x"},
		} {
			t.Run("CS-06 the URL has another "+name, func(t *testing.T) {
				target := f.URL + "/authorize?" + f.ask(append([]string{"scope", "notes:read"}, pairs...)...).Encode()
				wantAsked(t, f.alice.Post(target, approval(page)))
			})
		}
		for name, pairs := range map[string][]string{
			"resource":      {"resource", "https://files.example.com/mcp"},
			"redirect_uri":  {"redirect_uri", "https://evil.example/cb"},
			"client_id":     {"client_id", other},
			"state":         {"state", "x"},
			"CS-19 _method": {"_method", "DELETE"},
			"decision":      {"decision", "maybe"},
		} {
			t.Run("CS-06 the form has "+name, func(t *testing.T) {
				wantStatus(t, f.alice.Post(page.Action(), approval(page, pairs...)), http.StatusBadRequest)
			})
		}
		t.Run("CS-06 a scope that was not shown", func(t *testing.T) {
			wantStatus(t, f.alice.Approve(page, "notes:read", "notes:write"), http.StatusBadRequest)
		})
		t.Run("AZ-26 a field twice", func(t *testing.T) {
			form := approval(page)
			form["decision"] = []string{"deny", "approve"}
			wantStatus(t, f.alice.Post(page.Action(), form), http.StatusBadRequest)
		})
		t.Run("nothing ticked", func(t *testing.T) {
			got := f.alice.Post(page.Action(), approval(page, "scope", ""))
			wantAsked(t, got)
			if !strings.Contains(got.Body, "Choose at least one permission") {
				t.Error("the page does not say what to mend")
			}
		})
	})
	t.Run("CS-03 two tabs", func(t *testing.T) {
		first := f.alice.Authorize(f.ask())
		f.alice.Authorize(changed(servertest.AuthorizationRequest(other, "https://evil.example/cb", resourceURI)))
		approved := f.alice.Approve(first)
		wantCode(t, approved)
		f.responseParameters(t, approved.Left.String(), webCallback)
		for _, grant := range f.list(t, "/grants") {
			if grant["client_id"] == other {
				t.Errorf("the other client was granted %v", grant)
			}
		}
	})
}

// TestApproveOnce: one page approves once, however often it is sent.
func TestApproveOnce(t *testing.T) {
	f := newFront(t)
	t.Run("CS-04 sent again", func(t *testing.T) {
		page := f.alice.Authorize(f.ask())
		code := wantCode(t, f.alice.Approve(page))
		for range 2 {
			wantStatus(t, f.alice.Approve(page), http.StatusConflict)
		}
		wantStatus(t, f.alice.Approve(page, "notes:read"), http.StatusConflict)
		if answer := f.Redeem(f.clientID, code); answer.JSON["error"] != "invalid_grant" { // another client's
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
		if got := f.granted(t); !slices.Equal(got, []string{"notes:read", "notes:write"}) {
			t.Errorf("the Grant has %q: the second answer changed it", got)
		}
	})
	t.Run("CS-04 double click", func(t *testing.T) {
		for range 5 {
			page := f.alice.Authorize(f.ask("prompt", "consent"))
			var codes, conflicts atomic.Int64
			header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {f.Origin}}
			race(8, func(int) {
				answer := f.alice.Send(http.MethodPost, page.Action(), approval(page).Encode(), header)
				switch {
				case answer.Status == http.StatusSeeOther && strings.Contains(answer.Header.Get("Location"), "code="):
					codes.Add(1)
				case answer.Status == http.StatusConflict:
					conflicts.Add(1)
				}
			})
			if codes.Load() != 1 || conflicts.Load() != 7 {
				t.Errorf("eight clicks gave %d codes and %d conflicts", codes.Load(), conflicts.Load())
			}
		}
	})
	t.Run("CS-05 loaded twice, the first sent", func(t *testing.T) {
		first := f.alice.Authorize(f.ask("prompt", "consent"))
		second := f.alice.Authorize(f.ask("prompt", "consent"))
		one, two := wantCode(t, f.alice.Approve(first)), wantCode(t, f.alice.Approve(second))
		if one == two {
			t.Error("two pages gave one code")
		}
	})
}

// TestRemembered: an earlier approval answers only for what is exactly as the
// person saw it then.
func TestRemembered(t *testing.T) {
	f := newFront(t)
	const second = "https://app.example.com/second"
	client := f.SecretClient(webCallback, second, "http://127.0.0.1/callback")
	id := client.String("client_id")
	f.Resource("https://files.example.com/mcp", nil, "files:read")
	ask := func(pairs ...string) url.Values { return f.ask(append([]string{"client_id", id}, pairs...)...) }

	page := f.alice.Authorize(ask("scope", "notes:read"))
	wantAsked(t, page)
	wantCode(t, f.alice.Approve(page))
	wantCode(t, f.alice.Authorize(ask("scope", "notes:read")))
	f.User("bob")
	bob := f.SignedIn("bob")
	f.quiet(t, func() {
		for name, pairs := range map[string][]string{
			"CS-09 one more scope":             {"scope", "notes:read notes:write"},
			"CS-09 other resource":             {"resource", "https://files.example.com/mcp"},
			"CS-09 other redirect":             {"scope", "notes:read", "redirect_uri", second},
			"CS-08 a loopback redirect":        {"scope", "notes:read", "redirect_uri", "http://127.0.0.1:4711/callback"},
			"the client asks for the page":     {"scope", "notes:read", "prompt", "consent"},
			"no scope sent, more than granted": {"scope", ""},
		} {
			t.Run(name, func(t *testing.T) { wantAsked(t, f.alice.Authorize(ask(pairs...))) })
		}
		t.Run("another person", func(t *testing.T) { wantAsked(t, bob.Authorize(ask("scope", "notes:read"))) })
	})
	t.Run("CS-09 changed name", func(t *testing.T) {
		f.Must(http.MethodPatch, "/clients/"+client.String("id"), servertest.Object{"client_name": "Renamed"})
		page := f.alice.Authorize(ask("scope", "notes:read"))
		wantAsked(t, page)
		wantCode(t, f.alice.Approve(page))
		wantCode(t, f.alice.Authorize(ask("scope", "notes:read")))
	})
	t.Run("the approval was withdrawn", func(t *testing.T) {
		f.Must(http.MethodDelete, "/grants/"+f.list(t, "/grants")[0].String("id"), nil)
		wantAsked(t, f.alice.Authorize(ask("scope", "notes:read")))
	})
	for name, request := range map[string]url.Values{
		"CS-08 public client on loopback":   servertest.AuthorizationRequest(f.clientID, "http://127.0.0.1:4711/callback", resourceURI),
		"CS-08 a client with a secret, too": ask("redirect_uri", "http://127.0.0.1:4711/callback"),
		"a client that registered itself":   f.askDynamic(),
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				page := f.alice.Authorize(request)
				wantAsked(t, page)
				wantCode(t, f.alice.Approve(page))
			}
		})
	}
}

// TestGrantIsWhatWasTicked: the Grant becomes (Grant - shown) + ticked, the token
// what was ticked.
func TestGrantIsWhatWasTicked(t *testing.T) {
	f := newFront(t)
	request := func(scope string) url.Values {
		return changed(servertest.AuthorizationRequest(f.clientID, callback, resourceURI), "scope", scope)
	}
	for _, c := range []struct {
		shown   string
		ticked  []string
		granted []string
	}{
		{"notes:read notes:write", []string{"notes:read"}, []string{"notes:read"}},
		{"notes:write", []string{"notes:write"}, []string{"notes:read", "notes:write"}},
		{"notes:read notes:write", []string{"notes:write"}, []string{"notes:write"}},
		{"notes:read", []string{"notes:read"}, []string{"notes:read", "notes:write"}},
	} {
		code := wantCode(t, f.alice.Approve(f.alice.Authorize(request(c.shown)), c.ticked...))
		if got := wantTokens(t, f.Redeem(f.clientID, code)).scope; got != strings.Join(c.ticked, " ") {
			t.Errorf("of %q were ticked %q, the token has %q", c.shown, c.ticked, got)
		}
		if got := f.granted(t); !slices.Equal(got, c.granted) {
			t.Errorf("of %q were ticked %q, the Grant has %q, want %q", c.shown, c.ticked, got, c.granted)
		}
	}
}

// TestChangesBetweenPageAndAnswer: CS-07 and CS-20. Each case has a server of its
// own, since it changes things for good.
func TestChangesBetweenPageAndAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *front)
		check  func(t *testing.T, f *front, answer *servertest.Page)
	}{
		"CS-07 other redirect URIs": {
			func(f *front) {
				f.Must(http.MethodPatch, "/clients/"+f.web, servertest.Object{"redirect_uris": []string{"https://evil.example/cb"}})
			},
			func(t *testing.T, _ *front, answer *servertest.Page) { wantRefusalPage(t, answer) },
		},
		"CS-07 other name": {
			func(f *front) {
				f.Must(http.MethodPatch, "/clients/"+f.web, servertest.Object{"client_name": "Trusted Bank"})
			},
			func(t *testing.T, f *front, answer *servertest.Page) {
				wantAsked(t, answer)
				if !strings.Contains(answer.Body, "Trusted Bank") {
					t.Error("the new page does not show the new name")
				}
				wantCode(t, f.alice.Approve(answer))
			},
		},
		"CS-20 other words of a scope": {
			func(f *front) {
				f.patchResource(servertest.Object{"scopes": []servertest.Object{
					{"name": "notes:read", "description": "Read and publish everything."}, {"name": "notes:write", "description": "Use notes:write."},
				}})
			},
			func(t *testing.T, _ *front, answer *servertest.Page) { wantAsked(t, answer) },
		},
		"CS-20 a scope removed": {
			func(f *front) {
				f.patchResource(servertest.Object{"scopes": []servertest.Object{{"name": "notes:read", "description": "Use notes:read.", "tools": []string{"tool_notes:read"}}}})
			},
			func(t *testing.T, f *front, answer *servertest.Page) {
				wantAsked(t, answer)
				code := wantCode(t, f.alice.Approve(answer))
				if code == "" || !slices.Equal(f.granted(t), []string{"notes:read"}) {
					t.Errorf("the Grant has %q", f.granted(t))
				}
			},
		},
		"CS-20 other name of the resource": {
			func(f *front) { f.patchResource(servertest.Object{"name": "Other notes"}) },
			func(t *testing.T, _ *front, answer *servertest.Page) { wantAsked(t, answer) },
		},
		"CS-20 the resource deleted": {
			func(f *front) {
				f.Must(http.MethodDelete, "/resources/"+f.list(f.tb(), "/resources")[0].String("id"), nil)
			},
			func(t *testing.T, f *front, answer *servertest.Page) {
				f.wantRedirectError(t, answer, webCallback, "state-of-the-client", "invalid_target")
			},
		},
		"CS-20 the client disabled": {
			func(f *front) { f.Must(http.MethodPatch, "/clients/"+f.web, servertest.Object{"disabled": true}) },
			func(t *testing.T, _ *front, answer *servertest.Page) { wantRefusalPage(t, answer) },
		},
		"CS-20 the client deleted": {
			func(f *front) { f.Must(http.MethodDelete, "/clients/"+f.web, nil) },
			func(t *testing.T, _ *front, answer *servertest.Page) { wantRefusalPage(t, answer) },
		},
		"CS-20 the user disabled": {
			func(f *front) {
				f.Must(http.MethodPatch, "/users/"+f.find(f.tb(), "/users", "username", "alice"), servertest.Object{"disabled": true})
			},
			wantLogin,
		},
		"CS-20 the user deleted": {
			func(f *front) {
				f.Must(http.MethodDelete, "/users/"+f.find(f.tb(), "/users", "username", "alice"), nil)
			},
			wantLogin,
		},
		"CS-20 another password": {
			func(f *front) {
				f.Must(http.MethodPatch, "/users/"+f.find(f.tb(), "/users", "username", "alice"), servertest.Object{"password": "another long password"})
			},
			wantLogin,
		},
		"CS-20 signed out":          {func(f *front) { f.alice.Post(f.URL+"/logout", nil) }, wantLogin},
		"CS-20 the session expired": {func(f *front) { f.Clock.Advance(25 * time.Hour) }, wantLogin},
		"CS-20 after ten minutes": {
			func(f *front) { f.Clock.Advance(10*time.Minute + time.Second) },
			func(t *testing.T, f *front, answer *servertest.Page) {
				wantAsked(t, answer)
				if !strings.Contains(answer.Body, "out of date") {
					t.Error("the page does not say why it is shown again")
				}
				wantCode(t, f.alice.Approve(answer))
			},
		},
		"just before ten minutes": {
			func(f *front) { f.Clock.Advance(10 * time.Minute) },
			func(t *testing.T, _ *front, answer *servertest.Page) { wantCode(t, answer) },
		},
		"CS-20 another name of the person": {
			func(f *front) {
				f.Must(http.MethodPatch, "/users/"+f.find(f.tb(), "/users", "username", "alice"), servertest.Object{"name": "Alice of Elsewhere"})
			},
			func(t *testing.T, f *front, answer *servertest.Page) {
				wantAsked(t, answer)
				wantSays(t, answer, "Alice of Elsewhere")
				wantCode(t, f.alice.Approve(answer))
			},
		},
		"the person has changed where nobody sees it": {
			func(f *front) { f.groups(f.tb(), "staff") },
			func(t *testing.T, _ *front, answer *servertest.Page) { wantCode(t, answer) },
		},
		"another page approved meanwhile": {
			func(f *front) { f.alice.Approve(f.alice.Authorize(f.ask())) },
			func(t *testing.T, _ *front, answer *servertest.Page) { wantCode(t, answer) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t)
			page := f.alice.Authorize(f.ask())
			c.change(f)
			c.check(t, f, f.alice.Approve(page))
		})
	}
}

func wantLogin(t *testing.T, _ *front, answer *servertest.Page) {
	t.Helper()
	if !answer.IsLogin() {
		t.Errorf("the answer is %d at %s, left for %v", answer.Status, answer.URL, answer.Left)
	}
}

func (f *front) patchResource(patch servertest.Object) {
	f.Must(http.MethodPatch, "/resources/"+f.list(f.tb(), "/resources")[0].String("id"), patch)
}

func TestDeny(t *testing.T) {
	f := newFront(t)
	t.Run("CS-17 a registered client", func(t *testing.T) {
		page := f.alice.Authorize(f.ask())
		f.quiet(t, func() {
			f.wantRedirectError(t, f.alice.Deny(page), webCallback, "state-of-the-client", "access_denied")
		})
	})
	t.Run("CS-17 a client that registered itself", func(t *testing.T) {
		page := f.alice.Authorize(f.askDynamic())
		f.quiet(t, func() {
			denied := f.alice.Deny(page)
			wantStatus(t, denied, http.StatusOK)
			i := slices.IndexFunc(denied.Links(), func(link string) bool { return strings.HasPrefix(link, dynamicCallback) })
			if i < 0 || strings.Contains(denied.Body, "http-equiv") {
				t.Fatalf("no link to the client, or the page goes there by itself:\n%s", denied.Body)
			}
			f.wantErrorResponse(t, denied.Links()[i], dynamicCallback, "state-of-the-client", "access_denied")
		})
	})
	if grants := f.list(t, "/grants"); len(grants) != 0 {
		t.Errorf("denying left %v", grants)
	}
	t.Run("denying takes nothing away", func(t *testing.T) {
		wantCode(t, f.alice.Approve(f.alice.Authorize(f.ask())))
		f.alice.Deny(f.alice.Authorize(f.ask("prompt", "consent")))
		if got := f.granted(t); len(got) != 2 {
			t.Errorf("the Grant has %q", got)
		}
	})
}

// TestDecisionCrossSite: CS-18 and CS-19. The seal alone is not enough.
func TestDecisionCrossSite(t *testing.T) {
	f := newFront(t)
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"CS-18 cross-site", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {f.Origin}}, 403},
		{"CS-18 sibling site", http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {f.Origin}}, 403},
		{"CS-18 foreign origin", http.Header{"Origin": {"https://evil.example"}}, 403},
		{"CS-18 foreign origin, vouched for", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://evil.example"}}, 403},
		{"CS-18 origin with another port", http.Header{"Origin": {"http://127.0.0.1:1"}}, 403},
		{"CS-18 origin null alone", http.Header{"Origin": {"null"}}, 403},
		{"CS-18 origin null, same-origin", http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"same-origin"}}, 303},
		{"CS-18 a browser", http.Header{"Origin": {f.Origin}, "Sec-Fetch-Site": {"same-origin"}}, 303},
		{"CS-18 an older browser", http.Header{"Origin": {f.Origin}}, 303},
		{"CS-19 text", http.Header{"Content-Type": {"text/plain"}}, 415},
		{"CS-19 JSON", http.Header{"Content-Type": {"application/json"}}, 415},
		{"CS-19 multipart", http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}, 415},
		{"CS-19 no type", http.Header{"Content-Type": nil}, 415},
		{"CS-19 a method override is ignored", http.Header{"X-Http-Method-Override": {"GET"}}, 303},
	} {
		t.Run(c.name, func(t *testing.T) {
			page := f.alice.Authorize(f.ask("prompt", "consent"))
			if _, set := c.header["Content-Type"]; !set {
				c.header.Set("Content-Type", form)
			}
			answer := f.alice.Send(http.MethodPost, page.Action(), approval(page).Encode(), c.header)
			if answer.Status != c.status || (answer.Header.Get("Location") != "") != (c.status == 303) {
				t.Errorf("%d, Location %q; want %d\n%s", answer.Status, answer.Header.Get("Location"), c.status, answer.Body)
			}
		})
	}
	t.Run("CS-19 a decision by GET", func(t *testing.T) {
		page := f.alice.Authorize(f.askDynamic())
		f.quiet(t, func() {
			wantAsked(t, f.alice.Get(page.Action()+"&"+changed(approval(page), "scope", "").Encode()))
			wantStatus(t, f.alice.Get(f.URL+"/consent?decision=approve"), http.StatusNotFound)
		})
	})
}
