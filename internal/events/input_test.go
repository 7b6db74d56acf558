package events

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/kagimori/kagimori/internal/store"
)

const anEvent = `{"id":"e","detail-type":"T","source":"app","detail":{"name":"a \"b\" <c>","n":1.50,"list":[{"x":"y"},null],"t":true,"o":{"k":"v"}},"resources":["arn:1"]}`

func aRule() *rule {
	return &rule{place: store.Place{Kind: ruleKind, Account: "111122223333", Region: "eu-central-1", ID: "r"}}
}

// TestInput has the ways in which a target can say what it gets.
func TestInput(t *testing.T) {
	e, err := parseEvent([]byte(anEvent), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	template := func(text string) types.Target {
		return types.Target{InputTransformer: &types.InputTransformer{InputTemplate: &text, InputPathsMap: map[string]string{
			"name": "$.detail.name", "n": "$.detail.n", "o": "$.detail.o", "none": "$.detail.none.deeper", "kind": "$.detail-type", "x": "$.detail.list[0].x", "q": "$.detail['name']"}}}
	}
	for _, c := range []struct {
		target types.Target
		want   string
	}{
		{types.Target{}, anEvent},
		{types.Target{Input: aws.String(`{"a":1}`)}, `{"a":1}`},
		{types.Target{InputPath: aws.String("$.detail.n")}, `1.50`},
		{types.Target{InputPath: aws.String("$.detail.name")}, `"a \"b\" <c>"`},
		{types.Target{InputPath: aws.String("$.detail.list[1]")}, `null`},
		{types.Target{InputPath: aws.String("$.resources[0]")}, `"arn:1"`},
		{types.Target{InputPath: aws.String("$.nothing[7].here")}, `null`},
		{template(`{"a":<name>,"b":"it is <name>, <n>","c":<o>,"d":"<o>","e":<none>,"f":"<none>"}`), `{"a":"a \"b\" <c>","b":"it is a \"b\" <c>, 1.50","c":{"k":"v"},"d":"{\"k\":\"v\"}","e":null,"f":""}`},
		{template(`"<kind>: <name>"`), `"T: a \"b\" <c>"`},
		{template(`Key <q> of <kind>: <o><none> <x>`), `Key a "b" <c> of T: {"k":"v"} y`},
		{template(`{"rule":"<aws.events.rule-name>","arn":<aws.events.rule-arn>,"at":<aws.events.event.ingestion-time>}`), `{"rule":"r","arn":"arn:aws:events:eu-central-1:111122223333:rule/r","at":"1970-01-01T00:00:00Z"}`},
		{template(`{"all":<aws.events.event.json>}`), `{"all":` + anEvent + `}`},
		{template(`{"\"<name>":"\\","b":"<n>"}`), `{"\"a \"b\" <c>":"\\","b":"1.50"}`},
	} {
		c.target.Id = aws.String("1")
		in, err := newInput(&c.target)
		if err != nil {
			t.Errorf("%+v: %v", c.target, err)
			continue
		}
		got := string(in.of(e, aRule()))
		if got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
	for text, bad := range map[string]types.Target{
		"JSON syntax error":   {Input: aws.String("{")},
		"begins with $":       {InputPath: aws.String("detail")},
		"has the form":        {InputPath: aws.String("$.a..b")},
		"must be provided":    {Input: aws.String("{}"), InputPath: aws.String("$.a")},
		"has no b":            {InputTransformer: &types.InputTransformer{InputTemplate: aws.String("<b>")}},
		"not begin with AWS":  {InputTransformer: &types.InputTransformer{InputTemplate: aws.String("<AWSx>"), InputPathsMap: map[string]string{"AWSx": "$"}}},
		"Invalid InputPathsM": {InputTransformer: &types.InputTransformer{InputTemplate: aws.String("<b>"), InputPathsMap: map[string]string{"b": "x"}}},
	} {
		bad.Id = aws.String("1")
		if _, err := newInput(&bad); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzInput(f *testing.F) {
	f.Add(`{"a":<x>,"b":"<x>"}`, "$.detail.list[0]['x']", anEvent)
	f.Add(`text <x> "`, "$", `{"a":[1e400,"\ud800"]}`)
	f.Fuzz(func(t *testing.T, template, path, event string) {
		e, err := parseEvent([]byte(event), time.Time{})
		if err != nil {
			return
		}
		target := types.Target{Id: aws.String("1"), InputTransformer: &types.InputTransformer{InputTemplate: &template, InputPathsMap: map[string]string{"x": path}}}
		in, err := newInput(&target)
		if err != nil {
			return
		}
		if out := in.of(e, aRule()); in.inJSON && !json.Valid(out) {
			t.Errorf("%q is not JSON, but %q", out, template)
		}
	})
}

func FuzzTargets(f *testing.F) {
	f.Add([]byte(`{"webhooks":{"a":{"url":"https://example.com","headers":{"A":"b"},"accounts":["111122223333"]}},"commands":{"b":{"run":["/bin/true"],"timeout":"1s"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		targets, err := parseTargets(text)
		if err != nil {
			return
		}
		for name, w := range targets.Webhooks {
			if w.client == nil || !strings.HasPrefix(w.URL, "http") {
				t.Errorf("webhook %q", name)
			}
		}
	})
}
