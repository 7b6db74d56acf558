package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kagimori/kagimori/internal/store"
)

var ctx = context.Background()

// Run proves the contract on stores that open makes: new, empty, one per call.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"PutGetDelete", testPutGetDelete},
		{"Conflict", testConflict},
		{"RevisionsOnlyGrow", testRevisionsOnlyGrow},
		{"BadArguments", testBadArguments},
		{"ValuesAreCopies", testValuesAreCopies},
		{"Scan", testScan},
		{"Lookup", testLookup},
		{"LookupAfter", testLookupAfter},
		{"Index", testIndex},
		{"Count", testCount},
		{"Strings", testStrings},
		{"NestedCalls", testNestedCalls},
		{"ReadYourWrites", testReadYourWrites},
		{"ErrorRollsBack", testErrorRollsBack},
		{"PanicRollsBack", testPanicRollsBack},
		{"GoexitRollsBack", testGoexitRollsBack},
		{"FailuresStayAlone", testFailuresStayAlone},
		{"Snapshot", testSnapshot},
		{"UncommittedIsInvisible", testUncommittedIsInvisible},
		{"LostUpdate", testLostUpdate},
		{"Transfers", testTransfers},
		{"WriteSkew", testWriteSkew},
		{"OneCreatorWins", testOneCreatorWins},
		{"Subscribe", testSubscribe},
		{"Changes", testChanges},
		{"Context", testContext},
		{"UseAfterEnd", testUseAfterEnd},
		{"Close", testClose},
		{"Health", testHealth},
		{"Model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			test.run(t, s)
		})
	}
}

// at is a place in one kind, account and region.
func at(id string) store.Place {
	return store.Place{Kind: "thing", Account: "111122223333", Region: "eu-central-1", ID: id}
}

