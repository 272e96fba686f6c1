package registration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"grantd/server/outbound"
	"grantd/server/web"
	"grantd/storage"
)

const (
	// staleIfError is how old a copy may be that a person is shown when the host
	// does not answer: no older than what a host may ask to have cached.
	staleIfError = 24 * time.Hour
	// confirmAfter is how old a row may get before an unchanged document is noted in
	// it: noting empties every replica's caches.
	confirmAfter = 24 * time.Hour
	// A document is read again, beside the requests, when its row is older than
	// renewAfter and its host's headers allow; a failure is tried again after
	// renewRetry.
	renewAfter = 15 * time.Minute
	renewRetry = 5 * time.Minute
	// maxRenewals at once leave most of the sockets to people who wait.
	maxRenewals  = 8
	renewTimeout = 10 * time.Second
	// maxScheduled bounds the memory of when which document is due, and of which has
	// no row.
	maxScheduled = 10_000
	// absentMemory is for how long a client without a row is not looked for again, so
	// that approving its page costs no more than approving another. A row that is made
	// meanwhile is met by the approval itself.
	absentMemory = time.Minute
)

// DocumentFetcher gets documents; *outbound.Fetcher is one.
type DocumentFetcher interface {
	Check(url string) error
	Get(ctx context.Context, url string, kind outbound.Kind) (outbound.Document, error)
	Renew(ctx context.Context, url string, kind outbound.Kind) (outbound.Document, error)
	Cached(url string, kind outbound.Kind) (outbound.Document, bool)
}

// DocumentPolicy is what Documents ask of Trust.
type DocumentPolicy interface {
	Document(ctx context.Context, clientID string) (storage.RegistrationMode, error)
	// Pinned are documents that ship with grantd, for hosts that block servers and
	// for sites without the internet.
	Pinned(ctx context.Context, clientID string) (body []byte, ok bool, err error)
}

// ClientRows finds the stored Clients by their client_id. storage.ErrNotFound.
type ClientRows interface {
	Client(ctx context.Context, clientID string) (*storage.Client, error)
}

// DocumentsConfig is what Documents are built from.
type DocumentsConfig struct {
	Rows    ClientRows
	Store   storage.ClientDocumentStore
	Fetcher DocumentFetcher
	Rules   DocumentRules
	Policy  DocumentPolicy
	Limit   *web.FailureLimit // fetches per address
	Now     func() time.Time
}

// Documents finds Clients for a request that a person is to approve. A client_id
// that is an https URL names a document
// (draft-ietf-oauth-client-id-metadata-document); every other one names a row.
//
// Approved finds them for everything after the approval.
type Documents struct {
	DocumentsConfig
	kind outbound.Kind

	mu      sync.Mutex
	due     map[string]time.Time // by opaque id: not read again before
	absent  map[string]time.Time // by client_id: had no row lately, until then
	running int
	work    sync.WaitGroup
	stopped context.Context // what goes on beside the requests ends with it
	stop    context.CancelFunc
}

// NewDocuments returns Documents that have read nothing. Stop ends what they do
// beside the requests.
func NewDocuments(c DocumentsConfig) *Documents {
	d := &Documents{DocumentsConfig: c, kind: outbound.MetadataDocument, due: make(map[string]time.Time), absent: make(map[string]time.Time)}
	d.kind.Valid = func(url string, body []byte) error { _, err := c.Rules.Client(url, body); return err }
	d.stopped, d.stop = context.WithCancel(context.Background())
	return d
}

// Stop ends renewals under way and waits for them.
func (d *Documents) Stop() {
	d.mu.Lock()
	d.running = maxRenewals // no more
	d.mu.Unlock()
	d.stop()
	d.work.Wait()
}

// Client returns the client, as its row or as its document says it at the moment;
// then it is not Stored. storage.ErrNotFound, or a *web.Error to show: 400 when the
// document cannot be had or its host is refused, 429 when too many are fetched.
// attended says that somebody has signed in to ask; web.ErrUnattended: the policy
// lets the document be fetched only then.
func (d *Documents) Client(ctx context.Context, clientID string, attended bool) (*storage.Client, error) {
	if !IsDocument(clientID) {
		return d.Rows.Client(ctx, clientID)
	}
	if err := d.Fetcher.Check(clientID); err != nil {
		return nil, unreadable(clientID, logged(err))
	}
	switch mode, err := d.Policy.Document(ctx, clientID); {
	case err != nil:
		return nil, err
	case mode == storage.RegistrationAskAdmin && !attended:
		return nil, web.ErrUnattended
	case mode == storage.RegistrationOff:
		return nil, &web.Error{
			Status: 400, Code: "client-host", Title: "This application is not allowed here",
			Message: "Your organisation does not let applications from this address introduce themselves, so nothing was done.",
			Help:    "Ask your administrator to allow the application, or to register it.",
		}
	}
	row, err := d.row(ctx, clientID)
	if err != nil {
		return nil, err
	} else if row != nil && row.Disabled {
		return row, nil // whatever it says of itself
	}
	document, err := d.fetch(ctx, clientID)
	if err != nil {
		return d.withoutHost(ctx, clientID, row, err)
	}
	client, err := d.read(clientID, document)
	if err != nil {
		return nil, err
	}
	return d.besideRow(client, row), nil
}

