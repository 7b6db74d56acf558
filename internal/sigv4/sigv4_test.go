package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/clock"
)

const testBody = `{"KeyId":"alias/app","Plaintext":"aGVsbG8sIHdvcmxk","EncryptionContext":{"tenant":"42"}}`

var (
	signedAt = time.Date(2026, 11, 22, 10, 20, 30, 0, time.UTC)

	longTerm  = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	other     = aws.Credentials{AccessKeyID: "AKIDOTHER", SecretAccessKey: "other"}
	temporary = aws.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: longTerm.SecretAccessKey, SessionToken: "tok/en+1=="}
)

// keyring is the accounts of the tests.
type keyring struct {
	mu   sync.Mutex
	keys map[string]aws.Credentials
}

func newKeyring(creds ...aws.Credentials) *keyring {
	k := &keyring{keys: make(map[string]aws.Credentials)}
	for _, c := range creds {
		k.set(c)
	}
	return k
}

func (k *keyring) set(c aws.Credentials) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[c.AccessKeyID] = c
}

func (k *keyring) lookup(id, token string) (Credential, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.keys[id]
	if !ok || c.SessionToken != token {
		return Credential{}, ErrUnknownKey
	}
	return Credential{c.SecretAccessKey, principal(id)}, nil
}

func principal(id string) api.Principal {
	return api.Principal{Type: api.Root, ID: "123456789012", ARN: "arn:aws:iam::123456789012:root", Account: "123456789012", AccessKeyID: id}
}

// rig is a verifier behind a real HTTP server.
type rig struct {
	*testing.T
	url   string
	clock *clock.Manual
	keys  *keyring
	v     *Verifier

	res Result // of the last request
	err error
}

func newRig(t *testing.T) *rig {
	b := &rig{T: t, clock: clock.NewManual(signedAt), keys: newKeyring(longTerm, other, temporary)}
	b.v = New(b.keys.lookup, b.clock)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		b.res, b.err = b.v.Verify(r, body)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// request is a KMS call that is not signed yet.
func (b *rig) request() *http.Request {
	r, err := http.NewRequest("POST", b.url+"/", strings.NewReader(testBody))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	r.Header.Set("User-Agent", "test/1.0")
	return r
}

func (b *rig) sign(r *http.Request, creds aws.Credentials) *http.Request {
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hashOf(testBody), "kms", "ap-northeast-1", signedAt); err != nil {
		b.Fatal(err)
	}
	return r
}

// presign moves r's signature into its query. A life of 0 names none.
func (b *rig) presign(r *http.Request, creds aws.Credentials, life time.Duration) *http.Request {
	if life != 0 {
		q := r.URL.Query()
		q.Set("X-Amz-Expires", fmt.Sprint(int(life/time.Second)))
		r.URL.RawQuery = q.Encode()
	}
	uri, header, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, hashOf(testBody), "kms", "ap-northeast-1", signedAt)
	if err != nil {
		b.Fatal(err)
	}
	signed, err := http.NewRequest(r.Method, uri, strings.NewReader(testBody))
	if err != nil {
		b.Fatal(err)
	}
	maps.Copy(signed.Header, header)
	return signed
}

// send sends r and returns what Verify said.
func (b *rig) send(r *http.Request) (Result, error) {
	b.Helper()
	b.res, b.err = Result{}, errors.New("the request did not reach the handler")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		b.Fatalf("net/http refused the request: %s", resp.Status)
	}
	return b.res, b.err
}

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// wantError checks code, status and the beginning of the text.
func wantError(t *testing.T, err error, code, text string) {
	t.Helper()
	var e *awserr.Error
	if !errors.As(err, &e) {
		t.Errorf("error %v, want %s", err, code)
		return
	}
	if e.Code != code || e.Status != 400 || !strings.HasPrefix(e.Message, text) {
		t.Errorf("error %d %v\nwant 400 %s: %s", e.Status, e, code, text)
	}
}

const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

func TestVerifyHeader(t *testing.T) {
	b := newRig(t)
	for _, creds := range []aws.Credentials{longTerm, temporary} {
		res, err := b.send(b.sign(b.request(), creds))
		if err != nil {
			t.Fatal(err)
		}
		want := Result{
			Principal: principal(creds.AccessKeyID), AccessKeyID: creds.AccessKeyID,
			Region: "ap-northeast-1", Service: "kms", SignedAt: signedAt,
		}
		if res != want {
			t.Errorf("result %+v, want %+v", res, want)
		}
	}
}

