package migrations_test

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"grantd/migrations"
)

// TestIdentityGoesWithItsMigration: the version before knows nothing of the identity of
// people, so that no Grant and no Family of it is left behind.
func TestIdentityGoesWithItsMigration(t *testing.T) {
	onEach(t, func(t *testing.T, databaseURL string) {
		must(t, migrations.Up(t.Context(), databaseURL))
		kind, _, _ := strings.Cut(databaseURL, ":")
		list := func(names ...string) string {
			if kind == "sqlite" {
				if len(names) == 0 {
					return `'[]'`
				}
				return `'["` + strings.Join(names, `","`) + `"]'`
			}
			return `'{` + strings.Join(names, ",") + `}'`
		}
		at, none, no, nothing := "'2026-03-14 15:09:26Z'", list(), "false", `''`
		if kind == "sqlite" {
			at, no, nothing = "1", "0", `x''`
		}
		execute(t, databaseURL, fmt.Sprintf(`INSERT INTO users (id, username, username_key, version, email, name, password_hash, disabled, created_at, updated_at)
			VALUES ('usr_1', 'alice', 'alice', 1, '', '', '', %s, %s, %s)`, no, at, at))
		execute(t, databaseURL, fmt.Sprintf(`INSERT INTO clients (id, client_id, source, version, client_name, redirect_uris, grant_types, response_types,
			token_endpoint_auth_method, application_type, scope, resources, client_uri, logo_uri, tos_uri, policy_uri, contacts, software_id,
			software_version, jwks, jwks_uri, token_endpoint_auth_signing_alg, disabled, created_at, updated_at)
			VALUES ('cl_1', 'cl_1', 'registered', 1, '', %[1]s, %[1]s, %[1]s, 'none', 'web', %[1]s, %[1]s, '', '', '', '', %[1]s, '', '', '', '', '', %[2]s, %[3]s, %[3]s)`, none, no, at))
		grants := []struct {
			id, resource, scopes string
			kept                 bool
		}{
			{"gr_1", "res_00000000000000000000000004", list("email", "openid"), false},
			{"gr_2", "res_2", list("notes", "openid"), true},
			{"gr_3", "res_3", list("openid"), false},
			{"gr_4", "res_4", none, true}, // of a Resource without scopes
		}
		for _, g := range grants {
			if !strings.HasPrefix(g.resource, "res_0") {
				execute(t, databaseURL, fmt.Sprintf(`INSERT INTO resources (id, uri, uri_key, version, name, introspection_clients, access_token_lifetime, created_at, updated_at)
					VALUES ('%[1]s', '%[1]s', '%[1]s', 1, '', %[2]s, 1, %[3]s, %[3]s)`, g.resource, none, at))
			}
			execute(t, databaseURL, fmt.Sprintf(`INSERT INTO grants (id, user_id, client_id, resource_id, scopes, redirect_uri, client_name, created_at, updated_at)
				VALUES ('%s', 'usr_1', 'cl_1', '%s', %s, '', '', %s, %s)`, g.id, g.resource, g.scopes, at, at))
			execute(t, databaseURL, fmt.Sprintf(`INSERT INTO families (id, grant_id, user_id, client_id, resource_id, scopes, generation, rotation_request, rotated_at, created_at, expires_at)
				VALUES ('fam_%[1]s', '%[1]s', 'usr_1', 'cl_1', '%[2]s', %[3]s, 1, %[4]s, %[5]s, %[5]s, %[5]s)`, g.id, g.resource, g.scopes, nothing, at))
		}

		names, err := fs.Glob(os.DirFS("."), kind+"/*.up.sql")
		must(t, err)
		steps := 0
		for _, name := range names {
			if name >= kind+"/0018" {
				steps++
			}
		}
		must(t, migrations.Down(t.Context(), databaseURL, steps))
		db := connect(t, databaseURL)
		defer db.Close() //nolint:errcheck // it was only read
		for _, g := range grants {
			for _, row := range []string{"grants WHERE id = '" + g.id + "'", "families WHERE id = 'fam_" + g.id + "'"} {
				var n, withOpenID int
				must(t, db.QueryRowContext(t.Context(), `SELECT count(*), count(CASE WHEN CAST(scopes AS text) LIKE '%openid%' THEN 1 END) FROM `+row).Scan(&n, &withOpenID))
				if (n == 1) != g.kept || withOpenID > 0 {
					t.Errorf("%s: %d rows, %d with openid", row, n, withOpenID)
				}
			}
		}
		var left int
		must(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM resources WHERE id LIKE 'res_000%'`).Scan(&left))
		if left > 0 {
			t.Error("the resource is still there")
		}
		must(t, migrations.Up(t.Context(), databaseURL))
	})
}
