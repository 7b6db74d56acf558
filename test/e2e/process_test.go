package e2e

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/journal"
)

// stuck is how long something that takes a second may take on a busy machine
// before a test gives up with what is known, instead of hanging.
const stuck = 2 * time.Minute

// output collects what a process writes, and can be read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced at every write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// wait returns the first match of the pattern, its groups too, once it is there.
func (o *output) wait(pattern *regexp.Regexp, ended <-chan struct{}) ([]string, error) {
	timeout := time.After(stuck)
	for {
		o.mu.Lock()
		match, more := pattern.FindStringSubmatch(o.text.String()), o.more
		o.mu.Unlock()
		if match != nil {
			return match, nil
		}
		select {
		case <-more:
		case <-ended:
			if match := pattern.FindStringSubmatch(o.String()); match != nil {
				return match, nil
			}
			return nil, fmt.Errorf("the process ended without writing %s", pattern)
		case <-timeout:
			return nil, fmt.Errorf("the process has not written %s", pattern)
		}
	}
}

// environment is that of a user's shell: nothing of the tests' own, above all no
// credentials.
func environment(t *testing.T) []string {
	t.Helper()
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir(), "LC_ALL=C.UTF-8",
		"GORACE=atexit_sleep_ms=0 halt_on_error=1",
	}
}

// process is a running kagimori.
type process struct {
	cmd         *exec.Cmd
	out, errout *output
	ended       chan struct{} // closed when it has ended
}

// start starts a kagimori that is killed when the test ends, if it still runs. Its
// standard output is terminal, or p.out if that is nil.
func start(t *testing.T, terminal *os.File, binary string, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, args...), out: newOutput(), errout: newOutput(), ended: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.errout
	if terminal != nil {
		p.cmd.Stdout = terminal
	}
	check(t, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) signal(s os.Signal) { p.cmd.Process.Signal(s) }

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// status waits for the end and gives the exit status, -1 after a signal.
func (p *process) status(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(stuck):
		t.Fatalf("the process does not end\n%s", p)
	}
	return p.cmd.ProcessState.ExitCode()
}

// String is what the process has written, for failures.
func (p *process) String() string {
	return fmt.Sprintf("--- stdout\n%s--- stderr\n%s---", p.out, p.errout)
}

// run runs a kagimori command to its end.
func run(t *testing.T, args ...string) *process {
	t.Helper()
	p := start(t, nil, binary(t, released), environment(t), args...)
	p.status(t)
	return p
}

// succeed runs a command that has to succeed and gives its output.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	p := run(t, args...)
	if p.status(t) != 0 {
		t.Fatalf("kagimori %s: exit status %d\n%s", strings.Join(args, " "), p.status(t), p)
	}
	return p.out.String()
}

// refuse runs a command that has to fail with a message that matches pattern.
func refuse(t *testing.T, pattern string, args ...string) {
	t.Helper()
	p := run(t, args...)
	if p.status(t) <= 0 || !regexp.MustCompile(pattern).MatchString(p.errout.String()) {
		t.Errorf("kagimori %s: exit status %d, want a failure that says %q\n%s", strings.Join(args, " "), p.status(t), pattern, p)
	}
}

// server is a running "kagimori serve".
type server struct {
	*process
	dir      string
	endpoint string
	pasted   []string // what the printed block sets in a shell
}

// setup says how a server is started. The zero value is the released program
// with an environment of its own.
type setup struct {
	build func() (string, error)
	env   []string // besides environment
	args  []string
	tty   *os.File // standard output, if not a pipe
}

// block is what is printed to be pasted, and the empty line after it.
var block = regexp.MustCompile(`(?s)\n\n((?:export [^\n]*\n)+)\n`)

// serve starts a server on a free port and waits until it has told how to use it.
func serve(t *testing.T, dir string, how setup) *server {
	t.Helper()
	s := launch(t, dir, how)
	if err := s.ready(t); err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return s
}

// launch starts a server without waiting for it.
func launch(t *testing.T, dir string, how setup) *server {
	t.Helper()
	if how.build == nil {
		how.build = released
	}
	args := append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, how.args...)
	return &server{dir: dir, process: start(t, how.tty, binary(t, how.build), append(environment(t), how.env...), args...)}
}

func (s *server) ready(t *testing.T) error {
	t.Helper()
	match, err := s.out.wait(block, s.ended)
	if err != nil {
		return err
	}
	s.pasted = paste(t, match[1])
	s.endpoint = s.variable("AWS_ENDPOINT_URL")
	return nil
}

// paste runs the lines in a shell, as the user who pastes them does, and gives the
// AWS variables that are set then.
func paste(t *testing.T, lines string) []string {
	t.Helper()
	cmd := exec.Command("sh", "-c", lines+"\nexec env")
	cmd.Env = environment(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the printed lines cannot be pasted into a shell: %v\n%s", err, lines)
	}
	var set []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "AWS_") {
			set = append(set, strings.TrimSuffix(line, "\n"))
		}
	}
	return set
}

// variable is a pasted variable.
func (s *server) variable(name string) string {
	for _, v := range s.pasted {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// stop ends the server in good order, and checks that it had nothing to complain
// about.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.signal(syscall.SIGTERM)
	if status := s.status(t); status != 0 {
		t.Errorf("exit status %d after SIGTERM\n%s", status, s)
	}
	s.healthy(t)
}

// healthy checks that nothing in the log speaks of a fault.
func (s *server) healthy(t *testing.T) {
	t.Helper()
	for _, bad := range []string{"DATA RACE", "panic", "level=ERROR"} {
		if strings.Contains(s.errout.String(), bad) {
			t.Fatalf("the server's log has %q\n%s", bad, s)
		}
	}
}

// client is a Go SDK client that makes one attempt a call. transport may be nil.
func (s *server) client(transport http.RoundTripper) *kms.Client {
	o := kms.Options{
		Region: s.variable("AWS_REGION"), BaseEndpoint: aws.String(s.endpoint), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(s.variable("AWS_ACCESS_KEY_ID"), s.variable("AWS_SECRET_ACCESS_KEY"), ""),
	}
	if transport != nil {
		o.HTTPClient = &http.Client{Transport: transport}
	}
	return kms.New(o)
}

// authority is the file that clients of a server with --tls-auto trust, and what is in it.
func (s *server) authority(t *testing.T) (ca []byte, pool *x509.CertPool) {
	t.Helper()
	ca, err := os.ReadFile(s.variable("AWS_CA_BUNDLE"))
	check(t, err)
	pool = x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("AWS_CA_BUNDLE=%s has no certificate", s.variable("AWS_CA_BUNDLE"))
	}
	return ca, pool
}

// get fetches a page of the server.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// records are the audit records of a data folder from the number from on.
func records(t *testing.T, dir string, from uint64) []journal.Entry {
	t.Helper()
	var out []journal.Entry
	for e, err := range journal.Read(datadir.JournalDir(dir), from) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// files are the contents of the files in a data folder, without those of the
// store and the journal, which change by themselves.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), "kagimori.db") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// check fails the test at once on an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