func TestVerifyPresigned(t *testing.T) {
	b := newRig(t)
	for _, creds := range []aws.Credentials{longTerm, temporary} {
		r := b.request()
		r.URL.RawQuery = "note=%E9%8D%B5+%26+lock&a=2&a=1"
		res, err := b.send(b.presign(r, creds, time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		want := Result{
			Principal: principal(creds.AccessKeyID), AccessKeyID: creds.AccessKeyID,
			Region: "ap-northeast-1", Service: "kms", SignedAt: signedAt, Presigned: true,
		}
		if res != want {
			t.Errorf("result %+v, want %+v", res, want)
		}
	}
}

// TestBotocore checks requests that botocore 1.44.5 signed: with a Date header
// in its own format in place of X-Amz-Date, and with a path and a query that
// need all of the canonicalisation.
func TestBotocore(t *testing.T) {
	v := New(newKeyring(longTerm, temporary).lookup, clock.NewManual(signedAt))
	for name, raw := range map[string]string{
		"date header": "POST / HTTP/1.1\r\nHost: 127.0.0.1:4599\r\nX-Amz-Target: TrentService.DescribeKey\r\nContent-Type: application/x-amz-json-1.1\r\n" +
			"Date: Sun, 22 Nov 2026 10:20:30 -0000\r\nContent-Length: 19\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/ap-northeast-1/kms/aws4_request, SignedHeaders=content-type;date;host;x-amz-target, Signature=76af4a4a3968fc956953e49fad92d3b24193c4eb5fb94fe767196d33cc4712e0\r\n\r\n" +
			`{"KeyId":"alias/a"}`,
		"presigned": "GET /a%20b//c/../d/?z=1&Action=List%20Keys&n=%E9%8D%B5&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIAEXAMPLE%2F20261122%2Fap-northeast-1%2Fkms%2Faws4_request&X-Amz-Date=20261122T102030Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Security-Token=tok%2Fen%2B1%3D%3D&X-Amz-Signature=4e993a81e04f4fa954e7cddf04a3173d769c2176c011ab64a262d14f6b899963 HTTP/1.1\r\n" +
			"Host: 127.0.0.1:4599\r\n\r\n",
		"presigned, sent in absolute form": "GET http://127.0.0.1:4599/a%20b//c/../d/?z=1&Action=List%20Keys&n=%E9%8D%B5&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIAEXAMPLE%2F20261122%2Fap-northeast-1%2Fkms%2Faws4_request&X-Amz-Date=20261122T102030Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Security-Token=tok%2Fen%2B1%3D%3D&X-Amz-Signature=4e993a81e04f4fa954e7cddf04a3173d769c2176c011ab64a262d14f6b899963 HTTP/1.1\r\n" +
			"Host: 127.0.0.1:4599\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, body := readRequest(t, raw)
			res, err := v.Verify(r, body)
			if err != nil {
				t.Fatal(err)
			}
			if !res.SignedAt.Equal(signedAt) {
				t.Errorf("signed at %v, want %v", res.SignedAt, signedAt)
			}
		})
	}
}

func readRequest(t testing.TB, raw string) (*http.Request, []byte) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

// TestSDKClient lets the KMS client of the Go SDK call, with all the headers
// that its middleware adds and signs.
func TestSDKClient(t *testing.T) {
	v := New(newKeyring(temporary).lookup, clock.System())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, err := v.Verify(r, body); err != nil {
			t.Error(err)
		}
		io.WriteString(w, "{}")
	}))
	defer server.Close()
	_, err := kmsClient(server.URL, http.DefaultClient).Encrypt(context.Background(), encryptInput)
	if err != nil {
		t.Fatal(err)
	}
}

var encryptInput = &kms.EncryptInput{
	KeyId: aws.String("arn:aws:kms:ap-northeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"), Plaintext: bytes.Repeat([]byte("p"), 64),
	EncryptionContext: map[string]string{"tenant": "42", "purpose": "backup"},
}

func kmsClient(endpoint string, client kms.HTTPClient) *kms.Client {
	return kms.New(kms.Options{
		Region: "ap-northeast-1", BaseEndpoint: &endpoint, HTTPClient: client,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return temporary, nil }),
	})
}

