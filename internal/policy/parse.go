package policy

import (
	"fmt"
	"slices"
	"strings"
)

// parser makes a Document of JSON.
type parser struct {
	*reader
	kind      Kind
	doc       *Document
	variables bool // the version has policy variables
}

func parse(kind Kind, name, text string) (*Document, error) {
	p := &parser{reader: &reader{text: text}, kind: kind, doc: &Document{Name: name, Kind: kind, Version: "2008-10-17"}}
	root, err := readJSON(text)
	if err == nil {
		err = p.document(root)
	}
	if err != nil {
		return nil, err
	}
	return p.doc, nil
}

// at is an error at a node.
func (p *parser) at(n *node, reason string, args ...any) error {
	if len(args) > 0 {
		reason = fmt.Sprintf(reason, args...)
	}
	return p.fail(n.offset, n.place, reason)
}

// object checks that n is an object with no other members than those named.
func (p *parser) object(n *node, what string, known ...string) error {
	if n.kind != '{' {
		return p.at(n, what+" must be an object, { to }")
	}
	for i := range n.members {
		m := &n.members[i]
		if slices.Contains(known, m.name) {
			continue
		}
		for _, k := range known {
			if strings.EqualFold(k, m.name) {
				return p.at(&m.value, "%s has no element %q; write %s", what, m.name, k)
			}
		}
		return p.at(&m.value, "%s has no element %q; there are %s", what, m.name, strings.Join(known, ", "))
	}
	return nil
}

// get is a member of an object, nil if it is not there.
func (n *node) get(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return &n.members[i].value
		}
	}
	return nil
}

// text is the string n; empty if n is nil.
func (p *parser) text(n *node, what string) (string, error) {
	if n == nil {
		return "", nil
	}
	if n.kind != '"' {
		return "", p.at(n, what+" must be a string")
	}
	return n.text, nil
}

