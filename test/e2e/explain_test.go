package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// TestExplain has a denial explained from the journal of a running server.
func TestExplain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, dir, setup{})
	defer s.stop(t)
	ctx := context.Background()
	root := s.client(nil)
	people := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &s.endpoint, Credentials: root.Options().Credentials})
	name := aws.String("alice")
	_, err := people.CreateUser(ctx, &iam.CreateUserInput{UserName: name})
	check(t, err)
	_, err = people.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("p"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Sid":"OnlyHR","Effect":"Allow","Action":"kms:Encrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:dept":"hr"}}}]}`)})
	check(t, err)
	k, err := people.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	check(t, err)
	made, err := root.CreateKey(ctx, &kms.CreateKeyInput{})
	check(t, err)

	options := root.Options()
	options.Credentials = credentials.NewStaticCredentialsProvider(*k.AccessKey.AccessKeyId, *k.AccessKey.SecretAccessKey, "")
	alice := kms.New(options)
	encrypt := func(dept string) error {
		_, err := alice.Encrypt(ctx, &kms.EncryptInput{KeyId: made.KeyMetadata.KeyId, Plaintext: []byte("x"), EncryptionContext: map[string]string{"dept": dept}})
		return err
	}
	check(t, encrypt("hr"))
	var denied *awshttp.ResponseError
	if !errors.As(encrypt("sales"), &denied) {
		t.Fatal("the call was not denied")
	}
	out := succeed(t, "explain", denied.ServiceRequestID(), "--data", dir)
	for _, part := range []string{
		"Encrypt of kms at ", "AccessDenied: User: arn:aws:iam::", "may kms:Encrypt on arn:aws:kms:", "because no identity-based policy allows the kms:Encrypt action",
		"key policy", `"OnlyHR"`, "kms:EncryptionContext:dept", "hr", "sales",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("the explanation lacks %q", part)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
	if out := succeed(t, "explain", denied.ServiceRequestID(), "--json", "--data", dir); !strings.HasPrefix(out, "{") {
		t.Errorf("as JSON: %s", out)
	}
	refuse(t, "there is no call with the request id", "explain", "01234567-89ab-cdef-0123-456789abcdef", "--data", dir)
}

// TestRootAccessKey replaces the root's access key. The next start does not offer
// the old one, and works without any.
func TestRootAccessKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, dir, setup{})
	ctx := context.Background()
	old := s.variable("AWS_ACCESS_KEY_ID")
	people := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &s.endpoint, Credentials: s.client(nil).Options().Credentials})
	k, err := people.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{})
	check(t, err)
	s.stop(t)
	s = serve(t, dir, setup{})
	if got := s.variable("AWS_ACCESS_KEY_ID"); got != old {
		t.Errorf("while both keys work, %s is offered, want that of the credentials file, %s", got, old)
	}
	people = iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &s.endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(*k.AccessKey.AccessKeyId, *k.AccessKey.SecretAccessKey, "")})
	for _, id := range []string{old, *k.AccessKey.AccessKeyId} {
		_, err = people.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{AccessKeyId: &id})
		check(t, err)
	}
	s.stop(t)
	p := start(t, nil, binary(t, released), environment(t), "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if _, err := p.out.wait(regexp.MustCompile(`# The root's access key in \S+ has been replaced`), p.ended); err != nil {
		t.Error(err)
	}
	if strings.Contains(p.out.String(), "export AWS_ACCESS_KEY_ID") {
		t.Errorf("a key is offered: %s", p.out)
	}
	p.signal(os.Interrupt)
	if status := p.status(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
