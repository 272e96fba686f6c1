package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// login is a person's sign-in as "grantd login" leaves it for the other commands. It
// is one file that only the person may read.
type login struct {
	// AdminURL is the admin API that the tokens are for; they are sent to no other.
	AdminURL           string    `json:"admin_url"`
	Issuer             string    `json:"issuer"`
	Resource           string    `json:"resource"`
	ClientID           string    `json:"client_id"`
	TokenEndpoint      string    `json:"token_endpoint"`
	RevocationEndpoint string    `json:"revocation_endpoint"`
	AccessToken        string    `json:"access_token"`
	RefreshToken       string    `json:"refresh_token"`
	ExpiresAt          time.Time `json:"expires_at"` // of the access token
}

// loginPath is where the sign-in is kept, or "" where people have no folder for such.
func loginPath(environ []string) string {
	get := func(name string) string {
		for _, entry := range environ {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				return value
			}
		}
		return ""
	}
	folder := get("XDG_CONFIG_HOME")
	switch {
	case runtime.GOOS == "windows":
		folder = get("AppData")
	case folder != "" && filepath.IsAbs(folder):
	case get("HOME") == "":
		return ""
	case runtime.GOOS == "darwin":
		folder = filepath.Join(get("HOME"), "Library", "Application Support")
	default:
		folder = filepath.Join(get("HOME"), ".config")
	}
	if folder == "" {
		return ""
	}
	return filepath.Join(folder, "grantd", "login.json")
}

// readLogin returns the sign-in at path; nil: there is none. One that other users may
// read is refused.
func readLogin(path string) (*login, error) {
	if path == "" || absent(path) {
		return nil, nil //nolint:nilnil // nobody has signed in
	}
	text, fault := readSecretFile(path)
	if fault != nil {
		return nil, Faults{{Where: path, Problem: fault.Problem, Mend: fault.Mend}}
	}
	var l login
	if err := json.Unmarshal([]byte(text), &l); err != nil || l.AdminURL == "" || l.AccessToken == "" {
		return nil, Faults{{Where: path, Problem: "does not hold a sign-in", Mend: `delete it, and run "grantd login"`}}
	}
	return &l, nil
}

// write keeps the sign-in at path, in place of what is there. Another command reads
// either the old one or the new one.
func (l *login) write(path string) error {
	text, err := json.Marshal(l) //nolint:gosec // this file is where the tokens are kept, for their owner only
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".login-*") // readable by its owner only
	if err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep the sign-in: %w", err), os.Remove(file.Name()))
	}
	return nil
}

// refreshBefore is how long before its end an access token is no longer sent.
const refreshBefore = 30 * time.Second

// token returns an access token that is good for a while, a new one if need be.
func (l *login) token(ctx context.Context, path string) (string, error) {
	if time.Until(l.ExpiresAt) > refreshBefore {
		return l.AccessToken, nil
	}
	if l.RefreshToken == "" {
		return "", signInAgain("your sign-in has expired")
	}
	tokens, err := askForTokens(ctx, l.TokenEndpoint, form{
		"grant_type": "refresh_token", "refresh_token": l.RefreshToken, "client_id": l.ClientID, "resource": l.Resource,
	})
	var refused *oauthError
	if errors.As(err, &refused) {
		return "", signInAgain("your sign-in has ended: " + printable(refused.Error()))
	} else if err != nil {
		return "", err
	}
	l.take(tokens)
	return l.AccessToken, l.write(path)
}

// take keeps new tokens.
func (l *login) take(t *tokenAnswer) {
	l.AccessToken, l.ExpiresAt = t.AccessToken, time.Now().Add(time.Duration(t.ExpiresIn)*time.Second).UTC().Truncate(time.Second)
	if t.RefreshToken != "" {
		l.RefreshToken = t.RefreshToken
	}
}

// signInAgain is an error with what to do about it.
func signInAgain(problem string) error {
	return &exitError{exitUnauthorized, errors.New(problem + "\nmend: grantd login")}
}

// forgetLogin deletes the sign-in. That there is none is no error.
func forgetLogin(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the sign-in: %w", err)
	}
	return nil
}
