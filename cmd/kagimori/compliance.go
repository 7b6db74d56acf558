package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/policy/lint"
	"github.com/kagimori/kagimori/internal/wire"
)

// verdict is what a rule says of a resource, in the words of AWS Config.
// https://docs.aws.amazon.com/config/latest/APIReference/API_Evaluation.html
type verdict struct {
	Rule       string
	Type       string // AWS::KMS::Key
	Resource   string // its ARN
	Compliance string
	Annotation string `json:",omitempty"` // why it is not compliant
}

const (
	compliant    = "COMPLIANT"
	nonCompliant = "NON_COMPLIANT"
)

// complianceRule is about keys, or else about what IAM has.
type complianceRule struct {
	name string
	key  func(*inspected) string // why a key is not compliant, empty if it is; notApplicable
	iam  func(*inspector) error
}

// complianceRules have the names of AWS Config's managed rules.
// https://docs.aws.amazon.com/config/latest/developerguide/managed-rules-by-aws-config.html
var complianceRules = []complianceRule{
	{name: "CMK_BACKING_KEY_ROTATION_ENABLED", key: func(k *inspected) string {
		switch {
		case k.KeySpec != types.KeySpecSymmetricDefault || k.Origin != types.OriginTypeAwsKms || k.KeyState == types.KeyStatePendingDeletion:
			return notApplicable
		case !k.rotates:
			return "Automatic rotation is not enabled."
		}
		return ""
	}},
	{name: "KMS_CMK_NOT_SCHEDULED_FOR_DELETION", key: func(k *inspected) string {
		if k.KeyState == types.KeyStatePendingDeletion || k.KeyState == types.KeyStatePendingReplicaDeletion {
			return "The key is scheduled for deletion."
		}
		return ""
	}},
	{name: "KMS_KEY_POLICY_NO_PUBLIC_ACCESS", key: func(k *inspected) string {
		for _, f := range lint.Check(k.policy) {
			if f.Rule == "wildcard-principal" {
				return "The key policy lets everyone in: " + f.Reason
			}
		}
		return ""
	}},
	{name: "IAM_CUSTOMER_POLICY_BLOCKED_KMS_ACTIONS", iam: (*inspector).managedPolicies},
	{name: "IAM_INLINE_POLICY_BLOCKED_KMS_ACTIONS", iam: (*inspector).inlinePolicies},
}

// notApplicable is the answer of a rule to a key that it is not about.
const notApplicable = "-"

// inspected is a key.
type inspected struct {
	*types.KeyMetadata
	rotates bool
	policy  *policy.Document
}

// inspector goes through an account.
type inspector struct {
	ctx      context.Context
	iam      *iam.Client
	rule     string   // the present one
	blocked  []string // actions that no policy may allow on all keys
	verdicts []verdict
}

func (i *inspector) judge(kind, resource, why string) {
	v := verdict{i.rule, kind, resource, compliant, why}
	if why != "" {
		v.Compliance = nonCompliant
	}
	i.verdicts = append(i.verdicts, v)
}

// errNonCompliant makes compliance exit with a status for CI.
var errNonCompliant = errors.New("not all is compliant")

