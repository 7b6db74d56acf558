package eventindex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sort"
	"time"
)

// A file of the index is about the records of one segment of the journal. Numbers are little
// endian. A record is named by its place in the segment, from 0; a time is in seconds since
// 1970; a term is the CRC-32C of what hasher.term takes.
//
//	 0  16  "kagimori index 1"
//	16   8  first: number of the segment's first record
//	24   4  n: records
//	28   4  t: different terms
//	32   4  p: postings
//	36   4  time of the earliest event
//	40   4  time of the latest event
//	44   4  CRC-32C of bytes 0 to 43 and of all after 48
//	48  8n  records: offset of its group in the segment by 512, time of the event; 0 and 0
//	        for one that is no event
//	    8t  terms, ascending: term, number of its first posting
//	    4p  postings: by term, the records that have it, ascending
const (
	magic   = "kagimori index 1"
	headLen = 48
	sector  = 512 // offsets in the journal are multiples of it
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// header is what is known of a segment without reading more.
type header struct {
	first            uint64
	n, terms, posts  uint32
	earliest, latest uint32
}

func (h *header) size() int64 { return headLen + 8*int64(h.n) + 8*int64(h.terms) + 4*int64(h.posts) }

// segment is the index of one segment. Places come newest first.
type segment interface {
	head() header
	// find gives the places of the records before the place before that have the term to f,
	// until it says false.
	find(term uint32, before uint32, f func(place uint32) bool) error
	// record is where a record is.
	record(place uint32) (offset int64, at uint32, err error)
}

// building is the index of the segment that is being written.
type building struct {
	h       header
	records []uint32 // two for each: offset and time
	terms   []uint32 // of all records
	ends    []uint32 // by record, where its terms end
	hasher  hasher
}

func (s *building) head() header { return s.h }

// next is for the segment after s, with room for as much as s has; s may be nil.
func (s *building) next(first uint64) *building {
	next := &building{h: header{first: first}}
	if s != nil {
		next.records, next.terms, next.ends = make([]uint32, 0, cap(s.records)), make([]uint32, 0, cap(s.terms)), make([]uint32, 0, cap(s.ends))
	}
	return next
}

// add adds the next record, nil if it is no event.
func (s *building) add(v *view, offset int64) {
	at := uint32(0)
	if v != nil {
		at = uint32(v.unix)
		s.hasher.of(v.account, v.region)
		v.each(func(a Attribute, value []byte) { s.terms = append(s.terms, s.hasher.term(a, value)) })
		if s.h.earliest == 0 || at < s.h.earliest {
			s.h.earliest = at
		}
		s.h.latest = max(s.h.latest, at)
	}
	s.records = append(s.records, uint32(offset/sector), at)
	s.ends = append(s.ends, uint32(len(s.terms)))
	s.h.n++
}

func (s *building) find(term, before uint32, f func(uint32) bool) error {
	for place := int(min(before, s.h.n)) - 1; place >= 0; place-- {
		from := uint32(0)
		if place > 0 {
			from = s.ends[place-1]
		}
		if slices.Contains(s.terms[from:s.ends[place]], term) && !f(uint32(place)) {
			return nil
		}
	}
	return nil
}

func (s *building) record(place uint32) (int64, uint32, error) {
	return int64(s.records[2*place]) * sector, s.records[2*place+1], nil
}

// encode is the file of a segment that is complete, and its header.
func (s *building) encode() ([]byte, header) {
	all := make([]uint64, 0, len(s.terms)) // a term, then a place
	from := uint32(0)
	for place, end := range s.ends {
		for _, t := range s.terms[from:end] {
			all = append(all, uint64(t)<<32|uint64(place))
		}
		from = end
	}
	sortByTerm(all)
	all = slices.Compact(all)
	isFirst := func(i int) bool { return i == 0 || all[i-1]>>32 != all[i]>>32 } // of a term
	h := s.h
	h.posts = uint32(len(all))
	for i := range all {
		if isFirst(i) {
			h.terms++
		}
	}
	b := make([]byte, 0, h.size())
	b = append(b, magic...)
	b = le.AppendUint64(b, h.first)
	for _, n := range []uint32{h.n, h.terms, h.posts, h.earliest, h.latest, 0} {
		b = le.AppendUint32(b, n)
	}
	for _, n := range s.records {
		b = le.AppendUint32(b, n)
	}
	for i, p := range all {
		if isFirst(i) {
			b = le.AppendUint32(le.AppendUint32(b, uint32(p>>32)), uint32(i))
		}
	}
	for _, p := range all {
		b = le.AppendUint32(b, uint32(p))
	}
	le.PutUint32(b[44:], checksum(b))
	return b, h
}

// sortByTerm sorts by the upper 32 bits and leaves what has the same in its order. It is a
// radix sort: half a million at once are to hold up a processor that serves calls for
// milliseconds only.
func sortByTerm(all []uint64) {
	to := make([]uint64, len(all))
	for shift := 32; shift < 64; shift += 8 { // an even number of times: it ends in all
		var begin [257]int // by byte
		for _, v := range all {
			begin[int(byte(v>>shift))+1]++
		}
		for i := range 256 {
			begin[i+1] += begin[i]
		}
		for _, v := range all {
			to[begin[byte(v>>shift)]] = v
			begin[byte(v>>shift)]++
		}
		all, to = to, all
	}
}

// checksum is that of a whole file.
func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:44], castagnoli), castagnoli, b[headLen:])
}

