package kms

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// policyName is the name of the one policy that a key has.
const policyName = "default"

// defaultKeyPolicy is what AWS gives a key that was created without a policy, to
// the byte: the account's root, and through it the account's IAM policies.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
func defaultKeyPolicy(account string) string {
	return strings.Replace(`{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::ACCOUNT:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`, "ACCOUNT", account, 1)
}

// checkPolicy refuses what cannot be a key policy: too long, not JSON, or
// without statements. One that allows nobody anything locks everyone out, which
// bypass permits.
func checkPolicy(policy string, bypass bool) error {
	if len(policy) > maxPolicyBytes {
		return awserr.New(awserr.LimitExceeded, "The key policy is %d bytes long, which is over the limit of %d bytes.", len(policy), maxPolicyBytes)
	}
	var doc struct {
		Statement jsontext.Value
	}
	if err := json.Unmarshal([]byte(policy), &doc); err != nil {
		return awserr.New(awserr.MalformedPolicyDocument, "%s", "The key policy is not a valid JSON object: "+strings.TrimPrefix(err.Error(), "json: "))
	}
	if k := doc.Statement.Kind(); k != '{' && k != '[' {
		return awserr.New(awserr.MalformedPolicyDocument, "The key policy has no Statement.")
	}
	if doc.Statement.Compact(); string(doc.Statement) == "[]" && !bypass {
		return awserr.New(awserr.MalformedPolicyDocument, "The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

// GetKeyPolicy gives the key policy byte for byte as it was put.
func (s *Service) GetKeyPolicy(ctx context.Context, call *api.Call, in *sdk.GetKeyPolicyInput) (*sdk.GetKeyPolicyOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	return &sdk.GetKeyPolicyOutput{Policy: aws.String(u.Policy), PolicyName: aws.String(policyName)}, nil
}

// PutKeyPolicy replaces the key policy.
func (s *Service) PutKeyPolicy(ctx context.Context, call *api.Call, in *sdk.PutKeyPolicyInput) (*sdk.PutKeyPolicyOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	if err := checkPolicy(*in.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	return &sdk.PutKeyPolicyOutput{}, u.change(ctx, func(k *key, _ store.Tx) error {
		k.Policy = *in.Policy
		return nil
	})
}

// ListKeyPolicies lists the names of the key's policies: always one.
func (s *Service) ListKeyPolicies(ctx context.Context, call *api.Call, in *sdk.ListKeyPoliciesInput) (*sdk.ListKeyPoliciesOutput, error) {
	if _, err := s.use(ctx, call, *in.KeyId, keyOnly); err != nil {
		return nil, err
	}
	pg, err := newPage(in.Limit, in.Marker, 100, 1000)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListKeyPoliciesOutput{PolicyNames: []string{}}
	if pg.after < policyName {
		out.PolicyNames = append(out.PolicyNames, policyName)
	}
	return out, nil
}

func checkPolicyName(name *string) error {
	if name != nil && *name != policyName {
		return awserr.New(awserr.NotFound, "No such policy exists")
	}
	return nil
}
