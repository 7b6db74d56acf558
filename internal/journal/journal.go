package journal

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kagimori/kagimori/internal/clock"
)

// Options are the settings of a journal. The zero value of a field is its default.
type Options struct {
	// SegmentSize is the size of a segment file in bytes, 64 MiB if zero. The
	// folder needs the space of two: the one being written and its successor.
	SegmentSize int64
	// MaxRecord is the longest record in bytes, 1 MiB if zero, at most
	// 4 MiB less 40 bytes.
	MaxRecord int
	// ReserveSize is the space in bytes kept for AppendFinal, 1 MiB if zero.
	ReserveSize int64
	// RetryInterval is how often the journal tries to get going again while it
	// cannot write, 250 ms if zero.
	RetryInterval time.Duration
	// Clock is the source of time, the system's if nil.
	Clock clock.Clock
	// Log is told what an operator should know; nil for nobody.
	Log *slog.Logger
}

var (
	// ErrClosed is returned for appends after Close or AppendFinal.
	ErrClosed = errors.New("journal: closed")
	// ErrTooLong is returned for a record over Options.MaxRecord.
	ErrTooLong = errors.New("journal: record is too long")
)

// Journal is a journal open for writing. It is safe for concurrent use.
//
// Appends copy their record into the group that is being filled; one goroutine
// takes group after group, writes it, flushes it and wakes its appends. While it
// is at that, the next group fills.
type Journal struct {
	dir      folder
	opts     Options
	limit    int64 // of a group's size
	lastSeq  atomic.Uint64
	wake     chan struct{}      // a group is being filled
	final    chan *filling      // from AppendFinal
	stop     chan struct{}      // from Close
	stopped  chan struct{}      // the writer has ended
	prepared chan preparedSpare // from prepare
	closeErr error              // valid when stopped

	mu      sync.Mutex
	group   *filling // nil if nothing waits
	buffers [][]byte // of groups that were written
	err     error    // why nothing can be written
	closed  bool
	stats   Stats

	// What follows belongs to the writer.
	tip       tip
	segment   file  // being written; nil before the first append and after a failure
	room      int64 // where the end mark of segment has to be at the latest
	spare     *spare
	reserved  bool // the reserve is there
	preparing bool
	retry     <-chan time.Time
}

// filling is a group that is being filled or written.
type filling struct {
	buf   []byte // head of a group, records
	count uint32
	done  chan struct{}
	// Valid when done is closed:
	first uint64
	err   error
}

// spare is a file that can become the next segment.
type spare struct {
	file file
	name string
	size int64
}

type preparedSpare struct {
	spare *spare
	err   error
}

// Open opens the journal in dir for writing and makes the folder if there is
// none. It recovers from a crash and tells what it did.
//
// If records that were acknowledged are damaged or missing it answers a
// *CorruptError and changes nothing. A full disk is no error: then the journal
// opens, Err tells why nothing can be written, and it goes on by itself as soon
// as there is space.
func Open(dir string, opts Options) (*Journal, Recovery, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, Recovery{}, err
	}
	d, err := openFolder(dir)
	if err != nil {
		return nil, Recovery{}, err
	}
	// So that a new folder is still there after a power cut.
	if parent, err := openFolder(filepath.Dir(filepath.Clean(dir))); err == nil {
		err = parent.sync()
		parent.close()
		if err != nil {
			d.close()
			return nil, Recovery{}, err
		}
	}
	j, r, err := open(d, opts)
	if err != nil {
		d.close()
	}
	return j, r, err
}

