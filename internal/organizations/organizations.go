// Package organizations owns the organization: its accounts, their places in it,
// and the service control policies that bear on them. It answers the AWS
// Organizations API.
//
// There is one organization, which comes into being with the first account, its
// management account. The Directory answers from memory what an account has from
// the organization; it promises that what a call of the API acknowledged, the
// next decision counts with. The Service is the API: all its changes go through
// Trail.Change, after authz.Check. The package knows nothing of keys, of HTTP or
// of SQL.
package organizations

import (
	"context"
	"errors"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// Config is what a Service needs.
type Config struct {
	Store     store.Store
	Trail     *audit.Trail
	Authorize authz.Decider
}

// Service answers the Organizations API. It is safe for concurrent use.
type Service struct{ Config }

// New makes a Service over what the store holds.
func New(cfg Config) *Service { return &Service{cfg} }

// Handlers are the operations that this version answers, by name.
func (s *Service) Handlers() map[string]api.Handler {
	return map[string]api.Handler{
		"AttachPolicy":                     api.Handle(s.AttachPolicy),
		"CloseAccount":                     api.Handle(s.CloseAccount),
		"CreateAccount":                    api.Handle(s.CreateAccount),
		"CreateOrganization":               api.Handle(s.CreateOrganization),
		"CreateOrganizationalUnit":         api.Handle(s.CreateOrganizationalUnit),
		"CreatePolicy":                     api.Handle(s.CreatePolicy),
		"DeleteOrganizationalUnit":         api.Handle(s.DeleteOrganizationalUnit),
		"DeletePolicy":                     api.Handle(s.DeletePolicy),
		"DescribeAccount":                  api.Handle(s.DescribeAccount),
		"DescribeCreateAccountStatus":      api.Handle(s.DescribeCreateAccountStatus),
		"DescribeOrganization":             api.Handle(s.DescribeOrganization),
		"DescribeOrganizationalUnit":       api.Handle(s.DescribeOrganizationalUnit),
		"DescribePolicy":                   api.Handle(s.DescribePolicy),
		"DetachPolicy":                     api.Handle(s.DetachPolicy),
		"DisablePolicyType":                api.Handle(s.DisablePolicyType),
		"EnablePolicyType":                 api.Handle(s.EnablePolicyType),
		"ListAccounts":                     api.Handle(s.ListAccounts),
		"ListAccountsForParent":            api.Handle(s.ListAccountsForParent),
		"ListChildren":                     api.Handle(s.ListChildren),
		"ListCreateAccountStatus":          api.Handle(s.ListCreateAccountStatus),
		"ListOrganizationalUnitsForParent": api.Handle(s.ListOrganizationalUnitsForParent),
		"ListParents":                      api.Handle(s.ListParents),
		"ListPolicies":                     api.Handle(s.ListPolicies),
		"ListPoliciesForTarget":            api.Handle(s.ListPoliciesForTarget),
		"ListRoots":                        api.Handle(s.ListRoots),
		"ListTagsForResource":              api.Handle(s.ListTagsForResource),
		"ListTargetsForPolicy":             api.Handle(s.ListTargetsForPolicy),
		"MoveAccount":                      api.Handle(s.MoveAccount),
		"TagResource":                      api.Handle(s.TagResource),
		"UntagResource":                    api.Handle(s.UntagResource),
		"UpdateOrganizationalUnit":         api.Handle(s.UpdateOrganizationalUnit),
		"UpdatePolicy":                     api.Handle(s.UpdatePolicy),
	}
}

// request is what a call asks for, as far as policies can speak of it.
type request struct {
	// ids name the resources: accounts, policies, organizational units, the root.
	// Without any the call is on "*".
	ids []string
	// tags are to be given to something new, which organizations:TagResource must
	// allow as well.
	tags   []api.Tag
	values values
}

// on is a request on resources.
func on(ids ...string) request { return request{ids: ids} }

// read authorizes a call and shows fn the organization.
func (s *Service) read(ctx context.Context, call *api.Call, req request, fn func(*tree) error) error {
	if err := s.admit(ctx, call, req); err != nil {
		return err
	}
	return s.view(ctx, fn)
}

func (s *Service) view(ctx context.Context, fn func(*tree) error) error {
	return s.Store.View(ctx, func(r store.Reader) error {
		t, err := openTree(r)
		if err != nil {
			return err
		}
		return fn(t)
	})
}

// change authorizes a call and makes its changes together with its audit record.
func (s *Service) change(ctx context.Context, call *api.Call, req request, fn func(*tree) error) error {
	if err := s.admit(ctx, call, req); err != nil {
		return err
	}
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		t, err := openTree(tx)
		if err != nil {
			return err
		}
		t.tx, t.now = tx, call.Time
		return fn(t)
	})
}

// admit asks for authorization on all resources, and keeps out all but the
// management account.
func (s *Service) admit(ctx context.Context, call *api.Call, req request) error {
	m, err := s.authorize(ctx, call, req)
	switch {
	case err != nil:
		return err
	case !m.member:
		return fail(awserr.AWSOrganizationsNotInUse)
	case !m.management:
		return awserr.New(awserr.AccessDenied, "You don't have permissions to access this resource.")
	}
	return nil
}

