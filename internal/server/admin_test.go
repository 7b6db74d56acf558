package server

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHealthAndMetrics reads the pages for operators, on the listener of the API
// and on one of their own.
func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	for name, admin := range map[string]bool{"same listener": false, "admin listener": true} {
		t.Run(name, func(t *testing.T) {
			h := start(t, func(s *setup) { s.admin = admin })
			for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
				if status, body := h.get(path); status != http.StatusOK || body != want {
					t.Errorf("%s: %d %q", path, status, body)
				}
			}
			h.call("GenerateRandom", `{"NumberOfBytes":5}`, nil)
			h.call("GenerateRandom", `{"NumberOfBytes":5}`, nil)
			h.do(op("GenerateRandom", `{}`))
			h.do(op("Frobnicate", ""))
			delete(h.srv.pipeline.handlers["kms"], "DeleteAlias")
			h.do(op("DeleteAlias", `{"AliasName":"alias/a"}`))
			h.do(request{method: "GET", path: "/x"})
			h.do(request{target: "TrentService.ListKeys", secret: "wrong"})
			m := h.metrics()
			for name, want := range map[string]float64{
				`kagimori_calls_total{operation="GenerateRandom",result="Success",service="kms"}`:                    2,
				`kagimori_calls_total{operation="GenerateRandom",result="ValidationException",service="kms"}`:        1,
				`kagimori_calls_total{operation="DeleteAlias",result="UnsupportedOperationException",service="kms"}`: 1,
				`kagimori_calls_total{operation="Unknown",result="UnknownOperationException",service=""}`:            1,
				`kagimori_calls_total{operation="Unknown",result="MalformedHttpRequestException",service=""}`:        1,
				`kagimori_calls_total{operation="ListKeys",result="InvalidSignatureException",service="kms"}`:        1,
				`kagimori_calls_total{operation="Encrypt",result="Success",service="kms"}`:                           0,
				`kagimori_call_seconds_count{operation="GenerateRandom",service="kms"}`:                              3,
				`kagimori_call_seconds_bucket{operation="GenerateRandom",service="kms",le="+Inf"}`:                   3,
				`kagimori_journal_up`:            1,
				`kagimori_store_up`:              1,
				`kagimori_journal_records_total`: float64(len(h.records())),
			} {
				if got, ok := m[name]; !ok || got != want {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
			for _, name := range []string{"kagimori_journal_bytes_total", "kagimori_journal_syncs_total", "go_goroutines", "process_resident_memory_bytes"} {
				if m[name] <= 0 {
					t.Errorf("%s is %v", name, m[name])
				}
			}
			// A stranger cannot make up names of metrics.
			for range 20 {
				h.do(op("Frobnicate", ""))
			}
			if after := h.metrics(); len(after) > len(m) {
				t.Errorf("%d metrics, before %d", len(after), len(m))
			}

			// Each page is where it belongs.
			resp, err := http.Get("http://" + h.addr + "/metrics")
			h.must(err)
			resp.Body.Close()
			if onAPI := resp.StatusCode == http.StatusOK; onAPI == admin {
				t.Errorf("/metrics on the API's listener: %d", resp.StatusCode)
			}
			if admin {
				resp, err := http.Post("http://"+h.adminAddr+"/", contentType, strings.NewReader("{}"))
				h.must(err)
				resp.Body.Close()
				if resp.StatusCode != http.StatusNotFound {
					t.Errorf("a call on the admin listener: %d", resp.StatusCode)
				}
			}
		})
	}
}

// TestKeyMetrics reads the metrics that name keys, which are for operators alone.
func TestKeyMetrics(t *testing.T) {
	t.Parallel()
	for _, admin := range []bool{false, true} {
		h := start(t, func(s *setup) { s.admin = admin })
		var created struct{ KeyMetadata struct{ KeyId, Arn string } }
		h.call("CreateKey", `{"Origin":"EXTERNAL"}`, &created)
		id, arn := created.KeyMetadata.KeyId, created.KeyMetadata.Arn
		var parameters struct{ PublicKey, ImportToken []byte }
		h.call("GetParametersForImport", `{"KeyId":"`+id+`","WrappingAlgorithm":"RSAES_OAEP_SHA_256","WrappingKeySpec":"RSA_2048"}`, &parameters)
		public, err := x509.ParsePKIXPublicKey(parameters.PublicKey)
		h.must(err)
		wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), make([]byte, 32), nil)
		h.must(err)
		in, err := json.Marshal(map[string]any{"KeyId": id, "ImportToken": parameters.ImportToken, "EncryptedKeyMaterial": wrapped, "ValidTo": h.clock.Now().Add(time.Hour).Unix()})
		h.must(err)
		h.call("ImportKeyMaterial", string(in), nil)
		var encrypted struct{ CiphertextBlob []byte }
		for range 3 {
			h.call("Encrypt", `{"KeyId":"`+id+`","Plaintext":"AA=="}`, &encrypted)
		}
		again, err := json.Marshal(map[string]any{"CiphertextBlob": encrypted.CiphertextBlob, "DestinationKeyId": id})
		h.must(err)
		h.call("ReEncrypt", string(again), nil)
		h.clock.Advance(10 * time.Minute)
		m := h.metrics()
		for name, want := range map[string]float64{
			`SecondsUntilKeyMaterialExpiration{AccountId="` + h.data.Account + `",KeyId="` + id + `",Region="eu-central-1"}`: 3000,
			`SuccessfulRequest{DestinationKeyArn="",KeyArn="` + arn + `",Operation="Encrypt",SourceKeyArn=""}`:               3,
			`SuccessfulRequest{DestinationKeyArn="` + arn + `",KeyArn="",Operation="ReEncrypt",SourceKeyArn="` + arn + `"}`:  1,
		} {
			if got, ok := m[name]; ok != admin || admin && got != want {
				t.Errorf("with an admin listener %v: %s is %v, want %v; there are %v", admin, name, got, want, slices.Sorted(maps.Keys(m)))
			}
		}
	}
}

var metricLine = regexp.MustCompile(`(?m)^([A-Za-z_]+(?:\{[^}]*\})?) (\S+)$`)

// metrics is /metrics by name and labels.
func (h *harness) metrics() map[string]float64 {
	h.Helper()
	status, body := h.get("/metrics")
	if status != http.StatusOK {
		h.Fatalf("/metrics: %d %s", status, body)
	}
	m := map[string]float64{}
	for _, line := range metricLine.FindAllStringSubmatch(body, -1) {
		value, err := strconv.ParseFloat(line[2], 64)
		h.must(err)
		m[line[1]] = value
	}
	return m
}
