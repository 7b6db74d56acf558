package journal

import (
	"errors"
	"fmt"
	"io"
)

// cursor walks through the groups of one segment, which may be written meanwhile.
type cursor struct {
	file file
	path string // for errors
	head header
	seed uint32

	pos   int64  // of the next group or end mark
	next  uint64 // its first record
	chain uint32
	limit int64 // where the next segment says that this one ends; 0 if there is none

	window   []byte // bytes of the file from windowAt
	windowAt int64
	fresh    bool // the window was read since pos was reached
}

// windowLen is how much is read at once: few calls, small beside a group's limit.
const windowLen = 256 << 10

// openCursor opens a segment at its first group.
func openCursor(d folder, first uint64, write bool) (*cursor, error) {
	name := segmentName(first)
	f, err := d.open(name, write)
	if err != nil {
		return nil, err
	}
	c := &cursor{file: f, path: d.path(name), pos: sector, next: first}
	if err := c.readHeader(first); err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

func (c *cursor) readHeader(first uint64) error {
	b := make([]byte, sector)
	if n, err := c.file.ReadAt(b, 0); err != nil && err != io.EOF {
		return err
	} else if n < sector {
		b = nil
	}
	head, err := decodeHeader(b)
	switch {
	case errors.Is(err, errNewer):
		return fmt.Errorf("journal: %s %w", c.path, err)
	case err != nil:
		return &CorruptError{c.path, 0, first, err.Error()}
	case head.first != first:
		return &CorruptError{c.path, 0, first, fmt.Sprintf("was made to begin with record %d", head.first)}
	}
	c.head, c.seed, c.chain = head, seed(head.id), head.chain
	return nil
}

func (c *cursor) corrupt(at int64, format string, args ...any) error {
	return &CorruptError{c.path, at, c.next, fmt.Sprintf(format, args...)}
}

// bytes is n bytes at pos, fewer at the end of the file.
func (c *cursor) bytes(n int) ([]byte, error) {
	if skip := c.pos - c.windowAt; skip >= 0 && skip+int64(n) <= int64(len(c.window)) {
		return c.window[skip:][:n], nil
	}
	if cap(c.window) < n {
		c.window = make([]byte, 0, max(int64(n), min(windowLen, c.head.size)))
	}
	b := c.window[:cap(c.window)]
	got, err := c.file.ReadAt(b, c.pos)
	if err != nil && err != io.EOF {
		c.window = c.window[:0]
		return nil, err
	}
	c.window, c.windowAt, c.fresh = b[:got], c.pos, true
	return c.window[:min(n, got)], nil
}

// refresh forgets what was read ahead.
func (c *cursor) refresh() { c.window = c.window[:0] }

// found is what a cursor stands before.
type found int

const (
	tail      found = iota // neither a whole group nor an end mark
	aGroup                 // a whole group
	closed                 // the end mark of the journal
	continued              // the end mark of a segment that another follows
)

// group is one group that was read. Its bytes are valid until the next read.
type group struct {
	mark
	at      int64
	size    int64
	records []byte
}

// each calls f for every record, with its number, until f returns false.
func (g *group) each(f func(seq uint64, record []byte) bool) bool {
	seq := g.first
	for b := g.records; len(b) > 0; seq++ {
		n := le.Uint32(b)
		if !f(seq, b[lengthLen:][:n]) {
			return false
		}
		b = b[lengthLen+n:]
	}
	return true
}

// read reads the group at pos and moves behind it. It stays at anything else.
func (c *cursor) read() (group, found, error) {
	c.fresh = false
	g, what, err := c.readOnce()
	if what == tail && err == nil && !c.fresh {
		// What was read ahead may be from before the group was written.
		c.refresh()
		return c.readOnce()
	}
	return g, what, err
}

func (c *cursor) readOnce() (group, found, error) {
	if c.limit != 0 && c.pos >= c.limit {
		return group{}, tail, nil
	}
	b, err := c.bytes(sector)
	if err != nil || len(b) < sector {
		return group{}, tail, err
	}
	m, magic := decodeMark(b, c.seed)
	if magic == "" || m.first != c.next || m.prev != c.chain {
		return group{}, tail, nil
	}
	if magic == endMagic {
		if m.count == endClosed {
			return group{}, closed, nil
		}
		return group{}, continued, nil
	}
	g := group{mark: m, at: c.pos, size: groupSize(int(m.length))}
	if b, err = c.bytes(int(g.size)); err != nil || !m.whole(b) {
		return group{}, tail, err
	}
	g.records = b[groupHead:][:m.length]
	if !m.framed(g.records) {
		return group{}, tail, c.corrupt(c.pos, "has a group whose records do not fill it")
	}
	c.pos += g.size
	c.next += uint64(m.count)
	c.chain = m.chain
	return g, aGroup, nil
}

// whole tells whether b is the group that m heads, complete and undamaged.
func (m *mark) whole(b []byte) bool {
	n := len(b) - doneLen
	return int64(len(b)) == groupSize(int(m.length)) && string(b[n:]) == doneMagic && checksum(b[groupHead:n]) == m.body
}

// framed tells whether the lengths of the records fit the group.
func (m *mark) framed(records []byte) bool {
	for range m.count {
		if len(records) < lengthLen {
			return false
		}
		n := le.Uint32(records)
		if uint64(n) > uint64(len(records)-lengthLen) {
			return false
		}
		records = records[lengthLen+n:]
	}
	return len(records) == 0
}

// torn judges what follows pos, where read found a tail in a segment that
// has no end mark. It answers how many bytes of a group that was never
// acknowledged are there, or a *CorruptError; the package comment says why.
func (c *cursor) torn() (cut int64, err error) {
	size, err := c.file.size()
	if err != nil {
		return 0, err
	}

	// Walk over the sectors: where is the last byte, is there a sector of zeros
	// before it, does a group begin after pos?
	var (
		buf  = make([]byte, min(windowLen, max(0, size-c.pos)))
		last int64 // end of the last byte that is not zero
		hole int64 // first sector of zeros
		head []byte
	)
	for at := c.pos; at < size; at += int64(len(buf)) {
		n, err := c.file.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		for off := 0; off < n; off += sector {
			b := buf[off:min(off+sector, n)]
			here := at + int64(off)
			if here == c.pos {
				head = append(head, b...)
			}
			if zero(b) {
				if hole == 0 {
					hole = here
				}
				continue
			}
			if len(b) == sector && here > c.pos {
				if m, magic := decodeMark(b, c.seed); magic != "" {
					return 0, c.corrupt(c.pos, "is damaged: acknowledged records are unreadable here, and byte %d goes on with record %d", here, m.first)
				}
			}
			for i := len(b) - 1; i >= 0; i-- {
				if b[i] != 0 {
					last = here + int64(i) + 1
					break
				}
			}
		}
		if n == 0 {
			break
		}
	}
	if size != c.head.size {
		return 0, c.corrupt(c.pos, "has %d bytes without an end mark, but was made with %d", size, c.head.size)
	}
	if last == 0 {
		return 0, nil
	}
	cut = last - c.pos
	m, magic := decodeMark(head, c.seed)
	switch {
	case zero(head):
		if cut > maxGroup {
			return 0, c.corrupt(c.pos, "is damaged: acknowledged records are zeros here")
		}
		return cut, nil
	case magic != "" && (m.first != c.next || m.prev != c.chain):
		return 0, c.corrupt(c.pos, "is damaged: what stands here belongs elsewhere (record %d)", m.first)
	case magic == groupMagic:
		end := c.pos + groupSize(int(m.length))
		switch {
		case last > end:
			return 0, c.corrupt(c.pos, "is damaged: there is more behind an incomplete group of %d records", m.count)
		case hole != 0 && hole < end, last < end:
			return cut, nil
		}
		return 0, c.corrupt(c.pos, "is damaged: a group of %d records does not match its checksum, and not as a power cut leaves it", m.count)
	case cut < groupHead:
		return cut, nil // the first bytes of a group, by rule 3
	}
	return 0, c.corrupt(c.pos, "is damaged: a group's header does not match its checksum, and not as a power cut leaves it")
}