func open(d folder, opts Options) (*Journal, Recovery, error) {
	opts.SegmentSize = cmp.Or(opts.SegmentSize, 64<<20)
	opts.MaxRecord = cmp.Or(opts.MaxRecord, 1<<20)
	opts.ReserveSize = cmp.Or(opts.ReserveSize, 1<<20)
	opts.RetryInterval = cmp.Or(opts.RetryInterval, 250*time.Millisecond)
	if opts.Clock == nil {
		opts.Clock = clock.System()
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	opts.SegmentSize = opts.SegmentSize &^ (sector - 1)
	opts.ReserveSize = opts.ReserveSize &^ (sector - 1)
	one := groupSize(lengthLen + opts.MaxRecord)
	switch {
	case opts.MaxRecord < 0 || opts.MaxRecord > maxRecord:
		return nil, Recovery{}, fmt.Errorf("journal: MaxRecord %d is not between 1 and %d bytes", opts.MaxRecord, maxRecord)
	case opts.SegmentSize < one+2*sector:
		return nil, Recovery{}, fmt.Errorf("journal: SegmentSize has to be at least %d bytes for records of %d", one+2*sector, opts.MaxRecord)
	case opts.ReserveSize < 4*sector:
		return nil, Recovery{}, fmt.Errorf("journal: ReserveSize has to be at least %d bytes", 4*sector)
	}

	j := &Journal{
		dir:      d,
		opts:     opts,
		limit:    min(maxGroup, opts.SegmentSize-2*sector),
		wake:     make(chan struct{}, 1),
		final:    make(chan *filling),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
		prepared: make(chan preparedSpare, 1),
	}
	var (
		r   Recovery
		err error
	)
	if j.tip, r, err = recoverFolder(d); err != nil {
		return nil, r, err
	}
	j.lastSeq.Store(r.LastSeq)
	if r.Segments == 0 {
		rand.Read(j.tip.id[:])
	}
	if r.CutBytes > 0 {
		opts.Log.Warn("journal: cut what a crash had left half written", "file", r.Segment, "bytes", r.CutBytes, "last_record", r.LastSeq)
	}

	j.prepare(tip{})
	p := <-j.prepared
	if !j.accept(p) {
		if !isFull(p.err) {
			return nil, r, p.err
		}
		j.fail(p.err)
	}
	go j.run()
	return j, r, nil
}

// isFull tells whether err goes away when there is space.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Append adds a record and returns its number when it is durable. The caller may
// use the record's memory again then.
//
// After an error the record is not in the journal and its number goes to another
// one, with two exceptions: if ctx ends first, the error is ctx's and the record
// may or may not become durable; and if the process ends before it could write
// again, the next start may find the record whole and keep it.
//
// While nothing can be written, appends fail at once with Err.
func (j *Journal) Append(ctx context.Context, record []byte) (seq uint64, err error) {
	if len(record) > j.opts.MaxRecord {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(record), j.opts.MaxRecord)
	}
	for {
		j.mu.Lock()
		switch {
		case j.closed:
			j.mu.Unlock()
			return 0, ErrClosed
		case j.err != nil:
			err := j.err
			j.mu.Unlock()
			return 0, err
		}
		g := j.group
		full := g != nil && groupSize(len(g.buf)-groupHead+lengthLen+len(record)) > j.limit
		var index uint32
		if !full {
			if g == nil {
				g = j.newGroup()
				j.group = g
				select {
				case j.wake <- struct{}{}:
				default:
				}
			}
			index = g.count
			g.add(record)
		}
		j.mu.Unlock()

		if cancel := ctx.Done(); cancel == nil {
			<-g.done
		} else {
			select {
			case <-g.done:
			case <-cancel:
				return 0, ctx.Err()
			}
		}
		if full {
			continue
		}
		if g.err != nil {
			return 0, g.err
		}
		return g.first + uint64(index), nil
	}
}

func (j *Journal) newGroup() *filling {
	g := &filling{done: make(chan struct{})}
	if n := len(j.buffers); n > 0 {
		g.buf = j.buffers[n-1]
		j.buffers = j.buffers[:n-1]
	} else {
		g.buf = make([]byte, 0, 64<<10)
	}
	g.buf = append(g.buf[:0], zeros[:groupHead]...)
	return g
}

func (g *filling) add(record []byte) {
	g.buf = le.AppendUint32(g.buf, uint32(len(record)))
	g.buf = append(g.buf, record...)
	g.count++
}

// AppendFinal adds the last record of this process, after all others; appends
// that come later fail. When the disk is full it takes the reserve, so this
// works once more.
func (j *Journal) AppendFinal(record []byte) (seq uint64, err error) {
	if len(record) > j.opts.MaxRecord {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(record), j.opts.MaxRecord)
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return 0, ErrClosed
	}
	j.closed = true
	g := j.newGroup()
	j.mu.Unlock()
	g.add(record)
	select {
	case j.final <- g:
	case <-j.stopped:
		return 0, ErrClosed
	}
	<-g.done
	if g.err != nil {
		return 0, g.err
	}
	return g.first, nil
}

// Close writes what waits and brings the last segment to its end.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	select {
	case j.stop <- struct{}{}:
	case <-j.stopped:
	}
	<-j.stopped
	return j.closeErr
}

// Err is nil while records can be written, else the reason why not.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// LastSeq is the number of the newest durable record, 0 if there is none.
func (j *Journal) LastSeq() uint64 { return j.lastSeq.Load() }

