package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/api"
)

// TestFullDisk fills the disk of the journal, not that of the store: a change is
// stored whose record cannot be written. The record follows when there is space,
// also if the process was started anew meanwhile.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skip("mounting a small disk needs root: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	ballast := filepath.Join(disk, "ballast")
	fill := func() {
		t.Helper()
		f, err := os.OpenFile(ballast, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if f.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	r := newRooms(t, filepath.Join(disk, "journal"))
	// change stores one thing more, with a record of that size.
	var all, waiting []api.Record
	change := func(size int) error {
		rec := newRecord(size)
		recs, err := r.commit(rec.EventID, rec)
		if err != nil {
			return err
		}
		all = append(all, rec)
		if err = r.trail.JournalCommitted(ctx, recs); err != nil {
			waiting = append(waiting, rec)
		}
		return err
	}
	const half = 600 << 10 // a segment of the journal has room for one of these
	for _, restart := range []bool{false, true} {
		r.must(change(half))
		fill()
		// The journal may have a spare segment, and uses that up first.
		for len(waiting) == 0 {
			if err := change(half); err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
		}
		if len(waiting) != 1 {
			t.Fatalf("%d records wait", len(waiting))
		}
		if r.trail.Ready() == nil {
			t.Error("the trail is ready on a full disk")
		}
		before := len(all)
		if err := change(1); !errors.Is(err, syscall.ENOSPC) || len(all) != before {
			t.Errorf("a change was stored that cannot be recorded: %v", err)
		}
		if err := r.trail.Drain(ctx); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Drain: %v", err)
		}
		if restart { // still full
			if late := r.reopen(); late != 0 {
				t.Errorf("%d records were written on a full disk", late)
			}
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); r.trail.Ready() != nil; time.Sleep(time.Millisecond) {
			r.clock.Advance(time.Second)
			if time.Now().After(end) {
				t.Fatal("the journal does not go on: ", r.trail.Ready())
			}
		}
		r.must(r.trail.Drain(ctx))
		r.want(len(all), 0, all...)
		waiting = nil
	}
}
