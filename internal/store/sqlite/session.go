package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/kagimori/kagimori/internal/store"
)

// session is one transaction, or one Update's part of a shared one.
type session struct {
	c       *conn
	seq     uint64         // the last change that it sees, after readSeq
	hasSeq  bool           // readSeq was called
	changes []store.Change // made by it
	wrote   bool           // something was written
	failed  error          // the first error of SQLite: the transaction is lost
	over    bool           // its function has returned
}

var errOver = errors.New("store: transaction used after its function returned")

// query runs a statement. Once one has failed, SQLite may have rolled back, so
// nothing further is tried.
func (s *session) query(sql string, args ...driver.Value) (rows []row, err error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	rows, s.failed = s.c.query(sql, args...)
	return rows, s.failed
}

// exec runs a statement for its effect.
func (s *session) exec(sql string, args ...driver.Value) error {
	if err := s.usable(); err != nil {
		return err
	}
	s.failed = s.c.exec(sql, args...)
	return s.failed
}

// write is exec for what changes the database.
func (s *session) write(sql string, args ...driver.Value) error {
	s.wrote = true
	return s.exec(sql, args...)
}

func (s *session) usable() error {
	if s.over {
		return errOver
	}
	return s.failed
}

// readSeq finds the last change, once.
func (s *session) readSeq() error {
	if s.hasSeq {
		return s.usable()
	}
	rows, err := s.query("SELECT seq FROM change ORDER BY seq DESC LIMIT 1")
	if len(rows) == 1 {
		s.seq = rows[0].number(0)
	}
	s.hasSeq = err == nil
	return err
}

// change takes down a change of p in the feed. Its revision is its seq, which
// no other write ever had.
func (s *session) change(p store.Place, deleted bool) error {
	s.seq++
	s.changes = append(s.changes, store.Change{Seq: s.seq, Place: p, Revision: s.seq, Deleted: deleted})
	flag := int64(0)
	if deleted {
		flag = 1
	}
	return s.write("INSERT INTO change VALUES (?, ?, ?, ?, ?, ?)", int64(s.seq), p.Kind, p.Account, p.Region, p.ID, flag)
}

// metaTx implements store.MetaTx.
type metaTx struct{ *session }

func (t metaTx) Get(name string) ([]byte, error) {
	rows, err := t.query("SELECT value FROM meta WHERE name = ?", name)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%w: meta %q", store.ErrNotFound, name)
	}
	return rows[0].blob(0), nil
}

func (t metaTx) Put(name string, value []byte) error {
	if value == nil {
		value = []byte{} // nil would be NULL
	}
	return t.write("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value)
}
