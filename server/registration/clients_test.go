package registration_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"grantd/server/outbound"
	"grantd/server/registration"
	"grantd/server/web"
	"grantd/storage"
)

// host is a fetcher whose one host brings what it is told to.
type host struct {
	body  string // "": it is down
	err   error  // of a host that is down; nil: outbound.ErrFetch
	asked int
	now   func() time.Time
	inner *outbound.Fetcher // judges shapes
}

func (h *host) Check(url string) error { return h.inner.Check(url) }

func (h *host) Get(_ context.Context, url string, kind outbound.Kind) (outbound.Document, error) {
	h.asked++
	if h.body == "" || kind.Valid(url, []byte(h.body)) != nil {
		if h.err != nil {
			return outbound.Document{}, h.err
		}
		return outbound.Document{}, outbound.ErrFetch
	}
	return outbound.Document{Body: []byte(h.body), FetchedAt: h.now(), FreshUntil: h.now().Add(time.Minute)}, nil
}

func (h *host) Renew(ctx context.Context, url string, kind outbound.Kind) (outbound.Document, error) {
	return h.Get(ctx, url, kind)
}

func (*host) Cached(string, outbound.Kind) (outbound.Document, bool) {
	return outbound.Document{}, false
}

// rows is a catalog with at most one client, which is also the store of its document.
type rows struct {
	client  *storage.Client
	written []string
}

func (r *rows) Client(context.Context, string) (*storage.Client, error) {
	if r.client == nil {
		return nil, storage.ErrNotFound
	}
	return r.client, nil
}

func (r *rows) UpdateClientDocument(_ context.Context, c *storage.Client, event storage.AuditEvent) error {
	r.written = append(r.written, "updated: "+event.Detail["changed"])
	return nil
}

func (r *rows) ConfirmClientDocument(context.Context, string, time.Time) error {
	r.written = append(r.written, "confirmed")
	return nil
}

// policy has one mode for every document.
type policy struct {
	mode   storage.RegistrationMode
	err    error
	judged []string
	pinned map[string]string // documents by client_id
}

func (p *policy) Document(_ context.Context, clientID string) (storage.RegistrationMode, error) {
	p.judged = append(p.judged, clientID)
	return p.mode, p.err
}

func (p *policy) Pinned(_ context.Context, clientID string) ([]byte, bool, error) {
	body, ok := p.pinned[clientID]
	return []byte(body), ok, p.err
}

// site is Documents with everything around them in a test's hands.
type site struct {
	*registration.Documents
	now    time.Time
	host   *host
	rows   *rows
	policy *policy
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), rows: &rows{}, policy: &policy{mode: storage.RegistrationAllow, pinned: map[string]string{}}}
	now := func() time.Time { return s.now }
	s.host = &host{body: seeds[0], now: now, inner: outbound.New(outbound.Config{})}
	s.Documents = registration.NewDocuments(registration.DocumentsConfig{
		Rows: s.rows, Store: s.rows, Fetcher: s.host, Rules: rules(), Policy: s.policy, Now: now,
		Limit: &web.FailureLimit{Failures: 10, Window: time.Minute, Now: now},
	})
	t.Cleanup(s.Stop)
	return s
}

// store makes a row of what the document says, fetched some time ago.
func (s *site) store(t *testing.T, age time.Duration) *storage.Client {
	t.Helper()
	row, err := rules().Client(documentURL, []byte(seeds[0]))
	if err != nil {
		t.Fatal(err)
	}
	row.Version, row.DocumentFetchedAt = 3, s.now.Add(-age)
	s.rows.client = row
	return row
}

// TestDocumentPolicy: CM-26. The host is judged before anything is asked of it, as
// people know it.
func TestDocumentPolicy(t *testing.T) {
	s := newSite(t)
	s.policy.mode = storage.RegistrationOff
	_, err := s.Client(t.Context(), "https://CLIENT.example:8443/c", false)
	var page *web.Error
	if !errors.As(err, &page) || page.Status != 400 || page.Help == "" {
		t.Errorf("refused: %v", err)
	}
	s.policy.err = storage.ErrUnavailable
	if _, err := s.Client(t.Context(), documentURL, false); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("an outage of the policy: %v", err)
	}
	if s.host.asked > 0 || strings.Join(s.policy.judged, " ") != "https://CLIENT.example:8443/c "+documentURL {
		t.Errorf("%d fetches, judged were %q", s.host.asked, s.policy.judged)
	}
	// What is refused by its shape is not even judged.
	if _, err := s.Client(t.Context(), "https://127.0.0.1/c", false); !errors.As(err, &page) || page.Code != "client-document" || len(s.policy.judged) != 2 {
		t.Errorf("%v, judged were %q", err, s.policy.judged)
	}
}

