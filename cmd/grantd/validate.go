package main

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"grantd/server/keys"
	"grantd/server/outbound"
	"grantd/server/web"
	"grantd/storage"
)

// Config is what grantd serve needs, checked: a Config that Settings.Config made
// without faults is safe to start with.
type Config struct {
	Issuer web.Issuer
	Listen string // host:port
	// AdminListen is host:port or unix:PATH; "" means that there is no admin API.
	AdminListen string
	Database    Database
	// AdminKeys are the bearer keys of the admin API.
	AdminKeys []Secret
	// Root is nil until makeKeys has made one, see RootKeyFile.
	Root           *keys.Root
	TrustedProxies []netip.Prefix
	// TLSCert and TLSKey are PEM files; both "" means plain http.
	TLSCert, TLSKey  string
	SigningAlgorithm string
	OutboundAllow    []outbound.Allowed
	Migrate          bool
	LogLevel         slog.Level

	// RootKeyFile and AdminKeyFile stand beside a SQLite file when nobody gives
	// the keys; "" otherwise.
	RootKeyFile, AdminKeyFile string
	// Listener is the public listener when the caller has opened it already, as
	// grantd demo does to know its port; nil: Listen is opened.
	Listener net.Listener
}

// minAdminKey is how many characters an admin key must have.
const minAdminKey = 32

// Config checks the settings, one by one and against each other. The error is a
// Faults with everything that is wrong.
func (s *Settings) Config() (Config, error) {
	var c Config
	c.Issuer = s.issuer()
	c.Database = s.database()
	c.TLSCert, c.TLSKey = s.tlsFiles(c.Issuer)
	c.Listen = s.listen(c.Issuer)
	s.keyFiles(&c)
	c.Root = s.rootKeys(c.Database, c.RootKeyFile)
	c.AdminKeys = s.adminKeys()
	c.AdminListen = s.adminListen(c.TLSCert != "")
	if len(c.AdminKeys) == 0 && c.AdminKeyFile == "" {
		c.AdminListen = ""
	}
	c.TrustedProxies = s.trustedProxies()
	c.OutboundAllow = s.outboundAllow()
	c.SigningAlgorithm = s.signingAlgorithm()
	c.Migrate = s.migrate(c.Database)
	c.LogLevel = s.logLevel()
	if len(s.faults) > 0 {
		return Config{}, s.faults
	}
	return c, nil
}

func (s *Settings) issuer() web.Issuer {
	raw, from := s.get("issuer")
	issuer, err := web.ParseIssuer(raw)
	if err != nil {
		s.fault(from.name, "is "+strconv.Quote(raw)+": "+err.Error(), "give the URL that clients reach grantd at, as https://auth.example.com")
	}
	return issuer
}

func (s *Settings) database() Database {
	raw, from := s.get("database-url")
	database, fault := parseDatabase(raw)
	if fault != nil {
		s.fault(from.name, fault.Problem, fault.Mend)
	}
	return database
}

func (s *Settings) tlsFiles(issuer web.Issuer) (cert, key string) {
	cert, certFrom := s.get("tls-cert")
	key, keyFrom := s.get("tls-key")
	switch {
	case cert == "" && key == "":
		return "", ""
	case key == "":
		s.fault(certFrom.name, "is given without its key", "give --tls-key too")
		return cert, key
	case cert == "":
		s.fault(keyFrom.name, "is given without its certificate", "give --tls-cert too")
		return cert, key
	}
	if fault := checkSecretMode(key); fault != nil {
		s.fault(keyFrom.name, fault.Problem, fault.Mend)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		s.fault(certFrom.name, "and its key cannot be used: "+err.Error(), "give a PEM certificate chain and its own key")
	}
	if issuer != (web.Issuer{}) && !issuer.Secure() {
		s.fault(certFrom.name, "serves https, but the issuer is "+issuer.String(), "give --issuer with https://")
	}
	return cert, key
}

func (s *Settings) listen(issuer web.Issuer) string {
	address, from := s.get("listen")
	host, ok := s.hostPort(address, from)
	if ok && !isLoopback(host) && issuer != (web.Issuer{}) && !issuer.Secure() {
		s.fault(from.name, "is "+address+", which opens an http issuer to the network",
			"listen on 127.0.0.1, or give an https --issuer (and --tls-cert, or a proxy that does TLS)")
	}
	return address
}

func (s *Settings) adminListen(haveTLS bool) string {
	address, from := s.get("admin-listen")
	if path, ok := strings.CutPrefix(address, unixScheme); ok {
		if path == "" {
			s.fault(from.name, "names no socket", "write unix:PATH, as unix:/run/grantd/admin.sock")
		}
		return address
	}
	host, ok := s.hostPort(address, from)
	if ok && !isLoopback(host) && !haveTLS {
		s.fault(from.name, "is "+address+", which opens the admin API to the network without TLS",
			"listen on 127.0.0.1 or unix:PATH, or give --tls-cert and --tls-key")
	}
	if public, _ := s.get("listen"); address == public && !strings.HasSuffix(address, ":0") {
		s.fault(from.name, "is "+address+", the same as --listen", "give the admin API a port of its own, or unix:PATH")
	}
	return address
}

