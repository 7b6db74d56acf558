package kms_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

const ebs = "alias/aws/ebs"

// AWS managed keys are made when their service, or somebody who may look at them,
// first asks for them. Nobody can change them, and only the service can use them.
// https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#aws-managed-cmk
func TestManagedKeys(t *testing.T) {
	a := startAccount(t)
	nobody := a.user("nobody", "")
	describe := func(c kagimoritest.Caller, id string) (*types.KeyMetadata, error) {
		out, err := c.KMS(region).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			return nil, err
		}
		return out.KeyMetadata, nil
	}
	dataKey := func(c *kms.Client, id string) (*kms.GenerateDataKeyOutput, error) {
		return c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256})
	}
	keys := func() int {
		return len(apitest.Must[*kms.ListKeysOutput](t)(a.root.KMS(region).ListKeys(ctx, &kms.ListKeysInput{})).Keys)
	}
	through := func(service string) *kms.Client { return nobody.Through(service, region) }

	_, err := describe(a.root, "alias/aws/nothing")
	apitest.WantError(t, err, "NotFoundException")
	_, err = describe(nobody, ebs)
	apitest.WantError(t, err, "AccessDeniedException")
	for _, c := range []*kms.Client{a.root.KMS(region), through("s3.amazonaws.com")} {
		_, err = dataKey(c, ebs)
		apitest.WantError(t, err, "NotFoundException")
	}
	if n := keys(); n != 0 {
		t.Fatalf("%d keys, before one is used", n)
	}

	// Several at once get the same key.
	var callers sync.WaitGroup
	made := make([]*kms.GenerateDataKeyOutput, 8)
	for i := range made {
		callers.Go(func() {
			var err error
			made[i], err = dataKey(through("ec2.amazonaws.com"), ebs)
			apitest.OK(t, err)
		})
	}
	callers.Wait()
	if n := keys(); n != 1 {
		t.Fatalf("%d keys", n)
	}
	m := apitest.Must[*types.KeyMetadata](t)(describe(a.root, ebs))
	if m.KeyManager != types.KeyManagerTypeAws || m.KeyState != types.KeyStateEnabled || m.Origin != types.OriginTypeAwsKms || *m.MultiRegion ||
		*m.Description != "Default key that protects my EBS data when no other key is defined" {
		t.Errorf("metadata %s", asJSON(t, m))
	}
	s3 := apitest.Must[*types.KeyMetadata](t)(describe(a.root, "arn:aws:kms:"+region+":"+a.id+":alias/aws/s3"))
	if s3.KeyManager != types.KeyManagerTypeAws || *s3.KeyId == *m.KeyId {
		t.Errorf("the key of S3: %s", asJSON(t, s3))
	}
	events := 0
	for _, r := range a.srv.Records() {
		if r["eventType"] == "AwsServiceEvent" && r["eventName"] == "CreateKey" {
			events++
		}
	}
	if events != 2 {
		t.Errorf("%d records of their creation", events)
	}
	_, err = dataKey(through("s3.amazonaws.com"), ebs)
	apitest.WantError(t, err, "AccessDeniedException")
	other := a.member("other")
	_, err = dataKey(other.admin.Through("ec2.amazonaws.com", region), *m.Arn)
	apitest.WantError(t, err, "AccessDeniedException")

	// What the account may not do, its root included.
	c, id := a.root.KMS(region), m.KeyId
	mine := newKey(t, c)
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/mine"), TargetKeyId: mine.KeyId})
	apitest.OK(t, err)
	for name, refused := range map[string]func() error{
		"Decrypt": func() error {
			_, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: made[0].CiphertextBlob})
			return err
		},
		"GenerateDataKey": func() error { _, err := dataKey(c, ebs); return err },
		"DisableKey":      func() error { _, err := c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: id}); return err },
		"ScheduleKeyDeletion": func() error {
			_, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: id})
			return err
		},
		"PutKeyPolicy": func() error {
			_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: id, Policy: aws.String(document(allow("kms:*", principal(a.arn("root"))))), BypassPolicyLockoutSafetyCheck: true})
			return err
		},
		"TagResource": func() error {
			_, err := c.TagResource(ctx, &kms.TagResourceInput{KeyId: id, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
			return err
		},
		"UpdateKeyDescription": func() error {
			_, err := c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: id, Description: aws.String("mine")})
			return err
		},
		"EnableKeyRotation": func() error {
			_, err := c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: aws.Int32(90)})
			return err
		},
		"DisableKeyRotation": func() error {
			_, err := c.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: id})
			return err
		},
		"RotateKeyOnDemand": func() error { _, err := c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: id}); return err },
		"CreateAlias": func() error {
			_, err := c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/volumes"), TargetKeyId: id})
			return err
		},
		"UpdateAlias": func() error {
			_, err := c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/mine"), TargetKeyId: id})
			return err
		},
		"CreateGrant": func() error {
			_, err := c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: id, GranteePrincipal: aws.String(a.arn("user/nobody")), Operations: []types.GrantOperation{types.GrantOperationDecrypt}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { apitest.WantError(t, refused(), "AccessDeniedException") })
	}
	_, err = c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String(ebs)})
	apitest.WantError(t, err, "NotAuthorizedException")

	// What it may: look, and find the key by its alias.
	policy := apitest.Must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: id}))
	if !strings.Contains(*policy.Policy, `"kms:ViaService" : "ec2.`+region+`.amazonaws.com"`) {
		t.Errorf("policy %s", *policy.Policy)
	}
	aliases := apitest.Must[*kms.ListAliasesOutput](t)(c.ListAliases(ctx, &kms.ListAliasesInput{KeyId: id}))
	if len(aliases.Aliases) != 1 || *aliases.Aliases[0].AliasName != ebs {
		t.Errorf("aliases %s", asJSON(t, aliases))
	}
	status := apitest.Must[*kms.GetKeyRotationStatusOutput](t)(c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: id}))
	if !status.KeyRotationEnabled || *status.RotationPeriodInDays != 365 {
		t.Errorf("rotation %s", asJSON(t, status))
	}

	// It rotates every year, and opens what it sealed before.
	a.srv.Advance(366 * 24 * time.Hour)
	a.srv.Restart()
	rotations := apitest.Must[*kms.ListKeyRotationsOutput](t)(c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: id}))
	if len(rotations.Rotations) != 1 {
		t.Errorf("rotations %s", asJSON(t, rotations))
	}
	after := apitest.Must[*kms.GenerateDataKeyOutput](t)(dataKey(through("ec2.amazonaws.com"), ebs))
	if *after.KeyId != *m.Arn || *after.KeyMaterialId == *made[0].KeyMaterialId {
		t.Errorf("after a year: %s by material %s", *after.KeyId, *after.KeyMaterialId)
	}
	for _, out := range append(made, after) {
		back := apitest.Must[*kms.DecryptOutput](t)(through("ec2.amazonaws.com").Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob}))
		if string(back.Plaintext) != string(out.Plaintext) || *back.KeyId != *m.Arn {
			t.Errorf("opened by %s", *back.KeyId)
		}
	}
}
