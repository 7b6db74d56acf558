package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
)

var crashes = flag.Int("crashes", 600, "histories that TestCrash tries")

// TestCrash lets journals live through random histories of kills, power cuts and
// failing disks at random places. Whatever happens: each acknowledged record
// stays under its number, numbers have no gap, no record is there in part or
// twice, and no start mistakes what a crash left for damage.
func TestCrash(t *testing.T) {
	n := *crashes
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		if err := history(uint64(seed)); err != nil {
			t.Fatalf("history %d: %v", seed, err)
		}
	}
}

type ledger struct {
	mu        sync.Mutex
	attempted map[string]bool
	acked     map[uint64][]byte
}

func history(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 2))
	m := newMachine(seed)
	l := &ledger{attempted: map[string]bool{}, acked: map[uint64][]byte{}}
	opts := Options{SegmentSize: int64(6+rng.IntN(12)) * sector, MaxRecord: 1500, ReserveSize: 8 * sector, Clock: hurry{}}
	for life := range 2 + rng.IntN(5) {
		faulty := rng.IntN(3) == 0
		m.mu.Lock()
		m.fault = nil
		if faulty {
			errs := []error{syscall.EIO, syscall.ENOSPC}
			rate := rng.Float64() * 0.3
			m.fault = func(op, _ string) error {
				if m.rng.Float64() < rate {
					return errs[m.rng.IntN(len(errs))]
				}
				return nil
			}
		}
		m.steps = 0
		if rng.IntN(5) > 0 {
			m.steps = 1 + rng.IntN(120)
		}
		m.mu.Unlock()

		if err := l.live(m, rng, opts); err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		if rng.IntN(3) > 0 {
			m.cut()
		}
	}
	m.mu.Lock()
	m.fault, m.steps = nil, 0
	m.mu.Unlock()
	j, r, err := open(m.boot(), opts)
	if err != nil {
		return err
	}
	defer j.Close()
	if err := l.check(m, r); err != nil {
		return err
	}
	if seq, err := j.Append(context.Background(), []byte("end")); err != nil || seq != r.LastSeq+1 {
		return fmt.Errorf("append after all: %d, %v", seq, err)
	}

	// Whatever the history was, from now on no segment can vanish unnoticed,
	// neither one nor all from one on.
	j.Close()
	segments, err := m.boot().list()
	if err != nil || len(segments) == 1 {
		return err
	}
	k := 1 + rng.IntN(len(segments)-1)
	for _, gone := range [][]uint64{segments[k : k+1], segments[k:]} {
		names := maps.Clone(m.names)
		for _, first := range gone {
			delete(m.names, segmentName(first))
		}
		var damaged *CorruptError
		if _, _, err := open(m.boot(), opts); !errors.As(err, &damaged) {
			return fmt.Errorf("segments %d of %d can vanish: %v", gone, segments, err)
		}
		m.names = names
	}
	return nil
}

// TestCrashInRecovery kills a process while it flushes a group, so that the group
// is whole to the next process but not on disk, and cuts the power at every step
// that one takes.
func TestCrashInRecovery(t *testing.T) {
	opts := Options{SegmentSize: 12 * sector, MaxRecord: 1500, ReserveSize: 4 * sector, Clock: hurry{}}
	for step := 1; step < 20; step++ {
		for seed := range uint64(50) {
			m := newMachine(seed)
			j, _, err := open(m.boot(), opts)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				mustAppend(t, j, make([]byte, 600))
			}
			m.mu.Lock()
			written := false
			m.fault = func(op, _ string) error {
				written = written || op == "write"
				if written && op == "sync" {
					m.life++
					return errDead
				}
				return nil
			}
			m.mu.Unlock()
			if _, err := j.Append(t.Context(), bytes.Repeat([]byte{1}, 1500)); err == nil {
				t.Fatal("append survived the kill")
			}
			j.Close()
			m.fault, m.steps = nil, step
			if j, r, err := open(m.boot(), opts); err == nil {
				if r.LastSeq != 3 {
					t.Fatalf("%+v", r)
				}
				j.Close()
			}
			m.cut()
			m.steps = 0
			j, r, err := open(m.boot(), opts)
			if err != nil || r.LastSeq < 2 {
				t.Fatalf("step %d, seed %d: %+v %v", step, seed, r, err)
			}
			mustAppend(t, j, nil)
			j.Close()
		}
	}
}

// live is the life of one process.
func (l *ledger) live(m *machine, rng *rand.Rand, opts Options) error {
	j, r, err := open(m.boot(), opts)
	var damaged *CorruptError
	switch {
	case errors.As(err, &damaged):
		return err
	case err != nil: // died or failed
		return nil
	}
	if err := l.check(m, r); err != nil {
		j.Close()
		return err
	}
	var wg sync.WaitGroup
	for range 1 + rng.IntN(6) {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 3))
		wg.Go(func() {
			for range rng.IntN(12) {
				l.append(rng, func(b []byte) (uint64, error) { return j.Append(context.Background(), b) })
			}
		})
	}
	wg.Wait()
	if rng.IntN(2) == 0 {
		l.append(rng, j.AppendFinal)
	}
	if rng.IntN(4) == 0 {
		m.kill()
	}
	j.Close()
	return nil
}

func (l *ledger) append(rng *rand.Rand, add func([]byte) (uint64, error)) {
	b := make([]byte, 8+rng.IntN(1400))
	binary.LittleEndian.PutUint64(b, rng.Uint64())
	for i := 8; i < len(b); i++ {
		b[i] = byte(rng.IntN(256))
	}
	l.mu.Lock()
	l.attempted[string(b)] = true
	l.mu.Unlock()
	if seq, err := add(b); err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if old, twice := l.acked[seq]; twice {
			panic(fmt.Sprintf("number %d for %x and %x", seq, old[:8], b[:8]))
		}
		l.acked[seq] = b
	}
}

func (l *ledger) check(m *machine, r Recovery) error {
	m.mu.Lock()
	d := &simFolder{m, m.life}
	m.mu.Unlock()
	all, err := readAll(d)
	if errors.Is(err, errDead) {
		return nil
	}
	if err != nil {
		return err
	}
	if uint64(len(all)) != r.LastSeq {
		return fmt.Errorf("%d records, but recovery found %d", len(all), r.LastSeq)
	}
	seen := map[string]bool{}
	for i, b := range all {
		if !l.attempted[string(b)] || seen[string(b)] {
			return fmt.Errorf("record %d was never appended, or is there twice", i+1)
		}
		seen[string(b)] = true
	}
	for seq, b := range l.acked {
		if seq > r.LastSeq || !bytes.Equal(all[seq-1], b) {
			return fmt.Errorf("acknowledged record %d is gone (newest is %d)", seq, r.LastSeq)
		}
	}
	return nil
}
