package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"strings"
	"sync"
)

// maxKeys bounds the cache of derived keys. There is one a day for each
// secret, region and service in use.
const maxKeys = 4096

// keyID is everything that a signing key is derived from. A cached key can
// therefore not be stale: with another secret it is another key.
type keyID struct{ secret, date, region, service string }

// signingKey signs the strings of one day, region and service.
type signingKey struct {
	// macs holds HMACs that are keyed already, which saves hashing the key for
	// every signature and all allocations.
	macs sync.Pool
}

// deriveKey is the key derivation of Signature Version 4.
func deriveKey(id keyID) *signingKey {
	key := []byte("AWS4" + id.secret)
	for _, s := range [...]string{id.date, id.region, id.service, terminator} {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		key = m.Sum(nil)
	}
	return &signingKey{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sign appends the signature of stringToSign to dst.
func (k *signingKey) sign(dst, stringToSign []byte) []byte {
	m := k.macs.Get().(hash.Hash)
	m.Write(stringToSign)
	dst = m.Sum(dst)
	m.Reset()
	k.macs.Put(m)
	return dst
}

// keyCache remembers signing keys, so that a request costs one HMAC and not
// five. It is safe for concurrent use.
type keyCache struct {
	mu   sync.RWMutex
	keys map[keyID]*signingKey
}

func (c *keyCache) get(id keyID) (*signingKey, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	key, ok := c.keys[id]
	return key, ok
}

// put remembers a key that has verified a signature. A full cache starts anew:
// keys are cheap to derive and those of past days are never used again.
func (c *keyCache) put(id keyID, key *signingKey) {
	// The parts of id share memory with the headers of a request.
	id = keyID{id.secret, strings.Clone(id.date), strings.Clone(id.region), strings.Clone(id.service)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil || len(c.keys) >= maxKeys {
		c.keys = make(map[keyID]*signingKey)
	}
	c.keys[id] = key
}
