package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/policy/lint"
	"github.com/kagimori/kagimori/kagimoritest"
)

const (
	defaultStatement = `{"Sid":"Root","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`
	toApp            = `"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/app"}`
)

// TestPolicyLint lints files: what it finds, how it says so, and its exit status.
func TestPolicyLint(t *testing.T) {
	fine := write(t, "fine.json", document(defaultStatement))
	if out := succeed(t, "policy", "lint", fine); out != fine+": nothing found\n" {
		t.Errorf("a sound policy: %q", out)
	}
	if out := succeed(t, "policy", "lint", "--json", fine); out != "[]\n" {
		t.Errorf("a sound policy as JSON: %q", out)
	}

	wide := write(t, "wide.json", `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Root", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kms:*", "Resource": "*"},
    {"Sid": "Everyone", "Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"},
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/app"}, "Action": "kms:Decrpyt", "Resource": "*"}
  ]
}`)
	fail(t, cli.StatusFailure, []string{"the policy has findings"}, "policy", "lint", wide)
	contains(t, run("policy", "lint", wide).out,
		`line 5, statement 2 ("Everyone"): wildcard-principal`+"\n", "\n  Fix: ", "\n\n",
		"line 6, statement 3: no-effect\n", "line 6, statement 3: unknown-action\n", "KMS has no action kms:Decrpyt.", "\n  Fix: Correct its spelling")

	r := run("policy", "lint", wide, "--json")
	var findings []lint.Finding
	if err := json.Unmarshal([]byte(r.out), &findings); err != nil || r.status != cli.StatusFailure {
		t.Fatalf("as JSON: exit status %d, %v\n%s", r.status, err, r.out)
	}
	if len(findings) != 3 || findings[0].Rule != "wildcard-principal" || findings[0].Statement != 2 || findings[0].Sid != "Everyone" || findings[0].Line != 5 || findings[0].Reason == "" || findings[0].Fix == "" {
		t.Errorf("as JSON: %s", r.out)
	}

	// What is about the policy as a whole has no line.
	empty := write(t, "empty.json", `{"Version":"2012-10-17","Statement":[]}`)
	fail(t, cli.StatusFailure, []string{"the policy has findings"}, "policy", "lint", "--kind", "key", empty)
	if out := run("policy", "lint", "--kind", "key", empty).out; !strings.HasPrefix(out, "the policy: lockout\n") {
		t.Errorf("a policy that locks out: %q", out)
	}
}