func update(t testing.TB, s store.Store, fn func(store.Tx) error) {
	t.Helper()
	if err := s.Update(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s store.Store, fn func(store.Reader) error) {
	t.Helper()
	if err := s.View(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

// put writes one record in an Update of its own.
func put(t testing.TB, s store.Store, p store.Place, value string, expected uint64, index ...store.IndexEntry) (revision uint64) {
	t.Helper()
	update(t, s, func(tx store.Tx) (err error) {
		revision, err = tx.Put(p, []byte(value), expected, index...)
		return err
	})
	return revision
}

func get(t testing.TB, s store.Store, p store.Place) (rec store.Record, err error) {
	t.Helper()
	err = s.View(ctx, func(r store.Reader) error {
		rec, err = r.Get(p)
		return err
	})
	return rec, err
}

func count(t testing.TB, s store.Store, kind, account, region string) (n int) {
	t.Helper()
	view(t, s, func(r store.Reader) (err error) {
		n, err = r.Count(kind, account, region)
		return err
	})
	return n
}

// ids collects the IDs that a Scan or Lookup gives.
func ids(t testing.TB, s store.Store, read func(store.Reader, func(store.Record) error) error) []string {
	t.Helper()
	found := []string{}
	view(t, s, func(r store.Reader) error {
		return read(r, func(rec store.Record) error {
			found = append(found, rec.ID)
			return nil
		})
	})
	return found
}

func lookup(q store.Query) func(store.Reader, func(store.Record) error) error {
	return func(r store.Reader, fn func(store.Record) error) error { return r.Lookup(q, fn) }
}

func scan(after string, limit int) func(store.Reader, func(store.Record) error) error {
	return func(r store.Reader, fn func(store.Record) error) error {
		return r.Scan("thing", "111122223333", "eu-central-1", after, limit, fn)
	}
}

func want[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func testPutGetDelete(t *testing.T, s store.Store) {
	_, err := get(t, s, at("a"))
	wantErr(t, "before Put", err, store.ErrNotFound)

	first := put(t, s, at("a"), "one", 0)
	rec, err := get(t, s, at("a"))
	want(t, "Get", rec, store.Record{Place: at("a"), Revision: first, Value: []byte("one")})
	wantErr(t, "Get", err, nil)

	second := put(t, s, at("a"), "two", first)
	rec, _ = get(t, s, at("a"))
	want(t, "Get after second Put", rec, store.Record{Place: at("a"), Revision: second, Value: []byte("two")})

	put(t, s, at("empty"), "", 0)
	rec, err = get(t, s, at("empty"))
	if err != nil || len(rec.Value) != 0 {
		t.Errorf("empty value: %q %v", rec.Value, err)
	}
	big := strings.Repeat("x", store.MaxValue)
	put(t, s, at("big"), big, 0)
	if rec, err = get(t, s, at("big")); err != nil || string(rec.Value) != big {
		t.Errorf("largest value: %d bytes, %v", len(rec.Value), err)
	}

	update(t, s, func(tx store.Tx) error { return tx.Delete(at("a"), second) })
	_, err = get(t, s, at("a"))
	wantErr(t, "after Delete", err, store.ErrNotFound)
	_, err = get(t, s, store.Place{})
	wantErr(t, "zero place", err, store.ErrNotFound)
}

func testConflict(t *testing.T, s store.Store) {
	first := put(t, s, at("a"), "one", 0)
	second := put(t, s, at("a"), "two", first)
	put(t, s, at("gone"), "", 0)
	update(t, s, func(tx store.Tx) error {
		rec, err := tx.Get(at("gone"))
		if err != nil {
			return err
		}
		return tx.Delete(at("gone"), rec.Revision)
	})
	for _, c := range []struct {
		what     string
		place    store.Place
		expected uint64
	}{
		{"there already", at("a"), 0},
		{"older revision", at("a"), first},
		{"revision to come", at("a"), second + 1000},
		{"never there", at("b"), first},
		{"gone", at("gone"), second + 1},
	} {
		err := s.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Put(c.place, []byte("x"), c.expected)
			return err
		})
		wantErr(t, "Put, "+c.what, err, store.ErrConflict)
		err = s.Update(ctx, func(tx store.Tx) error { return tx.Delete(c.place, c.expected) })
		wantErr(t, "Delete, "+c.what, err, store.ErrConflict)
	}
	// A conflict that fn handles leaves the transaction usable.
	update(t, s, func(tx store.Tx) error {
		if _, err := tx.Put(at("a"), nil, first); !errors.Is(err, store.ErrConflict) {
			t.Errorf("Put in a transaction that goes on: %v", err)
		}
		_, err := tx.Put(at("a"), []byte("three"), second)
		return err
	})
	rec, _ := get(t, s, at("a"))
	want(t, "value", string(rec.Value), "three")
	want(t, "Count", count(t, s, "thing", "111122223333", "eu-central-1"), 1)
}

func testRevisionsOnlyGrow(t *testing.T, s store.Store) {
	var last uint64
	for range 3 {
		revision := put(t, s, at("a"), "", 0)
		again := put(t, s, at("a"), "", revision)
		if revision <= last || again <= revision {
			t.Errorf("revisions %d, %d after %d", revision, again, last)
		}
		update(t, s, func(tx store.Tx) error { return tx.Delete(at("a"), again) })
		last = again
	}
	changes, err := s.Changes(ctx, 0, 0)
	if err != nil || len(changes) != 9 {
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	for i, c := range changes[1:] {
		if c.Revision <= changes[i].Revision {
			t.Errorf("change %v has no higher revision than %v", c, changes[i])
		}
	}
}

func testBadArguments(t *testing.T, s store.Store) {
	long := strings.Repeat("x", store.MaxField+1)
	many := make([]store.IndexEntry, store.MaxIndex+1)
	for i := range many {
		many[i] = store.IndexEntry{Name: "i", Value: fmt.Sprint(i)}
	}
	good := store.IndexEntry{Name: "i", Value: "v"}
	for _, c := range []struct {
		what  string
		place store.Place
		value []byte
		index []store.IndexEntry
	}{
		{"no kind", store.Place{ID: "a"}, nil, nil},
		{"no id", store.Place{Kind: "thing"}, nil, nil},
		{"long account", store.Place{Kind: "thing", Account: long, ID: "a"}, nil, nil},
		{"NUL", store.Place{Kind: "thing", Region: "a\x00b", ID: "a"}, nil, nil},
		{"not UTF-8", at("\xff"), nil, nil},
		{"large value", at("a"), make([]byte, store.MaxValue+1), nil},
		{"index without name", at("a"), nil, []store.IndexEntry{{Value: "v"}}},
		{"index without value", at("a"), nil, []store.IndexEntry{good, {Name: "i"}}},
		{"index value beyond the last", at("a"), nil, []store.IndexEntry{{Name: "i", Value: store.LastIndexValue + "x"}}},
		{"long index value", at("a"), nil, []store.IndexEntry{{Name: "i", Value: long}}},
		{"many index entries", at("a"), nil, many},
	} {
		err := s.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Put(c.place, c.value, 0, c.index...)
			if err == nil {
				t.Errorf("%s: Put succeeded", c.what)
			}
			return err
		})
		if err == nil || errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for _, q := range []store.Query{
		{Index: "i", From: "v", To: "v"}, {Kind: "thing", From: "v", To: "v"}, {Kind: "thing", Index: "i"},
	} {
		err := s.View(ctx, func(r store.Reader) error {
			return r.Lookup(q, func(store.Record) error { return nil })
		})
		if err == nil {
			t.Errorf("Lookup %+v succeeded", q)
		}
	}
	if err := s.Health(); err != nil {
		t.Errorf("bad arguments made the store unhealthy: %v", err)
	}
}

func testValuesAreCopies(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		value := []byte("value")
		if _, err := tx.Put(at("a"), value, 0); err != nil {
			return err
		}
		clear(value)
		rec, err := tx.Get(at("a"))
		clear(rec.Value)
		return err
	})
	view(t, s, func(r store.Reader) error {
		one, err := r.Get(at("a"))
		if err != nil {
			return err
		}
		clear(one.Value)
		two, err := r.Get(at("a"))
		want(t, "value", string(two.Value), "value")
		return err
	})
}

// testScan uses more records than a backend is likely to read at a time.
func testScan(t *testing.T, s store.Store) {
	const n = 250
	var all []string
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			id := fmt.Sprintf("%03d", (i*37)%n) // not in order
			all = append(all, id)
			if _, err := tx.Put(at(id), []byte("value "+id), 0); err != nil {
				return err
			}
		}
		for _, other := range []store.Place{
			{Kind: "thin", Account: "111122223333", Region: "eu-central-1", ID: "other kind"},
			{Kind: "thing", Account: "11112222333", Region: "eu-central-1", ID: "other account"},
			{Kind: "thing", Account: "111122223333", Region: "", ID: "other region"},
		} {
			if _, err := tx.Put(other, nil, 0); err != nil {
				return err
			}
		}
		return nil
	})
	slices.Sort(all)
	want(t, "all", ids(t, s, scan("", 0)), all)
	want(t, "negative limit", ids(t, s, scan("", -1)), all)
	want(t, "after", ids(t, s, scan("099", 0)), all[100:])
	want(t, "after what is not there", ids(t, s, scan("099x", 3)), all[100:103])
	want(t, "after the last", ids(t, s, scan("249", 0)), []string{})
	for _, limit := range []int{1, 99, 100, 101, 200, n - 1, n, n + 1} {
		want(t, fmt.Sprint("limit ", limit), ids(t, s, scan("", limit)), all[:min(limit, n)])
	}

	view(t, s, func(r store.Reader) error {
		return r.Scan("thing", "111122223333", "eu-central-1", "", 0, func(rec store.Record) error {
			if string(rec.Value) != "value "+rec.ID || rec.Place != at(rec.ID) || rec.Revision == 0 {
				return fmt.Errorf("record %v", rec)
			}
			return nil
		})
	})
	stop, calls := errors.New("stop"), 0
	err := s.View(ctx, func(r store.Reader) error {
		err := r.Scan("thing", "111122223333", "eu-central-1", "", 0, func(store.Record) error {
			calls++
			return stop
		})
		_, errAfter := r.Get(at("000"))
		wantErr(t, "Get after a Scan that was ended", errAfter, nil)
		return err
	})
	wantErr(t, "Scan ended by fn", err, stop)
	want(t, "calls", calls, 1)
}

