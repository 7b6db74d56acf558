// Package secmem keeps secrets in memory from reaching a disk: core dumps are
// switched off, memory is locked against swapping, and buffers are zeroed.
//
// It promises what the operating system can give and returns an error that says
// what to change where it cannot; a caller shows that error as a warning and
// goes on. It knows nothing of keys.
package secmem

import "runtime"

// Zero overwrites b. It is not inlined and keeps b alive, so that the compiler
// has no ground to drop the writes to a buffer that is not read again.
//
// The garbage collector does not move or copy heap objects, so a secret that was
// allocated once and never appended to is gone after Zero.
//
//go:noinline
func Zero(b []byte) {
	clear(b)
	runtime.KeepAlive(b)
}
