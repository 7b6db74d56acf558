package server

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/buckets"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/events"
	"github.com/kagimori/kagimori/internal/translog"
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

// TestFullDiskBehind fills the disk under what follows the journal: the index, the
// transparency log, a trail with its digest files, and events. With space again they catch up.
func TestFullDiskBehind(t *testing.T) {
	t.Parallel()
	dir, fill, empty := smallDisk(t, "24m")
	var mu sync.Mutex
	told := map[string]bool{} // the requests whose events the webhook got
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ Detail struct{ RequestID string } }
		json.NewDecoder(r.Body).Decode(&e)
		mu.Lock()
		defer mu.Unlock()
		told[e.Detail.RequestID] = true
	}))
	t.Cleanup(hook.Close)
	file, bucket := filepath.Join(t.TempDir(), "targets.json"), filepath.Join(dir, "buckets", "audit")
	if err := errors.Join(os.WriteFile(file, []byte(`{"webhooks":{"hook":{"url":"`+hook.URL+`"}}}`), 0o600), os.MkdirAll(bucket, 0o700)); err != nil {
		t.Fatal(err)
	}
	h := start(t, func(s *setup) {
		s.dir = filepath.Join(dir, "data")
		var err, err2 error
		s.EventTargets, err = events.LoadTargets(file)
		s.Buckets, err2 = buckets.Open(context.Background(), filepath.Dir(bucket), "")
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
	})
	ask := func(service, target, body string, out any) {
		t.Helper()
		a := h.do(request{service: service, target: target, body: body})
		if a.StatusCode != 200 {
			t.Fatalf("%s: %d %s", target, a.StatusCode, a.body)
		}
		if out != nil {
			h.must(json.Unmarshal(a.body, out))
		}
	}
	ask("cloudtrail", "CloudTrail_20131101.CreateTrail", `{"Name":"main","S3BucketName":"audit","EnableLogFileValidation":true}`, nil)
	ask("cloudtrail", "CloudTrail_20131101.StartLogging", `{"Name":"main"}`, nil)
	ask("events", "AWSEvents.PutRule", `{"Name":"r","EventPattern":"{\"detail\":{\"eventName\":[\"UpdateKeyDescription\"]}}"}`, nil)
	ask("events", "AWSEvents.PutTargets", `{"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:kagimori:::webhook/hook"}]}`, nil)
	id, _ := h.newKey()
	long := strings.Repeat("x", 8<<10-16)
	describe := func(n int) bool {
		a := h.do(op("UpdateKeyDescription", fmt.Sprintf(`{"KeyId":"%s","Description":"%d %s"}`, id, n, long)))
		return a.StatusCode == 200
	}
	for round := range 2 {
		for n := range 150 { // more than a tile has
			describe(n)
		}
		fill()
		for n := 0; describe(n); n++ {
			if n > 5000 {
				t.Fatal("a full disk takes everything")
			}
		}
		for range 20 { // they try, and cannot
			h.clock.Advance(10 * time.Minute)
			time.Sleep(20 * time.Millisecond)
		}
		empty()
		h.eventually("/readyz to be well again", func() bool {
			h.clock.Advance(time.Second)
			status, _ := h.get("/readyz")
			return status == 200
		})
		if !describe(round) {
			t.Error("a change fails with space again")
		}
	}
	found := func() (n int) {
		token := ""
		for {
			var page struct {
				Events    []struct{ CloudTrailEvent string }
				NextToken string
			}
			ask("cloudtrail", "CloudTrail_20131101.LookupEvents", `{"LookupAttributes":[{"AttributeKey":"EventName","AttributeValue":"UpdateKeyDescription"}]`+token+`}`, &page)
			for _, e := range page.Events {
				if !strings.Contains(e.CloudTrailEvent, `"errorCode"`) {
					n++
				}
			}
			if page.NextToken == "" {
				return n
			}
			token = `,"NextToken":"` + page.NextToken + `"`
		}
	}
	caughtUp := func(what string, done func() bool) {
		t.Helper()
		h.eventually(what, func() bool {
			h.clock.Advance(10 * time.Second)
			return done()
		})
	}
	caughtUp("the index to work", func() bool { return h.metrics()["kagimori_index_up"] == 1 })
	h.must(h.srv.RunDue(t.Context())) // also writes the record of a change for which there was no room
	recs, err := readRecords(h.data.JournalDir())
	h.must(err)
	var done []record // changes that were made
	for _, rec := range recs {
		if rec.EventName == "UpdateKeyDescription" && rec.ErrorCode == "" {
			done = append(done, rec)
		}
	}
	if len(done) < 300 {
		t.Errorf("only %d changes", len(done))
	}
	if n := found(); n != len(done) {
		t.Errorf("%d of %d changes are found", n, len(done))
	}
	caughtUp("the tree to be whole", func() bool { return h.metrics()["kagimori_transparency_records"] == float64(h.data.Journal.LastSeq()) })
	caughtUp("all events to arrive", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, rec := range done {
			if !told[rec.RequestID] {
				return false
			}
		}
		return true
	})
	caughtUp("all records to be in the bucket, and a digest", func() bool {
		delivered, digests := map[string]bool{}, 0
		h.must(filepath.WalkDir(bucket, func(path string, d os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".gz") {
				return err
			}
			if strings.Contains(path, "/CloudTrail-Digest/") {
				digests++
				return nil
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			z, err := gzip.NewReader(f)
			if err != nil {
				return err
			}
			var log struct{ Records []record }
			err = json.NewDecoder(z).Decode(&log)
			for _, rec := range log.Records {
				delivered[rec.EventID] = true
			}
			return err
		}))
		missing := slices.ContainsFunc(done, func(rec record) bool { return !delivered[rec.EventID] })
		return !missing && digests > 0
	})
	h.close()
	text, err := os.ReadFile(translog.KeysFile(datadir.TransparencyDir(h.dir)))
	h.must(err)
	keys, err := translog.ParseKeys(string(text))
	h.must(err)
	report, err := translog.Verify(t.Context(), datadir.TransparencyDir(h.dir), datadir.JournalDir(h.dir), keys, nil, func(int64, int64) {})
	if err != nil || report.Size != report.Last {
		t.Errorf("the transparency log: %+v, %v", report, err)
	}
}
