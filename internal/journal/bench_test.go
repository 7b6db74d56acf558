package journal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAppend shows what an append costs and how many share a flush. With
// work, each goroutine computes for that long between appends, as a server does
// for each call: the difference to the time without a journal is its price.
//
//	taskset -c 0 go test -bench Append ./internal/journal
func BenchmarkAppend(b *testing.B) {
	for _, goroutines := range []int{1, 16, 64} {
		for _, work := range []time.Duration{0, 25 * time.Microsecond} {
			for _, with := range []bool{true, false} {
				if !with && work == 0 {
					continue
				}
				b.Run(fmt.Sprintf("goroutines=%d/work=%v/journal=%v", goroutines, work, with), func(b *testing.B) {
					benchmark(b, goroutines, work, with)
				})
			}
		}
	}
}

func benchmark(b *testing.B, goroutines int, work time.Duration, with bool) {
	j, _, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	record := make([]byte, 1024)
	for i := range record {
		record[i] = byte(i) | 1
	}
	rounds := calibrate(work)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range goroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				spin(rounds)
				if !with {
					continue
				}
				if _, err := j.Append(ctx, record); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if s := j.Stats(); s.Groups > 0 {
		b.ReportMetric(float64(s.Records)/float64(s.Groups), "records/sync")
		b.ReportMetric(float64(s.SyncTime.Microseconds())/float64(s.Groups), "µs/sync")
	}
}

var sink atomic.Uint64

func spin(rounds int) {
	x := uint64(1)
	for range rounds {
		x = x*6364136223846793005 + 1442695040888963407
	}
	sink.Store(x)
}

// calibrate is how many rounds of spin take d, by the best of some tries.
func calibrate(d time.Duration) int {
	const rounds = 200_000
	best := time.Hour
	for range 20 {
		start := time.Now()
		spin(rounds)
		best = min(best, time.Since(start))
	}
	return int(int64(rounds) * int64(d) / int64(best))
}
