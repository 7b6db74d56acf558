package journal

import (
	"context"
	"errors"
	"iter"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/kagimori/kagimori/internal/clock"
)

// Entry is one record of a journal.
type Entry struct {
	Seq    uint64 // its number
	Record []byte
	At     Position
}

// Position is where a record is, for a Fetcher.
type Position struct {
	Segment uint64 // the number of its segment's first record
	Offset  int64  // of its group in the segment, in bytes
}

// ErrGone says that the records asked for are older than those in the folder.
var ErrGone = errors.New("journal: records that old are not in the folder any more")

// Read yields the records of the journal in dir, from the number from on, or
// from the oldest one if from is 0. It can be used while another process writes,
// and then ends with the last group that is whole; that group may not be durable
// yet. Damage is a *CorruptError, after which nothing more is yielded.
func Read(dir string, from uint64) iter.Seq2[Entry, error] {
	return entries(dir, from, nil)
}

// ReadSince is Read for whoever has seen what comes before from: if records from
// there on are not in the folder any more, it begins with the oldest that is.
func ReadSince(dir string, from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range Read(dir, from) {
			if errors.Is(err, ErrGone) {
				Read(dir, 0)(yield)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Follow is Read that does not end: it waits for new records, looking for them
// every interval, until ctx is done or there is an error.
//
// When a disk failed under the writer, Follow may have yielded records that were
// never acknowledged; then the numbers go back to the first of those that took
// their place.
func Follow(ctx context.Context, dir string, from uint64, clk clock.Clock, interval time.Duration) iter.Seq2[Entry, error] {
	return entries(dir, from, func() bool {
		select {
		case <-ctx.Done():
			return false
		case <-clk.After(interval):
			return ctx.Err() == nil
		}
	})
}

// ReadDurable yields the records from the number from on up to the one that durable gives,
// the LastSeq of the journal that is open for writing: never one that is not acknowledged
// in the end. There it calls rest and looks again, until rest says false.
func ReadDurable(dir string, from uint64, durable func() uint64, rest func() bool) iter.Seq2[Entry, error] {
	return read(dir, reader{from: from, durable: durable, wait: rest})
}

// First is the number of the oldest record that Read would yield, or of the one that will
// be the first; 0 if there is no journal yet.
func First(dir string) (uint64, error) {
	d, err := openFolder(dir)
	if err != nil {
		return 0, err
	}
	defer d.close()
	segments, err := d.list()
	if err != nil || len(segments) == 0 {
		return 0, err
	}
	return segments[0], nil
}

// Last is the number of the newest record that Read would yield, 0 if there is
// none. It reads the last segment only.
func Last(dir string) (uint64, error) {
	d, err := openFolder(dir)
	if err != nil {
		return 0, err
	}
	defer d.close()
	r := reader{dir: d, from: math.MaxUint64}
	defer r.leave()
	if err := r.run(); err != nil || r.at == nil {
		return 0, err
	}
	return r.at.next - 1, nil
}

func entries(dir string, from uint64, wait func() bool) iter.Seq2[Entry, error] {
	return read(dir, reader{from: from, wait: wait})
}

func read(dir string, r reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r := r
		d, err := openFolder(dir)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer d.close()
		r.dir, r.yield = d, yield
		defer r.leave()
		if err := r.run(); err != nil {
			yield(Entry{}, err)
		}
	}
}

// reader goes through the segments of a journal.
type reader struct {
	dir  folder
	from uint64
	wait func() bool // for more at the end; false to stop. nil never waits
	// durable is the last record to be read so far; nil: all that are whole.
	durable func() uint64
	known   uint64 // what it said last
	looked  bool   // whether it was asked yet
	yield   func(Entry, error) bool

	segments []uint64 // as last listed
	at       *cursor
	next     *cursor // the segment after at, once there is one
	again    int64   // offset at which at was read again before damage is believed
}

func (r *reader) leave() {
	for _, c := range []*cursor{r.at, r.next} {
		if c != nil {
			c.file.Close()
		}
	}
}

func (r *reader) run() error {
	for r.at == nil {
		if err := r.begin(); err != nil {
			return err
		}
		if r.at == nil && (r.wait == nil || !r.wait()) {
			return nil
		}
	}
	for {
		if r.durable != nil && r.at.next > r.known {
			if more, err := r.acknowledged(); !more {
				return err
			}
			continue
		}
		g, what, err := r.at.read()
		if err != nil {
			return err
		}
		if what == aGroup {
			if !r.pass(g) {
				return nil
			}
			continue
		}
		if r.next == nil {
			// Look for the next segment only now, and then read here again: what
			// was written here before it was made is visible by now.
			if err := r.findNext(); err != nil {
				return err
			}
			if r.next != nil {
				r.at.refresh()
				continue
			}
			if more, err := r.end(what); !more {
				return err
			}
			continue
		}
		// Behind the limit is only who read a group that failed in the end.
		if r.at.pos <= r.at.limit {
			if err := r.at.arrived(r.next); err != nil {
				return err
			}
		}
		r.at.file.Close()
		r.at, r.next, r.again = r.next, nil, 0
		if err := r.findNext(); err != nil {
			return err
		}
	}
}

// acknowledged waits for records that are durable, and tells whether to go on.
func (r *reader) acknowledged() (more bool, err error) {
	if r.looked && !r.wait() {
		return false, nil
	}
	r.known, r.looked = r.durable(), true
	// What was read ahead may have failed in the end, and what stands here: the records
	// that took its place are in the next segment, which is there by now.
	r.at.refresh()
	if r.next == nil {
		err = r.findNext()
	}
	return err == nil, err
}

// begin opens the segment that holds the first record asked for.
func (r *reader) begin() (err error) {
	if r.segments, err = r.dir.list(); err != nil || len(r.segments) == 0 {
		return err
	}
	if r.from != 0 && r.from < r.segments[0] {
		return ErrGone
	}
	i, found := slices.BinarySearch(r.segments, max(r.from, r.segments[0]))
	if !found {
		i--
	}
	if r.at, err = openCursor(r.dir, r.segments[i], false); err != nil {
		return err
	}
	return r.findNext()
}

// findNext opens the segment after the present one, if there is one. Segments get
// their names in order, so the list only has to be read again at its end.
func (r *reader) findNext() (err error) {
	i, _ := slices.BinarySearch(r.segments, r.at.head.first+1)
	if i == len(r.segments) {
		if r.segments, err = r.dir.list(); err != nil {
			return err
		}
		i, _ = slices.BinarySearch(r.segments, r.at.head.first+1)
	}
	if i == len(r.segments) {
		return nil
	}
	if r.next, err = openCursor(r.dir, r.segments[i], false); err != nil {
		return err
	}
	return r.at.precedes(r.next)
}

// end is called where the last segment ends. It tells whether to go on.
func (r *reader) end(what found) (more bool, err error) {
	switch {
	case what == continued:
		return false, r.at.corrupt(r.at.pos, "says that another segment follows, but there is none")
	case r.wait != nil:
		return r.wait(), nil
	case what == closed:
		return false, nil
	}
	if _, err = r.at.torn(); err == nil {
		return false, nil
	}
	// What looked torn or damaged may have been written meanwhile.
	if r.again == r.at.pos {
		return false, err
	}
	r.again = r.at.pos
	r.at.refresh()
	return true, nil
}

// pass yields the records of g.
func (r *reader) pass(g group) bool {
	if g.first+uint64(g.count) <= r.from {
		return true
	}
	if r.durable == nil {
		g.records = slices.Clone(g.records)
	} else {
		runtime.Gosched()
	}
	return g.each(func(seq uint64, record []byte) bool {
		return seq < r.from || r.yield(Entry{seq, record, Position{r.at.head.first, g.at}}, nil)
	})
}