func testLookup(t *testing.T, s store.Store) {
	// Value, then account, region, id: across all of them.
	places := []struct {
		value string
		place store.Place
	}{
		{"v1", store.Place{Kind: "thing", Account: "1", Region: "r1", ID: "d"}},
		{"v1", store.Place{Kind: "thing", Account: "1", Region: "r2", ID: "b"}},
		{"v1", store.Place{Kind: "thing", Account: "2", Region: "", ID: "a"}},
		{"v1", store.Place{Kind: "thing", Account: "2", Region: "r1", ID: "c1"}},
		{"v1", store.Place{Kind: "thing", Account: "2", Region: "r1", ID: "c2"}},
		{"v10", store.Place{Kind: "thing", Account: "1", Region: "r1", ID: "e"}},
		{"v2", store.Place{Kind: "thing", Account: "", Region: "", ID: "f"}},
	}
	update(t, s, func(tx store.Tx) error {
		for _, p := range slices.Backward(places) {
			if _, err := tx.Put(p.place, []byte("value of "+p.place.ID), 0, store.IndexEntry{Name: "by", Value: p.value}); err != nil {
				return err
			}
		}
		// What must not be found.
		if _, err := tx.Put(at("other name"), nil, 0, store.IndexEntry{Name: "bye", Value: "v1"}); err != nil {
			return err
		}
		_, err := tx.Put(store.Place{Kind: "other", ID: "x"}, nil, 0, store.IndexEntry{Name: "by", Value: "v1"})
		return err
	})
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{"v1", "v1", []string{"d", "b", "a", "c1", "c2"}},
		{"v10", "v10", []string{"e"}},
		{"v2", "v2", []string{"f"}},
		{"v", "v", []string{}},
		{"v1", "v2", []string{"d", "b", "a", "c1", "c2", "e", "f"}},
		{"", store.LastIndexValue, []string{"d", "b", "a", "c1", "c2", "e", "f"}},
		{"", "v1", []string{"d", "b", "a", "c1", "c2"}},
		{"v1\x01", "v1z", []string{"e"}},
		{"v2", "v1", []string{}},
	} {
		q := store.Query{Kind: "thing", Index: "by", From: c.from, To: c.to}
		want(t, fmt.Sprintf("from %q to %q", c.from, c.to), ids(t, s, lookup(q)), c.want)
		q.Limit = 2
		want(t, fmt.Sprintf("two from %q to %q", c.from, c.to), ids(t, s, lookup(q)), c.want[:min(2, len(c.want))])
	}
	view(t, s, func(r store.Reader) error {
		i := 0
		return r.Lookup(store.Query{Kind: "thing", Index: "by", To: "v9"}, func(rec store.Record) error {
			if rec.Place != places[i].place || string(rec.Value) != "value of "+rec.ID || rec.Revision == 0 {
				t.Errorf("record %d is %v", i, rec)
			}
			i++
			return nil
		})
	})
	stop := errors.New("stop")
	err := s.View(ctx, func(r store.Reader) error {
		return r.Lookup(store.Query{Kind: "thing", Index: "by", To: "v9"}, func(store.Record) error { return stop })
	})
	wantErr(t, "Lookup ended by fn", err, stop)
}

func testLookupAfter(t *testing.T, s store.Store) {
	const n = 120
	var all []string
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			id := fmt.Sprintf("%03d", i)
			all = append(all, id)
			if _, err := tx.Put(at(id), nil, 0, store.IndexEntry{Name: "by", Value: "same"}); err != nil {
				return err
			}
		}
		_, err := tx.Put(at("next"), nil, 0, store.IndexEntry{Name: "by", Value: "samf"})
		return err
	})
	q := store.Query{Kind: "thing", Index: "by", From: "same", To: "same"}
	want(t, "all", ids(t, s, lookup(q)), all)
	for _, size := range []int{7, 100, n - 1, n} {
		var paged []string
		q := q
		q.Limit = size
		for {
			page := ids(t, s, lookup(q))
			paged = append(paged, page...)
			if len(page) < size {
				break
			}
			q.After = at(page[len(page)-1])
		}
		want(t, fmt.Sprint("pages of ", size), paged, all)
	}
	q.After, q.To = at("118"), "samf"
	want(t, "after, into the next value", ids(t, s, lookup(q)), []string{"119", "next"})
}