func TestTamperedHeader(t *testing.T) {
	b := newRig(t)
	edit := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			was := r.Header.Get("Authorization")
			now := strings.Replace(was, old, new, 1)
			if was == now {
				t.Errorf("%q is not in %q", old, was)
			}
			r.Header.Set("Authorization", now)
		}
	}
	for _, test := range []struct {
		name   string
		tamper func(*http.Request)
		code   string
		text   string
	}{
		{"method", func(r *http.Request) { r.Method = "PUT" }, awserr.InvalidSignature, mismatch},
		{"path", func(r *http.Request) { r.URL.Path = "/x" }, awserr.InvalidSignature, mismatch},
		{"query", func(r *http.Request) { r.URL.RawQuery = "a" }, awserr.InvalidSignature, mismatch},
		{"host", func(r *http.Request) { r.Host = "kms.example" }, awserr.InvalidSignature, mismatch},
		{"body", func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(testBody, "app", "abc", 1)))
		}, awserr.InvalidSignature, mismatch},
		{"no body", func(r *http.Request) { r.Body, r.ContentLength = nil, 0 }, awserr.InvalidSignature, mismatch},
		{"header", func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Decrypt") }, awserr.InvalidSignature, mismatch},
		{"header once more", func(r *http.Request) { r.Header.Add("X-Amz-Target", "TrentService.Decrypt") }, awserr.InvalidSignature, mismatch},
		{"signed header gone", func(r *http.Request) { r.Header.Del("X-Amz-Target") }, awserr.InvalidSignature, "The signed header 'x-amz-target' is not in the request."},
		{"x-amz header added", func(r *http.Request) { r.Header.Set("X-Amz-Foo", "1") }, awserr.InvalidSignature, "'X-Amz-Foo' must be a 'SignedHeader' in the AWS Authorization."},
		{"token added", func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", temporary.SessionToken) }, awserr.UnrecognizedClient, "The security token included in the request is invalid."},
		{"x-amz header taken off the list", edit(";x-amz-target", ""), awserr.InvalidSignature, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{"other header taken off the list", edit("content-type;", ""), awserr.InvalidSignature, mismatch},
		{"host taken off the list", edit("host;", ""), awserr.InvalidSignature, "'Host' must be a 'SignedHeader' in the AWS Authorization."},
		{"list out of order", edit("host;x-amz-date", "x-amz-date;host"), awserr.IncompleteSignature, "SignedHeaders must be header names in lower case, in ascending order"},
		{"list with a double", edit("host;", "host;host;"), awserr.IncompleteSignature, "SignedHeaders must be"},
		{"list in upper case", edit("host;", "Host;"), awserr.IncompleteSignature, "SignedHeaders must be"},
		{"list too long", edit("host;", "host;"+manyNames()), awserr.IncompleteSignature, "SignedHeaders has 69 names; at most 64 are accepted."},
		{"time", func(r *http.Request) { r.Header.Set("X-Amz-Date", "20261122T102031Z") }, awserr.InvalidSignature, mismatch},
		{"date of the scope", edit("/20261122/", "/20261121/"), awserr.InvalidSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261121' != '20261122', from '20261122T102030Z'."},
		{"region", edit("ap-northeast-1", "ap-northeast-2"), awserr.InvalidSignature, mismatch},
		{"malformed region", edit("ap-northeast-1", ""), awserr.InvalidSignature, "Credential should be scoped to a valid region."},
		{"service", edit("/kms/", "/iam/"), awserr.InvalidSignature, mismatch},
		{"malformed service", edit("/kms/", "/k m s/"), awserr.InvalidSignature, "Credential should be scoped to a valid service."},
		{"terminator", edit("aws4_request", "aws5_request"), awserr.InvalidSignature, "Credential should be scoped with a valid terminator: 'aws4_request'."},
		{"key of somebody else", edit("AKIDEXAMPLE", "AKIDOTHER"), awserr.InvalidSignature, mismatch},
		{"unknown key", edit("AKIDEXAMPLE", "AKIDNOBODY"), awserr.UnrecognizedClient, "The security token included in the request is invalid."},
		{"scope too short", edit("/kms/", "/"), awserr.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 4."},
		{"algorithm", edit("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), awserr.IncompleteSignature, "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now)."},
		{"two credentials", edit("Credential=", "Credential=a, Credential="), awserr.IncompleteSignature, "Authorization header has more than one 'Credential' parameter."},
		{"signature cut", func(r *http.Request) {
			a := r.Header.Get("Authorization")
			r.Header.Set("Authorization", a[:len(a)-1])
		}, awserr.InvalidSignature, mismatch},
		{"two Authorization headers", func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, awserr.IncompleteSignature, "The 'Authorization' header must be sent once, not 2 times."},
		{"two dates", func(r *http.Request) { r.Header.Add("X-Amz-Date", r.Header.Get("X-Amz-Date")) }, awserr.IncompleteSignature, "The 'X-Amz-Date' header must be sent once, not 2 times."},
		{"signed in two ways", func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=0" }, awserr.InvalidSignature, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."},
		{"broken query", func(r *http.Request) { r.URL.RawQuery = "a=%4" }, awserr.MalformedHttpRequest, "The query string has a percent sign that is not followed by two hexadecimal digits. A percent sign itself is written as %25."},
		{"huge query", func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a", 32<<10+1) }, awserr.MalformedHttpRequest, "The query string has 32769 bytes; at most 32768 are accepted."},
		{"many parameters", func(r *http.Request) { r.URL.RawQuery = strings.Repeat("&", 256) }, awserr.MalformedHttpRequest, "The query string has 257 parameters; at most 256 are accepted."},
		{"huge Authorization", edit("host;", strings.Repeat("h", 4096)), awserr.IncompleteSignature, "The Authorization header has "},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.T = t
			r := b.sign(b.request(), longTerm)
			test.tamper(r)
			res, err := b.send(r)
			wantError(t, err, test.code, test.text)
			if res.Principal != (api.Principal{Type: api.Unknown}) {
				t.Errorf("principal of a refused request: %+v", res.Principal)
			}
		})
	}
	t.Run("every bit of the signature", func(t *testing.T) {
		r := b.sign(b.request(), longTerm)
		auth := r.Header.Get("Authorization")
		r.RequestURI = "/"
		for i := len(auth) - 64; i < len(auth); i++ {
			for bit := range 8 {
				bad := []byte(auth)
				bad[i] ^= 1 << bit
				if bad[i] == ',' {
					continue // then it is another header, not another signature
				}
				r.Header["Authorization"] = []string{string(bad)}
				if _, err := b.v.Verify(r, []byte(testBody)); !awserr.Is(err, awserr.InvalidSignature) {
					t.Errorf("signature %s: %v", bad[len(auth)-64:], err)
				}
			}
		}
		r.Header["Authorization"] = []string{auth}
		if _, err := b.v.Verify(r, []byte(testBody)); err != nil {
			t.Error(err)
		}
	})
}

func manyNames() string {
	var names strings.Builder
	for i := range 64 {
		fmt.Fprintf(&names, "host-%02d;", i)
	}
	return names.String()
}

func TestTamperedPresigned(t *testing.T) {
	b := newRig(t)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			if !q.Has(name) {
				t.Errorf("no %s in %v", name, q)
			}
			q.Set(name, value)
			r.URL.RawQuery = q.Encode()
		}
	}
	for _, test := range []struct {
		name   string
		tamper func(*http.Request)
		code   string
		text   string
	}{
		{"method", func(r *http.Request) { r.Method = "PUT" }, awserr.InvalidSignature, mismatch},
		{"path", func(r *http.Request) { r.URL.Path = "/x" }, awserr.InvalidSignature, mismatch},
		{"host", func(r *http.Request) { r.Host = "kms.example" }, awserr.InvalidSignature, mismatch},
		{"body", func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(testBody, "app", "abc", 1)))
		}, awserr.InvalidSignature, mismatch},
		{"header", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, awserr.InvalidSignature, mismatch},
		{"x-amz header added", func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Decrypt") }, awserr.InvalidSignature, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{"parameter", set("X-Amz-Target", "TrentService.Decrypt"), awserr.InvalidSignature, mismatch},
		{"parameter added", func(r *http.Request) { r.URL.RawQuery += "&a=b" }, awserr.InvalidSignature, mismatch},
		{"life", set("X-Amz-Expires", "7200"), awserr.InvalidSignature, mismatch},
		{"life over a week", set("X-Amz-Expires", "604801"), awserr.IncompleteSignature, "X-Amz-Expires must be a whole number of seconds from 1 to 604800. Got '604801'."},
		{"no life", set("X-Amz-Expires", "0"), awserr.IncompleteSignature, "X-Amz-Expires must be"},
		{"negative life", set("X-Amz-Expires", "-1"), awserr.IncompleteSignature, "X-Amz-Expires must be"},
		{"time", set("X-Amz-Date", "20261122T102031Z"), awserr.InvalidSignature, mismatch},
		{"malformed time", set("X-Amz-Date", "20261122T102030.5Z"), awserr.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '20261122T102030.5Z'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"date of the scope", set("X-Amz-Credential", "ASIAEXAMPLE/20261123/ap-northeast-1/kms/aws4_request"), awserr.InvalidSignature, "Date in Credential scope does not match"},
		{"region", set("X-Amz-Credential", "ASIAEXAMPLE/20261122/us-east-1/kms/aws4_request"), awserr.InvalidSignature, mismatch},
		{"token", set("X-Amz-Security-Token", "other"), awserr.UnrecognizedClient, "The security token included in the request is invalid."},
		{"signature", set("X-Amz-Signature", strings.Repeat("0", 64)), awserr.InvalidSignature, mismatch},
		{"two signatures", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=0" }, awserr.IncompleteSignature, "AWS query-string parameters must include 'X-Amz-Signature' once, not 2 times."},
		{"algorithm", set("X-Amz-Algorithm", "AWS4-HMAC-SHA1"), awserr.IncompleteSignature, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for now)."},
		{"no algorithm", set("X-Amz-Algorithm", ""), awserr.IncompleteSignature, "AWS query-string parameters must include 'X-Amz-Algorithm'. Re-examine the query-string parameters."},
		{"nothing but a signature", func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=0" }, awserr.IncompleteSignature, "AWS query-string parameters must include 'X-Amz-Algorithm'. AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.T = t
			r := b.presign(b.request(), temporary, time.Hour)
			test.tamper(r)
			res, err := b.send(r)
			wantError(t, err, test.code, test.text)
			if res.Principal != (api.Principal{Type: api.Unknown}) {
				t.Errorf("principal of a refused request: %+v", res.Principal)
			}
		})
	}
}

