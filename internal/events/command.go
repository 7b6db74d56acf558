package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// send runs the command with the input as its standard input. Its environment says what it
// is run for, and has nothing of the server's.
func (c *Command) send(ctx context.Context, s *Service, a *attempt) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Run[0], c.Run[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "KAGIMORI_RULE=" + ruleARN(a.rule.place), "KAGIMORI_TARGET=" + a.to.id, "KAGIMORI_EVENT=" + a.id}
	cmd.Stdin = bytes.NewReader(a.input)
	// What it starts ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the command took longer than %s", c.timeout)
	case errors.As(err, &exit):
		return fmt.Errorf("the command ended with %s", exit.ProcessState)
	}
	return hidden{"the command could not be run", err}
}
