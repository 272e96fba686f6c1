package storage

import (
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// The prefixes of the ids that grantd gives. They keep a client's id from ever
// equalling a user's (RFC 9700 §4.15) and tell a reader of a log what an id is.
const (
	PrefixClient        = "cl_"
	PrefixClientSecret  = "sec_"
	PrefixResource      = "res_"
	PrefixUser          = "usr_"
	PrefixSession       = "ses_"
	PrefixGrant         = "grt_"
	PrefixCode          = "cod_"
	PrefixFamily        = "fam_"
	PrefixPushedRequest = "par_"
	PrefixToken         = "tok_"
	PrefixAuditEvent    = "evt_"
	PrefixDevice        = "dev_"
	PrefixProvider      = "idp_"
	// PrefixInitialAccessToken is not that of the token, which is a secret.
	PrefixInitialAccessToken  = "reg_"
	PrefixRegistrationRequest = "req_"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns prefix followed by 26 characters that sort by time of making
// (a UUID of version 7, RFC 9562, 74 bits of it random). Ids name rows; they are
// never secrets.
func NewID(prefix string) string {
	id := uuid.Must(uuid.NewV7())
	return prefix + idEncoding.EncodeToString(id[:])
}

// IDBytes returns the 16 bytes behind an id made by NewID with that prefix.
func IDBytes(prefix, id string) ([16]byte, error) {
	var out [16]byte
	text, ok := strings.CutPrefix(id, prefix)
	if !ok || len(text) != 26 {
		return out, fmt.Errorf("not an id with prefix %q", prefix)
	}
	raw, err := idEncoding.DecodeString(text)
	if err != nil || len(raw) != 16 {
		return out, fmt.Errorf("not an id with prefix %q", prefix)
	}
	copy(out[:], raw)
	return out, nil
}

// IDFromBytes is the inverse of IDBytes.
func IDFromBytes(prefix string, raw [16]byte) string {
	return prefix + idEncoding.EncodeToString(raw[:])
}
