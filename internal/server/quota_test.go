package server

import (
	"net/http"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/kms"
)

// TestResourceQuotas has quotas of one.
func TestResourceQuotas(t *testing.T) {
	t.Parallel()
	h := start(t, func(s *setup) { s.Quotas = kms.Quotas{Keys: 1, AliasesPerKey: 1, GrantsPerKey: 1, CustomKeyStores: 1} })
	key, _ := h.newKey()
	for _, c := range []struct{ operation, first, second string }{
		{"CreateAlias", `{"AliasName":"alias/a","TargetKeyId":"` + key + `"}`, `{"AliasName":"alias/b","TargetKeyId":"` + key + `"}`},
		{"CreateGrant", `{"KeyId":"` + key + `","GranteePrincipal":"` + rootARN + `","Operations":["Decrypt"]}`, `{"KeyId":"` + key + `","GranteePrincipal":"` + rootARN + `","Operations":["Encrypt"]}`},
		{"CreateCustomKeyStore", newHSM(1), newHSM(2)},
	} {
		h.call(c.operation, c.first, nil)
		h.do(op(c.operation, c.second)).wantError(t, 400, "LimitExceededException", "")
	}
	h.do(op("CreateKey", "{}")).wantError(t, 400, "LimitExceededException", "")
	h.call("DescribeKey", `{"KeyId":"alias/aws/s3"}`, nil) // an AWS managed key does not count
	h.call("ScheduleKeyDeletion", `{"KeyId":"`+key+`","PendingWindowInDays":7}`, nil)
	h.do(op("CreateKey", "{}")).wantError(t, 400, "LimitExceededException", "") // still there
	h.clock.Advance(8 * 24 * time.Hour)
	h.must(h.srv.RunDue(t.Context()))
	h.call("CreateKey", "{}", nil)
}

// TestRequestQuotas calls more often than AWS allows, over the wire.
func TestRequestQuotas(t *testing.T) {
	t.Parallel()
	h := start(t, func(s *setup) { s.RequestQuotas = true })
	create := func() *answer { return h.do(op("CreateKey", `{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`)) }
	throttled := func(what string, a *answer, after string) {
		t.Helper()
		a.wantError(t, 400, "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
		if got := a.Header.Get("Retry-After"); got != after {
			t.Errorf("%s: Retry-After %q", what, got)
		}
		if recs := h.recordsOf(a.id); len(recs) != 1 || recs[0].ErrorCode != "ThrottlingException" {
			t.Errorf("%s: records %v", what, recs)
		}
	}
	for range 5 {
		if a := create(); a.StatusCode != http.StatusOK {
			t.Fatalf("%s", a.body)
		}
	}
	throttled("CreateKey", create(), "1")
	elsewhere := op("CreateKey", "{}")
	elsewhere.region = "us-west-2"
	if a := h.do(elsewhere); a.StatusCode != http.StatusOK {
		t.Errorf("in another Region: %s", a.body)
	}
	h.clock.Advance(time.Second)
	key := h.newKeyWith(`{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`)
	sign := op("Sign", `{"KeyId":"`+key+`","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256"}`)
	for range 1000 {
		if a := h.do(sign); a.StatusCode != http.StatusOK {
			t.Fatalf("%s", a.body)
		}
	}
	throttled("Sign", h.do(sign), "1")
	pair := op("GenerateDataKeyPairWithoutPlaintext", `{"KeyId":"`+key+`","KeyPairSpec":"RSA_4096"}`)
	h.do(pair) // the key has the wrong usage: it counts all the same
	throttled("GenerateDataKeyPairWithoutPlaintext", h.do(pair), "1")
	if a := h.do(op("GenerateRandom", `{"NumberOfBytes":1}`)); a.StatusCode != http.StatusOK {
		t.Errorf("another class: %s", a.body)
	}
	h.clock.Advance(time.Millisecond)
	if a := h.do(sign); a.StatusCode != http.StatusOK {
		t.Errorf("a millisecond later: %s", a.body)
	}
}
