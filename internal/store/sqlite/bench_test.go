package sqlite

import (
	"bytes"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/storetest"
)

// value is about as large as a key's record.
var value = bytes.Repeat([]byte("kagimori"), 64)

func benchPlace(i int) store.Place {
	return store.Place{Kind: "thing", Account: "111122223333", Region: "eu-central-1", ID: fmt.Sprintf("%08d", i)}
}

// fill puts n records.
func fill(b *testing.B, s *Store, n int) {
	b.Helper()
	for i := 0; i < n; {
		if err := s.Update(b.Context(), func(tx store.Tx) error {
			for range min(n-i, 1000) {
				if _, err := tx.Put(benchPlace(i), value, 0); err != nil {
					return err
				}
				i++
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	const records = 10_000
	s := create(b).Store(storetest.NewSealer())
	fill(b, s, records)
	get := func(b *testing.B, i int) {
		if err := s.View(b.Context(), func(r store.Reader) error {
			_, err := r.Get(benchPlace(i * 7919 % records))
			return err
		}); err != nil {
			b.Error(err)
		}
	}
	b.Run("View", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			get(b, i)
		}
	})
	b.Run("ViewParallel", func(b *testing.B) {
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				get(b, int(n.Add(1)))
			}
		})
	})
	b.Run("InOneView", func(b *testing.B) {
		if err := s.View(b.Context(), func(r store.Reader) error {
			for i := 0; b.Loop(); i++ {
				if _, err := r.Get(benchPlace(i * 7919 % records)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkUpdate puts a new record with one index entry per Update and shows
// how many Updates shared a commit, that is a sync.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := create(b).Store(storetest.NewSealer())
			var n, commits atomic.Int64
			s.Subscribe(func([]store.Change) { commits.Add(1) })
			b.SetParallelism((writers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			if writers == 1 {
				b.SetParallelism(1)
			}
			put := func() {
				p := benchPlace(int(n.Add(1)))
				if err := s.Update(b.Context(), func(tx store.Tx) error {
					_, err := tx.Put(p, value, 0, store.IndexEntry{Name: "by", Value: p.ID})
					return err
				}); err != nil {
					b.Error(err)
				}
			}
			if writers == 1 {
				for b.Loop() {
					put()
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						put()
					}
				})
			}
			b.ReportMetric(float64(n.Load())/float64(commits.Load()), "updates/commit")
		})
	}
}
