package sqlite

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/store"
)

// fillUp puts pairs of large records, each in one Update, until one fails, and
// returns how many pairs there are. Others read and write meanwhile.
func fillUp(t *testing.T, s *Store) (pairs int) {
	t.Helper()
	for {
		if pairs > 1000 {
			t.Fatal("the disk does not get full")
		}
		err := s.Update(t.Context(), func(tx store.Tx) error {
			for _, half := range []string{"a", "b"} {
				if _, err := tx.Put(thing(fmt.Sprint(pairs, half)), make([]byte, 50_000), 0, store.IndexEntry{Name: "by", Value: half}); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			pairs++
			continue
		}
		if !strings.Contains(err.Error(), "disk is full") || !strings.Contains(err.Error(), s.db.path) {
			t.Errorf("Update on a full disk: %v", err)
		}
		return pairs
	}
}

// checkPairs proves that no half of an Update is there, but so many others.
func checkPairs(t *testing.T, s *Store, pairs, others int) {
	t.Helper()
	if n := verify(t, s); n != 2*pairs+others {
		t.Errorf("%d records, want %d", n, 2*pairs+others)
	}
	if _, err := get(s, fmt.Sprint(pairs, "a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("first half of the failed Update: %v", err)
	}
	if _, err := get(s, fmt.Sprint(pairs-1, "b")); err != nil {
		t.Errorf("last acknowledged: %v", err)
	}
}

// TestPageLimit has SQLite itself say that the disk is full, which works
// anywhere. The limit holds until the connection is replaced.
func TestPageLimit(t *testing.T) {
	db := create(t)
	s := db.Store(sharedSealer)
	if err := db.update(t.Context(), func(s *session) error { return s.exec("PRAGMA max_page_count = 500") }); err != nil {
		t.Fatal(err)
	}
	pairs := fillUp(t, s)
	checkPairs(t, s, pairs, 0)
	if err := s.Health(); err != nil { // it tried again, and could write
		t.Errorf("Health: %v", err)
	}
	put(t, s, "later", "")
}

// TestFailureIsShared: Updates that failed inside, but pretend not to have,
// and those that shared their commit are not acknowledged.
func TestFailureIsShared(t *testing.T) {
	db := create(t)
	s := db.Store(sharedSealer)
	if err := db.update(t.Context(), func(s *session) error { return s.exec("PRAGMA max_page_count = 100") }); err != nil {
		t.Fatal(err)
	}
	ran := make(chan struct{})
	beside := make(chan error)
	err := s.Update(t.Context(), func(tx store.Tx) error {
		go func() {
			close(ran)
			beside <- s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.Put(thing("beside"), nil, 0); return err })
		}()
		<-ran
		_, first := tx.Put(thing("large"), make([]byte, store.MaxValue), 0)
		_, second := tx.Put(thing("small"), nil, 0)
		if first == nil || second == nil {
			t.Errorf("Put: %v, then %v", first, second)
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("Update that hides an error: %v", err)
	}
	err = <-beside // it may have come before or after the connection was replaced
	if _, missing := get(s, "beside"); (err == nil) == errors.Is(missing, store.ErrNotFound) {
		t.Errorf("Update beside: %v, but Get: %v", err, missing)
	}
	if _, err := get(s, "small"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	verify(t, s)
}
