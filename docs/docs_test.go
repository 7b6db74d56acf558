// Package docs tests that the documents tell the truth: that their links lead
// somewhere, that the commands in them parse, and that settings and metrics are
// those of the program.
package docs

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kagimori/kagimori/kagimoritest"
)

// documents are the pages for people, from this folder.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "../*.md", "../bench/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no documents %s: %v", pattern, err)
		}
		all = append(all, found...)
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// page is a document taken apart.
type page struct {
	text   string   // without code blocks
	blocks []string // code blocks, each with its opening line
}

func parse(text string) page {
	var p page
	var prose, block strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		fence := strings.HasPrefix(line, "```")
		switch {
		case fence && inside:
			p.blocks = append(p.blocks, block.String())
			block.Reset()
			inside = false
		case fence, inside:
			block.WriteString(line)
			inside = true
		default:
			prose.WriteString(line)
		}
	}
	p.text = prose.String()
	return p
}

var (
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// slug is the anchor of a heading, by GitHub's rule.
func slug(heading string) string {
	return strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(parse(read(t, doc)).text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := doc
			if target != "" {
				file = filepath.Join(filepath.Dir(doc), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
				continue
			}
			if anchor == "" {
				continue
			}
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(parse(read(t, file)).text, -1) {
				anchors = append(anchors, slug(h[1]))
			}
			if !slices.Contains(anchors, anchor) {
				t.Errorf("%s links to %s, but the headings there are %q", doc, m[1], anchors)
			}
		}
	}
}

// TestREADMEsShowTheSame: the tour of the one is the tour of the other.
func TestREADMEsShowTheSame(t *testing.T) {
	transcripts := func(file string) (all []string) {
		for _, b := range parse(read(t, file)).blocks {
			if strings.Contains(b, "\n$ ") {
				all = append(all, b)
			}
		}
		return all
	}
	en, ja := transcripts("../README.md"), transcripts("../README.ja.md")
	if len(en) == 0 || !slices.Equal(en, ja) {
		t.Errorf("README.md has %d blocks with commands, README.ja.md %d, or they differ", len(en), len(ja))
	}
}

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kagimori-docs-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "kagimori")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/kagimori").CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	status := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}

// kagimori runs the program.
func kagimori(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestOperationsShowsTheSettings(t *testing.T) {
	want, err := kagimori(t, "serve", "--print-config")
	if err != nil {
		t.Fatal(err)
	}
	blocks := parse(read(t, "operations.md")).blocks
	if !slices.Contains(blocks, "```toml\n"+want) {
		t.Errorf("operations.md does not hold what kagimori serve --print-config prints:\n%s", want)
	}
	for _, b := range blocks { // the examples are settings that the program takes
		b, ok := strings.CutPrefix(b, "```toml\n")
		if !ok {
			continue
		}
		file := filepath.Join(t.TempDir(), "kagimori.toml")
		if err := os.WriteFile(file, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := kagimori(t, "serve", "--print-config", "--config", file); err != nil {
			t.Errorf("%v: %s\n%s", err, out, b)
		}
	}
	help, err := kagimori(t, "help", "serve")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`KAGIMORI_\w+`).FindAllString(help, -1) {
		if !strings.Contains(read(t, "operations.md"), "| `"+name+"` |") {
			t.Errorf("operations.md lacks %s", name)
		}
	}
}

var (
	inlineCode = regexp.MustCompile("`([^`\n]+)`")
	invocation = regexp.MustCompile(`^\s*(?:\$ |ExecStart=)?(?:go run )?[./\w]*\bkagimori (.*)$`)
	word       = regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`)
)

// invocations are the command lines of the program in a document, as words.
func invocations(t *testing.T, doc string) (all [][]string) {
	p := parse(read(t, doc))
	var lines []string
	for _, b := range p.blocks {
		lines = append(lines, strings.Split(b, "\n")...)
	}
	for _, m := range inlineCode.FindAllStringSubmatch(p.text, -1) {
		lines = append(lines, m[1])
	}
	for _, line := range lines {
		m := invocation.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		var args []string
		for _, w := range word.FindAllString(m[1], -1) {
			if w == "#" || w == "|" || w == ">" {
				break // a comment, another program or a file
			}
			args = append(args, strings.Trim(w, `"'`))
		}
		all = append(all, args)
	}
	return all
}

