package keymaterial

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
)

// Errors of key pairs.
var (
	// ErrInvalidSignature: the signature is not one of the message under the key.
	ErrInvalidSignature = errors.New("keymaterial: invalid signature")
	// ErrDigestLength: a digest has not the length of the algorithm's hash.
	ErrDigestLength = errors.New("keymaterial: digest is invalid length")
	// ErrMessageType: the algorithm does not take such a message.
	ErrMessageType = errors.New("keymaterial: message type is not valid for the algorithm")
	// ErrUnsupported: no module for the algorithm can do that.
	ErrUnsupported = errors.New("keymaterial: not supported")
	// ErrPublicKey: the peer's public key is not one of the key's curve.
	ErrPublicKey = errors.New("keymaterial: unusable public key")
)

// MessageType is what is given to be signed.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
type MessageType string

const (
	Raw        MessageType = "RAW"         // the message
	Digest     MessageType = "DIGEST"      // its digest
	ExternalMu MessageType = "EXTERNAL_MU" // the message representative of ML-DSA (FIPS 204, section 6.2)
)

// TooLongError: a plaintext is longer than the algorithm can encrypt.
type TooLongError struct{ Max int } // bytes

// Error tells the limit.
func (e TooLongError) Error() string {
	return fmt.Sprintf("keymaterial: plaintext is longer than %d bytes", e.Max)
}

// family makes key pairs of one spec and reads them.
type family interface {
	// generate makes a private key in PKCS #8.
	generate() ([]byte, error)
	// load reads a private key in PKCS #8.
	load(pkcs8 []byte) (private, error)
}

// private is a private key. A family of keys has some of the interfaces below.
type private interface {
	// public is the public key as SubjectPublicKeyInfo in DER (RFC 5280).
	public() ([]byte, error)
}

type signer interface {
	private
	sign(algorithm string, kind MessageType, message []byte) ([]byte, error)
	verify(algorithm string, kind MessageType, message, signature []byte) error
}

type encrypter interface {
	private
	encrypt(algorithm string, plaintext []byte) ([]byte, error)
	decrypt(algorithm string, ciphertext []byte) ([]byte, error)
}

type agreer interface {
	private
	agree(peer []byte) ([]byte, error)
}

type encapsulator interface {
	private
	encapsulate() (secret, ciphertext []byte, err error)
	decapsulate(ciphertext []byte) ([]byte, error)
}

// KeyPair is the material of an asymmetric key, ready to use. It is safe for
// concurrent use. Which algorithms it has, its Spec tells; to ask for others is an
// error of the caller's, and panics.
type KeyPair struct {
	private private
	public  []byte
}

// NewKeyPair makes material (PKCS #8 in DER) of a spec ready to use. It does not keep
// the slice: the caller zeroes it.
func NewKeyPair(s *Spec, material []byte) (*KeyPair, error) {
	p, err := s.family.load(material)
	if err != nil {
		return nil, errors.New("keymaterial: not the material of a " + s.Name + " key") // no part of it in the error
	}
	public, err := p.public()
	return &KeyPair{p, public}, err
}

// PublicKey is the public key as SubjectPublicKeyInfo in DER. It is not to be
// changed.
func (k *KeyPair) PublicKey() []byte { return k.public }

// Sign signs a message. Errors are ErrDigestLength and ErrMessageType.
func (k *KeyPair) Sign(algorithm string, kind MessageType, message []byte) ([]byte, error) {
	return k.private.(signer).sign(algorithm, kind, message)
}

// Verify checks a signature. Errors are ErrInvalidSignature, ErrDigestLength and
// ErrMessageType.
func (k *KeyPair) Verify(algorithm string, kind MessageType, message, signature []byte) error {
	return k.private.(signer).verify(algorithm, kind, message, signature)
}

// Encrypt encrypts with the public key. Its error is a TooLongError.
func (k *KeyPair) Encrypt(algorithm string, plaintext []byte) ([]byte, error) {
	return k.private.(encrypter).encrypt(algorithm, plaintext)
}

// Decrypt decrypts with the private key. Its error is ErrInvalidCiphertext.
func (k *KeyPair) Decrypt(algorithm string, ciphertext []byte) ([]byte, error) {
	plaintext, err := k.private.(encrypter).decrypt(algorithm, ciphertext)
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	return plaintext, nil
}

// SharedSecret is the x coordinate of the point that the private key and the public
// key of a peer (SubjectPublicKeyInfo in DER) agree on (NIST SP 800-56A, 5.7.1.2),
// with nothing derived from it yet. Its error is ErrPublicKey.
func (k *KeyPair) SharedSecret(peer []byte) ([]byte, error) {
	secret, err := k.private.(agreer).agree(peer)
	if err != nil {
		return nil, ErrPublicKey
	}
	return secret, nil
}

// Encapsulate makes a shared secret and its ciphertext for the key (FIPS 203).
func (k *KeyPair) Encapsulate() (secret, ciphertext []byte, err error) {
	return k.private.(encapsulator).encapsulate()
}

// Decapsulate is the shared secret of a ciphertext. One of the right length always
// has one (implicit rejection); else the error is ErrInvalidCiphertext.
func (k *KeyPair) Decapsulate(ciphertext []byte) ([]byte, error) {
	secret, err := k.private.(encapsulator).decapsulate(ciphertext)
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	return secret, nil
}

// Format prints no key, whatever the verb.
func (k *KeyPair) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "key pair material (%T)", k.private) }

// signingHashes are the hashes of the signing algorithms that sign a digest.
var signingHashes = map[string]crypto.Hash{
	"RSASSA_PKCS1_V1_5_SHA_256": crypto.SHA256, "RSASSA_PKCS1_V1_5_SHA_384": crypto.SHA384, "RSASSA_PKCS1_V1_5_SHA_512": crypto.SHA512,
	"RSASSA_PSS_SHA_256": crypto.SHA256, "RSASSA_PSS_SHA_384": crypto.SHA384, "RSASSA_PSS_SHA_512": crypto.SHA512,
	"ECDSA_SHA_256": crypto.SHA256, "ECDSA_SHA_384": crypto.SHA384, "ECDSA_SHA_512": crypto.SHA512,
}

// digest is what such an algorithm signs.
func digest(algorithm string, kind MessageType, message []byte) ([]byte, crypto.Hash, error) {
	h := signingHashes[algorithm]
	switch {
	case kind == Digest && len(message) != h.Size():
		return nil, h, ErrDigestLength
	case kind == Digest:
		return message, h, nil
	case kind != Raw:
		return nil, h, ErrMessageType
	}
	switch h {
	case crypto.SHA256:
		sum := sha256.Sum256(message)
		return sum[:], h, nil
	case crypto.SHA384:
		sum := sha512.Sum384(message)
		return sum[:], h, nil
	}
	sum := sha512.Sum512(message)
	return sum[:], h, nil
}
