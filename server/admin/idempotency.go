package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"

	"grantd/server/web"
	"grantd/storage"
)

// maxIdempotencyKey bounds an Idempotency-Key, in bytes.
const maxIdempotencyKey = 255

// sealIdempotency is the purpose under which digests of requests are sealed: a
// plain digest of a body with a password in it would let it be guessed.
const sealIdempotency = "idempotent request"

// idFor is the id under which a request creates something: a new one, or the one
// that an earlier request with the same Idempotency-Key has claimed, which may
// have been created by then. A key that was used for another request is a 422.
// To be called when all else is checked, so that a refused request claims nothing.
func (h *handlers) idFor(ctx context.Context, prefix, key, operation string, body any) (string, error) {
	id := storage.NewID(prefix)
	if key == "" {
		return id, nil
	}
	if len(key) > maxIdempotencyKey || bytes.ContainsFunc([]byte(key), func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", faults{{Pointer: "Idempotency-Key", Detail: "must have 1 to 255 visible characters"}}.err()
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	request := sha256.Sum256(append([]byte(operation+"\x00"), raw...))
	name := sha256.Sum256([]byte(actor(ctx) + "\x00" + key))
	claim := &storage.IdempotencyKey{
		ID: hex.EncodeToString(name[:]), Request: h.sealer.Seal(sealIdempotency, request[:]), Target: id,
		ExpiresAt: h.now().Add(storage.IdempotencyLifetime),
	}
	if err := h.store.ClaimIdempotencyKey(ctx, claim, h.now()); err != nil {
		return "", err
	}
	claimed, err := h.sealer.Open(sealIdempotency, claim.Request)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(claimed, request[:]) {
		return "", &web.Error{
			Status: http.StatusUnprocessableEntity, Code: "idempotency-key-reused",
			Message: "This Idempotency-Key was used for another request in the last 24 hours. Send a new one.",
		}
	}
	return claim.Target, nil
}

// once runs create unless read finds that an earlier request with the same
// Idempotency-Key has done so; replayed tells. It also is replayed when the other
// request is faster: then create finds its id taken.
func once[T any](key string, read func() (*T, error), create func() (*T, error)) (made *T, replayed bool, err error) {
	if key == "" {
		made, err = create()
		return made, false, err
	}
	if made, err = read(); !errors.Is(err, storage.ErrNotFound) {
		return made, err == nil, err
	}
	made, err = create()
	if !errors.Is(err, storage.ErrExists) {
		return made, false, err
	}
	// Its id, or a name that must be unique: only the first can be read by the id.
	if other, readErr := read(); readErr == nil {
		return other, true, nil
	} else if !errors.Is(readErr, storage.ErrNotFound) {
		return nil, false, readErr
	}
	return nil, false, err
}
