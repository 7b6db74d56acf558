package kms_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

func decrypt(c kagimoritest.Caller, blob []byte, encryptionContext map[string]string) error {
	_, err := c.KMS(region).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: encryptionContext})
	return err
}

// A grant is in force from the answer of CreateGrant to that of RevokeGrant, and
// allows its operations only.
func TestGrantInForce(t *testing.T) {
	a := startAccount(t)
	user := a.user("worker", "")
	key := a.key("")
	blob := encrypt(t, a.root.KMS(region), &key, "x", nil)
	wantDenied(t, decrypt(user, blob, nil))
	made := grant(t, a.root.KMS(region), key, a.arn("user/worker"), nil, types.GrantOperationDecrypt, types.GrantOperationDescribeKey)
	if len(*made.GrantId) != 64 || *made.GrantToken == "" {
		t.Errorf("CreateGrant answers %s", asJSON(t, made))
	}
	wantOK(t, decrypt(user, blob, nil))
	_, err := user.KMS(region).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	wantOK(t, err)
	wantDenied(t, try(user, key, nil), "because no identity-based policy allows the kms:Encrypt action")
	_, err = a.root.KMS(region).RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &key, GrantId: made.GrantId})
	wantOK(t, err)
	wantDenied(t, decrypt(user, blob, nil))
	_, err = a.root.KMS(region).RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &key, GrantId: made.GrantId})
	apitest.WantError(t, err, "NotFoundException")

	// A denial goes before a grant.
	grant(t, a.root.KMS(region), key, a.arn("user/worker"), nil, types.GrantOperationDecrypt)
	wantOK(t, decrypt(user, blob, nil))
	apitest.Must[*iam.PutUserPolicyOutput](t)(a.root.IAM().PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("worker"), PolicyName: aws.String("no"), PolicyDocument: aws.String(document(deny("kms:Decrypt")))}))
	wantDenied(t, decrypt(user, blob, nil), "with an explicit deny in an identity-based policy")
}

// Grants to a role count for its sessions, those to a session for that one, those
// to an account for whom its policies allow it.
func TestGrantees(t *testing.T) {
	a := startAccount(t)
	b := a.member("partner")
	a.role("batch", "")
	key := a.key("")
	blob := encrypt(t, a.root.KMS(region), &key, "x", nil)
	root := a.root.KMS(region)

	one, two := a.admin.AssumeRole(a.arn("role/batch"), "one"), a.admin.AssumeRole(a.arn("role/batch"), "two")
	g := grant(t, root, key, "arn:aws:sts::"+a.id+":assumed-role/batch/one", nil, types.GrantOperationDecrypt)
	wantOK(t, decrypt(one, blob, nil))
	wantDenied(t, decrypt(two, blob, nil))
	apitest.Must[*kms.RevokeGrantOutput](t)(root.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &key, GrantId: g.GrantId}))
	grant(t, root, key, a.arn("role/batch"), nil, types.GrantOperationDecrypt)
	wantOK(t, decrypt(one, blob, nil))
	wantOK(t, decrypt(two, blob, nil))

	with, without := b.user("with", document(allow("kms:Decrypt"))), b.user("without", "")
	wantDenied(t, decrypt(with, blob, nil), "on the resource associated with this ciphertext")
	grant(t, root, key, b.arn("root"), nil, types.GrantOperationDecrypt)
	wantOK(t, decrypt(with, blob, nil))
	wantDenied(t, decrypt(without, blob, nil))
	wantOK(t, decrypt(b.root, blob, nil))
	grant(t, root, key, b.arn("user/without"), nil, types.GrantOperationDecrypt)
	wantOK(t, decrypt(without, blob, nil))

	for _, bad := range []string{a.arn("user/nobody"), a.arn("group/g"), "arn:aws:iam::999999999999:root", "*", a.arn("role/*"), "arn:aws:sts::" + a.id + ":assumed-role/none/s"} {
		_, err := root.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: &bad, Operations: []types.GrantOperation{types.GrantOperationDecrypt}})
		if err == nil || !strings.Contains(err.Error(), "InvalidArnException") && !strings.Contains(err.Error(), "ValidationException") {
			t.Errorf("grantee %s: %v", bad, err)
		}
	}
}

