// Package api holds what every request carries through the rooms: who calls,
// where, when, for what, and what will be written down about it.
package api

import (
	"time"

	"github.com/kagimori/kagimori/internal/secmem"
)

// Partition is the first field of every ARN of this deployment.
const Partition = "aws"

// PrincipalType is the userIdentity.type of CloudTrail.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
type PrincipalType string

const (
	// Root is the root of an account.
	Root PrincipalType = "Root"
	// Unknown is a caller whose signature did not verify.
	Unknown PrincipalType = "Unknown"
)

// Principal is who calls.
type Principal struct {
	Type        PrincipalType
	ID          string // unique id; the account id for Root
	ARN         string // arn:aws:iam::ACCOUNT:root for Root
	Account     string // 12 digits
	AccessKeyID string // the key that signed
}

// TLS is the tlsDetails member of a record; nil for plain HTTP.
type TLS struct {
	Version     string // TLSv1.3
	CipherSuite string
	KeyExchange string // the named group, X25519MLKEM768 for the hybrid one
}

// Resource is one entry of a record's resources: what the call touched.
type Resource struct {
	Account string
	Type    string // AWS::KMS::Key
	ARN     string
}

// Call is one request on its way through the rooms. It belongs to one goroutine.
type Call struct {
	Service   string // signing name: kms
	Operation string // Encrypt
	Region    string // from the credential scope
	Caller    Principal

	RequestID string    // UUID, answered as x-amzn-RequestId
	EventID   string    // UUID of the audit record
	Time      time.Time // start of the call

	SourceIP  string
	UserAgent string
	Host      string // Host header as the client sent it
	TLS       *TLS

	// ReadOnly is CloudTrail's readOnly for the operation.
	ReadOnly bool
	// Input is the decoded request, nil until it could be decoded. The audit
	// record shows it without what may not be logged.
	Input any
	// Trail is what the handler adds to the audit record.
	Trail Trail

	decisions int
	secrets   [][]byte
}

// Forget has b zeroed when the call has been answered: for plaintexts that the
// answer carries.
func (c *Call) Forget(b []byte) { c.secrets = append(c.secrets, b) }

// Close zeroes what Forget was given.
func (c *Call) Close() {
	for _, b := range c.secrets {
		secmem.Zero(b)
	}
}

// Decided notes that authorization was decided in the caller's favour. Only the
// authorization choke point calls it.
func (c *Call) Decided() { c.decisions++ }

// Authorized tells whether any decision allowed this call. An answer may leave
// only when it is true.
func (c *Call) Authorized() bool { return c.decisions > 0 }

// Trail collects what only the handler knows about a call: the resources it
// resolved and the members that CloudTrail adds.
type Trail struct {
	Resources  []Resource
	Additional []Pair // additionalEventData, in order
	Response   any    // responseElements: nil, or a value the wire can encode
	// Events are records of what the service did as part of the call, such as
	// the rotation behind RotateKeyOnDemand.
	Events []Record
	// Written are the records of the call and its events as a change stored them
	// in the outbox together with the change itself; nil for calls that change
	// nothing.
	Written []Record
}

// Record is an audit record as it goes into the journal.
type Record struct {
	EventID string
	JSON    []byte
}

// Pair is one member of a JSON object.
type Pair struct{ Name, Value string }

// Add puts a member into additionalEventData.
func (t *Trail) Add(name, value string) {
	t.Additional = append(t.Additional, Pair{name, value})
}
