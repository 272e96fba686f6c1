package profiles

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestLoadRefuses(t *testing.T) {
	const good = `{"name":"x","title":"X","description":"A client.","source":"https://x.example/docs","date":"2026-01-02",
		"client_ids":["https://x.example/client.json"],"redirect_uris":["https://x.example/cb","x:/cb"],
		"documents":[{"client_id":"https://x.example/client.json","redirect_uris":["https://x.example/cb"]}]}`
	for name, replace := range map[string][2]string{
		"nothing":                           {"", ""},
		"a name that is not the file's":     {`"name":"x"`, `"name":"y"`},
		"a field that nobody reads":         {`"title"`, `"trusted":true,"title"`},
		"no title":                          {`"title":"X"`, `"title":""`},
		"no source":                         {`https://x.example/docs`, ``},
		"no date":                           {`2026-01-02`, `2026-13-02`},
		"a client_id that is no document":   {`"client_ids":["https://x.example/client.json"]`, `"client_ids":["https://x.example"]`},
		"a client_id without https":         {`"client_ids":["https`, `"client_ids":["http`},
		"a wildcard over hosts":             {`"client_ids":["https://x.example/client.json"`, `"client_ids":["https://*.example/client.json"`},
		"a wildcard in a segment":           {`"client_ids":["https://x.example/client.json"`, `"client_ids":["https://x.example/c*.json"`},
		"a redirect that runs code":         {`x:/cb`, `javascript:x`},
		"a redirect without https":          {`"redirect_uris":["https://x.example/cb","x`, `"redirect_uris":["http://x.example/cb","x`},
		"a document of another client":      {`{"client_id":"https://x.example/client.json"`, `{"client_id":"https://y.example/client.json"`},
		"a document that returns elsewhere": {`"redirect_uris":["https://x.example/cb"]`, `"redirect_uris":["https://y.example/cb"]`},
	} {
		t.Run(name, func(t *testing.T) {
			if replace[0] != "" && !strings.Contains(good, replace[0]) {
				t.Fatal("the case changes nothing")
			}
			files := fstest.MapFS{"x.json": {Data: []byte(strings.Replace(good, replace[0], replace[1], 1))}}
			_, err := load(files, func([]byte) error { return nil })
			if (err == nil) != (replace[0] == "") {
				t.Errorf("error %v", err)
			}
		})
	}
}
