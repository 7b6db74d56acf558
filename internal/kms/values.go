package kms

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// values are the condition keys of AWS KMS for one request on a key (or on none),
// and the grants of the key.
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
type values struct {
	ctx    context.Context
	svc    *Service
	call   *api.Call
	key    *key   // nil for what is not about a key
	action string // without "kms:"
	alias  string // the alias name that the caller gave for the key
	other  *key   // of ReEncrypt
	grant  *grant // of RetireGrant
	err    error  // of a read that a condition or grant needed
}

// check is authz.Check with what only the store knows.
func (v *values) check(req *authz.Request) error {
	err := authz.Check(v.ctx, v.svc.Authorize, v.call, req)
	if v.err != nil {
		return v.err
	}
	return err
}

// Value implements policy.Context. The keys of operations that are not answered
// yet have no values.
func (v *values) Value(k *policy.ConditionKey) policy.Value {
	switch k.Name {
	case "kms:encryptioncontext":
		for name, value := range v.encryptionContext() {
			if strings.EqualFold(name, k.Parameter) {
				return policy.Text(value)
			}
		}
	case "kms:encryptioncontextkeys":
		if context := v.encryptionContext(); len(context) > 0 {
			return policy.Texts(slices.Sorted(maps.Keys(context)))
		}
	case "kms:encryptionalgorithm":
		return policy.OptionalText(string(v.encryptionAlgorithm()))
	case "aws:requesttag", "aws:resourcetag":
		if k.Name == "aws:resourcetag" && v.key != nil {
			return authz.TagValue(v.key.Tags, k.Parameter)
		}
		if i := slices.IndexFunc(v.requestTags(), func(t types.Tag) bool { return strings.EqualFold(*t.TagKey, k.Parameter) }); i >= 0 {
			return policy.Text(*v.requestTags()[i].TagValue)
		}
	case "aws:tagkeys":
		if keys := v.requestTagKeys(); len(keys) > 0 {
			return policy.Texts(keys)
		}
	case "kms:recipientattestation":
		if v.call.Recipient != nil {
			if pcr, ok := v.call.Recipient.Measurement(k.Parameter); ok {
				return policy.Text(hex.EncodeToString(pcr))
			}
		}
	case "kms:keyspec", "kms:customermasterkeyspec", "kms:keyusage", "kms:customermasterkeyusage", "kms:keyorigin", "kms:multiregion", "kms:multiregionkeytype":
		return v.property(k.Name)
	default:
		if v.key != nil {
			if value := v.ofKey(k); !value.IsAbsent() {
				return value
			}
		}
		return v.ofInput(k.Name)
	}
	return policy.Absent
}

// property is a value of the key, or of the key that CreateKey is to make.
func (v *values) property(name string) policy.Value {
	var spec types.KeySpec
	var usage types.KeyUsageType
	var origin types.OriginType
	var kind types.MultiRegionKeyType
	in, creates := v.call.Input.(*sdk.CreateKeyInput)
	switch {
	case v.key != nil:
		spec, usage, origin = v.key.Spec, v.key.Usage, v.key.Origin
		kind = v.key.multiRegionType()
	case creates:
		spec, usage, origin = in.KeySpec, in.KeyUsage, in.Origin
		if aws.ToBool(in.MultiRegion) {
			kind = types.MultiRegionKeyTypePrimary
		}
	default:
		return policy.Absent
	}
	switch name {
	case "kms:keyspec", "kms:customermasterkeyspec":
		return policy.Text(string(spec))
	case "kms:keyusage", "kms:customermasterkeyusage":
		return policy.Text(string(usage))
	case "kms:keyorigin":
		return policy.Text(string(origin))
	case "kms:multiregionkeytype":
		return policy.OptionalText(string(kind))
	}
	return policy.Bool(kind != "")
}