func TestGrantConstraints(t *testing.T) {
	a := startAccount(t)
	user := a.user("worker", "")
	key := a.key("")
	root := a.root.KMS(region)
	full := map[string]string{"tenant": "a", "table": "t"}
	blob := encrypt(t, root, &key, "x", full)

	g := grant(t, root, key, a.arn("user/worker"), &types.GrantConstraints{EncryptionContextSubset: map[string]string{"tenant": "a"}}, types.GrantOperationDecrypt, types.GrantOperationEncrypt, types.GrantOperationDescribeKey)
	wantOK(t, decrypt(user, blob, full))
	wantOK(t, try(user, key, map[string]string{"tenant": "a"}))
	wantDenied(t, try(user, key, map[string]string{"tenant": "b"}))
	wantDenied(t, try(user, key, map[string]string{"Tenant": "a"}))
	wantDenied(t, try(user, key, nil))
	_, err := user.KMS(region).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	wantOK(t, err)
	apitest.Must[*kms.RevokeGrantOutput](t)(root.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &key, GrantId: g.GrantId}))

	grant(t, root, key, a.arn("user/worker"), &types.GrantConstraints{EncryptionContextEquals: map[string]string{"tenant": "a"}}, types.GrantOperationEncrypt)
	wantOK(t, try(user, key, map[string]string{"tenant": "a"}))
	wantDenied(t, try(user, key, full))

	pairs := map[string]string{}
	for i := range 9 {
		pairs[fmt.Sprint(i)] = ""
	}
	decryptOnly := []types.GrantOperation{types.GrantOperationDecrypt}
	for name, in := range map[string]*kms.CreateGrantInput{
		"both constraints": {Operations: decryptOnly, Constraints: &types.GrantConstraints{EncryptionContextEquals: full, EncryptionContextSubset: full}},
		"nine pairs":       {Operations: decryptOnly, Constraints: &types.GrantConstraints{EncryptionContextEquals: pairs}},
		"long value":       {Operations: decryptOnly, Constraints: &types.GrantConstraints{EncryptionContextEquals: map[string]string{"a": strings.Repeat("x", 385)}}},
		"Sign":             {Operations: []types.GrantOperation{types.GrantOperationSign}},
		"no operation":     {Operations: []types.GrantOperation{}},
		"two retiring":     {Operations: decryptOnly, RetiringPrincipal: aws.String(a.arn("root")), RetiringServicePrincipal: aws.String("ec2.amazonaws.com")},
	} {
		in.KeyId, in.GranteePrincipal = &key, aws.String(a.arn("user/worker"))
		_, err := root.CreateGrant(ctx, in)
		t.Log(name)
		apitest.WantError(t, err, "ValidationException")
	}
	for name, in := range map[string]*kms.CreateGrantInput{
		"no grantee":                     {},
		"two grantees":                   {GranteePrincipal: aws.String(a.arn("root")), GranteeServicePrincipal: aws.String("ec2.amazonaws.com")},
		"service without source":         {GranteeServicePrincipal: aws.String("ec2.amazonaws.com"), RetiringPrincipal: aws.String(a.arn("root"))},
		"service that cannot be retired": {GranteeServicePrincipal: aws.String("ec2.amazonaws.com"), Constraints: &types.GrantConstraints{SourceArn: aws.String("arn:aws:ec2:eu-central-1:111122223333:volume/v")}},
		"service that is none": {GranteeServicePrincipal: aws.String("ec2"), RetiringPrincipal: aws.String(a.arn("root")),
			Constraints: &types.GrantConstraints{SourceArn: aws.String("arn:aws:ec2:eu-central-1:111122223333:volume/v")}},
	} {
		in.KeyId, in.Operations = &key, decryptOnly
		_, err := root.CreateGrant(ctx, in)
		t.Log(name)
		apitest.WantError(t, err, "ValidationException")
	}
}