// hostPort checks an address to listen on and returns its host.
func (s *Settings) hostPort(address string, from source) (host string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		s.fault(from.name, "is "+strconv.Quote(address)+", which is no address to listen on", "write HOST:PORT, as 127.0.0.1:8080")
		return "", false
	}
	return host, true
}

// isLoopback reports whether only this machine can reach host. The empty host
// means every address.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return storage.IsLoopbackHost(host) || err == nil && addr.IsLoopback()
}

// keyFiles finds the keys that stand beside a SQLite file, or are to be made
// there, and reads those that exist in place of settings nobody gave.
func (s *Settings) keyFiles(c *Config) {
	if c.Database.Path == "" {
		return
	}
	for _, k := range []struct {
		name string
		file *string
	}{{"root-key", &c.RootKeyFile}, {"admin-key", &c.AdminKeyFile}} {
		if !s.isDefault(k.name) {
			continue
		}
		*k.file = c.Database.besideFile(k.name)
		v := value{from: source{"key file", *k.file}, secretFile: *k.file}
		if !absent(*k.file) {
			text, fault := readSecretFile(*k.file)
			if fault != nil {
				s.fault(*k.file, fault.Problem, fault.Mend)
			}
			v.given = []string{text}
		}
		s.values[k.name] = s.split(setting{name: k.name, list: true}, v)
	}
}

func (s *Settings) rootKeys(database Database, file string) *keys.Root {
	v := s.values["root-key"]
	if len(v.given) == 0 {
		// Without a readable database setting there is no telling what to ask for.
		if file == "" && database != (Database{}) {
			s.fault("--root-key", "is missing: with Postgres every replica needs the same one",
				"make one with: openssl rand -base64 32 > root-key && chmod 600 root-key, keep it safe, and give --root-key-file root-key")
		}
		return nil
	}
	var all [][]byte
	for i, text := range v.given {
		key, ok := decodeRootKey(text)
		if !ok {
			s.fault(v.from.name, fmt.Sprintf("is not %d bytes in base64 (key %d of %d)", keys.RootKeySize, i+1, len(v.given)), "make one with: openssl rand -base64 32")
			continue
		}
		all = append(all, key)
	}
	if len(all) != len(v.given) {
		return nil
	}
	root, err := keys.NewRoot(all...)
	if err != nil {
		s.fault(v.from.name, "cannot be used: "+err.Error(), "give each key once")
	}
	return root
}

// decodeRootKey takes either alphabet of base64, padded or not.
func decodeRootKey(text string) ([]byte, bool) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	key, err := base64.RawStdEncoding.DecodeString(text)
	return key, err == nil && len(key) == keys.RootKeySize
}

func (s *Settings) adminKeys() []Secret {
	v := s.values["admin-key"]
	var all []Secret
	for _, key := range v.given {
		switch {
		case len(key) < minAdminKey:
			s.fault(v.from.name, fmt.Sprintf("has fewer than %d characters", minAdminKey), "make one with: openssl rand -hex 32")
		case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
			s.fault(v.from.name, "has characters that no HTTP header can carry", "make one with: openssl rand -hex 32")
		}
		all = append(all, NewSecret(key))
	}
	return all
}

func (s *Settings) trustedProxies() []netip.Prefix {
	v := s.values["trusted-proxies"]
	var all []netip.Prefix
	for _, text := range v.given {
		prefix, ok := parsePrefix(text)
		switch {
		case !ok:
			s.fault(v.from.name, "has "+strconv.Quote(text)+", which is no network", "write networks as 10.0.0.0/8 or 127.0.0.1/32")
		case prefix.Bits() == 0:
			s.fault(v.from.name, "has "+text+", so that anybody could claim any address", "name only the networks of your own proxies")
		}
		all = append(all, prefix)
	}
	return all
}

func (s *Settings) outboundAllow() []outbound.Allowed {
	v := s.values["outbound-allow"]
	var allowed []outbound.Allowed
	for _, text := range v.given {
		one, err := outbound.ParseAllow(text)
		if err != nil {
			s.fault(v.from.name, "has "+strconv.Quote(text), err.Error())
			continue
		}
		allowed = append(allowed, one)
	}
	return allowed
}

// parsePrefix reads a network; a single address is a network of one.
func parsePrefix(text string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err == nil
}

func (s *Settings) signingAlgorithm() string {
	given, from := s.get("signing-alg")
	if !slices.Contains(keys.Algorithms, given) {
		s.fault(from.name, "is "+strconv.Quote(given), "choose one of "+strings.Join(keys.Algorithms, ", "))
	}
	return given
}

func (s *Settings) migrate(database Database) bool {
	given, from := s.get("migrate")
	switch {
	case s.isDefault("migrate"):
		return database.Path != ""
	case given == "on" || given == "true":
		return true
	case given == "off" || given == "false":
		return false
	}
	s.fault(from.name, "is "+strconv.Quote(given), "choose on or off")
	return false
}

func (s *Settings) logLevel() slog.Level {
	given, from := s.get("log-level")
	switch given {
	case "debug":
		return slog.LevelDebug
	case "info":
		return slog.LevelInfo
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	s.fault(from.name, "is "+strconv.Quote(given), "choose debug, info, warn or error")
	return slog.LevelInfo
}
