package kms_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

// TestConditionKeys is every condition key that the operations of this version
// have: a call that the condition lets through, and one that it does not.
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
func TestConditionKeys(t *testing.T) {
	a := startAccount(t)
	user := a.user("subject", document(allow("kms:*")))
	name := aws.String("subject")
	c := user.KMS(region)
	key, other := a.key(""), a.key("")
	apitest.Must[*kms.CreateAliasOutput](t)(a.root.KMS(region).CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/app"), TargetKeyId: &key}))
	apitest.Must[*kms.TagResourceOutput](t)(a.root.KMS(region).TagResource(ctx, &kms.TagResourceInput{KeyId: &key, Tags: []types.Tag{{TagKey: aws.String("Team"), TagValue: aws.String("red")}}}))
	blob := encrypt(t, a.root.KMS(region), &key, "x", nil)

	encryptWith := func(id string) func() error {
		return func() error {
			_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
			return err
		}
	}
	reencrypt := func(to string) func() error {
		return func() error {
			_, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: blob, DestinationKeyId: &to})
			return err
		}
	}
	create := func(change func(in *kms.CreateKeyInput)) func() error {
		return func() error {
			in := &kms.CreateKeyInput{}
			change(in)
			_, err := c.CreateKey(ctx, in)
			return err
		}
	}
	tag := func(key, value string) func(in *kms.CreateKeyInput) {
		return func(in *kms.CreateKeyInput) { in.Tags = []types.Tag{{TagKey: &key, TagValue: &value}} }
	}
	rotation := func(days *int32) func() error {
		return func() error {
			_, err := c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: &key, RotationPeriodInDays: days})
			return err
		}
	}
	deletion := func(id string, days *int32) func() error {
		return func() error {
			_, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: days})
			if err == nil {
				_, err = a.root.KMS(region).CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &id})
			}
			if err == nil {
				_, err = a.root.KMS(region).EnableKey(ctx, &kms.EnableKeyInput{KeyId: &id})
			}
			return err
		}
	}
	through := func(service string) func() error {
		return func() error {
			_, err := user.Through(service, region).Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")})
			return err
		}
	}
	put := func(bypass bool) func() error {
		return func() error {
			_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: aws.String(document(allow("kms:*", principal(a.arn("root"))))), BypassPolicyLockoutSafetyCheck: bypass})
			return err
		}
	}
	disable := func(id string) func() error {
		return func() error {
			_, err := c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &id})
			if err == nil {
				_, err = a.root.KMS(region).EnableKey(ctx, &kms.EnableKeyInput{KeyId: &id})
			}
			return err
		}
	}
	untag := func(key string) func() error {
		return func() error {
			_, err := c.UntagResource(ctx, &kms.UntagResourceInput{KeyId: &other, TagKeys: []string{key}})
			return err
		}
	}
	apitest.Must[*kms.EncryptOutput](t)(a.root.KMS(region).Encrypt(ctx, &kms.EncryptInput{KeyId: &other, Plaintext: []byte("x")}))
	unused := a.key("")
	a.srv.Advance(10 * 24 * time.Hour)
	apitest.Must[*kms.EncryptOutput](t)(a.root.KMS(region).Encrypt(ctx, &kms.EncryptInput{KeyId: &other, Plaintext: []byte("x")}))

	ext := newExternal(t, a.root.KMS(region), "", "").KeyId
	parameters := func(algorithm types.AlgorithmSpec, spec types.WrappingKeySpec) func() error {
		return func() error {
			_, err := c.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: ext, WrappingAlgorithm: algorithm, WrappingKeySpec: spec})
			return err
		}
	}
	sha1, sha256 := types.AlgorithmSpecRsaesOaepSha1, types.AlgorithmSpecRsaesOaepSha256
	rsa2048, rsa4096 := types.WrappingKeySpecRsa2048, types.WrappingKeySpecRsa4096
	p := apitest.Must[*kms.GetParametersForImportOutput](t)(a.root.KMS(region).GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: ext, WrappingAlgorithm: sha256, WrappingKeySpec: rsa2048}))
	imported := func(days int) func() error {
		in := &kms.ImportKeyMaterialInput{KeyId: ext, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrap(t, sha256, p.PublicKey, make([]byte, 32)), ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire}
		if days != 0 {
			in.ExpirationModel, in.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, aws.Time(a.srv.Now().Add(time.Duration(days)*24*time.Hour))
		}
		return func() error {
			_, err := c.ImportKeyMaterial(ctx, in)
			return err
		}
	}
	primary := newPrimary(t, a.root.KMS(region), nil).KeyId
	replicate := func(to string) func() error {
		return func() error {
			_, err := c.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: primary, ReplicaRegion: &to})
			return err
		}
	}
	soon := a.srv.Now().Add(20 * 24 * time.Hour).Format(time.RFC3339)

	for _, test := range []struct {
		condition string // of an Allow statement for kms:*
		yes, no   func() error
	}{
		{condition("StringEquals", "kms:CallerAccount", a.id), encryptWith(key), nil},
		{condition("StringEquals", "kms:CallerAccount", "444455556666"), nil, encryptWith(key)},
		{condition("StringEquals", "kms:KeySpec", "SYMMETRIC_DEFAULT"), encryptWith(key), nil},
		{condition("StringEquals", "kms:CustomerMasterKeySpec", "RSA_2048"), nil, encryptWith(key)},
		{condition("StringEquals", "kms:KeyUsage", "ENCRYPT_DECRYPT"), create(func(*kms.CreateKeyInput) {}), nil},
		{condition("StringEquals", "kms:CustomerMasterKeyUsage", "SIGN_VERIFY"), nil, create(func(*kms.CreateKeyInput) {})},
		{condition("StringEquals", "kms:KeyOrigin", "AWS_KMS"), encryptWith(key), nil},
		{condition("StringEquals", "kms:KeyOrigin", "EXTERNAL"), nil, create(func(*kms.CreateKeyInput) {})},
		{condition("Bool", "kms:MultiRegion", "false"), encryptWith(key), create(func(in *kms.CreateKeyInput) { in.MultiRegion = aws.Bool(true) })},
		{condition("StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT"), encryptWith(key), disable(key)},
		{condition("StringEquals", "kms:RequestAlias", "alias/app"), encryptWith("alias/app"), encryptWith(key)},
		{condition("ForAnyValue:StringEquals", "kms:ResourceAliases", "alias/app"), encryptWith(key), encryptWith(other)},
		{condition("StringEquals", "aws:ResourceTag/team", "red"), encryptWith(key), encryptWith(other)},
		{condition("StringEquals", "aws:RequestTag/Team", "red"), create(tag("team", "red")), create(tag("team", "blue"))},
		{`"Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["Team"]},"Null":{"aws:TagKeys":"false"}}`, untag("Team"), untag("Other")},
		{condition("Bool", "kms:ReEncryptOnSameKey", "true"), reencrypt(key), reencrypt(other)},
		{condition("Bool", "kms:BypassPolicyLockoutSafetyCheck", "true"), put(true), put(false)},
		{condition("Null", "kms:BypassPolicyLockoutSafetyCheck", "true"), put(false), put(true)},
		{condition("NumericLessThanEquals", "kms:RotationPeriodInDays", "180"), rotation(aws.Int32(180)), rotation(aws.Int32(181))},
		{condition("Null", "kms:RotationPeriodInDays", "true"), rotation(nil), rotation(aws.Int32(180))},
		{condition("NumericGreaterThanEquals", "kms:ScheduleKeyDeletionPendingWindowInDays", "14"), deletion(other, aws.Int32(14)), deletion(other, aws.Int32(13))},
		{condition("NumericEquals", "kms:ScheduleKeyDeletionPendingWindowInDays", "30"), deletion(other, nil), deletion(other, aws.Int32(7))},
		{condition("NumericGreaterThanEquals", "kms:TrailingDaysWithoutKeyUsage", "10"), disable(unused), disable(other)},
		{condition("StringEquals", "kms:WrappingAlgorithm", string(sha256)), parameters(sha256, rsa2048), parameters(sha1, rsa2048)},
		{condition("StringEquals", "kms:WrappingKeySpec", string(rsa4096)), parameters(sha256, rsa4096), parameters(sha256, rsa2048)},
		{condition("StringEquals", "kms:ExpirationModel", "KEY_MATERIAL_EXPIRES"), imported(10), imported(0)},
		{condition("DateLessThan", "kms:ValidTo", soon), imported(10), imported(30)},
		{condition("StringEquals", "kms:ReplicaRegion", osaka), replicate(osaka), replicate(oregon)},
		{condition("StringEqualsIfExists", "kms:MultiRegionKeyType", "PRIMARY"), create(func(in *kms.CreateKeyInput) { in.MultiRegion = aws.Bool(true) }), replicate("eu-west-1")},
		{condition("StringEquals", "kms:MultiRegionKeyType", "PRIMARY"), encryptWith(*primary), encryptWith(key)},
		{condition("StringEqualsIfExists", "aws:RequestedRegion", region), encryptWith(*primary), replicate("eu-west-1")}, // it asks for CreateKey there
		{condition("StringEquals", "kms:PrimaryRegion", oregon), nil, func() error {
			_, err := c.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: primary, PrimaryRegion: aws.String(osaka)})
			return err
		}},
		{condition("StringEquals", "kms:PrimaryRegion", osaka), func() error {
			_, err := c.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: primary, PrimaryRegion: aws.String(osaka)})
			return err
		}, nil},
		{condition("StringEquals", "kms:ViaService", "s3."+region+".amazonaws.com"), through("s3.amazonaws.com"), through("ec2.amazonaws.com")},
		{condition("StringNotEquals", "kms:ViaService", "s3."+region+".amazonaws.com"), encryptWith(key), through("s3.amazonaws.com")},
		{condition("Bool", "aws:ViaAWSService", "true"), through("s3.amazonaws.com"), encryptWith(key)},
		{condition("StringEquals", "aws:CalledViaFirst", "s3.amazonaws.com"), through("s3.amazonaws.com"), encryptWith(key)},
		{condition("StringEquals", "aws:RequestedRegion", region), encryptWith(key), func() error { return tryIn(user, "us-west-2") }},
		{condition("IpAddress", "aws:SourceIp", "127.0.0.0/8"), encryptWith(key), nil},
		{condition("NotIpAddress", "aws:SourceIp", "127.0.0.1/32"), nil, encryptWith(key)},
		{condition("Bool", "aws:SecureTransport", "true"), nil, encryptWith(key)}, // the test speaks plain HTTP
		{condition("StringEquals", "aws:username", "subject"), encryptWith(key), nil},
		{condition("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/sub*"), encryptWith(key), nil},
		{condition("StringEquals", "aws:PrincipalAccount", "444455556666"), nil, encryptWith(key)},
		{condition("StringLike", "aws:PrincipalOrgID", "o-*"), encryptWith(key), nil},
		{condition("StringLike", "aws:UserAgent", "*aws-sdk-go-v2*"), encryptWith(key), nil},
		{condition("DateLessThan", "aws:CurrentTime", "2000-01-01T00:00:00Z"), nil, encryptWith(key)},
		{condition("Null", "aws:TokenIssueTime", "true"), encryptWith(key), func() error { return try(a.session(user, "", ""), key, nil) }},
	} {
		t.Run(test.condition, func(t *testing.T) {
			policy := document(allow("kms:*", test.condition), allow("sts:*", `"Resource":"*"`))
			apitest.Must[*iam.PutUserPolicyOutput](t)(a.root.IAM().PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("inline"), PolicyDocument: &policy}))
			if test.yes != nil {
				wantOK(t, test.yes())
			}
			if test.no != nil {
				wantDenied(t, test.no(), "because no identity-based policy allows")
			}
		})
	}
}

