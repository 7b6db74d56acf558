package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/kagimori/kagimori/internal/awserr"
)

// filling says what fill puts into a value.
type filling struct {
	text func(member string) string
	time time.Time
	blob []byte
}

// snapshotFilling is what the SDK's snapshots are made from.
var snapshotFilling = filling{
	text: func(member string) string { return "__" + member + "__" },
	time: time.Unix(946684800, 0).UTC(),
	blob: []byte("blob"),
}

// awkwardFilling needs escapes, long characters, padding and fractions.
var awkwardFilling = filling{
	text: func(member string) string { return member + " 鍵守 \"\\/ \b\f\n\r\t\x00\x1f\u2028 <&> 🔑" },
	time: time.UnixMilli(1700000000123).UTC(),
	blob: []byte{0xff, 0xfe, 0x00, 0x3e, 0x3f},
}

// fill populates every member of v.
func (f filling) fill(v reflect.Value, member string) {
	switch t := v.Type(); {
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		f.fill(v.Elem(), member)
	case t == timeType:
		v.Set(reflect.ValueOf(f.time))
	case t == bytesType:
		v.SetBytes(slices.Clone(f.blob))
	case t.Kind() == reflect.Map:
		value := reflect.New(t.Elem()).Elem()
		f.fill(value, "Value")
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(reflect.ValueOf("key0").Convert(t.Key()), value)
	case unions[t] != nil:
		variant := reflect.New(unions[t][0])
		f.fill(variant.Elem(), "")
		v.Set(variant)
	case t.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(t, 2, 2))
		f.fill(v.Index(0), "Member")
		f.fill(v.Index(1), "Member")
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if sf := t.Field(i); sf.IsExported() && sf.Type != metadataType {
				f.fill(v.Field(i), sf.Name)
			}
		}
	case t.Kind() == reflect.String:
		if values := v.MethodByName("Values"); values.IsValid() {
			v.Set(values.Call(nil)[0].Index(0))
		} else if member == "EndpointId" { // the SDK makes a host's name of it
			v.SetString("host")
		} else {
			v.SetString(f.text(member))
		}
	case t.Kind() == reflect.Bool:
		v.SetBool(true)
	case t.Kind() == reflect.Int32:
		v.SetInt(1)
	default:
		panic("cannot fill " + t.String())
	}
}

// newFilled makes a full value of the type that p, a pointer, points to.
func (f filling) newFilled(p any) any {
	v := reflect.New(reflect.TypeOf(p).Elem())
	f.fill(v.Elem(), "")
	return v.Interface()
}

// decodeUnchecked decodes without holding the body against the constraints, which
// the values of snapshots do not keep.
func decodeUnchecked(t *testing.T, op *Operation, body []byte) any {
	t.Helper()
	in := op.NewInput()
	if err := new(decoder).decode(body, op.input, reflect.ValueOf(in).Elem()); err != nil {
		t.Fatalf("%s: %v\nbody: %s", op.Name, err, body)
	}
	return in
}

// sdkFile reads a snapshot that the SDK's kms module ships; it returns the body.
func sdkFile(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(sdkDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	_, body, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		t.Fatalf("%s: no body", name)
	}
	if strings.HasPrefix(name, "request_snapshot/") { // has a blank line before the headers too
		_, body, _ = bytes.Cut(body, []byte("\n\n"))
	}
	return body
}

// sdkDir is where the source of the SDK's kms module is.
var sdkDir = sync.OnceValue(func() string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/kms").Output()
	if err != nil {
		panic("finding the SDK module: " + err.Error())
	}
	return strings.TrimSpace(string(out))
})

func equalJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var va, vb any
	if err := json.Unmarshal(a, &va); err != nil {
		t.Fatalf("%v in %s", err, a)
	}
	if err := json.Unmarshal(b, &vb); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return reflect.DeepEqual(va, vb)
}

// jsonError is an error answer of KMS.
func jsonError(dst []byte, e *awserr.Error) []byte {
	dst, _ = KMS.AppendError(dst, e, "")
	return dst
}

