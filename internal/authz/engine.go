package authz

import (
	"context"
	"sync"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/policy"
)

// Identity is what its own account gives a principal. It is never changed.
type Identity struct {
	// Policies are those of the user or role and of the user's groups.
	Policies []*policy.Document
	// Boundary is the permissions boundary, or nil.
	Boundary *policy.Document
	// Tags of the user or role.
	Tags []api.Tag
}

// Membership is what an account has from the organization. It is never changed.
type Membership struct {
	OrgID string // o-…; empty for an account in no organization
	Path  string // o-…/r-…/ou-…/, as aws:PrincipalOrgPaths has it
	// Control is as in policy.Set.
	Control [][]*policy.Document
	// Suspended accounts have been closed: neither their principals nor their
	// resources are of use.
	Suspended bool
}

// Directory knows the principals. It must be safe for concurrent use and answer
// from memory for those in use.
type Directory interface {
	// Identity is what p has from its account: of a principal that is no more,
	// an empty one. Roots have none.
	Identity(ctx context.Context, p *api.Principal) (*Identity, error)
	// Membership is that of an account, an empty one for an unknown account.
	Membership(ctx context.Context, account string) (*Membership, error)
}

// Engine decides by policies. It is safe for concurrent use.
type Engine struct{ directory Directory }

// New makes an Engine for the principals of dir.
func New(dir Directory) *Engine { return &Engine{dir} }

// Decide implements Decider.
func (e *Engine) Decide(ctx context.Context, call *api.Call, req *Request) (policy.Decision, error) {
	q := questions.Get().(*question)
	defer q.release()
	if closed, err := q.prepare(ctx, e, call, req); err != nil || closed {
		return policy.Decision{Layer: policy.ResourceLayer}, err
	}
	return policy.Decide(&q.req, &q.set), nil
}

// Explain implements Decider.
func (e *Engine) Explain(ctx context.Context, call *api.Call, req *Request) (*policy.Derivation, error) {
	q := questions.Get().(*question)
	defer q.release()
	closed, err := q.prepare(ctx, e, call, req)
	if err != nil {
		return nil, err
	}
	_, d := policy.Explain(&q.req, &q.set)
	if closed {
		d.Notes = append(d.Notes, "Account "+req.Account+" is closed.")
	}
	return d, nil
}

// question is a request with all that bears on it. It is made for the pool, so
// that a decision costs no allocation.
type question struct {
	req    policy.Request
	set    policy.Set
	caller policy.Caller
	values values
}

var questions = sync.Pool{New: func() any { return new(question) }}

func (q *question) release() {
	*q = question{}
	questions.Put(q)
}

// prepare gathers what bears on the request. closed tells that the account of the
// resource is suspended.
func (q *question) prepare(ctx context.Context, e *Engine, call *api.Call, req *Request) (closed bool, err error) {
	p := &call.Caller
	identity, member := &none, &noMember
	if p.Account != "" {
		if identity, err = e.directory.Identity(ctx, p); err != nil {
			return false, err
		}
		if member, err = e.directory.Membership(ctx, p.Account); err != nil {
			return false, err
		}
	}
	owner := member
	if req.Account != p.Account {
		if owner, err = e.directory.Membership(ctx, req.Account); err != nil {
			return false, err
		}
	}
	q.caller = CallerOf(p)
	q.values = values{call: call, req: req, caller: &q.caller, identity: identity, member: member, owner: owner}
	q.req = policy.Request{Caller: &q.caller, Action: req.Action, Resource: req.Resource, Context: &q.values}
	q.set = policy.Set{
		Account: req.Account, Resource: req.Policy, Grants: req.Grants,
		Identity: identity.Policies, Boundary: identity.Boundary, Control: member.Control,
	}
	if p.Session != nil {
		q.set.Session = p.Session.Policies
	}
	return owner.Suspended, nil
}

var (
	none     Identity
	noMember Membership
)

// CallerOf is a principal as the policy language sees it.
func CallerOf(p *api.Principal) policy.Caller {
	c := policy.Caller{Account: p.Account, Root: p.Type == api.Root, ARN: p.ARN, PrincipalARN: p.ARN, PrincipalID: p.ID}
	switch {
	case p.Type == api.AWSService:
		c.Service, c.PrincipalARN, c.PrincipalID = p.ID, "", ""
	case p.Type == api.WebIdentityUser:
		c.Federated, c.PrincipalARN, c.PrincipalID = p.Session.Federated, "", ""
	case p.Session != nil && p.Session.RoleARN != "":
		c.PrincipalARN, c.PrincipalID, c.SessionName = p.Session.RoleARN, p.Session.RoleID, p.Session.Name
	}
	return c
}
