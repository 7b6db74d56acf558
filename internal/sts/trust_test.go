package sts_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/go-jose/go-jose/v4"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

// A caller that a role does not trust learns nothing of it, not even whether it is
// there.
func TestRolesAreHidden(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice, bob := user(t, srv, "alice"), user(t, srv, "bob", allowAll)
	arn := role(t, srv, "app", trust("user/alice", "sts:AssumeRole"))
	none := aws.String(strings.TrimSuffix(*arn, "app") + "none")
	for _, seconds := range []int32{900, 7200, 7201, 43200} {
		in := sdk.AssumeRoleInput{DurationSeconds: &seconds, Policy: aws.String("{")}
		in.RoleArn = none
		_, err := assume(bob, &in)
		apitest.WantError(t, err, "AccessDenied")
		absent := strings.ReplaceAll(text(err), "none", "app")
		in.RoleArn = arn
		_, err = assume(bob, &in)
		apitest.WantError(t, err, "AccessDenied")
		if text(err) != absent {
			t.Errorf("%d s: a role that is there answers %q, one that is not %q", seconds, text(err), absent)
		}
	}
	_, err := assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, DurationSeconds: aws.Int32(7201)})
	apitest.WantError(t, err, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
}

// text is the message of an error.
func text(err error) string {
	if err == nil {
		return ""
	}
	_, message, _ := strings.Cut(err.Error(), "AccessDenied: ")
	return message
}

// What a session hands on needs the same permissions as what is given.
func TestChainedPermissions(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice := user(t, srv, "alice")
	first := role(t, srv, "first", trust("user/alice", "sts:AssumeRole,sts:TagSession,sts:SetSourceIdentity"))
	tags := []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}}
	identity := aws.String("alice@example.com")
	for _, c := range []struct {
		name, actions, missing string
		first                  sdk.AssumeRoleInput
	}{
		{"transitive tags", "sts:AssumeRole", "sts:TagSession", sdk.AssumeRoleInput{Tags: tags, TransitiveTagKeys: []string{"team"}}},
		{"transitive tags allowed", "sts:AssumeRole,sts:TagSession", "", sdk.AssumeRoleInput{Tags: tags, TransitiveTagKeys: []string{"team"}}},
		{"tags that stay", "sts:AssumeRole", "", sdk.AssumeRoleInput{Tags: tags}},
		{"source identity", "sts:AssumeRole", "sts:SetSourceIdentity", sdk.AssumeRoleInput{SourceIdentity: identity}},
		{"source identity allowed", "sts:AssumeRole,sts:SetSourceIdentity", "", sdk.AssumeRoleInput{SourceIdentity: identity}},
	} {
		t.Run(c.name, func(t *testing.T) {
			second := role(t, srv, strings.ReplaceAll(c.name, " ", "-"), trust("role/first", c.actions))
			c.first.RoleArn = first
			session := srv.Session(apitest.Must[*sdk.AssumeRoleOutput](t)(assume(alice, &c.first)).Credentials)
			_, err := assume(session, &sdk.AssumeRoleInput{RoleArn: second})
			if c.missing == "" {
				apitest.OK(t, err)
				return
			}
			apitest.WantError(t, err, "AccessDenied")
			if !strings.Contains(text(err), c.missing) {
				t.Errorf("the error is %q, want one about %s", text(err), c.missing)
			}
		})
	}
}

