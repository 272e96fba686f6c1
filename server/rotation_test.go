package server_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"grantd/server/servertest"
	"grantd/storage"
)

// kidOf is the kid in a token's header.
func kidOf(t testing.TB, token string) string {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Header.KeyID
}

// verifies reports whether a token verifies with a JWK set, as a server that
// checks tokens by itself would do it.
func verifies(t testing.TB, set *jose.JSONWebKeySet, token string) bool {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	_, err = jws.Verify(set)
	return err == nil
}

// machineToken gets a token from one replica, by client_credentials.
func (r *replicas) machineToken(t testing.TB, at *servertest.Server) string {
	t.Helper()
	return wantTokens(t, at.Post("/token", servertest.Form("grant_type", "client_credentials"), r.machine.basic())).access
}

// activeAt asks one replica whether a token is good.
func (r *replicas) activeAt(at *servertest.Server, token string) bool {
	return at.Post("/introspect", servertest.Form("token", token), r.guard.basic()).JSON["active"] == true
}

// byState counts the keys and names the active and the next one.
func byState(s *servertest.Server) (active, next string, states map[string]int) {
	states = map[string]int{}
	for _, item := range s.Must(http.MethodGet, "/keys", nil)["items"].([]any) {
		key := servertest.Object(item.(map[string]any))
		states[key.String("state")]++
		switch key.String("state") {
		case "active":
			active = key.String("kid")
		case "next":
			next = key.String("kid")
		}
	}
	return active, next, states
}

// TestMD07Publication: whoever keeps the JWK set for as long as its Cache-Control
// allows knows a key before it signs.
func TestMD07Publication(t *testing.T) {
	h := newHouse(t)
	_, text, _ := strings.Cut(h.Get("/jwks").Header.Get("Cache-Control"), "max-age=")
	seconds, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	const heartbeat = time.Second // at most, until the caches are bypassed
	if cached := time.Duration(seconds) * time.Second; storage.KeyPublication <= cached+heartbeat {
		t.Errorf("a key signs %v after it is published, and a JWK set may be %v old", storage.KeyPublication, cached)
	}
}

// TestMD07Rotation rotates under a resource server that keeps a copy of the JWK set
// from before, and another that has renewed it.
func TestMD07Rotation(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		before := r.machineToken(t, r.Server)
		status, _ := r.Call(http.MethodPost, "/keys/rotate", servertest.Object{})
		if status != http.StatusConflict {
			t.Errorf("rotated to a key that was just published: %d", status)
		}
		r.Clock.Advance(storage.KeyPublication)
		copied := publishedKeys(t, r.Server)
		r.Must(http.MethodPost, "/keys/rotate", servertest.Object{})
		for _, s := range r.all {
			s.Beat()
		}
		for i, s := range r.all {
			after := r.machineToken(t, s)
			if kidOf(t, after) == kidOf(t, before) {
				t.Errorf("replica %d still signs with the retired key", i)
			}
			for name, set := range map[string]*jose.JSONWebKeySet{"the copy from before the rotation": copied, "the new set": publishedKeys(t, s)} {
				if !verifies(t, set, after) || !verifies(t, set, before) {
					t.Errorf("replica %d: a token does not verify with %s", i, name)
				}
			}
			for j, other := range r.all {
				if !r.activeAt(other, after) {
					t.Errorf("a token of replica %d is not active at %d", i, j)
				}
			}
		}
		// The retired key leaves when its last token has expired.
		r.Clock.Advance(storage.KeyRetention + time.Second)
		for i, s := range r.all {
			if err := s.Tend(); err != nil {
				t.Fatal(err)
			}
			if verifies(t, publishedKeys(t, s), before) {
				t.Errorf("replica %d still publishes the retired key", i)
			}
		}
	})
}

