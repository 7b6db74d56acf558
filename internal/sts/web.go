package sts

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/sync/singleflight"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/store"
)

// Limits of what is fetched from an OIDC provider.
const (
	issuerTimeout  = 5 * time.Second
	maxIssuerBytes = 256 << 10
	// keysFor is how long the keys of a provider stay ready, retryAfter how soon
	// they are fetched anew for a key that is not among them.
	keysFor    = time.Hour
	retryAfter = 10 * time.Second
	maxIssuers = 1000
	// clockSkew is how much the clock of a provider may be off.
	clockSkew = 5 * time.Minute
)

// signatureAlgorithms are those of tokens.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc.html
var signatureAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// claims are what STS reads in a token.
type claims struct {
	jwt.Claims
	AMR             []string `json:"amr"`
	AuthorizedParty string   `json:"azp"`
}

// AssumeRoleWithWebIdentity gives temporary credentials of a role to the bearer of
// a token of an OIDC provider that the role's trust policy names. The request has
// no signature: the token says who calls.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, call *api.Call, in *sdk.AssumeRoleWithWebIdentityInput) (*sdk.AssumeRoleWithWebIdentityOutput, error) {
	role, err := s.role(ctx, *in.RoleArn)
	if err != nil {
		return nil, err
	}
	provider, c, err := s.verify(ctx, role.Account, *in.WebIdentityToken, call.Time)
	if err != nil {
		return nil, err
	}
	audience := c.AuthorizedParty
	if audience == "" || !slices.Contains(provider.ClientIDs, audience) {
		i := slices.IndexFunc(c.Audience, func(a string) bool { return slices.Contains(provider.ClientIDs, a) })
		if i < 0 {
			return nil, awserr.New(awserr.InvalidIdentityToken, "Incorrect token audience")
		}
		audience = c.Audience[i]
	}
	prefix := strings.ToLower(strings.TrimPrefix(provider.URL, "https://")) + ":"
	facts := map[string][]string{prefix + "sub": {c.Subject}, prefix + "aud": {audience}}
	if len(c.AMR) > 0 {
		facts[prefix+"amr"] = c.AMR
	}
	call.Caller = api.Principal{
		Type: api.WebIdentityUser, Account: role.Account, ID: provider.ARN + ":" + audience + ":" + c.Subject, UserName: c.Subject,
		Session: &api.Session{Federated: provider.ARN, Claims: facts},
	}
	lifetime := roleLifetime(in.DurationSeconds)
	v := &values{role: role, session: *in.RoleSessionName, seconds: int64(lifetime / time.Second)}
	if err := s.trusts(ctx, call, "AssumeRoleWithWebIdentity", v); err != nil {
		if awserr.Is(err, awserr.AccessDenied) {
			err = awserr.New(awserr.AccessDenied, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
		}
		return nil, err
	}
	if err := checkLifetime(role, lifetime); err != nil {
		return nil, err
	}
	rec := roleRecord(role, *in.RoleSessionName)
	rec.Federated, rec.Claims = provider.ARN, facts
	if rec.Policies, err = s.sessionPolicies(ctx, role.Account, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	out := &sdk.AssumeRoleWithWebIdentityOutput{Audience: &audience, Provider: &provider.ARN, SubjectFromWebIdentityToken: &c.Subject,
		AssumedRoleUser: &types.AssumedRoleUser{Arn: &rec.ARN, AssumedRoleId: &rec.ID}}
	if out.PackedPolicySize, err = checkPacked(rec); err != nil {
		return nil, err
	}
	if out.Credentials, err = s.issue(rec, call.Time, lifetime); err != nil {
		return nil, err
	}
	call.Trail.Resources = append(call.Trail.Resources, api.Resource{Account: role.Account, Type: roleType, ARN: role.ARN})
	call.Trail.Response = out
	return out, nil
}

// verify checks a token and finds its provider in an account.
func (s *Service) verify(ctx context.Context, account, token string, now time.Time) (*iam.OIDCProvider, *claims, error) {
	parsed, err := jwt.ParseSigned(token, signatureAlgorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return nil, nil, awserr.New(awserr.InvalidIdentityToken, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	var unverified claims
	if err := parsed.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return nil, nil, awserr.New(awserr.InvalidIdentityToken, "The claims of the token cannot be read.")
	}
	provider, err := s.Directory.OIDCProvider(ctx, account, unverified.Issuer)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, awserr.New(awserr.InvalidIdentityToken, "No OpenIDConnect provider found in your account for %s", unverified.Issuer)
	}
	if err != nil {
		return nil, nil, err
	}
	var c claims
	verified := false
	for _, fresh := range []bool{false, true} { // once more with fresh keys, since providers change theirs
		keys, err := s.issuers.keys(ctx, s.Client, provider, now, fresh)
		if err != nil {
			return nil, nil, err
		}
		for _, k := range candidates(keys, parsed.Headers[0].KeyID) {
			if parsed.Claims(k.Key, &c) == nil {
				verified = true
			}
		}
		if verified {
			break
		}
	}
	switch {
	case !verified:
		return nil, nil, awserr.New(awserr.InvalidIdentityToken, "Couldn't retrieve verification key from your identity provider, or the signature of the token is not valid.")
	case c.Subject == "":
		return nil, nil, awserr.New(awserr.InvalidIdentityToken, "Missing a required claim: sub")
	case c.Expiry == nil:
		return nil, nil, awserr.New(awserr.InvalidIdentityToken, "Missing a required claim: exp")
	case c.IssuedAt == nil:
		return nil, nil, awserr.New(awserr.InvalidIdentityToken, "Missing a required claim: iat")
	case !now.Before(c.Expiry.Time()):
		return nil, nil, awserr.New(awserr.ExpiredWebIdentity, "Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), c.Expiry.Time().Unix())
	case c.NotBefore != nil && now.Add(clockSkew).Before(c.NotBefore.Time()), now.Add(clockSkew).Before(c.IssuedAt.Time()):
		return nil, nil, awserr.New(awserr.IDPRejectedClaim, "The token is not valid yet.")
	}
	return provider, &c, nil
}

// candidates are the keys that may have signed a token: the one that it names, or
// all if it names none.
func candidates(set *jose.JSONWebKeySet, id string) []jose.JSONWebKey {
	if id != "" {
		return set.Key(id)
	}
	return set.Keys
}

// issuers keep the keys of OIDC providers for a while. They are safe for
// concurrent use.
type issuers struct {
	mu       sync.Mutex
	ready    map[string]issuerKeys // by ARN and thumbprints of the provider
	fetching singleflight.Group    // callers that need the same keys wait for one fetch
}

type issuerKeys struct {
	set     *jose.JSONWebKeySet
	fetched time.Time
}

// keys are the keys of a provider. With fresh, those from memory are not good
// enough, unless they were fetched a moment ago.
func (i *issuers) keys(ctx context.Context, client *http.Client, p *iam.OIDCProvider, now time.Time, fresh bool) (*jose.JSONWebKeySet, error) {
	id := p.ARN + " " + strings.Join(p.Thumbprints, " ")
	i.mu.Lock()
	have, ok := i.ready[id]
	i.mu.Unlock()
	age := now.Sub(have.fetched)
	if ok && (age < retryAfter || !fresh && age < keysFor) {
		return have.set, nil
	}
	set, err, _ := i.fetching.Do(id, func() (any, error) {
		set, err := fetch(context.WithoutCancel(ctx), client, p)
		if err != nil {
			return nil, err
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.ready == nil || len(i.ready) >= maxIssuers {
			i.ready = map[string]issuerKeys{}
		}
		i.ready[id] = issuerKeys{set, now}
		return set, nil
	})
	if err != nil {
		return nil, err
	}
	return set.(*jose.JSONWebKeySet), nil
}

// fetch reads the keys of a provider by its discovery document.
// https://openid.net/specs/openid-connect-discovery-1_0.html
func fetch(ctx context.Context, client *http.Client, p *iam.OIDCProvider) (*jose.JSONWebKeySet, error) {
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	if client == nil {
		client = &http.Client{Transport: transport(p.Thumbprints), CheckRedirect: httpsOnly}
		defer client.CloseIdleConnections()
	}
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := get(ctx, client, strings.TrimSuffix(p.URL, "/")+"/.well-known/openid-configuration", &discovery); err != nil {
		return nil, err
	}
	if discovery.Issuer != p.URL || !strings.HasPrefix(discovery.Keys, "https://") {
		return nil, awserr.New(awserr.InvalidIdentityToken, "The discovery document of %s is of another issuer, or has no jwks_uri of https.", p.URL)
	}
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := get(ctx, client, discovery.Keys, &document); err != nil {
		return nil, err
	}
	// Keys of kinds that are not understood are passed over, as RFC 7517 has it.
	set := new(jose.JSONWebKeySet)
	for _, text := range document.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(text, &k) == nil && k.IsPublic() && k.Use != "enc" {
			set.Keys = append(set.Keys, k)
		}
	}
	return set, nil
}

func get(ctx context.Context, client *http.Client, url string, into any) error {
	failed := func(err error) error {
		return awserr.New(awserr.IDPCommunicationError, "Could not read %s: %v", url, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return failed(err)
	}
	a, err := client.Do(r)
	if err != nil {
		return failed(err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return failed(fmt.Errorf("status %s", a.Status))
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, maxIssuerBytes+1))
	if err != nil {
		return failed(err)
	}
	if len(body) > maxIssuerBytes {
		return failed(errors.New("the document is too large"))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return failed(errors.New("it is not the JSON that was expected"))
	}
	return nil
}

func httpsOnly(r *http.Request, via []*http.Request) error {
	if r.URL.Scheme != "https" || len(via) >= 3 {
		return errors.New("redirect that is not followed")
	}
	return nil
}

// transport trusts the certificates that the system trusts, and besides those whose
// chain has a certificate with one of the SHA-1 thumbprints, which the
// administrator of the account has given for a provider with a CA of its own.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc_verify-thumbprint.html
func transport(thumbprints []string) *http.Transport {
	return &http.Transport{DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		d := tls.Dialer{Config: &tls.Config{
			ServerName:         host,
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, // verified below
			VerifyConnection: func(c tls.ConnectionState) error {
				// The host is not c.ServerName, which is empty for an IP address.
				return verifyChain(c.PeerCertificates, host, thumbprints)
			},
		}}
		return d.DialContext(ctx, network, addr)
	}}
}

// verifyChain checks the certificates that a host has shown.
func verifyChain(chain []*x509.Certificate, host string, thumbprints []string) error {
	opts := x509.VerifyOptions{DNSName: host, Intermediates: x509.NewCertPool()}
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	if _, err := chain[0].Verify(opts); err == nil {
		return nil
	}
	opts.Roots = x509.NewCertPool()
	found := false
	for _, cert := range chain {
		sum := sha1.Sum(cert.Raw)
		if slices.ContainsFunc(thumbprints, func(t string) bool { return strings.EqualFold(t, hex.EncodeToString(sum[:])) }) {
			opts.Roots.AddCert(cert)
			found = true
		}
	}
	if !found {
		return errors.New("the certificate is neither trusted by this system nor by the provider's thumbprints")
	}
	_, err := chain[0].Verify(opts)
	return err
}
