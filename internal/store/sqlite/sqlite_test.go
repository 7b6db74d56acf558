package sqlite

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	msqlite "modernc.org/sqlite"

	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/storetest"
)

// create makes a store in a folder of its own.
func create(t testing.TB) *DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func open(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// raw runs SQL on the file behind the store's back, as another program would.
func raw(t testing.TB, path, sql string) {
	t.Helper()
	c, err := connect(path, "mode=rw", sql)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

// files is what a folder holds, by name.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

func thing(id string) store.Place {
	return store.Place{Kind: "thing", Account: "111122223333", Region: "eu-central-1", ID: id}
}

func put(t testing.TB, s *Store, id, value string, index ...store.IndexEntry) (revision uint64) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) (err error) {
		revision, err = tx.Put(thing(id), []byte(value), 0, index...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return revision
}

func get(s *Store, id string) (value string, err error) {
	err = s.View(context.Background(), func(r store.Reader) error {
		rec, err := r.Get(thing(id))
		value = string(rec.Value)
		return err
	})
	return value, err
}

func verify(t testing.TB, s *Store) int {
	t.Helper()
	n, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return create(t).Store(storetest.NewSealer()) })
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	sealer := storetest.NewSealer()
	for i := range 3 {
		db := open(t, path)
		s := db.Store(sealer)
		put(t, s, fmt.Sprint(i), fmt.Sprint("value ", i), store.IndexEntry{Name: "by", Value: "v"})
		for j := range i + 1 {
			if v, err := get(s, fmt.Sprint(j)); err != nil || v != fmt.Sprint("value ", j) {
				t.Errorf("after %d: record %d is %q, %v", i, j, v, err)
			}
		}
		if n := verify(t, s); n != i+1 {
			t.Errorf("%d records, want %d", n, i+1)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(maps.Keys(files(t, dir))); !slices.Equal(got, []string{"store.db"}) {
			t.Errorf("files after Close: %v", got)
		}
	}
	// Another key sees nothing, and says so.
	_, err := get(open(t, path).Store(storetest.NewSealer()), "0")
	if !errors.Is(err, store.ErrTampered) {
		t.Errorf("other key: %v", err)
	}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "鍵 #1?mode=memory&%41.db") // SQLite must not take it for a URI
	if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open before Create: %v", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("Open made files: %v", got)
	}
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	before := files(t, dir)
	if len(before) != 1 {
		t.Errorf("files: %v", before)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: %v", err)
	}
	if !maps.Equal(files(t, dir), before) {
		t.Error("second Create changed something")
	}
	if err := Create(filepath.Join(dir, "missing", "store.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create in a missing folder: %v", err)
	}

	// A link to the file is as good as the file.
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	sealer := storetest.NewSealer()
	one, two := open(t, path), open(t, link)
	put(t, one.Store(sealer), "a", "value")
	if v, err := get(two.Store(sealer), "a"); v != "value" {
		t.Errorf("through the link: %q, %v", v, err)
	}
	info, err = os.Stat(path + "-wal")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the log %v, %v", info, err)
	}
}

