//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"
)

const answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\ncontent-length:  5 \r\nX: a:b\r\n\r\nhello"

// However the network splits an answer, it is complete with its last byte and
// not before.
func TestParseResponseSplit(t *testing.T) {
	for n := range len(answer) {
		if _, done, err := parseResponse([]byte(answer[:n])); done || err != nil {
			t.Errorf("%d bytes: done %v, error %v", n, done, err)
		}
	}
	for _, more := range []string{"", "HTTP/1.1 500"} {
		r, done, err := parseResponse([]byte(answer + more))
		if !done || err != nil || r.status != 200 || string(r.body) != "hello" || r.size != len(answer) {
			t.Errorf("with %q after it: %+v, done %v, error %v", more, r, done, err)
		}
	}
}

func TestParseResponse(t *testing.T) {
	r, done, err := parseResponse([]byte("HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n"))
	if !done || err != nil || r.status != 503 || len(r.body) != 0 {
		t.Errorf("%+v, done %v, error %v", r, done, err)
	}
	for name, bad := range map[string]string{
		"not HTTP":           "SSH-2.0\r\n\r\n",
		"HTTP/1.0":           "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"status of 4 digits": "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
		"status of letters":  "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
		"no length":          "HTTP/1.1 200 OK\r\n\r\n",
		"chunked":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"negative length":    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"empty length":       "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
		"huge length":        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"long body":          "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n",
		"two lengths":        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"endless head":       "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead),
		"long head":          "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n",
	} {
		if r, done, err := parseResponse([]byte(bad)); err == nil {
			t.Errorf("%s: got %+v, done %v", name, r, done)
		}
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte(answer), 20)
	f.Add([]byte("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), 44)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		r, done, err := parseResponse(data)
		if done {
			if err != nil || r.size > len(data) || len(r.body) > r.size || !bytes.HasSuffix(data[:r.size], r.body) {
				t.Fatalf("%+v, error %v", r, err)
			}
			// What comes after an answer does not change it.
			if again, done, err := parseResponse(data[:r.size]); !done || err != nil || again.status != r.status {
				t.Fatalf("alone: %+v, done %v, error %v", again, done, err)
			}
		}
		// What has come of an answer is never taken for all of it.
		if n >= 0 && n < len(data) && (!done || n < r.size) {
			if part, early, _ := parseResponse(data[:n]); early && err == nil {
				t.Fatalf("%d of %d bytes: %+v", n, len(data), part)
			}
		}
	})
}
