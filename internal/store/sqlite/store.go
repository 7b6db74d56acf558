package sqlite

import (
	"context"
	"fmt"
	"slices"

	"github.com/kagimori/kagimori/internal/store"
)

// Store is the records of a DB. It is safe for concurrent use.
type Store struct {
	db     *DB
	sealer store.Sealer
}

var _ store.Store = (*Store)(nil)

// View implements store.Store. At most as many as there are connections, four
// or the number of CPUs, run at a time.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	return s.db.view(ctx, func(v *session) error { return fn(reader{v, s.sealer}) })
}

// Update implements store.Store. fn is called once.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.db.update(ctx, func(u *session) error { return fn(tx{reader{u, s.sealer}}) })
}

// Subscribe implements store.Store.
func (s *Store) Subscribe(fn func([]store.Change)) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	s.db.listeners = append(slices.Clip(s.db.listeners), fn)
}

// Changes implements store.Store.
func (s *Store) Changes(ctx context.Context, after uint64, limit int) (changes []store.Change, err error) {
	err = s.db.view(ctx, func(v *session) error {
		if err := v.readSeq(); err != nil {
			return err
		}
		rows, err := v.query("SELECT seq, kind, account, region, id, deleted FROM change WHERE seq > ? ORDER BY seq LIMIT ?",
			int64(after), sqlLimit(limit))
		if err != nil {
			return err
		}
		if after > v.seq || after < v.seq && (len(rows) == 0 || rows[0].number(0) != after+1) {
			return fmt.Errorf("%w: asked for what follows %d", store.ErrTrimmed, after)
		}
		for _, r := range rows {
			seq := r.number(0)
			changes = append(changes, store.Change{Seq: seq, Place: r.place(r.text(1), 2), Revision: seq, Deleted: r.number(5) != 0})
		}
		return nil
	})
	return changes, err
}

// Health implements store.Store.
func (s *Store) Health() error { return s.db.health() }

// Close closes the DB.
func (s *Store) Close() error { return s.db.Close() }

// sqlLimit is limit as SQLite wants it.
func sqlLimit(limit int) int64 {
	if limit <= 0 {
		return -1
	}
	return int64(limit)
}

// chunk is how many records Scan and Lookup read at a time. No statement stays
// open while their function runs, so that it may use the session freely.
const chunk = 100

// chunks calls read for at most chunk rows, then fn for each, and so on until
// limit rows are reached or there are no more.
func chunks(limit int, read func(n int64) ([]row, error), fn func(row) error) error {
	if limit <= 0 {
		limit = int(^uint(0) >> 1)
	}
	for limit > 0 {
		n := min(limit, chunk)
		rows, err := read(int64(n))
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(rows) < n {
			return nil
		}
		limit -= n
	}
	return nil
}

// reader implements store.Reader.
type reader struct {
	*session
	sealer store.Sealer
}

func (r reader) Seq() uint64 {
	r.readSeq() // an error ends the transaction, and View returns it
	return r.seq
}

func (r reader) Get(p store.Place) (store.Record, error) {
	rows, err := r.row(p)
	if err != nil {
		return store.Record{}, err
	}
	if len(rows) == 0 {
		return store.Record{}, fmt.Errorf("%w: %v", store.ErrNotFound, p)
	}
	rec, _, err := r.open(p, rows[0], 0)
	return rec, err
}

// row is the row of p, with revision and sealed value, if there is one.
func (r reader) row(p store.Place) ([]row, error) {
	return r.query("SELECT revision, value FROM record WHERE kind = ? AND account = ? AND region = ? AND id = ?",
		p.Kind, p.Account, p.Region, p.ID)
}

// open opens the revision and sealed value in columns i and i+1.
func (r reader) open(p store.Place, row row, i int) (store.Record, []store.IndexEntry, error) {
	return store.OpenRecord(r.sealer, p, row.number(i), row.blob(i+1))
}

func (r reader) Scan(kind, account, region, after string, limit int, fn func(store.Record) error) error {
	return chunks(limit, func(n int64) ([]row, error) {
		return r.query(`SELECT id, revision, value FROM record
			WHERE kind = ? AND account = ? AND region = ? AND id > ? ORDER BY id LIMIT ?`, kind, account, region, after, n)
	}, func(row row) error {
		p := store.Place{Kind: kind, Account: account, Region: region, ID: row.text(0)}
		rec, _, err := r.open(p, row, 1)
		if err != nil {
			return err
		}
		after = p.ID
		return fn(rec)
	})
}

