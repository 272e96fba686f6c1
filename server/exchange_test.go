package server_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/server/servertest"
	"grantd/storage"
)

// TestCodeBothWays: a code that is exchanged in one statement gives what one gives that
// is judged first, and so does its family. Where something is narrowed or refused, the
// way is the same, but for what was read.
func TestCodeBothWays(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		store := &unreliable{Store: open(t)}
		o := newOffice(t, servertest.WithStore(store))
		// got is what came of a code, and of a refresh, which asks no more than the family.
		type got struct{ Error, Scope, Refreshed, Active string }
		redeem := func(code string, unusual bool) (g got, calls []string) {
			store.unusual.Store(unusual)
			defer store.unusual.Store(false)
			store.set(nil, nil)
			answer := o.Redeem(o.clientID, code)
			calls = store.calls()
			if g.Error = answer.JSON.String("error"); g.Error != "" {
				return g, calls
			}
			g.Scope, g.Active = answer.JSON.String("scope"), o.introspect(answer.JSON.String("access_token")).JSON.String("scope")
			g.Refreshed = o.Refresh(o.clientID, answer.JSON.String("refresh_token")).JSON.String("scope")
			return g, calls
		}
		rule := func(scopes ...string) {
			o.rule(servertest.Object{"name": everyone, "scopes": append([]string{}, scopes...)})
		}
		for _, test := range []struct {
			name, scope string
			rule        []string // what it allows now
			want        got
			redeems     bool // it is not exchanged, and redeemed with a call of its own
		}{
			{
				"all of it", "notes:read notes:write", nil,
				got{"", "notes:read notes:write", "notes:read notes:write", "notes:read notes:write"},
				false,
			},
			{
				"with openid", "email notes:write openid", nil,
				got{"", "notes:write openid email", "notes:write openid email", "notes:write"},
				false,
			},
			{
				"one scope that a rule no longer allows", "notes:read notes:write openid",
				[]string{"notes:read"},
				got{"", "notes:read openid", "notes:read openid", "notes:read"},
				true,
			},
			{
				"none that a rule allows", "notes:read openid",
				[]string{"notes:write"},
				got{Error: "invalid_grant"},
				false,
			},
		} {
			t.Run(test.name, func(t *testing.T) {
				usual, careful := o.code(t, "scope", test.scope), o.code(t, "scope", test.scope)
				o.dropRule(t, everyone)
				rule(test.rule...)
				defer func() { o.dropRule(t, everyone); rule() }()
				result, calls := redeem(usual, false)
				if diff := cmp.Diff(test.want, result); diff != "" {
					t.Errorf("usually (-want +got):\n%s", diff)
				}
				if slices.Contains(calls, "RedeemCode") != test.redeems || !slices.Contains(calls, "ExchangeCode") {
					t.Errorf("usually it called %q", calls)
				}
				result, _ = redeem(careful, true)
				if diff := cmp.Diff(test.want, result); diff != "" {
					t.Errorf("carefully (-want +got):\n%s", diff)
				}
			})
		}
	})
}

// TestCodeWithoutResourceParameter: without a resource parameter the only one is meant;
// with two it is the code that says.
func TestCodeWithoutResourceParameter(t *testing.T) {
	o := newOffice(t)
	redeem := func() *servertest.Answer {
		form := o.redemption(o.code(t))
		form.Del("resource")
		return o.Post("/token", form, "")
	}
	wantTokens(t, redeem())
	o.Must(http.MethodPost, "/resources", servertest.Object{"uri": "https://other.example/mcp", "name": "Other", "scopes": []servertest.Object{{"name": "other:read"}}})
	wantTokens(t, redeem())
}