// each calls fn for the one string n, or for those in the array n. scalars takes
// numbers and booleans as well.
func (p *parser) each(n *node, what string, scalars bool, fn func(*node) error) error {
	items := []node{*n}
	if n.kind == '[' {
		items = n.items
		if len(items) == 0 {
			return p.at(n, what+" must not be empty")
		}
	}
	for i := range items {
		switch k := items[i].kind; {
		case k == '"':
		case scalars && (k == '0' || k == 't'):
		default:
			return p.at(&items[i], what+" must be a string or an array of strings")
		}
		if err := fn(&items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) document(root *node) error {
	if err := p.object(root, "A policy", "Version", "Id", "Statement"); err != nil {
		return err
	}
	var err error
	if n := root.get("Version"); n != nil {
		if p.doc.Version, err = p.text(n, "Version"); err != nil {
			return err
		}
		if v := p.doc.Version; v != "2012-10-17" && v != "2008-10-17" {
			return p.at(n, "Version must be 2012-10-17 or 2008-10-17, not %q", v)
		}
	}
	p.variables = p.doc.Version == "2012-10-17"
	if p.doc.ID, err = p.text(root.get("Id"), "Id"); err != nil {
		return err
	}
	n := root.get("Statement")
	switch {
	case n == nil:
		return p.at(root, "A policy must have a Statement")
	case n.kind == '{':
		return p.statement(n)
	case n.kind != '[':
		return p.at(n, "Statement must be an object or an array of objects")
	case len(n.items) == 0 && p.kind != Key:
		return p.at(n, "Statement must not be empty")
	case len(n.items) > maxStatements:
		return p.at(n, "A policy may have at most %d statements", maxStatements)
	}
	for i := range n.items {
		if err := p.statement(&n.items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) statement(n *node) error {
	err := p.object(n, "A statement", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return err
	}
	s := Statement{Line: p.line(n.offset)}
	if s.Sid, err = p.text(n.get("Sid"), "Sid"); err != nil {
		return err
	}
	if err := p.sid(n, s.Sid); err != nil {
		return err
	}
	effect, err := p.text(n.get("Effect"), "Effect")
	if err != nil {
		return err
	}
	switch s.Effect = Effect(effect); {
	case n.get("Effect") == nil:
		return p.at(n, "A statement must have an Effect, Allow or Deny")
	case s.Effect != Allow && s.Effect != Deny:
		return p.at(n.get("Effect"), "Effect must be Allow or Deny, not %q", effect)
	}
	for _, element := range []func(*node, *Statement) error{p.principals, p.actions, p.resources, p.conditions} {
		if err := element(n, &s); err != nil {
			return err
		}
	}
	p.doc.Statements = append(p.doc.Statements, s)
	return nil
}

// sid checks the Sid of policies that IAM keeps, in IAM's words. Key policies may
// have any.
func (p *parser) sid(n *node, sid string) error {
	if sid == "" || p.kind == Key {
		return nil
	}
	if !only(sid, "") {
		return p.at(n.get("Sid"), "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
	}
	for i := range p.doc.Statements {
		if p.doc.Statements[i].Sid == sid {
			return p.at(n.get("Sid"), "Statement IDs (SID) in a single policy must be unique.")
		}
	}
	return nil
}

// either is the member name or its opposite, Not and name; both may not be there.
func (p *parser) either(n *node, name string) (found *node, not bool, err error) {
	found, opposite := n.get(name), n.get("Not"+name)
	if found != nil && opposite != nil {
		return nil, false, p.at(opposite, "A statement may have %s or Not%s, not both", name, name)
	}
	if found == nil {
		return opposite, opposite != nil, nil
	}
	return found, false, nil
}

func (p *parser) principals(n *node, s *Statement) (err error) {
	e, not, err := p.either(n, "Principal")
	s.NotPrincipal = not
	switch {
	case err != nil:
		return err
	case p.kind == Identity && e != nil:
		return p.at(e, "Policy document should not specify a principal.") // IAM's words
	case p.kind == Identity:
		return nil
	case e == nil:
		return p.at(n, "A statement of this policy must have a Principal or a NotPrincipal")
	case e.kind == '"' && e.text == "*":
		s.Principals = []Principal{{Kind: Everyone, Type: "AWS", Text: "*"}}
		return nil
	case e.kind != '{':
		return p.at(e, `Principal must be "*" or an object, as in {"AWS": "arn:aws:iam::111122223333:root"}`)
	}
	types := []string{"AWS", "Service", "Federated", "CanonicalUser"}
	if err := p.object(e, "Principal", types...); err != nil {
		return err
	}
	if len(e.members) == 0 {
		return p.at(e, "Principal must not be empty")
	}
	for i := range e.members {
		m := &e.members[i]
		err := p.each(&m.value, "Principal", false, func(v *node) error {
			parsed, ok := parsePrincipal(m.name, v.text)
			if !ok {
				return p.at(v, "Invalid principal in policy: %q:%q", m.name, v.text)
			}
			s.Principals = append(s.Principals, parsed)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) actions(n *node, s *Statement) error {
	e, not, err := p.either(n, "Action")
	if err != nil {
		return err
	}
	s.NotAction = not
	if e == nil || e.kind == '[' && len(e.items) == 0 && !not {
		if p.kind == Key {
			return nil
		}
		return p.at(n, "Policy statement must contain actions.") // IAM's words
	}
	return p.each(e, "Action", false, func(v *node) error {
		a, reason := parseAction(v.text)
		if reason != "" {
			return p.at(v, "%s", reason)
		}
		s.Actions = append(s.Actions, a)
		return nil
	})
}

func (p *parser) resources(n *node, s *Statement) error {
	e, not, err := p.either(n, "Resource")
	if err != nil {
		return err
	}
	s.NotResource = not
	switch {
	case p.kind == Trust && e != nil:
		return p.at(e, "Has prohibited field Resource") // IAM's words
	case p.kind == Trust:
		return nil
	case e == nil, e.kind == '[' && len(e.items) == 0 && !not:
		if p.kind == Key {
			return nil
		}
		return p.at(n, "Policy statement must contain resources.") // IAM's words
	}
	return p.each(e, "Resource", false, func(v *node) error {
		if p.kind == Identity {
			if reason := checkResource(v.text); reason != "" {
				return p.at(v, "%s", reason)
			}
		}
		r, err := parseResource(v.text, p.variables)
		if err != nil {
			return p.at(v, "Resource %s %v", v.text, err)
		}
		s.Resources = append(s.Resources, r)
		return nil
	})
}

// checkResource says what is wrong with a resource of an identity policy, in
// IAM's words.
func checkResource(text string) string {
	if text == "*" {
		return ""
	}
	head, _ := splitResource(text)
	parts := strings.Split(head, ":")
	switch {
	case len(parts) < 2 || parts[0] != "arn":
		return "Resource " + text + ` must be in ARN format or "*".`
	case len(parts) < 6:
		return "The policy failed legacy parsing: Resource " + text + " must have six parts, arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE"
	case parts[1] == "":
		return `Partition "" is not valid for resource "` + text + `".`
	case parts[2] == "" || strings.ContainsAny(parts[2], "*?"):
		return "Resource vendor must be fully qualified and cannot contain regexes."
	}
	return ""
}

func (p *parser) conditions(n *node, s *Statement) error {
	e := n.get("Condition")
	if e == nil {
		return nil
	}
	if e.kind != '{' {
		return p.at(e, `Condition must be an object, as in {"StringEquals": {"kms:CallerAccount": "111122223333"}}`)
	}
	for i := range e.members {
		m := &e.members[i]
		var c Condition
		if !c.setOperator(m.name) {
			return p.at(&m.value, "There is no condition operator %q", m.name)
		}
		if m.value.kind != '{' {
			return p.at(&m.value, `%s must be an object, as in {"KEY": "VALUE"}`, m.name)
		}
		for j := range m.value.members {
			if err := p.condition(c, &m.value.members[j], s); err != nil {
				return err
			}
		}
	}
	return nil
}

// condition reads one key under the operator of c.
func (p *parser) condition(c Condition, m *member, s *Statement) (err error) {
	c.Line, c.Written = p.line(m.value.offset), m.name
	if c.Key, err = ParseConditionKey(m.name); err != nil {
		return p.at(&m.value, "%v", err)
	}
	if c.Quantifier == ForAllValues && c.Key.Name == "kms:encryptioncontext" {
		return p.at(&m.value, "%s has one value in a request, for which ForAllValues holds also when it is absent; leave ForAllValues out, or test kms:EncryptionContextKeys", m.name)
	}
	err = p.each(&m.value, "A value of "+m.name, true, func(v *node) error {
		c.Values = append(c.Values, v.text)
		if err := c.compile(v.text, p.variables); err != nil {
			return p.at(v, "%s: %v", m.name, err)
		}
		return nil
	})
	s.Conditions = append(s.Conditions, c)
	return err
}
