//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
)

// maxHead and maxBody bound what a server may answer, in bytes. Answers here
// have a few hundred.
const (
	maxHead = 8 << 10
	maxBody = 56 << 10
)

// response is one HTTP/1.1 answer. Its body aliases the buffer it was read from.
type response struct {
	status int
	body   []byte
	size   int // bytes of the whole answer in the buffer
}

// parseResponse reads the answer that buf starts with. It reports false when
// the answer is not complete yet: read more, append, and call again. It only
// knows what the servers measured here send: a status line, headers, and a body
// counted by Content-Length.
func parseResponse(buf []byte) (response, bool, error) {
	end := bytes.Index(buf, []byte("\r\n\r\n"))
	if end < 0 {
		if len(buf) > maxHead {
			return response{}, false, fmt.Errorf("answer's head is over %d bytes", maxHead)
		}
		return response{}, false, nil
	}
	if end > maxHead {
		return response{}, false, fmt.Errorf("answer's head is over %d bytes", maxHead)
	}
	line, headers, _ := bytes.Cut(buf[:end], []byte("\r\n"))
	status, ok := parseStatus(line)
	if !ok {
		return response{}, false, fmt.Errorf("not an HTTP/1.1 status line: %.80q", line)
	}
	length := -1
	for len(headers) > 0 {
		line, headers, _ = bytes.Cut(headers, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("Content-Length")) {
			continue
		}
		n, ok := decimal(bytes.TrimSpace(value))
		if !ok || n > maxBody || length >= 0 {
			return response{}, false, fmt.Errorf("bad answer header: %.80q", line)
		}
		length = n
	}
	if length < 0 {
		return response{}, false, errors.New("answer has no Content-Length")
	}
	start := end + len("\r\n\r\n")
	if len(buf)-start < length {
		return response{}, false, nil
	}
	return response{status, buf[start : start+length], start + length}, true, nil
}

// parseStatus returns the code of a line like "HTTP/1.1 200 OK".
func parseStatus(line []byte) (int, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok {
		return 0, false
	}
	code, _, _ := bytes.Cut(rest, []byte(" "))
	status, ok := decimal(code)
	return status, ok && len(code) == 3
}

// decimal reads up to nine digits.
func decimal(s []byte) (int, bool) {
	if len(s) == 0 || len(s) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
