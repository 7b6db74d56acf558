// Package lint finds what is legal in a policy but unwise or without effect, in
// the spirit of AWS's best practices for KMS.
//
// It promises a reason and a fix with every finding, and none for the default
// key policy. It decides nothing.
//
// https://docs.aws.amazon.com/prescriptive-guidance/latest/aws-kms-best-practices/introduction.html
// https://docs.aws.amazon.com/kms/latest/developerguide/iam-policies-best-practices.html
package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kagimori/kagimori/internal/policy"
)

// Finding is one thing to change in a policy.
type Finding struct {
	Rule string `json:"rule"` // a short name: wildcard-principal
	// Statement counts from 1; 0 is the document as a whole.
	Statement int    `json:"statement"`
	Sid       string `json:"sid,omitempty"`
	Line      int    `json:"line,omitempty"`
	Reason    string `json:"reason"`
	Fix       string `json:"fix"`
}

// rules look at one statement each. Their names are the Finding's Rule.
var rules = []struct {
	name  string
	check func(*statement)
}{
	{"no-effect", noEffect},
	{"unknown-action", unknownAction},
	{"not-a-key-action", notKeyAction},
	{"alias-resource", aliasResource},
	{"everything", everything},
	{"administration-and-use", administrationAndUse},
	{"encrypt-and-decrypt", encryptAndDecrypt},
	{"wildcard-principal", wildcardPrincipal},
	{"not-principal", notPrincipal},
	{"not-action", notAction},
	{"no-mfa", noMFA},
	{"if-exists-in-allow", ifExists},
	{"for-all-values", forAllValues},
	{"set-operator", setOperator},
	{"unknown-condition-key", unknownKey},
	{"wildcard-in-value", wildcardValue},
}

// Check looks at a document: a key policy, an identity policy or a trust policy.
func Check(doc *policy.Document) []Finding {
	findings := []Finding{}
	for i := range doc.Statements {
		s := &statement{Statement: &doc.Statements[i], doc: doc, index: i + 1, gives: given(&doc.Statements[i]), findings: &findings}
		for _, r := range rules {
			s.rule = r.name
			r.check(s)
		}
	}
	if doc.Kind == policy.Key && !administrable(doc) {
		findings = append(findings, Finding{Rule: "lockout",
			Reason: "No statement allows anybody kms:PutKeyPolicy, so nobody can ever change this policy again.",
			Fix:    `Add the statement of the default policy: "Principal": {"AWS": "arn:aws:iam::ACCOUNT:root"}, "Action": "kms:*", "Resource": "*".`})
	}
	return findings
}

// administrable tells whether the key policy lets an account or a named principal
// change it. Conditions count as if they could hold.
func administrable(doc *policy.Document) bool {
	for i := range doc.Statements {
		s := &doc.Statements[i]
		if s.Effect == policy.Allow && s.MatchesAction("kms:PutKeyPolicy") && len(s.Resources) > 0 {
			return true
		}
	}
	return false
}

// statement is one on its way through the rules.
type statement struct {
	*policy.Statement
	doc      *policy.Document
	index    int
	gives    []action // the actions of KMS that it is about
	rule     string
	findings *[]Finding
}

func (s *statement) find(fix, reason string, args ...any) {
	*s.findings = append(*s.findings, Finding{Rule: s.rule, Statement: s.index, Sid: s.Sid, Line: s.Line, Reason: fmt.Sprintf(reason, args...), Fix: fix})
}

// allows tells an Allow in a policy that gives something to somebody.
func (s *statement) allows() bool { return s.Effect == policy.Allow && s.doc.Kind != policy.Trust }

func (s *statement) is(match func(action) bool) bool { return slices.ContainsFunc(s.gives, match) }

func (s *statement) givesAction(name string) bool {
	return s.is(func(a action) bool { return a.name == name })
}

// toAccount tells a statement of a key policy that names accounts only: it
// delegates to their identity policies.
func (s *statement) toAccount() bool {
	return s.doc.Kind == policy.Key && !s.NotPrincipal && len(s.Principals) > 0 &&
		!slices.ContainsFunc(s.Principals, func(p policy.Principal) bool { return p.Kind != policy.AccountPrincipal })
}

// condition finds a condition on one of the keys.
func (s *statement) condition(names ...string) *policy.Condition {
	for i := range s.Conditions {
		if slices.Contains(names, s.Conditions[i].Key.Name) {
			return &s.Conditions[i]
		}
	}
	return nil
}

func noEffect(s *statement) {
	if s.doc.Kind == policy.Key {
		switch {
		case len(s.Actions) == 0:
			s.find(`Add the Action that is meant.`, "The statement has no Action, so it never matches.")
		case len(s.Resources) == 0:
			s.find(`Add "Resource": "*", which means this key.`, "The statement has no Resource, so it never matches.")
		case !s.NotResource && !slices.ContainsFunc(s.Resources, couldBeKey):
			s.find(`Write "Resource": "*", which means this key.`, "Its Resource is no key, so the statement never matches in a key policy.")
		case len(s.gives) == 0:
			s.find("Name actions of KMS, such as kms:Decrypt.", "None of its actions is one of KMS, so it has no effect in a key policy.")
		}
		if c := s.condition("kms:resourcealiases"); c != nil {
			s.find("Use kms:RequestAlias, or put the statement into an identity policy.", "%s has no effect in a key policy.", c.Written)
		}
	}
}

