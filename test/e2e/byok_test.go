package e2e

import (
	"fmt"
	"os"
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

// walk runs a document's commands, which its Japanese page has, too. The program is in
// their PATH and its data folder in DATA.
func walk(t *testing.T, s *server, doc string) {
	t.Helper()
	english, japanese := walkthrough(t, "../../docs/"+doc+".md"), walkthrough(t, "../../docs/"+doc+".ja.md")
	if english != japanese {
		t.Errorf("docs/%s.md and docs/%s.ja.md have not the same commands", doc, doc)
	}
	work := t.TempDir()
	cmd := command(t, s, work, "bash", "-c", `PATH=$PROGRAM:$PATH`+"\n"+english)
	cmd.Env = append(cmd.Env, "PROGRAM="+filepath.Dir(binary(t, released)), "HOME="+work, "DATA="+s.dir, "AWS_PAGER=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docs/%s.md: %v\n%s", doc, err, out)
	}
}

// TestBringYourOwnKey is docs/byok.md, command by command, with the AWS CLI.
func TestBringYourOwnKey(t *testing.T) {
	skipWithout(t, "python")
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{})
	defer s.stop(t)
	walk(t, s, "byok")
}
