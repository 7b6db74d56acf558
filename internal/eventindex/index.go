// Package eventindex finds audit records by what LookupEvents asks for, newest first, in
// milliseconds in a journal of any size.
//
// The journal comes first, the index follows it: for each of its segments there is a file of
// the index, that of the newest one in memory. All of it can be made again of the journal at
// any time, and is where something is missing.
package eventindex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/durable"
	"github.com/kagimori/kagimori/internal/journal"
)

// An Attribute is what events can be looked up by.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupAttribute.html
type Attribute string

// The attributes. Any is that of all events.
const (
	Any          Attribute = ""
	EventID      Attribute = "EventId"
	EventName    Attribute = "EventName"
	ReadOnly     Attribute = "ReadOnly"
	Username     Attribute = "Username"
	ResourceType Attribute = "ResourceType"
	ResourceName Attribute = "ResourceName"
	EventSource  Attribute = "EventSource"
	AccessKeyID  Attribute = "AccessKeyId"
)

// each gives all that an event can be found by to f.
func (v *view) each(f func(a Attribute, value []byte)) {
	f(Any, nil)
	f(EventID, v.id)
	f(EventName, v.name)
	f(ReadOnly, strconv.AppendBool(nil, v.readOnly))
	f(EventSource, v.source)
	if len(v.username) > 0 {
		f(Username, v.username)
	}
	if len(v.accessKeyID) > 0 {
		f(AccessKeyID, v.accessKeyID)
	}
	for i, r := range v.resources {
		if i == 0 || !bytes.Equal(v.resources[0].kind, r.kind) {
			f(ResourceType, r.kind)
		}
		f(ResourceName, r.arn)
	}
}

// hasher makes terms, in memory that it keeps. A term stands for a value of an attribute in
// an account and Region: it is the CRC-32C of them all. Others may have the same: whoever
// finds a record by it looks into the record.
type hasher struct {
	place uint32 // that of the account and the Region
	b     []byte
}

// of sets the account and the Region.
func (h *hasher) of(account, region []byte) {
	h.b = append(append(append(append(h.b[:0], account...), 0), region...), 0)
	h.place = crc32.Checksum(h.b, castagnoli)
}

// term is that of a value there.
func (h *hasher) term(a Attribute, value []byte) uint32 {
	h.b = append(append(append(h.b[:0], a...), 0), value...)
	return crc32.Update(h.place, castagnoli, h.b)
}

// Config is what an Index is made of.
type Config struct {
	Dir        string // the index's folder
	JournalDir string
	// LastSeq is the number of the last record that is durable in the journal.
	LastSeq func() uint64
	Clock   clock.Clock // nil: the system's
	Log     *slog.Logger
}

// interval is how often it looks for new records, when nobody looks anything up.
const interval = 500 * time.Millisecond

// retryInterval is how long it rests when the disk is full or fails.
const retryInterval = 5 * time.Second

// Index extends the index behind the journal, in the background, and answers from it.
type Index struct {
	cfg     Config
	wanted  chan struct{} // somebody waits
	stop    chan struct{}
	stopped chan struct{}

	mu       sync.RWMutex
	complete []*complete   // oldest first
	building *building     // nil at first
	done     uint64        // the last record that is in
	advanced chan struct{} // closed when done grows
	err      error
}

// Start begins to extend the index.
func Start(cfg Config) *Index {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	x := &Index{cfg: cfg, wanted: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}), advanced: make(chan struct{})}
	go x.run()
	return x
}

// Err is why the index does not go on; nil while it does.
func (x *Index) Err() error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.err
}

// Close stops it.
func (x *Index) Close() {
	close(x.stop)
	<-x.stopped
}

func (x *Index) run() {
	defer close(x.stopped)
	for {
		err := x.follow()
		if err == nil {
			return
		}
		x.mu.Lock()
		x.err = err
		x.mu.Unlock()
		x.cfg.Log.Error("the index of audit records does not go on; it will be tried again", "error", err)
		select {
		case <-x.stop:
			return
		case <-x.cfg.Clock.After(retryInterval):
		}
	}
}

// follow takes the journal's records in until it is to stop.
func (x *Index) follow() error {
	from, err := x.load()
	if err != nil {
		return err
	}
	var v view
	for e, err := range journal.ReadDurable(x.cfg.JournalDir, from, x.cfg.LastSeq, x.rest) {
		if err != nil {
			return err
		}
		if x.building == nil || x.building.h.first != e.At.Segment {
			if err := x.finish(e.At.Segment); err != nil {
				return err
			}
		}
		event := &v
		if !v.parse(e.Record) {
			event = nil
		}
		x.mu.Lock()
		x.building.add(event, e.At.Offset)
		x.done = e.Seq
		x.err = nil
		x.mu.Unlock()
	}
	return nil
}

