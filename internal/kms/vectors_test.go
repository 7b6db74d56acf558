package kms_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/cloudflare/circl/kem"
	kemschemes "github.com/cloudflare/circl/kem/schemes"
	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/ed25519"
	signschemes "github.com/cloudflare/circl/sign/schemes"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/internal/vectors"
	"github.com/kagimori/kagimori/kagimoritest"
)

// vectorKey is a key with the material of a group of vectors.
type vectorKey struct {
	c  *kms.Client
	id *string
}

// vectorTests check one vector, by the usage of its key.
var vectorTests = map[types.KeyUsageType]func(vectorKey, *testing.T, vectors.Test){
	types.KeyUsageTypeSignVerify:        vectorKey.signature,
	types.KeyUsageTypeGenerateVerifyMac: vectorKey.mac,
	types.KeyUsageTypeEncryptDecrypt:    vectorKey.ciphertext,
	types.KeyUsageTypeKeyAgreement:      vectorKey.agreement,
}

// TestVectors imports the keys of published known-answer tests, and calls the service
// with what is to be accepted and what is to be refused.
func TestVectors(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	for path, file := range vectors.LoadAll(t, "testdata/vectors/*.json") {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		for i, g := range file.Groups {
			t.Run(name+"/"+g.Spec+"/"+strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				k := vectorKey{c, importVectorKey(t, c, g)}
				if len(g.Public) > 0 && !bytes.Equal(publicKey(t, c, k.id).PublicKey, g.Public) {
					t.Error("GetPublicKey answers another public key")
				}
				for _, v := range g.Tests {
					t.Run(v.Name, func(t *testing.T) { vectorTests[types.KeyUsageType(g.Usage)](k, t, v) })
				}
			})
		}
	}
}

func importVectorKey(t *testing.T, c *kms.Client, g vectors.Group) *string {
	t.Helper()
	id := newExternal(t, c, types.KeySpec(g.Spec), types.KeyUsageType(g.Usage)).KeyId
	algorithm := types.AlgorithmSpecRsaAesKeyWrapSha256
	switch {
	case g.Spec == "SM2":
		algorithm = types.AlgorithmSpecSm2pke
	case strings.HasPrefix(g.Spec, "HMAC_"):
		algorithm = types.AlgorithmSpecRsaesOaepSha256
	}
	apitest.Must[*kms.ImportKeyMaterialOutput](t)(imports(t, c, id, algorithm, g.Material, nil))
	return id
}

// want checks that a vector was accepted, or refused with the error.
func want(t *testing.T, v vectors.Test, err error, code string) {
	t.Helper()
	if v.Result.Valid() {
		wantOK(t, err)
		return
	}
	apitest.WantError(t, err, code)
}

func (k vectorKey) signature(t *testing.T, v vectors.Test) {
	algorithm := types.SigningAlgorithmSpec(v.Algorithm)
	inputs := map[types.MessageType][]byte{types.MessageTypeRaw: v.In}
	if sum := vectorDigest(v); sum != nil {
		inputs[types.MessageTypeDigest] = sum
	}
	for kind, in := range inputs {
		verify := func(message []byte) error {
			return second(k.c.Verify(ctx, &kms.VerifyInput{KeyId: k.id, Message: message, MessageType: kind, SigningAlgorithm: algorithm, Signature: v.Out}))
		}
		want(t, v, verify(in), "KMSInvalidSignatureException")
		apitest.WantError(t, verify(altered(in)), "KMSInvalidSignatureException")
		if v.Exact {
			out := apitest.Must[*kms.SignOutput](t)(k.c.Sign(ctx, &kms.SignInput{KeyId: k.id, Message: in, MessageType: kind, SigningAlgorithm: algorithm}))
			if !bytes.Equal(out.Signature, v.Out) {
				t.Errorf("%s: signature %x, want %x", kind, out.Signature, v.Out)
			}
		}
	}
}

// vectorDigest is what a vector's algorithm signs; nil if it signs no digest.
func vectorDigest(v vectors.Test) []byte {
	switch _, hash, _ := strings.Cut(v.Algorithm, "_SHA_"); {
	case len(v.Digest) > 0:
		return v.Digest
	case v.Algorithm == "SM2DSA", v.Algorithm == "ED25519_SHA_512":
		return nil
	case hash == "256":
		sum := sha256.Sum256(v.In)
		return sum[:]
	case hash == "384":
		sum := sha512.Sum384(v.In)
		return sum[:]
	default:
		sum := sha512.Sum512(v.In)
		return sum[:]
	}
}

func (k vectorKey) mac(t *testing.T, v vectors.Test) {
	algorithm := types.MacAlgorithmSpec(v.Algorithm)
	verify := func(message []byte) error {
		return second(k.c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: k.id, Message: message, MacAlgorithm: algorithm, Mac: v.Out}))
	}
	want(t, v, verify(v.In), "KMSInvalidMacException")
	apitest.WantError(t, verify(altered(v.In)), "KMSInvalidMacException")
	out := apitest.Must[*kms.GenerateMacOutput](t)(k.c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: k.id, Message: v.In, MacAlgorithm: algorithm}))
	if bytes.Equal(out.Mac, v.Out) != v.Result.Valid() {
		t.Errorf("MAC %x, the vector's is %x", out.Mac, v.Out)
	}
}

func (k vectorKey) ciphertext(t *testing.T, v vectors.Test) {
	out, err := k.c.Decrypt(ctx, &kms.DecryptInput{KeyId: k.id, CiphertextBlob: v.In, EncryptionAlgorithm: types.EncryptionAlgorithmSpec(v.Algorithm)})
	want(t, v, err, "InvalidCiphertextException")
	if err == nil && !bytes.Equal(out.Plaintext, v.Out) {
		t.Errorf("plaintext %x, want %x", out.Plaintext, v.Out)
	}
}

