package events

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// targetPrefix is what the ARNs of targets begin with. KIND/NAME follows.
const targetPrefix = "arn:aws:kagimori:::"

// The kinds of targets.
const (
	webhookKind  = "webhook"
	commandKind  = "command"
	responseKind = "response"
)

// TargetARN is the ARN of the target of a kind (webhook, command or response) and name.
func TargetARN(kind, name string) string { return targetPrefix + kind + "/" + name }

// TargetID is an id for the target of an ARN: its kind and name, webhook-pager for one.
func TargetID(arn string) string {
	return strings.ReplaceAll(strings.TrimPrefix(arn, targetPrefix), "/", "-")
}

// parseTarget is the inverse of TargetARN.
func parseTarget(arn string) (kind, name string, ok bool) {
	rest, ok := strings.CutPrefix(arn, targetPrefix)
	kind, name, cut := strings.Cut(rest, "/")
	return kind, name, ok && cut
}

// Targets are the webhooks and commands that the operator lets rules have as targets: the
// content of the file of the setting event-targets.
type Targets struct {
	Webhooks map[string]*Webhook `json:"webhooks"`
	Commands map[string]*Command `json:"commands"`
}

// Webhook is where events are sent with HTTP POST.
type Webhook struct {
	// URL is https, or http for this machine. It may be a secret.
	URL string `json:"url"`
	// Headers are sent along.
	Headers map[string]string `json:"headers"`
	// CA is a file of certificates, in PEM, of which one must have signed the server's. Else
	// the system's are trusted.
	CA string `json:"ca"`
	// Accounts may have it as a target; all may if there are none.
	Accounts []string `json:"accounts"`

	client *http.Client
}

// Command is a program that is run with an event as its standard input.
type Command struct {
	// Run is the program's file and its arguments. No shell reads them.
	Run []string `json:"run"`
	// Timeout is how long it may take, 30s if it is empty.
	Timeout  string   `json:"timeout"`
	Accounts []string `json:"accounts"`

	timeout time.Duration
}

var (
	targetName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	accountForm = regexp.MustCompile(`^\d{12}$`)

	// https://www.rfc-editor.org/rfc/rfc9110#section-5.5
	headerName  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	headerValue = regexp.MustCompile(`^[\t\x20-\x7E\x{80}-\x{10FFFF}]*$`)
)