func mustLookup(t testing.TB, name string) *Operation {
	t.Helper()
	if !strings.Contains(name, ".") { // of KMS
		name = "TrentService." + name
	}
	_, op, err := Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestTableIsTheSDK(t *testing.T) {
	client := reflect.TypeFor[*kms.Client]()
	var want []string
	for i := range client.NumMethod() {
		if name := client.Method(i).Name; name != "Options" {
			want = append(want, name)
		}
	}
	var got []string
	for i, op := range KMS.Operations {
		got = append(got, op.Name)
		if in, out := kmsOperations[i].in, kmsOperations[i].out; reflect.TypeOf(in).Elem().Name() != op.Name+"Input" ||
			reflect.TypeOf(out).Elem().Name() != op.Name+"Output" {
			t.Errorf("%s has %T and %T", op.Name, in, out)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("table has %v\nthe SDK has %v", got, want)
	}
	if len(KMS.model().Operations) != len(KMS.Operations) {
		t.Errorf("model has %d operations, table %d", len(KMS.model().Operations), len(KMS.Operations))
	}
}

func TestLookup(t *testing.T) {
	_, op, err := Lookup("TrentService.ReEncrypt")
	if err != nil {
		t.Fatal(err)
	}
	if op.Name != "ReEncrypt" || op.Action != "kms:ReEncryptFrom" || !op.ReadOnly {
		t.Errorf("ReEncrypt is %+v", op)
	}
	if op := mustLookup(t, "CreateKey"); op.Action != "kms:CreateKey" || op.ReadOnly {
		t.Errorf("CreateKey is %+v", op)
	}
	for _, target := range []string{"", "Encrypt", "trentservice.encrypt", "TrentService.encrypt", "TrentService.Encrypt ",
		"TrentService.", strings.Repeat("x", 10000)} {
		_, _, err := Lookup(target)
		if !awserr.Is(err, awserr.UnknownOperation) {
			t.Errorf("Lookup(%.20q) gives %v", target, err)
		} else if len(err.Error()) > 400 {
			t.Errorf("Lookup(%.20q) repeats all of it", target)
		}
	}
}

func TestRequestSnapshots(t *testing.T) {
	for i, op := range KMS.Operations {
		body := sdkFile(t, "request_snapshot/"+op.Name+".request.snap")
		want := snapshotFilling.newFilled(kmsOperations[i].in)
		if got := decodeUnchecked(t, op, body); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: decoded %+v\nwant %+v\nfrom %s", op.Name, got, want, body)
		}
	}
}

func TestResponseSnapshots(t *testing.T) {
	for i, op := range KMS.Operations {
		want := sdkFile(t, "response_snapshot/"+op.Name+".response.snap")
		got := AppendOutput(nil, snapshotFilling.newFilled(kmsOperations[i].out))
		if len(got) == 0 && KMS.model().Operations[op.Name].NoBody {
			got = []byte("{}") // what the snapshot has for an empty body
		}
		if !equalJSON(t, got, want) {
			t.Errorf("%s: encoded %s\nwant %s", op.Name, got, want)
		}
	}
}

// sdkClient is a real client of the SDK that talks to handler.
func sdkClient(t *testing.T, handler http.HandlerFunc) *kms.Client {
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return kms.New(kms.Options{
		Region:       "us-east-1",
		BaseEndpoint: &srv.URL,
		HTTPClient:   srv.Client(),
		Retryer:      aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
		}),
	})
}

func TestErrorsReachTheSDK(t *testing.T) {
	var answer *awserr.Error
	client := sdkClient(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(answer.Status)
		w.Write(jsonError(nil, answer))
	})
	check := func(code, message string) error {
		answer = awserr.New(code, "%s", message)
		_, err := client.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: aws.String("k")})
		var api smithy.APIError
		if !errors.As(err, &api) {
			t.Errorf("%s: the SDK saw %v", code, err)
			return nil
		}
		if api.ErrorCode() != code || api.ErrorMessage() != message {
			t.Errorf("%s: the SDK saw %q, %q", code, api.ErrorCode(), api.ErrorMessage())
		}
		return api
	}

	snapshots, err := filepath.Glob(filepath.Join(sdkDir(), "response_snapshot", "*.error.snap"))
	if err != nil || len(snapshots) < 48 {
		t.Fatalf("%d error snapshots: %v", len(snapshots), err)
	}
	for _, path := range snapshots {
		code := strings.TrimSuffix(filepath.Base(path), ".error.snap")
		want := sdkFile(t, "response_snapshot/"+filepath.Base(path))
		if got := jsonError(nil, awserr.New(code, "__Message__")); !equalJSON(t, got, want) {
			t.Errorf("%s: encoded %s, want %s", code, got, want)
		}
		for _, message := range []string{"", "Key 'arn:aws:kms:…' does \"not\" exist\n鍵"} {
			if api := check(code, message); api != nil && reflect.TypeOf(api).Elem().Name() != code {
				t.Errorf("%s: the SDK made a %T", code, api)
			}
		}
	}
	for _, code := range []string{awserr.AccessDenied, awserr.Validation, awserr.Throttling, awserr.ExpiredToken,
		awserr.IncompleteSignature, awserr.InvalidSignature, awserr.MissingAuthenticationToken, awserr.UnrecognizedClient,
		awserr.NotAuthorized, awserr.OptInRequired, awserr.RequestAborted, awserr.RequestEntityTooLarge, awserr.RequestTimeout,
		awserr.RequestExpired, awserr.UnknownOperation, awserr.Serialization, awserr.MalformedHttpRequest,
		awserr.InternalFailure, awserr.ServiceUnavailable} {
		check(code, "why")
	}
}

func TestCoverage(t *testing.T) {
	page := string(Coverage(func(op *Operation) bool { return op.Service == KMS && (op.Name == "Encrypt" || op.Name == "Decrypt") }))
	for _, line := range []string{
		"## AWS KMS", "## AWS IAM", "## AWS STS", "## AWS Organizations", "## AWS CloudTrail", "## Amazon EventBridge",
		"2 of 56 operations work.", "0 of 176 operations work.", "0 of 11 operations work.", "0 of 63 operations work.", "0 of 60 operations work.", "0 of 57 operations work.",
		"| [Encrypt](https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html) | works |",
		"| [Sign](https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html) | coming; answers UnsupportedOperationException |",
		"| [CreateUser](https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateUser.html) | coming; answers UnsupportedOperation |",
	} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("page lacks %q:\n%s", line, page)
		}
	}
	if n := strings.Count(page, "API_"); n != 56+176+11+63+60+57 {
		t.Errorf("page has %d operations", n)
	}
}
