package policy_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/policy"
	"pgregory.net/rapid"
)

// This file has a second evaluator of policies, written from AWS's pages alone:
// slow, and as plain as the pages. It keeps a policy as the maps that
// encoding/json makes of it, and takes all values for the texts that they are.
// What package policy decides, it must decide too.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
// https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html

// A fact is the value of a condition key in a request.
type fact struct {
	kind   string // text, texts, number, time, ip or bool
	values []string
}

// facts are the context of a request, by the condition key in lower case.
type facts map[string]fact

// Value implements policy.Context.
func (f facts) Value(key *policy.ConditionKey) policy.Value {
	name := key.Name
	if key.Parameter != "" {
		sep := "/" // aws:PrincipalTag/team
		if strings.HasPrefix(name, "kms:") {
			sep = ":" // kms:EncryptionContext:AppName
		}
		name += sep + key.Parameter
	}
	v, ok := f[strings.ToLower(name)]
	if !ok {
		return policy.Absent
	}
	first := func() string { return v.values[0] }
	switch v.kind {
	case "text":
		return policy.Text(first())
	case "texts":
		return policy.Texts(v.values)
	case "number":
		n, err := strconv.ParseInt(first(), 10, 64)
		must(err)
		return policy.Number(n)
	case "time":
		t, err := time.Parse(time.RFC3339, first())
		must(err)
		return policy.Time(t)
	case "ip":
		return policy.IP(netip.MustParseAddr(first()))
	case "bool":
		return policy.Bool(first() == "true")
	}
	panic("no such kind: " + v.kind)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A paper is a policy as its author wrote it.
type paper struct {
	Kind policy.Kind
	Name string
	Text string
	// IDs are the unique ids of those whom it names; nil for a paper that was
	// never bound.
	IDs map[string]string

	last     string // the text that was decoded last
	contents map[string]any
}

// A question is a request with all that bears on it.
type question struct {
	Caller           policy.Caller
	Action, Resource string
	Facts            facts

	Account   string
	Key       *paper // or whatever policy the resource has
	Identity  []*paper
	Boundary  *paper
	Session   []*paper
	Control   [][]*paper
	Grant     string // the id of one that fits, or empty
	ToAccount bool   // the grant is to the caller's account
}

// An answer is an outcome as far as AWS documents it. If several policies deny
// explicitly, AWS names one of them, and does not say which.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
type answer struct {
	allowed  bool
	grant    string
	explicit bool
	layers   []policy.Layer // one of which is named
}

func (a answer) String() string {
	switch {
	case a.allowed && a.grant != "":
		return "allowed by grant " + a.grant
	case a.allowed:
		return "allowed"
	case a.explicit:
		return fmt.Sprintf("explicitly denied by one of %q", a.layers)
	}
	return fmt.Sprintf("not allowed by %q", a.layers)
}

// reference decides.
func reference(q *question) answer {
	root := q.Caller.Root
	own := q.Caller.Account != "" && q.Caller.Account == q.Account
	implicit := func(l policy.Layer) answer { return answer{layers: []policy.Layer{l}} }

	// Who denies, who allows.
	var deniers []policy.Layer
	allows := func(l policy.Layer, papers ...*paper) bool {
		any := false
		for _, p := range papers {
			denied, allowed := p.opinion(q)
			if denied && !slices.Contains(deniers, l) {
				deniers = append(deniers, l)
			}
			any = any || allowed
		}
		return any
	}
	identity := allows(policy.IdentityLayer, q.Identity...)
	boundary, session, control := true, true, true
	if q.Boundary != nil {
		boundary = allows(policy.BoundaryLayer, q.Boundary)
	}
	if q.Session != nil {
		session = allows(policy.SessionLayer, q.Session...)
	}
	for _, level := range q.Control {
		if !allows(policy.ControlLayer, level...) {
			control = false
		}
	}
	resource := q.Key != nil && allows(policy.ResourceLayer, q.Key)
	denied := slices.Contains(deniers, policy.ResourceLayer)

	// What belongs to another account shows itself only to whom its policy, or a
	// grant, lets in.
	if !own && (denied || !resource && (q.Grant == "" || len(deniers) > 0)) {
		return implicit(policy.ResourceLayer)
	}
	if len(deniers) > 0 {
		return answer{explicit: true, layers: deniers}
	}
	if !control {
		if !own && !resource { // the grant that there is does not count, so it shows nothing
			return implicit(policy.ResourceLayer)
		}
		return implicit(policy.ControlLayer)
	}
	if q.Caller.Service != "" || q.Caller.Federated != "" {
		// Has nothing but what the resource's policy says.
		if !resource {
			return implicit(policy.ResourceLayer)
		}
		return answer{allowed: true}
	}

	// What the caller's own side must allow, in the order in which AWS looks.
	side := func(layers ...policy.Layer) (bool, answer) {
		if root {
			return true, answer{}
		}
		for _, l := range layers {
			if l == policy.IdentityLayer && !identity || l == policy.BoundaryLayer && !boundary || l == policy.SessionLayer && !session {
				return false, implicit(l)
			}
		}
		return true, answer{}
	}
	everything := []policy.Layer{policy.IdentityLayer, policy.BoundaryLayer, policy.SessionLayer}
	caps := everything[1:]
	if q.Key == nil {
		if ok, no := side(everything...); !ok {
			return no
		}
		return answer{allowed: true}
	}
	var no answer
	switch how := q.Key.admits(q); {
	case how == byNobody:
		no = implicit(policy.ResourceLayer)
	case own && how == byItself:
		return answer{allowed: true}
	case own && how == byName:
		var ok bool
		if ok, no = side(caps...); ok {
			return answer{allowed: true}
		}
	default: // by its account, or from another account
		var ok bool
		if ok, no = side(everything...); ok {
			return answer{allowed: true}
		}
	}
	if q.Grant != "" {
		needs := caps
		if q.ToAccount {
			needs = everything
		}
		ok, short := side(needs...)
		if ok {
			return answer{allowed: true, grant: q.Grant}
		}
		no.layers = append(no.layers, short.layers...) // neither came through: AWS names one
	}
	return no
}

// opinion is what a paper says to a question.
func (p *paper) opinion(q *question) (denies, allows bool) {
	for _, s := range p.statements() {
		if p.failed(s, q) == "" {
			denies = denies || s["Effect"] == "Deny"
			allows = allows || s["Effect"] == "Allow"
		}
	}
	return denies, allows
}

// decoded is what the text says, not to be changed.
func (p *paper) decoded() map[string]any {
	if p.last != p.Text {
		p.last, p.contents = p.Text, decode(p.Text)
	}
	return p.contents
}

func decode(text string) map[string]any {
	var doc map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // a number stands for its text
	must(d.Decode(&doc))
	return doc
}

func (p *paper) statements() []map[string]any {
	var all []map[string]any
	for _, s := range list(p.decoded()["Statement"]) {
		all = append(all, s.(map[string]any))
	}
	return all
}

// variables tells whether ${…} means anything.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html
func (p *paper) variables() bool { return p.decoded()["Version"] == "2012-10-17" }

// list is an array, or the one thing that stands for it.
func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

func texts(v any) []string {
	var all []string
	for _, t := range list(v) {
		all = append(all, fmt.Sprint(t))
	}
	return all
}

// failed is the first element of a statement that does not match, or "".
func (p *paper) failed(s map[string]any, q *question) string {
	if v, ok := s["Principal"]; ok && p.principal(v, q) == byNobody {
		return "Principal"
	}
	if v, ok := s["NotPrincipal"]; ok && p.spared(v, q) {
		return "Principal"
	}
	if v, ok := s["Action"]; ok {
		if !actionIn(v, q.Action) {
			return "Action"
		}
	} else if v, ok := s["NotAction"]; !ok || actionIn(v, q.Action) {
		return "Action"
	}
	if v, ok := s["Resource"]; ok {
		if !p.resourceIn(v, q) {
			return "Resource"
		}
	} else if v, ok := s["NotResource"]; ok {
		if p.resourceIn(v, q) {
			return "Resource"
		}
	} else if p.Kind != policy.Trust {
		return "Resource"
	}
	conditions, _ := s["Condition"].(map[string]any)
	for op, keys := range conditions {
		for key, values := range keys.(map[string]any) {
			if !p.holds(op, key, texts(values), q.Facts) {
				return "Condition"
			}
		}
	}
	return ""
}

// admission is how a policy lets a caller in.
type admission int

const (
	byNobody  admission = iota
	byAccount           // through its account, to which it delegates
	byName              // through its role or as anybody: limited by boundary and session policy
	byItself            // as the user or session that it is: not limited by what others do not allow
)

// admits is the best that a paper's Allows do for a caller.
func (p *paper) admits(q *question) admission {
	best := byNobody
	for _, s := range p.statements() {
		if s["Effect"] != "Allow" || p.failed(s, q) != "" {
			continue
		}
		how := byName // NotPrincipal: as anybody
		if v, ok := s["Principal"]; ok {
			how = p.principal(v, q)
		}
		best = max(best, how)
	}
	return best
}

// principal tells how a Principal element names the caller.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func (p *paper) principal(element any, q *question) admission {
	c := &q.Caller
	best := byNobody
	for _, who := range named(element) {
		switch {
		case who.name == "*" && who.kind == "AWS":
			best = max(best, byName)
		case who.kind == "Service":
			if c.Service != "" && who.name == c.Service {
				best = byItself
			}
		case who.kind == "Federated":
			if c.Federated != "" && who.name == c.Federated {
				best = byItself
			}
		case who.kind != "AWS" || c.Account == "":
		case isAccount(who.name, c.Account):
			best = max(best, byAccount)
		case c.Root:
		case c.SessionName == "" && p.isEntity(who.name, c):
			best = byItself
		case c.SessionName != "" && p.isSession(who.name, c):
			best = byItself
		case c.SessionName != "" && p.isEntity(who.name, c):
			best = max(best, byName)
		}
	}
	return best
}

