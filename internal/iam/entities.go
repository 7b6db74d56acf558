package iam

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// entityHandlers answer for users, groups, roles and their policies.
func (s *Service) entityHandlers() map[string]api.Handler {
	return map[string]api.Handler{
		"CreateUser": api.Handle(s.CreateUser),
		"GetUser":    api.Handle(s.GetUser),
		"UpdateUser": api.Handle(s.UpdateUser),
		"DeleteUser": api.Handle(s.DeleteUser),
		"ListUsers":  api.Handle(s.ListUsers),

		"CreateGroup":         api.Handle(s.CreateGroup),
		"GetGroup":            api.Handle(s.GetGroup),
		"UpdateGroup":         api.Handle(s.UpdateGroup),
		"DeleteGroup":         api.Handle(s.DeleteGroup),
		"ListGroups":          api.Handle(s.ListGroups),
		"AddUserToGroup":      api.Handle(s.AddUserToGroup),
		"RemoveUserFromGroup": api.Handle(s.RemoveUserFromGroup),
		"ListGroupsForUser":   api.Handle(s.ListGroupsForUser),

		"CreateRole":             api.Handle(s.CreateRole),
		"GetRole":                api.Handle(s.GetRole),
		"UpdateRole":             api.Handle(s.UpdateRole),
		"UpdateRoleDescription":  api.Handle(s.UpdateRoleDescription),
		"UpdateAssumeRolePolicy": api.Handle(s.UpdateAssumeRolePolicy),
		"DeleteRole":             api.Handle(s.DeleteRole),
		"ListRoles":              api.Handle(s.ListRoles),

		"CreateAccessKey":      api.Handle(s.CreateAccessKey),
		"UpdateAccessKey":      api.Handle(s.UpdateAccessKey),
		"DeleteAccessKey":      api.Handle(s.DeleteAccessKey),
		"ListAccessKeys":       api.Handle(s.ListAccessKeys),
		"GetAccessKeyLastUsed": api.Handle(s.GetAccessKeyLastUsed),

		"PutUserPolicy":     api.Handle(s.PutUserPolicy),
		"PutGroupPolicy":    api.Handle(s.PutGroupPolicy),
		"PutRolePolicy":     api.Handle(s.PutRolePolicy),
		"GetUserPolicy":     api.Handle(s.GetUserPolicy),
		"GetGroupPolicy":    api.Handle(s.GetGroupPolicy),
		"GetRolePolicy":     api.Handle(s.GetRolePolicy),
		"DeleteUserPolicy":  api.Handle(s.DeleteUserPolicy),
		"DeleteGroupPolicy": api.Handle(s.DeleteGroupPolicy),
		"DeleteRolePolicy":  api.Handle(s.DeleteRolePolicy),
		"ListUserPolicies":  api.Handle(s.ListUserPolicies),
		"ListGroupPolicies": api.Handle(s.ListGroupPolicies),
		"ListRolePolicies":  api.Handle(s.ListRolePolicies),

		"AttachUserPolicy":          api.Handle(s.AttachUserPolicy),
		"AttachGroupPolicy":         api.Handle(s.AttachGroupPolicy),
		"AttachRolePolicy":          api.Handle(s.AttachRolePolicy),
		"DetachUserPolicy":          api.Handle(s.DetachUserPolicy),
		"DetachGroupPolicy":         api.Handle(s.DetachGroupPolicy),
		"DetachRolePolicy":          api.Handle(s.DetachRolePolicy),
		"ListAttachedUserPolicies":  api.Handle(s.ListAttachedUserPolicies),
		"ListAttachedGroupPolicies": api.Handle(s.ListAttachedGroupPolicies),
		"ListAttachedRolePolicies":  api.Handle(s.ListAttachedRolePolicies),

		"PutUserPermissionsBoundary":    api.Handle(s.PutUserPermissionsBoundary),
		"PutRolePermissionsBoundary":    api.Handle(s.PutRolePermissionsBoundary),
		"DeleteUserPermissionsBoundary": api.Handle(s.DeleteUserPermissionsBoundary),
		"DeleteRolePermissionsBoundary": api.Handle(s.DeleteRolePermissionsBoundary),

		"TagUser":      api.Handle(s.TagUser),
		"TagRole":      api.Handle(s.TagRole),
		"UntagUser":    api.Handle(s.UntagUser),
		"UntagRole":    api.Handle(s.UntagRole),
		"ListUserTags": api.Handle(s.ListUserTags),
		"ListRoleTags": api.Handle(s.ListRoleTags),

		"CreatePolicy":            api.Handle(s.CreatePolicy),
		"GetPolicy":               api.Handle(s.GetPolicy),
		"DeletePolicy":            api.Handle(s.DeletePolicy),
		"ListPolicies":            api.Handle(s.ListPolicies),
		"CreatePolicyVersion":     api.Handle(s.CreatePolicyVersion),
		"GetPolicyVersion":        api.Handle(s.GetPolicyVersion),
		"DeletePolicyVersion":     api.Handle(s.DeletePolicyVersion),
		"SetDefaultPolicyVersion": api.Handle(s.SetDefaultPolicyVersion),
		"ListPolicyVersions":      api.Handle(s.ListPolicyVersions),
		"ListEntitiesForPolicy":   api.Handle(s.ListEntitiesForPolicy),
		"TagPolicy":               api.Handle(s.TagPolicy),
		"UntagPolicy":             api.Handle(s.UntagPolicy),
		"ListPolicyTags":          api.Handle(s.ListPolicyTags),
	}
}

