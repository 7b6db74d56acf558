package xaes

import (
	"bytes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/sha3"
	"encoding/hex"
	"testing"
)

// sealWith seals with a chosen nonce, which the package itself never does.
func sealWith(k *Key, nonce, plaintext, additional []byte) []byte {
	aead, err := cipher.NewGCM(newBlock(derived(k, nonce)))
	if err != nil {
		panic(err)
	}
	return aead.Seal(bytes.Clone(nonce), nonce[kdfNonceSize:], plaintext, additional)
}

func derived(k *Key, nonce []byte) []byte {
	var w workspace
	k.derive(&w, nonce)
	return w.key[:]
}

// TestVectors are those of https://c2sp.org/XAES-256-GCM.
func TestVectors(t *testing.T) {
	const nonce = "ABCDEFGHIJKLMNOPQRSTUVWX"
	for _, v := range []struct {
		key                      byte
		derived, additional, out string
	}{
		{1, "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b", "",
			"ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8", "c2sp.org/XAES-256-GCM",
			"986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		k := New(bytes.Repeat([]byte{v.key}, KeySize))
		if got := hex.EncodeToString(derived(k, []byte(nonce))); got != v.derived {
			t.Errorf("derived key %s, want %s", got, v.derived)
		}
		sealed, _ := hex.DecodeString(v.out)
		got, err := k.Open([]byte("> "), append([]byte(nonce), sealed...), []byte(v.additional))
		if err != nil || string(got) != "> XAES-256-GCM" {
			t.Errorf("Open: %q, %v", got, err)
		}
	}
}

// TestAccumulated is the randomized test of the specification.
func TestAccumulated(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("nonces cannot be chosen with GODEBUG=fips140=only")
	}
	rng, hash := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	read := func(n int) []byte {
		b := make([]byte, n)
		rng.Read(b)
		return b
	}
	for range 10_000 {
		k, nonce := New(read(KeySize)), read(24)
		plaintext := read(int(read(1)[0]))
		additional := read(int(read(1)[0]))
		sealed := sealWith(k, nonce, plaintext, additional)
		hash.Write(sealed[len(nonce):])
		got, err := k.Open(nil, sealed, additional)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("Open: %x, %v", got, err)
		}
	}
	sum := make([]byte, 32)
	hash.Read(sum)
	if got, want := hex.EncodeToString(sum), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSealOpen(t *testing.T) {
	k := New(make([]byte, KeySize))
	plaintext, additional := []byte("plaintext"), []byte("additional")
	sealed := k.Seal(nil, plaintext, additional)
	if len(sealed) != len(plaintext)+Overhead {
		t.Errorf("%d bytes for %d", len(sealed), len(plaintext))
	}
	if bytes.Equal(sealed[:24], k.Seal(nil, plaintext, additional)[:24]) {
		t.Error("a nonce was used twice")
	}
	if got, err := k.Open(nil, sealed, additional); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("Open: %q, %v", got, err)
	}
	if _, err := k.Open(nil, sealed, []byte("Additional")); err != ErrOpen {
		t.Errorf("other additional data: %v", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := k.Open(nil, changed, additional); err != ErrOpen {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := k.Open(nil, sealed[:i], additional); err != ErrOpen {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	k := New(make([]byte, KeySize))
	plaintext, additional, dst := make([]byte, 512), make([]byte, 64), make([]byte, 0, 1024)
	b.SetBytes(int64(len(plaintext)))
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(dst, plaintext, additional)
	}
}
