package datadir_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/datadir"
)

// childFolder names the data folder to a child process.
const childFolder = "KAGIMORI_TEST_CHILD"

// TestMain makes the test binary a process that holds a data folder open until
// its standard input ends, if it is told to.
func TestMain(m *testing.M) {
	dir := os.Getenv(childFolder)
	if dir == "" {
		os.Exit(m.Run())
	}
	d, err := datadir.Open(ctx, dir, options())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
	if err := d.Close("test"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// child is another process that opens dir. The first line that it prints is
// "open" or an error; closing its input ends it.
func child(t *testing.T, dir string) (cmd *exec.Cmd, in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, in, bufio.NewReader(pipe)
}

func TestAnotherProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd, in, out := child(t, dir)
	if line, err := out.ReadString('\n'); line != "open\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	if _, err := datadir.Open(ctx, dir, options()); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Open while another process has the folder: %v", err)
	}
	must(t, in.Close())
	must(t, cmd.Wait())

	d, err := datadir.Open(ctx, dir, options())
	must(t, err)
	_, _, out = child(t, dir)
	if line, _ := out.ReadString('\n'); !strings.Contains(line, dir) || !strings.Contains(line, "in use") {
		t.Errorf("the other process says %q", line)
	}
	must(t, d.Close("test"))
}

// A first start that is killed as soon as some file appears is finished by the
// next one, and a process that is killed lets go of the folder.
func TestKilledFirstStart(t *testing.T) {
	for _, file := range []string{"kagimori.db", "root.key", "credentials", "journal/spare.tmp"} {
		t.Run(file, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			cmd, _, _ := child(t, dir)
			for {
				if _, err := os.Lstat(filepath.Join(dir, file)); err == nil {
					break
				}
				runtime.Gosched()
			}
			must(t, cmd.Process.Kill())
			cmd.Wait()
			works(t, dir, options())
		})
	}
}