// notFound is err, in AWS's words if there is no entity of that name.
func (k *entityKind) notFound(err error, name string) error {
	return notFound(err, "The %s with name %s cannot be found.", k.word, name)
}

// entity finds an entity of the caller's account by name and asks for authorization
// of the call on it. v may have what the request gives.
func (s *Service) entity(ctx context.Context, call *api.Call, k *entityKind, name string, v values) (*entity, error) {
	var e *entity
	found := s.Store.View(ctx, func(r store.Reader) (err error) {
		e, err = k.find(r, call.Caller.Account, name)
		return err
	})
	resource := arnOf(call.Caller.Account, k.word, "/", name)
	if found == nil {
		resource, v.tags = e.arn(), e.Tags
		if v.boundary == "" {
			v.boundary = e.Boundary
		}
	}
	if err := s.allow(ctx, call, resource, &v); err != nil {
		return nil, err
	}
	return e, k.notFound(found, name)
}

// change makes a change to an entity. fn works on a fresh copy.
func (s *Service) change(ctx context.Context, call *api.Call, e *entity, fn func(e *entity, tx store.Tx) error) error {
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		fresh, err := e.kind.read(tx, e.account, e.id)
		if err != nil {
			return e.kind.notFound(err, e.Name)
		}
		if err := fn(fresh, tx); err != nil {
			return err
		}
		return fresh.write(tx)
	})
}

// update finds, authorizes and changes an entity.
func (s *Service) update(ctx context.Context, call *api.Call, k *entityKind, name string, v values, fn func(e *entity, tx store.Tx) error) error {
	e, err := s.entity(ctx, call, k, name, v)
	if err != nil {
		return err
	}
	return s.change(ctx, call, e, fn)
}

// create stores a new entity, if the account has room for it and no other of that
// name. response makes the answer from it.
func (s *Service) create(ctx context.Context, call *api.Call, k *entityKind, rec entityRecord, v values, prepare func(e *entity, tx store.Tx) error) (*entity, error) {
	if err := s.allowNew(ctx, call, "Tag"+k.title, arnOf(call.Caller.Account, k.word, rec.Path, rec.Name), &v); err != nil {
		return nil, err
	}
	tags, err := mergeTagsBy(fold, nil, v.given)
	if err != nil {
		return nil, err
	}
	id := newID(k.prefix)
	var made *entity
	err = s.Trail.Change(ctx, call, func(tx store.Tx) error {
		e := &entity{entityRecord: rec, kind: k, account: call.Caller.Account, id: id}
		e.Created, e.Tags = call.Time, tags
		if err := k.free(tx, e.account, e.Name); err != nil {
			return err
		}
		n, err := tx.Count(k.store, e.account, "")
		if err != nil {
			return err
		}
		if n >= k.perAccount {
			return quota(k.title+"sPerAccount", k.perAccount)
		}
		if v.boundary != "" {
			if err := e.setBoundary(tx, v.boundary); err != nil {
				return err
			}
		}
		if err := prepare(e, tx); err != nil {
			return err
		}
		made = e
		return e.write(tx)
	})
	return made, err
}

// free refuses a name that an entity of the account has.
func (k *entityKind) free(r store.Reader, account, name string) error {
	_, err := k.find(r, account, name)
	if err == nil {
		return awserr.New(awserr.EntityAlreadyExists, "%s with name %s already exists.", k.title, name)
	}
	if notFound(err, "") == err {
		return err
	}
	return nil
}

