// Package policy is the AWS policy language: it parses documents, says what is
// wrong with them, and decides requests by them.
//
// It promises AWS's outcome for every document and request that AWS documents,
// a reason for every outcome, and a decision that allocates nothing. It is pure:
// it knows nothing of HTTP, SQL, time, or of the services whose actions it
// decides.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies.html
package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is where a document stands, which decides what it may say.
type Kind int

const (
	// Identity documents stand at a user, group or role; permissions boundaries,
	// session policies and service control policies have the same form.
	Identity Kind = iota
	// Key documents are key policies: with principals. A statement without Action
	// or Resource is accepted and matches nothing.
	Key
	// Trust documents are the trust policies of roles: with principals, and
	// without Resource.
	Trust
)

// Document is a parsed policy. It is never changed and safe for concurrent use.
type Document struct {
	// Name is what explanations and denials call it: the ARN of a managed policy,
	// or words such as "key policy".
	Name    string
	Kind    Kind
	Version string // 2012-10-17 or 2008-10-17, which is that of a document without
	ID      string
	// Statements in the order of the document.
	Statements []Statement
}

// Parse reads a document. The error is a *SyntaxError.
func Parse(kind Kind, name, text string) (*Document, error) {
	return parse(kind, name, text)
}

// SyntaxError tells where a document is wrong and why.
type SyntaxError struct {
	Line, Column int    // from 1
	Path         string // Statement[2].Condition.StringEquals; empty for the document
	Reason       string // Effect must be Allow or Deny
}

// Error is the place and the reason.
func (e *SyntaxError) Error() string {
	at := fmt.Sprintf("line %d, column %d", e.Line, e.Column)
	if e.Path != "" {
		at += ", " + e.Path
	}
	return at + ": " + e.Reason
}

// Principals are the users, roles, role sessions and unique ids that the
// document names under AWS, each once, as ARNs (or AIDA…, AROA… ids) in the
// order in which they occur; not accounts and not "*". Who keeps a document
// finds out whom they are at that time, and gives the answer to Bind.
func (d *Document) Principals() []string {
	var all []string
	for i := range d.Statements {
		for _, p := range d.Statements[i].Principals {
			if p.named() && !slices.Contains(all, p.Text) {
				all = append(all, p.Text)
			}
		}
	}
	return all
}

// Accounts are the ids of the accounts that the document names under AWS, each once.
func (d *Document) Accounts() []string {
	var all []string
	for i := range d.Statements {
		for _, p := range d.Statements[i].Principals {
			if p.Kind == AccountPrincipal && !slices.Contains(all, p.Account) {
				all = append(all, p.Account)
			}
		}
	}
	return all
}

// Bind is the document with its principals tied to unique ids (AIDA…, AROA…): ids
// has what Principals gives. A bound principal matches by the id and never a
// later namesake; one that ids lacks matches nobody. An unbound document
// matches by ARN.
func (d *Document) Bind(ids map[string]string) *Document {
	bound := *d
	bound.Statements = slices.Clone(d.Statements)
	for i := range bound.Statements {
		s := &bound.Statements[i]
		s.Principals = slices.Clone(s.Principals)
		for j := range s.Principals {
			if p := &s.Principals[j]; p.named() {
				p.id, p.byID = ids[p.Text], true
				if p.Kind == SessionPrincipal { // whose id may have the session's name
					p.id, _, _ = strings.Cut(p.id, ":")
				}
			}
		}
	}
	return &bound
}

// Caller is who asks, as far as policies can name it.
type Caller struct {
	Account string // 12 digits; empty for a service
	Root    bool   // the root user of the account
	// ARN is what the caller is called: that of the user, the role session or the
	// account root.
	ARN string
	// PrincipalARN is that of the user, of the role (path included) behind a
	// session, or of the account root.
	PrincipalARN string
	// PrincipalID is the unique id of the user or role: AIDA…, AROA….
	PrincipalID string
	// SessionName is the role session's, empty for others.
	SessionName string
	// Service is the name of a service that calls for itself: ec2.amazonaws.com.
	Service string
	// Federated is the identity provider of a web identity that has no
	// credentials of AWS yet: the ARN of the OIDC provider.
	Federated string
}

