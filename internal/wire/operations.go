package wire

import "github.com/aws/aws-sdk-go-v2/service/kms"

// reads and writes say what CloudTrail's readOnly is for an operation.
const (
	reads  = true
	writes = false
)

// operations is the table of the KMS API, version 2014-11-01, in name order. What
// CloudTrail calls read-only includes using a key.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Operations.html
var operations = []struct {
	name     string
	in, out  any
	readOnly bool
}{
	{"CancelKeyDeletion", (*kms.CancelKeyDeletionInput)(nil), (*kms.CancelKeyDeletionOutput)(nil), writes},
	{"ConnectCustomKeyStore", (*kms.ConnectCustomKeyStoreInput)(nil), (*kms.ConnectCustomKeyStoreOutput)(nil), writes},
	{"CreateAlias", (*kms.CreateAliasInput)(nil), (*kms.CreateAliasOutput)(nil), writes},
	{"CreateCustomKeyStore", (*kms.CreateCustomKeyStoreInput)(nil), (*kms.CreateCustomKeyStoreOutput)(nil), writes},
	{"CreateGrant", (*kms.CreateGrantInput)(nil), (*kms.CreateGrantOutput)(nil), writes},
	{"CreateKey", (*kms.CreateKeyInput)(nil), (*kms.CreateKeyOutput)(nil), writes},
	{"Decapsulate", (*kms.DecapsulateInput)(nil), (*kms.DecapsulateOutput)(nil), reads},
	{"Decrypt", (*kms.DecryptInput)(nil), (*kms.DecryptOutput)(nil), reads},
	{"DeleteAlias", (*kms.DeleteAliasInput)(nil), (*kms.DeleteAliasOutput)(nil), writes},
	{"DeleteCustomKeyStore", (*kms.DeleteCustomKeyStoreInput)(nil), (*kms.DeleteCustomKeyStoreOutput)(nil), writes},
	{"DeleteImportedKeyMaterial", (*kms.DeleteImportedKeyMaterialInput)(nil), (*kms.DeleteImportedKeyMaterialOutput)(nil), writes},
	{"DeriveSharedSecret", (*kms.DeriveSharedSecretInput)(nil), (*kms.DeriveSharedSecretOutput)(nil), reads},
	{"DescribeCustomKeyStores", (*kms.DescribeCustomKeyStoresInput)(nil), (*kms.DescribeCustomKeyStoresOutput)(nil), reads},
	{"DescribeKey", (*kms.DescribeKeyInput)(nil), (*kms.DescribeKeyOutput)(nil), reads},
	{"DisableKey", (*kms.DisableKeyInput)(nil), (*kms.DisableKeyOutput)(nil), writes},
	{"DisableKeyRotation", (*kms.DisableKeyRotationInput)(nil), (*kms.DisableKeyRotationOutput)(nil), writes},
	{"DisconnectCustomKeyStore", (*kms.DisconnectCustomKeyStoreInput)(nil), (*kms.DisconnectCustomKeyStoreOutput)(nil), writes},
	{"EnableKey", (*kms.EnableKeyInput)(nil), (*kms.EnableKeyOutput)(nil), writes},
	{"EnableKeyRotation", (*kms.EnableKeyRotationInput)(nil), (*kms.EnableKeyRotationOutput)(nil), writes},
	{"Encapsulate", (*kms.EncapsulateInput)(nil), (*kms.EncapsulateOutput)(nil), reads},
	{"Encrypt", (*kms.EncryptInput)(nil), (*kms.EncryptOutput)(nil), reads},
	{"GenerateDataKey", (*kms.GenerateDataKeyInput)(nil), (*kms.GenerateDataKeyOutput)(nil), reads},
	{"GenerateDataKeyPair", (*kms.GenerateDataKeyPairInput)(nil), (*kms.GenerateDataKeyPairOutput)(nil), reads},
	{"GenerateDataKeyPairWithoutPlaintext", (*kms.GenerateDataKeyPairWithoutPlaintextInput)(nil), (*kms.GenerateDataKeyPairWithoutPlaintextOutput)(nil), reads},
	{"GenerateDataKeyWithoutPlaintext", (*kms.GenerateDataKeyWithoutPlaintextInput)(nil), (*kms.GenerateDataKeyWithoutPlaintextOutput)(nil), reads},
	{"GenerateMac", (*kms.GenerateMacInput)(nil), (*kms.GenerateMacOutput)(nil), reads},
	{"GenerateRandom", (*kms.GenerateRandomInput)(nil), (*kms.GenerateRandomOutput)(nil), reads},
	{"GetKeyLastUsage", (*kms.GetKeyLastUsageInput)(nil), (*kms.GetKeyLastUsageOutput)(nil), reads},
	{"GetKeyPolicy", (*kms.GetKeyPolicyInput)(nil), (*kms.GetKeyPolicyOutput)(nil), reads},
	{"GetKeyRotationStatus", (*kms.GetKeyRotationStatusInput)(nil), (*kms.GetKeyRotationStatusOutput)(nil), reads},
	{"GetParametersForImport", (*kms.GetParametersForImportInput)(nil), (*kms.GetParametersForImportOutput)(nil), reads},
	{"GetPublicKey", (*kms.GetPublicKeyInput)(nil), (*kms.GetPublicKeyOutput)(nil), reads},
	{"ImportKeyMaterial", (*kms.ImportKeyMaterialInput)(nil), (*kms.ImportKeyMaterialOutput)(nil), writes},
	{"ListAliases", (*kms.ListAliasesInput)(nil), (*kms.ListAliasesOutput)(nil), reads},
	{"ListGrants", (*kms.ListGrantsInput)(nil), (*kms.ListGrantsOutput)(nil), reads},
	{"ListKeyPolicies", (*kms.ListKeyPoliciesInput)(nil), (*kms.ListKeyPoliciesOutput)(nil), reads},
	{"ListKeyRotations", (*kms.ListKeyRotationsInput)(nil), (*kms.ListKeyRotationsOutput)(nil), reads},
	{"ListKeys", (*kms.ListKeysInput)(nil), (*kms.ListKeysOutput)(nil), reads},
	{"ListResourceTags", (*kms.ListResourceTagsInput)(nil), (*kms.ListResourceTagsOutput)(nil), reads},
	{"ListRetirableGrants", (*kms.ListRetirableGrantsInput)(nil), (*kms.ListRetirableGrantsOutput)(nil), reads},
	{"PutKeyPolicy", (*kms.PutKeyPolicyInput)(nil), (*kms.PutKeyPolicyOutput)(nil), writes},
	{"ReEncrypt", (*kms.ReEncryptInput)(nil), (*kms.ReEncryptOutput)(nil), reads},
	{"ReplicateKey", (*kms.ReplicateKeyInput)(nil), (*kms.ReplicateKeyOutput)(nil), writes},
	{"RetireGrant", (*kms.RetireGrantInput)(nil), (*kms.RetireGrantOutput)(nil), writes},
	{"RevokeGrant", (*kms.RevokeGrantInput)(nil), (*kms.RevokeGrantOutput)(nil), writes},
	{"RotateKeyOnDemand", (*kms.RotateKeyOnDemandInput)(nil), (*kms.RotateKeyOnDemandOutput)(nil), writes},
	{"ScheduleKeyDeletion", (*kms.ScheduleKeyDeletionInput)(nil), (*kms.ScheduleKeyDeletionOutput)(nil), writes},
	{"Sign", (*kms.SignInput)(nil), (*kms.SignOutput)(nil), reads},
	{"TagResource", (*kms.TagResourceInput)(nil), (*kms.TagResourceOutput)(nil), writes},
	{"UntagResource", (*kms.UntagResourceInput)(nil), (*kms.UntagResourceOutput)(nil), writes},
	{"UpdateAlias", (*kms.UpdateAliasInput)(nil), (*kms.UpdateAliasOutput)(nil), writes},
	{"UpdateCustomKeyStore", (*kms.UpdateCustomKeyStoreInput)(nil), (*kms.UpdateCustomKeyStoreOutput)(nil), writes},
	{"UpdateKeyDescription", (*kms.UpdateKeyDescriptionInput)(nil), (*kms.UpdateKeyDescriptionOutput)(nil), writes},
	{"UpdatePrimaryRegion", (*kms.UpdatePrimaryRegionInput)(nil), (*kms.UpdatePrimaryRegionOutput)(nil), writes},
	{"Verify", (*kms.VerifyInput)(nil), (*kms.VerifyOutput)(nil), reads},
	{"VerifyMac", (*kms.VerifyMacInput)(nil), (*kms.VerifyMacOutput)(nil), reads},
}
