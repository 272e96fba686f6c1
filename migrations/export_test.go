package migrations

// For the tests, which bring migrations of their own.
var (
	UpFrom     = up
	SQLiteDB   = sqliteDB
	PostgresDB = postgresDB
)

// LastVersion returns the last version there is for the database.
func LastVersion(databaseURL string) (int, error) {
	known, err := versions(files, databaseURL)
	if err != nil {
		return 0, err
	}
	return known[len(known)-1], nil
}
