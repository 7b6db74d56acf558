package kms

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/keymaterial"
)

// withoutContext refuses an encryption context, which asymmetric algorithms have
// not.
func withoutContext(context map[string]string) error {
	if len(context) > 0 {
		return invalid("EncryptionContext cannot be used with an asymmetric KMS key.")
	}
	return nil
}

func (u *usableKey) encryptAsymmetric(ctx context.Context, algorithm string, plaintext []byte, context map[string]string) ([]byte, error) {
	if err := withoutContext(context); err != nil {
		return nil, err
	}
	pair, err := u.pair(ctx)
	if err != nil {
		return nil, err
	}
	blob, err := pair.Encrypt(algorithm, plaintext)
	var tooLong keymaterial.TooLongError
	if errors.As(err, &tooLong) {
		err = invalid("Algorithm %s and key spec %s cannot encrypt data larger than %d bytes.", algorithm, u.Spec, tooLong.Max)
	}
	return blob, err
}

func (u *usableKey) decryptAsymmetric(ctx context.Context, src *source) ([]byte, error) {
	if err := withoutContext(src.context); err != nil {
		return nil, err
	}
	pair, err := u.pair(ctx)
	if err != nil {
		return nil, err
	}
	plaintext, err := pair.Decrypt(string(src.algorithm), src.blob)
	if err != nil {
		err = awserr.New(awserr.InvalidCiphertext, "")
	}
	return plaintext, err
}

