// Package attestationtest makes attestation documents for tests, under a root that the
// test owns, and opens what was encrypted for them.
package attestationtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Authority is a certificate with its key.
type Authority struct {
	Certificate *x509.Certificate

	key *ecdsa.PrivateKey
}

// NewRoot makes a root like that of AWS.
func NewRoot(now time.Time) *Authority {
	return new(Authority).Issue(template("root", now, 30*365*24*time.Hour))
}

// PEM is the certificate as a file of the setting attestation-roots has it.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// Issue makes a certificate from a template, for a new key on the curve P-384. It is
// signed by its own key where the Authority has none.
func (a *Authority) Issue(template *x509.Certificate) *Authority {
	key := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	parent, signer := a.Certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer))
	return &Authority{must(x509.ParseCertificate(der)), key}
}

// Template is a certificate for an authority below the root.
func Template(now time.Time) *x509.Certificate { return template("zone", now, 24*time.Hour) }

// LeafTemplate is a certificate that signs documents.
func LeafTemplate(now time.Time) *x509.Certificate {
	leaf := template("i-0123456789abcdef0-enc0123456789abcdef", now, 3*time.Hour)
	leaf.IsCA, leaf.KeyUsage = false, x509.KeyUsageDigitalSignature
	return leaf
}

func template(name string, now time.Time, lifetime time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{Organization: []string{"Test"}, CommonName: name},
		NotBefore: now.Add(-time.Second), NotAfter: now.Add(lifetime), SignatureAlgorithm: x509.ECDSAWithSHA384,
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// Document is a document to be signed. Tests change what they like before they encode it.
type Document struct {
	// Fields is the payload.
	Fields map[string]any
	// Protected is the protected header, encoded; Unprotected the other.
	Protected   []byte
	Unprotected any

	signer *Authority
}

// Enclave is the document of a Nitro Enclave, made at now, with an authority between the
// root and the signing certificate. PCR0 is 48 bytes of 0xa0, and so on to PCR15.
func (a *Authority) Enclave(now time.Time, public *rsa.PublicKey) *Document {
	zone := a.Issue(Template(now))
	return Sign(now, public, zone.Issue(LeafTemplate(now)), zone, a)
}

// Sign is Enclave with the given chain, the signing certificate first and the root last.
func Sign(now time.Time, public *rsa.PublicKey, chain ...*Authority) *Document {
	pcrs := map[int][]byte{}
	for i := range 16 {
		pcrs[i] = bytes.Repeat([]byte{0xa0 | byte(i)}, 48)
	}
	var bundle [][]byte
	for _, authority := range slices.Backward(chain[1:]) {
		bundle = append(bundle, authority.Certificate.Raw)
	}
	return &Document{
		Fields: map[string]any{
			"module_id": "i-0123456789abcdef0-enc0123456789abcdef", "digest": "SHA384", "timestamp": now.UnixMilli(), "pcrs": pcrs,
			"certificate": chain[0].Certificate.Raw, "cabundle": bundle, "public_key": must(x509.MarshalPKIXPublicKey(public)), "user_data": nil, "nonce": nil,
		},
		Protected: []byte{0xa1, 0x01, 0x38, 0x22}, Unprotected: map[int]int{}, signer: chain[0],
	}
}

// NitroTPM makes it the document of a NitroTPM, with registers 0 to 23.
func (d *Document) NitroTPM() *Document {
	pcrs := map[int][]byte{}
	for i := range 24 {
		pcrs[i] = bytes.Repeat([]byte{0xc0 | byte(i)}, 48)
	}
	delete(d.Fields, "pcrs")
	d.Fields["nitrotpm_pcrs"], d.Fields["module_id"] = pcrs, "i-0123456789abcdef0-tpm0000000000000000"
	return d
}

// Encode signs the document and encodes it as AWS does: a COSE_Sign1 message without a tag.
func (d *Document) Encode() []byte {
	payload := must(cbor.Marshal(d.Fields))
	digest := sha512.Sum384(must(cbor.Marshal([]any{"Signature1", d.Protected, []byte{}, payload})))
	r, s, err := ecdsa.Sign(rand.Reader, d.signer.key, digest[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 96)
	r.FillBytes(signature[:48])
	s.FillBytes(signature[48:])
	return must(cbor.Marshal([]any{d.Protected, d.Unprotected, payload, signature}))
}

// Open decrypts a CiphertextForRecipient. It fails unless the message has the form in
// which AWS writes it, byte by byte but for what differs in each:
// https://github.com/aws/aws-nitro-enclaves-sdk-c/blob/main/source/cms.c reads no other.
func Open(t testing.TB, key *rsa.PrivateKey, message []byte) []byte {
	t.Helper()
	const (
		sha256ID = "\x30\x0d" + "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01" + "\x05\x00"
		end      = "\x00\x00"
	)
	outer := &reader{t, message}
	outer.literal("\x30\x80" + "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03" + "\xa0\x80") // envelopedData
	outer.literal("\x30\x80" + "\x02\x01\x02")                                              // version 2
	recipients := outer.element(asn1.TagSet)

	recipient := recipients.element(asn1.TagSequence)
	recipients.end()
	recipient.literal("\x02\x01\x02") // version 2
	id := sha256.Sum256(must(x509.MarshalPKIXPublicKey(key.Public())))
	recipient.literal("\x80\x20" + string(id[:])) // subjectKeyIdentifier
	recipient.literal("\x30\x3c" + "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07" + "\x30\x2f" + "\xa0\x0f" + sha256ID +
		"\xa1\x1c" + "\x30\x1a" + "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08" + sha256ID) // RSAES-OAEP
	encryptedKey := recipient.element(asn1.TagOctetString)
	recipient.end()

	outer.literal("\x30\x80" + "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01") // data
	outer.literal("\x30\x1d" + "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a") // aes256-CBC
	iv := outer.element(asn1.TagOctetString)
	outer.literal("\xa0\x80")
	content := outer.element(asn1.TagOctetString)
	outer.literal(end + end + end + end + end)
	outer.end()

	contentKey, err := rsa.DecryptOAEP(sha256.New(), nil, key, encryptedKey.rest, nil)
	if err != nil {
		t.Fatal(err)
	}
	plaintext := slices.Clone(content.rest)
	cipher.NewCBCDecrypter(must(aes.NewCipher(contentKey)), iv.rest).CryptBlocks(plaintext, plaintext)
	n := int(plaintext[len(plaintext)-1])
	if n < 1 || n > aes.BlockSize || !bytes.HasSuffix(plaintext, bytes.Repeat([]byte{byte(n)}, n)) {
		t.Fatalf("the content ends with wrong padding: %x", plaintext)
	}
	return plaintext[:len(plaintext)-n]
}

// reader reads what is to be in a message.
type reader struct {
	t    testing.TB
	rest []byte
}

func (r *reader) literal(want string) {
	r.t.Helper()
	var ok bool
	if r.rest, ok = bytes.CutPrefix(r.rest, []byte(want)); !ok {
		r.t.Fatalf("%x is to come, not %x", want, r.rest)
	}
}

func (r *reader) element(tag int) *reader {
	r.t.Helper()
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(r.rest, &v)
	if err != nil || v.Tag != tag {
		r.t.Fatalf("an element with the tag %d is to come, not %x (%v)", tag, r.rest, err)
	}
	r.rest = rest
	return &reader{r.t, v.Bytes}
}

func (r *reader) end() {
	r.t.Helper()
	if len(r.rest) != 0 {
		r.t.Fatalf("%x is too much", r.rest)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
