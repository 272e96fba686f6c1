package server

import (
	"context"
	"errors"
	"net/mail"
	"strings"
	"time"

	"grantd/server/account"
	grantdmail "grantd/server/mail"
	"grantd/server/notice"
	"grantd/storage"
	"grantd/templates"
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

// notify has people told by mail, if there is a mail server, of what is sealed.
func (s *Server) notify(c Config, words *templates.Set) {
	if c.Mail == nil {
		return
	}
	s.notices = &notice.Notices{
		Store: s.store, Words: words, Send: c.Mail.Send, Host: c.Issuer.Host(), AccountURL: c.Issuer.URL("/account"), Now: s.now,
	}
	s.audit.Sealed = s.notices.Sealed
}

// What the mail with a link says: why it comes, and what the link is for.
const (
	invited = "You are invited to {host}, where you decide which applications may use which MCP servers in your name."

	resetPassword = "An administrator of {host} has made a link with which you choose a new password. It signs you out everywhere."
	resetPasskey  = "An administrator of {host} has made a link with which you make a new passkey. It signs you out everywhere."

	opensPassword = "Open this link to set your password. It works once, until {time}:"
	opensPasskey  = "Open this link to make your passkey. It works once, until {time}:"
)

// mailing is how the admin API sends a link to its User, in the organisation's language;
// nil without a mail server.
func (s *Server) mailing(c Config, words *templates.Set) func(ctx context.Context, to *storage.User, link *storage.UserLink, url string) error {
	if c.Mail == nil {
		return nil
	}
	return func(ctx context.Context, to *storage.User, link *storage.UserLink, url string) error {
		rule, err := s.secondFactorRule(ctx)
		if err != nil {
			return err
		}
		passkey, reset := rule == storage.SecondFactorPasskeysOnly, link.Purpose == storage.LinkPasswordReset
		subject, why, opens := "Set your password", invited, opensPassword
		switch {
		case passkey && reset:
			subject, why, opens = "Make a new passkey", resetPasskey, opensPasskey
		case passkey:
			subject, opens = "Make your passkey", opensPasskey
		case reset:
			subject, why = "Reset your password", resetPassword
		}
		values := map[string]string{"host": c.Issuer.Host(), "username": to.Username, "time": words.Moment(link.ExpiresAt)}
		say := func(sentence string) string { return words.Say(sentence, values) }
		return c.Mail.Send(ctx, grantdmail.Message{To: mail.Address{Name: to.Name, Address: to.Email}, Subject: say(subject), Text: strings.Join([]string{
			say(why), say("Your user name is {username}."), say(opens), url,
			say("If you do not expect this, tell your administrator and do not open the link."),
		}, "\n\n") + "\n"})
	}
}