// TestRefused: what Open does not understand, it does not touch.
func TestRefused(t *testing.T) {
	store := func(t *testing.T, path string) {
		if err := Create(path); err != nil {
			t.Fatal(err)
		}
	}
	newer := fmt.Sprintf("PRAGMA user_version = %d", len(migrations)+1)
	for _, c := range []struct {
		what string
		make func(t *testing.T, path string)
		want error
	}{
		{"empty file", func(t *testing.T, path string) { write(t, path, nil) }, ErrNotStore},
		{"text", func(t *testing.T, path string) { write(t, path, []byte("What a nice day.\n")) }, ErrNotStore},
		{"long text", func(t *testing.T, path string) { write(t, path, bytes.Repeat([]byte("What a nice day.\n"), 999)) }, ErrNotStore},
		{"header only", func(t *testing.T, path string) { write(t, path, []byte("SQLite format 3\x00")) }, ErrNotStore},
		{"folder", func(t *testing.T, path string) { os.Mkdir(path, 0o700) }, ErrNotStore},
		{"other database", func(t *testing.T, path string) {
			write(t, path, nil)
			raw(t, path, "CREATE TABLE t (x); PRAGMA user_version = 1")
		}, ErrNotStore},
		{"other application", func(t *testing.T, path string) {
			store(t, path)
			raw(t, path, "PRAGMA application_id = 1")
		}, ErrNotStore},
		{"newer schema", func(t *testing.T, path string) {
			store(t, path)
			raw(t, path, newer)
		}, ErrNewer},
		{"newer schema in WAL mode", func(t *testing.T, path string) {
			store(t, path)
			raw(t, path, "PRAGMA journal_mode = WAL; "+newer)
		}, ErrNewer},
		{"newer schema in the log", func(t *testing.T, path string) {
			store(t, path)
			crash(t, path, newer)
		}, ErrNewer},
		{"newer schema in the log, then much more", func(t *testing.T, path string) {
			store(t, path)
			crash(t, path, newer, "CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(100000))")
		}, ErrNewer},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "store.db")
			c.make(t, path)
			var before map[string]string
			if info, _ := os.Stat(path); !info.IsDir() {
				before = files(t, dir)
			}
			_, err := Open(path)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v with the path", err, c.want)
			}
			if before != nil && !maps.Equal(files(t, dir), before) {
				t.Errorf("Open changed the files: %v", slices.Collect(maps.Keys(files(t, dir))))
			}
		})
	}
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// crash runs SQL in WAL mode and leaves the file and its log as a process does
// that dies without closing: all of it only in the log.
func crash(t testing.TB, path string, sqls ...string) {
	t.Helper()
	c, err := connect(path, "mode=rw", "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range sqls {
		if err := c.script(sql); err != nil {
			t.Fatal(err)
		}
	}
	file, err1 := os.ReadFile(path)
	log, err2 := os.ReadFile(path + "-wal")
	if err := errors.Join(err1, err2, c.close()); err != nil {
		t.Fatal(err)
	}
	write(t, path, file)
	write(t, path+"-wal", log)
}

// TestUncommittedNewerSchema: a newer version that died before it committed
// its migration leaves a store that this one may open.
func TestUncommittedNewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	crash(t, path, fmt.Sprintf("BEGIN; PRAGMA user_version = %d; CREATE TABLE t (x); COMMIT", len(migrations)+1))
	log, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+"-wal", log[:len(log)-1])
	put(t, open(t, path).Store(storetest.NewSealer()), "a", "")
}

// TestTornFile: a crash in the middle of a checkpoint can leave the file short,
// or its first page torn, while all of it is in the log.
func TestTornFile(t *testing.T) {
	for _, c := range []struct {
		what string
		tear func(file []byte) []byte
	}{
		{"short", func(file []byte) []byte { return file[:len(file)-4096] }},
		{"torn page 1", func(file []byte) []byte { return append(make([]byte, 512), file[512:]...) }},
		{"empty", func([]byte) []byte { return nil }},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			if err := Create(path); err != nil {
				t.Fatal(err)
			}
			crash(t, path, "VACUUM") // writes every page
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, c.tear(file))
			s := open(t, path).Store(storetest.NewSealer())
			put(t, s, "a", "")
			verify(t, s)
		})
	}
}

// FuzzWALHeader: the version read from a log is what SQLite makes of it.
func FuzzWALHeader(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "store.db")
	if err := Create(path); err != nil {
		f.Fatal(err)
	}
	crash(f, path, "PRAGMA user_version = 7", "CREATE TABLE t (x)", "PRAGMA user_version = 9")
	file, err1 := os.ReadFile(path)
	log, err2 := os.ReadFile(path + "-wal")
	if err := errors.Join(err1, err2); err != nil {
		f.Fatal(err)
	}
	f.Add(log)
	f.Add(log[:len(log)-1])
	f.Add(append(bytes.Clone(log[:5000]), log[4000:]...))
	f.Add(log[:32])
	f.Add([]byte{})
	for _, i := range []int{3, 7, 10, 20, 30, 35, 39, 45, 50, 100, 116} {
		changed := bytes.Clone(log)
		changed[i] ^= 1
		f.Add(changed)
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		h, ok := walHeader(bytes.NewReader(log))
		got := h.version()
		if !ok {
			got = uint32(len(migrations))
		}
		path := filepath.Join(dir, fmt.Sprint("fuzz", os.Getpid()))
		write(t, path, file)
		write(t, path+"-wal", log)
		defer os.Remove(path)
		defer os.Remove(path + "-wal")
		c, err := connect(path, "mode=rw", "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if want, err := c.number("PRAGMA user_version"); err == nil && uint64(got) != want {
			t.Errorf("version %d (found %v), SQLite says %d", got, ok, want)
		}
	})
}

