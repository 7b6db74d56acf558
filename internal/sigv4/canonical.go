package sigv4

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kagimori/kagimori/internal/awserr"
)

const (
	// maxSignedHeaders bounds how many headers a signature covers; SDKs sign
	// about ten.
	maxSignedHeaders = 64
	// maxHeaderName bounds the name of a signed header, in bytes.
	maxHeaderName = 128
	// maxQuery bounds the query, in bytes. A session token is the longest part.
	maxQuery = 32 << 10
	// maxParams bounds how many parameters a query has.
	maxParams = 256
)

// appendCanonicalRequest appends the one form of r that client and server agree
// on: method, path, query, signed headers, their names and the hash of the body.
func appendCanonicalRequest(dst []byte, r *http.Request, path string, query []param, signedHeaders string, bodyHash *[2 * sha256.Size]byte) ([]byte, error) {
	dst = append(dst, r.Method...)
	dst = append(dst, '\n')
	dst = appendPath(dst, path)
	dst = append(dst, '\n')
	dst = appendQuery(dst, query)
	dst = append(dst, '\n')
	dst, err := appendHeaders(dst, r, signedHeaders)
	if err != nil {
		return dst, err
	}
	dst = append(dst, '\n')
	dst = append(dst, signedHeaders...)
	dst = append(dst, '\n')
	return append(dst, bodyHash[:]...), nil
}

// splitURI is the path and the query as they were sent. r.URL holds them
// decoded, which loses what was encoded and what was not; only for a target
// with a host in it, which proxies are sent, it is good enough.
func splitURI(r *http.Request) (path, query string) {
	if !strings.HasPrefix(r.RequestURI, "/") {
		return r.URL.EscapedPath(), r.URL.RawQuery
	}
	path, query, _ = strings.Cut(r.RequestURI, "?")
	return path, query
}

// appendPath appends path without dot segments (RFC 3986 section 5.2.4) and
// without empty segments, then encoded once more than it was sent.
func appendPath(dst []byte, path string) []byte {
	start := len(dst)
	folder := true // what was read so far ends in a slash
	for rest, more := path, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		switch segment {
		case "", ".":
			folder = true
		case "..":
			folder = true
			if i := bytes.LastIndexByte(dst[start:], '/'); i >= 0 {
				dst = dst[:start+i]
			}
		default:
			folder = false
			dst = append(dst, '/')
			for i := range len(segment) {
				dst = appendEscaped(dst, segment[i])
			}
		}
	}
	if folder {
		dst = append(dst, '/')
	}
	return dst
}

// param is one parameter of a query, both halves in canonical encoding.
type param struct{ name, value string }

// parseQuery is the query in canonical encoding and order.
func parseQuery(raw string) ([]param, error) {
	if raw == "" {
		return nil, nil
	}
	if len(raw) > maxQuery {
		return nil, awserr.New(awserr.MalformedHttpRequest, "The query string has %d bytes; at most %d are accepted.", len(raw), maxQuery)
	}
	if n := strings.Count(raw, "&") + 1; n > maxParams {
		return nil, awserr.New(awserr.MalformedHttpRequest, "The query string has %d parameters; at most %d are accepted.", n, maxParams)
	}
	var params []param
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := recode(name)
		if err != nil {
			return nil, err
		}
		value, err = recode(value)
		if err != nil {
			return nil, err
		}
		params = append(params, param{name, value})
	}
	slices.SortFunc(params, func(a, b param) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	return params, nil
}

// appendQuery appends all parameters but the signature itself. (With a
// signature in the header readClaim refuses a second one in the query, so
// nothing that is left out goes unchecked.)
func appendQuery(dst []byte, query []param) []byte {
	start := len(dst)
	for _, p := range query {
		if p.name == "X-Amz-Signature" {
			continue
		}
		if len(dst) > start {
			dst = append(dst, '&')
		}
		dst = append(dst, p.name...)
		dst = append(dst, '=')
		dst = append(dst, p.value...)
	}
	return dst
}

// has tells whether a parameter is in the query.
func has(query []param, name string) bool {
	return slices.ContainsFunc(query, func(p param) bool { return p.name == name })
}

// find is the decoded value of a parameter and how often it is in the query.
func find(query []param, name string) (value string, times int) {
	for _, p := range query {
		if p.name == name {
			value = p.value
			times++
		}
	}
	value, _ = url.PathUnescape(value) // canonical encoding has no errors
	return value, times
}

