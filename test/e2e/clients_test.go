package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// encryptionSDKs are the AWS Encryption SDKs. Each takes "encrypt KEY IN OUT" and
// "decrypt KEY IN OUT".
var encryptionSDKs = []client{
	{"python", "python", "python", "testdata/esdk.py"},
	{"javascript", "node", "node", "testdata/esdk.mjs"},
	{"go", "go", "clients", "esdk"},
}

// TestClients has programs and libraries that use AWS KMS work with the service, over
// TLS: docs/clients.md, command by command, and what it tells of.
func TestClients(t *testing.T) {
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{args: []string{"--tls-auto"}})
	_, pool := s.authority(t)
	made, err := s.client(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}).CreateKey(t.Context(), &kms.CreateKeyInput{})
	check(t, err)
	key := *made.KeyMetadata.Arn

	work := t.TempDir()
	sizes := map[string]int{"large": 100_000_000, "small": 10_000, "empty": 0}
	for name, size := range sizes {
		content := make([]byte, size)
		rand.Read(content)
		check(t, os.WriteFile(filepath.Join(work, name), content, 0o600))
	}
	opens := func(t *testing.T, reader, writer client, file string) {
		t.Helper()
		opened := file + "." + writer.name + ".by." + reader.name
		visit(t, s, work, reader, "decrypt", key, file+"."+writer.name, opened)
		got, err := os.ReadFile(filepath.Join(work, opened))
		check(t, err)
		want, err := os.ReadFile(filepath.Join(work, file))
		check(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("the %s file that %s wrote comes out differently", file, writer.name)
		}
	}

	t.Run("docs", func(t *testing.T) {
		for _, what := range []string{"python", "node", "go"} {
			skipWithout(t, what)
		}
		walk(t, s, "clients")
		// What sops gave as its context can be seen by those who read the records.
		n := 0
		for _, entry := range records(t, s.dir, 1) {
			if bytes.Contains(entry.Record, []byte(`"encryptionContext":{"app":"shop"}`)) {
				n++
			}
		}
		if n != 2 {
			t.Errorf("%d records have the encryption context of sops, not one for Encrypt and one for Decrypt", n)
		}
	})
	for _, library := range []string{"gocloud", "tink", "step"} {
		t.Run(library, func(t *testing.T) {
			skipWithout(t, "go")
			use(t, s, work, "clients", library, key)
		})
	}
	t.Run("encryption SDKs", func(t *testing.T) {
		for _, sdk := range encryptionSDKs {
			t.Run(sdk.name, func(t *testing.T) {
				skipWithout(t, sdk.needs)
				t.Parallel()
				for file, size := range sizes {
					visit(t, s, work, sdk, "encrypt", key, file, file+"."+sdk.name)
					if info, err := os.Stat(filepath.Join(work, file+"."+sdk.name)); err != nil || int(info.Size()) < size+size/4096*28 {
						t.Errorf("the %s file is not in frames: %v, %v", file, info, err)
					}
				}
				opens(t, sdk, sdk, "large")
			})
		}
	})
	t.Run("encryption SDKs open each other's files", func(t *testing.T) {
		for _, sdk := range encryptionSDKs {
			skipWithout(t, sdk.needs)
		}
		for _, reader := range encryptionSDKs {
			t.Run(reader.name, func(t *testing.T) {
				t.Parallel()
				for _, writer := range encryptionSDKs {
					opens(t, reader, writer, "small")
					opens(t, reader, writer, "empty")
				}
			})
		}
	})
	s.stop(t)
}
