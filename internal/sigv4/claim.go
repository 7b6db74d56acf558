package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/awserr"
)

const (
	// maxAuthorization bounds the Authorization header, in bytes. A usual one
	// has about 300.
	maxAuthorization = 4096
	// maxExpires is the longest life of a presigned request: a week.
	maxExpires = 604800 * time.Second
	// maxScopeField bounds the access key id, region and service, in bytes.
	maxScopeField = 128

	// isoBasic is the format of X-Amz-Date.
	isoBasic = "20060102T150405Z"
)

// claim is what a request says about its signature, by header or by query.
// Its strings share memory with the request.
type claim struct {
	accessKeyID string
	// scope is DATE/REGION/SERVICE/aws4_request, the rest of the credential.
	scope, date, region, service string

	signedHeaders string
	signature     string
	token         string // session token, empty for long-term keys

	timestamp string // X-Amz-Date, or Date in the same format
	signedAt  time.Time

	presigned bool
	expires   time.Duration // of a presigned request; 0 when it names none
}

// readClaim finds the one signature of a request and checks its form. The claim
// holds what was read even when there is an error.
func readClaim(h http.Header, query []param) (c claim, err error) {
	_, hasHeader := h["Authorization"]
	hasQuery := has(query, "X-Amz-Algorithm") || has(query, "X-Amz-Credential") || has(query, "X-Amz-Signature")
	switch {
	case hasHeader && hasQuery:
		err = awserr.New(awserr.InvalidSignature, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case hasHeader:
		err = c.readHeader(h)
	case hasQuery:
		c.presigned = true
		err = c.readQuery(query)
	default:
		err = missingToken()
	}
	return c, err
}

func missingToken() error {
	return awserr.New(awserr.MissingAuthenticationToken, "Missing Authentication Token")
}

// readHeader reads the header form:
//
//	AWS4-HMAC-SHA256 Credential=ID/SCOPE, SignedHeaders=a;b, Signature=HEX
func (c *claim) readHeader(h http.Header) error {
	auth, err := one(h, "Authorization")
	if err != nil {
		return err
	}
	if len(auth) > maxAuthorization {
		return awserr.New(awserr.IncompleteSignature, "The Authorization header has %d bytes; at most %d are accepted.", len(auth), maxAuthorization)
	}
	alg, rest, _ := strings.Cut(auth, " ")
	if !strings.HasPrefix(alg, "AWS4-") {
		return missingToken()
	}
	if err := checkAlgorithm(alg); err != nil {
		return err
	}
	var credential string
	for rest != "" {
		var field string
		field, rest, _ = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(strings.TrimSpace(field), "=")
		if !ok {
			return awserr.New(awserr.IncompleteSignature, "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '%s'.", hashed(auth))
		}
		var into *string
		switch name {
		case "Credential":
			into = &credential
		case "SignedHeaders":
			into = &c.signedHeaders
		case "Signature":
			into = &c.signature
		default:
			continue
		}
		if *into != "" {
			return awserr.New(awserr.IncompleteSignature, "Authorization header has more than one '%s' parameter. (Hashed with SHA-256 and encoded with Base64) Authorization=%s", name, hashed(auth))
		}
		*into = value
	}
	if c.token, err = one(h, "X-Amz-Security-Token"); err != nil {
		return err
	}
	amzDate, err := one(h, "X-Amz-Date")
	if err != nil {
		return err
	}
	date, err := one(h, "Date")
	if err != nil {
		return err
	}

	if credential == "" || c.signature == "" || c.signedHeaders == "" || amzDate == "" && date == "" {
		var missing strings.Builder
		for _, p := range [...]struct{ name, value string }{{"Credential", credential}, {"Signature", c.signature}, {"SignedHeaders", c.signedHeaders}} {
			if p.value == "" {
				missing.WriteString("Authorization header requires '" + p.name + "' parameter. ")
			}
		}
		if amzDate == "" && date == "" {
			missing.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
		}
		return awserr.New(awserr.IncompleteSignature, "%s(Hashed with SHA-256 and encoded with Base64) Authorization=%s", missing.String(), hashed(auth))
	}
	if amzDate != "" {
		err = c.setTimestamp(amzDate)
	} else {
		err = c.setDate(date)
	}
	if err != nil {
		return err
	}
	return c.setCredential(credential)
}

// readQuery reads the query form, in which each part is a parameter.
func (c *claim) readQuery(query []param) error {
	var missing strings.Builder
	var twice error
	take := func(name string, required bool) string {
		value, times := find(query, name)
		if times > 1 {
			twice = awserr.New(awserr.IncompleteSignature, "AWS query-string parameters must include '%s' once, not %d times.", name, times)
		}
		if required && value == "" {
			missing.WriteString("AWS query-string parameters must include '" + name + "'. ")
		}
		return value
	}
	alg := take("X-Amz-Algorithm", true)
	credential := take("X-Amz-Credential", true)
	c.signature = take("X-Amz-Signature", true)
	c.signedHeaders = take("X-Amz-SignedHeaders", true)
	timestamp := take("X-Amz-Date", true)
	expires := take("X-Amz-Expires", false)
	c.token = take("X-Amz-Security-Token", false)
	if twice != nil {
		return twice
	}
	if missing.Len() > 0 {
		return awserr.New(awserr.IncompleteSignature, "%sRe-examine the query-string parameters.", missing.String())
	}
	if err := checkAlgorithm(alg); err != nil {
		return err
	}
	if err := c.setTimestamp(timestamp); err != nil {
		return err
	}
	if expires != "" {
		seconds, err := strconv.ParseUint(expires, 10, 32)
		c.expires = time.Duration(seconds) * time.Second
		if err != nil || c.expires == 0 || c.expires > maxExpires {
			return awserr.New(awserr.IncompleteSignature, "X-Amz-Expires must be a whole number of seconds from 1 to %d. Got '%s'.", maxExpires/time.Second, excerpt(expires))
		}
	}
	return c.setCredential(credential)
}

func checkAlgorithm(name string) error {
	if name != algorithm {
		return awserr.New(awserr.IncompleteSignature, "Unsupported AWS 'algorithm': '%s' (only %s for now).", excerpt(name), algorithm)
	}
	return nil
}

// setTimestamp takes the time from X-Amz-Date.
func (c *claim) setTimestamp(s string) error {
	t, err := time.Parse(isoBasic, s)
	// time.Parse also takes fractions of a second.
	if err != nil || len(s) != len(isoBasic) {
		return awserr.New(awserr.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", excerpt(s))
	}
	c.timestamp, c.signedAt = s, t
	return nil
}

// setDate takes the time from the Date header, which a client may sign with in
// place of X-Amz-Date. Besides the formats of HTTP, botocore sends a numeric
// zone.
func (c *claim) setDate(s string) error {
	t, err := http.ParseTime(s)
	if err != nil {
		t, err = time.Parse(time.RFC1123Z, s)
	}
	if err != nil {
		return c.setTimestamp(s)
	}
	c.signedAt = t.UTC()
	c.timestamp = c.signedAt.Format(isoBasic)
	return nil
}

// setCredential takes ID/DATE/REGION/SERVICE/aws4_request apart. Its texts do
// not repeat the credential, since a secret key put in the place of the id may
// be in it. The timestamp must be known.
func (c *claim) setCredential(s string) error {
	if n := strings.Count(s, "/") + 1; n != 5 {
		return awserr.New(awserr.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got %d.", n)
	}
	id, scope, _ := strings.Cut(s, "/")
	date, rest, _ := strings.Cut(scope, "/")
	region, rest, _ := strings.Cut(rest, "/")
	service, term, _ := strings.Cut(rest, "/")
	switch {
	case !validField(id):
		return awserr.New(awserr.IncompleteSignature, "The access key id in Credential must have 1 to %d characters from A-Z, a-z, 0-9, '-', '.', '_' and '~'.", maxScopeField)
	case !validField(region):
		return awserr.New(awserr.InvalidSignature, "Credential should be scoped to a valid region.")
	case !validField(service):
		return awserr.New(awserr.InvalidSignature, "Credential should be scoped to a valid service.")
	}
	c.accessKeyID, c.scope, c.date, c.region, c.service = id, scope, date, region, service
	if term != terminator {
		return awserr.New(awserr.InvalidSignature, "Credential should be scoped with a valid terminator: '%s'.", terminator)
	}
	if date != c.timestamp[:len("20060102")] {
		return awserr.New(awserr.InvalidSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", excerpt(date), c.timestamp[:len("20060102")], c.timestamp)
	}
	return nil
}

// validField tells whether s can be an access key id, a region or a service:
// not empty, not huge and safe to write anywhere.
func validField(s string) bool {
	return s != "" && len(s) <= maxScopeField && isUnreserved(s)
}

// checkTime tells whether the signature is in force at now. Timestamps have
// whole seconds, so now is cut to them too.
func (c *claim) checkTime(now time.Time) error {
	now = now.UTC().Truncate(time.Second)
	if latest := now.Add(maxSkew); c.signedAt.After(latest) {
		return awserr.New(awserr.InvalidSignature, "Signature not yet current: %s is still later than %s (%s + %d min.)",
			c.timestamp, latest.Format(isoBasic), now.Format(isoBasic), maxSkew/time.Minute)
	}
	if c.expires > 0 {
		if earliest := now.Add(-c.expires); c.signedAt.Before(earliest) {
			return awserr.New(awserr.InvalidSignature, "Signature expired: %s is now earlier than %s (%s - %d sec.)",
				c.timestamp, earliest.Format(isoBasic), now.Format(isoBasic), c.expires/time.Second)
		}
		return nil
	}
	if earliest := now.Add(-maxSkew); c.signedAt.Before(earliest) {
		return awserr.New(awserr.InvalidSignature, "Signature expired: %s is now earlier than %s (%s - %d min.)",
			c.timestamp, earliest.Format(isoBasic), now.Format(isoBasic), maxSkew/time.Minute)
	}
	return nil
}

// one is the value of a header that may be sent at most once.
func one(h http.Header, name string) (string, error) {
	switch values := h[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", awserr.New(awserr.IncompleteSignature, "The '%s' header must be sent once, not %d times.", name, len(values))
	}
}

// hashed stands for an Authorization header in an error text. AWS does the same.
func hashed(auth string) string {
	sum := sha256.Sum256([]byte(auth))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// excerpt is the beginning of what a client sent, for an error text: enough to
// recognise it, too little for a signature.
func excerpt(s string) string {
	const most = 32
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
