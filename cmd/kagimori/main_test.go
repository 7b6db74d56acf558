package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/config"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/kms"
)

var (
	now   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	owner = iam.RootCredentials{Account: "111122223333", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
)

// asProgram makes the test binary the program itself.
const asProgram = "KAGIMORI_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// result is what a command left behind.
type result struct {
	status   int
	out, err string
}

// environment is one without variables and terminal, on a clock that stands.
func environment() *cli.Env {
	return &cli.Env{
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		Getenv: func(string) string { return "" }, Clock: clock.NewManual(now),
	}
}

// run runs a command.
func run(args ...string) result { return runContext(context.Background(), args...) }

func runContext(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	env := environment()
	env.Stdout, env.Stderr = &out, &errs
	status := cli.Main(ctx, program(), env, args)
	return result{status, out.String(), errs.String()}
}

// succeed runs a command that must exit with 0, and returns what it printed.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	r := run(args...)
	if r.status != cli.StatusOK {
		t.Fatalf("kagimori %s: exit status %d\n%s%s", strings.Join(args, " "), r.status, r.out, r.err)
	}
	return r.out
}

// fail runs a command that must exit with that status and say all of words.
func fail(t *testing.T, status int, words []string, args ...string) {
	t.Helper()
	r := run(args...)
	if r.status != status {
		t.Errorf("kagimori %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), r.status, status, r.out, r.err)
	}
	for _, w := range words {
		if !strings.Contains(r.err, w) {
			t.Errorf("kagimori %s: %q is not in: %s", strings.Join(args, " "), w, r.err)
		}
	}
}

// newFolder is a data folder that was served once, with a recovery passphrase if
// that is what the test is about: it takes time.
func newFolder(t testing.TB, recovery bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	openFolder(t, dir, recovery)
	return dir
}

// openFolder starts and stops on a folder, and returns what opened the root key.
func openFolder(t testing.TB, dir string, recovery bool) string {
	t.Helper()
	d, err := datadir.Open(context.Background(), dir, datadir.Options{
		Clock: clock.NewManual(now), Log: slog.New(slog.DiscardHandler),
		JournalSegmentSize: 2 << 20, NoRecovery: !recovery, Root: owner,
	})
	must(t, err)
	must(t, d.Close("test"))
	return d.Opened
}

// tree is the bytes of all files below dir.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

// names are the names in a folder, hidden ones too.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestHelp(t *testing.T) {
	var walk func(c *cli.Command, path []string)
	walk = func(c *cli.Command, path []string) {
		for _, args := range [][]string{append([]string{"help"}, path...), append(path[:len(path):len(path)], "--help")} {
			out := succeed(t, args...)
			if !strings.Contains(out, c.Summary) || !strings.Contains(out, "kagimori "+strings.Join(path, " ")) {
				t.Errorf("kagimori %s prints\n%s", strings.Join(args, " "), out)
			}
		}
		for _, sub := range c.Commands {
			walk(sub, append(path[:len(path):len(path)], sub.Name))
		}
	}
	walk(program(), nil)
	if out := succeed(t, "help", "serve"); !strings.Contains(out, "KAGIMORI_ROOT_SECRET_ACCESS_KEY") || !strings.Contains(out, "127.0.0.1:4599") {
		t.Errorf("help serve prints\n%s", out)
	}
}

func TestVersion(t *testing.T) {
	if out := succeed(t, "version"); !regexp.MustCompile(`^kagimori \S+\ngo1\.\S+ \w+/\w+\nFIPS 140-3 module: (off|on, \S+)\n$`).MatchString(out) {
		t.Errorf("version prints %q", out)
	}
}

func TestWrongUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kagimori.toml")
	must(t, os.WriteFile(file, []byte("lisen = \"127.0.0.1:0\"\n"), 0o600))
	for _, c := range []struct {
		args  string
		words []string
	}{
		{"", []string{"serve, root, backup, restore, audit, explain, usage, policy, byok, compliance, alarms, version"}},
		{"serv", []string{`"serve"`}},
		{"serve --lisen 127.0.0.1:0", []string{"--lisen", "--listen"}},
		{"serve --config " + file, []string{"lisen", "listen", file}},
		{"serve --listen nonsense", []string{"listen", "HOST:PORT"}},
		{"root", []string{"slots, add, remove, rotate, verify"}},
		{"root slot", []string{`"slots"`}},
		{"root slots --dat x", []string{"--dat;", "--data"}},
		{"root add", []string{"needs file|passphrase|recovery"}},
		{"root add recover", []string{`"recovery"`}},
		{"root add file", []string{"root add file FILE"}},
		{"root add passphrase mine", []string{`"mine"`}},
		{"root remove", []string{"needs SLOT"}},
		{"backup", []string{"needs FILE"}},
		{"backup verfy file", []string{`"verify"`}},
		{"restore", []string{"needs FILE"}},
		{"audit tale", []string{`"tail"`}},
		{"audit tail -n -1", []string{"-n"}},
		{"audit tail --follow", []string{"--follow", "-f"}},
		{"explain", []string{"needs REQUEST-ID"}},
		{"policy lnt x", []string{`"lint"`}},
		{"policy lint", []string{"needs FILE|KEY"}},
		{"byok check --key k", []string{"--key needs the ARN of a key"}},
		{"byok check --key arn:aws:kms:eu-central-1:111122223333:key/k", []string{"--as needs the ARN of a role"}},
		{"byok check --context x", []string{"NAME=VALUE"}},
		{"version please", []string{`"please"`}},
		{"completion zh", []string{`"zsh"`}},
	} {
		t.Run(c.args, func(t *testing.T) {
			fail(t, cli.StatusUsage, append(c.words, "kagimori help"), strings.Fields(c.args)...)
		})
	}
}

// What cannot be served leaves no folder behind.
func TestServeRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	busy := taken.Addr().String()
	for name, c := range map[string]struct {
		status int
		args   []string
		env    string
		words  []string
	}{
		"open to the network":       {cli.StatusUsage, []string{"--listen", "0.0.0.0:0"}, "", []string{"--tls-auto", "--insecure-http"}},
		"half of TLS":               {cli.StatusUsage, []string{"--tls-cert", "cert.pem"}, "", []string{"tls-cert and tls-key"}},
		"account id":                {cli.StatusUsage, nil, "KAGIMORI_ACCOUNT_ID=12", []string{"KAGIMORI_ACCOUNT_ID", "12 digits"}},
		"secret":                    {cli.StatusUsage, nil, "KAGIMORI_ROOT_SECRET_ACCESS_KEY=short one", []string{"KAGIMORI_ROOT_SECRET_ACCESS_KEY", "16 to 128"}},
		"no configuration":          {cli.StatusUsage, []string{"--config", "/nonexistent/kagimori.toml"}, "", []string{"/nonexistent/kagimori.toml"}},
		"no passphrase file":        {cli.StatusFailure, []string{"--passphrase-file", "/nonexistent/passphrase"}, "", []string{"/nonexistent/passphrase"}},
		"no file of roots":          {cli.StatusFailure, []string{"--attestation-roots", "/nonexistent/root.pem"}, "", []string{"attestation-roots", "/nonexistent/root.pem"}},
		"no roots in the file":      {cli.StatusFailure, []string{"--attestation-roots", os.DevNull}, "", []string{"attestation-roots", os.DevNull, "no certificate"}},
		"address in use":            {cli.StatusFailure, []string{"--listen", busy}, "", []string{busy, "--listen"}},
		"address for admins in use": {cli.StatusFailure, []string{"--admin-listen", busy}, "", []string{busy, "--admin-listen"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			var errs bytes.Buffer
			env := environment()
			env.Stderr = &errs
			env.Getenv = func(name string) string {
				value, _ := strings.CutPrefix(c.env, name+"=")
				if value == c.env {
					return ""
				}
				return value
			}
			args := append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, c.args...)
			if status := cli.Main(t.Context(), program(), env, args); status != c.status {
				t.Errorf("exit status %d, want %d: %s", status, c.status, &errs)
			}
			for _, w := range c.words {
				if !strings.Contains(errs.String(), w) {
					t.Errorf("%q is not in: %s", w, &errs)
				}
			}
			if strings.Contains(errs.String(), "short one") {
				t.Errorf("the error shows a secret: %s", &errs)
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the data folder: %v", err)
			}
		})
	}
}

