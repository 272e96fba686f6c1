package storage

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"time"

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
	PrefixGroup         = "grp_"
	PrefixPolicy        = "pol_"
	PrefixUserLink      = "lnk_" // not that of the token
	PrefixProvider      = "idp_"
	PrefixPasskey       = "pk_"
	// PrefixAdminKey and PrefixInitialAccessToken are not those of the secrets that
	// the rows are about.
	PrefixAdminKey            = "adk_"
	PrefixInitialAccessToken  = "reg_"
	PrefixRegistrationRequest = "req_"
)

// ownPrefix is the shape of all of these, of secrets too, and of those to come.
var ownPrefix = regexp.MustCompile(`^(?i)[a-z]{1,4}_`)

// HasOwnPrefix reports whether text begins like an id, token or secret of grantd's.
func HasOwnPrefix(text string) bool { return ownPrefix.MatchString(text) }

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns prefix followed by 26 characters that sort by time of making
// (a UUID of version 7, RFC 9562, 74 bits of it random). Ids name rows; they are
// never secrets.
func NewID(prefix string) string {
	id := uuid.Must(uuid.NewV7())
	return prefix + idEncoding.EncodeToString(id[:])
}

// NewIDAt is NewID for an id from which IDTime reads when it was made.
func NewIDAt(prefix string, at time.Time) string {
	id := uuid.New() // of version 4: all random
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 7<<4
	return prefix + idEncoding.EncodeToString(id[:])
}

// IDTime is when an id of that prefix was made, by the clock of whoever made it.
func IDTime(prefix, id string) (time.Time, error) {
	raw, err := IDBytes(prefix, id)
	if err != nil {
		return time.Time{}, err
	}
	ms := binary.BigEndian.Uint64(append([]byte{0, 0}, raw[:6]...))
	return time.UnixMilli(int64(ms)).UTC(), nil //nolint:gosec // 48 bits
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
