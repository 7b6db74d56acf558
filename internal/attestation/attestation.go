// Package attestation verifies the attestation documents of AWS Nitro Enclaves and
// NitroTPM and encrypts for the key that such a document vouches for.
//
// A document is a CBOR map in a COSE_Sign1 message (RFC 9052), signed by a short-lived
// certificate whose chain ends in a root that the operator trusts. The package owns that
// format and the CMS message (RFC 5652) that answers it. It knows nothing of KMS keys,
// policies or requests, and keeps nothing between calls.
//
// https://github.com/aws/aws-nitro-enclaves-nsm-api/blob/main/docs/attestation_process.md
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/nitrotpm-attestation-document-validate.html
package attestation

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// A document is fresh from MaxSkew before its timestamp to MaxAge after it. AWS says
// that a document must be fresh and publishes no number. MaxAge bounds how long a
// document that leaked can be presented again; the answer opens only with the private
// key of the environment that asked for the document. MaxSkew is for a clock of ours
// that is slow.
const (
	MaxAge  = 5 * time.Minute
	MaxSkew = time.Minute
)

// ErrInvalid is what errors.Is finds in every error of this package that is the
// document's fault. The error's text is one sentence for the caller of the API: it says
// what is wrong with the document, and has nothing secret.
var ErrInvalid = errors.New("attestation: invalid document")

// invalidError is one reason for ErrInvalid.
type invalidError string

func (e invalidError) Error() string        { return string(e) }
func (e invalidError) Is(target error) bool { return target == ErrInvalid }

func invalid(format string, args ...any) error {
	return invalidError(fmt.Sprintf("The attestation document "+format, args...))
}

// Verifier verifies documents against trusted roots. It is safe for concurrent use.
type Verifier struct {
	roots []*x509.Certificate
}

// NewVerifier makes a Verifier that trusts documents whose chain ends in one of the root
// certificates of a PEM file. Its errors say what is wrong with the file.
func NewVerifier(file []byte) (*Verifier, error) {
	v := new(Verifier)
	for {
		block, rest := pem.Decode(file)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is a %s where only root certificates may be", block.Type)
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be parsed: %w", len(v.roots)+1, err)
		}
		if !root.IsCA || root.CheckSignatureFrom(root) != nil {
			return nil, fmt.Errorf("certificate %d, of %s, is not a root certificate", len(v.roots)+1, root.Subject)
		}
		v.roots, file = append(v.roots, root), rest
	}
	if len(v.roots) == 0 {
		return nil, errors.New("there is no certificate in PEM")
	}
	return v, nil
}

// Verify is the content of a document that is well-formed, fresh at now, signed with
// ECDSA P-384 and SHA-384 by a certificate that chains to a root, and that vouches for an
// RSA public key. All its errors are ErrInvalid.
//
// Revocation lists are not fetched, as AWS advises; the signing certificates live for
// three hours.
func (v *Verifier) Verify(document []byte, now time.Time) (*Document, error) {
	message, err := parseSign1(document)
	if err != nil {
		return nil, err
	}
	p, err := parsePayload(message.Payload)
	if err != nil {
		return nil, err
	}
	timestamp := time.UnixMilli(int64(p.Timestamp)).UTC()
	if err := checkFresh(timestamp, now); err != nil {
		return nil, err
	}
	// A signing certificate can be seconds old: where our clock is slow, the document
	// itself is the later of two witnesses to the time.
	at := now
	if timestamp.After(now) {
		at = timestamp
	}
	leaf, err := v.verifyChain(p, at)
	if err != nil {
		return nil, err
	}
	if err := message.verify(leaf); err != nil {
		return nil, err
	}
	key, err := parsePublicKey([]byte(p.PublicKey))
	if err != nil {
		return nil, err
	}
	return &Document{ModuleID: p.ModuleID, publicKey: key, measurements: p.measurements()}, nil
}

func checkFresh(timestamp, now time.Time) error {
	if timestamp.Before(now.Add(-MaxAge)) {
		return invalid("is not fresh: it was made at %s, more than %.0f minutes ago. Request a new one for the call.",
			timestamp.Format(time.RFC3339), MaxAge.Minutes())
	}
	if timestamp.After(now.Add(MaxSkew)) {
		return invalid("was made in the future, at %s, when it is %s here.",
			timestamp.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}
