package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/kagimori/kagimori/internal/awserr"
)

// tables are the operations as they are written down.
var tables = map[*Service][]row{KMS: kmsOperations, IAM: iamOperations, STS: stsOperations, Organizations: organizationsOperations,
	CloudTrail: cloudTrailOperations, EventBridge: eventBridgeOperations}

// plainFilling has whole seconds, which is all that XML answers have.
var plainFilling = filling{
	text: snapshotFilling.text,
	time: snapshotFilling.time,
	blob: snapshotFilling.blob,
}

// xmlFilling is awkward for forms and XML, but possible.
var xmlFilling = filling{
	text: func(member string) string {
		return " " + member + " 鍵守 \"'\\/+%&=;.\t\n\r\u2028 <&>]]> <!-- 🔑 "
	},
	time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC),
	blob: awkwardFilling.blob,
}

// clients are real clients of the SDK that talk to handler.
func clients(t *testing.T, handler http.HandlerFunc) map[*Service]any {
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	cfg := aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: &srv.URL,
		HTTPClient:   whole{srv.Client()},
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
		}),
	}
	return map[*Service]any{KMS: kms.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg), STS: sts.NewFromConfig(cfg),
		Organizations: organizations.NewFromConfig(cfg), CloudTrail: cloudtrail.NewFromConfig(cfg), EventBridge: eventbridge.NewFromConfig(cfg)}
}

// whole reads an answer to its end before the SDK has it. The SDK closes the request's
// body when an answer begins, and net/http, if it is not done with that body yet, then
// breaks the connection in the middle of the answer.
type whole struct{ client *http.Client }

func (w whole) Do(r *http.Request) (*http.Response, error) {
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, err
}

// call calls an operation of the SDK's client by its name.
func call(client any, name string, in any) (any, error) {
	results := reflect.ValueOf(client).MethodByName(name).Call([]reflect.Value{
		reflect.ValueOf(context.Background()), reflect.ValueOf(in)})
	err, _ := results[1].Interface().(error)
	return results[0].Interface(), err
}

// receive reads a request as the pipeline does, without holding it against the
// constraints, which filled values do not keep.
func receive(t *testing.T, r *http.Request) (*Operation, any) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		_, op, err := Lookup(target)
		if err != nil {
			t.Fatal(err)
		}
		return op, decodeUnchecked(t, op, body)
	}
	form, err := ParseForm(body)
	if err != nil {
		t.Fatal(err)
	}
	_, op, err := LookupAction(form)
	if err != nil {
		t.Fatal(err)
	}
	in := op.NewInput()
	var d formDecoder
	if err := d.members(op.input, reflect.ValueOf(in).Elem(), form.params, 0); err != nil {
		t.Errorf("%s: %v in %s", op.Name, err, body)
	}
	return op, in
}

// TestRoundTripWithTheSDK: for every operation of every service, what the SDK sent
// is what is decoded, and what is encoded is what the SDK's client gives back.
func TestRoundTripWithTheSDK(t *testing.T) {
	for _, service := range Services {
		fillings := []filling{plainFilling, xmlFilling}
		if !service.query {
			fillings = []filling{snapshotFilling, awkwardFilling}
		}
		for _, f := range fillings {
			var received, answer any
			client := clients(t, func(w http.ResponseWriter, r *http.Request) {
				op, in := receive(t, r)
				if op.Service != service {
					t.Errorf("%s is of %s", op.Name, op.Service.Name)
				}
				received = in
				w.Header()["Content-Type"] = service.ContentType()
				w.Write(op.AppendOutput(nil, answer, "the-request-id"))
			})[service]
			for _, op := range tables[service] {
				sent := f.newFilled(op.in)
				answer = f.newFilled(op.out)
				got, err := call(client, op.name, sent)
				if err != nil {
					t.Errorf("%s: %v", op.name, err)
					continue
				}
				if !reflect.DeepEqual(received, sent) {
					t.Errorf("%s: the SDK sent %+v\nwe read %+v", op.name, sent, received)
				}
				reflect.ValueOf(got).Elem().FieldByName("ResultMetadata").SetZero()
				if !reflect.DeepEqual(got, answer) {
					t.Errorf("%s: we answered %+v\nthe SDK read %+v", op.name, answer, got)
				}
			}
		}
	}
}