// LoadTargets reads a file of targets. No file has none.
func LoadTargets(file string) (*Targets, error) {
	t := new(Targets)
	if file == "" {
		return t, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if t, err = parseTargets(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

func parseTargets(text []byte) (*Targets, error) {
	t := new(Targets)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(t); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the JSON object")
	}
	for name, w := range t.Webhooks {
		if err := cmp.Or(checkTarget(name, w == nil), w.open()); err != nil {
			return nil, fmt.Errorf("webhook %q: %w", name, err)
		}
	}
	for name, c := range t.Commands {
		if err := cmp.Or(checkTarget(name, c == nil), c.open()); err != nil {
			return nil, fmt.Errorf("command %q: %w", name, err)
		}
	}
	return t, nil
}

func checkTarget(name string, empty bool) error {
	switch {
	case !targetName.MatchString(name):
		return errors.New("a name is of up to 64 letters, digits, periods, underscores and dashes")
	case empty:
		return errors.New("it must not be null")
	}
	return nil
}

func checkAccounts(accounts []string) error {
	for _, a := range accounts {
		if !accountForm.MatchString(a) {
			return fmt.Errorf("accounts: %q is no account id of 12 digits", a)
		}
	}
	return nil
}

// own are headers that a webhook has of this server.
var own = []string{"Content-Type", "Content-Length", "Host", "User-Agent", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}

func (w *Webhook) open() error {
	if w == nil {
		return nil
	}
	u, err := url.Parse(w.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return errors.New("url: it is not a URL such as https://hooks.example.com/kms")
	case u.Scheme == "http" && !loopback(u.Hostname()), u.Scheme != "http" && u.Scheme != "https":
		return errors.New("url: it must begin with https://")
	}
	for name := range w.Headers {
		if slices.Contains(own, http.CanonicalHeaderKey(name)) {
			return fmt.Errorf("headers: %s is set by the server", name)
		}
		if !headerName.MatchString(name) || !headerValue.MatchString(w.Headers[name]) {
			return fmt.Errorf("headers: %q is no header, or its value is none", name)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = parallel
	if w.CA != "" {
		pem, err := os.ReadFile(w.CA)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s has no certificates in PEM", w.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	w.client = &http.Client{Transport: transport, Timeout: webhookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return checkAccounts(w.Accounts)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *Command) open() (err error) {
	if c == nil {
		return nil
	}
	if len(c.Run) == 0 || !strings.HasPrefix(c.Run[0], "/") {
		return errors.New("run: it must be a list that begins with the absolute path of a program")
	}
	if info, err := os.Stat(c.Run[0]); err != nil {
		return fmt.Errorf("run: %w", err)
	} else if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("run: %s is not a program that can be run", c.Run[0])
	}
	if c.timeout, err = time.ParseDuration(cmp.Or(c.Timeout, "30s")); err != nil || c.timeout <= 0 {
		return errors.New("timeout: it is not a duration such as 30s")
	}
	return checkAccounts(c.Accounts)
}

// target is what can be delivered to.
type target interface {
	// send makes an attempt. Its error can be permanent.
	send(ctx context.Context, s *Service, a *attempt) error
}

// permanent is an error after which it makes no sense to try again.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// hidden is an error of which accounts are told less than the operator.
type hidden struct {
	says  string
	cause error
}

func (h hidden) Error() string { return h.says }

// find is the target of an ARN for an account. The error is for callers.
func (t *Targets) find(arn, account string) (target, error) {
	kind, name, ok := parseTarget(arn)
	var found target
	var accounts, names []string
	switch {
	case !ok:
		return nil, fmt.Errorf("Target %s is not of a kind that there is here: %swebhook/NAME, %[2]scommand/NAME or %[2]sresponse/NAME", arn, targetPrefix)
	case kind == webhookKind:
		names = slices.Sorted(maps.Keys(t.Webhooks))
		if w := t.Webhooks[name]; w != nil {
			found, accounts = w, w.Accounts
		}
	case kind == commandKind:
		names = slices.Sorted(maps.Keys(t.Commands))
		if c := t.Commands[name]; c != nil {
			found, accounts = c, c.Accounts
		}
	case kind == responseKind:
		names = slices.Sorted(maps.Keys(responses))
		if r := responses[name]; r != nil {
			found = r
		}
	}
	if found != nil && (accounts == nil || slices.Contains(accounts, account)) {
		return found, nil
	}
	if kind != responseKind {
		return nil, fmt.Errorf("There is no %s %s for this account. The operator of the server names webhooks and commands in the file of its setting event-targets", kind, name)
	}
	return nil, fmt.Errorf("There is no response %s. There are %s", name, strings.Join(names, ", "))
}

// checkNew holds a target of a request against what there is.
func (s *Service) checkNew(call *api.Call, t *types.Target) error {
	found, err := s.Targets.find(*t.Arn, call.Caller.Account)
	if err != nil {
		return invalid("%v.", err)
	}
	for _, other := range []struct {
		name  string
		given bool
	}{
		{"AppSyncParameters", t.AppSyncParameters != nil}, {"BatchParameters", t.BatchParameters != nil}, {"EcsParameters", t.EcsParameters != nil},
		{"HttpParameters", t.HttpParameters != nil}, {"KinesisParameters", t.KinesisParameters != nil}, {"RedshiftDataParameters", t.RedshiftDataParameters != nil},
		{"RunCommandParameters", t.RunCommandParameters != nil}, {"SageMakerPipelineParameters", t.SageMakerPipelineParameters != nil}, {"SqsParameters", t.SqsParameters != nil},
	} {
		if other.given {
			return invalid("Target %s: %s is not for a target of this kind.", *t.Id, other.name)
		}
	}
	if t.DeadLetterConfig != nil && t.DeadLetterConfig.Arn != nil {
		return invalid("Target %s: DeadLetterConfig is not supported here. Events that could not be delivered are recorded: look up EventDeliveryFailed in CloudTrail.", *t.Id)
	}
	if r, ok := found.(*response); ok && t.RoleArn == nil {
		return invalid("Target %s: the response %s needs a RoleArn: that of a role that %s may assume and that may do it.", *t.Id, r.name, Principal)
	}
	_, err = newInput(t)
	return err
}

// PutTargets adds targets to a rule, or replaces those of the same ids. The dead letters of
// the latter are tried again.
func (s *Service) PutTargets(ctx context.Context, call *api.Call, in *sdk.PutTargetsInput) (*sdk.PutTargetsOutput, error) {
	var v values
	for i := range in.Targets {
		v.targets = append(v.targets, *in.Targets[i].Arn)
	}
	p, err := s.find(ctx, call, in.Rule, in.EventBusName, v)
	if err != nil {
		return nil, err
	}
	for i := range in.Targets {
		t := &in.Targets[i]
		if err := s.pass(ctx, call, t.RoleArn); err != nil {
			return nil, err
		}
		if err := s.checkNew(call, t); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(in.Targets[:i], func(other types.Target) bool { return *other.Id == *t.Id }) {
			return nil, invalid("Target id %s is there twice.", *t.Id)
		}
	}
	var revived map[targetPlace]load
	out := &sdk.PutTargetsOutput{FailedEntries: []types.PutTargetsResultEntry{}}
	call.Trail.Response = out
	err = s.Trail.Change(ctx, call, func(tx store.Tx) error {
		r, err := getRule(tx, p)
		if err != nil {
			return err
		}
		revived = map[targetPlace]load{}
		for _, t := range in.Targets {
			r.Targets = append(without(r.Targets, *t.Id), t)
			to := targetPlace{p.Account, p.Region, p.ID, *t.Id}
			if revived[to], err = s.revive(tx, to, call.Time); err != nil {
				return err
			}
		}
		if len(r.Targets) > maxTargets {
			return awserr.New(awserr.LimitExceeded, "The requested resource exceeds the maximum number allowed: %d targets of a rule.", maxTargets)
		}
		slices.SortFunc(r.Targets, func(a, b types.Target) int { return cmp.Compare(*a.Id, *b.Id) })
		return r.put(tx)
	})
	if err != nil {
		return nil, err
	}
	s.added(revived)
	return out, nil
}

func without(targets []types.Target, id string) []types.Target {
	return slices.DeleteFunc(targets, func(t types.Target) bool { return *t.Id == id })
}

// RemoveTargets takes targets from a rule. What waits to be delivered to them is dropped.
func (s *Service) RemoveTargets(ctx context.Context, call *api.Call, in *sdk.RemoveTargetsInput) (*sdk.RemoveTargetsOutput, error) {
	out := &sdk.RemoveTargetsOutput{}
	call.Trail.Response = out
	return out, s.change(ctx, call, in.Rule, in.EventBusName, values{}, func(tx store.Tx, r *rule) error {
		out.FailedEntries, out.FailedEntryCount = []types.RemoveTargetsResultEntry{}, 0
		for _, id := range in.Ids {
			left := without(slices.Clone(r.Targets), id)
			if len(left) == len(r.Targets) {
				out.FailedEntryCount++
				out.FailedEntries = append(out.FailedEntries, types.RemoveTargetsResultEntry{TargetId: &id, ErrorCode: aws.String(awserr.ResourceNotFound),
					ErrorMessage: aws.String("Rule " + r.place.ID + " has no target " + id + ".")})
			}
			r.Targets = left
			if err := s.forget(tx, targetPlace{r.place.Account, r.place.Region, r.place.ID, id}); err != nil {
				return err
			}
		}
		return r.put(tx)
	})
}

// ListTargetsByRule lists the targets of a rule by their ids.
func (s *Service) ListTargetsByRule(ctx context.Context, call *api.Call, in *sdk.ListTargetsByRuleInput) (*sdk.ListTargetsByRuleOutput, error) {
	r, err := s.read(ctx, call, in.Rule, in.EventBusName)
	if err != nil {
		return nil, err
	}
	after, err := parseToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListTargetsByRuleOutput{Targets: slices.DeleteFunc(slices.Clone(r.Targets), func(t types.Target) bool { return *t.Id <= after })}
	if most := int(cmp.Or(aws.ToInt32(in.Limit), mostItems)); len(out.Targets) > most {
		out.Targets = out.Targets[:most]
		out.NextToken = api.Marker(*out.Targets[most-1].Id)
	}
	return out, nil
}
