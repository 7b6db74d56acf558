package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/policy"
)

// This file has what AWS documents of condition operators, as tables.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html

// holds tells whether an Allow with that Condition lets a request in whose context
// has f. The reference must say the same.
func holds(t *testing.T, version, condition string, f facts) bool {
	t.Helper()
	q := &question{
		Caller: who("user/alice"), Account: ours, Action: "kms:Encrypt", Resource: keyARN + "k1", Facts: f,
		Identity: []*paper{{Name: "policy", Text: `{"Version":"` + version + `","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":` + condition + `}}`}},
	}
	if why := q.disagreement(); why != "" {
		t.Error(why)
		return false
	}
	req, set, err := q.put()
	if err != nil {
		t.Error(err)
	}
	return policy.Decide(req, set).Allowed
}

// samples have, for each operator, a value of a policy, values of requests that
// match it, and values that do not. For operators with Not the first match what
// they negate.
var samples = []struct {
	operator, value string
	hits, misses    []string
}{
	{"StringEquals", "Red", []string{"Red"}, []string{"red", "Re", "Redd", ""}},
	{"StringNotEquals", "Red", []string{"Red"}, []string{"red", "Re", "Redd", ""}},
	{"StringEqualsIgnoreCase", "Red", []string{"Red", "rED"}, []string{"Re", "blue"}},
	{"StringNotEqualsIgnoreCase", "Red", []string{"Red", "rED"}, []string{"Re", "blue"}},
	{"StringLike", "R?d*", []string{"Red", "Rod and"}, []string{"red", "Rd", "Reed"}},
	{"StringNotLike", "R?d*", []string{"Red", "Rod and"}, []string{"red", "Rd", "Reed"}},
	{"NumericEquals", "7", []string{"7", "7.0"}, []string{"6", "7.5", "seven"}},
	{"NumericNotEquals", "7", []string{"7", "7.0"}, []string{"6", "7.5", "seven"}},
	{"NumericLessThan", "7", []string{"6", "6.99", "-8"}, []string{"7", "8", "six"}},
	{"NumericLessThanEquals", "7", []string{"7", "6"}, []string{"7.01", "8", "six"}},
	{"NumericGreaterThan", "7", []string{"8", "7.01"}, []string{"7", "6", "eight"}},
	{"NumericGreaterThanEquals", "7", []string{"7", "8"}, []string{"6.99", "-7", "eight"}},
	{"DateEquals", "2026-03-01T12:00:00Z", []string{"2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00"}, []string{"2026-03-01T12:00:01Z", "noon"}},
	{"DateNotEquals", "2026-03-01T12:00:00Z", []string{"2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00"}, []string{"2026-03-01T12:00:01Z", "noon"}},
	{"DateLessThan", "2026-03-01T12:00:00Z", []string{"2026-03-01T11:59:59Z", "2026-03-01"}, []string{"2026-03-01T12:00:00Z", "2026-03-02", "noon"}},
	{"DateLessThanEquals", "2026-03-01T12:00:00Z", []string{"2026-03-01T12:00:00Z", "2026-03-01"}, []string{"2026-03-01T12:00:01Z", "noon"}},
	{"DateGreaterThan", "2026-03-01T12:00:00Z", []string{"2026-03-01T12:00:01Z", "2026-03-02"}, []string{"2026-03-01T12:00:00Z", "2026-03-01", "noon"}},
	{"DateGreaterThanEquals", "2026-03-01T12:00:00Z", []string{"2026-03-01T12:00:00Z", "2026-03-02"}, []string{"2026-03-01T11:59:59Z", "noon"}},
	{"Bool", "true", []string{"true", "TRUE"}, []string{"false", "yes", ""}},
	{"BinaryEquals", "cmVk", []string{"red"}, []string{"Red", "cmVk", ""}},
	{"IpAddress", "203.0.113.0/24", []string{"203.0.113.0", "203.0.113.255"}, []string{"203.0.114.0", "2001:db8::1", "everywhere"}},
	{"NotIpAddress", "203.0.113.0/24", []string{"203.0.113.0", "203.0.113.255"}, []string{"203.0.114.0", "2001:db8::1", "everywhere"}},
	{"ArnEquals", "arn:aws:s3:::b?cket/*", []string{"arn:aws:s3:::bucket/a/b:c"}, []string{"arn:aws:s3:::bucket", "arn:aws:s3::1:bucket/a", "bucket"}},
	{"ArnLike", "arn:aws:s3:::b?cket/*", []string{"arn:aws:s3:::bucket/a/b:c"}, []string{"arn:aws:s3:::bucket", "arn:aws:s3::1:bucket/a", "bucket"}},
	{"ArnNotEquals", "arn:aws:s3:::b?cket/*", []string{"arn:aws:s3:::bucket/a/b:c"}, []string{"arn:aws:s3:::bucket", "arn:aws:s3::1:bucket/a", "bucket"}},
	{"ArnNotLike", "arn:aws:s3:::b?cket/*", []string{"arn:aws:s3:::bucket/a/b:c"}, []string{"arn:aws:s3:::bucket", "arn:aws:s3::1:bucket/a", "bucket"}},
}

