package keys_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"grantd/server/keys"
	"grantd/storage"
)

// rootKey is a root key that differs for each seed.
func rootKey(seed byte) []byte { return bytes.Repeat([]byte{seed}, keys.RootKeySize) }

func newRoot(t testing.TB, seeds ...byte) *keys.Root {
	t.Helper()
	var secrets [][]byte
	for _, seed := range seeds {
		secrets = append(secrets, rootKey(seed))
	}
	root, err := keys.NewRoot(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestNewRootRefuses(t *testing.T) {
	for name, secrets := range map[string][][]byte{
		"none":       nil,
		"too short":  {rootKey(1)[1:]},
		"too long":   {append(rootKey(1), 1)},
		"empty":      {{}},
		"twice":      {rootKey(1), rootKey(2), rootKey(1)},
		"one is bad": {rootKey(1), {1}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.NewRoot(secrets...)
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), string(rootKey(1)[:8])) {
				t.Errorf("the error holds the key: %v", err)
			}
		})
	}
}

func TestSeal(t *testing.T) {
	root := newRoot(t, 1)
	for _, plain := range []string{"", "x", strings.Repeat("secret ", 1000)} {
		sealed := root.Seal("a purpose", []byte(plain))
		got, err := root.Open("a purpose", sealed)
		if err != nil || string(got) != plain {
			t.Errorf("opened %q, %v; sealed %q", got, err, plain)
		}
		if strings.Trim(sealed, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("not fit for a URL: %q", sealed)
		}
		if len(plain) > 1 && strings.Contains(sealed, plain) {
			t.Error("the plaintext can be read")
		}
		if sealed == root.Seal("a purpose", []byte(plain)) {
			t.Error("sealing twice gives the same: whoever sees both learns that they are equal")
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	root := newRoot(t, 1, 2)
	sealed := root.SealBytes("a purpose", []byte("plaintext"))
	foreign := newRoot(t, 3).SealBytes("a purpose", []byte("plaintext"))
	flipped := func(i int) []byte {
		c := bytes.Clone(sealed)
		c[i] ^= 1
		return c
	}
	for _, c := range []struct {
		name    string
		purpose string
		sealed  []byte
		want    error
	}{
		{"for another purpose", "another purpose", sealed, keys.ErrForged},
		{"key id changed", "a purpose", flipped(0), keys.ErrUnknownKey},
		{"nonce changed", "a purpose", flipped(keys.KeyIDSize), keys.ErrForged},
		{"ciphertext changed", "a purpose", flipped(len(sealed) - 17), keys.ErrForged},
		{"tag changed", "a purpose", flipped(len(sealed) - 1), keys.ErrForged},
		{"cut", "a purpose", sealed[:len(sealed)-1], keys.ErrForged},
		{"only a key id", "a purpose", sealed[:keys.KeyIDSize], keys.ErrForged},
		{"less than a key id", "a purpose", sealed[:keys.KeyIDSize-1], keys.ErrForged},
		{"nothing", "a purpose", nil, keys.ErrForged},
		{"longer", "a purpose", append(bytes.Clone(sealed), 0), keys.ErrForged},
		{"by an unknown key", "a purpose", foreign, keys.ErrUnknownKey},
		{"by a known key under the id of another", "a purpose", append(bytes.Clone(newRoot(t, 2).SealBytes("a purpose", nil)[:keys.KeyIDSize]), sealed[keys.KeyIDSize:]...), keys.ErrForged},
	} {
		t.Run(c.name, func(t *testing.T) {
			for form, open := range map[string]func() ([]byte, error){
				"bytes": func() ([]byte, error) { return root.OpenBytes(c.purpose, c.sealed) },
				"text":  func() ([]byte, error) { return root.Open(c.purpose, base64.RawURLEncoding.EncodeToString(c.sealed)) },
			} {
				got, err := open()
				if !errors.Is(err, c.want) || got != nil {
					t.Errorf("%s: %q, %v; want %v", form, got, err, c.want)
				}
			}
		})
	}
	for name, text := range map[string]string{
		"padded":              root.Seal("a purpose", []byte("12")) + "=",
		"not base64url":       "+/+/" + root.Seal("a purpose", nil),
		"unused bits are set": respelled(root.Seal("a purpose", []byte("12"))),
	} {
		if got, err := root.Open("a purpose", text); !errors.Is(err, keys.ErrForged) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// respelled sets the last unused bit of base64 without padding.
func respelled(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + string(alphabet[last|1])
}

// An unknown key is the operator's mistake, a forgery the caller's.
func TestUnknownKeyIsAnOutage(t *testing.T) {
	if !errors.Is(keys.ErrUnknownKey, storage.ErrUnavailable) {
		t.Error("ErrUnknownKey is no outage")
	}
	if errors.Is(keys.ErrForged, storage.ErrUnavailable) || errors.Is(keys.ErrForged, storage.ErrNotFound) {
		t.Error("ErrForged is somebody else's fault")
	}
}

func TestRootKeyRotation(t *testing.T) {
	before, during, after := newRoot(t, 1), newRoot(t, 2, 1), newRoot(t, 2)
	old := before.Seal("p", []byte("old"))
	oldID, oldMAC := before.MAC("p", []byte("old"))
	if got, err := during.Open("p", old); err != nil || string(got) != "old" {
		t.Errorf("the second key does not open: %q, %v", got, err)
	}
	if err := during.CheckMAC("p", oldID, []byte("old"), oldMAC[:]); err != nil {
		t.Errorf("the second key does not check: %v", err)
	}
	made := during.Seal("p", []byte("new"))
	if got, err := after.Open("p", made); err != nil || string(got) != "new" {
		t.Errorf("the first key did not make: %q, %v", got, err)
	}
	if _, err := after.Open("p", old); !errors.Is(err, keys.ErrUnknownKey) {
		t.Errorf("a dropped key: %v", err)
	}
	if err := after.CheckMAC("p", oldID, []byte("old"), oldMAC[:]); !errors.Is(err, keys.ErrUnknownKey) {
		t.Errorf("a dropped key: %v", err)
	}
}

func TestMAC(t *testing.T) {
	root := newRoot(t, 1, 2)
	id, mac := root.MAC("a purpose", []byte("message"))
	flipped := mac
	flipped[0] ^= 1
	otherID, _ := newRoot(t, 2).MAC("", nil)
	foreignID, _ := newRoot(t, 3).MAC("", nil)
	for _, c := range []struct {
		name    string
		purpose string
		id      keys.KeyID
		message string
		mac     []byte
		want    error
	}{
		{"as made", "a purpose", id, "message", mac[:], nil},
		{"for another purpose", "another purpose", id, "message", mac[:], keys.ErrForged},
		{"another message", "a purpose", id, "massage", mac[:], keys.ErrForged},
		{"changed", "a purpose", id, "message", flipped[:], keys.ErrForged},
		{"cut", "a purpose", id, "message", mac[:31], keys.ErrForged},
		{"none", "a purpose", id, "message", nil, keys.ErrForged},
		{"id of another known key", "a purpose", otherID, "message", mac[:], keys.ErrForged},
		{"unknown key", "a purpose", foreignID, "message", mac[:], keys.ErrUnknownKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := root.CheckMAC(c.purpose, c.id, []byte(c.message), c.mac); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// FuzzOpen: what was not sealed here does not open.
func FuzzOpen(f *testing.F) {
	root := newRoot(f, 1)
	f.Add("")
	f.Add("AAAA")
	f.Add(root.Seal("another purpose", []byte("x")))
	f.Add(root.Seal("p", []byte("x"))[1:])
	f.Fuzz(func(t *testing.T, text string) {
		got, err := root.Open("p", text)
		if err == nil || got != nil {
			t.Fatalf("%q opened to %q", text, got)
		}
		if !errors.Is(err, keys.ErrForged) && !errors.Is(err, keys.ErrUnknownKey) {
			t.Errorf("undocumented error %v", err)
		}
	})
}

// TestFingerprints: stored by one key, found by every server that has it.
func TestFingerprints(t *testing.T) {
	message := []byte("message")
	first := newRoot(t, 1).Fingerprints("purpose", message)
	if len(first) != 1 || len(first[0]) != keys.KeyIDSize+keys.MACSize {
		t.Fatalf("%x", first)
	}
	both := newRoot(t, 2, 1).Fingerprints("purpose", message)
	if len(both) != 2 || !bytes.Equal(both[1], first[0]) || bytes.Equal(both[0], first[0]) {
		t.Errorf("%x and %x", first, both)
	}
	id, mac := newRoot(t, 2, 1).MAC("purpose", message)
	if !bytes.Equal(both[0], append(id[:], mac[:]...)) {
		t.Error("the first is not that of the key which makes")
	}
	for _, other := range [][][]byte{newRoot(t, 1).Fingerprints("another", message), newRoot(t, 1).Fingerprints("purpose", []byte("messagf"))} {
		if bytes.Equal(other[0], first[0]) {
			t.Error("two things have one fingerprint")
		}
	}
}
