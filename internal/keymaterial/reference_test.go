package keymaterial

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/xaes"
)

// This file is the format a second time, written down from docs/formats.md and
// https://c2sp.org/XAES-256-GCM in the plainest way and sharing nothing with the
// package: it can seal with a given nonce, which the package cannot.

// xaesSeal is XAES-256-GCM.
func xaesSeal(key, nonce, plaintext, additional []byte) []byte {
	return must(gcm(xaesKey(key, nonce))).Seal(nil, nonce[12:], plaintext, additional)
}

func xaesKey(key, nonce []byte) []byte {
	block := must(aes.NewCipher(key))
	k1 := make([]byte, 16)
	block.Encrypt(k1, k1)
	hi, lo := binary.BigEndian.Uint64(k1), binary.BigEndian.Uint64(k1[8:])
	binary.BigEndian.PutUint64(k1, hi<<1|lo>>63)
	binary.BigEndian.PutUint64(k1[8:], lo<<1)
	if hi>>63 == 1 {
		k1[15] ^= 0b10000111
	}
	derived := make([]byte, 32)
	for i := range 2 {
		m := append([]byte{0, byte(i) + 1, 0x58, 0}, nonce[:12]...)
		for j := range m {
			m[j] ^= k1[j]
		}
		block.Encrypt(derived[16*i:], m)
	}
	return derived
}

// gcm takes nonces from outside, which strict FIPS mode refuses everyone but a test.
func gcm(key []byte) (aead cipher.AEAD, err error) {
	fips140.WithoutEnforcement(func() {
		aead, err = cipher.NewGCM(must(aes.NewCipher(key)))
	})
	return aead, err
}

func referenceMaterialID(keyID string, material []byte) []byte {
	return must(hkdf.Key(sha256.New, material, nil, "kagimori key material id v1\x00"+keyID, 32))
}

// referenceHeader is the first 50 bytes of a ciphertext.
func referenceHeader(keyID string, materialID []byte) []byte {
	header := []byte{1, 0}
	digits := strings.ReplaceAll(keyID, "-", "")
	if strings.HasPrefix(keyID, "mrk-") {
		header[1] = 1
		digits = keyID[4:]
	}
	header = append(header, must(hex.DecodeString(digits))...)
	return append(header, materialID...)
}

func referenceAdditional(header []byte, context map[string]string) []byte {
	var keys []string
	for k := range context {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return bytes.Compare([]byte(a), []byte(b)) })
	additional := append([]byte("kagimori ciphertext v1"), header...)
	for _, k := range keys {
		for _, s := range []string{k, context[k]} {
			n := len(s)
			additional = append(additional, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
			additional = append(additional, s...)
		}
	}
	return additional
}

func referenceSeal(keyID string, material, nonce, plaintext []byte, context map[string]string) []byte {
	header := referenceHeader(keyID, referenceMaterialID(keyID, material))
	return assemble(header, nonce, xaesSeal(material, nonce, plaintext, referenceAdditional(header, context)))
}

func assemble(header, nonce, sealed []byte) []byte {
	return slices.Concat(header, nonce, sealed)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestXAESVectors holds the reference, and the package behind Symmetric, to the
// vectors of https://c2sp.org/XAES-256-GCM.
func TestXAESVectors(t *testing.T) {
	nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
	for _, v := range []struct {
		key               byte
		kx, aad, ciphered string
	}{
		{ // the most significant bit of L is 0
			1,
			"c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b",
			"",
			"ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
		},
		{ // and here 1
			3,
			"e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8",
			"c2sp.org/XAES-256-GCM",
			"986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
		},
	} {
		key := bytes.Repeat([]byte{v.key}, 32)
		if got := hex.EncodeToString(xaesKey(key, nonce)); got != v.kx {
			t.Errorf("derived key of key %d is %s, want %s", v.key, got, v.kx)
		}
		sealed := must(hex.DecodeString(v.ciphered))
		plaintext, err := xaes.New(key).Open(nil, slices.Concat(nonce, sealed), []byte(v.aad))
		if err != nil || string(plaintext) != "XAES-256-GCM" {
			t.Errorf("key %d opens to %q, %v", v.key, plaintext, err)
		}
		if got := xaesSeal(key, nonce, plaintext, []byte(v.aad)); !bytes.Equal(got, sealed) {
			t.Errorf("reference of key %d seals to %x, want %s", v.key, got, v.ciphered)
		}
	}
}