// row returns the client's row, nil if it has none.
func (d *Documents) row(ctx context.Context, clientID string) (*storage.Client, error) {
	now := d.Now()
	d.mu.Lock()
	absent := now.Before(d.absent[clientID])
	d.mu.Unlock()
	if absent {
		return nil, nil //nolint:nilnil // no row is no error here
	}
	row, err := d.Rows.Client(ctx, clientID)
	if !errors.Is(err, storage.ErrNotFound) {
		return row, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.absent) >= maxScheduled {
		clear(d.absent)
	}
	d.absent[clientID] = now.Add(absentMemory)
	return nil, nil //nolint:nilnil // as above
}

// present forgets that the client had no row.
func (d *Documents) present(clientID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.absent, clientID)
}

// fetch returns the document. Only what is not at hand counts for the limit.
func (d *Documents) fetch(ctx context.Context, clientID string) (outbound.Document, error) {
	if document, ok := d.Fetcher.Cached(clientID, d.kind); ok && d.Now().Before(document.FreshUntil) {
		return document, nil
	}
	caller := web.Caller(ctx)
	if wait := d.Limit.Blocked(caller); wait > 0 {
		return outbound.Document{}, tooMany(wait, nil)
	}
	d.Limit.Fail(caller)
	document, err := d.Fetcher.Get(ctx, clientID, d.kind)
	if busy, ok := errors.AsType[*outbound.Error](err); ok && errors.Is(err, outbound.ErrBusy) {
		return document, tooMany(int((busy.RetryAfter+time.Second-1)/time.Second), logged(err))
	}
	return document, err
}

func tooMany(retryAfter int, err error) error {
	return &web.Error{
		Status: 429, Code: "too-many-documents", Title: "Please wait a moment",
		Message: "Too many applications are being looked up at the moment. Nothing was done; reload this page in a little while.",
		Err:     err, RetryAfter: retryAfter,
	}
}

// logged gives the log the reason that the error itself hides from everybody.
func logged(err error) error {
	if e, ok := errors.AsType[*outbound.Error](err); ok {
		return fmt.Errorf("%s: %w", e.Reason, err)
	}
	return err
}

// read makes the Client of a document.
func (d *Documents) read(clientID string, document outbound.Document) (*storage.Client, error) {
	client, err := d.Rules.Client(clientID, document.Body)
	if err != nil {
		return nil, fmt.Errorf("a document that was valid: %w", errors.New(err.Error()))
	}
	client.DocumentFetchedAt = document.FetchedAt.UTC().Truncate(time.Microsecond)
	client.CreatedAt, client.UpdatedAt = d.Now(), d.Now()
	return client, nil
}

// besideRow returns the row if it says the same or is newer, so that it need not be
// written again.
func (d *Documents) besideRow(client, row *storage.Client) *storage.Client {
	if row == nil {
		return client
	}
	newer := client.DocumentFetchedAt.Sub(row.DocumentFetchedAt)
	if newer <= 0 || (newer < confirmAfter && len(changes(row, client)) == 0) {
		return row
	}
	client.CreatedAt = row.CreatedAt
	return client
}

// withoutHost returns the client when its host brought no document: a copy that is
// young enough, or a pinned one. cause is why.
func (d *Documents) withoutHost(ctx context.Context, clientID string, row *storage.Client, cause error) (*storage.Client, error) {
	shown, isPage := errors.AsType[*web.Error](cause)
	if !isPage && !errors.Is(cause, outbound.ErrFetch) && !errors.Is(cause, outbound.ErrRefused) {
		return nil, cause // the caller has gone
	}
	now := d.Now()
	if !errors.Is(cause, outbound.ErrRefused) {
		if document, ok := d.Fetcher.Cached(clientID, d.kind); ok && now.Sub(document.FetchedAt) < staleIfError {
			if client, err := d.read(clientID, document); err == nil {
				return d.besideRow(client, row), nil
			}
		}
		if row != nil && now.Sub(row.DocumentFetchedAt) < staleIfError {
			return row, nil
		}
	}
	if pinned, err := d.pinned(ctx, clientID); err != nil {
		return nil, err
	} else if pinned != nil {
		if row != nil && !row.DocumentLapsed(now) {
			return row, nil
		}
		return d.besideRow(pinned, row), nil
	}
	if isPage {
		return nil, shown
	}
	return nil, unreadable(clientID, logged(cause))
}

// pinned returns the client of the pinned document, as of now, or nil.
func (d *Documents) pinned(ctx context.Context, clientID string) (*storage.Client, error) {
	body, ok, err := d.Policy.Pinned(ctx, clientID)
	if err != nil || !ok {
		return nil, err
	}
	client, err := d.read(clientID, outbound.Document{Body: body, FetchedAt: d.Now()})
	if err != nil {
		slog.ErrorContext(ctx, "a pinned client document is not valid", "error", err.Error())
		return nil, nil //nolint:nilnil // it counts as none
	}
	return client, nil
}

