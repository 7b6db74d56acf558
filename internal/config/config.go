// Package config holds the settings of kagimori serve.
//
// One table names every setting with its default, its meaning and what it
// allows; flags, the configuration file, help and the printed configuration
// come from it. A setting's value is the first found of: flag, file, default.
// The three environment variables for the first account are read here too.
//
// The package only reads and checks. It opens nothing but the configuration
// file and knows nothing of what the settings are used for.
package config

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/cli"
)

// Config is the settings, each described where the table names it.
type Config struct {
	Data               string
	RootKeyFile        string
	PassphraseFile     string
	Listen             string
	AdminListen        string
	TLSCert            string
	TLSKey             string
	TLSAuto            bool
	InsecureHTTP       bool
	MaxConnections     int
	ReadHeaderTimeout  time.Duration
	BodyTimeout        time.Duration
	IdleTimeout        time.Duration
	DrainTimeout       time.Duration
	JournalSegmentSize int64 // bytes
	LogFormat          string
	RequestQuotas      bool
	MaxKeys            int
	MaxAliases         int
	MaxGrants          int
	MaxCustomKeyStores int
	AttestationRoots   string
	Buckets            string
	BucketCredentials  string
	EventTargets       string

	// The first account's id and root credentials, from the environment only.
	// Each is empty when it is to be made at random.
	AccountID       string
	AccessKeyID     string
	SecretAccessKey Secret
}

// Limits of the settings that have a range.
const (
	maxConnections = 1_000_000
	maxQuota       = 10_000_000
	minTimeout     = time.Millisecond
	maxTimeout     = 24 * time.Hour
	minSegment     = 2 << 20
	maxSegment     = 1 << 30
)

// settings is the table. The back-quoted word of a description names the value
// in help and tells the shell how to complete it.
var settings = []setting{
	{"data", "./kagimori-data",
		"`DIR` that holds everything: keys, records, credentials",
		func(c *Config) value { return &path{&c.Data, required} }},
	{"root-key-file", "",
		"key `FILE` that opens the root key, when it is not in the data folder",
		func(c *Config) value { return &path{&c.RootKeyFile, optional} }},
	{"passphrase-file", "",
		"`FILE` with a passphrase that opens the root key, instead of a key file",
		func(c *Config) value { return &path{&c.PassphraseFile, optional} }},
	{"listen", "127.0.0.1:4599",
		"`HOST:PORT` to serve the API on; other than loopback only with TLS",
		func(c *Config) value { return &address{&c.Listen, required} }},
	{"admin-listen", "",
		"`HOST:PORT` to serve health and metrics on, in plain HTTP, instead of beside the API",
		func(c *Config) value { return &address{&c.AdminListen, optional} }},
	{"tls-cert", "",
		"`FILE` with the server's certificate chain in PEM; read again when it changes",
		func(c *Config) value { return &path{&c.TLSCert, optional} }},
	{"tls-key", "",
		"`FILE` with the key of the certificate in PEM",
		func(c *Config) value { return &path{&c.TLSKey, optional} }},
	{"tls-auto", "false",
		"make and renew a certificate from a local CA, whose ca.pem in the data folder is for clients",
		func(c *Config) value { return (*toggle)(&c.TLSAuto) }},
	{"insecure-http", "false",
		"serve plain HTTP on any address, because something else protects the traffic",
		func(c *Config) value { return (*toggle)(&c.InsecureHTTP) }},
	{"max-connections", "20000",
		"most connections held at a time, a `NUMBER`; further ones wait",
		func(c *Config) value { return &number{&c.MaxConnections, 1, maxConnections} }},
	{"read-header-timeout", "5s",
		"`DURATION` within which a request's header must arrive",
		func(c *Config) value { return (*timeout)(&c.ReadHeaderTimeout) }},
	{"body-timeout", "15s",
		"`DURATION` within which a request's body must arrive",
		func(c *Config) value { return (*timeout)(&c.BodyTimeout) }},
	{"idle-timeout", "2m",
		"`DURATION` after which a connection without requests is closed",
		func(c *Config) value { return (*timeout)(&c.IdleTimeout) }},
	{"drain-timeout", "20s",
		"`DURATION` that calls in flight get to finish when the server stops",
		func(c *Config) value { return (*timeout)(&c.DrainTimeout) }},
	{"journal-segment-size", "64MiB",
		"`SIZE` at which the audit journal starts a new segment",
		func(c *Config) value { return &size{&c.JournalSegmentSize, minSegment, maxSegment} }},
	{"request-quotas", "false",
		"limit how often an account may call, by AWS's request quotas",
		func(c *Config) value { return (*toggle)(&c.RequestQuotas) }},
	{"max-keys", "100000",
		"most keys of an account in a Region, a `NUMBER`",
		func(c *Config) value { return &number{&c.MaxKeys, 1, maxQuota} }},
	{"max-aliases", "50",
		"most aliases of a key, a `NUMBER`",
		func(c *Config) value { return &number{&c.MaxAliases, 1, maxQuota} }},
	{"max-grants", "50000",
		"most grants of a key, a `NUMBER`",
		func(c *Config) value { return &number{&c.MaxGrants, 1, maxQuota} }},
	{"max-custom-key-stores", "10",
		"most custom key stores of an account in a Region, a `NUMBER`",
		func(c *Config) value { return &number{&c.MaxCustomKeyStores, 1, maxQuota} }},
	{"attestation-roots", "",
		"`FILE` with the root certificates, in PEM, of the attestation documents that callers may present",
		func(c *Config) value { return &path{&c.AttestationRoots, optional} }},
	{"buckets", "",
		"where trails deliver to, a `DIR|URL`: a directory that holds one for each bucket, or a server that speaks the S3 API",
		func(c *Config) value { return &path{&c.Buckets, optional} }},
	{"bucket-credentials", "",
		"`FILE` with the credentials for that server, in AWS's format; else they are found as AWS's SDKs find them",
		func(c *Config) value { return &path{&c.BucketCredentials, optional} }},
	{"event-targets", "",
		"`FILE` with the webhooks and commands that rules of EventBridge can have as targets, in JSON",
		func(c *Config) value { return &path{&c.EventTargets, optional} }},
	{"log-format", "text",
		"write the server's log as `text|json`",
		func(c *Config) value { return &choice{&c.LogFormat, []string{"text", "json"}} }},
}

