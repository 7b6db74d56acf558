package server

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSignatures makes calls whose signature is not right.
func TestSignatures(t *testing.T) {
	t.Parallel()
	h := start(t)
	// edit changes the header after it was signed.
	edit := func(name, old, new string) func(http.Header) {
		return func(header http.Header) {
			header.Set(name, strings.Replace(header.Get(name), old, new, 1))
		}
	}
	drop := func(name string) func(http.Header) { return func(header http.Header) { header.Del(name) } }
	const (
		incomplete = "IncompleteSignatureException"
		invalid    = "InvalidSignatureException"
		mismatch   = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	)
	for _, c := range []struct {
		name          string
		r             request
		edit          func(http.Header)
		code, message string
		key           string // accessKeyId of the record
	}{
		{"none", request{unsigned: true}, nil, "MissingAuthenticationTokenException", "Missing Authentication Token", ""},
		{"basic authentication", request{unsigned: true, header: map[string]string{"Authorization": "Basic Zm9vOmJhcg=="}}, nil,
			"MissingAuthenticationTokenException", "Missing Authentication Token", ""},
		{"no date", request{}, drop("X-Amz-Date"), incomplete, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed with SHA-256 and encoded with Base64) Authorization=", ""},
		{"no signature", request{}, edit("Authorization", ", Signature=", ", Sign="), incomplete, "Authorization header requires 'Signature' parameter. (Hashed with SHA-256 and encoded with Base64) Authorization=", ""},
		{"cut credential", request{}, edit("Authorization", "/aws4_request", ""), incomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 4.", ""},
		{"another algorithm", request{}, edit("Authorization", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), incomplete, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512' (only AWS4-HMAC-SHA256 for now).", ""},
		{"unknown key", request{keyID: "AKIAUNKNOWN"}, nil, "UnrecognizedClientException", "The security token included in the request is invalid.", "AKIAUNKNOWN"},
		{"unknown session", request{token: "IQoJb3JpZ2luX2Vj"}, nil, "UnrecognizedClientException", "The security token included in the request is invalid.", testKeyID},
		{"wrong secret", request{secret: "wrong"}, nil, invalid, mismatch, testKeyID},
		{"changed signature", request{}, edit("Authorization", "Signature=", "Signature=00"), invalid, mismatch, testKeyID},
		{"changed target", request{}, edit("X-Amz-Target", "ListKeys", "ListAliases"), invalid, mismatch, testKeyID},
		{"changed host", request{}, nil, invalid, mismatch, testKeyID},
		{"changed body", request{}, nil, invalid, mismatch, testKeyID},
		{"unsigned x-amz header", request{}, func(h http.Header) { h.Set("X-Amz-Meta", "1") }, invalid, "", testKeyID},
		{"unsigned payload", request{header: map[string]string{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}}, nil, invalid, "unsigned and streaming payloads are not accepted", testKeyID},
		{"expired", request{skew: -5*time.Minute - time.Second}, nil, invalid, "Signature expired: 20251231T235459Z is now earlier than 20251231T235500Z (20260101T000000Z - 5 min.)", testKeyID},
		{"future", request{skew: 5*time.Minute + time.Second}, nil, invalid, "Signature not yet current: 20260101T000501Z is still later than 20260101T000500Z (20260101T000000Z + 5 min.)", testKeyID},
		{"another service", request{service: "dynamodb"}, nil, invalid, "Credential should be scoped to correct service: 'kms'.", testKeyID},
		{"service in upper case", request{service: "KMS"}, nil, invalid, "Credential should be scoped to correct service: 'kms'.", testKeyID},
		{"region with capitals", request{region: "EU-Central-1"}, nil, invalid, "Credential should be scoped to a valid region.", testKeyID},
		{"region with a double hyphen", request{region: "eu--central"}, nil, invalid, "Credential should be scoped to a valid region.", testKeyID},
		{"region with dots", request{region: "eu.central"}, nil, invalid, "Credential should be scoped to a valid region.", testKeyID},
		{"long region", request{region: strings.Repeat("a", 33)}, nil, invalid, "Credential should be scoped to a valid region.", testKeyID},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.target, c.r.body = "TrentService.ListKeys", "{}"
			r := h.http(c.r)
			if c.edit != nil {
				c.edit(r.Header)
			}
			var b strings.Builder
			h.must(r.Write(&b))
			raw := b.String()
			switch c.name {
			case "changed host":
				raw = strings.Replace(raw, "Host: ", "Host: x", 1)
			case "changed body":
				raw = strings.TrimSuffix(raw, "{}") + "[]"
			}
			a, err := h.send([]byte(raw))
			h.must(err)
			a.wantError(t, 400, c.code, c.message)

			recs := h.recordsOf(a.id)
			if len(recs) != 1 {
				t.Fatalf("%d records of the call", len(recs))
			}
			rec := recs[0]
			if rec.UserIdentity.Type != "Unknown" || rec.ErrorCode != c.code || rec.EventName == "" {
				t.Errorf("record %s", rec.raw)
			}
			// Whose key it is was not proven: only the id stands there.
			if rec.UserIdentity.AccessKeyID != c.key || strings.Contains(string(rec.raw), testAccount) {
				t.Errorf("record %s, want access key %q and no account", rec.raw, c.key)
			}
		})
	}
	// The edges of what is still right.
	for _, r := range []request{{skew: 5 * time.Minute}, {skew: -5 * time.Minute}, {region: "tokyo-1"}, {region: "local"}} {
		r.target = "TrentService.ListKeys"
		if a := h.do(r); a.StatusCode != http.StatusOK {
			t.Errorf("%+v: %d %s", r, a.StatusCode, a.body)
		}
	}
}

