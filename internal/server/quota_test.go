package server

import (
	"net/http"
	"testing"
	"time"
)

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
