package policy

import "strings"

// Effect is Allow or Deny.
type Effect string

const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Statement is one statement of a document. It must not be changed.
type Statement struct {
	Line   int // from 1
	Sid    string
	Effect Effect

	// Principals are those of Principal, or of NotPrincipal if that is set; none
	// in identity policies.
	Principals   []Principal
	NotPrincipal bool
	// Actions are those of Action or NotAction. Without any (in key policies) the
	// statement matches nothing.
	Actions   []Action
	NotAction bool
	// Resources are those of Resource or NotResource. Without any in a key policy
	// the statement matches nothing; trust policies have none.
	Resources   []Resource
	NotResource bool
	// Conditions must all hold.
	Conditions []Condition
}

// Action is an entry of an Action or NotAction element.
type Action struct {
	Text string // as written

	all     bool
	service string  // in lower case
	name    pattern // in lower case
	anyName bool
}

// parseAction reads an action. The errors are IAM's words.
func parseAction(text string) (Action, string) {
	a := Action{Text: text, all: text == "*" || text == "*:*"}
	if a.all {
		return a, ""
	}
	service, name, ok := strings.Cut(strings.ToLower(text), ":")
	switch {
	case !ok || service == "" || name == "":
		return a, "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	case strings.Contains(name, ":"):
		return a, "Actions/Condition can contain only one colon."
	case !only(service, "-."):
		return a, "Vendor " + text[:len(service)] + " is not valid"
	case !only(name, "-_.*?"):
		return a, "The action " + text + " may have letters, digits and the wildcards * and ? after the colon"
	}
	a.service, a.anyName = service, name == "*"
	a.name, _ = compile(name, syntaxOf{wildcards: true})
	return a, ""
}

// Matches tells whether the action, which has no wildcards, is one of those that
// a stands for. Case does not count.
func (a *Action) Matches(action string) bool {
	if a.all {
		return true
	}
	n := len(a.service)
	if len(action) <= n || action[n] != ':' || !equalFold(a.service, action[:n]) {
		return false
	}
	if a.name.isPlain {
		return equalFold(a.name.plain, action[n+1:])
	}
	return a.anyName || a.name.match(action[n+1:], nil, true)
}

// MatchesAction tells whether the statement is about an action.
func (s *Statement) MatchesAction(action string) bool {
	if len(s.Actions) == 0 {
		return false
	}
	for i := range s.Actions {
		if s.Actions[i].Matches(action) {
			return !s.NotAction
		}
	}
	return s.NotAction
}

// Resource is an entry of a Resource or NotResource element.
type Resource struct {
	Text string // as written

	all bool
	arn arnPattern
}

// parseResource reads a resource. Variables stand in the sixth part only.
func parseResource(text string, variables bool) (Resource, error) {
	r := Resource{Text: text, all: text == "*"}
	if r.all {
		return r, nil
	}
	head, tail := splitResource(text)
	p, err := compile(head, syntaxOf{wildcards: true})
	if err != nil {
		return r, err
	}
	last, err := compile(tail, syntaxOf{true, variables})
	r.arn = newARNPattern(newPattern(append(p.tokens, last.tokens...)))
	return r, err
}

// splitResource divides an ARN after its fifth colon.
func splitResource(text string) (head, tail string) {
	n := 0
	for range 5 {
		i := strings.IndexByte(text[n:], ':')
		if i < 0 {
			return text, ""
		}
		n += i + 1
	}
	return text[:n], text[n:]
}

func (r *Resource) matches(resource string, ctx Context) bool {
	return r.all || r.arn.match(resource, ctx)
}

// MatchesResource tells whether the statement is about a resource. Variables are
// looked up in ctx; nil has no values.
func (s *Statement) MatchesResource(resource string, ctx Context) bool {
	if len(s.Resources) == 0 {
		return false
	}
	for i := range s.Resources {
		if s.Resources[i].matches(resource, ctx) {
			return !s.NotResource
		}
	}
	return s.NotResource
}
