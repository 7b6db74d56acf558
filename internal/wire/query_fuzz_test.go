package wire

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/awserr"
)

// FuzzDecodeForm: no Query request makes the decoder panic; what it refuses has an
// error of AWS's form, and the error body is XML.
func FuzzDecodeForm(f *testing.F) {
	for _, s := range []string{
		"Action=CreateUser&Version=2010-05-08&UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=v",
		"Action=AssumeRole&Version=2011-06-15&RoleArn=x&RoleSessionName=s&PolicyArns.member.2.arn=a&PolicyArns.member.1.arn=b&DurationSeconds=900",
		"Action=SimulateCustomPolicy&PolicyInputList.member.1=%7B%7D&ActionNames.member.1=a&ContextEntries.member.1.ContextKeyName=aws%3Ausername&ContextEntries.member.1.ContextKeyValues.member.1=x",
		"Action=GetCallerIdentity", "Action=&Action=", "%", "&&&", "Tags.member.0.Key=x&Action=TagUser", "Action=TagUser&Tags=&Tags.member.1=x", "Action=CreateUser&UserName.a.b=c", "=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		answered := func(s *Service, err error) {
			var e *awserr.Error
			if !errors.As(err, &e) {
				t.Fatalf("%q: %v", text, err)
			}
			body, status := s.AppendError(nil, e, "request-id")
			if status < 400 || status > 599 {
				t.Fatalf("%q: status %d", text, status)
			}
			for d := xml.NewDecoder(strings.NewReader(string(body))); ; {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%q: %v in %s", text, err, body)
				}
			}
		}
		form, err := ParseForm([]byte(text))
		if err != nil {
			answered(UnknownQuery, err)
			return
		}
		s, op, err := LookupAction(form)
		if err != nil {
			answered(s, err)
			return
		}
		if err := op.DecodeForm(form, op.NewInput()); err != nil {
			answered(s, err)
		}
	})
}
