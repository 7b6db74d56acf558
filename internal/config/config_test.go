package config_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/config"
)

// load reads settings as the serve command does, in a folder with the file
// kagimori.toml, and gives what the program prints on standard error.
func load(t *testing.T, file string, environ map[string]string, args ...string) (c *config.Config, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if file != "" {
		if err := os.WriteFile("kagimori.toml", []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", "kagimori.toml"}, args...)
	}
	var flags config.Flags
	return runWith(t, &flags, func(fs *flag.FlagSet) { flags.Register(fs) }, environ, args)
}

func runWith(t *testing.T, flags *config.Flags, register func(*flag.FlagSet), environ map[string]string, args []string) (c *config.Config, stderr string) {
	t.Helper()
	var out strings.Builder
	env := &cli.Env{Stdout: io.Discard, Stderr: &out, Getenv: func(name string) string { return environ[name] }}
	status := cli.Main(t.Context(), &cli.Command{Name: "kagimori", Commands: []*cli.Command{{
		Name:  "serve",
		Flags: register,
		Run: func(_ context.Context, env *cli.Env, _ []string) (err error) {
			c, err = flags.Load(env.Getenv)
			return err
		},
	}}}, env, append([]string{"serve"}, args...))
	if (status == cli.StatusOK) != (out.Len() == 0) || status == cli.StatusFailure {
		t.Errorf("exit status %d with %q", status, &out)
	}
	return c, strings.TrimSuffix(out.String(), "Run \"kagimori help serve\" for usage.\n")
}

func TestDefaults(t *testing.T) {
	c, stderr := load(t, "", nil)
	if stderr != "" {
		t.Fatal(stderr)
	}
	want := config.Config{
		Data: "./kagimori-data", Listen: "127.0.0.1:4599", MaxConnections: 20000,
		ReadHeaderTimeout: 5 * time.Second, BodyTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute,
		DrainTimeout: 20 * time.Second, JournalSegmentSize: 64 << 20, LogFormat: "text",
		MaxKeys: 100_000, MaxAliases: 50, MaxGrants: 50_000, MaxCustomKeyStores: 10,
	}
	if *c != want {
		t.Errorf("got %+v, want %+v", *c, want)
	}
}

func TestFlagsGoBeforeFile(t *testing.T) {
	const file = `
		data = "/srv/keys"           # a comment
		listen = "[::1]:1"
		admin-listen = ":9090"
		tls-auto = true
		max-connections = 7
		idle-timeout = "1h30m"
		journal-segment-size = "16MiB"
		log-format = "json"`
	c, stderr := load(t, file, nil,
		"--listen=kms.example.com:443", "--max-connections", "8", "--journal-segment-size=2097152", "--admin-listen=")
	if stderr != "" {
		t.Fatal(stderr)
	}
	want := *config.Default()
	want.Data, want.Listen, want.TLSAuto, want.MaxConnections = "/srv/keys", "kms.example.com:443", true, 8
	want.IdleTimeout, want.JournalSegmentSize, want.LogFormat = 90*time.Minute, 2<<20, "json"
	if *c != want {
		t.Errorf("got %+v, want %+v", *c, want)
	}
	if c.Host() != "kms.example.com" || !c.TLS() {
		t.Errorf("host %q, TLS %t", c.Host(), c.TLS())
	}
	if c, stderr := load(t, "tls-auto = true", nil, "--tls-auto=false"); stderr != "" || c.TLSAuto {
		t.Errorf("a flag could not take back the file's tls-auto: %s", stderr)
	}
}

func TestMistakesInFile(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{"data = 'x'\n\nlisen = '127.0.0.1:1'", `unknown setting "lisen" in kagimori.toml line 3; did you mean "listen"?`},
		{"frobnicate = 1\nlisen = 2", `unknown setting "frobnicate" in kagimori.toml line 1; did you mean `},
		{"[tls]\ncert = 'x'", `unknown setting "tls" in kagimori.toml line 1; did you mean "tls-cert"?`},
		{"\ntls.cert = 'x'", `unknown setting "tls" in kagimori.toml; did you mean "tls-cert"?`},
		{"config = 'other.toml'", `kagimori.toml line 1: config is a flag only; a file cannot name another one`},
		{"\n\ndata = /srv", `kagimori.toml line 3: expected value but found '/' instead`},
		{"data = 'a'\ndata = 'b'", `kagimori.toml line 2: Key 'data' has already been defined.`},
		{"data = ''", `kagimori.toml line 1: data must be a path, not ""`},
		{"data = true", `kagimori.toml line 1: data must be a path, not true`},
		{"listen = 4599", `kagimori.toml line 1: listen must be HOST:PORT, such as "127.0.0.1:4599", not the number 4599`},
		{"listen = 'localhost'", `kagimori.toml line 1: listen must be HOST:PORT, such as "127.0.0.1:4599", not "localhost"`},
		{"listen = 'localhost:65536'", `listen must be HOST:PORT`},
		{"listen = 'http://localhost:80'", `listen must be HOST:PORT`},
		{"listen = ['a:1']", `kagimori.toml line 1: listen must be HOST:PORT, such as "127.0.0.1:4599", not an array`},
		{"[listen]\nhost = 'a'", `kagimori.toml line 1: listen must be HOST:PORT, such as "127.0.0.1:4599", not a table`},
		{"tls-auto = 'true'", `kagimori.toml line 1: tls-auto must be true or false without quotes, not "true"`},
		{"tls-auto = 1", `kagimori.toml line 1: tls-auto must be true or false, not the number 1`},
		{"max-connections = 0", `kagimori.toml line 1: max-connections must be a whole number from 1 to 1000000, not "0"`},
		{"max-connections = '5'", `max-connections must be a whole number from 1 to 1000000 without quotes, not "5"`},
		{"max-connections = 5.5", `max-connections must be a whole number from 1 to 1000000, not 5.5`},
		{"body-timeout = 15", `body-timeout must be a duration from 1ms to 24h, such as "15s" or "2m", not the number 15`},
		{"body-timeout = '0s'", `body-timeout must be a duration from 1ms to 24h, such as "15s" or "2m", not "0s"`},
		{"body-timeout = '25h'", `body-timeout must be a duration`},
		{"journal-segment-size = '64MB'", `journal-segment-size must be a size from 2MiB to 1GiB, such as "64MiB", not "64MB"`},
		{"journal-segment-size = '9223372036854775807GiB'", `journal-segment-size must be a size`},
		{"journal-segment-size = 1024", `journal-segment-size must be a size from 2MiB to 1GiB, such as "64MiB", not "1024"`},
		{"log-format = 'xml'", `kagimori.toml line 1: log-format must be "text" or "json", not "xml"`},
		{"log-format = 2026-01-02", `kagimori.toml line 1: log-format must be "text" or "json", not `},
		{strings.Repeat("#", 1<<20+1), `configuration file kagimori.toml is larger than 1 MiB`},
	} {
		_, stderr := load(t, test.file, nil)
		if !strings.HasPrefix(stderr, "kagimori: ") || !strings.Contains(stderr, test.want) {
			t.Errorf("%.60q: got %q, want %q", test.file, stderr, test.want)
		}
	}
	_, stderr := load(t, "", nil, "--config", "none.toml")
	if !strings.Contains(stderr, "none.toml") {
		t.Errorf("a file that is not there: %q", stderr)
	}
}

