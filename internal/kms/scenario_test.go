package kms_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/apitest"
)

// The scenarios are the policies of the paper "AWS Key Management Service Best
// Practices" and of the KMS developer guide, each as those whom it concerns meet it.
// https://docs.aws.amazon.com/prescriptive-guidance/latest/aws-kms-best-practices/introduction.html

// The default key policy leaves the decision to the IAM policies of the account.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
func TestDefaultPolicyDelegates(t *testing.T) {
	a := startAccount(t)
	key := a.key("")
	nothing := a.user("nothing", "")
	user := a.user("user", document(allow("kms:Encrypt")))
	denied := a.user("denied", document(allow("kms:*"), deny("kms:Encrypt")))
	other := a.user("other", fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Encrypt","Resource":"%s0"}}`, key))

	wantOK(t, try(a.root, key, nil))
	wantOK(t, try(user, key, nil))
	_, err := user.KMS(region).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	apitest.WantError(t, err, "AccessDeniedException", "User: "+a.arn("user/user")+" is not authorized to perform: kms:DescribeKey on resource: "+key+
		" because no identity-based policy allows the kms:DescribeKey action")
	wantDenied(t, try(nothing, key, nil), "because no identity-based policy allows the kms:Encrypt action")
	wantDenied(t, try(denied, key, nil), "with an explicit deny in an identity-based policy")
	wantDenied(t, try(other, key, nil), "because no identity-based policy allows the kms:Encrypt action")

	// What a change of a policy acknowledged, the next call sees.
	apitest.Must[*iam.PutUserPolicyOutput](t)(a.root.IAM().PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("nothing"), PolicyName: aws.String("p"),
		PolicyDocument: aws.String(document(allow("kms:Encrypt")))}))
	wantOK(t, try(nothing, key, nil))
	apitest.Must[*iam.DeleteUserPolicyOutput](t)(a.root.IAM().DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: aws.String("nothing"), PolicyName: aws.String("p")}))
	wantDenied(t, try(nothing, key, nil))
}

// A key policy without the account's root gives nothing to IAM policies.
func TestKeyPolicyWithoutRoot(t *testing.T) {
	a := startAccount(t)
	owner := a.user("owner", document(allow("kms:CreateKey")))
	power := a.user("power", document(allow("kms:*")))
	policy := document(allow("kms:*", principal(a.arn("user/owner"))))
	key := *apitest.Must[*kms.CreateKeyOutput](t)(owner.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{Policy: &policy})).KeyMetadata.Arn
	wantOK(t, try(owner, key, nil))
	wantDenied(t, try(power, key, nil), "because no resource-based policy allows the kms:Encrypt action")
	wantDenied(t, try(a.root, key, nil), "because no resource-based policy allows the kms:Encrypt action")

	// A user of the same name is not the user that the policy means.
	c := a.root.IAM()
	keys := apitest.Must[*iam.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: aws.String("owner")}))
	id := *apitest.Must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("owner")})).User.UserId
	apitest.Must[*iam.DeleteAccessKeyOutput](t)(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: aws.String("owner"), AccessKeyId: keys.AccessKeyMetadata[0].AccessKeyId}))
	apitest.Must[*iam.DeleteUserPolicyOutput](t)(c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: aws.String("owner"), PolicyName: aws.String("inline")}))
	apitest.Must[*iam.DeleteUserOutput](t)(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("owner")}))
	again := a.user("owner", document(allow("kms:*")))
	wantDenied(t, try(again, key, nil), "because no resource-based policy allows the kms:Encrypt action")

	// GetKeyPolicy shows who was meant.
	second := a.key(document(allow("kms:*", principal(a.arn("root"))), allow("kms:Decrypt", principal(a.arn("user/power")))))
	for name := range map[string]bool{"power": true} {
		keys := apitest.Must[*iam.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name}))
		id = *apitest.Must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{UserName: &name})).User.UserId
		apitest.Must[*iam.DeleteAccessKeyOutput](t)(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: keys.AccessKeyMetadata[0].AccessKeyId}))
		apitest.Must[*iam.DeleteUserPolicyOutput](t)(c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &name, PolicyName: aws.String("inline")}))
		apitest.Must[*iam.DeleteUserOutput](t)(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name}))
	}
	shown := *apitest.Must[*kms.GetKeyPolicyOutput](t)(a.root.KMS(region).GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &second})).Policy
	if want := document(allow("kms:*", principal(a.arn("root"))), allow("kms:Decrypt", principal(id))); shown != want {
		t.Errorf("the policy is shown as %s\nwant %s", shown, want)
	}
}

