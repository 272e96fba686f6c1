package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/server/web"
)

func TestParseParameters(t *testing.T) {
	many := func(n int) string {
		pairs := make([]string, n)
		for i := range pairs {
			pairs[i] = fmt.Sprintf("p%d=1", i)
		}
		return strings.Join(pairs, "&")
	}
	for _, c := range []struct {
		name     string
		encoded  string
		values   url.Values
		repeated []string
		err      error
	}{
		{name: "nothing", values: url.Values{}},
		{name: "pairs", encoded: "a=1&b=%20+x", values: url.Values{"a": {"1"}, "b": {"  x"}}},
		{name: "AZ-28 an empty value counts as not sent", encoded: "a=&b&c=1", values: url.Values{"c": {"1"}}},
		{name: "AZ-26 repeated", encoded: "a=1&b=1&a=1", values: url.Values{"a": {"1", "1"}, "b": {"1"}}, repeated: []string{"a"}},
		{name: "AZ-26 repeated once empty", encoded: "a=1&a=", values: url.Values{"a": {"1"}}, repeated: []string{"a"}},
		{name: "AZ-26 repeated in another spelling", encoded: "ab=1&a%62=2", values: url.Values{"ab": {"1", "2"}}, repeated: []string{"ab"}},
		{name: "AZ-27 what may be repeated", encoded: "resource=1&resource=2", values: url.Values{"resource": {"1", "2"}}},
		{name: "several repeated, in order", encoded: "b=1&b=1&a=1&a=1", values: url.Values{"a": {"1", "1"}, "b": {"1", "1"}}, repeated: []string{"a", "b"}},
		{name: "AZ-29 semicolon", encoded: "a=1;b=2", err: web.ErrMalformed},
		{name: "AZ-29 bad escape", encoded: "a=%zz", err: web.ErrMalformed},
		{name: "AZ-29 one bad pair spoils the rest", encoded: "a=1&b=%&c=3", err: web.ErrMalformed},
		{name: "most parameters", encoded: many(200), values: func() url.Values { v, _ := url.ParseQuery(many(200)); return v }()},
		{name: "too many parameters", encoded: many(201), err: web.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := web.ParseParameters(c.encoded, "resource")
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.values, got.Values); diff != "" {
				t.Error(diff)
			}
			if !slices.Equal(c.repeated, got.Repeated) {
				t.Errorf("repeated %q, want %q", got.Repeated, c.repeated)
			}
		})
	}
}

func TestReadForm(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name  string
		types []string
		body  string
		err   error
	}{
		{"form", []string{form}, "a=1", nil},
		{"with a charset", []string{form + "; charset=utf-8"}, "a=1", nil},
		{"type in upper case", []string{strings.ToUpper(form)}, "a=1", nil},
		{"no type", nil, "a=1", web.ErrContentType},
		{"two types", []string{form, form}, "a=1", web.ErrContentType},
		{"JSON", []string{"application/json"}, `{"a":"1"}`, web.ErrContentType},
		{"text", []string{"text/plain"}, "a=1", web.ErrContentType},
		{"multipart", []string{"multipart/form-data; boundary=x"}, "a=1", web.ErrContentType},
		{"malformed type", []string{form + "; charset"}, "a=1", web.ErrContentType},
		{"malformed body", []string{form}, "a=%zz", web.ErrMalformed},
		{"longest", []string{form}, "a=1&b=" + strings.Repeat("x", web.MaxBody-6), nil},
		{"too long", []string{form}, "a=1&b=" + strings.Repeat("x", web.MaxBody-5), web.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/?a=query&q=1", strings.NewReader(c.body))
			r.Header["Content-Type"] = c.types
			got, err := web.ReadForm(r)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err == nil && (got.Get("a") != "1" || got.Has("q")) {
				t.Errorf("read %v: the query does not belong to it", got.Values)
			}
		})
	}
}

func TestCanonicalQuery(t *testing.T) {
	same := [][]string{
		{"a=1&b=2"},
		{"a=(x)", "a=%28x%29", "%61=%28%78%29"},
		{"a=b c", "a=b%20c", "a=b+c"},
		{"a=%2F", "a=%2f", "a=/"},
		{"a=é", "a=%C3%A9", "a=%c3%a9"},
		{"a='|^`{}~*!", "a=%27%7C%5E%60%7B%7D%7E%2A%21"},
		{"a=b=c", "a=b%3Dc"},
		{"a", "a="},
		{"b=2&a=1"},
		{"a=1&a=1&b=2"},
		{"a=1%26b=2", "a=1%26b%3D2"},
		{"a=%2B"},
		{"a=%25zz"},
	}
	seen := map[string]string{}
	for _, spellings := range same {
		for _, spelling := range spellings {
			got := web.CanonicalQuery(spelling)
			if want := web.CanonicalQuery(spellings[0]); got != want {
				t.Errorf("%q and %q say the same, but become %q and %q", spelling, spellings[0], got, want)
			}
			if other, taken := seen[got]; taken && other != spellings[0] {
				t.Errorf("%q and %q say different things, but both become %q", spelling, other, got)
			}
			seen[got] = spellings[0]
		}
	}
}

// FuzzCanonicalQuery: the canonical spelling of a query that can be read says the
// same in the same order, and stands still.
func FuzzCanonicalQuery(f *testing.F) {
	for _, q := range []string{"", "&&", "a=1&b=2", "a=(b)&a=%28b%29", "=x", "a%3Db=c", "+=%20", "é=\xff", "a=1;b"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		before, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		canonical := web.CanonicalQuery(query)
		after, err := url.ParseQuery(canonical)
		if err != nil {
			t.Fatalf("%q became unreadable: %q", query, canonical)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%q became %q: %s", query, canonical, diff)
		}
		if again := web.CanonicalQuery(canonical); again != canonical {
			t.Errorf("%q became %q became %q", query, canonical, again)
		}
	})
}

// FuzzParseParameters: what is read is what was sent, less the empty.
func FuzzParseParameters(f *testing.F) {
	for _, q := range []string{"a=1&b=2", "a=1&a=2", "a=1;b", "%zz", "resource=1&resource=2", "=&=", "a"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		got, err := web.ParseParameters(encoded, "resource")
		if err != nil {
			if !errors.Is(err, web.ErrMalformed) && !errors.Is(err, web.ErrTooLarge) {
				t.Errorf("undocumented error %v", err)
			}
			return
		}
		for name, values := range got.Values {
			if len(values) == 0 || slices.Contains(values, "") {
				t.Errorf("%q has an empty value: %q", name, values)
			}
			if len(values) > 1 && name != "resource" && !slices.Contains(got.Repeated, name) {
				t.Errorf("%q is repeated and nobody says so", name)
			}
		}
		if slices.Contains(got.Repeated, "resource") {
			t.Error("resource may be repeated")
		}
	})
}
