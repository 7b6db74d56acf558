package authz_test

import (
	"context"
	"testing"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
)

const (
	account = "111122223333"
	foreign = "444455556666"
	key     = "arn:aws:kms:eu-central-1:111122223333:key/12345678-1234-1234-1234-123456789012"
)

func root(account string) api.Principal {
	return api.Principal{Type: api.Root, ID: account, Account: account, ARN: "arn:aws:iam::" + account + ":root"}
}

// TestRootOnly: the root of an account on what is its account's, and nobody else.
func TestRootOnly(t *testing.T) {
	for _, c := range []struct {
		name    string
		caller  api.Principal
		account string // of the resource
		allowed bool
	}{
		{"root on its own", root(account), account, true},
		{"root on another's", root(account), foreign, false},
		{"another's root", root(foreign), account, false},
		{"nobody", api.Principal{}, "", false},
		{"nobody on an account's", api.Principal{}, account, false},
		{"stranger with the names of root", api.Principal{Type: api.Unknown, ID: account, Account: account, ARN: root(account).ARN}, account, false},
		{"user", api.Principal{Type: "IAMUser", ID: "AIDA", Account: account, ARN: "arn:aws:iam::" + account + ":user/root"}, account, false},
		{"root type with a user's ARN", api.Principal{Type: api.Root, Account: account, ARN: "arn:aws:iam::" + account + ":user/root"}, account, false},
		{"root type with another's ARN", api.Principal{Type: api.Root, Account: account, ARN: root(foreign).ARN}, account, false},
		{"root of no account", api.Principal{Type: api.Root, ARN: "arn:aws:iam:::root"}, "", false},
	} {
		req := authz.Request{Caller: c.caller, Action: "kms:Encrypt", Resource: key, Account: c.account}
		if d := (authz.RootOnly{}).Decide(context.Background(), &req); d.Allowed != c.allowed || d.Allowed == (d.Reason != "") {
			t.Errorf("%s: %+v, want allowed %v", c.name, d, c.allowed)
		}
	}
}

type fixed authz.Decision

func (f fixed) Decide(context.Context, *authz.Request) authz.Decision { return authz.Decision(f) }

// TestCheck: what a decision does to the call, and how a denial reads.
func TestCheck(t *testing.T) {
	const hidden = " because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
	denied := fixed{Reason: "with an explicit deny in an identity-based policy"}
	user := "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:Decrypt"
	for _, c := range []struct {
		name     string
		decision fixed
		resource string
		account  string
		named    string
		want     string // message; empty for allowed
	}{
		{"allowed", fixed{Allowed: true}, key, account, "", ""},
		{"allowed on another's", fixed{Allowed: true}, key, foreign, "", ""},
		{"denied", denied, key, account, "", user + " on resource: " + key + " with an explicit deny in an identity-based policy"},
		{"denied on no resource", denied, "*", account, "", user + " on resource: * with an explicit deny in an identity-based policy"},
		{"denied on another's", denied, key, foreign, "", user + " on this resource" + hidden},
		{"denied on another's ciphertext", denied, key, foreign, authz.OfCiphertext, user + " on the resource associated with this ciphertext" + hidden},
		{"a resource with a percent sign", denied, "100%d", account, "", user + " on resource: 100%d with an explicit deny in an identity-based policy"},
	} {
		call := &api.Call{}
		err := authz.Check(context.Background(), c.decision, call, &authz.Request{
			Caller: root(account), Action: "kms:Decrypt", Resource: c.resource, Account: c.account, Named: c.named})
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
	call := &api.Call{}
	theirs := authz.Check(context.Background(), fixed{}, call, &authz.Request{Caller: root(account), Action: "kms:Encrypt", Resource: key, Account: foreign})
	absent := authz.NotVisible(root(account), "kms:Encrypt", "")
	if theirs.Error() != absent.Error() {
		t.Errorf("%q\n%q", theirs, absent)
	}
}
