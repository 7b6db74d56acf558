package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestBodies sends bodies that are not what the operation takes.
func TestBodies(t *testing.T) {
	t.Parallel()
	h := start(t)
	gz := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		io.WriteString(w, s)
		w.Close()
		return b.String()
	}
	const serialization = "SerializationException"
	for _, c := range []struct {
		name, operation, body string
		code, message         string
	}{
		{"malformed", "ListKeys", `{"Limit":}`, serialization, "The request body is not valid JSON: "},
		{"not JSON at all", "ListKeys", "Action=ListKeys&Version=2014-11-01", serialization, "The request body is not valid JSON: "},
		{"truncated", "ListKeys", `{"Limit":1`, serialization, "The request body is not valid JSON: unexpected EOF at byte 10."},
		{"truncated string", "DescribeKey", `{"KeyId":"alias/`, serialization, "The request body is not valid JSON: unexpected EOF"},
		{"white space", "ListKeys", "  \r\n ", serialization, "The request body must be a JSON object."},
		{"a number", "ListKeys", `1`, serialization, "The request body must be a JSON object."},
		{"a string", "ListKeys", `"Limit"`, serialization, "The request body must be a JSON object."},
		{"null", "ListKeys", `null`, serialization, "The request body must be a JSON object."},
		{"a list", "ListKeys", `[{}]`, serialization, "Start of list found where not expected"},
		{"string for a number", "ListKeys", `{"Limit":"10"}`, serialization, "STRING_VALUE can not be converted to an Integer"},
		{"fraction for a number", "ListKeys", `{"Limit":1.5}`, serialization, "NUMBER_VALUE can not be converted to an Integer"},
		{"huge number", "ListKeys", `{"Limit":1e400}`, serialization, "NUMBER_VALUE can not be converted to an Integer"},
		{"number for a string", "DescribeKey", `{"KeyId":1}`, serialization, "NUMBER_VALUE can not be converted to a String"},
		{"object for a string", "DescribeKey", `{"KeyId":{}}`, serialization, "Start of structure or map found where not expected."},
		{"string for a boolean", "CreateKey", `{"MultiRegion":"false"}`, serialization, "STRING_VALUE can not be converted to a Boolean"},
		{"object for a list", "CreateKey", `{"Tags":{}}`, serialization, "Start of structure or map found where not expected."},
		{"no Base64", "Decrypt", `{"CiphertextBlob":"%%%"}`, serialization, "The value at 'ciphertextBlob' is not valid Base64."},
		{"duplicate member", "DescribeKey", `{"KeyId":"a","KeyId":"b"}`, serialization, `The request body has the member "KeyId" twice.`},
		{"duplicate in a map", "Encrypt", `{"KeyId":"a","Plaintext":"AA==","EncryptionContext":{"k":"1","k":"2"}}`, serialization, `The request body has the member "k" twice.`},
		{"duplicate in an unknown member", "ListKeys", `{"Future":{"k":1,"k":2}}`, serialization, `The request body has the member "k" twice.`},
		{"trailing data", "ListKeys", `{} {}`, serialization, "The request body goes on after the JSON object."},
		{"trailing bracket", "ListKeys", `{}}`, serialization, "The request body is not valid JSON: "},
		{"deep", "ListKeys", `{"Future":` + strings.Repeat("[", 100_000), serialization, "The request body nests arrays and objects too deeply."},
		{"invalid UTF-8", "DescribeKey", "{\"KeyId\":\"\xff\"}", serialization, "The request body is not valid JSON: invalid UTF-8"},
		{"lone surrogate", "DescribeKey", `{"KeyId":"\ud800"}`, serialization, "The request body is not valid JSON: "},
		{"NUL", "ListKeys", "{}\x00", serialization, "The request body is not valid JSON: "},
		{"byte order mark", "ListKeys", "\ufeff{}", serialization, "The request body is not valid JSON: "},
		{"compressed", "ListKeys", gz("{}"), serialization, "The request body is not valid JSON: "},
		{"empty where members are required", "DescribeKey", "", "ValidationException", "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"several violations", "Encrypt", `{"KeyId":"","Plaintext":""}`, "ValidationException", "2 validation errors detected: "},
		// Good ones, so that the table is known to be able to fail.
		{"empty", "ListKeys", "", "", ""},
		{"unknown members", "ListKeys", `{"Future":[{"a":null}],"limit":"x"}`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				r := op(c.operation, c.body)
				r.chunked = chunked
				if c.name == "compressed" {
					r.header = map[string]string{"Content-Encoding": "gzip"}
				}
				a := h.do(r)
				if c.code == "" {
					if a.StatusCode != http.StatusOK {
						t.Errorf("answer %d %s", a.StatusCode, a.body)
					}
					continue
				}
				a.wantError(t, 400, c.code, c.message)
				if n := len(h.recordsOf(a.id)); n != 1 {
					t.Errorf("%d records of the call", n)
				}
			}
			h.serves()
		})
	}
}

