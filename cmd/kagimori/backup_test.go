package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/seal"
)

// newBackup is a data folder and its backup, alone in a folder of its own.
func newBackup(t *testing.T, recovery bool) (dir, file string) {
	t.Helper()
	dir = newFolder(t, recovery)
	file = filepath.Join(t.TempDir(), "my backup")
	out := succeed(t, "backup", file, "--data", dir)
	if !strings.Contains(out, "kagimori backup verify '"+file+"'") {
		t.Errorf("backup prints %q", out)
	}
	return dir, file
}

func TestBackup(t *testing.T) {
	dir, file := newBackup(t, false)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has the mode %v, %v", info.Mode(), err)
	}
	content, err := os.ReadFile(file)
	must(t, err)
	if bytes.Contains(content, []byte(owner.AccessKeyID)) || bytes.Contains(content, []byte("StartServer")) {
		t.Error("the backup can be read")
	}
	fail(t, cli.StatusFailure, []string{file, "there already"}, "backup", file, "--data", dir)
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, content) {
		t.Error("the refused backup changed the file")
	}
	fail(t, cli.StatusFailure, []string{"nowhere"}, "backup", filepath.Join(t.TempDir(), "nowhere", "file"), "--data", dir)

	out := succeed(t, "backup", "verify", file, "--data", dir)
	for _, w := range []string{file + " is whole", "2026-03-01 12:00:00 UTC", owner.Account, "2 records, the newest is number 2", fingerprint(t, dir)} {
		if !strings.Contains(out, w) {
			t.Errorf("%q is not in\n%s", w, out)
		}
	}
	if left := names(t, filepath.Dir(file)); len(left) != 1 {
		t.Errorf("beside the backup there is %v", left)
	}
}

// A restored folder has a key file and credentials of its own, and serves; the
// secrets of the old one open it too.
func TestRestore(t *testing.T) {
	dir, file := newBackup(t, false)
	key := filepath.Join(t.TempDir(), "old.key")
	must(t, os.Rename(datadir.RootKeyFile(dir), key))
	target := filepath.Join(t.TempDir(), "new", "復元")
	fail(t, cli.StatusFailure, []string{file, "cannot be restored", "root.key does not exist", "--root-key-file"}, "restore", file, "--data", target)
	out := succeed(t, "restore", file, "--data", target, "--root-key-file", key)
	if !strings.Contains(out, "Restored into "+target) || !strings.Contains(out, "kagimori serve --data '"+target+"'") || !strings.Contains(out, owner.Account) {
		t.Errorf("restore prints\n%s", out)
	}
	if left := names(t, filepath.Dir(target)); len(left) != 1 {
		t.Errorf("beside the folder there is %v", left)
	}
	must(t, filepath.WalkDir(target, func(path string, e fs.DirEntry, err error) error {
		must(t, err)
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v, %v", path, info.Mode(), err)
		}
		return err
	}))
	before, after := tree(t, dir), tree(t, target)
	if after[datadir.CredentialsFile(target)] != before[datadir.CredentialsFile(dir)] {
		t.Errorf("the credentials are %q", after[datadir.CredentialsFile(target)])
	}
	if opened := openFolder(t, target, false); !strings.Contains(opened, "root.key") {
		t.Errorf("opened by %s", opened)
	}
	if out := succeed(t, "audit", "tail", "-n", "0", "--data", target); strings.Count(out, "StartServer") != 2 || strings.Count(out, "StopServer") != 2 {
		t.Errorf("the journal goes on as\n%s", out)
	}
	list := slots(t, target)
	if len(list) != 2 || list[1].label != "key file made by restore" {
		t.Errorf("the slots are %+v", list)
	}
	succeed(t, "root", "verify", list[0].id, "--data", target, "--root-key-file", key)

	unchanged(t, target, func() {
		fail(t, cli.StatusFailure, []string{target, "there already", "--data"}, "restore", file, "--data", target, "--root-key-file", key)
	})
}

