package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/clock"
)

// small makes segments of few records, so that tests see many of them.
var small = Options{SegmentSize: 16 << 10, MaxRecord: 2000, ReserveSize: 8 << 10}

func mustOpen(t *testing.T, dir string, opts Options) (*Journal, Recovery) {
	t.Helper()
	j, r, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, r
}

func mustAppend(t *testing.T, j *Journal, record []byte) uint64 {
	t.Helper()
	seq, err := j.Append(t.Context(), record)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// numbered is a record that tells its number, about 600 bytes long.
func numbered(n uint64) []byte {
	return fmt.Appendf(nil, "record %d %s", n, strings.Repeat("x", 500+int(n%200)))
}

func fill(t *testing.T, j *Journal, from, to uint64) {
	t.Helper()
	for n := from; n <= to; n++ {
		if seq := mustAppend(t, j, numbered(n)); seq != n {
			t.Fatalf("got number %d for record %d", seq, n)
		}
	}
}

// checkNumbered reads dir and fails unless it holds exactly records from to to.
func checkNumbered(t *testing.T, dir string, from, to uint64) {
	t.Helper()
	n := from
	for e, err := range Read(dir, from) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != n || !bytes.Equal(e.Record, numbered(n)) {
			t.Fatalf("record %d is %d, %.20q", n, e.Seq, e.Record)
		}
		n++
	}
	if n != to+1 {
		t.Fatalf("newest record is %d, want %d", n-1, to)
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestAppendReadReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "journal")
	var last uint64
	for life := range 4 {
		j, r := mustOpen(t, dir, small)
		if r.LastSeq != last || r.CutBytes != 0 || r.Records() != last {
			t.Fatalf("life %d: %+v", life, r)
		}
		fill(t, j, last+1, last+100)
		last += 100
		if j.LastSeq() != last {
			t.Fatalf("LastSeq %d, want %d", j.LastSeq(), last)
		}
		checkNumbered(t, dir, 1, last) // while it is open
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []uint64{1, 2, 99, 100, 101, 250, 400, 401} {
		checkNumbered(t, dir, from, max(last, from-1))
	}
	if n, err := Last(dir); n != last || err != nil {
		t.Fatal(n, err)
	}
	all := segments(t, dir)
	if len(all) < 10 {
		t.Fatalf("only %d segments", len(all))
	}
	for _, name := range all {
		if info, _ := os.Stat(name); info.Size() > small.SegmentSize || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, info)
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %v", info.Mode())
	}
	if _, err := os.Stat(filepath.Join(dir, spareName)); err == nil {
		t.Error("the spare is still there after Close")
	}
}

func TestReadOlderThanFolder(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, small)
	fill(t, j, 1, 100)
	j.Close()
	all := segments(t, dir)
	os.Remove(all[0])
	first, _ := segmentFirst(filepath.Base(all[1]))
	checkNumbered(t, dir, first, 100)
	for _, err := range Read(dir, first-1) {
		if !errors.Is(err, ErrGone) {
			t.Fatal(err)
		}
	}
	for _, from := range []uint64{1, first - 1, first, first + 1} {
		next := max(from, first)
		for e, err := range ReadSince(dir, from) {
			if err != nil || e.Seq != next {
				t.Fatalf("since %d: record %d, %v; want %d", from, e.Seq, err, next)
			}
			next++
		}
		if next != 101 {
			t.Errorf("since %d: ends before record %d", from, next)
		}
	}
	_, r := mustOpen(t, dir, small)
	if r.FirstSeq != first || r.LastSeq != 100 {
		t.Fatalf("%+v", r)
	}
}

