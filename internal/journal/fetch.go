package journal

// fetchLen is how much a Fetcher reads at once: most groups.
const fetchLen = 8 << 10

// Fetcher reads single records whose positions are known. It is for one goroutine.
type Fetcher struct {
	dir   folder
	at    *cursor
	group group // the last one that was read
}

// NewFetcher makes a Fetcher for the journal in dir. Close it after use.
func NewFetcher(dir string) (*Fetcher, error) {
	d, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return &Fetcher{dir: d}, nil
}

// Record is the record with the number seq, which is at that position. It is valid until
// the next call. The error is fs.ErrNotExist if its segment was moved away, and a
// *CorruptError if something else is there.
func (f *Fetcher) Record(seq uint64, at Position) (record []byte, err error) {
	if f.at == nil || f.at.head.first != at.Segment {
		f.leave()
		if f.at, err = openCursor(f.dir, at.Segment, false); err != nil {
			f.at = nil
			return nil, err
		}
		f.at.window = make([]byte, 0, fetchLen)
	}
	if f.group.records == nil || f.group.at != at.Offset {
		if f.group, err = f.at.jump(at.Offset); err != nil {
			f.group = group{}
			return nil, err
		}
	}
	f.group.each(func(n uint64, r []byte) bool {
		if n == seq {
			record = r
		}
		return n < seq
	})
	if record == nil {
		return nil, f.at.corrupt(at.Offset, "does not have record %d here", seq)
	}
	return record, nil
}

// jump reads the group at pos, wherever the cursor stands.
func (c *cursor) jump(pos int64) (group, error) {
	c.pos = pos
	b, err := c.bytes(sector)
	if err != nil {
		return group{}, err
	}
	if len(b) == sector {
		if m, magic := decodeMark(b, c.seed); magic == groupMagic {
			c.next, c.chain = m.first, m.prev
			if g, what, err := c.readOnce(); err != nil || what == aGroup {
				return g, err
			}
		}
	}
	return group{}, c.corrupt(pos, "has no whole group here")
}

func (f *Fetcher) leave() {
	if f.at != nil {
		f.at.file.Close()
		f.at, f.group = nil, group{}
	}
}

// Close closes what is open.
func (f *Fetcher) Close() error {
	f.leave()
	return f.dir.close()
}
