package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/events/pattern"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	// pollInterval is how often it looks whether there are new records.
	pollInterval = 100 * time.Millisecond
	// retryInterval is how long it rests when the store or the journal fails.
	retryInterval = 5 * time.Second
	// batchSize is how many deliveries are stored at once.
	batchSize = 200
	// unstored is how many records may be read again after a crash, if none of them matched.
	unstored = 10_000
)

// These have how far the journal was read: held against the rules, and searched for the
// principals that use keys.
var (
	matchedPlace = store.Place{Kind: "event-position", ID: "matched"}
	learnedPlace = store.Place{Kind: "event-position", ID: "learned"}
)

// bus is an account in a Region.
type bus struct{ account, region string }

// compiled is a rule that is enabled.
type compiled struct {
	*rule
	pattern *pattern.Pattern
}

// ruleSet has the rules that are enabled.
type ruleSet struct {
	rules map[bus][]*compiled
	from  uint64 // the last record that is of interest to none of them
	// detects are the buses with rules for what only this package finds out.
	detects map[bus]bool
}

// load reads the rules that are enabled.
func (s *Service) load(ctx context.Context) (*ruleSet, error) {
	set := &ruleSet{rules: map[bus][]*compiled{}, from: math.MaxUint64, detects: map[bus]bool{}}
	return set, s.Store.View(ctx, func(r store.Reader) error {
		return r.Lookup(store.Query{Kind: ruleKind, Index: allRulesEntry.Name, From: allRulesEntry.Value, To: allRulesEntry.Value}, func(rec store.Record) error {
			c, err := compile(rec)
			if err != nil { // which must not keep the others from working
				s.Log.Error("a rule of events is left out", "error", err)
			}
			if c == nil {
				return nil
			}
			of := bus{rec.Account, rec.Region}
			set.rules[of] = append(set.rules[of], c)
			set.from = min(set.from, c.From)
			if c.pattern.May("source", ownSource) {
				set.detects[of] = true
			}
			return nil
		})
	})
}

// loadOf reads the rules that are enabled of one account and Region.
func (s *Service) loadOf(ctx context.Context, account, region string) (list []*compiled, err error) {
	return list, s.Store.View(ctx, func(r store.Reader) error {
		return r.Scan(ruleKind, account, region, "", 0, func(rec store.Record) error {
			c, err := compile(rec)
			if c != nil {
				list = append(list, c)
			}
			return err
		})
	})
}

// compile makes a rule ready for matching; it is nil for one that is to match nothing.
func compile(rec store.Record) (*compiled, error) {
	r, err := decodeRule(rec)
	if err != nil || !r.enabled() || len(r.Targets) == 0 {
		return nil, err
	}
	p, err := pattern.Parse(r.Pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ruleARN(rec.Place), err)
	}
	return &compiled{r, p}, nil
}

// run follows the journal as long as there are rules.
func (s *Service) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.stale.Store(false)
		rules, err := s.load(ctx)
		if err == nil && len(rules.rules) > 0 {
			err = s.follow(ctx, rules)
		} else if err == nil {
			select {
			case <-ctx.Done():
			case <-s.changed:
			}
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Error("events are not matched against the rules for now; it will be tried again", "error", err)
			select {
			case <-ctx.Done():
			case <-s.Clock.After(retryInterval):
			}
		}
	}
}

// position is the number of the last record at which the journal was read for a purpose.
func (s *Service) position(ctx context.Context, p store.Place) (seq uint64, err error) {
	return seq, s.Store.View(ctx, func(r store.Reader) error {
		rec, err := r.Get(p)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(rec.Value, &seq)
	})
}

// putPosition stores a position.
func putPosition(tx store.Tx, p store.Place, seq uint64) error {
	rec, err := tx.Get(p)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return put(tx, p, seq, rec.Revision)
}

