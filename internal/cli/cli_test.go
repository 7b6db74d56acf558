package cli_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/clock"
)

// actAsProgram makes the test binary be the program under test, for the shells
// that complete its command lines.
const actAsProgram = "CLI_TEST_ACT_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(actAsProgram) != "" {
		os.Exit(cli.Main(context.Background(), program(), cli.System(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// program is a tree like that of a real binary; its commands print what they got.
func program() *cli.Command {
	var data, format string
	var auto bool
	flags := func(fs *flag.FlagSet) {
		fs.StringVar(&data, "data", "./data", "`DIR` that holds everything")
		fs.StringVar(&format, "log-format", "text", "write the log as `text|json`")
		fs.BoolVar(&auto, "tls-auto", false, "make a certificate")
	}
	print := func(_ context.Context, env *cli.Env, args []string) error {
		_, err := fmt.Fprintf(env.Stdout, "data=%s log-format=%s tls-auto=%t args=%q\n", data, format, auto, args)
		return err
	}
	return &cli.Command{Name: "keeper", Summary: "Keep keys", Commands: []*cli.Command{
		{Name: "serve", Summary: "Serve", Doc: "More about it.", Flags: flags, Run: print},
		{Name: "backup", Args: "FILE", Summary: "Write a backup", Flags: flags, Run: print, Commands: []*cli.Command{
			{Name: "verify", Args: "FILE", Summary: "Check a backup", Run: print},
		}},
		{Name: "root", Summary: "Manage the root key", Commands: []*cli.Command{
			{Name: "slots", Summary: "List the slots", Run: print},
			{Name: "rotate", Summary: "Rotate", Run: print},
		}},
		{Name: "fail", Args: "[usage]", Summary: "Fail", Run: func(_ context.Context, _ *cli.Env, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("wrapped: %w", cli.Usagef("called wrongly"))
			}
			return errors.New("the disk is full")
		}},
		{Name: "wait", Summary: "Wait", Run: func(ctx context.Context, _ *cli.Env, _ []string) error {
			<-ctx.Done()
			return ctx.Err()
		}},
	}}
}

// run gives what the program prints and its exit status.
func run(ctx context.Context, args ...string) (stdout, stderr string, status int) {
	var out, err bytes.Buffer
	env := &cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err, Clock: clock.NewManual(time.Unix(0, 0))}
	status = cli.Main(ctx, program(), env, args)
	return out.String(), err.String(), status
}

func TestDispatch(t *testing.T) {
	for _, test := range []struct {
		args   string
		stdout string
	}{
		{"serve", `data=./data log-format=text tls-auto=false args=[]`},
		{"serve --data d --tls-auto", `data=d log-format=text tls-auto=true args=[]`},
		{"serve --data=d -log-format json -tls-auto=false", `data=d log-format=json tls-auto=false args=[]`},
		{"serve --data=a=b --data --tls-auto", `data=--tls-auto log-format=text tls-auto=false args=[]`},
		{"backup f --data d", `data=d log-format=text tls-auto=false args=["f"]`},
		{"backup --tls-auto f", `data=./data log-format=text tls-auto=true args=["f"]`},
		{"backup -- --data", `data=./data log-format=text tls-auto=false args=["--data"]`},
		{"backup -", `data=./data log-format=text tls-auto=false args=["-"]`},
		{"backup verify f", `data= log-format= tls-auto=false args=["f"]`},
		{"root slots", `data= log-format= tls-auto=false args=[]`},
	} {
		stdout, stderr, status := run(t.Context(), strings.Fields(test.args)...)
		if status != cli.StatusOK || stdout != test.stdout+"\n" || stderr != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q; want %q", test.args, status, stdout, stderr, test.stdout)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		args   string
		status int
		stderr string
	}{
		{"", 2, "keeper: keeper needs a command: serve, backup, root, fail, wait, completion, help\nRun \"keeper help\" for usage.\n"},
		{"sevre", 2, "keeper: unknown command \"sevre\"; did you mean \"serve\"?\nRun \"keeper help\" for usage.\n"},
		{"root", 2, "keeper: keeper root needs a command: slots, rotate\nRun \"keeper help root\" for usage.\n"},
		{"root solts", 2, "keeper: unknown command \"solts\"; did you mean \"slots\"?\nRun \"keeper help root\" for usage.\n"},
		{"--version", 2, "keeper: unknown flag --version; keeper has no flags\nRun \"keeper help\" for usage.\n"},
		{"serve --tls-atuo", 2, "keeper: unknown flag --tls-atuo; did you mean --tls-auto?\nRun \"keeper help serve\" for usage.\n"},
		{"serve --data", 2, "keeper: --data needs a value\nRun \"keeper help serve\" for usage.\n"},
		{"serve --tls-auto=maybe", 2, "keeper: --tls-auto: parse error\nRun \"keeper help serve\" for usage.\n"},
		{"serve now", 2, "keeper: keeper serve: unexpected argument \"now\"\nRun \"keeper help serve\" for usage.\n"},
		{"backup", 2, "keeper: keeper backup needs FILE\nRun \"keeper help backup\" for usage.\n"},
		{"backup verfy f", 2, "keeper: unknown command \"verfy\"; did you mean \"verify\"?\nRun \"keeper help backup\" for usage.\n"},
		{"help srve", 2, "keeper: unknown command \"srve\"; did you mean \"serve\"?\nRun \"keeper help help\" for usage.\n"},
		{"completion csh", 2, "keeper: unknown shell \"csh\"; did you mean \"zsh\"?\nRun \"keeper help completion\" for usage.\n"},
		{"fail", 1, "keeper: the disk is full\n"},
		{"fail usage", 2, "keeper: wrapped: called wrongly\nRun \"keeper help fail\" for usage.\n"},
	} {
		stdout, stderr, status := run(t.Context(), strings.Fields(test.args)...)
		if status != test.status || stderr != test.stderr || stdout != "" {
			t.Errorf("%q: status %d, stdout %q, stderr\n%s\nwant %d\n%s", test.args, status, stdout, stderr, test.status, test.stderr)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, stderr, status := run(ctx, "wait"); status != cli.StatusFailure || stderr != "keeper: interrupted\n" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

func TestHelp(t *testing.T) {
	const root = `Keep keys.

Usage:
  keeper COMMAND

Commands:
  serve       Serve
  backup      Write a backup
  root        Manage the root key
  fail        Fail
  wait        Wait
  completion  Print a script that completes commands and flags in a shell
  help        Tell how a command is used

Run "keeper help COMMAND" for more about one.
`
	const backup = `Write a backup.

Usage:
  keeper backup FILE [flags]
  keeper backup COMMAND

Commands:
  verify  Check a backup

Run "keeper help backup COMMAND" for more about one.

Flags:
  --data DIR
        DIR that holds everything (default ./data)
  --log-format text|json
        write the log as text|json (default text)
  --tls-auto
        make a certificate
`
	for args, want := range map[string]string{
		"help": root, "--help": root, "-h": root,
		"help backup": backup, "backup --help": backup, "backup f --data d -h": backup,
		"help backup verify": "Check a backup.\n\nUsage:\n  keeper backup verify FILE\n",
	} {
		stdout, stderr, status := run(t.Context(), strings.Fields(args)...)
		if status != cli.StatusOK || stderr != "" || stdout != want {
			t.Errorf("%s: status %d, stderr %q, stdout\n%s\nwant\n%s", args, status, stderr, stdout, want)
		}
	}
}

func TestClosest(t *testing.T) {
	known := []string{"data", "listen", "admin-listen", "tls-cert", "tls-key", "tls-auto", "config"}
	for name, want := range map[string]string{
		"lisen": "listen", "lsiten": "listen", "listenn": "listen", "Listen": "listen",
		"tls_key": "tls-key", "tls-certificate": "tls-cert", "conf": "config", "admin": "admin-listen",
		"": "data", strings.Repeat("x", 1<<20): "data",
	} {
		if got := cli.Closest(name, known); got != want {
			t.Errorf("Closest(%.20q) = %q, want %q", name, got, want)
		}
	}
	if got := cli.Closest("x", nil); got != "" {
		t.Errorf("closest of none is %q", got)
	}
}
