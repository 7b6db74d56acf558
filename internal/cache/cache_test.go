package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// get is the value of k, or -1.
func get(c *Cache[int, int], k int) int {
	if v, ok := c.Get(k); ok {
		return v
	}
	return -1
}

func TestPutGetDrop(t *testing.T) {
	c := New[int, int](4)
	if got := get(c, 1); got != -1 {
		t.Errorf("an empty cache has %d", got)
	}
	c.Put(1, 10, c.Mark())
	c.Put(2, 20, c.Mark())
	c.Put(1, 11, c.Mark())
	if a, b := get(c, 1), get(c, 2); a != 11 || b != 20 {
		t.Errorf("got %d and %d, want 11 and 20", a, b)
	}
	c.Drop(1)
	if a, b := get(c, 1), get(c, 2); a != -1 || b != 20 {
		t.Errorf("after dropping 1: got %d and %d, want none and 20", a, b)
	}
}

// A value that was read before an invalidation must not come in after it.
func TestPutWithOldMark(t *testing.T) {
	c := New[int, int](4)
	mark := c.Mark()
	c.Drop(1) // also of what is not there: its loading is on the way
	c.Put(1, 10, mark)
	if got := get(c, 1); got != -1 {
		t.Errorf("a value from before Drop was kept: %d", got)
	}
	c.Put(1, 11, c.Mark())
	if got := get(c, 1); got != 11 {
		t.Errorf("got %d, want 11", got)
	}
}

// Under a stream of values that are asked for once, those in use stay.
func TestSecondChance(t *testing.T) {
	const size = 64
	c := New[int, int](size)
	for k := range size / 2 {
		c.Put(k, k, c.Mark())
	}
	for k := size; k < 20*size; k++ {
		for used := range size / 2 {
			if get(c, used) != used {
				t.Fatalf("%d, in use, was removed to make room for %d", used, k)
			}
		}
		c.Put(k, k, c.Mark())
		if c.entries[k] == nil { // Get would count as a use
			t.Fatalf("%d is not there right after Put", k)
		}
		if n := len(c.entries); n > size {
			t.Fatalf("%d values, at most %d are allowed", n, size)
		}
	}
}

// Putting what is there already removes nothing else.
func TestReplaceInFullCache(t *testing.T) {
	c := New[int, int](2)
	c.Put(1, 1, c.Mark())
	c.Put(2, 2, c.Mark())
	for range 10 {
		c.Put(1, 3, c.Mark())
	}
	if a, b := get(c, 1), get(c, 2); a != 3 || b != 2 {
		t.Errorf("got %d and %d, want 3 and 2", a, b)
	}
}

// Whatever is done, the cache has at most its size, and a value it gives is the
// one last put, with no Drop since its mark.
func TestAgainstModel(t *testing.T) {
	for _, size := range []int{1, 2, 7, 8, 9, 32} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(size)))
			c := New[int, int](size)
			model := map[int]int{} // what the cache may give
			mark, fresh, hits := c.Mark(), true, 0
			for step := range 20_000 {
				k := rnd.IntN(2 * size)
				switch rnd.IntN(8) {
				case 0:
					c.Drop(k)
					delete(model, k)
					fresh = false
				case 1, 2:
					mark, fresh = c.Mark(), true
				case 3, 4, 5:
					c.Put(k, step, mark)
					if fresh {
						model[k] = step
					}
				default:
					got, ok := c.Get(k)
					if ok && got != model[k] {
						t.Fatalf("step %d: %d has the value %d, want %d", step, k, got, model[k])
					}
					if ok {
						hits++
					}
				}
				if n := len(c.entries); n > size {
					t.Fatalf("step %d: %d values, at most %d are allowed", step, n, size)
				}
			}
			if hits == 0 {
				t.Error("nothing was ever kept")
			}
		})
	}
}

// Loaders and a writer at the same time: after Drop has returned, nobody gets a
// value that was written before the one it announces.
func TestConcurrent(t *testing.T) {
	const size, keys, writes = 4, 8, 3000
	c := New[int, uint64](size)
	var source [keys]atomic.Uint64  // what is loaded
	var dropped [keys]atomic.Uint64 // the oldest value that may be seen
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(2, uint64(g)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				k := rnd.IntN(keys)
				oldest := dropped[k].Load()
				v, ok := c.Get(k)
				if !ok {
					mark := c.Mark()
					v = source[k].Load()
					c.Put(k, v, mark)
				}
				if v < oldest {
					t.Errorf("key %d: got %d after %d was announced", k, v, oldest)
					return
				}
				c.mu.RLock()
				n := len(c.entries)
				c.mu.RUnlock()
				if n > size {
					t.Errorf("%d values, at most %d are allowed", n, size)
					return
				}
			}
		})
	}
	for i := range writes {
		k := i % keys
		v := source[k].Add(1)
		c.Drop(k)
		dropped[k].Store(v)
	}
	close(stop)
	wg.Wait()
}
