package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/events/pattern"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// Quotas. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
const (
	maxRules   = 300 // of an account in a Region
	maxTargets = 5   // of a rule
	maxTags    = 50
	mostItems  = 100 // on a page
)

// defaultBus is the event bus that there is.
const defaultBus = "default"

// ruleKind is of store records of rules. A rule's place is its account, Region and name.
const ruleKind = "event-rule"

// ruleRecord is a rule as the store keeps it.
type ruleRecord struct {
	Pattern     string          `json:"pattern"`
	State       types.RuleState `json:"state"`
	Description string          `json:"description,omitempty"`
	Role        string          `json:"role,omitempty"`
	Tags        []api.Tag       `json:"tags,omitempty"`
	Targets     []types.Target  `json:"targets,omitempty"`
	// From is the number of the last record before the rule was enabled.
	From uint64 `json:"from"`
}

// rule is a rule with its place.
type rule struct {
	ruleRecord
	place    store.Place
	revision uint64
}

func ruleARN(p store.Place) string {
	return fmt.Sprintf("arn:aws:events:%s:%s:rule/%s", p.Region, p.Account, p.ID)
}

func decodeRule(rec store.Record) (*rule, error) {
	r := &rule{place: rec.Place, revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, &r.ruleRecord); err != nil {
		return nil, fmt.Errorf("%s: %w", rec.Place, err)
	}
	return r, nil
}

// allRulesEntry is the index entry that all rules have.
var allRulesEntry = store.IndexEntry{Name: "all", Value: "all"}

func (r *rule) put(tx store.Tx) error {
	return put(tx, r.place, &r.ruleRecord, r.revision, allRulesEntry)
}

// put writes a record in JSON.
func put(tx store.Tx, p store.Place, v any, revision uint64, index ...store.IndexEntry) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = tx.Put(p, b, revision, index...)
	}
	return err
}

func (r *rule) enabled() bool { return r.State != types.RuleStateDisabled }

// getRule is the rule at a place.
func getRule(r store.Reader, p store.Place) (*rule, error) {
	rec, err := r.Get(p)
	if errors.Is(err, store.ErrNotFound) {
		return nil, awserr.New(awserr.ResourceNotFound, "Rule %s does not exist on EventBus %s.", p.ID, defaultBus)
	}
	if err != nil {
		return nil, err
	}
	return decodeRule(rec)
}

func invalid(format string, args ...any) error { return awserr.New(awserr.Validation, format, args...) }

// values are the condition keys of one request.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html
type values struct {
	resource, request []api.Tag
	removed           []string // tag keys
	targets           []string
	passed            bool // a role is passed
}

// Value implements policy.Context.
func (v *values) Value(k *policy.ConditionKey) policy.Value {
	switch k.Name {
	case "aws:resourcetag":
		return authz.TagValue(v.resource, k.Parameter)
	case "aws:requesttag":
		return authz.TagValue(v.request, k.Parameter)
	case "aws:tagkeys":
		keys := slices.Clone(v.removed)
		for _, t := range v.request {
			keys = append(keys, t.Key)
		}
		if len(keys) > 0 {
			return policy.Texts(keys)
		}
	case "events:targetarn":
		if len(v.targets) > 0 {
			return policy.Texts(v.targets)
		}
	case "iam:passedtoservice":
		if v.passed {
			return policy.Text(Principal)
		}
	}
	return policy.Absent
}

// authorize asks for authorization of the call's action on a resource of the caller's account.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
func (s *Service) authorize(ctx context.Context, call *api.Call, resource string, v *values) error {
	return s.allow(ctx, call, "events:"+call.Operation, resource, v)
}

func (s *Service) allow(ctx context.Context, call *api.Call, action, resource string, v *values) error {
	return authz.Check(ctx, s.Authorize, call, &authz.Request{Action: action, Resource: resource, Account: call.Caller.Account, Values: v})
}

// pass asks for the permission to hand a role to this service.
func (s *Service) pass(ctx context.Context, call *api.Call, role *string) error {
	if role == nil {
		return nil
	}
	if m := roleForm.FindStringSubmatch(*role); m == nil || m[1] != call.Caller.Account {
		return invalid("RoleArn is not valid for this account: %s.", *role)
	}
	return s.allow(ctx, call, "iam:PassRole", *role, &values{passed: true})
}

