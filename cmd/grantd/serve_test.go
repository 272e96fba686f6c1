package main_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	grantd "grantd/cmd/grantd"
	"grantd/internal/pgtest"
)

// anyPort lets the machine choose both ports.
var anyPort = []string{"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}

func TestServe(t *testing.T) {
	inFolder(t)
	s, line := serve(t, anyPort...)
	for url, want := range map[string]int{
		"http://" + line["listen"].(string) + "/healthz": http.StatusOK,
		line["admin"].(string) + "/healthz":              http.StatusOK,
	} {
		if got := status(t, http.DefaultClient, url); got != want {
			t.Errorf("GET %s: %d, want %d", url, got, want)
		}
	}
	if line["issuer"] != "http://127.0.0.1:8080" || !strings.Contains(line["database"].(string), "grantd.db") {
		t.Errorf("the start line does not tell issuer and database: %v", line)
	}
	if mode := mode(t, "grantd.db"); mode&0o077 != 0 {
		t.Errorf("grantd.db has mode %04o, others may read it", mode)
	}
	s.end(t)
	if _, err := http.Get("http://" + line["listen"].(string) + "/healthz"); err == nil { //nolint:bodyclose,noctx // there is nobody to answer
		t.Error("it still answers after its end")
	}
}

// AD-07: the first boot makes a key of its own, which only this user may read.
func TestServeMakesKeys(t *testing.T) {
	inFolder(t)
	keyFiles := []string{"grantd.root-key", "grantd.admin-key"}

	if r := run(t, nil, "config"); r.code != 0 {
		t.Fatalf("config: %s", r.stderr)
	}
	for _, file := range append(keyFiles, "grantd.db") {
		if _, err := os.Stat(file); err == nil {
			t.Errorf("config made %s", file)
		}
	}

	s, _ := serve(t, anyPort...)
	s.end(t)
	made := map[string]string{}
	for _, file := range keyFiles {
		if mode := mode(t, file); mode != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", file, mode)
		}
		made[file] = read(t, file)
	}
	if made[keyFiles[0]] == made[keyFiles[1]] {
		t.Error("both keys are the same")
	}

	shown, _ := config(t, nil)
	if value, from := shown.setting(t, "root-key"); value != "[redacted]" || from != "key file grantd.root-key" {
		t.Errorf("root-key is %q from %q", value, from)
	}
	s, _ = serve(t, anyPort...)
	s.end(t)
	for _, file := range keyFiles {
		if read(t, file) != made[file] {
			t.Errorf("the second start made %s anew", file)
		}
	}

	if err := os.Chmod(keyFiles[0], 0o644); err != nil {
		t.Fatal(err)
	}
	if r := run(t, nil, "serve"); r.code != 2 || !strings.Contains(r.stderr, "chmod 600 grantd.root-key") {
		t.Errorf("a readable root key: code %d, want 2 and the mend: %s", r.code, r.stderr)
	}
}

func TestDatabasesInOneFolderKeepTheirKeysApart(t *testing.T) {
	inFolder(t)
	keys := map[string]string{}
	for _, name := range []string{"a.db", "b.db", "a.sqlite"} {
		s, line := serve(t, append(anyPort, "--database-url=sqlite:"+name)...)
		s.end(t)
		_, file, _ := strings.Cut(line["next"].(string), "(the admin key is in ")
		key := read(t, strings.TrimSuffix(file, ")"))
		if other, twice := keys[key]; twice {
			t.Errorf("%s and %s have the same admin key", name, other)
		}
		keys[key] = name
	}
}

func TestServeOnUnixSocket(t *testing.T) {
	dir := inFolder(t)
	const address = "--admin-listen=unix:admin.sock"
	s, line := serve(t, "--listen=127.0.0.1:0", address)
	if mode := mode(t, "admin.sock"); mode != 0o600 {
		t.Errorf("the socket has mode %04o, want 0600", mode)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "admin.sock"))
	}}}
	defer client.CloseIdleConnections()
	if got := status(t, client, "http://localhost/healthz"); got != http.StatusOK {
		t.Errorf("GET /healthz: %d, want 200", got)
	}
	if line["admin"] != "unix:admin.sock" {
		t.Errorf("the start line says admin %v", line["admin"])
	}
	r := run(t, nil, "serve", "--listen=127.0.0.1:0", "--database-url=sqlite:other.db", address)
	if r.code != 1 || !strings.Contains(r.stderr, "another grantd already does") {
		t.Errorf("a second server on the socket: code %d, want 1: %s", r.code, r.stderr)
	}
	s.end(t)

	// What a crash leaves behind is in nobody's way, anything else is.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: "admin.sock", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = serve(t, "--listen=127.0.0.1:0", address)
	s.end(t)
	s, _ = serve(t, "--listen=127.0.0.1:0", address, "--admin-socket-mode=0660")
	if mode := mode(t, "admin.sock"); mode != 0o660 {
		t.Errorf("the socket for a group has mode %04o, want 0660", mode)
	}
	s.end(t)
	write(t, "admin.sock", "precious")
	if r := run(t, nil, "serve", "--listen=127.0.0.1:0", address); r.code != 1 || read(t, "admin.sock") != "precious" {
		t.Errorf("a file in the socket's place: code %d, want 1, untouched", r.code)
	}
}

