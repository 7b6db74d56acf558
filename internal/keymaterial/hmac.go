package keymaterial

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
)

// HMAC is the material of an HMAC key, ready to use. It is safe for concurrent use.
type HMAC struct {
	hash func() hash.Hash
	key  []byte
}

// macHashes are the hashes of the MAC algorithms.
var macHashes = map[string]func() hash.Hash{
	"HMAC_SHA_224": sha256.New224, "HMAC_SHA_256": sha256.New, "HMAC_SHA_384": sha512.New384, "HMAC_SHA_512": sha512.New,
}

// NewHMAC makes material ready to use. It keeps a copy.
func NewHMAC(s *Spec, material []byte) (*HMAC, error) {
	if s.size == 0 || len(material) < s.size {
		return nil, errors.New("keymaterial: not the material of an HMAC key")
	}
	return &HMAC{macHashes[s.MAC[0]], append([]byte(nil), material...)}, nil
}

// Sum is the MAC of a message (FIPS 198-1).
func (h *HMAC) Sum(message []byte) []byte {
	m := hmac.New(h.hash, h.key)
	m.Write(message)
	return m.Sum(nil)
}

// Verify tells whether mac is the MAC of a message.
func (h *HMAC) Verify(message, mac []byte) bool { return hmac.Equal(h.Sum(message), mac) }

// Format prints no key, whatever the verb.
func (h *HMAC) Format(f fmt.State, _ rune) { fmt.Fprint(f, "HMAC key material") }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
