package sqlite

import "database/sql"

// Writer returns the writing connection, for tests that make the disk full.
func Writer(s *Store) *sql.DB { return s.writer.db }
