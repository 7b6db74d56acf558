package kms

import (
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/attestation"
	"github.com/kagimori/kagimori/internal/awserr"
)

// attest verifies the attestation document of a call that has a Recipient. It comes
// before authorization, since policies may ask what the document says.
// https://docs.aws.amazon.com/kms/latest/developerguide/cryptographic-attestation.html
func (s *Service) attest(call *api.Call, r *types.RecipientInfo) error {
	if r == nil {
		return nil
	}
	if s.Attestation == nil {
		return awserr.New(awserr.UnsupportedOperation, "Recipient is not supported here: this server trusts no attestation documents. Its operator can have it trust some with the setting attestation-roots.")
	}
	if r.AttestationDocument == nil {
		return missing("recipient.attestationDocument")
	}
	var err error
	call.Recipient, err = s.Attestation.Verify(r.AttestationDocument, call.Time)
	return refused(err)
}

// deliver is a secret as the answer is to have it: in clear, or, for a Recipient, as a
// CMS message that only the attested environment can open.
func deliver(call *api.Call, secret []byte) (plaintext, ciphertextForRecipient []byte, err error) {
	if call.Recipient == nil {
		return secret, nil, nil
	}
	ciphertextForRecipient, err = call.Recipient.Encrypt(secret)
	return nil, ciphertextForRecipient, refused(err)
}

// refused is the error for the caller whose document something is wrong with.
func refused(err error) error {
	if errors.Is(err, attestation.ErrInvalid) {
		return invalid("%s", err.Error())
	}
	return err
}
