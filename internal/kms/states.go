package kms

import (
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
//	E  UnsupportedOperationException, because only imported keys can be in that state
//	K  UnsupportedOperationException, because only keys in custom key stores can be in it
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
	"DisableKeyRotation":                  "kDSSEKSk",
	"EnableKey":                           "..SSS.SS",
	"EnableKeyRotation":                   "kDSSEKSk",
	"Encapsulate":                         ".DSSS-S.",
	"Encrypt":                             ".DSSSSS.",
	"GenerateDataKey":                     ".DSSSSS.",
	"GenerateDataKeyPair":                 ".DSSSKS.",
	"GenerateDataKeyPairWithoutPlaintext": ".DSSSKS.",
	"GenerateDataKeyWithoutPlaintext":     ".DSSSSS.",
	"GenerateMac":                         ".DSSS-S.",
	"GetKeyLastUsage":                     "........",
	"GetKeyPolicy":                        "........",
	"GetKeyRotationStatus":                "kkkkEKkk",
	"GetParametersForImport":              "kkSS.KSS",
	"GetPublicKey":                        "..SS.-S.",
	"ImportKeyMaterial":                   "kkKK.KS.",
	"ListAliases":                         "........",
	"ListGrants":                          "........",
	"ListKeyPolicies":                     "........",
	"ListKeyRotations":                    "kkkk.Kkk",
	"ListResourceTags":                    "........",
	"PutKeyPolicy":                        "........",
	"ReEncrypt":                           ".DSSSSS.",
	"ReplicateKey":                        ".DSSS-SS",
	"RetireGrant":                         "........",
	"RevokeGrant":                         "........",
	"RotateKeyOnDemand":                   "kDSSSKSk",
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

// checkState refuses the operation if the state of the key forbids it.
func checkState(operation string, state types.KeyState, arn string) error {
	row, ok := stateTable[operation]
	if !ok {
		return nil
	}
	for i, column := range keyStates {
		if column.state != state {
			continue
		}
		switch row[i] {
		case '.', 'k':
			return nil
		case 'D':
			return awserr.New(awserr.Disabled, "%s is disabled.", arn)
		case 'S':
			return awserr.New(awserr.KMSInvalidState, "%s is %s.", arn, column.words)
		case 'N':
			return awserr.New(awserr.KMSInvalidState, "%s is not pending deletion.", arn)
		case 'E':
			return awserr.New(awserr.UnsupportedOperation, "%s origin is EXTERNAL which is not valid for this operation.", arn)
		case 'K':
			return awserr.New(awserr.UnsupportedOperation, "%s is in a custom key store, which is not valid for this operation.", arn)
		}
	}
	return awserr.New(awserr.KMSInternal, "%s is in a state that %s does not know.", arn, operation)
}
