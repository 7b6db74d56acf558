package keymaterial

import (
	"crypto/sha256"
	"encoding/hex"
)

// The layout of a ciphertext blob, version 1:
//
//	version 1 | key id form 1 | key id 16 | material id 32 | nonce 24 | ciphertext n | tag 16
//
// The part before the nonce is the header. It names the material and is the
// same for all ciphertexts of one material.
const (
	version1   = 1
	headerSize = 1 + keyIDSize + sha256.Size
	nonceSize  = 24
	tagSize    = 16

	// Overhead is how many bytes longer a ciphertext is than its plaintext.
	Overhead = headerSize + nonceSize + tagSize

	// MaxPlaintext is the longest plaintext in bytes, the limit of KMS Encrypt.
	// https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html
	MaxPlaintext = 4096
)

// Blob is a ciphertext that has the right form. Whether it is genuine is known
// only once it has been decrypted: until then its ids are claims of whoever
// sent it.
type Blob struct{ raw []byte }

// ParseBlob checks the form of a ciphertext and gives access to the ids in its
// header. Anything but version 1 of exactly the right form is refused with
// ErrInvalidCiphertext. The Blob refers to b, which must not change meanwhile.
func ParseBlob(b []byte) (Blob, error) {
	if len(b) < Overhead || len(b) > Overhead+MaxPlaintext || b[0] != version1 || b[1] > formMRK {
		return Blob{}, ErrInvalidCiphertext
	}
	return Blob{b}, nil
}

// KeyID is the id of the key that the ciphertext names, a lower-case UUID or
// mrk- with 32 hex digits. It must not be called on the zero Blob.
func (b Blob) KeyID() string { return formatKeyID([keyIDSize]byte(b.raw[1:])) }

// MaterialID is the id of the key material that the ciphertext names, 64
// lower-case hex digits. It must not be called on the zero Blob.
func (b Blob) MaterialID() string {
	return hex.EncodeToString(b.raw[1+keyIDSize : headerSize])
}
