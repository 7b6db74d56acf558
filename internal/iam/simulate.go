package iam

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

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
		return policy.OptionalText(e.caller.PrincipalARN)
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

// simulationPolicies reads policies that a request gives.
func simulationPolicies(kind policy.Kind, name string, texts []string) ([]*policy.Document, error) {
	var docs []*policy.Document
	for i, text := range texts {
		doc, err := policy.Parse(kind, name+"."+strconv.Itoa(i+1), text)
		if err != nil {
			return nil, awserr.New(awserr.InvalidInput, "%s.%d is not a policy: %v.", name, i+1, err)
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// setBoundary caps the simulation by the policies that a request gives.
func (q *simulation) setBoundary(texts []string) error {
	if len(texts) > 1 {
		return awserr.New(awserr.InvalidInput, "PermissionsBoundaryPolicyInputList can have one policy only.")
	}
	docs, err := simulationPolicies(policy.Identity, "PermissionsBoundaryPolicyInputList", texts)
	if len(docs) == 1 {
		q.set.Boundary = docs[0]
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
	if len(q.resources) == 0 {
		q.resources = []string{"*"}
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
		docs, err := simulationPolicies(policy.Key, "ResourcePolicy", []string{*q.resourcePolicy})
		if err != nil {
			return nil, false, nil, err
		}
		q.set.Resource = docs[0]
	}
	results = []types.EvaluationResult{}
	n := 0
	for _, action := range q.actions {
		if service, name, ok := strings.Cut(action, ":"); !ok || service == "" || name == "" {
			return nil, false, nil, awserr.New(awserr.InvalidInput, "Invalid action name: %s. It must be of the form service:Action.", action)
		}
		for _, resource := range q.resources {
			n++
			if !pg.take(strconv.Itoa(100_000_000 + n)) {
				continue
			}
			context, err := newEntries(q.entries)
			if err != nil {
				return nil, false, nil, err
			}
			context.caller, context.tags = &q.caller, q.tags
			results = append(results, q.decide(action, resource, context))
		}
	}
	truncated, next = pg.next()
	return results, truncated, next, nil
}

func (q *simulation) decide(action, resource string, context *entries) types.EvaluationResult {
	d, how := policy.Explain(&policy.Request{Caller: &q.caller, Action: action, Resource: resource, Context: context}, &q.set)
	r := types.EvaluationResult{EvalActionName: &action, EvalResourceName: &resource, EvalDecision: types.PolicyEvaluationDecisionTypeImplicitDeny,
		MatchedStatements: []types.Statement{}, MissingContextValues: append([]string{}, context.missing...)}
	switch {
	case d.Allowed:
		r.EvalDecision = types.PolicyEvaluationDecisionTypeAllowed
	case d.Explicit:
		r.EvalDecision = types.PolicyEvaluationDecisionTypeExplicitDeny
	}
	for _, doc := range how.Documents {
		decision := types.PolicyEvaluationDecisionTypeImplicitDeny
		for _, s := range doc.Statements {
			if !s.Matched {
				continue
			}
			if decision = types.PolicyEvaluationDecisionTypeAllowed; s.Effect == string(policy.Deny) {
				decision = types.PolicyEvaluationDecisionTypeExplicitDeny
			}
			// AWS names what decided: the denials, or else what allows.
			if decision == r.EvalDecision {
				r.MatchedStatements = append(r.MatchedStatements, types.Statement{SourcePolicyId: aws.String(doc.Name), SourcePolicyType: sourceType(doc.Layer, doc.Name)})
			}
		}
		if doc.Layer == policy.BoundaryLayer {
			r.PermissionsBoundaryDecisionDetail = &types.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: doc.Outcome == "allows"}
		}
	}
	return r
}

// sourceType is what kind of policy a statement is of.
func sourceType(l policy.Layer, name string) types.PolicySourceType {
	switch {
	case l == policy.ResourceLayer:
		return types.PolicySourceTypeResource
	case strings.HasPrefix(name, arnOf(awsAccount, "policy", "", "")):
		return types.PolicySourceTypeAwsManaged
	case strings.HasPrefix(name, "arn:"):
		return types.PolicySourceTypeUserManaged
	}
	return types.PolicySourceTypeNone
}

// SimulateCustomPolicy tells what policies that the request gives would decide.
func (s *Service) SimulateCustomPolicy(ctx context.Context, call *api.Call, in *sdk.SimulateCustomPolicyInput) (*sdk.SimulateCustomPolicyOutput, error) {
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	q := simulation{actions: in.ActionNames, resources: in.ResourceArns, entries: in.ContextEntries, resourcePolicy: in.ResourcePolicy,
		owner: in.ResourceOwner, marker: in.Marker, items: in.MaxItems}
	caller := aws.ToString(in.CallerArn)
	if caller == "" {
		if in.ResourcePolicy != nil {
			return nil, awserr.New(awserr.InvalidInput, "CallerArn is required when ResourcePolicy is given.")
		}
		caller = arnOf(call.Caller.Account, "user", "/", "simulated")
	}
	err := q.setCaller(caller)
	if err == nil {
		q.set.Identity, err = simulationPolicies(policy.Identity, "PolicyInputList", in.PolicyInputList)
	}
	if err == nil {
		err = q.setBoundary(in.PermissionsBoundaryPolicyInputList)
	}
	if err != nil {
		return nil, err
	}
	out := new(sdk.SimulateCustomPolicyOutput)
	out.EvaluationResults, out.IsTruncated, out.Marker, err = q.run()
	return out, err
}

// SimulatePrincipalPolicy tells what the policies of a user, group or role, and
// those that the request gives, would decide.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, call *api.Call, in *sdk.SimulatePrincipalPolicyInput) (*sdk.SimulatePrincipalPolicyOutput, error) {
	e, source, err := s.source(ctx, call, *in.PolicySourceArn)
	if err != nil {
		return nil, err
	}
	q := simulation{actions: in.ActionNames, resources: in.ResourceArns, entries: in.ContextEntries, resourcePolicy: in.ResourcePolicy,
		owner: in.ResourceOwner, marker: in.Marker, items: in.MaxItems, tags: e.Tags}
	if err := q.setCaller(*in.PolicySourceArn); err != nil {
		return nil, err
	}
	q.caller.PrincipalID = e.id
	if in.CallerArn != nil {
		if err := q.setCaller(*in.CallerArn); err != nil {
			return nil, err
		}
	}
	more, err := simulationPolicies(policy.Identity, "PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	q.set.Identity, q.set.Boundary = append(slices.Clone(source.Policies), more...), source.Boundary
	if in.PermissionsBoundaryPolicyInputList != nil {
		if err := q.setBoundary(in.PermissionsBoundaryPolicyInputList); err != nil {
			return nil, err
		}
	}
	out := new(sdk.SimulatePrincipalPolicyOutput)
	out.EvaluationResults, out.IsTruncated, out.Marker, err = q.run()
	return out, err
}

// source finds the user, group or role of the caller's account whose policies a
// call is about, with those policies.
func (s *Service) source(ctx context.Context, call *api.Call, arn string) (*entity, *authz.Identity, error) {
	if err := s.allow(ctx, call, arn, &values{}); err != nil {
		return nil, nil, err
	}
	var e *entity
	var p *principal
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		if e, err = findARN(r, arn); err == nil && e.account != call.Caller.Account {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		p, err = s.Directory.compile(r, e)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, notFound(err, "The entity %s cannot be found.", arn)
	}
	if err != nil {
		return nil, nil, err
	}
	return e, &p.identity, nil
}

// GetContextKeysForCustomPolicy lists the condition keys that policies ask for.
func (s *Service) GetContextKeysForCustomPolicy(ctx context.Context, call *api.Call, in *sdk.GetContextKeysForCustomPolicyInput) (*sdk.GetContextKeysForCustomPolicyOutput, error) {
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	docs, err := simulationPolicies(policy.Identity, "PolicyInputList", in.PolicyInputList)
	return &sdk.GetContextKeysForCustomPolicyOutput{ContextKeyNames: contextKeys(docs)}, err
}

// GetContextKeysForPrincipalPolicy lists the condition keys that the policies of a
// user, group or role, and those that the request gives, ask for.
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, call *api.Call, in *sdk.GetContextKeysForPrincipalPolicyInput) (*sdk.GetContextKeysForPrincipalPolicyOutput, error) {
	_, identity, err := s.source(ctx, call, *in.PolicySourceArn)
	if err != nil {
		return nil, err
	}
	docs, err := simulationPolicies(policy.Identity, "PolicyInputList", in.PolicyInputList)
	return &sdk.GetContextKeysForPrincipalPolicyOutput{ContextKeyNames: contextKeys(append(docs, identity.Policies...))}, err
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
