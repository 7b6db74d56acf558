package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// codeBlock is a block of code in a document, with its language.
var codeBlock = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// walkthrough makes a script of a document's blocks, in which those of bash must
// work, and those of sh must fail with what the text block after them says.
func walkthrough(t *testing.T, doc string) string {
	t.Helper()
	text, err := os.ReadFile(doc)
	check(t, err)
	script := "set -euxo pipefail\nrefused() { if out=$(eval \"$1\" 2>&1); then echo \"this worked: $1\"; exit 1; fi; grep -qF \"$2\" <<<\"$out\" || { echo \"$1: $out\"; exit 1; }; }\n"
	var refused string
	for _, b := range codeBlock.FindAllStringSubmatch(string(text), -1) {
		switch language, code := b[1], b[2]; language {
		case "bash":
			script += code
		case "sh":
			refused = strings.TrimSpace(code)
		case "text":
			script += fmt.Sprintf("refused %s %s\n", quote(refused), quote(strings.TrimSpace(code)))
			refused = ""
		default:
			t.Fatalf("%s: a block of %s", doc, language)
		}
	}
	if refused != "" {
		t.Fatalf("%s does not say how this fails: %s", doc, refused)
	}
	return script
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// TestBringYourOwnKey is docs/byok.md, command by command, with the AWS CLI. The
// Japanese page has the same commands.
func TestBringYourOwnKey(t *testing.T) {
	english, japanese := walkthrough(t, "../../docs/byok.md"), walkthrough(t, "../../docs/byok.ja.md")
	if english != japanese {
		t.Error("docs/byok.md and docs/byok.ja.md have not the same commands")
	}
	skipWithout(t, "python")
	dir, work := filepath.Join(t.TempDir(), "data"), t.TempDir()
	s := serve(t, dir, setup{})
	defer s.stop(t)
	python := filepath.Join(tools(t), "python", "bin")
	cmd := exec.Command("bash", "-c", english)
	cmd.Dir = work
	cmd.Env = append(environment(t), s.pasted...)
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(binary(t, released))+":"+python+":"+os.Getenv("PATH"), "HOME="+work, "DATA="+dir, "AWS_PAGER=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
