package server_test

import (
	"io"
	"mime"
	"mime/quotedprintable"
	"net/http"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"grantd/server/mail"
	"grantd/server/mail/mailtest"
	"grantd/server/servertest"
	"grantd/templates"
)

// mailed is the next mail in the letterbox: to whom, its subject and its text.
func mailed(t *testing.T, box *mailtest.Letterbox) (to, subject, text string) {
	t.Helper()
	select {
	case letter := <-box.Letters:
		read, err := netmail.ReadMessage(strings.NewReader(letter.Data))
		if err != nil {
			t.Fatal(err)
		}
		if subject, err = new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject")); err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(read.Body))
		if err != nil {
			t.Fatal(err)
		}
		return letter.To, subject, strings.ReplaceAll(string(body), "\r\n", "\n")
	case <-time.After(time.Minute):
		t.Fatal("no mail came")
		return "", "", ""
	}
}

func letterbox(t *testing.T) (*mailtest.Letterbox, *mail.Sender) {
	t.Helper()
	box := mailtest.Open(t, false, false, "")
	sender, err := mail.New("smtp://"+box.Address, "grantd@example.com", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return box, sender
}

// People are told by mail of what a thief would do to their account, in the
// organisation's language, without a link that does anything.
func TestNotices(t *testing.T) {
	box, sender := letterbox(t)
	o := newOffice(t, servertest.WithMail(sender))
	told := func() (to, subject, text string) {
		t.Helper()
		o.Seal()
		o.Notify()
		return mailed(t, box)
	}
	b := o.SignedIn("alice")
	page := b.Get(o.URL + "/account/security/totp")
	wantStatus(t, answer(b, page, appOf(t, page).code(o.Clock.Now())), http.StatusOK)
	to, subject, text := told()
	if !strings.HasPrefix(to, "TO:<alice@example.com>") || subject != "Security notice for your account at "+strings.TrimPrefix(o.Origin, "http://") {
		t.Errorf("a mail %q with the subject %q", to, subject)
	}
	for _, words := range []string{"the account alice at", "An authenticator app was set up for your account.\nWhen: 4 May 2026", "From the address: 127.0.0.1", "New recovery codes were made", o.URL + "/account\n"} {
		if !strings.Contains(text, words) {
			t.Errorf("the mail does not say %q:\n%s", words, text)
		}
	}
	wantStatus(t, setPassword(o.Browser(), o.link(t, o.find(t, "/users", "username", "alice"), "password_reset")), http.StatusOK)
	if _, _, text = told(); !strings.Contains(text, "The password of your account was set with a link.") {
		t.Errorf("the mail:\n%s", text)
	}
	o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), servertest.Object{"password": servertest.Password})
	if _, _, text = told(); !strings.Contains(text, "An administrator set a new password for your account.") {
		t.Errorf("the mail:\n%s", text)
	}
}

// Links and notices are in the language of the organisation, and what an administrator
// or a provider called somebody begins no header.
func TestMailInTheLanguageOfTheOrganisation(t *testing.T) {
	box, sender := letterbox(t)
	french, err := templates.NewWith(templates.Looks{Language: "fr"})
	if err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, servertest.WithMail(sender), servertest.WithTemplates(french))
	o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), servertest.Object{"name": "Alice, \"Bcc: evil@example.com\" <x>"})
	o.Must(http.MethodPost, "/users/"+o.find(t, "/users", "username", "alice")+"/links", servertest.Object{"purpose": "password_reset", "mail": true})
	to, subject, text := mailed(t, box)
	if !strings.HasPrefix(to, "TO:<alice@example.com>") || subject != "Réinitialisez votre mot de passe" {
		t.Errorf("a mail %q with the subject %q", to, subject)
	}
	for _, words := range []string{"Votre nom d’utilisateur est alice.", "Il ne sert qu’une fois, jusqu’au 5 mai 2026", o.URL + "/account/link?token=", "n’ouvrez pas le lien"} {
		if !strings.Contains(text, words) {
			t.Errorf("the mail does not say %q:\n%s", words, text)
		}
	}
	if page := o.Browser().Get(o.URL + "/login"); !strings.Contains(page.Body, `<html lang="fr">`) {
		t.Error("the pages are in another language")
	}
	_, link, _ := strings.Cut(text, o.URL+"/account/link")
	link, _, _ = strings.Cut(link, "\n")
	wantStatus(t, setPassword(o.Browser(), o.URL+"/account/link"+link), http.StatusOK)
	o.Seal()
	o.Notify()
	if _, subject, text = mailed(t, box); !strings.HasPrefix(subject, "Alerte de sécurité") || !strings.Contains(text, "Le mot de passe de votre compte a été défini avec un lien.\nDate : 4 mai 2026") {
		t.Errorf("the notice %q:\n%s", subject, text)
	}
}

// A mail server that is away, or refuses, changes nothing for whoever acts.
func TestNoticesWithoutAMailServer(t *testing.T) {
	box := mailtest.Open(t, false, false, "RCPT")
	sender, err := mail.New("smtp://"+box.Address, "grantd@example.com", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, servertest.WithMail(sender))
	wantStatus(t, setPassword(o.Browser(), o.link(t, o.find(t, "/users", "username", "alice"), "password_reset")), http.StatusOK)
	o.Seal()
	o.Notify()
	var events []any
	for deadline := time.Now().Add(time.Minute); len(events) == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		// The server's own loop may have been the one to try.
		events = o.Must(http.MethodGet, "/audit-events?action=notice.failed", nil)["items"].([]any)
	}
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	detail := servertest.Object(events[0].(map[string]any)["detail"].(map[string]any))
	if detail.String("cause") != "the mail server answered 550" || detail.String("actions") != "user_link.used" {
		t.Errorf("the event: %v", detail)
	}
}
