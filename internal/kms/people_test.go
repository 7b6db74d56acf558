package kms_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

// account is an account of the server under test.
type account struct {
	t    *testing.T
	srv  *kagimoritest.Server
	id   string
	root kagimoritest.Caller // or a role with all permissions
	// admin is a user or role with all permissions that may assume roles, which a
	// root may not.
	admin kagimoritest.Caller
}

// startAccount starts a server with its first account.
func startAccount(t *testing.T, options ...kagimoritest.Option) *account {
	srv := kagimoritest.Start(t, options...)
	a := &account{t: t, srv: srv, id: "111122223333", root: srv.Root()}
	a.admin = a.user("founder", document(allow("*")))
	return a
}

// member makes a further account of the organization.
func (a *account) member(name string) *account {
	a.t.Helper()
	out := apitest.Must[*organizations.CreateAccountOutput](a.t)(a.root.Organizations().CreateAccount(ctx, &organizations.CreateAccountInput{
		AccountName: &name, Email: aws.String(name + "@example.com")}))
	id := *out.CreateAccountStatus.AccountId
	role := a.admin.AssumeRole("arn:aws:iam::"+id+":role/OrganizationAccountAccessRole", "setup")
	return &account{a.t, a.srv, id, role, role}
}

// user makes a user with an inline policy, if one is given, and calls as it.
func (a *account) user(name, policy string) kagimoritest.Caller {
	a.t.Helper()
	c := a.root.IAM()
	apitest.Must[*iam.CreateUserOutput](a.t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))
	if policy != "" {
		apitest.Must[*iam.PutUserPolicyOutput](a.t)(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("inline"), PolicyDocument: &policy}))
	}
	k := apitest.Must[*iam.CreateAccessKeyOutput](a.t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})).AccessKey
	return a.srv.As(aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey})
}

// role makes a role that its account may assume, with an inline policy if one is
// given, and tells its ARN.
func (a *account) role(name, policy string) string {
	a.t.Helper()
	c := a.root.IAM()
	out := apitest.Must[*iam.CreateRoleOutput](a.t)(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name,
		AssumeRolePolicyDocument: aws.String(document(allow("sts:AssumeRole", principal(a.arn("root")))))}))
	if policy != "" {
		apitest.Must[*iam.PutRolePolicyOutput](a.t)(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("inline"), PolicyDocument: &policy}))
	}
	return *out.Role.Arn
}

// assume calls as a session of a role of the account.
func (a *account) assume(role string) kagimoritest.Caller {
	a.t.Helper()
	return a.admin.AssumeRole(a.arn("role/"+role), "session")
}

func (a *account) arn(resource string) string { return "arn:aws:iam::" + a.id + ":" + resource }

// key makes a key with a key policy; ACCOUNT in it stands for the account.
func (a *account) key(policy string) string {
	a.t.Helper()
	in := &kms.CreateKeyInput{}
	if policy != "" {
		in.Policy = &policy
	}
	return *apitest.Must[*kms.CreateKeyOutput](a.t)(a.root.KMS(region).CreateKey(ctx, in)).KeyMetadata.Arn
}

// document is a policy of statements; those without a Resource get "*".
func document(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// allow and deny are statements about actions (comma separated), with further
// elements.
func allow(actions string, more ...string) string { return statement("Allow", actions, more) }
func deny(actions string, more ...string) string  { return statement("Deny", actions, more) }

func statement(effect, actions string, more []string) string {
	s := fmt.Sprintf(`{"Effect":%q,"Action":["%s"]`, effect, strings.ReplaceAll(actions, ",", `","`))
	if !strings.HasPrefix(actions, "sts:") {
		s += `,"Resource":"*"`
	}
	for _, m := range more {
		s += "," + m
	}
	return s + "}"
}

func principal(arns ...string) string {
	return `"Principal":{"AWS":["` + strings.Join(arns, `","`) + `"]}`
}

func notPrincipal(arns ...string) string {
	return `"NotPrincipal":{"AWS":["` + strings.Join(arns, `","`) + `"]}`
}

func condition(operator, key, value string) string {
	return fmt.Sprintf(`"Condition":{%q:{%q:%q}}`, operator, key, value)
}

// wantDenied checks that a call was refused, for a reason if one is given.
func wantDenied(t *testing.T, err error, reason ...string) {
	t.Helper()
	apitest.WantError(t, err, "AccessDeniedException")
	for _, r := range reason {
		if err != nil && !strings.Contains(err.Error(), r) {
			t.Errorf("%v\nwant a denial %s", err, r)
		}
	}
}

// wantOK checks that a call worked.
func wantOK(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// try encrypts with a key.
func try(c kagimoritest.Caller, key string, encryptionContext map[string]string) error {
	_, err := c.KMS(region).Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x"), EncryptionContext: encryptionContext})
	return err
}

// mfa gives a user a virtual MFA device and tells its serial number and its codes.
func (a *account) mfa(user string) (serial string, code func() string) {
	a.t.Helper()
	c := a.root.IAM()
	dev := apitest.Must[*iam.CreateVirtualMFADeviceOutput](a.t)(c.CreateVirtualMFADevice(ctx, &iam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: &user})).VirtualMFADevice
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(string(dev.Base32StringSeed), "="))
	if err != nil {
		a.t.Fatal(err)
	}
	code = func() string { return totp(seed, a.srv.Now()) }
	first := code()
	a.srv.Advance(30 * time.Second)
	apitest.Must[*iam.EnableMFADeviceOutput](a.t)(c.EnableMFADevice(ctx, &iam.EnableMFADeviceInput{UserName: &user, SerialNumber: dev.SerialNumber,
		AuthenticationCode1: &first, AuthenticationCode2: aws.String(code())}))
	a.srv.Advance(30 * time.Second)
	return *dev.SerialNumber, code
}

// totp is the code of a device at a time (RFC 6238).
func totp(seed []byte, at time.Time) string {
	m := hmac.New(sha1.New, seed)
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := m.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// session is a GetSessionToken session, with MFA if a serial number is given.
func (a *account) session(c kagimoritest.Caller, serial, code string) kagimoritest.Caller {
	a.t.Helper()
	in := &sts.GetSessionTokenInput{}
	if serial != "" {
		in.SerialNumber, in.TokenCode = &serial, &code
	}
	return a.srv.Session(apitest.Must[*sts.GetSessionTokenOutput](a.t)(c.STS().GetSessionToken(ctx, in)).Credentials)
}

// grant makes a grant as c, who may.
func grant(t *testing.T, c *kms.Client, key, grantee string, constraints *types.GrantConstraints, operations ...types.GrantOperation) *kms.CreateGrantOutput {
	t.Helper()
	return apitest.Must[*kms.CreateGrantOutput](t)(c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: &grantee, Operations: operations, Constraints: constraints}))
}