// A grantee that may create grants can only pass on what it has, as strictly or
// more so.
func TestChildGrants(t *testing.T) {
	a := startAccount(t)
	parent, child := a.user("parent", ""), a.user("child", "")
	key := a.key("")
	tenant := map[string]string{"tenant": "a"}
	grant(t, a.root.KMS(region), key, a.arn("user/parent"), &types.GrantConstraints{EncryptionContextSubset: tenant},
		types.GrantOperationCreateGrant, types.GrantOperationEncrypt, types.GrantOperationDecrypt)
	for name, c := range map[string]struct {
		constraints *types.GrantConstraints
		operations  []types.GrantOperation
		ok          bool
	}{
		"as strict":       {&types.GrantConstraints{EncryptionContextSubset: tenant}, []types.GrantOperation{"Encrypt"}, true},
		"stricter":        {&types.GrantConstraints{EncryptionContextSubset: map[string]string{"tenant": "a", "table": "t"}}, []types.GrantOperation{"Encrypt"}, true},
		"stricter, equal": {&types.GrantConstraints{EncryptionContextEquals: tenant}, []types.GrantOperation{"Decrypt", "CreateGrant"}, true},
		"unconstrained":   {nil, []types.GrantOperation{"Encrypt"}, false},
		"other tenant":    {&types.GrantConstraints{EncryptionContextSubset: map[string]string{"tenant": "b"}}, []types.GrantOperation{"Encrypt"}, false},
		"more operations": {&types.GrantConstraints{EncryptionContextSubset: tenant}, []types.GrantOperation{"Encrypt", "GenerateDataKey"}, false},
	} {
		_, err := parent.KMS(region).CreateGrant(ctx, &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String(a.arn("user/child")), Operations: c.operations, Constraints: c.constraints})
		t.Log(name)
		if c.ok {
			wantOK(t, err)
		} else {
			wantDenied(t, err)
		}
	}
	wantOK(t, try(child, key, tenant))
	wantDenied(t, try(child, key, nil))
}

// The retiring principal, the account that made the grant and a grantee that is
// let retire a grant; nobody else, whatever policies say.
func TestRetireGrant(t *testing.T) {
	a := startAccount(t)
	b := a.member("partner")
	key := a.key("")
	retiring, stranger, delegate := a.user("retiring", ""), a.user("stranger", ""), a.user("delegate", document(allow("kms:RetireGrant")))
	foreign := b.user("retiring", "")
	all := b.user("all", document(allow("kms:*")))
	make := func(retirer string, ops ...types.GrantOperation) *kms.CreateGrantOutput {
		in := &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String(b.arn("user/all")), Operations: append(ops, types.GrantOperationEncrypt)}
		if retirer != "" {
			in.RetiringPrincipal = &retirer
		}
		return apitest.Must[*kms.CreateGrantOutput](t)(a.root.KMS(region).CreateGrant(ctx, in))
	}
	retire := func(c kagimoritest.Caller, g *kms.CreateGrantOutput) error {
		_, err := c.KMS(region).RetireGrant(ctx, &kms.RetireGrantInput{KeyId: &key, GrantId: g.GrantId})
		return err
	}
	g := make(a.arn("user/retiring"))
	wantDenied(t, retire(stranger, g))
	wantDenied(t, retire(all, g)) // the grantee, but not for RetireGrant
	wantDenied(t, retire(foreign, g))
	wantOK(t, retire(retiring, g))
	apitest.WantError(t, retire(retiring, g), "NotFoundException")
	wantOK(t, retire(delegate, make("")))
	wantOK(t, retire(a.root, make("")))
	wantOK(t, retire(all, make("", types.GrantOperationRetireGrant)))
	g = make(b.arn("user/retiring"))
	_, err := foreign.KMS(region).RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: g.GrantToken})
	wantOK(t, err)
	wantDenied(t, try(all, key, nil))

	for _, in := range []*kms.RetireGrantInput{{}, {GrantToken: g.GrantToken, GrantId: g.GrantId}, {KeyId: &key}} {
		_, err := a.root.KMS(region).RetireGrant(ctx, in)
		apitest.WantError(t, err, "ValidationException")
	}
	_, err = a.root.KMS(region).RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: aws.String("AAAA")})
	apitest.WantError(t, err, "InvalidGrantTokenException")
	_, err = a.root.KMS("us-east-1").RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: make("").GrantToken})
	apitest.WantError(t, err, "InvalidGrantTokenException")
	g = make("")
	_, err = a.root.KMS(region).RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: g.GrantToken, DryRun: aws.Bool(true)})
	apitest.WantError(t, err, "DryRunOperationException")
	wantOK(t, try(all, key, nil))
}