var roleForm = regexp.MustCompile(`^arn:aws:iam::(\d{12}):role/.+$`)

// checkBus is for the event bus of a request.
func checkBus(call *api.Call, bus *string) error {
	if bus == nil || *bus == defaultBus || *bus == busARN(call) {
		return nil
	}
	return awserr.New(awserr.ResourceNotFound, "Event bus %s does not exist. There is the one of each account and Region, %s.", *bus, defaultBus)
}

func busARN(call *api.Call) string {
	return fmt.Sprintf("arn:aws:events:%s:%s:event-bus/%s", call.Region, call.Caller.Account, defaultBus)
}

// find authorizes a call for the rule of a name, and gives its place.
func (s *Service) find(ctx context.Context, call *api.Call, name, bus *string, v values) (p store.Place, err error) {
	p = store.Place{Kind: ruleKind, Account: call.Caller.Account, Region: call.Region, ID: *name}
	if err := s.Store.View(ctx, func(r store.Reader) error {
		if known, err := getRule(r, p); err == nil {
			v.resource = known.Tags
		} else if !awserr.Is(err, awserr.ResourceNotFound) {
			return err
		}
		return nil
	}); err != nil {
		return p, err
	}
	if err := s.authorize(ctx, call, ruleARN(p), &v); err != nil {
		return p, err
	}
	return p, checkBus(call, bus)
}

// read is the rule that a request is about.
func (s *Service) read(ctx context.Context, call *api.Call, name, bus *string) (found *rule, err error) {
	p, err := s.find(ctx, call, name, bus, values{})
	if err != nil {
		return nil, err
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		found, err = getRule(r, p)
		return err
	})
	return found, err
}

// change changes the rule that a request is about.
func (s *Service) change(ctx context.Context, call *api.Call, name, bus *string, v values, fn func(store.Tx, *rule) error) error {
	p, err := s.find(ctx, call, name, bus, v)
	if err != nil {
		return err
	}
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		r, err := getRule(tx, p)
		if err != nil {
			return err
		}
		return fn(tx, r)
	})
}

// PutRule makes a rule or replaces all of one but its targets and tags.
func (s *Service) PutRule(ctx context.Context, call *api.Call, in *sdk.PutRuleInput) (*sdk.PutRuleOutput, error) {
	p, err := s.find(ctx, call, in.Name, in.EventBusName, values{request: given(in.Tags)})
	if err != nil {
		return nil, err
	}
	if err := s.pass(ctx, call, in.RoleArn); err != nil {
		return nil, err
	}
	switch {
	case aws.ToString(in.ScheduleExpression) != "":
		return nil, invalid("ScheduleExpression is not supported here. Rules have an EventPattern.")
	case aws.ToString(in.EventPattern) == "":
		return nil, invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	if _, err := parsePattern(*in.EventPattern); err != nil {
		return nil, err
	}
	tags, err := addTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	out := &sdk.PutRuleOutput{RuleArn: aws.String(ruleARN(p))}
	call.Trail.Response = out
	return out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		r, err := getRule(tx, p)
		if awserr.Is(err, awserr.ResourceNotFound) {
			if n, err := tx.Count(ruleKind, p.Account, p.Region); err != nil {
				return err
			} else if n >= maxRules {
				return awserr.New(awserr.LimitExceeded, "The requested resource exceeds the maximum number allowed: %d rules.", maxRules)
			}
			r = &rule{place: p, ruleRecord: ruleRecord{Tags: tags, State: types.RuleStateDisabled}}
		} else if err != nil {
			return err
		}
		r.Pattern, r.Description, r.Role = *in.EventPattern, aws.ToString(in.Description), aws.ToString(in.RoleArn)
		s.setState(r, cmp.Or(in.State, types.RuleStateEnabled))
		return r.put(tx)
	})
}

// setState has an enabled rule begin with what is recorded from now on.
func (s *Service) setState(r *rule, state types.RuleState) {
	if !r.enabled() {
		r.From = s.Trail.LastSeq()
	}
	r.State = state
}

