package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/sigv4"
	"github.com/kagimori/kagimori/internal/wire"
)

const (
	// maxBody is the largest request body in bytes. The largest that AWS takes
	// is an attestation document of 256 KiB in base64.
	maxBody = 512 << 10
	// smallBody is how much of a body needs no share of largeBodies.
	smallBody = 16 << 10
	// largeBodies bounds the memory that bodies take together beyond that.
	largeBodies = 64 << 20

	// Calls that fail authentication are recorded at this rate, so that a
	// stranger cannot fill the disk; beyond it they are counted.
	recordedFailures      = 100 // a second
	recordedFailuresBurst = 1000
)

// pipeline is the one way of every call: read, authenticate, decode, handle,
// record, answer.
type pipeline struct {
	verifier *sigv4.Verifier
	handlers map[string]map[string]api.Handler // by service, then operation
	trail    *audit.Trail
	clock    clock.Clock
	log      *slog.Logger
	message  func(api.Derivation) string // encodes an authorization message
	metrics  *metrics

	bodies     *semaphore.Weighted
	failures   *rate.Limiter
	mu         sync.Mutex
	unrecorded int // authentication failures since the last that was recorded
}

func newPipeline(verifier *sigv4.Verifier, handlers map[string]map[string]api.Handler, trail *audit.Trail, clk clock.Clock, log *slog.Logger, m *metrics) *pipeline {
	return &pipeline{verifier: verifier, handlers: handlers, trail: trail, clock: clk, log: log, metrics: m,
		bodies: semaphore.NewWeighted(largeBodies), failures: rate.NewLimiter(recordedFailures, recordedFailuresBurst)}
}

// buffers hold what one call reads and writes. They are zeroed before another
// call gets them, since they carry plaintexts.
type buffers struct{ request, answer, record []byte }

var bufferPool = sync.Pool{New: func() any { return new(buffers) }}

// keptBuffer is the largest buffer that goes back to the pool.
const keptBuffer = 64 << 10

func (b *buffers) release() {
	for _, p := range []*[]byte{&b.request, &b.answer} {
		secmem.Zero((*p)[:cap(*p)])
		*p = (*p)[:0]
	}
	b.record = b.record[:0]
	if cap(b.request) <= keptBuffer && cap(b.answer) <= keptBuffer && cap(b.record) <= keptBuffer {
		bufferPool.Put(b)
	}
}

// ServeHTTP answers one call that comes from outside.
func (p *pipeline) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.serve(w, r, nil) }

// serve answers one call. from is nil for one that comes from outside.
func (p *pipeline) serve(w http.ResponseWriter, r *http.Request, from *origin) {
	start := p.clock.Now()
	buf := bufferPool.Get().(*buffers)
	defer buf.release()
	call := newCall(r, start)
	defer call.Close()

	to, out, failure := p.run(r, call, buf, from)
	status := http.StatusOK
	if failure != nil {
		failure.Error = to.service.Own(failure.Error)
	}
	if err := p.record(call, buf, failure); err != nil {
		failure = &callError{Error: awserr.Internal(fmt.Errorf("the audit record could not be written: %w", err))}
	}
	if failure == nil {
		buf.answer = to.operation.AppendOutput(buf.answer, out, call.RequestID)
	} else {
		if failure.Cause != nil {
			p.log.Error("internal error", "operation", call.Operation, "requestID", call.RequestID, "error", failure.Cause)
		}
		buf.answer, status = to.service.AppendError(buf.answer, failure.Error, call.RequestID)
	}

	h := w.Header()
	h["X-Amzn-Requestid"] = []string{call.RequestID}
	if failure != nil && len(call.Trail.Derivations) > 0 {
		p.explain(h, call)
	}
	if failure != nil && failure.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(failure.RetryAfter/time.Second)))
	}
	h["Content-Type"] = to.service.ContentType()
	h["Content-Length"] = []string{strconv.Itoa(len(buf.answer))}
	if failure != nil && failure.hangUp {
		h.Set("Connection", "close")
	}
	w.WriteHeader(status)
	w.Write(buf.answer) // a client that is gone is no error of ours
	p.metrics.observe(to.operation, call, failure, p.clock.Now().Sub(start))
}

// messageHeader carries the encoded authorization message of a denial, beside an
// error message that has AWS's words and no more.
const messageHeader = "X-Kagimori-Authorization-Message"

// explain gives the caller what its own account may know of a denial.
func (p *pipeline) explain(h http.Header, call *api.Call) {
	for _, d := range call.Trail.Derivations {
		if d.Account == call.Caller.Account {
			if text := p.message(d); text != "" {
				h.Set(messageHeader, text)
			}
		}
	}
}

