package keymaterial

import (
	"encoding/binary"
	"errors"
	"slices"
)

// contextLabel starts the additional data of every ciphertext. It separates
// them from anything else that might ever be sealed with the same material.
const contextLabel = "kagimori ciphertext v1"

// MaxContext is the longest canonical form of an encryption context in bytes:
// the keys, the values and 8 bytes for each pair. KMS itself sets no limit; this
// one keeps the 32-bit lengths sound and is far above what a request can carry.
const MaxContext = 1 << 20

// ErrContextTooLong: an encryption context is longer than MaxContext.
var ErrContextTooLong = errors.New("keymaterial: encryption context is longer than 1 MiB; put the data into the plaintext or shorten it")

// appendContext appends the canonical form of an encryption context to dst: the
// pairs in the order of their keys' bytes, each as length and key, length and
// value, lengths as 32-bit big endian. Different contexts have different forms;
// an absent and an empty one have the same, which is empty.
func appendContext(dst []byte, context map[string]string) ([]byte, error) {
	var few [16]string // keeps usual contexts off the heap
	keys := few[:0]
	size := 0
	for k, v := range context {
		keys = append(keys, k)
		size += 8 + len(k) + len(v)
	}
	if size > MaxContext {
		return nil, ErrContextTooLong
	}
	slices.Sort(keys)
	dst = slices.Grow(dst, size)
	for _, k := range keys {
		dst = appendString(dst, k)
		dst = appendString(dst, context[k])
	}
	return dst, nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}
