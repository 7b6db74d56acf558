package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bufio"

	"github.com/kagimori/kagimori/internal/localca"
	"github.com/kagimori/kagimori/internal/policy"
)

// TestRecords compares the whole record of every kind of call with
// testdata/records.golden. What differs from run to run is replaced.
func TestRecords(t *testing.T) {
	t.Parallel()
	h := start(t)
	g := golden{h: h, names: map[string]string{}}
	w := newWorld(h)
	g.skip()
	for _, c := range w.validCalls() {
		g.step(c.operation, op(c.operation, c.body), 200)
	}
	// What comes due by itself: the rotation of one key, the deletion of another.
	h.clock.Advance(8 * 24 * time.Hour)
	h.must(h.srv.RunDue(t.Context()))
	g.events("the deletion", 1)
	h.call("EnableKeyRotation", `{"KeyId":"`+w.other+`","RotationPeriodInDays":90}`, nil)
	g.skip()
	h.clock.Advance(91 * 24 * time.Hour)
	h.must(h.srv.RunDue(t.Context()))
	g.events("the rotation", 1)

	for _, c := range []struct {
		name   string
		r      request
		status int
	}{
		{"empty body", request{target: "TrentService.ListKeys"}, 200},
		{"CreateKey with a policy", op("CreateKey", `{"Policy":"{\"Statement\":[]}","BypassPolicyLockoutSafetyCheck":true,"KeyUsage":"ENCRYPT_DECRYPT"}`), 200},
		{"Encrypt by alias ARN", op("Encrypt", `{"KeyId":"`+strings.Replace(w.otherARN, "key/"+w.other, "alias/first", 1)+`","Plaintext":"AA==","EncryptionContext":{"用途":"請求","b":""}}`), 200},
		{"dry run", op("Encrypt", `{"KeyId":"`+w.other+`","Plaintext":"AA==","DryRun":true}`), 400},
		{"dry run of GenerateDataKey", op("GenerateDataKey", `{"KeyId":"alias/first","KeySpec":"AES_128","DryRun":true}`), 400},
		{"not Base64", op("Encrypt", `{"KeyId":"`+w.other+`","Plaintext":"%"}`), 400},
		{"failed validation", op("Encrypt", `{"KeyId":"","Plaintext":"AA==","EncryptionAlgorithm":"ROT13"}`), 400},
		{"failed check of the handler", op("GenerateDataKey", `{"KeyId":"`+w.other+`"}`), 400},
		{"no such key", op("DescribeKey", `{"KeyId":"12345678-1234-1234-1234-123456789012"}`), 400},
		{"no such alias", op("DescribeKey", `{"KeyId":"alias/nothing"}`), 400},
		{"deleted key", op("Encrypt", `{"KeyId":"`+w.keyARN+`","Plaintext":"AA=="}`), 400},
		{"wrong context", op("Decrypt", `{"CiphertextBlob":"`+g.encrypt(w.other)+`","EncryptionContext":{"a":"b"}}`), 400},
		{"broken ciphertext", op("Decrypt", `{"CiphertextBlob":"AAAA"}`), 400},
		{"ciphertext of another key", op("Decrypt", `{"KeyId":"`+g.newKey()+`","CiphertextBlob":"`+g.encrypt(w.other)+`"}`), 400},
		{"grant token", op("Encrypt", `{"KeyId":"`+w.other+`","Plaintext":"AA==","GrantTokens":["secret"]}`), 400},
		{"key of another account", op("Encrypt", `{"KeyId":"arn:aws:kms:eu-central-1:444455556666:key/12345678-1234-1234-1234-123456789012","Plaintext":"AA=="}`), 400},
		{"alias that exists", op("CreateAlias", `{"AliasName":"alias/first","TargetKeyId":"`+w.other+`"}`), 400},
		{"no such custom key store", op("DeleteCustomKeyStore", `{"CustomKeyStoreId":"cks-1234567890abcdef0"}`), 400},
		{"secrets in a call that fails", op("CreateCustomKeyStore", `{"CustomKeyStoreName":"n","KeyStorePassword":"secret-password","XksProxyAuthenticationCredential":{"AccessKeyId":"SECRETSECRETSECRETSECRET","RawSecretAccessKey":"`+strings.Repeat("secret", 10)+`"}}`), 400},
		{"unknown operation", op("Frobnicate", `{"A":1}`), 404},
		{"no operation", request{}, 404},
		{"not signed", request{target: "TrentService.ListKeys", unsigned: true}, 400},
		{"signed by nobody", request{target: "TrentService.CreateKey", body: "{}", keyID: "AKIANOBODY"}, 400},
		{"signed with a wrong secret", request{target: "TrentService.CreateKey", body: "{}", secret: "wrong"}, 400},
		{"signed for another service", request{target: "TrentService.ListKeys", service: "s3"}, 400},
		{"Region that is none", request{target: "TrentService.ListKeys", region: "No.Region"}, 400},
		{"body too large", op("ListKeys", strings.Repeat(" ", maxBody+1)), 413},
	} {
		g.step(c.name, c.r, c.status)
	}
	h.decider.deny(policy.Decision{Layer: policy.IdentityLayer})
	for _, c := range []struct{ operation, body string }{
		{"Encrypt", `{"KeyId":"alias/first","Plaintext":"AA=="}`},
		{"CreateKey", `{}`},
		{"CreateAlias", `{"AliasName":"alias/denied","TargetKeyId":"` + w.other + `"}`},
		{"ScheduleKeyDeletion", `{"KeyId":"` + w.other + `"}`},
	} {
		g.step(c.operation+", denied", op(c.operation, c.body), 400)
	}
	g.compare("testdata/records.golden")
}

