package iam

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// maxAttached is how many managed policies an entity can have.
const maxAttached = 10

// putInline gives an entity an inline policy, in place of the one of that name.
func (s *Service) putInline(ctx context.Context, call *api.Call, k *entityKind, name, policyName, text string) error {
	return s.update(ctx, call, k, name, values{}, func(e *entity, _ store.Tx) error {
		if _, err := parse(policy.Identity, text); err != nil {
			return err
		}
		if e.Service != "" {
			return unmodifiable(e)
		}
		i, found := slices.BinarySearchFunc(e.Inline, policyName, func(p inline, name string) int { return strings.Compare(p.Name, name) })
		if found {
			e.Inline[i].Text = text
		} else {
			e.Inline = slices.Insert(e.Inline, i, inline{policyName, text})
		}
		total := 0
		for _, p := range e.Inline {
			total += size(p.Text)
		}
		if total > k.inline {
			return awserr.New(awserr.LimitExceeded, "Maximum policy size of %d bytes exceeded for %s %s", k.inline, k.word, e.Name)
		}
		return nil
	})
}

// findInline is the index of an inline policy of an entity.
func (e *entity) findInline(policyName string) (int, error) {
	i := slices.IndexFunc(e.Inline, func(p inline) bool { return p.Name == policyName })
	if i < 0 {
		return i, notFound(store.ErrNotFound, "The %s policy with name %s cannot be found.", e.kind.word, policyName)
	}
	return i, nil
}

// getInline is an inline policy as answers have it, with the entity.
func (s *Service) getInline(ctx context.Context, call *api.Call, k *entityKind, name, policyName string) (e *entity, document *string, err error) {
	if e, err = s.entity(ctx, call, k, name, values{}); err != nil {
		return nil, nil, err
	}
	i, err := e.findInline(policyName)
	if err != nil {
		return nil, nil, err
	}
	return e, encode(e.Inline[i].Text), nil
}

func (s *Service) deleteInline(ctx context.Context, call *api.Call, k *entityKind, name, policyName string) error {
	return s.update(ctx, call, k, name, values{}, func(e *entity, _ store.Tx) error {
		i, err := e.findInline(policyName)
		if err == nil {
			e.Inline = slices.Delete(e.Inline, i, i+1)
		}
		return err
	})
}

func (s *Service) listInline(ctx context.Context, call *api.Call, k *entityKind, name string, marker *string, items *int32) (names []string, truncated bool, next *string, err error) {
	e, err := s.entity(ctx, call, k, name, values{})
	if err != nil {
		return nil, false, nil, err
	}
	pg, err := newPage(marker, items)
	if err != nil {
		return nil, false, nil, err
	}
	var all []string
	for _, p := range e.Inline {
		all = append(all, p.Name)
	}
	names = list(pg, all)
	truncated, next = pg.next()
	return names, truncated, next, nil
}

// attach gives an entity a managed policy.
func (s *Service) attach(ctx context.Context, call *api.Call, k *entityKind, name, arn string) error {
	return s.update(ctx, call, k, name, values{policy: arn}, func(e *entity, tx store.Tx) error {
		m, err := findManaged(tx, e.account, arn)
		if err != nil {
			return notFound(err, "Policy %s does not exist or is not attachable.", arn)
		}
		switch {
		case e.Service != "":
			return unmodifiable(e)
		case m.Path == servicePath:
			return awserr.New(awserr.PolicyNotAttachable, "Cannot attach a Service Role Policy to a Customer %s.", k.title)
		case slices.Contains(e.Attached, arn):
			return nil
		case len(e.Attached) >= maxAttached:
			return quota("PoliciesPer"+k.title, maxAttached)
		}
		e.Attached = append(e.Attached, arn)
		return nil
	})
}

