package keymaterial

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/sign/schemes"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	published "github.com/kagimori/kagimori/internal/vectors"
)

// This file has the published vectors that cannot be run through the API, since it
// does not import their keys; the others are in internal/kms.

// TestECDSAVectors verifies signatures of keys of which only the public half is known.
func TestECDSAVectors(t *testing.T) {
	for _, g := range published.Load(t, "testdata/vectors/ecdsa.json").Groups {
		var k signer
		if g.Spec == "ECC_SECG_P256K1" {
			var info publicKeyInfo
			must(asn1.Unmarshal(g.Public, &info))
			k = secp256k1Key{publicKey: must(secp256k1.ParsePubKey(info.PublicKey.Bytes))}
		} else {
			k = nistKey{&ecdsa.PrivateKey{PublicKey: *must(x509.ParsePKIXPublicKey(g.Public)).(*ecdsa.PublicKey)}}
		}
		for _, v := range g.Tests {
			if err := k.verify(v.Algorithm, Raw, v.In, v.Out); !answers(err, v, ErrInvalidSignature) {
				t.Errorf("%s: %v", v.Name, err)
			}
		}
	}
}

// answers tells whether the error of a vector is what it should be.
func answers(err error, v published.Test, invalid error) bool {
	if v.Result.Valid() {
		return err == nil
	}
	return errors.Is(err, invalid)
}

// loaded is the key of a group, whose public key it checks.
func loaded(t *testing.T, g published.Group) *KeyPair {
	t.Helper()
	k, err := NewKeyPair(SpecNamed(g.Spec), g.Material)
	if err != nil {
		t.Fatalf("%s: %v", g.Spec, err)
	}
	if len(g.Public) > 0 && !bytes.Equal(k.PublicKey(), g.Public) {
		t.Errorf("%s %s: public key %x", g.Spec, g.Name, k.PublicKey())
	}
	return k
}

// TestMLKEMVectors generates keys from seeds, and decapsulates.
func TestMLKEMVectors(t *testing.T) {
	for _, g := range published.Load(t, "testdata/vectors/ml_kem.json").Groups {
		k := loaded(t, g)
		for _, v := range g.Tests {
			secret, err := k.Decapsulate(v.In)
			if !answers(err, v, ErrInvalidCiphertext) || !bytes.Equal(secret, v.Out) {
				t.Errorf("%s: secret %x, %v", v.Name, secret, err)
			}
		}
	}
}

// TestMLDSAVectors generates keys from seeds, and verifies. What they sign, a second
// implementation verifies, and the other way round.
func TestMLDSAVectors(t *testing.T) {
	for _, g := range published.Load(t, "testdata/vectors/ml_dsa.json").Groups {
		k := loaded(t, g)
		for _, v := range g.Tests {
			if err := k.Verify(v.Algorithm, Raw, v.In, v.Out); !answers(err, v, ErrInvalidSignature) {
				t.Errorf("%s: %v", v.Name, err)
			}
		}
		const algorithm = "ML_DSA_SHAKE_256"
		message, scheme := []byte("a message"), schemes.ByName(strings.ReplaceAll(g.Spec, "_", "-"))
		public, private := scheme.DeriveKey(g.Material[len(g.Material)-scheme.SeedSize():])
		if err := k.Verify(algorithm, Raw, message, scheme.Sign(private, message, nil)); err != nil {
			t.Errorf("%s: the second implementation's signature: %v", g.Spec, err)
		}
		if !scheme.Verify(public, message, must(k.Sign(algorithm, Raw, message)), nil) {
			t.Errorf("%s: the second implementation does not verify", g.Spec)
		}
	}
}

// TestKWPVectors unwraps (RFC 5649) under AES keys that are wrapped for an RSA key.
func TestKWPVectors(t *testing.T) {
	const algorithm = "RSA_AES_KEY_WRAP_SHA_256"
	private := must(SpecNamed("RSA_2048").Generate())
	public := &must(parsePKCS8[*rsa.PrivateKey](private)).PublicKey
	for _, g := range published.Load(t, "testdata/vectors/kwp.json").Groups {
		head := must(rsa.EncryptOAEP(sha256.New(), rand.Reader, public, g.Material, nil))
		for _, v := range g.Tests {
			got, err := Unwrap(algorithm, private, slices.Concat(head, v.In))
			if !answers(err, v, ErrInvalidCiphertext) || !bytes.Equal(got, v.Out) {
				t.Errorf("%s: %x, %v", v.Name, got, err)
			}
		}
	}
}
