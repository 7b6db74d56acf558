package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/journal"
)

// save is a new file that holds text.
func save(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// TestProofs verifies a log, proves each of its records and that it has only grown, and then
// rewrites its history.
func TestProofs(t *testing.T) {
	dir := newFolder(t, false)
	checkpointFile := filepath.Join(datadir.TransparencyDir(dir), "checkpoint")
	kept, err := os.ReadFile(checkpointFile)
	must(t, err)
	older := save(t, string(kept))
	openFolder(t, dir, false)
	keys := save(t, succeed(t, "audit", "keys", "--data", dir))

	for _, more := range [][]string{nil, {"--keys", keys}, {"--keys", keys, "--checkpoint", older}} {
		out := succeed(t, append([]string{"audit", "verify", "--data", dir}, more...)...)
		for _, want := range []string{"is whole", "signed     4 records", "records 1 to 4, every one"} {
			if !strings.Contains(out, want) {
				t.Errorf("audit verify %v does not say %q:\n%s", more, want, out)
			}
		}
		if strings.Contains(out, "--keys") != (more == nil) {
			t.Errorf("audit verify %v: %s", more, out)
		}
	}

	for e, err := range journal.Read(datadir.JournalDir(dir), 0) {
		must(t, err)
		var record struct{ EventID string }
		must(t, json.Unmarshal(e.Record, &record))
		proof := save(t, succeed(t, "audit", "prove", record.EventID, "--data", dir))
		if out := succeed(t, "audit", "check-proof", proof, "--keys", keys); out != string(e.Record)+"\n" {
			t.Errorf("record %d: what is proved is %s", e.Seq, out)
		}
		if e.Seq > 2 { // the older checkpoint is about two
			fail(t, cli.StatusFailure, []string{"take a newer one"}, "audit", "prove", record.EventID, "--data", dir, "--checkpoint", older)
			continue
		}
		proof = save(t, succeed(t, "audit", "prove", record.EventID, "--data", dir, "--checkpoint", older))
		succeed(t, "audit", "check-proof", proof, "--keys", keys)
	}
	proof := succeed(t, "audit", "prove", "--since", older, "--data", dir)
	if out := succeed(t, "audit", "check-proof", save(t, proof), "--keys", keys); !strings.Contains(out, "of 4 records begins with the 2 of the older") {
		t.Error(out)
	}

	otherKeys := save(t, succeed(t, "audit", "keys", "--data", newFolder(t, false)))
	fail(t, cli.StatusFailure, []string{"not signed as it must be"}, "audit", "check-proof", save(t, proof), "--keys", otherKeys)
	fail(t, cli.StatusFailure, []string{"not signed as it must be"}, "audit", "verify", "--data", dir, "--keys", otherKeys)
	fail(t, cli.StatusFailure, []string{"this is not a proof"}, "audit", "check-proof", save(t, "hello"), "--keys", keys)
	fail(t, cli.StatusFailure, []string{"line 1: not a key"}, "audit", "check-proof", save(t, proof), "--keys", save(t, "hello"))
	fail(t, cli.StatusUsage, []string{"--keys"}, "audit", "check-proof", save(t, proof))
	fail(t, cli.StatusUsage, []string{"either an event id or"}, "audit", "prove", "--data", dir)
	fail(t, cli.StatusUsage, []string{"either an event id or"}, "audit", "prove", "x", "--since", older, "--data", dir)
	fail(t, cli.StatusFailure, []string{"no record with the eventID x"}, "audit", "prove", "x", "--data", dir)
	fail(t, cli.StatusFailure, []string{"no audit journal"}, "audit", "verify", "--data", t.TempDir())

	// Somebody makes all anew, with a record less, and has the server sign it.
	must(t, os.RemoveAll(datadir.JournalDir(dir)))
	must(t, os.RemoveAll(datadir.TransparencyDir(dir)))
	openFolder(t, dir, false)
	openFolder(t, dir, false)
	succeed(t, "audit", "verify", "--data", dir) // by itself it is in order
	fail(t, cli.StatusFailure, []string{"does not agree"}, "audit", "verify", "--data", dir, "--checkpoint", older)
	fail(t, cli.StatusFailure, []string{"does not agree"}, "audit", "prove", "--since", older, "--data", dir)
}
