package iam

import (
	"context"
	"errors"
	"maps"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/store"
)

// Config is what a Service needs.
type Config struct {
	Store     store.Store
	Trail     *audit.Trail
	Authorize authz.Decider
	Directory *Directory
	// Membership is what an account has from the organization.
	Membership func(ctx context.Context, account string) (*authz.Membership, error)
	Clock      clock.Clock
}

// Service answers the IAM API. It is safe for concurrent use.
type Service struct{ Config }

// New makes a Service over what the store holds.
func New(cfg Config) *Service { return &Service{cfg} }

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler {
	all := map[string]api.Handler{}
	for _, table := range []map[string]api.Handler{s.entityHandlers(), s.accountHandlers()} {
		maps.Copy(all, table)
	}
	return all
}

// errPageFull ends a listing whose page is full.
var errPageFull = errors.New("page full")
