// Package kms is the AWS KMS API: what every operation means for keys, aliases,
// tags, policies and rotations.
//
// Each operation is one function of one shape. A handler reaches a key only
// through Service.use, which resolves the identifier, asks for authorization and
// checks the key state, in that order; key material hangs on what use returns
// and on nothing else. Every change goes through Trail.Change, which stores it
// together with its audit record. The package knows nothing of HTTP, JSON on the
// wire or SQL.
package kms

import (
	"context"
	"log/slog"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/attestation"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/cache"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/keystore"
	"github.com/kagimori/kagimori/internal/quota"
	"github.com/kagimori/kagimori/internal/store"
)

// Config is what a Service is made of. What may be nil says so.
type Config struct {
	Store store.Store
	Trail *audit.Trail
	// Authorize decides who may do what.
	Authorize authz.Decider
	// Principals knows whom policies and grants name.
	Principals Principals
	Sealer     store.Sealer // of grant tokens
	Clock      clock.Clock
	Quotas     Quotas
	Rates      *quota.Rates // nil: calls are not limited
	// Attestation verifies the documents of those who ask for an answer that an attested
	// environment alone can read; nil: nobody can.
	Attestation *attestation.Verifier
	// KeyStores reach what is behind custom key stores, by their type.
	KeyStores map[types.CustomKeyStoreType]keystore.Backend
	// Log is told what went wrong in the background. Callers' errors are not
	// logged, they are in the audit record.
	Log *slog.Logger
}

// Service answers the KMS API. It is safe for concurrent use.
type Service struct {
	Config
	keys    *cache.Cache[keyPlace, *key]
	aliases *cache.Cache[aliasPlace, string]
	grants  *cache.Cache[granteePlace, []*grant]
	usage   usageTracker
	pairs   pairPool
	links   links
	kick    chan struct{}  // wakes the background job
	stop    chan struct{}  // closed by Close
	job     sync.WaitGroup // the background job
}

// eventSource is this service in audit records.
const eventSource = "kms.amazonaws.com"

// Quotas are how much there can be of something: those that AWS raises when asked to.
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
type Quotas struct {
	Keys            int // in an account and Region
	AliasesPerKey   int
	GrantsPerKey    int
	CustomKeyStores int // in an account and Region
}

// AWSQuotas are AWS's defaults.
func AWSQuotas() Quotas {
	return Quotas{Keys: 100_000, AliasesPerKey: 50, GrantsPerKey: 50_000, CustomKeyStores: 10}
}

// The other quotas of AWS KMS, for a key.
const (
	maxTagsPerKey        = 50
	maxPolicyBytes       = 32 << 10
	maxOnDemandRotations = 25
)

// How many keys, aliases and grants stay ready in memory. What is not there is read from
// the store when it is asked for.
const (
	cachedKeys     = 1 << 16
	cachedAliases  = 1 << 16
	cachedGrantees = 1 << 16 // pairs of key and grantee, those without a grant included
)

