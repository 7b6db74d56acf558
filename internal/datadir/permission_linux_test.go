package datadir_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/kagimori/kagimori/internal/datadir"
)

// A folder that belongs to somebody else, or lies in one, is refused with its name.
func TestFolderOfSomebodyElse(t *testing.T) {
	parent := t.TempDir()
	must(t, os.Chmod(filepath.Dir(parent), 0o755)) // the test's own
	dir := filepath.Join(parent, "data")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Chmod(dir, 0o555))
	must(t, os.Chmod(parent, 0o555))
	defer os.Chmod(parent, 0o755)
	defer asNobody(t)()
	for _, dir := range []string{dir, filepath.Join(parent, "other")} {
		_, err := datadir.Open(ctx, dir, options())
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "--data") {
			t.Errorf("%s: got %v", dir, err)
		}
	}
}

// A folder is no worse for lying in one that cannot be listed.
func TestFolderInOneThatCannotBeRead(t *testing.T) {
	parent := t.TempDir()
	must(t, os.Chmod(filepath.Dir(parent), 0o755))
	dir := filepath.Join(parent, "data")
	d, err := datadir.Open(ctx, dir, options())
	must(t, err)
	if os.Geteuid() == 0 {
		must(t, os.Chown(dir, nobody, -1))
		must(t, os.Chown(filepath.Join(dir, "lock"), nobody, -1))
	}
	must(t, os.Chmod(parent, 0o311))
	defer os.Chmod(parent, 0o755)
	back := asNobody(t)
	_, err = datadir.Open(ctx, dir, options())
	back()
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want that it is in use", err)
	}
	must(t, d.Close("test"))
}

const nobody = 65534

// asNobody makes this goroutine look at files as nobody does, if the tests run as
// root, whom no mode stops, until the function it returns is called.
func asNobody(t *testing.T) (back func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		return func() {}
	}
	runtime.LockOSThread()
	must(t, syscall.Setfsuid(nobody))
	return func() {
		must(t, syscall.Setfsuid(0))
		runtime.UnlockOSThread()
	}
}