// Approved finds the Clients of requests that come after an approval: their rows.
// The snapshot in a row is renewed beside the request that uses it, so that a host
// that is slow or down costs its clients nothing.
type Approved struct{ *Documents }

// Client returns the client's row. When its snapshot has lapsed the host is asked
// first; a row that still says DocumentLapsed must not be relied on.
// storage.ErrNotFound.
func (a Approved) Client(ctx context.Context, clientID string) (*storage.Client, error) {
	row, err := a.Rows.Client(ctx, clientID)
	if err != nil || row.Source != storage.SourceMetadataDocument {
		return row, err
	}
	a.present(clientID)
	if row.Disabled {
		return row, nil
	}
	if !row.DocumentLapsed(a.Now()) {
		a.renewBeside(row)
		return row, nil
	}
	renewed, _, err := a.renew(ctx, row, a.Fetcher.Get)
	switch {
	case err == nil:
		return renewed, nil
	case errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil:
		return nil, err
	case errors.Is(err, outbound.ErrBusy): // with others' documents: nobody here is to blame
		return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if pinned, err := a.pinned(ctx, clientID); err != nil {
		return nil, err
	} else if pinned != nil {
		relied := *row
		relied.DocumentFetchedAt = a.Now()
		return &relied, nil
	}
	return row, nil
}

// Renewed returns the client as its document says it now, for a request that its
// snapshot does not fit: its keys may have changed. storage.ErrUnavailable: the host
// brings no document.
func (d *Documents) Renewed(ctx context.Context, row *storage.Client) (*storage.Client, error) {
	client, _, err := d.renew(ctx, row, d.Fetcher.Renew)
	if _, fetching := errors.AsType[*outbound.Error](err); fetching && !errors.Is(err, outbound.ErrRefused) {
		return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if err != nil && !errors.Is(err, storage.ErrUnavailable) && ctx.Err() == nil {
		return row, nil
	}
	return client, err
}

// errNotAllowed: the policy no longer lets the host be asked.
var errNotAllowed = errors.New("the host is not allowed")

// renew reads the document and writes what is new of it into the row. It returns the
// client as the row now is, and until when the document is fresh.
func (d *Documents) renew(ctx context.Context, row *storage.Client, get func(context.Context, string, outbound.Kind) (outbound.Document, error)) (*storage.Client, time.Time, error) {
	if mode, err := d.Policy.Document(ctx, row.ClientID); err != nil {
		return nil, time.Time{}, err
	} else if mode == storage.RegistrationOff {
		return nil, time.Time{}, errNotAllowed
	}
	document, err := get(ctx, row.ClientID, d.kind)
	if err != nil {
		return nil, time.Time{}, err
	}
	client, err := d.read(row.ClientID, document)
	if err != nil {
		return nil, time.Time{}, err
	}
	if d.besideRow(client, row) == row {
		return row, document.FreshUntil, nil
	}
	if changed := changes(row, client); len(changed) == 0 {
		err = d.Store.ConfirmClientDocument(ctx, row.ID, client.DocumentFetchedAt)
	} else {
		event := storage.NewAuditEvent(d.Now(), "system", "client.document_changed", row.ID).
			With("client_id", row.ClientID).With("changed", strings.Join(changed, " "))
		err = d.Store.UpdateClientDocument(ctx, client, event)
	}
	// Not found: another replica was faster, or the client is gone and whoever asks
	// for it again learns that.
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, time.Time{}, err
	}
	client.Version = row.Version
	return client, document.FreshUntil, nil
}

// renewBeside renews the row while the request goes on, if it is time and not too
// many others are being renewed.
func (d *Documents) renewBeside(row *storage.Client) {
	now := d.Now()
	if now.Sub(row.DocumentFetchedAt) < renewAfter {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Before(d.due[row.ID]) || d.running >= maxRenewals {
		return
	}
	if len(d.due) >= maxScheduled {
		clear(d.due)
	}
	d.due[row.ID] = now.Add(renewRetry)
	d.running++
	d.work.Go(func() { d.renewSafely(row) })
}

// renewSafely renews in a goroutine of its own, where nobody else would recover a
// panic.
func (d *Documents) renewSafely(row *storage.Client) {
	ctx, cancel := context.WithTimeout(d.stopped, renewTimeout)
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			slog.ErrorContext(ctx, "panic while renewing a client's document", "client", row.ID, "cause", fmt.Sprint(cause))
		}
		d.mu.Lock()
		d.running--
		d.mu.Unlock()
	}()
	_, freshUntil, err := d.renew(ctx, row, d.Fetcher.Get)
	if err != nil {
		if d.stopped.Err() == nil {
			slog.InfoContext(ctx, "a client's document could not be renewed; its snapshot goes on", "client", row.ID,
				"snapshot", row.DocumentFetchedAt.Format(time.RFC3339), "error", logged(err).Error())
		}
		return
	}
	if next := d.Now().Add(renewAfter); next.After(freshUntil) {
		freshUntil = next
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due[row.ID] = freshUntil
}
