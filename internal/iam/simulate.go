package iam

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// simulation is what the two operations that simulate are asked. Nothing is done.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html
type simulation struct {
	actions, resources []string
	entries            []types.ContextEntry
	resourcePolicy     *string
	owner              *string // ARN or account id of who owns the resources
	marker             *string
	items              *int32

	caller policy.Caller
	set    policy.Set
	tags   []api.Tag
	// sources are the policies that answers name, by the name of the document.
	sources map[string]source
	// member is what the account has from the organization; nil if that is not
	// simulated.
	member *authz.Membership
}

// source is a policy as answers name it.
type source struct {
	id   string
	text string
}

// named has answers name a document.
func (q *simulation) named(document, id, text string) {
	if q.sources == nil {
		q.sources = map[string]source{}
	}
	q.sources[document] = source{id, text}
}

// entries are the condition keys that a simulation gives.
type entries struct {
	given  map[policy.ConditionKey]policy.Value
	caller *policy.Caller
	tags   []api.Tag
	// missing are the keys that were asked for and not given, in order.
	missing []string
}

// Value implements policy.Context.
func (e *entries) Value(k *policy.ConditionKey) policy.Value {
	if v, ok := e.given[policy.ConditionKey{Name: k.Name, Parameter: strings.ToLower(k.Parameter)}]; ok {
		return v
	}
	switch k.Name {
	case "aws:principalarn":
		if v := policy.OptionalText(e.caller.PrincipalARN); !v.IsAbsent() {
			return v
		}
	case "aws:principalaccount":
		return policy.OptionalText(e.caller.Account)
	case "aws:principaltag":
		if v := authz.TagValue(e.tags, k.Parameter); !v.IsAbsent() {
			return v
		}
	}
	name := keyName(k)
	if !slices.Contains(e.missing, name) {
		e.missing = append(e.missing, name)
	}
	return policy.Absent
}

// keyName is a condition key as policies write it.
func keyName(k *policy.ConditionKey) string {
	info, ok := k.Info()
	if !ok {
		return k.Name
	}
	return info.Name + info.Parameter + k.Parameter
}

// newEntries reads the context of a simulation.
func newEntries(given []types.ContextEntry) (*entries, error) {
	e := &entries{given: map[policy.ConditionKey]policy.Value{}}
	for _, c := range given {
		k, err := policy.ParseConditionKey(aws.ToString(c.ContextKeyName))
		if err != nil {
			return nil, awserr.New(awserr.InvalidInput, "Invalid context key: %v", err)
		}
		v, err := entryValue(c)
		if err != nil {
			return nil, awserr.New(awserr.InvalidInput, "The value of the context key %s is not of the type %s.", *c.ContextKeyName, c.ContextKeyType)
		}
		e.given[policy.ConditionKey{Name: k.Name, Parameter: strings.ToLower(k.Parameter)}] = v
	}
	return e, nil
}

func entryValue(c types.ContextEntry) (policy.Value, error) {
	values := c.ContextKeyValues
	kind := string(c.ContextKeyType)
	if strings.HasSuffix(kind, "List") {
		return policy.Texts(values), nil
	}
	if len(values) == 0 {
		return policy.Absent, nil
	}
	text := values[0]
	switch c.ContextKeyType {
	case types.ContextKeyTypeEnumNumeric:
		// Package policy compares decimals that are written out.
		_, err := strconv.ParseFloat(text, 64)
		return policy.Text(text), err
	case types.ContextKeyTypeEnumBoolean:
		b, err := strconv.ParseBool(text)
		return policy.Bool(b), err
	case types.ContextKeyTypeEnumIp:
		ip, err := netip.ParseAddr(strings.TrimSuffix(text, "/32"))
		return policy.IP(ip), err
	case types.ContextKeyTypeEnumDate:
		t, err := time.Parse(time.RFC3339, text)
		return policy.Time(t), err
	}
	return policy.Text(text), nil
}

// inputPolicy reads a policy that a request gives.
func inputPolicy(kind policy.Kind, name, text string) (*policy.Document, error) {
	doc, err := policy.Parse(kind, name, text)
	if err != nil {
		return nil, awserr.New(awserr.InvalidInput, "%s is not a policy: %v.", name, err)
	}
	return doc, nil
}