func parsePattern(text string) (*pattern.Pattern, error) {
	p, err := pattern.Parse(text)
	if err != nil {
		return nil, awserr.New(awserr.InvalidEventPattern, "Event pattern is not valid. Reason: %v.", err)
	}
	return p, nil
}

// EnableRule has a rule match what is recorded from now on.
func (s *Service) EnableRule(ctx context.Context, call *api.Call, in *sdk.EnableRuleInput) (*sdk.EnableRuleOutput, error) {
	return &sdk.EnableRuleOutput{}, s.change(ctx, call, in.Name, in.EventBusName, values{}, func(tx store.Tx, r *rule) error {
		if !r.enabled() {
			s.setState(r, types.RuleStateEnabled)
		}
		return r.put(tx)
	})
}

// DisableRule has a rule match nothing.
func (s *Service) DisableRule(ctx context.Context, call *api.Call, in *sdk.DisableRuleInput) (*sdk.DisableRuleOutput, error) {
	return &sdk.DisableRuleOutput{}, s.change(ctx, call, in.Name, in.EventBusName, values{}, func(tx store.Tx, r *rule) error {
		r.State = types.RuleStateDisabled
		return r.put(tx)
	})
}

// DeleteRule removes a rule that has no targets. One that is not there is no error.
func (s *Service) DeleteRule(ctx context.Context, call *api.Call, in *sdk.DeleteRuleInput) (*sdk.DeleteRuleOutput, error) {
	p, err := s.find(ctx, call, in.Name, in.EventBusName, values{})
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteRuleOutput{}, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		r, err := getRule(tx, p)
		if awserr.Is(err, awserr.ResourceNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(r.Targets) > 0 {
			return invalid("Rule can't be deleted since it has targets.")
		}
		return tx.Delete(p, r.revision)
	})
}

// DescribeRule shows a rule.
func (s *Service) DescribeRule(ctx context.Context, call *api.Call, in *sdk.DescribeRuleInput) (*sdk.DescribeRuleOutput, error) {
	r, err := s.read(ctx, call, in.Name, in.EventBusName)
	if err != nil {
		return nil, err
	}
	x := r.show()
	return &sdk.DescribeRuleOutput{Name: x.Name, Arn: x.Arn, EventPattern: x.EventPattern, State: x.State, Description: x.Description, RoleArn: x.RoleArn,
		EventBusName: x.EventBusName, CreatedBy: &r.place.Account}, nil
}

