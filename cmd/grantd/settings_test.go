package main_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrecedence(t *testing.T) {
	const (
		flag = "--issuer=https://flag.example"
		env  = "GRANTD_ISSUER=https://env.example"
		file = "# who we are\nissuer: https://file.example\n"
	)
	for _, tt := range []struct {
		name        string
		args, env   []string
		file        string
		value, from string
	}{
		{"default", nil, nil, "listen: 127.0.0.1:9000\n", "http://127.0.0.1:8080", "default"},
		{"file over default", nil, nil, file, "https://file.example", "grantd.yaml:2 issuer"},
		{"environment over file", nil, []string{env}, file, "https://env.example", "GRANTD_ISSUER"},
		{"flag over environment", []string{flag}, []string{env}, file, "https://flag.example", "--issuer"},
		{"an empty variable is none", nil, []string{"GRANTD_ISSUER="}, file, "https://file.example", "grantd.yaml:2 issuer"},
		{"the last flag counts", []string{"--issuer=https://old.example", flag}, nil, "", "https://flag.example", "--issuer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t)
			write(t, "grantd.yaml", tt.file)
			s, r := config(t, tt.env, append(tt.args, "--config", "grantd.yaml")...)
			if value, from := s.setting(t, "issuer"); value != tt.value || from != tt.from {
				t.Errorf("issuer is %q from %q, want %q from %q", value, from, tt.value, tt.from)
			}
			if r.code != 0 {
				t.Errorf("exit code %d: %s", r.code, r.stderr)
			}
		})
	}
}

func TestLists(t *testing.T) {
	const want = "10.0.0.0/8 127.0.0.1"
	for _, tt := range []struct {
		name      string
		args, env []string
		file      string
	}{
		{"repeated flag", []string{"--trusted-proxies", "10.0.0.0/8", "--trusted-proxies", "127.0.0.1"}, nil, ""},
		{"commas in a flag", []string{"--trusted-proxies", "10.0.0.0/8,127.0.0.1"}, nil, ""},
		{"commas in a variable", nil, []string{"GRANTD_TRUSTED_PROXIES=10.0.0.0/8, 127.0.0.1"}, ""},
		{"list in a file", nil, nil, "trusted-proxies:\n  - 10.0.0.0/8\n  - 127.0.0.1\n"},
		{"commas in a file", nil, nil, "trusted-proxies: 10.0.0.0/8, 127.0.0.1\n"},
		{"a flag replaces the list", []string{"--trusted-proxies", "10.0.0.0/8,127.0.0.1"}, nil, "trusted-proxies: 192.168.0.0/16\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t)
			write(t, "grantd.yaml", tt.file)
			s, r := config(t, append(tt.env, "GRANTD_CONFIG=grantd.yaml"), tt.args...)
			if value, _ := s.setting(t, "trusted-proxies"); value != want {
				t.Errorf("trusted-proxies are %q, want %q\n%s", value, want, r.stderr)
			}
		})
	}
}

func TestMigrateFlag(t *testing.T) {
	postgres := []string{"--database-url", "postgres://db/grantd", "--root-key", goodKey}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"SQLite", nil, "on"},
		{"Postgres", postgres, "off"},
		{"alone", append([]string{"--migrate"}, postgres...), "on"},
		{"separate", append([]string{"--migrate", "on"}, postgres...), "on"},
		{"joined", []string{"--migrate=off"}, "off"},
		{"separate off", []string{"--migrate", "off"}, "off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t)
			s, r := config(t, nil, tt.args...)
			if value, _ := s.setting(t, "migrate"); value != tt.want || r.code != 0 {
				t.Errorf("migrate is %q with code %d, want %q with 0\n%s", value, r.code, tt.want, r.stderr)
			}
		})
	}
}

func TestSecretFiles(t *testing.T) {
	for _, tt := range []struct {
		name      string
		args, env []string
		file      string
		from      string
	}{
		{"flag", []string{"--admin-key-file", "key"}, nil, "", "--admin-key-file"},
		{"environment", nil, []string{"GRANTD_ADMIN_KEY_FILE=key"}, "", "GRANTD_ADMIN_KEY_FILE"},
		{"file", nil, nil, "admin-key-file: key\n", "grantd.yaml:1 admin-key-file"},
		{"over a lower place", []string{"--admin-key-file", "key"}, []string{"GRANTD_ADMIN_KEY=" + otherKey}, "", "--admin-key-file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t)
			write(t, "grantd.yaml", tt.file)
			write(t, "key", goodKey+"\n\n"+otherKey+"\n")
			s, r := config(t, tt.env, append(tt.args, "--config", "grantd.yaml")...)
			value, from := s.setting(t, "admin-key")
			if value != "[redacted] [redacted]" || from != tt.from || r.code != 0 {
				t.Errorf("admin-key is %q from %q, want two keys from %q\n%s", value, from, tt.from, r.stderr)
			}
		})
	}
}

