//go:build unix

package server

import "syscall"

// openFiles is how many files this process may have open. Go has raised the soft
// limit to the hard one; root may raise both.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	if limit.Cur < 11_000 {
		higher := syscall.Rlimit{Cur: 11_000, Max: max(limit.Max, 11_000)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil {
			limit = higher
		}
	}
	return int(min(limit.Cur, 1<<20))
}
