package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/config"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/policy"
)

func explainCommand() *cli.Command {
	var flags config.Flags
	var asJSON bool
	return &cli.Command{
		Name: "explain", Args: "REQUEST-ID", Summary: "Tell how a denial came about, from the audit journal",
		Doc: "REQUEST-ID is in every answer: the header x-amzn-RequestId, RequestId in the error of an SDK.\n" +
			"It prints which statement of which policy matched, or on what each one failed.",
		Flags: func(fs *flag.FlagSet) {
			flags.Register(fs, "data")
			fs.BoolVar(&asJSON, "json", false, "print the derivations as JSON, one a line")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			cfg, err := flags.Load(env.Getenv)
			if err != nil {
				return err
			}
			dir, err := journalDir(cfg.Data)
			if err != nil {
				return err
			}
			calls, err := findCall(ctx, dir, args[0])
			if err != nil {
				return err
			}
			if len(calls) == 0 {
				return fmt.Errorf("there is no call with the request id %s in the journal of %s", args[0], cfg.Data)
			}
			return explainCalls(env.Stdout, calls, asJSON)
		},
	}
}

// explainedCall is what explain reads in an audit record.
type explainedCall struct {
	EventTime    string
	EventSource  string
	EventName    string
	ErrorCode    string
	ErrorMessage string
	RequestID    string
	Recipient    string `json:"recipientAccountId"`

	Authorization []json.RawMessage
}

// findCall reads the records of a call: one for each account that has it.
func findCall(ctx context.Context, dir, requestID string) (calls []explainedCall, err error) {
	err = findRecords(ctx, dir, requestID, func(e journal.Entry) bool {
		var c explainedCall
		if json.Unmarshal(e.Record, &c) == nil && c.RequestID == requestID {
			calls = append(calls, c)
		}
		return true
	})
	return calls, err
}

func explainCalls(w io.Writer, calls []explainedCall, asJSON bool) error {
	var b bytes.Buffer
	if !asJSON {
		c := calls[0]
		fmt.Fprintf(&b, "%s of %s at %s\n", c.EventName, strings.TrimSuffix(c.EventSource, ".amazonaws.com"), c.EventTime)
		if c.ErrorCode == "" {
			b.WriteString("It was allowed, and succeeded.\n")
		} else {
			fmt.Fprintf(&b, "%s: %s\n", c.ErrorCode, c.ErrorMessage)
		}
	}
	explained := false
	for _, c := range calls {
		for _, raw := range c.Authorization {
			explained = true
			if asJSON {
				b.Write(append(raw, '\n'))
				continue
			}
			var d policy.Derivation
			if err := json.Unmarshal(raw, &d); err != nil {
				return fmt.Errorf("the derivation in the record: %w", err)
			}
			fmt.Fprintf(&b, "\nFor account %s:\n", c.Recipient)
			writeDerivation(&b, &d)
		}
	}
	if !explained {
		if calls[0].ErrorCode != "" && !asJSON {
			b.WriteString("It failed for another reason than authorization, or on a resource that does not exist.\n")
		} else if asJSON {
			return errors.New("the call was not denied")
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// writeDerivation prints a derivation for people.
func writeDerivation(b *bytes.Buffer, d *policy.Derivation) {
	fmt.Fprintf(b, "  %s\n  may %s on %s?\n  %s\n", d.Principal, d.Action, d.Resource, d.Decision)
	for _, doc := range d.Documents {
		fmt.Fprintf(b, "\n  %s (%s) %s\n", doc.Name, doc.Layer, doc.Outcome)
		for _, s := range doc.Statements {
			name := fmt.Sprintf("statement %d", s.Index+1)
			if s.Sid != "" {
				name += fmt.Sprintf(" %q", s.Sid)
			}
			if s.Matched {
				fmt.Fprintf(b, "    %s, %s: matched\n", name, s.Effect)
			} else {
				fmt.Fprintf(b, "    %s, %s: did not match: %s\n", name, s.Effect, s.Failed+why(s.Why))
			}
			for _, c := range s.Conditions {
				holds := "holds"
				if !c.Holds {
					holds = "does not hold"
				}
				request := "absent"
				if c.Request != nil {
					request = strings.Join(quoted(c.Request), ", ")
				}
				fmt.Fprintf(b, "      %s %s: %s; in the request: %s; %s\n", c.Operator, c.Key, strings.Join(quoted(c.Policy), " or "), request, holds)
			}
		}
	}
	for _, g := range d.Grants {
		fmt.Fprintf(b, "\n  grant %s: %s\n", g.ID, g.Why)
	}
	for _, n := range d.Notes {
		fmt.Fprintf(b, "\n  %s\n", n)
	}
}

func why(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", s)
	}
	return out
}