// run is the writer.
func (j *Journal) run() {
	defer close(j.stopped)
	for {
		select {
		case <-j.wake:
			j.commit()
		case p := <-j.prepared:
			j.accept(p)
		case <-j.retry:
			j.retry = nil
			if j.spare == nil && !j.preparing {
				j.prepare(tip{})
			}
		case g := <-j.final:
			j.commit()
			j.finish(g)
		case <-j.stop:
			j.commit()
			j.closeErr = j.shut()
			return
		}
	}
}

// commit writes the group that is being filled.
func (j *Journal) commit() {
	// Let every goroutine that is ready to run append first. On one CPU, where
	// nothing else runs until the runtime sees that the flush takes long, this
	// is what makes groups large: it doubles the records a second of 16 to 64
	// goroutines. Yielding twice, or a thread for the writer alone, gains nothing.
	runtime.Gosched()

	j.mu.Lock()
	g, err := j.group, j.err
	j.group = nil
	j.mu.Unlock()
	if g == nil {
		return
	}
	if err == nil {
		if err = j.write(g); err != nil {
			err = fmt.Errorf("journal: cannot write: %w", err)
			j.fail(err)
		}
	}
	j.release(g, err)
}

// release tells the appends of g how it went.
func (j *Journal) release(g *filling, err error) {
	g.err = err
	buf := g.buf
	close(g.done)
	j.mu.Lock()
	j.buffers = append(j.buffers, buf)
	j.mu.Unlock()
}

// write makes g durable and gives it its numbers. After an error nothing of g is
// in the journal, and the segment or spare that it went to is not used again.
func (j *Journal) write(g *filling) error {
	size := groupSize(len(g.buf) - groupHead)
	start := j.opts.Clock.Now()
	var err error
	if j.segment != nil && j.tip.end+size <= j.room {
		err = j.extend(g)
	} else {
		err = j.rotate(g)
	}
	if err != nil {
		return err
	}
	j.tip.next += uint64(g.count)
	j.lastSeq.Store(j.tip.next - 1)
	j.mu.Lock()
	j.stats.add(g.count, size, j.opts.Clock.Now().Sub(start))
	j.mu.Unlock()
	return nil
}

// seal turns g into a whole group with the next numbers. It leaves g.buf as it
// was, so that it can be done again.
func (j *Journal) seal(g *filling, chain uint32) ([]byte, mark) {
	g.first = j.tip.next
	m := mark{count: g.count, first: g.first, prev: chain}
	b := finish(g.buf, &m, seed(j.tip.id))
	g.buf = b[:len(g.buf)]
	return b, m
}

// extend puts g behind the last group of the segment.
func (j *Journal) extend(g *filling) error {
	b, m := j.seal(g, j.tip.chain)
	_, err := j.segment.WriteAt(b, j.tip.end)
	if err == nil {
		err = j.segment.sync()
	}
	if err != nil {
		j.leave()
		return err
	}
	j.tip.chain = m.chain
	j.tip.end += int64(len(b))
	return nil
}

// rotate puts g into a new segment.
func (j *Journal) rotate(g *filling) error {
	if j.spare == nil {
		if !j.preparing {
			j.prepare(tip{})
		}
		if p := <-j.prepared; !j.accept(p) {
			return p.err
		}
	}
	s := j.spare
	j.spare = nil
	h := header{id: j.tip.id, size: s.size, first: j.tip.next, prev: j.tip.link}
	head := h.encode()
	b, m := j.seal(g, h.chain)
	// Even if publish fails the segment may have got its name. So nothing may be
	// put in the old one any more: then the next try takes the same name.
	j.leave()
	if err := j.publish(s, segmentName(h.first), head, b); err != nil {
		s.file.Close()
		return err
	}
	before := j.tip
	j.segment, j.room = s.file, s.size-sector
	j.tip.link = link{first: h.first, end: sector + int64(len(b)), chain: m.chain}
	j.prepare(before)
	return nil
}

// publish makes a spare a segment. Its name comes last: see rule 2.
func (j *Journal) publish(s *spare, name string, head, group []byte) error {
	if int64(len(head)+len(group)+sector) > s.size {
		return fmt.Errorf("%s is too small for a group of %d bytes", j.dir.path(s.name), len(group))
	}
	if _, err := s.file.WriteAt(head, 0); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(group, sector); err != nil {
		return err
	}
	if err := s.file.sync(); err != nil {
		return err
	}
	if err := j.dir.rename(s.name, name); err != nil {
		return err
	}
	return j.dir.sync()
}

// leave stops writing to the segment.
func (j *Journal) leave() {
	if j.segment != nil {
		j.segment.Close()
		j.segment = nil
	}
}

