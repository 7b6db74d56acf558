package attestation

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
)

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	oidRSAESOAEP     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}
	oidMGF1          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidAES256CBC     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// The version of both EnvelopedData and KeyTransRecipientInfo where the recipient is
// named by its subjectKeyIdentifier (RFC 5652, sections 6.1 and 6.2.1).
const cmsVersion = 2

// keyTransRecipientInfo is RFC 5652, section 6.2.1.
type keyTransRecipientInfo struct {
	Version              int
	SubjectKeyIdentifier []byte `asn1:"tag:0"`
	Algorithm            pkix.AlgorithmIdentifier
	EncryptedKey         []byte
}

// oaepParameters is RSAES-OAEP-params (RFC 4055, section 4.1) without a label.
type oaepParameters struct {
	Hash    pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
	MaskGen pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
}

// Encrypt encrypts plaintext of any length for d's public key, as AWS KMS encrypts a
// CiphertextForRecipient: a CMS EnvelopedData (RFC 5652) whose content is under
// AES-256-CBC with PKCS #7 padding, and whose content key is under RSAES-OAEP with SHA-256
// and MGF1 with SHA-256. It does not authenticate the content; TLS does. Its error is
// ErrInvalid where the public key cannot be encrypted for.
//
// The message is BER: the outer elements have indefinite lengths, as AWS writes them and
// as the parser of the Nitro Enclaves SDK requires
// (https://github.com/aws/aws-nitro-enclaves-sdk-c/blob/main/source/cms.c).
func (d *Document) Encrypt(plaintext []byte) ([]byte, error) {
	secret := make([]byte, 32+aes.BlockSize)
	rand.Read(secret) // never fails
	defer clear(secret)
	key, iv := secret[:32], secret[32:]

	encryptedKey, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, d.publicKey, key, nil)
	if err != nil {
		return nil, invalid("has an RSA public key that cannot be encrypted for.")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	content := pad(plaintext)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(content, content)

	recipient, err := d.recipientInfo(encryptedKey)
	if err != nil {
		return nil, err
	}
	return marshalEnvelopedData(recipient, iv, content)
}

func (d *Document) recipientInfo(encryptedKey []byte) (*keyTransRecipientInfo, error) {
	public, err := x509.MarshalPKIXPublicKey(d.publicKey)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(public) // RFC 7093, section 2, method 4
	hash := pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}
	hashDER, err := asn1.Marshal(hash)
	if err != nil {
		return nil, err
	}
	parameters, err := asn1.Marshal(oaepParameters{
		Hash:    hash,
		MaskGen: pkix.AlgorithmIdentifier{Algorithm: oidMGF1, Parameters: asn1.RawValue{FullBytes: hashDER}},
	})
	if err != nil {
		return nil, err
	}
	return &keyTransRecipientInfo{
		Version:              cmsVersion,
		SubjectKeyIdentifier: id[:],
		Algorithm: pkix.AlgorithmIdentifier{
			Algorithm:  oidRSAESOAEP,
			Parameters: asn1.RawValue{FullBytes: parameters},
		},
		EncryptedKey: encryptedKey,
	}, nil
}

// marshalEnvelopedData writes the ContentInfo of an EnvelopedData for one recipient
// (RFC 5652, sections 3 and 6.1).
func marshalEnvelopedData(recipient *keyTransRecipientInfo, iv, content []byte) ([]byte, error) {
	var err error
	der := func(value any) []byte {
		b, e := asn1.Marshal(value)
		if err == nil {
			err = e
		}
		return b
	}
	set := func(element []byte) []byte {
		return der(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: element})
	}
	message := indefinite(tagSequence,
		der(oidEnvelopedData),
		indefinite(tagExplicit0,
			indefinite(tagSequence,
				der(cmsVersion),
				set(der(*recipient)),
				indefinite(tagSequence,
					der(oidData),
					der(pkix.AlgorithmIdentifier{
						Algorithm:  oidAES256CBC,
						Parameters: asn1.RawValue{Tag: asn1.TagOctetString, Bytes: iv},
					}),
					indefinite(tagExplicit0, der(content))))))
	return message, err
}

// The tags of the elements with indefinite lengths: SEQUENCE and constructed [0].
const (
	tagSequence  = 0x30
	tagExplicit0 = 0xa0
)

// indefinite is an element in BER of indefinite length (X.690, section 8.1.3.6).
func indefinite(tag byte, elements ...[]byte) []byte {
	return slices.Concat([]byte{tag, 0x80}, bytes.Join(elements, nil), []byte{0, 0})
}

// pad is a copy of plaintext, padded to whole blocks (RFC 5652, section 6.3).
func pad(plaintext []byte) []byte {
	n := aes.BlockSize - len(plaintext)%aes.BlockSize
	return append(slices.Clip(plaintext), bytes.Repeat([]byte{byte(n)}, n)...)
}
