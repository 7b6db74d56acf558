package keymaterial

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// nistFamily is a curve of NIST (FIPS 186-5, SP 800-186).
type nistFamily struct{ elliptic.Curve }

var (
	nistP256 = nistFamily{elliptic.P256()}
	nistP384 = nistFamily{elliptic.P384()}
	nistP521 = nistFamily{elliptic.P521()}
)

func (f nistFamily) generate() ([]byte, error) {
	k, err := ecdsa.GenerateKey(f.Curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(k)
}

func (f nistFamily) load(pkcs8 []byte) (private, error) {
	k, err := parsePKCS8[*ecdsa.PrivateKey](pkcs8)
	if err == nil && k.Curve != f.Curve {
		err = errors.New("keymaterial: another curve")
	}
	return nistKey{k}, err
}

type nistKey struct{ *ecdsa.PrivateKey }

func (k nistKey) public() ([]byte, error) { return x509.MarshalPKIXPublicKey(&k.PublicKey) }

func (k nistKey) sign(algorithm string, kind MessageType, message []byte) ([]byte, error) {
	sum, _, err := digest(algorithm, kind, message)
	if err != nil {
		return nil, err
	}
	return ecdsa.SignASN1(rand.Reader, k.PrivateKey, sum)
}

func (k nistKey) verify(algorithm string, kind MessageType, message, signature []byte) error {
	sum, _, err := digest(algorithm, kind, message)
	if err == nil && !ecdsa.VerifyASN1(&k.PublicKey, sum, signature) {
		err = ErrInvalidSignature
	}
	return err
}

func (k nistKey) agree(peer []byte) ([]byte, error) {
	any, err := x509.ParsePKIXPublicKey(peer)
	if err != nil {
		return nil, err
	}
	other, ok := any.(*ecdsa.PublicKey)
	if !ok {
		return nil, ErrPublicKey
	}
	theirs, err := other.ECDH()
	if err != nil {
		return nil, err
	}
	own, err := k.ECDH()
	if err != nil {
		return nil, err
	}
	return own.ECDH(theirs) // refuses another curve
}

// ed25519Family is Ed25519 (RFC 8032).
type ed25519Family struct{}

func (ed25519Family) generate() ([]byte, error) {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(k)
}

func (ed25519Family) load(pkcs8 []byte) (private, error) {
	k, err := parsePKCS8[ed25519.PrivateKey](pkcs8)
	return ed25519Key(k), err
}

type ed25519Key ed25519.PrivateKey

func (k ed25519Key) pkcs8() ([]byte, error) {
	return x509.MarshalPKCS8PrivateKey(ed25519.PrivateKey(k))
}

func (k ed25519Key) publicKey() ed25519.PublicKey { return ed25519.PublicKey(k[32:]) }

func (k ed25519Key) public() ([]byte, error) { return x509.MarshalPKIXPublicKey(k.publicKey()) }

// input is what Ed25519 signs: a message, or for Ed25519ph the digest of what is
// given, which is the caller's digest.
func (ed25519Key) input(algorithm string, kind MessageType, message []byte) ([]byte, *ed25519.Options, error) {
	prehash := algorithm == "ED25519_PH_SHA_512"
	switch {
	case prehash && kind == Digest && len(message) != sha512.Size:
		return nil, nil, ErrDigestLength
	case prehash && kind == Digest:
		sum := sha512.Sum512(message)
		return sum[:], &ed25519.Options{Hash: crypto.SHA512}, nil
	case !prehash && kind == Raw:
		return message, &ed25519.Options{}, nil
	}
	return nil, nil, ErrMessageType
}

func (k ed25519Key) sign(algorithm string, kind MessageType, message []byte) ([]byte, error) {
	in, opts, err := k.input(algorithm, kind, message)
	if err != nil {
		return nil, err
	}
	return ed25519.PrivateKey(k).Sign(nil, in, opts)
}

func (k ed25519Key) verify(algorithm string, kind MessageType, message, signature []byte) error {
	in, opts, err := k.input(algorithm, kind, message)
	if err == nil && ed25519.VerifyWithOptions(k.publicKey(), in, signature, opts) != nil {
		err = ErrInvalidSignature
	}
	return err
}

// secp256k1Family is the curve secp256k1 (SEC 2), which the standard library has
// not. It is outside the FIPS boundary.
type secp256k1Family struct{}

var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
)

