package policy

import (
	"reflect"
	"testing"
)

// TestDelegation has the default key policy and a statement whose condition fails:
// the account is let in, but no identity policy of the user allows.
func TestDelegation(t *testing.T) {
	doc, err := Parse(Key, "key policy", `{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow",
 "Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
 {"Effect":"Allow","Principal":"*","Action":"kms:Enc*","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:A":["${aws:username, 'x'}","y"]}}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	const user, key = "arn:aws:iam::111122223333:user/a", "arn:aws:kms:eu-central-1:111122223333:key/1"
	req := Request{Caller: &Caller{Account: "111122223333", ARN: user, PrincipalARN: user}, Action: "kms:Encrypt", Resource: key}
	set := Set{Account: "111122223333", Resource: doc}
	want := Decision{Layer: IdentityLayer}
	if d := Decide(&req, &set); d != want {
		t.Errorf("decided %+v, want %+v", d, want)
	}
	d, why := Explain(&req, &set)
	if d != want {
		t.Errorf("explained %+v, want %+v", d, want)
	}
	derivation := &Derivation{
		Principal: user, Action: "kms:Encrypt", Resource: key,
		Decision: "Denied because no identity-based policy allows the kms:Encrypt action",
		Documents: []DocumentDerivation{{Layer: ResourceLayer, Name: "key policy", Outcome: "allows", Statements: []StatementDerivation{
			{Sid: "Enable IAM User Permissions", Effect: "Allow", Matched: true},
			{Index: 1, Effect: "Allow", Failed: "Condition", Why: "StringEquals: the request has no kms:EncryptionContext:A.",
				Conditions: []ConditionDerivation{{Operator: "StringEquals", Key: "kms:EncryptionContext:A", Policy: []string{"${aws:username, 'x'}", "y"}}}},
		}}},
		Notes: []string{"The key policy delegates this to account 111122223333, so an identity policy must allow it as well."},
	}
	if !reflect.DeepEqual(why, derivation) {
		t.Errorf("got\n%+v\nwant\n%+v", why, derivation)
	}
}

// TestSyntaxErrors has what is no policy, and the place and reason that are told.
func TestSyntaxErrorMessages(t *testing.T) {
	for text, want := range map[string]string{
		"{\"Statement\":[{\"Effect\":\"Allow\",\n \"action\":1}]}": `line 2, column 11, Statement[0].action: A statement has no element "action"; write Action`,
		"":                      "line 1, column 1: The document ends too early",
		"{":                     "line 1, column 2: The document ends too early",
		"[]":                    "line 1, column 1: The document must be a JSON object, { to }",
		"{} x":                  "line 1, column 4: The document must end after its JSON object",
		`{"Version":"a",}`:      "line 1, column 15: The document is not JSON: invalid character ',' at start of value",
		`{"Statement":[[[[[[[[`: "line 1, column 21, Statement[0][0][0][0][0][0][0]: Arrays and objects are nested too deep",
		`{"Statement":{"Effect":"Allow","Effect":"Deny"}}`: `line 1, column 32, Statement: "Effect" is there twice; keep one of them`,
		"{\"a\":\xff}": `line 1, column 6, a: The document is not JSON: invalid character '\xff' at start of value`,
	} {
		if _, err := Parse(Identity, "policy", text); err == nil || err.Error() != want {
			t.Errorf("%q\ngot  %v\nwant %s", text, err, want)
		}
	}
}
