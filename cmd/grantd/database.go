package main

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"

	"grantd/storage"
	"grantd/storage/postgres"
	"grantd/storage/sqlite"
)

// Database says which database to use.
type Database struct {
	// URL is the setting itself: a Postgres URL holds a password.
	URL Secret
	// Path is the SQLite file; "" means Postgres.
	Path string
}

// String is the database's name for people.
func (d Database) String() string {
	if d.Path != "" {
		return "SQLite at " + d.Path
	}
	return "Postgres"
}

// open connects to the database; the caller closes the store.
func (d Database) open(ctx context.Context) (storage.Store, error) {
	if d.Path != "" {
		return sqlite.Open(ctx, d.Path)
	}
	return postgres.Open(ctx, d.URL.Reveal())
}

// besideFile is a file next to the SQLite file and named after it, so that two
// databases in one folder keep apart: grantd.db has grantd.root-key.
func (d Database) besideFile(name string) string {
	return strings.TrimSuffix(d.Path, ".db") + "." + name
}

const (
	sqliteScheme = "sqlite:"
	databaseMend = "write sqlite:PATH or postgres://USER@HOST:5432/DATABASE"
)

// parseDatabase reads the database-url setting. No fault repeats it, because a
// mistyped one may still hold a password.
func parseDatabase(raw string) (Database, *Fault) {
	if path, ok := strings.CutPrefix(raw, sqliteScheme); ok {
		switch {
		case path == "" || strings.ContainsAny(path, "?#"):
			return Database{}, &Fault{Problem: "names no SQLite file", Mend: "write sqlite:PATH, as sqlite:grantd.db"}
		case strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///"):
			return Database{}, &Fault{Problem: "has a host where SQLite has only a file", Mend: "write sqlite:" + strings.TrimLeft(path, "/") + " or sqlite:/" + strings.TrimLeft(path, "/")}
		case strings.Contains(path, ":memory:"):
			return Database{}, &Fault{Problem: "asks for a database in memory, which would forget every client", Mend: "name a file, or try things out with: grantd demo"}
		}
		path = filepath.Clean(path)
		if dir := filepath.Dir(path); absent(dir) {
			return Database{}, &Fault{Problem: "names a file in " + dir + ", which does not exist", Mend: "mkdir -m 700 " + dir}
		}
		return Database{URL: NewSecret(sqliteScheme + path), Path: path}, nil
	}
	u, err := url.Parse(raw)
	if err != nil || !isPostgres(u) {
		return Database{}, &Fault{Problem: "is neither a SQLite nor a Postgres database", Mend: databaseMend}
	}
	return Database{URL: NewSecret(raw)}, nil
}

func isPostgres(u *url.URL) bool { return u.Scheme == "postgres" || u.Scheme == "postgresql" }

// showDatabaseURL is the setting without its password.
func showDatabaseURL(raw string) string {
	u, names, ok := passwordsIn(raw)
	if !ok {
		return redacted // mistyped: no telling where the password is
	}
	if len(names) > 0 {
		query := u.Query()
		for _, name := range names {
			query.Set(name, "xxxxx")
		}
		u.RawQuery = query.Encode()
	}
	return u.Redacted()
}

// databaseHasPassword reports whether the setting is worth hiding.
func databaseHasPassword(raw string) bool {
	u, names, ok := passwordsIn(raw)
	if !ok {
		return true
	}
	_, has := u.User.Password()
	return has || len(names) > 0
}

// passwordsIn takes a database URL apart and names its parameters that hold a
// password. False when it is not understood.
func passwordsIn(raw string) (u *url.URL, names []string, ok bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "sqlite" && (!isPostgres(u) || u.Opaque != "") {
		return nil, nil, false
	}
	for name := range u.Query() {
		if strings.Contains(strings.ToLower(name), "password") {
			names = append(names, name)
		}
	}
	return u, names, true
}
