package organizations

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// Quotas of policies.
// https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html
const (
	maxContent           = 5120 // characters, white space included
	maxPolicies          = 1000
	maxPoliciesPerTarget = 5
)

// controlPolicy is the one type of policy that is here.
const controlPolicy = types.PolicyTypeServiceControlPolicy

// policyARNType is that type in ARNs.
const policyARNType = "service_control_policy"

// onPolicy is a request on a policy, and what it is to be attached to.
func onPolicy(ids ...string) request { return ofType(controlPolicy, ids...) }

// ofType is a request that is about a type of policies.
func ofType(t types.PolicyType, ids ...string) request {
	return request{ids: ids, values: values{policyType: string(t)}}
}

// scp is a service control policy at one moment.
type scp struct {
	policyRecord
	id       string
	revision uint64
}

// policyRecord is a policy as the store keeps it.
type policyRecord struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Content     string    `json:"content"` // as given
	Created     time.Time `json:"created"`
	Tags        []api.Tag `json:"tags,omitempty"` // by key
}

// fullAccess is the policy of AWS that everything has when policies are enabled.
var fullAccess = &scp{id: "p-FullAWSAccess", policyRecord: policyRecord{
	Name: "FullAWSAccess", Description: "Allows access to every operation",
	Content: `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "*",
      "Resource": "*"
    }
  ]
}`}}

func isPolicy(id string) bool { return strings.HasPrefix(id, "p-") }

func policyPlace(id string) store.Place { return store.Place{Kind: policyStore, ID: id} }

func policyNameValue(name string) string { return string(controlPolicy) + "/" + name }

func decodePolicy(rec store.Record) (*scp, error) {
	p := &scp{id: rec.ID, revision: rec.Revision}
	return p, decode(rec, &p.policyRecord)
}

// policy is the policy of an id, that of AWS included, or PolicyNotFound.
func (t *tree) policy(id string) (*scp, error) {
	if id == fullAccess.id {
		return fullAccess, nil
	}
	rec, err := t.r.Get(policyPlace(id))
	if err != nil {
		return nil, orFail(err, awserr.PolicyNotFound)
	}
	return decodePolicy(rec)
}

func (t *tree) writePolicy(p *scp) (err error) {
	p.revision, err = t.put(policyPlace(p.id), &p.policyRecord, p.revision, store.IndexEntry{Name: nameIndex, Value: policyNameValue(p.Name)})
	return err
}

// checkPolicyName refuses the name of another policy.
func (t *tree) checkPolicyName(name string) error {
	taken, err := t.any(policyStore, nameIndex, policyNameValue(name))
	if err == nil && (taken || name == fullAccess.Name) {
		err = fail(awserr.DuplicatePolicy)
	}
	return err
}

// checkContent refuses what cannot be a service control policy.
// https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_syntax.html
func checkContent(content string) error {
	if utf8.RuneCountInString(content) > maxContent {
		return violation("POLICY_CONTENT_LIMIT_EXCEEDED", "The policy document is larger than the maximum size of 5120 characters.")
	}
	if _, err := policy.Parse(policy.Identity, "service control policy", content); err != nil {
		return awserr.New(awserr.MalformedPolicyDocument, "%s", "The provided policy document does not meet the requirements of the specified policy type: "+err.Error())
	}
	return nil
}

func (t *tree) summary(p *scp) types.PolicySummary {
	return types.PolicySummary{
		Id: aws.String(p.id), Arn: aws.String(t.arn(p.id)), Name: aws.String(p.Name), Description: aws.String(p.Description),
		Type: controlPolicy, AwsManaged: p == fullAccess,
	}
}

func (t *tree) whole(p *scp) *types.Policy {
	summary := t.summary(p)
	return &types.Policy{PolicySummary: &summary, Content: aws.String(p.Content)}
}