// TestBodySize sends bodies at and over the limit.
func TestBodySize(t *testing.T) {
	t.Parallel()
	h := start(t)
	// A list of keys whose request is padded to a size.
	padded := func(size int, chunked bool) request {
		r := op("ListKeys", "{"+strings.Repeat(" ", size-2)+"}")
		r.chunked = chunked
		return r
	}
	for _, chunked := range []bool{false, true} {
		for _, size := range []int{smallBody, smallBody + 1, maxBody} {
			if a := h.do(padded(size, chunked)); a.StatusCode != http.StatusOK {
				t.Errorf("%d bytes, chunked %v: %d %s", size, chunked, a.StatusCode, a.body)
			}
		}
		for _, size := range []int{maxBody + 1, 4 * maxBody} {
			a := h.do(padded(size, chunked))
			a.wantError(t, 413, "RequestEntityTooLargeException", fmt.Sprintf("The request body is larger than %d bytes.", maxBody))
			if !a.Close {
				t.Errorf("%d bytes, chunked %v: the connection stays open", size, chunked)
			}
		}
	}
	// What is announced is refused before it is sent.
	head, _, _ := bytes.Cut(h.wire(padded(maxBody+1, false)), []byte("\r\n\r\n"))
	a, err := h.send(append(head, "\r\n\r\n"...))
	h.must(err)
	a.wantError(t, 413, "RequestEntityTooLargeException", "")
	h.serves()
}

// TestBrokenOffBody has the client close, or stall, before it has sent what it
// announced.
func TestBrokenOffBody(t *testing.T) {
	t.Parallel()
	h := start(t, func(s *setup) { s.BodyTimeout = 200 * time.Millisecond })
	for _, chunked := range []bool{false, true} {
		r := op("ListKeys", `{"Limit":1}          `)
		r.chunked = chunked
		raw := h.wire(r)
		raw = raw[:len(raw)-10]
		closes := h.dial().(*net.TCPConn)
		closes.Write(raw)
		closes.CloseWrite()
		a, err := readAnswer(bufio.NewReader(closes))
		h.must(err)
		a.wantError(t, 400, "RequestAbortedException", "The request body broke off, or its chunks are malformed.")

		stalls, err := h.send(raw)
		h.must(err)
		stalls.wantError(t, 408, "RequestTimeoutException", "The request body did not arrive in time.")
		if !stalls.Close {
			t.Error("the connection of a client that stalled stays open")
		}
		for _, a := range []*answer{a, stalls} {
			recs := h.recordsOf(a.id)
			if len(recs) != 1 || recs[0].ErrorCode != a.code || recs[0].UserIdentity.Type != "Unknown" {
				t.Errorf("records of %s: %v", a.code, recs)
			}
		}
	}
	h.serves()
}

