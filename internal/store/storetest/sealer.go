// Package storetest is the proof of package store's contract. Every backend
// runs it; what it asks for is all that users of a store may rely on.
package storetest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"

	"github.com/kagimori/kagimori/internal/store"
)

// NewSealer is AES-256-GCM under a random key, for tests.
func NewSealer() store.Sealer {
	key := make([]byte, 32)
	rand.Read(key)
	return SealerOf(key)
}

// SealerOf is AES-256-GCM under a key of 32 bytes, for tests.
func SealerOf(key []byte) store.Sealer {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return sealer{aead}
}

type sealer struct{ aead cipher.AEAD }

func (s sealer) Seal(dst, plaintext, binding []byte) []byte {
	return s.aead.Seal(dst, nil, plaintext, binding)
}

func (s sealer) Open(dst, sealed, binding []byte) ([]byte, error) {
	return s.aead.Open(dst, nil, sealed, binding)
}