// A named grant asked for again is the same grant with another token.
func TestGrantNames(t *testing.T) {
	a := startAccount(t)
	a.user("worker", "")
	root := a.root.KMS(region)
	key := a.key("")
	in := &kms.CreateGrantInput{KeyId: &key, Name: aws.String("batch"), GranteePrincipal: aws.String(a.arn("user/worker")),
		Operations: []types.GrantOperation{types.GrantOperationDecrypt, types.GrantOperationEncrypt}}
	first := apitest.Must[*kms.CreateGrantOutput](t)(root.CreateGrant(ctx, in))
	again := apitest.Must[*kms.CreateGrantOutput](t)(root.CreateGrant(ctx, in))
	if *first.GrantId != *again.GrantId || *first.GrantToken == *again.GrantToken {
		t.Errorf("%s and %s", asJSON(t, first), asJSON(t, again))
	}
	in.Operations = in.Operations[:1]
	other := apitest.Must[*kms.CreateGrantOutput](t)(root.CreateGrant(ctx, in))
	in.Name = nil
	unnamed := apitest.Must[*kms.CreateGrantOutput](t)(root.CreateGrant(ctx, in))
	if *other.GrantId == *first.GrantId || *unnamed.GrantId == *other.GrantId {
		t.Error("other grants have the same id")
	}
	// Tokens do no harm where they belong, and only genuine ones are taken.
	for _, token := range []*string{first.GrantToken, again.GrantToken} {
		_, err := root.Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x"), GrantTokens: []string{*token}})
		wantOK(t, err)
	}
	damaged := strings.Repeat("A", len(*first.GrantToken)-4) + (*first.GrantToken)[len(*first.GrantToken)-4:]
	_, err := root.Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x"), GrantTokens: []string{damaged}})
	apitest.WantError(t, err, "InvalidGrantTokenException")
}

