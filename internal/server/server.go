// Package server puts the rooms together: listeners, TLS, limits, the pipeline
// that every call goes through, health and metrics, and an orderly stop.
//
// It promises that no answer leaves before its audit record is durable, that a
// success carries an authorization decision, and that no input makes it panic or
// take unbounded memory.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/attestation"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/buckets"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/cloudtrail"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/events"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/keystore"
	"github.com/kagimori/kagimori/internal/kms"
	"github.com/kagimori/kagimori/internal/organizations"
	"github.com/kagimori/kagimori/internal/quota"
	"github.com/kagimori/kagimori/internal/sigv4"
	"github.com/kagimori/kagimori/internal/sts"
	"github.com/kagimori/kagimori/internal/wire"
)

// Options are the limits of a Server and what it works with. All are needed but
// TLS and KeyStores.
type Options struct {
	Data  *datadir.Dir
	Clock clock.Clock
	Log   *slog.Logger
	// TLS, if not nil, is put on the API listener.
	TLS *tls.Config
	// MaxConnections bounds the open connections of the API listener; more wait
	// to be accepted.
	MaxConnections int
	// ReadHeaderTimeout and BodyTimeout bound how long a client may take to send
	// the header and the whole request; IdleTimeout how long a connection may
	// wait for its next request; DrainTimeout how long a stop waits for calls
	// in flight.
	ReadHeaderTimeout, BodyTimeout, IdleTimeout, DrainTimeout time.Duration
	// Quotas are the resource quotas of KMS.
	Quotas kms.Quotas
	// Attestation verifies attestation documents; nil: their Recipients are refused.
	Attestation *attestation.Verifier
	// RequestQuotas limits how often an account may call, by AWS's figures.
	RequestQuotas bool
	// Buckets is where trails deliver to; nil: nowhere.
	Buckets buckets.Buckets
	// EventTargets are the webhooks and commands that rules can have as targets; nil: there are none.
	EventTargets *events.Targets
	// KeyStores reach what is behind custom key stores, by their type; nil: nothing.
	KeyStores map[types.CustomKeyStoreType]keystore.Backend
}

// maxHeader is the largest request header in bytes; session tokens are long.
const maxHeader = 64 << 10

// Server serves the API of one data folder.
type Server struct {
	opts     Options
	kms      *kms.Service
	trails   *cloudtrail.Service
	events   *events.Service
	pipeline *pipeline
	metrics  *metrics
	draining atomic.Bool
}

// New makes a Server and sets its background work going. Close ends it.
func New(ctx context.Context, opts Options) (*Server, error) {
	d := opts.Data
	if err := organizations.Ensure(ctx, d.Store, opts.Clock.Now()); err != nil {
		return nil, err
	}
	principals := directory{iam.NewDirectory(d.Store), organizations.NewDirectory(d.Store)}
	engine := authz.New(principals)
	var rates *quota.Rates
	if opts.RequestQuotas {
		rates = new(quota.Rates)
	}
	service, err := kms.New(ctx, kms.Config{Quotas: opts.Quotas, Rates: rates, Attestation: opts.Attestation, Store: d.Store, Trail: d.Trail, Authorize: engine, Principals: principals, Sealer: d.Sealer(), Clock: opts.Clock, Log: opts.Log, KeyStores: opts.KeyStores}, d.JournalDir())
	if err != nil {
		return nil, err
	}
	tokens := sts.New(sts.Config{Trail: d.Trail, Directory: principals.Directory, Authorize: engine, Sealer: d.Sealer(), Clock: opts.Clock})
	management, err := iam.Account(ctx, d.Store)
	if err != nil {
		return nil, err
	}
	trails := cloudtrail.New(cloudtrail.Config{Store: d.Store, Trail: d.Trail, Authorize: engine, Index: d.Index, JournalDir: d.JournalDir(),
		Membership: principals.Membership, Management: management, Buckets: opts.Buckets, Clock: opts.Clock, Log: opts.Log})
	if opts.EventTargets == nil {
		opts.EventTargets = new(events.Targets)
	}
	rules := events.New(events.Config{Store: d.Store, Trail: d.Trail, Authorize: engine, JournalDir: d.JournalDir(), Targets: opts.EventTargets,
		WebhookKey: datadir.WebhookKeyFile(d.Path), Clock: opts.Clock, Log: opts.Log})
	handlers := map[string]map[string]api.Handler{
		wire.KMS.Name:           service.Handlers(),
		wire.IAM.Name:           iam.New(iam.Config{Store: d.Store, Trail: d.Trail, Authorize: engine, Directory: principals.Directory, Membership: principals.Membership, Clock: opts.Clock}).Handlers(),
		wire.STS.Name:           tokens.Handlers(),
		wire.CloudTrail.Name:    trails.Handlers(),
		wire.EventBridge.Name:   rules.Handlers(),
		wire.Organizations.Name: organizations.New(organizations.Config{Store: d.Store, Trail: d.Trail, Authorize: engine}).Handlers(),
	}
	m := newMetrics(d.Journal.Stats, d.Journal.Err, d.Store.Health, d.Transparency, d.Index, rules)
	m.keys = newKeyMetrics(opts.Clock, service.Expiring)
	s := &Server{
		opts: opts, kms: service, trails: trails, events: rules, metrics: m,
		pipeline: newPipeline(sigv4.New(principals.lookup(tokens), opts.Clock), handlers, d.Trail, opts.Clock, opts.Log, m),
	}
	s.pipeline.message = tokens.EncodeAuthorizationMessage
	rules.AsService = func(region, sourceARN, sourceAccount string) aws.HTTPClient {
		return InProcess{s.AsService(events.Principal, region, sourceARN, sourceAccount)}
	}
	rules.Forwarded = InProcess{s.Forwarded(events.Principal)}
	if err := rules.Start(ctx); err != nil {
		return nil, err
	}
	service.Start()
	trails.Start()
	return s, nil
}

