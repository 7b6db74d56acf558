// Package awserr holds the error values that Kagimori answers with.
//
// An Error carries the AWS error code, the HTTP status and a message that tells
// the caller what to change. One place, the wire, turns it into bytes.
package awserr

import (
	"errors"
	"fmt"
	"time"
)

// Error is one AWS error answer.
type Error struct {
	// Code is the exception name, the __type on the wire. Query has the name that
	// the Query protocol writes.
	Code string
	// Status is the HTTP status.
	Status int
	// Message tells the caller what to change. AWS leaves it out for a few
	// errors (InvalidCiphertextException); then it is empty here too.
	Message string
	// Reason is the Reason that Organizations' ConstraintViolation and InvalidInput
	// carry beside the message, such as INVALID_PATTERN; else empty.
	Reason string
	// RetryAfter, in whole seconds, is when the call may be tried again; zero if that
	// is not known.
	RetryAfter time.Duration
	// Cause is what went wrong inside. It is for the operator's log and never
	// leaves the server.
	Cause error
}

// Error is the code and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Unwrap is the inner cause, which callers of the API never see.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of a code from the table below. A code that the table does
// not know is a programming error and panics.
func New(code, format string, args ...any) *Error {
	status, ok := statuses[code]
	if !ok {
		panic("awserr: unknown code " + code)
	}
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &Error{Code: code, Status: status, Message: format}
}

// With gives e a Reason.
func (e *Error) With(reason string) *Error {
	e.Reason = reason
	return e
}

// Internal hides an unexpected error behind KMSInternalException, keeping it as
// the cause for the operator.
func Internal(cause error) *Error {
	e := New(KMSInternal, "The request failed because of an internal error. It can be tried again.")
	e.Cause = cause
	return e
}

// From finds the Error in err, or hides err behind Internal.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Internal(err)
}

