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
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/journal"
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
	stop  context.CancelFunc
	done  chan error
}

// Start starts a server that stops when the test ends. Its clock stands at the
// beginning of 2026 until Advance moves it.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t: t, Dir: t.TempDir(), clock: clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), addr: "127.0.0.1:0",
		Account: "111122223333", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
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
		Root: iam.RootCredentials{Account: s.Account, AccessKeyID: s.AccessKeyID, SecretKey: s.SecretAccessKey},
	})
	fatal(err)
	s.srv, err = server.New(ctx, server.Options{
		Data: s.data, Clock: s.clock, Log: log, MaxConnections: 1000,
		ReadHeaderTimeout: 10 * time.Second, BodyTimeout: 30 * time.Second, IdleTimeout: time.Minute, DrainTimeout: 10 * time.Second,
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
// and whatever else came due meanwhile are done.
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	s.clock.Advance(d)
	if err := s.srv.RunDue(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// KMS is a client of the server in a Region, with the root's credentials, that
// makes one attempt a call. Its signatures carry the server's time.
func (s *Server) KMS(region string) *kms.Client {
	return kms.New(kms.Options{
		Region: region, BaseEndpoint: aws.String(s.Endpoint), Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey}, nil
		}),
		HTTPSignerV4: signer{s.clock, v4.NewSigner()},
	})
}

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
