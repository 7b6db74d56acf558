package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/config"
	"github.com/kagimori/kagimori/internal/journal"
)

// usageRow is how often keys were used in one way.
type usageRow struct {
	way
	Calls   int     // that succeeded
	Dollars float64 `json:",omitempty"` // what AWS asks for them
}

// way is what is told apart; what is not is empty.
type way struct {
	Key       string `json:",omitempty"` // ARN; none for calls that are about no key
	Principal string `json:",omitempty"` // ARN, of a session that of its role; or a service
	Operation string `json:",omitempty"`
}

// price is what AWS asks for ten thousand requests of a kind, in dollars, beyond those of the
// free tier.
// https://aws.amazon.com/kms/pricing/ (us-east-1; as of 2026)
type price float64

const (
	simple     price = 0.03 // also what involves RSA_2048 keys
	asymmetric price = 0.15
	eccKeyPair price = 0.10
	rsaKeyPair price = 12
)

// priceOf is the price of a call.
func (r *usedCall) priceOf(spec string) price {
	if strings.HasPrefix(r.EventName, "GenerateDataKeyPair") {
		if strings.HasPrefix(r.RequestParameters.KeyPairSpec, "RSA_") {
			return rsaKeyPair
		}
		return eccKeyPair
	}
	if spec == "" || spec == "SYMMETRIC_DEFAULT" || spec == "RSA_2048" || strings.HasPrefix(spec, "HMAC_") {
		return simple
	}
	return asymmetric
}

// usedCall is what usage reads in an audit record.
type usedCall struct {
	EventTime    time.Time
	EventSource  string
	EventName    string
	ErrorCode    string
	EventType    string
	UserIdentity struct {
		Type, ARN, InvokedBy string
		SessionContext       struct{ SessionIssuer struct{ ARN string } }
	}
	RequestParameters struct{ KeyPairSpec string }
	ResponseElements  struct {
		KeyMetadata, ReplicaKeyMetadata struct {
			ARN     string `json:"arn"`
			KeySpec string
		}
	}
	Resources []struct{ ARN string }
}

func (r *usedCall) principal() string {
	return cmp.Or(r.UserIdentity.SessionContext.SessionIssuer.ARN, r.UserIdentity.ARN, r.UserIdentity.InvokedBy)
}

// key is the key that a call used. ReEncrypt uses two; its source counts.
func (r *usedCall) key() string {
	for _, res := range r.Resources {
		if strings.Contains(res.ARN, ":key/") {
			return res.ARN
		}
	}
	return ""
}

func usageCommand() *cli.Command {
	var flags config.Flags
	var since, until, by string
	var costs, asJSON bool
	return &cli.Command{
		Name: "usage", Summary: "Tell how often keys were used, by whom and for what",
		Doc: "It counts the calls of KMS that succeeded, from the audit journal. A call across accounts counts once.\n" +
			"With --cost it adds what AWS would ask for the requests, by the prices of us-east-1 in 2026 and without\n" +
			"its free tier; on AWS each key costs a dollar a month besides. A key whose creation is not in the journal\n" +
			"any more is taken for a symmetric one.",
		Flags: func(fs *flag.FlagSet) {
			flags.Register(fs, "data")
			fs.StringVar(&since, "since", "", "`TIME` of the first calls to count: 2026-11-01 or 2026-11-01T12:00:00Z")
			fs.StringVar(&until, "until", "", "`TIME` until which to count")
			fs.StringVar(&by, "by", "key,principal,operation", "what to tell apart: `WORDS` of key, principal and operation, with commas between")
			fs.BoolVar(&costs, "cost", false, "add what AWS would ask for it")
			fs.BoolVar(&asJSON, "json", false, "print JSON")
		},
		Run: func(ctx context.Context, env *cli.Env, _ []string) error {
			cfg, err := flags.Load(env.Getenv)
			if err != nil {
				return err
			}
			u := usage{rows: map[way]*usageRow{}, specs: map[string]string{}}
			if u.from, err = moment(since); err != nil {
				return cli.Usagef("--since: %w", err)
			}
			if u.to, err = moment(until); err != nil {
				return cli.Usagef("--until: %w", err)
			}
			if u.by = split(by); len(u.by) == 0 || slices.ContainsFunc(u.by, func(w string) bool { return !slices.Contains([]string{"key", "principal", "operation"}, w) }) {
				return cli.Usagef("--by takes key, principal and operation, with commas between, not %q", by)
			}
			dir, err := journalDir(cfg.Data)
			if err != nil {
				return err
			}
			if err := findRecords(ctx, dir, `"eventSource":"kms.amazonaws.com"`, u.count); err != nil {
				return err
			}
			return u.write(env, costs, asJSON)
		},
	}
}