// Administrators cannot use the key, and users cannot administer it. Grants are for
// services only.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html#key-policy-default-allow-administrators
func TestAdministratorsAndUsers(t *testing.T) {
	a := startAccount(t)
	a.role("admin", document(allow("kms:CreateKey")))
	a.role("app", "")
	admin, app := a.assume("admin"), a.assume("app")
	policy := document(
		allow("kms:Create*,kms:Describe*,kms:Enable*,kms:List*,kms:Put*,kms:Update*,kms:Revoke*,kms:Disable*,kms:Get*,kms:Delete*,kms:TagResource,kms:UntagResource,kms:ScheduleKeyDeletion,kms:CancelKeyDeletion",
			principal(a.arn("role/admin"))),
		allow("kms:Encrypt,kms:Decrypt,kms:ReEncrypt*,kms:GenerateDataKey*,kms:DescribeKey", principal(a.arn("role/app"))),
		allow("kms:CreateGrant,kms:ListGrants,kms:RevokeGrant", principal(a.arn("role/app")), condition("Bool", "kms:GrantIsForAWSResource", "true")),
	)
	key := *apitest.Must[*kms.CreateKeyOutput](t)(admin.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{Policy: &policy})).KeyMetadata.Arn

	wantDenied(t, try(admin, key, nil), "because no resource-based policy allows the kms:Encrypt action")
	_, err := admin.KMS(region).DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key})
	wantOK(t, err)
	_, err = admin.KMS(region).EnableKey(ctx, &kms.EnableKeyInput{KeyId: &key})
	wantOK(t, err)

	wantOK(t, try(app, key, nil))
	_, err = app.KMS(region).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &key, KeySpec: types.DataKeySpecAes256})
	wantOK(t, err)
	_, err = app.KMS(region).ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &key})
	wantDenied(t, err, "because no resource-based policy allows the kms:ScheduleKeyDeletion action")
	_, err = app.KMS(region).PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: &policy})
	wantDenied(t, err)

	in := &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String(a.arn("role/admin")), Operations: []types.GrantOperation{types.GrantOperationDecrypt}}
	_, err = app.KMS(region).CreateGrant(ctx, in)
	wantDenied(t, err, "because no resource-based policy allows the kms:CreateGrant action")
	_, err = app.Through("ec2.amazonaws.com", region).CreateGrant(ctx, in)
	wantOK(t, err)

	// A policy that would lock its author out is refused, unless that is wanted.
	useless := document(allow("kms:Decrypt", principal(a.arn("role/admin"))))
	_, err = admin.KMS(region).PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: &useless})
	apitest.WantError(t, err, "MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	_, err = admin.KMS(region).PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: &useless, BypassPolicyLockoutSafetyCheck: true})
	wantOK(t, err)
}