// spared tells whether a NotPrincipal element lists all that a caller is: the
// account and the user; the account, the role and the session.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
func (p *paper) spared(element any, q *question) bool {
	c := &q.Caller
	listed := func(is func(who principal) bool) bool { return slices.ContainsFunc(named(element), is) }
	anybody := listed(func(who principal) bool { return who.kind == "AWS" && who.name == "*" })
	account := listed(func(who principal) bool { return who.kind == "AWS" && isAccount(who.name, c.Account) })
	entity := listed(func(who principal) bool { return who.kind == "AWS" && p.isEntity(who.name, c) })
	session := listed(func(who principal) bool { return who.kind == "AWS" && p.isSession(who.name, c) })
	switch {
	case anybody:
		return true
	case c.Service != "":
		return listed(func(who principal) bool { return who == principal{"Service", c.Service} })
	case c.Federated != "":
		return listed(func(who principal) bool { return who == principal{"Federated", c.Federated} })
	case c.Root:
		return account
	case c.SessionName == "":
		return account && entity
	}
	return account && entity && session
}

type principal struct{ kind, name string }

func named(element any) []principal {
	if element == "*" {
		return []principal{{"AWS", "*"}}
	}
	var all []principal
	for kind, names := range element.(map[string]any) {
		for _, n := range texts(names) {
			all = append(all, principal{kind, n})
		}
	}
	return all
}

func isAccount(name, account string) bool {
	return account != "" && (name == account || name == "arn:aws:iam::"+account+":root")
}

// isEntity tells whether a name is that of the user, or of the role of the session.
func (p *paper) isEntity(name string, c *policy.Caller) bool {
	if strings.HasPrefix(name, "arn:aws:sts:") {
		return false
	}
	if p.IDs != nil {
		return p.IDs[name] != "" && p.IDs[name] == c.PrincipalID
	}
	return name == c.PrincipalARN || name == c.PrincipalID
}

// isSession tells whether a name is that of the session:
// arn:aws:sts::111122223333:assumed-role/ROLE/SESSION.
func (p *paper) isSession(name string, c *policy.Caller) bool {
	if c.SessionName == "" || !strings.HasPrefix(name, "arn:aws:sts:") {
		return false
	}
	if p.IDs != nil {
		parts := strings.Split(name, "/")
		return p.IDs[name] != "" && p.IDs[name] == c.PrincipalID && parts[len(parts)-1] == c.SessionName
	}
	return name == c.ARN
}

// actionIn tells whether an Action element lists an action.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html
func actionIn(element any, action string) bool {
	return slices.ContainsFunc(texts(element), func(pattern string) bool {
		return like(glyphs(strings.ToLower(pattern)), strings.ToLower(action))
	})
}

// resourceIn tells whether a Resource element lists the resource.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
func (p *paper) resourceIn(element any, q *question) bool {
	return slices.ContainsFunc(texts(element), func(pattern string) bool {
		if pattern == "*" {
			return true
		}
		g, ok := p.expand(pattern, q.Facts)
		return ok && arnLike(g, q.Resource)
	})
}

// A glyph is a character of a pattern. Those that a variable brings are never wild.
type glyph struct {
	r    rune
	wild bool
}

func glyphs(pattern string) []glyph {
	var all []glyph
	for _, r := range pattern {
		all = append(all, glyph{r, r == '*' || r == '?'})
	}
	return all
}

func plain(g []glyph) string {
	var b strings.Builder
	for _, c := range g {
		b.WriteRune(c.r)
	}
	return b.String()
}

// like is * for any run and ? for any one character.
func like(pattern []glyph, s string) bool {
	if len(pattern) == 0 {
		return s == ""
	}
	text := []rune(s)
	first, rest := pattern[0], pattern[1:]
	switch {
	case first.wild && first.r == '*':
		return like(rest, s) || s != "" && like(pattern, string(text[1:]))
	case s == "":
		return false
	case first.wild || first.r == text[0]:
		return like(rest, string(text[1:]))
	}
	return false
}