// CreatePolicy makes a service control policy, attached to nothing.
func (s *Service) CreatePolicy(ctx context.Context, call *api.Call, in *sdk.CreatePolicyInput) (*sdk.CreatePolicyOutput, error) {
	tags, err := newTags(in.Tags)
	if err == nil {
		err = checkName(in.Name)
	}
	if err != nil {
		return nil, err
	}
	req := ofType(in.Type)
	req.tags = tags
	out := &sdk.CreatePolicyOutput{}
	return out, s.change(ctx, call, req, func(t *tree) error {
		if in.Type != controlPolicy {
			return fail(awserr.PolicyTypeNotAvailableForOrganization)
		}
		if err := checkContent(*in.Content); err != nil {
			return err
		}
		if err := t.checkPolicyName(*in.Name); err != nil {
			return err
		}
		if n, err := t.r.Count(policyStore, "", ""); err != nil {
			return err
		} else if n >= maxPolicies {
			return violation("POLICY_NUMBER_LIMIT_EXCEEDED", "You have exceeded the number of policies that you can have in an organization.")
		}
		p := &scp{id: newID("p-", 10), policyRecord: policyRecord{
			Name: *in.Name, Description: *in.Description, Content: *in.Content, Created: t.now, Tags: tags,
		}}
		out.Policy = t.whole(p)
		call.Trail.Response = out
		return t.writePolicy(p)
	})
}

// DescribePolicy shows a policy with its document, byte for byte as it was given.
func (s *Service) DescribePolicy(ctx context.Context, call *api.Call, in *sdk.DescribePolicyInput) (*sdk.DescribePolicyOutput, error) {
	out := &sdk.DescribePolicyOutput{}
	return out, s.read(ctx, call, onPolicy(*in.PolicyId), func(t *tree) error {
		p, err := t.policy(*in.PolicyId)
		if err == nil {
			out.Policy = t.whole(p)
		}
		return err
	})
}

// ownPolicy is the policy of an id that can be changed.
func (t *tree) ownPolicy(id string) (*scp, error) {
	if id == fullAccess.id {
		return nil, invalid("IMMUTABLE_POLICY", "You specified a policy that is managed by AWS and can't be modified.")
	}
	return t.policy(id)
}

// UpdatePolicy changes what is given of a policy. The document bears on the very
// next call.
func (s *Service) UpdatePolicy(ctx context.Context, call *api.Call, in *sdk.UpdatePolicyInput) (*sdk.UpdatePolicyOutput, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	out := &sdk.UpdatePolicyOutput{}
	return out, s.change(ctx, call, onPolicy(*in.PolicyId), func(t *tree) error {
		p, err := t.ownPolicy(*in.PolicyId)
		if err != nil {
			return err
		}
		if in.Content != nil {
			if err := checkContent(*in.Content); err != nil {
				return err
			}
			p.Content = *in.Content
		}
		if in.Name != nil && *in.Name != p.Name {
			if err := t.checkPolicyName(*in.Name); err != nil {
				return err
			}
			p.Name = *in.Name
		}
		if in.Description != nil {
			p.Description = *in.Description
		}
		out.Policy = t.whole(p)
		call.Trail.Response = out
		return t.writePolicy(p)
	})
}

// DeletePolicy removes a policy that is attached to nothing.
func (s *Service) DeletePolicy(ctx context.Context, call *api.Call, in *sdk.DeletePolicyInput) (*sdk.DeletePolicyOutput, error) {
	return &sdk.DeletePolicyOutput{}, s.change(ctx, call, onPolicy(*in.PolicyId), func(t *tree) error {
		p, err := t.ownPolicy(*in.PolicyId)
		if err != nil {
			return err
		}
		for _, kind := range targetStores {
			if used, err := t.any(kind, policyIndex, p.id); err != nil {
				return err
			} else if used {
				return fail(awserr.PolicyInUse)
			}
		}
		return t.tx.Delete(policyPlace(p.id), p.revision)
	})
}

// targetStores are the kinds of records of what can have policies.
var targetStores = []string{unitStore, accountStore}

