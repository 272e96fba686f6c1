package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
	"grantd/storage/postgres"
	"grantd/storage/sqlite"
)

// TestDocumentFlips: CS-07 and CM-24. The document changes between the page and the
// answer, or between the code and its redemption.
func TestDocumentFlips(t *testing.T) {
	t.Run("CS-07 between page and answer", func(t *testing.T) {
		key := newSigner(t, "")
		for name, c := range map[string]struct {
			change servertest.Object
			asked  bool // again; else refused
		}{
			"CS-07 redirect_uris without the one shown": {servertest.Object{"redirect_uris": []string{"https://evil.example/cb"}}, false},
			"CS-07 redirect_uris with one more":         {servertest.Object{"redirect_uris": []string{webCallback, "https://evil.example/cb"}}, true},
			"CS-07 name":                                {servertest.Object{"client_name": "Your Bank"}, true},
			"CS-07 jwks":                                {servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(t)}, true},
		} {
			t.Run(name, func(t *testing.T) {
				n := newNotebook(t)
				page := n.alice.Authorize(n.request())
				n.host.publish(notebookPath, c.change)
				n.Clock.Advance(2 * time.Minute)
				answer := n.alice.Approve(page)
				if answer.Left != nil {
					t.Fatalf("a code went to %s", answer.Left)
				}
				if n.row(t) != nil {
					t.Error("a client was written")
				}
				if !c.asked {
					wantRefused(t, answer)
					return
				}
				if !answer.IsConsent() || !strings.Contains(answer.Body, "Please look again") {
					t.Fatalf("not asked again: %d", answer.Status)
				}
				if answer = n.alice.Approve(answer); answer.Left == nil || answer.Left.Host != "app.example.com" {
					t.Errorf("the new page led to %d %v", answer.Status, answer.Left)
				}
			})
		}
	})
	t.Run("CM-24 a code keeps its snapshot", func(t *testing.T) {
		n := newNotebook(t)
		code := n.approved(t, n.request())
		n.host.publish(notebookPath, servertest.Object{
			"redirect_uris": []string{"https://evil.example/cb"}, "token_endpoint_auth_method": "private_key_jwt", "jwks": newSigner(t, "").jwks(t),
		})
		n.Clock.Advance(30 * time.Second)
		if fetches := n.host.fetched(func() { wantTokens(t, n.Redeem(n.url, code)) }); fetches != 0 {
			t.Errorf("%d fetches", fetches)
		}
	})
	t.Run("CM-24 the host vanishes between page and answer", func(t *testing.T) {
		n := newNotebook(t)
		page := n.alice.Authorize(n.request())
		n.host.Close()
		n.Clock.Advance(2 * time.Minute)
		if answer := n.alice.Approve(page); answer.Left == nil || answer.Left.Host != "app.example.com" {
			t.Errorf("approving what was shown led to %d %v", answer.Status, answer.Left)
		}
	})
}

