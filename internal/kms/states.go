package kms

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/awserr"
)

// keyStates are the columns of stateTable, in its order, with the words that an
// error message uses for them.
var keyStates = []struct {
	state types.KeyState
	words string
}{
	{types.KeyStateEnabled, "enabled"},
	{types.KeyStateDisabled, "disabled"},
	{types.KeyStatePendingDeletion, "pending deletion"},
	{types.KeyStatePendingReplicaDeletion, "pending replica deletion"},
	{types.KeyStatePendingImport, "pending import"},
	{types.KeyStateUnavailable, "unavailable"},
	{types.KeyStateCreating, "creating"},
	{types.KeyStateUpdating, "updating"},
}

// stateTable tells for every operation on a key what each key state makes of it:
//
//	.  works
//	D  DisabledException, "ARN is disabled."
//	S  KMSInvalidStateException, "ARN is <state>."
//	N  KMSInvalidStateException, "ARN is not pending deletion."
//	O  UnsupportedOperationException, "ARN origin is <origin> which is not valid
//	   for this operation.": only keys of such an origin can be in that state
//	k  works, unless the kind or the origin of the key forbids it, which the handler checks
//	-  cannot occur
//
// Operations that act on no existing key have no row.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
var stateTable = map[string]string{
	//                                     Enabled, Disabled, PendingDeletion, PendingReplicaDeletion,
	//                                     PendingImport, Unavailable, Creating, Updating
	"CancelKeyDeletion":                   "NN..NNNN",
	"CreateAlias":                         "..SS....",
	"CreateGrant":                         ".DSSS.S.",
	"Decapsulate":                         ".DSSS-S.",
	"Decrypt":                             ".DSSSSS.",
	"DeleteAlias":                         "........",
	"DeleteImportedKeyMaterial":           "kkkk.-SS",
	"DeriveSharedSecret":                  ".DSSS-S.",
	"DescribeKey":                         "........",
	"DisableKey":                          "..SSS.SS",
	"DisableKeyRotation":                  "kDSSOOSk",
	"EnableKey":                           "..SSS.SS",
	"EnableKeyRotation":                   "kDSSOOSk",
	"Encapsulate":                         ".DSSS-S.",
	"Encrypt":                             ".DSSSSS.",
	"GenerateDataKey":                     ".DSSSSS.",
	"GenerateDataKeyPair":                 ".DSSSOS.",
	"GenerateDataKeyPairWithoutPlaintext": ".DSSSOS.",
	"GenerateDataKeyWithoutPlaintext":     ".DSSSSS.",
	"GenerateMac":                         ".DSSS-S.",
	"GetKeyLastUsage":                     "........",
	"GetKeyPolicy":                        "........",
	"GetKeyRotationStatus":                "kkkkOOkk",
	"GetParametersForImport":              "kkSS.OSS",
	"GetPublicKey":                        "..SS.-S.",
	"ImportKeyMaterial":                   "kkOO.OS.",
	"ListAliases":                         "........",
	"ListGrants":                          "........",
	"ListKeyPolicies":                     "........",
	"ListKeyRotations":                    "kkkk.Okk",
	"ListResourceTags":                    "........",
	"PutKeyPolicy":                        "........",
	"ReEncrypt":                           ".DSSSSS.",
	"ReplicateKey":                        ".DSSS-SS",
	"RetireGrant":                         "........",
	"RevokeGrant":                         "........",
	"RotateKeyOnDemand":                   "kDSSSOSk",
	"ScheduleKeyDeletion":                 "..SS...S",
	"Sign":                                ".DSSS-S.",
	"TagResource":                         "..SS....",
	"UntagResource":                       "..SS....",
	"UpdateAlias":                         "..SS....",
	"UpdateKeyDescription":                "..SS....",
	"UpdatePrimaryRegion":                 ".DSSS-S.",
	"Verify":                              ".DSSS-S.",
	"VerifyMac":                           ".DSSS-S.",
}