// arnLike compares the six parts of an ARN one by one; the sixth has the rest,
// colons and all.
func arnLike(pattern []glyph, s string) bool {
	var parts [][]glyph
	var part []glyph
	for _, g := range pattern {
		if g.r == ':' && len(parts) < 5 {
			parts, part = append(parts, part), nil
			continue
		}
		part = append(part, g)
	}
	parts = append(parts, part)
	of := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || len(of) != 6 {
		return false
	}
	for i := range parts {
		if !like(parts[i], of[i]) {
			return false
		}
	}
	return true
}

// expand puts the values of variables into a text; false for a variable that
// has none.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
func (p *paper) expand(text string, f facts) ([]glyph, bool) {
	if !p.variables() {
		return glyphs(text), true
	}
	before, rest, found := strings.Cut(text, "${")
	if !found {
		return glyphs(text), true
	}
	name, after, closed := strings.Cut(rest, "}")
	if !closed {
		return glyphs(text), true
	}
	var value string
	switch name {
	case "*", "?", "$":
		value = name
	default:
		key, fallback, has := strings.Cut(name, ", ")
		v, ok := f[strings.ToLower(key)]
		switch {
		case ok && v.kind != "texts":
			value = v.values[0]
		case has:
			value = strings.Trim(fallback, "'")
		default:
			return nil, false
		}
	}
	tail, ok := p.expand(after, f)
	if !ok {
		return nil, false
	}
	all := glyphs(before)
	for _, r := range value {
		all = append(all, glyph{r: r})
	}
	return append(all, tail...), true
}

// holds tells whether one key of one operator of a Condition holds.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
func (p *paper) holds(op, key string, want []string, f facts) bool {
	v, present := f[strings.ToLower(key)]
	present = present && len(v.values) > 0
	if op == "Null" {
		return slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(w, strconv.FormatBool(!present)) })
	}
	set, op := cut(op, "ForAllValues:", "ForAnyValue:")
	op, ifExists := strings.CutSuffix(op, "IfExists")
	op, not := positive(op)
	if !present {
		switch {
		case ifExists:
			return true
		case set != "":
			return set == "ForAllValues:"
		}
		return not
	}
	// matches: the value of the request is one of those of the policy.
	matches := func(got string) bool {
		return slices.ContainsFunc(want, func(w string) bool { return p.compare(op, w, got, v.kind, f) })
	}
	differs := func(got string) bool { return !matches(got) }
	all := func(is func(string) bool) bool {
		return !slices.ContainsFunc(v.values, func(got string) bool { return !is(got) })
	}
	switch {
	case set == "ForAllValues:" && not:
		return all(differs)
	case set == "ForAllValues:":
		return all(matches)
	case set == "ForAnyValue:" && not:
		return slices.ContainsFunc(v.values, differs)
	case set == "ForAnyValue:":
		return slices.ContainsFunc(v.values, matches)
	case not:
		return all(differs)
	}
	return slices.ContainsFunc(v.values, matches)
}

func cut(s string, prefixes ...string) (prefix, rest string) {
	for _, p := range prefixes {
		if r, ok := strings.CutPrefix(s, p); ok {
			return p, r
		}
	}
	return "", s
}

// positive is the operator that a negated one negates.
func positive(op string) (string, bool) {
	for _, pair := range [][2]string{
		{"StringNotEquals", "StringEquals"}, {"StringNotEqualsIgnoreCase", "StringEqualsIgnoreCase"}, {"StringNotLike", "StringLike"},
		{"NumericNotEquals", "NumericEquals"}, {"DateNotEquals", "DateEquals"}, {"NotIpAddress", "IpAddress"},
		{"ArnNotEquals", "ArnEquals"}, {"ArnNotLike", "ArnLike"},
	} {
		if op == pair[0] {
			return pair[1], true
		}
	}
	return op, false
}

// compare is one value of a policy against one of the request.
func (p *paper) compare(op, want, got, kind string, f facts) bool {
	switch family, how := cut(op, "String", "Arn", "Bool", "Numeric", "Date", "Binary", "IpAddress"); family {
	case "String", "Arn", "Bool": // these know variables
		g, ok := p.expand(want, f)
		if !ok {
			return false
		}
		switch op {
		case "StringEquals":
			return plain(g) == got
		case "StringEqualsIgnoreCase":
			return strings.EqualFold(plain(g), got)
		case "StringLike":
			return like(g, got)
		case "ArnEquals", "ArnLike":
			return arnLike(g, got)
		case "Bool":
			isBool := strings.EqualFold(got, "true") || strings.EqualFold(got, "false")
			return isBool && strings.EqualFold(plain(g), got)
		}
	case "Numeric":
		w, ok := number(want)
		g, ok2 := number(epoch(got, kind))
		return ok && ok2 && ordered(how, g.Cmp(w))
	case "Date":
		w, ok := date(want)
		g, ok2 := date(got)
		return ok && ok2 && ordered(how, g.Compare(w))
	case "Binary":
		w, err := base64.StdEncoding.DecodeString(want)
		return err == nil && string(w) == got
	case "IpAddress":
		addr, err := netip.ParseAddr(got)
		if err != nil {
			return false
		}
		addr = addr.Unmap() // IPv4 is IPv4, over whatever socket it came
		if net, err := netip.ParsePrefix(want); err == nil {
			return net.Contains(addr)
		}
		one, err := netip.ParseAddr(want)
		return err == nil && one.Unmap() == addr
	}
	panic("no such operator: " + op)
}

func ordered(how string, cmp int) bool {
	switch how {
	case "Equals":
		return cmp == 0
	case "LessThan":
		return cmp < 0
	case "LessThanEquals":
		return cmp <= 0
	case "GreaterThan":
		return cmp > 0
	case "GreaterThanEquals":
		return cmp >= 0
	}
	panic("no such comparison: " + how)
}

func number(s string) (*big.Rat, bool) { return new(big.Rat).SetString(s) }

// epoch is a time in seconds, for the Numeric operators.
func epoch(s, kind string) string {
	if kind == "time" {
		t, err := time.Parse(time.RFC3339, s)
		must(err)
		return strconv.FormatInt(t.Unix(), 10)
	}
	return s
}

// date reads ISO 8601 as the W3C profiles it, and epoch seconds.
// https://www.w3.org/TR/NOTE-datetime
func date(s string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(n, 0), err == nil
}

// The comparison.

// document is the paper as package policy reads it.
func (p *paper) document() (*policy.Document, error) {
	d, err := policy.Parse(p.Kind, p.Name, p.Text)
	if err == nil && p.IDs != nil {
		d = d.Bind(p.IDs)
	}
	return d, err
}