// The role of a volume service may use the key only through the service, and make
// grants only for it.
// https://docs.aws.amazon.com/prescriptive-guidance/latest/aws-kms-best-practices/data-protection-key-policies.html
func TestVolumeServiceRole(t *testing.T) {
	a := startAccount(t)
	a.role("storage", "")
	role := a.assume("storage")
	via := fmt.Sprintf(`"Condition":{"StringEquals":{"kms:ViaService":"ec2.%s.amazonaws.com"}}`, region)
	key := a.key(document(
		allow("kms:*", principal(a.arn("root"))),
		allow("kms:GenerateDataKeyWithoutPlaintext,kms:Decrypt", principal(a.arn("role/storage")), via),
		allow("kms:CreateGrant", principal(a.arn("role/storage")),
			fmt.Sprintf(`"Condition":{"StringEquals":{"kms:ViaService":"ec2.%s.amazonaws.com"},"Bool":{"kms:GrantIsForAWSResource":"true"}}`, region)),
	))
	volume := map[string]string{"aws:ebs:id": "vol-0123456789abcdef0"}
	dataKey := &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: &key, KeySpec: types.DataKeySpecAes256, EncryptionContext: volume}
	_, err := role.KMS(region).GenerateDataKeyWithoutPlaintext(ctx, dataKey)
	wantDenied(t, err)
	_, err = role.Through("s3.amazonaws.com", region).GenerateDataKeyWithoutPlaintext(ctx, dataKey)
	wantDenied(t, err)
	made := apitest.Must[*kms.GenerateDataKeyWithoutPlaintextOutput](t)(role.Through("ec2.amazonaws.com", region).GenerateDataKeyWithoutPlaintext(ctx, dataKey))

	// The service decrypts for the machine by a grant that the role had it make.
	const machine = "arn:aws:ec2:" + region + ":111122223333:instance/i-0123456789abcdef0"
	in := &kms.CreateGrantInput{
		KeyId: &key, GranteeServicePrincipal: aws.String("ec2.amazonaws.com"), RetiringServicePrincipal: aws.String("ec2.amazonaws.com"),
		Operations:  []types.GrantOperation{types.GrantOperationDecrypt, types.GrantOperationRetireGrant},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: volume, SourceArn: aws.String(machine)},
	}
	_, err = role.KMS(region).CreateGrant(ctx, in)
	wantDenied(t, err)
	granted := apitest.Must[*kms.CreateGrantOutput](t)(role.Through("ec2.amazonaws.com", region).CreateGrant(ctx, in))
	decrypt := &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob, EncryptionContext: volume, KeyId: &key}
	service := a.srv.Service("ec2.amazonaws.com", region, machine, a.id)
	_, err = service.Decrypt(ctx, decrypt)
	wantOK(t, err)
	_, err = a.srv.Service("ec2.amazonaws.com", region, machine+"0", a.id).Decrypt(ctx, decrypt)
	wantDenied(t, err)
	_, err = a.srv.Service("rds.amazonaws.com", region, machine, a.id).Decrypt(ctx, decrypt)
	wantDenied(t, err)
	_, err = role.KMS(region).Decrypt(ctx, decrypt)
	wantDenied(t, err)
	_, err = service.RetireGrant(ctx, &kms.RetireGrantInput{KeyId: &key, GrantId: granted.GrantId})
	wantOK(t, err)
	_, err = service.Decrypt(ctx, decrypt)
	wantDenied(t, err)
}

// The encryption context must name the application and the version.
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context
func TestEncryptionContextRequired(t *testing.T) {
	a := startAccount(t)
	user := a.user("user", "")
	key := a.key(document(
		allow("kms:*", principal(a.arn("root"))),
		allow("kms:Encrypt,kms:Decrypt", principal(a.arn("user/user")), `"Condition":{"StringEquals":{"kms:EncryptionContext:AppName":"ExampleApp"},"StringLike":{"kms:EncryptionContext:Version":"1.*"}}`),
		deny("kms:Encrypt", principal(a.arn("user/user")), `"Condition":{"ForAnyValue:StringEquals":{"kms:EncryptionContextKeys":"Secret"}}`),
	))
	wantOK(t, try(user, key, map[string]string{"AppName": "ExampleApp", "Version": "1.2"}))
	wantOK(t, try(user, key, map[string]string{"appname": "ExampleApp", "Version": "1.2", "Other": "x"}))
	wantDenied(t, try(user, key, nil))
	wantDenied(t, try(user, key, map[string]string{"AppName": "ExampleApp"}))
	wantDenied(t, try(user, key, map[string]string{"AppName": "exampleapp", "Version": "1.2"}))
	wantDenied(t, try(user, key, map[string]string{"AppName": "ExampleApp", "Version": "2.0"}))
	wantDenied(t, try(user, key, map[string]string{"AppName": "ExampleApp", "Version": "1.2", "Secret": "x"}), "with an explicit deny in a resource-based policy")
}