// stateAt is the key state for a call: material whose time is over is gone, even if
// the background job is late.
func (k *key) stateAt(now time.Time) types.KeyState {
	if k.Origin == types.OriginTypeExternal && k.State != types.KeyStatePendingDeletion {
		if first := k.expiry(); !first.IsZero() && !first.After(now) {
			return types.KeyStatePendingImport
		}
	}
	return k.State
}

// checkState refuses the operation if the state of the key forbids it.
func (k *key) checkState(operation string, now time.Time) error {
	row, ok := stateTable[operation]
	if !ok {
		return nil
	}
	state := k.stateAt(now)
	for i, column := range keyStates {
		if column.state != state {
			continue
		}
		switch row[i] {
		case '.', 'k':
			return nil
		case 'D':
			return awserr.New(awserr.Disabled, "%s is disabled.", k.arn)
		case 'S':
			return awserr.New(awserr.KMSInvalidState, "%s is %s.", k.arn, column.words)
		case 'N':
			return awserr.New(awserr.KMSInvalidState, "%s is not pending deletion.", k.arn)
		case 'O':
			return awserr.New(awserr.UnsupportedOperation, "%s origin is %s which is not valid for this operation.", k.arn, k.Origin)
		}
	}
	return awserr.New(awserr.KMSInternal, "%s is in a state that %s does not know.", k.arn, operation)
}

// usageTable tells which key usage an operation needs.
var usageTable = map[string]types.KeyUsageType{
	"Encrypt": types.KeyUsageTypeEncryptDecrypt, "Decrypt": types.KeyUsageTypeEncryptDecrypt, "ReEncrypt": types.KeyUsageTypeEncryptDecrypt,
	"GenerateDataKey": types.KeyUsageTypeEncryptDecrypt, "GenerateDataKeyWithoutPlaintext": types.KeyUsageTypeEncryptDecrypt,
	"GenerateDataKeyPair": types.KeyUsageTypeEncryptDecrypt, "GenerateDataKeyPairWithoutPlaintext": types.KeyUsageTypeEncryptDecrypt,
	"Sign": types.KeyUsageTypeSignVerify, "Verify": types.KeyUsageTypeSignVerify,
	"GenerateMac": types.KeyUsageTypeGenerateVerifyMac, "VerifyMac": types.KeyUsageTypeGenerateVerifyMac,
	"DeriveSharedSecret": types.KeyUsageTypeKeyAgreement,
	"Encapsulate":        types.KeyUsageTypeEncapsulateDecapsulate, "Decapsulate": types.KeyUsageTypeEncapsulateDecapsulate,
}

// symmetricOnly are the operations for symmetric encryption keys alone: of those with
// a wrong usage, and of the others. What the latter answer has no message.
var symmetricOnly = map[string]bool{
	"GenerateDataKey": true, "GenerateDataKeyWithoutPlaintext": true, "GenerateDataKeyPair": true, "GenerateDataKeyPairWithoutPlaintext": true,
	"EnableKeyRotation": false, "DisableKeyRotation": false, "GetKeyRotationStatus": false, "RotateKeyOnDemand": false, "ListKeyRotations": false,
}

// checkUsage refuses an operation that the kind of key cannot do.
func (k *key) checkUsage(operation string) error {
	needed, ok := usageTable[operation]
	wrong := ok && k.Usage != needed
	if byUsage, only := symmetricOnly[operation]; only && k.Spec != types.KeySpecSymmetricDefault {
		if !byUsage {
			return awserr.New(awserr.UnsupportedOperation, "")
		}
		wrong = true
	}
	if operation == "GetPublicKey" && !k.spec().Asymmetric() {
		return awserr.New(awserr.UnsupportedOperation, "")
	}
	if wrong {
		return awserr.New(awserr.InvalidKeyUsage, "%s key usage is %s which is not valid for %s.", k.arn, k.Usage, operation)
	}
	return nil
}