// outcomes are those of an operator under each quantifier, for requests: T holds,
// F does not. Of the requests, two values are a multi-valued key.
//
// AWS does not document operators without a quantifier on several values; they are
// taken for alternatives. Nor does it say which goes first for ForAnyValue with
// IfExists on an absent key: IfExists, which stands for every operator but Null.
var outcomes = []struct {
	quantifier, ifExists string
	//                  absent empty hit miss hits mixed misses
	positive, negated string
}{
	{"", "", "F F T F T T F", "T T F T F F T"},
	{"", "IfExists", "T T T F T T F", "T T F T F F T"},
	{"ForAllValues:", "", "T T T F T F F", "T T F T F F T"},
	{"ForAllValues:", "IfExists", "T T T F T F F", "T T F T F F T"},
	{"ForAnyValue:", "", "F F T F T T F", "F F F T F T T"},
	{"ForAnyValue:", "IfExists", "T T T F T T F", "T T F T F T T"},
}

// TestOperators has every operator under every quantifier, with and without
// IfExists, on every kind of request.
func TestOperators(t *testing.T) {
	var tested []string
	for _, s := range samples {
		tested = append(tested, s.operator)
		for _, o := range outcomes {
			operator := o.quantifier + s.operator + o.ifExists
			want := o.positive
			if strings.Contains(s.operator, "Not") {
				want = o.negated
			}
			condition := fmt.Sprintf(`{%q:{"aws:TagKeys":%q}}`, operator, s.value)
			check := func(request string, column int, f facts) {
				t.Helper()
				if got, want := holds(t, "2012-10-17", condition, f), want[2*column] == 'T'; got != want {
					t.Errorf("%s, %s: %v, want %v", condition, request, got, want)
				}
			}
			key := func(v fact) facts { return facts{"aws:tagkeys": v} }
			check("absent", 0, nil)
			check("empty", 1, key(fact{"texts", nil}))
			for _, hit := range s.hits {
				check(hit, 2, key(fact{"text", []string{hit}}))
			}
			for _, miss := range s.misses {
				check(miss, 3, key(fact{"text", []string{miss}}))
				for _, hit := range s.hits {
					check(hit+" and "+miss, 5, key(fact{"texts", []string{hit, miss}}))
					check(miss+" and "+hit, 5, key(fact{"texts", []string{miss, hit}}))
				}
			}
			check("hits", 4, key(fact{"texts", s.hits}))
			check("misses", 6, key(fact{"texts", s.misses}))
		}
	}
	slices.Sort(tested)
	if untested := slices.DeleteFunc(slices.Clone(policy.Operators), func(o string) bool { return o == "Null" || slices.Contains(tested, o) }); len(untested) > 0 {
		t.Errorf("operators without a test: %q", untested)
	}
}