// inputPolicies reads a list of policies that a request gives.
func inputPolicies(name string, texts []string) ([]*policy.Document, error) {
	var docs []*policy.Document
	for i, text := range texts {
		doc, err := inputPolicy(policy.Identity, name+"."+strconv.Itoa(i+1), text)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// addPolicies adds the identity policies that a request gives.
func (q *simulation) addPolicies(texts []string) error {
	docs, err := inputPolicies("PolicyInputList", texts)
	for i, doc := range docs {
		q.named(doc.Name, doc.Name, texts[i])
	}
	q.set.Identity = append(q.set.Identity, docs...)
	return err
}

// setBoundary caps the simulation by the policies that a request gives.
func (q *simulation) setBoundary(texts []string) error {
	if len(texts) > 1 {
		return awserr.New(awserr.InvalidInput, "PermissionsBoundaryPolicyInputList can have one policy only.")
	}
	docs, err := inputPolicies("PermissionsBoundaryPolicyInputList", texts)
	if len(docs) == 1 {
		q.set.Boundary = docs[0]
		q.named(docs[0].Name, docs[0].Name, texts[0])
	}
	return err
}

// setCaller reads who asks in a simulation.
func (q *simulation) setCaller(arn string) error {
	account, isRoot := rootAccount(arn)
	if isRoot {
		q.caller = policy.Caller{Account: account, Root: true, ARN: arn, PrincipalARN: arn, PrincipalID: account}
		return nil
	}
	a, ok := parseARN(arn)
	if !ok || a.resource != "user" && a.resource != "role" && a.resource != "group" {
		return awserr.New(awserr.InvalidInput, "%s is not the ARN of a user, group or role.", arn)
	}
	q.caller = policy.Caller{Account: a.account, ARN: arn, PrincipalARN: arn}
	return nil
}

// run decides every action on every resource.
func (q *simulation) run() (results []types.EvaluationResult, truncated bool, next *string, err error) {
	pg, err := newPage(q.marker, q.items)
	if err != nil {
		return nil, false, nil, err
	}
	resources := q.resources
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	q.set.Account = q.caller.Account
	if q.owner != nil {
		q.set.Account = *q.owner
		if a, ok := rootAccount(*q.owner); ok {
			q.set.Account = a
		}
		if !isAccount(q.set.Account) {
			return nil, false, nil, awserr.New(awserr.InvalidInput, "ResourceOwner must be the ARN of an account's root, not %s.", *q.owner)
		}
	}
	if q.resourcePolicy != nil {
		if q.set.Resource, err = inputPolicy(policy.Key, resourcePolicy, *q.resourcePolicy); err != nil {
			return nil, false, nil, err
		}
		q.named(resourcePolicy, resourcePolicy, *q.resourcePolicy)
	}
	results = []types.EvaluationResult{}
	n := 0
	for _, action := range q.actions {
		if service, name, ok := strings.Cut(action, ":"); !ok || service == "" || name == "" {
			return nil, false, nil, awserr.New(awserr.InvalidInput, "Invalid action name: %s. It must be of the form service:Action.", action)
		}
		for _, resource := range resources {
			n++
			if !pg.take(strconv.Itoa(100_000_000 + n)) {
				continue
			}
			context, err := newEntries(q.entries)
			if err != nil {
				return nil, false, nil, err
			}
			context.caller, context.tags = &q.caller, q.tags
			r := q.decide(action, resource, context)
			if len(q.resources) > 0 {
				r.ResourceSpecificResults = []types.ResourceSpecificResult{{EvalResourceName: r.EvalResourceName, EvalResourceDecision: r.EvalDecision,
					MatchedStatements: r.MatchedStatements, MissingContextValues: r.MissingContextValues, PermissionsBoundaryDecisionDetail: r.PermissionsBoundaryDecisionDetail}}
			}
			results = append(results, r)
		}
	}
	truncated, next = pg.next()
	return results, truncated, next, nil
}

func (q *simulation) decide(action, resource string, context *entries) types.EvaluationResult {
	req := policy.Request{Caller: &q.caller, Action: action, Resource: resource, Context: context}
	d, how := policy.Explain(&req, &q.set)
	r := types.EvaluationResult{EvalActionName: &action, EvalResourceName: &resource, EvalDecision: types.PolicyEvaluationDecisionTypeImplicitDeny,
		MatchedStatements: []types.Statement{}, MissingContextValues: append([]string{}, context.missing...)}
	switch {
	case d.Allowed:
		r.EvalDecision = types.PolicyEvaluationDecisionTypeAllowed
	case d.Explicit:
		r.EvalDecision = types.PolicyEvaluationDecisionTypeExplicitDeny
	}
	for _, doc := range how.Documents {
		if doc.Layer == policy.BoundaryLayer {
			r.PermissionsBoundaryDecisionDetail = &types.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: doc.Outcome == "allows"}
		}
		for _, s := range doc.Statements {
			// AWS names what decided: the denials, or else what allows. A boundary
			// allows nothing by itself.
			decided := d.Explicit && s.Effect == string(policy.Deny) || d.Allowed && s.Effect == string(policy.Allow) && doc.Layer != policy.BoundaryLayer
			if s.Matched && decided {
				r.MatchedStatements = append(r.MatchedStatements, q.statement(doc, s.Index))
			}
		}
	}
	if q.member != nil && q.member.OrgID != "" {
		control := q.control(req)
		r.OrganizationsDecisionDetail = &types.OrganizationsDecisionDetail{AllowedByOrganizations: control.Allowed}
		if !control.Allowed && !d.Explicit {
			r.EvalDecision, r.MatchedStatements = types.PolicyEvaluationDecisionTypeImplicitDeny, []types.Statement{}
			if control.Explicit {
				r.EvalDecision = types.PolicyEvaluationDecisionTypeExplicitDeny
			}
		}
	}
	return r
}

// control decides by the service control policies alone. Answers show neither
// their statements nor what they ask for.
func (q *simulation) control(req policy.Request) policy.Decision {
	context := *req.Context.(*entries)
	anybody := policy.Caller{Account: q.caller.Account, Root: true} // whom nothing else limits
	req.Caller, req.Context = &anybody, &context
	return policy.Decide(&req, &policy.Set{Account: q.caller.Account, Control: q.member.Control})
}

// resourcePolicy is what answers call the resource's policy.
const resourcePolicy = "ResourcePolicy"

// statement is a statement of a document as AWS names it.
func (q *simulation) statement(doc policy.DocumentDerivation, i int) types.Statement {
	from := q.sources[doc.Name]
	out := types.Statement{SourcePolicyId: aws.String(cmp.Or(from.id, doc.Name)), SourcePolicyType: "IAM Policy"} // which the SDK does not list
	if doc.Layer == policy.ResourceLayer {
		out.SourcePolicyType = "Resource Policy"
	}
	if at := spans(from.text); i < len(at) {
		out.StartPosition, out.EndPosition = at[i].start, at[i].end
	}
	return out
}

// span is where a statement stands.
type span struct{ start, end *types.Position }

// spans are where the statements of a document stand, as AWS counts it: from the
// end of what is before the statement, and for a statement without a list from
// its brace on, to its end.
func spans(text string) (all []span) {
	dec := json.NewDecoder(strings.NewReader(text))
	var skip json.RawMessage
	member := func() (name any) { // and on to its value
		name, _ = dec.Token()
		return name
	}
	add := func(start int64) {
		all = append(all, span{position(text, start), position(text, dec.InputOffset())})
	}
	for member(); dec.More() && member() != "Statement"; {
		if dec.Decode(&skip) != nil {
			return nil
		}
	}
	open, _ := dec.Token()
	start := dec.InputOffset()
	for dec.More() {
		if open == json.Delim('{') {
			member()
		}
		if dec.Decode(&skip) != nil {
			return nil
		}
		if open == json.Delim('[') {
			add(start)
			start = dec.InputOffset()
		}
	}
	if _, err := dec.Token(); err == nil && open == json.Delim('{') {
		add(start)
	}
	return all
}

// position is the line and column of a byte of a text, both from 1.
func position(text string, offset int64) *types.Position {
	before := text[:offset]
	line := strings.LastIndexByte(before, '\n') + 1
	return &types.Position{Line: int32(strings.Count(before, "\n") + 1), Column: int32(utf8.RuneCountInString(before[line:]) + 1)}
}

// SimulateCustomPolicy tells what policies that the request gives would decide.
func (s *Service) SimulateCustomPolicy(ctx context.Context, call *api.Call, in *sdk.SimulateCustomPolicyInput) (*sdk.SimulateCustomPolicyOutput, error) {
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	q := simulation{actions: in.ActionNames, resources: in.ResourceArns, entries: in.ContextEntries, resourcePolicy: in.ResourcePolicy,
		owner: in.ResourceOwner, marker: in.Marker, items: in.MaxItems}
	switch {
	case in.CallerArn == nil && in.ResourcePolicy != nil:
		return nil, awserr.New(awserr.InvalidInput, "CallerArn is required when ResourcePolicy is given.")
	case in.CallerArn == nil:
		q.caller = policy.Caller{Account: call.Caller.Account}
	default:
		if err := q.setCaller(*in.CallerArn); err != nil {
			return nil, err
		}
	}
	if err := q.addPolicies(in.PolicyInputList); err != nil {
		return nil, err
	}
	if err := q.setBoundary(in.PermissionsBoundaryPolicyInputList); err != nil {
		return nil, err
	}
	var err error
	out := new(sdk.SimulateCustomPolicyOutput)
	out.EvaluationResults, out.IsTruncated, out.Marker, err = q.run()
	return out, err
}

// SimulatePrincipalPolicy tells what the policies of a user, group or role, and
// those that the request gives, would decide under the organization's.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, call *api.Call, in *sdk.SimulatePrincipalPolicyInput) (*sdk.SimulatePrincipalPolicyOutput, error) {
	q := simulation{actions: in.ActionNames, resources: in.ResourceArns, entries: in.ContextEntries, resourcePolicy: in.ResourcePolicy,
		owner: in.ResourceOwner, marker: in.Marker, items: in.MaxItems}
	e, err := s.bearer(ctx, call, *in.PolicySourceArn, &q)
	if err != nil {
		return nil, err
	}
	if q.member, err = s.Membership(ctx, e.account); err != nil {
		return nil, err
	}
	if err := q.setCaller(cmp.Or(aws.ToString(in.CallerArn), *in.PolicySourceArn)); err != nil {
		return nil, err
	}
	if in.CallerArn == nil {
		q.caller.PrincipalID = e.id
	}
	if err := q.addPolicies(in.PolicyInputList); err != nil {
		return nil, err
	}
	if in.PermissionsBoundaryPolicyInputList != nil {
		if err := q.setBoundary(in.PermissionsBoundaryPolicyInputList); err != nil {
			return nil, err
		}
	}
	out := new(sdk.SimulatePrincipalPolicyOutput)
	out.EvaluationResults, out.IsTruncated, out.Marker, err = q.run()
	return out, err
}

