package seal

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/xaes"
)

// Keys is an unlocked root key. It is safe for concurrent use until Close, behind
// which any use but a further Close panics.
type Keys struct {
	root        *hidden // nil after Close
	fingerprint string
	slot        string
	store       *StoreKey
}

// hidden keeps a key from fmt, which does not call the Format method of what is in
// unexported members, but follows no more than one pointer in them.
type hidden struct{ key *[keySize]byte }

// Fingerprint is that of the root key.
func (k *Keys) Fingerprint() string { return k.fingerprint }

// Slot is the id of the slot that opened, empty for a root key just created.
func (k *Keys) Slot() string { return k.slot }

// StoreKey seals records. It is valid until Close.
func (k *Keys) StoreKey() *StoreKey { return k.store }

// Derive is the key of 32 bytes for one purpose, by HKDF-SHA256 of the root key.
// It is the same for the same root key and purpose, and independent of the keys
// of all other purposes. The caller zeroes it.
func (k *Keys) Derive(purpose string) []byte {
	return derive(k.rootKey(), labelPurpose+purpose, keySize)
}

// Close zeroes the root key and lets go of the store keys, which are gone when
// the garbage collector has reused their memory: expanded keys inside crypto/aes
// cannot be zeroed. Nothing may use the keys or the StoreKey any more.
func (k *Keys) Close() {
	if k.root == nil {
		return
	}
	secmem.Zero(k.root.key[:])
	k.root = nil
	*k.store = StoreKey{}
}

// rootKey panics rather than have a key of zeros used.
func (k *Keys) rootKey() []byte {
	if k.root == nil {
		panic("seal: keys were used after Close")
	}
	return k.root.key[:]
}

// Format prints the fingerprint only, whatever the verb: keys do not reach logs.
func (k Keys) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "seal.Keys(%s)", k.fingerprint) }

// StoreKey seals what is written to the store. It holds all store keys: the
// newest seals, and each opens what it has sealed. It is safe for concurrent use.
//
// Sealed data is
//
//	1, the version of this format     1 byte
//	id of the store key               4 bytes, big-endian
//	XAES-256-GCM                      nonce of 24 bytes, ciphertext, tag of 16 bytes
//
// with the first five bytes and the caller's binding as additional data. There is
// no practical limit to the number of messages.
type StoreKey struct {
	current uint32
	keys    map[uint32]*xaes.Key
}

const (
	sealedVersion    = 1
	sealedHeaderSize = 1 + 4
)

// SealedOverhead is by how many bytes sealed data is longer than its plaintext.
const SealedOverhead = sealedHeaderSize + xaes.Overhead

// add takes a key with an id higher than those before.
func (k *StoreKey) add(id uint32, key []byte) {
	if k.keys == nil {
		k.keys = make(map[uint32]*xaes.Key)
	}
	k.keys[id] = xaes.New(key)
	k.current = id
}

// Seal appends sealed plaintext to dst. Only Open with the same binding, the
// place where the data is kept, gives it back. dst must not overlap plaintext.
func (k *StoreKey) Seal(dst, plaintext, binding []byte) []byte {
	key := k.keys[k.current]
	if key == nil {
		panic("seal: keys were used after Close")
	}
	dst = slices.Grow(dst, SealedOverhead+len(plaintext))
	n := len(dst)
	dst = append(dst, sealedVersion)
	dst = binary.BigEndian.AppendUint32(dst, k.current)
	return key.Seal(dst, plaintext, additional(dst[n:], binding))
}

// Open appends what was sealed to dst. Its errors are ErrDamaged and ErrNewer.
// dst must not overlap sealed.
func (k *StoreKey) Open(dst, sealed, binding []byte) ([]byte, error) {
	if len(sealed) < SealedOverhead {
		return nil, &failure{ErrDamaged, fmt.Sprintf("sealed data is %d bytes, too short", len(sealed))}
	}
	header := sealed[:sealedHeaderSize]
	if header[0] != sealedVersion {
		return nil, &failure{ErrNewer, fmt.Sprintf("data is sealed in format %d and this program understands format %d", header[0], sealedVersion)}
	}
	id := binary.BigEndian.Uint32(header[1:])
	key := k.keys[id]
	if key == nil {
		return nil, &failure{ErrDamaged, fmt.Sprintf("data is sealed under store key %d, which this store does not have", id)}
	}
	plaintext, err := key.Open(dst, sealed[sealedHeaderSize:], additional(header, binding))
	if err != nil {
		return nil, &failure{ErrDamaged, "sealed data does not open: it was changed, or moved from another place or store"}
	}
	return plaintext, nil
}

// additional is unambiguous because all headers have the same size.
func additional(header, binding []byte) []byte { return slices.Concat(header, binding) }

// Format prints the current id only, whatever the verb: keys do not reach logs.
func (k StoreKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "seal.StoreKey(%d)", k.current) }