// TestRefusedHostAfterApproval: CM-26. After an approval the host is not asked either
// once it is refused: its snapshot ends with its week.
func TestRefusedHostAfterApproval(t *testing.T) {
	const day = 24 * time.Hour
	for _, row := range []struct {
		name   string
		age    time.Duration
		lapsed bool
	}{
		{"a snapshot of six days", 6 * day, false},
		{"a snapshot of eight days", 8 * day, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			s.policy.mode = storage.RegistrationOff
			s.store(t, row.age)
			got, err := (registration.Approved{Documents: s.Documents}).Client(t.Context(), documentURL)
			s.Stop()
			if err != nil || got.DocumentLapsed(s.now) != row.lapsed {
				t.Errorf("%+v, %v", got, err)
			}
			if s.host.asked > 0 {
				t.Errorf("%d fetches", s.host.asked)
			}
		})
	}
}

// TestPinnedDocuments: a pinned document stands in for a host that blocks servers or
// cannot be reached, and only then.
func TestPinnedDocuments(t *testing.T) {
	const pinnedBody = `{"client_id":"` + documentURL + `","client_name":"Pinned","redirect_uris":["https://claude.ai/api/mcp/auth_callback"]}`
	s := newSite(t)
	s.policy.pinned[documentURL] = pinnedBody
	name := func(want string) {
		t.Helper()
		client, err := s.Client(t.Context(), documentURL, false)
		if err != nil || client.ClientName != want {
			t.Errorf("the client is %+v, %v; want %s", client, err, want)
		}
	}
	name("Claude") // the host answers
	s.host.body = ""
	name("Pinned")
	if _, err := s.Client(t.Context(), "https://other.example/c", false); err == nil {
		t.Error("a document was pinned for every host")
	}
	s.now = s.now.Add(time.Hour)
	s.store(t, 6*24*time.Hour)
	name("Claude") // a snapshot is fresher
	s.store(t, 8*24*time.Hour)
	name("Pinned")

	// Refreshes go on, however old the snapshot.
	approved, err := registration.Approved{Documents: s.Documents}.Client(t.Context(), documentURL)
	if err != nil || approved.DocumentLapsed(s.now) || approved.Version != 3 {
		t.Errorf("after the approval: %+v, %v", approved, err)
	}
	if s.rows.client.DocumentFetchedAt.Equal(approved.DocumentFetchedAt) {
		t.Error("the shared row was changed")
	}
	s.policy.pinned[documentURL] = "{}" // is not valid
	if got, err := (registration.Approved{Documents: s.Documents}).Client(t.Context(), documentURL); err != nil || !got.DocumentLapsed(s.now) {
		t.Errorf("with a broken pinned document: %+v, %v", got, err)
	}
	s.now = s.now.Add(time.Hour)
	if _, err := s.Client(t.Context(), documentURL, false); err == nil {
		t.Error("a broken pinned document was shown")
	}
}

// TestLapsedSnapshotIsRenewed: whoever comes back after long waits for the host
// once, and what was read is kept.
func TestLapsedSnapshotIsRenewed(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"unchanged": {seeds[0], "confirmed"},
		"changed":   {strings.Replace(seeds[0], `"Claude"`, `"Claude 2"`, 1), "updated: client_name"},
	} {
		s := newSite(t)
		s.store(t, 8*24*time.Hour)
		s.host.body = c.body
		got, err := registration.Approved{Documents: s.Documents}.Client(t.Context(), documentURL)
		if err != nil || got.DocumentLapsed(s.now) || got.Version != 3 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if strings.Join(s.rows.written, ", ") != c.want {
			t.Errorf("%s: written were %q, want %q", name, s.rows.written, c.want)
		}
	}
}

// TestLapsedSnapshotWhileOthersAreSlow: hosts that take all sockets cost another
// host's client nothing but time.
func TestLapsedSnapshotWhileOthersAreSlow(t *testing.T) {
	s := newSite(t)
	s.store(t, 8*24*time.Hour)
	s.host.body, s.host.err = "", outbound.ErrBusy
	if got, err := (registration.Approved{Documents: s.Documents}).Client(t.Context(), documentURL); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("%+v, %v", got, err)
	}
}