// detach takes a managed policy from an entity.
func (s *Service) detach(ctx context.Context, call *api.Call, k *entityKind, name, arn string) error {
	return s.update(ctx, call, k, name, values{policy: arn}, func(e *entity, _ store.Tx) error {
		if e.Service != "" {
			return unmodifiable(e)
		}
		if !slices.Contains(e.Attached, arn) {
			return notFound(store.ErrNotFound, "Policy %s was not found.", arn)
		}
		e.Attached = slices.DeleteFunc(e.Attached, func(a string) bool { return a == arn })
		return nil
	})
}

func (s *Service) listAttached(ctx context.Context, call *api.Call, k *entityKind, name string, prefix, marker *string, items *int32) (out []types.AttachedPolicy, truncated bool, next *string, err error) {
	e, err := s.entity(ctx, call, k, name, values{})
	if err != nil {
		return nil, false, nil, err
	}
	pg, err := newPage(marker, items)
	if err != nil {
		return nil, false, nil, err
	}
	out = []types.AttachedPolicy{}
	below := slices.DeleteFunc(slices.Clone(e.Attached), func(arn string) bool {
		a, _ := parseARN(arn)
		return !strings.HasPrefix(a.path, path(prefix))
	})
	for _, arn := range list(pg, below) {
		out = append(out, types.AttachedPolicy{PolicyArn: aws.String(arn), PolicyName: aws.String(policyName(arn))})
	}
	truncated, next = pg.next()
	return out, truncated, next, nil
}

// bound gives an entity a permissions boundary, or takes it away if arn is empty.
func (s *Service) bound(ctx context.Context, call *api.Call, k *entityKind, name, arn string) error {
	return s.update(ctx, call, k, name, values{boundary: arn}, func(e *entity, tx store.Tx) error {
		switch {
		case e.Service != "":
			return unmodifiable(e)
		case arn != "":
			return e.setBoundary(tx, arn)
		case e.Boundary == "":
			return notFound(store.ErrNotFound, "%s %s does not have a permission boundary.", k.title, name)
		}
		e.Boundary = ""
		return nil
	})
}

func (s *Service) tag(ctx context.Context, call *api.Call, k *entityKind, name string, tags []types.Tag) error {
	return s.update(ctx, call, k, name, values{given: tags}, func(e *entity, _ store.Tx) (err error) {
		e.Tags, err = mergeTagsBy(fold, e.Tags, tags)
		return err
	})
}

func (s *Service) untag(ctx context.Context, call *api.Call, k *entityKind, name string, keys []string) error {
	return s.update(ctx, call, k, name, values{givenKeys: keys}, func(e *entity, _ store.Tx) error {
		e.Tags = removeTagsBy(fold, e.Tags, keys)
		return nil
	})
}

// What follows are the operations that are the same for users, groups and roles.

// PutUserPolicy gives a user an inline policy.
func (s *Service) PutUserPolicy(ctx context.Context, call *api.Call, in *sdk.PutUserPolicyInput) (*sdk.PutUserPolicyOutput, error) {
	return &sdk.PutUserPolicyOutput{}, s.putInline(ctx, call, userKind, *in.UserName, *in.PolicyName, *in.PolicyDocument)
}

// PutGroupPolicy gives a group an inline policy.
func (s *Service) PutGroupPolicy(ctx context.Context, call *api.Call, in *sdk.PutGroupPolicyInput) (*sdk.PutGroupPolicyOutput, error) {
	return &sdk.PutGroupPolicyOutput{}, s.putInline(ctx, call, groupKind, *in.GroupName, *in.PolicyName, *in.PolicyDocument)
}

// PutRolePolicy gives a role an inline policy.
func (s *Service) PutRolePolicy(ctx context.Context, call *api.Call, in *sdk.PutRolePolicyInput) (*sdk.PutRolePolicyOutput, error) {
	return &sdk.PutRolePolicyOutput{}, s.putInline(ctx, call, roleKind, *in.RoleName, *in.PolicyName, *in.PolicyDocument)
}

