package kms

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	aliasKind   = "alias"  // aliasRecord, by alias name with its prefix
	targetIndex = "target" // alias: by the ARN of its key
	aliasPrefix = "alias/"
)

// aliasPlace finds an alias in memory.
type aliasPlace struct{ account, region, name string }

// aliasRecord is an alias as the store keeps it.
type aliasRecord struct {
	Target  string    `json:"target"` // key id
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

func readAlias(r store.Reader, p store.Place) (a aliasRecord, revision uint64, err error) {
	rec, err := r.Get(p)
	if err != nil {
		return a, 0, err
	}
	a, err = decodeAlias(rec)
	return a, rec.Revision, err
}

func decodeAlias(rec store.Record) (a aliasRecord, err error) {
	if err := json.Unmarshal(rec.Value, &a); err != nil {
		return a, fmt.Errorf("%s in the store: %w", aliasARN(rec.Account, rec.Region, rec.ID), err)
	}
	return a, nil
}

func writeAlias(tx store.Tx, p store.Place, a aliasRecord, revision uint64) error {
	value, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.Put(p, value, revision, store.IndexEntry{Name: targetIndex, Value: keyARN(p.Account, p.Region, a.Target)})
	return err
}

// aliasesOf finds the aliases of a key.
func aliasesOf(k *key) store.Query {
	return store.Query{Kind: aliasKind, Index: targetIndex, From: k.arn, To: k.arn}
}

// aliasTarget is the id of the key that an alias stands for.
func (s *Service) aliasTarget(ctx context.Context, ref keyRef) (string, error) {
	place := aliasPlace{ref.account, ref.region, ref.alias}
	if id, ok := s.aliases.Get(place); ok {
		return id, nil
	}
	mark := s.aliases.Mark()
	var a aliasRecord
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		a, _, err = readAlias(r, store.Place{Kind: aliasKind, Account: ref.account, Region: ref.region, ID: ref.alias})
		return err
	})
	if err != nil {
		return "", err
	}
	s.aliases.Put(place, a.Target, mark)
	return a.Target, nil
}

