// Package authz is the choke point of authorization: every operation asks it
// before it acts, and nothing else grants access.
//
// It brings together what bears on a request (the resource's policy, the
// caller's policies and boundary, the session, the organization's, grants), has
// package policy decide, notes the decision on the call, and words denials as
// AWS does. It promises that what belongs to another account shows itself only
// to those whom its policy lets in. It knows nothing of keys or roles beyond the
// documents it is handed.
package authz

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
)

// Request is one question: may the caller of a call do this to that?
type Request struct {
	Action string // kms:Encrypt
	// Resource is the ARN of the key, alias, role or the like, or "*" for
	// operations that act on no resource (CreateKey, ListKeys, GenerateRandom).
	Resource string
	// Account owns the resource; for "*" it is the caller's account.
	Account string
	// Type is the resource's in audit records, AWS::KMS::Key for one. It is needed
	// where the resource may be another account's.
	Type string
	// Policy is the resource's own policy, bound; nil for a resource that has none.
	Policy *policy.Document
	// Grants of the resource; may be nil.
	Grants policy.Grants
	// Values are those of the service's own condition keys (kms:*) and of the
	// aws:ResourceTag, aws:RequestTag and aws:TagKeys of the request; may be nil.
	Values policy.Context
	// Named is how a denial speaks of a resource of another account: empty for
	// "this resource".
	Named string
}

// OfCiphertext is Request.Named for a key that only a ciphertext names.
const OfCiphertext = "the resource associated with this ciphertext"

// Decider decides. It must be safe for concurrent use. The Engine is one.
type Decider interface {
	// Decide decides by all that bears on the request.
	Decide(ctx context.Context, call *api.Call, req *Request) (policy.Decision, error)
	// Explain is Decide with the derivation; nil if there is none.
	Explain(ctx context.Context, call *api.Call, req *Request) (*policy.Derivation, error)
}

// Check asks d and notes the decision on the call. A denial is an
// AccessDeniedException in AWS's words, and its derivation goes to the call's
// trail.
func Check(ctx context.Context, d Decider, call *api.Call, req *Request) error {
	dec, err := d.Decide(ctx, call, req)
	if err != nil {
		return err
	}
	if dec.Allowed {
		call.Decided()
		return nil
	}
	if err := explain(ctx, d, call, req, &dec); err != nil {
		return err
	}
	return denial(call, req, &dec)
}

// Open notes that an operation is open to whoever signed the request, as those
// are that tell callers who they are. No policy can forbid it.
func Open(call *api.Call) { call.Decided() }

// hidden tells a denial of what must not show itself: another account's resource
// whose policy does not let the caller in.
func hidden(call *api.Call, req *Request, dec *policy.Decision) bool {
	return req.Account != call.Caller.Account && dec.Layer == policy.ResourceLayer
}

// denial words a decision against the caller.
func denial(call *api.Call, req *Request, dec *policy.Decision) error {
	if hidden(call, req, dec) {
		return NotVisible(call.Caller, req.Action, req.Named)
	}
	on := " on resource: " + req.Resource
	return awserr.New(awserr.AccessDenied, "%s", "User: "+call.Caller.ARN+" is not authorized to perform: "+req.Action+on+" "+dec.Reason(req.Action))
}

// NotVisible is the denial for what belongs to another account or is not there
// at all: one text for both, so that existence is not revealed. named is as in
// Request.
func NotVisible(caller api.Principal, action, named string) error {
	if named == "" {
		named = "this resource"
	}
	return awserr.New(awserr.AccessDenied, "%s", "User: "+caller.ARN+" is not authorized to perform: "+action+" on "+named+
		" because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access")
}

// explain puts the derivation of a denial on the call's trail: the caller's
// account sees what its own policies said, and the resource's account what the
// resource's policy and grants said. Of what is hidden the caller's account sees
// nothing, as of what is not there.
func explain(ctx context.Context, d Decider, call *api.Call, req *Request, dec *policy.Decision) error {
	whole, err := d.Explain(ctx, call, req)
	if err != nil || whole == nil {
		return err
	}
	if req.Account == call.Caller.Account {
		return note(call, api.Derivation{Account: req.Account}, whole)
	}
	callers, owners := *whole, *whole
	callers.Documents, owners.Documents = nil, nil
	callers.Grants = nil
	callers.Notes = nil // they tell of the resource's policy
	for _, doc := range whole.Documents {
		if doc.Layer == policy.ResourceLayer {
			owners.Documents = append(owners.Documents, doc)
		} else {
			callers.Documents = append(callers.Documents, doc)
		}
	}
	if !hidden(call, req, dec) {
		if err := note(call, api.Derivation{Account: call.Caller.Account}, &callers); err != nil {
			return err
		}
	}
	return note(call, api.Derivation{Account: req.Account, Resource: api.Resource{Account: req.Account, Type: req.Type, ARN: req.Resource}}, &owners)
}

// maxDerivation bounds a derivation in a record, in bytes.
const maxDerivation = 64 << 10

func note(call *api.Call, d api.Derivation, content *policy.Derivation) (err error) {
	if d.JSON, err = json.Marshal(content); err == nil && len(d.JSON) > maxDerivation {
		d.JSON, err = json.Marshal(shorten(content))
	}
	if err == nil {
		call.Trail.Derivations = append(call.Trail.Derivations, d)
	}
	return err
}

// shorten leaves out of a derivation the statements that did not match.
func shorten(whole *policy.Derivation) *policy.Derivation {
	short := *whole
	short.Documents = make([]policy.DocumentDerivation, len(whole.Documents))
	for i, doc := range whole.Documents {
		kept := []policy.StatementDerivation{}
		for _, s := range doc.Statements {
			if s.Matched {
				kept = append(kept, s)
			}
		}
		short.Documents[i] = doc
		short.Documents[i].Statements = kept
	}
	short.Notes = append(slices.Clone(whole.Notes), "Statements that did not match are left out, since there are too many.")
	return &short
}