// standing is that of the caller's account in the organization.
type standing struct{ member, management bool }

// authorize asks for authorization on all resources of a request.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsorganizations.html
func (s *Service) authorize(ctx context.Context, call *api.Call, req request) (at standing, err error) {
	type resource struct {
		arn  string
		tags []api.Tag
	}
	resources := []resource{{arn: "*"}}
	err = s.view(ctx, func(t *tree) (err error) {
		if at.member, err = t.isMember(call.Caller.Account); err != nil {
			return err
		}
		at.management = call.Caller.Account == t.Management
		if !at.member || len(req.ids) == 0 {
			return nil
		}
		resources = resources[:0]
		for _, id := range req.ids {
			tags, err := t.tagsOf(id)
			if err != nil {
				return err
			}
			resources = append(resources, resource{t.arn(id), tags})
		}
		return nil
	})
	if err != nil {
		return at, err
	}
	check := func(operation, arn string, v values) error {
		return authz.Check(ctx, s.Authorize, call, &authz.Request{
			Action: "organizations:" + operation, Resource: arn, Account: call.Caller.Account, Values: &v})
	}
	v := req.values
	if len(req.tags) > 0 {
		v.request, v.keys = req.tags, tagKeys(req.tags)
		if err := check("TagResource", "*", v); err != nil {
			return at, err
		}
	}
	for _, r := range resources {
		v.resource = r.tags
		if err := check(call.Operation, r.arn, v); err != nil {
			return at, err
		}
	}
	return at, nil
}

// values are those of the condition keys of the Organizations API.
type values struct {
	policyType        string
	resource, request []api.Tag
	keys              []string // of tags, that the request names
}

// Value implements policy.Context.
func (v *values) Value(k *policy.ConditionKey) policy.Value {
	switch k.Name {
	case "organizations:policytype":
		return policy.OptionalText(v.policyType)
	case "aws:resourcetag":
		return authz.TagValue(v.resource, k.Parameter)
	case "aws:requesttag":
		return authz.TagValue(v.request, k.Parameter)
	case "aws:tagkeys":
		if len(v.keys) > 0 {
			return policy.Texts(v.keys)
		}
	}
	return policy.Absent
}

// messages are AWS's words for errors that say no more than their code.
var messages = map[string]string{
	awserr.AWSOrganizationsNotInUse:              "Your account is not a member of an organization.",
	awserr.AccountAlreadyClosed:                  "The provided account is already closed.",
	awserr.AccountNotFound:                       "You specified an account that doesn't exist.",
	awserr.AlreadyInOrganization:                 "The AWS account is already a member of an organization.",
	awserr.ChildNotFound:                         "You specified a child that doesn't exist.",
	awserr.CreateAccountStatusNotFound:           "You specified a create account request that doesn't exist.",
	awserr.DestinationParentNotFound:             "You specified a destination parent that doesn't exist.",
	awserr.DuplicateAccount:                      "That account is already present in the specified destination.",
	awserr.DuplicateOrganizationalUnit:           "An OU with the same name already exists.",
	awserr.DuplicatePolicy:                       "A policy with the same name already exists.",
	awserr.DuplicatePolicyAttachment:             "The selected policy is already attached to the specified target.",
	awserr.OrganizationalUnitNotEmpty:            "The specified OU is not empty. Move all accounts to another root or to other OUs, remove all child OUs, and try the operation again.",
	awserr.OrganizationalUnitNotFound:            "You specified an organizational unit that doesn't exist.",
	awserr.ParentNotFound:                        "You specified parent that doesn't exist.",
	awserr.PolicyInUse:                           "The policy is attached to one or more entities. You must detach it from all roots, OUs, and accounts before performing this operation.",
	awserr.PolicyNotAttached:                     "The policy isn't attached to the specified target in the specified root.",
	awserr.PolicyNotFound:                        "You specified a policy that doesn't exist.",
	awserr.PolicyTypeAlreadyEnabled:              "The specified policy type is already enabled.",
	awserr.PolicyTypeNotAvailableForOrganization: "You can't use the specified policy type with the feature set currently enabled for this organization. Use SERVICE_CONTROL_POLICY.",
	awserr.PolicyTypeNotEnabled:                  "This operation can be performed only for enabled policy types.",
	awserr.RootNotFound:                          "You specified a root that doesn't exist.",
	awserr.SourceParentNotFound:                  "You specified a source parent that doesn't exist.",
	awserr.TargetNotFound:                        "You specified a target that doesn't exist.",
}

// fail is an error of a code in messages.
func fail(code string) error { return awserr.New(code, "%s", messages[code]) }

// invalid is an InvalidInputException, violation a ConstraintViolationException.
func invalid(reason, message string) error {
	return awserr.New(awserr.InvalidInput, "%s", message).With(reason)
}

func violation(reason, message string) error {
	return awserr.New(awserr.ConstraintViolation, "%s", message).With(reason)
}

// orFail is err, or an error of the code if something was not found.
func orFail(err error, code string) error {
	if errors.Is(err, store.ErrNotFound) {
		return fail(code)
	}
	return err
}