// ofKey are the values that only a request on a key has.
func (v *values) ofKey(k *policy.ConditionKey) policy.Value {
	switch k.Name {
	case "kms:calleraccount":
		return policy.OptionalText(v.call.Caller.Account)
	case "kms:viaservice":
		return policy.OptionalText(v.call.Via)
	case "kms:requestalias":
		return policy.OptionalText(v.alias)
	case "kms:resourcealiases":
		return v.aliases()
	case "kms:reencryptonsamekey":
		if v.call.Operation == "ReEncrypt" {
			return policy.Bool(v.other != nil && v.other.arn == v.key.arn)
		}
	case "kms:trailingdayswithoutkeyusage":
		if v.call.Operation == "DisableKey" || v.call.Operation == "ScheduleKeyDeletion" {
			return v.unusedDays()
		}
	case "kms:grantisforawsresource":
		switch v.call.Operation {
		case "CreateGrant", "ListGrants", "RevokeGrant":
			return policy.Bool(v.call.Via != "")
		}
	}
	return policy.Absent
}

// ofInput are the values that the request's members give.
func (v *values) ofInput(name string) policy.Value {
	switch in := v.call.Input.(type) {
	case *sdk.CreateKeyInput:
		if name == "kms:bypasspolicylockoutsafetycheck" && in.BypassPolicyLockoutSafetyCheck {
			return policy.Bool(true)
		}
	case *sdk.ReplicateKeyInput:
		switch {
		case name == "kms:replicaregion":
			return policy.Text(*in.ReplicaRegion)
		case name == "kms:bypasspolicylockoutsafetycheck" && in.BypassPolicyLockoutSafetyCheck:
			return policy.Bool(true)
		}
	case *sdk.UpdatePrimaryRegionInput:
		if name == "kms:primaryregion" {
			return policy.Text(*in.PrimaryRegion)
		}
	case *sdk.PutKeyPolicyInput:
		if name == "kms:bypasspolicylockoutsafetycheck" && in.BypassPolicyLockoutSafetyCheck {
			return policy.Bool(true)
		}
	case *sdk.EnableKeyRotationInput:
		if name == "kms:rotationperiodindays" && in.RotationPeriodInDays != nil {
			return policy.Number(int64(*in.RotationPeriodInDays))
		}
	case *sdk.ScheduleKeyDeletionInput:
		if name == "kms:schedulekeydeletionpendingwindowindays" && in.PendingWindowInDays != nil {
			return policy.Number(int64(*in.PendingWindowInDays))
		}
	case *sdk.GenerateDataKeyPairInput:
		if name == "kms:datakeypairspec" {
			return policy.Text(string(in.KeyPairSpec))
		}
	case *sdk.GenerateDataKeyPairWithoutPlaintextInput:
		if name == "kms:datakeypairspec" {
			return policy.Text(string(in.KeyPairSpec))
		}
	case *sdk.SignInput:
		return signValue(name, in.SigningAlgorithm, in.MessageType)
	case *sdk.VerifyInput:
		return signValue(name, in.SigningAlgorithm, in.MessageType)
	case *sdk.GenerateMacInput:
		if name == "kms:macalgorithm" {
			return policy.Text(string(in.MacAlgorithm))
		}
	case *sdk.VerifyMacInput:
		if name == "kms:macalgorithm" {
			return policy.Text(string(in.MacAlgorithm))
		}
	case *sdk.DeriveSharedSecretInput:
		if name == "kms:keyagreementalgorithm" {
			return policy.Text(string(in.KeyAgreementAlgorithm))
		}
	case *sdk.EncapsulateInput:
		if name == "kms:encapsulationalgorithm" {
			return policy.Text(string(in.EncapsulationAlgorithm))
		}
	case *sdk.DecapsulateInput:
		if name == "kms:encapsulationalgorithm" {
			return policy.Text(string(in.EncapsulationAlgorithm))
		}
	case *sdk.GetParametersForImportInput:
		switch name {
		case "kms:wrappingalgorithm":
			return policy.Text(string(in.WrappingAlgorithm))
		case "kms:wrappingkeyspec":
			return policy.Text(string(in.WrappingKeySpec))
		}
	case *sdk.ImportKeyMaterialInput:
		switch {
		case name == "kms:expirationmodel":
			return policy.OptionalText(string(in.ExpirationModel))
		case name == "kms:validto" && in.ValidTo != nil:
			return policy.Time(*in.ValidTo)
		}
	case *sdk.CreateGrantInput:
		return createGrantValue(in, name)
	case *sdk.RetireGrantInput:
		if name == "kms:grantconstrainttype" && v.grant != nil {
			return policy.OptionalText(v.grant.constraintType())
		}
	}
	return policy.Absent
}

