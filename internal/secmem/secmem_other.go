//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package secmem

import (
	"errors"
	"fmt"
	"runtime"
)

// DisableCoreDumps returns an error: it is not done on this system.
func DisableCoreDumps() error {
	return fmt.Errorf("memory dumps of this process are not switched off on %s, they would contain keys: switch them off for the system: %w", runtime.GOOS, errors.ErrUnsupported)
}

// LockMemory returns an error: it is not done on this system.
func LockMemory() error {
	return fmt.Errorf("memory is not locked on %s, keys could be swapped out: use an encrypted page file: %w", runtime.GOOS, errors.ErrUnsupported)
}
