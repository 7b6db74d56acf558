package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// Quotas of OIDC providers.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	maxProviders   = 100
	maxClientIDs   = 100
	maxThumbprints = 5
)

// OIDCProvider is an OpenID Connect provider whose tokens an account takes.
type OIDCProvider struct {
	ARN         string
	URL         string // https://…, the issuer
	ClientIDs   []string
	Thumbprints []string // of certificates of the provider, SHA-1 in hex
}

// oidcProvider is a provider at one moment.
type oidcProvider struct {
	oidcRecord
	account  string
	revision uint64
}

// oidcRecord is a provider as the store keeps it.
type oidcRecord struct {
	URL         string    `json:"url"` // without https://, as ARNs have it
	ClientIDs   []string  `json:"clientIds"`
	Thumbprints []string  `json:"thumbprints,omitempty"`
	Created     time.Time `json:"created"`
	Tags        []api.Tag `json:"tags,omitempty"`
}

func (p *oidcProvider) arn() string { return arnOf(p.account, "oidc-provider", "/", p.URL) }

func oidcPlace(account, url string) store.Place {
	return store.Place{Kind: oidcKind, Account: account, ID: url}
}

func (p *oidcProvider) write(tx store.Tx) (err error) {
	p.revision, err = put(tx, oidcPlace(p.account, p.URL), &p.oidcRecord, p.revision)
	return err
}

// findOIDC is the provider of a URL without https:// in an account.
func findOIDC(r store.Reader, account, url string) (*oidcProvider, error) {
	if url == "" || len(url) > 255 {
		return nil, store.ErrNotFound
	}
	rec, err := r.Get(oidcPlace(account, url))
	if err != nil {
		return nil, err
	}
	return decodeOIDC(rec)
}

func decodeOIDC(rec store.Record) (*oidcProvider, error) {
	p := &oidcProvider{account: rec.Account, revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, &p.oidcRecord); err != nil {
		return nil, fmt.Errorf("the record of OIDC provider %s: %w", rec.ID, err)
	}
	return p, nil
}

// OIDCProvider is the provider of an issuer (https://…) in an account, or
// store.ErrNotFound.
func (d *Directory) OIDCProvider(ctx context.Context, account, issuer string) (out *OIDCProvider, err error) {
	host, ok := strings.CutPrefix(issuer, "https://")
	if !ok {
		return nil, store.ErrNotFound
	}
	err = d.store.View(ctx, func(r store.Reader) error {
		p, err := findOIDC(r, account, host)
		if err == nil {
			out = &OIDCProvider{ARN: p.arn(), URL: issuer, ClientIDs: p.ClientIDs, Thumbprints: p.Thumbprints}
		}
		return err
	})
	return out, err
}

// provider finds a provider of the caller's account by ARN and asks for
// authorization of the call on it.
func (s *Service) provider(ctx context.Context, call *api.Call, arn string, v values) (*oidcProvider, error) {
	var p *oidcProvider
	url, ok := strings.CutPrefix(arn, arnOf(call.Caller.Account, "oidc-provider", "/", ""))
	found := error(store.ErrNotFound)
	if ok {
		found = s.Store.View(ctx, func(r store.Reader) (err error) {
			p, err = findOIDC(r, call.Caller.Account, url)
			return err
		})
	}
	if found == nil {
		v.tags = p.Tags
	}
	if err := s.allow(ctx, call, arn, &v); err != nil {
		return nil, err
	}
	return p, noProvider(found, arn)
}

func noProvider(err error, arn string) error {
	return notFound(err, "OpenIDConnect Provider not found for arn %s", arn)
}

// changeProvider makes a change to a provider. fn works on a fresh copy.
func (s *Service) changeProvider(ctx context.Context, call *api.Call, arn string, v values, fn func(p *oidcProvider) error) error {
	p, err := s.provider(ctx, call, arn, v)
	if err != nil {
		return err
	}
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		fresh, err := findOIDC(tx, p.account, p.URL)
		if err != nil {
			return noProvider(err, arn)
		}
		if err := fn(fresh); err != nil {
			return err
		}
		return fresh.write(tx)
	})
}