func signValue(name string, algorithm types.SigningAlgorithmSpec, kind types.MessageType) policy.Value {
	switch name {
	case "kms:signingalgorithm":
		return policy.Text(string(algorithm))
	case "kms:messagetype":
		return policy.Text(string(kind))
	}
	return policy.Absent
}

// encryptionContext is that of the request; of a grant it is the one in the
// constraints.
func (v *values) encryptionContext() map[string]string {
	switch in := v.call.Input.(type) {
	case *sdk.EncryptInput:
		return in.EncryptionContext
	case *sdk.DecryptInput:
		return in.EncryptionContext
	case *sdk.GenerateDataKeyInput:
		return in.EncryptionContext
	case *sdk.GenerateDataKeyWithoutPlaintextInput:
		return in.EncryptionContext
	case *sdk.GenerateDataKeyPairInput:
		return in.EncryptionContext
	case *sdk.GenerateDataKeyPairWithoutPlaintextInput:
		return in.EncryptionContext
	case *sdk.ReEncryptInput:
		if v.action == reEncryptFrom {
			return in.SourceEncryptionContext
		}
		return in.DestinationEncryptionContext
	case *sdk.CreateGrantInput:
		return constraintContext(in.Constraints)
	case *sdk.RetireGrantInput:
		if v.grant != nil {
			return constraintContext(v.grant.Constraints)
		}
	}
	return nil
}

// encryptionAlgorithm is that of the request, the default filled in.
func (v *values) encryptionAlgorithm() types.EncryptionAlgorithmSpec {
	switch in := v.call.Input.(type) {
	case *sdk.EncryptInput:
		return in.EncryptionAlgorithm
	case *sdk.DecryptInput:
		return in.EncryptionAlgorithm
	case *sdk.GenerateDataKeyInput, *sdk.GenerateDataKeyWithoutPlaintextInput, *sdk.GenerateDataKeyPairInput, *sdk.GenerateDataKeyPairWithoutPlaintextInput:
		return types.EncryptionAlgorithmSpecSymmetricDefault
	case *sdk.ReEncryptInput:
		if v.action == reEncryptFrom {
			return in.SourceEncryptionAlgorithm
		}
		return in.DestinationEncryptionAlgorithm
	}
	return ""
}

// requestTags are the tags that the request gives. Those of CreateKey are the
// key's tags as well.
func (v *values) requestTags() []types.Tag {
	switch in := v.call.Input.(type) {
	case *sdk.CreateKeyInput:
		return in.Tags
	case *sdk.ReplicateKeyInput:
		return in.Tags
	case *sdk.TagResourceInput:
		return in.Tags
	}
	return nil
}

func (v *values) requestTagKeys() []string {
	if in, ok := v.call.Input.(*sdk.UntagResourceInput); ok {
		return in.TagKeys
	}
	var keys []string
	for _, t := range v.requestTags() {
		keys = append(keys, *t.TagKey)
	}
	return keys
}

// aliases are the names of the key's aliases.
func (v *values) aliases() policy.Value {
	var names []string
	err := v.svc.Store.View(v.ctx, func(r store.Reader) error {
		return r.Lookup(aliasesOf(v.key), func(rec store.Record) error {
			names = append(names, rec.ID)
			return nil
		})
	})
	if err != nil {
		v.err = err
	}
	if len(names) == 0 {
		return policy.Absent
	}
	return policy.Texts(names)
}

// unusedDays is how many whole days the key has not been used.
func (v *values) unusedDays() policy.Value {
	since := v.key.Created
	last, found, err := v.svc.lastUsage(v.ctx, v.key)
	switch {
	case err != nil:
		v.err = err
		return policy.Absent
	case found:
		since = last.Time
	}
	return policy.Number(int64(v.call.Time.Sub(since) / (24 * time.Hour)))
}
