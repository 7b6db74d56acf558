package keymaterial

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	block  cipher.Block
	k1     [aes.BlockSize]byte // CMAC subkey, the constant part of deriving keys
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
	block, err := aes.NewCipher(material)
	if err != nil {
		return nil, err
	}
	s := &Symmetric{block: block, k1: cmacSubkey(block)}
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
	w := workspaces.Get().(*workspace)
	defer w.release()
	if err := w.setAdditionalData(&s.header, context); err != nil {
		return nil, err
	}
	dst = slices.Grow(dst, Overhead+len(plaintext))
	dst = append(dst, s.header[:]...)
	n := len(dst)
	dst = dst[:n+kdfNonceSize]
	rand.Read(dst[n:]) // never fails
	// Seal writes the other half of the nonce, which it makes by itself.
	return s.messageAEAD(w, dst[n:]).Seal(dst, nil, plaintext, w.additional), nil
}

// Decrypt appends the plaintext of a ciphertext to dst. The two must not
// overlap. Its only error is ErrInvalidCiphertext.
func (s *Symmetric) Decrypt(dst []byte, blob Blob, context map[string]string) ([]byte, error) {
	// The material id is a collision-resistant hash of the material. Comparing it
	// before anything is opened makes the ciphertext commit to its material.
	if !bytes.HasPrefix(blob.raw, s.header[:]) {
		return nil, ErrInvalidCiphertext
	}
	w := workspaces.Get().(*workspace)
	defer w.release()
	if err := w.setAdditionalData(&s.header, context); err != nil {
		return nil, ErrInvalidCiphertext // nothing can have been sealed with it
	}
	sealed := blob.raw[headerSize:]
	plaintext, err := s.messageAEAD(w, sealed).Open(dst, nil, sealed[kdfNonceSize:], w.additional)
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

// workspace is what one call needs besides its result. Arguments of interface
// methods escape to the heap; pooling them spares the garbage collector.
type workspace struct {
	additional []byte
	block      [aes.BlockSize]byte
	key        [2 * aes.BlockSize]byte
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// maxPooled bounds, in bytes, the additional data that a pooled workspace keeps.
const maxPooled = 4096

func (w *workspace) release() {
	*w = workspace{additional: w.additional} // zeroes the key
	if cap(w.additional) <= maxPooled {
		workspaces.Put(w)
	}
}

// setAdditionalData puts together what is authenticated besides the plaintext:
// a label, the header and the encryption context.
func (w *workspace) setAdditionalData(header *[headerSize]byte, context map[string]string) (err error) {
	w.additional = append(w.additional[:0], contextLabel...)
	w.additional = append(w.additional, header[:]...)
	w.additional, err = appendContext(w.additional, context)
	return err
}

// kdfNonceSize is the part of the XAES-256-GCM nonce that the key of a message is
// derived from. The rest is the nonce of AES-256-GCM.
const kdfNonceSize = 12

// messageAEAD is AES-256-GCM under the key of one message, derived as XAES-256-GCM
// says from the start of its nonce. The AEAD makes, writes and reads the rest of
// the nonce, right before the ciphertext, so that no nonce is ever handed in from
// outside: the only GCM that applications may use with GODEBUG=fips140=only.
func (s *Symmetric) messageAEAD(w *workspace, nonce []byte) cipher.AEAD {
	// SP 800-108 in counter mode with CMAC, label X, the counter i in 16 bits. One
	// block is all there is to authenticate, so CMAC is one AES call.
	for i := range 2 {
		w.block = [aes.BlockSize]byte{0, byte(i + 1), 'X', 0}
		copy(w.block[4:], nonce[:kdfNonceSize])
		subtle.XORBytes(w.block[:], w.block[:], s.k1[:])
		s.block.Encrypt(w.key[i*aes.BlockSize:], w.block[:])
	}
	block, err := aes.NewCipher(w.key[:])
	if err != nil {
		panic(err) // the key is 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the block is of crypto/aes
	}
	return aead
}

// cmacSubkey is K1 of NIST SP 800-38B, section 6.1: the encrypted zero block
// doubled in GF(2¹²⁸).
func cmacSubkey(block cipher.Block) (k1 [aes.BlockSize]byte) {
	block.Encrypt(k1[:], k1[:])
	var carry byte
	for i := len(k1) - 1; i >= 0; i-- {
		k1[i], carry = k1[i]<<1|carry, k1[i]>>7
	}
	k1[len(k1)-1] ^= carry * 0b10000111
	return k1
}