// A code given to AssumeRole counts for its decision, once, and not for the session.
func TestAssumeRoleWithMFA(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice, bob := user(t, srv, "alice"), user(t, srv, "bob")
	c := srv.Root().IAM()
	dev := apitest.Must[*iam.CreateVirtualMFADeviceOutput](t)(c.CreateVirtualMFADevice(ctx, &iam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: aws.String("alice")})).VirtualMFADevice
	seed := apitest.Must[[]byte](t)(base32.StdEncoding.DecodeString(string(dev.Base32StringSeed)))
	next := func() *string { // a code that was not used yet
		srv.Advance(30 * time.Second)
		m := hmac.New(sha1.New, seed)
		m.Write(binary.BigEndian.AppendUint64(nil, uint64(srv.Now().Unix()/30)))
		sum := m.Sum(nil)
		return aws.String(fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000))
	}
	apitest.Must[*iam.EnableMFADeviceOutput](t)(c.EnableMFADevice(ctx, &iam.EnableMFADeviceInput{UserName: aws.String("alice"), SerialNumber: dev.SerialNumber,
		AuthenticationCode1: next(), AuthenticationCode2: next()}))
	safe := `"Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"},"NumericLessThan":{"aws:MultiFactorAuthAge":"60"}}`
	arn := role(t, srv, "app", trust("user/alice", "sts:AssumeRole", safe), trust("user/bob", "sts:AssumeRole", safe))
	try := func(who kagimoritest.Caller, serial, code *string) (*sdk.AssumeRoleOutput, error) {
		return assume(who, &sdk.AssumeRoleInput{RoleArn: arn, SerialNumber: serial, TokenCode: code})
	}
	_, err := try(alice, nil, nil)
	apitest.WantError(t, err, "AccessDenied", "User: arn:aws:iam::"+account+":user/alice is not authorized to perform: sts:AssumeRole on resource: "+*arn+" because no resource-based policy allows the sts:AssumeRole action")
	_, err = try(alice, dev.SerialNumber, nil)
	apitest.WantError(t, err, "AccessDenied", "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code. ")
	code := next()
	_, err = try(bob, dev.SerialNumber, code) // whose device it is not
	apitest.WantError(t, err, "AccessDenied", "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.")
	out := apitest.Must[*sdk.AssumeRoleOutput](t)(try(alice, dev.SerialNumber, code))
	_, err = try(alice, dev.SerialNumber, code)
	apitest.WantError(t, err, "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code. ")

	apitest.OK(t, works(srv.Session(out.Credentials)))
	apitest.Must[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("app"), PolicyName: aws.String("p"),
		PolicyDocument: document(strings.TrimSuffix(allowAll, "}") + `,"Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}`)}))
	apitest.WantError(t, works(srv.Session(out.Credentials)), "AccessDenied")
}

func TestSessionPolicyCount(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice := user(t, srv, "alice")
	arn := role(t, srv, "app", trust("user/alice", "sts:AssumeRole"))
	var given []types.PolicyDescriptorType
	for range 10 {
		given = append(given, types.PolicyDescriptorType{Arn: aws.String("arn:aws:iam::aws:policy/IAMReadOnlyAccess")})
	}
	_, err := assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, PolicyArns: given})
	apitest.OK(t, err)
	_, err = assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, PolicyArns: append(given, given[0])})
	apitest.WantError(t, err, "ValidationError")
}

// Across accounts both sides must agree, and both have a record.
func TestAssumeRoleAcrossAccounts(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice, bob := user(t, srv, "alice", allowAll), user(t, srv, "bob")
	member := *apitest.Must[*organizations.CreateAccountOutput](t)(srv.Root().Organizations().CreateAccount(ctx, &organizations.CreateAccountInput{
		AccountName: aws.String("member"), Email: aws.String("m@example.com")})).CreateAccountStatus.AccountId
	admin := alice.AssumeRole("arn:aws:iam::"+member+":role/OrganizationAccountAccessRole", "admin")
	arn := apitest.Must[*iam.CreateRoleOutput](t)(admin.IAM().CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("app"),
		AssumeRolePolicyDocument: document(trust("user/alice", "sts:AssumeRole"), trust("user/bob", "sts:AssumeRole"))})).Role.Arn
	_, err := assume(bob, &sdk.AssumeRoleInput{RoleArn: arn}) // whose own account does not let him
	apitest.WantError(t, err, "AccessDenied", "User: arn:aws:iam::"+account+":user/bob is not authorized to perform: sts:AssumeRole on resource: "+*arn)
	out := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, RoleSessionName: aws.String("shared")}))
	if got := identity(t, srv.Session(out.Credentials)); *got.Account != member {
		t.Errorf("the session is in account %s", *got.Account)
	}
	shared := map[string]map[string]any{}
	for _, rec := range srv.Records() {
		if in, _ := rec["requestParameters"].(map[string]any); rec["eventName"] == "AssumeRole" && rec["errorCode"] == nil && in["roleSessionName"] == "shared" {
			shared[rec["recipientAccountId"].(string)] = rec
		}
	}
	mine, theirs := shared[account], shared[member]
	if mine == nil || theirs == nil || mine["sharedEventID"] == nil || mine["sharedEventID"] != theirs["sharedEventID"] || mine["eventID"] == theirs["eventID"] {
		t.Fatalf("the records are %v and %v", mine, theirs)
	}
	given, _ := mine["responseElements"].(map[string]any)["credentials"].(map[string]any)
	if given["accessKeyId"] != *out.Credentials.AccessKeyId || given["secretAccessKey"] != nil {
		t.Errorf("the record shows %v", given)
	}
}

