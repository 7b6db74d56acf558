package kms

import (
	"context"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/quota"
)

// byKey are the operations whose request quota depends on the key.
var byKey = map[string]bool{
	"Decapsulate": true, "Decrypt": true, "DeriveSharedSecret": true, "Encapsulate": true, "Encrypt": true, "GenerateDataKey": true,
	"GenerateDataKeyWithoutPlaintext": true, "GenerateMac": true, "ReEncrypt": true, "Sign": true, "Verify": true, "VerifyMac": true,
}

// limited counts the calls of an operation whose quota is known from the request.
func (s *Service) limited(operation string, handle api.Handler) api.Handler {
	if s.Rates == nil || byKey[operation] {
		return handle
	}
	return func(ctx context.Context, call *api.Call, in any) (any, error) {
		class := operation
		switch in := in.(type) {
		case *sdk.GenerateRandomInput:
			class = quota.Symmetric
		case *sdk.GenerateDataKeyPairInput:
			class = quota.Pair + string(in.KeyPairSpec)
		case *sdk.GenerateDataKeyPairWithoutPlaintextInput:
			class = quota.Pair + string(in.KeyPairSpec)
		}
		if err := s.take(call, class); err != nil {
			return nil, err
		}
		return handle(ctx, call, in)
	}
}

// take counts a call against a quota of the caller's account.
func (s *Service) take(call *api.Call, class string) error {
	wait := s.Rates.Take(call.Caller.Account, call.Region, class, call.Time)
	if wait == 0 {
		return nil
	}
	err := awserr.New(awserr.Throttling, "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
	err.RetryAfter = (wait + time.Second - 1).Truncate(time.Second)
	return err
}
