package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// racers is how many requests meet at one moment.
const racers = 40

// replicas are the servers that a race is spread over, all of one house.
type replicas struct {
	*office
	all []*servertest.Server
	// rows counts what is in the database.
	rows func(t testing.TB) map[string]int
}

// of returns the server that takes the i-th request.
func (r *replicas) of(i int) *servertest.Server { return r.all[i%len(r.all)] }

// onReplicas runs a test with two replicas over one Postgres database, and with
// the one process that SQLite allows.
func onReplicas(t *testing.T, test func(t *testing.T, r *replicas)) {
	t.Helper()
	t.Run("postgres, two replicas", func(t *testing.T) {
		databaseURL := servertest.MigratedPostgres(t)
		o := newOffice(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)))
		second := servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)), servertest.ReplicaOf(o.Server))
		test(t, &replicas{
			office: o, all: []*servertest.Server{o.Server, second},
			rows: func(t testing.TB) map[string]int { t.Helper(); return rowsInPostgres(t, databaseURL) },
		})
	})
	t.Run("sqlite", func(t *testing.T) {
		path := t.TempDir() + "/grantd.db"
		o := newOffice(t, servertest.WithStore(servertest.SQLiteFile(t, path)))
		test(t, &replicas{
			office: o, all: []*servertest.Server{o.Server},
			rows: func(t testing.TB) map[string]int { t.Helper(); return rowsInSQLite(t, path) },
		})
	})
}

// TestCodeRace: AC-04. Of many redemptions of one code exactly one succeeds; the
// others learn that they came too late, and nothing else is said or done.
func TestCodeRace(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		for _, n := range []int{4, 16, racers, 64} {
			t.Run(fmt.Sprint("AC-04 N=", n), func(t *testing.T) {
				code, families := r.code(t), r.rows(t)["families"]
				answers := make([]*servertest.Answer, n)
				race(n, func(i int) { answers[i] = r.of(i).Redeem(r.clientID, code) })
				var won []issued
				for _, answer := range answers {
					if answer.Status == http.StatusOK {
						won = append(won, wantTokens(t, answer))
					} else {
						wantError(t, answer, http.StatusBadRequest, "invalid_grant")
					}
				}
				if len(won) != 1 {
					t.Fatalf("%d of %d redemptions succeeded", len(won), n)
				}
				if made := r.rows(t)["families"] - families; made != 1 {
					t.Errorf("%d families", made)
				}
				// That all came at once is no theft: the winner keeps what it has.
				if !r.active(t, won[0].access) {
					t.Error("the winner's access token is dead")
				}
				wantTokens(t, r.of(1).Refresh(r.clientID, won[0].refresh))
			})
		}
		t.Run("AC-04 with wrong verifiers among them", func(t *testing.T) {
			code := r.code(t)
			right := r.redemption(code)
			wrong := changed(right, "code_verifier", otherVerifier)
			answers := make([]*servertest.Answer, storage.MaxFailedProofs)
			race(len(answers), func(i int) {
				form := wrong
				if i == 0 {
					form = right
				}
				answers[i] = r.of(i).Post("/token", form, "")
			})
			wantTokens(t, answers[0])
			for _, answer := range answers[1:] {
				wantError(t, answer, http.StatusBadRequest, "invalid_grant")
			}
		})
		t.Run("AC-07 guessing at once buys no more guesses", func(t *testing.T) {
			code := r.code(t)
			race(racers, func(i int) {
				answer := r.of(i).Post("/token", r.redemption(code, "code_verifier", otherVerifier), "")
				wantError(t, answer, http.StatusBadRequest, "invalid_grant")
			})
			wantError(t, r.Redeem(r.clientID, code), http.StatusBadRequest, "invalid_grant")
		})
	})
}