func testIndex(t *testing.T, s store.Store) {
	find := func(name, value string) []string {
		t.Helper()
		return ids(t, s, lookup(store.Query{Kind: "thing", Index: name, From: value, To: value}))
	}
	e := func(name, value string) store.IndexEntry { return store.IndexEntry{Name: name, Value: value} }
	revision := put(t, s, at("a"), "", 0, e("color", "red"), e("color", "blue"), e("size", "big"), e("color", "red"))
	put(t, s, at("b"), "", 0, e("color", "red"))
	want(t, "red", find("color", "red"), []string{"a", "b"})
	want(t, "blue", find("color", "blue"), []string{"a"})
	want(t, "big", find("size", "big"), []string{"a"})
	want(t, "a record with two values in range comes twice",
		ids(t, s, lookup(store.Query{Kind: "thing", Index: "color", To: store.LastIndexValue})), []string{"a", "a", "b"})

	revision = put(t, s, at("a"), "", revision, e("color", "green"), e("size", "big"))
	want(t, "red after Put", find("color", "red"), []string{"b"})
	want(t, "blue after Put", find("color", "blue"), []string{})
	want(t, "green after Put", find("color", "green"), []string{"a"})
	want(t, "big after Put", find("size", "big"), []string{"a"})

	revision = put(t, s, at("a"), "", revision)
	want(t, "green after Put without entries", find("color", "green"), []string{})
	revision = put(t, s, at("a"), "", revision, e("color", "red"))
	update(t, s, func(tx store.Tx) error { return tx.Delete(at("a"), revision) })
	want(t, "red after Delete", find("color", "red"), []string{"b"})
}

func testCount(t *testing.T, s store.Store) {
	here := func() int { return count(t, s, "thing", "111122223333", "eu-central-1") }
	want(t, "empty", here(), 0)
	revision := put(t, s, at("a"), "", 0)
	put(t, s, at("b"), "", 0)
	put(t, s, store.Place{Kind: "thing", ID: "elsewhere"}, "", 0)
	want(t, "two", here(), 2)
	want(t, "elsewhere", count(t, s, "thing", "", ""), 1)
	revision = put(t, s, at("a"), "", revision)
	want(t, "after second Put", here(), 2)
	update(t, s, func(tx store.Tx) error { return tx.Delete(at("a"), revision) })
	want(t, "after Delete", here(), 1)
	put(t, s, at("a"), "", 0)
	want(t, "made again", here(), 2)
}

func testStrings(t *testing.T, s store.Store) {
	all := []string{"a", "A", "a'b", `a"b`, "a;--", "a%", "a_", "a/b:c", " ", "a ", "鍵", "鍵守", "é", "e\u0301", "\U0001F511", "\u007f", "1", "01", "1.0", "NULL",
		strings.Repeat("鍵", store.MaxField/3)}
	for _, id := range all {
		put(t, s, at(id), id, 0, store.IndexEntry{Name: "by 名", Value: id})
	}
	slices.Sort(all) // Go compares bytes
	want(t, "scan", ids(t, s, scan("", 0)), all)
	want(t, "range", ids(t, s, lookup(store.Query{Kind: "thing", Index: "by 名", To: store.LastIndexValue})), all)
	for _, id := range all {
		rec, err := get(t, s, at(id))
		if err != nil || string(rec.Value) != id {
			t.Errorf("Get %q: %q, %v", id, rec.Value, err)
		}
		want(t, "lookup", ids(t, s, lookup(store.Query{Kind: "thing", Index: "by 名", From: id, To: id})), []string{id})
	}
}

// testNestedCalls uses the Tx while Scan and Lookup are under way.
func testNestedCalls(t *testing.T, s store.Store) {
	const n = 120
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			if _, err := tx.Put(at(fmt.Sprintf("%03d", i)), nil, 0, store.IndexEntry{Name: "by", Value: "all"}); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(tx store.Tx) error {
		outer := 0
		err := tx.Scan("thing", "111122223333", "eu-central-1", "", 0, func(rec store.Record) error {
			outer++
			inner := 0
			if err := tx.Scan("thing", "111122223333", "eu-central-1", rec.ID, 5, func(store.Record) error {
				inner++
				return nil
			}); err != nil {
				return err
			}
			want(t, "inner Scan", inner, min(5, n-outer))
			_, err := tx.Put(rec.Place, []byte("seen"), rec.Revision, store.IndexEntry{Name: "by", Value: "seen"})
			return err
		})
		want(t, "outer Scan", outer, n)
		return err
	})
	update(t, s, func(tx store.Tx) error {
		return tx.Lookup(store.Query{Kind: "thing", Index: "by", From: "seen", To: "seen"}, func(rec store.Record) error {
			return tx.Delete(rec.Place, rec.Revision)
		})
	})
	want(t, "Count", count(t, s, "thing", "111122223333", "eu-central-1"), 0)
}

func testReadYourWrites(t *testing.T, s store.Store) {
	put(t, s, at("old"), "old", 0, store.IndexEntry{Name: "by", Value: "v"})
	update(t, s, func(tx store.Tx) error {
		before := tx.Seq()
		revision, err := tx.Put(at("new"), []byte("new"), 0, store.IndexEntry{Name: "by", Value: "v"})
		if err != nil {
			return err
		}
		rec, err := tx.Get(at("new"))
		if err != nil || string(rec.Value) != "new" || rec.Revision != revision {
			t.Errorf("Get: %v %v", rec, err)
		}
		var scanned, found []string
		if err := tx.Scan("thing", "111122223333", "eu-central-1", "", 0, func(r store.Record) error {
			scanned = append(scanned, r.ID)
			return nil
		}); err != nil {
			return err
		}
		if err := tx.Lookup(store.Query{Kind: "thing", Index: "by", From: "v", To: "v"}, func(r store.Record) error {
			found = append(found, r.ID)
			return nil
		}); err != nil {
			return err
		}
		want(t, "Scan", scanned, []string{"new", "old"})
		want(t, "Lookup", found, []string{"new", "old"})
		n, err := tx.Count("thing", "111122223333", "eu-central-1")
		want(t, "Count", n, 2)
		want(t, "Seq", tx.Seq(), before+1)
		if err != nil {
			return err
		}
		if err := tx.Delete(at("new"), revision); err != nil {
			return err
		}
		_, err = tx.Get(at("new"))
		wantErr(t, "Get after Delete", err, store.ErrNotFound)
		again, err := tx.Put(at("new"), []byte("again"), 0)
		if again <= revision {
			t.Errorf("revision %d after %d", again, revision)
		}
		return err
	})
	rec, err := get(t, s, at("new"))
	if err != nil || string(rec.Value) != "again" {
		t.Errorf("after Update: %v %v", rec, err)
	}
}

