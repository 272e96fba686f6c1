package oauth

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"grantd/server/keys"
	"grantd/storage"
)

// The prefixes let secret scanners find leaks.
const (
	codePrefix    = "ac_"
	refreshPrefix = "rt_"
	devicePrefix  = "dc_"
)

// requestURIPrefix is the beginning of the request_uri of a pushed request
// (RFC 9126 §2.2).
const requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// errNotOurs: not a value that grantd made. Nothing may follow from it.
var errNotOurs = errors.New("not a value of this server")

// values makes and reads authorization codes, refresh tokens, device codes and the
// request_uri of pushed requests. Each is the id of its row under a MAC of the root
// key: nothing usable is stored, and a guess
// never reaches the database.
//
// Layout, base64url after the prefix: root key id (4), row id (16), for a refresh
// token the generation (8, big endian), MAC (32).
type values struct{ root *keys.Root }

const (
	codePurpose    = "authorization code"
	refreshPurpose = "refresh token"
	pushedPurpose  = "pushed authorization request"
	devicePurpose  = "device code"
	rowIDSize      = 16
	generationSize = 8
)

func (v values) code(id string) (string, error) {
	raw, err := storage.IDBytes(storage.PrefixCode, id)
	if err != nil {
		return "", err
	}
	return codePrefix + v.seal(codePurpose, raw[:]), nil
}

// readCode returns the id of the code's row. errNotOurs, keys.ErrUnknownKey.
func (v values) readCode(value string) (id string, err error) {
	message, err := v.open(codePurpose, codePrefix, value, rowIDSize)
	if err != nil {
		return "", err
	}
	return storage.IDFromBytes(storage.PrefixCode, [rowIDSize]byte(message)), nil
}

func (v values) deviceCode(id string) (string, error) {
	raw, err := storage.IDBytes(storage.PrefixDevice, id)
	if err != nil {
		return "", err
	}
	return devicePrefix + v.seal(devicePurpose, raw[:]), nil
}

// readDeviceCode returns the id of the device authorization. errNotOurs,
// keys.ErrUnknownKey.
func (v values) readDeviceCode(value string) (id string, err error) {
	message, err := v.open(devicePurpose, devicePrefix, value, rowIDSize)
	if err != nil {
		return "", err
	}
	return storage.IDFromBytes(storage.PrefixDevice, [rowIDSize]byte(message)), nil
}

func (v values) refreshToken(familyID string, generation int64) (string, error) {
	raw, err := storage.IDBytes(storage.PrefixFamily, familyID)
	if err != nil {
		return "", err
	}
	return refreshPrefix + v.seal(refreshPurpose, binary.BigEndian.AppendUint64(raw[:], uint64(generation))), nil //nolint:gosec // generations count up from 1
}

// readRefreshToken returns the family and the generation that the token names.
// errNotOurs, keys.ErrUnknownKey.
func (v values) readRefreshToken(value string) (familyID string, generation int64, err error) {
	message, err := v.open(refreshPurpose, refreshPrefix, value, rowIDSize+generationSize)
	if err != nil {
		return "", 0, err
	}
	counted := binary.BigEndian.Uint64(message[rowIDSize:])
	if counted == 0 || counted > math.MaxInt64-1 {
		return "", 0, errNotOurs
	}
	return storage.IDFromBytes(storage.PrefixFamily, [rowIDSize]byte(message[:rowIDSize])), int64(counted), nil
}

func (v values) requestURI(id string) (string, error) {
	raw, err := storage.IDBytes(storage.PrefixPushedRequest, id)
	if err != nil {
		return "", err
	}
	return requestURIPrefix + v.seal(pushedPurpose, raw[:]), nil
}

// readRequestURI returns the id of the pushed request's row. errNotOurs,
// keys.ErrUnknownKey.
func (v values) readRequestURI(value string) (id string, err error) {
	message, err := v.open(pushedPurpose, requestURIPrefix, value, rowIDSize)
	if err != nil {
		return "", err
	}
	return storage.IDFromBytes(storage.PrefixPushedRequest, [rowIDSize]byte(message)), nil
}

func (v values) seal(purpose string, message []byte) string {
	id, mac := v.root.MAC(purpose, message)
	out := make([]byte, 0, len(id)+len(message)+len(mac))
	out = append(append(append(out, id[:]...), message...), mac[:]...)
	return base64.RawURLEncoding.EncodeToString(out)
}

func (v values) open(purpose, prefix, value string, size int) ([]byte, error) {
	encoded, ok := strings.CutPrefix(value, prefix)
	if !ok || len(encoded) != base64.RawURLEncoding.EncodedLen(keys.KeyIDSize+size+keys.MACSize) {
		return nil, errNotOurs
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, errNotOurs
	}
	message, mac := raw[keys.KeyIDSize:keys.KeyIDSize+size], raw[keys.KeyIDSize+size:]
	switch err := v.root.CheckMAC(purpose, keys.KeyID(raw[:keys.KeyIDSize]), message, mac); {
	case errors.Is(err, keys.ErrForged):
		return nil, errNotOurs
	case err != nil:
		return nil, err
	}
	return message, nil
}
