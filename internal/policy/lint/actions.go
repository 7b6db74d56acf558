package lint

import "github.com/kagimori/kagimori/internal/policy"

// class is what an action of KMS is for.
type class int

const (
	administration class = iota // manages keys
	use                         // cryptography
	delegation                  // grants
	reading
)

// action is one row of the table of KMS's actions.
type action struct {
	name  string
	class class
	onKey bool // authorized on a key; the others by identity policies alone
	// grave actions destroy a key or change who may use it: the AWS KMS best
	// practices ask for MFA.
	grave bool
}

// actions are all actions of KMS.
// https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html
var actions = []action{
	{"kms:CancelKeyDeletion", administration, true, false},
	{"kms:ConnectCustomKeyStore", administration, false, false},
	{"kms:CreateAlias", administration, true, false},
	{"kms:CreateCustomKeyStore", administration, false, false},
	{"kms:CreateGrant", delegation, true, false},
	{"kms:CreateKey", administration, false, false},
	{"kms:Decapsulate", use, true, false},
	{"kms:Decrypt", use, true, false},
	{"kms:DeleteAlias", administration, true, true},
	{"kms:DeleteCustomKeyStore", administration, false, false},
	{"kms:DeleteImportedKeyMaterial", administration, true, true},
	{"kms:DeriveSharedSecret", use, true, false},
	{"kms:DescribeCustomKeyStores", reading, false, false},
	{"kms:DescribeKey", reading, true, false},
	{"kms:DisableKey", administration, true, false},
	{"kms:DisableKeyRotation", administration, true, false},
	{"kms:DisconnectCustomKeyStore", administration, false, false},
	{"kms:EnableKey", administration, true, false},
	{"kms:EnableKeyRotation", administration, true, false},
	{"kms:Encapsulate", use, true, false},
	{"kms:Encrypt", use, true, false},
	{"kms:GenerateDataKey", use, true, false},
	{"kms:GenerateDataKeyPair", use, true, false},
	{"kms:GenerateDataKeyPairWithoutPlaintext", use, true, false},
	{"kms:GenerateDataKeyWithoutPlaintext", use, true, false},
	{"kms:GenerateMac", use, true, false},
	{"kms:GenerateRandom", reading, false, false},
	{"kms:GetKeyLastUsage", reading, true, false},
	{"kms:GetKeyPolicy", reading, true, false},
	{"kms:GetKeyRotationStatus", reading, true, false},
	{"kms:GetParametersForImport", administration, true, false},
	{"kms:GetPublicKey", reading, true, false},
	{"kms:ImportKeyMaterial", administration, true, false},
	{"kms:ListAliases", reading, false, false},
	{"kms:ListGrants", reading, true, false},
	{"kms:ListKeyPolicies", reading, true, false},
	{"kms:ListKeyRotations", reading, true, false},
	{"kms:ListKeys", reading, false, false},
	{"kms:ListResourceTags", reading, true, false},
	{"kms:ListRetirableGrants", reading, false, false},
	{"kms:PutKeyPolicy", administration, true, true},
	{"kms:ReEncryptFrom", use, true, false},
	{"kms:ReEncryptTo", use, true, false},
	{"kms:ReplicateKey", administration, true, false},
	{"kms:RetireGrant", delegation, true, false},
	{"kms:RevokeGrant", delegation, true, false},
	{"kms:RotateKeyOnDemand", administration, true, false},
	{"kms:ScheduleKeyDeletion", administration, true, true},
	{"kms:Sign", use, true, false},
	{"kms:SynchronizeMultiRegionKey", administration, true, false},
	{"kms:TagResource", administration, true, false},
	{"kms:UntagResource", administration, true, false},
	{"kms:UpdateAlias", administration, true, false},
	{"kms:UpdateCustomKeyStore", administration, false, false},
	{"kms:UpdateKeyDescription", administration, true, false},
	{"kms:UpdatePrimaryRegion", administration, true, false},
	{"kms:Verify", use, true, false},
	{"kms:VerifyMac", use, true, false},
}

// given are the actions of KMS that a statement is about.
func given(s *policy.Statement) (out []action) {
	for _, a := range actions {
		if s.MatchesAction(a.name) {
			out = append(out, a)
		}
	}
	return out
}
