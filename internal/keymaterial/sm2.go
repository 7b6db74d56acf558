package keymaterial

import (
	"crypto/ecdsa"
	"crypto/rand"
	"errors"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// sm2Family is SM2 (GB/T 32918). It is outside the FIPS boundary.
type sm2Family struct{}

const (
	maxSM2Plaintext = 1024 // bytes
	sm3Size         = 32
)

func (sm2Family) generate() ([]byte, error) {
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return smx509.MarshalPKCS8PrivateKey(k)
}

func (sm2Family) load(pkcs8 []byte) (private, error) {
	any, err := smx509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, err
	}
	k, ok := any.(*sm2.PrivateKey)
	if !ok {
		return nil, errors.New("keymaterial: another kind of key")
	}
	return sm2Key{k}, nil
}

type sm2Key struct{ *sm2.PrivateKey }

func (k sm2Key) pkcs8() ([]byte, error) { return smx509.MarshalPKCS8PrivateKey(k.PrivateKey) }

func (k sm2Key) public() ([]byte, error) { return smx509.MarshalPKIXPublicKey(&k.PublicKey) }

func (k sm2Key) sign(_ string, kind MessageType, message []byte) ([]byte, error) {
	switch {
	case kind == Raw: // with the distinguishing id 1234567812345678
		return sm2.SignASN1(rand.Reader, k.PrivateKey, message, sm2.NewSM2SignerOption(true, nil))
	case kind != Digest:
		return nil, ErrMessageType
	case len(message) != sm3Size:
		return nil, ErrDigestLength
	}
	return sm2.SignASN1(rand.Reader, k.PrivateKey, message, nil)
}

func (k sm2Key) verify(_ string, kind MessageType, message, signature []byte) error {
	valid := false
	switch {
	case kind == Raw:
		valid = sm2.VerifyASN1WithSM2(&k.PublicKey, nil, message, signature)
	case kind != Digest:
		return ErrMessageType
	case len(message) != sm3Size:
		return ErrDigestLength
	default:
		valid = sm2.VerifyASN1(&k.PublicKey, message, signature)
	}
	if !valid {
		return ErrInvalidSignature
	}
	return nil
}

func (k sm2Key) encrypt(_ string, plaintext []byte) ([]byte, error) {
	if len(plaintext) > maxSM2Plaintext {
		return nil, TooLongError{maxSM2Plaintext}
	}
	return sm2.EncryptASN1(rand.Reader, &k.PublicKey, plaintext)
}

func (k sm2Key) decrypt(_ string, ciphertext []byte) ([]byte, error) {
	return sm2.Decrypt(k.PrivateKey, ciphertext)
}

func (k sm2Key) agree(peer []byte) ([]byte, error) {
	any, err := smx509.ParsePKIXPublicKey(peer)
	if err != nil {
		return nil, err
	}
	other, ok := any.(*ecdsa.PublicKey)
	if !ok {
		return nil, ErrPublicKey
	}
	theirs, err := sm2.PublicKeyToECDH(other)
	if err != nil {
		return nil, err
	}
	own, err := k.ECDH()
	if err != nil {
		return nil, err
	}
	return own.ECDH(theirs)
}