// mess writes in every way, for transactions that must leave no trace.
func mess(t testing.TB, tx store.Tx) {
	t.Helper()
	rec, err := tx.Get(at("kept"))
	if err == nil {
		_, err = tx.Put(at("kept"), []byte("changed"), rec.Revision, store.IndexEntry{Name: "by", Value: "changed"})
	}
	if err == nil {
		_, err = tx.Put(at("new"), nil, 0, store.IndexEntry{Name: "by", Value: "new"})
	}
	if err == nil {
		rec, err = tx.Get(at("kept too"))
	}
	if err == nil {
		err = tx.Delete(rec.Place, rec.Revision)
	}
	if err != nil {
		t.Error(err)
	}
}

// noMess sets up what mess changes, runs fn, and proves that mess left no trace.
func noMess(t *testing.T, s store.Store, fn func()) {
	t.Helper()
	put(t, s, at("kept"), "kept", 0, store.IndexEntry{Name: "by", Value: "kept"})
	put(t, s, at("kept too"), "kept too", 0)
	fn()
	rec, err := get(t, s, at("kept"))
	if err != nil || string(rec.Value) != "kept" {
		t.Errorf("kept: %v %v", rec, err)
	}
	want(t, "Scan", ids(t, s, scan("", 0)), []string{"kept", "kept too"})
	want(t, "Lookup", ids(t, s, lookup(store.Query{Kind: "thing", Index: "by", To: store.LastIndexValue})), []string{"kept"})
	want(t, "Count", count(t, s, "thing", "111122223333", "eu-central-1"), 2)
	changes, err := s.Changes(ctx, 0, 0)
	if err != nil || len(changes) != 2 {
		t.Errorf("changes: %v %v", changes, err)
	}
	// And the store goes on.
	put(t, s, at("next"), "", 0)
	changes, err = s.Changes(ctx, 2, 0)
	if err != nil || len(changes) != 1 || changes[0].Seq != 3 {
		t.Errorf("next change: %v %v", changes, err)
	}
}

func testErrorRollsBack(t *testing.T, s store.Store) {
	stop := errors.New("stop")
	noMess(t, s, func() {
		err := s.Update(ctx, func(tx store.Tx) error {
			mess(t, tx)
			return stop
		})
		wantErr(t, "Update", err, stop)
	})
}

func testPanicRollsBack(t *testing.T, s store.Store) {
	noMess(t, s, func() {
		defer func() { want(t, "recovered", recover(), any("boo")) }()
		s.Update(ctx, func(tx store.Tx) error {
			mess(t, tx)
			panic("boo")
		})
		t.Error("Update returned after a panic")
	})
	defer func() { want(t, "recovered from View", recover(), any("boo")) }()
	s.View(ctx, func(store.Reader) error { panic("boo") })
}

func testGoexitRollsBack(t *testing.T, s store.Store) {
	noMess(t, s, func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Update(ctx, func(tx store.Tx) error {
				mess(t, tx)
				runtime.Goexit()
				return nil
			})
		}()
		<-done
	})
}

// testFailuresStayAlone runs many Updates at a time, of which two in three fail.
func testFailuresStayAlone(t *testing.T, s store.Store) {
	const workers, each = 8, 30
	stop := errors.New("stop")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				p := at(fmt.Sprintf("%d-%02d", w, i))
				err := func() (err error) {
					defer func() {
						if v := recover(); v != nil {
							err = stop
						}
					}()
					return s.Update(ctx, func(tx store.Tx) error {
						if _, err := tx.Put(p, nil, 0, store.IndexEntry{Name: "by", Value: "v"}); err != nil {
							return err
						}
						switch i % 3 {
						case 1:
							return stop
						case 2:
							panic("boo")
						}
						return nil
					})
				}()
				if i%3 == 0 {
					wantErr(t, "good Update", err, nil)
				} else {
					wantErr(t, "bad Update", err, stop)
				}
			}
		})
	}
	wg.Wait()
	good := workers * each / 3
	want(t, "Count", count(t, s, "thing", "111122223333", "eu-central-1"), good)
	want(t, "Scan", len(ids(t, s, scan("", 0))), good)
	want(t, "Lookup", len(ids(t, s, lookup(store.Query{Kind: "thing", Index: "by", From: "v", To: "v"}))), good)
	checkFeed(t, s, good)
	if err := s.Health(); err != nil {
		t.Errorf("failing functions made the store unhealthy: %v", err)
	}
}

// checkFeed proves that the feed has n changes and no holes.
func checkFeed(t testing.TB, s store.Store, n int) {
	t.Helper()
	changes, err := s.Changes(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "changes", len(changes), n)
	for i, c := range changes {
		if c.Seq != uint64(i+1) {
			t.Fatalf("change %d has seq %d", i+1, c.Seq)
		}
	}
}