// GetUserPolicy is an inline policy of a user.
func (s *Service) GetUserPolicy(ctx context.Context, call *api.Call, in *sdk.GetUserPolicyInput) (*sdk.GetUserPolicyOutput, error) {
	e, doc, err := s.getInline(ctx, call, userKind, *in.UserName, *in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &sdk.GetUserPolicyOutput{UserName: &e.Name, PolicyName: in.PolicyName, PolicyDocument: doc}, nil
}

// GetGroupPolicy is an inline policy of a group.
func (s *Service) GetGroupPolicy(ctx context.Context, call *api.Call, in *sdk.GetGroupPolicyInput) (*sdk.GetGroupPolicyOutput, error) {
	e, doc, err := s.getInline(ctx, call, groupKind, *in.GroupName, *in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &sdk.GetGroupPolicyOutput{GroupName: &e.Name, PolicyName: in.PolicyName, PolicyDocument: doc}, nil
}

// GetRolePolicy is an inline policy of a role.
func (s *Service) GetRolePolicy(ctx context.Context, call *api.Call, in *sdk.GetRolePolicyInput) (*sdk.GetRolePolicyOutput, error) {
	e, doc, err := s.getInline(ctx, call, roleKind, *in.RoleName, *in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &sdk.GetRolePolicyOutput{RoleName: &e.Name, PolicyName: in.PolicyName, PolicyDocument: doc}, nil
}

// DeleteUserPolicy deletes an inline policy of a user.
func (s *Service) DeleteUserPolicy(ctx context.Context, call *api.Call, in *sdk.DeleteUserPolicyInput) (*sdk.DeleteUserPolicyOutput, error) {
	return &sdk.DeleteUserPolicyOutput{}, s.deleteInline(ctx, call, userKind, *in.UserName, *in.PolicyName)
}

// DeleteGroupPolicy deletes an inline policy of a group.
func (s *Service) DeleteGroupPolicy(ctx context.Context, call *api.Call, in *sdk.DeleteGroupPolicyInput) (*sdk.DeleteGroupPolicyOutput, error) {
	return &sdk.DeleteGroupPolicyOutput{}, s.deleteInline(ctx, call, groupKind, *in.GroupName, *in.PolicyName)
}

// DeleteRolePolicy deletes an inline policy of a role.
func (s *Service) DeleteRolePolicy(ctx context.Context, call *api.Call, in *sdk.DeleteRolePolicyInput) (*sdk.DeleteRolePolicyOutput, error) {
	return &sdk.DeleteRolePolicyOutput{}, s.deleteInline(ctx, call, roleKind, *in.RoleName, *in.PolicyName)
}

// ListUserPolicies lists the inline policies of a user.
func (s *Service) ListUserPolicies(ctx context.Context, call *api.Call, in *sdk.ListUserPoliciesInput) (out *sdk.ListUserPoliciesOutput, err error) {
	out = new(sdk.ListUserPoliciesOutput)
	out.PolicyNames, out.IsTruncated, out.Marker, err = s.listInline(ctx, call, userKind, *in.UserName, in.Marker, in.MaxItems)
	return out, err
}

// ListGroupPolicies lists the inline policies of a group.
func (s *Service) ListGroupPolicies(ctx context.Context, call *api.Call, in *sdk.ListGroupPoliciesInput) (out *sdk.ListGroupPoliciesOutput, err error) {
	out = new(sdk.ListGroupPoliciesOutput)
	out.PolicyNames, out.IsTruncated, out.Marker, err = s.listInline(ctx, call, groupKind, *in.GroupName, in.Marker, in.MaxItems)
	return out, err
}

// ListRolePolicies lists the inline policies of a role.
func (s *Service) ListRolePolicies(ctx context.Context, call *api.Call, in *sdk.ListRolePoliciesInput) (out *sdk.ListRolePoliciesOutput, err error) {
	out = new(sdk.ListRolePoliciesOutput)
	out.PolicyNames, out.IsTruncated, out.Marker, err = s.listInline(ctx, call, roleKind, *in.RoleName, in.Marker, in.MaxItems)
	return out, err
}

// AttachUserPolicy gives a user a managed policy.
func (s *Service) AttachUserPolicy(ctx context.Context, call *api.Call, in *sdk.AttachUserPolicyInput) (*sdk.AttachUserPolicyOutput, error) {
	return &sdk.AttachUserPolicyOutput{}, s.attach(ctx, call, userKind, *in.UserName, *in.PolicyArn)
}

// AttachGroupPolicy gives a group a managed policy.
func (s *Service) AttachGroupPolicy(ctx context.Context, call *api.Call, in *sdk.AttachGroupPolicyInput) (*sdk.AttachGroupPolicyOutput, error) {
	return &sdk.AttachGroupPolicyOutput{}, s.attach(ctx, call, groupKind, *in.GroupName, *in.PolicyArn)
}

// AttachRolePolicy gives a role a managed policy.
func (s *Service) AttachRolePolicy(ctx context.Context, call *api.Call, in *sdk.AttachRolePolicyInput) (*sdk.AttachRolePolicyOutput, error) {
	return &sdk.AttachRolePolicyOutput{}, s.attach(ctx, call, roleKind, *in.RoleName, *in.PolicyArn)
}

// DetachUserPolicy takes a managed policy from a user.
func (s *Service) DetachUserPolicy(ctx context.Context, call *api.Call, in *sdk.DetachUserPolicyInput) (*sdk.DetachUserPolicyOutput, error) {
	return &sdk.DetachUserPolicyOutput{}, s.detach(ctx, call, userKind, *in.UserName, *in.PolicyArn)
}

// DetachGroupPolicy takes a managed policy from a group.
func (s *Service) DetachGroupPolicy(ctx context.Context, call *api.Call, in *sdk.DetachGroupPolicyInput) (*sdk.DetachGroupPolicyOutput, error) {
	return &sdk.DetachGroupPolicyOutput{}, s.detach(ctx, call, groupKind, *in.GroupName, *in.PolicyArn)
}

// DetachRolePolicy takes a managed policy from a role.
func (s *Service) DetachRolePolicy(ctx context.Context, call *api.Call, in *sdk.DetachRolePolicyInput) (*sdk.DetachRolePolicyOutput, error) {
	return &sdk.DetachRolePolicyOutput{}, s.detach(ctx, call, roleKind, *in.RoleName, *in.PolicyArn)
}

// ListAttachedUserPolicies lists the managed policies of a user.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, call *api.Call, in *sdk.ListAttachedUserPoliciesInput) (out *sdk.ListAttachedUserPoliciesOutput, err error) {
	out = new(sdk.ListAttachedUserPoliciesOutput)
	out.AttachedPolicies, out.IsTruncated, out.Marker, err = s.listAttached(ctx, call, userKind, *in.UserName, in.PathPrefix, in.Marker, in.MaxItems)
	return out, err
}

// ListAttachedGroupPolicies lists the managed policies of a group.
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, call *api.Call, in *sdk.ListAttachedGroupPoliciesInput) (out *sdk.ListAttachedGroupPoliciesOutput, err error) {
	out = new(sdk.ListAttachedGroupPoliciesOutput)
	out.AttachedPolicies, out.IsTruncated, out.Marker, err = s.listAttached(ctx, call, groupKind, *in.GroupName, in.PathPrefix, in.Marker, in.MaxItems)
	return out, err
}

// ListAttachedRolePolicies lists the managed policies of a role.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, call *api.Call, in *sdk.ListAttachedRolePoliciesInput) (out *sdk.ListAttachedRolePoliciesOutput, err error) {
	out = new(sdk.ListAttachedRolePoliciesOutput)
	out.AttachedPolicies, out.IsTruncated, out.Marker, err = s.listAttached(ctx, call, roleKind, *in.RoleName, in.PathPrefix, in.Marker, in.MaxItems)
	return out, err
}

