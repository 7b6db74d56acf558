package iam

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// Quotas of AWS on what a user has.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	maxGroupsPerUser     = 10
	maxAccessKeysPerUser = 2
)

// CreateUser makes a user, who can do nothing yet.
func (s *Service) CreateUser(ctx context.Context, call *api.Call, in *sdk.CreateUserInput) (*sdk.CreateUserOutput, error) {
	rec := entityRecord{Name: *in.UserName, Path: path(in.Path)}
	var out sdk.CreateUserOutput
	_, err := s.create(ctx, call, userKind, rec, values{given: in.Tags, boundary: aws.ToString(in.PermissionsBoundary)}, func(e *entity, _ store.Tx) error {
		out.User = e.user()
		call.Trail.Response = &out
		return nil
	})
	return &out, err
}

// GetUser tells of a user, or of the calling user or root.
func (s *Service) GetUser(ctx context.Context, call *api.Call, in *sdk.GetUserInput) (*sdk.GetUserOutput, error) {
	if in.UserName == nil && call.Caller.Type == api.Root {
		return s.getRoot(ctx, call)
	}
	e, err := s.userOrCaller(ctx, call, in.UserName)
	if err != nil {
		return nil, err
	}
	return &sdk.GetUserOutput{User: e.user()}, nil
}

func (s *Service) getRoot(ctx context.Context, call *api.Call) (*sdk.GetUserOutput, error) {
	root := RootARN(call.Caller.Account)
	if err := s.allow(ctx, call, root, &values{}); err != nil {
		return nil, err
	}
	var a *accountRecord
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		a, err = readAccount(r, call.Caller.Account)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &types.User{Arn: &root, UserId: &a.id, CreateDate: &a.Created, Path: aws.String("/")}
	if a.Alias != "" {
		out.UserName = &a.Alias
	}
	return &sdk.GetUserOutput{User: out}, nil
}

// userName is the name that a request gives or, without one, that of the calling
// user.
func userName(call *api.Call, given *string) (string, error) {
	switch {
	case given != nil:
		return *given, nil
	case call.Caller.Type != api.IAMUser:
		return "", invalid("Must specify userName when calling with non-User credentials")
	}
	return call.Caller.UserName, nil
}

// userOrCaller is the user that a request names or, without one, the calling user.
func (s *Service) userOrCaller(ctx context.Context, call *api.Call, given *string) (*entity, error) {
	name, err := userName(call, given)
	if err != nil {
		return nil, err
	}
	return s.entity(ctx, call, userKind, name, values{})
}

// UpdateUser renames or moves a user, who stays the same.
func (s *Service) UpdateUser(ctx context.Context, call *api.Call, in *sdk.UpdateUserInput) (*sdk.UpdateUserOutput, error) {
	return &sdk.UpdateUserOutput{}, s.move(ctx, call, userKind, *in.UserName, in.NewUserName, in.NewPath)
}

// DeleteUser deletes a user who has nothing left.
func (s *Service) DeleteUser(ctx context.Context, call *api.Call, in *sdk.DeleteUserInput) (*sdk.DeleteUserOutput, error) {
	return &sdk.DeleteUserOutput{}, s.remove(ctx, call, userKind, *in.UserName, func(e *entity, tx store.Tx) error {
		devices, err := mfaOf(tx, e.id)
		switch {
		case err != nil:
			return err
		case len(e.AccessKeys) > 0:
			return conflict("delete access keys")
		case len(devices) > 0:
			return conflict("delete MFA device")
		case e.Login != nil:
			return conflict("delete login profile")
		case len(e.Groups) > 0:
			return conflict("remove user from all groups")
		}
		return nil
	})
}

// ListUsers lists users by name.
func (s *Service) ListUsers(ctx context.Context, call *api.Call, in *sdk.ListUsersInput) (*sdk.ListUsersOutput, error) {
	out := &sdk.ListUsersOutput{Users: []types.User{}}
	var err error
	out.IsTruncated, out.Marker, err = s.listEntities(ctx, call, userKind, in.PathPrefix, in.Marker, in.MaxItems, func(e *entity) {
		u := e.user()
		u.Tags, u.PermissionsBoundary = nil, nil
		out.Users = append(out.Users, *u)
	})
	return out, err
}

// CreateGroup makes a group.
func (s *Service) CreateGroup(ctx context.Context, call *api.Call, in *sdk.CreateGroupInput) (*sdk.CreateGroupOutput, error) {
	var out sdk.CreateGroupOutput
	_, err := s.create(ctx, call, groupKind, entityRecord{Name: *in.GroupName, Path: path(in.Path)}, values{}, func(e *entity, _ store.Tx) error {
		out.Group = e.group()
		call.Trail.Response = &out
		return nil
	})
	return &out, err
}

