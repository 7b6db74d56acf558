package kms_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/kagimoritest"
)

// wrap wraps material for an import, as its owner does.
func wrap(t *testing.T, algorithm types.AlgorithmSpec, public, material []byte) []byte {
	t.Helper()
	return apitest.Must[[]byte](t)(keymaterial.Wrap(string(algorithm), public, material))
}

// imports brings material into a key.
func imports(t *testing.T, c *kms.Client, id *string, algorithm types.AlgorithmSpec, material []byte, change func(*kms.ImportKeyMaterialInput)) (*kms.ImportKeyMaterialOutput, error) {
	t.Helper()
	spec := types.WrappingKeySpecRsa2048
	if algorithm == types.AlgorithmSpecSm2pke {
		spec = types.WrappingKeySpecSm2
	}
	p := apitest.Must[*kms.GetParametersForImportOutput](t)(c.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: id, WrappingAlgorithm: algorithm, WrappingKeySpec: spec}))
	in := &kms.ImportKeyMaterialInput{KeyId: id, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrap(t, algorithm, p.PublicKey, material), ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire}
	if change != nil {
		change(in)
	}
	return c.ImportKeyMaterial(ctx, in)
}

func newExternal(t *testing.T, c *kms.Client, spec types.KeySpec, usage types.KeyUsageType) *types.KeyMetadata {
	t.Helper()
	return apitest.Must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage, Origin: types.OriginTypeExternal})).KeyMetadata
}

func describe(t *testing.T, c *kms.Client, id *string) *types.KeyMetadata {
	t.Helper()
	return apitest.Must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: id})).KeyMetadata
}