// moment reads a time in UTC, or a day; the zero time for "".
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		err = fmt.Errorf("%q is no time such as 2026-11-01 or 2026-11-01T12:00:00Z", text)
	}
	return t, err
}

// usage counts calls.
type usage struct {
	from, to time.Time // zero for no limit
	by       []string
	rows     map[way]*usageRow
	specs    map[string]string // of keys by ARN, as far as their creation was seen
}

func (u *usage) count(e journal.Entry) bool {
	var r usedCall
	if json.Unmarshal(e.Record, &r) != nil || r.EventType != "AwsApiCall" || r.ErrorCode != "" || r.EventSource != "kms.amazonaws.com" {
		return true
	}
	// What the service did in another Region was no call.
	if r.UserIdentity.InvokedBy == "AWS Internal" || r.UserIdentity.InvokedBy == "kms.amazonaws.com" {
		return true
	}
	for _, made := range []struct{ arn, spec string }{
		{r.ResponseElements.KeyMetadata.ARN, r.ResponseElements.KeyMetadata.KeySpec},
		{r.ResponseElements.ReplicaKeyMetadata.ARN, r.ResponseElements.ReplicaKeyMetadata.KeySpec},
	} {
		if made.arn != "" {
			u.specs[made.arn] = made.spec
		}
	}
	if r.UserIdentity.Type == "AWSAccount" { // the other account has the caller's record
		return true
	}
	if !u.from.IsZero() && r.EventTime.Before(u.from) || !u.to.IsZero() && !r.EventTime.Before(u.to) {
		return true
	}
	var w way
	for _, word := range u.by {
		switch word {
		case "key":
			w.Key = r.key()
		case "principal":
			w.Principal = r.principal()
		case "operation":
			w.Operation = r.EventName
		}
	}
	row := u.rows[w]
	if row == nil {
		row = &usageRow{way: w}
		u.rows[w] = row
	}
	row.Calls++
	row.Dollars += float64(r.priceOf(u.specs[r.key()])) / 10_000
	return true
}

// write prints the rows, those with the most calls first.
func (u *usage) write(env *cli.Env, costs, asJSON bool) error {
	rows := []*usageRow{}
	for _, r := range u.rows {
		if !costs {
			r.Dollars = 0
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *usageRow) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Key, b.Key), strings.Compare(a.Principal, b.Principal), strings.Compare(a.Operation, b.Operation))
	})
	if asJSON {
		return writeJSON(env.Stdout, rows)
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(calls, dollars string, cells map[string]string) {
		fmt.Fprint(w, calls)
		if costs {
			fmt.Fprint(w, "\t", dollars)
		}
		for _, word := range u.by {
			fmt.Fprint(w, "\t", cmp.Or(cells[word], "-"))
		}
		fmt.Fprintln(w)
	}
	calls, dollars := 0, 0.0
	line("calls", "on AWS", map[string]string{"key": "key", "principal": "principal", "operation": "operation"})
	for _, r := range rows {
		line(fmt.Sprint(r.Calls), fmt.Sprintf("$%.4f", r.Dollars), map[string]string{"key": r.Key, "principal": r.Principal, "operation": r.Operation})
		calls, dollars = calls+r.Calls, dollars+r.Dollars
	}
	line(fmt.Sprint(calls), fmt.Sprintf("$%.4f", dollars), map[string]string{u.by[0]: "in all"})
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := env.Stdout.Write(b.Bytes())
	return err
}
