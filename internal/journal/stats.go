package journal

import "time"

// SyncBounds are the upper bounds of Stats.SyncCounts.
var SyncBounds = [...]time.Duration{
	100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 5 * time.Second,
}

// Stats counts since Open.
type Stats struct {
	Records uint64 // durable
	Groups  uint64 // each written and flushed at once
	Bytes   uint64 // written, with framing
	// SyncTime is the sum of the time that groups took to become durable.
	SyncTime time.Duration
	// SyncCounts is how many groups took at most SyncBounds[i] and more than
	// the bound before; the last field is for those over all bounds.
	SyncCounts [len(SyncBounds) + 1]uint64
	// Failures is how often Err became other than nil.
	Failures uint64
	// SpareErr is why the next segment cannot be prepared, nil if it can. When
	// the present segment is full, Err will tell the same.
	SpareErr error
}

// Stats is the present state of the counters.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stats
}

func (s *Stats) add(records uint32, bytes int64, took time.Duration) {
	s.Records += uint64(records)
	s.Groups++
	s.Bytes += uint64(bytes)
	s.SyncTime += took
	i := 0
	for i < len(SyncBounds) && took > SyncBounds[i] {
		i++
	}
	s.SyncCounts[i]++
}