// TestStrangersCannotFillTheJournal has a stranger call more often than is
// recorded. The rest is counted, and the count recorded.
func TestStrangersCannotFillTheJournal(t *testing.T) {
	t.Parallel()
	h := start(t)
	r := op("ListKeys", "{}")
	r.secret, r.keepAlive = "wrong", true
	raw := h.wire(r)
	const unrecorded = 25
	conn := h.dial()
	answers := bufio.NewReader(conn)
	fail := func(times int) {
		t.Helper()
		go func() {
			for range times {
				conn.Write(raw)
			}
		}()
		for range times {
			a, err := readAnswer(answers)
			h.must(err)
			if a.code != "InvalidSignatureException" {
				t.Fatalf("answer %d %s", a.StatusCode, a.body)
			}
		}
	}
	strangers := func() (n int, last record) {
		for _, rec := range h.records() {
			if rec.UserIdentity.Type == "Unknown" {
				n, last = n+1, rec
			}
		}
		return n, last
	}
	fail(recordedFailuresBurst + unrecorded)
	if n, last := strangers(); n != recordedFailuresBurst || last.AdditionalEventData != nil {
		t.Errorf("%d records of strangers, want %d; the last is %s", n, recordedFailuresBurst, last.raw)
	}
	// Who is not a stranger is recorded all the same.
	if a := h.call("ListKeys", "{}", nil); len(h.recordsOf(a.id)) != 1 {
		t.Error("a call that is in order is not recorded")
	}
	h.clock.Advance(time.Second)
	fail(1)
	n, last := strangers()
	if n != recordedFailuresBurst+1 || last.AdditionalEventData["unrecordedAuthenticationFailures"] != "25" {
		t.Errorf("%d records of strangers, the last is %s", n, last.raw)
	}
	fail(recordedFailures - 1)
	if n, last := strangers(); n != recordedFailuresBurst+recordedFailures || last.AdditionalEventData != nil {
		t.Errorf("%d records of strangers, the last is %s", n, last.raw)
	}
	// Nothing of a stranger that names no operation is kept.
	before := len(h.records())
	for _, r := range []request{{unsigned: true}, {unsigned: true, target: "TrentService.No"}, {method: "GET", path: "/x"}} {
		h.do(r)
	}
	if after := len(h.records()); after != before {
		t.Errorf("%d records of what is no call", after-before)
	}
	h.serves()
}