func (k vectorKey) agreement(t *testing.T, v vectors.Test) {
	out, err := k.c.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: k.id, PublicKey: v.In, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpec(v.Algorithm)})
	want(t, v, err, "ValidationException")
	if err == nil && !bytes.Equal(out.SharedSecret, v.Out) {
		t.Errorf("shared secret %x, want %x", out.SharedSecret, v.Out)
	}
}

// altered is a copy that differs in one bit.
func altered(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// TestEd25519phVectors: KMS signs the hash of the caller's digest, for which no document
// has vectors. A second implementation, held to the vector of RFC 8032, makes them.
func TestEd25519phVectors(t *testing.T) {
	fromHex := func(s string) []byte { return apitest.Must[[]byte](t)(hex.DecodeString(s)) }
	// RFC 8032, section 7.3.
	seed := fromHex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42")
	theirs := ed25519.NewKeyFromSeed(seed)
	if got := hex.EncodeToString(ed25519.SignPh(theirs, []byte("abc"), "")); got != "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406" {
		t.Fatalf("the second implementation signs with %s", got)
	}
	c := kagimoritest.Start(t).KMS(region)
	k := vectorKey{c, importVectorKey(t, c, vectors.Group{Spec: "ECC_NIST_EDWARDS25519", Usage: "SIGN_VERIFY", Material: slices.Concat(fromHex("302e020100300506032b657004220420"), seed)})}
	const algorithm = types.SigningAlgorithmSpecEd25519PhSha512
	for _, message := range []string{"abc", "", "a longer message"} {
		digest := sha512.Sum512([]byte(message))
		signature := ed25519.SignPh(theirs, digest[:], "")
		out := apitest.Must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: k.id, Message: digest[:], MessageType: types.MessageTypeDigest, SigningAlgorithm: algorithm}))
		if !bytes.Equal(out.Signature, signature) {
			t.Errorf("%q: signature %x, want %x", message, out.Signature, signature)
		}
		for name, bad := range map[string][]byte{"": signature, "altered": altered(signature), "of Ed25519": ed25519.Sign(theirs, digest[:]), "of the digest alone": ed25519.SignPh(theirs, []byte(message), ""), "with a context": ed25519.SignPh(theirs, digest[:], "x")} {
			_, err := c.Verify(ctx, &kms.VerifyInput{KeyId: k.id, Message: digest[:], MessageType: types.MessageTypeDigest, SigningAlgorithm: algorithm, Signature: bad})
			if name == "" {
				wantOK(t, err)
				continue
			}
			apitest.WantError(t, err, "KMSInvalidSignatureException")
		}
	}
}

// TestPostQuantumOutside: keys of ML-KEM and ML-DSA cannot be imported, so a second
// implementation does the other half of what a server's key does. Their vectors are
// tests of internal/keymaterial. For ML-KEM-512 the implementation is the server's own.
func TestPostQuantumOutside(t *testing.T) {
	c := kagimoritest.Start(t).KMS(region)
	raw := func(k *types.KeyMetadata) []byte {
		var info struct {
			Algorithm asn1.RawValue
			Key       asn1.BitString
		}
		_, err := asn1.Unmarshal(publicKey(t, c, k.KeyId).PublicKey, &info)
		wantOK(t, err)
		return info.Key.Bytes
	}
	// In the second implementation the hyphen is where the underscore is in AWS's names.
	theirName := func(spec types.KeySpec) string { return strings.ReplaceAll(string(spec), "_", "-") }
	for _, spec := range []types.KeySpec{"ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"} {
		k, scheme := newKeyOf(t, c, spec, types.KeyUsageTypeEncapsulateDecapsulate), kemschemes.ByName(theirName(spec))
		theirs := apitest.Must[kem.PublicKey](t)(scheme.UnmarshalBinaryPublicKey(raw(k)))
		blob, secret, err := scheme.Encapsulate(theirs)
		wantOK(t, err)
		decapsulate := func(blob []byte) []byte {
			return apitest.Must[*kms.DecapsulateOutput](t)(c.Decapsulate(ctx, &kms.DecapsulateInput{KeyId: k.KeyId, SharedSecretCiphertextBlob: blob, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem})).SharedSecret
		}
		if got := decapsulate(blob); !bytes.Equal(got, secret) {
			t.Errorf("%s: secret %x, want %x", spec, got, secret)
		}
		if bytes.Equal(decapsulate(altered(blob)), secret) { // implicit rejection gives another one
			t.Errorf("%s: an altered ciphertext gives the same secret", spec)
		}
	}
	for _, spec := range []types.KeySpec{"ML_DSA_44", "ML_DSA_65", "ML_DSA_87"} {
		k, scheme := newKeyOf(t, c, spec, types.KeyUsageTypeSignVerify), signschemes.ByName(theirName(spec))
		public := raw(k)
		theirs := apitest.Must[sign.PublicKey](t)(scheme.UnmarshalBinaryPublicKey(public))
		message := []byte("a message")
		mu := sha3.SumSHAKE256(slices.Concat(sha3.SumSHAKE256(public, 64), []byte{0, 0}, message), 64) // FIPS 204, algorithms 3 and 7
		for kind, in := range map[types.MessageType][]byte{types.MessageTypeRaw: message, types.MessageTypeExternalMu: mu} {
			out := apitest.Must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: in, MessageType: kind, SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256}))
			if !scheme.Verify(theirs, message, out.Signature, nil) || scheme.Verify(theirs, altered(message), out.Signature, nil) {
				t.Errorf("%s: the second implementation does not verify %s", spec, kind)
			}
		}
	}
}
