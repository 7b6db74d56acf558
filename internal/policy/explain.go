package policy

import (
	"cmp"
	"fmt"
	"strings"
)

// Derivation is how a decision came about. Its JSON is what users see.
type Derivation struct {
	Principal string               `json:"principal"`
	Action    string               `json:"action"`
	Resource  string               `json:"resource"`
	Decision  string               `json:"decision"` // Allowed, or Denied and AWS's reason
	Documents []DocumentDerivation `json:"documents"`
	Grants    []GrantDerivation    `json:"grants,omitempty"`
	// Notes say what no statement shows: that the key policy does not delegate to
	// the caller's account, that the caller is of another account, and the like.
	Notes []string `json:"notes,omitempty"`
}

// DocumentDerivation is what one document had to say.
type DocumentDerivation struct {
	Layer      Layer                 `json:"layer"`
	Name       string                `json:"name"`
	Outcome    string                `json:"outcome"` // allows, denies, or says nothing
	Statements []StatementDerivation `json:"statements"`
}

// StatementDerivation is what one statement had to say.
type StatementDerivation struct {
	Index   int    `json:"index"` // from 0
	Sid     string `json:"sid,omitempty"`
	Effect  string `json:"effect"`
	Matched bool   `json:"matched"`
	// Failed is the first element that did not match: Principal, Action, Resource
	// or Condition, with Why.
	Failed string `json:"failed,omitempty"`
	Why    string `json:"why,omitempty"`
	// Conditions are there when they were looked at.
	Conditions []ConditionDerivation `json:"conditions,omitempty"`
}

// ConditionDerivation is what one condition compared.
type ConditionDerivation struct {
	Operator string   `json:"operator"`
	Key      string   `json:"key"` // as the policy writes it
	Policy   []string `json:"policy"`
	Request  []string `json:"request"` // null: the key is absent
	Holds    bool     `json:"holds"`
}

// GrantDerivation is why a grant of the caller did not fit.
type GrantDerivation struct {
	ID  string `json:"grantId"`
	Why string `json:"why"`
}

// Explain decides and tells how: which statement of which document matched, or
// on what it failed with which values.
func Explain(req *Request, set *Set) (Decision, *Derivation) {
	c := req.Caller
	e := evaluation{req: req, set: set, rec: &recorder{Derivation: Derivation{
		Principal: cmp.Or(c.ARN, c.Service, c.Federated), Action: req.Action, Resource: req.Resource, Documents: []DocumentDerivation{},
	}}}
	d := e.decide()
	e.rec.Decision = "Allowed"
	if !d.Allowed {
		e.rec.Decision = "Denied " + d.Reason(req.Action)
	}
	e.notes(d)
	return d, &e.rec.Derivation
}

// recorder takes down an evaluation. A nil one takes down nothing.
type recorder struct{ Derivation }

func (r *recorder) document(l Layer, doc *Document) {
	if r != nil {
		r.Documents = append(r.Documents, DocumentDerivation{Layer: l, Name: doc.Name, Outcome: "says nothing", Statements: []StatementDerivation{}})
	}
}

func (r *recorder) current() (*DocumentDerivation, *StatementDerivation) {
	d := &r.Documents[len(r.Documents)-1]
	return d, &d.Statements[len(d.Statements)-1]
}

func (r *recorder) statement(i int, s *Statement) {
	if r != nil {
		d := &r.Documents[len(r.Documents)-1]
		d.Statements = append(d.Statements, StatementDerivation{Index: i, Sid: s.Sid, Effect: string(s.Effect)})
	}
}

func (r *recorder) failed(element string, s *Statement) {
	if r == nil {
		return
	}
	_, sd := r.current()
	sd.Failed = element
	switch element {
	case "Principal":
		sd.Why = s.whyPrincipal()
	case "Action":
		sd.Why = s.whyAction()
	case "Resource":
		sd.Why = s.whyResource()
	}
}

func (r *recorder) condition(c *Condition, v *Value, holds bool) {
	_, s := r.current()
	s.Conditions = append(s.Conditions, ConditionDerivation{
		Operator: c.Operator, Key: c.Written, Policy: c.Values, Request: v.Strings(), Holds: holds,
	})
	if !holds && s.Failed == "" {
		s.Failed, s.Why = "Condition", c.why(v)
	}
}