// TestRefreshRace: RF-02. Processes of one client refresh at once, on several
// replicas: all get one and the same successor, three rounds long.
func TestRefreshRace(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		current := r.tokens(t)
		before := r.rows(t)
		for round := range 3 {
			answers := make([]*servertest.Answer, racers)
			race(racers, func(i int) { answers[i] = r.of(i).Refresh(r.clientID, current.refresh) })
			next := wantTokens(t, answers[0])
			for _, answer := range answers {
				got := wantTokens(t, answer)
				if got.refresh != next.refresh {
					t.Fatalf("round %d: two successors", round)
				}
			}
			if next.refresh == current.refresh {
				t.Fatalf("round %d: the token did not rotate", round)
			}
			for _, answer := range answers[:2] {
				if !r.active(t, answer.JSON.String("access_token")) {
					t.Errorf("round %d: an access token is dead", round)
				}
			}
			current = next
		}
		wantTokens(t, r.Refresh(r.clientID, current.refresh))
		for table, n := range r.rows(t) {
			if n != before[table] {
				t.Errorf("%s has %d rows, before the races %d", table, n, before[table])
			}
		}
	})
}

// TestRefreshRaceForDifferentThings: RF-06 at one moment. Whoever wins, the
// others are refused, and the family lives.
func TestRefreshRaceForDifferentThings(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		for range 5 {
			current := r.tokens(t)
			answers := make([]*servertest.Answer, 4)
			race(len(answers), func(i int) {
				answers[i] = r.of(i).Refresh(r.clientID, current.refresh, "scope", []string{"notes:read", "notes:write"}[i/2])
			})
			var won []issued
			for _, answer := range answers {
				if answer.Status == http.StatusOK {
					won = append(won, wantTokens(t, answer))
				} else {
					wantError(t, answer, http.StatusBadRequest, "invalid_grant")
				}
			}
			if len(won) != 2 || won[0].refresh != won[1].refresh || won[0].scope != won[1].scope {
				t.Fatalf("%d won: %+v", len(won), won)
			}
			wantTokens(t, r.Refresh(r.clientID, won[0].refresh))
		}
	})
}

// TestReuseRace: RT-8c. A spent token comes to all replicas at once: the family
// ends, once.
func TestReuseRace(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		first := r.tokens(t)
		second := wantTokens(t, r.Refresh(r.clientID, first.refresh))
		r.Clock.Advance(time.Minute)
		race(racers, func(i int) {
			wantError(t, r.of(i).Refresh(r.clientID, first.refresh), http.StatusBadRequest, "invalid_grant")
		})
		r.wantGone(t, second.refresh)
		if r.active(t, second.access) {
			t.Error("the access token is still active")
		}
		if n := r.audited(t, "family.ended"); n != 1 {
			t.Errorf("%d audit events, want 1", n)
		}
	})
}

// TestRefreshRacingRevoke: RF-17. Whatever a refresh got hold of while the family
// was being revoked is dead once /revoke has answered.
func TestRefreshRacingRevoke(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		var refreshed int
		for round := range 15 {
			current := r.tokens(t)
			answers := make([]*servertest.Answer, 6)
			race(len(answers), func(i int) {
				if i == round%len(answers) {
					answers[i] = r.of(i).Post("/revoke", servertest.Form("token", current.refresh), "")
				} else {
					answers[i] = r.of(i).Refresh(r.clientID, current.refresh)
				}
			})
			for i, answer := range answers {
				switch {
				case i == round%len(answers):
					if answer.Status != http.StatusOK {
						t.Errorf("revoke: %d %s", answer.Status, answer.Body)
					}
				case answer.Status == http.StatusOK:
					refreshed++
					got := wantTokens(t, answer)
					if r.active(t, got.access) {
						t.Error("an access token of the race is active")
					}
					r.wantGone(t, got.refresh)
				default:
					wantError(t, answer, http.StatusBadRequest, "invalid_grant")
				}
			}
			if r.active(t, current.access) {
				t.Error("the access token from before is active")
			}
		}
		t.Logf("%d refreshes came before the revocation", refreshed)
	})
}

