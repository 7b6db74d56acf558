package sts_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

var ctx = context.Background()

const account = "111122223333"

func document(statements ...string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)
}

const allowAll = `{"Effect":"Allow","Action":"*","Resource":"*"}`

// trust is a statement of a trust policy for a principal of the account.
func trust(who, actions string, more ...string) string {
	s := fmt.Sprintf(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:%s"},"Action":["%s"]`, account, who, strings.ReplaceAll(actions, ",", `","`))
	for _, m := range more {
		s += "," + m
	}
	return s + "}"
}

// user makes a user with an inline policy, if one is given.
func user(t *testing.T, srv *kagimoritest.Server, name string, statements ...string) kagimoritest.Caller {
	t.Helper()
	c := srv.Root().IAM()
	apitest.Must[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))
	if len(statements) > 0 {
		apitest.Must[*iam.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: document(statements...)}))
	}
	k := apitest.Must[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})).AccessKey
	return srv.As(aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey})
}

// role makes a role with all permissions.
func role(t *testing.T, srv *kagimoritest.Server, name string, trusts ...string) *string {
	t.Helper()
	c := srv.Root().IAM()
	out := apitest.Must[*iam.CreateRoleOutput](t)(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: document(trusts...), MaxSessionDuration: aws.Int32(7200)}))
	apitest.Must[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("p"), PolicyDocument: document(allowAll)}))
	return out.Role.Arn
}

func assume(c kagimoritest.Caller, in *sdk.AssumeRoleInput) (*sdk.AssumeRoleOutput, error) {
	if in.RoleSessionName == nil {
		in.RoleSessionName = aws.String("session")
	}
	return c.STS().AssumeRole(ctx, in)
}

func identity(t *testing.T, c kagimoritest.Caller) *sdk.GetCallerIdentityOutput {
	t.Helper()
	return apitest.Must[*sdk.GetCallerIdentityOutput](t)(c.STS().GetCallerIdentity(ctx, &sdk.GetCallerIdentityInput{}))
}

// works tells whether a caller can list users, as all permissions let it.
func works(c kagimoritest.Caller) error {
	_, err := c.IAM().ListUsers(ctx, &iam.ListUsersInput{})
	return err
}

// lists tells whether a caller can list keys.
func lists(c kagimoritest.Caller) error {
	_, err := c.KMS("eu-central-1").ListKeys(ctx, &kms.ListKeysInput{})
	return err
}

