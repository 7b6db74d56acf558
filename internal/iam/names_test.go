package iam

import "testing"

// FuzzParseARN: an ARN that is read can be written again, and what is no ARN of IAM
// or of a role session is refused.
func FuzzParseARN(f *testing.F) {
	for _, s := range []string{"arn:aws:iam::111122223333:user/a/b", "arn:aws:iam::aws:policy/aws-service-role/X", "arn:aws:sts::111122223333:assumed-role/r/s",
		"arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/", "", "arn:aws:iam::1:user/a", "arn:aws:sts::111122223333:assumed-role/r/s/t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := parseARN(s)
		if ok && a.resource != "assumed-role" && arnOf(a.account, a.resource, a.path, a.name) != s {
			t.Errorf("%q is read as %+v", s, a)
		}
		if ok && a.name == "" {
			t.Errorf("%q has no name", s)
		}
		if account, ok := rootAccount(s); ok && RootARN(account) != s {
			t.Errorf("%q is the root of %q", s, account)
		}
	})
}
