package iam

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/store"
)

// keyOwner is who has access keys: a user, or the account's root.
type keyOwner struct {
	user    *entity
	account *accountRecord
}

// owner finds whose access keys a call is about, by name or, without one, the
// caller's own, and asks for authorization. Only a root reaches a root's keys.
func (s *Service) owner(ctx context.Context, call *api.Call, name *string) (*keyOwner, error) {
	if name == nil && call.Caller.Type == api.Root {
		if err := s.allow(ctx, call, RootARN(call.Caller.Account), &values{}); err != nil {
			return nil, err
		}
		return &keyOwner{account: &accountRecord{id: call.Caller.Account}}, nil
	}
	e, err := s.userOrCaller(ctx, call, name)
	return &keyOwner{user: e}, err
}

// fresh reads the owner anew, with the ids of the access keys.
func (o *keyOwner) fresh(r store.Reader) (f keyOwner, ids []string, err error) {
	if o.user == nil {
		if f.account, err = readAccount(r, o.account.id); err != nil {
			return f, nil, err
		}
		ids, err = f.account.rootKeys(r)
		return f, ids, err
	}
	if f.user, err = userKind.read(r, o.user.account, o.user.id); err != nil {
		return f, nil, userKind.notFound(err, o.user.Name)
	}
	return f, f.user.AccessKeys, nil
}

// keep stores the ids of the access keys.
func (o *keyOwner) keep(tx store.Tx, ids []string) error {
	if o.user == nil {
		o.account.RootKeys = ids
		return o.account.write(tx)
	}
	o.user.AccessKeys = ids
	return o.user.write(tx)
}

// name is the user's, nil for a root.
func (o *keyOwner) name() *string {
	if o.user == nil {
		return nil
	}
	return &o.user.Name
}

// CreateAccessKey makes an access key, whose secret is only shown now.
func (s *Service) CreateAccessKey(ctx context.Context, call *api.Call, in *sdk.CreateAccessKeyInput) (*sdk.CreateAccessKeyOutput, error) {
	o, err := s.owner(ctx, call, in.UserName)
	if err != nil {
		return nil, err
	}
	id, secret := newAccessKeyID(), newSecretKey()
	var out sdk.CreateAccessKeyOutput
	return &out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		f, ids, err := o.fresh(tx)
		if err != nil {
			return err
		}
		if len(ids) >= maxAccessKeysPerUser {
			return quota("AccessKeysPerUser", maxAccessKeysPerUser)
		}
		k := &accessKeyRecord{Account: call.Caller.Account, Type: api.Root, Secret: secret, Created: call.Time, id: id}
		if f.user != nil {
			k.Type, k.UserID = api.IAMUser, f.user.id
		}
		out.AccessKey = &types.AccessKey{AccessKeyId: &id, SecretAccessKey: &secret, Status: types.StatusTypeActive, CreateDate: &k.Created, UserName: f.name()}
		call.Trail.Response = &out
		if err := k.write(tx); err != nil {
			return err
		}
		return f.keep(tx, append(slices.Clone(ids), id))
	})
}

// withKey finds an access key of an owner and has it changed.
func (s *Service) withKey(ctx context.Context, call *api.Call, user *string, id string, fn func(tx store.Tx, o *keyOwner, ids []string, k *accessKeyRecord) error) error {
	o, err := s.owner(ctx, call, user)
	if err != nil {
		return err
	}
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		f, ids, err := o.fresh(tx)
		if err != nil {
			return err
		}
		if !slices.Contains(ids, id) {
			return noAccessKey(store.ErrNotFound, id)
		}
		k, err := readAccessKey(tx, id)
		if err != nil {
			return noAccessKey(err, id)
		}
		return fn(tx, &f, ids, k)
	})
}

func noAccessKey(err error, id string) error {
	return notFound(err, "The Access Key with id %s cannot be found.", id)
}

// UpdateAccessKey makes an access key active or inactive.
func (s *Service) UpdateAccessKey(ctx context.Context, call *api.Call, in *sdk.UpdateAccessKeyInput) (*sdk.UpdateAccessKeyOutput, error) {
	return &sdk.UpdateAccessKeyOutput{}, s.withKey(ctx, call, in.UserName, *in.AccessKeyId, func(tx store.Tx, _ *keyOwner, _ []string, k *accessKeyRecord) error {
		k.Inactive = in.Status != types.StatusTypeActive
		return k.write(tx)
	})
}

// DeleteAccessKey deletes an access key.
func (s *Service) DeleteAccessKey(ctx context.Context, call *api.Call, in *sdk.DeleteAccessKeyInput) (*sdk.DeleteAccessKeyOutput, error) {
	return &sdk.DeleteAccessKeyOutput{}, s.withKey(ctx, call, in.UserName, *in.AccessKeyId, func(tx store.Tx, o *keyOwner, ids []string, k *accessKeyRecord) error {
		if err := o.keep(tx, slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == k.id })); err != nil {
			return err
		}
		return tx.Delete(accessKeyPlace(k.id), k.revision)
	})
}

// ListAccessKeys lists the access keys of a user, or of the caller.
func (s *Service) ListAccessKeys(ctx context.Context, call *api.Call, in *sdk.ListAccessKeysInput) (*sdk.ListAccessKeysOutput, error) {
	o, err := s.owner(ctx, call, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListAccessKeysOutput{AccessKeyMetadata: []types.AccessKeyMetadata{}}
	return out, s.Store.View(ctx, func(r store.Reader) error {
		f, ids, err := o.fresh(r)
		if err != nil {
			return err
		}
		keys, err := readAccessKeys(r, ids)
		for _, k := range keys {
			status := types.StatusTypeActive
			if k.Inactive {
				status = types.StatusTypeInactive
			}
			out.AccessKeyMetadata = append(out.AccessKeyMetadata, types.AccessKeyMetadata{AccessKeyId: &k.id, Status: status, CreateDate: &k.Created, UserName: f.name()})
		}
		return err
	})
}

// GetAccessKeyLastUsed tells whose an access key is. When it was last used is in
// the audit records.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, call *api.Call, in *sdk.GetAccessKeyLastUsedInput) (*sdk.GetAccessKeyLastUsedOutput, error) {
	id := strings.Clone(*in.AccessKeyId)
	out := &sdk.GetAccessKeyLastUsedOutput{AccessKeyLastUsed: &types.AccessKeyLastUsed{Region: aws.String("N/A"), ServiceName: aws.String("N/A")}}
	resource := arnOf(call.Caller.Account, "user", "/", "*")
	err := s.Store.View(ctx, func(r store.Reader) error {
		k, err := readAccessKey(r, id)
		if err == nil && k.Account != call.Caller.Account {
			err = store.ErrNotFound
		}
		if err != nil || k.UserID == "" {
			return err
		}
		u, err := userKind.read(r, k.Account, k.UserID)
		if err == nil {
			out.UserName, resource = &u.Name, u.arn()
		}
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err := s.allow(ctx, call, resource, &values{}); err != nil {
		return nil, err
	}
	return out, noAccessKey(err, id)
}