// TestSeveralValues: of several values of a policy one must match; under an
// operator with Not, none may.
func TestSeveralValues(t *testing.T) {
	for _, c := range []struct {
		condition string
		has       fact
		want      bool
	}{
		{`{"StringEquals":{"aws:TagKeys":["a","b"]}}`, text("b"), true},
		{`{"StringEquals":{"aws:TagKeys":["a","b"]}}`, text("c"), false},
		{`{"StringNotEquals":{"aws:TagKeys":["a","b"]}}`, text("b"), false},
		{`{"StringNotEquals":{"aws:TagKeys":["a","b"]}}`, text("c"), true},
		{`{"NotIpAddress":{"aws:TagKeys":["10.0.0.0/8","2001:db8::/32"]}}`, text("10.1.1.1"), false},
		{`{"NotIpAddress":{"aws:TagKeys":["10.0.0.0/8","2001:db8::/32"]}}`, text("192.0.2.1"), true},
		{`{"ArnNotLike":{"aws:TagKeys":["arn:aws:s3:::a","arn:aws:s3:::b"]}}`, text("arn:aws:s3:::b"), false},
		{`{"NumericNotEquals":{"aws:TagKeys":[1,2]}}`, text("2"), false},
		{`{"NumericLessThan":{"aws:TagKeys":[1,5]}}`, text("4"), true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, fact{"texts", []string{"b", "a"}}, true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, fact{"texts", []string{"b", "c"}}, false},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, fact{"texts", []string{"c", "d"}}, true},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, fact{"texts", []string{"c", "b"}}, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, fact{"texts", []string{"a", "b"}}, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, fact{"texts", []string{"a", "c"}}, true},
		// All operators, and all keys of an operator, must hold.
		{`{"StringEquals":{"aws:TagKeys":"a"},"StringLike":{"aws:TagKeys":"b*"}}`, text("a"), false},
		{`{"StringEquals":{"aws:TagKeys":"a"},"StringLike":{"aws:TagKeys":"a*"}}`, text("a"), true},
		{`{"StringEquals":{"aws:TagKeys":"a","aws:username":"a"}}`, text("a"), false},
		// Names of keys have no case.
		{`{"StringEquals":{"AWS:tagkeys":"a"}}`, text("a"), true},
	} {
		if got := holds(t, "2012-10-17", c.condition, facts{"aws:tagkeys": c.has}); got != c.want {
			t.Errorf("%s of %q: %v, want %v", c.condition, c.has.values, got, c.want)
		}
	}
}

func text(s string) fact { return fact{"text", []string{s}} }

// TestNull: true for a key that the request does not have, or has without a value.
func TestNull(t *testing.T) {
	for _, c := range []struct {
		value string
		f     facts
		want  bool
	}{
		{`"true"`, nil, true},
		{`"true"`, facts{"aws:username": text("a")}, false},
		{`"true"`, facts{"aws:username": {"texts", nil}}, true},
		{`"true"`, facts{"aws:username": text("")}, false},
		{`"false"`, nil, false},
		{`"false"`, facts{"aws:username": text("a")}, true},
		{`"false"`, facts{"aws:username": {"texts", nil}}, false},
		{`"TRUE"`, nil, true},
		{`true`, nil, true},
		{`false`, facts{"aws:username": {"bool", []string{"false"}}}, true},
		{`["true","false"]`, nil, true},
		{`["true","false"]`, facts{"aws:username": text("a")}, true},
	} {
		if got := holds(t, "2012-10-17", `{"Null":{"aws:username":`+c.value+`}}`, c.f); got != c.want {
			t.Errorf("Null %s of %v: %v, want %v", c.value, c.f, got, c.want)
		}
	}
}