// What destroys needs a code of an MFA device from the last five minutes.
// https://docs.aws.amazon.com/prescriptive-guidance/latest/aws-kms-best-practices/identity-and-access-management.html
func TestMFAForDestruction(t *testing.T) {
	a := startAccount(t)
	user := a.user("operator", document(allow("kms:*")))
	serial, code := a.mfa("operator")
	policy := document(
		allow("kms:*", principal(a.arn("root"))),
		deny("kms:DeleteAlias,kms:DeleteImportedKeyMaterial,kms:PutKeyPolicy,kms:ScheduleKeyDeletion", `"Principal":"*"`,
			condition("NumericGreaterThanIfExists", "aws:MultiFactorAuthAge", "300")),
		deny("kms:DeleteAlias,kms:DeleteImportedKeyMaterial,kms:PutKeyPolicy,kms:ScheduleKeyDeletion", `"Principal":"*"`,
			condition("BoolIfExists", "aws:MultiFactorAuthPresent", "false"), `"Sid":"NoMFA"`),
		deny("kms:DeleteAlias,kms:DeleteImportedKeyMaterial,kms:PutKeyPolicy,kms:ScheduleKeyDeletion", `"Principal":"*"`,
			condition("Null", "aws:MultiFactorAuthAge", "true"), `"Sid":"LongTermKeys"`),
	)
	// Who has not proved a code would lock himself out.
	_, err := user.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{Policy: &policy})
	apitest.WantError(t, err, "MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	fresh := a.session(user, serial, code())
	key := *apitest.Must[*kms.CreateKeyOutput](t)(fresh.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{Policy: &policy})).KeyMetadata.Arn
	apitest.Must[*kms.CreateAliasOutput](t)(user.KMS(region).CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/app"), TargetKeyId: &key}))
	destroy := func(c *kms.Client) map[string]error {
		_, policy := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: aws.String(document(allow("kms:*", principal(a.arn("root")))))})
		_, alias := c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/app")})
		_, deletion := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &key})
		return map[string]error{"PutKeyPolicy": policy, "DeleteAlias": alias, "ScheduleKeyDeletion": deletion}
	}
	a.srv.Advance(30 * time.Second)
	for who, c := range map[string]*kms.Client{"long-term key": user.KMS(region), "session without MFA": a.session(user, "", "").KMS(region)} {
		for name, err := range destroy(c) {
			t.Log(who, name)
			wantDenied(t, err, "with an explicit deny in a resource-based policy")
		}
	}
	a.srv.Advance(271 * time.Second) // 301 s after the code
	for _, err := range destroy(fresh.KMS(region)) {
		wantDenied(t, err, "with an explicit deny in a resource-based policy")
	}
	fresh = a.session(user, serial, code())
	a.srv.Advance(299 * time.Second)
	_, err = fresh.KMS(region).DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/app")})
	wantOK(t, err)
	_, err = fresh.KMS(region).ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &key})
	wantOK(t, err)
}

// An explicit Deny with NotPrincipal leaves the key to those it names.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
func TestDenyNotPrincipal(t *testing.T) {
	a := startAccount(t)
	in, out := a.user("in", document(allow("kms:*"))), a.user("out", document(allow("kms:*")))
	key := a.key(document(
		allow("kms:*", principal(a.arn("root"))),
		deny("kms:Encrypt", notPrincipal(a.arn("user/in"), a.arn("root"))),
	))
	wantOK(t, try(in, key, nil))
	wantDenied(t, try(out, key, nil), "with an explicit deny in a resource-based policy")
	wantOK(t, try(a.root, key, nil))
}
