package authz_test

import (
	"context"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
)

const (
	account = "111122223333"
	foreign = "444455556666"
	key     = "arn:aws:kms:eu-central-1:111122223333:key/12345678-1234-1234-1234-123456789012"
	hidden  = " because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
)

func root(account string) api.Principal {
	return api.Principal{Type: api.Root, ID: account, Account: account, ARN: "arn:aws:iam::" + account + ":root"}
}

// fixed decides always the same.
type fixed struct {
	policy.Decision
	derivation policy.Derivation
}

func (f fixed) Decide(context.Context, *api.Call, *authz.Request) (policy.Decision, error) {
	return f.Decision, nil
}

func (f fixed) Explain(context.Context, *api.Call, *authz.Request) (*policy.Derivation, error) {
	return &f.derivation, nil
}

// TestCheck: what a decision does to the call, and how a denial reads.
func TestCheck(t *testing.T) {
	explicit := fixed{Decision: policy.Decision{Layer: policy.IdentityLayer, Explicit: true}}
	noResource := fixed{Decision: policy.Decision{Layer: policy.ResourceLayer}}
	noIdentity := fixed{Decision: policy.Decision{Layer: policy.IdentityLayer}}
	allowed := fixed{Decision: policy.Decision{Allowed: true}}
	user := "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:Decrypt"
	for _, c := range []struct {
		name     string
		decision fixed
		resource string
		account  string
		named    string
		want     string // message; empty for allowed
	}{
		{"allowed", allowed, key, account, "", ""},
		{"allowed on another's", allowed, key, foreign, "", ""},
		{"denied", explicit, key, account, "", user + " on resource: " + key + " with an explicit deny in an identity-based policy"},
		{"denied on no resource", explicit, "*", account, "", user + " on resource: * with an explicit deny in an identity-based policy"},
		{"not let in", noResource, key, account, "", user + " on resource: " + key + " because no resource-based policy allows the kms:Decrypt action"},
		{"not let in by another", noResource, key, foreign, "", user + " on this resource" + hidden},
		{"not let in to another's ciphertext", noResource, key, foreign, authz.OfCiphertext, user + " on the resource associated with this ciphertext" + hidden},
		// The owner has let the account in, so there is nothing to hide.
		{"let in by another, not by its own", noIdentity, key, foreign, "", user + " on resource: " + key + " because no identity-based policy allows the kms:Decrypt action"},
		{"a resource with a percent sign", explicit, "100%d", account, "", user + " on resource: 100%d with an explicit deny in an identity-based policy"},
	} {
		call := &api.Call{Caller: root(account)}
		err := authz.Check(context.Background(), c.decision, call, &authz.Request{Action: "kms:Decrypt", Resource: c.resource, Account: c.account, Named: c.named})
		if call.Authorized() != (c.want == "") || (err == nil) != (c.want == "") {
			t.Errorf("%s: authorized %v, error %v", c.name, call.Authorized(), err)
			continue
		}
		if err == nil {
			continue
		}
		e := awserr.From(err)
		if e.Code != awserr.AccessDenied || e.Status != 400 || e.Message != c.want {
			t.Errorf("%s: %d %s\n%s\nwant\n%s", c.name, e.Status, e.Code, e.Message, c.want)
		}
	}
}

// TestNotVisible: what is another account's reads like what is not there.
func TestNotVisible(t *testing.T) {
	call := &api.Call{Caller: root(account)}
	theirs := authz.Check(context.Background(), fixed{Decision: policy.Decision{Layer: policy.ResourceLayer}}, call,
		&authz.Request{Action: "kms:Encrypt", Resource: key, Account: foreign})
	absent := authz.NotVisible(root(account), "kms:Encrypt", "")
	if theirs.Error() != absent.Error() {
		t.Errorf("%q\n%q", theirs, absent)
	}
}

// TestDerivations: of a denial across accounts each side sees its own part; one
// that is too long keeps what matched.
func TestDerivations(t *testing.T) {
	d := fixed{Decision: policy.Decision{Layer: policy.ResourceLayer}, derivation: policy.Derivation{
		Principal: "p", Action: "kms:Encrypt", Resource: key, Decision: "Denied",
		Documents: []policy.DocumentDerivation{
			{Layer: policy.ResourceLayer, Name: "key policy", Statements: []policy.StatementDerivation{{Sid: "theirs"}}},
			{Layer: policy.IdentityLayer, Name: "mine", Statements: []policy.StatementDerivation{{Sid: "mine", Matched: true}}},
		},
		Grants: []policy.GrantDerivation{{ID: "grant-of-theirs"}},
		Notes:  []string{"note on the key policy"},
	}}
	check := func(owner string) []api.Derivation {
		call := &api.Call{Caller: root(account)}
		req := authz.Request{Action: "kms:Encrypt", Resource: key, Account: owner, Type: "AWS::KMS::Key"}
		if authz.Check(context.Background(), d, call, &req) == nil {
			t.Fatal("allowed")
		}
		return call.Trail.Derivations
	}
	own := check(account)
	if len(own) != 1 || own[0].Account != account {
		t.Fatalf("%+v", own)
	}
	for _, part := range []string{"theirs", "mine", "grant-of-theirs", "note on the key policy"} {
		if !strings.Contains(string(own[0].JSON), part) {
			t.Errorf("the derivation lacks %s: %s", part, own[0].JSON)
		}
	}
	// The owner has not let the caller in: nothing must tell the caller's account
	// that there is such a key.
	if hidden := check(foreign); len(hidden) != 1 || hidden[0].Account != foreign {
		t.Errorf("%+v", hidden)
	}
	d.Layer = policy.IdentityLayer
	both := check(foreign)
	if len(both) != 2 || both[0].Account != account || both[1].Account != foreign || both[1].Resource != (api.Resource{Account: foreign, Type: "AWS::KMS::Key", ARN: key}) {
		t.Fatalf("%+v", both)
	}
	if s := string(both[0].JSON); strings.Contains(s, "theirs") || strings.Contains(s, "key policy") || !strings.Contains(s, `"mine"`) {
		t.Errorf("the caller sees %s", s)
	}
	if s := string(both[1].JSON); strings.Contains(s, `"mine"`) || !strings.Contains(s, "grant-of-theirs") || !strings.Contains(s, `"theirs"`) {
		t.Errorf("the owner sees %s", s)
	}
	d.derivation.Documents[0].Statements[0].Why = strings.Repeat("long ", 20_000)
	long := string(check(account)[0].JSON)
	if len(long) > 64<<10 || strings.Contains(long, `"sid":"theirs"`) || !strings.Contains(long, `"sid":"mine"`) || !strings.Contains(long, "left out") {
		t.Errorf("%d bytes: %.300s", len(long), long)
	}
}