// TestTLSRecord is the record of a call over TLS.
func TestTLSRecord(t *testing.T) {
	t.Parallel()
	var ca *localca.CA
	h := start(t, func(s *setup) {
		var err error
		if ca, err = localca.Open(s.dir, []string{"localhost"}, s.Clock, s.Log); err != nil {
			t.Fatal(err)
		}
		s.TLS, s.admin = localca.ServerTLS(ca.GetCertificate), true
	})
	pem, err := os.ReadFile(ca.CAFile())
	h.must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	g := golden{h: h, names: map[string]string{h.addr: "HOST"}}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		g.skip()
		c, err := tls.Dial("tcp", h.addr, &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: version, Time: h.clock.Now,
			CipherSuites:     []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.CurveP256}}) // as with the FIPS module too
		h.must(err)
		c.SetDeadline(time.Now().Add(patience))
		c.Write(h.wire(op("ListKeys", "{}")))
		a, err := readAnswer(bufio.NewReader(c))
		h.must(err)
		g.add(tls.VersionName(version), a, 200)
		c.Close()
	}
	g.compare("testdata/tls.golden")

	// A client that does not speak TLS gets no answer of the API.
	plain, err := h.send(h.wire(op("ListKeys", "{}")))
	h.must(err)
	if plain.StatusCode != 400 || !strings.Contains(string(plain.body), "Client sent an HTTP request to an HTTPS server") {
		t.Errorf("answer %d %s", plain.StatusCode, plain.body)
	}
	// One that never ends its handshake does not hold up the others.
	slow := h.dial()
	slow.Write([]byte{0x16})
	c, err := (&tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{RootCAs: roots, ServerName: "localhost", Time: h.clock.Now}}).Dial("tcp", h.addr)
	h.must(err)
	c.Close()
}

// golden collects records for a golden file.
type golden struct {
	h     *harness
	seen  int               // records that are accounted for
	names map[string]string // what differs from run to run, and what stands for it
	out   bytes.Buffer
}

// skip leaves out the records up to now.
func (g *golden) skip() { g.seen = len(g.h.records()) }

func (g *golden) newKey() string {
	id, _ := g.h.newKey()
	return id
}

func (g *golden) encrypt(key string) string {
	var out struct{ CiphertextBlob string }
	g.h.call("Encrypt", `{"KeyId":"`+key+`","Plaintext":"aGVsbG8="}`, &out)
	return out.CiphertextBlob
}

// step makes a call and takes its record.
func (g *golden) step(name string, r request, status int) {
	g.h.Helper()
	g.skip()
	g.add(name, g.h.do(r), status)
}

// add takes the record of a call and those of the events that were part of it.
// There must be one of the call in its Region, and it must fit the answer.
func (g *golden) add(name string, a *answer, status int) {
	g.h.Helper()
	if a.StatusCode != status {
		g.h.Errorf("%s: answer %d %s", name, a.StatusCode, a.body)
	}
	recs := g.h.records()[g.seen:]
	if len(recs) == 0 {
		g.h.Fatalf("%s: no record", name)
	}
	call := recs[0]
	wantCode := a.code
	if wantCode == "AccessDeniedException" {
		wantCode = "AccessDenied"
	}
	if call.RequestID != a.id || call.ErrorCode != wantCode {
		g.h.Errorf("%s: answer %s with %s, record %s", name, a.body, a.id, call.raw)
	}
	for _, rec := range recs[1:] {
		if rec.RequestID != "" && rec.AWSRegion == call.AWSRegion {
			g.h.Errorf("%s: a second record of a call: %s", name, rec.raw)
		}
	}
	g.write(name, recs)
}

