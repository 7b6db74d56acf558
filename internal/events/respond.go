package events

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/kagimori/kagimori/internal/clock"
)

// QuarantinePolicy is the name of the inline policy that keeps a principal from everything.
const QuarantinePolicy = "KagimoriQuarantine"

const denyAll = `{"Version":"2012-10-17","Statement":[{"Sid":"Quarantine","Effect":"Deny","Action":"*","Resource":"*"}]}`

// responseTime is how long a response may take.
const responseTime = 30 * time.Second

// response is a target that does something about what happened, through the API of this
// server, as a session of the role that the target has.
type response struct {
	name string
	// subjects are what the event makes it act on: keys, grants or principals.
	subjects func(a *attempt) []string
	// act acts on one of them.
	act func(ctx context.Context, s *session, subject string) error
}

// responses are by name.
var responses = map[string]*response{}

func init() {
	for _, r := range []*response{
		{"disable-key", keysOf, func(ctx context.Context, s *session, key string) error {
			_, err := s.kms().DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key})
			return err
		}},
		{"revoke-grant", grantOf, func(ctx context.Context, s *session, subject string) error {
			key, grant, _ := strings.Cut(subject, " ")
			_, err := s.kms().RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &key, GrantId: &grant})
			return err
		}},
		{"revoke-grants", keysOf, func(ctx context.Context, s *session, key string) error {
			c := s.kms()
			for {
				page, err := c.ListGrants(ctx, &kms.ListGrantsInput{KeyId: &key})
				if err != nil || len(page.Grants) == 0 {
					return err
				}
				for _, g := range page.Grants {
					if _, err := c.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &key, GrantId: g.GrantId}); err != nil && errorCode(err) != "NotFoundException" {
						return err
					}
				}
			}
		}},
		{"quarantine-principal", principalOf, func(ctx context.Context, s *session, arn string) error {
			name := arn[strings.LastIndexByte(arn, '/')+1:]
			if strings.Contains(arn, ":user/") {
				_, err := s.iam().PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String(QuarantinePolicy), PolicyDocument: aws.String(denyAll)})
				return err
			}
			_, err := s.iam().PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String(QuarantinePolicy), PolicyDocument: aws.String(denyAll)})
			return err
		}},
	} {
		responses[r.name] = r
	}
}

// keysOf are the keys that the event is about, of the account and Region of the rule.
func keysOf(a *attempt) []string {
	own := fmt.Sprintf("arn:aws:kms:%s:%s:key/", a.to.region, a.to.account)
	return slices.DeleteFunc(a.event.resources(), func(arn string) bool { return !strings.HasPrefix(arn, own) })
}

// grantOf is the grant that a CreateGrant made, with its key.
func grantOf(a *attempt) []string {
	grant := a.event.member("detail", "responseElements", "grantId")
	keys := keysOf(a)
	if grant == "" || len(keys) == 0 {
		return nil
	}
	return []string{keys[0] + " " + grant}
}

// principalOf is the user, or the role of the session, that called; of the rule's account.
func principalOf(a *attempt) []string {
	for _, path := range [][]string{
		{"detail", "userIdentity", "sessionContext", "sessionIssuer", "arn"}, {"detail", "userIdentity", "arn"}, {"detail", "principal"},
	} {
		arn := a.event.member(path...)
		if strings.HasPrefix(arn, "arn:aws:iam::"+a.to.account+":user/") || strings.HasPrefix(arn, "arn:aws:iam::"+a.to.account+":role/") {
			return []string{arn}
		}
	}
	return nil
}

// send responds. What a response did, and what happened before one to the same subject
// began, is no reason for another one.
func (r *response) send(ctx context.Context, s *Service, a *attempt) error {
	if a.event.member("detail", "userIdentity", "invokedBy") == Principal {
		return nil
	}
	subjects := r.subjects(a)
	if len(subjects) == 0 {
		return permanent{fmt.Errorf("the event is about nothing of this account and Region that %s can act on", r.name)}
	}
	ctx, cancel := context.WithTimeout(ctx, responseTime)
	defer cancel()
	for _, subject := range subjects {
		key := a.to.index() + r.name + " " + subject
		if s.wasHandled(key, a.Seq) {
			continue
		}
		last := s.Trail.LastSeq()
		if err := r.respond(ctx, s, a, subject); err != nil {
			return err
		}
		s.noteHandled(key, last)
	}
	return nil
}

// maxHandled is how many subjects of responses are remembered.
const maxHandled = 10_000

func (s *Service) wasHandled(key string, seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seq <= s.handled[key]
}

func (s *Service) noteHandled(key string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.handled) >= maxHandled {
		clear(s.handled)
	}
	s.handled[key] = seq
}

// respond acts on one subject.
func (r *response) respond(ctx context.Context, s *Service, a *attempt, subject string) error {
	as, err := s.assume(ctx, a)
	if err == nil {
		err = r.act(ctx, as, subject)
	}
	var e smithy.APIError
	if errors.As(err, &e) {
		err = fmt.Errorf("%s: %s", e.ErrorCode(), e.ErrorMessage())
		if e.ErrorFault() != smithy.FaultServer && e.ErrorCode() != "ThrottlingException" && e.ErrorCode() != "KMSInternalException" {
			return permanent{err}
		}
	}
	return err
}

func errorCode(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// session makes clients that call as a session of a role.
type session struct {
	s           *Service
	region      string
	credentials aws.Credentials
}

// assume begins a session of the role of a target. Its name is that of the rule and the id
// of the event, so that each of its records says why there is one.
func (s *Service) assume(ctx context.Context, a *attempt) (*session, error) {
	name := a.rule.place.ID
	if room := 64 - 1 - len(a.id); len(name) > room {
		name = name[:room]
	}
	name += "@" + a.id
	c := sts.New(sts.Options{Region: a.to.region, BaseEndpoint: aws.String(endpoint), Retryer: aws.NopRetryer{}, Credentials: aws.AnonymousCredentials{},
		HTTPClient: s.AsService(a.to.region, ruleARN(a.rule.place), a.to.account)})
	out, err := c.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: a.target.RoleArn, RoleSessionName: &name, DurationSeconds: aws.Int32(900)})
	if err != nil {
		return nil, err
	}
	return &session{s, a.to.region, aws.Credentials{AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *out.Credentials.SessionToken}}, nil
}

// endpoint stands for this server; requests do not leave the process.
const endpoint = "http://kagimori.internal"

// Retrieve implements aws.CredentialsProvider.
func (s *session) Retrieve(context.Context) (aws.Credentials, error) { return s.credentials, nil }

func (s *session) kms() *kms.Client {
	return kms.New(kms.Options{Region: s.region, BaseEndpoint: aws.String(endpoint), Retryer: aws.NopRetryer{}, Credentials: s, HTTPClient: s.s.Forwarded,
		HTTPSignerV4: signer{s.s.Clock, v4.NewSigner()}})
}

func (s *session) iam() *iam.Client {
	return iam.New(iam.Options{Region: s.region, BaseEndpoint: aws.String(endpoint), Retryer: aws.NopRetryer{}, Credentials: s, HTTPClient: s.s.Forwarded,
		HTTPSignerV4: signer{s.s.Clock, v4.NewSigner()}})
}

// signer signs with the server's time.
type signer struct {
	clock clock.Clock
	*v4.Signer
}

// SignHTTP implements the SDK's HTTPSignerV4.
func (s signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, opts ...func(*v4.SignerOptions)) error {
	return s.Signer.SignHTTP(ctx, c, r, hash, service, region, s.clock.Now(), opts...)
}
