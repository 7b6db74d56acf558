package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
)

func helpCommand(root *Command) *Command {
	return &Command{
		Name:    "help",
		Args:    "[COMMAND...]",
		Summary: "Tell how a command is used",
		Run: func(_ context.Context, env *Env, args []string) error {
			cmd, path, rest := root.find(args)
			if len(rest) > 0 {
				if len(cmd.Commands) == 0 {
					return Usagef("%s has no commands", strings.Join(path, " "))
				}
				return cmd.unknown(rest[0])
			}
			return writeHelp(env.Stdout, cmd, path)
		},
	}
}

// writeHelp writes all that the table knows of a command.
func writeHelp(w io.Writer, cmd *Command, path []string) error {
	var b strings.Builder
	name := strings.Join(path, " ")
	fmt.Fprintf(&b, "%s.\n\nUsage:\n", cmd.Summary)
	fs := cmd.flagSet()
	hasFlags := false
	fs.VisitAll(func(*flag.Flag) { hasFlags = true })
	if cmd.Run != nil {
		b.WriteString("  " + name)
		if cmd.Args != "" {
			b.WriteString(" " + cmd.Args)
		}
		if hasFlags {
			b.WriteString(" [flags]")
		}
		b.WriteString("\n")
	}
	if len(cmd.Commands) > 0 {
		fmt.Fprintf(&b, "  %s COMMAND\n", name)
	}
	if cmd.Doc != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(cmd.Doc))
	}
	if len(cmd.Commands) > 0 {
		b.WriteString("\nCommands:\n")
		width := 0
		for _, sub := range cmd.Commands {
			width = max(width, len(sub.Name))
		}
		for _, sub := range cmd.Commands {
			fmt.Fprintf(&b, "  %-*s  %s\n", width, sub.Name, sub.Summary)
		}
		fmt.Fprintf(&b, "\nRun \"%s help%s COMMAND\" for more about one.\n", path[0], strings.TrimPrefix(name, path[0]))
	}
	if hasFlags {
		b.WriteString("\nFlags:\n")
		fs.VisitAll(func(f *flag.Flag) {
			value, doc := flag.UnquoteUsage(f)
			b.WriteString("  --" + f.Name)
			if value != "" {
				b.WriteString(" " + value)
			}
			b.WriteString("\n        " + doc)
			if f.DefValue != "" && !isBool(f) {
				fmt.Fprintf(&b, " (default %s)", f.DefValue)
			}
			b.WriteString("\n")
		})
	}
	_, err := io.WriteString(w, b.String())
	return err
}
