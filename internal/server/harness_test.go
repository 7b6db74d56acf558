package server

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/keystore"
	"github.com/kagimori/kagimori/internal/kms"
	"github.com/kagimori/kagimori/internal/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files and docs/coverage.md")

const (
	testAccount = "111122223333"
	testKeyID   = "AKIAIOSFODNN7EXAMPLE"
	testSecret  = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	testRegion  = "eu-central-1"
	contentType = "application/x-amz-json-1.1"
	rootARN     = "arn:aws:iam::" + testAccount + ":root"
)

// patience bounds every wait for the server. It is long, since tests share a
// slow machine; a healthy server never lets it pass.
const patience = 30 * time.Second

// harness is a Server on real sockets over a real data folder. Its clock stands
// still until it is moved; its log is kept.
type harness struct {
	testing.TB
	dir       string
	addr      string // of the API
	adminAddr string // empty if the API has health and metrics too
	clock     *clock.Manual
	gate      *gateClock // the journal's clock: it can hold the journal's writer
	decider   *switchDecider
	log       *logBuffer
	data      *datadir.Dir
	srv       *Server
	stop      context.CancelFunc
	served    chan error // from Serve
	closed    bool
}

// setup is what a test may want different.
type setup struct {
	Options
	dir   string
	admin bool // health and metrics get a listener of their own
}

func start(t testing.TB, change ...func(*setup)) *harness {
	t.Helper()
	clk := clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	h := &harness{TB: t, clock: clk, gate: &gateClock{Manual: clk}, decider: &switchDecider{}, log: &logBuffer{}}
	s := setup{dir: t.TempDir(), Options: Options{
		Clock: clk, Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		MaxConnections: 20_000, ReadHeaderTimeout: patience, BodyTimeout: patience, IdleTimeout: time.Minute, DrainTimeout: patience,
		Quotas: kms.AWSQuotas(),
		KeyStores: map[types.CustomKeyStoreType]keystore.Backend{
			types.CustomKeyStoreTypeAwsCloudhsm: &testBackend{}, types.CustomKeyStoreTypeExternalKeyStore: &testBackend{},
		},
	}}
	for _, fn := range change {
		fn(&s)
	}
	h.dir = s.dir
	h.open(&s)
	t.Cleanup(func() { h.close() })
	return h
}

func (h *harness) open(s *setup) {
	h.Helper()
	var err error
	h.data, err = datadir.Open(context.Background(), h.dir, datadir.Options{
		Clock: h.gate, Log: s.Log, JournalSegmentSize: 1100 << 10, NoRecovery: true,
		Root: iam.RootCredentials{Account: testAccount, AccessKeyID: testKeyID, SecretKey: testSecret},
	})
	h.must(err)
	h.closed = false
	s.Data = h.data
	h.srv, err = New(context.Background(), s.Options)
	h.must(err)
	h.decider.Decider = h.srv.kms.Authorize
	h.srv.kms.Authorize = h.decider
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		h.must(err)
		return ln
	}
	api, admin := listen(), net.Listener(nil)
	h.addr = api.Addr().String()
	if s.admin {
		admin = listen()
		h.adminAddr = admin.Addr().String()
	}
	run, stop := context.WithCancel(context.Background())
	h.stop, h.served = stop, make(chan error, 1)
	go func() { h.served <- h.srv.Serve(run, api, admin) }()
}

// close stops the server in good order. No test may have made it panic.
func (h *harness) close() {
	h.Helper()
	if h.closed {
		return
	}
	h.closed = true
	h.stop()
	served := <-h.served
	h.srv.Close(context.Background())
	for _, err := range []error{served, h.data.Close("the test ended")} {
		if err != nil {
			h.Error(err)
		}
	}
	if log := h.log.String(); strings.Contains(log, "panic") {
		h.Errorf("the server panicked:\n%s", log)
	}
}

