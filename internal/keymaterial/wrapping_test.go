package keymaterial

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenSSLUnwraps holds Wrap to a second implementation: OpenSSL opens what it made.
func TestOpenSSLUnwraps(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl here")
	}
	dir := t.TempDir()
	openssl := func(in []byte, args ...string) []byte {
		t.Helper()
		var errs bytes.Buffer
		cmd := exec.Command("openssl", args...)
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(in), &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, errs.Bytes())
		}
		return out
	}
	material := fixed("wrapped material", 50) // KWP pads it
	for _, algorithm := range []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256", "SM2PKE"} {
		spec := SpecNamed("RSA_3072")
		decrypt := []string{"pkeyutl", "-decrypt", "-keyform", "DER", "-inkey", "key"}
		if algorithm == "SM2PKE" {
			spec = SpecNamed("SM2")
		} else {
			name := "sha" + algorithm[strings.LastIndexByte(algorithm, '_')+1:]
			decrypt = append(decrypt, "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:"+name, "-pkeyopt", "rsa_mgf1_md:"+name)
		}
		private := must(spec.Generate())
		if err := os.WriteFile(filepath.Join(dir, "key"), private, 0o600); err != nil {
			t.Fatal(err)
		}
		wrapped := must(Wrap(algorithm, must(NewKeyPair(spec, private)).PublicKey(), material))
		if got, err := Unwrap(algorithm, private, wrapped); err != nil || !bytes.Equal(got, material) {
			t.Errorf("%s: Unwrap gives %x, %v", algorithm, got, err)
		}
		var got []byte
		if wrapsAESKey(algorithm) {
			const head = 3072 / 8
			key := openssl(wrapped[:head], decrypt...)
			got = openssl(wrapped[head:], "enc", "-d", "-id-aes256-wrap-pad", "-iv", "A65959A6", "-K", hex.EncodeToString(key))
		} else {
			got = openssl(wrapped, decrypt...)
		}
		if !bytes.Equal(got, material) {
			t.Errorf("%s: OpenSSL gives %x", algorithm, got)
		}
	}
}

func TestWrapRefuses(t *testing.T) {
	public := func(spec string) []byte {
		s := SpecNamed(spec)
		return must(NewKeyPair(s, must(s.Generate()))).PublicKey()
	}
	rsa2048, sm2, p256 := public("RSA_2048"), public("SM2"), public("ECC_NIST_P256")
	for _, c := range []struct {
		algorithm string
		public    []byte
		size      int
		want      error
	}{
		{"RSAES_OAEP_SHA_256", nil, 32, ErrWrappingKey},
		{"RSAES_OAEP_SHA_256", sm2, 32, ErrWrappingKey},
		{"RSA_AES_KEY_WRAP_SHA_256", p256, 32, ErrWrappingKey},
		{"SM2PKE", rsa2048, 32, ErrWrappingKey},
		{"SM2PKE", p256, 32, ErrWrappingKey},
		{"RSAES_OAEP_SHA_256", rsa2048, 256 - 2*32 - 2, nil},
		{"RSAES_OAEP_SHA_256", rsa2048, 256 - 2*32 - 1, ErrTooLong},
		{"RSAES_OAEP_SHA_1", rsa2048, 256 - 2*20 - 1, ErrTooLong},
		{"RSA_AES_KEY_WRAP_SHA_1", rsa2048, 2400, nil},
	} {
		if _, err := Wrap(c.algorithm, c.public, make([]byte, c.size)); !errors.Is(err, c.want) {
			t.Errorf("%s of %d bytes for a key of %d bytes: %v, want %v", c.algorithm, c.size, len(c.public), err, c.want)
		}
	}
}