func complianceCommand() *cli.Command {
	var regions, only, blocked string
	var asJSON bool
	var names []string
	for _, r := range complianceRules {
		names = append(names, "  "+r.name)
	}
	return &cli.Command{
		Name: "compliance", Summary: "Check the keys and policies of an account by rules of AWS Config",
		Doc: "It reads them from the server that AWS_ENDPOINT_URL names, with your AWS credentials. The exit status\n" +
			"is 1 if anything is not compliant. The rules are named as AWS Config's managed rules:\n" + strings.Join(names, "\n"),
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&regions, "regions", "", "`REGIONS` whose keys to check, with commas between; else that of the environment")
			fs.StringVar(&only, "rules", "", "`RULES` to check, with commas between; else all")
			fs.StringVar(&blocked, "blocked-actions", "kms:Decrypt,kms:ReEncryptFrom", "`ACTIONS` that no IAM policy may allow on all keys, with commas between; * and ? are wildcards")
			fs.BoolVar(&asJSON, "json", false, "print the verdicts as JSON")
		},
		Run: func(ctx context.Context, env *cli.Env, _ []string) error {
			i, err := inspect(ctx, env, split(regions), split(only), split(blocked))
			if err != nil {
				return err
			}
			if err := writeVerdicts(env, i.verdicts, asJSON); err != nil {
				return err
			}
			if slices.ContainsFunc(i.verdicts, func(v verdict) bool { return v.Compliance == nonCompliant }) {
				return errNonCompliant
			}
			return nil
		},
	}
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func inspect(ctx context.Context, env *cli.Env, regions, only, blocked []string) (*inspector, error) {
	for _, name := range only {
		if !slices.ContainsFunc(complianceRules, func(r complianceRule) bool { return r.name == name }) {
			return nil, cli.Usagef("there is no rule %s", name)
		}
	}
	actions, err := json.Marshal(blocked)
	if err != nil {
		return nil, err
	}
	doc, err := policy.Parse(policy.Identity, "blocked-actions", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":`+string(actions)+`,"Resource":"*"}]}`)
	if err != nil {
		return nil, cli.Usagef("--blocked-actions: %w", err)
	}
	if len(regions) == 0 {
		regions = []string{""}
	}
	i := &inspector{ctx: ctx, blocked: slices.DeleteFunc(kmsActions(), func(action string) bool { return !doc.Statements[0].MatchesAction(action) })}
	rules := slices.DeleteFunc(slices.Clone(complianceRules), func(r complianceRule) bool { return len(only) > 0 && !slices.Contains(only, r.name) })
	aboutKeys := slices.ContainsFunc(rules, func(r complianceRule) bool { return r.key != nil })
	var keys []*inspected
	for _, region := range regions {
		cfg, err := clientConfig(ctx, env, region)
		if err != nil {
			return nil, err
		}
		i.iam = iam.NewFromConfig(cfg)
		if !aboutKeys {
			continue
		}
		found, err := inspectKeys(ctx, kms.NewFromConfig(cfg))
		if err != nil {
			return nil, fmt.Errorf("the keys in %s: %w", cfg.Region, err)
		}
		keys = append(keys, found...)
	}
	for _, r := range rules {
		i.rule = r.name
		if r.iam != nil {
			if err := r.iam(i); err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			continue
		}
		for _, k := range keys {
			if why := r.key(k); why != notApplicable {
				i.judge("AWS::KMS::Key", *k.Arn, why)
			}
		}
	}
	return i, nil
}

// inspectKeys are the customer managed keys of a Region.
func inspectKeys(ctx context.Context, c *kms.Client) (keys []*inspected, err error) {
	pages := kms.NewListKeysPaginator(c, &kms.ListKeysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, entry := range page.Keys {
			described, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: entry.KeyArn})
			if err != nil {
				return nil, err
			}
			k := &inspected{KeyMetadata: described.KeyMetadata}
			if k.KeyManager != types.KeyManagerTypeCustomer {
				continue
			}
			if k.KeySpec == types.KeySpecSymmetricDefault && k.Origin == types.OriginTypeAwsKms {
				rotation, err := c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: entry.KeyArn})
				if err != nil {
					return nil, err
				}
				k.rotates = rotation.KeyRotationEnabled
			}
			text, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: entry.KeyArn})
			if err != nil {
				return nil, err
			}
			if k.policy, err = policy.Parse(policy.Key, *entry.KeyArn, *text.Policy); err != nil {
				return nil, err
			}
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// kmsActions are the actions that policies can allow.
func kmsActions() []string {
	actions := []string{"kms:ReEncryptFrom", "kms:ReEncryptTo"}
	for _, op := range wire.KMS.Operations {
		if op.Name != "ReEncrypt" {
			actions = append(actions, "kms:"+op.Name)
		}
	}
	return actions
}