// TestDocumentChanges: CM-24, after the approval.
func TestDocumentChanges(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		n := newNotebook(t, servertest.WithStore(open(t)))
		tokens := n.use(t)

		// A refresh does not wait for the host; the row follows it.
		release := make(chan struct{})
		n.host.publish(notebookPath, servertest.Object{"client_name": "Note Book", "redirect_uris": []string{"https://new.example/cb"}})
		changed := n.host.answers[notebookPath]
		n.host.answer(notebookPath, func(w http.ResponseWriter, r *http.Request) { <-release; changed(w, r) })
		n.Clock.Advance(20 * time.Minute)
		tokens = wantTokens(t, n.Refresh(n.url, tokens.refresh))
		if n.row(t)["client_name"] != "Notebook" {
			t.Error("the refresh waited for the host")
		}
		close(release)
		eventually(t, "the row follows the document", func() bool { return n.row(t)["client_name"] == "Note Book" })
		if n.audited(t, "client.document_changed") != 1 {
			t.Error("the change was not audited")
		}
		// Live grants go on; the old address does not.
		tokens = wantTokens(t, n.Refresh(n.url, tokens.refresh))
		wantRefused(t, n.alice.Authorize(n.request()))
		page := n.alice.Authorize(n.request("redirect_uri", "https://new.example/cb"))
		if !page.IsConsent() || !strings.Contains(page.Body, "Note Book") {
			t.Fatalf("the changed client: %d\n%s", page.Status, page.Body)
		}

		// Hot refreshes ask the host once in a while, and an unchanged document writes
		// nothing.
		events := len(n.list(t, "/audit-events"))
		fetches := n.host.fetched(func() {
			for range 10 {
				tokens = wantTokens(t, n.Refresh(n.url, tokens.refresh))
			}
			n.Clock.Advance(20 * time.Minute)
			for range 10 {
				tokens = wantTokens(t, n.Refresh(n.url, tokens.refresh))
			}
			eventually(t, "the host is asked again", func() bool { return n.host.fetches.Load() > 0 })
		})
		if fetches > 2 {
			t.Errorf("%d fetches for 20 refreshes in 20 minutes", fetches)
		}
		if now := len(n.list(t, "/audit-events")); now != events {
			t.Errorf("%d events for nothing", now-events)
		}

		// From public to confidential: the old way ends.
		key := newSigner(t, "")
		n.host.publish(notebookPath, servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(t)})
		n.Clock.Advance(20 * time.Minute)
		tokens = wantTokens(t, n.Refresh(n.url, tokens.refresh))
		eventually(t, "the client is confidential", func() bool { return n.row(t)["token_endpoint_auth_method"] == "private_key_jwt" })
		wantError(t, n.Refresh(n.url, tokens.refresh), http.StatusUnauthorized, "invalid_client")
		wantTokens(t, n.Post("/token", servertest.Form("grant_type", "refresh_token", "refresh_token", tokens.refresh,
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			"client_assertion", key.assertion(t, n.url, n.URL, n.Clock.Now())), ""))
	})
}

