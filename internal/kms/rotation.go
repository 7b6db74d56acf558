package kms

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	day                 = 24 * time.Hour
	defaultRotationDays = 365
	// conflictWindow is how long before an automatic rotation one on demand is
	// refused.
	conflictWindow = 20 * time.Minute
)

// rotation is how a key is rotated.
// https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
type rotation struct {
	PeriodDays int32     `json:"periodDays,omitempty"`
	Next       time.Time `json:"next,omitzero"`      // next automatic rotation; zero when switched off
	OnDemand   int       `json:"onDemand,omitempty"` // rotations on demand so far
}

func (r *rotation) enabled() bool { return !r.Next.IsZero() }

// rotate gives the key new material, or makes current what was imported for that,
// and tells the event.
func rotate(tx store.Tx, k *key, now time.Time, how types.RotationType) (*audit.ServiceEvent, error) {
	previous := k.current()
	if k.Origin == types.OriginTypeExternal {
		last := len(k.Materials) - 1
		if last < 0 || !k.Materials[last].Pending {
			return nil, awserr.New(awserr.KMSInvalidState, "No available key material pending rotation for the key: %s.", k.arn)
		}
		if waits, err := k.awaited(tx); err != nil {
			return nil, err
		} else if waits {
			return nil, awserr.New(awserr.KMSInvalidState, "The key material that is pending rotation must be imported into all replicas of %s first.", k.arn)
		}
		m := &k.Materials[last]
		m.Pending, m.Created, m.Type = false, now, how
	} else {
		raw := keymaterial.GenerateSymmetric()
		defer secmem.Zero(raw)
		if err := addMaterial(tx, k, raw, now, how); err != nil {
			return nil, err
		}
	}
	return &audit.ServiceEvent{
		Source: eventSource, Name: "RotateKey", ID: newUUID(), Time: now, Account: k.account, Region: k.region,
		Resource: k.resource(),
		Details: []api.Pair{{Name: "rotationType", Value: string(how)}, {Name: "keyOrigin", Value: string(k.Origin)},
			{Name: "previousKeyMaterialId", Value: previous}, {Name: "currentKeyMaterialId", Value: k.current()}, {Name: "keyId", Value: k.arn}},
	}, nil
}

// EnableKeyRotation switches automatic rotation on, or changes its period.
func (s *Service) EnableKeyRotation(ctx context.Context, call *api.Call, in *sdk.EnableKeyRotationInput) (*sdk.EnableKeyRotationOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := u.notReplica(); err != nil {
		return nil, err
	}
	if err := u.onlyOrigin(types.OriginTypeAwsKms); err != nil {
		return nil, err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	err = u.change(ctx, func(k *key, _ store.Tx) error {
		period := aws.ToInt32(in.RotationPeriodInDays)
		if period == 0 {
			period = defaultRotationDays
			if k.Rotation.enabled() {
				period = k.Rotation.PeriodDays
			}
		}
		if !k.Rotation.enabled() || period != k.Rotation.PeriodDays {
			k.Rotation.PeriodDays = period
			k.Rotation.Next = call.Time.Add(time.Duration(period) * day)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	return &sdk.EnableKeyRotationOutput{}, nil
}

// DisableKeyRotation switches automatic rotation off.
func (s *Service) DisableKeyRotation(ctx context.Context, call *api.Call, in *sdk.DisableKeyRotationInput) (*sdk.DisableKeyRotationOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := u.notReplica(); err != nil {
		return nil, err
	}
	return &sdk.DisableKeyRotationOutput{}, u.change(ctx, func(k *key, _ store.Tx) error {
		k.Rotation.PeriodDays, k.Rotation.Next = 0, time.Time{}
		return nil
	})
}

// GetKeyRotationStatus tells whether and when a key is rotated.
func (s *Service) GetKeyRotationStatus(ctx context.Context, call *api.Call, in *sdk.GetKeyRotationStatusInput) (*sdk.GetKeyRotationStatusOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetKeyRotationStatusOutput{KeyId: aws.String(u.ID)}
	if u.Rotation.enabled() && u.State != types.KeyStatePendingDeletion {
		out.KeyRotationEnabled = true
		out.RotationPeriodInDays = aws.Int32(u.Rotation.PeriodDays)
		out.NextRotationDate = aws.Time(u.Rotation.Next)
	}
	return out, nil
}

// RotateKeyOnDemand rotates now, up to 25 times in the life of a key.
func (s *Service) RotateKeyOnDemand(ctx context.Context, call *api.Call, in *sdk.RotateKeyOnDemandInput) (*sdk.RotateKeyOnDemandOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := u.notReplica(); err != nil {
		return nil, err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	return &sdk.RotateKeyOnDemandOutput{KeyId: aws.String(u.ID)}, u.change(ctx, func(k *key, tx store.Tx) error {
		if k.Rotation.OnDemand >= maxOnDemandRotations {
			return awserr.New(awserr.LimitExceeded, "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: %s", k.arn)
		}
		if k.Rotation.enabled() && k.Rotation.Next.Sub(call.Time) <= conflictWindow {
			return awserr.New(awserr.Conflict, "Automatic rotation of %s is in progress or due within 20 minutes. Try again when it is done.", k.arn)
		}
		k.Rotation.OnDemand++
		event, err := rotate(tx, k, call.Time, types.RotationTypeOnDemand)
		if err != nil {
			return err
		}
		call.Trail.Events = append(call.Trail.Events, audit.EventRecord(event))
		return nil
	})
}

// ListKeyRotations lists the rotations of a key, oldest first.
func (s *Service) ListKeyRotations(ctx context.Context, call *api.Call, in *sdk.ListKeyRotationsInput) (*sdk.ListKeyRotationsOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	pg, err := newPage(in.Limit, in.Marker, 100, 1000)
	if err != nil {
		return nil, err
	}
	first, last := 1, u.currentIndex() // the first material came with the key, not by a rotation
	if in.IncludeKeyMaterial == types.IncludeKeyMaterialAllKeyMaterial {
		first, last = 0, len(u.Materials)-1
	}
	if pg.after != "" {
		n, err := strconv.Atoi(pg.after)
		if err != nil || n < 0 || n > last {
			return nil, awserr.New(awserr.InvalidMarker, "The marker does not belong to this list.")
		}
		first = n + 1
	}
	pending := types.KeyMaterialStatePendingRotation
	if u.isPrimary() && last > u.currentIndex() {
		err := s.Store.View(ctx, func(r store.Reader) error {
			waits, err := u.awaited(r)
			if waits {
				pending = types.KeyMaterialStatePendingMultiRegionImportAndRotation
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	out := &sdk.ListKeyRotationsOutput{Rotations: []types.RotationsListEntry{}}
	for i := first; i <= last && !pg.full(len(out.Rotations)); i++ {
		m := u.Materials[i]
		e := types.RotationsListEntry{KeyId: aws.String(u.ID), KeyMaterialId: aws.String(m.ID), KeyMaterialState: types.KeyMaterialStateNonCurrent}
		switch {
		case m.Pending:
			e.KeyMaterialState = pending
		case i == u.currentIndex():
			e.KeyMaterialState = types.KeyMaterialStateCurrent
		}
		if u.Origin == types.OriginTypeExternal {
			m.describe(&e)
		}
		if m.Type != "" {
			e.RotationType, e.RotationDate = m.Type, aws.Time(m.Created)
		}
		out.Rotations = append(out.Rotations, e)
		pg.last = strconv.Itoa(i)
	}
	out.NextMarker, out.Truncated = pg.next()
	return out, nil
}
