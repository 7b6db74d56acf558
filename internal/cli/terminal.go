package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Terminal tells whether stream, one of an Env's three, is a terminal.
func Terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// maxPassphrase bounds a passphrase, in bytes.
const maxPassphrase = 4096

// Passphrase reads a passphrase: from file when one is named, without the line
// break at its end, or else from the terminal without echo, asking with prompt
// and, if repeat is set, a second time to catch slips. The caller zeroes it.
func (e *Env) Passphrase(ctx context.Context, file, prompt string, repeat bool) ([]byte, error) {
	if file != "" {
		return passphraseFile(file)
	}
	if !Terminal(e.Stdin) {
		return nil, Usagef("there is no terminal to ask for the passphrase on; give --passphrase-file FILE")
	}
	first, err := e.ask(ctx, prompt+": ")
	if err != nil || !repeat {
		return first, err
	}
	second, err := e.ask(ctx, prompt+" again: ")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		clear(first)
		return nil, errors.New("the two passphrases differ; try again")
	}
	return first, nil
}

func passphraseFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("passphrase file: %w", err)
	}
	defer f.Close()
	buf := make([]byte, maxPassphrase+3) // one byte too many, and a line break
	n, err := io.ReadFull(f, buf)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		clear(buf)
		return nil, fmt.Errorf("passphrase file: %w", err)
	}
	p, err := checkPassphrase(bytes.TrimSuffix(bytes.TrimSuffix(buf[:n], []byte("\n")), []byte("\r")))
	if err != nil {
		clear(buf)
		return nil, fmt.Errorf("passphrase file %s: %w", name, err)
	}
	return p, nil
}

func checkPassphrase(p []byte) ([]byte, error) {
	switch {
	case len(p) == 0:
		return nil, errors.New("the passphrase is empty")
	case len(p) > maxPassphrase:
		return nil, fmt.Errorf("the passphrase is longer than %d bytes", maxPassphrase)
	}
	return p, nil
}

// ask reads one line from the terminal without echo. When ctx ends first, the
// terminal is given its echo back; the read is left behind, since nothing can
// interrupt it and the program is about to exit.
func (e *Env) ask(ctx context.Context, prompt string) ([]byte, error) {
	fd := int(e.Stdin.(*os.File).Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot ask for the passphrase: %w", err)
	}
	fmt.Fprint(e.Stderr, prompt)
	defer fmt.Fprintln(e.Stderr)

	type answer struct {
		line []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answered <- answer{line, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil && a.err != io.EOF {
			return nil, fmt.Errorf("cannot read the passphrase: %w", a.err)
		}
		return checkPassphrase(a.line)
	case <-ctx.Done():
		_ = term.Restore(fd, before) // nothing better can be done on the way out
		return nil, ctx.Err()
	}
}

// Progress tells how far a long piece of work is, on Stderr: one line that is
// redrawn on a terminal, otherwise a line every few seconds. It belongs to one
// goroutine.
type Progress struct {
	env      *Env
	what     string
	format   func(int64) string
	terminal bool
	every    time.Duration

	start, shown time.Time
	done, total  int64
	lineOpen     bool // the terminal's cursor is behind an unfinished line
}

// Progress starts telling about the work called what, whose amounts format writes:
// FormatBytes, if they are bytes.
func (e *Env) Progress(what string, format func(int64) string) *Progress {
	p := &Progress{env: e, what: what, format: format, terminal: Terminal(e.Stderr), every: 5 * time.Second, start: e.Clock.Now()}
	if p.terminal {
		p.every = 200 * time.Millisecond
	}
	p.shown = p.start
	return p
}

// Set tells that done of total are done; a total of zero is not known yet.
func (p *Progress) Set(done, total int64) {
	p.done, p.total = done, total
	if now := p.env.Clock.Now(); now.Sub(p.shown) >= p.every {
		p.show(now)
	}
}

// Done shows where the work ended and closes the line. It is called whether the
// work succeeded or not.
func (p *Progress) Done() {
	p.show(p.env.Clock.Now())
	if p.lineOpen {
		fmt.Fprintln(p.env.Stderr)
		p.lineOpen = false
	}
}

func (p *Progress) show(now time.Time) {
	p.shown = now
	line := p.what + ": " + p.format(p.done)
	if p.total > 0 {
		line += fmt.Sprintf(" of %s (%d %%)", p.format(p.total), int64(100*float64(p.done)/float64(p.total)))
	}
	if took := now.Sub(p.start); took > 0 {
		line += fmt.Sprintf(", %s/s", p.format(int64(float64(p.done)/took.Seconds())))
	}
	if p.terminal {
		// Back to the start of the line, and clear what is longer than the new text.
		fmt.Fprint(p.env.Stderr, "\r"+line+"\x1b[K")
		p.lineOpen = true
		return
	}
	fmt.Fprintln(p.env.Stderr, line)
}

// FormatBytes writes a number of bytes for people: 64 MiB, 1.5 GiB.
func FormatBytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), 0
	for value >= 1<<10 && unit < len("KMGTPE")-1 {
		value, unit = value/(1<<10), unit+1
	}
	return fmt.Sprintf("%.4g %ciB", value, "KMGTPE"[unit])
}
