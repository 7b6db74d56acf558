package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/policy"
)

// TestSyntaxErrors: what is wrong with a document is told with line, place and
// reason, so that it can be put right.
func TestSyntaxErrors(t *testing.T) {
	stmt := func(s string) string { return "{\"Version\":\"2012-10-17\",\n\"Statement\":[\n" + s + "]}" }
	const base = `"Effect":"Allow","Action":"kms:*","Resource":"*"`
	for _, c := range []struct {
		name, text string
		kind       policy.Kind
		line       int
		path       string
		reason     string
	}{
		{"empty", "", policy.Identity, 1, "", "The document ends too early"},
		{"not JSON", "{", policy.Identity, 1, "", "The document ends too early"},
		{"trailing text", stmt("{"+base+"}") + "x", policy.Identity, 3, "", "The document must end after its JSON object"},
		{"list", "[]", policy.Identity, 1, "", "The document must be a JSON object, { to }"},
		{"no statement", `{"Version":"2012-10-17"}`, policy.Identity, 1, "", "A policy must have a Statement"},
		{"unknown version", `{"Version":"2020-01-01","Statement":{` + base + `}}`, policy.Identity, 1, "Version", `Version must be 2012-10-17 or 2008-10-17, not "2020-01-01"`},
		{"unknown element", `{"Versoin":"2012-10-17","Statement":{` + base + `}}`, policy.Identity, 1, "Versoin", `A policy has no element "Versoin"; there are Version, Id, Statement`},
		{"unknown element of a statement", stmt("{" + base + `,"Actoin":"x"}`), policy.Identity, 3, "Statement[0].Actoin", `A statement has no element "Actoin"; there are Sid, Effect, Principal, NotPrincipal, Action, NotAction, Resource, NotResource, Condition`},
		{"element twice", stmt("{" + base + `,"Action":"kms:Encrypt"}`), policy.Identity, 3, "Statement[0]", `"Action" is there twice; keep one of them`},
		{"effect in lower case", stmt(`{"Effect":"allow","Action":"kms:*","Resource":"*"}`), policy.Identity, 3, "Statement[0].Effect", `Effect must be Allow or Deny, not "allow"`},
		{"no effect", stmt(`{"Action":"kms:*","Resource":"*"}`), policy.Identity, 3, "Statement[0]", "A statement must have an Effect, Allow or Deny"},
		{"second statement", stmt("{" + base + "},\n{\"Effect\":\"Deny\",\"Action\":1,\"Resource\":\"*\"}"), policy.Identity, 4, "Statement[1].Action", "Action must be a string or an array of strings"},
		{"no action", stmt(`{"Effect":"Allow","Resource":"*"}`), policy.Identity, 3, "Statement[0]", "Policy statement must contain actions."},
		{"action and not action", stmt("{" + base + `,"NotAction":"kms:Encrypt"}`), policy.Identity, 3, "Statement[0].NotAction", "A statement may have Action or NotAction, not both"},
		{"action without service", stmt(`{"Effect":"Allow","Action":"Encrypt","Resource":"*"}`), policy.Identity, 3, "Statement[0].Action", "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
		{"no resource", stmt(`{"Effect":"Allow","Action":"kms:*"}`), policy.Identity, 3, "Statement[0]", "Policy statement must contain resources."},
		{"resource that is no ARN", stmt(`{"Effect":"Allow","Action":"kms:*","Resource":"key"}`), policy.Identity, 3, "Statement[0].Resource", `Resource key must be in ARN format or "*".`},
		{"principal in an identity policy", stmt("{" + base + `,"Principal":"*"}`), policy.Identity, 3, "Statement[0].Principal", "Policy document should not specify a principal."},
		{"no principal in a key policy", stmt("{" + base + "}"), policy.Key, 3, "Statement[0]", "A statement of this policy must have a Principal or a NotPrincipal"},
		{"principal with a wildcard", stmt("{" + base + `,"Principal":{"AWS":"arn:aws:iam::111122223333:user/*"}}`), policy.Key, 3, "Statement[0].Principal.AWS", `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/*"`},
		{"principal that is none", stmt("{" + base + `,"Principal":{"AWS":"alice"}}`), policy.Key, 3, "Statement[0].Principal.AWS", `Invalid principal in policy: "AWS":"alice"`},
		{"kind of principal that is none", stmt("{" + base + `,"Principal":{"User":"alice"}}`), policy.Key, 3, "Statement[0].Principal.User", `Principal has no element "User"; there are AWS, Service, Federated, CanonicalUser`},
		{"resource in a trust policy", stmt(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}`), policy.Trust, 3, "Statement[0].Resource", "Has prohibited field Resource"},
		{"operator that is none", stmt("{" + base + `,"Condition":{"StringEqual":{"aws:username":"a"}}}`), policy.Identity, 3, "Statement[0].Condition.StringEqual", `There is no condition operator "StringEqual"`},
		{"set operator that is none", stmt("{" + base + `,"Condition":{"ForEachValue:StringEquals":{"aws:username":"a"}}}`), policy.Identity, 3, "Statement[0].Condition.ForEachValue:StringEquals", `There is no condition operator "ForEachValue:StringEquals"`},
		{"Null with IfExists", stmt("{" + base + `,"Condition":{"NullIfExists":{"aws:username":"true"}}}`), policy.Identity, 3, "Statement[0].Condition.NullIfExists", `There is no condition operator "NullIfExists"`},
		{"key without vendor", stmt("{" + base + `,"Condition":{"StringEquals":{"username":"a"}}}`), policy.Identity, 3, "Statement[0].Condition.StringEquals.username", "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
		{"key without its name", stmt("{" + base + `,"Condition":{"StringEquals":{"kms:EncryptionContext":"a"}}}`), policy.Identity, 3, "Statement[0].Condition.StringEquals.kms:EncryptionContext", "The condition key kms:EncryptionContext must say which one, as in kms:EncryptionContext:NAME"},
		{"not a number", stmt("{" + base + `,"Condition":{"NumericEquals":{"kms:RotationPeriodInDays":"soon"}}}`), policy.Identity, 3, "Statement[0].Condition.NumericEquals.kms:RotationPeriodInDays", `kms:RotationPeriodInDays: "soon" is not a number such as 10 or 2.5, which NumericEquals needs`},
		{"not a date", stmt("{" + base + `,"Condition":{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}}`), policy.Identity, 3, "Statement[0].Condition.DateLessThan.aws:CurrentTime", `aws:CurrentTime: "tomorrow" is not a date such as 2026-01-31T00:00:00Z or seconds since 1970, which DateLessThan needs`},
		{"not an address", stmt("{" + base + `,"Condition":{"IpAddress":{"aws:SourceIp":"300.0.0.0/8"}}}`), policy.Identity, 3, "Statement[0].Condition.IpAddress.aws:SourceIp", `aws:SourceIp: "300.0.0.0/8" is not an IP address or a CIDR block such as 203.0.113.0/24, which IpAddress needs`},
		{"not a boolean", stmt("{" + base + `,"Condition":{"Bool":{"aws:SecureTransport":"yes"}}}`), policy.Identity, 3, "Statement[0].Condition.Bool.aws:SecureTransport", `aws:SecureTransport: "yes" is not true or false, which Bool needs`},
		{"variable that does not end", stmt("{" + base + `,"Condition":{"StringLike":{"aws:username":"${aws:userid"}}}`), policy.Identity, 3, "Statement[0].Condition.StringLike.aws:username", "aws:username: has a policy variable that is none: write ${KEY} or ${KEY, 'DEFAULT'} with a condition key, and ${$} for a dollar sign"},
		{"variable in a variable", stmt("{" + base + `,"Condition":{"StringLike":{"aws:username":"${a:${b:c}}"}}}`), policy.Identity, 3, "Statement[0].Condition.StringLike.aws:username", "aws:username: has a policy variable that is none: write ${KEY} or ${KEY, 'DEFAULT'} with a condition key, and ${$} for a dollar sign"},
		{"variable that is no key", stmt("{" + base + `,"Condition":{"StringLike":{"aws:username":"${username}"}}}`), policy.Identity, 3, "Statement[0].Condition.StringLike.aws:username", "aws:username: has a policy variable that is none: write ${KEY} or ${KEY, 'DEFAULT'} with a condition key, and ${$} for a dollar sign"},
		{"default without quotes", stmt("{" + base + `,"Condition":{"StringLike":{"aws:username":"${aws:userid, x}"}}}`), policy.Identity, 3, "Statement[0].Condition.StringLike.aws:username", "aws:username: has a policy variable that is none: write ${KEY} or ${KEY, 'DEFAULT'} with a condition key, and ${$} for a dollar sign"},
		{"character with a default", stmt("{" + base + `,"Condition":{"StringLike":{"aws:username":"${*, 'x'}"}}}`), policy.Identity, 3, "Statement[0].Condition.StringLike.aws:username", "aws:username: has a policy variable that is none: write ${KEY} or ${KEY, 'DEFAULT'} with a condition key, and ${$} for a dollar sign"},
		{"variable in a resource", stmt(`{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:*:key/${x"}`), policy.Identity, 3, "Statement[0].Resource", "Resource arn:aws:kms:*:*:key/${x has a policy variable that is none: write ${KEY} or ${KEY, 'DEFAULT'} with a condition key, and ${$} for a dollar sign"},
		// The version has no variables, so this is a text, and none of the two.
		{"variable as a boolean", `{"Version":"2008-10-17","Statement":{` + base + `,"Condition":{"Bool":{"aws:SecureTransport":"${aws:SecureTransport}"}}}}`, policy.Identity, 1, "Statement.Condition.Bool.aws:SecureTransport", `aws:SecureTransport: "${aws:SecureTransport}" is not true or false, which Bool needs`},
		{"second value of a list", stmt("{" + base + `,"Condition":{"NumericEquals":{"kms:RotationPeriodInDays":[90,` + "\n" + `"x"]}}}`), policy.Identity, 4, "Statement[0].Condition.NumericEquals.kms:RotationPeriodInDays[1]", `kms:RotationPeriodInDays: "x" is not a number such as 10 or 2.5, which NumericEquals needs`},
		{"second action", stmt(`{"Effect":"Allow","Action":["kms:*",` + "\n\n" + `"kms:a:b"],"Resource":"*"}`), policy.Identity, 5, "Statement[0].Action[1]", "Actions/Condition can contain only one colon."},
		{"action of a vendor that is none", stmt(`{"Effect":"Allow","Action":"k*:Encrypt","Resource":"*"}`), policy.Identity, 3, "Statement[0].Action", "Vendor k* is not valid"},
		{"value that is an object", stmt("{" + base + `,"Condition":{"StringEquals":{"aws:username":{}}}}`), policy.Identity, 3, "Statement[0].Condition.StringEquals.aws:username", "A value of aws:username must be a string or an array of strings"},
		{"no values", stmt("{" + base + `,"Condition":{"StringEquals":{"aws:username":[]}}}`), policy.Identity, 3, "Statement[0].Condition.StringEquals.aws:username", "A value of aws:username must not be empty"},
		{"null", stmt("{" + base + `,"Condition":null}`), policy.Identity, 3, "Statement[0].Condition", `Condition must be an object, as in {"StringEquals": {"kms:CallerAccount": "111122223333"}}`},
		{"not base64", stmt("{" + base + `,"Condition":{"BinaryEquals":{"a:b":"?"}}}`), policy.Identity, 3, "Statement[0].Condition.BinaryEquals.a:b", `a:b: "?" is not base64, which BinaryEquals needs`},
		{"Null of neither", stmt("{" + base + `,"Condition":{"Null":{"a:b":"maybe"}}}`), policy.Identity, 3, "Statement[0].Condition.Null.a:b", `a:b: "maybe" is not true or false, which Null needs`},
		{"Null of a set", stmt("{" + base + `,"Condition":{"ForAnyValue:Null":{"a:b":"true"}}}`), policy.Identity, 3, "Statement[0].Condition.ForAnyValue:Null", `There is no condition operator "ForAnyValue:Null"`},
		{"address with a zone", stmt("{" + base + `,"Condition":{"IpAddress":{"a:b":"fe80::1%eth0"}}}`), policy.Identity, 3, "Statement[0].Condition.IpAddress.a:b", `a:b: "fe80::1%eth0" is not an IP address or a CIDR block such as 203.0.113.0/24, which IpAddress needs`},
		{"ForAllValues of one value", stmt("{" + base + `,"Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContext:a":"b"}}}`), policy.Identity, 3, "Statement[0].Condition.ForAllValues:StringEquals.kms:EncryptionContext:a", "kms:EncryptionContext:a has one value in a request, for which ForAllValues holds also when it is absent; leave ForAllValues out, or test kms:EncryptionContextKeys"},
		{"ARN of five parts", stmt(`{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:key/*"}`), policy.Identity, 3, "Statement[0].Resource", "The policy failed legacy parsing: Resource arn:aws:kms:*:key/* must have six parts, arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE"},
		{"resource of any service", stmt(`{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:*:::key/*"}`), policy.Identity, 3, "Statement[0].Resource", "Resource vendor must be fully qualified and cannot contain regexes."},
		{"no principals", stmt("{" + base + `,"Principal":{"AWS":[]}}`), policy.Key, 3, "Statement[0].Principal.AWS", "Principal must not be empty"},
		{"principal of no kind", stmt("{" + base + `,"Principal":{}}`), policy.Key, 3, "Statement[0].Principal", "Principal must not be empty"},
		{"principal as a text", stmt("{" + base + `,"Principal":"111122223333"}`), policy.Key, 3, "Statement[0].Principal", `Principal must be "*" or an object, as in {"AWS": "arn:aws:iam::111122223333:root"}`},
		{"group as a principal", stmt("{" + base + `,"Principal":{"AWS":"arn:aws:iam::111122223333:group/g"}}`), policy.Key, 3, "Statement[0].Principal.AWS", `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:group/g"`},
		{"account of eleven digits", stmt("{" + base + `,"Principal":{"AWS":"11112222333"}}`), policy.Key, 3, "Statement[0].Principal.AWS", `Invalid principal in policy: "AWS":"11112222333"`},
		{"principal and not principal", stmt("{" + base + `,"Principal":"*","NotPrincipal":"*"}`), policy.Key, 3, "Statement[0].NotPrincipal", "A statement may have Principal or NotPrincipal, not both"},
		{"Sid with a space", stmt(`{"Sid":"A B",` + base + "}"), policy.Identity, 3, "Statement[0].Sid", "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"},
		{"Sid that is a number", stmt(`{"Sid":1,` + base + "}"), policy.Identity, 3, "Statement[0].Sid", "Sid must be a string"},
		{"statement that is a text", `{"Statement":["a"]}`, policy.Identity, 1, "Statement[0]", "A statement must be an object, { to }"},
		{"statements that are a text", `{"Statement":"a"}`, policy.Identity, 1, "Statement", "Statement must be an object or an array of objects"},
		{"no statements", `{"Statement":[]}`, policy.Identity, 1, "Statement", "Statement must not be empty"},
		{"nested too deep", strings.Repeat(`{"a":`, 9), policy.Identity, 1, "a.a.a.a.a.a.a.a", "Arrays and objects are nested too deep"},
		{"too many statements", `{"Statement":[` + strings.Repeat(`{"Effect":"Allow","Action":"*","Resource":"*"},`, 512) + `{}]}`, policy.Identity, 1, "Statement", "A policy may have at most 512 statements"},
		{"too large", strings.Repeat(" ", 65537), policy.Identity, 1, "", "The document has 65537 bytes; at most 65536 are allowed"},
		{"invalid UTF-8", "{\"Id\":\"\xff\"}", policy.Identity, 1, "Id", "The document is not JSON: invalid UTF-8"},
		{"the same Sid twice", stmt(`{"Sid":"A",` + base + "},\n" + `{"Sid":"A",` + base + "}"), policy.Identity, 4, "Statement[1].Sid", "Statement IDs (SID) in a single policy must be unique."},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := policy.Parse(c.kind, "d", c.text)
			var e *policy.SyntaxError
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Line != c.line || e.Path != c.path || e.Reason != c.reason {
				t.Errorf("line %d, path %q: %s\nwant line %d, path %q: %s", e.Line, e.Path, e.Reason, c.line, c.path, c.reason)
			}
		})
	}
}

