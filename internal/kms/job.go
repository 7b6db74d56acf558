package kms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/store"
)

// jobInterval is how often the background job looks around when nothing is due
// sooner.
const jobInterval = 10 * time.Second

// Start sets the background job going: rotations and deletions on time, records
// that could not be written, and the times of last use.
func (s *Service) Start() {
	s.job.Add(1)
	go func() {
		defer s.job.Done()
		ctx := context.Background()
		for {
			next, err := s.RunDue(ctx)
			if err = errors.Join(err, s.Flush(ctx)); err != nil {
				s.Log.Error("background job", "error", err, "next", "it will be tried again in "+jobInterval.String())
			}
			wait := jobInterval
			if !next.IsZero() && err == nil {
				wait = min(wait, max(next.Sub(s.Clock.Now()), 0))
			}
			select {
			case <-s.Clock.After(wait):
			case <-s.kick:
			case <-s.stop:
				return
			}
		}
	}()
}

// Close stops the background job and stores what it still held; should that
// fail, the next start finds it in the journal and the outbox. The Service must
// not be used any more.
func (s *Service) Close(ctx context.Context) {
	close(s.stop)
	s.job.Wait()
	s.pairs.close()
	s.closeStores()
	if err := s.Flush(ctx); err != nil {
		s.Log.Warn("the last uses of keys could not be stored; the next start will", "reason", err)
	}
}

// wake makes the background job look at once.
func (s *Service) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Flush writes records that had to wait, and the times of last use.
func (s *Service) Flush(ctx context.Context) error {
	return errors.Join(s.Trail.Drain(ctx), s.flushUsage(ctx))
}

// RunDue rotates and deletes the keys that are due, and the material that expires, and tells when the next one
// will be; the zero time means none is known. One that fails does not keep the
// others waiting.
func (s *Service) RunDue(ctx context.Context) (next time.Time, err error) {
	const batchSize = 100
	now := s.Clock.Now()
	q := store.Query{Kind: keyKind, Index: dueIndex, To: store.LastIndexValue, Limit: batchSize}
	var failed []error
	for {
		var batch []*key
		err := s.Store.View(ctx, func(r store.Reader) error {
			return r.Lookup(q, func(rec store.Record) error {
				k, err := decodeKey(rec)
				if err == nil {
					batch = append(batch, k)
				}
				return err
			})
		})
		if err != nil {
			return time.Time{}, errors.Join(append(failed, err)...)
		}
		for _, k := range batch {
			due := k.due()
			if due.After(now) {
				return due, errors.Join(failed...)
			}
			if err := s.runDue(ctx, k, now); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", k.arn, err))
			}
			q.From, q.After = dueValue(due), k.place()
		}
		if len(batch) < batchSize {
			return time.Time{}, errors.Join(failed...)
		}
	}
}

func (s *Service) runDue(ctx context.Context, seen *key, now time.Time) error {
	var events []*audit.ServiceEvent
	recs, err := s.Trail.Commit(ctx, func(tx store.Tx) error {
		events = nil
		k, err := readKey(tx, seen.account, seen.region, seen.ID)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if due := k.due(); due.IsZero() || due.After(now) {
			return nil // a call came in between
		}
		if k.State == types.KeyStatePendingDeletion && !k.DeletionDate.After(now) {
			events, err = destroy(tx, k, now)
			return err
		}
		if events, err = expire(tx, k, now); err != nil {
			return err
		}
		if k.State == types.KeyStateEnabled && !k.isReplica() && k.Rotation.enabled() && !k.Rotation.Next.After(now) {
			event, err := rotate(tx, k, now, types.RotationTypeAutomatic)
			if err != nil {
				return err
			}
			events = append(events, event)
			// One rotation is enough for a server that was down for long.
			for !k.Rotation.Next.After(now) {
				k.Rotation.Next = k.Rotation.Next.Add(time.Duration(k.Rotation.PeriodDays) * day)
			}
		}
		err = k.write(tx)
		events = append(events, k.syncs(newUUID(), now)...)
		return err
	}, func() []api.Record {
		var records []api.Record
		for _, event := range events {
			records = append(records, audit.EventRecord(event))
		}
		return records
	})
	if err != nil {
		return err
	}
	return s.Trail.JournalCommitted(ctx, recs)
}
