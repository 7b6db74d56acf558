package cli

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"strings"
)

// completeWord is the first argument with which a shell's completion script
// asks for candidates. The words of the command line follow, without the
// program's name, the one under the cursor last. The answer is one candidate a
// line, a tab and its description behind it; the lines :file and :dir ask the
// shell to offer files or folders.
const completeWord = "__complete"

const (
	offerFiles   = ":file"
	offerFolders = ":dir"
)

//go:embed complete.bash
var bashScript string

//go:embed complete.zsh
var zshScript string

//go:embed complete.fish
var fishScript string

func completionCommand(root *Command) *Command {
	return &Command{
		Name:    "completion",
		Args:    "bash|zsh|fish",
		Summary: "Print a script that completes commands and flags in a shell",
		Doc: strings.ReplaceAll(`Load it in the running shell:
  bash: source <(PROGRAM completion bash)
  zsh:  source <(PROGRAM completion zsh)
  fish: PROGRAM completion fish | source
To have it always, add that line to ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.`, "PROGRAM", root.Name),
		Run: func(_ context.Context, env *Env, args []string) error {
			script, ok := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[args[0]]
			if !ok {
				return Usagef("unknown shell %q; did you mean %q?", args[0], Closest(args[0], []string{"bash", "zsh", "fish"}))
			}
			_, err := io.WriteString(env.Stdout, strings.ReplaceAll(script, "PROGRAM", root.Name))
			return err
		},
	}
}

// writeCandidates answers a completion script.
func writeCandidates(w io.Writer, root *Command, words []string) error {
	var b strings.Builder
	for _, c := range complete(root, words) {
		b.WriteString(c + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// complete lists the candidates for the last of words.
func complete(root *Command, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	// bash makes three words of --flag=value.
	if n := len(words); words[n-1] == "=" {
		words = append(words[:n-1:n-1], "")
	} else if n > 1 && words[n-2] == "=" {
		words = append(words[:n-2:n-2], words[n-1])
	}
	done, word := words[:len(words)-1], words[len(words)-1]
	cmd, _, rest := root.find(done)
	fs := cmd.flagSet()

	// Pass over what was typed already, as parseFlags does.
	var args []string
	for i := 0; i < len(rest); i++ {
		name, _, hasValue, isFlag := splitFlag(rest[i])
		if !isFlag {
			args = append(args, rest[i])
			continue
		}
		f := fs.Lookup(name)
		if f == nil || hasValue || isBool(f) {
			continue
		}
		if i++; i == len(rest) {
			return matching(flagValues(f), word)
		}
	}

	if name, value, hasValue, isFlag := splitFlag(word); isFlag && hasValue {
		if f := fs.Lookup(name); f != nil {
			return matching(flagValues(f), value)
		}
		return nil
	}
	if strings.HasPrefix(word, "-") {
		var flags []string
		fs.VisitAll(func(f *flag.Flag) {
			_, doc := flag.UnquoteUsage(f)
			flags = append(flags, fmt.Sprintf("--%s\t%s", f.Name, doc))
		})
		return matching(append(flags, "--help\tTell how the command is used"), word)
	}
	var list []string
	if len(rest) == 0 {
		list = cmd.describe()
	}
	if a := cmd.argumentAt(len(args)); a == "COMMAND" {
		if cmd, _, rest := root.find(args); len(rest) == 0 {
			list = append(list, cmd.describe()...)
		}
	} else {
		list = append(list, values(a)...)
	}
	return matching(list, word)
}

// describe lists the commands below c as candidates.
func (c *Command) describe() []string {
	var list []string
	for _, sub := range c.Commands {
		list = append(list, sub.Name+"\t"+sub.Summary)
	}
	return list
}

// argumentAt names the argument at a position, or is empty when none fits there.
func (c *Command) argumentAt(i int) string {
	list := c.arguments()
	switch n := len(list); {
	case i < n:
		return list[i].name
	case n > 0 && list[n-1].repeat:
		return list[n-1].name
	}
	return ""
}

func flagValues(f *flag.Flag) []string {
	if isBool(f) {
		return []string{"true", "false"}
	}
	name, _ := flag.UnquoteUsage(f)
	return values(name)
}

// values lists the candidates for a value by its name in the help text.
func values(name string) []string {
	switch {
	case name == "FILE":
		return []string{offerFiles}
	case name == "DIR":
		return []string{offerFolders}
	case strings.Contains(name, "|"):
		return strings.Split(name, "|")
	}
	return nil
}

// matching keeps the candidates that begin with word.
func matching(list []string, word string) []string {
	var kept []string
	for _, c := range list {
		if strings.HasPrefix(c, word) || c == offerFiles || c == offerFolders {
			kept = append(kept, c)
		}
	}
	return kept
}