// events takes the records of what the service did by itself.
func (g *golden) events(name string, n int) {
	g.h.Helper()
	var recs []record
	// The background job may be at it while RunDue finds nothing left to do.
	g.h.eventually(name, func() bool {
		recs = g.h.records()[g.seen:]
		return len(recs) >= n
	})
	if len(recs) != n {
		g.h.Errorf("%s: %d records, want %d", name, len(recs), n)
	}
	g.write(name, recs)
}

var (
	uuidForm     = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}`)
	storeForm    = regexp.MustCompile(`cks-[0-9a-f]{17}`)
	materialForm = regexp.MustCompile(`[0-9a-f]{64}`)
	hashForm     = regexp.MustCompile(`Authorization=[A-Za-z0-9+/=]+`)
)

func (g *golden) write(name string, recs []record) {
	g.h.Helper()
	g.seen += len(recs)
	for _, rec := range recs {
		var indented bytes.Buffer
		g.h.must(json.Indent(&indented, rec.raw, "", "  "))
		text := indented.String()
		for variable, fixed := range map[string]string{rec.RequestID: "REQUEST-ID", rec.EventID: "EVENT-ID"} {
			if variable != "" {
				text = strings.ReplaceAll(text, variable, fixed)
			}
		}
		for variable, fixed := range g.names {
			text = strings.ReplaceAll(text, variable, fixed)
		}
		for form, kind := range map[*regexp.Regexp]string{uuidForm: "KEY", materialForm: "MATERIAL", storeForm: "STORE"} {
			text = form.ReplaceAllStringFunc(text, func(s string) string {
				name := kind + " " + s
				if g.names[name] == "" {
					n := 1
					for known := range g.names {
						if strings.HasPrefix(known, kind+" ") {
							n++
						}
					}
					g.names[name] = fmt.Sprintf("%s-%d", kind, n)
				}
				return g.names[name]
			})
		}
		text = hashForm.ReplaceAllString(text, "Authorization=HASH")
		fmt.Fprintf(&g.out, "# %s\n%s\n\n", name, text)
	}
}

// compare compares what was collected with a golden file.
func (g *golden) compare(file string) {
	g.h.Helper()
	compareGolden(g.h, file, g.out.Bytes())
}

func compareGolden(h testing.TB, file string, got []byte) {
	h.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			h.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		h.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	at := 0
	for at < len(g) && at < len(w) && g[at] == w[at] {
		at++
	}
	around := func(lines []string) string {
		return strings.Join(lines[max(0, at-8):min(len(lines), at+8)], "\n")
	}
	h.Errorf("%s differs from line %d on (go test -update rewrites it); got\n%s\n\nwant\n%s", file, at+1, around(g), around(w))
}

// TestOneRecordEach makes many calls at the same time: every answer has its one
// record by the time it is there.
func TestOneRecordEach(t *testing.T) {
	t.Parallel()
	h := start(t)
	id, _ := h.newKey()
	bodies := []request{
		op("Encrypt", `{"KeyId":"`+id+`","Plaintext":"AA=="}`),
		op("UpdateKeyDescription", `{"KeyId":"`+id+`","Description":"d"}`),
		op("Encrypt", `{"KeyId":"`+id+`"}`),
		{target: "TrentService.ListKeys", secret: "wrong"},
		op("Nothing", ""),
	}
	const workers, each = 8, 15
	answered := make(chan string, workers*each)
	t.Run("calls", func(t *testing.T) {
		for worker := range workers {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for i := range each {
					a := h.do(bodies[(worker+i)%len(bodies)])
					if i%5 == 0 && len(h.recordsOf(a.id)) != 1 {
						t.Errorf("the answer %s was there before its record", a.id)
					}
					answered <- a.id
				}
			})
		}
	})
	close(answered)
	var ids, recorded, events []string
	for id := range answered {
		ids = append(ids, id)
	}
	for _, rec := range h.records() {
		events = append(events, rec.EventID)
		if rec.EventName != "StartServer" && rec.EventName != "CreateKey" {
			recorded = append(recorded, rec.RequestID)
		}
	}
	slices.Sort(ids)
	slices.Sort(recorded)
	if !slices.Equal(ids, recorded) {
		t.Errorf("%d answers, %d records", len(ids), len(recorded))
	}
	slices.Sort(events)
	if n := len(events); len(slices.Compact(events)) != n {
		t.Error("an event id is there twice")
	}
}