func TestServeTLS(t *testing.T) {
	dir := inFolder(t)
	cert, key := selfSigned(t, dir)
	_, line := serve(t, append(anyPort, "--issuer=https://localhost:8443", "--tls-cert="+cert, "--tls-key="+key)...)
	address := line["listen"].(string)

	trusting := func() *http.Client {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(read(t, cert))) {
			t.Fatal("no certificate in the file")
		}
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true,
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	if got := status(t, trusting(), "https://"+address+"/healthz"); got != http.StatusOK {
		t.Errorf("GET /healthz: %d, want 200", got)
	}
	if !strings.HasPrefix(line["admin"].(string), "http://127.0.0.1:") {
		t.Errorf("admin is %v, want plain http on loopback", line["admin"])
	}
	old := &tls.Config{MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}
	dialer := tls.Dialer{Config: old}
	if conn, err := dialer.DialContext(t.Context(), "tcp", address); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is served")
	}

	// A renewed certificate is served without a restart; half a renewal is not.
	renewedCert, renewedKey := selfSigned(t, t.TempDir())
	before := trusting()
	move(t, renewedCert, cert)
	if got := status(t, before, "https://"+address+"/healthz"); got != http.StatusOK {
		t.Errorf("between certificate and key: %d, want 200 with the old ones", got)
	}
	move(t, renewedKey, key)
	if got := status(t, trusting(), "https://"+address+"/healthz"); got != http.StatusOK {
		t.Errorf("after the renewal: %d, want 200", got)
	}
}

// An admin listener on the network has TLS without the public one having it, and
// answers to the names of its own certificate.
func TestServeAdminTLS(t *testing.T) {
	dir := inFolder(t)
	cert, key := selfSigned(t, dir)
	_, line := serve(t, "--listen=127.0.0.1:0", "--admin-listen=0.0.0.0:0", "--admin-tls-cert="+cert, "--admin-tls-key="+key)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(line["admin"].(string), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(read(t, cert))) {
		t.Fatal("no certificate in the file")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	if got := status(t, client, "https://localhost:"+port+"/healthz"); got != http.StatusOK {
		t.Errorf("GET /healthz: %d, want 200", got)
	}
	if got := status(t, &http.Client{}, "http://localhost:"+port+"/healthz"); got != http.StatusBadRequest {
		t.Errorf("in the clear: %d, want 400", got)
	}
}

func TestServeOnPostgres(t *testing.T) {
	inFolder(t)
	database := pgtest.URL(t)
	args := []string{"--database-url=" + database, "--root-key=" + goodKey}

	r := run(t, nil, append([]string{"serve", "--listen=127.0.0.1:0"}, args...)...)
	if r.code != 1 || !strings.Contains(r.stderr, "grantd migrate up") {
		t.Errorf("without a schema: code %d, want 1 and the command: %s", r.code, r.stderr)
	}
	if r := run(t, nil, "migrate", "up", "--database-url="+database); r.code != 0 || !strings.Contains(r.stdout, "up to date") {
		t.Fatalf("migrate up: code %d: %s%s", r.code, r.stdout, r.stderr)
	}

	// Nobody has given an admin key, so there is no admin API.
	if shown, r := config(t, nil, args...); r.code != 0 {
		t.Error(r.stderr)
	} else if _, from := shown.setting(t, "admin-listen"); !strings.Contains(from, "not used") {
		t.Errorf("config says admin-listen from %q, want that it is not used", from)
	}
	s, line := serve(t, append([]string{"--listen=127.0.0.1:0"}, args...)...)
	if got := status(t, http.DefaultClient, "http://"+line["listen"].(string)+"/readyz"); got != http.StatusOK {
		t.Errorf("GET /readyz: %d, want 200", got)
	}
	if admin := line["admin"].(string); !strings.HasPrefix(admin, "off") {
		t.Errorf("the start line says admin %q, want off", admin)
	}
	s.end(t)

	_, line = serve(t, append(anyPort, append(args, "--admin-key="+goodKey)...)...)
	if got := status(t, http.DefaultClient, line["admin"].(string)+"/readyz"); got != http.StatusOK {
		t.Errorf("with an admin key: GET /readyz on its listener: %d, want 200", got)
	}
	made, err := filepath.Glob("*")
	if err != nil || len(made) > 0 {
		t.Errorf("it left files behind: %v %v", made, err)
	}
}

func TestServeTakenPort(t *testing.T) {
	inFolder(t)
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, flag := range []string{"--listen", "--admin-listen"} {
		args := append([]string{"serve"}, anyPort...)
		r := run(t, nil, append(args, flag+"="+taken.Addr().String())...)
		if r.code != 1 || !strings.Contains(r.stderr, "another program already does; stop it, or choose another "+flag) {
			t.Errorf("%s: code %d, want 1 and a sentence: %s", flag, r.code, r.stderr)
		}
	}
}

func TestServeRefusesOldSchema(t *testing.T) {
	inFolder(t)
	args := append([]string{"--migrate=off"}, anyPort...)
	r := run(t, nil, append([]string{"serve"}, args...)...)
	if r.code != 1 || !strings.Contains(r.stderr, "grantd migrate up") {
		t.Errorf("code %d, want 1 and the command: %s", r.code, r.stderr)
	}
	if r := run(t, nil, "migrate", "up"); r.code != 0 {
		t.Fatalf("migrate up: %s", r.stderr)
	}
	s, _ := serve(t, args...)
	s.end(t)
}

// A schema of a later release is refused whether it may be migrated or not.
func TestServeRefusesNewerSchema(t *testing.T) {
	inFolder(t)
	made, _ := serve(t, anyPort...)
	made.end(t)
	db, err := sql.Open("sqlite", "grantd.db")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `UPDATE schema_migrations SET version = 9999`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, migrate := range []string{"--migrate=off", "--migrate=on"} {
		r := run(t, nil, append([]string{"serve", migrate}, anyPort...)...)
		if r.code != 1 || !strings.Contains(r.stderr, "grantd migrate down") {
			t.Errorf("%s: code %d, want 1 and the command: %s", migrate, r.code, r.stderr)
		}
	}
}

func TestMigrate(t *testing.T) {
	inFolder(t)
	for _, step := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"status"}, 0, "schema version 0"},
		{[]string{"up"}, 0, "up to date"},
		{[]string{"up"}, 0, "up to date"},
		{[]string{"status"}, 0, "up to date"},
		{[]string{"down", "--steps", "0"}, 2, "--steps"},
		{[]string{"down", "--steps", "99"}, 0, "schema version 0"},
		{[]string{"status"}, 0, `to apply with "grantd migrate up"`},
		{[]string{"sideways"}, 2, `no command "sideways"`},
		{nil, 2, "needs a command"},
	} {
		r := run(t, []string{"GRANTD_DATABASE_URL=sqlite:grantd.db"}, append([]string{"migrate"}, step.args...)...)
		if r.code != step.code || !strings.Contains(r.stdout+r.stderr, step.want) {
			t.Errorf("migrate %s: code %d, want %d and %q in\n%s%s", step.args, r.code, step.code, step.want, r.stdout, r.stderr)
		}
	}
}

