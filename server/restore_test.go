package server_test

import (
	"net/http"
	"testing"

	"grantd/server/restore"
	"grantd/server/servertest"
)

// TestRestoreWithoutEvents: ST-08. A backup is put back and nobody knows what was
// revoked since: nothing that anybody holds works, and everything is asked anew.
func TestRestoreWithoutEvents(t *testing.T) {
	folder := t.TempDir()
	o := newOffice(t, servertest.WithStore(servertest.SQLiteFile(t, folder+"/grantd.db")))
	held := o.tokens(t)
	machine := wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic()))
	waiting := o.code(t)
	request := servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI)
	o.alice.Code(request)
	if o.alice.Authorize(request).Left == nil {
		t.Fatal("the approval is not remembered before the restore")
	}
	backUp(t, folder+"/grantd.db", folder+"/backup.db")
	if revoked := o.Post("/revoke", servertest.Form("token", held.refresh, "client_id", o.clientID), ""); revoked.Status != http.StatusOK {
		t.Fatalf("revoking: %d", revoked.Status)
	}

	store := servertest.SQLiteFile(t, folder+"/backup.db")
	if _, err := restore.All(t.Context(), store, o.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	restored := &office{house: &house{
		Server:   servertest.New(t, servertest.WithStore(store), servertest.ReplicaOf(o.Server)),
		clientID: o.clientID,
	}, guard: o.guard, web: o.web}
	restored.wantGone(t, held.refresh)
	wantError(t, restored.Redeem(o.clientID, waiting), http.StatusBadRequest, "invalid_grant")
	for name, token := range map[string]string{"a person's": held.access, "a machine's": machine.access} {
		if restored.active(t, token) {
			t.Errorf("%s access token is active", name)
		}
	}
	restored.alice = restored.SignedIn("alice")
	if !restored.alice.Authorize(request).IsConsent() {
		t.Error("the approval of the backup is remembered")
	}
	restored.alice.Code(request) // asked anew, she may approve
}