func TestListGrants(t *testing.T) {
	a := startAccount(t)
	b := a.member("partner")
	root := a.root.KMS(region)
	key, other := a.key(""), a.key("")
	a.user("gone", "")
	a.user("stays", "")
	b.user("retiring", "")
	ids := []string{}
	for _, name := range []string{"gone", "stays", "stays"} {
		out := apitest.Must[*kms.CreateGrantOutput](t)(root.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String(a.arn("user/" + name)),
			RetiringPrincipal: aws.String(b.arn("user/retiring")), Operations: []types.GrantOperation{types.GrantOperationDecrypt}}))
		ids = append(ids, *out.GrantId)
	}
	grant(t, root, other, a.arn("user/stays"), nil, types.GrantOperationDecrypt)

	c := a.root.IAM()
	gone := *apitest.Must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("gone")})).User.UserId
	keys := apitest.Must[*iam.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: aws.String("gone")}))
	apitest.Must[*iam.DeleteAccessKeyOutput](t)(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: aws.String("gone"), AccessKeyId: keys.AccessKeyMetadata[0].AccessKeyId}))
	apitest.Must[*iam.DeleteUserOutput](t)(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("gone")}))
	namesake := a.user("gone", "")
	wantDenied(t, decrypt(namesake, encrypt(t, root, &key, "x", nil), nil))

	var got []types.GrantListEntry
	pages := 0
	for p := kms.NewListGrantsPaginator(root, &kms.ListGrantsInput{KeyId: &key, Limit: aws.Int32(2)}); p.HasMorePages(); pages++ {
		got = append(got, apitest.Must[*kms.ListGrantsOutput](t)(p.NextPage(ctx)).Grants...)
	}
	if len(got) != 3 || pages != 2 {
		t.Fatalf("%d grants in %d pages", len(got), pages)
	}
	grantees := []string{}
	for _, g := range got {
		if !slices.Contains(ids, *g.GrantId) || *g.KeyId != key || *g.Name != "" || *g.IssuingAccount != a.arn("root") || *g.RetiringPrincipal != b.arn("user/retiring") || g.CreationDate == nil {
			t.Errorf("grant %s", asJSON(t, g))
		}
		grantees = append(grantees, *g.GranteePrincipal)
	}
	slices.Sort(grantees)
	if want := []string{gone, a.arn("user/stays"), a.arn("user/stays")}; !slices.Equal(grantees, want) {
		t.Errorf("grantees %v, want %v", grantees, want)
	}
	for name, in := range map[string]*kms.ListGrantsInput{
		a.arn("user/stays"): {GranteePrincipal: aws.String(a.arn("user/stays"))}, ids[1]: {GrantId: &ids[1]}, gone: {GranteePrincipal: &gone}, a.arn("user/gone"): {GranteePrincipal: aws.String(a.arn("user/gone"))},
	} {
		in.KeyId = &key
		n := len(apitest.Must[*kms.ListGrantsOutput](t)(root.ListGrants(ctx, in)).Grants)
		if want := map[string]int{a.arn("user/stays"): 2, ids[1]: 1, gone: 1, a.arn("user/gone"): 0}[name]; n != want {
			t.Errorf("ListGrants of %s: %d grants, want %d", name, n, want)
		}
	}

	var retirable []types.GrantListEntry
	for p := kms.NewListRetirableGrantsPaginator(b.root.KMS(region), &kms.ListRetirableGrantsInput{RetiringPrincipal: aws.String(b.arn("user/retiring")), Limit: aws.Int32(1)}); p.HasMorePages(); {
		retirable = append(retirable, apitest.Must[*kms.ListRetirableGrantsOutput](t)(p.NextPage(ctx)).Grants...)
	}
	if len(retirable) != 3 {
		t.Errorf("%d retirable grants: %s", len(retirable), asJSON(t, retirable))
	}
	_, err := root.ListRetirableGrants(ctx, &kms.ListRetirableGrantsInput{RetiringPrincipal: aws.String(b.arn("user/retiring"))})
	wantDenied(t, err)
}

// The condition keys of CreateGrant limit which grants may be made.
func TestGrantConditions(t *testing.T) {
	a := startAccount(t)
	maker := a.user("maker", "")
	a.user("worker", "")
	key := a.key(document(
		allow("kms:*", principal(a.arn("root"))),
		allow("kms:CreateGrant", principal(a.arn("user/maker")), fmt.Sprintf(
			`"Condition":{"ForAllValues:StringEquals":{"kms:GrantOperations":["Encrypt","Decrypt"]},"StringEquals":{"kms:GranteePrincipal":%q,"kms:RetiringPrincipal":%q,"kms:GrantConstraintType":"EncryptionContextSubset","kms:EncryptionContext:tenant":"a"}}`,
			a.arn("user/worker"), a.arn("user/maker"))),
	))
	good := func() *kms.CreateGrantInput {
		return &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String(a.arn("user/worker")), RetiringPrincipal: aws.String(a.arn("user/maker")),
			Operations: []types.GrantOperation{"Encrypt"}, Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"tenant": "a"}}}
	}
	_, err := maker.KMS(region).CreateGrant(ctx, good())
	wantOK(t, err)
	for name, change := range map[string]func(*kms.CreateGrantInput){
		"operation":     func(in *kms.CreateGrantInput) { in.Operations = append(in.Operations, "GenerateDataKey") },
		"grantee":       func(in *kms.CreateGrantInput) { in.GranteePrincipal = aws.String(a.arn("user/maker")) },
		"no retirer":    func(in *kms.CreateGrantInput) { in.RetiringPrincipal = nil },
		"no constraint": func(in *kms.CreateGrantInput) { in.Constraints = nil },
		"other type": func(in *kms.CreateGrantInput) {
			in.Constraints = &types.GrantConstraints{EncryptionContextEquals: map[string]string{"tenant": "a"}}
		},
		"another context": func(in *kms.CreateGrantInput) { in.Constraints.EncryptionContextSubset["tenant"] = "b" },
	} {
		in := good()
		change(in)
		_, err := maker.KMS(region).CreateGrant(ctx, in)
		t.Log(name)
		wantDenied(t, err, "because no identity-based policy allows the kms:CreateGrant action")
	}
}

