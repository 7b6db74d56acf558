package attestation

import (
	"crypto/rsa"
	"crypto/x509"
	"math"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// Document is what a verified document says. It is never changed.
type Document struct {
	// ModuleID names the enclave, or the instance and its TPM.
	ModuleID string

	publicKey *rsa.PublicKey
	// measurements are the platform configuration registers by the lower-case names of
	// Measurement. The registers of an enclave in debug mode are zero, and so are
	// registers that nobody extended; AWS lets a policy ask for those zeros
	// (https://github.com/aws/aws-nitro-enclaves-sdk-c/blob/main/docs/kmstool.md).
	measurements map[string][]byte
}

// The limits of a document's fields, in bytes but for maxPCRs and maxBundle. The
// description of AWS limits user_data and nonce to 1024 bytes in one place and to 512 in
// another; the larger lets every genuine document in.
const (
	maxPCRs        = 32
	maxBundle      = 8
	maxCertificate = 1024
	maxUserData    = 1024
)

// payload is what is signed. AWS writes null for an optional field that is not set.
type payload struct {
	ModuleID     string                     `cbor:"module_id"`
	Digest       string                     `cbor:"digest"`
	Timestamp    uint64                     `cbor:"timestamp"` // milliseconds since 1970
	PCRs         map[uint64]cbor.ByteString `cbor:"pcrs"`
	NitroTPMPCRs map[uint64]cbor.ByteString `cbor:"nitrotpm_pcrs"`
	Certificate  cbor.ByteString            `cbor:"certificate"`
	CABundle     []cbor.ByteString          `cbor:"cabundle"` // the root first
	PublicKey    cbor.ByteString            `cbor:"public_key"`
	UserData     cbor.ByteString            `cbor:"user_data"`
	Nonce        cbor.ByteString            `cbor:"nonce"`
}

func parsePayload(encoded cbor.ByteString) (*payload, error) {
	var p payload
	if err := strictIndefinite.Unmarshal([]byte(encoded), &p); err != nil {
		return nil, invalid("has a payload that is not the CBOR map of an attestation document.")
	}
	if p.ModuleID == "" {
		return nil, invalid("has no module_id.")
	}
	if p.Digest != "SHA384" {
		return nil, invalid("has a digest that is not SHA384.")
	}
	if p.Timestamp == 0 || p.Timestamp > math.MaxInt64 {
		return nil, invalid("has no timestamp, or one that is out of range.")
	}
	if (len(p.PCRs) == 0) == (len(p.NitroTPMPCRs) == 0) {
		return nil, invalid("must have either pcrs or nitrotpm_pcrs.")
	}
	for _, pcrs := range []map[uint64]cbor.ByteString{p.PCRs, p.NitroTPMPCRs} {
		for i, pcr := range pcrs {
			if i >= maxPCRs {
				return nil, invalid("has a PCR above %d.", maxPCRs-1)
			}
			if n := len(pcr); n != 32 && n != 48 && n != 64 {
				return nil, invalid("has a PCR that is not of 32, 48 or 64 bytes.")
			}
		}
	}
	if n := len(p.CABundle); n == 0 || n > maxBundle {
		return nil, invalid("must have 1 to %d certificates in its cabundle.", maxBundle)
	}
	for _, certificate := range append([]cbor.ByteString{p.Certificate}, p.CABundle...) {
		if n := len(certificate); n == 0 || n > maxCertificate {
			return nil, invalid("has a certificate that is not of 1 to %d bytes.", maxCertificate)
		}
	}
	for _, data := range []cbor.ByteString{p.PublicKey, p.UserData, p.Nonce} {
		if len(data) > maxUserData {
			return nil, invalid("has a public_key, user_data or nonce longer than %d bytes.", maxUserData)
		}
	}
	return &p, nil
}

// measurements are the registers by their names in conditions.
func (p *payload) measurements() map[string][]byte {
	m := make(map[string][]byte, len(p.PCRs)+len(p.NitroTPMPCRs)+1)
	for i, pcr := range p.PCRs {
		m["pcr"+strconv.FormatUint(i, 10)] = []byte(pcr)
	}
	for i, pcr := range p.NitroTPMPCRs {
		m["nitrotpmpcr"+strconv.FormatUint(i, 10)] = []byte(pcr)
	}
	if image, ok := m["pcr0"]; ok {
		m["imagesha384"] = image
	}
	return m
}

// The sizes of RSA keys that are encrypted for, in bits: those that the Nitro Enclaves
// SDK makes, and what lies between.
const (
	minKeyBits = 2048
	maxKeyBits = 4096
)

// parsePublicKey parses the public_key of a document, a SubjectPublicKeyInfo in DER.
func parsePublicKey(der []byte) (*rsa.PublicKey, error) {
	if len(der) == 0 {
		return nil, invalid("has no public key. Request it with one.")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, invalid("has a public key that is not a SubjectPublicKeyInfo in DER.")
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, invalid("has a public key that is not an RSA key.")
	}
	if n := public.N.BitLen(); n < minKeyBits || n > maxKeyBits {
		return nil, invalid("has an RSA public key that is not of %d to %d bits.", minKeyBits, maxKeyBits)
	}
	return public, nil
}

// Measurement is a platform configuration register by the name that it has in conditions:
// ImageSha384 (PCR0 of an enclave), PCR0 to PCR31, NitroTPMPCR0 and so on. The case of
// the name does not matter. It is not ok where the document has no such register.
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-attestation.html
func (d *Document) Measurement(name string) (pcr []byte, ok bool) {
	pcr, ok = d.measurements[strings.ToLower(name)]
	return pcr, ok
}
