package awserr

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	iam "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	organizations "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	sts "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

// constants are the codes that the package declares, by their Go names.
func constants(t *testing.T) map[string]string {
	t.Helper()
	codes := map[string]string{}
	for _, name := range []string{"awserr.go", "identity.go", "cloudtrail.go", "eventbridge.go"} {
		addConstants(t, codes, name)
	}
	return codes
}

func addConstants(t *testing.T, codes map[string]string, name string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		decl, ok := n.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			return true
		}
		for _, spec := range decl.Specs {
			v := spec.(*ast.ValueSpec)
			code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes[v.Names[0].Name] = code
		}
		return false
	})
}

func TestEveryCodeHasAStatus(t *testing.T) {
	codes := constants(t)
	if len(codes) != len(statuses) {
		t.Errorf("%d codes are declared and %d have a status", len(codes), len(statuses))
	}
	for name, code := range codes {
		e := New(code, "message")
		if e.Status < 400 || e.Status > 503 || e.Code != code {
			t.Errorf("%s: code %q, status %d", name, e.Code, e.Status)
		}
		if name != code && strings.TrimSuffix(code, "Exception") != name {
			t.Errorf("the constant %s is %q", name, code)
		}
	}
}

// What AWS says is the server's fault has a status of 500 and more, and SDKs try
// it again; what is the client's has one below.
func TestFaultsAsInTheSDK(t *testing.T) {
	for _, e := range []smithy.APIError{
		&types.AlreadyExistsException{}, &types.ConflictException{}, &types.DependencyTimeoutException{}, &types.DisabledException{},
		&types.DryRunOperationException{}, &types.IncorrectKeyException{}, &types.InvalidAliasNameException{}, &types.InvalidArnException{},
		&types.InvalidCiphertextException{}, &types.InvalidGrantTokenException{}, &types.InvalidKeyUsageException{}, &types.InvalidMarkerException{},
		&types.KMSInternalException{}, &types.KMSInvalidStateException{}, &types.KeyUnavailableException{}, &types.LimitExceededException{},
		&types.MalformedPolicyDocumentException{}, &types.NotFoundException{}, &types.TagException{}, &types.UnsupportedOperationException{},
	} {
		status, ok := statuses[e.ErrorCode()]
		if !ok {
			t.Errorf("%s is not in the table", e.ErrorCode())
			continue
		}
		if server := status >= 500; server != (e.ErrorFault() == smithy.FaultServer) {
			t.Errorf("%s has the status %d, the SDK says %v", e.ErrorCode(), status, e.ErrorFault())
		}
	}
}

// TestIdentityErrorsAreTheSDKs: the codes of IAM, STS and Organizations are read
// by the SDK as its typed errors, under the names of their protocols.
func TestIdentityErrorsAreTheSDKs(t *testing.T) {
	query := map[string]*Error{} // by the name in the Query protocol
	for _, code := range constants(t) {
		e := New(code, "")
		name, status := e.Query()
		if status < 400 || status > 503 {
			t.Errorf("%s has the status %d in the Query protocol", code, status)
		}
		query[name] = e
	}
	for _, e := range []smithy.APIError{
		&iam.ConcurrentModificationException{}, &iam.DeleteConflictException{}, &iam.EntityAlreadyExistsException{},
		&iam.EntityTemporarilyUnmodifiableException{}, &iam.InvalidAuthenticationCodeException{}, &iam.InvalidInputException{},
		&iam.InvalidUserTypeException{}, &iam.LimitExceededException{}, &iam.MalformedPolicyDocumentException{},
		&iam.NoSuchEntityException{}, &iam.OpenIdIdpCommunicationErrorException{}, &iam.PasswordPolicyViolationException{},
		&iam.PolicyEvaluationException{}, &iam.PolicyNotAttachableException{}, &iam.ServiceFailureException{},
		&iam.ServiceNotSupportedException{}, &iam.UnmodifiableEntityException{},
		&sts.ExpiredTokenException{}, &sts.IDPCommunicationErrorException{}, &sts.IDPRejectedClaimException{},
		&sts.InvalidAuthorizationMessageException{}, &sts.InvalidIdentityTokenException{}, &sts.MalformedPolicyDocumentException{},
		&sts.PackedPolicyTooLargeException{}, &sts.RegionDisabledException{},
	} {
		if ours := query[e.ErrorCode()]; ours == nil {
			t.Errorf("no code is %s in the Query protocol", e.ErrorCode())
		} else if _, status := ours.Query(); (status >= 500) != (e.ErrorFault() == smithy.FaultServer) {
			t.Errorf("%s has the status %d, the SDK says %v", e.ErrorCode(), status, e.ErrorFault())
		}
	}
	for _, e := range []smithy.APIError{
		&organizations.AWSOrganizationsNotInUseException{}, &organizations.AccessDeniedForDependencyException{},
		&organizations.AccountAlreadyClosedException{}, &organizations.AccountNotFoundException{},
		&organizations.AccountOwnerNotVerifiedException{}, &organizations.AlreadyInOrganizationException{},
		&organizations.ChildNotFoundException{}, &organizations.ConcurrentModificationException{}, &organizations.ConflictException{},
		&organizations.ConstraintViolationException{}, &organizations.CreateAccountStatusNotFoundException{},
		&organizations.DestinationParentNotFoundException{}, &organizations.DuplicateAccountException{},
		&organizations.DuplicateOrganizationalUnitException{}, &organizations.DuplicatePolicyException{},
		&organizations.DuplicatePolicyAttachmentException{}, &organizations.FinalizingOrganizationException{},
		&organizations.InvalidInputException{}, &organizations.MalformedPolicyDocumentException{},
		&organizations.OrganizationNotEmptyException{}, &organizations.OrganizationalUnitNotEmptyException{},
		&organizations.OrganizationalUnitNotFoundException{}, &organizations.ParentNotFoundException{},
		&organizations.PolicyChangesInProgressException{}, &organizations.PolicyInUseException{},
		&organizations.PolicyNotAttachedException{}, &organizations.PolicyNotFoundException{},
		&organizations.PolicyTypeAlreadyEnabledException{}, &organizations.PolicyTypeNotAvailableForOrganizationException{},
		&organizations.PolicyTypeNotEnabledException{}, &organizations.RootNotFoundException{}, &organizations.ServiceException{},
		&organizations.SourceParentNotFoundException{}, &organizations.TargetNotFoundException{},
		&organizations.TooManyRequestsException{}, &organizations.UnsupportedAPIEndpointException{},
	} {
		if status, ok := statuses[e.ErrorCode()]; !ok || (status >= 500) != (e.ErrorFault() == smithy.FaultServer) {
			t.Errorf("%s has the status %d, the SDK says %v", e.ErrorCode(), status, e.ErrorFault())
		}
	}
}