func TestRestoreWithPassphrase(t *testing.T) {
	t.Parallel()
	dir, file := newBackup(t, true)
	recovery := datadir.RecoveryFile(dir)
	target := filepath.Join(t.TempDir(), "data")
	for words, text := range map[string]string{
		"mistyped":         "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ",
		"of another store": seal.NewPassphrase(),
	} {
		fail(t, cli.StatusFailure, []string{file, words}, "restore", file, "--data", target, "--passphrase-file", write(t, "passphrase", text))
	}
	if left := names(t, filepath.Dir(target)); len(left) != 0 {
		t.Errorf("a failed restore left %v", left)
	}
	succeed(t, "restore", file, "--data", target, "--passphrase-file", recovery)
	openFolder(t, target, false)
}

func TestDamagedBackup(t *testing.T) {
	dir, file := newBackup(t, false)
	content, err := os.ReadFile(file)
	must(t, err)
	for name, damaged := range map[string][]byte{
		"cut":      content[:len(content)-1],
		"appended": append(bytes.Clone(content), 0),
		"changed":  append(bytes.Clone(content[:len(content)-1]), content[len(content)-1]^1),
		"other":    []byte("PK\x03\x04 this is an archive of another kind"),
		"empty":    nil,
	} {
		path := write(t, "backup", string(damaged))
		target := filepath.Join(t.TempDir(), "data")
		fail(t, cli.StatusFailure, []string{path, "cannot be restored"}, "backup", "verify", path, "--data", dir)
		fail(t, cli.StatusFailure, []string{path, "cannot be restored"}, "restore", path, "--data", target, "--root-key-file", datadir.RootKeyFile(dir))
		if left := append(names(t, filepath.Dir(path)), names(t, filepath.Dir(target))...); len(left) != 1 {
			t.Errorf("%s: left are %v", name, left)
		}
	}
	fail(t, cli.StatusFailure, []string{"nowhere"}, "backup", "verify", filepath.Join(t.TempDir(), "nowhere"), "--data", dir)
}

// stopper is a clock that stops the work when it has been looked at n times:
// progress looks at it.
type stopper struct {
	*clock.Manual
	stop context.CancelFunc
	n    int
}

func (s *stopper) Now() time.Time {
	if s.n--; s.n == 0 {
		s.stop()
	}
	return s.Manual.Now()
}

// Whoever interrupts a backup, its check or a restore finds nothing half done.
func TestInterrupted(t *testing.T) {
	dir, file := newBackup(t, false)
	key := datadir.RootKeyFile(dir)
	stopped := map[string]int{}
	for _, n := range []int{1, 2, 3, 5} {
		folder := t.TempDir()
		content, err := os.ReadFile(file)
		must(t, err)
		copied := write(t, "backup", string(content))
		for _, args := range [][]string{
			{"backup", filepath.Join(folder, "file"), "--data", dir},
			{"backup", "verify", copied, "--data", dir},
			{"restore", copied, "--data", filepath.Join(folder, "data"), "--root-key-file", key},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			var errs bytes.Buffer
			env := environment()
			env.Stderr = &errs
			env.Clock = &stopper{clock.NewManual(now), cancel, n}
			status := cli.Main(ctx, program(), env, args)
			cancel()
			if status == cli.StatusOK { // it was done before
				continue
			}
			if !strings.Contains(errs.String(), "interrupted") {
				t.Errorf("%v stopped at %d: exit status %d: %s", args[:2], n, status, &errs)
			}
			stopped[args[0]]++
			if left := append(names(t, folder), names(t, filepath.Dir(copied))...); len(left) != 1 {
				t.Errorf("%v stopped at %d left %v", args[:2], n, left)
			}
		}
	}
	if stopped["backup"] < 2 || stopped["restore"] == 0 {
		t.Errorf("stopped were only %v", stopped)
	}
}

// A restore that is killed leaves no folder under the name that was asked for.
func TestKilledRestore(t *testing.T) {
	dir, file := newBackup(t, false)
	target := filepath.Join(t.TempDir(), "data")
	args := []string{"restore", file, "--data", target, "--root-key-file", datadir.RootKeyFile(dir)}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	must(t, cmd.Start())
	for {
		if found, _ := filepath.Glob(target + ".part-*/kagimori.db"); len(found) > 0 {
			break
		}
		runtime.Gosched()
	}
	must(t, cmd.Process.Kill())
	cmd.Wait()
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the folder is there: %v", err)
	}
	succeed(t, args...)
	openFolder(t, target, false)
}