// CreateOpenIDConnectProvider has the account take the tokens of a provider.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, call *api.Call, in *sdk.CreateOpenIDConnectProviderInput) (*sdk.CreateOpenIDConnectProviderOutput, error) {
	u, err := url.Parse(*in.Url)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, awserr.New(awserr.InvalidInput, "Invalid Open ID Connect Provider URL. It must be of the form https://HOST/PATH, without a query.")
	}
	p := &oidcProvider{account: call.Caller.Account, oidcRecord: oidcRecord{URL: strings.TrimPrefix(*in.Url, "https://"),
		ClientIDs: in.ClientIDList, Thumbprints: in.ThumbprintList, Created: call.Time}}
	if err := s.allowNew(ctx, call, "TagOpenIDConnectProvider", p.arn(), &values{given: in.Tags}); err != nil {
		return nil, err
	}
	if p.Tags, err = mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if err := checkProvider(p); err != nil {
		return nil, err
	}
	out := &sdk.CreateOpenIDConnectProviderOutput{OpenIDConnectProviderArn: aws.String(p.arn()), Tags: sdkTags(p.Tags)}
	call.Trail.Response = out
	return out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		if _, err := findOIDC(tx, p.account, p.URL); err == nil {
			return awserr.New(awserr.EntityAlreadyExists, "Provider with url %s already exists.", *in.Url)
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, err := tx.Count(oidcKind, p.account, "")
		if err != nil {
			return err
		}
		if n >= maxProviders {
			return quota("OpenIdConnectProvidersPerAccount", maxProviders)
		}
		fresh := *p
		return fresh.write(tx)
	})
}

func checkProvider(p *oidcProvider) error {
	for _, t := range p.Thumbprints {
		if strings.Trim(strings.ToLower(t), "0123456789abcdef") != "" {
			return awserr.New(awserr.InvalidInput, "A thumbprint is the SHA-1 of a certificate, 40 hexadecimal digits, not %s.", t)
		}
	}
	switch {
	case len(p.ClientIDs) > maxClientIDs:
		return quota("ClientIdsPerOpenIdConnectProvider", maxClientIDs)
	case len(p.Thumbprints) > maxThumbprints:
		return quota("ThumbprintsPerOpenIdConnectProvider", maxThumbprints)
	}
	return nil
}

// GetOpenIDConnectProvider tells of a provider.
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, call *api.Call, in *sdk.GetOpenIDConnectProviderInput) (*sdk.GetOpenIDConnectProviderOutput, error) {
	p, err := s.provider(ctx, call, *in.OpenIDConnectProviderArn, values{})
	if err != nil {
		return nil, err
	}
	return &sdk.GetOpenIDConnectProviderOutput{Url: &p.URL, ClientIDList: p.ClientIDs, ThumbprintList: p.Thumbprints, CreateDate: &p.Created, Tags: sdkTags(p.Tags)}, nil
}

// DeleteOpenIDConnectProvider ends that tokens of a provider are taken. It is no
// error that there is none.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, call *api.Call, in *sdk.DeleteOpenIDConnectProviderInput) (*sdk.DeleteOpenIDConnectProviderOutput, error) {
	out := new(sdk.DeleteOpenIDConnectProviderOutput)
	p, err := s.provider(ctx, call, *in.OpenIDConnectProviderArn, values{})
	if awserr.Is(err, awserr.NoSuchEntity) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	return out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		fresh, err := findOIDC(tx, p.account, p.URL)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.Delete(oidcPlace(p.account, p.URL), fresh.revision)
	})
}