func TestGetCallerIdentity(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice := user(t, srv, "alice", `{"Effect":"Deny","Action":"*","Resource":"*"}`)
	arn := role(t, srv, "app", trust("user/alice", "sts:AssumeRole"))
	if got := identity(t, srv.Root()); *got.Account != account || *got.Arn != "arn:aws:iam::"+account+":root" || *got.UserId != account {
		t.Errorf("root: %v", *got.Arn)
	}
	got := identity(t, alice) // no policy can forbid it
	if *got.Arn != "arn:aws:iam::"+account+":user/alice" || !strings.HasPrefix(*got.UserId, "AIDA") {
		t.Errorf("alice: %v", *got.Arn)
	}
	_, err := assume(alice, &sdk.AssumeRoleInput{RoleArn: arn})
	apitest.WantError(t, err, "AccessDenied")
	bob := user(t, srv, "bob")
	apitest.Must[*iam.UpdateAssumeRolePolicyOutput](t)(srv.Root().IAM().UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("app"), PolicyDocument: document(trust("user/bob", "sts:AssumeRole"))}))
	out := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(bob, &sdk.AssumeRoleInput{RoleArn: arn, RoleSessionName: aws.String("s-1")}))
	got = identity(t, srv.Session(out.Credentials))
	if *got.Arn != "arn:aws:sts::"+account+":assumed-role/app/s-1" || *got.UserId != *out.AssumedRoleUser.AssumedRoleId || !strings.HasSuffix(*got.UserId, ":s-1") {
		t.Errorf("session: %v %v", *got.Arn, *got.UserId)
	}

	// By a presigned URL, as kubectl and others use it.
	r, err := http.NewRequest(http.MethodGet, srv.Endpoint+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	apitest.OK(t, err)
	creds, _ := bob.Retrieve(ctx)
	uri, _, err := v4.NewSigner().PresignHTTP(ctx, creds, r, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sts", "us-east-1", srv.Now())
	apitest.OK(t, err)
	a, err := http.Get(uri)
	apitest.OK(t, err)
	defer a.Body.Close()
	if a.StatusCode != 200 {
		t.Errorf("the presigned URL is answered by %s", a.Status)
	}
}

func TestAssumeRole(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice, bob := user(t, srv, "alice"), user(t, srv, "bob", allowAll)
	arn := role(t, srv, "app", trust("user/alice", "sts:AssumeRole", `"Condition":{"StringEquals":{"sts:ExternalId":"secret"}}`))
	open := role(t, srv, "open", trust("root", "sts:AssumeRole"))

	_, err := assume(alice, &sdk.AssumeRoleInput{RoleArn: arn})
	apitest.WantError(t, err, "AccessDenied", "User: arn:aws:iam::"+account+":user/alice is not authorized to perform: sts:AssumeRole on resource: "+*arn+" because no resource-based policy allows the sts:AssumeRole action")
	_, err = assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, ExternalId: aws.String("secret")})
	apitest.OK(t, err)
	_, err = assume(bob, &sdk.AssumeRoleInput{RoleArn: arn, ExternalId: aws.String("secret")})
	apitest.WantError(t, err, "AccessDenied")
	// The account's root delegates to IAM policies.
	_, err = assume(alice, &sdk.AssumeRoleInput{RoleArn: open})
	apitest.WantError(t, err, "AccessDenied", "User: arn:aws:iam::"+account+":user/alice is not authorized to perform: sts:AssumeRole on resource: "+*open+" because no identity-based policy allows the sts:AssumeRole action")
	out := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(bob, &sdk.AssumeRoleInput{RoleArn: open}))
	_, err = assume(srv.Root(), &sdk.AssumeRoleInput{RoleArn: open})
	apitest.WantError(t, err, "AccessDenied", "Roles may not be assumed by root accounts.")
	_, err = assume(bob, &sdk.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + account + ":role/none")})
	apitest.WantError(t, err, "AccessDenied")
	_, err = assume(bob, &sdk.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::444455556666:role/none")})
	apitest.WantError(t, err, "AccessDenied", "User: arn:aws:iam::"+account+":user/bob is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::444455556666:role/none")

	// The session works until it expires.
	session := srv.Session(out.Credentials)
	apitest.OK(t, works(session))
	srv.Advance(59 * time.Minute)
	apitest.OK(t, works(session))
	srv.Advance(2 * time.Minute)
	apitest.WantError(t, works(session), "ExpiredToken", "The security token included in the request is expired")

	// Nobody can use parts of it.
	out = apitest.Must[*sdk.AssumeRoleOutput](t)(assume(bob, &sdk.AssumeRoleInput{RoleArn: open}))
	other := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(bob, &sdk.AssumeRoleInput{RoleArn: open}))
	for name, c := range map[string]aws.Credentials{
		"without the token":   {AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey},
		"token of another":    {AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *other.Credentials.SessionToken},
		"damaged token":       {AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: damaged(*out.Credentials.SessionToken)},
		"key id of another":   {AccessKeyID: *other.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *out.Credentials.SessionToken},
		"token that is none":  {AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: "token"},
		"long-term and token": {AccessKeyID: srv.AccessKeyID, SecretAccessKey: srv.SecretAccessKey, SessionToken: *out.Credentials.SessionToken},
	} {
		t.Log(name)
		apitest.WantError(t, works(srv.As(c)), "InvalidClientTokenId")
	}

	// How long.
	for seconds, want := range map[int32]string{899: "ValidationError", 7201: "ValidationError", 7200: ""} {
		_, err := assume(bob, &sdk.AssumeRoleInput{RoleArn: open, DurationSeconds: aws.Int32(seconds)})
		if want != "" {
			apitest.WantError(t, err, want)
		} else {
			apitest.OK(t, err)
		}
	}
	_, err = assume(srv.Session(other.Credentials), &sdk.AssumeRoleInput{RoleArn: open, DurationSeconds: aws.Int32(3601)})
	apitest.WantError(t, err, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")

	// A deleted role takes its sessions along.
	c := srv.Root().IAM()
	apitest.OK(t, works(srv.Session(out.Credentials)))
	apitest.Must[*iam.DeleteRolePolicyOutput](t)(c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String("open"), PolicyName: aws.String("p")}))
	apitest.WantError(t, works(srv.Session(out.Credentials)), "AccessDenied")
	apitest.Must[*iam.DeleteRoleOutput](t)(c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: aws.String("open")}))
	role(t, srv, "open", trust("root", "sts:AssumeRole"))
	apitest.WantError(t, works(srv.Session(out.Credentials)), "InvalidClientTokenId")
}

