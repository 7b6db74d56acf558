// Package e2e tests the kagimori program as its users meet it: built, started
// with the commands of the README, called by real clients, stopped and killed.
//
// Nothing is replaced here. The one thing that the tests reach into is the audit
// journal, which they read beside what "kagimori audit tail" prints.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// goClient as first argument makes this program the Go client of the tour, so that
// it is a process with an environment of its own as the other clients are.
const goClient = "go-client"

var buildDir string

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == goClient {
		if err := runGoClient(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "kagimori-e2e-*"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(status)
}

// The program, built once each: as it is released, and for the tests under load
// with the race detector if the tests themselves have it.
var (
	released = sync.OnceValues(func() (string, error) { return build("kagimori") })
	checked  = sync.OnceValues(func() (string, error) {
		if !raceEnabled {
			return released()
		}
		return build("kagimori-race", "-race")
	})
)

func build(name string, flags ...string) (string, error) {
	path := filepath.Join(buildDir, name)
	args := append(append([]string{"build"}, flags...), "-o", path, "../../cmd/kagimori")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// binary is the path of a built program.
func binary(t *testing.T, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