// show is a rule as lists have it.
func (r *rule) show() types.Rule {
	return types.Rule{Name: &r.place.ID, Arn: aws.String(ruleARN(r.place)), EventPattern: &r.Pattern, State: r.State, Description: optional(r.Description),
		RoleArn: optional(r.Role), EventBusName: aws.String(defaultBus)}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// page gives the rules of the caller's account and Region whose names begin with prefix to
// fn, after the one of the token, until there are limit of which fn says that they count.
func (s *Service) page(ctx context.Context, call *api.Call, bus *string, prefix string, token *string, limit *int32, fn func(*rule) bool) (next *string, err error) {
	if err := s.authorize(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	if err := checkBus(call, bus); err != nil {
		return nil, err
	}
	after, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	most, n, last := int(cmp.Or(aws.ToInt32(limit), mostItems)), 0, ""
	errFull := errors.New("full")
	err = s.Store.View(ctx, func(r store.Reader) error {
		return r.Scan(ruleKind, call.Caller.Account, call.Region, after, 0, func(rec store.Record) error {
			found, err := decodeRule(rec)
			if err != nil || !strings.HasPrefix(rec.ID, prefix) {
				return err
			}
			if n == most {
				next = api.Marker(last)
				return errFull
			}
			if fn(found) {
				n, last = n+1, rec.ID
			}
			return nil
		})
	})
	if errors.Is(err, errFull) {
		err = nil
	}
	return next, err
}

// parseToken reads a NextToken.
func parseToken(token *string) (after string, err error) {
	if token != nil {
		var ok bool
		if after, ok = api.ParseMarker(*token); !ok {
			return "", invalid("NextToken is not valid. Use that of the previous answer unchanged.")
		}
	}
	return after, nil
}

// ListRules lists rules by their names.
func (s *Service) ListRules(ctx context.Context, call *api.Call, in *sdk.ListRulesInput) (*sdk.ListRulesOutput, error) {
	out := &sdk.ListRulesOutput{Rules: []types.Rule{}}
	var err error
	out.NextToken, err = s.page(ctx, call, in.EventBusName, aws.ToString(in.NamePrefix), in.NextToken, in.Limit, func(r *rule) bool {
		out.Rules = append(out.Rules, r.show())
		return true
	})
	return out, err
}

// ListRuleNamesByTarget lists the rules that have a target.
func (s *Service) ListRuleNamesByTarget(ctx context.Context, call *api.Call, in *sdk.ListRuleNamesByTargetInput) (*sdk.ListRuleNamesByTargetOutput, error) {
	out := &sdk.ListRuleNamesByTargetOutput{RuleNames: []string{}}
	var err error
	out.NextToken, err = s.page(ctx, call, in.EventBusName, "", in.NextToken, in.Limit, func(r *rule) bool {
		has := slices.ContainsFunc(r.Targets, func(t types.Target) bool { return *t.Arn == *in.TargetArn })
		if has {
			out.RuleNames = append(out.RuleNames, r.place.ID)
		}
		return has
	})
	return out, err
}

// given are the tags of a request.
func given(in []types.Tag) (tags []api.Tag) {
	for _, t := range in {
		tags = append(tags, api.Tag{Key: *t.Key, Value: *t.Value})
	}
	return tags
}

// addTags is tags with those of a request.
func addTags(tags []api.Tag, in []types.Tag) ([]api.Tag, error) {
	tags = slices.Clone(tags)
	for _, g := range given(in) {
		if len(g.Key) >= 4 && strings.EqualFold(g.Key[:4], "aws:") {
			return nil, invalid("Tag keys that begin with aws: are AWS's.")
		}
		tags = append(slices.DeleteFunc(tags, func(t api.Tag) bool { return t.Key == g.Key }), g)
	}
	if len(tags) > maxTags {
		return nil, awserr.New(awserr.LimitExceeded, "A rule can have %d tags.", maxTags)
	}
	slices.SortFunc(tags, func(a, b api.Tag) int { return cmp.Compare(a.Key, b.Key) })
	return tags, nil
}

// named is the name of the rule whose ARN a request has.
func named(call *api.Call, arn *string) (*string, error) {
	p := store.Place{Account: call.Caller.Account, Region: call.Region}
	name, ok := strings.CutPrefix(*arn, ruleARN(p))
	if !ok || name == "" {
		return nil, awserr.New(awserr.ResourceNotFound, "There is no rule %s in this account and Region.", *arn)
	}
	return &name, nil
}

// TagResource tags a rule.
func (s *Service) TagResource(ctx context.Context, call *api.Call, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	name, err := named(call, in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return &sdk.TagResourceOutput{}, s.change(ctx, call, name, nil, values{request: given(in.Tags)}, func(tx store.Tx, r *rule) (err error) {
		if r.Tags, err = addTags(r.Tags, in.Tags); err != nil {
			return err
		}
		return r.put(tx)
	})
}

// UntagResource takes tags from a rule.
func (s *Service) UntagResource(ctx context.Context, call *api.Call, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	name, err := named(call, in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return &sdk.UntagResourceOutput{}, s.change(ctx, call, name, nil, values{removed: in.TagKeys}, func(tx store.Tx, r *rule) error {
		r.Tags = slices.DeleteFunc(r.Tags, func(t api.Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
		return r.put(tx)
	})
}

// ListTagsForResource lists the tags of a rule.
func (s *Service) ListTagsForResource(ctx context.Context, call *api.Call, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	name, err := named(call, in.ResourceARN)
	if err != nil {
		return nil, err
	}
	r, err := s.read(ctx, call, name, nil)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListTagsForResourceOutput{Tags: []types.Tag{}}
	for _, t := range r.Tags {
		out.Tags = append(out.Tags, types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
	}
	return out, nil
}
