package kms

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// CreateGrant lets a principal use a key for some operations. The grant is in force
// when the call returns.
func (s *Service) CreateGrant(ctx context.Context, call *api.Call, in *sdk.CreateGrantInput) (*sdk.CreateGrantOutput, error) {
	if err := s.checkGrantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := checkGrant(u.key, in); err != nil {
		return nil, err
	}
	same, err := sameValue(u.ID, in, call.Caller.Account)
	if err != nil {
		return nil, err
	}
	id := newGrantID()
	var made *grant
	create := func(tx store.Tx) error {
		if _, err := u.fresh(tx); err != nil {
			return err
		}
		g := &grant{account: u.account, region: u.region, keyID: u.ID, id: id, grantRecord: grantRecord{
			Name: aws.ToString(in.Name), Created: call.Time, Issuer: call.Caller.Account,
			Operations: in.Operations, Constraints: in.Constraints, Same: same,
		}}
		if g.Grantee, err = s.grantPrincipal(tx, in.GranteePrincipal, in.GranteeServicePrincipal); err != nil {
			return err
		}
		if g.Retiring, err = s.grantPrincipal(tx, in.RetiringPrincipal, in.RetiringServicePrincipal); err != nil {
			return err
		}
		if same != "" {
			// Only what names the same principals is the same: a namesake of one
			// that was deleted is another.
			old, err := lookUpGrant(tx, u.key, sameIndex, same)
			if err == nil && old.Grantee == g.Grantee && old.Retiring == g.Retiring {
				g = old
			} else if err != nil && !isNotFound(err) {
				return err
			}
		}
		made = g
		call.Trail.Response = struct{ GrantId, KeyId *string }{&g.id, &u.arn}
		if g.revision != 0 {
			return nil
		}
		return g.insert(tx, s.Quotas.GrantsPerKey)
	}
	if aws.ToBool(in.DryRun) {
		return nil, dryRun(in.DryRun)
	}
	if err := s.Trail.Change(ctx, call, create); err != nil {
		return nil, err
	}
	return &sdk.CreateGrantOutput{GrantId: &made.id, GrantToken: aws.String(s.grantToken(made))}, nil
}

// grantPrincipal is whom a grant is to name, by ARN or as a service; nobody if
// both are nil.
func (s *Service) grantPrincipal(r store.Reader, arn, service *string) (grantPrincipal, error) {
	switch {
	case service != nil:
		return grantPrincipal{Text: *service, ID: *service, Service: true}, nil
	case arn == nil:
		return grantPrincipal{}, nil
	}
	p, err := s.findPrincipal(r, *arn)
	if err == nil && p.ID == "" {
		err = awserr.New(awserr.InvalidArn, "ARN does not refer to a valid principal: %s", *arn)
	}
	return p, err
}

// findPrincipal finds the id of a principal by ARN; it is empty if there is none.
func (s *Service) findPrincipal(r store.Reader, arn string) (grantPrincipal, error) {
	p := grantPrincipal{Text: arn}
	if !strings.HasPrefix(arn, "arn:") {
		return p, nil
	}
	ids, err := s.Principals.Resolve(r, []string{arn})
	p.ID = ids[arn]
	if p.ID != "" && strings.Contains(arn, ":assumed-role/") {
		p.ID += ":" + arn[strings.LastIndexByte(arn, '/')+1:]
	}
	return p, err
}

// grantTokenBinding sets grant tokens apart from what else is sealed, and numbers
// their version.
const grantTokenBinding = "kagimori grant token v1"

// grantToken is a token of a grant: ACCOUNT/REGION/ID of its place, sealed.
func (s *Service) grantToken(g *grant) string {
	p := g.place()
	sealed := s.Sealer.Seal(nil, []byte(p.Account+"/"+p.Region+"/"+p.ID), []byte(grantTokenBinding))
	return base64.StdEncoding.EncodeToString(sealed)
}

// openGrantToken is the place of the grant that a token is of.
func (s *Service) openGrantToken(token string) (store.Place, error) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err == nil {
		sealed, err = s.Sealer.Open(nil, sealed, []byte(grantTokenBinding))
	}
	f := strings.SplitN(string(sealed), "/", 3)
	if err != nil || len(f) != 3 {
		return store.Place{}, awserr.New(awserr.InvalidGrantToken, "The grant token is not one that CreateGrant gave.")
	}
	return store.Place{Kind: grantKind, Account: f[0], Region: f[1], ID: f[2]}, nil
}

// checkGrantTokens refuses tokens that CreateGrant did not give. Otherwise they
// have no effect: a grant is in force from the moment it is made.
func (s *Service) checkGrantTokens(tokens []string) error {
	for _, t := range tokens {
		if _, err := s.openGrantToken(t); err != nil {
			return err
		}
	}
	return nil
}

