package keymaterial

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"hash"
	"strings"
)

// rsaFamily is RSA with that many bits (RFC 8017).
type rsaFamily int

func (bits rsaFamily) generate() ([]byte, error) {
	k, err := rsa.GenerateKey(rand.Reader, int(bits))
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(k)
}

func (bits rsaFamily) load(pkcs8 []byte) (private, error) {
	k, err := parsePKCS8[*rsa.PrivateKey](pkcs8)
	if err == nil && k.N.BitLen() != int(bits) {
		err = errors.New("keymaterial: another size of modulus")
	}
	return rsaKey{k}, err
}

// parsePKCS8 reads a private key that the standard library knows.
func parsePKCS8[K any](pkcs8 []byte) (key K, err error) {
	any, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return key, err
	}
	key, ok := any.(K)
	if !ok {
		err = errors.New("keymaterial: another kind of key")
	}
	return key, err
}

type rsaKey struct{ *rsa.PrivateKey }

func (k rsaKey) public() ([]byte, error) { return x509.MarshalPKIXPublicKey(&k.PublicKey) }

func (k rsaKey) sign(algorithm string, kind MessageType, message []byte) ([]byte, error) {
	sum, h, err := digest(algorithm, kind, message)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(algorithm, "RSASSA_PSS") {
		return rsa.SignPSS(rand.Reader, k.PrivateKey, h, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	}
	return rsa.SignPKCS1v15(nil, k.PrivateKey, h, sum)
}

func (k rsaKey) verify(algorithm string, kind MessageType, message, signature []byte) error {
	sum, h, err := digest(algorithm, kind, message)
	if err != nil {
		return err
	}
	if strings.HasPrefix(algorithm, "RSASSA_PSS") {
		err = rsa.VerifyPSS(&k.PublicKey, h, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		err = rsa.VerifyPKCS1v15(&k.PublicKey, h, sum, signature)
	}
	if err != nil {
		return ErrInvalidSignature
	}
	return nil
}

// oaepHash is the hash of an RSAES_OAEP algorithm, of its label and its MGF1.
func oaepHash(algorithm string) hash.Hash {
	if algorithm == "RSAES_OAEP_SHA_1" {
		return sha1.New()
	}
	return sha256.New()
}

func (k rsaKey) encrypt(algorithm string, plaintext []byte) ([]byte, error) {
	h := oaepHash(algorithm)
	if limit := k.Size() - 2*h.Size() - 2; len(plaintext) > limit {
		return nil, TooLongError{limit}
	}
	return rsa.EncryptOAEP(h, rand.Reader, &k.PublicKey, plaintext, nil)
}

func (k rsaKey) decrypt(algorithm string, ciphertext []byte) ([]byte, error) {
	return rsa.DecryptOAEP(oaepHash(algorithm), nil, k.PrivateKey, ciphertext, nil)
}