// remove deletes an entity that has nothing left.
func (s *Service) remove(ctx context.Context, call *api.Call, k *entityKind, name string, check func(e *entity, tx store.Tx) error) error {
	e, err := s.entity(ctx, call, k, name, values{})
	if err != nil {
		return err
	}
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		fresh, err := k.read(tx, e.account, e.id)
		if err != nil {
			return k.notFound(err, e.Name)
		}
		if err := check(fresh, tx); err != nil {
			return err
		}
		switch {
		case len(fresh.Attached) > 0:
			return conflict("detach all policies")
		case len(fresh.Inline) > 0:
			return conflict("delete policies")
		}
		return tx.Delete(fresh.place(), fresh.revision)
	})
}

// move gives an entity another name or path, if the request has one. It takes the
// permission on what the entity is and on what it becomes; what is stored is what was
// asked for.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateUser.html
func (s *Service) move(ctx context.Context, call *api.Call, k *entityKind, from string, name, path *string) error {
	e, err := s.entity(ctx, call, k, from, values{})
	if err != nil {
		return err
	}
	to := *e
	if name != nil {
		to.Name = *name
	}
	if path != nil {
		to.Path = *path
	}
	if to.arn() != e.arn() {
		if err := s.allow(ctx, call, to.arn(), &values{tags: e.Tags, boundary: e.Boundary}); err != nil {
			return err
		}
	}
	return s.change(ctx, call, e, func(e *entity, tx store.Tx) error {
		if fold(to.Name) != fold(e.Name) {
			if err := k.free(tx, e.account, to.Name); err != nil {
				return err
			}
		}
		e.Name, e.Path = to.Name, to.Path
		return nil
	})
}

// listEntities is a page of the entities below a path.
func (s *Service) listEntities(ctx context.Context, call *api.Call, k *entityKind, prefix, marker *string, items *int32, fn func(*entity)) (truncated bool, next *string, err error) {
	below := path(prefix)
	if err := s.allow(ctx, call, arnOf(call.Caller.Account, k.word, below, ""), &values{}); err != nil {
		return false, nil, err
	}
	pg, err := newPage(marker, items)
	if err != nil {
		return false, nil, err
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		return k.list(r, call.Caller.Account, pg.after, func(e *entity) error {
			if strings.HasPrefix(e.Path, below) && pg.take(fold(e.Name)) {
				fn(e)
			}
			if pg.more {
				return errPageFull
			}
			return nil
		})
	})
	truncated, next = pg.next()
	return truncated, next, err
}

// setBoundary gives the entity a permissions boundary.
func (e *entity) setBoundary(r store.Reader, arn string) error {
	if _, err := findManaged(r, e.account, arn); err != nil {
		return notFound(err, "Policy %s does not exist or is not attachable.", arn)
	}
	e.Boundary = arn
	return nil
}

// sdkBoundary is the permissions boundary as the API has it.
func (e *entity) sdkBoundary() *types.AttachedPermissionsBoundary {
	if e.Boundary == "" {
		return nil
	}
	return &types.AttachedPermissionsBoundary{PermissionsBoundaryArn: &e.Boundary, PermissionsBoundaryType: types.PermissionsBoundaryAttachmentTypePolicy}
}

func (e *entity) user() *types.User {
	return &types.User{Arn: aws.String(e.arn()), UserId: &e.id, UserName: &e.Name, Path: &e.Path, CreateDate: &e.Created,
		PermissionsBoundary: e.sdkBoundary(), Tags: sdkTags(e.Tags)}
}

func (e *entity) group() *types.Group {
	return &types.Group{Arn: aws.String(e.arn()), GroupId: &e.id, GroupName: &e.Name, Path: &e.Path, CreateDate: &e.Created}
}

// sdkRole is a role as the API has it. In its trust policy, principals that are no
// more are shown by their unique ids.
func (e *entity) sdkRole(r store.Reader) (*types.Role, error) {
	now, err := resolve(r, slices.Collect(maps.Keys(e.TrustIDs)))
	if err != nil {
		return nil, err
	}
	out := &types.Role{Arn: aws.String(e.arn()), RoleId: &e.id, RoleName: &e.Name, Path: &e.Path, CreateDate: &e.Created,
		AssumeRolePolicyDocument: encode(policy.Shown(e.Trust, e.TrustIDs, now)), MaxSessionDuration: aws.Int32(e.MaxSession),
		PermissionsBoundary: e.sdkBoundary(), Tags: sdkTags(e.Tags)}
	if e.Description != "" {
		out.Description = &e.Description
	}
	return out, nil
}
