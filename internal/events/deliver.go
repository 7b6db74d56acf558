package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	// buryEach is with how many new dead letters old ones are removed.
	buryEach = 100
	// parallel is how many deliveries to a target are under way at the same time.
	parallel = 8
	// maxBackoff is the longest time until a delivery is tried again.
	maxBackoff = 10 * time.Minute

	// What targets have that do not say otherwise.
	// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RetryPolicy.html
	defaultRetries = 185
	defaultAge     = 24 * time.Hour
)

// maxPending bounds what can wait for a target. More is dropped, which is recorded. Only
// tests change it.
var maxPending = load{10_000, 64 << 20}

// maxDead is how much is kept of what a target never got.
var maxDead = load{1000, 64 << 20}

// load is an amount of deliveries.
type load struct{ events, bytes int }

func (l *load) add(other load) { l.events, l.bytes = l.events+other.events, l.bytes+other.bytes }

func (l *load) subtract(other load) { l.add(load{-other.events, -other.bytes}) }

func (d *delivery) load() load { return load{1, len(d.Event)} }

// deliveryKind is of store records of deliveries: events that are on their way to a target.
// Their id is that of the rule, of its target, and of the event.
const deliveryKind = "event-delivery"

// The indexes of deliveries: those to be tried, with the time, and those that were given up.
const (
	dueIndex  = "due"
	deadIndex = "dead"
)

// targetPlace is where a target is.
type targetPlace struct{ account, region, rule, id string }

func (p targetPlace) rulePlace() store.Place {
	return store.Place{Kind: ruleKind, Account: p.account, Region: p.region, ID: p.rule}
}

// index is what the values of its deliveries in the indexes begin with.
func (p targetPlace) index() string {
	return strings.Join([]string{p.account, p.region, p.rule, p.id, ""}, "/")
}

func (p targetPlace) due(t time.Time) string { return fmt.Sprintf("%s%013d", p.index(), t.UnixMilli()) }

// delivery is an event on its way to a target.
type delivery struct {
	Event    json.RawMessage `json:"event"`
	Seq      uint64          `json:"seq"` // of the record that it follows from, or was put before
	Ingested time.Time       `json:"ingested"`
	Attempts int             `json:"attempts,omitempty"`
	Next     time.Time       `json:"next"`

	to       targetPlace
	id       string // of the event
	revision uint64
}

func (d *delivery) place() store.Place {
	return store.Place{Kind: deliveryKind, Account: d.to.account, Region: d.to.region, ID: strings.Join([]string{d.to.rule, d.to.id, d.id}, "/")}
}

func decodeDelivery(rec store.Record) (*delivery, error) {
	rule, rest, _ := strings.Cut(rec.ID, "/")
	target, id, ok := strings.Cut(rest, "/")
	d := &delivery{to: targetPlace{rec.Account, rec.Region, rule, target}, id: id, revision: rec.Revision}
	err := json.Unmarshal(rec.Value, d)
	if !ok {
		err = errors.New("its id has too few parts")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rec.Place, err)
	}
	return d, nil
}

func (d *delivery) put(tx store.Tx) error {
	return put(tx, d.place(), d, d.revision, store.IndexEntry{Name: dueIndex, Value: d.to.due(d.Next)})
}

// batch collects what is stored at once.
type batch struct {
	s          *Service
	deliveries []*delivery
	added      map[targetPlace]load
	dropped    map[targetPlace]int
	principals []keyUse
	at         uint64 // the last record that was looked at
	saved      uint64 // the same, as it is stored
	learns     bool   // all uses of keys up to at are noted too
}

func newBatch(s *Service) *batch {
	b := &batch{s: s}
	b.clear()
	return b
}

func (b *batch) clear() {
	b.deliveries, b.principals, b.added, b.dropped = nil, nil, map[targetPlace]load{}, map[targetPlace]int{}
}

// add adds a delivery, or drops it where too many wait.
func (b *batch) add(d *delivery) {
	b.s.mu.Lock()
	all := b.s.pending[d.to]
	b.s.mu.Unlock()
	added := b.added[d.to]
	all.add(added)
	all.add(d.load())
	if all.events > maxPending.events || all.bytes > maxPending.bytes {
		b.dropped[d.to]++
		return
	}
	added.add(d.load())
	b.added[d.to] = added
	b.deliveries = append(b.deliveries, d)
}

