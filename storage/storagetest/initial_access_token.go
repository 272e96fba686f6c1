package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var initialAccessTokenContracts = []contract{
	{"a created token is listed", initialAccessTokenList},
	{"a token lets register as often as it may", initialAccessTokenUses},
	{"a token lets in beyond the cap", initialAccessTokenCap},
	{"what fails costs no use", initialAccessTokenFailure},
	{"sixteen uses of a token for one race", initialAccessTokenRace},
}

// NewInitialAccessToken returns a token for one use, made at Now for a day, that is
// not stored.
func NewInitialAccessToken() *storage.InitialAccessToken {
	return &storage.InitialAccessToken{
		ID: storage.NewID(storage.PrefixInitialAccessToken), Hash: Digest(), Name: "Team A",
		MaxUses: 1, CreatedAt: Now, ExpiresAt: Now.Add(24 * time.Hour),
	}
}

func createToken(t testing.TB, s storage.Store, token *storage.InitialAccessToken) {
	t.Helper()
	want(t, s.CreateInitialAccessToken(t.Context(), token, Event("registration_token.created", token.ID)), nil)
}

// registerWith registers a client with that token's hash.
func registerWith(t testing.TB, s storage.Store, hash, digest []byte, at time.Time) (bool, error) {
	t.Helper()
	c := NewDynamicClient()
	c.CreatedAt = at
	r := &storage.Registration{Client: c, Digest: digest, InitialAccessTokenHash: hash}
	return s.CreateDynamicClient(t.Context(), r, Event("client.registered", c.ID))
}

func initialAccessTokenList(t *testing.T, s storage.Store) {
	var stored []*storage.InitialAccessToken
	for range 5 {
		token := NewInitialAccessToken()
		createToken(t, s, token)
		stored = append(stored, token)
	}
	for _, token := range stored {
		got, err := s.InitialAccessToken(t.Context(), token.ID)
		want(t, err, nil)
		if diff := cmp.Diff(token, got); diff != "" {
			t.Errorf("InitialAccessToken (-stored +read):\n%s", diff)
		}
	}
	_, err := s.InitialAccessToken(t.Context(), "reg_none")
	want(t, err, storage.ErrNotFound)
	wantPages(t, stored, func(page storage.Page) ([]*storage.InitialAccessToken, error) {
		return s.InitialAccessTokens(t.Context(), page)
	}, func(token *storage.InitialAccessToken) string { return token.ID })

	for _, taken := range []func(*storage.InitialAccessToken){
		func(token *storage.InitialAccessToken) { token.ID = stored[0].ID },
		func(token *storage.InitialAccessToken) { token.Hash = stored[0].Hash },
	} {
		token := NewInitialAccessToken()
		taken(token)
		want(t, s.CreateInitialAccessToken(t.Context(), token, Event("registration_token.created", token.ID)), storage.ErrExists)
	}

	gone := stored[0]
	want(t, s.DeleteInitialAccessToken(t.Context(), gone.ID, Event("registration_token.deleted", gone.ID)), nil)
	want(t, s.DeleteInitialAccessToken(t.Context(), gone.ID, Event("registration_token.deleted", gone.ID)), storage.ErrNotFound)
	_, err = registerWith(t, s, gone.Hash, nil, Now)
	want(t, err, storage.ErrConsumed)
}

func initialAccessTokenUses(t *testing.T, s storage.Store) {
	token := NewInitialAccessToken()
	token.MaxUses = 3
	createToken(t, s, token)
	digest := Digest()
	_, err := registerWith(t, s, Digest(), nil, Now)
	want(t, err, storage.ErrConsumed) // an unknown one
	_, err = registerWith(t, s, token.Hash, digest, token.ExpiresAt)
	want(t, err, storage.ErrConsumed)
	for i := range token.MaxUses {
		at := Now.Add(time.Duration(i) * time.Hour)
		folded, err := registerWith(t, s, token.Hash, digest, at)
		want(t, err, nil)
		if folded != (i > 0) {
			t.Errorf("registration %d folded: %v", i, folded)
		}
		token.Uses, token.LastUsedAt = i+1, at
	}
	_, err = registerWith(t, s, token.Hash, digest, Now)
	want(t, err, storage.ErrConsumed)
	listed, err := s.InitialAccessTokens(t.Context(), storage.Page{Limit: 10})
	want(t, err, nil)
	if diff := cmp.Diff([]*storage.InitialAccessToken{token}, listed); diff != "" {
		t.Errorf("the token (-want +got):\n%s", diff)
	}
	var named int
	for _, event := range events(t, s) {
		if event.Action == "client.registered" && event.Detail["initial_access_token"] == token.ID {
			named++
		}
	}
	if named != 1 {
		t.Errorf("%d events name the token, want that of the row it made", named)
	}
}

func initialAccessTokenCap(t *testing.T, s storage.Store) {
	token := NewInitialAccessToken()
	createToken(t, s, token)
	want(t, register(t.Context(), s, NewDynamicClient(), 1, Event("client.registered", "")), nil)
	want(t, register(t.Context(), s, NewDynamicClient(), 1, Event("client.registered", "")), storage.ErrFull)
	_, err := registerWith(t, s, token.Hash, nil, Now)
	want(t, err, nil)
}

func initialAccessTokenFailure(t *testing.T, s storage.Store) {
	token, taken := NewInitialAccessToken(), NewClient()
	createToken(t, s, token)
	want(t, s.CreateClient(t.Context(), taken, Event("client.created", taken.ID)), nil)
	r := &storage.Registration{Client: taken, Digest: Digest(), InitialAccessTokenHash: token.Hash}
	_, err := s.CreateDynamicClient(t.Context(), r, Event("client.registered", taken.ID))
	want(t, err, storage.ErrExists)
	_, err = registerWith(t, s, token.Hash, nil, Now)
	want(t, err, nil)
}

func initialAccessTokenRace(t *testing.T, s storage.Store) {
	for _, digest := range [][]byte{nil, Digest()} {
		token := NewInitialAccessToken()
		createToken(t, s, token)
		before, _ := s.Clients(t.Context(), storage.ClientFilter{}, storage.Page{Limit: 1000})
		errs := race(16, func(int) error { _, err := registerWith(t, s, token.Hash, digest, Now); return err })
		wantWinners(t, errs, 1, storage.ErrConsumed)
		after, err := s.Clients(t.Context(), storage.ClientFilter{}, storage.Page{Limit: 1000})
		want(t, err, nil)
		if n := len(after) - len(before); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
	}
}
