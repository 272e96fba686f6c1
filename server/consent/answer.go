package consent

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"grantd/server/keys"
	"grantd/server/web"
	"grantd/storage"
)

// approval is what is sealed into the page.
type approval struct {
	SessionID string    `json:"s"`
	UserID    string    `json:"u"`
	Digest    []byte    `json:"d"`
	At        time.Time `json:"t"`
	Nonce     string    `json:"n"`
	Seen      *seen     `json:"p,omitempty"`
}

// seen is what else the page was made of that is the person's and the session's, and
// what the browser of the session has.
type seen struct {
	TokenHash []byte   `json:"k"`
	Version   int64    `json:"v"`
	Username  string   `json:"u"`
	Name      string   `json:"n"`
	Email     string   `json:"e"`
	Groups    []string `json:"g"`
	Grouped   bool     `json:"l"` // whether Groups were looked for
	AMR       []string `json:"m"`
}

// manyGroups are too many to send them to the browser and back.
const manyGroups = 50

func seenOf(signIn *storage.SignIn) *seen {
	if u := &signIn.User; len(u.Groups) <= manyGroups {
		return &seen{
			TokenHash: signIn.Session.TokenHash, AMR: signIn.Session.AMR,
			Version: u.Version, Username: u.Username, Name: u.Name, Email: u.Email, Groups: u.Groups, Grouped: signIn.Look.Groups,
		}
	}
	return nil
}

func (c *Consent) seal(page approval) string {
	plain, err := json.Marshal(page)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return c.Root.Seal(sealPurpose, plain)
}

// Answer is the form of a page, as it came back. It says nothing before it is judged.
type Answer struct {
	form web.Parameters
	page approval
	err  error // ErrForeign, or why nobody can tell
}

// Read opens what the form of a page was sealed with.
func (c *Consent) Read(form web.Parameters) Answer {
	answer := Answer{form: form}
	plain, err := c.Root.Open(sealPurpose, form.Get(FieldApproval))
	switch {
	case errors.Is(err, keys.ErrForged):
		answer.err = ErrForeign
	case err != nil:
		answer.err = err
	case json.Unmarshal(plain, &answer.page) != nil:
		answer.err = ErrForeign
	}
	return answer
}

// SignIn is the sign-in that the page was shown to, as far as pages are made of it and
// but for what had been approved. Whether it still is so is for storage.Approver to
// prove. Nil: the page does not say, or the browser with this token is another.
func (a Answer) SignIn(tokenHash []byte) *storage.SignIn {
	seen := a.page.Seen
	if a.err != nil || seen == nil || tokenHash == nil || !bytes.Equal(tokenHash, seen.TokenHash) {
		return nil
	}
	return &storage.SignIn{
		Look:    storage.Look{Groups: seen.Grouped},
		Session: storage.Session{ID: a.page.SessionID, TokenHash: tokenHash, UserID: a.page.UserID, AMR: seen.AMR},
		User: storage.User{
			ID: a.page.UserID, Version: seen.Version, Username: seen.Username, Name: seen.Name, Email: seen.Email, Groups: seen.Groups,
		},
	}
}
