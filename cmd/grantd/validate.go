package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"grantd/server/keys"
	"grantd/server/mail"
	"grantd/server/outbound"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
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
	TLSCert, TLSKey string
	// AdminTLSCert and AdminTLSKey are those of an admin listener on the network.
	AdminTLSCert, AdminTLSKey string
	// AdminSocketMode is that of the admin listener's unix socket.
	AdminSocketMode  fs.FileMode
	SigningAlgorithm string
	KeyRotation      time.Duration // 0: never by itself
	AuditRetention   time.Duration // 0: for ever
	OutboundAllow    []outbound.Allowed
	OutboundRoots    *x509.CertPool // nil: the system's
	OutboundProxy    *url.URL       // nil: none
	OTLPEndpoint     *url.URL       // nil: no traces
	Mail             *mail.Sender   // nil: no mail server
	Templates        *templates.Set // the pages, in the organisation's looks
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
	c.AdminTLSCert, c.AdminTLSKey = s.adminTLSFiles()
	if c.AdminTLSCert == "" {
		c.AdminTLSCert, c.AdminTLSKey = c.TLSCert, c.TLSKey
	}
	c.AdminSocketMode = s.adminSocketMode()
	c.AdminListen = s.adminListen(c.AdminTLSCert != "")
	if len(c.AdminKeys) == 0 && c.AdminKeyFile == "" {
		c.AdminListen = ""
	}
	c.TrustedProxies = s.trustedProxies()
	c.OutboundAllow = s.outboundAllow()
	c.OutboundRoots = s.outboundRoots()
	c.OutboundProxy = s.outboundProxy(c.OutboundAllow)
	c.Mail = s.mail()
	c.Templates = s.looks()
	c.SigningAlgorithm = s.signingAlgorithm()
	c.KeyRotation = s.keyRotation()
	c.AuditRetention = s.auditRetention()
	c.Migrate = s.migrate(c.Database)
	c.LogLevel = s.logLevel()
	c.OTLPEndpoint = s.otlpEndpoint()
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
	cert, key, certFrom := s.certificate("tls-cert", "tls-key")
	if cert != "" && issuer != (web.Issuer{}) && !issuer.Secure() {
		s.fault(certFrom.name, "serves https, but the issuer is "+issuer.String(), "give --issuer with https://")
	}
	return cert, key
}

func (s *Settings) adminTLSFiles() (cert, key string) {
	cert, key, certFrom := s.certificate("admin-tls-cert", "admin-tls-key")
	if cert == "" {
		return "", ""
	}
	if address, _ := s.get("admin-listen"); !onNetwork(address) {
		s.fault(certFrom.name, "is of no use: the admin listener is "+address+", which only this machine reaches", "leave it out, or listen on an address of the network with --admin-listen")
	}
	return cert, key
}

// certificate reads the two settings of a certificate and checks that the pair can be
// used. Both are "" when neither is given.
func (s *Settings) certificate(certName, keyName string) (cert, key string, certFrom source) {
	cert, certFrom = s.get(certName)
	key, keyFrom := s.get(keyName)
	switch {
	case cert == "" && key == "":
		return "", "", certFrom
	case key == "":
		s.fault(certFrom.name, "is given without its key", "give --"+keyName+" too")
		return cert, key, certFrom
	case cert == "":
		s.fault(keyFrom.name, "is given without its certificate", "give --"+certName+" too")
		return cert, key, certFrom
	}
	if fault := checkSecretMode(key); fault != nil {
		s.fault(keyFrom.name, fault.Problem, fault.Mend)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		s.fault(certFrom.name, "and its key cannot be used: "+err.Error(), "give a PEM certificate chain and its own key")
	}
	return cert, key, certFrom
}

// adminSocketMode is who may use the unix socket: never everybody on the machine.
func (s *Settings) adminSocketMode() fs.FileMode {
	given, from := s.get("admin-socket-mode")
	switch given {
	case "0600", "600":
		return 0o600
	case "0660", "660":
		return 0o660
	}
	s.fault(from.name, "is "+strconv.Quote(given), "choose 0600, this user only, or 0660, the socket's group too")
	return 0
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
			"listen on 127.0.0.1 or unix:PATH, or give --admin-tls-cert and --admin-tls-key")
	}
	if public, _ := s.get("listen"); address == public && !strings.HasSuffix(address, ":0") {
		s.fault(from.name, "is "+address+", the same as --listen", "give the admin API a port of its own, or unix:PATH")
	}
	return address
}

// onNetwork reports whether other machines can reach an address to listen on.
func onNetwork(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && !strings.HasPrefix(address, unixScheme) && !isLoopback(host)
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
		s.keyFile(k.name, *k.file)
	}
}