// TestQuery: the names and statuses of IAM and STS.
func TestQuery(t *testing.T) {
	for code, want := range map[string]string{
		NoSuchEntity: "404 NoSuchEntity", EntityAlreadyExists: "409 EntityAlreadyExists", DeleteConflict: "409 DeleteConflict",
		LimitExceeded: "409 LimitExceeded", MalformedPolicyDocument: "400 MalformedPolicyDocument", InvalidInput: "400 InvalidInput",
		Validation: "400 ValidationError", AccessDenied: "403 AccessDenied", UnrecognizedClient: "403 InvalidClientTokenId",
		InvalidSignature: "403 SignatureDoesNotMatch", ExpiredToken: "403 ExpiredToken", ExpiredWebIdentity: "400 ExpiredTokenException",
		MissingAuthenticationToken: "403 MissingAuthenticationToken", IncompleteSignature: "400 IncompleteSignature",
		UnknownOperation: "400 InvalidAction", InvalidAuthenticationCode: "403 InvalidAuthenticationCode",
		EntityTemporarilyUnmodifiable: "409 EntityTemporarilyUnmodifiable", UnmodifiableEntity: "400 UnmodifiableEntity",
		ConcurrentModification: "409 ConcurrentModification", IDPRejectedClaim: "403 IDPRejectedClaim",
		InvalidAuthorizationMessage: "400 InvalidAuthorizationMessageException", KMSInternal: "500 ServiceFailure",
		ServiceFailure: "500 ServiceFailure", Throttling: "400 Throttling", Serialization: "400 MalformedInput",
		ServiceUnavailable: "503 ServiceUnavailable",
	} {
		if name, status := New(code, "").Query(); fmt.Sprint(status, " ", name) != want {
			t.Errorf("%s is %d %s, want %s", code, status, name, want)
		}
	}
}

func TestNew(t *testing.T) {
	if e := New(NotFound, "Key '%s' does not exist", "arn"); e.Message != "Key 'arn' does not exist" || e.Error() != "NotFoundException: Key 'arn' does not exist" {
		t.Errorf("got %q", e.Error())
	}
	// What comes from a caller and is the whole message is not a format.
	if e := New(Validation, "100% sure"); e.Message != "100% sure" {
		t.Errorf("got %q", e.Message)
	}
	if e := New(InvalidCiphertext, ""); e.Error() != "InvalidCiphertextException" {
		t.Errorf("got %q", e.Error())
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown code did not panic")
		}
	}()
	New("NoSuchException", "")
}

// The cause of an internal error is for the operator, never for the caller.
func TestInternalHidesItsCause(t *testing.T) {
	cause := errors.New("disk of 10.0.0.7 is full")
	for name, e := range map[string]*Error{"Internal": Internal(cause), "From": From(cause)} {
		if e.Code != KMSInternal || e.Status != 500 || !errors.Is(e, cause) {
			t.Errorf("%s: got %+v", name, e)
		}
		if strings.Contains(e.Error(), "10.0.0.7") {
			t.Errorf("%s tells the caller: %q", name, e.Error())
		}
	}
}

func TestFromAndIs(t *testing.T) {
	e := New(Disabled, "it is")
	wrapped := fmt.Errorf("while encrypting: %w", e)
	if got := From(wrapped); got != e {
		t.Errorf("From found %v", got)
	}
	for _, c := range []struct {
		err  error
		code string
		want bool
	}{
		{e, Disabled, true}, {wrapped, Disabled, true}, {wrapped, NotFound, false},
		{errors.New(Disabled), Disabled, false}, {nil, Disabled, false},
	} {
		if got := Is(c.err, c.code); got != c.want {
			t.Errorf("Is(%v, %s) = %v", c.err, c.code, got)
		}
	}
}