func TestMissingAndIncomplete(t *testing.T) {
	v := New(newKeyring(longTerm).lookup, clock.NewManual(signedAt))
	const (
		credential = "Credential=AKIDEXAMPLE/20261122/ap-northeast-1/kms/aws4_request"
		signature  = "Signature=76af4a4a3968fc956953e49fad92d3b24193c4eb5fb94fe767196d33cc4712e0"
		date       = "X-Amz-Date: 20261122T102030Z\r\n"
	)
	for _, test := range []struct {
		name, headers, code, text string
	}{
		{"nothing", "", awserr.MissingAuthenticationToken, "Missing Authentication Token"},
		{"empty", "Authorization: \r\n", awserr.MissingAuthenticationToken, "Missing Authentication Token"},
		{"bearer", "Authorization: Bearer abc\r\n", awserr.MissingAuthenticationToken, "Missing Authentication Token"},
		{"signature version 2", "Authorization: AWS AKIDEXAMPLE:abc\r\n", awserr.MissingAuthenticationToken, "Missing Authentication Token"},
		{"algorithm only", "Authorization: AWS4-HMAC-SHA256\r\n", awserr.IncompleteSignature,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed with SHA-256 and encoded with Base64) Authorization="},
		{"no credential", "Authorization: AWS4-HMAC-SHA256 SignedHeaders=host, " + signature + "\r\n" + date, awserr.IncompleteSignature,
			"Authorization header requires 'Credential' parameter. (Hashed"},
		{"no signature", "Authorization: AWS4-HMAC-SHA256 " + credential + ",SignedHeaders=host\r\n" + date, awserr.IncompleteSignature,
			"Authorization header requires 'Signature' parameter. (Hashed"},
		{"no date", "Authorization: AWS4-HMAC-SHA256 " + credential + ",SignedHeaders=host," + signature + "\r\n", awserr.IncompleteSignature,
			"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed"},
		{"no pair", "Authorization: AWS4-HMAC-SHA256 " + credential + ", SignedHeaders, " + signature + "\r\n" + date, awserr.IncompleteSignature,
			"Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '"},
		{"malformed date", "Authorization: AWS4-HMAC-SHA256 " + credential + ",SignedHeaders=host," + signature + "\r\nX-Amz-Date: yesterday\r\n", awserr.IncompleteSignature,
			"Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"malformed key", "Authorization: AWS4-HMAC-SHA256 Credential=a b/20261122/ap-northeast-1/kms/aws4_request,SignedHeaders=host," + signature + "\r\n" + date, awserr.IncompleteSignature,
			"The access key id in Credential must have 1 to 128 characters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, body := readRequest(t, "POST / HTTP/1.1\r\nHost: a\r\n"+test.headers+"\r\n")
			_, err := v.Verify(r, body)
			wantError(t, err, test.code, test.text)
			if strings.Contains(err.Error(), signature[10:]) {
				t.Errorf("the error repeats the signature: %v", err)
			}
		})
	}
}