// fail makes appends fail with err until there is a new spare, which is the
// proof that the disk takes something again.
func (j *Journal) fail(err error) {
	if isFull(err) {
		err = fmt.Errorf("%w; free %d bytes on the disk of %s, it then goes on by itself",
			err, j.opts.SegmentSize+j.opts.ReserveSize, j.dir.path(""))
	}
	if j.spare != nil {
		j.spare.file.Close()
		j.spare = nil
	}
	j.mu.Lock()
	j.err = err
	j.stats.Failures++
	j.mu.Unlock()
	j.retry = j.opts.Clock.After(j.opts.RetryInterval)
	j.opts.Log.Error("journal: records cannot be written", "error", err)
}

// prepare begins to make the next spare, and the reserve if it is gone. Before
// that it brings the segment of before to its end, if there is one. It answers on
// j.prepared, so that no append waits for it unless segments fill faster than
// they can be made.
func (j *Journal) prepare(before tip) {
	j.preparing = true
	reserved := j.reserved
	go func() {
		if before.first != 0 {
			// If this fails the next start does it.
			_ = j.sealSegment(before, endContinued)
		}
		if !reserved {
			if err := j.makeReserve(); err != nil {
				j.prepared <- preparedSpare{nil, err}
				return
			}
		}
		f, err := makeFile(j.dir, spareName, j.opts.SegmentSize)
		j.prepared <- preparedSpare{&spare{f, spareName, j.opts.SegmentSize}, err}
	}()
}

// accept takes what prepare made. If it failed, and as long as it fails, it is
// tried again; appends go on as long as there is room in the segment.
func (j *Journal) accept(p preparedSpare) (ok bool) {
	j.preparing = false
	j.mu.Lock()
	first := j.stats.SpareErr == nil
	failing := j.err != nil
	j.stats.SpareErr = p.err
	if p.err == nil {
		j.err = nil
	}
	j.mu.Unlock()
	if p.err != nil {
		j.retry = j.opts.Clock.After(j.opts.RetryInterval)
		if first {
			j.opts.Log.Warn("journal: cannot prepare the next segment", "error", p.err)
		}
		return false
	}
	j.spare, j.reserved = p.spare, true
	if failing {
		j.opts.Log.Info("journal: records can be written again")
	}
	return true
}

// makeReserve makes the reserve unless it is there and untouched.
func (j *Journal) makeReserve() error {
	if s, err := j.openReserve(); err == nil {
		b := make([]byte, s.size)
		_, err = s.file.ReadAt(b, 0)
		s.file.Close()
		if err == nil && s.size == j.opts.ReserveSize && zero(b) {
			return nil
		}
	}
	f, err := makeFile(j.dir, reserveName, j.opts.ReserveSize)
	if err != nil {
		return err
	}
	f.Close()
	return j.dir.sync()
}

func (j *Journal) openReserve() (*spare, error) {
	f, err := j.dir.open(reserveName, true)
	if err != nil {
		return nil, err
	}
	size, err := f.size()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &spare{f, reserveName, size}, nil
}

// makeFile makes a file of zeros. It never empties an old one: on some file
// systems a power cut in a rename may leave a segment with both its names.
func makeFile(d folder, name string, size int64) (file, error) {
	if err := d.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := d.create(name)
	if err != nil {
		return nil, err
	}
	if err = f.allocate(size); err == nil {
		err = f.sync() // or the first group that is put there would wait for this too
	}
	if err != nil {
		f.Close()
		d.remove(name) // gives back what it took
		return nil, err
	}
	return f, nil
}

// sealSegment brings the segment in which t lies to its end.
func (j *Journal) sealSegment(t tip, kind uint32) error {
	f, err := j.dir.open(segmentName(t.first), true)
	if err != nil {
		return err
	}
	defer f.Close()
	return seal(f, t, kind)
}

// finish writes the last group, into the reserve if it fits nowhere else.
func (j *Journal) finish(g *filling) {
	if j.preparing {
		j.accept(<-j.prepared)
	}
	err := j.write(g)
	if err != nil {
		if s, reserveErr := j.openReserve(); reserveErr == nil {
			j.leave()
			j.spare, j.reserved = s, false
			err = j.write(g)
		}
	}
	j.release(g, err)
}

// shut ends the writer.
func (j *Journal) shut() error {
	if j.preparing {
		j.accept(<-j.prepared)
	}
	var err error
	if j.segment != nil {
		j.leave()
		err = j.sealSegment(j.tip, endClosed)
	}
	if j.spare != nil {
		j.spare.file.Close()
		err = errors.Join(err, j.dir.remove(j.spare.name))
	}
	return errors.Join(err, j.dir.close())
}
