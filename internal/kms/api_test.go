package kms_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

const region = "eu-central-1"

var ctx = context.Background()

func newKey(t *testing.T, c *kms.Client, tags ...types.Tag) *types.KeyMetadata {
	t.Helper()
	return apitest.Must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{Tags: tags})).KeyMetadata
}

func encrypt(t *testing.T, c *kms.Client, keyID *string, plaintext string, encryptionContext map[string]string) []byte {
	t.Helper()
	return apitest.Must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{
		KeyId: keyID, Plaintext: []byte(plaintext), EncryptionContext: encryptionContext})).CiphertextBlob
}

func decrypts(t *testing.T, c *kms.Client, blob []byte, want string) {
	t.Helper()
	out, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	if err != nil {
		t.Errorf("Decrypt: %v", err)
	} else if string(out.Plaintext) != want {
		t.Errorf("Decrypt gives %q, want %q", out.Plaintext, want)
	}
}

func TestCreateAndDescribe(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	created := apitest.Must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("請求書の鍵")})).KeyMetadata
	m := apitest.Must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: created.KeyId})).KeyMetadata
	want := types.KeyMetadata{
		AWSAccountId: &srv.Account, KeyId: created.KeyId, Arn: aws.String("arn:aws:kms:" + region + ":" + srv.Account + ":key/" + *created.KeyId),
		CreationDate: aws.Time(srv.Now()), Enabled: true, Description: aws.String("請求書の鍵"),
		KeyState: types.KeyStateEnabled, KeyUsage: types.KeyUsageTypeEncryptDecrypt, KeyManager: types.KeyManagerTypeCustomer,
		KeySpec: types.KeySpecSymmetricDefault, CustomerMasterKeySpec: types.CustomerMasterKeySpecSymmetricDefault,
		Origin: types.OriginTypeAwsKms, MultiRegion: aws.Bool(false),
		EncryptionAlgorithms: []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault},
		CurrentKeyMaterialId: created.CurrentKeyMaterialId,
	}
	for name, got := range map[string]*types.KeyMetadata{"CreateKey": created, "DescribeKey": m} {
		g, w := asJSON(t, got), asJSON(t, want)
		if g != w {
			t.Errorf("%s gives\n%s\nwant\n%s", name, g, w)
		}
	}
	if len(*m.CurrentKeyMaterialId) != 64 {
		t.Errorf("CurrentKeyMaterialId is %q", *m.CurrentKeyMaterialId)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	return string(apitest.Must[[]byte](t)(json.Marshal(v)))
}

func TestCreateKeyRefusals(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	many := make([]types.Tag, 51)
	for i := range many {
		many[i] = types.Tag{TagKey: aws.String(fmt.Sprint("k", i)), TagValue: aws.String("")}
	}
	two := []types.Tag{{TagKey: aws.String("k"), TagValue: aws.String("1")}, {TagKey: aws.String("k"), TagValue: aws.String("2")}}
	reserved := []types.Tag{{TagKey: aws.String("AWS:x"), TagValue: aws.String("1")}}
	for _, r := range []struct {
		in      kms.CreateKeyInput
		code    string
		message []string
	}{
		{kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048}, "ValidationException", []string{"You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."}},
		{kms.CreateKeyInput{KeyUsage: types.KeyUsageTypeSignVerify}, "ValidationException", []string{"KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT"}},
		{kms.CreateKeyInput{KeySpec: types.KeySpecEccSecgP256k1, KeyUsage: types.KeyUsageTypeKeyAgreement}, "ValidationException", []string{"KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_SECG_P256K1"}},
		{kms.CreateKeyInput{Origin: types.OriginTypeAwsCloudhsm}, "ValidationException", nil},
		{kms.CreateKeyInput{CustomKeyStoreId: aws.String("cks-1234567890abcdef0"), Origin: types.OriginTypeAwsCloudhsm}, "CustomKeyStoreNotFoundException", nil},
		{kms.CreateKeyInput{KeySpec: "AES_512"}, "ValidationException", nil},
		{kms.CreateKeyInput{Policy: aws.String("{")}, "MalformedPolicyDocumentException", nil},
		{kms.CreateKeyInput{Policy: aws.String("{}")}, "MalformedPolicyDocumentException", nil},
		{kms.CreateKeyInput{Policy: aws.String(`{"Statement":[],"x":"` + strings.Repeat("x", 32<<10) + `"}`)}, "LimitExceededException", nil},
		{kms.CreateKeyInput{Tags: many}, "TagException", []string{"Too many tags"}},
		{kms.CreateKeyInput{Tags: two}, "TagException", []string{"Duplicate tag keys"}},
		{kms.CreateKeyInput{Tags: reserved}, "TagException", []string{"Tags beginning with aws: are reserved"}},
	} {
		_, err := c.CreateKey(ctx, &r.in)
		apitest.WantError(t, err, r.code, r.message...)
	}
	if keys := apitest.Must[*kms.ListKeysOutput](t)(c.ListKeys(ctx, &kms.ListKeysInput{})); len(keys.Keys) != 0 {
		t.Errorf("refused calls left %d keys", len(keys.Keys))
	}
}

