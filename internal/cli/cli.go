// Package cli runs a program that is a tree of commands.
//
// The tree is the one table: dispatch, help text and shell completion all come
// from it. The package owns how arguments are written (GNU style), what an
// unknown name is answered with, exit statuses, and the talk with a terminal.
// It knows nothing of what the commands do.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/kagimori/kagimori/internal/clock"
)

// Exit statuses of a program.
const (
	StatusOK      = 0
	StatusFailure = 1 // the work failed
	StatusUsage   = 2 // the program was called or configured wrongly
)

// Env is what a command sees of the world, so that a test can give it another.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(name string) string
	Clock  clock.Clock
}

// System is the process's own environment.
func System() *Env {
	return &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Clock: clock.System()}
}

// Command is one command, or a group of commands, or both.
type Command struct {
	// Name is the word that selects the command.
	Name string
	// Args names the arguments, for help, completion and the check of their
	// number: "FILE", "[COMMAND...]", "bash|zsh|fish". Brackets make one
	// optional, dots let it repeat. FILE, DIR and a|b complete as what they say.
	Args string
	// Summary is one line without a full stop.
	Summary string
	// Doc is what help tells besides; may be empty.
	Doc string
	// Flags registers the command's flags; may be nil. As in package flag, the
	// back-quoted word of a usage text names the value.
	Flags func(*flag.FlagSet)
	// Run does the work; nil for a group that only holds Commands.
	Run func(ctx context.Context, env *Env, args []string) error
	// Commands are the commands below this one.
	Commands []*Command
}

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage marks err as a mistake in how the program was called or configured, so
// that Main exits with StatusUsage. Usage(nil) is nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Usagef makes an error that Main exits on with StatusUsage.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Main runs the command that args name and returns the exit status. root is the
// program; the commands help and completion are added to those it has. Errors
// go to Stderr as "NAME: what went wrong".
func Main(ctx context.Context, root *Command, env *Env, args []string) int {
	root = withBuiltins(root)
	path, err := dispatch(ctx, root, env, args)
	if err == nil {
		return StatusOK
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(env.Stderr, "%s: %v\n", root.Name, err)
	if errors.As(err, new(usageError)) {
		fmt.Fprintf(env.Stderr, "Run %q for usage.\n", strings.Join(append([]string{root.Name, "help"}, path[1:]...), " "))
		return StatusUsage
	}
	return StatusFailure
}

// withBuiltins is root with the commands that every program has.
func withBuiltins(root *Command) *Command {
	full := *root
	full.Commands = append(full.Commands[:len(full.Commands):len(full.Commands)],
		completionCommand(&full), helpCommand(&full))
	return &full
}

// dispatch finds the command, reads its flags and runs it. It returns the words
// that led to the command, the program's name first.
func dispatch(ctx context.Context, root *Command, env *Env, args []string) (path []string, err error) {
	if len(args) > 0 && args[0] == completeWord {
		return []string{root.Name}, writeCandidates(env.Stdout, root, args[1:])
	}
	cmd, path, args := root.find(args)
	fs := cmd.flagSet()
	args, err = parseFlags(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return path, writeHelp(env.Stdout, cmd, path)
	case err != nil:
		return path, Usage(err)
	case cmd.Run == nil && len(args) > 0:
		return path, cmd.unknown(args[0])
	case cmd.Run == nil:
		return path, Usagef("%s needs a command: %s", strings.Join(path, " "), strings.Join(cmd.names(), ", "))
	}
	if err := cmd.checkArgs(path, args); err != nil {
		return path, err
	}
	return path, cmd.Run(ctx, env, args)
}

// find follows args down the tree as far as they name commands.
func (c *Command) find(args []string) (cmd *Command, path, rest []string) {
	cmd, path = c, []string{c.Name}
descend:
	for len(args) > 0 {
		for _, sub := range cmd.Commands {
			if sub.Name == args[0] {
				cmd, path, args = sub, append(path, sub.Name), args[1:]
				continue descend
			}
		}
		break
	}
	return cmd, path, args
}

func (c *Command) names() []string {
	var names []string
	for _, sub := range c.Commands {
		names = append(names, sub.Name)
	}
	return names
}

func (c *Command) unknown(name string) error {
	return Usagef("unknown command %q; did you mean %q?", name, Closest(name, c.names()))
}

func (c *Command) flagSet() *flag.FlagSet {
	fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	if c.Flags != nil {
		c.Flags(fs)
	}
	return fs
}

// argument is one word of Command.Args.
type argument struct {
	name             string
	optional, repeat bool
}

func (c *Command) arguments() []argument {
	var list []argument
	for _, word := range strings.Fields(c.Args) {
		name := strings.Trim(word, "[]")
		list = append(list, argument{
			name:     strings.TrimSuffix(name, "..."),
			optional: name != word,
			repeat:   strings.HasSuffix(name, "..."),
		})
	}
	return list
}

func (c *Command) checkArgs(path, args []string) error {
	want := c.arguments()
	for i, a := range want {
		if i >= len(args) && !a.optional {
			return Usagef("%s needs %s", strings.Join(path, " "), a.name)
		}
		if a.repeat {
			return nil
		}
	}
	if len(args) <= len(want) {
		return nil
	}
	// The word that is too much may be a command that was meant.
	if len(c.Commands) > 0 {
		return c.unknown(args[0])
	}
	return Usagef("%s: unexpected argument %q", strings.Join(path, " "), args[len(want)])
}

// parseFlags reads the flags among args and returns the other arguments. It is
// the flag package's syntax (-name, --name, =value, booleans without a value)
// with the two things of GNU that it lacks: flags may follow arguments, and an
// unknown one is answered with the closest known one.
func parseFlags(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return append(rest, args...), nil
		}
		name, value, hasValue, isFlag := splitFlag(arg)
		if !isFlag {
			rest = append(rest, arg)
			continue
		}
		f := fs.Lookup(name)
		switch {
		case f == nil && (name == "help" || name == "h"):
			return nil, flag.ErrHelp
		case f == nil:
			return nil, unknownFlag(fs, name)
		case hasValue:
		case isBool(f):
			value = "true"
		case len(args) == 0:
			return nil, fmt.Errorf("--%s needs a value", name)
		default:
			value, args = args[0], args[1:]
		}
		if err := fs.Set(name, value); err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
	}
	return rest, nil
}

// splitFlag takes -name, --name, -name=value and --name=value apart.
func splitFlag(arg string) (name, value string, hasValue, isFlag bool) {
	dashless := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	if dashless == arg || dashless == "" {
		return "", "", false, false
	}
	name, value, hasValue = strings.Cut(dashless, "=")
	return name, value, hasValue, true
}

func unknownFlag(fs *flag.FlagSet, name string) error {
	var known []string
	fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if len(known) == 0 {
		return fmt.Errorf("unknown flag --%s; %s has no flags", name, fs.Name())
	}
	return fmt.Errorf("unknown flag --%s; did you mean --%s?", name, Closest(name, known))
}

// isBool tells whether a flag stands without a value.
func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
