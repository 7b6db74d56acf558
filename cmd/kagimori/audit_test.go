package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/journal"
)

// newJournal is a data folder with a journal of n records, and the open journal.
func newJournal(t *testing.T, n int) (dir string, j *journal.Journal) {
	t.Helper()
	dir = t.TempDir()
	j, _, err := journal.Open(datadir.JournalDir(dir), journal.Options{SegmentSize: 2 << 20, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { j.Close() })
	for i := range n {
		record(t, j, i+1, 0)
	}
	return dir, j
}

func record(t *testing.T, j *journal.Journal, n, pad int) {
	t.Helper()
	_, err := j.Append(context.Background(), fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", pad)))
	must(t, err)
}

// numbers are the numbers of the records that were printed.
func numbers(out string) string {
	var list []string
	for line := range strings.Lines(out) {
		var n int
		if _, err := fmt.Sscanf(line, `{"n":%d,"pad":"`, &n); err != nil || !strings.HasSuffix(line, "\"}\n") {
			return "not a record: " + line
		}
		list = append(list, fmt.Sprint(n))
	}
	return strings.Join(list, " ")
}

func TestAuditTail(t *testing.T) {
	dir, _ := newJournal(t, 12)
	for args, want := range map[string]string{
		"":       "3 4 5 6 7 8 9 10 11 12",
		"-n 1":   "12",
		"-n 3":   "10 11 12",
		"-n 12":  "1 2 3 4 5 6 7 8 9 10 11 12",
		"-n 100": "1 2 3 4 5 6 7 8 9 10 11 12",
		"-n 0":   "1 2 3 4 5 6 7 8 9 10 11 12",
	} {
		if got := numbers(succeed(t, append([]string{"audit", "tail", "--data", dir}, strings.Fields(args)...)...)); got != want {
			t.Errorf("audit tail %s: %s, want %s", args, got, want)
		}
	}
	empty, _ := newJournal(t, 0)
	if out := succeed(t, "audit", "tail", "--data", empty); out != "" {
		t.Errorf("an empty journal prints %q", out)
	}
}

// Old segments may be moved away: what is there is printed.
func TestAuditTailOfWhatIsLeft(t *testing.T) {
	dir, j := newJournal(t, 0)
	for i := range 6 {
		record(t, j, i+1, 900_000) // two in a segment
	}
	must(t, j.Close())
	segments, err := filepath.Glob(filepath.Join(datadir.JournalDir(dir), "*.journal"))
	must(t, err)
	if len(segments) != 3 {
		t.Fatalf("%d segments", len(segments))
	}
	must(t, os.Remove(segments[0]))
	for _, n := range []string{"5", "0"} {
		if got := numbers(succeed(t, "audit", "tail", "--data", dir, "-n", n)); got != "3 4 5 6" {
			t.Errorf("-n %s: %s", n, got)
		}
	}
}

func TestAuditTailOfDamagedJournal(t *testing.T) {
	dir, j := newJournal(t, 3)
	must(t, j.Close())
	segments, err := filepath.Glob(filepath.Join(datadir.JournalDir(dir), "*.journal"))
	must(t, err)
	f, err := os.OpenFile(segments[0], os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("damaged"), 1024+40)
	must(t, err)
	must(t, f.Close())
	r := run("audit", "tail", "--data", dir)
	if r.status != cli.StatusFailure || !strings.Contains(r.err, segments[0]) || !strings.Contains(r.err, "damaged") {
		t.Errorf("exit status %d, %s", r.status, r.err)
	}
}

func TestAuditTailFollows(t *testing.T) {
	dir, j := newJournal(t, 5)
	out := newLines()
	env := environment()
	env.Stdout = out
	clk := env.Clock.(*clock.Manual)
	ended, stop := background(t, env, "audit", "tail", "-f", "-n", "2", "--data", dir)
	out.wait(t, `"n":5,.*\n`, ended)
	for i := 6; i <= 8; i++ {
		record(t, j, i, 0)
		for !strings.Contains(out.String(), fmt.Sprintf(`"n":%d,`, i)) {
			clk.Advance(followInterval)
		}
	}
	if status := stop(); status != cli.StatusOK {
		t.Errorf("exit status %d after it was stopped", status)
	}
	if got := numbers(out.String()); got != "4 5 6 7 8" {
		t.Errorf("printed: %s", got)
	}
}

// countedPipe fails when nobody reads any more, and counts how often it is told.
type countedPipe struct{ writes int }

func (p *countedPipe) Write(b []byte) (int, error) {
	p.writes++
	return badPipe{}.Write(b)
}

func TestAuditTailToAClosedPipe(t *testing.T) {
	dir, j := newJournal(t, 0)
	for i := range 50 {
		record(t, j, i+1, 10_000)
	}
	for _, args := range [][]string{{"-n", "0"}, {"-n", "0", "-f"}, {"-n", "1"}} {
		env := environment()
		pipe := new(countedPipe)
		env.Stdout = pipe
		if status := cli.Main(t.Context(), program(), env, append([]string{"audit", "tail", "--data", dir}, args...)); status != cli.StatusFailure {
			t.Errorf("%v: exit status %d", args, status)
		}
		if pipe.writes != 1 {
			t.Errorf("%v: %d writes, want 1", args, pipe.writes)
		}
	}
}
