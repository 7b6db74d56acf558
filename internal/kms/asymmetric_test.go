package kms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"hash"
	"slices"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	k1 "github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

func newKeyOf(t *testing.T, c *kms.Client, spec types.KeySpec, usage types.KeyUsageType) *types.KeyMetadata {
	t.Helper()
	return apitest.Must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})).KeyMetadata
}

func publicKey(t *testing.T, c *kms.Client, id *string) *kms.GetPublicKeyOutput {
	t.Helper()
	return apitest.Must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: id}))
}

// hashOf is the hash of a signing algorithm.
func hashOf(algorithm types.SigningAlgorithmSpec) (crypto.Hash, []byte) {
	message := []byte("a message")
	switch {
	case strings.HasSuffix(string(algorithm), "SHA_256"):
		sum := sha256.Sum256(message)
		return crypto.SHA256, sum[:]
	case strings.HasSuffix(string(algorithm), "SHA_384"):
		sum := sha512.Sum384(message)
		return crypto.SHA384, sum[:]
	}
	sum := sha512.Sum512(message)
	return crypto.SHA512, sum[:]
}

// verify checks a signature of "a message" outside of the service.
func verify(t *testing.T, spki []byte, algorithm types.SigningAlgorithmSpec, signature []byte) bool {
	t.Helper()
	message := []byte("a message")
	h, sum := hashOf(algorithm)
	if algorithm == types.SigningAlgorithmSpecSm2dsa {
		key := apitest.Must[any](t)(smx509.ParsePKIXPublicKey(spki))
		return sm2.VerifyASN1WithSM2(key.(*ecdsa.PublicKey), nil, message, signature)
	}
	any, err := mldsax509.ParsePKIXPublicKey(spki)
	if err != nil { // secp256k1
		var info struct {
			Algorithm asn1.RawValue
			Key       asn1.BitString
		}
		if _, err := asn1.Unmarshal(spki, &info); err != nil {
			t.Fatal(err)
		}
		key := apitest.Must[*k1.PublicKey](t)(k1.ParsePubKey(info.Key.Bytes))
		s, err := k1ecdsa.ParseDERSignature(signature)
		return err == nil && s.Verify(sum, key)
	}
	switch key := any.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(string(algorithm), "RSASSA_PSS") {
			return rsa.VerifyPSS(key, h, sum, signature, &rsa.PSSOptions{SaltLength: h.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(key, h, sum, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, sum, signature)
	case ed25519.PublicKey:
		if algorithm == types.SigningAlgorithmSpecEd25519PhSha512 {
			again := sha512.Sum512(sum)
			return ed25519.VerifyWithOptions(key, again[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
		}
		return ed25519.Verify(key, message, signature)
	case *mldsa.PublicKey:
		return mldsa.Verify(key, message, signature, nil) == nil
	}
	t.Fatalf("a %T", any)
	return false
}

// TestSign signs with every key spec and algorithm; the standard library and other
// modules verify.
func TestSign(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	for _, spec := range []types.KeySpec{"RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "SM2", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87"} {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			k, other := newKeyOf(t, c, spec, types.KeyUsageTypeSignVerify), newKeyOf(t, c, spec, types.KeyUsageTypeSignVerify)
			public := publicKey(t, c, k.KeyId)
			if public.KeySpec != spec || !slices.Equal(public.SigningAlgorithms, k.SigningAlgorithms) || len(k.EncryptionAlgorithms) != 0 || k.CurrentKeyMaterialId != nil {
				t.Errorf("GetPublicKey answers %v for %s", public.SigningAlgorithms, asJSON(t, k))
			}
			for _, algorithm := range k.SigningAlgorithms {
				_, sum := hashOf(algorithm)
				for kind, in := range map[types.MessageType][]byte{types.MessageTypeRaw: []byte("a message"), types.MessageTypeDigest: sum} {
					raw, onlyDigest := kind == types.MessageTypeRaw, algorithm == types.SigningAlgorithmSpecEd25519PhSha512
					if onlyDigest && raw || !raw && slices.Contains([]types.SigningAlgorithmSpec{types.SigningAlgorithmSpecEd25519Sha512, types.SigningAlgorithmSpecMlDsaShake256}, algorithm) {
						_, err := c.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: in, MessageType: kind, SigningAlgorithm: algorithm})
						apitest.WantError(t, err, "ValidationException")
						continue
					}
					if algorithm == types.SigningAlgorithmSpecSm2dsa && !raw {
						continue // whose digest is another one
					}
					out := apitest.Must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: in, MessageType: kind, SigningAlgorithm: algorithm}))
					if *out.KeyId != *k.Arn || !verify(t, public.PublicKey, algorithm, out.Signature) {
						t.Errorf("%s %s: the signature is not valid outside", algorithm, kind)
					}
					ok := apitest.Must[*kms.VerifyOutput](t)(c.Verify(ctx, &kms.VerifyInput{KeyId: k.KeyId, Message: in, MessageType: kind, SigningAlgorithm: algorithm, Signature: out.Signature}))
					if !ok.SignatureValid {
						t.Error("the signature is not valid")
					}
					_, err := c.Verify(ctx, &kms.VerifyInput{KeyId: other.KeyId, Message: in, MessageType: kind, SigningAlgorithm: algorithm, Signature: out.Signature})
					apitest.WantError(t, err, "KMSInvalidSignatureException")
					if !raw {
						_, err = c.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: in[1:], MessageType: kind, SigningAlgorithm: algorithm})
						apitest.WantError(t, err, "ValidationException", "Digest is invalid length for algorithm "+string(algorithm)+".")
					}
				}
			}
			wrong := types.SigningAlgorithmSpecEcdsaSha256
			if slices.Contains(k.SigningAlgorithms, wrong) {
				wrong = types.SigningAlgorithmSpecEcdsaSha512
			}
			_, err := c.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: []byte("x"), SigningAlgorithm: wrong})
			apitest.WantError(t, err, "InvalidKeyUsageException", "Algorithm "+string(wrong)+" is incompatible with key spec "+string(spec)+".")
			_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")})
			apitest.WantError(t, err, "InvalidKeyUsageException", *k.Arn+" key usage is SIGN_VERIFY which is not valid for Encrypt.")
			_, err = c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.KeyId})
			apitest.WantError(t, err, "UnsupportedOperationException")
		})
	}
}

