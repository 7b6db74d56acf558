package kms

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/store"
)

// The waiting period of a deletion, in days.
// https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
const (
	minPendingDays     = 7
	maxPendingDays     = 30
	defaultPendingDays = 30
)

// ScheduleKeyDeletion makes a key unusable and has it deleted after 7 to 30 days.
func (s *Service) ScheduleKeyDeletion(ctx context.Context, call *api.Call, in *sdk.ScheduleKeyDeletionInput) (*sdk.ScheduleKeyDeletionOutput, error) {
	if in.PendingWindowInDays == nil {
		in.PendingWindowInDays = aws.Int32(defaultPendingDays)
	}
	days := *in.PendingWindowInDays
	if days < minPendingDays {
		return nil, tooSmall("pendingWindowInDays", int(days), minPendingDays)
	}
	if days > maxPendingDays {
		return nil, tooLarge("pendingWindowInDays", int(days), maxPendingDays)
	}
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	out := &sdk.ScheduleKeyDeletionOutput{KeyId: &u.arn, PendingWindowInDays: aws.Int32(days)}
	call.Trail.Response = out
	err = u.change(ctx, func(k *key, _ store.Tx) error {
		k.PendingDays = days
		k.doom(call.Time)
		out.KeyState, out.DeletionDate = k.State, nil
		if k.State == types.KeyStatePendingDeletion {
			out.DeletionDate = aws.Time(k.DeletionDate)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	return out, nil
}

// doom begins the waiting period of the key's deletion. A primary key waits for its
// replicas to be deleted first.
func (k *key) doom(now time.Time) {
	if k.isPrimary() && len(k.MultiRegion.Regions) > 1 {
		k.State = types.KeyStatePendingReplicaDeletion
		return
	}
	k.State, k.DeletionDate = types.KeyStatePendingDeletion, now.Add(time.Duration(k.PendingDays)*day)
	k.PendingDays = 0
}

// CancelKeyDeletion keeps a key that was to be deleted; it is disabled then.
func (s *Service) CancelKeyDeletion(ctx context.Context, call *api.Call, in *sdk.CancelKeyDeletionInput) (*sdk.CancelKeyDeletionOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	out := &sdk.CancelKeyDeletionOutput{KeyId: &u.arn}
	call.Trail.Response = out
	return out, u.change(ctx, func(k *key, _ store.Tx) error {
		k.State, k.DeletionDate, k.PendingDays = types.KeyStateDisabled, time.Time{}, 0
		if !k.complete() {
			k.State = types.KeyStatePendingImport
		}
		return nil
	})
}

// destroy deletes a key: its grants, its materials, its aliases, what is known of
// its use, and the key itself. It tells the events.
func destroy(tx store.Tx, k *key, now time.Time) (events []*audit.ServiceEvent, err error) {
	if err := destroyGrants(tx, k); err != nil {
		return nil, err
	}
	var doomed []store.Record
	collect := func(rec store.Record) error {
		doomed = append(doomed, rec)
		return nil
	}
	for _, m := range k.Materials {
		if m.Gone {
			continue
		}
		rec, err := tx.Get(materialPlace(k.account, k.region, k.ID, m.ID))
		if err != nil {
			return nil, err
		}
		doomed = append(doomed, rec)
	}
	if err := tx.Lookup(aliasesOf(k), collect); err != nil {
		return nil, err
	}
	for _, kind := range []string{usageKind, keyKind} {
		rec, err := tx.Get(store.Place{Kind: kind, Account: k.account, Region: k.region, ID: k.ID})
		if err == nil {
			doomed = append(doomed, rec)
		} else if !isNotFound(err) {
			return nil, err
		}
	}
	for _, rec := range doomed {
		if err := tx.Delete(rec.Place, rec.Revision); err != nil {
			return nil, err
		}
	}
	if k.isReplica() {
		primary, err := readKey(tx, k.account, k.MultiRegion.Primary, k.ID)
		if err != nil {
			return nil, err
		}
		regions := slices.DeleteFunc(slices.Clone(k.MultiRegion.Regions), func(region string) bool { return region == k.region })
		primary.MultiRegion = &multiRegion{primary.region, regions}
		if primary.State == types.KeyStatePendingReplicaDeletion {
			primary.doom(now)
		}
		if err := primary.write(tx); err != nil {
			return nil, err
		}
		events = primary.syncs(newUUID(), now)
	}
	return append(events, &audit.ServiceEvent{
		Source: eventSource, Name: "DeleteKey", ID: newUUID(), Time: now, Account: k.account, Region: k.region,
		Resource: k.resource(), Response: []api.Pair{{Name: "keyId", Value: k.arn}},
	}), nil
}
