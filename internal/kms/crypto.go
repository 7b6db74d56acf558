package kms

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/keymaterial"
)

// Encrypt encrypts up to 4,096 bytes.
func (s *Service) Encrypt(ctx context.Context, call *api.Call, in *sdk.EncryptInput) (*sdk.EncryptOutput, error) {
	call.Forget(in.Plaintext)
	setDefault(&in.EncryptionAlgorithm)
	if err := s.checkGrantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	u, err := s.use(ctx, call, *in.KeyId, keyOrAlias)
	if err != nil {
		return nil, err
	}
	blob, id, err := u.encrypt(ctx, in.EncryptionAlgorithm, in.Plaintext, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	noteMaterial(call, "keyMaterialId", id)
	s.usage.touch(u.key, call)
	return &sdk.EncryptOutput{CiphertextBlob: blob, KeyId: &u.arn, EncryptionAlgorithm: in.EncryptionAlgorithm}, nil
}

// Decrypt decrypts what Encrypt, GenerateDataKey or ReEncrypt made. The
// ciphertext names its key; a KeyId must agree with it.
func (s *Service) Decrypt(ctx context.Context, call *api.Call, in *sdk.DecryptInput) (*sdk.DecryptOutput, error) {
	setDefault(&in.EncryptionAlgorithm)
	if err := s.checkGrantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	if err := s.attest(call, in.Recipient); err != nil {
		return nil, err
	}
	src := source{blob: in.CiphertextBlob, keyID: in.KeyId, keyMember: "keyId", context: in.EncryptionContext,
		algorithm: in.EncryptionAlgorithm, dryRun: in.DryRun, modifiers: in.DryRunModifiers}
	u, plaintext, id, err := s.decrypt(ctx, call, ask{action: call.Operation}, &src)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	plaintext, sealed, err := deliver(call, plaintext)
	if err != nil {
		return nil, err
	}
	s.usage.touch(u.key, call)
	return &sdk.DecryptOutput{Plaintext: plaintext, CiphertextForRecipient: sealed, KeyId: &u.arn, EncryptionAlgorithm: in.EncryptionAlgorithm, KeyMaterialId: noteMaterial(call, "keyMaterialId", id)}, nil
}

// ReEncrypt decrypts and encrypts anew without the plaintext leaving.
func (s *Service) ReEncrypt(ctx context.Context, call *api.Call, in *sdk.ReEncryptInput) (*sdk.ReEncryptOutput, error) {
	setDefault(&in.SourceEncryptionAlgorithm)
	setDefault(&in.DestinationEncryptionAlgorithm)
	if err := s.checkGrantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	src := source{blob: in.CiphertextBlob, keyID: in.SourceKeyId, keyMember: "sourceKeyId", context: in.SourceEncryptionContext,
		algorithm: in.SourceEncryptionAlgorithm, dryRun: in.DryRun, modifiers: in.DryRunModifiers}
	// The source is judged first, but its conditions may ask for the destination.
	dest, alias, destErr := s.resolve(ctx, call, reEncryptTo, *in.DestinationKeyId, keyOrAlias)
	from, plaintext, fromID, err := s.decrypt(ctx, call, ask{action: reEncryptFrom, other: dest}, &src)
	if err != nil {
		return nil, err
	}
	if destErr != nil {
		return nil, destErr
	}
	to, err := s.admit(ctx, call, dest, ask{action: reEncryptTo, alias: alias, other: from.key})
	if err != nil {
		return nil, err
	}
	blob, toID, err := to.encrypt(ctx, in.DestinationEncryptionAlgorithm, plaintext, in.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.usage.touch(from.key, call)
	s.usage.touch(to.key, call)
	return &sdk.ReEncryptOutput{CiphertextBlob: blob, SourceKeyId: &from.arn, KeyId: &to.arn,
		SourceEncryptionAlgorithm: in.SourceEncryptionAlgorithm, DestinationEncryptionAlgorithm: in.DestinationEncryptionAlgorithm,
		SourceKeyMaterialId: noteMaterial(call, "sourceKeyMaterialId", fromID), DestinationKeyMaterialId: noteMaterial(call, "destinationKeyMaterialId", toID)}, nil
}

// ReEncrypt's permissions, one for each key.
const (
	reEncryptFrom = "ReEncryptFrom"
	reEncryptTo   = "ReEncryptTo"
)

// GenerateDataKey makes a data key and gives it in clear and encrypted.
func (s *Service) GenerateDataKey(ctx context.Context, call *api.Call, in *sdk.GenerateDataKeyInput) (*sdk.GenerateDataKeyOutput, error) {
	if err := s.attest(call, in.Recipient); err != nil {
		return nil, err
	}
	req := dataKey{in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, in.GrantTokens, in.DryRun}
	u, plaintext, blob, id, err := s.generateDataKey(ctx, call, &req)
	if err != nil {
		return nil, err
	}
	plaintext, sealed, err := deliver(call, plaintext)
	if err != nil {
		return nil, err
	}
	return &sdk.GenerateDataKeyOutput{Plaintext: plaintext, CiphertextForRecipient: sealed, CiphertextBlob: blob, KeyId: &u.arn, KeyMaterialId: &id}, nil
}

// GenerateDataKeyWithoutPlaintext makes a data key and gives it encrypted only.
func (s *Service) GenerateDataKeyWithoutPlaintext(ctx context.Context, call *api.Call, in *sdk.GenerateDataKeyWithoutPlaintextInput) (*sdk.GenerateDataKeyWithoutPlaintextOutput, error) {
	req := dataKey{in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, in.GrantTokens, in.DryRun}
	u, _, blob, id, err := s.generateDataKey(ctx, call, &req)
	if err != nil {
		return nil, err
	}
	return &sdk.GenerateDataKeyWithoutPlaintextOutput{CiphertextBlob: blob, KeyId: &u.arn, KeyMaterialId: &id}, nil
}

// GenerateRandom gives 1 to 1,024 random bytes.
func (s *Service) GenerateRandom(ctx context.Context, call *api.Call, in *sdk.GenerateRandomInput) (*sdk.GenerateRandomOutput, error) {
	if in.NumberOfBytes == nil {
		return nil, invalid("NumberOfBytes is required.")
	}
	if err := s.attest(call, in.Recipient); err != nil {
		return nil, err
	}
	if err := s.allow(ctx, call, call.Operation, "*"); err != nil {
		return nil, err
	}
	plaintext, err := s.random(ctx, call, in.CustomKeyStoreId, int(*in.NumberOfBytes))
	if err != nil {
		return nil, err
	}
	call.Forget(plaintext)
	plaintext, sealed, err := deliver(call, plaintext)
	if err != nil {
		return nil, err
	}
	return &sdk.GenerateRandomOutput{Plaintext: plaintext, CiphertextForRecipient: sealed}, nil
}

// dataKey is what the two operations that make data keys are asked.
type dataKey struct {
	keyID         *string
	spec          types.DataKeySpec
	numberOfBytes *int32
	context       map[string]string
	grantTokens   []string
	dryRun        *bool
}

func (s *Service) generateDataKey(ctx context.Context, call *api.Call, req *dataKey) (u *usableKey, plaintext, blob []byte, materialID string, err error) {
	fail := func(err error) (*usableKey, []byte, []byte, string, error) { return nil, nil, nil, "", err }
	if (req.spec == "") == (req.numberOfBytes == nil) {
		return fail(invalid("Please specify either number of bytes or key spec."))
	}
	if err := s.checkGrantTokens(req.grantTokens); err != nil {
		return fail(err)
	}
	size := 32
	switch {
	case req.numberOfBytes != nil:
		size = int(*req.numberOfBytes)
	case req.spec == types.DataKeySpecAes128:
		size = 16
	}
	if u, err = s.use(ctx, call, *req.keyID, keyOrAlias); err != nil {
		return fail(err)
	}
	plaintext = randomBytes(size)
	call.Forget(plaintext)
	if blob, materialID, err = u.encrypt(ctx, types.EncryptionAlgorithmSpecSymmetricDefault, plaintext, req.context); err == nil {
		err = dryRun(req.dryRun)
	}
	if err != nil {
		return fail(err)
	}
	call.Trail.Add("keyMaterialId", materialID)
	s.usage.touch(u.key, call)
	return u, plaintext, blob, materialID, nil
}

// noteMaterial has the record say which material was used, and gives its id for the
// answer: nil for asymmetric keys, whose material has none in the API.
func noteMaterial(call *api.Call, name, id string) *string {
	if id == "" {
		return nil
	}
	call.Trail.Add(name, id)
	return &id
}

// encrypt encrypts under the current material and names it; not that of an
// asymmetric key.
func (u *usableKey) encrypt(ctx context.Context, algorithm types.EncryptionAlgorithmSpec, plaintext []byte, context map[string]string) (blob []byte, materialID string, err error) {
	if err := u.checkAlgorithm(string(algorithm), u.spec().Encryption); err != nil {
		return nil, "", err
	}
	if u.spec().Asymmetric() {
		blob, err = u.encryptAsymmetric(ctx, string(algorithm), plaintext, context)
		return blob, "", err
	}
	materialID = u.current()
	m, err := u.symmetric(ctx, materialID)
	if err != nil {
		return nil, "", err
	}
	blob, err = m.Encrypt(nil, plaintext, context)
	return blob, materialID, err
}

// source is a ciphertext to decrypt, with what the caller said about it.
type source struct {
	blob      []byte
	keyID     *string
	keyMember string // the name of the parameter that keyID is
	context   map[string]string
	algorithm types.EncryptionAlgorithmSpec
	dryRun    *bool
	modifiers []types.DryRunModifierType
}

// decrypt decrypts src under the permission that a asks for. With the dry-run
// modifier IGNORE_CIPHERTEXT there is nothing to decrypt, and no plaintext.
func (s *Service) decrypt(ctx context.Context, call *api.Call, a ask, src *source) (u *usableKey, plaintext []byte, materialID string, err error) {
	fail := func(err error) (*usableKey, []byte, string, error) { return nil, nil, "", err }
	ignore := len(src.modifiers) > 0 // IGNORE_CIPHERTEXT is the only modifier
	switch {
	case ignore && !aws.ToBool(src.dryRun):
		return fail(invalid("DryRunModifiers can only be used with DryRun."))
	case ignore && src.keyID == nil:
		return fail(missing(src.keyMember))
	case !ignore && src.blob == nil:
		return fail(missing("ciphertextBlob"))
	}
	var blob keymaterial.Blob
	var parseErr error
	if !ignore {
		blob, parseErr = keymaterial.ParseBlob(src.blob)
	}

	switch {
	case src.keyID != nil:
		u, err = s.useFor(ctx, call, a, *src.keyID, keyOrAlias)
	case parseErr != nil:
		err = awserr.New(awserr.InvalidCiphertext, "")
	default:
		u, err = s.useOf(ctx, call, a, &blob)
	}
	if err != nil {
		return fail(err)
	}
	if err := u.checkAlgorithm(string(src.algorithm), u.spec().Encryption); err != nil {
		return fail(err)
	}
	switch {
	case ignore:
		return u, nil, "", nil
	case u.spec().Asymmetric():
		plaintext, err = u.decryptAsymmetric(ctx, src)
	default:
		plaintext, materialID, err = u.decryptSymmetric(ctx, src, blob, parseErr)
	}
	if err != nil {
		return fail(err)
	}
	call.Forget(plaintext)
	return u, plaintext, materialID, nil
}

// decryptSymmetric opens a ciphertext that names its key and material.
func (u *usableKey) decryptSymmetric(ctx context.Context, src *source, blob keymaterial.Blob, parseErr error) (plaintext []byte, materialID string, err error) {
	switch {
	case parseErr != nil:
		return nil, "", awserr.New(awserr.InvalidCiphertext, "")
	case blob.KeyID() != u.ID:
		return nil, "", awserr.New(awserr.IncorrectKey, "The key ID in the request does not identify a CMK that can perform this operation.")
	}
	materialID = blob.MaterialID()
	if !u.hasMaterial(materialID) {
		return nil, "", awserr.New(awserr.InvalidCiphertext, "")
	}
	m, err := u.symmetric(ctx, materialID)
	if err != nil {
		return nil, "", err
	}
	if plaintext, err = m.Decrypt(nil, blob, src.context); err != nil {
		err = awserr.New(awserr.InvalidCiphertext, "")
	}
	return plaintext, materialID, err
}

// useOf is use for the key that a ciphertext names.
func (s *Service) useOf(ctx context.Context, call *api.Call, a ask, blob *keymaterial.Blob) (*usableKey, error) {
	k, err := s.loadKeyOf(ctx, call.Region, blob.KeyID())
	if isNotFound(err) {
		return nil, authz.NotVisible(call.Caller, "kms:"+a.action, authz.OfCiphertext)
	}
	if err != nil {
		return nil, err
	}
	a.named = authz.OfCiphertext
	return s.admit(ctx, call, k, a)
}

func (r *keyRecord) hasMaterial(id string) bool {
	for i := len(r.Materials) - 1; i >= 0; i-- {
		if r.Materials[i].ID == id {
			return true
		}
	}
	return false
}

// checkAlgorithm refuses an algorithm that is not one of those that keys of the spec
// have for an operation.
func (k *key) checkAlgorithm(algorithm string, have []string) error {
	if !slices.Contains(have, algorithm) {
		return awserr.New(awserr.InvalidKeyUsage, "Algorithm %s is incompatible with key spec %s.", algorithm, k.Spec)
	}
	return nil
}

// setDefault fills in the algorithm that AWS assumes, and logs, when none is given.
func setDefault(algorithm *types.EncryptionAlgorithmSpec) {
	if *algorithm == "" {
		*algorithm = types.EncryptionAlgorithmSpecSymmetricDefault
	}
}

// dryRun refuses a call that would have succeeded if it was only a trial.
func dryRun(asked *bool) error {
	if aws.ToBool(asked) {
		return awserr.New(awserr.DryRunOperation, "The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

// missing is AWS's words for a required member that is absent.
func missing(member string) error {
	return invalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", member)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return b
}
