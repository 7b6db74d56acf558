package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/clock"
)

func TestPassphraseFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passphrase")
	for content, want := range map[string]string{
		"correct horse":             "correct horse",
		"correct horse\n":           "correct horse",
		"correct horse\r\n":         "correct horse",
		" two\nlines \n\n":          " two\nlines \n",
		strings.Repeat("x", 4096):   strings.Repeat("x", 4096),
		"\n":                        "",
		"":                          "",
		strings.Repeat("x", 4097):   "",
		strings.Repeat("x", 100000): "",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := new(cli.Env).Passphrase(t.Context(), file, "Passphrase", false)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%.20q: %.20q, %v", content, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "xxx") {
			t.Errorf("the error shows the passphrase: %v", err)
		}
	}
	if _, err := new(cli.Env).Passphrase(t.Context(), file+".none", "Passphrase", false); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestPassphraseWithoutTerminal(t *testing.T) {
	env := &cli.Env{Stdin: strings.NewReader("correct horse\n")}
	_, err := env.Passphrase(t.Context(), "", "Passphrase", false)
	if err == nil || !strings.Contains(err.Error(), "--passphrase-file") {
		t.Errorf("error %v does not say what to do", err)
	}
}

func TestProgressInALog(t *testing.T) {
	clk := clock.NewManual(time.Unix(0, 0))
	var out bytes.Buffer
	p := (&cli.Env{Stderr: &out, Clock: clk}).Progress("backup", cli.FormatBytes)
	for i := range 12 {
		clk.Advance(time.Second)
		p.Set(int64(i+1)<<20, 24<<20)
	}
	p.Done()
	const want = "backup: 5 MiB of 24 MiB (20 %), 1 MiB/s\n" +
		"backup: 10 MiB of 24 MiB (41 %), 1 MiB/s\n" +
		"backup: 12 MiB of 24 MiB (50 %), 1 MiB/s\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestProgressOfUnknownTotal(t *testing.T) {
	var out bytes.Buffer
	p := (&cli.Env{Stderr: &out, Clock: clock.NewManual(time.Unix(0, 0))}).Progress("restore", cli.FormatBytes)
	p.Set(1536, 0)
	p.Done()
	if out.String() != "restore: 1.5 KiB\n" {
		t.Errorf("got %q", &out)
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 64 << 20: "64 MiB", 5<<30 + 1<<29: "5.5 GiB", 1<<63 - 1: "8 EiB",
	} {
		if got := cli.FormatBytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// typist is a person at a terminal.
type typist struct {
	t      *testing.T
	master *os.File
	screen string
}

// sees reads the screen until text is on it.
func (p *typist) sees(text string) {
	p.t.Helper()
	buf := make([]byte, 1024)
	for !strings.Contains(p.screen, text) {
		n, err := p.master.Read(buf)
		if err != nil {
			p.t.Fatalf("reading the terminal: %v; waited for %q, saw %q", err, text, p.screen)
		}
		p.screen += string(buf[:n])
	}
}

func (p *typist) types(text string) {
	p.t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

type answer struct {
	passphrase []byte
	err        error
}

func askOn(ctx context.Context, terminal *os.File, repeat bool) <-chan answer {
	env := &cli.Env{Stdin: terminal, Stderr: terminal}
	ch := make(chan answer, 1)
	go func() {
		p, err := env.Passphrase(ctx, "", "New passphrase", repeat)
		ch <- answer{p, err}
	}()
	return ch
}

func TestPassphraseOnTerminal(t *testing.T) {
	for _, test := range []struct {
		name, first, second string
		want, problem       string
	}{
		{"same", "correct horse", "correct horse", "correct horse", ""},
		{"slip", "correct horse", "correct hoarse", "", "differ"},
	} {
		t.Run(test.name, func(t *testing.T) {
			master, terminal := openTerminal(t)
			p := &typist{t: t, master: master}
			got := askOn(t.Context(), terminal, true)
			p.sees("New passphrase: ")
			waitNoEcho(t, terminal)
			p.types(test.first + "\n")
			p.sees("New passphrase again: ")
			waitNoEcho(t, terminal)
			p.types(test.second + "\n")
			a := <-got
			if string(a.passphrase) != test.want || (a.err != nil) != (test.problem != "") {
				t.Errorf("got %q, %v", a.passphrase, a.err)
			}
			if a.err != nil && !strings.Contains(a.err.Error(), test.problem) {
				t.Errorf("error %v", a.err)
			}
			p.types("end\n") // echo is on again
			p.sees("end")
			if strings.Contains(p.screen, "horse") {
				t.Errorf("the passphrase is on the screen: %q", p.screen)
			}
		})
	}
}

func TestPassphraseInterrupted(t *testing.T) {
	master, terminal := openTerminal(t)
	p := &typist{t: t, master: master}
	ctx, cancel := context.WithCancel(t.Context())
	got := askOn(ctx, terminal, false)
	p.sees("New passphrase: ")
	waitNoEcho(t, terminal)
	cancel()
	if a := <-got; a.err != context.Canceled {
		t.Errorf("got %q, %v", a.passphrase, a.err)
	}
	p.types("end\n") // echo is on again
	p.sees("end")
}

func TestProgressOnTerminal(t *testing.T) {
	master, terminal := openTerminal(t)
	clk := clock.NewManual(time.Unix(0, 0))
	p := (&cli.Env{Stderr: terminal, Clock: clk}).Progress("backup", cli.FormatBytes)
	for _, done := range []int64{1 << 20, 2 << 20, 3 << 20} {
		clk.Advance(100 * time.Millisecond) // redrawn every second time
		p.Set(done, 4<<20)
	}
	p.Done()
	person := &typist{t: t, master: master}
	person.sees("\n")
	const want = "\rbackup: 2 MiB of 4 MiB (50 %), 10 MiB/s\x1b[K\rbackup: 3 MiB of 4 MiB (75 %), 10 MiB/s\x1b[K\r\n"
	if person.screen != want {
		t.Errorf("got %q, want %q", person.screen, want)
	}
}