// TestImportSymmetric is the life of a key whose material its owner keeps.
func TestImportSymmetric(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k := newExternal(t, c, "", "")
	if k.KeyState != types.KeyStatePendingImport || k.Enabled || k.CurrentKeyMaterialId != nil || k.ExpirationModel != "" {
		t.Errorf("a new key is %s", asJSON(t, k))
	}
	_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")})
	apitest.WantError(t, err, "KMSInvalidStateException", *k.Arn+" is pending import.")
	first, later := make([]byte, 32), make([]byte, 32)
	rand.Read(first)
	rand.Read(later)
	expires := srv.Now().Add(100 * 24 * time.Hour)
	until := func(in *kms.ImportKeyMaterialInput) {
		in.ExpirationModel, in.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, &expires
	}
	out := apitest.Must[*kms.ImportKeyMaterialOutput](t)(imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha256, first, until))
	k = describe(t, c, k.KeyId)
	if k.KeyState != types.KeyStateEnabled || *k.CurrentKeyMaterialId != *out.KeyMaterialId || k.ExpirationModel != types.ExpirationModelTypeKeyMaterialExpires || !k.ValidTo.Equal(expires.Truncate(time.Second)) {
		t.Errorf("with material it is %s", asJSON(t, k))
	}
	blob := encrypt(t, c, k.KeyId, "x", nil)

	// A second material waits for a rotation.
	_, err = imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha1, later, nil)
	apitest.WantError(t, err, "IncorrectKeyMaterialException")
	asNew := func(in *kms.ImportKeyMaterialInput) {
		in.ImportType, in.KeyMaterialDescription = types.ImportTypeNewKeyMaterial, aws.String("second")
	}
	next := apitest.Must[*kms.ImportKeyMaterialOutput](t)(imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha1, later, asNew))
	third := make([]byte, 32)
	_, err = imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha256, third, asNew)
	apitest.WantError(t, err, "KMSInvalidStateException", "New key material (id: "+materialIDOf(err)+") cannot be imported into KMS key "+*k.KeyId+", because another key material (id: "+*next.KeyMaterialId+") is pending rotation.")
	list := apitest.Must[*kms.ListKeyRotationsOutput](t)(c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: k.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})).Rotations
	if len(list) != 2 || list[0].KeyMaterialState != types.KeyMaterialStateCurrent || list[1].KeyMaterialState != types.KeyMaterialStatePendingRotation || *list[1].KeyMaterialDescription != "second" {
		t.Errorf("materials %s", asJSON(t, list))
	}
	apitest.Must[*kms.RotateKeyOnDemandOutput](t)(c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.KeyId}))
	_, err = c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "KMSInvalidStateException", "No available key material pending rotation for the key: "+*k.Arn+".")
	if got := describe(t, c, k.KeyId); *got.CurrentKeyMaterialId != *next.KeyMaterialId {
		t.Errorf("after the rotation the current material is %s", *got.CurrentKeyMaterialId)
	}
	newer := encrypt(t, c, k.KeyId, "y", nil)
	_, err = c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "UnsupportedOperationException", *k.Arn+" origin is EXTERNAL which is not valid for this operation.")

	// The first one expires on time, and the key needs it back.
	notices := func() (n int) {
		for _, rec := range srv.Records() {
			if rec["eventName"] == "ImportedKeyMaterialExpiring" {
				n++
				if d := rec["serviceEventDetails"].(map[string]any); d["keyMaterialId"] != *out.KeyMaterialId || d["expires"] != expires.Format(time.RFC3339) {
					t.Errorf("the notice is %v", rec)
				}
			}
		}
		return n
	}
	passed := time.Duration(0)
	for i, left := range []time.Duration{31, 30, 8, 7, 2, 1} { // days
		srv.Advance(100*24*time.Hour - left*24*time.Hour - passed)
		passed = 100*24*time.Hour - left*24*time.Hour
		// The background job may be at it while Advance finds nothing left to do.
		for end := time.Now().Add(10 * time.Second); notices() < (i+1)/2 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if n := notices(); n != (i+1)/2 {
			t.Errorf("%d days before the end there are %d notices", left, n)
		}
	}
	srv.Advance(24*time.Hour - time.Minute)
	wantOK(t, second(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})))
	srv.Advance(2 * time.Minute)
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: newer})
	apitest.WantError(t, err, "KMSInvalidStateException", *k.Arn+" is pending import.")
	events := 0
	for _, rec := range srv.Records() {
		if rec["eventName"] == "DeleteExpiredKeyMaterial" {
			events++
		}
	}
	if events != 1 {
		t.Errorf("%d events", events)
	}
	_, err = imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha256, third, nil)
	apitest.WantError(t, err, "IncorrectKeyMaterialException")
	apitest.Must[*kms.ImportKeyMaterialOutput](t)(imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha256, first, nil))
	for _, b := range [][]byte{blob, newer} {
		wantOK(t, second(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: b})))
	}
	// Deleted by hand, also while the key waits for its own deletion.
	gone := apitest.Must[*kms.DeleteImportedKeyMaterialOutput](t)(c.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: k.KeyId}))
	if *gone.KeyMaterialId != *next.KeyMaterialId || describe(t, c, k.KeyId).KeyState != types.KeyStatePendingImport {
		t.Errorf("deleted %v", gone.KeyMaterialId)
	}
	apitest.Must[*kms.ImportKeyMaterialOutput](t)(imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha256, later, nil))
	apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)}))
	apitest.Must[*kms.DeleteImportedKeyMaterialOutput](t)(c.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: k.KeyId, KeyMaterialId: out.KeyMaterialId}))
	apitest.Must[*kms.CancelKeyDeletionOutput](t)(c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.KeyId}))
	if got := describe(t, c, k.KeyId).KeyState; got != types.KeyStatePendingImport {
		t.Errorf("the key is %s", got)
	}
	apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)}))
	srv.Advance(8 * 24 * time.Hour)
	_, err = c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "NotFoundException")
}

// materialIDOf is the material id in the words of a refused import.
func materialIDOf(err error) string {
	_, rest, _ := strings.Cut(err.Error(), "(id: ")
	id, _, _ := strings.Cut(rest, ")")
	return id
}