// TestMD07RotationUnderLoad rotates again and again while tokens are issued: each
// verifies with the set of any replica at that moment.
func TestMD07RotationUnderLoad(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		stop := make(chan struct{})
		var all sync.WaitGroup
		var issued int
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					issued = i
					return
				default:
				}
				answer := r.of(i).Post("/token", servertest.Form("grant_type", "client_credentials"), r.machine.basic())
				token := answer.JSON.String("access_token")
				if answer.Status != http.StatusOK || !verifies(t, publishedKeys(t, r.of(i)), token) || !verifies(t, publishedKeys(t, r.of(i+1)), token) {
					t.Errorf("token %d does not verify everywhere", i)
				}
			}
		})
		for range 6 {
			r.Clock.Advance(storage.KeyPublication)
			r.Must(http.MethodPost, "/keys/rotate", servertest.Object{})
			for _, s := range r.all {
				s.Beat()
			}
		}
		close(stop)
		all.Wait()
		if issued == 0 {
			t.Error("no token was issued meanwhile")
		}
	})
}

// TestMD08Revoked: a compromised key counts nowhere any more, within a heartbeat.
func TestMD08Revoked(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		stolen := r.machineToken(t, r.Server)
		person := r.tokens(t)
		active, next, _ := byState(r.Server)
		if kidOf(t, stolen) != active || !r.activeAt(r.Server, stolen) || !r.activeAt(r.Server, person.access) {
			t.Fatal("the tokens were not good to begin with")
		}
		r.Must(http.MethodDelete, "/keys/"+active, nil)
		if r.activeAt(r.Server, stolen) {
			t.Error("the replica that revoked the key still believes it")
		}
		for i, s := range r.all {
			s.Beat()
			if r.activeAt(s, stolen) || r.activeAt(s, person.access) {
				t.Errorf("replica %d reports a token of the revoked key as active", i)
			}
			if verifies(t, publishedKeys(t, s), stolen) {
				t.Errorf("replica %d publishes the revoked key", i)
			}
			fresh := r.machineToken(t, s)
			if kidOf(t, fresh) != next || !r.activeAt(s, fresh) || !verifies(t, publishedKeys(t, s), fresh) {
				t.Errorf("replica %d: a new token is of %s, want the key that was next", i, kidOf(t, fresh))
			}
		}
		if states := func() map[string]int { _, _, m := byState(r.Server); return m }(); states["active"] != 1 || states["next"] != 1 || states["retired"] != 0 {
			t.Errorf("keys are %v", states)
		}
		// People are not signed out by it: the refresh token is of another kind.
		if answer := r.Refresh(r.clientID, person.refresh); answer.Status != http.StatusOK || kidOf(t, answer.JSON.String("access_token")) != next {
			t.Errorf("refresh after the revocation: %d %s", answer.Status, answer.Body)
		}
	})
}

// TestMD09RotationRaced: replicas that rotate at once, by command and by schedule,
// make exactly one active and one next key.
func TestMD09RotationRaced(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		for range 5 {
			r.Clock.Advance(storage.KeyPublication)
			_, next, before := byState(r.Server)
			statuses := make([]int, 12)
			race(len(statuses), func(i int) { statuses[i], _ = r.of(i).Call(http.MethodPost, "/keys/rotate", servertest.Object{}) })
			won := 0
			for _, status := range statuses {
				switch status {
				case http.StatusOK:
					won++
				case http.StatusConflict:
				default:
					t.Errorf("status %d", status)
				}
			}
			active, _, after := byState(r.Server)
			if won != 1 || active != next || after["active"] != 1 || after["next"] != 1 || after["retired"] != before["retired"]+1 {
				t.Fatalf("%d rotated; %s is active, want %s; keys %v, before %v", won, active, next, after, before)
			}
		}
	})
}

// TestMD07ScheduledRotation: with --key-rotation nobody has to think of it.
func TestMD07ScheduledRotation(t *testing.T) {
	databaseURL := servertest.MigratedPostgres(t)
	const every = 24 * time.Hour
	one := servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)), servertest.WithKeyRotation(every))
	two := servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)), servertest.WithKeyRotation(every), servertest.ReplicaOf(one))
	_, next, _ := byState(one)
	one.Clock.Advance(every)
	errs := make([]error, 8)
	race(len(errs), func(i int) { errs[i] = []*servertest.Server{one, two}[i%2].Tend() })
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	active, _, states := byState(two)
	if active != next || states["active"] != 1 || states["next"] != 1 || states["retired"] != 1 {
		t.Errorf("%s is active, want %s; keys %v", active, next, states)
	}
}
