package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/storetest"
)

// The tests here need a second process: this binary again, which TestMain
// turns into what childEnv names.
const childEnv = "KAGIMORI_STORE_CHILD"

var children = map[string]func(args []string) error{
	"write": childWrite,
	"visit": childVisit,
}

func TestMain(m *testing.M) {
	child, ok := children[os.Getenv(childEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// Both processes of a test seal with the same key.
var sharedSealer = storetest.SealerOf(make([]byte, 32))

const (
	killWriters = 4
	killRecords = 3 // written together
	killWindow  = 4 // how many such sets a writer leaves
)

func killID(round, writer, step, record int) string {
	return fmt.Sprintf("%d-%d-%06d-%d", round, writer, step, record)
}

// childWrite writes until it is killed. Each step of a writer puts a set of
// records and deletes the set of killWindow steps ago in one Update, and is
// reported when that is acknowledged.
func childWrite(args []string) error {
	db, err := Open(args[0])
	if err != nil {
		return err
	}
	round, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	s := db.Store(sharedSealer)
	// Be often in the middle of a checkpoint.
	if err := db.update(context.Background(), func(s *session) error { return s.exec("PRAGMA wal_autocheckpoint = 20") }); err != nil {
		return err
	}
	failed := make(chan error)
	for w := range killWriters {
		go func() {
			for step := 0; ; step++ {
				err := s.Update(context.Background(), func(tx store.Tx) error {
					for r := range killRecords {
						e := store.IndexEntry{Name: "writer", Value: fmt.Sprint(round, "-", w)}
						if _, err := tx.Put(thing(killID(round, w, step, r)), value, 0, e); err != nil {
							return err
						}
						if step < killWindow {
							continue
						}
						old, err := tx.Get(thing(killID(round, w, step-killWindow, r)))
						if err != nil {
							return err
						}
						if err := tx.Delete(old.Place, old.Revision); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					failed <- err
					return
				}
				fmt.Printf("%d %d\n", w, step) // one write, so a line is whole or absent
			}
		}()
	}
	return <-failed
}

// TestKill kills a process that writes at a random moment, again and again.
// KAGIMORI_KILL_ROUNDS sets how often.
func TestKill(t *testing.T) {
	rounds := 10
	if v := os.Getenv("KAGIMORI_KILL_ROUNDS"); v != "" {
		var err error
		if rounds, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "store.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	expected := 0
	for round := range rounds {
		acknowledged := killRound(t, path, round)
		db := open(t, path)
		s := db.Store(sharedSealer)
		for w, last := range acknowledged {
			// The step after the last acknowledged one may have happened.
			var found []string
			if err := s.View(t.Context(), func(r store.Reader) error {
				v := fmt.Sprint(round, "-", w)
				return r.Lookup(store.Query{Kind: "thing", Index: "writer", From: v, To: v}, func(rec store.Record) error {
					found = append(found, rec.ID)
					return nil
				})
			}); err != nil {
				t.Fatal(err)
			}
			if now, next := killState(round, w, last), killState(round, w, last+1); !slices.Equal(found, now) && !slices.Equal(found, next) {
				t.Errorf("round %d, writer %d, acknowledged %d: found %v", round, w, last, found)
			}
			expected += len(found)
		}
		if n := verify(t, s); n != expected {
			t.Errorf("round %d: %d records, want %d", round, n, expected)
		}
		changes, err := s.Changes(t.Context(), 0, 0)
		for i, c := range changes {
			if c.Seq != uint64(i+1) {
				t.Fatalf("round %d: change %d has seq %d", round, i+1, c.Seq)
			}
		}
		if err != nil && !errors.Is(err, store.ErrTrimmed) {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
	}
}

// killState is what a writer leaves after a step, -1 for none.
func killState(round, writer, last int) (ids []string) {
	for step := max(0, last-killWindow+1); step <= last; step++ {
		for r := range killRecords {
			ids = append(ids, killID(round, writer, step, r))
		}
	}
	return ids
}

// killRound runs and kills a writing process and returns the last step that
// each of its writers had acknowledged.
func killRound(t *testing.T, path string, round int) (acknowledged [killWriters]int) {
	t.Helper()
	cmd := child(t, "write", path, fmt.Sprint(round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for w := range acknowledged {
		acknowledged[w] = -1
	}
	deadline := rand.IntN(100)
	lines := bufio.NewScanner(out)
	n := 0
	for ; lines.Scan(); n++ {
		if n == deadline {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		var w, step int
		if _, err := fmt.Sscan(lines.Text(), &w, &step); err != nil || acknowledged[w] != step-1 {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		acknowledged[w] = step
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("after %d lines the process ended with %v", n, err)
	}
	return acknowledged
}

// childVisit does to the store what commands do beside a server: it updates
// meta blobs and takes a snapshot.
func childVisit(args []string) error {
	db, err := Open(args[0])
	if err != nil {
		return err
	}
	ctx := context.Background()
	for range visits {
		if err := db.UpdateMeta(ctx, increment); err != nil {
			return err
		}
	}
	if err := db.Snapshot(ctx, args[1], nil); err != nil {
		return err
	}
	return db.Close()
}

const visits = 5

func increment(tx store.MetaTx) error {
	b, err := tx.Get("n")
	n := 0
	if err == nil {
		n, err = strconv.Atoi(string(b))
	} else if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return err
	}
	return tx.Put("n", fmt.Append(nil, n+1))
}

// TestSecondProcess has another process visit a store under full load, in
// which every Update moves something between two records.
func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "store.db"), filepath.Join(dir, "copy.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	db := open(t, path)
	s := db.Store(sharedSealer)
	const accounts, start = 20, 1000
	for i := range accounts {
		put(t, s, fmt.Sprint(i), fmt.Sprint(start), store.IndexEntry{Name: "by", Value: fmt.Sprint(i)})
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				from := rand.IntN(accounts)
				to := (from + 1 + rand.IntN(accounts-1)) % accounts
				if err := s.Update(t.Context(), func(tx store.Tx) error {
					return errors.Join(add(tx, from, -1), add(tx, to, 1))
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	visit := child(t, "visit", path, copied)
	err := visit.Start()
	for range visits { // at the same time as the other process
		if err := db.UpdateMeta(t.Context(), increment); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(err, visit.Wait()); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()

	if n, err := db.Meta(t.Context(), "n"); string(n) != fmt.Sprint(2*visits) {
		t.Errorf("meta: %q %v, want %d", n, err, 2*visits)
	}
	verify(t, s)
	cs := open(t, copied).Store(sharedSealer)
	if n := verify(t, cs); n != accounts {
		t.Errorf("%d records in the copy", n)
	}
	sum := 0
	if err := cs.View(t.Context(), func(r store.Reader) error {
		return r.Scan("thing", "111122223333", "eu-central-1", "", 0, func(rec store.Record) error {
			n, err := strconv.Atoi(string(rec.Value))
			sum += n
			return err
		})
	}); err != nil {
		t.Error(err)
	}
	if sum != accounts*start {
		t.Errorf("the copy adds up to %d, want %d", sum, accounts*start)
	}
	put(t, cs, "the copy", "can be written")
}

// add changes the number in a record, and with it its index entry.
func add(tx store.Tx, id, amount int) error {
	rec, err := tx.Get(thing(fmt.Sprint(id)))
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(rec.Value))
	if err != nil {
		return err
	}
	_, err = tx.Put(rec.Place, fmt.Append(nil, n+amount), rec.Revision, store.IndexEntry{Name: "by", Value: fmt.Sprint(n + amount)})
	return err
}

func TestSnapshot(t *testing.T) {
	db := create(t)
	s := db.Store(sharedSealer)
	for i := range 30 {
		put(t, s, fmt.Sprintf("%02d", i), strings.Repeat("x", 100_000))
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "copy.db")
	var first, last, total int64
	writes := 0
	err := db.Snapshot(t.Context(), path, func(done, of int64) {
		if first == 0 {
			first, total = done, of
		}
		if done < last || of != total {
			t.Errorf("progress went from %d of %d to %d of %d", last, total, done, of)
		}
		last = done
		put(t, s, fmt.Sprint("later ", done), "") // is not in the copy
		writes++
	})
	if err != nil {
		t.Fatal(err)
	}
	if last != total || total < 3_000_000 || first == total || writes < 2 {
		t.Errorf("progress from %d to %d of %d", first, last, total)
	}
	if len(files(t, dir)) != 1 {
		t.Error("files were left behind")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != total {
		t.Errorf("mode %v, size %d, %v", info.Mode(), info.Size(), err)
	}
	if n := verify(t, open(t, path).Store(sharedSealer)); n != 30 {
		t.Errorf("%d records in the copy", n)
	}
	if n := verify(t, s); n != 30+writes {
		t.Errorf("%d records in the original", n)
	}

	if err := db.Snapshot(t.Context(), path, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("onto an existing file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = db.Snapshot(ctx, filepath.Join(dir, "cancelled.db"), func(done, total int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if all := files(t, dir); len(all) > 3 || all["cancelled.db"] != "" { // the copy is open: it has a log
		t.Errorf("a cancelled snapshot left files: %d", len(all))
	}
}
