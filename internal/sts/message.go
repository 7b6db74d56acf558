package sts

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
)

// messageBinding sets authorization messages apart from what else is sealed, and
// numbers their version. The account that may read it follows it.
const messageBinding = "kagimori authorization message v1 "

// maxMessage is the longest encoded authorization message, in bytes: it goes into
// an HTTP header.
const maxMessage = 16 << 10

// EncodeAuthorizationMessage is how a denial came about as a text that only its
// account can have decoded, with DecodeAuthorizationMessage. It is empty for one
// that is too long.
func (s *Service) EncodeAuthorizationMessage(d api.Derivation) string {
	text := s.seal(d.JSON, messageBinding+d.Account)
	if len(text) > maxMessage {
		return ""
	}
	return text
}

// DecodeAuthorizationMessage is the reverse.
func (s *Service) DecodeAuthorizationMessage(ctx context.Context, call *api.Call, in *sdk.DecodeAuthorizationMessageInput) (*sdk.DecodeAuthorizationMessageOutput, error) {
	if err := s.allow(ctx, call, "DecodeAuthorizationMessage"); err != nil {
		return nil, err
	}
	plain, err := s.unseal(*in.EncodedMessage, messageBinding+call.Caller.Account)
	if err != nil {
		return nil, awserr.New(awserr.InvalidAuthorizationMessage, "The message is not one of this account, or was changed on the way.")
	}
	text := string(plain)
	return &sdk.DecodeAuthorizationMessageOutput{DecodedMessage: &text}, nil
}