// TestSlowHeader sends a header that never ends.
func TestSlowHeader(t *testing.T) {
	t.Parallel()
	h := start(t, func(s *setup) { s.ReadHeaderTimeout = 200 * time.Millisecond })
	for _, sent := range []string{"", "P", "POST / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "} {
		c := h.dial()
		io.WriteString(c, sent)
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 4")) {
			t.Errorf("after %q: %q, %v, want a closed connection", sent, b, err)
		}
	}
	h.serves()
}

// TestRequests sends requests that are not calls of the API.
func TestRequests(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, c := range []struct {
		name    string
		r       request
		status  int
		code    string
		message string
	}{
		{"GET", request{method: "GET"}, 400, "MalformedHttpRequestException", "GET / is not served here. AWS KMS calls are POST requests to /."},
		{"DELETE", request{method: "DELETE"}, 400, "MalformedHttpRequestException", "DELETE / is not served here."},
		{"OPTIONS", request{method: "OPTIONS"}, 400, "MalformedHttpRequestException", "OPTIONS / is not served here."},
		{"own method", request{method: strings.Repeat("X", 300)}, 400, "MalformedHttpRequestException", "XXXXXXXXXXXXXXXX… / is not served here."},
		{"path", request{path: "/keys"}, 400, "MalformedHttpRequestException", "POST /keys is not served here."},
		{"dot path", request{path: "/a/.."}, 400, "MalformedHttpRequestException", "POST /a/.. is not served here."},
		{"double slash", request{path: "//"}, 400, "MalformedHttpRequestException", ""},
		{"health by POST", request{path: "/healthz"}, 400, "MalformedHttpRequestException", "POST /healthz is not served here."},
		{"no target", request{}, 404, "UnknownOperationException", "The X-Amz-Target header is missing. It names the operation: TrentService.Encrypt, for example."},
		{"unknown target", op("Frobnicate", "{}"), 404, "UnknownOperationException", "Unknown operation: TrentService.Frobnicate."},
		{"target of another service", request{target: "DynamoDB_20120810.ListTables"}, 404, "UnknownOperationException", "Unknown operation: DynamoDB_20120810.ListTables."},
		{"target in lower case", request{target: "trentservice.listkeys"}, 404, "UnknownOperationException", ""},
		{"long target", op(strings.Repeat("x", 5000), ""), 404, "UnknownOperationException", "..."},
		{"query", request{target: "TrentService.ListKeys", path: "/?Action=ListKeys"}, 200, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := h.do(c.r)
			if c.code == "" {
				if a.StatusCode != c.status {
					t.Errorf("answer %d %s, want %d", a.StatusCode, a.body, c.status)
				}
				return
			}
			a.wantError(t, c.status, c.code, c.message)
			h.serves()
		})
	}
}

// TestTwoTargets has two X-Amz-Target headers: none of them is followed.
func TestTwoTargets(t *testing.T) {
	t.Parallel()
	h := start(t)
	r := h.http(request{target: "TrentService.ListKeys", unsigned: true})
	r.Header.Add("X-Amz-Target", "TrentService.CreateKey")
	sum := sha256.Sum256(nil)
	h.must(v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret}, r,
		hex.EncodeToString(sum[:]), "kms", testRegion, h.clock.Now()))
	var b bytes.Buffer
	h.must(r.Write(&b))
	a, err := h.send(b.Bytes())
	h.must(err)
	a.wantError(t, 404, "UnknownOperationException", "Unknown operation: TrentService.ListKeys,TrentService.CreateKey.")
}

