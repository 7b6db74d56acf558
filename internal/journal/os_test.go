//go:build linux

package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var kills = flag.Int("kills", 10, "rounds of TestKill")

// A real file system that is really full.
func TestFullFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a small tmpfs here (needs root): %v", err)
	}
	defer syscall.Unmount(mount, syscall.MNT_DETACH)
	dir := filepath.Join(mount, "journal")
	ballast := filepath.Join(mount, "ballast")
	opts := small
	opts.RetryInterval = time.Millisecond

	// fillUp takes all the space that is left.
	fillUp := func() {
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

	n := uint64(0)
	for round := range 3 {
		j, r := mustOpen(t, dir, opts)
		if r.LastSeq != n {
			t.Fatalf("round %d: newest record is %d, want %d", round, r.LastSeq, n)
		}
		fill(t, j, n+1, n+5)
		n += 5
		fillUp()
		for {
			seq, err := j.Append(t.Context(), numbered(n+1))
			if err != nil {
				if !errors.Is(err, syscall.ENOSPC) || j.Err() == nil {
					t.Fatal(err, j.Err())
				}
				break
			}
			if n++; seq != n {
				t.Fatal(seq, n)
			}
		}
		if round == 1 { // stop while it is full
			if seq, err := j.AppendFinal(numbered(n + 1)); err != nil || seq != n+1 {
				t.Fatal(seq, err)
			}
			n++
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j, _ = mustOpen(t, dir, opts)
		}
		os.Remove(ballast)
		waitFor(t, "resuming", func() bool { return j.Err() == nil })
		fill(t, j, n+1, n+5)
		n += 5
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		checkNumbered(t, dir, 1, n)
	}
}

// TestKill kills a process that appends, again and again.
func TestKill(t *testing.T) {
	if dir := os.Getenv("JOURNAL_TEST_KILL"); dir != "" {
		appendUntilKilled(dir)
		return
	}
	dir := t.TempDir()
	acked := map[uint64]string{}
	for round := range *kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_KILL="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := len(acked)
		after := 1 + rand.IntN(1500) // lines until the kill
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			if i == after {
				time.AfterFunc(time.Duration(rand.IntN(1000))*time.Microsecond, func() { cmd.Process.Kill() })
			}
			number, record, ok := strings.Cut(lines.Text(), " ")
			seq, err := strconv.ParseUint(number, 10, 64)
			if !ok || err != nil || len(record) != 40 {
				continue // cut off in the midst
			}
			if acked[seq] != "" {
				t.Fatalf("round %d: number %d given twice", round, seq)
			}
			acked[seq] = record
		}
		cmd.Wait()
		if len(acked) == before {
			t.Fatalf("round %d: nothing was appended", round)
		}
	}
	j, r := mustOpen(t, dir, small)
	n := uint64(0)
	for e, err := range Read(dir, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; e.Seq != n {
			t.Fatalf("record %d where %d was due", e.Seq, n)
		}
		if want := acked[n]; want != "" && !bytes.HasPrefix(e.Record, []byte(want)) {
			t.Fatalf("record %d is %.40q, %q was acknowledged", n, e.Record, want)
		}
		delete(acked, n)
	}
	if len(acked) != 0 || n != r.LastSeq {
		t.Fatalf("%d acknowledged records are gone", len(acked))
	}
	if seq := mustAppend(t, j, nil); seq != n+1 {
		t.Fatal(seq)
	}
}

func appendUntilKilled(dir string) {
	opts := small
	opts.SegmentSize = 128 << 10
	j, _, err := Open(dir, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				record := fmt.Sprintf("%020d%020d", rand.Uint64(), rand.Uint64())
				seq, err := j.Append(context.Background(), append([]byte(record), make([]byte, rand.IntN(1500))...))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Fprintf(os.Stdout, "%d %s\n", seq, record)
			}
		})
	}
	wg.Wait()
}
