package journal

// Recovery is what Open found and did.
type Recovery struct {
	FirstSeq uint64 // oldest record, above 1 if old segments were moved away; 0 if there is none
	LastSeq  uint64 // newest record; 0 if there is none
	Segments int
	Segment  string // path of the newest segment; "" if there is none
	// CutBytes is how much was cut from Segment: what a crash had left of a
	// group that was being written. None of its records was acknowledged.
	CutBytes int64
}

// Records is how many records the folder holds.
func (r Recovery) Records() uint64 {
	if r.LastSeq == 0 {
		return 0
	}
	return r.LastSeq - r.FirstSeq + 1
}

// tip is where the journal ends and its next segment takes up.
type tip struct {
	id   [16]byte
	next uint64 // number of the next record
	link        // to the last segment
}

// recoverFolder checks the segments and brings the last one to a proper end. It
// changes nothing if acknowledged records are damaged or missing.
func recoverFolder(d folder) (tip, Recovery, error) {
	// A process that was killed may have named a segment without flushing that.
	if err := d.sync(); err != nil {
		return tip{}, Recovery{}, err
	}
	segments, err := d.list()
	if err != nil || len(segments) == 0 {
		return tip{next: 1}, Recovery{}, err
	}
	r := Recovery{FirstSeq: segments[0], Segments: len(segments)}

	c, err := openCursor(d, segments[0], true)
	if err != nil {
		return tip{}, r, err
	}
	defer func() { c.file.Close() }()
	for _, first := range segments[1:] {
		next, err := openCursor(d, first, true)
		if err != nil {
			return tip{}, r, err
		}
		previous := c
		c = next
		err = previous.leadsTo(next)
		previous.file.Close()
		if err != nil {
			return tip{}, r, err
		}
	}
	r.Segment = c.path
	last, err := c.settle(&r)
	return last, r, err
}

// leadsTo checks that c ends where next, the segment after it, says. It reads
// all of c only if c has not been brought to an end yet, and then does that.
func (c *cursor) leadsTo(next *cursor) error {
	if err := c.precedes(next); err != nil {
		return err
	}
	last := c.limit
	size, err := c.file.size()
	if err != nil {
		return err
	}
	if size == last+sector {
		b := make([]byte, sector)
		if _, err := c.file.ReadAt(b, last); err != nil {
			return err
		}
		m, magic := decodeMark(b, c.seed)
		if magic == endMagic && m.count == endContinued && m.first == next.head.first && m.prev == next.head.prev.chain {
			return nil
		}
	}
	for {
		_, what, err := c.read()
		if err != nil {
			return err
		}
		if what != aGroup {
			break
		}
	}
	if err := c.arrived(next); err != nil {
		return err
	}
	// It is whole. If it cannot be brought to its end now, the next start does it.
	_ = seal(c.file, c.tip(), endContinued)
	return nil
}

// precedes checks that next was made to follow c, and limits c to what counts.
func (c *cursor) precedes(next *cursor) error {
	switch {
	case next.head.id != c.head.id:
		return next.corrupt(0, "belongs to another journal than %s", c.path)
	case next.head.prev.first != c.head.first:
		return next.corrupt(0, "follows segment %s, which is missing (the one before it is %s)", segmentName(next.head.prev.first), c.path)
	}
	c.limit = next.head.prev.end
	return nil
}

// arrived checks that c has come to the place where next takes up.
func (c *cursor) arrived(next *cursor) error {
	if c.pos != c.limit || c.next != next.head.first || c.chain != next.head.prev.chain {
		return c.corrupt(c.pos, "is damaged: its records go up to byte %d and record %d, as %s says", c.limit, next.head.first-1, next.path)
	}
	return nil
}

// tip is where the journal ends if c's segment is the last and c has read it.
func (c *cursor) tip() tip {
	return tip{c.head.id, c.next, link{c.head.first, c.pos, c.chain}}
}

// settle reads the last segment, makes its last group durable and brings it to
// its end, cutting what a crash left behind that.
func (c *cursor) settle(r *Recovery) (tip, error) {
	var (
		last   []byte // bytes of the last group
		lastAt int64
		what   found
	)
	for {
		var (
			g   group
			err error
		)
		if g, what, err = c.read(); err != nil {
			return tip{}, err
		}
		if what != aGroup {
			break
		}
		last, lastAt = append(last[:0], c.window[g.at-c.windowAt:][:g.size]...), g.at
	}
	t := c.tip()
	r.LastSeq = t.next - 1
	switch {
	case t.next == t.first:
		return tip{}, c.corrupt(c.pos, "is damaged: its first records are unreadable")
	case what == continued:
		return tip{}, c.corrupt(c.pos, "says that another segment follows, but there is none")
	case what == closed:
		return t, nil
	}
	cut, err := c.torn()
	if err != nil {
		return tip{}, err
	}
	r.CutBytes = cut
	if _, err := c.file.WriteAt(last, lastAt); err != nil {
		return tip{}, err
	}
	// The end mark must not be on disk before the group is: see rule 1.
	if err := c.file.sync(); err != nil {
		return tip{}, err
	}
	return t, seal(c.file, t, endClosed)
}

// seal brings a segment to its end: the mark must be on disk before the file is
// cut behind it, so that a short file without one is known as damaged.
func seal(f file, t tip, kind uint32) error {
	if _, err := f.WriteAt(endMark(kind, t.next, t.chain, seed(t.id)), t.end); err != nil {
		return err
	}
	if err := f.sync(); err != nil {
		return err
	}
	if err := f.truncate(t.end + sector); err != nil {
		return err
	}
	return f.sync()
}