// TestRawRequests sends what no HTTP library would. Where the HTTP layer itself
// refuses, the answer is its own and the connection is closed.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	h := start(t)
	good := string(h.wire(op("ListKeys", "{}")))
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the request lacks %q:\n%s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct {
		name, raw string
		status    int // 0: closed without an answer
		code      string
	}{
		{"as it is", good, 200, ""},
		{"HTTP/1.0", edit("HTTP/1.1", "HTTP/1.0"), 200, ""},
		{"absolute URL", edit("POST / ", "POST http://"+h.addr+"/ "), 200, ""},
		{"lone line feeds", strings.ReplaceAll(good, "\r\n", "\n"), 200, ""},
		{"expects 100-continue", edit("\r\nHost:", "\r\nExpect: 100-continue\r\nHost:"), 100, ""},
		{"expects something else", edit("\r\nHost:", "\r\nExpect: the unexpected\r\nHost:"), 417, ""},
		{"HTTP/0.9", "GET /\r\n\r\n", 400, ""},
		{"HTTP/3.0", edit("HTTP/1.1", "HTTP/3.0"), 505, ""},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "MalformedHttpRequestException"},
		{"no Host", edit("Host: ", "Hose: "), 400, ""},
		{"two Hosts", edit("\r\nHost:", "\r\nHost: a\r\nHost:"), 400, ""},
		{"Host with a space", edit("Host: ", "Host: a b"), 400, ""},
		{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + strings.Repeat("\x00\r\n", 60), 400, ""},
		{"binary", strings.Repeat("\x00\xff\r\n", 100), 400, ""},
		{"NUL in a header", edit("\r\nHost:", "\r\nX-A: a\x00b\r\nHost:"), 400, ""},
		{"CR in a header", edit("\r\nHost:", "\r\nX-A: a\rb\r\nHost:"), 400, ""},
		{"space before the colon", edit("\r\nHost:", "\r\nX-A : a\r\nHost:"), 400, ""},
		{"no colon", edit("\r\nHost:", "\r\nX-A\r\nHost:"), 400, ""},
		{"huge header", edit("\r\nHost:", "\r\nX-A: "+strings.Repeat("a", 2*maxHeader)+"\r\nHost:"), 431, ""},
		{"many headers", edit("\r\nHost:", "\r\n"+strings.Repeat("X-A: a\r\n", maxHeader)+"Host:"), 431, ""},
		{"large header", edit("\r\nHost:", "\r\nX-A: "+strings.Repeat("a", maxHeader/2)+"\r\nHost:"), 200, ""},
		{"huge URL", edit("POST / ", "POST /?"+strings.Repeat("a", 2*maxHeader)+" "), 431, ""},
		{"invalid escape in the URL", edit("POST / ", "POST /%zz "), 400, ""},
		{"URL with an escaped NUL", edit("POST / ", "POST /%00 "), 400, "MalformedHttpRequestException"},
		{"escaped path", edit("POST / ", "POST /%2e%2e/ "), 400, "MalformedHttpRequestException"},
		{"asterisk", edit("POST / ", "POST * "), 400, "MalformedHttpRequestException"},
		{"CONNECT", edit("POST / ", "CONNECT example.com:443 "), 400, "MalformedHttpRequestException"},
		{"negative length", edit("Content-Length: 2", "Content-Length: -2"), 400, ""},
		{"length that overflows", edit("Content-Length: 2", "Content-Length: 99999999999999999999"), 400, ""},
		{"two lengths", edit("Content-Length: 2", "Content-Length: 2\r\nContent-Length: 3"), 400, ""},
		{"large length", edit("Content-Length: 2", "Content-Length: 9223372036854775807"), 413, "RequestEntityTooLargeException"},
		{"unknown transfer encoding", edit("Content-Length: 2", "Transfer-Encoding: gzip"), 501, ""},
		{"chunks that are none", edit("Content-Length: 2", "Transfer-Encoding: chunked"), 400, "RequestAbortedException"},
		{"chunk of a huge size", edit("Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n") + "fffffffffffffffff\r\n{}\r\n0\r\n\r\n", 400, "RequestAbortedException"},
		{"length and chunks", strings.TrimSuffix(edit("Content-Length: 2\r\n", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"), "{}") + "2\r\n{}\r\n0\r\n\r\n", 400, "InvalidSignatureException"},
		{"folded header", edit("X-Amz-Target: ", "X-Amz-Target: \r\n "), 200, ""},
		{"nothing", "", 0, ""},
		{"empty lines", "\r\n\r\n", 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := h.dial().(*net.TCPConn)
			io.WriteString(conn, c.raw)
			if c.status == 0 || c.status >= 400 {
				conn.CloseWrite() // so that nothing is waited for
			}
			r := bufio.NewReader(conn)
			if c.status == http.StatusContinue {
				if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 Continue") {
					t.Errorf("answer %q, %v", line, err)
				}
				r.ReadString('\n')
				c.status = 200
			}
			a, err := readAnswer(r)
			if c.status == 0 {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("answer %v, %v, want none", a, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.StatusCode != c.status || a.code != c.code {
				t.Errorf("answer %d %s, want %d %s", a.StatusCode, a.body, c.status, c.code)
			}
			if c.code != "" {
				a.wantShape(t)
			}
			if c.status != 200 && !a.Close {
				t.Error("the connection stays open")
			}
			h.serves()
		})
	}
}

// TestPipelined sends several calls at once on one connection: the answers come
// in order, also around one that fails.
func TestPipelined(t *testing.T) {
	t.Parallel()
	h := start(t)
	var all []byte
	want := []int{200, 400, 200, 404, 200}
	for i := range want {
		r := op("GenerateRandom", `{"NumberOfBytes":5}`)
		switch want[i] {
		case 400:
			r.body = `{"NumberOfBytes":5`
		case 404:
			r.target += "ly"
		}
		r.keepAlive = true
		all = append(all, h.wire(r)...)
	}
	c := h.dial()
	c.Write(all)
	r := bufio.NewReader(c)
	ids := map[string]bool{}
	for i, status := range want {
		a, err := readAnswer(r)
		h.must(err)
		if a.StatusCode != status {
			t.Errorf("answer %d is %d %s, want %d", i, a.StatusCode, a.body, status)
		}
		ids[a.id] = true
	}
	if len(ids) != len(want) {
		t.Errorf("%d different request ids", len(ids))
	}
}

// TestPresigned makes calls whose signature and target are in the query.
func TestPresigned(t *testing.T) {
	t.Parallel()
	h := start(t)
	presign := func(target, body string) *http.Request {
		query := url.Values{"X-Amz-Expires": {"60"}}
		if target != "" {
			query.Set("X-Amz-Target", target)
		}
		r, err := http.NewRequest("POST", "http://"+h.addr+"/?"+query.Encode(), strings.NewReader(body))
		h.must(err)
		sum := sha256.Sum256([]byte(body))
		uri, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret}, r,
			hex.EncodeToString(sum[:]), "kms", testRegion, h.clock.Now())
		h.must(err)
		signed, err := http.NewRequest("POST", uri, strings.NewReader(body))
		h.must(err)
		signed.Close = true
		return signed
	}
	send := func(r *http.Request) *answer {
		var b bytes.Buffer
		h.must(r.Write(&b))
		a, err := h.send(b.Bytes())
		h.must(err)
		return a
	}
	const body = `{"NumberOfBytes":5}`
	if a := send(presign("TrentService.GenerateRandom", body)); a.StatusCode != 200 {
		t.Errorf("answer %d %s", a.StatusCode, a.body)
	}
	send(presign("", body)).wantError(t, 404, "UnknownOperationException", "The X-Amz-Target header is missing.")
	send(presign("TrentService.No", body)).wantError(t, 404, "UnknownOperationException", "Unknown operation: TrentService.No.")

	changed := presign("TrentService.GenerateRandom", body)
	changed.URL.RawQuery = strings.Replace(changed.URL.RawQuery, "GenerateRandom", "CreateKey", 1)
	send(changed).wantError(t, 400, "InvalidSignatureException", "The request signature we calculated does not match")

	unsigned := presign("TrentService.GenerateRandom", body)
	unsigned.Header.Set("X-Amz-Target", "TrentService.CreateKey") // not in the signature
	if a := send(unsigned); a.code != "InvalidSignatureException" {
		t.Errorf("an unsigned X-Amz-Target: answer %d %s", a.StatusCode, a.body)
	}
	late := presign("TrentService.GenerateRandom", body)
	h.clock.Advance(61 * time.Second)
	send(late).wantError(t, 400, "InvalidSignatureException", "Signature expired: ")
}