// testSnapshot changes everything while a View is under way.
func testSnapshot(t *testing.T, s store.Store) {
	e := store.IndexEntry{Name: "by", Value: "v"}
	a := put(t, s, at("a"), "old", 0, e)
	b := put(t, s, at("b"), "old", 0, e)
	look := func(r store.Reader) (seen []string) {
		t.Helper()
		add := func(rec store.Record) error {
			seen = append(seen, rec.ID, string(rec.Value))
			return nil
		}
		rec, err := r.Get(at("a"))
		n, err2 := r.Count("thing", "111122223333", "eu-central-1")
		if err := errors.Join(err, err2, add(rec),
			r.Scan("thing", "111122223333", "eu-central-1", "", 0, add),
			r.Lookup(store.Query{Kind: "thing", Index: "by", To: store.LastIndexValue}, add)); err != nil {
			t.Error(err)
		}
		return append(seen, fmt.Sprint(n, r.Seq()))
	}
	// The first View reads before the change, the second for the first time
	// after it, though it began before.
	for _, early := range []bool{true, false} {
		view(t, s, func(r store.Reader) error {
			before := []string{"a", "old", "a", "old", "b", "old", "a", "old", "b", "old", fmt.Sprint(2, r.Seq())}
			if early {
				want(t, "before", look(r), before)
			}
			update(t, s, func(tx store.Tx) (err error) {
				if a, err = tx.Put(at("a"), []byte("new"), a, e); err != nil {
					return err
				}
				if err := tx.Delete(at("b"), b); err != nil {
					return err
				}
				_, err = tx.Put(at("c"), []byte("new"), 0, e)
				return err
			})
			want(t, "meanwhile", look(r), before)
			return nil
		})
		view(t, s, func(r store.Reader) error {
			want(t, "after", look(r), []string{"a", "new", "a", "new", "c", "new", "a", "new", "c", "new", fmt.Sprint(2, r.Seq())})
			return nil
		})
		update(t, s, func(tx store.Tx) (err error) { // as it was
			c, err := tx.Get(at("c"))
			if err != nil {
				return err
			}
			if a, err = tx.Put(at("a"), []byte("old"), a, e); err != nil {
				return err
			}
			if b, err = tx.Put(at("b"), []byte("old"), 0, e); err != nil {
				return err
			}
			return tx.Delete(at("c"), c.Revision)
		})
	}
}

func testUncommittedIsInvisible(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		if _, err := tx.Put(at("a"), nil, 0); err != nil {
			return err
		}
		_, err := get(t, s, at("a"))
		wantErr(t, "View beside an Update", err, store.ErrNotFound)
		return nil
	})
	if _, err := get(t, s, at("a")); err != nil {
		t.Error(err)
	}
}

// number reads a record that holds a decimal number.
func number(r store.Reader, id string) (n int, revision uint64, err error) {
	rec, err := r.Get(at(id))
	if err != nil {
		return 0, 0, err
	}
	_, err = fmt.Sscan(string(rec.Value), &n)
	return n, rec.Revision, err
}