// bearer finds the user, group or role of the caller's account whose policies a
// call is about, and puts them into a simulation.
func (s *Service) bearer(ctx context.Context, call *api.Call, arn string, q *simulation) (e *entity, err error) {
	if err := s.allow(ctx, call, arn, &values{}); err != nil {
		return nil, err
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		if e, err = findARN(r, arn); err == nil && e.account != call.Caller.Account {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		p, err := s.Directory.compile(r, e)
		if err != nil {
			return err
		}
		q.tags, q.set.Identity, q.set.Boundary = e.Tags, slices.Clone(p.identity.Policies), p.identity.Boundary
		return q.nameAll(r, e)
	})
	return e, notFound(err, "The entity %s cannot be found.", arn)
}

// nameAll has answers name the policies of an entity and of its groups.
func (q *simulation) nameAll(r store.Reader, e *entity) error {
	bearers, err := withGroups(r, e)
	if err != nil {
		return err
	}
	arns := []string{}
	if e.Boundary != "" {
		arns = append(arns, e.Boundary)
	}
	for _, b := range bearers {
		for _, p := range b.Inline {
			q.named(b.inlineName(p), b.kind.word+"_"+b.Name+"_"+p.Name, p.Text)
		}
		arns = append(arns, b.Attached...)
	}
	for _, arn := range arns {
		m, err := findManaged(r, e.account, arn)
		if err != nil {
			return err
		}
		text, err := m.text(r, m.Default)
		if err != nil {
			return err
		}
		q.named(arn, m.Name, text)
	}
	return nil
}