// TestMutations sends a signed request with random damage, thousands of times.
// Each is answered or hung up on, and the server is none the worse.
func TestMutations(t *testing.T) {
	t.Parallel()
	h := start(t)
	id, _ := h.newKey()
	seeds := [][]byte{
		h.wire(op("Encrypt", `{"KeyId":"`+id+`","Plaintext":"aGVsbG8=","EncryptionContext":{"a":"b"},"DryRun":false}`)),
		h.wire(request{target: "TrentService.CreateKey", body: `{"Tags":[{"TagKey":"k","TagValue":"v"}]}`, chunked: true}),
		h.wire(op("ListKeys", "")),
	}
	const rounds = 2400
	const workers = 8
	var mu sync.Mutex
	count := map[int]int{} // answers by status
	t.Run("send", func(t *testing.T) {
		for worker := range workers {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(uint64(worker), 1))
				for range rounds / workers {
					raw := mutate(random, seeds)
					c, err := net.Dial("tcp", h.addr)
					if err != nil {
						t.Fatal(err)
					}
					c.SetDeadline(time.Now().Add(patience))
					c.Write(raw)
					c.(*net.TCPConn).CloseWrite() // so that nothing is waited for
					all, err := io.ReadAll(c)
					c.Close()
					var timeout net.Error
					if errors.As(err, &timeout) && timeout.Timeout() {
						t.Fatalf("no answer and no end after\n%q", raw)
					}
					for r := bufio.NewReader(bytes.NewReader(all)); ; {
						if _, err := r.Peek(1); err != nil {
							break
						}
						a, err := readAnswer(r)
						if err != nil {
							// A reset by the peer may cut the answer off.
							break
						}
						mu.Lock()
						count[a.StatusCode]++
						mu.Unlock()
						if a.StatusCode == http.StatusInternalServerError {
							t.Errorf("%s after\n%q", a.body, raw)
						}
						if a.Header.Get("Content-Type") == contentType && a.StatusCode >= 400 && a.code == "" {
							t.Errorf("answer %d %q after\n%q", a.StatusCode, a.body, raw)
						}
					}
				}
			})
		}
	})
	t.Logf("answers by status: %v", count)
	if count[200] == 0 || count[400] == 0 {
		t.Error("the mutations reach either nothing or everything")
	}
	h.serves()
}

// mutate damages one of the seeds in one to four places.
func mutate(random *rand.Rand, seeds [][]byte) []byte {
	b := bytes.Clone(seeds[random.IntN(len(seeds))])
	for range 1 + random.IntN(4) {
		if len(b) == 0 {
			break
		}
		at := random.IntN(len(b))
		switch random.IntN(7) {
		case 0: // another byte
			b[at] = byte(random.Uint32())
		case 1: // a flipped bit
			b[at] ^= 1 << random.IntN(8)
		case 2: // bytes that matter in HTTP, SigV4 and JSON
			b[at] = "\r\n\x00 :;,/\"{}[]\\0=&%"[random.IntN(18)]
		case 3: // a part missing
			b = append(b[:at], b[min(len(b), at+1+random.IntN(40)):]...)
		case 4: // a part twice
			part := bytes.Clone(b[at:min(len(b), at+1+random.IntN(40))])
			b = append(b[:at], append(part, b[at:]...)...)
		case 5: // cut off
			b = b[:at]
		case 6: // a run of one byte
			b = append(b[:at], append(bytes.Repeat([]byte{byte(random.Uint32())}, random.IntN(5000)), b[at:]...)...)
		}
	}
	return b
}
