package keymaterial

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"hash"
	"slices"
	"strings"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
	"github.com/tink-crypto/tink-go/v2/kwp/subtle"
)

// The longest HMAC key that can be imported, in bytes.
const maxHMACKey = 128

// Wrapping are the algorithms under which material of the spec can be imported; none
// if it cannot be.
// https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-get-public-key-and-token.html
func (s *Spec) Wrapping() []string {
	oaep := []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"}
	both := []string{"RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"}
	switch s.family.(type) {
	case nil:
		return oaep
	case rsaFamily:
		return both
	case nistFamily, secp256k1Family, ed25519Family:
		return append(oaep, both...)
	case sm2Family:
		return []string{"SM2PKE"}
	}
	return nil
}

// Unwrap opens material that was wrapped for a private key (PKCS #8 in DER): with
// RSAES_OAEP (RFC 8017) or SM2PKE directly, with RSA_AES_KEY_WRAP under an AES key
// (RFC 5649) that is wrapped with RSAES_OAEP and stands before it. The caller zeroes
// the material. Its error is ErrInvalidCiphertext.
func Unwrap(algorithm string, private, wrapped []byte) ([]byte, error) {
	material, err := unwrap(algorithm, private, wrapped)
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	return material, nil
}

func unwrap(algorithm string, private, wrapped []byte) ([]byte, error) {
	if algorithm == "SM2PKE" {
		k, err := sm2Family{}.load(private)
		if err != nil {
			return nil, err
		}
		return k.(encrypter).decrypt(algorithm, wrapped)
	}
	key, err := parsePKCS8[*rsa.PrivateKey](private)
	if err != nil {
		return nil, err
	}
	hash := wrappingHash(algorithm)
	if !wrapsAESKey(algorithm) {
		return rsa.DecryptOAEP(hash, nil, key, wrapped, nil)
	}
	if len(wrapped) <= key.Size() {
		return nil, errors.New("keymaterial: there is no wrapped key behind the AES key")
	}
	aesKey, err := rsa.DecryptOAEP(hash, nil, key, wrapped[:key.Size()], nil)
	if err != nil {
		return nil, err
	}
	defer clear(aesKey)
	kwp, err := subtle.NewKWP(aesKey)
	if err != nil {
		return nil, err
	}
	return kwp.Unwrap(wrapped[key.Size():])
}

// ErrWrappingKey: bytes are not a public key for the wrapping algorithm.
var ErrWrappingKey = errors.New("keymaterial: not a public key for the wrapping algorithm")

// ErrTooLong: RSAES_OAEP takes no material of that length with that key.
var ErrTooLong = errors.New("keymaterial: the material is too long for RSAES_OAEP with this key")

// Wrap is the inverse of Unwrap, for a public key (SubjectPublicKeyInfo in DER). Its
// errors are ErrWrappingKey and ErrTooLong.
func Wrap(algorithm string, public, material []byte) ([]byte, error) {
	key, err := smx509.ParsePKIXPublicKey(public)
	if err != nil {
		return nil, ErrWrappingKey
	}
	if algorithm == "SM2PKE" {
		k, ok := key.(*ecdsa.PublicKey)
		if !ok || !sm2.IsSM2PublicKey(k) {
			return nil, ErrWrappingKey
		}
		return sm2.EncryptASN1(rand.Reader, k, material)
	}
	k, ok := key.(*rsa.PublicKey)
	// A shorter key would give away what it wraps.
	if !ok || !slices.Contains([]int{2048, 3072, 4096}, k.N.BitLen()) {
		return nil, ErrWrappingKey
	}
	oaep := func(plain []byte) ([]byte, error) {
		out, err := rsa.EncryptOAEP(wrappingHash(algorithm), rand.Reader, k, plain, nil)
		if errors.Is(err, rsa.ErrMessageTooLong) {
			err = ErrTooLong
		}
		return out, err
	}
	if !wrapsAESKey(algorithm) {
		return oaep(material)
	}
	aesKey := make([]byte, 32)
	defer clear(aesKey)
	rand.Read(aesKey)
	kwp, err := subtle.NewKWP(aesKey)
	if err != nil {
		return nil, err
	}
	head, err := oaep(aesKey)
	if err != nil {
		return nil, err
	}
	tail, err := kwp.Wrap(material)
	return append(head, tail...), err
}

// wrappingHash is the hash of the RSAES_OAEP in the algorithm.
func wrappingHash(algorithm string) hash.Hash {
	return oaepHash("RSAES_OAEP" + algorithm[strings.Index(algorithm, "_SHA_"):])
}

func wrapsAESKey(algorithm string) bool { return strings.HasPrefix(algorithm, "RSA_AES_KEY_WRAP") }

// ErrMaterial: bytes are not the material of a key of the spec.
var ErrMaterial = errors.New("keymaterial: not material of the key spec")

// Import checks material that is imported, and gives it in the form in which Generate
// makes it, so that the same key always has the same bytes. The caller zeroes both.
func (s *Spec) Import(material []byte) ([]byte, error) {
	switch {
	case s.size != 0 && (len(material) < s.size || len(material) > maxHMACKey), s.family == nil && s.size == 0 && len(material) != SymmetricSize:
		return nil, ErrMaterial
	case s.family == nil:
		return slices.Clone(material), nil
	}
	p, err := s.family.load(material)
	if err != nil {
		return nil, ErrMaterial
	}
	switch k := p.(type) {
	case rsaKey:
		if k.Validate() != nil {
			return nil, ErrMaterial
		}
		return x509.MarshalPKCS8PrivateKey(k.PrivateKey)
	case nistKey:
		return x509.MarshalPKCS8PrivateKey(k.PrivateKey)
	case interface{ pkcs8() ([]byte, error) }:
		return k.pkcs8()
	}
	return nil, ErrMaterial
}
