package sqlite

import (
	"context"
	"fmt"

	msqlite "modernc.org/sqlite"
)

// Snapshot copies the state of one moment into a new store file at path, which
// appears whole or not at all, while this and other processes go on writing.
// The records in it stay sealed. Progress, if not nil, is told the bytes done
// and their total; a ctx that is done ends the copying with its error.
func (db *DB) Snapshot(ctx context.Context, path string, progress func(done, total int64)) error {
	return publish(path, func(tmp string) error {
		return db.view(ctx, func(s *session) error {
			if err := s.readSeq(); err != nil { // from here on it sees one state
				return err
			}
			return copyTo(ctx, s.c, tmp, progress)
		})
	})
}

// copyTo copies what c sees in its present transaction: as long as that lasts,
// SQLite's backup does not start over when somebody writes.
func copyTo(ctx context.Context, c *conn, path string, progress func(done, total int64)) (err error) {
	const pages = 256 // at a time
	size, err := c.number("PRAGMA page_size")
	if err != nil {
		return err
	}
	b, err := c.c.(interface {
		NewBackup(dsn string) (*msqlite.Backup, error)
	}).NewBackup(dsn(path, "mode=rw"))
	if err != nil {
		return explain(path, err)
	}
	defer func() {
		if errFinish := b.Finish(); err == nil {
			err = explain(path, errFinish)
		}
	}()
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("store: snapshot not finished: %w", err)
		}
		if more, err = b.Step(pages); err != nil {
			return explain(path, err)
		}
		if progress != nil {
			total := b.PageCount()
			progress(int64(total-b.Remaining())*int64(size), int64(total)*int64(size))
		}
	}
	return nil
}
