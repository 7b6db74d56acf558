package kms

import (
	"strings"

	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
)

// keyRef is what a KeyId parameter names: a key or an alias, somewhere.
type keyRef struct {
	account string
	region  string
	id      string // key id, empty for an alias
	alias   string // alias/NAME, empty for a key
}

// parseKeyRef reads a key identifier in one of its four forms: key id, key ARN,
// alias name, alias ARN. Ids and names mean the caller's account and Region.
// https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id
func parseKeyRef(value, account, region string) (keyRef, error) {
	if !strings.HasPrefix(value, "arn:") {
		ref := keyRef{account: account, region: region}
		return ref, ref.setResource(value, value)
	}
	// arn:aws:kms:REGION:ACCOUNT:key/ID
	f := strings.SplitN(value, ":", 6)
	if len(f) != 6 || f[1] != api.Partition || f[2] != "kms" || !isAccountID(f[4]) {
		return keyRef{}, invalidARN(value)
	}
	ref := keyRef{account: f[4], region: f[3]}
	if ref.region != region {
		return keyRef{}, awserr.New(awserr.NotFound, "Invalid arn %s", ref.region)
	}
	resource := f[5]
	if id, ok := strings.CutPrefix(resource, "key/"); ok {
		resource = id
	} else if !strings.HasPrefix(resource, "alias/") {
		return keyRef{}, invalidARN(value)
	}
	return ref, ref.setResource(resource, value)
}

func (r *keyRef) setResource(resource, value string) error {
	switch {
	case isKeyID(resource):
		r.id = resource
	case strings.HasPrefix(resource, "alias/") && isAliasName(resource):
		r.alias = resource
	default:
		return awserr.New(awserr.NotFound, "Invalid keyId '%s'", value)
	}
	return nil
}

func invalidARN(value string) error {
	return awserr.New(awserr.InvalidArn, "'%s' is not the ARN of a KMS key or alias: it must be arn:%s:kms:REGION:ACCOUNT:key/ID or arn:%s:kms:REGION:ACCOUNT:alias/NAME",
		value, api.Partition, api.Partition)
}

func keyARN(account, region, id string) string {
	return "arn:" + api.Partition + ":kms:" + region + ":" + account + ":key/" + id
}

func aliasARN(account, region, name string) string {
	return "arn:" + api.Partition + ":kms:" + region + ":" + account + ":" + name
}

// rootARN is what policies and grants call an account.
func rootARN(account string) string { return "arn:" + api.Partition + ":iam::" + account + ":root" }

// isKeyID tells a key id: a UUID in lower case, or mrk- and 32 hex digits.
func isKeyID(s string) bool {
	if hex, ok := strings.CutPrefix(s, "mrk-"); ok {
		return len(hex) == 32 && isLowerHex(hex)
	}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	return isLowerHex(s[:8]) && isLowerHex(s[9:13]) && isLowerHex(s[14:18]) && isLowerHex(s[19:23]) && isLowerHex(s[24:])
}

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isAccountID(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) == 12
}

// isAliasName tells whether the characters and the length of s fit an alias
// name, prefix included.
func isAliasName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("/_-", rune(c)) {
			return false
		}
	}
	return len(s) > len(aliasPrefix) && len(s) <= 256
}

// newUUID is a random UUID (RFC 9562, version 4).
func newUUID() string { return uuid.NewString() }
