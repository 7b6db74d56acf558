package kms_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

const osaka, oregon = "ap-northeast-3", "us-west-2"

func newPrimary(t *testing.T, c *kms.Client, change func(*kms.CreateKeyInput)) *types.KeyMetadata {
	t.Helper()
	in := &kms.CreateKeyInput{MultiRegion: aws.Bool(true)}
	if change != nil {
		change(in)
	}
	return apitest.Must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, in)).KeyMetadata
}

func replicate(t *testing.T, c *kms.Client, id *string, to string) *kms.ReplicateKeyOutput {
	t.Helper()
	return apitest.Must[*kms.ReplicateKeyOutput](t)(c.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: id, ReplicaRegion: &to}))
}

// regionsOf is the kind of a key, the Region of its primary, and those of the replicas.
func regionsOf(m *types.KeyMetadata) (kind types.MultiRegionKeyType, primary string, replicas []string) {
	for _, r := range m.MultiRegionConfiguration.ReplicaKeys {
		replicas = append(replicas, *r.Region)
	}
	return m.MultiRegionConfiguration.MultiRegionKeyType, *m.MultiRegionConfiguration.PrimaryKey.Region, replicas
}

// TestMultiRegion is the life of a symmetric key with replicas.
// https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
func TestMultiRegion(t *testing.T) {
	srv := kagimoritest.Start(t)
	home, there, far := srv.KMS(region), srv.KMS(osaka), srv.KMS(oregon)
	single := newKey(t, home)
	k := newPrimary(t, home, nil)
	if kind, primary, replicas := regionsOf(k); (*k.KeyId)[:4] != "mrk-" || len(*k.KeyId) != 36 || !*k.MultiRegion || kind != "PRIMARY" || primary != region || len(replicas) != 0 {
		t.Errorf("primary %s", asJSON(t, k))
	}
	if m := describe(t, home, single.KeyId); *m.MultiRegion || m.MultiRegionConfiguration != nil {
		t.Errorf("single-Region key %s", asJSON(t, m))
	}
	before := encrypt(t, home, k.KeyId, "before", map[string]string{"a": "b"})
	apitest.Must[*kms.EnableKeyRotationOutput](t)(home.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.KeyId, RotationPeriodInDays: aws.Int32(100)}))

	made := apitest.Must[*kms.ReplicateKeyOutput](t)(home.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: k.KeyId, ReplicaRegion: aws.String(osaka), Description: aws.String("copy"),
		Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}}))
	r := made.ReplicaKeyMetadata
	if kind, primary, replicas := regionsOf(r); *r.KeyId != *k.KeyId || *r.Arn == *k.Arn || *r.Description != "copy" || kind != "REPLICA" || primary != region || len(replicas) != 1 ||
		replicas[0] != osaka || r.CurrentKeyMaterialId != nil || len(made.ReplicaTags) != 1 || *made.ReplicaPolicy == "" {
		t.Errorf("replica %s", asJSON(t, made))
	}
	replicate(t, home, k.KeyId, oregon)
	if _, _, replicas := regionsOf(describe(t, home, k.Arn)); len(replicas) != 2 {
		t.Errorf("replicas %v", replicas)
	}
	for i, c := range []*kms.Client{home, there, far} {
		if got := describe(t, c, k.KeyId); *got.CurrentKeyMaterialId != *k.CurrentKeyMaterialId || got.KeyState != "Enabled" {
			t.Errorf("%d: %s", i, asJSON(t, got))
		}
		out := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: before, EncryptionContext: map[string]string{"a": "b"}}))
		want := []string{region, osaka, oregon}[i]
		if string(out.Plaintext) != "before" || *out.KeyId != "arn:aws:kms:"+want+":"+*k.AWSAccountId+":key/"+*k.KeyId {
			t.Errorf("%s decrypts to %q", *out.KeyId, out.Plaintext)
		}
	}

	// What is shared is shared at once, what is not is not.
	status := apitest.Must[*kms.GetKeyRotationStatusOutput](t)(there.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: k.KeyId}))
	if !status.KeyRotationEnabled || *status.RotationPeriodInDays != 100 {
		t.Errorf("rotation of the replica %s", asJSON(t, status))
	}
	srv.Advance(101 * 24 * time.Hour)
	apitest.Must[*kms.RotateKeyOnDemandOutput](t)(home.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.KeyId}))
	after := encrypt(t, there, k.KeyId, "after", nil)
	for _, c := range []*kms.Client{home, far} {
		wantOK(t, second(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: after})))
		wantOK(t, second(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: before, EncryptionContext: map[string]string{"a": "b"}})))
		list := apitest.Must[*kms.ListKeyRotationsOutput](t)(c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId}))
		if len(list.Rotations) != 2 || list.Rotations[0].RotationType != "AUTOMATIC" || list.Rotations[1].RotationType != "ON_DEMAND" {
			t.Errorf("rotations %s", asJSON(t, list))
		}
	}
	apitest.Must[*kms.DisableKeyOutput](t)(home.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId}))
	apitest.Must[*kms.UpdateKeyDescriptionOutput](t)(home.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: k.KeyId, Description: aws.String("other")}))
	if got := describe(t, there, k.KeyId); got.KeyState != "Enabled" || *got.Description != "copy" {
		t.Errorf("replica %s", asJSON(t, got))
	}
	_, err := home.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: k.KeyId, ReplicaRegion: aws.String("eu-west-1")})
	apitest.WantError(t, err, "DisabledException", *k.Arn+" is disabled.")
	apitest.Must[*kms.EnableKeyOutput](t)(home.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.KeyId}))

	notPrimary := *r.Arn + " is not a multi-region primary key."
	for _, err := range []error{
		second(there.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: k.KeyId, ReplicaRegion: aws.String("eu-west-1")})),
		second(there.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: k.KeyId, PrimaryRegion: aws.String(oregon)})),
		second(there.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.KeyId})),
		second(there.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: k.KeyId})),
		second(there.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})),
	} {
		apitest.WantError(t, err, "UnsupportedOperationException", notPrimary)
	}
	_, err = home.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: single.KeyId, ReplicaRegion: aws.String(osaka)})
	apitest.WantError(t, err, "UnsupportedOperationException", *single.Arn+" is not a multi-region primary key.")
	for _, again := range []string{osaka, region} {
		_, err = home.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: k.KeyId, ReplicaRegion: &again})
		apitest.WantError(t, err, "AlreadyExistsException")
	}

	// The primary moves.
	_, err = home.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: k.KeyId, PrimaryRegion: aws.String("eu-west-1")})
	apitest.WantError(t, err, "NotFoundException")
	_, err = home.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: k.KeyId, PrimaryRegion: aws.String(region)})
	apitest.WantError(t, err, "ValidationException")
	apitest.Must[*kms.UpdatePrimaryRegionOutput](t)(home.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: k.KeyId, PrimaryRegion: aws.String(osaka)}))
	for i, c := range []*kms.Client{there, home, far} {
		kind, primary, replicas := regionsOf(describe(t, c, k.KeyId))
		if primary != osaka || len(replicas) != 2 || (kind == "PRIMARY") != (i == 0) {
			t.Errorf("%d: %s, the primary is in %s", i, kind, primary)
		}
	}
	// Only the new primary rotates, once for all.
	srv.Advance(100 * 24 * time.Hour)
	for _, c := range []*kms.Client{home, there, far} {
		list := apitest.Must[*kms.ListKeyRotationsOutput](t)(c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId}))
		if len(list.Rotations) != 3 || describe(t, c, k.KeyId).CurrentKeyMaterialId == nil {
			t.Errorf("rotations %s", asJSON(t, list))
		}
	}

	// A primary is deleted after its replicas.
	gone := apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(there.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(9)}))
	if got := describe(t, there, k.KeyId); gone.KeyState != "PendingReplicaDeletion" || gone.DeletionDate != nil || *gone.PendingWindowInDays != 9 ||
		got.KeyState != "PendingReplicaDeletion" || got.DeletionDate != nil || *got.PendingDeletionWindowInDays != 9 {
		t.Errorf("scheduled %s, %s", asJSON(t, gone), asJSON(t, got))
	}
	_, err = there.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")})
	apitest.WantError(t, err, "KMSInvalidStateException", *r.Arn+" is pending replica deletion.")
	apitest.Must[*kms.CancelKeyDeletionOutput](t)(there.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.KeyId}))
	if got := describe(t, there, k.KeyId); got.KeyState != "Disabled" || got.PendingDeletionWindowInDays != nil {
		t.Errorf("cancelled %s", asJSON(t, got))
	}
	apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(there.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(9)}))
	for _, c := range []*kms.Client{home, far} {
		out := apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)}))
		if out.KeyState != "PendingDeletion" || out.DeletionDate == nil {
			t.Errorf("scheduled %s", asJSON(t, out))
		}
	}
	srv.Advance(8 * 24 * time.Hour)
	got := describe(t, there, k.KeyId)
	if _, _, replicas := regionsOf(got); got.KeyState != "PendingDeletion" || len(replicas) != 0 || got.DeletionDate.Sub(srv.Now()) > 9*24*time.Hour || got.DeletionDate.Sub(srv.Now()) < 7*24*time.Hour {
		t.Errorf("without replicas %s", asJSON(t, got))
	}
	srv.Advance(10 * 24 * time.Hour)
	_, err = there.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "NotFoundException")
}