// Find implements policy.Grants.
func (q *question) Find(*policy.Request, func(string, string)) (string, bool) {
	return q.Grant, q.ToAccount
}

// put is the question as package policy takes it.
func (q *question) put() (*policy.Request, *policy.Set, error) {
	var failed error
	read := func(p *paper) *policy.Document {
		if p == nil {
			return nil
		}
		d, err := p.document()
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w\n%s", p.Name, err, p.Text)
		}
		return d
	}
	readAll := func(papers []*paper) []*policy.Document {
		var all []*policy.Document
		for _, p := range papers {
			all = append(all, read(p))
		}
		return all
	}
	set := &policy.Set{Account: q.Account, Resource: read(q.Key), Identity: readAll(q.Identity), Boundary: read(q.Boundary), Session: readAll(q.Session)}
	for _, level := range q.Control {
		set.Control = append(set.Control, readAll(level))
	}
	if q.Grant != "" {
		set.Grants = q
	}
	return &policy.Request{Caller: &q.Caller, Action: q.Action, Resource: q.Resource, Context: q.Facts}, set, failed
}

// papers are all that bear on the question, by layer and name.
func (q *question) papers() map[policy.Layer]map[string]*paper {
	all := map[policy.Layer]map[string]*paper{}
	add := func(l policy.Layer, papers ...*paper) {
		for _, p := range papers {
			if p == nil {
				continue
			}
			if all[l] == nil {
				all[l] = map[string]*paper{}
			}
			all[l][p.Name] = p
		}
	}
	add(policy.ResourceLayer, q.Key)
	add(policy.IdentityLayer, q.Identity...)
	add(policy.BoundaryLayer, q.Boundary)
	add(policy.SessionLayer, q.Session...)
	for _, level := range q.Control {
		add(policy.ControlLayer, level...)
	}
	return all
}

// unfit tells of a policy that is refused for a value that is not of its
// operator's type. The generators write one kind of those: variables for booleans
// under a version that has none, where they are texts other than true and false.
// AWS's policy checks have an error for that: a Bool needs true or false.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html
func (p *paper) unfit() bool {
	if p.variables() {
		return false
	}
	for _, s := range p.statements() {
		conditions, _ := s["Condition"].(map[string]any)
		for op, keys := range conditions {
			for _, values := range keys.(map[string]any) {
				if strings.Contains(op, "Bool") && slices.ContainsFunc(texts(values), func(v string) bool { return strings.HasPrefix(v, "${") }) {
					return true
				}
			}
		}
	}
	return false
}

// disagreement is what package policy decides or explains otherwise than the
// reference, or "".
func (q *question) disagreement() string {
	req, set, err := q.put()
	if err != nil {
		return err.Error()
	}
	want := reference(q)
	got := policy.Decide(req, set)
	if why := want.differs(got, q); why != "" {
		return why
	}
	explained, derivation := policy.Explain(req, set)
	if explained != got {
		return fmt.Sprintf("Explain decides %+v, Decide %+v", explained, got)
	}
	return q.misexplained(derivation, got)
}

func (a answer) differs(got policy.Decision, q *question) string {
	if got.Allowed != a.allowed || got.Grant != a.grant {
		return fmt.Sprintf("decided %+v, want %v", got, a)
	}
	if got.Allowed {
		return ""
	}
	if got.Explicit != a.explicit || !slices.Contains(a.layers, got.Layer) {
		return fmt.Sprintf("decided %+v, want %v", got, a)
	}
	if !got.Explicit {
		return ""
	}
	if got.Document == nil || q.papers()[got.Layer][got.Document.Name] == nil {
		return fmt.Sprintf("denied by %+v, which is no %s of the question", got.Document, got.Layer)
	}
	if denies, _ := q.papers()[got.Layer][got.Document.Name].opinion(q); !denies {
		return "denied by " + got.Document.Name + ", which does not deny"
	}
	return ""
}

// misexplained is what a derivation tells wrongly, or "".
func (q *question) misexplained(d *policy.Derivation, dec policy.Decision) string {
	if d == nil {
		return "no derivation"
	}
	if dec.Allowed != (d.Decision == "Allowed") {
		return fmt.Sprintf("derived %q of %+v", d.Decision, dec)
	}
	if d.Action != q.Action || d.Resource != q.Resource {
		return fmt.Sprintf("derived for %q on %q", d.Action, d.Resource)
	}
	left := q.papers()
	for _, dd := range d.Documents {
		p := left[dd.Layer][dd.Name]
		if p == nil {
			return fmt.Sprintf("derivation of a %s %q, which is not there or was told before", dd.Layer, dd.Name)
		}
		delete(left[dd.Layer], dd.Name)
		want := "says nothing"
		switch denies, allows := p.opinion(q); {
		case denies:
			want = "denies"
		case allows:
			want = "allows"
		}
		if dd.Outcome != want {
			return fmt.Sprintf("%s %s is said to be: %s, want %s", dd.Layer, dd.Name, dd.Outcome, want)
		}
		statements := p.statements()
		if len(dd.Statements) != len(statements) {
			return fmt.Sprintf("%s tells of %d statements, has %d", dd.Name, len(dd.Statements), len(statements))
		}
		for i, sd := range dd.Statements {
			if why := p.mistold(statements[i], sd, i, q); why != "" {
				return fmt.Sprintf("%s, statement %d: %s", dd.Name, i, why)
			}
		}
	}
	for l, papers := range left {
		for name := range papers {
			return fmt.Sprintf("no derivation of %s %s", l, name)
		}
	}
	return ""
}

// mistold is what the derivation of a statement tells wrongly, or "".
func (p *paper) mistold(s map[string]any, sd policy.StatementDerivation, index int, q *question) string {
	failed := p.failed(s, q)
	sid, _ := s["Sid"].(string)
	if sd.Index != index || sd.Sid != sid || sd.Effect != s["Effect"] {
		return fmt.Sprintf("told as %+v", sd)
	}
	if sd.Matched != (failed == "") || sd.Failed != failed {
		return fmt.Sprintf("matched %v, failed on %q (%s), want %q", sd.Matched, sd.Failed, sd.Why, failed)
	}
	if !sd.Matched && sd.Why == "" {
		return "does not say why it failed"
	}
	conditions, _ := s["Condition"].(map[string]any)
	count, allHold := 0, true
	for _, keys := range conditions {
		count += len(keys.(map[string]any))
	}
	for _, c := range sd.Conditions {
		keys, _ := conditions[c.Operator].(map[string]any)
		values, ok := keys[c.Key]
		if !ok {
			return fmt.Sprintf("tells of condition %s %s, which it has not", c.Operator, c.Key)
		}
		if holds := p.holds(c.Operator, c.Key, texts(values), q.Facts); holds != c.Holds {
			return fmt.Sprintf("%s %s %v of %v holds: %v, want %v", c.Operator, c.Key, values, c.Request, c.Holds, holds)
		}
		if v := q.Facts[strings.ToLower(c.Key)]; (len(v.values) > 0) != (len(c.Request) > 0) {
			return fmt.Sprintf("%s is told as %v", c.Key, c.Request)
		}
		allHold = allHold && c.Holds
	}
	if sd.Matched && (!allHold || len(sd.Conditions) != count) || failed == "Condition" && allHold {
		return fmt.Sprintf("conditions told: %+v", sd.Conditions)
	}
	return ""
}

