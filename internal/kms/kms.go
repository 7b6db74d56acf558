// Package kms is the AWS KMS API: what every operation means for keys, aliases,
// tags, policies and rotations.
//
// Each operation is one function of one shape. A handler reaches a key only
// through Service.use, which resolves the identifier, asks for authorization and
// checks the key state, in that order; key material hangs on what use returns
// and on nothing else. Every change goes through Service.commit, which stores it
// together with its audit record. The package knows nothing of HTTP, JSON on the
// wire or SQL.
package kms

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/cache"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/store"
)

// Config is what a Service is made of. Every field is needed.
type Config struct {
	Store store.Store
	Trail *audit.Trail
	// Authorize decides who may do what.
	Authorize authz.Decider
	Clock     clock.Clock
	// Log is told what went wrong in the background. Callers' errors are not
	// logged, they are in the audit record.
	Log *slog.Logger
}

// Service answers the KMS API. It is safe for concurrent use.
type Service struct {
	Config
	keys    *cache.Cache[keyPlace, *key]
	aliases *cache.Cache[aliasPlace, string]
	usage   usageTracker
	kick    chan struct{}  // wakes the background job
	stop    chan struct{}  // closed by Close
	job     sync.WaitGroup // the background job
}

// eventSource is this service in audit records.
const eventSource = "kms.amazonaws.com"

// Quotas of AWS KMS, per account and Region or per key.
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
const (
	maxKeys              = 100_000
	maxAliasesPerKey     = 50
	maxTagsPerKey        = 50
	maxPolicyBytes       = 32 << 10
	maxOnDemandRotations = 25
)

// How many keys and aliases stay ready in memory. What is not there is read from
// the store when it is asked for.
const (
	cachedKeys    = 1 << 16
	cachedAliases = 1 << 16
)

// New makes a Service over what the store holds and catches up with the journal
// in journalDir where the last run could not finish. Start sets the background
// job going.
func New(ctx context.Context, cfg Config, journalDir string) (*Service, error) {
	s := &Service{
		Config:  cfg,
		keys:    cache.New[keyPlace, *key](cachedKeys),
		aliases: cache.New[aliasPlace, string](cachedAliases),
		kick:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	cfg.Store.Subscribe(s.forget)
	if err := s.recoverUsage(ctx, journalDir); err != nil {
		return nil, err
	}
	return s, nil
}

// forget drops what changed from the caches. The store calls it before it
// acknowledges the change, so what a call acknowledged, the next call sees.
func (s *Service) forget(changes []store.Change) {
	for _, c := range changes {
		switch c.Place.Kind {
		case keyKind:
			s.keys.Drop(keyPlace{c.Place.Region, c.Place.ID})
		case aliasKind:
			s.aliases.Drop(aliasPlace{c.Place.Account, c.Place.Region, c.Place.ID})
		}
	}
}

// Handler answers one operation: in and the result are the operation's input and
// output of aws-sdk-go-v2/service/kms.
type Handler func(ctx context.Context, call *api.Call, in any) (out any, err error)

// handle gives a typed handler the common shape.
func handle[In, Out any](fn func(context.Context, *api.Call, *In) (*Out, error)) Handler {
	return func(ctx context.Context, call *api.Call, in any) (any, error) {
		out, err := fn(ctx, call, in.(*In))
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]Handler {
	return map[string]Handler{
		"CancelKeyDeletion":               handle(s.CancelKeyDeletion),
		"CreateAlias":                     handle(s.CreateAlias),
		"CreateKey":                       handle(s.CreateKey),
		"Decrypt":                         handle(s.Decrypt),
		"DeleteAlias":                     handle(s.DeleteAlias),
		"DescribeKey":                     handle(s.DescribeKey),
		"DisableKey":                      handle(s.DisableKey),
		"DisableKeyRotation":              handle(s.DisableKeyRotation),
		"EnableKey":                       handle(s.EnableKey),
		"EnableKeyRotation":               handle(s.EnableKeyRotation),
		"Encrypt":                         handle(s.Encrypt),
		"GenerateDataKey":                 handle(s.GenerateDataKey),
		"GenerateDataKeyWithoutPlaintext": handle(s.GenerateDataKeyWithoutPlaintext),
		"GenerateRandom":                  handle(s.GenerateRandom),
		"GetKeyLastUsage":                 handle(s.GetKeyLastUsage),
		"GetKeyPolicy":                    handle(s.GetKeyPolicy),
		"GetKeyRotationStatus":            handle(s.GetKeyRotationStatus),
		"ListAliases":                     handle(s.ListAliases),
		"ListKeyPolicies":                 handle(s.ListKeyPolicies),
		"ListKeyRotations":                handle(s.ListKeyRotations),
		"ListKeys":                        handle(s.ListKeys),
		"ListResourceTags":                handle(s.ListResourceTags),
		"PutKeyPolicy":                    handle(s.PutKeyPolicy),
		"ReEncrypt":                       handle(s.ReEncrypt),
		"RotateKeyOnDemand":               handle(s.RotateKeyOnDemand),
		"ScheduleKeyDeletion":             handle(s.ScheduleKeyDeletion),
		"TagResource":                     handle(s.TagResource),
		"UntagResource":                   handle(s.UntagResource),
		"UpdateAlias":                     handle(s.UpdateAlias),
		"UpdateKeyDescription":            handle(s.UpdateKeyDescription),
	}
}

// commit makes a change and its audit record durable together. Without a decision
// that allowed the call nothing is changed.
func (s *Service) commit(ctx context.Context, call *api.Call, fn func(store.Tx) error) error {
	if !call.Authorized() {
		return fmt.Errorf("%s would change something without an authorization decision", call.Operation)
	}
	recs, err := s.Trail.Commit(ctx, func(tx store.Tx) error {
		call.Trail.Events = nil
		return fn(tx)
	}, func() []api.Record {
		return append([]api.Record{audit.CallRecord(call, nil)}, call.Trail.Events...)
	})
	call.Trail.Written = recs
	return err
}