// ListPolicies lists the policies of a type, that of AWS first.
func (s *Service) ListPolicies(ctx context.Context, call *api.Call, in *sdk.ListPoliciesInput) (*sdk.ListPoliciesOutput, error) {
	pg, err := newPage[types.PolicySummary](in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, ofType(in.Filter), func(t *tree) error {
		if in.Filter != controlPolicy {
			return nil
		}
		after := pg.after
		switch after {
		case "":
			if err := pg.add(fullAccess.id, t.summary(fullAccess)); err != nil {
				return err
			}
		case fullAccess.id:
			after = ""
		}
		return t.r.Scan(policyStore, "", "", after, 0, func(rec store.Record) error {
			p, err := decodePolicy(rec)
			if err != nil {
				return err
			}
			return pg.add(p.id, t.summary(p))
		})
	})
	return &sdk.ListPoliciesOutput{Policies: pg.items, NextToken: pg.next()}, ended(err)
}

// target is what a policy can be attached to.
func (t *tree) target(id string) (*element, error) {
	return t.find(id, awserr.TargetNotFound, rootKind, unitKind, accountKind)
}

// changeAttachment is the common part of AttachPolicy and DetachPolicy.
func (s *Service) changeAttachment(ctx context.Context, call *api.Call, policyID, targetID string, fn func(*tree, *element) error) error {
	return s.change(ctx, call, onPolicy(policyID, targetID), func(t *tree) error {
		if _, err := t.policy(policyID); err != nil {
			return err
		}
		e, err := t.target(targetID)
		if err != nil {
			return err
		}
		if err := fn(t, e); err != nil {
			return err
		}
		return t.writeElement(e)
	})
}

// AttachPolicy has a policy bear on an account, or on all accounts below an
// organizational unit or the root, from the very next call on.
func (s *Service) AttachPolicy(ctx context.Context, call *api.Call, in *sdk.AttachPolicyInput) (*sdk.AttachPolicyOutput, error) {
	return &sdk.AttachPolicyOutput{}, s.changeAttachment(ctx, call, *in.PolicyId, *in.TargetId, func(t *tree, e *element) error {
		switch {
		case !t.Control:
			return fail(awserr.PolicyTypeNotEnabled)
		case slices.Contains(e.Policies, *in.PolicyId):
			return fail(awserr.DuplicatePolicyAttachment)
		case len(e.Policies) >= maxPoliciesPerTarget:
			return violation("MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED", "You have attached the maximum number of policies to the specified target.")
		}
		e.Policies = append(e.Policies, *in.PolicyId)
		return nil
	})
}

// DetachPolicy undoes AttachPolicy. One policy always stays.
func (s *Service) DetachPolicy(ctx context.Context, call *api.Call, in *sdk.DetachPolicyInput) (*sdk.DetachPolicyOutput, error) {
	return &sdk.DetachPolicyOutput{}, s.changeAttachment(ctx, call, *in.PolicyId, *in.TargetId, func(t *tree, e *element) error {
		i := slices.Index(e.Policies, *in.PolicyId)
		switch {
		case i < 0:
			return fail(awserr.PolicyNotAttached)
		case len(e.Policies) == 1:
			return violation("MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED",
				"You cannot remove the last policy attached to the specified target. You must have at least one attached at all times.")
		}
		e.Policies = slices.Delete(e.Policies, i, i+1)
		return nil
	})
}

// ListPoliciesForTarget lists the policies that are attached to one thing itself.
func (s *Service) ListPoliciesForTarget(ctx context.Context, call *api.Call, in *sdk.ListPoliciesForTargetInput) (*sdk.ListPoliciesForTargetOutput, error) {
	pg, err := newPage[types.PolicySummary](in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, ofType(in.Filter, *in.TargetId), func(t *tree) error {
		e, err := t.target(*in.TargetId)
		if err != nil || in.Filter != controlPolicy {
			return err
		}
		for _, id := range slices.Sorted(slices.Values(e.Policies)) {
			if id <= pg.after {
				continue
			}
			p, err := t.policy(id)
			if err != nil {
				return err
			}
			if err := pg.add(id, t.summary(p)); err != nil {
				return err
			}
		}
		return nil
	})
	return &sdk.ListPoliciesForTargetOutput{Policies: pg.items, NextToken: pg.next()}, ended(err)
}

