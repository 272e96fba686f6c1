package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"grantd/storage"
)

// EndAfterRestore implements storage.RestoreStore. It takes as long as it takes: no
// request waits for it.
func (s *Store) EndAfterRestore(ctx context.Context, all bool, event storage.AuditEvent) (storage.Ended, error) {
	var ended storage.Ended
	type end struct {
		count *int
		sql   string
	}
	ends := []end{
		// A code stays, so that its page cannot approve once more.
		{&ended.Codes, `UPDATE authorization_codes SET grant_id = NULL WHERE grant_id IS NOT NULL AND redeemed_at IS NULL`},
		{&ended.DeviceAuthorizations, `DELETE FROM device_authorizations WHERE state <> 'redeemed'`},
		{&ended.PushedRequests, `DELETE FROM pushed_requests`},
		{&ended.UserLinks, `DELETE FROM user_links`},
	}
	if all {
		ends = append([]end{
			{&ended.Sessions, `DELETE FROM sessions`},
			{&ended.Approvals, `UPDATE grants SET redirect_uri = '' WHERE redirect_uri <> ''`},
		}, ends...)
		ends = append(ends,
			end{&ended.Families, `DELETE FROM families`},
			end{&ended.SigningKeys, `DELETE FROM signing_keys`},
			end{&ended.AdminKeys, `DELETE FROM admin_keys`},
			end{&ended.RecoveryCodes, `DELETE FROM recovery_codes`})
	}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		for _, end := range ends {
			tag, err := tx.Exec(ctx, end.sql)
			if err != nil {
				return err
			}
			*end.count = int(tag.RowsAffected())
		}
		return catalogChanged(ctx, tx, ended.Record(event))
	})
	if err != nil {
		return storage.Ended{}, mapError("end what a backup brought back", err)
	}
	return ended, nil
}

// WithdrawSigningKeys implements storage.RestoreStore.
func (s *Store) WithdrawSigningKeys(ctx context.Context, event storage.AuditEvent) error {
	return s.tx(ctx, "withdraw the signing keys", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM signing_keys`); err != nil {
			return err
		}
		return catalogChanged(ctx, tx, event)
	})
}
