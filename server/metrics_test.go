package server_test

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/server/servertest"
)

// The document names every metric, with its type and its labels, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	o := newOffice(t)
	got := o.tokens(t)
	wantTokens(t, o.Refresh(o.clientID, got.refresh))
	o.wantGone(t, forged(got.refresh))
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`grantd_") {
			continue
		}
		labels := regexp.MustCompile("[a-z_]+").FindAllString(cells[3], -1)
		slices.Sort(labels)
		documented[strings.Trim(cells[1], " `")] = strings.TrimSpace(cells[2]) + " " + strings.Join(labels, " ")
	}
	if diff := cmp.Diff(documented, seriesOf(o.metrics(t))); diff != "" {
		t.Errorf("metrics (-docs/operations.md +/metrics):\n%s", diff)
	}
}

// seriesOf reads the types and labels of grantd's own metrics.
func seriesOf(exposition string) map[string]string {
	types, labels := map[string]string{}, map[string]map[string]bool{}
	for _, line := range strings.Split(exposition, "\n") {
		if rest, ok := strings.CutPrefix(line, "# TYPE grantd_"); ok {
			name, kind, _ := strings.Cut(rest, " ")
			types["grantd_"+name], labels["grantd_"+name] = kind, map[string]bool{}
			continue
		}
		name := regexp.MustCompile(`^grantd_[a-z_]+`).FindString(line)
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(name, suffix); types[base] == "histogram" {
				name = base
			}
		}
		for _, label := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(line, -1) {
			if label[1] != "le" && labels[name] != nil {
				labels[name][label[1]] = true
			}
		}
	}
	series := map[string]string{}
	for name, kind := range types {
		var names []string
		for label := range labels[name] {
			names = append(names, label)
		}
		slices.Sort(names)
		series[name] = kind + " " + strings.Join(names, " ")
	}
	return series
}

// What happens is counted, by words of grantd's own.
func TestMetricsCount(t *testing.T) {
	o := newOffice(t)
	got := o.tokens(t)
	wantTokens(t, o.Refresh(o.clientID, got.refresh))
	wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic()))
	o.wantGone(t, forged(got.refresh))
	for range 3 {
		o.active(t, got.access)
	}
	made := "made-up-by-a-stranger"
	o.Post("/token", servertest.Form("grant_type", made, "client_id", made), "")
	o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.id+":"+made)
	o.alice.Authorize(servertest.AuthorizationRequest(made, callback, resourceURI))
	answer := o.Do(o.Request(made, o.URL+"/token", "", nil))
	if answer.Status != http.StatusMethodNotAllowed {
		t.Errorf("a made-up method: %d", answer.Status)
	}
	text := o.metrics(t)
	for _, series := range []string{
		`grantd_tokens_issued_total{grant_type="authorization_code"} 1`,
		`grantd_tokens_issued_total{grant_type="refresh_token"} 1`,
		`grantd_tokens_issued_total{grant_type="client_credentials"} 1`,
		`grantd_refusals_total{path="/token",reason="invalid_grant"} 1`,
		`grantd_refusals_total{path="/token",reason="unsupported_grant_type"} 1`,
		`grantd_refusals_total{path="/token",reason="invalid_client"} 1`,
		`grantd_refusals_total{path="/authorize",reason=`,
		`grantd_http_requests_total{method="other",path="/token",status="405"} 1`,
		`grantd_cache_lookups_total{cache="tokens",result="hit"} 2`,
		`grantd_cache_lookups_total{cache="tokens",result="miss"} 1`,
	} {
		if !strings.Contains(text, series) {
			t.Errorf("there is no %s in\n%s", series, text)
		}
	}
	if strings.Contains(text, made) || strings.Contains(text, o.clientID) {
		t.Error("what a caller sent is a label")
	}
}
