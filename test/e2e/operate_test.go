package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// TestRootSlots goes through the life of the root key's slots while a server runs.
func TestRootSlots(t *testing.T) {
	t.Parallel()
	dir, away := filepath.Join(t.TempDir(), "data"), t.TempDir()
	s := serve(t, dir, setup{})
	client := s.client(nil)
	made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
	check(t, err)
	sealed, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: made.KeyMetadata.KeyId, Plaintext: []byte("秘密")})
	check(t, err)

	recovery := filepath.Join(away, "recovery.txt")
	check(t, os.Rename(filepath.Join(dir, "recovery.txt"), recovery))
	first := slots(t, dir)
	if len(first) != 2 || first["file"] == "" || first["passphrase"] == "" {
		t.Fatalf("the first start made the slots %v", first)
	}
	succeed(t, "root", "verify", first["file"], "--data", dir)
	succeed(t, "root", "verify", "--data", dir, "--passphrase-file", recovery)

	// A second key file; with it the first one can go.
	other := filepath.Join(away, "other.key")
	succeed(t, "root", "add", "file", other, "--label", "予備", "--data", dir)
	if list := succeed(t, "root", "slots", "--data", dir); !strings.Contains(list, "予備") {
		t.Errorf("the new slot is not listed:\n%s", list)
	}
	refuse(t, "opened just now", "root", "remove", first["file"], "--data", dir, "--root-key-file", filepath.Join(dir, "root.key"))
	succeed(t, "root", "remove", first["file"], "--data", dir, "--root-key-file", other)
	refuse(t, "not open the store", "root", "verify", "--data", dir, "--root-key-file", filepath.Join(dir, "root.key"), "--passphrase-file", recovery)
	own := filepath.Join(away, "own")
	check(t, os.WriteFile(own, []byte("正しい馬 電池 ホッチキス そして鍵\n"), 0o600))
	succeed(t, "root", "add", "passphrase", "--new-passphrase-file", own, "--data", dir)
	short := filepath.Join(away, "short")
	check(t, os.WriteFile(short, []byte("short\n"), 0o600))
	refuse(t, "at least 15", "root", "add", "passphrase", "--new-passphrase-file", short, "--data", dir)

	// Without what opens it the store stays shut.
	s.stop(t)
	check(t, os.Remove(filepath.Join(dir, "root.key")))
	moved := filepath.Join(away, "moved.key")
	check(t, os.Rename(other, moved))
	if s := launch(t, dir, setup{}); s.status(t) <= 0 || !strings.Contains(s.errout.String(), "other.key") {
		t.Errorf("without a key file: exit status %d\n%s", s.status(t), s)
	}
	for _, args := range [][]string{{"--root-key-file", moved}, {"--passphrase-file", own}, {"--passphrase-file", recovery}} {
		s = serve(t, dir, setup{args: args})
		opened, err := s.client(nil).Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
		check(t, err)
		if string(opened.Plaintext) != "秘密" {
			t.Errorf("decrypted to %q", opened.Plaintext)
		}
		s.stop(t)
	}
	check(t, os.Rename(moved, other))

	// A new root key: what opened the old one opens it, and nothing else.
	for kind, id := range slots(t, dir) {
		if kind == "passphrase" && id != first["passphrase"] { // of our own, which rotate would ask for
			succeed(t, "root", "remove", id, "--data", dir)
		}
	}
	before := succeed(t, "root", "slots", "--data", dir)
	succeed(t, "root", "rotate", "--data", dir, "--passphrase-file", recovery)
	if after := succeed(t, "root", "slots", "--data", dir); strings.SplitN(before, "\n", 2)[0] == strings.SplitN(after, "\n", 2)[0] {
		t.Errorf("after rotate the root key is the same:\n%s", after)
	}
	for _, args := range [][]string{nil, {"--passphrase-file", recovery}} {
		s = serve(t, dir, setup{args: args})
		_, err := s.client(nil).Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
		check(t, err)
		s.stop(t)
	}
	if s := launch(t, dir, setup{args: []string{"--passphrase-file", own}}); s.status(t) <= 0 {
		t.Errorf("a removed passphrase still opens the store\n%s", s)
	}

	// The last slot stays.
	for _, id := range slots(t, dir) {
		run(t, "root", "remove", id, "--data", dir)
		run(t, "root", "remove", id, "--data", dir, "--passphrase-file", recovery)
	}
	if left := slots(t, dir); len(left) != 1 {
		t.Errorf("%d slots are left", len(left))
	}
}

// slots are the ids of the slots by their kind; of several of a kind the last one.
func slots(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\S+) +(file|passphrase) `).FindAllStringSubmatch(succeed(t, "root", "slots", "--data", dir), -1) {
		out[m[2]] = m[1]
	}
	return out
}

func TestAuditTail(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, dir, setup{})
	client := s.client(nil)
	made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String("給与計算")})
	check(t, err)
	key := made.KeyMetadata.KeyId
	_, err = client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key, Plaintext: []byte("the secret plaintext"), EncryptionContext: map[string]string{"部署": "経理"}})
	check(t, err)

	names := func(lines string) (out []string) {
		for line := range strings.Lines(lines) {
			var rec struct{ EventName string }
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Errorf("%q is not a record: %v", line, err)
			}
			out = append(out, rec.EventName)
		}
		return out
	}
	all := succeed(t, "audit", "tail", "--data", dir)
	if got := strings.Join(names(all), " "); got != "StartServer CreateKey Encrypt" {
		t.Errorf("audit tail: %s", got)
	}
	if got := strings.Join(names(succeed(t, "audit", "tail", "-n", "2", "--data", dir)), " "); got != "CreateKey Encrypt" {
		t.Errorf("audit tail -n 2: %s", got)
	}
	if !strings.Contains(all, "経理") || !strings.Contains(all, "給与計算") {
		t.Errorf("the Japanese text is not there:\n%s", all)
	}
	for _, secret := range []string{"the secret plaintext", "dGhlIHNlY3JldCBwbGFpbnRleHQ", s.variable("AWS_SECRET_ACCESS_KEY")} {
		if strings.Contains(all, secret) {
			t.Errorf("the journal has %q", secret)
		}
	}

	follower := start(t, nil, binary(t, released), environment(t), "audit", "tail", "-f", "-n", "1", "--data", dir)
	_, err = follower.out.wait(regexp.MustCompile(`"eventName":"Encrypt".*\n`), follower.ended)
	check(t, err)
	_, err = client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: key})
	check(t, err)
	if _, err = follower.out.wait(regexp.MustCompile(`"eventName":"DisableKey".*\n`), follower.ended); err != nil {
		t.Errorf("%v\n%s", err, follower)
	}
	follower.signal(syscall.SIGINT)
	if status := follower.status(t); status != 0 {
		t.Errorf("audit tail -f: exit status %d after SIGINT\n%s", status, follower)
	}
	if strings.Contains(follower.out.String(), "CreateKey") {
		t.Errorf("-n 1 gave more than one old record:\n%s", follower.out)
	}
	s.stop(t)
	refuse(t, "--data", "audit", "tail", "--data", filepath.Join(t.TempDir(), "nothing"))
}