// The generators. Their alphabets are small, so that what a policy says and what
// a request has often meet.

const (
	ours   = "111122223333"
	theirs = "444455556666"
)

func arn(account, name string) string { return "arn:aws:iam::" + account + ":" + name }

func session(account, role, name string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + name
}

// identities are the unique ids of those who have the names now.
var identities = map[string]string{}

func init() {
	for i, account := range []string{ours, theirs} {
		add := func(arn, kind string, n int) string {
			id := fmt.Sprintf("%sEXAMPLE%010d", kind, 10*i+n)
			identities[arn], identities[id] = id, id
			return id
		}
		add(arn(account, "user/alice"), "AIDA", 1)
		add(arn(account, "user/dev/bob"), "AIDA", 2)
		app := add(arn(account, "role/app"), "AROA", 3)
		deploy := add(arn(account, "role/ci/deploy"), "AROA", 4)
		for _, name := range []string{"s1", "s2"} {
			identities[session(account, "app", name)] = app
			identities[session(account, "deploy", name)] = deploy
		}
	}
}

// callers are those who ask. A namesake has the name of one who was deleted, and
// another id.
var callers = func() []policy.Caller {
	var all []policy.Caller
	for _, account := range []string{ours, ours, theirs} {
		root := arn(account, "root")
		all = append(all, policy.Caller{Account: account, Root: true, ARN: root, PrincipalARN: root, PrincipalID: account})
		for _, user := range []string{"user/alice", "user/dev/bob"} {
			a := arn(account, user)
			all = append(all, policy.Caller{Account: account, ARN: a, PrincipalARN: a, PrincipalID: "of " + a})
		}
		for _, role := range []string{"role/app", "role/ci/deploy"} {
			for _, name := range []string{"s1", "s2"} {
				a := arn(account, role)
				all = append(all, policy.Caller{Account: account, ARN: session(account, role[strings.LastIndex(role, "/")+1:], name),
					PrincipalARN: a, PrincipalID: "of " + a, SessionName: name})
			}
		}
	}
	return append(all,
		policy.Caller{ARN: "ec2.amazonaws.com", Service: "ec2.amazonaws.com"},
		policy.Caller{Federated: arn(ours, "oidc-provider/issuer.example")})
}()

func drawCaller(t *rapid.T) policy.Caller {
	c := rapid.SampledFrom(callers).Draw(t, "caller")
	if a, ok := strings.CutPrefix(c.PrincipalID, "of "); ok {
		c.PrincipalID = identities[a]
		if rapid.IntRange(0, 5).Draw(t, "namesake") == 0 {
			c.PrincipalID = c.PrincipalID[:4] + "NAMESAKE00000" + c.PrincipalID[17:]
		}
	}
	return c
}

const keyARN = "arn:aws:kms:eu-central-1:" + ours + ":key/"

var (
	askedActions   = []string{"kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"}
	writtenActions = []string{"*", "kms:*", "KMS:*", "kms:*", "kms:Encrypt", "kms:Decrypt", "KMS:encrypt", "kms:De*", "kms:?ecrypt", "kms:*crypt", "kms:*e*e*y", "kms:Encrypt*", "kms:Encryp", "s3:*"}

	askedResources   = []string{keyARN + "k1", keyARN + "alice", keyARN + "k*", keyARN + "x:k1"}
	writtenResources = []string{"*", keyARN + "k1", keyARN + "*", keyARN + "K1", keyARN + "k?", keyARN + "*k1", keyARN + "${aws:username}",
		keyARN + "${aws:PrincipalTag/team, 'k1'}", keyARN + "k${*}", keyARN + "${aws:PrincipalTag/TEAM}*",
		"arn:aws:kms:*:" + ours + ":key/*", "arn:aws:kms:*:*:*", "arn:*:kms:eu-?entral-1:*:key/?1", "arn:aws:kms:us-*:*:key/*", "arn:aws:s3:::bucket/*"}
)

// A vocabulary is what conditions of one family of operators say.
type vocabulary struct {
	operators []string
	keys      []string
	values    []any
}

