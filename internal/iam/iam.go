// Package iam owns identities: accounts, users, groups, roles and managed
// policies, and the credentials that prove who one is. It answers the AWS IAM
// API.
//
// The Directory answers, from memory for principals in use, whose an access key
// is and what a principal may do. It promises that what a call of the API
// acknowledged, the next decision counts with. The Service is the API; all its
// changes go through Trail.Change, after authz.Check. The package knows nothing
// of keys, of HTTP or of SQL.
package iam

// Kinds of store records. Those of users, groups and roles are in entityKind.
const (
	accountKind    = "account"         // accountRecord, by account id
	aliasKind      = "account-alias"   // the account id, by alias
	accessKeyKind  = "access-key"      // accessKeyRecord, by access key id
	policyKind     = "iam-policy"      // managedRecord, by unique id
	policyTextKind = "iam-policy-text" // the document, by UNIQUE-ID/VERSION
	mfaKind        = "iam-mfa"         // mfaRecord, by name, folded
	oidcKind       = "iam-oidc"        // oidcRecord, by URL without https://
)