func TestDatabaseURLFile(t *testing.T) {
	inFolder(t)
	write(t, "url", "postgres://grantd:hunter2@db.internal/grantd?sslmode=disable\n")
	s, _ := config(t, []string{"GRANTD_DATABASE_URL_FILE=url", "GRANTD_ROOT_KEY=" + goodKey})
	if value, _ := s.setting(t, "database-url"); value != "postgres://grantd:xxxxx@db.internal/grantd?sslmode=disable" {
		t.Errorf("database-url is shown as %q", value)
	}
}

func TestUnsafeSecretFiles(t *testing.T) {
	for _, tt := range []struct {
		name    string
		mode    os.FileMode
		content string
		problem string
	}{
		{"readable by everybody", 0o604, goodKey, "may be read by other users"},
		{"readable by the group", 0o640, goodKey, "may be read by other users"},
		{"empty", 0o600, "\n", "is empty"},
		{"too large", 0o600, strings.Repeat("a", 1<<20), "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t)
			write(t, "key", tt.content)
			if err := os.Chmod("key", tt.mode); err != nil {
				t.Fatal(err)
			}
			s, r := config(t, nil, "--root-key-file", "key")
			if r.code != 2 || !strings.Contains(r.stderr, tt.problem) || !slices.Contains(s.faults(), "--root-key-file") {
				t.Errorf("code %d, want 2 and %q in\n%s", r.code, tt.problem, r.stderr)
			}
		})
	}
}

func TestUnknownNames(t *testing.T) {
	for _, tt := range []struct {
		name      string
		args, env []string
		file      string
		want      []string // in what is said
	}{
		{"a letter short", nil, []string{"GRANTD_ISUER=x"}, "", []string{"GRANTD_ISUER is not a setting", "did you mean GRANTD_ISSUER?"}},
		{"plural", nil, []string{"GRANTD_ROOT_KEYS=x"}, "", []string{"did you mean GRANTD_ROOT_KEY?"}},
		{"half a name", nil, []string{"GRANTD_DATABASE=x"}, "", []string{"did you mean GRANTD_DATABASE_URL?"}},
		{"secret's file", nil, []string{"GRANTD_ADMIN_KEY_FLE=x"}, "", []string{"did you mean GRANTD_ADMIN_KEY_FILE?"}},
		{"no file form", nil, []string{"GRANTD_LISTEN_FILE=x"}, "", []string{"GRANTD_LISTEN_FILE is not a setting"}},
		{"nothing near", nil, []string{"GRANTD_FAVOURITE_COLOUR=x"}, "", []string{"remove it"}},
		{"in the file", nil, nil, "issuer: http://localhost:8080\nlissten: 127.0.0.1:1\n", []string{"grantd.yaml:2 lissten is not a setting", "did you mean listen?"}},
		{"nested in the file", nil, nil, "listen:\n  host: 127.0.0.1\n", []string{"grantd.yaml:1 listen is neither a text nor a list"}},
		{"no YAML", nil, nil, "issuer: [\n", []string{"not valid YAML"}},
		{"no mapping", nil, nil, "- issuer\n", []string{"does not hold settings"}},
		{"no such file", []string{"--config", "missing.yaml"}, nil, "", []string{"--config cannot be read"}},
		{"flag", []string{"--lissten=x"}, nil, "", []string{"unknown flag: --lissten", "config --help"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t)
			write(t, "grantd.yaml", tt.file)
			r := run(t, append(tt.env, "GRANTD_CONFIG=grantd.yaml"), append([]string{"config"}, tt.args...)...)
			if r.code != 2 {
				t.Errorf("exit code %d, want 2", r.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("%q is missing in\n%s", want, r.stderr)
				}
			}
		})
	}
}