func TestMac(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.KMS(region)
	for spec, size := range map[types.KeySpec]int{"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64} {
		k, other := newKeyOf(t, c, spec, types.KeyUsageTypeGenerateVerifyMac), newKeyOf(t, c, spec, types.KeyUsageTypeGenerateVerifyMac)
		algorithm := k.MacAlgorithms[0]
		out := apitest.Must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: k.KeyId, Message: []byte("m"), MacAlgorithm: algorithm}))
		if len(out.Mac) != size {
			t.Errorf("%s: a MAC of %d bytes", spec, len(out.Mac))
		}
		apitest.Must[*kms.VerifyMacOutput](t)(c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: k.KeyId, Message: []byte("m"), MacAlgorithm: algorithm, Mac: out.Mac}))
		_, err := c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: other.KeyId, Message: []byte("m"), MacAlgorithm: algorithm, Mac: out.Mac})
		apitest.WantError(t, err, "KMSInvalidMacException")
		_, err = c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId})
		apitest.WantError(t, err, "UnsupportedOperationException")
	}
	k := newKeyOf(t, c, "HMAC_256", types.KeyUsageTypeGenerateVerifyMac)
	_, err := c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: k.KeyId, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha512})
	apitest.WantError(t, err, "InvalidKeyUsageException", "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256.")
	before := apitest.Must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: k.KeyId, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha256}))
	srv.Restart()
	apitest.Must[*kms.VerifyMacOutput](t)(srv.KMS(region).VerifyMac(ctx, &kms.VerifyMacInput{KeyId: k.KeyId, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Mac: before.Mac}))
	if hmac.Equal(before.Mac, make([]byte, 32)) {
		t.Error("the MAC is zero")
	}
}

