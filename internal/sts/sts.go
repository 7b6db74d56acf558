// Package sts answers the AWS STS API: it gives out temporary credentials and
// knows them again.
package sts

import (
	"log/slog"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/sigv4"
	"github.com/kagimori/kagimori/internal/store"
)

// Config is what a Service needs.
type Config struct {
	Trail     *audit.Trail
	Directory *iam.Directory
	Authorize authz.Decider
	Sealer    store.Sealer // of session tokens
	Clock     clock.Clock
	Log       *slog.Logger
}

// Service answers the STS API. It is safe for concurrent use.
type Service struct{ Config }

// New makes a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler { return map[string]api.Handler{} }

// Lookup is the sigv4.Lookup of temporary credentials.
func (s *Service) Lookup(accessKeyID, sessionToken string) (sigv4.Credential, error) {
	return sigv4.Credential{}, sigv4.ErrUnknownKey
}