// Sign signs a message or its digest.
func (s *Service) Sign(ctx context.Context, call *api.Call, in *sdk.SignInput) (*sdk.SignOutput, error) {
	call.Forget(in.Message)
	u, pair, err := s.signer(ctx, call, *in.KeyId, in.SigningAlgorithm, &in.MessageType, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	signature, err := pair.Sign(string(in.SigningAlgorithm), keymaterial.MessageType(in.MessageType), in.Message)
	if err != nil {
		return nil, signingError(err, in.SigningAlgorithm, in.MessageType)
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.usage.touch(u.key, call)
	return &sdk.SignOutput{KeyId: &u.arn, Signature: signature, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// Verify checks a signature. One that is not valid is an error.
func (s *Service) Verify(ctx context.Context, call *api.Call, in *sdk.VerifyInput) (*sdk.VerifyOutput, error) {
	call.Forget(in.Message)
	u, pair, err := s.signer(ctx, call, *in.KeyId, in.SigningAlgorithm, &in.MessageType, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	if err := pair.Verify(string(in.SigningAlgorithm), keymaterial.MessageType(in.MessageType), in.Message, in.Signature); err != nil {
		return nil, signingError(err, in.SigningAlgorithm, in.MessageType)
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.usage.touch(u.key, call)
	return &sdk.VerifyOutput{KeyId: &u.arn, SignatureValid: true, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// signer finds the key pair for Sign and Verify.
func (s *Service) signer(ctx context.Context, call *api.Call, keyID string, algorithm types.SigningAlgorithmSpec, kind *types.MessageType, tokens []string) (*usableKey, *keymaterial.KeyPair, error) {
	if *kind == "" {
		*kind = types.MessageTypeRaw
	}
	if err := s.checkGrantTokens(tokens); err != nil {
		return nil, nil, err
	}
	u, err := s.use(ctx, call, keyID, keyOrAlias)
	if err != nil {
		return nil, nil, err
	}
	if err := u.checkAlgorithm(string(algorithm), u.spec().Signing); err != nil {
		return nil, nil, err
	}
	pair, err := u.pair(ctx)
	return u, pair, err
}

// signingError is an error of Sign or Verify in AWS's words.
func signingError(err error, algorithm types.SigningAlgorithmSpec, kind types.MessageType) error {
	switch {
	case errors.Is(err, keymaterial.ErrInvalidSignature):
		return awserr.New(awserr.KMSInvalidSignature, "")
	case errors.Is(err, keymaterial.ErrDigestLength):
		return invalid("Digest is invalid length for algorithm %s.", algorithm)
	case errors.Is(err, keymaterial.ErrMessageType):
		return invalid("MessageType %s is not valid for algorithm %s.", kind, algorithm)
	case errors.Is(err, keymaterial.ErrUnsupported):
		return awserr.New(awserr.UnsupportedOperation, "MessageType %s is not supported for algorithm %s by this version of Kagimori. Use RAW with the message.", kind, algorithm)
	}
	return err
}

// GetPublicKey gives the public key of an asymmetric key.
func (s *Service) GetPublicKey(ctx context.Context, call *api.Call, in *sdk.GetPublicKeyInput) (*sdk.GetPublicKeyOutput, error) {
	if err := s.checkGrantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	u, err := s.use(ctx, call, *in.KeyId, keyOrAlias)
	if err != nil {
		return nil, err
	}
	public, err := u.publicKey(ctx)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetPublicKeyOutput{KeyId: &u.arn, KeySpec: u.Spec, CustomerMasterKeySpec: types.CustomerMasterKeySpec(u.Spec), KeyUsage: u.Usage, PublicKey: public}
	out.EncryptionAlgorithms, out.SigningAlgorithms, _, out.KeyAgreementAlgorithms, out.EncapsulationAlgorithms = u.algorithms()
	return out, nil
}

// GenerateMac makes the MAC of a message.
func (s *Service) GenerateMac(ctx context.Context, call *api.Call, in *sdk.GenerateMacInput) (*sdk.GenerateMacOutput, error) {
	call.Forget(in.Message)
	u, h, err := s.macKey(ctx, call, *in.KeyId, in.MacAlgorithm, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.usage.touch(u.key, call)
	return &sdk.GenerateMacOutput{KeyId: &u.arn, Mac: h.Sum(in.Message), MacAlgorithm: in.MacAlgorithm}, nil
}

// VerifyMac checks the MAC of a message. One that is not valid is an error.
func (s *Service) VerifyMac(ctx context.Context, call *api.Call, in *sdk.VerifyMacInput) (*sdk.VerifyMacOutput, error) {
	call.Forget(in.Message)
	u, h, err := s.macKey(ctx, call, *in.KeyId, in.MacAlgorithm, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	if !h.Verify(in.Message, in.Mac) {
		return nil, awserr.New(awserr.KMSInvalidMac, "")
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.usage.touch(u.key, call)
	return &sdk.VerifyMacOutput{KeyId: &u.arn, MacValid: true, MacAlgorithm: in.MacAlgorithm}, nil
}

// macKey finds the key for GenerateMac and VerifyMac.
func (s *Service) macKey(ctx context.Context, call *api.Call, keyID string, algorithm types.MacAlgorithmSpec, tokens []string) (*usableKey, *keymaterial.HMAC, error) {
	if err := s.checkGrantTokens(tokens); err != nil {
		return nil, nil, err
	}
	u, err := s.use(ctx, call, keyID, keyOrAlias)
	if err != nil {
		return nil, nil, err
	}
	if err := u.checkAlgorithm(string(algorithm), u.spec().MAC); err != nil {
		return nil, nil, err
	}
	h, err := u.hmac(ctx)
	return u, h, err
}

// DeriveSharedSecret agrees on a secret with the owner of a public key.
func (s *Service) DeriveSharedSecret(ctx context.Context, call *api.Call, in *sdk.DeriveSharedSecretInput) (*sdk.DeriveSharedSecretOutput, error) {
	if err := s.checkGrantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	if err := s.attest(call, in.Recipient); err != nil {
		return nil, err
	}
	u, err := s.use(ctx, call, *in.KeyId, keyOrAlias)
	if err != nil {
		return nil, err
	}
	if err := u.checkAlgorithm(string(in.KeyAgreementAlgorithm), u.spec().Agreement); err != nil {
		return nil, err
	}
	pair, err := u.pair(ctx)
	if err != nil {
		return nil, err
	}
	secret, err := pair.SharedSecret(in.PublicKey)
	if err != nil {
		return nil, invalid("")
	}
	call.Forget(secret)
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	secret, sealed, err := deliver(call, secret)
	if err != nil {
		return nil, err
	}
	s.usage.touch(u.key, call)
	return &sdk.DeriveSharedSecretOutput{KeyId: &u.arn, SharedSecret: secret, CiphertextForRecipient: sealed, KeyAgreementAlgorithm: in.KeyAgreementAlgorithm, KeyOrigin: u.Origin}, nil
}

// Encapsulate makes a shared secret for the owner of an ML-KEM key.
func (s *Service) Encapsulate(ctx context.Context, call *api.Call, in *sdk.EncapsulateInput) (*sdk.EncapsulateOutput, error) {
	u, pair, err := s.encapsulator(ctx, call, *in.KeyId, in.EncapsulationAlgorithm, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	secret, ciphertext, err := pair.Encapsulate()
	if err != nil {
		return nil, err
	}
	call.Forget(secret)
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.usage.touch(u.key, call)
	return &sdk.EncapsulateOutput{KeyId: &u.arn, SharedSecret: secret, SharedSecretCiphertextBlob: ciphertext, EncapsulationAlgorithm: in.EncapsulationAlgorithm}, nil
}

// Decapsulate gives the shared secret that Encapsulate, or anybody with the public
// key, has made.
func (s *Service) Decapsulate(ctx context.Context, call *api.Call, in *sdk.DecapsulateInput) (*sdk.DecapsulateOutput, error) {
	u, pair, err := s.encapsulator(ctx, call, *in.KeyId, in.EncapsulationAlgorithm, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	secret, err := pair.Decapsulate(in.SharedSecretCiphertextBlob)
	if err != nil {
		return nil, awserr.New(awserr.InvalidCiphertext, "")
	}
	call.Forget(secret)
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.usage.touch(u.key, call)
	return &sdk.DecapsulateOutput{KeyId: &u.arn, SharedSecret: secret, EncapsulationAlgorithm: in.EncapsulationAlgorithm}, nil
}

// encapsulator finds the key pair for Encapsulate and Decapsulate.
func (s *Service) encapsulator(ctx context.Context, call *api.Call, keyID string, algorithm types.EncapsulationAlgorithmSpec, tokens []string) (*usableKey, *keymaterial.KeyPair, error) {
	if err := s.checkGrantTokens(tokens); err != nil {
		return nil, nil, err
	}
	u, err := s.use(ctx, call, keyID, keyOrAlias)
	if err != nil {
		return nil, nil, err
	}
	if err := u.checkAlgorithm(string(algorithm), u.spec().Encapsulation); err != nil {
		return nil, nil, err
	}
	pair, err := u.pair(ctx)
	return u, pair, err
}

// GenerateDataKeyPair makes a key pair and gives the private key in clear and
// encrypted.
func (s *Service) GenerateDataKeyPair(ctx context.Context, call *api.Call, in *sdk.GenerateDataKeyPairInput) (*sdk.GenerateDataKeyPairOutput, error) {
	if err := s.attest(call, in.Recipient); err != nil {
		return nil, err
	}
	out := new(sdk.GenerateDataKeyPairOutput)
	err := s.generatePair(ctx, call, &dataKey{keyID: in.KeyId, context: in.EncryptionContext, grantTokens: in.GrantTokens, dryRun: in.DryRun}, in.KeyPairSpec, out)
	if err != nil {
		return nil, err
	}
	out.PrivateKeyPlaintext, out.CiphertextForRecipient, err = deliver(call, out.PrivateKeyPlaintext)
	return out, err
}

// GenerateDataKeyPairWithoutPlaintext makes a key pair and gives the private key
// encrypted only.
func (s *Service) GenerateDataKeyPairWithoutPlaintext(ctx context.Context, call *api.Call, in *sdk.GenerateDataKeyPairWithoutPlaintextInput) (*sdk.GenerateDataKeyPairWithoutPlaintextOutput, error) {
	var out sdk.GenerateDataKeyPairOutput
	err := s.generatePair(ctx, call, &dataKey{keyID: in.KeyId, context: in.EncryptionContext, grantTokens: in.GrantTokens, dryRun: in.DryRun}, in.KeyPairSpec, &out)
	if err != nil {
		return nil, err
	}
	return &sdk.GenerateDataKeyPairWithoutPlaintextOutput{KeyId: out.KeyId, KeyMaterialId: out.KeyMaterialId, KeyPairSpec: out.KeyPairSpec,
		PrivateKeyCiphertextBlob: out.PrivateKeyCiphertextBlob, PublicKey: out.PublicKey}, nil
}

func (s *Service) generatePair(ctx context.Context, call *api.Call, req *dataKey, spec types.DataKeyPairSpec, out *sdk.GenerateDataKeyPairOutput) error {
	if err := s.checkGrantTokens(req.grantTokens); err != nil {
		return err
	}
	u, err := s.use(ctx, call, *req.keyID, keyOrAlias)
	if err != nil {
		return err
	}
	row := keymaterial.SpecNamed(string(spec)) // the wire knows the specs that pairs can have
	private, err := s.pairs.take(row)
	if err != nil {
		return err
	}
	call.Forget(private)
	pair, err := keymaterial.NewKeyPair(row, private)
	if err != nil {
		return err
	}
	blob, id, err := u.encrypt(ctx, types.EncryptionAlgorithmSpecSymmetricDefault, private, req.context)
	if err == nil {
		err = dryRun(req.dryRun)
	}
	if err != nil {
		return err
	}
	s.usage.touch(u.key, call)
	*out = sdk.GenerateDataKeyPairOutput{KeyId: aws.String(u.arn), KeyMaterialId: noteMaterial(call, "keyMaterialId", id), KeyPairSpec: spec,
		PrivateKeyPlaintext: private, PrivateKeyCiphertextBlob: blob, PublicKey: pair.PublicKey()}
	return nil
}
