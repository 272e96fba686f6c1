package catalog

import (
	"context"
	"time"

	"grantd/storage"
)

// Writes wraps a Store so that a change made through it to what is remembered
// is forgotten here at once; other replicas learn of it by the version row.
func (c *Catalog) Writes(store storage.Store) storage.Store { return &writes{Store: store, catalog: c} }

type writes struct {
	storage.Store
	catalog *Catalog
}

// then forgets whatever the outcome: a failed commit may have happened.
func (w *writes) then(err error) error {
	w.catalog.Forget()
	return err
}

func (w *writes) CreateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	return w.then(w.Store.CreateClient(ctx, c, event))
}

func (w *writes) UpdateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	return w.then(w.Store.UpdateClient(ctx, c, event))
}

func (w *writes) UpdateDynamicClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	return w.then(w.Store.UpdateDynamicClient(ctx, c, event))
}

// CreateDynamicClient changes a Client when it vouches for one that is there.
func (w *writes) CreateDynamicClient(ctx context.Context, r *storage.Registration, event storage.AuditEvent) (folded bool, err error) {
	folded, err = w.Store.CreateDynamicClient(ctx, r, event)
	if folded && r.Client.Vouched {
		return folded, w.then(err)
	}
	return folded, err
}

func (w *writes) UpdateClientDocument(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	return w.then(w.Store.UpdateClientDocument(ctx, c, event))
}

func (w *writes) ConfirmClientDocument(ctx context.Context, id string, fetchedAt time.Time) error {
	return w.then(w.Store.ConfirmClientDocument(ctx, id, fetchedAt))
}

// Approve changes a Client when it brings a newer document.
func (w *writes) Approve(ctx context.Context, a *storage.Approval, event storage.AuditEvent) error {
	err := w.Store.Approve(ctx, a, event)
	if a.Document != nil {
		return w.then(err)
	}
	return err
}

func (w *writes) DeleteClient(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return w.then(w.Store.DeleteClient(ctx, id, version, event))
}

func (w *writes) AddClientSecret(ctx context.Context, id string, secret storage.ClientSecret, event storage.AuditEvent) error {
	return w.then(w.Store.AddClientSecret(ctx, id, secret, event))
}

func (w *writes) RotateClientSecret(ctx context.Context, id string, secret storage.ClientSecret, until time.Time, event storage.AuditEvent) error {
	return w.then(w.Store.RotateClientSecret(ctx, id, secret, until, event))
}

func (w *writes) DeleteClientSecret(ctx context.Context, id, secretID string, event storage.AuditEvent) error {
	return w.then(w.Store.DeleteClientSecret(ctx, id, secretID, event))
}

func (w *writes) CreateResource(ctx context.Context, r *storage.Resource, event storage.AuditEvent) error {
	return w.then(w.Store.CreateResource(ctx, r, event))
}

func (w *writes) UpdateResource(ctx context.Context, r *storage.Resource, event storage.AuditEvent) error {
	return w.then(w.Store.UpdateResource(ctx, r, event))
}

func (w *writes) DeleteResource(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return w.then(w.Store.DeleteResource(ctx, id, version, event))
}

func (w *writes) UpdateRegistrationPolicy(ctx context.Context, p *storage.RegistrationPolicy, event storage.AuditEvent) error {
	return w.then(w.Store.UpdateRegistrationPolicy(ctx, p, event))
}

func (w *writes) CreatePolicy(ctx context.Context, p *storage.Policy, event storage.AuditEvent) error {
	return w.then(w.Store.CreatePolicy(ctx, p, event))
}

func (w *writes) UpdatePolicy(ctx context.Context, p *storage.Policy, event storage.AuditEvent) error {
	return w.then(w.Store.UpdatePolicy(ctx, p, event))
}

func (w *writes) DeletePolicy(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return w.then(w.Store.DeletePolicy(ctx, id, version, event))
}

func (w *writes) DecideRegistration(ctx context.Context, id string, d storage.RegistrationDecision, event storage.AuditEvent) error {
	return w.then(w.Store.DecideRegistration(ctx, id, d, event))
}

func (w *writes) DeleteRegistrationRequest(ctx context.Context, id string, event storage.AuditEvent) error {
	return w.then(w.Store.DeleteRegistrationRequest(ctx, id, event))
}

func (w *writes) UpdateSignInPolicy(ctx context.Context, p *storage.SignInPolicy, event storage.AuditEvent) error {
	return w.then(w.Store.UpdateSignInPolicy(ctx, p, event))
}

func (w *writes) CreateProvider(ctx context.Context, p *storage.Provider, event storage.AuditEvent) error {
	return w.then(w.Store.CreateProvider(ctx, p, event))
}

func (w *writes) UpdateProvider(ctx context.Context, p *storage.Provider, event storage.AuditEvent) error {
	return w.then(w.Store.UpdateProvider(ctx, p, event))
}

func (w *writes) ResealProvider(ctx context.Context, id string, sealed, resealed []byte, event storage.AuditEvent) error {
	return w.then(w.Store.ResealProvider(ctx, id, sealed, resealed, event))
}

func (w *writes) DeleteProvider(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return w.then(w.Store.DeleteProvider(ctx, id, version, event))
}

func (w *writes) DeleteAdminKey(ctx context.Context, id string, event storage.AuditEvent) error {
	return w.then(w.Store.DeleteAdminKey(ctx, id, event))
}
