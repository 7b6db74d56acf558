// Package events has things done when something happens: it answers the Amazon EventBridge
// API, and carries what is recorded to the targets of the rules that match it.
//
// Each audit record is an event of its account and Region, and so is what PutEvents brings.
// The package follows the journal behind the calls, which never wait for it. What matches a
// rule is stored in one transaction with how far the journal was read, and is delivered from
// there: at least once, whatever crashes, and in no certain order. See docs/architecture.md.
package events

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/store"
)

// Principal is the service in policies and records.
const Principal = "events.amazonaws.com"

// Config is what a Service needs.
type Config struct {
	Store      store.Store
	Trail      *audit.Trail
	Authorize  authz.Decider
	JournalDir string
	// Targets are what the operator lets rules have as targets.
	Targets *Targets
	// WebhookKey is the file that the public key of webhooks' signatures is put into.
	WebhookKey string
	Clock      clock.Clock
	Log        *slog.Logger

	// AsService and Forwarded lead to the API of this server, in this service's own name, on
	// account of a resource, and in that of the caller who signs.
	AsService func(region, sourceARN, sourceAccount string) aws.HTTPClient
	Forwarded aws.HTTPClient
}

// Service answers the EventBridge API. It is safe for concurrent use.
type Service struct {
	Config
	key  ed25519.PrivateKey // that signs webhooks; nil if there are none
	base context.Context    // of what is done in the background; nil until Start
	stop context.CancelFunc
	done sync.WaitGroup

	stale   atomic.Bool   // rules were changed since they were loaded
	changed chan struct{} // likewise, for who waits

	learning atomic.Bool // the journal is being searched for who used which key

	mu       sync.Mutex
	pending  map[targetPlace]load // deliveries in the store
	couriers map[targetPlace]*courier
	handled  map[string]uint64 // by target and subject, the last record that a response took into account
	stats    Stats
}

// Stats count deliveries.
type Stats struct {
	Delivered, Retried, DeadLetters, Dropped uint64
	Pending                                  int
}

// New makes a Service. Start sets its deliveries going.
func New(cfg Config) *Service {
	s := &Service{Config: cfg, changed: make(chan struct{}, 1), pending: map[targetPlace]load{}, couriers: map[targetPlace]*courier{}, handled: map[string]uint64{}}
	cfg.Store.Subscribe(func(changes []store.Change) {
		for _, c := range changes {
			if c.Place.Kind == ruleKind {
				s.stale.Store(true)
				nudge(s.changed)
			}
		}
	})
	return s
}

// Stats are those since the start.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	for _, n := range s.pending {
		stats.Pending += n.events
	}
	return stats
}

// nudge wakes who waits for a channel that holds one.
func nudge(waiting chan struct{}) {
	select {
	case waiting <- struct{}{}:
	default:
	}
}

// Start sets deliveries going.
func (s *Service) Start(ctx context.Context) error {
	if err := s.loadKey(ctx); err != nil {
		return err
	}
	s.base, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.resume(ctx); err != nil { // keys are of more weight than events
		s.Log.Error("events that were not delivered before the last stop wait for the next start", "error", err)
	}
	s.done.Go(func() { s.run(s.base) })
	return nil
}

// Close stops deliveries. What was not delivered yet will be after the next start.
func (s *Service) Close() {
	s.stop()
	s.done.Wait()
}

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler {
	return map[string]api.Handler{
		"DeleteRule":            api.Handle(s.DeleteRule),
		"DescribeRule":          api.Handle(s.DescribeRule),
		"DisableRule":           api.Handle(s.DisableRule),
		"EnableRule":            api.Handle(s.EnableRule),
		"ListRuleNamesByTarget": api.Handle(s.ListRuleNamesByTarget),
		"ListRules":             api.Handle(s.ListRules),
		"ListTagsForResource":   api.Handle(s.ListTagsForResource),
		"ListTargetsByRule":     api.Handle(s.ListTargetsByRule),
		"PutEvents":             api.Handle(s.PutEvents),
		"PutRule":               api.Handle(s.PutRule),
		"PutTargets":            api.Handle(s.PutTargets),
		"RemoveTargets":         api.Handle(s.RemoveTargets),
		"TagResource":           api.Handle(s.TagResource),
		"TestEventPattern":      api.Handle(s.TestEventPattern),
		"UntagResource":         api.Handle(s.UntagResource),
	}
}
