package iam

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// https://www.rfc-editor.org/rfc/rfc6238#appendix-B for SHA-1, whose codes of eight
// digits end with those of six.
func TestTOTPVectors(t *testing.T) {
	seed := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := totp(seed, totpStep(time.Unix(at, 0))); got != want[2:] {
			t.Errorf("at %d the code is %s, want %s", at, got, want[2:])
		}
	}
}

// What the QR code holds is read by apps by these rules:
// https://github.com/google/google-authenticator/wiki/Key-Uri-Format
func TestOTPAuth(t *testing.T) {
	u, err := url.Parse(otpauth("a+b=c", "111122223333", "ABCDEFGH"))
	if err != nil {
		t.Fatal(err)
	}
	issuer, who, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), ":")
	if u.Scheme != "otpauth" || u.Host != "totp" || who != "a+b=c@111122223333" || u.Query().Get("secret") != "ABCDEFGH" {
		t.Errorf("the URI is %s", u)
	}
	if issuer == "" || issuer != u.Query().Get("issuer") {
		t.Errorf("the label says %q and the issuer is %q", issuer, u.Query().Get("issuer"))
	}
}

// FuzzSpans: where statements stand lies within the text, one after the other.
func FuzzSpans(f *testing.F) {
	for _, s := range []string{`{"Statement":[{},{"a":[1]}]}`, "{\"Version\":1,\n \"Statement\":{\"a\":{}}}", `{"Statement":{`, `[]`, ``, `{"Statement":1}`, `{"Statement":[`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line, column := int32(1), int32(1)
		for _, at := range spans(s) {
			for _, p := range []struct{ line, column int32 }{{at.start.Line, at.start.Column}, {at.end.Line, at.end.Column}} {
				if p.line < line || p.line == line && p.column < column || int(p.line) > strings.Count(s, "\n")+1 {
					t.Fatalf("%q: line %d column %d after line %d column %d", s, p.line, p.column, line, column)
				}
				line, column = p.line, p.column
			}
		}
	})
}