// TestSwappedCredential has a client whose secret key took the place of the id.
func TestSwappedCredential(t *testing.T) {
	b := newRig(t)
	for _, secret := range []string{longTerm.SecretAccessKey, strings.ReplaceAll(longTerm.SecretAccessKey, "/", "-")} {
		res, err := b.send(b.sign(b.request(), aws.Credentials{AccessKeyID: secret, SecretAccessKey: "AKIDEXAMPLE"}))
		if err == nil {
			t.Fatal("accepted")
		}
		if s := fmt.Sprintf("%+v %v", res, err); strings.Contains(s, secret[:10]) {
			t.Errorf("the secret is in %s", s)
		}
	}
	// A real id of that length is reported.
	long := aws.Credentials{AccessKeyID: strings.Repeat("A", 40), SecretAccessKey: "secret"}
	b.keys.set(long)
	if res, err := b.send(b.sign(b.request(), long)); err != nil || res.AccessKeyID != long.AccessKeyID {
		t.Errorf("result %+v, %v", res, err)
	}
}

func TestFailedResult(t *testing.T) {
	b := newRig(t)
	res, err := b.send(b.sign(b.request(), aws.Credentials{AccessKeyID: "AKIDNOBODY", SecretAccessKey: "x"}))
	wantError(t, err, awserr.UnrecognizedClient, "The security token included in the request is invalid.")
	want := Result{
		Principal: api.Principal{Type: api.Unknown}, AccessKeyID: "AKIDNOBODY",
		Region: "ap-northeast-1", Service: "kms", SignedAt: signedAt,
	}
	if res != want {
		t.Errorf("result %+v, want %+v", res, want)
	}
}