// TestComparison has what matches what, for operators where that is more than to be
// equal.
func TestComparison(t *testing.T) {
	for _, c := range []struct {
		operator, value string
		has             fact
		want            bool
	}{
		// Strings: exact, without wildcards, unless the operator says so.
		{"StringEquals", `"r*d"`, text("red"), false},
		{"StringEquals", `"r*d"`, text("r*d"), true},
		{"StringEquals", `"r?d"`, text("red"), false},
		{"StringEquals", `""`, text(""), true},
		{"StringEquals", `" red"`, text("red"), false},
		{"StringEquals", `"鍵"`, text("鍵"), true},
		{"StringEqualsIgnoreCase", `"R*D"`, text("red"), false},
		{"StringEqualsIgnoreCase", `"ÄRGER"`, text("ärger"), true},
		{"StringLike", `"*"`, text(""), true},
		{"StringLike", `"?"`, text(""), false},
		{"StringLike", `"?"`, text("鍵"), true}, // one character, not one byte
		{"StringLike", `"??"`, text("鍵"), false},
		{"StringLike", `"**"`, text("a"), true},
		{"StringLike", `"a*b*c"`, text("a-b-b-c"), true},
		{"StringLike", `"a*b*c"`, text("a-c-b"), false},
		{"StringLike", `"*ab"`, text("aab"), true}, // the first a is not the one
		{"StringLike", `"*a?c"`, text("abababc"), true},
		{"StringLike", `"a*a"`, text("a"), false}, // one a is not two
		{"StringLike", `"*.amazonaws.com"`, text("s3.eu-central-1.amazonaws.com"), true},
		{"StringLike", `"*b"`, text("abc"), false}, // what is behind the last run is the end
		{"StringLike", `"a*b"`, text("abxb"), true},
		{"StringLike", `"*/*"`, text("a:b"), false},
		{"StringLike", `"A*"`, text("abc"), false},
		{"StringLike", `"arn:aws:s3:*"`, text("arn:aws:s3:::a:b"), true}, // crosses the parts of an ARN
		{"StringEquals", `"10"`, fact{"number", []string{"10"}}, true},
		{"StringEquals", `10`, text("10"), true},
		{"StringEquals", `true`, fact{"bool", []string{"true"}}, true},
		{"StringEquals", `"2026-01-01T00:00:00Z"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"StringLike", `"10.*"`, fact{"ip", []string{"10.1.2.3"}}, true},

		// Numbers: integers and decimals, as strings or not.
		{"NumericEquals", `"7"`, fact{"number", []string{"7"}}, true},
		{"NumericEquals", `7`, fact{"number", []string{"7"}}, true},
		{"NumericEquals", `7.0`, fact{"number", []string{"7"}}, true},
		{"NumericEquals", `"+7"`, fact{"number", []string{"7"}}, true},
		{"NumericEquals", `"007"`, fact{"number", []string{"7"}}, true},
		{"NumericEquals", `"0.7e1"`, fact{"number", []string{"7"}}, true},
		{"NumericLessThan", `"9007199254740993"`, fact{"number", []string{"9007199254740992"}}, true}, // more digits than a float has
		{"NumericLessThan", `"-1"`, fact{"number", []string{"-2"}}, true},
		{"NumericLessThan", `"10"`, text("9"), true}, // not as strings
		{"NumericGreaterThan", `"1767225599"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"NumericEquals", `"1"`, fact{"bool", []string{"true"}}, false},
		{"NumericNotEquals", `"1"`, fact{"bool", []string{"true"}}, true}, // matches nothing, which Not negates

		// Dates: the profiles of ISO 8601, and seconds since 1970.
		{"DateEquals", `"2026"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"2026-01"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"2026-01-01"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"2026-01-01T00:00Z"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"2026-01-01T01:00+01:00"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"2026-01-01T00:00:00Z"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"2026-01-01T00:00:00.0Z"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"2025-12-31T19:00:00-05:00"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"1767225600"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `1767225600`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateGreaterThan", `"2025-12-31T23:59:59.999Z"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateLessThan", `"2026-01-01T00:00:00.001Z"`, fact{"time", []string{"2026-01-01T00:00:00Z"}}, true},
		{"DateEquals", `"2026-01-01"`, text("1767225600"), true},

		// Booleans have no case.
		{"Bool", `"True"`, fact{"bool", []string{"true"}}, true},
		{"Bool", `true`, text("True"), true},
		{"Bool", `"false"`, fact{"bool", []string{"true"}}, false},
		{"Bool", `["true","false"]`, fact{"bool", []string{"true"}}, true},
		{"Bool", `"true"`, text("1"), false},

		// Addresses: an address alone is a block of one.
		{"IpAddress", `"10.1.2.3"`, fact{"ip", []string{"10.1.2.3"}}, true},
		{"IpAddress", `"10.1.2.3"`, fact{"ip", []string{"10.1.2.4"}}, false},
		{"IpAddress", `"10.1.2.3/32"`, fact{"ip", []string{"10.1.2.3"}}, true},
		{"IpAddress", `"10.1.2.3/8"`, fact{"ip", []string{"10.255.0.1"}}, true}, // what stands behind the prefix does not count
		{"IpAddress", `"10.0.0.0/9"`, fact{"ip", []string{"10.128.0.0"}}, false},
		{"IpAddress", `"0.0.0.0/0"`, fact{"ip", []string{"192.0.2.1"}}, true},
		{"IpAddress", `"0.0.0.0/0"`, fact{"ip", []string{"2001:db8::1"}}, false}, // all of IPv4 is not IPv6
		{"IpAddress", `"::/0"`, fact{"ip", []string{"2001:db8::1"}}, true},
		{"IpAddress", `"::/0"`, fact{"ip", []string{"192.0.2.1"}}, false},
		{"IpAddress", `"2001:DB8:1234:5678::/64"`, fact{"ip", []string{"2001:db8:1234:5678:ffff::1"}}, true},
		{"IpAddress", `"2001:DB8:1234:5678::/64"`, fact{"ip", []string{"2001:db8:1234:5679::1"}}, false},
		{"IpAddress", `"2001:db8::1"`, fact{"ip", []string{"2001:db8:0:0::1"}}, true},
		{"IpAddress", `"192.0.2.0/24"`, fact{"ip", []string{"::ffff:192.0.2.1"}}, true}, // IPv4 through an IPv6 socket
		{"NotIpAddress", `"192.0.2.0/24"`, fact{"ip", []string{"::ffff:192.0.2.1"}}, false},
		{"IpAddress", `"192.0.2.1"`, text("192.0.2.1"), true},
		{"IpAddress", `"::ffff:192.0.2.1"`, text("192.0.2.1"), true},

		// ARNs: part by part; wildcards stay in theirs, but the last takes colons.
		{"ArnLike", `"arn:aws:iam::111122223333:user/*"`, text("arn:aws:iam::111122223333:user/a/b"), true},
		{"ArnLike", `"arn:aws:iam::111122223333:user/*"`, text("arn:aws:iam::111122223333:role/a"), false},
		{"ArnLike", `"arn:aws:iam::*:user/a"`, text("arn:aws:iam::111122223333:user/a"), true},
		{"ArnLike", `"arn:aws:iam:*:user/a"`, text("arn:aws:iam::111122223333:user/a"), false}, // for two parts
		{"ArnLike", `"arn:*:user/a"`, text("arn:aws:iam::111122223333:user/a"), false},         // for four
		{"ArnLike", `"*"`, text("arn:aws:iam::111122223333:user/a"), false},                    // for six
		{"ArnLike", `"arn:aws:sns:*:*:*"`, text("arn:aws:sns:us-east-1:1:topic:sub:id"), true}, // the last part
		{"ArnLike", `"arn:aws:sns:*:1:topic"`, text("arn:aws:sns:a:1:topic:1:topic"), false},   // which is the rest
		{"ArnLike", `"arn:aws:sns:*:1:t*c"`, text("arn:aws:sns:a:1:topic:1:topic"), true},      // colons and all
		{"ArnLike", `"arn:aws:s3::"`, text("arn:aws:s3:::"), false},                            // five parts are no ARN
		{"ArnLike", `"${aws:nothing, 'arn'}:aws:s3::*"`, text("arn:aws:s3:::x"), false},
		{"ArnLike", `"arn:aws:s3:::?"`, text("arn:aws:s3:::a"), true},
		{"ArnLike", `"arn:aws:s3:::?"`, text("arn:aws:s3:::"), false},
		{"ArnLike", `"arn:aws:s3:?::a"`, text("arn:aws:s3:::a"), false}, // an empty part is no character
		{"ArnLike", `"arn:AWS:s3:::a"`, text("arn:aws:s3:::a"), false},
		{"ArnEquals", `"arn:aws:s3:::*"`, text("arn:aws:s3:::a"), true}, // as ArnLike
		{"ArnEquals", `"arn:aws:s3:::A"`, text("arn:aws:s3:::a"), false},
		{"ArnNotEquals", `"arn:aws:s3:::*"`, text("arn:aws:s3:::a"), false},
		{"ArnNotLike", `"arn:aws:s3:::*"`, text("no ARN"), true}, // matches nothing, which Not negates

		// Bytes.
		{"BinaryEquals", `"AAE="`, text("\x00\x01"), true},
		{"BinaryEquals", `"AAE="`, text("AAE="), false},
		{"BinaryEquals", `""`, text(""), true},
	} {
		if got := holds(t, "2012-10-17", fmt.Sprintf(`{%q:{"aws:username":%s}}`, c.operator, c.value), facts{"aws:username": c.has}); got != c.want {
			t.Errorf("%s %s of %s %q: %v, want %v", c.operator, c.value, c.has.kind, c.has.values, got, c.want)
		}
	}
}

// TestVariables: ${key} in values of String, Arn and Bool operators, and in the
// last part of a Resource.
func TestVariables(t *testing.T) {
	f := facts{
		"aws:username": text("alice"), "aws:userid": text("r*d"), "kms:encryptioncontext:name": text("alice"), "kms:encryptioncontext:wild": text("r*d"), "kms:encryptioncontext:red": text("red"),
		"kms:encryptioncontext:chars": text("*?$"), "kms:encryptioncontext:text": text("${aws:username}"), "aws:principaltag/team": text("k1"), "aws:multifactorauthage": {"number", []string{"7"}},
		"kms:encryptioncontext:seven": text("7"), "aws:tagkeys": {"texts", []string{"alice"}}, "aws:securetransport": {"bool", []string{"true"}}, "aws:principalarn": text("arn:aws:iam::111122223333:user/alice"),
		"kms:encryptioncontext:colons": text("arn:aws:iam::111122223333:user/alice"),
		"kms:encryptioncontext:empty":  text(""), "kms:encryptioncontext:both": text("alice-k1"),
	}
	for _, c := range []struct {
		version, condition string
		want               bool
	}{
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${aws:username}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${AWS:UserName}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"a${aws:username}"}}`, false},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${aws:PrincipalTag/team}"}}`, false},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:seven":"${aws:MultiFactorAuthAge}"}}`, true},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:name":"?${aws:username}"}}`, false},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:name":"*${aws:username}*"}}`, true},
		{"2012-10-17", `{"StringEqualsIgnoreCase":{"kms:EncryptionContext:name":"${aws:username}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":["bob","${aws:username}"]}}`, true},

		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:both":"${aws:username}*${aws:PrincipalTag/team}"}}`, true},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:both":"${aws:PrincipalTag/team}*${aws:username}"}}`, false},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:both":"*${aws:username}?${aws:PrincipalTag/team}*"}}`, true},

		// Wildcards in a value are characters.
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:wild":"${aws:userid}"}}`, true},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:red":"${aws:userid}"}}`, false},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:red":"r*d"}}`, true},

		// ${*}, ${?} and ${$} are the characters.
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:wild":"r${*}d"}}`, true},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:red":"r${*}d"}}`, false},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:chars":"${*}${?}${$}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:text":"${$}{aws:username}"}}`, true},
		{"2012-10-17", `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:user/alic${?}"}}`, false},

		// Defaults, for keys that are absent, or have several values.
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${aws:nothing, 'alice'}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${aws:userid, 'alice'}"}}`, false},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:red":"${aws:nothing, 'r*d'}"}}`, false},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:empty":"${aws:nothing, ''}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${aws:TagKeys, 'alice'}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${aws:TagKeys}"}}`, false},

		// A variable without a value matches nothing.
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${aws:nothing}"}}`, false},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:empty":"${aws:nothing}"}}`, false},
		{"2012-10-17", `{"StringLike":{"kms:EncryptionContext:name":"*${aws:nothing}"}}`, false},
		{"2012-10-17", `{"StringNotEquals":{"kms:EncryptionContext:name":"${aws:nothing}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"kms:EncryptionContext:name":["${aws:nothing}","alice"]}}`, true},

		// ARNs: the value goes in before the parts are divided.
		{"2012-10-17", `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${aws:username}"}}`, true},
		{"2012-10-17", `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${aws:userid}"}}`, false},
		{"2012-10-17", `{"ArnEquals":{"aws:PrincipalArn":"${kms:EncryptionContext:colons}"}}`, true},
		{"2012-10-17", `{"ArnEquals":{"aws:PrincipalArn":"${aws:nothing}"}}`, false},
		{"2012-10-17", `{"ArnNotEquals":{"aws:PrincipalArn":"${kms:EncryptionContext:colons}"}}`, false},

		// Booleans.
		{"2012-10-17", `{"Bool":{"aws:SecureTransport":"${aws:SecureTransport}"}}`, true},
		{"2012-10-17", `{"Bool":{"aws:SecureTransport":"${aws:nothing, 'true'}"}}`, true},
		{"2012-10-17", `{"Bool":{"aws:SecureTransport":"${aws:nothing}"}}`, false},

		// The earlier version has no variables.
		{"2008-10-17", `{"StringEquals":{"kms:EncryptionContext:name":"${aws:username}"}}`, false},
		{"2008-10-17", `{"StringEquals":{"kms:EncryptionContext:text":"${aws:username}"}}`, true},
		{"2008-10-17", `{"StringLike":{"kms:EncryptionContext:text":"${*}"}}`, true}, // a wildcard in braces
		{"2008-10-17", `{"StringEquals":{"kms:EncryptionContext:text":"${"}}`, false},
	} {
		if got := holds(t, c.version, c.condition, f); got != c.want {
			t.Errorf("%s: %s: %v, want %v", c.version, c.condition, got, c.want)
		}
	}
}