func (r reader) Lookup(q store.Query, fn func(store.Record) error) error {
	if err := store.CheckQuery(q); err != nil {
		return err
	}
	value, after := q.From, q.After
	return chunks(q.Limit, func(n int64) ([]row, error) {
		// A zero After comes before every place, as no id is empty.
		return r.query(`SELECT e.value, e.account, e.region, e.id, r.revision, r.value FROM entry e
			LEFT JOIN record r USING (kind, account, region, id)
			WHERE e.kind = ? AND e.name = ? AND (e.value, e.account, e.region, e.id) > (?, ?, ?, ?) AND e.value <= ?
			ORDER BY e.value, e.account, e.region, e.id LIMIT ?`,
			q.Kind, q.Index, value, after.Account, after.Region, after.ID, q.To, n)
	}, func(row row) error {
		p := row.place(q.Kind, 1)
		rec, index, err := r.open(p, row, 4)
		if err != nil {
			return err
		}
		value, after = row.text(0), p
		if !slices.Contains(index, store.IndexEntry{Name: q.Index, Value: value}) {
			return store.Tampered(p)
		}
		return fn(rec)
	})
}

func (r reader) Count(kind, account, region string) (int, error) {
	rows, err := r.query("SELECT n FROM counter WHERE kind = ? AND account = ? AND region = ?", kind, account, region)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return int(rows[0].number(0)), nil
}

// tx implements store.Tx.
type tx struct{ reader }

func (t tx) Put(p store.Place, value []byte, expected uint64, index ...store.IndexEntry) (uint64, error) {
	index, err := store.CheckPut(p, value, index)
	if err != nil {
		return 0, err
	}
	old, err := t.expect(p, expected)
	if err != nil {
		return 0, err
	}
	if err := t.change(p, false); err != nil {
		return 0, err
	}
	revision := t.seq
	sealed := store.SealRecord(t.sealer, store.Record{Place: p, Revision: revision, Value: value}, index)
	if expected == 0 {
		err = t.write("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", p.Kind, p.Account, p.Region, p.ID, int64(revision), sealed)
		if err == nil {
			err = t.write("INSERT INTO counter VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", p.Kind, p.Account, p.Region)
		}
	} else {
		err = t.write("UPDATE record SET revision = ?, value = ? WHERE kind = ? AND account = ? AND region = ? AND id = ?",
			int64(revision), sealed, p.Kind, p.Account, p.Region, p.ID)
	}
	if err != nil {
		return 0, err
	}
	return revision, t.reindex(p, old, index)
}

func (t tx) Delete(p store.Place, expected uint64) error {
	if expected == 0 {
		return conflict(p)
	}
	old, err := t.expect(p, expected)
	if err != nil {
		return err
	}
	if err := t.change(p, true); err != nil {
		return err
	}
	if err := t.write("DELETE FROM record WHERE kind = ? AND account = ? AND region = ? AND id = ?", p.Kind, p.Account, p.Region, p.ID); err != nil {
		return err
	}
	if err := t.write("UPDATE counter SET n = n - 1 WHERE kind = ? AND account = ? AND region = ?", p.Kind, p.Account, p.Region); err != nil {
		return err
	}
	return t.reindex(p, old, nil)
}

// expect checks that p is at that revision, 0 if it must not be there, and
// returns its index entries.
func (t tx) expect(p store.Place, revision uint64) ([]store.IndexEntry, error) {
	rows, err := t.row(p)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		if revision != 0 {
			return nil, conflict(p)
		}
		return nil, nil
	}
	if rows[0].number(0) != revision {
		return nil, conflict(p)
	}
	rec, index, err := t.open(p, rows[0], 0)
	clear(rec.Value)
	return index, err
}

func conflict(p store.Place) error { return fmt.Errorf("%w: %v", store.ErrConflict, p) }

// reindex replaces the index entries of p.
func (t tx) reindex(p store.Place, old, index []store.IndexEntry) error {
	for _, e := range old {
		if slices.Contains(index, e) {
			continue
		}
		if err := t.write("DELETE FROM entry WHERE kind = ? AND name = ? AND value = ? AND account = ? AND region = ? AND id = ?",
			p.Kind, e.Name, e.Value, p.Account, p.Region, p.ID); err != nil {
			return err
		}
	}
	for _, e := range index {
		if slices.Contains(old, e) {
			continue
		}
		// One that is there already was put there from outside: now it is true.
		if err := t.write("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			p.Kind, e.Name, e.Value, p.Account, p.Region, p.ID); err != nil {
			return err
		}
	}
	return nil
}
