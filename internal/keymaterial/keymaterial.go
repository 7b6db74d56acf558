// Package keymaterial is what the material of a key can do, and the format of
// the ciphertext it makes. One file holds one kind of key: symmetric.go is
// SYMMETRIC_DEFAULT.
//
// It promises that nothing is opened with a key, a material or an encryption
// context other than the ones it was sealed with, and that every reason to
// refuse looks the same from outside. docs/formats.md describes its formats to
// the byte; testdata/vectors.json proves them.
//
// It is pure: bytes in, bytes out, and random numbers from crypto/rand. It must
// not know of accounts, regions, permissions, storage, HTTP or time.
package keymaterial

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrInvalidCiphertext is the one answer to a ciphertext that cannot be opened:
// malformed, altered, of another key or material, or with another encryption
// context. It does not tell which.
var ErrInvalidCiphertext = errors.New("keymaterial: invalid ciphertext")

// materialIDLabel separates this use of HKDF from all others.
const materialIDLabel = "kagimori key material id v1\x00"

// MaterialID is the key material id of KMS: 64 lower-case hex digits, derived
// from the key id and the material with HKDF-SHA-256 (RFC 5869). The same bytes
// in another key have another id. The id tells nothing about random material,
// and whoever finds two materials with one id has found a collision of SHA-256.
func MaterialID(keyID string, material []byte) string {
	id, err := hkdf.Key(sha256.New, material, nil, materialIDLabel+keyID, sha256.Size)
	if err != nil {
		panic(err) // fips140=only and material shorter than any key: 14 bytes
	}
	return hex.EncodeToString(id)
}

// A key id is kept in binary as one byte for its form and the 16 bytes that its
// 32 hex digits stand for.
const (
	formUUID = 0 // 1234abcd-12ab-34cd-56ef-1234567890ab
	formMRK  = 1 // mrk-1234abcd12ab34cd56ef1234567890ab, multi-Region

	keyIDSize = 1 + 16
)

// parseKeyID is the binary form of a key id. Only the two canonical spellings
// are taken, so that binary and text forms stand one to one.
func parseKeyID(id string) ([keyIDSize]byte, error) {
	var b [keyIDSize]byte
	if len(id) == 36 {
		digits := id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]
		if id[:4] == "mrk-" {
			b[0], digits = formMRK, id[4:]
		}
		if _, err := hex.Decode(b[1:], []byte(digits)); err == nil && formatKeyID(b) == id {
			return b, nil
		}
	}
	return b, fmt.Errorf("keymaterial: key id %q is neither a lower-case UUID nor mrk- and 32 lower-case hex digits", id)
}

// formatKeyID is the text form of a key id.
func formatKeyID(b [keyIDSize]byte) string {
	var text [36]byte
	if b[0] == formMRK {
		copy(text[:], "mrk-")
		hex.Encode(text[4:], b[1:])
		return string(text[:])
	}
	hex.Encode(text[:8], b[1:5])
	hex.Encode(text[9:13], b[5:7])
	hex.Encode(text[14:18], b[7:9])
	hex.Encode(text[19:23], b[9:11])
	hex.Encode(text[24:], b[11:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