// GetGroup tells of a group and lists its users.
func (s *Service) GetGroup(ctx context.Context, call *api.Call, in *sdk.GetGroupInput) (*sdk.GetGroupOutput, error) {
	g, err := s.entity(ctx, call, groupKind, *in.GroupName, values{})
	if err != nil {
		return nil, err
	}
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetGroupOutput{Group: g.group(), Users: []types.User{}}
	members := map[string]*entity{}
	err = s.Store.View(ctx, func(r store.Reader) error {
		return userKind.each(r, groupIndex, g.id, func(e *entity) error {
			members[fold(e.Name)] = e
			return nil
		})
	})
	for _, name := range list(pg, keys(members)) {
		u := members[name].user()
		u.Tags, u.PermissionsBoundary = nil, nil
		out.Users = append(out.Users, *u)
	}
	out.IsTruncated, out.Marker = pg.next()
	return out, err
}

// UpdateGroup renames or moves a group.
func (s *Service) UpdateGroup(ctx context.Context, call *api.Call, in *sdk.UpdateGroupInput) (*sdk.UpdateGroupOutput, error) {
	return &sdk.UpdateGroupOutput{}, s.move(ctx, call, groupKind, *in.GroupName, in.NewGroupName, in.NewPath)
}

// DeleteGroup deletes a group without users and policies.
func (s *Service) DeleteGroup(ctx context.Context, call *api.Call, in *sdk.DeleteGroupInput) (*sdk.DeleteGroupOutput, error) {
	return &sdk.DeleteGroupOutput{}, s.remove(ctx, call, groupKind, *in.GroupName, func(e *entity, tx store.Tx) error {
		n, err := userKind.count(tx, groupIndex, e.id)
		if err == nil && n > 0 {
			err = conflict("remove users from group")
		}
		return err
	})
}

// ListGroups lists groups by name.
func (s *Service) ListGroups(ctx context.Context, call *api.Call, in *sdk.ListGroupsInput) (*sdk.ListGroupsOutput, error) {
	out := &sdk.ListGroupsOutput{Groups: []types.Group{}}
	var err error
	out.IsTruncated, out.Marker, err = s.listEntities(ctx, call, groupKind, in.PathPrefix, in.Marker, in.MaxItems, func(e *entity) {
		out.Groups = append(out.Groups, *e.group())
	})
	return out, err
}

// AddUserToGroup gives a user the policies of a group.
func (s *Service) AddUserToGroup(ctx context.Context, call *api.Call, in *sdk.AddUserToGroupInput) (*sdk.AddUserToGroupOutput, error) {
	return &sdk.AddUserToGroupOutput{}, s.member(ctx, call, *in.GroupName, *in.UserName, func(u *entity, group string) error {
		switch {
		case slices.Contains(u.Groups, group):
			return nil
		case len(u.Groups) >= maxGroupsPerUser:
			return quota("GroupsPerUser", maxGroupsPerUser)
		}
		u.Groups = append(u.Groups, group)
		return nil
	})
}

// RemoveUserFromGroup takes the policies of a group from a user.
func (s *Service) RemoveUserFromGroup(ctx context.Context, call *api.Call, in *sdk.RemoveUserFromGroupInput) (*sdk.RemoveUserFromGroupOutput, error) {
	return &sdk.RemoveUserFromGroupOutput{}, s.member(ctx, call, *in.GroupName, *in.UserName, func(u *entity, group string) error {
		if !slices.Contains(u.Groups, group) {
			return awserr.New(awserr.NoSuchEntity, "User %s not in group %s", *in.UserName, *in.GroupName)
		}
		u.Groups = slices.DeleteFunc(u.Groups, func(id string) bool { return id == group })
		return nil
	})
}

// member changes the groups of a user. The permission is one on the group.
func (s *Service) member(ctx context.Context, call *api.Call, group, user string, fn func(u *entity, group string) error) error {
	g, err := s.entity(ctx, call, groupKind, group, values{})
	if err != nil {
		return err
	}
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		if _, err := groupKind.read(tx, g.account, g.id); err != nil {
			return groupKind.notFound(err, group)
		}
		u, err := userKind.find(tx, g.account, user)
		if err != nil {
			return userKind.notFound(err, user)
		}
		if err := fn(u, g.id); err != nil {
			return err
		}
		return u.write(tx)
	})
}

// ListGroupsForUser lists the groups that a user is in.
func (s *Service) ListGroupsForUser(ctx context.Context, call *api.Call, in *sdk.ListGroupsForUserInput) (*sdk.ListGroupsForUserOutput, error) {
	u, err := s.entity(ctx, call, userKind, *in.UserName, values{})
	if err != nil {
		return nil, err
	}
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	groups := map[string]*entity{}
	err = s.Store.View(ctx, func(r store.Reader) error {
		for _, id := range u.Groups {
			g, err := groupKind.read(r, u.account, id)
			if err == nil {
				groups[fold(g.Name)] = g
			} else if !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	out := &sdk.ListGroupsForUserOutput{Groups: []types.Group{}}
	for _, name := range list(pg, keys(groups)) {
		out.Groups = append(out.Groups, *groups[name].group())
	}
	out.IsTruncated, out.Marker = pg.next()
	return out, err
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