// Session policies only take away.
func TestSessionPolicies(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice := user(t, srv, "alice", allowAll)
	arn := role(t, srv, "app", trust("user/alice", "sts:AssumeRole"))
	narrow := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, Policy: document(`{"Effect":"Allow","Action":"iam:GetUser","Resource":"*"}`)}))
	if narrow.PackedPolicySize == nil || *narrow.PackedPolicySize > 10 {
		t.Error("the packed size is not told")
	}
	apitest.WantError(t, works(srv.Session(narrow.Credentials)), "AccessDenied", "User: arn:aws:sts::"+account+":assumed-role/app/session is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::"+account+":user/ because no session policy allows the iam:ListUsers action")
	managed := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, PolicyArns: []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/IAMReadOnlyAccess")}}}))
	session := srv.Session(managed.Credentials)
	apitest.OK(t, works(session))
	_, err := session.IAM().CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("x")})
	apitest.WantError(t, err, "AccessDenied")
	_, err = assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, Policy: aws.String("{")})
	apitest.WantError(t, err, "MalformedPolicyDocument")
	_, err = assume(alice, &sdk.AssumeRoleInput{RoleArn: arn, PolicyArns: []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/None")}}})
	apitest.WantError(t, err, "ValidationError")
}

func TestSessionTags(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice := user(t, srv, "alice", allowAll)
	first := role(t, srv, "first", trust("user/alice", "sts:AssumeRole,sts:TagSession,sts:SetSourceIdentity"))
	second := role(t, srv, "second", trust("role/first", "sts:AssumeRole,sts:TagSession,sts:SetSourceIdentity", `"Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"}}`))
	plain := role(t, srv, "plain", trust("user/alice", "sts:AssumeRole"))
	tags := []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}, {Key: aws.String("cost"), Value: aws.String("1")}}

	_, err := assume(alice, &sdk.AssumeRoleInput{RoleArn: plain, Tags: tags})
	apitest.WantError(t, err, "AccessDenied")
	untagged := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(alice, &sdk.AssumeRoleInput{RoleArn: first}))
	_, err = assume(srv.Session(untagged.Credentials), &sdk.AssumeRoleInput{RoleArn: second})
	apitest.WantError(t, err, "AccessDenied")
	tagged := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(alice, &sdk.AssumeRoleInput{RoleArn: first, Tags: tags, TransitiveTagKeys: []string{"team"}, SourceIdentity: aws.String("alice@example.com")}))
	chained := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(srv.Session(tagged.Credentials), &sdk.AssumeRoleInput{RoleArn: second}))
	if *chained.SourceIdentity != "alice@example.com" {
		t.Errorf("the source identity is %v", chained.SourceIdentity)
	}
	_, err = assume(srv.Session(tagged.Credentials), &sdk.AssumeRoleInput{RoleArn: second, Tags: []types.Tag{{Key: aws.String("TEAM"), Value: aws.String("blue")}}})
	apitest.WantError(t, err, "ValidationError")
	_, err = assume(alice, &sdk.AssumeRoleInput{RoleArn: first, TransitiveTagKeys: []string{"nothing"}})
	apitest.WantError(t, err, "ValidationError")

	// The transitive tag has come along, the other one has not.
	c := srv.Root().IAM()
	apitest.Must[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("second"), PolicyName: aws.String("p"),
		PolicyDocument: document(`{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red","aws:SourceIdentity":"alice@example.com"},"Null":{"aws:PrincipalTag/cost":"true"}}}`)}))
	apitest.OK(t, works(srv.Session(chained.Credentials)))
}