// TestMultiRegionReplicaAgain makes, deletes and makes again a replica of a key pair.
func TestMultiRegionReplicaAgain(t *testing.T) {
	srv := kagimoritest.Start(t)
	home, there := srv.KMS(region), srv.KMS(osaka)
	k := newPrimary(t, home, func(in *kms.CreateKeyInput) {
		in.KeySpec, in.KeyUsage = types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify
	})
	for range 2 {
		replicate(t, home, k.KeyId, osaka)
		made := apitest.Must[*kms.SignOutput](t)(there.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"}))
		apitest.Must[*kms.VerifyOutput](t)(home.Verify(ctx, &kms.VerifyInput{KeyId: k.KeyId, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256", Signature: made.Signature}))
		apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(there.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)}))
		srv.Advance(8 * 24 * time.Hour)
		if m := describe(t, home, k.KeyId); m.KeyState != "Enabled" || len(m.MultiRegionConfiguration.ReplicaKeys) != 0 {
			t.Errorf("primary %s", asJSON(t, m))
		}
	}
}

// TestMultiRegionImport: material must be imported in every Region, and rotates when
// all have it.
func TestMultiRegionImport(t *testing.T) {
	srv := kagimoritest.Start(t)
	home, there := srv.KMS(region), srv.KMS(osaka)
	k := newPrimary(t, home, func(in *kms.CreateKeyInput) { in.Origin = types.OriginTypeExternal })
	bring := func(c *kms.Client, material []byte, kind types.ImportType) error {
		t.Helper()
		_, err := imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha256, material, func(in *kms.ImportKeyMaterialInput) { in.ImportType = kind })
		return err
	}
	first, next := make([]byte, 32), make([]byte, 32)
	rand.Read(first)
	rand.Read(next)
	_, err := home.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: k.KeyId, ReplicaRegion: aws.String(osaka)})
	apitest.WantError(t, err, "KMSInvalidStateException", *k.Arn+" is pending import.")
	wantOK(t, bring(home, first, ""))
	if r := replicate(t, home, k.KeyId, osaka).ReplicaKeyMetadata; r.KeyState != types.KeyStatePendingImport {
		t.Errorf("replica %s", asJSON(t, r))
	}
	apitest.WantError(t, bring(there, next, ""), "IncorrectKeyMaterialException")
	apitest.WantError(t, bring(there, next, types.ImportTypeNewKeyMaterial), "IncorrectKeyMaterialException")
	wantOK(t, bring(there, first, ""))
	blob := encrypt(t, home, k.KeyId, "x", nil)
	wantOK(t, second(there.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})))

	state := func(c *kms.Client) types.KeyMaterialState {
		t.Helper()
		list := apitest.Must[*kms.ListKeyRotationsOutput](t)(c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})).Rotations
		return list[len(list)-1].KeyMaterialState
	}
	rotate := func() error {
		_, err := home.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
		return err
	}
	wantOK(t, bring(home, next, types.ImportTypeNewKeyMaterial))
	if got := state(home); got != types.KeyMaterialStatePendingMultiRegionImportAndRotation {
		t.Errorf("material is %s", got)
	}
	wantOK(t, second(there.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))) // it does not need the next one yet
	apitest.WantError(t, rotate(), "KMSInvalidStateException")
	wantOK(t, bring(there, next, types.ImportTypeExistingKeyMaterial))
	if got := state(home); got != types.KeyMaterialStatePendingRotation {
		t.Errorf("material is %s", got)
	}
	// Deleted on the replica it is awaited again, on the primary forgotten.
	pending := apitest.Must[*kms.ListKeyRotationsOutput](t)(home.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})).Rotations[1].KeyMaterialId
	apitest.Must[*kms.DeleteImportedKeyMaterialOutput](t)(there.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: k.KeyId, KeyMaterialId: pending}))
	if got := describe(t, there, k.KeyId).KeyState; got != "Enabled" || state(home) != types.KeyMaterialStatePendingMultiRegionImportAndRotation {
		t.Errorf("replica %s, material %s", got, state(home))
	}
	apitest.Must[*kms.DeleteImportedKeyMaterialOutput](t)(home.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: k.KeyId, KeyMaterialId: pending}))
	if a, b := state(home), state(there); a != "CURRENT" || b != "CURRENT" {
		t.Errorf("materials %s, %s", a, b)
	}
	wantOK(t, bring(home, next, types.ImportTypeNewKeyMaterial))
	wantOK(t, bring(there, next, ""))
	wantOK(t, rotate())
	after := encrypt(t, there, k.KeyId, "y", nil)
	for _, b := range [][]byte{blob, after} {
		wantOK(t, second(home.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: b})))
	}
	// Its end is each Region's own.
	apitest.Must[*kms.DeleteImportedKeyMaterialOutput](t)(there.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: k.KeyId}))
	if a, b := describe(t, home, k.KeyId).KeyState, describe(t, there, k.KeyId).KeyState; a != "Enabled" || b != "PendingImport" {
		t.Errorf("primary %s, replica %s", a, b)
	}
}

