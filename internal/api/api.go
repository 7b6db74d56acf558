// Package api holds what every request carries through the rooms: who calls,
// where, when, for what, and what will be written down about it.
package api

import (
	"context"
	"time"

	"github.com/kagimori/kagimori/internal/attestation"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/secmem"
)

// Partition is the first field of every ARN of this deployment.
const Partition = "aws"

// GlobalRegion is where records of what is the same in all Regions belong.
const GlobalRegion = "us-east-1"

// PrincipalType is the userIdentity.type of CloudTrail.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
type PrincipalType string

const (
	// Root is the root of an account.
	Root PrincipalType = "Root"
	// IAMUser is a user of an account.
	IAMUser PrincipalType = "IAMUser"
	// AssumedRole is a session of a role.
	AssumedRole PrincipalType = "AssumedRole"
	// WebIdentityUser is a web identity on its way to a role session.
	WebIdentityUser PrincipalType = "WebIdentityUser"
	// AWSService is a service that calls for itself, not for a user.
	AWSService PrincipalType = "AWSService"
	// Unknown is a caller whose signature did not verify.
	Unknown PrincipalType = "Unknown"
)

// Principal is who calls. It is never changed.
type Principal struct {
	Type PrincipalType
	// ID is the unique id: the account id for Root, AIDA… for a user,
	// AROA…:SESSION for a role session, the service's name for a service.
	ID string
	// ARN is arn:aws:iam::ACCOUNT:root, …:user/PATH/NAME or
	// arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION.
	ARN         string
	Account     string // 12 digits
	AccessKeyID string // the key that signed
	UserName    string // of an IAMUser
	// Session is what temporary credentials carry; nil for long-term ones.
	Session *Session
}

// Session is what temporary credentials (ASIA…) carry. It is never changed.
type Session struct {
	Issued, Expires time.Time
	// MFA is when a code of an MFA device was given; zero if none was.
	MFA time.Time
	// The role of an AssumedRole; empty for the sessions of GetSessionToken.
	RoleARN  string // path included
	RoleID   string // AROA…
	RoleName string
	Name     string // the session's
	// Tags are the session's own; they go before those of the role or user.
	Tags           []Tag
	TransitiveTags []string
	SourceIdentity string
	// Policies are the session policies, compiled; nil if there are none.
	Policies []*policy.Document
	// Federated is the identity provider of a web identity session (the ARN of
	// the OIDC provider, or its host name), with the token's claims by condition
	// key, such as "example.com:sub".
	Federated string
	Claims    map[string][]string
}

// Tag is one tag of an IAM entity, a session or a resource.
type Tag struct {
	Key   string `json:"k"`
	Value string `json:"v"`
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

	// Via is the service that calls for the caller with forwarded credentials
	// (ec2.us-east-1.amazonaws.com), empty for direct calls; CalledVia are all
	// services on the way, the first one first (ec2.amazonaws.com).
	Via       string
	CalledVia []string
	// MFA is when the request itself proved a code of an MFA device, as that of
	// AssumeRole can; zero if it did not.
	MFA time.Time
	// SourceARN and SourceAccount are the resource for which a service calls.
	SourceARN, SourceAccount string

	RequestID string    // UUID, answered as x-amzn-RequestId
	EventID   string    // UUID of the audit record
	Time      time.Time // start of the call

	SourceIP  string
	UserAgent string
	Host      string // Host header as the client sent it
	Referer   string
	TLS       *TLS

	// ReadOnly is CloudTrail's readOnly for the operation.
	ReadOnly bool
	// Input is the decoded request, nil until it could be decoded. The audit
	// record shows it without what may not be logged.
	Input any
	// Recipient is the attested environment that alone can read the secret in the
	// answer; nil when the caller itself is to have it.
	Recipient *attestation.Document
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
// authorization choke point, package authz, calls it.
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
	// SharedEventID joins the records of a call that used what is another account's.
	SharedEventID string
	// Derivations tell how a denial came about, each to the account whose
	// policies it shows.
	Derivations []Derivation
}

// Derivation is how a denial came about, for one account to see.
type Derivation struct {
	Account  string   // that may see it
	Resource Resource // what the caller was denied; set for an account that is not the caller's
	JSON     []byte
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

// Handler answers one operation: in and the result are the operation's input and
// output of aws-sdk-go-v2.
type Handler func(ctx context.Context, call *Call, in any) (out any, err error)

// Handle gives a typed handler the common shape.
func Handle[In, Out any](fn func(context.Context, *Call, *In) (*Out, error)) Handler {
	return func(ctx context.Context, call *Call, in any) (any, error) {
		out, err := fn(ctx, call, in.(*In))
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}