// aws:TokenIssueTime revokes the sessions that began before a time.
func TestRevokeOlderSessions(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice := user(t, srv, "alice", allowAll)
	arn := role(t, srv, "app", trust("user/alice", "sts:AssumeRole"))
	old := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(alice, &sdk.AssumeRoleInput{RoleArn: arn}))
	srv.Advance(time.Minute)
	apitest.Must[*iam.PutRolePolicyOutput](t)(srv.Root().IAM().PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("app"), PolicyName: aws.String("AWSRevokeOlderSessions"),
		PolicyDocument: document(fmt.Sprintf(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":%q}}}`, srv.Now().UTC().Format(time.RFC3339)))}))
	apitest.WantError(t, works(srv.Session(old.Credentials)), "AccessDenied")
	srv.Advance(time.Second)
	fresh := apitest.Must[*sdk.AssumeRoleOutput](t)(assume(alice, &sdk.AssumeRoleInput{RoleArn: arn}))
	apitest.OK(t, works(srv.Session(fresh.Credentials)))
}

func TestGetSessionToken(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice := user(t, srv, "alice", allowAll)
	out := apitest.Must[*sdk.GetSessionTokenOutput](t)(alice.STS().GetSessionToken(ctx, &sdk.GetSessionTokenInput{}))
	session := srv.Session(out.Credentials)
	apitest.OK(t, lists(session))
	apitest.WantError(t, works(session), "InvalidClientTokenId") // IAM wants MFA
	if d := out.Credentials.Expiration.Sub(srv.Now()); d < 12*time.Hour-time.Second || d > 12*time.Hour {
		t.Errorf("the session lasts %v", d)
	}
	if got := identity(t, session); *got.Arn != "arn:aws:iam::"+account+":user/alice" {
		t.Errorf("the session is of %s", *got.Arn)
	}
	_, err := session.STS().GetSessionToken(ctx, &sdk.GetSessionTokenInput{})
	apitest.WantError(t, err, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	root := apitest.Must[*sdk.GetSessionTokenOutput](t)(srv.Root().STS().GetSessionToken(ctx, &sdk.GetSessionTokenInput{}))
	if d := root.Credentials.Expiration.Sub(srv.Now()); d > time.Hour {
		t.Errorf("the root's session lasts %v", d)
	}
	apitest.OK(t, lists(srv.Session(root.Credentials)))
	srv.Advance(13 * time.Hour)
	apitest.WantError(t, works(session), "ExpiredToken")

	// The account of a key.
	for _, id := range []string{*out.Credentials.AccessKeyId, srv.AccessKeyID} {
		info := apitest.Must[*sdk.GetAccessKeyInfoOutput](t)(srv.Root().STS().GetAccessKeyInfo(ctx, &sdk.GetAccessKeyInfoInput{AccessKeyId: &id}))
		if *info.Account != account {
			t.Errorf("the key %s is of account %s", id, *info.Account)
		}
	}
	_, err = srv.Root().STS().GetAccessKeyInfo(ctx, &sdk.GetAccessKeyInfoInput{AccessKeyId: aws.String("AKIAIOSFODNN7NOBODYS")})
	apitest.WantError(t, err, "ValidationError")
	for _, rec := range srv.Records() {
		text, err := json.Marshal(rec)
		apitest.OK(t, err)
		if strings.Contains(string(text), *out.Credentials.SecretAccessKey) || strings.Contains(string(text), *out.Credentials.SessionToken) {
			t.Errorf("the record of %v has the credentials", rec["eventName"])
		}
	}
}

// The encoded message of a denial is for the account whose policies it shows.
func TestAuthorizationMessage(t *testing.T) {
	srv := kagimoritest.Start(t)
	alice := user(t, srv, "alice")
	var encoded string
	read := func(o *iam.Options) { o.HTTPClient = headers{&encoded} }
	_, err := alice.IAM().ListUsers(ctx, &iam.ListUsersInput{}, read)
	apitest.WantError(t, err, "AccessDenied")
	if encoded == "" {
		t.Fatal("the denial has no encoded message")
	}
	_, err = alice.STS().DecodeAuthorizationMessage(ctx, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &encoded})
	apitest.WantError(t, err, "AccessDenied")
	out := apitest.Must[*sdk.DecodeAuthorizationMessageOutput](t)(srv.Root().STS().DecodeAuthorizationMessage(ctx, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &encoded}))
	var how struct{ Principal, Action, Decision string }
	apitest.OK(t, json.Unmarshal([]byte(*out.DecodedMessage), &how))
	if how.Principal != "arn:aws:iam::"+account+":user/alice" || how.Action != "iam:ListUsers" || !strings.HasPrefix(how.Decision, "Denied") {
		t.Errorf("the message says %s", *out.DecodedMessage)
	}
	_, err = srv.Root().STS().DecodeAuthorizationMessage(ctx, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: aws.String(damaged(encoded))})
	apitest.WantError(t, err, "InvalidAuthorizationMessageException")
}

