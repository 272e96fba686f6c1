package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// redacted stands wherever a secret would be printed.
const redacted = "[redacted]"

// Secret is text that cannot be printed, logged or marshalled by mistake. The
// zero value is the empty text.
type Secret struct {
	// A pointer, so that even %#v of a struct around it shows an address only.
	text *string
}

// NewSecret hides text.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text, for the one place that needs it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Format implements fmt.Formatter: every verb prints the same.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, redacted) }

// String implements fmt.Stringer.
func (s Secret) String() string { return redacted }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// maxSecretFile bounds what is read of a file that is named by mistake.
const maxSecretFile = 64 << 10

// readSecretFile returns what a file holds, without the white space around it.
// A file that other users may read is refused.
func readSecretFile(path string) (string, *Fault) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", &Fault{Problem: fmt.Sprintf("cannot be read: %v", err), Mend: "name a file that grantd may read"}
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", &Fault{Problem: "names " + path + ", which is not a file", Mend: "name a file that grantd may read"}
	}
	if fault := checkMode(path, info); fault != nil {
		return "", fault
	}
	content, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	text := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		return "", &Fault{Problem: fmt.Sprintf("cannot be read: %v", err), Mend: "name a file that grantd may read"}
	case len(content) > maxSecretFile:
		return "", &Fault{Problem: "names " + path + ", which is too large for a secret", Mend: "name the right file"}
	case text == "":
		return "", &Fault{Problem: "names " + path + ", which is empty", Mend: "write the secret into it"}
	}
	return text, nil
}

// checkSecretMode is nil when only the right people may read the file.
func checkSecretMode(path string) *Fault {
	info, err := os.Stat(path)
	if err != nil {
		return nil // whoever reads the file says so
	}
	return checkMode(path, info)
}

func checkMode(path string, info fs.FileInfo) *Fault {
	if !readableByOthers(info) {
		return nil
	}
	return &Fault{
		Problem: fmt.Sprintf("may be read by other users (%s has mode %04o)", path, info.Mode().Perm()),
		Mend:    "chmod 600 " + path,
	}
}

// createSecretFile writes a new file that only this user may read, and makes it
// durable. fs.ErrExist when there is one already: it is never overwritten.
func createSecretFile(path, text string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // beside the operator's database
	if err != nil {
		return err
	}
	_, err = file.WriteString(text + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncDir(filepath.Dir(path))
}
