package admin_test

import (
	"net/http"
	"testing"

	"grantd/api"
)

func TestServer(t *testing.T) {
	s := newServer(t)
	if got := into[api.Server](s.send(http.MethodGet, "/admin/v1/server", "").want(http.StatusOK)); got.Issuer != issuer {
		t.Errorf("the issuer is %q, want %q", got.Issuer, issuer)
	}
}
