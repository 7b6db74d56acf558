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
	if os.Geteuid() == 0 { // whom no mode stops: this thread looks at files as nobody does
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		must(t, syscall.Setfsuid(65534))
		defer syscall.Setfsuid(0)
	}
	for _, dir := range []string{dir, filepath.Join(parent, "other")} {
		_, err := datadir.Open(ctx, dir, options())
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "--data") {
			t.Errorf("%s: got %v", dir, err)
		}
	}
}