func TestEncryptDecrypt(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k, other := newKey(t, c), newKey(t, c)
	apitest.Must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/data"), TargetKeyId: k.KeyId}))
	tenant := map[string]string{"tenant": "株式会社", "purpose": "backup"}

	for _, id := range []string{*k.KeyId, *k.Arn, "alias/data", "arn:aws:kms:" + region + ":" + srv.Account + ":alias/data"} {
		out := apitest.Must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("ひみつ"), EncryptionContext: tenant}))
		if *out.KeyId != *k.Arn || out.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
			t.Errorf("Encrypt with %s names %s, %s", id, *out.KeyId, out.EncryptionAlgorithm)
		}
		for _, with := range []*string{nil, &id} {
			dec := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{KeyId: with, CiphertextBlob: out.CiphertextBlob, EncryptionContext: tenant}))
			if string(dec.Plaintext) != "ひみつ" || *dec.KeyId != *k.Arn || *dec.KeyMaterialId != *k.CurrentKeyMaterialId {
				t.Errorf("Decrypt gives %q, %s, %s", dec.Plaintext, *dec.KeyId, *dec.KeyMaterialId)
			}
		}
	}

	blob := encrypt(t, c, k.KeyId, "x", tenant)
	for name, in := range map[string]kms.DecryptInput{
		"no context":      {CiphertextBlob: blob},
		"other value":     {CiphertextBlob: blob, EncryptionContext: map[string]string{"tenant": "株式会社", "purpose": "Backup"}},
		"one pair more":   {CiphertextBlob: blob, EncryptionContext: map[string]string{"tenant": "株式会社", "purpose": "backup", "x": ""}},
		"a byte changed":  {CiphertextBlob: append(slices.Clone(blob[:len(blob)-1]), blob[len(blob)-1]^1), EncryptionContext: tenant},
		"cut":             {CiphertextBlob: blob[:len(blob)-1], EncryptionContext: tenant},
		"no blob of ours": {CiphertextBlob: []byte("not a ciphertext")},
		"that with a key": {CiphertextBlob: []byte("not a ciphertext"), KeyId: k.KeyId},
	} {
		_, err := c.Decrypt(ctx, &in)
		t.Run(name, func(t *testing.T) { apitest.WantError(t, err, "InvalidCiphertextException", "") })
	}
	_, err := c.Decrypt(ctx, &kms.DecryptInput{KeyId: other.KeyId, CiphertextBlob: blob, EncryptionContext: tenant})
	apitest.WantError(t, err, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	_, err = srv.KMS("us-east-1").Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: tenant})
	apitest.WantError(t, err, "AccessDeniedException")
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: make([]byte, 4097)})
	apitest.WantError(t, err, "ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096")
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x"), EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha256})
	apitest.WantError(t, err, "InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT.")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{})
	apitest.WantError(t, err, "ValidationException", "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")

	long := strings.Repeat("x", 4096)
	if blob := encrypt(t, c, k.KeyId, long, nil); len(blob) > 6144 {
		t.Errorf("a ciphertext of 4096 bytes is %d bytes", len(blob))
	} else {
		decrypts(t, c, blob, long)
	}
}

func TestKeyIdentifiers(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newKey(t, c)
	const absent = "1234abcd-12ab-34cd-56ef-1234567890ab"
	own := "arn:aws:kms:" + region + ":" + srv.Account
	for _, r := range []struct{ id, code, message string }{
		{absent, "NotFoundException", "Key '" + own + ":key/" + absent + "' does not exist"},
		{own + ":key/" + absent, "NotFoundException", "Key '" + own + ":key/" + absent + "' does not exist"},
		{"no-such-id", "NotFoundException", "Invalid keyId 'no-such-id'"},
		{"alias/none", "NotFoundException", "Alias " + own + ":alias/none is not found."},
		{"arn:aws:kms:us-west-2:" + srv.Account + ":key/" + *k.KeyId, "NotFoundException", "Invalid arn us-west-2"},
		{"arn:aws:kms:" + region + ":999999999999:key/" + *k.KeyId, "AccessDeniedException",
			"User: arn:aws:iam::111122223333:root is not authorized to perform: kms:DescribeKey on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"},
	} {
		_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &r.id})
		apitest.WantError(t, err, r.code, r.message)
	}
	malformed := aws.String("arn:aws:s3:::bucket")
	_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: malformed})
	apitest.WantError(t, err, "InvalidArnException")
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: malformed, Plaintext: []byte("x")})
	apitest.WantError(t, err, "NotFoundException")
	apitest.Must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: k.KeyId}))
	_, err = c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: aws.String("alias/a")})
	apitest.WantError(t, err, "NotFoundException", "Invalid keyId 'alias/a'")
}