func TestAppendsShareSyncs(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, Options{SegmentSize: 1 << 20, MaxRecord: 4 << 10})
	const goroutines, each = 64, 100
	got := make([][]uint64, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			buf := make([]byte, 1024)
			for i := range each {
				binary.LittleEndian.PutUint32(buf, uint32(g))
				binary.LittleEndian.PutUint32(buf[4:], uint32(i))
				seq, err := j.Append(t.Context(), buf)
				if err != nil {
					t.Error(err)
					return
				}
				got[g] = append(got[g], seq)
			}
		})
	}
	wg.Wait()
	s := j.Stats()
	if s.Records != goroutines*each || s.Groups*4 > s.Records || s.Bytes < s.Records*1024 || s.SyncTime <= 0 {
		t.Errorf("%+v", s)
	}
	var counted uint64
	for _, n := range s.SyncCounts {
		counted += n
	}
	if counted != s.Groups {
		t.Errorf("histogram holds %d of %d groups", counted, s.Groups)
	}
	next := make([]int, goroutines)
	for e, err := range Read(dir, 0) {
		if err != nil {
			t.Fatal(err)
		}
		g, i := binary.LittleEndian.Uint32(e.Record), binary.LittleEndian.Uint32(e.Record[4:])
		if int(i) != next[g] || got[g][i] != e.Seq {
			t.Fatalf("record %d of goroutine %d has number %d", i, g, e.Seq)
		}
		next[g]++
	}
	for g, n := range next {
		if n != each {
			t.Errorf("%d records of goroutine %d", n, g)
		}
	}
}

