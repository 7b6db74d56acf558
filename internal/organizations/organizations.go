// Package organizations owns the organization: its accounts, their places in it,
// and the service control policies that bear on them. It answers the AWS
// Organizations API.
package organizations

import (
	"context"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/store"
)

// Directory answers what an account has from the organization. It is safe for
// concurrent use.
type Directory struct{ store store.Store }

// NewDirectory makes a Directory over what the store holds.
func NewDirectory(st store.Store) *Directory { return &Directory{st} }

// Membership is the authz.Directory's.
func (*Directory) Membership(context.Context, string) (*authz.Membership, error) {
	return &noMembership, nil
}

var noMembership authz.Membership

// Config is what a Service needs.
type Config struct {
	Store     store.Store
	Trail     *audit.Trail
	Authorize authz.Decider
	Clock     clock.Clock
}

// Service answers the Organizations API. It is safe for concurrent use.
type Service struct{ Config }

// New makes a Service over what the store holds.
func New(cfg Config) *Service { return &Service{cfg} }

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler { return map[string]api.Handler{} }
