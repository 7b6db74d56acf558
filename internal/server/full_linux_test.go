package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/datadir"
)

// smallDisk is a file system of its own for a test, and how to fill it to the
// last byte.
func smallDisk(t *testing.T, size string) (dir string, fill, empty func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("mounting a small disk needs root: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	fill = func() {
		t.Helper()
		f, err := os.OpenFile(ballast, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	empty = func() {
		t.Helper()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	return dir, fill, empty
}

// TestFullDisk fills the disk under the data folder, twice. Calls fail then
// without changing anything; with space again the service goes on by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir, fill, empty := smallDisk(t, "16m")
	h := start(t, func(s *setup) { s.dir = filepath.Join(dir, "data") })
	id, _ := h.newKey()
	description := ""   // the last that was acknowledged
	var done []string   // ids of answers of success
	var failed []string // and of failure
	describe := func(n int) *answer {
		return h.do(op("UpdateKeyDescription", fmt.Sprintf(`{"KeyId":"%s","Description":"%d"}`, id, n)))
	}
	// Its record has 90 KiB, so that the journal fills fast.
	encrypt := op("Encrypt", `{"KeyId":"`+id+`","Plaintext":"AA==","EncryptionContext":{"long":"`+strings.Repeat("x", 90<<10)+`"}}`)
	note := func(a *answer) bool {
		t.Helper()
		if a.StatusCode == 200 {
			done = append(done, a.id)
			return true
		}
		a.wantError(t, 500, "KMSInternalException", "The request failed because of an internal error. It can be tried again.")
		failed = append(failed, a.id)
		return false
	}
	down := func() bool { return h.srv.opts.Data.Journal.Err() != nil }

	for round := range 2 {
		fill()
		// First there is room in what the journal has taken beforehand. A change
		// fails as soon as the store cannot take it.
		for n := 0; note(describe(n)); n++ {
			description = fmt.Sprint(n)
			if n > 1000 {
				t.Fatal("the store takes changes on a full disk")
			}
		}
		for n := 0; note(h.do(encrypt)); n++ {
			if n > 100 {
				t.Fatal("the journal takes records on a full disk")
			}
		}
		if !down() {
			t.Fatal("a call failed and the journal is well")
		}
		status, body := h.get("/readyz")
		if status != 503 || !strings.Contains(body, "not ready: audit records cannot be written: ") || !strings.Contains(body, "no space left on device; free ") {
			t.Errorf("/readyz: %d %q", status, body)
		}
		if status, _ := h.get("/healthz"); status != 200 {
			t.Errorf("/healthz: %d", status)
		}
		if up := h.metrics()["kagimori_journal_up"]; up != 0 {
			t.Errorf("kagimori_journal_up is %v on a full disk", up)
		}
		if !strings.Contains(h.log.String(), "no space left on device") {
			t.Error("the log does not tell the operator")
		}
		before := h.lastChange()
		w := &world{key: id, other: id}
		for _, c := range w.validCalls() {
			if note(h.do(op(c.operation, c.body))) {
				t.Errorf("%s works without a journal", c.operation)
			}
		}
		if after := h.lastChange(); after != before {
			t.Errorf("%d changes by calls that failed", after-before)
		}

		if round == 1 {
			break
		}
		empty()
		h.eventually("/readyz to be well again", func() bool {
			h.clock.Advance(time.Second) // the journal tries again by the clock
			status, _ := h.get("/readyz")
			return status == 200
		})
		var out struct{ KeyMetadata struct{ Description string } }
		h.call("DescribeKey", `{"KeyId":"`+id+`"}`, &out)
		if out.KeyMetadata.Description != description {
			t.Errorf("the description is %q, the last that was acknowledged is %q", out.KeyMetadata.Description, description)
		}
		for n := range 5 {
			if !note(describe(n)) || !note(h.do(encrypt)) {
				t.Error("a call fails with space again")
			}
			description = fmt.Sprint(n)
		}
		if m := h.metrics(); m["kagimori_journal_up"] != 1 || m["kagimori_store_up"] != 1 {
			t.Errorf("metrics with space again: %v %v", m["kagimori_journal_up"], m["kagimori_store_up"])
		}
	}

	// Stopping on the full disk is recorded with the help of the reserve. What
	// cannot be stored is an error, which does not keep the rest from closing.
	h.closed = true
	h.stop()
	h.must(<-h.served)
	h.srv.Close(context.Background())
	h.data.Close("the disk is full")
	empty()
	recs, err := readRecords(datadir.JournalDir(h.dir))
	h.must(err)
	if last := recs[len(recs)-1]; last.EventName != "StopServer" || last.ServiceEventDetails["reason"] != "the disk is full" {
		t.Errorf("the last record is %s", last.raw)
	}
	count := map[string]int{}
	succeeded := map[string]bool{}
	for _, rec := range recs {
		if rec.RequestID != "" {
			count[rec.RequestID]++
			succeeded[rec.RequestID] = rec.ErrorCode == ""
		}
	}
	for _, id := range done {
		if count[id] != 1 || !succeeded[id] {
			t.Errorf("%d records of an answer of success", count[id])
		}
	}
	for _, id := range failed {
		if count[id] > 1 || succeeded[id] {
			t.Errorf("%d records of a failed call, one of success: %v", count[id], succeeded[id])
		}
	}
	t.Logf("%d calls done, %d failed", len(done), len(failed))

	again := start(t, func(s *setup) { s.dir = h.dir })
	var out struct{ KeyMetadata struct{ Description string } }
	again.call("DescribeKey", `{"KeyId":"`+id+`"}`, &out)
	if out.KeyMetadata.Description != description {
		t.Errorf("after the next start the description is %q, the last that was acknowledged is %q", out.KeyMetadata.Description, description)
	}
	again.close()
}
