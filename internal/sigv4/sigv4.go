// Package sigv4 verifies AWS Signature Version 4 on incoming requests.
//
// It answers one question: which principal signed this request, for which
// region and service, and when. An answer without an error promises that the
// method, the path, the query, the host, every x-amz-* header, every other
// header that the client chose to sign and the body are what the holder of the
// secret key signed, and that it was signed within the allowed time. Within
// that time the same request can be sent again, as on AWS.
//
// It knows nothing of operations, accounts and regions: who a key belongs to is
// asked of a Lookup, and whether the signed service and region are served is
// the caller's business.
//
// The algorithm is described at
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
// S3 signs paths and payloads in its own way, which is not accepted here.
package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/clock"
)

// ErrUnknownKey is a Lookup's answer for an access key, or a pair of access key
// and session token, that does not exist.
var ErrUnknownKey = errors.New("sigv4: unknown access key")

// Credential is what the verifier must know about an access key.
type Credential struct {
	SecretKey string
	Principal api.Principal
}

// Lookup finds the credential of an access key id. The session token is empty
// for long-term keys; a Lookup must refuse a temporary key without its token
// and a long-term key with one. It answers ErrUnknownKey for what it does not
// know; an *awserr.Error (an expired token) reaches the caller as it is and any
// other error as an internal one.
//
// Both arguments come from the request before anything about it is proven. They
// share memory with its headers: a Lookup that keeps them clones them.
type Lookup func(accessKeyID, sessionToken string) (Credential, error)

// Result is what a request says about its signature. When Verify fails, it
// holds what could be read, all of it unproven.
type Result struct {
	Principal   api.Principal // who signed; of type api.Unknown when Verify fails
	AccessKeyID string
	Region      string // from the credential scope
	Service     string // from the credential scope
	SignedAt    time.Time
	Presigned   bool // the signature is in the query
}

// Verifier verifies requests. It is safe for concurrent use.
type Verifier struct {
	lookup Lookup
	clock  clock.Clock
	keys   keyCache
}

// New returns a Verifier that knows the keys of lookup and the time of clk.
func New(lookup Lookup, clk clock.Clock) *Verifier {
	return &Verifier{lookup: lookup, clock: clk}
}

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"

	// maxSkew is how far the time of a signature may be from ours, both ways.
	maxSkew = 5 * time.Minute

	// secretKeyLength is the length of an AWS secret access key in characters.
	secretKeyLength = 40
)

// scratch is the working space of one verification.
type scratch struct {
	text []byte // the canonical request, then the string to sign
	mac  []byte // our signature
	got  []byte // the signature of the request
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxPooledText keeps one huge request from staying in memory for good.
const maxPooledText = 16 << 10

// Verify checks the signature of r, a request as net/http's server hands it
// over, whose body has been read into body. Errors are *awserr.Error with the
// codes and texts of AWS's JSON services. No error text holds a signature, a
// session token or what may be a secret key.
func (v *Verifier) Verify(r *http.Request, body []byte) (Result, error) {
	res := Result{Principal: api.Principal{Type: api.Unknown}}

	path, rawQuery := splitURI(r)
	query, err := parseQuery(rawQuery)
	if err != nil {
		return res, err
	}
	c, err := readClaim(r.Header, query)
	// Whoever swaps the two halves of a credential sends the secret as the id.
	// An id of that length is not reported until it is known to be one.
	if len(c.accessKeyID) != secretKeyLength {
		res.AccessKeyID = c.accessKeyID
	}
	res.Region, res.Service = c.region, c.service
	res.SignedAt, res.Presigned = c.signedAt, c.presigned
	if err != nil {
		return res, err
	}
	if err := c.checkTime(v.clock.Now()); err != nil {
		return res, err
	}

	cred, err := v.lookup(c.accessKeyID, c.token)
	if errors.Is(err, ErrUnknownKey) {
		return res, awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid.")
	}
	if err != nil {
		return res, awserr.From(err)
	}
	res.AccessKeyID = c.accessKeyID

	bodyHash, err := hashBody(r.Header, body)
	if err != nil {
		return res, err
	}
	s := scratches.Get().(*scratch)
	defer func() {
		if cap(s.text) <= maxPooledText {
			scratches.Put(s)
		}
	}()
	s.text, err = appendCanonicalRequest(s.text[:0], r, path, query, c.signedHeaders, &bodyHash)
	if err != nil {
		return res, err
	}
	s.text = appendStringToSign(s.text[:0], &c, sha256.Sum256(s.text))

	id := keyID{cred.SecretKey, c.date, c.region, c.service}
	key, cached := v.keys.get(id)
	if !cached {
		key = deriveKey(id)
	}
	s.mac = key.sign(s.mac[:0], s.text)
	var want [2 * sha256.Size]byte
	hex.Encode(want[:], s.mac)
	s.got = append(s.got[:0], c.signature...)
	if subtle.ConstantTimeCompare(s.got, want[:]) != 1 {
		return res, awserr.New(awserr.InvalidSignature, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	// Only the holder of a secret gets a derived key into the cache.
	if !cached {
		v.keys.put(id, key)
	}
	res.Principal = cred.Principal
	return res, nil
}

// hashBody is the hex SHA-256 of body. A header that states it must be right.
func hashBody(h http.Header, body []byte) (hash [2 * sha256.Size]byte, err error) {
	sum := sha256.Sum256(body)
	hex.Encode(hash[:], sum[:])
	stated, err := one(h, "X-Amz-Content-Sha256")
	switch {
	case err != nil:
		return hash, err
	case stated == "" || stated == string(hash[:]):
		return hash, nil
	case stated == "UNSIGNED-PAYLOAD" || strings.HasPrefix(stated, "STREAMING-"):
		return hash, awserr.New(awserr.InvalidSignature, "The 'x-amz-content-sha256' header must be the SHA-256 of the body in lower-case hex: unsigned and streaming payloads are not accepted.")
	default:
		return hash, awserr.New(awserr.InvalidSignature, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
}

// appendStringToSign appends what the signing key signs: the time, the scope
// and the hash of the canonical request.
func appendStringToSign(dst []byte, c *claim, canonicalHash [sha256.Size]byte) []byte {
	dst = append(dst, algorithm+"\n"...)
	dst = append(dst, c.timestamp...)
	dst = append(dst, '\n')
	dst = append(dst, c.scope...)
	dst = append(dst, '\n')
	return hex.AppendEncode(dst, canonicalHash[:])
}