// target is what a request is for.
type target struct {
	service   *wire.Service   // one of the unknown ones if the request names none
	operation *wire.Operation // nil if the request names none
	form      *wire.Form      // the parameters of a Query request
	err       error           // why there is no operation, or none that can be done
	name      string          // of the operation, as the request has it
}

// callError is a failed call. A call that failed before it was authenticated is
// a stranger's.
type callError struct {
	*awserr.Error
	stranger bool
	hangUp   bool // the request was not read to its end
}

// run does the work of a call up to its output.
func (p *pipeline) run(r *http.Request, call *api.Call, buf *buffers, from *origin) (to target, out any, failure *callError) {
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("panic", "operation", call.Operation, "requestID", call.RequestID, "panic", v, "stack", string(debug.Stack()))
			out, failure = nil, &callError{Error: awserr.Internal(nil)}
		}
	}()
	header := strings.Join(r.Header["X-Amz-Target"], ",") // two of them name no operation
	query := isQuery(r, header)
	to.service = wire.UnknownJSON
	if query {
		to.service = wire.UnknownQuery
	}
	if r.URL.Path != "/" || r.Method != http.MethodPost && !(query && r.Method == http.MethodGet) {
		return to, nil, &callError{Error: notServed(r), stranger: true, hangUp: true}
	}
	if !query {
		if header == "" && r.URL.RawQuery != "" {
			header = r.URL.Query().Get("X-Amz-Target") // presigned
		}
		to.name = header
		to.service, to.operation, to.err = wire.Lookup(header)
		to.describe(call)
	}
	body, release, err := p.readBody(r, buf)
	defer release()
	if err != nil {
		return to, nil, &callError{Error: err, stranger: true, hangUp: true}
	}
	if query {
		parameters := body
		if r.Method == http.MethodGet {
			parameters = []byte(r.URL.RawQuery)
		}
		var err error
		if to.form, err = wire.ParseForm(parameters); err != nil {
			return to, nil, &callError{Error: awserr.From(err), stranger: true}
		}
		to.name = to.form.Get("Action")
		to.service, to.operation, to.err = wire.LookupAction(to.form)
		to.describe(call)
	}
	unsigned := to.operation != nil && to.operation.Unsigned
	if !unsigned {
		if err := p.authenticate(r, call, to.service, body, from); err != nil {
			return to, nil, &callError{Error: awserr.From(err), stranger: true}
		}
	}
	if to.err != nil {
		if to.operation == nil {
			call.Operation = clip(to.name, 128)
		}
		return to, nil, &callError{Error: awserr.From(to.err)}
	}
	// The journal is asked before anything is done, so that a full disk
	// changes nothing.
	if err := p.trail.Ready(); err != nil {
		return to, nil, &callError{Error: awserr.Internal(err), stranger: unsigned}
	}
	out, err2 := p.handle(r.Context(), call, to, body)
	if err2 != nil {
		return to, nil, &callError{Error: handlerError(r.Context(), err2), stranger: unsigned}
	}
	return to, out, nil
}

// isQuery tells a request in the Query protocol, which has its parameters in an
// HTML form or, with GET, in the URL.
func isQuery(r *http.Request, target string) bool {
	if r.Method == http.MethodGet {
		return r.URL.Query().Has("Action")
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return target == "" && strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded")
}

// describe tells the call what it is for, as far as that is known.
func (to *target) describe(call *api.Call) {
	call.Service = to.service.Name
	if to.operation != nil {
		call.Operation, call.ReadOnly = to.operation.Name, to.operation.ReadOnly
		if to.operation.Unsigned {
			call.Region = api.GlobalRegion
		}
	}
	if to.service.Global {
		call.Region = api.GlobalRegion
	}
}

// handle decodes the request and has the operation done.
func (p *pipeline) handle(ctx context.Context, call *api.Call, to target, body []byte) (any, error) {
	op := to.operation
	in := op.NewInput()
	var err error
	if to.form != nil {
		err = op.DecodeForm(to.form, in)
	} else {
		err = op.Decode(body, in)
	}
	if err != nil {
		return nil, err
	}
	call.Input = in
	handler := p.handlers[op.Service.Name][op.Name]
	if handler == nil {
		return nil, op.Unsupported()
	}
	out, err := handler(ctx, call, in)
	if err != nil {
		return nil, err
	}
	if !call.Authorized() {
		return nil, fmt.Errorf("%s answered without an authorization decision", op.Name)
	}
	return out, nil
}

func handlerError(ctx context.Context, err error) *awserr.Error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return awserr.New(awserr.RequestAborted, "The client closed the connection before the answer was ready.")
	}
	return awserr.From(err)
}

