// Package kagimoritest runs a real Kagimori inside Go tests: the real store,
// journal, wire and cryptography in a temporary folder, on a loopback port, with
// a clock that the test moves.
//
//	srv := kagimoritest.Start(t)
//	client := srv.KMS("eu-central-1")
//	key, err := client.CreateKey(ctx, &kms.CreateKeyInput{})
//	...
//	srv.Advance(366 * 24 * time.Hour) // what comes due is done when Advance returns
package kagimoritest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/kagimori/kagimori/internal/attestation"
	"github.com/kagimori/kagimori/internal/buckets"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/events"
	ids "github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/journal"
	kmsapi "github.com/kagimori/kagimori/internal/kms"
	"github.com/kagimori/kagimori/internal/server"
)

// Server is a running Kagimori with one account.
type Server struct {
	// Endpoint is the URL that clients use; it stays the same over Restart.
	Endpoint string
	// Account is the 12-digit account id; the other two are its root's access key.
	Account, AccessKeyID, SecretAccessKey string
	// Dir is the data folder.
	Dir string

	t     testing.TB
	clock *clock.Manual
	data  *datadir.Dir
	srv   *server.Server
	addr  string

	attestation *attestation.Verifier
	buckets     buckets.Buckets
	targets     *events.Targets
	stop        context.CancelFunc
	done        chan error
}

// Option is a setting of the server.
type Option func(*Server)

// AttestationRoots has the server trust attestation documents whose chain ends in one of
// the root certificates in PEM, as the setting attestation-roots does.
func AttestationRoots(pem []byte) Option {
	return func(s *Server) {
		s.t.Helper()
		var err error
		if s.attestation, err = attestation.NewVerifier(pem); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Buckets has trails deliver into a directory that holds one for each bucket, or to a
// server that speaks the S3 API, as the setting buckets does. The environment has the
// credentials.
func Buckets(where string) Option {
	return func(s *Server) {
		s.t.Helper()
		var err error
		if s.buckets, err = buckets.Open(context.Background(), where, ""); err != nil {
			s.t.Fatal(err)
		}
	}
}

// EventTargets has the webhooks and commands of a file as targets of rules, as the setting
// event-targets does.
func EventTargets(file string) Option {
	return func(s *Server) {
		s.t.Helper()
		var err error
		if s.targets, err = events.LoadTargets(file); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Start starts a server that stops when the test ends. Its clock stands at the
// beginning of 2026 until Advance moves it.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{
		t: t, Dir: t.TempDir(), clock: clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), addr: "127.0.0.1:0",
		Account: "111122223333", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	}
	for _, set := range options {
		set(s)
	}
	s.Open()
	t.Cleanup(s.Stop)
	return s
}

// Restart stops the server in good order and starts it again on the same data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Open()
}

// Open starts the server again after Stop, on the same data and the same port.
func (s *Server) Open() {
	s.t.Helper()
	ctx := context.Background()
	fatal := func(err error) {
		if err != nil {
			s.t.Helper()
			s.t.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	var err error
	s.data, err = datadir.Open(ctx, s.Dir, datadir.Options{
		Clock: s.clock, Log: log, JournalSegmentSize: 2 << 20, NoRecovery: true,
		Root: ids.RootCredentials{Account: s.Account, AccessKeyID: s.AccessKeyID, SecretKey: s.SecretAccessKey},
	})
	fatal(err)
	s.srv, err = server.New(ctx, server.Options{
		Data: s.data, Clock: s.clock, Log: log, MaxConnections: 1000,
		ReadHeaderTimeout: 10 * time.Second, BodyTimeout: 30 * time.Second, IdleTimeout: time.Minute, DrainTimeout: 10 * time.Second,
		Quotas: kmsapi.AWSQuotas(), Attestation: s.attestation, Buckets: s.buckets, EventTargets: s.targets,
	})
	fatal(err)
	ln, err := net.Listen("tcp", s.addr)
	fatal(err)
	s.addr = ln.Addr().String()
	s.Endpoint = "http://" + s.addr
	run, stop := context.WithCancel(ctx)
	s.stop, s.done = stop, make(chan error, 1)
	go func() { s.done <- s.srv.Serve(run, ln, nil) }()
}

// Stop stops the server in good order. Start does this when the test ends.
func (s *Server) Stop() {
	s.t.Helper()
	if s.stop == nil {
		return
	}
	ctx := context.Background()
	s.stop()
	s.stop = nil
	served := <-s.done
	s.srv.Close(ctx)
	for _, err := range []error{served, s.data.Close("the test ended")} {
		if err != nil {
			s.t.Error(err)
		}
	}
}

// Now is the server's time.
func (s *Server) Now() time.Time { return s.clock.Now() }

// Advance moves the server's clock forward and waits until rotations, deletions
// and whatever else came due meanwhile are done, unless it is stopped.
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	s.clock.Advance(d)
	if s.stop == nil {
		return
	}
	if err := s.srv.RunDue(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// KMS is a client of the server in a Region, with the root's credentials. It is
// short for Root().KMS(region).
func (s *Server) KMS(region string) *kms.Client { return s.Root().KMS(region) }

// Root calls as the root of the first account, which is the organization's
// management account.
func (s *Server) Root() Caller {
	return s.As(aws.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey})
}

// As calls with credentials that the server gave: those of an IAM user's access
// key, or temporary ones of STS.
func (s *Server) As(credentials aws.Credentials) Caller { return Caller{s, credentials} }

// Caller makes clients that call as one principal. They make one attempt a call,
// and their signatures carry the server's time.
type Caller struct {
	server      *Server
	credentials aws.Credentials
}

// Retrieve implements aws.CredentialsProvider.
func (c Caller) Retrieve(context.Context) (aws.Credentials, error) { return c.credentials, nil }

// KMS is a client in a Region.
func (c Caller) KMS(region string) *kms.Client {
	return kms.New(kms.Options{Region: region, BaseEndpoint: &c.server.Endpoint, Retryer: aws.NopRetryer{}, Credentials: c, HTTPSignerV4: c.signer(),
		HTTPClient: new(httpClient)})
}

// Through is a client whose calls a service makes for the caller, as AWS's services
// do with forward access sessions: ec2.amazonaws.com, for example, for an encrypted
// volume. It makes kms:ViaService ec2.REGION.amazonaws.com.
func (c Caller) Through(service, region string) *kms.Client {
	return kms.New(kms.Options{Region: region, BaseEndpoint: &c.server.Endpoint, Retryer: aws.NopRetryer{}, Credentials: c, HTTPSignerV4: c.signer(),
		HTTPClient: server.InProcess{Handler: c.server.srv.Forwarded(service)}})
}

// Service is a client of a service that calls for itself, on account of the
// resource of an ARN, as the grantees of grants for services do.
func (s *Server) Service(service, region, sourceARN, sourceAccount string) *kms.Client {
	return kms.New(kms.Options{Region: region, BaseEndpoint: &s.Endpoint, Retryer: aws.NopRetryer{}, Credentials: aws.AnonymousCredentials{},
		HTTPClient: server.InProcess{Handler: s.srv.AsService(service, region, sourceARN, sourceAccount)}})
}

// IAM is a client of IAM, which is the same in all Regions.
func (c Caller) IAM() *iam.Client {
	return iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &c.server.Endpoint, Retryer: aws.NopRetryer{}, Credentials: c, HTTPSignerV4: c.signer(),
		HTTPClient: new(httpClient)})
}

