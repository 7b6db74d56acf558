package policy

// evaluation is one request on its way through the documents.
type evaluation struct {
	req *Request
	set *Set
	// rec takes down what is looked at; nil when nobody wants to know.
	rec *recorder
	// given is what the resource's policy gives the caller.
	given permission
}

// permission is what a document or grant gives a caller. Each includes what those
// before it give.
type permission uint8

const (
	// nothing is given.
	nothing permission = iota
	// delegated permissions are given to the account: they need an identity policy.
	delegated
	// granted permissions are given to the caller or everyone. A boundary and
	// session policies still cap them.
	granted
	// final permissions are given to the session or user by name, and only
	// explicit denials count against them.
	final
)

// external callers belong to no account: services, and web identities on their
// way to a role.
func (c *Caller) external() bool { return c.Service != "" || c.Federated != "" }

// decide follows AWS's evaluation logic.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
// https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html
func (e *evaluation) decide() Decision {
	c, set := e.req.Caller, e.set
	local := c.Account == set.Account && !c.external()

	// All are looked at before any counts, for a denial goes before what allows.
	// Others than those of the account never learn what denied them when the
	// resource's policy does not let them in: that would show that it exists.
	var deny denial
	control := e.control(&deny)
	resource := e.resource(&deny)
	identity := e.any(IdentityLayer, set.Identity, &deny) || c.Root
	boundary := set.Boundary == nil || e.document(BoundaryLayer, set.Boundary, &deny) != nothing
	session := len(set.Session) == 0 || e.any(SessionLayer, set.Session, &deny)

	e.given = resource
	given := resource
	switch {
	case set.Resource == nil && local:
		given = delegated
	case local:
	case c.external():
		given = min(given, granted)
	default: // another account: its own side must allow as well
		given = min(given, delegated)
	}

	if deny.by != nil {
		if !local && resource == nothing {
			return Decision{Layer: ResourceLayer}
		}
		return Decision{Layer: deny.layer, Explicit: true, Document: deny.by}
	}
	answer := e.answer(given, identity, boundary, session)
	var grant string
	if answer != "" && control && set.Grants != nil {
		id, toAccount := set.Grants.Find(e.req, e.rec.grantNote())
		if id != "" {
			if toAccount {
				given = max(given, delegated)
			} else {
				given = max(given, granted)
			}
			if answer = e.answer(given, identity, boundary, session); answer == "" {
				grant = id
			}
		}
	}
	switch {
	case control && answer == "":
		return Decision{Allowed: true, Grant: grant}
	case !local && resource == nothing:
		return Decision{Layer: ResourceLayer}
	case !control:
		return Decision{Layer: ControlLayer}
	default:
		return Decision{Layer: answer}
	}
}

// answer is the first layer that stands against a permission, or "".
func (e *evaluation) answer(given permission, identity, boundary, session bool) Layer {
	switch {
	case given == final:
		return ""
	case given == nothing:
		return ResourceLayer
	case given == delegated && !identity:
		return IdentityLayer
	case !boundary:
		return BoundaryLayer
	case !session:
		return SessionLayer
	}
	return ""
}

// denial is the first explicit denial, if by is not nil.
type denial struct {
	layer Layer
	by    *Document
}

// control tells whether one policy at every level allows.
func (e *evaluation) control(d *denial) bool {
	allowed := true
	for _, level := range e.set.Control {
		if !e.any(ControlLayer, level, d) {
			allowed = false
		}
	}
	return allowed
}

func (e *evaluation) resource(d *denial) permission {
	if e.set.Resource == nil {
		return nothing
	}
	return e.document(ResourceLayer, e.set.Resource, d)
}

// any tells whether one of the documents allows.
func (e *evaluation) any(l Layer, docs []*Document, d *denial) bool {
	allowed := false
	for _, doc := range docs {
		if e.document(l, doc, d) != nothing {
			allowed = true
		}
	}
	return allowed
}

// document is what a document allows, nothing if it denies; a denial goes to d.
func (e *evaluation) document(l Layer, doc *Document, d *denial) permission {
	e.rec.document(l, doc)
	given, denied := nothing, false
	for i := range doc.Statements {
		s := &doc.Statements[i]
		e.rec.statement(i, s)
		p := e.principal(doc, s)
		if s.Effect == Allow && p <= given && e.rec == nil {
			continue // it would add nothing
		}
		if p == nothing || !e.matches(doc, s) {
			continue
		}
		e.rec.matched(s)
		if s.Effect == Allow {
			given = max(given, p)
			continue
		}
		if denied = true; d.by == nil {
			*d = denial{l, doc}
		}
		if e.rec == nil {
			break
		}
	}
	if denied {
		return nothing
	}
	return given
}

// principal is what the statement gives whom it names, if its other elements
// match; nothing if it does not name the caller.
func (e *evaluation) principal(doc *Document, s *Statement) permission {
	c := e.req.Caller
	if doc.Kind == Identity {
		return granted
	}
	given := nothing
	if s.NotPrincipal {
		if !spares(s.Principals, c) {
			given = granted
		}
	} else {
		for i := range s.Principals {
			if p := &s.Principals[i]; p.matches(c) {
				given = max(given, p.gives())
			}
		}
	}
	if given == nothing {
		e.rec.failed("Principal", s)
	}
	return given
}

// gives is what an Allow to the principal is worth to callers of the resource's
// account.
func (p *Principal) gives() permission {
	switch p.Kind {
	case AccountPrincipal:
		return delegated
	case UserPrincipal, SessionPrincipal, FederatedUserPrincipal:
		return final
	}
	return granted
}

// matches tells whether the elements after the principal match.
func (e *evaluation) matches(doc *Document, s *Statement) bool {
	req := e.req
	if !s.MatchesAction(req.Action) {
		e.rec.failed("Action", s)
		return false
	}
	if doc.Kind != Trust && !s.MatchesResource(req.Resource, req.Context) {
		e.rec.failed("Resource", s)
		return false
	}
	all := true
	for i := range s.Conditions {
		c := &s.Conditions[i]
		v := lookUp(req.Context, &c.Key)
		holds := c.holds(&v, req.Context)
		if e.rec != nil {
			e.rec.condition(c, &v, holds)
		} else if !holds {
			return false
		}
		all = all && holds
	}
	return all
}