// TestDisablingRacingApproval: a person is disabled at the moment they approve:
// nothing of it is left behind.
func TestDisablingRacingApproval(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		user := "/users/" + r.find(t, "/users", "username", "alice")
		var approved int
		for round := range 6 {
			page := r.alice.Authorize(servertest.AuthorizationRequest(r.clientID, loopback, resourceURI))
			if !page.IsConsent() {
				t.Fatalf("no consent page: %d %s", page.Status, page.Body)
			}
			form := changed(page.Fields(), "decision", "approve")
			target := r.of(round).URL + "/authorize?" + page.URL.RawQuery
			var answer *servertest.Answer
			race(2, func(i int) {
				if i == 0 {
					answer = r.alice.Send(http.MethodPost, target, form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {r.Origin}})
				} else {
					r.Must(http.MethodPatch, user, servertest.Object{"disabled": true})
				}
			})
			if answer.Status >= http.StatusInternalServerError {
				t.Errorf("approving: %d %s", answer.Status, answer.Body)
			}
			if code := codeIn(t, answer); code != "" {
				approved++
				wantError(t, r.Redeem(r.clientID, code), http.StatusBadRequest, "invalid_grant")
			}
			if grants := r.list(t, "/grants"); len(grants) != 0 {
				t.Errorf("a grant is left: %v", grants)
			}
			rows := r.rows(t)
			if rows["grants"] != 0 || rows["families"] != 0 || rows["sessions"] != 0 {
				t.Errorf("rows are left: %v", rows)
			}
			r.Must(http.MethodPatch, user, servertest.Object{"disabled": false})
			r.alice = r.SignedIn("alice")
		}
		t.Logf("%d approvals came before the disabling", approved)
	})
}

// TestApprovalRace: one consent page approves once, however often it is sent.
func TestApprovalRace(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		page := r.alice.Authorize(servertest.AuthorizationRequest(r.clientID, loopback, resourceURI))
		form := changed(page.Fields(), "decision", "approve")
		answers := make([]*servertest.Answer, racers)
		race(racers, func(i int) {
			target := r.of(i).URL + "/authorize?" + page.URL.RawQuery
			answers[i] = r.alice.Send(http.MethodPost, target, form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {r.Origin}})
		})
		var codes []string
		for _, answer := range answers {
			if code := codeIn(t, answer); code != "" {
				codes = append(codes, code)
			} else if answer.Status != http.StatusConflict {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		}
		if len(codes) != 1 {
			t.Fatalf("%d codes of one page", len(codes))
		}
		wantTokens(t, r.Redeem(r.clientID, codes[0]))
	})
}

// TestPushedRequestRace: PR-03. However many pages of one pushed request are answered
// at one moment, and however, there is one decision.
func TestPushedRequestRace(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		send := func(i int, page *servertest.Page, decision string) *servertest.Answer {
			form := changed(page.Fields(), "decision", decision)
			target := r.of(i).URL + "/authorize?" + strings.SplitN(page.Action(), "?", 2)[1]
			return r.alice.Send(http.MethodPost, target, form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {r.Origin}})
		}
		// decided counts what was decided; whoever came too late learns so.
		decided := func(t *testing.T, answers []*servertest.Answer) (codes []string, denials int) {
			t.Helper()
			for _, answer := range answers {
				code := codeIn(t, answer)
				switch {
				case code != "":
					codes = append(codes, code)
				case strings.Contains(answer.Header.Get("Location"), "error=access_denied"):
					denials++
				case answer.Status != http.StatusConflict && answer.Status != http.StatusBadRequest, answer.Header.Get("Location") != "":
					t.Errorf("%d to %q: %s", answer.Status, answer.Header.Get("Location"), answer.Body)
				}
			}
			return codes, denials
		}
		redeem := func(t *testing.T, code string) {
			t.Helper()
			wantTokens(t, r.Post("/token", r.redemption(code, "client_id", ""), r.web.basic()))
		}
		t.Run("16 approvals of two pages", func(t *testing.T) {
			request := r.pushedByWeb(t)
			pages := []*servertest.Page{r.alice.Authorize(request), r.alice.Authorize(request)}
			answers := make([]*servertest.Answer, 16)
			race(len(answers), func(i int) { answers[i] = send(i/2, pages[i%2], "approve") })
			codes, _ := decided(t, answers)
			if len(codes) != 1 {
				t.Fatalf("%d codes of one pushed request", len(codes))
			}
			redeem(t, codes[0])
		})
		t.Run("approvals and denials", func(t *testing.T) {
			for range 5 {
				request := r.pushedByWeb(t, "prompt", "consent")
				pages := []*servertest.Page{r.alice.Authorize(request), r.alice.Authorize(request)}
				answers := make([]*servertest.Answer, 8)
				race(len(answers), func(i int) { answers[i] = send(i/2, pages[i%2], []string{"approve", "deny"}[i%2]) })
				if codes, denials := decided(t, answers); len(codes)+denials != 1 {
					t.Fatalf("%d codes and %d denials of one pushed request", len(codes), denials)
				}
			}
		})
		t.Run("16 visits under a remembered approval", func(t *testing.T) {
			r.webCode(t)
			request := r.pushedByWeb(t)
			answers := make([]*servertest.Answer, 16)
			race(len(answers), func(i int) {
				answers[i] = r.alice.Send(http.MethodGet, r.of(i).URL+"/authorize?"+request.Encode(), "", nil)
			})
			codes, _ := decided(t, answers)
			if len(codes) != 1 {
				t.Fatalf("%d codes of one pushed request", len(codes))
			}
			redeem(t, codes[0])
		})
	})
}