// TestParseMemory: what reading a document takes grows with its size, whatever it
// is full of. Documents come from callers, and before anything is known of them
// but that they have credentials.
func TestParseMemory(t *testing.T) {
	const (
		size  = 60_000
		bound = 64 << 20 // bytes; about a kilobyte for each of the document
	)
	value := func(s string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"` + strings.Repeat(s, size/len(s)) + `"}}}}`
	}
	for name, text := range map[string]string{
		"characters that are wild elsewhere": value("*"),
		"dollar signs":                       value("$"),
		"characters as variables":            value("${*}"),
		"variables":                          value("${a:b}"),
		"a long name over a long list":       `{"` + strings.Repeat("a", size/2) + `":[` + strings.Repeat("1,", size/4) + `1]}`,
		"long names in each other":           `{"` + strings.Repeat("a", size/2) + `":{"` + strings.Repeat("b", size/4) + `":[` + strings.Repeat("[],", size/16) + `1]}}`,
		"many names":                         `{"Statement":{"Condition":{"StringEquals":{` + manyNames(size) + `"a:b":""}}}}`,
		"lists":                              strings.Repeat(`[`, size),
	} {
		t.Run(name, func(t *testing.T) {
			if used := allocated(func() { _, _ = policy.Parse(policy.Identity, "d", text) }); used > bound {
				t.Errorf("%d MB for %d kB", used>>20, len(text)>>10)
			}
		})
	}
}

func manyNames(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `"a:%d":"",`, i)
	}
	return b.String()
}
