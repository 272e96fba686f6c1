package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/internal/sqlitefile"
	"grantd/migrations"
	"grantd/storage"
	"grantd/storage/sqlite"
	"grantd/storage/storagetest"
)

func TestContract(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.db")
	must(t, migrations.Up(t.Context(), "sqlite:"+empty))
	migrated, err := os.ReadFile(empty)
	must(t, err)
	storagetest.Run(t, func(t *testing.T) storage.Store {
		path := filepath.Join(t.TempDir(), "grantd.db")
		must(t, os.WriteFile(path, migrated, 0o600))
		return open(t, path)
	})
}

func TestSecondServerIsRefused(t *testing.T) {
	path := newFile(t)
	first := open(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	must(t, os.Symlink(path, link))
	for _, name := range []string{path, link} {
		if _, err := sqlite.Open(t.Context(), name); !errors.Is(err, sqlitefile.ErrInUse) {
			t.Errorf("a second server on %s: %v", filepath.Base(name), err)
		}
	}
	if _, _, err := first.Heartbeat(t.Context()); err != nil {
		t.Errorf("the first server suffers from it: %v", err)
	}
	must(t, first.Close())
	must(t, open(t, link).Close())
}

func TestFilesArePrivate(t *testing.T) {
	path := newFile(t)
	storagetest.NewFixture(t, open(t, path))
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + suffix)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("grantd.db%s has mode %o, want 600", suffix, info.Mode().Perm())
		}
	}
}

func TestWhatIsWrittenStays(t *testing.T) {
	// The name has what a URI would take for something else.
	path := filepath.Join(t.TempDir(), "a?b#c%20d é.db")
	must(t, migrations.Up(t.Context(), "sqlite:"+path))
	first, err := sqlite.Open(t.Context(), path)
	must(t, err)
	f := storagetest.NewFixture(t, first)
	must(t, first.Close())
	must(t, first.Close()) // once more is no error

	second := open(t, path)
	got, err := second.User(t.Context(), f.User.ID)
	must(t, err)
	if diff := cmp.Diff(f.User, got); diff != "" {
		t.Errorf("user after opening again (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is not where it was asked for: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	must(t, os.WriteFile(garbage, []byte(strings.Repeat("this is no database ", 100)), 0o600))
	for name, path := range map[string]string{
		"a file without a schema": filepath.Join(t.TempDir(), "empty.db"),
		"a folder that is absent": filepath.Join(t.TempDir(), "no", "such.db"),
		"a folder":                t.TempDir(),
		"another kind of file":    garbage,
	} {
		if s, err := sqlite.Open(t.Context(), path); err == nil {
			t.Errorf("%s was opened: %v", name, s.Close())
		}
	}
	// Having been refused it is not in use.
	must(t, os.Remove(garbage))
	must(t, migrations.Up(t.Context(), "sqlite:"+garbage))
	open(t, garbage)
}

func TestDurability(t *testing.T) {
	s := open(t, newFile(t))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		must(t, sqlite.Writer(s).QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
}

func TestFullDisk(t *testing.T) {
	s := open(t, newFile(t))
	f := storagetest.NewFixture(t, s)
	limit := func(pages string) {
		t.Helper()
		_, err := sqlite.Writer(s).ExecContext(t.Context(), "PRAGMA max_page_count = "+pages)
		must(t, err)
	}
	limit("1") // SQLite makes of it: no page more than there are
	var err error
	for range 10_000 {
		a := f.NewApproval("files:read")
		if err = s.Approve(t.Context(), a, storagetest.Event("grant.approved", a.Code.ID)); err != nil {
			if _, _, err := s.Code(t.Context(), a.Code.ID); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("the code of an approval that failed: %v", err)
			}
			break
		}
	}
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("on a full disk: %v, want %v", err, storage.ErrUnavailable)
	}
	// Reading goes on, and once there is room so does writing.
	_, err = s.SignIn(t.Context(), f.Session.TokenHash, f.Look(), storagetest.Now)
	must(t, err)
	limit("1000000")
	f.Approve(t, "files:read")
	var verdict string
	must(t, sqlite.Writer(s).QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict))
	if verdict != "ok" {
		t.Errorf("integrity check: %s", verdict)
	}
}