// follow matches what is recorded against the rules, until these are changed.
func (s *Service) follow(ctx context.Context, rules *ruleSet) error {
	at, err := s.position(ctx, matchedPlace)
	if err != nil {
		return err
	}
	oldest, err := journal.First(s.JournalDir)
	if err != nil {
		return err
	}
	next := max(at, rules.from) + 1
	if oldest > next {
		s.Log.Error("records were moved away before they were matched against the rules of events", "first", next, "last", oldest-1)
		next = oldest
	}
	b := newBatch(s)
	b.at, b.saved = next-1, at
	var found *detector
	if len(rules.detects) > 0 {
		if found, err = s.newDetector(ctx, next-1); err != nil {
			return err
		}
		b.learns = found.seen != nil
	}
	var failed error
	rest := func() bool {
		if failed = b.commit(ctx, false); failed != nil || s.stale.Load() {
			return false
		}
		select {
		case <-ctx.Done():
		case <-s.changed:
		case <-s.Clock.After(pollInterval):
		}
		return ctx.Err() == nil && !s.stale.Load()
	}
	for e, err := range journal.ReadDurable(s.JournalDir, next, s.Trail.LastSeq, rest) {
		if err != nil {
			return err
		}
		if s.stale.Load() || ctx.Err() != nil { // what follows a change of rules is for the new ones
			break
		}
		s.look(b, rules, found, e)
		b.at = e.Seq
		if len(b.deliveries) >= batchSize || b.at-b.saved >= unstored {
			if err := b.commit(ctx, false); err != nil {
				return err
			}
		}
	}
	if failed != nil {
		return failed
	}
	return b.commit(context.WithoutCancel(ctx), true)
}

// look makes events of a record and matches them against the rules.
func (s *Service) look(b *batch, rules *ruleSet, found *detector, entry journal.Entry) {
	head, ok := eventindex.Parse(entry.Record)
	if !ok {
		return
	}
	of := bus{head.Account, head.Region}
	interested := rules.rules[of]
	detects := found != nil && rules.detects[of]
	if found != nil && !detects {
		found.use(b, head, entry.Record) // for when there will be a rule
	}
	if len(interested) == 0 || head.ReadOnly && !detects && !anyOf(interested, entry.Seq, true) {
		return
	}
	now := s.Clock.Now()
	if !head.ReadOnly || anyOf(interested, entry.Seq, true) {
		for _, env := range envelopes(head, entry.Record) {
			b.match(interested, newEvent(env, now), entry.Seq, head.ReadOnly)
		}
	}
	if detects {
		for _, env := range found.look(b, head, entry.Record) {
			b.match(interested, newEvent(env, now), entry.Seq, false)
		}
	}
}

// anyOf tells whether one of the rules is for the record of that number.
func anyOf(rules []*compiled, seq uint64, readOnly bool) bool {
	for _, r := range rules {
		if r.wants(seq, readOnly) {
			return true
		}
	}
	return false
}

// wants tells whether a rule is for the record of that number. Rules do not get what only
// reads unless they say so.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html
func (r *compiled) wants(seq uint64, readOnly bool) bool {
	return seq > r.From && (!readOnly || r.State == types.RuleStateEnabledWithAllCloudtrailManagementEvents)
}

// match adds a delivery to each target of each rule that matches the event, which is that
// of the record with the number seq, or was put before it.
func (b *batch) match(rules []*compiled, e *event, seq uint64, readOnly bool) {
	for _, r := range rules {
		if !r.wants(seq, readOnly) || !r.pattern.Match(e.value) {
			continue
		}
		for i := range r.Targets {
			b.add(&delivery{to: targetPlace{r.place.Account, r.place.Region, r.place.ID, *r.Targets[i].Id}, Event: e.json(), id: e.id, Seq: seq, Ingested: e.ingested, Next: e.ingested})
		}
	}
}

// ownSource is that of the events that this server finds out itself.
const ownSource = "kagimori"