// TestImportKinds imports every kind of material under every algorithm; what the key
// does then is what its owner's copy does.
func TestImportKinds(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	message := []byte("a message")
	sum := sha256.Sum256(message)
	pkcs8 := func(key any) []byte { return apitest.Must[[]byte](t)(smx509.MarshalPKCS8PrivateKey(key)) }

	secret := make([]byte, 40)
	rand.Read(secret)
	rsaKey := apitest.Must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 3072))
	ecKey := apitest.Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	wantOK(t, err)
	smKey := apitest.Must[*sm2.PrivateKey](t)(sm2.GenerateKey(rand.Reader))
	oaep := []types.AlgorithmSpec{types.AlgorithmSpecRsaesOaepSha1, types.AlgorithmSpecRsaesOaepSha256}
	both := []types.AlgorithmSpec{types.AlgorithmSpecRsaAesKeyWrapSha1, types.AlgorithmSpecRsaAesKeyWrapSha256}

	for _, test := range []struct {
		spec       types.KeySpec
		usage      types.KeyUsageType
		algorithms []types.AlgorithmSpec
		material   []byte
		works      func(id *string) bool
	}{
		{"HMAC_256", types.KeyUsageTypeGenerateVerifyMac, oaep, secret, func(id *string) bool {
			m := hmac.New(sha256.New, secret)
			m.Write(message)
			return bytes.Equal(m.Sum(nil), apitest.Must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: id, Message: message, MacAlgorithm: "HMAC_SHA_256"})).Mac)
		}},
		{"RSA_3072", types.KeyUsageTypeEncryptDecrypt, both, pkcs8(rsaKey), func(id *string) bool {
			blob := apitest.Must[[]byte](t)(rsa.EncryptOAEP(sha256.New(), rand.Reader, &rsaKey.PublicKey, message, nil))
			out := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{KeyId: id, CiphertextBlob: blob, EncryptionAlgorithm: "RSAES_OAEP_SHA_256"}))
			return bytes.Equal(out.Plaintext, message)
		}},
		{"ECC_NIST_P256", types.KeyUsageTypeSignVerify, append(oaep, both...), pkcs8(ecKey), func(id *string) bool {
			sig := apitest.Must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: id, Message: message, SigningAlgorithm: "ECDSA_SHA_256"})).Signature
			return ecdsa.VerifyASN1(&ecKey.PublicKey, sum[:], sig)
		}},
		{"ECC_NIST_EDWARDS25519", types.KeyUsageTypeSignVerify, append(oaep, both...), pkcs8(edKey), func(id *string) bool {
			sig := apitest.Must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: id, Message: message, SigningAlgorithm: "ED25519_SHA_512"})).Signature
			return ed25519.Verify(edKey.Public().(ed25519.PublicKey), message, sig)
		}},
		{"SM2", types.KeyUsageTypeSignVerify, []types.AlgorithmSpec{types.AlgorithmSpecSm2pke}, pkcs8(smKey), func(id *string) bool {
			sig := apitest.Must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: id, Message: message, SigningAlgorithm: "SM2DSA"})).Signature
			return sm2.VerifyASN1WithSM2(&smKey.PublicKey, nil, message, sig)
		}},
	} {
		for _, algorithm := range test.algorithms {
			k := newExternal(t, c, test.spec, test.usage)
			out, err := imports(t, c, k.KeyId, algorithm, test.material, nil)
			if err != nil {
				t.Errorf("%s under %s: %v", test.spec, algorithm, err)
				continue
			}
			if out.KeyMaterialId != nil || !test.works(k.KeyId) {
				t.Errorf("%s under %s: it does not work", test.spec, algorithm)
			}
			// Only the same again.
			apitest.Must[*kms.DeleteImportedKeyMaterialOutput](t)(c.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: k.KeyId}))
			apitest.Must[*kms.ImportKeyMaterialOutput](t)(imports(t, c, k.KeyId, algorithm, test.material, nil))
			if !test.works(k.KeyId) {
				t.Errorf("%s under %s, again: it does not work", test.spec, algorithm)
			}
		}
	}
	k := newExternal(t, c, "ECC_NIST_P384", types.KeyUsageTypeSignVerify)
	_, err = imports(t, c, k.KeyId, oaep[1], pkcs8(ecKey), nil) // of another curve
	apitest.WantError(t, err, "IncorrectKeyMaterialException")
	k = newExternal(t, c, "RSA_2048", types.KeyUsageTypeSignVerify)
	_, err = c.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: k.KeyId, WrappingAlgorithm: oaep[1], WrappingKeySpec: types.WrappingKeySpecRsa2048})
	apitest.WantError(t, err, "ValidationException")
	_, err = c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: "ML_DSA_44", KeyUsage: types.KeyUsageTypeSignVerify, Origin: types.OriginTypeExternal})
	apitest.WantError(t, err, "ValidationException")
}

