package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// floor is the least program that does the same HTTP with the same library, the
// same signature and the same durable statement as a server must, and nothing
// else: it knows no clients, checks nothing, and forgets what it need not keep.
// Its results say what this machine can do.
type floor struct {
	issuer   string
	pool     *pgxpool.Pool
	key      *ecdsa.PrivateKey
	header   string
	metadata []byte
	jwks     []byte
}

// A refresh updates a row in place, as narrow as it can be; the other tables take
// one row for each revocation or registration.
const floorSchema = `
CREATE TABLE families (
	id text COLLATE "C" PRIMARY KEY, subject text NOT NULL, generation bigint NOT NULL, rotated_at timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE revoked (jti text COLLATE "C" PRIMARY KEY, expires_at timestamptz NOT NULL);
CREATE TABLE clients (id text COLLATE "C" PRIMARY KEY, metadata text NOT NULL, created_at timestamptz NOT NULL)`

// serveFloor is the floor's whole life as a process of its own.
func serveFloor(ctx context.Context, listen, databaseURL string) error {
	// With next to nothing alive it would be collecting all the time; grantd keeps
	// from that too.
	debug.SetGCPercent(800)
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return err
	}
	config.MaxConns = 16 // as grantd
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	f := &floor{issuer: "http://" + listen, pool: pool}
	if f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	f.header = encode([]byte(`{"alg":"ES256","kid":"` + rand.Text() + `","typ":"at+jwt"}`))
	f.documents()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: f.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	go func() { <-ctx.Done(); _ = server.Close() }()
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}

// documents are as long as grantd's.
func (f *floor) documents() {
	f.metadata = fmt.Appendf(nil, `{"issuer":%[1]q,"token_endpoint":"%[2]s/token","revocation_endpoint":"%[2]s/revoke",`+
		`"introspection_endpoint":"%[2]s/introspect","registration_endpoint":"%[2]s/register","jwks_uri":"%[2]s/jwks","filler":%[3]q}`,
		f.issuer, f.issuer, strings.Repeat("x", 900))
	point := make([]byte, 32)
	f.jwks = fmt.Appendf(nil, `{"keys":[{"use":"sig","kty":"EC","kid":%q,"crv":"P-256","alg":"ES256","x":%q,"y":%q}]}`,
		rand.Text(), encode(f.key.X.FillBytes(point)), encode(f.key.Y.FillBytes(point)))
}

func (f *floor) handler() http.Handler {
	mux := http.NewServeMux()
	serve := func(body *[]byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=300")
			answerJSON(w, http.StatusOK, *body)
		}
	}
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", serve(&f.metadata))
	mux.HandleFunc("GET /jwks", serve(&f.jwks))
	for path, handle := range map[string]func(*http.Request) (int, []byte, error){
		"/token": f.token, "/introspect": f.introspect, "/revoke": f.revoke, "/register": f.register,
	} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			status, body, err := handle(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			answerJSON(w, status, body)
		})
	}
	return mux
}

func answerJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller went away
}

// floorClaims are as many and as long as those of grantd's access tokens.
type floorClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expiry   int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	TokenID  string `json:"jti"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	Family   string `json:"family,omitempty"`
}

type floorTokens struct {
	Access    string `json:"access_token"`
	Type      string `json:"token_type"`
	ExpiresIn int    `json:"expires_in"`
	Refresh   string `json:"refresh_token,omitempty"`
	Scope     string `json:"scope"`
}

func (f *floor) token(r *http.Request) (int, []byte, error) {
	if err := r.ParseForm(); err != nil {
		return 0, nil, err
	}
	now := time.Now()
	c := floorClaims{
		Issuer: f.issuer, Subject: "cl_00000000000000000000000000", Audience: "http://127.0.0.1:9000/mcp", Expiry: now.Unix() + 600, IssuedAt: now.Unix(),
		TokenID: rand.Text(), ClientID: "cl_00000000000000000000000000", Scope: "files:read files:write",
	}
	out := floorTokens{Type: "Bearer", ExpiresIn: 600, Scope: c.Scope}
	if r.PostForm.Get("grant_type") == "refresh_token" {
		id, generation, _ := strings.Cut(strings.TrimPrefix(r.PostForm.Get("refresh_token"), "rt_"), ".")
		presented, err := strconv.ParseInt(generation, 10, 64)
		if err != nil {
			return 0, nil, err
		}
		const sql = `UPDATE families SET generation = $2 + 1, rotated_at = $3 WHERE id = $1 AND generation = $2 RETURNING subject`
		if err := f.pool.QueryRow(r.Context(), sql, id, presented, now).Scan(&c.Subject); err != nil {
			return 0, nil, err
		}
		c.Family = id
		out.Refresh = "rt_" + id + "." + strconv.FormatInt(presented+1, 10)
	}
	var err error
	if out.Access, err = f.sign(c); err != nil {
		return 0, nil, err
	}
	body, err := json.Marshal(out) //nolint:gosec // a token response holds tokens
	return http.StatusOK, body, err
}

func (f *floor) sign(c floorClaims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed := f.header + "." + encode(payload)
	digest := sha256.Sum256([]byte(signed))
	x, y, err := ecdsa.Sign(rand.Reader, f.key, digest[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	x.FillBytes(signature[:32])
	y.FillBytes(signature[32:])
	return signed + "." + encode(signature[:]), nil
}

// introspect believes the token and looks at its row.
func (f *floor) introspect(r *http.Request) (int, []byte, error) {
	c, err := tokenOf(r)
	if err != nil {
		return 0, nil, err
	}
	var subject string
	if err := f.pool.QueryRow(r.Context(), `SELECT subject FROM families WHERE id = $1`, c.Family).Scan(&subject); err != nil {
		return 0, nil, err
	}
	body, err := json.Marshal(struct {
		Active bool `json:"active"`
		floorClaims
	}{true, c})
	return http.StatusOK, body, err
}

func (f *floor) revoke(r *http.Request) (int, []byte, error) {
	c, err := tokenOf(r)
	if err != nil {
		return 0, nil, err
	}
	_, err = f.pool.Exec(r.Context(), `INSERT INTO revoked (jti, expires_at) VALUES ($1, $2)`, c.TokenID, time.Unix(c.Expiry, 0))
	return http.StatusOK, nil, err
}

func (f *floor) register(r *http.Request) (int, []byte, error) {
	var client map[string]any
	if err := json.NewDecoder(r.Body).Decode(&client); err != nil {
		return 0, nil, err
	}
	id := rand.Text()
	client["client_id"] = id
	body, err := json.Marshal(client)
	if err != nil {
		return 0, nil, err
	}
	_, err = f.pool.Exec(r.Context(), `INSERT INTO clients (id, metadata, created_at) VALUES ($1, $2, $3)`, id, string(body), time.Now())
	return http.StatusCreated, body, err
}

func tokenOf(r *http.Request) (c floorClaims, err error) {
	if err := r.ParseForm(); err != nil {
		return c, err
	}
	parts := strings.Split(r.PostForm.Get("token"), ".")
	if len(parts) != 3 {
		return c, fmt.Errorf("a token has %d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(payload, &c)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
