package journal

import (
	"math"
	"slices"
)

// Segment is a file of a journal.
type Segment struct {
	Path  string
	First uint64 // number of its first record
	Used  int64  // bytes that hold whole groups
	Size  int64  // bytes of the file; those behind Used are zero in a copy
}

// Segments are the files of the journal in dir, oldest first. What they hold up
// to Used does not change any more, so it can be copied while another process
// writes.
func Segments(dir string) ([]Segment, error) {
	d, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	defer d.close()
	r := reader{dir: d, from: math.MaxUint64}
	defer r.leave()
	if err := r.run(); err != nil || r.at == nil {
		return nil, err
	}
	firsts, err := d.list()
	if err != nil {
		return nil, err
	}
	// From the newest to the oldest: each says where the one before it ends. That
	// one may get its end mark and be cut at any moment, so until it has, only
	// what is in front of the mark is counted.
	out := []Segment{{Path: r.at.path, First: r.at.head.first, Used: r.at.pos, Size: r.at.head.size}}
	end := r.at.head.prev.end
	i, _ := slices.BinarySearch(firsts, r.at.head.first)
	for _, first := range slices.Backward(firsts[:i]) {
		c, err := openCursor(d, first, false)
		if err != nil {
			return nil, err
		}
		size, err := c.file.size()
		c.file.Close()
		if err != nil {
			return nil, err
		}
		s := Segment{Path: c.path, First: first, Used: end, Size: c.head.size}
		if size == end+sector {
			s.Used, s.Size = size, size
		}
		out = append(out, s)
		end = c.head.prev.end
	}
	slices.Reverse(out)
	return out, nil
}