// Is tells whether err is an Error of that code.
func Is(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// Codes of the KMS API and the errors common to AWS services.
const (
	// AlreadyExists: resource of that name or place exists already (alias, replica).
	AlreadyExists = "AlreadyExistsException"
	// CloudHsmClusterInUse: cluster, or one sharing its backup history, already serves a store.
	CloudHsmClusterInUse = "CloudHsmClusterInUseException"
	// CloudHsmClusterInvalidConfiguration: cluster lacks required subnets, security group rules or HSM count.
	CloudHsmClusterInvalidConfiguration = "CloudHsmClusterInvalidConfigurationException"
	// CloudHsmClusterNotActive: cluster is not initialised and active.
	CloudHsmClusterNotActive = "CloudHsmClusterNotActiveException"
	// CloudHsmClusterNotFound: no cluster with that id.
	CloudHsmClusterNotFound = "CloudHsmClusterNotFoundException"
	// CloudHsmClusterNotRelated: new cluster does not share backup history with the old one.
	CloudHsmClusterNotRelated = "CloudHsmClusterNotRelatedException"
	// Conflict: automatic rotation is running or due within 20 minutes.
	Conflict = "ConflictException"
	// CustomKeyStoreHasCMKs: store still holds KMS keys.
	CustomKeyStoreHasCMKs = "CustomKeyStoreHasCMKsException"
	// CustomKeyStoreInvalidState: connectionState of the store forbids this operation.
	CustomKeyStoreInvalidState = "CustomKeyStoreInvalidStateException"
	// CustomKeyStoreNameInUse: store name already used in this account and Region.
	CustomKeyStoreNameInUse = "CustomKeyStoreNameInUseException"
	// CustomKeyStoreNotFound: no store with that id or name.
	CustomKeyStoreNotFound = "CustomKeyStoreNotFoundException"
	// DependencyTimeout: internal dependency timed out; retry.
	DependencyTimeout = "DependencyTimeoutException"
	// Disabled: key is not enabled.
	Disabled = "DisabledException"
	// DryRunOperation: dryRun given and the call would have succeeded.
	DryRunOperation = "DryRunOperationException"
	// ExpiredImportToken: import token older than 24 hours.
	ExpiredImportToken = "ExpiredImportTokenException"
	// IncorrectKey: named key did not encrypt this ciphertext.
	IncorrectKey = "IncorrectKeyException"
	// IncorrectKeyMaterial: imported material invalid, expired, or not the expected one.
	IncorrectKeyMaterial = "IncorrectKeyMaterialException"
	// IncorrectTrustAnchor: trust anchor certificate is not the one of the cluster.
	IncorrectTrustAnchor = "IncorrectTrustAnchorException"
	// InvalidAliasName: alias name not acceptable.
	InvalidAliasName = "InvalidAliasNameException"
	// InvalidArn: malformed ARN in a parameter or policy.
	InvalidArn = "InvalidArnException"
	// InvalidCiphertext: ciphertext, its context, wrapped material or encapsulation length is wrong.
	InvalidCiphertext = "InvalidCiphertextException"
	// InvalidGrantId: grant id not valid.
	InvalidGrantId = "InvalidGrantIdException"
	// InvalidGrantToken: grant token not valid.
	InvalidGrantToken = "InvalidGrantTokenException"
	// InvalidImportToken: import token invalid or of another key.
	InvalidImportToken = "InvalidImportTokenException"
	// InvalidKeyUsage: key usage or algorithm does not fit the operation or spec.
	InvalidKeyUsage = "InvalidKeyUsageException"
	// InvalidMarker: pagination marker not valid.
	InvalidMarker = "InvalidMarkerException"
	// KMSInternal: internal failure; retry.
	KMSInternal = "KMSInternalException"
	// KMSInvalidMac: MAC does not match.
	KMSInvalidMac = "KMSInvalidMacException"
	// KMSInvalidSignature: signature does not match.
	KMSInvalidSignature = "KMSInvalidSignatureException"
	// KMSInvalidState: key state forbids this; also general custom-store crypto failure.
	KMSInvalidState = "KMSInvalidStateException"
	// KeyUnavailable: key temporarily not available; retry.
	KeyUnavailable = "KeyUnavailableException"
	// LimitExceeded: quota or length limit exceeded.
	LimitExceeded = "LimitExceededException"
	// MalformedPolicyDocument: policy syntax or meaning wrong, invalid principal, or lockout.
	MalformedPolicyDocument = "MalformedPolicyDocumentException"
	// NotFound: key, alias, grant or other entity not found.
	NotFound = "NotFoundException"
	// Tag: tags not valid: duplicate, reserved prefix, too many.
	Tag = "TagException"
	// UnsupportedOperation: parameter or kind of key not supported by this operation.
	UnsupportedOperation = "UnsupportedOperationException"
	// XksKeyAlreadyInUse: external key already backs another KMS key of the store.
	XksKeyAlreadyInUse = "XksKeyAlreadyInUseException"
	// XksKeyInvalidConfiguration: external key is not an enabled AES-256 encryption key.
	XksKeyInvalidConfiguration = "XksKeyInvalidConfigurationException"
	// XksKeyNotFound: proxy does not know that external key.
	XksKeyNotFound = "XksKeyNotFoundException"
	// XksProxyIncorrectAuthenticationCredential: proxy refused the credential.
	XksProxyIncorrectAuthenticationCredential = "XksProxyIncorrectAuthenticationCredentialException"
	// XksProxyInvalidConfiguration: proxy is misconfigured; see message.
	XksProxyInvalidConfiguration = "XksProxyInvalidConfigurationException"
	// XksProxyInvalidResponse: answer of the proxy cannot be understood.
	XksProxyInvalidResponse = "XksProxyInvalidResponseException"
	// XksProxyUriEndpointInUse: endpoint already serves another external store in the Region.
	XksProxyUriEndpointInUse = "XksProxyUriEndpointInUseException"
	// XksProxyUriInUse: endpoint plus path already serves another external store.
	XksProxyUriInUse = "XksProxyUriInUseException"
	// XksProxyUriUnreachable: proxy path unreachable, or no key manager available.
	XksProxyUriUnreachable = "XksProxyUriUnreachableException"
	// XksProxyVpcEndpointServiceInUse: vPC endpoint service already serves another external store.
	XksProxyVpcEndpointServiceInUse = "XksProxyVpcEndpointServiceInUseException"
	// XksProxyVpcEndpointServiceInvalidConfiguration: vPC endpoint service does not meet the requirements.
	XksProxyVpcEndpointServiceInvalidConfiguration = "XksProxyVpcEndpointServiceInvalidConfigurationException"
	// XksProxyVpcEndpointServiceNotFound: vPC endpoint service not found or not shared with KMS.
	XksProxyVpcEndpointServiceNotFound = "XksProxyVpcEndpointServiceNotFoundException"
	// AccessDenied: caller not authorised; message names action and reason.
	AccessDenied = "AccessDeniedException"
	// Validation: input breaks a constraint; docs call it ValidationError.
	Validation = "ValidationException"
	// Throttling: request rate quota exceeded; retry with back-off.
	Throttling = "ThrottlingException"
	// ExpiredToken: session token expired.
	ExpiredToken = "ExpiredTokenException"
	// IncompleteSignature: signature elements missing or malformed (docs: IncompleteSignature).
	IncompleteSignature = "IncompleteSignatureException"
	// InvalidSignature: signature does not match, or date out of range.
	InvalidSignature = "InvalidSignatureException"
	// MissingAuthenticationToken: no credentials in the request.
	MissingAuthenticationToken = "MissingAuthenticationTokenException"
	// UnrecognizedClient: access key or token unknown.
	UnrecognizedClient = "UnrecognizedClientException"
	// NotAuthorized: action not permitted, e.g. alias/aws/ prefix (docs: NotAuthorized 401).
	NotAuthorized = "NotAuthorizedException"
	// OptInRequired: account or Region not opted in.
	OptInRequired = "OptInRequired"
	// RequestAborted: connection ended before a reply.
	RequestAborted = "RequestAbortedException"
	// RequestEntityTooLarge: body too large.
	RequestEntityTooLarge = "RequestEntityTooLargeException"
	// RequestTimeout: body did not arrive in time.
	RequestTimeout = "RequestTimeoutException"
	// RequestExpired: date outside allowed clock skew.
	RequestExpired = "RequestExpired"
	// UnknownOperation: X-Amz-Target names no operation.
	UnknownOperation = "UnknownOperationException"
	// Serialization: body is not valid JSON for the shape.
	Serialization = "SerializationException"
	// MalformedHttpRequest: hTTP request cannot be parsed.
	MalformedHttpRequest = "MalformedHttpRequestException"
	// InternalFailure: unexpected internal error.
	InternalFailure = "InternalFailure"
	// ServiceUnavailable: service temporarily down.
	ServiceUnavailable = "ServiceUnavailable"
)

// statuses gives every code its HTTP status as recorded answers show it.
// Source: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
// and the API pages; for the other services their service models.
var statuses = map[string]int{
	AlreadyExists:                       400,
	CloudHsmClusterInUse:                400,
	CloudHsmClusterInvalidConfiguration: 400,
	CloudHsmClusterNotActive:            400,
	CloudHsmClusterNotFound:             400,
	CloudHsmClusterNotRelated:           400,
	Conflict:                            400,
	CustomKeyStoreHasCMKs:               400,
	CustomKeyStoreInvalidState:          400,
	CustomKeyStoreNameInUse:             400,
	CustomKeyStoreNotFound:              400,
	DependencyTimeout:                   500,
	Disabled:                            400,
	DryRunOperation:                     400,
	ExpiredImportToken:                  400,
	IncorrectKey:                        400,
	IncorrectKeyMaterial:                400,
	IncorrectTrustAnchor:                400,
	InvalidAliasName:                    400,
	InvalidArn:                          400,
	InvalidCiphertext:                   400,
	InvalidGrantId:                      400,
	InvalidGrantToken:                   400,
	InvalidImportToken:                  400,
	InvalidKeyUsage:                     400,
	InvalidMarker:                       400,
	KMSInternal:                         500,
	KMSInvalidMac:                       400,
	KMSInvalidSignature:                 400,
	KMSInvalidState:                     400,
	KeyUnavailable:                      500,
	LimitExceeded:                       400,
	MalformedPolicyDocument:             400,
	NotFound:                            400,
	Tag:                                 400,
	UnsupportedOperation:                400,
	XksKeyAlreadyInUse:                  400,
	XksKeyInvalidConfiguration:          400,
	XksKeyNotFound:                      400,
	XksProxyIncorrectAuthenticationCredential:      400,
	XksProxyInvalidConfiguration:                   400,
	XksProxyInvalidResponse:                        400,
	XksProxyUriEndpointInUse:                       400,
	XksProxyUriInUse:                               400,
	XksProxyUriUnreachable:                         400,
	XksProxyVpcEndpointServiceInUse:                400,
	XksProxyVpcEndpointServiceInvalidConfiguration: 400,
	XksProxyVpcEndpointServiceNotFound:             400,
	AccessDenied:                                   400,
	Validation:                                     400,
	Throttling:                                     400,
	ExpiredToken:                                   400,
	IncompleteSignature:                            400,
	InvalidSignature:                               400,
	MissingAuthenticationToken:                     400,
	UnrecognizedClient:                             400,
	NotAuthorized:                                  400,
	OptInRequired:                                  403,
	RequestAborted:                                 400,
	RequestEntityTooLarge:                          413,
	RequestTimeout:                                 408,
	RequestExpired:                                 400,
	UnknownOperation:                               404,
	Serialization:                                  400,
	MalformedHttpRequest:                           400,
	InternalFailure:                                500,
	ServiceUnavailable:                             503,

	DeleteConflict:                409,
	EntityAlreadyExists:           409,
	EntityTemporarilyUnmodifiable: 409,
	InvalidAuthenticationCode:     403,
	InvalidInput:                  400,
	InvalidUserType:               400,
	NoSuchEntity:                  404,
	OpenIdIdpCommunicationError:   400,
	PasswordPolicyViolation:       400,
	PolicyEvaluation:              500,
	PolicyNotAttachable:           400,
	ServiceFailure:                500,
	ServiceNotSupported:           404,
	UnmodifiableEntity:            400,

	ExpiredWebIdentity:          400,
	IDPCommunicationError:       400,
	IDPRejectedClaim:            403,
	InvalidAuthorizationMessage: 400,
	InvalidIdentityToken:        400,
	PackedPolicyTooLarge:        400,
	RegionDisabled:              403,
	MissingAction:               400,

	AWSOrganizationsNotInUse:              400,
	AccessDeniedForDependency:             400,
	AccountAlreadyClosed:                  400,
	AccountNotFound:                       400,
	AccountOwnerNotVerified:               400,
	AlreadyInOrganization:                 400,
	ChildNotFound:                         400,
	ConcurrentModification:                400,
	ConstraintViolation:                   400,
	CreateAccountStatusNotFound:           400,
	DestinationParentNotFound:             400,
	DuplicateAccount:                      400,
	DuplicateOrganizationalUnit:           400,
	DuplicatePolicy:                       400,
	DuplicatePolicyAttachment:             400,
	FinalizingOrganization:                400,
	OrganizationNotEmpty:                  400,
	OrganizationalUnitNotEmpty:            400,
	OrganizationalUnitNotFound:            400,
	ParentNotFound:                        400,
	PolicyChangesInProgress:               400,
	PolicyInUse:                           400,
	PolicyNotAttached:                     400,
	PolicyNotFound:                        400,
	PolicyTypeAlreadyEnabled:              400,
	PolicyTypeNotAvailableForOrganization: 400,
	PolicyTypeNotEnabled:                  400,
	RootNotFound:                          400,
	Service:                               500,
	SourceParentNotFound:                  400,
	TargetNotFound:                        400,
	TooManyRequests:                       400,
	UnsupportedAPIEndpoint:                400,

	InvalidLookupAttributes:       400,
	InvalidTimeRange:              400,
	InvalidNextToken:              400,
	CloudTrailARNInvalid:          400,
	InsufficientS3BucketPolicy:    400,
	InvalidEventSelectors:         400,
	InvalidHomeRegion:             400,
	InvalidParameterCombination:   400,
	InvalidS3BucketName:           400,
	InvalidS3Prefix:               400,
	InvalidTagParameter:           400,
	InvalidTrailName:              400,
	MaximumNumberOfTrailsExceeded: 400,
	NotOrganizationMasterAccount:  400,
	S3BucketDoesNotExist:          400,
	TagsLimitExceeded:             400,
	TrailAlreadyExists:            400,
	TrailNotFound:                 400,
	InvalidEventCategory:          400,

	InternalException:   500,
	InvalidEventPattern: 400,
	ResourceNotFound:    400,
}
