package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/cli"
)

// TestPolicyLint lints files: what it finds, how it says so, and its exit status.
func TestPolicyLint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	fine := write("fine.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`)
	if out := succeed(t, "policy", "lint", fine); out != fine+": nothing found\n" {
		t.Errorf("a sound policy: %q", out)
	}
	wide := write("wide.json", `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Root", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kms:*", "Resource": "*"},
    {"Sid": "Everyone", "Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
  ]
}`)
	fail(t, cli.StatusFailure, []string{"the policy has findings"}, "policy", "lint", wide)
	out := run("policy", "lint", wide).out
	for _, part := range []string{"line 5", `"Everyone"`, "Fix: "} {
		if !strings.Contains(out, part) {
			t.Errorf("the findings lack %q:\n%s", part, out)
		}
	}
	out = run("policy", "lint", "--json", wide).out
	var findings []map[string]any
	if err := json.Unmarshal([]byte(out), &findings); err != nil || len(findings) == 0 {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
	broken := write("broken.json", "{\n \"Version\": \"2012-10-17\",\n \"Statement\": [{\"Effect\": \"allow\"}]\n}")
	fail(t, cli.StatusFailure, []string{"broken.json is not a valid identity policy", "line 3", "Statement[0].Effect"}, "policy", "lint", broken)
	fail(t, cli.StatusUsage, []string{"--kind nonsense"}, "policy", "lint", "--kind", "nonsense", fine)
	fail(t, cli.StatusFailure, []string{"missing.json"}, "policy", "lint", filepath.Join(dir, "missing.json"))
}