// tryIn lists keys in a Region.
func tryIn(c kagimoritest.Caller, region string) error {
	_, err := c.KMS(region).ListKeys(ctx, &kms.ListKeysInput{})
	return err
}

// What is about a key of another account takes both sides, and what cannot be done
// across accounts cannot.
func TestCrossAccount(t *testing.T) {
	a := startAccount(t)
	b := a.member("partner")
	user := b.user("worker", document(allow("kms:*")))
	key := a.key(document(allow("kms:*", principal(a.arn("root"), b.arn("root")))))
	wantOK(t, try(user, key, nil))
	_, err := user.KMS(region).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	wantOK(t, err)
	hidden := "on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
	for name, err := range map[string]error{
		"DisableKey":   second(user.KMS(region).DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key})),
		"GetKeyPolicy": second(user.KMS(region).GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &key})),
		"TagResource":  second(user.KMS(region).TagResource(ctx, &kms.TagResourceInput{KeyId: &key, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})),
	} {
		apitest.WantError(t, err, "AccessDeniedException", fmt.Sprintf("User: %s is not authorized to perform: kms:%s %s", b.arn("user/worker"), name, hidden))
	}
	nobody := b.user("nobody", "")
	wantDenied(t, try(nobody, key, nil), "because no identity-based policy allows the kms:Encrypt action")
	closed := a.key("")
	apitest.WantError(t, try(user, closed, nil), "AccessDeniedException", fmt.Sprintf("User: %s is not authorized to perform: kms:Encrypt %s", b.arn("user/worker"), hidden))
	// An alias of another account, by its ARN.
	apitest.Must[*kms.CreateAliasOutput](t)(a.root.KMS(region).CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/shared"), TargetKeyId: &key}))
	wantOK(t, try(user, "arn:aws:kms:"+region+":"+a.id+":alias/shared", nil))
}

func second[T any](_ T, err error) error { return err }

// The keys of a closed account are of no use to anybody.
func TestClosedAccount(t *testing.T) {
	a := startAccount(t)
	b := a.member("owner")
	key := b.key(document(allow("kms:*", principal(b.arn("root"), a.arn("root")))))
	user := a.user("worker", document(allow("kms:*")))
	theirs := b.user("theirs", document(allow("kms:*")))
	wantOK(t, try(user, key, nil))
	wantOK(t, try(theirs, key, nil))
	apitest.Must[*organizations.CloseAccountOutput](t)(a.root.Organizations().CloseAccount(ctx, &organizations.CloseAccountInput{AccountId: &b.id}))
	wantDenied(t, try(user, key, nil), "on this resource because")
	apitest.WantError(t, try(theirs, key, nil), "UnrecognizedClientException")
	apitest.WantError(t, try(b.root, key, nil), "UnrecognizedClientException")
}
