package journal

import (
	"math"
	"os"
	"path/filepath"
)

// Segment is a file of a journal.
type Segment struct {
	Path string
	Used int64 // bytes that hold whole groups
	Size int64 // bytes of the file; those behind Used are zero in a copy
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
	var out []Segment
	for _, first := range firsts {
		if first > r.at.head.first {
			break // made just now
		}
		s := Segment{Path: filepath.Join(dir, segmentName(first)), Used: r.at.pos, Size: max(r.at.head.size, r.at.pos)}
		if first < r.at.head.first {
			info, err := os.Stat(s.Path)
			if err != nil {
				return nil, err
			}
			s.Used, s.Size = info.Size(), info.Size()
		}
		out = append(out, s)
	}
	return out, nil
}
