//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package secmem

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// DisableCoreDumps keeps the memory of this process out of core files by
// limiting their size to zero. The limit cannot be raised again.
func DisableCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps are not switched off, they would contain keys: setrlimit RLIMIT_CORE: %w", err)
	}
	return nil
}

// LockMemory returns an error: locking all memory of a Go process is done on
// Linux only, where pages can be locked as they are touched.
func LockMemory() error {
	return fmt.Errorf("memory is not locked on %s, keys could be swapped out: use encrypted swap: %w", runtime.GOOS, errors.ErrUnsupported)
}