func TestDryRun(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	k := newKey(t, c)
	blob := encrypt(t, c, k.KeyId, "x", nil)
	const would = "The request would have succeeded, but the DryRun option is set."
	dry := aws.Bool(true)
	ignore := []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext}
	calls := map[string]func(keyID *string) error{
		"Encrypt": func(id *string) error {
			_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("x"), DryRun: dry})
			return err
		},
		"Decrypt": func(id *string) error {
			_, err := c.Decrypt(ctx, &kms.DecryptInput{KeyId: id, CiphertextBlob: blob, DryRun: dry})
			return err
		},
		"Decrypt without ciphertext": func(id *string) error {
			_, err := c.Decrypt(ctx, &kms.DecryptInput{KeyId: id, DryRun: dry, DryRunModifiers: ignore})
			return err
		},
		"ReEncrypt": func(id *string) error {
			_, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{SourceKeyId: id, DestinationKeyId: id, CiphertextBlob: blob, DryRun: dry})
			return err
		},
		"ReEncrypt without ciphertext": func(id *string) error {
			_, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{SourceKeyId: id, DestinationKeyId: id, DryRun: dry, DryRunModifiers: ignore})
			return err
		},
		"GenerateDataKey": func(id *string) error {
			_, err := c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: id, KeySpec: types.DataKeySpecAes256, DryRun: dry})
			return err
		},
		"GenerateDataKeyWithoutPlaintext": func(id *string) error {
			_, err := c.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: id, KeySpec: types.DataKeySpecAes256, DryRun: dry})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) { apitest.WantError(t, call(k.KeyId), "DryRunOperationException", would) })
	}
	// The destination is checked even when there is nothing to encrypt.
	_, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{SourceKeyId: k.KeyId, DestinationKeyId: aws.String("alias/none"), DryRun: dry, DryRunModifiers: ignore})
	apitest.WantError(t, err, "NotFoundException")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, DryRunModifiers: ignore})
	apitest.WantError(t, err, "ValidationException")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{DryRun: dry, DryRunModifiers: ignore})
	apitest.WantError(t, err, "ValidationException", "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null")
	apitest.Must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId}))
	for name, call := range calls {
		t.Run(name+", disabled", func(t *testing.T) { apitest.WantError(t, call(k.KeyId), "DisabledException", *k.Arn+" is disabled.") })
	}
}

func TestReEncrypt(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	a, b := newKey(t, c), newKey(t, c)
	from, to := map[string]string{"v": "1"}, map[string]string{"v": "2"}
	blob := encrypt(t, c, a.KeyId, "move me", from)
	out := apitest.Must[*kms.ReEncryptOutput](t)(c.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: blob, SourceEncryptionContext: from, DestinationKeyId: b.KeyId, DestinationEncryptionContext: to}))
	if *out.SourceKeyId != *a.Arn || *out.KeyId != *b.Arn || *out.SourceKeyMaterialId != *a.CurrentKeyMaterialId || *out.DestinationKeyMaterialId != *b.CurrentKeyMaterialId {
		t.Errorf("ReEncrypt answers %s", asJSON(t, out))
	}
	dec := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: to}))
	if string(dec.Plaintext) != "move me" {
		t.Errorf("after ReEncrypt: %q", dec.Plaintext)
	}
	_, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: to, DestinationKeyId: b.KeyId})
	apitest.WantError(t, err, "InvalidCiphertextException")
	apitest.Must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: b.KeyId}))
	_, err = c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: from, DestinationKeyId: b.KeyId})
	apitest.WantError(t, err, "DisabledException", *b.Arn+" is disabled.")
}

func TestDataKeys(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	k := newKey(t, c)
	for _, r := range []struct {
		in   kms.GenerateDataKeyInput
		size int
	}{
		{kms.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes256}, 32},
		{kms.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes128}, 16},
		{kms.GenerateDataKeyInput{NumberOfBytes: aws.Int32(1024)}, 1024},
		{kms.GenerateDataKeyInput{NumberOfBytes: aws.Int32(1)}, 1},
	} {
		r.in.KeyId = k.Arn
		out := apitest.Must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, &r.in))
		if len(out.Plaintext) != r.size || *out.KeyId != *k.Arn || *out.KeyMaterialId != *k.CurrentKeyMaterialId {
			t.Errorf("GenerateDataKey: %d bytes, %s", len(out.Plaintext), *out.KeyId)
		}
		decrypts(t, c, out.CiphertextBlob, string(out.Plaintext))
		without := apitest.Must[*kms.GenerateDataKeyWithoutPlaintextOutput](t)(c.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{
			KeyId: k.KeyId, KeySpec: r.in.KeySpec, NumberOfBytes: r.in.NumberOfBytes}))
		dec := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: without.CiphertextBlob}))
		if len(dec.Plaintext) != r.size || bytes.Equal(dec.Plaintext, out.Plaintext) && r.size > 1 || r.size >= 16 && bytes.Equal(dec.Plaintext, make([]byte, r.size)) {
			t.Errorf("a data key without plaintext is %d bytes", len(dec.Plaintext))
		}
	}
	for _, in := range []kms.GenerateDataKeyInput{{}, {KeySpec: types.DataKeySpecAes256, NumberOfBytes: aws.Int32(32)}} {
		in.KeyId = k.KeyId
		_, err := c.GenerateDataKey(ctx, &in)
		apitest.WantError(t, err, "ValidationException", "Please specify either number of bytes or key spec.")
	}
	_, err := c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.KeyId, NumberOfBytes: aws.Int32(1025)})
	apitest.WantError(t, err, "ValidationException", "1 validation error detected: Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024")
	_, err = c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256, GrantTokens: []string{"token"}})
	apitest.WantError(t, err, "InvalidGrantTokenException")

	random := apitest.Must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(64)}))
	if len(random.Plaintext) != 64 || bytes.Equal(random.Plaintext, make([]byte, 64)) {
		t.Errorf("GenerateRandom gives %x", random.Plaintext)
	}
	_, err = c.GenerateRandom(ctx, &kms.GenerateRandomInput{})
	apitest.WantError(t, err, "ValidationException", "NumberOfBytes is required.")
}

