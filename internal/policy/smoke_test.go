package policy

import (
	"encoding/json"
	"testing"
)

func TestSmoke(t *testing.T) {
	d, err := Parse(Key, "key policy", `{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow",
 "Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
 {"Effect":"Allow","Principal":"*","Action":"kms:Enc*","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:A":["${aws:username, 'x'}","y"]}}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	dec, der := Explain(&Request{Caller: &Caller{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/a", PrincipalARN: "arn:aws:iam::111122223333:user/a"}, Action: "kms:Encrypt", Resource: "arn:aws:kms:eu-central-1:111122223333:key/1"}, &Set{Account: "111122223333", Resource: d})
	b, _ := json.MarshalIndent(der, "", " ")
	t.Logf("%+v\n%s", dec, b)
	_, err = Parse(Identity, "x", "{\"Statement\":[{\"Effect\":\"Allow\",\n \"action\":1}]}")
	t.Log(err)
	for _, x := range []string{"", "{", "[]", "{} x", "{\"Version\":\"a\",}", `{"Statement":{"Effect":"Allow","Effect":"Deny"}}`, "{\"a\":\xff}", `{"Statement":[[[[[[[[[[`, `{"Statement" "`} {
		_, err = Parse(Identity, "x", x)
		t.Log(err)
	}
}