// setting is one row of the table.
type setting struct {
	name     string // of the flag and in the file
	standard string // default, as it would be written
	doc      string
	in       func(*Config) value // where a Config holds it
}

func lookup(name string) *setting {
	for i := range settings {
		if settings[i].name == name {
			return &settings[i]
		}
	}
	return nil
}

func names() []string {
	var list []string
	for _, s := range settings {
		list = append(list, s.name)
	}
	return list
}

// Default is the settings when nothing is set.
func Default() *Config {
	c := new(Config)
	for _, s := range settings {
		if s.standard == "" {
			continue
		}
		if err := s.in(c).Set(s.standard); err != nil {
			panic("config: default of " + s.name + ": " + err.Error())
		}
	}
	return c
}

// Flags reads the settings from a command line. The zero value is ready.
type Flags struct {
	// PrintConfig is set when the settings are to be printed, by Config.TOML,
	// instead of being used.
	PrintConfig bool

	file  string
	serve bool
	given []given
}

// given is one flag as it was given.
type given struct {
	setting *setting
	value   string
}

// Register adds a flag for each of the named settings, for all of them when
// none is named, and the flag for the configuration file. It panics on a name
// that is not in the table.
func (f *Flags) Register(fs *flag.FlagSet, only ...string) {
	f.serve = len(only) == 0
	if f.serve {
		only = names()
		fs.BoolVar(&f.PrintConfig, "print-config", false, "print the settings as a file for --config, and do not serve")
	}
	fs.StringVar(&f.file, "config", "", "`FILE` with settings, in TOML, by the names of the flags")
	defaults := Default()
	for _, name := range only {
		s := lookup(name)
		fs.Var(&flagValue{s, s.in(defaults), f}, name, s.doc)
	}
}

// flagValue keeps what a flag was given until Load, since the file, which comes
// before it, is read only then.
type flagValue struct {
	setting *setting
	value   // of a Config that is thrown away: checks and shows the default
	flags   *Flags
}

func (v *flagValue) Set(s string) error {
	if err := v.value.Set(s); err != nil {
		return err
	}
	v.flags.given = append(v.flags.given, given{v.setting, s})
	return nil
}

// String also serves the zero value, as package flag wants it.
func (v *flagValue) String() string {
	if v.value == nil {
		return ""
	}
	return v.value.String()
}

func (v *flagValue) IsBoolFlag() bool {
	_, ok := v.value.(*toggle)
	return ok
}

// Load gives the settings: defaults, then the configuration file, then flags.
// When all flags were registered, for the serve command, it also reads the
// environment and checks that the settings fit together. Its errors say what to
// change and exit with cli.StatusUsage.
func (f *Flags) Load(getenv func(string) string) (*Config, error) {
	c := Default()
	if f.file != "" {
		data, err := readFile(f.file)
		if err != nil {
			return nil, cli.Usage(err)
		}
		if err := parse(c, f.file, data); err != nil {
			return nil, cli.Usage(err)
		}
	}
	for _, g := range f.given {
		if err := g.setting.in(c).Set(g.value); err != nil {
			return nil, cli.Usage(err)
		}
	}
	if !f.serve {
		return c, nil
	}
	if err := c.readEnvironment(getenv); err != nil {
		return nil, cli.Usage(err)
	}
	if err := c.check(); err != nil {
		return nil, cli.Usage(err)
	}
	return c, nil
}

// TLS tells whether the API is served with TLS.
func (c *Config) TLS() bool { return c.TLSAuto || c.TLSCert != "" }

// Host is the host part of Listen; empty for all addresses.
func (c *Config) Host() string {
	host, _, _ := net.SplitHostPort(c.Listen) // checked when it was set
	return host
}

// check refuses settings that contradict each other or that would send
// credentials and plaintexts over a network in the clear.
func (c *Config) check() error {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return fmt.Errorf("tls-cert and tls-key belong together: give both or neither")
	case c.TLSAuto && c.TLSCert != "":
		return fmt.Errorf("tls-auto makes its own certificate: give either it or tls-cert and tls-key")
	case c.InsecureHTTP && c.TLS():
		return fmt.Errorf("insecure-http contradicts the TLS settings: drop it, or drop them")
	case !c.TLS() && !c.InsecureHTTP && !loopback(c.Host()):
		return fmt.Errorf("listen is %s, which is not loopback, and plain HTTP there would show plaintext keys and data to the network;\n"+
			"  either use TLS:  --tls-auto, or --tls-cert FILE --tls-key FILE\n"+
			"  or, if you know that something else protects the traffic:  --insecure-http", c.Listen)
	case c.AdminListen == c.Listen && !strings.HasSuffix(c.Listen, ":0"):
		return fmt.Errorf("admin-listen is the same address as listen: leave it out to have health and metrics there")
	}
	return nil
}

// loopback tells whether a host of a listen address is reachable from this
// machine only. No name but localhost (RFC 6761) is looked up for that.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