// entry is the grant as lists show it. A principal that is no more is shown by its
// unique id.
func (s *Service) entry(r store.Reader, g *grant) (types.GrantListEntry, error) {
	e := types.GrantListEntry{
		KeyId: aws.String(g.keyARN()), GrantId: &g.id, Name: &g.Name, CreationDate: &g.Created,
		IssuingAccount: aws.String(rootARN(g.Issuer)), Operations: g.Operations, Constraints: g.Constraints,
	}
	for _, p := range []struct {
		grantPrincipal
		arn, service **string
	}{{g.Grantee, &e.GranteePrincipal, &e.GranteeServicePrincipal}, {g.Retiring, &e.RetiringPrincipal, &e.RetiringServicePrincipal}} {
		if p.Service {
			// AWS shows services in both members.
			*p.service, *p.arn = &p.Text, &p.Text
			continue
		}
		if p.ID == "" {
			continue
		}
		now, err := s.findPrincipal(r, p.Text)
		if err != nil {
			return e, err
		}
		*p.arn = &p.Text
		if now.ID != p.ID {
			*p.arn = &p.ID
		}
	}
	return e, nil
}

// ListGrants lists the grants of a key.
func (s *Service) ListGrants(ctx context.Context, call *api.Call, in *sdk.ListGrantsInput) (*sdk.ListGrantsOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	pg, err := newPage(in.Limit, in.Marker, 50, 100)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListGrantsOutput{Grants: []types.GrantListEntry{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		prefix := u.ID + "/"
		switch {
		case in.GranteePrincipal != nil:
			p, err := s.findPrincipal(r, *in.GranteePrincipal)
			if err != nil {
				return err
			}
			if p.ID == "" { // no more, or a service
				p.ID = p.Text
			}
			prefix += p.ID + "/"
		case in.GranteeServicePrincipal != nil:
			prefix += *in.GranteeServicePrincipal + "/"
		}
		return eachGrant(r, u.key, prefix, pg.after, func(g *grant) error {
			if in.GrantId != nil && g.id != *in.GrantId {
				return nil
			}
			return s.list(r, pg, &out.Grants, g, g.place().ID)
		})
	})
	out.NextMarker, out.Truncated = pg.next()
	return out, err
}

// list adds a grant to a page; at is what the marker has for it.
func (s *Service) list(r store.Reader, pg *page, to *[]types.GrantListEntry, g *grant, at string) error {
	if pg.full(len(*to)) {
		return errEnd
	}
	e, err := s.entry(r, g)
	*to = append(*to, e)
	pg.last = at
	return err
}

// ListRetirableGrants lists the grants, of keys in any account, that a principal
// of the caller's account can retire.
func (s *Service) ListRetirableGrants(ctx context.Context, call *api.Call, in *sdk.ListRetirableGrantsInput) (*sdk.ListRetirableGrantsOutput, error) {
	if (in.RetiringPrincipal == nil) == (in.RetiringServicePrincipal == nil) {
		return nil, invalid("Specify either RetiringPrincipal or RetiringServicePrincipal.")
	}
	if err := s.allow(ctx, call, call.Operation, "*"); err != nil {
		return nil, err
	}
	pg, err := newPage(in.Limit, in.Marker, 50, 100)
	if err != nil {
		return nil, err
	}
	if in.RetiringPrincipal != nil {
		f := strings.SplitN(*in.RetiringPrincipal, ":", 6)
		if len(f) != 6 || f[0] != "arn" {
			return nil, awserr.New(awserr.InvalidArn, "ARN does not refer to a valid principal: %s", *in.RetiringPrincipal)
		}
		if f[4] != call.Caller.Account {
			return nil, authz.NotVisible(call.Caller, "kms:"+call.Operation, "")
		}
	}
	out := &sdk.ListRetirableGrantsOutput{Grants: []types.GrantListEntry{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		p, err := s.grantPrincipal(r, in.RetiringPrincipal, in.RetiringServicePrincipal)
		if err != nil {
			return err
		}
		q := store.Query{Kind: grantKind, Index: retiringIndex, From: p.ID, To: p.ID}
		if pg.after != "" {
			f := strings.SplitN(pg.after, "/", 3)
			if len(f) != 3 {
				return awserr.New(awserr.InvalidMarker, "The marker does not belong to this list.")
			}
			q.After = store.Place{Kind: grantKind, Account: f[0], Region: f[1], ID: f[2]}
		}
		return r.Lookup(q, func(rec store.Record) error {
			g, err := decodeGrant(rec)
			if err != nil || g.region != call.Region || p.Service && call.Caller.Account != g.account && call.Caller.Account != g.Issuer {
				return err
			}
			return s.list(r, pg, &out.Grants, g, rec.Account+"/"+rec.Region+"/"+rec.ID)
		})
	})
	if err == errEnd {
		err = nil
	}
	out.NextMarker, out.Truncated = pg.next()
	return out, err
}

