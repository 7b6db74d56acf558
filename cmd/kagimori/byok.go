package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/policy"
)

func byokCommand() *cli.Command {
	return &cli.Command{
		Name: "byok", Summary: "Bring your own key: customer keys used by another account",
		Commands: []*cli.Command{byokCheck(), byokWrap()},
	}
}

// errMissing makes check exit with a status for CI.
var errMissing = errors.New("something is missing; see above")

func byokCheck() *cli.Command {
	c := &byok{}
	actions := "kms:Encrypt,kms:Decrypt,kms:GenerateDataKey,kms:DescribeKey"
	return &cli.Command{
		Name: "check", Summary: "Tell what is still missing before a role of another account can use a key",
		Doc: "Run it with credentials of the key's account (the customer) to check the key and its key policy,\n" +
			"and with credentials of the role's account (the vendor) to check the role's policies. Each side sees\n" +
			"its own part only. The exit status is 1 if anything is missing.",
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&c.key, "key", "", "`ARN` of the customer's key")
			fs.StringVar(&c.role, "as", "", "`ARN` of the vendor's role")
			fs.StringVar(&actions, "actions", actions, "the `ACTIONS` that the vendor needs, separated by commas")
			fs.Func("context", "a `NAME=VALUE` of the encryption context that the vendor will use; may repeat", func(s string) error {
				name, value, ok := strings.Cut(s, "=")
				if !ok || name == "" {
					return errors.New("it must be NAME=VALUE")
				}
				if c.context == nil {
					c.context = map[string]string{}
				}
				c.context[name] = value
				return nil
			})
		},
		Run: func(ctx context.Context, env *cli.Env, _ []string) error {
			c.actions = strings.Split(actions, ",")
			missing, err := c.check(ctx, env)
			if _, werr := env.Stdout.Write(c.out.Bytes()); err == nil {
				err = werr
			}
			if err == nil && missing {
				err = errMissing
			}
			return err
		},
	}
}

// byok is one check.
type byok struct {
	key, role string
	actions   []string
	context   map[string]string

	customer, vendor string // accounts
	out              bytes.Buffer
}

func (c *byok) check(ctx context.Context, env *cli.Env) (missing bool, err error) {
	region, customer := keyARNParts(c.key)
	role := strings.SplitN(c.role, ":", 6)
	switch {
	case region == "":
		return false, cli.Usagef("--key needs the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID")
	case len(role) != 6 || role[2] != "iam" || !strings.HasPrefix(role[5], "role/"):
		return false, cli.Usagef("--as needs the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME")
	}
	c.customer, c.vendor = customer, role[4]
	cfg, err := clientConfig(ctx, env, region)
	if err != nil {
		return false, err
	}
	me, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return false, fmt.Errorf("the server does not tell who you are: %w", err)
	}
	fmt.Fprintf(&c.out, "key        %s\ncustomer   %s%s\nvendor     %s%s, %s\n\n", c.key, c.customer, mine(*me.Account, c.customer), c.vendor, mine(*me.Account, c.vendor), c.role)
	switch *me.Account {
	case c.customer:
		missing, err = c.customerSide(ctx, kms.NewFromConfig(cfg))
		if err == nil && !missing {
			c.next("vendor", c.vendor)
		}
	case c.vendor:
		missing, err = c.vendorSide(ctx, cfg)
		if err == nil && !missing {
			c.next("customer", c.customer)
		}
	default:
		err = fmt.Errorf("your credentials are those of account %s, which is neither the customer (%s) nor the vendor (%s)", *me.Account, c.customer, c.vendor)
	}
	return missing, err
}

func mine(me, account string) string {
	if me == account {
		return " (you)"
	}
	return ""
}

// next tells who checks the other half.
func (c *byok) next(side, account string) {
	if c.customer != c.vendor {
		fmt.Fprintf(&c.out, "\nThe %s (account %s) can check its half with its own credentials:\n\n    kagimori byok check --key %s --as %s\n", side, account, c.key, c.role)
	}
}