var vocabularies = []vocabulary{
	{
		[]string{"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"},
		[]string{"aws:username", "AWS:UserName", "aws:PrincipalTag/team", "aws:principaltag/TEAM", "kms:EncryptionContext:AppName", "kms:encryptioncontext:APPNAME", "aws:SecureTransport", "kms:ViaService",
			"aws:MultiFactorAuthAge"},
		[]any{"alice", "red", "Red", "r*d", "r?d", "*", "r${*}d", "${aws:username}", "${aws:PrincipalTag/team, 'red'}", "${AWS:principaltag/Team}", "re${aws:PrincipalTag/nothing, 'd'}", "${aws:nothing}",
			"r${?}d", "${$}", "true", true, "10", 10, "*${aws:username}*"},
	},
	{
		[]string{"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"},
		[]string{"aws:MultiFactorAuthAge", "kms:ScheduleKeyDeletionPendingWindowInDays", "aws:EpochTime"},
		[]any{"7", 7, "7.0", "7.5", 30, "-1", "1577836800", 1577836801},
	},
	{
		[]string{"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"},
		[]string{"aws:CurrentTime", "aws:TokenIssueTime", "aws:EpochTime"},
		[]any{"2020-01-01T00:00:00Z", "2020-01-01", "2020-01", "2020-01-01T01:00:00+01:00", "2020-01-01T00:00Z", "2020-01-01T00:00:00.5Z", "1577836800", 1577836801, "2019-12-31T23:59:59Z"},
	},
	{
		[]string{"Bool"},
		[]string{"aws:SecureTransport", "aws:MultiFactorAuthPresent", "kms:GrantIsForAWSResource"},
		[]any{"true", "false", true, false, "TRUE", "${aws:SecureTransport}", "${aws:nothing, 'true'}"},
	},
	{
		[]string{"BinaryEquals"},
		[]string{"kms:EncryptionContext:AppName", "aws:PrincipalTag/team"},
		[]any{"cmVk", "YWxpY2U="},
	},
	{
		[]string{"IpAddress", "NotIpAddress"},
		[]string{"aws:SourceIp", "aws:VpcSourceIp"},
		[]any{"10.0.0.0/8", "10.1.2.3", "10.1.2.3/32", "2001:db8::/32", "2001:db8::1", "192.0.2.0/24", "0.0.0.0/0"},
	},
	{
		[]string{"ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"},
		[]string{"aws:PrincipalArn", "aws:SourceArn"},
		[]any{"arn:aws:iam::" + ours + ":user/alice", "arn:aws:iam::*:user/*", "arn:aws:*:*:*:*", "arn:aws:iam::" + ours + ":role/*", "arn:aws:iam::1111*:*/a*", "arn:aws:iam::*:user/${aws:username}",
			"arn:aws:s3:::b?cket", "arn:aws:iam::" + theirs + ":*", "arn:*:user/alice:*:*:*",
			"${aws:PrincipalArn}", "${aws:SourceArn}*", "arn:aws:iam::${aws:SourceAccount, '" + ours + "'}:*", "arn:*:iam:${aws:nothing, ''}:*:${aws:nothing, 'user'}/*", "arn:aws:${aws:username}:*:*:*", "${aws:nothing, 'arn:aws:iam::1'}*:user/*"},
	},
	{
		[]string{"Null"},
		[]string{"aws:username", "aws:TokenIssueTime", "aws:TagKeys", "kms:EncryptionContext:AppName", "aws:SourceIp"},
		[]any{"true", "false", true, false},
	},
	{
		[]string{"ForAllValues:StringEquals", "ForAnyValue:StringEquals", "ForAllValues:StringNotEquals", "ForAnyValue:StringNotEquals", "ForAllValues:StringLike", "ForAnyValue:StringLike", "ForAllValues:StringNotLike",
			"ForAnyValue:StringNotLike", "ForAllValues:StringEqualsIgnoreCase", "ForAnyValue:StringNotEqualsIgnoreCase"},
		[]string{"aws:TagKeys", "kms:EncryptionContextKeys", "kms:GrantOperations", "aws:username"},
		[]any{"red", "Red", "blue", "r*", "*e*", "Decrypt", "${aws:username}", "${aws:nothing, 'blue'}", "${aws:nothing}"},
	},
	{[]string{"ForAllValues:ArnLike", "ForAnyValue:ArnNotLike"}, []string{"aws:PrincipalArn", "aws:TagKeys"}, []any{"arn:aws:iam::*:user/*", "arn:aws:iam::" + ours + ":user/alice"}},
	{[]string{"ForAllValues:NumericLessThan"}, []string{"aws:MultiFactorAuthAge", "aws:TagKeys"}, []any{"7", "8", "9.5"}},
	{[]string{"ForAnyValue:Bool"}, []string{"aws:SecureTransport", "aws:TagKeys"}, []any{"true", "false"}},
	{[]string{"ForAllValues:DateGreaterThan"}, []string{"aws:CurrentTime", "aws:TagKeys"}, []any{"2020-01-01", "2019-12-31T23:59:59Z"}},
	{[]string{"ForAnyValue:IpAddress"}, []string{"aws:SourceIp", "aws:TagKeys"}, []any{"10.0.0.0/8", "2001:db8::/32"}},
}

// known are the values that requests have.
var known = map[string][]fact{
	"aws:username":                               {{"text", []string{"alice"}}, {"text", []string{"Alice"}}, {"text", []string{"r*d"}}, {"text", []string{"red"}}},
	"aws:principaltag/team":                      {{"text", []string{"red"}}, {"text", []string{"k1"}}, {"text", []string{"r*d"}}, {"text", []string{"k*"}}},
	"kms:encryptioncontext:appname":              {{"text", []string{"red"}}, {"text", []string{"RED"}}, {"text", []string{"alice"}}, {"text", []string{"r?d"}}},
	"kms:viaservice":                             {{"text", []string{"red"}}, {"text", []string{"$"}}},
	"aws:multifactorauthage":                     {{"number", []string{"7"}}, {"number", []string{"8"}}, {"number", []string{"10"}}, {"number", []string{"0"}}},
	"kms:schedulekeydeletionpendingwindowindays": {{"number", []string{"7"}}, {"number", []string{"30"}}},
	"aws:epochtime":                              {{"time", []string{"2020-01-01T00:00:00Z"}}, {"time", []string{"2020-01-01T00:00:01Z"}}},
	"aws:currenttime":                            {{"time", []string{"2020-01-01T00:00:00Z"}}, {"time", []string{"2019-12-31T23:59:59Z"}}, {"time", []string{"2020-01-01T00:00:01Z"}}},
	"aws:tokenissuetime":                         {{"time", []string{"2020-01-01T00:00:00Z"}}, {"time", []string{"2020-02-01T00:00:00Z"}}},
	"aws:securetransport":                        {{"bool", []string{"true"}}, {"bool", []string{"false"}}},
	"aws:multifactorauthpresent":                 {{"bool", []string{"true"}}, {"bool", []string{"false"}}},
	"kms:grantisforawsresource":                  {{"bool", []string{"true"}}},
	"aws:sourceip":                               {{"ip", []string{"10.1.2.3"}}, {"ip", []string{"192.0.2.1"}}, {"ip", []string{"2001:db8::1"}}},
	"aws:vpcsourceip":                            {{"ip", []string{"10.9.9.9"}}},
	"aws:principalarn":                           {{"text", []string{"arn:aws:iam::" + ours + ":user/alice"}}, {"text", []string{"arn:aws:iam::" + theirs + ":role/app"}}},
	"aws:sourcearn":                              {{"text", []string{"arn:aws:s3:::bucket"}}, {"text", []string{"arn:aws:iam::" + ours + ":user/alice"}}, {"text", []string{"arn:aws:iam::1111:x:user/alice"}}},
	"aws:tagkeys":                                {{"texts", []string{"red"}}, {"texts", []string{"red", "blue"}}, {"texts", []string{"Red", "green"}}, {"texts", []string{"alice", "blue"}}},
	"kms:encryptioncontextkeys":                  {{"texts", []string{"red"}}, {"texts", []string{"blue", "red"}}},
	"kms:grantoperations":                        {{"texts", []string{"Decrypt"}}, {"texts", []string{"Decrypt", "red"}}},
}

var knownKeys = func() []string {
	var all []string
	for k := range known {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}()

func drawFacts(t *rapid.T) facts {
	f := facts{}
	for _, key := range knownKeys {
		values := known[key]
		if n := rapid.IntRange(-1, 2*len(values)-1).Draw(t, key); n >= 0 {
			f[key] = values[n/2]
		}
	}
	return f
}

// oneOrMore is an element of one value, or a list.
func oneOrMore[T any](t *rapid.T, from []T, name string) any {
	values := rapid.SliceOfN(rapid.SampledFrom(from), 1, 3).Draw(t, name)
	if len(values) == 1 && rapid.Bool().Draw(t, "bare") {
		return values[0]
	}
	return values
}

func drawConditions(t *rapid.T) map[string]any {
	all := map[string]any{}
	for range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "conditions") {
		v := rapid.SampledFrom(vocabularies).Draw(t, "vocabulary")
		op := rapid.SampledFrom(v.operators).Draw(t, "operator")
		if op != "Null" && rapid.IntRange(0, 3).Draw(t, "if exists") == 0 {
			op += "IfExists"
		}
		keys, _ := all[op].(map[string]any)
		if keys == nil {
			keys = map[string]any{}
			all[op] = keys
		}
		key := rapid.SampledFrom(v.keys).Draw(t, "key")
		if slices.ContainsFunc(mapKeys(keys), func(k string) bool { return strings.EqualFold(k, key) }) {
			continue
		}
		keys[key] = oneOrMore(t, v.values, "values")
	}
	return all
}