// TestEmptyAnswersReachTheSDK: nothing at all, and empty lists, are read as such.
func TestEmptyAnswersReachTheSDK(t *testing.T) {
	var answer any
	all := clients(t, func(w http.ResponseWriter, r *http.Request) {
		op, _ := receive(t, r)
		w.Header()["Content-Type"] = op.Service.ContentType()
		w.Write(op.AppendOutput(nil, answer, "id"))
	})
	for _, service := range Services {
		for _, op := range tables[service] {
			in := plainFilling.newFilled(op.in)
			for _, empty := range []bool{false, true} {
				v := reflect.New(reflect.TypeOf(op.out).Elem())
				for i := range v.Elem().NumField() {
					if f := v.Elem().Field(i); empty && f.Kind() == reflect.Slice && f.Type() != bytesType {
						f.Set(reflect.MakeSlice(f.Type(), 0, 0))
					}
				}
				answer = v.Interface()
				got, err := call(all[service], op.name, in)
				if err != nil {
					t.Errorf("%s: %v", op.name, err)
					continue
				}
				reflect.ValueOf(got).Elem().FieldByName("ResultMetadata").SetZero()
				if !reflect.DeepEqual(got, answer) {
					t.Errorf("%s: we answered %+v\nthe SDK read %+v", op.name, answer, got)
				}
			}
		}
	}
}

// TestTablesAreTheSDK: names fit types, and are in order.
func TestTablesAreTheSDK(t *testing.T) {
	want := map[*Service]int{KMS: 56, IAM: 107, STS: 7, Organizations: 32, CloudTrail: 16, EventBridge: 15}
	for _, service := range Services {
		table := tables[service]
		if len(table) != want[service] {
			t.Errorf("%s has %d operations, want %d", service.Name, len(table), want[service])
		}
		if !slices.IsSortedFunc(table, func(a, b row) int { return strings.Compare(a.name, b.name) }) {
			t.Errorf("the table of %s is not in order", service.Name)
		}
		for _, op := range table {
			if reflect.TypeOf(op.in).Elem().Name() != op.name+"Input" || reflect.TypeOf(op.out).Elem().Name() != op.name+"Output" {
				t.Errorf("%s has %T and %T", op.name, op.in, op.out)
			}
		}
	}
}