// TestPolicyLintRules has every rule, as the command names it.
func TestPolicyLintRules(t *testing.T) {
	rules := map[string]string{
		"no-effect":              document(defaultStatement + `,{` + toApp + `,"Resource":"*"}`),
		"unknown-action":         document(defaultStatement + `,{` + toApp + `,"Action":["kms:Sign","kms:Sing"],"Resource":"*"}`),
		"not-a-key-action":       document(defaultStatement + `,{` + toApp + `,"Action":"kms:ListKeys","Resource":"*"}`),
		"alias-resource":         document(`{"Effect":"Allow","Action":"kms:Sign","Resource":"arn:aws:kms:*:111122223333:alias/a"}`),
		"everything":             document(`{"Effect":"Allow","Action":"*","Resource":"*"}`),
		"administration-and-use": document(defaultStatement + `,{` + toApp + `,"Action":["kms:DisableKey","kms:Sign"],"Resource":"*"}`),
		"encrypt-and-decrypt":    document(defaultStatement + `,{` + toApp + `,"Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"}`),
		"wildcard-principal":     document(defaultStatement + `,{"Effect":"Allow","Principal":"*","Action":"kms:Sign","Resource":"*"}`),
		"not-principal":          document(defaultStatement + `,{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:user/a"},"Action":"kms:Sign","Resource":"*"}`),
		"not-action":             document(defaultStatement + `,{` + toApp + `,"NotAction":"kms:Sign","Resource":"*"}`),
		"no-mfa":                 document(defaultStatement + `,{` + toApp + `,"Action":"kms:ScheduleKeyDeletion","Resource":"*"}`),
		"if-exists-in-allow":     document(defaultStatement + `,{` + toApp + `,"Action":"kms:Sign","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}}}`),
		"for-all-values":         document(defaultStatement + `,{` + toApp + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":"a"}}}`),
		"set-operator":           document(defaultStatement + `,{` + toApp + `,"Action":"kms:CreateGrant","Resource":"*","Condition":{"StringEquals":{"kms:GrantOperations":"Decrypt"}}}`),
		"unknown-condition-key":  document(defaultStatement + `,{` + toApp + `,"Action":"kms:Sign","Resource":"*","Condition":{"StringEquals":{"kms:ViaSevice":"a"}}}`),
		"wildcard-in-value":      document(defaultStatement + `,{` + toApp + `,"Action":"kms:Sign","Resource":"*","Condition":{"StringLike":{"aws:PrincipalOrgID":"o-*"}}}`),
		"lockout":                document(`{` + toApp + `,"Action":"kms:Sign","Resource":"*"}`),
	}
	for rule, text := range rules {
		r := run("policy", "lint", write(t, "policy.json", text))
		if r.status != cli.StatusFailure || !strings.Contains(r.out, ": "+rule+"\n") {
			t.Errorf("%s is not found, exit status %d:\n%s\n%s", rule, r.status, text, r.out)
		}
	}
}

// TestPolicyLintKinds: the kind is told by the document unless a flag tells.
func TestPolicyLintKinds(t *testing.T) {
	identity := `{"Effect":"Allow","Action":"kms:Sign","Resource":"*"}`
	trust := `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}`
	for _, c := range []struct {
		kind, text string
		err        string // nothing: it is sound
	}{
		{"", defaultStatement, ""},
		{"", identity, ""},
		{"", trust, ""},
		{"key", defaultStatement, ""},
		{"identity", identity, ""},
		{"trust", trust, ""},
		{"identity", defaultStatement, "is not a valid identity policy: line 1, column"},
		{"key", identity, "is not a valid key policy: line 1, column"},
		{"trust", defaultStatement, "is not a valid trust policy: line 1, column"},
		{"trust", identity, "is not a valid trust policy: line 1, column"},
	} {
		args := []string{"policy", "lint", write(t, "policy.json", document(c.text))}
		if c.kind != "" {
			args = append(args, "--kind", c.kind)
		}
		if c.err == "" {
			if out := succeed(t, args...); !strings.HasSuffix(out, ": nothing found\n") {
				t.Errorf("%s as %q: %s", c.text, c.kind, out)
			}
			continue
		}
		fail(t, cli.StatusFailure, []string{args[2] + " " + c.err}, args...)
	}
}

// TestPolicyLintErrors: what cannot be linted is told with its place.
func TestPolicyLintErrors(t *testing.T) {
	broken := write(t, "broken.json", "{\n \"Version\": \"2012-10-17\",\n \"Statement\": [{\"Effect\": \"allow\"}]\n}")
	fail(t, cli.StatusFailure, []string{broken + " is not a valid identity policy: line 3, column 27, Statement[0].Effect: Effect must be Allow or Deny"}, "policy", "lint", broken)
	fail(t, cli.StatusFailure, []string{"line 1, column 1", "ends too early"}, "policy", "lint", write(t, "empty.json", ""))
	fail(t, cli.StatusFailure, []string{"line 1", "not JSON"}, "policy", "lint", write(t, "yaml.json", "Version: 2012-10-17\n"))
	missing := filepath.Join(t.TempDir(), "missing.json")
	fail(t, cli.StatusFailure, []string{missing, "no such file"}, "policy", "lint", missing)
	for args, words := range map[string][]string{
		"policy":                                {"lint"},
		"policy lint":                           {"needs FILE|KEY"},
		"policy lint a b":                       {`"b"`},
		"policy lint a --jsn":                   {"--jsn", "--json"},
		"policy lint --kind nonsense " + broken: {"--kind nonsense", "key, identity and trust"},
	} {
		fail(t, cli.StatusUsage, append(words, "kagimori help"), strings.Fields(args)...)
	}
}

// client is a server, and what runs commands that call it.
func client(t *testing.T) (*kagimoritest.Server, func(args ...string) result) {
	t.Helper()
	srv := kagimoritest.Start(t)
	srv.Advance(time.Since(srv.Now())) // commands sign with the machine's time
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": srv.AccessKeyID, "AWS_SECRET_ACCESS_KEY": srv.SecretAccessKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_ENDPOINT_URL": srv.Endpoint, "AWS_REGION": region,
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	return srv, func(args ...string) result {
		var out, errs bytes.Buffer
		env := environment()
		env.Getenv, env.Stdout, env.Stderr = os.Getenv, &out, &errs
		status := cli.Main(t.Context(), program(), env, args)
		return result{status, out.String(), errs.String()}
	}
}

// TestPolicyLintKey lints the policy that a key has on a server.
func TestPolicyLintKey(t *testing.T) {
	srv, run := client(t)
	lintKey := func(args ...string) result { return run(append([]string{"policy", "lint"}, args...)...) }
	arn := newKey(t, srv.Root())
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	for _, key := range []string{arn, id} {
		if r := lintKey(key); r.status != cli.StatusOK || r.out != key+": nothing found\n" {
			t.Errorf("the default policy: %+v", r)
		}
	}
	_, err := srv.Root().KMS(region).PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &id, Policy: aws.String(document(
		`{"Sid":"Root","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + srv.Account + `:root"},"Action":"kms:*","Resource":"*"},
		{"Sid":"Everyone","Effect":"Allow","Principal":"*","Action":"kms:Sign","Resource":"*"}`))})
	must(t, err)
	for _, key := range []string{arn, id} {
		if r := lintKey(key); r.status != cli.StatusFailure || !strings.Contains(r.out, `statement 2 ("Everyone"): wildcard-principal`) || !strings.Contains(r.err, "the policy has findings") {
			t.Errorf("the policy of %s: %+v", key, r)
		}
	}
	// An ARN says in which Region, whatever the environment says.
	t.Setenv("AWS_REGION", "us-east-1")
	if r := lintKey(arn); !strings.Contains(r.out, "wildcard-principal") {
		t.Errorf("a key of another Region: %+v", r)
	}
	unreadable := func(key string, words ...string) {
		t.Helper()
		r := lintKey(key)
		words = append(words, key+" is no file, and its key policy cannot be read")
		if r.status != cli.StatusFailure || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r.err, w) }) {
			t.Errorf("%+v lacks one of %q", r, words)
		}
	}
	unreadable(id, "NotFoundException")
	unreadable("policy", "NotFoundException") // as if a file were meant
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	unreadable(arn)
	srv.Stop()
	unreadable(arn, "connection refused")
}