// recode turns the name or value of a parameter, in whichever encoding it was
// sent, into the canonical one. A plus is a space, as it is to url.ParseQuery.
func recode(s string) (string, error) {
	if isUnreserved(s) {
		return s, nil
	}
	decoded, err := url.QueryUnescape(s)
	if err != nil {
		return "", awserr.New(awserr.MalformedHttpRequest, "The query string has a percent sign that is not followed by two hexadecimal digits. A percent sign itself is written as %s.", "%25")
	}
	dst := make([]byte, 0, 3*len(decoded))
	for i := range len(decoded) {
		dst = appendEscaped(dst, decoded[i])
	}
	return string(dst), nil
}

// appendHeaders appends a line for every signed header and checks the list: it
// is in order, every header is in the request, and host and all x-amz-* headers
// are in it, as AWS demands.
func appendHeaders(dst []byte, r *http.Request, signedHeaders string) ([]byte, error) {
	if n := strings.Count(signedHeaders, ";") + 1; n > maxSignedHeaders {
		return dst, awserr.New(awserr.IncompleteSignature, "SignedHeaders has %d names; at most %d are accepted.", n, maxSignedHeaders)
	}
	var (
		previous string
		amz      int // x-amz-* headers that are signed
		host     bool
	)
	for rest, more := signedHeaders, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		var room [maxHeaderName]byte
		key, ok := headerKey(&room, name)
		if !ok || name <= previous {
			return dst, awserr.New(awserr.IncompleteSignature, "SignedHeaders must be header names in lower case, in ascending order, separated by ';'. See '%s'.", excerpt(name))
		}
		previous = name

		dst = append(dst, name...)
		dst = append(dst, ':')
		values, present := r.Header[string(key)]
		switch {
		case name == "host":
			host = true
			dst = appendTrimmed(dst, r.Host)
		case present:
			for i, v := range values {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = appendTrimmed(dst, v)
			}
		// net/http takes these out of the header; Content-Length only sometimes.
		case name == "content-length" && r.ContentLength >= 0:
			dst = strconv.AppendInt(dst, r.ContentLength, 10)
		case name == "transfer-encoding" && len(r.TransferEncoding) > 0:
			dst = append(dst, strings.Join(r.TransferEncoding, ",")...)
		default:
			return dst, awserr.New(awserr.InvalidSignature, "The signed header '%s' is not in the request. Send it, and see that no proxy on the way removes it.", excerpt(name))
		}
		dst = append(dst, '\n')
		if strings.HasPrefix(name, "x-amz-") {
			amz++
		}
	}
	if !host {
		return dst, notSigned("Host")
	}
	// The signed names are distinct and in the request, so if the request has
	// more, one of them is not signed.
	for key := range r.Header {
		if isAmz(key) {
			amz--
		}
	}
	if amz != 0 {
		for key := range r.Header {
			if isAmz(key) && !slices.Contains(strings.Split(signedHeaders, ";"), strings.ToLower(key)) {
				return dst, notSigned(excerpt(key))
			}
		}
	}
	return dst, nil
}

func isAmz(key string) bool {
	const prefix = "x-amz-"
	return len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix)
}

func notSigned(name string) error {
	return awserr.New(awserr.InvalidSignature, "'%s' must be a 'SignedHeader' in the AWS Authorization.", name)
}

// headerKey writes into room the key under which http.Header has a header of
// that lower-case name. It is textproto.CanonicalMIMEHeaderKey without its
// allocation. Names in upper case or with other characters than headers in use
// have are refused.
func headerKey(room *[maxHeaderName]byte, name string) ([]byte, bool) {
	if name == "" || len(name) > len(room) {
		return nil, false
	}
	first := true
	for i := range len(name) {
		b := name[i]
		switch {
		case 'a' <= b && b <= 'z':
			if first {
				b -= 'a' - 'A'
			}
		case '0' <= b && b <= '9' || b == '-' || b == '_' || b == '.':
		default:
			return nil, false
		}
		room[i] = b
		first = b == '-'
	}
	return room[:len(name)], true
}

// appendTrimmed appends a header value without white space around it and with
// every run of white space inside it as one space.
func appendTrimmed(dst []byte, value string) []byte {
	start := len(dst)
	space := false
	for i := range len(value) {
		b := value[i]
		if b == ' ' || b == '\t' {
			space = true
			continue
		}
		if space && len(dst) > start {
			dst = append(dst, ' ')
		}
		space = false
		dst = append(dst, b)
	}
	return dst
}

// unreserved are the bytes that stay as they are: RFC 3986 section 2.3.
var unreserved = func() (set [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") {
		set[b] = true
	}
	return set
}()

func isUnreserved(s string) bool {
	for i := range len(s) {
		if !unreserved[s[i]] {
			return false
		}
	}
	return true
}

// appendEscaped appends b, percent-encoded unless it is unreserved.
func appendEscaped(dst []byte, b byte) []byte {
	if unreserved[b] {
		return append(dst, b)
	}
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[b>>4], digits[b&15])
}