// RevokeGrant takes a grant out of force, on the authority of the key.
func (s *Service) RevokeGrant(ctx context.Context, call *api.Call, in *sdk.RevokeGrantInput) (*sdk.RevokeGrantOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	return &sdk.RevokeGrantOutput{}, s.removeGrant(ctx, call, u.key, *in.GrantId, in.DryRun)
}

// RetireGrant takes a grant out of force, on the authority of the grant.
func (s *Service) RetireGrant(ctx context.Context, call *api.Call, in *sdk.RetireGrantInput) (*sdk.RetireGrantOutput, error) {
	keyID, id, err := s.grantToRetire(call, in)
	if err != nil {
		return nil, err
	}
	k, _, err := s.resolve(ctx, call, call.Operation, keyID, keyOnly)
	if err != nil {
		return nil, err
	}
	var g *grant
	err = s.Store.View(ctx, func(r store.Reader) error {
		g, err = findGrant(r, k, id)
		return err
	})
	if isNotFound(err) {
		if k.account != call.Caller.Account {
			return nil, authz.NotVisible(call.Caller, "kms:"+call.Operation, "")
		}
		return nil, noGrant(k, id)
	}
	if err != nil {
		return nil, err
	}
	u := &usableKey{key: k, svc: s, call: call, values: values{ctx: ctx, svc: s, call: call, key: k, action: call.Operation, grant: g}}
	u.req = u.request("kms:RetireGrant")
	u.req.Policy, u.req.Grants = &nobody, retiring{g, &call.Caller}
	if err := u.values.check(&u.req); err != nil {
		return nil, err
	}
	call.Trail.Resources = append(call.Trail.Resources, *k.resource())
	call.Trail.Add("grantId", g.id)
	return &sdk.RetireGrantOutput{}, s.removeGrant(ctx, call, k, id, in.DryRun)
}

// grantToRetire is the grant that a request names, by the ARN of the key and the
// grant id.
func (s *Service) grantToRetire(call *api.Call, in *sdk.RetireGrantInput) (arn, id string, err error) {
	switch {
	case in.GrantToken != nil && (in.KeyId != nil || in.GrantId != nil), in.GrantToken == nil && (in.KeyId == nil || in.GrantId == nil):
		return "", "", invalid("Specify either GrantToken, or both KeyId and GrantId.")
	case in.GrantToken == nil && !strings.HasPrefix(*in.KeyId, "arn:"):
		return "", "", invalidARN(*in.KeyId)
	case in.GrantToken == nil:
		return *in.KeyId, *in.GrantId, nil
	}
	p, err := s.openGrantToken(*in.GrantToken)
	if err != nil {
		return "", "", err
	}
	if p.Region != call.Region {
		return "", "", awserr.New(awserr.InvalidGrantToken, "The grant token is of a grant in %s.", p.Region)
	}
	key, _, _ := strings.Cut(p.ID, "/")
	return keyARN(p.Account, p.Region, key), p.ID[strings.LastIndexByte(p.ID, '/')+1:], nil
}

func (s *Service) removeGrant(ctx context.Context, call *api.Call, k *key, id string, trial *bool) error {
	if err := dryRun(trial); err != nil {
		return err
	}
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		g, err := findGrant(tx, k, id)
		if isNotFound(err) {
			return noGrant(k, id)
		}
		if err != nil {
			return err
		}
		return g.remove(tx)
	})
}

func noGrant(k *key, id string) error {
	return awserr.New(awserr.NotFound, "Grant %s is not found on %s.", id, k.arn)
}

// nobody is the policy of a key for RetireGrant, on which key policies have no
// effect.
var nobody = policy.Document{Name: keyPolicyName, Kind: policy.Key}

// retiring gives the permission to retire a grant: to the retiring principal, the
// grantee if the grant says so, and the account that created it.
// https://docs.aws.amazon.com/kms/latest/developerguide/grant-delete.html
type retiring struct {
	*grant
	caller *api.Principal
}

// Find implements policy.Grants.
func (r retiring) Find(_ *policy.Request, note func(grantID, why string)) (id string, toAccount bool) {
	ids, n := principalIDs(r.caller)
	for _, id := range ids[:n] {
		if id == r.Retiring.ID || id == r.Grantee.ID && slices.Contains(r.Operations, types.GrantOperationRetireGrant) {
			return r.id, id == r.caller.Account
		}
	}
	if r.caller.Account == r.Issuer {
		return r.id, true
	}
	if note != nil {
		note(r.id, "the caller is neither its retiring principal, nor a grantee that may retire it, nor of the account that created it")
	}
	return "", false
}
