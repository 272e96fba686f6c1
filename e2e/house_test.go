package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// importer is a package as `go list` describes it.
type importer struct {
	ImportPath string
	Imports    []string
}

// onlyIn says which packages may import a module or package. A name that ends
// in "/..." covers what is below it.
var onlyIn = map[string][]string{
	"github.com/ory/fosite":             {"grantd/server/oauth"},
	"github.com/jackc/pgx/v5":           {"grantd/storage/postgres", "grantd/migrations", "grantd/internal/pgserver", "grantd/internal/pgtest", "grantd/bench"},
	"modernc.org/sqlite":                {"grantd/storage/sqlite", "grantd/migrations"},
	"database/sql":                      {"grantd/storage/sqlite", "grantd/migrations", "grantd/internal/sqlitefile"},
	"github.com/golang-migrate/migrate": {"grantd/migrations"},
	"html/template":                     {"grantd/templates"},
	"github.com/gorilla/mux":            {"grantd/server", "grantd/server/...", "grantd/api"},
	"github.com/spf13/cobra":            {"grantd/cmd/grantd"},
	"github.com/go-webauthn/webauthn":   {"grantd/server/factor"},
}

// rooms says which of our own packages each package may import. A package that is
// not named may import none of ours.
var rooms = map[string][]string{
	"grantd/storage":             {},
	"grantd/storage/span":        {"grantd/storage"},
	"grantd/storage/postgres":    {"grantd/storage", "grantd/storage/span"},
	"grantd/storage/sqlite":      {"grantd/storage", "grantd/storage/span", "grantd/internal/sqlitefile"},
	"grantd/storage/storagetest": {"grantd/storage"},
	"grantd/migrations":          {"grantd/internal/sqlitefile"},
	"grantd/templates":           {},
	"grantd/api":                 {},
	"grantd/internal/sqlitefile": {},
	"grantd/internal/freeport":   {},
	"grantd/internal/pgserver":   {},
	"grantd/internal/pgtest":     {"grantd/migrations", "grantd/internal/pgserver"},
	"grantd/bench":               {"grantd/internal/pgserver", "grantd/internal/freeport"},
	"grantd/server/web":          {"grantd/storage", "grantd/templates"},
	"grantd/server/keys":         {"grantd/storage"},
	"grantd/server/catalog":      {"grantd/storage"},
	"grantd/server/clientauth":   {"grantd/storage", "grantd/server/web", "grantd/server/outbound"},
	"grantd/server/outbound":     {},
	"grantd/server/profiles":     {"grantd/storage"},
	"grantd/server/registration": {"grantd/storage", "grantd/server/web", "grantd/server/outbound", "grantd/server/profiles"},
	"grantd/server/metadata":     {"grantd/storage", "grantd/server/web"},
	"grantd/server/password":     {},
	"grantd/server/session":      {"grantd/storage", "grantd/server/web"},
	"grantd/server/factor":       {"grantd/storage"},
	"grantd/server/login":        {"grantd/storage", "grantd/server/web", "grantd/server/factor", "grantd/server/session", "grantd/server/password", "grantd/templates"},
	"grantd/server/account":      {"grantd/storage", "grantd/server/web", "grantd/server/factor", "grantd/server/session", "grantd/server/password", "grantd/templates"},
	"grantd/server/upstream": {
		"grantd/storage", "grantd/server/web", "grantd/server/session", "grantd/server/outbound", "grantd/server/keys",
	},
	"grantd/server/mail":    {"grantd/storage"},
	"grantd/server/notice":  {"grantd/storage", "grantd/server/mail"},
	"grantd/server/policy":  {"grantd/storage"},
	"grantd/server/consent": {"grantd/storage", "grantd/server/web", "grantd/server/keys", "grantd/server/policy", "grantd/templates"},
	"grantd/server/audit":   {"grantd/storage", "grantd/server/keys", "grantd/server/policy"},
	"grantd/server/restore": {"grantd/storage"},
	"grantd/server/admin":   {"grantd/storage", "grantd/server/web", "grantd/server/clientauth", "grantd/server/profiles", "grantd/server/policy", "grantd/server/audit", "grantd/server/leaked", "grantd/server/upstream", "grantd/api"},
	"grantd/server/oauth": {
		"grantd/storage", "grantd/server/web", "grantd/server/keys", "grantd/server/clientauth", "grantd/server/consent", "grantd/server/policy", "grantd/server/leaked", "grantd/templates",
	},
	"grantd/server": {"grantd/storage", "grantd/templates", "grantd/server/..."},
	"grantd/server/servertest": {
		"grantd/storage", "grantd/storage/...", "grantd/migrations", "grantd/internal/pgtest", "grantd/server", "grantd/server/keys", "grantd/server/mail", "grantd/server/outbound", "grantd/server/tracing", "grantd/server/web", "grantd/templates",
	},
	"grantd/cmd/...":      {"grantd/..."},
	"grantd/examples/...": {"grantd/examples/..."},
}

// TestHouse keeps the import rules of the house, over everything that is built.
func TestHouse(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if fault := forbidden(p.ImportPath, imported); fault != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, fault)
			}
		}
	}
}

// TestHouseNoticesViolations plants imports that the rules must refuse.
func TestHouseNoticesViolations(t *testing.T) {
	for _, planted := range [][2]string{
		{"grantd/server/login", "github.com/ory/fosite"},
		{"grantd/server/login", "github.com/ory/fosite/handler/oauth2"},
		{"grantd/storage", "grantd/server/web"},
		{"grantd/server/login", "grantd/server/oauth"},
		{"grantd/server/newroom", "grantd/storage"},
		{"grantd/server", "github.com/jackc/pgx/v5/pgxpool"},
		{"grantd/templates", "grantd/storage"},
	} {
		if forbidden(planted[0], planted[1]) == "" {
			t.Errorf("%s may import %s", planted[0], planted[1])
		}
	}
}

func forbidden(importer, imported string) string {
	for guarded, allowed := range onlyIn {
		if (imported == guarded || strings.HasPrefix(imported, guarded+"/")) && !covers(allowed, importer) {
			return "only " + strings.Join(allowed, ", ") + " may"
		}
	}
	if imported != "grantd" && !strings.HasPrefix(imported, "grantd/") {
		return ""
	}
	for room, allowed := range rooms {
		if covers([]string{room}, importer) && covers(allowed, imported) {
			return ""
		}
	}
	return "the plan of the house does not have this door"
}

func covers(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		below, wild := strings.CutSuffix(pattern, "/...")
		return pattern == path || (wild && strings.HasPrefix(path, below+"/"))
	})
}

func packages(t *testing.T) []importer {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "grantd/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []importer
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p importer
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
