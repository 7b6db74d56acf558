package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/policy"
)

// typical is a request on a key whose policy has ten statements, by a user with two
// policies, as services have them: roles, conditions, wildcards. It is allowed by
// the last statement of each.
func typical(t testing.TB) (*policy.Request, *policy.Set) {
	t.Helper()
	const account = "111122223333"
	var statements []string
	ids := map[string]string{}
	for i := range 8 {
		arn := fmt.Sprintf("arn:aws:iam::%s:role/service-%d", account, i)
		ids[arn] = fmt.Sprintf("AROASERVICE%d", i)
		statements = append(statements, fmt.Sprintf(`{"Sid":"Service%d","Effect":"Allow","Principal":{"AWS":%q},"Action":["kms:GenerateDataKey*","kms:Decrypt","kms:DescribeKey"],"Resource":"*",
			"Condition":{"StringEquals":{"kms:ViaService":"s3.eu-central-1.amazonaws.com"},"StringLike":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::bucket-%d/*"}}}`, i, arn, i))
	}
	statements = append(statements,
		`{"Sid":"MFA","Effect":"Deny","Principal":"*","Action":["kms:ScheduleKeyDeletion","kms:PutKeyPolicy"],"Resource":"*","Condition":{"NumericGreaterThanIfExists":{"aws:MultiFactorAuthAge":"300"}}}`,
		`{"Sid":"Account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`)
	parse := func(kind policy.Kind, text string) *policy.Document {
		doc, err := policy.Parse(kind, "document", text)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	key := parse(policy.Key, `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`).Bind(ids)
	identity := []*policy.Document{
		parse(policy.Identity, `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::bucket/*"},
			{"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":["eu-central-1","eu-west-1"]}}}]}`),
		parse(policy.Identity, `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["kms:Describe*","kms:List*"],"Resource":"*"},
			{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"arn:aws:kms:*:111122223333:key/*","Condition":{"StringEquals":{"kms:EncryptionContext:tenant":"${aws:PrincipalTag/tenant}"}}}]}`),
	}
	caller := &policy.Caller{Account: account, ARN: "arn:aws:iam::111122223333:user/worker", PrincipalARN: "arn:aws:iam::111122223333:user/worker", PrincipalID: "AIDAWORKER"}
	return &policy.Request{Caller: caller, Action: "kms:Decrypt", Resource: "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", Context: fast{}},
		&policy.Set{Account: account, Resource: key, Identity: identity}
}

// fast is a Context that allocates nothing.
type fast struct{}

var (
	fastTags = []string{"a", "b"}
	fastIP   = netip.MustParseAddr("10.1.2.3")
	fastTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func (fast) Value(k *policy.ConditionKey) policy.Value {
	switch k.Name {
	case "aws:requestedregion":
		return policy.Text("eu-central-1")
	case "kms:encryptioncontext", "aws:principaltag":
		if strings.EqualFold(k.Parameter, "tenant") {
			return policy.Text("t1")
		}
	case "aws:tagkeys":
		return policy.Texts(fastTags)
	case "aws:multifactorauthage":
		return policy.Number(7)
	case "aws:currenttime":
		return policy.Time(fastTime)
	case "aws:securetransport":
		return policy.Bool(true)
	case "aws:sourceip":
		return policy.IP(fastIP)
	case "aws:principalarn":
		return policy.Text("arn:aws:iam::" + ours + ":user/t1")
	case "aws:principalaccount":
		return policy.Text(ours)
	}
	return policy.Absent
}

// BenchmarkDecide decides over a key policy of ten statements and two identity
// policies.
func BenchmarkDecide(b *testing.B) {
	req, set := typical(b)
	b.ReportAllocs()
	for b.Loop() {
		if !policy.Decide(req, set).Allowed {
			b.Fatal("denied")
		}
	}
}

// oneGrant is a grant for every request.
type oneGrant struct{}

func (oneGrant) Find(*policy.Request, func(string, string)) (string, bool) { return "g", false }

// BenchmarkDecideByGrant decides likewise, but only a grant allows.
func BenchmarkDecideByGrant(b *testing.B) {
	req, set := typical(b)
	set.Identity, set.Grants = nil, oneGrant{}
	b.ReportAllocs()
	for b.Loop() {
		if policy.Decide(req, set).Grant != "g" {
			b.Fatal("denied")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	const text = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse(policy.Key, "key policy", text); err != nil {
			b.Fatal(err)
		}
	}
}

// TestDecideAllocatesNothing: a decision is made on every call, so it leaves
// nothing to be collected.
func TestDecideAllocatesNothing(t *testing.T) {
	req, set := typical(t)
	if !policy.Decide(req, set).Allowed {
		t.Fatal("the request is denied")
	}
	if n := testing.AllocsPerRun(1000, func() { policy.Decide(req, set) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	req.Action = "kms:ScheduleKeyDeletion"
	if policy.Decide(req, set).Allowed {
		t.Fatal("the request is allowed")
	}
	if n := testing.AllocsPerRun(1000, func() { policy.Decide(req, set) }); n != 0 {
		t.Errorf("%v allocations for a denial", n)
	}
}

// TestConditionsAllocateNothing likewise looks at every family of operators.
func TestConditionsAllocateNothing(t *testing.T) {
	for _, condition := range []string{
		`{"StringLike":{"aws:RequestedRegion":"eu-*-?"}}`,
		`{"StringEqualsIgnoreCase":{"aws:RequestedRegion":"EU-CENTRAL-1"}}`,
		`{"StringLike":{"kms:EncryptionContext:tenant":["${aws:nothing}","${aws:nothing, 'x'}","*${aws:PrincipalTag/tenant}"]}}`,
		`{"ForAnyValue:StringLike":{"aws:TagKeys":["x*","b*"]}}`,
		`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`,
		`{"NumericLessThan":{"aws:MultiFactorAuthAge":"300.5"},"NumericEquals":{"aws:MultiFactorAuthAge":"7"}}`,
		`{"DateLessThan":{"aws:CurrentTime":["2020-01-01","2030-01-01T00:00:00Z"]}}`,
		`{"Bool":{"aws:SecureTransport":"true"}}`,
		`{"BinaryEquals":{"aws:RequestedRegion":"ZXUtY2VudHJhbC0x"}}`,
		`{"IpAddress":{"aws:SourceIp":["2001:db8::/32","10.0.0.0/8"]}}`,
		`{"ArnLike":{"aws:PrincipalArn":["arn:aws:s3:::x","arn:aws:iam::*:user/${aws:PrincipalTag/tenant}*"]}}`,
		`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::${aws:PrincipalAccount}:user/t1"}}`,
		`{"ArnEquals":{"aws:PrincipalArn":"${aws:PrincipalArn}"}}`,
		`{"Null":{"aws:nothing":"true"}}`,
	} {
		doc, err := policy.Parse(policy.Identity, "d", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:kms:*:*:key/*","Condition":`+condition+`}}`)
		must(err)
		caller := who("user/t1")
		req := &policy.Request{Caller: &caller, Action: "kms:Encrypt", Resource: keyARN + "k1", Context: fast{}}
		set := &policy.Set{Account: ours, Identity: []*policy.Document{doc}}
		if !policy.Decide(req, set).Allowed {
			t.Errorf("%s does not hold", condition)
		}
		if n := testing.AllocsPerRun(100, func() { policy.Decide(req, set) }); n != 0 {
			t.Errorf("%s: %v allocations", condition, n)
		}
	}
}