func TestRSAEncryption(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	k := newKeyOf(t, c, "RSA_2048", types.KeyUsageTypeEncryptDecrypt)
	key := apitest.Must[any](t)(x509.ParsePKIXPublicKey(publicKey(t, c, k.KeyId).PublicKey)).(*rsa.PublicKey)
	for algorithm, a := range map[types.EncryptionAlgorithmSpec]struct {
		hash func() hash.Hash
		max  int
	}{"RSAES_OAEP_SHA_1": {sha1.New, 214}, "RSAES_OAEP_SHA_256": {sha256.New, 190}} {
		outside := apitest.Must[[]byte](t)(rsa.EncryptOAEP(a.hash(), rand.Reader, key, []byte("x"), nil))
		inside := apitest.Must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: make([]byte, a.max), EncryptionAlgorithm: algorithm}))
		for blob, want := range map[string][]byte{string(outside): []byte("x"), string(inside.CiphertextBlob): make([]byte, a.max)} {
			out := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, CiphertextBlob: []byte(blob), EncryptionAlgorithm: algorithm}))
			if !bytes.Equal(out.Plaintext, want) || out.KeyMaterialId != nil || out.EncryptionAlgorithm != algorithm {
				t.Errorf("%s: %s", algorithm, asJSON(t, out))
			}
		}
		_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: make([]byte, a.max+1), EncryptionAlgorithm: algorithm})
		apitest.WantError(t, err, "ValidationException")
		_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x"), EncryptionAlgorithm: algorithm, EncryptionContext: map[string]string{"a": "b"}})
		apitest.WantError(t, err, "ValidationException")
	}
	blob := encryptWithAlgorithm(t, c, k.KeyId, "RSAES_OAEP_SHA_1")
	_, err := c.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, CiphertextBlob: blob, EncryptionAlgorithm: "RSAES_OAEP_SHA_256"})
	apitest.WantError(t, err, "InvalidCiphertextException")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, CiphertextBlob: blob})
	apitest.WantError(t, err, "InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048.")
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionAlgorithm: "RSAES_OAEP_SHA_1"})
	apitest.WantError(t, err, "InvalidCiphertextException")
	_, err = c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256})
	apitest.WantError(t, err, "InvalidKeyUsageException", *k.Arn+" key usage is ENCRYPT_DECRYPT which is not valid for GenerateDataKey.")

	// From one kind of key to another.
	symmetric := newKey(t, c)
	moved := apitest.Must[*kms.ReEncryptOutput](t)(c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: blob, SourceKeyId: k.KeyId, SourceEncryptionAlgorithm: "RSAES_OAEP_SHA_1", DestinationKeyId: symmetric.KeyId}))
	back := apitest.Must[*kms.ReEncryptOutput](t)(c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: moved.CiphertextBlob, DestinationKeyId: k.KeyId, DestinationEncryptionAlgorithm: "RSAES_OAEP_SHA_256"}))
	if moved.SourceKeyMaterialId != nil || moved.DestinationKeyMaterialId == nil || back.SourceKeyMaterialId == nil || back.DestinationKeyMaterialId != nil {
		t.Errorf("materials of %s and %s", asJSON(t, moved), asJSON(t, back))
	}
	out := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, CiphertextBlob: back.CiphertextBlob, EncryptionAlgorithm: "RSAES_OAEP_SHA_256"}))
	if string(out.Plaintext) != "x" {
		t.Errorf("it came out as %q", out.Plaintext)
	}
}

func encryptWithAlgorithm(t *testing.T, c *kms.Client, id *string, algorithm types.EncryptionAlgorithmSpec) []byte {
	t.Helper()
	return apitest.Must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("x"), EncryptionAlgorithm: algorithm})).CiphertextBlob
}

func TestKeyAgreement(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	for spec, size := range map[types.KeySpec]int{"ECC_NIST_P256": 32, "ECC_NIST_P384": 48, "ECC_NIST_P521": 66, "SM2": 32} {
		one, two := newKeyOf(t, c, spec, types.KeyUsageTypeKeyAgreement), newKeyOf(t, c, spec, types.KeyUsageTypeKeyAgreement)
		derive := func(own, peer *types.KeyMetadata) []byte {
			return apitest.Must[*kms.DeriveSharedSecretOutput](t)(c.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: own.KeyId, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh,
				PublicKey: publicKey(t, c, peer.KeyId).PublicKey})).SharedSecret
		}
		if a, b := derive(one, two), derive(two, one); !bytes.Equal(a, b) || len(a) != size {
			t.Errorf("%s: secrets of %d and %d bytes", spec, len(a), len(b))
		}
		_, err := c.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: one.KeyId, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: []byte("none")})
		apitest.WantError(t, err, "ValidationException")
	}
}

