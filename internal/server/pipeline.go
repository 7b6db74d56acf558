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
	// serviceName is the signing name of the one service there is.
	serviceName = "kms"
	contentType = "application/x-amz-json-1.1"

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
	handlers map[string]api.Handler
	trail    *audit.Trail
	clock    clock.Clock
	log      *slog.Logger
	metrics  *metrics

	bodies     *semaphore.Weighted
	failures   *rate.Limiter
	mu         sync.Mutex
	unrecorded int // authentication failures since the last that was recorded
}

func newPipeline(verifier *sigv4.Verifier, handlers map[string]api.Handler, trail *audit.Trail, clk clock.Clock, log *slog.Logger, m *metrics) *pipeline {
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

// ServeHTTP answers one call.
func (p *pipeline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := p.clock.Now()
	buf := bufferPool.Get().(*buffers)
	defer buf.release()
	call := newCall(r, start)
	defer call.Close()

	out, failure := p.run(r, call, buf)
	status := http.StatusOK
	if err := p.record(call, buf, failure); err != nil {
		failure = &callError{Error: awserr.Internal(fmt.Errorf("the audit record could not be written: %w", err))}
	}
	if failure == nil {
		buf.answer = wire.AppendOutput(buf.answer, out)
	} else {
		if failure.Cause != nil {
			p.log.Error("internal error", "operation", call.Operation, "requestID", call.RequestID, "error", failure.Cause)
		}
		status = failure.Status
		buf.answer = wire.AppendError(buf.answer, failure.Error)
	}

	h := w.Header()
	h["X-Amzn-Requestid"] = []string{call.RequestID}
	h["Content-Type"] = jsonContentType
	h["Content-Length"] = []string{strconv.Itoa(len(buf.answer))}
	if failure != nil && failure.hangUp {
		h.Set("Connection", "close")
	}
	w.WriteHeader(status)
	w.Write(buf.answer) // a client that is gone is no error of ours
	p.metrics.observe(call.Operation, failure, p.clock.Now().Sub(start))
}

var jsonContentType = []string{contentType}

// callError is a failed call. A call that failed before it was authenticated is
// a stranger's.
type callError struct {
	*awserr.Error
	stranger bool
	hangUp   bool // the request was not read to its end
}

// run does the work of a call up to its output.
func (p *pipeline) run(r *http.Request, call *api.Call, buf *buffers) (out any, failure *callError) {
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("panic", "operation", call.Operation, "requestID", call.RequestID, "panic", v, "stack", string(debug.Stack()))
			out, failure = nil, &callError{Error: awserr.Internal(nil)}
		}
	}()
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return nil, &callError{Error: notPost(r), stranger: true, hangUp: true}
	}
	target := strings.Join(r.Header["X-Amz-Target"], ",") // two of them name no operation
	if target == "" && r.URL.RawQuery != "" {
		target = r.URL.Query().Get("X-Amz-Target") // presigned
	}
	op, opErr := wire.Lookup(target)
	if op != nil {
		call.Operation, call.ReadOnly = op.Name, op.ReadOnly
	}
	body, release, err := p.readBody(r, buf)
	defer release()
	if err != nil {
		return nil, &callError{Error: err, stranger: true, hangUp: true}
	}
	if err := p.authenticate(r, call, body); err != nil {
		return nil, &callError{Error: awserr.From(err), stranger: true}
	}
	if opErr != nil {
		call.Operation = clip(target, 128)
		return nil, &callError{Error: awserr.From(opErr)}
	}
	// The journal is asked before anything is done, so that a full disk
	// changes nothing.
	if err := p.trail.Ready(); err != nil {
		return nil, &callError{Error: awserr.Internal(err)}
	}
	in := op.NewInput()
	if err := op.Decode(body, in); err != nil {
		return nil, &callError{Error: awserr.From(err)}
	}
	call.Input = in
	handler := p.handlers[op.Name]
	if handler == nil {
		return nil, &callError{Error: awserr.New(awserr.UnsupportedOperation, "The operation %s is not supported by this version of Kagimori.", op.Name)}
	}
	out, err2 := handler(r.Context(), call, in)
	if err2 != nil {
		return nil, &callError{Error: handlerError(r.Context(), err2)}
	}
	if !call.Authorized() {
		return nil, &callError{Error: awserr.Internal(fmt.Errorf("%s answered without an authorization decision", op.Name))}
	}
	return out, nil
}

func handlerError(ctx context.Context, err error) *awserr.Error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return awserr.New(awserr.RequestAborted, "The client closed the connection before the answer was ready.")
	}
	return awserr.From(err)
}

func notPost(r *http.Request) *awserr.Error {
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

// authenticate finds out who calls, and where, from the signature.
func (p *pipeline) authenticate(r *http.Request, call *api.Call, body []byte) error {
	res, err := p.verifier.Verify(r, body)
	switch {
	case err != nil:
	case res.Service != serviceName:
		err = awserr.New(awserr.InvalidSignature, "Credential should be scoped to correct service: '%s'.", serviceName)
	case !isRegion(res.Region):
		err = awserr.New(awserr.InvalidSignature, "Credential should be scoped to a valid region.")
	default:
		call.Caller, call.Region = res.Principal, res.Region
		return nil
	}
	call.Caller.AccessKeyID = res.AccessKeyID // who has it is not known
	if isRegion(res.Region) {
		call.Region = res.Region
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
		return false // not a call of the KMS API
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