// keyFile reads a key that stands beside the SQLite file, if it does.
func (s *Settings) keyFile(name, file string) {
	v := value{from: source{"key file", file}, secretFile: file}
	if !absent(file) {
		text, fault := readSecretFile(file)
		if fault != nil {
			s.fault(file, fault.Problem, fault.Mend)
		}
		v.given = []string{text}
	}
	s.values[name] = s.split(setting{name: name, list: true}, v)
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

// outboundRoots adds the operator's authorities to the system's.
func (s *Settings) outboundRoots() *x509.CertPool {
	path, from := s.get("outbound-ca")
	if path == "" {
		return nil
	}
	bundle, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		s.fault(from.name, "cannot be read: "+err.Error(), "name a PEM file of certificates")
		return nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a machine without any
	}
	if !roots.AppendCertsFromPEM(bundle) {
		s.fault(from.name, "has no certificate in "+strconv.Quote(path), "name a PEM file of certificates, of authorities and not of hosts")
	}
	return roots
}

// outboundProxy reads the egress proxy. It is given names, so a network in
// --outbound-allow, to which any name may lead, would open nothing.
func (s *Settings) outboundProxy(allowed []outbound.Allowed) *url.URL {
	raw, from := s.get("outbound-proxy")
	if raw == "" {
		return nil
	}
	proxy, err := outbound.ParseProxy(raw)
	if err != nil {
		s.fault(from.name, "is no proxy's URL", err.Error())
		return nil
	}
	for _, one := range allowed {
		if !one.Destination() {
			s.fault(s.values["outbound-allow"].from.name, "has "+strconv.Quote(one.String())+", but --outbound-proxy decides which addresses are reached",
				"name what grantd must reach without the proxy as host:port, and let the proxy allow the rest")
		}
	}
	for _, own := range []string{"listen", "admin-listen"} {
		if address, _ := s.get(own); address == proxy.Host {
			s.fault(from.name, "is grantd's own --"+own, "name the egress proxy")
		}
	}
	return proxy
}

// mail reads the mail server and the sender's address, which need each other.
func (s *Settings) mail() *mail.Sender {
	server, serverFrom := s.get("smtp-url")
	from, fromFrom := s.get("mail-from")
	switch {
	case server == "" && from == "":
		return nil
	case server == "":
		s.fault(fromFrom.name, "is given without a mail server", "give --smtp-url-file too")
		return nil
	case from == "":
		s.fault(serverFrom.name, "is given without the address that mail comes from", "give --mail-from too, as grantd@example.com")
		return nil
	}
	sender, err := mail.New(server, from, time.Now)
	if errors.Is(err, mail.ErrFrom) {
		s.fault(fromFrom.name, err.Error(), "write an address of a domain that the mail server sends for")
	} else if err != nil {
		s.fault(serverFrom.name, err.Error(), "write it as smtp://USER:PASSWORD@mail.example.com:587, and keep it in a file named by --smtp-url-file")
	}
	return sender
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

// minKeyRotation leaves the next key time to be published, and some to sign.
const minKeyRotation = time.Hour

// keyRotation reads a duration that may also be in days.
func (s *Settings) keyRotation() time.Duration {
	given, from := s.get("key-rotation")
	every, err := parseDays(given)
	switch {
	case err != nil || every < 0:
		s.fault(from.name, "is "+strconv.Quote(given)+", which is no time", "write it as 90d or 36h, or 0 for never")
	case every > 0 && every < minKeyRotation:
		s.fault(from.name, "is "+given+": no key would have the time to become known", "give 1h or more, or 0 for never")
	}
	return every
}

// minAuditRetention keeps what happened last for long enough to be looked at.
const minAuditRetention = 24 * time.Hour

// auditRetention reads a duration that may also be in days.
func (s *Settings) auditRetention() time.Duration {
	given, from := s.get("audit-retention")
	kept, err := parseDays(given)
	switch {
	case err != nil || kept < 0:
		s.fault(from.name, "is "+strconv.Quote(given)+", which is no time", "write it as 400d, or 0 for ever")
	case kept > 0 && kept < minAuditRetention:
		s.fault(from.name, "is "+given+": nobody could look at what happened", "give 1d or more, or 0 for ever")
	}
	return kept
}

// parseDays is time.ParseDuration that also takes days, as 90d.
func parseDays(text string) (time.Duration, error) {
	if number, ok := strings.CutSuffix(text, "d"); ok {
		days, err := strconv.ParseUint(number, 10, 15)
		return time.Duration(days) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
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

func (s *Settings) otlpEndpoint() *url.URL {
	raw, from := s.get("otlp-endpoint")
	if raw == "" {
		return nil
	}
	endpoint, err := url.Parse(raw)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.User != nil || endpoint.RawQuery != "" || endpoint.Fragment != "" {
		s.fault(from.name, "is not the URL of a collector", "write http://HOST:4318 or https://HOST, without /v1/traces")
		return nil
	}
	return endpoint
}
