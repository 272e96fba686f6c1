package sqlite

import (
	"context"

	"grantd/storage"
)

const (
	// A code stays, so that its page cannot approve once more.
	endCodes             = `UPDATE authorization_codes SET grant_id = NULL WHERE grant_id IS NOT NULL AND redeemed_at IS NULL`
	endDevices           = `DELETE FROM device_authorizations WHERE state <> 'redeemed'`
	endPushedRequests    = `DELETE FROM pushed_requests`
	endUserLinks         = `DELETE FROM user_links`
	endRecoveryCodes     = `DELETE FROM recovery_codes`
	endSessions          = `DELETE FROM sessions`
	forgetApprovals      = `UPDATE grants SET redirect_uri = '' WHERE redirect_uri <> ''`
	endFamilies          = `DELETE FROM families`
	deleteAllSigningKeys = `DELETE FROM signing_keys`
	deleteAllAdminKeys   = `DELETE FROM admin_keys`
)

// EndAfterRestore implements storage.RestoreStore.
func (s *Store) EndAfterRestore(ctx context.Context, all bool, event storage.AuditEvent) (storage.Ended, error) {
	var ended storage.Ended
	type end struct {
		count     *int
		statement string
	}
	ends := []end{
		{&ended.Codes, endCodes},
		{&ended.DeviceAuthorizations, endDevices},
		{&ended.PushedRequests, endPushedRequests},
		{&ended.UserLinks, endUserLinks},
	}
	if all {
		ends = append(ends,
			end{&ended.Sessions, endSessions},
			end{&ended.Approvals, forgetApprovals},
			end{&ended.Families, endFamilies},
			end{&ended.SigningKeys, deleteAllSigningKeys},
			end{&ended.AdminKeys, deleteAllAdminKeys},
			end{&ended.RecoveryCodes, endRecoveryCodes})
	}
	err := s.write(ctx, func(tx *tx) error {
		for _, end := range ends {
			n, err := tx.exec(end.statement)
			if err != nil {
				return err
			}
			*end.count = int(n)
		}
		return tx.changedCatalog(ended.Record(event))
	})
	if err != nil {
		return storage.Ended{}, err
	}
	return ended, nil
}

// WithdrawSigningKeys implements storage.RestoreStore.
func (s *Store) WithdrawSigningKeys(ctx context.Context, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(deleteAllSigningKeys); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}
