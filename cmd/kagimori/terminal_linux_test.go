package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/datadir"
)

// openTerminal gives a terminal, what is shown on it, and a function that types a
// line when the program has switched the echo off.
func openTerminal(t *testing.T) (terminal *os.File, screen *lines, secretly func(line string)) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudoterminals here: %v", err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { master.Close() })
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { terminal.Close() })
	screen = newLines()
	go io.Copy(screen, master)
	return terminal, screen, func(line string) {
		t.Helper()
		for {
			state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
			must(t, err)
			if state.Lflag&unix.ECHO == 0 {
				break
			}
			runtime.Gosched()
		}
		_, err := io.WriteString(master, line+"\n")
		must(t, err)
	}
}

// On a terminal the secret key is printed, to be pasted.
func TestBannerOnATerminal(t *testing.T) {
	dir := newFolder(t, false)
	terminal, screen, _ := openTerminal(t)
	env := environment()
	env.Stdout = terminal
	ended, stop := background(t, env, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	screen.wait(t, `export AWS_SECRET_ACCESS_KEY=`+owner.SecretKey+`\r\n(?s:.*)AWS_REGION=`, ended)
	if status := stop(); status != cli.StatusOK {
		t.Errorf("exit status %d", status)
	}
}

// A passphrase is asked for where no key file opens the root key, and twice when
// it is new. Nothing of it is shown.
func TestPassphraseOnATerminal(t *testing.T) {
	t.Parallel()
	const passphrase = "正しい馬 電池 ホッチキス そして鍵"
	dir := newFolder(t, false)
	terminal, screen, secretly := openTerminal(t)
	env := environment()
	env.Stdin, env.Stdout, env.Stderr = terminal, terminal, terminal

	ended, _ := background(t, env, "root", "add", "passphrase", "--label", "mine", "--data", dir)
	screen.wait(t, `(?m)^New passphrase: $`, ended)
	secretly(passphrase)
	screen.wait(t, `(?m)^New passphrase again: $`, ended)
	secretly(passphrase)
	if status := <-ended; status != cli.StatusOK {
		t.Fatalf("exit status %d\n%s", status, screen)
	}
	screen.wait(t, `The passphrase opens the root key now`, nil)

	must(t, os.Remove(datadir.RootKeyFile(dir)))
	file := filepath.Join(t.TempDir(), "backup")
	ended, _ = background(t, env, "backup", file, "--data", dir)
	screen.wait(t, `root\.key does not exist(?s:.*)\nPassphrase: $`, ended)
	secretly(passphrase)
	if status := <-ended; status != cli.StatusOK {
		t.Fatalf("exit status %d\n%s", status, screen)
	}
	if strings.Contains(screen.String(), passphrase) {
		t.Errorf("the passphrase is shown:\n%s", screen)
	}
}
