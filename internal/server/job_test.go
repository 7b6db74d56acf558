package server

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/store"
)

// TestBrokenKey: a key that is due and cannot be deleted, since its material is
// not in the store any more, keeps neither other keys nor the rest of the
// background work waiting.
func TestBrokenKey(t *testing.T) {
	h := start(t)
	ctx := context.Background()
	broken, _ := h.newKey()
	whole, _ := h.newKey()
	used, _ := h.newKey()
	h.must(h.data.Store.Update(ctx, func(tx store.Tx) error {
		var materials []store.Record
		err := tx.Scan("material", testAccount, testRegion, broken, 0, func(rec store.Record) error {
			if strings.HasPrefix(rec.ID, broken+"/") {
				materials = append(materials, rec)
			}
			return nil
		})
		for _, rec := range materials {
			h.must(tx.Delete(rec.Place, rec.Revision))
		}
		return err
	}))
	for _, id := range []string{broken, whole} {
		h.call("ScheduleKeyDeletion", `{"KeyId":"`+id+`","PendingWindowInDays":7}`, nil)
	}
	h.clock.Advance(8 * 24 * time.Hour)
	h.call("Encrypt", `{"KeyId":"`+used+`","Plaintext":"aGVsbG8="}`, nil)
	h.eventually("the background work", func() bool {
		h.clock.Advance(time.Minute)
		var keys, outbox, uses int
		h.must(h.data.Store.View(ctx, func(r store.Reader) (err error) {
			for _, n := range []struct {
				kind, account, region string
				n                     *int
			}{{"key", testAccount, testRegion, &keys}, {"outbox", "", "", &outbox}, {"usage", testAccount, testRegion, &uses}} {
				if *n.n, err = r.Count(n.kind, n.account, n.region); err != nil {
					return err
				}
			}
			return nil
		}))
		return keys == 2 && outbox == 0 && uses == 1
	})
	// The job tells when its round is over.
	h.eventually("the log to name the key that cannot be deleted", func() bool { return strings.Contains(h.log.String(), broken) })
}
