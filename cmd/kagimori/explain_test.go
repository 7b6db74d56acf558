package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/smithy-go/middleware"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/kagimoritest"
)

const region = "eu-central-1"

// newUser is a user with one policy of these statements.
func newUser(t *testing.T, srv *kagimoritest.Server, name, statements string) kagimoritest.Caller {
	t.Helper()
	ctx, people := t.Context(), srv.Root().IAM()
	_, err := people.CreateUser(ctx, &iam.CreateUserInput{UserName: &name})
	must(t, err)
	_, err = people.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: aws.String(document(statements))})
	must(t, err)
	key, err := people.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	must(t, err)
	return srv.As(aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey})
}

func document(statements string) string {
	return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
}

func newKey(t *testing.T, c kagimoritest.Caller) string {
	t.Helper()
	out, err := c.KMS(region).CreateKey(t.Context(), &kms.CreateKeyInput{})
	must(t, err)
	return *out.KeyMetadata.Arn
}

// encrypt calls Encrypt, and returns its request id and whether it succeeded.
func encrypt(t *testing.T, c kagimoritest.Caller, key string, encryptionContext map[string]string) (requestID string, ok bool) {
	t.Helper()
	out, err := c.KMS(region).Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x"), EncryptionContext: encryptionContext})
	if err == nil {
		return idOf(t, out.ResultMetadata), true
	}
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) {
		t.Fatal(err)
	}
	return answer.ServiceRequestID(), false
}

func idOf(t *testing.T, m middleware.Metadata) string {
	t.Helper()
	id, ok := awsmiddleware.GetRequestIDMetadata(m)
	if !ok {
		t.Fatal("the answer has no request id")
	}
	return id
}

// contains checks that a text has all of these parts, in this order.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("%q is not there, or not in that order:\n%s", part, text)
			return
		}
		rest = after
	}
}