// pkcs8Key is PrivateKeyInfo of RFC 5208.
type pkcs8Key struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
}

// sec1Key is ECPrivateKey of RFC 5915.
type sec1Key struct {
	Version    int
	PrivateKey []byte
	Parameters asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	PublicKey  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// publicKeyInfo is SubjectPublicKeyInfo of RFC 5280.
type publicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	PublicKey asn1.BitString
}

func bits(b []byte) asn1.BitString { return asn1.BitString{Bytes: b, BitLength: 8 * len(b)} }

func secp256k1Algorithm() (pkix.AlgorithmIdentifier, error) {
	curve, err := asn1.Marshal(oidSecp256k1)
	return pkix.AlgorithmIdentifier{Algorithm: oidECPublicKey, Parameters: asn1.RawValue{FullBytes: curve}}, err
}

func (secp256k1Family) generate() ([]byte, error) {
	k, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		return nil, err
	}
	defer k.Zero()
	return newSecp256k1Key(k).pkcs8()
}

func (secp256k1Family) load(pkcs8 []byte) (private, error) {
	var outer pkcs8Key
	if rest, err := asn1.Unmarshal(pkcs8, &outer); err != nil || len(rest) > 0 {
		return nil, errors.New("keymaterial: not PKCS #8")
	}
	var curve asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(outer.Algorithm.Parameters.FullBytes, &curve); err != nil || !outer.Algorithm.Algorithm.Equal(oidECPublicKey) || !curve.Equal(oidSecp256k1) {
		return nil, errors.New("keymaterial: another kind of key")
	}
	var inner sec1Key
	if rest, err := asn1.Unmarshal(outer.PrivateKey, &inner); err != nil || len(rest) > 0 || len(inner.PrivateKey) != 32 {
		return nil, errors.New("keymaterial: not an EC private key")
	}
	var scalar secp256k1.ModNScalar
	if overflow := scalar.SetByteSlice(inner.PrivateKey); overflow || scalar.IsZero() {
		return nil, errors.New("keymaterial: the private key is out of range")
	}
	return newSecp256k1Key(secp256k1.NewPrivateKey(&scalar)), nil
}

// secp256k1Key has its public key at hand, which to compute takes as long as to sign.
type secp256k1Key struct {
	*secp256k1.PrivateKey
	publicKey *secp256k1.PublicKey
}

func newSecp256k1Key(k *secp256k1.PrivateKey) secp256k1Key { return secp256k1Key{k, k.PubKey()} }

func (k secp256k1Key) pkcs8() ([]byte, error) {
	algorithm, err := secp256k1Algorithm()
	if err != nil {
		return nil, err
	}
	inner, err := asn1.Marshal(sec1Key{Version: 1, PrivateKey: k.Serialize(), PublicKey: bits(k.publicKey.SerializeUncompressed())})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(pkcs8Key{Algorithm: algorithm, PrivateKey: inner})
}

func (k secp256k1Key) public() ([]byte, error) {
	algorithm, err := secp256k1Algorithm()
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(publicKeyInfo{algorithm, bits(k.publicKey.SerializeUncompressed())})
}

func (k secp256k1Key) sign(algorithm string, kind MessageType, message []byte) ([]byte, error) {
	sum, _, err := digest(algorithm, kind, message)
	if err != nil {
		return nil, err
	}
	return k1ecdsa.Sign(k.PrivateKey, sum).Serialize(), nil // RFC 6979, low s
}

func (k secp256k1Key) verify(algorithm string, kind MessageType, message, signature []byte) error {
	sum, _, err := digest(algorithm, kind, message)
	if err != nil {
		return err
	}
	s, err := k1ecdsa.ParseDERSignature(signature)
	if err != nil || !s.Verify(sum, k.publicKey) {
		return ErrInvalidSignature
	}
	return nil
}
