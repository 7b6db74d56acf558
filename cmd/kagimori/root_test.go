package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/store/sqlite"
)

// slot is one line of root slots.
type slot struct{ id, kind, label, secret string }

func slots(t *testing.T, dir string) (list []slot) {
	t.Helper()
	out := succeed(t, "root", "slots", "--data", dir)
	for _, m := range regexp.MustCompile(`(?m)^([0-9a-f]{8}) +(\w+) +\d{4}-\d\d-\d\d +(.*?)   +(.*)$`).FindAllStringSubmatch(out, -1) {
		list = append(list, slot{m[1], m[2], m[3], m[4]})
	}
	if len(list) == 0 {
		t.Fatalf("root slots prints no slots:\n%s", out)
	}
	return list
}

// fingerprint is that of the root key.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	m := regexp.MustCompile(`^root key ([0-9a-f]{32}), made `).FindStringSubmatch(succeed(t, "root", "slots", "--data", dir))
	if m == nil {
		t.Fatal("root slots does not show the fingerprint")
	}
	return m[1]
}

// write writes a file that only its owner can read.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// unchanged checks that f leaves a data folder as it is.
func unchanged(t *testing.T, dir string, f func()) {
	t.Helper()
	before := tree(t, dir)
	f()
	if !maps.Equal(before, tree(t, dir)) {
		t.Error("the data folder was changed")
	}
}

func TestKeyFileSlots(t *testing.T) {
	dir, usb := newFolder(t, false), t.TempDir()
	first := slots(t, dir)
	if len(first) != 1 || first[0].kind != "file" || first[0].label != "key file of the first start" || !strings.HasPrefix(first[0].secret, "the key file root.key (id ") {
		t.Fatalf("the first start made %+v", first)
	}
	if out := succeed(t, "root", "verify", "--data", dir); out != "slot "+first[0].id+" (file, key file of the first start) opens the store\n" {
		t.Errorf("root verify prints %q", out)
	}

	// The last slot stays, whoever asks, and nobody is asked for a secret first.
	unchanged(t, dir, func() {
		must(t, os.Rename(datadir.RootKeyFile(dir), filepath.Join(usb, "away")))
		fail(t, cli.StatusFailure, []string{"is the last one", "add another slot first"}, "root", "remove", first[0].id, "--data", dir)
		fail(t, cli.StatusFailure, []string{`no slot "0000"`, first[0].id}, "root", "remove", "0000", "--data", dir)
		must(t, os.Rename(filepath.Join(usb, "away"), datadir.RootKeyFile(dir)))
	})

	key := filepath.Join(usb, "予備.key")
	if out := succeed(t, "root", "add", "file", key, "--label", "金庫", "--data", dir); !strings.Contains(out, key) {
		t.Errorf("root add file prints %q", out)
	}
	both := slots(t, dir)
	if len(both) != 2 || both[1].label != "金庫" || !strings.Contains(both[1].secret, key) {
		t.Fatalf("the slots are %+v", both)
	}
	unchanged(t, dir, func() {
		fail(t, cli.StatusFailure, []string{"opens slot " + both[1].id + " already"}, "root", "add", "file", key, "--data", dir)
		fail(t, cli.StatusFailure, []string{"label"}, "root", "add", "file", filepath.Join(usb, "third.key"), "--label", "a\x1b[2J", "--data", dir)
		other := write(t, "other", "not a key file")
		fail(t, cli.StatusFailure, []string{other, "is not a Kagimori key file"}, "root", "add", "file", other, "--data", dir)
		fail(t, cli.StatusFailure, []string{"nowhere"}, "root", "add", "file", filepath.Join(usb, "nowhere", "key"), "--data", dir)
		fail(t, cli.StatusFailure, []string{"the one that was opened just now", "--root-key-file"}, "root", "remove", both[0].id, "--data", dir)
		fail(t, cli.StatusFailure, []string{"no slot 0000", "root slots"}, "root", "verify", "0000", "--data", dir)
	})
	if out := succeed(t, "root", "verify", both[1].id, "--data", dir); strings.Contains(out, both[0].id) {
		t.Errorf("verify of one slot prints %q", out)
	}

	// A slot whose key file is gone fails, and each reason is given once.
	must(t, os.Remove(datadir.RootKeyFile(dir)))
	r := run("root", "verify", "--data", dir)
	if r.status != cli.StatusFailure || strings.Count(r.out, "root.key does not exist") != 1 || !strings.Contains(r.out, "slot "+both[0].id+" (file, key file of the first start) FAILED") ||
		!strings.Contains(r.out, "slot "+both[1].id+" (file, 金庫) opens the store") || !strings.Contains(r.err, "slots that do not open the store: 1") {
		t.Errorf("exit status %d\n%s%s", r.status, r.out, r.err)
	}
	unchanged(t, dir, func() {
		fail(t, cli.StatusFailure, []string{both[0].id, "would be lost", "remove the slot first"}, "root", "rotate", "--data", dir)
	})
	if out := succeed(t, "root", "remove", both[0].id, "--data", dir); !strings.Contains(out, both[0].id) {
		t.Errorf("root remove prints %q", out)
	}
	before := fingerprint(t, dir)
	out := succeed(t, "root", "rotate", "--data", dir)
	if after := fingerprint(t, dir); after == before || !strings.Contains(out, after) || !strings.Contains(out, "new backup") {
		t.Errorf("rotated %s into %s, and printed %q", before, after, out)
	}
	if opened := openFolder(t, dir, false); !strings.Contains(opened, key) {
		t.Errorf("opened by %s", opened)
	}
}