func testLostUpdate(t *testing.T, s store.Store) {
	const workers, each = 8, 25
	put(t, s, at("n"), "0", 0)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if err := s.Update(ctx, func(tx store.Tx) error {
					n, revision, err := number(tx, "n")
					if err != nil {
						return err
					}
					_, err = tx.Put(at("n"), fmt.Append(nil, n+1), revision)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	rec, _ := get(t, s, at("n"))
	want(t, "increments", string(rec.Value), fmt.Sprint(workers*each))
}

// testTransfers moves money between accounts while others add it up.
func testTransfers(t *testing.T, s store.Store) {
	const accounts, start, workers, each = 10, 100, 6, 40
	update(t, s, func(tx store.Tx) error {
		for i := range accounts {
			if _, err := tx.Put(at(fmt.Sprint(i)), fmt.Append(nil, start), 0); err != nil {
				return err
			}
		}
		return nil
	})
	sum := func(r store.Reader) (total int, err error) {
		err = r.Scan("thing", "111122223333", "eu-central-1", "", 0, func(rec store.Record) error {
			n := 0
			_, err := fmt.Sscan(string(rec.Value), &n)
			total += n
			return err
		})
		return total, err
	}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				view(t, s, func(r store.Reader) error {
					total, err := sum(r)
					want(t, "sum", total, accounts*start)
					return err
				})
			}
		})
	}
	broke := errors.New("broke")
	for w := range workers {
		random := rand.New(rand.NewPCG(1, uint64(w)))
		writers.Go(func() {
			for range each {
				from, to, amount := random.IntN(accounts), random.IntN(accounts-1), random.IntN(start)
				if to >= from {
					to++
				}
				err := s.Update(ctx, func(tx store.Tx) error {
					// The receiver first: an error must undo it.
					n, revision, err := number(tx, fmt.Sprint(to))
					if err != nil {
						return err
					}
					if _, err := tx.Put(at(fmt.Sprint(to)), fmt.Append(nil, n+amount), revision); err != nil {
						return err
					}
					if n, revision, err = number(tx, fmt.Sprint(from)); err != nil {
						return err
					}
					if n < amount {
						return broke
					}
					_, err = tx.Put(at(fmt.Sprint(from)), fmt.Append(nil, n-amount), revision)
					return err
				})
				if err != nil && err != broke {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	view(t, s, func(r store.Reader) error {
		total, err := sum(r)
		want(t, "sum", total, accounts*start)
		return err
	})
}

// testWriteSkew: two doctors are on call; each may leave if the other stays.
// Snapshot isolation would let both leave, as they write different records.
func testWriteSkew(t *testing.T, s store.Store) {
	for round := range 20 {
		doctors := []string{fmt.Sprint(round, "a"), fmt.Sprint(round, "b")}
		for _, d := range doctors {
			put(t, s, at(d), "1", 0)
		}
		var wg sync.WaitGroup
		for _, me := range doctors {
			wg.Go(func() {
				if err := s.Update(ctx, func(tx store.Tx) error {
					on := 0
					for _, d := range doctors {
						n, _, err := number(tx, d)
						if err != nil {
							return err
						}
						on += n
					}
					if on < 2 {
						return nil
					}
					_, revision, err := number(tx, me)
					if err != nil {
						return err
					}
					_, err = tx.Put(at(me), []byte("0"), revision)
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		view(t, s, func(r store.Reader) error {
			a, _, err := number(r, doctors[0])
			b, _, err2 := number(r, doctors[1])
			want(t, "doctors on call", a+b, 1)
			return errors.Join(err, err2)
		})
	}
}

func testOneCreatorWins(t *testing.T, s store.Store) {
	for round := range 10 {
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				err := s.Update(ctx, func(tx store.Tx) error {
					_, err := tx.Put(at(fmt.Sprint(round)), fmt.Append(nil, w), 0)
					return err
				})
				switch {
				case err == nil:
					won.Add(1)
				case errors.Is(err, store.ErrConflict):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		want(t, "winners", won.Load(), 1)
		want(t, "losers", lost.Load(), 7)
	}
}

// testSubscribe: subscribers hear of every commit once, in order, when it can
// be read, and before the caller does.
func testSubscribe(t *testing.T, s store.Store) {
	var mu sync.Mutex
	var heard []store.Change
	var second int
	s.Subscribe(func(changes []store.Change) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, changes...)
		for _, c := range changes {
			rec, err := get(t, s, c.Place)
			if c.Deleted {
				wantErr(t, "Get in subscriber", err, store.ErrNotFound)
			} else if err != nil || rec.Revision != c.Revision {
				t.Errorf("Get in subscriber: %v %v, want revision %d", rec, err, c.Revision)
			}
		}
	})
	s.Subscribe(func(changes []store.Change) { second += len(changes) })

	s.Update(ctx, func(tx store.Tx) error {
		tx.Put(at("undone"), nil, 0)
		return errors.New("stop")
	})
	const workers, each = 4, 25
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				p := at(fmt.Sprintf("%d-%d", w, i))
				revision := put(t, s, p, "", 0)
				mu.Lock()
				knows := slices.ContainsFunc(heard, func(c store.Change) bool { return c.Place == p && c.Revision == revision && !c.Deleted })
				mu.Unlock()
				if !knows {
					t.Errorf("Update of %v returned before the subscriber heard of it", p)
				}
			}
		})
	}
	wg.Wait()
	revision := put(t, s, at("x"), "", 0)
	update(t, s, func(tx store.Tx) error { return tx.Delete(at("x"), revision) })
	view(t, s, func(store.Reader) error { return nil })
	update(t, s, func(store.Tx) error { return nil }) // changes nothing, says nothing

	feed, err := s.Changes(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "changes heard", heard, feed)
	want(t, "number of changes", len(heard), workers*each+2)
	want(t, "changes the second heard", second, len(heard))
}

func testChanges(t *testing.T, s store.Store) {
	read := func(after uint64, limit int) []store.Change {
		t.Helper()
		c, err := s.Changes(ctx, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want(t, "empty store", len(read(0, 0)), 0)
	a := put(t, s, at("a"), "", 0)
	var b, a2 uint64
	update(t, s, func(tx store.Tx) (err error) {
		if b, err = tx.Put(at("b"), nil, 0); err != nil {
			return err
		}
		if a2, err = tx.Put(at("a"), nil, a); err != nil {
			return err
		}
		return tx.Delete(at("b"), b)
	})
	all := read(0, 0)
	if len(all) != 4 {
		t.Fatalf("changes: %v", all)
	}
	want(t, "changes", all, []store.Change{
		{Seq: 1, Place: at("a"), Revision: a},
		{Seq: 2, Place: at("b"), Revision: b},
		{Seq: 3, Place: at("a"), Revision: a2},
		{Seq: 4, Place: at("b"), Revision: all[3].Revision, Deleted: true},
	})
	want(t, "after 1", read(1, 0), all[1:])
	want(t, "two after 1", read(1, 2), all[1:3])
	want(t, "after the last", len(read(4, 10)), 0)
	for _, future := range []uint64{5, 1 << 63, 1<<64 - 1} {
		_, err := s.Changes(ctx, future, 0)
		wantErr(t, fmt.Sprint("after ", future), err, store.ErrTrimmed)
	}
	view(t, s, func(r store.Reader) error {
		want(t, "Seq", r.Seq(), 4)
		return nil
	})
}

func testContext(t *testing.T, s store.Store) {
	done, cancel := context.WithCancel(ctx)
	cancel()
	err := s.Update(done, func(store.Tx) error {
		t.Error("Update ran with a context that was done")
		return nil
	})
	wantErr(t, "Update", err, context.Canceled)
	err = s.View(done, func(store.Reader) error {
		t.Error("View ran with a context that was done")
		return nil
	})
	wantErr(t, "View", err, context.Canceled)
	_, err = s.Changes(done, 0, 0)
	wantErr(t, "Changes", err, context.Canceled)

	// Done while it waits: not run.
	waiting, cancel := context.WithCancel(ctx)
	returned := make(chan error)
	update(t, s, func(store.Tx) error {
		go func() {
			returned <- s.Update(waiting, func(store.Tx) error {
				t.Error("Update ran after its context was done")
				return nil
			})
		}()
		cancel()
		wantErr(t, "waiting Update", <-returned, context.Canceled)
		return nil
	})

	// Done after it began: finished.
	running, cancel := context.WithCancel(ctx)
	err = s.Update(running, func(tx store.Tx) error {
		cancel()
		_, err := tx.Put(at("a"), nil, 0)
		return err
	})
	wantErr(t, "running Update", err, nil)
	if _, err := get(t, s, at("a")); err != nil {
		t.Error(err)
	}
}

func testUseAfterEnd(t *testing.T, s store.Store) {
	put(t, s, at("a"), "", 0)
	var kept store.Reader
	var keptTx store.Tx
	view(t, s, func(r store.Reader) error { kept = r; return nil })
	update(t, s, func(tx store.Tx) error { keptTx = tx; return nil })
	if _, err := kept.Get(at("a")); err == nil {
		t.Error("Reader still works after View returned")
	}
	if _, err := keptTx.Put(at("b"), nil, 0); err == nil {
		t.Error("Tx still works after Update returned")
	}
	want(t, "Scan", ids(t, s, scan("", 0)), []string{"a"})
}

func testClose(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				err := s.Update(ctx, func(tx store.Tx) error {
					_, err := tx.Put(at(fmt.Sprint(w, "-", i)), nil, 0)
					return err
				})
				if err == nil {
					_, err = get(t, s, at(fmt.Sprint(w, "-", i)))
				}
				if err != nil {
					wantErr(t, "while closing", err, store.ErrClosed)
					return
				}
				if w == 0 && i == 3 {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	wantErr(t, "second Close", s.Close(), nil)
	wantErr(t, "Update", s.Update(ctx, func(store.Tx) error { return nil }), store.ErrClosed)
	wantErr(t, "View", s.View(ctx, func(store.Reader) error { return nil }), store.ErrClosed)
	_, err := s.Changes(ctx, 0, 0)
	wantErr(t, "Changes", err, store.ErrClosed)
}

func testHealth(t *testing.T, s store.Store) {
	wantErr(t, "new store", s.Health(), nil)
	put(t, s, at("a"), "", 0)
	wantErr(t, "after a write", s.Health(), nil)
}

// testModel does random things and compares with a map.
func testModel(t *testing.T, s store.Store) {
	type item struct {
		revision uint64
		value    string
		index    []string
	}
	model := map[store.Place]item{}
	random := rand.New(rand.NewPCG(7, 7))
	pick := func(options ...string) string { return options[random.IntN(len(options))] }
	place := func() store.Place {
		return store.Place{Kind: pick("k", "l"), Account: pick("", "1"), Region: pick("", "r"), ID: pick("a", "b", "c", "d")}
	}
	stop := errors.New("stop")
	for range 150 {
		next := maps.Clone(model)
		abort := random.IntN(4) == 0
		err := s.Update(ctx, func(tx store.Tx) error {
			for range random.IntN(5) {
				p := place()
				old, exists := next[p]
				expected, wrong := old.revision, random.IntN(6) == 0
				if wrong {
					expected += uint64(1 + random.IntN(3))
				}
				if random.IntN(3) == 0 {
					if err := tx.Delete(p, expected); (err == nil) != (exists && !wrong) {
						return fmt.Errorf("Delete %v at %d: %v, model %v", p, expected, err, old)
					} else if err == nil {
						delete(next, p)
					}
					continue
				}
				it := item{value: fmt.Sprint(random.Uint64())}
				var index []store.IndexEntry
				for _, v := range []string{"u", "v", "w"} {
					if random.IntN(2) == 0 {
						it.index = append(it.index, v)
						index = append(index, store.IndexEntry{Name: "by", Value: v})
					}
				}
				var err error
				if it.revision, err = tx.Put(p, []byte(it.value), expected, index...); (err == nil) == wrong {
					return fmt.Errorf("Put %v at %d: %v, model %v", p, expected, err, old)
				} else if err == nil {
					next[p] = it
				}
			}
			if abort {
				return stop
			}
			return nil
		})
		if abort {
			wantErr(t, "aborted Update", err, stop)
		} else if err != nil {
			t.Fatal(err)
		} else {
			model = next
		}

		p, value := place(), pick("u", "v", "w")
		view(t, s, func(r store.Reader) error {
			rec, err := r.Get(p)
			if it, ok := model[p]; ok != (err == nil) || !bytes.Equal(rec.Value, []byte(it.value)) || rec.Revision != it.revision {
				t.Errorf("Get %v: %v %v, model %v", p, rec, err, it)
			}
			var scanned, found, wantScanned, wantFound []string
			for q, it := range model {
				if q.Kind != p.Kind {
					continue
				}
				if q.Account == p.Account && q.Region == p.Region {
					wantScanned = append(wantScanned, q.ID)
				}
				if slices.Contains(it.index, value) {
					wantFound = append(wantFound, strings.Join([]string{q.Account, q.Region, q.ID}, "/"))
				}
			}
			slices.Sort(wantScanned)
			slices.Sort(wantFound)
			err = r.Scan(p.Kind, p.Account, p.Region, "", 0, func(rec store.Record) error {
				scanned = append(scanned, rec.ID)
				return nil
			})
			err2 := r.Lookup(store.Query{Kind: p.Kind, Index: "by", From: value, To: value}, func(rec store.Record) error {
				found = append(found, strings.Join([]string{rec.Account, rec.Region, rec.ID}, "/"))
				return nil
			})
			n, err3 := r.Count(p.Kind, p.Account, p.Region)
			want(t, "Scan", scanned, wantScanned)
			want(t, "Lookup", found, wantFound)
			want(t, "Count", n, len(wantScanned))
			return errors.Join(err, err2, err3)
		})
		if t.Failed() {
			return
		}
	}
}
