//go:build !linux

package journal

import (
	"os"
	"runtime"
)

// sync is F_FULLFSYNC on darwin and FlushFileBuffers on Windows.
func (f *osFile) sync() error { return f.Sync() }

func (f *osFile) allocate(size int64) error { return f.allocateZeros(size) }

// syncFolder does nothing on Windows, where a folder cannot be flushed and NTFS
// keeps renames in its own journal.
func syncFolder(f *os.File) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return f.Sync()
}