// codeIn is the code in the redirect of an answer, or "".
func codeIn(t testing.TB, answer *servertest.Answer) string {
	t.Helper()
	location := answer.Header.Get("Location")
	if location == "" {
		return ""
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, location, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.URL.Query().Get("code")
}

// TestChangesReachTheOtherReplica: what was changed through one replica holds on
// the other within the interval of the heartbeat, and what is read from the
// database each time at once.
func TestChangesReachTheOtherReplica(t *testing.T) {
	databaseURL := servertest.MigratedPostgres(t)
	o := newOffice(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)))
	second := servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)), servertest.ReplicaOf(o.Server))
	machine := func() *servertest.Answer {
		return second.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic())
	}
	introspect := func(token string) *servertest.Answer {
		return second.Post("/introspect", servertest.Form("token", token), o.guard.basic())
	}
	// soon repeats a request until its answer is as wanted. The clock moves on, so
	// that the repetitions meet no limit on failures.
	soon := func(t *testing.T, what string, wanted func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !wanted(); {
			o.Clock.Advance(5 * time.Second)
			if time.Now().After(deadline) {
				t.Fatalf("%s: not on the other replica", what)
			}
		}
	}

	t.Run("a disabled client", func(t *testing.T) {
		token := wantTokens(t, machine()).access
		o.Must(http.MethodPatch, "/clients/"+o.machine.id, servertest.Object{"disabled": true})
		soon(t, "disabled", func() bool { return machine().Status == http.StatusUnauthorized })
		wantError(t, machine(), http.StatusUnauthorized, "invalid_client")
		if introspect(token).JSON["active"] != false {
			t.Error("its token is still active")
		}
		o.Must(http.MethodPatch, "/clients/"+o.machine.id, servertest.Object{"disabled": false})
		soon(t, "enabled", func() bool { return machine().Status == http.StatusOK })
	})
	t.Run("a deleted secret", func(t *testing.T) {
		added := o.Must(http.MethodPost, "/clients/"+o.machine.id+"/secrets", servertest.Object{})
		other := func() *servertest.Answer {
			return second.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.id+":"+added.String("client_secret"))
		}
		soon(t, "added", func() bool { return other().Status == http.StatusOK })
		o.Must(http.MethodDelete, "/clients/"+o.machine.id+"/secrets/"+added.String("id"), nil)
		soon(t, "deleted", func() bool { return other().Status == http.StatusUnauthorized })
	})
	t.Run("a revoked grant, at once", func(t *testing.T) {
		got := o.tokens(t)
		if introspect(got.access).JSON["active"] != true {
			t.Fatal("the token is not active")
		}
		o.Must(http.MethodDelete, "/grants/"+o.find(t, "/grants", "client_id", o.clientID), nil)
		if introspect(got.access).JSON["active"] != false {
			t.Error("the token is still active")
		}
		wantError(t, second.Refresh(o.clientID, got.refresh), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("RV-01 a revoked token, at once", func(t *testing.T) {
		got := o.tokens(t)
		if answer := o.Post("/revoke", servertest.Form("token", got.access), ""); answer.Status != http.StatusOK {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		if introspect(got.access).JSON["active"] != false {
			t.Error("the token is still active")
		}
	})
	t.Run("a scope taken from the resource", func(t *testing.T) {
		o.Must(http.MethodPatch, "/resources/"+o.find(t, "/resources", "uri", resourceURI),
			servertest.Object{"scopes": []servertest.Object{{"name": "notes:read", "description": "Read."}}})
		soon(t, "scope", func() bool { return machine().JSON["scope"] == "notes:read" })
	})
}