func TestClockSkew(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, test := range []struct {
		name      string
		presigned bool
		life      time.Duration
		offset    time.Duration // of our clock from the signature's time
		text      string        // of the error
	}{
		{"5 minutes old", false, 0, 5 * time.Minute, ""},
		{"older", false, 0, 5*time.Minute + time.Second, "Signature expired: 20261122T102030Z is now earlier than 20261122T102031Z (20261122T102531Z - 5 min.)"},
		{"5 minutes ahead", false, 0, -5 * time.Minute, ""},
		{"farther ahead", false, 0, -5*time.Minute - time.Second, "Signature not yet current: 20261122T102030Z is still later than 20261122T102029Z (20261122T101529Z + 5 min.)"},
		{"presigned without a life, 5 minutes old", true, 0, 5 * time.Minute, ""},
		{"presigned without a life, older", true, 0, 5*time.Minute + time.Second, "Signature expired: 20261122T102030Z is now earlier than 20261122T102031Z (20261122T102531Z - 5 min.)"},
		{"end of life", true, time.Minute, time.Minute, ""},
		{"after its life", true, time.Minute, time.Minute + time.Second, "Signature expired: 20261122T102030Z is now earlier than 20261122T102031Z (20261122T102131Z - 60 sec.)"},
		{"end of the longest life", true, week, week, ""},
		{"after the longest life", true, week, week + time.Second, "Signature expired: 20261122T102030Z is now earlier than 20261122T102031Z (20261129T102031Z - 604800 sec.)"},
		{"presigned 5 minutes ahead", true, week, -5 * time.Minute, ""},
		{"presigned farther ahead", true, week, -5*time.Minute - time.Second, "Signature not yet current: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newRig(t)
			b.clock.Advance(test.offset)
			r := b.request()
			if test.presigned {
				r = b.presign(r, longTerm, test.life)
			} else {
				r = b.sign(r, longTerm)
			}
			_, err := b.send(r)
			if test.text != "" {
				wantError(t, err, awserr.InvalidSignature, test.text)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSessionToken(t *testing.T) {
	b := newRig(t)
	stolen := temporary
	for _, stolen.SessionToken = range []string{"", "other"} {
		_, err := b.send(b.sign(b.request(), stolen))
		wantError(t, err, awserr.UnrecognizedClient, "The security token included in the request is invalid.")
		_, err = b.send(b.presign(b.request(), stolen, time.Hour))
		wantError(t, err, awserr.UnrecognizedClient, "The security token included in the request is invalid.")
	}
}

// TestRotation changes the secret of a key whose derived key is cached.
func TestRotation(t *testing.T) {
	b := newRig(t)
	if _, err := b.send(b.sign(b.request(), longTerm)); err != nil {
		t.Fatal(err)
	}
	rotated := longTerm
	rotated.SecretAccessKey = "another secret"
	b.keys.set(rotated)
	_, err := b.send(b.sign(b.request(), longTerm))
	wantError(t, err, awserr.InvalidSignature, mismatch)
	if _, err := b.send(b.sign(b.request(), rotated)); err != nil {
		t.Error(err)
	}
}

func TestBodyHashHeader(t *testing.T) {
	b := newRig(t)
	for _, test := range []struct{ stated, text string }{
		{hashOf(testBody), ""},
		{hashOf("another body"), "The provided 'x-amz-content-sha256' header does not match what was computed."},
		{strings.ToUpper(hashOf(testBody)), "The provided 'x-amz-content-sha256' header does not match what was computed."},
		{"UNSIGNED-PAYLOAD", "The 'x-amz-content-sha256' header must be the SHA-256 of the body in lower-case hex: unsigned and streaming payloads are not accepted."},
		{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "The 'x-amz-content-sha256' header must be"},
	} {
		// The client signs what it states, as S3 clients do.
		r := b.request()
		r.Header.Set("X-Amz-Content-Sha256", test.stated)
		if err := v4.NewSigner().SignHTTP(context.Background(), longTerm, r, test.stated, "kms", "ap-northeast-1", signedAt); err != nil {
			t.Fatal(err)
		}
		_, err := b.send(r)
		if test.text != "" {
			wantError(t, err, awserr.InvalidSignature, test.text)
		} else if err != nil {
			t.Error(err)
		}
	}
}

// TestLookupErrors: an AWS error of the lookup is for the caller, any other is not.
func TestLookupErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		code string
	}{
		{awserr.New(awserr.ExpiredToken, "The security token included in the request is expired"), awserr.ExpiredToken},
		{errors.New("disk on fire"), awserr.KMSInternal},
		{fmt.Errorf("no such key: %w", ErrUnknownKey), awserr.UnrecognizedClient},
	} {
		b := newRig(t)
		b.v = New(func(string, string) (Credential, error) { return Credential{}, test.err }, b.clock)
		if _, err := b.send(b.sign(b.request(), longTerm)); !awserr.Is(err, test.code) || strings.Contains(err.Error(), "disk") {
			t.Errorf("lookup error %v became %v, want %s", test.err, err, test.code)
		}
	}
}

// TestKeyCacheIsBounded: refused signatures leave nothing behind, and accepted
// ones no more than a fixed number of keys.
func TestKeyCacheIsBounded(t *testing.T) {
	b := newRig(t)
	verify := func(region string, creds aws.Credentials) error {
		r := b.request()
		r.RequestURI = "/"
		if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hashOf(testBody), "kms", region, signedAt); err != nil {
			t.Fatal(err)
		}
		_, err := b.v.Verify(r, []byte(testBody))
		return err
	}
	wrong := aws.Credentials{AccessKeyID: longTerm.AccessKeyID, SecretAccessKey: "guess"}
	for i := range 10 {
		wantError(t, verify(fmt.Sprint("region-", i), wrong), awserr.InvalidSignature, mismatch)
	}
	if n := len(b.v.keys.keys); n != 0 {
		t.Errorf("%d keys cached for wrong signatures", n)
	}
	for i := range maxKeys + 10 {
		if err := verify(fmt.Sprint("region-", i), longTerm); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.v.keys.keys); n == 0 || n > maxKeys {
		t.Errorf("%d keys cached, want 1 to %d", n, maxKeys)
	}
}

func TestConcurrentVerify(t *testing.T) {
	b := newRig(t)
	var wg sync.WaitGroup
	for i := range 8 {
		creds := []aws.Credentials{longTerm, other, temporary}[i%3]
		r := b.sign(b.request(), creds)
		r.RequestURI = "/"
		wg.Go(func() {
			for range 50 {
				if res, err := b.v.Verify(r, []byte(testBody)); err != nil || res.AccessKeyID != creds.AccessKeyID {
					t.Errorf("%+v, %v", res, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCanonicalPath(t *testing.T) {
	for raw, want := range map[string]string{
		"":              "/",
		"/":             "/",
		"/.":            "/",
		"/..":           "/",
		"/../../a":      "/a",
		"/a/../../b":    "/b",
		"/a/b/..":       "/a/",
		"/a/b/../":      "/a/",
		"/a/./b":        "/a/b",
		"/a/.b/c..":     "/a/.b/c..",
		"/a%2Fb/%2e%2e": "/a%252Fb/%252e%252e", // encoded, so no separator and no dots
		"/%20":          "/%2520",
		"/*":            "/%2A",
	} {
		if got := string(appendPath([]byte("GET\n"), raw)); got != "GET\n"+want {
			t.Errorf("path %q: %q, want %q", raw, got[4:], want)
		}
	}
}

func TestCanonicalQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"":                    "",
		"&&":                  "",
		"a":                   "a=",
		"a=&=b":               "=b&a=",
		"b=2&a=2&a=1":         "a=1&a=2&b=2",
		"a=b=c":               "a=b%3Dc",
		"a+b=c%20d":           "a%20b=c%20d",
		"%7e=%c3%a9":          "~=%C3%A9",
		"a0=1&a%40=2":         "a%40=2&a0=1", // sorted after encoding
		"a=1;b=2":             "a=1%3Bb%3D2",
		"a=1&X-Amz-Signature": "a=1",
	} {
		params, err := parseQuery(raw)
		if got := string(appendQuery(nil, params)); err != nil || got != want {
			t.Errorf("query %q: %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"%", "a=%2", "a=%zz", "%+1"} {
		_, err := parseQuery(raw)
		wantError(t, err, awserr.MalformedHttpRequest, "The query string has a percent sign")
	}
}

func TestHeaderValues(t *testing.T) {
	r, _ := readRequest(t, "POST / HTTP/1.1\r\nHost: a:1\r\nA:  one \t two  \r\nA:\r\nA: three\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	got, err := appendHeaders(nil, r, "a;host;transfer-encoding")
	if want := "a:one two,,three\nhost:a:1\ntransfer-encoding:chunked\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	r, _ = readRequest(t, "POST / HTTP/1.1\r\nHost: a:1\r\nContent-Length: 2\r\n\r\n{}")
	got, err = appendHeaders(nil, r, "content-length;host")
	if want := "content-length:2\nhost:a:1\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// BenchmarkVerify verifies what the Go SDK's KMS client sends for Encrypt.
func BenchmarkVerify(b *testing.B) {
	var wire bytes.Buffer
	client := kmsClient("http://127.0.0.1:4599", clientFunc(func(r *http.Request) (*http.Response, error) {
		if err := r.Write(&wire); err != nil {
			b.Fatal(err)
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	}))
	if _, err := client.Encrypt(context.Background(), encryptInput); err != nil {
		b.Fatal(err)
	}
	r, body := readRequest(b, wire.String())
	v := New(newKeyring(temporary).lookup, clock.System())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, body); err != nil {
			b.Fatal(err)
		}
	}
}

type clientFunc func(*http.Request) (*http.Response, error)

func (f clientFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzParseAuthorization: whatever the headers say, the answer is an AWS error
// that does not repeat the signature, or a well-formed claim.
func FuzzParseAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/ap-northeast-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=76af4a4a3968fc956953e49fad92d3b24193c4eb5fb94fe767196d33cc4712e0", "20261122T102030Z", "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e,SignedHeaders=,Signature", "", "Sun, 22 Nov 2026 10:20:30 -0000")
	f.Add("AWS4-X", "20261122T102030.1Z", "tok")
	f.Add("Bearer a", "", "")
	f.Fuzz(func(t *testing.T, auth, date, token string) {
		h := http.Header{"Authorization": {auth}, "X-Amz-Date": {date}, "Date": {date}, "X-Amz-Security-Token": {token}}
		if date == "" || date[0] > '9' {
			delete(h, "X-Amz-Date")
		}
		c, err := readClaim(h, nil)
		checkClaim(t, c, err)

		// The same as a query.
		q := url.Values{"X-Amz-Algorithm": {algorithm}, "X-Amz-Credential": {c.accessKeyID + "/" + c.scope}, "X-Amz-Date": {date}, "X-Amz-SignedHeaders": {c.signedHeaders}, "X-Amz-Signature": {c.signature}, "X-Amz-Security-Token": {token}, "X-Amz-Expires": {auth}}
		params, qerr := parseQuery(q.Encode())
		if qerr != nil {
			return // too long
		}
		pc, perr := readClaim(nil, params)
		checkClaim(t, pc, perr)
		q.Del("X-Amz-Expires")
		params, _ = parseQuery(q.Encode())
		if pc, perr = readClaim(nil, params); err == nil && h["X-Amz-Date"] != nil {
			c.presigned = true
			if perr != nil || pc != c {
				t.Errorf("header form %+v, query form %+v, %v", c, pc, perr)
			}
		}
	})
}

func checkClaim(t *testing.T, c claim, err error) {
	if err != nil {
		var e *awserr.Error
		if !errors.As(err, &e) || e.Status != 400 {
			t.Errorf("error %v", err)
		}
		if len(c.signature) >= 64 && strings.Contains(err.Error(), c.signature) {
			t.Errorf("the error repeats the signature: %v", err)
		}
		return
	}
	if got := strings.Join([]string{c.date, c.region, c.service, terminator}, "/"); got != c.scope {
		t.Errorf("scope %q is not %q", c.scope, got)
	}
	if c.accessKeyID == "" || c.signature == "" || c.signedHeaders == "" || !strings.HasPrefix(c.timestamp, c.date) || c.signedAt.Format(isoBasic) != c.timestamp {
		t.Errorf("claim %+v", c)
	}
}

// FuzzCanonicalRequest: what the SDK signs verifies, and with one byte of the
// body changed it does not.
func FuzzCanonicalRequest(f *testing.F) {
	f.Add("POST", "", "", "", "", "", "a  b", []byte("{}"), false)
	f.Add("GET", "key/a b/%/鍵", "a", "2", "a", "1 +&=é%", `"q  q"`, []byte(nil), true)
	f.Add("PUT", "x/", "名", "1", "b~", "", " t ", []byte(testBody), true)
	f.Fuzz(func(t *testing.T, method, path, name1, value1, name2, value2, header string, body []byte, presign bool) {
		u := url.URL{Scheme: "http", Host: "127.0.0.1:4599", Path: "/" + path}
		if name1 != "" || name2 != "" {
			u.RawQuery = url.Values{name1: {value1}, name2: {value2}}.Encode()
		}
		if !sdkFollowsSpec(&u, name1, name2, header) {
			t.Skip()
		}
		r, err := http.NewRequest(method, u.String(), bytes.NewReader(body))
		if err != nil {
			t.Skip() // not a method
		}
		r.Header.Set("My-Header", header)
		r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
		if presign {
			uri, h, err := v4.NewSigner().PresignHTTP(context.Background(), temporary, r, hashOf(string(body)), "kms", "us-east-1", signedAt)
			if err != nil {
				t.Fatal(err)
			}
			if r, err = http.NewRequest(method, uri, bytes.NewReader(body)); err != nil {
				t.Fatal(err)
			}
			maps.Copy(r.Header, h)
		} else if err := v4.NewSigner().SignHTTP(context.Background(), temporary, r, hashOf(string(body)), "kms", "us-east-1", signedAt); err != nil {
			t.Fatal(err)
		}
		var wire bytes.Buffer
		if err := r.Write(&wire); err != nil {
			t.Skip() // a method or target that net/http does not send
		}
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		if err != nil {
			t.Skip()
		}
		v := New(newKeyring(temporary).lookup, clock.NewManual(signedAt))
		if _, err := v.Verify(got, body); err != nil {
			t.Errorf("%v\n%s %s\n%v", err, got.Method, got.RequestURI, got.Header)
		}
		if _, err := v.Verify(got, append([]byte("x"), body...)); !awserr.Is(err, awserr.InvalidSignature) {
			t.Errorf("with another body: %v", err)
		}
	})
}

// sdkFollowsSpec tells whether the SDK's signer canonicalises the request as
// the specification says. It leaves dot segments and double slashes in paths,
// sorts the names of parameters before encoding them, keeps tabs in headers.
func sdkFollowsSpec(u *url.URL, name1, name2, header string) bool {
	for i, segment := range strings.Split(u.EscapedPath(), "/") {
		last := i == strings.Count(u.EscapedPath(), "/")
		if segment == "." || segment == ".." || segment == "" && i > 0 && !last {
			return false
		}
	}
	if !isUnreserved(name1) || !isUnreserved(name2) || strings.HasPrefix(name1, "X-Amz-") || strings.HasPrefix(name2, "X-Amz-") {
		return false
	}
	for i := range len(header) {
		if header[i] < ' ' || header[i] > '~' {
			return false
		}
	}
	return true
}