// certificate is one of its own for some names.
func certificate(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key := apitest.Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der := apitest.Must[[]byte](t)(x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A pinned certificate stands for the names that it has, no others.
func TestIssuerCertificateName(t *testing.T) {
	srv := kagimoritest.Start(t)
	i := new(issuer)
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			json.NewEncoder(w).Encode(i.keys)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	}))
	cert := certificate(t, "other.example")
	i.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	i.StartTLS()
	t.Cleanup(i.Close)
	sum := sha1.Sum(cert.Certificate[0])
	key := apitest.Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	i.keys.Keys = []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}
	_, err := webIdentity(t, srv, i, hex.EncodeToString(sum[:]), sign(t, jose.ES256, key, "k", map[string]any{
		"iss": i.URL, "aud": "kagimori", "sub": "s", "iat": srv.Now().Unix(), "exp": srv.Now().Add(time.Hour).Unix()}))
	apitest.WantError(t, err, "IDPCommunicationError")
}

// webIdentity makes a provider and a role that takes its tokens, and gives one.
func webIdentity(t *testing.T, srv *kagimoritest.Server, i *issuer, thumbprint string, token *string, conditions ...string) (*sdk.AssumeRoleWithWebIdentityOutput, error) {
	t.Helper()
	provider := apitest.Must[*iam.CreateOpenIDConnectProviderOutput](t)(srv.Root().IAM().CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
		Url: &i.URL, ClientIDList: []string{"kagimori"}, ThumbprintList: []string{thumbprint}})).OpenIDConnectProviderArn
	arn := role(t, srv, "web", fmt.Sprintf(`{"Effect":"Allow","Principal":{"Federated":%q},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{%s}}`, *provider, strings.Join(conditions, ",")))
	return srv.As(aws.Credentials{}).STS().AssumeRoleWithWebIdentity(ctx, &sdk.AssumeRoleWithWebIdentityInput{RoleArn: arn, RoleSessionName: aws.String("ci"), WebIdentityToken: token})
}

// Keys that STS does not know are no reason to refuse those that it does, and all
// authentication methods of a token count.
func TestIssuerWithOtherKeys(t *testing.T) {
	srv := kagimoritest.Start(t)
	key := apitest.Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	known := apitest.Must[[]byte](t)(jose.JSONWebKey{Key: key.Public(), KeyID: "k"}.MarshalJSON())
	i := new(issuer)
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			fmt.Fprintf(w, `{"keys":[{"kty":"FUTURE","kid":"f"},{"kty":"EC","crv":"secp256k1","kid":"s","x":"AA","y":"AA"},%s]}`, known)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	}))
	t.Cleanup(i.Close)
	host := strings.TrimPrefix(i.URL, "https://")
	_, err := webIdentity(t, srv, i, i.thumbprint(), sign(t, jose.ES256, key, "k", map[string]any{
		"iss": i.URL, "aud": "kagimori", "sub": "s", "amr": []string{"pwd", "mfa"}, "iat": srv.Now().Unix(), "exp": srv.Now().Add(time.Hour).Unix()}),
		fmt.Sprintf(`"ForAnyValue:StringEquals":{"%s:amr":"mfa"}`, host))
	apitest.OK(t, err)
}
