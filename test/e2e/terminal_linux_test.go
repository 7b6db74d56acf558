package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTerminal starts the server on a terminal: there the secret key is printed,
// ready to paste whatever it is made of, and the recovery passphrase is shown once
// and not written to a file.
func TestTerminal(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	const secret = `it's;$(a)"secret&key\`
	screen, terminal := openTerminal(t)
	s := launch(t, dir, setup{tty: terminal, env: []string{"KAGIMORI_ROOT_SECRET_ACCESS_KEY=" + secret}})
	go io.Copy(carriageReturns{s.out}, screen)
	if err := s.ready(t); err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	passphrase := regexp.MustCompile(`\n    ((?:[0-9A-Z]{4}-){7}[0-9A-Z]{4})\n`)

	if got := s.variable("AWS_SECRET_ACCESS_KEY"); got != secret {
		t.Errorf("the pasted secret key is %q", got)
	}
	match := passphrase.FindStringSubmatch(s.out.String())
	if match == nil {
		t.Fatalf("no recovery passphrase is shown:\n%s", s.out)
	}
	if _, err := os.Stat(filepath.Join(dir, "recovery.txt")); err == nil {
		t.Error("the recovery passphrase is also in a file")
	}
	s.stop(t)

	file := filepath.Join(t.TempDir(), "passphrase")
	check(t, os.WriteFile(file, []byte(strings.ToLower(match[1])+"\n"), 0o600))
	check(t, os.Remove(filepath.Join(dir, "root.key")))
	serve(t, dir, setup{args: []string{"--passphrase-file", file}}).stop(t)
}

// carriageReturns drops those that a terminal puts before line feeds.
type carriageReturns struct{ io.Writer }

func (w carriageReturns) Write(p []byte) (int, error) {
	_, err := io.WriteString(w.Writer, strings.ReplaceAll(string(p), "\r\n", "\n"))
	return len(p), err
}

// openTerminal gives the two ends of a pseudoterminal.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("skipped: there are no pseudoterminals here: %v", err)
	}
	screen = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { screen.Close() })
	check(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	check(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	t.Cleanup(func() { terminal.Close() })
	return screen, terminal
}
