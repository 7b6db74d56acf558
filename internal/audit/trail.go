package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/store"
)

// outboxKind is the kind of store records that hold the audit record of a
// change until the journal has it.
const outboxKind = "outbox"

// Trail joins the store and the journal so that nothing is done unrecorded.
//
// A change is committed together with its audit record, which waits in the
// store's outbox until the journal has made it durable. Whatever happens in
// between (a crash, a full disk), the record is written later. Entries carry the
// journal's position, so that Open need only look at what was journalled after
// it to know what is missing. Should a failing disk leave it unclear whether a
// record was written, it may be there twice, under the same event id.
type Trail struct {
	store   store.Store
	journal *journal.Journal

	mu     sync.Mutex
	failed []api.Record // committed, but the journal refused them; in that order
	done   []string     // journalled, still in the outbox
}

// Open makes a Trail and writes the records that a crash left in the outbox. It
// returns how many it wrote. What cannot be written yet, on a full disk, waits
// for Drain.
func Open(ctx context.Context, st store.Store, j *journal.Journal, dir string) (*Trail, int, error) {
	t := &Trail{store: st, journal: j}
	var left []store.Record
	from := uint64(math.MaxUint64)
	err := st.View(ctx, func(r store.Reader) error {
		return r.Scan(outboxKind, "", "", "", 0, func(rec store.Record) error {
			if len(rec.Value) < 8 {
				return fmt.Errorf("outbox entry %s is too short", rec.ID)
			}
			from = min(from, binary.BigEndian.Uint64(rec.Value))
			left = append(left, rec)
			return nil
		})
	})
	if err != nil || len(left) == 0 {
		return t, 0, err
	}
	// Where revisions count the changes of the whole store, this is the order in
	// which the changes were made.
	slices.SortFunc(left, func(a, b store.Record) int { return cmp.Compare(a.Revision, b.Revision) })
	written := map[string][]byte{}
	for _, rec := range left {
		written[rec.ID] = nil
	}
	for entry, err := range journal.ReadSince(dir, from+1) {
		if err != nil {
			return nil, 0, err
		}
		var seen struct {
			EventID string `json:"eventID"`
		}
		if json.Unmarshal(entry.Record, &seen) != nil {
			continue
		}
		if _, ok := written[seen.EventID]; ok {
			written[seen.EventID] = entry.Record
		}
	}
	for _, rec := range left {
		// The whole record is compared: the journal has another one under the same
		// id if the store reported a failure for a change that took effect.
		if record := rec.Value[8:]; bytes.Equal(record, written[rec.ID]) {
			t.done = append(t.done, rec.ID)
		} else {
			t.failed = append(t.failed, api.Record{EventID: rec.ID, JSON: record})
		}
	}
	late := len(t.failed)
	if t.Drain(ctx) != nil {
		late -= len(t.failed)
	}
	return t, late, nil
}

// Commit runs fn in a transaction of the store, and with it puts records(), which
// is asked after fn, into the outbox. It returns the records; the caller then
// hands them to Journal. It refuses while the journal is unwell, so that changes
// do not pile up unrecorded.
func (t *Trail) Commit(ctx context.Context, fn func(store.Tx) error, records func() []api.Record) ([]api.Record, error) {
	if err := t.journal.Err(); err != nil {
		return nil, err
	}
	done := t.takeDone()
	committed := false
	defer func() {
		if !committed { // fn may have panicked
			t.addDone(done...)
		}
	}()
	var recs []api.Record
	err := t.store.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		recs = records()
		position := t.journal.LastSeq()
		for _, r := range recs {
			value := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(r.JSON)), position)
			if _, err := tx.Put(outboxPlace(r.EventID), append(value, r.JSON...), 0); err != nil {
				return err
			}
		}
		return removeAll(tx, done)
	})
	if err != nil {
		return nil, err
	}
	committed = true
	return recs, nil
}

// Change is how a call changes something: fn's changes and the record of the call
// become durable together. Without a decision that allowed the call nothing is
// changed.
func (t *Trail) Change(ctx context.Context, call *api.Call, fn func(store.Tx) error) error {
	if !call.Authorized() {
		return fmt.Errorf("%s would change something without an authorization decision", call.Operation)
	}
	recs, err := t.Commit(ctx, func(tx store.Tx) error {
		call.Trail.Events = nil
		return fn(tx)
	}, func() []api.Record {
		return append(CallRecords(call, nil), call.Trail.Events...)
	})
	call.Trail.Written = recs
	return err
}

// Journal makes a record durable that no change goes with.
func (t *Trail) Journal(ctx context.Context, record []byte) error {
	_, err := t.journal.Append(ctx, record)
	return err
}

// JournalAll is Journal for several records, which share one wait where they can.
func (t *Trail) JournalAll(ctx context.Context, recs []api.Record) error {
	var group errgroup.Group
	for _, r := range recs {
		group.Go(func() error { return t.Journal(ctx, r.JSON) })
	}
	return group.Wait()
}

// JournalCommitted makes records durable that Commit returned. What fails here
// stays in the outbox, and Drain tries it again.
func (t *Trail) JournalCommitted(ctx context.Context, recs []api.Record) error {
	var first error
	for _, r := range recs {
		if _, err := t.journal.Append(ctx, r.JSON); err != nil {
			t.mu.Lock()
			t.failed = append(t.failed, r)
			t.mu.Unlock()
			if first == nil {
				first = err
			}
			continue
		}
		t.addDone(r.EventID)
	}
	return first
}

// Ready is nil while records can be written, else the reason why not.
func (t *Trail) Ready() error { return t.journal.Err() }

// LastSeq is the sequence number of the last durable record.
func (t *Trail) LastSeq() uint64 { return t.journal.LastSeq() }

// Drain writes the records whose journalling failed, and empties the outbox.
func (t *Trail) Drain(ctx context.Context) error {
	t.mu.Lock()
	failed := t.failed
	t.failed = nil
	t.mu.Unlock()
	if err := t.JournalCommitted(ctx, failed); err != nil {
		return err
	}
	return t.Empty(ctx)
}

// Empty removes from the outbox what the journal has.
func (t *Trail) Empty(ctx context.Context) error {
	done := t.takeDone()
	if len(done) == 0 {
		return nil
	}
	err := t.store.Update(ctx, func(tx store.Tx) error { return removeAll(tx, done) })
	if err != nil {
		t.addDone(done...)
	}
	return err
}

func (t *Trail) addDone(ids ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = append(t.done, ids...)
}

func (t *Trail) takeDone() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := t.done
	t.done = nil
	return done
}

func removeAll(tx store.Tx, ids []string) error {
	for _, id := range ids {
		rec, err := tx.Get(outboxPlace(id))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := tx.Delete(rec.Place, rec.Revision); err != nil {
			return err
		}
	}
	return nil
}

func outboxPlace(eventID string) store.Place { return store.Place{Kind: outboxKind, ID: eventID} }

// EventRecord is the record of a service event as bytes of its own.
func EventRecord(ev *ServiceEvent) api.Record {
	return api.Record{EventID: ev.ID, JSON: AppendServiceEvent(make([]byte, 0, 1024), ev)}
}