func (h *harness) must(err error) {
	if err != nil {
		h.Helper()
		h.Fatal(err)
	}
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// gateClock is a clock that can be made to hold whoever asks for the time. Given
// to the journal, it stalls its writer as a disk does that hangs.
type gateClock struct {
	*clock.Manual
	gate atomic.Pointer[gate]
}

type gate struct{ reached, opened chan struct{} }

// shut makes the next to ask wait. reached tells that someone does.
func (c *gateClock) shut() *gate {
	g := &gate{make(chan struct{}), make(chan struct{})}
	c.gate.Store(g)
	return g
}

func (g *gate) open() { close(g.opened) }

func (c *gateClock) Now() time.Time {
	if g := c.gate.Swap(nil); g != nil {
		close(g.reached)
		<-g.opened
	}
	return c.Manual.Now()
}

// switchDecider decides by policies until it is told to deny.
type switchDecider struct {
	authz.Decider
	rule atomic.Pointer[func(action, resource string) (d policy.Decision, denied bool)]
}

// deny makes it deny everything, for the reason of d.
func (s *switchDecider) deny(d policy.Decision) {
	rule := func(_, _ string) (policy.Decision, bool) { return d, true }
	s.rule.Store(&rule)
}

// denyIf makes it deny what fn tells.
func (s *switchDecider) denyIf(fn func(action, resource string) bool) {
	rule := func(action, resource string) (policy.Decision, bool) {
		return policy.Decision{Layer: policy.IdentityLayer}, fn(action, resource)
	}
	s.rule.Store(&rule)
}

func (s *switchDecider) allow() { s.rule.Store(nil) }

func (s *switchDecider) Decide(ctx context.Context, call *api.Call, req *authz.Request) (policy.Decision, error) {
	if rule := s.rule.Load(); rule != nil {
		if d, denied := (*rule)(req.Action, req.Resource); denied {
			return d, nil
		}
	}
	return s.Decider.Decide(ctx, call, req)
}

// Explain has nothing to tell of what a rule denied.
func (s *switchDecider) Explain(ctx context.Context, call *api.Call, req *authz.Request) (*policy.Derivation, error) {
	if s.rule.Load() != nil {
		return nil, nil
	}
	return s.Decider.Explain(ctx, call, req)
}

// request is one call as a client sends it. What is empty is as a good client
// has it.
type request struct {
	target        string // X-Amz-Target; empty for none
	body          string
	chunked       bool
	method, path  string
	header        map[string]string // signed too
	region        string
	service       string
	keyID, secret string
	token         string        // session token
	skew          time.Duration // of the client's clock
	unsigned      bool
	keepAlive     bool
}

// op is the request of an operation.
func op(name, body string) request { return request{target: "TrentService." + name, body: body} }

// http is the request, signed.
func (h *harness) http(r request) *http.Request {
	h.Helper()
	method, path := cmp.Or(r.method, "POST"), cmp.Or(r.path, "/")
	req, err := http.NewRequest(method, "http://"+h.addr+path, strings.NewReader(r.body))
	h.must(err)
	req.Header.Set("User-Agent", "kagimori-test/1.0")
	req.Header.Set("Content-Type", contentType)
	if r.target != "" {
		req.Header.Set("X-Amz-Target", r.target)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if r.chunked {
		req.ContentLength = -1
	}
	req.Close = !r.keepAlive
	if r.unsigned {
		return req
	}
	sum := sha256.Sum256([]byte(r.body))
	credentials := aws.Credentials{AccessKeyID: cmp.Or(r.keyID, testKeyID), SecretAccessKey: cmp.Or(r.secret, testSecret), SessionToken: r.token}
	h.must(v4.NewSigner().SignHTTP(context.Background(), credentials, req, hex.EncodeToString(sum[:]),
		cmp.Or(r.service, "kms"), cmp.Or(r.region, testRegion), h.clock.Now().Add(r.skew)))
	return req
}

// wire is the request as bytes on the wire.
func (h *harness) wire(r request) []byte {
	h.Helper()
	var b bytes.Buffer
	h.must(h.http(r).Write(&b))
	return b.Bytes()
}

// answer is what came back.
type answer struct {
	*http.Response
	body    []byte
	id      string // x-amzn-RequestId
	code    string // __type
	message string
}

func readAnswer(r *bufio.Reader) (*answer, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	a := &answer{Response: resp, id: resp.Header.Get("X-Amzn-RequestId")}
	// An answer that ends with the connection may end with a reset, when the
	// server hangs up on what it did not read.
	if a.body, err = io.ReadAll(resp.Body); err != nil && resp.ContentLength >= 0 {
		return nil, err
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if resp.StatusCode != http.StatusOK && json.Unmarshal(a.body, &e) == nil {
		a.code, a.message = e.Type, e.Message
	}
	return a, nil
}

// dial connects to the API.
func (h *harness) dial() net.Conn {
	h.Helper()
	c, err := net.Dial("tcp", h.addr)
	h.must(err)
	h.must(c.SetDeadline(time.Now().Add(patience)))
	h.Cleanup(func() { c.Close() })
	return c
}

// send sends bytes on a connection of their own and reads one answer.
func (h *harness) send(raw []byte) (*answer, error) {
	h.Helper()
	c := h.dial()
	defer c.Close()
	c.Write(raw) // the server may hang up before it has all
	return readAnswer(bufio.NewReader(c))
}

// do makes a call.
func (h *harness) do(r request) *answer {
	h.Helper()
	a, err := h.send(h.wire(r))
	h.must(err)
	return a
}

// call makes a call that must work, and reads its answer into out.
func (h *harness) call(name, body string, out any) *answer {
	h.Helper()
	a := h.do(op(name, body))
	if a.StatusCode != http.StatusOK {
		h.Fatalf("%s: %d %s", name, a.StatusCode, a.body)
	}
	if out != nil {
		h.must(json.Unmarshal(a.body, out))
	}
	return a
}

// newKey makes a key and gives its id and ARN.
func (h *harness) newKey() (id, arn string) {
	h.Helper()
	var out struct{ KeyMetadata struct{ KeyId, Arn string } }
	h.call("CreateKey", "{}", &out)
	return out.KeyMetadata.KeyId, out.KeyMetadata.Arn
}

// newKeyWith makes a key of a spec and usage, or of another origin.
func (h *harness) newKeyWith(body string) (id string) {
	h.Helper()
	var out struct{ KeyMetadata struct{ KeyId string } }
	h.call("CreateKey", body, &out)
	return out.KeyMetadata.KeyId
}

// serves checks that the server still does its work.
func (h *harness) serves() {
	h.Helper()
	h.call("GenerateRandom", `{"NumberOfBytes":16}`, nil)
}

// wantError checks that an answer is an error as AWS gives it.
func (a *answer) wantError(t testing.TB, status int, code, message string) {
	t.Helper()
	if a.StatusCode != status || a.code != code || !strings.Contains(a.message, message) {
		t.Errorf("answer %d %s, want %d %s with %q", a.StatusCode, a.body, status, code, message)
	}
	a.wantShape(t)
}

// wantShape checks the form of an answer that is an error.
func (a *answer) wantShape(t testing.TB) {
	t.Helper()
	var members map[string]string
	if err := json.Unmarshal(a.body, &members); err != nil || members["__type"] == "" {
		t.Errorf("the error body is %q", a.body)
	}
	if len(members) > 2 || len(members) == 2 && members["message"] == "" {
		t.Errorf("the error body has other members than __type and message: %s", a.body)
	}
	if len(a.id) != 36 {
		t.Errorf("x-amzn-RequestId is %q", a.id)
	}
	if ct := a.Header.Get("Content-Type"); ct != contentType {
		t.Errorf("Content-Type is %q", ct)
	}
	if n := a.Header.Get("Content-Length"); n != strconv.Itoa(len(a.body)) {
		t.Errorf("Content-Length is %q, the body has %d bytes", n, len(a.body))
	}
}

// record is one audit record: its bytes and the members that tests look at.
type record struct {
	raw       []byte
	EventName string
	ErrorCode string
	RequestID string
	AWSRegion string
	EventID   string

	UserIdentity        struct{ Type, AccessKeyID string }
	AdditionalEventData map[string]string
	ServiceEventDetails map[string]string
}

// records are the audit records so far, oldest first.
func (h *harness) records() []record {
	h.Helper()
	out, err := readRecords(datadir.JournalDir(h.dir))
	h.must(err)
	return out
}

func readRecords(dir string) (out []record, err error) {
	for entry, err := range journal.Read(dir, 1) {
		if err != nil {
			return nil, err
		}
		rec := record{raw: bytes.Clone(entry.Record)}
		if err := json.Unmarshal(rec.raw, &rec); err != nil {
			return nil, fmt.Errorf("record %d: %w: %s", entry.Seq, err, rec.raw)
		}
		out = append(out, rec)
	}
	return out, nil
}

// recordsOf are the records of one call, as the caller's account has them.
func (h *harness) recordsOf(requestID string) (out []record) {
	h.Helper()
	for _, rec := range h.records() {
		if rec.RequestID == requestID && rec.UserIdentity.Type != "AWSAccount" {
			out = append(out, rec)
		}
	}
	return out
}

// get reads a page of health or metrics.
func (h *harness) get(path string) (status int, body string) {
	h.Helper()
	resp, err := http.Get("http://" + cmp.Or(h.adminAddr, h.addr) + path)
	h.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	return resp.StatusCode, string(b)
}

// eventually waits for what the server does on its own.
func (h *harness) eventually(what string, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestMain(m *testing.M) {
	if addr := os.Getenv("KAGIMORI_TEST_IDLE"); addr != "" {
		holdIdle(addr) // as a child of TestIdleConnections
		return
	}
	os.Exit(m.Run())
}