// STS is a client of STS.
func (c Caller) STS() *sts.Client {
	return sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &c.server.Endpoint, Retryer: aws.NopRetryer{}, Credentials: c, HTTPSignerV4: c.signer(),
		HTTPClient: new(httpClient)})
}

// Organizations is a client of Organizations, for the management account.
func (c Caller) Organizations() *organizations.Client {
	return organizations.New(organizations.Options{Region: "us-east-1", BaseEndpoint: &c.server.Endpoint, Retryer: aws.NopRetryer{}, Credentials: c, HTTPSignerV4: c.signer(),
		HTTPClient: new(httpClient)})
}

// CloudTrail is a client of CloudTrail in a Region.
func (c Caller) CloudTrail(region string) *cloudtrail.Client {
	return cloudtrail.New(cloudtrail.Options{Region: region, BaseEndpoint: &c.server.Endpoint, Retryer: aws.NopRetryer{}, Credentials: c, HTTPSignerV4: c.signer(),
		HTTPClient: new(httpClient)})
}

// EventBridge is a client of EventBridge in a Region.
func (c Caller) EventBridge(region string) *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{Region: region, BaseEndpoint: &c.server.Endpoint, Retryer: aws.NopRetryer{}, Credentials: c, HTTPSignerV4: c.signer(),
		HTTPClient: new(httpClient)})
}

// httpClient is the SDK's own, for requests whose bodies cannot write themselves:
// smithy-go's bodies answer that with an error once the header of the answer is here
// (as of v1.28.9), upon which net/http closes the connection under the rest of a long
// answer. The SDK's retries would hide it; these clients have none.
type httpClient struct{ awshttp.BuildableClient }

// Do implements the SDK's HTTPClient.
func (c *httpClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.BuildableClient.Do(r)
}

// AssumeRole calls as a session of a role that this caller may assume. It fails
// the test if it may not.
func (c Caller) AssumeRole(roleARN, session string) Caller {
	t := c.server.t
	t.Helper()
	out, err := c.STS().AssumeRole(context.Background(), &sts.AssumeRoleInput{RoleArn: &roleARN, RoleSessionName: &session})
	if err != nil {
		t.Fatal(err)
	}
	return c.server.Session(out.Credentials)
}

// Session calls with temporary credentials as STS answers them.
func (s *Server) Session(given *ststypes.Credentials) Caller {
	return s.As(aws.Credentials{AccessKeyID: *given.AccessKeyId, SecretAccessKey: *given.SecretAccessKey, SessionToken: *given.SessionToken})
}

func (c Caller) signer() signer { return signer{c.server.clock, v4.NewSigner()} }

// signer signs with the server's time instead of the machine's.
type signer struct {
	clock clock.Clock
	*v4.Signer
}

func (s signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, opts ...func(*v4.SignerOptions)) error {
	return s.Signer.SignHTTP(ctx, c, r, hash, service, region, s.clock.Now(), opts...)
}

// Records are all audit records so far, oldest first, as decoded JSON objects.
func (s *Server) Records() []map[string]any {
	s.t.Helper()
	var out []map[string]any
	for entry, err := range journal.Read(s.data.JournalDir(), 1) {
		if err != nil {
			s.t.Fatal(err)
		}
		var rec map[string]any
		if err := json.Unmarshal(entry.Record, &rec); err != nil {
			s.t.Fatalf("audit record %d is not JSON: %v", entry.Seq, err)
		}
		out = append(out, rec)
	}
	return out
}