func mapKeys(m map[string]any) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

// writtenPrincipals are what stands under AWS.
var writtenPrincipals = func() []string {
	var all []string
	for name := range identities {
		all = append(all, name)
	}
	for range 3 { // those who let many in, more often
		all = append(all, "*", ours, arn(ours, "root"), arn(ours, "root"), theirs, arn(theirs, "root"))
	}
	slices.Sort(all)
	return all
}()

func drawPrincipal(t *rapid.T, widely bool) any {
	n := rapid.IntRange(0, 9).Draw(t, "principal")
	switch {
	case n == 0 && !widely:
		return "*"
	case n == 1:
		return map[string]any{"Service": oneOrMore(t, []string{"ec2.amazonaws.com", "s3.amazonaws.com"}, "services"), "AWS": oneOrMore(t, writtenPrincipals, "principals")}
	case n == 2:
		return map[string]any{"Federated": oneOrMore(t, []string{arn(ours, "oidc-provider/issuer.example"), "accounts.google.com"}, "providers"), "AWS": ours}
	case n == 3:
		return map[string]any{"Service": "ec2.amazonaws.com"}
	}
	if !widely {
		return map[string]any{"AWS": oneOrMore(t, writtenPrincipals, "principals")}
	}
	// Whole identities, so that some are spared.
	account := rapid.SampledFrom([]string{ours, theirs}).Draw(t, "account")
	of := []string{account, arn(account, "user/alice"), arn(account, "role/app"), session(account, "app", "s1"), arn(account, "user/dev/bob")}
	return map[string]any{"AWS": of[:rapid.IntRange(1, len(of)).Draw(t, "how many")]}
}

func drawStatement(t *rapid.T, kind policy.Kind, effects []string) map[string]any {
	s := map[string]any{"Effect": rapid.SampledFrom(effects).Draw(t, "effect")}
	if rapid.IntRange(0, 2).Draw(t, "sid") == 0 {
		s["Sid"] = rapid.SampledFrom([]string{"One", "Two"}).Draw(t, "sid")
	}
	if kind != policy.Identity {
		if rapid.IntRange(0, 5).Draw(t, "not principal") == 0 {
			s["NotPrincipal"] = drawPrincipal(t, true)
		} else {
			s["Principal"] = drawPrincipal(t, false)
		}
	}
	switch n := rapid.IntRange(0, 19).Draw(t, "action"); {
	case n == 0 && kind == policy.Key: // without
	case n < 4:
		s["NotAction"] = oneOrMore(t, writtenActions[4:], "actions")
	default:
		s["Action"] = oneOrMore(t, writtenActions, "actions")
	}
	switch n := rapid.IntRange(0, 19).Draw(t, "resource"); {
	case kind == policy.Trust:
	case n == 0 && kind == policy.Key: // without
	case n < 4:
		s["NotResource"] = oneOrMore(t, writtenResources[1:], "resources")
	case n < 10:
		s["Resource"] = "*"
	default:
		s["Resource"] = oneOrMore(t, writtenResources, "resources")
	}
	if rapid.IntRange(0, 2).Draw(t, "condition") == 0 {
		s["Condition"] = drawConditions(t)
	}
	return s
}

func drawPaper(t *rapid.T, kind policy.Kind, name string) *paper {
	p := &paper{Kind: kind, Name: name}
	doc := map[string]any{}
	if v := rapid.SampledFrom([]string{"2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17", ""}).Draw(t, "version"); v != "" {
		doc["Version"] = v
	}
	var statements []any
	for range rapid.SampledFrom([]int{1, 2, 2, 3, 4}).Draw(t, "statements") {
		s := drawStatement(t, kind, []string{"Allow", "Allow", "Allow", "Allow", "Allow", "Allow", "Deny"})
		if sid, ok := s["Sid"].(string); ok { // which must be unique
			s["Sid"] = sid + strconv.Itoa(len(statements))
		}
		statements = append(statements, s)
	}
	doc["Statement"] = statements
	if len(statements) == 1 && rapid.Bool().Draw(t, "single") {
		doc["Statement"] = statements[0]
	}
	p.Text = write(doc)
	if p.unfit() {
		if _, err := p.document(); err == nil {
			t.Fatalf("a boolean that is none was not refused: %s", p.Text)
		}
		doc["Version"] = "2012-10-17"
		p.Text = write(doc)
	}
	if kind != policy.Identity && rapid.Bool().Draw(t, "bound") {
		p.IDs = map[string]string{}
		for name, id := range identities {
			p.IDs[name] = id
		}
		if rapid.Bool().Draw(t, "gone") { // some were no more when it was bound
			gone := rapid.SampledFrom(writtenPrincipals).Draw(t, "gone")
			delete(p.IDs, gone)
		}
	}
	return p
}

func write(v any) string {
	text, err := json.MarshalIndent(v, "", " ")
	must(err)
	return string(text)
}

