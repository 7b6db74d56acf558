package awserr

import "strings"

// Codes of IAM, STS and Organizations, as AWS's service models name the
// exceptions. What they share with KMS (AccessDenied, LimitExceeded,
// MalformedPolicyDocument, Validation, …) is the same constant: the Query
// protocol has other names and statuses for some, which Query knows.
const (
	// DeleteConflict: what is to be deleted still has something attached.
	DeleteConflict = "DeleteConflictException"
	// EntityAlreadyExists: the account has a user, role, policy … of that name.
	EntityAlreadyExists = "EntityAlreadyExistsException"
	// EntityTemporarilyUnmodifiable: name deleted a moment ago, or being changed; retry.
	EntityTemporarilyUnmodifiable = "EntityTemporarilyUnmodifiableException"
	// InvalidAuthenticationCode: MFA codes do not match the device.
	InvalidAuthenticationCode = "InvalidAuthenticationCodeException"
	// InvalidInput: parameter is not valid, or not together with another.
	InvalidInput = "InvalidInputException"
	// InvalidUserType: what only a user may do, such as ChangePassword.
	InvalidUserType = "InvalidUserTypeException"
	// NoSuchEntity: no user, role, policy … of that name.
	NoSuchEntity = "NoSuchEntityException"
	// OpenIdIdpCommunicationError: identity provider cannot be reached when it is added.
	OpenIdIdpCommunicationError = "OpenIdIdpCommunicationErrorException"
	// PasswordPolicyViolation: password does not keep the password policy.
	PasswordPolicyViolation = "PasswordPolicyViolationException"
	// PolicyEvaluation: policy of a simulation could not be evaluated.
	PolicyEvaluation = "PolicyEvaluationException"
	// PolicyNotAttachable: AWS managed policy that is for service roles only.
	PolicyNotAttachable = "PolicyNotAttachableException"
	// ServiceFailure: internal failure of IAM or STS.
	ServiceFailure = "ServiceFailureException"
	// ServiceNotSupported: service has no service-linked roles or credentials.
	ServiceNotSupported = "ServiceNotSupportedException"
	// UnmodifiableEntity: service-linked role, which only its service changes.
	UnmodifiableEntity = "UnmodifiableEntityException"

	// ExpiredWebIdentity: web identity token expired; STS's ExpiredTokenException, which is not ExpiredToken.
	ExpiredWebIdentity = "ExpiredWebIdentityException"
	// IDPCommunicationError: identity provider cannot be reached.
	IDPCommunicationError = "IDPCommunicationErrorException"
	// IDPRejectedClaim: web identity token refused.
	IDPRejectedClaim = "IDPRejectedClaimException"
	// InvalidAuthorizationMessage: encoded message cannot be decoded.
	InvalidAuthorizationMessage = "InvalidAuthorizationMessageException"
	// InvalidIdentityToken: web identity token cannot be verified.
	InvalidIdentityToken = "InvalidIdentityTokenException"
	// PackedPolicyTooLarge: session policies and tags do not fit into a session token.
	PackedPolicyTooLarge = "PackedPolicyTooLargeException"
	// RegionDisabled: STS is not active in that Region for the account.
	RegionDisabled = "RegionDisabledException"
	// MissingAction: Query request without an Action.
	MissingAction = "MissingAction"

	// AWSOrganizationsNotInUse: account belongs to no organization.
	AWSOrganizationsNotInUse = "AWSOrganizationsNotInUseException"
	// AccessDeniedForDependency: a service-linked role is in the way.
	AccessDeniedForDependency = "AccessDeniedForDependencyException"
	// AccountAlreadyClosed: account is closed.
	AccountAlreadyClosed = "AccountAlreadyClosedException"
	// AccountNotFound: account is not in the organization.
	AccountNotFound = "AccountNotFoundException"
	// AccountOwnerNotVerified: e-mail address of the management account is not verified.
	AccountOwnerNotVerified = "AccountOwnerNotVerifiedException"
	// AlreadyInOrganization: account belongs to an organization.
	AlreadyInOrganization = "AlreadyInOrganizationException"
	// ChildNotFound: no account or organizational unit with that id.
	ChildNotFound = "ChildNotFoundException"
	// ConcurrentModification: changed by another request at the same time; retry.
	ConcurrentModification = "ConcurrentModificationException"
	// ConstraintViolation: limit or rule of an organization; the reason says which.
	ConstraintViolation = "ConstraintViolationException"
	// CreateAccountStatusNotFound: no CreateAccount request with that id.
	CreateAccountStatusNotFound = "CreateAccountStatusNotFoundException"
	// DestinationParentNotFound: no root or organizational unit to move to.
	DestinationParentNotFound = "DestinationParentNotFoundException"
	// DuplicateAccount: account is in that parent already.
	DuplicateAccount = "DuplicateAccountException"
	// DuplicateOrganizationalUnit: parent has an organizational unit of that name.
	DuplicateOrganizationalUnit = "DuplicateOrganizationalUnitException"
	// DuplicatePolicy: organization has a policy of that name.
	DuplicatePolicy = "DuplicatePolicyException"
	// DuplicatePolicyAttachment: policy is attached there already.
	DuplicatePolicyAttachment = "DuplicatePolicyAttachmentException"
	// FinalizingOrganization: organization is being made; retry.
	FinalizingOrganization = "FinalizingOrganizationException"
	// OrganizationNotEmpty: organization still has members.
	OrganizationNotEmpty = "OrganizationNotEmptyException"
	// OrganizationalUnitNotEmpty: organizational unit still holds accounts or units.
	OrganizationalUnitNotEmpty = "OrganizationalUnitNotEmptyException"
	// OrganizationalUnitNotFound: no organizational unit with that id.
	OrganizationalUnitNotFound = "OrganizationalUnitNotFoundException"
	// ParentNotFound: no root or organizational unit with that id.
	ParentNotFound = "ParentNotFoundException"
	// PolicyChangesInProgress: policies are being changed; retry.
	PolicyChangesInProgress = "PolicyChangesInProgressException"
	// PolicyInUse: policy is still attached.
	PolicyInUse = "PolicyInUseException"
	// PolicyNotAttached: policy is not attached there.
	PolicyNotAttached = "PolicyNotAttachedException"
	// PolicyNotFound: no policy with that id.
	PolicyNotFound = "PolicyNotFoundException"
	// PolicyTypeAlreadyEnabled: type of policy is on in that root.
	PolicyTypeAlreadyEnabled = "PolicyTypeAlreadyEnabledException"
	// PolicyTypeNotAvailableForOrganization: type of policy needs all features.
	PolicyTypeNotAvailableForOrganization = "PolicyTypeNotAvailableForOrganizationException"
	// PolicyTypeNotEnabled: type of policy is off in that root.
	PolicyTypeNotEnabled = "PolicyTypeNotEnabledException"
	// RootNotFound: no root with that id.
	RootNotFound = "RootNotFoundException"
	// Service: internal failure of Organizations; retry.
	Service = "ServiceException"
	// SourceParentNotFound: no root or organizational unit to move from.
	SourceParentNotFound = "SourceParentNotFoundException"
	// TargetNotFound: no root, organizational unit or account with that id.
	TargetNotFound = "TargetNotFoundException"
	// TooManyRequests: Organizations' Throttling.
	TooManyRequests = "TooManyRequestsException"
	// UnsupportedAPIEndpoint: operation is not served here.
	UnsupportedAPIEndpoint = "UnsupportedAPIEndpointException"
)