func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	c, err := openWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	version := func() uint64 {
		t.Helper()
		v, err := c.number("PRAGMA user_version")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	n := uint64(len(migrations))
	// A migration that fails leaves everything as it was, the ones before it too.
	bad := append(slices.Clip(migrations), "CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE b (x)")
	if err := migrate(c, bad); err == nil || version() != n {
		t.Errorf("bad migration: %v, version %d", err, version())
	}
	good := append(slices.Clip(migrations), "CREATE TABLE a (x)", "CREATE TABLE b (x)")
	for range 2 { // the second time there is nothing to do
		if err := migrate(c, good); err != nil || version() != n+2 {
			t.Errorf("good migrations: %v, version %d", err, version())
		}
	}
	if err := c.script("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)"); err != nil {
		t.Error(err)
	}
}

// TestTampering does to the file what somebody with write access could do.
func TestTampering(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	sealer := storetest.NewSealer()
	db := open(t, path)
	s := db.Store(sealer)
	for _, id := range []string{"a", "b", "c"} {
		put(t, s, id, "secret value of "+id, store.IndexEntry{Name: "owner", Value: "owner of " + id}, store.IndexEntry{Name: "all", Value: "all"})
	}
	db.Close()
	clean := files(t, dir)["store.db"]
	if strings.Contains(clean, "secret") {
		t.Error("a value can be read in the file")
	}

	reads := map[string]func(store.Reader) error{
		"Get": func(r store.Reader) error { _, err := r.Get(thing("a")); return err },
		"Scan": func(r store.Reader) error {
			return r.Scan("thing", "111122223333", "eu-central-1", "", 0, func(store.Record) error { return nil })
		},
		"Lookup": func(r store.Reader) error {
			return r.Lookup(store.Query{Kind: "thing", Index: "all", From: "all", To: "all"}, func(store.Record) error { return nil })
		},
		"Lookup of a's owner": func(r store.Reader) error {
			return r.Lookup(store.Query{Kind: "thing", Index: "owner", From: "owner of a", To: "owner of a"}, func(store.Record) error { return nil })
		},
		"Get at the new place": func(r store.Reader) error {
			_, err := r.Get(store.Place{Kind: "thing", Account: "444455556666", Region: "eu-central-1", ID: "a"})
			return err
		},
		"Get of the new kind": func(r store.Reader) error {
			_, err := r.Get(store.Place{Kind: "other", Account: "111122223333", Region: "eu-central-1", ID: "a"})
			return err
		},
		"Get of the new id": func(r store.Reader) error { _, err := r.Get(thing("z")); return err },
	}
	for _, c := range []struct {
		what, sql string
		refused   []string // these reads
	}{
		{"swap values", `UPDATE record SET value = (SELECT value FROM record o WHERE o.id = iif(record.id = 'a', 'b', 'a')) WHERE id IN ('a', 'b')`,
			[]string{"Get", "Scan", "Lookup", "Lookup of a's owner"}},
		{"swap values and revisions", `UPDATE record SET (revision, value) = (SELECT revision, value FROM record o WHERE o.id = iif(record.id = 'a', 'b', 'a')) WHERE id IN ('a', 'b')`,
			[]string{"Get", "Scan", "Lookup", "Lookup of a's owner"}},
		{"change revision", `UPDATE record SET revision = revision + 1 WHERE id = 'a'`, []string{"Get", "Scan", "Lookup"}},
		{"change a byte", `UPDATE record SET value = CAST(substr(value, 1, 20) || iif(substr(value, 21, 1) = x'00', x'01', x'00') || substr(value, 22) AS BLOB) WHERE id = 'a'`, []string{"Get", "Scan", "Lookup"}},
		{"cut", `UPDATE record SET value = substr(value, 1, length(value) - 1) WHERE id = 'a'`, []string{"Get", "Scan", "Lookup"}},
		{"empty", `UPDATE record SET value = x'' WHERE id = 'a'`, []string{"Get", "Scan", "Lookup"}},
		{"move to another account", `UPDATE record SET account = '444455556666' WHERE id = 'a'`, []string{"Get at the new place", "Lookup"}},
		{"move to another kind", `UPDATE record SET kind = 'other' WHERE id = 'a'`, []string{"Get of the new kind", "Lookup"}},
		{"rename", `UPDATE record SET id = 'z' WHERE id = 'a'`, []string{"Get of the new id", "Scan", "Lookup"}},
		{"take over an index value", `UPDATE entry SET id = 'b' WHERE name = 'owner' AND value = 'owner of a'`, []string{"Lookup of a's owner"}},
		{"invent an index entry", `INSERT INTO entry VALUES ('thing', 'all', 'all', '111122223333', 'eu-central-1', 'invented')`, []string{"Lookup"}},
		{"other types", `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'record'; PRAGMA writable_schema = RESET;
			UPDATE record SET value = 7, revision = 'x' WHERE id = 'a'`, []string{"Get", "Scan", "Lookup"}},
		// Found by Verify only.
		{"delete a record", `DELETE FROM record WHERE id = 'c'; DELETE FROM entry WHERE id = 'c'`, nil},
		{"delete an index entry", `DELETE FROM entry WHERE id = 'c' AND name = 'owner'`, nil},
		{"change a counter", `UPDATE counter SET n = n + 1`, nil},
		{"delete a counter", `DELETE FROM counter`, nil},
		{"make a hole in the feed", `DELETE FROM change WHERE seq = 2`, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			write(t, path, []byte(clean))
			raw(t, path, c.sql)
			s := open(t, path).Store(sealer)
			for name, read := range reads {
				err := s.View(t.Context(), read)
				if slices.Contains(c.refused, name) {
					if !errors.Is(err, store.ErrTampered) || strings.Contains(err.Error(), "secret") {
						t.Errorf("%s: got %v, want ErrTampered", name, err)
					}
				} else if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrTampered) {
					t.Errorf("%s: %v", name, err)
				} else if err != nil && len(c.refused) == 0 && !strings.Contains(name, "new") {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := s.Verify(t.Context()); err == nil {
				t.Error("Verify found nothing")
			}
			if err := s.Health(); err != nil {
				t.Errorf("a record that was tampered with made the store unhealthy: %v", err)
			}
		})
	}
}