func TestEncapsulate(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	for spec, size := range map[types.KeySpec]int{"ML_KEM_512": 768, "ML_KEM_768": 1088, "ML_KEM_1024": 1568} {
		k := newKeyOf(t, c, spec, types.KeyUsageTypeEncapsulateDecapsulate)
		algorithm := k.EncapsulationAlgorithms[0]
		out := apitest.Must[*kms.EncapsulateOutput](t)(c.Encapsulate(ctx, &kms.EncapsulateInput{KeyId: k.KeyId, EncapsulationAlgorithm: algorithm}))
		opened := func(blob []byte) []byte {
			return apitest.Must[*kms.DecapsulateOutput](t)(c.Decapsulate(ctx, &kms.DecapsulateInput{KeyId: k.KeyId, EncapsulationAlgorithm: algorithm, SharedSecretCiphertextBlob: blob})).SharedSecret
		}
		if !bytes.Equal(opened(out.SharedSecretCiphertextBlob), out.SharedSecret) || len(out.SharedSecretCiphertextBlob) != size || len(out.SharedSecret) != 32 {
			t.Errorf("%s: a secret of %d bytes in %d", spec, len(out.SharedSecret), len(out.SharedSecretCiphertextBlob))
		}
		if spec == "ML_KEM_768" { // the other side with the standard library
			var info struct {
				Algorithm asn1.RawValue
				Key       asn1.BitString
			}
			_, err := asn1.Unmarshal(publicKey(t, c, k.KeyId).PublicKey, &info)
			wantOK(t, err)
			secret, blob := apitest.Must[*mlkem.EncapsulationKey768](t)(mlkem.NewEncapsulationKey768(info.Key.Bytes)).Encapsulate()
			if !bytes.Equal(opened(blob), secret) {
				t.Error("the secrets differ")
			}
		}
		_, err := c.Decapsulate(ctx, &kms.DecapsulateInput{KeyId: k.KeyId, EncapsulationAlgorithm: algorithm, SharedSecretCiphertextBlob: out.SharedSecretCiphertextBlob[1:]})
		apitest.WantError(t, err, "InvalidCiphertextException")
	}
}

func TestDataKeyPairs(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	k := newKey(t, c)
	context := map[string]string{"a": "b"}
	for _, spec := range types.DataKeyPairSpec("").Values() {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			out := apitest.Must[*kms.GenerateDataKeyPairOutput](t)(c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: k.KeyId, KeyPairSpec: spec, EncryptionContext: context}))
			plain := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: out.PrivateKeyCiphertextBlob, EncryptionContext: context})).Plaintext
			if !bytes.Equal(plain, out.PrivateKeyPlaintext) || out.KeyPairSpec != spec || *out.KeyMaterialId != *k.CurrentKeyMaterialId {
				t.Error("the private key does not come back")
			}
			if key, err := smx509.ParsePKCS8PrivateKey(plain); err == nil {
				public := apitest.Must[[]byte](t)(smx509.MarshalPKIXPublicKey(key.(crypto.Signer).Public()))
				if !bytes.Equal(public, out.PublicKey) {
					t.Error("the public key is of another private key")
				}
			} else if spec != "ECC_SECG_P256K1" && !strings.HasPrefix(string(spec), "ML_") {
				t.Error(err)
			}
			hidden := apitest.Must[*kms.GenerateDataKeyPairWithoutPlaintextOutput](t)(c.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: k.KeyId, KeyPairSpec: spec}))
			if bytes.Equal(hidden.PublicKey, out.PublicKey) {
				t.Error("the same pair twice")
			}
		})
	}
	asymmetric := newKeyOf(t, c, "RSA_2048", types.KeyUsageTypeEncryptDecrypt)
	_, err := c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: asymmetric.KeyId, KeyPairSpec: types.DataKeyPairSpecEccNistP256})
	apitest.WantError(t, err, "InvalidKeyUsageException")
	_, err = c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: k.KeyId, KeyPairSpec: types.DataKeyPairSpecEccNistP256, DryRun: aws.Bool(true)})
	apitest.WantError(t, err, "DryRunOperationException")
}