// TestMultiRegionRecords has the records that calls have in the other Regions, as on AWS.
func TestMultiRegionRecords(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS("us-east-1")
	seen := len(srv.Records())
	// next are the new records: what happened where.
	next := func() (list []string, all map[string]map[string]any) {
		all = map[string]map[string]any{}
		for _, rec := range srv.Records()[seen:] {
			seen++
			what := fmt.Sprintf("%s %s", rec["eventName"], rec["awsRegion"])
			list, all[what] = append(list, what), rec
		}
		return list, all
	}
	want := func(what ...string) map[string]map[string]any {
		t.Helper()
		// The background job may be at it while Advance finds nothing left to do.
		for end := time.Now().Add(10 * time.Second); len(srv.Records()) < seen+len(what) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		list, all := next()
		if !slices.Equal(list, what) {
			t.Errorf("the records are %q, want %q", list, what)
		}
		for _, rec := range all {
			if rec["eventType"] == "AwsApiCall" && rec["requestID"] == nil || rec["recipientAccountId"] != srv.Account {
				t.Errorf("the record is %s", asJSON(t, rec))
			}
		}
		return all
	}
	invoker := func(rec map[string]any) any { return rec["userIdentity"].(map[string]any)["invokedBy"] }
	key := apitest.Must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})).KeyMetadata
	want("CreateKey us-east-1")
	in := func(region string) string { return strings.Replace(*key.Arn, "us-east-1", region, 1) }

	for i, region := range []string{"eu-west-1", "ap-northeast-1"} {
		apitest.Must[*kms.ReplicateKeyOutput](t)(c.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: key.KeyId, ReplicaRegion: &region}))
		expected := []string{"ReplicateKey us-east-1", "CreateKey " + region}
		if i == 1 { // the first one learns of the second
			expected = append(expected, "SynchronizeMultiRegionKey eu-west-1")
		}
		all := want(expected...)
		made := all["CreateKey "+region]
		if invoker(made) != "kms.amazonaws.com" || made["requestID"] != all["ReplicateKey us-east-1"]["requestID"] || made["eventID"] == all["ReplicateKey us-east-1"]["eventID"] ||
			made["requestParameters"].(map[string]any)["keySpec"] != "SYMMETRIC_DEFAULT" || made["responseElements"].(map[string]any)["keyMetadata"].(map[string]any)["arn"] != in(region) {
			t.Errorf("the record in %s is %s", region, asJSON(t, made))
		}
	}
	apitest.Must[*kms.RotateKeyOnDemandOutput](t)(c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key.KeyId}))
	all := want("RotateKeyOnDemand us-east-1", "RotateKey us-east-1", "SynchronizeMultiRegionKey eu-west-1", "SynchronizeMultiRegionKey ap-northeast-1")
	sync := all["SynchronizeMultiRegionKey eu-west-1"]
	if sync["eventType"] != "AwsApiCall" || sync["requestParameters"] != nil || invoker(sync) != "AWS Internal" || sync["responseElements"].(map[string]any)["keyId"] != in("eu-west-1") ||
		sync["resources"].([]any)[0].(map[string]any)["ARN"] != *key.Arn || sync["requestID"] != all["RotateKeyOnDemand us-east-1"]["requestID"] {
		t.Errorf("the record is %s", asJSON(t, sync))
	}
	apitest.Must[*kms.UpdateKeyDescriptionOutput](t)(c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: key.KeyId, Description: aws.String("not shared")}))
	want("UpdateKeyDescription us-east-1")

	apitest.Must[*kms.UpdatePrimaryRegionOutput](t)(c.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: key.KeyId, PrimaryRegion: aws.String("eu-west-1")}))
	all = want("UpdatePrimaryRegion us-east-1", "UpdatePrimaryRegion eu-west-1", "SynchronizeMultiRegionKey ap-northeast-1")
	second := all["UpdatePrimaryRegion eu-west-1"]
	if invoker(second) != "kms.amazonaws.com" || second["requestID"] != all["UpdatePrimaryRegion us-east-1"]["requestID"] || len(second["resources"].([]any)) != 0 ||
		second["requestParameters"].(map[string]any)["keyId"] != in("eu-west-1") || second["responseElements"].(map[string]any)["keyId"] != in("eu-west-1") {
		t.Errorf("the record in eu-west-1 is %s", asJSON(t, second))
	}

	// What comes due by itself.
	apitest.Must[*kms.EnableKeyRotationOutput](t)(srv.KMS("eu-west-1").EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: key.KeyId, RotationPeriodInDays: aws.Int32(90)}))
	want("EnableKeyRotation eu-west-1", "SynchronizeMultiRegionKey us-east-1", "SynchronizeMultiRegionKey ap-northeast-1")
	srv.Advance(91 * 24 * time.Hour)
	want("RotateKey eu-west-1", "SynchronizeMultiRegionKey us-east-1", "SynchronizeMultiRegionKey ap-northeast-1")
	apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId, PendingWindowInDays: aws.Int32(7)}))
	want("ScheduleKeyDeletion us-east-1")
	srv.Advance(8 * 24 * time.Hour)
	want("SynchronizeMultiRegionKey ap-northeast-1", "DeleteKey us-east-1")
}