func TestImportRefusals(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	k, other, ours := newExternal(t, c, "", ""), newExternal(t, c, "", ""), newKey(t, c)
	material := make([]byte, 32)
	p := apitest.Must[*kms.GetParametersForImportOutput](t)(c.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: k.KeyId, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa4096}))
	if d := p.ParametersValidTo.Sub(srv.Now()); d < 23*time.Hour || d > 24*time.Hour || len(p.ImportToken) > 6144 {
		t.Errorf("valid for %v, a token of %d bytes", d, len(p.ImportToken))
	}
	good := func() *kms.ImportKeyMaterialInput {
		return &kms.ImportKeyMaterialInput{KeyId: k.KeyId, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrap(t, types.AlgorithmSpecRsaesOaepSha256, p.PublicKey, material), ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire}
	}
	past, far := srv.Now(), srv.Now().Add(366*24*time.Hour)
	for name, c2 := range map[string]struct {
		change func(*kms.ImportKeyMaterialInput)
		code   string
	}{
		"token of another key": {func(in *kms.ImportKeyMaterialInput) { in.KeyId = other.KeyId }, "InvalidImportTokenException"},
		"no token":             {func(in *kms.ImportKeyMaterialInput) { in.ImportToken = []byte("none") }, "InvalidImportTokenException"},
		"not wrapped for it":   {func(in *kms.ImportKeyMaterialInput) { in.EncryptedKeyMaterial[9] ^= 1 }, "InvalidCiphertextException"},
		"too short": {func(in *kms.ImportKeyMaterialInput) {
			in.EncryptedKeyMaterial = wrap(t, types.AlgorithmSpecRsaesOaepSha256, p.PublicKey, material[1:])
		}, "IncorrectKeyMaterialException"},
		"no date":        {func(in *kms.ImportKeyMaterialInput) { in.ExpirationModel = "" }, "ValidationException"},
		"date and none":  {func(in *kms.ImportKeyMaterialInput) { in.ValidTo = &far }, "ValidationException"},
		"past":           {func(in *kms.ImportKeyMaterialInput) { in.ExpirationModel, in.ValidTo = "KEY_MATERIAL_EXPIRES", &past }, "ValidationException"},
		"far":            {func(in *kms.ImportKeyMaterialInput) { in.ExpirationModel, in.ValidTo = "KEY_MATERIAL_EXPIRES", &far }, "ValidationException"},
		"key of our own": {func(in *kms.ImportKeyMaterialInput) { in.KeyId = ours.KeyId }, "UnsupportedOperationException"},
	} {
		in := good()
		c2.change(in)
		_, err := c.ImportKeyMaterial(ctx, in)
		t.Log(name)
		apitest.WantError(t, err, c2.code)
	}
	srv.Advance(24 * time.Hour)
	_, err := c.ImportKeyMaterial(ctx, good())
	apitest.WantError(t, err, "ExpiredImportTokenException")
	if s := describe(t, c, k.KeyId).KeyState; s != types.KeyStatePendingImport {
		t.Errorf("the key is %s", s)
	}
}

// The public key of a pair is known as soon as it was imported, and from then on.
func TestImportedPublicKey(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	k := newExternal(t, c, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	_, err := c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId})
	apitest.WantError(t, err, "KMSInvalidStateException", *k.Arn+" is pending import.")
	private := apitest.Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	apitest.Must[*kms.ImportKeyMaterialOutput](t)(imports(t, c, k.KeyId, types.AlgorithmSpecRsaesOaepSha256, apitest.Must[[]byte](t)(smx509.MarshalPKCS8PrivateKey(private)), nil))
	apitest.Must[*kms.DeleteImportedKeyMaterialOutput](t)(c.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: k.KeyId}))
	out := apitest.Must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId}))
	if !private.PublicKey.Equal(apitest.Must[any](t)(smx509.ParsePKIXPublicKey(out.PublicKey))) {
		t.Error("another public key")
	}
}
