package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"grantd/server/servertest"
)

// TestIdempotencyKeyRace: of one create that is sent many times at once, to all
// replicas, one thing comes, and every answer names it.
func TestIdempotencyKeyRace(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		for path, body := range map[string]string{
			"/users":                                `{"username":"raced"}`,
			"/resources":                            `{"uri":"https://raced.example/mcp","name":"Raced"}`,
			"/clients":                              `{"client_name":"Raced","grant_types":["client_credentials"]}`,
			"/clients/" + r.machine.id + "/secrets": "",
		} {
			before := r.rows(t)
			ids, secrets := make([]string, racers/2), make([]string, racers/2)
			race(len(ids), func(i int) {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.of(i).Admin+"/admin/v1"+path, strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Authorization", "Bearer "+servertest.AdminKey)
				request.Header.Set("Idempotency-Key", path)
				if body != "" {
					request.Header.Set("Content-Type", "application/json")
				}
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = response.Body.Close() }()
				var made struct {
					ID           string `json:"id"`
					ClientSecret string `json:"client_secret"`
				}
				if err := json.NewDecoder(response.Body).Decode(&made); err != nil || response.StatusCode != http.StatusCreated {
					t.Errorf("%s: %d, %v", path, response.StatusCode, err)
				}
				ids[i], secrets[i] = made.ID, made.ClientSecret
			})
			shown := 0
			for i, id := range ids {
				if id != ids[0] {
					t.Errorf("%s: two were created, %s and %s", path, ids[0], id)
				}
				if secrets[i] != "" {
					shown++
				}
			}
			if secret := strings.HasPrefix(path, "/clients"); shown != 1 && secret || shown != 0 && !secret {
				t.Errorf("%s: a secret was shown %d times", path, shown)
			}
			after := r.rows(t)
			if after["audit_events"] != before["audit_events"]+1 || after["idempotency_keys"] != before["idempotency_keys"]+1 {
				t.Errorf("%s: %d events and %d keys for one creation", path, after["audit_events"]-before["audit_events"], after["idempotency_keys"]-before["idempotency_keys"])
			}
		}
	})
}
