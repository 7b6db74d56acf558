package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

const (
	sector  = 512
	version = 1

	headerLen = 76 // used part of a segment's first sector
	groupHead = 32
	doneLen   = 4
	lengthLen = 4 // in front of each record

	// maxGroup bounds a group, and so what a reader has to hold.
	maxGroup = 4 << 20
	// maxRecord is the largest record that fits a group.
	maxRecord = maxGroup - groupHead - lengthLen - doneLen

	segmentMagic = "kagimori journal"
	groupMagic   = "KGRP"
	doneMagic    = "DONE"
	endMagic     = "KEND"

	segmentSuffix = ".journal"
	spareName     = "spare.tmp"
	reserveName   = "reserve"
)

// Kinds of an end mark.
const (
	endClosed    = 1
	endContinued = 2
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// link says where a segment ends. The header of the next one repeats it.
type link struct {
	first uint64 // number of the segment's first record
	end   int64  // offset of its end mark
	chain uint32 // chain at its end
}

// header is the first sector of a segment.
type header struct {
	id    [16]byte
	size  int64 // allocated
	first uint64
	prev  link
	chain uint32 // its own CRC
}

func (h *header) encode() []byte {
	b := make([]byte, sector)
	copy(b, segmentMagic)
	le.PutUint32(b[16:], version)
	le.PutUint32(b[20:], h.prev.chain)
	copy(b[24:], h.id[:])
	le.PutUint64(b[40:], uint64(h.size))
	le.PutUint64(b[48:], h.first)
	le.PutUint64(b[56:], h.prev.first)
	le.PutUint64(b[64:], uint64(h.prev.end))
	h.chain = checksum(b[:72])
	le.PutUint32(b[72:], h.chain)
	return b
}

var errNewer = errors.New("was written by a newer version of Kagimori: use that version or a later one")

func decodeHeader(b []byte) (header, error) {
	var h header
	if len(b) < sector || string(b[:16]) != segmentMagic {
		return h, errors.New("does not begin as a segment does")
	}
	if v := le.Uint32(b[16:]); v > version {
		return h, errNewer
	}
	h.chain = le.Uint32(b[72:])
	if h.chain != checksum(b[:72]) || !zero(b[headerLen:sector]) {
		return h, errors.New("has a damaged header")
	}
	h.prev.chain = le.Uint32(b[20:])
	copy(h.id[:], b[24:])
	h.size = int64(le.Uint64(b[40:]))
	h.first = le.Uint64(b[48:])
	h.prev.first = le.Uint64(b[56:])
	h.prev.end = int64(le.Uint64(b[64:]))
	if h.size < 3*sector || h.size%sector != 0 || h.prev.end < 0 || h.prev.end%sector != 0 {
		return h, errors.New("has a header that makes no sense")
	}
	return h, nil
}

// mark is what a group and an end mark begin with.
type mark struct {
	count  uint32 // records; of an end mark its kind
	first  uint64
	length uint32 // of the records field
	body   uint32 // CRC
	prev   uint32 // chain before
	chain  uint32 // its own CRC, the chain after
}

// groupSize is the size of a group whose records field has that length.
func groupSize(length int) int64 {
	return int64(groupHead+length+doneLen+sector-1) &^ (sector - 1)
}

// seed is what CRCs of groups start from, so that a group of another journal is none here.
func seed(id [16]byte) uint32 { return checksum(id[:]) }

// encode writes m to the first 32 bytes of b and sets its chain.
func (m *mark) encode(b []byte, magic string, seed uint32) {
	copy(b, magic)
	le.PutUint32(b[4:], m.count)
	le.PutUint64(b[8:], m.first)
	le.PutUint32(b[16:], m.length)
	le.PutUint32(b[20:], m.body)
	le.PutUint32(b[24:], m.prev)
	m.chain = crc32.Update(seed, castagnoli, b[:28])
	le.PutUint32(b[28:], m.chain)
}

// decodeMark reads the first 32 bytes of b. It answers the magic it found, or ""
// if they are neither a group's nor an end mark's.
func decodeMark(b []byte, seed uint32) (mark, string) {
	m := mark{
		count:  le.Uint32(b[4:]),
		first:  le.Uint64(b[8:]),
		length: le.Uint32(b[16:]),
		body:   le.Uint32(b[20:]),
		prev:   le.Uint32(b[24:]),
		chain:  le.Uint32(b[28:]),
	}
	magic := string(b[:4])
	switch {
	case m.chain != crc32.Update(seed, castagnoli, b[:28]):
		return m, ""
	case magic == groupMagic && m.count >= 1 && m.length <= maxGroup &&
		groupSize(int(m.length)) <= maxGroup && uint64(m.length) >= lengthLen*uint64(m.count):
		return m, magic
	case magic == endMagic && (m.count == endClosed || m.count == endContinued) &&
		m.length == 0 && m.body == 0 && zero(b[groupHead:sector]):
		return m, magic
	}
	return m, ""
}

// finish turns b, which has room for a group's head and then holds its records,
// into a whole group.
func finish(b []byte, m *mark, seed uint32) []byte {
	m.length = uint32(len(b) - groupHead)
	size := int(groupSize(int(m.length)))
	for len(b) < size-doneLen {
		b = append(b, zeros[:min(len(zeros), size-doneLen-len(b))]...)
	}
	m.body = checksum(b[groupHead:])
	m.encode(b, groupMagic, seed)
	return append(b, doneMagic...)
}

// endMark is the end mark's sector.
func endMark(kind uint32, next uint64, prev, seed uint32) []byte {
	b := make([]byte, sector)
	m := mark{count: kind, first: next, prev: prev}
	m.encode(b, endMagic, seed)
	return b
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

var zeros [sector]byte

func zero(b []byte) bool {
	for len(b) > sector {
		if string(b[:sector]) != string(zeros[:]) {
			return false
		}
		b = b[sector:]
	}
	return string(b) == string(zeros[:len(b)])
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// segmentFirst is the number in a segment's name. Other files are not ok.
func segmentFirst(name string) (first uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && first > 0
}

// CorruptError says that records that were acknowledged are damaged or missing.
// The files were not changed.
type CorruptError struct {
	File   string // path of the segment
	Offset int64  // where in it, in bytes
	Seq    uint64 // the record expected there; those before it are whole
	Reason string // completes "FILE …"
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal: %s %s (at byte %d, where record %d should begin). Nothing was changed. "+
		"Restore the file from a copy; or keep the whole folder as evidence by moving it elsewhere: "+
		"a new journal then begins with record 1", e.File, e.Reason, e.Offset, e.Seq)
}