// TestLockedByAnotherProgram has one hold the file's write lock for good, and then
// just long enough to be waited for.
func TestLockedByAnotherProgram(t *testing.T) {
	path := newFile(t)
	begun := make(chan struct{}, 100)
	s := open(t, path, sqlite.WithObserver(func(_ context.Context, statement string) {
		if statement == "BEGIN IMMEDIATE" {
			begun <- struct{}{}
		}
	}))
	f := storagetest.NewFixture(t, s)
	for len(begun) > 0 {
		<-begun
	}
	// Here a locked file is reported at once instead of after busy_timeout.
	_, err := sqlite.Writer(s).ExecContext(t.Context(), "PRAGMA busy_timeout = 0")
	must(t, err)

	other, err := sql.Open("sqlite", sqlitefile.URI(path, url.Values{"mode": {"rw"}, "_txlock": {"immediate"}}))
	must(t, err)
	defer other.Close() //nolint:errcheck // only to release it
	hold, err := other.BeginTx(t.Context(), nil)
	must(t, err)
	if err := s.FailCode(t.Context(), f.Code.ID); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("on a locked file: %v, want %v", err, storage.ErrUnavailable)
	}
	if tries := len(begun); tries != 4 {
		t.Errorf("tried %d times, want once and 3 times again", tries)
	}
	// Readers are not in the way of a writer, nor it in theirs.
	_, _, err = s.Code(t.Context(), f.Code.ID)
	must(t, err)

	_, err = sqlite.Writer(s).ExecContext(t.Context(), "PRAGMA busy_timeout = 60000")
	must(t, err)
	for len(begun) > 0 {
		<-begun
	}
	done := make(chan error, 1)
	go func() { done <- s.FailCode(context.WithoutCancel(t.Context()), f.Code.ID) }()
	<-begun // it has met the lock, or is about to
	must(t, hold.Rollback())
	must(t, <-done)
}

// counted is the context key under which a test's statements are collected.
type counted struct{}

