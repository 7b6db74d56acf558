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
		reason     string // a part of it
	}{
		{"empty", "", policy.Identity, 1, "", "ends too early"},
		{"not JSON", "{", policy.Identity, 1, "", ""},
		{"trailing text", stmt("{"+base+"}") + "x", policy.Identity, 3, "", ""},
		{"list", "[]", policy.Identity, 1, "", "object"},
		{"no statement", `{"Version":"2012-10-17"}`, policy.Identity, 1, "", "Statement"},
		{"unknown version", `{"Version":"2020-01-01","Statement":{` + base + `}}`, policy.Identity, 1, "Version", "2012-10-17"},
		{"unknown element", `{"Versoin":"2012-10-17","Statement":{` + base + `}}`, policy.Identity, 1, "Versoin", ""},
		{"unknown element of a statement", stmt("{" + base + `,"Actoin":"x"}`), policy.Identity, 3, "Statement[0].Actoin", ""},
		{"element twice", stmt("{" + base + `,"Action":"kms:Encrypt"}`), policy.Identity, 3, "Statement[0]", "Action"},
		{"effect in lower case", stmt(`{"Effect":"allow","Action":"kms:*","Resource":"*"}`), policy.Identity, 3, "Statement[0].Effect", "Allow or Deny"},
		{"no effect", stmt(`{"Action":"kms:*","Resource":"*"}`), policy.Identity, 3, "Statement[0]", "Effect"},
		{"second statement", stmt("{" + base + "},\n{\"Effect\":\"Deny\",\"Action\":1,\"Resource\":\"*\"}"), policy.Identity, 4, "Statement[1].Action", ""},
		{"no action", stmt(`{"Effect":"Allow","Resource":"*"}`), policy.Identity, 3, "Statement[0]", "actions"},
		{"action and not action", stmt("{" + base + `,"NotAction":"kms:Encrypt"}`), policy.Identity, 3, "Statement[0]", "NotAction"},
		{"action without service", stmt(`{"Effect":"Allow","Action":"Encrypt","Resource":"*"}`), policy.Identity, 3, "Statement[0].Action", ""},
		{"no resource", stmt(`{"Effect":"Allow","Action":"kms:*"}`), policy.Identity, 3, "Statement[0]", "resources"},
		{"resource that is no ARN", stmt(`{"Effect":"Allow","Action":"kms:*","Resource":"key"}`), policy.Identity, 3, "Statement[0].Resource", "ARN"},
		{"principal in an identity policy", stmt("{" + base + `,"Principal":"*"}`), policy.Identity, 3, "Statement[0].Principal", ""},
		{"no principal in a key policy", stmt("{" + base + "}"), policy.Key, 3, "Statement[0]", "Principal"},
		{"principal with a wildcard", stmt("{" + base + `,"Principal":{"AWS":"arn:aws:iam::111122223333:user/*"}}`), policy.Key, 3, "Statement[0].Principal.AWS", ""},
		{"principal that is none", stmt("{" + base + `,"Principal":{"AWS":"alice"}}`), policy.Key, 3, "Statement[0].Principal.AWS", ""},
		{"kind of principal that is none", stmt("{" + base + `,"Principal":{"User":"alice"}}`), policy.Key, 3, "Statement[0].Principal.User", ""},
		{"resource in a trust policy", stmt(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}`), policy.Trust, 3, "Statement[0].Resource", ""},
		{"operator that is none", stmt("{" + base + `,"Condition":{"StringEqual":{"aws:username":"a"}}}`), policy.Identity, 3, "Statement[0].Condition.StringEqual", "StringEqual"},
		{"set operator that is none", stmt("{" + base + `,"Condition":{"ForEachValue:StringEquals":{"aws:username":"a"}}}`), policy.Identity, 3, "Statement[0].Condition.ForEachValue:StringEquals", ""},
		{"Null with IfExists", stmt("{" + base + `,"Condition":{"NullIfExists":{"aws:username":"true"}}}`), policy.Identity, 3, "Statement[0].Condition.NullIfExists", ""},
		{"key without vendor", stmt("{" + base + `,"Condition":{"StringEquals":{"username":"a"}}}`), policy.Identity, 3, "Statement[0].Condition.StringEquals.username", "vendor"},
		{"key without its name", stmt("{" + base + `,"Condition":{"StringEquals":{"kms:EncryptionContext":"a"}}}`), policy.Identity, 3, "Statement[0].Condition.StringEquals.kms:EncryptionContext", "NAME"},
		{"not a number", stmt("{" + base + `,"Condition":{"NumericEquals":{"kms:RotationPeriodInDays":"soon"}}}`), policy.Identity, 3, "Statement[0].Condition.NumericEquals.kms:RotationPeriodInDays", "number"},
		{"not a date", stmt("{" + base + `,"Condition":{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}}`), policy.Identity, 3, "Statement[0].Condition.DateLessThan.aws:CurrentTime", ""},
		{"not an address", stmt("{" + base + `,"Condition":{"IpAddress":{"aws:SourceIp":"300.0.0.0/8"}}}`), policy.Identity, 3, "Statement[0].Condition.IpAddress.aws:SourceIp", ""},
		{"not a boolean", stmt("{" + base + `,"Condition":{"Bool":{"aws:SecureTransport":"yes"}}}`), policy.Identity, 3, "Statement[0].Condition.Bool.aws:SecureTransport", "true or false"},
		{"variable that does not end", stmt("{" + base + `,"Condition":{"StringLike":{"aws:username":"${aws:userid"}}}`), policy.Identity, 3, "Statement[0].Condition.StringLike.aws:username", ""},
		{"the same Sid twice", stmt(`{"Sid":"A",` + base + "},\n" + `{"Sid":"A",` + base + "}"), policy.Identity, 4, "Statement[1].Sid", "unique"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := policy.Parse(c.kind, "d", c.text)
			var e *policy.SyntaxError
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Line != c.line || !strings.HasPrefix(e.Path, c.path) || !strings.Contains(e.Reason, c.reason) {
				t.Errorf("line %d, path %q: %s\nwant line %d, path %q: …%s…", e.Line, e.Path, e.Reason, c.line, c.path, c.reason)
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
