package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/kagimoritest"
)

// TestByokWrap wraps material of every kind, and the server takes it.
func TestByokWrap(t *testing.T) {
	ctx := context.Background()
	c := kagimoritest.Start(t).KMS("eu-central-1")
	dir := t.TempDir()
	for i, k := range []struct {
		spec      types.KeySpec
		usage     types.KeyUsageType
		algorithm types.AlgorithmSpec
		wrapping  types.WrappingKeySpec
	}{
		{"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "RSAES_OAEP_SHA_256", "RSA_2048"},
		{"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "RSAES_OAEP_SHA_1", "RSA_3072"},
		{"HMAC_384", "GENERATE_VERIFY_MAC", "RSAES_OAEP_SHA_256", "RSA_4096"},
		{"RSA_2048", "SIGN_VERIFY", "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048"},
		{"ECC_NIST_P384", "SIGN_VERIFY", "RSA_AES_KEY_WRAP_SHA_1", "RSA_2048"},
		{"SM2", "SIGN_VERIFY", "SM2PKE", "SM2"},
	} {
		key, err := c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: k.spec, KeyUsage: k.usage, Origin: "EXTERNAL"})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: key.KeyMetadata.KeyId, WrappingAlgorithm: k.algorithm, WrappingKeySpec: k.wrapping})
		if err != nil {
			t.Fatal(err)
		}
		encoded := base64.StdEncoding.EncodeToString(p.PublicKey)
		text := [][]byte{p.PublicKey, []byte(encoded + "\n"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: p.PublicKey}), []byte(`"` + encoded + "\"\n")}[i%4]
		public, saved, out, again := write(t, "public", string(text)), filepath.Join(dir, "saved"+string(k.spec)+string(k.algorithm)), filepath.Join(dir, string(k.spec)+string(k.algorithm)), filepath.Join(dir, "again"+string(k.spec)+string(k.algorithm))
		args := []string{"byok", "wrap", "--wrapping-key", public, "--algorithm", string(k.algorithm), "--key-spec", string(k.spec)}
		said := succeed(t, append(args, "--generate", "--save", saved, "--out", out)...)
		contains(t, said, saved+" holds the generated material", "aws kms import-key-material", "fileb://"+out)
		for _, file := range []string{saved, out} {
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", file, info.Mode(), err)
			}
		}
		succeed(t, append(args, "--material", saved, "--out", again)...)
		for _, file := range []string{out, again} { // the same material, so the second import is one of the same
			wrapped, err := os.ReadFile(file)
			if err == nil {
				_, err = c.ImportKeyMaterial(ctx, &kms.ImportKeyMaterialInput{KeyId: key.KeyMetadata.KeyId, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrapped, ExpirationModel: "KEY_MATERIAL_DOES_NOT_EXPIRE"})
			}
			if err != nil {
				t.Errorf("%s under %s: %v", k.spec, k.algorithm, err)
			}
		}
		material, err := os.ReadFile(saved)
		if err != nil || bytes.Contains([]byte(said), material) || strings.Contains(said, base64.StdEncoding.EncodeToString(material)) {
			t.Errorf("the output shows the material (%v)", err)
		}
	}
}