func TestRecordSizes(t *testing.T) {
	dir := t.TempDir()
	opts := Options{SegmentSize: 16 << 10, MaxRecord: 8 << 10}
	j, _ := mustOpen(t, dir, opts)
	var want [][]byte
	for _, n := range []int{0, 1, 467, 468, 469, 470, 471, 472, 473, 511, 512, 513, 8191, 8192, 0} {
		b := bytes.Repeat([]byte{0}, n) // zeros look most like an end
		want = append(want, b)
		mustAppend(t, j, b)
	}
	if _, err := j.Append(t.Context(), make([]byte, 8193)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	if _, err := j.AppendFinal(make([]byte, 8193)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	for range 2 {
		i := 0
		for e, err := range Read(dir, 1) {
			if err != nil || !bytes.Equal(e.Record, want[i]) {
				t.Fatal(i, err)
			}
			i++
		}
		if i != len(want) {
			t.Fatalf("%d records", i)
		}
		j.Close()
	}
}

// More than one group's worth of records has to wait, not to grow memory.
func TestFullGroupsWait(t *testing.T) {
	m := newMachine(1)
	hold := make(chan struct{})
	m.fault = func(op, name string) error {
		if op == "write" && name == spareName {
			<-hold
		}
		return nil
	}
	j, _, err := open(m.boot(), Options{SegmentSize: 16 << 10, MaxRecord: 4000, ReserveSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := j.Append(t.Context(), make([]byte, 4000)); err != nil {
				t.Error(err)
			}
		})
	}
	// One append that gives up is enough to know that a group is held up.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Append(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	j.mu.Lock()
	if j.group != nil && groupSize(len(j.group.buf)-groupHead) > j.limit {
		t.Error("group over its limit")
	}
	j.mu.Unlock()
	close(hold)
	wg.Wait()
	if n := j.LastSeq(); n < 40 || n > 41 {
		t.Error(n)
	}
}

func TestClosed(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, small)
	fill(t, j, 1, 3)
	if seq, err := j.AppendFinal(numbered(4)); seq != 4 || err != nil {
		t.Fatal(seq, err)
	}
	for range 2 {
		if _, err := j.Append(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := j.AppendFinal(nil); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	checkNumbered(t, dir, 1, 4)
}

// Close writes what waits.
func TestCloseUnderLoad(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, small)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		acked = map[uint64]string{}
	)
	for g := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				b := fmt.Sprint(g, i)
				seq, err := j.Append(t.Context(), []byte(b))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[seq] = b
				if len(acked) == 200 {
					go j.Close()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range Read(dir, 1) {
		if err != nil || acked[e.Seq] != string(e.Record) {
			t.Fatal(err, e.Seq)
		}
		n++
	}
	if n != len(acked) {
		t.Errorf("%d records, %d acknowledged", n, len(acked))
	}
}

func TestOptions(t *testing.T) {
	for name, opts := range map[string]Options{
		"MaxRecord":   {MaxRecord: maxRecord + 1},
		"SegmentSize": {SegmentSize: 4096, MaxRecord: 4000},
		"ReserveSize": {ReserveSize: 1024},
	} {
		if _, _, err := Open(t.TempDir(), opts); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, _, err := Open(file, small); err == nil {
		t.Error("a file was taken for a folder")
	}
}

// The format, read by the package comment alone.
func TestFormat(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, small)
	fill(t, j, 1, 60)
	j.Close()

	crc := func(parts ...[]byte) uint32 {
		return crc32.Checksum(bytes.Join(parts, nil), crc32.MakeTable(0x82f63b78))
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	var id []byte
	seq, chain, previous, end := uint64(1), uint32(0), uint64(0), uint64(0)
	for _, name := range segments(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) != fmt.Sprintf("%020d.journal", seq) || string(b[:16]) != "kagimori journal" ||
			u32(b[16:]) != 1 || u32(b[20:]) != chain || u64(b[40:]) != uint64(small.SegmentSize) || u64(b[48:]) != seq ||
			u64(b[56:]) != previous || u64(b[64:]) != end || u32(b[72:]) != crc(b[:72]) || u32(b[76:]) != 0 {
			t.Fatalf("header of %s: %x", name, b[:76])
		}
		if id == nil {
			id = b[24:40]
		} else if !bytes.Equal(id, b[24:40]) {
			t.Fatal("another id")
		}
		chain, previous, end = u32(b[72:]), seq, 512
		for b = b[512:]; string(b[:4]) == "KGRP"; {
			if u64(b[8:]) != seq || u32(b[24:]) != chain || u32(b[28:]) != crc(id, b[:28]) {
				t.Fatalf("group %x", b[:32])
			}
			n := u32(b[16:])
			size := (32 + n + 4 + 511) / 512 * 512
			if u32(b[20:]) != crc(b[32:size-4]) || string(b[size-4:size]) != "DONE" {
				t.Fatalf("group %x", b[:32])
			}
			records := b[32:][:n]
			for range u32(b[4:]) {
				length := u32(records)
				if !bytes.Equal(records[4:][:length], numbered(seq)) {
					t.Fatal("wrong record", seq)
				}
				records = records[4+length:]
				seq++
			}
			if len(records) != 0 {
				t.Fatal("records too long")
			}
			chain = u32(b[28:])
			end += uint64(size)
			b = b[size:]
		}
		kind := uint32(2)
		if seq == 61 {
			kind = 1
		}
		if len(b) != 512 || string(b[:4]) != "KEND" || u32(b[4:]) != kind || u64(b[8:]) != seq || u64(b[16:]) != 0 ||
			u32(b[24:]) != chain || u32(b[28:]) != crc(id, b[:28]) || !zero(b[32:]) {
			t.Fatalf("end of %s: %x", name, b)
		}
	}
	if seq != 61 {
		t.Fatal(seq)
	}
}

// What follows is damage: to the files of a journal of 57 records, 15 in a segment
// and each a group. Where open is true Open finds it, else whoever reads.
func TestDamage(t *testing.T) {
	flip := func(b []byte, at int) []byte { b[at] ^= 0x10; return b }
	// crashed is a last segment as a crash leaves it: no end mark, zeros.
	crashed := func(b []byte) []byte {
		return append(b[:len(b)-sector], make([]byte, int(small.SegmentSize)-len(b)+sector)...)
	}
	used := func(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }
	tests := []struct {
		name   string
		file   int // from the end if negative
		damage func([]byte) []byte
		open   bool
		want   string
	}{
		{"header", 2, func(b []byte) []byte { return flip(b, 50) }, true, "damaged header"},
		{"magic", 2, func(b []byte) []byte { return flip(b, 0) }, true, "does not begin"},
		{"empty file", 2, func(b []byte) []byte { return nil }, true, "does not begin"},
		{"newer version", 2, func(b []byte) []byte { b[16] = 2; return b }, true, "newer version"},
		{"missing in the middle", 2, nil, true, "is missing"},
		{"last missing", -1, nil, true, "another segment follows"},
		{"sealed segment too short", 2, func(b []byte) []byte { return b[:len(b)-2*sector] }, true, "is damaged"},
		{"record in a sealed segment", 2, func(b []byte) []byte { return flip(b, 700) }, false, "is damaged"},
		{"end mark of a sealed segment and record", 2, func(b []byte) []byte { return flip(flip(b, 700), len(b)-sector) }, true, "is damaged"},
		{"record in the last segment", -1, func(b []byte) []byte { return flip(b, 1700) }, true, "goes on with record"},
		{"group header in the last segment", -1, func(b []byte) []byte { return flip(b, 1539) }, true, "goes on with record"},
		{"sector of zeros in the last segment", -1, func(b []byte) []byte { copy(b[1536:], zeros[:]); return b }, true, "goes on with record"},
		{"last segment after a crash, a record", -1, func(b []byte) []byte { return flip(crashed(b), 1700) }, true, "goes on with record"},
		{"last segment after a crash, last record", -1, func(b []byte) []byte { b = crashed(b); return flip(b, used(b)-100) }, true, "does not match its checksum"},
		{"last segment after a crash, last group's header", -1, func(b []byte) []byte {
			b = crashed(b)
			return flip(b, bytes.LastIndex(b, []byte(groupMagic)))
		}, true, "does not match its checksum"},
		{"last segment after a crash, all groups zero", -1, func(b []byte) []byte { clear(b[sector:]); return crashed(b) }, true, "first records are unreadable"},
		{"last segment cut short", -1, func(b []byte) []byte { return b[:len(b)-sector] }, true, "without an end mark"},
		{"something behind a torn group", -1, func(b []byte) []byte {
			b = crashed(b)
			at := used(b)
			copy(b[bytes.LastIndex(b, []byte(groupMagic))+sector:], zeros[:])
			b[at+sector] = 1
			return b
		}, true, "more behind an incomplete group"},
		{"group of another place", -1, func(b []byte) []byte {
			b = crashed(b)
			copy(b[bytes.LastIndex(b, []byte(groupMagic)):], b[sector:2*sector])
			return b
		}, true, "belongs elsewhere"},
	}
	original := t.TempDir()
	j, _ := mustOpen(t, original, small)
	fill(t, j, 1, 57)
	j.Close()
	names := segments(t, original)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
				t.Fatal(err)
			}
			i := test.file
			if i < 0 {
				i += len(names)
			}
			name := filepath.Join(dir, filepath.Base(names[i]))
			if test.damage == nil {
				os.Remove(name)
			} else {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, test.damage(b), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := contents(t, dir)
			_, _, openErr := Open(dir, small)
			if test.open != (openErr != nil) {
				t.Fatalf("Open: %v", openErr)
			}
			var readErr error
			n := uint64(1)
			for e, err := range Read(dir, 1) {
				if err != nil {
					readErr = err
					break
				}
				if e.Seq != n || !bytes.Equal(e.Record, numbered(n)) {
					t.Fatalf("record %d is %d", n, e.Seq)
				}
				n++
			}
			for what, err := range map[string]error{"Open": openErr, "Read": readErr} {
				if what == "Open" && !test.open {
					continue
				}
				var damaged *CorruptError
				if err == nil || !strings.Contains(err.Error(), test.want) || !errors.As(err, &damaged) && test.name != "newer version" {
					// Read cannot know that a first group is never torn.
					if what == "Read" && err == nil && strings.Contains(test.name, "all groups zero") {
						continue
					}
					t.Errorf("%s: %v, want %q", what, err, test.want)
				}
			}
			if test.open && !slices.Equal(before, contents(t, dir)) {
				t.Error("files were changed")
			}
		})
	}
}

