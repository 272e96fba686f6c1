package server

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"grantd/server/account"
	grantdmail "grantd/server/mail"
	"grantd/storage"
)

// firstAdminLifetime is how long the first administrator's link is good for; the
// next start makes another.
const firstAdminLifetime = 24 * time.Hour

// FirstAdminLink makes a link with which the first administrator comes to be, in
// place of any made before; "" when there is a User.
func (s *Server) FirstAdminLink(ctx context.Context) (string, error) {
	token, hash := storage.NewSecret(storage.SecretPrefixUserLink)
	now := s.now()
	link := &storage.UserLink{
		ID: storage.NewID(storage.PrefixUserLink), TokenHash: hash, Purpose: storage.LinkFirstAdmin,
		CreatedAt: now, ExpiresAt: now.Add(firstAdminLifetime),
	}
	event := storage.NewAuditEvent(now, "system", "user_link.created", link.ID).With("purpose", string(link.Purpose))
	err := s.store.CreateUserLink(ctx, link, event)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return account.LinkURL(s.issuer, token), nil
}

// mailing is how the admin API sends a link to its User; nil without a mail server.
func (s *Server) mailing(c Config) func(ctx context.Context, to *storage.User, link *storage.UserLink, url string) error {
	if c.Mail == nil {
		return nil
	}
	return func(ctx context.Context, to *storage.User, link *storage.UserLink, url string) error {
		rule, err := s.secondFactorRule(ctx)
		if err != nil {
			return err
		}
		act, proof := "Set", "password"
		if rule == storage.SecondFactorPasskeysOnly {
			act, proof = "Make", "passkey"
		}
		subject, why := act+" your "+proof, "You are invited to "+c.Issuer.Host()+", where you decide which applications may use which\nMCP servers in your name."
		if link.Purpose == storage.LinkPasswordReset {
			subject, why = "Reset your password", "An administrator of "+c.Issuer.Host()+" has made a link with which you choose a new\npassword. It signs you out everywhere."
			if proof == "passkey" {
				subject, why = "Make a new passkey", "An administrator of "+c.Issuer.Host()+" has made a link with which you make a new\npasskey. It signs you out everywhere."
			}
		}
		text := fmt.Sprintf("%s\n\nYour user name is %s.\n\nOpen this link to %s your %s. It works once, until %s:\n\n%s\n\nIf you do not expect this, tell your administrator and do not open the link.\n",
			why, to.Username, strings.ToLower(act), proof, link.ExpiresAt.UTC().Format("2 January 2006, 15:04 UTC"), url)
		return c.Mail.Send(ctx, grantdmail.Message{To: mail.Address{Name: to.Name, Address: to.Email}, Subject: subject, Text: text})
	}
}