func couldBeKey(r policy.Resource) bool {
	return r.Text == "*" || strings.HasPrefix(r.Text, "arn:") && !strings.Contains(r.Text, ":alias/")
}

func unknownAction(s *statement) {
	for _, a := range s.Actions {
		kms := len(a.Text) > 4 && strings.EqualFold(a.Text[:4], "kms:")
		if kms && !slices.ContainsFunc(actions, func(known action) bool { return a.Matches(known.name) }) {
			s.find("Correct its spelling; see the list of KMS actions.", "KMS has no action %s.", a.Text)
		}
	}
}

func notKeyAction(s *statement) {
	if s.doc.Kind != policy.Key || len(s.gives) == 0 || s.NotAction {
		return
	}
	for _, a := range s.gives {
		if a.onKey {
			return
		}
	}
	s.find("Allow it in an identity policy, with Resource \"*\".", "%s is not authorized on a key, so a key policy has no effect on it.", s.gives[0].name)
}

// aliasActions are those for which an alias is a resource.
var aliasActions = []string{"kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias"}

func aliasResource(s *statement) {
	if s.doc.Kind == policy.Key || s.NotResource {
		return
	}
	for _, r := range s.Resources {
		if !strings.Contains(r.Text, ":alias/") {
			continue
		}
		for _, a := range s.gives {
			if !slices.Contains(aliasActions, a.name) {
				s.find("Name the key by its ARN, or use \"Resource\": \"*\" with a condition on kms:ResourceAliases or kms:RequestAlias.",
					"%s is an alias. It has no effect on %s, for which keys are the resource.", r.Text, a.name)
				return
			}
		}
	}
}

// isEverything tells an action that stands for all actions of KMS.
func isEverything(a policy.Action) bool {
	return a.Text == "*" || strings.EqualFold(a.Text, "kms:*")
}

// administers tells an action that changes a key.
func administers(a action) bool { return a.class == administration && a.onKey }

func everything(s *statement) {
	if !s.allows() || s.toAccount() || s.NotAction {
		return
	}
	if i := slices.IndexFunc(s.Actions, isEverything); i >= 0 {
		s.find("List the actions that are needed, administration and use in statements of their own.",
			"%s gives whoever has this statement every action on the key, also to give it away and to destroy it.", s.Actions[i].Text)
	}
}

func administrationAndUse(s *statement) {
	if !s.allows() || s.toAccount() || s.NotAction || slices.ContainsFunc(s.Actions, isEverything) {
		return
	}
	if s.is(administers) && s.is(func(a action) bool { return a.class == use }) {
		s.find("Split it in two, for different principals: key administrators cannot use the key, key users cannot change it.",
			"It gives administration and use of the key at once, so one person can do both.")
	}
}

func encryptAndDecrypt(s *statement) {
	if !s.allows() || s.toAccount() || s.NotAction || s.is(administers) {
		return
	}
	if s.givesAction("kms:Encrypt") && s.givesAction("kms:Decrypt") && s.condition("kms:encryptioncontext", "kms:encryptioncontextkeys", "kms:viaservice") == nil {
		s.find("Give writers kms:Encrypt or kms:GenerateDataKey alone, and kms:Decrypt to readers; or tie it to an encryption context or to kms:ViaService.",
			"It gives kms:Decrypt to whoever may kms:Encrypt. Who only writes data needs no kms:Decrypt.")
	}
}

