// Package cache keeps recently used values in memory, bounded, and never older
// than an invalidation. It knows nothing of what the values are.
package cache

import (
	"sync"
	"sync/atomic"
)

// Cache keeps recently used values ready, at most size of them, by the
// second-chance rule: a value that was used since the last sweep stays.
//
// A value read from the store while it changes must not be kept: take a Mark
// before reading, and Put refuses if anything was dropped since.
type Cache[K comparable, V any] struct {
	size    int
	mu      sync.RWMutex
	entries map[K]*entry[V]
	drops   uint64
}

type entry[V any] struct {
	value V
	used  atomic.Bool
}

// New makes a Cache of at most size values.
func New[K comparable, V any](size int) *Cache[K, V] {
	return &Cache[K, V]{size: size, entries: map[K]*entry[V]{}}
}

// Get is the value of k, if it is there.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	c.mu.RLock()
	e := c.entries[k]
	c.mu.RUnlock()
	if e == nil {
		var none V
		return none, false
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.value, true
}

// Mark is to be taken before the value is read from the store.
func (c *Cache[K, V]) Mark() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.drops
}

// Put keeps v as the value of k, unless something was dropped since mark.
func (c *Cache[K, V]) Put(k K, v V, mark uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drops != mark {
		return
	}
	if c.entries[k] == nil && len(c.entries) >= c.size {
		c.sweep()
	}
	c.entries[k] = &entry[V]{value: v}
}

// sweep makes room: it removes an eighth of the entries, and takes away the
// chance of those it passes. Whoever has no chance left goes first.
func (c *Cache[K, V]) sweep() {
	room := max(c.size/8, 1)
	for _, spare := range []bool{true, false} {
		for k, e := range c.entries {
			if room == 0 {
				return
			}
			if spare && e.used.Swap(false) {
				continue
			}
			delete(c.entries, k)
			room--
		}
	}
}

// Drop forgets the value of k.
func (c *Cache[K, V]) Drop(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, k)
	c.drops++
}

// DropFunc forgets the values for which del is true. It looks at all of them.
func (c *Cache[K, V]) DropFunc(del func(K, V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		if del(k, e.value) {
			delete(c.entries, k)
		}
	}
	c.drops++
}