// TestByokWrapRefusals: what is refused says what to do, and leaves no file.
func TestByokWrapRefusals(t *testing.T) {
	pair, err := keymaterial.SpecNamed("RSA_2048").Generate()
	if err != nil {
		t.Fatal(err)
	}
	k, err := keymaterial.NewKeyPair(keymaterial.SpecNamed("RSA_2048"), pair)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakDER, err := x509.MarshalPKIXPublicKey(&weak.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	public, private, short, big := write(t, "public", string(k.PublicKey())), write(t, "private", string(pair)), write(t, "short", "short"), write(t, "big", strings.Repeat("x", maxWrapFile+1))
	material, there, out := write(t, "material", strings.Repeat("m", 32)), write(t, "there", "mine"), filepath.Join(dir, "out")
	base := []string{"byok", "wrap", "--out", out}
	oaep := slices.Clip(append(base, "--algorithm", "RSAES_OAEP_SHA_256"))
	for _, r := range []struct {
		status int
		want   string
		args   []string
	}{
		{cli.StatusUsage, "--wrapping-key needs", base},
		{cli.StatusUsage, "not a key spec", append(oaep, "--wrapping-key", public, "--key-spec", "AES_512")},
		{cli.StatusUsage, "cannot be imported", append(oaep, "--wrapping-key", public, "--key-spec", "ML_DSA_44")},
		{cli.StatusUsage, "must be one of RSA_AES_KEY_WRAP_SHA_1, RSA_AES_KEY_WRAP_SHA_256", append(oaep, "--wrapping-key", public, "--key-spec", "RSA_2048")},
		{cli.StatusUsage, "either --material FILE or --generate", append(oaep, "--wrapping-key", public)},
		{cli.StatusUsage, "belong together", append(oaep, "--wrapping-key", public, "--generate")},
		{cli.StatusFailure, "must be the PublicKey of GetParametersForImport", append(oaep, "--wrapping-key", material, "--material", material)},
		{cli.StatusUsage, "--out needs a FILE of its own", append(oaep, "--wrapping-key", public, "--generate", "--save", out)},
		{cli.StatusFailure, "must be the PublicKey of GetParametersForImport", append(oaep, "--wrapping-key", write(t, "weak", string(weakDER)), "--material", material)},
		{cli.StatusFailure, "must be the PublicKey of GetParametersForImport", append(base, "--algorithm", "SM2PKE", "--key-spec", "SM2", "--wrapping-key", public, "--generate", "--save", filepath.Join(dir, "sm2"))},
		{cli.StatusFailure, "it must be the raw bytes", append(oaep, "--wrapping-key", public, "--material", short)},
		{cli.StatusFailure, "openssl pkcs8", append(oaep, "--wrapping-key", public, "--material", private, "--key-spec", "ECC_NIST_P256")},
		{cli.StatusFailure, "larger than any key", append(oaep, "--wrapping-key", public, "--material", big)},
		{cli.StatusFailure, "use a larger one, or RSA_AES_KEY_WRAP_SHA_256", append(oaep, "--wrapping-key", public, "--generate", "--save", filepath.Join(dir, "p521"), "--key-spec", "ECC_NIST_P521")},
		{cli.StatusFailure, "choose another name", append(oaep, "--wrapping-key", public, "--material", material, "--out", there)},
		{cli.StatusFailure, "choose another name", append(oaep, "--wrapping-key", public, "--generate", "--save", there)},
		{cli.StatusFailure, "choose another name", append(oaep, "--wrapping-key", public, "--generate", "--save", filepath.Join(dir, "saved"), "--out", there)},
	} {
		fail(t, r.status, []string{r.want}, r.args...)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if b, err := os.ReadFile(there); err != nil || string(b) != "mine" {
		t.Errorf("overwritten with %q", b)
	}
}

// TestByokWrapPrintsACommand: what it prints can be pasted, whatever the file's name.
func TestByokWrapPrintsACommand(t *testing.T) {
	k, err := keymaterial.SpecNamed("SM2").Generate()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := keymaterial.NewKeyPair(keymaterial.SpecNamed("SM2"), k)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "it's here")
	said := succeed(t, "byok", "wrap", "--wrapping-key", write(t, "public", string(pair.PublicKey())), "--algorithm", "SM2PKE", "--key-spec", "SM2", "--material", write(t, "material", string(k)), "--out", out)
	contains(t, said, "fileb://"+quote(out)+" ")
}

func FuzzDecodeKeyFile(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte("MAA=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, algorithm := range []string{"SM2PKE", "RSAES_OAEP_SHA_256"} {
			keymaterial.Wrap(algorithm, decodeKeyFile(text), make([]byte, 32))
		}
	})
}