// Two slots at the same place, as after a restore: each reason is told once.
func TestTwoKeyFilesAtTheSamePlace(t *testing.T) {
	dir := newFolder(t, false)
	key, old := datadir.RootKeyFile(dir), filepath.Join(t.TempDir(), "old.key")
	must(t, os.Rename(key, old))
	succeed(t, "root", "add", "file", key, "--data", dir, "--root-key-file", old)
	list := slots(t, dir)
	for _, command := range []string{"verify", "rotate"} {
		r := run("root", command, "--data", dir)
		if n := strings.Count(r.out+r.err, "is not the one of this slot"); r.status != cli.StatusFailure || n != 1 {
			t.Errorf("root %s: exit status %d, the reason is told %d times\n%s%s", command, r.status, n, r.out, r.err)
		}
	}
	succeed(t, "root", "rotate", "--data", dir, "--root-key-file", old)
	succeed(t, "root", "remove", list[0].id, "--data", dir, "--root-key-file", key)
	openFolder(t, dir, false)
}

// Each attempt at a passphrase takes time, so there are few.
func TestPassphraseSlots(t *testing.T) {
	t.Parallel()
	dir := newFolder(t, false)
	unchanged(t, dir, func() {
		fail(t, cli.StatusUsage, []string{"--new-passphrase-file"}, "root", "add", "passphrase", "--data", dir)
		weak := write(t, "weak", "too short\n")
		fail(t, cli.StatusFailure, []string{"9 characters", "at least 15"}, "root", "add", "passphrase", "--new-passphrase-file", weak, "--data", dir)
		two := write(t, "two", "the first passphrase\nthe second passphrase\n")
		fail(t, cli.StatusFailure, []string{two, "one line"}, "root", "add", "passphrase", "--new-passphrase-file", two, "--data", dir)
		open := write(t, "open", "long enough to be taken\n")
		must(t, os.Chmod(open, 0o644))
		fail(t, cli.StatusFailure, []string{"can be read by others"}, "root", "add", "passphrase", "--new-passphrase-file", open, "--data", dir)
	})

	out := succeed(t, "root", "add", "recovery", "--label", "in the safe", "--data", dir)
	m := regexp.MustCompile(`(?m)^    ((?:[0-9A-Z]{4}-){7}[0-9A-Z]{4})$`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("root add recovery prints %q", out)
	}
	recovery := write(t, "recovery", "# in lower case\n"+strings.ToLower(m[1]))
	list := slots(t, dir)
	if len(list) != 2 || list[1].kind != "passphrase" || list[1].label != "in the safe" || list[1].secret != "the recovery passphrase" {
		t.Fatalf("the slots are %+v", list)
	}
	unchanged(t, dir, func() {
		typo := write(t, "typo", "0"+m[1][1:len(m[1])-1]+"U")
		fail(t, cli.StatusFailure, []string{"mistyped"}, "backup", filepath.Join(t.TempDir(), "file"), "--data", dir, "--passphrase-file", typo)
		// A passphrase cannot be asked for where no terminal is.
		for _, command := range []string{"rotate", "verify"} {
			r := run("root", command, "--data", dir)
			if r.status == cli.StatusOK || !strings.Contains(r.out+r.err, list[1].id) || !strings.Contains(r.out+r.err, "--passphrase-file") {
				t.Errorf("root %s: exit status %d\n%s%s", command, r.status, r.out, r.err)
			}
		}
	})

	// After a rotation the old secrets open the new root key.
	before := fingerprint(t, dir)
	succeed(t, "root", "rotate", "--data", dir, "--passphrase-file", recovery)
	if fingerprint(t, dir) == before {
		t.Error("the root key is the same")
	}
	if out := succeed(t, "root", "verify", "--data", dir, "--passphrase-file", recovery); strings.Count(out, "opens the store") != 2 {
		t.Errorf("after the rotation:\n%s", out)
	}
}

// What is not finished is said to be so.
func TestUnfinishedFirstStart(t *testing.T) {
	dir := t.TempDir()
	must(t, sqlite.Create(datadir.StoreFile(dir)))
	for _, args := range []string{"root slots", "backup " + filepath.Join(t.TempDir(), "file")} {
		fail(t, cli.StatusFailure, []string{dir, "not finished", "kagimori serve"}, append(strings.Fields(args), "--data", dir)...)
	}
}
