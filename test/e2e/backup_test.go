package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// TestBackup backs up a server under load, loses the machine, and restores on
// another one with nothing but the file and the recovery passphrase.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir, away := filepath.Join(t.TempDir(), "data"), t.TempDir()
	s := serve(t, dir, setup{})
	client := s.client(nil)
	made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String("前からある鍵")})
	check(t, err)
	key := made.KeyMetadata.KeyId
	sealed, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key, Plaintext: []byte("from before")})
	check(t, err)
	_, err = client.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: key})
	check(t, err)

	ctx, stopLoad := context.WithCancel(t.Context())
	defer stopLoad()
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				made, err := client.CreateKey(ctx, &kms.CreateKeyInput{})
				if err == nil {
					_, err = client.Encrypt(ctx, &kms.EncryptInput{KeyId: made.KeyMetadata.KeyId, Plaintext: []byte("x")})
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("a call while the backup is made: %v", err)
					return
				}
			}
		})
	}
	var backups []string
	for i := range 5 { // each at another moment of the load
		file := filepath.Join(away, fmt.Sprintf("backup %d", i))
		out := succeed(t, "backup", file, "--data", dir)
		if !strings.Contains(out, "kagimori backup verify") {
			t.Errorf("backup does not say how to check it: %s", out)
		}
		backups = append(backups, file)
	}
	stopLoad()
	load.Wait()
	s.stop(t)

	last := backups[len(backups)-1]
	content, err := os.ReadFile(last)
	check(t, err)
	refuse(t, "there already", "backup", last, "--data", dir)
	if now, err := os.ReadFile(last); err != nil || !bytes.Equal(now, content) {
		t.Error("the refused backup changed the file")
	}
	info, err := os.Stat(last)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %s", info.Mode())
	}
	for _, secret := range []string{s.variable("AWS_ACCESS_KEY_ID"), s.variable("AWS_SECRET_ACCESS_KEY"), "前からある鍵", *key, "CreateKey"} {
		if bytes.Contains(content, []byte(secret)) {
			t.Errorf("the backup shows %q", secret)
		}
	}

	passphrase := filepath.Join(away, "recovery.txt")
	check(t, os.Rename(filepath.Join(dir, "recovery.txt"), passphrase))
	for _, file := range backups {
		succeed(t, "backup", "verify", file, "--data", dir)
	}
	check(t, os.RemoveAll(dir))

	restored := filepath.Join(t.TempDir(), "restored")
	refuse(t, "passphrase", "restore", last, "--data", restored) // no key, no terminal
	if _, err := os.Stat(restored); err == nil {
		t.Error("a restore that failed left a folder")
	}
	for i, file := range backups {
		target := fmt.Sprint(restored, i)
		succeed(t, "restore", file, "--data", target, "--passphrase-file", passphrase)
		unrecorded(t, target)
	}
	refuse(t, "there already", "restore", last, "--data", restored+"0", "--passphrase-file", passphrase)

	s = serve(t, restored+"4", setup{})
	modes(t, s.dir)
	client = s.client(nil)
	opened, err := client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
	check(t, err)
	if string(opened.Plaintext) != "from before" {
		t.Errorf("decrypted to %q", opened.Plaintext)
	}
	s.stop(t)

	leftovers, err := filepath.Glob(filepath.Join(away, "*.part-*"))
	check(t, err)
	hidden, err := filepath.Glob(filepath.Join(away, ".*"))
	check(t, err)
	if left := append(leftovers, hidden...); len(left) > 0 {
		t.Errorf("the commands left %s", left)
	}
}

// unrecorded fails the test if a restored folder has a key without the record of
// its creation, or a record before its number's turn.
func unrecorded(t *testing.T, dir string) {
	t.Helper()
	created := map[string]bool{}
	for i, e := range records(t, dir, 1) {
		if e.Seq != uint64(i+1) {
			t.Fatalf("audit record %d follows %d", e.Seq, i)
		}
		var rec struct {
			EventName, ErrorCode string
			Resources            []struct{ ARN string }
		}
		check(t, json.Unmarshal(e.Record, &rec))
		if rec.EventName == "CreateKey" && rec.ErrorCode == "" {
			created[rec.Resources[0].ARN] = true
		}
	}
	s := serve(t, dir, setup{})
	n := 0
	for p := kms.NewListKeysPaginator(s.client(nil), &kms.ListKeysInput{Limit: aws.Int32(1000)}); p.HasMorePages(); {
		page, err := p.NextPage(t.Context())
		check(t, err)
		for _, k := range page.Keys {
			n++
			if !created[*k.KeyArn] {
				t.Errorf("in the backup, key %s has no record", *k.KeyArn)
			}
		}
	}
	if n == 0 {
		t.Error("the backup has no keys")
	}
	s.stop(t)
}

// TestBackupDamage changes a backup in every part of it; none of it may pass.
func TestBackupDamage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, dir, setup{args: []string{"--journal-segment-size", "2MiB"}})
	client := s.client(nil)
	for range 20 {
		_, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
		check(t, err)
	}
	s.stop(t)
	good := filepath.Join(t.TempDir(), "good")
	succeed(t, "backup", good, "--data", dir)
	succeed(t, "backup", "verify", good, "--data", dir)
	content, err := os.ReadFile(good)
	check(t, err)
	head := bytes.IndexByte(content, '}') // somewhere in the root document

	damaged := map[string][]byte{
		"empty":           {},
		"cut by one byte": content[:len(content)-1],
		"cut in half":     content[:len(content)/2],
		"cut in the head": content[:head],
		"a byte too many": append(bytes.Clone(content), 0),
		"twice":           append(bytes.Clone(content), content...),
		"last chunk only": append(bytes.Clone(content[:head]), content[len(content)-100:]...),
	}
	positions := []int{0, 5, 17, 18, 20, 21, head, head / 2, head + 1, len(content) - 1, len(content) - 16, len(content) - 17}
	for i := range 28 {
		positions = append(positions, len(content)*i/28+i)
	}
	for _, p := range positions {
		flipped := bytes.Clone(content)
		flipped[p] ^= 1 << (p % 8)
		damaged[fmt.Sprintf("bit %d of byte %d flipped", p%8, p)] = flipped
	}
	work := t.TempDir()
	for what, b := range damaged {
		file := filepath.Join(work, "damaged")
		check(t, os.WriteFile(file, b, 0o600))
		if p := run(t, "backup", "verify", file, "--data", dir); p.status(t) <= 0 || strings.Contains(p.errout.String(), "panic") {
			t.Errorf("%s: exit status %d\n%s", what, p.status(t), p)
		}
	}
	if left, err := os.ReadDir(work); err != nil || len(left) != 1 {
		t.Errorf("backup verify left %v, %v", left, err)
	}
}