// load finds the files that there are, and from which record on there are none.
func (x *Index) load() (from uint64, err error) {
	if err := os.MkdirAll(x.cfg.Dir, 0o700); err != nil {
		return 0, err
	}
	segments, err := journal.Segments(x.cfg.JournalDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	var files []*complete
	from = 1
	for i, s := range segments {
		from = s.First
		if i == len(segments)-1 {
			break // the newest one may not be complete
		}
		c, err := openComplete(x.path(s.First))
		if err != nil {
			break // it is made again
		}
		files = append(files, c)
	}
	kept := map[string]bool{}
	for _, c := range files {
		kept[c.path] = true
	}
	// What was made of segments that are gone, or has to be made again.
	all, err := filepath.Glob(filepath.Join(x.cfg.Dir, "*.index*"))
	if err != nil {
		return 0, err
	}
	for _, path := range all {
		if !kept[path] {
			os.Remove(path)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.complete, x.building, x.done = files, nil, from-1
	return from, nil
}

func (x *Index) path(first uint64) string {
	return filepath.Join(x.cfg.Dir, fmt.Sprintf("%020d.index", first))
}

// finish writes the file of the segment that was being built, and begins that of another.
func (x *Index) finish(next uint64) error {
	var done *complete
	if x.building != nil {
		b, h := x.building.encode()
		done = &complete{path: x.path(h.first), h: h}
		if err := durable.Replace(done.path, b, 0o600); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if done != nil {
		x.complete = append(x.complete, done)
	}
	x.building = x.building.next(next)
	return nil
}

// rest waits for more records.
func (x *Index) rest() bool {
	x.mu.Lock()
	close(x.advanced)
	x.advanced = make(chan struct{})
	x.mu.Unlock()
	select {
	case <-x.stop:
		return false
	case <-x.wanted:
		return true
	case <-x.cfg.Clock.After(interval):
		return true
	}
}

// wait waits until all that is durable now is in the index.
func (x *Index) wait(ctx context.Context) error {
	last := x.cfg.LastSeq()
	for {
		x.mu.RLock()
		done, advanced, err := x.done, x.advanced, x.err
		x.mu.RUnlock()
		if err != nil || done >= last {
			return err
		}
		select {
		case x.wanted <- struct{}{}:
		default:
		}
		select {
		case <-advanced:
		case <-x.stopped:
			return errors.New("the index of audit records was closed")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Query is what is looked for.
type Query struct {
	Account, Region string
	Attribute       Attribute
	Value           string
	From, To        time.Time // of the events, both included, in whole seconds
	Before          uint64    // only records with smaller numbers; 0: all
}

// Found is an event that was found.
type Found struct {
	*Event
	Seq    uint64
	Record []byte
}

// Find gives what is looked for to f, newest first, until it says false. All that was
// durable in the journal before is found.
func (x *Index) Find(ctx context.Context, q *Query, f func(Found) bool) error {
	if err := x.wait(ctx); err != nil {
		return err
	}
	fetch, err := journal.NewFetcher(x.cfg.JournalDir)
	if err != nil {
		return err
	}
	defer fetch.Close()
	x.mu.RLock()
	files, newest := x.complete, x.building
	x.mu.RUnlock()
	if newest != nil {
		more, err := x.findIn(ctx, newest, x.mu.RLocker(), q, fetch, f)
		if err != nil || !more {
			return err
		}
	}
	for _, c := range slices.Backward(files) {
		search := *c
		if !search.h.within(q.From, q.To) {
			continue
		}
		if err := search.open(); err != nil {
			return err
		}
		more, err := x.findIn(ctx, &search, noLock{}, q, fetch, f)
		search.close()
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// noLock is for what does not change.
type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}

// findIn finds in one segment, which it may only look into under a lock. It is false when f
// was.
func (x *Index) findIn(ctx context.Context, s segment, lock sync.Locker, q *Query, fetch *journal.Fetcher, f func(Found) bool) (more bool, err error) {
	type found struct {
		seq    uint64
		offset int64
	}
	const most = 64 // at a time
	var hasher hasher
	hasher.of([]byte(q.Account), []byte(q.Region))
	term := hasher.term(q.Attribute, []byte(q.Value))
	var v view
	from, to := q.From.Unix(), q.To.Unix()
	before := uint32(1<<32 - 1)
	for {
		var batch []found
		var failed error
		lock.Lock()
		h := s.head()
		if q.Before != 0 {
			if q.Before <= h.first {
				lock.Unlock()
				return true, nil
			}
			before = uint32(min(uint64(before), q.Before-h.first))
		}
		err := s.find(term, before, func(place uint32) bool {
			offset, at, err := s.record(place)
			if failed = err; err != nil {
				return false
			}
			if int64(at) >= from && int64(at) <= to {
				batch = append(batch, found{h.first + uint64(place), offset})
			}
			before = place
			return len(batch) < most && ctx.Err() == nil
		})
		lock.Unlock()
		if err := errors.Join(err, failed, ctx.Err()); err != nil {
			return false, err
		}
		for _, b := range batch {
			record, err := fetch.Record(b.seq, journal.Position{Segment: h.first, Offset: b.offset})
			if errors.Is(err, fs.ErrNotExist) {
				return true, nil // the segment was moved away
			}
			if err != nil {
				return false, err
			}
			if !v.parse(record) || !v.has(q) {
				continue
			}
			if !f(Found{v.event(), b.seq, slices.Clone(record)}) {
				return false, nil
			}
		}
		if len(batch) < most {
			return true, nil
		}
	}
}

// has tells whether an event is what is looked for.
func (v *view) has(q *Query) bool {
	has := false
	v.each(func(a Attribute, value []byte) { has = has || a == q.Attribute && string(value) == q.Value })
	return has && string(v.account) == q.Account && string(v.region) == q.Region
}