// store writes the deliveries. One that is there waits already: the batch is stored again.
func (b *batch) store(tx store.Tx) error {
	for _, d := range b.deliveries {
		if _, err := tx.Get(d.place()); err == nil {
			continue
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := d.put(tx); err != nil {
			return err
		}
	}
	return nil
}

// stored has what store wrote delivered.
func (b *batch) stored() {
	b.s.mu.Lock()
	for _, n := range b.dropped {
		b.s.stats.Dropped += uint64(n)
	}
	b.s.mu.Unlock()
	b.s.added(b.added)
	b.clear()
}

// added notes that there is so much more.
func (s *Service) added(more map[targetPlace]load) {
	for to, n := range more {
		if n.events > 0 {
			s.count(to, func(pending *load) { pending.add(n) })
			s.wake(to)
		}
	}
}

// count changes what waits for a target, as it is counted.
func (s *Service) count(to targetPlace, fn func(pending *load)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.pending[to]
	fn(&n)
	s.pending[to] = n
}

// commit stores the batch with the position, if there is anything in it, or much was looked
// at. last also stores the position alone.
func (b *batch) commit(ctx context.Context, last bool) error {
	if len(b.deliveries)+len(b.dropped)+len(b.principals) == 0 && (b.at == b.saved || !last && b.at-b.saved < unstored) {
		return nil
	}
	at, dropped := b.at, b.failures()
	recs, err := b.s.Trail.Commit(ctx, func(tx store.Tx) error {
		err := putPosition(tx, matchedPlace, at)
		if b.learns {
			err = cmp.Or(err, putPrincipals(tx, b.principals, at))
		}
		return cmp.Or(err, b.store(tx))
	}, func() []api.Record { return dropped })
	if err != nil {
		return err
	}
	b.saved = at
	b.stored()
	return b.s.Trail.JournalCommitted(ctx, recs)
}

// failures are the records of what was dropped.
func (b *batch) failures() (recs []api.Record) {
	for _, to := range slices.SortedFunc(maps.Keys(b.dropped), func(x, y targetPlace) int { return cmp.Compare(x.index(), y.index()) }) {
		recs = append(recs, b.s.failure(to, []api.Pair{{Name: "reason", Value: fmt.Sprintf("%d events or %d bytes of them wait for the target already.", maxPending.events, maxPending.bytes)},
			{Name: "events", Value: strconv.Itoa(b.dropped[to])}}))
	}
	return recs
}

// failure is the record of what could not be delivered.
func (s *Service) failure(to targetPlace, details []api.Pair) api.Record {
	return audit.EventRecord(&audit.ServiceEvent{Source: Principal, Name: FailedDelivery, ID: uuid.NewString(), Time: s.Clock.Now(), Account: to.account, Region: to.region,
		Resource: &api.Resource{Account: to.account, Type: "AWS::Events::Rule", ARN: ruleARN(to.rulePlace())},
		Details:  append([]api.Pair{{Name: "rule", Value: to.rule}, {Name: "targetId", Value: to.id}}, details...)})
}

// courier delivers to one target.
type courier struct {
	s    *Service
	to   targetPlace
	woke chan struct{}
	dead int // events that it gave up
}

// resume sets going what was left at the last stop.
func (s *Service) resume(ctx context.Context) error {
	left := map[targetPlace]load{}
	err := s.Store.View(ctx, func(r store.Reader) error {
		return r.Lookup(store.Query{Kind: deliveryKind, Index: dueIndex, To: store.LastIndexValue}, func(rec store.Record) error {
			d, err := decodeDelivery(rec)
			if err == nil {
				n := left[d.to]
				n.add(d.load())
				left[d.to] = n
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.pending = left
	s.mu.Unlock()
	for to := range left {
		s.wake(to)
	}
	return nil
}

// wake has the courier of a target look for deliveries.
func (s *Service) wake(to targetPlace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.couriers[to]
	if c == nil {
		if s.base == nil {
			return // Start resumes them
		}
		c = &courier{s: s, to: to, woke: make(chan struct{}, 1)}
		s.couriers[to] = c
		s.done.Go(func() { c.run(s.base) })
	}
	nudge(c.woke)
}

// run delivers until nothing waits any more.
func (c *courier) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := c.round(ctx)
		if err != nil && ctx.Err() == nil {
			c.s.Log.Error("events cannot be taken to a target; it will be tried again", "rule", ruleARN(c.to.rulePlace()), "target", c.to.id, "error", err)
			wait = retryInterval
		}
		c.s.mu.Lock()
		if err == nil && c.s.pending[c.to].events <= 0 {
			delete(c.s.couriers, c.to)
			delete(c.s.pending, c.to)
			c.s.mu.Unlock()
			return
		}
		c.s.mu.Unlock()
		if wait > 0 || err != nil {
			select {
			case <-ctx.Done():
			case <-c.woke:
			case <-c.s.Clock.After(wait):
			}
		}
	}
}

// outcome is what became of a try.
type outcome struct {
	delivery *delivery
	err      error // nil: delivered
}

// round tries what is due, and tells when more is.
func (c *courier) round(ctx context.Context) (wait time.Duration, err error) {
	now := c.s.Clock.Now()
	c.s.mu.Lock()
	counted := c.s.pending[c.to]
	c.s.mu.Unlock()
	var due []*delivery
	var of *rule
	next := time.Time{}
	err = c.s.Store.View(ctx, func(r store.Reader) error {
		of, err = getRule(r, c.to.rulePlace())
		if err != nil && !awserr.Is(err, awserr.ResourceNotFound) {
			return err
		}
		return r.Lookup(store.Query{Kind: deliveryKind, Index: dueIndex, From: c.to.index(), To: c.to.index() + "~", Limit: parallel + 1}, func(rec store.Record) error {
			d, err := decodeDelivery(rec)
			if err != nil {
				return err
			}
			if next = d.Next; !next.After(now) && len(due) < c.atOnce(of) {
				due = append(due, d)
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	if next.IsZero() { // none is left of those that were counted before; more may be by now
		c.s.count(c.to, func(pending *load) { pending.subtract(counted) })
		return 0, nil
	}
	if len(due) == 0 {
		return next.Sub(now), nil
	}
	outcomes := make([]outcome, len(due))
	var group sync.WaitGroup
	for i, d := range due {
		group.Go(func() { outcomes[i] = outcome{d, c.try(ctx, of, d)} })
	}
	group.Wait()
	if ctx.Err() != nil { // tries were broken off; they are made again
		return 0, ctx.Err()
	}
	return 0, c.settle(ctx, outcomes)
}

// atOnce is how many deliveries may be under way. Responses go one by one: one that is done
// makes others needless.
func (c *courier) atOnce(of *rule) int {
	if t := of.target(c.to.id); t != nil {
		if kind, _, _ := parseTarget(*t.Arn); kind == responseKind {
			return 1
		}
	}
	return parallel
}

// errDropped says that a delivery has no target any more.
var errDropped = errors.New("the target was removed")

func (r *rule) target(id string) *types.Target {
	if r != nil {
		for i := range r.Targets {
			if *r.Targets[i].Id == id {
				return &r.Targets[i]
			}
		}
	}
	return nil
}

// try delivers once.
func (c *courier) try(ctx context.Context, of *rule, d *delivery) error {
	t := of.target(c.to.id)
	if t == nil {
		return errDropped
	}
	found, err := c.s.Targets.find(*t.Arn, c.to.account)
	if err != nil {
		return permanent{err}
	}
	in, err := newInput(t)
	if err != nil {
		return permanent{err}
	}
	e, err := parseEvent(d.Event, d.Ingested)
	if err != nil {
		return permanent{err}
	}
	return found.send(ctx, c.s, &attempt{delivery: d, event: e, rule: of, target: t, input: in.of(e, of)})
}

// attempt is what a target is given.
type attempt struct {
	*delivery
	event  *event
	rule   *rule
	target *types.Target
	input  []byte
}

// settle stores what became of tries.
func (c *courier) settle(ctx context.Context, outcomes []outcome) error {
	now := c.s.Clock.Now()
	var stats Stats
	var failures []api.Record
	var gone load
	recs, err := c.s.Trail.Commit(ctx, func(tx store.Tx) error {
		stats, failures, gone = Stats{}, nil, load{}
		of, err := getRule(tx, c.to.rulePlace())
		if err != nil && !awserr.Is(err, awserr.ResourceNotFound) {
			return err
		}
		t := of.target(c.to.id)
		for _, o := range outcomes {
			d := *o.delivery
			d.Attempts++
			d.Next = now.Add(backoff(d.Attempts))
			var final permanent
			switch {
			case o.err == nil || t == nil:
				if o.err == nil {
					stats.Delivered++
				}
				gone.add(d.load())
				if err := tx.Delete(d.place(), d.revision); err != nil {
					return err
				}
			case errors.As(o.err, &final) || d.Attempts > retries(t) || d.Next.Sub(d.Ingested) > age(t):
				stats.DeadLetters++
				gone.add(d.load())
				failures = append(failures, c.s.failure(c.to, []api.Pair{{Name: "targetArn", Value: *t.Arn}, {Name: "eventId", Value: d.id},
					{Name: "attempts", Value: strconv.Itoa(d.Attempts)}, {Name: "reason", Value: o.err.Error()}}))
				if err := put(tx, d.place(), &d, d.revision, store.IndexEntry{Name: deadIndex, Value: d.to.due(now)}); err != nil {
					return err
				}
			default:
				stats.Retried++
				if err := d.put(tx); err != nil {
					return err
				}
			}
		}
		if now := c.dead + int(stats.DeadLetters); now > c.dead && (c.dead == 0 || now/buryEach > c.dead/buryEach) {
			return c.s.bury(tx, c.to)
		}
		return nil
	}, func() []api.Record { return failures })
	if err != nil {
		return err
	}
	c.dead += int(stats.DeadLetters)
	c.s.count(c.to, func(pending *load) { pending.subtract(gone) })
	c.s.mu.Lock()
	c.s.stats.Delivered += stats.Delivered
	c.s.stats.Retried += stats.Retried
	c.s.stats.DeadLetters += stats.DeadLetters
	c.s.mu.Unlock()
	for _, o := range outcomes {
		if o.err != nil && !errors.Is(o.err, errDropped) {
			err := o.err
			if h, ok := err.(hidden); ok {
				err = h.cause
			}
			c.s.Log.Warn("an event was not delivered", "rule", ruleARN(c.to.rulePlace()), "target", c.to.id, "event", o.delivery.id, "attempt", o.delivery.Attempts+1, "error", err)
		}
	}
	return c.s.Trail.JournalCommitted(ctx, recs)
}

func retries(t *types.Target) int {
	if t.RetryPolicy != nil && t.RetryPolicy.MaximumRetryAttempts != nil {
		return int(*t.RetryPolicy.MaximumRetryAttempts)
	}
	return defaultRetries
}

func age(t *types.Target) time.Duration {
	if t.RetryPolicy != nil && aws.ToInt32(t.RetryPolicy.MaximumEventAgeInSeconds) > 0 {
		return time.Duration(*t.RetryPolicy.MaximumEventAgeInSeconds) * time.Second
	}
	return defaultAge
}

// backoff is how long to wait after so many attempts.
func backoff(attempts int) time.Duration {
	return min(time.Second<<min(attempts-1, 20), maxBackoff)
}

// dead gives the dead letters of a target to fn, oldest first.
func dead(r store.Reader, to targetPlace, fn func(store.Record) error) error {
	return r.Lookup(store.Query{Kind: deliveryKind, Index: deadIndex, From: to.index(), To: to.index() + "~"}, fn)
}

// bury removes the oldest dead letters of a target beyond those that are kept.
func (s *Service) bury(tx store.Tx, to targetPlace) error {
	var all []store.Record
	if err := dead(tx, to, func(rec store.Record) error { all = append(all, rec); return nil }); err != nil {
		return err
	}
	var kept load
	for _, rec := range slices.Backward(all) {
		if kept.add(load{1, len(rec.Value)}); kept.events <= maxDead.events && kept.bytes <= maxDead.bytes {
			continue
		}
		if err := tx.Delete(rec.Place, rec.Revision); err != nil {
			return err
		}
	}
	return nil
}

// revive has the dead letters of a target tried again.
func (s *Service) revive(tx store.Tx, to targetPlace, now time.Time) (n load, err error) {
	var all []*delivery
	err = dead(tx, to, func(rec store.Record) error {
		d, err := decodeDelivery(rec)
		all = append(all, d)
		return err
	})
	for _, d := range all {
		d.Attempts, d.Ingested, d.Next = 0, now, now
		n.add(d.load())
		err = cmp.Or(err, d.put(tx))
	}
	return n, err
}

// forget removes the dead letters of a target.
func (s *Service) forget(tx store.Tx, to targetPlace) error {
	var all []store.Record
	err := dead(tx, to, func(rec store.Record) error { all = append(all, rec); return nil })
	for _, rec := range all {
		err = cmp.Or(err, tx.Delete(rec.Place, rec.Revision))
	}
	return err
}
