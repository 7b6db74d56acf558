package kms

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// policyName is the name of the one policy that a key has.
const policyName = "default"

// defaultKeyPolicy is what AWS gives a key that was created without a policy, to
// the byte: the account's root, and through it the account's IAM policies.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
func defaultKeyPolicy(account string) string {
	return strings.Replace(`{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::ACCOUNT:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`, "ACCOUNT", account, 1)
}

// keyPolicy is a key policy as the store keeps it.
type keyPolicy struct {
	Policy string `json:"policy"` // as given
	// PolicyIDs are the unique ids that the policy's principals had when it was
	// put: a principal made later under the same name is another one.
	PolicyIDs map[string]string `json:"policyIds,omitempty"`
}

// Principals finds out whom policies and grants name.
type Principals interface {
	// Resolve finds the unique ids (AIDA…, AROA…) of users, roles and role sessions
	// by ARN or unique id. Those of accounts, by the ARN of the root, are the
	// account ids. What does not exist is left out. r is the state to look at.
	Resolve(r store.Reader, names []string) (map[string]string, error)
}

// document is the key policy, compiled and bound when it is first needed. One
// that an older version accepted although it is none counts as the default policy.
func (k *key) document() *policy.Document {
	k.compile.Do(func() {
		doc, err := policy.Parse(policy.Key, keyPolicyName, k.Policy)
		if err != nil {
			doc, err = policy.Parse(policy.Key, keyPolicyName, defaultKeyPolicy(k.account))
		}
		if err != nil {
			panic(err) // the default policy is one
		}
		k.compiled = doc.Bind(k.PolicyIDs)
	})
	return k.compiled
}

// keyPolicyName is what explanations call a key policy.
const keyPolicyName = "key policy"

// put gives the key, whose policy nobody has asked for yet, another one: it must
// be well-formed and name principals that exist.
func (k *key) put(r store.Reader, who Principals, text string) error {
	if len(text) > maxPolicyBytes {
		return awserr.New(awserr.LimitExceeded, "The key policy is %d bytes long, which is over the limit of %d bytes.", len(text), maxPolicyBytes)
	}
	doc, err := policy.Parse(policy.Key, keyPolicyName, text)
	if err != nil {
		return awserr.New(awserr.MalformedPolicyDocument, "The key policy is not valid: %v.", err)
	}
	names := doc.Principals()
	for _, account := range doc.Accounts() {
		names = append(names, rootARN(account))
	}
	ids, err := who.Resolve(r, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if ids[name] == "" {
			return awserr.New(awserr.MalformedPolicyDocument, "Policy contains a statement with one or more invalid principals. There is no %s.", name)
		}
	}
	k.keyPolicy = keyPolicy{text, map[string]string{}}
	for _, name := range doc.Principals() {
		k.PolicyIDs[name] = ids[name]
	}
	k.compile.Do(func() { k.compiled = doc.Bind(k.PolicyIDs) })
	return nil
}

// checkLockout refuses the policy of a key that would not let the caller of v put
// another one. An account that the policy trusts is enough: its own policies can
// be changed.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html#key-policy-default-allow-root-enable-iam
func (s *Service) checkLockout(ctx context.Context, call *api.Call, k *key) error {
	u := &usableKey{key: k, svc: s, call: call, values: values{ctx: ctx, svc: s, call: call, key: k, action: "PutKeyPolicy"}}
	req := u.request("kms:PutKeyPolicy")
	req.Grants = nil
	d, err := s.Authorize.Decide(ctx, call, &req)
	if err == nil {
		err = u.values.err
	}
	if err != nil || d.Allowed || d.Layer == policy.IdentityLayer && !d.Explicit {
		return err
	}
	return awserr.New(awserr.MalformedPolicyDocument, "The new key policy will not allow you to update the key policy in the future.")
}

// text is the policy as GetKeyPolicy shows it: byte for byte as it was put, but
// for principals that are no more, which are shown by their unique ids.
func (p *keyPolicy) text(r store.Reader, who Principals) (string, error) {
	if len(p.PolicyIDs) == 0 {
		return p.Policy, nil
	}
	now, err := who.Resolve(r, slices.Collect(maps.Keys(p.PolicyIDs)))
	if err != nil {
		return "", err
	}
	return policy.Shown(p.Policy, p.PolicyIDs, now), nil
}

// GetKeyPolicy gives the key policy.
func (s *Service) GetKeyPolicy(ctx context.Context, call *api.Call, in *sdk.GetKeyPolicyInput) (*sdk.GetKeyPolicyOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	out := &sdk.GetKeyPolicyOutput{PolicyName: aws.String(policyName)}
	return out, s.Store.View(ctx, func(r store.Reader) error {
		text, err := u.text(r, s.Principals)
		out.Policy = &text
		return err
	})
}

// PutKeyPolicy replaces the key policy.
func (s *Service) PutKeyPolicy(ctx context.Context, call *api.Call, in *sdk.PutKeyPolicyInput) (*sdk.PutKeyPolicyOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	// The policy is judged before the change, because a decision may read.
	trial := &key{keyRecord: u.keyRecord, account: u.account, region: u.region, arn: u.arn}
	if err := s.judge(ctx, call, trial, *in.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	return &sdk.PutKeyPolicyOutput{}, u.change(ctx, func(k *key, tx store.Tx) error {
		return k.put(tx, s.Principals, *in.Policy)
	})
}

// judge gives a key that is not the stored one a policy, if it can have it.
func (s *Service) judge(ctx context.Context, call *api.Call, k *key, text string, bypass bool) error {
	err := s.Store.View(ctx, func(r store.Reader) error { return k.put(r, s.Principals, text) })
	if err != nil || bypass {
		return err
	}
	return s.checkLockout(ctx, call, k)
}

// ListKeyPolicies lists the names of the key's policies: always one.
func (s *Service) ListKeyPolicies(ctx context.Context, call *api.Call, in *sdk.ListKeyPoliciesInput) (*sdk.ListKeyPoliciesOutput, error) {
	if _, err := s.use(ctx, call, *in.KeyId, keyOnly); err != nil {
		return nil, err
	}
	pg, err := newPage(in.Limit, in.Marker, 100, 1000)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListKeyPoliciesOutput{PolicyNames: []string{}}
	if pg.after < policyName {
		out.PolicyNames = append(out.PolicyNames, policyName)
	}
	return out, nil
}

func checkPolicyName(name *string) error {
	if name != nil && *name != policyName {
		return awserr.New(awserr.NotFound, "No such policy exists")
	}
	return nil
}
