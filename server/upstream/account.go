package upstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"grantd/storage"
)

// maxUsername is how long a username may be that is made of what a provider says.
const maxUsername = 100

var (
	disabled  = &refusal{reason: "the user is disabled", Title: "You may not sign in here", Message: "Your account here has been switched off.", Help: askAdmin}
	ambiguous = &refusal{
		reason: "the e-mail address is another account's", Title: "You may not sign in here",
		Message: "There is an account here with your e-mail address that cannot be joined with yours.",
		Help:    "Ask your administrator, who can rename, enable or delete it.",
	}
)

// account returns the User that the person is, written with what the provider has just
// said: one known by issuer and subject, else a local one that may be taken over by
// its verified address, else a new one. *refusal; storage.ErrUnavailable.
func (u *Upstream) account(ctx context.Context, p *storage.Provider, who *Person) (*storage.User, error) {
	now := u.Now()
	v := storage.Verification{
		Issuer: who.Issuer, Subject: who.Subject, ProviderID: p.ID, Name: who.Name, Email: who.Email, EmailVerified: who.EmailVerified, Groups: who.Groups,
		At: now, Until: now.Add(p.ReverifyAfter),
	}
	for range 3 { // another sign-in of the same person may be first
		user, err := u.Store.UserByIdentity(ctx, who.Issuer, who.Subject)
		if err == nil {
			return u.verified(ctx, user, v)
		} else if !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
		user, err = u.joined(ctx, p, who, v)
		if errors.Is(err, storage.ErrConsumed) {
			continue
		}
		return user, err
	}
	return nil, fmt.Errorf("%w: sign-ins of one person keep crossing", storage.ErrUnavailable)
}

func (u *Upstream) verified(ctx context.Context, user *storage.User, v storage.Verification) (*storage.User, error) {
	if user.Disabled {
		return nil, disabled
	}
	event := u.event(v, "user.verified", user.ID)
	err := u.Store.VerifyUser(ctx, v, event)
	if errors.Is(err, storage.ErrNotFound) { // disabled, or deleted, this very moment
		err = disabled
	}
	return user, err
}

// joined returns the local user taken over, or a new one. storage.ErrConsumed: there
// is one by now.
func (u *Upstream) joined(ctx context.Context, p *storage.Provider, who *Person, v storage.Verification) (*storage.User, error) {
	if p.LinkByEmail && who.EmailVerified {
		user, err := u.Store.UserToLink(ctx, who.Email)
		switch {
		case err == nil:
			err = u.Store.LinkUser(ctx, user.ID, user.Version, v, u.event(v, "user.linked", user.ID))
			if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrNotFound) {
				err = ambiguous
			}
			return user, err
		case errors.Is(err, storage.ErrConflict):
			return nil, ambiguous
		case !errors.Is(err, storage.ErrNotFound):
			return nil, err
		}
	}
	user := &storage.User{
		ID: storage.NewID(storage.PrefixUser), Version: 1, Name: who.Name, Email: who.Email, Groups: who.Groups, CreatedAt: v.At, UpdatedAt: v.At,
	}
	for attempt := 1; ; attempt++ {
		user.Username = username(who, attempt)
		err := u.Store.ProvisionUser(ctx, user, v, u.event(v, "user.created", user.ID).With("username", user.Username))
		if errors.Is(err, storage.ErrNotFound) { // the provider was switched off this very moment
			err = errUnknownProvider()
		}
		if !errors.Is(err, storage.ErrExists) || attempt == usernameAttempts {
			return user, err
		}
	}
}

// usernameAttempts is how many usernames are tried; the last cannot be taken.
const usernameAttempts = 4

// username is what the person is called here. It never takes what is somebody's.
func username(who *Person, attempt int) string {
	name := who.PreferredUsername
	if who.EmailVerified || name == "" {
		name = who.Email
	}
	if name == "" {
		name = "person"
	}
	if runes := []rune(name); len(runes) > maxUsername {
		name = string(runes[:maxUsername])
	}
	switch attempt {
	case 1:
		return name
	case usernameAttempts:
		return name + "-" + strings.ToLower(rand.Text()[:10])
	}
	return name + "-" + strconv.Itoa(attempt)
}

func (u *Upstream) event(v storage.Verification, action, userID string) storage.AuditEvent {
	return storage.NewAuditEvent(v.At, "provider:"+v.ProviderID, action, userID).With("verified_until", v.Until.Format(time.RFC3339))
}
