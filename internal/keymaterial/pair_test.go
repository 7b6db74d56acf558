package keymaterial

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"testing"
)

// hashed is the digest that an algorithm signs.
func hashed(algorithm string, message []byte) []byte {
	switch {
	case algorithm == "SM2DSA":
		sum := sha256.Sum256(message) // of the right length, which is all that counts
		return sum[:]
	case algorithm == "ED25519_PH_SHA_512":
		sum := sha512.Sum512(message)
		return sum[:]
	}
	d, _, _ := digest(algorithm, Raw, message)
	return d
}

// TestPairs: what each spec makes can be loaded again, and does what its algorithms
// say, and nothing else's.
func TestPairs(t *testing.T) {
	message := []byte("a message")
	for _, s := range Specs {
		if !s.Asymmetric() {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			load := func() *KeyPair {
				material, err := s.Generate()
				if err != nil {
					t.Fatal(err)
				}
				k, err := NewKeyPair(s, material)
				if err != nil {
					t.Fatal(err)
				}
				again, err := NewKeyPair(s, material)
				if err != nil || !bytes.Equal(again.PublicKey(), k.PublicKey()) {
					t.Fatalf("loaded again: %v", err)
				}
				if text := fmt.Sprintf("%v %+v %s %x", k, k, k, k); bytes.Contains([]byte(text), material[len(material)-8:]) || len(text) > 400 {
					t.Errorf("it prints as %s", text)
				}
				for _, other := range Specs {
					if other.Asymmetric() && other != s {
						if _, err := NewKeyPair(other, material); err == nil {
							t.Errorf("the material is taken for that of %s", other.Name)
						}
					}
				}
				return k
			}
			k, stranger := load(), load()
			for _, a := range s.Signing {
				for _, kind := range []MessageType{Raw, Digest, ExternalMu} {
					in := message
					if kind == Digest {
						in = hashed(a, message)
					}
					if kind == ExternalMu {
						in = make([]byte, muSize)
					}
					sig, err := k.Sign(a, kind, in)
					if errors.Is(err, ErrMessageType) {
						if err := k.Verify(a, kind, in, []byte("x")); !errors.Is(err, ErrMessageType) {
							t.Errorf("%s %s cannot be signed, but verifying gives %v", a, kind, err)
						}
						continue
					}
					if err != nil {
						t.Errorf("%s %s: %v", a, kind, err)
						continue
					}
					if kind == ExternalMu {
						continue
					}
					if err := k.Verify(a, kind, in, sig); err != nil {
						t.Errorf("%s %s: %v", a, kind, err)
					}
					sig[len(sig)/2] ^= 1
					if err := k.Verify(a, kind, in, sig); !errors.Is(err, ErrInvalidSignature) {
						t.Errorf("%s %s, damaged: %v", a, kind, err)
					}
					sig[len(sig)/2] ^= 1
					if err := stranger.Verify(a, kind, in, sig); !errors.Is(err, ErrInvalidSignature) {
						t.Errorf("%s %s, another key: %v", a, kind, err)
					}
					if kind == Digest {
						if _, err := k.Sign(a, kind, in[1:]); !errors.Is(err, ErrDigestLength) {
							t.Errorf("%s with a short digest: %v", a, err)
						}
					}
				}
			}
			for _, a := range s.Encryption {
				c, err := k.Encrypt(a, message)
				if err != nil {
					t.Fatal(a, err)
				}
				if p, err := k.Decrypt(a, c); err != nil || !bytes.Equal(p, message) {
					t.Errorf("%s: %q %v", a, p, err)
				}
				c[len(c)-1] ^= 1
				if _, err := k.Decrypt(a, c); !errors.Is(err, ErrInvalidCiphertext) {
					t.Errorf("%s, damaged: %v", a, err)
				}
				var long TooLongError
				if _, err := k.Encrypt(a, make([]byte, 4096)); !errors.As(err, &long) {
					t.Errorf("%s, too long: %v", a, err)
				}
				if _, err := k.Encrypt(a, make([]byte, long.Max)); err != nil {
					t.Errorf("%s, as long as can be: %v", a, err)
				}
			}
			for _, a := range s.Agreement {
				one, err1 := k.SharedSecret(stranger.PublicKey())
				two, err2 := stranger.SharedSecret(k.PublicKey())
				if err1 != nil || err2 != nil || !bytes.Equal(one, two) || len(one) == 0 {
					t.Errorf("%s: %v %v", a, err1, err2)
				}
				if _, err := k.SharedSecret([]byte("no key")); !errors.Is(err, ErrPublicKey) {
					t.Errorf("%s with no key: %v", a, err)
				}
			}
			for range s.Encapsulation {
				secret, c, err := k.Encapsulate()
				if err != nil {
					t.Fatal(err)
				}
				if got, err := k.Decapsulate(c); err != nil || !bytes.Equal(got, secret) || len(secret) != 32 {
					t.Errorf("%v", err)
				}
				if got, err := stranger.Decapsulate(c); err != nil || bytes.Equal(got, secret) {
					t.Errorf("another key: %v", err)
				}
				if _, err := k.Decapsulate(c[1:]); !errors.Is(err, ErrInvalidCiphertext) {
					t.Errorf("a short ciphertext: %v", err)
				}
			}
		})
	}
}
