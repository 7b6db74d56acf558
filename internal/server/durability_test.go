package server

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/datadir"
)

// TestAnswersWaitForTheirRecords holds the journal before it writes, as a disk
// does that hangs: no answer leaves meanwhile.
func TestAnswersWaitForTheirRecords(t *testing.T) {
	t.Parallel()
	h := start(t)
	id, _ := h.newKey()
	for _, r := range []request{
		op("Encrypt", `{"KeyId":"`+id+`","Plaintext":"AA=="}`),                 // changes nothing
		op("UpdateKeyDescription", `{"KeyId":"`+id+`","Description":"新しい説明"}`), // changes something
		op("Encrypt", `{"KeyId":"`+id+`"}`),                                    // fails
		{target: "TrentService.ListKeys", secret: "wrong"},                     // has no caller
	} {
		before := len(h.records())
		g := h.gate.shut()
		c := h.dial()
		c.Write(h.wire(r))
		<-g.reached
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if b, err := io.ReadAll(c); !errors.Is(err, os.ErrDeadlineExceeded) || len(b) > 0 {
			t.Errorf("%s: %q, %v left before the record was written", r.target, b, err)
		}
		if n := len(h.records()); n != before {
			t.Errorf("%s: %d records, before %d", r.target, n, before)
		}
		g.open()
		c.SetReadDeadline(time.Now().Add(patience))
		a, err := readAnswer(bufio.NewReader(c))
		h.must(err)
		if len(h.recordsOf(a.id)) != 1 {
			t.Errorf("%s: the answer is there, its record is not", r.target)
		}
	}
}

// TestCrashBeforeTheRecord copies the data folder, as a crash leaves it, when a
// change is stored and its record is not yet in the journal. The next start
// writes the record, once.
func TestCrashBeforeTheRecord(t *testing.T) {
	t.Parallel()
	h := start(t)
	id, _ := h.newKey()
	rotate := h.wire(op("RotateKeyOnDemand", `{"KeyId":"`+id+`"}`)) // two records, of the call and of the rotation
	before := len(h.records())
	g := h.gate.shut()
	c := h.dial()
	c.Write(rotate)
	<-g.reached // the change is stored, or nothing would be journalled
	crashed := t.TempDir()
	h.must(os.CopyFS(crashed, os.DirFS(h.dir)))
	h.must(os.Chmod(datadir.RootKeyFile(crashed), 0o600)) // CopyFS does not keep the mode
	g.open()
	a, err := readAnswer(bufio.NewReader(c))
	h.must(err)
	if a.StatusCode != http.StatusOK {
		t.Fatalf("answer %d %s", a.StatusCode, a.body)
	}
	if recs, err := readRecords(datadir.JournalDir(crashed)); err != nil || len(recs) != before {
		t.Fatalf("the copy has %d records, %v, want %d", len(recs), err, before)
	}

	want := h.recordsOf(a.id)[0]
	for start1 := range 3 {
		again := start(t, func(s *setup) { s.dir = crashed })
		var rotations, calls int
		for _, rec := range again.records() {
			if rec.RequestID == a.id {
				calls++
				if string(rec.raw) != string(want.raw) {
					t.Errorf("the record written late is\n%s\nwant\n%s", rec.raw, want.raw)
				}
			}
			if rec.EventName == "RotateKey" {
				rotations++
			}
		}
		if calls != 1 || rotations != 1 {
			t.Errorf("start %d: %d records of the call, %d of the rotation", start1, calls, rotations)
		}
		if told := strings.Contains(again.log.String(), "audit records of changes were written late"); told != (start1 == 0) {
			t.Errorf("start %d: the operator is told of late records: %v", start1, told)
		}
		var out struct {
			Rotations []struct{ RotationType string }
		}
		again.call("ListKeyRotations", `{"KeyId":"`+id+`"}`, &out)
		if len(out.Rotations) != 1 {
			t.Errorf("start %d: rotations %v", start1, out.Rotations)
		}
		again.close()
	}
}