// everything is the policy that limits nothing: FullAWSAccess.
var everything = &paper{Name: "FullAWSAccess", Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`}

// drawQuestions is one set of policies, and several callers who ask about it.
func drawQuestions(t *rapid.T, n int) []*question {
	kind := rapid.SampledFrom([]policy.Kind{policy.Key, policy.Key, policy.Key, policy.Trust}).Draw(t, "kind")
	var key *paper
	if rapid.IntRange(0, 9).Draw(t, "no key") != 0 {
		key = drawPaper(t, kind, "key policy")
	}
	draws := func(name string, counts ...int) []*paper {
		var all []*paper
		for i := range rapid.SampledFrom(counts).Draw(t, name) {
			p := drawPaper(t, policy.Identity, fmt.Sprint(name, " ", i))
			if rapid.IntRange(0, 3).Draw(t, "full") == 0 {
				p.Text = everything.Text
			}
			all = append(all, p)
		}
		return all
	}
	identity, boundaries, sessions := draws("identity", 0, 1, 2, 2), draws("boundary", 0, 0, 1), draws("session", 0, 0, 1, 2)
	var control [][]*paper
	for range rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2}).Draw(t, "levels") {
		control = append(control, draws(fmt.Sprint("control ", len(control)), 1, 2))
	}
	var all []*question
	for range n {
		q := &question{Caller: drawCaller(t), Action: rapid.SampledFrom(askedActions).Draw(t, "action"), Resource: rapid.SampledFrom(askedResources).Draw(t, "resource"),
			Facts: drawFacts(t), Account: ours, Key: key}
		c := &q.Caller
		if key == nil { // what has no policy is asked about by its own account only
			if c.Account == "" {
				continue
			}
			q.Account, q.Resource = c.Account, "*"
		}
		if c.Account != "" {
			q.Control = control
			if !c.Root {
				q.Identity = identity
				if len(boundaries) > 0 {
					q.Boundary = boundaries[0]
				}
			}
			if c.SessionName != "" {
				q.Session = sessions
			}
			if key != nil && rapid.IntRange(0, 3).Draw(t, "grant") == 0 {
				q.Grant, q.ToAccount = "grant-1", rapid.Bool().Draw(t, "to account")
			}
		}
		all = append(all, q)
	}
	return all
}

// check runs a property so often. KAGIMORI_LONG makes it 250 times as often, which
// is two million questions for TestReference, in about ten minutes:
//
//	KAGIMORI_LONG=1 go test ./internal/policy -run TestReference -v -timeout 2h
//
// -rapid.checks=N runs N instead, and -rapid.seed=N repeats a run that failed.
func check(t *testing.T, times int, property func(*rapid.T)) {
	t.Helper()
	if os.Getenv("KAGIMORI_LONG") != "" {
		times *= 250
	}
	if !checksAsked() {
		must(flag.Set("rapid.checks", strconv.Itoa(times)))
	}
	must(flag.Set("rapid.nofailfile", "true"))
	rapid.Check(t, property)
}

// checksAsked tells whether the command line has -rapid.checks. It is first called
// before the flag is set for a test.
var checksAsked = sync.OnceValue(func() (asked bool) {
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	return asked
})

// askers is how many ask about one set of policies.
const askers = 20

func TestReference(t *testing.T) {
	var allowed, explicit, all int
	check(t, 400, func(t *rapid.T) {
		for _, q := range drawQuestions(t, askers) {
			if why := q.disagreement(); why != "" {
				t.Fatalf("%s\n%s", why, write(q))
			}
			all++
			if a := reference(q); a.allowed {
				allowed++
			} else if a.explicit {
				explicit++
			}
		}
	})
	t.Logf("%d questions: %d allowed, %d explicitly denied", all, allowed, explicit)
	// A comparison of nothing but denials would prove little.
	if !t.Failed() && (allowed*5 < all || explicit*50 < all) {
		t.Errorf("of %d questions only %d allowed, %d explicitly denied", all, allowed, explicit)
	}
}

// decide is what package policy decides.
func (q *question) decide(t *rapid.T) policy.Decision {
	req, set, err := q.put()
	if err != nil {
		t.Fatal(err)
	}
	d := policy.Decide(req, set)
	d.Document = nil // others after a change
	return d
}

// change is the question with another text of the i-th of its policies.
func (q *question) change(i int, edit func(doc map[string]any)) *question {
	to := func(p *paper) *paper {
		if p == nil {
			return nil
		}
		if i--; i != -1 {
			return p
		}
		other, doc := *p, decode(p.Text)
		edit(doc)
		other.Text = write(doc)
		return &other
	}
	changed := *q
	each := func(papers []*paper) []*paper {
		all := slices.Clone(papers)
		for i := range all {
			all[i] = to(all[i])
		}
		return all
	}
	changed.Key, changed.Identity, changed.Boundary, changed.Session = to(q.Key), each(q.Identity), to(q.Boundary), each(q.Session)
	changed.Control = nil
	for _, level := range q.Control {
		changed.Control = append(changed.Control, each(level))
	}
	return &changed
}

// kindOf is the kind of the i-th policy that change changes.
func (q *question) kindOf(i int) policy.Kind {
	if i == 0 && q.Key != nil {
		return q.Key.Kind
	}
	return policy.Identity
}

func (q *question) count() int {
	n := 0
	for _, papers := range q.papers() {
		n += len(papers)
	}
	return n
}

// TestMetamorphic: how outcomes move when policies do, whatever the outcomes are.
func TestMetamorphic(t *testing.T) {
	same := func(before, after policy.Decision) bool { return before == after }
	each := func(edit func(s map[string]any) []any) func(*rapid.T, policy.Kind, map[string]any) {
		return func(_ *rapid.T, _ policy.Kind, doc map[string]any) {
			var all []any
			for _, s := range list(doc["Statement"]) {
				all = append(all, edit(s.(map[string]any))...)
			}
			doc["Statement"] = all
		}
	}
	add := func(effect string) func(*rapid.T, policy.Kind, map[string]any) {
		return func(t *rapid.T, kind policy.Kind, doc map[string]any) {
			s := drawStatement(t, kind, []string{effect})
			delete(s, "Sid")
			doc["Statement"] = append(list(doc["Statement"]), s)
			if (&paper{Text: write(doc)}).unfit() {
				delete(s, "Condition")
			}
		}
	}
	for _, c := range []struct {
		name string
		edit func(*rapid.T, policy.Kind, map[string]any)
		law  func(before, after policy.Decision) bool
	}{
		{"a further Deny never allows", add("Deny"), func(before, after policy.Decision) bool { return before.Allowed || !after.Allowed }},
		{"a further Allow never denies", add("Allow"), func(before, after policy.Decision) bool { return !before.Allowed || after.Allowed }},
		{"a list of actions is as good as statements of one each", each(func(s map[string]any) []any {
			var all []any
			for _, a := range list(s["Action"]) {
				one := map[string]any{}
				for k, v := range s {
					one[k] = v
				}
				one["Action"] = a
				delete(one, "Sid") // which must be unique
				all = append(all, one)
			}
			if all == nil {
				return []any{s}
			}
			return all
		}), same},
		{"the order of statements does not matter", func(_ *rapid.T, _ policy.Kind, doc map[string]any) {
			all := slices.Clone(list(doc["Statement"]))
			slices.Reverse(all)
			doc["Statement"] = all
		}, same},
		{"Sids mean nothing", each(func(s map[string]any) []any {
			delete(s, "Sid")
			return []any{s}
		}), same},
		{"actions have no case", each(func(s map[string]any) []any {
			for _, element := range []string{"Action", "NotAction"} {
				var all []any
				for _, a := range texts(s[element]) {
					all = append(all, strings.ToUpper(a))
				}
				if all != nil {
					s[element] = all
				}
			}
			return []any{s}
		}), same},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, 50, func(t *rapid.T) {
				for _, q := range drawQuestions(t, 4) {
					n := q.count()
					if n == 0 {
						continue
					}
					i := rapid.IntRange(0, n-1).Draw(t, "which")
					changed := q.change(i, func(doc map[string]any) { c.edit(t, q.kindOf(i), doc) })
					if before, after := q.decide(t), changed.decide(t); !c.law(before, after) {
						t.Fatalf("%+v became %+v\n%s\n%s", before, after, write(q), write(changed))
					}
				}
			})
		})
	}
}
