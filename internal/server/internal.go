package server

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"strings"

	"github.com/kagimori/kagimori/internal/api"
)

// origin is a service of this process that calls the API, as AWS's services call
// AWS KMS. Nothing from outside has one.
type origin struct {
	service string // the principal: ec2.amazonaws.com
	itself  bool   // it calls for itself, not for the caller that signed

	// Of a service that calls for itself.
	region                   string
	sourceARN, sourceAccount string
}

// Forwarded is the API for a service of this process, such as ec2.amazonaws.com,
// that calls it for its own caller with the credentials of the latter (a forward
// access session). What only kms:ViaService or kms:GrantIsForAWSResource allows is
// open to it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_forward_access_sessions.html
func (s *Server) Forwarded(service string) http.Handler {
	return s.from(&origin{service: service})
}

// AsService is the API for a service of this process that calls it for itself, on
// account of a resource (an ARN and the account that owns it; both may be empty).
// Its requests need no signature.
func (s *Server) AsService(service, region, sourceARN, sourceAccount string) http.Handler {
	return s.from(&origin{service, true, region, sourceARN, sourceAccount})
}

func (s *Server) from(o *origin) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.pipeline.serve(w, r, o) })
}

// forward notes that the service makes the call for its caller.
func (o *origin) forward(call *api.Call) {
	call.Via = strings.TrimSuffix(o.service, ".amazonaws.com") + "." + call.Region + ".amazonaws.com"
	call.CalledVia = []string{o.service}
}

// own notes that the service makes the call for itself.
func (o *origin) own(call *api.Call) {
	call.Caller = api.Principal{Type: api.AWSService, ID: o.service, ARN: o.service}
	call.Region, call.SourceARN, call.SourceAccount = o.region, o.sourceARN, o.sourceAccount
}

// InProcess hands the requests of one of the SDK's clients to a handler.
type InProcess struct{ Handler http.Handler }

// Do implements the SDK's HTTPClient.
func (p InProcess) Do(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI, in.Host = r.URL.RequestURI(), cmp.Or(r.Host, r.URL.Host)
	a := &kept{header: http.Header{}, status: http.StatusOK}
	p.Handler.ServeHTTP(a, in)
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r}, nil
}

// kept is a http.ResponseWriter that keeps what is written.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *kept) Header() http.Header         { return a.header }
func (a *kept) WriteHeader(status int)      { a.status = status }
func (a *kept) Write(b []byte) (int, error) { return a.body.Write(b) }
