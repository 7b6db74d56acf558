package pattern

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/quick"

	"github.com/go-json-experiment/json/jsontext"
)

const event = `{"version":"0","source":"aws.kms","detail-type":"AWS API Call via CloudTrail","resources":[],
	"detail":{"eventName":"DisableKey","sourceIPAddress":"10.0.0.7","readOnly":false,"errorCode":null,"count":300,"ratio":-12.50,
		"path":"a*b\\c","name":"Kagi Mori","v6":"2001:db8::1","requestParameters":{"keyId":"alias/orders"},
		"resources":[{"type":"AWS::KMS::Key","ARN":"arn:1"},{"type":"AWS::KMS::Alias","ARN":"arn:2"}],"empty":[],"words":["x","yy"]}}`

// TestMatch has the comparisons of AWS's page, and what each must not match.
func TestMatch(t *testing.T) {
	e, err := Decode([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pattern string
		want    bool
	}{
		{`{"source":["aws.kms"]}`, true},
		{`{"source":["aws.s3"]}`, false},
		{`{"source":["aws.s3","aws.kms"]}`, true},
		{`{"source":["aws.kms"],"version":["1"]}`, false},
		{`{"detail":{"eventName":["DisableKey"],"readOnly":[false]}}`, true},
		{`{"detail":{"readOnly":["false"]}}`, false},
		{`{"detail":{"errorCode":[null]}}`, true},
		{`{"detail":{"missing":[null]}}`, false},
		{`{"detail":{"count":[300]}}`, true},
		{`{"detail":{"count":[300.0]}}`, false}, // as they are written
		{`{"detail":{"count":["300"]}}`, false},
		{`{"detail":{"count":[{"numeric":["=",300.0]}]}}`, true},
		{`{"detail":{"count":[{"numeric":["=",3e2]}]}}`, true},
		{`{"detail":{"count":[{"numeric":[">",0,"<=",300]}]}}`, true},
		{`{"detail":{"count":[{"numeric":[">",300]}]}}`, false},
		{`{"detail":{"count":[{"numeric":[">=",300]}]}}`, true},
		{`{"detail":{"count":[{"numeric":["<",300]}]}}`, false},
		{`{"detail":{"ratio":[{"numeric":["<",-12]}]}}`, true},
		{`{"detail":{"name":[{"numeric":["<",-12]}]}}`, false},
		{`{"detail":{"missing":[{"numeric":["<",1]}]}}`, false},
		{`{"detail":{"name":[{"prefix":"Kagi"}]}}`, true},
		{`{"detail":{"name":[{"prefix":"kagi"}]}}`, false},
		{`{"detail":{"name":[{"prefix":{"equals-ignore-case":"kagi"}}]}}`, true},
		{`{"detail":{"name":[{"suffix":"Mori"}]}}`, true},
		{`{"detail":{"name":[{"suffix":"mori"}]}}`, false},
		{`{"detail":{"name":[{"suffix":{"equals-ignore-case":"MORI"}}]}}`, true},
		{`{"detail":{"name":[{"equals-ignore-case":"KAGI MORI"}]}}`, true},
		{`{"detail":{"name":[{"equals-ignore-case":"KAGI"}]}}`, false},
		{`{"detail":{"name":[{"wildcard":"K*M*i"}]}}`, true},
		{`{"detail":{"name":[{"wildcard":"K*x*i"}]}}`, false},
		{`{"detail":{"name":[{"wildcard":"*"}]}}`, true},
		{`{"detail":{"name":[{"wildcard":"Kagi Mori*"}]}}`, true},
		{`{"detail":{"name":[{"wildcard":"Kagi Mori*i"}]}}`, false}, // an end is not used twice
		{`{"detail":{"path":[{"wildcard":"a\\*b\\\\*"}]}}`, true},
		{`{"detail":{"path":[{"wildcard":"a\\*b"}]}}`, false},
		{`{"detail":{"sourceIPAddress":[{"cidr":"10.0.0.0/24"}]}}`, true},
		{`{"detail":{"sourceIPAddress":[{"cidr":"10.0.1.0/24"}]}}`, false},
		{`{"detail":{"sourceIPAddress":[{"cidr":"10.0.0.255/24"}]}}`, true},
		{`{"detail":{"v6":[{"cidr":"2001:db8::/32"}]}}`, true},
		{`{"detail":{"name":[{"cidr":"0.0.0.0/0"}]}}`, false},
		{`{"detail":{"name":[{"anything-but":"x"}]}}`, true},
		{`{"detail":{"name":[{"anything-but":["x","Kagi Mori"]}]}}`, false},
		{`{"detail":{"count":[{"anything-but":[1,2]}]}}`, true},
		{`{"detail":{"count":[{"anything-but":300}]}}`, false},
		{`{"detail":{"name":[{"anything-but":{"prefix":"Kagi"}}]}}`, false},
		{`{"detail":{"name":[{"anything-but":{"prefix":["x","Ka"]}}]}}`, false},
		{`{"detail":{"name":[{"anything-but":{"suffix":"x"}}]}}`, true},
		{`{"detail":{"name":[{"anything-but":{"equals-ignore-case":["kagi mori"]}}]}}`, false},
		{`{"detail":{"name":[{"anything-but":{"wildcard":"*gi*"}}]}}`, false},
		{`{"detail":{"missing":[{"anything-but":"x"}]}}`, false},
		{`{"detail":{"name":[{"exists":true}]}}`, true},
		{`{"detail":{"errorCode":[{"exists":true}]}}`, true}, // null is there
		{`{"detail":{"missing":[{"exists":true}]}}`, false},
		{`{"detail":{"missing":[{"exists":false}]}}`, true},
		{`{"detail":{"name":[{"exists":false}]}}`, false},
		{`{"detail":{"missing":{"deep":[{"exists":false}]}}}`, true},
		{`{"detail":{"requestParameters":[{"exists":true}]}}`, false}, // no leaf
		{`{"detail":{"empty":[{"exists":true}]}}`, false},
		{`{"detail":{"empty":[{"exists":false}]}}`, true},
		{`{"detail":{"words":["yy","z"]}}`, true},
		{`{"detail":{"words":["z"]}}`, false},
		{`{"detail":{"words":[{"anything-but":"x"}]}}`, true},
		{`{"detail":{"resources":{"ARN":["arn:2"]}}}`, true},
		{`{"detail":{"resources":{"ARN":["arn:2"],"type":["AWS::KMS::Alias"]}}}`, true},
		{`{"detail":{"resources":{"ARN":["arn:2"],"type":["AWS::KMS::Key"]}}}`, false}, // of one item
		{`{"$or":[{"source":["aws.s3"]},{"detail":{"eventName":["DisableKey"]}}]}`, true},
		{`{"$or":[{"source":["aws.s3"]},{"detail":{"eventName":["EnableKey"]}}]}`, false},
		{`{"source":["aws.s3"],"$or":[{"version":["0"]},{"version":["1"]}]}`, false},
		{`{"detail":{"$or":[{"count":[1]},{"ratio":[{"numeric":["<",0]}]}]}}`, true},
		{`{"name":{"deep":["x"]}}`, false},
	} {
		p, err := Parse(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.Match(e); got != c.want {
			t.Errorf("%s: %v", c.pattern, got)
		}
		if got := p.Match(json.RawMessage(event)); got != c.want {
			t.Errorf("%s: %v, of what was not decoded", c.pattern, got)
		}
	}
}

// TestRefused are texts that are no patterns, and what is said of them.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                                          "not valid JSON",
		`[]`:                                        "must be an object",
		`{}`:                                        "not empty",
		`{"a":["x"],"a":["y"]}`:                     "twice",
		`{"a":"x"}`:                                 "a: it must be an object or an array",
		`{"a":{}}`:                                  "a: an object must not be empty",
		`{"a":{"b":[]}}`:                            "a.b: an array must not be empty",
		`{"a":[["x"]]}`:                             "must not be in another one",
		`{"a":[{"prefix":1}]}`:                      "a: prefix: it must be a string",
		`{"a":[{"prefix":"x","suffix":"y"}]}`:       "one member",
		`{"a":[{"regex":"x"}]}`:                     "a: regex: there is no such comparison",
		`{"a":[{"exists":"yes"}]}`:                  "true or false",
		`{"a":[{"numeric":[]}]}`:                    "pairs",
		`{"a":[{"numeric":[">"]}]}`:                 "pairs",
		`{"a":[{"numeric":["!",1]}]}`:               "a sign must be",
		`{"a":[{"numeric":[">","1"]}]}`:             "there must be a number",
		`{"a":[{"numeric":[">",1e999999]}]}`:        "there must be a number",
		`{"a":[{"cidr":"10.0.0.0"}]}`:               "range of addresses",
		`{"a":[{"wildcard":"a**b"}]}`:               "side by side",
		`{"a":[{"wildcard":"a\\b"}]}`:               "behind a",
		`{"a":[{"anything-but":[]}]}`:               "not be empty",
		`{"a":[{"anything-but":[{"prefix":"x"}]}]}`: "must be strings",
		`{"a":[{"anything-but":{"cidr":"::/0"}}]}`:  "there is no cidr in it",
		`{"$or":[{"a":["x"]}]}`:                     "two objects or more",
		`{"$or":[{"a":["x"]},"y"]}`:                 "must be objects",
		strings.Repeat(`{"a":`, 40) + `["x"]` + strings.Repeat(`}`, 40): "deep",
		`{"a":["` + strings.Repeat("x", MaxSize) + `"]}`:                "bytes",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

func TestMay(t *testing.T) {
	for text, want := range map[string]bool{
		`{"account":["1"]}`:                                  true,
		`{"source":["kagimori"]}`:                            true,
		`{"source":[{"prefix":"aws."}]}`:                     false,
		`{"$or":[{"source":["aws.kms"]},{"account":["1"]}]}`: true,
		`{"$or":[{"source":["a"]},{"source":["b"]}]}`:        false,
	} {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if p.May("source", "kagimori") != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

// TestValuesMatchThemselves: any texts are matched by the patterns that are made of them.
func TestValuesMatchThemselves(t *testing.T) {
	f := func(name, text, other string) bool {
		if name == "$or" {
			return true
		}
		encode := func(v any) []byte { b, _ := json.Marshal(v); return b }
		e, _ := Decode(encode(map[string]any{name: text}))
		matches := func(comparison any) bool {
			p, err := Parse(string(encode(map[string]any{name: []any{comparison}})))
			return err != nil || p.Match(e)
		}
		name = string([]rune(name))
		value := e.(map[string]any)[name].(string) // as JSON has it
		quoted := strings.NewReplacer(`\`, `\\`, `*`, `\*`).Replace(value)
		return matches(value) && matches(map[string]string{"prefix": value}) && matches(map[string]string{"suffix": value}) &&
			matches(map[string]string{"wildcard": quoted}) && matches(map[string]string{"wildcard": "*" + quoted}) &&
			(other == value || matches(map[string]string{"anything-but": other}))
	}
	if err := quick.Check(f, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`{"detail":{"count":[{"numeric":[">",0,"<=",300]}],"name":[{"wildcard":"K*M*i"},{"anything-but":{"prefix":["x"]}}]}}`, event)
	f.Add(`{"$or":[{"source":["aws.s3",null,1e5]},{"detail":{"ip":[{"cidr":"10.0.0.0/8"}],"e":[{"exists":false}]}}]}`, `[1,{"a":[]}]`)
	f.Fuzz(func(t *testing.T, text, event string) {
		p, err := Parse(text)
		e, err2 := Decode([]byte(event))
		if err != nil || err2 != nil {
			return
		}
		if p.Match(e) != p.Match([]any{e}) {
			t.Error("an array of one event is not as the event")
		}
		// Of members that are there twice encoding/json takes the last.
		if jsontext.Value(event).IsValid() && p.Match(e) != p.Match(json.RawMessage(event)) {
			t.Error("it is another event when it is not decoded")
		}
	})
}
