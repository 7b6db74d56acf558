// Package authz is the choke point of authorization: every operation asks it
// before it acts, and nothing else grants access.
//
// The decision itself stands behind the Decider interface. The decider of this
// version is RootOnly; the policy engine takes its place without any operation
// changing.
package authz

import (
	"context"
	"strings"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
)

// Request is one question: may this caller do this to that?
type Request struct {
	Caller api.Principal
	Action string // kms:Encrypt
	// Resource is the ARN of the key or alias, or "*" for operations that act
	// on no resource (CreateKey, ListKeys, GenerateRandom).
	Resource string
	// Account owns the resource; for "*" it is the caller's account.
	Account string
	// Named is how a denial speaks of a resource of another account: empty for
	// "this resource".
	Named string
}

// OfCiphertext is Request.Named for a key that only a ciphertext names.
const OfCiphertext = "the resource associated with this ciphertext"

// Decision is the answer. Reason completes the denial message of AWS, from
// "because" or "with" on; it is empty when Allowed.
type Decision struct {
	Allowed bool
	Reason  string
}

// Decider decides. It must be safe for concurrent use.
type Decider interface {
	Decide(ctx context.Context, req *Request) Decision
}

// Check asks d and notes the decision on the call. A denial is an
// AccessDeniedException in AWS's words.
func Check(ctx context.Context, d Decider, call *api.Call, req *Request) error {
	dec := d.Decide(ctx, req)
	if dec.Allowed {
		call.Decided()
		return nil
	}
	if req.Account != req.Caller.Account {
		return NotVisible(req.Caller, req.Action, req.Named)
	}
	on := " on resource: " + req.Resource
	return awserr.New(awserr.AccessDenied, "%s", "User: "+req.Caller.ARN+" is not authorized to perform: "+req.Action+on+" "+dec.Reason)
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

// RootOnly lets the root of an account do everything in its own account and
// nobody else anything.
type RootOnly struct{}

// Decide implements Decider.
func (RootOnly) Decide(_ context.Context, req *Request) Decision {
	if req.Caller.Type == api.Root && req.Caller.Account != "" && req.Caller.Account == req.Account &&
		strings.HasSuffix(req.Caller.ARN, ":"+req.Account+":root") {
		return Decision{Allowed: true}
	}
	return Decision{Reason: "because no resource-based policy allows the " + req.Action + " action"}
}
