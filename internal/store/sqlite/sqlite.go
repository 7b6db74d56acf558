// Package sqlite keeps a store in one SQLite file: the embedded backend.
//
// It promises what package store asks for, on one machine: a write that was
// acknowledged is on stable storage (write-ahead log, full sync), writes that
// wait at the same time share one sync, reads run beside the writer, and a
// file that it does not understand is refused untouched. Deleted content is
// overwritten in the database (secure_delete); copies of sealed values can
// stay in the write-ahead log until it is reused, and wherever the file system
// keeps old blocks.
//
// One process at a time opens the Store of a file: caches follow the commits
// of their own process. Other processes may meanwhile use the Meta of the file
// and take a Snapshot.
//
// It knows SQL and files; it does not know what records mean, nor how to seal.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/kagimori/kagimori/internal/store"
)

// DB is an open file: its Meta can be used, and with a sealer its Store.
// It is safe for concurrent use.
type DB struct {
	path string
	file *os.File // see inspect
	keep uint64   // changes kept in the feed

	// readers are the connections for View. A nil stands for one that is to be
	// opened, at first or because it failed.
	readers chan *conn

	writer  *conn         // the writer goroutine's; nil if it is to be opened again
	queue   chan *job     // Updates that wait for the writer
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer goroutine is gone
	close   func() error

	mu        sync.Mutex
	failure   error                  // why the last write failed, nil if it did not
	listeners []func([]store.Change) // the slice is never changed in place
}

var _ store.Meta = (*DB)(nil)

// Create makes a new, empty store file, readable by its owner only. The file
// appears whole or not at all. The error is fs.ErrExist if something is there.
func Create(path string) error {
	return publish(path, func(tmp string) error {
		c, err := connect(tmp, "mode=rw", "")
		if err != nil {
			return err
		}
		return errors.Join(migrate(c, migrations), c.close())
	})
}

// publish has a file made under another name and lets it appear at path when
// it is complete and on stable storage.
func publish(path string, fill func(tmp string) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: create %s: %w", path, err)
		}
	}()
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer os.Remove(tmp)
	if err := f.Close(); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	if err := syncFile(tmp); err != nil {
		return err
	}
	err = os.Link(tmp, path) // unlike Rename, never replaces
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = os.Rename(tmp, path) // a file system without links
	}
	if err != nil {
		return err
	}
	return syncFile(dir)
}

// syncFile brings a file, or the names in a folder, to stable storage.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Open opens the store file at path, which Create has made, and brings its
// schema up to date. The error is fs.ErrNotExist, ErrNotStore or ErrNewer where
// that is the cause. A process should not open a file twice: closing it once
// drops the locks of both.
func Open(path string) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	// The write-ahead log lies beside the file itself, not beside a link to it.
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	file, err := inspect(path)
	if err != nil {
		return nil, err
	}
	w, err := openWriter(path)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	db := &DB{
		path:    path,
		file:    file,
		keep:    store.ChangesKept,
		readers: make(chan *conn, max(4, runtime.GOMAXPROCS(0))),
		writer:  w,
		queue:   make(chan *job),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	for range cap(db.readers) {
		db.readers <- nil
	}
	db.close = sync.OnceValue(db.shut)
	go db.run()
	return db, nil
}

// common is what every connection sets. Other processes' locks are waited for
// up to 10 s; fullfsync makes macOS flush the disk too; trusted_schema and cell_size_check are SQLite's advice for files
// that others could have written (https://www.sqlite.org/security.html).
const common = `
	PRAGMA busy_timeout = 10000;
	PRAGMA synchronous = FULL;
	PRAGMA fullfsync = ON;
	PRAGMA checkpoint_fullfsync = ON;
	PRAGMA secure_delete = ON;
	PRAGMA temp_store = MEMORY;
	PRAGMA trusted_schema = OFF;
	PRAGMA cell_size_check = ON;
	PRAGMA cache_size = -8192;
	PRAGMA journal_size_limit = 67108864;
`

// openWriter opens the connection for writing, with the schema up to date.
func openWriter(path string) (*conn, error) {
	c, err := connect(path, "mode=rw", common)
	if err != nil {
		return nil, err
	}
	rows, err := c.query("PRAGMA journal_mode = WAL")
	if err == nil && rows[0].text(0) != "wal" {
		err = fmt.Errorf("store: %s: the file system cannot hold SQLite's write-ahead log: use a local disk", path)
	}
	if err == nil {
		err = migrate(c, migrations)
	}
	if err == nil {
		err = c.script("PRAGMA busy_timeout = 1") // see lockTries
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// openReader opens a connection that cannot write.
func openReader(path string) (*conn, error) {
	return connect(path, "mode=rw", common+"PRAGMA query_only = ON")
}

// Store is the records of the file, sealed with s.
func (db *DB) Store(s store.Sealer) *Store { return &Store{db, s} }

// Close waits for calls in progress and closes the file.
func (db *DB) Close() error { return db.close() }

func (db *DB) shut() error {
	close(db.closing)
	<-db.stopped
	var errs []error
	for range cap(db.readers) {
		if c := <-db.readers; c != nil {
			errs = append(errs, c.close())
		}
	}
	if db.writer != nil { // the last one, which empties the write-ahead log
		errs = append(errs, db.writer.close())
	}
	return errors.Join(append(errs, db.file.Close())...)
}

// view runs fn in a read transaction. The first read in it decides which state
// it sees.
func (db *DB) view(ctx context.Context, fn func(*session) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	select {
	case <-db.closing:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case c = <-db.readers:
	}
	defer func() { db.readers <- c }()
	if c == nil {
		if c, err = openReader(db.path); err != nil {
			return err
		}
	}
	s := session{c: c}
	defer func() {
		s.over = true
		if c.exec("ROLLBACK") != nil || s.failed != nil {
			c.close() // a connection that has failed is not trusted again
			c = nil
		}
	}()
	if err := s.exec("BEGIN"); err != nil {
		return err
	}
	err = fn(&s)
	if err == nil {
		err = s.failed // as Update does: what fn saw may be wrong
	}
	return err
}

// Meta implements store.Meta.
func (db *DB) Meta(ctx context.Context, name string) (value []byte, err error) {
	err = db.view(ctx, func(s *session) error {
		value, err = metaTx{s}.Get(name)
		return err
	})
	return value, err
}

// UpdateMeta implements store.Meta.
func (db *DB) UpdateMeta(ctx context.Context, fn func(store.MetaTx) error) error {
	return db.update(ctx, func(s *session) error { return fn(metaTx{s}) })
}
