package migrations_test

import (
	"database/sql"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"grantd/migrations"
)

// ST-10: each schema serves the version before it. The servers of that version read
// and write the tables they know, with statements that name the columns they know; so
// after each migration these are all there, unchanged, and nothing new is asked of a
// row. The rule for constraints is as strict: a new one on an old table may only be
// about new columns too.
func TestEachSchemaServesTheVersionBefore(t *testing.T) {
	onEach(t, func(t *testing.T, databaseURL string) {
		kind, _, _ := strings.Cut(databaseURL, ":")
		names, err := fs.Glob(os.DirFS("."), kind+"/*.up.sql")
		must(t, err)
		some := fstest.MapFS{}
		var before schema
		for i, up := range names {
			for _, name := range []string{up, strings.Replace(up, ".up.", ".down.", 1)} {
				text, err := os.ReadFile(name)
				must(t, err)
				some[name] = &fstest.MapFile{Data: text}
			}
			must(t, migrations.UpFrom(t.Context(), databaseURL, some))
			after := schemaOf(t, databaseURL)
			if i > 0 {
				for _, fault := range before.brokenBy(after) {
					t.Errorf("%s: %s", up, fault)
				}
			}
			before = after
		}
	})
}

// The rule finds what breaks a server of the version before.
func TestSchemaThatServesNobody(t *testing.T) {
	for name, statement := range map[string]string{
		"a column goes":     `ALTER TABLE used DROP COLUMN b`,
		"a column is named": `ALTER TABLE used RENAME COLUMN b TO c`,
		"a table goes":      `DROP TABLE used`,
		"a column is asked": `DROP TABLE used; CREATE TABLE used (a INTEGER NOT NULL, b INTEGER, c INTEGER NOT NULL)`,
		"NULL is refused":   `DROP TABLE used; CREATE TABLE used (a INTEGER NOT NULL, b INTEGER NOT NULL)`,
		"a type changes":    `DROP TABLE used; CREATE TABLE used (a INTEGER NOT NULL, b TEXT)`,
		"one of each":       `CREATE UNIQUE INDEX used_b ON used (b)`,
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, databaseURL string) {
				path, isFile := strings.CutPrefix(databaseURL, "sqlite:")
				if isFile {
					must(t, os.WriteFile(path, nil, 0o600))
				}
				execute(t, databaseURL, `CREATE TABLE used (a INTEGER NOT NULL, b INTEGER)`)
				before := schemaOf(t, databaseURL)
				execute(t, databaseURL, `ALTER TABLE used ADD COLUMN new INTEGER; CREATE UNIQUE INDEX used_new ON used (new, a)`)
				harmless := schemaOf(t, databaseURL)
				if faults := before.brokenBy(harmless); len(faults) > 0 {
					t.Errorf("a harmless migration: %q", faults)
				}
				execute(t, databaseURL, statement)
				if faults := before.brokenBy(schemaOf(t, databaseURL)); len(faults) != 1 {
					t.Errorf("found %q, want one fault", faults)
				}
			})
		})
	}
}

// schema is what statements rely on: the columns of each table, and the columns of
// each constraint on it.
type schema struct {
	columns     map[string]map[string]column // by table and name
	constraints map[string][]string          // by table and name, as "table name"
}

type column struct {
	dataType      string
	notNull, dflt bool
}

// keptByAll is a constraint that servers of the version before could not break: the
// secrets that they make are of 256 random bits.
const keptByAll = "client_secrets client_secrets_once"

// brokenBy says what of after a server that knows s cannot live with.
func (s schema) brokenBy(after schema) []string {
	var faults []string
	for table, columns := range s.columns {
		now, ok := after.columns[table]
		if !ok {
			faults = append(faults, "the table "+table+" is gone")
			continue
		}
		gone := false
		for name, was := range columns {
			is, ok := now[name]
			switch {
			case !ok:
				gone = true
				faults = append(faults, table+"."+name+" is gone")
			case is.dataType != was.dataType:
				faults = append(faults, table+"."+name+" has another type")
			case is.notNull && !was.notNull:
				faults = append(faults, table+"."+name+" refuses NULL")
			}
		}
		for name, is := range now {
			if _, old := columns[name]; !old && is.notNull && !is.dflt && !gone {
				faults = append(faults, table+"."+name+" is asked of every row")
			}
		}
	}
	for name, about := range after.constraints {
		if name == keptByAll {
			continue
		}
		table, _, _ := strings.Cut(name, " ")
		isOld := func(column string) bool { _, old := s.columns[table][column]; return old }
		if _, old := s.constraints[name]; !old && s.columns[table] != nil && !slices.ContainsFunc(about, func(c string) bool { return !isOld(c) }) {
			faults = append(faults, "the constraint "+name+" is new")
		}
	}
	return faults
}

func schemaOf(t *testing.T, databaseURL string) schema {
	t.Helper()
	columns := `SELECT table_name, column_name, data_type, is_nullable = 'NO', column_default IS NOT NULL FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name <> 'schema_migrations'`
	constraints := `SELECT r.relname, i.relname, a.attname FROM pg_index x
			JOIN pg_class r ON r.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
			JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = ANY (x.indkey)
			WHERE x.indisunique AND r.relnamespace = current_schema()::regnamespace
		UNION ALL SELECT r.relname, c.conname, a.attname FROM pg_constraint c
			JOIN pg_class r ON r.oid = c.conrelid JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = ANY (c.conkey)
			WHERE c.contype IN ('c', 'f', 'x') AND r.relnamespace = current_schema()::regnamespace`
	if strings.HasPrefix(databaseURL, "sqlite:") {
		const tables = ` FROM sqlite_master t `
		columns = `SELECT t.name, c.name, c.type, c."notnull", c.dflt_value IS NOT NULL` + tables + `JOIN pragma_table_info(t.name) c
			WHERE t.type = 'table' AND t.name <> 'schema_migrations'`
		constraints = `SELECT t.name, i.name, c.name` + tables + `JOIN pragma_index_list(t.name) i JOIN pragma_index_info(i.name) c
			WHERE t.type = 'table' AND i."unique" AND c.name IS NOT NULL
			UNION ALL SELECT t.name, 'references ' || f."table" || ' by ' || f."from", f."from"` + tables + `JOIN pragma_foreign_key_list(t.name) f WHERE t.type = 'table'`
	}
	s := schema{columns: map[string]map[string]column{}, constraints: map[string][]string{}}
	db := connect(t, databaseURL)
	eachRow(t, db, columns, func(rows *sql.Rows) {
		var (
			table, name string
			c           column
		)
		must(t, rows.Scan(&table, &name, &c.dataType, &c.notNull, &c.dflt))
		if s.columns[table] == nil {
			s.columns[table] = map[string]column{}
		}
		s.columns[table][name] = c
	})
	eachRow(t, db, constraints, func(rows *sql.Rows) {
		var table, name, about string
		must(t, rows.Scan(&table, &name, &about))
		s.constraints[table+" "+name] = append(s.constraints[table+" "+name], about)
	})
	must(t, db.Close())
	return s
}

func eachRow(t *testing.T, db *sql.DB, query string, row func(*sql.Rows)) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	defer func() { must(t, rows.Close()) }()
	for rows.Next() {
		row(rows)
	}
	must(t, rows.Err())
}
