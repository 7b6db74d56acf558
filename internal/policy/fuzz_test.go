package policy_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kagimori/kagimori/internal/policy"
	"pgregory.net/rapid"
)

// documents are seeds: of each kind, with all elements, and what is no policy.
var documents = []string{
	`{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"S","Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:user/a/b"],"Service":"s3.amazonaws.com"},"Action":"kms:*","Resource":"*"}]}`,
	`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:sts::111122223333:assumed-role/r/s"},"NotAction":["kms:En*t"],"NotResource":"arn:aws:kms:*:*:key/${aws:username, 'x'}"}}`,
	`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/issuer.example"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"issuer.example:aud":"a"}}}]}`,
	`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringLikeIfExists":{"aws:PrincipalTag/a":["${*}","${aws:username}"]},"NumericLessThan":{"kms:RotationPeriodInDays":7},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"Null":{"aws:TokenIssueTime":true},"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"},"BinaryEquals":{"x:y":"QQ=="}}}]}`,
	`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:Encrypt"],"Resource":["arn:aws:kms:eu-central-1:111122223333:key/k*"],"Condition":{"ArnLike":{"aws:PrincipalArn":"${aws:PrincipalTag/x}:*"},"Bool":{"aws:SecureTransport":"true"}}},{"Effect":"Deny","Action":"kms:Dec?ypt","Resource":"*"}]}`,
	"{}", "[]", "", "\xff", `{"Statement":[{"Effect":"allow"}]}`, strings.Repeat("[", 1000),
}

// FuzzParse: no text makes the parser panic or take much more than the text does;
// what is wrong with one is told with its place; what is parsed can be decided by
// and explained, and means the same when it is written anew.
func FuzzParse(f *testing.F) {
	for _, text := range documents {
		for kind := range 3 {
			f.Add(kind, text)
		}
	}
	caller := who("user/a/b")
	caller.PrincipalID = "AIDAX"
	f.Fuzz(func(t *testing.T, kind int, text string) {
		k := policy.Kind(uint(kind) % 3)
		if used, bound := allocated(func() { _, _ = policy.Parse(k, "d", text) }), uint64(64<<10+1500*len(text)); used > bound {
			t.Fatalf("%d bytes for %d: %q", used, len(text), text)
		}
		doc, err := policy.Parse(k, "d", text)
		if err != nil {
			var e *policy.SyntaxError
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Reason == "" || e.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		// Written anew: without spaces, and with the members of objects in order.
		again, err := policy.Parse(k, "d", write(decode(text)))
		if err != nil {
			t.Fatalf("%q is not what it was when it is written anew: %v", text, err)
		}
		ids := map[string]string{}
		for i, p := range doc.Principals() {
			if i%2 == 0 {
				ids[p] = "AIDAX"
			}
		}
		decide := func(d *policy.Document) policy.Decision {
			req := &policy.Request{Caller: &caller, Action: "kms:Encrypt", Resource: keyARN + "k", Context: fast{}}
			set := &policy.Set{Account: ours, Resource: d}
			if k == policy.Identity {
				set.Identity, set.Resource = []*policy.Document{d}, nil
			}
			got := policy.Decide(req, set)
			if explained, _ := policy.Explain(req, set); explained != got {
				t.Fatalf("%q is decided as %+v and explained as %+v", text, got, explained)
			}
			got.Document = nil
			return got
		}
		for _, pair := range [][2]*policy.Document{{doc, again}, {doc.Bind(ids), again.Bind(ids)}} {
			if a, b := decide(pair[0]), decide(pair[1]); a != b {
				t.Fatalf("%q is decided as %+v, written anew as %+v", text, a, b)
			}
		}
	})
}

// allocated is how many bytes fn takes. Others of the process count too.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzDecide: policies and requests that are drawn as for TestReference, but with
// the fuzzer's bits, are decided as the reference does.
func FuzzDecide(f *testing.F) {
	for seed := range uint64(20) {
		bits := make([]byte, 4096)
		r := rand.NewChaCha8([32]byte{byte(seed)})
		_, _ = r.Read(bits)
		f.Add(bits)
	}
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		for _, q := range drawQuestions(t, 4) {
			if why := q.disagreement(); why != "" {
				t.Fatalf("%s\n%s", why, write(q))
			}
		}
	}))
}

// FuzzDocument: whatever the text, if it is a policy, it is decided and explained
// as the reference does.
func FuzzDocument(f *testing.F) {
	for _, text := range documents {
		for kind := range 3 {
			f.Add(kind, 0, text, "kms:Encrypt", keyARN+"k1", "alice", "red")
		}
	}
	f.Fuzz(func(t *testing.T, kind, caller int, text, action, resource, username, tag string) {
		if len(text) > 2000 || strings.ContainsAny(action+resource, "*?") || len(action+resource+username+tag) > 300 {
			t.Skip() // the reference is slow; requests have no wildcards
		}
		if !utf8.ValidString(action + resource + username + tag) {
			t.Skip()
		}
		p := &paper{Kind: policy.Kind(uint(kind) % 3), Name: "document", Text: text}
		if _, err := p.document(); err != nil || strings.Count(text, "*") > 12 {
			t.Skip()
		}
		q := &question{
			Caller: callers[uint(caller)%uint(len(callers))], Account: ours, Action: action, Resource: resource,
			Facts: facts{
				"aws:username": {"text", []string{username}}, "aws:principaltag/team": {"text", []string{tag}}, "aws:tagkeys": {"texts", []string{tag, username}},
				"aws:sourceip": known["aws:sourceip"][0], "aws:currenttime": known["aws:currenttime"][0], "aws:multifactorauthage": known["aws:multifactorauthage"][0],
				"aws:securetransport": known["aws:securetransport"][0],
			},
		}
		if p.Kind != policy.Identity {
			q.Key, q.Identity = p, []*paper{everything}
		} else if q.Account = q.Caller.Account; q.Account == "" {
			t.Skip()
		} else if !q.Caller.Root {
			q.Identity = []*paper{p}
		}
		if why := q.disagreement(); why != "" {
			t.Fatalf("%s\n%s", why, write(q))
		}
	})
}

// FuzzConditionKey: no name of a condition key makes the parser panic.
func FuzzConditionKey(f *testing.F) {
	for _, s := range []string{"aws:username", "kms:EncryptionContext:a:b", "aws:PrincipalTag/", ":", "", "KMS:ENCRYPTIONCONTEXT:X", "kms:EncryptionContext"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := policy.ParseConditionKey(s)
		if err == nil && k.Name == "" {
			t.Errorf("%q is the key %+v", s, k)
		}
	})
}
