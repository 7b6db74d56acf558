// Package cloudtrail shows the audit records to those whom they are about: it answers the
// AWS CloudTrail API and delivers log files and digest files to buckets.
//
// An account sees the records that it is the recipient of, with a trail of the organization
// all. The package reads the journal; it never writes there. What is delivered, is delivered
// in the order of the journal, at least once: how far a trail has come is stored after its
// files are in the bucket, and what a crash makes it deliver again has the same name.
package cloudtrail

import (
	"context"
	"log/slog"
	"sync"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/buckets"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/store"
)

// Config is what a Service needs.
type Config struct {
	Store      store.Store
	Trail      *audit.Trail
	Authorize  authz.Decider
	Index      *eventindex.Index
	JournalDir string
	// Membership is what an account has from the organization.
	Membership func(ctx context.Context, account string) (*authz.Membership, error)
	// Management is the organization's management account.
	Management string
	Buckets    buckets.Buckets // nil: there are none
	Clock      clock.Clock
	Log        *slog.Logger
}

// Service answers the CloudTrail API. It is safe for concurrent use.
type Service struct {
	Config

	stop    context.CancelFunc
	done    sync.WaitGroup
	changed chan struct{} // a trail was made or changed

	mu       sync.Mutex
	couriers map[store.Place]*courier
}

// New makes a Service. Start sets its deliveries going.
func New(cfg Config) *Service {
	return &Service{Config: cfg, changed: make(chan struct{}, 1), couriers: map[store.Place]*courier{}}
}

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler {
	return map[string]api.Handler{
		"AddTags":           api.Handle(s.AddTags),
		"CreateTrail":       api.Handle(s.CreateTrail),
		"DeleteTrail":       api.Handle(s.DeleteTrail),
		"DescribeTrails":    api.Handle(s.DescribeTrails),
		"GetEventSelectors": api.Handle(s.GetEventSelectors),
		"GetTrail":          api.Handle(s.GetTrail),
		"GetTrailStatus":    api.Handle(s.GetTrailStatus),
		"ListPublicKeys":    api.Handle(s.ListPublicKeys),
		"ListTags":          api.Handle(s.ListTags),
		"ListTrails":        api.Handle(s.ListTrails),
		"LookupEvents":      api.Handle(s.LookupEvents),
		"PutEventSelectors": api.Handle(s.PutEventSelectors),
		"RemoveTags":        api.Handle(s.RemoveTags),
		"StartLogging":      api.Handle(s.StartLogging),
		"StopLogging":       api.Handle(s.StopLogging),
		"UpdateTrail":       api.Handle(s.UpdateTrail),
	}
}

// authorize asks for authorization on a resource of the caller's account.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudtrail.html
func (s *Service) authorize(ctx context.Context, call *api.Call, resource string) error {
	return authz.Check(ctx, s.Authorize, call, &authz.Request{
		Action: "cloudtrail:" + call.Operation, Resource: resource, Account: call.Caller.Account})
}