// queryForms has the codes whose name and status in the Query protocol are not
// the exception's name without "Exception" and the status above.
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
var queryForms = map[string]struct {
	code   string
	status int
}{
	AccessDenied:                {"AccessDenied", 403},
	ConcurrentModification:      {"ConcurrentModification", 409},
	ExpiredToken:                {"ExpiredToken", 403},
	ExpiredWebIdentity:          {"ExpiredTokenException", 400},
	IncompleteSignature:         {"IncompleteSignature", 400},
	InvalidAuthorizationMessage: {"InvalidAuthorizationMessageException", 400},
	InvalidSignature:            {"SignatureDoesNotMatch", 403},
	KMSInternal:                 {"ServiceFailure", 500},
	LimitExceeded:               {"LimitExceeded", 409},
	MissingAuthenticationToken:  {"MissingAuthenticationToken", 403},
	RegionDisabled:              {"RegionDisabledException", 403},
	Serialization:               {"MalformedInput", 400},
	ServiceNotSupported:         {"NotSupportedService", 404},
	UnknownOperation:            {"InvalidAction", 400},
	UnrecognizedClient:          {"InvalidClientTokenId", 403},
	Validation:                  {"ValidationError", 400},
}

// Query is the code and the HTTP status of e in the Query protocol.
func (e *Error) Query() (code string, status int) {
	if form, ok := queryForms[e.Code]; ok {
		return form.code, form.status
	}
	return strings.TrimSuffix(e.Code, "Exception"), e.Status
}
