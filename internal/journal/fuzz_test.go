package journal

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// seeds adds segments as they are left by a crash, a torn write, a rotation and
// a close.
func seeds(f *testing.F, add func(segments ...[]byte)) {
	opts := Options{SegmentSize: 4 << 10, MaxRecord: 600, ReserveSize: 4 << 10}
	m := newMachine(1)
	j, _, err := open(m.boot(), opts)
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range []int{0, 10, 400, 600} {
		if _, err := j.Append(f.Context(), bytes.Repeat([]byte{'x'}, n)); err != nil {
			f.Fatal(err)
		}
	}
	crashed := slices.Clone(m.names[segmentName(1)].data)
	torn := slices.Clone(crashed)
	copy(torn[bytes.LastIndex(torn, []byte(groupMagic))+sector:], zeros[:])
	for range 5 {
		if _, err := j.Append(f.Context(), bytes.Repeat([]byte{'y'}, 600)); err != nil {
			f.Fatal(err)
		}
	}
	j.Close()
	var all [][]byte
	d := m.boot()
	firsts, _ := d.list()
	for _, first := range firsts {
		all = append(all, m.names[segmentName(first)].data)
	}
	add(crashed, torn)
	add(torn, crashed)
	add(all...)
}

// repair makes the checksums of a segment right, so that what is behind them is
// reached.
func repair(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) < sector {
		return b
	}
	chain := checksum(b[:72])
	le.PutUint32(b[72:], chain)
	s := checksum(b[24:40])
	for at := sector; at+sector <= len(b); {
		g := b[at:]
		if magic := string(g[:4]); magic != groupMagic && magic != endMagic {
			break
		}
		size := groupSize(int(le.Uint32(g[16:])))
		if string(g[:4]) == groupMagic && size <= int64(len(g)) {
			le.PutUint32(g[20:], checksum(g[groupHead:size-doneLen]))
		}
		le.PutUint32(g[24:], chain)
		m := mark{count: le.Uint32(g[4:]), first: le.Uint64(g[8:]), length: le.Uint32(g[16:]), body: le.Uint32(g[20:]), prev: chain}
		m.encode(g, string(g[:4]), s)
		chain = m.chain
		if size > int64(len(g)) {
			break
		}
		at += int(size)
	}
	return b
}

func simulated(segments map[uint64][]byte) folder {
	m := newMachine(1)
	for first, b := range segments {
		m.names[segmentName(first)] = &inode{data: slices.Clone(b)}
	}
	return m.boot()
}

// Any bytes as a segment: a clear error, or what a reader finds is kept and the
// journal goes on behind it.
func FuzzRecover(f *testing.F) {
	seeds(f, func(segments ...[]byte) {
		for _, b := range segments {
			f.Add(b, false)
			f.Add(b, true)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix {
			b = repair(b)
		}
		d := simulated(map[uint64][]byte{1: b})
		before, readErr := readAll(d)
		j, r, err := open(d, Options{SegmentSize: 4 << 10, MaxRecord: 600, ReserveSize: 4 << 10})
		if err != nil {
			var damaged *CorruptError
			if !errors.As(err, &damaged) && !errors.Is(err, errNewer) {
				t.Fatal(err)
			}
			return
		}
		defer j.Close()
		if readErr != nil || r.LastSeq != uint64(len(before)) {
			t.Fatalf("a reader finds %d records (%v), recovery %d", len(before), readErr, r.LastSeq)
		}
		if seq, err := j.Append(t.Context(), []byte("more")); err != nil || seq != r.LastSeq+1 {
			t.Fatal(seq, err)
		}
		after, err := readAll(d)
		if err != nil || len(after) != len(before)+1 || !slices.EqualFunc(before, after[:len(before)], bytes.Equal) {
			t.Fatalf("%d records became %d (%v)", len(before), len(after), err)
		}
	})
}

// Any bytes as two segments: numbers without a gap, and an end or a clear error.
func FuzzRead(f *testing.F) {
	seeds(f, func(segments ...[]byte) {
		for i := range len(segments) - 1 {
			f.Add(segments[i], segments[i+1], uint64(0), false)
			f.Add(segments[i], segments[i+1], uint64(3), true)
		}
	})
	f.Fuzz(func(t *testing.T, a, b []byte, from uint64, fix bool) {
		if fix {
			a, b = repair(a), repair(b)
		}
		segments := map[uint64][]byte{1: a}
		if len(b) >= sector {
			segments[max(2, le.Uint64(b[48:]))] = b
		}
		n, bytes := from, 0
		r := reader{dir: simulated(segments), from: from, yield: func(e Entry, err error) bool {
			if n == 0 {
				n = 1
			}
			if e.Seq != n {
				t.Fatalf("record %d where %d was due", e.Seq, n)
			}
			n++
			bytes += len(e.Record)
			return true
		}}
		defer r.leave()
		err := r.run()
		var damaged *CorruptError
		if err != nil && !errors.As(err, &damaged) && !errors.Is(err, errNewer) {
			t.Fatal(err)
		}
		if bytes > len(a)+len(b) {
			t.Fatalf("%d bytes of records from %d", bytes, len(a)+len(b))
		}
	})
}
