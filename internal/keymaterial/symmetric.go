package keymaterial

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kagimori/kagimori/internal/xaes"
)

// SymmetricSize is the size of symmetric key material in bytes, an AES-256 key.
const SymmetricSize = 32

// ErrPlaintextTooLong: a plaintext is longer than MaxPlaintext.
var ErrPlaintextTooLong = fmt.Errorf("keymaterial: plaintext is longer than %d bytes; encrypt it with a data key", MaxPlaintext)

// GenerateSymmetric makes new random symmetric key material. The caller zeroes
// it when done.
func GenerateSymmetric() []byte {
	material := make([]byte, SymmetricSize)
	rand.Read(material) // never fails
	return material
}

// Symmetric is one material of a SYMMETRIC_DEFAULT key, ready to use. It is
// safe for concurrent use.
//
// It encrypts with XAES-256-GCM (https://c2sp.org/XAES-256-GCM): AES-256-GCM
// under a key derived for each message, with a 192-bit random nonce, so that the
// number of messages is without practical limit.
//
// The material lives on inside crypto/aes as an expanded key, which cannot be
// zeroed: it is gone when the garbage collector has reused its memory. The same
// holds for the key derived for each message.
type Symmetric struct {
	header [headerSize]byte
	key    *xaes.Key
}

// NewSymmetric makes material of SymmetricSize bytes ready to use. It refuses
// material that is not the one that materialID names, see MaterialID, and ids
// that are not in canonical form. It does not keep the slice: the caller zeroes it.
func NewSymmetric(keyID, materialID string, material []byte) (*Symmetric, error) {
	if len(material) != SymmetricSize {
		return nil, fmt.Errorf("keymaterial: symmetric key material is %d bytes, want %d", len(material), SymmetricSize)
	}
	id, err := parseKeyID(keyID)
	if err != nil {
		return nil, err
	}
	if MaterialID(keyID, material) != materialID {
		return nil, errors.New("keymaterial: the key material is not the one that its id names")
	}
	s := &Symmetric{key: xaes.New(material)}
	s.header[0] = version1
	copy(s.header[1:], id[:])
	hex.Decode(s.header[1+keyIDSize:], []byte(materialID)) // is hex: it equals MaterialID
	return s, nil
}

// Encrypt appends the ciphertext of plaintext to dst. The two must not overlap.
// Its errors are ErrPlaintextTooLong and ErrContextTooLong.
func (s *Symmetric) Encrypt(dst, plaintext []byte, context map[string]string) ([]byte, error) {
	if len(plaintext) > MaxPlaintext {
		return nil, ErrPlaintextTooLong
	}
	additional := scratch.Get().(*[]byte)
	defer release(additional)
	if err := s.setAdditionalData(additional, context); err != nil {
		return nil, err
	}
	dst = slices.Grow(dst, Overhead+len(plaintext))
	return s.key.Seal(append(dst, s.header[:]...), plaintext, *additional), nil
}

// Decrypt appends the plaintext of a ciphertext to dst. The two must not
// overlap. Its only error is ErrInvalidCiphertext.
func (s *Symmetric) Decrypt(dst []byte, blob Blob, context map[string]string) ([]byte, error) {
	// The material id is a collision-resistant hash of the material. Comparing it
	// before anything is opened makes the ciphertext commit to its material.
	if !bytes.HasPrefix(blob.raw, s.header[:]) {
		return nil, ErrInvalidCiphertext
	}
	additional := scratch.Get().(*[]byte)
	defer release(additional)
	if err := s.setAdditionalData(additional, context); err != nil {
		return nil, ErrInvalidCiphertext // nothing can have been sealed with it
	}
	plaintext, err := s.key.Open(dst, blob.raw[headerSize:], *additional)
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	return plaintext, nil
}

// Format prints the ids only, whatever the verb: keys do not reach logs.
func (s *Symmetric) Format(f fmt.State, _ rune) {
	b := Blob{s.header[:]}
	fmt.Fprintf(f, "symmetric material %s of key %s", b.MaterialID(), b.KeyID())
}

// scratch holds additional data for one call, to spare the garbage collector.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled bounds, in bytes, the additional data that goes back to scratch.
const maxPooled = 4096

func release(additional *[]byte) {
	if cap(*additional) <= maxPooled {
		scratch.Put(additional)
	}
}

// setAdditionalData puts together what is authenticated besides the plaintext:
// a label, the header and the encryption context.
func (s *Symmetric) setAdditionalData(b *[]byte, context map[string]string) (err error) {
	*b = append((*b)[:0], contextLabel...)
	*b = append(*b, s.header[:]...)
	*b, err = appendContext(*b, context)
	return err
}
