package kms

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	usageKind = "usage" // lastUse, by key id
	// usageMark is one record: the journal's position (8 bytes, big endian) up
	// to which the times of last use are stored.
	usageMarkKind = "usage-mark"
)

// lastUse is the last successful cryptographic call with a key.
type lastUse struct {
	Operation types.KeyLastUsageTrackingOperation `json:"operation"`
	Time      time.Time                           `json:"time"`
	RequestID string                              `json:"requestId"`
	EventID   string                              `json:"eventId"`
}

// usageTracker remembers the last use of keys until the background job stores
// it. Nothing is lost in a crash: the journal has every use.
type usageTracker struct {
	mu      sync.Mutex
	fresh   map[store.Place]lastUse
	storing map[store.Place]lastUse // on its way into the store

	flushing sync.Mutex // held by the one flush at a time
	marked   uint64     // the stored usageMark; guarded by flushing
}

// markEvery bounds how many audit records a start after a crash reads to find the
// uses that were not stored.
const markEvery = 100_000

func usagePlace(account, region, id string) store.Place {
	return store.Place{Kind: usageKind, Account: account, Region: region, ID: id}
}

func (t *usageTracker) set(p store.Place, u lastUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note(p, u)
}

// note is set for whoever holds mu.
func (t *usageTracker) note(p store.Place, u lastUse) {
	if t.fresh == nil {
		t.fresh = map[store.Place]lastUse{}
	}
	t.fresh[p] = u
}

// touch notes that call used k.
func (t *usageTracker) touch(k *key, call *api.Call) {
	t.set(usagePlace(k.account, k.region, k.ID), lastUse{
		Operation: trackedName(call.Operation), Time: call.Time, RequestID: call.RequestID, EventID: call.EventID})
}

func trackedName(operation string) types.KeyLastUsageTrackingOperation {
	return types.KeyLastUsageTrackingOperation(operation)
}

func (t *usageTracker) get(p store.Place) (lastUse, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, ok := t.fresh[p]
	if !ok {
		u, ok = t.storing[p]
	}
	return u, ok
}

// GetKeyLastUsage tells when and by which call a key was last used.
func (s *Service) GetKeyLastUsage(ctx context.Context, call *api.Call, in *sdk.GetKeyLastUsageInput) (*sdk.GetKeyLastUsageOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetKeyLastUsageOutput{KeyId: aws.String(u.ID), KeyCreationDate: &u.Created, TrackingStartDate: &u.Created, KeyLastUsage: &types.KeyLastUsageData{}}
	last, found, err := s.lastUsage(ctx, u.key)
	if err != nil || !found {
		return out, err
	}
	out.KeyLastUsage = &types.KeyLastUsageData{Operation: last.Operation, Timestamp: &last.Time,
		KmsRequestId: &last.RequestID, CloudTrailEventId: &last.EventID}
	return out, nil
}

// lastUsage is the last use of a key, if it was ever used.
func (s *Service) lastUsage(ctx context.Context, k *key) (last lastUse, found bool, err error) {
	place := usagePlace(k.account, k.region, k.ID)
	if last, found = s.usage.get(place); found {
		return last, true, nil
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		rec, err := r.Get(place)
		if err != nil {
			return err
		}
		return json.Unmarshal(rec.Value, &last)
	})
	if isNotFound(err) {
		return last, false, nil
	}
	return last, err == nil, err
}

// flushUsage stores the times of last use and how far in the journal they reach.
func (s *Service) flushUsage(ctx context.Context) error {
	t := &s.usage
	t.flushing.Lock()
	defer t.flushing.Unlock()
	// The position is taken first: what was journalled up to it has been noted.
	position := s.Trail.LastSeq()
	t.mu.Lock()
	t.storing, t.fresh = t.fresh, nil
	storing := t.storing
	t.mu.Unlock()
	if len(storing) == 0 && position-t.marked < markEvery {
		return nil
	}
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		for place, u := range storing {
			key := place
			key.Kind = keyKind
			if _, err := tx.Get(key); isNotFound(err) {
				continue // deleted meanwhile
			} else if err != nil {
				return err
			}
			value, err := json.Marshal(u)
			if err != nil {
				return err
			}
			if err := replace(tx, place, value); err != nil {
				return err
			}
		}
		return replace(tx, store.Place{Kind: usageMarkKind, ID: "journal"}, binary.BigEndian.AppendUint64(nil, position))
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.storing = nil
	if err == nil {
		t.marked = position
		return nil
	}
	for place, u := range storing {
		if _, newer := t.fresh[place]; !newer {
			t.note(place, u)
		}
	}
	return err
}

// replace puts a record whatever was there.
func replace(tx store.Tx, p store.Place, value []byte) error {
	rec, err := tx.Get(p)
	if err != nil && !isNotFound(err) {
		return err
	}
	_, err = tx.Put(p, value, rec.Revision)
	return err
}

// recoverUsage reads from the journal the uses that were not stored before the
// last run ended.
func (s *Service) recoverUsage(ctx context.Context, journalDir string) error {
	var position uint64
	err := s.Store.View(ctx, func(r store.Reader) error {
		rec, err := r.Get(store.Place{Kind: usageMarkKind, ID: "journal"})
		if err == nil && len(rec.Value) == 8 {
			position = binary.BigEndian.Uint64(rec.Value)
		}
		return err
	})
	if err != nil && !isNotFound(err) {
		return err
	}
	s.usage.marked = position
	for entry, err := range journal.ReadSince(journalDir, position+1) {
		if err != nil {
			return err
		}
		s.replayUse(entry.Record)
	}
	return s.flushUsage(ctx)
}

// replayUse notes the use that an audit record tells of, if it does.
func (s *Service) replayUse(record []byte) {
	var r struct {
		EventTime           time.Time       `json:"eventTime"`
		EventName           string          `json:"eventName"`
		ErrorCode           string          `json:"errorCode"`
		RequestID           string          `json:"requestID"`
		EventID             string          `json:"eventID"`
		AdditionalEventData json.RawMessage `json:"additionalEventData"`
		Resources           []struct {
			AccountID string `json:"accountId"`
			ARN       string `json:"ARN"`
		} `json:"resources"`
	}
	if json.Unmarshal(record, &r) != nil || r.ErrorCode != "" || !isTracked(r.EventName) {
		return
	}
	for _, res := range r.Resources {
		f := strings.SplitN(res.ARN, ":", 6)
		if id, ok := strings.CutPrefix(f[len(f)-1], "key/"); ok && len(f) == 6 {
			s.usage.set(usagePlace(res.AccountID, f[3], id), lastUse{
				Operation: trackedName(r.EventName), Time: r.EventTime, RequestID: r.RequestID, EventID: r.EventID})
		}
	}
}

// isTracked tells whether an operation counts as a use of its key.
func isTracked(operation string) bool {
	for _, op := range trackedName("").Values() {
		if string(op) == operation {
			return true
		}
	}
	return false
}
