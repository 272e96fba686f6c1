package consent

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"grantd/server/keys"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// FieldRequest is the one field of the page that asks for an administrator.
const FieldRequest = "request"

const askPurpose = "ask page"

// ask is what is sealed into the page that asks for an administrator.
type ask struct {
	SessionID string    `json:"s"`
	UserID    string    `json:"u"`
	Digest    []byte    `json:"d"`
	At        time.Time `json:"t"`
}

// ShowAsk answers with the page that says that an administrator must allow the
// client first. reference is the request that this person has made for it, or
// empty: then the page offers to make one. problem is a sentence, usually empty.
func (c *Consent) ShowAsk(w http.ResponseWriter, q Question, reference, problem string) error {
	shown := c.page(q)
	root := c.Pages.Issuer.Root()
	page := templates.AskPage{
		Action: root + "/authorize/ask?" + q.Query, Client: shown.Client, Resource: shown.Resource,
		Account: shown.Account, SwitchAccountURL: shown.SwitchAccountURL, Asked: reference != "", Reference: reference, Problem: problem,
	}
	page.Client.New = false // that it is not allowed yet is what the page is about
	sealed, err := json.Marshal(ask{SessionID: q.SignIn.Session.ID, UserID: q.SignIn.User.ID, Digest: askDigest(q), At: c.Now()})
	if err != nil {
		return fmt.Errorf("encode the page: %w", err)
	}
	page.Request = c.Root.Seal(askPurpose, sealed)
	return c.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return c.Pages.Templates.Ask(out, page) })
}

// JudgeAsk reads the answer to that page. ErrForeign, ErrStale, or
// keys.ErrUnknownKey.
func (c *Consent) JudgeAsk(q Question, form web.Parameters) error {
	plain, err := c.Root.Open(askPurpose, form.Get(FieldRequest))
	if errors.Is(err, keys.ErrForged) {
		return ErrForeign
	} else if err != nil {
		return err
	}
	var page ask
	if err := json.Unmarshal(plain, &page); err != nil || page.SessionID != q.SignIn.Session.ID || page.UserID != q.SignIn.User.ID {
		return ErrForeign
	}
	if age := c.Now().Sub(page.At); age < 0 || age > pageLifetime || !slices.Equal(page.Digest, askDigest(q)) {
		return ErrStale
	}
	return nil
}

// askDigest stands for what an administrator would be asked: the request, and all
// that the client says of itself.
func askDigest(q Question) []byte {
	shown, err := json.Marshal(struct {
		Query, ClientID, ClientName string
		Source                      storage.ClientSource
		RedirectURIs                []string
	}{web.CanonicalQuery(q.Query), q.Client.ClientID, q.Client.ClientName, q.Client.Source, q.Client.RedirectURIs})
	if err != nil {
		panic(err) // strings always encode
	}
	sum := sha256.Sum256(shown)
	return sum[:]
}
