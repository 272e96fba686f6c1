// Package storagetest is the Store contract as tests. Each database runs all of
// it (Run); there is no list of exceptions, so that the SQL may be written twice
// and mean one thing. It also has the builders with which other packages' tests
// fill a Store (NewFixture).
package storagetest

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"grantd/storage"
)

// racers is how many goroutines compete in a race.
const racers = 40

// contract is one statement about a Store, tried on an empty one.
type contract struct {
	name string
	test func(t *testing.T, s storage.Store)
}

// Run proves the contract on the Stores that open gives. Each call of open must
// give an empty, migrated Store of its own and close it when its test ends.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	t.Helper()
	seen := newMethods()
	nouns := []struct {
		name      string
		contracts []contract
	}{
		{"Client", clientContracts},
		{"Registration", registrationContracts},
		{"InitialAccessToken", initialAccessTokenContracts},
		{"AdminKey", adminKeyContracts},
		{"AdminResource", adminResourceContracts},
		{"Version", versionContracts},
		{"Resource", resourceContracts},
		{"User", userContracts},
		{"Session", sessionContracts},
		{"UserLink", userLinkContracts},
		{"Factor", factorContracts},
		{"Passkey", passkeyContracts},
		{"SignInPolicy", signInPolicyContracts},
		{"Grant", grantContracts},
		{"Identity", identityContracts},
		{"AuthorizationCode", authorizationCodeContracts},
		{"PushedRequest", pushedRequestContracts},
		{"Family", familyContracts},
		{"DeviceAuthorization", deviceAuthorizationContracts},
		{"AccessToken", accessTokenContracts},
		{"ClientAssertion", clientAssertionContracts},
		{"SigningKey", signingKeyContracts},
		{"Group", groupContracts},
		{"IdempotencyKey", idempotencyKeyContracts},
		{"Provider", providerContracts},
		{"UserIdentity", userIdentityContracts},
		{"AuditEvent", auditEventContracts},
		{"AuditSeal", auditSealContracts},
		{"Restore", restoreContracts},
		{"RegistrationPolicy", registrationPolicyContracts},
		{"Policy", policyContracts},
		{"RegistrationRequest", registrationRequestContracts},
		{"Store", storeContracts},
		{"Values", valueContracts},
		{"Races", raceContracts},
	}
	all, ran, passed := 0, 0, true
	for _, noun := range nouns {
		all += len(noun.contracts)
		passed = t.Run(noun.name, func(t *testing.T) {
			for _, c := range noun.contracts {
				t.Run(c.name, func(t *testing.T) {
					ran++
					c.test(t, &recorder{Store: open(t), seen: seen})
				})
			}
		}) && passed
	}
	// A run narrowed by -run, or cut short by a failure, says nothing about this.
	if passed && ran == all {
		for _, name := range seen.missing() {
			t.Errorf("no contract called Store.%s", name)
		}
	}
}

// methods remembers which methods of storage.Store were called.
type methods struct {
	mu     sync.Mutex
	called map[string]bool
}

func newMethods() *methods { return &methods{called: map[string]bool{}} }

func (m *methods) call(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called[name] = true
}

func (m *methods) missing() []string {
	var names []string
	for method := range reflect.TypeFor[storage.Store]().Methods() {
		if !m.called[method.Name] {
			names = append(names, method.Name)
		}
	}
	return names
}

// want fails the test unless err is the sentinel (nil: no error at all). What is
// refused for a reason must not look like an outage as well.
func want(t testing.TB, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("got error %v, want %v", err, sentinel)
	}
	if sentinel != nil && !errors.Is(sentinel, storage.ErrUnavailable) && errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("error %v is a refusal and an outage at once", err)
	}
}

// race runs act in n goroutines that start together, and returns their errors.
func race(n int, act func(i int) error) []error {
	var (
		errs  = make([]error, n)
		start = make(chan struct{})
		done  sync.WaitGroup
	)
	for i := range n {
		done.Go(func() {
			<-start
			errs[i] = act(i)
		})
	}
	close(start)
	done.Wait()
	return errs
}

// wantWinners fails the test unless exactly n of errs are nil and all others are
// the sentinel.
func wantWinners(t testing.TB, errs []error, n int, sentinel error) {
	t.Helper()
	winners := 0
	for _, err := range errs {
		if err == nil {
			winners++
			continue
		}
		want(t, err, sentinel)
	}
	if winners != n {
		t.Fatalf("%d of %d won, want %d", winners, len(errs), n)
	}
}

// catalogVersion reads the version row.
func catalogVersion(t testing.TB, s storage.Store) int64 {
	t.Helper()
	version, _, err := s.Heartbeat(t.Context())
	want(t, err, nil)
	return version
}

// events returns every AuditEvent there is.
func events(t testing.TB, s storage.Store) []*storage.AuditEvent {
	t.Helper()
	all, err := s.AuditEvents(t.Context(), storage.AuditFilter{}, storage.Page{Limit: 10_000})
	want(t, err, nil)
	return all
}

// grantOf returns the Grant of the three, or nil.
func grantOf(t testing.TB, s storage.Store, userID, clientID, resourceID string) *storage.Grant {
	t.Helper()
	grants, err := s.Grants(t.Context(), storage.GrantFilter{UserID: userID, ClientID: clientID, ResourceID: resourceID}, storage.Page{Limit: 10})
	want(t, err, nil)
	switch len(grants) {
	case 0:
		return nil
	case 1:
		return grants[0]
	default:
		t.Fatalf("%d grants of one user, client and resource", len(grants))
		return nil
	}
}

// familyGone fails the test unless the family has ended.
func familyGone(t testing.TB, s storage.Store, id string) {
	t.Helper()
	_, _, err := s.Family(t.Context(), id)
	want(t, err, storage.ErrNotFound)
}

// codeDead fails the test unless the code can no longer be redeemed.
func codeDead(t testing.TB, s storage.Store, code *storage.AuthorizationCode) {
	t.Helper()
	want(t, s.RedeemCode(t.Context(), code.ID, NewFamily(code)), storage.ErrConsumed)
}

// step is the smallest difference between two times a Store keeps.
const step = time.Microsecond
