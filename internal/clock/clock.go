// Package clock is the only source of time in Kagimori.
//
// Every other package takes a Clock, so that rotation, expiry and 30-day
// deletions are tested by moving time instead of waiting for it.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time and wakes sleepers.
type Clock interface {
	// Now is the present time in UTC.
	Now() time.Time
	// After sends the time once d has passed. A d of zero or less is due at once.
	After(d time.Duration) <-chan time.Time
}

// System is the machine's clock.
func System() Clock { return system{} }

type system struct{}

func (system) Now() time.Time                         { return time.Now().UTC() }
func (system) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Manual is a clock that stands still until it is moved. It is safe for
// concurrent use.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	waiting []sleeper
}

type sleeper struct {
	due time.Time
	ch  chan time.Time
}

// NewManual returns a clock that shows t.
func NewManual(t time.Time) *Manual { return &Manual{now: t.UTC()} }

// Now is the time the clock was last moved to.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// After sends the time once the clock has been moved forward by d.
func (m *Manual) After(d time.Duration) <-chan time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan time.Time, 1)
	if d <= 0 {
		ch <- m.now
		return ch
	}
	m.waiting = append(m.waiting, sleeper{m.now.Add(d), ch})
	return ch
}

// Advance moves the clock forward by d and wakes whoever is due.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	still := m.waiting[:0]
	for _, s := range m.waiting {
		if s.due.After(m.now) {
			still = append(still, s)
			continue
		}
		s.ch <- m.now
	}
	m.waiting = still
}