func TestForeignVariables(t *testing.T) {
	inFolder(t)
	r := run(t, []string{
		"PATH=/bin", "GRANTD=x", "GRANTD_TEST_ANYTHING=1",
		// What Kubernetes sets beside a Service named grantd.
		"GRANTD_SERVICE_HOST=10.0.0.1", "GRANTD_SERVICE_PORT=8080", "GRANTD_SERVICE_PORT_HTTP=8080",
		"GRANTD_PORT=tcp://10.0.0.1:8080", "GRANTD_PORT_8080_TCP=tcp://10.0.0.1:8080", "GRANTD_PORT_8080_TCP_ADDR=10.0.0.1",
	}, "config")
	if r.code != 0 {
		t.Errorf("exit code %d, want 0: %s", r.code, r.stderr)
	}
	if r := run(t, []string{"GRANTD_PORT=8080"}, "config"); r.code != 2 {
		t.Errorf("GRANTD_PORT=8080: exit code %d, want 2", r.code)
	}
}

func TestCombinations(t *testing.T) {
	cert, key := selfSigned(t, t.TempDir())
	https := "--issuer=https://auth.example.com"
	withTLS := []string{https, "--tls-cert=" + cert, "--tls-key=" + key}
	postgres := []string{"--database-url=postgres://db/grantd", "--root-key=" + goodKey}

	for _, tt := range []struct {
		name   string
		args   []string
		faults []string
	}{
		{"nothing given", nil, nil},
		{"http on a name", []string{"--issuer=http://auth.example.com"}, []string{"--issuer"}},
		{"issuer with a slash", []string{"--issuer=https://auth.example.com/"}, []string{"--issuer"}},
		{"http issuer on the network", []string{"--listen=0.0.0.0:8080"}, []string{"--listen"}},
		{"http issuer on every address", []string{"--listen=:8080"}, []string{"--listen"}},
		{"http issuer on an IPv6 address", []string{"--listen=[2001:db8::1]:8080"}, []string{"--listen"}},
		{"http issuer on IPv6 loopback", []string{"--listen=[::1]:8080", "--issuer=http://[::1]:8080"}, nil},
		{"https behind a proxy here", []string{https}, nil},
		{"https behind a proxy elsewhere", []string{https, "--listen=:8080", "--trusted-proxies=10.0.0.7"}, nil},
		{"https by itself", append([]string{"--listen=:8443"}, withTLS...), nil},
		{"TLS with an http issuer", []string{"--tls-cert=" + cert, "--tls-key=" + key}, []string{"--tls-cert"}},
		{"certificate without key", []string{https, "--tls-cert=" + cert}, []string{"--tls-cert"}},
		{"key without certificate", []string{https, "--tls-key=" + key}, []string{"--tls-key"}},
		{"key as certificate", []string{https, "--tls-cert=" + key, "--tls-key=" + key}, []string{"--tls-cert"}},
		{"no address", []string{"--listen=8080"}, []string{"--listen"}},
		{"no port number", []string{"--listen=127.0.0.1:http"}, []string{"--listen"}},
		{"admin on the network", []string{"--admin-listen=0.0.0.0:8081"}, []string{"--admin-listen"}},
		{"admin on the network by TLS", append([]string{"--admin-listen=:8081"}, withTLS...), nil},
		{"admin on a socket", []string{"--admin-listen=unix:admin.sock"}, nil},
		{"admin on a socket for a group", []string{"--admin-listen=unix:admin.sock", "--admin-socket-mode=0660"}, nil},
		{"admin on a socket for everybody", []string{"--admin-listen=unix:admin.sock", "--admin-socket-mode=0666"}, []string{"--admin-socket-mode"}},
		{"admin on the network by TLS of its own", []string{"--admin-listen=:8081", "--admin-tls-cert=" + cert, "--admin-tls-key=" + key}, nil},
		{"admin TLS without its key", []string{"--admin-listen=:8081", "--admin-tls-cert=" + cert}, []string{"--admin-tls-cert"}},
		{"admin TLS on loopback", []string{"--admin-tls-cert=" + cert, "--admin-tls-key=" + key}, []string{"--admin-tls-cert"}},
		{"admin on no socket", []string{"--admin-listen=unix:"}, []string{"--admin-listen"}},
		{"admin on the public port", []string{"--admin-listen=127.0.0.1:8080"}, []string{"--admin-listen"}},
		{"Postgres", postgres, nil},
		{"Postgres without root key", []string{"--database-url=postgres://db/grantd"}, []string{"--root-key"}},
		{"other database", []string{"--database-url=mysql://db/grantd"}, []string{"--database-url"}},
		{"database in memory", []string{"--database-url=sqlite::memory:"}, []string{"--database-url"}},
		{"database without folder", []string{"--database-url=sqlite:missing/grantd.db"}, []string{"--database-url"}},
		{"database with a host", []string{"--database-url=sqlite://grantd.db"}, []string{"--database-url"}},
		{"database without file", []string{"--database-url=sqlite:"}, []string{"--database-url"}},
		{"short admin key", []string{"--admin-key=" + goodKey[:31]}, []string{"--admin-key"}},
		{"admin key of 32", []string{"--admin-key=" + goodKey[:32]}, nil},
		{"short second admin key", []string{"--admin-key=" + goodKey, "--admin-key=short"}, []string{"--admin-key"}},
		{"admin key with a blank", []string{"--admin-key=" + goodKey + " x"}, []string{"--admin-key"}},
		{"root key of 31 bytes", []string{"--root-key=" + goodKey[4:]}, []string{"--root-key"}},
		{"root key in hex", []string{"--root-key=" + strings.Repeat("0f", 32)}, []string{"--root-key"}},
		{"root key without padding", []string{"--root-key=" + strings.TrimRight(goodKey, "=")}, nil},
		{"two root keys", []string{"--root-key=" + goodKey + "," + otherKey}, nil},
		{"the same root key twice", []string{"--root-key=" + goodKey + "," + goodKey}, []string{"--root-key"}},
		{"trusting everybody", []string{"--trusted-proxies=0.0.0.0/0"}, []string{"--trusted-proxies"}},
		{"trusting a name", []string{"--trusted-proxies=proxy"}, []string{"--trusted-proxies"}},
		{"fetching from everywhere", []string{"--outbound-allow=::/0"}, []string{"--outbound-allow"}},
		{"fetching from one host", []string{"--outbound-allow=idp.internal:8443,10.0.0.0/24"}, nil},
		{"fetching from a host without port", []string{"--outbound-allow=idp.internal"}, []string{"--outbound-allow"}},
		{"further authorities", []string{"--outbound-ca=" + cert}, nil},
		{"authorities nowhere", []string{"--outbound-ca=missing.pem"}, []string{"--outbound-ca"}},
		{"authorities without a certificate", []string{"--outbound-ca=" + key}, []string{"--outbound-ca"}},
		{"an egress proxy", []string{"--outbound-proxy=http://proxy.internal:3128", "--outbound-allow=idp.internal:8443"}, nil},
		{"an egress proxy with a password", []string{"--outbound-proxy=http://u:p@proxy.internal:3128"}, []string{"--outbound-proxy"}},
		{"a mail server", []string{"--smtp-url=smtp://u:p@mail.example.com", "--mail-from=grantd@example.com"}, nil},
		{"a mail server without a sender", []string{"--smtp-url=smtp://mail.example.com"}, []string{"--smtp-url"}},
		{"a sender without a mail server", []string{"--mail-from=grantd@example.com"}, []string{"--mail-from"}},
		{"a mail server of another kind", []string{"--smtp-url=http://mail.example.com", "--mail-from=grantd@example.com"}, []string{"--smtp-url"}},
		{"a sender who is none", []string{"--smtp-url=smtp://mail.example.com", "--mail-from=grantd"}, []string{"--mail-from"}},
		{"an egress proxy of another kind", []string{"--outbound-proxy=socks5://proxy.internal:1080"}, []string{"--outbound-proxy"}},
		{"an egress proxy and a network", []string{"--outbound-proxy=http://proxy.internal:3128", "--outbound-allow=10.0.0.0/24"}, []string{"--outbound-allow"}},
		{"grantd as its own egress proxy", []string{"--outbound-proxy=http://127.0.0.1:8081"}, []string{"--outbound-proxy"}},
		{"looks", []string{"--brand-name=Example Ltd", "--brand-color=#1a5fb4", "--templates=."}, nil},
		{"a language", []string{"--language=zh-Hans"}, nil},
		{"a language that is not there", []string{"--language=sv"}, []string{"--language"}},
		{"a colour in words", []string{"--brand-color=blue"}, []string{"--brand-color"}},
		{"a name that nobody can see", []string{"--brand-name=a\u202eb"}, []string{"--brand-name"}},
		{"a logo that is none", []string{"--brand-logo=key"}, []string{"--brand-logo"}},
		{"a logo nowhere", []string{"--brand-logo=missing.svg"}, []string{"--brand-logo"}},
		{"pages nowhere", []string{"--templates=missing"}, []string{"--templates"}},
		{"algorithm none", []string{"--signing-alg=none"}, []string{"--signing-alg"}},
		{"algorithm EdDSA", []string{"--signing-alg=EdDSA"}, nil},
		{"rotation in days", []string{"--key-rotation=30d"}, nil},
		{"rotation in hours", []string{"--key-rotation=36h"}, nil},
		{"no rotation", []string{"--key-rotation=0"}, nil},
		{"rotation too often", []string{"--key-rotation=59m"}, []string{"--key-rotation"}},
		{"rotation backwards", []string{"--key-rotation=-24h"}, []string{"--key-rotation"}},
		{"rotation in words", []string{"--key-rotation=monthly"}, []string{"--key-rotation"}},
		{"migrate perhaps", []string{"--migrate=perhaps"}, []string{"--migrate"}},
		{"loud log", []string{"--log-level=loud"}, []string{"--log-level"}},
		{"key twice", []string{"--admin-key=" + goodKey, "--admin-key-file=key"}, []string{"--admin-key-file"}},
		{
			"all at once",
			[]string{"--issuer=ftp://x", "--listen=x", "--signing-alg=none", "--root-key=x", "--admin-key=x"},
			[]string{"--issuer", "--listen", "--root-key", "--admin-key", "--signing-alg"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t)
			write(t, "key", goodKey)
			s, r := config(t, nil, tt.args...)
			if tt.faults == nil {
				tt.faults = []string{}
			}
			if diff := cmp.Diff(tt.faults, s.faults()); diff != "" {
				t.Errorf("faults (-want +got):\n%s%s", diff, r.stderr)
			}
			for _, f := range s.Faults {
				if f.Problem == "" || f.Mend == "" || !strings.Contains(r.stderr, f.Mend) {
					t.Errorf("%s: the fault is not said with its mend: %q", f.Where, f)
				}
			}
			if want := min(2, 2*len(tt.faults)); r.code != want {
				t.Errorf("exit code %d, want %d", r.code, want)
			}
			if len(tt.faults) > 0 {
				// What config calls a fault stops the server.
				if r := run(t, nil, append([]string{"serve"}, tt.args...)...); r.code != 2 {
					t.Errorf("serve: exit code %d, want 2: %s", r.code, r.stderr)
				}
			}
		})
	}
}