// customerSide checks the key's state and what its key policy gives the role.
func (c *byok) customerSide(ctx context.Context, client *kms.Client) (missing bool, err error) {
	described, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &c.key})
	if err != nil {
		return false, fmt.Errorf("the key cannot be looked at: %w", err)
	}
	if state := described.KeyMetadata.KeyState; state != types.KeyStateEnabled {
		missing = true
		fmt.Fprintf(&c.out, "  MISSING  the key is %s, so nobody can use it%s\n", state, fixState(state, c.key))
	} else {
		fmt.Fprintf(&c.out, "  ok       the key is enabled\n")
	}
	got, err := client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &c.key})
	if err != nil {
		return false, fmt.Errorf("the key policy cannot be read: %w", err)
	}
	doc, err := policy.Parse(policy.Key, "key policy", *got.Policy)
	if err != nil {
		return false, fmt.Errorf("the key policy is not valid: %w", err)
	}
	v := verdicts{allowed: "the key policy allows %s", denied: "a Deny statement of the key policy forbids %s", lacking: "the key policy does not allow %s"}
	for _, action := range c.actions {
		d := c.decide(doc, action)
		v.tell(&c.out, action, d.Allowed, d.Explicit)
	}
	if len(v.lacks) > 0 {
		fmt.Fprintf(&c.out, "\nAdd this statement to the key policy (aws kms get-key-policy, edit, aws kms put-key-policy):\n\n%s\n", c.statement(v.lacks, true))
	}
	return missing || v.refused || len(v.lacks) > 0, nil
}

// verdicts tells what policies say to each action, in the words for those policies.
type verdicts struct {
	allowed, denied, lacking string // formats
	refused                  bool   // there was a Deny
	lacks                    []string
}

func (v *verdicts) tell(w io.Writer, action string, allowed, denied bool) {
	switch {
	case allowed:
		fmt.Fprintf(w, "  ok       "+v.allowed+"\n", action)
	case denied:
		v.refused = true
		fmt.Fprintf(w, "  MISSING  "+v.denied+"\n", action)
	default:
		v.lacks = append(v.lacks, action)
		fmt.Fprintf(w, "  MISSING  "+v.lacking+"\n", action)
	}
}

func fixState(state types.KeyState, key string) string {
	switch state {
	case types.KeyStateDisabled:
		return ":\n           aws kms enable-key --key-id " + key
	case types.KeyStatePendingDeletion:
		return ":\n           aws kms cancel-key-deletion --key-id " + key + " && aws kms enable-key --key-id " + key
	}
	return ""
}