// allows tells which blocked action a document, encoded as IAM answers it, allows on all
// keys. Its conditions do not count, nor its denials, as with AWS.
func (i *inspector) allows(name, encoded string) (why string, err error) {
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return "", err
	}
	doc, err := policy.Parse(policy.Identity, name, text)
	if err != nil {
		return "", err
	}
	for s := range doc.Statements {
		s := &doc.Statements[s]
		if s.Effect != policy.Allow || !s.NotResource && !slices.ContainsFunc(s.Resources, allKeys) {
			continue
		}
		for _, action := range i.blocked {
			if s.MatchesAction(action) {
				return fmt.Sprintf("%s, line %d, allows %s on all keys.", name, s.Line, action), nil
			}
		}
	}
	return "", nil
}

// allKeys tells whether a resource stands for all keys of an account.
func allKeys(r policy.Resource) bool {
	parts := strings.SplitN(r.Text, ":", 6)
	return r.Text == "*" || len(parts) == 6 && (parts[2] == "kms" || parts[2] == "*") && (parts[5] == "*" || parts[5] == "key/*")
}

func (i *inspector) managedPolicies() error {
	pages := iam.NewListPoliciesPaginator(i.iam, &iam.ListPoliciesInput{Scope: iamtypes.PolicyScopeTypeLocal})
	for pages.HasMorePages() {
		page, err := pages.NextPage(i.ctx)
		if err != nil {
			return err
		}
		for _, p := range page.Policies {
			version, err := i.iam.GetPolicyVersion(i.ctx, &iam.GetPolicyVersionInput{PolicyArn: p.Arn, VersionId: p.DefaultVersionId})
			if err != nil {
				return err
			}
			why, err := i.allows(*p.PolicyName, *version.PolicyVersion.Document)
			if err != nil {
				return err
			}
			i.judge("AWS::IAM::Policy", *p.Arn, why)
		}
	}
	return nil
}

func (i *inspector) inlinePolicies() error {
	pages := iam.NewGetAccountAuthorizationDetailsPaginator(i.iam, &iam.GetAccountAuthorizationDetailsInput{
		Filter: []iamtypes.EntityType{iamtypes.EntityTypeUser, iamtypes.EntityTypeGroup, iamtypes.EntityTypeRole}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(i.ctx)
		if err != nil {
			return err
		}
		for _, u := range page.UserDetailList {
			err = errors.Join(err, i.inline("AWS::IAM::User", *u.Arn, u.UserPolicyList))
		}
		for _, g := range page.GroupDetailList {
			err = errors.Join(err, i.inline("AWS::IAM::Group", *g.Arn, g.GroupPolicyList))
		}
		for _, r := range page.RoleDetailList {
			err = errors.Join(err, i.inline("AWS::IAM::Role", *r.Arn, r.RolePolicyList))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *inspector) inline(kind, arn string, policies []iamtypes.PolicyDetail) error {
	var found []string
	for _, p := range policies {
		why, err := i.allows(aws.ToString(p.PolicyName), aws.ToString(p.PolicyDocument))
		if err != nil {
			return err
		}
		if why != "" {
			found = append(found, why)
		}
	}
	i.judge(kind, arn, strings.Join(found, " "))
	return nil
}

func writeVerdicts(env *cli.Env, verdicts []verdict, asJSON bool) error {
	var b bytes.Buffer
	if asJSON {
		if err := writeJSON(&b, append([]verdict{}, verdicts...)); err != nil {
			return err
		}
	} else {
		for _, r := range complianceRules {
			ok, all := 0, 0
			var bad bytes.Buffer
			for _, v := range verdicts {
				if v.Rule != r.name {
					continue
				}
				if all++; v.Compliance == compliant {
					ok++
				} else {
					fmt.Fprintf(&bad, "  %s\n    %s\n", v.Resource, v.Annotation)
				}
			}
			if all > 0 {
				fmt.Fprintf(&b, "%s: %d of %d compliant\n%s", r.name, ok, all, &bad)
			}
		}
		if b.Len() == 0 {
			fmt.Fprintln(&b, "There is nothing that the rules are about.")
		}
	}
	_, err := env.Stdout.Write(b.Bytes())
	return err
}