// TestIdentityErrorsReachTheSDK: errors of IAM, STS and Organizations arrive as the
// SDK's typed errors, with their message and status.
func TestIdentityErrorsReachTheSDK(t *testing.T) {
	var service *Service
	var answer *awserr.Error
	all := clients(t, func(w http.ResponseWriter, r *http.Request) {
		body, status := service.AppendError(nil, answer, "the-request-id")
		w.Header()["Content-Type"] = service.ContentType()
		w.WriteHeader(status)
		w.Write(body)
	})
	operation := map[*Service]string{IAM: "GetUser", STS: "GetCallerIdentity", Organizations: "DescribeOrganization"}
	for _, c := range []struct {
		service *Service
		code    string // of awserr
		want    string // the SDK's
		typed   bool
		status  int
	}{
		{IAM, awserr.NoSuchEntity, "NoSuchEntity", false, 404},
		{IAM, awserr.ServiceFailure, "ServiceFailure", true, 500},
		{IAM, awserr.KMSInternal, "ServiceFailure", true, 500},
		{IAM, awserr.Validation, "ValidationError", false, 400},
		{IAM, awserr.AccessDenied, "AccessDenied", false, 403},
		{IAM, awserr.LimitExceeded, "LimitExceeded", false, 409},
		{IAM, awserr.UnsupportedOperation, "UnsupportedOperation", false, 400},
		{STS, awserr.UnrecognizedClient, "InvalidClientTokenId", false, 403},
		{STS, awserr.InvalidSignature, "SignatureDoesNotMatch", false, 403},
		{STS, awserr.ExpiredToken, "ExpiredToken", false, 403},
		{STS, awserr.Throttling, "Throttling", false, 400},
		{Organizations, awserr.AWSOrganizationsNotInUse, "AWSOrganizationsNotInUseException", true, 400},
		{Organizations, awserr.KMSInternal, "ServiceException", true, 500},
		{Organizations, awserr.Throttling, "TooManyRequestsException", true, 400},
		{Organizations, awserr.AccessDenied, "AccessDeniedException", true, 400},
	} {
		service, answer = c.service, awserr.New(c.code, "it <is> \"so\" & 鍵")
		in := map[*Service]any{IAM: &iam.GetUserInput{}, STS: &sts.GetCallerIdentityInput{}, Organizations: &organizations.DescribeOrganizationInput{}}[c.service]
		if c.code == awserr.NoSuchEntity {
			c.typed = true
		}
		_, err := call(all[c.service], operation[c.service], in)
		var api smithy.APIError
		var response interface {
			HTTPStatusCode() int
			ServiceRequestID() string
		}
		if !errors.As(err, &api) || !errors.As(err, &response) {
			t.Errorf("%s: the SDK saw %v", c.code, err)
			continue
		}
		if api.ErrorCode() != c.want || api.ErrorMessage() != answer.Message || response.HTTPStatusCode() != c.status {
			t.Errorf("%s: the SDK saw %v", c.code, err)
		}
		if _, generic := api.(*smithy.GenericAPIError); generic == c.typed {
			t.Errorf("%s: the SDK made a %T", c.code, api)
		}
		if c.service.query && response.ServiceRequestID() != "the-request-id" {
			t.Errorf("%s: the SDK read the request id %q", c.code, response.ServiceRequestID())
		}
	}

	// What AWS's models say of an operation is typed there.
	service, answer = Organizations, awserr.New(awserr.ConstraintViolation, "too many").With("ACCOUNT_NUMBER_LIMIT_EXCEEDED")
	_, err := all[Organizations].(*organizations.Client).CreateAccount(context.Background(),
		&organizations.CreateAccountInput{AccountName: aws.String("a"), Email: aws.String("a@example.com")})
	if e := reason(err); e != "ACCOUNT_NUMBER_LIMIT_EXCEEDED" {
		t.Errorf("the SDK saw %v with the reason %q", err, e)
	}
	for _, code := range []string{awserr.EntityAlreadyExists, awserr.LimitExceeded, awserr.MalformedPolicyDocument, awserr.InvalidInput,
		awserr.ConcurrentModification, awserr.ServiceFailure} {
		service, answer = IAM, awserr.New(code, "why")
		_, err := all[IAM].(*iam.Client).CreateRole(context.Background(),
			&iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String("{}")})
		var api smithy.APIError
		if !errors.As(err, &api) || reflect.TypeOf(api).Elem().Name() != code {
			t.Errorf("%s: the SDK saw %T %v", code, api, err)
		}
	}
	for _, code := range []string{awserr.ExpiredWebIdentity, awserr.IDPRejectedClaim, awserr.InvalidIdentityToken, awserr.IDPCommunicationError,
		awserr.MalformedPolicyDocument, awserr.PackedPolicyTooLarge, awserr.RegionDisabled} {
		service, answer = STS, awserr.New(code, "why")
		_, err := all[STS].(*sts.Client).AssumeRoleWithWebIdentity(context.Background(), &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String("r"), RoleSessionName: aws.String("s"), WebIdentityToken: aws.String("t")})
		want := code
		if code == awserr.ExpiredWebIdentity {
			want = "ExpiredTokenException"
		}
		var api smithy.APIError
		if !errors.As(err, &api) || reflect.TypeOf(api).Elem().Name() != want {
			t.Errorf("%s: the SDK saw %T %v", code, api, err)
		}
	}
}