// TestErased: what was deleted or replaced is not left in the closed file.
func TestErased(t *testing.T) {
	db := create(t)
	s := db.Store(storetest.NewSealer())
	revision := put(t, s, "a", "value", store.IndexEntry{Name: "by", Value: "the value that goes"})
	if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Delete(thing("a"), revision) }); err != nil {
		t.Fatal(err)
	}
	db.Close()
	for name, content := range files(t, filepath.Dir(db.path)) {
		if strings.Contains(content, "the value that goes") {
			t.Errorf("%s still has it", name)
		}
	}
}

func TestTrimmedFeed(t *testing.T) {
	db := create(t)
	db.keep = 10
	s := db.Store(storetest.NewSealer())
	for i := range 25 {
		put(t, s, fmt.Sprint(i), "")
	}
	changes, err := s.Changes(t.Context(), 15, 0)
	if err != nil || len(changes) != 10 || changes[0].Seq != 16 {
		t.Errorf("what is kept: %v %v", changes, err)
	}
	for _, after := range []uint64{0, 14} {
		if _, err := s.Changes(t.Context(), after, 0); !errors.Is(err, store.ErrTrimmed) {
			t.Errorf("after %d: %v", after, err)
		}
	}
	verify(t, s)
	if store.ChangesKept != 100_000 || create(t).keep != store.ChangesKept {
		t.Error("the number of changes kept is not what is promised")
	}
}