// ListOpenIDConnectProviders lists all providers of the account.
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, call *api.Call, _ *sdk.ListOpenIDConnectProvidersInput) (*sdk.ListOpenIDConnectProvidersOutput, error) {
	account := call.Caller.Account
	if err := s.allow(ctx, call, arnOf(account, "oidc-provider", "/", "*"), &values{}); err != nil {
		return nil, err
	}
	out := &sdk.ListOpenIDConnectProvidersOutput{OpenIDConnectProviderList: []types.OpenIDConnectProviderListEntry{}}
	return out, s.Store.View(ctx, func(r store.Reader) error {
		return r.Scan(oidcKind, account, "", "", 0, func(rec store.Record) error {
			p, err := decodeOIDC(rec)
			if err == nil {
				out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, types.OpenIDConnectProviderListEntry{Arn: aws.String(p.arn())})
			}
			return err
		})
	})
}

// AddClientIDToOpenIDConnectProvider has tokens for a further audience taken.
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, call *api.Call, in *sdk.AddClientIDToOpenIDConnectProviderInput) (*sdk.AddClientIDToOpenIDConnectProviderOutput, error) {
	return &sdk.AddClientIDToOpenIDConnectProviderOutput{}, s.changeProvider(ctx, call, *in.OpenIDConnectProviderArn, values{}, func(p *oidcProvider) error {
		if !slices.Contains(p.ClientIDs, *in.ClientID) {
			p.ClientIDs = append(p.ClientIDs, *in.ClientID)
		}
		return checkProvider(p)
	})
}

// RemoveClientIDFromOpenIDConnectProvider ends that tokens for an audience are
// taken.
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, call *api.Call, in *sdk.RemoveClientIDFromOpenIDConnectProviderInput) (*sdk.RemoveClientIDFromOpenIDConnectProviderOutput, error) {
	return &sdk.RemoveClientIDFromOpenIDConnectProviderOutput{}, s.changeProvider(ctx, call, *in.OpenIDConnectProviderArn, values{}, func(p *oidcProvider) error {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(id string) bool { return id == *in.ClientID })
		return nil
	})
}

// UpdateOpenIDConnectProviderThumbprint replaces the thumbprints of a provider.
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, call *api.Call, in *sdk.UpdateOpenIDConnectProviderThumbprintInput) (*sdk.UpdateOpenIDConnectProviderThumbprintOutput, error) {
	return &sdk.UpdateOpenIDConnectProviderThumbprintOutput{}, s.changeProvider(ctx, call, *in.OpenIDConnectProviderArn, values{}, func(p *oidcProvider) error {
		p.Thumbprints = in.ThumbprintList
		return checkProvider(p)
	})
}

// TagOpenIDConnectProvider adds tags to a provider.
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, call *api.Call, in *sdk.TagOpenIDConnectProviderInput) (*sdk.TagOpenIDConnectProviderOutput, error) {
	return &sdk.TagOpenIDConnectProviderOutput{}, s.changeProvider(ctx, call, *in.OpenIDConnectProviderArn, values{given: in.Tags}, func(p *oidcProvider) (err error) {
		p.Tags, err = mergeTags(p.Tags, in.Tags)
		return err
	})
}

// UntagOpenIDConnectProvider removes tags from a provider.
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, call *api.Call, in *sdk.UntagOpenIDConnectProviderInput) (*sdk.UntagOpenIDConnectProviderOutput, error) {
	return &sdk.UntagOpenIDConnectProviderOutput{}, s.changeProvider(ctx, call, *in.OpenIDConnectProviderArn, values{givenKeys: in.TagKeys}, func(p *oidcProvider) error {
		p.Tags = removeTags(p.Tags, in.TagKeys)
		return nil
	})
}

// ListOpenIDConnectProviderTags lists the tags of a provider.
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, call *api.Call, in *sdk.ListOpenIDConnectProviderTagsInput) (*sdk.ListOpenIDConnectProviderTagsOutput, error) {
	p, err := s.provider(ctx, call, *in.OpenIDConnectProviderArn, values{})
	if err != nil {
		return nil, err
	}
	out := new(sdk.ListOpenIDConnectProviderTagsOutput)
	out.Tags, out.IsTruncated, out.Marker, err = listTags(p.Tags, in.Marker, in.MaxItems)
	return out, err
}
