package oauth

import (
	"maps"
	"slices"
	"testing"

	"grantd/server/web"
	"grantd/storage"
)

// FuzzPushedQuery: whatever a client pushes, what is kept reads back as what it
// sent, with its own client_id and without what authenticated it.
func FuzzPushedQuery(f *testing.F) {
	for _, body := range []string{
		"", "response_type=code&client_id=cl_a&scope=a+b&resource=https%3A%2F%2Fa.example%2Fmcp&resource=b",
		"client_secret=cs_x&client_assertion=e30.e30.x&client_assertion_type=y&state=%00%FF%26client_secret%3Dx",
		"grantd_step=x&client_id=other&state=", "%63lient_secret=x&Client_Secret=y", "a=%zz", "a;b", "=x&&=&",
	} {
		f.Add(body)
	}
	client := &storage.Client{ClientID: "https://client.example/?client_secret=not&one"}
	f.Fuzz(func(t *testing.T, body string) {
		form, err := web.ParseParameters(body, "resource")
		if err != nil || len(form.Repeated) > 0 {
			return // refused before
		}
		query := pushedQuery(client, form)
		kept, err := web.ParseParameters(query, "resource")
		if err != nil || len(kept.Repeated) > 0 || web.CanonicalQuery(query) != query {
			t.Fatalf("%q is kept as %q: %v", body, query, err)
		}
		if kept.Get("client_id") != client.ClientID {
			t.Errorf("client_id is %q", kept.Get("client_id"))
		}
		dropped := []string{"client_secret", "client_assertion", "client_assertion_type", stepParameter}
		for name := range kept.Values {
			if slices.Contains(dropped, name) {
				t.Errorf("%s is kept: %q", name, query)
			}
		}
		maps.DeleteFunc(form.Values, func(name string, _ []string) bool { return slices.Contains(append(dropped, "client_id"), name) })
		kept.Del("client_id")
		if !maps.EqualFunc(form.Values, kept.Values, slices.Equal[[]string]) {
			t.Errorf("%q is kept as %q", body, query)
		}
	})
}
