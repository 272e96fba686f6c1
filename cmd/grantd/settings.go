package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
)

// setting is one line of the table below. From its name follow the flag
// (--some-name), the environment variable (GRANTD_SOME_NAME), the key in the
// --config file (some-name) and, for a secret, the same three with -file.
type setting struct {
	name     string
	usage    string
	fallback string // the default; "" where it depends on other settings
	secret   bool   // never printed; may be read from a file
	list     bool   // several values: repeated, or separated by commas
	bare     string // what the flag means without a value; "": it needs one
	calling  bool   // only for the commands that call the admin API: serve has no flag for it
}

// settings is every setting of grantd. Nothing else reads a flag, the
// environment or a configuration file.
var settings = []setting{
	{
		name: "issuer", fallback: "http://127.0.0.1:8080",
		usage: "the server's public URL; https unless its host is loopback; may have a path",
	},
	{name: "listen", fallback: "127.0.0.1:8080", usage: "address of the public listener"},
	{
		name: "admin-listen", fallback: "127.0.0.1:8081",
		usage: "address of the admin API's listener, or unix:PATH",
	},
	{
		name: "database-url", fallback: "sqlite:grantd.db", secret: true,
		usage: "sqlite:PATH or postgres://USER@HOST/DATABASE",
	},
	{
		name: "admin-key", secret: true, list: true,
		usage: "bearer key of the admin API, 32 characters or more, several for rotation (default: made beside the SQLite file; with Postgres none, and no admin API)",
	},
	{
		name: "trusted-proxies", list: true,
		usage: "networks (CIDR) whose X-Forwarded-For is believed, for limits and audit only",
	},
	{name: "tls-cert", usage: "certificate chain (PEM file), to serve https without a proxy"},
	{name: "tls-key", usage: "private key of --tls-cert (PEM file)"},
	{name: "admin-tls-cert", usage: "certificate chain (PEM file) of an admin listener on the network (default: --tls-cert)"},
	{name: "admin-tls-key", usage: "private key of --admin-tls-cert (PEM file)"},
	{name: "admin-socket-mode", fallback: "0600", usage: "who may use the admin API's unix socket: 0600, this user, or 0660, its group too"},
	{
		name: "signing-alg", fallback: "ES256",
		usage: "algorithm that signs access tokens: ES256, EdDSA, RS256 or PS256",
	},
	{
		name: "key-rotation", fallback: "90d",
		usage: "how long a signing key signs, as 90d or 36h; 0: until \"grantd key rotate\"",
	},
	{
		name: "audit-retention", fallback: "0",
		usage: "how long audit events are kept, as 400d; 0: for ever. The audit chain stays whole without them",
	},
	{
		name: "root-key", secret: true, list: true,
		usage: "32 bytes in base64 that all other keys derive from; several for rotation, the first signs (default: made beside the SQLite file; required with Postgres)",
	},
	{
		name: "outbound-allow", list: true,
		usage: "internal addresses (CIDR, or host:port) that grantd may fetch documents from",
	},
	{
		name:  "outbound-ca",
		usage: "PEM file of further authorities that the hosts of those documents may have their certificates from",
	},
	{
		name:  "outbound-proxy",
		usage: "egress proxy (http://HOST:PORT) for fetching those documents; which addresses may be reached is then its to judge",
	},
	{
		name: "smtp-url", secret: true,
		usage: "mail server for invitations, resets and notices: smtp://USER:PASSWORD@HOST:PORT with STARTTLS, or smtps:// (default: none, links are only shown)",
	},
	{name: "mail-from", usage: "address that mail comes from; needed with --smtp-url"},
	{name: "language", usage: "language of mails, and of pages where the browser states none that is there: en, de, fr, es, ja or zh-Hans (default: en)"},
	{name: "brand-name", usage: "the organisation's name on the pages (default: grantd)"},
	{name: "brand-logo", usage: "its logo on the pages, an SVG or PNG file"},
	{name: "brand-color", usage: "its colour, as #1a5fb4; shades that can be read are made of it"},
	{name: "templates", usage: "folder of pages in the place of the built-in ones, see docs/looks.md"},
	{
		name: "migrate", bare: "on",
		usage: "bring the database schema up to date at start: on or off (default: on for SQLite, off for Postgres)",
	},
	{
		name:  "otlp-endpoint",
		usage: "OpenTelemetry collector to send traces to, by OTLP over HTTP, as http://127.0.0.1:4318",
	},
	{name: "log-level", fallback: "info", usage: "debug, info, warn or error"},
	{
		name: "admin-url", calling: true,
		usage: "where the admin API is: http://127.0.0.1:8081, https://HOST or unix:PATH (default: as --admin-listen says)",
	},
}