// ListTargetsForPolicy lists what a policy is attached to: organizational units
// and the root, then accounts.
func (s *Service) ListTargetsForPolicy(ctx context.Context, call *api.Call, in *sdk.ListTargetsForPolicyInput) (*sdk.ListTargetsForPolicyOutput, error) {
	pg, err := newPage[types.PolicyTargetSummary](in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, onPolicy(*in.PolicyId), func(t *tree) error {
		if _, err := t.policy(*in.PolicyId); err != nil {
			return err
		}
		after := pg.after
		for _, kind := range targetStores {
			if after != "" && kindOf(after).store != kind {
				continue // an earlier page had those
			}
			err := t.each(kind, policyIndex, *in.PolicyId, after, func(e *element) error {
				return pg.add(e.id, types.PolicyTargetSummary{
					TargetId: aws.String(e.id), Arn: aws.String(t.arn(e.id)), Name: aws.String(e.Name), Type: types.TargetType(e.kind.word)})
			})
			if err != nil {
				return err
			}
			after = ""
		}
		return nil
	})
	return &sdk.ListTargetsForPolicyOutput{Targets: pg.items, NextToken: pg.next()}, ended(err)
}

// EnablePolicyType has service control policies bear on the accounts. Everything
// begins with FullAWSAccess.
func (s *Service) EnablePolicyType(ctx context.Context, call *api.Call, in *sdk.EnablePolicyTypeInput) (*sdk.EnablePolicyTypeOutput, error) {
	root, err := s.switchPolicies(ctx, call, *in.RootId, in.PolicyType, true)
	return &sdk.EnablePolicyTypeOutput{Root: root}, err
}

// DisablePolicyType detaches all service control policies.
func (s *Service) DisablePolicyType(ctx context.Context, call *api.Call, in *sdk.DisablePolicyTypeInput) (*sdk.DisablePolicyTypeOutput, error) {
	root, err := s.switchPolicies(ctx, call, *in.RootId, in.PolicyType, false)
	return &sdk.DisablePolicyTypeOutput{Root: root}, err
}

func (s *Service) switchPolicies(ctx context.Context, call *api.Call, rootID string, of types.PolicyType, enable bool) (root *types.Root, err error) {
	err = s.change(ctx, call, ofType(of, rootID), func(t *tree) error {
		e, err := t.find(rootID, awserr.RootNotFound, rootKind)
		switch {
		case err != nil:
			return err
		case enable && of != controlPolicy:
			return fail(awserr.PolicyTypeNotAvailableForOrganization)
		case enable && t.Control:
			return fail(awserr.PolicyTypeAlreadyEnabled)
		case !enable && (of != controlPolicy || !t.Control):
			return fail(awserr.PolicyTypeNotEnabled)
		}
		t.Control = enable
		if err := t.write(); err != nil {
			return err
		}
		var policies []string
		if enable {
			policies = []string{fullAccess.id}
		}
		for _, kind := range targetStores {
			err := t.r.Scan(kind, "", "", "", 0, func(rec store.Record) error {
				e, err := decodeElement(rec)
				if err != nil {
					return err
				}
				e.Policies = policies
				return t.writeElement(e)
			})
			if err != nil {
				return err
			}
		}
		root = t.root(e)
		if enable {
			call.Trail.Response = &sdk.EnablePolicyTypeOutput{Root: root}
		} else {
			call.Trail.Response = &sdk.DisablePolicyTypeOutput{Root: root}
		}
		return nil
	})
	return root, err
}