// TestBudget counts what each method costs: one transaction of at most 6 statements
// for a write, and what is allowed for the reads that every request makes.
func TestBudget(t *testing.T) {
	s := open(t, newFile(t), sqlite.WithObserver(func(ctx context.Context, statement string) {
		if statements, ok := ctx.Value(counted{}).(*[]string); ok {
			*statements = append(*statements, statement)
		}
	}))
	f, other, third := storagetest.NewFixture(t, s), storagetest.NewFixture(t, s), storagetest.NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	other.Redeem(t, other.Code)
	client, dynamic := storagetest.NewClient(), storagetest.NewDynamicClient()
	client.Secrets = []storage.ClientSecret{storagetest.NewClientSecret(), storagetest.NewClientSecret()}
	resource, user, key, next := storagetest.NewResource(), storagetest.NewUser(), storagetest.NewSigningKey(), storagetest.NewSigningKey()
	user.Groups = []string{"one", "two", "three"}
	session, secret := storagetest.NewSession(f.User.ID), storagetest.NewClientSecret()
	code := f.NewCode("files:read")
	code.GrantID = f.Grant.ID
	approval, again := f.NewApproval("files:read"), f.NewApproval("files:read")
	documented := f.NewDocumentApproval(storagetest.NewDocumentClient())
	again.Code.ID = f.Code.ID
	event := func() storage.AuditEvent { return storagetest.Event("test.counted", "") }
	pushed := f.NewPushedRequest()
	device := f.NewDevice("files:read")
	rotation := storage.Rotation{FamilyID: family.ID, Presented: 1, Request: []byte("r"), Now: storagetest.Now}
	now := storagetest.Now

	for _, test := range []struct {
		name       string
		statements int // at most, BEGIN and COMMIT aside
		commits    int
		do         func(ctx context.Context) error
		want       error
	}{
		{"CreateClient", 6, 1, func(ctx context.Context) error { return s.CreateClient(ctx, client, event()) }, nil},
		{"CreateDynamicClient", 6, 1, func(ctx context.Context) error {
			_, err := s.CreateDynamicClient(ctx, &storage.Registration{Client: dynamic, Digest: storagetest.Digest(), MaxUnused: 10}, event())
			return err
		}, nil},
		{"UpdateClient", 6, 1, func(ctx context.Context) error {
			client.Disabled = true
			return s.UpdateClient(ctx, client, event())
		}, nil},
		{"UpdateClient, conflict", 6, 0, func(ctx context.Context) error {
			stale := *client
			stale.Version--
			return s.UpdateClient(ctx, &stale, event())
		}, storage.ErrConflict},
		{"AddClientSecret", 6, 1, func(ctx context.Context) error { return s.AddClientSecret(ctx, client.ID, secret, event()) }, nil},
		{"DeleteClientSecret", 6, 1, func(ctx context.Context) error {
			return s.DeleteClientSecret(ctx, client.ID, secret.ID, event())
		}, nil},
		{"DeleteClient", 6, 1, func(ctx context.Context) error { return s.DeleteClient(ctx, client.ID, storage.AnyVersion, event()) }, nil},
		{"CreateResource", 6, 1, func(ctx context.Context) error { return s.CreateResource(ctx, resource, event()) }, nil},
		{"UpdateResource", 6, 1, func(ctx context.Context) error {
			other.Resource.Scopes = other.Resource.Scopes[1:]
			return s.UpdateResource(ctx, other.Resource, event())
		}, nil},
		{"DeleteResource", 6, 1, func(ctx context.Context) error {
			return s.DeleteResource(ctx, other.Resource.ID, storage.AnyVersion, event())
		}, nil},
		{"CreateUser", 6, 1, func(ctx context.Context) error { return s.CreateUser(ctx, user, event()) }, nil},
		{"UpdateUser", 6, 1, func(ctx context.Context) error {
			third.User.Disabled, third.User.PasswordHash = true, "another"
			third.User.Groups = []string{"four", "five"}
			return s.UpdateUser(ctx, third.User, event())
		}, nil},
		{"DeleteUser", 6, 1, func(ctx context.Context) error { return s.DeleteUser(ctx, third.User.ID, storage.AnyVersion, event()) }, nil},
		{"CreateSession", 6, 1, func(ctx context.Context) error { return s.CreateSession(ctx, session, event()) }, nil},
		{"DeleteSession", 6, 1, func(ctx context.Context) error { return s.DeleteSession(ctx, session.ID, event()) }, nil},
		{"Approve", 6, 1, func(ctx context.Context) error { return s.Approve(ctx, approval, event()) }, nil},
		{"Approve a document", 6, 1, func(ctx context.Context) error { return s.Approve(ctx, documented, event()) }, nil},
		{"UpdateClientDocument", 6, 1, func(ctx context.Context) error {
			changed := *documented.Document
			changed.DocumentFetchedAt = now.Add(time.Hour)
			return s.UpdateClientDocument(ctx, &changed, event())
		}, nil},
		{"ConfirmClientDocument", 6, 1, func(ctx context.Context) error {
			return s.ConfirmClientDocument(ctx, documented.Document.ID, now.Add(2*time.Hour))
		}, nil},
		{"Approve, again", 6, 0, func(ctx context.Context) error { return s.Approve(ctx, again, event()) }, storage.ErrConsumed},
		{"CreateCode", 6, 1, func(ctx context.Context) error { return s.CreateCode(ctx, code, f.Session.ID) }, nil},
		{"FailCode", 6, 1, func(ctx context.Context) error { return s.FailCode(ctx, code.ID) }, nil},
		{"RedeemCode", 6, 1, func(ctx context.Context) error { return s.RedeemCode(ctx, code.ID, storagetest.NewFamily(code)) }, nil},
		{"RotateFamily", 6, 1, func(ctx context.Context) error { return s.RotateFamily(ctx, rotation) }, nil},
		{"CreateDeviceAuthorization", 6, 1, func(ctx context.Context) error {
			return s.CreateDeviceAuthorization(ctx, device, storage.DeviceCaps{PerClient: 9, InAll: 9})
		}, nil},
		{"DeviceAuthorization", 1, 0, func(ctx context.Context) error { _, _, err := s.DeviceAuthorization(ctx, device.ID); return err }, nil},
		{"PendingDeviceAuthorization", 1, 0, func(ctx context.Context) error {
			_, err := s.PendingDeviceAuthorization(ctx, [][]byte{device.UserCodeHash}, now)
			return err
		}, nil},
		{"PollDeviceAuthorization", 6, 1, func(ctx context.Context) error {
			return s.PollDeviceAuthorization(ctx, storage.DevicePoll{ID: device.ID, PollInterval: device.PollInterval, Now: now})
		}, nil},
		{"ApproveDeviceAuthorization", 6, 1, func(ctx context.Context) error {
			return s.ApproveDeviceAuthorization(ctx, f.NewDeviceApproval(device), event())
		}, nil},
		{"DenyDeviceAuthorization, too late", 6, 0, func(ctx context.Context) error {
			return s.DenyDeviceAuthorization(ctx, device.ID, f.Session.ID, now, event())
		}, storage.ErrConsumed},
		{"RedeemDeviceAuthorization", 6, 1, func(ctx context.Context) error {
			device.GrantID, device.UserID = f.Grant.ID, f.User.ID
			return s.RedeemDeviceAuthorization(ctx, device.ID, storagetest.NewDeviceFamily(device))
		}, nil},
		{"RenewFamily", 6, 1, func(ctx context.Context) error {
			_, _, _, err := s.RenewFamily(ctx, storage.Renewal{
				Rotation: storage.Rotation{FamilyID: family.ID, Presented: 2, Request: []byte("r"), Now: now},
				ClientID: f.Client.ID, ResourceID: f.Resource.ID, Allowed: f.Resource.ScopeNames(),
			})
			return err
		}, nil},
		{"RevokeAccessToken", 6, 1, func(ctx context.Context) error { return s.RevokeAccessToken(ctx, "tok_b", now, event()) }, nil},
		{"UseClientAssertion", 6, 1, func(ctx context.Context) error {
			return s.UseClientAssertion(ctx, f.Client.ID, "jti", now.Add(time.Minute), now)
		}, nil},
		{"CreatePushedRequest", 1, 1, func(ctx context.Context) error { return s.CreatePushedRequest(ctx, pushed, 10) }, nil},
		{"PushedRequest", 1, 0, func(ctx context.Context) error { _, err := s.PushedRequest(ctx, pushed.ID); return err }, nil},
		{"DenyPushedRequest", 1, 1, func(ctx context.Context) error { return s.DenyPushedRequest(ctx, f.NewDenial(pushed)) }, nil},
		{"MoveSigningKeys", 6, 1, func(ctx context.Context) error {
			return s.MoveSigningKeys(ctx, storage.KeyMove{Insert: key}, event())
		}, nil},
		{"MoveSigningKeys, another", 6, 1, func(ctx context.Context) error {
			return s.MoveSigningKeys(ctx, storage.KeyMove{Retire: key.KID, Insert: next, At: now}, event())
		}, nil},
		{"ResealSigningKey", 6, 1, func(ctx context.Context) error {
			return s.ResealSigningKey(ctx, next.KID, next.SealedPrivateKey, []byte("anew"), event())
		}, nil},
		{"ClaimIdempotencyKey", 6, 1, func(ctx context.Context) error {
			return s.ClaimIdempotencyKey(ctx, storagetest.NewIdempotencyKey(), now)
		}, nil},
		{"AskRegistration", 6, 1, func(ctx context.Context) error {
			return s.AskRegistration(ctx, storagetest.NewRegistrationRequest(), f.User.ID, storagetest.RequestLimits, event())
		}, nil},
		{"RegistrationPolicy", 1, 0, func(ctx context.Context) error { _, err := s.RegistrationPolicy(ctx); return err }, nil},
		{"RegistrationRequestOf", 1, 0, func(ctx context.Context) error {
			_, _, err := s.RegistrationRequestOf(ctx, "none", f.User.ID)
			return err
		}, storage.ErrNotFound},
		{"RecordAuditEvent", 6, 1, func(ctx context.Context) error { return s.RecordAuditEvent(ctx, event()) }, nil},

		{"Client", 1, 0, func(ctx context.Context) error { _, err := s.Client(ctx, f.Client.ID); return err }, nil},
		{"ClientByClientID", 1, 0, func(ctx context.Context) error {
			_, err := s.ClientByClientID(ctx, f.Client.ClientID)
			return err
		}, nil},
		{"Resource", 1, 0, func(ctx context.Context) error { _, err := s.Resource(ctx, f.Resource.ID); return err }, nil},
		{"User", 1, 0, func(ctx context.Context) error { _, err := s.User(ctx, f.User.ID); return err }, nil},
		{"SignIn", 1, 0, func(ctx context.Context) error {
			_, err := s.SignIn(ctx, f.Session.TokenHash, f.Look(), now)
			return err
		}, nil},
		{"SignIn, seen long ago", 2, 1, func(ctx context.Context) error {
			_, err := s.SignIn(ctx, f.Session.TokenHash, f.Look(), now.Add(storage.SessionTouch))
			return err
		}, nil},
		{"Code", 1, 0, func(ctx context.Context) error { _, _, err := s.Code(ctx, code.ID); return err }, nil},
		{"Family", 1, 0, func(ctx context.Context) error { _, _, err := s.Family(ctx, family.ID); return err }, nil},
		{"AccessTokenLive", 1, 0, func(ctx context.Context) error {
			_, _, err := s.AccessTokenLive(ctx, "tok_a", family.ID, now)
			return err
		}, nil},
		{"AccessTokenScopes", 1, 0, func(ctx context.Context) error {
			_, _, err := s.AccessTokenScopes(ctx, "tok_a", family.ID, now)
			return err
		}, nil},
		{"Heartbeat", 1, 0, func(ctx context.Context) error { _, _, err := s.Heartbeat(ctx); return err }, nil},

		{"EndFamily", 6, 1, func(ctx context.Context) error { return s.EndFamily(ctx, family.ID, event()) }, nil},
		{"DeleteGrant", 6, 1, func(ctx context.Context) error { return s.DeleteGrant(ctx, f.Grant.ID, event()) }, nil},
		// No request waits for it: a statement for each kind of row, and one for the
		// version that caches follow.
		{"Sweep", 14, 1, func(ctx context.Context) error {
			n, err := s.Sweep(ctx, now.Add(storage.FamilyLifetime), time.Hour, 100)
			if n == 0 {
				t.Error("there was nothing to sweep")
			}
			return err
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var seen []string
			err := test.do(context.WithValue(t.Context(), counted{}, &seen))
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			begins, commits, statements := 0, 0, 0
			for _, statement := range seen {
				switch statement {
				case "BEGIN IMMEDIATE":
					begins++
				case "COMMIT":
					commits++
				case "ROLLBACK":
				default:
					statements++
				}
			}
			if commits != test.commits || begins > 1 || statements == 0 || statements > test.statements {
				t.Errorf("%d transactions, %d commits (want %d) and %d statements (want up to %d):\n%s",
					begins, commits, test.commits, statements, test.statements, strings.Join(seen, "\n"))
			}
		})
	}
}

