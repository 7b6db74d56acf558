// Package store is the contract for durable state: sealed records, secondary
// indexes, serializable transactions and a feed of changes.
//
// It owns what a record is, how one is sealed and what every backend promises;
// storetest.Run proves the promises, and the packages below (sqlite) keep
// them. It knows nothing of keys, of any other meaning of a record, of the
// time, or of how the Sealer works.
//
// # What sealing gives
//
// A record's value and its index entries are encrypted and bound to kind,
// account, region, id and revision (see Binding). Whoever can write the
// database but has no store key cannot read or forge a value, move a value to
// another place or revision, or make an index entry lead to a record that was
// not put with it: reading such a record fails with ErrTampered.
//
// What a database writer still can do: see places, revisions, sizes, index
// names and values; delete records and index entries; put back an older row of
// the same place together with its older revision; rewrite counters, the
// change feed and the unsealed meta blobs. Callers must not build on those
// being whole against such an attacker.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Errors that a backend returns, wrapped with what they are about.
var (
	// ErrNotFound: there is no such record or meta blob.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict: the record is not at the expected revision.
	ErrConflict = errors.New("store: record was changed by someone else")
	// ErrTampered: what is stored was not written here by the holder of the
	// store key. The wrapping error names the place, never any content.
	ErrTampered = errors.New("store: record fails authentication: the database was changed from outside")
	// ErrTrimmed: the feed does not lead from that position to the present.
	ErrTrimmed = errors.New("store: change feed does not reach back that far: read everything anew")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("store: closed")
)

// Limits that Put enforces on every backend.
const (
	// MaxField is the longest kind, account, region, id, index name or index
	// value, in bytes.
	MaxField = 1024
	// MaxValue is the largest value, in bytes.
	MaxValue = 1 << 20
	// MaxIndex is the largest number of index entries of one record.
	MaxIndex = 64
	// ChangesKept is how many of the latest changes the feed keeps.
	ChangesKept = 100_000
)

// Place is where a record lives. Kind and ID are never empty; Account and
// Region are empty for what belongs to none. All four are valid UTF-8 without
// NUL, and ordered by their bytes.
type Place struct{ Kind, Account, Region, ID string }

// String is for error messages.
func (p Place) String() string {
	return fmt.Sprintf("%s %q (account %q, region %q)", p.Kind, p.ID, p.Account, p.Region)
}

// Record is one stored value.
type Record struct {
	Place
	// Revision changes with every write. Those of one place only grow, also
	// when the record is deleted and made again; nothing else is promised.
	Revision uint64
	// Value belongs to the caller, who may keep, change and zero it.
	Value []byte
}

// IndexEntry makes a record findable by Lookup. Neither string is empty. A
// record may have several values under one name.
type IndexEntry struct{ Name, Value string }

// LastIndexValue, as Query.To, sets no upper bound: no index value is greater.
const LastIndexValue = "\U0010FFFF"

// Query asks for the records of one kind whose index has a value from From to
// To, both inclusive: equal strings find one value. To must be set, so that
// looking up a value that happens to be empty is an error, not everything.
type Query struct {
	Kind, Index string
	From, To    string
	// After continues an earlier Lookup: records with the value From are left
	// out up to and including this place. (Set From to the last value seen.)
	After Place
	// Limit is the largest number of records; zero or less means all.
	Limit int
}

// Change says that a record was put or deleted.
type Change struct {
	// Seq counts changes of the whole store in the order of their commits,
	// from 1, without holes.
	Seq   uint64
	Place Place
	// Revision is the one written. That of a deletion is higher than every
	// revision the place had before.
	Revision uint64
	Deleted  bool
}

// Reader reads one consistent state. It is valid until the function it was
// given to returns, and used by one goroutine at a time.
//
// The functions given to Scan and Lookup may call the Reader, and in Update
// write; a write that lies ahead may or may not be met. Their error ends the
// call and is returned as it is.
type Reader interface {
	// Get is the record at p, or ErrNotFound.
	Get(p Place) (Record, error)
	// Scan calls fn for the records of a kind, account and region whose ID is
	// greater than after, ordered by ID. A limit of zero or less means all.
	Scan(kind, account, region, after string, limit int, fn func(Record) error) error
	// Lookup calls fn for the records that q asks for, across accounts and
	// regions, ordered by index value, account, region and ID.
	Lookup(q Query, fn func(Record) error) error
	// Count is the number of records that Scan would find. It is kept as a
	// number, not counted.
	Count(kind, account, region string) (int, error)
	// Seq is the last change that this state contains, 0 for an empty store.
	// Whoever reads everything now can follow Changes from here.
	Seq() uint64
}

