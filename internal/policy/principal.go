package policy

import "strings"

// PrincipalKind is what a principal names.
type PrincipalKind int

const (
	Everyone PrincipalKind = iota // "*"
	AccountPrincipal
	UserPrincipal    // by ARN or AIDA…
	RolePrincipal    // by ARN or AROA…
	SessionPrincipal // of a role
	FederatedUserPrincipal
	ServicePrincipal
	FederatedPrincipal // an identity provider
	CanonicalUserPrincipal
)

// Principal is one entry of a Principal or NotPrincipal element.
type Principal struct {
	Kind PrincipalKind
	Type string // AWS, Service, Federated or CanonicalUser
	Text string // as written
	// Account is the account of the principal; empty for unique ids and for what
	// belongs to none.
	Account string

	// id is the unique id that a bound document has for it, or that was written;
	// empty: it names nobody.
	id      string
	byID    bool
	session string // of a SessionPrincipal, its name
}

// parsePrincipal reads an entry under typ. It fails with false on what is none.
func parsePrincipal(typ, text string) (p Principal, ok bool) {
	p.Type, p.Text = typ, text
	switch typ {
	case "Service":
		p.Kind = ServicePrincipal
		return p, strings.Contains(text, ".") && only(text, "-.")
	case "Federated":
		p.Kind = FederatedPrincipal
		return p, text != "" && !strings.ContainsAny(text, "*? \t\r\n")
	case "CanonicalUser":
		p.Kind = CanonicalUserPrincipal
		return p, len(text) == 64 && only(text, "")
	}
	switch {
	case text == "*":
		p.Kind = Everyone
		return p, true
	case isAccount(text):
		p.Kind, p.Account = AccountPrincipal, text
		return p, true
	case strings.HasPrefix(text, "AIDA"), strings.HasPrefix(text, "AROA"):
		p.Kind = UserPrincipal
		if text[1] == 'R' {
			p.Kind = RolePrincipal
		}
		p.id, p.byID = text, true
		return p, only(text, "") && len(text) > len("AIDA") && strings.ToUpper(text) == text
	}
	rest, ok := strings.CutPrefix(text, "arn:aws:")
	if !ok || strings.ContainsAny(text, "*?") {
		return p, false
	}
	service, rest, _ := strings.Cut(rest, "::") // no region
	account, resource, _ := strings.Cut(rest, ":")
	if !isAccount(account) {
		return p, false
	}
	p.Account = account
	kind, name, _ := strings.Cut(resource, "/")
	last := name[strings.LastIndexByte(name, '/')+1:]
	switch service + ":" + kind {
	case "iam:root":
		p.Kind = AccountPrincipal
		return p, resource == "root"
	case "iam:user":
		p.Kind = UserPrincipal
		return p, last != ""
	case "iam:role":
		p.Kind = RolePrincipal
		return p, last != ""
	case "sts:assumed-role":
		p.Kind, p.session = SessionPrincipal, last
		return p, last != "" && strings.Count(name, "/") == 1 && name[0] != '/'
	case "sts:federated-user":
		p.Kind = FederatedUserPrincipal
		return p, name != "" && name == last
	}
	return p, false
}

// isAccount tells the id of an account.
func isAccount(s string) bool { return len(s) == 12 && digits(s) }

// only tells whether s has ASCII letters and digits and the bytes of extra only.
func only(s, extra string) bool {
	for i := range len(s) {
		c := lower(s[i])
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(extra, c) >= 0) {
			return false
		}
	}
	return true
}

// named tells of principals that are users or roles, whom Document.Bind ties to ids.
func (p *Principal) named() bool {
	return p.Kind == UserPrincipal || p.Kind == RolePrincipal || p.Kind == SessionPrincipal
}

// matches tells whether c is the principal or, for an account, belongs to it,
// or, for a role, is its session.
func (p *Principal) matches(c *Caller) bool {
	switch p.Kind {
	case Everyone:
		return true
	case AccountPrincipal:
		return p.Account == c.Account && !c.external()
	case UserPrincipal, RolePrincipal:
		if p.byID {
			return p.id != "" && p.id == c.PrincipalID
		}
		return p.Text == c.PrincipalARN
	case SessionPrincipal:
		if p.byID {
			return p.id != "" && p.id == c.PrincipalID && p.session == c.SessionName
		}
		return p.Text == c.ARN
	case FederatedUserPrincipal:
		return p.Text == c.ARN
	case ServicePrincipal:
		return p.Text == c.Service
	case FederatedPrincipal:
		return p.Text == c.Federated
	}
	return false
}

// spares tells whether a NotPrincipal element does not hit c. For it a user counts
// as itself and as its account, a role session also as the role: it is spared
// only when each of them is listed.
func spares(list []Principal, c *Caller) bool {
	var account, principal, session bool
	for i := range list {
		p := &list[i]
		if !p.matches(c) {
			continue
		}
		switch p.Kind {
		case AccountPrincipal:
			account = true
		case UserPrincipal, RolePrincipal:
			principal = true
		case SessionPrincipal:
			session = true
		default: // everyone, or what belongs to no account
			return true
		}
	}
	return account && (c.Root || principal) && (c.SessionName == "" || session)
}