// newFile returns the path of a new file that was migrated.
func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "grantd.db")
	must(t, migrations.Up(t.Context(), "sqlite:"+path))
	return path
}

// TestPanicInsideAWrite: TK-31. What went wrong in one request must not keep the
// only connection from all others.
func TestPanicInsideAWrite(t *testing.T) {
	var armed atomic.Bool
	path := filepath.Join(t.TempDir(), "grantd.db")
	must(t, migrations.Up(t.Context(), "sqlite:"+path))
	s := open(t, path, sqlite.WithObserver(func(_ context.Context, statement string) {
		if strings.HasPrefix(statement, "INSERT INTO users") && armed.CompareAndSwap(true, false) {
			panic("while a user is written")
		}
	}))
	create := func() error {
		u := storagetest.NewUser()
		return s.CreateUser(t.Context(), u, storagetest.Event("user.created", u.ID))
	}
	armed.Store(true)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing panicked")
			}
		}()
		_ = create()
	}()
	if err := create(); err != nil {
		t.Errorf("the next write: %v", err)
	}
}

func open(t *testing.T, path string, options ...sqlite.Option) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, options...)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What an account page shows of the audit log is found by its index.
func TestUserAuditEventsUsesItsIndex(t *testing.T) {
	path := newFile(t)
	var sent []string
	s := open(t, path, sqlite.WithObserver(func(_ context.Context, statement string) { sent = append(sent, statement) }))
	for _, before := range []string{"", "evt_z"} {
		_, err := s.UserAuditEvents(t.Context(), "usr_x", before, 10)
		must(t, err)
	}
	db, err := sql.Open("sqlite", sqlitefile.URI(path, url.Values{"mode": {"ro"}}))
	must(t, err)
	defer func() { must(t, db.Close()) }()
	for _, statement := range sent {
		args := []any{"usr_x", "evt_z", 10}[:strings.Count(statement, "?")]
		plan := planOf(t, db, statement, args)
		if len(plan) != 1 || !strings.Contains(plan[0], "USING INDEX audit_events_of_user (<expr>=?") {
			t.Errorf("the plan of %s: %q", statement, plan)
		}
	}
}

// planOf is how the database would answer the statement, a step a line.
func planOf(t *testing.T, db *sql.DB, statement string, args []any) (plan []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement, args...)
	must(t, err)
	defer func() { must(t, rows.Close()) }()
	for rows.Next() {
		var id, parent, unused int
		var step string
		must(t, rows.Scan(&id, &parent, &unused, &step))
		plan = append(plan, step)
	}
	must(t, rows.Err())
	return plan
}
