// Package xaes is XAES-256-GCM, the extended-nonce AEAD of
// https://c2sp.org/XAES-256-GCM, with random nonces: AES-256-GCM under a key
// derived for each message, good for a practically unlimited number of messages
// under one key.
//
// It is the few lines of the specification over crypto/aes and crypto/cipher,
// nothing of its own. Nonces cannot be chosen, which makes every call one that
// Go's FIPS 140-3 module approves: it works with GODEBUG=fips140=only too.
package xaes

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kagimori/kagimori/internal/secmem"
)

const (
	// KeySize is the size of a key in bytes.
	KeySize = 32
	// Overhead is by how many bytes a sealed message is longer than its
	// plaintext: a nonce of 24 bytes before it and a tag of 16 behind it.
	Overhead = 24 + 16

	// kdfNonceSize is the part of the nonce that the key of a message is derived
	// from. The rest is the nonce of AES-256-GCM.
	kdfNonceSize = 12
)

// ErrOpen is the only error of Open. It does not say what was wrong.
var ErrOpen = errors.New("xaes: message authentication failed")

// Key is a key ready to use. It is safe for concurrent use.
//
// It lives on inside crypto/aes as an expanded key, which cannot be zeroed: it is
// gone when the garbage collector has reused its memory.
type Key struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // CMAC subkey, the constant part of deriving keys
}

// New makes a key of KeySize bytes ready to use. It does not keep the slice.
// A key of another size is a programming error and panics.
func New(key []byte) *Key {
	if len(key) != KeySize {
		panic("xaes: wrong key size")
	}
	k := &Key{block: newBlock(key)}
	// K1 of NIST SP 800-38B, section 6.1: the encrypted zero block doubled in
	// GF(2¹²⁸), without a branch on secret bits.
	k.block.Encrypt(k.k1[:], k.k1[:])
	var carry byte
	for i, b := range slices.Backward(k.k1[:]) {
		k.k1[i], carry = b<<1|carry, b>>7
	}
	k.k1[len(k.k1)-1] ^= carry * 0b10000111
	return k
}

// Format prints no part of the key, whatever the verb.
func (k *Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "xaes.Key(redacted)") }

// Seal appends nonce, ciphertext and tag of plaintext to dst, authenticating
// additional with it. dst must not overlap plaintext or additional.
func (k *Key) Seal(dst, plaintext, additional []byte) []byte {
	dst = slices.Grow(dst, Overhead+len(plaintext))
	n := len(dst)
	dst = dst[:n+kdfNonceSize]
	rand.Read(dst[n:]) // never fails
	// The AEAD makes the other half of the nonce and writes it before the ciphertext.
	return k.message(dst[n:]).Seal(dst, nil, plaintext, additional)
}

// Open appends the plaintext of what Seal made with the same additional data to
// dst. dst must not overlap sealed or additional.
func (k *Key) Open(dst, sealed, additional []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrOpen
	}
	plaintext, err := k.message(sealed).Open(dst, nil, sealed[kdfNonceSize:], additional)
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}

// message is AES-256-GCM under the key for the message whose nonce starts nonce.
func (k *Key) message(nonce []byte) cipher.AEAD {
	w := workspaces.Get().(*workspace)
	defer w.release()
	k.derive(w, nonce)
	aead, err := cipher.NewGCMWithRandomNonce(newBlock(w.key[:]))
	if err != nil {
		panic(err) // the block is of crypto/aes
	}
	return aead
}

// workspace is what deriving the key of a message needs. Arguments of interface
// methods escape to the heap; pooling them spares the garbage collector.
type workspace struct {
	block [aes.BlockSize]byte
	key   [KeySize]byte
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

func (w *workspace) release() {
	secmem.Zero(w.key[:])
	workspaces.Put(w)
}

// derive is NIST SP 800-108r1 in counter mode with CMAC-AES256, the label X and
// a counter of 16 bits. The input is one block, so CMAC is one AES call.
func (k *Key) derive(w *workspace, nonce []byte) {
	for i := range 2 {
		w.block = [aes.BlockSize]byte{0, byte(i + 1), 'X', 0}
		copy(w.block[4:], nonce[:kdfNonceSize])
		subtle.XORBytes(w.block[:], w.block[:], k.k1[:])
		k.block.Encrypt(w.key[i*aes.BlockSize:], w.block[:])
	}
}

func newBlock(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key is 32 bytes
	}
	return block
}