// callerKeys narrow down who calls.
var callerKeys = []string{"kms:calleraccount", "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths", "aws:principalarn", "aws:principaltag",
	"aws:userid", "aws:username", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceip", "aws:sourcearn", "aws:sourceaccount", "aws:principalservicename"}

func wildcardPrincipal(s *statement) {
	if s.Effect != policy.Allow || s.NotPrincipal || !slices.ContainsFunc(s.Principals, func(p policy.Principal) bool { return p.Kind == policy.Everyone }) {
		return
	}
	if c := s.condition(callerKeys...); c == nil || c.Negated() {
		s.find("Name the principals, or add a condition such as StringEquals kms:CallerAccount or aws:PrincipalOrgID.",
			`Principal "*" lets in every identity of this account, and of every other account whose own policies allow it.`)
	}
}

func notPrincipal(s *statement) {
	if !s.NotPrincipal {
		return
	}
	if s.Effect == policy.Allow {
		s.find("Name whom to allow with Principal.", "NotPrincipal with Allow lets in everybody else, also those of other accounts.")
		return
	}
	for _, p := range s.Principals {
		if p.Kind != policy.UserPrincipal && p.Kind != policy.RolePrincipal && p.Kind != policy.SessionPrincipal || p.Account == "" {
			continue
		}
		root := "arn:aws:iam::" + p.Account + ":root"
		if !slices.ContainsFunc(s.Principals, func(q policy.Principal) bool { return q.Kind == policy.AccountPrincipal && q.Account == p.Account }) {
			s.find("Add "+root+" to NotPrincipal, or better: Principal \"*\" with a condition ArnNotEquals on aws:PrincipalArn.",
				"%s is denied all the same: the account that it belongs to is not listed, and it counts as another principal.", p.Text)
			return
		}
	}
}

func notAction(s *statement) {
	if s.NotAction && s.Effect == policy.Allow && s.doc.Kind != policy.Trust {
		s.find("List the actions that are needed with Action.", "NotAction with Allow gives every other action, those to come as well.")
	}
}

var mfaKeys = []string{"aws:multifactorauthpresent", "aws:multifactorauthage"}

func noMFA(s *statement) {
	if !s.allows() || s.toAccount() || s.NotAction || s.condition(mfaKeys...) != nil || guarded(s.doc) {
		return
	}
	for _, a := range s.gives {
		if a.grave {
			s.find(`Add "Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "300"}}, or a Deny with NumericGreaterThanIfExists for everybody.`,
				"%s needs no MFA. A stolen access key is enough to lose the key or to give it away.", strings.TrimPrefix(a.name, "kms:"))
			return
		}
	}
}

// guarded tells a document that denies grave actions without MFA.
func guarded(doc *policy.Document) bool {
	for i := range doc.Statements {
		s := &statement{Statement: &doc.Statements[i], doc: doc}
		if s.Effect == policy.Deny && s.MatchesAction("kms:ScheduleKeyDeletion") && s.condition(mfaKeys...) != nil {
			return true
		}
	}
	return false
}

// safeguards are keys that are absent exactly when a caller has not done what the
// condition asks for.
var safeguards = []string{"aws:multifactorauthpresent", "aws:multifactorauthage", "kms:viaservice", "aws:sourcevpce", "aws:sourcevpc", "kms:encryptioncontext",
	"aws:principaltag", "kms:recipientattestation", "aws:sourcearn", "aws:sourceaccount", "aws:principalorgid"}

func ifExists(s *statement) {
	if s.Effect != policy.Allow {
		return
	}
	for _, c := range s.Conditions {
		if c.IfExists && slices.Contains(safeguards, c.Key.Name) {
			s.find("Write "+strings.TrimSuffix(c.Operator, "IfExists")+"; IfExists belongs into Deny statements.",
				"%s holds also for requests that have no %s, so it does not ask for it.", c.Operator, c.Written)
		}
	}
}

func forAllValues(s *statement) {
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if c.Quantifier != policy.ForAllValues {
			continue
		}
		switch info, known := c.Key.Info(); {
		case known && !info.Multi:
			s.find("Write "+c.Base+" without ForAllValues.", "%s has one value, and ForAllValues holds also where there is none.", c.Written)
		case s.Effect == policy.Allow && !notNull(s, c.Key):
			s.find(fmt.Sprintf(`Add "Null": {%q: "false"}.`, c.Written), "ForAllValues holds also for requests that have no %s at all.", c.Written)
		case s.Effect == policy.Deny:
			s.find("Use ForAnyValue, with the operator turned around.", "In a Deny, ForAllValues hits requests that have no %s, and misses those in which one value is different.", c.Written)
		}
	}
}

func notNull(s *statement, key policy.ConditionKey) bool {
	return slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool {
		return c.Base == "Null" && c.Key.Name == key.Name && slices.Contains(c.Values, "false")
	})
}

func setOperator(s *statement) {
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if info, known := c.Key.Info(); known && info.Multi && c.Quantifier == policy.Single && c.Base != "Null" {
			s.find("Write ForAnyValue:"+c.Operator+" or ForAllValues:"+c.Operator+".", "%s can have several values. Without ForAnyValue or ForAllValues AWS does not say how they count.", c.Written)
		}
	}
}

func unknownKey(s *statement) {
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if _, known := c.Key.Info(); !known && (strings.HasPrefix(c.Key.Name, "aws:") || strings.HasPrefix(c.Key.Name, "kms:")) {
			s.find("Correct its spelling.", "There is no condition key %s, so it is absent from every request.", c.Written)
		}
	}
}

// literalKeys are those in which a wildcard makes no sense.
var literalKeys = []string{"aws:principalaccount", "aws:principalorgid", "aws:resourceaccount", "aws:resourceorgid", "aws:sourceaccount", "aws:sourceorgid",
	"aws:sourcevpc", "aws:sourcevpce", "aws:vpceaccount", "aws:vpceorgid", "kms:calleraccount"}

func wildcardValue(s *statement) {
	for _, c := range s.Conditions {
		if slices.Contains(literalKeys, c.Key.Name) && slices.ContainsFunc(c.Values, func(v string) bool { return strings.ContainsAny(v, "*?") }) {
			s.find("Write out the values with StringEquals.", "%s is compared with a wildcard, which lets in ids that nobody has thought of.", c.Written)
		}
	}
}