// TestActionsAndResources has what Action and Resource elements stand for.
func TestActionsAndResources(t *testing.T) {
	key := keyARN + "k1"
	for _, c := range []struct {
		elements string
		action   string
		resource string
		want     bool
	}{
		{`"Action":"*","Resource":"*"`, "kms:Encrypt", key, true},
		{`"Action":"*:*","Resource":"*"`, "kms:Encrypt", key, true},
		{`"Action":"kms:*","Resource":"*"`, "kms:Encrypt", key, true},
		{`"Action":"KMS:eNCRYPT","Resource":"*"`, "kms:Encrypt", key, true},
		{`"Action":"kms:Encrypt","Resource":"*"`, "kms:EncryptX", key, false},
		{`"Action":"kms:Encrypt*","Resource":"*"`, "kms:Encrypt", key, true},
		{`"Action":"kms:*crypt","Resource":"*"`, "kms:Decrypt", key, true},
		{`"Action":"kms:?ecrypt","Resource":"*"`, "kms:Encrypt", key, false},
		{`"Action":"s3:*","Resource":"*"`, "kms:Encrypt", key, false},
		{`"Action":["s3:*","kms:Encrypt"],"Resource":"*"`, "kms:Encrypt", key, true},
		{`"NotAction":"kms:Decrypt","Resource":"*"`, "kms:Encrypt", key, true},
		{`"NotAction":["kms:Decrypt","kms:Enc*"],"Resource":"*"`, "kms:Encrypt", key, false},
		{`"NotAction":"s3:*","Resource":"*"`, "iam:GetUser", key, true},
		{`"Action":"*","Resource":"` + key + `"`, "kms:Encrypt", key, true},
		{`"Action":"*","Resource":"` + keyARN + `K1"`, "kms:Encrypt", key, false},
		{`"Action":"*","Resource":"arn:aws:kms:*:*:key/*"`, "kms:Encrypt", key, true},
		{`"Action":"*","Resource":"arn:aws:kms:eu-central-1:111122223333:*"`, "kms:Encrypt", key, true},
		{`"Action":"*","Resource":"arn:aws:kms:us-*:*:*"`, "kms:Encrypt", key, false},
		{`"Action":"*","Resource":"` + keyARN + `${aws:username}"`, "kms:Encrypt", keyARN + "alice", true},
		{`"Action":"*","Resource":"` + keyARN + `${aws:username}"`, "kms:Encrypt", key, false},
		{`"Action":"*","Resource":"` + keyARN + `${aws:nothing}"`, "kms:Encrypt", key, false},
		{`"Action":"*","Resource":"` + keyARN + `${aws:nothing, 'k1'}"`, "kms:Encrypt", key, true},
		{`"Action":"*","Resource":"` + keyARN + `${*}"`, "kms:Encrypt", key, false},
		{`"Action":"*","Resource":"` + keyARN + `k${?}"`, "kms:Encrypt", keyARN + "k?", true},
		{`"Action":"*","NotResource":"` + key + `"`, "kms:Encrypt", key, false},
		{`"Action":"*","NotResource":"` + key + `"`, "kms:Encrypt", keyARN + "k2", true},
		{`"Action":"*","NotResource":"` + keyARN + `${aws:nothing}"`, "kms:Encrypt", key, true},
		{`"Action":"*","NotResource":["` + keyARN + `k2","arn:aws:kms:*:*:key/k?"]`, "kms:Encrypt", key, false},
		{`"Action":"kms:CreateKey","Resource":"*"`, "kms:CreateKey", "*", true},
		{`"Action":"kms:CreateKey","Resource":"` + key + `"`, "kms:CreateKey", "*", false},
	} {
		q := &question{
			Caller: who("user/alice"), Account: ours, Action: c.action, Resource: c.resource, Facts: facts{"aws:username": text("alice")},
			Identity: []*paper{{Name: "policy", Text: `{"Version":"2012-10-17","Statement":{"Effect":"Allow",` + c.elements + `}}`}},
		}
		if why := q.disagreement(); why != "" {
			t.Errorf("%s: %s", c.elements, why)
			continue
		}
		req, set, err := q.put()
		must(err)
		if got := policy.Decide(req, set).Allowed; got != c.want {
			t.Errorf("%s allows %s on %s: %v, want %v", c.elements, c.action, c.resource, got, c.want)
		}
	}
}