func TestUsage(t *testing.T) {
	inFolder(t)
	for _, tt := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{[]string{"version"}, 0, "grantd ", ""},
		{[]string{"--version"}, 0, "grantd ", ""},
		{[]string{"--help"}, 0, "serve", ""},
		{[]string{"sevre"}, 2, "", `unknown command "sevre"`},
		{[]string{"serve", "now"}, 2, "", `unknown command "now"`},
		{[]string{"serve", "--listen"}, 2, "", "needs an argument"},
	} {
		r := run(t, nil, tt.args...)
		if r.code != tt.code || !strings.Contains(r.stdout, tt.stdout) || !strings.Contains(r.stderr, tt.stderr) {
			t.Errorf("grantd %s: code %d, want %d\nout: %s\nerr: %s", tt.args, r.code, tt.code, r.stdout, r.stderr)
		}
		if tt.code != 0 && r.stdout != "" {
			t.Errorf("grantd %s: an error on standard output: %s", tt.args, r.stdout)
		}
	}
}

func status(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	return response.StatusCode
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// selfSigned makes a certificate for localhost and returns its files.
func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})))
	return cert, key
}

// The first start prints a link for the first administrator, where the log is not.
func TestServePrintsTheFirstAdminsLink(t *testing.T) {
	inFolder(t)
	start := func() (stdout, stderr string) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var log bytes.Buffer
		out := &printed{stop: stop}
		if code := grantd.Run(ctx, []string{"serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}, nil, out, &log); code != 0 {
			t.Fatalf("code %d: %s", code, log.String())
		}
		return out.text.String(), log.String()
	}
	first, log := start()
	second, _ := start()
	link := regexp.MustCompile(`http://127\.0\.0\.1:8080/account/link\?token=ult_[A-Za-z0-9_-]{43}\n`)
	if !link.MatchString(first) || !link.MatchString(second) || link.FindString(first) == link.FindString(second) {
		t.Errorf("printed %q and then %q", first, second)
	}
	if strings.Contains(log, "ult_") {
		t.Errorf("it is in the log: %s", log)
	}
}

// printed stops the server once it has printed something.
type printed struct {
	text bytes.Buffer
	stop func()
}

func (p *printed) Write(b []byte) (int, error) {
	defer p.stop()
	return p.text.Write(b)
}
