// Package keystore is the boundary between custom key stores, which package kms
// administers, and what holds their keys: an HSM or an external key manager behind a
// proxy. A Backend knows how to reach one of these kinds; kms knows the stores, their
// names, who may do what with them, and in which state their connections are.
package keystore

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// Config says where the keys of a custom key store are. It holds secrets, so it is
// only ever stored sealed, and never logged.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateCustomKeyStore.html
type Config struct {
	Cluster *Cluster `json:"cluster,omitempty"` // of AWS_CLOUDHSM
	Proxy   *Proxy   `json:"proxy,omitempty"`   // of EXTERNAL_KEY_STORE
}

// Cluster is an HSM, or several with the same keys.
type Cluster struct {
	ID          string `json:"id"`
	TrustAnchor string `json:"trustAnchor"` // certificate, PEM
	Password    string `json:"password"`    // of the crypto user kmsuser
}

// Proxy is an external key store proxy.
// https://github.com/aws/aws-kms-xksproxy-api-spec
type Proxy struct {
	Endpoint    string `json:"endpoint"` // https://HOST
	Path        string `json:"path"`     // ends with /kms/xks/v1
	AccessKeyID string `json:"accessKeyId"`
	SecretKey   string `json:"secretKey"` // signs requests to the proxy
}

// Type is the kind of store that the configuration is for.
func (c *Config) Type() types.CustomKeyStoreType {
	if c.Proxy != nil {
		return types.CustomKeyStoreTypeExternalKeyStore
	}
	return types.CustomKeyStoreTypeAwsCloudhsm
}

// Equal tells whether both say the same.
func (c *Config) Equal(other *Config) bool {
	return equal(c.Cluster, other.Cluster) && equal(c.Proxy, other.Proxy)
}

func equal[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// Backend reaches one kind of custom key store. It is safe for concurrent use.
type Backend interface {
	// Check tells whether a store can be made with the configuration, or changed
	// from the one that it had (nil for a new store). Its errors are for the caller
	// of CreateCustomKeyStore or UpdateCustomKeyStore, such as
	// awserr.CloudHsmClusterNotActive or awserr.XksProxyUriUnreachable.
	Check(ctx context.Context, cfg, had *Config) error
	// Connect makes a connection, which is used until it is closed; ctx is for the
	// making alone. If it fails with a *ConnectError, callers learn why.
	Connect(ctx context.Context, cfg *Config) (Connection, error)
}

// Connection is a connection to the keys of a store. It is safe for concurrent use.
type Connection interface {
	// Random gives n bytes from the random number generator of an HSM.
	Random(ctx context.Context, n int) ([]byte, error)
	Close() error
}

// ConnectError is the reason why a store could not be connected.
type ConnectError struct {
	Code types.ConnectionErrorCodeType
	Err  error // for the operator's log
}

func (e *ConnectError) Error() string { return string(e.Code) + ": " + e.Err.Error() }
func (e *ConnectError) Unwrap() error { return e.Err }
