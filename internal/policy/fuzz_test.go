package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/policy"
)

// FuzzParse: no text makes the parser panic, what is wrong with one is told with
// its place, and what is parsed can be decided by and explained.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"S","Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:user/a/b"],"Service":"s3.amazonaws.com"},"Action":"kms:*","Resource":"*"}]}`,
		`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:sts::111122223333:assumed-role/r/s"},"NotAction":["kms:En*t"],"NotResource":"arn:aws:kms:*:*:key/${aws:username, 'x'}"}}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringLikeIfExists":{"aws:PrincipalTag/a":["${*}","${aws:username}"]},"NumericLessThan":{"kms:RotationPeriodInDays":7},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"Null":{"aws:TokenIssueTime":true},"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"},"BinaryEquals":{"x:y":"QQ=="}}}]}`,
		"{}", "[]", "", "\xff", `{"Statement":[{"Effect":"allow"}]}`, strings.Repeat("[", 1000),
	} {
		for kind := range 3 {
			f.Add(kind, text)
		}
	}
	caller := policy.Caller{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/a/b", PrincipalARN: "arn:aws:iam::111122223333:user/a/b", PrincipalID: "AIDAX"}
	f.Fuzz(func(t *testing.T, kind int, text string) {
		k := policy.Kind(uint(kind) % 3)
		doc, err := policy.Parse(k, "d", text)
		if err != nil {
			var e *policy.SyntaxError
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Reason == "" || e.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		again, err := policy.Parse(k, "d", text)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]string{}
		for i, p := range doc.Principals() {
			if i%2 == 0 {
				ids[p] = "AIDAX"
			}
		}
		for _, d := range []*policy.Document{doc, doc.Bind(ids)} {
			req := &policy.Request{Caller: &caller, Action: "kms:Encrypt", Resource: "arn:aws:kms:eu-central-1:111122223333:key/k", Context: fast{}}
			set := &policy.Set{Account: "111122223333", Identity: []*policy.Document{d}}
			if k != policy.Identity {
				set.Identity, set.Resource = nil, d
			}
			got := policy.Decide(req, set)
			if explained, _ := policy.Explain(req, set); explained != got {
				t.Fatalf("%q is decided as %+v and explained as %+v", text, got, explained)
			}
			if d == doc { // the same text, the same outcome
				if k == policy.Identity {
					set.Identity[0] = again
				} else {
					set.Resource = again
				}
				if other := policy.Decide(req, set); other.Allowed != got.Allowed || other.Layer != got.Layer || other.Explicit != got.Explicit {
					t.Fatalf("%q is decided as %+v and as %+v", text, got, other)
				}
			}
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