func notServed(r *http.Request) *awserr.Error {
	return awserr.New(awserr.MalformedHttpRequest, "%s %s is not served here. AWS KMS calls are POST requests to /.", clip(r.Method, 16), clip(r.URL.Path, 64))
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// readBody reads the request body within the limits. It takes memory as the body
// arrives, so announcing a large one costs a client more than words.
func (p *pipeline) readBody(r *http.Request, buf *buffers) (body []byte, release func(), failure *awserr.Error) {
	var held int64
	release = func() { p.bodies.Release(held) }
	if r.ContentLength > maxBody {
		return nil, release, tooLarge()
	}
	b := buf.request[:0]
	defer func() { buf.request = b }()
	for {
		if len(b) == cap(b) {
			size := min(max(2*cap(b), smallBody), maxBody+1)
			if size > smallBody {
				more := int64(size - cap(b))
				if !p.bodies.TryAcquire(more) {
					return nil, release, awserr.New(awserr.ServiceUnavailable, "Too many large requests are being read at the same time. Try again.")
				}
				held += more
			}
			larger := append(make([]byte, 0, size), b...)
			secmem.Zero(b)
			b = larger
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxBody:
			return nil, release, tooLarge()
		case err == io.EOF:
			return b, release, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, release, awserr.New(awserr.RequestTimeout, "The request body did not arrive in time.")
		case err != nil:
			return nil, release, awserr.New(awserr.RequestAborted, "The request body broke off, or its chunks are malformed.")
		}
	}
}

func tooLarge() *awserr.Error {
	return awserr.New(awserr.RequestEntityTooLarge, "The request body is larger than %d bytes.", maxBody)
}

// authenticate finds out who calls, and where, from the signature, which must be
// for the service. A request that names no service is for the one it is signed for.
func (p *pipeline) authenticate(r *http.Request, call *api.Call, service *wire.Service, body []byte, from *origin) error {
	if from != nil && from.itself {
		from.own(call)
		return nil
	}
	res, err := p.verifier.Verify(r, body)
	if service.Name == "" {
		if signed := wire.ServiceNamed(res.Service); signed != nil {
			service = signed
		}
	}
	switch {
	case err != nil:
	case service.Name == "":
		err = awserr.New(awserr.InvalidSignature, "Credential should be scoped to a valid service.")
	case res.Service != service.Name:
		err = awserr.New(awserr.InvalidSignature, "Credential should be scoped to correct service: '%s'.", service.Name)
	case !isRegion(res.Region):
		err = awserr.New(awserr.InvalidSignature, "Credential should be scoped to a valid region.")
	default:
		call.Caller = res.Principal
	}
	if err != nil {
		call.Caller.AccessKeyID = res.AccessKeyID // who has it is not known
	}
	call.Service = service.Name
	switch {
	case service.Global:
		call.Region = api.GlobalRegion
	case isRegion(res.Region):
		call.Region = res.Region
	}
	if from != nil {
		from.forward(call)
	}
	return err
}

// isRegion tells a Region name, with room for those of private deployments, such
// as "tokyo-1": words of lower-case letters and digits with hyphens between.
func isRegion(s string) bool {
	if s == "" || len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		word := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !word && (c != '-' || i == len(s)-1 || s[i+1] == '-') {
			return false
		}
	}
	return true
}

// record makes the audit record of the call durable.
func (p *pipeline) record(call *api.Call, buf *buffers, failure *callError) error {
	// What was done is written down even if the client is gone.
	ctx := context.Background()
	if call.Trail.Written != nil {
		return p.trail.JournalCommitted(ctx, call.Trail.Written)
	}
	var err error
	if failure != nil {
		err = failure.Error
		if failure.stranger && !p.recordStranger(call) {
			return nil
		}
	}
	if len(audit.OtherAccounts(call)) > 0 {
		return p.trail.JournalAll(ctx, audit.CallRecords(call, err))
	}
	buf.record = audit.AppendCall(buf.record[:0], call, err)
	return p.trail.Journal(ctx, buf.record)
}

// recordStranger tells whether a call that failed authentication is to be
// recorded.
func (p *pipeline) recordStranger(call *api.Call) bool {
	if call.Operation == "" {
		return false // not a call of an API
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.failures.AllowN(call.Time, 1) {
		p.unrecorded++
		return false
	}
	if p.unrecorded > 0 {
		call.Trail.Add("unrecordedAuthenticationFailures", strconv.Itoa(p.unrecorded))
		p.unrecorded = 0
	}
	return true
}