// TestDocumentAssertions: CM-14. The client proves itself with the keys of its
// document, also with new ones at once.
func TestDocumentAssertions(t *testing.T) {
	n := newNotebook(t)
	old, fresh := newSigner(t, "old"), newSigner(t, "fresh")
	n.host.publish(notebookPath, servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks": old.jwks(t)})
	redeem := func(code, assertion string) *servertest.Answer {
		form := servertest.Form("grant_type", "authorization_code", "code", code, "code_verifier", servertest.Verifier)
		if assertion == "" {
			form.Set("client_id", n.url)
		} else {
			form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			form.Set("client_assertion", assertion)
		}
		return n.Post("/token", form, "")
	}
	code := n.approved(t, n.request())
	wantError(t, redeem(code, ""), http.StatusUnauthorized, "invalid_client")
	wantError(t, redeem(code, fresh.assertion(t, n.url, n.URL, n.Clock.Now())), http.StatusUnauthorized, "invalid_client")
	used := old.assertion(t, n.url, n.URL, n.Clock.Now())
	tokens := wantTokens(t, redeem(code, used))
	refresh := func(assertion string) *servertest.Answer {
		return n.Post("/token", servertest.Form("grant_type", "refresh_token", "refresh_token", tokens.refresh,
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion), "")
	}
	wantError(t, refresh(used), http.StatusUnauthorized, "invalid_client")

	n.host.publish(notebookPath, servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks": fresh.jwks(t)})
	n.Clock.Advance(2 * time.Minute)
	fetches := n.host.fetched(func() {
		tokens = wantTokens(t, refresh(fresh.assertion(t, n.url, n.URL, n.Clock.Now())))
		wantError(t, refresh(old.assertion(t, n.url, n.URL, n.Clock.Now())), http.StatusUnauthorized, "invalid_client")
		for range 5 { // an unknown key is looked for once a minute
			wantError(t, refresh(newSigner(t, "x").assertion(t, n.url, n.URL, n.Clock.Now())), http.StatusUnauthorized, "invalid_client")
		}
	})
	if fetches != 1 {
		t.Errorf("%d fetches", fetches)
	}
	if n.audited(t, "client.document_changed") != 1 {
		t.Error("the change of keys was not audited")
	}

	// A key that nobody knows, while the host is down, is nobody's fault.
	n.host.Close()
	n.Clock.Advance(2 * time.Minute)
	wantError(t, refresh(newSigner(t, "y").assertion(t, n.url, n.URL, n.Clock.Now())), http.StatusServiceUnavailable, "temporarily_unavailable")
	wantTokens(t, refresh(fresh.assertion(t, n.url, n.URL, n.Clock.Now())))
}

// TestDocumentHostGone: CM-25, RF-19 and HR-15. With the metadata host gone, refresh
// goes on working for a week, on a replica that has never seen the document too.
func TestDocumentHostGone(t *testing.T) {
	gone := map[string]func(*documentHost){
		"closed":  func(h *documentHost) { h.Close() },
		"404":     func(h *documentHost) { h.answer(notebookPath, http.NotFound) },
		"garbage": func(h *documentHost) { h.send(notebookPath, "<html>") },
		"another client's document": func(h *documentHost) {
			h.publish(notebookPath, servertest.Object{"client_id": "https://elsewhere.example/client.json"})
		},
	}
	for name, goAway := range gone {
		t.Run("RF-19 "+name, func(t *testing.T) {
			host := newDocumentHost(t)
			store := servertest.SQLite(t)
			n := &notebook{office: newOffice(t, host.options(servertest.WithStore(store))...), host: host, url: host.publish(notebookPath, nil)}
			tokens := n.use(t)
			approvedAt := n.Clock.Now()
			goAway(host)
			second := servertest.New(t, host.options(servertest.WithStore(store), servertest.ReplicaOf(n.Server))...)
			for day := range 6 {
				n.Clock.Advance(24 * time.Hour)
				for _, s := range []*servertest.Server{n.Server, second} {
					answer := s.Refresh(n.url, tokens.refresh)
					if answer.Status != http.StatusOK {
						t.Fatalf("day %d: %d %s", day+1, answer.Status, answer.Body)
					}
					tokens = wantTokens(t, answer)
				}
			}
			// CM-25: new approvals need the host.
			n.alice = n.SignedIn("alice")
			wantRefused(t, n.alice.Authorize(n.request()))

			n.Clock.Advance(approvedAt.Add(storage.DocumentLifetime).Sub(n.Clock.Now()) - time.Second)
			tokens = wantTokens(t, n.Refresh(n.url, tokens.refresh))
			n.Clock.Advance(time.Second)
			wantError(t, n.Refresh(n.url, tokens.refresh), http.StatusBadRequest, "invalid_grant")
			if name == "closed" {
				return
			}
			// Nothing was taken away: when the host is back, so is the client.
			host.publish(notebookPath, nil)
			n.Clock.Advance(time.Minute)
			wantTokens(t, n.Refresh(n.url, tokens.refresh))
		})
	}
	t.Run("HR-15 a client that was away for long is not locked out", func(t *testing.T) {
		n := newNotebook(t)
		tokens := n.use(t)
		n.Clock.Advance(20 * 24 * time.Hour)
		fetches := n.host.fetched(func() { wantTokens(t, n.Refresh(n.url, tokens.refresh)) })
		if fetches != 1 {
			t.Errorf("%d fetches", fetches)
		}
	})
}

// TestDocumentInstallations: RF-18. Installations share the client_id of a document
// and nothing else.
func TestDocumentInstallations(t *testing.T) {
	n := newNotebook(t)
	a, b := n.use(t), n.use(t)
	n.User("bob")
	bob := wantTokens(t, n.Redeem(n.url, n.SignedIn("bob").Code(n.request())))
	spent := a.refresh
	a = wantTokens(t, n.Refresh(n.url, a.refresh)) // A rotates
	n.use(t)                                       // and a third one is approved
	b = wantTokens(t, n.Refresh(n.url, b.refresh))
	n.Clock.Advance(time.Minute)
	wantError(t, n.Refresh(n.url, spent), http.StatusBadRequest, "invalid_grant") // A's old token is stolen
	wantError(t, n.Refresh(n.url, a.refresh), http.StatusBadRequest, "invalid_grant")
	b = wantTokens(t, n.Refresh(n.url, b.refresh))
	if answer := n.Post("/revoke", servertest.Form("token", b.refresh, "client_id", n.url), ""); answer.Status != http.StatusOK {
		t.Fatalf("revoke: %d", answer.Status)
	}
	wantTokens(t, n.Refresh(n.url, bob.refresh))
	if rows := len(n.list(t, "/clients")); rows != 5 { // the office's four and this one
		t.Errorf("%d clients", rows)
	}
}

// TestDocumentAdmin: what an admin can do about such a client.
func TestDocumentAdmin(t *testing.T) {
	n := newNotebook(t)
	tokens := n.use(t)
	path := "/clients/" + n.row(t).String("id")
	if status, answer := n.Call(http.MethodPatch, path, servertest.Object{"client_name": "Trusted"}); status != http.StatusConflict {
		t.Errorf("renaming it: %d %v", status, answer)
	}
	if status, answer := n.Call(http.MethodPost, path+"/secrets", servertest.Object{}); status != http.StatusConflict {
		t.Errorf("giving it a secret: %d %v", status, answer)
	}
	n.Must(http.MethodPatch, path, servertest.Object{"disabled": true})
	wantError(t, n.Refresh(n.url, tokens.refresh), http.StatusUnauthorized, "invalid_client")
	fetches := n.host.fetched(func() {
		n.Clock.Advance(2 * time.Minute)
		wantRefused(t, n.alice.Authorize(n.request()))
	})
	if fetches != 0 {
		t.Errorf("a disabled client's host was asked")
	}
	if _, err := n.Store.Sweep(t.Context(), n.Clock.Now().Add(1000*time.Hour), time.Hour, 100); err != nil {
		t.Fatal(err)
	}
	if row := n.row(t); row == nil || row["disabled"] != true {
		t.Fatalf("disabling does not last: %v", row)
	}
	n.Must(http.MethodPatch, path, servertest.Object{"disabled": false})
	wantError(t, n.Refresh(n.url, tokens.refresh), http.StatusBadRequest, "invalid_grant")
	tokens = n.use(t)

	page := n.alice.Authorize(n.request())
	n.Must(http.MethodPatch, path, servertest.Object{"disabled": true})
	if answer := n.alice.Approve(page); answer.Left != nil {
		t.Errorf("a disabled client got %v", answer.Left)
	}
	n.Must(http.MethodDelete, path, nil)
	wantError(t, n.Refresh(n.url, tokens.refresh), http.StatusUnauthorized, "invalid_client")
	n.use(t) // deleting is no ban
}

// TestDocumentRace: people on two replicas approve a client at once that nobody has
// seen before.
func TestDocumentRace(t *testing.T) {
	databaseURL := servertest.MigratedPostgres(t)
	host := newDocumentHost(t)
	first := &notebook{office: newOffice(t, host.options(servertest.WithStore(servertest.OpenPostgres(t, databaseURL)))...), host: host}
	second := servertest.New(t, host.options(servertest.WithStore(servertest.OpenPostgres(t, databaseURL)), servertest.ReplicaOf(first.Server))...)
	servers := []*servertest.Server{first.Server, second}
	const people = 6
	browsers := make([]*servertest.Browser, people)
	for i := range browsers {
		first.User(fmt.Sprint("person", i))
		browsers[i] = servers[i%2].SignedIn(fmt.Sprint("person", i))
	}
	for round := range 5 {
		first.url = host.publish(fmt.Sprint("/", round), nil)
		pages := make([]*servertest.Page, people)
		for i, browser := range browsers {
			pages[i] = browser.Authorize(first.request())
			first.Clock.Advance(time.Second) // so that the replicas have it from different moments
		}
		answers := make([]*servertest.Page, people)
		race(people, func(i int) { answers[i] = browsers[i].Approve(pages[i]) })
		for i, answer := range answers {
			if answer.Left == nil {
				t.Fatalf("round %d: approval %d ended at %d\n%s", round, i, answer.Status, answer.Body)
			}
			wantTokens(t, servers[(i+1)%2].Redeem(first.url, answer.Left.Query().Get("code")))
		}
		rows := slices.DeleteFunc(first.list(t, "/clients"), func(c servertest.Object) bool { return c["client_id"] != first.url })
		if len(rows) != 1 {
			t.Fatalf("round %d: %d rows", round, len(rows))
		}
		first.Clock.Advance(2 * time.Minute)
	}
}

// TestDocumentBudget: approving a client that nobody has seen costs what approving
// another costs (on SQLite one statement more, for its row), and so do its
// refreshes.
func TestDocumentBudget(t *testing.T) {
	count := func(t *testing.T, s *statements, n *notebook, statements int) {
		t.Helper()
		// The heartbeat may come so late that the cache is bypassed; then it is done again.
		within := func(name string, act func(attempt int) *servertest.Answer) {
			t.Helper()
			var list []string
			for attempt := range 20 {
				answer := act(attempt)
				if list = s.take(); answer.Status != http.StatusSeeOther && answer.Status != http.StatusOK {
					t.Fatalf("%s: %d %s", name, answer.Status, answer.Body)
				}
				transactions := 0
				for _, statement := range list {
					if strings.HasPrefix(statement, "COMMIT") {
						transactions++
					}
				}
				if len(list) <= statements && transactions <= 1 && commits(list) > 0 {
					return
				}
			}
			t.Errorf("%s: %d statements:\n%s", name, len(list), strings.Join(list, "\n"))
		}
		approve := func() *servertest.Answer {
			page := n.alice.Authorize(n.request())
			s.take()
			return n.alice.Approve(page).Answer
		}
		within("an unknown client", func(attempt int) *servertest.Answer {
			n.Clock.Advance(2 * time.Minute)
			n.url = n.host.publish(fmt.Sprint("/", attempt), nil)
			return approve()
		})
		within("the same client", func(int) *servertest.Answer { return approve() })
		within("a newer document", func(attempt int) *servertest.Answer {
			n.host.publish(strings.TrimPrefix(n.url, n.host.URL), servertest.Object{"client_name": fmt.Sprint("Notebook ", attempt)})
			n.Clock.Advance(2 * time.Minute)
			return approve()
		})
		tokens := n.use(t)
		within("a refresh while the snapshot is renewed", func(int) *servertest.Answer {
			n.Clock.Advance(20 * time.Minute)
			s.take()
			answer := n.Refresh(n.url, tokens.refresh)
			tokens = wantTokens(t, answer)
			return answer
		})
	}
	t.Run("postgres", func(t *testing.T) {
		s := new(statements)
		store := servertest.OpenPostgres(t, servertest.MigratedPostgres(t), postgres.WithTracer(s))
		count(t, s, newNotebook(t, servertest.WithStore(store)), 2)
	})
	t.Run("sqlite", func(t *testing.T) {
		s := new(statements)
		store := servertest.SQLiteFile(t, t.TempDir()+"/grantd.db", sqlite.WithObserver(s.note))
		count(t, s, newNotebook(t, servertest.WithStore(store)), 7)
	})
}
