package kms

import (
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/awserr"
)

const (
	testAccount = "111122223333"
	testRegion  = "eu-central-1"
	testID      = "1234abcd-12ab-34cd-56ef-1234567890ab"
	testMRK     = "mrk-1234abcd12ab34cd56ef1234567890ab"
)

func TestParseKeyRef(t *testing.T) {
	own := keyRef{account: testAccount, region: testRegion}
	key, mrk, alias, foreign := own, own, own, own
	key.id, mrk.id, alias.alias = testID, testMRK, "alias/a/b_c-D9"
	foreign.account, foreign.id = "999999999999", testID
	const arn = "arn:aws:kms:eu-central-1:"
	for _, c := range []struct {
		in   string
		want keyRef
		code string
	}{
		{testID, key, ""},
		{testMRK, mrk, ""},
		{"alias/a/b_c-D9", alias, ""},
		{arn + testAccount + ":key/" + testID, key, ""},
		{arn + testAccount + ":alias/a/b_c-D9", alias, ""},
		{arn + "999999999999:key/" + testID, foreign, ""},
		{"arn:aws:kms:us-east-1:111122223333:key/" + testID, keyRef{}, awserr.NotFound},
		{"", keyRef{}, awserr.NotFound},
		{"key/" + testID, keyRef{}, awserr.NotFound},
		{strings.ToUpper(testID), keyRef{}, awserr.NotFound},
		{testID + " ", keyRef{}, awserr.NotFound},
		{testID[:35], keyRef{}, awserr.NotFound},
		{"mrk-" + testID, keyRef{}, awserr.NotFound},
		{"alias/", keyRef{}, awserr.NotFound},
		{"alias/ä", keyRef{}, awserr.NotFound},
		{"alias/" + strings.Repeat("a", 251), keyRef{}, awserr.NotFound},
		{arn + testAccount + ":key/", keyRef{}, awserr.NotFound},
		{arn + testAccount + ":grant/" + testID, keyRef{}, awserr.InvalidArn},
		{arn + "11112222333:key/" + testID, keyRef{}, awserr.InvalidArn},
		{"arn:aws:s3:eu-central-1:111122223333:key/" + testID, keyRef{}, awserr.InvalidArn},
		{"arn:aws-cn:kms:eu-central-1:111122223333:key/" + testID, keyRef{}, awserr.InvalidArn},
		{"arn:", keyRef{}, awserr.InvalidArn},
	} {
		got, err := parseKeyRef(c.in, testAccount, testRegion)
		if c.code != "" {
			if !awserr.Is(err, c.code) {
				t.Errorf("%q: %v, want %s", c.in, err, c.code)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v; want %+v", c.in, got, err, c.want)
		}
	}
}

// FuzzParseKeyRef: what is accepted is a well-formed reference whose ARN parses
// to the same reference.
func FuzzParseKeyRef(f *testing.F) {
	for _, s := range []string{testID, testMRK, "alias/x", "arn:aws:kms:eu-central-1:111122223333:key/" + testID,
		"arn:aws:kms:eu-central-1:111122223333:alias/x", "arn:::::", "arn:aws:kms:::key/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := parseKeyRef(s, testAccount, testRegion)
		if err != nil {
			if e := awserr.From(err); e.Code != awserr.NotFound && e.Code != awserr.InvalidArn {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		arn := keyARN(ref.account, ref.region, ref.id)
		if ref.alias != "" {
			arn = aliasARN(ref.account, ref.region, ref.alias)
		}
		if (ref.id == "") == (ref.alias == "") || !isAccountID(ref.account) || ref.region != testRegion {
			t.Fatalf("%q gives %+v", s, ref)
		}
		again, err := parseKeyRef(arn, testAccount, testRegion)
		if err != nil || again != ref {
			t.Fatalf("%q gives %+v, its ARN %+v, %v", s, ref, again, err)
		}
	})
}
