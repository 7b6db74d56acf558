package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kagimori/kagimori/internal/store"
)

// TestFullDisk fills a small file system.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("mounting a small disk needs root: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "store.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	db := open(t, path)
	s := db.Store(sharedSealer)
	ballast := filepath.Join(dir, "ballast")
	write(t, ballast, make([]byte, 1<<20))

	// Large records, then small ones until there is no room for them either,
	// nor for what Health tries to write.
	pairs := fillUp(t, s)
	small := 0
	for s.Health() == nil {
		if err := s.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.Put(thing(fmt.Sprint("small ", small)), nil, 0)
			return err
		}); err == nil {
			small++
		}
	}
	for range 3 {
		checkPairs(t, s, pairs, small) // readable while full
		if err := s.Health(); err == nil || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("Health on a full disk: %v", err)
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if err := s.Update(t.Context(), func(tx store.Tx) error {
					_, err := tx.Put(thing(fmt.Sprint("more ", i)), nil, 0)
					return err
				}); err == nil {
					t.Error("Update succeeded on a full disk")
				}
			})
		}
		wg.Wait()
	}
	if err := Create(filepath.Join(dir, "second.db")); err == nil {
		t.Error("Create on a full disk succeeded")
	}
	if err := db.Snapshot(t.Context(), filepath.Join(dir, "copy.db"), nil); err == nil {
		t.Error("Snapshot on a full disk succeeded")
	}
	for name := range files(t, dir) {
		if strings.Contains(name, ".new-") || name == "second.db" || name == "copy.db" {
			t.Errorf("%s was left behind", name)
		}
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := s.Health(); err != nil { // nobody else has written yet
		t.Errorf("Health with space again: %v", err)
	}
	checkPairs(t, s, pairs, small)
	put(t, s, "later", "")
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	again := open(t, path)
	if n := verify(t, again.Store(sharedSealer)); n != 2*pairs+small+1 {
		t.Errorf("%d records after reopening, want %d", n, 2*pairs+small+1)
	}
	again.Close()
}