func (r *recorder) matched(s *Statement) {
	if r == nil {
		return
	}
	d, sd := r.current()
	sd.Matched = true
	if s.Effect == Deny {
		d.Outcome = "denies"
	} else if d.Outcome != "denies" {
		d.Outcome = "allows"
	}
}

func (r *recorder) grantNote() func(id, why string) {
	if r == nil {
		return nil
	}
	return func(id, why string) { r.Grants = append(r.Grants, GrantDerivation{id, why}) }
}

// why says on what the condition failed.
func (c *Condition) why(v *Value) string {
	switch request := v.Strings(); {
	case len(request) == 0:
		return fmt.Sprintf("%s: the request has no %s.", c.Operator, c.Written)
	default:
		return fmt.Sprintf("%s: the request's %s is %s, the policy has %s.", c.Operator, c.Written, list(request), list(c.Values))
	}
}

// list words a few values.
func list(values []string) string {
	const most = 10
	more := ""
	if len(values) > most {
		more = fmt.Sprintf(" and %d more", len(values)-most)
		values = values[:most]
	}
	return strings.Join(values, ", ") + more
}

func (s *Statement) whyPrincipal() string {
	names := make([]string, len(s.Principals))
	for i := range s.Principals {
		names[i] = s.Principals[i].Text
		if p := &s.Principals[i]; p.byID && p.id == "" {
			names[i] += " (which is no more)"
		}
	}
	if s.NotPrincipal {
		return "NotPrincipal lists the caller: " + list(names) + "."
	}
	return "The caller is not " + list(names) + "."
}

func (s *Statement) whyAction() string {
	texts := make([]string, len(s.Actions))
	for i := range s.Actions {
		texts[i] = s.Actions[i].Text
	}
	return s.why("Action", "action", texts, s.NotAction)
}

func (s *Statement) whyResource() string {
	texts := make([]string, len(s.Resources))
	for i := range s.Resources {
		texts[i] = s.Resources[i].Text
	}
	return s.why("Resource", "resource", texts, s.NotResource)
}

func (s *Statement) why(element, what string, texts []string, not bool) string {
	switch {
	case len(texts) == 0:
		return "The statement has no " + element + ", so it matches nothing."
	case not:
		return "The " + what + " is among those that Not" + element + " excludes: " + list(texts) + "."
	}
	return "The " + what + " is not " + list(texts) + "."
}

// notes says what no statement shows.
func (e *evaluation) notes(d Decision) {
	c, set := e.req.Caller, e.set
	note := func(format string, args ...any) { e.rec.Notes = append(e.rec.Notes, fmt.Sprintf(format, args...)) }
	switch {
	case d.Allowed && d.Grant != "":
		note("Grant %s allows it.", d.Grant)
	case c.Root && c.Account == set.Account && set.Resource == nil:
		note("The root user needs no identity policy.")
	}
	if c.external() {
		note("The caller belongs to no account, so the resource's policy alone decides.")
		return
	}
	if c.Account != set.Account {
		note("The caller is of account %s and the resource of account %s, so the policies of both must allow it.", c.Account, set.Account)
	}
	if set.Resource == nil {
		if c.Account != set.Account {
			note("The resource has no policy of its own that could let another account in.")
		}
		return
	}
	given := e.given
	switch {
	case given == nothing && d.Grant == "" && !d.Explicit:
		note("The %s does not delegate this to account %s, so the account's identity policies do not count.", set.Resource.Name, c.Account)
	case given == delegated && c.Account == set.Account && !c.Root:
		note("The %s delegates this to account %s, so an identity policy must allow it as well.", set.Resource.Name, c.Account)
	case given == final && c.Account == set.Account && d.Allowed:
		note("The %s names the caller itself, so nothing else needs to allow it.", set.Resource.Name)
	case given == granted && c.Account == set.Account:
		note("The %s allows it without an identity policy.", set.Resource.Name)
	}
}
