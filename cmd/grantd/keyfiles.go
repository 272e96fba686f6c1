package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"grantd/server/keys"
)

// makeKeys makes the keys that stand beside a SQLite file and that nobody has
// given or made yet.
func (c *Config) makeKeys(log *slog.Logger) error {
	if c.Root == nil && c.RootKeyFile != "" {
		// A database that is there was made with a key. A new one would not open it,
		// and would lie where people look for the old one.
		if info, err := os.Stat(c.Database.Path); err == nil && info.Size() > 0 && absent(c.RootKeyFile) {
			return Faults{{
				Where: c.RootKeyFile, Problem: "is missing, and the database " + c.Database.Path + " needs the root key it was made with",
				Mend: "put the file back from your backup, or give the key with --root-key-file",
			}}
		}
		text, err := makeKeyFile(c.RootKeyFile, "root key", base64.StdEncoding.EncodeToString(randomKey()), log)
		if err != nil {
			return err
		}
		key, ok := decodeRootKey(text)
		if !ok {
			return fmt.Errorf("%s does not hold a root key", c.RootKeyFile)
		}
		if c.Root, err = keys.NewRoot(key); err != nil {
			return err
		}
	}
	if len(c.AdminKeys) == 0 && c.AdminKeyFile != "" {
		text, err := makeKeyFile(c.AdminKeyFile, "admin key", base64.RawURLEncoding.EncodeToString(randomKey()), log)
		if err != nil {
			return err
		}
		c.AdminKeys = []Secret{NewSecret(text)}
	}
	return nil
}

// makeKeyFile returns what the file holds: text, or what another process wrote
// there a moment before.
func makeKeyFile(path, what, text string, log *slog.Logger) (string, error) {
	err := createSecretFile(path, text)
	if errors.Is(err, fs.ErrExist) {
		existing, fault := readSecretFile(path)
		if fault != nil {
			return "", Faults{{Where: path, Problem: fault.Problem, Mend: fault.Mend}}
		}
		return existing, nil
	}
	if err != nil {
		return "", fmt.Errorf("make the %s: %w", what, err)
	}
	log.Info("made the "+what+"; keep this file safe and backed up", "file", path)
	return text, nil
}

func randomKey() []byte {
	key := make([]byte, keys.RootKeySize)
	_, _ = rand.Read(key) // never fails: it would end the process
	return key
}

// absent reports whether a path names nothing; other errors are left to whoever
// opens it.
func absent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}
