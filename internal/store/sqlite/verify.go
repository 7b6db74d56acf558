package sqlite

import (
	"context"
	"fmt"

	"github.com/kagimori/kagimori/internal/store"
)

// Verify reads everything and proves that it fits together: SQLite's own
// structures, every record's seal, its index entries, the counters and the
// change feed. It returns the number of records, or the first thing wrong.
func (s *Store) Verify(ctx context.Context) (records int, err error) {
	err = s.db.view(ctx, func(v *session) error {
		rows, err := v.query("PRAGMA integrity_check(1)")
		if err != nil {
			return err
		}
		if result := rows[0].text(0); result != "ok" {
			return fmt.Errorf("store: %s: the database is damaged, restore a backup: %s", s.db.path, result)
		}
		records, err = reader{v, s.sealer}.verify(ctx)
		return err
	})
	return records, err
}

func (r reader) verify(ctx context.Context) (records int, err error) {
	counts := map[store.Place]uint64{} // by kind, account and region
	var entries, last uint64
	err = chunks(0, func(n int64) ([]row, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return r.query("SELECT rowid, account, region, id, revision, value, kind FROM record WHERE rowid > ? ORDER BY rowid LIMIT ?", int64(last), n)
	}, func(row row) error {
		p := row.place(row.text(6), 1)
		rec, index, err := r.open(p, row, 4)
		if err != nil {
			return err
		}
		clear(rec.Value)
		for _, e := range index {
			found, err := r.query("SELECT 1 FROM entry WHERE kind = ? AND name = ? AND value = ? AND account = ? AND region = ? AND id = ?",
				p.Kind, e.Name, e.Value, p.Account, p.Region, p.ID)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return fmt.Errorf("store: %v: its entry in index %q is missing", p, e.Name)
			}
		}
		last = row.number(0)
		entries += uint64(len(index))
		p.ID = ""
		counts[p]++
		records++
		return nil
	})
	if err != nil {
		return 0, err
	}

	rows, err := r.query("SELECT count(*) FROM entry")
	if err != nil {
		return 0, err
	}
	if n := rows[0].number(0); n != entries {
		return 0, fmt.Errorf("store: %d index entries, but the records have %d", n, entries)
	}

	rows, err = r.query("SELECT kind, account, region, n FROM counter")
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		p := store.Place{Kind: row.text(0), Account: row.text(1), Region: row.text(2)}
		if n := row.number(3); n != counts[p] {
			return 0, fmt.Errorf("store: counter of %s (account %q, region %q) is %d, but there are %d", p.Kind, p.Account, p.Region, n, counts[p])
		}
		delete(counts, p)
	}
	for p, n := range counts {
		return 0, fmt.Errorf("store: %d records of %s (account %q, region %q) are not counted", n, p.Kind, p.Account, p.Region)
	}

	rows, err = r.query("SELECT count(*), ifnull(min(seq), 1) FROM change")
	if err != nil {
		return 0, err
	}
	if n, first := rows[0].number(0), rows[0].number(1); n != r.Seq()-first+1 {
		return 0, fmt.Errorf("store: change feed has %d changes from %d to %d", n, first, r.Seq())
	}
	return records, nil
}