// New makes a Service over what the store holds and catches up with the journal
// in journalDir where the last run could not finish, and begins to connect the custom
// key stores that were connected. Start sets the background job going.
func New(ctx context.Context, cfg Config, journalDir string) (*Service, error) {
	s := &Service{
		Config:  cfg,
		keys:    cache.New[keyPlace, *key](cachedKeys),
		aliases: cache.New[aliasPlace, string](cachedAliases),
		grants:  cache.New[granteePlace, []*grant](cachedGrantees),
		kick:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	s.links.all = map[store.Place]*link{}
	cfg.Store.Subscribe(s.forget)
	if err := s.recoverUsage(ctx, journalDir); err != nil {
		return nil, err
	}
	return s, s.connectStores(ctx)
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
		case grantKind:
			s.forgetGrant(c.Place)
		}
	}
}

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler {
	handlers := map[string]api.Handler{
		"CancelKeyDeletion":                   api.Handle(s.CancelKeyDeletion),
		"ConnectCustomKeyStore":               api.Handle(s.ConnectCustomKeyStore),
		"CreateAlias":                         api.Handle(s.CreateAlias),
		"CreateCustomKeyStore":                api.Handle(s.CreateCustomKeyStore),
		"CreateGrant":                         api.Handle(s.CreateGrant),
		"CreateKey":                           api.Handle(s.CreateKey),
		"Decapsulate":                         api.Handle(s.Decapsulate),
		"Decrypt":                             api.Handle(s.Decrypt),
		"DeleteAlias":                         api.Handle(s.DeleteAlias),
		"DeleteCustomKeyStore":                api.Handle(s.DeleteCustomKeyStore),
		"DeleteImportedKeyMaterial":           api.Handle(s.DeleteImportedKeyMaterial),
		"DeriveSharedSecret":                  api.Handle(s.DeriveSharedSecret),
		"DescribeCustomKeyStores":             api.Handle(s.DescribeCustomKeyStores),
		"DescribeKey":                         api.Handle(s.DescribeKey),
		"DisableKey":                          api.Handle(s.DisableKey),
		"DisableKeyRotation":                  api.Handle(s.DisableKeyRotation),
		"DisconnectCustomKeyStore":            api.Handle(s.DisconnectCustomKeyStore),
		"EnableKey":                           api.Handle(s.EnableKey),
		"EnableKeyRotation":                   api.Handle(s.EnableKeyRotation),
		"Encapsulate":                         api.Handle(s.Encapsulate),
		"Encrypt":                             api.Handle(s.Encrypt),
		"GenerateDataKey":                     api.Handle(s.GenerateDataKey),
		"GenerateDataKeyPair":                 api.Handle(s.GenerateDataKeyPair),
		"GenerateDataKeyPairWithoutPlaintext": api.Handle(s.GenerateDataKeyPairWithoutPlaintext),
		"GenerateDataKeyWithoutPlaintext":     api.Handle(s.GenerateDataKeyWithoutPlaintext),
		"GenerateMac":                         api.Handle(s.GenerateMac),
		"GenerateRandom":                      api.Handle(s.GenerateRandom),
		"GetKeyLastUsage":                     api.Handle(s.GetKeyLastUsage),
		"GetKeyPolicy":                        api.Handle(s.GetKeyPolicy),
		"GetKeyRotationStatus":                api.Handle(s.GetKeyRotationStatus),
		"GetParametersForImport":              api.Handle(s.GetParametersForImport),
		"GetPublicKey":                        api.Handle(s.GetPublicKey),
		"ImportKeyMaterial":                   api.Handle(s.ImportKeyMaterial),
		"ListAliases":                         api.Handle(s.ListAliases),
		"ListGrants":                          api.Handle(s.ListGrants),
		"ListKeyPolicies":                     api.Handle(s.ListKeyPolicies),
		"ListKeyRotations":                    api.Handle(s.ListKeyRotations),
		"ListKeys":                            api.Handle(s.ListKeys),
		"ListResourceTags":                    api.Handle(s.ListResourceTags),
		"ListRetirableGrants":                 api.Handle(s.ListRetirableGrants),
		"PutKeyPolicy":                        api.Handle(s.PutKeyPolicy),
		"ReEncrypt":                           api.Handle(s.ReEncrypt),
		"ReplicateKey":                        api.Handle(s.ReplicateKey),
		"RetireGrant":                         api.Handle(s.RetireGrant),
		"RevokeGrant":                         api.Handle(s.RevokeGrant),
		"RotateKeyOnDemand":                   api.Handle(s.RotateKeyOnDemand),
		"ScheduleKeyDeletion":                 api.Handle(s.ScheduleKeyDeletion),
		"Sign":                                api.Handle(s.Sign),
		"TagResource":                         api.Handle(s.TagResource),
		"UntagResource":                       api.Handle(s.UntagResource),
		"UpdateAlias":                         api.Handle(s.UpdateAlias),
		"UpdateCustomKeyStore":                api.Handle(s.UpdateCustomKeyStore),
		"UpdateKeyDescription":                api.Handle(s.UpdateKeyDescription),
		"UpdatePrimaryRegion":                 api.Handle(s.UpdatePrimaryRegion),
		"Verify":                              api.Handle(s.Verify),
		"VerifyMac":                           api.Handle(s.VerifyMac),
	}
	for name, handle := range handlers {
		handlers[name] = s.limited(name, handle)
	}
	return handlers
}
