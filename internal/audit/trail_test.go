package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/sqlite"
	"github.com/kagimori/kagimori/internal/store/storetest"
)

// rooms is a Trail over a real store and a real journal, in a folder each.
type rooms struct {
	*testing.T
	storeFile, journalDir string
	sealer                store.Sealer
	clock                 *clock.Manual
	db                    *sqlite.DB
	store                 store.Store
	journal               *journal.Journal
	trail                 *Trail
}

func newRooms(t *testing.T, journalDir string) *rooms {
	t.Helper()
	r := &rooms{T: t, storeFile: filepath.Join(t.TempDir(), "store.db"), journalDir: journalDir, sealer: storetest.NewSealer(),
		clock: clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	r.must(sqlite.Create(r.storeFile))
	if late := r.open(); late != 0 {
		t.Errorf("%d late records in what is new", late)
	}
	t.Cleanup(func() { r.close() })
	return r
}

func (r *rooms) must(err error) {
	if err != nil {
		r.Helper()
		r.Fatal(err)
	}
}

func (r *rooms) open() (late int) {
	r.Helper()
	var err error
	r.db, err = sqlite.Open(r.storeFile)
	r.must(err)
	r.store = r.db.Store(r.sealer)
	r.journal, _, err = journal.Open(r.journalDir, journal.Options{SegmentSize: 1100 << 10, Clock: r.clock})
	r.must(err)
	r.trail, late, err = Open(context.Background(), r.store, r.journal, r.journalDir)
	r.must(err)
	return late
}

func (r *rooms) close() { r.journal.Close(); r.db.Close() }

// reopen goes on where a crash would have left everything: what the Trail had in
// memory is gone.
func (r *rooms) reopen() (late int) {
	r.Helper()
	r.close()
	return r.open()
}

// newRecord is a record of that size.
func newRecord(size int) api.Record {
	id := uuid.NewString()
	return api.Record{EventID: id, JSON: fmt.Appendf(nil, `{"eventID":"%s","filler":"%0*d"}`, id, size, 0)}
}

// commit stores a change together with its records.
func (r *rooms) commit(name string, recs ...api.Record) ([]api.Record, error) {
	return r.trail.Commit(context.Background(), func(tx store.Tx) error {
		_, err := tx.Put(store.Place{Kind: "thing", ID: name}, nil, 0)
		return err
	}, func() []api.Record { return recs })
}

// want checks what is stored, how often each record is in the journal, and how
// many wait in the outbox.
func (r *rooms) want(things, waiting int, recs ...api.Record) {
	r.Helper()
	r.must(r.store.View(context.Background(), func(rd store.Reader) error {
		for kind, want := range map[string]int{"thing": things, outboxKind: waiting} {
			if n, err := rd.Count(kind, "", ""); err != nil || n != want {
				r.Errorf("%d records of kind %s, %v, want %d", n, kind, err, want)
			}
		}
		return nil
	}))
	found := map[string]int{}
	for entry, err := range journal.Read(r.journalDir, 1) {
		r.must(err)
		found[string(entry.Record)]++
	}
	for i, rec := range recs {
		if found[string(rec.JSON)] != 1 {
			r.Errorf("record %d is in the journal %d times", i, found[string(rec.JSON)])
		}
	}
	if len(found) != len(recs) {
		r.Errorf("%d records in the journal, want %d", len(found), len(recs))
	}
}

func TestCommit(t *testing.T) {
	r := newRooms(t, t.TempDir())
	ctx := context.Background()
	a, b, c := newRecord(1), newRecord(1), newRecord(1)
	recs, err := r.commit("one", a, b)
	r.must(err)
	r.want(1, 2)
	r.must(r.trail.JournalCommitted(ctx, recs))
	r.want(1, 2, a, b)
	// The next change empties the outbox on the way.
	recs, err = r.commit("two", c)
	r.must(err)
	r.want(2, 1, a, b)
	r.must(r.trail.JournalCommitted(ctx, recs))
	r.must(r.trail.Empty(ctx))
	r.want(2, 0, a, b, c)
	r.must(r.trail.Empty(ctx))

	d := newRecord(1)
	r.must(r.trail.Journal(ctx, d.JSON))
	r.want(2, 0, a, b, c, d)

	// What fails leaves neither a change nor a record.
	wrong := errors.New("wrong")
	if _, err := r.trail.Commit(ctx, func(tx store.Tx) error {
		_, err := tx.Put(store.Place{Kind: "thing", ID: "three"}, nil, 0)
		return errors.Join(err, wrong)
	}, func() []api.Record { return []api.Record{newRecord(1)} }); !errors.Is(err, wrong) {
		t.Errorf("Commit: %v", err)
	}
	if _, err := r.commit("four", d, d); err == nil {
		t.Error("two records of one event id were accepted")
	}
	r.want(2, 0, a, b, c, d)
	if late := r.reopen(); late != 0 {
		t.Errorf("%d late records", late)
	}
	r.want(2, 0, a, b, c, d)
}

// TestFailedCommitForgetsNothing: what a commit that failed was to take out of
// the outbox is taken out by the next.
func TestFailedCommitForgetsNothing(t *testing.T) {
	r := newRooms(t, t.TempDir())
	ctx := context.Background()
	a, b := newRecord(1), newRecord(1)
	recs, err := r.commit("one", a)
	r.must(err)
	r.must(r.trail.JournalCommitted(ctx, recs))
	if _, err := r.commit("one", newRecord(1)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Commit: %v", err)
	}
	r.want(1, 1, a)
	_, err = r.commit("two", b)
	r.must(err)
	r.want(2, 1, a)
}

// TestCrash opens again after a crash at each step of a change.
func TestCrash(t *testing.T) {
	r := newRooms(t, t.TempDir())
	ctx := context.Background()
	var all []api.Record
	for range 3 { // the journal goes on, so that positions matter
		a, b, c := newRecord(1), newRecord(1), newRecord(1)
		// Stored, and not journalled.
		_, err := r.commit(a.EventID, a)
		r.must(err)
		if late := r.reopen(); late != 1 {
			t.Errorf("%d late records, want 1", late)
		}
		all = append(all, a)
		r.want(len(all), 0, all...)

		// Journalled, and not yet out of the outbox.
		recs, err := r.commit(b.EventID, b)
		r.must(err)
		r.must(r.trail.JournalCommitted(ctx, recs))
		if late := r.reopen(); late != 0 {
			t.Errorf("%d late records, want none", late)
		}
		all = append(all, b)
		r.want(len(all), 0, all...)

		// One of two journalled.
		d := newRecord(1)
		recs, err = r.commit(c.EventID, c, d)
		r.must(err)
		r.must(r.trail.JournalCommitted(ctx, recs[:1]))
		if late := r.reopen(); late != 1 {
			t.Errorf("%d late records, want 1", late)
		}
		_, err = r.commit(d.EventID) // a change without records
		r.must(err)
		all = append(all, c, d)
		r.want(len(all), 0, all...)
		if late := r.reopen(); late != 0 {
			t.Errorf("%d late records, want none", late)
		}
	}
}

// TestJournalGone: what the journal does not take stays in the outbox.
func TestJournalGone(t *testing.T) {
	r := newRooms(t, t.TempDir())
	ctx := context.Background()
	a, b := newRecord(1), newRecord(1)
	recs, err := r.commit("one", a, b)
	r.must(err)
	r.must(r.journal.Close())
	if err := r.trail.JournalCommitted(ctx, recs); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("JournalCommitted: %v", err)
	}
	if err := r.trail.Drain(ctx); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Drain: %v", err)
	}
	r.want(1, 2)
	if late := r.reopen(); late != 2 {
		t.Errorf("%d late records, want 2", late)
	}
	r.want(1, 0, a, b)
}

