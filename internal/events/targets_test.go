package events

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTargets reads files of targets, and says what is wrong with them.
func TestTargets(t *testing.T) {
	notCA := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notCA, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{}`: "",
		`{"webhooks":{"a":{"url":"https://example.com/x?y","headers":{"X":"y z"},"accounts":["111122223333"]}},"commands":{"b":{"run":["/bin/sh"]}}}`: "",
		`{"webhooks":{"a":{"url":"http://127.0.0.1:1"}}}`: "",
		``:               "EOF",
		`{} {}`:          "something behind",
		`{"webhook":{}}`: `unknown field "webhook"`,
		`{"webhooks":{"a":{"url":"https://x","header":{}}}}`:                     `unknown field "header"`,
		`{"webhooks":{"a":null}}`:                                                `webhook "a": it must not be null`,
		`{"webhooks":{"a/b":{"url":"https://x"}}}`:                               `webhook "a/b": a name is of`,
		`{"webhooks":{"a":{}}}`:                                                  "it is not a URL",
		`{"webhooks":{"a":{"url":"https://user:secret@x"}}}`:                     "it is not a URL",
		`{"webhooks":{"a":{"url":"http://example.com"}}}`:                        "must begin with https://",
		`{"webhooks":{"a":{"url":"file:///etc/passwd"}}}`:                        "it is not a URL",
		`{"webhooks":{"a":{"url":"gopher://example.com"}}}`:                      "must begin with https://",
		`{"webhooks":{"a":{"url":"https://x","headers":{"webhook-id":"y"}}}}`:    "is set by the server",
		`{"webhooks":{"a":{"url":"https://x","headers":{"A b":"y"}}}}`:           `"A b" is no header`,
		`{"webhooks":{"a":{"url":"https://x","headers":{"A":"secret\nvalue"}}}}`: `"A" is no header`,
		`{"webhooks":{"a":{"url":"https://x","ca":"/nonexistent"}}}`:             "ca: open /nonexistent",
		`{"webhooks":{"a":{"url":"https://x","ca":"` + notCA + `"}}}`:            "no certificates in PEM",
		`{"webhooks":{"a":{"url":"https://x","accounts":["1"]}}}`:                `"1" is no account id`,
		`{"commands":{"a":{"run":[]}}}`:                                          "absolute path",
		`{"commands":{"a":{"run":["sh"]}}}`:                                      "absolute path",
		`{"commands":{"a":{"run":["/nonexistent"]}}}`:                            "no such file",
		`{"commands":{"a":{"run":["/tmp"]}}}`:                                    "is not a program",
		`{"commands":{"a":{"run":["` + notCA + `"]}}}`:                           "is not a program",
		`{"commands":{"a":{"run":["/bin/sh"],"timeout":"soon"}}}`:                "not a duration",
		`{"commands":{"a":{"run":["/bin/sh"],"timeout":"-1s"}}}`:                 "not a duration",
	} {
		_, err := parseTargets([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error has a secret: %v", text, err)
		}
	}
}

// TestTargetsOfAccounts: who may have a target is the operator's to say.
func TestTargetsOfAccounts(t *testing.T) {
	targets, err := parseTargets([]byte(`{"webhooks":{"all":{"url":"https://x"},"one":{"url":"https://x","accounts":["111122223333"]},"none":{"url":"https://x","accounts":[]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]bool{"all": {true, true}, "one": {true, false}, "none": {false, false}} {
		for i, account := range []string{"111122223333", "444455556666"} {
			if _, err := targets.find(TargetARN(webhookKind, name), account); (err == nil) != want[i] {
				t.Errorf("%s for %s: %v", name, account, err)
			}
		}
	}
}