// damaged is text in base64 with one character changed.
func damaged(text string) string {
	other := "A"
	if text[40] == 'A' {
		other = "B"
	}
	return text[:40] + other + text[41:]
}

// headers keeps the encoded message of an answer.
type headers struct{ message *string }

func (h headers) Do(r *http.Request) (*http.Response, error) {
	a, err := http.DefaultClient.Do(r)
	if err == nil {
		*h.message = a.Header.Get("X-Kagimori-Authorization-Message")
	}
	return a, err
}

// issuer is an OIDC provider on this machine.
type issuer struct {
	*httptest.Server
	keys    jose.JSONWebKeySet
	fetches atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	i := new(issuer)
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.fetches.Add(1)
		json.NewEncoder(w).Encode(i.keys)
	})
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) thumbprint() string {
	sum := sha1.Sum(i.Certificate().Raw)
	return hex.EncodeToString(sum[:])
}

// sign makes a token.
func sign(t *testing.T, alg jose.SignatureAlgorithm, key crypto.Signer, id string, claims any) *string {
	t.Helper()
	s := apitest.Must[jose.Signer](t)(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil))
	return aws.String(apitest.Must[string](t)(jwt.Signed(s).Claims(claims).Serialize()))
}

func TestWebIdentity(t *testing.T) {
	srv := kagimoritest.Start(t)
	i := newIssuer(t)
	rsaKey := apitest.Must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	ecKey := apitest.Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	i.keys.Keys = []jose.JSONWebKey{{Key: rsaKey.Public(), KeyID: "r", Algorithm: "RS256", Use: "sig"}, {Key: ecKey.Public(), KeyID: "e", Algorithm: "ES256", Use: "sig"}}
	c := srv.Root().IAM()
	provider := apitest.Must[*iam.CreateOpenIDConnectProviderOutput](t)(c.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
		Url: &i.URL, ClientIDList: []string{"kagimori"}, ThumbprintList: []string{i.thumbprint()}})).OpenIDConnectProviderArn
	host := strings.TrimPrefix(i.URL, "https://")
	if *provider != "arn:aws:iam::"+account+":oidc-provider/"+host {
		t.Errorf("the provider is %s", *provider)
	}
	arn := role(t, srv, "web", fmt.Sprintf(`{"Effect":"Allow","Principal":{"Federated":%q},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"%s:aud":"kagimori"},"StringLike":{"%s:sub":"repo:acme/*"}}}`, *provider, host, host))

	// Without credentials of its own.
	stranger := srv.As(aws.Credentials{}).STS()
	assume := func(token *string) (*sdk.AssumeRoleWithWebIdentityOutput, error) {
		return stranger.AssumeRoleWithWebIdentity(ctx, &sdk.AssumeRoleWithWebIdentityInput{RoleArn: arn, RoleSessionName: aws.String("ci"), WebIdentityToken: token})
	}
	type more = map[string]any
	claims := func(change more) more {
		m := more{"iss": i.URL, "aud": "kagimori", "sub": "repo:acme/app", "iat": srv.Now().Unix(), "exp": srv.Now().Add(time.Hour).Unix()}
		for k, v := range change {
			if v == nil {
				delete(m, k)
			} else {
				m[k] = v
			}
		}
		return m
	}
	for _, token := range []*string{sign(t, jose.RS256, rsaKey, "r", claims(nil)), sign(t, jose.ES256, ecKey, "e", claims(nil))} {
		out := apitest.Must[*sdk.AssumeRoleWithWebIdentityOutput](t)(assume(token))
		if *out.SubjectFromWebIdentityToken != "repo:acme/app" || *out.Audience != "kagimori" || *out.Provider != *provider {
			t.Errorf("answer %v %v %v", *out.SubjectFromWebIdentityToken, *out.Audience, *out.Provider)
		}
		session := srv.Session(out.Credentials)
		apitest.OK(t, works(session))
		if got := identity(t, session); *got.Arn != "arn:aws:sts::"+account+":assumed-role/web/ci" {
			t.Errorf("the session is %s", *got.Arn)
		}
	}
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	stranger2 := apitest.Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, c := range map[string]struct {
		token *string
		code  string
	}{
		"other audience":        {sign(t, jose.RS256, rsaKey, "r", claims(more{"aud": "other"})), "InvalidIdentityToken"},
		"other subject":         {sign(t, jose.RS256, rsaKey, "r", claims(more{"sub": "repo:evil/app"})), "AccessDenied"},
		"other issuer":          {sign(t, jose.RS256, rsaKey, "r", claims(more{"iss": "https://issuer.example"})), "InvalidIdentityToken"},
		"expired":               {sign(t, jose.RS256, rsaKey, "r", claims(more{"exp": srv.Now().Add(-time.Second).Unix()})), "ExpiredTokenException"},
		"without expiry":        {sign(t, jose.RS256, rsaKey, "r", claims(more{"exp": nil})), "InvalidIdentityToken"},
		"without subject":       {sign(t, jose.RS256, rsaKey, "r", claims(more{"sub": nil})), "InvalidIdentityToken"},
		"not valid yet":         {sign(t, jose.RS256, rsaKey, "r", claims(more{"nbf": srv.Now().Add(time.Hour).Unix()})), "IDPRejectedClaim"},
		"key of a stranger":     {sign(t, jose.ES256, stranger2, "e", claims(nil)), "InvalidIdentityToken"},
		"unknown key":           {sign(t, jose.ES256, stranger2, "new", claims(nil)), "InvalidIdentityToken"},
		"not a token":           {aws.String("abcd"), "InvalidIdentityToken"},
		"without any signature": {aws.String("eyJhbGciOiJub25lIn0.e30."), "InvalidIdentityToken"},
	} {
		_, err := assume(c.token)
		t.Log(name)
		apitest.WantError(t, err, c.code)
	}
	// The provider has changed its key.
	i.keys.Keys = append(i.keys.Keys, jose.JSONWebKey{Key: stranger2.Public(), KeyID: "new"})
	srv.Advance(time.Minute)
	_, err := assume(sign(t, jose.ES256, stranger2, "new", claims(nil)))
	apitest.OK(t, err)

	// A certificate that is neither the system's nor pinned is refused.
	apitest.Must[*iam.UpdateOpenIDConnectProviderThumbprintOutput](t)(c.UpdateOpenIDConnectProviderThumbprint(ctx, &iam.UpdateOpenIDConnectProviderThumbprintInput{
		OpenIDConnectProviderArn: provider, ThumbprintList: []string{strings.Repeat("0", 40)}}))
	_, err = assume(sign(t, jose.RS256, rsaKey, "r", claims(nil)))
	apitest.WantError(t, err, "IDPCommunicationError")
	apitest.Must[*iam.DeleteOpenIDConnectProviderOutput](t)(c.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider}))
	_, err = assume(sign(t, jose.RS256, rsaKey, "r", claims(nil)))
	apitest.WantError(t, err, "InvalidIdentityToken")
}
