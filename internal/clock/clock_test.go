package clock_test

import (
	"sync"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/clock"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("JST", 9*3600))

// due is what a channel of After holds now, or the zero time.
func due(ch <-chan time.Time) time.Time {
	select {
	case t := <-ch:
		return t
	default:
		return time.Time{}
	}
}

func TestManual(t *testing.T) {
	c := clock.NewManual(start)
	if now := c.Now(); !now.Equal(start) || now.Location() != time.UTC {
		t.Errorf("the clock shows %v, want %v in UTC", now, start)
	}
	for _, d := range []time.Duration{0, -time.Second} {
		if got := due(c.After(d)); !got.Equal(start) {
			t.Errorf("After(%v) is due at %v, want at once", d, got)
		}
	}
	minute, hour, day := c.After(time.Minute), c.After(time.Hour), c.After(24*time.Hour)
	steps := []struct {
		advance           time.Duration
		minute, hour, day bool
	}{
		{59 * time.Second, false, false, false},
		{time.Second, true, false, false},
		{time.Hour, false, true, false}, // passes the hour
		{0, false, false, false},        // each only once
		{23 * time.Hour, false, false, true},
	}
	for i, s := range steps {
		c.Advance(s.advance)
		for name, w := range map[string]struct {
			ch   <-chan time.Time
			want bool
		}{"minute": {minute, s.minute}, "hour": {hour, s.hour}, "day": {day, s.day}} {
			got := due(w.ch)
			if got.IsZero() == w.want || w.want && !got.Equal(c.Now()) {
				t.Errorf("step %d: the sleeper for a %s got %v, want due %v at %v", i, name, got, w.want, c.Now())
			}
		}
	}
}

// Whoever has stopped listening holds nobody up.
func TestAdvanceDoesNotWait(t *testing.T) {
	c := clock.NewManual(start)
	for range 10 {
		c.After(time.Second)
	}
	c.Advance(time.Minute)
}

func TestManualConcurrently(t *testing.T) {
	c := clock.NewManual(start)
	var wg sync.WaitGroup
	for range 8 {
		ch := c.After(time.Hour)
		wg.Go(func() { <-ch })
		wg.Go(func() { c.Advance(10 * time.Minute); c.Now() })
	}
	wg.Wait()
	if got := c.Now().Sub(start); got != 80*time.Minute {
		t.Errorf("the clock went %v, want 80m", got)
	}
}

func TestSystem(t *testing.T) {
	c := clock.System()
	before := time.Now()
	if now := c.Now(); now.Location() != time.UTC || now.Before(before) || now.After(time.Now()) {
		t.Errorf("the clock shows %v, want the time in UTC", now)
	}
	if now := <-c.After(time.Millisecond); now.Sub(before) < time.Millisecond {
		t.Errorf("After(1ms) was due after %v", now.Sub(before))
	}
}