// Request is one question.
type Request struct {
	Caller   *Caller
	Action   string // kms:Encrypt
	Resource string // an ARN, or "*"
	Context  Context
}

// Context gives the values of condition keys. It is asked for what conditions and
// variables name, and only then.
type Context interface {
	// Value is that of a key, or Absent.
	Value(key *ConditionKey) Value
}

// ConditionKey is a condition key as a policy names it.
type ConditionKey struct {
	// Name is in lower case and without the part that the policy's author chose:
	// kms:viaservice, kms:encryptioncontext, aws:principaltag.
	Name string
	// Parameter is that part, as written: AppName of
	// kms:EncryptionContext:AppName, team of aws:PrincipalTag/team. It is
	// compared without regard to case. Empty for keys that have none.
	Parameter string
}

// Set is all that bears on one request. Its documents are bound and not nil.
type Set struct {
	// Account owns the resource; for "*" it is the caller's account.
	Account string
	// Resource is the resource's own policy (key policy, trust policy), without
	// which nobody may do anything; nil for what has none, where identity
	// policies alone decide.
	Resource *Document
	// Identity are the policies of the user or role, those of its groups included.
	Identity []*Document
	// Boundary is the permissions boundary, or nil.
	Boundary *Document
	// Session are the session policies; nil means that there are none. What one
	// of them allows is allowed.
	Session []*Document
	// Control are the service control policies that bear on the caller's account,
	// one slice for each level from the root to the account. At each level one
	// must allow. None for an account that is exempt.
	Control [][]*Document
	// Grants are asked when policies do not allow, nor deny explicitly. May be nil.
	Grants Grants
}

// Grants finds a grant for a request.
type Grants interface {
	// Find is the id of a grant that allows the request to the caller itself or
	// to its whole account, or "". What a derivation should say of grants that
	// did not fit goes to note, unless that is nil.
	Find(req *Request, note func(grantID, why string)) (id string, toAccount bool)
}

// Layer is a kind of policy, in the words of AWS's denials.
type Layer string

const (
	IdentityLayer Layer = "identity-based policy"
	ResourceLayer Layer = "resource-based policy"
	BoundaryLayer Layer = "permissions boundary"
	SessionLayer  Layer = "session policy"
	ControlLayer  Layer = "service control policy"
)

// Decision is the answer to a Request.
type Decision struct {
	Allowed bool
	// Grant is the id of the grant that allowed it, empty if policies did.
	Grant string
	// Layer is the kind of policy that a denial is for: the one that denies
	// explicitly, or the one in which nothing allows.
	Layer Layer
	// Explicit is a denial by a Deny statement, of Document.
	Explicit bool
	Document *Document
}

// Reason completes AWS's message of a denial, from "because" or "with" on.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
func (d Decision) Reason(action string) string {
	if !d.Explicit {
		return "because no " + string(d.Layer) + " allows the " + action + " action"
	}
	article := "a "
	if d.Layer == IdentityLayer {
		article = "an "
	}
	reason := "with an explicit deny in " + article + string(d.Layer)
	if d.Document != nil && strings.HasPrefix(d.Document.Name, "arn:") {
		reason += ": " + d.Document.Name
	}
	return reason
}

// Decide decides. It allocates nothing, unless a policy compares numbers, dates or
// addresses as strings, or has more than four variables in a value.
func Decide(req *Request, set *Set) Decision {
	e := evaluation{req: req, set: set}
	return e.decide()
}

// Shown is the text of a document as it is shown later. bound is what it was bound
// to, now whom its principals are by now: those that are no more are shown by
// their unique ids.
func Shown(text string, bound, now map[string]string) string {
	for name, id := range bound {
		if now[name] != id {
			text = strings.ReplaceAll(text, `"`+name+`"`, `"`+id+`"`)
		}
	}
	return text
}