const (
	envPrefix = "GRANTD_"
	// configSetting names the file of settings; it cannot itself stand in there.
	configSetting = "config"
	fileSuffix    = "-file"
)

// source says where a value came from, in the operator's own words.
type source struct {
	kind string // "flag", "environment", "file", "default" or "key file"
	name string // "--listen", "GRANTD_LISTEN", "grantd.yaml:3 listen", a path
}

func (s source) String() string {
	switch s.kind {
	case "default":
		return s.kind
	case "key file":
		return s.kind + " " + s.name
	}
	return s.name
}

// value is what a setting is, and why.
type value struct {
	given []string // one, or several for a list
	from  source
	// secretFile is the file that a secret was read from, "" if none.
	secretFile string
}

// Fault is one thing that is wrong with the settings, and how to mend it. It
// never holds a secret.
type Fault struct {
	Where   string `json:"where"` // as the operator wrote it: --listen, GRANTD_LISTEN, ...
	Problem string `json:"problem"`
	Mend    string `json:"mend"`
}

// Faults is everything that is wrong, so that it can be mended in one go.
type Faults []Fault

func (f Faults) Error() string {
	var b strings.Builder
	if len(f) == 1 {
		b.WriteString("a setting is wrong:")
	} else {
		fmt.Fprintf(&b, "%d settings are wrong:", len(f))
	}
	for _, fault := range f {
		fmt.Fprintf(&b, "\n  %s %s\n    mend: %s", fault.Where, fault.Problem, fault.Mend)
	}
	return b.String()
}

// Settings holds the value of every setting. What is wrong with them is
// collected, not returned at the first fault.
type Settings struct {
	values map[string]value
	faults Faults
}

// addSettings gives a command the flags of the named settings, and --config.
// With no names it gives all of the server's. Settings that a command has no flag for
// still come from the environment and the file, so that one configuration
// serves every command.
func addSettings(flags *pflag.FlagSet, names ...string) {
	flags.String(configSetting, "", "YAML file of settings; its keys are the flags' names")
	wanted := func(s setting) bool {
		for _, n := range names {
			if n == s.name {
				return true
			}
		}
		return len(names) == 0 && !s.calling
	}
	for _, s := range settings {
		if !wanted(s) {
			continue
		}
		flag := flags.VarPF(&rawFlag{list: s.list}, s.name, "", s.usage)
		flag.DefValue = s.fallback
		flag.NoOptDefVal = s.bare
		if s.secret {
			flag.Usage += " (other users can see flags: better --" + s.name + fileSuffix + ")"
			flags.VarPF(&rawFlag{}, s.name+fileSuffix, "", "file to read --"+s.name+" from")
		}
	}
}

// loadSettings looks for each setting in the flags, else in the environment,
// else in the --config file, else takes the default.
func loadSettings(flags *pflag.FlagSet, environ []string) *Settings {
	s := &Settings{values: make(map[string]value)}
	env := s.environment(environ)

	places := []map[string]value{changedFlags(flags), env}
	if path, from := configPath(flags, env); path != "" {
		places = append(places, s.readConfigFile(path, from))
	}
	for _, def := range settings {
		s.values[def.name] = s.lookup(def, places)
	}
	return s
}

// lookup finds a setting in the first place that has it, there directly or, for
// a secret, as the name of a file.
func (s *Settings) lookup(def setting, places []map[string]value) value {
	for _, place := range places {
		direct, isDirect := place[def.name]
		file, isFile := place[def.name+fileSuffix]
		switch {
		case isDirect && isFile:
			s.fault(file.from.name, "is given and so is "+direct.from.name, "keep one of the two")
			return direct
		case isDirect:
			return s.split(def, direct)
		case isFile:
			content, fault := readSecretFile(file.given[0])
			if fault != nil {
				s.fault(file.from.name, fault.Problem, fault.Mend)
			}
			return s.split(def, value{given: []string{content}, from: file.from, secretFile: file.given[0]})
		}
	}
	v := value{from: source{kind: "default", name: "--" + def.name}}
	if def.fallback != "" {
		v.given = []string{def.fallback}
	}
	return v
}