// TestForeignOutbox: an entry that no Trail wrote is an error, not a record.
func TestForeignOutbox(t *testing.T) {
	r := newRooms(t, t.TempDir())
	ctx := context.Background()
	r.must(r.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Put(outboxPlace("x"), []byte("short"), 0)
		return err
	}))
	if _, _, err := Open(ctx, r.store, r.journal, r.journalDir); err == nil {
		t.Error("an outbox entry of 5 bytes was accepted")
	}
}

// TestTogether makes many changes at the same time, while Drain runs.
func TestTogether(t *testing.T) {
	r := newRooms(t, t.TempDir())
	ctx := context.Background()
	const workers, each = 8, 25
	all := make([]api.Record, workers*each)
	stop := make(chan struct{})
	var drains, commits sync.WaitGroup
	drains.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := r.trail.Drain(ctx); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for w := range workers {
		commits.Go(func() {
			for i := range each {
				rec := newRecord(100)
				all[w*each+i] = rec
				recs, err := r.commit(rec.EventID, rec)
				if err == nil {
					err = r.trail.JournalCommitted(ctx, recs)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	commits.Wait()
	close(stop)
	drains.Wait()
	r.must(r.trail.Empty(ctx))
	r.want(len(all), 0, all...)
	if late := r.reopen(); late != 0 {
		t.Errorf("%d late records", late)
	}
}

// TestLateOrder: records that a crash kept from the journal are written in the
// order of their changes.
func TestLateOrder(t *testing.T) {
	r := newRooms(t, t.TempDir())
	var want []string
	for i := range 20 {
		rec := newRecord(1)
		_, err := r.commit(fmt.Sprint(i), rec)
		r.must(err)
		want = append(want, string(rec.JSON))
	}
	if late := r.reopen(); late != len(want) {
		t.Errorf("%d late records, want %d", late, len(want))
	}
	var got []string
	for entry, err := range journal.Read(r.journalDir, 1) {
		r.must(err)
		got = append(got, string(entry.Record))
	}
	if !slices.Equal(got, want) {
		t.Errorf("written late as\n%q\nwant\n%q", got, want)
	}
}

// TestPanicForgetsNothing is TestFailedCommitForgetsNothing for a change that
// panics.
func TestPanicForgetsNothing(t *testing.T) {
	r := newRooms(t, t.TempDir())
	ctx := context.Background()
	a := newRecord(1)
	recs, err := r.commit("one", a)
	r.must(err)
	r.must(r.trail.JournalCommitted(ctx, recs))
	func() {
		defer func() { recover() }()
		r.trail.Commit(ctx, func(store.Tx) error { panic("a bug") }, nil)
	}()
	r.must(r.trail.Empty(ctx))
	r.want(1, 0, a)
}