func TestMeta(t *testing.T) {
	db := create(t)
	other := open(t, db.path)
	if _, err := db.Meta(t.Context(), "root"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before Put: %v", err)
	}
	for _, value := range [][]byte{[]byte("one"), {}, nil, bytes.Repeat([]byte("x"), 1<<20)} {
		if err := db.UpdateMeta(t.Context(), func(tx store.MetaTx) error {
			if err := tx.Put("root", value); err != nil {
				return err
			}
			got, err := tx.Get("root")
			if !bytes.Equal(got, value) {
				t.Errorf("Get in UpdateMeta: %q", got)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		got, err := other.Meta(t.Context(), "root")
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("Meta: %q %v, want %q", got, err, value)
		}
	}
	stop := errors.New("stop")
	err := db.UpdateMeta(t.Context(), func(tx store.MetaTx) error {
		if err := tx.Put("root", []byte("changed")); err != nil {
			return err
		}
		return stop
	})
	if got, _ := db.Meta(t.Context(), "root"); err != stop || bytes.Equal(got, []byte("changed")) {
		t.Errorf("UpdateMeta that fails: %v, %q", err, got)
	}
}

// TestCommitsAreShared: with many writers there are far fewer commits, which
// is what subscribers see, than Updates.
func TestCommitsAreShared(t *testing.T) {
	const writers, each = 64, 10
	s := create(t).Store(storetest.NewSealer())
	commits := 0
	s.Subscribe(func([]store.Change) { commits++ })
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				put(t, s, fmt.Sprint(w, "-", i), "")
			}
		})
	}
	wg.Wait()
	if commits > writers*each/4 {
		t.Errorf("%d Updates took %d commits", writers*each, commits)
	}
}

// TestDurability: the settings on which everything else rests.
func TestDurability(t *testing.T) {
	db := create(t)
	if err := db.update(t.Context(), func(s *session) error {
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "secure_delete": "1", "trusted_schema": "0",
		} {
			rows, err := s.query("PRAGMA " + pragma)
			if err != nil {
				return err
			}
			if got := fmt.Sprint(rows[0][0]); got != want {
				t.Errorf("%s is %s, want %s", pragma, got, want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestQueryPlans: nothing that grows with the store is scanned or sorted.
func TestQueryPlans(t *testing.T) {
	db := create(t)
	s := db.Store(storetest.NewSealer())
	revision := put(t, s, "a", "", store.IndexEntry{Name: "by", Value: "v"})
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.Lookup(store.Query{Kind: "thing", Index: "by", From: "v", To: "v"}, func(store.Record) error { return nil }); err != nil {
			return err
		}
		if err := tx.Scan("thing", "111122223333", "eu-central-1", "", 0, func(store.Record) error { return nil }); err != nil {
			return err
		}
		if _, err := tx.Count("thing", "111122223333", "eu-central-1"); err != nil {
			return err
		}
		if revision, err := tx.Put(thing("a"), nil, revision); err != nil {
			return err
		} else if err := tx.Delete(thing("a"), revision); err != nil {
			return err
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.update(t.Context(), func(s *session) error {
		for _, sql := range slices.Collect(maps.Keys(s.c.stmts)) {
			if !strings.Contains(sql, "WHERE") {
				continue
			}
			rows, err := s.query("EXPLAIN QUERY PLAN "+sql, make([]driver.Value, strings.Count(sql, "?"))...)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if step := r.text(3); strings.Contains(step, "SCAN") || strings.Contains(step, "TEMP B-TREE") {
					t.Errorf("%s: %s", sql, step)
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestExplain: an operator is told which file and what to do.
func TestExplain(t *testing.T) {
	db := create(t)
	holder, err := connect(db.path, "mode=rw", "BEGIN IMMEDIATE")
	if err != nil {
		t.Fatal(err)
	}
	w, err := connect(db.path, "mode=rw", "PRAGMA busy_timeout = 0")
	if err != nil {
		t.Fatal(err)
	}
	err = w.exec("BEGIN IMMEDIATE")
	if err == nil || !strings.Contains(err.Error(), db.path) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("locked: %v", err)
	}
	if _, ok := errors.AsType[*msqlite.Error](err); !ok {
		t.Errorf("SQLite's error is not in %#v", err)
	}
	if err := errors.Join(w.close(), holder.close()); err != nil {
		t.Error(err)
	}
}
