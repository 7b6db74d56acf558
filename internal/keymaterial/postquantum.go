package keymaterial

import (
	"crypto/mlkem"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/cloudflare/circl/kem"
	circl512 "github.com/cloudflare/circl/kem/mlkem/mlkem512"
)

// mldsaFamily is ML-DSA (FIPS 204) with one set of parameters.
type mldsaFamily struct{ mldsa.Parameters }

var (
	mldsa44 = mldsaFamily{mldsa.MLDSA44()}
	mldsa65 = mldsaFamily{mldsa.MLDSA65()}
	mldsa87 = mldsaFamily{mldsa.MLDSA87()}
)

// muSize is the length of the message representative of ML-DSA, in bytes.
const muSize = 64

func (f mldsaFamily) generate() ([]byte, error) {
	k, err := mldsa.GenerateKey(f.Parameters)
	if err != nil {
		return nil, err
	}
	return mldsax509.MarshalPKCS8PrivateKey(k)
}

func (f mldsaFamily) load(pkcs8 []byte) (private, error) {
	any, err := mldsax509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, err
	}
	k, ok := any.(*mldsa.PrivateKey)
	if !ok || k.PublicKey().Parameters() != f.Parameters {
		return nil, errors.New("keymaterial: another kind of key")
	}
	return mldsaKey{k}, nil
}

type mldsaKey struct{ *mldsa.PrivateKey }

func (k mldsaKey) public() ([]byte, error) { return mldsax509.MarshalPKIXPublicKey(k.PublicKey()) }

func (k mldsaKey) sign(_ string, kind MessageType, message []byte) ([]byte, error) {
	switch {
	case kind == Raw:
		return k.Sign(nil, message, nil)
	case kind != ExternalMu:
		return nil, ErrMessageType
	case len(message) != muSize:
		return nil, ErrDigestLength
	}
	return k.Sign(nil, message, mldsacrypto.MLDSAMu)
}

// verify has no EXTERNAL_MU: the module, like the standard library before Go 1.27,
// only makes such signatures. Who has the message can verify it as RAW.
func (k mldsaKey) verify(_ string, kind MessageType, message, signature []byte) error {
	switch {
	case kind == ExternalMu && len(message) != muSize:
		return ErrDigestLength
	case kind == ExternalMu:
		return ErrUnsupported
	case kind != Raw:
		return ErrMessageType
	case mldsa.Verify(k.PublicKey(), message, signature, nil) != nil:
		return ErrInvalidSignature
	}
	return nil
}

// mlkemFamily is ML-KEM (FIPS 203) with one set of parameters. Private keys are kept
// as the seed of 64 bytes, PKCS #8 as of RFC 9935.
type mlkemFamily struct {
	oid  asn1.ObjectIdentifier
	open func(seed []byte) (decapsulator, error)
}

// decapsulator is what the standard library's decapsulation keys have in common.
type decapsulator interface {
	Decapsulate(ciphertext []byte) ([]byte, error)
	encapsulate() (secret, ciphertext []byte)
	encapsulationKey() []byte
}

// kemSeed is how long the seed of a private key is, in bytes.
const kemSeed = 64

var (
	mlkem512  = mlkemFamily{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 1}, openKEM512}
	mlkem768  = mlkemFamily{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2}, openKEM768}
	mlkem1024 = mlkemFamily{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 3}, openKEM1024}
)

func (f mlkemFamily) generate() ([]byte, error) {
	seed := randomBytes(kemSeed)
	defer clear(seed)
	inner, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, Bytes: seed})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(pkcs8Key{Algorithm: pkix.AlgorithmIdentifier{Algorithm: f.oid}, PrivateKey: inner})
}

func (f mlkemFamily) load(pkcs8 []byte) (private, error) {
	var outer pkcs8Key
	var inner asn1.RawValue
	if rest, err := asn1.Unmarshal(pkcs8, &outer); err != nil || len(rest) > 0 || !outer.Algorithm.Algorithm.Equal(f.oid) {
		return nil, errors.New("keymaterial: another kind of key")
	}
	if rest, err := asn1.Unmarshal(outer.PrivateKey, &inner); err != nil || len(rest) > 0 || inner.Class != asn1.ClassContextSpecific || inner.Tag != 0 || len(inner.Bytes) != kemSeed {
		return nil, errors.New("keymaterial: not an ML-KEM seed")
	}
	k, err := f.open(inner.Bytes)
	return mlkemKey{f.oid, k}, err
}

type mlkemKey struct {
	oid asn1.ObjectIdentifier
	decapsulator
}

func (k mlkemKey) public() ([]byte, error) {
	return asn1.Marshal(publicKeyInfo{pkix.AlgorithmIdentifier{Algorithm: k.oid}, bits(k.encapsulationKey())})
}

func (k mlkemKey) encapsulate() (secret, ciphertext []byte, err error) {
	secret, ciphertext = k.decapsulator.encapsulate()
	return secret, ciphertext, nil
}

func (k mlkemKey) decapsulate(ciphertext []byte) ([]byte, error) { return k.Decapsulate(ciphertext) }

type kem768 struct{ *mlkem.DecapsulationKey768 }

func openKEM768(seed []byte) (decapsulator, error) {
	k, err := mlkem.NewDecapsulationKey768(seed)
	return kem768{k}, err
}

func (k kem768) encapsulate() (secret, ciphertext []byte) { return k.EncapsulationKey().Encapsulate() }
func (k kem768) encapsulationKey() []byte                 { return k.EncapsulationKey().Bytes() }

type kem1024 struct{ *mlkem.DecapsulationKey1024 }

func openKEM1024(seed []byte) (decapsulator, error) {
	k, err := mlkem.NewDecapsulationKey1024(seed)
	return kem1024{k}, err
}

func (k kem1024) encapsulate() (secret, ciphertext []byte) { return k.EncapsulationKey().Encapsulate() }
func (k kem1024) encapsulationKey() []byte                 { return k.EncapsulationKey().Bytes() }

// kem512 is ML-KEM-512, which the standard library has not. It is outside the FIPS
// boundary.
type kem512 struct{ key kem.PrivateKey }

func openKEM512(seed []byte) (decapsulator, error) {
	_, k := circl512.NewKeyFromSeed(seed)
	return kem512{k}, nil
}

func (k kem512) Decapsulate(ciphertext []byte) ([]byte, error) {
	if len(ciphertext) != circl512.CiphertextSize {
		return nil, ErrInvalidCiphertext
	}
	return circl512.Scheme().Decapsulate(k.key, ciphertext)
}

func (k kem512) encapsulate() (secret, ciphertext []byte) {
	ciphertext, secret, err := circl512.Scheme().Encapsulate(k.key.Public())
	if err != nil {
		panic(err) // the key is one of the scheme
	}
	return secret, ciphertext
}

func (k kem512) encapsulationKey() []byte {
	b, err := k.key.Public().MarshalBinary()
	if err != nil {
		panic(err) // public keys always marshal
	}
	return b
}