// TestStatesOnTheWire takes a key through the states it can be in and tries
// every operation on a key in each, against the published table.
func TestStatesOnTheWire(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k, other := newKey(t, c), newKey(t, c)
	blob := encrypt(t, c, k.KeyId, "x", nil)
	policy := apitest.Must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: k.KeyId})).Policy
	apitest.Must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/moves"), TargetKeyId: other.KeyId}))
	n := 0
	operations := map[string]func() error{
		"DescribeKey": func() error { _, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId}); return err },
		"Encrypt": func() error {
			_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")})
			return err
		},
		"Decrypt": func() error { _, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}); return err },
		"ReEncrypt": func() error {
			_, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: blob, DestinationKeyId: other.KeyId})
			return err
		},
		"ReEncryptTo": func() error {
			_, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: encrypt(t, c, other.KeyId, "x", nil), DestinationKeyId: k.KeyId})
			return err
		},
		"GenerateDataKey": func() error {
			_, err := c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256})
			return err
		},
		"GenerateDataKeyWithoutPlaintext": func() error {
			_, err := c.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256})
			return err
		},
		"UpdateKeyDescription": func() error {
			_, err := c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: k.KeyId, Description: aws.String("d")})
			return err
		},
		"CreateAlias": func() error {
			n++
			_, err := c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(fmt.Sprint("alias/n", n)), TargetKeyId: k.KeyId})
			return err
		},
		"UpdateAlias": func() error {
			_, err := c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/moves"), TargetKeyId: k.KeyId})
			return err
		},
		"TagResource": func() error {
			_, err := c.TagResource(ctx, &kms.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
			return err
		},
		"UntagResource": func() error {
			_, err := c.UntagResource(ctx, &kms.UntagResourceInput{KeyId: k.KeyId, TagKeys: []string{"a"}})
			return err
		},
		"ListResourceTags": func() error {
			_, err := c.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: k.KeyId})
			return err
		},
		"GetKeyPolicy": func() error { _, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: k.KeyId}); return err },
		"PutKeyPolicy": func() error {
			_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: policy})
			return err
		},
		"ListKeyPolicies": func() error { _, err := c.ListKeyPolicies(ctx, &kms.ListKeyPoliciesInput{KeyId: k.KeyId}); return err },
		"ListAliases":     func() error { _, err := c.ListAliases(ctx, &kms.ListAliasesInput{KeyId: k.KeyId}); return err },
		"GetKeyLastUsage": func() error { _, err := c.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: k.KeyId}); return err },
		"GetKeyRotationStatus": func() error {
			_, err := c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: k.KeyId})
			return err
		},
		"ListKeyRotations": func() error {
			_, err := c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId})
			return err
		},
		"EnableKeyRotation": func() error {
			_, err := c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.KeyId})
			return err
		},
		"DisableKeyRotation": func() error {
			_, err := c.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: k.KeyId})
			return err
		},
		"RotateKeyOnDemand": func() error {
			_, err := c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
			return err
		},
	}
	// What the published table says for the states that a key can be in here:
	// "" works, D disabled, S pending deletion.
	columns := map[string]string{"crypto": " DS", "read": "   ", "edit": "  S", "rotate": " DS"}
	kind := map[string]string{}
	for _, op := range []string{"Encrypt", "Decrypt", "ReEncrypt", "ReEncryptTo", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"} {
		kind[op] = "crypto"
	}
	for _, op := range []string{"DescribeKey", "ListResourceTags", "GetKeyPolicy", "PutKeyPolicy", "ListKeyPolicies", "ListAliases", "GetKeyLastUsage", "GetKeyRotationStatus", "ListKeyRotations"} {
		kind[op] = "read"
	}
	for _, op := range []string{"UpdateKeyDescription", "CreateAlias", "UpdateAlias", "TagResource", "UntagResource"} {
		kind[op] = "edit"
	}
	for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"} {
		kind[op] = "rotate"
	}
	check := func(state int, name string) {
		for op, call := range operations {
			t.Run(name+"/"+op, func(t *testing.T) {
				err := call()
				switch columns[kind[op]][state] {
				case ' ':
					if err != nil {
						t.Error(err)
					}
				case 'D':
					apitest.WantError(t, err, "DisabledException", *k.Arn+" is disabled.")
				case 'S':
					apitest.WantError(t, err, "KMSInvalidStateException", *k.Arn+" is pending deletion.")
				}
			})
		}
	}
	state := func(want types.KeyState) {
		t.Helper()
		if got := apitest.Must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})).KeyMetadata; got.KeyState != want || got.Enabled != (want == types.KeyStateEnabled) {
			t.Errorf("the key is %s (enabled: %v), want %s", got.KeyState, got.Enabled, want)
		}
	}
	cancel := func() error {
		_, err := c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.KeyId})
		return err
	}
	check(0, "Enabled")
	apitest.WantError(t, cancel(), "KMSInvalidStateException", *k.Arn+" is not pending deletion.")
	for range 2 { // both are idempotent
		apitest.Must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId}))
	}
	state(types.KeyStateDisabled)
	check(1, "Disabled")
	for range 2 {
		apitest.Must[*kms.EnableKeyOutput](t)(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.KeyId}))
	}
	state(types.KeyStateEnabled)
	out := apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId}))
	if *out.KeyId != *k.Arn || !out.DeletionDate.Equal(srv.Now().AddDate(0, 0, 30)) || out.KeyState != types.KeyStatePendingDeletion || *out.PendingWindowInDays != 30 {
		t.Errorf("ScheduleKeyDeletion answers %s", asJSON(t, out))
	}
	state(types.KeyStatePendingDeletion)
	check(2, "PendingDeletion")
	pending := *k.Arn + " is pending deletion."
	_, err := c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "KMSInvalidStateException", pending)
	_, err = c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "KMSInvalidStateException", pending)
	_, err = c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "KMSInvalidStateException", pending)
	if err := cancel(); err != nil {
		t.Error(err)
	}
	state(types.KeyStateDisabled)
}

