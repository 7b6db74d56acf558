package secmem

import (
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DisableCoreDumps keeps the memory of this process out of core files: their
// size is limited to zero, and the process is marked as not dumpable, which also
// keeps it out of dumps that are piped to a collector and, together with
// ordinary permissions, keeps other processes of the same user from attaching to
// it (prctl(2), PR_SET_DUMPABLE). The limit cannot be raised again.
func DisableCoreDumps() error {
	return errors.Join(
		explain("setrlimit RLIMIT_CORE", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})),
		explain("prctl PR_SET_DUMPABLE", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)),
	)
}

func explain(call string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("core dumps are not switched off, they would contain keys: %s: %w", call, err)
}

// LockMemory locks all memory of the process, present and future, so that none
// of it is swapped out. It does so only where no limit on locked memory is in
// force, and otherwise changes nothing and returns an error that says how to
// allow it.
//
// All memory, because secrets are not only in buffers that we could lock one by
// one: expanded keys inside crypto/aes, TLS session keys and the plaintexts of
// requests live on the ordinary heap.
//
// Only without a limit, because a limit counts address space, of which the Go
// runtime reserves far more than it uses. Under one, MCL_FUTURE makes a later
// reservation fail, and the runtime ends the process.
//
// MCL_ONFAULT locks pages when they are first touched. Without it the kernel
// would fill in every mapping at once, among them those by which the runtime
// returns unused memory, so that memory use could only grow.
func LockMemory() error {
	if err := unlimitedLocking(); err != nil {
		return fmt.Errorf("memory is not locked, keys could be swapped out: the limit on locked memory (RLIMIT_MEMLOCK) must be unlimited: "+
			"set LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 or --cap-add IPC_LOCK (containers) or ulimit -l unlimited (shell), "+
			"or use no swap or encrypted swap: %w", err)
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("memory is not locked, keys could be swapped out: mlockall: %w", err)
	}
	return nil
}

// unlimitedLocking returns nil if this process may lock any amount of memory,
// raising its limit where it may do that.
func unlimitedLocking() error {
	// Free where only the soft limit is finite; else it takes CAP_SYS_RESOURCE.
	unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: math.MaxUint64, Max: math.MaxUint64}) // RLIM_INFINITY
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Cur == math.MaxUint64 {
		return nil
	}
	// CAP_IPC_LOCK lifts the limit, but not inside a user namespace. So ask the
	// kernel: lock more than the limit, of address space that is never touched.
	probe, err := unix.Mmap(-1, 0, int(limit.Cur)+os.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	defer unix.Munmap(probe)
	_, _, errno := unix.Syscall(unix.SYS_MLOCK2, uintptr(unsafe.Pointer(unsafe.SliceData(probe))), uintptr(len(probe)), unix.MLOCK_ONFAULT)
	if errno != 0 {
		return fmt.Errorf("the limit is %d bytes: %w", limit.Cur, errno)
	}
	return nil
}