// complete is the index of a segment in its file. A copy of it serves one search.
type complete struct {
	path string
	h    header
	file *os.File // while it is open

	window   []uint32 // of the records, from the place windowAt
	windowAt uint32
}

// windowLen is how many records or postings are read at once.
const windowLen = 1024

var errDamaged = errors.New("is damaged")

// openComplete reads a file and checks it.
func openComplete(path string) (*complete, error) {
	s := &complete{path: path}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < headLen || string(b[:16]) != magic || checksum(b) != le.Uint32(b[44:]) {
		return nil, fmt.Errorf("%s %w", path, errDamaged)
	}
	s.h = header{first: le.Uint64(b[16:]), n: le.Uint32(b[24:]), terms: le.Uint32(b[28:]), posts: le.Uint32(b[32:]),
		earliest: le.Uint32(b[36:]), latest: le.Uint32(b[40:])}
	if int64(len(b)) != s.h.size() {
		return nil, fmt.Errorf("%s %w", path, errDamaged)
	}
	return s, nil
}

func (s *complete) open() (err error) {
	s.file, err = os.Open(s.path)
	return err
}

func (s *complete) close() { s.file.Close() }

func (s *complete) head() header { return s.h }

// numbers reads n numbers of the file at an offset.
func (s *complete) numbers(at int64, n int) ([]uint32, error) {
	b := make([]byte, 4*n)
	if _, err := s.file.ReadAt(b, at); err != nil {
		if err == io.EOF {
			err = errDamaged
		}
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = le.Uint32(b[4*i:])
	}
	return out, nil
}

func (s *complete) find(term, before uint32, f func(uint32) bool) error {
	terms := headLen + 8*int64(s.h.n)
	posts := terms + 8*int64(s.h.terms)
	var failed error
	at := func(i int) []uint32 { // a term, and the number of its first posting
		t, err := s.numbers(terms+8*int64(i), 2)
		if err != nil {
			failed = err
			return []uint32{0, 0}
		}
		return t
	}
	i := sort.Search(int(s.h.terms), func(i int) bool { return at(i)[0] >= term })
	if failed != nil || i == int(s.h.terms) {
		return failed
	}
	t := at(i)
	end := s.h.posts
	if i+1 < int(s.h.terms) {
		end = at(i + 1)[1]
	}
	if failed != nil || t[0] != term {
		return failed
	}
	if t[1] > end || end > s.h.posts {
		return fmt.Errorf("%s %w", s.path, errDamaged)
	}
	for begin, end := t[1], end; end > begin; {
		from := max(begin, end-min(end, windowLen))
		places, err := s.numbers(posts+4*int64(from), int(end-from))
		if err != nil {
			return err
		}
		for _, place := range slices.Backward(places) {
			if place < before && !f(place) {
				return nil
			}
		}
		end = from
	}
	return nil
}

func (s *complete) record(place uint32) (int64, uint32, error) {
	if place >= s.h.n {
		return 0, 0, fmt.Errorf("%s %w", s.path, errDamaged)
	}
	if place < s.windowAt || place >= s.windowAt+uint32(len(s.window)/2) {
		from := place &^ (windowLen - 1)
		window, err := s.numbers(headLen+8*int64(from), 2*int(min(windowLen, s.h.n-from)))
		if err != nil {
			return 0, 0, err
		}
		s.window, s.windowAt = window, from
	}
	r := s.window[2*(place-s.windowAt):]
	return int64(r[0]) * sector, r[1], nil
}

// within tells whether a segment has events of that time.
func (h *header) within(from, to time.Time) bool {
	return int64(h.latest) >= from.Unix() && int64(h.earliest) <= to.Unix()
}
