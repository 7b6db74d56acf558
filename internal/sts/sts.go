// Package sts answers the AWS STS API: it gives out temporary credentials and
// knows them again.
//
// Temporary credentials live in their session token, which is sealed: nothing of
// them is stored. They end when they expire, or with their user or role. The
// package knows nothing of keys, of HTTP or of SQL.
package sts

import (
	"context"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/cache"
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
	Sealer    store.Sealer // of session tokens and authorization messages
	Clock     clock.Clock
	// Client fetches the keys of OIDC providers; nil means one that verifies their
	// certificates by the roots of the system.
	Client *http.Client
}

// Service answers the STS API. It is safe for concurrent use.
type Service struct {
	Config
	sessions *cache.Cache[string, *session] // by session token
	issuers  issuers
}

// cachedSessions is how many sessions stay ready in memory.
const cachedSessions = 1 << 13

// New makes a Service.
func New(cfg Config) *Service {
	return &Service{Config: cfg, sessions: cache.New[string, *session](cachedSessions)}
}

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler {
	return map[string]api.Handler{
		"AssumeRole":                 api.Handle(s.AssumeRole),
		"AssumeRoleWithWebIdentity":  api.Handle(s.AssumeRoleWithWebIdentity),
		"DecodeAuthorizationMessage": api.Handle(s.DecodeAuthorizationMessage),
		"GetAccessKeyInfo":           api.Handle(s.GetAccessKeyInfo),
		"GetCallerIdentity":          api.Handle(s.GetCallerIdentity),
		"GetSessionToken":            api.Handle(s.GetSessionToken),
	}
}

// Lookup is the sigv4.Lookup of temporary credentials.
func (s *Service) Lookup(accessKeyID, sessionToken string) (sigv4.Credential, error) {
	ses, ok := s.sessions.Get(sessionToken)
	if !ok {
		var err error
		if ses, err = s.open(accessKeyID, sessionToken); err != nil {
			return sigv4.Credential{}, sigv4.ErrUnknownKey
		}
		s.sessions.Put(strings.Clone(sessionToken), ses, s.sessions.Mark())
	}
	p := &ses.principal
	if p.AccessKeyID != accessKeyID {
		return sigv4.Credential{}, sigv4.ErrUnknownKey
	}
	if !s.Clock.Now().Before(p.Session.Expires) {
		return sigv4.Credential{}, awserr.New(awserr.ExpiredToken, "The security token included in the request is expired")
	}
	exists, err := s.Directory.Exists(context.Background(), p)
	if err != nil {
		return sigv4.Credential{}, err
	}
	if !exists {
		return sigv4.Credential{}, sigv4.ErrUnknownKey
	}
	return sigv4.Credential{SecretKey: ses.secret, Principal: *p}, nil
}

// GetCallerIdentity tells who signed the request. Nobody can be kept from asking.
func (s *Service) GetCallerIdentity(_ context.Context, call *api.Call, _ *sdk.GetCallerIdentityInput) (*sdk.GetCallerIdentityOutput, error) {
	authz.Open(call)
	return &sdk.GetCallerIdentityOutput{Account: &call.Caller.Account, Arn: &call.Caller.ARN, UserId: &call.Caller.ID}, nil
}

// GetAccessKeyInfo tells the account of an access key.
func (s *Service) GetAccessKeyInfo(ctx context.Context, call *api.Call, in *sdk.GetAccessKeyInfoInput) (*sdk.GetAccessKeyInfoOutput, error) {
	if err := s.allow(ctx, call, "GetAccessKeyInfo"); err != nil {
		return nil, err
	}
	account, ok := accountOf(*in.AccessKeyId)
	if !ok {
		var err error
		if account, err = s.Directory.AccountOfKey(ctx, *in.AccessKeyId); err != nil {
			return nil, err
		}
	}
	if account == "" {
		return nil, awserr.New(awserr.Validation, "The access key id %s is not one of this system.", *in.AccessKeyId)
	}
	return &sdk.GetAccessKeyInfoOutput{Account: aws.String(account)}, nil
}

// allow asks for authorization of an action that is about no resource. With a
// session of GetSessionToken only roles can be assumed.
func (s *Service) allow(ctx context.Context, call *api.Call, action string) error {
	if p := &call.Caller; p.Session != nil && p.Session.RoleID == "" {
		return awserr.New(awserr.AccessDenied, "Cannot call %s with session credentials", action)
	}
	return authz.Check(ctx, s.Authorize, call, &authz.Request{Action: "sts:" + action, Resource: "*", Account: call.Caller.Account})
}