// split takes the values of a list apart; a file may also have one per line.
func (s *Settings) split(def setting, v value) value {
	if !def.list {
		if len(v.given) != 1 {
			s.fault(v.from.name, "has several values", "give one")
			v.given = v.given[:min(1, len(v.given))]
		}
		return v
	}
	var parts []string
	for _, given := range v.given {
		for part := range strings.FieldsFuncSeq(given, func(r rune) bool { return r == ',' || r == '\n' }) {
			if part = strings.TrimSpace(part); part != "" {
				parts = append(parts, part)
			}
		}
	}
	v.given = parts
	return v
}

// get returns a setting that has one value, "" when it is not given.
func (s *Settings) get(name string) (string, source) {
	v := s.values[name]
	if len(v.given) == 0 {
		return "", v.from
	}
	return v.given[0], v.from
}

// isDefault reports whether nobody has given the setting.
func (s *Settings) isDefault(name string) bool { return s.values[name].from.kind == "default" }

func (s *Settings) fault(where, problem, mend string) {
	s.faults = append(s.faults, Fault{Where: where, Problem: problem, Mend: mend})
}

func changedFlags(flags *pflag.FlagSet) map[string]value {
	place := make(map[string]value)
	flags.Visit(func(f *pflag.Flag) {
		if raw, ok := f.Value.(*rawFlag); ok {
			place[f.Name] = value{given: raw.given, from: source{"flag", "--" + f.Name}}
		}
	})
	return place
}

// environment takes the settings out of the environment. An empty variable
// counts as absent, which is what container tools make of a missing one.
func (s *Settings) environment(environ []string) map[string]value {
	place := make(map[string]value)
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, envPrefix)
		if !ours || strings.HasPrefix(rest, "TEST_") || isServiceLink(rest, text) {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		// The spelling back must agree, or Grantd_listen and GRANTD_LISTEN would both count.
		if !isSettingName(key) && key != configSetting || envName(key) != name {
			s.fault(name, "is not a setting", didYouMean(key, envName))
			continue
		}
		if text != "" {
			place[key] = value{given: []string{text}, from: source{"environment", name}}
		}
	}
	return place
}

// serviceLink matches the variables that Kubernetes sets in every pod beside a
// Service named "grantd". They are nobody's settings.
var serviceLink = regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

func isServiceLink(rest, text string) bool {
	return serviceLink.MatchString(rest) || rest == "PORT" && strings.Contains(text, "://")
}

func configPath(flags *pflag.FlagSet, env map[string]value) (string, source) {
	if f := flags.Lookup(configSetting); f != nil && f.Changed {
		return f.Value.String(), source{"flag", "--" + configSetting}
	}
	if v, ok := env[configSetting]; ok {
		return v.given[0], v.from
	}
	return "", source{}
}

// isSettingName reports whether name is a setting, or the -file form of a secret.
func isSettingName(name string) bool {
	for _, s := range settings {
		if name == s.name || s.secret && name == s.name+fileSuffix {
			return true
		}
	}
	return false
}

func envName(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// rawFlag keeps what was written; it is checked with all other settings, so
// that every fault is reported at once.
type rawFlag struct {
	list  bool
	given []string
}

// Set keeps the last value, or every value of a list.
func (f *rawFlag) Set(text string) error {
	if !f.list {
		f.given = nil
	}
	f.given = append(f.given, text)
	return nil
}

// String is empty: pflag prints it in help texts, and the value may be secret.
func (f *rawFlag) String() string { return "" }

// Type is how help texts call the value.
func (f *rawFlag) Type() string {
	if f.list {
		return "list"
	}
	return "string"
}

// separateMigrateValue lets "--migrate", "--migrate=off" and "--migrate off" all
// mean what they say: a flag that may stand alone takes no separate value in
// pflag.
func separateMigrateValue(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--migrate" && i+1 < len(args) && (args[i+1] == "on" || args[i+1] == "off") {
			out = append(out, "--migrate="+args[i+1])
			i++
			continue
		}
		out = append(out, args[i])
	}
	return out
}
