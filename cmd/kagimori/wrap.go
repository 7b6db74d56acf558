package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/internal/secmem"
)

// maxWrapFile bounds what is read of a file, in bytes: an RSA 4096 private key takes less.
const maxWrapFile = 64 << 10

func byokWrap() *cli.Command {
	w := &wrapping{}
	return &cli.Command{
		Name: "wrap", Summary: "Wrap key material for an import, on a machine without a network",
		Doc: "The wrapping key is what GetParametersForImport gives as PublicKey, of this server or of AWS: DER, PEM or\n" +
			"base64. Material is the raw bytes of a symmetric or HMAC key, or a private key as PKCS #8 in DER or PEM.\n" +
			"No file is overwritten. Whoever has the material has the key: keep it where keys are kept.",
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&w.public, "wrapping-key", "", "`FILE` with the wrapping key")
			fs.StringVar(&w.algorithm, "algorithm", "", "the `ALGORITHM` that GetParametersForImport was asked for")
			fs.StringVar(&w.spec, "key-spec", "SYMMETRIC_DEFAULT", "key `SPEC` of the key to import into")
			fs.StringVar(&w.material, "material", "", "`FILE` with the material")
			fs.BoolVar(&w.generate, "generate", false, "generate the material, and keep it in the file that --save names")
			fs.StringVar(&w.save, "save", "", "`FILE` for the generated material")
			fs.StringVar(&w.out, "out", "EncryptedKeyMaterial.bin", "`FILE` for the wrapped material")
		},
		Run: func(_ context.Context, env *cli.Env, _ []string) error { return w.run(env) },
	}
}

// wrapping is one run of byok wrap.
type wrapping struct {
	public, algorithm, spec, material, save, out string
	generate                                     bool
}

func (w *wrapping) run(env *cli.Env) error {
	spec := keymaterial.SpecNamed(w.spec)
	switch {
	case w.public == "":
		return cli.Usage(errors.New("--wrapping-key needs the PublicKey of GetParametersForImport"))
	case spec == nil:
		return cli.Usage(fmt.Errorf("--key-spec %s is not a key spec of AWS KMS", w.spec))
	case spec.Wrapping() == nil:
		return cli.Usage(fmt.Errorf("material of a key with spec %s cannot be imported", w.spec))
	case !slices.Contains(spec.Wrapping(), w.algorithm):
		return cli.Usage(fmt.Errorf("--algorithm for %s must be one of %s", w.spec, strings.Join(spec.Wrapping(), ", ")))
	case w.generate == (w.material != ""):
		return cli.Usage(errors.New("give either --material FILE or --generate"))
	case w.generate != (w.save != ""):
		return cli.Usage(errors.New("--generate and --save FILE belong together: a key without a copy of its material cannot be brought back"))
	case w.out == "" || w.out == w.save:
		return cli.Usage(errors.New("--out needs a FILE of its own"))
	}
	// Before there is anything to write, so that material is not saved for nothing.
	for _, path := range []string{w.save, w.out} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already; choose another name", path)
		}
	}
	text, err := readSmall(w.public)
	if err != nil {
		return err
	}
	public := decodeKeyFile(text)
	raw, err := w.raw(spec)
	if err != nil {
		return err
	}
	defer secmem.Zero(raw)
	wrapped, err := keymaterial.Wrap(w.algorithm, public, raw)
	switch {
	case errors.Is(err, keymaterial.ErrWrappingKey):
		return fmt.Errorf("%s is not a public key for %s; it must be the PublicKey of GetParametersForImport, asked for with this algorithm", w.public, w.algorithm)
	case errors.Is(err, keymaterial.ErrTooLong):
		return fmt.Errorf("%s cannot take %d bytes with this wrapping key; use a larger one, or RSA_AES_KEY_WRAP_SHA_256", w.algorithm, len(raw))
	case err != nil:
		return err
	}
	if w.generate {
		if err := writeNew(w.save, raw); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s holds the generated material, in the clear: keep it safe, it is the key.\n", w.save)
	}
	if err := writeNew(w.out, wrapped); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, `%s holds the wrapped material. Import it within 24 hours of GetParametersForImport, with its import token:

aws kms import-key-material --key-id KEY \
  --encrypted-key-material fileb://%s \
  --import-token fileb://ImportToken.bin \
  --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE
`, w.out, quote(w.out))
	return err
}

// raw is the material, in the form in which it is imported.
func (w *wrapping) raw(spec *keymaterial.Spec) ([]byte, error) {
	if w.generate {
		return spec.Generate()
	}
	text, err := readSmall(w.material)
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(text)
	raw := text
	if block, _ := pem.Decode(text); block != nil && spec.Asymmetric() {
		raw = block.Bytes
		defer secmem.Zero(raw)
	}
	material, err := spec.Import(raw)
	if err == nil {
		return material, nil
	}
	if spec.Asymmetric() {
		return nil, fmt.Errorf("%s is not a private key of spec %s as PKCS #8; openssl pkcs8 -topk8 -nocrypt makes that form", w.material, spec.Name)
	}
	return nil, fmt.Errorf("%s has %d bytes, which is not material of a key with spec %s; it must be the raw bytes", w.material, len(raw), spec.Name)
}

// decodeKeyFile reads a public key in PEM, in base64 (which the AWS CLI prints in
// quotes unless asked for text) or as it is.
func decodeKeyFile(text []byte) []byte {
	if block, _ := pem.Decode(text); block != nil {
		return block.Bytes
	}
	if der, err := base64.StdEncoding.DecodeString(string(bytes.Trim(text, "\" \t\r\n"))); err == nil {
		return der
	}
	return text
}

// readSmall reads a file of a sensible size, into one buffer: one that grows would
// leave copies of a secret behind.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, maxWrapFile+1)
	n, err := io.ReadFull(f, b)
	if err == nil {
		err = fmt.Errorf("%s is larger than any key", path)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // the whole file
		return b[:n], nil
	}
	secmem.Zero(b)
	return nil, err
}

// writeNew writes a file that must not exist yet, readable by its owner alone. It
// leaves no part of one.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
