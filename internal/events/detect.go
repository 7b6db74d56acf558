package events

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/events/pattern"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/store"
)

// The detail-types of the events that a detector makes, with the source ownSource.
const (
	denialsType   = "KMS Denial Burst"
	principalType = "KMS Key Used By New Principal"
)

const (
	// burstTime is how long a principal's denials are counted together.
	burstTime = time.Minute
	// maxCounted is how many principals' denials are counted at the same time.
	maxCounted = 10_000
)

// uses are the operations of KMS that use a key.
var uses = []string{"Decapsulate", "Decrypt", "DeriveSharedSecret", "Encapsulate", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext",
	"GenerateDataKeyWithoutPlaintext", "GenerateMac", "ReEncrypt", "Sign", "Verify", "VerifyMac"}

// seenKind is of store records of who used which key for what. Their id is a hash of the three.
const seenKind = "event-principal"

// learnAtOnce is how many records are searched for uses of keys while the rules wait. More are
// in the background. Only tests change it.
var learnAtOnce uint64 = 50_000

// keyUse is that a principal used a key, in an account's sight.
type keyUse struct {
	of   bus
	key  string
	hash string // of account, key, operation and principal
	at   string // when
}

// putPrincipals stores uses of keys, and that all up to a record are stored.
func putPrincipals(tx store.Tx, list []keyUse, learned uint64) error {
	for _, u := range list {
		place := store.Place{Kind: seenKind, Account: u.of.account, Region: u.of.region, ID: u.hash}
		if _, err := tx.Get(place); err == nil {
			continue
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := put(tx, place, u.at, 0, allRulesEntry); err != nil {
			return err
		}
	}
	return putPosition(tx, learnedPlace, learned)
}

// usesOf are the uses of keys that a record tells of, and by whom.
func usesOf(head *eventindex.Event, text []byte) (who string, list []keyUse) {
	if head.Source != kmsSource || head.ErrorCode != "" || !slices.Contains(uses, head.Name) {
		return "", nil
	}
	if who = principal(text); who == "" {
		return "", nil
	}
	for _, key := range keys(head) {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %s", head.Account, key, head.Name, who))
		list = append(list, keyUse{bus{head.Account, head.Region}, key, hex.EncodeToString(sum[:16]), stamp(head.Time)})
	}
	return who, list
}

// detector finds what no single event shows: bursts of denials, and uses of keys by
// principals that have not used them for that before.
type detector struct {
	seen    map[string]bool // uses by hash; nil while not all of the journal is known
	denials map[string]*burst
}

type burst struct {
	since time.Time
	count int
}

// newDetector makes a detector that knows all uses of keys up to a record. While there are
// too many to find at once, it finds no new ones.
func (s *Service) newDetector(ctx context.Context, upTo uint64) (*detector, error) {
	d := &detector{denials: map[string]*burst{}}
	learned, err := s.position(ctx, learnedPlace)
	if err != nil {
		return nil, err
	}
	if learned < upTo {
		if upTo-learned > learnAtOnce {
			if s.learning.CompareAndSwap(false, true) {
				s.done.Go(func() { s.learnBehind(ctx, learned, upTo) })
			}
			return d, nil
		}
		if err := s.learn(ctx, learned, upTo); err != nil {
			return nil, err
		}
	}
	d.seen = map[string]bool{}
	return d, s.Store.View(ctx, func(r store.Reader) error {
		return r.Lookup(store.Query{Kind: seenKind, Index: allRulesEntry.Name, From: allRulesEntry.Value, To: allRulesEntry.Value}, func(rec store.Record) error {
			d.seen[rec.ID] = true
			return nil
		})
	})
}

// learnBehind is learn beside the matching, which begins anew with what was learned.
func (s *Service) learnBehind(ctx context.Context, after, upTo uint64) {
	s.Log.Info("searching the audit records for who used which key, for the event "+principalType, "first", after+1, "last", upTo)
	err := s.learn(ctx, after, upTo)
	if err != nil && ctx.Err() == nil {
		s.Log.Error("the audit records cannot be searched for who used which key; it will be tried again", "error", err)
		select {
		case <-ctx.Done():
		case <-s.Clock.After(retryInterval):
		}
	} else if err == nil {
		s.Log.Info("who used which key is known", "last", upTo)
	}
	s.learning.Store(false)
	s.stale.Store(true)
	nudge(s.changed)
}

// learn stores the uses of keys that the journal tells of from one record to another.
func (s *Service) learn(ctx context.Context, after, upTo uint64) error {
	seen := map[string]bool{}
	var list []keyUse
	commit := func(at uint64) error {
		err := s.Store.Update(ctx, func(tx store.Tx) error { return putPrincipals(tx, list, at) })
		list = nil
		return err
	}
	for e, err := range journal.ReadSince(s.JournalDir, after+1) {
		if err != nil {
			return err
		}
		if e.Seq > upTo || ctx.Err() != nil {
			break
		}
		if head, ok := eventindex.Parse(e.Record); ok {
			_, all := usesOf(head, e.Record)
			for _, u := range all {
				if !seen[u.hash] {
					seen[u.hash], list = true, append(list, u)
				}
			}
		}
		if len(list) >= batchSize || e.Seq%unstored == 0 {
			if err := commit(e.Seq); err != nil {
				return err
			}
		}
	}
	return cmp.Or(ctx.Err(), commit(upTo))
}

// principal is who called, by a record: a user, a root, or the role of a session; another
// account's is known by its id alone. It is empty for this service.
func principal(text []byte) string {
	var who struct {
		PrincipalID, ARN, InvokedBy string
		SessionContext              struct{ SessionIssuer struct{ ARN string } }
	}
	if identity := pattern.Member(text, "userIdentity"); identity == nil || json.Unmarshal(identity, &who) != nil || who.InvokedBy == Principal {
		return ""
	}
	id, _, _ := strings.Cut(who.PrincipalID, ":")
	return cmp.Or(who.SessionContext.SessionIssuer.ARN, who.ARN, id, who.InvokedBy)
}

func keys(head *eventindex.Event) (arns []string) {
	for _, res := range head.Resources {
		if strings.Contains(res.ARN, ":key/") {
			arns = append(arns, res.ARN)
		}
	}
	return arns
}

const kmsSource = "kms.amazonaws.com"

// use notes the uses of keys that a record tells of, and gives the keys whose use by the
// principal is new.
func (d *detector) use(b *batch, head *eventindex.Event, text []byte) (who string, fresh []string) {
	if d.seen == nil {
		return "", nil
	}
	who, all := usesOf(head, text)
	for _, u := range all {
		if !d.seen[u.hash] {
			d.seen[u.hash] = true
			b.principals, fresh = append(b.principals, u), append(fresh, u.key)
		}
	}
	return who, fresh
}

// look gives the events that follow from a record.
func (d *detector) look(b *batch, head *eventindex.Event, text []byte) (list []envelope) {
	add := func(kind, who string, resources []string, detail map[string]any) {
		detail["event-id"], detail["event-name"], detail["principal"] = head.ID, head.Name, who
		list = append(list, envelope{ID: derived(head.ID, kind), Type: kind, Source: ownSource, Account: head.Account, Region: head.Region, Time: stamp(head.Time),
			Resources: resources, Detail: encode(detail)})
	}
	if who, fresh := d.use(b, head, text); len(fresh) > 0 {
		add(principalType, who, fresh, map[string]any{})
	}
	if head.Source == kmsSource && head.ErrorCode == "AccessDenied" {
		who := principal(text)
		key := strings.Join([]string{head.Account, head.Region, who}, " ")
		c := d.denials[key]
		if c == nil || head.Time.Sub(c.since) >= burstTime {
			if len(d.denials) >= maxCounted {
				clear(d.denials)
			}
			c = &burst{since: head.Time}
			d.denials[key] = c
		}
		// Once for each power of ten: what goes on is told, and not each time.
		if c.count++; c.count >= 10 && powerOfTen(c.count) {
			add(denialsType, who, keys(head), map[string]any{"count": c.count, "since": stamp(c.since)})
		}
	}
	return list
}

func powerOfTen(n int) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}