func TestOTLPEndpoint(t *testing.T) {
	for _, good := range []string{"http://127.0.0.1:4318", "https://collector.example.com/otlp"} {
		if shown, r := config(t, nil, "--otlp-endpoint="+good); r.code != 0 || len(shown.Faults) != 0 {
			t.Errorf("%s: %+v", good, shown.Faults)
		}
	}
	for _, bad := range []string{"127.0.0.1:4318", "collector", "grpc://127.0.0.1:4317", "http://", "http://user:pass@127.0.0.1", "http://127.0.0.1/?key=1"} {
		if shown, _ := config(t, []string{"GRANTD_OTLP_ENDPOINT=" + bad}); len(shown.Faults) != 1 || shown.Faults[0].Where != "GRANTD_OTLP_ENDPOINT" {
			t.Errorf("%s: %+v", bad, shown.Faults)
		}
	}
}

func TestUnsafeConfigFile(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		code          int
	}{
		{"with a key", "admin-key: " + goodKey + "\n", 2},
		{"with a password", "database-url: postgres://u:p@h/d\nroot-key-file: key\n", 2},
		{"without secrets", "database-url: sqlite:grantd.db\nroot-key-file: key\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t)
			write(t, "key", goodKey)
			write(t, "grantd.yaml", tt.content)
			if r := run(t, nil, "config", "--config", "grantd.yaml"); r.code != 0 {
				t.Errorf("mode 0600: exit code %d: %s", r.code, r.stderr)
			}
			if err := os.Chmod("grantd.yaml", 0o644); err != nil {
				t.Fatal(err)
			}
			if r := run(t, nil, "config", "--config", "grantd.yaml"); r.code != tt.code {
				t.Errorf("mode 0644: exit code %d, want %d: %s", r.code, tt.code, r.stderr)
			}
		})
	}
}