// Tx is a Reader that writes, and sees what it wrote.
type Tx interface {
	Reader
	// Put writes a record with its whole set of index entries and returns its
	// new revision. Expected is the revision that the record must have, 0 if
	// there must be none; else ErrConflict, and nothing is written.
	Put(p Place, value []byte, expected uint64, index ...IndexEntry) (revision uint64, err error)
	// Delete removes a record with its index entries. If it is not at the
	// expected revision, or gone: ErrConflict.
	Delete(p Place, expected uint64) error
}

// Store is what every backend provides. It is safe for concurrent use.
type Store interface {
	// View calls fn with the state of one moment at or after the call: all
	// that was acknowledged before is in it. fn should not call the store
	// otherwise: with many at it, they could wait for each other. ctx bounds
	// the wait to begin.
	View(ctx context.Context, fn func(Reader) error) error

	// Update calls fn in a serializable transaction. Nil means that the writes
	// are on stable storage. An error of fn undoes the writes of fn and is
	// returned; any other error means that the writes did not take effect (a
	// crash right after it may still bring them to light).
	//
	// fn may be called again, so it has no side effects. It must not call
	// Update. If it panics, its writes are undone and the panic goes on in
	// the caller. An Update whose ctx is done before fn is called does
	// nothing; one that has begun is finished regardless of ctx.
	Update(ctx context.Context, fn func(Tx) error) error

	// Subscribe has fn called with the changes of every commit from now on,
	// in order, by one goroutine at a time, after they can be read and before
	// any Update that made them returns. So a cache that drops what changed is
	// never staler than an acknowledged write, provided that it does not let a
	// View that began earlier put an older revision back. fn must be quick and
	// must not call Update.
	Subscribe(fn func([]Change))

	// Changes are up to limit changes that follow the one numbered after, in
	// order; zero or less means all that are kept. ErrTrimmed if some of them
	// are no longer kept, or after lies in the future (the store was set back).
	Changes(ctx context.Context, after uint64, limit int) ([]Change, error)

	// Health is nil, or why writes fail. After a failure it tries to write, so
	// it turns nil by itself when the cause is gone.
	Health() error

	// Close waits for calls in progress; later ones get ErrClosed.
	Close() error
}

// Meta holds a few small blobs beside the records. They are not sealed: they
// are what must be read before there is a store key. Other processes may read
// and update them at the same time.
type Meta interface {
	// Meta is the blob of that name, or ErrNotFound.
	Meta(ctx context.Context, name string) ([]byte, error)
	// UpdateMeta calls fn in a serializable transaction, under the rules of
	// Store.Update.
	UpdateMeta(ctx context.Context, fn func(MetaTx) error) error
}

// MetaTx reads and writes meta blobs.
type MetaTx interface {
	// Get is the blob of that name, or ErrNotFound.
	Get(name string) ([]byte, error)
	// Put writes the blob of that name.
	Put(name string, value []byte) error
}

// CheckPut tells what is wrong with the arguments of a Put, and returns the
// index entries as the set they are: sorted, each once. It is for backends.
func CheckPut(p Place, value []byte, index []IndexEntry) ([]IndexEntry, error) {
	if p.Kind == "" || p.ID == "" {
		return nil, fmt.Errorf("store: put %v: kind and id must not be empty", p)
	}
	if len(value) > MaxValue {
		return nil, fmt.Errorf("store: put %v: value has %d bytes, at most %d are allowed", p, len(value), MaxValue)
	}
	if len(index) > MaxIndex {
		return nil, fmt.Errorf("store: put %v: %d index entries, at most %d are allowed", p, len(index), MaxIndex)
	}
	fields := []string{p.Kind, p.Account, p.Region, p.ID}
	for _, e := range index {
		if e.Name == "" || e.Value == "" || e.Value > LastIndexValue {
			return nil, fmt.Errorf("store: put %v: index entry %q: name and value must not be empty, nor greater than LastIndexValue", p, e)
		}
		fields = append(fields, e.Name, e.Value)
	}
	for _, f := range fields {
		if len(f) > MaxField {
			return nil, fmt.Errorf("store: put: field of %d bytes, at most %d are allowed", len(f), MaxField)
		}
		if !utf8.ValidString(f) || strings.IndexByte(f, 0) >= 0 {
			return nil, fmt.Errorf("store: put: field %q is not UTF-8 without NUL", f)
		}
	}
	set := slices.Clone(index)
	slices.SortFunc(set, func(a, b IndexEntry) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
	})
	return slices.Compact(set), nil
}

// CheckQuery tells what is wrong with a Query. It is for backends.
func CheckQuery(q Query) error {
	if q.Kind == "" || q.Index == "" || q.To == "" {
		return fmt.Errorf("store: lookup %q in %q: kind, index and To must not be empty (To may be LastIndexValue)", q.Index, q.Kind)
	}
	return nil
}
