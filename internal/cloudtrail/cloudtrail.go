// Package cloudtrail shows the audit records to those whom they are about: it answers the
// AWS CloudTrail API.
//
// An account sees the records that it is the recipient of. The package reads the journal; it
// never writes there.
package cloudtrail

import (
	"context"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/eventindex"
)

// Config is what a Service needs.
type Config struct {
	Authorize authz.Decider
	Index     *eventindex.Index
}

// Service answers the CloudTrail API. It is safe for concurrent use.
type Service struct{ Config }

// New makes a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler {
	return map[string]api.Handler{
		"LookupEvents": api.Handle(s.LookupEvents),
	}
}

// authorize asks for authorization on a resource of the caller's account.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudtrail.html
func (s *Service) authorize(ctx context.Context, call *api.Call, resource string) error {
	return authz.Check(ctx, s.Authorize, call, &authz.Request{
		Action: "cloudtrail:" + call.Operation, Resource: resource, Account: call.Caller.Account})
}