// Grants go with their key.
func TestGrantsOfDeletedKey(t *testing.T) {
	a := startAccount(t)
	a.user("worker", "")
	key := a.key("")
	root := a.root.KMS(region)
	g := grant(t, root, key, a.arn("user/worker"), nil, types.GrantOperationDecrypt)
	apitest.Must[*kms.ScheduleKeyDeletionOutput](t)(root.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &key, PendingWindowInDays: aws.Int32(7)}))
	_, err := root.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String(a.arn("user/worker")), Operations: []types.GrantOperation{"Decrypt"}})
	apitest.WantError(t, err, "KMSInvalidStateException")
	a.srv.Advance(8 * 24 * 3600e9)
	_, err = root.ListGrants(ctx, &kms.ListGrantsInput{KeyId: &key})
	apitest.WantError(t, err, "NotFoundException")
	_, err = root.RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: g.GrantToken})
	apitest.WantError(t, err, "NotFoundException")
}

// TestRevocationIsBounded: while others call all the time, the call after an
// acknowledged change is decided by the change: a grant, a policy of the user, a
// group, the key policy.
func TestRevocationIsBounded(t *testing.T) {
	a := startAccount(t)
	user := a.user("worker", "")
	key := a.key("")
	root := a.root.KMS(region)
	stop, done := make(chan struct{}), make(chan struct{})
	for range 4 { // who fill the caches again and again
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
					try(user, key, nil)
				}
			}
		}()
	}
	people := a.root.IAM()
	apitest.Must[*iam.CreateGroupOutput](t)(people.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("g")}))
	apitest.Must[*iam.AddUserToGroupOutput](t)(people.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: aws.String("g"), UserName: aws.String("worker")}))
	encryptDoc := aws.String(document(allow("kms:Encrypt")))
	for round := range 8 {
		g := grant(t, root, key, a.arn("user/worker"), nil, types.GrantOperationEncrypt)
		wantOK(t, try(user, key, nil))
		apitest.Must[*kms.RevokeGrantOutput](t)(root.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &key, GrantId: g.GrantId}))
		wantDenied(t, try(user, key, nil))

		apitest.Must[*iam.PutUserPolicyOutput](t)(people.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("worker"), PolicyName: aws.String("p"), PolicyDocument: encryptDoc}))
		wantOK(t, try(user, key, nil))
		apitest.Must[*iam.DeleteUserPolicyOutput](t)(people.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: aws.String("worker"), PolicyName: aws.String("p")}))
		wantDenied(t, try(user, key, nil))

		apitest.Must[*iam.PutGroupPolicyOutput](t)(people.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: aws.String("g"), PolicyName: aws.String("p"), PolicyDocument: encryptDoc}))
		wantOK(t, try(user, key, nil))
		apitest.Must[*kms.PutKeyPolicyOutput](t)(root.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: aws.String(document(allow("kms:*", principal(a.arn("root"))), deny("kms:Encrypt", principal(a.arn("user/worker")))))}))
		wantDenied(t, try(user, key, nil), "with an explicit deny in a resource-based policy")
		apitest.Must[*kms.PutKeyPolicyOutput](t)(root.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: aws.String(document(allow("kms:*", principal(a.arn("root")))))}))
		wantOK(t, try(user, key, nil))
		apitest.Must[*iam.DeleteGroupPolicyOutput](t)(people.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: aws.String("g"), PolicyName: aws.String("p")}))
		wantDenied(t, try(user, key, nil))
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	close(stop)
	for range 4 {
		<-done
	}
}