// Handler answers the API and, with admin set, health and metrics.
func (s *Server) Handler(admin bool) http.Handler {
	if !admin {
		return s.pipeline
	}
	a := s.pages(false)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && (r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/metrics") {
			a.ServeHTTP(w, r)
			return
		}
		s.pipeline.ServeHTTP(w, r)
	})
}

// AdminHandler answers GET /healthz, /readyz and /metrics, for operators alone.
func (s *Server) AdminHandler() http.Handler { return s.pages(true) }

// pages are those of AdminHandler, without what only operators may know unless own is set.
func (s *Server) pages(own bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", s.metrics.handler(own))
	return mux
}

// Ready is nil while calls can be served, else the reason why not.
func (s *Server) Ready() error {
	switch {
	case s.draining.Load():
		return errors.New("the server is stopping")
	case s.opts.Data.Journal.Err() != nil:
		return fmt.Errorf("audit records cannot be written: %w", s.opts.Data.Journal.Err())
	case s.opts.Data.Store.Health() != nil:
		return fmt.Errorf("changes cannot be stored: %w", s.opts.Data.Store.Health())
	}
	return nil
}

// Serve serves on the listeners until ctx ends, then lets calls in flight
// finish. admin may be nil: then health and metrics are on the API listener.
func (s *Server) Serve(ctx context.Context, listener, admin net.Listener) error {
	servers := []*http.Server{s.httpServer(s.Handler(admin == nil))}
	listeners := []net.Listener{netutil.LimitListener(listener, s.opts.MaxConnections)}
	if s.opts.TLS != nil {
		listeners[0] = tls.NewListener(listeners[0], s.opts.TLS)
	}
	if admin != nil {
		servers, listeners = append(servers, s.httpServer(s.AdminHandler())), append(listeners, admin)
	}
	failed := make(chan error, len(servers))
	for i := range servers {
		go func() { failed <- servers[i].Serve(listeners[i]) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.DrainTimeout)
	defer cancel()
	for _, hs := range servers {
		if e := hs.Shutdown(drain); e != nil {
			hs.Close()
			if err == nil {
				err = fmt.Errorf("calls were still in flight after %s: %w", s.opts.DrainTimeout, e)
			}
		}
	}
	return err
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.opts.ReadHeaderTimeout,
		ReadTimeout:       s.opts.BodyTimeout,
		WriteTimeout:      s.opts.BodyTimeout + 30*time.Second,
		IdleTimeout:       s.opts.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withConn,
		// Failed handshakes and the like: of interest only when looking for them.
		ErrorLog: slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
}

// Close ends the background work. The data folder stays open; it is its
// opener's to close.
func (s *Server) Close(ctx context.Context) {
	s.events.Close()
	s.trails.Close()
	s.kms.Close(ctx)
}

// RunDue does now what the background job would do when it next looks:
// rotations, deletions, and what had to be written later.
func (s *Server) RunDue(ctx context.Context) error {
	_, err := s.kms.RunDue(ctx)
	return errors.Join(err, s.kms.Flush(ctx))
}
