//go:build !linux

// Command bench measures Kagimori's throughput. It needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it pins CPUs, waits with epoll and reads /proc, which only Linux has; run it there")
	os.Exit(1)
}