// PutUserPermissionsBoundary caps what the policies of a user can give.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, call *api.Call, in *sdk.PutUserPermissionsBoundaryInput) (*sdk.PutUserPermissionsBoundaryOutput, error) {
	return &sdk.PutUserPermissionsBoundaryOutput{}, s.bound(ctx, call, userKind, *in.UserName, *in.PermissionsBoundary)
}

// PutRolePermissionsBoundary caps what the policies of a role can give.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, call *api.Call, in *sdk.PutRolePermissionsBoundaryInput) (*sdk.PutRolePermissionsBoundaryOutput, error) {
	return &sdk.PutRolePermissionsBoundaryOutput{}, s.bound(ctx, call, roleKind, *in.RoleName, *in.PermissionsBoundary)
}

// DeleteUserPermissionsBoundary takes the permissions boundary from a user.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, call *api.Call, in *sdk.DeleteUserPermissionsBoundaryInput) (*sdk.DeleteUserPermissionsBoundaryOutput, error) {
	return &sdk.DeleteUserPermissionsBoundaryOutput{}, s.bound(ctx, call, userKind, *in.UserName, "")
}

// DeleteRolePermissionsBoundary takes the permissions boundary from a role.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, call *api.Call, in *sdk.DeleteRolePermissionsBoundaryInput) (*sdk.DeleteRolePermissionsBoundaryOutput, error) {
	return &sdk.DeleteRolePermissionsBoundaryOutput{}, s.bound(ctx, call, roleKind, *in.RoleName, "")
}

