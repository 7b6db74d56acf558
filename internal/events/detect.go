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

// seenPrincipal is that a principal has used a key in an account's sight.
type seenPrincipal struct {
	of   bus
	hash string
	at   string // when, first
}

func (p seenPrincipal) put(tx store.Tx) error {
	place := store.Place{Kind: seenKind, Account: p.of.account, Region: p.of.region, ID: p.hash}
	if _, err := tx.Get(place); err == nil {
		return nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return put(tx, place, p.at, 0, allRulesEntry)
}

// detector finds what no single event shows: bursts of denials, and uses of keys by
// principals that have not used them for that before.
type detector struct {
	seen    map[string]bool // by hash
	denials map[string]*burst
}

type burst struct {
	since time.Time
	count int
}

// newDetector makes a detector that knows all uses that the journal has up to next, without
// the latter.
func (s *Service) newDetector(ctx context.Context, b *batch, next uint64) (*detector, error) {
	d := &detector{seen: map[string]bool{}, denials: map[string]*burst{}}
	err := s.Store.View(ctx, func(r store.Reader) error {
		return r.Lookup(store.Query{Kind: seenKind, Index: allRulesEntry.Name, From: allRulesEntry.Value, To: allRulesEntry.Value}, func(rec store.Record) error {
			d.seen[rec.ID] = true
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	for e, err := range journal.ReadSince(s.JournalDir, b.position.Learned+1) {
		if err != nil {
			return nil, err
		}
		if e.Seq >= next || ctx.Err() != nil {
			break
		}
		if head, ok := eventindex.Parse(e.Record); ok {
			d.use(b, head, e.Record)
		}
		if len(b.principals) >= batchSize {
			if err := b.commit(ctx, false); err != nil {
				return nil, err
			}
		}
	}
	b.learned = true
	return d, cmp.Or(ctx.Err(), b.commit(ctx, false))
}

// principal is who called, by a record: a user, a root, or the role of a session; another
// account's is known by its id alone. It is empty for this service.
func principal(text []byte) string {
	var r struct {
		UserIdentity struct {
			PrincipalID, ARN, InvokedBy string
			SessionContext              struct{ SessionIssuer struct{ ARN string } }
		}
	}
	if json.Unmarshal(text, &r) != nil || r.UserIdentity.InvokedBy == Principal {
		return ""
	}
	who := &r.UserIdentity
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

// use notes the keys that a record says were used, and gives those whose use by the
// principal is new.
func (d *detector) use(b *batch, head *eventindex.Event, text []byte) (who string, fresh []string) {
	if head.Source != kmsSource || head.ErrorCode != "" || !slices.Contains(uses, head.Name) {
		return "", nil
	}
	if who = principal(text); who == "" {
		return "", nil
	}
	for _, key := range keys(head) {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %s", head.Account, key, head.Name, who))
		hash := hex.EncodeToString(sum[:16])
		if !d.seen[hash] {
			d.seen[hash] = true
			b.principals = append(b.principals, seenPrincipal{bus{head.Account, head.Region}, hash, stamp(head.Time)})
			fresh = append(fresh, key)
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
