package iam

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	maxTrust       = 2048 // characters of a trust policy, without white space
	defaultSession = 3600 // seconds
)

// setTrust gives a role a trust policy, bound to those whom it names now.
func (e *entity) setTrust(r store.Reader, text string) error {
	doc, err := parse(policy.Trust, text)
	if err != nil {
		return err
	}
	if n := size(text); n > maxTrust {
		return awserr.New(awserr.LimitExceeded, "Cannot exceed quota for ACLSizePerRole: %d. The trust policy has %d characters.", maxTrust, n)
	}
	names := doc.Principals()
	for _, account := range doc.Accounts() {
		names = append(names, RootARN(account))
	}
	ids, err := resolve(r, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if ids[name] == "" {
			return awserr.New(awserr.MalformedPolicyDocument, `Invalid principal in policy: "AWS":"%s"`, name)
		}
	}
	e.Trust, e.TrustIDs = text, map[string]string{}
	for _, name := range doc.Principals() {
		e.TrustIDs[name] = ids[name]
	}
	return nil
}

// CreateRole makes a role for those whom its trust policy names.
func (s *Service) CreateRole(ctx context.Context, call *api.Call, in *sdk.CreateRoleInput) (*sdk.CreateRoleOutput, error) {
	rec := entityRecord{Name: *in.RoleName, Path: path(in.Path), Description: aws.ToString(in.Description), MaxSession: defaultSession}
	if in.MaxSessionDuration != nil {
		rec.MaxSession = *in.MaxSessionDuration
	}
	var out sdk.CreateRoleOutput
	_, err := s.create(ctx, call, roleKind, rec, values{given: in.Tags, boundary: aws.ToString(in.PermissionsBoundary)}, func(e *entity, tx store.Tx) (err error) {
		if err := e.setTrust(tx, *in.AssumeRolePolicyDocument); err != nil {
			return err
		}
		out.Role, err = e.sdkRole(tx)
		call.Trail.Response = &out
		return err
	})
	return &out, err
}

// GetRole tells of a role.
func (s *Service) GetRole(ctx context.Context, call *api.Call, in *sdk.GetRoleInput) (*sdk.GetRoleOutput, error) {
	e, err := s.entity(ctx, call, roleKind, *in.RoleName, values{})
	if err != nil {
		return nil, err
	}
	out := new(sdk.GetRoleOutput)
	return out, s.Store.View(ctx, func(r store.Reader) (err error) {
		out.Role, err = e.sdkRole(r)
		if err == nil {
			out.Role.RoleLastUsed = &types.RoleLastUsed{}
		}
		return err
	})
}

// UpdateRole changes the description and the longest session of a role.
func (s *Service) UpdateRole(ctx context.Context, call *api.Call, in *sdk.UpdateRoleInput) (*sdk.UpdateRoleOutput, error) {
	return &sdk.UpdateRoleOutput{}, s.update(ctx, call, roleKind, *in.RoleName, values{}, func(e *entity, _ store.Tx) error {
		if in.Description != nil {
			e.Description = *in.Description
		}
		if in.MaxSessionDuration != nil {
			e.MaxSession = *in.MaxSessionDuration
		}
		return nil
	})
}

// UpdateRoleDescription changes the description of a role.
func (s *Service) UpdateRoleDescription(ctx context.Context, call *api.Call, in *sdk.UpdateRoleDescriptionInput) (*sdk.UpdateRoleDescriptionOutput, error) {
	out := new(sdk.UpdateRoleDescriptionOutput)
	return out, s.update(ctx, call, roleKind, *in.RoleName, values{}, func(e *entity, tx store.Tx) (err error) {
		e.Description = *in.Description
		out.Role, err = e.sdkRole(tx)
		return err
	})
}

// UpdateAssumeRolePolicy replaces the trust policy of a role.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, call *api.Call, in *sdk.UpdateAssumeRolePolicyInput) (*sdk.UpdateAssumeRolePolicyOutput, error) {
	return &sdk.UpdateAssumeRolePolicyOutput{}, s.update(ctx, call, roleKind, *in.RoleName, values{}, func(e *entity, tx store.Tx) error {
		if e.Service != "" {
			return unmodifiable(e)
		}
		return e.setTrust(tx, *in.PolicyDocument)
	})
}

// unmodifiable refuses changes of a service-linked role.
func unmodifiable(e *entity) error {
	return awserr.New(awserr.UnmodifiableEntity, "Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", e.Name)
}

// DeleteRole deletes a role without policies. Its sessions can do nothing any more.
func (s *Service) DeleteRole(ctx context.Context, call *api.Call, in *sdk.DeleteRoleInput) (*sdk.DeleteRoleOutput, error) {
	return &sdk.DeleteRoleOutput{}, s.remove(ctx, call, roleKind, *in.RoleName, func(e *entity, _ store.Tx) error {
		if e.Service != "" {
			return unmodifiable(e)
		}
		return nil
	})
}

// ListRoles lists roles by name.
func (s *Service) ListRoles(ctx context.Context, call *api.Call, in *sdk.ListRolesInput) (*sdk.ListRolesOutput, error) {
	var found []*entity
	truncated, next, err := s.listEntities(ctx, call, roleKind, in.PathPrefix, in.Marker, in.MaxItems, func(e *entity) { found = append(found, e) })
	if err != nil {
		return nil, err
	}
	out := &sdk.ListRolesOutput{Roles: []types.Role{}, IsTruncated: truncated, Marker: next}
	return out, s.Store.View(ctx, func(r store.Reader) error {
		for _, e := range found {
			role, err := e.sdkRole(r)
			if err != nil {
				return err
			}
			role.Tags, role.PermissionsBoundary = nil, nil
			out.Roles = append(out.Roles, *role)
		}
		return nil
	})
}