func TestMistakesInFlags(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--lisen :1", `unknown flag --lisen; did you mean --listen?`},
		{"--listen 4599", `--listen: must be HOST:PORT, such as "127.0.0.1:4599", not "4599"`},
		{"--tls-auto=yes", `--tls-auto: must be true or false, not "yes"`},
		{"--max-connections many", `--max-connections: must be a whole number from 1 to 1000000, not "many"`},
		{"--tls-cert c.pem", `tls-cert and tls-key belong together`},
		{"--tls-key k.pem", `tls-cert and tls-key belong together`},
		{"--tls-auto --tls-cert c.pem --tls-key k.pem", `tls-auto makes its own certificate`},
		{"--tls-auto --insecure-http", `insecure-http contradicts the TLS settings`},
		{"--insecure-http --tls-cert c.pem --tls-key k.pem", `insecure-http contradicts the TLS settings`},
		{"--admin-listen 127.0.0.1:4599", `admin-listen is the same address as listen`},
	} {
		if _, stderr := load(t, "", nil, strings.Fields(test.args)...); !strings.Contains(stderr, test.want) {
			t.Errorf("%s: got %q, want %q", test.args, stderr, test.want)
		}
	}
}

func TestPlainHTTPOnlyOnLoopback(t *testing.T) {
	for listen, loopback := range map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "LocalHost:1": true, "[::ffff:127.0.0.1]:1": true,
		":4599": false, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false, "[fe80::1%eth0]:1": false,
		"kms.example.com:1": false, "localhost.example.com:1": false, "127.0.0.1.example.com:1": false, "[::ffff:0.0.0.0]:1": false,
	} {
		_, stderr := load(t, "", nil, "--listen", listen)
		if loopback != (stderr == "") {
			t.Errorf("%s: %q", listen, stderr)
		}
		if !loopback && !(strings.Contains(stderr, listen) && strings.Contains(stderr, "--tls-auto") &&
			strings.Contains(stderr, "--tls-cert FILE --tls-key FILE") && strings.Contains(stderr, "--insecure-http")) {
			t.Errorf("%s: the ways out are not named: %s", listen, stderr)
		}
		for _, way := range []string{"--tls-auto", "--tls-cert=c --tls-key=k", "--insecure-http"} {
			if _, stderr := load(t, "", nil, append(strings.Fields(way), "--listen", listen)...); stderr != "" {
				t.Errorf("%s with %s: %s", listen, way, stderr)
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	c, stderr := load(t, "", map[string]string{
		"KAGIMORI_ACCOUNT_ID": "111122223333", "KAGIMORI_ROOT_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
		"KAGIMORI_ROOT_SECRET_ACCESS_KEY": secret, "KAGIMORI_PORT": "tcp://10.0.0.1:4599",
	})
	if stderr != "" {
		t.Fatal(stderr)
	}
	if c.AccountID != "111122223333" || c.AccessKeyID != "AKIAIOSFODNN7EXAMPLE" || string(c.SecretAccessKey) != secret {
		t.Errorf("got %q, %q", c.AccountID, c.AccessKeyID)
	}

	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("settings", "config", c, "secret", c.SecretAccessKey)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("settings", "config", c, "secret", c.SecretAccessKey)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %x %q", c, *c, c, c.SecretAccessKey, c.SecretAccessKey), string(text), logged.String(), c.TOML()} {
		if strings.Contains(s, secret) || strings.Contains(s, fmt.Sprintf("%x", secret)) {
			t.Errorf("the secret is shown: %s", s)
		}
	}

	for name, values := range map[string][]string{
		"KAGIMORI_ACCOUNT_ID":             {"12345", "1234567890123", "12345678901a", "１２３４５６７８９０１２"},
		"KAGIMORI_ROOT_ACCESS_KEY_ID":     {"AKIASHORT", strings.Repeat("A", 129), "AKIA-IOSFODNN7EXAMPLE", secret},
		"KAGIMORI_ROOT_SECRET_ACCESS_KEY": {"tooshort", strings.Repeat("s", 129), "with a space in the middle", "with\na newline in it"},
	} {
		for _, value := range values {
			_, stderr := load(t, "", map[string]string{name: value})
			if !strings.Contains(stderr, name+" must be ") || strings.Contains(stderr, value) {
				t.Errorf("%s=%s: %q", name, value, stderr)
			}
		}
	}
}

// A command beside serve takes what it needs from the same file, even when the
// file alone would not do for serve.
func TestSomeSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kagimori.toml")
	if err := os.WriteFile(file, []byte("data = '/srv/keys'\nlisten = ':4599'"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := map[string]string{"KAGIMORI_ACCOUNT_ID": "x"}
	var flags config.Flags
	register := func(fs *flag.FlagSet) { flags.Register(fs, "data", "passphrase-file") }
	c, stderr := runWith(t, &flags, register, environ, []string{"--config", file, "--passphrase-file", "p"})
	if stderr != "" || c.Data != "/srv/keys" || c.PassphraseFile != "p" {
		t.Errorf("got %+v, %s", c, stderr)
	}
	if _, stderr := runWith(t, &flags, register, environ, []string{"--listen", ":1"}); !strings.Contains(stderr, "unknown flag --listen") {
		t.Errorf("a flag that was not registered: %q", stderr)
	}
}

// Every setting is in help and in the printed configuration, and the printed
// configuration loads, as printed and with its comments taken off.
func TestTOML(t *testing.T) {
	c, stderr := load(t, "", nil, "--listen=[::]:8443", "--tls-cert", `C:\keys\"a".pem`, "--tls-key=鍵.pem", "--idle-timeout=90s",
		"--journal-segment-size=2097153", "--max-connections=9")
	if stderr != "" {
		t.Fatal(stderr)
	}
	printed := c.TOML()
	again, stderr := load(t, printed, nil)
	if stderr != "" || !reflect.DeepEqual(again, c) {
		t.Errorf("printed\n%s\nloads as %+v, want %+v; %s", printed, again, c, stderr)
	}
	standard := config.Default().TOML()
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	new(config.Flags).Register(fs)
	var bare strings.Builder
	fs.VisitAll(func(f *flag.Flag) {
		if f.Name == "config" || f.Name == "print-config" {
			return
		}
		_, after, found := strings.Cut(standard, "\n# "+f.Name+" = ")
		if !found {
			t.Errorf("%s is not printed as a comment:\n%s", f.Name, standard)
		}
		value, _, _ := strings.Cut(after, "\n")
		if value != `""` || f.Name == "admin-listen" {
			fmt.Fprintf(&bare, "%s = %s\n", f.Name, value)
		}
		if name, doc := flag.UnquoteUsage(f); doc == "" || name == "value" {
			t.Errorf("%s is not described: %q, %q", f.Name, name, doc)
		}
	})
	if again, stderr := load(t, bare.String(), nil); stderr != "" || !reflect.DeepEqual(again, config.Default()) {
		t.Errorf("without comments\n%s\nit loads as %+v; %s", &bare, again, stderr)
	}
}

func TestDoc(t *testing.T) {
	for _, name := range []string{"KAGIMORI_ACCOUNT_ID", "KAGIMORI_ROOT_ACCESS_KEY_ID", "KAGIMORI_ROOT_SECRET_ACCESS_KEY", "--config"} {
		if !strings.Contains(config.Doc(), name) {
			t.Errorf("%s is not documented:\n%s", name, config.Doc())
		}
	}
}
