package storage

import (
	"context"
	"strconv"
)

// Ended says how much a restore has ended, in rows.
type Ended struct {
	Codes, PushedRequests, DeviceAuthorizations, UserLinks int
	// The rest only when all is ended.
	Sessions, Families, SigningKeys, AdminKeys, RecoveryCodes int
	Approvals                                                 int // remembered ones, which will be asked again
}

// RestoreStore is for a database that was put back to a backup: what was used up or
// ended since is there again, and nobody knows which.
type RestoreStore interface {
	// EndAfterRestore ends codes, pushed requests, device authorizations and UserLinks,
	// which may have been used since the backup. With all it ends Sessions, Families,
	// SigningKeys, AdminKeys and recovery codes too, and forgets every remembered approval: the Grants stay,
	// but no code comes of one before its person has approved again. The event gets
	// the counts as details.
	EndAfterRestore(ctx context.Context, all bool, event AuditEvent) (Ended, error)
	// WithdrawSigningKeys deletes every SigningKey, so that nothing they signed is
	// believed; the next start makes new ones.
	WithdrawSigningKeys(ctx context.Context, event AuditEvent) error
}

// Record adds the counts to an event.
func (e Ended) Record(event AuditEvent) AuditEvent {
	for _, count := range []struct {
		name string
		n    int
	}{
		{"codes", e.Codes},
		{"pushed_requests", e.PushedRequests},
		{"device_authorizations", e.DeviceAuthorizations},
		{"user_links", e.UserLinks},
		{"sessions", e.Sessions},
		{"families", e.Families},
		{"signing_keys", e.SigningKeys},
		{"admin_keys", e.AdminKeys},
		{"recovery_codes", e.RecoveryCodes},
		{"approvals", e.Approvals},
	} {
		if count.n > 0 {
			event = event.With(count.name, strconv.Itoa(count.n))
		}
	}
	return event
}