// contents is names and bytes of a folder's segments.
func contents(t *testing.T, dir string) []string {
	var all []string
	for _, name := range segments(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, filepath.Base(name), string(b))
	}
	return all
}

// A torn last group is cut, wherever it is torn, and nothing else.
func TestTorn(t *testing.T) {
	m := newMachine(1)
	j, _, err := open(m.boot(), small)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, j, 1, 5)
	m.kill() // no end mark
	j.Close()
	name := segmentName(1)
	whole := m.names[name].data
	last := bytes.LastIndex(whole, []byte(groupMagic))
	end := len(bytes.TrimRight(whole, "\x00"))

	torn := func(t *testing.T, damage func(b []byte)) {
		n := &inode{data: slices.Clone(whole)}
		damage(n.data)
		m.names = map[string]*inode{name: n}
		j, r, err := open(m.boot(), small)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		left := len(bytes.TrimRight(n.data[last:], "\x00"))
		if r.LastSeq != 4 || left != groupHead && left != sector && r.CutBytes == 0 {
			t.Fatalf("%+v", r)
		}
		if seq := mustAppend(t, j, numbered(5)); seq != 5 {
			t.Fatal(seq)
		}
		all, err := readAll(&simFolder{m, m.life})
		if err != nil || len(all) != 5 {
			t.Fatal(len(all), err)
		}
	}
	for cut := last; cut < end; cut++ { // killed in a write
		torn(t, func(b []byte) { clear(b[cut:]) })
	}
	sectors := (end - last) / sector
	for subset := range 1<<sectors - 1 { // power cut in a flush
		torn(t, func(b []byte) {
			for s := range sectors {
				if subset>>s&1 == 0 {
					copy(b[last+s*sector:], zeros[:])
				}
			}
		})
	}
}

