package server

import (
	"context"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/iam"
)

// TestOtherAccount has the root of a second account try every operation on the
// keys of the first: nothing is done, and nothing tells whether a key exists.
func TestOtherAccount(t *testing.T) {
	t.Parallel()
	h := start(t)
	w := newWorld(h)
	other := iam.RootCredentials{Account: "444455556666", AccessKeyID: "AKIAI44QH8DHBEXAMPLE", SecretKey: "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"}
	h.must(iam.CreateAccount(context.Background(), h.data.Store, other, h.clock.Now()))

	const denied = "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
	absent := strings.Replace(w.keyARN, w.key, "00000000-0000-4000-8000-000000000000", 1)
	calls := append(w.validCalls(), validCall{operation: "ListAliases", body: `{"KeyId":"` + w.key + `"}`})
	tried := 0
	for _, c := range calls {
		if !strings.Contains(c.body, `KeyId":"`+w.key+`"`) || strings.Contains(c.body, "AliasName") {
			continue
		}
		tried++
		for _, arn := range []string{w.keyARN, absent} {
			r := op(c.operation, strings.ReplaceAll(c.body, `KeyId":"`+w.key, `KeyId":"`+arn))
			r.keyID, r.secret = other.AccessKeyID, other.SecretKey
			a := h.do(r)
			if a.StatusCode != 400 || a.code != "AccessDeniedException" || !strings.HasSuffix(a.message, denied) {
				t.Errorf("%s on %s: %d %s", c.operation, arn, a.StatusCode, a.body)
			}
			for _, rec := range h.recordsOf(a.id) {
				if !strings.Contains(string(rec.raw), `"resources":[]`) {
					t.Errorf("%s on %s: the record of the denial names a resource: %s", c.operation, arn, rec.raw)
				}
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d operations were tried", tried)
	}
	r := op("Decrypt", w.byCiphertext()[0].body)
	r.keyID, r.secret = other.AccessKeyID, other.SecretKey
	if a := h.do(r); !strings.Contains(a.message, "on the resource associated with this ciphertext "+denied) {
		t.Errorf("Decrypt by ciphertext alone: %s", a.body)
	}
}