func TestPrintConfig(t *testing.T) {
	out := succeed(t, "serve", "--print-config", "--data", "/srv/鍵", "--log-format", "json")
	file := filepath.Join(t.TempDir(), "kagimori.toml")
	must(t, os.WriteFile(file, []byte(out), 0o600))
	if again := succeed(t, "serve", "--print-config", "--config", file); again != out || !strings.Contains(out, "/srv/鍵") {
		t.Errorf("printed\n%s\nand from that\n%s", out, again)
	}
}

// lines collects what a running command prints.
type lines struct {
	mu   sync.Mutex
	text string
	more chan struct{} // has one when there is more
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.text += string(p)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// wait waits until the command has printed what matches, or has ended.
func (l *lines) wait(t *testing.T, pattern string, ended <-chan int) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for {
		if m := re.FindStringSubmatch(l.String()); m != nil {
			return m
		}
		select {
		case <-l.more:
		case status := <-ended:
			t.Fatalf("exit status %d before %q was printed:\n%s", status, pattern, l)
		}
	}
}

// background runs a command until stop is called, which returns its exit status.
func background(t *testing.T, env *cli.Env, args ...string) (ended <-chan int, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	status := make(chan int, 1)
	go func() { status <- cli.Main(ctx, program(), env, args) }()
	t.Cleanup(cancel)
	return status, func() int { cancel(); return <-status }
}

func TestServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Anna's data")
	openFolder(t, dir, false)
	out := newLines()
	var errs bytes.Buffer
	env := environment()
	env.Stdout, env.Stderr = out, &errs
	ended, stop := background(t, env, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	endpoint := out.wait(t, `export AWS_ENDPOINT_URL=(\S+)\n(?s:.*)AWS_REGION`, ended)[1]
	resp, err := http.Get(endpoint + "/readyz")
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz answers %s", resp.Status)
	}
	for _, w := range []string{dir, "account    111122223333", "fsync", "opened by the key file root.key (id ", "export AWS_ACCESS_KEY_ID=" + owner.AccessKeyID, `'\''s data/credentials'`} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("%q is not in\n%s", w, out)
		}
	}
	fail(t, cli.StatusFailure, []string{dir, "in use", "--data"}, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if status := stop(); status != cli.StatusOK || !strings.Contains(out.String(), "Stopped") {
		t.Errorf("exit status %d\n%s%s", status, out, &errs)
	}
	if text := out.String() + errs.String(); strings.Contains(text, owner.SecretKey) {
		t.Errorf("the secret key is printed where no terminal is:\n%s", text)
	}
	if out := succeed(t, "audit", "tail", "--data", dir, "-n", "2"); !strings.Contains(out, "StartServer") || !strings.Contains(out, "StopServer") || !strings.Contains(out, `"reason":"signal"`) {
		t.Errorf("recorded:\n%s", out)
	}
}

// badPipe is a pipe that nobody reads.
type badPipe struct{}

func (badPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// A server whose banner cannot be printed stops in good order.
func TestServeToAClosedPipe(t *testing.T) {
	dir := newFolder(t, false)
	env := environment()
	env.Stdout = badPipe{}
	if status := cli.Main(t.Context(), program(), env, []string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}); status != cli.StatusFailure {
		t.Errorf("exit status %d", status)
	}
	if out := succeed(t, "audit", "tail", "--data", dir, "-n", "1"); !strings.Contains(out, "StopServer") || !strings.Contains(out, `"reason":"error"`) {
		t.Errorf("recorded: %s", out)
	}
}

func TestNoData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nothing")
	for _, args := range []string{"root slots", "root verify", "root rotate", "root remove 12345678", "root add recovery", "backup file", "audit tail"} {
		fail(t, cli.StatusFailure, []string{dir, "--data"}, append(strings.Fields(args), "--data", dir)...)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data folder: %v", err)
	}
}

// Without a setting the quotas are AWS's.
func TestQuotas(t *testing.T) {
	if got, want := quotas(config.Default()), kms.AWSQuotas(); got != want {
		t.Errorf("quotas %+v, want %+v", got, want)
	}
}
