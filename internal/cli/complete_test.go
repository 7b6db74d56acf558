package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// installed makes a folder to work in with the program on the PATH, and gives
// the environment for a shell.
func installed(t *testing.T, shell string) (dir string, environ []string) {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skipf("no %s here", shell)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "keeper")); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, folder := range []string{"keys", "my keys"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "kept.backup"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, append(os.Environ(), actAsProgram+"=1", "HOME="+t.TempDir(), "PATH="+bin+":"+os.Getenv("PATH"),
		"GORACE=atexit_sleep_ms=0") // else each run of the program takes a second more under -race
}

func shell(t *testing.T, dir string, environ []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, environ
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v\n%s", name, err, &stderr)
	}
	return string(out)
}

// completions are command lines up to the cursor, their words divided by spaces
// as the shell divides them, and the candidates for the last word.
var completions = []struct {
	words string
	want  []string
}{
	{"", []string{"backup", "completion", "fail", "help", "root", "serve", "wait"}},
	{"se", []string{"serve"}},
	{"root ", []string{"rotate", "slots"}},
	{"root s", []string{"slots"}},
	{"serve --", []string{"--data", "--help", "--log-format", "--tls-auto"}},
	{"serve --tls-auto --l", []string{"--log-format"}},
	{"serve --log-format ", []string{"json", "text"}},
	{"serve --log-format j", []string{"json"}},
	{"serve --data d --log-format t", []string{"text"}},
	{"serve --data ke", []string{"keys"}},
	{"backup ke", []string{"kept.backup", "keys"}},
	{"backup v", []string{"verify"}},
	{"backup verify kep", []string{"kept.backup"}},
	{"completion ", []string{"bash", "fish", "zsh"}},
	{"help ro", []string{"root"}},
	{"help root r", []string{"rotate"}},
	{"serve x", nil},
	{"nonsense ", nil},
}

func TestBashCompletion(t *testing.T) {
	dir, environ := installed(t, "bash")
	shell(t, dir, environ, "bash", "-c", "keeper completion bash | bash -n")
	const script = `
		source <(keeper completion bash)
		COMP_WORDS=(keeper "$@"); COMP_CWORD=$#
		[[ $(complete -p keeper) == "complete -F _keeper keeper" ]] || exit 3
		_keeper keeper
		printf '%s\n' "${COMPREPLY[@]}"`
	complete := func(words ...string) []string {
		out := shell(t, dir, environ, "bash", append([]string{"--norc", "-c", script, "bash"}, words...)...)
		return candidates(out)
	}
	for _, test := range completions {
		got := complete(strings.Split(test.words, " ")...)
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
	// bash divides at = and leaves spaces in names to be quoted.
	for _, test := range []struct{ words, want []string }{
		{[]string{"serve", "--log-format", "="}, []string{"json", "text"}},
		{[]string{"serve", "--log-format", "=", "j"}, []string{"json"}},
		{[]string{"serve", "--data", "=", "my"}, []string{"my keys"}},
		{[]string{"serve", "--data", "=", "d", "--tls"}, []string{"--tls-auto"}},
	} {
		if got := complete(test.words...); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
}

func TestFishCompletion(t *testing.T) {
	dir, environ := installed(t, "fish")
	for _, test := range append(completions, []struct {
		words string
		want  []string
	}{
		{"serve --log-format=", []string{"--log-format=json", "--log-format=text"}},
		{"serve --data=key", []string{"--data=keys"}},
	}...) {
		out := shell(t, dir, environ, "fish", "--no-config", "-c",
			`keeper completion fish | source; complete -C "keeper $argv[1]"`, test.words)
		if got := candidates(out); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
}

func TestZshCompletion(t *testing.T) {
	dir, environ := installed(t, "zsh")
	// The script runs outside of an editor, so zsh's own functions print what
	// they would offer.
	const script = `
		autoload -Uz compinit && compinit -u -d $HOME/.zcompdump
		source <(keeper completion zsh)
		[[ $_comps[keeper] == _keeper ]] || exit 3
		_describe() { print -rl -- "${(@)${(@P)2}%%:*}" }
		_files() { [[ $1 == -/ ]] && print -rl -- $PREFIX*(N/) || print -rl -- $PREFIX*(N) }
		compset() { [[ $PREFIX == --*=* ]] && PREFIX=${PREFIX#*=} }
		words=(keeper "$@"); CURRENT=$#words; PREFIX=$words[-1]
		_keeper
		true`
	for _, test := range append(completions, []struct {
		words string
		want  []string
	}{
		{"serve --log-format=", []string{"json", "text"}},
		{"serve --data=key", []string{"keys"}},
	}...) {
		out := shell(t, dir, environ, "zsh", append([]string{"-f", "-c", script, "zsh"}, strings.Split(test.words, " ")...)...)
		if got := candidates(out); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
}

// candidates is the sorted lines of out without descriptions and slashes.
func candidates(out string) []string {
	var list []string
	for line := range strings.Lines(out) {
		line, _, _ = strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if line = strings.TrimSuffix(line, "/"); line != "" {
			list = append(list, line)
		}
	}
	slices.Sort(list)
	return list
}