func TestCommandsInDocumentsParse(t *testing.T) {
	for _, doc := range []string{"../README.md", "../README.ja.md", "../SECURITY.md", "operations.md", "architecture.md", "clients.md"} {
		for _, args := range invocations(t, doc) {
			checkInvocation(t, doc, args)
		}
	}
	if n := len(invocations(t, "operations.md")); n < 50 {
		t.Errorf("only %d commands were found in operations.md", n)
	}
}

// checkInvocation lets the program read the flags by asking for help behind
// them, and holds the arguments against the usage that it then prints:
//
//	kagimori root add file|passphrase|recovery [FILE] [flags]
func checkInvocation(t *testing.T, doc string, args []string) {
	t.Helper()
	where := doc + ": kagimori " + strings.Join(args, " ")
	help, err := kagimori(t, append(slices.Clone(args), "--help")...)
	if err != nil {
		t.Errorf("%s: %s", where, help)
		return
	}
	_, usage, _ := strings.Cut(help, "Usage:\n  kagimori")
	usage, _, _ = strings.Cut(usage, "\n")
	want := strings.Fields(strings.TrimSuffix(usage, " [flags]"))

	var given []string // without flags and their values
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		name, _, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		switch {
		case !isFlag:
			given = append(given, args[i])
		case !hasValue && regexp.MustCompile(`(?m)^  --`+name+` \S`).MatchString(help):
			i++
		}
	}
	for i, w := range want {
		switch optional := strings.HasPrefix(w, "["); {
		case i >= len(given) && !optional:
			t.Errorf("%s: the usage is kagimori%s", where, usage)
			return
		case i >= len(given), w == strings.ToUpper(w):
		case !slices.Contains(strings.Split(w, "|"), given[i]):
			t.Errorf("%s: %q where the usage has %s", where, given[i], w)
			return
		}
	}
	if len(given) > len(want) && !strings.Contains(want[len(want)-1], "...") {
		t.Errorf("%s: too many arguments for kagimori%s", where, usage)
	}
}

// TestOperationsNamesAllCommands walks through the program's own help.
func TestOperationsNamesAllCommands(t *testing.T) {
	text := read(t, "operations.md")
	var walk func(path []string)
	walk = func(path []string) {
		help, err := kagimori(t, append([]string{"help"}, path...)...)
		if err != nil {
			t.Fatal(help)
		}
		if strings.Contains(help, " [flags]") && !strings.Contains(text, "| `kagimori "+strings.Join(path, " ")) {
			t.Errorf("operations.md does not list kagimori %s", strings.Join(path, " "))
		}
		_, list, _ := strings.Cut(help, "\nCommands:\n")
		list, _, _ = strings.Cut(list, "\n\n")
		for line := range strings.Lines(list) {
			walk(append(slices.Clone(path), strings.Fields(line)[0]))
		}
	}
	walk(nil)
}

func TestOperationsNamesTheMetrics(t *testing.T) {
	res, err := http.Get(kagimoritest.Start(t).Endpoint + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 4 && f[1] == "TYPE" && strings.HasPrefix(f[2], "kagimori_") {
			served = append(served, f[2])
		}
	}
	text := read(t, "operations.md")
	for _, name := range regexp.MustCompile(`\bkagimori_\w+`).FindAllString(text, -1) {
		if !slices.Contains(served, name) {
			t.Errorf("operations.md names the metric %s; the server has %q", name, served)
		}
	}
	for _, name := range served {
		if !strings.Contains(text, "| `"+name) {
			t.Errorf("operations.md does not list the metric %s", name)
		}
	}
}
