package events

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/kagimori/kagimori/internal/durable"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store"
)

// webhookTimeout is how long a webhook may take to answer.
const webhookTimeout = 10 * time.Second

// keyPlace has the private key that signs what webhooks are sent.
var keyPlace = store.Place{Kind: "webhook-key", ID: "current"}

// publicPrefix and signaturePrefix are those of Ed25519 keys and signatures in Standard
// Webhooks. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
const (
	publicPrefix    = "whpk_"
	signaturePrefix = "v1a,"
)

// loadKey loads the key, and makes it if webhooks are there for the first time.
func (s *Service) loadKey(ctx context.Context) error {
	if len(s.Targets.Webhooks) == 0 {
		return nil
	}
	var seed []byte
	err := s.Store.View(ctx, func(r store.Reader) error {
		rec, err := r.Get(keyPlace)
		seed = rec.Value
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		seed = make([]byte, ed25519.SeedSize)
		rand.Read(seed) // never fails
		err = s.Store.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Put(keyPlace, seed, 0)
			return err
		})
	}
	if err != nil {
		return err
	}
	if len(seed) != ed25519.SeedSize {
		return errors.New("the key of webhooks is not in the form of this version")
	}
	s.key = ed25519.NewKeyFromSeed(seed)
	secmem.Zero(seed)
	public := []byte(publicPrefix + base64.StdEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey)) + "\n")
	if known, err := os.ReadFile(s.WebhookKey); err == nil && bytes.Equal(known, public) {
		return nil
	}
	if err := durable.Replace(s.WebhookKey, public, 0o600); err != nil { // on a full disk it starts all the same
		s.Log.Error("the public key of webhooks cannot be written; the next start will", "error", err)
	}
	return nil
}

// send posts the input. It is signed as Standard Webhooks has it, so that the receiver knows
// whom it is from, and that it is no repetition of an old one.
func (w *Webhook) send(ctx context.Context, s *Service, a *attempt) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(a.input))
	if err != nil {
		return permanent{err}
	}
	for name, value := range w.Headers {
		r.Header.Set(name, value)
	}
	at := strconv.FormatInt(s.Clock.Now().Unix(), 10)
	signature := ed25519.Sign(s.key, fmt.Appendf(nil, "%s.%s.%s", a.id, at, a.input))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Kagimori")
	r.Header.Set("Webhook-Id", a.id)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", signaturePrefix+base64.StdEncoding.EncodeToString(signature))
	answer, err := w.client.Do(r)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) { // without the URL, which may be a secret
			err = e.Err
		}
		return hidden{"the webhook cannot be reached, or does not answer in time", err}
	}
	defer answer.Body.Close()
	io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestTimeout, code == http.StatusConflict, code == http.StatusTooManyRequests, code >= 500:
		return fmt.Errorf("the webhook answers %d", code)
	default:
		return permanent{fmt.Errorf("the webhook answers %d", code)}
	}
}