// everything is a policy that allows all, for the side that is not checked.
var everything = func() *policy.Document {
	doc, err := policy.Parse(policy.Identity, "everything", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	if err != nil {
		panic(err)
	}
	return doc
}()

// decide tells what the key policy says to a session of the role whose own
// policies allow everything.
func (c *byok) decide(doc *policy.Document, action string) policy.Decision {
	name := c.role[strings.LastIndexByte(c.role, '/')+1:]
	caller := policy.Caller{Account: c.vendor, PrincipalARN: c.role, SessionName: "check", ARN: "arn:aws:sts::" + c.vendor + ":assumed-role/" + name + "/check"}
	set := policy.Set{Account: c.customer, Resource: doc, Identity: []*policy.Document{everything}}
	req := policy.Request{Caller: &caller, Action: action, Resource: c.key, Context: (*byokContext)(c)}
	d := policy.Decide(&req, &set)
	// Decide does not tell another account of a Deny; its owner may know.
	if !d.Allowed {
		_, why := policy.Explain(&req, &set)
		for _, doc := range why.Documents {
			for _, s := range doc.Statements {
				d.Explicit = d.Explicit || s.Matched && s.Effect == string(policy.Deny)
			}
		}
	}
	return d
}

// byokContext has the condition keys that are known before a call is made.
type byokContext byok

func (c *byokContext) Value(k *policy.ConditionKey) policy.Value {
	switch k.Name {
	case "kms:calleraccount", "aws:principalaccount":
		return policy.Text(c.vendor)
	case "aws:principalarn":
		return policy.Text(c.role)
	case "aws:principaltype":
		return policy.Text("AssumedRole")
	case "aws:resourceaccount":
		return policy.Text(c.customer)
	case "kms:encryptioncontext":
		for name, value := range c.context {
			if strings.EqualFold(name, k.Parameter) {
				return policy.Text(value)
			}
		}
	case "kms:encryptioncontextkeys":
		var names []string
		for name := range c.context {
			names = append(names, name)
		}
		slices.Sort(names)
		return policy.Texts(names)
	}
	return policy.Absent
}

// statement is what is missing, as JSON to paste.
func (c *byok) statement(actions []string, inKeyPolicy bool) string {
	s := struct {
		Sid       string            `json:",omitempty"`
		Effect    string            `json:""`
		Principal map[string]string `json:",omitempty"`
		Action    []string          `json:""`
		Resource  string            `json:""`
	}{Effect: "Allow", Action: actions, Resource: c.key}
	if inKeyPolicy {
		s.Sid, s.Principal, s.Resource = "Allow use by account "+c.vendor, map[string]string{"AWS": "arn:aws:iam::" + c.vendor + ":root"}, "*"
	}
	text, err := json.MarshalIndent(s, "    ", "  ")
	if err != nil {
		panic(err) // strings always marshal
	}
	return "    " + string(text)
}

// vendorSide checks what the role's own policies allow, and then, if the role can
// be assumed, the whole by dry runs.
func (c *byok) vendorSide(ctx context.Context, cfg aws.Config) (missing bool, err error) {
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &c.role, ActionNames: c.actions, ResourceArns: []string{c.key}}
	for name, value := range c.context {
		in.ContextEntries = append(in.ContextEntries, iamtypes.ContextEntry{ContextKeyName: aws.String("kms:EncryptionContext:" + name),
			ContextKeyType: iamtypes.ContextKeyTypeEnumString, ContextKeyValues: []string{value}})
	}
	out, err := iam.NewFromConfig(cfg).SimulatePrincipalPolicy(ctx, in)
	if err != nil {
		return false, fmt.Errorf("the role's policies cannot be checked: %w", err)
	}
	v := verdicts{allowed: "the role's policies allow %s on the key", denied: "a Deny statement of the role's policies forbids %s",
		lacking: "the role's policies do not allow %s on the key"}
	for _, r := range out.EvaluationResults {
		v.tell(&c.out, aws.ToString(r.EvalActionName), r.EvalDecision == iamtypes.PolicyEvaluationDecisionTypeAllowed,
			r.EvalDecision == iamtypes.PolicyEvaluationDecisionTypeExplicitDeny)
	}
	if len(v.lacks) > 0 {
		name := c.role[strings.LastIndexByte(c.role, '/')+1:]
		fmt.Fprintf(&c.out, "\nGive the role this policy:\n\naws iam put-role-policy --role-name %s --policy-name use-customer-key --policy-document '{\"Version\": \"2012-10-17\", \"Statement\": [\n%s\n]}'\n",
			name, c.statement(v.lacks, false))
	}
	if v.refused || len(v.lacks) > 0 {
		return true, nil
	}
	return c.dryRun(ctx, cfg)
}

// dryRun asks the server as the role, without doing anything.
func (c *byok) dryRun(ctx context.Context, cfg aws.Config) (missing bool, err error) {
	assumed, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &c.role, RoleSessionName: aws.String("kagimori-byok-check")})
	if err != nil {
		if _, message, ok := answered(err); ok {
			fmt.Fprintf(&c.out, "  ?        whether the customer's key lets the role in was not tried, since you may not assume it: %s\n", message)
			return false, nil
		}
		return false, err
	}
	as := cfg.Copy()
	as.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		a := assumed.Credentials
		return aws.Credentials{AccessKeyID: *a.AccessKeyId, SecretAccessKey: *a.SecretAccessKey, SessionToken: *a.SessionToken}, nil
	})
	if !slices.Contains(c.actions, "kms:GenerateDataKey") {
		return false, nil
	}
	// The one action stands for the others: the customer lets the role in or not.
	_, err = kms.NewFromConfig(as).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &c.key, KeySpec: types.DataKeySpecAes256, EncryptionContext: c.context, DryRun: aws.Bool(true)})
	code, message, ok := answered(err)
	switch {
	case !ok:
		return false, err
	case code != awserr.DryRunOperation:
		fmt.Fprintf(&c.out, "  MISSING  the customer's side: as the role, GenerateDataKey answers %s: %s\n", code, message)
		c.next("customer", c.customer)
		return true, nil
	}
	fmt.Fprintf(&c.out, "  ok       as the role, a dry run of GenerateDataKey works: the key lets the role in\n")
	return false, nil
}