// GetContextKeysForCustomPolicy lists the condition keys that policies ask for.
func (s *Service) GetContextKeysForCustomPolicy(ctx context.Context, call *api.Call, in *sdk.GetContextKeysForCustomPolicyInput) (*sdk.GetContextKeysForCustomPolicyOutput, error) {
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	docs, err := inputPolicies("PolicyInputList", in.PolicyInputList)
	return &sdk.GetContextKeysForCustomPolicyOutput{ContextKeyNames: contextKeys(docs)}, err
}

// GetContextKeysForPrincipalPolicy lists the condition keys that the policies of a
// user, group or role, and those that the request gives, ask for.
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, call *api.Call, in *sdk.GetContextKeysForPrincipalPolicyInput) (*sdk.GetContextKeysForPrincipalPolicyOutput, error) {
	var q simulation
	if _, err := s.bearer(ctx, call, *in.PolicySourceArn, &q); err != nil {
		return nil, err
	}
	if err := q.addPolicies(in.PolicyInputList); err != nil {
		return nil, err
	}
	return &sdk.GetContextKeysForPrincipalPolicyOutput{ContextKeyNames: contextKeys(q.set.Identity)}, nil
}

// contextKeys are the condition keys of documents, each once.
func contextKeys(docs []*policy.Document) []string {
	names := []string{}
	for _, d := range docs {
		for i := range d.Statements {
			for j := range d.Statements[i].Conditions {
				names = append(names, keyName(&d.Statements[i].Conditions[j].Key))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