// TestExplain has denials of each kind explained, and calls that are none.
func TestExplain(t *testing.T) {
	srv := kagimoritest.Start(t)
	root := srv.Root()
	key := newKey(t, root)
	alice := newUser(t, srv, "alice", `{"Sid":"OnlyHR","Effect":"Allow","Action":"kms:Encrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:dept":["hr","legal"]}}},
		{"Sid":"NoSecrets","Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"Null":{"kms:EncryptionContext:secret":"false"}}}`)
	explain := func(id string) string { return succeed(t, "explain", id, "--data", srv.Dir) }
	deny := func(encryptionContext map[string]string) string {
		t.Helper()
		id, ok := encrypt(t, alice, key, encryptionContext)
		if ok {
			t.Fatal("the call was not denied")
		}
		return id
	}

	t.Run("no policy allows", func(t *testing.T) {
		id := deny(map[string]string{"dept": "sales"})
		contains(t, explain(id), "Encrypt of kms at 2026-", "AccessDenied: User: arn:aws:iam::"+srv.Account+":user/alice is not authorized to perform: kms:Encrypt on resource: "+key,
			"For account "+srv.Account+":", "user/alice\n", "may kms:Encrypt on "+key+"?", "Denied because no identity-based policy allows the kms:Encrypt action",
			"(resource-based policy) allows", "(identity-based policy) says nothing", `statement 1 "OnlyHR", Allow: did not match: Condition`,
			`StringEquals kms:EncryptionContext:dept: "hr" or "legal"; in the request: "sales"; does not hold`,
			`statement 2 "NoSecrets", Deny: did not match: Condition`, `Null kms:EncryptionContext:secret: "false"; in the request: absent; does not hold`,
			"an identity policy must allow it as well")
	})
	t.Run("an explicit denial", func(t *testing.T) {
		id := deny(map[string]string{"dept": "hr", "secret": "x"})
		contains(t, explain(id), "with an explicit deny in an identity-based policy", `(identity-based policy) denies`, `"OnlyHR", Allow: matched`, `"NoSecrets", Deny: matched`,
			`in the request: "x"; holds`)
	})
	t.Run("a grant that does not fit", func(t *testing.T) {
		bob := newUser(t, srv, "bob", `{"Effect":"Deny","Action":"s3:*","Resource":"*"}`)
		grant, err := root.KMS(region).CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String("arn:aws:iam::" + srv.Account + ":user/bob"),
			Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationEncrypt}, Constraints: &kmstypes.GrantConstraints{EncryptionContextSubset: map[string]string{"dept": "hr"}}})
		must(t, err)
		if _, ok := encrypt(t, bob, key, map[string]string{"dept": "hr"}); !ok {
			t.Error("the grant does not allow")
		}
		id, ok := encrypt(t, bob, key, nil)
		if ok {
			t.Fatal("the call was not denied")
		}
		contains(t, explain(id), "grant "+*grant.GrantId+": ")
	})
	t.Run("another account's", func(t *testing.T) {
		made, err := root.Organizations().CreateAccount(t.Context(), &organizations.CreateAccountInput{AccountName: aws.String("other"), Email: aws.String("other@example.com")})
		must(t, err)
		other := *made.CreateAccountStatus.AccountId
		// The root may not assume roles, so an administrator does.
		admin := newUser(t, srv, "admin", `{"Effect":"Allow","Action":"*","Resource":"*"}`).AssumeRole("arn:aws:iam::"+other+":role/OrganizationAccountAccessRole", "session")
		foreign := newKey(t, admin)
		id, ok := encrypt(t, alice, foreign, map[string]string{"dept": "hr"})
		if ok {
			t.Fatal("the call was not denied")
		}
		out := explain(id)
		contains(t, out, "on this resource because the resource does not exist in this Region", "For account "+other+":", "because no resource-based policy allows", "(resource-based policy) says nothing", "did not match: Principal")
		if strings.Contains(out, "For account "+srv.Account) {
			t.Errorf("the record of the caller's account tells whether the key exists:\n%s", out)
		}
	})
	t.Run("as JSON", func(t *testing.T) {
		id := deny(map[string]string{"dept": "sales"})
		out := succeed(t, "explain", "--json", id, "--data", srv.Dir)
		var d policy.Derivation
		if line, rest, _ := strings.Cut(out, "\n"); rest != "" || json.Unmarshal([]byte(line), &d) != nil {
			t.Fatalf("not one line of JSON: %s", out)
		}
		if d.Action != "kms:Encrypt" || d.Resource != key || d.Principal != "arn:aws:iam::"+srv.Account+":user/alice" || len(d.Documents) != 2 || !strings.HasPrefix(d.Decision, "Denied because") {
			t.Errorf("derived: %s", out)
		}
	})
	t.Run("allowed", func(t *testing.T) {
		id, ok := encrypt(t, alice, key, map[string]string{"dept": "hr"})
		if !ok {
			t.Fatal("the call was denied")
		}
		contains(t, explain(id), "Encrypt of kms at ", "It was allowed, and succeeded.\n")
		fail(t, cli.StatusFailure, []string{"the call was not denied"}, "explain", id, "--json", "--data", srv.Dir)
	})
	t.Run("failed otherwise", func(t *testing.T) {
		_, err := root.KMS(region).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &key})
		must(t, err)
		id, ok := encrypt(t, root, key, nil)
		if ok {
			t.Fatal("a disabled key encrypts")
		}
		contains(t, explain(id), "DisabledException: ", "It failed for another reason than authorization")
	})
	t.Run("another call that has the id in it", func(t *testing.T) {
		id := deny(map[string]string{"dept": "first"})
		deny(map[string]string{"dept": id})
		if out := explain(id); strings.Count(out, "For account") != 1 || !strings.Contains(out, `in the request: "first"`) {
			t.Errorf("explained:\n%s", out)
		}
		// Nor is the beginning of an id one.
		fail(t, cli.StatusFailure, []string{"no call with the request id " + id[:8]}, "explain", id[:8], "--data", srv.Dir)
	})
	t.Run("no such call", func(t *testing.T) {
		fail(t, cli.StatusFailure, []string{"there is no call with the request id 01234567-89ab-cdef-0123-456789abcdef in the journal of " + srv.Dir}, "explain", "01234567-89ab-cdef-0123-456789abcdef", "--data", srv.Dir)
	})
	t.Run("no data folder", func(t *testing.T) {
		missing := filepath.Join(t.TempDir(), "missing")
		fail(t, cli.StatusFailure, []string{missing}, "explain", "01234567-89ab-cdef-0123-456789abcdef", "--data", missing)
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := runContext(ctx, "explain", "01234567-89ab-cdef-0123-456789abcdef", "--data", srv.Dir); r.status == cli.StatusOK || strings.Contains(r.err, "there is no call") {
			t.Errorf("%+v", r)
		}
	})
}

// TestExplainUsage: what is wrong with the command line is told, with the way to
// more help.
func TestExplainUsage(t *testing.T) {
	for args, words := range map[string][]string{
		"explain":                     {"needs REQUEST-ID"},
		"explain a b":                 {`"b"`},
		"explain a --jsn":             {"--jsn", "--json"},
		"explain a --data":            {"--data"},
		"explain a --json=maybe":      {"--json"},
		"explain a --listen 0.0.0.0:": {"--listen"},
	} {
		fail(t, cli.StatusUsage, append(words, "kagimori help"), strings.Fields(args)...)
	}
	if out := succeed(t, "help", "explain"); !strings.Contains(out, "x-amzn-RequestId") || !strings.Contains(out, "--json") {
		t.Errorf("help explain prints\n%s", out)
	}
}