func TestDeletion(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newKey(t, c)
	blob := encrypt(t, c, k.KeyId, "x", nil)
	apitest.Must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/gone"), TargetKeyId: k.KeyId}))
	for _, days := range []int32{6, 31} {
		_, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: &days})
		apitest.WantError(t, err, "ValidationException")
	}
	apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)}))

	srv.Advance(7*24*time.Hour - time.Second)
	if m := apitest.Must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})).KeyMetadata; m.KeyState != types.KeyStatePendingDeletion {
		t.Errorf("a second before its deletion the key is %s", m.KeyState)
	}
	srv.Advance(time.Second)
	_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "NotFoundException", "Key '"+*k.Arn+"' does not exist")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	apitest.WantError(t, err, "AccessDeniedException")
	_, err = c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "NotFoundException")
	if out := apitest.Must[*kms.ListAliasesOutput](t)(c.ListAliases(ctx, &kms.ListAliasesInput{})); len(out.Aliases) != 0 {
		t.Errorf("the alias of a deleted key is still there")
	}
	// The alias name is free again.
	apitest.Must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/gone"), TargetKeyId: newKey(t, c).KeyId}))

	rec := lastRecord(t, srv, "DeleteKey")
	if rec["eventType"] != "AwsServiceEvent" || rec["responseElements"].(map[string]any)["keyId"] != *k.Arn {
		t.Errorf("the record of the deletion is %v", rec)
	}
}

func lastRecord(t *testing.T, srv *kagimoritest.Server, event string) map[string]any {
	t.Helper()
	records := srv.Records()
	for _, r := range slices.Backward(records) {
		if r["eventName"] == event {
			return r
		}
	}
	t.Fatalf("there is no record of %s", event)
	return nil
}