// reason is the Reason of an error of the SDK for Organizations.
func reason(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	f := reflect.ValueOf(api).Elem().FieldByName("Reason")
	if !f.IsValid() {
		return ""
	}
	return f.String()
}

func TestLookupOfServices(t *testing.T) {
	for _, c := range []struct {
		target  string
		service *Service
		code    string
	}{
		{"TrentService.Encrypt", KMS, ""},
		{"AWSOrganizationsV20161128.CreateAccount", Organizations, ""},
		{"AWSOrganizationsV20161128.InviteAccountToOrganization", Organizations, awserr.UnsupportedOperation},
		{"AWSOrganizationsV20161128.Encrypt", Organizations, awserr.UnknownOperation},
		{"CloudTrail_20131101.LookupEvents", CloudTrail, ""},
		{"com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", CloudTrail, ""},
		{"CloudTrail_20131101.CreateDashboard", CloudTrail, awserr.UnsupportedOperation},
		{"TrentService.CreateAccount", KMS, awserr.UnknownOperation},
		{"CreateAccount", UnknownJSON, awserr.UnknownOperation},
		{"", UnknownJSON, awserr.UnknownOperation},
	} {
		service, op, err := Lookup(c.target)
		checkLookup(t, c.target, service, op, err, c.service, c.code)
	}
	for _, c := range []struct {
		form    string
		service *Service
		code    string
		message string
	}{
		{"Action=GetUser&Version=2010-05-08", IAM, "", ""},
		{"Version=2011-06-15&Action=GetCallerIdentity", STS, "", ""},
		{"Action=GetCallerIdentity", STS, "", ""},
		{"Action=GetUser&Version=", IAM, "", ""},
		{"Action=GetUser&Version=2011-06-15", STS, awserr.UnknownOperation, "Could not find operation GetUser for version 2011-06-15"},
		{"Action=getUser&Version=2010-05-08", IAM, awserr.UnknownOperation, "Could not find operation getUser for version 2010-05-08"},
		{"Action=Encrypt&Version=2014-11-01", UnknownQuery, awserr.UnknownOperation, "Could not find operation Encrypt for version 2014-11-01"},
		{"Action=Encrypt", UnknownQuery, awserr.UnknownOperation, "Could not find operation Encrypt for version NO_VERSION_SPECIFIED"},
		{"Action=GetSAMLProvider&Version=2010-05-08", IAM, awserr.UnsupportedOperation, "The operation GetSAMLProvider is not supported by this version of Kagimori."},
		{"Action=AssumeRoot", STS, awserr.UnsupportedOperation, ""},
		{"Version=2010-05-08", IAM, awserr.MissingAction, ""},
		{"", UnknownQuery, awserr.MissingAction, ""},
	} {
		form, err := ParseForm([]byte(c.form))
		if err != nil {
			t.Fatal(err)
		}
		service, op, err := LookupAction(form)
		checkLookup(t, c.form, service, op, err, c.service, c.code)
		if c.message != "" && awserr.From(err).Message != c.message {
			t.Errorf("%s: %v, want %s", c.form, err, c.message)
		}
	}
	// Only an operation that finds out who calls by itself is unsigned.
	for _, s := range Services {
		for _, op := range s.Operations {
			if op.Unsigned != (op.Name == "AssumeRoleWithWebIdentity") || op.Service != s || !strings.HasPrefix(op.Action, s.Name+":") {
				t.Errorf("%+v", op)
			}
		}
	}
}

func checkLookup(t *testing.T, request string, service *Service, op *Operation, err error, want *Service, code string) {
	t.Helper()
	if service != want || code == "" && (err != nil || op == nil) || code != "" && !awserr.Is(err, code) ||
		code == awserr.UnsupportedOperation && op == nil || code == awserr.UnknownOperation && op != nil {
		t.Errorf("%s: %+v, %+v, %v", request, service, op, err)
	}
}
