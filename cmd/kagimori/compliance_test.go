package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/cli"
)

func TestCompliance(t *testing.T) {
	srv, run := client(t)
	ctx, c, i := t.Context(), srv.KMS(region), srv.Root().IAM()
	if r := run("compliance"); r.status != cli.StatusOK || r.out != "There is nothing that the rules are about.\n" {
		t.Errorf("nothing: %+v", r)
	}
	create := func(in *kms.CreateKeyInput) string {
		t.Helper()
		out, err := c.CreateKey(ctx, in)
		must(t, err)
		return *out.KeyMetadata.Arn
	}
	rotated, unrotated, signing, deleted := create(&kms.CreateKeyInput{}), create(&kms.CreateKeyInput{}), create(&kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify}), create(&kms.CreateKeyInput{})
	public := create(&kms.CreateKeyInput{Policy: aws.String(document(defaultStatement + `,{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"}`))})
	elsewhere, err := srv.KMS("us-west-2").CreateKey(ctx, &kms.CreateKeyInput{})
	must(t, err)
	for _, key := range []string{rotated, public} {
		_, err = c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: &key})
		must(t, err)
	}
	_, err = c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &deleted})
	must(t, err)

	policies := map[string]string{ // and whether it is compliant
		"Everything": `{"Effect":"Allow","Action":"*","Resource":"*"}`,
		"AllKeys":    `{"Effect":"Allow","Action":"kms:*crypt","Resource":"arn:aws:kms:*:111122223333:key/*"}`,
		"NotOne":     `{"Effect":"Allow","NotAction":"iam:*","NotResource":"` + rotated + `"}`,
		"OneKey":     `{"Effect":"Allow","Action":"kms:*","Resource":"` + rotated + `"}`,
		"EncryptOK":  `{"Effect":"Allow","Action":["kms:Encrypt","kms:ReEncryptTo"],"Resource":"*"}`,
		"DeniedOK":   `{"Effect":"Deny","Action":"kms:*","Resource":"*"}`,
	}
	want := map[string]bool{"Everything": false, "AllKeys": false, "NotOne": false, "OneKey": true, "EncryptOK": true, "DeniedOK": true}
	for name, statement := range policies {
		_, err := i.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: aws.String(document(statement))})
		must(t, err)
		_, err = i.CreateUser(ctx, &iam.CreateUserInput{UserName: &name})
		must(t, err)
		_, err = i.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("inline"), PolicyDocument: aws.String(document(statement))})
		must(t, err)
	}

	r := run("compliance", "--json", "--regions", region+",us-west-2")
	var verdicts []verdict
	if err := json.Unmarshal([]byte(r.out), &verdicts); err != nil || r.status != cli.StatusFailure || !strings.Contains(r.err, "not all is compliant") {
		t.Fatalf("%+v, %v", r, err)
	}
	got := map[string]string{}
	for _, v := range verdicts {
		got[v.Rule+" "+v.Resource] = v.Compliance
		if (v.Compliance == nonCompliant) != (v.Annotation != "") {
			t.Errorf("%+v", v)
		}
	}
	expected := map[string]string{}
	expect := func(rule, resource string, ok bool) {
		expected[rule+" "+resource] = map[bool]string{true: compliant, false: nonCompliant}[ok]
	}
	for _, key := range []string{rotated, unrotated, signing, deleted, public, *elsewhere.KeyMetadata.Arn} {
		expect("KMS_CMK_NOT_SCHEDULED_FOR_DELETION", key, key != deleted)
		expect("KMS_KEY_POLICY_NO_PUBLIC_ACCESS", key, key != public)
		if key != signing && key != deleted {
			expect("CMK_BACKING_KEY_ROTATION_ENABLED", key, key == rotated || key == public)
		}
	}
	for name, ok := range want {
		expect("IAM_CUSTOMER_POLICY_BLOCKED_KMS_ACTIONS", "arn:aws:iam::111122223333:policy/"+name, ok)
		expect("IAM_INLINE_POLICY_BLOCKED_KMS_ACTIONS", "arn:aws:iam::111122223333:user/"+name, ok)
	}
	for what, compliance := range expected {
		if got[what] != compliance {
			t.Errorf("%s is %q, want %s", what, got[what], compliance)
		}
		delete(got, what)
	}
	for what, compliance := range got {
		t.Errorf("%s is %s: why?", what, compliance)
	}

	r = run("compliance")
	for _, line := range []string{"CMK_BACKING_KEY_ROTATION_ENABLED: 2 of 3 compliant\n  " + unrotated + "\n    Automatic rotation is not enabled.\n",
		"IAM_INLINE_POLICY_BLOCKED_KMS_ACTIONS: 3 of 6 compliant\n", "allows kms:Decrypt on all keys.\n"} {
		if !strings.Contains(r.out, line) {
			t.Errorf("%q is not in:\n%s", line, r.out)
		}
	}
	if r := run("compliance", "--rules", "IAM_CUSTOMER_POLICY_BLOCKED_KMS_ACTIONS", "--blocked-actions", "kms:Sign"); r.status != cli.StatusFailure || strings.Contains(r.out, "KMS_CMK") || !strings.Contains(r.out, "4 of 6") {
		t.Errorf("one rule, another action: %+v", r)
	}
	for _, args := range [][]string{{"--rules", "NO_SUCH_RULE"}, {"--blocked-actions", "Decrypt"}} {
		if r := run(append([]string{"compliance"}, args...)...); r.status != cli.StatusUsage {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