func TestAliases(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	a, b := newKey(t, c), newKey(t, c)
	create := func(name string, target *string) error {
		_, err := c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: target})
		return err
	}
	own := "arn:aws:kms:" + region + ":" + srv.Account
	if err := create("alias/app/prod", a.KeyId); err != nil {
		t.Fatal(err)
	}
	apitest.WantError(t, create("alias/app/prod", b.KeyId), "AlreadyExistsException", "An alias with the name "+own+":alias/app/prod already exists")
	apitest.WantError(t, create("app", a.KeyId), "ValidationException", `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	apitest.WantError(t, create("alias/aws/s3", a.KeyId), "NotAuthorizedException")
	apitest.WantError(t, create("alias/a:b", a.KeyId), "InvalidAliasNameException")
	apitest.WantError(t, create("alias/a b", a.KeyId), "ValidationException")
	apitest.WantError(t, create("alias/x", aws.String("alias/app/prod")), "ValidationException", "Aliases must refer to keys. Not aliases")
	apitest.WantError(t, create("alias/x", aws.String("1234abcd-12ab-34cd-56ef-1234567890ab")), "NotFoundException")
	if err := create("alias/APP/prod", a.KeyId); err != nil {
		t.Errorf("alias names are case-sensitive: %v", err)
	}

	srv.Advance(time.Hour)
	_, err := c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/app/prod"), TargetKeyId: b.Arn})
	if err != nil {
		t.Fatal(err)
	}
	if m := apitest.Must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/app/prod")})).KeyMetadata; *m.KeyId != *b.KeyId {
		t.Errorf("after UpdateAlias the alias leads to %s", *m.KeyId)
	}
	list := apitest.Must[*kms.ListAliasesOutput](t)(c.ListAliases(ctx, &kms.ListAliasesInput{KeyId: b.KeyId})).Aliases
	if len(list) != 1 || *list[0].AliasName != "alias/app/prod" || *list[0].AliasArn != own+":alias/app/prod" || *list[0].TargetKeyId != *b.KeyId ||
		!list[0].LastUpdatedDate.Equal(srv.Now()) || !list[0].CreationDate.Equal(srv.Now().Add(-time.Hour)) {
		t.Errorf("ListAliases of the key gives %s", asJSON(t, list))
	}
	_, err = c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/none"), TargetKeyId: b.KeyId})
	apitest.WantError(t, err, "NotFoundException", "Alias "+own+":alias/none is not found.")
	_, err = c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/a:b")})
	apitest.WantError(t, err, "NotFoundException")
	apitest.Must[*kms.DeleteAliasOutput](t)(c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/app/prod")}))
	_, err = c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/app/prod")})
	apitest.WantError(t, err, "NotFoundException", "Alias "+own+":alias/app/prod is not found.")
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("alias/app/prod"), Plaintext: []byte("x")})
	apitest.WantError(t, err, "NotFoundException", "Alias "+own+":alias/app/prod is not found.")

	for i := range 49 {
		if err := create(fmt.Sprint("alias/n", i), a.KeyId); err != nil {
			t.Fatal(err)
		}
	}
	apitest.WantError(t, create("alias/one-too-many", a.KeyId), "LimitExceededException")
}

func TestTags(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	tag := func(k, v string) types.Tag { return types.Tag{TagKey: &k, TagValue: &v} }
	k := newKey(t, c, tag("部署", "経理"), tag("a", "1"))
	apitest.Must[*kms.TagResourceOutput](t)(c.TagResource(ctx, &kms.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{tag("a", "2"), tag("b", "")}}))
	apitest.Must[*kms.UntagResourceOutput](t)(c.UntagResource(ctx, &kms.UntagResourceInput{KeyId: k.KeyId, TagKeys: []string{"b", "absent"}}))
	got := map[string]string{}
	p := kms.NewListResourceTagsPaginator(c, &kms.ListResourceTagsInput{KeyId: k.KeyId, Limit: aws.Int32(1)})
	pages := 0
	for p.HasMorePages() {
		for _, t := range apitest.Must[*kms.ListResourceTagsOutput](t)(p.NextPage(ctx)).Tags {
			got[*t.TagKey] = *t.TagValue
		}
		pages++
	}
	if asJSON(t, got) != `{"a":"2","部署":"経理"}` || pages != 2 {
		t.Errorf("tags %v in %d pages", got, pages)
	}
	_, err := c.TagResource(ctx, &kms.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{tag(strings.Repeat("k", 129), "")}})
	apitest.WantError(t, err, "ValidationException", "1 validation error detected: Value '"+strings.Repeat("k", 129)+"' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length less than or equal to 128")
}

func TestPolicies(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newKey(t, c)
	get := func() string {
		out := apitest.Must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: k.KeyId, PolicyName: aws.String("default")}))
		return *out.Policy
	}
	if p := get(); !strings.Contains(p, `"AWS" : "arn:aws:iam::111122223333:root"`) || !json.Valid([]byte(p)) {
		t.Errorf("the default policy is %s", p)
	}
	mine := "{\n\t\"Version\": \"2012-10-17\",\r\n \"Statement\": [{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"*\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}] }  "
	apitest.Must[*kms.PutKeyPolicyOutput](t)(c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: &mine}))
	if p := get(); p != mine {
		t.Errorf("the policy came back as %q", p)
	}
	_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: &mine, PolicyName: aws.String("other")})
	apitest.WantError(t, err, "NotFoundException", "No such policy exists")
	_, err = c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: aws.String("[1]")})
	apitest.WantError(t, err, "MalformedPolicyDocumentException")
	nobody := kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: aws.String(`{"Statement": [ ]}`)}
	_, err = c.PutKeyPolicy(ctx, &nobody)
	apitest.WantError(t, err, "MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	nobody.BypassPolicyLockoutSafetyCheck = true
	apitest.Must[*kms.PutKeyPolicyOutput](t)(c.PutKeyPolicy(ctx, &nobody))
	// Now nobody can do anything with it, its account's root neither.
	_, err = c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "AccessDeniedException", "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:GetKeyPolicy on resource: "+*k.Arn+
		" because no resource-based policy allows the kms:GetKeyPolicy action")
	k = newKey(t, c)
	names := apitest.Must[*kms.ListKeyPoliciesOutput](t)(c.ListKeyPolicies(ctx, &kms.ListKeyPoliciesInput{KeyId: k.KeyId}))
	if !slices.Equal(names.PolicyNames, []string{"default"}) || names.Truncated {
		t.Errorf("ListKeyPolicies gives %s", asJSON(t, names))
	}
}

func TestPaging(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	want := map[string]bool{}
	for range 7 {
		want[*newKey(t, c).KeyId] = true
	}
	newKey(t, srv.KMS("us-east-1")) // not in this Region
	for _, limit := range []int32{1, 3, 7, 8} {
		got, pages := map[string]bool{}, 0
		p := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: &limit})
		for p.HasMorePages() {
			out := apitest.Must[*kms.ListKeysOutput](t)(p.NextPage(ctx))
			pages++
			for _, k := range out.Keys {
				got[*k.KeyId] = true
			}
			if out.Truncated != (out.NextMarker != nil) || len(out.Keys) > int(limit) {
				t.Errorf("a page of %d: %s", limit, asJSON(t, out))
			}
		}
		if asJSON(t, got) != asJSON(t, want) || pages != (7+int(limit)-1)/int(limit) {
			t.Errorf("pages of %d: %d keys in %d pages", limit, len(got), pages)
		}
	}
	_, err := c.ListKeys(ctx, &kms.ListKeysInput{Marker: aws.String("nonsense")})
	apitest.WantError(t, err, "InvalidMarkerException")
	_, err = c.ListKeys(ctx, &kms.ListKeysInput{Limit: aws.Int32(1001)})
	apitest.WantError(t, err, "ValidationException", "1 validation error detected: Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000")
	_, err = c.ListAliases(ctx, &kms.ListAliasesInput{Limit: aws.Int32(101)})
	apitest.WantError(t, err, "ValidationException", "1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100")
}

func TestRotation(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newKey(t, c)
	const day = 24 * time.Hour
	status := func() *kms.GetKeyRotationStatusOutput {
		t.Helper()
		return apitest.Must[*kms.GetKeyRotationStatusOutput](t)(c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: k.KeyId}))
	}
	rotations := func() []types.RotationsListEntry {
		t.Helper()
		return apitest.Must[*kms.ListKeyRotationsOutput](t)(c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId})).Rotations
	}
	blobs := [][]byte{encrypt(t, c, k.KeyId, "0", nil)}
	if s := status(); s.KeyRotationEnabled || s.RotationPeriodInDays != nil || s.NextRotationDate != nil {
		t.Errorf("a new key has rotation status %s", asJSON(t, s))
	}
	for _, days := range []int32{89, 2561} {
		_, err := c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.KeyId, RotationPeriodInDays: &days})
		apitest.WantError(t, err, "ValidationException")
	}
	apitest.Must[*kms.EnableKeyRotationOutput](t)(c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.KeyId}))
	if s := status(); !s.KeyRotationEnabled || *s.RotationPeriodInDays != 365 || !s.NextRotationDate.Equal(srv.Now().Add(365*day)) {
		t.Errorf("rotation status %s", asJSON(t, s))
	}
	for year := 1; year <= 3; year++ {
		srv.Advance(365*day - time.Second)
		if n := len(rotations()); n != year-1 {
			t.Errorf("a second before rotation %d there were %d", year, n)
		}
		srv.Advance(time.Second)
		list := rotations()
		if len(list) != year {
			t.Fatalf("after %d years there are %d rotations", year, len(list))
		}
		last := list[year-1]
		if last.RotationType != types.RotationTypeAutomatic || !last.RotationDate.Equal(srv.Now()) || last.KeyMaterialState != types.KeyMaterialStateCurrent {
			t.Errorf("rotation %d is %s", year, asJSON(t, last))
		}
		blobs = append(blobs, encrypt(t, c, k.KeyId, fmt.Sprint(year), nil))
	}
	for i, blob := range blobs {
		decrypts(t, c, blob, fmt.Sprint(i))
	}
	// A disabled key is not rotated; enabled again it is, at once, and once.
	apitest.Must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId}))
	srv.Advance(900 * day)
	if n := len(rotations()); n != 3 {
		t.Errorf("while disabled the key was rotated %d times", n-3)
	}
	apitest.Must[*kms.EnableKeyOutput](t)(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.KeyId}))
	srv.Advance(0)
	if n := len(rotations()); n != 4 {
		t.Errorf("after enabling there are %d rotations, want 4", n)
	}
	if s := status(); !s.NextRotationDate.After(srv.Now()) {
		t.Errorf("the next rotation is at %v", s.NextRotationDate)
	}
	// Pending deletion pauses rotation.
	apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId}))
	if status().KeyRotationEnabled {
		t.Error("rotation shows as enabled while the key is pending deletion")
	}
	apitest.Must[*kms.CancelKeyDeletionOutput](t)(c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.KeyId}))
	apitest.Must[*kms.EnableKeyOutput](t)(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.KeyId}))
	if !status().KeyRotationEnabled {
		t.Error("rotation did not come back after CancelKeyDeletion")
	}
	apitest.Must[*kms.DisableKeyRotationOutput](t)(c.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: k.KeyId}))
	srv.Advance(3650 * day)
	if n := len(rotations()); n != 4 || status().KeyRotationEnabled {
		t.Errorf("with rotation off there are %d rotations", n)
	}

	rec := lastRecord(t, srv, "RotateKey")
	details := rec["serviceEventDetails"].(map[string]any)
	current := *rotations()[3].KeyMaterialId
	if rec["eventType"] != "AwsServiceEvent" || details["rotationType"] != "AUTOMATIC" || details["currentKeyMaterialId"] != current || details["keyOrigin"] != "AWS_KMS" {
		t.Errorf("the record of a rotation is %v", rec)
	}
	all := apitest.Must[*kms.ListKeyRotationsOutput](t)(c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial}))
	if len(all.Rotations) != 5 || all.Rotations[0].RotationDate != nil || *all.Rotations[0].KeyMaterialId != *k.CurrentKeyMaterialId || all.Rotations[0].KeyMaterialState != types.KeyMaterialStateNonCurrent {
		t.Errorf("all materials: %s", asJSON(t, all))
	}
	p, n := kms.NewListKeyRotationsPaginator(c, &kms.ListKeyRotationsInput{KeyId: k.KeyId, Limit: aws.Int32(3)}), 0
	for p.HasMorePages() {
		n += len(apitest.Must[*kms.ListKeyRotationsOutput](t)(p.NextPage(ctx)).Rotations)
	}
	if n != 4 {
		t.Errorf("paging lists %d rotations", n)
	}
	for _, marker := range []string{"1:5", "1:-1", "1:9223372036854775807", "1:x", "2:1"} {
		_, err := c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId, Marker: aws.String(base64.RawURLEncoding.EncodeToString([]byte(marker)))})
		apitest.WantError(t, err, "InvalidMarkerException")
	}
}

func TestRotateOnDemand(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newKey(t, c)
	rotate := func() error {
		_, err := c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
		return err
	}
	apitest.Must[*kms.EnableKeyRotationOutput](t)(c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.KeyId, RotationPeriodInDays: aws.Int32(90)}))
	srv.Advance(90*24*time.Hour - 20*time.Minute)
	apitest.WantError(t, rotate(), "ConflictException")
	apitest.Must[*kms.DisableKeyRotationOutput](t)(c.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: k.KeyId}))
	var blobs [][]byte
	for i := range 25 {
		blobs = append(blobs, encrypt(t, c, k.KeyId, fmt.Sprint(i), nil))
		if err := rotate(); err != nil {
			t.Fatalf("rotation %d: %v", i+1, err)
		}
	}
	apitest.WantError(t, rotate(), "LimitExceededException", "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: "+*k.Arn)
	srv.Restart()
	for i, blob := range blobs {
		decrypts(t, c, blob, fmt.Sprint(i))
	}
	ops := 0
	for _, r := range srv.Records() {
		if r["eventName"] == "RotateKey" {
			ops++
		}
	}
	if ops != 25 {
		t.Errorf("%d records of RotateKey, want 25", ops)
	}
}

func TestLastUsage(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newKey(t, c)
	usage := func() *kms.GetKeyLastUsageOutput {
		t.Helper()
		return apitest.Must[*kms.GetKeyLastUsageOutput](t)(c.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: k.KeyId}))
	}
	if u := usage(); u.KeyLastUsage == nil || u.KeyLastUsage.Timestamp != nil || !u.KeyCreationDate.Equal(srv.Now()) {
		t.Errorf("the usage of a new key is %s", asJSON(t, u))
	}
	srv.Advance(time.Hour)
	used := srv.Now()
	encrypt(t, c, k.KeyId, "x", nil)
	_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x"), DryRun: aws.Bool(true)})
	apitest.WantError(t, err, "DryRunOperationException")
	rec := lastRecord(t, srv, "Encrypt")
	for _, r := range srv.Records() {
		if r["eventName"] == "Encrypt" && r["errorCode"] == nil {
			rec = r
		}
	}
	check := func(when string) {
		t.Helper()
		u := usage().KeyLastUsage
		if u.Operation != types.KeyLastUsageTrackingOperationEncrypt || !u.Timestamp.Equal(used) || *u.CloudTrailEventId != rec["eventID"] || *u.KmsRequestId != rec["requestID"] {
			t.Errorf("%s the usage is %s, want that of record %v", when, asJSON(t, u), rec["eventID"])
		}
	}
	check("at once")
	srv.Advance(time.Hour)
	check("stored")
	srv.Restart()
	check("after a restart")
}

// TestReadAfterWrite changes keys from many goroutines and looks at once: what a
// call acknowledged, the next call sees.
func TestReadAfterWrite(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			created, err := c.CreateKey(ctx, &kms.CreateKeyInput{})
			if err != nil {
				t.Error(err)
				return
			}
			k := created.KeyMetadata
			for i := range 15 {
				if _, err := c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId}); err != nil {
					t.Error(err)
				}
				_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")})
				apitest.WantError(t, err, "DisabledException")
				if _, err := c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.KeyId}); err != nil {
					t.Error(err)
				}
				d := fmt.Sprintf("%d/%d", g, i)
				if _, err := c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: k.KeyId, Description: &d}); err != nil {
					t.Error(err)
				}
				if _, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")}); err != nil {
					t.Error(err)
				}
				out, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
				if err != nil || *out.KeyMetadata.Description != d {
					t.Errorf("DescribeKey: %v", err)
				}
			}
		}()
	}
	wg.Wait()
}

// TestNothingLostOverRestart: all that was made is there after a restart.
func TestNothingLostOverRestart(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newKey(t, c, types.Tag{TagKey: aws.String("k"), TagValue: aws.String("v")})
	apitest.Must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/kept"), TargetKeyId: k.KeyId}))
	blob := encrypt(t, c, k.KeyId, "kept", nil)
	before := asJSON(t, apitest.Must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})).KeyMetadata)
	records := len(srv.Records())
	srv.Restart()
	after := asJSON(t, apitest.Must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/kept")})).KeyMetadata)
	if before != after {
		t.Errorf("before the restart\n%s\nafter\n%s", before, after)
	}
	decrypts(t, c, blob, "kept")
	if n := len(srv.Records()); n <= records {
		t.Errorf("%d records, there were %d before the restart", n, records)
	}
}

// TestOldSegmentsMovedAway: a server starts with the journal's newest segments
// alone, whatever it last noted of the older ones.
func TestOldSegmentsMovedAway(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newKey(t, c)
	blob := encrypt(t, c, k.KeyId, "x", nil)
	srv.Advance(0) // the use is stored, with how far the journal has been seen
	segments := func() []string {
		return apitest.Must[[]string](t)(filepath.Glob(filepath.Join(srv.Dir, "journal", "*.journal")))
	}
	long := strings.Repeat("x", 8000)
	for len(segments()) < 3 {
		apitest.Must[*kms.UpdateKeyDescriptionOutput](t)(c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: k.KeyId, Description: &long}))
	}
	srv.Stop()
	for _, s := range segments()[:2] {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	srv.Open()
	decrypts(t, c, blob, "x")
}