// waitFor waits until the journal's own goroutines have come that far.
func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// A failed write or flush fails its appends, and service resumes after the retry
// interval, with the same numbers and without a trace of what failed.
func TestFailingDisk(t *testing.T) {
	for _, op := range []string{"write", "sync", "rename", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			clk := clock.NewManual(time.Unix(0, 0))
			m := newMachine(1)
			opts := small
			opts.Clock = clk
			j, _, err := open(m.boot(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			set := func(f func(op, name string) error) {
				m.mu.Lock()
				m.fault = f
				m.mu.Unlock()
			}
			last := uint64(10)
			fill(t, j, 1, last)
			for range 3 {
				set(func(o, name string) error {
					if o == op {
						return syscall.EIO
					}
					return nil
				})
				for {
					seq, err := j.Append(t.Context(), numbered(last+1))
					if err != nil {
						if !errors.Is(err, syscall.EIO) {
							t.Fatal(err)
						}
						break
					}
					if last++; seq != last { // until a segment is full
						t.Fatal(seq)
					}
				}
				if !errors.Is(j.Err(), syscall.EIO) || j.LastSeq() != last {
					t.Fatal(j.Err(), j.LastSeq())
				}
				if _, err := j.Append(t.Context(), nil); !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				set(nil)
				waitFor(t, "resuming", func() bool { clk.Advance(time.Second); return j.Err() == nil })
				fill(t, j, last+1, last+10)
				last += 10
			}
			for range 2 {
				all, err := readAll(&simFolder{m, m.life})
				if err != nil || uint64(len(all)) != last {
					t.Fatal(len(all), err)
				}
				for i, b := range all {
					if !bytes.Equal(b, numbered(uint64(i+1))) {
						t.Fatalf("record %d is %.20q", i+1, b)
					}
				}
				m.cut()
				m.boot()
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	clk := clock.NewManual(time.Unix(0, 0))
	m := newMachine(1)
	opts := small
	opts.Clock = clk
	setFull := func(full bool) {
		m.mu.Lock()
		m.full = full
		m.mu.Unlock()
	}

	// Full from the start.
	setFull(true)
	j, _, err := open(m.boot(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), nil); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free 24576 bytes on the disk of /sim") {
		t.Fatal(err)
	}
	setFull(false)
	waitFor(t, "resuming", func() bool { clk.Advance(time.Second); return j.Err() == nil })

	// Full later: what was set aside is used first.
	fill(t, j, 1, 1)
	waitFor(t, "a spare", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.names[spareName] != nil && len(m.names[spareName].data) > 0
	})
	setFull(true)
	n := uint64(1)
	for {
		seq, err := j.Append(t.Context(), numbered(n+1))
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil || seq != n+1 {
			t.Fatal(seq, err)
		}
		n++
	}
	if n < 20 || j.Stats().SpareErr == nil {
		t.Errorf("only %d records; %v", n, j.Stats().SpareErr)
	}

	// One more for the shutdown, from the reserve.
	if seq, err := j.AppendFinal(numbered(n + 1)); seq != n+1 || err != nil {
		t.Fatal(seq, err)
	}
	n++
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	m.cut()
	j, r, err := open(m.boot(), opts)
	if err != nil || r.LastSeq != n || !errors.Is(j.Err(), syscall.ENOSPC) {
		t.Fatal(r, err, j.Err())
	}
	setFull(false)
	waitFor(t, "resuming", func() bool { clk.Advance(time.Second); return j.Err() == nil })
	fill(t, j, n+1, n+10)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if m.names[reserveName] == nil {
		t.Error("the reserve was not made again")
	}
	all, err := readAll(m.boot())
	if err != nil || uint64(len(all)) != n+10 {
		t.Fatal(len(all), err)
	}
}

// A reader must not take what is being written for damage.
func TestReadWhileWriting(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, small)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				durable, n := j.LastSeq(), uint64(1)
				for e, err := range Read(dir, 1) {
					if err != nil {
						t.Error(err)
						return
					}
					if e.Seq != n {
						t.Errorf("record %d where %d was due", e.Seq, n)
						return
					}
					n++
				}
				if n-1 < durable {
					t.Errorf("read up to %d, %d was durable before", n-1, durable)
				}
			}
		})
	}
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 60 {
				if _, err := j.Append(t.Context(), make([]byte, 900)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	wg.Wait()
}

// A Fetcher finds each record where it was read, in any order, and nothing else.
func TestFetcher(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, small)
	defer j.Close()
	fill(t, j, 1, 200)
	var all []Entry
	for e, err := range Read(dir, 0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	f, err := NewFetcher(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range all {
		e := all[i*77%len(all)]
		if record, err := f.Record(e.Seq, e.At); err != nil || !bytes.Equal(record, numbered(e.Seq)) {
			t.Fatalf("record %d: %q, %v", e.Seq, record, err)
		}
	}
	last := all[len(all)-1]
	for name, c := range map[string]struct {
		seq uint64
		at  Position
	}{
		"another number":       {1, last.At},
		"the segment's header": {last.Seq, Position{last.At.Segment, 0}},
		"between groups":       {last.Seq, Position{last.At.Segment, last.At.Offset + 16}},
		"behind the end":       {last.Seq, Position{last.At.Segment, 1 << 40}},
	} {
		if record, err := f.Record(c.seq, c.at); !errors.As(err, new(*CorruptError)) {
			t.Errorf("%s: %q, %v", name, record, err)
		}
	}
	if _, err := f.Record(1, Position{Segment: 12345}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a segment that is not there: %v", err)
	}
}

// ReadDurable follows to the last acknowledged record through segments and starts, and ends
// when it is told to.
func TestReadDurable(t *testing.T) {
	dir := t.TempDir()
	for life := range uint64(3) {
		j, _ := mustOpen(t, dir, small)
		fill(t, j, life*50+1, life*50+25)
		if first, err := First(dir); err != nil || first != 1 {
			t.Errorf("the first record is %d, %v", first, err)
		}
		var rests int
		next := life * 40
		for e, err := range ReadDurable(dir, max(next, 1), j.LastSeq, func() bool {
			if rests++; rests == 1 {
				fill(t, j, life*50+26, life*50+50)
			}
			return rests < 3
		}) {
			if err != nil {
				t.Fatal(err)
			}
			next = max(next, 1)
			if e.Seq != next || !bytes.Equal(e.Record, numbered(next)) {
				t.Fatalf("record %d where %d was due", e.Seq, next)
			}
			next++
		}
		if next != life*50+51 {
			t.Errorf("it ended before record %d", next)
		}
		j.Close()
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	clk := clock.NewManual(time.Unix(0, 0))
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan Entry)
	ended := make(chan error, 1)
	go func() {
		for e, err := range Follow(ctx, dir, 5, clk, time.Second) {
			if err != nil {
				ended <- err
				return
			}
			got <- e
		}
		ended <- nil
	}()
	next := uint64(5)
	receive := func(to uint64) {
		t.Helper()
		for ; next <= to; next++ {
			waitFor(t, fmt.Sprint("record ", next), func() bool {
				clk.Advance(time.Second)
				select {
				case e := <-got:
					if e.Seq != next || !bytes.Equal(e.Record, numbered(next)) {
						t.Fatalf("record %d where %d was due", e.Seq, next)
					}
					return true
				default:
					return false
				}
			})
		}
	}
	for life := range uint64(3) { // through rotation, close and start
		j, _ := mustOpen(t, dir, small)
		fill(t, j, life*50+1, life*50+25)
		receive(life*50 + 25)
		fill(t, j, life*50+26, life*50+50)
		receive(life*50 + 50)
		j.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Records of a failed group that a follower has seen are replaced by those that
// took their numbers.
func TestFollowBehindFailure(t *testing.T) {
	seen := readBehindFailure(t, false)
	want := []string{"1 record 1", "2 record 2", "3 record 3", "4 unacknow", "4 record 4", "5 record 5"}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

// ReadDurable does not yield what failed in the end.
func TestReadDurableBehindFailure(t *testing.T) {
	seen := readBehindFailure(t, true)
	want := []string{"1 record 1", "2 record 2", "3 record 3", "4 record 4", "5 record 5"}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

// readBehindFailure is what is read while a group fails and others take its place.
func readBehindFailure(t *testing.T, durable bool) []string {
	t.Helper()
	clk := clock.NewManual(time.Unix(0, 0))
	m := newMachine(1)
	opts := small
	opts.Clock = clk
	j, _, err := open(m.boot(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	fill(t, j, 1, 3)
	set := func(f func(op, name string) error) {
		m.mu.Lock()
		m.fault = f
		m.mu.Unlock()
	}

	var seen []string
	yield := func(e Entry, _ error) bool {
		seen = append(seen, fmt.Sprintf("%d %s", e.Seq, e.Record[:8]))
		return true
	}
	r := reader{dir: &simFolder{m, m.life}, yield: yield}
	if durable {
		r.durable = j.LastSeq
	}
	defer r.leave()
	waits := 0
	r.wait = func() bool {
		switch waits++; waits {
		case 1:
			set(func(op, name string) error {
				if op == "sync" {
					return syscall.EIO
				}
				return nil
			})
			if _, err := j.Append(t.Context(), []byte("unacknowledged")); err == nil {
				t.Error("append did not fail")
			}
			set(nil)
		case 2:
			waitFor(t, "resuming", func() bool { clk.Advance(time.Second); return j.Err() == nil })
			fill(t, j, 4, 5)
		default:
			return false
		}
		return true
	}
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	return seen
}

// A copy made by Segments while the journal is written is a whole journal.
func TestSegments(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, small)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := j.Append(t.Context(), numbered(n)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		durable := j.LastSeq()
		all, err := Segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		if durable > 0 && len(all) == 0 {
			t.Fatal("no segments")
		}
		to := t.TempDir()
		for _, s := range all {
			f, err := os.Open(s.Path)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, s.Size)
			if _, err := io.ReadFull(f, b[:s.Used]); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if err := os.WriteFile(filepath.Join(to, filepath.Base(s.Path)), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		restored, r := mustOpen(t, to, small)
		if r.LastSeq < durable {
			t.Fatalf("copy ends with %d, %d was durable", r.LastSeq, durable)
		}
		restored.Close()
		checkNumbered(t, to, 1, r.LastSeq)
	}
	close(stop)
	wg.Wait()
}
