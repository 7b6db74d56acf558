package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/policy/lint"
)

func policyCommand() *cli.Command {
	return &cli.Command{
		Name: "policy", Summary: "Work with policies",
		Commands: []*cli.Command{policyLint()},
	}
}

// errFindings makes lint exit with a status of its own kind, for CI.
var errFindings = errors.New("the policy has findings")

func policyLint() *cli.Command {
	var kind string
	var asJSON bool
	return &cli.Command{
		Name: "lint", Args: "FILE|KEY", Summary: "Find what is unwise or without effect in a policy",
		Doc: "FILE is a policy document. KEY is a key id or ARN: its key policy is read from the server that\n" +
			"AWS_ENDPOINT_URL names, with your AWS credentials. The exit status is 1 if anything is found.",
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&kind, "kind", "", "`KIND` of policy: key, identity or trust; by default, key if it names principals")
			fs.BoolVar(&asJSON, "json", false, "print the findings as JSON")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			text, err := readPolicy(ctx, env, args[0])
			if err != nil {
				return err
			}
			parsed, err := parsePolicy(kind, args[0], text)
			if err != nil {
				return err
			}
			findings := lint.Check(parsed)
			if err := writeFindings(env, args[0], findings, asJSON); err != nil || len(findings) == 0 {
				return err
			}
			return errFindings
		},
	}
}

// readPolicy reads a file, or else the policy of a key.
func readPolicy(ctx context.Context, env *cli.Env, from string) (string, error) {
	text, err := os.ReadFile(from)
	if err == nil {
		return string(text), nil
	}
	if strings.ContainsAny(from, "./") && !strings.HasPrefix(from, "arn:") {
		return "", err
	}
	region, _ := keyARNParts(from)
	cfg, err := clientConfig(ctx, env, region)
	if err != nil {
		return "", err
	}
	out, err := kms.NewFromConfig(cfg).GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &from})
	if err != nil {
		return "", fmt.Errorf("%s is no file, and its key policy cannot be read: %w", from, err)
	}
	return *out.Policy, nil
}

var policyKinds = map[string]policy.Kind{"key": policy.Key, "identity": policy.Identity, "trust": policy.Trust}

func parsePolicy(kind, name, text string) (*policy.Document, error) {
	if kind == "" {
		kind = "identity"
		if strings.Contains(text, `"Principal"`) || strings.Contains(text, `"NotPrincipal"`) {
			kind = "key"
			if strings.Contains(text, "sts:AssumeRole") {
				kind = "trust"
			}
		}
	}
	k, ok := policyKinds[kind]
	if !ok {
		return nil, cli.Usagef("--kind %s is none of key, identity and trust", kind)
	}
	doc, err := policy.Parse(k, name, text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid %s policy: %w", name, kind, err)
	}
	return doc, nil
}

// writeJSON writes v for people and programs alike.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func writeFindings(env *cli.Env, name string, findings []lint.Finding, asJSON bool) error {
	var b bytes.Buffer
	if asJSON {
		if err := writeJSON(&b, findings); err != nil {
			return err
		}
	} else {
		if len(findings) == 0 {
			fmt.Fprintf(&b, "%s: nothing found\n", name)
		}
		for _, f := range findings {
			at := "the policy"
			if f.Statement > 0 {
				at = fmt.Sprintf("line %d, statement %d", f.Line, f.Statement)
			}
			if f.Sid != "" {
				at += fmt.Sprintf(" (%q)", f.Sid)
			}
			fmt.Fprintf(&b, "%s: %s\n  %s\n  Fix: %s\n\n", at, f.Rule, f.Reason, f.Fix)
		}
	}
	_, err := env.Stdout.Write(b.Bytes())
	return err
}