// TagUser adds tags to a user.
func (s *Service) TagUser(ctx context.Context, call *api.Call, in *sdk.TagUserInput) (*sdk.TagUserOutput, error) {
	return &sdk.TagUserOutput{}, s.tag(ctx, call, userKind, *in.UserName, in.Tags)
}

// TagRole adds tags to a role.
func (s *Service) TagRole(ctx context.Context, call *api.Call, in *sdk.TagRoleInput) (*sdk.TagRoleOutput, error) {
	return &sdk.TagRoleOutput{}, s.tag(ctx, call, roleKind, *in.RoleName, in.Tags)
}

// UntagUser removes tags from a user.
func (s *Service) UntagUser(ctx context.Context, call *api.Call, in *sdk.UntagUserInput) (*sdk.UntagUserOutput, error) {
	return &sdk.UntagUserOutput{}, s.untag(ctx, call, userKind, *in.UserName, in.TagKeys)
}

// UntagRole removes tags from a role.
func (s *Service) UntagRole(ctx context.Context, call *api.Call, in *sdk.UntagRoleInput) (*sdk.UntagRoleOutput, error) {
	return &sdk.UntagRoleOutput{}, s.untag(ctx, call, roleKind, *in.RoleName, in.TagKeys)
}

// ListUserTags lists the tags of a user.
func (s *Service) ListUserTags(ctx context.Context, call *api.Call, in *sdk.ListUserTagsInput) (*sdk.ListUserTagsOutput, error) {
	e, err := s.entity(ctx, call, userKind, *in.UserName, values{})
	if err != nil {
		return nil, err
	}
	out := new(sdk.ListUserTagsOutput)
	out.Tags, out.IsTruncated, out.Marker, err = listTags(e.Tags, in.Marker, in.MaxItems)
	return out, err
}

// ListRoleTags lists the tags of a role.
func (s *Service) ListRoleTags(ctx context.Context, call *api.Call, in *sdk.ListRoleTagsInput) (*sdk.ListRoleTagsOutput, error) {
	e, err := s.entity(ctx, call, roleKind, *in.RoleName, values{})
	if err != nil {
		return nil, err
	}
	out := new(sdk.ListRoleTagsOutput)
	out.Tags, out.IsTruncated, out.Marker, err = listTags(e.Tags, in.Marker, in.MaxItems)
	return out, err
}
