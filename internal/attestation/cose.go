package attestation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"math/big"

	"github.com/fxamacker/cbor/v2"
)

// The forms of the two header maps, and the tag that a COSE_Sign1 message may have.
const (
	headerES384 = "\xa1\x01\x38\x22" // {1: -35}, alg: ES384
	headerEmpty = "\xa0"             // {}
	tagSign1    = "\xd2"             // tag 18
)

// The longest payload, in bytes.
const maxPayload = 16384

// The size of each of the two integers of an ES384 signature, in bytes.
const scalarSize = 48

// sign1 is COSE_Sign1 (RFC 9052, section 4.2).
type sign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   cbor.ByteString
	Unprotected cbor.RawMessage
	Payload     cbor.ByteString
	Signature   cbor.ByteString
}

// strict decodes CBOR of which there is one form only: no tags, no indefinite lengths,
// no key twice, no fields that are not known, none in another case. The limits are above
// what a document has.
var strict = strictMode(cbor.IndefLengthForbidden)

// strictIndefinite is strict for the payload, in which AWS writes its map with an
// indefinite length.
var strictIndefinite = strictMode(cbor.IndefLengthAllowed)

func strictMode(indefinite cbor.IndefLengthMode) cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		IndefLength:       indefinite,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   4,
		MaxArrayElements:  16,
		MaxMapPairs:       maxPCRs,
	}.DecMode()
	if err != nil {
		panic(err) // The options are constants.
	}
	return mode
}

// parseSign1 takes apart a message that says that it is signed with ES384.
func parseSign1(document []byte) (*sign1, error) {
	untagged, _ := bytes.CutPrefix(document, []byte(tagSign1))
	var m sign1
	if err := strict.Unmarshal(untagged, &m); err != nil {
		return nil, invalid("is not a COSE_Sign1 message.")
	}
	// AWS writes these headers and no others, so that their bytes can be compared.
	if m.Protected != headerES384 {
		return nil, invalid("is not signed with ES384, or has other protected headers.")
	}
	if string(m.Unprotected) != headerEmpty {
		return nil, invalid("has unprotected headers.")
	}
	if len(m.Payload) == 0 || len(m.Payload) > maxPayload {
		return nil, invalid("has no payload, or one longer than %d bytes.", maxPayload)
	}
	if len(m.Signature) != 2*scalarSize {
		return nil, invalid("has a signature that is not of %d bytes.", 2*scalarSize)
	}
	return &m, nil
}

// verify verifies the signature (RFC 9052, section 4.4; RFC 9053, section 2.1). The key
// of leaf is on P-384.
func (m *sign1) verify(leaf *x509.Certificate) error {
	signed, err := sigStructure([]byte(m.Payload))
	if err != nil {
		return err
	}
	digest := sha512.Sum384(signed)
	r := new(big.Int).SetBytes([]byte(m.Signature[:scalarSize]))
	s := new(big.Int).SetBytes([]byte(m.Signature[scalarSize:]))
	if !ecdsa.Verify(leaf.PublicKey.(*ecdsa.PublicKey), digest[:], r, s) {
		return invalid("has a wrong signature.")
	}
	return nil
}

// sigStructure is what the signature is over: the Sig_structure of a COSE_Sign1 message
// with the one protected header that is allowed here.
func sigStructure(payload []byte) ([]byte, error) {
	return cbor.Marshal([]any{"Signature1", []byte(headerES384), []byte{}, payload})
}