// ownAlias checks the alias name of a call that changes it, asks for
// authorization on the alias, and tells where it is stored.
func (s *Service) ownAlias(ctx context.Context, call *api.Call, name string) (store.Place, string, error) {
	place := store.Place{Kind: aliasKind, Account: call.Caller.Account, Region: call.Region, ID: name}
	arn := aliasARN(place.Account, place.Region, name)
	switch {
	case !strings.HasPrefix(name, aliasPrefix):
		return place, arn, invalid(`Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case !isAliasName(name) && call.Operation != "CreateAlias":
		return place, arn, aliasError(store.ErrNotFound, arn)
	case !isAliasName(name):
		return place, arn, awserr.New(awserr.InvalidAliasName, "The alias name may hold letters, digits, and the characters / _ - after the prefix alias/.")
	case strings.HasPrefix(name, managedPrefix):
		return place, arn, awserr.New(awserr.NotAuthorized, "Aliases that begin with alias/aws/ are reserved for AWS managed keys.")
	}
	call.Trail.Resources = append(call.Trail.Resources, resource(place.Account, arn))
	return place, arn, s.allow(ctx, call, call.Operation, arn)
}

// useTarget is use for the key an alias is to stand for.
func (s *Service) useTarget(ctx context.Context, call *api.Call, value string) (*usableKey, error) {
	if strings.HasPrefix(value, aliasPrefix) || strings.Contains(value, ":"+aliasPrefix) {
		return nil, invalid("Aliases must refer to keys. Not aliases")
	}
	return s.use(ctx, call, value, keyOnly)
}

// CreateAlias gives a key a name.
func (s *Service) CreateAlias(ctx context.Context, call *api.Call, in *sdk.CreateAliasInput) (*sdk.CreateAliasOutput, error) {
	place, arn, err := s.ownAlias(ctx, call, *in.AliasName)
	if err != nil {
		return nil, err
	}
	u, err := s.useTarget(ctx, call, *in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	return &sdk.CreateAliasOutput{}, u.change(ctx, func(k *key, tx store.Tx) error {
		if _, err := tx.Get(place); err == nil {
			return awserr.New(awserr.AlreadyExists, "An alias with the name %s already exists", arn)
		} else if !isNotFound(err) {
			return err
		}
		if err := s.checkAliasQuota(tx, k); err != nil {
			return err
		}
		return writeAlias(tx, place, aliasRecord{Target: k.ID, Created: call.Time, Updated: call.Time}, 0)
	})
}

func (s *Service) checkAliasQuota(r store.Reader, k *key) error {
	n := 0
	err := r.Lookup(aliasesOf(k), func(store.Record) error {
		n++
		return nil
	})
	if err == nil && n >= s.Quotas.AliasesPerKey {
		err = awserr.New(awserr.LimitExceeded, "%s has %d aliases, which is the most a key can have.", k.arn, n)
	}
	return err
}

// UpdateAlias makes an alias stand for another key of the same kind.
func (s *Service) UpdateAlias(ctx context.Context, call *api.Call, in *sdk.UpdateAliasInput) (*sdk.UpdateAliasOutput, error) {
	place, arn, err := s.ownAlias(ctx, call, *in.AliasName)
	if err != nil {
		return nil, err
	}
	u, err := s.useTarget(ctx, call, *in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	old, err := s.aliasTarget(ctx, keyRef{account: place.Account, region: place.Region, alias: place.ID})
	if err != nil {
		return nil, aliasError(err, arn)
	}
	before, err := s.loadKey(ctx, place.Account, place.Region, old)
	if err != nil {
		return nil, err
	}
	from := &usableKey{key: before, svc: s, call: call, values: values{ctx: ctx, svc: s, call: call, key: before, action: call.Operation}}
	if err := from.authorize(ask{action: call.Operation}); err != nil {
		return nil, err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	return &sdk.UpdateAliasOutput{}, u.change(ctx, func(k *key, tx store.Tx) error {
		a, revision, err := readAlias(tx, place)
		if err != nil {
			return aliasError(err, arn)
		}
		if a.Target != old {
			return changedMeanwhile(arn)
		}
		if before.Spec != k.Spec || before.Usage != k.Usage {
			return invalid("The alias %s stands for a key of another type or KeyUsage. The new key must be of the same type.", arn)
		}
		if a.Target != k.ID {
			if err := s.checkAliasQuota(tx, k); err != nil {
				return err
			}
		}
		a.Target, a.Updated = k.ID, call.Time
		return writeAlias(tx, place, a, revision)
	})
}

// DeleteAlias takes a name away; the key stays.
func (s *Service) DeleteAlias(ctx context.Context, call *api.Call, in *sdk.DeleteAliasInput) (*sdk.DeleteAliasOutput, error) {
	place, arn, err := s.ownAlias(ctx, call, *in.AliasName)
	if err != nil {
		return nil, err
	}
	target, err := s.aliasTarget(ctx, keyRef{account: place.Account, region: place.Region, alias: place.ID})
	if err != nil {
		return nil, aliasError(err, arn)
	}
	u, err := s.use(ctx, call, target, keyOnly)
	if err != nil {
		return nil, err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	return &sdk.DeleteAliasOutput{}, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		a, revision, err := readAlias(tx, place)
		if err != nil {
			return aliasError(err, arn)
		}
		if a.Target != target {
			return changedMeanwhile(arn)
		}
		return tx.Delete(place, revision)
	})
}

// changedMeanwhile is for an alias that has another key than the one that was
// authorized. The error is one that SDKs try again by themselves.
func changedMeanwhile(arn string) error {
	return awserr.New(awserr.DependencyTimeout, "%s was changed by another call at the same time. Try again.", arn)
}

func aliasError(err error, arn string) error {
	if isNotFound(err) {
		return awserr.New(awserr.NotFound, "Alias %s is not found.", arn)
	}
	return err
}

// ListAliases lists the aliases of the caller's account in the Region, by name,
// or those of one key.
func (s *Service) ListAliases(ctx context.Context, call *api.Call, in *sdk.ListAliasesInput) (*sdk.ListAliasesOutput, error) {
	if err := s.allow(ctx, call, call.Operation, "*"); err != nil {
		return nil, err
	}
	pg, err := newPage(in.Limit, in.Marker, 50, 100)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListAliasesOutput{Aliases: []types.AliasListEntry{}}
	add := func(rec store.Record) error {
		if rec.ID <= pg.after || pg.full(len(out.Aliases)) {
			return nil
		}
		a, err := decodeAlias(rec)
		if err != nil {
			return err
		}
		out.Aliases = append(out.Aliases, types.AliasListEntry{
			AliasName: aws.String(rec.ID), AliasArn: aws.String(aliasARN(rec.Account, rec.Region, rec.ID)), TargetKeyId: aws.String(a.Target),
			CreationDate: aws.Time(a.Created), LastUpdatedDate: aws.Time(a.Updated)})
		pg.last = rec.ID
		return nil
	}
	var of *key
	if in.KeyId != nil {
		if of, _, err = s.resolve(ctx, call, call.Operation, *in.KeyId, keyOnly); err != nil {
			return nil, err
		}
		if of.account != call.Caller.Account {
			return nil, authz.NotVisible(call.Caller, "kms:"+call.Operation, "")
		}
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		if of != nil {
			return r.Lookup(aliasesOf(of), add)
		}
		return r.Scan(aliasKind, call.Caller.Account, call.Region, pg.after, pg.limit+1, add)
	})
	out.NextMarker, out.Truncated = pg.next()
	return out, err
}
